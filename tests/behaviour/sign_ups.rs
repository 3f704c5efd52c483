//! Sign-ups that wait until their address is confirmed, by call and by page, with a real mail server.

use std::time::{Duration, Instant};

use contract::parse_program;
use contract::pb::*;
use sqlx::Executor;
use tonic::{Code, Status};
use tonic_types::StatusExt;

use super::support::{PATIENCE, log_length, refused};
use testing::people::{People, with};
use testing::plain_http::{get, send};
use testing::{
    Client, MailServer, Server, ServerOptions, TestDatabase, at_once, program, tributary,
};

const PASSWORD: &str = "Correct-Horse-7";
const COUNT: &str = "referral-count";
const WAITING: &str = "select count(*) from sign_ups where confirmed_at is null";

struct Scene {
    database: TestDatabase,
    server: Server,
    admin: Client,
    anybody: Client,
    mails: MailServer,
    metrics: String,
}

/// A server whose sign-ups wait.
async fn scene() -> Scene {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let metrics = free.local_addr().unwrap().to_string();
    drop(free);
    let (database, mails) = (TestDatabase::new().await, MailServer::start().await);
    let mut arguments = mails.arguments();
    let own = ["--confirm-sign-ups", "on", "--metrics-listen", &metrics];
    arguments.extend(own.map(ToOwned::to_owned));
    let server = Server::start_with(&database.url, &ServerOptions { arguments }).await;
    let admin = server.client();
    admin.publish_shipped(COUNT).await;
    let anybody = server.separate_client(None).await;
    Scene { database, server, admin, anybody, mails, metrics }
}

impl Scene {
    async fn end(self) {
        self.server.stop().await;
        self.database.check().await;
    }

    /// The passwords that were hashed for sign-ups by users themselves.
    async fn hashed(&self) -> u32 {
        self.metric("tributary_sign_ups_hashed_total").await
    }

    /// The value of a metric; 0 if it was never set.
    async fn metric(&self, name: &str) -> u32 {
        let text = get(&self.metrics, "/metrics", &[]).await.unwrap().text();
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        value.map_or(0, |value| value.parse().unwrap())
    }

    /// The token of the newest mail to an address, which has had so many.
    async fn token(&self, address: &str, count: usize) -> String {
        token_in(&self.mails, address, count).await
    }

    /// Everything of which a user is made.
    async fn traces(&self) -> i64 {
        let rows = "select (select count(*) from events) + (select count(*) from claims)
            + (select count(*) from profiles) + (select count(*) from enrollments)
            + (select count(*) from referrals) + (select count(*) from receipts)";
        self.database.count(rows).await
    }
}

pub(super) async fn token_in(mails: &MailServer, address: &str, count: usize) -> String {
    let mail = mails.mails_to(address, count).await.pop().unwrap();
    let link = mail.link("/confirm-email");
    link.split_once("token=").unwrap().1.to_owned()
}

fn sign_up(username: &str, email: &str, code: &str) -> RegisterUserRequest {
    RegisterUserRequest {
        username: username.into(),
        email: email.into(),
        password: PASSWORD.into(),
        referral_code: code.into(),
        program_id: COUNT.into(),
        ..Default::default()
    }
}

/// What every sign-up that waits is answered.
fn waits() -> RegisterUserResponse {
    RegisterUserResponse { confirmation_mailed: true, ..Default::default() }
}

pub(super) async fn confirm(client: &Client, token: &str) -> Result<ConfirmEmailResponse, Status> {
    let request = ConfirmEmailRequest { token: token.into() };
    Ok(client.accounts().confirm_email(client.request(request)).await?.into_inner())
}

async fn resend(client: &Client, login: &str) {
    let request = ResendConfirmationRequest { login: login.into() };
    client.accounts().resend_confirmation(client.request(request)).await.unwrap();
}

