//! Jobs: each is done as guaranteed, however its attempts end.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use sqlx::Executor;
use tokio_util::sync::CancellationToken;
use tributary::engine::Environment;
use tributary::jobs::handlers::SendMail;
use tributary::jobs::{
    self, Attempt, Doing, Handler, Handlers, JobError, JobMetrics, Limits, Pauses, TakenJob, Worker,
};
use tributary::mails::unsubscribing::Unsubscribing;
use tributary::mails::{MailSettings, TokenLives};
use tributary::metrics::Metrics;
use tributary::payments::{self, Payments};
use tributary::store::Database;
use tributary::store::functions;
use tributary::store::jobs::{Capability, JobFilter, JobState, NewJob};

use crate::held_referrals::engine;
use testing::TestDatabase;

/// Short intervals, so that tests need not wait.
pub(super) fn hasty() -> Limits {
    Limits {
        poll_interval: Duration::from_millis(20),
        grace: Duration::from_millis(100),
        pauses: Pauses { first: Duration::from_millis(10), longest: Duration::from_millis(50) },
        ..Limits::default()
    }
}

/// A database with the tables that the handlers of these tests write into.
pub(super) async fn with_tables() -> TestDatabase {
    let database = TestDatabase::new().await;
    for table in ["seen (job bigint, position bigint)", "effects (position bigint primary key)"] {
        database.pool.execute(format!("create table {table}").as_str()).await.unwrap();
    }
    database
}

const NUMBER: Capability =
    Capability { kind: "number", lease: Duration::from_millis(100), max_attempts: 3 };

async fn insert(database: &TestDatabase, kind: &str, key: &str) -> bool {
    let payload = json!({});
    let job = NewJob { kind, dedupe_key: key, payload: &payload };
    tributary::store::jobs::insert(&database.pool, job).await.unwrap()
}

async fn take(database: &TestDatabase) -> Vec<TakenJob> {
    tributary::store::jobs::take(&database.pool, &[NUMBER], 10).await.unwrap()
}

async fn states(database: &TestDatabase) -> Vec<(JobState, i32)> {
    let all = JobFilter::default();
    tributary::store::jobs::list(&database.pool, &all, i64::MAX, 10)
        .await
        .unwrap()
        .iter()
        .map(|job| (job.state, job.attempts))
        .collect()
}

#[tokio::test]
async fn a_job_whose_worker_died_is_taken_again_and_only_the_last_attempt_can_end_it() {
    use tributary::store::jobs::{complete, fail};
    let database = TestDatabase::new().await;
    assert!(insert(&database, "number", "1").await);
    assert!(!insert(&database, "number", "1").await);
    assert!(insert(&database, "unknown", "1").await);
    let first = take(&database).await.remove(0);
    assert!(take(&database).await.is_empty());
    tokio::time::sleep(NUMBER.lease * 2).await;
    let second = take(&database).await.remove(0);
    assert_eq!((second.id, first.attempt, second.attempt), (first.id, 1, 2));

    // The first worker was not dead.
    assert!(!complete(&database.pool, first.id, 1).await.unwrap());
    assert!(!fail(&database.pool, first.id, 1, "late", None).await.unwrap());
    tokio::time::sleep(NUMBER.lease * 2).await;
    assert_eq!(take(&database).await.remove(0).attempt, 3);
    tokio::time::sleep(NUMBER.lease * 2).await;
    // The workers of all allowed attempts have died.
    assert!(take(&database).await.is_empty());
    assert_eq!(states(&database).await, [(JobState::Queued, 0), (JobState::Parked, 3)]);
    assert!(!complete(&database.pool, first.id, 3).await.unwrap());

    // What the append calls for a retry, also again and with what was seen too early.
    let retry = format!("select {}(array[$1])", functions::name("write_job_retries"));
    for attempts in [2, 3, 3] {
        let row = json!({ "job_id": first.id.to_string(), "attempts": attempts });
        sqlx::query(&retry).bind(row).execute(&database.pool).await.unwrap();
        let expected = if attempts == 2 { JobState::Parked } else { JobState::Queued };
        assert_eq!(states(&database).await, [(JobState::Queued, 0), (expected, 3)]);
    }
    let fourth = take(&database).await.remove(0);
    assert_eq!((fourth.attempt, fourth.own_attempt), (4, 1));
    assert!(complete(&database.pool, first.id, 4).await.unwrap());
    assert_eq!(states(&database).await, [(JobState::Queued, 0), (JobState::Done, 4)]);
}

/// Fails in the way that the key of the job names.
struct Failing;

