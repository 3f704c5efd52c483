//! Who reads a page: how numbers, amounts and times are written for them.

use std::sync::Arc;

use contract::pb::Money;
use icu_decimal::DecimalFormatter;
use icu_decimal::input::Decimal;
use icu_decimal::options::DecimalFormatterOptions;
use icu_locale_core::Locale;
use jiff::tz::TimeZone;
use maud::{Markup, html};
use prost_types::Timestamp;

use crate::names::Names;

/// The look that a reader has chosen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Theme {
    /// As the system prefers.
    #[default]
    System,
    /// Light.
    Light,
    /// Dark.
    Dark,
}

impl Theme {
    /// Each theme.
    pub const ALL: [Self; 3] = [Self::System, Self::Light, Self::Dark];

    /// The theme as forms and the cookie name it; empty for the system's.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::System => "",
            Self::Light => "light",
            Self::Dark => "dark",
        }
    }

    /// The theme of this name; that of the system for anything else.
    #[must_use]
    pub fn parse(name: &str) -> Self {
        Self::ALL.into_iter().find(|theme| theme.as_str() == name).unwrap_or_default()
    }
}

/// Who reads.
#[derive(Clone)]
pub struct Reader {
    numbers: Option<Arc<DecimalFormatter>>,
    zone: TimeZone,
    /// Whether the zone is that of the reader's browser.
    knows_zone: bool,
    /// The look.
    pub theme: Theme,
    /// What paths of pages begin with: the path of the public URL, empty at the top of a host.
    pub root: String,
    /// The names of those whom the page is about.
    pub names: Arc<Names>,
}

impl Reader {
    /// A reader with the languages of an `Accept-Language` header, and with the zone that the browser has told.
    #[must_use]
    pub fn new(languages: &str, zone: Option<&str>, theme: Theme, root: String) -> Self {
        let first = languages.split([',', ';']).next().unwrap_or_default().trim();
        // With the digits of the text around them, also where the language has others.
        let locale = Locale::try_from_str(&format!("{first}-u-nu-latn"));
        let locale = locale.unwrap_or(Locale::UNKNOWN);
        let numbers =
            DecimalFormatter::try_new((&locale).into(), DecimalFormatterOptions::default());
        let known = zone.and_then(|name| TimeZone::get(name).ok());
        Self {
            numbers: numbers.ok().map(Arc::new),
            knows_zone: known.is_some(),
            zone: known.unwrap_or(TimeZone::UTC),
            theme,
            root,
            names: Arc::default(),
        }
    }

    /// The same reader, of a page about people and programs with these names.
    #[must_use]
    pub fn knowing(&self, names: Names) -> Self {
        Self { names: Arc::new(names), ..self.clone() }
    }

    /// The same reader, of something whose times are in UTC whoever reads it. Each of them says so.
    #[must_use]
    pub fn in_utc(&self) -> Self {
        Self { zone: TimeZone::UTC, knows_zone: false, ..self.clone() }
    }

    /// The address of a page: its path, below the root of the pages.
    #[must_use]
    pub fn to(&self, path: &str) -> String {
        format!("{}{path}", self.root)
    }

    /// The zone by the name that requests take.
    #[must_use]
    pub fn zone_name(&self) -> &str {
        self.zone.iana_name().unwrap_or("UTC")
    }

    /// The zone.
    #[must_use]
    pub fn zone(&self) -> &TimeZone {
        &self.zone
    }

    /// A number with the separators of the locale.
    #[must_use]
    pub fn number(&self, number: impl Into<i128>) -> String {
        let number = number.into();
        let digits = self.digits(&Decimal::from(number.unsigned_abs()));
        if number < 0 { format!("−{digits}") } else { digits }
    }

    /// A share of ten thousand as a percentage: `5%`, `12.5%`.
    #[must_use]
    pub fn percent(&self, basis_points: impl Into<i128>) -> String {
        let mut share = Decimal::from(basis_points.into().unsigned_abs());
        share.multiply_pow10(-2);
        share.absolute.trim_end();
        format!("{}%", self.digits(&share))
    }

