//! Conversion of program rules between the contract and the domain.

use std::sync::Arc;

use tonic::Status;

use super::fraud_checks::{fraud_checks_message, read_fraud_checks};
use crate::api::fields::Fields;
use crate::api::pb::{self, ErrorReason};
use crate::api::responses::{count, reward_kind, time};
use domain::code::{CodeFormat, DEFAULT_ALPHABET, DEFAULT_LENGTH};
use domain::decide::Command;
use domain::rules::{
    AttachPolicy, EarnOn, FirstPurchaseUse, InvalidCodePolicy, LeaderboardMetric, MAX_LEVEL,
    MAX_TIERS, Pay, ProgramRules, RewardKind, RewardRule, Tier, UTC,
};
use domain::{Program, ProgramId, ProgramVersion};

/// The maximum number of rules: one per level.
const MAX_RULES: usize = MAX_LEVEL as usize + 1;

/// A version of a program, as the contract shows it.
#[must_use]
pub fn program_message(
    program_id: &ProgramId,
    program: &Program,
    version: &ProgramVersion,
) -> pb::Program {
    let rules = &version.rules;
    let (earn_on, used_by) = match rules.earn_on {
        EarnOn::Referral => (pb::EarnOn::Referral, pb::FirstPurchaseUse::Unspecified),
        EarnOn::EveryPurchase => (pb::EarnOn::EveryPurchase, pb::FirstPurchaseUse::Unspecified),
        EarnOn::FirstPurchase { used_by: FirstPurchaseUse::AnyPurchase } => {
            (pb::EarnOn::FirstPurchase, pb::FirstPurchaseUse::AnyPurchase)
        }
        EarnOn::FirstPurchase { used_by: FirstPurchaseUse::QualifyingPurchase } => {
            (pb::EarnOn::FirstPurchase, pb::FirstPurchaseUse::QualifyingPurchase)
        }
    };
    pb::Program {
        program_id: program_id.to_string(),
        display_name: rules.display_name.clone(),
        version: count(version.version),
        create_time: program.version(1).map(|first| time(first.publish_time)),
        publish_time: Some(time(version.publish_time)),
        unit: rules.unit.clone(),
        base_url: rules.base_url.clone(),
        code: Some(pb::CodeFormat {
            length: count(rules.code.length),
            alphabet: rules.code.alphabet.clone(),
        }),
        attach: match rules.attach {
            AttachPolicy::RegistrationOnly => pb::AttachPolicy::RegistrationOnly,
            AttachPolicy::AnyTime => pb::AttachPolicy::AnyTime,
        }
        .into(),
        unknown_code: invalid_code_policy(rules.unknown_code).into(),
        exhausted_code: invalid_code_policy(rules.exhausted_code).into(),
        earn_on: earn_on.into(),
        minimum_purchase_minor: rules.minimum_purchase_minor,
        purchase_currency_code: rules.purchase_currency_code.clone().unwrap_or_default(),
        first_purchase_used_by: used_by.into(),
        max_uses_per_code: rules.max_uses_per_code.map(count),
        max_direct_referrals: rules.max_direct_referrals.map(count),
        rewards: rules.rewards.iter().map(reward_rule_message).collect(),
        credit_purchases: rules.credit_purchases,
        leaderboard: leaderboard_metric_message(rules.leaderboard).into(),
        enroll_by_default: rules.enroll_by_default,
        mails: rules.mails,
        require_confirmed_email: rules.require_confirmed_email,
        // Left out where it is as if it were left out.
        make_up_held_purchases: (!rules.make_up_held_purchases).then_some(false),
        reverse_below_minimum: (!rules.reverse_below_minimum).then_some(false),
        hold_days: rules.hold_days.map(count),
        pays_out: rules.pays_out,
        expire_months: rules.expire_months.map(count),
        time_zone: Some(&rules.time_zone).filter(|zone| *zone != UTC).cloned().unwrap_or_default(),
        fraud_checks: fraud_checks_message(&rules.fraud_checks),
    }
}

