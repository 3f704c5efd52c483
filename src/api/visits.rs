//! Visits of the page that shared links lead to: who counts as a visitor, and the counts that wait to be written.
//!
//! Counting costs a request next to nothing: counts wait in memory, and a task adds them to the database about once a
//! second and when the server stops. An address counts once per code and day. It is remembered as a hash only, keyed by
//! a secret that lives as long as the day and is never written, and each server remembers for itself.

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hmac::{Hmac, Mac};
use http::{HeaderMap, Method, header};
use lru::LruCache;
use sha2::Sha256;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::peer::ClientAddress;
use crate::engine::Environment;
use crate::occasionally::Occasionally;
use crate::store::visits::{self, Counted};
use crate::store::{Database, StoreError, in_time};
use domain::{ClaimKind, Timestamp};

/// How often what was counted is written.
const INTERVAL: Duration = Duration::from_secs(1);
/// How many pairs of address and code are remembered, some 100 bytes each. The one that was seen longest ago is
/// forgotten first, and would count again.
const MAX_SEEN: usize = 100_000;
/// How many pairs of code and day may wait while the database is away. Visits of others are not counted then.
const MAX_WAITING: usize = 20_000;
/// How often the log says that counts cannot be written.
const COMPLAINT_INTERVAL: Duration = Duration::from_mins(1);
const MICROS_PER_DAY: i64 = 24 * 60 * 60 * Timestamp::PER_SECOND;

/// What programs call themselves that fetch pages for nobody who reads them now.
const CRAWLERS: &[&str] = &[
    "bot",
    "crawl",
    "spider",
    "preview",
    "slurp",
    "facebookexternalhit",
    "whatsapp",
    "headless",
    "lighthouse",
    "monitor",
    "scan",
    "fetch",
    "curl/",
    "wget/",
    "python",
    "go-http",
    "java/",
    "okhttp",
    "libwww",
];
/// What has the word of a crawler in its name and is none: a make of phones.
const NO_CRAWLERS: &str = "cubot";

/// Headers by which browsers say that they open a page ahead, before anybody has asked for it.
const AHEAD: &[&str] = &["sec-purpose", "purpose", "x-purpose", "x-moz"];

/// The counts of a server. Cheap to clone.
#[derive(Clone)]
pub(super) struct Visits(Arc<Shared>);

struct Shared {
    environment: Environment,
    counts: Mutex<Counts>,
}

struct Counts {
    day: i32,
    /// The secret of the day.
    key: [u8; 32],
    seen: LruCache<[u8; 16], ()>,
    /// What is to be written, by code and day.
    waiting: HashMap<(String, i32), i64>,
}

/// Whether a page is fetched ahead, or only asked about: nobody looks at it.
pub(super) fn is_ahead(method: &Method, headers: &HeaderMap) -> bool {
    let says = |name: &&str| {
        let value = headers.get(*name).and_then(|value| value.to_str().ok()).unwrap_or_default();
        ["prefetch", "prerender", "preview"].iter().any(|ahead| value.contains(ahead))
    };
    *method == Method::HEAD || AHEAD.iter().any(says)
}

/// Whether somebody looks at the page, as far as whoever fetches it says so. Browsers always name themselves.
pub(super) fn is_by_somebody(method: &Method, headers: &HeaderMap) -> bool {
    let agent = headers.get(header::USER_AGENT).and_then(|value| value.to_str().ok());
    let agent = agent.unwrap_or_default().to_ascii_lowercase().replace(NO_CRAWLERS, "");
    !agent.is_empty()
        && !CRAWLERS.iter().any(|word| agent.contains(word))
        && !is_ahead(method, headers)
}

impl Visits {
    pub(super) fn new(environment: Environment) -> Self {
        let counts = Counts {
            day: i32::MIN,
            key: [0; 32],
            seen: LruCache::unbounded(),
            waiting: HashMap::new(),
        };
        Self(Arc::new(Shared { environment, counts: Mutex::new(counts) }))
    }

