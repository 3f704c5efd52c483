//! Failed logins slow down further attempts: those for the same account, those from the same address, and most of all
//! those for the same account from the same address. Nobody is locked out: the owner of an account that others attack
//! waits two seconds at most, unless they share an address with an attacker.
//!
//! The counts are in memory, bounded, and each server has its own, so that an attacker who spreads attempts over
//! several servers gets that many times as many. A table would cost a write for each attempt, which is what a flood of
//! them should not be able to cause.

use std::hash::{BuildHasher, Hash, RandomState};
use std::net::IpAddr;
use std::num::NonZeroUsize;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use lru::LruCache;
use tokio::time::Instant;

/// How many accounts, addresses and pairs of them are remembered: those with the latest failures.
const MAX_REMEMBERED: NonZeroUsize = NonZeroUsize::MIN.saturating_add(50_000);
/// After how long without a failure the earlier ones are forgotten.
const MEMORY: Duration = Duration::from_mins(15);
/// An attempt that would have to wait longer is refused.
const MAX_WAIT: Duration = Duration::from_secs(10);

/// How failures of one kind slow down.
struct Slowing {
    /// So many failures have no consequence.
    free: u32,
    /// The delay after the next failure; it doubles with each further one.
    first: Duration,
    /// The longest delay.
    most: Duration,
}

/// Attempts for one account, from wherever: each is delayed, but they do not wait for each other.
const ACCOUNT: Slowing =
    Slowing { free: 10, first: Duration::from_millis(250), most: Duration::from_secs(2) };
/// Attempts for one account from one address: one after the other.
const PAIR: Slowing =
    Slowing { free: 4, first: Duration::from_millis(500), most: Duration::from_secs(8) };
/// Attempts from one address, for whatever account: one after the other.
const ADDRESS: Slowing =
    Slowing { free: 30, first: Duration::from_millis(100), most: Duration::from_secs(1) };

impl Slowing {
    fn delay(&self, failures: u32) -> Duration {
        match failures.checked_sub(self.free) {
            None | Some(0) => Duration::ZERO,
            Some(beyond) => self.first.saturating_mul(1 << (beyond - 1).min(16)).min(self.most),
        }
    }
}

/// Failures of one kind.
#[derive(Clone, Copy)]
struct Failures {
    count: u32,
    last: Instant,
    /// When the next attempt may be made.
    next: Instant,
}

/// The failures of late.
pub(super) struct Attempts {
    /// Accounts are remembered by a keyed hash of what they were called.
    hasher: RandomState,
    counts: Mutex<Counts>,
}

struct Counts {
    accounts: LruCache<u64, Failures>,
    pairs: LruCache<(u64, Option<IpAddr>), Failures>,
    addresses: LruCache<IpAddr, Failures>,
}

/// An attempt that may be made now.
pub(super) struct Attempt<'a> {
    attempts: &'a Attempts,
    account: u64,
    address: Option<IpAddr>,
}

impl Attempts {
    pub(super) fn new() -> Self {
        Self { hasher: RandomState::new(), counts: Mutex::new(Counts::new()) }
    }

    /// Waits until an attempt may be made.
    ///
    /// # Errors
    /// How long to wait, if that is too long.
    pub(super) async fn begin(
        &self,
        account: &str,
        address: Option<IpAddr>,
    ) -> Result<Attempt<'_>, Duration> {
        let account = self.hasher.hash_one(account);
        let now = Instant::now();
        let wait = self.counts().wait(account, address, now)?;
        if !wait.is_zero() {
            tokio::time::sleep_until(now + wait).await;
        }
        Ok(Attempt { attempts: self, account, address })
    }

    fn counts(&self) -> std::sync::MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Counts {
    fn new() -> Self {
        Self {
            accounts: LruCache::new(MAX_REMEMBERED),
            pairs: LruCache::new(MAX_REMEMBERED),
            addresses: LruCache::new(MAX_REMEMBERED),
        }
    }

    /// How long an attempt has to wait, and the turn that it takes.
    fn wait(
        &mut self,
        account: u64,
        address: Option<IpAddr>,
        now: Instant,
    ) -> Result<Duration, Duration> {
        let mut wait = recent(&mut self.accounts, &account, now)
            .map_or(Duration::ZERO, |failures| ACCOUNT.delay(failures.count));
        let mut turns = Vec::new();
        if let Some(failures) = recent(&mut self.pairs, &(account, address), now) {
            turns.push((failures, PAIR));
        }
        if let Some(address) = address
            && let Some(failures) = recent(&mut self.addresses, &address, now)
        {
            turns.push((failures, ADDRESS));
        }
        for (failures, _) in &turns {
            wait = wait.max(failures.next.saturating_duration_since(now));
        }
        if wait > MAX_WAIT {
            return Err(wait);
        }
        for (failures, slowing) in turns {
            failures.next = now + wait + slowing.delay(failures.count);
        }
        Ok(wait)
    }

    fn fail(&mut self, account: u64, address: Option<IpAddr>, now: Instant) {
        count(&mut self.accounts, account, &ACCOUNT, now);
        count(&mut self.pairs, (account, address), &PAIR, now);
        if let Some(address) = address {
            count(&mut self.addresses, address, &ADDRESS, now);
        }
    }
}

