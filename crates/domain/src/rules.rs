//! What a program may contain, and everything that makes a program invalid.
//!
//! A program is data. Each way in which referral programs differ is a policy here. Decisions read the policy;
//! no decision depends on which program it is working for.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::code::CodeFormat;
use super::currency::{is_currency, is_unit};
use super::fraud::FraudChecks;
use super::link::{base_url_fault, link};
use super::money::{MAX_AMOUNT_MINOR, WHOLE_BPS};
use super::months::{is_time_zone, month_end};
use super::text::unseen;
use super::{ProgramId, Timestamp};

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

/// One tier: a rate and a bonus that apply from a number of referrals.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Tier {
    /// The tier's name.
    pub name: String,
    /// The number of referrals that reaches it; 0 for the first.
    pub from_referrals: u32,
    /// Points per referral, for all referrals.
    pub rate_points: i64,
    /// Additional points, once.
    pub bonus_points: i64,
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

/// The index of the tier that `referrals` reach in `tiers`, which are in ascending order.
#[must_use]
pub fn tier_index_at(tiers: &[Tier], referrals: u32) -> Option<usize> {
    tiers.iter().rposition(|tier| tier.from_referrals <= referrals)
}

/// The points for `referrals`: referrals x rate of the current tier + bonus of the current tier. The rate
/// applies to all referrals, including earlier ones, and bonuses do not add up.
#[must_use]
pub fn points_at(tiers: &[Tier], referrals: u32) -> i64 {
    tier_index_at(tiers, referrals).map_or(0, |index| {
        let tier = &tiers[index];
        i64::from(referrals).saturating_mul(tier.rate_points).saturating_add(tier.bonus_points)
    })
}

