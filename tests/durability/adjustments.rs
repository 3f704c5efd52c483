//! Adjustments and approvals that race, on two servers, and the deletion of old notes.

use contract::pb::*;
use tonic::{Code, Status};

use testing::{Client, Pair, TestDatabase, at_once, check_books, events_in, reason};

use crate::expected::check_read_models;

const LINES: &str = "multi-level-commission";

fn adjustment(adjustment_id: &str, minor_units: i64) -> AdjustBalanceRequest {
    AdjustBalanceRequest {
        program_id: LINES.into(),
        user_id: "ana".into(),
        adjustment_id: adjustment_id.into(),
        amount: Some(Money { currency_code: "INR".into(), minor_units }),
        reason_code: "goodwill".into(),
        note: "a note".into(),
        ..Default::default()
    }
}

async fn adjust(
    client: Client,
    message: AdjustBalanceRequest,
) -> Result<AdjustBalanceResponse, Status> {
    Ok(client.rewards().adjust_balance(client.request(message)).await?.into_inner())
}

/// Approves; or declines.
async fn decide(client: Client, approval_id: String, approves: bool) -> Result<(), Status> {
    if approves {
        let message = ApproveRequest { approval_id, ..Default::default() };
        client.rewards().approve(client.request(message)).await.map(drop)
    } else {
        let message = DeclineRequest { approval_id, ..Default::default() };
        client.rewards().decline(client.request(message)).await.map(drop)
    }
}

/// Two servers, with ana, and on each a client with a key that has asked for nothing.
async fn scene() -> (TestDatabase, Pair, [Client; 2]) {
    let database = TestDatabase::new().await;
    let pair = Pair::start(&database).await;
    let client = pair.client(0);
    client.publish_shipped(LINES).await;
    client.sign_up(LINES, "ana", "").await.unwrap();
    let key = database.key_of_another().await;
    let others = [
        pair.first.separate_client(Some(&key)).await,
        pair.second.separate_client(Some(&key)).await,
    ];
    (database, pair, others)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_adjustment_asked_for_eight_times_at_once_is_posted_once() {
    let (database, pair, _) = scene().await;
    let calls = (0..8).map(|number| adjust(pair.client(number), adjustment("a", -500)));
    let answers: Vec<_> = at_once(calls).await.into_iter().map(Result::unwrap).collect();
    assert!(answers.iter().all(|answer| answer.entry == answers[0].entry), "{answers:?}");
    let different = (0..8).map(|number| {
        let amount = if number % 2 == 0 { 1 } else { 2 };
        adjust(pair.client(number), adjustment("b", amount))
    });
    let (good, bad): (Vec<_>, Vec<_>) =
        at_once(different).await.into_iter().partition(Result::is_ok);
    assert_eq!((good.len(), bad.len()), (4, 4));
    for refusal in bad {
        let known = (Code::AlreadyExists, "ADJUSTMENT_ID_REUSED".to_owned());
        assert_eq!(reason(&refusal.unwrap_err()), known);
    }
    let stream = format!("{LINES}/ana");
    assert_eq!(events_in(&database, &stream, "BalanceAdjusted").await, 2);
    assert_eq!(database.count("select count(*) from notes").await, 2, "one for each adjustment");
    check_read_models(&database).await;
    pair.stop().await;
    check_books(&database).await;
    database.check().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_approvals_and_refusals_at_once_one_decision_holds_and_posts_at_most_once() {
    let (database, pair, others) = scene().await;
    for round in 0..6 {
        let id = format!("round-{round}");
        let asked = adjust(pair.client(round), adjustment(&id, 200_000)).await.unwrap();
        assert_eq!(asked.state(), ApprovalState::Pending);
        // In even rounds all approve; in odd ones every other declines.
        let calls = (0..8).map(|number| {
            let approves = round % 2 == 0 || number < 4;
            decide(others[number % 2].clone(), asked.approval_id.clone(), approves)
        });
        let answers = at_once(calls).await;
        let good = answers.iter().filter(|answer| answer.is_ok()).count();
        assert_eq!(good, if round % 2 == 0 { 8 } else { 4 }, "{answers:?}");
        for refusal in answers.into_iter().filter_map(Result::err) {
            let known = (Code::FailedPrecondition, "APPROVAL_DECIDED".to_owned());
            assert_eq!(reason(&refusal), known);
        }
        let granted = events_in(&database, &asked.approval_id, "ApprovalGranted").await;
        let declined = events_in(&database, &asked.approval_id, "ApprovalDeclined").await;
        assert_eq!(granted + declined, 1);
        let posted = format!(
            "select count(*) from events where event_type = 'BalanceAdjusted'
                and payload ->> 'adjustment_id' = '{id}'"
        );
        assert_eq!(database.count(&posted).await, granted);
    }
    check_read_models(&database).await;
    pair.stop().await;
    check_books(&database).await;
    database.check().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_erasure_and_an_approval_at_once_post_nothing_after_the_erasure() {
    let (database, pair, others) = scene().await;
    for round in 0..4 {
        let name = format!("user-{round}");
        pair.client(0).sign_up(LINES, &name, "").await.unwrap();
        let wanted = AdjustBalanceRequest { user_id: name.clone(), ..adjustment("a", 200_000) };
        let asked = adjust(pair.client(0), wanted).await.unwrap();
        let (erasing, approving) = (pair.client(1), others[0].clone());
        let (erased, approved) = tokio::join!(
            async { erasing.erase(&name, true).await },
            decide(approving, asked.approval_id.clone(), true),
        );
        erased.unwrap();
        if let Err(refusal) = approved {
            assert_eq!(reason(&refusal), (Code::NotFound, "USER_NOT_FOUND".to_owned()));
        }
        let balance = format!(
            "select coalesce(sum((payload -> 'posting' ->> 'amount')::bigint), 0)::bigint
             from events where aggregate_id = '{LINES}/{name}'"
        );
        assert_eq!(database.count(&balance).await, 0, "what was posted is forfeited");
        let notes = format!("select count(*) from notes where user_id = '{name}'");
        assert_eq!(database.count(&notes).await, 0);
    }
    pair.stop().await;
    check_books(&database).await;
    database.check().await;
}

#[tokio::test]
async fn notes_are_deleted_after_their_time_and_no_others() {
    let database = TestDatabase::new().await;
    sqlx::query(
        "insert into notes (subject_kind, subject_id, user_id, author, note, note_time)
         select 'refund', day::text, 'ana', 'system', 'old', clock_timestamp() - day * interval '1 day'
         from generate_series(1, 20) as day",
    )
    .execute(&database.pool)
    .await
    .unwrap();
    let age = tributary::jobs::days(10);
    while tributary::store::notes::delete_old(&database.pool, age, 3).await.unwrap() > 0 {}
    assert_eq!(database.count("select count(*) from notes").await, 9);
    assert_eq!(database.count("select max(subject_id::integer)::bigint from notes").await, 9);
}