#[tokio::test]
async fn a_sign_up_becomes_an_account_with_its_referral_when_its_address_is_confirmed() {
    let scene = scene().await;
    // A back end registers its users as ever.
    let ada = scene.admin.sign_up(COUNT, "ada", "").await.unwrap();
    let welcome = scene.mails.mails_to("ada@example.com", 1).await.remove(0);
    assert!(welcome.header("Subject").starts_with("Welcome"), "{welcome:?}");
    let before = scene.traces().await;

    let request = RegisterUserRequest {
        display_name: "Bo evil.com".into(),
        client_ip: "203.0.113.1".into(),
        ..sign_up("bo", " Bo@Example.com ", &ada.code)
    };
    assert_eq!(scene.anybody.register(request).await.unwrap(), waits());
    let mail = scene.mails.mails_to("Bo@Example.com", 1).await.remove(0);
    assert_eq!(mail.header("Subject"), "Please confirm your sign-up");
    assert!(mail.text().contains("username bo.") && mail.text().contains("7 days"), "{mail:?}");
    // Free text of a stranger is not mailed to anybody.
    assert!(!mail.text().contains("evil"), "{mail:?}");
    assert_eq!(scene.traces().await, before, "nothing is left but the sign-up");
    let from = "select count(*) from sign_ups where client_ip = '127.0.0.1'";
    assert_eq!(scene.database.count(from).await, 1, "what a stranger names is ignored");
    let told = "select count(*) from jobs where payload::text ilike '%example.com%'";
    assert_eq!(scene.database.count(told).await, 0, "jobs have ids only");
    let people = People::of(&scene.anybody);
    for login in ["bo", "bo@example.com"] {
        refused(people.login(login, PASSWORD).await, Code::Unauthenticated, "LOGIN_FAILED");
    }
    let page = format!("/confirm-email?token={}", scene.token("Bo@Example.com", 1).await);
    let opened = get(&scene.server.address, &page, &[]).await.unwrap();
    assert_eq!((opened.status, scene.traces().await), (200, before), "opening changes nothing");
    // The page says what is confirmed, and by whom it could be.
    let text = opened.text();
    assert!(text.contains("the username bo.") && text.contains("somebody else knows"), "{text}");

    let token = scene.token("Bo@Example.com", 1).await;
    let first = confirm(&scene.anybody, &token).await.unwrap();
    let user = scene.admin.user(&first.user_id).await.unwrap();
    assert!(user.email_confirmed);
    assert_eq!(user.user.as_ref().unwrap().display_name, "Bo evil.com");
    assert_eq!(user.participants[0].referrer_user_id, "ada");
    assert_eq!(
        people.me(&people.login("bo", PASSWORD).await.unwrap().access_token).await.unwrap().user_id,
        first.user_id
    );
    // One command, through the door by which it came.
    let events: Vec<(String, Option<String>)> = sqlx::query_as(
        "select event_type, metadata ->> 'door' from events where aggregate_id = $1
         and event_type <> 'UserEnrolled' order by sequence",
    )
    .bind(&first.user_id)
    .fetch_all(&scene.database.pool)
    .await
    .unwrap();
    let expected = [
        ("UserRegistered".into(), Some("ConfirmEmail".into())),
        ("UserEmailConfirmed".into(), None),
    ];
    assert_eq!(events, expected);

    // Again is the same answer, and does nothing; the sign-up has nothing personal any more.
    let length = log_length(&scene.database).await;
    for _ in 0..2 {
        assert_eq!(confirm(&scene.anybody, &token).await.unwrap(), first);
    }
    assert_eq!(log_length(&scene.database).await, length);
    let left = "select count(*) from sign_ups
        where confirmed_at is null or num_nonnulls(address, email, username, display_name, password_hash, program_id,
            referral_code, client_ip) > 0";
    assert_eq!(scene.database.count(left).await, 0);
    let again = scene.mails.mails_to("Bo@Example.com", 2).await.remove(1);
    assert!(again.header("Subject").starts_with("Welcome"), "{again:?}");

    // Whoever has signed in is no back end either.
    let session = people.login("bo", PASSWORD).await.unwrap().access_token;
    let request = with(&session, sign_up("cy", "cy@example.com", ""));
    let answer = people.service().register_user(request).await.unwrap().into_inner();
    assert_eq!(answer, waits());
    scene.mails.mails_to("cy@example.com", 1).await;
    let exported = scene.admin.export(&first.user_id).await.unwrap();
    assert!(exported.contains("\"sign_ups\"") && !exported.contains("argon2"), "{exported}");
    scene.end().await;
}

