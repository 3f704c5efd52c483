//! Races that real systems lose: many at once against two servers, and each must come out exact.
//!
//! Every race runs for several rounds, as one that is lost sometimes is won mostly.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test may stop at the first surprise"
)]

use contract::pb::{
    ApplyReferralRequest, EnrollParticipantRequest, Money, RecordPurchaseRequest,
    RecordPurchaseResponse, ReferralStatus, RegisterUserRequest, RegisterUserResponse,
    WithheldReason,
};
use tonic::{Code, Status};

use testing::{
    Client, Grants, Pair, TestDatabase, at_once, check_books, events_in, granted, reason,
    sign_up_request, uses,
};

pub(super) const COUNT: &str = "referral-count";
pub(super) const BONUS: &str = "first-purchase-bonus";
pub(super) const COMMISSION: &str = "multi-level-commission";

/// What of the answers succeeded, and the reasons of the rest.
pub(super) fn split<T>(answers: Vec<Result<T, Status>>) -> (Vec<T>, Vec<(Code, String)>) {
    let mut successes = Vec::new();
    let mut reasons = Vec::new();
    for answer in answers {
        match answer {
            Ok(answer) => successes.push(answer),
            Err(status) => reasons.push(reason(&status)),
        }
    }
    (successes, reasons)
}

/// What of the answers succeeded, which must be all.
pub(super) fn all<T>(answers: Vec<Result<T, Status>>) -> Vec<T> {
    answers.into_iter().map(|answer| answer.expect("every call succeeds")).collect()
}

pub(super) fn same<T: PartialEq + std::fmt::Debug>(answers: &[T]) -> bool {
    answers.iter().all(|answer| *answer == answers[0])
}

pub(super) fn referrer_of(response: &RegisterUserResponse) -> &str {
    &response.participants[0].referrer_user_id
}

/// What an answer says was paid at a level.
pub(super) fn paid(response: &RecordPurchaseResponse, level: i32) -> i64 {
    let rewards = response.outcomes.iter().flat_map(|outcome| &outcome.rewards);
    let at_level = rewards.filter(|reward| reward.level == level);
    at_level.map(|reward| reward.amount.as_ref().unwrap().minor_units).sum()
}

pub(super) async fn finish(pair: Pair, database: &TestDatabase) {
    pair.stop().await;
    check_books(database).await;
    database.check().await;
}

