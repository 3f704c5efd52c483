//! How many hold periods a second a server ends, and what that costs purchases meanwhile.
//!
//! The program holds rewards for a month. The run makes purchases, and then lets the month pass for them: it sets the
//! ends of their hold periods, in the log and in the table of what is due, to a moment that is over. A client cannot do
//! that, so the run needs a database of its own. First the server ends hold periods while nothing else happens, and
//! then as many beside purchases as fast as they go. Rates and shares are read from the log, of which one batch is what
//! was recorded at one moment.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use sqlx::{Connection, PgConnection, Row};
use tokio::time::{Instant, sleep};

use super::connections::Connections;
use super::driver::{self, Length, Measured, Plan};
use super::ledger::Ledger;
use super::population::{self, PROGRAM_ID, Population};
use super::refunds::all_succeeded;
use super::world::{Progress, World};
use super::{LoadError, OwnServer, Scenario, lag};
use client::Server;
use domain::Timestamp;

/// For how many days the program holds rewards: longer than any run.
const HOLD_DAYS: i32 = 30;
/// How often to look whether all hold periods are ended, and for how long.
const POLL: Duration = Duration::from_millis(100);
const PATIENCE: Duration = Duration::from_mins(10);

/// How the measurement is made.
#[derive(Clone, Debug)]
pub struct Releases {
    /// Participants that are signed up first.
    pub participants: u64,
    /// Hold periods that end, each of two rewards: so many alone, and so many beside purchases.
    pub count: u64,
    /// How long purchases alone are measured, and again beside the ends of hold periods.
    pub duration: Duration,
    /// Purchases in progress at the same time.
    pub concurrency: usize,
    /// Connections to the server.
    pub connections: usize,
    /// The seed of all choices.
    pub seed: u64,
}

/// What was measured.
#[derive(Clone, Copy, Debug)]
pub struct Released {
    /// Releases a second while nothing else happened.
    pub alone_per_s: f64,
    /// Purchases a second while nothing else happened.
    pub purchases_alone_per_s: f64,
    /// Both beside each other.
    pub beside: Window,
}

/// The log from the first to the last release of a turn.
#[derive(Clone, Copy, Debug, Default)]
pub struct Window {
    /// How long it is, in seconds.
    pub seconds: f64,
    /// Releases.
    pub releases: i64,
    /// Purchases.
    pub purchases: i64,
    /// Batches that hold purchases.
    pub batches: i64,
    /// The releases in those batches.
    pub releases_in_them: i64,
    /// The most releases in one of them.
    pub most_releases: i64,
}

impl Window {
    /// Releases a second.
    #[must_use]
    pub fn releases_per_s(&self) -> f64 {
        rate(self.releases, self.seconds)
    }

    /// Purchases a second.
    #[must_use]
    pub fn purchases_per_s(&self) -> f64 {
        rate(self.purchases, self.seconds)
    }

    /// The share of releases among the commands of the batches that hold purchases.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a share for people")]
    pub fn share_of_releases(&self) -> f64 {
        let commands = self.purchases.saturating_add(self.releases_in_them).max(1);
        self.releases_in_them as f64 / commands as f64
    }
}

#[expect(clippy::cast_precision_loss, reason = "a rate for people")]
fn rate(count: i64, seconds: f64) -> f64 {
    count as f64 / seconds.max(1e-6)
}

impl Released {
    /// The lines to print.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        let Self { alone_per_s, purchases_alone_per_s, beside } = self;
        let Window { seconds, batches, most_releases, .. } = beside;
        let (releases_per_s, purchases_per_s) = (beside.releases_per_s(), beside.purchases_per_s());
        vec![
            format!(
                "alone: {alone_per_s:.0} releases a second, or {purchases_alone_per_s:.0} purchases a second"
            ),
            format!(
                "beside each other, for {seconds:.1} s: {releases_per_s:.0} releases and {purchases_per_s:.0} \
                 purchases a second (x{:.2} of purchases alone)",
                purchases_per_s / purchases_alone_per_s
            ),
            format!(
                "{batches} batches with purchases: {:.0} % of their commands are releases; at most {most_releases} in \
                 one",
                beside.share_of_releases() * 100.0
            ),
        ]
    }
}

