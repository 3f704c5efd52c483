//! A long random history over all five programs; every read is compared with a model.

use contract::pb::*;
use prost_types::Timestamp;
use tonic::Code;

use super::ask::{OfParticipant, OfProgram, Paged, Read};
use super::model::{Earned, Member, Model, PROGRAMS, cap, max_uses, rules};
use super::{board, by_level, only, places, rank, referees, remaining, see};
use crate::support::{enroll, minor, refer_by_code, server_with};
use testing::{Client, Server, check_books};

const ACTIONS: usize = 360;

/// Amounts of purchases: below and at every minimum, in currencies that count and in one that does not.
const AMOUNTS: [(&str, i64); 9] = [
    ("USD", 1),
    ("USD", 999),
    ("USD", 1_000),
    ("USD", 25_000),
    ("INR", 99_999),
    ("INR", 100_000),
    ("INR", 100_130),
    ("INR", 900_000),
    ("EUR", 100_000),
];

/// Random numbers that are the same every time (xorshift).
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % u64::try_from(limit).unwrap()).unwrap()
    }

    /// An index, with lower ones more often, so that a few users have many referrals.
    fn early(&mut self, limit: usize) -> usize {
        self.below(limit).min(self.below(limit)).min(self.below(limit))
    }
}

/// A history in progress: the model of what was written, and the token of the last write.
struct History {
    client: Client,
    random: Random,
    model: Model,
    last: String,
}

/// Checks that a refusal is one that a random history may cause.
#[track_caller]
fn refused(status: &tonic::Status) {
    let code = status.code();
    assert!(matches!(code, Code::AlreadyExists | Code::FailedPrecondition), "{status:?}");
}

impl History {
    /// Runs one random command.
    async fn act(&mut self) {
        let number = self.random.below(100);
        match number {
            _ if self.model.users.len() < 10 => self.sign_up().await,
            0..33 => self.sign_up().await,
            33..45 => self.enroll().await,
            45..52 => self.refer().await,
            52..90 => {
                self.buy().await;
            }
            _ => self.come_or_go().await,
        }
    }

    fn somebody(&mut self) -> String {
        let index = self.random.below(self.model.users.len());
        self.model.users[index].clone()
    }

    /// The code of a participant of a program, or none.
    fn code(&mut self, program_id: &str) -> String {
        let owners: Vec<String> =
            self.model.of_program(program_id).map(|of| of.code.clone()).collect();
        if owners.is_empty() || self.random.below(5) == 0 {
            return String::new();
        }
        owners[self.random.early(owners.len())].clone()
    }

    async fn sign_up(&mut self) {
        let program = PROGRAMS[self.random.below(PROGRAMS.len())];
        let code = self.code(program);
        let user = format!("user-{}", self.model.users.len());
        match self.client.sign_up(program, &user, &code).await {
            Ok(user) => {
                self.model.registered(&user.response);
                self.last = user.response.consistency_token;
            }
            Err(status) => refused(&status),
        }
    }

    async fn enroll(&mut self) {
        let (program, user) = (PROGRAMS[self.random.below(PROGRAMS.len())], self.somebody());
        let code = self.code(program);
        match enroll(&self.client, program, &user, &code).await {
            Ok(answer) => {
                let participant = answer.participant.as_ref().unwrap();
                let expected: Vec<_> = self.model.enrolled(participant).into_iter().collect();
                let granted: Vec<Earned> = answer.rewards.iter().map(Earned::from).collect();
                assert_eq!(granted, expected, "{answer:?}");
                for reward in granted {
                    self.model.rewarded(program, &participant.referrer_user_id, reward);
                }
                self.last = answer.consistency_token;
            }
            Err(status) => refused(&status),
        }
    }

    async fn refer(&mut self) {
        let program = "multi-level-commission";
        let members: Vec<&Member> = self.model.of_program(program).collect();
        if members.is_empty() {
            return;
        }
        let referee = members[self.random.below(members.len())].user_id.clone();
        let code = members[self.random.early(members.len())].code.clone();
        match refer_by_code(&self.client, program, &referee, &code).await {
            Ok(answer) => {
                let referral = answer.referral.unwrap();
                let (referrer, status) = (&referral.referrer_user_id, referral.status());
                self.model.referred(program, referrer, &referee, status);
                assert!(answer.rewards.is_empty());
                self.last = answer.consistency_token;
            }
            Err(status) => refused(&status),
        }
    }

    /// Records a purchase; returns when it was recorded.
    async fn buy(&mut self) -> Timestamp {
        let buyer = self.somebody();
        let (currency_code, amount) = AMOUNTS[self.random.below(AMOUNTS.len())];
        let answer = self.client.buy("", &buyer, currency_code, amount).await.unwrap();
        self.model.bought(&answer);
        self.last = answer.consistency_token;
        answer.purchase.unwrap().create_time.unwrap()
    }

    async fn come_or_go(&mut self) {
        let user = self.somebody();
        self.last = if self.model.inactive.remove(&user) {
            self.client.reactivate(&user).await.unwrap().consistency_token
        } else {
            let answer = self.client.deactivate(&user).await.unwrap();
            self.model.inactive.insert(user);
            answer.consistency_token
        };
    }
}

