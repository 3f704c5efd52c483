//! Pages of participants about what they have earned.

use super::security::user_id_of;
use super::*;

const LINES: &str = "multi-level-commission";
/// What the tokens are for that confirm an address.
const CONFIRM: &str = "confirm_email";

/// Ada, who has brought bob, who has bought so much.
async fn ada_with_purchases(
    amounts: &[i64],
) -> (testing::TestDatabase, testing::Server, Client, Browser) {
    let (database, server, client) = server_with(&[LINES]).await;
    let mut ada = Browser::new(&server.address);
    ada.register("ada", "").await;
    enroll(&mut ada, LINES, "").await;
    let code = code_of(&client, "ada", LINES).await;
    client.sign_up(LINES, "bob", &code).await.unwrap();
    for (number, amount) in amounts.iter().enumerate() {
        client.buy(&format!("order-{number}"), "bob", "INR", *amount).await.unwrap();
    }
    (database, server, client, ada)
}

#[tokio::test]
async fn a_statement_says_what_there_was_before_and_after_a_month_and_what_moved_it() {
    let (database, server, client, mut ada) = ada_with_purchases(&[200_000, 300_000]).await;
    let _ = client;
    let page = Browser::shown(&ada.get(&format!("/p/{LINES}/earnings")).await);
    assert!(page.contains(&format!("href=\"/p/{LINES}/statement\"")), "{page}");
    let path = format!("/p/{LINES}/statement");
    let page = Browser::shown(&ada.get(&path).await);
    // 5 % of 2,000 and of 3,000; nothing before.
    for shown in
        ["Opening", "Closing", "250.00", "+100.00", "+150.00", "UTC", "the month is not over"]
    {
        assert!(page.contains(shown), "{shown}: {page}");
    }
    let first = page.find("order-0").unwrap();
    assert!(first < page.find("order-1").unwrap(), "the oldest is first");
    let page = Browser::shown(&ada.get(&format!("{path}?month=2020-02")).await);
    assert!(page.contains("Statement of February 2020"), "{page}");
    assert!(page.contains("the end of 29 February 2020") && page.contains("No entries"), "{page}");
    assert!(page.contains("month=2020-01") && page.contains("month=2020-03"), "{page}");
    for month in ["2020", "x%22%3E", "2020-13"] {
        let answer = ada.get(&format!("{path}?month={month}")).await;
        assert_eq!(answer.status, 422, "{}", answer.text());
        assert!(answer.text().contains("id=\"month-fault\""), "{}", answer.text());
    }
    let answer = ada.get(&format!("{path}?month=9998-12")).await;
    assert_eq!(answer.status, 422, "{}", answer.text());
    assert!(answer.text().contains("This month has not begun"), "{}", answer.text());
    assert_eq!(ada.get("/p/referral-count/statement").await.status, 404);
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn a_profile_shows_the_address_and_mails_the_link_that_confirms_it() {
    let (database, server, client, mut ada) = ada_with_purchases(&[]).await;
    let page = Browser::shown(&ada.get("/profile").await);
    for shown in ["ada@example.com", "Not confirmed", "Mail me the link"] {
        assert!(page.contains(shown), "{shown}: {page}");
    }
    assert_eq!(
        testing::mailed_tokens(&database, &user_id_of(&client, "ada").await, CONFIRM).await,
        0
    );
    let sent = ada.fill("/profile", "/profile/confirmation", &[]).await;
    assert_eq!(sent.status, 303, "{}", sent.text());
    let user_id = user_id_of(&client, "ada").await;
    testing::mailed_tokens_come_to(&database, &user_id, CONFIRM, 1).await;
    // Nobody else is shown the address.
    assert_eq!(client.user(&user_id).await.unwrap().email, "");
    let token = testing::issue_token(&database, &user_id, CONFIRM, 900.0).await;
    let request = contract::pb::ConfirmEmailRequest { token };
    client.accounts().confirm_email(client.request(request)).await.unwrap();
    let page = Browser::shown(&ada.get("/profile").await);
    assert!(page.contains("ada@example.com") && page.contains(">Confirmed<"), "{page}");
    assert!(!page.contains("Mail me the link"), "{page}");
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn what_was_not_granted_is_said_with_its_reason_rule_and_cap() {
    // The cap of the first level is reached with the third purchase, so that the fourth brings nothing.
    let (database, server, client, mut ada) =
        ada_with_purchases(&[900_000, 900_000, 900_000, 400_000]).await;
    for path in [format!("/p/{LINES}"), format!("/p/{LINES}/earnings")] {
        let page = Browser::shown(&ada.get(&path).await);
        for shown in [
            "Commission, level 1, not granted",
            "You had reached the cap of this level.",
            "The cap is 1,000.00 INR.",
            "5% of a purchase",
            "cut from 450.00 INR by the cap",
            "200.00",
        ] {
            assert!(page.contains(shown), "{path}: {shown}: {page}");
        }
    }
    let page = Browser::shown(&ada.get(&format!("/p/{LINES}/earnings")).await);
    for shown in [
        "by the rule direct-commission of version 1",
        "Computed by the rule direct-commission of version 1.",
    ] {
        assert!(page.contains(shown), "{shown}: {page}");
    }
    let user_id = user_id_of(&client, "ada").await;
    let request = contract::pb::ListWithheldRewardsRequest {
        program_id: LINES.into(),
        user_id: user_id.clone(),
        page_size: 1,
        ..Default::default()
    };
    let found =
        client.rewards().list_withheld_rewards(client.request(request.clone())).await.unwrap();
    let found = found.into_inner();
    assert_eq!((found.withheld.len(), found.next_page_token.as_str()), (1, ""));
    assert_eq!(found.withheld[0].computed_amount.as_ref().unwrap().minor_units, 20_000);
    // The second page is of the older one.
    let bought = client.buy("order-4", "bob", "INR", 500_000).await.unwrap();
    let list = async |request| {
        client.rewards().list_withheld_rewards(client.request(request)).await.unwrap().into_inner()
    };
    let request = contract::pb::ListWithheldRewardsRequest {
        consistency_token: bought.consistency_token,
        ..request
    };
    let newest = list(request.clone()).await;
    let older = list(contract::pb::ListWithheldRewardsRequest {
        page_token: newest.next_page_token.clone(),
        ..request
    })
    .await;
    let purchases = [&newest, &older].map(|of| of.withheld[0].purchase_id.clone());
    assert_eq!(purchases, ["order-4", "order-3"]);
    assert_eq!(older.next_page_token, "");
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn a_reward_is_explained_by_the_version_that_granted_it() {
    let (database, server, client, mut ada) = ada_with_purchases(&[200_000]).await;
    let mut program = client.publish_shipped(LINES).await;
    program.rewards[0].rate_bps = Some(700);
    program.rewards[0].cap_minor = Some(15_000);
    client.publish(program).await.unwrap();
    // 70.00 of which 50.00 are left under the new cap; then nothing is.
    client.buy("order-1", "bob", "INR", 100_000).await.unwrap();
    client.buy("order-2", "bob", "INR", 100_000).await.unwrap();
    super::security::make_operator(&client, "ada").await;
    ada.sign_in("ada", PASSWORD).await;
    let user_id = user_id_of(&client, "ada").await;
    let own =
        ["", "/earnings", "/statement", "/earnings.csv"].map(|page| format!("/p/{LINES}{page}"));
    for path in own.into_iter().chain([format!("/o/users/{user_id}/balance/{LINES}")]) {
        let page = Browser::shown(&ada.get(&path).await);
        for shown in ["5% of a purchase", "7% of a purchase, cut from 70.00 INR by the cap"] {
            assert!(page.contains(shown), "{path}: {shown}: {page}");
        }
    }
    let page = Browser::shown(&ada.get(&format!("/p/{LINES}/earnings")).await);
    assert!(page.contains("The cap is 150.00 INR."), "{page}");
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn a_code_without_a_place_left_is_said_to_have_none() {
    let (database, server, client, mut ada) = ada_with_purchases(&[]).await;
    let mut program = client.publish_shipped(LINES).await;
    program.max_direct_referrals = Some(2);
    client.publish(program).await.unwrap();
    let full = "Your code has no place left: 2 people have come by it";
    let path = format!("/p/{LINES}");
    let page = Browser::shown(&ada.get(&path).await);
    assert!(!page.contains(full) && page.contains("id=\"places\""), "{page}");
    let code = code_of(&client, "ada", LINES).await;
    client.sign_up(LINES, "cid", &code).await.unwrap();
    let page = Browser::shown(&ada.get(&path).await);
    assert!(page.contains(full), "{page}");
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn an_invitation_says_what_both_sides_get_also_where_its_link_is_shared() {
    let arguments = ["--public-url", "https://rewards.example"].map(String::from).into();
    let database = testing::TestDatabase::new().await;
    let server =
        testing::Server::start_with(&database.url, &testing::ServerOptions { arguments }).await;
    let client = server.client();
    let mut visitor = Browser::new(&server.address);
    for (program, said) in [
        (LINES, "Ada gets 5% of what you buy, up to 1,000.00 INR in all."),
        ("tiered-points", "Ada gets points for you, by the tier that they have reached."),
    ] {
        client.publish_shipped(program).await;
        let user_id = format!("ada-{program}");
        let request = contract::pb::RegisterUserRequest {
            display_name: "Ada".into(),
            ..testing::sign_up_request(program, &user_id, "")
        };
        let code = client.register(request).await.unwrap().participants[0].code.clone();
        let page = Browser::shown(&visitor.get(&format!("/join/{code}")).await);
        assert!(page.contains("Ada invites you"), "{page}");
        // On the page and for those with whom it is shared.
        let description = format!("property=\"og:description\" content=\"{said}\"");
        assert!(page.contains(&format!("<strong>{said}")) && page.contains(&description), "{page}");
        assert!(page.contains("property=\"og:url\""), "{page}");
    }
    let page = Browser::shown(&visitor.get("/join/NOBODY123").await);
    assert!(page.contains("There is no such code."), "{page}");
    assert!(!page.contains("value=\"NOBODY123\""), "it would be refused: {page}");
    server.stop().await;
    database.check().await;
}
