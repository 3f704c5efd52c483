//! A unit of work over plain maps, with a clock that stands still and randomness that repeats.
//!
//! It also checks how decisions use their unit of work. With [`Reading::Cold`], it starts every command with
//! nothing in memory and runs it again whenever something was missing or was wrongly assumed to be new, as a
//! server does.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use crate::decide::Command;
use crate::fraud::LATEST_REFEREES;
use crate::{
    AnyAggregate, AnyEvent, Claim, ClaimKind, EncodedEvent, Halt, Kind, LatestReferee, MailedToken,
    Participant, ParticipantEvent, ParticipantId, Personal, Profile, ProgramId, Purchase,
    PurchaseCursor, PurchaseEvent, PurchaseId, PurchasePage, PurchaseSearch, Refusal, SideRow,
    SignUpClient, Stream, StreamKey, Timestamp, UplineWalk, UserId, Work,
};

/// The event, written to and read back from its form in the log.
fn read_back(kind: Kind, event: &AnyEvent) -> AnyEvent {
    let EncodedEvent { event_type, event_version, payload } = event.encode().unwrap();
    AnyEvent::decode(kind, &event_type, &event_version, &payload)
        .expect("an event that was just written can be read")
}

fn address(profile: &Profile) -> Personal {
    Personal(ClaimKind::Email.normal_form(&profile.email))
}

/// How many purchases of a buyer are on a page. So few that most tests have several pages.
const PURCHASES_PER_PAGE: usize = 2;

/// The domain of addresses that are disposable.
pub const DISPOSABLE_DOMAIN: &str = "throwaway.example";

/// A stand-in for a keyed hash: the hash FNV-1a of Fowler, Noll and Vo, with 64 bits, mixed as `SplitMix64` does.
pub fn keyed_hash(purpose: &str, value: &str) -> String {
    let bytes = [purpose.as_bytes(), &[0], value.as_bytes()].concat();
    let hash = bytes.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    let mixed = (hash ^ (hash >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    format!("{:016x}", mixed ^ (mixed >> 31))
}

/// One line of the log.
#[derive(Clone, Debug, PartialEq)]
pub struct Logged {
    /// The number of the command that wrote the event.
    pub command: usize,
    pub key: StreamKey,
    pub sequence: i64,
    pub event: AnyEvent,
}

/// How much a unit of work has in memory when a command begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reading {
    /// Everything.
    Warm,
    /// Nothing.
    Cold,
}

#[derive(Clone, Debug, Default)]
struct Tables {
    streams: HashMap<StreamKey, AnyAggregate>,
    claims: HashMap<(ClaimKind, String), String>,
    profiles: HashMap<UserId, Profile>,
    clients: HashMap<UserId, SignUpClient>,
    enrollments: BTreeSet<ParticipantId>,
    referrals: HashMap<ParticipantId, UserId>,
    /// Referrals in order: who referred, whom and when.
    latest: Vec<(ParticipantId, UserId, Timestamp)>,
    mailed: Vec<MailedToken>,
    asked_to_confirm: Vec<UserId>,
    erased: BTreeSet<UserId>,
    randomness: u64,
}

/// Look-ups other than streams.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum LookUp {
    Stream(StreamKey),
    Code(String),
    DefaultPrograms,
    Walk(ParticipantId, UserId),
    ErasedAddress(String),
    Owner(ClaimKind, String),
    Address(UserId),
    Client(UserId),
    Referees(ParticipantId),
    Purchases(PurchaseSearch),
}

/// The results of all decisions.
#[derive(Clone, Debug)]
pub struct Memory {
    tables: Tables,
    log: Vec<Logged>,
    now: Timestamp,
    reading: Reading,
    /// The referrals that a walk sees; `None` if it sees all those in the tables.
    walked: Option<HashMap<ParticipantId, UserId>>,
}

impl Memory {
    pub fn new(reading: Reading) -> Self {
        Self {
            tables: Tables::default(),
            log: Vec::new(),
            now: Timestamp(1_700_000_000_000_000),
            reading,
            walked: None,
        }
    }

    pub fn now(&self) -> Timestamp {
        self.now
    }

    pub fn set_now(&mut self, now: Timestamp) {
        self.now = now;
    }

    /// Who was mailed a link because of a held referral, once for each mail.
    pub fn asked_to_confirm(&self) -> &[UserId] {
        &self.tables.asked_to_confirm
    }