/// A participant's standing in the tiers of a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TierStanding<'a> {
    /// The tier reached.
    pub tier: &'a str,
    /// The next tier, and how many more referrals it requires; none at the top.
    pub next: Option<(&'a str, u32)>,
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
    /// The rule that pays by tier, with its tiers, if the program has one.
    #[must_use]
    pub fn tier_rule(&self) -> Option<(&RewardRule, &[Tier])> {
        self.rewards.iter().find_map(|rule| match &rule.pay {
            Pay::Tiers(tiers) => Some((rule, tiers.as_slice())),
            _ => None,
        })
    }

    /// The standing of a participant who last reached the tier `reached` and has so many referrals that count for
    /// tiers; none if the program has no tiers.
    ///
    /// A tier is reached with a referral, never by a change of the rules: where the new rules put the participant
    /// higher, or name no tier as the one reached, the next tier is one referral away.
    #[must_use]
    pub fn tier_standing<'a>(
        &'a self,
        reached: Option<&'a str>,
        referrals: u32,
    ) -> Option<TierStanding<'a>> {
        let (_, tiers) = self.tier_rule()?;
        let tier = reached.or(tiers.first().map(|tier| tier.name.as_str()))?;
        let reached_index = tiers.iter().position(|candidate| candidate.name == tier);
        let due = tier_index_at(tiers, referrals).filter(|due| Some(*due) > reached_index);
        let next = match due {
            Some(_) => tier_index_at(tiers, referrals.saturating_add(1)),
            None => tiers.iter().enumerate().position(|(index, tier)| {
                tier.from_referrals > referrals && Some(index) > reached_index
            }),
        };
        let next = next.and_then(|index| tiers.get(index)).map(|next| {
            let missing = next.from_referrals.saturating_sub(referrals).max(1);
            (next.name.as_str(), missing)
        });
        Some(TierStanding { tier, next })
    }

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
        if self.pays_out {
            faults.unless(
                is_currency(&self.unit),
                "pays_out",
                "must be false where the unit is no currency: points are not paid out",
            );
            faults.unless(
                !self.credit_purchases,
                "pays_out",
                "must be false with credit_purchases: a buyer's own payment would be handed back as cash",
            );
        }
        self.check_expiry(&mut faults);
        self.check_rewards(&mut faults);
        self.fraud_checks.check(&mut faults);
        faults.0
    }

    fn check_names(&self, faults: &mut Faults) {
        faults.unless(
            is_name(&self.display_name, MAX_DISPLAY_NAME_CHARS),
            "display_name",
            format!(
                "must be 1 to {MAX_DISPLAY_NAME_CHARS} characters that can be seen, in one line"
            ),
        );
        faults.unless(
            is_unit(&self.unit),
            "unit",
            "must be an ISO 4217 code of a currency, or 4 to 12 of A-Z, 0-9 and _ starting with a letter",
        );
        if !self.base_url.is_empty()
            && let Some(fault) = base_url_fault(&self.base_url)
        {
            faults.unless(false, "base_url", fault);
        }
    }

    fn check_code(&self, faults: &mut Faults) {
        let CodeFormat { length, alphabet } = &self.code;
        faults.unless(
            CODE_LENGTHS.contains(length),
            "code.length",
            format!("must be {} to {} characters", CODE_LENGTHS.start(), CODE_LENGTHS.end()),
        );
        let letters = alphabet.bytes().collect::<BTreeSet<_>>();
        let capitals =
            letters.iter().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit());
        faults.unless(
            capitals && letters.len() == alphabet.len() && letters.len() >= MIN_ALPHABET,
            "code.alphabet",
            format!(
                "must be at least {MIN_ALPHABET} different characters of A-Z and 0-9, each once \
                 (codes are accepted in any letter case)"
            ),
        );
    }

    fn check_purchases(&self, faults: &mut Faults) {
        faults.unless(
            (0..=MAX_AMOUNT_MINOR).contains(&self.minimum_purchase_minor),
            "minimum_purchase_minor",
            format!("must be 0 to {MAX_AMOUNT_MINOR} minor units"),
        );
        if let Some(currency) = &self.purchase_currency_code {
            faults.unless(
                is_currency(currency),
                "purchase_currency_code",
                "must be an ISO 4217 code of a currency; leave it out to take any currency",
            );
        }
        if self.earn_on == EarnOn::Referral {
            faults.unless(
                self.minimum_purchase_minor == 0,
                "minimum_purchase_minor",
                "has no meaning where referrals earn, not purchases",
            );
            faults.unless(
                self.purchase_currency_code.is_none() || self.credit_purchases,
                "purchase_currency_code",
                "has no meaning where referrals earn, not purchases",
            );
        } else if self.minimum_purchase_minor > 0 {
            faults.unless(
                self.purchase_currency_code.is_some(),
                "purchase_currency_code",
                "is needed to say in which currency the minimum is",
            );
        }
    }

    fn check_expiry(&self, faults: &mut Faults) {
        faults.unless(
            self.expire_months.is_none_or(|months| (1..=MAX_EXPIRE_MONTHS).contains(&months)),
            "expire_months",
            format!("must be 1 to {MAX_EXPIRE_MONTHS}; leave it out if rewards never expire"),
        );
        faults.unless(
            self.expire_months.is_none() || self.tier_rule().is_none(),
            "expire_months",
            "has no meaning with tiers: points always follow the formula",
        );
        faults.unless(
            is_time_zone(&self.time_zone),
            "time_zone",
            "must be a time zone of the IANA database, spelled as there: Europe/Berlin",
        );
    }

    fn check_rewards(&self, faults: &mut Faults) {
        faults.unless(!self.rewards.is_empty(), "rewards", "must have at least one rule");
        let mut names = BTreeSet::new();
        let mut levels = BTreeSet::new();
        let mut shared_bps = 0_u64;
        for (index, rule) in self.rewards.iter().enumerate() {
            let field = |name: &str| format!("rewards[{index}].{name}");
            faults.unless(
                ProgramId::parse(&rule.rule).is_ok() && names.insert(&rule.rule),
                field("rule"),
                "must be 1 to 64 of A-Z, a-z, 0-9, '.', '_' and '-', at least one of them a letter or digit, and no \
                 other rule's name",
            );
            faults.unless(
                rule.level <= MAX_LEVEL,
                field("level"),
                format!("must be 0 (the referee) to {MAX_LEVEL}"),
            );
            faults.unless(
                levels.last().is_none_or(|last| *last < rule.level) && levels.insert(rule.level),
                field("level"),
                "must be higher than that of the rule before: one rule per level, lowest first",
            );
            if let Some(cap) = rule.cap_minor {
                faults.unless(
                    (1..=MAX_AMOUNT_MINOR).contains(&cap),
                    field("cap_minor"),
                    format!("must be 1 to {MAX_AMOUNT_MINOR} minor units; leave it out for no cap"),
                );
            }
            if let Pay::RateBps(rate) = rule.pay {
                shared_bps += u64::from(rate);
            }
            self.check_pay(rule, &field, faults);
        }
        let shares = shared_bps > 0 && self.earn_on != EarnOn::Referral;
        faults.unless(
            !(shares || self.credit_purchases)
                || self.purchase_currency_code.as_ref() == Some(&self.unit),
            "purchase_currency_code",
            "must be the program's unit where a share of purchases is paid or purchases are \
             credited: nothing is ever exchanged",
        );
        faults.unless(
            shared_bps <= u64::from(WHOLE_BPS),
            "rewards",
            format!("share {shared_bps} basis points of a purchase, more than the whole"),
        );
    }

    fn check_pay(&self, rule: &RewardRule, field: &dyn Fn(&str) -> String, faults: &mut Faults) {
        let kinds: &[RewardKind] = match &rule.pay {
            Pay::FlatMinor(amount) => {
                faults.unless(
                    (1..=MAX_AMOUNT_MINOR).contains(amount),
                    field("flat_minor"),
                    format!("must be 1 to {MAX_AMOUNT_MINOR} minor units"),
                );
                &[RewardKind::Bonus, RewardKind::Credit, RewardKind::Points]
            }
            Pay::RateBps(rate) => {
                faults.unless(
                    (1..=WHOLE_BPS).contains(rate),
                    field("rate_bps"),
                    format!("must be 1 to {WHOLE_BPS} basis points"),
                );
                faults.unless(
                    self.earn_on != EarnOn::Referral,
                    field("rate_bps"),
                    "is a share of a purchase, but in this program referrals earn",
                );
                &[RewardKind::Commission]
            }
            Pay::Tiers(tiers) => {
                check_tiers(tiers, field, faults);
                &[RewardKind::Points]
            }
            Pay::Count => &[RewardKind::Points],
        };
        faults.unless(
            kinds.contains(&rule.kind),
            field("kind"),
            format!("does not fit what the rule pays; it can be {kinds:?}").to_lowercase(),
        );
        if matches!(rule.pay, Pay::Tiers(_) | Pay::Count) {
            let by_referral = self.earn_on != EarnOn::EveryPurchase;
            faults.unless(
                by_referral,
                field("kind"),
                "tiers and counts go by referrals, so they cannot be earned on every purchase",
            );
            faults.unless(
                rule.level == 1,
                field("level"),
                "must be 1 (the referrer) for tiers and counts",
            );
            faults.unless(
                rule.cap_minor.is_none(),
                field("cap_minor"),
                "has no meaning for tiers and counts",
            );
        }
    }
}

