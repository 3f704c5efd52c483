//! Referrals that are held until the address of the referee is confirmed.

use contract::parse_program;
use contract::pb::*;
use tonic::{Code, Status};

use super::support::{
    PATIENCE, disqualified, enroll, granted, only_outcome, refused, server_with, server_with_mails,
};
use testing::{
    Client, Pair, TestDatabase, at_once, check_books, events_in, issue_token, mailed_tokens,
    program, uses,
};

const POINTS: &str = "tiered-points";
const BONUS: &str = "first-purchase-bonus";
const COMMISSION: &str = "multi-level-commission";

/// Publishes a shipped program that demands confirmed addresses.
async fn publish_demanding(client: &Client, name: &str) {
    let json = std::fs::read_to_string(program(name)).unwrap();
    let demanding = Program { require_confirmed_email: true, ..parse_program(&json).unwrap() };
    let published = client.publish(demanding).await.unwrap();
    assert!(published.require_confirmed_email);
}

async fn confirm(client: &Client, token: &str) -> Result<(), Status> {
    let request = ConfirmEmailRequest { token: token.into() };
    client.accounts().confirm_email(client.request(request)).await.map(drop)
}

async fn overview(client: &Client, program_id: &str) -> GetOverviewResponse {
    let request = GetOverviewRequest { program_id: program_id.into(), ..Default::default() };
    client.operators().get_overview(client.request(request)).await.unwrap().into_inner()
}

async fn stats(client: &Client, program_id: &str, user_id: &str) -> GetReferralStatsResponse {
    let request = GetReferralStatsRequest {
        program_id: program_id.into(),
        user_id: user_id.into(),
        ..Default::default()
    };
    client.referrals().get_referral_stats(client.request(request)).await.unwrap().into_inner()
}

