//! The five programs that ship with the engine, as rules, and examples of each with numbers.

mod accounts;
mod adjustments;
mod changed_rules;
mod erasure;
pub(super) mod evidence;
mod expiry;
mod first_purchase_bonus;
mod first_purchase_credits;
mod held_referrals;
mod lots;
mod money_back;
mod multi_level_commission;
mod payments;
mod payouts;
mod purchases;
mod referral_count;
mod referrals;
mod reverse_rewards;
pub(super) mod screening;
mod screening_table;
mod store;
mod tiered_points;
mod validation;

use crate::code::CodeFormat;
use crate::fraud::FraudChecks;
use crate::rules::{
    AttachPolicy, EarnOn, FirstPurchaseUse, InvalidCodePolicy, LeaderboardMetric, Pay,
    ProgramRules, RewardKind, RewardRule, Tier,
};

/// What the five have in common, to be filled in.
fn blank(display_name: &str, unit: &str, earn_on: EarnOn) -> ProgramRules {
    ProgramRules {
        display_name: display_name.into(),
        unit: unit.into(),
        base_url: "https://example.com/join".into(),
        code: CodeFormat::default(),
        attach: AttachPolicy::RegistrationOnly,
        unknown_code: InvalidCodePolicy::Reject,
        exhausted_code: InvalidCodePolicy::Reject,
        earn_on,
        minimum_purchase_minor: 0,
        purchase_currency_code: None,
        max_uses_per_code: None,
        max_direct_referrals: None,
        rewards: Vec::new(),
        credit_purchases: false,
        leaderboard: LeaderboardMetric::Points,
        enroll_by_default: false,
        mails: true,
        require_confirmed_email: false,
        make_up_held_purchases: true,
        reverse_below_minimum: true,
        hold_days: None,
        pays_out: false,
        expire_months: None,
        time_zone: crate::rules::UTC.into(),
        fraud_checks: FraudChecks::default(),
    }
}

pub fn rule(rule: &str, level: u32, kind: RewardKind, pay: Pay) -> RewardRule {
    RewardRule { rule: rule.into(), level, kind, pay, cap_minor: None }
}

pub fn tier(name: &str, from_referrals: u32, rate_points: i64, bonus_points: i64) -> Tier {
    Tier { name: name.into(), from_referrals, rate_points, bonus_points }
}

/// Points by tier.
pub fn tiered_points() -> ProgramRules {
    let tiers =
        vec![tier("Bronze", 0, 10, 0), tier("Silver", 10, 15, 100), tier("Gold", 50, 25, 500)];
    ProgramRules {
        rewards: vec![rule("tier-points", 1, RewardKind::Points, Pay::Tiers(tiers))],
        fraud_checks: FraudChecks {
            fingerprint: None,
            mutual_referral: None,
            referral_burst: None,
            disposable_domain: None,
            ..FraudChecks::all()
        },
        ..blank("Points by tier", "POINTS", EarnOn::Referral)
    }
}

/// A plain count.
pub fn referral_count() -> ProgramRules {
    ProgramRules {
        rewards: vec![rule("referral", 1, RewardKind::Points, Pay::Count)],
        leaderboard: LeaderboardMetric::Referrals,
        ..blank("A plain count", "REFERRALS", EarnOn::Referral)
    }
}

/// A bonus for both sides at the first purchase that is large enough.
pub fn first_purchase_bonus() -> ProgramRules {
    let earn_on = EarnOn::FirstPurchase { used_by: FirstPurchaseUse::QualifyingPurchase };
    let bonus = |name, level| rule(name, level, RewardKind::Bonus, Pay::FlatMinor(1_000));
    ProgramRules {
        unknown_code: InvalidCodePolicy::RegisterUnreferred,
        exhausted_code: InvalidCodePolicy::RegisterUnreferred,
        minimum_purchase_minor: 1_000,
        purchase_currency_code: Some("USD".into()),
        max_uses_per_code: Some(10),
        rewards: vec![bonus("referee-bonus", 0), bonus("referrer-bonus", 1)],
        credit_purchases: true,
        leaderboard: LeaderboardMetric::Conversions,
        ..blank("A bonus for both sides", "USD", earn_on)
    }
}

/// Commissions on every purchase, for two levels of the upline.
pub fn multi_level_commission() -> ProgramRules {
    let commission = |name, level, rate_bps| RewardRule {
        cap_minor: Some(100_000),
        ..rule(name, level, RewardKind::Commission, Pay::RateBps(rate_bps))
    };
    ProgramRules {
        attach: AttachPolicy::AnyTime,
        minimum_purchase_minor: 100_000,
        purchase_currency_code: Some("INR".into()),
        max_direct_referrals: Some(8),
        rewards: vec![
            commission("direct-commission", 1, 500),
            commission("upline-commission", 2, 100),
        ],
        leaderboard: LeaderboardMetric::Earnings,
        ..blank("Commissions for the upline", "INR", EarnOn::EveryPurchase)
    }
}

/// Credits for both sides at the first purchase of anything.
pub fn first_purchase_credits() -> ProgramRules {
    let earn_on = EarnOn::FirstPurchase { used_by: FirstPurchaseUse::AnyPurchase };
    let credits = |name, level| rule(name, level, RewardKind::Credit, Pay::FlatMinor(2));
    ProgramRules {
        code: CodeFormat { length: 6, ..CodeFormat::default() },
        rewards: vec![credits("referee-credits", 0), credits("referrer-credits", 1)],
        ..blank("Credits for both sides", "CREDITS", earn_on)
    }
}

/// The five, with the identifiers under which they ship.
pub fn all() -> [(&'static str, ProgramRules); 5] {
    [
        ("tiered-points", tiered_points()),
        ("referral-count", referral_count()),
        ("first-purchase-bonus", first_purchase_bonus()),
        ("multi-level-commission", multi_level_commission()),
        ("first-purchase-credits", first_purchase_credits()),
    ]
}