/// Checks a participant's sums, now or at an earlier moment.
async fn check_sums(client: &Client, last: &str, member: &Member, as_of_time: Option<Timestamp>) {
    let (program, user) = (&*member.program_id, &*member.user_id);
    let (unit, _) = rules(program);
    let balances = GetBalancesRequest { as_of_time, ..OfParticipant::of(program, user) };
    let balances = see(client, last, balances).await.balances;
    assert_eq!(only(&balances), (unit, member.balance()), "{member:?}");

    let request = GetEarningsRequest { as_of_time, ..OfParticipant::of(program, user) };
    let earnings = see(client, last, request.clone()).await;
    assert_eq!(minor(earnings.total.as_ref()), member.earned(), "{member:?}");
    assert_eq!(by_level(&earnings), member.by_level(), "{member:?}");
    let left = cap(program).map(|cap| {
        let levels = member.by_level().into_iter();
        levels.map(|(level, amount, _)| (level, cap, cap - amount)).collect::<Vec<_>>()
    });
    assert_eq!(remaining(&earnings), left.unwrap_or_default(), "{member:?}");
    assert!(remaining(&earnings).iter().all(|(_, _, left)| *left >= 0));
    let mut rewards = request.after(last).all(client, 7).await;
    rewards.reverse();
    assert_eq!(rewards.iter().map(Earned::from).collect::<Vec<_>>(), member.rewards);
    assert!(rewards.iter().all(|of| of.earner_user_id == user && of.program_id == program));

    let tier = GetTierRequest { as_of_time, ..OfParticipant::of(program, user) };
    let tier = see(client, last, tier).await;
    assert_eq!(tier.points, member.earned(), "{member:?}");
    let count = i32::try_from(member.rewards.len()).unwrap();
    let expected = match (program, count) {
        ("tiered-points", 0..10) => ("Bronze", "Silver", 10 - count),
        ("tiered-points", 10..50) => ("Silver", "Gold", 50 - count),
        ("tiered-points", _) => ("Gold", "", 0),
        _ => ("", "", 0),
    };
    assert_eq!((&*tier.tier, &*tier.next_tier, tier.referrals_to_next_tier), expected);
    if program == "tiered-points" {
        assert_eq!(tier.tier_referral_count, count, "{member:?}");
    }
}

/// Checks a participant's referrals, and the lists that make up the sums.
async fn check_lists(client: &Client, last: &str, model: &Model, member: &Member) {
    let (program, user) = (&*member.program_id, &*member.user_id);
    let stats = see(client, last, GetReferralStatsRequest::of(program, user)).await;
    let pending = model.count(member, ReferralStatus::Pending);
    let converted = model.count(member, ReferralStatus::Converted);
    let counted = pending + converted;
    assert_eq!(
        (stats.referral_count, stats.pending_count, stats.converted_count, stats.uses),
        (counted, pending, converted, counted),
        "{member:?}"
    );
    assert_eq!((stats.held_count, stats.max_uses), (0, max_uses(program)));
    assert_eq!(stats.remaining_uses, max_uses(program).map(|most| most - counted), "{member:?}");
    assert_eq!(minor(stats.earned.as_ref()), member.earned());
    assert_eq!(only(&stats.balances), (rules(program).0, member.balance()));
    assert_eq!((&stats.code, &stats.referrer_user_id), (&member.code, &member.referrer));

    let listed = ListReferralsRequest::of(program, user).after(last).all(client, 3).await;
    let newest: Vec<&String> = member.referees.iter().rev().collect();
    assert_eq!(referees(&listed), newest, "{member:?}");
    assert_eq!(stats.recent_referrals, listed[..listed.len().min(10)]);
    let tree = GetReferralTreeRequest { depth: 1, ..OfParticipant::of(program, user) };
    let root = see(client, last, tree).await.root.unwrap();
    assert_eq!((root.referral_count, root.active), (counted, model.is_active(user)));
    assert_eq!(root.referrals.len(), listed.len());
    for (detail, node) in listed.iter().zip(&root.referrals) {
        let referral = detail.referral.as_ref().unwrap();
        let referee = model.find(program, &referral.referee_user_id).unwrap();
        assert_eq!((&*referral.referrer_user_id, referral.status()), (user, referee.status));
        assert_eq!(detail.active, model.is_active(&referee.user_id));
        let brought_in = member.brought_in(&referee.user_id);
        assert_eq!(minor(detail.brought_in.as_ref()), brought_in, "{member:?}");
        assert_eq!(detail.convert_time.is_some(), referee.status == ReferralStatus::Converted);
        assert_eq!((&node.user_id, node.status()), (&referee.user_id, referee.status));
        assert_eq!((minor(node.brought_in.as_ref()), node.active), (brought_in, detail.active));
    }

    let entries = ListBalanceEntriesRequest::of(program, user).after(last).all(client, 4).await;
    assert_eq!(entries.len(), member.entries, "{member:?}");
    let mut balance = 0;
    for entry in entries.iter().rev() {
        balance += minor(entry.amount.as_ref());
        assert_eq!(minor(entry.balance.as_ref()), balance, "{member:?}");
    }
    let mut rewards: Vec<_> = entries.into_iter().filter_map(|entry| entry.reward).collect();
    assert_eq!(rewards, ListRewardsRequest::of(program, user).after(last).all(client, 5).await);
    rewards.reverse();
    assert_eq!(rewards.iter().map(Earned::from).collect::<Vec<_>>(), member.rewards);
}