#[tokio::test]
async fn the_answer_and_the_work_are_the_same_whether_or_not_the_address_has_an_account() {
    let scene = scene().await;
    scene.admin.sign_up(COUNT, "ada", "").await.unwrap();
    scene.mails.mails_to("ada@example.com", 1).await;
    let before = scene.traces().await;
    let (mut least, mut hashed) = (Duration::MAX, scene.hashed().await);
    let repeatable = |username: &str, email: &str| RegisterUserRequest {
        request_id: "once".into(),
        ..sign_up(username, email, "")
    };
    for (username, email) in [("eve", "ADA@example.com"), ("bo", "bo@example.com")] {
        let request = repeatable(username, email);
        let began = Instant::now();
        assert_eq!(scene.anybody.register(request.clone()).await.unwrap(), waits());
        least = least.min(began.elapsed());
        assert_eq!(scene.hashed().await, hashed + 1, "{email}");
        hashed += 1;
        // A repetition does nothing, and another request with its id is another request.
        let other = RegisterUserRequest { display_name: "Other".into(), ..request.clone() };
        assert_eq!(scene.anybody.register(request).await.unwrap(), waits());
        let reused = scene.anybody.register(other).await;
        refused(reused, Code::AlreadyExists, "REQUEST_ID_REUSED");
        assert_eq!(scene.hashed().await, hashed, "{email}");
    }
    assert!(least >= Duration::from_millis(250), "{least:?}");
    let told = scene.mails.mails_to("ada@example.com", 2).await.remove(1);
    assert_eq!(told.header("Subject"), "You have an account already");
    // Nobody has confirmed the address, so that it gets no name.
    let text = told.text();
    assert!(!text.contains("your username is") && !text.contains("eve"), "{text}");
    scene.mails.mails_to("bo@example.com", 1).await;
    assert_eq!(scene.database.count(WAITING).await, 1);

    // Whatever else is wrong is answered at once, and costs no hash.
    for email in ["ada@example.com", "new@example.com"] {
        let taken = scene.anybody.register(sign_up("ADA", email, "")).await;
        let status = refused(taken, Code::AlreadyExists, "USERNAME_TAKEN");
        let details = status.get_error_details();
        assert_eq!(details.bad_request().unwrap().field_violations.len(), 1);
        let unknown = scene.anybody.register(sign_up("new", email, "NOBODYS1")).await;
        refused(unknown, Code::NotFound, "REFERRAL_CODE_NOT_FOUND");
        let weak = RegisterUserRequest { password: "a".into(), ..sign_up("new", email, "") };
        refused(scene.anybody.register(weak).await, Code::InvalidArgument, "INVALID_FIELD");
        let with_key = RegisterUserRequest { issue_api_key: true, ..sign_up("new", email, "") };
        let status =
            refused(scene.anybody.register(with_key).await, Code::InvalidArgument, "INVALID_FIELD");
        let details = status.get_error_details();
        let violation = &details.bad_request().unwrap().field_violations[0];
        assert_eq!((&*violation.field, &*violation.reason), ("issue_api_key", "UNSUPPORTED_FIELD"));
    }
    assert_eq!(scene.hashed().await, hashed);

    // The owner is told a few times an hour, however often somebody tries.
    for number in 0..4 {
        let request = sign_up(&format!("eve{number}"), "ada@example.com", "");
        assert_eq!(scene.anybody.register(request).await.unwrap(), waits());
    }
    let mails = "select count(*) from mails where kind = 'account_exists'";
    assert_eq!(scene.database.count(mails).await, 3);
    let told_often = "tributary_sign_ups_dropped_total{limit=\"owner\"}";
    assert_eq!(scene.metric(told_often).await, 2);
    assert_eq!(scene.traces().await, before);
    // A back end gets its key at once.
    let with_key = RegisterUserRequest {
        issue_api_key: true,
        user_id: "u-2".into(),
        ..sign_up("di", "di@example.com", "")
    };
    assert!(!scene.admin.register(with_key).await.unwrap().api_key.is_empty());
    scene.end().await;
}

