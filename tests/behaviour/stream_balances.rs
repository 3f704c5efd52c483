//! Live streams of balances: first the present balances, then every entry, each once.

use std::ops::RangeInclusive;

use contract::pb::{GetBalancesRequest, ListBalanceEntriesRequest, WatchBalancesResponse};
use tonic::Code;
use tonic_types::StatusExt;

use super::support::{minor, refused, server_with};
use testing::{Begun, Client, Message, Watched, at_once, second_server};

/// The program in which purchases are credited, and the first of 1000 or more brings a bonus.
const PROGRAM: &str = "first-purchase-bonus";

type Balances = Watched<WatchBalancesResponse>;

/// The figures of a message: the amount that was added, if any, and the balance after it.
#[track_caller]
fn figures(message: &WatchBalancesResponse) -> (Option<i64>, i64) {
    assert_eq!(message.balances.len(), 1, "{message:?}");
    let units = message.balances.iter().chain(&message.change);
    assert!(units.into_iter().all(|money| money.currency_code == "USD"), "{message:?}");
    (message.change.as_ref().map(|change| change.minor_units), message.balances[0].minor_units)
}

/// The balance according to a read.
async fn balance(client: &Client, user_id: &str, consistency_token: &str) -> i64 {
    let message = GetBalancesRequest {
        program_id: PROGRAM.into(),
        user_id: user_id.into(),
        consistency_token: consistency_token.into(),
        ..Default::default()
    };
    let answer = client.rewards().get_balances(client.request(message)).await.unwrap();
    minor(answer.into_inner().balances.first())
}

/// Records purchases of 1, 2, 3, ... cents, which are credited as they are. The last answer's token.
async fn buy_cents(client: &Client, buyer: &str, numbers: RangeInclusive<i64>) -> String {
    let mut token = String::new();
    for number in numbers {
        let answer = client.buy(&format!("cents-{number}"), buyer, "USD", number).await.unwrap();
        token = answer.consistency_token;
    }
    token
}

/// Checks that the next entries of a stream are the purchases of these numbers of cents.
async fn expect_cents(stream: &mut Balances, numbers: RangeInclusive<i64>) -> Vec<String> {
    let mut tokens = Vec::new();
    for number in numbers {
        let seen = figures(&stream.news().await);
        assert_eq!(seen, (Some(number), number * (number + 1) / 2));
        tokens.push(stream.token.clone());
    }
    tokens
}

/// Opens a stream from a token.
async fn resume(client: &Client, user_id: &str, token: &str) -> Balances {
    let Begun { first, rest } = client.watch_balances(PROGRAM, user_id, token).await.unwrap();
    assert!(first.is_heartbeat() && first.change.is_none(), "{first:?}");
    rest
}

