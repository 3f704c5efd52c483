//! Compares what both servers show with the model, and checks what must hold in any case.

use std::collections::{BTreeMap, BTreeSet};

use contract::pb::{self, *};
use testing::Client;
use tonic::Status;

use super::desk;
use super::publish::tier_name;
use super::rules::{Limit, points};
use super::run::{Run, same};
use super::world::{Dispute, Outcome, Purchase, Reward, Shape, Status as Referred, User, World};

/// Caps and limits hold, and no reward is reversed by more than was granted.
pub fn invariants(world: &World) -> Result<(), String> {
    for (number, program) in world.programs.iter().enumerate() {
        for member in &program.members {
            let (pending, all) = world.balance(number, member.user);
            if member.account.available != all - pending - member.account.reserved {
                return Err(format!("{:?} of {}: {pending} of {all}", member.account, member.user));
            }
            for level in 0..=2 {
                let caps = program.versions.iter().map(|rules| rules.cap(level));
                let highest = caps.max_by_key(|cap| cap.unwrap_or(i64::MAX)).flatten();
                let total = world.level_total(number, member.user, level);
                if total < 0 || highest.is_some_and(|cap| total > cap) {
                    return Err(format!("{total} at level {level} of {}", member.user));
                }
            }
            let account = &member.account;
            if account.reserved < 0 || account.paid < 0 || account.spent < 0 {
                return Err(format!("{account:?} of {}", member.user));
            }
            let taking = program.referrals_by(member.user);
            let taking = taking.filter(|status| *status != Referred::Rejected).count();
            if let ([rules], Limit::UsesPerCode(limit) | Limit::DirectReferrals(limit)) =
                (&*program.versions, program.rules().limit)
                && taking > limit
            {
                return Err(format!("{taking} referrals by {}, {rules:?}", member.user));
            }
        }
        let wrong = world.rewards(number).find(|of| of.reversed < 0 || of.reversed > of.granted);
        if let Some(reward) = wrong {
            return Err(format!("{reward:?}"));
        }
        // Points follow the formula wherever nothing but tiers of one version have ever granted any.
        if let ([rules], Some(tiers)) = (&*program.versions, program.rules().tiers()) {
            for member in &program.members {
                let counted = program.counted(member.user, rules.earns_on);
                let by_formula = points(tiers, counted);
                let never_granted = member.points_version.is_none();
                if member.points != by_formula && !never_granted {
                    return Err(format!(
                        "{} points of {}: {by_formula}",
                        member.points, member.user
                    ));
                }
            }
        }
    }
    Ok(())
}

/// Compares everything that the servers show.
pub async fn compare(clients: &[Client; 2], run: &Run) -> Result<(), String> {
    for (number, program) in run.world.programs.iter().enumerate() {
        for (index, member) in program.members.iter().enumerate() {
            for client in clients {
                balances(client, run, number, member.user).await?;
            }
            let client = &clients[index % 2];
            entries(client, run, number, member.user).await?;
            expirations(client, run, number, member.user).await?;
            earnings(client, run, number, member.user).await?;
            stats(client, run, number, member.user).await?;
            tiers(client, run, number, member.user).await?;
        }
        boards(&clients[number % 2], run, number).await?;
        desk::compare_store(&clients[number % 2], run, number).await?;
        desk::compare_payouts(&clients[1 - number % 2], run, number).await?;
    }
    for (user, active) in &run.world.users {
        users(&clients[user % 2], run, *user, *active).await?;
    }
    for id in run.world.purchases.keys() {
        for client in clients {
            let answer = client.purchase(&run.purchase(*id)).await.map_err(shown)?;
            let what = format!("purchase {id}");
            self::purchase(run, *id, &answer.purchase.unwrap())
                .and_then(|()| outcomes(run, *id, &answer.outcomes, false))
                .map_err(|difference| format!("{what}: {difference}"))?;
        }
    }
    Ok(())
}

#[expect(clippy::needless_pass_by_value, reason = "an argument of map_err")]
pub fn shown(status: Status) -> String {
    format!("{status:?}")
}

pub fn minor(money: &Option<Money>) -> i64 {
    money.as_ref().map_or(0, |of| of.minor_units)
}

