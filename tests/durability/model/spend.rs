//! The store of a program in the model: what it offers, and what members give for that.

use super::lots::Parts;
use super::rules::tier;
use super::world::{Program, Refusal, Status, User, World};

/// What an item is, and who can have it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Terms {
    pub cost: i64,
    pub stock: Option<usize>,
    pub per_person: Option<usize>,
    /// A tier by number.
    pub from_tier: Option<usize>,
    pub is_on_sale: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    Made,
    Fulfilled,
    Cancelled,
}

#[derive(Clone, Debug)]
pub struct Redemption {
    pub user: User,
    pub item: usize,
    pub cost: i64,
    pub stage: Stage,
    pub parts: Parts,
}

impl Program {
    /// How many pieces of an item are taken, by everybody or by one member.
    pub fn taken(&self, item: usize, by: Option<User>) -> usize {
        let of_item = self.redemptions.values().filter(|of| of.item == item);
        let taken = of_item.filter(|of| of.stage != Stage::Cancelled);
        taken.filter(|of| by.is_none_or(|user| of.user == user)).count()
    }

    /// Whether a flag keeps somebody's own referral from counting.
    fn is_stopped(&self, user: User) -> bool {
        let status = self.referral(user).map(|of| of.status);
        matches!(status, Some(Status::Held | Status::Rejected))
    }

    /// Why somebody cannot have an item.
    fn refuses(&self, user: User, item: usize) -> Option<Refusal> {
        let terms = &self.items[&item];
        if !terms.is_on_sale {
            return Some("ITEM_NOT_AVAILABLE");
        }
        if let Some(from_tier) = terms.from_tier {
            let Some(tiers) = self.rules().tiers().filter(|of| from_tier < of.len()) else {
                return Some("ITEM_NOT_AVAILABLE");
            };
            // A tier is reached with the referrals of a moment, and kept until their number changes.
            let reached = self.member(user).unwrap().tier.unwrap_or_else(|| tier(tiers, 0));
            if reached < from_tier {
                return Some("TIER_TOO_LOW");
            }
        }
        if terms.per_person.is_some_and(|limit| self.taken(item, Some(user)) >= limit) {
            return Some("ITEM_LIMIT_REACHED");
        }
        if terms.stock.is_some_and(|stock| self.taken(item, None) >= stock) {
            return Some("OUT_OF_STOCK");
        }
        let available = self.member(user).unwrap().account.available;
        (available < terms.cost).then_some("INSUFFICIENT_BALANCE")
    }
}

impl World {
    /// Puts an item into the store of a program, or changes it.
    pub fn offer(&mut self, program: usize, item: usize, terms: Terms) -> Result<(), Refusal> {
        let of = &mut self.programs[program];
        let tiers = of.rules().tiers().map_or(0, <[_]>::len);
        if terms.from_tier.is_some_and(|from| from >= tiers) {
            return Err("TIER_NOT_FOUND");
        }
        let is_known = of.items.get(&item) == Some(&terms);
        if !is_known && terms.stock.is_some_and(|stock| stock < of.taken(item, None)) {
            return Err("STOCK_BELOW_TAKEN");
        }
        of.items.insert(item, terms);
        Ok(())
    }

    pub fn redeem(
        &mut self,
        program: usize,
        user: User,
        id: usize,
        item: usize,
    ) -> Result<(), Refusal> {
        let of = &self.programs[program];
        if let Some(known) = of.redemptions.get(&id) {
            let is_same = known.user == user && known.item == item;
            return if is_same { Ok(()) } else { Err("REDEMPTION_ID_REUSED") };
        }
        let is_active = self.is_active(user).ok_or("USER_NOT_FOUND")?;
        of.member(user).ok_or("PARTICIPANT_NOT_FOUND")?;
        let cost = of.items.get(&item).ok_or("ITEM_NOT_FOUND")?.cost;
        let of_person = [
            (!is_active).then_some("USER_INACTIVE"),
            of.is_stopped(user).then_some("REFERRAL_FLAGGED"),
        ];
        let refusal = of_person.into_iter().flatten().next().or_else(|| of.refuses(user, item));
        if let Some(refusal) = refusal {
            return Err(refusal);
        }
        let account = self.account(program, user);
        account.spent += cost;
        let parts = account.spend(cost);
        let redemption = Redemption { user, item, cost, stage: Stage::Made, parts };
        self.programs[program].redemptions.insert(id, redemption);
        Ok(())
    }

    /// The member has got the item.
    pub fn fulfil(&mut self, program: usize, id: usize) -> Result<(), Refusal> {
        let redemptions = &mut self.programs[program].redemptions;
        let redemption = redemptions.get_mut(&id).ok_or("REDEMPTION_NOT_FOUND")?;
        if redemption.stage == Stage::Cancelled {
            return Err("REDEMPTION_CANCELLED");
        }
        redemption.stage = Stage::Fulfilled;
        Ok(())
    }

    /// The member does not get the item, and gets back what it was.
    pub fn call_off(&mut self, program: usize, id: usize) -> Result<(), Refusal> {
        let (now, present) = (self.now, self.present_lot(program));
        let redemptions = &mut self.programs[program].redemptions;
        let redemption = redemptions.get_mut(&id).ok_or("REDEMPTION_NOT_FOUND")?;
        match redemption.stage {
            Stage::Cancelled => return Ok(()),
            Stage::Fulfilled => return Err("REDEMPTION_FULFILLED"),
            Stage::Made => redemption.stage = Stage::Cancelled,
        }
        let redemption = redemption.clone();
        let account = self.account(program, redemption.user);
        account.spent -= redemption.cost;
        account.take_in(&redemption.parts, now, present);
        Ok(())
    }
}
