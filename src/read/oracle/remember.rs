//! What is remembered of purchases: what they brought, and what became of that, as the log has it.

use domain::{
    FirstPurchaseUsed, PurchaseCredited, PurchaseId, PurchaseMadeUp, ReferralConverted,
    RewardGranted, RewardMoved, RewardReversed, RewardWithheld,
};

use super::adopt::pending_change;
use super::deals::{DealIndex, FirstUse, Reward};
use super::program_of;
use super::reckon::Purchase;
use super::world::{PersonIndex, ProgramIndex, UserIndex, World};

/// The purchase that a command records, with its buyer.
pub(super) type Recorded<'a> = Option<(&'a Purchase, UserIndex)>;

impl World {
    /// The record of a purchase in a program.
    fn known_deal(&self, purchase_id: &PurchaseId, program: ProgramIndex) -> Option<DealIndex> {
        self.deals.find(self.deals.key(purchase_id.as_str()), program)
    }

    /// The same, which is begun if the command records the purchase.
    fn deal(
        &mut self,
        purchase_id: &PurchaseId,
        program: ProgramIndex,
        recorded: Recorded<'_>,
    ) -> Option<DealIndex> {
        let known = self.known_deal(purchase_id, program);
        if known.is_some() {
            return known;
        }
        let (purchase, user) = recorded.filter(|(of, _)| *of.id == *purchase_id.as_str())?;
        let mut enrolled = self.user(user).enrolled.iter();
        let buyer = *enrolled.find(|person| self.person(**person).program == program)?;
        let key = self.deals.key(purchase_id.as_str());
        let mut latest = self.person(buyer).latest_deal;
        let what = (purchase.amount_minor, purchase.date);
        let index = self.deals.begin(key, (buyer, program), what, &mut latest);
        self.person_mut(buyer).latest_deal = latest;
        Some(index)
    }

    pub(super) fn remember_withheld(
        &mut self,
        purchase_id: &str,
        withheld: &RewardWithheld,
        recorded: Recorded<'_>,
    ) {
        let is_of_standing = withheld.reason.is_of_standing() && withheld.rule.is_some();
        let purchase_id = PurchaseId::parse(purchase_id).ok().filter(|_| is_of_standing);
        let program = self.program_index(program_of(withheld));
        let deal = purchase_id.and_then(|purchase_id| self.deal(&purchase_id, program, recorded));
        if let Some(index) = deal {
            let deal = self.deals.get_mut(index);
            deal.version = withheld.program_version;
            deal.cut_off(withheld.level);
        }
    }

    pub(super) fn remember_made_up(&mut self, purchase_id: &str, made_up: &PurchaseMadeUp) {
        let program = self.program_index(made_up.program_id.as_str());
        if let Some(index) = self.deals.find(self.deals.key(purchase_id), program) {
            let deal = self.deals.get_mut(index);
            made_up.levels.iter().for_each(|level| deal.make_up(*level));
        }
    }

    pub(super) fn remember_reward(
        &mut self,
        earner: PersonIndex,
        sequence: i64,
        granted: &RewardGranted,
        recorded: Recorded<'_>,
    ) {
        let RewardGranted { level, program_version, posting, .. } = granted;
        let Some(purchase_id) = &granted.purchase_id else { return };
        let program = self.person(earner).program;
        let Some(index) = self.deal(purchase_id, program, recorded) else { return };
        let is_by_tier = self.is_by_tier(earner, *program_version, *level);
        let pending = if is_by_tier { 0 } else { pending_change(posting) };
        let release = granted.release_time_us.map(|time| time.0);
        let reward = Reward::new(earner, *level, posting.amount, pending, sequence, release);
        self.deals.get_mut(index).version = *program_version;
        self.deals.add_reward(index, reward);
    }

    /// The reward of a purchase on a level.
    fn reward_of(
        &mut self,
        earner: PersonIndex,
        purchase_id: Option<&PurchaseId>,
        level: u32,
    ) -> Option<&mut Reward> {
        let index = self.known_deal(purchase_id?, self.person(earner).program)?;
        self.deals.reward_mut(index, level)
    }

    pub(super) fn remember_reversal(&mut self, earner: PersonIndex, reversed: &RewardReversed) {
        let pending =
            if reversed.tier_pot.is_some() { 0 } else { pending_change(&reversed.posting) };
        let reward = self.reward_of(earner, reversed.purchase_id.as_ref(), reversed.level);
        if let Some(reward) = reward {
            reward.reversed_minor -= reversed.posting.amount;
            reward.pending_minor += pending;
        }
    }

    pub(super) fn remember_move(&mut self, earner: PersonIndex, moved: &RewardMoved) {
        let pending = if moved.tier_pot.is_some() { 0 } else { pending_change(&moved.posting) };
        if let Some(reward) = self.reward_of(earner, moved.purchase_id.as_ref(), moved.level) {
            reward.pending_minor += pending;
        }
    }

    pub(super) fn remember_conversion(
        &mut self,
        buyer: PersonIndex,
        converted: &ReferralConverted,
        recorded: Recorded<'_>,
    ) {
        let Some(purchase_id) = &converted.purchase_id else { return };
        let key = self.deals.key(purchase_id.as_str());
        self.person_mut(buyer).bought.note(key, true);
        let program = self.person(buyer).program;
        if let Some(index) = self.deal(purchase_id, program, recorded) {
            let deal = self.deals.get_mut(index);
            deal.converted = Some(converted.converted_while_inactive);
            deal.first_use = FirstUse::Enough;
        }
    }

    pub(super) fn remember_first_use(
        &mut self,
        buyer: PersonIndex,
        used: &FirstPurchaseUsed,
        recorded: Recorded<'_>,
    ) {
        let key = self.deals.key(used.purchase_id.as_str());
        self.person_mut(buyer).bought.note(key, !used.is_insufficient);
        let program = self.person(buyer).program;
        if let Some(index) = self.deal(&used.purchase_id, program, recorded) {
            self.deals.get_mut(index).first_use =
                if used.is_insufficient { FirstUse::Insufficient } else { FirstUse::Enough };
        }
    }

    pub(super) fn remember_credit(
        &mut self,
        buyer: PersonIndex,
        credited: &PurchaseCredited,
        recorded: Recorded<'_>,
    ) {
        let program = self.person(buyer).program;
        let Some(index) = self.deal(&credited.purchase_id, program, recorded) else { return };
        // The first one is of the purchase itself.
        let was_credited = std::mem::replace(&mut self.deals.get_mut(index).is_credited, true);
        if was_credited {
            let posting = &credited.posting;
            let change = if posting.from.is_none() { posting.amount } else { 0 };
            self.deals.change_credit(index, change, pending_change(posting));
        }
    }
}
