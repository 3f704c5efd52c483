//! The decisions of the domain in memory, so that tests have logs that are right.

use std::collections::{BTreeSet, HashMap};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;

use domain::decide::Command;
use domain::{
    AnyAggregate, AnyEvent, Claim, ClaimKind, Halt, Kind, LatestReferee, ParticipantId, Personal,
    ProgramId, PurchaseId, PurchasePage, PurchaseSearch, SideRow, SignUpClient, StreamKey,
    Timestamp, UplineWalk, UserId, Work,
};

use crate::store::RecordedEvent;

/// Everything that was decided. A second passes before each command.
#[derive(Clone)]
pub(super) struct Memory {
    pub(super) now: Timestamp,
    pub(super) log: Vec<RecordedEvent>,
    streams: HashMap<StreamKey, AnyAggregate>,
    sequences: HashMap<StreamKey, i64>,
    codes: HashMap<String, String>,
    referrals: HashMap<ParticipantId, UserId>,
    purchases: Vec<(UserId, PurchaseId)>,
    randomness: u64,
    /// The events of the command that is being decided, and the streams that it has written to.
    fresh: Vec<(StreamKey, i64, AnyEvent)>,
    written: BTreeSet<(Kind, Arc<str>)>,
}

impl Memory {
    pub(super) fn new() -> Self {
        Self {
            now: Timestamp(super::NOW),
            log: Vec::new(),
            streams: HashMap::new(),
            sequences: HashMap::new(),
            codes: HashMap::new(),
            referrals: HashMap::new(),
            purchases: Vec::new(),
            randomness: 1,
            fresh: Vec::new(),
            written: BTreeSet::new(),
        }
    }

    /// Carries out a command; whether it was accepted.
    pub(super) fn apply(&mut self, command: &Command) -> bool {
        self.now = self.now.plus_seconds(1);
        let mut unit = self.clone();
        match command.decide(&mut unit) {
            Ok(()) => {}
            Err(Halt::Refused(_) | Halt::AlreadyRecorded(_)) => return false,
            Err(halt) => panic!("{command:?}: {halt:?}"),
        }
        unit.written.clear();
        let fresh = std::mem::take(&mut unit.fresh);
        let count = i64::try_from(fresh.len()).unwrap();
        for (index, (stream, sequence, event)) in fresh.into_iter().enumerate() {
            if let AnyEvent::Purchase(domain::PurchaseEvent::PurchaseRecorded(recorded)) = &event {
                let purchase_id = PurchaseId::parse(&stream.id).unwrap();
                unit.purchases.push((recorded.buyer_user_id.clone(), purchase_id));
            }
            let encoded = event.encode().unwrap();
            unit.log.push(RecordedEvent {
                position: i64::try_from(unit.log.len()).unwrap() + 1,
                recorded_at: self.now,
                stream,
                sequence,
                event_type: encoded.event_type.into(),
                event_version: encoded.event_version.into(),
                payload: encoded.payload.into(),
                command_events: (index == 0).then_some(count),
                envelope: None,
            });
        }
        *self = unit;
        true
    }

    /// The state of a stream.
    pub(super) fn state(&self, kind: Kind, id: &str) -> AnyAggregate {
        let key = StreamKey { kind, id: id.into() };
        self.streams.get(&key).cloned().unwrap_or_else(|| AnyAggregate::empty(kind))
    }

    fn remember(&mut self, key: &StreamKey, other: &StreamKey, sequence: i64, event: &AnyEvent) {
        if key.kind.remembers_commands()
            && key != other
            && let Some(state) = self.streams.get_mut(key)
        {
            state.remember(&key.id, other, sequence, event);
        }
    }
}

impl Work for Memory {
    fn now(&self) -> Timestamp {
        self.now
    }

    fn random(&mut self, bytes: &mut [u8]) {
        for byte in bytes {
            *byte = super::random::next(&mut self.randomness).to_le_bytes()[3];
        }
    }

    fn state(&mut self, key: &StreamKey, _: bool) -> Result<AnyAggregate, Halt> {
        Ok(Memory::state(self, key.kind, &key.id))
    }

    fn last_sequence(&self, key: &StreamKey) -> i64 {
        self.sequences.get(key).copied().unwrap_or_default()
    }

    fn record(
        &mut self,
        key: &StreamKey,
        state: AnyAggregate,
        events: Vec<AnyEvent>,
    ) -> Result<(), Halt> {
        if events.is_empty() {
            return Ok(());
        }
        self.streams.insert(key.clone(), state);
        if self.written.insert((key.kind, key.id.clone())) {
            for (other, sequence, event) in self.fresh.clone() {
                self.remember(key, &other, sequence, &event);
            }
        }
        for event in events {
            let last = self.sequences.entry(key.clone()).or_default();
            *last += 1;
            let sequence = *last;
            for (kind, id) in self.written.clone() {
                self.remember(&StreamKey { kind, id }, key, sequence, &event);
            }
            self.fresh.push((key.clone(), sequence, event));
        }
        Ok(())
    }

    fn code_owner(&mut self, code: &str) -> Result<Option<ParticipantId>, Halt> {
        Ok(self.codes.get(code).and_then(|owner| ParticipantId::parse(owner)))
    }

    fn default_programs(&mut self) -> Result<Vec<ProgramId>, Halt> {
        Ok(Vec::new())
    }

    fn walk_upline(&mut self, from: &ParticipantId, target: &UserId) -> Result<UplineWalk, Halt> {
        let mut at = from.clone();
        while at.user_id != *target
            && let Some(referrer) = self.referrals.get(&at)
        {
            at.user_id = referrer.clone();
        }
        Ok(UplineWalk { met: at.user_id == *target && at != *from, root: at.user_id })
    }

    fn claim(&mut self, claim: Claim) -> Result<(), Halt> {
        if claim.kind == ClaimKind::Code {
            self.codes.insert(claim.value, claim.owner);
        }
        Ok(())
    }

    fn share_claim(&mut self, _: Claim) -> Result<Option<String>, Halt> {
        Ok(None)
    }

    fn release_claim(&mut self, _: Claim) -> Result<(), Halt> {
        Ok(())
    }

    fn is_erased_address(&mut self, _: &str) -> Result<bool, Halt> {
        Ok(false)
    }

    fn address_of(&mut self, _: &UserId) -> Result<Option<Personal>, Halt> {
        Ok(None)
    }

    fn sign_up_client(&mut self, _: &UserId) -> Result<Option<SignUpClient>, Halt> {
        Ok(None)
    }

    fn latest_referees(&mut self, _: &ParticipantId) -> Result<Vec<Arc<LatestReferee>>, Halt> {
        Ok(Vec::new())
    }

    fn purchases_of(&mut self, search: &PurchaseSearch) -> Result<PurchasePage, Halt> {
        let own = self.purchases.iter().rev().filter(|(of, _)| *of == search.buyer);
        let purchases = own.map(|(_, purchase_id)| purchase_id.clone()).collect();
        Ok(PurchasePage { purchases, next: None })
    }

    fn keyed_hash(&self, purpose: &'static str, value: &str) -> String {
        let mut hasher = DefaultHasher::new();
        (purpose, value).hash(&mut hasher);
        format!("{:016x}", hasher.finish())
    }

    fn is_disposable(&self, domain: &str) -> bool {
        domain == "disposable.example"
    }

    fn write_row(&mut self, row: SideRow) {
        if let SideRow::Referral { referee, referrer, .. } = row {
            self.referrals.insert(referee, referrer);
        }
    }
}
