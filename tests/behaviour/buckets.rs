//! The parts of a balance: in reads of now and of the past, in entries, on streams, and added up in overviews.

use contract::pb::watch_participant_response::Change;
use contract::pb::*;

use super::support::{just_before, minor, server_with};
use testing::{Client, TestDatabase};

const PROGRAM: &str = "multi-level-commission";

/// The parts of a balance: pending, available, reserved, and of the sums earned and reversed; all others are 0.
#[track_caller]
fn parts(buckets: &[BucketBalances]) -> [i64; 5] {
    assert_eq!(buckets.len(), 1, "{buckets:?}");
    let of = &buckets[0];
    let others = [&of.credited, &of.adjusted, &of.spent, &of.paid, &of.expired];
    assert!(others.into_iter().all(|of| minor(of.as_ref()) == 0), "{of:?}");
    let parts = [&of.pending, &of.available, &of.reserved, &of.earned, &of.reversed];
    assert!(parts.iter().all(|of| of.as_ref().unwrap().currency_code == "INR"));
    parts.map(|of| minor(of.as_ref()))
}

async fn balances(client: &Client, request: GetBalancesRequest) -> GetBalancesResponse {
    let answer = client.rewards().get_balances(client.request(request)).await.unwrap().into_inner();
    let [pending, available, reserved, earned, reversed] = parts(&answer.buckets);
    assert_eq!(minor(answer.balances.first()), pending + available + reserved);
    assert_eq!(minor(answer.balances.first()), earned - reversed);
    answer
}

fn of_ada(consistency_token: &str) -> GetBalancesRequest {
    GetBalancesRequest {
        program_id: PROGRAM.into(),
        user_id: "ada".into(),
        consistency_token: consistency_token.into(),
        ..Default::default()
    }
}

#[allow(clippy::unnecessary_wraps, reason = "as a message has it")]
fn inr(minor_units: i64) -> Option<Money> {
    Some(Money { currency_code: "INR".into(), minor_units })
}

async fn dispute(client: &Client, amount: i64) -> String {
    let message = OpenDisputeRequest {
        purchase_id: "order".into(),
        dispute_id: "dispute".into(),
        amount: inr(amount),
        ..Default::default()
    };
    let opened = client.purchases().open_dispute(client.request(message)).await.unwrap();
    opened.into_inner().consistency_token
}

async fn lose(client: &Client) -> String {
    let message = CloseDisputeRequest {
        purchase_id: "order".into(),
        dispute_id: "dispute".into(),
        outcome: DisputeState::Lost.into(),
        ..Default::default()
    };
    let closed = client.purchases().close_dispute(client.request(message)).await.unwrap();
    closed.into_inner().consistency_token
}

async fn overview(client: &Client, token: &str) -> GetOverviewResponse {
    let message =
        GetOverviewRequest { program_id: PROGRAM.into(), consistency_token: token.into() };
    client.operators().get_overview(client.request(message)).await.unwrap().into_inner()
}

/// What is owed by its parts, and the debts.
fn liability(overview: &GetOverviewResponse) -> [i64; 4] {
    let of = overview.liability.as_ref().unwrap();
    assert_eq!(of.currency_code, "INR");
    let parts = [&of.pending_minor_units, &of.available_minor_units, &of.reserved_minor_units];
    let [pending, available, reserved] = parts.map(|of| of.parse().unwrap());
    [pending, available, reserved, of.debt_minor_units.parse().unwrap()]
}

/// Ada has earned 10,000 from a purchase of bob, whose token is returned.
async fn begin() -> (TestDatabase, testing::Server, Client, String) {
    let (database, server, client) = server_with(&[PROGRAM]).await;
    let ada = client.sign_up(PROGRAM, "ada", "").await.unwrap();
    client.sign_up(PROGRAM, "bob", &ada.code).await.unwrap();
    let bought = client.buy("order", "bob", "INR", 200_000).await.unwrap();
    (database, server, client, bought.consistency_token)
}

