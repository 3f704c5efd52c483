//! Repeated requests: on another server, after a restart, after a kill, after a client hung up. Each is
//! carried out once, and repetitions get the first answer.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test may stop at the first surprise"
)]

use std::collections::HashSet;
use std::fmt::Debug;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::Poll;
use std::time::Duration;

use contract::parse_program;
use contract::pb::{
    ApplyReferralRequest, DeactivateUserRequest, EnrollParticipantRequest, Money, Program,
    PublishProgramRequest, ReactivateUserRequest, RecordPurchaseRequest, RecordPurchaseResponse,
    RegisterUserRequest,
};
use tonic::{Code, Status};

use testing::{
    ADMIN_KEY, Client, Grants, Pair, Server, TestDatabase, at_once, check_books, granted, program,
    reason, sign_up_request, uses,
};

const COUNT: &str = "referral-count";
const COMMISSION: &str = "multi-level-commission";

/// Commissions without caps.
fn uncapped() -> Program {
    let json = std::fs::read_to_string(program(COMMISSION)).unwrap();
    let mut program = parse_program(&json).unwrap();
    for rule in &mut program.rewards {
        rule.cap_minor = None;
    }
    program
}

fn inr(minor_units: i64) -> Money {
    Money { currency_code: "INR".into(), minor_units }
}

fn purchase(request_id: &str, buyer: &str) -> RecordPurchaseRequest {
    RecordPurchaseRequest {
        buyer_user_id: buyer.into(),
        amount: Some(inr(100_000)),
        request_id: request_id.into(),
        ..RecordPurchaseRequest::default()
    }
}

/// Sends one request of every kind of write, each with its own id, in a possible order. Returns their answers
/// as text.
async fn every_write(client: &Client) -> Vec<String> {
    fn text(answer: Result<impl Debug, Status>) -> String {
        format!("{:?}", answer.expect("the request succeeds"))
    }
    let (id, user) = (|what: &str| format!("{what}-request"), || "ada".to_owned());
    let mut answers = Vec::new();

    let request = PublishProgramRequest {
        program: Some(uncapped()),
        request_id: id("publish"),
        ..Default::default()
    };
    let answer = client.programs().publish_program(client.request(request)).await;
    answers.push(text(answer.map(tonic::Response::into_inner)));

    let request = RegisterUserRequest {
        request_id: id("register-owner"),
        ..sign_up_request(COMMISSION, "owner", "")
    };
    answers.push(text(client.register(request).await));
    let code = client.user("owner").await.unwrap().participants[0].code.clone();

    // The server generates the id of this user.
    let request = RegisterUserRequest {
        request_id: id("register-friend"),
        user_id: String::new(),
        ..sign_up_request(COMMISSION, "friend", &code)
    };
    answers.push(text(client.register(request).await));

    let request =
        RegisterUserRequest { request_id: id("register"), ..sign_up_request("", "ada", "") };
    answers.push(text(client.register(request).await));

    let request = EnrollParticipantRequest {
        program_id: COMMISSION.into(),
        user_id: user(),
        request_id: id("enroll"),
        ..EnrollParticipantRequest::default()
    };
    let answer = client.programs().enroll_participant(client.request(request)).await;
    answers.push(text(answer.map(tonic::Response::into_inner)));

    let request = ApplyReferralRequest {
        referee_user_id: user(),
        referral_code: code,
        request_id: id("apply"),
        ..ApplyReferralRequest::default()
    };
    let answer = client.referrals().apply_referral(client.request(request)).await;
    answers.push(text(answer.map(tonic::Response::into_inner)));

    answers.push(text(client.record(purchase(&id("purchase"), "ada")).await));

    let request = DeactivateUserRequest { user_id: user(), request_id: id("deactivate") };
    let answer = client.accounts().deactivate_user(client.request(request)).await;
    answers.push(text(answer.map(tonic::Response::into_inner)));

    let request = ReactivateUserRequest { user_id: user(), request_id: id("reactivate") };
    let answer = client.accounts().reactivate_user(client.request(request)).await;
    answers.push(text(answer.map(tonic::Response::into_inner)));
    answers
}