/// Measures releases on a server of the run. `moment` names the run.
///
/// # Errors
/// If something cannot be measured, or a call fails.
pub async fn releases(
    settings: &Releases,
    server: &OwnServer,
    admin_key: &str,
    moment: Timestamp,
    say: &(dyn Fn(String) + Send + Sync),
) -> Result<Released, LoadError> {
    let mut database = PgConnection::connect(&server.database_url()?).await.map_err(unreadable)?;
    let server = Server::at(&server.url);
    let connections = Connections::open(&server, admin_key, settings.connections).await?;
    let population = Population::of(Scenario::Purchase, settings.participants, 0);
    let ledger = Ledger::new(format!("load-{:x}", moment.0));
    let (program_id, progress) = (PROGRAM_ID.into(), Arc::new(Progress::default()));
    let seed = settings.seed;
    let world = Arc::new(World::new(connections, program_id, seed, ledger, population, progress));
    say(format!("signing up {} participants", world.population.size()));
    population::publish_with(&world, Some(HOLD_DAYS)).await?;
    population::settle(&world).await?;
    let run = Run { settings, world, next: Arc::default() };

    say(format!("recording {} purchases, for which the month passes", settings.count));
    let due = run.hold(&mut database).await?;
    due.let_time_pass(&mut database).await.map_err(unreadable)?;
    all_ended(&mut database).await?;
    let alone = due.window(&mut database).await.map_err(unreadable)?;

    say(format!("recording {} more", settings.count));
    let due = run.hold(&mut database).await?;
    say("measuring purchases alone, and then beside releases".into());
    let before = run.purchases().await?;
    lag::catch_up(&run.world.connections, PROGRAM_ID).await?;
    let (during, passed) = tokio::join!(run.purchases(), due.let_time_pass(&mut database));
    during?;
    passed.map_err(unreadable)?;
    let beside = due.window(&mut database).await.map_err(unreadable)?;
    all_ended(&mut database).await?;
    let alone_per_s = alone.releases_per_s();
    Ok(Released { alone_per_s, purchases_alone_per_s: before.throughput(), beside })
}

struct Run<'a> {
    settings: &'a Releases,
    world: Arc<World>,
    /// The number of the next purchase.
    next: Arc<AtomicU64>,
}

impl Run<'_> {
    /// Purchases for as long as the settings say.
    async fn purchases(&self) -> Result<Measured, LoadError> {
        self.operate(Length::Duration(self.settings.duration)).await
    }

    async fn operate(&self, length: Length) -> Result<Measured, LoadError> {
        let (world, next) = (self.world.clone(), self.next.clone());
        let concurrency = self.settings.concurrency;
        let plan = Plan { concurrency, warm_up: Duration::ZERO, length, rate: None };
        let measured = driver::run(&plan, move |_| {
            let (world, number) = (world.clone(), next.fetch_add(1, Ordering::Relaxed));
            async move { world.ended(world.purchase(number).await.map(drop)) }
        })
        .await;
        all_succeeded("record purchases", &measured)?;
        Ok(measured)
    }

    /// Records the purchases whose hold periods are to end, and waits until it is noted when they do.
    async fn hold(&self, database: &mut PgConnection) -> Result<Due, LoadError> {
        let after = end_of_log(database).await.map_err(unreadable)?;
        self.operate(Length::Count(self.settings.count)).await?;
        let due = Due { after, until: end_of_log(database).await.map_err(unreadable)? };
        let noted = "select coalesce(max(position), 0) >= $1 from reaction_checkpoints \
             where reaction = 'releases'";
        until(database, noted, due.until, "wait until hold periods are noted").await?;
        lag::catch_up(&self.world.connections, PROGRAM_ID).await?;
        Ok(due)
    }
}

/// The rewards that were granted in a part of the log, and wait.
struct Due {
    after: i64,
    until: i64,
}

impl Due {
    /// Sets the ends of their hold periods to a moment that is over.
    async fn let_time_pass(&self, database: &mut PgConnection) -> Result<(), sqlx::Error> {
        let mut transaction = database.begin().await?;
        let moved = sqlx::query(
            "with past as (select (extract(epoch from now()) * 1000000)::bigint - 1 as moment), due as ( \
                 update events set payload = jsonb_set(payload, '{release_time_us}', to_jsonb(past.moment)) \
                 from past \
                 where position > $1 and position <= $2 and payload ? 'release_time_us' \
                 returning payload ->> 'purchase_id' as purchase_id) \
             update releases set release_time_us = past.moment, due_time_us = past.moment from past \
             where purchase_id in (select purchase_id from due)",
        );
        moved.bind(self.after).bind(self.until).execute(&mut *transaction).await?;
        transaction.commit().await
    }

