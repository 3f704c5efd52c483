//! Reactions: each event's job exists exactly once, whichever process is killed and when.
//!
//! The reaction and the handlers belong to the tests: the test binary starts itself again as a process that
//! moves the reaction and does the jobs, and kills it.

use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use domain::{Kind, StreamKey, Timestamp};
use sqlx::{Connection, Executor, PgConnection};
use tokio::process::{Child, Command};
use tokio::sync::watch;
use tributary::engine::Environment;
use tributary::jobs::{Attempt, Doing, Handler, Handlers, JobError, JobMetrics, TakenJob, Worker};
use tributary::lifecycle::{Stage, Tasks};
use tributary::reactions::{self, Reaction, step};
use tributary::store::append::{Entry, append};
use tributary::store::{Batch, Database, RecordedEvent, epoch, in_time};
use uuid::Uuid;

use crate::jobs::{hasty, with_tables};
use crate::log::envelope;
use testing::{TestDatabase, tributary};

/// The environment variable that turns the test below into such a process: the database that it works on.
const PROCESS: &str = "REACTION_PROCESS_DATABASE";
const PROCESS_TEST: &str = "reactions::a_process_that_reacts_and_works";

/// A job for each third event.
const NUMBERS: Reaction = Reaction {
    name: "numbers",
    fold: "insert into jobs (kind, dedupe_key, payload)
        select 'number', position::text, jsonb_build_object('position', position)
        from events
        where position > $1 and position <= $2 and position % 3 = 0
        order by position",
};

/// Writes the number of the event in the transaction of the attempt, and outside of it.
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

/// Appends commands with these numbers of events.
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

/// Not a real test: the killed processes run this. Does nothing unless a database is given.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_reacts_and_works() {
    let Ok(url) = std::env::var(PROCESS) else { return };
    let database = Database::new(&url, 4).unwrap();
    let epoch = epoch::enter(&mut database.connect().await.unwrap()).await.unwrap();
    let (tasks, (_grown, growing)) = (Tasks::default(), watch::channel(0));
    reactions::start(database.clone(), epoch, vec![NUMBERS], growing, &tasks).await.unwrap();
    let handlers: Handlers = vec![Arc::new(WriteNumber { pause: Duration::from_millis(3) })];
    let environment = Environment::of_this_machine().unwrap();
    let worker = Worker::new(database, &handlers, environment, hasty(), JobMetrics::default());
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

/// Checks what must hold once everything is done: each third event after `start` has one job, which is done, has
/// written its number once in its transaction, and outside of it at least once, always under the same id.
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
    // Events before the registration of the reaction do not concern it.
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
        // Kills both processes at once, or one of them.
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

    // Another release has another statement for the same reaction, and a restarted server registers it again.
    let other =
        Reaction { fold: "select from events where position > $1 and position <= $2", ..NUMBERS };
    step::register(connection, other).await.unwrap();
    assert_eq!(step::step(connection, other, true).await.unwrap().jobs, 0);
    // The read models are lost and built again.
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
    // A run has 1,000 events: one command ends at that limit, one crosses it, and one is longer.
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
    // The first connection has moved the reaction but not committed when the second tries.
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

/// What the nodes of a plan have read at most, in rows.
fn most_rows(plan: &serde_json::Value) -> i64 {
    let number = |name: &str| plan[name].as_f64().unwrap_or_default();
    let removed = number("Rows Removed by Filter") + number("Rows Removed by Join Filter");
    #[allow(clippy::cast_possible_truncation, reason = "far below 2^53")]
    let own = ((number("Actual Rows") + removed) * number("Actual Loops")) as i64;
    let parts = plan["Plans"].as_array().map(Vec::as_slice).unwrap_or_default();
    parts.iter().map(most_rows).fold(own, i64::max)
}

#[tokio::test]
async fn a_reaction_reads_its_run_and_not_the_log_though_nothing_is_known_of_the_tables() {
    const LOG: i64 = 20_000;
    let database = TestDatabase::new().await;
    // A log that has grown faster than statistics are collected: rewards and purchases, and at its end of everything.
    let fill = "insert into events
            (position, sequence, recorded_at, aggregate_type, aggregate_id, event_type, event_version, payload, metadata)
        select number, 1, clock_timestamp(),
            case when event_type like 'Purchase%' then 'Purchase' else 'Participant' end,
            case when event_type like 'Purchase%' then 'pi_' || number else 'spring/user' || number end,
            event_type, '1.0.0',
            jsonb_build_object('source_user_id', 'user' || number, 'referee_user_id', 'user' || number,
                'posting', jsonb_build_object('amount', -1, 'from', 'pending', 'expire_time_us', number)),
            '{\"command_events\": 1, \"door\": \"grpc\"}'
        from (
            select number, case
                when number <= $1 - 60 then (array['RewardGranted', 'PurchaseRecorded'])[number % 2 + 1]
                else (array['UserRegistered', 'ReferralMade', 'ReferralConverted', 'TierChanged', 'RewardReversed',
                    'RewardMoved', 'RewardGranted', 'PurchaseRefunded', 'PurchaseRecorded'])[number % 9 + 1] end
            from generate_series(2, $1) as number
        ) as made (number, event_type)";
    for statement in [
        "alter table events set (autovacuum_enabled = off)",
        "insert into stripe_payments (payment_id, state) values ('pi_1', '{}')",
        "insert into events values (1, 1, clock_timestamp(), 'Program', 'spring', 'ProgramPublished', '1.0.0',
            '{\"rules\": {\"mails\": true, \"rewards\": []}}', '{\"command_events\": 1}')",
    ] {
        sqlx::query(statement).execute(&database.pool).await.unwrap();
    }
    sqlx::query(fill).bind(LOG).execute(&database.pool).await.unwrap();
    let server = Database::new(&database.url, 1).unwrap();
    let mut connection = server.connect().await.unwrap();
    step::ready(&mut connection).await.unwrap();
    for reaction in reactions::all() {
        for kind in ["force_generic_plan", "force_custom_plan"] {
            let mut transaction = connection.begin().await.unwrap();
            transaction.execute(&*format!("set local plan_cache_mode = {kind}")).await.unwrap();
            let explain = format!("explain (analyze, timing off, format json) {}", reaction.fold);
            let plan: serde_json::Value = sqlx::query_scalar(&explain)
                .bind(LOG - 50)
                .bind(LOG)
                .fetch_one(&mut *transaction)
                .await
                .unwrap();
            transaction.rollback().await.unwrap();
            let rows = most_rows(&plan[0]["Plan"]);
            assert!(rows < LOG / 4, "{} reads {rows} rows for 50 events: {plan:#}", reaction.name);
        }
    }
}
