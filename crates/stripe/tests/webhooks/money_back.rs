//! Refunds, running totals and disputes.

use serde_json::Value;
use stripe::event::Amount;
use stripe::payment::{AmountFault, DisputeState, Money, Outcome, Parked, Step};
use stripe::sample;

use crate::delivery::{
    Book, CHARGE, INTENT, charge_refunded, dispute, event, intent_succeeded, refund_created,
    refund_failed, refund_object, session_completed, with,
};

fn paid() -> Book {
    Book::of(&[session_completed(0, 1_000), intent_succeeded(1, 1_000)])
}

fn refunded(book: &Book) -> i64 {
    book.standing(INTENT).unwrap().refunded_minor
}

/// The refunds that count, with their ids.
fn standing_refunds(book: &Book) -> Vec<(&str, i64)> {
    let refunds = book.recorded(INTENT).unwrap().refunds.iter().filter(|of| !of.is_cancelled);
    refunds.map(|refund| (refund.refund_id.as_str(), refund.amount_minor)).collect()
}

#[test]
fn a_refund_counts_once_by_its_id_until_it_fails() {
    let mut book = paid();
    book.deliver(&refund_created(10, "re_1", 200));
    book.deliver(&event(11, "refund.updated", &refund_object(10, "re_1", 200)));
    assert_eq!(refunded(&book), 200);
    book.deliver(&refund_failed(12, 10, "re_1", 200));
    book.deliver(&refund_created(10, "re_1", 200));
    assert_eq!(refunded(&book), 0);
    let cancelled = with(refund_object(13, "re_2", 100), [("status", "canceled".into())]);
    book.deliver(&refund_created(13, "re_2", 100));
    book.deliver(&event(14, "refund.updated", &cancelled));
    assert_eq!(refunded(&book), 0);
}

#[test]
fn a_running_total_counts_until_its_refunds_are_known() {
    let mut book = paid();
    book.deliver(&charge_refunded(20, 500));
    assert_eq!(standing_refunds(&book), [("charge:ch_1:1", 500)]);
    book.deliver(&refund_created(10, "re_1", 200));
    assert_eq!(standing_refunds(&book), [("charge:ch_1:2", 300), ("re_1", 200)]);
    book.deliver(&refund_created(20, "re_2", 300));
    assert_eq!(standing_refunds(&book), [("re_1", 200), ("re_2", 300)]);
    let raised_to = &book.desired(INTENT).raised_to[CHARGE];
    let in_total: Vec<&str> = raised_to.refund_ids.iter().map(String::as_str).collect();
    assert_eq!((raised_to.total.amount_minor, in_total), (500, vec!["re_1", "re_2"]));
}

#[test]
fn a_late_smaller_total_says_nothing_and_a_new_smaller_one_does() {
    let mut book = paid();
    book.deliver(&charge_refunded(20, 500));
    book.deliver(&charge_refunded(10, 200));
    assert_eq!(refunded(&book), 500);
    // A refund has failed since, and nothing else told of it.
    book.deliver(&charge_refunded(30, 400));
    assert_eq!(refunded(&book), 400);
}

#[test]
fn a_refund_made_after_a_total_is_on_top_of_it() {
    let mut book = paid();
    book.deliver(&charge_refunded(20, 500));
    book.deliver(&refund_created(25, "re_2", 100));
    assert_eq!(refunded(&book), 600);
}

#[test]
fn a_refund_that_fails_after_a_total_still_explains_it() {
    let mut book = paid();
    book.deliver(&charge_refunded(20, 500));
    book.deliver(&refund_failed(30, 20, "re_1", 500));
    assert_eq!(refunded(&book), 0);
    // One that had failed before is not in the total.
    book.deliver(&charge_refunded(40, 200));
    assert_eq!(refunded(&book), 200);
}

#[test]
fn a_refund_of_the_same_second_as_a_total_explains_it_even_if_it_fails_in_that_second() {
    let mut book = paid();
    book.deliver(&charge_refunded(20, 500));
    book.deliver(&refund_created(20, "re_1", 500));
    assert_eq!(refunded(&book), 500);
    book.deliver(&refund_failed(20, 20, "re_1", 500));
    assert_eq!(refunded(&book), 0);
}