    /// The day, counted from 1970 in UTC.
    pub(super) fn today(&self) -> i32 {
        let now = (self.0.environment.now)();
        i32::try_from(now.0.div_euclid(MICROS_PER_DAY)).unwrap_or_default()
    }

    /// Counts a visit by a link with this code, unless the address was seen with it today.
    pub(super) fn count(&self, code: &str, address: ClientAddress) {
        let (day, code) = (self.today(), ClaimKind::Code.normal_form(code));
        let mut counts = self.counts();
        if counts.day != day {
            counts.day = day;
            counts.seen.clear();
            (self.0.environment.random)(&mut counts.key);
        }
        let Some(hash) = hash(&counts.key, &code, address.counted()) else { return };
        if counts.seen.put(hash, ()).is_some() {
            return;
        }
        if counts.seen.len() > MAX_SEEN {
            counts.seen.pop_lru();
        }
        counts.add(&code, day, 1);
    }

    /// Counts visits of a day, whoever came.
    pub(super) fn add(&self, code: &str, day: i32, count: i64) {
        self.counts().add(&ClaimKind::Code.normal_form(code), day, count);
    }

    /// Writes what was counted until `stop` is cancelled, and then once more.
    pub(super) async fn run(
        self,
        database: Database,
        stop: CancellationToken,
    ) -> Result<(), Infallible> {
        let mut complaints = Occasionally::every(COMPLAINT_INTERVAL);
        loop {
            let is_last = stop.run_until_cancelled(sleep(INTERVAL)).await.is_none();
            if let Err(error) = self.write(&database).await
                && let Some(others) = complaints.now()
            {
                tracing::warn!(%error, others, "visits cannot be written");
            }
            if is_last {
                return Ok(());
            }
        }
    }

    /// Writes what was counted. What surely was not written is kept for the next time.
    async fn write(&self, database: &Database) -> Result<(), StoreError> {
        let counted = self.counts().take();
        if counted.is_empty() {
            return Ok(());
        }
        let connection = in_time(async { Ok(database.pool().acquire().await?) }).await;
        let written = match connection {
            Ok(mut connection) => match in_time(visits::add(&mut connection, &counted)).await {
                // Some of it may have been written: rather too few than twice.
                Err(error) if !matches!(error, StoreError::Refused(_)) => return Err(error),
                written => written,
            },
            Err(error) => Err(error),
        };
        if written.is_err() {
            let mut counts = self.counts();
            for Counted { code, day, count } in counted {
                counts.add(&code, day, count);
            }
        }
        written
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.0.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Counts {
    fn add(&mut self, code: &str, day: i32, count: i64) {
        let key = (code.to_owned(), day);
        if let Some(waiting) = self.waiting.get_mut(&key) {
            *waiting = waiting.saturating_add(count);
        } else if self.waiting.len() < MAX_WAITING {
            self.waiting.insert(key, count);
        }
    }

    fn take(&mut self) -> Vec<Counted> {
        let taken = std::mem::take(&mut self.waiting).into_iter();
        taken.map(|((code, day), count)| Counted { code, day, count }).collect()
    }
}

/// What an address is remembered by.
fn hash(key: &[u8], code: &str, address: IpAddr) -> Option<[u8; 16]> {
    let mut hash = Hmac::<Sha256>::new_from_slice(key).ok()?;
    match address {
        IpAddr::V4(address) => hash.update(&address.octets()),
        IpAddr::V6(address) => hash.update(&address.octets()),
    }
    hash.update(b"/");
    hash.update(code.as_bytes());
    hash.finalize().into_bytes()[..16].try_into().ok()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]
mod tests {
    use std::sync::atomic::{AtomicI64, Ordering};

    use super::*;

    const SAFARI: &str = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X) AppleWebKit/605.1.15 \
                          Version/18.1 Safari/604.1";

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let pair = |(name, value): &(&'static str, &str)| {
            (http::HeaderName::from_static(name), value.parse().unwrap())
        };
        pairs.iter().map(pair).collect()
    }

