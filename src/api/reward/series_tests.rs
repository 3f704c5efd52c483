#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

use prost_types::Timestamp as PbTimestamp;

use super::*;
use crate::read::SeriesAmount;

const HOUR_US: i64 = 3_600 * Timestamp::PER_SECOND;

fn moment(text: &str) -> Timestamp {
    Timestamp(text.parse::<Moment>().unwrap().as_microsecond())
}

fn request(
    granularity: SeriesGranularity,
    zone: &str,
    span: [&str; 2],
) -> pb::GetEarningsSeriesRequest {
    let [start_time, end_time] = span.map(|text| Some(text).filter(|text| !text.is_empty()));
    pb::GetEarningsSeriesRequest {
        start_time: start_time.map(|text| time(moment(text))),
        end_time: end_time.map(|text| time(moment(text))),
        granularity: granularity.into(),
        time_zone: zone.into(),
        ..Default::default()
    }
}

/// The dates of the periods with their lengths in hours, and where the last one ends.
fn read(request: &pb::GetEarningsSeriesRequest) -> Option<(Vec<(String, i64)>, Timestamp)> {
    let mut fields = Fields::default();
    let found = periods(&mut fields, request, moment("2026-03-04T12:00:00Z"));
    let found = fields.finish(found).ok()?;
    let pairs = found.0.iter().zip(found.0.iter().skip(1));
    let lengths = pairs.map(|(of, next)| (of.0.to_string(), (next.1.0 - of.1.0) / HOUR_US));
    Some((lengths.collect(), found.0.last().unwrap().1))
}

fn days(zone: &str, span: [&str; 2]) -> Vec<(String, i64)> {
    read(&request(SeriesGranularity::Day, zone, span)).unwrap().0
}

fn weeks(zone: &str, span: [&str; 2]) -> Vec<(String, i64)> {
    read(&request(SeriesGranularity::Week, zone, span)).unwrap().0
}

fn named(periods: &[(&str, i64)]) -> Vec<(String, i64)> {
    periods.iter().map(|(date, hours)| ((*date).to_owned(), *hours)).collect()
}

#[test]
fn a_span_is_widened_to_whole_days_and_one_that_begins_at_its_end_is_not_in_it() {
    let two = named(&[("2026-03-01", 24), ("2026-03-02", 24)]);
    assert_eq!(days("", ["2026-03-01T10:00:00Z", "2026-03-03T00:00:00Z"]), two);
    assert_eq!(days("UTC", ["2026-03-01T00:00:00Z", "2026-03-02T00:00:00.000001Z"]), two);
    assert_eq!(days("", ["2026-03-01T10:00:00Z", "2026-03-01T10:00:00Z"]), two[..1]);
    assert_eq!(days("", ["2026-03-01T00:00:00Z", "2026-03-01T00:00:00Z"]), []);
}

#[test]
fn a_day_on_which_clocks_change_has_23_or_25_hours() {
    assert_eq!(
        days("Europe/Berlin", ["2026-03-28T12:00:00Z", "2026-03-30T12:00:00Z"]),
        named(&[("2026-03-28", 24), ("2026-03-29", 23), ("2026-03-30", 24)])
    );
    assert_eq!(
        days("Europe/Berlin", ["2026-10-24T21:59:59Z", "2026-10-25T23:00:00Z"]),
        named(&[("2026-10-24", 24), ("2026-10-25", 25)])
    );
    // Midnight does not exist on this day.
    assert_eq!(
        days("America/Asuncion", ["2023-09-30T12:00:00Z", "2023-10-02T12:00:00Z"]),
        named(&[("2023-09-30", 24), ("2023-10-01", 23), ("2023-10-02", 24)])
    );
    // Nor does this day at all: Samoa moved across the date line.
    assert_eq!(
        days("Pacific/Apia", ["2011-12-29T22:00:00Z", "2011-12-31T22:00:00Z"]),
        named(&[("2011-12-29", 24), ("2011-12-31", 24), ("2012-01-01", 24)])
    );
}

#[test]
fn weeks_begin_on_monday_in_the_time_zone() {
    // 2026-03-01 is a Sunday.
    assert_eq!(
        weeks("", ["2026-03-01T23:59:59Z", "2026-03-02T00:00:01Z"]),
        named(&[("2026-02-23", 168), ("2026-03-02", 168)])
    );
    assert_eq!(
        weeks("Asia/Kolkata", ["2026-03-01T18:30:00Z", "2026-03-02T00:00:00Z"]),
        named(&[("2026-03-02", 168)])
    );
    assert_eq!(
        weeks("Europe/Berlin", ["2026-03-29T12:00:00Z", "2026-03-29T12:00:00Z"]),
        named(&[("2026-03-23", 167)])
    );
}

