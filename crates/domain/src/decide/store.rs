//! The store of a program: what it offers, and who redeems it.

use crate::decide::expire::expire;
use crate::participant::existing_participant;
use crate::rules::ProgramRules;
use crate::{
    Catalog, CatalogCommand, Halt, ItemId, ItemTerms, LotPart, OwnEvent, Participant,
    ParticipantCommand, ParticipantId, Program, ProgramId, ProgramRedemptionId, Redemption,
    RedemptionCommand, RedemptionMade, RedemptionState, ReferralStatus, Refusal, Return, Spend,
    StoreItem, StoreItemCommand, StoreItemId, StreamKey, UserId, Work, load, peek_new, tell,
};

/// An operator puts an item into the store of a program, or changes it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are self-explanatory")]
pub struct PublishItem {
    pub id: StoreItemId,
    pub unit: String,
    pub terms: ItemTerms,
}

/// Somebody redeems an item.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are self-explanatory")]
pub struct Redeem {
    pub id: ProgramRedemptionId,
    pub user_id: UserId,
    pub item_id: ItemId,
    /// What it cost when it was shown, in minor units, and in which unit; `None` for whatever it costs.
    pub expected_cost: Option<(i64, String)>,
}

/// The rules of a program that are in force.
fn rules_of(
    work: &mut dyn Work,
    program_id: &ProgramId,
) -> Result<std::sync::Arc<ProgramRules>, Halt> {
    let program = load::<Program>(work, program_id)?;
    let version = program.current();
    let version = version.ok_or_else(|| Refusal::ProgramNotFound(program_id.clone()))?;
    Ok(version.rules.clone())
}

/// The place of a tier among those of the rules; `None` if they have no such tier.
fn tier_index(rules: &ProgramRules, name: &str) -> Option<usize> {
    let (_, tiers) = rules.tier_rule()?;
    tiers.iter().position(|tier| tier.name == name)
}

pub(super) fn publish(work: &mut dyn Work, input: &PublishItem) -> Result<(), Halt> {
    let PublishItem { id, unit, terms } = input;
    let rules = rules_of(work, &id.program_id)?;
    if rules.unit != *unit {
        let (program_id, unit) = (id.program_id.clone(), rules.unit.clone());
        return Err(Refusal::NotTheUnit { field: "cost", program_id, unit }.into());
    }
    if let Some(tier) = &terms.from_tier
        && tier_index(&rules, tier).is_none()
    {
        let (program_id, tier) = (id.program_id.clone(), tier.clone());
        return Err(Refusal::TierNotFound { program_id, tier }.into());
    }
    if load::<StoreItem>(work, id)?.terms().is_none() {
        load::<Catalog>(work, &id.program_id)?;
        let add = CatalogCommand::Add { id: id.clone() };
        tell::<Catalog>(work, &id.program_id, add)?;
    }
    let publish = StoreItemCommand::Publish { id: id.clone(), terms: terms.clone() };
    tell::<StoreItem>(work, id, publish).map(drop)
}

/// Takes an item out of the store and what it costs from what is available to the participant. Lots that are over
/// expire first, so that nobody pays with them.
pub(super) fn redeem(work: &mut dyn Work, input: &Redeem) -> Result<(), Halt> {
    let Redeem { id, user_id, item_id, expected_cost } = input;
    if let Some(made) = peek_new::<Redemption>(work, id)?.made() {
        if made.user_id == *user_id && made.item_id == *item_id {
            return Err(repeated(id, "RedemptionMade"));
        }
        return Err(Refusal::RedemptionIdReused(id.clone()).into());
    }
    let participant_id = ParticipantId::new(&id.program_id, user_id);
    let participant = existing_participant(work, &participant_id)?;
    let rules = rules_of(work, &id.program_id)?;
    let store_item_id = StoreItemId { program_id: id.program_id.clone(), item_id: item_id.clone() };
    let item = load::<StoreItem>(work, &store_item_id)?;
    let terms = item.terms().ok_or_else(|| Refusal::ItemNotFound(store_item_id.clone()))?;
    check_person(&participant_id, &participant)?;
    check_terms(&store_item_id, terms, &participant, &rules)?;
    let (cost_minor, unit) = (terms.cost_minor, rules.unit.clone());
    if let Some((expected_minor, expected_unit)) = expected_cost {
        if *expected_unit != unit {
            let program_id = id.program_id.clone();
            return Err(Refusal::NotTheUnit { field: "expected_cost", program_id, unit }.into());
        }
        if *expected_minor != cost_minor {
            return Err(Refusal::ItemCostChanged { id: store_item_id, cost_minor, unit }.into());
        }
    }
    expire(work, &participant_id)?;

    let made = RedemptionMade {
        user_id: user_id.clone(),
        item_id: item_id.clone(),
        item_version: item.version(),
        cost_minor: terms.cost_minor,
        unit: rules.unit.clone(),
    };
    let redemption_id = id.redemption_id.clone();
    let take =
        StoreItemCommand::Take { id: store_item_id.clone(), redemption_id: redemption_id.clone() };
    tell::<StoreItem>(work, &store_item_id, take)?;
    tell::<Redemption>(work, id, RedemptionCommand::Make { id: id.clone(), made })?;
    let spend = ParticipantCommand::Spend(Box::new(Spend {
        id: participant_id.clone(),
        redemption_id,
        item_id: item_id.clone(),
        cost_minor: terms.cost_minor,
        unit: rules.unit.clone(),
    }));
    tell::<Participant>(work, &participant_id, spend).map(drop)
}

