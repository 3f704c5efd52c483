//! How a server hears that credentials have ended: it follows the log. What it hears ends open streams, too.
//!
//! A server that has not seen the log for a second does not know whether a credential has ended, and says so instead of
//! trusting what it knows.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::{Credential, Shared};
use crate::live::{Cursor, CutOff, Live, Subscription};
use crate::store::RecordedEvent;
use domain::Timestamp;

/// How long ago the log must have been seen at most.
const MAX_SILENCE: Duration = Duration::from_secs(1);
/// How often it is noted how much has been heard, while events come.
const AIM_INTERVAL: Duration = Duration::from_millis(100);
/// The pause before the log is followed again after a failure.
const PAUSE: Duration = Duration::from_millis(100);

/// How far a server has heard of ends.
pub(super) struct Heard {
    live: Live,
    /// Every event up to this position has been heard.
    position: watch::Sender<i64>,
    began: Instant,
    /// Every end up to this time is known, in milliseconds after `began`; the second that it may be ago is added.
    good_until_ms: AtomicU64,
}

/// What must be heard for every end up to a time to be known.
#[derive(Clone, Copy)]
struct Goal {
    seen_at: Instant,
    position: i64,
}

impl Heard {
    /// Of a server that knows, from the rows, of every end up to a position.
    pub(super) fn new(live: Live, position: i64) -> Self {
        let (began, good_until_ms) = (Instant::now(), AtomicU64::new(0));
        Self { live, position: watch::Sender::new(position), began, good_until_ms }
    }

    /// Whether this server knows of every end that is older than a second. Seldom waits for what the tail of the log
    /// has delivered and nobody has looked at yet: under load there is always some of it, and calls should not wait for
    /// it.
    pub(super) async fn is_up_to_date(&self) -> bool {
        if self.is_known_to_be() {
            return true;
        }
        let goal = self.goal();
        if goal.seen_at.elapsed() > MAX_SILENCE {
            return false;
        }
        if *self.position.borrow() < goal.position {
            let mut position = self.position.subscribe();
            let hearing = position.wait_for(|position| *position >= goal.position);
            if !timeout(MAX_SILENCE, hearing).await.is_ok_and(|heard| heard.is_ok()) {
                return false;
            }
        }
        self.reach(goal);
        goal.seen_at.elapsed() <= MAX_SILENCE
    }

    /// Whether every end that is older than a second was known a moment ago.
    fn is_known_to_be(&self) -> bool {
        millis(self.began.elapsed()) < self.good_until_ms.load(Ordering::Relaxed)
    }

    /// The end of the log as it was seen last.
    fn goal(&self) -> Goal {
        let seen_at = self.live.seen_at();
        // Read after the time: it is at least the end of the log as it was seen then.
        Goal { seen_at, position: self.live.position() }
    }

