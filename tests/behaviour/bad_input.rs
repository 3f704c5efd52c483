//! Bad input: each fault has its reason, all faults are named at once, and nothing changes.

use contract::pb::*;
use prost_types::Timestamp;
use tonic::{Code, Status};
use tonic_types::StatusExt;

use super::raw;
use super::support::{dated, enroll, log_length, refer_by_code, refused, server_with};
use super::wrong_programs::wrong_program;
use testing::sign_up_request;

pub(super) const LINES: &str = "multi-level-commission";

/// The faults that a status names, as fields and reasons, sorted.
pub(super) fn violations(status: &Status) -> Vec<(String, String)> {
    let details = status.get_error_details();
    let request = details.bad_request().cloned().expect("a status that names fields");
    let named = request.field_violations.into_iter();
    let mut named: Vec<_> = named
        .map(|violation| {
            assert!(!violation.description.is_empty(), "{} is not explained", violation.field);
            (violation.field, violation.reason)
        })
        .collect();
    named.sort();
    named
}

/// Checks that a call was refused for one fault of one field.
#[track_caller]
pub(super) fn at_fault<T: std::fmt::Debug>(result: Result<T, Status>, field: &str, reason: &str) {
    let status = refused(result, Code::InvalidArgument, "INVALID_FIELD");
    assert_eq!(violations(&status), [(field.to_owned(), reason.to_owned())]);
    assert!(bytes_on_the_wire(&status) <= 4_096);
}

/// How many bytes of headers a status takes.
pub(super) fn bytes_on_the_wire(status: &Status) -> usize {
    let mut headers = http::HeaderMap::new();
    status.add_header(&mut headers).expect("a status that fits into headers");
    ["grpc-status", "grpc-message", "grpc-status-details-bin"]
        .into_iter()
        .filter_map(|name| headers.get(name).map(|value| name.len() + value.len()))
        .sum()
}

pub(super) fn newcomer() -> RegisterUserRequest {
    sign_up_request("", "newcomer", "")
}

