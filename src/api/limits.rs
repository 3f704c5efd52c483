//! How many calls callers may make: each caller, each address and, for the RPCs that are open to anyone, all
//! addresses together.
//!
//! A limit of 60 allows 60 calls at once, and one more each second. A call that is refused does not count, so a
//! client that retries too early does not wait longer. Calls are checked before their body is read, and back ends
//! without a limit pass without any lock.

use std::hash::Hash;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use governor::clock::{Clock, DefaultClock};
use governor::middleware::NoOpMiddleware;
use governor::nanos::Nanos;
use governor::state::StateStore;
use governor::{Quota, RateLimiter};
use lru::LruCache;
use tokio::sync::Semaphore;
use tonic::Status;

use super::errors::{retry_after, status};
use super::pb::ErrorReason;
use super::peer::ClientAddress;
use super::permissions::{Callers, Rule};
use crate::access::Principal;
use crate::metrics::{LimitOf, Metrics};
use crate::occasionally::Occasionally;

/// How many callers or addresses one limit remembers, some 150 bytes each. The one that has been silent longest is
/// forgotten first, and begins anew.
const MAX_REMEMBERED: usize = 50_000;

/// Open RPCs that cost about as much as any other read. The others hash a password, write a row or send a mail.
const CHEAP_OPEN_RPCS: &[&str] = &["ConfirmEmail", "RefreshSession", "ValidateReferralCode"];

/// How many times as many calls of an open RPC are allowed if it is cheap.
const CHEAP_FACTOR: u32 = 10;

/// How long a call that is refused waits for its answer at most: a client in a tight loop costs less that way.
const MAX_PAUSE: Duration = Duration::from_millis(100);

/// How many refused calls may wait for their answer at once.
const MAX_PAUSING: usize = 1_000;

/// How often the log says that calls are refused.
const COMPLAINT_INTERVAL: Duration = Duration::from_mins(1);

/// Limits in calls a minute; 0 is no limit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rates {
    /// Calls of one user, with all sessions and keys of theirs.
    pub user: u32,
    /// Calls of one back end: a key or person of the role `service`, `operator` or `admin`.
    pub back_end: u32,
    /// Calls without valid credentials from one address.
    pub address: u32,
    /// Calls of one open RPC from one address, except by back ends.
    pub open_address: u32,
    /// Calls of one open RPC from all addresses together, except by back ends.
    pub open: u32,
    /// Whether calls from this machine are not counted.
    pub exempts_loopback: bool,
}

impl Default for Rates {
    fn default() -> Self {
        Self {
            user: 1_200,
            back_end: 0,
            address: 3_000,
            open_address: 60,
            open: 1_200,
            exempts_loopback: false,
        }
    }
}

/// The limits of a server, and what callers have used of them. Cheap to clone.
#[derive(Clone)]
pub struct Limits(Arc<Used>);

struct Used {
    user: Option<Limit<String>>,
    back_end: Option<Limit<String>>,
    address: Option<Limit<IpAddr>>,
    open_address: OpenLimit<(&'static str, IpAddr)>,
    open: OpenLimit<&'static str>,
    exempts_loopback: bool,
    metrics: Metrics,
    complaints: Mutex<Occasionally>,
    pausing: Arc<Semaphore>,
}

/// A call that was refused.
pub struct Limited {
    /// The name of the limit.
    limit: &'static str,
    /// The time until there is a call again.
    wait: Duration,
    pausing: Arc<Semaphore>,
}

impl Limited {
    /// The status of the call, after a pause. It says how long to wait from then on.
    pub async fn status(self) -> Status {
        let Self { limit, mut wait, pausing } = self;
        if let Ok(_permit) = pausing.try_acquire() {
            let pause = wait.min(MAX_PAUSE);
            tokio::time::sleep(pause).await;
            wait -= pause;
        }
        let who = match limit {
            "user" => "this user",
            "back_end" => "this back end",
            "open" => "all callers together",
            _ => "this address",
        };
        let message = format!("too many calls by {who}; wait before the next one");
        retry_after(&status(ErrorReason::RateLimited, message, &[("limit", &limit)]), wait)
    }
}

/// The limit of open RPCs: of those that cost much, and of the cheap ones.
struct OpenLimit<K: Clone + Eq + Hash> {
    costly: Option<Limit<K>>,
    cheap: Option<Limit<K>>,
}

impl<K: Clone + Eq + Hash> OpenLimit<K> {
    fn new(calls_per_minute: u32) -> Self {
        Self {
            costly: Limit::per_minute(calls_per_minute),
            cheap: Limit::per_minute(calls_per_minute.saturating_mul(CHEAP_FACTOR)),
        }
    }

    fn of(&self, rpc: &str) -> Option<&Limit<K>> {
        if CHEAP_OPEN_RPCS.contains(&rpc) { self.cheap.as_ref() } else { self.costly.as_ref() }
    }
}

impl Limits {
    /// Limits of which nothing is used.
    #[must_use]
    pub fn new(rates: &Rates, metrics: Metrics) -> Self {
        Self(Arc::new(Used {
            user: Limit::per_minute(rates.user),
            back_end: Limit::per_minute(rates.back_end),
            address: Limit::per_minute(rates.address),
            open_address: OpenLimit::new(rates.open_address),
            open: OpenLimit::new(rates.open),
            exempts_loopback: rates.exempts_loopback,
            metrics,
            complaints: Mutex::new(Occasionally::every(COMPLAINT_INTERVAL)),
            pausing: Arc::new(Semaphore::new(MAX_PAUSING)),
        }))
    }

