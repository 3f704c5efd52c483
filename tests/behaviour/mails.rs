//! Mails, as people get them and operators see them: through a real mail server.

use std::time::{Duration, Instant};

use contract::parse_program;
use contract::pb::*;
use domain::UserId;
use sqlx::Connection;
use tonic::{Code, Status};

use super::bad_input::at_fault;
use super::support::{refused, server_with_mails};
use testing::plain_http::{Answer, get, send};
use testing::{
    Act, Client, MailServer, Server, address_of, program, reason, sign_up_request, tributary,
};

async fn list(client: &Client, request: ListMailsRequest) -> Result<Vec<Mail>, Status> {
    let answer = client.operators().list_mails(client.request(request)).await?;
    Ok(answer.into_inner().mails)
}

async fn retry(client: &Client, mail_id: &str) -> Result<Mail, Status> {
    let request = RetryMailRequest { mail_id: mail_id.into() };
    let answer = client.operators().retry_mail(client.request(request)).await?;
    Ok(answer.into_inner().mail.unwrap())
}

/// The only mail of a kind to a user, once it is in a state.
async fn mail_in(client: &Client, user_id: &str, kind: MailKind, state: MailState) -> Mail {
    let request =
        ListMailsRequest { user_id: user_id.into(), kind: kind.into(), ..Default::default() };
    let mut mails = Vec::new();
    for _ in 0..1_500 {
        mails = list(client, request.clone()).await.unwrap();
        if mails.len() == 1 && mails[0].state() == state {
            return mails.remove(0);
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("{mails:#?}");
}

/// The subjects of all mails to a user.
async fn subjects(mail_server: &MailServer, user_id: &str, count: usize) -> Vec<String> {
    let mails = mail_server.mails_to(&address_of(user_id), count).await;
    let mut subjects: Vec<String> = mails.iter().map(|mail| mail.header("Subject")).collect();
    subjects.sort();
    subjects
}

#[tokio::test]
async fn each_occasion_sends_one_mail_and_a_conversion_pays_and_tells_both_sides() {
    let programs = ["first-purchase-bonus", "referral-count", "multi-level-commission"];
    let (database, server, client, mail_server) = server_with_mails(&programs).await;
    let ada = RegisterUserRequest {
        display_name: "Ada <b>L</b> evil.com".into(),
        ..sign_up_request("first-purchase-bonus", "ada", "")
    };
    let ada = client.register(ada).await.unwrap().participants.remove(0);
    let welcome = mail_server.mails_to("ada@example.com", 1).await.remove(0);
    let text = welcome.text();
    assert!(text.contains("Hello Ada <b>L</b> evil.\u{2060}com,"), "{text}");
    assert!(text.contains("Hello Ada &lt;b&gt;L&lt;&#x2f;b&gt; evil.\u{2060}com,"), "{text}");
    assert!(text.contains(&ada.link) && text.contains(&ada.code), "{text}");
    for (name, value) in [
        ("From", "Rewards <rewards@example.com>"),
        ("To", "ada@example.com"),
        ("Auto-Submitted", "auto-generated"),
        ("List-Unsubscribe-Post", "List-Unsubscribe=One-Click"),
    ] {
        assert_eq!(welcome.header(name), value, "{name}");
    }
    assert!(welcome.header("Message-ID").ends_with("@example.com>"));
    assert!(!welcome.header("Date").is_empty());
    let unsubscribe = welcome.header("List-Unsubscribe");
    assert!(unsubscribe.starts_with("<https://rewards.example.com/unsubscribe?token="));

    // The referral, and later its conversion: two mails to the referrer, one to the referee.
    client.sign_up("first-purchase-bonus", "bo", &ada.code).await.unwrap();
    let referral = mail_server.mails_to("ada@example.com", 2).await.remove(1);
    assert!(referral.text().contains("bo has joined"), "{}", referral.text());
    client.buy("too-small", "bo", "USD", 999).await.unwrap();
    client.buy("first", "bo", "USD", 1_000).await.unwrap();
    client.buy("second", "bo", "USD", 1_000).await.unwrap();
    let name = client.publish_shipped("first-purchase-bonus").await.display_name;
    let earned = format!("You have earned 10.00 USD in {name}");
    let welcome = format!("Welcome to {name}");
    let referred = format!("You have referred somebody to {name}");
    assert_eq!(subjects(&mail_server, "bo", 2).await, [welcome.clone(), earned.clone()]);
    assert_eq!(subjects(&mail_server, "ada", 3).await, [welcome, earned, referred]);

    // A referral that converts at once sends one mail, not two.
    let cy = client.sign_up("referral-count", "cy", "").await.unwrap();
    client.sign_up("referral-count", "di", &cy.code).await.unwrap();
    let cy = subjects(&mail_server, "cy", 2).await;
    assert!(cy[1].starts_with("You have earned 1 REFERRALS"), "{cy:?}");
    subjects(&mail_server, "di", 1).await;

    // Everyone up the line is paid; only the direct referrer is told who has bought.
    let top = client.sign_up("multi-level-commission", "top", "").await.unwrap();
    let middle = client.sign_up("multi-level-commission", "mid", &top.code).await.unwrap();
    client.sign_up("multi-level-commission", "leaf", &middle.code).await.unwrap();
    for purchase in ["leaf-1", "leaf-2"] {
        client.buy(purchase, "leaf", "INR", 100_000).await.unwrap();
    }
    let earned = |mails: Vec<testing::Received>| {
        let earned = mails.iter().find(|mail| mail.header("Subject").contains("earned"));
        earned.expect("a mail about the conversion").text()
    };
    let middle = earned(mail_server.mails_to("mid@example.com", 3).await);
    assert!(
        middle.contains("50.00 INR") && middle.contains("leaf was referred by you"),
        "{middle}"
    );
    let top = earned(mail_server.mails_to("top@example.com", 3).await);
    assert!(top.contains("10.00 INR") && !top.contains("leaf"), "{top}");
    subjects(&mail_server, "leaf", 1).await;
    assert_eq!(mail_server.received().len(), 2 + 3 + 2 + 1 + 3 + 3 + 1);

    let sent = mail_in(&client, "di", MailKind::Welcome, MailState::Sent).await;
    assert_eq!((&*sent.email, sent.attempts, &*sent.last_error), ("di@example.com", 1, ""));
    assert!(sent.finish_time.is_some() && sent.next_attempt_time.is_none());
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn each_tier_that_is_reached_is_told_once() {
    let (database, server, client, mail_server) = server_with_mails(&["tiered-points"]).await;
    let ada = client.sign_up("tiered-points", "ada", "").await.unwrap();
    for number in 1..=11 {
        client.sign_up("tiered-points", &format!("r{number}"), &ada.code).await.unwrap();
    }
    // The welcome, eleven referrals that earned at once, and Silver.
    let subjects = subjects(&mail_server, "ada", 13).await;
    let tiers = subjects.iter().filter(|subject| subject.contains("reached")).collect::<Vec<_>>();
    assert!(tiers.len() == 1 && tiers[0].contains("reached Silver"), "{subjects:?}");
    assert_eq!(subjects.iter().filter(|subject| subject.contains("earned")).count(), 11);
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn a_program_that_does_not_send_mails_sends_none() {
    let (database, server, client, mail_server) = server_with_mails(&[]).await;
    let json = std::fs::read_to_string(program("referral-count")).unwrap();
    let silent = Program { mails: false, ..parse_program(&json).unwrap() };
    client.publish(silent.clone()).await.unwrap();
    let ada = client.sign_up("referral-count", "ada", "").await.unwrap();
    client.sign_up("referral-count", "bo", &ada.code).await.unwrap();
    // A registration outside of all programs is welcomed.
    client.sign_up("", "cy", "").await.unwrap();
    let welcome = mail_server.mails_to("cy@example.com", 1).await.remove(0);
    assert_eq!(welcome.header("Subject"), "Welcome");
    assert_eq!(mail_server.received().len(), 1);
    // From now on the program sends mails, and nothing old.
    client.publish(Program { mails: true, ..silent }).await.unwrap();
    client.sign_up("referral-count", "di", &ada.code).await.unwrap();
    mail_server.mails_to("di@example.com", 1).await;
    mail_server.mails_to("ada@example.com", 1).await;
    assert_eq!(mail_server.received().len(), 3);
    server.stop().await;
    database.check().await;
}

/// The token of a link, as the path of the page.
fn path(link: &str) -> &str {
    link.trim_matches(['<', '>']).strip_prefix("https://rewards.example.com").unwrap()
}

/// What a mail program sends when somebody presses its button: no cookie, no origin, no sign-in.
async fn one_click(server: &Server, path: &str) -> Answer {
    let headers = ["content-type: application/x-www-form-urlencoded"];
    let body = b"List-Unsubscribe=One-Click";
    send(&server.address, &format!("POST {path}"), &headers, body).await.unwrap()
}

#[tokio::test]
async fn one_click_switches_a_kind_of_mail_off_and_opening_the_page_changes_nothing() {
    let (database, server, client, mail_server) =
        server_with_mails(&["first-purchase-bonus"]).await;
    let ada = client.sign_up("first-purchase-bonus", "ada", "").await.unwrap();
    mail_server.mails_to("ada@example.com", 1).await;
    client.sign_up("first-purchase-bonus", "r1", &ada.code).await.unwrap();
    let mails = mail_server.mails_to("ada@example.com", 2).await;
    let (of_welcome, of_referral) =
        (mails[0].header("List-Unsubscribe"), mails[1].header("List-Unsubscribe"));
    assert_eq!(mails[1].link("/unsubscribe"), of_referral.trim_matches(['<', '>']));
    let unwanted = "select count(*) from mail_opt_outs";

    let page = get(&server.address, path(&of_referral), &["accept: text/html"]).await.unwrap();
    assert_eq!(page.status, 200);
    assert!(page.text().contains("method=\"post\"><button"), "{}", page.text());
    // What the buttons send is also told to whoever reads text or JSON.
    let text = get(&server.address, path(&of_referral), &[]).await.unwrap().text();
    assert!(text.contains("POST which=kind: No more mails about people whom you refer."), "{text}");
    assert!(text.contains("POST which=all: No more mails at all."), "{text}");
    let json = get(&server.address, path(&of_welcome), &["accept: application/json"]).await;
    let json: serde_json::Value = serde_json::from_str(&json.unwrap().text()).unwrap();
    let all = serde_json::json!([{"which": "all", "label": "No more mails at all"}]);
    assert_eq!(json["choices"], all);
    assert_eq!(page.header("referrer-policy"), Some("no-referrer"));
    assert!(page.header("content-security-policy").unwrap().contains("form-action 'self'"));
    assert_eq!(database.count(unwanted).await, 0);
    for wrong in ["/unsubscribe", "/unsubscribe?token=", &format!("{}x", path(&of_referral))] {
        assert_eq!(get(&server.address, wrong, &[]).await.unwrap().status, 404, "{wrong}");
        assert_eq!(one_click(&server, wrong).await.status, 404, "{wrong}");
    }
    assert_eq!(database.count(unwanted).await, 0);

    for _ in 0..2 {
        let done = one_click(&server, path(&of_referral)).await;
        assert_eq!(done.status, 200);
        assert!(
            done.text().contains("no more mails about people whom you refer"),
            "{}",
            done.text()
        );
        assert_eq!(database.count(unwanted).await, 1);
    }
    client.sign_up("first-purchase-bonus", "r2", &ada.code).await.unwrap();
    client.buy("p1", "r1", "USD", 1_000).await.unwrap();
    // The mail about the second referral is skipped, the one about the conversion is sent.
    mail_server.mails_to("ada@example.com", 3).await;
    let of_ada = ListMailsRequest {
        user_id: "ada".into(),
        state: MailState::Skipped.into(),
        ..Default::default()
    };
    let mut skipped = Vec::new();
    for _ in 0..500 {
        skipped = list(&client, of_ada.clone()).await.unwrap();
        if !skipped.is_empty() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(skipped.len(), 1);
    assert_eq!((skipped[0].kind(), &*skipped[0].skip_reason), (MailKind::Referral, "UNSUBSCRIBED"));
    assert_eq!(skipped[0].email, "");

    // Whoever does not want the welcome wants nothing.
    assert_eq!(one_click(&server, path(&of_welcome)).await.status, 200);
    let kinds = i64::try_from(domain::MailKind::OPTIONAL.len()).unwrap();
    assert_eq!(database.count(unwanted).await, kinds);
    // The user has changed their mind, and an operator sends again what was skipped.
    let mut connection = sqlx::PgConnection::connect(&database.url).await.unwrap();
    let ada = UserId::parse("ada").unwrap();
    let wanted = [(domain::MailKind::Referral, true)];
    tributary::store::mails::set_wanted(&mut connection, &ada, &wanted).await.unwrap();
    retry(&client, &skipped[0].mail_id).await.unwrap();
    mail_server.mails_to("ada@example.com", 4).await;
    let acts =
        "select event_type, aggregate_id, metadata ->> 'actor', metadata ->> 'door' from events
        where event_type in ('UserProfileUpdated', 'JobRetried') order by position";
    let acts = async || -> Vec<(String, String, String, String)> {
        sqlx::query_as(acts).fetch_all(&database.pool).await.unwrap()
    };
    let by = |act: [&str; 4]| {
        let [event_type, stream, actor, door] = act.map(str::to_owned);
        (event_type, stream, actor, door)
    };
    // Pressing the button twice changes nothing the second time, and is no act.
    let expected = [
        by(["UserProfileUpdated", "ada", "user:ada", "page"]),
        by(["UserProfileUpdated", "ada", "user:ada", "page"]),
        by(["JobRetried", &skipped[0].mail_id, "key:admin", "RetryMail"]),
    ];
    assert_eq!(acts().await, expected);

    // Somebody who was erased has nothing to unsubscribe: their link is as good as a wrong one.
    client.erase("ada", true).await.unwrap();
    let wrong = format!("{}x", path(&of_referral));
    for link in [path(&of_referral), path(&of_welcome)] {
        for (gone, unknown) in [
            (one_click(&server, link).await, one_click(&server, &wrong).await),
            (
                get(&server.address, link, &[]).await.unwrap(),
                get(&server.address, &wrong, &[]).await.unwrap(),
            ),
        ] {
            assert_eq!((gone.status, gone.text()), (404, unknown.text()));
            assert!(gone.text().contains("nothing to unsubscribe"), "{}", gone.text());
        }
    }
    assert_eq!(acts().await, expected);
    assert_eq!(database.count(unwanted).await, 0);
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn a_mail_that_fails_is_tried_again_with_the_same_id_or_parked_if_it_is_refused_for_good() {
    let (database, server, client, mail_server) = server_with_mails(&["referral-count"]).await;
    mail_server.act(&[Act::Refuse(451)]);
    client.sign_up("referral-count", "ada", "").await.unwrap();
    mail_server.mails_to("ada@example.com", 1).await;
    let sent = mail_in(&client, "ada", MailKind::Welcome, MailState::Sent).await;
    assert_eq!((sent.attempts, &*sent.last_error), (2, ""));

    // The answer is lost: the mail is repeated, and its id shows that it is the same.
    mail_server.act(&[Act::TakeSilently]);
    client.sign_up("referral-count", "bo", "").await.unwrap();
    let twice = mail_server.mails_to("bo@example.com", 2).await;
    assert_eq!(twice[0].header("Message-ID"), twice[1].header("Message-ID"));
    assert_ne!(
        twice[0].header("Message-ID"),
        mail_server.mails_to("ada@example.com", 1).await[0].header("Message-ID")
    );

    mail_server.act(&[Act::Refuse(550)]);
    client.sign_up("referral-count", "cy", "").await.unwrap();
    let parked = mail_in(&client, "cy", MailKind::Welcome, MailState::Parked).await;
    assert_eq!((parked.attempts, &*parked.email), (1, ""));
    assert_eq!(parked.last_error, "the mail server answered 550");
    assert!(mail_server.received().iter().all(|mail| mail.to != "cy@example.com"));
    let of_parked = ListMailsRequest { state: MailState::Parked.into(), ..Default::default() };
    assert_eq!(list(&client, of_parked).await.unwrap().len(), 1);
    assert_eq!(retry(&client, &parked.mail_id).await.unwrap().state(), MailState::Queued);
    mail_server.mails_to("cy@example.com", 1).await;
    let sent = mail_in(&client, "cy", MailKind::Welcome, MailState::Sent).await;
    assert_eq!((sent.attempts, &*sent.email), (2, "cy@example.com"));

    let status = retry(&client, &sent.mail_id).await;
    refused(status, Code::FailedPrecondition, "MAIL_NOT_PARKED");
    refused(retry(&client, "4711").await, Code::NotFound, "MAIL_NOT_FOUND");
    refused(retry(&client, "no number").await, Code::NotFound, "MAIL_NOT_FOUND");
    at_fault(retry(&client, "").await, "mail_id", "FIELD_REQUIRED");
    for (request, field, reason) in [
        (
            ListMailsRequest { page_size: -1, ..Default::default() },
            "page_size",
            "INVALID_PAGE_SIZE",
        ),
        (ListMailsRequest { state: 99, ..Default::default() }, "state", "OUT_OF_RANGE"),
        (ListMailsRequest { kind: 99, ..Default::default() }, "kind", "OUT_OF_RANGE"),
        (ListMailsRequest { user_id: " ".into(), ..Default::default() }, "user_id", "INVALID_ID"),
    ] {
        at_fault(list(&client, request).await, field, reason);
    }
    let nobody = server.separate_client(None).await;
    let status = list(&nobody, ListMailsRequest::default()).await;
    assert_eq!(reason(&status.unwrap_err()).1, "MISSING_CREDENTIALS");
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn a_mail_server_that_hangs_holds_up_mails_only() {
    let (database, server, client, mail_server) =
        server_with_mails(&["first-purchase-bonus"]).await;
    // All slots of the mails wait for the mail server until their time is over.
    mail_server.act(&[Act::Dawdle(Duration::from_mins(1)); 4]);
    for number in 1..=5 {
        client.sign_up("first-purchase-bonus", &format!("u{number}"), "").await.unwrap();
    }
    let sending = ListMailsRequest { state: MailState::Sending.into(), ..Default::default() };
    for _ in 0..500 {
        if list(&client, sending.clone()).await.unwrap().len() == 4 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let began = Instant::now();
    client.buy("p1", "u1", "USD", 1_000).await.unwrap();
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    // Another job is done meanwhile.
    let again = "update jobs set state = 'queued', run_after = now() where kind = 'clean'";
    sqlx::query(again).execute(&database.pool).await.unwrap();
    let done = "select count(*) from jobs where kind = 'clean' and state = 'done'";
    for _ in 0..200 {
        if database.count(done).await > 0 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(database.count(done).await, 1);
    assert_eq!(list(&client, sending).await.unwrap().len(), 4, "the mails hang still");
    // The mail server had taken the mails, so four are repeated.
    for number in 1..=5 {
        let user = format!("u{number}");
        mail_in(&client, &user, MailKind::Welcome, MailState::Sent).await;
    }
    assert_eq!(mail_server.received().len(), 9);
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn mails_of_an_erased_user_and_what_they_wanted_are_gone() {
    let (database, server, client, mail_server) = server_with_mails(&["referral-count"]).await;
    mail_server.act(&[Act::Refuse(550)]);
    client.sign_up("referral-count", "ada", "").await.unwrap();
    mail_in(&client, "ada", MailKind::Welcome, MailState::Parked).await;
    client.sign_up("referral-count", "bo", "").await.unwrap();
    mail_server.mails_to("bo@example.com", 1).await;
    let mut connection = sqlx::PgConnection::connect(&database.url).await.unwrap();
    let ada = UserId::parse("ada").unwrap();
    let unwanted = [(domain::MailKind::Tier, false)];
    tributary::store::mails::set_wanted(&mut connection, &ada, &unwanted).await.unwrap();
    client.erase("ada", true).await.unwrap();
    let of_ada = ListMailsRequest { user_id: "ada".into(), ..Default::default() };
    assert_eq!(list(&client, of_ada).await.unwrap(), []);
    assert_eq!(database.count("select count(*) from jobs where kind = 'mail'").await, 1);
    assert_eq!(database.count("select count(*) from mail_opt_outs").await, 0);
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn mails_that_other_handlers_queue_carry_links_and_end_with_them() {
    use domain::{Mail, MailKind, Recipient};
    let (database, server, client, mail_server) = server_with_mails(&["referral-count"]).await;
    client.sign_up("referral-count", "ada", "").await.unwrap();
    mail_server.mails_to("ada@example.com", 1).await;
    let mut connection = sqlx::PgConnection::connect(&database.url).await.unwrap();
    let now: i64 = sqlx::query_scalar("select (extract(epoch from now()) * 1000000)::bigint")
        .fetch_one(&mut connection)
        .await
        .unwrap();
    // The tokens that the mails carry.
    let mut token_ids = Vec::new();
    for number in 0..6 {
        let entered = sqlx::query_scalar(
            "insert into mailed_tokens (id, purpose, user_id, email, version)
             values (gen_random_uuid(), 'reset_password', 'ada', $1, 0) returning id::text",
        );
        let id: String = entered.bind(number.to_string()).fetch_one(&mut connection).await.unwrap();
        token_ids.push(id);
    }
    let token_of = |occasion: &str, kind| {
        let confirms = usize::from(kind == MailKind::ConfirmEmail);
        &token_ids[usize::from(occasion.ends_with('2')) + 2 * confirms]
    };
    let mail = |occasion: &str, kind, minutes: i64| Mail {
        occasion: occasion.into(),
        kind,
        user_id: Some(UserId::parse("ada").unwrap()),
        recipient: None,
        facts: serde_json::json!({
            "token_id": token_of(occasion, kind),
            "expire_time_us": now + minutes * 60_000_000,
        }),
    };
    let new_address = Recipient { email: "new@example.com".into(), name: None };
    let nobody_yet = Recipient { email: "eve@example.com".into(), name: Some("Eve".into()) };
    for mail in [
        mail("password_reset/1", MailKind::PasswordReset, 15),
        mail("password_reset/1", MailKind::PasswordReset, 15),
        mail("password_reset/2", MailKind::PasswordReset, -1),
        Mail {
            recipient: Some(new_address),
            ..mail("confirm_email/1", MailKind::ConfirmEmail, 60)
        },
        Mail {
            recipient: Some(nobody_yet),
            user_id: None,
            ..mail("confirm_email/2", MailKind::ConfirmEmail, 60)
        },
        mail("email_changed/1", MailKind::EmailChanged, 60),
    ] {
        tributary::store::mails::queue(&mut connection, &mail).await.unwrap();
    }
    let of_ada = mail_server.mails_to("ada@example.com", 3).await;
    let reset = of_ada.iter().find(|mail| mail.header("Subject").contains("password")).unwrap();
    let link = reset.link("/reset-password");
    assert!(link.starts_with("https://rewards.example.com/reset-password?token="), "{link}");
    assert!(reset.text().contains("for 15 minutes"), "{}", reset.text());
    assert_eq!(reset.header("List-Unsubscribe"), "");
    let of_new = mail_server.mails_to("new@example.com", 1).await.remove(0);
    // Whose address it is nobody knows, so nobody is named.
    assert!(of_new.text().contains("Hello,"), "{}", of_new.text());
    assert_ne!(of_new.link("/confirm-email"), link);
    let of_eve = mail_server.mails_to("eve@example.com", 1).await.remove(0);
    assert!(of_eve.text().contains("Hello,"), "{}", of_eve.text());
    let expired = ListMailsRequest { state: MailState::Skipped.into(), ..Default::default() };
    let expired = list(&client, expired).await.unwrap();
    assert_eq!((expired.len(), &*expired[0].skip_reason), (1, "EXPIRED"));
    // Neither a token nor an address is in what operators see of jobs.
    let jobs = ListJobsRequest { kind: "urgent_mail".into(), ..Default::default() };
    let jobs = client.operators().list_jobs(client.request(jobs)).await.unwrap().into_inner();
    let shown = format!("{jobs:?}");
    let token = link.split_once("token=").unwrap().1;
    assert!(!shown.contains(token) && !shown.contains("example.com"), "{shown}");
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn settings_of_mails_that_cannot_work_are_refused_at_the_start() {
    let from = ["--mail-from", "rewards@example.com"];
    let public = ["--public-url", "https://rewards.example.com"];
    let smtp = ["--smtp-url", "smtp://127.0.0.1:1"];
    let missing = ["--mail-templates", "/nowhere/at/all"];
    for (arguments, says) in [
        ([smtp, from].concat(), "--smtp-url (SMTP_URL): needs --public-url"),
        ([smtp, public].concat(), "needs --mail-from (TRIBUTARY_MAIL_FROM)"),
        (
            [smtp, public, ["--mail-from", "nobody"]].concat(),
            "--mail-from (TRIBUTARY_MAIL_FROM): 'nobody'",
        ),
        ([public, ["--smtp-url", "smtp://u:secret@far.example.com"]].concat(), "in the clear"),
        ([smtp, public, from, missing].concat(), "/nowhere/at/all"),
        (["--public-url", "rewards.example.com"].to_vec(), "is no URL"),
    ] {
        let output = tributary()
            .args(["serve", "--listen", "127.0.0.1:0"])
            .args(&arguments)
            .env("DATABASE_URL", "postgres://nobody@127.0.0.1:1/nothing")
            .env("TRIBUTARY_ADMIN_KEY", testing::ADMIN_KEY)
            .output()
            .await
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && said.contains(says), "{arguments:?}: {said}");
        assert!(!said.contains("secret"), "{said}");
    }
}
