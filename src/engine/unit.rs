//! The unit of work: the streams of one batch, in the state that each command leaves to the next.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use tokio::task::unconstrained;
use uuid::Uuid;

use self::referees::{AddedReferee, Evidence};
use super::cache::{Cache, Seen};
use super::{Environment, RequestKey};
use crate::store::append::{ClaimStep, Entry, LogEnd, Receipt};
use crate::store::{Appended, Batch, Envelope, Loaded, RecordedEvent};
use domain::{
    AnyAggregate, AnyEvent, Claim, ClaimKind, Halt, LatestReferee, ParticipantId, Personal,
    ProgramId, Refusal, SideRow, StreamKey, Timestamp, UplineWalk, UserId, Work,
};

/// Before the beginning of the log: the stream was never read.
const NEVER: i64 = -1;

/// What is known about the log as a whole. While only one server appends, the append need not look up the
/// last event of each stream in memory.
#[derive(Clone, Copy, Default)]
pub(super) struct Horizon {
    /// The end of the log as the last batch left it.
    end: LogEnd,
    /// The position since which no other server has appended.
    alone_since: i64,
    /// Whether no other server appended between the last two batches.
    is_alone: bool,
}

impl Horizon {
    /// What is known after a batch, including the end of the log.
    pub(super) fn after(self, appended: &Appended, last_event: Option<i64>) -> (Self, i64) {
        let alone_since = if appended.is_expected { self.alone_since } else { appended.head };
        let end = match last_event {
            Some(position) => LogEnd { position, recorded_at: appended.recorded_at },
            None if appended.is_expected => self.end,
            // The time of the last event is not known.
            None => LogEnd::default(),
        };
        (
            Self { end, alone_since, is_alone: appended.is_expected },
            last_event.unwrap_or(appended.head),
        )
    }

    /// The end of the log as the last batch left it.
    pub(super) fn end(self) -> LogEnd {
        self.end
    }

    /// Whether no other server appended between the last two batches.
    pub(super) fn is_alone(self) -> bool {
        self.is_alone
    }

    /// Whether a stream seen at `seen_at` is still current, provided that the log has not grown since the
    /// last batch.
    fn reaches(self, seen_at: i64) -> bool {
        seen_at >= self.alone_since
    }
}

/// Values that the database has reported as taken, with their owners. The append checks a refusal that depends
/// on one, since the owner may have released the value.
pub(super) type KnownTaken = HashMap<(ClaimKind, String), String>;

/// How many events must have been read for one stream before a snapshot is worthwhile.
const LONG_READ_EVENTS: i64 = 16;

