//! A TCP proxy in front of Postgres that swallows bytes without ending a connection, as a network does that has lost a
//! route, or a firewall that has forgotten a connection.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::unix;
use tokio::net::{TcpListener, TcpStream, UnixStream, tcp};
use tokio::sync::Notify;

use super::TestDatabase;

/// The message with which a client ends a series of messages.
const SYNC: &[u8] = b"S\0\0\0\x04";
/// The maximum number of bytes of a client that are remembered.
const REMEMBERED_BYTES: usize = 4 << 20;

/// One connection through the proxy.
#[derive(Default)]
struct Carried {
    /// What the client has sent.
    sent: Mutex<Vec<u8>>,
    /// Whether everything is swallowed.
    is_silent: AtomicBool,
    /// Whether answers are no longer read.
    is_stalled: AtomicBool,
    stirred: Notify,
}

#[derive(Default)]
struct State {
    connections: Mutex<Vec<Arc<Carried>>>,
    /// Whether new connections are silent, too.
    is_cut_off: AtomicBool,
    /// Swallows the last message of the next series that contains these bytes, and everything after it.
    cut_in: Mutex<Option<Vec<u8>>>,
}

/// A proxy between our processes and the Postgres of the tests.
pub struct Proxy {
    pub url: String,
    state: Arc<State>,
    accepting: tokio::task::JoinHandle<()>,
}

impl Proxy {
    /// A proxy that leads to a database.
    pub async fn start(database: &TestDatabase) -> Self {
        let (base, query) = database.url.split_once('?').unwrap();
        let socket = query.split('&').find_map(|pair| pair.strip_prefix("host=")).unwrap();
        let socket = Path::new(socket).join(".s.PGSQL.5432");
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (before, rest) = base.split_once('@').unwrap();
        let (_, name) = rest.split_once('/').unwrap();
        let url = format!("{before}@{address}/{name}?sslmode=disable");
        let state = Arc::<State>::default();
        let accepting = tokio::spawn(accept(listener, socket, state.clone()));
        Self { url, state, accepting }
    }

    /// From now on, the connections whose client has ever sent `marker` are silent: what either side sends is
    /// swallowed. Returns how many they are.
    pub fn silence(&self, marker: &str) -> usize {
        self.mark(marker, |carried| carried.is_silent.store(true, Ordering::SeqCst))
    }

    /// From now on, the answers on these connections are not read.
    pub fn stall(&self, marker: &str) -> usize {
        self.mark(marker, |carried| carried.is_stalled.store(true, Ordering::SeqCst))
    }

    /// From now on, all connections are silent, and new ones as well until [`Proxy::heal`].
    pub fn cut_off(&self) {
        self.state.is_cut_off.store(true, Ordering::SeqCst);
        self.silence("");
    }

    /// From now on, new connections are carried. The old ones stay silent.
    pub fn heal(&self) {
        self.state.is_cut_off.store(false, Ordering::SeqCst);
    }

    /// Lets the next series of messages that contains `content` arrive without its end, and silences its connection.
    pub fn cut_in(&self, content: &str) {
        *self.state.cut_in.lock().unwrap() = Some(content.as_bytes().to_vec());
    }

    pub fn has_cut(&self) -> bool {
        self.state.cut_in.lock().unwrap().is_none()
    }

    fn mark(&self, marker: &str, how: impl Fn(&Carried)) -> usize {
        let connections = self.state.connections.lock().unwrap();
        let chosen = connections.iter().filter(|carried| {
            marker.is_empty() || contains(&carried.sent.lock().unwrap(), marker.as_bytes())
        });
        let touch = |carried: &Arc<Carried>| {
            how(carried);
            carried.stirred.notify_one();
        };
        chosen.map(touch).count()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}

async fn accept(listener: TcpListener, socket: PathBuf, state: Arc<State>) {
    while let Ok((client, _)) = listener.accept().await {
        client.set_nodelay(true).unwrap();
        let carried = Arc::<Carried>::default();
        if state.is_cut_off.load(Ordering::SeqCst) {
            carried.is_silent.store(true, Ordering::SeqCst);
        }
        state.connections.lock().unwrap().push(carried.clone());
        let Ok(server) = UnixStream::connect(&socket).await else { continue };
        let state = state.clone();
        tokio::spawn(carry(client, server, carried, state));
    }
}

async fn carry(client: TcpStream, server: UnixStream, carried: Arc<Carried>, state: Arc<State>) {
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    // A side that closes a silent connection is not heard of by the other, so both halves are kept until both ends
    // are closed.
    tokio::join!(
        there(from_client, to_server, &carried, &state),
        back(from_server, to_client, &carried),
    );
}

async fn there(
    mut from: tcp::OwnedReadHalf,
    mut to: unix::OwnedWriteHalf,
    carried: &Carried,
    state: &State,
) {
    let mut buffer = vec![0; 1 << 20];
    loop {
        let read = from.read(&mut buffer).await.unwrap_or(0);
        let is_silent = carried.is_silent.load(Ordering::SeqCst);
        if read == 0 {
            if is_silent {
                std::future::pending::<()>().await;
            }
            return;
        }
        if is_silent {
            continue;
        }
        let mut bytes = &buffer[..read];
        {
            let mut sent = carried.sent.lock().unwrap();
            let room = REMEMBERED_BYTES.saturating_sub(sent.len());
            sent.extend_from_slice(&bytes[..room.min(bytes.len())]);
        }
        let is_cut = {
            let mut cut_in = state.cut_in.lock().unwrap();
            let is_cut = bytes.ends_with(SYNC)
                && cut_in.as_ref().is_some_and(|content| contains(bytes, content));
            is_cut.then(|| cut_in.take())
        };
        if is_cut.is_some() {
            bytes = &bytes[..bytes.len() - SYNC.len()];
            carried.is_silent.store(true, Ordering::SeqCst);
        }
        if to.write_all(bytes).await.is_err() {
            return;
        }
    }
}

async fn back(mut from: unix::OwnedReadHalf, mut to: tcp::OwnedWriteHalf, carried: &Carried) {
    let mut buffer = vec![0; 1 << 20];
    loop {
        while carried.is_stalled.load(Ordering::SeqCst) {
            carried.stirred.notified().await;
        }
        let read = from.read(&mut buffer).await.unwrap_or(0);
        let is_silent = carried.is_silent.load(Ordering::SeqCst);
        if read == 0 {
            if is_silent {
                std::future::pending::<()>().await;
            }
            return;
        }
        if !is_silent && to.write_all(&buffer[..read]).await.is_err() {
            return;
        }
    }
}
