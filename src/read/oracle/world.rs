//! What the oracle knows at a position of the log: programs, users and participants, each in a few numbers,
//! however long their history is.

use std::collections::HashMap;
use std::sync::Arc;

use domain::Bucket;
use domain::reward::WithheldReason;
use domain::rules::ProgramRules;
use domain::{
    HoldReason, ParticipantEvent, Posts as _, ProgramPublished, ReferralStatus, RewardGranted,
};

use super::reckon::Purchase;
use super::rulebook::{Bought, Counts, Moment, counts_as_after, may_be_undated, tiers_of};

/// The place of a program in the list of programs.
pub(super) type ProgramIndex = u32;
/// The place of a user in the list of users.
pub(super) type UserIndex = u32;
/// The place of a participant in the list of participants.
pub(super) type PersonIndex = u32;

/// A version of a program.
#[derive(Clone)]
pub(super) struct Version {
    pub(super) number: u32,
    pub(super) published: Moment,
    pub(super) rules: Arc<ProgramRules>,
}

pub(super) struct Program {
    pub(super) id: Arc<str>,
    /// The oldest first.
    pub(super) versions: Vec<Version>,
}

pub(super) struct User {
    pub(super) id: Arc<str>,
    /// The user's participants, in the order of enrollment.
    pub(super) enrolled: Vec<PersonIndex>,
    pub(super) is_erased: bool,
    /// Whether the user has confirmed their address.
    pub(super) is_confirmed: bool,
}

/// A participant's own referral.
#[derive(Clone, Copy)]
pub(super) struct Tie {
    pub(super) referrer: PersonIndex,
    pub(super) made: Moment,
    /// When it was released, if it was held or rejected before.
    pub(super) released: Option<Moment>,
    pub(super) status: ReferralStatus,
    /// Whether it is held until the address is confirmed, and until a review.
    pub(super) awaits: Awaited,
    /// Whether the referrer was active when it was made or released.
    pub(super) made_while_active: bool,
    /// Whether the referrer could earn when the referral converted.
    pub(super) converted_while_able: bool,
}

/// What a held referral waits for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Awaited {
    pub(super) confirmation: bool,
    pub(super) review: bool,
}

impl Awaited {
    pub(super) fn of(reasons: &[HoldReason]) -> Self {
        Self {
            confirmation: reasons.contains(&HoldReason::UnconfirmedEmail),
            review: reasons.contains(&HoldReason::Review),
        }
    }
}

/// A purchase of which rewards were withheld because a referral did not count.
pub(super) struct CutOff {
    pub(super) purchase: Purchase,
    pub(super) buyer: PersonIndex,
    /// The version that judged it.
    pub(super) version: u32,
    /// The levels of the rewards that were not made up for.
    pub(super) levels: Vec<u32>,
    /// The shares of it that others received.
    pub(super) shared_minor: i64,
}

/// What a participant received from one level.
#[derive(Clone, Copy, Default)]
pub(super) struct Level {
    pub(super) number: u32,
    pub(super) total_minor: i64,
    pub(super) rewards: u32,
}

/// A participant.
pub(super) struct Person {
    pub(super) program: ProgramIndex,
    pub(super) user: UserIndex,
    pub(super) referral: Option<Tie>,
    pub(super) is_inactive: bool,
    pub(super) reactivated: Option<Moment>,
    pub(super) bought: Bought,
    pub(super) counts: Counts,
    pub(super) levels: Vec<Level>,
    /// The sum of the rewards of rules that paid by tier.
    pub(super) tier_points: i64,
    pub(super) tier: Option<Arc<str>>,
    /// The parts of the balance, added up from entries.
    pub(super) parts: [(Bucket, i64); 3],
}

impl Person {
    /// Why the participant cannot earn now; for a purchase, with its date.
    pub(super) fn bar(&self, date: Option<Moment>) -> Option<WithheldReason> {
        let is_before = |(date, since)| !counts_as_after(date, since);
        if self.is_inactive {
            Some(WithheldReason::EarnerInactive)
        } else if date.zip(self.reactivated).is_some_and(is_before) {
            Some(WithheldReason::BeforeReactivation)
        } else {
            None
        }
    }

