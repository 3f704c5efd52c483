//! The unit of work in which a decision reads and changes aggregates.

use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use cqrs_es::event_sink::EventSink;

use super::registry::{AnyAggregate, AnyEvent, Stream, StreamKey};
use super::{
    ParticipantId, Personal, ProgramId, Purchase, PurchaseId, Refusal, SideRow, SignUpClient,
    Timestamp, UserId,
};
use super::{code, email};

/// Why a decision stopped before its end.
#[derive(Debug, PartialEq, Eq)]
pub enum Halt {
    /// The decision needs streams or look-ups that are not in memory; the unit of work knows which. The
    /// decision runs again once they are loaded.
    Missing,
    /// The rules forbid the command.
    Refused(Refusal),
    /// The command was carried out before; the answer is the outcome of the command that wrote this event.
    AlreadyRecorded(OwnEvent),
    /// What the decision looks up is computed from the log and far behind it. The command may be sent again later.
    Behind(Lag),
    /// A bug: an aggregate waited for something, or a stream is of another kind.
    Broken(&'static str),
}

/// How far a table that is computed from the log is behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lag {
    /// The position of the last event that is in the table.
    pub reached: i64,
    /// The position of the last event of the log.
    pub head: i64,
}

/// The event that identifies a command that was carried out: the first of its type on the command's own
/// stream, or the first with this value in a field of its payload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnEvent {
    /// The stream.
    pub stream: StreamKey,
    /// The type of the event.
    pub event_type: &'static str,
    /// The field, and its value; `None` if the type is enough.
    pub field: Option<(&'static str, String)>,
}

impl From<Refusal> for Halt {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

/// The kinds of values that must be unique.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ClaimKind {
    /// A referral code, owned by a participant.
    Code,
    /// A username in lower case, owned by a user.
    Username,
    /// An e-mail address in lower case, owned by a user.
    Email,
    /// A program, owned by itself, so that programs can be listed.
    Program,
    /// The number of times that any program has begun to enroll by default, owned by the program that began.
    DefaultProgram,
    /// A keyed hash of the e-mail address of a user who was erased, owned by nobody.
    ErasedEmail,
    /// A keyed hash of the mailbox that an address leads to, owned by the first user whose address leads to it.
    Mailbox,
    /// A keyed hash of what a mailbox looks like, owned by the first user with such an address.
    LookAlike,
    /// A keyed hash of the fingerprint of a device or a means of payment, owned by the first user who had it.
    Fingerprint,
}

impl ClaimKind {
    /// The name used in the `claims` table.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Code => "code",
            Self::Username => "username",
            Self::Email => "email",
            Self::Program => "program",
            Self::DefaultProgram => "default_program",
            Self::ErasedEmail => "erased_email",
            Self::Mailbox => "mailbox",
            Self::LookAlike => "look_alike",
            Self::Fingerprint => "fingerprint",
        }
    }

    /// The form in which values of this kind are claimed and looked up.
    #[must_use]
    pub fn normal_form(self, value: &str) -> String {
        match self {
            Self::Code => code::shown(value),
            Self::Username => value.to_lowercase(),
            // The API refuses an address that has no comparable form.
            Self::Email => email::comparable(value).unwrap_or_else(|| value.to_lowercase()),
            Self::Program
            | Self::DefaultProgram
            | Self::ErasedEmail
            | Self::Mailbox
            | Self::LookAlike
            | Self::Fingerprint => value.into(),
        }
    }

    /// Whether an owner can give up a value of this kind. A code is never given up: its owner is looked up
    /// without a check for changes. Numbers of default programs are never given up, so that they have no gaps.
    #[must_use]
    pub const fn can_be_released(self) -> bool {
        match self {
            Self::Username
            | Self::Email
            | Self::Program
            | Self::Mailbox
            | Self::LookAlike
            | Self::Fingerprint => true,
            Self::Code | Self::DefaultProgram | Self::ErasedEmail => false,
        }
    }

    /// Whether others can have the value as well: it belongs to the first, and the others learn who that is; see
    /// [`Work::share_claim`].
    #[must_use]
    pub const fn is_shared(self) -> bool {
        match self {
            Self::Mailbox | Self::LookAlike | Self::Fingerprint => true,
            Self::Code
            | Self::Username
            | Self::Email
            | Self::Program
            | Self::DefaultProgram
            | Self::ErasedEmail => false,
        }
    }

    /// Whether the decision chooses the value. If such a value turns out to be taken, the decision runs again
    /// and chooses another one; a value that the caller chose is refused.
    #[must_use]
    pub const fn is_chosen_by_decision(self) -> bool {
        match self {
            Self::Code | Self::DefaultProgram => true,
            Self::Username
            | Self::Email
            | Self::Program
            | Self::ErasedEmail
            | Self::Mailbox
            | Self::LookAlike
            | Self::Fingerprint => false,
        }
    }
}

