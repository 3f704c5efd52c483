//! `GetConversionReport`.

use std::ops::Range;

use prost_types::{Duration as PbDuration, Timestamp as PbTimestamp};
use time::{Date, Month};

use super::Handlers;
use crate::api::errors::ApiError;
use crate::api::fields::Fields;
use crate::api::guard::Call;
use crate::api::pb::{self, ErrorReason};
use crate::api::reads::{Named, freshness, must_exist};
use crate::api::responses::count;
use crate::read::{At, ConversionDay};
use domain::money::WHOLE_BPS;
use domain::{ProgramId, Timestamp};

/// The longest report, in days, and the default.
const MAX_REPORT_DAYS: i64 = 366;
const DEFAULT_REPORT_DAYS: i64 = 30;
const MICROS_PER_DAY: i64 = 24 * 60 * 60 * Timestamp::PER_SECOND;

impl Handlers {
    pub(in crate::api) async fn get_conversion_report(
        &self,
        call: Call<pb::GetConversionReportRequest>,
    ) -> Result<pb::GetConversionReportResponse, ApiError> {
        let request = &call.message;
        let mut fields = Fields::of(request);
        let days = report_days(
            &mut fields,
            request.start_time.as_ref(),
            request.end_time.as_ref(),
            (self.0.environment.now)(),
        );
        let program_id = fields.id("program_id", &request.program_id, ProgramId::parse);
        let program_id = fields.finish(program_id)?;
        let freshness = freshness(&self.0, &request.consistency_token, call.deadline).await?;
        must_exist(&self.0, Named::Program(&program_id)).await?;
        let read = self.0.reads.conversion_days(&program_id, days.clone(), freshness);
        let At { position, found } = read.await?;
        Ok(report(&found, days, position))
    }
}

/// The days of a report, counted from 1970 in UTC: from the day that contains `start` to the day that
/// contains `end`, which is included unless `end` is its very beginning.
pub(in crate::api) fn report_days(
    fields: &mut Fields,
    start: Option<&PbTimestamp>,
    end: Option<&PbTimestamp>,
    now: Timestamp,
) -> Range<i32> {
    let (first, last) = fields.period(start, end);
    // A malformed time has been reported already.
    let is_read = first.is_some() == start.is_some() && last.is_some() == end.is_some();
    let end = match last {
        Some(time) => {
            time.0.div_euclid(MICROS_PER_DAY) + i64::from(time.0.rem_euclid(MICROS_PER_DAY) > 0)
        }
        None => now.0.div_euclid(MICROS_PER_DAY) + 1,
    };
    let start = first.map_or(end - DEFAULT_REPORT_DAYS, |time| time.0.div_euclid(MICROS_PER_DAY));
    let is_backwards = first.zip(last).is_some_and(|(first, last)| last < first);
    if is_read && !is_backwards && !(0..=MAX_REPORT_DAYS).contains(&(end - start)) {
        let message = format!(
            "must not be before start_time, and be at most {MAX_REPORT_DAYS} days after it"
        );
        fields.fault("end_time", ErrorReason::InvalidTime, message);
    }
    let day = |day| i32::try_from(day).unwrap_or_default();
    day(start)..day(end)
}

fn report(
    found: &[ConversionDay],
    days: Range<i32>,
    position: i64,
) -> pb::GetConversionReportResponse {
    let mut found = found.iter().copied().peekable();
    let mut total = ConversionDay::default();
    let days = days
        .map(|number| {
            let day = found
                .next_if(|day| day.day == number)
                .unwrap_or(ConversionDay { day: number, ..ConversionDay::default() });
            total.referral_count += day.referral_count;
            total.converted_count += day.converted_count;
            total.purchase_count += day.purchase_count;
            total.purchase_time_us += day.purchase_time_us;
            pb::ConversionDay {
                date: date(number),
                referrals: count(day.referral_count),
                converted: count(day.converted_count),
                conversion_rate_bps: rate_bps(&day),
                average_time_to_first_purchase: average_time(&day),
                conversions: count(day.conversion_count),
            }
        })
        .collect();
    pb::GetConversionReportResponse {
        referrals: count(total.referral_count),
        converted: count(total.converted_count),
        conversion_rate_bps: rate_bps(&total),
        average_time_to_first_purchase: average_time(&total),
        days,
        position,
    }
}

