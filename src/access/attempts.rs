//! Failed logins slow down further attempts: those for the same account, those from the same address, and most of all
//! those for the same account from the same address. Nobody is locked out: the owner of an account that others attack
//! waits two seconds at most, unless they share an address with an attacker.
//!
//! An attempt counts from its beginning. Of the attempts that are made at once, only as many are let in as could still
//! fail without a consequence; the others wait until it is known how those have ended. So a burst of guesses gets as
//! far as the same guesses one after the other.
//!
//! The counts are in memory, bounded, and each server has its own, so that an attacker who spreads attempts over
//! several servers gets that many times as many. A table would cost a write for each attempt, which is what a flood of
//! them should not be able to cause.

use std::hash::{BuildHasher, Hash, RandomState};
use std::net::IpAddr;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use lru::LruCache;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep_until, timeout_at};

/// How many accounts, addresses and pairs of them are remembered: those with the latest attempts.
const MAX_REMEMBERED: NonZeroUsize = NonZeroUsize::MIN.saturating_add(50_000);
/// After how long without a failure the earlier ones are forgotten.
const MEMORY: Duration = Duration::from_mins(15);
/// An attempt that would have to wait longer is refused.
const MAX_WAIT: Duration = Duration::from_secs(10);

/// How failures of one kind slow down.
#[derive(Clone, Copy)]
struct Slowing {
    /// So many failures have no consequence, and so many attempts are let in at once.
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

/// Why an attempt is not made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TooMany {
    /// Attempts have failed; the next one may be made after this time.
    Failures(Duration),
    /// Attempts are being made.
    AtOnce,
}

/// The failures of late.
pub(super) struct Attempts {
    /// Accounts are remembered by a keyed hash of what they were called.
    hasher: RandomState,
    counts: Mutex<Counts>,
}

struct Counts {
    accounts: LruCache<u64, Arc<Gate>>,
    pairs: LruCache<(u64, Option<IpAddr>), Arc<Gate>>,
    addresses: LruCache<IpAddr, Arc<Gate>>,
}

/// An attempt that may be made now. One that is dropped has had no outcome, which its maker could not learn of, and
/// does not count.
pub(super) struct Attempt {
    account: Turn,
    pair: Turn,
    address: Option<Turn>,
}

impl Attempts {
    pub(super) fn new() -> Self {
        let counts = Counts {
            accounts: LruCache::new(MAX_REMEMBERED),
            pairs: LruCache::new(MAX_REMEMBERED),
            addresses: LruCache::new(MAX_REMEMBERED),
        };
        Self { hasher: RandomState::new(), counts: Mutex::new(counts) }
    }

    /// Waits until an attempt may be made.
    ///
    /// # Errors
    /// Why it may not.
    pub(super) async fn begin(
        &self,
        account: &str,
        address: Option<IpAddr>,
    ) -> Result<Attempt, TooMany> {
        let account = self.hasher.hash_one(account);
        let (of_account, of_pair, of_address) = {
            let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
            (
                gate(&mut counts.accounts, account, ACCOUNT),
                gate(&mut counts.pairs, (account, address), PAIR),
                address.map(|address| gate(&mut counts.addresses, address, ADDRESS)),
            )
        };
        let began = Instant::now();
        // Whoever waits because of an account does not take a turn of others at the same address meanwhile.
        let pair = of_pair.take_turn(began + MAX_WAIT).await?;
        let account = of_account.pass(began).await;
        let address = match of_address {
            Some(gate) => Some(gate.take_turn(Instant::now() + MAX_WAIT).await?),
            None => None,
        };
        Ok(Attempt { account, pair, address })
    }
}

fn gate<K: Hash + Eq>(known: &mut LruCache<K, Arc<Gate>>, key: K, slowing: Slowing) -> Arc<Gate> {
    known.get_or_insert(key, || Arc::new(Gate::new(slowing))).clone()
}

/// What attempts of one kind have to pass.
struct Gate {
    slowing: Slowing,
    /// As many permits as attempts may be made at once.
    turns: Arc<Semaphore>,
    failures: Mutex<Failures>,
}

/// Failures of one kind, and attempts that have not ended yet.
struct Failures {
    count: u32,
    last: Instant,
    /// When the next attempt may be made.
    next: Instant,
    /// Attempts that wait or are being made.
    pending: u32,
    /// The permits that there are, also those that are taken.
    turns: u32,
}

/// Counts an attempt as pending for as long as this lives.
struct Pending(Arc<Gate>);

impl Drop for Pending {
    fn drop(&mut self) {
        let mut failures = self.0.failures();
        failures.pending = failures.pending.saturating_sub(1);
    }
}

/// The turn of an attempt.
struct Turn {
    pending: Pending,
    /// None where attempts do not wait for each other.
    permit: Option<OwnedSemaphorePermit>,
}

impl Gate {
    fn new(slowing: Slowing) -> Self {
        let now = Instant::now();
        let failures = Failures { count: 0, last: now, next: now, pending: 0, turns: slowing.free };
        let turns = Arc::new(Semaphore::new(slowing.free as usize));
        Self { slowing, turns, failures: Mutex::new(failures) }
    }

