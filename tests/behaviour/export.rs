//! Exporting everything that is held about a user.

use contract::pb::*;
use serde_json::{Value, json};
use tonic::Code;

use super::support::{enroll, refused, server_with};
use testing::{Client, sign_up_request};

const LINES: &str = "multi-level-commission";
const BONUS: &str = "first-purchase-bonus";

async fn exported(client: &Client, user_id: &str) -> Value {
    let document = client.export(user_id).await.unwrap();
    serde_json::from_str(&document).unwrap_or_else(|error| panic!("{error}: {document}"))
}

/// The values of a field in a list.
fn each<'a>(list: &'a Value, field: &str) -> Vec<&'a Value> {
    list.as_array().expect("a list").iter().map(|row| &row[field]).collect()
}

#[tokio::test]
async fn a_person_gets_everything_that_is_held_about_them_and_nothing_about_others() {
    let (database, server, client) = server_with(&[LINES, BONUS]).await;
    let top = client.sign_up(LINES, "top-of-the-line", "").await.unwrap();
    let ada = RegisterUserRequest {
        email: "Ada@Lovelace.example".into(),
        display_name: "Ada \"the first\" Lovelace".into(),
        password: "Correct horse 1".into(),
        ..sign_up_request(LINES, "ada", &top.code)
    };
    let ada = client.register(ada).await.unwrap();
    client.sign_up(LINES, "somebody-else", &ada.participants[0].code).await.unwrap();
    enroll(&client, BONUS, "ada", "").await.unwrap();
    client.buy("order-of-else", "somebody-else", "INR", 100_000).await.unwrap();
    client.buy("order-of-ada", "ada", "USD", 1_000).await.unwrap();

    let document = exported(&client, "ada").await;

    assert_eq!(document["user_id"], "ada");
    assert!(document["log_position"].as_i64().unwrap() > 10);
    let profile = json!([{
        "user_id": "ada",
        "username": "ada",
        "email": "Ada@Lovelace.example",
        "display_name": "Ada \"the first\" Lovelace",
    }]);
    assert_eq!(document["profiles"], profile);
    assert_eq!(each(&document["account_history"], "type")[0], "UserRegistered");
    let programs = &document["programs"];
    assert_eq!(each(programs, "program_id"), [LINES, BONUS]);
    let lines = &programs[0];
    assert_eq!(lines["code"], ada.participants[0].code);
    assert_eq!(
        (&lines["own_referral_status"], &lines["referral_count"]),
        (&json!("pending"), &json!(1))
    );
    assert_eq!(lines["balance_in_minor_units"], json!({ "available": 5_000, "earned": 5_000 }));
    assert_eq!(each(&lines["balance_entries"], "type"), ["RewardGranted"]);
    assert_eq!(lines["balance_entries"][0]["posting"]["amount"], 5_000);
    let history = each(&lines["history"], "type");
    for expected in ["ParticipantEnrolled", "ReferralApplied", "ReferralMade"] {
        assert!(history.contains(&&json!(expected)), "{history:?}");
    }
    assert_eq!(each(&document["purchases"], "purchase_id"), ["order-of-ada"]);
    assert_eq!(document["purchases"][0]["amount_minor"], 1_000);

    let text = document.to_string();
    for other in ["somebody-else", "top-of-the-line", &*top.code, "argon2id", "password_hash"] {
        assert!(!text.contains(other), "{other} in {text}");
    }
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn a_long_document_comes_in_parts_that_are_one_json_object() {
    let (database, server, client) = server_with(&[LINES]).await;
    client.sign_up(LINES, "ada", "").await.unwrap();
    let purchases = 700;
    let buying: Vec<_> = (0..purchases)
        .map(|number| {
            let client = client.clone();
            tokio::spawn(async move {
                client.buy(&format!("order-{number}"), "ada", "USD", 5).await.unwrap();
            })
        })
        .collect();
    for bought in buying {
        bought.await.unwrap();
    }

    let message = ExportUserRequest { user_id: "ada".into(), ..Default::default() };
    let request = client.request(message);
    let mut parts = client.accounts().export_user(request).await.unwrap().into_inner();
    let (mut document, mut count) = (String::new(), 0);
    while let Some(part) = parts.message().await.unwrap() {
        assert!(part.json_part.len() < 128 * 1024 && part.position > 0);
        document += &part.json_part;
        count += 1;
    }

    assert!(count > 1, "{} bytes in {count} parts", document.len());
    let document: Value = serde_json::from_str(&document).unwrap();
    let mut ids = each(&document["purchases"], "purchase_id");
    ids.dedup();
    assert_eq!(ids.len(), purchases);
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn nothing_is_exported_of_somebody_unknown() {
    let (database, server, client) = server_with(&[]).await;
    refused(client.export("nobody").await, Code::NotFound, "USER_NOT_FOUND");
    server.stop().await;
    database.check().await;
}
