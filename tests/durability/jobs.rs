//! Jobs and reactions: each event's job is there exactly once and done as promised, whoever is killed and when.
//!
//! The reaction and the handlers are the tests' own: the test binary starts itself again as a process that moves
//! the reaction and does the jobs, and kills it.

use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use domain::{Kind, StreamKey, Timestamp};
use serde_json::json;
use sqlx::{Connection, Executor, PgConnection};
use tokio::process::{Child, Command};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tributary::engine::Environment;
use tributary::jobs::{
    self, Attempt, Doing, Handler, Handlers, JobError, Limits, TakenJob, Worker,
};
use tributary::lifecycle::{Stage, Tasks};
use tributary::reactions::{self, Reaction, step};
use tributary::store::append::{Entry, append};
use tributary::store::jobs::{Capability, JobFilter, JobState, NewJob, Retried};
use tributary::store::{Batch, Database, RecordedEvent, epoch, in_time};
use uuid::Uuid;

use crate::log::envelope;
use testing::{TestDatabase, tributary};

/// The environment variable that makes the test below a process of its own: the database that it works on.
const PROCESS: &str = "REACTION_PROCESS_DATABASE";
const PROCESS_TEST: &str = "jobs::a_process_that_reacts_and_works";

/// A job for each third event.
const NUMBERS: Reaction = Reaction {
    name: "numbers",
    fold: "insert into jobs (kind, dedupe_key, payload)
        select 'number', position::text, jsonb_build_object('position', position)
        from events
        where position > $1 and position <= $2 and position % 3 = 0
        order by position",
};

/// Writes the number of the event in the transaction of the attempt, and beside it.
struct WriteNumber {
    pause: Duration,
}

impl Handler for WriteNumber {
    fn kind(&self) -> &'static str {
        "number"
    }

    fn attempt<'a>(&'a self, job: &'a TakenJob, attempt: &'a mut Attempt) -> Doing<'a> {
        Box::pin(async move {
            let position = job.payload["position"].as_i64().unwrap();
            // Outside of the transaction: at least once, with the job's id.
            sqlx::query("insert into seen (job, position) values ($1, $2)")
                .bind(job.id)
                .bind(position)
                .execute(attempt.database().pool())
                .await
                .map_err(|error| JobError::Again(error.to_string()))?;
            let transaction = attempt.transaction().await?;
            sqlx::query("insert into effects (position) values ($1)")
                .bind(position)
                .execute(transaction)
                .await
                .map_err(|error| JobError::Again(error.to_string()))?;
            tokio::time::sleep(self.pause).await;
            Ok(())
        })
    }

    fn time_limit(&self) -> Duration {
        Duration::from_secs(5)
    }

    // A kill is an attempt.
    fn max_attempts(&self) -> u32 {
        1_000
    }
}

/// Soon again, so that a test need not wait.
fn hasty() -> Limits {
    Limits {
        poll_interval: Duration::from_millis(20),
        grace: Duration::from_millis(100),
        first_pause: Duration::from_millis(10),
        longest_pause: Duration::from_millis(50),
        ..Limits::default()
    }
}

async fn with_tables() -> TestDatabase {
    let database = TestDatabase::new().await;
    for table in ["seen (job bigint, position bigint)", "effects (position bigint primary key)"] {
        database.pool.execute(format!("create table {table}").as_str()).await.unwrap();
    }
    database
}

/// Appends commands of so many events each.
struct Writer {
    connection: PgConnection,
    id: Uuid,
    batches: i64,
}

impl Writer {
    async fn new(database: &TestDatabase, id: u128) -> Self {
        let connection = PgConnection::connect(&database.url).await.unwrap();
        Self { connection, id: Uuid::from_u128(id), batches: 0 }
    }

    async fn append(&mut self, commands: &[i64]) {
        self.batches += 1;
        let mut batch = Batch::default();
        for (number, events) in commands.iter().enumerate() {
            let id = format!("{}-{}-{number}", self.id, self.batches);
            let stream = StreamKey { kind: Kind::Purchase, id: id.into() };
            let event = |sequence| RecordedEvent {
                position: 0,
                recorded_at: Timestamp::default(),
                stream: stream.clone(),
                sequence,
                event_type: "Tested".into(),
                event_version: "1.0".into(),
                payload: r#"{"type":"Tested"}"#.into(),
                command_events: (sequence == 1).then_some(*events),
                envelope: (sequence == 1).then(|| envelope(None)),
            };
            let events: Vec<_> = (1..=*events).map(event).collect();
            let reads = vec![batch.add_stream(&stream, 0, false)];
            batch.add(Entry { reads, events, ..Entry::default() });
        }
        append(&mut self.connection, self.id, self.batches, &batch).await.unwrap();
    }
}

