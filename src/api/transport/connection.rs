//! One connection, from its first byte to its end.

use std::convert::Infallible;
use std::net::IpAddr;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use axum::body::Body;
use http::{Request, Response};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep_until, timeout_at};
use tokio_util::sync::CancellationToken;
use tower::Service;

use super::admission::Permit;
use super::answer::Answer;
use super::greeting::Greeting;
use super::request::Arriving;
use super::unread::Account;
use super::{KEEPALIVE_INTERVAL, Limits, Shared};
use crate::api::http::refusals;
use crate::api::peer::ClientAddress;
use crate::metrics::LimitOf;
use contract::Coalescing;

/// Streams and calls that one connection can have at once.
const MAX_CALLS_PER_CONNECTION: u32 = 1_000;
/// The largest headers that are accepted, in bytes. In HTTP/1.1 the buffer has this size.
const MAX_HEADER_BYTES: usize = 16 * 1024;
/// The largest headers that HTTP/2 accepts, in bytes. Larger ones than may be sent are read up to here, because the
/// library refuses larger ones without a status of gRPC.
const MAX_READ_HEADER_BYTES: u32 = 64 * 1024;
/// What HTTP/2 adds to the size of a header, in bytes (RFC 9113, 6.5.2).
const HEADER_OVERHEAD_BYTES: usize = 32;
/// The bytes of one answer that may wait for the client to read them, before more of the answer is asked for.
const MAX_UNREAD_BYTES_PER_ANSWER: usize = 32 * 1024;
/// How long the answer to a ping may take, and how long a client may take to leave when it is told to.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// How HTTP is spoken.
pub(super) type Http = Builder<TokioExecutor>;

/// HTTP/1.1 and HTTP/2 with their limits.
pub(super) fn http(limits: &Limits) -> Http {
    let mut http = Builder::new(TokioExecutor::new());
    http.http1()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.request_timeout)
        .max_buf_size(MAX_HEADER_BYTES);
    http.http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(MAX_CALLS_PER_CONNECTION)
        // A client may give up all that it has asked for at once. The library would end the connection, with all else on it.
        .max_pending_accept_reset_streams(MAX_CALLS_PER_CONNECTION as usize)
        .max_header_list_size(MAX_READ_HEADER_BYTES)
        .max_send_buf_size(MAX_UNREAD_BYTES_PER_ANSWER)
        .keep_alive_interval(KEEPALIVE_INTERVAL)
        .keep_alive_timeout(ANSWER_TIMEOUT);
    http
}

/// The calls of a connection that are open.
#[derive(Debug, Default)]
struct Calls {
    open: AtomicUsize,
    /// When the last call ended, in milliseconds since [`START`].
    last_end_ms: AtomicU64,
}

/// A moment before all others that are compared here.
static START: LazyLock<Instant> = LazyLock::new(Instant::now);

/// A call that has not ended. It ends when this value is dropped.
pub(super) struct OpenCall(Arc<Calls>);

impl Calls {
    fn begin(self: &Arc<Self>) -> OpenCall {
        self.open.fetch_add(1, Ordering::Relaxed);
        OpenCall(self.clone())
    }

    /// Since when there has been no call; none if there are some.
    fn idle_since(&self) -> Option<Instant> {
        let is_idle = self.open.load(Ordering::Acquire) == 0;
        is_idle.then(|| *START + Duration::from_millis(self.last_end_ms.load(Ordering::Relaxed)))
    }