#[tokio::test]
async fn the_present_balance_comes_first_and_then_every_reward_and_credited_purchase() {
    let (database, server, client) = server_with(&[PROGRAM]).await;
    let ada = client.sign_up(PROGRAM, "ada", "").await.unwrap();
    client.sign_up(PROGRAM, "bob", &ada.code).await.unwrap();
    let mut of_ada = client.watch_balances(PROGRAM, "ada", "").await.unwrap();
    let mut of_bob = client.watch_balances(PROGRAM, "bob", "").await.unwrap();
    assert_eq!(figures(&of_ada.first), (None, 0));
    assert_eq!(figures(&of_bob.first), (None, 0));

    let bought = client.buy("order-1", "bob", "USD", 1_000).await.unwrap();

    // The paid amount and the bonus come one after the other.
    assert_eq!(figures(&of_bob.rest.news().await), (Some(1_000), 1_000));
    assert_eq!(figures(&of_bob.rest.news().await), (Some(1_000), 2_000));
    assert_eq!(figures(&of_ada.rest.news().await), (Some(1_000), 1_000));
    assert_eq!(balance(&client, "bob", &bought.consistency_token).await, 2_000);

    // A stream that starts now sends the present balances once.
    let mut late = client.watch_balances(PROGRAM, "bob", "").await.unwrap();
    assert_eq!(figures(&late.first), (None, 2_000));
    let bought = client.buy("order-2", "bob", "USD", 50).await.unwrap();
    assert_eq!(figures(&late.rest.news().await), (Some(50), 2_050));
    assert_eq!(figures(&of_bob.rest.news().await), (Some(50), 2_050));

    // The entries of a stream equal those of the list.
    let message = ListBalanceEntriesRequest {
        program_id: PROGRAM.into(),
        user_id: "bob".into(),
        consistency_token: bought.consistency_token,
        ..Default::default()
    };
    let listed = client.rewards().list_balance_entries(client.request(message)).await.unwrap();
    let listed: Vec<_> = listed
        .into_inner()
        .entries
        .iter()
        .map(|entry| (minor(entry.amount.as_ref()), minor(entry.balance.as_ref())))
        .collect();
    assert_eq!(listed, [(50, 2_050), (1_000, 2_000), (1_000, 1_000)]);
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn balances_resumed_from_any_token_on_any_server_have_neither_gap_nor_repetition() {
    const COUNT: i64 = 12;
    let (database, server, client) = server_with(&[PROGRAM]).await;
    let other = second_server(&database, &[]).await;
    client.sign_up(PROGRAM, "bob", "").await.unwrap();
    let Begun { first, rest: mut stream } =
        client.watch_balances(PROGRAM, "bob", "").await.unwrap();
    buy_cents(&client, "bob", 1..=COUNT).await;
    // Token number n is the token after n entries.
    let mut tokens = vec![first.resume_token];
    tokens.extend(expect_cents(&mut stream, 1..=COUNT).await);

    for (round, client) in (0..).zip([&other.client(), &client]) {
        let before = COUNT + round;
        let mut streams = Vec::new();
        for (number, token) in (0..).zip(&tokens) {
            let mut stream = resume(client, "bob", token).await;
            expect_cents(&mut stream, number + 1..=before).await;
            streams.push(stream);
        }
        // New events follow directly after past ones.
        buy_cents(client, "bob", before + 1..=before + 1).await;
        for stream in &mut streams {
            expect_cents(stream, before + 1..=before + 1).await;
        }
    }
    expect_cents(&mut stream, COUNT + 1..=COUNT + 2).await;
    server.stop().await;
    other.stop().await;
    database.check().await;
}

#[tokio::test]
async fn the_present_balance_fits_what_follows_it_also_while_entries_are_recorded() {
    const COUNT: i64 = 200;
    let (database, server, client) = server_with(&[PROGRAM]).await;
    let other = second_server(&database, &[]).await;
    client.sign_up(PROGRAM, "bob", "").await.unwrap();
    let writer = client.clone();
    let writing = tokio::spawn(async move { buy_cents(&writer, "bob", 1..=COUNT).await });
    let watch = |client: Client| async move {
        let Begun { first, mut rest } = client.watch_balances(PROGRAM, "bob", "").await.unwrap();
        let (change, mut balance) = figures(&first);
        assert_eq!(change, None);
        while balance < COUNT * (COUNT + 1) / 2 {
            let (change, after) = figures(&rest.news().await);
            assert_eq!(after, balance + change.unwrap(), "an entry is missing or came twice");
            balance = after;
        }
    };
    let mut watching = tokio::task::JoinSet::new();
    while !writing.is_finished() && watching.len() < 200 {
        watching.spawn(watch(client.clone()));
        watching.spawn(watch(other.client()));
        tokio::task::yield_now().await;
        // Each of them opened after a few more entries.
        let _ = client.user("bob").await.unwrap();
    }
    let token = writing.await.unwrap();
    watching.join_all().await;
    assert_eq!(balance(&client, "bob", &token).await, COUNT * (COUNT + 1) / 2);
    server.stop().await;
    other.stop().await;
    database.check().await;
}

#[tokio::test]
async fn nobody_gets_what_moves_the_balances_of_others() {
    let (database, server, client) = server_with(&[PROGRAM, "first-purchase-credits"]).await;
    for user_id in ["ada", "bob"] {
        client.sign_up(PROGRAM, user_id, "").await.unwrap();
    }
    super::support::enroll(&client, "first-purchase-credits", "ada", "").await.unwrap();
    let mut of_ada = client.watch_balances(PROGRAM, "ada", "").await.unwrap().rest;
    let mut elsewhere = client.watch_balances("first-purchase-credits", "ada", "").await.unwrap();
    assert_eq!(minor(elsewhere.first.balances.first()), 0);

    let orders = (1..=20).map(|number| {
        let client = client.clone();
        let buyer = if number == 20 { "ada" } else { "bob" };
        async move { client.buy(&format!("order-{number}"), buyer, "USD", number).await.unwrap() }
    });
    at_once(orders).await;
    client.buy("order-21", "ada", "USD", 30).await.unwrap();

    assert_eq!(figures(&of_ada.news().await), (Some(20), 20));
    assert_eq!(figures(&of_ada.news().await), (Some(30), 50));
    server.stop().await;
    let (seen, status) = elsewhere.rest.end().await;
    assert!(seen.is_empty(), "{seen:?}");
    refused::<()>(Err(status), Code::Unavailable, "SHUTTING_DOWN");
    database.check().await;
}

#[tokio::test]
async fn a_token_of_another_kind_of_stream_is_refused() {
    const PROGRAM: &str = "tiered-points";
    let (database, server, client) = server_with(&[PROGRAM]).await;
    let ada = client.sign_up(PROGRAM, "ada", "").await.unwrap();
    client.sign_up(PROGRAM, "eve", "").await.unwrap();
    let earnings = client.watch_earnings(PROGRAM, "ada", "").await.unwrap().rest.token;
    let balances = client.watch_balances(PROGRAM, "ada", "").await.unwrap().rest.token;
    let of_eve = client.watch_balances(PROGRAM, "eve", "").await.unwrap().rest.token;
    let tier = client.watch_tier(PROGRAM, "ada", "").await.unwrap().rest.token;
    let all = client.watch_participant(PROGRAM, "ada", "").await.unwrap().rest.token;
    let all_of_eve = client.watch_participant(PROGRAM, "eve", "").await.unwrap().rest.token;
    let events = client.watch_events(&[], "", "").await.unwrap().rest.token;
    let consistency = ada.response.consistency_token;

    let wrong = |status: tonic::Status| {
        let status = refused::<()>(Err(status), Code::InvalidArgument, "INVALID_FIELD");
        let violations = status.get_error_details().bad_request().cloned().unwrap();
        let violation = &violations.field_violations[0];
        let found = (&*violation.field, &*violation.reason);
        assert_eq!(found, ("resume_token", "INVALID_RESUME_TOKEN"));
    };
    for token in [&earnings, &tier, &all, &events, &of_eve, &consistency] {
        wrong(client.watch_balances(PROGRAM, "ada", token).await.map(|_| ()).unwrap_err());
    }
    for token in [&earnings, &balances, &all, &events, &of_eve, &consistency] {
        wrong(client.watch_tier(PROGRAM, "ada", token).await.map(|_| ()).unwrap_err());
    }
    for token in [&earnings, &balances, &tier, &events, &all_of_eve, &consistency] {
        wrong(client.watch_participant(PROGRAM, "ada", token).await.map(|_| ()).unwrap_err());
    }
    for token in [&earnings, &balances, &tier, &all, &of_eve, &consistency] {
        wrong(client.watch_events(&[], "", token).await.map(|_| ()).unwrap_err());
        let request = super::stream_leaderboards::board(PROGRAM, token);
        wrong(client.watch_leaderboard(request).await.map(|_| ()).unwrap_err());
    }
    server.stop().await;
    database.check().await;
}
