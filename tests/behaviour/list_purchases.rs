//! `ListPurchases` by program and by time.

use contract::pb::*;
use prost_types::Timestamp;
use tonic::{Code, Status};

use super::bad_input::at_fault;
use super::support::{enroll, refused, server_with};
use testing::Client;

const LINES: &str = "multi-level-commission";
const BONUS: &str = "first-purchase-bonus";

async fn list(
    client: &Client,
    request: ListPurchasesRequest,
) -> Result<ListPurchasesResponse, Status> {
    Ok(client.purchases().list_purchases(client.request(request)).await?.into_inner())
}

/// The ids of all purchases that match, newest first, in pages of two.
async fn ids(client: &Client, request: ListPurchasesRequest) -> Vec<String> {
    let mut ids = Vec::new();
    let mut request = ListPurchasesRequest { page_size: 2, ..request };
    loop {
        let page = list(client, request.clone()).await.unwrap();
        assert!(page.purchases.len() <= 2);
        let purchases = page.purchases.into_iter().map(|detail| detail.purchase.unwrap());
        ids.extend(purchases.map(|purchase| purchase.purchase_id));
        if page.next_page_token.is_empty() {
            return ids;
        }
        request.page_token = page.next_page_token;
    }
}

fn moment_after(time: Timestamp) -> Timestamp {
    Timestamp { nanos: time.nanos + 1_000, ..time }
}

