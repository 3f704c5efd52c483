//! What must become of rewards after refunds, disputes, holds and rejected referrals.
//!
//! That one of these happened is an input; what each reward must look like afterwards is reckoned from all of them,
//! from the rules that had granted it and, where something is given back, from the room that caps have left.

use std::sync::Arc;

use domain::rules::{EarnOn, Pay, RewardRule};
use domain::{ReferralStatus, TierPot};

use super::conversions;
use super::deals::{DealIndex, FirstUse, Key, Reward};
use super::effect::Effect;
use super::fields::credit_step_fields;
use super::posts::{Move, Settled};
use super::price::Price;
use super::reckon::rule_on;
use super::rulebook::{self, Counts, first_is_used, tiers_of};
use super::world::{PersonIndex, ProgramIndex, Tie, Version, World};

/// A purchase before an input changed it.
pub(super) struct Before {
    purchase_id: Arc<str>,
    key: Key,
    deals: Vec<DealBefore>,
}

struct DealBefore {
    index: DealIndex,
    price: Price,
    rejected_from: Option<u8>,
    rewards: Vec<Reward>,
}

impl Before {
    pub(super) fn of(world: &World, purchase_id: &Arc<str>) -> Self {
        let key = world.deals.key(purchase_id);
        let deals = world.deals.of(key).map(|index| DealBefore {
            index,
            price: world.deals.price(index),
            rejected_from: world.deals.get(index).rejected_from,
            rewards: world.deals.rewards(index),
        });
        Self { purchase_id: purchase_id.clone(), key, deals: deals.collect() }
    }
}

/// How what earned rewards stands.
#[derive(Clone, Copy)]
pub(super) struct Standing {
    pub(super) price: Price,
    /// Whether it earns at all.
    pub(super) stands: bool,
    /// The level from which on nothing is earned.
    pub(super) lost_from: Option<u8>,
}

impl Standing {
    fn keeps(&self, level: u8) -> bool {
        self.stands && self.lost_from.is_none_or(|from| level < from)
    }
}

/// What earned rewards: a purchase, or the referral of the source.
pub(super) struct Settling<'a> {
    pub(super) world: &'a World,
    pub(super) version: &'a Version,
    pub(super) source: PersonIndex,
    pub(super) purchase_id: Option<Arc<str>>,
    pub(super) was: Standing,
    pub(super) now: Standing,
    /// The source's referral before and after, if its status changes.
    pub(super) tie: Option<(Tie, Tie)>,
}

/// What must follow from a change of a purchase that has been taken over.
pub(super) fn of_change(world: &World, before: &Before) -> Vec<Effect> {
    before.deals.iter().flat_map(|deal| of_deal(world, before, deal)).collect()
}

fn of_deal(world: &World, before: &Before, deal_before: &DealBefore) -> Vec<Effect> {
    let index = deal_before.index;
    let deal = world.deals.get(index);
    let rewards = world.deals.rewards(index);
    // Without rewards no rules have judged the purchase.
    let version = if rewards.is_empty() { None } else { world.version(deal.program, deal.version) };
    let rules = version.map(|version| &*version.rules);
    let (price_before, price) = (deal_before.price.by(rules), world.deals.price(index).by(rules));
    let buyer = world.person(deal.buyer);
    let is_first = buyer.bought.is(before.key);
    let was_first = version.is_none_or(|version| still_first(world, index, before.key, version));
    let may_be_first =
        version.is_none_or(|version| can_be_first(world, index, before.key, version));
    let standing = |price: Price, is_first, lost_from: Option<u8>| Standing {
        price,
        stands: is_first && price.earns_without(price.gone) && lost_from != Some(0),
        lost_from,
    };
    let was = standing(price_before, was_first, deal_before.rejected_from);
    let now = standing(price, may_be_first, deal.rejected_from);
    let follow = Following { world, before, index, is_rewarded: !rewards.is_empty() };
    let (mut effects, tie) = match (was.stands, now.stands) {
        (true, false) => follow.undo(is_first),
        (false, true) => follow.redo(),
        (true, true) | (false, false) => (Vec::new(), None),
    };
    if let Some(version) = version {
        let purchase_id = Some(before.purchase_id.clone());
        let settling = Settling { world, version, source: deal.buyer, purchase_id, was, now, tie };
        for (old, new) in deal_before.rewards.iter().zip(&rewards) {
            effects.extend(settling.settle(old, new).0);
        }
    }
    effects.extend(of_credit(world, before, index, price));
    effects
}

