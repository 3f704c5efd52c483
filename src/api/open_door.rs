//! Sign-ups by callers whom nobody vouches for. Anybody can make any number of them, so they get a small share of the
//! server, whatever they ask for: only so many wait, they are checked by reads before their password is hashed, and
//! what they do in the server rests as long as it has taken.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tonic::Status;

use super::errors::{ApiError, internal, status};
use super::pb::ErrorReason;
use crate::access::passwords::Passwords;
use crate::metrics::{LimitOf, Metrics};
use crate::store::sign_ups::Dropped;
use domain::Refusal;

/// How many open sign-ups may be in the server at once, most of them waiting: at 40 ms each, some ten seconds of them.
const MAX_SIGN_UPS: usize = 256;

/// How many open sign-ups may use the database for their checks at once, so that reads of others find connections.
const MAX_CHECKS: usize = 2;

/// The share of the cores that may hash for open sign-ups, as a divisor: one in four, and at least one.
const CORES_PER_HASH: usize = 4;

/// How long a turn rests at least: there are at most some 200 checks a second and permit.
const MIN_REST: Duration = Duration::from_millis(5);

/// How long a turn rests at most, so that work that had to wait for others does not stop sign-ups.
const MAX_REST: Duration = Duration::from_millis(200);

/// The share of the server that open sign-ups get. Cheap to clone.
#[derive(Clone)]
pub struct OpenDoor {
    is_open: bool,
    places: Arc<Semaphore>,
    checks: Turns,
    hashes: Turns,
    metrics: Metrics,
}

/// Turns of which so many are taken at once, and which rest before they can be taken again.
#[derive(Clone)]
struct Turns(Arc<Semaphore>);

/// A turn to do something. When this is dropped, the turn rests for as long as it was taken.
pub(super) struct Turn {
    permit: Option<OwnedSemaphorePermit>,
    began: Instant,
}

impl Turns {
    fn new(at_once: usize) -> Self {
        Self(Arc::new(Semaphore::new(at_once)))
    }

    async fn take(&self) -> Turn {
        // The semaphore is never closed.
        let permit = self.0.clone().acquire_owned().await.ok();
        Turn { permit, began: Instant::now() }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let rest = self.began.elapsed().clamp(MIN_REST, MAX_REST);
        let permit = self.permit.take();
        if let Ok(runtime) = Handle::try_current() {
            runtime.spawn(async move {
                tokio::time::sleep(rest).await;
                drop(permit);
            });
        }
    }
}

/// A sign-up that has been let in. It makes room for another one when this is dropped.
pub(super) struct Place {
    _permit: OwnedSemaphorePermit,
}

impl OpenDoor {
    /// `is_open` says whether users may sign up themselves.
    pub(super) fn new(is_open: bool, metrics: Metrics) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            is_open,
            places: Arc::new(Semaphore::new(MAX_SIGN_UPS)),
            checks: Turns::new(MAX_CHECKS),
            hashes: Turns::new((cores / CORES_PER_HASH).max(1)),
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
    pub(super) async fn check(&self) -> Turn {
        self.checks.take().await
    }

    /// Hashes a password when there is a turn. Because a turn rests as long as its hash has taken, hashing takes half
    /// of a core at most. The turn ends no sooner if the caller goes away.
    pub(super) async fn hash(
        &self,
        passwords: &Passwords,
        password: String,
    ) -> Result<String, ApiError> {
        let turn = self.hashes.take().await;
        self.metrics.door.sign_ups_hashed.inc();
        let passwords = passwords.clone();
        let hashing = tokio::spawn(async move {
            let hashed = passwords.hash(password).await;
            drop(turn);
            hashed
        });
        Ok(hashing.await.map_err(|_| internal())??)
    }

    /// Counts a sign-up that was answered as if it waited, and was dropped because of a limit.
    pub(super) fn count_dropped(&self, why: Dropped) {
        let limit = match why {
            Dropped::Address => "address",
            Dropped::Owner => "owner",
        };
        self.metrics.door.sign_ups_dropped.get_or_create(&LimitOf { limit }).inc();
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
    use crate::access::passwords::Settings;
    use crate::api::errors::reason_name;
    use tonic_types::StatusExt;

    fn door(is_open: bool) -> OpenDoor {
        OpenDoor::new(is_open, Metrics::default())
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
        let passwords = Passwords::new(Settings::default(), environment);
        let door = door(true);
        let began = Instant::now();
        let one = door.hash(&passwords, "correct horse".into()).await;
        let took = began.elapsed();
        assert!(one.is_ok_and(|hash| hash.starts_with("$argon2id$")));
        // The turn is not free yet, although the first caller has its answer.
        assert_eq!(door.hashes.0.available_permits(), 0);
        assert!(door.hash(&passwords, "battery staple".into()).await.is_ok());
        assert!(began.elapsed() >= took + took.min(MAX_REST), "{took:?} {:?}", began.elapsed());
    }
}
