//! Every read of the API, with the numbers of the five programs.
//!
//! Each read carries the consistency token of the last write, so no test sleeps or polls.

mod ask;
mod errors;
mod first_purchase_bonus;
mod first_purchase_credits;
mod malformed;
pub(crate) mod model;
mod multi_level_commission;
mod new_programs;
mod oracle;
mod past;
mod positions;
mod referral_count;
mod referral_tree;
mod tiered_points;
mod versions;

use contract::pb::*;

use super::support::minor;
use ask::{OfParticipant, OfProgram, Read};
use testing::{Client, SignUp};

/// The answer to a read that sees a write.
async fn see<R: Read>(client: &Client, consistency_token: &str, request: R) -> R::Answer {
    request.after(consistency_token).ask(client).await.unwrap()
}

/// The token of a sign-up.
fn token(sign_up: &SignUp) -> &str {
    &sign_up.response.consistency_token
}

/// The only amount that there is.
#[track_caller]
fn only(balances: &[Money]) -> (&str, i64) {
    assert_eq!(balances.len(), 1, "{balances:?}");
    (&balances[0].currency_code, balances[0].minor_units)
}

/// A leaderboard by some metric; by the program's own if that is unspecified.
fn board(program_id: &str, metric: LeaderboardMetric) -> GetLeaderboardRequest {
    GetLeaderboardRequest { metric: metric.into(), ..OfProgram::of_program(program_id) }
}

/// A user's place on a leaderboard.
fn rank(program_id: &str, user_id: &str, metric: LeaderboardMetric) -> GetRankRequest {
    GetRankRequest { metric: metric.into(), ..OfParticipant::of(program_id, user_id) }
}

/// The users on a leaderboard, with their scores.
fn places(entries: &[LeaderboardEntry]) -> Vec<(i64, &str, i64)> {
    entries.iter().map(|entry| (entry.rank, &*entry.user_id, entry.score)).collect()
}

/// Who was referred.
fn referees(referrals: &[ReferralDetail]) -> Vec<&str> {
    referrals.iter().map(|of| &*of.referral.as_ref().unwrap().referee_user_id).collect()
}

/// The amount and the number of rewards at each level.
fn by_level(earnings: &GetEarningsResponse) -> Vec<(i32, i64, i32)> {
    let levels = earnings.by_level.iter();
    levels.map(|of| (of.level, minor(of.total.as_ref()), of.count)).collect()
}

/// What is left under the cap of each level that has one.
fn remaining(earnings: &GetEarningsResponse) -> Vec<(i32, i64, i64)> {
    let levels = earnings.by_level.iter().filter(|of| of.cap.is_some());
    levels.map(|of| (of.level, minor(of.cap.as_ref()), minor(of.remaining.as_ref()))).collect()
}
