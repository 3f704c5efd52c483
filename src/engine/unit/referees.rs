//! The look-ups of fraud checks: addresses of users, and the participants whom somebody referred last.
//!
//! Both are read from tables, which know nothing of the batch that is being appended and of this one. What was looked
//! up comes with the version of the stream on which it depends, read at the same moment. If the decision's own version
//! of the stream is older, the append finds the stream moved. If it is newer, the difference must be known here.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::UnitOfWork;
use crate::store::append::Entry;
use crate::store::evidence::{KnownAddress, KnownClient, KnownReferees};
use domain::fraud::LATEST_REFEREES;
use domain::{
    ClaimKind, Halt, LatestReferee, Participant, ParticipantId, Personal, SideRow, SignUpClient,
    StreamKey, Timestamp, User, UserId, Work,
};

/// A referee whom a command of the batch has added.
#[derive(Clone)]
pub(in crate::engine) struct AddedReferee {
    user_id: UserId,
    refer_time: Timestamp,
    /// The address at that time, if it was known.
    address: Option<Personal>,
}

/// What was looked up, and how much of it there is.
#[derive(Default)]
pub(super) struct Evidence {
    /// The owners of values that can be shared.
    pub(super) owners: HashMap<(ClaimKind, String), Option<String>>,
    addresses: HashMap<UserId, KnownAddress>,
    clients: HashMap<UserId, KnownClient>,
    /// From where those signed up whom commands of the batch have registered; `None` if a user was erased.
    new_clients: HashMap<UserId, Option<SignUpClient>>,
    latest: HashMap<ParticipantId, KnownReferees>,
    /// The addresses that commands of the batch have given to users; `None` if a user was erased.
    changed: HashMap<UserId, Option<Personal>>,
    /// The users whom commands of the batch have erased, with the commands.
    pub(super) erased: HashMap<String, usize>,
    /// How often something was learnt that was not known before.
    pub(super) learnt: usize,
}

impl Evidence {
    /// Notes that a command of the batch has given an address to a user.
    pub(super) fn change_address(&mut self, user_id: &str, address: Option<&str>) {
        if let Ok(user_id) = UserId::parse(user_id) {
            self.changed.insert(user_id, address.map(|address| Personal(address.into())));
        }
    }

    /// The address of a user as of now, if it is known.
    fn address(&self, user_id: &UserId) -> Option<Personal> {
        match self.changed.get(user_id) {
            Some(address) => address.clone(),
            None => self.addresses.get(user_id)?.address.clone(),
        }
    }
}

