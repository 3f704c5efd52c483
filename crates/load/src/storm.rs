//! What others do while purchases run: people who all log in at once, or strangers who sign up under a username that is
//! taken. Both make the server hash passwords or look into the log for nothing, and purchases should not suffer.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use hdrhistogram::Histogram;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tonic::Status;

use super::connections::Connections;
use super::driver::{self, Plan, histogram, micros, record};
use super::ledger::Write;
use super::world::{PASSWORD, World};
use super::{LoadError, Scenario, reason};
use contract::pb::account_service_client::AccountServiceClient;
use contract::pb::{LoginRequest, RegisterUserRequest};

/// The connections of all who take part in a storm.
const CONNECTIONS: usize = 8;
/// How many accounts are made at the same time. Hashing their passwords is what takes the time.
const REGISTERING: usize = 4;
/// What a call that succeeds is counted as.
const OK: &str = "OK";

/// Who storms.
#[derive(Clone, Copy, Debug)]
enum Kind {
    /// All log in at once, and again once all have an answer.
    Logins,
    /// Each signs up again and again under a username that somebody has.
    TakenNames,
}

/// A storm that is ready to begin.
#[derive(Clone, Debug)]
pub(super) struct Storm {
    kind: Kind,
    /// How many take part.
    size: u64,
    world: Arc<World>,
    /// Connections without a credential, which purchases do not share.
    connections: Connections,
}

/// What the callers of a storm were answered.
#[derive(Clone, Debug)]
pub(super) struct Stormed {
    /// How often each answer came: `OK`, or the reason of an error.
    pub(super) answers: BTreeMap<String, u64>,
    /// The time of each call, in microseconds.
    pub(super) histogram: Histogram<u64>,
}

impl Storm {
    /// Makes the accounts that a storm needs; `None` for a scenario without a storm.
    pub(super) async fn prepare(
        world: &Arc<World>,
        scenario: Scenario,
        size: u64,
        server: &client::Server,
    ) -> Result<Option<Self>, LoadError> {
        let (kind, accounts) = match scenario {
            Scenario::Login => (Kind::Logins, size),
            Scenario::TakenNames => (Kind::TakenNames, 1),
            _ => return Ok(None),
        };
        world.progress.begin("making accounts with passwords");
        let (plan, accounts_of) = (Plan::of_count(accounts, REGISTERING), world.clone());
        let registered = driver::run(&plan, move |number| {
            let world = accounts_of.clone();
            async move {
                let number = world.population.size() + number;
                world.ended(world.register(number, String::new()).await).map(drop)
            }
        });
        if let Some((reason, _)) = registered.await.errors.pop_first() {
            return Err(LoadError::Call { what: "make accounts with passwords", reason });
        }
        let connections = Connections::open(server, "", CONNECTIONS).await?.with(None)?;
        Ok(Some(Self { kind, size, world: world.clone(), connections }))
    }

    /// Storms while `work` runs, and until the calls that are under way then have an answer.
    pub(super) async fn during<T>(&self, work: impl Future<Output = T>) -> (T, Stormed) {
        let is_over = Arc::new(AtomicBool::new(false));
        let work = async {
            let done = work.await;
            is_over.store(true, Ordering::Relaxed);
            done
        };
        let storm = async {
            match self.kind {
                Kind::Logins => self.logins(&is_over).await,
                Kind::TakenNames => self.taken_names(&is_over).await,
            }
        };
        tokio::join!(work, storm)
    }

    async fn logins(&self, is_over: &AtomicBool) -> Stormed {
        let mut stormed = Stormed::new();
        while !is_over.load(Ordering::Relaxed) {
            let mut calls = JoinSet::new();
            for number in 0..self.size {
                let storm = self.clone();
                calls.spawn(async move { timed(storm.login(number)).await });
            }
            while let Some(Ok((answer, took))) = calls.join_next().await {
                stormed.note(answer, took);
            }
        }
        stormed
    }

    async fn taken_names(&self, is_over: &Arc<AtomicBool>) -> Stormed {
        let mut callers = JoinSet::new();
        for caller in 0..self.size {
            let (storm, is_over) = (self.clone(), is_over.clone());
            callers.spawn(async move {
                let mut stormed = Stormed::new();
                while !is_over.load(Ordering::Relaxed) {
                    let (answer, took) = timed(storm.sign_up(caller)).await;
                    stormed.note(answer, took);
                }
                stormed
            });
        }
        let mut all = Stormed::new();
        while let Some(Ok(one)) = callers.join_next().await {
            all.add(one);
        }
        all
    }

    /// The id of an account that was made for the storm, which is its username too.
    fn account(&self, number: u64) -> String {
        self.world.ledger.id(Write::User, self.world.population.size() + number)
    }

    async fn login(&self, number: u64) -> Result<(), Status> {
        let message = LoginRequest {
            login: self.account(number),
            password: PASSWORD.into(),
            ..Default::default()
        };
        let mut accounts = AccountServiceClient::new(self.connections.channel(number));
        accounts.login(self.connections.request(message)).await.map(drop)
    }

    /// Refused, because the username is that of the first account.
    async fn sign_up(&self, caller: u64) -> Result<(), Status> {
        let username = self.account(0);
        let message = RegisterUserRequest {
            email: format!("{username}-{caller}@example.com"),
            username,
            password: PASSWORD.into(),
            ..Default::default()
        };
        let mut accounts = AccountServiceClient::new(self.connections.channel(caller));
        accounts.register_user(self.connections.request(message)).await.map(drop)
    }
}

impl Stormed {
    fn new() -> Self {
        Self { answers: BTreeMap::new(), histogram: histogram() }
    }

    fn note(&mut self, answer: String, micros: u64) {
        *self.answers.entry(answer).or_default() += 1;
        record(&mut self.histogram, micros);
    }

    fn add(&mut self, other: Self) {
        for (answer, count) in other.answers {
            *self.answers.entry(answer).or_default() += count;
        }
        // Fails only for a histogram that cannot grow.
        let added = self.histogram.add(other.histogram);
        debug_assert!(added.is_ok());
    }
}

/// What a call was answered, and how long it took, in microseconds.
async fn timed(call: impl Future<Output = Result<(), Status>>) -> (String, u64) {
    let begun = Instant::now();
    let answer = call.await.err().map_or_else(|| OK.to_owned(), |status| reason(&status));
    (answer, micros(begun.elapsed()))
}