    /// From now on walks up a line see only the present referrals, like a server that does not know the
    /// latest ones.
    pub fn walk_as_of_now(&mut self) {
        self.walked = Some(self.tables.referrals.clone());
    }

    /// Applies a command: everything it decided, or nothing.
    pub fn apply(&mut self, command: &Command) -> Result<(), Halt> {
        self.carry_out(|work| command.decide(work))
    }

    /// Applies a decision: everything it decided, or nothing.
    pub fn carry_out<T>(
        &mut self,
        decide: impl Fn(&mut dyn Work) -> Result<T, Halt>,
    ) -> Result<T, Halt> {
        let (result, unit) = self.run(decide);
        if result.is_ok() {
            self.tables = unit.tables;
            self.log.extend(unit.log);
        }
        result
    }

    /// Runs a query that changes nothing.
    pub fn ask<T>(&self, question: impl Fn(&mut dyn Work) -> Result<T, Halt>) -> Result<T, Halt> {
        let (result, unit) = self.run(question);
        assert!(unit.log.is_empty(), "a question left events behind");
        result
    }

    /// Records events without a decision.
    pub fn given<A: Stream>(&mut self, id: &A::Id, event: A::Event) {
        let mut state = (*self.state::<A>(id)).clone();
        state.apply(event.clone());
        let key = StreamKey::of::<A>(id);
        let sequence = next_sequence(&self.log, &key);
        let event = read_back(A::KIND, &A::any_event(event));
        let command = self.next_command();
        self.log.push(Logged { command, key: key.clone(), sequence, event });
        self.tables.streams.insert(key, A::into_any(state.into()));
    }

    pub fn state<A: Stream>(&self, id: &A::Id) -> std::sync::Arc<A> {
        let any = self.tables.streams.get(&StreamKey::of::<A>(id)).cloned();
        any.map_or_else(Default::default, |any| A::from_any(any).expect("keys have their kind"))
    }

    /// Every stream with its state.
    pub fn streams(&self) -> impl Iterator<Item = (&StreamKey, &AnyAggregate)> {
        self.tables.streams.iter()
    }

    fn next_command(&self) -> usize {
        self.log.last().map_or(0, |last| last.command + 1)
    }

    pub fn log(&self) -> &[Logged] {
        &self.log
    }

    /// The events since a mark, which is a length that the log had.
    pub fn participant_events_since(
        &self,
        mark: usize,
    ) -> impl Iterator<Item = (&StreamKey, &ParticipantEvent)> {
        self.log[mark..].iter().filter_map(|logged| match &logged.event {
            AnyEvent::Participant(event) => Some((&logged.key, event)),
            _ => None,
        })
    }

    pub fn profile(&self, user_id: &UserId) -> Option<&Profile> {
        self.tables.profiles.get(user_id)
    }

    /// The tokens that were to be mailed.
    pub fn mailed(&self) -> &[MailedToken] {
        &self.tables.mailed
    }

    pub fn is_enrolled(&self, participant: &ParticipantId) -> bool {
        self.tables.enrollments.contains(participant)
    }

    /// Who referred whom, according to the rows outside the log.
    pub fn referrals(&self) -> &HashMap<ParticipantId, UserId> {
        &self.tables.referrals
    }

    pub fn owner_of(&self, kind: ClaimKind, value: &str) -> Option<&str> {
        self.tables.claims.get(&(kind, value.to_owned())).map(String::as_str)
    }

    pub fn is_erased(&self, user_id: &UserId) -> bool {
        self.tables.erased.contains(user_id)
    }

    /// From now on this is the key of the address of an erased user.
    pub fn remember_address(&mut self, address_key: &str) {
        let claim = (ClaimKind::ErasedEmail, address_key.to_owned());
        self.tables.claims.insert(claim, String::new());
    }

    fn run<T>(&self, decide: impl Fn(&mut dyn Work) -> Result<T, Halt>) -> (Result<T, Halt>, Unit) {
        let mut known = HashSet::new();
        loop {
            let mut unit = Unit::new(self, known.clone());
            let result = decide(&mut unit);
            // A stream that was wrongly assumed to be new is detected even if the command is refused.
            let mistaken: Vec<_> = unit
                .taken_to_be_new
                .iter()
                .filter(|key| self.tables.streams.contains_key(*key))
                .map(|key| LookUp::Stream(key.clone()))
                .collect();
            let before = known.len();
            known.extend(mistaken);
            if matches!(result, Err(Halt::Missing)) {
                known.extend(std::mem::take(&mut unit.missing));
                assert!(known.len() > before, "something is missing, and nobody knows what");
            }
            if known.len() == before {
                return (result, unit);
            }
        }
    }
}