async fn balances(client: &Client, run: &Run, program: usize, user: User) -> Result<(), String> {
    let message = GetBalancesRequest {
        program_id: run.program(program),
        user_id: run.user(user),
        consistency_token: run.token.clone(),
        ..Default::default()
    };
    let answer = client.rewards().get_balances(client.request(message)).await.map_err(shown)?;
    let answer = answer.into_inner();
    let buckets = &answer.buckets[0];
    let (pending, all) = run.world.balance(program, user);
    let account = &run.world.programs[program].member(user).unwrap().account;
    same(
        &format!("pending, available and reserved of {user} in {program}"),
        (minor(&buckets.pending), minor(&buckets.available), minor(&buckets.reserved)),
        (pending, all - pending - account.reserved, account.reserved),
    )?;
    same(
        &format!("expired, paid and spent of {user} in {program}"),
        (minor(&buckets.expired), minor(&buckets.paid), minor(&buckets.spent)),
        (account.expired, account.paid, account.spent),
    )?;
    same(
        &format!("balance of {user} in {program}"),
        minor(&answer.balances.first().cloned()),
        all,
    )?;
    let net = minor(&buckets.earned) - minor(&buckets.reversed);
    same(&format!("earned of {user} in {program}"), net, run.world.earned(program, user))
}

async fn expirations(client: &Client, run: &Run, program: usize, user: User) -> Result<(), String> {
    let message =
        ListExpirationsRequest { program_id: run.program(program), user_id: run.user(user) };
    let answer = client.rewards().list_expirations(client.request(message)).await;
    let lots = answer.map_err(shown)?.into_inner().expirations;
    let lots = lots.iter().map(|of| {
        let end = of.expire_time.unwrap();
        (end.seconds * 1_000_000 + i64::from(end.nanos) / 1_000, minor(&of.amount))
    });
    let account = &run.world.programs[program].member(user).unwrap().account;
    let expected = account.lots.iter().map(|(lot, amount)| (*lot, *amount));
    same(&format!("lots of {user} in {program}"), lots.collect(), expected.collect::<Vec<_>>())
}

async fn entries(client: &Client, run: &Run, program: usize, user: User) -> Result<(), String> {
    let message = ListBalanceEntriesRequest {
        program_id: run.program(program),
        user_id: run.user(user),
        page_size: 1000,
        consistency_token: run.token.clone(),
        ..Default::default()
    };
    let answer = client.rewards().list_balance_entries(client.request(message)).await;
    let entries = answer.map_err(shown)?.into_inner().entries;
    let mut buckets = BTreeMap::<BalanceBucket, i64>::new();
    for entry in &entries {
        *buckets.entry(entry.bucket()).or_default() += minor(&entry.amount);
        if entry.kind() == EntryKind::Transfer {
            *buckets.entry(entry.from_bucket()).or_default() -= minor(&entry.amount);
        }
    }
    buckets.retain(|_, amount| *amount != 0);
    let (pending, all) = run.world.balance(program, user);
    let reserved = run.world.programs[program].member(user).unwrap().account.reserved;
    let mut expected = BTreeMap::from([
        (BalanceBucket::Pending, pending),
        (BalanceBucket::Available, all - pending - reserved),
        (BalanceBucket::Reserved, reserved),
    ]);
    expected.retain(|_, amount| *amount != 0);
    same(&format!("sums of the entries of {user} in {program}"), buckets, expected)
}

async fn earnings(client: &Client, run: &Run, program: usize, user: User) -> Result<(), String> {
    let message = GetEarningsRequest {
        program_id: run.program(program),
        user_id: run.user(user),
        consistency_token: run.token.clone(),
        ..Default::default()
    };
    let answer = client.rewards().get_earnings(client.request(message)).await.map_err(shown)?;
    let answer = answer.into_inner();
    same(
        &format!("earnings of {user} in {program}"),
        minor(&answer.total),
        run.world.earned(program, user),
    )?;
    let rules = run.world.programs[program].rules();
    for level in 0..=2 {
        let found = answer.by_level.iter().find(|of| usize::try_from(of.level) == Ok(level));
        let total = run.world.level_total(program, user, level);
        let what = format!("level {level} of {user} in {program}");
        same(&what, found.map_or(0, |of| minor(&of.total)), total)?;
        if let Some(cap) = rules.cap(level) {
            let remaining = found.map(|of| minor(&of.remaining));
            same(&format!("room at {what}"), remaining, Some((cap - total).max(0)))?;
        }
    }
    Ok(())
}