    /// What the goal asks for has been heard.
    fn reach(&self, goal: Goal) {
        let good_until = goal.seen_at.saturating_duration_since(self.began) + MAX_SILENCE;
        self.good_until_ms.fetch_max(millis(good_until), Ordering::Relaxed);
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Follows the log for as long as the server runs.
pub(super) async fn follow(
    shared: Arc<Shared>,
    position: i64,
    stop: CancellationToken,
) -> Result<(), Infallible> {
    let mut cursor = Cursor { position, sequence: position };
    loop {
        let mut subscription = shared.heard.live.follow(cursor);
        let following = hear_all(&shared, &mut subscription);
        let Some(cut_off) = stop.run_until_cancelled(following).await else { return Ok(()) };
        tracing::warn!(error = %cut_off, "ends of sessions and keys cannot be followed; trying again");
        cursor = subscription.cursor();
        drop(subscription);
        if stop.run_until_cancelled(tokio::time::sleep(PAUSE)).await.is_none() {
            return Ok(());
        }
    }
}

async fn hear_all(shared: &Shared, subscription: &mut Subscription) -> CutOff {
    let heard = &shared.heard;
    let (mut goal, mut aimed_at) = (heard.goal(), Instant::now());
    loop {
        match subscription.next().await {
            Ok(event) => {
                shared.learn(&event);
                heard.position.send_replace(event.position);
                if event.position >= goal.position && aimed_at.elapsed() >= AIM_INTERVAL {
                    heard.reach(goal);
                    (goal, aimed_at) = (heard.goal(), Instant::now());
                }
            }
            Err(cut_off) => return cut_off,
        }
    }
}

impl Shared {
    /// Learns from an event which credentials have ended, and ends the streams of those who have them.
    pub(super) fn learn(&self, event: &RecordedEvent) {
        let learnt = self.sessions.learn(event).and_then(|is_end| {
            self.staff.learn(event)?;
            Ok(self.keys.learn(event)? || is_end)
        });
        match learnt {
            Ok(false) => {}
            Ok(true) => self.open.sweep(|credential| self.has_ended(credential)),
            // The event is one of those that this server knows, and says nothing that can be read.
            Err(error) => tracing::error!(%error, "an end of sessions or keys was not understood"),
        }
    }

    /// Whether a credential has ended, as far as is known here.
    pub(super) fn has_ended(&self, credential: &Credential) -> bool {
        match credential {
            Credential::AdminKey => false,
            Credential::Key { key_id, expire_time } => {
                self.keys.has_ended(key_id)
                    || expire_time.is_some_and(|end| end <= (self.environment.now)())
            }
            Credential::Session(session) => {
                self.sessions.has_ended(session) || session.expire_time <= (self.environment.now)()
            }
        }
    }
}

/// The streams that are open with a credential that can end.
#[derive(Default)]
pub(super) struct OpenStreams(Mutex<Open>);

#[derive(Default)]
struct Open {
    last: u64,
    streams: HashMap<u64, (Credential, CancellationToken)>,
}

impl OpenStreams {
    /// Ends the streams of credentials that have ended.
    fn sweep(&self, has_ended: impl Fn(&Credential) -> bool) {
        for (credential, token) in self.open().streams.values() {
            if has_ended(credential) {
                token.cancel();
            }
        }
    }

    fn open(&self) -> MutexGuard<'_, Open> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Resolves when the credential of a stream ends. Belongs to one stream.
pub struct CredentialEnd(Option<Watched>);

struct Watched {
    shared: Arc<Shared>,
    number: u64,
    token: CancellationToken,
    /// When the credential ends by itself.
    expires_at: Option<tokio::time::Instant>,
}

impl CredentialEnd {
    /// The end of what never ends.
    #[must_use]
    pub fn never() -> Self {
        Self(None)
    }

    pub(super) fn of(shared: &Arc<Shared>, credential: &Credential) -> Self {
        let expire_time = match credential {
            Credential::AdminKey => return Self::never(),
            Credential::Key { expire_time, .. } => *expire_time,
            Credential::Session(session) => Some(session.expire_time),
        };
        let expires_at = expire_time.map(|Timestamp(expires_us)| {
            let Timestamp(now_us) = (shared.environment.now)();
            let left = u64::try_from(expires_us.saturating_sub(now_us)).unwrap_or(0);
            tokio::time::Instant::now() + Duration::from_micros(left)
        });
        let token = CancellationToken::new();
        let number = {
            let mut open = shared.open.open();
            open.last += 1;
            let number = open.last;
            open.streams.insert(number, (credential.clone(), token.clone()));
            number
        };
        // Its end may have been heard after the call was admitted and before the stream was in the list.
        if shared.has_ended(credential) {
            token.cancel();
        }
        Self(Some(Watched { shared: shared.clone(), number, token, expires_at }))
    }

    /// Resolves when the credential has ended.
    pub async fn wait(&self) {
        let Some(watched) = &self.0 else { return std::future::pending().await };
        match watched.expires_at {
            None => watched.token.cancelled().await,
            Some(expires_at) => {
                tokio::select! {
                    () = watched.token.cancelled() => {}
                    () = tokio::time::sleep_until(expires_at) => {}
                }
            }
        }
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.shared.open.open().streams.remove(&self.number);
    }
}
