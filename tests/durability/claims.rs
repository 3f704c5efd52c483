//! Claims can be released: the append frees the value together with the command's events, and no command is
//! refused because of an owner who no longer owns the value.

use domain::{Claim, ClaimKind, Kind, StreamKey, Timestamp};
use sqlx::{Connection, PgConnection};
use tributary::store::append::{Appended, ClaimStep, Entry, append};
use tributary::store::{Batch, RecordedEvent, Verdict};
use uuid::Uuid;

use crate::log::envelope;
use testing::TestDatabase;

fn ada(owner: &str) -> Claim {
    Claim { kind: ClaimKind::Username, value: "ada".into(), owner: owner.into() }
}

pub fn event(stream: &str, sequence: i64) -> RecordedEvent {
    RecordedEvent {
        position: 0,
        recorded_at: Timestamp::default(),
        stream: StreamKey { kind: Kind::User, id: stream.into() },
        sequence,
        event_type: "Tested".into(),
        event_version: "1.0".into(),
        payload: r#"{"type":"Tested"}"#.into(),
        command_events: Some(1),
        envelope: Some(envelope(None)),
    }
}

/// Adds a command that appends one event to a stream at a version, with steps on claims.
fn add(
    batch: &mut Batch,
    stream: &str,
    version: i64,
    claims: &[ClaimStep],
    builds_on: &[usize],
) -> usize {
    let event = event(stream, version + 1);
    let place = batch.add_stream(&event.stream, version, false);
    batch.add(Entry {
        reads: vec![place],
        builds_on: builds_on.to_vec(),
        events: vec![event],
        claims: claims.to_vec(),
        ..Entry::default()
    })
}

/// A server process with its own connection and numbers of batches.
pub struct Writer {
    pub connection: PgConnection,
    id: Uuid,
    number: i64,
}

impl Writer {
    pub async fn new(database: &TestDatabase, id: u128) -> Self {
        let connection = PgConnection::connect(&database.url).await.unwrap();
        Self { connection, id: Uuid::from_u128(id), number: 0 }
    }

    pub async fn append(&mut self, batch: &Batch) -> Appended {
        self.number += 1;
        append(&mut self.connection, self.id, self.number, batch).await.unwrap()
    }

    /// Appends a batch of one command.
    async fn one(&mut self, stream: &str, version: i64, claims: &[ClaimStep]) -> Appended {
        let mut batch = Batch::default();
        add(&mut batch, stream, version, claims, &[]);
        self.append(&batch).await
    }
}

async fn owner(database: &TestDatabase) -> Option<String> {
    sqlx::query_scalar("select owner from claims where kind = 'username' and value = 'ada'")
        .fetch_optional(&database.pool)
        .await
        .unwrap()
}

#[tokio::test]
async fn a_value_that_is_given_up_can_be_claimed_by_another_later() {
    let database = TestDatabase::new().await;
    let mut writer = Writer::new(&database, 1).await;
    writer.one("old", 0, &[ClaimStep::Take(ada("old"))]).await;
    let early = writer.one("new", 0, &[ClaimStep::Take(ada("new"))]).await;
    assert_eq!((early.verdicts, early.taken[0].owner.as_str()), (vec![Verdict::Taken], "old"));

    let released = writer.one("old", 1, &[ClaimStep::Release(ada("old"))]).await;
    assert_eq!(released.verdicts, [Verdict::Appended]);
    assert_eq!(owner(&database).await, None);
    let claimed = writer.one("new", 0, &[ClaimStep::Take(ada("new"))]).await;
    assert_eq!(claimed.verdicts, [Verdict::Appended]);
    assert_eq!(owner(&database).await.as_deref(), Some("new"));
    database.check_log().await;
}

#[tokio::test]
async fn what_an_earlier_command_of_the_batch_gives_up_is_free_for_a_later_one_only() {
    let database = TestDatabase::new().await;
    let mut writer = Writer::new(&database, 1).await;
    writer.one("old", 0, &[ClaimStep::Take(ada("old"))]).await;

    let mut batch = Batch::default();
    add(&mut batch, "early", 0, &[ClaimStep::Take(ada("early"))], &[]);
    let release = add(&mut batch, "old", 1, &[ClaimStep::Release(ada("old"))], &[]);
    add(&mut batch, "new", 0, &[ClaimStep::Take(ada("new"))], &[release]);
    let appended = writer.append(&batch).await;

    assert_eq!(appended.verdicts, [Verdict::Taken, Verdict::Appended, Verdict::Appended]);
    assert_eq!(owner(&database).await.as_deref(), Some("new"));
    database.check_log().await;
}

