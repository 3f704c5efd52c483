//! Two servers that write the same streams: both make progress, no call is rejected, and cached state of one
//! server never leads to a decision that contradicts the other's writes.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test may stop at the first surprise"
)]

use contract::parse_program;
use contract::pb::{
    EnrollParticipantRequest, EnrollParticipantResponse, Money, Program, RecordPurchaseRequest,
    RecordPurchaseResponse, UserStatus, WithheldReason,
};
use tonic::{Code, Status};

use testing::{
    Client, Grants, Pair, Server, ServerOptions, TestDatabase, at_once, check_books, events_in,
    granted, program, reason, sign_up_request, uses,
};

const COUNT: &str = "referral-count";
const BONUS: &str = "first-purchase-bonus";
const COMMISSION: &str = "multi-level-commission";

/// Commissions without caps and limits.
pub(super) fn uncapped() -> Program {
    let json = std::fs::read_to_string(program(COMMISSION)).unwrap();
    let mut program = parse_program(&json).unwrap();
    program.max_direct_referrals = None;
    for rule in &mut program.rewards {
        rule.cap_minor = None;
    }
    program
}

/// A user at the top, their friend, and that friend's own friends.
async fn line(pair: &Pair, friends: usize) -> String {
    let code = pair.client(0).sign_up(COMMISSION, "top", "").await.unwrap().code;
    let code = pair.client(1).sign_up(COMMISSION, "owner", &code).await.unwrap().code;
    for friend in 0..friends {
        let name = format!("friend{friend}");
        pair.client(friend).sign_up(COMMISSION, &name, &code).await.unwrap();
    }
    code
}

/// The reward at level 1 according to an answer, or why there was none.
fn direct(response: &RecordPurchaseResponse) -> Result<i64, WithheldReason> {
    let outcome = &response.outcomes[0];
    let reward = outcome.rewards.iter().find(|reward| reward.level == 1);
    match reward {
        Some(reward) => Ok(reward.amount.as_ref().unwrap().minor_units),
        None if outcome.reason() != WithheldReason::Unspecified => Err(outcome.reason()),
        None => Err(outcome.withheld.iter().find(|of| of.level == 1).unwrap().reason()),
    }
}

async fn enroll(
    client: &Client,
    program_id: &str,
    user_id: &str,
) -> Result<EnrollParticipantResponse, Status> {
    let request = EnrollParticipantRequest {
        program_id: program_id.into(),
        user_id: user_id.into(),
        ..EnrollParticipantRequest::default()
    };
    Ok(client.programs().enroll_participant(client.request(request)).await?.into_inner())
}

