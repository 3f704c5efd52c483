//! Bad input, above all of sign-ups: each fault has its reason, all faults are named at once, and nothing changes.

use contract::pb::*;
use tonic::{Code, Status};
use tonic_types::StatusExt;

use super::bad_purchases::purchase;
use super::raw;
use super::support::{log_length, refer_by_code, refused, server_with};
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
        ("\u{e000}\u{f8ff}".into(), "INVALID_DISPLAY_NAME"),
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
    for (password, reason) in [
        ("S3cret-".into(), "WEAK_PASSWORD"),
        ("Aa1-".repeat(65), "FIELD_TOO_LONG"),
        ("corr3ct-horse".into(), "PASSWORD_WITHOUT_UPPER"),
        ("CORR3CT-HORSE".into(), "PASSWORD_WITHOUT_LOWER"),
        ("Correct-horse".into(), "PASSWORD_WITHOUT_DIGIT"),
        ("Corr3ctHorse".into(), "PASSWORD_WITHOUT_SPECIAL"),
    ] {
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
        password: "Sh0rt-".into(),
        referral_code: "ä".repeat(2_000),
        program_id: "/".into(),
        client_ip: "here".into(),
        issue_api_key: true,
        request_id: "\n".into(),
        fingerprint: "f\0".into(),
    };

    let status = refused(client.register(request).await, Code::InvalidArgument, "INVALID_FIELD");

    let named: Vec<String> = violations(&status).into_iter().map(|(field, _)| field).collect();
    assert_eq!(
        named,
        [
            "client_ip",
            "display_name",
            "email",
            "fingerprint",
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
            fingerprint: huge.clone(),
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