/// The day as in `2026-03-01`; `day` counts from 1970.
pub(in crate::api) fn date(day: i32) -> String {
    let epoch = Date::from_calendar_date(1970, Month::January, 1).ok();
    let date = epoch.and_then(|epoch| epoch.checked_add(time::Duration::days(day.into())));
    date.map(|date| format!("{:04}-{:02}-{:02}", date.year(), u8::from(date.month()), date.day()))
        .unwrap_or_default()
}

/// How many of the referrals have converted, rounded half-up.
fn rate_bps(day: &ConversionDay) -> i32 {
    let (referrals, converted) = (u64::from(day.referral_count), u64::from(day.converted_count));
    let rate = (converted * u64::from(WHOLE_BPS) * 2 + referrals).checked_div(referrals * 2);
    rate.and_then(|rate| i32::try_from(rate).ok()).unwrap_or_default()
}

fn average_time(day: &ConversionDay) -> Option<PbDuration> {
    let micros = day.purchase_time_us.checked_div(day.purchase_count.into())?;
    let seconds = i64::try_from(micros / 1_000_000).ok()?;
    let nanos = i32::try_from(micros % 1_000_000 * 1_000).ok()?;
    Some(PbDuration { seconds, nanos })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_has_every_day_and_adds_them_up() {
        let day =
            |day, referral_count, converted_count, purchase_count, seconds: i128| ConversionDay {
                day,
                referral_count,
                converted_count,
                purchase_count,
                purchase_time_us: seconds * 1_000_000,
                conversion_count: converted_count,
            };
        let report =
            report(&[day(20_513, 3, 1, 1, 60), day(20_515, 3, 3, 2, 30)], 20_512..20_516, 7);
        let days: Vec<_> = report
            .days
            .iter()
            .map(|day| (day.date.as_str(), day.referrals, day.conversion_rate_bps))
            .collect();
        assert_eq!(
            days,
            [
                ("2026-02-28", 0, 0),
                ("2026-03-01", 3, 3_333),
                ("2026-03-02", 0, 0),
                ("2026-03-03", 3, 10_000)
            ]
        );
        assert_eq!((report.referrals, report.converted), (6, 4));
        assert_eq!(report.conversion_rate_bps, 6_667);
        assert_eq!(
            report.average_time_to_first_purchase,
            Some(PbDuration { seconds: 30, nanos: 0 })
        );
        assert_eq!(report.days[0].average_time_to_first_purchase, None);
    }

    #[test]
    fn the_days_of_a_report_are_whole_and_not_too_many() {
        let moment = |seconds| PbTimestamp { seconds, nanos: 0 };
        let day = 24 * 60 * 60;
        let read = |start: Option<i64>, end: Option<i64>| {
            let mut fields = Fields::default();
            let (start, end) = (start.map(moment), end.map(moment));
            let now = Timestamp(100 * MICROS_PER_DAY + 5);
            let days = report_days(&mut fields, start.as_ref(), end.as_ref(), now);
            fields.finish(Some(days)).ok()
        };
        assert_eq!(read(None, None), Some(71..101));
        assert_eq!(read(Some(3 * day + 1), Some(5 * day)), Some(3..5));
        assert_eq!(read(Some(3 * day), Some(5 * day + 1)), Some(3..6));
        assert_eq!(read(Some(5 * day), Some(4 * day)), None);
        assert_eq!(read(Some(0), Some(367 * day)), None);
    }
}
