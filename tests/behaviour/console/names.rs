//! Names in place of generated ids, on the pages of operators.

use contract::pb::*;

use super::program_view::see_all;
use super::*;
use crate::payouts::{becomes, populate};

const LINES: &str = "multi-level-commission";
const NAME: &str = "Commissions for the upline";

/// Somebody with a generated id and a name to be shown, and their code.
async fn somebody(client: &Client, username: &str, code: &str) -> (String, String) {
    let request = RegisterUserRequest {
        username: username.into(),
        display_name: format!("{username} Shown"),
        email: format!("{username}@example.com"),
        program_id: LINES.into(),
        referral_code: code.into(),
        ..Default::default()
    };
    let signed_up = client.register(request).await.unwrap();
    let participant = signed_up.participants[0].clone();
    assert!(participant.user_id.len() > 30, "a generated id: {}", participant.user_id);
    (participant.user_id, participant.code)
}

/// Fails if a page shows an id as text. It may be in links, titles and fields.
#[track_caller]
fn assert_hidden(page: &str, ids: &[&str]) {
    let text: String =
        page.split('<').filter_map(|piece| piece.split_once('>')).map(|of| of.1).collect();
    for id in ids {
        assert!(!text.contains(id), "{id} is shown: {page}");
    }
}

#[tokio::test]
async fn purchases_and_what_people_earn_by_them_have_the_names_of_people_and_programs() {
    let (database, server, client) = server_with(&[LINES]).await;
    let mut olga = operator(&server, &client).await;
    let (ann, code) = somebody(&client, "ann", "").await;
    let (bob, _) = somebody(&client, "bob", &code).await;
    let bought = client.buy("", &bob, "INR", 200_000).await.unwrap();
    see_all(&client, &bought.consistency_token).await;
    let id = bought.purchase.unwrap().purchase_id;
    let short = format!("{}…{}", &id[..8], &id[id.len() - 4..]);

    let page = Browser::shown(&olga.get("/o/purchases").await);
    assert!(page.contains(">bob Shown</a>") && page.contains(">bob</small>"), "{page}");
    assert!(page.contains(&format!("title=\"{id}\">{short}<")), "{page}");
    assert_hidden(&page, &[&id, &bob]);
    let path = format!("/o/purchases/{id}");
    let page = Browser::shown(&olga.get(&path).await);
    for shown in [">ann Shown</a>", ">bob Shown</a>", NAME, &short] {
        assert!(page.contains(shown), "{shown}: {page}");
    }
    // The id of what the page is about can be copied.
    assert!(page.contains(&format!("data-copy=\"{id}\"")), "{page}");
    assert_hidden(&page, &[&ann, &bob, LINES]);
    let preview = olga.fill(&path, &path, &[("amount", ""), ("step", "preview")]).await.text();
    assert!(
        preview.contains(">ann Shown</a>") && !preview.contains(&format!(">{ann}")),
        "{preview}"
    );
    // Whoever was erased has no name any more.
    let erased = client.erase(&bob, true).await.unwrap();
    see_all(&client, &erased.consistency_token).await;
    let page = Browser::shown(&olga.get("/o/purchases").await);
    assert!(!page.contains("bob Shown"), "{page}");
    let page = Browser::shown(&olga.get(&format!("/o/users/{ann}/balance/{LINES}")).await);
    assert!(page.contains("Balance of ann Shown"), "{page}");
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn payouts_redemptions_and_approvals_have_the_names_of_people_programs_and_items() {
    let (database, server, client) = server_with(&[]).await;
    populate(&client).await;
    let mut olga = operator(&server, &client).await;
    let display_name = Some("Ana Shown".to_owned());
    let renamed =
        UpdateProfileRequest { user_id: "ana".into(), display_name, ..Default::default() };
    client.accounts().update_profile(client.request(renamed)).await.unwrap();
    let item = PublishItemRequest {
        program_id: LINES.into(),
        item_id: "item-7".into(),
        name: "A large mug".into(),
        cost: Some(Money { currency_code: "INR".into(), minor_units: 500 }),
        ..Default::default()
    };
    client.store().publish_item(client.request(item)).await.unwrap();
    let redeemed = RedeemRequest {
        program_id: LINES.into(),
        user_id: "ana".into(),
        item_id: "item-7".into(),
        ..Default::default()
    };
    let redeemed = client.store().redeem(client.request(redeemed)).await.unwrap().into_inner();
    see_all(&client, &redeemed.consistency_token).await;
    let page = Browser::shown(&olga.get("/o/items/redemptions").await);
    for shown in [">A large mug</a>", NAME, "Ana Shown", "that A large mug was handed over to Ana"]
    {
        assert!(page.contains(shown), "{shown}: {page}");
    }
    assert_hidden(&page, &["item-7", LINES]);

    let fields = [("program_id", LINES), ("minimum", ""), ("payout_id", "")];
    let created = olga.fill("/o/payouts", "/o/payouts", &fields).await;
    let path = created.exact_header("location").unwrap().split('?').next().unwrap().to_owned();
    let id = path.rsplit('/').next().unwrap().to_owned();
    becomes(&client, &id, PayoutState::Open).await;
    let page = Browser::shown(&olga.get("/o/payouts").await);
    assert!(page.contains(NAME), "{page}");
    assert_hidden(&page, &[&id, LINES]);
    let page = Browser::shown(&olga.get(&path).await);
    assert!(page.contains(">Ana Shown</a>") && page.contains(NAME), "{page}");

    let adjustment = AdjustBalanceRequest {
        program_id: LINES.into(),
        user_id: "ana".into(),
        amount: Some(Money { currency_code: "INR".into(), minor_units: 100_000_000 }),
        reason_code: "goodwill".into(),
        adjustment_id: "large".into(),
        ..Default::default()
    };
    let asked = client.rewards().adjust_balance(client.request(adjustment)).await.unwrap();
    see_all(&client, &asked.into_inner().consistency_token).await;
    let page = Browser::shown(&olga.get("/o/approvals").await);
    assert!(page.contains(">Ana Shown</a>") && page.contains(NAME), "{page}");
    assert_hidden(&page, &[LINES]);
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn the_menu_of_operators_has_groups_with_headings_and_no_name_twice() {
    let (database, server, client) = server_with(&[LINES]).await;
    let mut olga = operator(&server, &client).await;
    enroll(&mut olga, LINES, "").await;
    let page = Browser::shown(&olga.get("/o").await);
    let menu = page.split("<nav class=\"sidebar\"").nth(1).unwrap().split("</nav>").next().unwrap();
    let headings: Vec<&str> = menu
        .split("<h2 class=\"links-title\">")
        .skip(1)
        .map(|rest| rest.split('<').next().unwrap())
        .collect();
    let expected = ["People", "Money", "Programs", "System", "Your rewards", "Your account"];
    assert_eq!(headings, expected);
    let mut names: Vec<&str> = menu
        .split("</svg>")
        .skip(1)
        .filter_map(|rest| rest.split_once("</a>"))
        .map(|of| of.0)
        .collect();
    names.retain(|name| !name.is_empty() && !name.contains('<'));
    let all = names.len();
    assert!(all > 15, "{names:?}");
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), all, "{names:?}");
    server.stop().await;
    database.check().await;
}
