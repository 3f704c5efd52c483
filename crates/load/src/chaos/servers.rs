//! Two servers on one database, which can be killed, paused and started again.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::Mutex;
use tokio::time::timeout;
use tonic::Request;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::{Channel, Endpoint};

use super::failed;
use crate::LoadError;
use crate::own_server::server_program;

/// What `serve` prints when it accepts calls.
const READY: &str = "tributary is ready on ";
/// How long a server may take to be ready, while Postgres may be recovering.
const START_PATIENCE: Duration = Duration::from_mins(1);
/// How often a server is started again that ended before it was ready, because Postgres was away.
const START_ATTEMPTS: usize = 30;
/// How long a server may take to stop when it is asked to.
const STOP_PATIENCE: Duration = Duration::from_secs(30);
/// How long an attempt of a client may take. Longer than a healthy server needs, shorter than a pause.
const ATTEMPT_PATIENCE: Duration = Duration::from_secs(3);

/// How many servers there are.
pub(super) const SERVERS: usize = 2;

struct Slot {
    /// Present while the server runs.
    child: Mutex<Option<Child>>,
    /// The connection of all clients to the server.
    channel: std::sync::Mutex<Option<Channel>>,
}

/// The servers.
pub(super) struct Servers {
    program: PathBuf,
    pub(super) database_url: String,
    admin_key: String,
    key: MetadataValue<Ascii>,
    slots: [Slot; SERVERS],
}

impl Servers {
    pub(super) async fn start(database_url: &str, admin_key: &str) -> Result<Self, LoadError> {
        let key = format!("Bearer {admin_key}").parse();
        let slot = || Slot { child: Mutex::new(None), channel: std::sync::Mutex::new(None) };
        let servers = Self {
            program: server_program().await?,
            database_url: database_url.into(),
            admin_key: admin_key.into(),
            key: key.map_err(|error| failed("use the admin key")(&error))?,
            slots: [slot(), slot()],
        };
        for number in 0..SERVERS {
            servers.start_one(number).await?;
        }
        Ok(servers)
    }

    /// A command of the server's program on the database of the run.
    pub(super) fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.env("DATABASE_URL", &self.database_url);
        command.env("TRIBUTARY_ADMIN_KEY", &self.admin_key);
        if std::env::var_os("TRIBUTARY_LOG").is_none() {
            command.env("TRIBUTARY_LOG", "off");
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped()).kill_on_drop(true);
        command
    }

    /// Starts a server that does not run. A start during which Postgres is away may fail, and is repeated.
    pub(super) async fn start_one(&self, number: usize) -> Result<(), LoadError> {
        let mut child = self.slots[number].child.lock().await;
        for _ in 0..START_ATTEMPTS {
            let spawned = self.command().args(["serve", "--listen", "127.0.0.1:0"]).spawn();
            let mut server = spawned.map_err(|error| failed("start a server")(&error))?;
            if let Ok(Some(address)) = timeout(START_PATIENCE, address(&mut server)).await {
                let endpoint = Endpoint::from_shared(format!("http://{address}"));
                let endpoint = endpoint.map_err(|error| failed("reach a server")(&error))?;
                self.set_channel(number, Some(endpoint.connect_lazy()));
                *child = Some(server);
                return Ok(());
            }
            let _ = server.kill().await;
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
        Err(failed("start a server")(&"it was never ready"))
    }

    fn set_channel(&self, number: usize, channel: Option<Channel>) {
        let mut place = self.slots[number].channel.lock();
        if let Ok(place) = &mut place {
            **place = channel;
        }
    }

    /// The connection to a server; `None` while the server is down.
    pub(super) fn channel(&self, number: usize) -> Option<Channel> {
        self.slots[number % SERVERS].channel.lock().ok()?.clone()
    }

    /// A request that must be answered soon.
    pub(super) fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        request.metadata_mut().insert("authorization", self.key.clone());
        request.set_timeout(ATTEMPT_PATIENCE);
        request
    }

    /// Kills a server; an error if it had ended by itself.
    pub(super) async fn kill(&self, number: usize) -> Result<(), LoadError> {
        let mut child = self.slots[number].child.lock().await;
        self.set_channel(number, None);
        let Some(mut server) = child.take() else { return Ok(()) };
        if let Ok(Some(status)) = server.try_wait() {
            return Err(failed("kill a server")(&format!("it had ended by itself: {status}")));
        }
        server.kill().await.map_err(|error| failed("kill a server")(&error))
    }

    /// Sends a signal to a server.
    pub(super) async fn signal(&self, number: usize, name: &str) -> Result<(), LoadError> {
        let child = self.slots[number].child.lock().await;
        let Some(process_id) = child.as_ref().and_then(Child::id) else { return Ok(()) };
        let sent = Command::new("kill").args([name, &process_id.to_string()]).status().await;
        sent.map(|_| ()).map_err(|error| failed("signal a server")(&error))
    }

    /// Stops both servers, which must end well.
    pub(super) async fn stop(&self) -> Result<(), LoadError> {
        for number in 0..SERVERS {
            self.signal(number, "-TERM").await?;
            let child = self.slots[number].child.lock().await.take();
            let Some(mut server) = child else { continue };
            let ended = timeout(STOP_PATIENCE, server.wait()).await;
            match ended {
                Ok(Ok(status)) if status.success() => {}
                Ok(Ok(status)) => return Err(failed("stop a server")(&status)),
                Ok(Err(error)) => return Err(failed("stop a server")(&error)),
                Err(_) => return Err(failed("stop a server")(&"it does not end")),
            }
        }
        Ok(())
    }

    /// The program of the servers, for messages.
    pub(super) fn program(&self) -> &Path {
        &self.program
    }
}

/// Reads the address that a server prints, and discards its later output; `None` if it ended first.
async fn address(server: &mut Child) -> Option<String> {
    let mut lines = BufReader::new(server.stdout.take()?).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        if let Some(address) = line.strip_prefix(READY) {
            let address = address.to_owned();
            tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
            return Some(address);
        }
    }
    None
}