#[tokio::test]
async fn purchases_are_listed_by_program_by_buyer_and_by_time_of_recording() {
    let (database, server, client) = server_with(&[LINES, BONUS]).await;
    let ada = client.sign_up(LINES, "ada", "").await.unwrap();
    client.sign_up(LINES, "bob", &ada.code).await.unwrap();
    client.sign_up(BONUS, "cem", "").await.unwrap();
    client.sign_up("", "dan", "").await.unwrap();
    let mut times = Vec::new();
    let mut token = String::new();
    for (id, buyer) in [
        ("p-1", "bob"),
        ("p-2", "cem"),
        ("p-3", "dan"),
        ("p-4", "bob"),
        ("p-5", "cem"),
        ("p-6", "ada"),
    ] {
        if id == "p-4" {
            // From here on, Bob's purchases count in both programs.
            enroll(&client, BONUS, "bob", "").await.unwrap();
        }
        let recorded = client.buy(id, buyer, "INR", 100_000).await.unwrap();
        times.push(recorded.purchase.unwrap().create_time.unwrap());
        token = recorded.consistency_token;
    }
    let all = || ListPurchasesRequest { consistency_token: token.clone(), ..Default::default() };
    let of = |program_id: &str, buyer: &str| ListPurchasesRequest {
        program_id: program_id.into(),
        buyer_user_id: buyer.into(),
        ..all()
    };

    assert_eq!(ids(&client, all()).await, ["p-6", "p-5", "p-4", "p-3", "p-2", "p-1"]);
    assert_eq!(ids(&client, of(LINES, "")).await, ["p-6", "p-4", "p-1"]);
    assert_eq!(ids(&client, of(BONUS, "")).await, ["p-5", "p-4", "p-2"]);
    assert_eq!(ids(&client, of(LINES, "bob")).await, ["p-4", "p-1"]);
    assert_eq!(ids(&client, of(BONUS, "bob")).await, ["p-4"]);
    assert_eq!(ids(&client, of(BONUS, "dan")).await, [""; 0]);

    let between = |program_id: &str, buyer: &str, from: usize, to: usize| ListPurchasesRequest {
        start_time: Some(times[from]),
        end_time: Some(times[to]),
        ..of(program_id, buyer)
    };
    // The start is inclusive, the end is not.
    assert_eq!(ids(&client, between("", "", 1, 4)).await, ["p-4", "p-3", "p-2"]);
    assert_eq!(ids(&client, between("", "bob", 1, 4)).await, ["p-4"]);
    assert_eq!(ids(&client, between(LINES, "", 0, 3)).await, ["p-1"]);
    assert_eq!(ids(&client, between(BONUS, "cem", 1, 4)).await, ["p-2"]);
    assert_eq!(ids(&client, between("", "", 1, 1)).await, [""; 0]);
    let from = ListPurchasesRequest { start_time: Some(moment_after(times[4])), ..all() };
    assert_eq!(ids(&client, from).await, ["p-6"]);
    let until = ListPurchasesRequest { end_time: Some(moment_after(times[0])), ..all() };
    assert_eq!(ids(&client, until).await, ["p-1"]);
    let early =
        ListPurchasesRequest { end_time: Some(Timestamp { seconds: 1, nanos: 0 }), ..all() };
    assert_eq!(ids(&client, early).await, [""; 0]);
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn a_list_of_a_program_in_which_nobody_buys_ends_its_pages_early_and_goes_on() {
    const OTHERS: i64 = 5_200;
    let (database, server, client) = server_with(&[LINES, BONUS]).await;
    client.sign_up(BONUS, "cem", "").await.unwrap();
    client.buy("rare", "cem", "USD", 1_000).await.unwrap();
    client.sign_up("", "dan", "").await.unwrap();
    // Purchases without consequences, as the engine writes them.
    let last = client.buy("common-0", "dan", "USD", 1_000).await.unwrap().consistency_token;
    sqlx::query(
        "insert into events
         select model.position + number, 1, model.recorded_at, model.aggregate_type,
             'common-' || number, model.event_type, model.event_version, model.payload, model.metadata
         from generate_series(1, $1) as number, (select * from events order by position desc limit 1) as model",
    )
    .bind(OTHERS)
    .execute(&database.pool)
    .await
    .unwrap();
    let newest = client.sign_up("", "eve", "").await.unwrap().response.consistency_token;
    assert_ne!(last, newest);
    let request = |page_token: String| ListPurchasesRequest {
        program_id: BONUS.into(),
        consistency_token: newest.clone(),
        page_token,
        ..Default::default()
    };

    let first = list(&client, request(String::new())).await.unwrap();

    assert_eq!(first.purchases.len(), 0);
    assert!(!first.next_page_token.is_empty());
    let second = list(&client, request(first.next_page_token)).await.unwrap();
    assert_eq!(second.purchases[0].purchase.as_ref().unwrap().purchase_id, "rare");
    assert_eq!((second.purchases.len(), &*second.next_page_token), (1, ""));
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn an_unknown_program_and_a_bad_time_are_refused() {
    let (database, server, client) = server_with(&[LINES]).await;
    let none = ListPurchasesRequest { program_id: "none".into(), ..Default::default() };
    refused(list(&client, none).await, Code::NotFound, "PROGRAM_NOT_FOUND");
    let empty = ListPurchasesRequest { program_id: LINES.into(), ..Default::default() };
    assert_eq!(list(&client, empty).await.unwrap().purchases.len(), 0);
    let bad = Some(Timestamp { seconds: 0, nanos: -1 });
    let request = ListPurchasesRequest { start_time: bad, ..Default::default() };
    at_fault(list(&client, request).await, "start_time", "INVALID_TIME");
    let request = ListPurchasesRequest { program_id: "a b".into(), ..Default::default() };
    at_fault(list(&client, request).await, "program_id", "INVALID_ID");
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn a_period_that_ends_before_it_starts_is_refused_wherever_there_is_one() {
    let (database, server, client) = server_with(&[LINES]).await;
    client.sign_up(LINES, "ada", "").await.unwrap();
    let second = |seconds| Some(Timestamp { seconds, nanos: 0 });
    let (program_id, user_id) = (LINES.to_owned(), "ada".to_owned());
    for (start_time, end_time, is_backwards) in [
        (second(2), second(1), true),
        (second(1), second(1), false),
        (second(1), second(2), false),
        (second(2), None, false),
        (None, second(1), false),
    ] {
        let request = ListPurchasesRequest { start_time, end_time, ..Default::default() };
        let purchases = list(&client, request).await.map(|_| ());
        let request = ListRewardsRequest {
            program_id: program_id.clone(),
            user_id: user_id.clone(),
            start_time,
            end_time,
            ..Default::default()
        };
        let rewards = client.rewards().list_rewards(client.request(request)).await.map(|_| ());
        if is_backwards {
            at_fault(purchases, "end_time", "INVALID_TIME");
            at_fault(rewards, "end_time", "INVALID_TIME");
            let program_id = program_id.clone();
            let request = GetConversionReportRequest {
                program_id,
                start_time,
                end_time,
                ..Default::default()
            };
            let request = client.request(request);
            let report = client.operators().get_conversion_report(request).await.map(|_| ());
            at_fault(report, "end_time", "INVALID_TIME");
        } else {
            purchases.unwrap();
            rewards.unwrap();
        }
    }
    server.stop().await;
    database.check().await;
}