/// The failures that are not forgotten.
fn recent<'a, K: Hash + Eq>(
    known: &'a mut LruCache<K, Failures>,
    key: &K,
    now: Instant,
) -> Option<&'a mut Failures> {
    known.peek_mut(key).filter(|failures| now.saturating_duration_since(failures.last) < MEMORY)
}

fn count<K: Hash + Eq>(known: &mut LruCache<K, Failures>, key: K, slowing: &Slowing, now: Instant) {
    let before = recent(known, &key, now).copied();
    let before = before.unwrap_or(Failures { count: 0, last: now, next: now });
    let count = before.count.saturating_add(1);
    let next = before.next.max(now + slowing.delay(count));
    known.put(key, Failures { count, last: now, next });
}

impl Attempt<'_> {
    /// The attempt has failed.
    pub(super) fn failed(self) {
        self.attempts.counts().fail(self.account, self.address, Instant::now());
    }

    /// The attempt has succeeded: failures for this account from this address are forgotten.
    pub(super) fn succeeded(self) {
        self.attempts.counts().pairs.pop(&(self.account, self.address));
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

    use super::*;

    /// Attempts that fail, by a clock of their own.
    struct Guesses {
        counts: Counts,
        now: Instant,
    }

    impl Guesses {
        fn new() -> Self {
            Self { counts: Counts::new(), now: Instant::now() }
        }

        /// How long an attempt waits, if it may be made.
        fn wait(&mut self, account: u64, from: u8) -> Option<Duration> {
            self.counts.wait(account, Some(address(from)), self.now).ok()
        }

        /// Makes an attempt and lets the clock go on for as long as it waits.
        fn fail(&mut self, account: u64, from: u8) -> Duration {
            let wait = self.wait(account, from).unwrap();
            self.now += wait;
            self.counts.fail(account, Some(address(from)), self.now);
            wait
        }
    }

    fn address(last: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, last])
    }

    #[test]
    fn failures_slow_down_and_the_owner_elsewhere_waits_two_seconds_at_most() {
        let mut guesses = Guesses::new();
        let (ana, bob) = (1, 2);
        let waits: Vec<_> = (0..9).map(|_| guesses.fail(ana, 1).as_millis()).collect();
        assert_eq!(waits, [0, 0, 0, 0, 0, 500, 1_000, 2_000, 4_000]);
        let began = guesses.now;
        for _ in 0..20 {
            guesses.fail(ana, 1);
        }
        assert_eq!(guesses.now - began, Duration::from_secs(20 * 8));
        // The owner elsewhere, and others from the same address.
        assert_eq!(guesses.wait(ana, 2), Some(Duration::from_secs(2)));
        assert_eq!(guesses.wait(bob, 1), Some(Duration::ZERO));
        guesses.now += MEMORY;
        assert_eq!(guesses.fail(ana, 1), Duration::ZERO);
    }

    #[test]
    fn attempts_that_are_made_at_once_take_turns_and_some_are_refused() {
        let mut guesses = Guesses::new();
        let ana = 1;
        for _ in 0..8 {
            guesses.fail(ana, 1);
        }
        let at_once: Vec<_> = (0..10).map(|_| guesses.wait(ana, 1)).collect();
        let allowed: Vec<_> = at_once.iter().flatten().map(Duration::as_secs).collect();
        assert_eq!(allowed, [4, 8], "{at_once:?}");
    }

    #[test]
    fn whoever_guesses_at_many_accounts_is_slowed_down_at_their_address() {
        let mut guesses = Guesses::new();
        for account in 10..50 {
            guesses.fail(account, 3);
        }
        let zoe = 1;
        assert_eq!(guesses.wait(zoe, 3), Some(Duration::from_secs(1)));
        assert_eq!(guesses.wait(zoe, 4), Some(Duration::ZERO));
    }
}
