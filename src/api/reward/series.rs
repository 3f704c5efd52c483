//! `GetEarningsSeries`: what a participant earned day by day or week by week.

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp as Moment};

use super::{Handlers, paid_levels};
use crate::api::errors::ApiError;
use crate::api::fields::Fields;
use crate::api::guard::Call;
use crate::api::pb::{self, ErrorReason, SeriesBreakdown, SeriesGranularity};
use crate::api::reads::freshness;
use crate::api::responses::{count, money, time};
use crate::read::{At, Series, SeriesBy};
use domain::Timestamp;

/// The most periods of a series.
const MAX_PERIODS: usize = 400;
/// How many periods a series has if its request names no beginning.
const DEFAULT_PERIODS: i64 = 30;
/// How many sources have a line of their own; the rest is one more line.
const MAX_SOURCES: i64 = 20;
/// Levels are few, so each has a line.
const ALL_LINES: i64 = i32::MAX as i64;
/// The longest name of a time zone that is looked up.
const MAX_TIME_ZONE_BYTES: usize = 64;

/// The days or weeks of a series: the date and the beginning of each, and at the end those of the first that is not in
/// the series.
#[derive(Debug, Default, PartialEq, Eq)]
struct Periods(Vec<(Date, Timestamp)>);

/// How long the periods are.
#[derive(Clone, Copy, Debug)]
enum Length {
    Day,
    Week,
}

impl Handlers {
    pub(in crate::api) async fn get_earnings_series(
        &self,
        call: Call<pb::GetEarningsSeriesRequest>,
    ) -> Result<pb::GetEarningsSeriesResponse, ApiError> {
        let request = &call.message;
        let mut fields = Fields::of(request);
        let periods = periods(&mut fields, request, (self.0.environment.now)());
        let id = fields.participant(&request.program_id, &request.user_id);
        let (periods, id) = fields.finish(periods.zip(id))?;
        let freshness = freshness(&self.0, &request.consistency_token, call.deadline).await?;
        let At { position, found: (standing, rules) } = self.standing(&id, None, freshness).await?;
        let (by, most_lines) = match request.breakdown() {
            SeriesBreakdown::Source => (SeriesBy::Source, MAX_SOURCES),
            SeriesBreakdown::Level | SeriesBreakdown::Unspecified => (SeriesBy::Level, ALL_LINES),
        };
        let moments = periods.moments();
        let series = self.0.reads.earnings_series(&id, position, &moments, by, most_lines).await?;
        let lines = match by {
            SeriesBy::Level => level_lines(&series, &paid_levels(&standing, &rules)),
            SeriesBy::Source => source_lines(&series),
        };
        Ok(answer(&periods, lines, &rules.unit, position))
    }
}

/// A line of a series before its amounts are filled in, and the amounts by period.
struct Line {
    message: pb::SeriesLine,
    amounts: Vec<(usize, i64)>,
}

/// A line for each level that pays or has paid, also without amounts. One more has what a newer release granted without
/// a level, if there is any.
fn level_lines(series: &Series, levels: &[u32]) -> Vec<Line> {
    let of = |level: Option<u32>| {
        let name = level.map(|level| level.to_string());
        let own = series.amounts.iter().filter(|of| of.line == name);
        let message = pb::SeriesLine { level: level.map(count), ..Default::default() };
        Line { message, amounts: own.map(|of| (of.period, of.amount_minor)).collect() }
    };
    let mut lines: Vec<Line> = levels.iter().copied().map(Some).map(of).collect();
    lines.extend(Some(of(None)).filter(|line| !line.amounts.is_empty()));
    lines
}

/// A line for each source that is told apart, and one for the rest if there is any.
fn source_lines(series: &Series) -> Vec<Line> {
    let mut lines: Vec<Line> = Vec::new();
    let mut last = None;
    for of in &series.amounts {
        if last.replace(of.place) != Some(of.place) {
            let others = if of.line.is_none() { series.line_count - MAX_SOURCES } else { 0 };
            let message = pb::SeriesLine {
                source_user_id: of.line.clone().unwrap_or_default(),
                other_source_count: others.max(0),
                ..Default::default()
            };
            lines.push(Line { message, amounts: Vec::new() });
        }
        if let Some(line) = lines.last_mut() {
            line.amounts.push((of.period, of.amount_minor));
        }
    }
    lines
}

fn answer(
    periods: &Periods,
    lines: Vec<Line>,
    unit: &str,
    position: i64,
) -> pb::GetEarningsSeriesResponse {
    let mut totals = vec![0_i64; periods.count()];
    let lines: Vec<_> = lines
        .into_iter()
        .map(|Line { message, amounts }| {
            let mut minor_units = vec![0_i64; periods.count()];
            for (period, amount_minor) in amounts {
                let line = minor_units.get_mut(period).into_iter();
                for sum in line.chain(totals.get_mut(period)) {
                    *sum = sum.saturating_add(amount_minor);
                }
            }
            let total = minor_units.iter().copied().fold(0, i64::saturating_add);
            pb::SeriesLine { total: Some(money(unit, total)), minor_units, ..message }
        })
        .collect();
    let total = totals.iter().copied().fold(0, i64::saturating_add);
    let period = |((date, start), (_, end)): (&(Date, Timestamp), &(Date, Timestamp)), total| {
        pb::SeriesPeriod {
            date: date.to_string(),
            start_time: Some(time(*start)),
            end_time: Some(time(*end)),
            total: Some(money(unit, total)),
        }
    };
    let pairs = periods.0.iter().zip(periods.0.iter().skip(1));
    pb::GetEarningsSeriesResponse {
        periods: pairs.zip(totals).map(|(pair, total)| period(pair, total)).collect(),
        lines,
        total: Some(money(unit, total)),
        position,
    }
}

