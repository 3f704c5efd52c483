//! The same events in any order, repeated or not, come to the same.

use std::collections::BTreeSet;

use proptest::prelude::*;
use serde_json::json;
use stripe::event::Event;
use stripe::payment::{DisputeState, Outcome, Parked};
use stripe::sample;

use crate::delivery::{
    Book, CHARGE, INTENT, SESSION, Standing, charge_refunded, dispute, event, intent_succeeded,
    refund_created, refund_failed, rules, session_completed, with,
};

/// Delivers the events in all orders. Orders with the same beginning share it.
fn in_all_orders(events: &[Event], check: &mut impl FnMut(&Book)) {
    fn go_on(book: &Book, left: &[Event], check: &mut impl FnMut(&Book)) {
        if left.is_empty() {
            check(book);
        }
        for index in 0..left.len() {
            let mut left = left.to_vec();
            let next = left.remove(index);
            let mut book = book.clone();
            book.deliver(&next);
            go_on(&book, &left, check);
        }
    }
    go_on(&Book::default(), events, check);
}

/// Delivers the events in all orders, and again after each order, and returns how many orders there were.
fn assert_one_end(events: &[Event], intent_ids: &[&str]) -> usize {
    let expected = Book::of(events);
    let mut orders = 0;
    in_all_orders(events, &mut |book| {
        orders += 1;
        let again = events.get(orders % events.len()).unwrap();
        let mut book = book.clone();
        book.deliver(again);
        assert_eq!(book.payments, expected.payments);
        for intent_id in intent_ids {
            assert_eq!(book.desired(intent_id), expected.desired(intent_id));
            assert_eq!(book.standing(intent_id), expected.standing(intent_id));
            assert_eq!(book.plan(intent_id).parked, expected.plan(intent_id).parked);
        }
    });
    orders
}

/// A payment of 10.00 dollars with two refunds, their total and a dispute that is lost.
fn payment_with_everything() -> Vec<Event> {
    vec![
        session_completed(0, 1_000),
        intent_succeeded(1, 1_000),
        refund_created(10, "re_1", 200),
        refund_created(20, "re_2", 300),
        charge_refunded(20, 500),
        dispute(30, "created", 400, "needs_response"),
        dispute(40, "updated", 450, "under_review"),
        dispute(50, "closed", 450, "lost"),
    ]
}

#[test]
fn all_orders_of_a_payment_with_refunds_and_a_dispute_end_in_the_same_state() {
    let events = payment_with_everything();
    assert_eq!(assert_one_end(&events, &[INTENT]), 40_320);

    let book = Book::of(&events);
    let standing = book.standing(INTENT).unwrap();
    assert_eq!((standing.paid_minor, standing.refunded_minor), (1_000, 500));
    assert_eq!(standing.buyer_user_id, "ada");
    let lost = Some(DisputeState::Closed(Outcome::Lost));
    assert_eq!(standing.disputes, [("du_1".into(), 450, lost)]);
    assert_eq!(book.plan(INTENT).parked, []);
}

#[test]
fn all_orders_with_a_refund_that_fails_and_one_that_only_totals_tell_of_end_in_the_same_state() {
    let events = [
        intent_succeeded(0, 1_000),
        session_completed(1, 1_000),
        refund_created(10, "re_1", 200),
        charge_refunded(10, 200),
        // Of this refund nothing else is told.
        charge_refunded(20, 500),
        refund_failed(30, 10, "re_1", 200),
        refund_created(40, "re_3", 100),
    ];
    assert_eq!(assert_one_end(&events, &[INTENT]), 5_040);
    let standing = Book::of(&events).standing(INTENT).unwrap();
    assert_eq!(standing.refunded_minor, 300 + 100);
}

#[test]
fn all_orders_of_a_renewal_are_one_purchase() {
    let renewal = |number: i64, user: &str| {
        let (invoice, intent) = (format!("in_{number}"), format!("pi_{number}"));
        let charge = format!("ch_{number}");
        [
            event(number, "invoice.paid", &sample::invoice(&invoice, user, 900)),
            event(number, "invoice_payment.paid", &sample::invoice_payment(&invoice, &intent, 900)),
            event(number, "payment_intent.succeeded", &sample::intent(&intent, &charge, 900)),
        ]
    };
    let events = [renewal(1, "ada"), renewal(2, "ada")].concat();
    assert_eq!(assert_one_end(&events, &["pi_1", "pi_2"]), 720);
    let book = Book::of(&events);
    for intent_id in ["pi_1", "pi_2"] {
        let standing = book.standing(intent_id).unwrap();
        assert_eq!((standing.buyer_user_id.as_str(), standing.paid_minor), ("ada", 900));
    }
    assert_eq!(book.payments.len(), 2, "an invoice is no payment of its own");
}

