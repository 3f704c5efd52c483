//! How many calls callers may make: each caller, each address and, for the RPCs that are open to anyone, all
//! addresses together.
//!
//! A limit of 60 allows 60 calls at once, and one more each second. A call that is refused does not count, so a
//! client that retries too early does not wait longer. Calls are checked before their body is read, and back ends
//! without a limit pass without any lock.
//!
//! IPv6 gives one site thousands of networks, so the wider networks around an address have limits as well. Of what all
//! addresses share, a part is for those that have hardly called of late: whoever calls all the time cannot use that up.

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
const CHEAP_OPEN_RPCS: &[&str] =
    &["ConfirmEmail", "RefreshSession", "ValidateReferralCode", SHOW_PAGE, UNSUBSCRIBE];

/// What limits call the request for a page that mails link to, and the request behind its buttons where no RPC does the
/// same.
pub(super) const SHOW_PAGE: &str = "page";
pub(super) const UNSUBSCRIBE: &str = "unsubscribe";

/// How many times as many calls of an open RPC are allowed if it is cheap.
const CHEAP_FACTOR: u32 = 10;

/// How many times as many calls are allowed from an IPv6 network of 56 bits, and of 48 bits, as from one of 64 bits.
const SITE_FACTORS: [u32; 2] = [2, 4];

/// The part of the calls that all addresses share which is for addresses that have hardly called of late, as a divisor.
const NEWCOMERS_SHARE: u32 = 4;