    /// What the log says of the time from the first to the last of their releases, or to the last purchase if there
    /// were purchases beside them that ended earlier.
    async fn window(&self, database: &mut PgConnection) -> Result<Window, sqlx::Error> {
        let row = sqlx::query(
            "with commands as ( \
                 select recorded_at, event_type = 'PurchaseRecorded' as buys, \
                     event_type = 'HoldPeriodEnded' as ends \
                 from events where position > $1 and event_type in ('PurchaseRecorded', 'HoldPeriodEnded') \
             ), bounds as ( \
                 select min(recorded_at) filter (where ends) as first, \
                     least(max(recorded_at) filter (where ends), max(recorded_at) filter (where buys)) as last \
                 from commands \
             ), batches as ( \
                 select recorded_at, count(*) filter (where ends) as releases, \
                     count(*) filter (where buys) as purchases \
                 from commands, bounds where recorded_at between first and last group by recorded_at \
             ) \
             select (select extract(epoch from last - first)::float8 from bounds) as seconds, \
                 coalesce(sum(releases), 0)::bigint as releases, \
                 coalesce(sum(purchases), 0)::bigint as purchases, \
                 count(*) filter (where purchases > 0) as batches, \
                 coalesce(sum(releases) filter (where purchases > 0), 0)::bigint as releases_in_them, \
                 coalesce(max(releases) filter (where purchases > 0), 0) as most_releases \
             from batches",
        );
        let row = row.bind(self.until).fetch_one(database).await?;
        Ok(Window {
            seconds: row.try_get::<Option<f64>, _>("seconds")?.unwrap_or_default(),
            releases: row.try_get("releases")?,
            purchases: row.try_get("purchases")?,
            batches: row.try_get("batches")?,
            releases_in_them: row.try_get("releases_in_them")?,
            most_releases: row.try_get("most_releases")?,
        })
    }
}

async fn end_of_log(database: &mut PgConnection) -> Result<i64, sqlx::Error> {
    let end = "select coalesce(max(position), 0) from events";
    sqlx::query_scalar(end).fetch_one(database).await
}

/// Waits until no hold period that is over waits.
async fn all_ended(database: &mut PgConnection) -> Result<(), LoadError> {
    let ended = "select not exists (select from releases \
         where due_time_us <= (extract(epoch from now()) * 1000000)::bigint + $1)";
    until(database, ended, 0, "wait until all hold periods are ended").await
}

/// Waits until a question about a number is answered with yes.
async fn until(
    database: &mut PgConnection,
    question: &str,
    number: i64,
    what: &'static str,
) -> Result<(), LoadError> {
    let end = Instant::now() + PATIENCE;
    loop {
        let answer = sqlx::query_scalar(question).bind(number).fetch_one(&mut *database).await;
        if answer.map_err(unreadable)? {
            return Ok(());
        }
        if Instant::now() >= end {
            return Err(LoadError::Call { what, reason: "it takes too long".into() });
        }
        sleep(POLL).await;
    }
}

#[expect(clippy::needless_pass_by_value, reason = "the signature that map_err asks for")]
fn unreadable(error: sqlx::Error) -> LoadError {
    LoadError::Unusable { what: "the database of the run", reason: error.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_share_of_releases_counts_batches_with_purchases_only() {
        let beside = Window {
            seconds: 2.0,
            releases: 500,
            purchases: 900,
            batches: 10,
            releases_in_them: 100,
            most_releases: 50,
        };
        assert!((beside.share_of_releases() - 0.1).abs() < 1e-9);
        let released = Released { alone_per_s: 1.0, purchases_alone_per_s: 900.0, beside };
        let lines = released.lines();
        assert!(lines[1].contains("250 releases and 450 purchases a second (x0.50"), "{lines:?}");
        assert!(lines[2].contains("10 batches with purchases: 10 %"), "{lines:?}");
        assert!((Window::default().share_of_releases()).abs() < 1e-9);
    }
}
