//! More programs, items and redemptions than a page has.

use contract::pb::*;

use super::*;
use crate::payouts::{paying, populate};

const LINES: &str = "multi-level-commission";
/// More programs than a page of the overview has.
const PROGRAMS: usize = 53;

#[tokio::test]
async fn every_program_can_be_chosen_however_many_there_are() {
    let (database, server, client) = server_with(&[]).await;
    for number in 0..PROGRAMS {
        let program_id = format!("program-{number:02}");
        let display_name = format!("Program number {number:02}");
        client.publish(Program { program_id, display_name, ..paying() }).await.unwrap();
    }
    let (last, name) = ("program-52", "Program number 52");
    let mut ada = operator(&server, &client).await;
    for path in ["/o/payouts", "/o/items", "/o/users", "/o/fraud", "/o/programs/program-00/view"] {
        let page = Browser::shown(&ada.get(path).await);
        assert!(page.contains(&format!("<option value=\"{last}\">{name}")), "{path}: {page}");
    }
    let page = Browser::shown(&ada.get("/programs").await);
    assert!(page.contains(name), "{page}");
    // Choosing one in the list leads to its page.
    let chosen = ada.get(&format!("/o/programs/program-00/view?program={last}")).await;
    assert_eq!(chosen.exact_header("location"), Some("/o/programs/program-52/view"));
    let page = Browser::shown(&ada.get("/o").await);
    assert!(!page.contains(name), "it is on the next page");
    let next = page.split("href=\"/o?page=").nth(1).unwrap().split('"').next().unwrap();
    let page = Browser::shown(&ada.get(&format!("/o?page={next}")).await);
    assert!(page.contains(name), "{page}");
    assert!(page.contains(&format!("data-live=\"/live/overview?page={next}\"")), "{page}");

    let fields = [("program_id", last), ("payout_id", "may"), ("minimum", "1")];
    let answer = ada.fill("/o/payouts", "/o/payouts", &fields).await;
    assert_eq!(answer.status, 303, "{}", answer.text());
    let page = Browser::shown(&ada.get("/o/payouts/program-52/may").await);
    assert!(page.contains(name), "{page}");
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn a_store_shows_all_that_is_on_sale_and_what_was_redeemed_by_pages() {
    let (database, server, client) = server_with(&[]).await;
    populate(&client).await;
    let item = |number: usize, is_off: bool| PublishItemRequest {
        program_id: LINES.into(),
        item_id: format!("item-{number:03}"),
        name: format!("Thing {number:03}"),
        cost: Some(Money { currency_code: "INR".into(), minor_units: 1 }),
        unavailable: is_off,
        ..Default::default()
    };
    client.store().publish_item(client.request(item(0, false))).await.unwrap();
    let mut changed = String::new();
    let mut eve = Browser::new(&server.address);
    eve.register("someone", "").await;
    enroll(&mut eve, LINES, "").await;
    let user_id = security::user_id_of(&client, "someone").await;
    let gift = AdjustBalanceRequest {
        program_id: LINES.into(),
        user_id: user_id.clone(),
        amount: Some(Money { currency_code: "INR".into(), minor_units: 100 }),
        reason_code: "goodwill".into(),
        ..Default::default()
    };
    client.rewards().adjust_balance(client.request(gift)).await.unwrap();
    for number in 0..52 {
        let redeemed = RedeemRequest {
            program_id: LINES.into(),
            user_id: user_id.clone(),
            redemption_id: format!("wish-{number}"),
            item_id: "item-000".into(),
            ..Default::default()
        };
        client.store().redeem(client.request(redeemed)).await.unwrap();
    }
    // What is off sale takes no place from what can be had.
    for number in 1..=101 {
        let answer = client.store().publish_item(client.request(item(number, true))).await;
        changed = answer.unwrap().into_inner().consistency_token;
    }
    let path = format!("/p/{LINES}/store");
    let page = Browser::shown(&eve.get(&format!("{path}?at={changed}")).await);
    assert!(page.contains("<h2>Thing 000</h2>"), "{page}");
    assert!(!page.contains("Thing 101"), "it is off sale: {page}");
    assert_eq!(page.matches("<th scope=\"row\">Thing 000</th>").count(), 50, "{page}");
    let next = page.split(&format!("href=\"{path}?page=")).nth(1).unwrap();
    let next = next.split('"').next().unwrap();
    let page = Browser::shown(&eve.get(&format!("{path}?page={next}")).await);
    assert_eq!(page.matches("<th scope=\"row\">Thing 000</th>").count(), 2, "{page}");
    server.stop().await;
    database.check().await;
}