#[tokio::test]
async fn a_value_can_change_hands_several_times_in_one_batch_and_the_last_step_stands() {
    let database = TestDatabase::new().await;
    let mut writer = Writer::new(&database, 1).await;
    writer.one("a", 0, &[ClaimStep::Take(ada("a"))]).await;

    let mut batch = Batch::default();
    let first = add(&mut batch, "a", 1, &[ClaimStep::Release(ada("a"))], &[]);
    let second = add(&mut batch, "b", 0, &[ClaimStep::Take(ada("b"))], &[first]);
    let third = add(&mut batch, "b2", 0, &[ClaimStep::Release(ada("b"))], &[second]);
    add(&mut batch, "c", 0, &[ClaimStep::Take(ada("c"))], &[third]);
    assert!(writer.append(&batch).await.verdicts.iter().all(|of| *of == Verdict::Appended));
    assert_eq!(owner(&database).await.as_deref(), Some("c"));

    let back_and_forth =
        [ClaimStep::Release(ada("c")), ClaimStep::Take(ada("c")), ClaimStep::Release(ada("c"))];
    writer.one("c", 1, &back_and_forth).await;
    assert_eq!(owner(&database).await, None);
    let and_back =
        [ClaimStep::Take(ada("c")), ClaimStep::Release(ada("c")), ClaimStep::Take(ada("c"))];
    writer.one("c", 2, &and_back).await;
    assert_eq!(owner(&database).await.as_deref(), Some("c"));
    // A claim of another owner is not released.
    writer.one("d", 0, &[ClaimStep::Release(ada("d"))]).await;
    assert_eq!(owner(&database).await.as_deref(), Some("c"));
}

#[tokio::test]
async fn a_release_whose_stream_has_moved_frees_nothing_and_fails_those_who_build_on_it() {
    let database = TestDatabase::new().await;
    let mut writer = Writer::new(&database, 1).await;
    writer.one("old", 0, &[ClaimStep::Take(ada("old"))]).await;
    writer.one("old", 1, &[]).await;

    let mut batch = Batch::default();
    let release = add(&mut batch, "old", 1, &[ClaimStep::Release(ada("old"))], &[]);
    add(&mut batch, "new", 0, &[ClaimStep::Take(ada("new"))], &[release]);
    let appended = writer.append(&batch).await;

    assert_eq!(appended.verdicts, [Verdict::Conflict, Verdict::Conflict]);
    assert_eq!(owner(&database).await.as_deref(), Some("old"));
    assert_eq!(database.count("select count(*) from events").await, 2);
}

#[tokio::test]
async fn of_two_servers_one_that_gives_up_and_one_that_claims_the_claimer_waits_for_the_other() {
    let database = TestDatabase::new().await;
    let mut one = Writer::new(&database, 1).await;
    let mut other = Writer::new(&database, 2).await;
    one.one("old", 0, &[ClaimStep::Take(ada("old"))]).await;
    for (commits, expected) in [(false, Verdict::Taken), (true, Verdict::Appended)] {
        let mut batch = Batch::default();
        add(&mut batch, "old", 1, &[ClaimStep::Release(ada("old"))], &[]);
        let mut transaction = one.connection.begin().await.unwrap();
        let number = if commits { 3 } else { 2 };
        append(&mut transaction, one.id, number, &batch).await.unwrap();
        let claiming = tokio::spawn(async move {
            let verdicts = other.one("new", 0, &[ClaimStep::Take(ada("new"))]).await.verdicts;
            (other, verdicts)
        });
        let waiting = "select count(*) from pg_locks where not granted and locktype = 'advisory'
            and database = (select oid from pg_database where datname = current_database())";
        while database.count(waiting).await == 0 {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
        if commits {
            transaction.commit().await.unwrap();
        } else {
            transaction.rollback().await.unwrap();
        }
        let verdicts;
        (other, verdicts) = claiming.await.unwrap();
        assert_eq!(verdicts, [expected]);
    }
    assert_eq!(owner(&database).await.as_deref(), Some("new"));
    database.check_log().await;
}

#[tokio::test]
async fn a_refusal_because_of_a_remembered_owner_is_checked_like_any_other() {
    let database = TestDatabase::new().await;
    let mut writer = Writer::new(&database, 1).await;
    writer.one("old", 0, &[ClaimStep::Take(ada("old"))]).await;
    let mut refused = Batch::default();
    refused.add(Entry { claims: vec![ClaimStep::Found(ada("old"))], ..Entry::default() });

    assert_eq!(writer.append(&refused).await.verdicts, [Verdict::Appended]);
    writer.one("old", 1, &[ClaimStep::Release(ada("old"))]).await;
    let given_up = writer.append(&refused).await;
    assert_eq!((given_up.verdicts, given_up.changed), (vec![Verdict::Conflict], vec![0]));
    writer.one("other", 0, &[ClaimStep::Take(ada("other"))]).await;
    let another = writer.append(&refused).await;
    assert_eq!((another.verdicts, another.changed), (vec![Verdict::Conflict], vec![0]));
}