/// How many calls of an open RPC an address makes before it is no newcomer any more, and how long it takes until it may
/// make one more as a newcomer.
const NEWCOMERS_CALLS: NonZeroU32 = NonZeroU32::MIN.saturating_add(2);
const NEWCOMERS_PAUSE: Duration = Duration::from_mins(5);

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
    address: OfAddress<IpAddr>,
    open_address: OpenLimit<OfAddress<(&'static str, IpAddr)>>,
    open: OpenLimit<Option<Shared>>,
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
    /// Waits for the moment of the answer, and returns how long the client has to wait from then on.
    pub async fn pause(self) -> Duration {
        let Self { mut wait, pausing, .. } = self;
        if let Ok(_permit) = pausing.try_acquire() {
            let pause = wait.min(MAX_PAUSE);
            tokio::time::sleep(pause).await;
            wait -= pause;
        }
        wait
    }

    /// The status of the call, after a pause. It says how long to wait from then on.
    pub async fn status(self) -> Status {
        let limit = self.limit;
        let wait = self.pause().await;
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
struct OpenLimit<L> {
    costly: L,
    cheap: L,
}

impl<L> OpenLimit<L> {
    fn new(calls_per_minute: u32, limit: impl Fn(u32) -> L) -> Self {
        Self {
            costly: limit(calls_per_minute),
            cheap: limit(calls_per_minute.saturating_mul(CHEAP_FACTOR)),
        }
    }

    fn of(&self, rpc: &str) -> &L {
        if CHEAP_OPEN_RPCS.contains(&rpc) { &self.cheap } else { &self.costly }
    }
}

/// The limit of addresses: of an address, and of the wider networks around one of IPv6.
struct OfAddress<K: Clone + Eq + Hash> {
    own: Option<Limit<K>>,
    sites: [Option<Limit<K>>; 2],
}

impl<K: Clone + Eq + Hash> OfAddress<K> {
    fn new(calls_per_minute: u32) -> Self {
        let site = |factor| Limit::per_minute(calls_per_minute.saturating_mul(factor));
        Self { own: Limit::per_minute(calls_per_minute), sites: SITE_FACTORS.map(site) }
    }

    /// Takes one call. The narrowest network is first: what it may not do takes nothing from its neighbours.
    fn take(&self, address: ClientAddress, key: impl Fn(IpAddr) -> K) -> Result<(), Duration> {
        take(self.own.as_ref(), &key(address.counted()))?;
        for (limit, site) in self.sites.iter().zip(address.sites().into_iter().flatten()) {
            take(limit.as_ref(), &key(site))?;
        }
        Ok(())
    }
}

/// What all addresses share of each RPC.
struct Shared {
    /// For newcomers only; none if the limit is too low for a part.
    reserve: Option<Limit<&'static str>>,
    rest: Option<Limit<&'static str>>,
    /// Says who is a newcomer.
    newcomers: Limit<(&'static str, IpAddr)>,
}

impl Shared {
    /// So many calls a minute; none if it is 0.
    fn per_minute(calls: u32) -> Option<Self> {
        let reserved = calls / NEWCOMERS_SHARE;
        let quota = Quota::with_period(NEWCOMERS_PAUSE)?.allow_burst(NEWCOMERS_CALLS);
        (calls > 0).then(|| Self {
            reserve: Limit::per_minute(reserved),
            rest: Limit::per_minute(calls - reserved),
            newcomers: Limit::of(quota, MAX_REMEMBERED, DefaultClock::default()),
        })
    }

    /// Takes one call. A newcomer takes it from the reserve, as long as there is something in it.
    fn take(&self, rpc: &'static str, address: Option<ClientAddress>) -> Result<(), Duration> {
        if let Some(reserve) = &self.reserve
            && let Some(address) = address
            && self.newcomers.take(&(rpc, address.widest())).is_ok()
            && reserve.take(&rpc).is_ok()
        {
            return Ok(());
        }
        take(self.rest.as_ref(), &rpc)
    }
}

/// Takes one call, if there is a limit.
fn take<K: Clone + Eq + Hash>(limit: Option<&Limit<K>>, key: &K) -> Result<(), Duration> {
    limit.map_or(Ok(()), |limit| limit.take(key))
}

impl Limits {
    /// Limits of which nothing is used.
    #[must_use]
    pub fn new(rates: &Rates, metrics: Metrics) -> Self {
        Self(Arc::new(Used {
            user: Limit::per_minute(rates.user),
            back_end: Limit::per_minute(rates.back_end),
            address: OfAddress::new(rates.address),
            open_address: OpenLimit::new(rates.open_address, OfAddress::new),
            open: OpenLimit::new(rates.open, Shared::per_minute),
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
            return used.refuse("back_end", take(used.back_end.as_ref(), &name_of(principal)));
        }
        if principal.role().is_some() {
            used.refuse("user", take(used.user.as_ref(), &name_of(principal)))?;
        } else if let Some(address) = address {
            used.refuse("address", used.address.take(address, |address| address))?;
        }
        let Some(Rule { rpc, callers: Callers::Anyone, .. }) = rule else { return Ok(()) };
        used.take_open(rpc, address)
    }

    /// Counts a request for a page that mails link to, or refuses it. `does` is the RPC that does the same, or
    /// [`SHOW_PAGE`] or [`UNSUBSCRIBE`].
    ///
    /// # Errors
    /// [`Limited`] as for a call.
    pub fn admit_page(
        &self,
        address: Option<ClientAddress>,
        does: &'static str,
    ) -> Result<(), Limited> {
        let used = &*self.0;
        if used.exempts_loopback && address.is_some_and(ClientAddress::is_loopback) {
            return Ok(());
        }
        if let Some(address) = address {
            used.refuse("address", used.address.take(address, |address| address))?;
        }
        used.take_open(does, address)
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
    /// Counts a call that anybody may make.
    fn take_open(&self, rpc: &'static str, address: Option<ClientAddress>) -> Result<(), Limited> {
        if let Some(address) = address {
            let taken = self.open_address.of(rpc).take(address, |address| (rpc, address));
            self.refuse("open_address", taken)?;
        }
        let taken = self.open.of(rpc).as_ref().map_or(Ok(()), |shared| shared.take(rpc, address));
        self.refuse("open", taken)
    }

    /// Refuses the call if it could not be taken from the limit of this name, and counts that.
    fn refuse(&self, name: &'static str, taken: Result<(), Duration>) -> Result<(), Limited> {
        let Err(wait) = taken else { return Ok(()) };
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
        Some(Self::of(quota, capacity, clock))
    }

    fn of(quota: Quota, capacity: usize, clock: C) -> Self {
        let limiter = RateLimiter::new(quota, Remembered::new(capacity), clock.clone());
        Self { limiter, clock }
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
