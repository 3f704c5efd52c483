//! Amounts of Stripe and ISO 4217 minor units.
//!
//! Stripe writes amounts as integers in a unit of its own table, <https://docs.stripe.com/currencies>: "currencies are
//! two-decimal currencies unless otherwise specified". The table differs from ISO 4217:
//!
//! - *MGA* has no decimals at Stripe and two in ISO 4217, so 500 of Stripe are 50,000 minor units.
//! - *ISK and UGX* have no decimals in ISO 4217 and two at Stripe, always `00`, "for backwards compatibility". UGX is
//!   also in Stripe's list of currencies without decimals; its special case rules ("to charge 5 UGX, provide an amount
//!   of 500").
//! - *HUF and TWD* have two decimals in charges, refunds and disputes at Stripe and in ISO 4217. Stripe treats them as
//!   currencies without decimals in *payouts* only, which are not read here.
//! - *BHD, JOD, KWD, OMR and TND* have three decimals in both, and Stripe takes only amounts whose last digit is 0.

use serde::{Deserialize, Serialize};

/// Stripe's currencies without decimals.
const NO_DECIMALS: [&str; 15] = [
    "BIF", "CLP", "DJF", "GNF", "JPY", "KMF", "KRW", "MGA", "PYG", "RWF", "VND", "VUV", "XAF",
    "XOF", "XPF",
];
/// Stripe's currencies with three decimals.
const THREE_DECIMALS: [&str; 5] = ["BHD", "JOD", "KWD", "OMR", "TND"];
/// Currencies with two decimals of which Stripe takes whole units only.
const WHOLE_UNITS: [&str; 2] = ["ISK", "UGX"];

/// Why an amount has no counterpart on the other side.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, thiserror::Error,
)]
#[serde(rename_all = "snake_case")]
pub enum CurrencyFault {
    /// The amount has a part that is smaller than the smallest unit of the other side.
    #[error("is no whole number of the smallest unit")]
    NotWhole,
    /// The amount is beyond what 64 bits hold.
    #[error("is too large")]
    TooLarge,
}

/// How many decimals an amount of Stripe in this currency has. `currency` is in any case, such as `usd` or `USD`.
#[must_use]
pub fn decimals(currency: &str) -> u32 {
    if is_in(&NO_DECIMALS, currency) {
        0
    } else if is_in(&THREE_DECIMALS, currency) {
        3
    } else {
        2
    }
}

/// The minor units of an amount of Stripe. `iso_digits` is the number of decimals that ISO 4217 gives the currency.
///
/// # Errors
/// [`CurrencyFault`]: 1234 of ISK are 12.34 krónur, for which ISO 4217 has no unit.
pub fn minor_units(amount: i64, currency: &str, iso_digits: u32) -> Result<i64, CurrencyFault> {
    rescale(amount, decimals(currency), iso_digits)
}

/// The amount for Stripe that these minor units are: the inverse of [`minor_units`].
///
/// # Errors
/// [`CurrencyFault`]: Stripe has no unit for half an ariary, and takes three decimals only if the last is 0.
pub fn stripe_amount(
    amount_minor: i64,
    currency: &str,
    iso_digits: u32,
) -> Result<i64, CurrencyFault> {
    let amount = rescale(amount_minor, iso_digits, decimals(currency))?;
    let step = if is_in(&THREE_DECIMALS, currency) {
        10
    } else if is_in(&WHOLE_UNITS, currency) {
        100
    } else {
        1
    };
    if amount % step == 0 { Ok(amount) } else { Err(CurrencyFault::NotWhole) }
}

fn is_in(codes: &[&str], currency: &str) -> bool {
    codes.iter().any(|code| code.eq_ignore_ascii_case(currency))
}

fn rescale(amount: i64, from_digits: u32, to_digits: u32) -> Result<i64, CurrencyFault> {
    let factor = |digits| 10_i64.checked_pow(digits).ok_or(CurrencyFault::TooLarge);
    if to_digits >= from_digits {
        let factor = factor(to_digits - from_digits)?;
        return amount.checked_mul(factor).ok_or(CurrencyFault::TooLarge);
    }
    let factor = factor(from_digits - to_digits)?;
    if amount % factor == 0 { Ok(amount / factor) } else { Err(CurrencyFault::NotWhole) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use CurrencyFault::{NotWhole, TooLarge};

    #[test]
    fn amounts_follow_stripes_table_where_it_differs_from_iso_4217() {
        for (amount, currency, iso_digits, minor) in [
            (1_000, "usd", 2, Ok(1_000)),
            (500, "jpy", 0, Ok(500)),
            (500, "JPY", 0, Ok(500)),
            (5_120, "kwd", 3, Ok(5_120)),
            // Stripe has whole ariary, ISO 4217 hundredths.
            (500, "mga", 2, Ok(50_000)),
            // Stripe has hundredths, ISO 4217 whole krónur and shillings.
            (500, "isk", 0, Ok(5)),
            (500, "ugx", 0, Ok(5)),
            (1_234, "isk", 0, Err(NotWhole)),
            (101, "ugx", 0, Err(NotWhole)),
            // No decimals in payouts only.
            (1_045, "huf", 2, Ok(1_045)),
            (80_045, "twd", 2, Ok(80_045)),
            (0, "isk", 0, Ok(0)),
            (i64::MAX, "mga", 2, Err(TooLarge)),
            (i64::MAX, "usd", 2, Ok(i64::MAX)),
            (1, "usd", 40, Err(TooLarge)),
        ] {
            assert_eq!(minor_units(amount, currency, iso_digits), minor, "{amount} {currency}");
        }
    }

    #[test]
    fn what_is_sent_to_stripe_comes_back_as_it_was() {
        for (minor, currency, iso_digits, amount) in [
            (1_250, "USD", 2, Ok(1_250)),
            (900, "JPY", 0, Ok(900)),
            (5, "ISK", 0, Ok(500)),
            (7, "UGX", 0, Ok(700)),
            (50_000, "MGA", 2, Ok(500)),
            (50_050, "MGA", 2, Err(NotWhole)),
            (5_120, "KWD", 3, Ok(5_120)),
            (5_124, "KWD", 3, Err(NotWhole)),
        ] {
            let sent = stripe_amount(minor, currency, iso_digits);
            assert_eq!(sent, amount, "{minor} {currency}");
            if let Ok(sent) = sent {
                assert_eq!(minor_units(sent, currency, iso_digits), Ok(minor), "{currency}");
            }
        }
        assert_eq!(stripe_amount(515, "ISK", 1), Err(NotWhole), "whole krónur only");
    }
}
