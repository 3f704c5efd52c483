//! How soon first pages are complete among many participants, and how many live pages one process serves.
//!
//! People sign in by the form, as browsers do. A first page is fetched with its style and script, compressed, each time
//! on connections of its own, as by somebody who comes for the first time. Live pages are dashboards of participants:
//! each has a connection of its own, and follows its stream. Then each person's friend buys once, and every page of the
//! person must hear of it, exactly once.

mod browser;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hdrhistogram::Histogram;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use self::browser::{Browser, Stream, between, failed};
use super::connections::Connections;
use super::driver::{self, Length, Plan, histogram, micros, record};
use super::ledger::Ledger;
use super::machine::Memory;
use super::population::{self, PROGRAM_ID, Population};
use super::refunds::all_succeeded;
use super::report::Latency;
use super::world::{PASSWORD, Progress, World};
use super::{LoadError, OwnServer, Scenario, lag, reason};
use client::Server;
use contract::pb::account_service_client::AccountServiceClient;
use contract::pb::purchase_service_client::PurchaseServiceClient;
use contract::pb::{
    Money, RecordPurchaseRequest, RegisterUserRequest, SetUserRoleRequest, UserRole,
};
use domain::Timestamp;

/// Live pages of one session: the server lets it have no more.
pub const MAX_PAGES_OF_SESSION: usize = 8;
/// How often each first page is fetched to be measured, after a few that are not.
const FETCHED: usize = 100;
const WARM_UP: usize = 10;
/// How many pages are opened at the same time.
const OPENING: usize = 64;
/// How many people sign up and in at the same time: each of them has a password hashed twice.
const SIGNING_IN: usize = 8;
/// How long a page may take to begin following, and to hear of a purchase.
const PATIENCE: Duration = Duration::from_mins(2);
/// How long to listen for what comes twice, after everything has come.
const LISTEN_ON: Duration = Duration::from_secs(1);
/// What a friend buys for, in minor units.
const PRICE_MINOR: i64 = 100_000;
/// The operator among those who sign in.
const OPERATOR: &str = "staff";
/// What a line of the ledger looks like in a message.
const ENTRY: &str = "id=\"entry-";

/// How the measurement is made.
#[derive(Clone, Debug)]
pub struct Pages {
    /// Participants of the program.
    pub participants: u64,
    /// People who have signed in.
    pub people: usize,
    /// Live pages, the same number of each person.
    pub pages: usize,
    /// Purchases a second.
    pub rate: f64,
    /// Calls in progress at the same time while people sign up.
    pub concurrency: usize,
    /// Connections for calls.
    pub connections: usize,
    /// The seed of all choices.
    pub seed: u64,
}

impl Pages {
    /// Arguments of a server that has room for so many pages from one address.
    #[must_use]
    pub fn arguments(&self) -> Vec<String> {
        let room = (self.pages + OPENING * 8).to_string();
        [
            ["--connections", &room],
            ["--connections-per-address", &room],
            ["--streams", &room],
            ["--user-calls-per-minute", "0"],
            ["--address-calls-per-minute", "0"],
            ["--open-calls-per-address-per-minute", "0"],
            ["--open-calls-per-minute", "0"],
        ]
        .into_iter()
        .flatten()
        .map(ToOwned::to_owned)
        .collect()
    }
}

/// A first page with its style and script.
#[derive(Clone, Debug)]
pub struct FirstPage {
    /// What the page is.
    pub name: &'static str,
    /// The most that was sent for it, compressed, in bytes.
    pub bytes: usize,
    /// How long it took until everything had arrived, in microseconds.
    pub complete: Histogram<u64>,
}

/// What was measured.
#[derive(Clone, Debug)]
pub struct Served {
    /// First pages.
    pub first: Vec<FirstPage>,
    /// Live pages, and the people to whom they belong.
    pub pages: usize,
    /// See `pages`.
    pub people: usize,
    /// How long opening all of them took.
    pub opened: Duration,
    /// The memory of the server before and with them, if it is known, and once all had heard of a purchase.
    pub memory: Option<[Memory; 3]>,
    /// The time from the answer to a purchase until a page heard of it, in microseconds; 0 if the page was first.
    pub heard: Histogram<u64>,
    /// Pages that heard nothing of a purchase, and those that heard of it twice.
    pub missing: usize,
    /// See `missing`.
    pub twice: usize,
}

