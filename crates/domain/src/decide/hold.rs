//! Rewards that wait: until an operator releases them, or until the hold period of the program is over.

use crate::decide::settle;
use crate::note::write_note;
use crate::{
    Halt, HoldPeriodEnded, NoteSubject, Participant, ParticipantId, Personal, ProgramId, Purchase,
    PurchaseCommand, PurchaseId, PurchaseRewardHeld, PurchaseRewardReleased, Referral, Refusal,
    RewardShare, Timestamp, UserId, Work, load,
};

/// Which reward it is.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are self-explanatory")]
pub struct RewardName {
    pub program_id: ProgramId,
    pub earner_user_id: UserId,
    /// The sequence of the reward on the earner's stream.
    pub sequence: i64,
    /// Whose purchase or referral earned it.
    pub source_user_id: UserId,
    /// The purchase; `None` if the referral itself earned it.
    pub purchase_id: Option<PurchaseId>,
    pub level: u32,
}

impl RewardName {
    fn is(&self, share: &RewardShare) -> bool {
        share.level == self.level
            && share.sequence == self.sequence
            && share.earner_user_id == self.earner_user_id
    }

    fn text(&self) -> String {
        let Self { program_id, earner_user_id, sequence, .. } = self;
        format!("{program_id}/{earner_user_id}/{sequence}")
    }

    fn not_found(&self) -> Halt {
        Refusal::RewardNotFound(self.text()).into()
    }

    fn note(&self, work: &mut dyn Work, note: Option<&Personal>) -> Result<(), Halt> {
        write_note(work, NoteSubject::RewardHold, self.text(), Some(&self.earner_user_id), note)
    }

    fn source(&self) -> ParticipantId {
        ParticipantId::new(&self.program_id, &self.source_user_id)
    }
}

/// An operator holds or releases a reward.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are self-explanatory")]
pub struct HoldReward {
    pub reward: RewardName,
    /// Why, in words for people.
    pub note: Option<Personal>,
}

/// An operator holds a reward; nothing happens if it is held already.
pub(super) fn hold(work: &mut dyn Work, input: &HoldReward) -> Result<(), Halt> {
    let HoldReward { reward: name, note } = input;
    let make = |share: &mut RewardShare| share.is_held = true;
    let held = PurchaseRewardHeld { program_id: name.program_id.clone(), level: name.level };
    name.note(work, note.as_ref())?;
    change(work, name, PurchaseCommand::HoldReward(held), make)
}

/// An operator releases a reward from whatever holds it but disputes; nothing happens if nothing does.
pub(super) fn release(work: &mut dyn Work, input: &HoldReward) -> Result<(), Halt> {
    let HoldReward { reward: name, note } = input;
    let make = |share: &mut RewardShare| {
        share.is_held = false;
        share.release_time = None;
    };
    let released =
        PurchaseRewardReleased { program_id: name.program_id.clone(), level: name.level };
    name.note(work, note.as_ref())?;
    change(work, name, PurchaseCommand::ReleaseReward(released), make)
}

fn change(
    work: &mut dyn Work,
    name: &RewardName,
    input: PurchaseCommand,
    make: impl Fn(&mut RewardShare),
) -> Result<(), Halt> {
    let is_changed = |share: &RewardShare| {
        let mut changed = share.clone();
        make(&mut changed);
        changed != *share
    };
    if let Some(purchase_id) = &name.purchase_id {
        let purchase = load::<Purchase>(work, purchase_id)?;
        let outcome = purchase.outcome_in(&name.program_id);
        let share = outcome.and_then(|outcome| outcome.rewards.iter().find(|share| name.is(share)));
        let share = share.ok_or_else(|| name.not_found())?;
        return if is_changed(share) { settle::change(work, purchase_id, input) } else { Ok(()) };
    }
    let referee_id = name.source();
    let referee = load::<Participant>(work, &referee_id)?;
    let before = referee.referral().ok_or_else(|| name.not_found())?;
    let share = before.rewards.iter().find(|share| name.is(share));
    if !is_changed(share.ok_or_else(|| name.not_found())?) {
        return Ok(());
    }
    let mut after = before.clone();
    after.rewards.iter_mut().filter(|share| name.is(share)).for_each(make);
    settle::settle_referral(work, &referee_id, before, &after)
}

/// The rewards of a purchase or, without one, of a referral whose hold period may be over.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are self-explanatory")]
pub struct EndHoldPeriod {
    pub program_id: ProgramId,
    /// Whose purchase or referral earned the rewards.
    pub source_user_id: UserId,
    pub purchase_id: Option<PurchaseId>,
}

/// Ends the hold period of the rewards for which it is over; nothing happens if there are none.
pub(super) fn end_period(work: &mut dyn Work, input: &EndHoldPeriod) -> Result<(), Halt> {
    let EndHoldPeriod { program_id, source_user_id, purchase_id } = input;
    let now = work.now();
    let is_over = |share: &&RewardShare| share.release_time.is_some_and(|time| time <= now);
    if let Some(purchase_id) = purchase_id {
        let purchase = load::<Purchase>(work, purchase_id)?;
        let outcome = purchase.outcome_in(program_id);
        let over = outcome.into_iter().flat_map(|outcome| outcome.rewards.iter().filter(is_over));
        let levels: Vec<u32> = over.map(|share| share.level).collect();
        if levels.is_empty() {
            return Ok(());
        }
        let ended = HoldPeriodEnded { program_id: program_id.clone(), levels };
        return settle::change(work, purchase_id, PurchaseCommand::EndHoldPeriod(ended));
    }
    let referee_id = ParticipantId::new(program_id, source_user_id);
    let referee = load::<Participant>(work, &referee_id)?;
    let Some(before) = referee.referral() else { return Ok(()) };
    let after = after_period(before, now);
    settle::settle_referral(work, &referee_id, before, &after)
}

fn after_period(referral: &Referral, now: Timestamp) -> Referral {
    let mut after = referral.clone();
    for share in &mut after.rewards {
        share.release_time.take_if(|time| *time <= now);
    }
    after
}
