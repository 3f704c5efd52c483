//! When a payment becomes a purchase, of whom and for how much.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use stripe::currency::CurrencyFault;
use stripe::event::{Amount, Event, Fact, Key};
use stripe::payment::{AmountFault, DesiredPurchase, Money, Parked, Payment, Rules, issue_id};
use stripe::sample;

use crate::delivery::{
    Book, CHARGE, INTENT, SESSION, START, charge_refunded, dispute, event, intent_succeeded,
    refund_created, session_completed, with,
};

fn purchase(book: &Book) -> Option<DesiredPurchase> {
    book.desired(INTENT).purchase
}

fn money(amount_minor: i64, currency_code: &str) -> Money {
    Money { amount_minor, currency_code: currency_code.into() }
}

fn dollars(amount: i64) -> Amount {
    Amount { amount, currency: "usd".into() }
}

fn session_with<const N: usize>(members: [(&str, Value); N]) -> Event {
    let session = with(sample::session(SESSION, INTENT, "ada", 1_000), members);
    event(0, "checkout.session.completed", &session)
}

fn intent_with<const N: usize>(members: [(&str, Value); N]) -> Event {
    let intent = with(sample::intent(INTENT, CHARGE, 1_000), members);
    event(1, "payment_intent.succeeded", &intent)
}

#[test]
fn a_paid_session_is_a_purchase_and_its_intent_settles_it() {
    let mut book = Book::of(&[session_completed(0, 1_000)]);
    let mut expected = DesiredPurchase {
        purchase_id: INTENT.into(),
        buyer_user_id: "ada".into(),
        paid: money(1_000, "USD"),
        time_seconds: START,
        is_settled: false,
    };
    assert_eq!(purchase(&book), Some(expected.clone()));
    book.deliver(&intent_succeeded(3, 1_000));
    expected.is_settled = true;
    assert_eq!(purchase(&book), Some(expected));
}

#[test]
fn an_unpaid_session_records_nothing_until_its_payment_succeeds() {
    let unpaid = session_with([("payment_status", "unpaid".into())]);
    let mut book = Book::of(std::slice::from_ref(&unpaid));
    assert_eq!(purchase(&book), None);
    assert_eq!(book.plan(INTENT).parked, []);
    let session = sample::session(SESSION, INTENT, "ada", 1_000);
    book.deliver(&event(90, "checkout.session.async_payment_succeeded", &session));
    book.deliver(&unpaid);
    let recorded = purchase(&book).unwrap();
    assert_eq!((recorded.paid, recorded.time_seconds), (money(1_000, "USD"), START + 90));
}

#[test]
fn sessions_without_a_payment_record_nothing() {
    for members in [
        [("mode", json!("subscription")), ("payment_intent", Value::Null)],
        [("mode", json!("setup")), ("payment_intent", Value::Null)],
        [("payment_status", json!("no_payment_required")), ("payment_intent", Value::Null)],
    ] {
        let book = Book::of(&[session_with(members)]);
        assert!(book.payments.is_empty());
    }
    let free = session_with([("amount_total", 0.into())]);
    assert_eq!(purchase(&Book::of(&[free])), None, "nothing was paid");
    let user = ("metadata", json!({ "user_id": "ada" }));
    let nothing = intent_with([("amount_received", 0.into()), user]);
    assert_eq!(purchase(&Book::of(&[nothing])), None, "nothing was received");
    let subscription = session_with([("mode", "subscription".into())]);
    assert_eq!(purchase(&Book::of(&[subscription])), None, "its invoice will be");
}

#[test]
fn if_the_amounts_differ_the_settled_one_counts_and_the_difference_is_parked() {
    let differ = Parked::AmountsDiffer { counted: dollars(1_100), told: dollars(1_000) };
    let (session, intent) = (session_completed(0, 1_000), intent_succeeded(1, 1_100));

    let settled_first = Book::of(&[intent.clone(), session.clone()]);
    assert_eq!(settled_first.standing(INTENT).unwrap().paid_minor, 1_100);
    assert_eq!(settled_first.plan(INTENT).parked, std::slice::from_ref(&differ));

    // A purchase that is recorded is never changed.
    let session_first = Book::of(&[session, intent]);
    assert_eq!(session_first.desired(INTENT), settled_first.desired(INTENT));
    assert_eq!(session_first.standing(INTENT).unwrap().paid_minor, 1_000);
    let recorded_differs = Parked::RecordedAmountDiffers {
        recorded: money(1_000, "USD"),
        desired: money(1_100, "USD"),
    };
    assert_eq!(session_first.plan(INTENT).parked, [differ, recorded_differs]);
}