impl Served {
    /// The lines to print.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        let mut lines: Vec<String> = self.first.iter().map(FirstPage::line).collect();
        let Self { pages, people, opened, missing, twice, .. } = self;
        lines.push(format!(
            "{pages} live pages of {people} people, opened in {:.1} s",
            opened.as_secs_f64()
        ));
        if let Some([before, with, after]) = self.memory {
            let megabytes = |memory: Memory| memory.resident_bytes / 1_000_000;
            let more = with.resident_bytes.saturating_sub(before.resident_bytes);
            let each = more / u64::try_from(*pages).unwrap_or(1).max(1) / 1_000;
            lines.push(format!(
                "memory of the server: {} MB before, {} MB with them ({each} KB a page), {} MB after the purchases",
                megabytes(before),
                megabytes(with),
                megabytes(after),
            ));
        }
        lines.push(format!(
            "a purchase of each person's friend: {} pages heard of it, {missing} did not, {twice} heard of it \
             twice; {} after the answer",
            self.heard.len(),
            latencies(&self.heard),
        ));
        lines
    }

    /// What is wrong; `None` if every page heard of each purchase once.
    #[must_use]
    pub fn failure(&self) -> Option<String> {
        let Self { missing, twice, .. } = self;
        let is_wrong = *missing > 0 || *twice > 0;
        is_wrong.then(|| format!("{missing} pages missed a purchase, {twice} heard of one twice"))
    }
}

impl FirstPage {
    fn line(&self) -> String {
        let Self { name, bytes, complete } = self;
        #[expect(clippy::cast_precision_loss, reason = "a size for people")]
        let kilobytes = *bytes as f64 / 1_000.0;
        format!("{name}: {kilobytes:.1} KB compressed, complete {}", latencies(complete))
    }
}

fn latencies(histogram: &Histogram<u64>) -> String {
    let Latency { p50_ms, p99_ms, max_ms, .. } = Latency::of(histogram);
    format!("p50 {p50_ms:.1} ms, p99 {p99_ms:.1} ms, at most {max_ms:.0} ms")
}

/// Somebody who has signed in.
struct Person {
    cookie: String,
    friend: String,
}

/// Measures pages of a server of the run. `moment` names the run.
///
/// # Errors
/// If something cannot be measured, or a call fails.
pub async fn pages(
    settings: &Pages,
    server: &OwnServer,
    admin_key: &str,
    moment: Timestamp,
    say: &(dyn Fn(String) + Send + Sync),
) -> Result<Served, LoadError> {
    let address = server.url.trim_start_matches("http://").to_owned();
    let connections =
        Connections::open(&Server::at(&server.url), admin_key, settings.connections).await?;
    let population = Population::of(Scenario::Purchase, settings.participants, 0);
    let ledger = Ledger::new(format!("load-{:x}", moment.0));
    let (program_id, progress) = (PROGRAM_ID.into(), Arc::new(Progress::default()));
    let world = World::new(connections, program_id, settings.seed, ledger, population, progress);
    let run = Run { settings, world: Arc::new(world), address };
    say(format!("signing up {} participants", run.world.population.size()));
    population::publish(&run.world).await?;
    population::settle(&run.world).await?;
    say(format!("signing in {} people", settings.people));
    let people = Arc::new(run.people().await?);
    let operator = run.operator().await?;
    lag::catch_up(&run.world.connections, PROGRAM_ID).await?;

    say("fetching first pages".into());
    let dashboard = format!("/p/{PROGRAM_ID}");
    let view = format!("/o/programs/{PROGRAM_ID}/view");
    let first = vec![
        run.first("dashboard", &dashboard, &|number| &people[number % people.len()].cookie).await?,
        run.first("overview", "/o", &|_| &operator).await?,
        run.first("view of the program", &view, &|_| &operator).await?,
    ];

    say(format!("opening {} live pages", settings.pages));
    let memory = || server.process_id().and_then(Memory::of);
    let (before, begun) = (memory(), Instant::now());
    let heard = Heard::new(people.len());
    let mut open = run.open(&people, &heard).await?;
    let (opened, with) = (begun.elapsed(), memory());

    say(format!("recording {} purchases", people.len()));
    run.purchases(&people, &heard).await?;
    let awaited = timeout(PATIENCE, async {
        while heard.lock().waits.len() < settings.pages {
            sleep(Duration::from_millis(10)).await;
        }
    });
    // Pages that have heard nothing by then are counted as such.
    let _ = awaited.await;
    sleep(LISTEN_ON).await;
    let after = memory();
    open.abort_all();
    let heard = heard.lock();
    let mut waits = histogram();
    let missing = settings.pages.saturating_sub(heard.waits.len());
    for (person, arrived) in &heard.waits {
        let answered = heard.answered.get(*person).copied().flatten().unwrap_or(*arrived);
        record(&mut waits, micros(arrived.saturating_duration_since(answered)));
    }
    let memory = before.zip(with).zip(after).map(|((before, with), after)| [before, with, after]);
    Ok(Served {
        first,
        pages: settings.pages,
        people: people.len(),
        opened,
        memory,
        heard: waits,
        missing,
        twice: heard.twice,
    })
}

