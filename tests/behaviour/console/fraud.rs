//! The fraud queue: what operators see of flags, what they decide, and what they follow.

use contract::pb::*;

use super::live::{Stream, token_of};
use super::security::make_operator;
use super::*;

/// A shipped program that holds referrals of similar addresses.
const POINTS: &str = "tiered-points";

/// Somebody who takes part with an address, by a code; and a token with which pages show what came of it.
async fn join(client: &Client, user_id: &str, email: &str, code: &str) -> (Participant, String) {
    let request = RegisterUserRequest {
        user_id: user_id.into(),
        username: user_id.into(),
        email: email.into(),
        program_id: POINTS.into(),
        referral_code: code.into(),
        ..Default::default()
    };
    let joined = client.register(request).await.unwrap();
    (joined.participants[0].clone(), joined.consistency_token)
}

/// A server with two flags that wait, about `one` and `two`, both referred by `john`; and an operator.
struct Scene {
    database: testing::TestDatabase,
    server: testing::Server,
    client: Client,
    ada: Browser,
    /// The code of john.
    code: String,
    /// With it, pages show the flags.
    at: String,
}

async fn scene() -> Scene {
    let (database, server, client) = server_with(&[POINTS]).await;
    let mut ada = Browser::new(&server.address);
    ada.register("ada", "").await;
    assert_eq!(ada.get("/o/fraud").await.status, 403, "a participant is no operator");
    make_operator(&client, "ada").await;
    ada.sign_in("ada", PASSWORD).await;
    let code = join(&client, "john", "john.smith@mail.example", "").await.0.code;
    let mut at = String::new();
    for (name, email) in [("one", "john.smith1@mail.example"), ("two", "j0hn.smith@mail.example")] {
        let (joined, token) = join(&client, name, email, &code).await;
        assert_eq!(joined.referral_status(), ReferralStatus::Held, "{name}");
        at = token;
    }
    Scene { database, server, client, ada, code, at }
}

async fn status_of(client: &Client, user_id: &str) -> ReferralStatus {
    client.user(user_id).await.unwrap().participants[0].referral_status()
}