#[test]
fn all_orders_of_an_invoice_that_two_payments_pay_are_two_purchases_of_its_subscriber() {
    let part = |intent: &str, amount: i64| {
        [
            event(5, "invoice_payment.paid", &sample::invoice_payment("in_1", intent, amount)),
            event(
                5,
                "payment_intent.succeeded",
                &sample::intent(intent, &intent.replace("pi", "ch"), amount),
            ),
        ]
    };
    let paid = event(6, "invoice.paid", &sample::invoice("in_1", "ada", 900));
    let events = [part("pi_1", 300).to_vec(), part("pi_2", 600).to_vec(), vec![paid]].concat();
    assert_eq!(assert_one_end(&events, &["pi_1", "pi_2"]), 120);
    let book = Book::of(&events);
    assert_eq!(book.standing("pi_1").unwrap().paid_minor, 300);
    assert_eq!(book.standing("pi_2").unwrap().paid_minor, 600);
}

/// Delivers the events in all orders with an erasure at every point, also before the first and after the last. Returns
/// how many ends there were.
fn with_an_erasure(events: &[Event], user_id: &str, check: &mut impl FnMut(&Book)) -> usize {
    fn go_on(
        book: &Book,
        left: &[Event],
        user_id: Option<&str>,
        check: &mut impl FnMut(&Book),
    ) -> usize {
        let mut ends = 0;
        if let Some(user_id) = user_id {
            let mut book = book.clone();
            book.erase(user_id);
            ends += go_on(&book, left, None, check);
        } else if left.is_empty() {
            check(book);
            return 1;
        }
        for index in 0..left.len() {
            let mut left = left.to_vec();
            let mut book = book.clone();
            book.deliver(&left.remove(index));
            ends += go_on(&book, &left, user_id, check);
        }
        ends
    }
    go_on(&Book::default(), events, Some(user_id), check)
}

/// Everything ends the same, but for whether the purchase was recorded, which it was not if its buyer was erased
/// before.
fn assert_one_end_with_an_erasure(events: &[Event], user_id: &str, recorded_for: &[&str]) -> usize {
    let mut erased = Book::of(events);
    erased.erase(user_id);
    let expected = erased.desired(INTENT);
    assert!(expected.has_forgotten);
    let standing = Book::of(events).standing(INTENT).unwrap();
    let mut seen = BTreeSet::new();
    let ends = with_an_erasure(events, user_id, &mut |book| {
        let mut book = book.clone();
        // What is told again after the erasure means what it meant before.
        for event in events {
            book.deliver(event);
        }
        assert_eq!(book.desired(INTENT), expected);
        assert_eq!(book.payments[INTENT], erased.payments[INTENT]);
        let kept = serde_json::to_string(&book.payments).unwrap();
        assert!(!kept.contains(&format!("\"{user_id}\"")), "{kept}");
        let parked = book.plan(INTENT).parked;
        if let Some(found) = book.standing(INTENT) {
            let buyer_user_id = found.buyer_user_id.clone();
            seen.insert(buyer_user_id.clone());
            assert_eq!(found, Standing { buyer_user_id, ..standing.clone() });
            assert_eq!(parked, [], "whoever is recorded stays the buyer");
        } else {
            seen.insert(String::new());
            assert_eq!(parked, [Parked::ErasedBuyer]);
        }
    });
    assert_eq!(seen.iter().map(String::as_str).collect::<Vec<_>>(), recorded_for);
    ends
}

/// A payment of 10.00 dollars by Ada with a refund, its total, and a dispute that is lost.
fn payment_of_ada() -> Vec<Event> {
    vec![
        session_completed(0, 1_000),
        intent_succeeded(1, 1_000),
        refund_created(10, "re_1", 200),
        charge_refunded(20, 500),
        dispute(50, "closed", 450, "lost"),
    ]
}

#[test]
fn an_erasure_of_the_buyer_at_any_point_of_any_order_ends_the_same() {
    // Of the orders of 5 events, each has 6 points.
    let ends = assert_one_end_with_an_erasure(&payment_of_ada(), "ada", &["", "ada"]);
    assert_eq!(ends, 120 * 6);
}

#[test]
fn an_erasure_of_somebody_who_is_named_as_well_at_any_point_of_any_order_ends_the_same() {
    let mut events = payment_of_ada();
    let user = ("metadata", json!({ "user_id": "bob" }));
    let session = with(sample::session(SESSION, INTENT, "ada", 1_000), [user]);
    events[0] = event(0, "checkout.session.completed", &session);
    assert_eq!(assert_one_end_with_an_erasure(&events, "bob", &["ada"]), 720);
    // If the first who is named is erased before, the purchase is of the second; else nothing of it changes.
    assert_eq!(assert_one_end_with_an_erasure(&events, "ada", &["ada", "bob"]), 720);
}