#[test]
fn an_intent_that_is_reported_with_another_amount_as_well_is_parked_in_either_order() {
    let differ = Parked::ReceivedDiffers { counted: dollars(1_000), told: dollars(1_200) };
    let events =
        [session_completed(0, 1_000), intent_succeeded(1, 1_000), intent_succeeded(2, 1_200)];
    let mut reversed = events.clone();
    reversed.reverse();
    for events in [&events, &reversed] {
        let book = Book::of(events);
        assert_eq!(purchase(&book).unwrap().paid, money(1_000, "USD"));
        assert!(book.plan(INTENT).parked.contains(&differ), "{:?}", book.plan(INTENT).parked);
    }
    assert_eq!(Book::of(&events).plan(INTENT).parked, [differ]);
}

#[test]
fn the_buyer_is_named_by_the_first_of_four_places_that_names_a_user() {
    let metadata = |user: &str| ("metadata", json!({ "user_id": user }));
    let no_reference = ("client_reference_id", Value::Null);
    let linked = event(2, "invoice_payment.paid", &sample::invoice_payment("in_1", INTENT, 1_000));
    let invoice = event(2, "invoice.paid", &sample::invoice("in_1", "carl", 1_000));
    let intent = intent_with([metadata("dora")]);
    let buyer = |session: Event, rest: &[Event]| {
        let book = Book::of(&[&[session], rest].concat());
        purchase(&book).unwrap().buyer_user_id
    };
    let both = session_with([metadata("bob")]);
    let rest = [linked, invoice, intent];
    assert_eq!(buyer(both.clone(), &rest), "ada");
    assert_eq!(buyer(session_with([no_reference.clone(), metadata("bob")]), &rest), "bob");
    assert_eq!(buyer(session_with([no_reference.clone()]), &rest), "carl");
    assert_eq!(buyer(session_with([no_reference]), &rest[2..]), "dora");
    // The reference is often that of a cart.
    let cart = ("client_reference_id", json!("cart/17 of today"));
    assert_eq!(buyer(session_with([cart, metadata("bob")]), &[]), "bob");

    let parked = Book::of(&[both]).plan(INTENT).parked;
    let others = vec!["bob".into()];
    assert_eq!(parked, [Parked::BuyersDiffer { buyer_user_id: "ada".into(), others }]);
}

#[test]
fn whom_an_operator_attaches_is_the_buyer_and_nothing_waits_for_it() {
    let both = session_with([("metadata", json!({ "user_id": "bob" }))]);
    let mut payment = Payment::new(INTENT);
    assert!(payment.apply(&both));
    let rules = Rules { iso_digits: &|_| Some(2), is_user_id: &|name| name != "no id" };
    assert_eq!(payment.named(&rules), ["ada", "bob"]);
    payment.attach("cem");
    let desired = payment.desired(&rules);
    assert_eq!(desired.purchase.as_ref().unwrap().buyer_user_id, "cem");
    assert_eq!(desired.plan(None, &BTreeSet::new()).parked, []);
    assert_eq!(payment.named(&rules), ["cem", "ada", "bob"]);
    // Who is forgotten was never named.
    assert!(!payment.has_forgotten());
    assert!(payment.forget(&|name| name != "bob"));
    assert!(!payment.forget(&|name| name != "bob"));
    assert!(payment.has_forgotten());
    assert_eq!(payment.named(&rules), ["bob"]);
    assert_eq!(payment.desired(&rules).purchase.unwrap().buyer_user_id, "bob");
}