/// Whether a purchase is the first where the first one earns, if it ever was.
fn still_first(world: &World, index: DealIndex, key: Key, version: &Version) -> bool {
    let deal = world.deals.get(index);
    match version.rules.earn_on {
        EarnOn::FirstPurchase { .. } => {
            deal.first_use == FirstUse::None || world.person(deal.buyer).bought.is(key)
        }
        EarnOn::EveryPurchase | EarnOn::Referral => true,
    }
}

/// Whether no other purchase has become the first where the first one earns, if this one was it.
pub(super) fn can_be_first(world: &World, index: DealIndex, key: Key, version: &Version) -> bool {
    let deal = world.deals.get(index);
    let bought = &world.person(deal.buyer).bought;
    deal.first_use == FirstUse::None
        || bought.is(key)
        || first_is_used(version.rules.earn_on, bought) != Some(true)
}

/// What must become of rewards that were granted for a purchase afterwards, because of refunds and disputes before.
pub(super) fn of_made_up(
    world: &World,
    index: DealIndex,
    purchase_id: &Arc<str>,
    levels: &[u32],
) -> Vec<Effect> {
    let deal = world.deals.get(index);
    let Some(version) = world.version(deal.program, deal.version) else { return Vec::new() };
    let price = world.deals.price(index).by(Some(&version.rules));
    let lost_from = deal.rejected_from;
    let stands = price.earns_without(price.gone) && lost_from != Some(0);
    let settling = Settling {
        world,
        version,
        source: deal.buyer,
        purchase_id: Some(purchase_id.clone()),
        was: Standing { price: Price::OF_A_REFERRAL, stands: true, lost_from: None },
        now: Standing { price, stands, lost_from },
        tie: None,
    };
    let rewards = world.deals.rewards(index).into_iter();
    let made_up = rewards.filter(|reward| levels.contains(&reward.level.into()));
    made_up.flat_map(|reward| settling.settle(&reward, &reward).0).collect()
}

/// What a purchase means for the buyer's referral, and as the first one.
struct Following<'a> {
    world: &'a World,
    before: &'a Before,
    index: DealIndex,
    is_rewarded: bool,
}

type Followed = (Vec<Effect>, Option<(Tie, Tie)>);

/// Whether a purchase earns in a program.
fn earns(world: &World, program: ProgramIndex, index: DealIndex) -> bool {
    let deals = &world.deals;
    let version = world.version(program, deals.get(index).version);
    let price = deals.price(index).by(version.map(|version| &*version.rules));
    deals.is_rewarded(index)
        && price.earns_without(price.gone)
        && deals.get(index).rejected_from != Some(0)
}

/// A purchase may convert a referral that counts again, if it still earns and no other one has become the first since:
/// as it did then, if it did.
pub(super) fn of_another_conversion(
    world: &World,
    buyer: PersonIndex,
    purchase_id: &str,
) -> Vec<Effect> {
    let person = world.person(buyer);
    let key = world.deals.key(purchase_id);
    let known = world.deals.find(key, person.program);
    let pending = person.referral.filter(|tie| tie.status == ReferralStatus::Pending);
    let (Some(index), Some(tie)) = (known, pending) else { return Vec::new() };
    let deal = world.deals.get(index);
    let version = world.version(person.program, deal.version);
    let is_first = version.is_some_and(|version| still_first(world, index, key, version));
    if deal.buyer != buyer || !is_first || !earns(world, person.program, index) {
        return Vec::new();
    }
    let is_barred = world.person(tie.referrer).bar(None).is_some();
    let is_barred = deal.converted.unwrap_or(is_barred);
    conversions::conversion(world, buyer, Some(purchase_id.into()), is_barred)
}

