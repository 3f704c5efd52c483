//! What people type: codes and links, names, addresses; and who may choose an id.

use contract::pb::*;
use tonic::{Code, Status};
use tonic_types::StatusExt;

use super::bad_input::{at_fault, newcomer};
use super::support::{enroll, log_length, refer_by_code, refused, server_with};
use testing::{Client, sign_up_request};

const BONUS: &str = "first-purchase-bonus";
const LINES: &str = "multi-level-commission";
const COUNT: &str = "referral-count";

#[tokio::test]
async fn an_id_of_ones_own_is_for_back_ends() {
    let (database, server, client) = server_with(&[]).await;
    let anybody = server.separate_client(None).await;
    let with_password = RegisterUserRequest {
        password: "Corr3ct horse".into(),
        ..sign_up_request("", "shop-7", "")
    };
    let before = log_length(&database).await;

    let answer = anybody.register(with_password.clone()).await;

    let status = refused(answer, Code::Unauthenticated, "MISSING_CREDENTIALS");
    let info = status.get_error_details().error_info().cloned().unwrap();
    assert_eq!(info.metadata.get("field").map(String::as_str), Some("user_id"));
    for part in ["user_id", "leave it out", "key"] {
        assert!(status.message().contains(part), "{status}");
    }
    assert_eq!(log_length(&database).await, before);
    let own =
        anybody.register(RegisterUserRequest { user_id: String::new(), ..with_password }).await;
    let made = own.unwrap().user.unwrap().user_id;
    assert!(!made.is_empty() && made != "shop-7");
    let request = RegisterUserRequest { user_id: "shop-7".into(), ..newcomer() };
    client.register(request).await.unwrap();
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn a_link_is_understood_as_its_code_by_every_call() {
    let (database, server, client) = server_with(&[LINES]).await;
    let ada = client.sign_up(LINES, "ada", "").await.unwrap();
    let code = ada.code.to_lowercase();
    let link = format!("https://shop.example/join?utm_source=mail&ref={code}&x=%20#top");
    let bare = format!(" SHOP.EXAMPLE/?REF={code}\n");

    for text in [&link, &bare, &ada.response.participants[0].link] {
        assert!(client.validate(text, "").await.unwrap().valid, "{text}");
    }
    let signed_up = client.sign_up(LINES, "bob", &link).await.unwrap();
    assert_eq!(signed_up.referrer_user_id, "ada");
    client.sign_up("", "cid", "").await.unwrap();
    let enrolled = enroll(&client, LINES, "cid", &bare).await.unwrap();
    assert_eq!(enrolled.participant.unwrap().referrer_user_id, "ada");
    client.sign_up(LINES, "dan", "").await.unwrap();
    let referral = refer_by_code(&client, "", "dan", &link).await.unwrap().referral.unwrap();
    assert_eq!(referral.referrer_user_id, "ada");
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn the_program_decides_what_a_malformed_code_does() {
    let (database, server, client) = server_with(&[BONUS, COUNT]).await;
    let texts = ["a b", "KÖDE", "a\u{1b}b", "a\0b", "https://shop.example/join", &"x".repeat(65)];
    for (number, text) in texts.into_iter().enumerate() {
        let answer = client.sign_up(COUNT, &format!("no-{number}"), text).await;
        refused(answer, Code::NotFound, "REFERRAL_CODE_NOT_FOUND");
        let made = client.sign_up(BONUS, &format!("user-{number}"), text).await.unwrap();
        assert_eq!(made.referrer_user_id, "");
        assert_eq!(made.response.code_passed_over(), CodeInvalidReason::Unknown);
        assert_eq!(client.validate(text, "").await.unwrap().reason(), CodeInvalidReason::Unknown);
    }
    let long = "x".repeat(2_049);
    let answer = client.sign_up(BONUS, "newcomer", &long).await;
    at_fault(answer, "referral_code", "INVALID_REFERRAL_CODE");
    at_fault(client.validate(&long, "").await, "referral_code", "INVALID_REFERRAL_CODE");
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn a_sign_up_says_why_its_code_was_passed_over_also_when_it_is_repeated() {
    let (database, server, client) = server_with(&[BONUS]).await;
    let mut program = client.publish_shipped(BONUS).await;
    program.max_uses_per_code = Some(1);
    client.publish(program).await.unwrap();
    let ada = client.sign_up(BONUS, "ada", "").await.unwrap();
    assert_eq!(ada.response.code_passed_over(), CodeInvalidReason::Unspecified);
    let bob = client.sign_up(BONUS, "bob", &ada.code).await.unwrap();
    assert_eq!(bob.response.code_passed_over(), CodeInvalidReason::Unspecified);

    for (user, code, reason) in [
        ("cid", "NOSUCHCD", CodeInvalidReason::Unknown),
        ("dan", &*ada.code, CodeInvalidReason::Exhausted),
    ] {
        let request = RegisterUserRequest {
            request_id: format!("sign-up-{user}"),
            ..sign_up_request(BONUS, user, code)
        };
        let answer = client.register(request.clone()).await.unwrap();
        assert_eq!(answer.code_passed_over(), reason);
        assert_eq!(answer.participants[0].referrer_user_id, "");
        assert_eq!(client.register(request).await.unwrap(), answer);
    }
    client.sign_up("", "eve", "").await.unwrap();
    let enrolled = enroll(&client, BONUS, "eve", &ada.code).await.unwrap();
    assert_eq!(enrolled.code_passed_over(), CodeInvalidReason::Exhausted);
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn a_sign_up_lists_the_rewards_that_it_caused_also_when_it_is_repeated() {
    let (database, server, client) = server_with(&["tiered-points"]).await;
    let ada = client.sign_up("tiered-points", "ada", "").await.unwrap();
    assert_eq!(ada.response.rewards, []);
    let request = RegisterUserRequest {
        request_id: "once".into(),
        ..sign_up_request("tiered-points", "bob", &ada.code)
    };

    let answer = client.register(request.clone()).await.unwrap();

    let [reward] = &*answer.rewards else { panic!("{answer:?}") };
    assert_eq!((&*reward.earner_user_id, &*reward.source_user_id), ("ada", "bob"));
    assert_eq!(reward.amount.as_ref().unwrap().minor_units, 10);
    assert_eq!(client.register(request).await.unwrap(), answer);
    server.stop().await;
    database.check().await;
}

/// What a code is for a user, which must be the reason why its use is refused.
async fn verdict(client: &Client, code: &str, user: &str, tried: Result<(), Status>) -> String {
    let verdict = client.validate(code, user).await.unwrap();
    let (_, reason) = testing::reason(&tried.expect_err("a use that is refused"));
    assert!(!verdict.valid, "{verdict:?}");
    assert_eq!(verdict.reason().as_str_name(), format!("CODE_INVALID_REASON_{reason}"));
    reason
}

#[tokio::test]
async fn a_code_that_would_be_refused_for_a_cycle_or_an_inactive_user_is_not_valid() {
    let (database, server, client) = server_with(&[LINES]).await;
    let ada = client.sign_up(LINES, "ada", "").await.unwrap();
    let bob = client.sign_up(LINES, "bob", &ada.code).await.unwrap();
    let cid = client.sign_up(LINES, "cid", &bob.code).await.unwrap();
    client.sign_up(LINES, "dan", "").await.unwrap();
    client.sign_up("", "eve", "").await.unwrap();
    assert!(client.validate(&cid.code, "dan").await.unwrap().valid);

    let cycle = client.validate(&cid.code, "ada").await.unwrap();
    assert_eq!(cycle.reason(), CodeInvalidReason::Cycle);
    let used = refer_by_code(&client, LINES, "ada", &cid.code).await;
    refused(used, Code::FailedPrecondition, "REFERRAL_CYCLE");
    for user in ["dan", "eve"] {
        client.deactivate(user).await.unwrap();
    }
    let used = refer_by_code(&client, LINES, "dan", &cid.code).await.map(|_| ());
    assert_eq!(verdict(&client, &cid.code, "dan", used).await, "USER_INACTIVE");
    let used = enroll(&client, LINES, "eve", &cid.code).await.map(|_| ());
    assert_eq!(verdict(&client, &cid.code, "eve", used).await, "USER_INACTIVE");
    assert!(client.validate(&cid.code, "").await.unwrap().valid, "for a new user");
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn a_display_name_is_what_it_looks_like() {
    let (database, server, client) = server_with(&[]).await;
    for name in [
        "ada\u{202e}nimda",
        "a\u{200b}da",
        "ada\u{200d}",
        "a\u{ad}da",
        "\u{feff}ada",
        "ada\u{2066}",
        "\u{3164}",
        "\u{200b}",
        "a\u{2028}da",
        "\u{301}",
    ] {
        let request = RegisterUserRequest { display_name: name.into(), ..newcomer() };
        at_fault(client.register(request).await, "display_name", "INVALID_DISPLAY_NAME");
    }
    for (number, name) in
        ["علی\u{200c}رضا", "👩\u{200d}🚀 Ada", "José", "李"].into_iter().enumerate()
    {
        let user = format!("user-{number}");
        let request =
            RegisterUserRequest { display_name: name.into(), ..sign_up_request("", &user, "") };
        assert_eq!(client.register(request).await.unwrap().user.unwrap().display_name, name);
    }
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn one_address_is_one_account_however_it_is_written() {
    let (database, server, client) = server_with(&[]).await;
    let with = |user: &str, email: &str| RegisterUserRequest {
        email: email.into(),
        ..sign_up_request("", user, "")
    };
    client.register(with("ada", "José@bu\u{308}cher.example ")).await.unwrap();
    let stored: String =
        sqlx::query_scalar("select email from profiles").fetch_one(&database.pool).await.unwrap();
    assert_eq!(stored, "José@bücher.example");
    for email in [
        "José@bücher.example",
        "\tJOSÉ@BÜCHER.example\n",
        "Jose\u{301}@xn--bcher-kva.example",
        "josé@XN--BCHER-KVA.EXAMPLE",
    ] {
        let answer = client.register(with("bob", email)).await;
        refused(answer, Code::AlreadyExists, "EMAIL_TAKEN");
    }
    for email in ["jos\u{200b}é@bücher.example", "josé@xn--a.example", "josé@bücher.example x"]
    {
        at_fault(client.register(with("bob", email)).await, "email", "INVALID_EMAIL");
    }
    client.register(with("bob", "jose@bücher.example")).await.unwrap();
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn a_purchase_in_a_withdrawn_currency_is_recorded() {
    let (database, server, client) = server_with(&[BONUS]).await;
    client.sign_up(BONUS, "ada", "").await.unwrap();
    for currency in ["HRK", "DEM", "BGN"] {
        let answer = client.buy(currency, "ada", currency, 1_000).await.unwrap();
        assert_eq!(answer.outcomes[0].reason(), WithheldReason::CurrencyNotAccepted);
        let amount = client.purchase(currency).await.unwrap().purchase.unwrap().amount.unwrap();
        assert_eq!(amount.currency_code, currency);
    }
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn links_are_urls_whatever_the_base_url_has() {
    let (database, server, client) = server_with(&[]).await;
    let mut program = client.publish_shipped(COUNT).await;
    for (number, (base_url, start)) in [
        ("https://shop.example/?utm_source=x", "https://shop.example/?utm_source=x&ref="),
        ("https://shop.example/\"><b>", "https://shop.example/%22%3E%3Cb%3E?ref="),
        ("https://shop.example", "https://shop.example/?ref="),
    ]
    .into_iter()
    .enumerate()
    {
        program.base_url = base_url.into();
        assert_eq!(client.publish(program.clone()).await.unwrap().base_url, base_url);
        let made = client.sign_up(COUNT, &format!("user-{number}"), "").await.unwrap();
        let link = format!("{start}{}", made.code);
        assert_eq!(made.response.participants[0].link, link);
        assert_eq!(client.user(&made.user_id).await.unwrap().participants[0].link, link);
        assert!(client.validate(&link, "").await.unwrap().valid);
    }
    for base_url in [
        "https://ada:secret@shop.example/",
        "https://shop.example/#top",
        "https://shop.example/?ref=ada",
        "javascript://shop.example/%0aalert(1)",
    ] {
        let wrong = Program { base_url: base_url.into(), ..program.clone() };
        at_fault(client.publish(wrong).await, "program.base_url", "INVALID_PROGRAM");
    }
    server.stop().await;
    database.check().await;
}
