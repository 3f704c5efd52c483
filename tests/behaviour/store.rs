//! The rewards store: items, redemptions, who may do what, and what is refused.

use contract::pb::*;
use serde_json::Value;
use tonic::{Code, Status};

use super::bad_input::{at_fault, violations};
use super::keys::{fact, holder, wanted};
use super::roles::person;
use super::support::{enroll, minor, refused, server_with};
use testing::{Client, Server, TestDatabase, sign_up_request};

const POINTS: &str = "tiered-points";
const LINES: &str = "multi-level-commission";

#[allow(clippy::unnecessary_wraps, reason = "the type of the fields")]
fn points(minor_units: i64) -> Option<Money> {
    Some(Money { currency_code: "POINTS".into(), minor_units })
}

fn mug() -> PublishItemRequest {
    PublishItemRequest {
        program_id: POINTS.into(),
        item_id: "mug".into(),
        name: "A mug".into(),
        cost: points(500),
        ..Default::default()
    }
}

async fn publish(client: &Client, message: PublishItemRequest) -> Result<Item, Status> {
    let answer = client.store().publish_item(client.request(message)).await?;
    Ok(answer.into_inner().item.unwrap())
}

fn wish(user_id: &str, redemption_id: &str, item_id: &str) -> RedeemRequest {
    RedeemRequest {
        program_id: POINTS.into(),
        user_id: user_id.into(),
        redemption_id: redemption_id.into(),
        item_id: item_id.into(),
        ..Default::default()
    }
}

async fn redeem_as(client: &Client, message: RedeemRequest) -> Result<RedeemResponse, Status> {
    Ok(client.store().redeem(client.request(message)).await?.into_inner())
}

async fn redeem(
    client: &Client,
    user_id: &str,
    redemption_id: &str,
    item_id: &str,
) -> Result<RedeemResponse, Status> {
    redeem_as(client, wish(user_id, redemption_id, item_id)).await
}

async fn fulfil(client: &Client, id: &str) -> Result<FulfilRedemptionResponse, Status> {
    let (program_id, redemption_id) = (POINTS.into(), id.into());
    let message = FulfilRedemptionRequest { program_id, redemption_id, ..Default::default() };
    Ok(client.store().fulfil_redemption(client.request(message)).await?.into_inner())
}

async fn cancel(client: &Client, id: &str) -> Result<CancelRedemptionResponse, Status> {
    let (program_id, redemption_id) = (POINTS.into(), id.into());
    let message = CancelRedemptionRequest { program_id, redemption_id, ..Default::default() };
    Ok(client.store().cancel_redemption(client.request(message)).await?.into_inner())
}

/// Gives somebody points to spend, and returns a token of everything that was written so far.
async fn give(client: &Client, user_id: &str, adjustment_id: &str, minor_units: i64) -> String {
    let message = AdjustBalanceRequest {
        program_id: POINTS.into(),
        user_id: user_id.into(),
        adjustment_id: adjustment_id.into(),
        amount: points(minor_units),
        reason_code: "test".into(),
        ..Default::default()
    };
    let made = client.rewards().adjust_balance(client.request(message)).await.unwrap();
    let made = made.into_inner();
    assert_eq!(made.state(), ApprovalState::Waived);
    made.consistency_token
}

/// A token with which a read sees everything that is recorded so far.
async fn newest(client: &Client) -> String {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let marker = sign_up_request("", &format!("marker-{}", now.as_nanos()), "");
    client.register(marker).await.unwrap().consistency_token
}

async fn items(client: &Client, token: String, available_only: bool) -> Vec<Item> {
    let message = ListItemsRequest {
        program_id: POINTS.into(),
        available_only,
        consistency_token: token,
        ..Default::default()
    };
    client.store().list_items(client.request(message)).await.unwrap().into_inner().items
}

async fn list(client: &Client, message: ListRedemptionsRequest) -> Result<Vec<Redemption>, Status> {
    let answer = client.store().list_redemptions(client.request(message)).await?;
    Ok(answer.into_inner().redemptions)
}

fn ids(redemptions: &[Redemption]) -> Vec<&str> {
    redemptions.iter().map(|of| &*of.redemption_id).collect()
}