/// The metric of a leaderboard, for the contract.
pub(in crate::api) fn leaderboard_metric_message(
    metric: LeaderboardMetric,
) -> pb::LeaderboardMetric {
    match metric {
        LeaderboardMetric::Points => pb::LeaderboardMetric::Points,
        LeaderboardMetric::Referrals => pb::LeaderboardMetric::Referrals,
        LeaderboardMetric::Conversions => pb::LeaderboardMetric::Conversions,
        LeaderboardMetric::Earnings => pb::LeaderboardMetric::Earnings,
    }
}

/// The metric of a leaderboard; `None` if unspecified.
pub(in crate::api) fn leaderboard_metric(
    metric: pb::LeaderboardMetric,
) -> Option<LeaderboardMetric> {
    match metric {
        pb::LeaderboardMetric::Points => Some(LeaderboardMetric::Points),
        pb::LeaderboardMetric::Referrals => Some(LeaderboardMetric::Referrals),
        pb::LeaderboardMetric::Conversions => Some(LeaderboardMetric::Conversions),
        pb::LeaderboardMetric::Earnings => Some(LeaderboardMetric::Earnings),
        pb::LeaderboardMetric::Unspecified => None,
    }
}

fn invalid_code_policy(policy: InvalidCodePolicy) -> pb::InvalidCodePolicy {
    match policy {
        InvalidCodePolicy::Reject => pb::InvalidCodePolicy::Reject,
        InvalidCodePolicy::RegisterUnreferred => pb::InvalidCodePolicy::RegisterUnreferred,
    }
}

fn reward_rule_message(rule: &RewardRule) -> pb::RewardRule {
    let mut message = pb::RewardRule {
        rule: rule.rule.clone(),
        level: count(rule.level),
        kind: reward_kind(rule.kind).into(),
        cap_minor: rule.cap_minor,
        ..pb::RewardRule::default()
    };
    match &rule.pay {
        Pay::FlatMinor(amount) => message.flat_minor = Some(*amount),
        Pay::RateBps(rate) => message.rate_bps = Some(count(*rate)),
        Pay::Count => message.count = true,
        Pay::Tiers(tiers) => {
            let message_of = |tier: &Tier| pb::Tier {
                name: tier.name.clone(),
                from_referrals: count(tier.from_referrals),
                rate_points: tier.rate_points,
                bonus_points: tier.bonus_points,
            };
            message.tiers = tiers.iter().map(message_of).collect();
        }
    }
    message
}

/// The command that publishes a program.
///
/// # Errors
/// Everything that is wrong with the program, as a status.
#[allow(clippy::result_large_err, reason = "a status is what callers return")]
pub fn publish_command(program: &pb::Program) -> Result<Command, Status> {
    let request =
        pb::PublishProgramRequest { program: Some(program.clone()), ..Default::default() };
    let mut fields = Fields::of(&request);
    let read = read_program(&mut fields, program);
    let (program_id, rules) = fields.finish(read)?;
    Ok(Command::PublishProgram { program_id, rules, expected_version: None })
}