    pub(super) fn level(&self, level: u32) -> Level {
        let known = self.levels.iter().find(|known| known.number == level);
        known.copied().unwrap_or(Level { number: level, ..Level::default() })
    }
}

#[derive(Default)]
pub(super) struct World {
    programs: Vec<Program>,
    program_indexes: HashMap<Arc<str>, ProgramIndex>,
    users: Vec<User>,
    user_indexes: HashMap<Arc<str>, UserIndex>,
    persons: Vec<Person>,
    person_indexes: HashMap<(ProgramIndex, UserIndex), PersonIndex>,
    /// Purchases that can be made up for, by id and program: few, so that they do not grow with the log.
    pub(super) cut_offs: HashMap<(Arc<str>, ProgramIndex), CutOff>,
    /// The names of tiers, each once.
    tier_names: HashMap<Arc<str>, Arc<str>>,
}

fn index_of(length: usize) -> u32 {
    // Four billion participants would not fit into memory either.
    u32::try_from(length).unwrap_or(u32::MAX)
}

impl World {
    pub(super) fn program_index(&mut self, id: &str) -> ProgramIndex {
        if let Some(index) = self.program_indexes.get(id) {
            return *index;
        }
        let (id, index): (Arc<str>, _) = (id.into(), index_of(self.programs.len()));
        self.programs.push(Program { id: id.clone(), versions: Vec::new() });
        self.program_indexes.insert(id, index);
        index
    }

    pub(super) fn user_index(&mut self, id: &str) -> UserIndex {
        if let Some(index) = self.user_indexes.get(id) {
            return *index;
        }
        let (id, index): (Arc<str>, _) = (id.into(), index_of(self.users.len()));
        let (enrolled, is_erased, is_confirmed) = (Vec::new(), false, false);
        self.users.push(User { id: id.clone(), enrolled, is_erased, is_confirmed });
        self.user_indexes.insert(id, index);
        index
    }

    /// The participant of a stream's id, which is `program/user`; made when first mentioned.
    pub(super) fn person_index(&mut self, program_id: &str, user_id: &str) -> PersonIndex {
        let (program, user) = (self.program_index(program_id), self.user_index(user_id));
        if let Some(index) = self.person_indexes.get(&(program, user)) {
            return *index;
        }
        let index = index_of(self.persons.len());
        self.persons.push(Person {
            program,
            user,
            referral: None,
            is_inactive: false,
            reactivated: None,
            bought: Bought::default(),
            counts: Counts::default(),
            levels: Vec::new(),
            tier_points: 0,
            tier: None,
            parts: Bucket::ALL.map(|bucket| (bucket, 0)),
        });
        self.person_indexes.insert((program, user), index);
        index
    }

    pub(super) fn program(&self, index: ProgramIndex) -> &Program {
        &self.programs[index as usize]
    }

    pub(super) fn user(&self, index: UserIndex) -> &User {
        &self.users[index as usize]
    }

    pub(super) fn person(&self, index: PersonIndex) -> &Person {
        &self.persons[index as usize]
    }

    pub(super) fn person_mut(&mut self, index: PersonIndex) -> &mut Person {
        &mut self.persons[index as usize]
    }

    pub(super) fn user_id(&self, person: PersonIndex) -> &Arc<str> {
        &self.user(self.person(person).user).id
    }

    /// The id of a participant's stream.
    pub(super) fn stream_id(&self, person: PersonIndex) -> Arc<str> {
        format!("{}/{}", self.program(self.person(person).program).id, self.user_id(person)).into()
    }

    pub(super) fn publish(&mut self, program_id: &str, published: &ProgramPublished) {
        let index = self.program_index(program_id);
        self.programs[index as usize].versions.push(Version {
            number: published.version,
            published: published.publish_time_us.0,
            rules: published.rules.clone(),
        });
    }