#[test]
fn a_refund_by_another_door_with_the_same_id_is_the_same_refund() {
    let mut book = Book::default();
    book.record_elsewhere(&[("re_1", 200)]);
    book.deliver(&refund_created(10, "re_1", 200));
    book.deliver(&charge_refunded(10, 200));
    assert_eq!(refunded(&book), 200);
    let mut other_amount = Book::default();
    other_amount.record_elsewhere(&[("re_1", 300)]);
    other_amount.deliver(&refund_created(10, "re_1", 200));
    let differs = Parked::RecordedRefundDiffers {
        refund_id: "re_1".into(),
        recorded_minor: 300,
        desired_minor: 200,
    };
    assert_eq!(other_amount.plan(INTENT).parked, [differs]);
}

#[test]
fn a_total_counts_refunds_that_another_door_recorded_under_ids_of_its_own() {
    let mut book = Book::default();
    book.record_elsewhere(&[("mine", 200)]);
    book.deliver(&charge_refunded(10, 500));
    assert_eq!(standing_refunds(&book), [("mine", 200), ("charge:ch_1:1", 300)]);
    book.record_elsewhere(&[("mine-2", 300)]);
    book.carry_out(INTENT);
    assert_eq!(standing_refunds(&book), [("mine", 200), ("mine-2", 300)]);
}

#[test]
fn what_waits_for_a_purchase_is_in_the_plan_that_records_it() {
    let mut book =
        Book::of(&[refund_created(10, "re_1", 200), dispute(20, "created", 300, "needs_response")]);
    assert_eq!(book.plan(INTENT).steps, []);
    book.deliver(&intent_succeeded(1, 1_000));
    assert_eq!(book.plan(INTENT).steps, [], "nobody bought");
    book.payments.get_mut(INTENT).unwrap().attach("ada");
    let steps = book.plan(INTENT).steps;
    let (refund_id, dispute_id) = ("re_1".into(), "du_1".into());
    assert!(matches!(&steps[0], Step::Record(purchase) if purchase.buyer_user_id == "ada"));
    let rest = [
        Step::Refund { refund_id, amount_minor: 200 },
        Step::OpenDispute { dispute_id, amount_minor: 300 },
    ];
    assert_eq!(steps[1..], rest);
    // A purchase that another door records gets the same.
    let mut elsewhere = Book::of(&[refund_created(10, "re_1", 200)]);
    elsewhere.record_elsewhere(&[]);
    elsewhere.carry_out(INTENT);
    assert_eq!(refunded(&elsewhere), 200);
}

#[test]
fn a_refund_that_names_only_its_charge_finds_its_payment_in_either_order() {
    let of_charge = with(refund_object(10, "re_1", 200), [("payment_intent", Value::Null)]);
    let refund = event(10, "refund.created", &of_charge);
    let mut book = Book::of(std::slice::from_ref(&refund));
    assert!(book.payments.is_empty());
    book.deliver(&session_completed(0, 1_000));
    assert_eq!(refunded(&book), 0, "the charge is not known yet");
    book.deliver(&intent_succeeded(1, 1_000));
    assert_eq!(refunded(&book), 200);
    let mut late = paid();
    late.deliver(&refund);
    assert_eq!(refunded(&late), 200);
}

#[test]
fn a_refund_in_another_currency_is_parked() {
    let mut book = paid();
    let refund = with(refund_object(10, "re_1", 200), [("currency", "eur".into())]);
    book.deliver(&event(10, "refund.created", &refund));
    assert_eq!(refunded(&book), 0);
    let fault = AmountFault::OtherCurrency("USD".into());
    let amount = Amount { amount: 200, currency: "eur".into() };
    let unusable = Parked::UnusableAmount { object_id: "re_1".into(), amount, fault };
    assert_eq!(book.plan(INTENT).parked, [unusable]);
}

#[test]
fn what_is_not_in_the_currency_of_a_recorded_purchase_is_parked() {
    let in_euros = [("currency", "eur".into())];
    let refund = with(refund_object(10, "re_1", 200), in_euros.clone());
    let mut book = Book::of(&[event(10, "refund.created", &refund)]);
    book.record_elsewhere(&[]);
    book.carry_out(INTENT);
    assert_eq!(refunded(&book), 0);
    let differs = Parked::RecordedCurrencyDiffers {
        object_id: "re_1".into(),
        amount: Money { amount_minor: 200, currency_code: "EUR".into() },
        recorded_currency_code: "USD".into(),
    };
    assert_eq!(book.plan(INTENT).parked, [differs]);

    // A payment without a buyer that another door recorded needs none, but its amount is compared.
    let mut other_amount = Book::default();
    other_amount.record_elsewhere(&[]);
    other_amount.deliver(&intent_succeeded(1, 1_200));
    let money = |amount_minor| Money { amount_minor, currency_code: "USD".into() };
    let differs = Parked::RecordedAmountDiffers { recorded: money(1_000), desired: money(1_200) };
    assert_eq!(other_amount.plan(INTENT).parked, [differs]);
}