/// Reads a program. All faults, including those of its rules, are recorded in `fields`.
pub(in crate::api) fn read_program(
    fields: &mut Fields,
    program: &pb::Program,
) -> Option<(ProgramId, Arc<ProgramRules>)> {
    let program_id = fields.id("program.program_id", &program.program_id, ProgramId::parse);
    let attach = match program.attach() {
        pb::AttachPolicy::RegistrationOnly => Some(AttachPolicy::RegistrationOnly),
        pb::AttachPolicy::AnyTime => Some(AttachPolicy::AnyTime),
        pb::AttachPolicy::Unspecified => missing(fields, "program.attach"),
    };
    let earn_on = read_earn_on(fields, program);
    let leaderboard = leaderboard_metric(program.leaderboard())
        .or_else(|| missing(fields, "program.leaderboard"));
    let mut limit = |field: &str, value: Option<i32>| {
        value.map(|value| {
            u32::try_from(value).unwrap_or_else(|_| {
                fields.fault(field, ErrorReason::InvalidProgram, "must be at least 1");
                1
            })
        })
    };
    let max_uses_per_code = limit("program.max_uses_per_code", program.max_uses_per_code);
    let hold_days = limit("program.hold_days", program.hold_days);
    let expire_months = limit("program.expire_months", program.expire_months);
    let max_direct_referrals = limit("program.max_direct_referrals", program.max_direct_referrals);
    let code = program.code.clone().unwrap_or_default();
    if program.rewards.len() > MAX_RULES {
        let message = format!("must be at most {MAX_RULES} rules, one per level");
        fields.fault("program.rewards", ErrorReason::InvalidProgram, message);
    }
    let mut rewards: Vec<RewardRule> = Vec::new();
    let mut unreadable = Vec::new();
    for (index, message) in program.rewards.iter().take(MAX_RULES).enumerate() {
        let rule = read_rule(fields, &format!("program.rewards[{index}]"), message);
        rewards.push(rule.unwrap_or_else(|| {
            unreadable.push(format!("rewards[{index}]."));
            // A level that causes no faults in the neighbouring rules.
            let below = rewards.last().map_or(0, |below| below.level);
            RewardRule {
                rule: message.rule.clone(),
                level: u32::try_from(message.level).unwrap_or(below),
                kind: RewardKind::Bonus,
                pay: Pay::FlatMinor(1),
                cap_minor: None,
            }
        }));
    }
    // Values that could not be read are replaced by harmless ones, so that the rest is checked too.
    let rules = ProgramRules {
        display_name: if program.display_name.is_empty() {
            program.program_id.clone()
        } else {
            program.display_name.clone()
        },
        unit: program.unit.clone(),
        base_url: program.base_url.clone(),
        code: CodeFormat {
            length: match code.length {
                0 => DEFAULT_LENGTH,
                length => u32::try_from(length).unwrap_or_default(),
            },
            alphabet: if code.alphabet.is_empty() {
                DEFAULT_ALPHABET.into()
            } else {
                code.alphabet
            },
        },
        attach: attach.unwrap_or(AttachPolicy::AnyTime),
        unknown_code: read_code_policy(program.unknown_code()),
        exhausted_code: read_code_policy(program.exhausted_code()),
        earn_on: earn_on.unwrap_or(EarnOn::EveryPurchase),
        minimum_purchase_minor: program.minimum_purchase_minor,
        purchase_currency_code: Some(program.purchase_currency_code.clone())
            .filter(|code| !code.is_empty()),
        max_uses_per_code,
        max_direct_referrals,
        rewards,
        credit_purchases: program.credit_purchases,
        leaderboard: leaderboard.unwrap_or(LeaderboardMetric::Points),
        enroll_by_default: program.enroll_by_default,
        mails: program.mails,
        require_confirmed_email: program.require_confirmed_email,
        make_up_held_purchases: program.make_up_held_purchases.unwrap_or(true),
        reverse_below_minimum: program.reverse_below_minimum.unwrap_or(true),
        hold_days,
        pays_out: program.pays_out,
        expire_months,
        time_zone: Some(&program.time_zone)
            .filter(|zone| !zone.is_empty())
            .map_or_else(|| UTC.into(), Clone::clone),
        fraud_checks: read_fraud_checks(
            fields,
            "program.fraud_checks",
            program.fraud_checks.as_ref(),
        ),
    };
    for fault in rules.faults() {
        if unreadable.iter().any(|path| fault.field.starts_with(path)) {
            continue;
        }
        let field = format!("program.{}", fault.field);
        fields.fault(field, ErrorReason::InvalidProgram, fault.message);
    }
    Some((program_id?, Arc::new(rules)))
}

/// Records that a field is missing. An enum with a number that is not known also reads as missing, and is at fault
/// already.
fn missing<T>(fields: &mut Fields, field: &str) -> Option<T> {
    if !fields.has_fault(field) {
        fields.fault(field, ErrorReason::FieldRequired, "is required");
    }
    None
}