#[tokio::test]
async fn a_repeated_request_gets_the_same_answer_from_any_server_also_after_a_restart_or_a_kill() {
    let database = TestDatabase::new().await;
    let pair = Pair::start(&database).await;
    let first = every_write(&pair.client(0)).await;

    // Later changes: repeated answers must describe the state at the time of the first.
    let client = pair.client(0);
    let mut changed = uncapped();
    changed.display_name = "Something else".into();
    client.publish(changed).await.unwrap();
    client.deactivate("owner").await.unwrap();
    client.buy("", "ada", "INR", 500_000).await.unwrap();
    let head = database.count("select count(*) from events").await;

    let check = |again: Vec<String>, when: &str| {
        let both = again.iter().zip(&first);
        let differing: Vec<_> = both.filter(|(again, first)| again != first).collect();
        assert!(differing.is_empty(), "other answers {when}, and the first: {differing:#?}");
    };
    check(every_write(&pair.client(1)).await, "on the other server");
    pair.stop().await;
    let server = Server::start(&database).await;
    check(every_write(&server.client()).await, "after a restart");
    server.kill().await;
    let server = Server::start(&database).await;
    check(every_write(&server.client()).await, "after a kill");

    assert_eq!(database.count("select count(*) from events").await, head);
    assert_eq!(uses(&database.pool, COMMISSION, "owner").await, 2);
    server.stop().await;
    check_books(&database).await;
    database.check().await;
}

#[tokio::test]
async fn a_request_id_with_another_content_is_refused_by_any_server_and_changes_nothing() {
    let database = TestDatabase::new().await;
    let pair = Pair::start(&database).await;
    let (here, there) = (pair.client(0), pair.client(1));
    here.publish(uncapped()).await.unwrap();
    let code = here.sign_up(COMMISSION, "owner", "").await.unwrap().code;
    here.sign_up(COMMISSION, "friend", &code).await.unwrap();
    let ada = RegisterUserRequest {
        request_id: "sign-up".into(),
        ..sign_up_request(COMMISSION, "ada", &code)
    };
    here.register(ada.clone()).await.unwrap();
    let own_id = |purchase_id: &str, request_id: &str, minor_units| RecordPurchaseRequest {
        purchase_id: purchase_id.into(),
        amount: Some(inr(minor_units)),
        ..purchase(request_id, "friend")
    };
    here.record(own_id("one", "buy-one", 100_000)).await.unwrap();
    there.record(own_id("two", "buy-two", 100_000)).await.unwrap();
    let events = database.count("select count(*) from events").await;

    let reused = (Code::AlreadyExists, "REQUEST_ID_REUSED".to_owned());
    for client in [&here, &there] {
        for other in [
            RegisterUserRequest { username: "ada2".into(), ..ada.clone() },
            RegisterUserRequest { user_id: "ada2".into(), ..ada.clone() },
            RegisterUserRequest { referral_code: String::new(), ..ada.clone() },
        ] {
            assert_eq!(reason(&client.register(other).await.unwrap_err()), reused);
        }
        for other in [
            own_id("one", "buy-one", 100_001),
            own_id("three", "buy-one", 100_000),
            own_id("", "buy-one", 100_000),
            // Even if the other purchase is known as well.
            own_id("two", "buy-one", 100_000),
        ] {
            let error = client.record(other.clone()).await.expect_err(&format!("{other:?}"));
            assert_eq!(reason(&error), reused, "{other:?}");
        }
    }
    // Each RPC has its own request ids.
    there.record(own_id("four", "sign-up", 100_000)).await.unwrap();
    let recorded = database
        .count(
            "select (metadata ->> 'command_events')::bigint from events \
                where aggregate_id = 'four' and sequence = 1",
        )
        .await;
    assert_eq!(database.count("select count(*) from events").await, events + recorded);
    pair.stop().await;
    check_books(&database).await;
    database.check().await;
}

