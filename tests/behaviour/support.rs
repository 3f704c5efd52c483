//! Helpers that many of these tests share.

use std::fmt::Debug;
use std::time::Duration;

use contract::pb::*;
use prost_types::Timestamp;
use tonic::{Code, Status, Streaming};

use testing::{Client, MailServer, Server, ServerOptions, TestDatabase, reason};

/// How long a test waits for something that is sure to come.
pub const PATIENCE: Duration = Duration::from_secs(30);

pub type Earnings = Streaming<WatchEarningsResponse>;

/// A server on a fresh database, with some of the shipped programs in it.
pub async fn server_with(programs: &[&str]) -> (TestDatabase, Server, Client) {
    let database = TestDatabase::new().await;
    let server = Server::start(&database).await;
    let client = server.client();
    for program in programs {
        client.publish_shipped(program).await;
    }
    (database, server, client)
}

/// As [`server_with`], with a mail server that takes the mails.
pub async fn server_with_mails(programs: &[&str]) -> (TestDatabase, Server, Client, MailServer) {
    let mail_server = MailServer::start().await;
    let database = TestDatabase::new().await;
    let options = ServerOptions { arguments: mail_server.arguments() };
    let server = Server::start_with(&database.url, &options).await;
    let client = server.client();
    for program in programs {
        client.publish_shipped(program).await;
    }
    (database, server, client, mail_server)
}

/// Waits until a database that begins now has another epoch than those before it: epochs are numbered by the second.
pub async fn another_epoch() {
    tokio::time::sleep(Duration::from_millis(1_100)).await;
}

/// Checks that a call was refused, with this code and this reason.
#[track_caller]
pub fn refused<T: Debug>(result: Result<T, Status>, code: Code, name: &str) -> Status {
    let status = result.expect_err(name);
    assert_eq!(reason(&status), (code, name.to_owned()), "{status:?}");
    status
}

/// How many events there are.
pub async fn log_length(database: &TestDatabase) -> i64 {
    database.count("select count(*) from events").await
}

/// The minor units of an amount that must be there.
#[track_caller]
pub fn minor(money: Option<&Money>) -> i64 {
    money.expect("an amount").minor_units
}

/// Who was granted how much on which level.
pub fn granted(outcome: &PurchaseOutcome) -> Vec<(&str, i32, i64)> {
    let rewards = outcome.rewards.iter();
    rewards
        .map(|reward| (&*reward.earner_user_id, reward.level, minor(reward.amount.as_ref())))
        .collect()
}

/// Who was granted nothing on which level, and why.
pub fn withheld(outcome: &PurchaseOutcome) -> Vec<(&str, i32, WithheldReason)> {
    let withheld = outcome.withheld.iter();
    withheld.map(|of| (&*of.earner_user_id, of.level, of.reason())).collect()
}

/// The outcome of a purchase by a user who is in one program.
#[track_caller]
pub fn only_outcome(response: &RecordPurchaseResponse) -> &PurchaseOutcome {
    assert_eq!(response.outcomes.len(), 1, "{response:?}");
    &response.outcomes[0]
}

/// Checks that a purchase does not count, and why.
#[track_caller]
pub fn disqualified(response: &RecordPurchaseResponse, reason: WithheldReason) {
    let outcome = only_outcome(response);
    assert_eq!(outcome.reason(), reason, "{outcome:?}");
    assert!(!outcome.qualified && !outcome.converted && outcome.rewards.is_empty());
}

/// The next message of a stream, a heartbeat or a reward.
pub async fn next(stream: &mut Earnings) -> Result<Option<WatchEarningsResponse>, Status> {
    tokio::time::timeout(PATIENCE, stream.message()).await.expect("a message in time")
}

/// The next reward of a stream, past heartbeats.
pub async fn next_reward(stream: &mut Earnings) -> WatchEarningsResponse {
    loop {
        let message = next(stream).await.unwrap().expect("the stream goes on");
        if message.reward.is_some() {
            return message;
        }
    }
}

/// The figures of a message of a stream: amount, total of its level, total.
#[track_caller]
pub fn figures(message: &WatchEarningsResponse) -> (i64, i64, i64) {
    let reward = message.reward.as_ref().expect("a reward");
    (
        minor(reward.amount.as_ref()),
        minor(message.level_total.as_ref()),
        minor(message.total.as_ref()),
    )
}

/// The moment just before another.
pub fn just_before(time: Timestamp) -> Timestamp {
    match time.nanos {
        0..1_000 => Timestamp { seconds: time.seconds - 1, nanos: 999_999_000 },
        nanos => Timestamp { seconds: time.seconds, nanos: nanos - 1_000 },
    }
}

/// A number of minutes before a moment.
pub fn minutes_before(time: Timestamp, minutes: i64) -> Timestamp {
    Timestamp { seconds: time.seconds - 60 * minutes, ..time }
}

/// A purchase that was made at a certain time.
pub fn dated(
    purchase_id: &str,
    buyer: &str,
    currency_code: &str,
    minor_units: i64,
    time: Timestamp,
) -> RecordPurchaseRequest {
    RecordPurchaseRequest {
        purchase_id: purchase_id.into(),
        buyer_user_id: buyer.into(),
        amount: Some(Money { currency_code: currency_code.into(), minor_units }),
        purchase_time: Some(time),
        ..Default::default()
    }
}

/// Enrolls an existing user.
pub async fn enroll(
    client: &Client,
    program_id: &str,
    user_id: &str,
    code: &str,
) -> Result<EnrollParticipantResponse, Status> {
    let message = EnrollParticipantRequest {
        program_id: program_id.into(),
        user_id: user_id.into(),
        referral_code: code.into(),
        ..Default::default()
    };
    Ok(client.programs().enroll_participant(client.request(message)).await?.into_inner())
}

/// Makes the owner of a code the referrer of a user.
pub async fn refer_by_code(
    client: &Client,
    program_id: &str,
    referee: &str,
    code: &str,
) -> Result<ApplyReferralResponse, Status> {
    let message = ApplyReferralRequest {
        program_id: program_id.into(),
        referee_user_id: referee.into(),
        referral_code: code.into(),
        ..Default::default()
    };
    Ok(client.referrals().apply_referral(client.request(message)).await?.into_inner())
}

/// The status of a user's referral in a program.
pub async fn referral_status(client: &Client, program_id: &str, user_id: &str) -> ReferralStatus {
    let user = client.user(user_id).await.unwrap();
    let participant = user.participants.iter().find(|of| of.program_id == program_id);
    participant.expect("a participant").referral_status()
}

/// Checks the form of a code.
#[track_caller]
pub fn is_code(code: &str, length: usize) {
    assert_eq!(code.len(), length, "{code}");
    assert!(code.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit()), "{code}");
}
