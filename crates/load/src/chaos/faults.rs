//! The faults that are made during a run: each kind in turn, in an order that the seed decides.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use private_postgres::TemporaryPostgres;
use sqlx::{Connection, Executor, PgConnection};
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

use super::failed;
use super::programs::{PROGRAMS, publish, variation};
use super::servers::{SERVERS, Servers};
use crate::LoadError;
use crate::random::Random;

/// How long a server is paused, at most.
const MAX_PAUSE_MS: u64 = 4_000;
/// How long Postgres is away after a crash, at most.
const MAX_DOWN_MS: u64 = 1_500;
/// How long an old snapshot is held, at most.
const MAX_SNAPSHOT_MS: u64 = 8_000;
/// How long a rebuild may take.
const REBUILD_PATIENCE: Duration = Duration::from_mins(5);
/// The rest between two faults of one injector, at most.
const MAX_REST_MS: u64 = 1_500;
/// A program change is repeated this often, and then given up.
const PUBLISH_ATTEMPTS: usize = 200;

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultKind {
    /// Postgres ends without a word and is started again.
    PostgresCrash,
    /// A server is killed and started again.
    ServerKill,
    /// A server is stopped in the middle of whatever it does, and goes on later.
    ServerPause,
    /// Connections to Postgres are terminated: one, or all.
    TerminatedBackends,
    /// A transaction keeps an old snapshot, and with it the versions of every row since.
    LongSnapshot,
    /// Read models are rebuilt.
    Rebuild,
    /// Every program gets another version.
    ProgramChange,
}

impl FaultKind {
    const ALL: [Self; 7] = [
        Self::PostgresCrash,
        Self::ServerKill,
        Self::ServerPause,
        Self::TerminatedBackends,
        Self::LongSnapshot,
        Self::Rebuild,
        Self::ProgramChange,
    ];
    /// Faults that take something away, one after the other.
    const HARD: [Self; 4] =
        [Self::PostgresCrash, Self::ServerKill, Self::ServerPause, Self::TerminatedBackends];
    /// Faults that are made beside them.
    const SOFT: [Self; 3] = [Self::LongSnapshot, Self::Rebuild, Self::ProgramChange];

    const fn name(self) -> &'static str {
        match self {
            Self::PostgresCrash => "Postgres crashes",
            Self::ServerKill => "servers killed",
            Self::ServerPause => "servers paused",
            Self::TerminatedBackends => "backends terminated",
            Self::LongSnapshot => "long snapshots",
            Self::Rebuild => "rebuilds",
            Self::ProgramChange => "program changes",
        }
    }
}

/// The injectors of faults.
#[derive(Clone)]
pub struct Faults {
    seed: u64,
    servers: Arc<Servers>,
    postgres: Arc<Mutex<TemporaryPostgres>>,
    counts: Arc<[AtomicU64; FaultKind::ALL.len()]>,
    /// What was wrong with a rebuild: rows that did not agree with the log.
    differing: Arc<Mutex<Vec<String>>>,
}

impl Faults {
    pub(super) fn new(
        seed: u64,
        servers: Arc<Servers>,
        postgres: Arc<Mutex<TemporaryPostgres>>,
    ) -> Self {
        Self { seed, servers, postgres, counts: Arc::default(), differing: Arc::default() }
    }

