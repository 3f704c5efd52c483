//! Invalid programs: every fault is reported with the path of its field.

use super::bad_input::{LINES, bytes_on_the_wire, violations};
use super::support::{log_length, refused, server_with};
use contract::pb::*;
use testing::Client;
use tonic::Code;

/// A program in which everything that can be wrong is wrong.
pub(super) fn wrong_program() -> Program {
    Program {
        program_id: "a b".into(),
        display_name: "two\nlines".into(),
        unit: "pts".into(),
        base_url: "ftp://example.com/?a".into(),
        code: Some(CodeFormat { length: 3, alphabet: "AAB".into() }),
        minimum_purchase_minor: -1,
        purchase_currency_code: "dollars".into(),
        max_uses_per_code: Some(0),
        max_direct_referrals: Some(-8),
        ..Default::default()
    }
}

#[tokio::test]
async fn a_wrong_program_names_all_its_faults_at_once() {
    let (database, server, client) = server_with(&[]).await;

    let answer = client.publish(wrong_program()).await;

    let status = refused(answer, Code::InvalidArgument, "INVALID_FIELD");
    let mut named: Vec<String> = violations(&status).into_iter().map(|(field, _)| field).collect();
    named.dedup();
    for field in [
        "attach",
        "base_url",
        "code.alphabet",
        "code.length",
        "display_name",
        "earn_on",
        "leaderboard",
        "max_direct_referrals",
        "max_uses_per_code",
        "minimum_purchase_minor",
        "program_id",
        "purchase_currency_code",
        "rewards",
        "unit",
    ] {
        assert!(named.contains(&format!("program.{field}")), "{field} is missing in {named:?}");
    }
    assert!(bytes_on_the_wire(&status) <= 4_096);
    assert_eq!(log_length(&database).await, 0);
    server.stop().await;
    database.check().await;
}

/// What is wrong with the shipped program after a change.
async fn faults_after(client: &Client, change: impl FnOnce(&mut Program)) -> Vec<String> {
    let mut program = client.publish_shipped(LINES).await;
    change(&mut program);
    let status = refused(client.publish(program).await, Code::InvalidArgument, "INVALID_FIELD");
    violations(&status).into_iter().map(|(field, _)| field).collect()
}

#[tokio::test]
async fn a_wrong_rule_is_named_by_its_place() {
    let (database, server, client) = server_with(&[LINES]).await;
    let before = log_length(&database).await;

    let named = faults_after(&client, |program| {
        program.rewards[0].rate_bps = Some(10_001);
        program.rewards[1].cap_minor = Some(0);
        program.rewards[1].rule = "direct-commission".into();
    })
    .await;
    for field in ["rewards[0].rate_bps", "rewards[1].cap_minor", "rewards[1].rule"] {
        assert!(named.contains(&format!("program.{field}")), "{field} is missing in {named:?}");
    }
    let named = faults_after(&client, |program| program.rewards[1].level = 1).await;
    assert_eq!(named, ["program.rewards[1].level"]);
    let named = faults_after(&client, |program| program.rewards[0].flat_minor = Some(5)).await;
    assert!(named[0].starts_with("program.rewards[0]"), "{named:?}");

    assert_eq!(log_length(&database).await, before);
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn a_rule_that_cannot_be_read_does_not_hide_the_faults_of_the_others() {
    let (database, server, client) = server_with(&[LINES]).await;

    let named = faults_after(&client, |program| {
        program.rewards[0].kind = RewardKind::Unspecified.into();
        program.rewards[1].rate_bps = Some(10_001);
    })
    .await;

    // The rate alone exceeds the whole, and so does the sum of the rates.
    let expected = ["program.rewards", "program.rewards[0].kind", "program.rewards[1].rate_bps"];
    assert_eq!(named, expected);
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn a_rule_has_a_name_without_blanks_and_crediting_purchases_needs_their_currency() {
    let (database, server, client) = server_with(&[LINES]).await;

    let named = faults_after(&client, |program| program.rewards[0].rule = "two words".into()).await;
    assert_eq!(named, ["program.rewards[0].rule"]);
    let named = faults_after(&client, |program| {
        program.credit_purchases = true;
        program.purchase_currency_code = String::new();
        program.minimum_purchase_minor = 0;
        for rule in &mut program.rewards {
            (rule.rate_bps, rule.flat_minor) = (None, Some(5));
            rule.kind = RewardKind::Bonus.into();
        }
    })
    .await;
    assert_eq!(named, ["program.purchase_currency_code"]);
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn the_unit_of_a_program_cannot_be_changed() {
    let (database, server, client) = server_with(&["first-purchase-credits"]).await;
    let mut program = client.publish_shipped("first-purchase-credits").await;
    let before = log_length(&database).await;
    program.unit = "POINTS".into();

    let answer = client.publish(program).await;

    refused(answer, Code::FailedPrecondition, "UNIT_IS_FIXED");
    assert_eq!(log_length(&database).await, before);
    server.stop().await;
    database.check().await;
}