impl Following<'_> {
    fn buyer(&self) -> PersonIndex {
        self.world.deals.get(self.index).buyer
    }

    fn purchase(&self) -> Arc<str> {
        self.before.purchase_id.clone()
    }

    /// The purchase earns no longer.
    fn undo(&self, is_first: bool) -> Followed {
        let (world, buyer) = (self.world, self.buyer());
        let mut effects = Vec::new();
        let fields = vec![("purchase", self.purchase().into())];
        if is_first {
            effects.push(world.expect(buyer, "FirstPurchaseFreed", fields.clone()));
        }
        let converted = world.person(buyer).referral.filter(Tie::is_converted_by_purchase);
        let Some(tie) = converted.filter(|_| self.is_rewarded && !self.another_earns()) else {
            return (effects, None);
        };
        let status = tie.against.status();
        effects.push(world.expect(buyer, "ReferralUnconverted", fields));
        effects.extend(conversions::updated(world, buyer, status, !tie.converted_while_able));
        (effects, Some((tie, Tie { status, ..tie })))
    }

    /// Whether another purchase earns, in a program where every purchase does or did.
    fn another_earns(&self) -> bool {
        let world = self.world;
        let deal = world.deals.get(self.index);
        self.can_another_earn()
            && world
                .deals
                .back_from(world.person(deal.buyer).latest_deal)
                .any(|other| other != self.index && earns(world, deal.program, other))
    }

    fn can_another_earn(&self) -> bool {
        let program = self.world.deals.get(self.index).program;
        let versions = &self.world.program(program).versions;
        versions.iter().any(|version| version.rules.earn_on == EarnOn::EveryPurchase)
    }

    /// The purchase earns again.
    fn redo(&self) -> Followed {
        let (world, buyer) = (self.world, self.buyer());
        let deal = world.deals.get(self.index);
        let pending =
            world.person(buyer).referral.filter(|tie| tie.status == ReferralStatus::Pending);
        if let Some(tie) = pending.filter(|_| self.is_rewarded) {
            let is_barred = world.person(tie.referrer).bar(None).is_some();
            // As it did before, if it did.
            let is_barred = deal.converted.unwrap_or(is_barred);
            let effects = conversions::conversion(world, buyer, Some(self.purchase()), is_barred);
            let status = ReferralStatus::Converted;
            let after = Tie { status, converted_while_able: !is_barred, ..tie };
            // A conversion says by itself that the purchase is the first again.
            return (effects, Some((tie, after)));
        }
        let mut effects = self.reinstated();
        let is_enough = match deal.first_use {
            FirstUse::None => return (effects, None),
            FirstUse::Insufficient => false,
            FirstUse::Enough => true,
        };
        if world.person(buyer).bought.knows_better(is_enough) {
            return (effects, None);
        }
        let fields =
            vec![("purchase", self.purchase().into()), ("insufficient", (!is_enough).into())];
        effects.push(world.expect(buyer, "FirstPurchaseUsed", fields));
        (effects, None)
    }

    /// Where several purchases can earn, the buyer's stream says that one does again while another keeps the referral
    /// converted.
    fn reinstated(&self) -> Vec<Effect> {
        let (world, buyer) = (self.world, self.buyer());
        let tie = world.person(buyer).referral;
        let is_converted = tie.as_ref().is_some_and(Tie::is_converted_by_purchase);
        if !(is_converted && self.is_rewarded && self.can_another_earn()) {
            return Vec::new();
        }
        vec![world.expect(buyer, "PurchaseReinstated", vec![("purchase", self.purchase().into())])]
    }
}

/// The credit for the price goes back with the price.
fn of_credit(world: &World, before: &Before, index: DealIndex, price: Price) -> Vec<Effect> {
    let deal = world.deals.get(index);
    let is_closed = world.user(world.person(deal.buyer).user).is_erased;
    if !deal.is_credited || is_closed {
        return Vec::new();
    }
    let (reversed, pending) = world.deals.credit(index);
    let change = i128::from(reversed) - price.gone;
    let pending_change = price.at_risk - price.gone - i128::from(pending);
    let unit = world.current_version(deal.program).map(|version| version.rules.unit.clone());
    let unit = unit.unwrap_or_default();
    let effect = |step: Move| {
        let fields = credit_step_fields(&before.purchase_id, step.fields("PurchaseCredit", &unit));
        world.expect(deal.buyer, "PurchaseCredited", fields)
    };
    Move::all(change, pending_change).into_iter().map(effect).collect()
}

