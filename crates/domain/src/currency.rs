//! Currency codes of ISO 4217, and the units of points and credits.

use rust_iso4217::ALL_MAP;

/// Withdrawn codes in which nobody could ever pay: units of account of the railways, of the Bank for International
/// Settlements and of the European Communities, and a funds code.
const NEVER_MONEY: [&str; 4] = ["XEU", "XFO", "XFU", "XRE"];

/// Whether a purchase may be paid in `code`: an ISO 4217 code in upper case, in force or withdrawn.
///
/// A withdrawn code such as HRK was money once, and purchases of that time are imported with it. Codes in force
/// without a minor unit are precious metals, units of account and the codes for tests and for "no currency".
#[must_use]
pub fn is_currency(code: &str) -> bool {
    ALL_MAP.get(code).is_some_and(|entry| match entry.code_type {
        "historic" => !NEVER_MONEY.contains(&code),
        _ => entry.unit >= 0,
    })
}

/// How many decimals ISO 4217 gives a currency; `None` if `code` is no currency.
#[must_use]
pub fn decimals(code: &str) -> Option<u32> {
    let entry = ALL_MAP.get(code).filter(|_| is_currency(code))?;
    Some(u32::try_from(entry.unit).unwrap_or_default())
}

/// What is wrong with `code` where a currency is needed; `None` if it is one.
#[must_use]
pub fn currency_fault(code: &str) -> Option<&'static str> {
    if is_currency(code) {
        None
    } else if ALL_MAP.contains_key(code) {
        Some(
            "must be money: this ISO 4217 code is of a metal, a unit of account, a test or no currency",
        )
    } else {
        Some("must be an ISO 4217 code in capitals, such as USD")
    }
}

/// Whether a program may keep its balances in `code`: a currency, or a custom name for points or credits: 3
/// to 12 characters of `A-Z 0-9 _` that starts with a letter.
#[must_use]
pub fn is_unit(code: &str) -> bool {
    (3..=12).contains(&code.len())
        && code.starts_with(|first: char| first.is_ascii_uppercase())
        && code
            .bytes()
            .all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_')
        && (code.len() != 3 || is_currency(code))
}

/// An amount for people: `12.50 USD`, `900 JPY`, `7 POINTS`.
#[must_use]
pub fn amount_text(minor_units: i64, unit: &str) -> String {
    let decimals = decimals(unit).and_then(|of| usize::try_from(of).ok()).unwrap_or(0);
    let sign = if minor_units < 0 { "-" } else { "" };
    let digits = format!("{:0>1$}", minor_units.unsigned_abs(), decimals + 1);
    match digits.split_at(digits.len() - decimals) {
        (whole, "") => format!("{sign}{whole} {unit}"),
        (whole, fraction) => format!("{sign}{whole}.{fraction} {unit}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_currency_is_or_was_money() {
        for code in ["USD", "EUR", "JPY", "KWD", "XOF", "VES", "XCG", "CLF"] {
            assert!(is_currency(code), "{code}");
        }
        for code in ["HRK", "BGN", "DEM", "LTL", "SLL", "ANG", "BYR", "VEF", "ZWL", "TRL"] {
            assert!(is_currency(code), "{code}");
        }
        for code in ["XAU", "XDR", "XTS", "XXX", "XFO", "XEU", "ABC", "usd", "hrk", ""] {
            assert!(!is_currency(code), "{code}");
        }
        for code in ["XAU", "XAG", "XDR", "XTS", "XXX", "XEU"] {
            assert!(
                currency_fault(code).unwrap_or_default().starts_with("must be money"),
                "{code}"
            );
        }
        for code in ["ABC", "xau", "usd", ""] {
            assert!(currency_fault(code).unwrap_or_default().contains("such as USD"), "{code}");
        }
        assert_eq!(currency_fault("HRK"), None);
    }

    #[test]
    fn an_amount_has_the_decimals_of_its_currency() {
        for (minor_units, unit, text) in [
            (1_250, "USD", "12.50 USD"),
            (5, "USD", "0.05 USD"),
            (-5, "USD", "-0.05 USD"),
            (0, "INR", "0.00 INR"),
            (900, "JPY", "900 JPY"),
            (1_234, "KWD", "1.234 KWD"),
            (7, "POINTS", "7 POINTS"),
            (i64::MIN, "POINTS", "-9223372036854775808 POINTS"),
        ] {
            assert_eq!(amount_text(minor_units, unit), text);
        }
    }

    #[test]
    fn decimals_are_those_of_iso_4217() {
        for (code, expected) in [
            ("USD", Some(2)),
            ("JPY", Some(0)),
            ("KWD", Some(3)),
            ("ISK", Some(0)),
            ("UGX", Some(0)),
            ("MGA", Some(2)),
            ("XAU", None),
            ("POINTS", None),
        ] {
            assert_eq!(decimals(code), expected, "{code}");
        }
    }

    #[test]
    fn a_unit_is_a_currency_or_a_longer_name() {
        assert!(is_currency("INR") && !is_currency("inr") && !is_currency("POINTS"));
        assert!(is_unit("USD") && is_unit("POINTS") && is_unit("GEMS_2"));
        assert!(!is_unit("ABC"), "three letters look like a currency that does not exist");
        assert!(!is_unit("pts") && !is_unit("A") && !is_unit("2FAST"));
    }
}
