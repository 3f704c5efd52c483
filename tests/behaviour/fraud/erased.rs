//! Flags of users who were erased, and what a user is told of evidence.

use contract::pb::*;
use serde_json::{Value, json};

use super::review::{flag_of, three_held};
use super::*;
use crate::support::server_with;

const DECISIONS: [FraudDecision; 3] =
    [FraudDecision::Released, FraudDecision::Rejected, FraudDecision::RejectedAndDeactivated];

async fn get(client: &Client, flag_id: &str) -> FraudFlag {
    let request =
        GetFraudFlagRequest { flag_id: flag_id.into(), consistency_token: newest(client).await };
    let answer = client.fraud().get_fraud_flag(client.request(request)).await.unwrap();
    answer.into_inner().flag.unwrap()
}

/// Checks that a flag shows nothing of an erased user but the id, and nothing of its evidence.
#[track_caller]
fn assert_is_bare(flag: &FraudFlag, erased: &[&str]) {
    let parties = [&flag.referee, &flag.referrer, &flag.other];
    for party in parties.into_iter().flatten() {
        assert!(!party.user_id.is_empty());
        if erased.contains(&&*party.user_id) {
            assert_eq!((&*party.email, &*party.username), ("", ""), "{flag:?}");
        }
    }
    assert!(flag.findings.is_empty() && flag.shared_parts.is_empty(), "{flag:?}");
    assert!(flag.notes.is_empty() && flag.client_address.is_empty(), "{flag:?}");
}

#[tokio::test]
async fn flags_of_erased_users_are_listed_and_decided_about_without_their_evidence() {
    let (database, server, client) = server_with(&[POINTS]).await;
    three_held(&client).await;
    let mut flag_ids = Vec::new();
    for name in ["one", "two", "three"] {
        flag_ids.push(flag_of(&client, name).await.flag_id);
    }
    let [one, two, three] = [&flag_ids[0], &flag_ids[1], &flag_ids[2]];
    // An erased referee, an erased referrer, and both.
    resolve(&client, one, FraudDecision::Rejected, "said by phone").await.unwrap();
    client.erase("one", true).await.unwrap();
    client.erase("john", true).await.unwrap();
    client.erase("three", true).await.unwrap();
    let erased = ["one", "john", "three"];

    let all = flags(&client).await;
    assert_eq!(all.len(), 3);
    for flag in &all {
        assert_is_bare(flag, &erased);
        assert_eq!(
            (flag.kind(), flag.consequence()),
            (FraudFlagKind::SelfReferral, FraudPolicy::Hold)
        );
        assert_is_bare(&get(&client, &flag.flag_id).await, &erased);
    }
    for name in ["one", "two", "three", "john"] {
        let of_user = ListFraudFlagsRequest { user_id: name.into(), ..Default::default() };
        assert!(!list(&client, of_user).await.is_empty(), "{name}");
    }
    let referee = get(&client, two).await.referee.unwrap();
    assert_eq!(referee.username, "two", "who was not erased is shown");

    for flag_id in [one, two, three] {
        for decision in DECISIONS {
            let decided = resolve(&client, flag_id, decision, "").await.unwrap();
            assert_eq!((decided.state(), decided.decision()), (FraudFlagState::Resolved, decision));
            assert_is_bare(&decided, &erased);
        }
    }
    // Referred by somebody who was erased, a referral counts for nobody.
    assert_eq!(place(&client, POINTS, "two").await, ReferralStatus::Converted);
    let user = client.user("two").await.unwrap().user.unwrap();
    assert_eq!(user.status(), UserStatus::Inactive);
    let granted = "select count(*) from events where event_type = 'RewardGranted'";
    assert_eq!(database.count(granted).await, 0);
    // Notes that are made later are kept for those who are left.
    resolve(&client, two, FraudDecision::Released, "two is herself").await.unwrap();
    let notes = "select count(*) from fraud_notes where user_id = 'one' or other_user_id = 'one'";
    assert_eq!(database.count(notes).await, 0);
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn an_export_has_the_users_own_evidence_and_erasing_leaves_none() {
    let (database, server, client) = server_with(&[POINTS]).await;
    let checks = FraudChecks {
        similar_address: Some(SimilarAddressCheck::default()),
        fingerprint: with_policy(FraudPolicy::Unspecified),
        ..Default::default()
    };
    client.publish(checked(POINTS, checks)).await.unwrap();
    let code = join(&client, "john", "john.smith@mail.example", "").await.code;
    let sign_up = |user_id: &str, email: &str| RegisterUserRequest {
        client_ip: "2001:db8:1:2::9".into(),
        fingerprint: "device of eve".into(),
        ..with_address(POINTS, user_id, email, &code)
    };
    client.register(sign_up("eve", "j0hn.smith@mail.example")).await.unwrap();
    client.register(sign_up("amy", "wilhelmina@corp.example")).await.unwrap();
    assert_eq!(flags(&client).await.len(), 2);
    let keys: Vec<String> =
        sqlx::query_scalar("select distinct fingerprint_key from sign_up_clients")
            .fetch_all(&database.pool)
            .await
            .unwrap();
    let [key] = &*keys else { panic!("{keys:?}") };

    let text = client.export("eve").await.unwrap();
    let document: Value = serde_json::from_str(&text).unwrap();
    let evidence = &document["fraud_evidence"];
    assert_eq!(evidence.as_array().unwrap().len(), 1, "{evidence}");
    assert_eq!(evidence[0]["address"], "j0hn.smith@mail.example");
    assert_eq!(evidence[0]["client_address"], "2001:db8:1:2::9");
    assert_eq!(document["sign_up_clients"][0]["client_address"], "2001:db8:1:2::9");
    assert_eq!(document["referee_addresses"][0]["address"], "j0hn.smith@mail.example");
    for hidden in [&**key, "device of eve", "john.smith@", "similar", "self_referral\",\"other"] {
        assert!(!text.replace("j0hn.smith@", "").contains(hidden), "{hidden} in {text}");
    }
    let of_john: Value = serde_json::from_str(&client.export("john").await.unwrap()).unwrap();
    assert_eq!(of_john["fraud_evidence"], json!([]), "the evidence is eve's");

    client.erase("eve", true).await.unwrap();
    for (table, left) in [
        ("sign_up_clients", "user_id = 'eve'"),
        ("fraud_evidence", "user_id = 'eve' or other_user_id = 'eve'"),
        ("referee_addresses", "user_id = 'eve' and address is not null"),
        ("claims", "owner = 'eve' and kind in ('fingerprint', 'mailbox', 'look_alike', 'email')"),
        ("sign_ups", "sign_ups::text like '%smith%'"),
    ] {
        let count = database.count(&format!("select count(*) from {table} where {left}")).await;
        assert_eq!(count, 0, "{table}");
    }
    // The device is known by nobody, so its next user is the first, and is not flagged with eve.
    let next = client.register(sign_up("zoe", "genevieve@corp.example")).await.unwrap();
    assert_eq!(next.participants[0].referral_status(), ReferralStatus::Converted);
    server.stop().await;
    database.check().await;
}