    /// The digits of an amount, with as many decimals as its unit has, without the unit.
    #[must_use]
    pub fn minor(&self, minor_units: impl Into<i128>, unit: &str) -> String {
        let minor_units = minor_units.into();
        let decimals = decimals(unit);
        let mut amount = Decimal::from(minor_units.unsigned_abs());
        amount.multiply_pow10(-decimals);
        let digits = self.digits(&amount);
        if minor_units < 0 { format!("−{digits}") } else { digits }
    }

    /// An amount as text, as in `1,240.50 INR`.
    #[must_use]
    pub fn words(&self, amount: Option<&Money>) -> String {
        let Some(amount) = amount else { return "0".into() };
        let unit = &amount.currency_code;
        let name = unit_of(amount.minor_units.into(), unit);
        format!("{} {name}", self.minor(amount.minor_units, unit))
    }

    /// An amount.
    #[must_use]
    pub fn amount(&self, amount: Option<&Money>) -> Markup {
        let none = Money::default();
        let amount = amount.unwrap_or(&none);
        self.amount_of(amount.minor_units, &amount.currency_code)
    }

    /// An amount of so many minor units.
    #[must_use]
    pub fn amount_of(&self, minor_units: impl Into<i128>, unit: &str) -> Markup {
        let minor_units: i128 = minor_units.into();
        html! {
            span.amount { (self.minor(minor_units, unit)) small { (unit_of(minor_units, unit)) } }
        }
    }

    /// An amount that was added or taken: with its sign, in the colour of it.
    #[must_use]
    pub fn change(&self, amount: Option<&Money>) -> Markup {
        let none = Money::default();
        let amount = amount.unwrap_or(&none);
        let (minor, unit) = (amount.minor_units, &amount.currency_code);
        let class = match minor {
            1.. => "amount strong good",
            0 => "amount soft",
            _ => "amount strong bad",
        };
        let sign = if minor > 0 { "+" } else { "" };
        html! {
            span class=(class) { (sign) (self.minor(minor, unit)) small { (unit_of(minor.into(), unit)) } }
        }
    }

    /// A moment: as date and time in the reader's zone. The script says how long ago it was.
    #[must_use]
    pub fn time(&self, time: Option<&Timestamp>) -> Markup {
        self.moment(time, true)
    }

    /// A moment as date and time, also when it was a short while ago.
    #[must_use]
    pub fn exact_time(&self, time: Option<&Timestamp>) -> Markup {
        self.moment(time, false)
    }

    fn moment(&self, time: Option<&Timestamp>, is_relative: bool) -> Markup {
        let Some(moment) = time.and_then(moment) else { return html! { "–" } };
        let zoned = moment.to_zoned_datetime(self.zone.clone());
        let zone = if self.knows_zone { "" } else { " UTC" };
        html! {
            time datetime=(moment) data-relative[is_relative] {
                (zoned.strftime("%-d %b %Y, %H:%M")) (zone)
            }
        }
    }

    /// The day of a moment.
    #[must_use]
    pub fn day(&self, time: Option<&Timestamp>) -> String {
        let Some(moment) = time.and_then(moment) else { return "–".into() };
        moment.to_zoned_datetime(self.zone.clone()).strftime("%-d %B %Y").to_string()
    }

    /// The day before a moment: the last one of what ends at it.
    #[must_use]
    pub fn day_before(&self, end: Option<&Timestamp>) -> String {
        let last = end.map(|end| Timestamp { seconds: end.seconds - 1, nanos: 0 });
        self.day(last.as_ref())
    }

    /// A moment as text, to the minute.
    #[must_use]
    pub fn minute(&self, time: Option<&Timestamp>) -> String {
        let Some(moment) = time.and_then(moment) else { return "–".into() };
        let zone = if self.knows_zone { "" } else { " UTC" };
        let zoned = moment.to_zoned_datetime(self.zone.clone());
        format!("{}{zone}", zoned.strftime("%-d %B %Y, %H:%M"))
    }

    fn digits(&self, number: &Decimal) -> String {
        match &self.numbers {
            Some(numbers) => numbers.format(number).to_string(),
            None => number.to_string(),
        }
    }
}