    fn failures(&self) -> MutexGuard<'_, Failures> {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for a turn until `deadline`. An attempt that would have to wait longer, if all before it fail, is
    /// refused at once.
    async fn take_turn(self: &Arc<Self>, deadline: Instant) -> Result<Turn, TooMany> {
        let pending = self.queue(deadline)?;
        let taken = timeout_at(deadline, self.turns.clone().acquire_owned()).await;
        let (next, is_slow) = {
            let failures = self.failures();
            (failures.next, failures.count >= self.slowing.free)
        };
        let Ok(Ok(permit)) = taken else {
            let wait = next.saturating_duration_since(Instant::now()).max(self.slowing.first);
            return Err(if is_slow { TooMany::Failures(wait) } else { TooMany::AtOnce });
        };
        if next > deadline {
            return Err(TooMany::Failures(next.saturating_duration_since(Instant::now())));
        }
        sleep_until(next).await;
        Ok(Turn { pending, permit: Some(permit) })
    }

    fn queue(self: &Arc<Self>, deadline: Instant) -> Result<Pending, TooMany> {
        let now = Instant::now();
        let mut failures = self.failures();
        self.forget_old(&mut failures, now);
        let (count, pending) = (failures.count, failures.pending);
        if count >= self.slowing.free {
            let mut wait = failures.next.saturating_duration_since(now);
            for ahead in 1..=pending {
                wait += self.slowing.delay(count.saturating_add(ahead));
                if now + wait > deadline {
                    break;
                }
            }
            if now + wait > deadline {
                return Err(TooMany::Failures(wait));
            }
        }
        failures.pending = pending.saturating_add(1);
        drop(failures);
        Ok(Pending(self.clone()))
    }

    /// Waits for as long as the failures demand, counting those that pending attempts may become. Others do not wait
    /// for this attempt.
    async fn pass(self: &Arc<Self>, began: Instant) -> Turn {
        let (pending, delay) = {
            let mut failures = self.failures();
            self.forget_old(&mut failures, began);
            let delay = self.slowing.delay(failures.count.saturating_add(failures.pending));
            failures.pending = failures.pending.saturating_add(1);
            (Pending(self.clone()), delay)
        };
        if !delay.is_zero() {
            sleep_until(began + delay).await;
        }
        Turn { pending, permit: None }
    }

    /// Forgets failures whose time is over.
    fn forget_old(&self, failures: &mut Failures, now: Instant) {
        if failures.count > 0 && now.saturating_duration_since(failures.last) >= MEMORY {
            self.forget(failures);
        }
    }

    fn forget(&self, failures: &mut Failures) {
        failures.count = 0;
        failures.next = failures.last;
        let missing = self.slowing.free.saturating_sub(failures.turns);
        self.turns.add_permits(missing as usize);
        failures.turns += missing;
    }
}

impl Turn {
    /// Counts a failure. Its turn is gone, but for the last one.
    fn failed(self) {
        let Self { pending: Pending(gate), permit } = &self;
        let now = Instant::now();
        let mut failures = gate.failures();
        gate.forget_old(&mut failures, now);
        failures.count = failures.count.saturating_add(1);
        failures.last = now;
        failures.next = failures.next.max(now + gate.slowing.delay(failures.count));
        let is_last = failures.turns <= 1;
        if permit.is_some() && !is_last {
            failures.turns -= 1;
        }
        drop(failures);
        let Self { permit, pending } = self;
        if let Some(permit) = permit.filter(|_| !is_last) {
            permit.forget();
        }
        drop(pending);
    }

    /// Forgets the failures.
    fn forgives(self) {
        let gate = &self.pending.0;
        gate.forget(&mut gate.failures());
    }
}

impl Attempt {
    /// The attempt has failed.
    pub(super) fn failed(self) {
        self.account.failed();
        self.pair.failed();
        if let Some(address) = self.address {
            address.failed();
        }
    }