/// A stream in its state after the batch.
struct BatchStream {
    state: AnyAggregate,
    version: i64,
    snapshot_version: i64,
    seen_at: i64,
    /// Whether many events had to be read to load the stream.
    took_long: bool,
    /// Its index in the batch.
    place: i32,
    /// The last command of the batch that wrote it.
    last_writer: Option<usize>,
    /// The version that the tables are sure to have reached: the one before the batch that is being appended.
    known_version: i64,
    /// For a participant: whom that batch, and whom this one refers.
    added_before: Vec<AddedReferee>,
    added: Vec<AddedReferee>,
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
    pub(super) referees: HashSet<ParticipantId>,
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
            claims: HashMap::new(),
            requests: HashMap::new(),
            horizon,
            batch: Batch::default(),
            now: (environment.now)(),
            missing: Missing::default(),
            scratch: Scratch::default(),
        }
    }

    /// Runs a decision. What it did is kept only if it succeeds; what it read is kept even if it is refused.
    ///
    /// With `trusts_new`, streams that should not exist yet are assumed not to exist.
    pub(super) async fn run<T>(
        &mut self,
        trusts_new: bool,
        decide: impl FnOnce(&mut dyn Work) -> Result<T, Halt>,
    ) -> Result<T, Halt> {
        self.scratch = Scratch { trusts_new, ..Scratch::default() };
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
        self.keep_rows(&entry.rows);
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
            let at = self.horizon.end.position;
            let took_long = loaded.version - loaded.snapshot_version >= LONG_READ_EVENTS;
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
                Some(Seen { loaded: stream.loaded.clone(), at: self.horizon.end.position })
            }
            None => self.cache.get(key),
        }
    }

    fn enter(&mut self, key: StreamKey, seen: Seen, took_long: bool) {
        let Seen { loaded: Loaded { state, version, snapshot_version }, at: seen_at } = seen;
        let place = self.batch.add_stream(&key, version, self.horizon.reaches(seen_at));
        let before = self.before.get(&key);
        let stream = BatchStream {
            known_version: before.map_or(version, |before| before.version_before),
            added_before: before.map(|before| before.added.clone()).unwrap_or_default(),
            added: Vec::new(),
            state,
            version,
            snapshot_version,
            seen_at,
            took_long,
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
                let version_before = self.batch.stream_version(stream.place);
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
                    version_before: version_before.unwrap_or_default(),
                    added: stream.added,
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
    pub(super) loaded: Loaded,
    /// Its version before the batch.
    version_before: i64,
    /// For a participant: whom commands of the batch referred.
    added: Vec<AddedReferee>,
}

impl Work for UnitOfWork<'_> {
    fn now(&self) -> Timestamp {
        self.now
    }

    fn random(&mut self, bytes: &mut [u8]) {
        (self.environment.random)(bytes);
    }

    fn state(&mut self, key: &StreamKey, expect_new: bool) -> Result<AnyAggregate, Halt> {
        if let Some(stream) = self.scratch.streams.get(key) {
            return Ok(stream.state.clone());
        }
        if !self.streams.contains_key(key) {
            if let Some(seen) = self.recall(key) {
                self.enter(key.clone(), seen, false);
            } else if expect_new && self.scratch.trusts_new {
                let state = AnyAggregate::empty(key.kind);
                let loaded = Loaded { state, version: 0, snapshot_version: 0 };
                self.enter(key.clone(), Seen { loaded, at: NEVER }, false);
            } else {
                self.missing.streams.insert(key.clone());
                return Err(Halt::Missing);
            }
        }
        let Some(stream) = self.streams.get(key) else {
            return Err(Halt::Broken("a stream that was entered is gone"));
        };
        self.scratch.builds_on.extend(stream.last_writer);
        let (state, version) = (stream.state.clone(), stream.version);
        let read = CommandStream { state: state.clone(), version, written: false };
        self.scratch.streams.insert(key.clone(), read);
        Ok(state)
    }

    fn record(
        &mut self,
        key: &StreamKey,
        state: AnyAggregate,
        events: Vec<AnyEvent>,
    ) -> Result<(), Halt> {
        let Scratch { streams, entry, recorded, remembering, .. } = &mut self.scratch;
        let stream = streams.get_mut(key).ok_or(Halt::Broken("a stream that was not loaded"))?;
        stream.state = state;
        if events.is_empty() {
            return Ok(());
        }
        if key.kind.remembers_commands() && !stream.written {
            for (other, sequence, event) in &*recorded {
                stream.state.remember(&key.id, other, *sequence, event);
            }
            remembering.push(key.clone());
        }
        stream.written = true;
        let first = recorded.len();
        for event in events {
            stream.version += 1;
            let encoded =
                event.encode().map_err(|_| Halt::Broken("an event that cannot be serialized"))?;
            entry.events.push(RecordedEvent {
                position: 0,
                recorded_at: Timestamp::default(),
                stream: key.clone(),
                sequence: stream.version,
                event_type: encoded.event_type.into(),
                event_version: encoded.event_version.into(),
                payload: encoded.payload.into(),
                command_events: None,
                envelope: None,
            });
            recorded.push((key.clone(), stream.version, event));
        }
        for other in remembering.iter().filter(|other| *other != key) {
            if let Some(stream) = streams.get_mut(other) {
                for (_, sequence, event) in &recorded[first..] {
                    stream.state.remember(&other.id, key, *sequence, event);
                }
            }
        }
        Ok(())
    }

    fn code_owner(&mut self, code: &str) -> Result<Option<ParticipantId>, Halt> {
        let owner = self.code_owners.get(code).cloned();
        if owner.is_none() {
            self.missing.codes.insert(code.into());
        }
        owner.ok_or(Halt::Missing)
    }

    fn default_programs(&mut self) -> Result<Vec<ProgramId>, Halt> {
        let Some(known) = &self.default_programs else {
            self.missing.default_programs = true;
            return Err(Halt::Missing);
        };
        self.scratch.builds_on.extend(&known.added_by);
        Ok(known.programs.clone())
    }

    fn walk_upline(&mut self, from: &ParticipantId, target: &UserId) -> Result<UplineWalk, Halt> {
        let key = (from.clone(), target.clone());
        let walk = self.walks.get(&key).cloned();
        if walk.is_none() {
            self.missing.walks.insert(key);
        }
        walk.ok_or(Halt::Missing)
    }

    fn claim(&mut self, claim: Claim) -> Result<(), Halt> {
        let taken = || Halt::from(Refusal::Taken(vec![claim.kind.as_str()]));
        let key = (claim.kind, claim.value.clone());
        let own = self.scratch.entry.claims.iter().rev().find(|step| step.is_about(&claim));
        match own {
            Some(ClaimStep::Take(_)) => return Err(taken()),
            Some(_) => {}
            None => self.check_owner(&key, &claim)?,
        }
        self.scratch.entry.claims.push(ClaimStep::Take(claim));
        Ok(())
    }

    fn share_claim(&mut self, claim: Claim) -> Result<Option<String>, Halt> {
        self.share(claim)
    }

    fn release_claim(&mut self, claim: Claim) -> Result<(), Halt> {
        if !claim.kind.can_be_released() {
            return Err(Halt::Broken("a claim that cannot be released was released"));
        }
        if let Some((_, command)) = self.claims.get(&(claim.kind, claim.value.clone())) {
            self.scratch.builds_on.insert(*command);
        }
        self.scratch.entry.claims.push(ClaimStep::Release(claim));
        Ok(())
    }

    fn is_erased_address(&mut self, address_key: &str) -> Result<bool, Halt> {
        let known = self.erased_addresses.get(address_key).copied();
        if known.is_none() && !self.scratch.trusts_new {
            self.missing.address_keys.insert(address_key.into());
            return Err(Halt::Missing);
        }
        let is_erased = known.unwrap_or_default();
        if !is_erased {
            let (kind, value) = (ClaimKind::ErasedEmail, address_key.to_owned());
            let claim = Claim { kind, value, owner: String::new() };
            self.scratch.found.push(ClaimStep::Absent(claim));
        }
        Ok(is_erased)
    }

    fn address_of(&mut self, user_id: &UserId) -> Result<Option<Personal>, Halt> {
        self.find_address(user_id)
    }

    fn latest_referees(&mut self, referrer: &ParticipantId) -> Result<Vec<LatestReferee>, Halt> {
        self.find_referees(referrer)
    }

    fn write_row(&mut self, row: SideRow) {
        self.scratch.entry.rows.push(row);
    }
}

#[cfg(test)]
mod evidence_tests;
mod referees;
mod sharing;
#[cfg(test)]
mod tests;