#[tokio::test]
async fn of_different_requests_under_one_id_at_once_one_is_carried_out() {
    let database = TestDatabase::new().await;
    let pair = Pair::start(&database).await;
    pair.client(0).publish(uncapped()).await.unwrap();
    let code = pair.client(0).sign_up(COMMISSION, "owner", "").await.unwrap().code;
    pair.client(0).sign_up(COMMISSION, "friend", &code).await.unwrap();

    for round in 0..6 {
        let answers = at_once((0..6).map(|number| {
            let client = pair.client(number);
            let request = RecordPurchaseRequest {
                amount: Some(inr(100_000 * (1 + i64::try_from(number / 2).unwrap()))),
                ..purchase(&format!("request{round}"), "friend")
            };
            async move { client.record(request).await }
        }))
        .await;

        let mut answered = Vec::new();
        for answer in answers {
            match answer {
                Ok(answer) => answered.push(answer),
                Err(status) => {
                    let reused = (Code::AlreadyExists, "REQUEST_ID_REUSED".to_owned());
                    assert_eq!(reason(&status), reused);
                }
            }
        }
        assert_eq!(answered.len(), 2, "each amount was sent twice");
        assert_eq!(answered[0], answered[1]);
    }
    assert_eq!(granted(&database, COMMISSION, "owner", 1).await.count, 6);
    pair.stop().await;
    check_books(&database).await;
    database.check().await;
}

#[tokio::test]
async fn a_refused_request_leaves_its_id_unused_on_every_server() {
    let database = TestDatabase::new().await;
    let pair = Pair::start(&database).await;
    let (here, there) = (pair.client(0), pair.client(1));
    here.publish_shipped(COUNT).await;
    let early = RegisterUserRequest {
        request_id: "once".into(),
        ..sign_up_request(COUNT, "friend", "NOSUCHCODE")
    };
    let refused = here.register(early).await.unwrap_err();
    assert_eq!(reason(&refused), (Code::NotFound, "REFERRAL_CODE_NOT_FOUND".to_owned()));
    let refused = there.record(purchase("once", "friend")).await.unwrap_err();
    assert_eq!(reason(&refused), (Code::NotFound, "USER_NOT_FOUND".to_owned()));

    let code = there.sign_up(COUNT, "owner", "").await.unwrap().code;
    let request = RegisterUserRequest {
        request_id: "once".into(),
        ..sign_up_request(COUNT, "friend", &code)
    };
    let answer = there.register(request.clone()).await.unwrap();
    assert_eq!(here.register(request).await.unwrap(), answer);
    let answer = here.record(purchase("once", "friend")).await.unwrap();
    assert_eq!(there.record(purchase("once", "friend")).await.unwrap(), answer);
    assert_eq!(uses(&database.pool, COUNT, "owner").await, 1);
    pair.stop().await;
    check_books(&database).await;
    database.check().await;
}

/// A referrer with a referrer and a friend, for purchases that pay two levels.
async fn line(client: &Client) {
    client.publish(uncapped()).await.unwrap();
    let code = client.sign_up(COMMISSION, "top", "").await.unwrap().code;
    let code = client.sign_up(COMMISSION, "owner", &code).await.unwrap().code;
    for friend in 0..4 {
        client.sign_up(COMMISSION, &format!("friend{friend}"), &code).await.unwrap();
    }
}

/// Checks that exactly this number of purchases is in the log, each with both its rewards.
async fn check_purchases(database: &TestDatabase, expected: i64) {
    let recorded = "select count(*) from events where event_type = 'PurchaseRecorded'";
    assert_eq!(database.count(recorded).await, expected);
    let paid = Grants { count: expected, amount: expected * 5_000 };
    assert_eq!(granted(database, COMMISSION, "owner", 1).await, paid);
    let paid = Grants { count: expected, amount: expected * 1_000 };
    assert_eq!(granted(database, COMMISSION, "top", 2).await, paid);
    let wrong = "select count(*) from (
            select from events
            where event_type = 'RewardGranted'
            group by payload ->> 'purchase_id' having count(*) <> 2
        ) as purchases";
    assert_eq!(database.count(wrong).await, 0, "purchases without two rewards");
}