#[tokio::test]
async fn a_sign_up_under_the_address_or_the_username_of_others_blocks_nobody() {
    let scene = scene().await;
    let owner = "owner@example.com";
    scene.anybody.register(sign_up("squatter", owner, "")).await.unwrap();
    let of_squatter = scene.token(owner, 1).await;
    scene.anybody.register(sign_up("owner", "OWNER@example.com", "")).await.unwrap();
    let of_owner = scene.token("OWNER@example.com", 1).await;
    scene.anybody.register(sign_up("owner", "third@example.com", "")).await.unwrap();
    let of_third = scene.token("third@example.com", 1).await;

    let user_id = confirm(&scene.anybody, &of_owner).await.unwrap().user_id;
    let names = scene.admin.user(&user_id).await.unwrap().user.unwrap();
    assert_eq!(names.username, "owner");
    // Both others are told what to do, and stay.
    let length = log_length(&scene.database).await;
    let late = confirm(&scene.anybody, &of_squatter).await;
    let status = refused(late, Code::AlreadyExists, "EMAIL_TAKEN");
    assert!(status.message().contains("log in"), "{status:?}");
    let taken = confirm(&scene.anybody, &of_third).await;
    let status = refused(taken, Code::AlreadyExists, "USERNAME_TAKEN");
    assert!(status.message().contains("sign up again"), "{status:?}");
    assert_eq!(status.get_error_details().error_info().unwrap().metadata["username"], "owner");
    assert_eq!(log_length(&scene.database).await, length);
    assert_eq!(scene.database.count(WAITING).await, 2);

    // The username is given up, and the page makes the account of the one who waits.
    let rename = UpdateProfileRequest {
        user_id: user_id.clone(),
        username: Some("another".into()),
        ..Default::default()
    };
    let form = "content-type: application/x-www-form-urlencoded";
    let press = async |token: &str| {
        let (line, pressed) = ("POST /confirm-email", format!("token={token}"));
        send(&scene.server.address, line, &[form], pressed.as_bytes()).await.unwrap()
    };
    let page = press(&of_squatter).await;
    assert_eq!((page.status, page.text().contains("has this e-mail address")), (409, true));
    let page = press(&of_third).await;
    assert_eq!((page.status, page.text().contains("taken the username")), (409, true));
    scene.admin.accounts().update_profile(scene.admin.request(rename)).await.unwrap();
    let text = press(&of_third).await.text();
    assert!(text.contains("account is ready") && text.contains("the username owner"), "{text}");
    let page = press(&of_third).await;
    assert_eq!((page.status, page.text().contains("is confirmed")), (200, true));

    // An erased user takes along what others have signed up with their address, and its mails.
    assert_eq!(scene.database.count(WAITING).await, 1);
    scene.admin.erase(&user_id, false).await.unwrap();
    assert_eq!(scene.database.count("select count(*) from sign_ups").await, 1);
    let left = "select count(*) from (select recipient as address from mails
        union all select email from mailed_tokens union all select email from sign_ups) as personal
        where lower(address) = 'owner@example.com'";
    assert_eq!(scene.database.count(left).await, 0);
    refused(confirm(&scene.anybody, &of_owner).await, Code::NotFound, "MAILED_TOKEN_UNKNOWN");
    // The address is free, and whoever signs up with it again is not referred.
    let third = "select aggregate_id from events where event_type = 'UserRegistered'
        order by position desc limit 1";
    let third: String = sqlx::query_scalar(third).fetch_one(&scene.database.pool).await.unwrap();
    let code = scene.admin.user(&third).await.unwrap().participants[0].code.clone();
    scene.anybody.register(sign_up("again", owner, &code)).await.unwrap();
    let again = scene.token(owner, 2).await;
    let user_id = confirm(&scene.anybody, &again).await.unwrap().user_id;
    let user = scene.admin.user(&user_id).await.unwrap();
    assert_eq!(user.participants[0].referrer_user_id, "");
    scene.end().await;
}

