//! Bodies that are no events are errors that name the field, never a panic.

use proptest::prelude::*;
use serde_json::{Map, Value, json};
use stripe::event::{Fact, Malformed, Unread, identify, parse};
use stripe::sample;

/// A valid event of each type that is read.
fn samples() -> Vec<Value> {
    let at = 1_764_000_000;
    let events = [
        ("checkout.session.completed", sample::session("cs_1", "pi_1", "ada", 1_000)),
        ("checkout.session.async_payment_succeeded", sample::session("cs_1", "pi_1", "ada", 1_000)),
        ("payment_intent.succeeded", sample::intent("pi_1", "ch_1", 1_000)),
        ("invoice_payment.paid", sample::invoice_payment("in_1", "pi_1", 1_000)),
        ("invoice.paid", sample::invoice("in_1", "ada", 1_000)),
        ("refund.created", sample::refund("re_1", "pi_1", "ch_1", 200)),
        ("refund.updated", sample::refund("re_1", "pi_1", "ch_1", 200)),
        ("refund.failed", sample::refund("re_1", "pi_1", "ch_1", 200)),
        ("charge.refunded", sample::charge("ch_1", "pi_1", 1_000, 200)),
        ("charge.dispute.created", sample::dispute("du_1", "pi_1", "ch_1", 200, "needs_response")),
        ("charge.dispute.updated", sample::dispute("du_1", "pi_1", "ch_1", 200, "under_review")),
        ("charge.dispute.closed", sample::dispute("du_1", "pi_1", "ch_1", 200, "lost")),
    ];
    let events = events.iter().enumerate();
    let event = |(index, (event_type, object)): (usize, &(&str, Value))| {
        sample::event(&format!("evt_{index}"), event_type, at, object)
    };
    events.map(event).collect()
}

fn read(payload: &Value) -> Result<Fact, Malformed> {
    parse(&serde_json::to_vec(payload).unwrap()).map(|event| event.fact)
}

fn field_of(result: Result<Fact, Malformed>) -> String {
    match result {
        Err(Malformed::Field { field, .. }) => field,
        Err(Malformed::NotJson) => "not JSON".into(),
        Ok(fact) => format!("{fact:?}"),
    }
}

/// Sets what is at a path such as `data.object.id`. All but the last member must be there.
fn set(payload: &mut Value, path: &str, value: Value) {
    let pointer = format!("/{}", path.replace('.', "/"));
    let (parent, name) = pointer.rsplit_once('/').unwrap();
    payload.pointer_mut(parent).unwrap()[name] = value;
}

#[test]
fn every_sample_is_read_as_what_it_says() {
    for payload in samples() {
        assert_ne!(read(&payload), Ok(Fact::Unknown), "{payload}");
    }
}

#[test]
fn the_type_of_an_event_says_what_its_status_may_not_say_yet() {
    let mut paid = samples().swap_remove(1);
    set(&mut paid, "data.object.payment_status", json!("unpaid"));
    assert!(matches!(read(&paid), Ok(Fact::Session(session)) if session.is_paid));
    let mut failed = samples().swap_remove(7);
    set(&mut failed, "data.object.status", json!("pending"));
    assert!(matches!(read(&failed), Ok(Fact::Refund(refund)) if refund.is_cancelled));
}

#[test]
fn an_event_tells_its_version_account_and_mode() {
    let mut payload = samples().remove(0);
    payload["account"] = "acct_1".into();
    payload["livemode"] = true.into();
    let event = parse(payload.to_string().as_bytes()).unwrap();
    assert_eq!((event.event_id.as_str(), event.is_live), ("evt_0", true));
    assert_eq!(event.account_id.as_deref(), Some("acct_1"));
    assert_eq!(event.api_version.as_deref(), Some(sample::API_VERSION));
    assert!(!event.is_too_old_for_renewals());
    payload["api_version"] = "2019-02-19".into();
    assert!(parse(payload.to_string().as_bytes()).unwrap().is_too_old_for_renewals());
}