fn check_tiers(tiers: &[Tier], field: &dyn Fn(&str) -> String, faults: &mut Faults) {
    faults.unless(
        (1..=MAX_TIERS).contains(&tiers.len()),
        field("tiers"),
        format!("must be 1 to {MAX_TIERS} tiers"),
    );
    let mut names = BTreeSet::new();
    for (index, tier) in tiers.iter().enumerate() {
        let field = |name: &str| field(&format!("tiers[{index}].{name}"));
        faults.unless(
            is_name(&tier.name, MAX_TIER_NAME_CHARS) && names.insert(&tier.name),
            field("name"),
            format!(
                "must be 1 to {MAX_TIER_NAME_CHARS} characters that can be seen, and no other tier's name"
            ),
        );
        let previous = index.checked_sub(1).map(|index| tiers[index].from_referrals);
        faults.unless(
            previous.map_or(tier.from_referrals == 0, |previous| tier.from_referrals > previous)
                && tier.from_referrals <= MAX_COUNT,
            field("from_referrals"),
            "must be 0 for the first tier and higher than that of the tier before for the others",
        );
        faults.unless(
            (0..=MAX_TIER_RATE).contains(&tier.rate_points),
            field("rate_points"),
            format!("must be 0 to {MAX_TIER_RATE}"),
        );
        faults.unless(
            (0..=MAX_TIER_BONUS).contains(&tier.bonus_points),
            field("bonus_points"),
            format!("must be 0 to {MAX_TIER_BONUS}"),
        );
        let (before, after) =
            (tier.from_referrals.saturating_sub(1), points_at(tiers, tier.from_referrals));
        faults.unless(
            points_at(tiers, before) <= after,
            field("rate_points"),
            format!("would take points away from somebody who reaches the tier ({after} points)"),
        );
    }
}

fn is_name(name: &str, max_chars: usize) -> bool {
    name.chars().count() <= max_chars && unseen(name).is_none()
}

/// The faults of a program so far.
#[derive(Default)]
pub(crate) struct Faults(Vec<Fault>);

impl Faults {
    pub(crate) fn into_vec(self) -> Vec<Fault> {
        self.0
    }

    pub(crate) fn unless(
        &mut self,
        holds: bool,
        field: impl Into<String>,
        message: impl Into<String>,
    ) {
        if !holds {
            self.0.push(Fault { field: field.into(), message: message.into() });
        }
    }

    /// The fields at fault.
    #[cfg(test)]
    pub(crate) fn into_fields(self) -> Vec<String> {
        self.0.into_iter().map(|fault| fault.field).collect()
    }
}