    pub(super) fn cut_off(&self, of: &(Arc<str>, ProgramIndex)) -> Option<&CutOff> {
        self.cut_offs.get(of)
    }

    pub(super) fn erase(&mut self, user: UserIndex) {
        self.users[user as usize].is_erased = true;
    }

    pub(super) fn confirm(&mut self, user: UserIndex) {
        self.users[user as usize].is_confirmed = true;
    }

    pub(super) fn enroll(&mut self, user: UserIndex, person: PersonIndex) {
        self.users[user as usize].enrolled.push(person);
    }

    /// The version that is current at this position of the log.
    pub(super) fn current_version(&self, program: ProgramIndex) -> Option<Version> {
        self.program(program).versions.last().cloned()
    }

    /// The versions that may judge a purchase of this date: the one in force then, which is the first for any time
    /// before it; and the current one, if the purchase may be an undated one.
    pub(super) fn versions_for(&self, program: ProgramIndex, date: Moment) -> Vec<Version> {
        let versions = &self.program(program).versions;
        let mut candidates = Vec::with_capacity(1);
        let after = versions.iter().position(|version| version.published > date);
        let in_force = after.unwrap_or(versions.len()).saturating_sub(1);
        candidates.extend(versions.get(in_force).cloned());
        if let Some(current) = versions.last()
            && in_force + 1 < versions.len()
            && may_be_undated(date, current.published)
        {
            candidates.push(current.clone());
        }
        candidates
    }

    /// Records a referral.
    pub(super) fn attach(&mut self, referee: PersonIndex, tie: Tie) {
        self.person_mut(tie.referrer).counts.add(Counts::of(&tie));
        self.person_mut(referee).referral = Some(tie);
    }

    /// Replaces what is known of a referral.
    pub(super) fn replace(&mut self, referee: PersonIndex, before: &Tie, after: Tie) {
        let counts = &mut self.person_mut(before.referrer).counts;
        counts.subtract(Counts::of(before));
        counts.add(Counts::of(&after));
        self.person_mut(referee).referral = Some(after);
    }

    /// Changes the status of a referral; with the date of the purchase that converts it, if one does.
    fn set_status(&mut self, referee: PersonIndex, status: ReferralStatus, date: Option<Moment>) {
        let Some(before) = self.person(referee).referral else { return };
        if before.status == status {
            return;
        }
        let mut after = Tie { status, ..before };
        if status == ReferralStatus::Converted {
            after.converted_while_able = self.person(before.referrer).bar(date).is_none();
        }
        self.replace(referee, &before, after);
    }

