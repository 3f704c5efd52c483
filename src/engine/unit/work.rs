//! What decisions see of a unit of work: the state that the earlier commands of the batch left, what they add, and
//! what has to be loaded first.

use std::sync::Arc;

use super::{CommandStream, Scratch, UnitOfWork};
use crate::engine::cache::Seen;
use crate::store::append::ClaimStep;
use crate::store::{Loaded, RecordedEvent};
use domain::{
    AnyAggregate, AnyEvent, Claim, ClaimKind, Halt, LatestReferee, ParticipantId, Personal,
    ProgramId, PurchasePage, PurchaseSearch, Refusal, SideRow, SignUpClient, StreamKey, Timestamp,
    UplineWalk, UserId, Work,
};

/// Before the beginning of the log: the stream was never read.
const NEVER: i64 = -1;

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
        let Some(stream) = self.streams.get_mut(key) else {
            return Err(Halt::Broken("a stream that was entered is gone"));
        };
        stream.is_wanted |= !self.scratch.in_background;
        stream.is_read_in_background |= self.scratch.in_background;
        self.scratch.builds_on.extend(stream.last_writer);
        let (state, version) = (stream.state.clone(), stream.version);
        let read = CommandStream { state: state.clone(), version, written: false };
        self.scratch.streams.insert(key.clone(), read);
        Ok(state)
    }

    fn last_sequence(&self, key: &StreamKey) -> i64 {
        self.scratch.streams.get(key).map_or(0, |stream| stream.version)
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

    fn sign_up_client(&mut self, user_id: &UserId) -> Result<Option<SignUpClient>, Halt> {
        self.find_client(user_id)
    }

    fn latest_referees(
        &mut self,
        referrer: &ParticipantId,
    ) -> Result<Vec<Arc<LatestReferee>>, Halt> {
        self.find_referees(referrer)
    }

    fn purchases_of(&mut self, search: &PurchaseSearch) -> Result<PurchasePage, Halt> {
        self.find_purchases(search)
    }

    fn keyed_hash(&self, purpose: &'static str, value: &str) -> String {
        self.environment.screening.keys.hash(purpose, value)
    }

    fn is_disposable(&self, domain: &str) -> bool {
        self.environment.screening.disposable.contains(domain)
    }

    fn write_row(&mut self, row: SideRow) {
        self.scratch.entry.rows.push(row);
    }
}
