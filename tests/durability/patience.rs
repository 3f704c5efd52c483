//! Read models that are behind: a read with a token waits for as long as it may and then gets an error; a
//! read without one is answered.

use std::time::{Duration, Instant};

use contract::pb::{ErrorReason, GetRankRequest};
use sqlx::{Postgres, Transaction};
use tonic::{Code, Status};
use tonic_types::StatusExt;

use crate::expected::check_read_models;
use crate::reads::{FROM_BOARDS, FROM_READ_MODELS, all_reads, position, purchase, settle};
use testing::{Client, Server, ServerOptions, TestDatabase, at_once, reason};

/// Prevents all folding until it is dropped or rolled back.
async fn hold_up(database: &TestDatabase) -> Transaction<'static, Postgres> {
    let mut transaction = database.pool.begin().await.unwrap();
    sqlx::query("select from read_model_copies for update")
        .execute(&mut *transaction)
        .await
        .unwrap();
    transaction
}

async fn head(database: &TestDatabase) -> i64 {
    database.count("select max(position) from events").await
}

/// Checks that a read was told to retry when the read models have reached a position.
#[track_caller]
fn check_behind(read: &str, status: &Status, wanted: i64) {
    let expected = (Code::Unavailable, "READ_MODEL_BEHIND".to_owned());
    assert_eq!(reason(status), expected, "{read}: {status:?}");
    let details = status.get_error_details();
    assert!(details.retry_info().is_some_and(|info| info.retry_delay.is_some()), "{read}");
    let facts = &details.error_info().unwrap().metadata;
    let fact = |name: &str| facts[name].parse::<i64>().unwrap();
    assert_eq!(fact("wanted_position"), wanted, "{read}");
    assert!(fact("reached_position") < wanted, "{read}");
}