fn next_sequence(log: &[Logged], key: &StreamKey) -> i64 {
    let last = log.iter().rev().find(|logged| logged.key == *key);
    last.map_or(1, |last| last.sequence + 1)
}

/// One run of a decision.
struct Unit {
    tables: Tables,
    log: Vec<Logged>,
    now: Timestamp,
    walked: Option<HashMap<ParticipantId, UserId>>,
    reading: Reading,
    known: HashSet<LookUp>,
    missing: Vec<LookUp>,
    taken_to_be_new: HashSet<StreamKey>,
    written: HashSet<StreamKey>,
    /// The log before.
    before: Vec<Logged>,
    command: usize,
}

impl Unit {
    fn new(memory: &Memory, known: HashSet<LookUp>) -> Self {
        Self {
            tables: memory.tables.clone(),
            log: Vec::new(),
            before: memory.log.clone(),
            command: memory.next_command(),
            now: memory.now,
            walked: memory.walked.clone(),
            reading: memory.reading,
            known,
            missing: Vec::new(),
            taken_to_be_new: HashSet::new(),
            written: HashSet::new(),
        }
    }

    /// Passes events that a command wrote elsewhere to a stream that remembers its commands.
    fn remember(&mut self, key: &StreamKey, logged: &Logged) {
        if key.kind.remembers_commands()
            && *key != logged.key
            && let Some(state) = self.tables.streams.get_mut(key)
        {
            state.remember(&key.id, &logged.key, logged.sequence, &logged.event);
        }
    }

    /// Whoever looks for purchases has read the streams to which they would write, of those above the buyer.
    fn check_line_is_read(&self, buyer: &UserId) {
        let is_read = |(referee, referrer): (&ParticipantId, &UserId)| {
            let above = ParticipantId::new(&referee.program_id, referrer);
            self.known.contains(&LookUp::Stream(StreamKey::of::<Participant>(&above)))
        };
        let mut own = self.tables.referrals.iter().filter(|(of, _)| of.user_id == *buyer);
        assert!(own.any(is_read), "purchases are looked for before their earners are read");
    }

    fn need(&mut self, look_up: LookUp) -> Result<(), Halt> {
        if self.reading == Reading::Warm || self.known.contains(&look_up) {
            return Ok(());
        }
        self.missing.push(look_up);
        Err(Halt::Missing)
    }
}

impl Work for Unit {
    fn now(&self) -> Timestamp {
        self.now
    }

    fn random(&mut self, bytes: &mut [u8]) {
        for byte in bytes {
            // The generator SplitMix64 of Steele, Lea and Flood (2014).
            self.tables.randomness = self.tables.randomness.wrapping_add(0x9E37_79B9_7F4A_7C15);
            let mut mixed = self.tables.randomness;
            mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
            *byte = (mixed ^ (mixed >> 31)).to_le_bytes()[0];
        }
    }

    fn state(&mut self, key: &StreamKey, expect_new: bool) -> Result<AnyAggregate, Halt> {
        let in_hand = self.written.contains(key)
            || self.reading == Reading::Warm
            || self.known.contains(&LookUp::Stream(key.clone()));
        if !in_hand {
            if expect_new || self.taken_to_be_new.contains(key) {
                self.taken_to_be_new.insert(key.clone());
                return Ok(AnyAggregate::empty(key.kind));
            }
            self.need(LookUp::Stream(key.clone()))?;
        }
        Ok(self.tables.streams.get(key).cloned().unwrap_or_else(|| AnyAggregate::empty(key.kind)))
    }

    fn last_sequence(&self, key: &StreamKey) -> i64 {
        next_sequence(&self.log, key).max(next_sequence(&self.before, key)) - 1
    }

    fn record(
        &mut self,
        key: &StreamKey,
        state: AnyAggregate,
        events: Vec<AnyEvent>,
    ) -> Result<(), Halt> {
        if !events.is_empty() {
            self.tables.streams.insert(key.clone(), state);
            if self.written.insert(key.clone()) && key.kind.remembers_commands() {
                for earlier in self.log.clone() {
                    self.remember(key, &earlier);
                }
            }
        }
        for event in events {
            let last = next_sequence(&self.log, key).max(next_sequence(&self.before, key));
            let event = read_back(key.kind, &event);
            let logged = Logged { command: self.command, key: key.clone(), sequence: last, event };
            for other in self.written.clone() {
                self.remember(&other, &logged);
            }
            self.log.push(logged);
        }
        Ok(())
    }