/// A value that belongs to one owner until the owner releases it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Claim {
    /// What the value is.
    pub kind: ClaimKind,
    /// The value, in its normalized form.
    pub value: String,
    /// The owner of the value.
    pub owner: String,
}

/// Where a walk up a line ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UplineWalk {
    /// The participant without a recorded referrer.
    pub root: UserId,
    /// Whether the walk met the user it was looking for.
    pub met: bool,
}

/// Somebody whom a participant has referred, as fraud checks compare them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LatestReferee {
    /// Who was referred.
    pub user_id: UserId,
    /// When.
    pub refer_time: Timestamp,
    /// Their present address, in the form in which addresses are compared; `None` if they were erased.
    pub address: Option<Personal>,
}

/// A search for purchases of a buyer.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PurchaseSearch {
    /// Who bought.
    pub buyer: UserId,
    /// Whether those are left out that can be known to earn nothing; see [`Purchase::may_earn`].
    pub may_earn: bool,
    /// Only those before this place, which an earlier page named; `None` for the newest.
    pub before: Option<PurchaseCursor>,
}

/// A place among the purchases of a buyer: before an event of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PurchaseCursor(pub i64);

/// Some of the purchases of a buyer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PurchasePage {
    /// The newest first. A purchase that is being recorded may be on a later page as well.
    pub purchases: Vec<PurchaseId>,
    /// Where older ones follow; `None` if there are none.
    pub next: Option<PurchaseCursor>,
}

/// A unit of work: the streams that a decision may read and write, in the state after all earlier decisions.
///
/// Everything that is read is part of the concurrency check, even if the decision ends in a refusal.
pub trait Work {
    /// The time of the decision.
    fn now(&self) -> Timestamp;

    /// Fills `bytes` with randomness.
    fn random(&mut self, bytes: &mut [u8]);

    /// The state of a stream. With `expect_new`, a stream that is not in memory is assumed to be empty. If it
    /// is not, the append reports a conflict and the decision runs again on the real state.
    ///
    /// # Errors
    /// [`Halt::Missing`] if it is not in memory.
    fn state(&mut self, key: &StreamKey, expect_new: bool) -> Result<AnyAggregate, Halt>;

    /// The sequence of the last event of a stream that the decision has read, with those that it has recorded.
    fn last_sequence(&self, key: &StreamKey) -> i64;

    /// Records `events`, which must be of the stream's kind, and replaces the stream's state by the state
    /// after them.
    ///
    /// # Errors
    /// [`Halt::Broken`] if an event cannot be serialized.
    fn record(
        &mut self,
        key: &StreamKey,
        state: AnyAggregate,
        events: Vec<AnyEvent>,
    ) -> Result<(), Halt>;

    /// The owner of a referral code, which must be in its normal form.
    ///
    /// # Errors
    /// [`Halt::Missing`] if it has not been looked up yet.
    fn code_owner(&mut self, code: &str) -> Result<Option<ParticipantId>, Halt>;

    /// The programs that have begun to enroll by default, in the order of their numbers (see
    /// [`ClaimKind::DefaultProgram`]). Some may have ceased to, and some occur twice.
    ///
    /// # Errors
    /// [`Halt::Missing`] if it has not been looked up yet.
    fn default_programs(&mut self) -> Result<Vec<ProgramId>, Halt>;

    /// Follows recorded referrals from `from` upwards until `target` or a participant without a referrer.
    ///
    /// # Errors
    /// [`Halt::Missing`] if the walk has not been made yet.
    fn walk_upline(&mut self, from: &ParticipantId, target: &UserId) -> Result<UplineWalk, Halt>;

