//! What pages show, and what forms on them do.

use super::security::{make_operator, user_id_of};
use super::*;
use contract::pb::DisputeState;

#[tokio::test]
async fn every_fault_of_a_sign_up_is_at_its_field_and_what_was_typed_stays() {
    let (database, server, client) = server_with(&["referral-count"]).await;
    client.sign_up("referral-count", "taken", "").await.unwrap();
    let mut ada = Browser::new(&server.address);
    let page = Browser::shown(&ada.get("/register").await);
    assert!(page.contains("at least 8 characters") && page.contains("a digit"), "{page}");
    let fields = [
        ("username", "a b"),
        ("display_name", "Ada"),
        ("email", "no address"),
        ("password", "short"),
        ("referral_code", ""),
    ];
    let answer = ada.fill("/register", "/register", &fields).await;
    assert_eq!(answer.status, 422, "{}", answer.text());
    let html = answer.text();
    for field in ["username", "email", "password"] {
        assert!(html.contains(&format!("id=\"{field}-fault\"")), "{field}: {html}");
    }
    assert!(html.contains("value=\"a b\"") && html.contains("value=\"Ada\""), "{html}");
    // A password is not sent back.
    assert!(!html.contains("short"), "{html}");
    let answer = ada.register("ada", "NOTHERE1").await;
    assert_eq!(answer.status, 404);
    assert!(answer.text().contains("id=\"referral_code-fault\""), "{}", answer.text());
    let answer = ada.register("taken", "").await;
    assert_eq!(answer.status, 409);
    assert!(answer.text().contains("id=\"username-fault\""), "{}", answer.text());
    assert!(ada.cookie.is_none());
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn who_comes_by_a_link_is_referred_and_both_see_it() {
    let (database, server, client) = server_with(&["referral-count"]).await;
    let mut ada = Browser::new(&server.address);
    ada.register("ada", "").await;
    let joined = enroll(&mut ada, "referral-count", "").await;
    assert_eq!(joined.status, 303, "{}", joined.text());
    let home = joined.exact_header("location").unwrap().to_owned();
    let page = Browser::shown(&ada.get(&home).await);
    let code = code_of(&client, "ada", "referral-count").await;
    assert!(page.contains(&code) && page.contains("You take part now."), "{page}");
    assert!(page.contains("data-live=\"/live/participant/referral-count\""), "{page}");

    let mut bob = Browser::new(&server.address);
    let page = Browser::shown(&bob.get(&format!("/join/{code}")).await);
    assert!(page.contains(&format!("value=\"{code}\"")) && page.contains("invite"), "{page}");
    assert!(page.contains("property=\"og:title\"") || !page.contains("og:url"), "{page}");
    let answer = bob.register("bob", &code).await;
    assert_eq!(answer.status, 303, "{}", answer.text());
    let page = Browser::shown(&ada.get("/p/referral-count").await);
    assert!(page.contains("bob has converted"), "{page}");
    let page = Browser::shown(&ada.get("/p/referral-count/referrals").await);
    assert!(page.contains("bob") && page.contains("Converted"), "{page}");
    let page = Browser::shown(&ada.get("/p/referral-count/tree").await);
    assert!(page.contains("bob"), "{page}");
    let csv = ada.get("/p/referral-count/earnings.csv").await;
    assert_eq!(csv.header("content-type"), Some("text/csv; charset=utf-8"));
    assert_eq!(csv.text().lines().count(), 2, "{}", csv.text());
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn an_operator_records_a_purchase_and_takes_it_back_once_however_often_the_form_is_sent() {
    let (database, server, client) = server_with(&["multi-level-commission"]).await;
    let ada = client.sign_up("multi-level-commission", "ada", "").await.unwrap();
    client.sign_up("multi-level-commission", "bob", &ada.code).await.unwrap();
    let mut olga = Browser::new(&server.address);
    olga.register("olga", "").await;
    make_operator(&client, "olga").await;
    let answer = olga.sign_in("olga", PASSWORD).await;
    assert_eq!(answer.status, 303, "{}", answer.text());

    let wrong = [
        ("buyer", "nobody-here"),
        ("amount", "12,5,0x"),
        ("currency", "rupees"),
        ("purchase_id", "an id"),
    ];
    let answer = olga.fill("/o/record", "/o/record", &wrong).await;
    assert_eq!(answer.status, 422, "{}", answer.text());
    for field in ["buyer", "amount", "currency", "purchase_id"] {
        assert!(answer.text().contains(&format!("id=\"{field}-fault\"")), "{}", answer.text());
    }
    assert!(!answer.text().contains("This is needed."), "each is said once: {}", answer.text());
    let html = olga.get("/o/record").await.text();
    let token = hidden(&html, "/o/record", "form_token").unwrap();
    let id = hidden(&html, "/o/record", "request_id").unwrap();
    let body = format!("form_token={token}&request_id={id}&buyer=bob&amount=2000.00&currency=inr");
    let mut places = Vec::new();
    for _ in 0..2 {
        let answer = olga.ask("POST /o/record", &[FORM, SAME_ORIGIN], &body).await;
        assert_eq!(answer.status, 303, "{}", answer.text());
        places.push(answer.exact_header("location").unwrap().split('?').next().unwrap().to_owned());
    }
    assert_eq!(places[0], places[1]);
    let purchases = "select count(*) from events where event_type = 'PurchaseRecorded'";
    assert_eq!(database.count(purchases).await, 1);
    let page = Browser::shown(&olga.get(&places[0]).await);
    assert!(page.contains("2,000.00") && page.contains("+100.00"), "{page}");
    let said: (String, String) = sqlx::query_as(
        "select metadata ->> 'actor', metadata ->> 'door' from events where event_type = 'PurchaseRecorded'",
    )
    .fetch_one(&database.pool)
    .await
    .unwrap();
    let user_id = user_id_of(&client, "olga").await;
    assert_eq!(said, (format!("user:{user_id}"), "console:RecordPurchase".into()));

    let preview =
        olga.fill(&places[0], &places[0], &[("amount", "500"), ("step", "preview")]).await;
    let html = Browser::shown(&preview);
    assert!(html.contains("This refunds 500.00 INR") && html.contains("−25.00"), "{html}");
    let answer = olga.fill(&places[0], &places[0], &[("amount", "5x"), ("step", "refund")]).await;
    assert_eq!(answer.status, 422);
    // What is refunded is what was looked at: another amount is previewed first.
    let value = |name: &str| hidden(&html, &places[0], name).unwrap();
    let carried = [value("previewed"), value("previewed_minor"), value("previewed_unit")];
    let press = |amount: &'static str| {
        let [previewed, minor, unit] = &carried;
        [
            ("amount", amount),
            ("previewed", previewed),
            ("previewed_minor", minor),
            ("previewed_unit", unit),
            ("step", "refund"),
        ]
    };
    let other = olga.fill(&places[0], &places[0], &press("5000")).await;
    assert_eq!(other.status, 409, "more than the purchase: {}", other.text());
    let page = Browser::shown(&olga.fill(&places[0], &places[0], &press("700")).await);
    assert!(
        page.contains("You have changed the amount.") && page.contains("This refunds 700.00 INR")
    );
    assert_eq!(hidden(&page, &places[0], "previewed_minor").as_deref(), Some("70000"));
    let purchase = client.purchase(places[0].rsplit('/').next().unwrap()).await.unwrap();
    assert!(purchase.purchase.unwrap().refunds.is_empty(), "nothing is refunded by looking");
    let answer = olga.fill(&places[0], &places[0], &press("500")).await;
    assert_eq!(answer.status, 303, "{}", answer.text());
    let page = Browser::shown(&olga.get(answer.exact_header("location").unwrap()).await);
    assert!(page.contains("25.00 INR taken back"), "{page}");
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn what_is_stored_about_somebody_is_theirs_to_have_and_the_account_theirs_to_erase() {
    let (database, server, _) = server_with(&["referral-count"]).await;
    let mut ada = Browser::new(&server.address);
    ada.register("ada", "").await;
    let export = ada.fill("/profile", "/profile/export", &[]).await;
    assert_eq!((export.status, export.header("content-type")), (200, Some("application/json")));
    assert!(export.text().contains("ada@example.com"), "{}", export.text());
    let wrong = ada.fill("/profile", "/profile/erase", &[("confirm", "bob")]).await;
    assert_eq!(wrong.status, 422);
    assert!(wrong.text().contains("confirm-fault"), "{}", wrong.text());
    let erased = ada.fill("/profile", "/profile/erase", &[("confirm", "ada")]).await;
    assert_eq!(erased.exact_header("location"), Some("/sign-in?erased=1"), "{}", erased.text());
    assert_eq!(ada.sign_in("ada", PASSWORD).await.status, 403);
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn pages_are_small_and_what_they_refer_to_is_there_and_kept_for_good() {
    let (database, server, _) = server_with(&["tiered-points"]).await;
    let mut ada = Browser::new(&server.address);
    ada.register("ada", "").await;
    enroll(&mut ada, "tiered-points", "").await;
    let plain = Browser::shown(&ada.get("/p/tiered-points").await);
    let packed = ada.ask("GET /p/tiered-points", &["accept-encoding: gzip, br"], "").await;
    assert_eq!(packed.header("content-encoding"), Some("gzip"));
    let mut bytes = packed.body.len();
    let assets = plain.split('"').filter(|part| part.starts_with("/assets/"));
    let assets: Vec<String> = assets.map(str::to_owned).collect();
    assert_eq!(assets.len(), 3, "{assets:?}");
    for path in &assets {
        let asset = ada.ask(&format!("GET {path}"), &["accept-encoding: gzip"], "").await;
        assert_eq!(asset.status, 200, "{path}");
        assert!(asset.header("cache-control").unwrap().contains("immutable"), "{path}");
        bytes += asset.body.len();
    }
    assert!(bytes < 50_000, "the first page is {bytes} bytes");
    assert_eq!(ada.get("/assets/style.css").await.status, 404);
    for forbidden in [" style=", " onclick=", " onload=", "javascript:"] {
        assert!(!plain.contains(forbidden), "{forbidden}");
    }
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn an_operator_opens_changes_and_closes_disputes_on_the_page_of_the_purchase() {
    let lines = "multi-level-commission";
    let (database, server, client) = server_with(&[lines]).await;
    let amy = client.sign_up(lines, "amy", "").await.unwrap();
    client.sign_up(lines, "bob", &amy.code).await.unwrap();
    client.buy("order", "bob", "INR", 200_000).await.unwrap();
    let mut olga = operator(&server, &client).await;
    let (path, action) = ("/o/purchases/order", "/o/purchases/order/disputes");
    let refused = olga.fill(path, action, &[("amount", "5x"), ("step", "open")]).await;
    assert_eq!(refused.status, 422, "{}", refused.text());
    assert!(refused.text().contains("id=\"disputed-fault\""), "{}", refused.text());
    let refused = olga.fill(path, action, &[("amount", "2000.01"), ("step", "open")]).await;
    assert_eq!(refused.status, 409, "{}", refused.text());
    assert!(refused.text().contains("That is more than the price of the purchase."));

    let disputed = async |client: &Client| {
        let purchase = client.purchase("order").await.unwrap().purchase.unwrap();
        let open = purchase.disputes.into_iter().map(|of| {
            let state = of.state();
            (of.dispute_id, of.amount.unwrap().minor_units, state)
        });
        open.collect::<Vec<_>>()
    };
    let opened = [("amount", "500"), ("dispute_id", "dp_1"), ("step", "open")];
    assert_eq!(olga.fill(path, action, &opened).await.status, 303);
    assert_eq!(disputed(&client).await, [("dp_1".to_owned(), 50_000, DisputeState::Open)]);
    let changed = [("of", "dp_1"), ("amount", "700"), ("step", "change")];
    assert_eq!(olga.fill(path, action, &changed).await.status, 303);
    assert_eq!(disputed(&client).await, [("dp_1".to_owned(), 70_000, DisputeState::Open)]);
    // A change without an amount is none.
    let empty = [("of", "dp_1"), ("amount", ""), ("step", "change")];
    let refused = olga.fill(path, action, &empty).await;
    assert_eq!(refused.status, 422, "{}", refused.text());
    assert!(refused.text().contains("id=\"disputed-dp_1-fault\""), "{}", refused.text());
    let lost = [("of", "dp_1"), ("amount", ""), ("step", "lost")];
    assert_eq!(olga.fill(path, action, &lost).await.status, 303);
    assert_eq!(disputed(&client).await, [("dp_1".to_owned(), 70_000, DisputeState::Lost)]);
    let refused = olga.fill(path, action, &[("of", "dp_1"), ("amount", ""), ("step", "won")]).await;
    assert_eq!(refused.status, 409);
    assert!(refused.text().contains("This dispute has ended already."), "{}", refused.text());
    // Without an amount and an id, it is about the whole price.
    assert_eq!(olga.fill(path, action, &[("step", "open")]).await.status, 303);
    assert_eq!(disputed(&client).await.len(), 2);
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn who_was_erased_is_an_erased_user_in_lists_and_has_a_page_that_says_so() {
    let lines = "multi-level-commission";
    let (database, server, client) = server_with(&[lines]).await;
    let amy = client.sign_up(lines, "amy", "").await.unwrap();
    client.sign_up(lines, "bob", &amy.code).await.unwrap();
    let mut olga = operator(&server, &client).await;
    let bought = client.buy("order", "bob", "INR", 200_000).await.unwrap().consistency_token;
    let page = Browser::shown(&olga.get(&format!("/o/purchases?at={bought}")).await);
    assert!(!page.contains("Erased user"), "{page}");
    let erased =
        olga.fill("/o/users/bob", "/o/users/bob/erase", &[("forfeit_balances", "on")]).await;
    assert_eq!(erased.status, 303, "{}", erased.text());
    let page = Browser::shown(&olga.get(erased.exact_header("location").unwrap()).await);
    for shown in ["<h1>Erased user</h1>", "The person was erased.", ">bob<", "<time"] {
        assert!(page.contains(shown), "{shown}: {page}");
    }
    for path in ["/o/purchases", "/o/purchases/order", "/o/users"] {
        let page = Browser::shown(&olga.get(path).await);
        assert!(page.contains("Erased user") && page.contains(">bob</small>"), "{path}: {page}");
    }
    let page = Browser::shown(&olga.get(&format!("/o/users/bob/balance/{lines}")).await);
    assert!(page.contains("The person was erased."), "{page}");
    // Nobody was erased who never was.
    assert_eq!(olga.get("/o/users/nobody").await.status, 404);
    server.stop().await;
    database.check().await;
}