/// Polls a call a number of times, and hangs up if it has not ended by then.
async fn hang_up_after<T>(steps: usize, call: impl Future<Output = T>) -> Option<T> {
    let mut call = Box::pin(call);
    for _ in 0..steps {
        let ended = std::future::poll_fn(|context| Poll::Ready(call.as_mut().poll(context))).await;
        if let Poll::Ready(answer) = ended {
            return Some(answer);
        }
        tokio::task::yield_now().await;
    }
    None
}

#[tokio::test]
async fn a_client_that_hangs_up_neither_undoes_nor_halves_its_purchase() {
    let database = TestDatabase::new().await;
    let server = Server::start(&database).await;
    line(&server.client()).await;

    // Some hang up before the request has left, some while it is decided, some after its answer;
    // every third by closing the whole connection.
    let mut acknowledged = HashSet::new();
    let lasting = server.separate_client(Some(ADMIN_KEY)).await;
    for number in 0..150 {
        let client = match number % 3 {
            0 => server.separate_client(Some(ADMIN_KEY)).await,
            _ => lasting.clone(),
        };
        let request = RecordPurchaseRequest {
            purchase_id: format!("order{number}"),
            ..purchase(&format!("request{number}"), &format!("friend{}", number % 4))
        };
        // From zero steps, so that some requests are certainly never sent.
        let steps = (1 << (number % 16)) >> 1;
        let ended = hang_up_after(steps, async { client.record(request).await }).await;
        drop(client);
        if let Some(answer) = ended {
            acknowledged.insert(answer.unwrap().purchase.unwrap().purchase_id);
        }
    }
    server.stop().await;
    let recorded =
        database.count("select count(*) from events where event_type = 'PurchaseRecorded'").await;
    check_purchases(&database, recorded).await;
    check_books(&database).await;
    for purchase_id in &acknowledged {
        let known = format!("select count(*) from events where aggregate_id = '{purchase_id}'");
        assert_eq!(database.count(&known).await, 1);
    }
    assert!(recorded < 150 && recorded > 0, "{recorded} purchases arrived");

    // After they are sent again, each has taken effect once.
    let server = Server::start(&database).await;
    let client = server.client();
    for number in 0..150 {
        let request = RecordPurchaseRequest {
            purchase_id: format!("order{number}"),
            ..purchase(&format!("request{number}"), &format!("friend{}", number % 4))
        };
        client.record(request).await.unwrap();
    }
    check_purchases(&database, 150).await;
    server.stop().await;
    check_books(&database).await;
    database.check().await;
}

#[tokio::test]
async fn a_sign_up_that_was_hung_up_on_and_sent_again_elsewhere_makes_one_account() {
    let database = TestDatabase::new().await;
    let pair = Pair::start(&database).await;
    pair.client(0).publish_shipped(COUNT).await;
    let code = pair.client(0).sign_up(COUNT, "owner", "").await.unwrap().code;

    for number in 0..60 {
        let request = RegisterUserRequest {
            user_id: String::new(),
            request_id: format!("request{number}"),
            ..sign_up_request(COUNT, &format!("friend{number}"), &code)
        };
        // The repetition may overtake the first attempt.
        hang_up_after(1 << (number % 12), pair.client(number).register(request.clone())).await;
        let answer = pair.client(number + 1).register(request.clone()).await.unwrap();
        assert_eq!(answer.participants[0].referrer_user_id, "owner");
        assert_eq!(pair.client(number).register(request).await.unwrap(), answer);
    }
    assert_eq!(uses(&database.pool, COUNT, "owner").await, 60);
    assert_eq!(granted(&database, COUNT, "owner", 1).await, Grants { count: 60, amount: 60 });
    pair.stop().await;
    check_books(&database).await;
    database.check().await;
}

/// What one worker sent: each request, and its answer if one came.
type Sent = Vec<(RecordPurchaseRequest, Option<RecordPurchaseResponse>)>;

/// The progress of a load.
#[derive(Default)]
struct Progress {
    acknowledged: AtomicUsize,
    /// Whether the server is being killed, so that calls may fail.
    killing: AtomicBool,
}

