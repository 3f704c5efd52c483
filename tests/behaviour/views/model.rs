//! A model built from the answers to writes alone: the expected answers of every read.

use std::collections::HashSet;

use contract::pb::*;

use crate::support::minor;

pub const PROGRAMS: [&str; 5] = [
    "tiered-points",
    "referral-count",
    "first-purchase-bonus",
    "multi-level-commission",
    "first-purchase-credits",
];

/// The unit of a program, and the levels that it has a rule for.
pub fn rules(program_id: &str) -> (&'static str, &'static [i32]) {
    match program_id {
        "tiered-points" => ("POINTS", &[1]),
        "referral-count" => ("REFERRALS", &[1]),
        "first-purchase-bonus" => ("USD", &[0, 1]),
        "multi-level-commission" => ("INR", &[1, 2]),
        _ => ("CREDITS", &[0, 1]),
    }
}

/// The maximum that one earner gets at a level.
pub fn cap(program_id: &str) -> Option<i64> {
    (program_id == "multi-level-commission").then_some(100_000)
}

/// The maximum number of referrals.
pub fn max_uses(program_id: &str) -> Option<i32> {
    match program_id {
        "first-purchase-bonus" => Some(10),
        "multi-level-commission" => Some(8),
        _ => None,
    }
}

/// The total of an earner with a number of referrals in a program that rewards referrals.
pub fn total(program_id: &str, referrals: i64) -> i64 {
    match (program_id, referrals) {
        ("referral-count", _) => referrals,
        (_, 0..10) => referrals * 10,
        (_, 10..50) => referrals * 15 + 100,
        _ => referrals * 25 + 500,
    }
}

/// A reward, with the fields that every answer that grants one shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Earned {
    pub level: i32,
    pub amount: i64,
    pub source: String,
    pub purchase_id: String,
}

impl From<&Reward> for Earned {
    fn from(reward: &Reward) -> Self {
        Self {
            level: reward.level,
            amount: minor(reward.amount.as_ref()),
            source: reward.source_user_id.clone(),
            purchase_id: reward.purchase_id.clone(),
        }
    }
}

/// A participant.
#[derive(Clone, Debug, Default)]
pub struct Member {
    pub program_id: String,
    pub user_id: String,
    pub code: String,
    pub referrer: String,
    pub status: ReferralStatus,
    /// The oldest first.
    pub rewards: Vec<Earned>,
    pub credited: i64,
    /// How many entries the balance has.
    pub entries: usize,
    /// Who was referred, the oldest first.
    pub referees: Vec<String>,
}

impl Member {
    pub fn earned(&self) -> i64 {
        self.rewards.iter().map(|reward| reward.amount).sum()
    }

    pub fn balance(&self) -> i64 {
        self.earned() + self.credited
    }

    /// The amount and the number of rewards at each level of the program.
    pub fn by_level(&self) -> Vec<(i32, i64, i32)> {
        let (_, levels) = rules(&self.program_id);
        let levels = levels.iter().map(|level| {
            let of_level = self.rewards.iter().filter(|reward| reward.level == *level);
            let (amount, count) =
                of_level.fold((0, 0), |(sum, count), reward| (sum + reward.amount, count + 1));
            (*level, amount, count)
        });
        levels.collect()
    }

    /// What was earned through one user.
    pub fn brought_in(&self, source: &str) -> i64 {
        let rewards = self.rewards.iter().filter(|reward| reward.source == source);
        rewards.map(|reward| reward.amount).sum()
    }
}

/// All participants, in the order of enrollment.
#[derive(Clone, Debug, Default)]
pub struct Model {
    pub members: Vec<Member>,
    pub users: Vec<String>,
    pub inactive: HashSet<String>,
}

impl Model {
    pub fn find(&self, program_id: &str, user_id: &str) -> Option<&Member> {
        self.members.iter().find(|of| of.program_id == program_id && of.user_id == user_id)
    }

    #[track_caller]
    fn get(&mut self, program_id: &str, user_id: &str) -> &mut Member {
        let mut members = self.members.iter_mut();
        let member = members.find(|of| of.program_id == program_id && of.user_id == user_id);
        member.expect("a participant")
    }

