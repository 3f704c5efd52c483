//! Referrals that are held, released and rejected: the read models and every check of the log agree about them.

#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

use std::time::Duration;

use contract::parse_program;
use contract::pb::{ConfirmEmailRequest, Program};
use domain::decide::Command;
use domain::{ParticipantId, ProgramId, Refusal, UserId};
use tokio_util::sync::CancellationToken;
use tributary::engine::{Engine, Environment, Failure, Limits, Submission};
use tributary::metrics::Metrics;
use tributary::store::{Actor, Database, Door, epoch};
use tributary::traces::Traces;

use crate::expected::check_read_models;
use testing::{
    Client, Server, TestDatabase, at_once, check_books, events_in, issue_token, program,
};

const PROGRAMS: [&str; 3] = ["tiered-points", "first-purchase-bonus", "multi-level-commission"];

async fn publish_demanding(client: &Client, name: &str) {
    let json = std::fs::read_to_string(program(name)).unwrap();
    let demanding = Program { require_confirmed_email: true, ..parse_program(&json).unwrap() };
    client.publish(demanding).await.unwrap();
}

async fn confirm(client: &Client, database: &TestDatabase, user_id: &str) {
    let token = issue_token(database, user_id, "confirm_email", 900.0).await;
    let request = client.request(ConfirmEmailRequest { token });
    client.accounts().confirm_email(request).await.unwrap();
}

fn referee(program_id: &str, user_id: &str) -> ParticipantId {
    ParticipantId {
        program_id: ProgramId::parse(program_id).unwrap(),
        user_id: UserId::parse(user_id).unwrap(),
    }
}

/// An engine of its own on the database, for commands that no call causes.
pub(super) async fn engine(database: &TestDatabase) -> Engine {
    let (handover, _handed_over) = tokio::sync::mpsc::channel(100);
    let store = Database::new(&database.url, 2).unwrap();
    let epoch = epoch::enter(&mut store.connect().await.unwrap()).await.unwrap();
    let environment = Environment::of_this_machine().unwrap();
    let (limits, metrics) = (Limits::default(), Metrics::default());
    let (engine, worker) =
        Engine::new(store, epoch, environment, limits, handover, metrics, Traces::default());
    tokio::spawn(worker.run(CancellationToken::new()));
    engine
}

async fn tell(engine: &Engine, command: Command) -> Result<(), Failure> {
    let submission = Submission::new(command, Actor::SYSTEM, Door::job("test"));
    engine.execute(submission).await.map(drop)
}

/// Waits until everything that releases call for is made up for, so that nothing is appended meanwhile.
async fn made_up(database: &TestDatabase) {
    let open = "
        select (select count(*) from jobs where kind = 'make_up' and state in ('queued', 'running'))
            + (select count(*) from events
               where event_type = 'ReferralStandingChanged' and position > (
                   select max(position) from reaction_checkpoints where reaction = 'make_up'))";
    for _ in 0..600 {
        if database.count(open).await == 0 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("there are still purchases to be made up for");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_becomes_of_held_referrals_the_read_models_have_it() {
    let database = TestDatabase::new().await;
    let server = Server::start(&database).await;
    let client = server.client();
    let engine = engine(&database).await;
    for name in PROGRAMS {
        publish_demanding(&client, name).await;
        let people = ["top", "bob", "cid", "dan", "eve"].map(|who| format!("{who}-{name}"));
        let mut code = client.sign_up(name, &people[0], "").await.unwrap().code;
        for pair in people.windows(2) {
            code = client.sign_up(name, &pair[1], &code).await.unwrap().code;
        }
        let currency = if name == "multi-level-commission" { "INR" } else { "USD" };
        for person in &people {
            client.buy("", person, currency, 100_000).await.unwrap();
        }
        // Bob and dan are confirmed; cid is rejected, and later released again; eve stays held.
        confirm(&client, &database, &people[1]).await;
        confirm(&client, &database, &people[3]).await;
        let cid = referee(name, &people[2]);
        let reject = || Command::RejectReferral { referee: cid.clone() };
        let release = || Command::ReleaseReferral { referee: cid.clone() };
        tell(&engine, reject()).await.unwrap();
        client.buy("", &people[3], currency, 100_000).await.unwrap();
        made_up(&database).await;
        check_read_models(&database).await;
        confirm(&client, &database, &people[2]).await;

        // Of releases at once one takes place.
        let releases = at_once((0..4).map(|_| {
            let (engine, release) = (engine.clone(), release());
            async move { tell(&engine, release).await }
        }))
        .await;
        let refused = |result: &Result<(), Failure>| {
            matches!(result, Err(Failure::Refused(Refusal::ReferralNotHeld(_))))
        };
        assert_eq!(releases.iter().filter(|result| result.is_ok()).count(), 1, "{releases:?}");
        assert_eq!(releases.iter().filter(|result| refused(result)).count(), 3);
        let stream = format!("{name}/{}", people[2]);
        assert_eq!(events_in(&database, &stream, "ReferralStandingChanged").await, 2);
    }
    made_up(&database).await;
    check_read_models(&database).await;
    server.stop().await;
    check_books(&database).await;
    database.check().await;
}
