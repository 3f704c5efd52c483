//! Pages about money: payouts, and what waits for another operator.

use contract::pb::*;
use testing::{Server, ServerOptions, TestDatabase};

use super::live::Stream;
use super::security::{make_operator, user_id_of};
use super::*;
use crate::payouts::{balances, becomes, populate};

const LINES: &str = "multi-level-commission";

/// A server on which small amounts wait for approval, with two operators, ada and olga, and the people of `payouts`.
async fn scene() -> (TestDatabase, Server, Client, [Browser; 2]) {
    let database = TestDatabase::new().await;
    let arguments = ["--payout-limit", "5000", "--adjustment-limit", "10000"];
    let options = ServerOptions { arguments: arguments.map(String::from).to_vec() };
    let server = Server::start_with(&database.url, &options).await;
    let client = server.client();
    populate(&client).await;
    let mut operators = [Browser::new(&server.address), Browser::new(&server.address)];
    for (operator, name) in operators.iter_mut().zip(["ada", "olga"]) {
        operator.register(name, "").await;
        for path in ["/o/payouts", "/o/approvals"] {
            assert_eq!(operator.get(path).await.status, 403, "a participant is no operator");
        }
        make_operator(&client, name).await;
        operator.sign_in(name, PASSWORD).await;
    }
    (database, server, client, operators)
}

/// Sends a form that must be carried out, and returns the page that follows.
async fn carried_out(
    browser: &mut Browser,
    page: &str,
    action: &str,
    fields: &[(&str, &str)],
) -> String {
    let answer = browser.fill(page, action, fields).await;
    assert_eq!(answer.status, 303, "{}", answer.text());
    let next = answer.exact_header("location").unwrap().to_owned();
    Browser::shown(&browser.get(&next).await)
}

/// Sends a form that must be refused with a code and with words.
async fn refused_with(
    browser: &mut Browser,
    page: &str,
    action: &str,
    fields: &[(&str, &str)],
    code: u16,
    said: &str,
) {
    let answer = browser.fill(page, action, fields).await;
    assert_eq!(answer.status, code, "{}", answer.text());
    assert!(answer.text().contains(said), "{said}: {}", answer.text());
}