/// Waits until the read models have the whole log.
async fn settled(database: &TestDatabase) {
    let behind = "select count(*) from read_model_copies as known
        where (select max(position) from checkpoints where checkpoints.copy = known.copy)
            <> (select max(position) from events)";
    let end = tokio::time::Instant::now() + PATIENCE;
    while database.count(behind).await > 0 {
        assert!(tokio::time::Instant::now() < end, "the read models did not reach the head");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_referral_counts_once_the_address_is_confirmed() {
    let (database, server, client) = server_with(&[]).await;
    publish_demanding(&client, POINTS).await;
    let code = client.sign_up(POINTS, "ada", "").await.unwrap().code;
    assert_eq!(mailed_tokens(&database, "ada", "confirm_email").await, 0, "nobody referred ada");
    let signed_up = client.sign_up(POINTS, "bob", &code).await.unwrap().response;
    let bob = &signed_up.participants[0];
    assert_eq!((&*bob.referrer_user_id, bob.referral_status()), ("ada", ReferralStatus::Held));
    let unconfirmed = [ReferralHoldReason::UnconfirmedEmail];
    assert_eq!(bob.hold_reasons().collect::<Vec<_>>(), unconfirmed);
    assert_eq!(signed_up.rewards, []);
    assert_eq!(mailed_tokens(&database, "bob", "confirm_email").await, 1);

    settled(&database).await;
    let seen = stats(&client, POINTS, "ada").await;
    assert_eq!((seen.referral_count, seen.held_count, seen.uses), (0, 1, 1));
    let listed = seen.recent_referrals[0].referral.clone().unwrap();
    assert_eq!(listed.status(), ReferralStatus::Held);
    assert_eq!(listed.hold_reasons().collect::<Vec<_>>(), unconfirmed);
    let shown = client.user("bob").await.unwrap().participants[0].clone();
    assert_eq!(shown.hold_reasons().collect::<Vec<_>>(), unconfirmed);
    let seen = overview(&client, POINTS).await;
    assert_eq!((seen.referred, seen.held, seen.converted), (1, 1, 0));
    assert!(client.validate(&code, "").await.unwrap().valid);

    let token = issue_token(&database, "bob", "confirm_email", 900.0).await;
    confirm(&client, &token).await.unwrap();
    refused(confirm(&client, &token).await, Code::FailedPrecondition, "MAILED_TOKEN_USED");
    settled(&database).await;
    let seen = stats(&client, POINTS, "ada").await;
    assert_eq!((seen.referral_count, seen.held_count, seen.uses), (1, 0, 1));
    assert_eq!(seen.earned.unwrap().minor_units, 10);
    let shown = client.user("bob").await.unwrap().participants[0].clone();
    assert_eq!(shown.referral_status(), ReferralStatus::Converted);
    assert_eq!(shown.hold_reasons, [0; 0]);
    let seen = overview(&client, POINTS).await;
    assert_eq!((seen.held, seen.converted), (0, 1));

    // Who has confirmed is not asked again, whatever they change later.
    client.sign_up("", "cid", "").await.unwrap();
    let resend = ResendConfirmationRequest { login: "cid".into() };
    client.accounts().resend_confirmation(client.request(resend)).await.unwrap();
    let token = issue_token(&database, "cid", "confirm_email", 900.0).await;
    confirm(&client, &token).await.unwrap();
    let entered = enroll(&client, POINTS, "cid", &code).await.unwrap();
    assert_eq!(entered.participant.unwrap().referral_status(), ReferralStatus::Converted);
    assert_eq!(mailed_tokens(&database, "cid", "confirm_email").await, 1);
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn one_confirmation_releases_in_every_program_and_one_mail_asks_for_it() {
    let (database, server, client) = server_with(&[]).await;
    publish_demanding(&client, POINTS).await;
    publish_demanding(&client, BONUS).await;
    let points = client.sign_up(POINTS, "ada", "").await.unwrap().code;
    let entered = enroll(&client, BONUS, "ada", "").await.unwrap();
    let bonus = entered.participant.unwrap().code;
    client.sign_up(POINTS, "bob", &points).await.unwrap();
    let entered = enroll(&client, BONUS, "bob", &bonus).await.unwrap();
    assert_eq!(entered.participant.unwrap().referral_status(), ReferralStatus::Held);
    assert_eq!(mailed_tokens(&database, "bob", "confirm_email").await, 1);

    let token = issue_token(&database, "bob", "confirm_email", 900.0).await;
    confirm(&client, &token).await.unwrap();
    let statuses = client.user("bob").await.unwrap().participants;
    let statuses: Vec<_> =
        statuses.iter().map(|of| (&*of.program_id, of.referral_status())).collect();
    assert_eq!(statuses, [(BONUS, ReferralStatus::Pending), (POINTS, ReferralStatus::Converted)]);
    let bought = client.buy("", "bob", "USD", 1_000).await.unwrap();
    let outcome = bought.outcomes.iter().find(|outcome| outcome.program_id == BONUS).unwrap();
    assert_eq!(granted(outcome), [("bob", 0, 1_000), ("ada", 1, 1_000)]);
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn a_purchase_while_the_referral_is_held_earns_nothing_and_says_why() {
    let (database, server, client) = server_with(&[]).await;
    publish_demanding(&client, BONUS).await;
    let code = client.sign_up(BONUS, "ada", "").await.unwrap().code;
    client.sign_up(BONUS, "bob", &code).await.unwrap();
    let bought = client.buy("order", "bob", "USD", 1_000).await.unwrap();
    disqualified(&bought, WithheldReason::ReferralHeld);
    assert_eq!(only_outcome(&bought).credited.as_ref().unwrap().minor_units, 1_000);
    server.stop().await;
    database.check().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_held_referral_takes_its_use_however_many_sign_up_at_once() {
    let database = TestDatabase::new().await;
    let pair = Pair::start(&database).await;
    publish_demanding(&pair.client(0), BONUS).await;
    let code = pair.client(0).sign_up(BONUS, "ada", "").await.unwrap().code;
    let answers = at_once((0..14).map(|friend| {
        let (client, code) = (pair.client(friend), code.clone());
        async move { client.sign_up(BONUS, &format!("friend-{friend}"), &code).await }
    }))
    .await;
    let answers: Vec<_> = answers.into_iter().map(Result::unwrap).collect();
    let referred = answers.iter().filter(|answer| answer.referrer_user_id == "ada");
    let held = referred
        .filter(|answer| answer.response.participants[0].referral_status() == ReferralStatus::Held);
    assert_eq!(held.count(), 10);
    assert_eq!(uses(&database.pool, BONUS, "ada").await, 10);
    pair.stop().await;
    check_books(&database).await;
    database.check().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_confirmations_at_once_release_once() {
    let database = TestDatabase::new().await;
    let pair = Pair::start(&database).await;
    publish_demanding(&pair.client(0), POINTS).await;
    let code = pair.client(0).sign_up(POINTS, "ada", "").await.unwrap().code;
    for round in 0..5 {
        let friend = format!("friend-{round}");
        pair.client(0).sign_up(POINTS, &friend, &code).await.unwrap();
        let token = issue_token(&database, &friend, "confirm_email", 900.0).await;
        let answers = at_once((0..4).map(|number| {
            let (client, token) = (pair.client(number), token.clone());
            async move { confirm(&client, &token).await }
        }))
        .await;
        assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 1, "{answers:?}");
        let stream = format!("{POINTS}/{friend}");
        assert_eq!(events_in(&database, &stream, "ReferralStandingChanged").await, 1);
        assert_eq!(events_in(&database, &stream, "ReferralConverted").await, 1);
    }
    assert_eq!(events_in(&database, &format!("{POINTS}/ada"), "RewardGranted").await, 5);
    pair.stop().await;
    check_books(&database).await;
    database.check().await;
}

/// Waits until this many rewards of a program were granted for purchases, and every job was done.
async fn made_up(database: &TestDatabase, program_id: &str, rewards: i64) {
    let granted = format!(
        "select count(*) from events where event_type = 'RewardGranted'
             and aggregate_id like '{program_id}/%' and payload ? 'purchase_id'"
    );
    let waiting = "select count(*) from jobs where kind = 'make_up' and state <> 'done'";
    let end = tokio::time::Instant::now() + PATIENCE;
    while database.count(&granted).await < rewards || database.count(waiting).await > 0 {
        let now = (database.count(&granted).await, database.count(waiting).await);
        assert!(tokio::time::Instant::now() < end, "rewards and waiting jobs: {now:?}");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    assert_eq!(database.count(&granted).await, rewards);
}

#[tokio::test]
async fn a_purchase_while_the_referral_is_held_is_made_up_for_after_the_release() {
    let (database, server, client, mails) = server_with_mails(&[]).await;
    publish_demanding(&client, BONUS).await;
    let code = client.sign_up(BONUS, "ada", "").await.unwrap().code;
    client.sign_up(BONUS, "bob", &code).await.unwrap();
    let first = client.buy("first", "bob", "USD", 1_000).await.unwrap();
    disqualified(&first, WithheldReason::ReferralHeld);
    let to_bob = mails.mails_to("bob@example.com", 2).await;
    let mail = to_bob.iter().find(|mail| mail.header("Subject").contains("confirm")).unwrap();
    let link = mail.link("/confirm-email");
    let (_, token) = link.split_once("token=").unwrap();
    confirm(&client, token).await.unwrap();
    let second = client.buy("second", "bob", "USD", 1_000).await.unwrap();
    disqualified(&second, WithheldReason::NotFirstPurchase);
    made_up(&database, BONUS, 2).await;

    let seen = client.purchase("first").await.unwrap().outcomes.remove(0);
    assert_eq!(granted(&seen), [("bob", 0, 1_000), ("ada", 1, 1_000)]);
    assert!(seen.qualified && seen.converted, "{seen:?}");
    assert_eq!((seen.reason(), seen.withheld), (WithheldReason::Unspecified, vec![]));
    // A repetition of the purchase gets the first answer.
    let again = client.buy("first", "bob", "USD", 1_000).await.unwrap();
    assert_eq!(again.outcomes, first.outcomes);
    let actors = "select count(*) from events where metadata ->> 'actor' = 'system'
        and metadata ->> 'door' = 'job:make_up'";
    assert_eq!(database.count(actors).await, 1);
    // The release and the conversion are two occasions, and nothing was mailed to the referrer before.
    mails.mails_to("ada@example.com", 3).await;
    let kinds: Vec<String> =
        sqlx::query_scalar("select kind from mails where user_id = 'ada' order by job_id")
            .fetch_all(&database.pool)
            .await
            .unwrap();
    assert_eq!(kinds, ["welcome", "referral", "conversion"]);
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn a_purchase_that_is_not_made_up_for_shows_that_the_referral_was_held_for_good() {
    let (database, server, client) = server_with(&[]).await;
    let json = std::fs::read_to_string(program(BONUS)).unwrap();
    let strict = Program {
        require_confirmed_email: true,
        make_up_held_purchases: Some(false),
        ..parse_program(&json).unwrap()
    };
    client.publish(strict).await.unwrap();
    let code = client.sign_up(BONUS, "ada", "").await.unwrap().code;
    client.sign_up(BONUS, "bob", &code).await.unwrap();
    client.buy("first", "bob", "USD", 1_000).await.unwrap();
    let token = issue_token(&database, "bob", "confirm_email", 900.0).await;
    confirm(&client, &token).await.unwrap();
    let over = "select count(*) from jobs where kind = 'make_up' and state = 'done'";
    let end = tokio::time::Instant::now() + PATIENCE;
    while database.count(over).await == 0 {
        assert!(tokio::time::Instant::now() < end, "the job of the release is not done");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    let seen = client.purchase("first").await.unwrap().outcomes.remove(0);
    assert_eq!(seen.reason(), WithheldReason::ReferralHeld);
    server.stop().await;
    database.check().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn purchases_that_race_with_a_release_pay_once_each() {
    let database = TestDatabase::new().await;
    let pair = Pair::start(&database).await;
    let client = pair.client(0);
    publish_demanding(&client, COMMISSION).await;
    let code = client.sign_up(COMMISSION, "ada", "").await.unwrap().code;
    for round in 0..4 {
        let friend = format!("friend-{round}");
        client.sign_up(COMMISSION, &friend, &code).await.unwrap();
        let token = issue_token(&database, &friend, "confirm_email", 900.0).await;
        let answers = at_once((0..5).map(|number| {
            let (client, token, friend) = (pair.client(number), token.clone(), friend.clone());
            async move {
                if number == 2 {
                    return confirm(&client, &token).await;
                }
                let order = format!("{friend}-{number}");
                client.buy(&order, &friend, "INR", 100_000).await.map(drop)
            }
        }))
        .await;
        assert!(answers.iter().all(Result::is_ok), "{answers:?}");
    }
    made_up(&database, COMMISSION, 16).await;
    settled(&database).await;
    let earned = stats(&client, COMMISSION, "ada").await.earned.unwrap().minor_units;
    assert_eq!(earned, 16 * 5_000);
    pair.stop().await;
    check_books(&database).await;
    database.check().await;
}
