//! The five shipped programs, and other versions of each: other amounts, caps and tiers, and other answers to what
//! earns and what is first.

use contract::parse_program;
use contract::pb::program_service_client::ProgramServiceClient;
use contract::pb::{
    EarnOn, FirstPurchaseUse, Program, PublishProgramRequest, RewardKind, RewardRule, Tier,
};
use tonic::Status;

use super::failed;
use super::servers::Servers;
use crate::LoadError;
use crate::random::Random;

/// The files of the shipped programs.
const ORIGINALS: [&str; 5] = [
    include_str!("../../../../programs/tiered-points.json"),
    include_str!("../../../../programs/referral-count.json"),
    include_str!("../../../../programs/first-purchase-bonus.json"),
    include_str!("../../../../programs/multi-level-commission.json"),
    include_str!("../../../../programs/first-purchase-credits.json"),
];

/// The ids of the shipped programs.
pub(super) const PROGRAMS: [&str; 5] = [
    "tiered-points",
    "referral-count",
    "first-purchase-bonus",
    "multi-level-commission",
    "first-purchase-credits",
];

fn original(index: usize) -> Result<Program, LoadError> {
    parse_program(ORIGINALS[index]).map_err(|error| failed("read a program")(&error))
}

pub(super) async fn publish_originals(servers: &Servers) -> Result<(), LoadError> {
    for index in 0..ORIGINALS.len() {
        let program = original(index)?;
        let published = publish(servers, 0, program, String::new()).await;
        published.map_err(LoadError::call("publish a program"))?;
    }
    Ok(())
}

/// Publishes a program on a server, once.
pub(super) async fn publish(
    servers: &Servers,
    server: usize,
    program: Program,
    request_id: String,
) -> Result<(), Status> {
    let away = || Status::unavailable("the server is down");
    let channel = servers.channel(server).ok_or_else(away)?;
    let message =
        PublishProgramRequest { program: Some(program), request_id, ..Default::default() };
    ProgramServiceClient::new(channel).publish_program(servers.request(message)).await?;
    Ok(())
}

/// Another version of a program.
pub(super) fn variation(index: usize, random: &mut Random) -> Result<Program, LoadError> {
    let mut program = original(index)?;
    if random.below(4) == 0 {
        return Ok(program);
    }
    match PROGRAMS[index] {
        "tiered-points" | "referral-count" => vary_referrals(&mut program, random),
        "first-purchase-bonus" => vary_bonus(&mut program, random),
        "multi-level-commission" => vary_commissions(&mut program, random),
        _ => vary_credits(&mut program, random),
    }
    Ok(program)
}

fn amount(random: &mut Random, least: i64, most: i64) -> i64 {
    let range = u64::try_from(most - least + 1).unwrap_or(1);
    least + i64::try_from(random.below(range)).unwrap_or_default()
}

fn tiers(random: &mut Random) -> Vec<Tier> {
    let (silver, more) = (amount(random, 1, 12), amount(random, 1, 40));
    let rate = amount(random, 1, 20);
    [
        ("Bronze", 0, rate, 0),
        ("Silver", silver, rate + 5, 100),
        ("Gold", silver + more, rate + 15, 500),
    ]
    .into_iter()
    .map(|(name, from, rate_points, bonus_points)| Tier {
        name: name.into(),
        from_referrals: i32::try_from(from).unwrap_or_default(),
        rate_points,
        bonus_points,
    })
    .collect()
}

fn rule(name: &str, level: i32, kind: RewardKind) -> RewardRule {
    RewardRule { rule: name.into(), level, kind: kind.into(), ..RewardRule::default() }
}

fn flat(name: &str, level: i32, kind: RewardKind, minor: i64) -> RewardRule {
    RewardRule { flat_minor: Some(minor), ..rule(name, level, kind) }
}

fn earn_on_first(program: &mut Program, random: &mut Random) {
    program.earn_on = EarnOn::FirstPurchase.into();
    let any = random.below(2) == 0;
    let used_by =
        if any { FirstPurchaseUse::AnyPurchase } else { FirstPurchaseUse::QualifyingPurchase };
    program.first_purchase_used_by = used_by.into();
}

fn earn_on(program: &mut Program, earn_on: EarnOn) {
    program.earn_on = earn_on.into();
    program.first_purchase_used_by = FirstPurchaseUse::Unspecified.into();
}

