//! Currency codes of ISO 4217, and the units of points and credits.

use rust_iso4217::ALL_MAP;

/// Whether a purchase may be paid in `code`: an active ISO 4217 code, in upper case.
///
/// Codes that the standard has withdrawn, such as HRK, are not active. Codes without a minor unit are
/// precious metals, units of account and the codes for tests and for "no currency".
#[must_use]
pub fn is_currency(code: &str) -> bool {
    ALL_MAP.get(code).is_some_and(|entry| entry.code_type != "historic" && entry.unit >= 0)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_currency_is_in_force_and_has_a_minor_unit() {
        for code in ["USD", "EUR", "JPY", "KWD", "XOF", "VES", "XCG", "CLF"] {
            assert!(is_currency(code), "{code}");
        }
        for code in ["HRK", "BGN", "DEM", "XAU", "XDR", "XTS", "XXX", "ABC", "usd", ""] {
            assert!(!is_currency(code), "{code}");
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