#[test]
fn what_an_operator_has_acknowledged_is_known_until_it_says_something_else() {
    let rules = Rules { iso_digits: &|_| Some(2), is_user_id: &|_| true };
    let mut payment = Payment::new(INTENT);
    payment.apply(&intent_succeeded(1, 1_100));
    payment.apply(&session_completed(0, 1_000));
    let parked = payment.desired(&rules).plan(None, &BTreeSet::new()).parked;
    assert_eq!(parked, [Parked::AmountsDiffer { counted: dollars(1_100), told: dollars(1_000) }]);
    payment.acknowledge("another");
    assert!(!payment.is_acknowledged(&issue_id(&parked[0])));
    payment.acknowledge(&issue_id(&parked[0]));
    let kept: Payment = serde_json::from_str(&serde_json::to_string(&payment).unwrap()).unwrap();
    assert!(kept.is_acknowledged(&issue_id(&parked[0])));
    // Another session says something else again.
    let other = sample::session("cs_other", INTENT, "ada", 900);
    payment.apply(&event(4, "checkout.session.completed", &other));
    let parked = payment.desired(&rules).plan(None, &BTreeSet::new()).parked;
    let another = Parked::AmountsDiffer { counted: dollars(1_100), told: dollars(900) };
    assert!(parked.len() == 2 && parked[0] == another, "{parked:?}");
    assert!(!payment.is_acknowledged(&issue_id(&parked[0])));
}

#[test]
fn of_two_sessions_the_earlier_one_names_the_buyer_and_of_one_second_the_order_decides_nothing() {
    let session = |session_id: &str, after_seconds: i64, user: &str| {
        let session = sample::session(session_id, INTENT, user, 1_000);
        event(after_seconds, "checkout.session.completed", &session)
    };
    let buyer = |events: &[Event]| purchase(&Book::of(events)).unwrap().buyer_user_id;
    let (earlier, later) = (session("cs_2", 0, "bob"), session("cs_1", 5, "ada"));
    assert_eq!(buyer(&[later.clone(), earlier.clone()]), "bob");
    assert_eq!(buyer(&[earlier, later]), "bob");
    let (one, other) = (session("cs_1", 5, "ada"), session("cs_1", 5, "bob"));
    assert_eq!(buyer(&[one.clone(), other.clone()]), buyer(&[other, one]));
}

#[test]
fn a_payment_without_a_buyer_is_parked_until_an_event_names_one() {
    let mut book = Book::of(&[intent_succeeded(1, 1_000), refund_created(5, "re_1", 400)]);
    assert_eq!(book.plan(INTENT).parked, [Parked::NoBuyer]);
    assert_eq!(book.recorded(INTENT), None);
    book.deliver(&session_completed(0, 1_000));
    assert_eq!(book.plan(INTENT).parked, []);
    let standing = book.standing(INTENT).unwrap();
    assert_eq!((standing.buyer_user_id.as_str(), standing.refunded_minor), ("ada", 400));
}

#[test]
fn an_operator_attaches_a_buyer_and_goes_before_later_events() {
    let unnamed = ("client_reference_id", json!("no user"));
    let mut book = Book::of(&[intent_succeeded(1, 1_000), session_with([unnamed])]);
    let unusable = Parked::UnusableBuyer { named: vec!["no user".into()] };
    assert_eq!(book.plan(INTENT).parked, [unusable]);
    book.payments.get_mut(INTENT).unwrap().attach("eve");
    book.carry_out(INTENT);
    assert_eq!(book.standing(INTENT).unwrap().buyer_user_id, "eve");
    book.deliver(&session_completed(9, 1_000));
    assert_eq!(purchase(&book).unwrap().buyer_user_id, "eve");
    assert_eq!(book.standing(INTENT).unwrap().buyer_user_id, "eve");
}

#[test]
fn a_session_in_subscription_mode_names_the_buyer_of_its_first_invoice() {
    let session = session_with([
        ("mode", "subscription".into()),
        ("payment_intent", Value::Null),
        ("invoice", "in_1".into()),
    ]);
    let linked = event(1, "invoice_payment.paid", &sample::invoice_payment("in_1", INTENT, 1_000));
    let book = Book::of(&[session, intent_succeeded(1, 1_000), linked]);
    assert_eq!(purchase(&book).unwrap().buyer_user_id, "ada");
    assert_eq!(book.payments.len(), 1);
}

