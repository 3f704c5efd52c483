//! Everything that makes a program invalid.

use std::collections::BTreeSet;

use super::{
    CODE_LENGTHS, EarnOn, Fault, MAX_COUNT, MAX_DISPLAY_NAME_CHARS, MAX_EXPIRE_MONTHS, MAX_LEVEL,
    MAX_TIER_BONUS, MAX_TIER_NAME_CHARS, MAX_TIER_RATE, MAX_TIERS, MIN_ALPHABET, Pay, ProgramRules,
    RewardKind, RewardRule, Tier, points_at,
};
use crate::ProgramId;
use crate::code::CodeFormat;
use crate::currency::{is_currency, is_unit};
use crate::link::base_url_fault;
use crate::money::{MAX_AMOUNT_MINOR, WHOLE_BPS};
use crate::months::is_time_zone;
use crate::text::unseen;

impl ProgramRules {
    pub(super) fn check_names(&self, faults: &mut Faults) {
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

    pub(super) fn check_payouts(&self, faults: &mut Faults) {
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
    }

    pub(super) fn check_code(&self, faults: &mut Faults) {
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

    pub(super) fn check_purchases(&self, faults: &mut Faults) {
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

    pub(super) fn check_expiry(&self, faults: &mut Faults) {
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

    pub(super) fn check_rewards(&self, faults: &mut Faults) {
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