/// Not a test of its own: what the killed processes run. Does nothing unless it is told on which database.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_reacts_and_works() {
    let Ok(url) = std::env::var(PROCESS) else { return };
    let database = Database::new(&url, 4).unwrap();
    let epoch = epoch::enter(&mut database.connect().await.unwrap()).await.unwrap();
    let (tasks, (_grown, growing)) = (Tasks::default(), watch::channel(0));
    reactions::start(database.clone(), epoch, vec![NUMBERS], growing, &tasks).await.unwrap();
    let handlers: Handlers = vec![Arc::new(WriteNumber { pause: Duration::from_millis(3) })];
    let environment = Environment::of_this_machine().unwrap();
    let worker = Worker::new(database, &handlers, environment, hasty());
    tasks.spawn(Stage::Background, "jobs", |stop| worker.run(stop));
    panic!("{}", tasks.failed().await);
}

fn process(database: &TestDatabase) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args([PROCESS_TEST, "--exact"])
        .env(PROCESS, &database.url)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap()
}

/// What must hold once everything is done: each third event after `start` has one job, which is done, has written
/// its number once in its transaction, and beside it at least once under its one id.
async fn check(database: &TestDatabase, start: i64) {
    let head = database.count("select coalesce(max(position), 0) from events").await;
    let expected: Vec<i64> = (start + 1..=head).filter(|position| position % 3 == 0).collect();
    let positions = async |query: &str| -> Vec<i64> {
        sqlx::query_scalar(query).fetch_all(&database.pool).await.unwrap()
    };
    let jobs = "select (payload ->> 'position')::bigint from jobs
        where kind = 'number' and state = 'done' order by 1";
    assert_eq!(positions(jobs).await, expected);
    let all = database.count("select count(*) from jobs where kind = 'number'").await;
    assert_eq!(all, expected.len() as i64);
    assert_eq!(positions("select position from effects order by 1").await, expected);
    assert_eq!(positions("select distinct position from seen order by 1").await, expected);
    let ids = "select count(*) from (select from seen group by position having count(distinct job) > 1) as s";
    assert_eq!(database.count(ids).await, 0);
}