/// Inactive people redeem nothing, nor do those whose own referral a fraud flag holds or rejects: what they have may
/// have to be taken back.
fn check_person(id: &ParticipantId, participant: &Participant) -> Result<(), Refusal> {
    if !participant.is_active() {
        return Err(Refusal::UserInactive(id.user_id.clone()));
    }
    let is_flagged = participant.referral().is_some_and(|referral| {
        let is_stopped = match referral.status {
            ReferralStatus::Held | ReferralStatus::Rejected => true,
            ReferralStatus::Pending | ReferralStatus::Converted => false,
        };
        is_stopped && !referral.flags.is_empty()
    });
    if is_flagged {
        return Err(Refusal::ReferralFlagged(id.clone()));
    }
    Ok(())
}

/// Whether the item is for this participant. How many are left is known to the item.
fn check_terms(
    id: &StoreItemId,
    terms: &ItemTerms,
    participant: &Participant,
    rules: &ProgramRules,
) -> Result<(), Refusal> {
    if !terms.is_available {
        return Err(Refusal::ItemNotAvailable(id.clone()));
    }
    if let Some(from_tier) = &terms.from_tier {
        // Rules that have this tier no longer say nothing about who has reached it.
        let needed = tier_index(rules, from_tier);
        let needed = needed.ok_or_else(|| Refusal::ItemNotAvailable(id.clone()))?;
        let referrals = participant.tier_referrals().under(rules.earn_on);
        let standing = rules.tier_standing(participant.tier(), referrals);
        let tier = standing.map(|standing| standing.tier.to_owned()).unwrap_or_default();
        if tier_index(rules, &tier).is_none_or(|reached| reached < needed) {
            let (id, from_tier) = (id.clone(), from_tier.clone());
            return Err(Refusal::TierTooLow { id, from_tier, tier });
        }
    }
    match terms.per_person_limit {
        Some(limit) if participant.redeemed(&id.item_id) >= limit => {
            Err(Refusal::ItemLimitReached { id: id.clone(), limit })
        }
        Some(_) | None => Ok(()),
    }
}

/// The participant has got the item.
pub(super) fn fulfil(work: &mut dyn Work, id: &ProgramRedemptionId) -> Result<(), Halt> {
    if load::<Redemption>(work, id)?.state() == RedemptionState::Fulfilled {
        return Err(repeated(id, "RedemptionFulfilled"));
    }
    tell::<Redemption>(work, id, RedemptionCommand::Fulfil { id: id.clone() }).map(drop)
}

/// Puts the item back, and gives back what was paid, by the rules in force to the lots that it came from. What comes
/// back to somebody who was erased is forfeited.
pub(super) fn cancel(work: &mut dyn Work, id: &ProgramRedemptionId) -> Result<(), Halt> {
    let redemption = load::<Redemption>(work, id)?;
    if redemption.state() == RedemptionState::Cancelled {
        return Err(repeated(id, "RedemptionCancelled"));
    }
    let made = redemption.made().ok_or_else(|| Refusal::RedemptionNotFound(id.clone()))?;
    let participant_id = ParticipantId::new(&id.program_id, &made.user_id);
    let store_item_id =
        StoreItemId { program_id: id.program_id.clone(), item_id: made.item_id.clone() };
    load::<Participant>(work, &participant_id)?;
    load::<StoreItem>(work, &store_item_id)?;
    let rules = rules_of(work, &id.program_id)?;
    let (made, redemption_id) = (made.clone(), id.redemption_id.clone());
    let now = work.now();
    let parts = LotPart::back(redemption.parts(), now, rules.expire_time(now));
    tell::<Redemption>(work, id, RedemptionCommand::Cancel { id: id.clone() })?;
    let put_back = StoreItemCommand::PutBack { redemption_id: redemption_id.clone() };
    tell::<StoreItem>(work, &store_item_id, put_back)?;
    let give_back = ParticipantCommand::Return(Box::new(Return {
        user_id: made.user_id,
        redemption_id,
        item_id: made.item_id,
        parts,
        unit: made.unit,
    }));
    tell::<Participant>(work, &participant_id, give_back).map(drop)
}

/// The answer to a repetition: that of the command which wrote the event of this type.
fn repeated(id: &ProgramRedemptionId, event_type: &'static str) -> Halt {
    let stream = StreamKey::of::<Redemption>(id);
    Halt::AlreadyRecorded(OwnEvent { stream, event_type, field: None })
}