    #[test]
    fn who_says_that_nobody_looks_is_no_visitor() {
        let is =
            |method: &Method, of: &[(&'static str, &str)]| is_by_somebody(method, &headers(of));
        assert!(is(&Method::GET, &[("user-agent", SAFARI)]));
        let cubot = "Mozilla/5.0 (Linux; Android 13; CUBOT P80) AppleWebKit/537.36 Chrome/120.0 Mobile Safari/537.36";
        assert!(is(&Method::GET, &[("user-agent", cubot)]));
        assert!(is(&Method::GET, &[("user-agent", SAFARI), ("sec-purpose", "")]));
        assert!(!is(&Method::HEAD, &[("user-agent", SAFARI)]));
        assert!(!is(&Method::GET, &[]));
        for agent in [
            "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
            "facebookexternalhit/1.1",
            "WhatsApp/2.23.20.0",
            "Mozilla/5.0 (compatible; Yahoo! Slurp)",
            "Mozilla/5.0 Skype SkypeUriPreview Preview/0.5",
            "SomeSpider/1.0",
            "curl/8.5.0",
        ] {
            assert!(!is(&Method::GET, &[("user-agent", agent)]), "{agent}");
        }
        for (name, value) in [
            ("sec-purpose", "prefetch;prerender"),
            ("purpose", "prefetch"),
            ("x-moz", "prefetch"),
            ("x-purpose", "preview"),
        ] {
            assert!(!is(&Method::GET, &[("user-agent", SAFARI), (name, value)]), "{name}");
        }
    }

    #[test]
    fn an_address_counts_once_per_code_and_day() {
        static NOW: AtomicI64 = AtomicI64::new(5 * MICROS_PER_DAY);
        let environment = Environment {
            now: Arc::new(|| Timestamp(NOW.load(Ordering::SeqCst))),
            ..Environment::of_this_machine().unwrap()
        };
        let visits = Visits::new(environment);
        let address = |text: &str| ClientAddress::of(text.parse().unwrap(), &HeaderMap::new(), &[]);
        let take = || {
            let mut taken = visits.counts().take();
            taken.sort();
            taken.into_iter().map(|of| (of.code, of.day, of.count)).collect::<Vec<_>>()
        };
        let of = |code: &str, day, count| (code.to_owned(), day, count);
        // The last two are of one network.
        for text in ["192.0.2.1", "192.0.2.2", "192.0.2.1", "2001:db8::1", "2001:db8::2"] {
            visits.count("ADA", address(text));
        }
        visits.count("BOB", address("192.0.2.1"));
        // The same code in other letters.
        visits.count("ada", address("192.0.2.2"));
        assert_eq!(take(), [of("ADA", 5, 3), of("BOB", 5, 1)]);
        visits.count("ADA", address("192.0.2.1"));
        assert_eq!(take(), []);
        let key = visits.counts().key;
        NOW.store(6 * MICROS_PER_DAY, Ordering::SeqCst);
        visits.count("ADA", address("192.0.2.1"));
        assert_eq!(take(), [of("ADA", 6, 1)]);
        assert_ne!(visits.counts().key, key, "a day has a key of its own");
    }

    #[test]
    fn memory_is_bounded() {
        let visits = Visits::new(Environment::of_this_machine().unwrap());
        for number in 0..u32::try_from(MAX_SEEN).unwrap() + 10 {
            let address =
                ClientAddress::of(std::net::Ipv4Addr::from(number).into(), &HeaderMap::new(), &[]);
            visits.count("ADA", address);
        }
        assert_eq!(visits.counts().seen.len(), MAX_SEEN);
        for number in 0..MAX_WAITING + 10 {
            visits.add(&format!("C{number}"), 1, 1);
        }
        assert_eq!(visits.counts().waiting.len(), MAX_WAITING);
        // What waits already goes on counting.
        visits.add("C0", 1, 4);
        assert_eq!(visits.counts().waiting.get(&("C0".to_owned(), 1)), Some(&5));
    }
}
