//! The unit of work: the streams of one batch, in the state that each command leaves to the next.

mod work;

pub(super) use self::purchases::{Found, begun, earns_again};

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use tokio::task::unconstrained;
use uuid::Uuid;

use self::purchases::Purchases;
use self::referees::{AddedReferee, Evidence};
use super::cache::{Cache, Seen};
use super::horizon::Horizon;
use super::recent::RecentPurchases;
use super::{Environment, RequestKey};
use crate::store::append::{ClaimStep, Entry, Receipt};
use crate::store::{Batch, Envelope, Loaded};
use domain::{
    AnyAggregate, AnyEvent, Claim, ClaimKind, Halt, Kind, ParticipantId, ProgramId, PurchaseSearch,
    Refusal, SideRow, StreamKey, Timestamp, UplineWalk, UserId, Work,
};

/// Values that the database has reported as taken, with their owners. The append checks a refusal that depends
/// on one, since the owner may have released the value.
pub(super) type KnownTaken = HashMap<(ClaimKind, String), String>;

/// How many events must have been read for one stream before a snapshot is worthwhile.
const LONG_READ_EVENTS: i64 = 16;

/// A stream in its state after the batch.
#[allow(clippy::struct_excessive_bools, reason = "each is a fact by itself")]
struct BatchStream {
    state: AnyAggregate,
    version: i64,
    snapshot_version: i64,
    seen_at: i64,
    /// Whether many events had to be read to load the stream.
    took_long: bool,
    /// Whether a command of a caller has read it, and whether one in the background has.
    is_wanted: bool,
    is_read_in_background: bool,
    /// Its index in the batch.
    place: i32,
    /// The last command of the batch that wrote it.
    last_writer: Option<usize>,
    /// The version that the tables are sure to have reached: the one before the batch that is being appended.
    known_version: i64,
    /// For a participant: whom that batch, and whom this one refers.
    added_before: Vec<AddedReferee>,
    added: Vec<AddedReferee>,
    /// For a participant: whether this batch may have changed addresses of those whom they referred.
    has_other_addresses: bool,
}

/// A stream in its state after the current command.
struct CommandStream {
    state: AnyAggregate,
    version: i64,
    written: bool,
}

/// What has to be read from the database before a decision can be made.
#[derive(Clone, Debug, Default)]
pub(super) struct Missing {
    pub(super) streams: HashSet<StreamKey>,
    pub(super) codes: HashSet<String>,
    pub(super) walks: HashSet<(ParticipantId, UserId)>,
    pub(super) default_programs: bool,
    pub(super) address_keys: HashSet<String>,
    pub(super) owners: HashSet<(ClaimKind, String)>,
    pub(super) addresses: HashSet<UserId>,
    pub(super) clients: HashSet<UserId>,
    pub(super) referees: HashSet<ParticipantId>,
    pub(super) purchases: HashSet<PurchaseSearch>,
}

/// The programs that have begun to enroll by default.
struct DefaultPrograms {
    /// In the order of their numbers.
    programs: Vec<ProgramId>,
    /// The commands of the batch that added some of them.
    added_by: Vec<usize>,
}

/// A command of the batch whose request is known by its key.
#[derive(Clone, Copy)]
pub(super) struct EarlierRequest {
    /// The number of the command.
    pub(super) command: usize,
    /// Whether the content of the request is the same.
    pub(super) is_same: bool,
}

/// What the current command has done so far.
#[derive(Default)]
struct Scratch {
    streams: HashMap<StreamKey, CommandStream>,
    builds_on: HashSet<usize>,
    entry: Entry,
    /// Its events, with their streams and sequences.
    recorded: Vec<(StreamKey, i64, AnyEvent)>,
    /// The streams that the command has written to and that remember their commands.
    remembering: Vec<StreamKey>,
    /// What the decision took for granted about claims: owners known from an earlier batch because of whom it
    /// was refused, and values that belong to nobody.
    found: Vec<ClaimStep>,
    /// Whether a stream that should be new may be assumed to be new.
    trusts_new: bool,
    /// Whether it is a command in the background.
    in_background: bool,
}