    /// Claims a value for its owner.
    ///
    /// # Errors
    /// [`Refusal::Taken`] if an earlier command of the batch claimed the value for another owner. If it
    /// belongs to another owner in the database, the append reports that.
    fn claim(&mut self, claim: Claim) -> Result<(), Halt>;

    /// Claims a value that others may have as well, and returns the other owner to whom it belongs; `None` if it
    /// now belongs to the claim's own. It is assumed to belong to nobody until the append has found otherwise; the
    /// decision then runs again. A decision that rests on another owner is in conflict if the value changes hands.
    ///
    /// # Errors
    /// [`Halt::Missing`] if the owner has to be looked up and has not been yet; [`Halt::Broken`] for a kind that
    /// cannot be shared.
    fn share_claim(&mut self, claim: Claim) -> Result<Option<String>, Halt>;

    /// Releases a value, so that others can claim it. Nothing happens if it does not belong to the owner.
    ///
    /// # Errors
    /// [`Halt::Broken`] for a kind that cannot be released.
    fn release_claim(&mut self, claim: Claim) -> Result<(), Halt>;

    /// Whether the e-mail address with this key was that of a user who was erased. It is assumed not to be until
    /// the append, which checks that, has found otherwise.
    ///
    /// # Errors
    /// [`Halt::Missing`] if it has to be looked up and has not been yet.
    fn is_erased_address(&mut self, address_key: &str) -> Result<bool, Halt>;

    /// The e-mail address of a user in the form in which addresses are compared; `None` if there is no such user or
    /// they were erased. The address is that of the version of the user's stream that the decision reads.
    ///
    /// # Errors
    /// [`Halt::Missing`] if it has not been looked up yet.
    fn address_of(&mut self, user_id: &UserId) -> Result<Option<Personal>, Halt>;

    /// From where a user signed up, as far as it is known and kept.
    ///
    /// # Errors
    /// [`Halt::Missing`] if it has not been looked up yet.
    fn sign_up_client(&mut self, user_id: &UserId) -> Result<Option<SignUpClient>, Halt>;

    /// The participants whom a participant referred last, at most [`LATEST_REFEREES`](crate::fraud::LATEST_REFEREES),
    /// the latest first. They and their addresses are those of the version of the participant's stream that the
    /// decision reads: a change or an erasure of a referee's address is an event on that stream
    /// ([`RefereeAddressChanged`](crate::RefereeAddressChanged)).
    ///
    /// # Errors
    /// [`Halt::Missing`] if it has not been looked up yet.
    fn latest_referees(
        &mut self,
        referrer: &ParticipantId,
    ) -> Result<Vec<Arc<LatestReferee>>, Halt>;

    /// Purchases of a buyer, a page at a time. Some that do not match can be among them.
    /// What a decision finds out about a purchase is checked because it reads the purchase's stream. That there is no
    /// further purchase is true as of the look-up only. A decision that rests on it has read, before the look-up,
    /// streams to which every such purchase would write: if one is recorded after the look-up, or earns again, the
    /// append finds that they have moved.
    ///
    /// # Errors
    /// [`Halt::Missing`] if it has not been looked up yet, [`Halt::Behind`] if it cannot be looked up for now.
    fn purchases_of(&mut self, search: &PurchaseSearch) -> Result<PurchasePage, Halt>;