#[test]
fn money_that_moves_of_a_payment_which_is_not_reported_is_parked_until_it_is() {
    let told = [
        refund_created(10, "re_1", 200),
        charge_refunded(10, 200),
        dispute(10, "created", 200, "needs_response"),
    ];
    for event in told {
        let mut book = Book::of(&[event]);
        assert_eq!(book.plan(INTENT).parked, [Parked::IntentMissing]);
        book.deliver(&session_completed(0, 1_000));
        assert_eq!(book.plan(INTENT).parked, []);
    }
}

#[test]
fn an_invoice_alone_records_nothing_and_a_payment_that_is_not_reported_is_parked() {
    let invoice = event(1, "invoice.paid", &sample::invoice("in_1", "ada", 900));
    let mut book = Book::of(&[invoice]);
    assert!(book.payments.is_empty());
    book.deliver(&event(1, "invoice_payment.paid", &sample::invoice_payment("in_1", INTENT, 900)));
    assert_eq!(purchase(&book), None);
    assert_eq!(book.plan(INTENT).parked, [Parked::IntentMissing]);
    book.deliver(&intent_succeeded(1, 900));
    assert_eq!(purchase(&book).unwrap().paid, money(900, "USD"));
    assert_eq!(book.plan(INTENT).parked, []);
}

#[test]
fn an_invoice_that_was_paid_outside_of_stripe_is_no_payment() {
    let object = with(
        sample::invoice_payment("in_1", INTENT, 900),
        [("payment", json!({ "payment_record": "prec_1", "type": "payment_record" }))],
    );
    assert!(Book::of(&[event(1, "invoice_payment.paid", &object)]).payments.is_empty());
}

#[test]
fn amounts_are_read_by_stripes_table_and_parked_if_they_are_no_whole_minor_unit() {
    let paid = |amount: i64, currency: &str| {
        let members = [("amount_received", amount.into()), ("currency", currency.into())];
        let user = ("metadata", json!({ "user_id": "ada" }));
        let book = Book::of(&[intent_with([members[0].clone(), members[1].clone(), user])]);
        (purchase(&book).map(|purchase| purchase.paid), book.plan(INTENT).parked)
    };
    assert_eq!(paid(500, "isk"), (Some(money(5, "ISK")), vec![]));
    assert_eq!(paid(500, "mga"), (Some(money(50_000, "MGA")), vec![]));
    assert_eq!(paid(500, "jpy"), (Some(money(500, "JPY")), vec![]));
    let parked = |amount, currency: &str, fault| {
        let amount = Amount { amount, currency: currency.into() };
        vec![Parked::UnusableAmount { object_id: INTENT.into(), amount, fault }]
    };
    let not_whole = AmountFault::Unconvertible(CurrencyFault::NotWhole);
    assert_eq!(paid(1_234, "isk"), (None, parked(1_234, "isk", not_whole)));
    assert_eq!(paid(100, "usdc"), (None, parked(100, "usdc", AmountFault::UnknownCurrency)));
}

#[test]
fn a_fact_is_found_by_every_object_that_it_names() {
    let intent = |id: &str| Key::Intent(id.into());
    let charge = || Key::Charge(CHARGE.into());
    assert_eq!(session_completed(0, 1).fact.keys(), [intent(INTENT), Key::Session(SESSION.into())]);
    assert_eq!(intent_succeeded(0, 1).fact.keys(), [intent(INTENT), charge()]);
    assert_eq!(refund_created(0, "re_1", 1).fact.keys(), [intent(INTENT), charge()]);
    let linked = event(1, "invoice_payment.paid", &sample::invoice_payment("in_1", "pi_2", 900));
    assert_eq!(linked.fact.keys(), [intent("pi_2"), Key::Invoice("in_1".into())]);
    let unknown = event(1, "customer.created", &json!({ "id": "cus_1" }));
    assert_eq!((&unknown.fact, unknown.fact.keys()), (&Fact::Unknown, vec![]));
    // An event about another payment changes nothing.
    let mut payment = stripe::payment::Payment::new("pi_2");
    assert!(!payment.apply(&session_completed(0, 1_000)));
    assert!(payment.apply(&linked) && !payment.apply(&linked));
}