/// The results of a batch of decisions so far.
pub(super) struct UnitOfWork<'a> {
    environment: Environment,
    cache: &'a mut Cache,
    /// The streams of the batch that is being appended, in their state after it.
    before: &'a FinishedStreams,
    streams: HashMap<StreamKey, BatchStream>,
    code_owners: HashMap<String, Option<ParticipantId>>,
    default_programs: Option<DefaultPrograms>,
    walks: HashMap<(ParticipantId, UserId), UplineWalk>,
    /// Whether the address with this key was that of an erased user.
    erased_addresses: HashMap<String, bool>,
    /// What fraud checks have looked up.
    evidence: Box<Evidence>,
    purchases: Purchases,
    recent: Option<&'a RecentPurchases>,
    /// For each value its owner after the earlier commands of the batch, `None` if it was released, and the
    /// command that changed that last.
    claims: HashMap<(ClaimKind, String), (Option<String>, usize)>,
    known_taken: KnownTaken,
    /// The requests that commands of the batch carry out, by key: the command and the fingerprint.
    requests: HashMap<Uuid, (usize, Vec<u8>)>,
    horizon: Horizon,
    batch: Batch,
    now: Timestamp,
    missing: Missing,
    scratch: Scratch,
    /// Whether the next decision is that of a command in the background.
    in_background: bool,
    /// Whether all decisions so far are.
    is_background: bool,
}

impl<'a> UnitOfWork<'a> {
    pub(super) fn new(
        environment: &Environment,
        cache: &'a mut Cache,
        before: &'a FinishedStreams,
        known_taken: KnownTaken,
        horizon: Horizon,
    ) -> Self {
        Self {
            known_taken,
            environment: environment.clone(),
            cache,
            before,
            streams: HashMap::new(),
            code_owners: HashMap::new(),
            default_programs: None,
            walks: HashMap::new(),
            erased_addresses: HashMap::new(),
            evidence: Box::default(),
            purchases: Purchases::default(),
            recent: None,
            claims: HashMap::new(),
            requests: HashMap::new(),
            horizon,
            batch: Batch::default(),
            now: (environment.now)(),
            missing: Missing::default(),
            scratch: Scratch::default(),
            in_background: false,
            is_background: true,
        }
    }

    /// Tells whether the next decisions are those of commands in the background.
    pub(super) fn go_into_background(&mut self, in_background: bool) {
        self.in_background = in_background;
    }

    /// Runs a decision. What it did is kept only if it succeeds; what it read is kept even if it is refused.
    ///
    /// With `trusts_new`, streams that should not exist yet are assumed not to exist.
    pub(super) async fn run<T>(
        &mut self,
        trusts_new: bool,
        decide: impl FnOnce(&mut dyn Work) -> Result<T, Halt>,
    ) -> Result<T, Halt> {
        let in_background = self.in_background;
        self.is_background &= in_background;
        self.scratch = Scratch { trusts_new, in_background, ..Scratch::default() };
        // Each event passes a lock of tokio, and tokio would make the task wait after some hundred of them.
        unconstrained(async { decide(self) }).await
    }

    /// Forgets what is true only for a moment: the time, and that something did not exist.
    pub(super) fn look_anew(&mut self) {
        self.now = (self.environment.now)();
        self.code_owners.retain(|_, owner| owner.is_some());
        self.erased_addresses.retain(|_, is_erased| *is_erased);
        self.evidence.owners.retain(|_, owner| owner.is_some());
        // What commands of the batch have added is not in the database yet.
        self.default_programs.take_if(|known| known.added_by.is_empty());
    }

    /// Adds the last decision, which must have succeeded, to the batch.
    pub(super) fn keep(&mut self, envelope: &Arc<Envelope>, request: Option<&RequestKey>) {
        let number = self.batch.len();
        let found = std::mem::take(&mut self.scratch.found);
        let rests_on =
            |step: &ClaimStep| matches!(step, ClaimStep::Absent(_) | ClaimStep::Shared(_));
        self.scratch.entry.claims.extend(found.into_iter().filter(rests_on));
        let (streams, mut entry) = self.checked_entry(request, true);
        for (key, stream) in streams {
            if stream.written
                && let Some(kept) = self.streams.get_mut(&key)
            {
                self.purchases.changed(&key, &stream.state, kept.version == 0);
                kept.state = stream.state;
                kept.version = stream.version;
                kept.last_writer = Some(number);
            }
        }
        for step in &entry.claims {
            let Claim { kind, value, owner } = step.claim().clone();
            let owned = match step {
                ClaimStep::Take(_) => Some(owner),
                ClaimStep::Release(_) if self.belongs_to_another(step.claim()) => continue,
                ClaimStep::Release(_) => None,
                ClaimStep::Found(_) | ClaimStep::Shared(_) | ClaimStep::Absent(_) => continue,
            };
            if let Some(owner) = owned.as_ref().filter(|_| kind == ClaimKind::Email) {
                self.evidence.change_address(owner, Some(&value));
            }
            if let Some(owner) = owned.as_ref().filter(|_| kind == ClaimKind::DefaultProgram) {
                self.add_default_program(owner, number);
            }
            self.claims.insert((kind, value), (owned, number));
        }
        for row in &mut entry.rows {
            if let SideRow::Note(note) = row {
                note.author = envelope.actor.to_string();
            }
        }
        self.keep_rows(&entry, number);
        if let Some(RequestKey { key, fingerprint }) = request {
            self.requests.insert(*key, (number, fingerprint.clone()));
        }
        let count = i64::try_from(entry.events.len()).unwrap_or(i64::MAX);
        if let Some(first) = entry.events.first_mut() {
            first.command_events = Some(count);
            first.envelope = Some(envelope.clone());
        }
        self.batch.add(entry);
    }