fn dispute_of(book: &Book) -> (i64, Option<DisputeState>) {
    let (_, amount_minor, state) = book.standing(INTENT).unwrap().disputes.remove(0);
    (amount_minor, state)
}

#[test]
fn a_dispute_stands_as_its_latest_event_says() {
    let mut book = paid();
    book.deliver(&dispute(40, "updated", 450, "under_review"));
    book.deliver(&dispute(30, "created", 400, "needs_response"));
    assert_eq!(dispute_of(&book), (450, Some(DisputeState::Open)));
    book.deliver(&dispute(50, "closed", 450, "won"));
    let won = (450, Some(DisputeState::Closed(Outcome::Won)));
    assert_eq!(dispute_of(&book), won);
    book.deliver(&dispute(45, "updated", 420, "under_review"));
    assert_eq!(dispute_of(&book), won);
}

#[test]
fn an_inquiry_counts_as_a_dispute_and_is_won_when_it_is_closed() {
    let mut book = paid();
    book.deliver(&dispute(30, "created", 400, "warning_needs_response"));
    assert_eq!(dispute_of(&book), (400, Some(DisputeState::Open)));
    book.deliver(&dispute(50, "closed", 400, "warning_closed"));
    assert_eq!(dispute_of(&book), (400, Some(DisputeState::Closed(Outcome::Won))));
}

#[test]
fn of_events_of_one_second_the_one_that_decides_a_dispute_counts() {
    for order in [["closed", "updated"], ["updated", "closed"]] {
        let mut book = paid();
        for what in order {
            let status = if what == "closed" { "lost" } else { "under_review" };
            book.deliver(&dispute(50, what, 400, status));
        }
        assert_eq!(dispute_of(&book), (400, Some(DisputeState::Closed(Outcome::Lost))));
    }
}

#[test]
fn a_status_that_says_nothing_of_the_money_leaves_a_dispute_open_and_parked() {
    let mut book = paid();
    book.deliver(&dispute(30, "created", 400, "prevented"));
    assert_eq!(dispute_of(&book), (400, Some(DisputeState::Open)));
    let (dispute_id, status) = ("du_1".into(), "prevented".into());
    assert_eq!(book.plan(INTENT).parked, [Parked::UnclearDispute { dispute_id, status }]);
}

#[test]
fn a_dispute_that_was_closed_otherwise_is_parked_and_one_beyond_the_price_is_cut() {
    let mut book = paid();
    book.deliver(&dispute(30, "created", 1_500, "needs_response"));
    assert_eq!(dispute_of(&book), (1_000, Some(DisputeState::Open)));
    book.deliver(&dispute(50, "closed", 1_500, "lost"));
    book.deliver(&dispute(60, "closed", 1_500, "won"));
    let lost = (1_000, Some(DisputeState::Closed(Outcome::Lost)));
    assert_eq!(dispute_of(&book), lost);
    let (dispute_id, state) = ("du_1".to_owned(), DisputeState::Closed(Outcome::Won));
    let exceeds = Parked::DisputeExceedsPaid {
        dispute_id: dispute_id.clone(),
        disputed_minor: 1_500,
        paid_minor: 1_000,
    };
    assert_eq!(book.plan(INTENT).parked, [exceeds, Parked::DisputeChanged { dispute_id, state }]);
}

#[test]
fn a_refund_of_another_door_that_is_cancelled_there_does_not_undo_what_stripe_says() {
    let mut book = Book::default();
    book.record_elsewhere(&[("mine", 200)]);
    book.deliver(&charge_refunded(10, 200));
    assert_eq!(standing_refunds(&book), [("mine", 200)]);
    assert_eq!(book.plan(INTENT).parked, []);
    // Money that went back stays so until Stripe says otherwise, and an operator can see why.
    book.cancel_elsewhere("mine");
    assert_eq!(standing_refunds(&book), [("charge:ch_1:1", 200)]);
    let counts = Parked::TotalCountsCancelled {
        charge_id: CHARGE.into(),
        refund_ids: vec!["mine".into()],
        counted_minor: 200,
    };
    assert_eq!(book.plan(INTENT).parked, [counts]);
    book.deliver(&refund_failed(30, 10, "re_1", 200));
    assert_eq!((refunded(&book), book.plan(INTENT).parked), (0, vec![]));
}