async fn stats(client: &Client, run: &Run, program: usize, user: User) -> Result<(), String> {
    let message = GetReferralStatsRequest {
        program_id: run.program(program),
        user_id: run.user(user),
        consistency_token: run.token.clone(),
    };
    let answer = client.referrals().get_referral_stats(client.request(message)).await;
    let answer = answer.map_err(shown)?.into_inner();
    let count = |status| {
        let referrals = run.world.programs[program].referrals_by(user);
        i32::try_from(referrals.filter(|of| *of == status).count()).unwrap()
    };
    let (pending, converted, held) =
        (count(Referred::Pending), count(Referred::Converted), count(Referred::Held));
    let limit = match run.world.programs[program].rules().limit {
        Limit::None => None,
        Limit::UsesPerCode(limit) | Limit::DirectReferrals(limit) => i32::try_from(limit).ok(),
    };
    let uses = pending + converted + held;
    same(
        &format!(
            "referrals by {user} in {program}: all, pending, converted, held, uses, remaining"
        ),
        (
            answer.referral_count,
            answer.pending_count,
            answer.converted_count,
            answer.held_count,
            answer.uses,
            answer.remaining_uses,
        ),
        (
            pending + converted,
            pending,
            converted,
            held,
            uses,
            limit.map(|limit| (limit - uses).max(0)),
        ),
    )?;
    same(
        &format!("earned, in the stats of {user}"),
        minor(&answer.earned),
        run.world.earned(program, user),
    )
}

async fn tiers(client: &Client, run: &Run, program: usize, user: User) -> Result<(), String> {
    let Some(tiers) = run.world.programs[program].rules().tiers() else { return Ok(()) };
    let message = GetTierRequest {
        program_id: run.program(program),
        user_id: run.user(user),
        consistency_token: run.token.clone(),
        ..Default::default()
    };
    let answer = client.rewards().get_tier(client.request(message)).await.map_err(shown)?;
    let answer = answer.into_inner();
    let of = &run.world.programs[program];
    let counted = of.counted(user, of.rules().earns_on);
    let reached = of.member(user).unwrap().tier.unwrap_or(0);
    if reached >= tiers.len() {
        return Ok(());
    }
    same(
        &format!("tier of {user} in {program}"),
        (&*answer.tier, answer.tier_referral_count, answer.points),
        (&*tier_name(reached), i32::try_from(counted).unwrap(), run.world.earned(program, user)),
    )
}

async fn boards(client: &Client, run: &Run, program: usize) -> Result<(), String> {
    let of = &run.world.programs[program];
    let metrics = [
        LeaderboardMetric::Points,
        LeaderboardMetric::Referrals,
        LeaderboardMetric::Conversions,
        LeaderboardMetric::Earnings,
    ];
    for metric in metrics {
        let message = GetLeaderboardRequest {
            program_id: run.program(program),
            metric: metric.into(),
            page_size: 1000,
            consistency_token: run.token.clone(),
            ..Default::default()
        };
        let answer = client.leaderboards().get_leaderboard(client.request(message)).await;
        let entries = answer.map_err(shown)?.into_inner().entries;
        let score = |user: User| {
            let converted =
                |status: &Referred| matches!(status, Referred::Pending | Referred::Converted);
            let count = match metric {
                LeaderboardMetric::Referrals => of.referrals_by(user).filter(converted).count(),
                LeaderboardMetric::Conversions => {
                    of.referrals_by(user).filter(|status| *status == Referred::Converted).count()
                }
                _ => return run.world.earned(program, user),
            };
            i64::try_from(count).unwrap()
        };
        // Ties go to whoever registered in the program first.
        let members = of.members.iter().map(|member| (run.user(member.user), score(member.user)));
        let mut expected: Vec<_> = members.collect();
        expected.sort_by_key(|(_, score)| -score);
        if metric == LeaderboardMetric::Earnings {
            expected.retain(|(_, score)| *score != 0);
        }
        let entries: Vec<_> = entries.into_iter().map(|of| (of.user_id, of.score)).collect();
        same(&format!("board by {metric:?} in {program}"), entries, expected)?;
    }
    Ok(())
}

async fn users(client: &Client, run: &Run, user: User, active: bool) -> Result<(), String> {
    let answer = client.user(&run.user(user)).await.map_err(shown)?;
    let is_active = answer.user.unwrap().status() == UserStatus::Active;
    same(&format!("whether {user} is active"), is_active, active)?;
    for participant in answer.participants {
        let program = Run::number(&participant.program_id);
        let status = match run.world.programs[program].referral(user).map(|of| of.status) {
            None => ReferralStatus::Unspecified,
            Some(Referred::Pending) => ReferralStatus::Pending,
            Some(Referred::Held) => ReferralStatus::Held,
            Some(Referred::Converted) => ReferralStatus::Converted,
            Some(Referred::Rejected) => ReferralStatus::Rejected,
        };
        same(&format!("referral of {user} in {program}"), participant.referral_status(), status)?;
    }
    Ok(())
}