/// Sends all reads of read models at once. Returns each answer, and how long it took.
async fn ask_for_all(
    client: &Client,
    token: &str,
    deadline: Option<Duration>,
) -> Vec<(&'static str, Result<i64, Status>, Duration)> {
    let calls = FROM_READ_MODELS.map(|read| {
        let (client, token) = (client.clone(), token.to_owned());
        async move {
            let began = Instant::now();
            let answer = position(&client, read, "owner", &token, deadline).await;
            (read, answer, began.elapsed())
        }
    });
    at_once(calls.map(Box::pin)).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_read_with_a_token_waits_for_the_projector_as_long_as_its_caller_or_the_server_allows() {
    let database = TestDatabase::new().await;
    let server = Server::start(&database).await;
    let arguments = vec!["--read-patience-s".into(), "1".into()];
    let hasty = Server::start_with(&database.url, &ServerOptions { arguments }).await;
    let (client, hasty_client) = (server.client(), hasty.client());
    settle(&client).await;
    let token = purchase(&client).await;
    let before = head(&database).await;
    for read in all_reads() {
        let answer = position(&client, read, "owner", &token, None).await;
        assert_eq!(answer.unwrap(), before, "{read}");
    }

    let held_up = hold_up(&database).await;
    let token = purchase(&client).await;
    let after = head(&database).await;
    // The first ends at its caller's deadline, the second at the server's limit.
    let (by_deadline, by_patience) = tokio::join!(
        ask_for_all(&client, &token, Some(Duration::from_secs(2))),
        ask_for_all(&hasty_client, &token, None),
    );
    for (read, answer, took) in by_deadline.into_iter().chain(by_patience) {
        check_behind(read, &answer.unwrap_err(), after);
        assert!(took >= Duration::from_millis(950), "{read} gave up after {took:?}");
    }
    // Without a token, the present state is sufficient.
    for (read, answer, _) in ask_for_all(&client, "", None).await {
        assert_eq!(answer.unwrap(), before, "{read}");
    }
    // Leaderboards follow the log themselves, both an existing one and one that has yet to be built.
    for read in FROM_BOARDS {
        for client in [&client, &hasty_client] {
            let answer = position(client, read, "owner", &token, None).await.unwrap();
            assert!(answer >= after, "{read}: {answer}");
        }
    }
    // Reads that wait when folding continues are answered.
    let waiting = tokio::spawn(async move { ask_for_all(&client, &token, None).await });
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(!waiting.is_finished());
    held_up.rollback().await.unwrap();
    for (read, answer, took) in waiting.await.unwrap() {
        assert_eq!(answer.unwrap(), after, "{read}");
        assert!(took >= Duration::from_millis(500), "{read} was answered after {took:?}");
    }
    check_read_models(&database).await;
    tokio::join!(server.stop(), hasty.stop());
    database.check().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn somebody_whom_the_read_models_have_yet_to_meet_is_never_unknown() {
    let database = TestDatabase::new().await;
    let arguments = vec!["--read-patience-s".into(), "1".into()];
    let server = Server::start_with(&database.url, &ServerOptions { arguments }).await;
    let client = server.client();
    settle(&client).await;
    purchase(&client).await;
    for read in all_reads() {
        position(&client, read, "owner", "", None).await.unwrap();
    }

    let held_up = hold_up(&database).await;
    client.sign_up("multi-level-commission", "late", "").await.unwrap();
    let after = head(&database).await;
    for read in [
        "GetBalances",
        "ListBalanceEntries",
        "GetEarnings",
        "GetEarningsSeries",
        "ListRewards",
        "GetReferralStats",
        "ListReferrals",
        "ListReferrals of two levels",
        "GetReferralTree",
    ] {
        match position(&client, read, "late", "", None).await {
            // A list of referrals may be empty before the read models know its owner.
            Ok(position) => assert!(position < after && read.starts_with("List"), "{read}"),
            Err(status) => check_behind(read, &status, after),
        }
    }
    let message = GetRankRequest {
        program_id: "multi-level-commission".into(),
        user_id: "late".into(),
        metric: contract::pb::LeaderboardMetric::Points.into(),
        ..GetRankRequest::default()
    };
    let answer = client.leaderboards().get_rank(client.request(message)).await.unwrap();
    assert_eq!(answer.into_inner().entry.unwrap().user_id, "late");
    // A user who does not exist is still reported as unknown.
    let nobody = position(&client, "GetBalances", "nobody", "", None).await.unwrap_err();
    assert_eq!(reason(&nobody), (Code::NotFound, "USER_NOT_FOUND".into()));
    held_up.rollback().await.unwrap();
    check_read_models(&database).await;
    server.stop().await;
    database.check().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_projector_that_was_stuck_for_longer_than_it_waits_goes_on_by_itself() {
    let database = TestDatabase::new().await;
    let (server, other) = tokio::join!(Server::start(&database), Server::start(&database));
    let client = server.client();
    settle(&client).await;

    let held_up = hold_up(&database).await;
    let token = purchase(&client).await;
    tokio::time::sleep(Duration::from_secs(12)).await;
    held_up.rollback().await.unwrap();

    for client in [&client, &other.client()] {
        let mut answer = position(client, "GetBalances", "owner", &token, None).await;
        if answer.is_err() {
            answer = position(client, "GetBalances", "owner", &token, None).await;
        }
        answer.unwrap();
    }
    purchase(&client).await;
    check_read_models(&database).await;
    tokio::join!(server.stop(), other.stop());
    database.check().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_of_what_the_database_does_not_hold_is_refused_by_every_read() {
    let database = TestDatabase::new().await;
    let server = Server::start(&database).await;
    settle(&server.client()).await;
    let kept = purchase(&server.client()).await;
    server.stop().await;
    let restored = database.copy().await;
    let server = Server::start(&database).await;
    let lost = purchase(&server.client()).await;
    server.stop().await;
    check_read_models(&database).await;

    // The copy is in another epoch, which continues past the position of the lost purchase.
    let server = Server::start(&restored).await;
    let client = server.client();
    for read in all_reads() {
        position(&client, read, "owner", &kept, None).await.expect(read);
    }
    purchase(&client).await;
    let new = purchase(&client).await;
    for read in all_reads() {
        let status = position(&client, read, "owner", &lost, None).await.expect_err(read);
        let expected = (Code::FailedPrecondition, "TOKEN_OF_OLD_EPOCH".into());
        assert_eq!(reason(&status), expected, "{read}");
        position(&client, read, "owner", &kept, None).await.expect(read);
        position(&client, read, "owner", &new, None).await.expect(read);
        let status = position(&client, read, "owner", "nonsense", None).await.expect_err(read);
        assert_eq!(reason(&status), (Code::InvalidArgument, "INVALID_FIELD".into()), "{read}");
        let violation =
            status.get_error_details().bad_request().unwrap().field_violations[0].clone();
        let expected = ErrorReason::InvalidConsistencyToken.as_str_name();
        assert_eq!(Some(&*violation.reason), expected.strip_prefix("ERROR_REASON_"), "{read}");
    }
    check_read_models(&restored).await;
    server.stop().await;

    // Another database, whose first epoch has another number.
    let other = TestDatabase::new().await;
    let server = Server::start(&other).await;
    let client = server.client();
    settle(&client).await;
    for read in all_reads() {
        let status = position(&client, read, "owner", &lost, None).await.expect_err(read);
        let expected = (Code::FailedPrecondition, "TOKEN_OF_OLD_EPOCH".into());
        assert_eq!(reason(&status), expected, "{read}");
        position(&client, read, "owner", "", None).await.expect(read);
    }
    server.stop().await;
    for database in [database, restored, other] {
        database.check().await;
    }
}

/// Sends a signal to the processes of Postgres that serve a server. Returns how many there are.
async fn signal_backends(database: &TestDatabase, signal: &str) -> usize {
    let backends: Vec<i32> = sqlx::query_scalar(
        "select pid from pg_stat_activity
        where datname = current_database() and application_name like 'tributary%'",
    )
    .fetch_all(&database.pool)
    .await
    .unwrap();
    let pids = backends.iter().map(ToString::to_string);
    let status =
        tokio::process::Command::new("kill").arg(signal).args(pids).status().await.unwrap();
    assert!(status.success());
    backends.len()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_waits_for_a_frozen_database_as_long_as_the_setting_says_in_all() {
    let database = TestDatabase::new().await;
    let arguments = vec!["--database-patience-s".into(), "2".into()];
    let server = Server::start_with(&database.url, &ServerOptions { arguments }).await;
    let client = server.client();
    settle(&client).await;
    purchase(&client).await;

    let frozen = signal_backends(&database, "-STOP").await;
    assert!(frozen >= 2, "{frozen} backends");
    let began = Instant::now();
    let status = client.buy("", "friend", "INR", 100_000).await.unwrap_err();
    let took = began.elapsed();
    signal_backends(&database, "-CONT").await;
    assert_eq!(reason(&status), (Code::Unavailable, "DATABASE_UNAVAILABLE".into()));
    assert!((1_900..3_500).contains(&took.as_millis()), "{took:?}");
    for attempt in 0.. {
        match client.buy("", "friend", "INR", 100_000).await {
            Ok(_) => break,
            Err(status) => assert!(attempt < 50, "{status}"),
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    server.stop().await;
    database.check().await;
}
