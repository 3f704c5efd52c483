//! How many streams there may be at once: of one session, and of one address.
//!
//! A session that opens one more loses the one that was opened first: the page that somebody looks at works, whatever
//! connections a phone has left behind. An address that has as many as it may gets no other. What a stream reads before
//! it begins is read for one stream of a session at a time, and to its end: connections to the database whose query is
//! given up are of no use to others for a while.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::middleware::Next;
use axum::response::Response;
use bytes::Bytes;
use http::Method;
use http_body::Frame;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use super::{answer, event, too_many};
use crate::api::console::visit::Visit;

/// Open streams of one session: the pages that somebody looks at, on all screens.
const PER_SESSION: usize = 8;
/// After how long a page comes back that has lost its stream to others of the session, in seconds.
const LOST_FOR_S: u32 = 15;
/// After how long an address that has as many streams as it may should try again.
const FULL_FOR: Duration = Duration::from_secs(5);

/// The layer around all streams. Whatever it refuses has cost nothing else.
pub(super) async fn bounded(visit: Visit, request: Request, next: Next) -> Response {
    // Those who have not signed in are told so at once.
    let Ok(signed_in) = visit.signed_in() else { return next.run(request).await };
    let address = visit.counted_address();
    if request.method() == Method::HEAD {
        // A page that was refused asks why. It follows nothing by that, so nobody gives way to it.
        let has_room = visit.console().places().has_room(&signed_in.session_id, address);
        return if has_room { next.run(request).await } else { too_many(FULL_FOR) };
    }
    let Some(place) = visit.console().places().take(&signed_in.session_id, address) else {
        return too_many(FULL_FOR);
    };
    let beginning = tokio::select! {
        biased;
        () = place.lost.cancelled() => return answer(Body::from(lost())),
        beginning = place.beginning.clone().lock_owned() => beginning,
    };
    let response = next.run(request).await;
    drop(beginning);
    let lost = Box::pin(place.lost.clone().cancelled_owned());
    response.map(|body| Body::new(Held { body: Some(body), lost, _place: place }))
}

/// The last message of a stream that has lost its place.
fn lost() -> String {
    event("wait", &LOST_FOR_S.to_string(), "")
}

/// The streams that are open. Cheap to clone.
#[derive(Clone)]
pub(in crate::api::console) struct Places {
    per_address: usize,
    taken: Arc<Mutex<Taken>>,
}

#[derive(Default)]
struct Taken {
    /// How many there have been.
    count: u64,
    of_session: HashMap<Arc<str>, OfSession>,
    of_address: HashMap<IpAddr, usize>,
}

/// The streams of a session, of which there is one at least.
#[derive(Default)]
struct OfSession {
    /// The one that was opened first comes first.
    streams: VecDeque<Stream>,
    /// Held while one of them begins.
    beginning: Arc<tokio::sync::Mutex<()>>,
}

/// A stream that has a place.
struct Stream {
    number: u64,
    address: Option<IpAddr>,
    lost: CancellationToken,
}

/// The place of a stream, which is free again when this is dropped.
struct Place {
    places: Places,
    session_id: Arc<str>,
    number: u64,
    /// Cancelled when another stream of the session has taken the place.
    lost: CancellationToken,
    /// Held while a stream of the session begins.
    beginning: Arc<tokio::sync::Mutex<()>>,
}

impl Places {
    pub(in crate::api::console) fn new(per_address: usize) -> Self {
        Self { per_address, taken: Arc::default() }
    }

    /// A place for one more stream; none if the address has as many as it may.
    fn take(&self, session_id: &Arc<str>, address: Option<IpAddr>) -> Option<Place> {
        let mut taken = self.lock();
        let mut own = taken.of_session.remove(session_id).unwrap_or_default();
        let first = if own.streams.len() < PER_SESSION { None } else { own.streams.pop_front() };
        if let Some(first) = &first {
            taken.release(first.address);
        }
        if !taken.admit(address, self.per_address) {
            if let Some(first) = first {
                // It has just been released, so that there is room for it.
                taken.admit(first.address, usize::MAX);
                own.streams.push_front(first);
            }
            if !own.streams.is_empty() {
                taken.of_session.insert(session_id.clone(), own);
            }
            return None;
        }
        let number = taken.count;
        taken.count += 1;
        let lost = CancellationToken::new();
        own.streams.push_back(Stream { number, address, lost: lost.clone() });
        let beginning = own.beginning.clone();
        taken.of_session.insert(session_id.clone(), own);
        drop(taken);
        if let Some(first) = first {
            first.lost.cancel();
        }
        let session_id = session_id.clone();
        Some(Place { places: self.clone(), session_id, number, lost, beginning })
    }

