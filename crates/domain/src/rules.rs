//! What a program may contain. `checks` has everything that makes a program invalid, `tiers` the tiers.
//!
//! A program is data. Each way in which referral programs differ is a policy here. Decisions read the policy;
//! no decision depends on which program it is working for.

mod checks;
mod tiers;

use serde::{Deserialize, Serialize};

use super::Timestamp;
use super::code::CodeFormat;
use super::fraud::FraudChecks;
use super::link::link;
use super::months::month_end;

pub(crate) use checks::Faults;
pub use tiers::{Tier, TierStanding, points_at, tier_index_at};

/// The highest level of the upline that a program can reward.
pub const MAX_LEVEL: u32 = 10;
/// The maximum number of tiers.
pub const MAX_TIERS: usize = 32;
/// The highest limit on uses or referrals, and the highest threshold of a tier.
pub const MAX_COUNT: u32 = 1_000_000_000;
/// The most days for which rewards can be held.
pub const MAX_HOLD_DAYS: u32 = 400;
/// The most months after which rewards can expire.
pub const MAX_EXPIRE_MONTHS: u32 = 60;
/// The most points that a tier can pay per referral.
pub const MAX_TIER_RATE: i64 = 1_000_000_000;
/// The most points that a tier can pay as its bonus.
pub const MAX_TIER_BONUS: i64 = 1_000_000_000_000_000;
/// The longest name of a program that people see, in characters.
pub const MAX_DISPLAY_NAME_CHARS: usize = 128;
/// The longest name of a tier, in characters.
pub const MAX_TIER_NAME_CHARS: usize = 64;
/// The minimum and maximum number of characters of a code.
pub const CODE_LENGTHS: std::ops::RangeInclusive<u32> = 6..=32;
/// The minimum number of different characters in an alphabet: with codes of six characters there are then a
/// million codes.
pub const MIN_ALPHABET: usize = 10;

/// When a referrer can be attached to a participant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum AttachPolicy {
    /// Only in the command that creates the participant.
    RegistrationOnly,
    /// At any later time too.
    AnyTime,
}

/// What happens to a sign-up with a code that cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum InvalidCodePolicy {
    /// No account is created.
    Reject,
    /// The account is created without a referrer.
    RegisterUnreferred,
}

/// What uses up a buyer's first purchase.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum FirstPurchaseUse {
    /// Any purchase.
    AnyPurchase,
    /// Only a purchase in the right currency and of at least the minimum.
    QualifyingPurchase,
}

/// What earns rewards.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum EarnOn {
    /// Each referral, when it is made.
    Referral,
    /// The referee's first purchase.
    FirstPurchase {
        /// Which purchase is the first.
        used_by: FirstPurchaseUse,
    },
    /// Every purchase of the referee.
    EveryPurchase,
}

/// What the program's leaderboards count by default.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum LeaderboardMetric {
    /// Points earned.
    Points,
    /// Referrals pending and converted.
    Referrals,
    /// Referrals converted.
    Conversions,
    /// Rewards earned.
    Earnings,
}

/// What kind of reward it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum RewardKind {
    /// Points, by tier or by count.
    Points,
    /// Credit.
    Credit,
    /// A bonus.
    Bonus,
    /// A share of a purchase.
    Commission,
}

/// How much a rule pays.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Pay {
    /// The same amount each time, in minor units of the program's unit.
    FlatMinor(i64),
    /// A share of the purchase, in basis points.
    RateBps(u32),
    /// Points by tier.
    Tiers(Vec<Tier>),
    /// One per referral.
    Count,
}

/// Who earns how much.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct RewardRule {
    /// The rule's name, which every reward that it grants carries.
    pub rule: String,
    /// 0 the referee, 1 the referrer, 2 the referrer's referrer, ...
    pub level: u32,
    /// What kind of reward it grants.
    pub kind: RewardKind,
    /// How much.
    pub pay: Pay,
    /// The most that one earner can receive from this level, in minor units.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub cap_minor: Option<i64>,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde asks for")]
fn is_false(value: &bool) -> bool {
    !value
}