    /// Counts a call, or refuses it. `rule` is the row of its RPC; none for services outside of the contract.
    ///
    /// # Errors
    /// [`Limited`] with the time after which the call will be admitted.
    pub fn admit(
        &self,
        principal: &Principal,
        address: Option<ClientAddress>,
        rule: Option<&'static Rule>,
    ) -> Result<(), Limited> {
        let used = &*self.0;
        if principal.is_back_end() && used.back_end.is_none() {
            return Ok(());
        }
        if used.exempts_loopback && address.is_some_and(ClientAddress::is_loopback) {
            return Ok(());
        }
        if principal.is_back_end() {
            return used.take("back_end", used.back_end.as_ref(), || name_of(principal));
        }
        let address = address.map(ClientAddress::counted);
        if principal.role().is_some() {
            used.take("user", used.user.as_ref(), || name_of(principal))?;
        } else if let Some(address) = address {
            used.take("address", used.address.as_ref(), || address)?;
        }
        let Some(Rule { rpc, callers: Callers::Anyone, .. }) = rule else { return Ok(()) };
        if let Some(address) = address {
            let limit = used.open_address.of(rpc);
            used.take("open_address", limit, || (*rpc, address))?;
        }
        used.take("open", used.open.of(rpc), || *rpc)
    }
}

/// Identifies a caller with credentials: a user, or a key of a back end.
fn name_of(principal: &Principal) -> String {
    match principal {
        Principal::User { user_id, .. } | Principal::Key { user_id: Some(user_id), .. } => {
            user_id.to_string()
        }
        // No id of a user has a blank.
        Principal::Key { id: Some(id), .. } => format!("key {id}"),
        Principal::Key { id: None, .. } | Principal::Anonymous => String::new(),
    }
}

impl Used {
    /// Counts a call for the one who makes it.
    fn take<K: Clone + Eq + Hash>(
        &self,
        name: &'static str,
        limit: Option<&Limit<K>>,
        key: impl FnOnce() -> K,
    ) -> Result<(), Limited> {
        let Some(limit) = limit else { return Ok(()) };
        let Err(wait) = limit.take(&key()) else { return Ok(()) };
        self.metrics.door.calls_limited.get_or_create(&LimitOf { limit: name }).inc();
        let mut complaints = self.complaints.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(others) = complaints.now() {
            let hint = match name {
                "address" | "open_address" => "; if it is a proxy, name it in trusted_proxies",
                _ => "",
            };
            tracing::warn!(limit = name, others, "a call was refused by a limit of calls{hint}");
        }
        Err(Limited { limit: name, wait, pausing: self.pausing.clone() })
    }
}

type Limiter<K, C> = RateLimiter<K, Remembered<K>, C, NoOpMiddleware<<C as Clock>::Instant>>;

/// One limit, for each caller by itself.
struct Limit<K: Clone + Eq + Hash, C: Clock = DefaultClock> {
    limiter: Limiter<K, C>,
    clock: C,
}

impl<K: Clone + Eq + Hash> Limit<K> {
    /// So many calls at once, and as many a minute; none if it is 0.
    fn per_minute(calls: u32) -> Option<Self> {
        Self::new(calls, MAX_REMEMBERED, DefaultClock::default())
    }
}

impl<K: Clone + Eq + Hash, C: Clock + Clone> Limit<K, C> {
    fn new(calls_per_minute: u32, capacity: usize, clock: C) -> Option<Self> {
        let quota = Quota::per_minute(NonZeroU32::new(calls_per_minute)?);
        let limiter = RateLimiter::new(quota, Remembered::new(capacity), clock.clone());
        Some(Self { limiter, clock })
    }

    /// Takes one call, or returns the time until there is one.
    fn take(&self, key: &K) -> Result<(), Duration> {
        self.limiter.check_key(key).map_err(|until| until.wait_time_from(self.clock.now()))
    }
}

/// What callers have used, of a bounded number of callers.
struct Remembered<K: Eq + Hash> {
    capacity: usize,
    used: Mutex<LruCache<K, Nanos>>,
}

impl<K: Eq + Hash> Remembered<K> {
    fn new(capacity: usize) -> Self {
        // A bounded cache would take its memory at once.
        Self { capacity, used: Mutex::new(LruCache::unbounded()) }
    }
}

impl<K: Clone + Eq + Hash> StateStore for Remembered<K> {
    type Key = K;

    fn measure_and_replace<T, F, E>(&self, key: &K, measure: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = used.get_mut(key) {
            let (measured, next) = measure(Some(*known))?;
            *known = next;
            return Ok(measured);
        }
        let (measured, next) = measure(None)?;
        if used.len() >= self.capacity {
            used.pop_lru();
        }
        used.put(key.clone(), next);
        Ok(measured)
    }
}

#[cfg(test)]
#[path = "limits_tests.rs"]
mod tests;
