//! Many mails: they leave at a pace, and those that somebody waits for go first.

use std::time::{Duration, Instant};

use contract::pb::RequestPasswordResetRequest;
use sqlx::Executor;

use testing::{MailServer, Server, ServerOptions, TestDatabase, address_of};

/// How many mails wait.
const MANY: usize = 5_000;
/// How many mails the server sends in a second.
const PACE: usize = 20;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mail_that_somebody_waits_for_leaves_before_thousands_that_nobody_waits_for() {
    let mail_server = MailServer::start().await;
    let database = TestDatabase::new().await;
    let pace = ["--mails-per-second".to_owned(), PACE.to_string()];
    let options = ServerOptions { arguments: [mail_server.arguments(), pace.to_vec()].concat() };
    let server = Server::start_with(&database.url, &options).await;
    let client = server.client();
    client.publish_shipped("referral-count").await;
    for user_id in ["ada", "bo"] {
        client.sign_up("referral-count", user_id, "").await.unwrap();
        mail_server.mails_to(&address_of(user_id), 1).await;
    }
    let queue = format!(
        "with queued as (
             insert into jobs (kind, dedupe_key, payload)
             select 'mail', 'welcome/many/' || number, '{{\"mail\": \"welcome\", \"user_id\": \"bo\"}}'
             from generate_series(1, {MANY}) as number
             returning id
         )
         insert into mails (job_id, kind, user_id) select id, 'welcome', 'bo' from queued"
    );
    database.pool.execute(&*queue).await.unwrap();
    let queued_at = Instant::now();
    mail_server.mails_to_at_least("bo@example.com", 2 * PACE).await;

    let request = RequestPasswordResetRequest { login: "ada".into() };
    let asked_at = Instant::now();
    client.accounts().request_password_reset(client.request(request)).await.unwrap();
    let mails = mail_server.mails_to("ada@example.com", 2).await;
    let took = asked_at.elapsed();
    assert!(mails[1].header("Subject").contains("password"), "{}", mails[1].header("Subject"));
    assert!(took < Duration::from_secs(5), "the mail took {took:?}");
    // The others go on, at their pace: a burst of one second, and then so many each second.
    mail_server.mails_to_at_least("bo@example.com", 4 * PACE).await;
    let sent = mail_server.received().iter().filter(|mail| mail.to == "bo@example.com").count();
    let seconds = usize::try_from(queued_at.elapsed().as_secs()).unwrap();
    let allowed = PACE * (3 + seconds);
    assert!(sent < allowed, "{sent} mails, and {allowed} are allowed");
    server.kill().await;
}