fn purchase(run: &Run, number: usize, server: &pb::Purchase) -> Result<(), String> {
    let model = &run.world.purchases[&number];
    let at_risk = model.at_risk() - model.refunded();
    same(
        "refunded and disputed",
        (minor(&server.refunded), minor(&server.disputed)),
        (model.refunded(), at_risk),
    )?;
    let refunds = server.refunds.iter();
    let refunds: BTreeSet<_> =
        refunds.map(|of| (of.refund_id.clone(), minor(&of.amount), of.cancelled)).collect();
    let expected = model.refunds.iter();
    let expected: BTreeSet<_> =
        expected.map(|(id, (amount, off))| (run.refund(number, *id), *amount, *off)).collect();
    same("refunds", refunds, expected)?;
    let disputes = server.disputes.iter();
    let disputes: BTreeSet<_> = disputes
        .map(|of| (of.dispute_id.clone(), minor(&of.amount), of.state().as_str_name()))
        .collect();
    let state = |state| match state {
        Dispute::Open => "DISPUTE_STATE_OPEN",
        Dispute::Won => "DISPUTE_STATE_WON",
        Dispute::Withdrawn => "DISPUTE_STATE_WITHDRAWN",
        Dispute::Lost => "DISPUTE_STATE_LOST",
    };
    let expected = model.disputes.iter();
    let expected: BTreeSet<_> = expected
        .map(|(id, (amount, of))| (run.dispute(number, *id), *amount, state(*of)))
        .collect();
    same("disputes", disputes, expected)
}

/// Level, earner, granted, and of rewards that are no tiers: reversed and pending.
type Shown = (usize, String, i64, Option<(i64, i64)>);

/// Compares what a purchase did in each program; `at_first` as of its recording.
pub fn outcomes(
    run: &Run,
    id: usize,
    server: &[PurchaseOutcome],
    at_first: bool,
) -> Result<(), String> {
    let purchase = &run.world.purchases[&id];
    let programs: Vec<_> = server.iter().map(|of| Run::number(&of.program_id)).collect();
    same("programs", programs, purchase.outcomes.keys().copied().collect())?;
    for (answer, (program, outcome)) in server.iter().zip(&purchase.outcomes) {
        self::outcome(run, purchase, *program, answer, outcome, at_first)
            .map_err(|difference| format!("in {program}, {difference}"))?;
    }
    Ok(())
}

fn outcome(
    run: &Run,
    purchase: &Purchase,
    program: usize,
    server: &PurchaseOutcome,
    model: &Outcome,
    at_first: bool,
) -> Result<(), String> {
    let version = usize::try_from(server.program_version).unwrap();
    same("version", version, model.version + 1)?;
    let credited = if model.credited { purchase.paid - purchase.refunded() } else { 0 };
    same("credited", minor(&server.credited), credited)?;
    let reason = server.reason().as_str_name().trim_start_matches("WITHHELD_REASON_");
    same("qualified", server.qualified, model.reason.is_none())?;
    if !server.qualified {
        same("reason", Some(reason), model.reason)?;
    }
    if at_first {
        same("converted", server.converted, model.converted.is_some())?;
    }
    let tiers = run.world.programs[program].versions[model.version].tiers();
    let mut rewards: Vec<Shown> = server
        .rewards
        .iter()
        .map(|of| {
            let level = usize::try_from(of.level).unwrap();
            let parts = (minor(&of.reversed), minor(&of.pending));
            let parts = Some(parts).filter(|_| level != 1 || tiers.is_none());
            (level, of.earner_user_id.clone(), minor(&of.amount), parts)
        })
        .collect();
    let shown = |of: &Reward| {
        let parts = (of.reversed, run.world.pending_of(purchase, program, of));
        let parts = Some(parts).filter(|_| of.shape != Shape::Tier);
        (of.level, run.user(of.earner), of.granted, parts)
    };
    let mut expected: Vec<Shown> = model.rewards.iter().map(shown).collect();
    // What was made up for comes later, whatever its level.
    rewards.sort_unstable();
    expected.sort_unstable();
    same("rewards", rewards, expected)?;
    if server.qualified {
        let mut withheld: Vec<_> = server
            .withheld
            .iter()
            .map(|of| {
                let reason = of.reason().as_str_name().trim_start_matches("WITHHELD_REASON_");
                (usize::try_from(of.level).unwrap(), reason.to_owned())
            })
            .collect();
        let expected = model.withheld.iter().map(|(level, of)| (*level, (*of).to_owned()));
        withheld.sort_unstable();
        same("withheld", withheld, expected.collect())?;
    }
    Ok(())
}
