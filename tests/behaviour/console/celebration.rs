//! A tier that was reached is celebrated once.

use super::security::user_id_of;
use super::*;
use contract::parse_program;
use contract::pb::*;
use tonic::Code;

use crate::principals::{by, in_process, service, user};
use contract::pb::reward_service_client::RewardServiceClient;
use testing::program;
use tributary::api::services;

const TIERED: &str = "tiered-points";
const DIALOG: &str = "data-celebrate";

/// A program whose tiers are reached with one and with two referrals.
async fn publish(client: &Client) -> (String, String) {
    let json = std::fs::read_to_string(program(TIERED)).unwrap();
    let mut program = parse_program(&json).unwrap();
    let tiers = &mut program.rewards.iter_mut().find(|rule| !rule.tiers.is_empty()).unwrap().tiers;
    assert_eq!(tiers.len(), 3);
    (tiers[1].from_referrals, tiers[2].from_referrals) = (1, 2);
    let names = (tiers[1].name.clone(), tiers[2].name.clone());
    client.publish(program).await.unwrap();
    names
}

/// Waits until this is the tier that somebody has still to be shown.
async fn until_unseen(client: &Client, user_id: &str, tier: &str) {
    let began = tokio::time::Instant::now();
    loop {
        let request = GetTierRequest {
            program_id: TIERED.into(),
            user_id: user_id.into(),
            ..Default::default()
        };
        let found = client.rewards().get_tier(client.request(request)).await.unwrap().into_inner();
        if found.unseen_tier == tier {
            return;
        }
        assert!(began.elapsed() < PATIENCE, "{found:?}");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}

fn seen(user_id: &str, tier: &str) -> MarkTierSeenRequest {
    MarkTierSeenRequest { program_id: TIERED.into(), user_id: user_id.into(), tier: tier.into() }
}

#[tokio::test]
async fn a_tier_is_celebrated_until_it_was_seen_also_if_it_was_reached_while_away() {
    let (database, server, client) = server_with(&[]).await;
    let (silver, gold) = publish(&client).await;
    let mut ada = Browser::new(&server.address);
    ada.register("ada", "").await;
    enroll(&mut ada, TIERED, "").await;
    let user_id = user_id_of(&client, "ada").await;
    let path = format!("/p/{TIERED}");
    assert!(!Browser::shown(&ada.get(&path).await).contains(DIALOG), "the lowest tier is no news");
    let code = code_of(&client, "ada", TIERED).await;
    client.sign_up(TIERED, "bob", &code).await.unwrap();
    until_unseen(&client, &user_id, &silver).await;
    // Until it was seen, every look shows it.
    for _ in 0..2 {
        let page = Browser::shown(&ada.get(&path).await);
        assert!(page.contains(&format!("You have reached {silver}")), "{page}");
    }
    let action = format!("{path}/celebrated");
    let sent = ada.fill(&path, &action, &[("tier", &silver)]).await;
    assert_eq!(sent.status, 303, "{}", sent.text());
    assert!(!Browser::shown(&ada.get(&path).await).contains(DIALOG));
    until_unseen(&client, &user_id, "").await;

    // The next one is shown by itself, and what is below it counts as seen.
    client.sign_up(TIERED, "cleo", &code).await.unwrap();
    until_unseen(&client, &user_id, &gold).await;
    let mut other = Browser::new(&server.address);
    other.sign_in("ada", PASSWORD).await;
    let page = Browser::shown(&other.get(&path).await);
    assert!(page.contains(&format!("You have reached {gold}")), "{page}");
    other.fill(&path, &action, &[("tier", &gold)]).await;
    assert!(!Browser::shown(&ada.get(&path).await).contains(DIALOG));
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn a_tier_is_marked_once_by_whom_it_concerns_and_forgotten_with_them() {
    let (database, server, client) = server_with(&["referral-count"]).await;
    let (silver, gold) = publish(&client).await;
    let code = client.sign_up(TIERED, "ada", "").await.unwrap().code;
    client.sign_up(TIERED, "bob", &code).await.unwrap();
    client.sign_up(TIERED, "cleo", &code).await.unwrap();
    client.sign_up("referral-count", "dan", "").await.unwrap();
    let local = in_process(&database).await;
    let mut rewards = RewardServiceClient::new(services(local.context()));
    let status = rewards.mark_tier_seen(by(&user("bob"), seen("ada", &gold))).await;
    refused(status, Code::PermissionDenied, "PERMISSION_DENIED");
    let first = rewards.mark_tier_seen(by(&user("ada"), seen("", &gold))).await.unwrap();
    assert!(first.into_inner().first);
    let again = rewards.mark_tier_seen(by(&service(), seen("ada", &gold))).await.unwrap();
    assert!(!again.into_inner().first);
    // Also what is below.
    let below = rewards.mark_tier_seen(by(&service(), seen("ada", &silver))).await.unwrap();
    assert!(!below.into_inner().first);
    for (request, reason) in [
        (seen("ada", "Platinum"), "TIER_NOT_FOUND"),
        (seen("dan", &gold), "PARTICIPANT_NOT_FOUND"),
        (seen("eve", &gold), "USER_NOT_FOUND"),
    ] {
        let status = client.rewards().mark_tier_seen(client.request(request)).await;
        refused(status, Code::NotFound, reason);
    }
    let status = client.rewards().mark_tier_seen(client.request(seen("ada", ""))).await;
    crate::bad_input::at_fault(status, "tier", "FIELD_REQUIRED");
    let marks = "select count(*) from seen_tiers";
    assert_eq!(database.count(marks).await, 3);
    client.erase("ada", true).await.unwrap();
    assert_eq!(database.count(marks).await, 0);
    server.stop().await;
    database.check().await;
}
