//! The rules of the model as programs of the API.

use contract::pb::{self, *};

use super::rules::{EarnsOn, Level, Limit, Pays, Rules, SameMailbox};

pub fn program(program_id: &str, rules: &Rules) -> Program {
    let (uses, referrals) = match rules.limit {
        Limit::None => (None, None),
        Limit::UsesPerCode(limit) => (i32::try_from(limit).ok(), None),
        Limit::DirectReferrals(limit) => (None, i32::try_from(limit).ok()),
    };
    let mailbox = match rules.same_mailbox {
        SameMailbox::Unchecked => None,
        SameMailbox::Flag => Some(FraudPolicy::Flag),
        SameMailbox::Hold => Some(FraudPolicy::Hold),
        SameMailbox::Reject => Some(FraudPolicy::Reject),
    };
    let same_mailbox = mailbox.map(|policy| FraudCheck { policy: policy.into() });
    Program {
        program_id: program_id.into(),
        unit: "USD".into(),
        attach: if rules.attach_any_time {
            AttachPolicy::AnyTime.into()
        } else {
            AttachPolicy::RegistrationOnly.into()
        },
        unknown_code: policy(rules.reject_unknown).into(),
        exhausted_code: policy(rules.reject_exhausted).into(),
        earn_on: match rules.earns_on {
            EarnsOn::Referral => EarnOn::Referral.into(),
            EarnsOn::FirstPurchase => EarnOn::FirstPurchase.into(),
            EarnsOn::EveryPurchase => EarnOn::EveryPurchase.into(),
        },
        minimum_purchase_minor: rules.minimum,
        purchase_currency_code: match rules.earns_on {
            EarnsOn::Referral => String::new(),
            EarnsOn::FirstPurchase | EarnsOn::EveryPurchase => "USD".into(),
        },
        first_purchase_used_by: match (rules.earns_on, rules.any_uses_first) {
            (EarnsOn::FirstPurchase, true) => FirstPurchaseUse::AnyPurchase.into(),
            (EarnsOn::FirstPurchase, false) => FirstPurchaseUse::QualifyingPurchase.into(),
            _ => FirstPurchaseUse::Unspecified.into(),
        },
        max_uses_per_code: uses,
        max_direct_referrals: referrals,
        rewards: rules.levels.iter().map(rule).collect(),
        credit_purchases: rules.credit_purchases,
        pays_out: rules.pays_out,
        leaderboard: LeaderboardMetric::Earnings.into(),
        make_up_held_purchases: Some(rules.make_up),
        fraud_checks: same_mailbox
            .map(|check| FraudChecks { same_mailbox: Some(check), ..FraudChecks::default() }),
        reverse_below_minimum: Some(rules.reverse_below_minimum),
        hold_days: rules.hold.then_some(1),
        expire_months: rules.expiry.and_then(|of| i32::try_from(of.months).ok()),
        time_zone: rules.expiry.map(|of| of.zone.name().into()).unwrap_or_default(),
        ..Program::default()
    }
}

fn policy(rejects: bool) -> InvalidCodePolicy {
    if rejects { InvalidCodePolicy::Reject } else { InvalidCodePolicy::RegisterUnreferred }
}

fn rule(level: &Level) -> RewardRule {
    let mut rule = RewardRule {
        rule: format!("level-{}", level.level),
        level: i32::try_from(level.level).unwrap(),
        kind: match &level.pays {
            Pays::Flat(_) => RewardKind::Bonus.into(),
            Pays::Rate(_) => RewardKind::Commission.into(),
            Pays::Count | Pays::Tiers(_) => RewardKind::Points.into(),
        },
        cap_minor: level.cap,
        ..RewardRule::default()
    };
    match &level.pays {
        Pays::Flat(amount) => rule.flat_minor = Some(*amount),
        Pays::Rate(rate) => rule.rate_bps = i32::try_from(*rate).ok(),
        Pays::Count => rule.count = true,
        Pays::Tiers(tiers) => rule.tiers = tiers.iter().enumerate().map(tier).collect(),
    }
    rule
}

fn tier((number, (from, rate, bonus)): (usize, &(usize, i64, i64))) -> pb::Tier {
    pb::Tier {
        name: tier_name(number),
        from_referrals: i32::try_from(*from).unwrap(),
        rate_points: *rate,
        bonus_points: *bonus,
    }
}

pub fn tier_name(number: usize) -> String {
    format!("tier-{number}")
}