/// An id as a segment of a path: ids may have signs that paths are divided by.
#[must_use]
pub fn segment(id: &str) -> String {
    let encoded = id.bytes().map(|byte| {
        let is_plain = byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~');
        if is_plain { char::from(byte).to_string() } else { format!("%{byte:02X}") }
    });
    encoded.collect()
}

/// A moment of the contract.
#[must_use]
pub fn moment(time: &Timestamp) -> Option<jiff::Timestamp> {
    jiff::Timestamp::new(time.seconds, time.nanos).ok()
}

/// A month of the contract, as `2026-11`, for a title: `November 2026`.
#[must_use]
pub fn month_name(month: &str) -> String {
    let first = format!("{month}-01").parse::<jiff::civil::Date>();
    first.map_or_else(|_| month.into(), |first| first.strftime("%B %Y").to_string())
}

/// A day of the contract, as `2026-11-28`, in a sentence: `28 November 2026`.
#[must_use]
pub fn long_date(date: &str) -> String {
    let parsed = date.parse::<jiff::civil::Date>();
    parsed.map_or_else(|_| date.into(), |date| date.strftime("%-d %B %Y").to_string())
}

/// A day of the contract, as `2026-11-28`, for a chart: `28 Nov`.
#[must_use]
pub fn short_date(date: &str) -> String {
    let parsed = date.parse::<jiff::civil::Date>();
    parsed.map_or_else(|_| date.into(), |date| date.strftime("%-d %b").to_string())
}

/// How many decimals amounts of a unit have.
#[must_use]
pub fn decimals(unit: &str) -> i16 {
    let entry = rust_iso4217::ALL_MAP.get(unit);
    entry.and_then(|entry| i16::try_from(entry.unit).ok()).unwrap_or_default().max(0)
}

/// An amount as people write it, `12.50`, in minor units of a currency with so many decimals.
#[must_use]
pub fn minor_units(text: &str, decimals: usize) -> Option<i64> {
    let (whole, part) = text.trim().split_once('.').unwrap_or((text.trim(), ""));
    let is_number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || !is_number(whole) || !is_number(part) || part.len() > decimals {
        return None;
    }
    format!("{whole}{part:0<decimals$}").parse().ok()
}

/// The same, perhaps below zero: `-12.50`.
#[must_use]
pub fn signed_minor_units(text: &str, decimals: usize) -> Option<i64> {
    let text = text.trim();
    // The sign as it is typed, and as pages write it.
    match text.strip_prefix(['-', '−']) {
        Some(rest) => minor_units(rest, decimals).map(|minor| -minor),
        None => minor_units(text.strip_prefix('+').unwrap_or(text), decimals),
    }
}

/// An amount as fields and files have it: with a point and without separators.
#[must_use]
pub fn plain(minor_units: i64, decimals: usize) -> String {
    let digits = format!("{:0>1$}", minor_units.unsigned_abs(), decimals + 1);
    let sign = if minor_units < 0 { "-" } else { "" };
    let (whole, rest) = digits.split_at(digits.len() - decimals);
    if rest.is_empty() { format!("{sign}{whole}") } else { format!("{sign}{whole}.{rest}") }
}

/// The decimals of a unit, as the number of digits.
#[must_use]
pub fn places(unit: &str) -> usize {
    usize::try_from(decimals(unit)).unwrap_or_default()
}

/// A unit behind an amount: one of a program's own is in the singular behind 1, as in `1 point`.
#[must_use]
pub fn unit_of(minor_units: i128, unit: &str) -> String {
    let name = unit_name(unit);
    let is_one = minor_units.unsigned_abs() == 1 && name != unit;
    let single = name.strip_suffix('s').filter(|rest| is_one && !rest.ends_with(['s', 'u', 'i']));
    single.map_or_else(|| name.clone(), str::to_owned)
}

