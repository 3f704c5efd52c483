//! Purchases with bad fields: each fault has its reason, and nothing changes.

use contract::pb::*;
use prost_types::Timestamp;
use tonic::Code;

use super::bad_input::{at_fault, violations};
use super::support::{dated, log_length, refused, server_with};

pub(super) fn purchase(currency_code: &str, minor_units: i64) -> RecordPurchaseRequest {
    RecordPurchaseRequest {
        purchase_id: "order-1".into(),
        buyer_user_id: "ada".into(),
        amount: Some(Money { currency_code: currency_code.into(), minor_units }),
        ..Default::default()
    }
}

#[tokio::test]
async fn a_purchase_with_a_bad_field_is_refused_with_the_reason_of_that_field() {
    let (database, server, client) = server_with(&["first-purchase-bonus"]).await;
    client.sign_up("first-purchase-bonus", "ada", "").await.unwrap();
    let before = log_length(&database).await;
    for amount in [0, -1, -1_000, i64::MIN] {
        let refused = client.record(purchase("USD", amount)).await;
        at_fault(refused, "amount.minor_units", "AMOUNT_NOT_POSITIVE");
    }
    for amount in [1_000_000_000_000_001, i64::MAX] {
        let refused = client.record(purchase("USD", amount)).await;
        at_fault(refused, "amount.minor_units", "AMOUNT_TOO_LARGE");
    }
    for currency in ["usd", "US", "XYZ", "US$", "U\u{7}D", "USDOLLARSANDCENTS", " USD"] {
        let refused = client.record(purchase(currency, 1_000)).await;
        at_fault(refused, "amount.currency_code", "INVALID_CURRENCY");
    }
    for no_money in ["XAU", "XAG", "XDR", "XTS", "XXX"] {
        let status = client.record(purchase(no_money, 1_000)).await.unwrap_err();
        let words = "must be money: this ISO 4217 code is of a metal";
        assert!(status.message().contains(words), "{no_money}: {status}");
        at_fault::<()>(Err(status), "amount.currency_code", "INVALID_CURRENCY");
    }
    let refused_call = client.record(purchase("", 1_000)).await;
    at_fault(refused_call, "amount.currency_code", "FIELD_REQUIRED");
    let refused_call = client.record(purchase("U\0D", 1_000)).await;
    at_fault(refused_call, "amount.currency_code", "NUL_CHARACTER");
    let request = RecordPurchaseRequest { amount: None, ..purchase("USD", 1) };
    at_fault(client.record(request).await, "amount", "FIELD_REQUIRED");
    for (buyer, reason) in [("", "FIELD_REQUIRED"), ("a b", "INVALID_ID"), ("a\0", "NUL_CHARACTER")]
    {
        let request =
            RecordPurchaseRequest { buyer_user_id: buyer.into(), ..purchase("USD", 1_000) };
        at_fault(client.record(request).await, "buyer_user_id", reason);
    }
    for (purchase_id, reason) in
        [("order 1", "INVALID_ID"), ("order\u{1}", "INVALID_ID"), ("\0", "NUL_CHARACTER")]
    {
        let request =
            RecordPurchaseRequest { purchase_id: purchase_id.into(), ..purchase("USD", 1_000) };
        at_fault(client.record(request).await, "purchase_id", reason);
        at_fault(client.purchase(purchase_id).await, "purchase_id", reason);
    }
    let tomorrow = std::time::SystemTime::now() + std::time::Duration::from_hours(24);
    let request = dated("order-1", "ada", "USD", 1_000, tomorrow.into());
    at_fault(client.record(request).await, "purchase_time", "TIME_IN_FUTURE");
    for (seconds, nanos) in [(i64::MAX, 0), (i64::MIN, 0), (1_000, -1), (1_000, 1_000_000_000)] {
        let request = dated("order-1", "ada", "USD", 1_000, Timestamp { seconds, nanos });
        at_fault(client.record(request).await, "purchase_time", "INVALID_TIME");
    }
    let request =
        RecordPurchaseRequest { buyer_user_id: "nobody".into(), ..purchase("USD", 1_000) };
    refused(client.record(request).await, Code::NotFound, "USER_NOT_FOUND");

    let request = RecordPurchaseRequest {
        purchase_id: "#".into(),
        buyer_user_id: String::new(),
        amount: Some(Money { currency_code: "usd".into(), minor_units: 0 }),
        purchase_time: Some(Timestamp { seconds: 0, nanos: -1 }),
        request_id: "\n".into(),
        fingerprint: "f".repeat(257),
    };
    let status = refused(client.record(request).await, Code::InvalidArgument, "INVALID_FIELD");
    let named: Vec<String> = violations(&status).into_iter().map(|(field, _)| field).collect();
    assert_eq!(
        named,
        [
            "amount.currency_code",
            "amount.minor_units",
            "buyer_user_id",
            "fingerprint",
            "purchase_id",
            "purchase_time",
            "request_id",
        ]
    );

    assert_eq!(log_length(&database).await, before);
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn a_time_in_milliseconds_is_no_time_and_one_before_1970_is() {
    let (database, server, client) = server_with(&[]).await;
    client.sign_up("", "ada", "").await.unwrap();
    for seconds in [1_700_000_000_000, 253_402_300_800, -62_135_596_801] {
        let request = dated("order-1", "ada", "USD", 1_000, Timestamp { seconds, nanos: 0 });
        at_fault(client.record(request).await, "purchase_time", "INVALID_TIME");
    }
    for (id, seconds) in [("1969", -1), ("year-1", -62_135_596_800)] {
        let time = Timestamp { seconds, nanos: 0 };
        let answer = client.record(dated(id, "ada", "USD", 1_000, time)).await.unwrap();
        assert_eq!(answer.purchase.unwrap().purchase_time, Some(time));
    }
    server.stop().await;
    database.check().await;
}