#[test]
fn without_a_span_the_last_thirty_periods_end_with_the_present_one() {
    let (days, end) = read(&request(SeriesGranularity::Unspecified, "", ["", ""])).unwrap();
    assert_eq!((days.len(), days[0].0.as_str()), (30, "2026-02-03"));
    assert_eq!(end, moment("2026-03-05T00:00:00Z"));
    let weeks = weeks("", ["", ""]);
    assert_eq!((weeks.len(), weeks[29].0.as_str()), (30, "2026-03-02"));
}

#[test]
fn a_span_has_at_most_400_periods_and_ends_after_it_starts() {
    let at = |seconds| Some(PbTimestamp { seconds, nanos: 0 });
    let found = |granularity: SeriesGranularity, end_time| {
        let request = pb::GetEarningsSeriesRequest {
            start_time: at(4 * 86_400),
            end_time,
            granularity: granularity.into(),
            ..Default::default()
        };
        read(&request).map(|(periods, _)| periods.len())
    };
    let (day, week) = (SeriesGranularity::Day, SeriesGranularity::Week);
    // 1970-01-05 is a Monday.
    assert_eq!(found(day, at(404 * 86_400)), Some(400));
    assert_eq!(found(day, at(404 * 86_400 + 1)), None);
    assert_eq!(found(week, at((4 + 400 * 7) * 86_400)), Some(400));
    assert_eq!(found(week, at((4 + 400 * 7) * 86_400 + 1)), None);
    assert_eq!(found(day, at(3 * 86_400)), None);
    assert_eq!(found(day, at(253_402_300_799)), None);
    assert_eq!(found(day, None), None);
}

#[test]
fn a_time_zone_has_a_name_of_the_iana_database() {
    for name in ["Berlin", "Europe/Berlin ", "UTC+1", "../etc/passwd", "Etc/Unknown", "\u{e4}"] {
        assert_eq!(read(&request(SeriesGranularity::Day, name, ["", ""])), None, "{name}");
    }
    for name in ["", "UTC", "Europe/Berlin", "America/Argentina/Buenos_Aires", "Etc/GMT+1"] {
        assert!(read(&request(SeriesGranularity::Day, name, ["", ""])).is_some(), "{name}");
    }
}

#[test]
fn lines_add_up_to_the_totals_of_the_periods() {
    let amount = |period, line: Option<&str>, place, amount_minor| SeriesAmount {
        period,
        line: line.map(Into::into),
        place,
        amount_minor,
    };
    let series = Series {
        amounts: vec![
            amount(0, Some("bob"), 1, 70),
            amount(2, Some("bob"), 1, -20),
            amount(2, Some("cid"), 2, 5),
            amount(0, None, MAX_SOURCES + 1, 3),
        ],
        line_count: MAX_SOURCES + 7,
    };
    let request =
        request(SeriesGranularity::Day, "", ["2026-03-01T00:00:00Z", "2026-03-04T00:00:00Z"]);
    let periods =
        periods(&mut Fields::default(), &request, moment("2026-03-04T12:00:00Z")).unwrap();
    let answer = answer(&periods, source_lines(&series), "USD", 9);
    let totals: Vec<_> = answer.periods.iter().map(|of| of.total.clone().unwrap()).collect();
    assert_eq!(totals, [73, 0, -15].map(|amount| money("USD", amount)));
    let lines: Vec<_> = answer
        .lines
        .iter()
        .map(|line| (&*line.source_user_id, line.other_source_count, &*line.minor_units))
        .collect();
    assert_eq!(lines, [("bob", 0, &[70, 0, -20][..]), ("cid", 0, &[0, 0, 5]), ("", 7, &[3, 0, 0])]);
    assert_eq!(answer.total, Some(money("USD", 58)));
    assert_eq!(answer.lines[0].total, Some(money("USD", 50)));
    // Of levels, those without amounts have a line, too.
    let levels =
        level_lines(&Series { amounts: vec![amount(1, Some("2"), 1, 4)], line_count: 1 }, &[1, 2]);
    let levels: Vec<_> = levels.iter().map(|of| (of.message.level, &*of.amounts)).collect();
    assert_eq!(levels, [(Some(1), &[][..]), (Some(2), &[(1, 4)])]);
}