struct Run<'a> {
    settings: &'a Pages,
    world: Arc<World>,
    address: String,
}

impl Run<'_> {
    /// Signs up people with a friend each, and signs them in.
    async fn people(&self) -> Result<Vec<Person>, LoadError> {
        let places = Arc::new(Semaphore::new(SIGNING_IN));
        let mut joining = JoinSet::new();
        for number in 0..self.settings.people {
            let (places, address) = (places.clone(), self.address.clone());
            let connections = self.world.connections.clone();
            joining.spawn(async move {
                let _place = places.acquire().await;
                let (username, friend) = (format!("watcher-{number}"), format!("friend-{number}"));
                let code = register(&connections, number, &username, PASSWORD, "").await?;
                register(&connections, number, &friend, "", &code).await?;
                let mut browser = Browser::open(&address, "").await?;
                let cookie = browser.sign_in(&username, PASSWORD).await?;
                Ok::<_, LoadError>(Person { cookie, friend })
            });
        }
        let mut people = Vec::with_capacity(self.settings.people);
        while let Some(joined) = joining.join_next().await {
            people.push(joined.map_err(failed("sign in"))??);
        }
        Ok(people)
    }

    /// The cookie of an operator.
    async fn operator(&self) -> Result<String, LoadError> {
        let connections = &self.world.connections;
        register(connections, 0, OPERATOR, PASSWORD, "").await?;
        let message = SetUserRoleRequest {
            user_id: OPERATOR.into(),
            role: UserRole::Operator.into(),
            ..Default::default()
        };
        let mut client = AccountServiceClient::new(connections.channel(0));
        let set = client.set_user_role(connections.request(message)).await;
        set.map_err(LoadError::call("make an operator"))?;
        Browser::open(&self.address, "").await?.sign_in(OPERATOR, PASSWORD).await
    }

    /// Measures a first page, one fetch after the other.
    async fn first<'a>(
        &self,
        name: &'static str,
        path: &str,
        cookie: &dyn Fn(usize) -> &'a String,
    ) -> Result<FirstPage, LoadError> {
        let (mut bytes, mut complete) = (0, histogram());
        for number in 0..WARM_UP + FETCHED {
            let cookie = cookie(number);
            // What a page refers to is the same each time.
            let page = Browser::open(&self.address, cookie).await?.get(path, false).await?;
            let page_text = page.text();
            let begun = Instant::now();
            let mut browser = Browser::open(&self.address, cookie).await?;
            let page = browser.get(path, true).await?;
            if page.status != http::StatusCode::OK {
                return Err(failed("fetch a page")(format!("{path} is {}", page.status)));
            }
            let parts = ["href=\"/assets/icon", "href=\"/assets/style", "src=\"/assets/live"];
            let mut fetching = JoinSet::new();
            for part in parts {
                let known = part.split_once('"').map_or("", |(_, path)| path);
                let rest = between(&page_text, part).unwrap_or_default();
                let (address, path) = (self.address.clone(), format!("{known}{rest}"));
                fetching.spawn(async move {
                    let answer = Browser::open(&address, "").await?.get(&path, true).await?;
                    if answer.status == http::StatusCode::OK {
                        Ok(answer.body.len())
                    } else {
                        Err(failed("fetch what a page refers to")(format!(
                            "{path} is {}",
                            answer.status
                        )))
                    }
                });
            }
            let mut sent = page.body.len();
            while let Some(fetched) = fetching.join_next().await {
                sent += fetched.map_err(failed("fetch what a page refers to"))??;
            }
            if number >= WARM_UP {
                record(&mut complete, micros(begun.elapsed()));
                bytes = bytes.max(sent);
            }
        }
        Ok(FirstPage { name, bytes, complete })
    }

    /// Opens all live pages, and listens to them in the background.
    async fn open(
        &self,
        people: &Arc<Vec<Person>>,
        heard: &Arc<Heard>,
    ) -> Result<JoinSet<()>, LoadError> {
        let places = Arc::new(Semaphore::new(OPENING));
        let mut opening = JoinSet::new();
        for number in 0..self.settings.pages {
            let person = number % people.len().max(1);
            let (places, people) = (places.clone(), people.clone());
            let address = self.address.clone();
            opening.spawn(async move {
                let _place = places.acquire().await;
                let followed = timeout(PATIENCE, follow(&address, &people[person].cookie)).await;
                let stream = followed.map_err(failed("follow a page"))??;
                Ok::<_, LoadError>((person, stream))
            });
        }
        let mut open = JoinSet::new();
        while let Some(opened) = opening.join_next().await {
            let (person, mut stream) = opened.map_err(failed("follow a page"))??;
            let heard = heard.clone();
            open.spawn(async move {
                let mut is_first = true;
                while let Ok(Some(message)) = stream.message().await {
                    for _ in 0..message.matches(ENTRY).count() {
                        heard.arrived(person, is_first);
                        is_first = false;
                    }
                }
            });
        }
        Ok(open)
    }

    /// Lets the friend of each person buy once.
    async fn purchases(
        &self,
        people: &Arc<Vec<Person>>,
        heard: &Arc<Heard>,
    ) -> Result<(), LoadError> {
        let plan = Plan {
            concurrency: self.settings.concurrency,
            warm_up: Duration::ZERO,
            length: Length::Count(u64::try_from(people.len()).unwrap_or(u64::MAX)),
            rate: Some(self.settings.rate),
        };
        let (people, heard) = (people.clone(), heard.clone());
        let connections = self.world.connections.clone();
        let measured = driver::run(&plan, move |number| {
            let (people, heard, connections) = (people.clone(), heard.clone(), connections.clone());
            async move {
                let person = usize::try_from(number).unwrap_or_default();
                let friend = &people[person].friend;
                let message = RecordPurchaseRequest {
                    purchase_id: format!("of-{friend}"),
                    buyer_user_id: friend.clone(),
                    amount: Some(Money { currency_code: "INR".into(), minor_units: PRICE_MINOR }),
                    ..Default::default()
                };
                let mut client = PurchaseServiceClient::new(connections.channel(number));
                let outcome = client.record_purchase(connections.request(message)).await;
                outcome.map_err(|status| reason(&status))?;
                heard.lock().answered[person] = Some(Instant::now());
                Ok(())
            }
        })
        .await;
        all_succeeded("record purchases", &measured)
    }
}