/// The rules of a program.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[allow(clippy::struct_excessive_bools, reason = "each is a policy by itself")]
pub struct ProgramRules {
    /// The name that people see.
    pub display_name: String,
    /// The unit of balances: a currency or a name for points or credits.
    pub unit: String,
    /// What links start with; they end in `?ref=CODE`. Empty if the program has no links.
    pub base_url: String,
    /// The shape of codes.
    pub code: CodeFormat,
    /// When a referrer can be attached.
    pub attach: AttachPolicy,
    /// What happens to a sign-up with an unknown code.
    pub unknown_code: InvalidCodePolicy,
    /// What happens to a sign-up with a code that has no uses left, or whose owner cannot have more direct
    /// referrals.
    pub exhausted_code: InvalidCodePolicy,
    /// What earns rewards.
    pub earn_on: EarnOn,
    /// The smallest purchase that earns, inclusive; 0 for none.
    pub minimum_purchase_minor: i64,
    /// The only currency in which purchases earn; absent if every currency does.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub purchase_currency_code: Option<String>,
    /// How often one code can be used.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub max_uses_per_code: Option<u32>,
    /// How many direct referrals one referrer can have.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub max_direct_referrals: Option<u32>,
    /// Who earns how much: one rule per level, lowest first.
    pub rewards: Vec<RewardRule>,
    /// Whether purchases in the program's unit add to the buyer's own balance.
    pub credit_purchases: bool,
    /// What leaderboards count by default.
    pub leaderboard: LeaderboardMetric,
    /// Whether users who name no program are enrolled.
    pub enroll_by_default: bool,
    /// Whether participants get mail about the program. Programs of releases without mails did not say, and send
    /// none.
    #[serde(skip_serializing_if = "is_false", default)]
    pub mails: bool,
    /// Whether a referral is held until the referee has confirmed their e-mail address.
    #[serde(skip_serializing_if = "is_false", default)]
    pub require_confirmed_email: bool,
    /// Whether a purchase that earned nothing because a referral was held is made up for when the referral is
    /// released. Otherwise it is as if it had been made before the referral.
    #[serde(skip_serializing_if = "is_true", default = "yes")]
    pub make_up_held_purchases: bool,
    /// Whether a purchase that falls below the minimum because a part of it was refunded loses its rewards wholly.
    #[serde(skip_serializing_if = "is_true", default = "yes")]
    pub reverse_below_minimum: bool,
    /// For how many days rewards are pending after they were granted; none if they are available at once.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub hold_days: Option<u32>,
    /// Whether what is available can be paid out. Programs of releases without payouts did not say, and pay nothing out.
    #[serde(skip_serializing_if = "is_false", default)]
    pub pays_out: bool,
    /// After how many months rewards expire, counted from the month in which they became available to the end of the
    /// last one; none if they never do.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub expire_months: Option<u32>,
    /// The time zone of its months, by its name in the IANA database.
    #[serde(skip_serializing_if = "is_utc", default = "utc")]
    pub time_zone: String,
    /// The fraud checks. Programs of releases without fraud checks did not say, and have none.
    #[serde(skip_serializing_if = "FraudChecks::are_off", default)]
    pub fraud_checks: FraudChecks,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde asks for")]
fn is_true(value: &bool) -> bool {
    *value
}

fn yes() -> bool {
    true
}

/// The time zone of programs that name none.
pub const UTC: &str = "UTC";

fn is_utc(time_zone: &str) -> bool {
    time_zone == UTC
}

fn utc() -> String {
    UTC.into()
}

/// A fault in a program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The field, as a path such as `rewards[1].cap_minor`.
    pub field: String,
    /// What is wrong with the field, and what would be right.
    pub message: String,
}

impl ProgramRules {
    /// When a reward that is granted now becomes available; none if it is at once.
    #[must_use]
    pub fn release_time(&self, now: Timestamp) -> Option<Timestamp> {
        self.hold_days.map(|days| now.plus_seconds(i64::from(days) * 24 * 60 * 60))
    }

    /// When a reward that becomes available now expires; none if it never does.
    #[must_use]
    pub fn expire_time(&self, now: Timestamp) -> Option<Timestamp> {
        month_end(now, self.expire_months?, &self.time_zone)
    }

    /// The link that carries a code; empty if the program has no links.
    #[must_use]
    pub fn link(&self, code: &str) -> String {
        link(&self.base_url, code)
    }

    /// Everything that is wrong with the rules; empty if they can be put into force.
    #[must_use]
    pub fn faults(&self) -> Vec<Fault> {
        let mut faults = Faults::default();
        self.check_names(&mut faults);
        self.check_code(&mut faults);
        self.check_purchases(&mut faults);
        for (field, limit) in [
            ("max_uses_per_code", self.max_uses_per_code),
            ("max_direct_referrals", self.max_direct_referrals),
        ] {
            faults.unless(
                limit.is_none_or(|limit| (1..=MAX_COUNT).contains(&limit)),
                field,
                format!("must be 1 to {MAX_COUNT}; leave it out for no limit"),
            );
        }
        faults.unless(
            self.hold_days.is_none_or(|days| (1..=MAX_HOLD_DAYS).contains(&days)),
            "hold_days",
            format!("must be 1 to {MAX_HOLD_DAYS}; leave it out to have rewards available at once"),
        );
        self.check_payouts(&mut faults);
        self.check_expiry(&mut faults);
        self.check_rewards(&mut faults);
        self.fraud_checks.check(&mut faults);
        faults.into_vec()
    }
}