#[test]
fn a_refund_by_its_id_that_is_cancelled_by_another_door_and_stands_at_stripe_is_parked() {
    let mut book = paid();
    book.deliver(&refund_created(10, "re_1", 200));
    book.cancel_elsewhere("re_1");
    // An id is used once.
    assert_eq!(refunded(&book), 0);
    // The total stands for it: Stripe says twice that the money went back.
    book.deliver(&charge_refunded(10, 200));
    assert_eq!(standing_refunds(&book), [("charge:ch_1:1", 200)]);
    let cancelled =
        Parked::RecordedRefundCancelled { refund_id: "re_1".into(), refunded_minor: 200 };
    assert_eq!(book.plan(INTENT).parked, [cancelled]);
    book.deliver(&refund_failed(30, 10, "re_1", 200));
    assert_eq!((refunded(&book), book.plan(INTENT).parked), (0, vec![]));
}

#[test]
fn a_refund_with_an_id_like_those_of_totals_takes_no_total_with_it() {
    for is_told_first in [true, false] {
        let mut book = paid();
        // Nobody but the server records under such an id.
        book.unrecordable.insert("charge:ch_1:1".into());
        let told = refund_created(10, "charge:ch_1:1", 200);
        if is_told_first {
            book.deliver(&told);
        }
        book.deliver(&charge_refunded(20, 200));
        book.deliver(&told);
        assert_eq!(refunded(&book), 200, "{is_told_first}");
    }
}

#[test]
fn of_one_second_a_change_of_a_dispute_counts_and_not_its_opening() {
    for events in [["created", "updated"], ["updated", "created"]] {
        let mut book = paid();
        for event_type in events {
            let amount = if event_type == "created" { 400 } else { 350 };
            book.deliver(&dispute(10, event_type, amount, "needs_response"));
        }
        assert_eq!(book.standing(INTENT).unwrap().disputes[0].1, 350, "{events:?}");
    }
}

#[test]
fn a_refund_explains_no_more_of_a_total_than_is_recorded_of_it() {
    let mut book = paid();
    book.record_elsewhere(&[("re_1", 100)]);
    book.deliver(&charge_refunded(10, 1_000));
    assert_eq!(refunded(&book), 1_000);
    book.deliver(&refund_created(10, "re_1", 1_000));
    assert_eq!(standing_refunds(&book), [("re_1", 100), ("charge:ch_1:1", 900)]);
    let differs = Parked::RecordedRefundDiffers {
        refund_id: "re_1".into(),
        recorded_minor: 100,
        desired_minor: 1_000,
    };
    assert_eq!(book.plan(INTENT).parked, [differs]);
    // And none explains more than Stripe tells of it.
    let mut book = paid();
    book.record_elsewhere(&[("re_1", 900)]);
    book.deliver(&refund_created(10, "re_1", 100));
    book.deliver(&charge_refunded(11, 300));
    assert_eq!(standing_refunds(&book), [("re_1", 900), ("charge:ch_1:1", 200)]);
}

#[test]
fn a_refund_that_cannot_be_recorded_does_not_take_the_place_of_a_total() {
    let in_euros = [("currency", "eur".into())];
    let foreign = event(10, "refund.created", &with(refund_object(10, "re_1", 1_000), in_euros));
    let mut book = paid();
    book.deliver(&charge_refunded(10, 1_000));
    book.deliver(&foreign);
    assert_eq!(standing_refunds(&book), [("charge:ch_1:1", 1_000)]);

    let mut book = paid();
    book.unrecordable.insert("re_2".into());
    book.deliver(&charge_refunded(20, 500));
    book.deliver(&refund_created(10, "re_2", 300));
    assert_eq!(standing_refunds(&book), [("charge:ch_1:1", 500)]);
    book.deliver(&refund_created(10, "re_1", 200));
    assert_eq!(standing_refunds(&book), [("charge:ch_1:2", 300), ("re_1", 200)]);
    // It came back.
    book.deliver(&refund_failed(30, 10, "re_2", 300));
    assert_eq!(standing_refunds(&book), [("re_1", 200)]);
}

#[test]
fn a_total_that_cannot_be_raised_again_stands_rather_than_too_little() {
    let mut book = paid();
    book.deliver(&charge_refunded(10, 200));
    book.deliver(&charge_refunded(20, 500));
    assert_eq!(standing_refunds(&book), [("charge:ch_1:1", 200), ("charge:ch_1:2", 300)]);
    book.unrecordable.insert("charge:ch_1:3".into());
    book.deliver(&refund_created(10, "re_1", 100));
    assert_eq!(refunded(&book), 600);
    // What can be taken back whole, is.
    book.deliver(&refund_created(11, "re_2", 200));
    assert_eq!(standing_refunds(&book), [("charge:ch_1:1", 200), ("re_1", 100), ("re_2", 200)]);
}