#[tokio::test]
async fn a_code_that_is_used_up_meanwhile_is_judged_by_the_policy_when_the_address_is_confirmed() {
    let scene = scene().await;
    let text = std::fs::read_to_string(program(COUNT)).unwrap();
    for (name, policy) in [
        ("rejects", InvalidCodePolicy::Reject),
        ("registers", InvalidCodePolicy::RegisterUnreferred),
    ] {
        let mut rules = parse_program(&text).unwrap();
        rules.program_id = name.into();
        rules.max_uses_per_code = Some(1);
        rules.exhausted_code = policy.into();
        scene.admin.publish(rules).await.unwrap();
        let top = scene.admin.sign_up(name, &format!("top-{name}"), "").await.unwrap();
        let address = format!("late-{name}@example.com");
        let late = RegisterUserRequest {
            program_id: name.into(),
            ..sign_up(&format!("late-{name}"), &address, &top.code)
        };
        assert_eq!(scene.anybody.register(late.clone()).await.unwrap(), waits());
        scene.admin.sign_up(name, &format!("first-{name}"), &top.code).await.unwrap();
        let confirmed = confirm(&scene.anybody, &scene.token(&address, 1).await).await;
        if policy == InvalidCodePolicy::Reject {
            let status = refused(confirmed, Code::FailedPrecondition, "CODE_EXHAUSTED");
            assert!(status.message().contains("without one"), "{status:?}");
            assert_eq!(scene.database.count(WAITING).await, 1);
            let at_once = scene.anybody.register(late).await;
            refused(at_once, Code::FailedPrecondition, "CODE_EXHAUSTED");
        } else {
            let user = scene.admin.user(&confirmed.unwrap().user_id).await.unwrap();
            assert_eq!(user.participants[0].referrer_user_id, "");
        }
    }
    scene.end().await;
}

