//! What the oracle knows at a position of the log: programs, users and participants, each in a few numbers,
//! however long their history is; and purchases, see [`super::deals`].

use std::collections::HashMap;
use std::sync::Arc;

use domain::reward::WithheldReason;
use domain::rules::ProgramRules;
use domain::{Bucket, FlagAgainst, HoldReason, ProgramPublished, ReferralStatus, TierPot};

use super::deals::{Deals, Link, Reward};
use super::effect::{Effect, Fields};
use super::lots::Lots;
use super::rulebook::{Bought, Counts, Moment, counts_as_after, may_be_undated};

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
    /// Whether somebody has said how the user is paid.
    pub(super) has_payout_method: bool,
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
    /// Whether the referral itself earned, so that no purchase can undo the conversion.
    pub(super) converted_by_itself: bool,
    pub(super) against: Against,
}

impl Tie {
    /// Whether a purchase has converted it, so that it can be undone.
    pub(super) fn is_converted_by_purchase(&self) -> bool {
        self.status == ReferralStatus::Converted && !self.converted_by_itself
    }

    /// Whether it was rejected with what it had earned.
    pub(super) fn is_taken_back(&self) -> bool {
        self.status == ReferralStatus::Rejected && self.against.takes_back
    }
}

/// The fraud flags against a referral, as far as something follows from them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Against {
    pub(super) is_any: bool,
    pub(super) rejects: bool,
    pub(super) takes_back: bool,
}

impl Against {
    pub(super) fn of(flags: &[FlagAgainst]) -> Self {
        Self {
            is_any: !flags.is_empty(),
            rejects: flags.iter().any(|flag| flag.rejects),
            takes_back: flags.iter().any(|flag| flag.rejects && flag.takes_back),
        }
    }

    /// How a referral stands that nothing has converted, whatever else it waits for.
    pub(super) fn status(self) -> ReferralStatus {
        match self {
            Self { rejects: true, .. } => ReferralStatus::Rejected,
            Self { is_any: true, .. } => ReferralStatus::Held,
            Self { .. } => ReferralStatus::Pending,
        }
    }
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

/// What a participant's own referral earned.
pub(super) struct OwnRewards {
    /// The version by which it did.
    pub(super) version: u32,
    pub(super) rewards: Vec<Reward>,
    /// The level from which on they are taken back.
    pub(super) rejected_from: Option<u8>,
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
    /// The version of the latest of these rules.
    pub(super) tier_version: u32,
    /// Why points by tier wait, and how many do.
    pub(super) pot: TierPot,
    pub(super) pot_minor: i64,
    pub(super) tier: Option<Arc<str>>,
    /// What the participant's own referral earned, where referrals do.
    pub(super) own: Option<Box<OwnRewards>>,
    /// The participant's latest purchase that had consequences in the program.
    pub(super) latest_deal: Link,
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
    pub(super) deals: Deals,
    pub(super) lots: Lots,
    /// The names of tiers, each once.
    pub(super) tier_names: HashMap<Arc<str>, Arc<str>>,
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
        self.users.push(User {
            id: id.clone(),
            enrolled: Vec::new(),
            is_erased: false,
            is_confirmed: false,
            has_payout_method: false,
        });
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
            tier_version: 0,
            pot: TierPot::default(),
            pot_minor: 0,
            tier: None,
            own: None,
            latest_deal: Link::default(),
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

    /// The participants of a program.
    pub(super) fn persons_of(
        &self,
        program: ProgramIndex,
    ) -> impl Iterator<Item = (PersonIndex, &Person)> {
        let indexed = (0..).zip(&self.persons);
        indexed.filter(move |(_, person)| person.program == program)
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

    /// What is expected of a participant's stream.
    pub(super) fn expect(&self, person: PersonIndex, name: &'static str, fields: Fields) -> Effect {
        let program = self.person(person).program;
        Effect::on_participant(program, self.stream_id(person), name, fields)
    }

    pub(super) fn publish(&mut self, program_id: &str, published: &ProgramPublished) {
        let index = self.program_index(program_id);
        self.programs[index as usize].versions.push(Version {
            number: published.version,
            published: published.publish_time_us.0,
            rules: published.rules.clone(),
        });
    }

    pub(super) fn erase(&mut self, user: UserIndex) {
        self.users[user as usize].is_erased = true;
    }

    pub(super) fn confirm(&mut self, user: UserIndex) {
        self.users[user as usize].is_confirmed = true;
    }

    pub(super) fn set_payout_method(&mut self, user: UserIndex, is_set: bool) {
        self.users[user as usize].has_payout_method = is_set;
    }

    pub(super) fn enroll(&mut self, user: UserIndex, person: PersonIndex) {
        self.users[user as usize].enrolled.push(person);
    }

    /// The version that is current at this position of the log.
    pub(super) fn current_version(&self, program: ProgramIndex) -> Option<Version> {
        self.program(program).versions.last().cloned()
    }

    /// The version with that number.
    pub(super) fn version(&self, program: ProgramIndex, number: u32) -> Option<&Version> {
        self.program(program).versions.iter().find(|version| version.number == number)
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
}
