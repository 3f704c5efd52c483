//! Pages for a participant of a program.

pub mod dashboard;
pub mod earnings;
pub mod entries;
pub mod leaderboard;
pub mod programs;
pub mod referrals;
pub mod rules;
pub mod statement;
pub mod store;
pub mod tree;

use contract::pb::{BucketBalances, Money, Participant, Program, ReferralStatus, RewardRule, Tier};

use crate::parts::Tone;
use crate::text::participant as text;

/// Whose page it is: a participant of a program.
pub struct Scene<'a> {
    /// The program, with its rules.
    pub program: &'a Program,
    /// The participant.
    pub participant: &'a Participant,
    /// The name of the participant.
    pub name: &'a str,
}

impl Scene<'_> {
    /// The path of a page of the program; empty for the dashboard.
    #[must_use]
    pub fn path(&self, page: &str) -> String {
        path(&self.program.program_id, page)
    }
}

/// The path of a page of a program; empty for the dashboard.
#[must_use]
pub fn path(program_id: &str, page: &str) -> String {
    if page.is_empty() { format!("/p/{program_id}") } else { format!("/p/{program_id}/{page}") }
}

/// The tiers of a program, the lowest first; empty if it has none.
#[must_use]
pub fn tiers(program: &Program) -> &[Tier] {
    program
        .rewards
        .iter()
        .map(|rule| &rule.tiers[..])
        .find(|tiers| !tiers.is_empty())
        .unwrap_or_default()
}

/// The rule of a program by its name.
#[must_use]
pub fn rule<'a>(program: &'a Program, name: &str) -> Option<&'a RewardRule> {
    program.rewards.iter().find(|rule| rule.rule == name)
}

/// The deepest level that a program pays.
#[must_use]
pub fn deepest_level(program: &Program) -> i32 {
    program.rewards.iter().map(|rule| rule.level).max().unwrap_or(1).max(1)
}

/// What a balance has besides what is available, on its way and earned, as far as there is any. Together, all of them
/// reconcile.
pub fn other_sums(
    buckets: &BucketBalances,
) -> impl Iterator<Item = (&'static str, &Option<Money>)> {
    let sums = [
        (text::SET_ASIDE, &buckets.reserved),
        (text::CREDITED, &buckets.credited),
        (text::ADJUSTED, &buckets.adjusted),
        (text::SPENT, &buckets.spent),
        (text::PAID_OUT, &buckets.paid),
        (text::EXPIRED, &buckets.expired),
    ];
    sums.into_iter().filter(|(_, amount)| text::minor(amount.as_ref()) != 0)
}

/// What somebody has earned: all rewards, less what was taken back of them.
#[must_use]
pub fn earned(buckets: &BucketBalances, unit: &str) -> Money {
    let minor_units =
        text::minor(buckets.earned.as_ref()).saturating_sub(text::minor(buckets.reversed.as_ref()));
    Money { currency_code: unit.into(), minor_units }
}

/// The status of a referral, as a badge says it.
#[must_use]
pub fn status(status: ReferralStatus) -> (Tone, &'static str) {
    match status {
        ReferralStatus::Unspecified => (Tone::Plain, text::NOT_REFERRED),
        ReferralStatus::Pending => (Tone::Warn, text::PENDING),
        ReferralStatus::Held => (Tone::Info, text::HELD),
        ReferralStatus::Converted => (Tone::Good, text::CONVERTED),
        ReferralStatus::Rejected => (Tone::Bad, text::REJECTED),
    }
}