    /// A keyed hash of a value: 22 letters, digits, `-` and `_`. The same value has another hash for another purpose.
    /// What must not be stored is recognised by it; without the key, which stays in the database, nobody can try
    /// values out.
    fn keyed_hash(&self, purpose: &'static str, value: &str) -> String;

    /// Whether a domain, in its Unicode form, is that of a provider of disposable addresses.
    fn is_disposable(&self, domain: &str) -> bool;

    /// Writes a row outside the log.
    fn write_row(&mut self, row: SideRow);
}

/// Carries out `step` for each item. Items must be independent of each other.
///
/// If an item lacks something, the others are tried as well before the decision halts, so that what several
/// items lack is loaded in one round and not in one round for each.
///
/// # Errors
/// The [`Halt`] of the first item that halted.
pub fn each<T>(
    items: impl IntoIterator<Item = T>,
    mut step: impl FnMut(T) -> Result<(), Halt>,
) -> Result<(), Halt> {
    let mut first_halt = Ok(());
    for item in items {
        match (step(item), &first_halt) {
            (Err(Halt::Missing), Ok(())) => first_halt = Err(Halt::Missing),
            // Nothing that was decided without the missing part counts.
            (_, Err(_)) | (Ok(()), _) => {}
            (Err(halt), Ok(())) => return Err(halt),
        }
    }
    first_halt
}

fn state_of<A: Stream>(
    work: &mut dyn Work,
    key: &StreamKey,
    expect_new: bool,
) -> Result<Arc<A>, Halt> {
    A::from_any(work.state(key, expect_new)?).ok_or(Halt::Broken("a stream of another kind"))
}

/// The state of an aggregate; the default state if it does not exist.
///
/// # Errors
/// [`Halt::Missing`] if it is not in memory.
pub fn load<A: Stream>(work: &mut dyn Work, id: &A::Id) -> Result<Arc<A>, Halt> {
    state_of(work, &StreamKey::of::<A>(id), false)
}

/// The state of an aggregate that probably does not exist; see [`Work::state`].
///
/// # Errors
/// [`Halt::Missing`] if it turned out to exist and is not in memory.
pub fn peek_new<A: Stream>(work: &mut dyn Work, id: &A::Id) -> Result<Arc<A>, Halt> {
    state_of(work, &StreamKey::of::<A>(id), true)
}

/// Whether a buyer has a purchase that may earn and of which `is_it` is true. Purchases are looked at from the newest
/// on. That there is none is true as of the look-up only; see [`Work::purchases_of`].
///
/// # Errors
/// [`Halt::Missing`] or [`Halt::Behind`] if that is not known yet.
pub fn has_earning_purchase(
    work: &mut dyn Work,
    buyer: &UserId,
    mut is_it: impl FnMut(&PurchaseId, &Purchase) -> bool,
) -> Result<bool, Halt> {
    let mut search = PurchaseSearch { buyer: buyer.clone(), may_earn: true, before: None };
    loop {
        let page = work.purchases_of(&search)?;
        let mut is_found = false;
        each(&page.purchases, |purchase_id| {
            if !is_found {
                is_found = is_it(purchase_id, &*load::<Purchase>(work, purchase_id)?);
            }
            Ok(())
        })?;
        if is_found {
            return Ok(true);
        }
        match page.next {
            None => return Ok(false),
            next => search.before = next,
        }
    }
}

/// Sends a command to a loaded aggregate, records the resulting events, and returns their number.
///
/// # Errors
/// [`Halt::Refused`] if the aggregate refuses, [`Halt::Missing`] if it is not in memory.
pub fn tell<A: Stream>(
    work: &mut dyn Work,
    id: &A::Id,
    command: A::Command,
) -> Result<usize, Halt> {
    let key = StreamKey::of::<A>(id);
    let mut state = Arc::unwrap_or_clone(state_of::<A>(work, &key, false)?);
    let events = handle_now(&mut state, command)?;
    let count = events.len();
    let events = events.into_iter().map(A::any_event).collect();
    work.record(&key, A::into_any(Arc::new(state)), events)?;
    Ok(count)
}

/// Runs `handle`, which never waits for anything, to completion.
///
/// # Errors
/// The aggregate's refusal; [`Halt::Broken`] if the aggregate waited.
pub fn handle_now<A: Stream>(state: &mut A, command: A::Command) -> Result<Vec<A::Event>, Halt> {
    let waited = Halt::Broken("an aggregate waited for something");
    let sink = EventSink::default();
    match poll_once(state.handle(command, &(), &sink)) {
        Some(Ok(())) => poll_once(sink.collect()).ok_or(waited),
        Some(Err(refusal)) => Err(refusal.into()),
        None => Err(waited),
    }
}

/// The event sink of cqrs-es is a lock that nobody else holds, so one poll is enough. It is a tokio lock, and
/// tokio makes a task yield after some hundred locks; within a tokio task, decisions must therefore run in
/// `tokio::task::unconstrained`.
fn poll_once<T>(future: impl Future<Output = T>) -> Option<T> {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => Some(output),
        Poll::Pending => None,
    }
}