async fn finish(pair: Pair, database: &TestDatabase) {
    pair.stop().await;
    check_books(database).await;
    database.check().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_servers_hammering_one_referrer_both_get_on_and_the_sums_are_exact() {
    const WORKERS: usize = 16;
    const PURCHASES: usize = 35;
    let database = TestDatabase::new().await;
    let pair = Pair::start(&database).await;
    pair.client(0).publish(uncapped()).await.unwrap();
    line(&pair, WORKERS).await;

    let errors = at_once((0..WORKERS).map(|worker| {
        let client = pair.client(worker);
        async move {
            let mut errors = Vec::new();
            for number in 0..PURCHASES {
                let id = format!("server{}-{worker}-{number}", worker % 2);
                let buyer = format!("friend{worker}");
                if let Err(status) = client.buy(&id, &buyer, "INR", 100_130).await {
                    errors.push(reason(&status));
                }
            }
            errors
        }
    }))
    .await;

    assert_eq!(errors.concat(), []);
    let purchases = i64::try_from(WORKERS * PURCHASES).unwrap();
    let expected = Grants { count: purchases, amount: purchases * 5_007 };
    assert_eq!(granted(&database, COMMISSION, "owner", 1).await, expected);
    let expected = Grants { count: purchases, amount: purchases * 1_001 };
    assert_eq!(granted(&database, COMMISSION, "top", 2).await, expected);
    // When the first server was done, the other had made progress, too.
    let behind: i64 = sqlx::query_scalar(
        "with purchases as (
            select position, split_part(aggregate_id, '-', 1) as server
            from events where event_type = 'PurchaseRecorded'
        ), finished as (
            select max(position) as position from purchases group by server
            order by position limit 1
        )
        select min(done) from (
            select count(*) filter (where purchases.position <= finished.position) as done
            from purchases, finished group by server
        ) as servers",
    )
    .fetch_one(&database.pool)
    .await
    .unwrap();
    assert!(behind >= purchases / 8, "the slower server had only {behind} of {purchases}");
    pair.stop().await;

    // A server that must load the result, partly from snapshots, continues from it.
    let server = Server::start(&database).await;
    server.client().buy("", "friend0", "INR", 100_130).await.unwrap();
    let expected = Grants { count: purchases + 1, amount: (purchases + 1) * 5_007 };
    assert_eq!(granted(&database, COMMISSION, "owner", 1).await, expected);
    server.stop().await;
    check_books(&database).await;
    database.check().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_servers_doing_everything_to_one_participant_turn_nobody_away() {
    const ROUNDS: usize = 12;
    let database = TestDatabase::new().await;
    let pair = Pair::start(&database).await;
    pair.client(0).publish(uncapped()).await.unwrap();
    let code = line(&pair, 4).await;

    let earned = at_once((0..16).map(|worker| {
        let (client, code) = (pair.client(worker), code.clone());
        async move {
            let mut sum = 0;
            for number in 0..ROUNDS {
                let name = format!("guest{worker}-{number}");
                match worker / 2 % 4 {
                    0 => {
                        let signed_up = client.sign_up(COMMISSION, &name, &code).await.unwrap();
                        assert_eq!(signed_up.referrer_user_id, "owner");
                    }
                    1 => {
                        client.sign_up(COMMISSION, &name, "").await.unwrap();
                        client.refer(COMMISSION, &name, "owner").await.unwrap();
                    }
                    2 if worker / 8 == 0 => {
                        // Each of the two servers sees what the other did.
                        let off = client.deactivate("owner").await;
                        let on = client.reactivate("owner").await;
                        for (answer, expected) in [
                            (off.map(|answer| answer.user), UserStatus::Inactive),
                            (on.map(|answer| answer.user), UserStatus::Active),
                        ] {
                            match answer {
                                Ok(user) => assert_eq!(user.unwrap().status(), expected),
                                Err(status) => {
                                    assert_eq!(status.code(), Code::FailedPrecondition);
                                }
                            }
                        }
                    }
                    _ => {
                        let buyer = format!("friend{}", worker % 4);
                        let bought = client.buy("", &buyer, "INR", 100_000).await.unwrap();
                        sum += match direct(&bought) {
                            Ok(amount) => amount,
                            Err(reason) => {
                                assert_eq!(reason, WithheldReason::EarnerInactive);
                                0
                            }
                        };
                    }
                }
            }
            sum
        }
    }))
    .await;

    let made = i64::try_from(4 + 8 * ROUNDS).unwrap();
    assert_eq!(uses(&database.pool, COMMISSION, "owner").await, made);
    let amount = earned.iter().sum::<i64>();
    let expected = Grants { count: amount / 5_000, amount };
    assert_eq!(granted(&database, COMMISSION, "owner", 1).await, expected);
    let bought = i64::try_from(6 * ROUNDS).unwrap();
    let expected = Grants { count: bought, amount: bought * 1_000 };
    assert_eq!(granted(&database, COMMISSION, "top", 2).await, expected);
    finish(pair, &database).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn purchases_among_many_repeated_requests_are_not_turned_away() {
    const WORKERS: usize = 32;
    const PURCHASES: usize = 12;
    let database = TestDatabase::new().await;
    let pair = Pair::start(&database).await;
    pair.client(0).publish(uncapped()).await.unwrap();
    line(&pair, 4).await;

    // Half of the workers send one request again and again. Only the request_id shows that it is a
    // repetition, and all requests concern the same earner.
    let errors = at_once((0..WORKERS).map(|worker| {
        let client = pair.client(worker);
        async move {
            let repeats = worker / 2 % 2 == 0;
            let mut answers = Vec::new();
            let mut errors = Vec::new();
            for number in 0..PURCHASES * if repeats { 2 } else { 1 } {
                let request = RecordPurchaseRequest {
                    buyer_user_id: format!("friend{}", worker % 4),
                    amount: Some(Money { currency_code: "INR".into(), minor_units: 100_000 }),
                    request_id: format!("{worker}-{}", if repeats { 0 } else { number }),
                    ..RecordPurchaseRequest::default()
                };
                match client.record(request).await {
                    Ok(answer) => answers.push(answer),
                    Err(status) => errors.push(reason(&status)),
                }
            }
            if repeats {
                assert!(answers.iter().all(|answer| *answer == answers[0]));
            }
            errors
        }
    }))
    .await;

    assert_eq!(errors.concat(), []);
    let purchases = i64::try_from(WORKERS / 2 * (PURCHASES + 1)).unwrap();
    let expected = Grants { count: purchases, amount: purchases * 5_000 };
    assert_eq!(granted(&database, COMMISSION, "owner", 1).await, expected);
    finish(pair, &database).await;
}

/// What half of the workers do while the others sign up friends.
#[derive(Clone, Copy)]
enum Nuisance {
    /// They request a username that is taken.
    TakenName,
    /// They request a user id that is taken.
    TakenId,
    /// They repeat one sign-up, whose id the server generates.
    Repetition,
}

async fn sign_up_among(nuisance: Nuisance) {
    const WORKERS: usize = 32;
    const SIGN_UPS: usize = 12;
    let database = TestDatabase::new().await;
    let pair = Pair::start(&database).await;
    pair.client(0).publish_shipped(COUNT).await;
    let code = pair.client(0).sign_up(COUNT, "owner", "").await.unwrap().code;

    // All use one code, so that every sign-up concerns the same referrer.
    let errors = at_once((0..WORKERS).map(|worker| {
        let (client, code) = (pair.client(worker), code.clone());
        async move {
            let mut errors = Vec::new();
            for number in 0..SIGN_UPS {
                let mut request = sign_up_request(COUNT, &format!("u{worker}-{number}"), &code);
                let mut expected = None;
                if worker / 2 % 2 == 0 {
                    match nuisance {
                        Nuisance::TakenName => {
                            request.username = "Owner".into();
                            expected = Some("USERNAME_TAKEN");
                        }
                        Nuisance::TakenId => {
                            request.user_id = "owner".into();
                            expected = Some("USER_ID_TAKEN");
                        }
                        Nuisance::Repetition => {
                            request = sign_up_request(COUNT, &format!("u{worker}"), &code);
                            request.user_id = String::new();
                            request.request_id = format!("request{worker}");
                        }
                    }
                }
                let answer = client.register(request).await.map_err(|status| reason(&status));
                let got = answer.as_ref().err().map(|(_, reason)| reason.as_str());
                if got != expected {
                    errors.push(answer.err());
                }
            }
            errors
        }
    }))
    .await;

    assert_eq!(errors.concat(), []);
    let repeated = usize::from(matches!(nuisance, Nuisance::Repetition));
    let made = i64::try_from(WORKERS / 2 * (SIGN_UPS + repeated)).unwrap();
    assert_eq!(uses(&database.pool, COUNT, "owner").await, made);
    let expected = Grants { count: made, amount: made };
    assert_eq!(granted(&database, COUNT, "owner", 1).await, expected);
    finish(pair, &database).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sign_ups_among_many_with_taken_names_are_not_turned_away() {
    sign_up_among(Nuisance::TakenName).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sign_ups_among_many_with_taken_ids_are_not_turned_away() {
    sign_up_among(Nuisance::TakenId).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sign_ups_among_many_repeated_ones_are_not_turned_away() {
    sign_up_among(Nuisance::Repetition).await;
}

#[tokio::test]
async fn a_place_that_another_server_gave_away_is_not_given_again() {
    let database = TestDatabase::new().await;
    let pair = Pair::start(&database).await;
    let (here, there) = (pair.client(0), pair.client(1));
    here.publish_shipped(COMMISSION).await;
    here.publish_shipped(BONUS).await;
    let code = here.sign_up(COMMISSION, "owner", "").await.unwrap().code;
    for friend in 0..10 {
        here.sign_up(COMMISSION, &format!("friend{friend}"), "").await.unwrap();
    }
    for friend in 0..7 {
        here.refer(COMMISSION, &format!("friend{friend}"), "owner").await.unwrap();
    }

    there.refer(COMMISSION, "friend7", "owner").await.unwrap();
    let full = (Code::FailedPrecondition, "REFERRER_LIMIT_REACHED".to_owned());
    let refused = here.refer(COMMISSION, "friend8", "owner").await.unwrap_err();
    assert_eq!(reason(&refused), full);
    let refused = here.sign_up(COMMISSION, "late", &code).await.unwrap_err();
    assert_eq!(reason(&refused), full);
    assert!(!here.validate(&code, "").await.unwrap().valid);

    // The other way round: a new version published there allows what was refused here.
    let mut roomier = uncapped();
    roomier.max_direct_referrals = Some(9);
    there.publish(roomier).await.unwrap();
    here.refer(COMMISSION, "friend8", "owner").await.unwrap();
    let refused = there.refer(COMMISSION, "friend9", "owner").await.unwrap_err();
    assert_eq!(reason(&refused), full);

    // And the last use of a code.
    let code = here.sign_up(BONUS, "giver", "").await.unwrap().code;
    for taker in 0..9 {
        here.sign_up(BONUS, &format!("taker{taker}"), &code).await.unwrap();
    }
    assert_eq!(here.validate(&code, "").await.unwrap().remaining_uses, Some(1));
    let last = there.sign_up(BONUS, "taker9", &code).await.unwrap();
    assert_eq!(last.referrer_user_id, "giver");
    let late = here.sign_up(BONUS, "taker10", &code).await.unwrap();
    assert_eq!(late.referrer_user_id, "");
    assert_eq!(uses(&database.pool, BONUS, "giver").await, 10);
    finish(pair, &database).await;
}

#[tokio::test]
async fn an_earner_whom_another_server_deactivated_is_not_paid_and_one_it_reactivated_is() {
    let database = TestDatabase::new().await;
    let pair = Pair::start(&database).await;
    let (here, there) = (pair.client(0), pair.client(1));
    here.publish_shipped(COMMISSION).await;
    line(&pair, 1).await;

    for _ in 0..3 {
        assert_eq!(direct(&here.buy("", "friend0", "INR", 100_000).await.unwrap()), Ok(5_000));
        there.deactivate("owner").await.unwrap();
        let bought = here.buy("", "friend0", "INR", 100_000).await.unwrap();
        assert_eq!(direct(&bought), Err(WithheldReason::EarnerInactive));
        there.reactivate("owner").await.unwrap();
    }
    assert_eq!(granted(&database, COMMISSION, "owner", 1).await.amount, 15_000);
    assert_eq!(granted(&database, COMMISSION, "top", 2).await.amount, 6_000);
    finish(pair, &database).await;
}

#[tokio::test]
async fn what_another_server_did_to_a_user_decides_what_can_be_done_to_them_here() {
    let database = TestDatabase::new().await;
    let pair = Pair::start(&database).await;
    let (here, there) = (pair.client(0), pair.client(1));
    here.publish_shipped(COMMISSION).await;
    here.publish_shipped(COUNT).await;
    here.sign_up(COMMISSION, "ada", "").await.unwrap();
    here.sign_up(COMMISSION, "bob", "").await.unwrap();
    let failed = |reason: &str| (Code::FailedPrecondition, reason.to_owned());

    let active = here.reactivate("ada").await.unwrap_err();
    assert_eq!(reason(&active), failed("USER_ALREADY_ACTIVE"));
    there.deactivate("ada").await.unwrap();
    let inactive = here.deactivate("ada").await.unwrap_err();
    assert_eq!(reason(&inactive), failed("USER_ALREADY_INACTIVE"));
    let inactive = here.refer(COMMISSION, "ada", "bob").await.unwrap_err();
    assert_eq!(reason(&inactive), failed("USER_INACTIVE"));
    let inactive = enroll(&here, COUNT, "ada").await.unwrap_err();
    assert_eq!(reason(&inactive), failed("USER_INACTIVE"));

    there.reactivate("ada").await.unwrap();
    here.refer(COMMISSION, "ada", "bob").await.unwrap();
    enroll(&here, COUNT, "ada").await.unwrap();
    here.deactivate("ada").await.unwrap();
    there.reactivate("ada").await.unwrap();
    there.deactivate("ada").await.unwrap();
    here.reactivate("ada").await.unwrap();
    let active = there.reactivate("ada").await.unwrap_err();
    assert_eq!(reason(&active), failed("USER_ALREADY_ACTIVE"));
    finish(pair, &database).await;
}

#[tokio::test]
async fn what_was_missing_here_is_found_once_another_server_has_made_it() {
    let database = TestDatabase::new().await;
    let pair = Pair::start(&database).await;
    let (here, there) = (pair.client(0), pair.client(1));
    let missing = |reason: &str| (Code::NotFound, reason.to_owned());

    let unknown = here.sign_up(COMMISSION, "ada", "").await.unwrap_err();
    assert_eq!(reason(&unknown), missing("PROGRAM_NOT_FOUND"));
    there.publish_shipped(COMMISSION).await;
    there.publish_shipped(COUNT).await;
    here.sign_up(COMMISSION, "ada", "").await.unwrap();

    let unknown = here.buy("", "bob", "INR", 100_000).await.unwrap_err();
    assert_eq!(reason(&unknown), missing("USER_NOT_FOUND"));
    let unknown = here.refer(COMMISSION, "bob", "ada").await.unwrap_err();
    assert_eq!(reason(&unknown), missing("USER_NOT_FOUND"));
    let unknown = here.deactivate("bob").await.unwrap_err();
    assert_eq!(reason(&unknown), missing("USER_NOT_FOUND"));
    there.sign_up(COUNT, "bob", "").await.unwrap();
    let bought = here.buy("", "bob", "INR", 100_000).await.unwrap();
    assert_eq!(bought.outcomes.len(), 1);

    let unknown = here.refer(COMMISSION, "bob", "ada").await.unwrap_err();
    assert_eq!(reason(&unknown), missing("PARTICIPANT_NOT_FOUND"));
    enroll(&there, COMMISSION, "bob").await.unwrap();
    let again = enroll(&here, COMMISSION, "bob").await.unwrap_err();
    assert_eq!(reason(&again), (Code::AlreadyExists, "ALREADY_ENROLLED".to_owned()));
    let bought = here.buy("", "bob", "INR", 100_000).await.unwrap();
    assert_eq!(bought.outcomes.len(), 2, "both programs judge the purchase");
    here.refer(COMMISSION, "bob", "ada").await.unwrap();

    // A name that was free when it was last checked here.
    there.sign_up(COUNT, "eve", "").await.unwrap();
    let mut request = sign_up_request(COUNT, "eve2", "");
    request.username = "EVE".into();
    let taken = here.register(request).await.unwrap_err();
    assert_eq!(reason(&taken), (Code::AlreadyExists, "USERNAME_TAKEN".to_owned()));
    finish(pair, &database).await;
}

#[tokio::test]
async fn referrals_and_purchases_of_another_server_count_here() {
    let database = TestDatabase::new().await;
    let pair = Pair::start(&database).await;
    let (here, there) = (pair.client(0), pair.client(1));
    here.publish_shipped(COMMISSION).await;
    here.publish_shipped(BONUS).await;

    // A line that grew on the other server, at the bottom and at the top.
    for user in ["top", "owner", "friend"] {
        here.sign_up(COMMISSION, user, "").await.unwrap();
    }
    let bought = here.buy("", "friend", "INR", 100_000).await.unwrap();
    assert_eq!(direct(&bought), Err(WithheldReason::NotReferred));
    there.refer(COMMISSION, "friend", "owner").await.unwrap();
    let bought = here.buy("", "friend", "INR", 100_000).await.unwrap();
    assert_eq!(direct(&bought), Ok(5_000));
    there.refer(COMMISSION, "owner", "top").await.unwrap();
    here.buy("", "friend", "INR", 100_000).await.unwrap();
    assert_eq!(granted(&database, COMMISSION, "top", 2).await.amount, 1_000);
    let again = here.refer(COMMISSION, "owner", "top").await.unwrap_err();
    assert_eq!(reason(&again), (Code::AlreadyExists, "ALREADY_REFERRED".to_owned()));

    // A cap that was filled elsewhere.
    let bought = here.buy("", "friend", "INR", 1_700_000).await.unwrap();
    assert_eq!(direct(&bought), Ok(85_000));
    let bought = there.buy("", "friend", "INR", 200_000).await.unwrap();
    assert_eq!(direct(&bought), Ok(5_000), "what is left under the cap");
    let bought = here.buy("", "friend", "INR", 200_000).await.unwrap();
    assert_eq!(direct(&bought), Err(WithheldReason::CapReached));

    // Rates that were changed elsewhere.
    let mut program = uncapped();
    program.rewards[0].rate_bps = Some(700);
    there.publish(program).await.unwrap();
    let bought = here.buy("", "friend", "INR", 100_000).await.unwrap();
    assert_eq!(direct(&bought), Ok(7_000));

    // A first purchase that was made elsewhere.
    let code = here.sign_up(BONUS, "giver", "").await.unwrap().code;
    here.sign_up(BONUS, "taker", &code).await.unwrap();
    let bought = here.buy("", "taker", "USD", 999).await.unwrap();
    assert_eq!(direct(&bought), Err(WithheldReason::BelowMinimum));
    there.buy("", "taker", "USD", 1_000).await.unwrap();
    let bought = here.buy("", "taker", "USD", 1_000).await.unwrap();
    assert_eq!(direct(&bought), Err(WithheldReason::NotFirstPurchase));
    assert_eq!(granted(&database, BONUS, "giver", 1).await, Grants { count: 1, amount: 1_000 });
    let stream = format!("{BONUS}/taker");
    assert_eq!(events_in(&database, &stream, "PurchaseCredited").await, 3);
    finish(pair, &database).await;
}

#[tokio::test]
async fn a_cycle_of_referrals_from_both_servers_is_refused_on_both() {
    let database = TestDatabase::new().await;
    let pair = Pair::start(&database).await;
    pair.client(0).publish_shipped(COMMISSION).await;
    let names: Vec<String> = (0..7).map(|number| format!("user{number}")).collect();
    for name in &names {
        pair.client(0).sign_up(COMMISSION, name, "").await.unwrap();
    }

    // Each server creates every other link of the line, and has loaded all participants before.
    for (number, pair_of_names) in names.windows(2).enumerate() {
        let client = pair.client(number);
        client.refer(COMMISSION, &pair_of_names[0], &pair_of_names[1]).await.unwrap();
        for server in 0..2 {
            for below in &names[..=number] {
                let client = pair.client(server);
                let refused = client.refer(COMMISSION, &pair_of_names[1], below).await.unwrap_err();
                let cycle = (Code::FailedPrecondition, "REFERRAL_CYCLE".to_owned());
                assert_eq!(reason(&refused), cycle);
            }
        }
    }
    assert_eq!(database.count("select count(*) from referrals").await, 6);
    finish(pair, &database).await;
}

#[tokio::test]
async fn a_cache_of_two_streams_and_batches_of_three_change_nothing_but_the_speed() {
    let database = TestDatabase::new().await;
    let arguments = ["--cached-streams", "2", "--batch-commands", "3"].map(Into::into).into();
    let server = Server::start_with(&database.url, &ServerOptions { arguments }).await;
    let client = server.client();
    client.publish(uncapped()).await.unwrap();
    let top = client.sign_up(COMMISSION, "top", "").await.unwrap();
    let owner = client.sign_up(COMMISSION, "owner", &top.code).await.unwrap();
    let sign_ups = at_once((0..20).map(|number| {
        let (client, code) = (client.clone(), owner.code.clone());
        async move { client.sign_up(COMMISSION, &format!("friend{number}"), &code).await }
    }))
    .await;
    for sign_up in sign_ups {
        assert_eq!(sign_up.unwrap().referrer_user_id, "owner");
    }
    let purchases = at_once((0..100).map(|number| {
        let client = client.clone();
        async move { client.buy("", &format!("friend{}", number % 20), "INR", 100_000).await }
    }))
    .await;
    for purchase in purchases {
        assert_eq!(purchase.unwrap().outcomes[0].rewards.len(), 2);
    }

    let sum = |user: &str| {
        format!(
            "select sum((payload -> 'posting' ->> 'amount')::bigint)::bigint from events \
             where event_type = 'RewardGranted' and substr(aggregate_id, strpos(aggregate_id, '/') + 1) = '{user}'"
        )
    };
    assert_eq!(database.count(&sum("owner")).await, 100 * 5_000);
    assert_eq!(database.count(&sum("top")).await, 100 * 1_000);
    check_books(&database).await;
    server.stop().await;
    database.check().await;
}