/// What pages have heard.
struct Heard(Mutex<Halves>);

struct Halves {
    /// When the purchase of each person's friend was answered.
    answered: Vec<Option<Instant>>,
    /// Whose page heard of it, and when.
    waits: Vec<(usize, Instant)>,
    twice: usize,
}

impl Heard {
    fn new(people: usize) -> Arc<Self> {
        let halves = Halves { answered: vec![None; people], waits: Vec::new(), twice: 0 };
        Arc::new(Self(Mutex::new(halves)))
    }

    fn lock(&self) -> MutexGuard<'_, Halves> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn arrived(&self, person: usize, is_first: bool) {
        let mut halves = self.lock();
        if is_first {
            halves.waits.push((person, Instant::now()));
        } else {
            halves.twice += 1;
        }
    }
}

/// Fetches a dashboard and follows what it follows, until the first message has come: nothing that happens later can be
/// missed.
async fn follow(address: &str, cookie: &str) -> Result<Stream, LoadError> {
    let mut browser = Browser::open(address, cookie).await?;
    let page = browser.get(&format!("/p/{PROGRAM_ID}"), false).await?.text();
    let found = between(&page, "data-live=\"").zip(between(&page, "data-token=\""));
    let (path, token) =
        found.ok_or_else(|| failed("follow a page")("the page follows nothing".to_owned()))?;
    let mut stream = browser.follow(&format!("{path}?resume_token={token}")).await?;
    loop {
        match stream.message().await? {
            Some(message) if message.contains("event: part") => return Ok(stream),
            Some(message) if message.contains("event: end") => break,
            Some(_) => {}
            None => break,
        }
    }
    Err(failed("follow a page")("the stream ended".to_owned()))
}

/// Signs somebody up in the program of the run, and returns their code.
async fn register(
    connections: &Connections,
    number: usize,
    username: &str,
    password: &str,
    referral_code: &str,
) -> Result<String, LoadError> {
    let message = RegisterUserRequest {
        user_id: username.into(),
        username: username.into(),
        email: format!("{username}@example.com"),
        password: password.into(),
        program_id: PROGRAM_ID.into(),
        referral_code: referral_code.into(),
        ..Default::default()
    };
    let channel = connections.channel(u64::try_from(number).unwrap_or_default());
    let registered =
        AccountServiceClient::new(channel).register_user(connections.request(message)).await;
    let registered = registered.map_err(LoadError::call("sign up"))?.into_inner();
    Ok(registered.participants.into_iter().next().unwrap_or_default().code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_that_misses_a_purchase_or_hears_of_it_twice_is_a_failure() {
        let heard = Heard::new(2);
        heard.arrived(0, true);
        heard.arrived(0, false);
        let halves = heard.lock();
        assert_eq!((halves.waits.len(), halves.twice), (1, 1));
        let served = |missing, twice| Served {
            first: Vec::new(),
            pages: 2,
            people: 2,
            opened: Duration::from_secs(1),
            memory: None,
            heard: histogram(),
            missing,
            twice,
        };
        assert_eq!(served(0, 0).failure(), None);
        assert!(served(1, 0).failure().is_some_and(|said| said.contains("1 pages missed")));
        assert!(served(0, 1).failure().is_some());
    }
}