#[test]
fn a_field_of_another_form_is_named() {
    let all = samples();
    let [session, intent, paid, invoice, refund, charge, dispute] =
        [0, 2, 3, 4, 5, 8, 9].map(|index: usize| &all[index]);
    for (payload, path, value) in [
        (session, "type", Value::Null),
        (session, "id", json!(7)),
        (session, "id", json!("")),
        (session, "id", json!("evt_\u{0}")),
        (session, "id", json!("e".repeat(256))),
        (session, "created", json!("2026-01-01")),
        (session, "created", json!(-1)),
        (session, "created", json!(0)),
        (session, "created", json!(1.5)),
        (session, "created", json!(253_402_300_800_i64)),
        (session, "created", Value::Null),
        (session, "livemode", Value::Null),
        (session, "account", json!({})),
        (session, "data", json!([])),
        (session, "data.object", Value::Null),
        (session, "data.object.id", Value::Null),
        (session, "data.object.mode", Value::Null),
        (session, "data.object.payment_status", json!(true)),
        (session, "data.object.payment_intent", json!({ "object": "payment_intent" })),
        (session, "data.object.client_reference_id", json!(7)),
        (session, "data.object.metadata", json!("user_id")),
        (session, "data.object.amount_total", json!(10.5)),
        (session, "data.object.amount_total", json!(-1)),
        (session, "data.object.currency", json!("u$d")),
        (intent, "data.object.amount_received", Value::Null),
        (intent, "data.object.amount_received", json!(1e30)),
        (intent, "data.object.currency", Value::Null),
        (intent, "data.object.latest_charge", json!(1)),
        (paid, "data.object.invoice", Value::Null),
        (paid, "data.object.payment", Value::Null),
        (paid, "data.object.payment.payment_intent", json!(1)),
        (invoice, "data.object.parent", json!("sub_1")),
        (invoice, "data.object.parent.subscription_details", json!(1)),
        (invoice, "data.object.parent.subscription_details.metadata.user_id", json!(1)),
        (refund, "data.object.amount", Value::Null),
        (refund, "data.object.created", Value::Null),
        (refund, "data.object.created", json!(0)),
        (refund, "data.object.status", json!(1)),
        (charge, "data.object.amount_refunded", json!("200")),
        (dispute, "data.object.status", Value::Null),
        (dispute, "data.object.charge", json!([])),
    ] {
        let mut payload = payload.clone();
        set(&mut payload, path, value.clone());
        assert_eq!(field_of(read(&payload)), path, "{value}");
    }
    assert_eq!(parse(b"{"), Err(Malformed::NotJson));
    assert_eq!(parse(b"\xff"), Err(Malformed::NotJson));
    assert_eq!(parse("[".repeat(100_000).as_bytes()), Err(Malformed::NotJson));
    assert_eq!(field_of(parse(b"[]").map(|event| event.fact)), "body");
}

#[test]
fn what_stripe_may_leave_out_is_absent() {
    let all = samples();
    for (index, path) in [
        (0, "api_version"),
        (0, "data.object.payment_intent"),
        (0, "data.object.client_reference_id"),
        (0, "data.object.metadata"),
        (0, "data.object.amount_total"),
        (2, "data.object.metadata"),
        (2, "data.object.latest_charge"),
        (3, "data.object.payment.payment_intent"),
        (4, "data.object.parent"),
        (4, "data.object.parent.subscription_details"),
        (4, "data.object.parent.subscription_details.metadata"),
        (5, "data.object.status"),
        (5, "data.object.payment_intent"),
        (5, "data.object.charge"),
        (8, "data.object.payment_intent"),
        (9, "data.object.payment_intent"),
    ] {
        let mut payload = all[index].clone();
        set(&mut payload, path, Value::Null);
        assert!(read(&payload).is_ok(), "{path}");
    }
}

#[test]
fn an_expanded_object_counts_as_its_id_and_an_unusable_name_as_none() {
    let mut payload = samples().remove(0);
    set(&mut payload, "data.object.payment_intent", json!({ "id": "pi_9", "amount": 1 }));
    for name in ["", "ada\u{0}", "a\nb"] {
        set(&mut payload, "data.object.client_reference_id", json!(name));
        let Ok(Fact::Session(session)) = read(&payload) else { panic!("a session") };
        assert_eq!(session.payment_intent.as_deref(), Some("pi_9"));
        assert_eq!(session.client_reference_id, None, "{name:?}");
    }
}