impl Progress {
    async fn until_acknowledged(&self, number: usize) {
        for _ in 0..6_000 {
            if self.acknowledged.load(Ordering::SeqCst) >= number {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        panic!("only {} purchases were acknowledged", self.acknowledged.load(Ordering::SeqCst));
    }
}

/// Records purchases with several workers until the server is killed.
async fn buy_until_killed(
    clients: Vec<Client>,
    round: usize,
    progress: Arc<Progress>,
) -> Vec<Sent> {
    at_once(clients.into_iter().enumerate().map(|(worker, client)| {
        let progress = progress.clone();
        async move {
            let mut sent = Sent::new();
            loop {
                let number = sent.len();
                let id = format!("r{round}-{worker}-{number}");
                let request = RecordPurchaseRequest {
                    // Half of them are only identified by the request id.
                    purchase_id: if number.is_multiple_of(2) { id.clone() } else { String::new() },
                    ..purchase(&id, &format!("friend{}", worker % 4))
                };
                let answer = client.record(request.clone()).await;
                if let Err(status) = &answer {
                    assert!(progress.killing.load(Ordering::SeqCst), "{status:?}");
                }
                let answer = answer.ok();
                sent.push((request, answer.clone()));
                if answer.is_none() {
                    return sent;
                }
                progress.acknowledged.fetch_add(1, Ordering::SeqCst);
            }
        }
    }))
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_killed_under_load_loses_no_answer_and_doubles_nothing() {
    let database = TestDatabase::new().await;
    let mut server = Server::start(&database).await;
    line(&server.client()).await;

    let mut sent = Sent::new();
    for round in 0..4 {
        let mut clients = Vec::new();
        for _ in 0..8 {
            clients.push(server.separate_client(Some(ADMIN_KEY)).await);
        }
        let progress = Arc::new(Progress::default());
        let load = tokio::spawn(buy_until_killed(clients, round, progress.clone()));
        progress.until_acknowledged(20 + 13 * round).await;
        progress.killing.store(true, Ordering::SeqCst);
        server.kill().await;
        let of_round: Sent = load.await.unwrap().concat();

        server = Server::start(&database).await;
        let client = server.client();
        for (request, answer) in of_round {
            if answer.is_some() {
                sent.push((request, answer));
            } else {
                let answer = client.record(request.clone()).await.unwrap();
                sent.push((request, Some(answer)));
            }
        }
    }

    let expected = i64::try_from(sent.len()).unwrap();
    check_purchases(&database, expected).await;
    let client = server.client();
    for (request, answer) in sent {
        let answer = answer.unwrap();
        assert_eq!(client.record(request).await.unwrap(), answer);
    }
    check_purchases(&database, expected).await;
    server.stop().await;
    check_books(&database).await;
    database.check().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_killed_beside_another_hands_its_requests_over_to_it() {
    let database = TestDatabase::new().await;
    let killed = Server::start(&database).await;
    let other = Server::start(&database).await;
    line(&other.client()).await;

    // Both servers write the same streams when one of them is killed, possibly while it holds the log's lock.
    let mut clients = Vec::new();
    for _ in 0..6 {
        clients.push(killed.separate_client(Some(ADMIN_KEY)).await);
    }
    let progress = Arc::new(Progress::default());
    let cut_off = tokio::spawn(buy_until_killed(clients, 0, progress.clone()));
    let client = other.client();
    let unharmed = tokio::spawn(at_once((0..6).map(move |worker| {
        let client = client.clone();
        async move {
            for number in 0..40 {
                let request = purchase(&format!("other-{worker}-{number}"), "friend0");
                client.record(request).await.unwrap();
            }
        }
    })));
    progress.until_acknowledged(40).await;
    progress.killing.store(true, Ordering::SeqCst);
    killed.kill().await;
    unharmed.await.unwrap();

    let sent: Sent = cut_off.await.unwrap().concat();
    let expected = i64::try_from(sent.len()).unwrap() + 6 * 40;
    for (request, answer) in sent {
        let again = other.client().record(request).await.unwrap();
        assert!(answer.is_none_or(|answer| answer == again));
    }
    check_purchases(&database, expected).await;
    other.stop().await;
    check_books(&database).await;
    database.check().await;
}
