//! Integer money: amounts are whole minor units (cents, paise, points), rates are basis points.

/// The largest amount of one purchase, minimum, cap or flat reward, in minor units.
///
/// Ten trillion dollars: beyond any real purchase, and far enough below `i64::MAX` that nine
/// thousand of them still fit into one balance.
pub const MAX_AMOUNT_MINOR: i64 = 1_000_000_000_000_000;

/// Ten thousand basis points are the whole.
pub const WHOLE_BPS: u32 = 10_000;

/// `rate_bps` of `amount_minor`, rounded half up to the minor unit.
///
/// `amount_minor` is at least 0 and `rate_bps` at most [`WHOLE_BPS`], so the result never exceeds
/// the amount; a larger rate saturates at the amount.
#[must_use]
pub fn share_bps(amount_minor: i64, rate_bps: u32) -> i64 {
    let whole = i128::from(WHOLE_BPS);
    let share = (i128::from(amount_minor.max(0)) * i128::from(rate_bps) + whole / 2) / whole;
    i64::try_from(share).unwrap_or(amount_minor).min(amount_minor.max(0))
}

/// `numerator / denominator` of an amount, rounded half up to the minor unit. None of them is negative; the part never
/// exceeds the amount.
#[must_use]
pub fn part(amount_minor: i64, numerator: i64, denominator: i64) -> i64 {
    let (amount, whole) = (i128::from(amount_minor.max(0)), i128::from(denominator.max(1)));
    let part = (amount * i128::from(numerator.max(0)) + whole / 2) / whole;
    i64::try_from(part).unwrap_or(amount_minor).min(amount_minor.max(0))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_half_rounds_up() {
        assert_eq!(share_bps(100_130, 500), 5_007);
        assert_eq!(share_bps(100_130, 100), 1_001);
        assert_eq!(share_bps(100_110, 500), 5_006, "5005.5");
        assert_eq!(share_bps(100_109, 500), 5_005, "5005.45");
    }

    #[test]
    fn a_half_part_rounds_up() {
        assert_eq!(part(5, 1, 2), 3);
        assert_eq!(part(1, 1, 3), 0);
        assert_eq!(part(5, 7, 7), 5);
    }

    proptest! {
        #[test]
        fn a_share_is_within_half_a_unit_and_never_more_than_the_whole(
            amount in 0..=i64::MAX,
            rate in 0..=WHOLE_BPS,
        ) {
            let share = share_bps(amount, rate);
            prop_assert!((0..=amount).contains(&share));
            let error = i128::from(share) * 10_000 - i128::from(amount) * i128::from(rate);
            prop_assert!(error > -5_000 && error <= 5_000);
        }
    }
}