    fn code_owner(&mut self, code: &str) -> Result<Option<ParticipantId>, Halt> {
        self.need(LookUp::Code(code.into()))?;
        let owner = self.tables.claims.get(&(ClaimKind::Code, code.to_owned()));
        Ok(owner.map(|owner| ParticipantId::parse(owner).expect("participants own codes")))
    }

    fn default_programs(&mut self) -> Result<Vec<ProgramId>, Halt> {
        self.need(LookUp::DefaultPrograms)?;
        let programs: BTreeMap<usize, _> = self
            .tables
            .claims
            .iter()
            .filter(|((kind, _), _)| *kind == ClaimKind::DefaultProgram)
            .map(|((_, number), owner)| {
                let program_id = ProgramId::parse(owner).expect("programs own their numbers");
                (number.parse().expect("a number"), program_id)
            })
            .collect();
        assert!(programs.keys().copied().eq(1..=programs.len()), "numbers have no gaps");
        Ok(programs.into_values().collect())
    }

    fn walk_upline(&mut self, from: &ParticipantId, target: &UserId) -> Result<UplineWalk, Halt> {
        self.need(LookUp::Walk(from.clone(), target.clone()))?;
        let referrals = self.walked.as_ref().unwrap_or(&self.tables.referrals);
        let mut at = from.clone();
        let mut met = false;
        while !met && let Some(referrer) = referrals.get(&at) {
            at.user_id = referrer.clone();
            met = at.user_id == *target;
        }
        Ok(UplineWalk { root: at.user_id, met })
    }

    fn claim(&mut self, claim: Claim) -> Result<(), Halt> {
        let Claim { kind, value, owner } = claim;
        match self.tables.claims.insert((kind, value), owner.clone()) {
            Some(before) if before != owner => Err(Refusal::Taken(vec![kind.as_str()]).into()),
            _ => Ok(()),
        }
    }

    fn share_claim(&mut self, claim: Claim) -> Result<Option<String>, Halt> {
        let Claim { kind, value, owner } = claim;
        if !kind.is_shared() {
            return Err(Halt::Broken("a claim that cannot be shared was shared"));
        }
        self.need(LookUp::Owner(kind, value.clone()))?;
        let first = self.tables.claims.entry((kind, value)).or_insert_with(|| owner.clone());
        Ok((*first != owner).then(|| first.clone()))
    }

    fn release_claim(&mut self, claim: Claim) -> Result<(), Halt> {
        let Claim { kind, value, owner } = claim;
        if !kind.can_be_released() {
            return Err(Halt::Broken("a claim that cannot be released was released"));
        }
        let key = (kind, value);
        if self.tables.claims.get(&key) == Some(&owner) {
            self.tables.claims.remove(&key);
        }
        Ok(())
    }

    fn is_erased_address(&mut self, address_key: &str) -> Result<bool, Halt> {
        self.need(LookUp::ErasedAddress(address_key.into()))?;
        Ok(self.tables.claims.contains_key(&(ClaimKind::ErasedEmail, address_key.to_owned())))
    }

    fn address_of(&mut self, user_id: &UserId) -> Result<Option<Personal>, Halt> {
        self.need(LookUp::Address(user_id.clone()))?;
        Ok(self.tables.profiles.get(user_id).map(address))
    }

    fn sign_up_client(&mut self, user_id: &UserId) -> Result<Option<SignUpClient>, Halt> {
        self.need(LookUp::Client(user_id.clone()))?;
        Ok(self.tables.clients.get(user_id).cloned())
    }

    fn latest_referees(
        &mut self,
        referrer: &ParticipantId,
    ) -> Result<Vec<Arc<LatestReferee>>, Halt> {
        self.need(LookUp::Referees(referrer.clone()))?;
        let newest = self.tables.latest.iter().rev();
        let own = newest.filter(|(by, ..)| by == referrer).map(|(_, user_id, refer_time)| {
            let address = self.tables.profiles.get(user_id).map(address);
            Arc::new(LatestReferee { user_id: user_id.clone(), refer_time: *refer_time, address })
        });
        Ok(own.take(LATEST_REFEREES).collect())
    }