impl Handler for Failing {
    fn kind(&self) -> &'static str {
        "failing"
    }

    fn attempt<'a>(&'a self, job: &'a TakenJob, attempt: &'a mut Attempt) -> Doing<'a> {
        Box::pin(async move {
            let transaction = attempt.transaction().await?;
            let insert = sqlx::query("insert into effects values ($1) on conflict do nothing");
            insert.bind(job.id).execute(transaction).await.unwrap();
            match job.payload["how"].as_str().unwrap() {
                "twice" if job.attempt > 2 => Ok(()),
                "hopeless" => Err(JobError::Hopeless("it is hopeless".into())),
                "panics" => panic!("as the test wants it"),
                "hangs" => std::future::pending().await,
                _ => Err(JobError::Again("not yet\0".into())),
            }
        })
    }

    fn time_limit(&self) -> Duration {
        Duration::from_millis(200)
    }

    fn max_attempts(&self) -> u32 {
        3
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_that_fails_is_tried_again_and_parked_after_the_last_attempt() {
    let database = with_tables().await;
    for how in ["twice", "always", "hopeless", "panics", "hangs"] {
        let payload = json!({ "how": how });
        let job = NewJob { kind: "failing", dedupe_key: how, payload: &payload };
        tributary::store::jobs::insert(&database.pool, job).await.unwrap();
    }
    let stop = CancellationToken::new();
    let handlers: Handlers = vec![Arc::new(Failing)];
    let environment = Environment::of_this_machine().unwrap();
    let one_at_a_time = Limits { concurrency: 1, ..hasty() };
    let own = Database::new(&database.url, 2).unwrap();
    let metrics = Metrics::default();
    let worker = Worker::new(own, &handlers, environment, one_at_a_time, metrics.jobs.clone());
    let working = tokio::spawn(worker.run(stop.clone()));
    let open = "select count(*) from jobs where state in ('queued', 'running')";
    for _ in 0..1_000 {
        if database.count(open).await == 0 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    stop.cancel();
    working.await.unwrap().unwrap();
    let ended: Vec<(String, String, i32, Option<String>)> = sqlx::query_as(
        "select dedupe_key, state, attempts, last_error from jobs order by dedupe_key",
    )
    .fetch_all(&database.pool)
    .await
    .unwrap();
    let expected = [
        ("always", "parked", 3, Some("not yet")),
        ("hangs", "parked", 3, Some("the attempt took longer than 200ms")),
        ("hopeless", "parked", 1, Some("it is hopeless")),
        ("panics", "parked", 3, Some("the attempt panicked")),
        ("twice", "done", 3, None),
    ];
    let ended: Vec<_> = ended
        .iter()
        .map(|(key, state, attempts, error)| (&**key, &**state, *attempts, error.as_deref()))
        .collect();
    assert_eq!(ended, expected);
    let text = metrics.text();
    for line in [
        r#"tributary_jobs_done_total{kind="failing"} 1"#,
        r#"tributary_job_attempts_failed_total{kind="failing"} 12"#,
        r#"tributary_jobs_given_up_total{kind="failing"} 4"#,
    ] {
        assert!(text.contains(line), "{line} is not in\n{text}");
    }
    // Only what was committed with the completion of a job is kept.
    assert_eq!(database.count("select count(*) from effects").await, 1);
    let of_done = "select count(*) from effects join jobs on id = position where state = 'done'";
    assert_eq!(database.count(of_done).await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn jobs_that_are_done_are_deleted_when_their_time_is_over_and_cleaning_is_a_job_a_day() {
    let database = TestDatabase::new().await;
    for (kind, state, days) in [
        ("old", "done", 8),
        ("kept", "done", 6),
        ("parked", "parked", 80),
        ("parked mail", "parked", 80),
        ("queued", "queued", 80),
    ] {
        sqlx::query(
            "insert into jobs (kind, dedupe_key, payload, state, created_at, finished_at)
             values ($1, '', '{}', $2, now() - make_interval(days => $3),
                 case when $2 = 'done' then now() - make_interval(days => $3) end)",
        )
        .bind(kind)
        .bind(state)
        .bind(days)
        .execute(&database.pool)
        .await
        .unwrap();
    }
    let writer =
        "insert into writers values (gen_random_uuid(), 1, 0, now() - interval '2 days', '{}')";
    database.pool.execute(writer).await.unwrap();
    // A mail is deleted with its job, whatever has become of it.
    let mails = "insert into mails (job_id, kind, created_at)
        select id, 'welcome', now() - interval '80 days' from jobs where kind = 'parked mail'
        union all select id, 'welcome', now() - interval '6 days' from jobs where kind = 'kept'";
    database.pool.execute(mails).await.unwrap();
    // What Stripe told is kept for 30 days, and so is what of it waits.
    let events = "insert into stripe_events (event_id, event_type, body, received_at)
        select 'evt_' || days, 'invoice.paid', '{}', now() - make_interval(days => days)
        from unnest(array[29, 31]) as days";
    database.pool.execute(events).await.unwrap();
    let waiting =
        "insert into stripe_event_keys select 'invoice:in_1', event_id from stripe_events";
    database.pool.execute(waiting).await.unwrap();
    let limits = Limits { kept: jobs::days(7), mails_kept: jobs::days(7), ..hasty() };
    let stop = CancellationToken::new();
    // Two servers, one job.
    let mut workers = Vec::new();
    for _ in 0..2 {
        let own = Database::new(&database.url, 2).unwrap();
        let environment = Environment::of_this_machine().unwrap();
        let mail = SendMail {
            settings: MailSettings::nowhere().unwrap(),
            unsubscribing: Unsubscribing::new(Vec::new()),
            link_secrets: Arc::new(|_, _| [0; 32]),
            token_lives: TokenLives {
                confirmation: Duration::from_hours(1),
                reset: Duration::from_hours(1),
            },
            environment: environment.clone(),
        };
        let engine = engine(&database).await;
        let counts = JobMetrics::default();
        let (of_payments, clock) = (own.clone(), environment.clone());
        let (settings, metrics) = (payments::Settings::default(), Metrics::default().payments);
        let payments = Payments::new(of_payments, engine.clone(), clock, settings, metrics);
        let clock = environment.clone();
        let handlers = jobs::handlers::all(&limits, mail, engine, payments, clock, &counts);
        let worker = Worker::new(own, &handlers, environment, limits.clone(), counts);
        workers.push(tokio::spawn(worker.run(stop.clone())));
    }
    let done = "select count(*) from jobs where kind = 'clean' and state = 'done'";
    for _ in 0..500 {
        if database.count(done).await > 0 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    stop.cancel();
    for worker in workers {
        worker.await.unwrap().unwrap();
    }
    let left: Vec<String> = sqlx::query_scalar("select kind from jobs order by kind")
        .fetch_all(&database.pool)
        .await
        .unwrap();
    assert_eq!(left, ["clean", "kept", "parked", "queued"]);
    assert_eq!(database.count("select count(*) from writers").await, 0);
    assert_eq!(database.count("select count(*) from mails").await, 1);
    let told: Vec<String> =
        sqlx::query_scalar("select event_id from stripe_events natural join stripe_event_keys")
            .fetch_all(&database.pool)
            .await
            .unwrap();
    assert_eq!(told, ["evt_29"]);
    assert_eq!(database.count("select count(*) from stripe_event_keys").await, 1);
}

#[tokio::test]
async fn jobs_that_wait_are_counted_and_those_of_unknown_kinds_apart() {
    use tributary::store::jobs::{Counts, count};
    let database = TestDatabase::new().await;
    let empty = count(&database.pool, &["number"]).await.unwrap();
    assert_eq!(empty, Counts::default());
    for (kind, state, jobs) in [
        ("number", "queued", 3),
        ("number", "parked", 2),
        ("number", "done", 4),
        ("from-tomorrow", "queued", 5),
        ("from-tomorrow", "running", 1),
        ("of-yesterday", "queued", 7),
        ("of-yesterday", "done", 9),
    ] {
        sqlx::query(
            "insert into jobs (kind, dedupe_key, payload, state)
             select $1, $2 || number, '{}', $2 from generate_series(1, $3) as number",
        )
        .bind(kind)
        .bind(state)
        .bind(jobs)
        .execute(&database.pool)
        .await
        .unwrap();
    }
    let counts = count(&database.pool, &["number", "clean"]).await.unwrap();
    assert_eq!(counts, Counts { waiting: 15, parked: 2, unknown_kind: 12 });
    let many = "insert into jobs (kind, dedupe_key, payload)
        select 'many', number::text, '{}' from generate_series(1, 10500) as number";
    database.pool.execute(many).await.unwrap();
    let counts = count(&database.pool, &["number", "clean"]).await.unwrap();
    assert_eq!(counts, Counts { waiting: 10_000, parked: 2, unknown_kind: 10_000 });
}

#[tokio::test]
async fn jobs_that_wait_for_a_later_time_cost_a_worker_nothing_however_many_they_are() {
    const TAKES: u32 = 100;
    let database = TestDatabase::new().await;
    let takes = async || {
        let begun = std::time::Instant::now();
        for _ in 0..TAKES {
            assert!(take(&database).await.is_empty());
        }
        begun.elapsed()
    };
    let before = takes().await;
    // As while a mail server is away.
    let many = "insert into jobs (kind, dedupe_key, payload, run_after)
        select 'number', number::text, '{}', now() + interval '1 hour'
        from generate_series(1, 100000) as number";
    database.pool.execute(many).await.unwrap();
    // Looking at all of them takes 20 ms and more.
    let after = takes().await;
    assert!(after < before * 3 + TAKES * Duration::from_millis(5), "{before:?}, {after:?}");
    assert!(insert(&database, "number", "now").await);
    assert_eq!(take(&database).await.len(), 1);
}

#[tokio::test]
async fn a_time_that_no_list_could_show_is_no_time_of_a_job() {
    let database = TestDatabase::new().await;
    assert!(insert(&database, "number", "1").await);
    for column in ["run_after", "created_at", "finished_at"] {
        for time in ["infinity", "-infinity", "11111-01-01", "0044-03-15 BC"] {
            let update = format!("update jobs set {column} = '{time}'");
            let error = database.pool.execute(update.as_str()).await.unwrap_err();
            let error = error.into_database_error().unwrap();
            assert_eq!(error.code().as_deref(), Some("23514"), "{update}: {error}");
        }
    }
    assert_eq!(states(&database).await, [(JobState::Queued, 0)]);
}
