//! Ends of months in time zones. The time zone database is part of the binary, so that nothing is read from the
//! machine.

use jiff::Timestamp as Moment;
use jiff::tz::{TimeZone, TimeZoneDatabase};

use crate::Timestamp;

/// The longest name of a time zone that is looked up.
const MAX_NAME_BYTES: usize = 64;

/// The time zone of that name in the IANA database, spelled as there.
fn time_zone(name: &str) -> Option<TimeZone> {
    if name.len() > MAX_NAME_BYTES || !name.is_ascii() {
        return None;
    }
    let zone = TimeZoneDatabase::bundled().get(name).ok()?;
    (!zone.is_unknown() && zone.iana_name() == Some(name)).then_some(zone)
}

/// Whether the IANA database has a time zone of that name, spelled so.
#[must_use]
pub fn is_time_zone(name: &str) -> bool {
    time_zone(name).is_some()
}

/// The end of the month so many months after the one that `now` is in: the first moment of the month after it. Where
/// midnight is skipped, that is when the clocks have changed; where it comes twice, the first. `None` if there is no
/// such zone or moment.
#[must_use]
pub fn month_end(now: Timestamp, months: u32, zone: &str) -> Option<Timestamp> {
    let zone = time_zone(zone)?;
    let moment = Moment::from_microsecond(now.0).ok()?;
    let date = moment.to_zoned_datetime(zone.clone()).date();
    let months_since_0 = i32::from(date.year()) * 12 + i32::from(date.month()) - 1;
    let then = months_since_0.checked_add(i32::try_from(months).ok()?)?.checked_add(1)?;
    let year = i16::try_from(then.div_euclid(12)).ok()?;
    let month = i8::try_from(then.rem_euclid(12) + 1).ok()?;
    let first = jiff::civil::Date::new(year, month, 1).ok()?;
    let midnight = first.to_zoned_datetime(zone).ok()?;
    Some(Timestamp(midnight.timestamp().as_microsecond()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

    use super::*;

    fn at(text: &str) -> Timestamp {
        Timestamp(text.parse::<Moment>().unwrap().as_microsecond())
    }

    #[test]
    fn a_month_ends_at_the_first_moment_of_the_next_one_where_the_program_is() {
        for (now, months, zone, end) in [
            ("2026-01-31T23:59:59Z", 1, "UTC", "2026-03-01T00:00:00Z"),
            ("2026-02-01T00:00:00Z", 1, "UTC", "2026-04-01T00:00:00Z"),
            ("2026-11-28T12:00:00Z", 1, "UTC", "2027-01-01T00:00:00Z"),
            ("2026-11-28T12:00:00Z", 60, "UTC", "2031-12-01T00:00:00Z"),
            ("2027-12-31T12:00:00Z", 2, "UTC", "2028-03-01T00:00:00Z"),
            // Summer time begins in March and ends in October.
            ("2026-02-28T22:59:59Z", 1, "Europe/Berlin", "2026-03-31T22:00:00Z"),
            ("2026-02-28T23:00:00Z", 1, "Europe/Berlin", "2026-04-30T22:00:00Z"),
            ("2026-09-15T00:00:00Z", 1, "Europe/Berlin", "2026-10-31T23:00:00Z"),
            ("2026-06-30T18:29:59Z", 1, "Asia/Kolkata", "2026-07-31T18:30:00Z"),
            ("2026-06-30T18:30:00Z", 1, "Asia/Kolkata", "2026-08-31T18:30:00Z"),
            ("2026-06-30T18:30:00Z", 1, "America/New_York", "2026-08-01T04:00:00Z"),
        ] {
            assert_eq!(month_end(at(now), months, zone), Some(at(end)), "{now} {months} {zone}");
        }
    }

    #[test]
    fn a_midnight_that_is_skipped_or_comes_twice_is_the_first_moment_of_its_day() {
        // At that midnight the clocks of Paraguay went forward, and an hour after this one those of Cuba go back.
        for (now, zone, end) in [
            ("2017-08-15T00:00:00Z", "America/Asuncion", "2017-10-01T04:00:00Z"),
            ("2026-09-15T00:00:00Z", "America/Havana", "2026-11-01T04:00:00Z"),
        ] {
            assert_eq!(month_end(at(now), 1, zone), Some(at(end)), "{zone}");
        }
    }

    #[test]
    fn a_time_zone_is_spelled_as_in_the_database() {
        for name in ["UTC", "Europe/Berlin", "Asia/Kolkata", "America/Argentina/Buenos_Aires"] {
            assert!(is_time_zone(name), "{name}");
        }
        let long = "x".repeat(1_000);
        for name in
            ["", "europe/berlin", "Mars/Olympus", "+02:00", "CET-1CEST", "Etc/Unknown", &long]
        {
            assert!(!is_time_zone(name), "{name}");
        }
    }
}