pub(super) async fn enroll(
    client: &Client,
    program_id: &str,
    user_id: &str,
    code: &str,
) -> Result<(), Status> {
    let request = EnrollParticipantRequest {
        program_id: program_id.into(),
        user_id: user_id.into(),
        referral_code: code.into(),
        ..EnrollParticipantRequest::default()
    };
    client.programs().enroll_participant(client.request(request)).await.map(|_| ())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn eighteen_sign_ups_at_once_with_one_code_count_eighteen() {
    let database = TestDatabase::new().await;
    let pair = Pair::start(&database).await;
    pair.client(0).publish_shipped(COUNT).await;

    for round in 0..4 {
        let owner = format!("owner{round}");
        let code = pair.client(round).sign_up(COUNT, &owner, "").await.unwrap().code;
        let answers = at_once((0..18).map(|friend| {
            let (client, code) = (pair.client(friend), code.clone());
            async move { client.sign_up(COUNT, &format!("r{round}-{friend}"), &code).await }
        }))
        .await;

        for answer in all(answers) {
            assert_eq!(answer.referrer_user_id, owner);
            let status = answer.response.participants[0].referral_status();
            assert_eq!(status, ReferralStatus::Converted);
        }
        assert_eq!(uses(&database.pool, COUNT, &owner).await, 18);
        assert_eq!(granted(&database, COUNT, &owner, 1).await, Grants { count: 18, amount: 18 });
        let total: i64 = sqlx::query_scalar(
            "select max((payload -> 'posting' -> 'after' ->> 'earned')::bigint) from events
             where aggregate_id = $1 and event_type = 'RewardGranted'",
        )
        .bind(format!("{COUNT}/{owner}"))
        .fetch_one(&database.pool)
        .await
        .unwrap();
        assert_eq!(total, 18);
    }
    finish(pair, &database).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_sign_up_sent_four_times_at_once_makes_one_account_and_one_referral() {
    let database = TestDatabase::new().await;
    let pair = Pair::start(&database).await;
    pair.client(0).publish_shipped(COUNT).await;
    let code = pair.client(0).sign_up(COUNT, "owner", "").await.unwrap().code;

    let rounds = 6;
    for round in 0..rounds {
        let name = format!("friend{round}");
        let answers = at_once((0..4).map(|number| {
            let request = RegisterUserRequest {
                // In every other round the server makes the id.
                user_id: if round % 2 == 0 { name.clone() } else { String::new() },
                request_id: format!("sign-up-{round}"),
                ..sign_up_request(COUNT, &name, &code)
            };
            let client = pair.client(number);
            async move { client.register(request).await }
        }))
        .await;

        let answers = all(answers);
        assert!(same(&answers), "{answers:#?}");
        assert_eq!(referrer_of(&answers[0]), "owner");
        assert_eq!(answers[0].user.as_ref().unwrap().username, name);
    }
    let made = i64::from(rounds);
    let registered = "select count(*) from events where event_type = 'UserRegistered'";
    assert_eq!(database.count(registered).await, made + 1);
    assert_eq!(uses(&database.pool, COUNT, "owner").await, made);
    let expected = Grants { count: made, amount: made };
    assert_eq!(granted(&database, COUNT, "owner", 1).await, expected);
    finish(pair, &database).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_sign_up_sent_four_times_without_a_request_id_succeeds_once() {
    let database = TestDatabase::new().await;
    let pair = Pair::start(&database).await;
    pair.client(0).publish_shipped(COUNT).await;
    let code = pair.client(0).sign_up(COUNT, "owner", "").await.unwrap().code;

    let rounds = 6;
    for round in 0..rounds {
        let name = format!("friend{round}");
        let answers = at_once((0..4).map(|number| {
            let request = RegisterUserRequest {
                user_id: if round % 2 == 0 { name.clone() } else { String::new() },
                ..sign_up_request(COUNT, &name, &code)
            };
            let client = pair.client(number);
            async move { client.register(request).await }
        }))
        .await;

        let (successes, reasons) = split(answers);
        assert_eq!(successes.len(), 1, "{reasons:?}");
        assert_eq!(reasons.len(), 3);
        for (code, reason) in reasons {
            assert_eq!(code, Code::AlreadyExists, "{reason}");
        }
    }
    let made = i64::from(rounds);
    let registered = "select count(*) from events where event_type = 'UserRegistered'";
    assert_eq!(database.count(registered).await, made + 1);
    assert_eq!(uses(&database.pool, COUNT, "owner").await, made);
    let expected = Grants { count: made, amount: made };
    assert_eq!(granted(&database, COUNT, "owner", 1).await, expected);
    finish(pair, &database).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fourteen_sign_ups_at_once_on_a_code_with_ten_uses_left_make_ten_referred() {
    let database = TestDatabase::new().await;
    let pair = Pair::start(&database).await;
    pair.client(0).publish_shipped(BONUS).await;

    for round in 0..4 {
        let owner = format!("owner{round}");
        let code = pair.client(round).sign_up(BONUS, &owner, "").await.unwrap().code;
        let answers = at_once((0..14).map(|friend| {
            let (client, code) = (pair.client(friend), code.clone());
            async move { client.sign_up(BONUS, &format!("r{round}-{friend}"), &code).await }
        }))
        .await;

        let answers = all(answers);
        let referred = answers.iter().filter(|answer| answer.referrer_user_id == owner).count();
        let unreferred = answers.iter().filter(|answer| answer.referrer_user_id.is_empty()).count();
        assert_eq!((referred, unreferred), (10, 4));
        assert_eq!(uses(&database.pool, BONUS, &owner).await, 10);
        let stream = format!("{BONUS}/{owner}");
        assert_eq!(events_in(&database, &stream, "ReferralMade").await, 10);
        for number in 0..2 {
            let validity = pair.client(number).validate(&code, "").await.unwrap();
            assert_eq!((validity.valid, validity.remaining_uses), (false, Some(0)));
        }
    }
    finish(pair, &database).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twelve_referrals_at_once_on_a_referrer_with_room_for_eight_make_eight() {
    let database = TestDatabase::new().await;
    let pair = Pair::start(&database).await;
    pair.client(0).publish_shipped(COMMISSION).await;

    for round in 0..4 {
        let owner = format!("owner{round}");
        pair.client(0).sign_up(COMMISSION, &owner, "").await.unwrap();
        let friends: Vec<String> = (0..12).map(|friend| format!("r{round}-{friend}")).collect();
        for (number, friend) in friends.iter().enumerate() {
            pair.client(number).sign_up(COMMISSION, friend, "").await.unwrap();
        }
        let answers = at_once(friends.iter().cloned().enumerate().map(|(number, friend)| {
            let (client, owner) = (pair.client(number), owner.clone());
            async move { client.refer(COMMISSION, &friend, &owner).await }
        }))
        .await;

        let (successes, reasons) = split(answers);
        assert_eq!(successes.len(), 8, "{reasons:?}");
        let full = (Code::FailedPrecondition, "REFERRER_LIMIT_REACHED".to_owned());
        assert_eq!(reasons, vec![full; 4]);
        assert_eq!(uses(&database.pool, COMMISSION, &owner).await, 8);
        let stream = format!("{COMMISSION}/{owner}");
        assert_eq!(events_in(&database, &stream, "ReferralMade").await, 8);
    }
    finish(pair, &database).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twelve_referrals_of_all_sorts_at_once_fill_eight_places_and_the_others_leave_nothing() {
    let database = TestDatabase::new().await;
    let pair = Pair::start(&database).await;
    pair.client(0).publish_shipped(COMMISSION).await;
    pair.client(0).publish_shipped(COUNT).await;

    for round in 0..4 {
        let owner = format!("owner{round}");
        let code = pair.client(0).sign_up(COMMISSION, &owner, "").await.unwrap().code;
        let friend = |number: usize| format!("r{round}-{number}");
        for number in 0..12 {
            match number % 3 {
                1 => drop(pair.client(number).sign_up(COUNT, &friend(number), "").await.unwrap()),
                2 => drop(
                    pair.client(number).sign_up(COMMISSION, &friend(number), "").await.unwrap(),
                ),
                _ => {}
            }
        }
        // By a sign-up, by an enrollment, and by a referral of somebody who is there already.
        let answers = at_once((0..12).map(|number| {
            let (client, code, friend) = (pair.client(number), code.clone(), friend(number));
            async move {
                match number % 3 {
                    0 => client.sign_up(COMMISSION, &friend, &code).await.map(drop),
                    1 => enroll(&client, COMMISSION, &friend, &code).await,
                    _ => {
                        let request = ApplyReferralRequest {
                            referee_user_id: friend,
                            referral_code: code,
                            ..ApplyReferralRequest::default()
                        };
                        client.referrals().apply_referral(client.request(request)).await.map(drop)
                    }
                }
            }
        }))
        .await;

        for (number, answer) in answers.iter().enumerate().filter(|(number, _)| number % 3 < 2) {
            let stream = format!("{COMMISSION}/{}", friend(number));
            let enrolled = events_in(&database, &stream, "ParticipantEnrolled").await;
            assert_eq!(enrolled == 1, answer.is_ok());
            let known = pair.client(number).user(&friend(number)).await.is_ok();
            assert_eq!(known, answer.is_ok() || number % 3 == 1);
        }
        let (successes, reasons) = split(answers);
        assert_eq!(successes.len(), 8, "{reasons:?}");
        let full = (Code::FailedPrecondition, "REFERRER_LIMIT_REACHED".to_owned());
        assert_eq!(reasons, vec![full; 4]);
        assert_eq!(uses(&database.pool, COMMISSION, &owner).await, 8);
    }
    finish(pair, &database).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_first_purchases_at_once_pay_one_bonus_to_each_side() {
    let database = TestDatabase::new().await;
    let pair = Pair::start(&database).await;
    pair.client(0).publish_shipped(BONUS).await;
    let code = pair.client(0).sign_up(BONUS, "owner", "").await.unwrap().code;

    let rounds = 6;
    for round in 0..rounds {
        let friend = format!("friend{round}");
        pair.client(round).sign_up(BONUS, &friend, &code).await.unwrap();
        let answers = at_once((0..3).map(|number| {
            let (client, friend) = (pair.client(number), friend.clone());
            async move { client.buy(&format!("p{round}-{number}"), &friend, "USD", 1_000).await }
        }))
        .await;

        let answers = all(answers);
        let converted = answers.iter().filter(|answer| answer.outcomes[0].converted).count();
        assert_eq!(converted, 1);
        for answer in &answers {
            let outcome = &answer.outcomes[0];
            assert_eq!(outcome.credited.as_ref().unwrap().minor_units, 1_000);
            let expected = if outcome.converted { (1_000, 1_000) } else { (0, 0) };
            assert_eq!((paid(answer, 0), paid(answer, 1)), expected);
            if !outcome.converted {
                assert_eq!(outcome.reason(), WithheldReason::NotFirstPurchase);
            }
        }
        let once = Grants { count: 1, amount: 1_000 };
        assert_eq!(granted(&database, BONUS, &friend, 0).await, once);
        let stream = format!("{BONUS}/{friend}");
        assert_eq!(events_in(&database, &stream, "ReferralConverted").await, 1);
        let balance: i64 = sqlx::query_scalar(
            "select (payload -> 'posting' -> 'after' ->> 'available')::bigint from events
             where aggregate_id = $1 and payload ? 'posting'
             order by position desc limit 1",
        )
        .bind(&stream)
        .fetch_one(&database.pool)
        .await
        .unwrap();
        assert_eq!(balance, 4_000, "three purchases and one bonus");
    }
    let bonuses = i64::try_from(rounds).unwrap();
    let expected = Grants { count: bonuses, amount: bonuses * 1_000 };
    assert_eq!(granted(&database, BONUS, "owner", 1).await, expected);
    finish(pair, &database).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_purchase_delivered_three_times_at_once_counts_once() {
    let database = TestDatabase::new().await;
    let pair = Pair::start(&database).await;
    pair.client(0).publish_shipped(COMMISSION).await;
    let code = pair.client(0).sign_up(COMMISSION, "owner", "").await.unwrap().code;
    pair.client(1).sign_up(COMMISSION, "friend", &code).await.unwrap();

    let rounds = 9;
    for round in 0..rounds {
        let answers = at_once((0..3).map(|number| {
            let request = RecordPurchaseRequest {
                // Known by its own id, by that of the request, or by both.
                purchase_id: if round % 3 == 1 { String::new() } else { format!("order{round}") },
                request_id: if round % 3 == 0 { String::new() } else { format!("request{round}") },
                buyer_user_id: "friend".into(),
                amount: Some(Money { currency_code: "INR".into(), minor_units: 100_000 }),
                ..RecordPurchaseRequest::default()
            };
            let client = pair.client(number);
            async move { client.record(request).await }
        }))
        .await;

        let answers = all(answers);
        assert!(same(&answers), "{answers:#?}");
        assert_eq!(paid(&answers[0], 1), 5_000);
    }
    let recorded = "select count(*) from events where event_type = 'PurchaseRecorded'";
    assert_eq!(database.count(recorded).await, rounds);
    let expected = Grants { count: rounds, amount: rounds * 5_000 };
    assert_eq!(granted(&database, COMMISSION, "owner", 1).await, expected);
    finish(pair, &database).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_different_purchases_under_one_id_at_once_one_is_recorded() {
    let database = TestDatabase::new().await;
    let pair = Pair::start(&database).await;
    pair.client(0).publish_shipped(COMMISSION).await;
    let code = pair.client(0).sign_up(COMMISSION, "owner", "").await.unwrap().code;
    pair.client(1).sign_up(COMMISSION, "friend", &code).await.unwrap();

    let mut total = 0;
    for round in 0..6 {
        let answers = at_once((0..4).map(|number| {
            let client = pair.client(number);
            let amount = 100_000 + 1_000 * i64::try_from(number).unwrap();
            async move { client.buy(&format!("order{round}"), "friend", "INR", amount).await }
        }))
        .await;

        let (successes, reasons) = split(answers);
        assert_eq!(successes.len(), 1, "{reasons:?}");
        assert_eq!(reasons, vec![(Code::AlreadyExists, "PURCHASE_ID_REUSED".to_owned()); 3]);
        total += paid(&successes[0], 1);
    }
    let expected = Grants { count: 6, amount: total };
    assert_eq!(granted(&database, COMMISSION, "owner", 1).await, expected);
    finish(pair, &database).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn four_friends_buying_at_once_add_up_exactly() {
    let database = TestDatabase::new().await;
    let pair = Pair::start(&database).await;
    pair.client(0).publish_shipped(COMMISSION).await;

    for round in 0..5 {
        let (top, owner) = (format!("top{round}"), format!("owner{round}"));
        let code = pair.client(0).sign_up(COMMISSION, &top, "").await.unwrap().code;
        let code = pair.client(1).sign_up(COMMISSION, &owner, &code).await.unwrap().code;
        for friend in 0..4 {
            let name = format!("r{round}-{friend}");
            pair.client(friend).sign_up(COMMISSION, &name, &code).await.unwrap();
        }
        // 5007 and 1001, 5015 and 1003, ...: amounts whose shares must be rounded.
        let amounts = [100_130, 100_295, 111_111, 123_456];
        let answers = at_once(amounts.into_iter().enumerate().map(|(friend, amount)| {
            let client = pair.client(friend);
            async move { client.buy("", &format!("r{round}-{friend}"), "INR", amount).await }
        }))
        .await;

        let answers = all(answers);
        let half_up = |amount: i64, bps: i64| (amount * bps + 5_000) / 10_000;
        for (answer, amount) in answers.iter().zip(amounts) {
            let expected = (half_up(amount, 500), half_up(amount, 100));
            assert_eq!((paid(answer, 1), paid(answer, 2)), expected);
            assert!(answer.outcomes[0].converted);
        }
        let amount = amounts.iter().map(|amount| half_up(*amount, 500)).sum();
        let expected = Grants { count: 4, amount };
        assert_eq!(granted(&database, COMMISSION, &owner, 1).await, expected);
        let amount = amounts.iter().map(|amount| half_up(*amount, 100)).sum();
        let expected = Grants { count: 4, amount };
        assert_eq!(granted(&database, COMMISSION, &top, 2).await, expected);
    }
    finish(pair, &database).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn six_purchases_at_once_on_a_cap_with_5000_left_pay_5000_in_total() {
    let database = TestDatabase::new().await;
    let pair = Pair::start(&database).await;
    pair.client(0).publish_shipped(COMMISSION).await;

    for round in 0..5 {
        let (top, owner) = (format!("top{round}"), format!("owner{round}"));
        let code = pair.client(0).sign_up(COMMISSION, &top, "").await.unwrap().code;
        let code = pair.client(1).sign_up(COMMISSION, &owner, &code).await.unwrap().code;
        for friend in 0..6 {
            let name = format!("r{round}-{friend}");
            pair.client(friend).sign_up(COMMISSION, &name, &code).await.unwrap();
        }
        let name = format!("r{round}-0");
        let before = pair.client(round).buy("", &name, "INR", 1_900_000).await.unwrap();
        assert_eq!(paid(&before, 1), 95_000);

        // Alone, each would pay all that is left, or more.
        let amount = if round % 2 == 0 { 200_000 } else { 100_000 };
        let answers = at_once((0..6).map(|friend| {
            let client = pair.client(friend);
            async move { client.buy("", &format!("r{round}-{friend}"), "INR", amount).await }
        }))
        .await;

        let answers = all(answers);
        let payments: Vec<i64> = answers.iter().map(|answer| paid(answer, 1)).collect();
        assert_eq!(payments.iter().sum::<i64>(), 5_000, "{payments:?}");
        for answer in answers.iter().filter(|answer| paid(answer, 1) == 0) {
            let withheld = &answer.outcomes[0].withheld;
            assert!(
                withheld
                    .iter()
                    .any(|of| of.level == 1 && of.reason() == WithheldReason::CapReached),
                "{withheld:?}"
            );
        }
        assert_eq!(granted(&database, COMMISSION, &owner, 1).await.amount, 100_000);
        let expected = Grants { count: 7, amount: 19_000 + 6 * amount / 100 };
        assert_eq!(granted(&database, COMMISSION, &top, 2).await, expected);
    }
    finish(pair, &database).await;
}