    /// Takes over a consequence as the log has it, so that one fault is named once and not with everything after it.
    /// `date` is that of the command's purchase, if it recorded one.
    pub(super) fn adopt(
        &mut self,
        program_id: &str,
        user_id: &str,
        event: &ParticipantEvent,
        date: Option<Moment>,
    ) {
        let person = self.person_index(program_id, user_id);
        if let Some(posting) = event.posting() {
            for (bucket, amount) in &mut self.person_mut(person).parts {
                let taken = posting.from == Some(*bucket);
                let given = posting.to == *bucket;
                *amount += i64::from(given) * posting.amount - i64::from(taken) * posting.amount;
            }
        }
        match event {
            ParticipantEvent::ReferralConverted(_) => {
                self.set_status(person, ReferralStatus::Converted, date);
            }
            ParticipantEvent::ReferralUpdated(updated) => {
                let referee = self.person_index(program_id, updated.referee_user_id.as_str());
                self.set_status(referee, updated.status, date);
            }
            ParticipantEvent::RewardGranted(granted) => self.adopt_reward(person, granted),
            ParticipantEvent::TierChanged(change) => {
                let name: Arc<str> = change.to_tier.as_str().into();
                let name = self.tier_names.entry(name.clone()).or_insert(name).clone();
                self.person_mut(person).tier = Some(name);
            }
            ParticipantEvent::ParticipantDeactivated(_)
            | ParticipantEvent::ParticipantErased(_) => {
                self.person_mut(person).is_inactive = true;
            }
            ParticipantEvent::ParticipantReactivated(reactivated) => {
                let person = self.person_mut(person);
                person.is_inactive = false;
                person.reactivated = Some(reactivated.reactivate_time_us.0);
            }
            ParticipantEvent::ParticipantEnrolled(_)
            | ParticipantEvent::ReferralApplied(_)
            | ParticipantEvent::ReferralStandingChanged(_)
            | ParticipantEvent::ReferralMade(_)
            | ParticipantEvent::FirstPurchaseUsed(_)
            | ParticipantEvent::FirstPurchaseFreed(_)
            | ParticipantEvent::ReferralUnconverted(_)
            | ParticipantEvent::ReferralRewardsChanged(_)
            | ParticipantEvent::RewardReversed(_)
            | ParticipantEvent::RewardMoved(_)
            | ParticipantEvent::PurchaseCredited(_)
            | ParticipantEvent::BalanceAdjusted(_)
            | ParticipantEvent::BalanceForfeited(_)
            | ParticipantEvent::PayoutReserved(_)
            | ParticipantEvent::PayoutPaid(_)
            | ParticipantEvent::PayoutReleased(_)
            | ParticipantEvent::PayoutReturned(_)
            | ParticipantEvent::RefereeAddressChanged(_)
            | ParticipantEvent::RewardWithheld(_) => {}
        }
    }

    /// Takes over what a later input, such as a refund, made of a purchase that was recorded before.
    pub(super) fn adopt_settlement(
        &mut self,
        program_id: &str,
        user_id: &str,
        event: &ParticipantEvent,
    ) {
        let index = self.person_index(program_id, user_id);
        match event {
            ParticipantEvent::ReferralConverted(converted) => {
                if let Some(before) = self.person(index).referral {
                    let converted_while_able = !converted.converted_while_inactive;
                    self.replace(index, &before, Tie { converted_while_able, ..before });
                }
                if let Some(purchase_id) = &converted.purchase_id {
                    self.person_mut(index).bought.note(purchase_id.as_str(), true);
                }
            }
            ParticipantEvent::FirstPurchaseUsed(used) => {
                let bought = &mut self.person_mut(index).bought;
                bought.note(used.purchase_id.as_str(), !used.is_insufficient);
            }
            ParticipantEvent::FirstPurchaseFreed(freed) => {
                self.person_mut(index).bought.forget(freed.purchase_id.as_str());
            }
            ParticipantEvent::ReferralUnconverted(undone) => {
                self.set_status(index, undone.status, None);
            }
            ParticipantEvent::RewardReversed(reversed) => {
                let person = self.person_mut(index);
                let mut levels = person.levels.iter_mut();
                if let Some(level) = levels.find(|level| level.number == reversed.level) {
                    level.total_minor = reversed.level_total_minor();
                }
                if reversed.tier_pot.is_some() {
                    let amount = reversed.posting.amount;
                    person.tier_points = person.tier_points.saturating_add(amount);
                }
            }
            _ => {}
        }
    }

    fn adopt_reward(&mut self, person: PersonIndex, granted: &RewardGranted) {
        let program = self.person(person).program;
        let mut versions = self.program(program).versions.iter();
        let version = versions.find(|version| version.number == granted.program_version);
        let is_by_tier = version.is_some_and(|version| {
            let rule = version.rules.rewards.iter().find(|rule| rule.level == granted.level);
            rule.is_some_and(|rule| tiers_of(&rule.pay).is_some())
        });
        let person = self.person_mut(person);
        let reached = Level {
            number: granted.level,
            total_minor: granted.level_total_minor(),
            rewards: granted.level_count,
        };
        match person.levels.iter_mut().find(|known| known.number == reached.number) {
            Some(known) => *known = reached,
            None => person.levels.push(reached),
        }
        if is_by_tier {
            person.tier_points = person.tier_points.saturating_add(granted.posting.amount);
        }
    }
}
