//! Rewards that expire: what expires when, what is spent first, and the mail a week before.

use contract::parse_program;
use contract::pb::*;
use sqlx::Executor;
use tonic::{Code, Status};

use super::bad_input::at_fault;
use super::support::{PATIENCE, minor, refused, server_with, server_with_mails};
use testing::{Client, Server, TestDatabase, address_of, program};

const COMMISSION: &str = "multi-level-commission";
const COUNT: &str = "referral-count";

/// A shipped program whose rewards expire after so many months.
fn expiring(name: &str, months: i32) -> Program {
    let json = std::fs::read_to_string(program(name)).unwrap();
    Program { expire_months: Some(months), ..parse_program(&json).unwrap() }
}

async fn line(client: &Client, program_id: &str, names: &[&str]) {
    let mut code = String::new();
    for name in names {
        code = client.sign_up(program_id, name, &code).await.unwrap().code;
    }
}

async fn expirations(client: &Client, user_id: &str) -> Result<Vec<Expiration>, Status> {
    let message = ListExpirationsRequest { program_id: COMMISSION.into(), user_id: user_id.into() };
    Ok(client.rewards().list_expirations(client.request(message)).await?.into_inner().expirations)
}

/// The amounts of what expires.
async fn amounts(client: &Client, user_id: &str) -> Vec<i64> {
    let expirations = expirations(client, user_id).await.unwrap();
    expirations.iter().map(|of| minor(of.amount.as_ref())).collect()
}

async fn adjust(client: &Client, user_id: &str, program_id: &str, amount: Money) {
    let message = AdjustBalanceRequest {
        program_id: program_id.into(),
        user_id: user_id.into(),
        amount: Some(amount),
        reason_code: "goodwill".into(),
        ..Default::default()
    };
    client.rewards().adjust_balance(client.request(message)).await.unwrap();
}

fn inr(minor_units: i64) -> Money {
    Money { currency_code: "INR".into(), minor_units }
}

async fn refund(client: &Client, purchase_id: &str, minor_units: i64) {
    let message = RefundPurchaseRequest {
        purchase_id: purchase_id.into(),
        refund_id: format!("of-{minor_units}"),
        amount: Some(inr(minor_units)),
        ..Default::default()
    };
    client.purchases().refund_purchase(client.request(message)).await.unwrap();
}

