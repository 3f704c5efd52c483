//! Referrals that are held, released and rejected: the read models and every check of the log agree about them.

#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

use std::time::Duration;

use contract::parse_program;
use contract::pb::{
    ConfirmEmailRequest, FraudCheck, FraudChecks, FraudDecision, FraudPolicy, Money, Program,
    RecordPurchaseRequest, ResolveFraudFlagRequest,
};
use tokio_util::sync::CancellationToken;
use tributary::engine::{Engine, Environment, Limits};
use tributary::metrics::Metrics;
use tributary::store::{Database, epoch};
use tributary::traces::Traces;

use crate::expected::check_read_models;
use testing::{
    Client, Server, TestDatabase, at_once, check_books, events_in, issue_token, program,
};

const PROGRAMS: [&str; 3] = ["tiered-points", "first-purchase-bonus", "multi-level-commission"];

async fn publish_demanding(client: &Client, name: &str) {
    let json = std::fs::read_to_string(program(name)).unwrap();
    // Whoever buys with a fingerprint that is known of somebody else gets a flag, about which can be decided.
    let fingerprint = Some(FraudCheck { policy: FraudPolicy::Flag.into() });
    let demanding = Program {
        require_confirmed_email: true,
        fraud_checks: Some(FraudChecks { fingerprint, ..FraudChecks::default() }),
        ..parse_program(&json).unwrap()
    };
    client.publish(demanding).await.unwrap();
}

async fn confirm(client: &Client, database: &TestDatabase, user_id: &str) {
    let token = issue_token(database, user_id, "confirm_email", 900.0).await;
    let request = client.request(ConfirmEmailRequest { token });
    client.accounts().confirm_email(request).await.unwrap();
}

/// The only flag of a program.
async fn flag_of(database: &TestDatabase, program_id: &str) -> String {
    let flag = "select aggregate_id from events where event_type = 'FraudFlagRaised' and payload ->> 'program_id' = $1";
    sqlx::query_scalar(flag).bind(program_id).fetch_one(&database.pool).await.unwrap()
}

async fn resolve(client: &Client, flag_id: &str, decision: FraudDecision) {
    let message = ResolveFraudFlagRequest {
        flag_id: flag_id.into(),
        decision: decision.into(),
        ..ResolveFraudFlagRequest::default()
    };
    client.fraud().resolve_fraud_flag(client.request(message)).await.unwrap();
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
    for name in PROGRAMS {
        publish_demanding(&client, name).await;
        let people = ["top", "bob", "cid", "dan", "eve"].map(|who| format!("{who}-{name}"));
        let mut code = client.sign_up(name, &people[0], "").await.unwrap().code;
        for pair in people.windows(2) {
            code = client.sign_up(name, &pair[1], &code).await.unwrap().code;
        }
        let currency = if name == "multi-level-commission" { "INR" } else { "USD" };
        for person in &people {
            // Top and cid use one card.
            let shares = [&people[0], &people[2]].contains(&person);
            let fingerprint = if shares { format!("card {name}") } else { String::new() };
            let amount = Money { currency_code: currency.into(), minor_units: 100_000 };
            let purchase = RecordPurchaseRequest {
                buyer_user_id: person.clone(),
                amount: Some(amount),
                fingerprint,
                ..RecordPurchaseRequest::default()
            };
            client.record(purchase).await.unwrap();
        }
        // Bob and dan are confirmed; cid is rejected, and later released again; eve stays held.
        confirm(&client, &database, &people[1]).await;
        confirm(&client, &database, &people[3]).await;
        let flag_id = flag_of(&database, name).await;
        resolve(&client, &flag_id, FraudDecision::Rejected).await;
        client.buy("", &people[3], currency, 100_000).await.unwrap();
        made_up(&database).await;
        check_read_models(&database).await;
        confirm(&client, &database, &people[2]).await;

        // Of releases at once one takes place.
        at_once((0..4).map(|_| {
            let (client, flag_id) = (client.clone(), flag_id.clone());
            async move { resolve(&client, &flag_id, FraudDecision::Released).await }
        }))
        .await;
        let stream = format!("{name}/{}", people[2]);
        assert_eq!(events_in(&database, &stream, "ReferralStandingChanged").await, 2);
    }
    made_up(&database).await;
    check_read_models(&database).await;
    server.stop().await;
    check_books(&database).await;
    database.check().await;
}