/// By default a sign-up with a code that cannot be used is rejected.
fn read_code_policy(policy: pb::InvalidCodePolicy) -> InvalidCodePolicy {
    match policy {
        pb::InvalidCodePolicy::RegisterUnreferred => InvalidCodePolicy::RegisterUnreferred,
        pb::InvalidCodePolicy::Reject | pb::InvalidCodePolicy::Unspecified => {
            InvalidCodePolicy::Reject
        }
    }
}

fn read_earn_on(fields: &mut Fields, program: &pb::Program) -> Option<EarnOn> {
    let field = "program.first_purchase_used_by";
    let used_by = match program.first_purchase_used_by() {
        pb::FirstPurchaseUse::Unspecified => None,
        pb::FirstPurchaseUse::AnyPurchase => Some(FirstPurchaseUse::AnyPurchase),
        pb::FirstPurchaseUse::QualifyingPurchase => Some(FirstPurchaseUse::QualifyingPurchase),
    };
    let earn_on = match program.earn_on() {
        pb::EarnOn::Unspecified => return missing(fields, "program.earn_on"),
        pb::EarnOn::FirstPurchase => match used_by {
            Some(used_by) => return Some(EarnOn::FirstPurchase { used_by }),
            None => return missing(fields, field),
        },
        pb::EarnOn::Referral => EarnOn::Referral,
        pb::EarnOn::EveryPurchase => EarnOn::EveryPurchase,
    };
    if used_by.is_some() {
        let message = "has a meaning only with EARN_ON_FIRST_PURCHASE";
        fields.fault(field, ErrorReason::InvalidProgram, message);
    }
    Some(earn_on)
}

fn read_rule(fields: &mut Fields, path: &str, rule: &pb::RewardRule) -> Option<RewardRule> {
    let kind = match rule.kind() {
        pb::RewardKind::Points => Some(RewardKind::Points),
        pb::RewardKind::Credit => Some(RewardKind::Credit),
        pb::RewardKind::Bonus => Some(RewardKind::Bonus),
        pb::RewardKind::Commission => Some(RewardKind::Commission),
        pb::RewardKind::Unspecified => missing(fields, &format!("{path}.kind")),
    };
    let mut invalid = |field: &str, message: &str| {
        fields.fault(format!("{path}.{field}"), ErrorReason::InvalidProgram, message);
    };
    let level = u32::try_from(rule.level)
        .inspect_err(|_| invalid("level", "must be 0 (the referee) or more"))
        .ok();
    let mut pays = Vec::new();
    pays.extend(rule.flat_minor.map(Pay::FlatMinor));
    if let Some(rate) = rule.rate_bps {
        pays.push(Pay::RateBps(u32::try_from(rate).unwrap_or_default()));
    }
    if rule.count {
        pays.push(Pay::Count);
    }
    if !rule.tiers.is_empty() {
        let mut tiers = Vec::new();
        // One more than the maximum, so that the rules report that there are too many.
        for (index, tier) in rule.tiers.iter().take(MAX_TIERS + 1).enumerate() {
            let from_referrals = u32::try_from(tier.from_referrals).unwrap_or_else(|_| {
                invalid(&format!("tiers[{index}].from_referrals"), "must be 0 or more");
                0
            });
            tiers.push(Tier {
                name: tier.name.clone(),
                from_referrals,
                rate_points: tier.rate_points,
                bonus_points: tier.bonus_points,
            });
        }
        pays.push(Pay::Tiers(tiers));
    }
    if pays.len() != 1 {
        invalid("flat_minor", "set exactly one of flat_minor, rate_bps, tiers and count");
    }
    let pay = if pays.len() == 1 { pays.pop() } else { None };
    Some(RewardRule {
        rule: rule.rule.clone(),
        level: level?,
        kind: kind?,
        pay: pay?,
        cap_minor: rule.cap_minor,
    })
}