    fn end(&self) {
        let now_ms = u64::try_from(START.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last_end_ms.store(now_ms, Ordering::Relaxed);
    }
}

impl Drop for OpenCall {
    fn drop(&mut self) {
        self.0.end();
        self.0.open.fetch_sub(1, Ordering::Release);
    }
}

/// Serves a connection until either side ends it. When `stop` is cancelled, calls may end first.
pub(super) async fn serve(
    stream: TcpStream,
    peer: IpAddr,
    _permit: Permit,
    shared: Arc<Shared>,
    stop: CancellationToken,
) {
    // A client that never says anything does not get as far as HTTP, which has its own limits of time.
    let deadline = Instant::now() + shared.limits.request_timeout;
    let mut first = [0];
    let speaks = timeout_at(deadline, stream.peek(&mut first));
    match stop.run_until_cancelled(speaks).await {
        Some(Ok(Ok(1..))) => {}
        Some(Err(_)) => return shared.cut_for("silent"),
        Some(Ok(Ok(0) | Err(_))) | None => return,
    }
    let Some(tls) = &shared.tls else {
        return converse(stream, peer, &shared, deadline, stop).await;
    };
    match stop.run_until_cancelled(timeout_at(deadline, tls.accept(stream))).await {
        // Connections without TLS do not pay for the size of this future.
        Some(Ok(Ok(stream))) => Box::pin(converse(stream, peer, &shared, deadline, stop)).await,
        Some(Ok(Err(error))) => tracing::debug!(%error, "a TLS handshake failed"),
        Some(Err(_)) => shared.cut_for("handshake"),
        None => {}
    }
}

impl Shared {
    /// Counts a connection that is cut.
    fn cut_for(&self, limit: &'static str) {
        self.metrics.connections.cut.get_or_create(&LimitOf { limit }).inc();
    }
}

/// Speaks HTTP on a connection until either side ends it. A client that speaks HTTP/2 must have greeted by the
/// deadline.
async fn converse(
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    peer: IpAddr,
    shared: &Arc<Shared>,
    deadline: Instant,
    stop: CancellationToken,
) {
    let calls = Arc::new(Calls::default());
    calls.end();
    let (account, cut) = shared.unread.account();
    let service = {
        let (shared, calls) = (shared.clone(), calls.clone());
        service_fn(move |request| {
            answer(shared.clone(), account.clone(), calls.begin(), peer, request)
        })
    };
    let (stream, greeted) = Greeting::new(stream);
    let mut greeting = pin!(sleep_until(deadline));
    let mut is_greeting = true;
    let stream = TokioIo::new(Coalescing::new(stream));
    let mut serving = pin!(shared.http.serve_connection(stream, service));
    let idle_timeout = shared.limits.idle_timeout;
    let mut check = pin!(sleep_until(Instant::now() + idle_timeout));
    let mut is_leaving = false;
    loop {
        tokio::select! {
            biased;
            // An error concerns this client only: it went away, or did not speak HTTP.
            served = &mut serving => {
                if let Err(error) = served {
                    tracing::debug!(%error, "a connection failed");
                }
                return;
            }
            () = cut.cancelled() => return,
            () = stop.cancelled(), if !is_leaving => {
                is_leaving = true;
                serving.as_mut().graceful_shutdown();
            }
            () = &mut greeting, if is_greeting => {
                is_greeting = false;
                if !greeted.is_over() {
                    return shared.cut_for("silent");
                }
            }
            () = &mut check => match calls.idle_since() {
                Some(since) if since.elapsed() >= idle_timeout => {
                    if is_leaving {
                        return;
                    }
                    shared.cut_for("idle");
                    is_leaving = true;
                    serving.as_mut().graceful_shutdown();
                    check.as_mut().reset(Instant::now() + ANSWER_TIMEOUT);
                }
                since => {
                    let since = since.unwrap_or_else(Instant::now);
                    check.as_mut().reset(since + idle_timeout);
                }
            }
        }
    }
}

/// Answers one request.
async fn answer<B>(
    shared: Arc<Shared>,
    account: Arc<Account>,
    call: OpenCall,
    peer: IpAddr,
    request: Request<B>,
) -> Result<Response<Answer>, Infallible>
where
    B: http_body::Body<Data = axum::body::Bytes, Error: Into<axum::BoxError>>
        + Send
        + Unpin
        + 'static,
{
    let deadline = Instant::now() + shared.limits.request_timeout;
    let (mut parts, body) = request.into_parts();
    if header_bytes(&parts) > MAX_HEADER_BYTES {
        let response = refusals::too_large(&parts.headers, MAX_HEADER_BYTES);
        return Ok(response.map(|body| Answer::new(body, account, call)));
    }
    let response = match Arriving::begun(body, &shared.incomplete, deadline).await {
        Ok(body) => {
            let proxies = &shared.limits.trusted_proxies;
            parts.extensions.insert(ClientAddress::of(peer, &parts.headers, proxies));
            parts.extensions.insert(body.arrival());
            let request = Request::from_parts(parts, Body::new(body));
            let Ok(response) = shared.router.clone().call(request).await;
            response
        }
        Err(fault) => refusals::incomplete(&parts.headers, &fault.status()),
    };
    Ok(response.map(|body| Answer::new(body, account, call)))
}

/// The size of the headers of a request, as HTTP/2 counts it.
fn header_bytes(parts: &http::request::Parts) -> usize {
    let pseudo = parts.uri.path_and_query().map_or(0, |path| path.as_str().len());
    let of = |(name, value): (&http::HeaderName, &http::HeaderValue)| {
        name.as_str().len() + value.len() + HEADER_OVERHEAD_BYTES
    };
    pseudo + parts.headers.iter().map(of).sum::<usize>()
}
