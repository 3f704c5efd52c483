//! A command tried out: what it would do now, without doing it.

use std::collections::HashMap;
use std::sync::Arc;

use super::{
    AnyAggregate, AnyEvent, Claim, Halt, Kind, LatestReferee, ParticipantId, Personal, ProgramId,
    PurchasePage, PurchaseSearch, SideRow, SignUpClient, StreamKey, Timestamp, UplineWalk, UserId,
    Work,
};

/// A unit of work on top of another one. It reads from that one and keeps every change to itself.
pub(crate) struct Rehearsal<'a> {
    stage: &'a mut dyn Work,
    changed: HashMap<StreamKey, AnyAggregate>,
    /// Each with its stream and its place there.
    events: Vec<(StreamKey, i64, AnyEvent)>,
}

impl<'a> Rehearsal<'a> {
    pub(crate) fn on(stage: &'a mut dyn Work) -> Self {
        Self { stage, changed: HashMap::new(), events: Vec::new() }
    }

    /// What the command would record.
    pub(crate) fn into_events(self) -> Vec<(StreamKey, AnyEvent)> {
        self.events.into_iter().map(|(stream, _, event)| (stream, event)).collect()
    }
}

impl Work for Rehearsal<'_> {
    fn now(&self) -> Timestamp {
        self.stage.now()
    }

    fn random(&mut self, bytes: &mut [u8]) {
        self.stage.random(bytes);
    }

    /// A stream that is expected to be new is new: nothing is appended that could find out otherwise, and the
    /// commands that expect so have read that the user, or the user in the program, does not exist. Only an address
    /// from which people sign up is expected to be new without any reason but that most are.
    fn state(&mut self, key: &StreamKey, expect_new: bool) -> Result<AnyAggregate, Halt> {
        if let Some(state) = self.changed.get(key) {
            return Ok(state.clone());
        }
        if !expect_new || key.kind == Kind::SignUpOrigin {
            return self.stage.state(key, false);
        }
        let state = AnyAggregate::empty(key.kind);
        self.changed.insert(key.clone(), state.clone());
        Ok(state)
    }

    fn last_sequence(&self, key: &StreamKey) -> i64 {
        let own = self.events.iter().filter(|(stream, ..)| stream == key).count();
        self.stage.last_sequence(key).saturating_add(i64::try_from(own).unwrap_or(i64::MAX))
    }

    fn record(
        &mut self,
        key: &StreamKey,
        mut state: AnyAggregate,
        events: Vec<AnyEvent>,
    ) -> Result<(), Halt> {
        // What a later step of the command finds is what it would find if the earlier ones were carried out.
        let is_written = self.events.iter().any(|(stream, ..)| stream == key);
        if key.kind.remembers_commands() && !is_written && !events.is_empty() {
            for (other, sequence, event) in &self.events {
                state.remember(&key.id, other, *sequence, event);
            }
        }
        self.changed.insert(key.clone(), state);
        for event in events {
            let sequence = self.last_sequence(key).saturating_add(1);
            for (other, state) in &mut self.changed {
                let is_written = self.events.iter().any(|(stream, ..)| stream == other);
                if other.kind.remembers_commands() && is_written {
                    state.remember(&other.id, key, sequence, &event);
                }
            }
            self.events.push((key.clone(), sequence, event));
        }
        Ok(())
    }

    fn code_owner(&mut self, code: &str) -> Result<Option<ParticipantId>, Halt> {
        self.stage.code_owner(code)
    }

    fn default_programs(&mut self) -> Result<Vec<ProgramId>, Halt> {
        self.stage.default_programs()
    }

    fn walk_upline(&mut self, from: &ParticipantId, target: &UserId) -> Result<UplineWalk, Halt> {
        self.stage.walk_upline(from, target)
    }

    fn claim(&mut self, _: Claim) -> Result<(), Halt> {
        Ok(())
    }

    /// Nothing that is shared is a reason to refuse a command, so that its owner need not be looked up.
    fn share_claim(&mut self, _: Claim) -> Result<Option<String>, Halt> {
        Ok(None)
    }

    fn release_claim(&mut self, _: Claim) -> Result<(), Halt> {
        Ok(())
    }

    fn is_erased_address(&mut self, address_key: &str) -> Result<bool, Halt> {
        self.stage.is_erased_address(address_key)
    }

    /// What addresses are compared with refuses no command either, and would be looked up for nothing.
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
        self.stage.purchases_of(search)
    }

    fn keyed_hash(&self, purpose: &'static str, value: &str) -> String {
        self.stage.keyed_hash(purpose, value)
    }

    fn is_disposable(&self, domain: &str) -> bool {
        self.stage.is_disposable(domain)
    }

    fn write_row(&mut self, _: SideRow) {}
}