/// Points and counts: by tier, by count or flat; for referrals, for first purchases or for every purchase.
fn vary_referrals(program: &mut Program, random: &mut Random) {
    match random.below(4) {
        0 => earn_on_first(program, random),
        1 => {
            earn_on(program, EarnOn::EveryPurchase);
            program.rewards = vec![flat("flat", 1, RewardKind::Points, amount(random, 1, 3))];
            return;
        }
        _ => {}
    }
    program.rewards = match random.below(3) {
        0 => vec![RewardRule { count: true, ..rule("count", 1, RewardKind::Points) }],
        1 => vec![
            flat("flat", 1, RewardKind::Points, amount(random, 1, 30)),
            flat("upline", 2, RewardKind::Points, 1),
        ],
        _ => vec![RewardRule { tiers: tiers(random), ..rule("tiers", 1, RewardKind::Points) }],
    };
}

/// A bonus for the first purchase or for every purchase, or a share of the purchase.
fn vary_bonus(program: &mut Program, random: &mut Random) {
    program.minimum_purchase_minor = amount(random, 0, 2_000);
    program.max_uses_per_code = Some(i32::try_from(amount(random, 10, 40)).unwrap_or(10));
    match random.below(3) {
        0 => earn_on(program, EarnOn::EveryPurchase),
        _ => earn_on_first(program, random),
    }
    let rate_bps = Some(i32::try_from(amount(random, 1, 900)).unwrap_or(1));
    program.rewards = match random.below(2) {
        0 => vec![
            flat("referee-bonus", 0, RewardKind::Bonus, amount(random, 1, 2_000)),
            flat("referrer-bonus", 1, RewardKind::Bonus, amount(random, 1, 2_000)),
        ],
        _ => vec![
            RewardRule { rate_bps, ..rule("referee-share", 0, RewardKind::Commission) },
            RewardRule {
                rate_bps,
                cap_minor: Some(amount(random, 1, 5_000)),
                ..rule("referrer-share", 1, RewardKind::Commission)
            },
        ],
    };
}

/// Other rates, caps and numbers of levels; some rates round to nothing.
fn vary_commissions(program: &mut Program, random: &mut Random) {
    program.minimum_purchase_minor = [0, 50_000, 100_000][random.index(3)];
    program.max_direct_referrals = Some(i32::try_from(amount(random, 8, 30)).unwrap_or(8));
    match random.below(4) {
        0 => earn_on_first(program, random),
        _ => earn_on(program, EarnOn::EveryPurchase),
    }
    let levels = i32::try_from(amount(random, 1, 4)).unwrap_or(1);
    program.rewards = (1..=levels)
        .map(|level| RewardRule {
            rate_bps: Some(i32::try_from(amount(random, 1, 900)).unwrap_or(1)),
            cap_minor: (random.below(3) > 0).then(|| amount(random, 10_000, 200_000)),
            ..rule(&format!("level-{level}"), level, RewardKind::Commission)
        })
        .collect();
}

/// Credits for the first purchase or for every one, with and without a cap, or by tier.
fn vary_credits(program: &mut Program, random: &mut Random) {
    match random.below(3) {
        0 => earn_on(program, EarnOn::EveryPurchase),
        _ => earn_on_first(program, random),
    }
    let cap_minor = (random.below(2) == 0).then(|| amount(random, 1, 20));
    let referee = flat("referee-credits", 0, RewardKind::Credit, amount(random, 1, 4));
    let referrer = flat("referrer-credits", 1, RewardKind::Credit, amount(random, 1, 4));
    program.rewards = vec![referee, RewardRule { cap_minor, ..referrer }];
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_program_has_many_other_versions() -> Result<(), LoadError> {
        let mut random = Random::of(1, 1);
        for (index, program_id) in PROGRAMS.into_iter().enumerate() {
            let first = original(index)?;
            assert_eq!(first.program_id, program_id);
            let mut different = 0;
            for _ in 0..20 {
                let other = variation(index, &mut random)?;
                assert_eq!((&other.program_id, &other.unit), (&first.program_id, &first.unit));
                different += u32::from(other != first);
            }
            assert!(different > 10, "{different}");
        }
        Ok(())
    }
}