/// The entries of a participant, newest first, once there are so many.
async fn entries(client: &Client, user_id: &str, count: usize) -> Vec<BalanceEntry> {
    let end = tokio::time::Instant::now() + PATIENCE;
    loop {
        let message = ListBalanceEntriesRequest {
            program_id: COMMISSION.into(),
            user_id: user_id.into(),
            ..Default::default()
        };
        let entries = client.rewards().list_balance_entries(client.request(message)).await.unwrap();
        let entries = entries.into_inner().entries;
        if entries.len() == count {
            return entries;
        }
        assert!(tokio::time::Instant::now() < end, "{entries:#?}");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn what_expires_is_listed_spent_first_and_lost_when_its_month_is_over() {
    let (database, server, client) = server_with(&[]).await;
    let published = client.publish(expiring(COMMISSION, 3)).await.unwrap();
    assert_eq!((published.expire_months, &*published.time_zone), (Some(3), ""));
    line(&client, COMMISSION, &["ana", "bea", "cem"]).await;
    assert_eq!(expirations(&client, "bea").await.unwrap(), []);
    client.buy("order", "cem", "INR", 400_000).await.unwrap();
    let listed = expirations(&client, "bea").await.unwrap();
    assert_eq!(listed.len(), 1);
    assert_eq!(listed[0].amount, Some(inr(20_000)));
    let expire_time = listed[0].expire_time.unwrap();
    // The end of a month in UTC, at least three months from now.
    assert_eq!(expire_time.seconds % 86_400, 0);
    let reward = entries(&client, "bea", 1).await.remove(0);
    assert_eq!(reward.expire_time, Some(expire_time));

    adjust(&client, "bea", COMMISSION, inr(700)).await;
    assert_eq!(amounts(&client, "bea").await, [20_000]);
    adjust(&client, "bea", COMMISSION, inr(-1_000)).await;
    assert_eq!(amounts(&client, "bea").await, [19_000]);
    refund(&client, "order", 100_000).await;
    assert_eq!(
        (amounts(&client, "bea").await, amounts(&client, "ana").await),
        (vec![14_000], vec![3_000])
    );

    database.lots_wait(4).await;
    server.stop().await;
    database.let_lots_end().await;
    let server = Server::start(&database).await;
    let client = server.client();
    database.lots_wait(0).await;
    let entries = entries(&client, "bea", 5).await;
    assert_eq!(
        (entries[0].kind(), entries[0].amount.clone()),
        (EntryKind::Expiry, Some(inr(-14_000)))
    );
    assert!(entries[0].expire_time.is_some());
    assert_eq!(entries[0].balance, Some(inr(700)));
    assert_eq!(amounts(&client, "bea").await, Vec::<i64>::new());
    let lost = self::entries(&client, "ana", 3).await.remove(0);
    assert_eq!((lost.kind(), lost.amount), (EntryKind::Expiry, Some(inr(-3_000))));
    // A read without a token can be a little old.
    let end = tokio::time::Instant::now() + PATIENCE;
    loop {
        let message = GetBalancesRequest {
            program_id: COMMISSION.into(),
            user_id: "ana".into(),
            ..Default::default()
        };
        let balances = client.rewards().get_balances(client.request(message)).await.unwrap();
        let buckets = balances.into_inner().buckets.remove(0);
        if (&buckets.expired, &buckets.available) == (&Some(inr(3_000)), &Some(inr(0))) {
            break;
        }
        assert!(tokio::time::Instant::now() < end, "{buckets:?}");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    // The ends of lots were moved in the log.
    database.check_whatever_the_rules().await;
    server.stop().await;
}

async fn redeem(client: &Client, redemption_id: &str) -> Vec<BalanceEntry> {
    let message = RedeemRequest {
        program_id: COMMISSION.into(),
        user_id: "bea".into(),
        redemption_id: redemption_id.into(),
        item_id: "car".into(),
        ..Default::default()
    };
    client.store().redeem(client.request(message)).await.unwrap().into_inner().entries
}

async fn call_off(client: &Client, redemption_id: &str) -> Vec<BalanceEntry> {
    let message = CancelRedemptionRequest {
        program_id: COMMISSION.into(),
        redemption_id: redemption_id.into(),
        ..Default::default()
    };
    client.store().cancel_redemption(client.request(message)).await.unwrap().into_inner().entries
}

/// The amount of each entry, and when what it concerns expires.
fn parts(entries: &[BalanceEntry]) -> Vec<(i64, Option<i64>)> {
    let lot = |of: &BalanceEntry| of.expire_time.as_ref().map(|time| time.seconds);
    entries.iter().map(|of| (minor(of.amount.as_ref()), lot(of))).collect()
}

#[tokio::test]
async fn a_redemption_spends_what_expires_and_gives_it_back_to_the_same_month_or_the_present_one() {
    let (database, server, client) = server_with(&[]).await;
    client.publish(expiring(COMMISSION, 3)).await.unwrap();
    line(&client, COMMISSION, &["ana", "bea", "cem"]).await;
    client.buy("order", "cem", "INR", 400_000).await.unwrap();
    adjust(&client, "bea", COMMISSION, inr(700)).await;
    let item = PublishItemRequest {
        program_id: COMMISSION.into(),
        item_id: "car".into(),
        name: "A car".into(),
        cost: Some(inr(20_500)),
        ..Default::default()
    };
    client.store().publish_item(client.request(item)).await.unwrap();
    let before = expirations(&client, "bea").await.unwrap();
    let end = before[0].expire_time.unwrap().seconds;

    let spent = redeem(&client, "first").await;
    assert_eq!(parts(&spent), [(-20_000, Some(end)), (-500, None)]);
    assert_eq!(expirations(&client, "bea").await.unwrap(), []);
    let back = call_off(&client, "first").await;
    assert_eq!(parts(&back), [(20_000, Some(end)), (500, None)]);
    assert_eq!(expirations(&client, "bea").await.unwrap(), before);

    redeem(&client, "second").await;
    database.lots_wait(4).await;
    server.stop().await;
    database.let_lots_end().await;
    let server = Server::start(&database).await;
    let client = server.client();
    database.lots_wait(0).await;
    let back = parts(&call_off(&client, "second").await);
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    assert_eq!((back[0].0, back[1]), (20_000, (500, None)));
    assert!(back[0].1 > i64::try_from(now.as_secs()).ok(), "{back:?}");
    assert_eq!(amounts(&client, "bea").await, [20_000]);
    // What came back expires in its turn.
    database.lots_wait(2).await;
    // The ends of lots were moved in the log.
    database.check_whatever_the_rules().await;
    server.stop().await;
}

#[tokio::test]
async fn a_credit_that_was_spent_and_is_disputed_takes_from_what_expires_and_returns_it() {
    let (database, server, client) = server_with(&[]).await;
    let crediting = Program { credit_purchases: true, ..expiring(COMMISSION, 3) };
    client.publish(crediting).await.unwrap();
    line(&client, COMMISSION, &["ana", "bea", "cem"]).await;
    client.buy("own", "bea", "INR", 100_000).await.unwrap();
    adjust(&client, "bea", COMMISSION, inr(-99_000)).await;
    client.buy("order", "cem", "INR", 400_000).await.unwrap();
    let before = expirations(&client, "bea").await.unwrap();
    let message = OpenDisputeRequest {
        purchase_id: "own".into(),
        dispute_id: "d".into(),
        amount: Some(inr(6_000)),
        ..Default::default()
    };
    client.purchases().open_dispute(client.request(message)).await.unwrap();
    assert_eq!(amounts(&client, "bea").await, [15_000]);
    let message = CloseDisputeRequest {
        purchase_id: "own".into(),
        dispute_id: "d".into(),
        outcome: DisputeState::Won.into(),
        ..Default::default()
    };
    client.purchases().close_dispute(client.request(message)).await.unwrap();
    assert_eq!(expirations(&client, "bea").await.unwrap(), before);
    let moved = entries(&client, "bea", 7).await;
    let moved: Vec<_> = parts(&moved[..4]).into_iter().map(|(amount, _)| amount).collect();
    assert_eq!(moved, [5_000, 1_000, 1_000, 5_000]);
    database.check().await;
    server.stop().await;
}

#[tokio::test]
async fn only_the_participant_and_those_who_read_all_balances_see_what_expires() {
    let (database, server, client) = server_with(&[]).await;
    client.publish(expiring(COMMISSION, 3)).await.unwrap();
    line(&client, COMMISSION, &["ana"]).await;
    refused(expirations(&client, "nobody").await, Code::NotFound, "USER_NOT_FOUND");
    client.sign_up("", "guest", "").await.unwrap();
    refused(expirations(&client, "guest").await, Code::NotFound, "PARTICIPANT_NOT_FOUND");
    let message = ListExpirationsRequest { program_id: "none".into(), user_id: "ana".into() };
    let answer = client.rewards().list_expirations(client.request(message)).await;
    refused(answer, Code::NotFound, "PROGRAM_NOT_FOUND");
    database.check().await;
    server.stop().await;
}

#[tokio::test]
async fn a_program_whose_rewards_cannot_expire_so_is_refused_with_the_field() {
    let (database, server, client) = server_with(&[]).await;
    let valid = Program { time_zone: "Asia/Kolkata".into(), ..expiring(COMMISSION, 60) };
    let published = client.publish(valid.clone()).await.unwrap();
    assert_eq!((published.expire_months, &*published.time_zone), (Some(60), "Asia/Kolkata"));
    for (program, field) in [
        (expiring(COMMISSION, 0), "program.expire_months"),
        (expiring(COMMISSION, -1), "program.expire_months"),
        (expiring(COMMISSION, 61), "program.expire_months"),
        (expiring("tiered-points", 3), "program.expire_months"),
        (Program { time_zone: "Kolkata".into(), ..valid.clone() }, "program.time_zone"),
        (Program { time_zone: "asia/kolkata".into(), ..valid }, "program.time_zone"),
    ] {
        at_fault(client.publish(program).await, field, "INVALID_PROGRAM");
    }
    database.check().await;
    server.stop().await;
}

/// Makes the announcements of all lots due, again where they have been made, and waits until they are made.
async fn announce(database: &TestDatabase) {
    let announce = "insert into expirations (program_id, user_id, expire_time_us, is_announcement, due_time_us)
        select program_id, user_id, expire_time_us, true, 0 from expirations where not is_announcement
        on conflict (program_id, user_id, expire_time_us, is_announcement) do update set due_time_us = 0";
    database.pool.execute(announce).await.unwrap();
    let end = tokio::time::Instant::now() + PATIENCE;
    while database.count("select count(*) from expirations where is_announcement").await > 0 {
        assert!(tokio::time::Instant::now() < end);
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}

/// The states of the mails to a user about what expires, and why they were skipped.
async fn expiry_mails(client: &Client, user_id: &str) -> Vec<(MailState, String)> {
    let message = ListMailsRequest {
        user_id: user_id.into(),
        kind: MailKind::Expiry.into(),
        ..Default::default()
    };
    let mails = client.operators().list_mails(client.request(message)).await.unwrap();
    let mails = mails.into_inner().mails;
    mails.iter().map(|mail| (mail.state(), mail.skip_reason.clone())).collect()
}

#[tokio::test]
async fn a_mail_says_once_how_much_of_a_lot_is_left_unless_nothing_is() {
    let (database, server, client, mail_server) = server_with_mails(&[]).await;
    let berlin = Program { time_zone: "Europe/Berlin".into(), ..expiring(COUNT, 1) };
    let name = client.publish(berlin).await.unwrap().display_name;
    client.publish(Program { mails: false, ..expiring(COMMISSION, 1) }).await.unwrap();
    for referrer in ["ana", "bea", "cem"] {
        let code = client.sign_up(COUNT, referrer, "").await.unwrap().code;
        for number in [1, 2] {
            client.sign_up(COUNT, &format!("{referrer}-{number}"), &code).await.unwrap();
        }
    }
    line(&client, COMMISSION, &["silent", "buyer"]).await;
    client.buy("order", "buyer", "INR", 400_000).await.unwrap();
    let unit = |minor_units| Money { currency_code: "REFERRALS".into(), minor_units };
    adjust(&client, "ana", COUNT, unit(-1)).await;
    adjust(&client, "bea", COUNT, unit(-2)).await;
    let unwanted = MailPreferences { expiry: Some(false), ..Default::default() };
    let update = UpdateProfileRequest {
        user_id: "cem".into(),
        mail_preferences: Some(unwanted),
        ..Default::default()
    };
    client.accounts().update_profile(client.request(update)).await.unwrap();
    database.lots_wait(8).await;
    announce(&database).await;

    // The welcome, two referrals that earned at once, and what expires.
    let mails = mail_server.mails_to(&address_of("ana"), 4).await;
    let subject = format!("1 REFERRALS in {name} will expire");
    let mail = mails.iter().find(|mail| mail.header("Subject") == subject).unwrap();
    let text = mail.text();
    let last = "select to_char(
            to_timestamp(max(expire_time_us) / 1e6 - 1) at time zone 'Europe/Berlin', 'FMDD FMMonth YYYY'
        ) from expirations where user_id = 'ana'";
    let last: String = sqlx::query_scalar(last).fetch_one(&database.pool).await.unwrap();
    assert!(text.contains(&format!("will expire at the end of {last}, unless")), "{last}: {text}");
    assert!(mail.header("List-Unsubscribe").contains("/unsubscribe?token="));
    let skipped = |reason: &str| vec![(MailState::Skipped, reason.to_owned())];
    for (user_id, expected) in [
        ("ana", vec![(MailState::Sent, String::new())]),
        ("bea", skipped("NOTHING_EXPIRES")),
        ("cem", skipped("UNSUBSCRIBED")),
        ("silent", vec![]),
    ] {
        let end = tokio::time::Instant::now() + PATIENCE;
        while expiry_mails(&client, user_id).await != expected {
            assert!(
                tokio::time::Instant::now() < end,
                "{:?}",
                expiry_mails(&client, user_id).await
            );
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    }

    // What was announced is not announced again, also if there is more of it.
    adjust(&client, "ana", COUNT, unit(1)).await;
    let code = client.user("ana").await.unwrap().participants[0].code.clone();
    client.sign_up(COUNT, "ana-3", &code).await.unwrap();
    announce(&database).await;
    mail_server.mails_to(&address_of("ana"), 5).await;
    assert_eq!(expiry_mails(&client, "ana").await.len(), 1);
    database.check().await;
    server.stop().await;
}
