//! Reckons what a referral or a purchase must cause in one program, from the rules and from what was before it.

use std::sync::Arc;

use domain::reward::WithheldReason;
use domain::rules::{EarnOn, Pay, RewardKind, RewardRule};
use domain::{ReferralStatus, TierPot};

use super::conversions;
use super::deals::{self, DealIndex};
use super::effect::{Effect, Fields, Value};
use super::fields::{Reward, credit_fields};
use super::posts::{Move, Settled};
use super::rulebook::{self, counts_as_after, first_is_used, share, takes_currency, tiers_of};
use super::settle;
use super::world::{PersonIndex, Tie, Version, World};

/// A purchase, as it was recorded.
#[derive(Clone)]
pub(super) struct Purchase {
    pub(super) id: Arc<str>,
    pub(super) amount_minor: i64,
    pub(super) currency_code: String,
    pub(super) date: rulebook::Moment,
}

/// The consequences of one occasion in one program.
pub(super) struct Reckoning<'a> {
    pub(super) world: &'a World,
    pub(super) version: &'a Version,
    /// The buyer, or the referee.
    pub(super) source: PersonIndex,
    /// Absent if the referral itself is the occasion.
    pub(super) purchase: Option<&'a Purchase>,
    pub(super) effects: Vec<Effect>,
}

/// Somebody whom a rule names.
pub(super) struct Candidate<'a> {
    pub(super) rule: &'a RewardRule,
    pub(super) person: PersonIndex,
    /// Why a referral on the way to this person stands in the way.
    cut_off: Option<WithheldReason>,
}

/// What a rule does not pay, and why.
pub(super) struct Unpaid {
    pub(super) reason: WithheldReason,
    /// What the rule comes to before its cap; absent where a referral stands in the way.
    pub(super) computed_minor: Option<i128>,
}

/// What a rule pays.
struct Quote {
    computed_minor: i128,
    amount_minor: i128,
    cap_remaining_minor: Option<i64>,
    /// The change of tiers, if it brings one.
    tiers: Option<TierChange>,
    /// The number of referrals that the tier goes by.
    tier_referrals: Option<u32>,
}

/// The names of the tiers before and after.
type TierChange = (Arc<str>, Arc<str>);

/// What a referral must cause. The referral itself has been recorded.
pub(super) fn of_referral(world: &World, referee: PersonIndex, version: &Version) -> Vec<Effect> {
    let mut reckoning =
        Reckoning { world, version, source: referee, purchase: None, effects: Vec::new() };
    let counts = world.person(referee).referral.is_some_and(|tie| is_counted(tie.status));
    if version.rules.earn_on == EarnOn::Referral && counts {
        reckoning.convert();
        reckoning.pay();
    }
    reckoning.effects
}

/// What a purchase must cause in one program of its buyer.
pub(super) fn of_purchase(
    world: &World,
    buyer: PersonIndex,
    purchase: &Purchase,
    version: &Version,
) -> Vec<Effect> {
    let mut reckoning =
        Reckoning { world, version, source: buyer, purchase: Some(purchase), effects: Vec::new() };
    reckoning.credit(purchase);
    if let Some(reason) = reckoning.fault_of(purchase) {
        reckoning.withhold_from_all(reason);
    } else {
        if reckoning.pay() {
            reckoning.convert();
        }
        if !reckoning.effects.iter().any(is_of_a_reward) {
            reckoning.withhold_from_all(WithheldReason::NotReferred);
        }
    }
    reckoning.use_first(purchase);
    reckoning.effects
}

/// What must be made up for a purchase whose rewards on some levels were withheld because a referral did not count: the
/// levels to which all referrals count now, and the consequences.
pub(super) fn of_making_up(
    world: &World,
    index: DealIndex,
    purchase: &Purchase,
    version: &Version,
) -> (Vec<u32>, Vec<Effect>) {
    let deal = world.deals.get(index);
    let (buyer, levels) = (deal.buyer, deal.cut_off_levels());
    let price = world.deals.price(index).by(Some(&version.rules));
    let is_share = |reward: &&deals::Reward| {
        let rule = rule_on(version, reward.level.into());
        rule.is_some_and(|rule| matches!(rule.pay, Pay::RateBps(_)))
    };
    let rewards = world.deals.rewards(index);
    let shared = rewards.iter().filter(is_share).map(|reward| i128::from(reward.granted_minor));
    let shared = shared.sum::<i128>();
    let mut reckoning =
        Reckoning { world, version, source: buyer, purchase: Some(purchase), effects: Vec::new() };
    let own = world.person(buyer).referral;
    let counts = own.is_some_and(|tie| fault_of_tie(tie, purchase, version).is_none())
        && price.earns_without(price.gone)
        && settle::can_be_first(world, index, world.deals.key(&purchase.id), version);
    if !counts || !version.rules.make_up_held_purchases {
        return (Vec::new(), Vec::new());
    }
    let mut candidates = reckoning.candidates();
    candidates
        .retain(|candidate| candidate.cut_off.is_none() && levels.contains(&candidate.rule.level));
    let made_up = candidates.iter().map(|candidate| candidate.rule.level).collect();
    let left = i128::from(purchase.amount_minor) - shared;
    if reckoning.pay_all(candidates, left) {
        reckoning.convert();
    }
    (made_up, reckoning.effects)
}

