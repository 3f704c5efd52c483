//! Numbers of pages: each says what it is, and those of one name agree.

use contract::pb::*;

use super::program_view::see_all;
use super::*;
use crate::payouts::{becomes, populate};

const LINES: &str = "multi-level-commission";
const BONUS: &str = "first-purchase-bonus";

/// What stands in the page behind some words, without its tags.
fn after(page: &str, words: &str) -> String {
    let rest = page.split_once(words).unwrap_or_else(|| panic!("{words}: {page}")).1;
    let text = rest.split('<').filter_map(|piece| piece.split_once('>')).map(|(_, text)| text);
    text.collect::<Vec<_>>().join(" ").split_whitespace().collect::<Vec<_>>().join(" ")
}

#[track_caller]
fn assert_after(page: &str, words: &str, expected: &str) {
    let found = after(page, words);
    assert!(found.starts_with(expected), "{words}: {expected}, not {found:.60}");
}

#[tokio::test]
async fn what_was_earned_is_net_and_the_same_number_on_every_page() {
    let (database, server, client) = server_with(&[LINES]).await;
    let mut olga = operator(&server, &client).await;
    let mut zoe = Browser::new(&server.address);
    zoe.register("zoe", "").await;
    enroll(&mut zoe, LINES, "").await;
    let code = code_of(&client, "zoe", LINES).await;
    client.sign_up(LINES, "bob", &code).await.unwrap();
    client.buy("order-0", "bob", "INR", 200_000).await.unwrap();
    client.buy("order-1", "bob", "INR", 300_000).await.unwrap();
    let path = "/o/purchases/order-1";
    let page = Browser::shown(&olga.get(path).await);
    assert!(page.contains("all that is left of the purchase, 3,000.00 INR"), "{page}");
    assert!(page.contains("value=\"hold\"") && page.contains(">Counts<"), "{page}");
    let refund = [
        ("amount", ""),
        ("previewed", ""),
        ("previewed_minor", "300000"),
        ("previewed_unit", "INR"),
        ("step", "refund"),
    ];
    let refunded = olga.fill(path, path, &refund).await;
    assert_eq!(refunded.status, 303, "{}", refunded.text());
    let place = refunded.exact_header("location").unwrap().to_owned();
    let query = place.split_once('?').unwrap().1;
    let at = url::form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "at");
    see_all(&client, &at.unwrap().1).await;

    // Nothing is left of the purchase: nothing to count, to hold or to refund.
    let page = Browser::shown(&olga.get(path).await);
    assert!(page.contains("Nothing is left of this purchase to refund."), "{page}");
    assert!(page.contains("Refunded</span>"), "{page}");
    for gone in ["value=\"hold\"", "See what it takes back", ">Counts<", ">Converted<"] {
        assert!(!page.contains(gone), "{gone}: {page}");
    }
    let page = Browser::shown(&olga.get("/o/purchases").await);
    assert!(page.contains("Refunded</span>") && page.contains("1 reward</span>"), "{page}");

    let page = Browser::shown(&zoe.get(&format!("/p/{LINES}")).await);
    assert_after(&page, "Earned by rewards</span>", "100.00 INR");
    let page = Browser::shown(&zoe.get(&format!("/p/{LINES}/earnings")).await);
    assert_after(
        &page,
        "Earned by rewards</dt>",
        "100.00 INR 250.00 INR granted, 150.00 INR taken back",
    );
    assert_after(&page, "id=\"by-person\"", "bob 100.00 INR");
    assert!(page.contains("100.00"), "{page}");
    let page = Browser::shown(&olga.get("/o").await);
    assert_after(
        &page,
        "Earned by participants</dt>",
        "100.00 INR 250.00 granted, 150.00 taken back",
    );
    assert_after(
        &page,
        "Owed to participants</dt>",
        "100.00 INR 100.00 available, 0.00 pending, 0.00 in payouts",
    );
    let page = Browser::shown(&olga.get(&format!("/o/programs/{LINES}/view")).await);
    assert_after(&page, "Earned by participants", "100.00 INR 250.00 granted, 150.00 taken back");
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn referrals_that_are_held_are_counted_apart_from_those_that_count() {
    let (database, server, client) = server_with(&[]).await;
    let mut program =
        contract::parse_program(include_str!("../../../programs/referral-count.json")).unwrap();
    program.require_confirmed_email = true;
    client.publish(program).await.unwrap();
    let mut olga = operator(&server, &client).await;
    let mut zoe = Browser::new(&server.address);
    zoe.register("zoe", "").await;
    enroll(&mut zoe, "referral-count", "").await;
    let code = code_of(&client, "zoe", "referral-count").await;
    // Nobody has confirmed this address.
    let bob = client.sign_up("referral-count", "bob", &code).await.unwrap();
    see_all(&client, &bob.response.consistency_token).await;
    let page = Browser::shown(&zoe.get("/p/referral-count").await);
    assert_after(&page, "id=\"referred\"", "Referred 0");
    assert_after(&page, "id=\"pending\"", "Pending 0 and 1 held for a check");
    assert_after(&page, "Sign-ups</span>", "0");
    let page = Browser::shown(&olga.get("/o").await);
    assert_after(&page, "Sign-ups</span>", "0");
    assert_after(&page, "With a referrer</dt>", "1 1 held");
    let page = Browser::shown(&olga.get("/o/programs/referral-count/view").await);
    assert!(page.contains("50% of all: 1 held"), "{page}");
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn a_purchase_that_only_credits_its_buyer_says_so() {
    let (database, server, client) = server_with(&[BONUS]).await;
    let mut olga = operator(&server, &client).await;
    client.sign_up(BONUS, "bob", "").await.unwrap();
    let bought = client.buy("order-1", "bob", "USD", 1_000).await.unwrap();
    see_all(&client, &bought.consistency_token).await;
    let page = Browser::shown(&olga.get("/o/purchases").await);
    assert!(page.contains("Credited to the buyer") && !page.contains("No reward"), "{page}");
    // What they have bought is no reward, and is told apart from what they have earned.
    let page = Browser::shown(&olga.get("/o").await);
    assert_after(&page, "Earned by participants</dt>", "0.00 USD");
    assert_after(&page, "Owed to participants</dt>", "10.00 USD");
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn a_payout_of_nobody_ends_and_says_that_nobody_was_paid() {
    let (database, server, client) = server_with(&[]).await;
    populate(&client).await;
    let mut olga = operator(&server, &client).await;
    let list = "/o/payouts";
    let page = Browser::shown(&olga.get(list).await);
    assert!(page.contains("Available to participants"), "{page}");
    let fields = [("program_id", LINES), ("minimum", "1000"), ("payout_id", "may")];
    assert_eq!(olga.fill(list, list, &fields).await.status, 303);
    becomes(&client, "may", PayoutState::Confirmed).await;
    let page = Browser::shown(&olga.get(&format!("{list}/{LINES}/may")).await);
    assert!(page.contains("Nobody paid") && !page.contains("All were paid"), "{page}");
    assert!(!page.contains("Close the payout"), "{page}");
    server.stop().await;
    database.check().await;
}