    /// Adds only what the last decision has read, and its request, to the batch: a refusal or a repetition is
    /// checked like a success.
    pub(super) fn keep_reads(&mut self, request: Option<&RequestKey>) {
        let claims = std::mem::take(&mut self.scratch.found);
        let (_, Entry { reads, builds_on, receipt, .. }) = self.checked_entry(request, false);
        self.batch.add(Entry { reads, builds_on, receipt, claims, ..Entry::default() });
    }

    /// The command of the batch that carries out a request with this key.
    pub(super) fn earlier_request(&self, request: &RequestKey) -> Option<EarlierRequest> {
        let (command, fingerprint) = self.requests.get(&request.key)?;
        Some(EarlierRequest { command: *command, is_same: *fingerprint == request.fingerprint })
    }

    /// Adds a command that is answered by the outcome of an earlier one with the same key.
    pub(super) fn keep_answered(&mut self, earlier: usize, request: Option<&RequestKey>) {
        self.scratch = Scratch::default();
        self.scratch.builds_on.insert(earlier);
        self.keep_reads(request);
    }

    /// Whether a command of the batch has claimed the value for another owner.
    fn belongs_to_another(&self, Claim { kind, value, owner }: &Claim) -> bool {
        let known = self.claims.get(&(*kind, value.clone()));
        known.and_then(|(known, _)| known.as_ref()).is_some_and(|known| known != owner)
    }

    fn add_default_program(&mut self, owner: &str, command: usize) {
        if let (Some(known), Ok(program_id)) = (&mut self.default_programs, ProgramId::parse(owner))
        {
            known.programs.push(program_id);
            known.added_by.push(command);
        }
    }

    /// How many streams and other facts are known here. Grows whenever something is learnt.
    pub(super) fn known_facts(&self) -> usize {
        self.streams.len()
            + self.code_owners.len()
            + self.walks.len()
            + self.erased_addresses.len()
            + self.evidence.owners.len()
            + self.evidence.learnt
            + self.purchases.looked_up()
            + usize::from(self.default_programs.is_some())
    }

    /// How many events the batch has.
    pub(super) fn event_count(&self) -> usize {
        self.batch.event_count()
    }

    /// Checks that a value is free, as far as is known here.
    fn check_owner(&mut self, key: &(ClaimKind, String), claim: &Claim) -> Result<(), Halt> {
        let owner = match self.claims.get(key) {
            Some((owner, command)) => {
                self.scratch.builds_on.insert(*command);
                owner.as_ref()
            }
            None => self.known_taken.get(key).inspect(|owner| {
                if **owner != claim.owner {
                    let owner = (*owner).clone();
                    let found = ClaimStep::Found(Claim { owner, ..claim.clone() });
                    self.scratch.found.push(found);
                }
            }),
        };
        match owner {
            Some(owner) if *owner != claim.owner => {
                Err(Refusal::Taken(vec![claim.kind.as_str()]).into())
            }
            _ => Ok(()),
        }
    }

    fn checked_entry(
        &mut self,
        request: Option<&RequestKey>,
        keeps_receipt: bool,
    ) -> (HashMap<StreamKey, CommandStream>, Entry) {
        let Scratch { streams, builds_on, mut entry, .. } = std::mem::take(&mut self.scratch);
        entry.reads = streams
            .keys()
            .filter_map(|key| self.streams.get(key))
            .map(|stream| stream.place)
            .collect();
        entry.builds_on = builds_on.into_iter().collect();
        entry.receipt = request.map(|request| Receipt {
            key: request.key,
            fingerprint: request.fingerprint.clone(),
            keep: keeps_receipt,
        });
        (streams, entry)
    }

    /// What decisions lacked since the last call.
    pub(super) fn take_missing(&mut self) -> Missing {
        std::mem::take(&mut self.missing)
    }

