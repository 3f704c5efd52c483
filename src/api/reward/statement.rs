//! `GetStatement`: what moved a participant's money in a month, between what there was before and after.

use std::fmt;

use jiff::Span;
use jiff::civil::Date;
use jiff::tz::TimeZone;

use super::series::time_zone;
use super::{Handlers, entry};
use crate::api::errors::ApiError;
use crate::api::fields::Fields;
use crate::api::guard::Call;
use crate::api::pages::Page;
use crate::api::pb::{self, ErrorReason};
use crate::api::reads::freshness;
use crate::api::responses::{bucket_balances, time};
use crate::read::EntryFilter;
use domain::Timestamp;

impl Handlers {
    pub(in crate::api) async fn get_statement(
        &self,
        call: Call<pb::GetStatementRequest>,
    ) -> Result<pb::GetStatementResponse, ApiError> {
        let request = &call.message;
        let mut fields = Fields::of(request);
        let page = Page::read(&mut fields, &call);
        let begin = page.start(&mut fields, &request.page_token, Begin::FIRST, Begin::parse);
        let Begin { position: of_list, before } = begin.unwrap_or(Begin::FIRST);
        let id = fields.participant(&request.program_id, &request.user_id);
        let zone = time_zone(&mut fields, &request.time_zone);
        let now = (self.0.environment.now)();
        let month = month(&mut fields, &request.month, zone, now);
        let (id, (start, end)) = fields.finish(id.zip(month))?;
        let freshness = freshness(&self.0, &request.consistency_token, call.deadline).await?;
        let newest = self.standing(&id, None, freshness).await?.position;
        // What the first page reflects, the others do, too, whatever has happened meanwhile.
        let position = of_list.unwrap_or(newest);
        let rules = self.rules(&id.program_id, None).await?;
        let reads = &self.0.reads;
        let opening_position = reads.position_before(start).await?.min(position);
        let closing_position = reads.position_before(end).await?.min(position);
        let opening = reads.buckets_at(&id, opening_position).await?;
        let closing = reads.buckets_at(&id, closing_position).await?;
        let filter = EntryFilter { start: Some(start), ..EntryFilter::default() };
        let found = reads.entries(&id, &filter, closing_position, before, page.size()).await?;
        let token = |before| page.token_after(Begin { position: Some(position), before });
        let next_page_token = found.next_before.map(token).unwrap_or_default();
        Ok(pb::GetStatementResponse {
            opening: Some(bucket_balances(&rules.unit, &opening)),
            closing: Some(bucket_balances(&rules.unit, &closing)),
            entries: found.entries.iter().map(entry).collect(),
            start_time: Some(time(start)),
            end_time: Some(time(end)),
            next_page_token,
            position,
        })
    }
}

/// Where a page of a statement begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Begin {
    /// What the statement reflects; `None` for what there is now.
    position: Option<i64>,
    /// The sequence below which the page begins.
    before: i64,
}

impl Begin {
    const FIRST: Self = Self { position: None, before: i64::MAX };

    /// Reads what is written as `position.sequence`.
    fn parse(text: &str) -> Option<Self> {
        let (position, before) = text.split_once('.')?;
        let position = position.parse().ok().filter(|position| *position >= 0)?;
        Some(Self { position: Some(position), before: before.parse().ok()? })
    }
}

impl fmt::Display for Begin {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { position, before } = self;
        write!(formatter, "{}.{before}", position.unwrap_or_default())
    }
}

/// When a month begins and ends in a time zone. It must have begun.
fn month(
    fields: &mut Fields,
    text: &str,
    zone: Option<TimeZone>,
    now: Timestamp,
) -> Option<(Timestamp, Timestamp)> {
    let text = fields.required("month", text)?;
    let first = first_day(text);
    if first.is_none() {
        fields.fault("month", ErrorReason::InvalidTime, "must be a month, as in 2026-05");
    }
    let (first, zone) = first.zip(zone)?;
    let next = first.checked_add(Span::new().try_months(1).ok()?).ok()?;
    let begin = |date: Date| {
        let moment = date.to_zoned_datetime(zone.clone()).ok()?.timestamp();
        Some(Timestamp(moment.as_microsecond()))
    };
    let (start, end) = begin(first).zip(begin(next))?;
    if start > now {
        let message = "must not be a month that has yet to begin";
        fields.fault("month", ErrorReason::TimeInFuture, message);
        return None;
    }
    Some((start, end))
}

/// The first day of a month of the years 1970 to 9998, written as `2026-05`.
fn first_day(text: &str) -> Option<Date> {
    let (year, month) = text.split_once('-')?;
    let is_number =
        |text: &str, length| text.len() == length && text.bytes().all(|byte| byte.is_ascii_digit());
    if !is_number(year, 4) || !is_number(month, 2) {
        return None;
    }
    let year = year.parse().ok().filter(|year| (1970..=9998).contains(year))?;
    Date::new(year, month.parse().ok()?, 1).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_month_begins_and_ends_at_midnight_where_the_reader_is() {
        let mut fields = Fields::default();
        let now = Timestamp(i64::MAX);
        let utc = month(&mut fields, "2026-03", Some(TimeZone::UTC), now);
        let hour = 3_600_000_000;
        assert_eq!(utc.map(|(start, end)| (end.0 - start.0) / hour), Some(31 * 24));
        // Clocks go forward in March.
        let berlin = month(&mut fields, "2026-03", TimeZone::get("Europe/Berlin").ok(), now);
        assert_eq!(berlin.map(|(start, end)| (end.0 - start.0) / hour), Some(31 * 24 - 1));
        assert_eq!(berlin.zip(utc).map(|(own, utc)| (utc.0.0 - own.0.0) / hour), Some(1));
        assert!(fields.finish(Some(())).is_ok());
    }

    #[test]
    fn the_token_of_a_page_has_the_position_of_the_first() {
        let begin = Begin { position: Some(70), before: 8 };
        assert_eq!(Begin::parse(&begin.to_string()), Some(begin));
        for text in ["", "8", "70.", ".8", "-1.8", "70.8.9"] {
            assert_eq!(Begin::parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_month_can_be_read_from_its_first_moment_on_where_the_reader_is() {
        let utc = Some(TimeZone::UTC);
        let start = month(&mut Fields::default(), "2026-03", utc.clone(), Timestamp(i64::MAX));
        let start = start.map(|(start, _)| start);
        let Some(start) = start else { panic!("a month") };
        for (now, zone, can_be_read) in [
            (start, utc.clone(), true),
            (Timestamp(start.0 - 1), utc, false),
            (Timestamp(start.0 - 1), TimeZone::get("Europe/Berlin").ok(), true),
            (start, TimeZone::get("America/New_York").ok(), false),
        ] {
            let mut fields = Fields::default();
            let read = month(&mut fields, "2026-03", zone, now);
            assert_eq!((read.is_some(), fields.has_fault("month")), (can_be_read, !can_be_read));
        }
    }

    #[test]
    fn what_is_no_month_is_a_fault() {
        for text in
            ["2026", "2026-13", "2026-00", "26-05", "2026-5", "2026-05-01", "1969-12", "+026-05"]
        {
            assert_eq!(first_day(text), None, "{text}");
            let mut fields = Fields::default();
            assert_eq!(month(&mut fields, text, Some(TimeZone::UTC), Timestamp(i64::MAX)), None);
            assert!(fields.finish(Some(())).is_err());
        }
        assert!(first_day("2026-12").is_some());
    }
}