    fn purchases_of(&mut self, search: &PurchaseSearch) -> Result<PurchasePage, Halt> {
        let PurchaseSearch { buyer, may_earn, before } = search;
        let asked = LookUp::Purchases(search.clone());
        if self.reading == Reading::Cold && !self.known.contains(&asked) {
            self.check_line_is_read(buyer);
        }
        self.need(asked)?;
        let before = before.map_or(usize::MAX, |PurchaseCursor(at)| at.try_into().unwrap());
        let streams = &self.tables.streams;
        let may_earn_or_all = |key: &StreamKey| {
            let state = streams.get(key).cloned().and_then(Purchase::from_any);
            !may_earn || state.is_some_and(|purchase| purchase.may_earn())
        };
        let is_own = |(_, logged): &(usize, &Logged)| match &logged.event {
            AnyEvent::Purchase(PurchaseEvent::PurchaseRecorded(of)) => {
                of.buyer_user_id == *buyer && may_earn_or_all(&logged.key)
            }
            _ => false,
        };
        let mut own = self.before.iter().enumerate().take(before).filter(is_own).rev().peekable();
        let page: Vec<_> = own.by_ref().take(PURCHASES_PER_PAGE).collect();
        let next = page.last().filter(|_| own.peek().is_some());
        let next = next.map(|(at, _)| PurchaseCursor((*at).try_into().unwrap()));
        let purchases = page.iter().map(|(_, logged)| PurchaseId::parse(&logged.key.id).unwrap());
        Ok(PurchasePage { purchases: purchases.collect(), next })
    }

    fn keyed_hash(&self, purpose: &'static str, value: &str) -> String {
        keyed_hash(purpose, value)
    }

    fn is_disposable(&self, domain: &str) -> bool {
        domain == DISPOSABLE_DOMAIN
    }

    fn write_row(&mut self, row: SideRow) {
        match row {
            SideRow::SignUpClient(client) => {
                self.tables.clients.insert(client.user_id.clone(), client);
            }
            SideRow::Erasure(user_id) => {
                self.tables.clients.remove(&user_id);
                self.tables.profiles.remove(&user_id);
                self.tables.claims.retain(|(kind, _), owner| {
                    !kind.is_shared() || owner.as_str() != user_id.as_str()
                });
                self.tables.erased.insert(user_id);
            }
            SideRow::Profile(profile) => {
                self.tables.profiles.insert(profile.user_id.clone(), profile);
            }
            SideRow::Enrollment(participant) => {
                self.tables.enrollments.insert(participant);
            }
            SideRow::Referral { referee, referrer, refer_time } => {
                let by = ParticipantId::new(&referee.program_id, &referrer);
                self.tables.latest.push((by, referee.user_id.clone(), refer_time));
                let before = self.tables.referrals.insert(referee.clone(), referrer);
                assert_eq!(before, None, "{referee} was referred twice");
            }
            SideRow::ProfileChange(change) => {
                let profile = self.tables.profiles.get_mut(&change.user_id).expect("a profile");
                let set = |value: &mut String, new: Option<Personal>| {
                    if let Some(Personal(new)) = new {
                        *value = new;
                    }
                };
                set(&mut profile.username, change.username);
                set(&mut profile.display_name, change.display_name);
                set(&mut profile.email, change.email);
            }
            SideRow::MailedToken(token) => self.tables.mailed.push(token),
            SideRow::RequestedConfirmation { user_id, .. } => {
                self.tables.asked_to_confirm.push(user_id);
            }
            // Nothing that decisions read.
            SideRow::FraudEvidence(_)
            | SideRow::FraudNote(_)
            | SideRow::Note(_)
            | SideRow::SecondFactor(_)
            | SideRow::SecondFactorBegun { .. }
            | SideRow::RecoveryCodeUse { .. }
            | SideRow::JobRetry { .. }
            | SideRow::MailPreferences { .. }
            | SideRow::Mail(_)
            | SideRow::ApiKey { .. }
            | SideRow::ApiKeyRevocation { .. }
            | SideRow::UserRole { .. }
            | SideRow::SessionEnds { .. }
            | SideRow::PayoutMethod { .. }
            | SideRow::ConfirmedSignUp(_) => {}
            SideRow::PasswordHash { user_id, hash } => {
                let profile = self.tables.profiles.get_mut(&user_id);
                profile.expect("no profile").password_hash = Some(hash.0);
            }
        }
    }
}