#[test]
fn totals_are_numbered_from_the_highest() {
    let mut book = Book::default();
    book.record_elsewhere(&[("charge:ch_1:7", 100), ("charge:ch_1:2", 50)]);
    book.deliver(&charge_refunded(10, 200));
    let of_totals = [("charge:ch_1:7", 100), ("charge:ch_1:2", 50), ("charge:ch_1:8", 50)];
    assert_eq!(standing_refunds(&book), of_totals);
}

#[test]
fn an_open_dispute_follows_stripe_whatever_another_door_says_and_a_lost_one_keeps_its_amount() {
    let mut book = paid();
    book.deliver(&dispute(30, "created", 400, "needs_response"));
    book.dispute_elsewhere("du_1", 300);
    assert_eq!(dispute_of(&book), (400, Some(DisputeState::Open)));
    let mut book = Book::default();
    book.record_elsewhere(&[]);
    book.deliver(&intent_succeeded(1, 1_000));
    book.dispute_elsewhere("du_1", 300);
    book.close_elsewhere("du_1", Outcome::Lost);
    book.deliver(&dispute(50, "closed", 400, "lost"));
    let lost = (300, Some(DisputeState::Closed(Outcome::Lost)));
    assert_eq!(dispute_of(&book), lost);
    let differs = Parked::RecordedDisputeDiffers {
        dispute_id: "du_1".into(),
        recorded_minor: 300,
        desired_minor: 400,
    };
    assert_eq!(book.plan(INTENT).parked, [differs]);
}

#[test]
fn an_unclear_dispute_that_somebody_closes_waits_no_more() {
    let mut book = paid();
    book.deliver(&dispute(30, "created", 400, "prevented"));
    assert_eq!(book.plan(INTENT).parked.len(), 1);
    book.close_elsewhere("du_1", Outcome::Won);
    assert_eq!(book.plan(INTENT).parked, []);
    // Once it is clear, it counts again what Stripe says.
    book.deliver(&dispute(40, "closed", 400, "lost"));
    let state = DisputeState::Closed(Outcome::Lost);
    let changed = Parked::DisputeChanged { dispute_id: "du_1".into(), state };
    assert_eq!(book.plan(INTENT).parked, [changed]);
}

#[test]
fn more_back_than_was_paid_is_parked_until_it_is_not() {
    let mut book = paid();
    book.deliver(&refund_created(10, "re_1", 700));
    book.deliver(&dispute(30, "created", 400, "needs_response"));
    assert_eq!(book.plan(INTENT).parked, [], "an open dispute may be won");
    book.deliver(&dispute(50, "closed", 400, "lost"));
    let exceeds = |back_minor| vec![Parked::BackExceedsPaid { back_minor, paid_minor: 1_000 }];
    assert_eq!(book.plan(INTENT).parked, exceeds(1_100));
    book.deliver(&refund_created(60, "re_2", 50));
    assert_eq!(book.plan(INTENT).parked, exceeds(1_150));
    book.deliver(&refund_failed(70, 10, "re_1", 700));
    assert_eq!(book.plan(INTENT).parked, []);
    // All that is told before the purchase comes to the same, and is in the first plan already.
    let mut early = Book::of(&[
        refund_created(10, "re_1", 700),
        dispute(50, "closed", 400, "lost"),
        intent_succeeded(1, 1_000),
    ]);
    early.payments.get_mut(INTENT).unwrap().attach("ada");
    assert_eq!(early.plan(INTENT).parked, exceeds(1_100));
    early.carry_out(INTENT);
    assert_eq!(early.plan(INTENT).parked, exceeds(1_100));
}

#[test]
fn totals_of_several_charges_do_not_explain_each_other() {
    let mut book = paid();
    let other = sample::charge("ch_2", INTENT, 1_000, 300);
    book.deliver(&event(20, "charge.refunded", &other));
    book.deliver(&refund_created(10, "re_1", 300));
    assert_eq!(refunded(&book), 600);
    let of_other = with(refund_object(10, "re_2", 300), [("charge", "ch_2".into())]);
    book.deliver(&event(10, "refund.created", &of_other));
    assert_eq!(standing_refunds(&book), [("re_1", 300), ("re_2", 300)]);
}