impl Periods {
    fn count(&self) -> usize {
        self.0.len().saturating_sub(1)
    }

    /// When the periods begin, and when the last one ends; nothing if there are none.
    fn moments(&self) -> Vec<Timestamp> {
        if self.count() == 0 {
            Vec::new()
        } else {
            self.0.iter().map(|(_, start)| *start).collect()
        }
    }
}

impl Length {
    /// The first date of the period that contains a date.
    fn start(self, date: Date) -> Option<Date> {
        match self {
            Self::Day => Some(date),
            Self::Week => {
                let days = i64::from(date.weekday().to_monday_zero_offset());
                date.checked_sub(Span::new().try_days(days).ok()?).ok()
            }
        }
    }

    /// The first date of the period that is so many periods later, or earlier if the number is below 0.
    fn step(self, date: Date, periods: i64) -> Option<Date> {
        let days = match self {
            Self::Day => periods,
            Self::Week => 7 * periods,
        };
        date.checked_add(Span::new().try_days(days).ok()?).ok()
    }
}

/// The periods that a request asks for.
fn periods(
    fields: &mut Fields,
    request: &pb::GetEarningsSeriesRequest,
    now: Timestamp,
) -> Option<Periods> {
    let zone = time_zone(fields, &request.time_zone);
    let (start, end) = fields.period(request.start_time.as_ref(), request.end_time.as_ref());
    // A malformed time has been reported already.
    let is_read = start.is_some() == request.start_time.is_some()
        && end.is_some() == request.end_time.is_some()
        && start.zip(end).is_none_or(|(start, end)| end >= start);
    let zone = zone.filter(|_| is_read)?;
    let length = match request.granularity() {
        SeriesGranularity::Week => Length::Week,
        SeriesGranularity::Day | SeriesGranularity::Unspecified => Length::Day,
    };
    let found = within(length, &zone, start, end, now).filter(|found| found.count() <= MAX_PERIODS);
    if found.is_none() {
        let message = format!(
            "must not be before start_time, and be at most {MAX_PERIODS} days or weeks after it"
        );
        fields.fault("end_time", ErrorReason::InvalidTime, message);
    }
    found
}

/// The time zone of that name; UTC if there is no name.
pub(super) fn time_zone(fields: &mut Fields, name: &str) -> Option<TimeZone> {
    if name.is_empty() {
        return Some(TimeZone::UTC);
    }
    let is_name = name.len() <= MAX_TIME_ZONE_BYTES && name.is_ascii();
    let zone = Some(name).filter(|_| is_name).and_then(|name| TimeZone::get(name).ok());
    if zone.as_ref().is_none_or(TimeZone::is_unknown) {
        let message = "must be a time zone of the IANA database, as in Europe/Berlin";
        fields.fault("time_zone", ErrorReason::InvalidTimeZone, message);
        return None;
    }
    zone
}

/// The periods from the one that contains `start` to the one that contains `end`, which is included unless `end` is its
/// very beginning. One more than are permitted at most; `None` if a date cannot be represented.
fn within(
    length: Length,
    zone: &TimeZone,
    start: Option<Timestamp>,
    end: Option<Timestamp>,
    now: Timestamp,
) -> Option<Periods> {
    let beginning = |date: Date| -> Option<Timestamp> {
        // Where midnight is skipped, the day begins when the clocks have changed; where it comes twice, at the first.
        let midnight = date.to_zoned_datetime(zone.clone()).ok()?;
        Some(Timestamp(midnight.timestamp().as_microsecond()))
    };
    let period_of = |moment: Timestamp| -> Option<Date> {
        let moment = Moment::from_microsecond(moment.0).ok()?;
        length.start(moment.to_zoned_datetime(zone.clone()).date())
    };
    let last = period_of(end.unwrap_or(now))?;
    let is_before_last = end.is_some() && end == beginning(last);
    let after = if is_before_last { last } else { length.step(last, 1)? };
    let first = match start {
        Some(start) => period_of(start)?,
        None => length.step(after, -DEFAULT_PERIODS)?,
    };
    let mut found = vec![(first, beginning(first)?)];
    let mut date = first;
    while date < after && found.len() <= MAX_PERIODS + 1 {
        date = length.step(date, 1)?;
        let start = beginning(date)?;
        match found.last_mut() {
            // A date that a time zone left out, when it moved across the date line, has no moments.
            Some(last) if last.1 >= start => last.0 = date,
            _ => found.push((date, start)),
        }
    }
    Some(Periods(found))
}

#[cfg(test)]
#[path = "series_tests.rs"]
mod tests;