#[test]
fn an_unknown_event_needs_an_id_and_a_type_only() {
    let thin = json!({
        "id": "evt_1", "object": "v2.core.event", "type": "v2.core.account.created",
        "created": "2026-11-01T12:00:00.000Z", "related_object": { "id": "acct_1" },
    });
    let event = parse(thin.to_string().as_bytes()).unwrap();
    assert_eq!((event.fact, event.created_seconds), (Fact::Unknown, 0));
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,12}".prop_map(Value::from),
        "(pi|ch|usd|paid|payment|id|type)_?[0-9]{0,2}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 32, 6, |inner| {
        let name = "(id|object|data|type|metadata|user_id|parent|amount|currency|[a-z]{1,4})";
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::vec((name, inner), 0..6)
                .prop_map(|members| Value::Object(members.into_iter().collect::<Map<_, _>>())),
        ]
    })
}

/// The pointers of all values in a payload.
fn pointers(value: &Value, at: &str, found: &mut Vec<String>) {
    found.push(at.into());
    match value {
        Value::Object(members) => {
            for (name, value) in members {
                pointers(value, &format!("{at}/{name}"), found);
            }
        }
        Value::Array(items) => {
            for (index, value) in items.iter().enumerate() {
                pointers(value, &format!("{at}/{index}"), found);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(body in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = parse(&body);
    }

    #[test]
    fn no_json_makes_it_panic(body in any_json()) {
        let _ = read(&body);
    }

    #[test]
    fn a_valid_payload_with_anything_anywhere_is_an_event_or_an_error_that_names_a_field_of_it(
        of in 0..12_usize,
        changes in prop::collection::vec((any::<prop::sample::Index>(), any_json()), 1..4),
    ) {
        let mut payload = samples().swap_remove(of);
        for (index, value) in changes {
            let mut found = Vec::new();
            pointers(&payload, "", &mut found);
            let pointer: &String = index.get(&found);
            let place = payload.pointer_mut(pointer);
            if let Some(place) = place {
                *place = value;
            }
        }
        match parse(&serde_json::to_vec(&payload).unwrap()) {
            // What is read can be kept and folded, whatever it says.
            Ok(event) => {
                let kept = serde_json::to_string(&event).unwrap();
                prop_assert!(!kept.contains("\\u0000"), "Postgres takes no NUL in JSON");
                let intent = event.fact.intent().unwrap_or("pi_1");
                let mut payment = stripe::payment::Payment::new(intent);
                payment.apply(&event);
                let desired = payment.desired(&crate::delivery::rules());
                let _ = desired.plan(None, &std::collections::BTreeSet::new());
            }
            Err(Malformed::Field { field, .. }) => {
                prop_assert!(field.is_empty() || !field.starts_with('.') && !field.contains(".."));
            }
            Err(Malformed::NotJson) => prop_assert!(false, "it is JSON"),
        }
    }
}

#[test]
fn a_body_that_cannot_be_read_still_says_what_it_is_and_whom_it_names() {
    let mut session = sample::session("cs_1", "pi_1", "ada", 1_000);
    session["metadata"] = json!({ "user_id": "bob" });
    session["amount_total"] = json!("many");
    let event = sample::event("evt_1", "checkout.session.completed", 1_764_000_000, &session);
    assert!(read(&event).is_err());
    let unread = Unread {
        event_id: "evt_1".into(),
        event_type: "checkout.session.completed".into(),
        named: vec!["ada".into(), "bob".into()],
    };
    assert_eq!(identify(event.to_string().as_bytes()), Some(unread));
    // What has no id, or none that can be kept, cannot be found again.
    for nameless in ["", "{", "[]", "{}", r#"{"id":7}"#, r#"{"id":"a\u0000b"}"#] {
        assert_eq!(identify(nameless.as_bytes()), None, "{nameless}");
    }
}