#[tokio::test]
async fn a_payout_by_which_nobody_is_paid_says_so_and_asks_for_nothing() {
    let (database, server, client, [mut ada, _]) = scene().await;
    let fields = [("program_id", LINES), ("minimum", "5000"), ("payout_id", "may")];
    carried_out(&mut ada, "/o/payouts", "/o/payouts", &fields).await;
    becomes(&client, "may", PayoutState::Confirmed).await;
    let list = Browser::shown(&ada.get("/o/payouts").await);
    assert!(list.contains("Nobody paid") && !list.contains("Confirmed"), "{list}");
    let page = Browser::shown(&ada.get(&format!("/o/payouts/{LINES}/may")).await);
    for shown in ["Nobody could be paid", "Less than the smallest amount", "No payout method"] {
        assert!(page.contains(shown), "{shown}: {page}");
    }
    assert!(!page.contains("All were paid"), "{page}");
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn a_payout_is_created_exported_approved_by_another_operator_and_returned() {
    let (database, server, client, [mut ada, mut olga]) = scene().await;
    let list = "/o/payouts";
    let page = Browser::shown(&ada.get(list).await);
    // What would be collected, debts apart: 50.00 and 7.00 and 9.00.
    assert!(page.contains("No payouts yet") && page.contains("66.00"), "{page}");
    let fields = |minimum| [("program_id", LINES), ("minimum", minimum), ("payout_id", "may")];
    refused_with(&mut ada, list, list, &fields("1.505"), 422, "Write an amount").await;
    let page = carried_out(&mut ada, list, list, &fields("8")).await;
    assert!(page.contains("Payout may"), "{page}");
    becomes(&client, "may", PayoutState::Open).await;
    refused_with(&mut ada, list, list, &fields("9"), 409, "There is another payout with this id.")
        .await;

    let path = &*format!("/o/payouts/{LINES}/may");
    let page = Browser::shown(&ada.get(path).await);
    for shown in [
        "50.00",
        "ana",
        "No payout method",
        "In debt",
        "Less than the smallest amount",
        "All were paid",
    ] {
        assert!(page.contains(shown), "{shown}: {page}");
    }
    let page = Browser::shown(&ada.get(&format!("{path}?state=reserved")).await);
    assert!(page.contains("/o/users/ana") && !page.contains("/o/users/dan"), "{page}");
    let due = format!("{path}/lines.csv?state=reserved");
    assert!(page.contains(&due) && !page.contains("lines.csv\""), "{page}");
    let csv = ada.get(&due).await;
    assert_eq!(csv.exact_header("content-type"), Some("text/csv; charset=utf-8"));
    assert!(
        csv.text().contains("ana,sepa,\"DE89 3704, \"\"ana\"\"\",50.00,INR,reserved,\r\n"),
        "{}",
        csv.text()
    );

    // Above no limit it would be paid at once; 50.00 are the limit, and wait for nobody.
    let bad = [("user_id", "ana"), ("step", "confirm"), ("provider_reference", "no spaces")];
    refused_with(&mut ada, path, path, &bad, 422, "id=\"reference-ana-fault\"").await;
    let confirm = [("user_id", "ana"), ("step", "confirm"), ("provider_reference", "po_1")];
    let page = carried_out(&mut ada, path, path, &confirm).await;
    assert!(page.contains("Noted.") && page.contains("po_1"), "{page}");
    assert_eq!(balances(&client, "ana").await, (0, 0, 5_000));
    // The provider is not told twice of what was paid.
    assert!(!ada.get(&due).await.text().contains("ana"));
    let back = [("user_id", "ana"), ("step", "return"), ("reason_code", "account_closed")];
    let page = carried_out(&mut ada, path, path, &back).await;
    assert!(page.contains("Came back") && page.contains("account_closed"), "{page}");
    assert_eq!(balances(&client, "ana").await, (5_000, 0, 0));

    // The next one is above the limit: another operator approves it, and the page of the first one follows.
    let fields = [("program_id", LINES), ("minimum", ""), ("payout_id", "june")];
    carried_out(&mut ada, list, list, &fields).await;
    becomes(&client, "june", PayoutState::Open).await;
    let path = &*format!("/o/payouts/{LINES}/june");
    let all = [("user_id", ""), ("step", "confirm"), ("provider_reference", "po_all")];
    let page = carried_out(&mut ada, path, path, &all).await;
    assert!(page.contains("Asked for. Somebody else has to approve it."), "{page}");
    assert!(
        page.contains("You have asked for this") && !page.contains("value=\"approve\""),
        "{page}"
    );
    let approval_id = hidden(&page, "/o/approvals", "approval_id").unwrap();
    let page = Browser::shown(&ada.get(list).await);
    assert!(page.contains("1 request waits"), "{page}");
    let own = [("approval_id", &*approval_id), ("step", "approve"), ("back", path)];
    refused_with(
        &mut ada,
        "/o/approvals",
        "/o/approvals",
        &own,
        409,
        "Somebody else has to approve this.",
    )
    .await;
    let open = PayoutState::Open as i32;
    let mut stream =
        Stream::open(&ada, &format!("/live/payout/{LINES}/june?state={open}"), "").await;
    stream.until("id=\"payout-sums\"").await;
    let page = carried_out(&mut olga, "/o/approvals", "/o/approvals", &own).await;
    assert!(page.contains("Approved and done.") && page.contains("Payout june"), "{page}");
    stream.until("event: reload").await;
    becomes(&client, "june", PayoutState::Confirmed).await;
    assert_eq!(balances(&client, "ana").await, (0, 0, 5_000));
    let page = Browser::shown(&ada.get("/o/approvals?state=approved").await);
    let olga_id = user_id_of(&client, "olga").await;
    assert!(page.contains(&format!("/o/users/{olga_id}")) && page.contains("po_all"), "{page}");
    assert_eq!(ada.get(&format!("/o/payouts/{LINES}/none")).await.status, 404);
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn balances_are_adjusted_with_a_sign_and_large_adjustments_wait_for_another_operator() {
    let (database, server, client, [mut ada, mut olga]) = scene().await;
    let path = &*format!("/o/users/ana/balance/{LINES}");
    let page = Browser::shown(&ada.get(path).await);
    for shown in ["Balance of ana", "50.00", "No rewards yet", "goodwill"] {
        assert!(page.contains(shown), "{shown}: {page}");
    }
    // The page of the person leads there.
    assert!(Browser::shown(&ada.get("/o/users/ana").await).contains(path));
    let fields = |amount| [("amount", amount), ("reason_code", "late_fee"), ("note", "a <b> note")];
    for (amount, said) in [
        ("ten", "Write an amount"),
        ("0", "Write an amount other than 0."),
        ("1.005", "Write an amount"),
    ] {
        refused_with(&mut ada, path, path, &fields(amount), 422, said).await;
    }
    let bad = [("amount", "5"), ("reason_code", "No Spaces")];
    refused_with(&mut ada, path, path, &bad, 422, "id=\"reason_code-fault\"").await;
    let page = carried_out(&mut ada, path, path, &fields("-12.50")).await;
    assert!(
        page.contains("The balance is adjusted.") && page.contains("a &lt;b&gt; note"),
        "{page}"
    );
    assert_eq!(balances(&client, "ana").await.0, 3_750);

    let page = carried_out(&mut ada, path, path, &fields("100.01")).await;
    assert!(page.contains("Asked for.") && page.contains("Adjustment of a balance"), "{page}");
    assert_eq!(balances(&client, "ana").await.0, 3_750);
    let approval_id = hidden(&page, "/o/approvals", "approval_id").unwrap();
    let decide = |step| {
        [("approval_id", &*approval_id), ("step", step), ("note", "too much"), ("back", path)]
    };
    let page = carried_out(&mut olga, path, "/o/approvals", &decide("decline")).await;
    assert!(
        page.contains("Balance of ana") && page.contains("Declined: it is not done."),
        "{page}"
    );
    refused_with(
        &mut olga,
        "/o/approvals",
        "/o/approvals",
        &decide("approve"),
        409,
        "decided about this already",
    )
    .await;
    assert_eq!(balances(&client, "ana").await.0, 3_750);
    let page = Browser::shown(&ada.get("/o/approvals?state=declined").await);
    assert!(page.contains("too much"), "{page}");
    assert_eq!(ada.get(&format!("/o/users/nobody/balance/{LINES}")).await.status, 404);
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn a_reward_is_held_and_released_from_the_page_of_its_earner_and_of_its_purchase() {
    let (database, server, client, [mut ada, _]) = scene().await;
    let code = code_of(&client, "cem", LINES).await;
    client.sign_up(LINES, "fay", &code).await.unwrap();
    let bought = client.buy("p/1", "fay", "INR", 200_000).await.unwrap().consistency_token;
    let path = &*format!("/o/users/cem/balance/{LINES}");
    let page = Browser::shown(&ada.get(&format!("{path}?at={bought}")).await);
    let action = &*format!("{path}/rewards");
    let reward_id = hidden(&page, action, "reward_id").unwrap_or_else(|| panic!("{page}"));
    // The purchase has a sign in its id that divides paths.
    assert!(page.contains("/o/purchases/p%2F1"), "{page}");
    assert_eq!(balances(&client, "cem").await.0, 10_000);
    let step = |step| [("reward_id", &*reward_id), ("step", step), ("note", "looks odd")];
    let page = carried_out(&mut ada, path, action, &step("hold")).await;
    assert!(page.contains("Held by an operator") && page.contains("looks odd"), "{page}");
    assert_eq!(balances(&client, "cem").await.0, 0);
    let purchase = "/o/purchases/p%2F1";
    let action = "/o/purchases/p%2F1/rewards";
    let page = carried_out(&mut ada, purchase, action, &step("release")).await;
    assert!(page.contains("Purchase p/1") && page.contains("Released: what is left"), "{page}");
    assert_eq!(balances(&client, "cem").await.0, 10_000);
    let unknown = [("reward_id", "multi-level-commission/cem/999"), ("step", "hold")];
    refused_with(&mut ada, purchase, action, &unknown, 404, "There is no such reward.").await;
    let long = "x".repeat(501);
    let too_long = [("reward_id", &*reward_id), ("step", "hold"), ("note", &*long)];
    refused_with(&mut ada, path, &format!("{path}/rewards"), &too_long, 422, "This is too long.")
        .await;
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn items_are_published_and_changed_and_what_is_redeemed_is_handed_over_or_cancelled() {
    let (database, server, client, [mut ada, _]) = scene().await;
    let list = "/o/items";
    let page = Browser::shown(&ada.get(list).await);
    assert!(page.contains("The store is empty"), "{page}");
    let item = |cost, stock| {
        [
            ("program_id", LINES),
            ("item_id", "a/mug"),
            ("name", "Mug"),
            ("cost", cost),
            ("stock", stock),
            ("per_person_limit", ""),
        ]
    };
    refused_with(&mut ada, list, list, &item("", "1"), 422, "id=\"cost-fault\"").await;
    refused_with(&mut ada, list, list, &item("5", "many"), 422, "id=\"stock-fault\"").await;
    refused_with(&mut ada, list, list, &item("5", "-1"), 422, "id=\"stock-fault\"").await;
    let page = carried_out(&mut ada, list, list, &item("5", "2")).await;
    assert!(page.contains("The store has it like this") && page.contains("Mug"), "{page}");
    let mut redeemed = String::new();
    for redemption_id in ["r1", "r2"] {
        let request = RedeemRequest {
            program_id: LINES.into(),
            user_id: "ana".into(),
            item_id: "a/mug".into(),
            redemption_id: redemption_id.into(),
            ..Default::default()
        };
        let answer = client.store().redeem(client.request(request)).await.unwrap();
        redeemed = answer.into_inner().consistency_token;
    }
    // The form of an item has what is true of it, and what is left out is changed, too.
    let path = &*format!("/o/items/{LINES}/a%2Fmug");
    let page = Browser::shown(&ada.get(&format!("{path}?at={redeemed}")).await);
    assert!(
        page.contains("value=\"5.00\"")
            && page.contains("value=\"Mug\"")
            && page.contains("Sold out"),
        "{page}"
    );
    let change = [("program_id", LINES), ("name", "Large mug"), ("cost", "6.50"), ("stock", "1")];
    refused_with(&mut ada, path, path, &change, 409, "More pieces than that are redeemed already.")
        .await;
    let change = [
        ("program_id", LINES),
        ("name", "Large mug"),
        ("cost", "6.50"),
        ("stock", ""),
        ("unavailable", "on"),
    ];
    let page = carried_out(&mut ada, path, path, &change).await;
    assert!(
        page.contains("Large mug") && page.contains("6.50") && page.contains("Not available"),
        "{page}"
    );
    assert_eq!(ada.get(&format!("/o/items/{LINES}/nothing")).await.status, 404);

    let list = "/o/items/redemptions";
    let page = Browser::shown(&ada.get(&format!("{list}?at={redeemed}")).await);
    assert!(page.contains("r1") && page.contains("r2"), "{page}");
    assert_eq!(balances(&client, "ana").await.0, 4_000);
    let decide = |id, step| [("program_id", LINES), ("redemption_id", id), ("step", step)];
    let page = carried_out(&mut ada, list, list, &decide("r1", "fulfil")).await;
    assert!(page.contains("Noted: it was handed over.") && !page.contains(">r1<"), "{page}");
    carried_out(&mut ada, list, list, &decide("r2", "cancel")).await;
    assert_eq!(balances(&client, "ana").await.0, 4_500);
    refused_with(
        &mut ada,
        list,
        list,
        &decide("r1", "cancel"),
        409,
        "This was handed over already.",
    )
    .await;
    for (state, shown) in [("fulfilled", "r1"), ("cancelled", "r2")] {
        let page = Browser::shown(&ada.get(&format!("{list}?state={state}")).await);
        assert!(page.contains(&format!(">{shown}<")), "{state}: {page}");
    }
    server.stop().await;
    database.check().await;
}