    /// How many faults were made.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.counts.iter().map(|count| count.load(Ordering::Relaxed)).sum()
    }

    /// How often each kind was made.
    #[must_use]
    pub fn counts(&self) -> Vec<(&'static str, u64)> {
        let counts = FaultKind::ALL.iter().zip(self.counts.iter());
        counts.map(|(kind, count)| (kind.name(), count.load(Ordering::Relaxed))).collect()
    }

    /// What rebuilds found that did not agree with the log.
    pub(super) async fn differing(&self) -> Vec<String> {
        self.differing.lock().await.clone()
    }

    /// Makes faults until the token is cancelled; afterwards everything runs again.
    pub(super) async fn run(self, stop: CancellationToken) -> Result<(), LoadError> {
        tokio::try_join!(
            self.inject(&FaultKind::HARD, u64::MAX, &stop),
            self.inject(&FaultKind::SOFT, u64::MAX - 1, &stop),
        )?;
        Ok(())
    }

    /// Makes faults of some kinds: all of them in turn, each time in another order.
    async fn inject(
        &self,
        kinds: &[FaultKind],
        number: u64,
        stop: &CancellationToken,
    ) -> Result<(), LoadError> {
        let mut random = Random::of(self.seed, number);
        let mut left: Vec<FaultKind> = Vec::new();
        while !stop.is_cancelled() {
            if left.is_empty() {
                left = kinds.to_vec();
            }
            let kind = left.swap_remove(random.index(left.len()));
            self.make(kind, &mut random).await?;
            if let Some(index) = FaultKind::ALL.iter().position(|of| *of == kind) {
                self.counts[index].fetch_add(1, Ordering::Relaxed);
            }
            let rest = Duration::from_millis(random.below(MAX_REST_MS));
            tokio::select! {
                () = tokio::time::sleep(rest) => {}
                () = stop.cancelled() => {}
            }
        }
        Ok(())
    }

    async fn make(&self, kind: FaultKind, random: &mut Random) -> Result<(), LoadError> {
        let server = random.index(SERVERS);
        match kind {
            FaultKind::PostgresCrash => {
                let down = Duration::from_millis(random.below(MAX_DOWN_MS));
                let crashed = self.postgres.lock().await.crash(down).await;
                crashed.map_err(|error| failed("crash Postgres")(&error))
            }
            FaultKind::ServerKill => {
                self.servers.kill(server).await?;
                self.servers.start_one(server).await
            }
            FaultKind::ServerPause => {
                self.servers.signal(server, "-STOP").await?;
                tokio::time::sleep(Duration::from_millis(random.below(MAX_PAUSE_MS))).await;
                self.servers.signal(server, "-CONT").await
            }
            FaultKind::TerminatedBackends => {
                self.terminate(random).await;
                Ok(())
            }
            FaultKind::LongSnapshot => {
                self.hold_snapshot(random).await;
                Ok(())
            }
            FaultKind::Rebuild => self.rebuild(random).await,
            FaultKind::ProgramChange => self.change_programs(random).await,
        }
    }

    /// Terminates connections of the servers. That Postgres is away meanwhile is no matter.
    async fn terminate(&self, random: &mut Random) {
        let Ok(mut connection) = PgConnection::connect(&self.servers.database_url).await else {
            return;
        };
        let most = if random.below(2) == 0 { 1 } else { 1_000 };
        let terminated = sqlx::query(
            "select pg_terminate_backend(pid) from (
                select pid from pg_stat_activity
                where datname = current_database() and pid <> pg_backend_pid()
                order by random() limit $1
            ) as chosen",
        );
        let _ = terminated.bind(most).execute(&mut connection).await;
        let _ = connection.close().await;
    }

    async fn hold_snapshot(&self, random: &mut Random) {
        let Ok(mut connection) = PgConnection::connect(&self.servers.database_url).await else {
            return;
        };
        let begin = "begin isolation level repeatable read; select 1 from events limit 1";
        if connection.execute(begin).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(random.below(MAX_SNAPSHOT_MS))).await;
        }
        let _ = connection.close().await;
    }

    /// Rebuilds every read model, or one. A rebuild fails if a crash comes between, which is no matter; but it must
    /// not find rows that disagree with the log.
    async fn rebuild(&self, random: &mut Random) -> Result<(), LoadError> {
        let name = ["all", "participants", "overviews", "purchases"][random.index(4)];
        let mut command = self.servers.command();
        command.args(["projections", "rebuild", name]);
        let output = tokio::time::timeout(REBUILD_PATIENCE, command.output()).await;
        let output = output.map_err(|_| failed("run a rebuild")(&"it does not end"))?;
        let output = output.map_err(|error| failed("run a rebuild")(&error))?;
        let words = String::from_utf8_lossy(&output.stdout);
        let differing = words.lines().filter(|line| line.contains("but should be"));
        self.differing.lock().await.extend(differing.map(str::to_owned));
        Ok(())
    }

    /// Publishes another version of every program.
    async fn change_programs(&self, random: &mut Random) -> Result<(), LoadError> {
        for index in 0..PROGRAMS.len() {
            let program = variation(index, random)?;
            let request_id = format!("change-{:x}", random.draw());
            let mut attempts = 0;
            loop {
                let server = random.index(SERVERS);
                let published =
                    publish(&self.servers, server, program.clone(), request_id.clone()).await;
                let Err(status) = published else { break };
                attempts += 1;
                if status.code() == tonic::Code::InvalidArgument || attempts > PUBLISH_ATTEMPTS {
                    return Err(LoadError::call("publish another version")(status));
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
        Ok(())
    }
}
