//! The transport: accepts connections, serves HTTP/1.1 and HTTP/2 on them, and bounds what a client can take.
//!
//! A client can hold a connection, a request that it has not finished sending, and an answer that it does not
//! read. Each has a limit in number or bytes, and a limit in time:
//!
//! - [`admission`]: connections in all and per address;
//! - [`tls`]: the handshake, if the port speaks TLS;
//! - [`connection`]: one connection, which ends when it is idle for too long; [`greeting`]: its first bytes;
//! - [`request`]: requests that are not complete;
//! - [`answer`]: answers that have not been read.

mod admission;
mod answer;
mod connection;
mod greeting;
mod network;
mod request;
mod tls;
mod unread;

use std::io::ErrorKind;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_stream::StreamExt;
use tokio_util::sync::CancellationToken;
use tonic::transport::server::TcpIncoming;

use self::admission::{Admission, Refused};
use self::connection::Http;
pub use self::network::Network;
pub(super) use self::request::Arrival;
use self::request::Incomplete;
pub use self::tls::{CertificateFiles, Tls, TlsError};
use self::unread::Unread;
use crate::metrics::Metrics;
use crate::occasionally::Occasionally;

/// How often a silent connection is probed, by TCP and by HTTP/2.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(20);
/// How long no connections are accepted after the operating system failed to open one.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);
/// How often the log says that connections are refused.
const COMPLAINT_INTERVAL: Duration = Duration::from_secs(30);

/// Limits on what clients can take.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Open connections.
    pub connections: usize,
    /// Open connections of one address.
    pub connections_per_address: usize,
    /// Networks whose addresses may have any number of connections, and are believed in `X-Forwarded-For`.
    pub trusted_proxies: Vec<Network>,
    /// How long a request may take to arrive, to its last byte.
    pub request_timeout: Duration,
    /// How long a connection may be open without a call.
    pub idle_timeout: Duration,
    /// Bytes of answers that wait for clients to read them.
    pub unread_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 10_000,
            connections_per_address: 1_000,
            trusted_proxies: Vec::new(),
            request_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_mins(5),
            unread_bytes: 256 << 20,
        }
    }
}

/// What all connections share.
struct Shared {
    router: Router,
    tls: Option<Tls>,
    limits: Limits,
    http: Http,
    incomplete: Arc<Incomplete>,
    unread: Arc<Unread>,
    metrics: Metrics,
}

/// Serves connections until `stop` is cancelled and their calls have ended. Dropping the future cuts them.
pub(super) async fn serve(
    listener: TcpListener,
    tls: Option<Tls>,
    router: Router,
    limits: Limits,
    metrics: Metrics,
    stop: CancellationToken,
) {
    let mut admission = Admission::new(&limits, metrics.clone());
    let shared = Arc::new(Shared {
        router,
        tls,
        http: connection::http(&limits),
        incomplete: Arc::new(Incomplete::new(metrics.clone())),
        unread: Arc::new(Unread::new(limits.unread_bytes, metrics.clone())),
        limits,
        metrics,
    });
    let mut connections = JoinSet::new();
    // Without nodelay the second packet of an answer waits 40 ms for the acknowledgement of the first.
    let mut incoming = TcpIncoming::from(listener)
        .with_nodelay(Some(true))
        .with_keepalive(Some(KEEPALIVE_INTERVAL));
    let mut complaints = Occasionally::every(COMPLAINT_INTERVAL);
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => break,
            Some(_) = connections.join_next() => continue,
            accepted = incoming.next() => accepted,
        };
        match accepted {
            Some(Ok(stream)) => {
                let Some(peer) = address(&stream) else { continue };
                let Some(permit) = admission.admit(peer) else { continue };
                let stop = stop.child_token();
                let serving = connection::serve(stream, peer, permit, shared.clone(), stop);
                connections.spawn(serving);
            }
            Some(Err(error)) if concerns_one_connection(&error) => {}
            // Usually the process has as many files open as it may. The connection stays in the queue of the
            // operating system, and would be offered again at once.
            Some(Err(error)) => {
                admission.count(Refused::Files);
                if let Some(others) = complaints.now() {
                    tracing::error!(%error, others, "no connection can be accepted");
                }
                let _ = stop.run_until_cancelled(tokio::time::sleep(ACCEPT_PAUSE)).await;
            }
            None => break,
        }
    }
    drop(incoming);
    while connections.join_next().await.is_some() {}
}

/// The client's address; none if the client has gone already.
fn address(stream: &TcpStream) -> Option<IpAddr> {
    // An IPv4 client of an IPv6 listener has its IPv4 address.
    Some(stream.peer_addr().ok()?.ip().to_canonical())
}

/// Whether an error of `accept` concerns one connection only, so that the next one can be accepted at once.
fn concerns_one_connection(error: &std::io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::ConnectionAborted | ErrorKind::ConnectionReset | ErrorKind::Interrupted
    )
}
