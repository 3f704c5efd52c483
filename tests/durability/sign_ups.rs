//! Sign-ups that wait for the confirmation of their address: on two servers, and with servers that are killed.

use std::collections::BTreeSet;
use std::time::Duration;

use contract::pb::*;
use sqlx::Executor;
use tonic::Status;

use testing::{Client, MailServer, Server, ServerOptions, TestDatabase, at_once};

const COUNT: &str = "referral-count";

fn options(mails: &MailServer) -> ServerOptions {
    let mut arguments = mails.arguments();
    arguments.extend(["--confirm-sign-ups", "on"].map(ToOwned::to_owned));
    ServerOptions { arguments }
}

fn sign_up(username: &str) -> RegisterUserRequest {
    RegisterUserRequest {
        username: username.into(),
        email: format!("{username}@example.com"),
        password: "Correct-Horse-7".into(),
        program_id: COUNT.into(),
        ..Default::default()
    }
}

async fn token(mails: &MailServer, username: &str) -> String {
    let address = format!("{username}@example.com");
    let waiting = async {
        loop {
            // A mail that was sent twice has two tokens, of which the last one is good.
            let mail = mails.received().into_iter().rfind(|mail| mail.to == address);
            match mail {
                Some(mail) => return mail.link("/confirm-email"),
                None => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
    };
    let link = tokio::time::timeout(Duration::from_mins(1), waiting).await.expect("a mail");
    link.split_once("token=").unwrap().1.to_owned()
}

async fn confirm(client: &Client, token: &str) -> Result<ConfirmEmailResponse, Status> {
    let request = ConfirmEmailRequest { token: token.into() };
    Ok(client.accounts().confirm_email(client.request(request)).await?.into_inner())
}

#[tokio::test]
async fn a_sign_up_that_is_confirmed_at_once_on_two_servers_makes_one_account() {
    let (database, mails) = (TestDatabase::new().await, MailServer::start().await);
    let options = options(&mails);
    let (first, second) = tokio::join!(
        Server::start_with(&database.url, &options),
        Server::start_with(&database.url, &options)
    );
    first.client().publish_shipped(COUNT).await;
    let clients = [
        first.separate_client(None).await,
        second.separate_client(None).await,
        first.separate_client(None).await,
        second.separate_client(None).await,
    ];
    for round in 0..5 {
        let name = format!("user-{round}");
        clients[0].register(sign_up(&name)).await.unwrap();
        let token = token(&mails, &name).await;
        let answers = at_once(clients.clone().map(|client| {
            let token = token.clone();
            async move { confirm(&client, &token).await }
        }))
        .await;
        let users: BTreeSet<String> =
            answers.into_iter().map(|answer| answer.unwrap().user_id).collect();
        assert_eq!(users.len(), 1, "{users:?}");
        let registered = "select count(*) from events where event_type = 'UserRegistered'";
        assert_eq!(database.count(registered).await, round + 1);
    }
    assert_eq!(database.count("select count(*) from sign_ups where confirmed_at is null").await, 0);
    tokio::join!(first.stop(), second.stop());
    database.check().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sign_up_that_was_answered_is_mailed_and_can_be_confirmed_although_servers_are_killed() {
    const KILLS: usize = 5;
    let (database, mails) = (TestDatabase::new().await, MailServer::start().await);
    let options = options(&mails);
    let mut answered = Vec::new();
    for kill in 0..KILLS {
        let server = Server::start_with(&database.url, &options).await;
        if kill == 0 {
            server.client().publish_shipped(COUNT).await;
        }
        let anybody = server.separate_client(None).await;
        let name = format!("user-{kill}");
        anybody.register(sign_up(&name)).await.unwrap();
        answered.push(name);
        // Whose answer nobody gets.
        let lost = tokio::spawn(async move {
            let _ = anybody.register(sign_up(&format!("lost-{kill}"))).await;
        });
        tokio::time::sleep(Duration::from_millis(67 * kill as u64)).await;
        server.kill().await;
        lost.await.unwrap();
        // As if the lease of the killed server were over.
        let over = "update jobs set run_after = now() where kind = 'mail' and state = 'running'";
        database.pool.execute(over).await.unwrap();
    }
    let server = Server::start_with(&database.url, &options).await;
    let open = "select count(*) from jobs where kind = 'mail' and state <> 'done'";
    for _ in 0..1_500 {
        if database.count(open).await == 0 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // A row and its mail are made together.
    let (waiting, jobs) = ("select count(*) from sign_ups", "select count(*) from mails");
    assert_eq!(database.count(waiting).await, database.count(jobs).await);
    let anybody = server.separate_client(None).await;
    for name in &answered {
        confirm(&anybody, &token(&mails, name).await).await.unwrap();
    }
    let registered = "select count(*) from events where event_type = 'UserRegistered'";
    assert_eq!(database.count(registered).await, KILLS as i64);
    server.stop().await;
    database.check().await;
}
