//! Sign-ups by callers whom nobody vouches for. Anybody can make any number of them, so they get a small share of the
//! server, whatever they cost: only so many wait, they are checked cheaply before they are hashed, and hashing rests.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, SemaphorePermit, oneshot};
use tonic::Status;

use super::errors::{ApiError, internal, status};
use super::passwords::Passwords;
use super::pb::ErrorReason;
use crate::metrics::Metrics;
use domain::Refusal;

/// How many open sign-ups may be in the server at once, most of them waiting: at 40 ms each, some ten seconds of them.
const MAX_SIGN_UPS: usize = 256;

/// How many open sign-ups may use the database for their checks at once, so that reads of others find connections.
const MAX_CHECKS: usize = 2;

/// The share of the cores that may hash for open sign-ups, as a divisor: one in four, and at least one.
const CORES_PER_HASH: usize = 4;

/// How long a hash lasts at most of which the rest afterwards takes account, so that a hash that had to wait for
/// others does not stop sign-ups.
const MAX_REST: Duration = Duration::from_millis(200);

/// The share of the server that open sign-ups get. Cheap to clone.
#[derive(Clone)]
pub struct OpenDoor {
    is_open: bool,
    places: Arc<Semaphore>,
    checks: Arc<Semaphore>,
    hashes: Arc<Semaphore>,
    metrics: Metrics,
}

/// A sign-up that has been let in. It makes room for another one when this is dropped.
pub(super) struct Place {
    _permit: OwnedSemaphorePermit,
}

impl OpenDoor {
    /// `is_open` says whether users may sign up themselves.
    pub(super) fn new(is_open: bool, cores: usize, metrics: Metrics) -> Self {
        let semaphore = |permits| Arc::new(Semaphore::new(permits));
        Self {
            is_open,
            places: semaphore(MAX_SIGN_UPS),
            checks: semaphore(MAX_CHECKS),
            hashes: semaphore((cores / CORES_PER_HASH).max(1)),
            metrics,
        }
    }

    /// Checks that users may sign up themselves.
    #[allow(clippy::result_large_err, reason = "a status is what callers return")]
    pub(super) fn check_open(&self) -> Result<(), Status> {
        if self.is_open {
            return Ok(());
        }
        let message = "this server takes sign-ups from back ends only";
        Err(status(ErrorReason::SelfRegistrationClosed, message, &[]))
    }

    /// Lets a sign-up in, unless too many are waiting.
    #[allow(clippy::result_large_err, reason = "a status is what callers return")]
    pub(super) fn enter(&self) -> Result<Place, Status> {
        let Ok(permit) = self.places.clone().try_acquire_owned() else {
            let message = "too many sign-ups are waiting; this one was not recorded";
            return Err(status(ErrorReason::QueueFull, message, &[]));
        };
        Ok(Place { _permit: permit })
    }

    /// Waits for a turn to check a sign-up against the database.
    pub(super) async fn check(&self) -> Option<SemaphorePermit<'_>> {
        // The semaphore is never closed.
        self.checks.acquire().await.ok()
    }

    /// Hashes a password when there is a turn. A turn ends when the hash is made and as much time again has passed, so
    /// that hashing takes half of a core at most, and ends no sooner if the caller goes away.
    pub(super) async fn hash(
        &self,
        passwords: &Passwords,
        password: String,
    ) -> Result<String, ApiError> {
        let turn = self.hashes.clone().acquire_owned().await.map_err(|_| internal())?;
        let (tell, told) = oneshot::channel();
        let passwords = passwords.clone();
        tokio::spawn(async move {
            let began = Instant::now();
            let hashed = passwords.hash(password).await;
            let rest = began.elapsed().min(MAX_REST);
            // A caller that has gone away needs no hash.
            let _ = tell.send(hashed);
            tokio::time::sleep(rest).await;
            drop(turn);
        });
        told.await.map_err(|_| internal())?
    }

    /// What a sign-up is told that was refused: of names that are taken, the username, and only if that is free, that
    /// the address has an account. Whoever finds out about an address thus makes an account if there is none, and is
    /// counted if there is one.
    pub(super) fn discreet(&self, refused: ApiError) -> ApiError {
        if refused.is(ErrorReason::UsernameTaken) {
            return Refusal::Taken(vec!["username"]).into();
        }
        if refused.is(ErrorReason::EmailTaken) {
            self.metrics.door.addresses_told.inc();
        }
        refused
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

    use super::*;
    use crate::api::errors::reason_name;
    use tonic_types::StatusExt;

    fn door(is_open: bool) -> OpenDoor {
        OpenDoor::new(is_open, 2, Metrics::default())
    }

    fn reason(status: &Status) -> String {
        status.get_error_details().error_info().unwrap().reason.clone()
    }

    #[test]
    fn so_many_sign_ups_wait_and_further_ones_are_told_to_come_later() {
        let door = door(true);
        let mut places: Vec<_> = (0..MAX_SIGN_UPS).map(|_| door.enter().unwrap()).collect();
        let refused = door.enter().map(drop).unwrap_err();
        assert_eq!(reason(&refused), reason_name(ErrorReason::QueueFull));
        places.pop();
        assert!(door.enter().is_ok());
        assert!(door.check_open().is_ok());
    }

    #[test]
    fn a_taken_address_is_told_only_if_the_username_is_free_and_is_counted() {
        let door = door(true);
        let both = door.discreet(Refusal::Taken(vec!["username", "email"]).into());
        assert!(both.is(ErrorReason::UsernameTaken));
        let details = both.0.get_error_details();
        let fields: Vec<_> = details.bad_request().unwrap().field_violations.iter().collect();
        assert_eq!(fields.len(), 1, "{fields:?}");
        assert_eq!(fields[0].field, "username");
        assert!(!both.0.message().contains("mail"), "{}", both.0.message());
        assert_eq!(door.metrics.door.addresses_told.get(), 0);
        let address = door.discreet(Refusal::Taken(vec!["email"]).into());
        assert!(address.is(ErrorReason::EmailTaken));
        assert_eq!(door.metrics.door.addresses_told.get(), 1);
    }

    #[tokio::test]
    async fn hashing_rests_as_long_as_it_took() {
        let environment = crate::engine::Environment::of_this_machine().unwrap();
        let passwords = Passwords::new(2, environment);
        let door = door(true);
        let began = Instant::now();
        let one = door.hash(&passwords, "correct horse".into()).await;
        let took = began.elapsed();
        assert!(one.is_ok_and(|hash| hash.starts_with("$argon2id$")));
        // The turn is not free yet, although the first caller has its answer.
        assert_eq!(door.hashes.available_permits(), 0);
        assert!(door.hash(&passwords, "battery staple".into()).await.is_ok());
        assert!(began.elapsed() >= took + took.min(MAX_REST), "{took:?} {:?}", began.elapsed());
    }
}