#[tokio::test]
async fn a_dispute_moves_money_between_the_parts_of_a_balance_and_every_read_shows_it() {
    let (database, server, client, _) = begin().await;
    let mut stream = client.watch_balances(PROGRAM, "ada", "").await.unwrap();
    assert_eq!(parts(&stream.first.buckets), [0, 10_000, 0, 10_000, 0]);

    let token = dispute(&client, 50_000).await;

    let seen = balances(&client, of_ada(&token)).await;
    assert_eq!(parts(&seen.buckets), [2_500, 7_500, 0, 10_000, 0]);
    // The stream says so although the balance is the same.
    let moved = stream.rest.news().await;
    assert_eq!((minor(moved.change.as_ref()), minor(moved.balances.first())), (0, 10_000));
    assert_eq!(moved.buckets, seen.buckets);
    let all = client.watch_participant(PROGRAM, "ada", "").await.unwrap();
    let Some(Change::Present(present)) = all.first.change else { panic!("{:?}", all.first) };
    assert_eq!((present.balances, present.buckets), (seen.balances, seen.buckets.clone()));

    let token = lose(&client).await;

    let lost = stream.rest.news().await;
    assert_eq!((minor(lost.change.as_ref()), minor(lost.balances.first())), (-2_500, 7_500));
    assert_eq!(parts(&lost.buckets), [0, 7_500, 0, 10_000, 2_500]);
    assert_eq!(balances(&client, of_ada(&token)).await.buckets, lost.buckets);

    let message = ListBalanceEntriesRequest {
        program_id: PROGRAM.into(),
        user_id: "ada".into(),
        consistency_token: token,
        ..Default::default()
    };
    let listed = client.rewards().list_balance_entries(client.request(message)).await.unwrap();
    let entries = listed.into_inner().entries;
    let of = |entry: &BalanceEntry| {
        (entry.kind(), minor(entry.amount.as_ref()), entry.bucket(), entry.from_bucket())
    };
    let (pending, available) = (BalanceBucket::Pending, BalanceBucket::Available);
    let none = BalanceBucket::Unspecified;
    assert_eq!(
        entries.iter().map(of).collect::<Vec<_>>(),
        [
            (EntryKind::Reversal, -2_500, pending, none),
            (EntryKind::Transfer, 2_500, pending, available),
            (EntryKind::Reward, 10_000, available, none),
        ]
    );
    // The same as of the moment of each entry, and just before.
    for (entry, after, before) in [
        (&entries[0], [0, 7_500, 0, 10_000, 2_500], [2_500, 7_500, 0, 10_000, 0]),
        (&entries[1], [2_500, 7_500, 0, 10_000, 0], [0, 10_000, 0, 10_000, 0]),
        (&entries[2], [0, 10_000, 0, 10_000, 0], [0; 5]),
    ] {
        let moment = entry.create_time.unwrap();
        for (moment, expected) in [(moment, after), (just_before(moment), before)] {
            let past = GetBalancesRequest { as_of_time: Some(moment), ..of_ada("") };
            assert_eq!(parts(&balances(&client, past).await.buckets), expected);
        }
    }
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn an_overview_says_what_is_owed_and_apart_from_that_what_is_owed_by_participants() {
    let (database, server, client, token) = begin().await;
    let seen = overview(&client, &token).await;
    assert_eq!((liability(&seen), &*seen.rewards_reversed_minor_units), ([0, 10_000, 0, 0], "0"));
    let token = dispute(&client, 50_000).await;
    assert_eq!(liability(&overview(&client, &token).await), [2_500, 7_500, 0, 0]);
    let token = lose(&client).await;
    let seen = overview(&client, &token).await;
    assert_eq!(liability(&seen), [0, 7_500, 0, 0]);
    assert_eq!(&*seen.rewards_reversed_minor_units, "2500");
    assert_eq!(minor(seen.rewards_granted.first()), 10_000);
    // What was brought in for the participants above is without what was taken back, and a transfer is none of it.
    let message = ListReferralsRequest {
        program_id: PROGRAM.into(),
        user_id: "ada".into(),
        consistency_token: token,
        ..Default::default()
    };
    let listed = client.referrals().list_referrals(client.request(message)).await.unwrap();
    let listed = listed.into_inner().referrals;
    assert_eq!(listed.len(), 1);
    assert_eq!(minor(listed[0].brought_in.as_ref()), 7_500);
    server.stop().await;
    database.check().await;
}