/// Waits until the reaction is at the head and every job is done.
async fn settled(database: &TestDatabase) {
    let open = "select (select count(*) from jobs where state <> 'done')
        + (select max(position) from events)
        - (select max(position) from reaction_checkpoints where reaction = 'numbers')";
    for _ in 0..3_000 {
        if database.count(open).await == 0 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("{} jobs and events are left", database.count(open).await);
}

/// A generator of numbers that repeats (`SplitMix64` of Steele, Lea and Flood, 2014).
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % limit
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_event_has_its_job_once_and_each_job_its_effect_once_however_often_processes_are_killed()
 {
    const KILLS: u64 = 25;
    let database = with_tables().await;
    let mut writer = Writer::new(&database, 1).await;
    writer.append(&[5]).await;
    let mut random = Random(20_261);
    let (mut between_event_and_job, mut between_job_and_end) = (0, 0);
    let mut processes = vec![process(&database), process(&database)];
    // What was recorded before the reaction was first seen concerns it not.
    let registered = "select count(*) from reactions where name = 'numbers'";
    while database.count(registered).await == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    for kill in 0..KILLS {
        let until = tokio::time::Instant::now() + Duration::from_millis(20 + random.below(250));
        while tokio::time::Instant::now() < until {
            let commands: Vec<i64> =
                (0..=random.below(4)).map(|_| 1 + random.below(5) as i64).collect();
            writer.append(&commands).await;
            tokio::time::sleep(Duration::from_millis(random.below(10))).await;
        }
        // Both at once, or one of them.
        for process in &mut processes {
            if kill % 3 == 0 || random.below(2) == 0 {
                process.kill().await.unwrap();
            }
        }
        if kill % 3 == 0 {
            between_event_and_job += i32::from(
                database
                    .count(
                        "select (select max(position) from events)
                            - (select max(position) from reaction_checkpoints)",
                    )
                    .await
                    > 0,
            );
            between_job_and_end += i32::from(
                database.count("select count(*) from jobs where state = 'running'").await > 0,
            );
        }
        for killed in &mut processes {
            if killed.try_wait().unwrap().is_some() {
                *killed = process(&database);
            }
        }
    }
    settled(&database).await;
    check(&database, 5).await;
    let repeated = database.count("select count(*) - count(distinct job) from seen").await;
    eprintln!(
        "kills between event and job: {between_event_and_job}, between job and its end: \
         {between_job_and_end}; attempts that were repeated: {repeated}"
    );
    assert!(between_event_and_job > 0 && between_job_and_end > 0 && repeated > 0);
    database.check_log().await;
}

#[tokio::test]
async fn a_rebuild_a_restart_and_another_release_repeat_nothing() {
    let database = with_tables().await;
    let mut writer = Writer::new(&database, 1).await;
    let connection = &mut PgConnection::connect(&database.url).await.unwrap();
    step::ready(connection).await.unwrap();
    step::register(connection, NUMBERS).await.unwrap();
    writer.append(&[4, 5]).await;
    assert_eq!(step::step(connection, NUMBERS, true).await.unwrap().jobs, 3);

    // Another release has other words for the same, and one that was restarted registers it again.
    let other =
        Reaction { fold: "select from events where position > $1 and position <= $2", ..NUMBERS };
    step::register(connection, other).await.unwrap();
    assert_eq!(step::step(connection, other, true).await.unwrap().jobs, 0);
    // The read models are lost, and made again.
    for statement in ["delete from read_model_copies", "delete from checkpoints"] {
        connection.execute(statement).await.unwrap();
    }
    let rebuilt = tributary()
        .args(["projections", "rebuild", "all"])
        .env("DATABASE_URL", &database.url)
        .stdout(Stdio::null())
        .status();
    assert!(rebuilt.await.unwrap().success());
    step::register(connection, NUMBERS).await.unwrap();
    assert_eq!(step::step(connection, NUMBERS, false).await.unwrap().jobs, 0);
    assert_eq!(database.count("select count(*) from jobs").await, 3);
}

#[tokio::test]
async fn a_new_reaction_begins_at_the_head_and_one_ahead_of_the_log_goes_back_to_it() {
    let database = with_tables().await;
    let mut writer = Writer::new(&database, 1).await;
    writer.append(&[6]).await;
    let connection = &mut PgConnection::connect(&database.url).await.unwrap();
    step::register(connection, NUMBERS).await.unwrap();
    let nothing = step::step(connection, NUMBERS, true).await.unwrap();
    assert_eq!((nothing.reached, nothing.head, nothing.jobs), (6, 6, 0));
    writer.append(&[3]).await;
    let one = step::step(connection, NUMBERS, true).await.unwrap();
    assert_eq!((one.reached, one.jobs), (9, 1));

    connection.execute("delete from events where position > 6").await.unwrap();
    step::register(connection, NUMBERS).await.unwrap();
    writer.append(&[1]).await;
    assert_eq!(step::step(connection, NUMBERS, true).await.unwrap().reached, 7);
}

#[tokio::test]
async fn a_run_never_cuts_a_command_in_two() {
    const FIRST: Reaction = Reaction {
        name: "runs",
        fold: "insert into jobs (kind, dedupe_key, payload)
            select 'run', $2::text, jsonb_build_object('from', $1, 'to', $2)",
    };
    let database = TestDatabase::new().await;
    let mut writer = Writer::new(&database, 1).await;
    let connection = &mut PgConnection::connect(&database.url).await.unwrap();
    step::register(connection, FIRST).await.unwrap();
    // A run has 1,000 events: one command ends there, one goes over it, one is longer.
    for commands in [&[400, 600][..], &[999, 2], &[2_500], &[999, 1, 7]] {
        writer.append(commands).await;
    }
    let mut reached = vec![];
    loop {
        let step = step::step(connection, FIRST, false).await.unwrap();
        reached.push(step.reached);
        if step.reached == step.head {
            break;
        }
    }
    assert_eq!(reached, [1_000, 1_999, 2_001, 4_501, 5_501, 5_508]);
}

#[tokio::test]
async fn two_leaders_cannot_both_move_a_reaction() {
    let database = TestDatabase::new().await;
    let mut writer = Writer::new(&database, 1).await;
    let one = &mut PgConnection::connect(&database.url).await.unwrap();
    let mut other = PgConnection::connect(&database.url).await.unwrap();
    step::register(one, NUMBERS).await.unwrap();
    writer.append(&[9]).await;
    // The first has moved it and not committed when the second comes.
    let mut transaction = one.begin().await.unwrap();
    transaction
        .execute("select from reactions where name = 'numbers' for no key update")
        .await
        .unwrap();
    let second =
        tokio::spawn(async move { in_time(step::step(&mut other, NUMBERS, false)).await.unwrap() });
    let waiting = "select count(*) from pg_stat_activity
        where datname = current_database() and wait_event_type = 'Lock'";
    while database.count(waiting).await == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    transaction
        .execute("insert into reaction_checkpoints values ('numbers', 9, now())")
        .await
        .unwrap();
    transaction.commit().await.unwrap();
    assert_eq!(second.await.unwrap().jobs, 0);
    assert_eq!(database.count("select count(*) from jobs").await, 0);
}

#[tokio::test]
async fn the_database_bounds_what_the_connection_of_a_leader_can_hold() {
    let database = TestDatabase::new().await;
    let connection = &mut PgConnection::connect(&database.url).await.unwrap();
    step::ready(connection).await.unwrap();
    for (setting, expected) in [
        ("lock_timeout", "5s"),
        ("statement_timeout", "10s"),
        ("idle_in_transaction_session_timeout", "5s"),
        ("idle_session_timeout", "5s"),
        ("synchronous_commit", "on"),
    ] {
        let is: String = sqlx::query_scalar("select current_setting($1)")
            .bind(setting)
            .fetch_one(&mut *connection)
            .await
            .unwrap();
        assert_eq!(is, expected, "{setting}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_a_leader_hangs_another_takes_over_and_nothing_is_repeated_when_it_comes_back() {
    let database = with_tables().await;
    let mut writer = Writer::new(&database, 1).await;
    writer.append(&[3]).await;
    let leader = process(&database);
    let reached = "select coalesce(max(position), 0) from reaction_checkpoints";
    let until_moved = async |head: i64| {
        for _ in 0..1_500 {
            if database.count(reached).await == head {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("position {} of {head} was reached", database.count(reached).await);
    };
    until_moved(3).await;
    writer.append(&[3]).await;
    until_moved(6).await;
    let signal = async |name: &str| {
        let pid = leader.id().unwrap().to_string();
        assert!(Command::new("kill").args([name, &pid]).status().await.unwrap().success());
    };
    signal("-STOP").await;
    let _other = process(&database);
    writer.append(&[3]).await;
    let hung_at = tokio::time::Instant::now();
    until_moved(9).await;
    eprintln!("another process took over after {:?}", hung_at.elapsed());

    signal("-CONT").await;
    writer.append(&[3]).await;
    until_moved(12).await;
    settled(&database).await;
    check(&database, 3).await;
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
    use tributary::store::jobs::{complete, fail, retry};
    let database = TestDatabase::new().await;
    assert!(insert(&database, "number", "1").await);
    assert!(!insert(&database, "number", "1").await);
    assert!(insert(&database, "unknown", "1").await);
    let first = take(&database).await.remove(0);
    assert!(take(&database).await.is_empty());
    tokio::time::sleep(NUMBER.lease * 2).await;
    let second = take(&database).await.remove(0);
    assert_eq!((second.id, first.attempt, second.attempt), (first.id, 1, 2));

    // The first was not dead after all.
    assert!(!complete(&database.pool, first.id, 1).await.unwrap());
    assert!(!fail(&database.pool, first.id, 1, "late", None).await.unwrap());
    tokio::time::sleep(NUMBER.lease * 2).await;
    assert_eq!(take(&database).await.remove(0).attempt, 3);
    tokio::time::sleep(NUMBER.lease * 2).await;
    // Its workers died as often as it may be tried.
    assert!(take(&database).await.is_empty());
    assert_eq!(states(&database).await, [(JobState::Queued, 0), (JobState::Parked, 3)]);
    assert!(!complete(&database.pool, first.id, 3).await.unwrap());

    let mut connection = PgConnection::connect(&database.url).await.unwrap();
    assert!(matches!(retry(&mut connection, first.id).await.unwrap(), Retried::Queued(_)));
    let again = retry(&mut connection, first.id).await.unwrap();
    assert!(matches!(again, Retried::NotParked(JobState::Queued)), "{again:?}");
    assert!(matches!(retry(&mut connection, 4_711).await.unwrap(), Retried::Unknown));
    let fourth = take(&database).await.remove(0);
    assert_eq!((fourth.attempt, fourth.own_attempt), (4, 1));
    assert!(complete(&database.pool, first.id, 4).await.unwrap());
    assert_eq!(states(&database).await, [(JobState::Queued, 0), (JobState::Done, 4)]);
}

/// Fails in a way that the key of the job says.
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
    let worker = Worker::new(own, &handlers, environment, one_at_a_time);
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
    // Only what was committed with the end of a job stands.
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
    let limits = Limits { kept: jobs::days(7), ..hasty() };
    let stop = CancellationToken::new();
    // Two servers, one job.
    let mut workers = Vec::new();
    for _ in 0..2 {
        let handlers = jobs::handlers::all(&limits);
        let own = Database::new(&database.url, 2).unwrap();
        let environment = Environment::of_this_machine().unwrap();
        let worker = Worker::new(own, &handlers, environment, limits.clone());
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
}