#[test]
fn an_erasure_of_whom_one_place_has_named_first_at_any_point_of_any_order_ends_the_same() {
    let named = |after_seconds, event_type: &str, user: &str, is_paid: bool| {
        let status = if is_paid { "paid" } else { "unpaid" };
        let user = ("metadata", json!({ "user_id": user }));
        let members =
            [user, ("client_reference_id", json!(null)), ("payment_status", json!(status))];
        let session = with(sample::session(SESSION, INTENT, "", 1_000), members);
        event(after_seconds, event_type, &session)
    };
    // The merchant has changed the metadata while the money was on its way.
    let events = [
        named(0, "checkout.session.completed", "ada", false),
        named(90, "checkout.session.async_payment_succeeded", "bob", true),
        intent_succeeded(90, 1_000),
        refund_created(95, "re_1", 200),
    ];
    assert_eq!(assert_one_end(&events, &[]), 24);
    let mut ends = BTreeSet::new();
    let count = with_an_erasure(&events, "ada", &mut |book| {
        ends.insert(serde_json::to_string(&book.desired(INTENT)).unwrap());
    });
    assert_eq!((count, ends.len()), (24 * 5, 1), "{ends:?}");
}

#[test]
fn an_erasure_of_a_subscriber_at_any_point_of_any_order_of_a_renewal_ends_the_same() {
    let events = [
        event(1, "invoice.paid", &sample::invoice("in_1", "ada", 1_000)),
        event(1, "invoice_payment.paid", &sample::invoice_payment("in_1", INTENT, 1_000)),
        intent_succeeded(1, 1_000),
        refund_created(10, "re_1", 200),
    ];
    let mut ends = BTreeSet::new();
    let count = with_an_erasure(&events, "ada", &mut |book| {
        ends.insert(serde_json::to_string(&book.desired(INTENT)).unwrap());
    });
    assert_eq!((count, ends.len()), (24 * 5, 1), "{ends:?}");
}

/// One of a small world of events about one payment. A refund has one amount and one time, as with Stripe.
fn any_event() -> impl Strategy<Value = Event> {
    let at = 0..6_i64;
    prop_oneof![
        at.clone().prop_map(|at| session_completed(at, 1_000)),
        at.clone().prop_map(|at| intent_succeeded(at, 1_000)),
        (0..3_i64).prop_map(|of| refund_created(of + 1, &format!("re_{of}"), 100 * (of + 1))),
        (0..3_i64, 4..6_i64).prop_map(|(of, at)| {
            refund_failed(at, of + 1, &format!("re_{of}"), 100 * (of + 1))
        }),
        (at.clone(), 0..7_i64).prop_map(|(at, of)| charge_refunded(at, of * 100)),
        (
            at,
            prop::sample::select(vec![
                "needs_response",
                "under_review",
                "won",
                "lost",
                "prevented"
            ])
        )
            .prop_map(|(at, status)| dispute(at, "updated", 100 * at, status)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn whatever_cannot_be_recorded_what_went_back_counts_in_any_order(
        (events, shuffled) in prop::collection::vec(any_event(), 1..14).prop_flat_map(|events| {
            (Just(events.clone()), Just(events).prop_shuffle())
        }),
        unrecordable in prop::collection::btree_set((0..3).prop_map(|of| format!("re_{of}")), 0..4),
    ) {
        let in_order = |events: &[Event]| {
            let mut book = Book::default();
            book.unrecordable.clone_from(&unrecordable);
            for event in events {
                book.deliver(event);
            }
            book
        };
        let (book, other) = (in_order(&events), in_order(&shuffled));
        let refunded = |book: &Book| book.standing(INTENT).map(|of| of.refunded_minor);
        prop_assert_eq!(refunded(&book), refunded(&other));
        if let (Some(refunded_minor), Some(payment)) = (refunded(&book), book.payments.get(INTENT)) {
            let desired = payment.desired(&rules());
            if let Some(raised_to) = desired.raised_to.get(CHARGE) {
                let in_total = raised_to.refund_ids.iter().map(|id| &desired.refunds[id]);
                let came_back = in_total.filter(|refund| refund.is_cancelled);
                let came_back: i64 = came_back.map(|refund| refund.amount.amount_minor).sum();
                prop_assert!(refunded_minor >= raised_to.total.amount_minor - came_back);
            }
        }
    }

    #[test]
    fn whatever_is_told_the_order_and_the_repetitions_decide_nothing(
        (events, shuffled) in prop::collection::vec(any_event(), 1..14).prop_flat_map(|events| {
            let repeated = [events.clone(), events.clone()].concat();
            (Just(events), Just(repeated).prop_shuffle())
        })
    ) {
        let (once, twice) = (Book::of(&events), Book::of(&shuffled));
        prop_assert_eq!(&once.payments, &twice.payments);
        let (once, twice) = (once.standing(INTENT), twice.standing(INTENT));
        let refunded = |standing: Option<Standing>| {
            standing.map(|standing| (standing.paid_minor, standing.refunded_minor))
        };
        prop_assert_eq!(refunded(once), refunded(twice));
    }
}