/// The rule of a version for a level.
pub(super) fn rule_on(version: &Version, level: u32) -> Option<&RewardRule> {
    version.rules.rewards.iter().find(|rule| rule.level == level)
}

/// Whether the purchase is enough for a "first purchase" of which only a qualifying one is the first.
pub(super) fn is_enough(
    world: &World,
    buyer: PersonIndex,
    purchase: &Purchase,
    version: &Version,
) -> bool {
    let referral = world.person(buyer).referral;
    // What cannot be made up for is like a purchase before the referral.
    let is_lost = |tie: &Tie| !is_counted(tie.status) && !version.rules.make_up_held_purchases;
    takes_currency(&version.rules, &purchase.currency_code)
        && purchase.amount_minor >= version.rules.minimum_purchase_minor
        && referral.is_none_or(|tie| {
            counts_as_after(purchase.date, since(&tie, version)) && !is_lost(&tie)
        })
}

/// Since when purchases earn through a referral: since it was made or, where nothing is made up for, since it was
/// released.
fn since(tie: &Tie, version: &Version) -> rulebook::Moment {
    match tie.released {
        Some(released) if !version.rules.make_up_held_purchases => released,
        _ => tie.made,
    }
}

fn is_of_a_reward(effect: &Effect) -> bool {
    matches!(effect.name, "RewardGranted" | "RewardWithheld")
}

fn is_counted(status: ReferralStatus) -> bool {
    matches!(status, ReferralStatus::Pending | ReferralStatus::Converted)
}

/// Why a referral stands between a purchase and its reward.
fn fault_of_tie(tie: Tie, purchase: &Purchase, version: &Version) -> Option<WithheldReason> {
    if counts_as_after(purchase.date, since(&tie, version)) {
        fault_of_status(tie.status)
    } else {
        Some(WithheldReason::BeforeReferral)
    }
}

/// Why nothing is earned through a referral with this status.
fn fault_of_status(status: ReferralStatus) -> Option<WithheldReason> {
    match status {
        ReferralStatus::Held => Some(WithheldReason::ReferralHeld),
        ReferralStatus::Rejected => Some(WithheldReason::ReferralNotCounted),
        ReferralStatus::Pending | ReferralStatus::Converted => None,
    }
}

impl<'a> Reckoning<'a> {
    fn expect(&mut self, person: PersonIndex, name: &'static str, fields: Fields) {
        self.effects.push(self.world.expect(person, name, fields));
    }

    /// Where the program credits them, purchases in its unit are added to the buyer's own balance.
    fn credit(&mut self, purchase: &Purchase) {
        let rules = &self.version.rules;
        if rules.credit_purchases && rules.unit == purchase.currency_code {
            let fields = credit_fields(&purchase.id, purchase.amount_minor, &rules.unit);
            self.expect(self.source, "PurchaseCredited", fields);
        }
    }

    /// Why the purchase earns nobody anything.
    fn fault_of(&self, purchase: &Purchase) -> Option<WithheldReason> {
        let rules = &self.version.rules;
        let buyer = self.world.person(self.source);
        if rules.earn_on == EarnOn::Referral {
            Some(WithheldReason::RewardsReferralsOnly)
        } else if !takes_currency(rules, &purchase.currency_code) {
            Some(WithheldReason::CurrencyNotAccepted)
        } else if purchase.amount_minor < rules.minimum_purchase_minor {
            Some(WithheldReason::BelowMinimum)
        } else if first_is_used(rules.earn_on, &buyer.bought) == Some(true) {
            Some(WithheldReason::NotFirstPurchase)
        } else {
            match buyer.referral {
                None => Some(WithheldReason::NotReferred),
                Some(tie) => fault_of_tie(tie, purchase, self.version),
            }
        }
    }