impl UnitOfWork<'_> {
    /// Notes the rows of a command that is kept, with its number in the batch.
    pub(super) fn keep_rows(&mut self, entry: &Entry, command: usize) {
        for row in &entry.rows {
            match row {
                SideRow::Referral { referee, referrer, refer_time } => {
                    let referrer = ParticipantId::new(&referee.program_id, referrer);
                    let user_id = referee.user_id.clone();
                    let address = self.evidence.address(&user_id);
                    if let Some(stream) =
                        self.streams.get_mut(&StreamKey::of::<Participant>(&referrer))
                    {
                        let refer_time = *refer_time;
                        stream.added.push(AddedReferee { user_id, refer_time, address });
                    }
                }
                SideRow::SignUpClient(client) => {
                    let user_id = client.user_id.clone();
                    self.evidence.new_clients.insert(user_id, Some(client.clone()));
                }
                SideRow::Erasure(user_id) => {
                    self.evidence.change_address(user_id.as_str(), None);
                    self.evidence.new_clients.insert(user_id.clone(), None);
                    self.evidence.erased.insert(user_id.to_string(), command);
                    self.outdate_referees(entry);
                }
                SideRow::ProfileChange(change) if change.email.is_some() => {
                    self.outdate_referees(entry);
                }
                _ => {}
            }
        }
    }

    /// Notes that a command has changed the address of a user: whoever referred the user has been told by an event.
    fn outdate_referees(&mut self, entry: &Entry) {
        for event in &entry.events {
            if let Some(stream) = self.streams.get_mut(&event.stream) {
                stream.has_other_addresses = true;
            }
        }
    }

    pub(super) fn find_address(&mut self, user_id: &UserId) -> Result<Option<Personal>, Halt> {
        let key = StreamKey::of::<User>(user_id);
        if let Err(halt) = self.state(&key, false) {
            // The address is loaded together with the stream.
            self.missing.addresses.insert(user_id.clone());
            return Err(halt);
        }
        if let Some(address) = self.evidence.changed.get(user_id) {
            return Ok(address.clone());
        }
        let before = self.streams.get(&key).and_then(|of| self.batch.stream_version(of.place));
        match self.evidence.addresses.get(user_id) {
            Some(known) if Some(known.version) >= before => Ok(known.address.clone()),
            _ => {
                self.missing.addresses.insert(user_id.clone());
                Err(Halt::Missing)
            }
        }
    }

    pub(super) fn find_client(&mut self, user_id: &UserId) -> Result<Option<SignUpClient>, Halt> {
        let key = StreamKey::of::<User>(user_id);
        if let Err(halt) = self.state(&key, false) {
            self.missing.clients.insert(user_id.clone());
            return Err(halt);
        }
        if let Some(client) = self.evidence.new_clients.get(user_id) {
            return Ok(client.clone());
        }
        let before = self.streams.get(&key).and_then(|of| self.batch.stream_version(of.place));
        match self.evidence.clients.get(user_id) {
            Some(known) if Some(known.version) >= before => Ok(known.client.clone()),
            _ => {
                self.missing.clients.insert(user_id.clone());
                Err(Halt::Missing)
            }
        }
    }

    pub(super) fn find_referees(
        &mut self,
        referrer: &ParticipantId,
    ) -> Result<Vec<Arc<LatestReferee>>, Halt> {
        let key = StreamKey::of::<Participant>(referrer);
        if let Err(halt) = self.state(&key, false) {
            self.missing.referees.insert(referrer.clone());
            return Err(halt);
        }
        let Some(stream) = self.streams.get(&key) else {
            return Err(Halt::Broken("a stream that was entered is gone"));
        };
        let reaches = |known: &&KnownReferees| known.version >= stream.known_version;
        let Some(known) = self.evidence.latest.get(referrer).filter(reaches) else {
            self.missing.referees.insert(referrer.clone());
            return Err(Halt::Missing);
        };
        let new = stream.added.iter().rev().chain(stream.added_before.iter().rev());
        let new: Vec<AddedReferee> = new.take(LATEST_REFEREES).cloned().collect();
        let added: HashSet<&UserId> = new.iter().map(|of| &of.user_id).collect();
        let earlier = known.latest.iter().filter(|of| !added.contains(&of.user_id));
        let earlier: Vec<_> = earlier.take(LATEST_REFEREES - new.len()).cloned().collect();
        let mut latest = Vec::with_capacity(new.len() + earlier.len());
        for AddedReferee { user_id, refer_time, address } in new {
            let address = match self.evidence.changed.get(&user_id).cloned().unwrap_or(address) {
                None => self.find_address(&user_id)?,
                known => known,
            };
            latest.push(Arc::new(LatestReferee { user_id, refer_time, address }));
        }
        latest.extend(earlier.into_iter().map(|of| match self.evidence.changed.get(&of.user_id) {
            Some(address) => {
                Arc::new(LatestReferee { address: address.clone(), ..of.as_ref().clone() })
            }
            None => of,
        }));
        Ok(latest)
    }

    pub(in crate::engine) fn learn_address(&mut self, user_id: UserId, known: KnownAddress) {
        let before = self.evidence.addresses.get(&user_id).map(|before| before.version);
        self.evidence.learnt += usize::from(Some(known.version) > before);
        self.evidence.addresses.insert(user_id, known);
    }

    pub(in crate::engine) fn learn_client(&mut self, user_id: UserId, known: KnownClient) {
        let before = self.evidence.clients.get(&user_id).map(|before| before.version);
        self.evidence.learnt += usize::from(Some(known.version) > before);
        self.evidence.clients.insert(user_id, known);
    }

    pub(in crate::engine) fn learn_referees(
        &mut self,
        referrer: ParticipantId,
        known: KnownReferees,
    ) {
        let before = self.evidence.latest.get(&referrer).map(|before| before.version);
        self.evidence.learnt += usize::from(Some(known.version) > before);
        self.evidence.latest.insert(referrer, known);
    }
}