    pub fn of_program<'a>(&'a self, program_id: &str) -> impl Iterator<Item = &'a Member> {
        self.members.iter().filter(move |of| of.program_id == program_id)
    }

    pub fn is_active(&self, user_id: &str) -> bool {
        !self.inactive.contains(user_id)
    }

    /// The number of a participant's direct referrals with this status.
    pub fn count(&self, member: &Member, status: ReferralStatus) -> i32 {
        let referrals = self.of_program(&member.program_id);
        let referrals = referrals.filter(|of| of.referrer == member.user_id && of.status == status);
        i32::try_from(referrals.count()).unwrap()
    }

    pub fn registered(&mut self, answer: &RegisterUserResponse) {
        self.users.push(answer.user.as_ref().unwrap().user_id.clone());
        for participant in &answer.participants {
            // The answer does not say what the referral earned at once; the rules do.
            if let Some(reward) = self.enrolled(participant) {
                self.rewarded(&participant.program_id, &participant.referrer_user_id, reward);
            }
        }
    }

    /// Adds a participant; returns what the rules grant the referrer at once.
    pub fn enrolled(&mut self, participant: &Participant) -> Option<Earned> {
        let member = Member {
            program_id: participant.program_id.clone(),
            user_id: participant.user_id.clone(),
            code: participant.code.clone(),
            ..Default::default()
        };
        self.members.push(member);
        let referrer = &*participant.referrer_user_id;
        if referrer.is_empty() {
            return None;
        }
        let status = participant.referral_status();
        self.referred(&participant.program_id, referrer, &participant.user_id, status);
        let at_once = matches!(&*participant.program_id, "tiered-points" | "referral-count");
        if !at_once || !self.is_active(referrer) {
            return None;
        }
        let before = self.get(&participant.program_id, referrer).rewards.len();
        let before = i64::try_from(before).unwrap();
        let program = &participant.program_id;
        Some(Earned {
            level: 1,
            amount: total(program, before + 1) - total(program, before),
            source: participant.user_id.clone(),
            purchase_id: String::new(),
        })
    }

    pub fn referred(
        &mut self,
        program_id: &str,
        referrer: &str,
        referee: &str,
        status: ReferralStatus,
    ) {
        self.get(program_id, referrer).referees.push(referee.into());
        let member = self.get(program_id, referee);
        assert!(member.referrer.is_empty(), "{member:?}");
        (member.referrer, member.status) = (referrer.into(), status);
    }

    pub fn rewarded(&mut self, program_id: &str, earner: &str, reward: Earned) {
        let earner = self.get(program_id, earner);
        earner.rewards.push(reward);
        earner.entries += 1;
    }

    pub fn bought(&mut self, answer: &RecordPurchaseResponse) {
        let buyer = &*answer.purchase.as_ref().unwrap().buyer_user_id;
        for outcome in &answer.outcomes {
            let member = self.get(&outcome.program_id, buyer);
            if outcome.converted {
                assert_eq!(member.status, ReferralStatus::Pending, "{outcome:?}");
                member.status = ReferralStatus::Converted;
            }
            if let Some(credited) = &outcome.credited {
                member.credited += credited.minor_units;
                member.entries += 1;
            }
            for reward in &outcome.rewards {
                self.rewarded(&outcome.program_id, &reward.earner_user_id, reward.into());
            }
        }
    }

    /// The leaderboard of a program by some metric.
    pub fn board(&self, program_id: &str, metric: LeaderboardMetric) -> Vec<(i64, &str, i64)> {
        let mut scores: Vec<(&str, i64)> = self
            .of_program(program_id)
            .map(|member| {
                let pending = i64::from(self.count(member, ReferralStatus::Pending));
                let converted = i64::from(self.count(member, ReferralStatus::Converted));
                let score = match metric {
                    LeaderboardMetric::Referrals => pending + converted,
                    LeaderboardMetric::Conversions => converted,
                    _ => member.earned(),
                };
                (&*member.user_id, score)
            })
            .filter(|(_, score)| metric != LeaderboardMetric::Earnings || *score > 0)
            .collect();
        // A stable sort: among equal scores, the participant who enrolled first stays first.
        scores.sort_by_key(|(_, score)| -score);
        (1..).zip(scores).map(|(rank, (user, score))| (rank, user, score)).collect()
    }
}