    /// The source's referral converts, if it is pending.
    fn convert(&mut self) {
        let Some(tie) = self.world.person(self.source).referral else { return };
        if tie.status == ReferralStatus::Pending {
            let purchase_id = self.purchase.map(|purchase| purchase.id.clone());
            let date = self.purchase.map(|purchase| purchase.date);
            let is_barred = self.world.person(tie.referrer).bar(date).is_some();
            self.effects.extend(conversions::conversion(
                self.world,
                self.source,
                purchase_id,
                is_barred,
            ));
        }
    }

    /// The purchase is remembered if it is the first of all, or the first that was enough. A conversion says so
    /// itself.
    fn use_first(&mut self, purchase: &Purchase) {
        let is_enough = is_enough(self.world, self.source, purchase, self.version);
        let is_known = self.world.person(self.source).bought.knows_better(is_enough);
        if !is_known && !self.effects.iter().any(|effect| effect.name == "ReferralConverted") {
            let fields = vec![
                ("purchase", purchase.id.clone().into()),
                ("insufficient", (!is_enough).into()),
            ];
            self.expect(self.source, "FirstPurchaseUsed", fields);
        }
    }

    /// Whom the rules name, up the line.
    pub(super) fn candidates(&self) -> Vec<Candidate<'a>> {
        let (world, version) = (self.world, self.version);
        let mut candidates = Vec::new();
        for rule in &version.rules.rewards {
            let mut person = Some(self.source);
            let mut cut_off = None;
            for step in 0..rule.level {
                let tie = person.and_then(|person| world.person(person).referral);
                // The source's own referral was judged for the occasion as a whole.
                if step > 0 && cut_off.is_none() {
                    cut_off = tie.and_then(|tie| match self.purchase {
                        Some(purchase) => fault_of_tie(tie, purchase, version),
                        None => fault_of_status(tie.status),
                    });
                }
                person = tie.map(|tie| tie.referrer);
            }
            candidates.extend(person.map(|person| Candidate { rule, person, cut_off }));
        }
        candidates
    }

    /// Pays everybody whom the rules name; whether anybody got anything.
    fn pay(&mut self) -> bool {
        let amount = self.purchase.map_or(0, |of| i128::from(of.amount_minor));
        self.pay_all(self.candidates(), amount)
    }

    /// Pays these, out of what is left of the purchase; whether anybody got anything.
    fn pay_all(&mut self, candidates: Vec<Candidate<'a>>, mut left_of_purchase: i128) -> bool {
        let mut is_paid = false;
        for candidate in candidates {
            let Candidate { rule, person, cut_off } = candidate;
            let quote = match cut_off {
                Some(reason) => Err(Unpaid { reason, computed_minor: None }),
                None => self.quote(rule, person, left_of_purchase),
            };
            match quote {
                Ok(quote) => {
                    if matches!(rule.pay, Pay::RateBps(_)) {
                        left_of_purchase -= quote.amount_minor;
                    }
                    self.grant(rule, person, quote);
                    is_paid = true;
                }
                Err(unpaid) => {
                    let is_capped = unpaid.reason == WithheldReason::CapReached;
                    let cap = rule.cap_minor.filter(|_| is_capped);
                    self.withhold(Some((rule, person)), &unpaid, cap, true);
                }
            }
        }
        is_paid
    }

    fn quote(
        &self,
        rule: &RewardRule,
        earner: PersonIndex,
        left_of_purchase: i128,
    ) -> Result<Quote, Unpaid> {
        let person = self.world.person(earner);
        let mut bar = person.bar(self.purchase.map(|purchase| purchase.date));
        let own = self.world.person(self.source).referral;
        if tiers_of(&rule.pay).is_some() && own.is_some_and(|tie| !tie.made_while_active) {
            // Such a referral never counts for tiers, also after the reactivation.
            bar = bar.or(Some(WithheldReason::EarnerInactive));
        }
        let amount = self.purchase.map_or(0, |purchase| purchase.amount_minor);
        let (computed_minor, tiers, tier_referrals) = match &rule.pay {
            Pay::FlatMinor(flat) => (i128::from(*flat), None, None),
            Pay::Count => (1, None, None),
            Pay::RateBps(rate) => (share(amount, *rate).min(left_of_purchase), None, None),
            Pay::Tiers(_) => self.by_tier(rule, earner),
        };
        let unpaid = |reason| Unpaid { reason, computed_minor: Some(computed_minor) };
        if let Some(reason) = bar {
            return Err(unpaid(reason));
        }
        if computed_minor == 0 && tiers_of(&rule.pay).is_none() {
            return Err(unpaid(WithheldReason::RoundedToZero));
        }
        let cap_remaining_minor =
            rule.cap_minor.map(|cap| cap - person.level(rule.level).total_minor);
        if cap_remaining_minor.is_some_and(|left| left <= 0) {
            return Err(unpaid(WithheldReason::CapReached));
        }
        let amount_minor = match cap_remaining_minor {
            Some(left) => computed_minor.min(left.into()),
            None => computed_minor,
        };
        Ok(Quote { computed_minor, amount_minor, cap_remaining_minor, tiers, tier_referrals })
    }

    /// The points that an earner still lacks for the referrals that count, this one included; and the change of
    /// tiers that they bring.
    fn by_tier(
        &self,
        rule: &RewardRule,
        earner: PersonIndex,
    ) -> (i128, Option<TierChange>, Option<u32>) {
        let tiers = tiers_of(&rule.pay).unwrap_or_default();
        let person = self.world.person(earner);
        let mut referrals = person.counts.for_tiers(self.version.rules.earn_on);
        let own = self.world.person(self.source).referral;
        // The purchase converts a pending referral. One that never counts is reckoned as if it did: what it comes to
        // is withheld.
        let converts = |tie: &Tie| self.purchase.is_some() && tie.status == ReferralStatus::Pending;
        if own.is_some_and(|tie| converts(&tie) || !tie.made_while_active) {
            referrals += 1;
        }
        let points = rulebook::tier_points(tiers, referrals) - i128::from(person.tier_points);
        let before = person.tier.clone().or_else(|| Some(tiers.first()?.name.as_str().into()));
        let after = rulebook::tier(tiers, referrals).map(|tier| tier.name.as_str().into());
        // Nothing is taken back from whom other rules gave more.
        let change = before.zip(after).filter(|(before, after)| before != after);
        (points.max(0), change, Some(referrals))
    }

    fn grant(&mut self, rule: &RewardRule, earner: PersonIndex, quote: Quote) {
        let Quote { amount_minor, tier_referrals, .. } = quote;
        let level = self.world.person(earner).level(rule.level);
        let reward = Reward {
            version: self.version.number,
            rule: rule.rule.as_str().into(),
            level: rule.level,
            source: self.world.user_id(self.source).clone(),
            purchase_id: self.purchase.map(|purchase| purchase.id.clone()),
            basis_minor: self.purchase.map(|purchase| purchase.amount_minor),
            rate_bps: match rule.pay {
                Pay::RateBps(rate) => Some(rate),
                Pay::FlatMinor(_) | Pay::Tiers(_) | Pay::Count => None,
            },
            computed_minor: quote.computed_minor,
            amount_minor: quote.amount_minor,
            cap_remaining_minor: quote.cap_remaining_minor,
            level_total_minor: i128::from(level.total_minor) + quote.amount_minor,
            level_count: level.rewards + 1,
            tier_referrals: quote.tier_referrals,
            kind: kind(rule.kind),
            unit: self.version.rules.unit.as_str().into(),
            waits: self.version.rules.hold_days.is_some(),
        };
        self.expect(earner, "RewardGranted", reward.fields());
        self.rebalance(rule, earner, amount_minor, tier_referrals);
        if let Some((from, to)) = quote.tiers {
            let fields = vec![("from tier", from.into()), ("to tier", to.into())];
            self.expect(earner, "TierChanged", fields);
        }
    }

    /// While points by tier wait, new ones change how many do.
    fn rebalance(
        &mut self,
        rule: &RewardRule,
        earner: PersonIndex,
        amount_minor: i128,
        referrals: Option<u32>,
    ) {
        let person = self.world.person(earner);
        let (Some(tiers), Some(referrals)) = (tiers_of(&rule.pay), referrals) else { return };
        if person.pot == TierPot::default() {
            return;
        }
        let held = if self.version.rules.hold_days.is_some() { amount_minor } else { 0 };
        let held_before = i128::from(person.pot.held_minor);
        let held_minor = i64::try_from(held_before + held).unwrap_or(i64::MAX);
        let pot = TierPot { held_minor, ..person.pot };
        let points = i128::from(person.tier_points) + amount_minor;
        let waiting = rulebook::waiting_points(tiers, referrals, pot, points);
        for step in Move::all(0, waiting - i128::from(person.pot_minor) - held) {
            let settled = Settled {
                version: self.version,
                rule,
                source: self.world.user_id(self.source).clone(),
                purchase_id: self.purchase.map(|purchase| purchase.id.clone()),
                sequence: None,
                pot: Some(pot),
            };
            let (name, fields) = settled.fields(step, 0);
            self.expect(earner, name, fields);
        }
    }
}

fn kind(kind: RewardKind) -> Value {
    match kind {
        RewardKind::Points => "Points",
        RewardKind::Credit => "Credit",
        RewardKind::Bonus => "Bonus",
        RewardKind::Commission => "Commission",
    }
    .into()
}