/// Checks the boards and the sums of whole programs.
async fn check_programs(client: &Client, last: &str, model: &Model) {
    for program in PROGRAMS {
        for metric in [
            LeaderboardMetric::Points,
            LeaderboardMetric::Referrals,
            LeaderboardMetric::Conversions,
            LeaderboardMetric::Earnings,
        ] {
            let expected = model.board(program, metric);
            let entries = board(program, metric).after(last).all(client, 6).await;
            assert_eq!(places(&entries), expected, "{program} by {metric:?}");
            for member in model.of_program(program) {
                let own = see(client, last, rank(program, &member.user_id, metric)).await;
                let place = expected.iter().find(|(_, user, _)| *user == member.user_id);
                let own_place = own.entry.as_ref().map(|of| (of.rank, &*of.user_id, of.score));
                assert_eq!(own_place.as_ref(), place, "{program} by {metric:?}");
                assert_eq!(usize::try_from(own.participant_count).unwrap(), expected.len());
            }
        }
        let seen = see(client, last, GetOverviewRequest::of_program(program)).await;
        let count = |matches: &dyn Fn(&Member) -> bool| -> i32 {
            i32::try_from(model.of_program(program).filter(|of| matches(of)).count()).unwrap()
        };
        let referred = count(&|of| !of.referrer.is_empty());
        let registered = count(&|_| true);
        assert_eq!(
            (seen.registered, seen.referred, seen.organic),
            (registered, referred, registered - referred)
        );
        let pending = count(&|of| of.status == ReferralStatus::Pending);
        let converted = count(&|of| of.status == ReferralStatus::Converted);
        assert_eq!((seen.pending, seen.converted), (pending, converted), "{program}");
        let rewards: usize = model.of_program(program).map(|of| of.rewards.len()).sum();
        assert_eq!(usize::try_from(seen.reward_count).unwrap(), rewards, "{program}");
        let granted: i64 = model.of_program(program).map(Member::earned).sum();
        assert_eq!(only(&seen.rewards_granted), (rules(program).0, granted));
        let report = GetConversionReportRequest::of_program(program);
        let report = see(client, last, report).await;
        assert_eq!((report.referrals, report.converted), (referred, converted), "{program}");

        let table = ListUsersRequest::of_program(program).after(last).all(client, 9).await;
        let mut members: Vec<&Member> = model.of_program(program).collect();
        members.reverse();
        assert_eq!(table.len(), members.len());
        for (row, member) in table.iter().zip(members) {
            let participant = row.participant.as_ref().unwrap();
            assert_eq!(
                (&participant.user_id, &participant.code, &participant.referrer_user_id),
                (&member.user_id, &member.code, &member.referrer)
            );
            assert_eq!(participant.referral_status(), member.status);
            assert_eq!(only(&row.balances).1, member.balance());
        }
    }
}

async fn check_all(client: &Client, last: &str, model: &Model) {
    for member in &model.members {
        check_sums(client, last, member, None).await;
        check_lists(client, last, model, member).await;
    }
    check_programs(client, last, model).await;
}

async fn every_read_agrees(seed: u64) {
    let (database, server, client) = server_with(&PROGRAMS).await;
    let (model, last) = (Model::default(), String::new());
    let mut history = History { client: client.clone(), random: Random(seed), model, last };
    for _ in 0..ACTIONS / 2 {
        history.act().await;
    }
    let half_time = history.buy().await;
    let at_half_time = history.model.clone();
    check_all(&client, &history.last, &at_half_time).await;
    for _ in ACTIONS / 2..ACTIONS {
        history.act().await;
    }

    // Another server, which handled no writes, knows everything.
    let other = Server::start(&database).await;
    let (reader, last, model) = (other.client(), &history.last, &history.model);
    check_all(&reader, last, model).await;
    for member in &model.members {
        let then = Member {
            program_id: member.program_id.clone(),
            user_id: member.user_id.clone(),
            ..Default::default()
        };
        let then = at_half_time.find(&member.program_id, &member.user_id).unwrap_or(&then);
        check_sums(&reader, last, then, Some(half_time)).await;
    }
    check_books(&database).await;
    other.stop().await;
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn every_read_agrees_with_the_answers_to_the_writes_before_it() {
    every_read_agrees(0x9E37_79B9_7F4A_7C15).await;
}

#[tokio::test]
async fn every_read_agrees_with_the_answers_to_other_writes_too() {
    every_read_agrees(0x2545_F491_4F6C_DD1D).await;
}
