//! Payouts on two servers that are killed, with rewards that come and go meanwhile: no entry is paid twice or forgotten.

use std::time::Duration;

use contract::pb::*;
use tonic::{Code, Status};

use crate::contention::uncapped;
use crate::expected::check_read_models;
use testing::{Client, Pair, Server, TestDatabase, at_once, check_books, reason};

const LINES: &str = "multi-level-commission";

/// How many people there are, unless the environment says otherwise.
const PEOPLE: usize = 3_000;

fn name(number: usize) -> String {
    format!("person-{number:06}")
}

/// What each has, in minor units.
fn amount(number: usize) -> i64 {
    100 + i64::try_from(number % 97).unwrap()
}

async fn adjust(client: Client, user_id: String, adjustment_id: String, minor_units: i64) {
    let message = AdjustBalanceRequest {
        program_id: LINES.into(),
        user_id,
        adjustment_id,
        amount: Some(Money { currency_code: "INR".into(), minor_units }),
        reason_code: "goodwill".into(),
        ..Default::default()
    };
    // Sent again until a server that lives has answered.
    for _ in 0..200 {
        if client.rewards().adjust_balance(client.request(message.clone())).await.is_ok() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("an adjustment was never carried out");
}

async fn join(client: Client, number: usize) {
    let user_id = name(number);
    client.sign_up(LINES, &user_id, "").await.unwrap();
    let method = SetPayoutMethodRequest {
        user_id: user_id.clone(),
        kind: "sepa".into(),
        reference: user_id.clone(),
        ..Default::default()
    };
    client.payouts().set_payout_method(client.request(method)).await.unwrap();
    adjust(client, user_id, "first".into(), amount(number)).await;
}

/// So many people with something available, on two servers.
async fn people(pair: &Pair, count: usize) {
    let program = Program { pays_out: true, ..uncapped() };
    pair.client(0).publish(program).await.unwrap();
    for first in (0..count).step_by(500) {
        let some = first..count.min(first + 500);
        at_once(some.map(|number| join(pair.client(number), number))).await;
    }
}

async fn create(client: Client, payout_id: &str) -> Result<(), Status> {
    let message = CreatePayoutRequest {
        program_id: LINES.into(),
        payout_id: payout_id.into(),
        ..Default::default()
    };
    client.payouts().create_payout(client.request(message)).await.map(drop)
}

async fn confirm(client: Client, payout_id: &str, user_id: String) -> Result<(), Status> {
    let message = ConfirmPayoutRequest {
        program_id: LINES.into(),
        payout_id: payout_id.into(),
        user_id,
        ..Default::default()
    };
    client.payouts().confirm_payout(client.request(message)).await.map(drop)
}

async fn fail(client: Client, payout_id: &str, user_id: String) -> Result<(), Status> {
    let message = FailPayoutRequest {
        program_id: LINES.into(),
        payout_id: payout_id.into(),
        user_id,
        ..Default::default()
    };
    client.payouts().fail_payout(client.request(message)).await.map(drop)
}

async fn events_of(database: &TestDatabase, event_type: &str) -> i64 {
    database.count(&format!("select count(*) from events where event_type = '{event_type}'")).await
}

/// Waits until the log has this many events of a type.
async fn until(database: &TestDatabase, event_type: &str, expected: i64) {
    for _ in 0..6_000 {
        if events_of(database, event_type).await >= expected {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("{}: {} of {expected}", event_type, events_of(database, event_type).await);
}

/// Every step of a line is on its participant's stream once, with its amount, and what is reserved, paid and returned adds
/// up for everybody.
async fn check_sums(database: &TestDatabase) {
    let wrong = "
        with step as (
            select split_part(aggregate_id, '/', 2) as payout_id,
                split_part(aggregate_id, '/', 1) || '/' || split_part(aggregate_id, '/', 3) as participant,
                event_type, (payload ->> 'amount_minor')::bigint as amount
            from events where aggregate_type = 'PayoutLine' and event_type <> 'PayoutLineSkipped'
        ), moved as (
            select payload ->> 'payout_id' as payout_id, aggregate_id as participant,
                case event_type when 'PayoutReserved' then 'PayoutLineReserved' when 'PayoutPaid' then 'PayoutLinePaid'
                    when 'PayoutReleased' then 'PayoutLineFailed' else 'PayoutLineReturned' end as event_type,
                abs((payload -> 'posting' ->> 'amount')::bigint) as amount
            from events where aggregate_type = 'Participant' and payload ? 'payout_id'
        )
        select (select count(*) from (select * from step except all select * from moved) as missing)
            + (select count(*) from (select * from moved except all select * from step) as surplus)
            + (select count(*) from (
                select from step group by payout_id, participant, event_type having count(*) > 1) as twice)";
    assert_eq!(database.count(wrong).await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_payouts_at_once_one_collects_and_a_line_is_paid_or_failed_once() {
    let database = TestDatabase::new().await;
    let pair = Pair::start(&database).await;
    people(&pair, 40).await;
    let answers = at_once((0..8).map(|number| {
        let client = pair.client(number);
        async move { create(client, if number % 2 == 0 { "a" } else { "b" }).await }
    }))
    .await;
    let refusals: Vec<_> = answers.iter().filter_map(|answer| answer.as_ref().err()).collect();
    assert_eq!(refusals.len(), 4, "{answers:?}");
    for refusal in refusals {
        let known = (Code::FailedPrecondition, "PAYOUT_COLLECTING".to_owned());
        assert_eq!(reason(refusal), known);
    }
    until(&database, "PayoutCollected", 1).await;
    assert_eq!(events_of(&database, "PayoutLineReserved").await, 40);
    let payout: String =
        sqlx::query_scalar("select aggregate_id from events where event_type = 'PayoutCreated'")
            .fetch_one(&database.pool)
            .await
            .unwrap();
    let payout = payout.split_once('/').unwrap().1.to_owned();
    // One says that a line was paid, the other that it was not.
    let outcomes = at_once((0..80).map(|number| {
        let (client, payout, user) = (pair.client(number), payout.clone(), name(number / 2));
        async move {
            if number % 2 == 0 {
                confirm(client, &payout, user).await
            } else {
                fail(client, &payout, user).await
            }
        }
    }))
    .await;
    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 40);
    let paid = events_of(&database, "PayoutLinePaid").await;
    assert_eq!(paid + events_of(&database, "PayoutLineFailed").await, 40);
    check_sums(&database).await;
    check_books(&database).await;
    check_read_models(&database).await;
    pair.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_payout_goes_on_though_both_servers_are_killed_in_turn_and_money_is_taken_back_meanwhile()
{
    let people_count =
        std::env::var("TRIBUTARY_PAYOUT_LINES").ok().and_then(|text| text.parse().ok());
    let count: usize = people_count.unwrap_or(PEOPLE);
    let all = i64::try_from(count).unwrap();
    let database = TestDatabase::new().await;
    let pair = Pair::start(&database).await;
    people(&pair, count).await;
    let (taken_back, late) = (count / 10, count / 20);

    create(pair.client(0), "may").await.unwrap();
    until(&database, "PayoutLineReserved", 1).await;
    let Pair { first, second, .. } = pair;
    first.kill().await;
    let first = Server::start(&database).await;
    // Some have less than they had, some have more.
    let client = first.client();
    at_once(
        (0..taken_back).map(|number| adjust(client.clone(), name(number * 10), "back".into(), -50)),
    )
    .await;
    at_once((0..late).map(|number| adjust(client.clone(), name(number), "late".into(), 1_000)))
        .await;
    second.kill().await;
    let second = Server::start(&database).await;
    until(&database, "PayoutCollected", 1).await;
    let lines = events_of(&database, "PayoutLineReserved").await;
    assert_eq!(lines + events_of(&database, "PayoutLineSkipped").await, all);

    let whole = "select (payload ->> 'total_minor')::bigint from events where event_type = 'PayoutCollected'";
    let total = database.count(whole).await;
    let sum = "select sum((payload ->> 'amount_minor')::bigint)::bigint from events
        where event_type = 'PayoutLineReserved'";
    assert_eq!(total, database.count(sum).await);
    // Nobody gets more than they had when the payout was created.
    assert!(total <= (0..count).map(amount).sum());
    confirm_whole(&second.client(), &first).await;
    until(&database, "PayoutLinePaid", 1).await;
    first.kill().await;
    let first = Server::start(&database).await;
    until(&database, "PayoutCompleted", 1).await;
    assert_eq!(events_of(&database, "PayoutLinePaid").await, lines);

    // What is left is in the next payout, and a debt is not.
    create(first.client(), "june").await.unwrap();
    until(&database, "PayoutCollected", 2).await;
    let over = "select count(*) from (
            select payload -> 'posting' -> 'after' as after from events as last
            where aggregate_type = 'Participant' and payload ? 'posting' and not exists (
                select from events as later where later.aggregate_type = 'Participant'
                    and later.aggregate_id = last.aggregate_id and later.payload ? 'posting'
                    and later.sequence > last.sequence)
        ) as present where coalesce((after ->> 'available')::bigint, 0) > 0";
    assert_eq!(database.count(over).await, 0, "everything available is reserved");
    check_sums(&database).await;
    check_books(&database).await;
    check_read_models(&database).await;
    first.stop().await;
    second.stop().await;
}

/// Confirms a payout as a whole; above the limit another key approves.
async fn confirm_whole(client: &Client, server: &Server) {
    let message = ConfirmPayoutRequest {
        program_id: LINES.into(),
        payout_id: "may".into(),
        ..Default::default()
    };
    let answer = client.payouts().confirm_payout(client.request(message)).await.unwrap();
    let approval_id = answer.into_inner().approval_id;
    if approval_id.is_empty() {
        return;
    }
    let key = CreateApiKeyRequest {
        name: "the other".into(),
        role: ApiKeyRole::Admin.into(),
        ..Default::default()
    };
    let key = client.accounts().create_api_key(client.request(key)).await.unwrap().into_inner();
    let other = server.separate_client(Some(&key.api_key)).await;
    let approve = ApproveRequest { approval_id, ..Default::default() };
    other.rewards().approve(other.request(approve)).await.unwrap();
}