#[tokio::test]
async fn the_link_is_mailed_again_a_few_times_and_ends_after_seven_days() {
    let scene = scene().await;
    let address = "bo@example.com";
    scene.anybody.register(sign_up("bo", address, "")).await.unwrap();
    scene.token(address, 1).await;
    let began = Instant::now();
    for login in ["nobody@example.com", "bo", " BO@example.com"] {
        resend(&scene.anybody, login).await;
    }
    assert!(began.elapsed() >= Duration::from_millis(750), "{:?}", began.elapsed());
    let second = scene.token(address, 2).await;
    for _ in 0..12 {
        resend(&scene.anybody, address).await;
    }
    let tokens = "select count(*) from mailed_tokens where purpose = 'confirm_sign_up'";
    // No more than five mails an hour go out for one sign-up.
    assert_eq!(scene.database.count(tokens).await, 5);
    let over = "select count(*) from mails where kind = 'confirm_sign_up' and outcome is null";
    for _ in 0..500 {
        if scene.database.count(over).await == 0 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    scene.mails.mails_to(address, 5).await;

    // Sign-ups of one address from one network are limited too, which nobody is told.
    for number in 0..6 {
        let request = sign_up(&format!("other-{number}"), "other@example.com", "");
        assert_eq!(scene.anybody.register(request).await.unwrap(), waits());
    }
    let other = "select count(*) from sign_ups where address = 'other@example.com'";
    assert_eq!(scene.database.count(other).await, 3);
    let dropped = "tributary_sign_ups_dropped_total{limit=\"address\"}";
    assert_eq!(scene.metric(dropped).await, 3, "operators see it");
    let counted = async {
        while scene.metric("tributary_sign_ups_waiting").await != 4 {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(PATIENCE, counted).await.expect("the sign-ups that wait are counted");
    scene.mails.mails_to("other@example.com", 3).await;

    // Seven days later.
    for statement in [
        "update sign_ups set created_at = created_at - interval '7 days' where username = 'bo'",
        "update mailed_tokens set expires_at = expires_at - interval '7 days' where email = 'bo@example.com'",
    ] {
        scene.database.pool.execute(statement).await.unwrap();
    }
    let late = confirm(&scene.anybody, &second).await;
    let status = refused(late, Code::FailedPrecondition, "MAILED_TOKEN_EXPIRED");
    assert!(status.message().contains("sign up again"), "{status:?}");
    resend(&scene.anybody, address).await;
    assert_eq!(scene.database.count(tokens).await, 8, "three of others");
    let again = "update jobs set state = 'queued', run_after = now() where kind = 'clean'";
    scene.database.pool.execute(again).await.unwrap();
    for _ in 0..1_500 {
        if scene.database.count("select count(*) from sign_ups where username = 'bo'").await == 0 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let left = "select (select count(*) from sign_ups where email like 'bo@%')
        + (select count(*) from mailed_tokens where email like 'bo@%')
        + (select count(*) from mails where recipient like 'bo@%')";
    assert_eq!(scene.database.count(left).await, 0);
    refused(confirm(&scene.anybody, &second).await, Code::NotFound, "MAILED_TOKEN_UNKNOWN");
    assert_eq!(scene.database.count(other).await, 3);
    scene.end().await;
}

#[tokio::test]
async fn sign_ups_for_one_address_at_once_wait_side_by_side_and_a_repeated_one_waits_once() {
    let scene = scene().await;
    let answers = at_once((0..6).map(|number| {
        let anybody = scene.anybody.clone();
        let request = RegisterUserRequest {
            request_id: "once".into(),
            ..sign_up("bo", &format!("bo{}@example.com", number % 2), "")
        };
        async move { anybody.register(request).await }
    }))
    .await;
    assert!(answers.into_iter().all(|answer| answer.unwrap() == waits()));
    assert_eq!(scene.database.count(WAITING).await, 2);
    let mut tokens = Vec::new();
    for address in ["bo0@example.com", "bo1@example.com"] {
        tokens.push(scene.token(address, 1).await);
    }
    let confirmed = at_once(tokens.into_iter().map(|token| {
        let anybody = scene.anybody.clone();
        async move { confirm(&anybody, &token).await }
    }))
    .await;
    let (made, others): (Vec<_>, Vec<_>) = confirmed.into_iter().partition(Result::is_ok);
    assert_eq!((made.len(), others.len()), (1, 1));
    for other in others {
        refused(other, Code::AlreadyExists, "USERNAME_TAKEN");
    }
    scene.end().await;
}

/// Before a mail is sent, and before anything is spent on the password.
#[tokio::test]
async fn too_many_sign_ups_from_one_address_are_refused_before_they_wait_and_keep_no_fingerprint() {
    let scene = scene().await;
    let json = std::fs::read_to_string(program(COUNT)).unwrap();
    let one = SignUpsPerAddressCheck { max_sign_ups: Some(1), ..Default::default() };
    let checks = FraudChecks { sign_ups_per_address: Some(one), ..Default::default() };
    let checked = Program { fraud_checks: Some(checks), ..parse_program(&json).unwrap() };
    scene.admin.publish(checked).await.unwrap();
    let request = RegisterUserRequest {
        fingerprint: "the device of ada".into(),
        ..sign_up("ada", "ada@example.com", "")
    };
    assert_eq!(scene.anybody.register(request).await.unwrap(), waits());
    let kept = "select count(*) from sign_ups where fingerprint_key is not null and fingerprint_key not like '%ada%'";
    assert_eq!(scene.database.count(kept).await, 1);
    let token = scene.token("ada@example.com", 1).await;
    confirm(&scene.anybody, &token).await.unwrap();

    let hashed = scene.hashed().await;
    let again = scene.anybody.register(sign_up("bea", "bea@example.com", "")).await;
    refused(again, Code::ResourceExhausted, "TOO_MANY_SIGN_UPS");
    assert_eq!(scene.hashed().await, hashed);
    let left =
        "select count(*) from sign_ups where fingerprint_key is not null or confirmed_at is null";
    assert_eq!(scene.database.count(left).await, 0);
    let flags = "select count(*) from events where event_type = 'FraudFlagRaised'";
    assert_eq!(scene.database.count(flags).await, 1);
    scene.end().await;
}

#[tokio::test]
async fn without_a_way_to_mail_a_server_with_the_setting_does_not_start() {
    let database = TestDatabase::new().await;
    for arguments in [
        &["serve", "--confirm-sign-ups", "on"][..],
        &["serve", "--confirm-sign-ups", "on", "--public-url", "https://rewards.example.com"],
        &["dev", "--confirm-sign-ups", "on", "--smtp-url", "none", "--listen", "127.0.0.1:0"],
    ] {
        let mut command = tributary();
        command.args(arguments).env("TRIBUTARY_ADMIN_KEY", testing::ADMIN_KEY);
        if arguments[0] == "serve" {
            command.env("DATABASE_URL", &database.url);
        }
        let output = command.output().await.unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success(), "{arguments:?}");
        assert!(
            said.contains("--confirm-sign-ups (TRIBUTARY_CONFIRM_SIGN_UPS): needs mails"),
            "{arguments:?}: {said}"
        );
    }
}