    /// The attempt has succeeded: failures for this account from this address are forgotten.
    pub(super) fn succeeded(self) {
        self.pair.forgives();
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

    use super::*;

    /// As [`PAIR`], and a hundred times as fast.
    const FAST: Slowing =
        Slowing { free: 4, first: Duration::from_millis(5), most: Duration::from_millis(80) };
    const PATIENCE: Duration = Duration::from_millis(100);

    fn fast() -> Arc<Gate> {
        Arc::new(Gate::new(FAST))
    }

    fn later(wait: Duration) -> Instant {
        Instant::now() + wait
    }

    /// Fails once, and says after how long the next attempt may be made.
    async fn fail(gate: &Arc<Gate>) -> Duration {
        gate.take_turn(later(MAX_WAIT)).await.unwrap().failed();
        let failures = gate.failures();
        failures.next.saturating_duration_since(failures.last)
    }

    #[tokio::test]
    async fn failures_slow_down_and_a_success_or_time_forgives_them() {
        let gate = fast();
        let mut waits = Vec::new();
        for _ in 0..10 {
            waits.push(fail(&gate).await.as_millis());
        }
        assert_eq!(waits, [0, 0, 0, 0, 5, 10, 20, 40, 80, 80]);
        gate.take_turn(later(MAX_WAIT)).await.unwrap().forgives();
        assert_eq!((gate.failures().count, gate.turns.available_permits()), (0, 4));
        fail(&gate).await;
        let mut failures = gate.failures();
        assert_eq!((failures.count, gate.turns.available_permits()), (1, 3));
        let long_after = failures.last + MEMORY;
        gate.forget_old(&mut failures, long_after);
        assert_eq!((failures.count, gate.turns.available_permits()), (0, 4));
    }

    #[tokio::test]
    async fn a_burst_of_guesses_gets_as_far_as_guesses_one_after_the_other() {
        let (gate, deadline) = (fast(), later(PATIENCE));
        let guesses = (0..2_000).map(|_| {
            let gate = gate.clone();
            tokio::spawn(async move {
                let turn = gate.take_turn(deadline).await?;
                // The check takes a while, in which its outcome is not known.
                tokio::time::sleep(Duration::from_millis(2)).await;
                turn.failed();
                Ok::<_, TooMany>(())
            })
        });
        let mut made = 0;
        for guess in guesses.collect::<Vec<_>>() {
            made += usize::from(guess.await.unwrap().is_ok());
        }
        // One after the other: 5 at once, the others after 5, 15, 35 and 75 ms, and 155 is too late.
        assert!((4..=9).contains(&made), "{made} guesses");
        assert_eq!(gate.failures().pending, 0);
    }

    #[tokio::test]
    async fn a_burst_of_logins_is_not_slowed_down() {
        let gate = fast();
        let logins = (0..500).map(|_| {
            let gate = gate.clone();
            tokio::spawn(async move {
                let turn = gate.take_turn(later(MAX_WAIT)).await?;
                tokio::task::yield_now().await;
                turn.forgives();
                Ok::<_, TooMany>(())
            })
        });
        for login in logins.collect::<Vec<_>>() {
            login.await.unwrap().unwrap();
        }
        // Those who wait in vain for others to end are not told of failures.
        let turns: Vec<_> = [(); 4].map(|()| gate.take_turn(later(MAX_WAIT))).into();
        let mut taken = Vec::new();
        for turn in turns {
            taken.push(turn.await.unwrap());
        }
        let fifth = gate.take_turn(later(Duration::from_millis(10))).await;
        assert_eq!(fifth.err(), Some(TooMany::AtOnce));
    }

    #[tokio::test]
    async fn what_would_wait_too_long_behind_others_is_refused_at_once() {
        let gate = fast();
        for _ in 0..7 {
            fail(&gate).await;
        }
        // 20 ms, and 40 more after the one that waits. The third would wait for 140 ms.
        let waiting = gate.queue(later(PATIENCE)).unwrap();
        let second = gate.queue(later(PATIENCE)).unwrap();
        let third = gate.queue(later(PATIENCE)).err().unwrap();
        assert!(matches!(third, TooMany::Failures(wait) if wait > PATIENCE), "{third:?}");
        drop((waiting, second));
        assert!(gate.queue(later(PATIENCE)).is_ok());
    }

    #[tokio::test]
    async fn an_attempt_without_an_outcome_does_not_count() {
        let gate = fast();
        for _ in 0..20 {
            drop(gate.take_turn(later(MAX_WAIT)).await.unwrap());
        }
        assert_eq!((gate.failures().count, gate.turns.available_permits()), (0, 4));
    }

    #[tokio::test]
    async fn the_owner_elsewhere_waits_two_seconds_at_most_and_others_do_not_wait() {
        let attempts = Attempts::new();
        let address = |last: u8| Some(IpAddr::from([192, 0, 2, last]));
        let account = {
            attempts.begin("ada", address(1)).await.unwrap().failed();
            let mut counts = attempts.counts.lock().unwrap();
            counts.accounts.get(&attempts.hasher.hash_one("ada")).unwrap().clone()
        };
        account.failures().count = 1_000;
        let began = Instant::now();
        attempts.begin("bob", address(1)).await.unwrap().succeeded();
        assert!(began.elapsed() < Duration::from_secs(1));
        attempts.begin("ada", address(2)).await.unwrap().succeeded();
        let waited = began.elapsed();
        assert!((2..4).contains(&waited.as_secs()), "{waited:?}");
    }

    #[tokio::test]
    async fn whoever_guesses_at_many_accounts_is_slowed_down_at_their_address() {
        let attempts = Attempts::new();
        let address = Some(IpAddr::from([192, 0, 2, 3]));
        let began = Instant::now();
        for account in 0..33 {
            attempts.begin(&account.to_string(), address).await.unwrap().failed();
        }
        // 100 ms after the 31st failure, 200 after the 32nd.
        let took = began.elapsed();
        assert!((300..2_000).contains(&took.as_millis()), "{took:?}");
    }
}