    /// Whether a stream is in memory, here or from earlier batches.
    pub(super) fn knows(&self, key: &StreamKey) -> bool {
        self.streams.contains_key(key) || self.before.contains_key(key) || self.cache.contains(key)
    }

    pub(super) fn learn_stream(&mut self, key: StreamKey, loaded: Loaded) {
        if !self.streams.contains_key(&key) {
            // The stream was read after the last batch, so it holds at least all events up to then.
            let at = self.horizon.end().position;
            let took_long = loaded.version - loaded.snapshot_version >= LONG_READ_EVENTS;
            if key.kind == Kind::Participant {
                self.purchases.look_anew();
            }
            self.enter(key, Seen { loaded, at }, took_long);
        }
    }

    pub(super) fn learn_code(&mut self, code: String, owner: Option<ParticipantId>) {
        self.code_owners.insert(code, owner);
    }

    pub(super) fn learn_default_programs(&mut self, programs: Vec<ProgramId>) {
        self.default_programs = Some(DefaultPrograms { programs, added_by: Vec::new() });
    }

    pub(super) fn learn_walk(&mut self, from: ParticipantId, target: UserId, walk: UplineWalk) {
        self.walks.insert((from, target), walk);
    }

    pub(super) fn learn_erased_address(&mut self, address_key: String, is_erased: bool) {
        self.erased_addresses.insert(address_key, is_erased);
    }

    /// A stream from memory.
    fn recall(&mut self, key: &StreamKey) -> Option<Seen> {
        match self.before.get(key) {
            // If that batch is appended whole, no other server has appended in between.
            Some(stream) => {
                Some(Seen { loaded: stream.loaded.clone(), at: self.horizon.end().position })
            }
            None if self.scratch.in_background => self.cache.peek(key),
            None => self.cache.get(key),
        }
    }

    fn enter(&mut self, key: StreamKey, seen: Seen, took_long: bool) {
        let Seen { loaded: Loaded { state, version, snapshot_version }, at: seen_at } = seen;
        let place = self.batch.add_stream(&key, version, self.horizon.reaches(seen_at));
        let before = self.before.get(&key);
        let stream = BatchStream {
            known_version: before.map_or(version, |before| before.known_version),
            added_before: before.map(|before| before.added.clone()).unwrap_or_default(),
            added: Vec::new(),
            has_other_addresses: false,
            state,
            version,
            snapshot_version,
            seen_at,
            took_long,
            is_wanted: false,
            is_read_in_background: false,
            place,
            last_writer: None,
        };
        self.streams.insert(key, stream);
    }

    /// The batch, and the streams in their state after it if all of it is appended.
    pub(super) fn finish(self) -> (Batch, FinishedStreams) {
        let streams = self
            .streams
            .into_iter()
            .map(|(key, stream)| {
                let version_before = self.batch.stream_version(stream.place).unwrap_or_default();
                // Addresses that this batch has changed are read after it.
                let (known_version, added) = if stream.has_other_addresses {
                    (stream.version, Vec::new())
                } else {
                    (version_before, stream.added)
                };
                let loaded = Loaded {
                    state: stream.state,
                    version: stream.version,
                    snapshot_version: stream.snapshot_version,
                };
                let finished = FinishedStream {
                    place: stream.place,
                    last_writer: stream.last_writer,
                    seen_at: stream.seen_at,
                    took_long: stream.took_long,
                    in_background: !stream.is_wanted
                        && (stream.is_read_in_background || self.is_background),
                    known_version,
                    added,
                    loaded,
                };
                (key, finished)
            })
            .collect();
        (self.batch, streams)
    }
}

/// The streams of a batch in their state after it.
pub(super) type FinishedStreams = HashMap<StreamKey, FinishedStream>;

/// A stream in its state after a batch.
pub(super) struct FinishedStream {
    pub(super) place: i32,
    pub(super) last_writer: Option<usize>,
    pub(super) seen_at: i64,
    /// Whether many events had to be read to load the stream.
    pub(super) took_long: bool,
    /// Whether only commands in the background have used it, so that it need not stay in memory.
    pub(super) in_background: bool,
    pub(super) loaded: Loaded,
    /// The version that look-ups for the next batch must have reached: the one before this batch, or the one after it
    /// if this batch has changed what is looked up.
    known_version: i64,
    /// For a participant: whom commands of the batch referred.
    added: Vec<AddedReferee>,
}

#[cfg(test)]
mod background_tests;
#[cfg(test)]
mod evidence_tests;
mod purchases;
#[cfg(test)]
mod purchases_tests;
mod referees;
mod sharing;
#[cfg(test)]
mod tests;