async fn balance(client: &Client, user_id: &str) -> BucketBalances {
    let message = GetBalancesRequest {
        program_id: POINTS.into(),
        user_id: user_id.into(),
        consistency_token: newest(client).await,
        ..Default::default()
    };
    let answer = client.rewards().get_balances(client.request(message)).await.unwrap();
    answer.into_inner().buckets.remove(0)
}

/// Ana, who has 2000 points to spend, and bob.
async fn scene() -> (TestDatabase, Server, Client) {
    let (database, server, client) = server_with(&[POINTS, LINES]).await;
    for user_id in ["ana", "bob"] {
        client.sign_up(POINTS, user_id, "").await.unwrap();
    }
    give(&client, "ana", "gift", 2_000).await;
    (database, server, client)
}

#[tokio::test]
async fn a_redemption_is_paid_fulfilled_or_cancelled_and_each_is_the_same_when_repeated() {
    let (database, server, client) = scene().await;
    let item = publish(&client, PublishItemRequest { stock: Some(2), ..mug() }).await.unwrap();
    assert_eq!((item.version, item.stock, item.taken_count, item.available), (1, Some(2), 0, true));

    let first = redeem(&client, "ana", "one", "mug").await.unwrap();
    let made = first.redemption.clone().unwrap();
    assert_eq!((&*made.user_id, &*made.item_id, made.item_version), ("ana", "mug", 1));
    assert_eq!((made.state(), made.cost.clone()), (RedemptionState::Made, points(500)));
    let [entry] = &first.entries[..] else { panic!("{:?}", first.entries) };
    assert_eq!((entry.kind(), entry.amount.clone()), (EntryKind::Redemption, points(-500)));
    assert_eq!((&*entry.redemption_id, minor(entry.balance.as_ref())), ("one", 1_500));
    let again = redeem(&client, "ana", "one", "mug").await.unwrap();
    assert_eq!((again.redemption, &again.entries), (Some(made.clone()), &first.entries));
    let other = redeem(&client, "bob", "one", "mug").await;
    let status = refused(other, Code::AlreadyExists, "REDEMPTION_ID_REUSED");
    assert_eq!(fact(&status, "redemption_id"), "one");

    let cancelled = cancel(&client, "one").await.unwrap();
    let gone = cancelled.redemption.clone().unwrap();
    assert_eq!((gone.state(), gone.fulfil_time), (RedemptionState::Cancelled, None));
    assert!(gone.cancel_time.is_some());
    let [entry] = &cancelled.entries[..] else { panic!("{:?}", cancelled.entries) };
    assert_eq!((entry.kind(), entry.amount.clone()), (EntryKind::Redemption, points(500)));
    let again = cancel(&client, "one").await.unwrap();
    assert_eq!((again.redemption, again.entries), (cancelled.redemption, cancelled.entries));
    // A repetition of the redemption itself still has the first answer.
    let again = redeem(&client, "ana", "one", "mug").await.unwrap();
    assert_eq!((again.redemption, again.entries), (Some(made), first.entries));
    refused(fulfil(&client, "one").await, Code::FailedPrecondition, "REDEMPTION_CANCELLED");

    redeem(&client, "ana", "two", "mug").await.unwrap();
    let done = fulfil(&client, "two").await.unwrap().redemption.unwrap();
    assert_eq!((done.state(), done.cancel_time), (RedemptionState::Fulfilled, None));
    assert!(done.fulfil_time.is_some());
    assert_eq!(fulfil(&client, "two").await.unwrap().redemption, Some(done));
    refused(cancel(&client, "two").await, Code::FailedPrecondition, "REDEMPTION_FULFILLED");
    for unknown in [fulfil(&client, "x").await.err(), cancel(&client, "x").await.err()] {
        refused(Err::<(), _>(unknown.unwrap()), Code::NotFound, "REDEMPTION_NOT_FOUND");
    }

    let buckets = balance(&client, "ana").await;
    assert_eq!(minor(buckets.available.as_ref()), 1_500);
    assert_eq!(minor(buckets.spent.as_ref()), 500);
    // Without an id each call is another redemption.
    let three = redeem(&client, "ana", "", "mug").await.unwrap().redemption.unwrap();
    assert!(!three.redemption_id.is_empty());
    let mug = items(&client, newest(&client).await, false).await.remove(0);
    assert_eq!((mug.taken_count, mug.stock), (2, Some(2)));

    let document: Value = serde_json::from_str(&client.export("ana").await.unwrap()).unwrap();
    let exported = document["redemptions"].as_array().unwrap();
    let in_export: Vec<_> = exported.iter().map(|of| of["state"].as_str().unwrap()).collect();
    assert_eq!(in_export, ["made", "fulfilled", "cancelled"]);
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn each_reason_for_which_nothing_is_redeemed_has_its_name_and_its_facts() {
    let (database, server, client) = scene().await;
    let precondition = Code::FailedPrecondition;
    publish(&client, mug()).await.unwrap();
    let unknown = redeem(&client, "ana", "a", "cap").await;
    assert_eq!(fact(&refused(unknown, Code::NotFound, "ITEM_NOT_FOUND"), "item_id"), "cap");
    refused(redeem(&client, "zoe", "a", "mug").await, Code::NotFound, "USER_NOT_FOUND");
    client.sign_up("", "eve", "").await.unwrap();
    refused(redeem(&client, "eve", "a", "mug").await, Code::NotFound, "PARTICIPANT_NOT_FOUND");

    let status =
        refused(redeem(&client, "bob", "a", "mug").await, precondition, "INSUFFICIENT_BALANCE");
    assert_eq!(
        (fact(&status, "available_minor"), fact(&status, "cost_minor")),
        ("0".into(), "500".into())
    );

    let gold = PublishItemRequest { item_id: "car".into(), from_tier: "Gold".into(), ..mug() };
    publish(&client, gold).await.unwrap();
    let status = refused(redeem(&client, "ana", "a", "car").await, precondition, "TIER_TOO_LOW");
    assert_eq!(
        (fact(&status, "from_tier"), fact(&status, "tier")),
        ("Gold".into(), "Bronze".into())
    );

    let one = PublishItemRequest {
        item_id: "pen".into(),
        stock: Some(2),
        per_person_limit: Some(1),
        cost: points(10),
        ..mug()
    };
    publish(&client, one.clone()).await.unwrap();
    redeem(&client, "ana", "pen-1", "pen").await.unwrap();
    let limit = redeem(&client, "ana", "pen-2", "pen").await;
    let status = refused(limit, precondition, "ITEM_LIMIT_REACHED");
    assert_eq!(fact(&status, "per_person_limit"), "1");
    give(&client, "bob", "gift", 100).await;
    redeem(&client, "bob", "pen-2", "pen").await.unwrap();
    client.sign_up(POINTS, "cyd", "").await.unwrap();
    let status =
        refused(redeem(&client, "cyd", "pen-3", "pen").await, precondition, "OUT_OF_STOCK");
    assert_eq!(fact(&status, "stock"), "2");
    let fewer = publish(&client, PublishItemRequest { stock: Some(1), ..one.clone() }).await;
    assert_eq!(fact(&refused(fewer, precondition, "STOCK_BELOW_TAKEN"), "taken_count"), "2");
    let shown = |minor_units| RedeemRequest {
        expected_cost: Some(Money { currency_code: "POINTS".into(), minor_units }),
        ..wish("cyd", "mug-9", "mug")
    };
    let status = refused(redeem_as(&client, shown(1)).await, precondition, "ITEM_COST_CHANGED");
    let cost: i64 = fact(&status, "cost_minor").parse().unwrap();
    assert_eq!(fact(&status, "unit"), "POINTS");
    assert!(cost > 1);
    let dollars = RedeemRequest {
        expected_cost: Some(Money { currency_code: "USD".into(), minor_units: 500 }),
        ..wish("cyd", "mug-9", "mug")
    };
    let status = refused(redeem_as(&client, dollars).await, precondition, "CURRENCY_MISMATCH");
    let field = ("expected_cost.currency_code".to_owned(), "CURRENCY_MISMATCH".to_owned());
    assert_eq!(violations(&status), [field]);
    assert_eq!(fact(&status, "currency_code"), "POINTS");
    assert!(status.message().starts_with("expected_cost must be in POINTS"), "{status:?}");
    let hidden = PublishItemRequest { unavailable: true, ..one };
    let hidden = publish(&client, hidden).await.unwrap();
    assert_eq!((hidden.available, hidden.unavailability()), (false, ItemUnavailability::OffSale));
    refused(redeem(&client, "cyd", "pen-3", "pen").await, precondition, "ITEM_NOT_AVAILABLE");

    client.deactivate("ana").await.unwrap();
    refused(redeem(&client, "ana", "a", "mug").await, precondition, "USER_INACTIVE");
    // What was redeemed before is still given back.
    cancel(&client, "pen-1").await.unwrap();
    client.reactivate("ana").await.unwrap();
    give(&client, "ana", "more", 1_000).await;
    redeem(&client, "ana", "pen-4", "mug").await.unwrap();
    client.erase("ana", true).await.unwrap();
    refused(redeem(&client, "ana", "a", "mug").await, Code::NotFound, "USER_NOT_FOUND");
    // What they redeemed can be cancelled, too; what comes back is forfeited.
    let kinds = |of: CancelRedemptionResponse| -> Vec<_> {
        of.entries.iter().map(BalanceEntry::kind).collect()
    };
    let forfeited = kinds(cancel(&client, "pen-4").await.unwrap());
    assert_eq!(forfeited, [EntryKind::Redemption, EntryKind::Expiry]);
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn whoever_is_flagged_redeems_nothing_until_an_operator_releases_them() {
    let (database, server, client) = scene().await;
    publish(&client, mug()).await.unwrap();
    let entry = |user_id: &str, email: &str, code: &str| RegisterUserRequest {
        email: email.into(),
        ..sign_up_request(POINTS, user_id, code)
    };
    let john = client.register(entry("john", "john.smith@mail.example", "")).await.unwrap();
    let code = john.participants[0].code.clone();
    let one = client.register(entry("one", "john.smith1@mail.example", &code)).await.unwrap();
    assert_eq!(one.participants[0].referral_status(), ReferralStatus::Held);
    give(&client, "one", "gift", 500).await;
    let flagged = redeem(&client, "one", "a", "mug").await;
    let status = refused(flagged, Code::FailedPrecondition, "REFERRAL_FLAGGED");
    assert_eq!(fact(&status, "user_id"), "one");

    let filter = ListFraudFlagsRequest {
        user_id: "one".into(),
        consistency_token: newest(&client).await,
        ..Default::default()
    };
    let flags = client.fraud().list_fraud_flags(client.request(filter)).await.unwrap();
    for flag in flags.into_inner().flags {
        let release = ResolveFraudFlagRequest {
            flag_id: flag.flag_id,
            decision: FraudDecision::Released.into(),
            ..Default::default()
        };
        client.fraud().resolve_fraud_flag(client.request(release)).await.unwrap();
    }
    redeem(&client, "one", "a", "mug").await.unwrap();
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn an_item_of_which_no_piece_is_left_is_not_available_and_says_why() {
    let (database, server, client) = scene().await;
    let standing = |item: &Item| (item.available, item.unavailability());
    let is_left = (true, ItemUnavailability::Unspecified);
    let sold_out = (false, ItemUnavailability::OutOfStock);
    let none = PublishItemRequest { stock: Some(0), ..mug() };
    let first = publish(&client, none.clone()).await.unwrap();
    assert_eq!(standing(&first), sold_out);
    let status = refused(
        redeem(&client, "ana", "one", "mug").await,
        Code::FailedPrecondition,
        "OUT_OF_STOCK",
    );
    assert!(status.message().contains("a stock of 0"), "{status:?}");
    let one = publish(&client, PublishItemRequest { stock: Some(1), ..none.clone() }).await;
    assert_eq!(standing(one.as_ref().unwrap()), is_left);
    // Another version does not put it into the store anew.
    assert_eq!(one.unwrap().publish_time, first.publish_time);
    redeem(&client, "ana", "one", "mug").await.unwrap();
    let listed = async |available_only| items(&client, newest(&client).await, available_only).await;
    assert_eq!(standing(&listed(false).await[0]), sold_out);
    // It is on sale all the same, as people see it.
    assert_eq!(listed(true).await.len(), 1);
    let status = refused(
        redeem(&client, "ana", "two", "mug").await,
        Code::FailedPrecondition,
        "OUT_OF_STOCK",
    );
    assert!(status.message().contains("the only piece"), "{status:?}");
    cancel(&client, "one").await.unwrap();
    let item = listed(false).await.remove(0);
    assert_eq!((standing(&item), item.publish_time), (is_left, first.publish_time));
    database.check().await;
    server.stop().await;
}

#[tokio::test]
async fn items_have_versions_and_are_listed_in_pages_all_or_those_available() {
    let (database, server, client) = scene().await;
    for number in 0..5 {
        let item_id = format!("item-{number}");
        publish(&client, PublishItemRequest { item_id, ..mug() }).await.unwrap();
    }
    let same = PublishItemRequest { item_id: "item-3".into(), ..mug() };
    assert_eq!(publish(&client, same.clone()).await.unwrap().version, 1, "nothing changes");
    let changed = PublishItemRequest {
        name: "Another".into(),
        description: "Blue".into(),
        cost: points(7),
        per_person_limit: Some(3),
        from_tier: "Silver".into(),
        unavailable: true,
        ..same
    };
    let item = publish(&client, changed.clone()).await.unwrap();
    assert_eq!((item.version, &*item.name, &*item.description), (2, "Another", "Blue"));
    assert_eq!((item.cost.clone(), item.per_person_limit), (points(7), Some(3)));
    assert_eq!((&*item.from_tier, item.available, item.stock), ("Silver", false, None));
    // A request id is good for one content.
    let with_id = |name: &str| PublishItemRequest {
        request_id: "once".into(),
        name: name.into(),
        ..changed.clone()
    };
    let first = publish(&client, with_id("One")).await.unwrap();
    assert_eq!(publish(&client, with_id("One")).await.unwrap(), first);
    let other = publish(&client, with_id("Two")).await;
    refused(other, Code::AlreadyExists, "REQUEST_ID_REUSED");

    let token = newest(&client).await;
    let all = items(&client, token.clone(), false).await;
    let named: Vec<&str> = all.iter().map(|item| &*item.item_id).collect();
    assert_eq!(named, ["item-4", "item-3", "item-2", "item-1", "item-0"]);
    let available = items(&client, token.clone(), true).await;
    assert_eq!(available, [&all[..1], &all[2..]].concat());
    let (mut paged, mut page_token) = (Vec::new(), String::new());
    loop {
        let message = ListItemsRequest {
            program_id: POINTS.into(),
            page_size: 2,
            page_token,
            consistency_token: token.clone(),
            ..Default::default()
        };
        let page = client.store().list_items(client.request(message)).await.unwrap().into_inner();
        paged.extend(page.items);
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    assert_eq!(paged, all);
    let elsewhere = ListItemsRequest { program_id: LINES.into(), ..Default::default() };
    let elsewhere = client.store().list_items(client.request(elsewhere)).await.unwrap();
    assert_eq!(elsewhere.into_inner().items, []);
    let unknown = ListItemsRequest { program_id: "spring".into(), ..Default::default() };
    let unknown = client.store().list_items(client.request(unknown)).await;
    refused(unknown, Code::NotFound, "PROGRAM_NOT_FOUND");
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn items_with_faults_are_refused_with_the_name_of_each_field() {
    let (database, server, client) = scene().await;
    for (message, field, reason) in [
        (PublishItemRequest { program_id: String::new(), ..mug() }, "program_id", "FIELD_REQUIRED"),
        (PublishItemRequest { item_id: "a b".into(), ..mug() }, "item_id", "INVALID_ID"),
        (PublishItemRequest { name: String::new(), ..mug() }, "name", "FIELD_REQUIRED"),
        (PublishItemRequest { name: "\u{200B}".into(), ..mug() }, "name", "INVALID_DISPLAY_NAME"),
        (PublishItemRequest { name: "x".repeat(129), ..mug() }, "name", "FIELD_TOO_LONG"),
        (PublishItemRequest { description: "a\nb".into(), ..mug() }, "description", "INVALID_NOTE"),
        (PublishItemRequest { cost: None, ..mug() }, "cost", "FIELD_REQUIRED"),
        (PublishItemRequest { cost: points(0), ..mug() }, "cost.minor_units", "AMOUNT_IS_ZERO"),
        (
            PublishItemRequest { cost: points(-1), ..mug() },
            "cost.minor_units",
            "AMOUNT_NOT_POSITIVE",
        ),
        (PublishItemRequest { stock: Some(-1), ..mug() }, "stock", "OUT_OF_RANGE"),
        (
            PublishItemRequest { per_person_limit: Some(0), ..mug() },
            "per_person_limit",
            "OUT_OF_RANGE",
        ),
        (PublishItemRequest { from_tier: "x".repeat(65), ..mug() }, "from_tier", "FIELD_TOO_LONG"),
        (PublishItemRequest { from_tier: "\0".into(), ..mug() }, "from_tier", "NUL_CHARACTER"),
    ] {
        at_fault(publish(&client, message).await, field, reason);
    }
    let dollars = Some(Money { currency_code: "USD".into(), minor_units: 1 });
    let dollars = publish(&client, PublishItemRequest { cost: dollars, ..mug() }).await;
    let status = refused(dollars, Code::FailedPrecondition, "CURRENCY_MISMATCH");
    let field = ("cost.currency_code".to_owned(), "CURRENCY_MISMATCH".to_owned());
    assert_eq!(violations(&status), [field]);
    let tier = publish(&client, PublishItemRequest { from_tier: "Tin".into(), ..mug() }).await;
    assert_eq!(fact(&refused(tier, Code::NotFound, "TIER_NOT_FOUND"), "tier"), "Tin");
    let unknown = publish(&client, PublishItemRequest { program_id: "spring".into(), ..mug() });
    refused(unknown.await, Code::NotFound, "PROGRAM_NOT_FOUND");
    assert_eq!(
        database.count("select count(*) from events where event_type = 'ItemPublished'").await,
        0
    );
    for (message, field, reason) in [
        (wish("ana", "a b", "mug"), "redemption_id", "INVALID_ID"),
        (wish("ana", "a", ""), "item_id", "FIELD_REQUIRED"),
        (wish("", "a", "mug"), "user_id", "FIELD_REQUIRED"),
    ] {
        at_fault(redeem_as(&client, message).await, field, reason);
    }
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn redemptions_are_listed_by_state_program_user_and_item_in_pages() {
    let (database, server, client) = scene().await;
    give(&client, "bob", "gift", 1_000).await;
    publish(&client, PublishItemRequest { cost: points(10), ..mug() }).await.unwrap();
    let cap = PublishItemRequest { item_id: "cap".into(), cost: points(10), ..mug() };
    publish(&client, cap).await.unwrap();
    for (user_id, id, item_id) in
        [("ana", "r1", "mug"), ("bob", "r2", "mug"), ("ana", "r3", "cap"), ("ana", "r4", "mug")]
    {
        redeem(&client, user_id, id, item_id).await.unwrap();
    }
    fulfil(&client, "r1").await.unwrap();
    cancel(&client, "r3").await.unwrap();
    let consistency_token = newest(&client).await;
    let of = || ListRedemptionsRequest {
        consistency_token: consistency_token.clone(),
        ..Default::default()
    };
    for (filter, expected) in [
        (of(), &["r4", "r3", "r2", "r1"][..]),
        (ListRedemptionsRequest { user_id: "ana".into(), ..of() }, &["r4", "r3", "r1"]),
        (ListRedemptionsRequest { item_id: "mug".into(), ..of() }, &["r4", "r2", "r1"]),
        (ListRedemptionsRequest { program_id: LINES.into(), ..of() }, &[]),
        (
            ListRedemptionsRequest { program_id: POINTS.into(), page_size: 3, ..of() },
            &["r4", "r3", "r2"],
        ),
        (ListRedemptionsRequest { state: RedemptionState::Made.into(), ..of() }, &["r4", "r2"]),
        (ListRedemptionsRequest { state: RedemptionState::Cancelled.into(), ..of() }, &["r3"]),
        (
            ListRedemptionsRequest {
                user_id: "ana".into(),
                item_id: "mug".into(),
                state: RedemptionState::Fulfilled.into(),
                ..of()
            },
            &["r1"],
        ),
    ] {
        assert_eq!(ids(&list(&client, filter.clone()).await.unwrap()), expected, "{filter:?}");
    }
    let mut page = ListRedemptionsRequest { page_size: 3, ..of() };
    let answer = client.store().list_redemptions(client.request(page.clone())).await.unwrap();
    page.page_token = answer.into_inner().next_page_token;
    assert_eq!(ids(&list(&client, page).await.unwrap()), ["r1"]);
    let unknown = ListRedemptionsRequest { user_id: "zoe".into(), ..of() };
    refused(list(&client, unknown).await, Code::NotFound, "USER_NOT_FOUND");
    let unknown = ListRedemptionsRequest { program_id: "spring".into(), ..of() };
    refused(list(&client, unknown).await, Code::NotFound, "PROGRAM_NOT_FOUND");
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn people_redeem_for_themselves_back_ends_for_anybody_and_operators_publish() {
    let (database, server, client) = scene().await;
    let zoe = person(&client, "zoe", UserRole::Participant).await;
    let olga = person(&client, "olga", UserRole::Operator).await;
    let (shop, _) = holder(&client, wanted("shop", ApiKeyRole::Service)).await;
    let limited = |program: &str| CreateApiKeyRequest {
        program_ids: vec![program.into()],
        ..wanted("limited", ApiKeyRole::Service)
    };
    let (of_lines, _) = holder(&client, limited(LINES)).await;
    let (of_points, _) = holder(&client, limited(POINTS)).await;
    enroll(&client, POINTS, "zoe", "").await.unwrap();
    let token = give(&client, "zoe", "gift", 1_000).await;
    let denied = |answer: Result<(), Status>| {
        refused(answer, Code::PermissionDenied, "PERMISSION_DENIED");
    };
    for caller in [&zoe, &shop, &of_points] {
        denied(publish(caller, mug()).await.map(drop));
    }
    publish(&olga, PublishItemRequest { cost: points(10), ..mug() }).await.unwrap();
    assert_eq!(items(&zoe, newest(&client).await, false).await.len(), 1);

    // Zoe for herself, named or not, and for nobody else.
    redeem(&zoe, "zoe", "z1", "mug").await.unwrap();
    let own = redeem(&zoe, "", "z2", "mug").await.unwrap().redemption.unwrap();
    assert_eq!(own.user_id, "zoe");
    denied(redeem(&zoe, "ana", "z3", "mug").await.map(drop));
    denied(fulfil(&zoe, "z1").await.map(drop));
    denied(cancel(&zoe, "z1").await.map(drop));
    redeem(&of_points, "ana", "a1", "mug").await.unwrap();
    denied(redeem(&of_lines, "ana", "a2", "mug").await.map(drop));
    denied(cancel(&of_lines, "a1").await.map(drop));
    cancel(&of_points, "z2").await.unwrap();
    fulfil(&shop, "z1").await.unwrap();

    let of = |user_id: &str| ListRedemptionsRequest {
        user_id: user_id.into(),
        consistency_token: token.clone(),
        ..Default::default()
    };
    denied(list(&zoe, of("ana")).await.map(drop));
    denied(list(&zoe, of("")).await.map(drop));
    let newest = newest(&client).await;
    let own = ListRedemptionsRequest { consistency_token: newest.clone(), ..of("zoe") };
    assert_eq!(ids(&list(&zoe, own).await.unwrap()), ["z2", "z1"]);
    let all = ListRedemptionsRequest { consistency_token: newest, ..of("") };
    assert_eq!(ids(&list(&shop, all).await.unwrap()), ["a1", "z2", "z1"]);
    denied(list(&of_lines, of("")).await.map(drop));
    server.stop().await;
    database.check().await;
}