/// The ids of the flags on a page, in their order.
fn flags_of(page: &str) -> Vec<String> {
    let cards = page.split("id=\"flag-").skip(1).step_by(2);
    cards.map(|rest| rest.split('"').next().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn an_operator_decides_about_flags_with_the_evidence_side_by_side() {
    let Scene { database, server, client, mut ada, at, .. } = scene().await;
    let page = Browser::shown(&ada.get(&format!("/o/fraud?at={at}")).await);
    let flags = flags_of(&page);
    assert_eq!(flags.len(), 2, "{page}");
    for shown in [
        "/o/users/one",
        "/o/users/two",
        "/o/users/john",
        "@mail.example",
        "Similar to the referrer",
    ] {
        assert!(page.contains(shown), "{shown}: {page}");
    }
    // An operator compares addresses, and does not read them.
    assert!(!page.contains("john.smith1@"), "{page}");
    // The first whom a card names is who was referred; others can be named by what was found.
    let is_of_one =
        |card: &&str| card.split("/o/users/").nth(1).is_some_and(|rest| rest.starts_with("one\""));
    let card = page.split("<article").skip(1).find(is_of_one).unwrap();
    let flag_id = hidden(card, "/o/fraud", "flag_id").unwrap();
    let page = Browser::shown(&ada.get(&format!("/o/fraud/{flag_id}")).await);
    for shown in ["At stake", "Bought nothing yet", "Reject and deactivate"] {
        assert!(page.contains(shown), "{shown}: {page}");
    }

    let decide = [("flag_id", &*flag_id), ("decision", "released"), ("note", "twins <b>")];
    let released = ada.fill("/o/fraud", "/o/fraud", &decide).await;
    assert_eq!(released.status, 303, "{}", released.text());
    assert_eq!(status_of(&client, "one").await, ReferralStatus::Converted);
    let next = released.exact_header("location").unwrap().to_owned();
    let page = Browser::shown(&ada.get(&next).await);
    assert!(page.contains("Released: the referral counts.") && !page.contains(&flag_id), "{page}");
    let page = Browser::shown(&ada.get("/o/fraud?state=resolved").await);
    assert_eq!(flags_of(&page), [&*flag_id]);
    let ada_id = super::security::user_id_of(&client, "ada").await;
    assert!(page.contains(&format!("/o/users/{ada_id}")), "who decided: {page}");
    let page = Browser::shown(&ada.get(&format!("/o/fraud/{flag_id}")).await);
    assert!(page.contains("twins &lt;b&gt;"), "{page}");

    // The other one is rejected from its own page, and what is refused is said there.
    let other = flags.iter().find(|of| **of != flag_id).unwrap();
    let action = format!("/o/fraud/{other}");
    let long = "x".repeat(2_001);
    let refused = ada.fill(&action, &action, &[("decision", "rejected"), ("note", &*long)]).await;
    assert_eq!(refused.status, 422, "{}", refused.text());
    assert!(refused.text().contains("This is too long.") && refused.text().contains(&long));
    assert_eq!(status_of(&client, "two").await, ReferralStatus::Held);
    let decide = [("decision", "deactivated"), ("reverse_rewards", "on"), ("note", "")];
    let rejected = ada.fill(&action, &action, &decide).await;
    assert_eq!(rejected.status, 303, "{}", rejected.text());
    assert_eq!(status_of(&client, "two").await, ReferralStatus::Rejected);
    let user = client.user("two").await.unwrap().user.unwrap();
    assert_eq!(user.status(), UserStatus::Inactive);
    let next = rejected.exact_header("location").unwrap().to_owned();
    Browser::shown(&ada.get(&next).await);
    let page = Browser::shown(&ada.get("/o/fraud").await);
    assert!(page.contains("Nothing to decide"), "{page}");
    assert_eq!(ada.get("/o/fraud/none").await.status, 404);
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn the_queue_is_filtered_and_put_in_order() {
    let Scene { database, server, mut ada, at, .. } = scene().await;
    Browser::shown(&ada.get(&format!("/o/fraud?at={at}")).await);
    for (filter, expected) in [
        ("", 2),
        ("?state=all&program=tiered-points&user=one", 1),
        ("?user=john&order=gravest", 2),
        ("?kind=self_referral", 2),
        ("?kind=fingerprint", 0),
        ("?state=resolved", 0),
        // What nobody knows limits nothing.
        ("?kind=nonsense&state=nonsense&order=nonsense", 2),
    ] {
        let page = Browser::shown(&ada.get(&format!("/o/fraud{filter}")).await);
        assert_eq!(flags_of(&page).len(), expected, "{filter}: {page}");
    }
    // The gravest first: the score of one address is higher than that of the other.
    let scores = |page: &str| -> Vec<String> {
        let found = page.split("Similar to the referrer, ").skip(1);
        found.map(|rest| rest.split('%').next().unwrap().to_owned()).collect()
    };
    let page = Browser::shown(&ada.get("/o/fraud?order=gravest").await);
    let found: Vec<f64> = scores(&page).iter().map(|score| score.parse().unwrap()).collect();
    assert!(found.len() == 2 && found[0] > found[1], "{found:?}");
    assert_eq!(ada.get("/o/fraud?program=nothing").await.status, 404);
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn the_queue_follows_what_happens_to_flags_without_a_gap() {
    let Scene { database, server, client, mut ada, code, at } = scene().await;
    let page = Browser::shown(&ada.get(&format!("/o/fraud?at={at}")).await);
    let flag_id = flags_of(&page)[0].clone();
    // Raised after the page and before the stream.
    join(&client, "three", "john.smiht@mail.example", &code).await;
    let mut stream = Stream::open(&ada, "/live/fraud", &token_of(&page)).await;
    stream.until("/o/users/three").await;
    stream.until("data-into=\"queue\"").await;
    stream.until("\n\n").await;
    let seen = stream.token();
    drop(stream);
    // Decided about while the browser is away: the flag is sent as it stands, and goes into no queue of open ones.
    let request = ResolveFraudFlagRequest {
        flag_id: flag_id.clone(),
        decision: FraudDecision::Rejected.into(),
        ..Default::default()
    };
    client.fraud().resolve_fraud_flag(client.request(request)).await.unwrap();
    let mut stream = Stream::open(&ada, "/live/fraud", &seen).await;
    stream.until(&format!("id=\"flag-{flag_id}\"")).await;
    stream.until("Decide otherwise").await;
    assert!(
        !stream.text.contains("/o/users/three") && !stream.text.contains("data-into"),
        "{}",
        stream.text
    );
    drop(stream);
    let mut stream = Stream::open(&ada, "/live/fraud?state=resolved", &seen).await;
    stream.until("data-into=\"queue\"").await;
    drop(stream);
    // The page of a flag hears of its own only.
    let path = format!("/live/fraud/{flag_id}?program={POINTS}");
    let page = Browser::shown(&ada.get(&format!("/o/fraud/{flag_id}")).await);
    let mut stream = Stream::open(&ada, &path, &token_of(&page)).await;
    join(&client, "four", "john.smithh@mail.example", &code).await;
    let request = ResolveFraudFlagRequest {
        flag_id: flag_id.clone(),
        decision: FraudDecision::Released.into(),
        ..Default::default()
    };
    client.fraud().resolve_fraud_flag(client.request(request)).await.unwrap();
    stream.until("Released").await;
    assert!(!stream.text.contains("/o/users/four"), "{}", stream.text);
    // Whoever is no operator any more follows nothing.
    let stranger = Browser::new(&server.address);
    let mut stream = Stream::open(&stranger, "/live/fraud", "").await;
    stream.until("event: end").await;
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn a_note_that_cannot_be_shown_is_a_fault_at_its_field() {
    let Scene { database, server, mut ada, at, .. } = scene().await;
    let queue = format!("/o/fraud?at={at}");
    let flags = flags_of(&Browser::shown(&ada.get(&queue).await));
    let note = "\u{202e}desaeler";
    let fields = [("flag_id", &*flags[0]), ("decision", "released"), ("note", note)];
    let answer = ada.fill(&queue, "/o/fraud", &fields).await;
    assert_eq!(answer.status, 422, "{}", answer.text());
    let html = answer.text();
    let fault = format!("id=\"note-{}-fault\"", flags[0]);
    assert!(html.contains(&fault) && html.contains("cannot be shown"), "{html}");
    assert_eq!(html.matches("aria-invalid=\"true\"").count(), 1, "{html}");
    server.stop().await;
    database.check().await;
}