impl Settling<'_> {
    /// What must become of a reward, and by how much of it more is reversed and pending then. `old` has what held it
    /// before, `new` what holds it now.
    pub(super) fn settle(&self, old: &Reward, new: &Reward) -> (Vec<Effect>, (i128, i128)) {
        let nothing = (Vec::new(), (0, 0));
        let earner = self.world.person(new.earner);
        // The account of somebody who was erased is closed.
        if self.world.user(earner.user).is_erased {
            return nothing;
        }
        let Some(rule) = rule_on(self.version, new.level.into()) else { return nothing };
        match rule.pay {
            Pay::Tiers(_) => self.points(rule, old, new),
            Pay::FlatMinor(_) | Pay::RateBps(_) | Pay::Count => self.amount(rule, new),
        }
    }

    /// A reward of an amount of its own.
    fn amount(&self, rule: &RewardRule, reward: &Reward) -> (Vec<Effect>, (i128, i128)) {
        let price = self.now.price;
        let granted = i128::from(reward.granted_minor);
        let taken = |gone| price.takes(&rule.pay, reward.granted_minor, gone);
        let level_minor = self.world.person(reward.earner).level(rule.level).total_minor;
        let before = i128::from(reward.reversed_minor);
        let due = if self.now.keeps(reward.level) { taken(price.gone) } else { granted };
        // No more is given back than the cap has room for.
        let room = rule.cap_minor.map(|cap| (i128::from(cap) - i128::from(level_minor)).max(0));
        let reversed = room.map_or(due, |room| due.max(before - room));
        let left = granted - reversed;
        let at_risk = (taken(price.at_risk) - reversed).max(0).min(left);
        let pending = if reward.waits() { left } else { at_risk };
        let pending_change = pending - i128::from(reward.pending_minor);
        let steps = Move::all(before - reversed, pending_change);
        let effects = self.effects(rule, reward, None, &steps);
        (effects, (reversed - before, pending_change))
    }

    /// Points by tier: they go by the referrals that count, and wait together.
    fn points(&self, rule: &RewardRule, old: &Reward, new: &Reward) -> (Vec<Effect>, (i128, i128)) {
        let nothing = (Vec::new(), (0, 0));
        let (was, now) = (Counted::of(&self.was, old), Counted::of(&self.now, new));
        if was == now {
            return nothing;
        }
        let earner = self.world.person(new.earner);
        let latest = self.world.version(earner.program, earner.tier_version);
        let by_tier = |version: &Version| {
            let mut rules = version.rules.rewards.iter();
            let tiers = rules.find_map(|rule| tiers_of(&rule.pay).map(<[_]>::to_vec))?;
            Some((tiers, version.rules.earn_on))
        };
        let by_tier = latest.and_then(by_tier).or_else(|| by_tier(self.version));
        let Some((tiers, earn_on)) = by_tier else { return nothing };
        let referrals = self.counts_of(new.earner).for_tiers(earn_on);
        let pot_before = earner.pot;
        let disputed = i64::from(pot_before.disputed) + i64::from(now.is_disputed)
            - i64::from(was.is_disputed);
        let held_minor = pot_before.held_minor + now.held_minor - was.held_minor;
        let pot = TierPot {
            disputed: u32::try_from(disputed).unwrap_or_default(),
            held_minor: held_minor.max(0),
        };
        let points = i128::from(earner.tier_points);
        let recounts = was.counts != now.counts;
        let due = if recounts { rulebook::tier_points(&tiers, referrals) } else { points };
        let waiting = rulebook::waiting_points(&tiers, referrals, pot, due);
        let mut steps = Move::all(due - points, waiting - i128::from(earner.pot_minor));
        if steps.is_empty() && pot != pot_before {
            // Only the reason changes.
            steps.push(Move::ToPending(0));
        }
        let mut effects = self.effects(rule, new, Some(pot), &steps);
        if recounts {
            let first = tiers.first().map(|tier| tier.name.as_str().into());
            let from = earner.tier.clone().or(first);
            let to = rulebook::tier(&tiers, referrals).map(|tier| tier.name.as_str().into());
            if let Some((from, to)) =
                from.zip(to).filter(|(from, to): &(Arc<str>, Arc<str>)| from != to)
            {
                let fields = vec![("from tier", from.into()), ("to tier", to.into())];
                effects.push(self.world.expect(new.earner, "TierChanged", fields));
            }
        }
        (effects, (points - due, 0))
    }

    /// The referrals of an earner that count, after the source's own has changed.
    fn counts_of(&self, earner: PersonIndex) -> Counts {
        let mut counts = self.world.person(earner).counts;
        if let Some((before, after)) = self.tie.filter(|(before, _)| before.referrer == earner) {
            counts.subtract(Counts::of(&before));
            counts.add(Counts::of(&after));
        }
        counts
    }

    fn effects(
        &self,
        rule: &RewardRule,
        reward: &Reward,
        pot: Option<TierPot>,
        steps: &[Move],
    ) -> Vec<Effect> {
        let mut total = i128::from(self.world.person(reward.earner).level(rule.level).total_minor);
        let settled = Settled {
            version: self.version,
            rule,
            source: self.world.user_id(self.source).clone(),
            purchase_id: self.purchase_id.clone(),
            sequence: Some(reward.sequence.into()),
            pot,
        };
        let effect = |step: &Move| {
            total += step.change();
            let (name, fields) = settled.fields(*step, total);
            self.world.expect(reward.earner, name, fields)
        };
        steps.iter().map(effect).collect()
    }
}

/// What a reward is to the points by tier of its earner.
#[derive(PartialEq, Eq)]
struct Counted {
    counts: bool,
    is_disputed: bool,
    held_minor: i64,
}

impl Counted {
    fn of(standing: &Standing, reward: &Reward) -> Self {
        let counts = standing.keeps(reward.level);
        let waits = counts && reward.waits();
        let price = standing.price;
        Self {
            counts,
            is_disputed: counts && !waits && !price.earns_without(price.at_risk),
            held_minor: if waits { reward.granted_minor } else { 0 },
        }
    }
}