    /// Whether there would be a place for one more stream.
    fn has_room(&self, session_id: &str, address: Option<IpAddr>) -> bool {
        let Some(address) = address else { return true };
        let taken = self.lock();
        let own = taken.of_session.get(session_id).map(|own| &own.streams);
        let gives_way = own.filter(|own| own.len() >= PER_SESSION).and_then(VecDeque::front);
        gives_way.is_some_and(|first| first.address == Some(address))
            || taken.of_address.get(&address).is_none_or(|count| *count < self.per_address.max(1))
    }

    /// A panic while it was locked leaves the counts usable.
    fn lock(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Taken {
    /// Counts a stream of an address, unless that has as many as it may.
    fn admit(&mut self, address: Option<IpAddr>, limit: usize) -> bool {
        let Some(address) = address else { return true };
        let count = self.of_address.entry(address).or_default();
        // At least one is always allowed, so that no entry without a stream stays behind.
        if *count >= limit.max(1) {
            return false;
        }
        *count += 1;
        true
    }

    fn release(&mut self, address: Option<IpAddr>) {
        if let Some(address) = address
            && let Some(count) = self.of_address.get_mut(&address)
        {
            *count -= 1;
            if *count == 0 {
                self.of_address.remove(&address);
            }
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.lock();
        let Some(own) = taken.of_session.get_mut(&self.session_id) else { return };
        let streams = &mut own.streams;
        let found = streams.iter().position(|stream| stream.number == self.number);
        // One that has lost its place counts no more.
        let Some(stream) = found.and_then(|at| streams.remove(at)) else { return };
        if streams.is_empty() {
            taken.of_session.remove(&self.session_id);
        }
        taken.release(stream.address);
    }
}

/// The body of a stream that holds its place, and ends when it has lost it.
struct Held {
    body: Option<Body>,
    lost: Pin<Box<WaitForCancellationFutureOwned>>,
    _place: Place,
}

impl http_body::Body for Held {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let this = &mut *self;
        let Some(body) = &mut this.body else { return Poll::Ready(None) };
        if this.lost.as_mut().poll(context).is_ready() {
            this.body = None;
            return Poll::Ready(Some(Ok(Frame::data(lost().into()))));
        }
        Pin::new(body).poll_frame(context)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]
mod tests {
    use super::*;

    fn id(text: &str) -> Arc<str> {
        text.into()
    }

    #[test]
    fn the_ninth_stream_of_a_session_takes_the_place_of_the_first() {
        let places = Places::new(100);
        let ada = id("ada");
        let mut held: Vec<Place> =
            (0..PER_SESSION).map(|_| places.take(&ada, None).unwrap()).collect();
        let other = places.take(&id("bob"), None).unwrap();
        assert!(held.iter().all(|place| !place.lost.is_cancelled()));
        held.push(places.take(&ada, None).unwrap());
        let lost: Vec<bool> = held.iter().map(|place| place.lost.is_cancelled()).collect();
        assert_eq!(lost.iter().position(|is_lost| *is_lost), Some(0));
        assert_eq!(lost.iter().filter(|is_lost| **is_lost).count(), 1);
        assert!(!other.lost.is_cancelled());
        // One that was closed makes room, and so does none that had no place any more.
        held.remove(0);
        held.remove(0);
        held.push(places.take(&ada, None).unwrap());
        assert!(held.iter().all(|place| !place.lost.is_cancelled()));
        drop((held, other));
        let taken = places.lock();
        assert!(taken.of_session.is_empty() && taken.of_address.is_empty());
    }

    #[test]
    fn an_address_has_so_many_streams_whoever_opens_them() {
        let places = Places::new(10);
        let (office, home) = ("192.0.2.1".parse().ok(), "192.0.2.2".parse().ok());
        // One session takes no more of them than it may have.
        let many: Vec<_> = (0..50).map(|_| places.take(&id("ada"), office)).collect();
        assert!(many.iter().all(Option::is_some));
        assert!(places.has_room("ada", office) && places.has_room("bob", office));
        let bob = places.take(&id("bob"), office);
        let cem = places.take(&id("cem"), office);
        assert!(bob.is_some() && cem.is_some());
        assert!(places.take(&id("dan"), office).is_none() && !places.has_room("dan", office));
        assert!(places.has_room("dan", home) && places.has_room("ada", office));
        assert!(places.take(&id("dan"), home).is_some());
        // Who is refused there loses nothing elsewhere.
        let eve: Vec<Place> =
            (0..PER_SESSION).filter_map(|_| places.take(&id("eve"), home)).collect();
        assert!(places.take(&id("eve"), office).is_none());
        assert!(eve.len() == PER_SESSION && eve.iter().all(|place| !place.lost.is_cancelled()));
        drop(eve);
        drop(bob);
        let dan = places.take(&id("dan"), office);
        assert!(dan.is_some());
        drop((many, cem, dan));
        let taken = places.lock();
        assert!(taken.of_session.is_empty() && taken.of_address.is_empty());
    }
}