/// A unit for people: currencies by their code, units of programs in lower case.
#[must_use]
pub fn unit_name(unit: &str) -> String {
    if rust_iso4217::ALL_MAP.contains_key(unit) {
        unit.into()
    } else {
        unit.to_lowercase().replace('_', " ")
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]
mod tests {
    use super::*;

    fn reader(languages: &str) -> Reader {
        Reader::new(languages, Some("Asia/Kolkata"), Theme::System, String::new())
    }

    #[test]
    fn amounts_have_the_digits_of_the_currency_and_the_separators_of_the_locale() {
        for (languages, minor, unit, expected) in [
            ("en-US,en;q=0.5", 123_456_789, "USD", "1,234,567.89"),
            ("en-IN", 123_456_789, "INR", "12,34,567.89"),
            ("de", 123_456_789, "EUR", "1.234.567,89"),
            ("en", -5, "USD", "−0.05"),
            ("en", 1_000, "JPY", "1,000"),
            ("en", 1_000, "BHD", "1.000"),
            ("en", 1_000, "POINTS", "1,000"),
            ("ar-EG", 12, "POINTS", "12"),
            ("no language at all", 1_000, "USD", "10.00"),
            ("", i64::MIN, "POINTS", "−9,223,372,036,854,775,808"),
        ] {
            assert_eq!(reader(languages).minor(minor, unit), expected, "{languages} {unit}");
        }
        for (minor_units, unit, expected) in [
            (1, "POINTS", "1 point"),
            (-1, "REFERRALS", "−1 referral"),
            (2, "POINTS", "2 points"),
            (1, "BONUS", "1 bonus"),
            (1, "JPY", "1 JPY"),
        ] {
            let amount = Money { currency_code: unit.into(), minor_units };
            assert_eq!(reader("en").words(Some(&amount)), expected);
        }
        assert_eq!(reader("en").percent(500), "5%");
        assert_eq!(reader("en").percent(1_250), "12.5%");
        assert_eq!(reader("en").percent(0), "0%");
    }

    #[test]
    fn ids_do_not_divide_paths() {
        assert_eq!(segment("a-b.c_d~9"), "a-b.c_d~9");
        assert_eq!(segment("a/b?c=d+e|%ä"), "a%2Fb%3Fc%3Dd%2Be%7C%25%C3%A4");
    }

    #[test]
    fn times_are_in_the_zone_of_the_reader_and_say_so_if_that_is_not_known() {
        let time = Timestamp { seconds: 1_795_887_000, nanos: 0 };
        let of = |zone| {
            let reader = Reader::new("en", zone, Theme::System, String::new());
            reader.exact_time(Some(&time)).into_string()
        };
        assert!(
            of(Some("Asia/Kolkata")).contains("28 Nov 2026, 23:00<"),
            "{}",
            of(Some("Asia/Kolkata"))
        );
        assert!(of(None).contains("28 Nov 2026, 17:30 UTC<"), "{}", of(None));
        assert!(of(Some("No/Where")).contains("UTC"));
        assert!(of(Some("../../etc/passwd")).contains("UTC"));
    }

    #[test]
    fn an_amount_has_no_more_decimals_than_its_currency() {
        for (text, decimals, expected) in [
            ("12.50", 2, Some(1_250)),
            (" 12 ", 2, Some(1_200)),
            ("12.5", 2, Some(1_250)),
            ("0.05", 2, Some(5)),
            ("12.505", 2, None),
            ("12.5", 0, None),
            ("1200", 0, Some(1_200)),
            (".5", 2, None),
            ("-5", 2, None),
            ("1e3", 2, None),
            ("", 2, None),
            ("99999999999999999999", 2, None),
        ] {
            assert_eq!(minor_units(text, decimals), expected, "{text}");
        }
    }

    #[test]
    fn an_adjustment_has_a_sign() {
        for (text, expected) in [
            ("-12.50", Some(-1_250)),
            ("−12.50", Some(-1_250)),
            ("+5", Some(500)),
            (" 5 ", Some(500)),
            ("--5", None),
            ("+-5", None),
            ("-", None),
        ] {
            assert_eq!(signed_minor_units(text, 2), expected, "{text}");
        }
    }

    #[test]
    fn an_amount_is_read_as_it_was_written() {
        for (minor, decimals, expected) in [
            (123_456, 2, "1234.56"),
            (5, 2, "0.05"),
            (-5, 2, "-0.05"),
            (1_200, 0, "1200"),
            (i64::MAX, 2, "92233720368547758.07"),
        ] {
            assert_eq!(plain(minor, decimals), expected);
            assert_eq!(signed_minor_units(expected, decimals), Some(minor), "{expected}");
        }
    }
}