#[tokio::test]
async fn a_sign_up_with_a_bad_field_is_refused_with_the_reason_of_that_field() {
    let (database, server, client) = server_with(&[]).await;
    for user_id in ["a b", "a?b", "a@b", "ädä", "a\u{7}b", "a\nb", "\u{202e}a", " ", "a'b", "%00"]
    {
        let request = RegisterUserRequest { user_id: user_id.into(), ..newcomer() };
        at_fault(client.register(request).await, "user_id", "INVALID_ID");
    }
    let request = RegisterUserRequest { user_id: "a\0b".into(), ..newcomer() };
    at_fault(client.register(request).await, "user_id", "NUL_CHARACTER");
    for (username, reason) in [
        ("", "FIELD_REQUIRED"),
        (" ", "INVALID_USERNAME"),
        ("ana maria", "INVALID_USERNAME"),
        ("<script>", "INVALID_USERNAME"),
        ("a\r\nb", "INVALID_USERNAME"),
        ("\u{1f600}", "INVALID_USERNAME"),
        ("a\0", "NUL_CHARACTER"),
    ] {
        let request = RegisterUserRequest { username: username.into(), ..newcomer() };
        at_fault(client.register(request).await, "username", reason);
    }
    for (display_name, reason) in [
        ("ä".repeat(129), "FIELD_TOO_LONG"),
        ("two\nlines".into(), "INVALID_DISPLAY_NAME"),
        ("bell \u{7}".into(), "INVALID_DISPLAY_NAME"),
        ("ada\u{202e}nimda".into(), "INVALID_DISPLAY_NAME"),
        ("\u{85}".into(), "INVALID_DISPLAY_NAME"),
    ] {
        let request = RegisterUserRequest { display_name, ..newcomer() };
        at_fault(client.register(request).await, "display_name", reason);
    }
    for email in [
        "ana",
        "ana@",
        "@example.com",
        "ana.example.com",
        "ana@example",
        "ana@@example.com",
        "ana@example..com",
        "ana@.example.com",
        "a b@example.com",
        "ana@exa mple.com",
        "Ana <ana@example.com>",
        "ana@example.com, bob@example.com",
        "ana@example.com\nx",
        "ana@[127.0.0.1]",
        ".ana@example.com",
    ] {
        let request = RegisterUserRequest { email: email.into(), ..newcomer() };
        at_fault(client.register(request).await, "email", "INVALID_EMAIL");
    }
    for (email, reason) in [
        (String::new(), "FIELD_REQUIRED"),
        (format!("{}@example.com", "a".repeat(250)), "FIELD_TOO_LONG"),
        ("ana\0@example.com".into(), "NUL_CHARACTER"),
    ] {
        let request = RegisterUserRequest { email, ..newcomer() };
        at_fault(client.register(request).await, "email", reason);
    }
    for (password, reason) in
        [("secret".into(), "WEAK_PASSWORD"), ("a".repeat(257), "FIELD_TOO_LONG")]
    {
        let request = RegisterUserRequest { password, ..newcomer() };
        at_fault(client.register(request).await, "password", reason);
    }
    let request = RegisterUserRequest { referral_code: "a".repeat(2_049), ..newcomer() };
    at_fault(client.register(request).await, "referral_code", "INVALID_REFERRAL_CODE");
    for client_ip in ["203.0.113.7:443", "300.1.1.1", "::g", "10.0.0.0/8", "localhost", "1.2.3"] {
        let request = RegisterUserRequest { client_ip: client_ip.into(), ..newcomer() };
        at_fault(client.register(request).await, "client_ip", "INVALID_IP_ADDRESS");
    }
    for request_id in ["a\nb", "ä", "\0", "\u{7f}"] {
        let request = RegisterUserRequest { request_id: request_id.into(), ..newcomer() };
        at_fault(client.register(request).await, "request_id", "INVALID_ID");
    }
    let request = RegisterUserRequest { issue_api_key: true, ..newcomer() };
    at_fault(client.register(request).await, "issue_api_key", "UNSUPPORTED_FIELD");
    let request = RegisterUserRequest { program_id: "a b".into(), ..newcomer() };
    at_fault(client.register(request).await, "program_id", "INVALID_ID");
    let request = RegisterUserRequest { program_id: "nowhere".into(), ..newcomer() };
    refused(client.register(request).await, Code::NotFound, "PROGRAM_NOT_FOUND");
    // A caller without a key needs a password.
    let anybody = server.separate_client(None).await;
    let request = RegisterUserRequest { user_id: String::new(), ..newcomer() };
    at_fault(anybody.register(request).await, "password", "FIELD_REQUIRED");

    assert_eq!(log_length(&database).await, 0);
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn unusual_but_good_fields_are_taken() {
    let (database, server, client) = server_with(&[]).await;
    for (index, (user_id, email, display_name, ip)) in [
        ("a".repeat(128), "a+b@sub.example.co.uk", "Zoë O'Neil", "2001:db8::7"),
        ("._-:|=+/~x".into(), "x@xn--bcher-kva.example", "李 \u{1f600}", "203.0.113.7"),
        ("0".into(), "o'neil@example.com", "'; drop table events; --", "::ffff:1.2.3.4"),
    ]
    .into_iter()
    .enumerate()
    {
        let answer = client
            .register(RegisterUserRequest {
                user_id: user_id.clone(),
                username: format!("user-{index}"),
                email: email.into(),
                display_name: display_name.into(),
                client_ip: ip.into(),
                request_id: "~ !".repeat(index),
                ..Default::default()
            })
            .await
            .unwrap();
        let user = answer.user.unwrap();
        assert_eq!((&user.user_id, &*user.display_name), (&user_id, display_name));
        assert_eq!(client.user(&user_id).await.unwrap().user, Some(user));
    }
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn all_faults_of_a_sign_up_are_named_at_once() {
    let (database, server, client) = server_with(&[]).await;
    let request = RegisterUserRequest {
        user_id: "a b".into(),
        username: String::new(),
        display_name: "\n".into(),
        email: "nobody".into(),
        password: "short".into(),
        referral_code: "ä".repeat(2_000),
        program_id: "/".into(),
        client_ip: "here".into(),
        issue_api_key: true,
        request_id: "\n".into(),
    };

    let status = refused(client.register(request).await, Code::InvalidArgument, "INVALID_FIELD");

    let named: Vec<String> = violations(&status).into_iter().map(|(field, _)| field).collect();
    assert_eq!(
        named,
        [
            "client_ip",
            "display_name",
            "email",
            "issue_api_key",
            "password",
            "program_id",
            "referral_code",
            "request_id",
            "user_id",
            "username",
        ]
    );
    assert!(bytes_on_the_wire(&status) <= 4_096);
    assert_eq!(log_length(&database).await, 0);
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn a_name_and_an_address_that_are_taken_are_both_named() {
    let (database, server, client) = server_with(&[]).await;
    client.sign_up("", "ada", "").await.unwrap();
    let before = log_length(&database).await;
    let request = RegisterUserRequest { user_id: "other".into(), ..sign_up_request("", "ada", "") };

    let status = client.register(request).await.unwrap_err();

    assert_eq!(status.code(), Code::AlreadyExists);
    let named: Vec<String> = violations(&status).into_iter().map(|(field, _)| field).collect();
    assert_eq!(named, ["email", "username"]);
    let info = status.get_error_details().error_info().cloned().unwrap();
    assert_eq!(info.domain, "tributary.v1");
    let shown = format!("{} {:?}", status.message(), info);
    assert!(!shown.contains("ada@example.com"), "an address is shown: {shown}");
    assert_eq!(log_length(&database).await, before);
    server.stop().await;
    database.check().await;
}

fn purchase(currency_code: &str, minor_units: i64) -> RecordPurchaseRequest {
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
    };
    let status = refused(client.record(request).await, Code::InvalidArgument, "INVALID_FIELD");
    let named: Vec<String> = violations(&status).into_iter().map(|(field, _)| field).collect();
    assert_eq!(
        named,
        [
            "amount.currency_code",
            "amount.minor_units",
            "buyer_user_id",
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

#[tokio::test]
async fn an_id_that_is_too_long_is_no_id_and_nul_is_named_as_such() {
    let (database, server, client) = server_with(&[]).await;
    let long = "a".repeat(129);
    let request = RegisterUserRequest { user_id: long.clone(), ..newcomer() };
    at_fault(client.register(request).await, "user_id", "INVALID_ID");
    let request = RegisterUserRequest { username: long.clone(), ..newcomer() };
    at_fault(client.register(request).await, "username", "INVALID_USERNAME");
    let request = RegisterUserRequest { request_id: long.clone(), ..newcomer() };
    at_fault(client.register(request).await, "request_id", "INVALID_ID");
    let request = RecordPurchaseRequest { purchase_id: long.clone(), ..purchase("USD", 1) };
    at_fault(client.record(request).await, "purchase_id", "INVALID_ID");
    at_fault(client.user(&long).await, "user_id", "INVALID_ID");
    let request = RegisterUserRequest { display_name: "ana\0".into(), ..newcomer() };
    at_fault(client.register(request).await, "display_name", "NUL_CHARACTER");
    assert_eq!(log_length(&database).await, 0);
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn unknown_users_programs_and_purchases_are_not_found() {
    let (database, server, client) = server_with(&[LINES]).await;
    client.sign_up(LINES, "ada", "").await.unwrap();
    client.sign_up("", "outsider", "").await.unwrap();
    let before = log_length(&database).await;

    refused(client.user("nobody").await, Code::NotFound, "USER_NOT_FOUND");
    refused(client.deactivate("nobody").await, Code::NotFound, "USER_NOT_FOUND");
    refused(client.reactivate("nobody").await, Code::NotFound, "USER_NOT_FOUND");
    refused(enroll(&client, LINES, "nobody", "").await, Code::NotFound, "USER_NOT_FOUND");
    refused(enroll(&client, "none", "ada", "").await, Code::NotFound, "PROGRAM_NOT_FOUND");
    refused(client.purchase("none").await, Code::NotFound, "PURCHASE_NOT_FOUND");
    let code = refer_by_code(&client, "", "ada", "ZZZZZZZZ").await;
    refused(code, Code::NotFound, "REFERRAL_CODE_NOT_FOUND");
    let apart = client.refer(LINES, "outsider", "ada").await;
    refused(apart, Code::NotFound, "PARTICIPANT_NOT_FOUND");
    let apart = client.refer(LINES, "ada", "outsider").await;
    refused(apart, Code::NotFound, "PARTICIPANT_NOT_FOUND");
    refused(client.refer("none", "ada", "outsider").await, Code::NotFound, "PROGRAM_NOT_FOUND");
    let apart = client.watch(LINES, "outsider", "").await;
    refused(apart, Code::NotFound, "PARTICIPANT_NOT_FOUND");
    let get = GetProgramRequest { program_id: "none".into(), ..Default::default() };
    let none = client.programs().get_program(client.request(get)).await;
    refused(none, Code::NotFound, "PROGRAM_NOT_FOUND");
    let get = GetProgramRequest { program_id: LINES.into(), version: 7, ..Default::default() };
    let none = client.programs().get_program(client.request(get)).await;
    refused(none, Code::NotFound, "PROGRAM_VERSION_NOT_FOUND");

    assert_eq!(log_length(&database).await, before);
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn an_unknown_user_is_told_apart_from_one_who_is_not_enrolled() {
    let (database, server, client) = server_with(&[LINES]).await;
    client.sign_up(LINES, "ada", "").await.unwrap();

    let stream = client.watch(LINES, "nobody", "").await.map(|_| ());
    refused(stream, Code::NotFound, "USER_NOT_FOUND");
    let stream = client.watch("none", "ada", "").await.map(|_| ());
    refused(stream, Code::NotFound, "PROGRAM_NOT_FOUND");
    refused(client.refer(LINES, "nobody", "ada").await, Code::NotFound, "USER_NOT_FOUND");
    refused(client.refer(LINES, "ada", "nobody").await, Code::NotFound, "USER_NOT_FOUND");
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn a_code_is_not_looked_up_in_a_program_that_does_not_exist() {
    let (database, server, client) = server_with(&[LINES, "referral-count"]).await;
    let ada = client.sign_up(LINES, "ada", "").await.unwrap();
    let validate = |program_id: &str| ValidateReferralCodeRequest {
        referral_code: ada.code.clone(),
        program_id: program_id.into(),
        ..Default::default()
    };

    let request = client.request(validate("referral-count"));
    let elsewhere = client.referrals().validate_referral_code(request).await.unwrap().into_inner();
    assert_eq!(elsewhere.reason(), CodeInvalidReason::Unknown);
    let none = client.referrals().validate_referral_code(client.request(validate("none"))).await;
    refused(none, Code::NotFound, "PROGRAM_NOT_FOUND");
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn a_referral_names_exactly_one_referrer() {
    let (database, server, client) = server_with(&[LINES]).await;
    let ada = client.sign_up(LINES, "ada", "").await.unwrap();
    client.sign_up(LINES, "bob", "").await.unwrap();
    let before = log_length(&database).await;
    let refer = |referrer: &str, code: &str| ApplyReferralRequest {
        program_id: LINES.into(),
        referee_user_id: "bob".into(),
        referrer_user_id: referrer.into(),
        referral_code: code.into(),
        ..Default::default()
    };

    let both = client.referrals().apply_referral(client.request(refer("ada", &ada.code))).await;
    let both = refused(both, Code::InvalidArgument, "INVALID_FIELD");
    assert_eq!(violations(&both)[0].1, "FIELDS_EXCLUSIVE");
    let none = client.referrals().apply_referral(client.request(refer("", ""))).await;
    let none = refused(none, Code::InvalidArgument, "INVALID_FIELD");
    assert_eq!(violations(&none)[0].1, "FIELD_REQUIRED");

    assert_eq!(log_length(&database).await, before);
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn nobody_refers_themselves() {
    let (database, server, client) = server_with(&[LINES]).await;
    let ada = client.sign_up(LINES, "ada", "").await.unwrap();
    client.sign_up(LINES, "bob", &ada.code).await.unwrap();
    let before = log_length(&database).await;

    let own = client.refer(LINES, "ada", "ada").await;
    refused(own, Code::FailedPrecondition, "SELF_REFERRAL");
    let own = refer_by_code(&client, "", "ada", &ada.code.to_lowercase()).await;
    refused(own, Code::FailedPrecondition, "SELF_REFERRAL");

    assert_eq!(log_length(&database).await, before);
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn a_cycle_of_any_length_is_refused() {
    let (database, server, client) = server_with(&[LINES]).await;
    for length in [2, 3, 30] {
        let name = |index: usize| format!("of-{length}-{index}");
        let root = client.sign_up(LINES, &name(1), "").await.unwrap();
        let mut last = root;
        for index in 2..=length {
            last = client.sign_up(LINES, &name(index), &last.code).await.unwrap();
        }
        let before = log_length(&database).await;

        let closed = client.refer(LINES, &name(1), &name(length)).await;
        refused(closed, Code::FailedPrecondition, "REFERRAL_CYCLE");
        let closed = refer_by_code(&client, LINES, &name(1), &last.code).await;
        refused(closed, Code::FailedPrecondition, "REFERRAL_CYCLE");
        assert_eq!(log_length(&database).await, before);

        // A new user can still become the referrer at the top.
        let outsider = format!("above-{length}");
        client.sign_up(LINES, &outsider, "").await.unwrap();
        client.refer(LINES, &name(1), &outsider).await.unwrap();
        let closed = client.refer(LINES, &outsider, &name(length)).await;
        refused(closed, Code::FailedPrecondition, "REFERRAL_CYCLE");
    }
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn an_inactive_user_is_neither_enrolled_nor_referred() {
    let (database, server, client) = server_with(&[LINES, "referral-count"]).await;
    client.sign_up(LINES, "ada", "").await.unwrap();
    client.sign_up(LINES, "bob", "").await.unwrap();
    client.deactivate("bob").await.unwrap();
    let before = log_length(&database).await;

    let enrolled = enroll(&client, "referral-count", "bob", "").await;
    refused(enrolled, Code::FailedPrecondition, "USER_INACTIVE");
    let referred = client.refer(LINES, "bob", "ada").await;
    refused(referred, Code::FailedPrecondition, "USER_INACTIVE");

    assert_eq!(log_length(&database).await, before);
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn pages_and_tokens_that_nobody_gave_out_are_refused() {
    let (database, server, client) = server_with(&[]).await;
    let list = |page_size: i32, page_token: &str, consistency_token: &str| ListProgramsRequest {
        page_size,
        page_token: page_token.into(),
        consistency_token: consistency_token.into(),
    };
    for size in [-1, 1_001, i32::MIN] {
        let answer = client.programs().list_programs(client.request(list(size, "", ""))).await;
        at_fault(answer, "page_size", "INVALID_PAGE_SIZE");
    }
    let answer = client.programs().list_programs(client.request(list(0, "?", ""))).await;
    at_fault(answer, "page_token", "INVALID_PAGE_TOKEN");
    for token in ["42", "ä", "\0", "Y2Nj", &"A".repeat(10_000)] {
        let answer = client.programs().list_programs(client.request(list(0, "", token))).await;
        at_fault(answer, "consistency_token", "INVALID_CONSISTENCY_TOKEN");
    }
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn a_status_stays_below_4_kib_whatever_was_sent() {
    let (database, server, client) = server_with(&[LINES]).await;
    let ada = client.sign_up(LINES, "ada", "").await.unwrap();
    let huge = "ä\u{7}".repeat(60_000);

    let sign_up = client
        .register(RegisterUserRequest {
            user_id: huge.clone(),
            username: huge.clone(),
            display_name: huge.clone(),
            email: huge.clone(),
            password: huge.clone(),
            referral_code: huge.clone(),
            program_id: huge.clone(),
            client_ip: huge.clone(),
            issue_api_key: true,
            request_id: huge.clone(),
        })
        .await
        .unwrap_err();
    let rule = RewardRule { level: -1, rule: "ä".repeat(100), ..Default::default() };
    let program = Program { rewards: vec![rule; 5_000], ..wrong_program() };
    let program = client.publish(program).await.unwrap_err();
    let tier = Tier { from_referrals: -1, rate_points: -1, ..Default::default() };
    let rule = RewardRule { tiers: vec![tier; 20_000], level: 1, ..Default::default() };
    let tiers = Program { rewards: vec![rule], ..wrong_program() };
    let tiers = client.publish(tiers).await.unwrap_err();
    let path = format!("/tributary.v1.{}/GetUser", "x".repeat(8_000));
    let method = raw::call(client.channel(), &path, client.request(Vec::new())).await.unwrap_err();
    let code = refer_by_code(&client, "", "ada", &"ä".repeat(1_024)).await.unwrap_err();
    let watch = client.watch(LINES, "ada", &huge).await.map(|_| ()).unwrap_err();
    let validate = client.validate(&huge, &huge).await.unwrap_err();
    let page = ListProgramsRequest { page_token: huge.clone(), ..Default::default() };
    let page = client.programs().list_programs(client.request(page)).await.unwrap_err();
    let long = "u".repeat(128);
    let user = client.refer(LINES, &long, &ada.user_id).await.unwrap_err();

    let mut too_long = Vec::new();
    for (name, status, code) in [
        ("sign-up", sign_up, Code::InvalidArgument),
        ("program", program, Code::InvalidArgument),
        ("tiers", tiers, Code::InvalidArgument),
        ("method", method, Code::Unimplemented),
        ("code", code, Code::NotFound),
        ("watch", watch, Code::InvalidArgument),
        ("validate", validate, Code::InvalidArgument),
        ("page", page, Code::InvalidArgument),
        ("user", user, Code::NotFound),
    ] {
        assert_eq!(status.code(), code, "{name}: {status:?}");
        let bytes = bytes_on_the_wire(&status);
        if bytes > 4_096 {
            too_long.push(format!("{name}: {bytes} bytes"));
        }
    }
    assert!(too_long.is_empty(), "{too_long:?}");
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn a_consistency_token_of_a_longer_log_is_ahead_of_a_shorter_one() {
    let (longer, server, client) = server_with(&["referral-count"]).await;
    let mut last = client.sign_up("referral-count", "ada", "").await.unwrap();
    for index in 0..3 {
        last = client.sign_up("", &format!("user-{index}"), &last.code).await.unwrap();
    }
    let good = last.response.consistency_token;
    let read =
        |user_id: &str| GetUserRequest { user_id: user_id.into(), consistency_token: good.clone() };
    client.accounts().get_user(client.request(read("ada"))).await.unwrap();
    server.stop().await;
    let (shorter, server, client) = server_with(&["referral-count"]).await;
    client.sign_up("referral-count", "ada", "").await.unwrap();

    let ahead = client.accounts().get_user(client.request(read("ada"))).await;

    refused(ahead, Code::FailedPrecondition, "TOKEN_AHEAD_OF_LOG");
    server.stop().await;
    shorter.check().await;
    longer.check().await;
}
