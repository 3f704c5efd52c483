//! What a payment provider tells of a payment, in one append.

use super::multi_level_commission;
use crate::decide::{
    CancelRefund, CloseDispute, Command, OpenDispute, Price, RecordPurchase, RefundPurchase,
    Report, ReportPayment, refused_reports,
};
use crate::tests::scene::{Scene, user};
use crate::{
    Buckets, DisputeId, DisputeOutcome, Halt, MAX_REFUNDS, Purchase, PurchaseId, ReferralStatus,
    RefundId, Refusal, StreamKey,
};

const DISPUTE: &str = "du_1";

fn payment() -> PurchaseId {
    PurchaseId::parse("pi_1").unwrap()
}

fn recorded(amount_minor: i64) -> Report {
    Report::Recorded(RecordPurchase {
        purchase_id: payment(),
        buyer_user_id: user("cem"),
        amount_minor,
        currency_code: "INR".into(),
        purchase_time: None,
        program_ids: None,
        fingerprint_key: None,
    })
}

fn inr(amount_minor: i64) -> Price {
    Price { amount_minor, currency_code: "INR".into() }
}

fn refunded(refund_id: &str, amount_minor: i64) -> Report {
    Report::Refunded(RefundPurchase {
        purchase_id: payment(),
        refund_id: RefundId::parse(refund_id).unwrap(),
        amount: Some(inr(amount_minor)),
        is_report: true,
        reason: None,
        own_programs: None,
    })
}

fn cancelled(refund_id: &str) -> Report {
    Report::RefundCancelled(CancelRefund {
        purchase_id: payment(),
        refund_id: RefundId::parse(refund_id).unwrap(),
        own_programs: None,
    })
}

fn disputed(amount_minor: i64) -> Report {
    Report::DisputeOpened(OpenDispute {
        purchase_id: payment(),
        dispute_id: DisputeId::parse(DISPUTE).unwrap(),
        amount: Some(inr(amount_minor)),
        own_programs: None,
    })
}

fn closed(outcome: DisputeOutcome) -> Report {
    Report::DisputeClosed(CloseDispute {
        purchase_id: payment(),
        dispute_id: DisputeId::parse(DISPUTE).unwrap(),
        outcome,
        own_programs: None,
    })
}

/// Ana referred Bea, who referred Cem.
fn scene() -> Scene {
    let mut scene = Scene::of(multi_level_commission());
    scene.line(&["ana", "bea", "cem"]);
    scene
}

fn sequence(scene: &Scene) -> i64 {
    let key = StreamKey::of::<Purchase>(&payment());
    let last = scene.memory.log().iter().rev().find(|logged| logged.key == key);
    last.map_or(0, |last| last.sequence)
}

/// Reports that rest on a state of the purchase.
fn report_on(scene: &mut Scene, known_sequence: i64, reports: &[Report]) -> Result<(), Halt> {
    let reports = reports.to_vec();
    let report = ReportPayment { purchase_id: payment(), known_sequence, reports };
    scene.tell(&Command::ReportPayment(report))
}

/// Reports that rest on the present state of the purchase.
fn report(scene: &mut Scene, reports: &[Report]) -> Result<(), Halt> {
    let known_sequence = sequence(scene);
    report_on(scene, known_sequence, reports)
}

/// Pending and available.
fn money(scene: &Scene, name: &str) -> (i64, i64) {
    let Buckets { pending, available, .. } = *scene.participant(name).buckets();
    (pending, available)
}

#[test]
fn a_purchase_with_earlier_refunds_and_disputes_is_what_it_is_when_they_come_one_by_one() {
    let reports = [
        recorded(400_000),
        refunded("re_1", 100_000),
        refunded("re_2", 50_000),
        disputed(80_000),
        closed(DisputeOutcome::Lost),
        cancelled("re_2"),
    ];
    let mut together = scene();
    report(&mut together, &reports).unwrap();
    let mut one_by_one = scene();
    for one in &reports {
        report(&mut one_by_one, std::slice::from_ref(one)).unwrap();
    }
    for name in ["ana", "bea"] {
        assert_eq!(money(&together, name), money(&one_by_one, name), "{name}");
    }
    // 20,000 x 220,000 / 400,000.
    assert_eq!(money(&together, "bea"), (0, 11_000));
    let of = |scene: &Scene| scene.memory.state::<Purchase>(&payment()).money_back().clone();
    assert_eq!(of(&together), of(&one_by_one));
    assert_eq!(together.status("cem"), Some(ReferralStatus::Converted));
}

#[test]
fn a_purchase_that_was_refunded_wholly_before_it_is_recorded_earns_nothing() {
    let mut scene = scene();
    report(&mut scene, &[recorded(400_000), refunded("re_1", 400_000)]).unwrap();
    assert_eq!((money(&scene, "bea"), money(&scene, "ana")), ((0, 0), (0, 0)));
    assert_eq!(scene.status("cem"), Some(ReferralStatus::Pending));
}

#[test]
fn what_is_recorded_already_changes_nothing_and_the_rest_is_recorded() {
    let mut scene = scene();
    report(&mut scene, &[recorded(400_000)]).unwrap();
    let reports = [recorded(400_000), refunded("re_1", 100_000)];
    report(&mut scene, &reports).unwrap();
    assert_eq!(money(&scene, "bea"), (0, 15_000));
    let events = scene.memory.log().len();
    report(&mut scene, &reports).unwrap();
    assert_eq!(scene.memory.log().len(), events);
}

#[test]
fn a_refund_by_a_call_can_be_what_only_a_running_total_has_told_of() {
    let mut scene = scene();
    let total = refunded("charge:ch_1:1", 300_000);
    report(&mut scene, &[recorded(400_000), refunded("re_1", 50_000), total]).unwrap();
    // Of what is left otherwise, unless nothing is.
    let exceeds = |left_minor| -> Result<(), Halt> {
        Err(Refusal::RefundExceedsPurchase { purchase_id: payment(), left_minor }.into())
    };
    assert_eq!(scene.refund("pi_1", "re_2", 350_001), exceeds(350_000));
    let standing = |scene: &Scene| {
        let purchase = scene.memory.state::<Purchase>(&payment());
        let refunds = purchase.money_back().refunds().iter().filter(|refund| !refund.is_cancelled);
        let refunds = refunds.map(|of| (of.refund_id.to_string(), of.amount_minor));
        refunds.collect::<Vec<_>>()
    };
    let amount_of = |scene: &Scene, refund_id: &str| {
        let purchase = scene.memory.state::<Purchase>(&payment());
        let refund_id = RefundId::parse(refund_id).unwrap();
        purchase.money_back().find_refund(&refund_id).map(|refund| refund.amount_minor)
    };
    // It takes the place of as much of the total, in the same append, so that nothing changes for anybody.
    let before = money(&scene, "bea");
    let mut rest = scene.clone();
    rest.refund_the_rest("pi_1", "re_2").unwrap();
    assert_eq!((amount_of(&rest, "re_2"), money(&rest, "bea")), (Some(50_000), before));
    assert_eq!(
        standing(&rest),
        [("re_1", 50_000), ("re_2", 50_000), ("charge:ch_1:2", 250_000)]
            .map(|(id, minor)| (id.to_owned(), minor))
    );
    rest.refund("pi_1", "re_3", 250_000).unwrap();
    assert_eq!(
        standing(&rest),
        [("re_1", 50_000), ("re_2", 50_000), ("re_3", 250_000)]
            .map(|(id, minor)| (id.to_owned(), minor))
    );
    assert_eq!(money(&rest, "bea"), before);
    rest.refund_the_rest("pi_1", "re_4").unwrap();
    assert_eq!(rest.refund_the_rest("pi_1", "re_5"), exceeds(0));
    // Nothing but a total is left.
    let total = refunded("charge:ch_1:2", 50_000);
    report(&mut scene, &[total]).unwrap();
    scene.refund_the_rest("pi_1", "re_2").unwrap();
    assert_eq!(
        standing(&scene),
        [("re_1", 50_000), ("re_2", 350_000)].map(|(id, minor)| (id.to_owned(), minor))
    );

    // Of what Stripe does not tell of, an id like that is an id.
    let mut scene = self::scene();
    scene.purchase("order", "cem", 400_000, "INR", None).unwrap();
    scene.refund("order", "charge:ch_1:1", 400_000).unwrap();
    let left_minor = 0;
    let purchase_id = PurchaseId::parse("order").unwrap();
    let exceeds: Result<(), Halt> =
        Err(Refusal::RefundExceedsPurchase { purchase_id, left_minor }.into());
    assert_eq!(scene.refund_the_rest("order", "re_1"), exceeds);
}

#[test]
fn nothing_is_recorded_if_one_report_is_refused() {
    let mut scene = scene();
    let events = scene.memory.log().len();
    let unknown = Refusal::RefundNotFound(payment(), RefundId::parse("re_9").unwrap());
    let refused = report(&mut scene, &[recorded(400_000), cancelled("re_9")]);
    assert_eq!(refused, Err(unknown.into()));
    assert_eq!(scene.memory.log().len(), events);
}

#[test]
fn reports_that_are_refused_can_be_told_from_those_that_are_not() {
    let mut scene = scene();
    report(&mut scene, &[recorded(400_000)]).unwrap();
    let reports =
        [refunded("re_1", 1_000), cancelled("re_9"), refunded("re_2", 2_000), cancelled("re_8")];
    let events = scene.memory.log().len();
    let tried = |known_sequence, reports: &[Report]| {
        let reports = reports.to_vec();
        let report = ReportPayment { purchase_id: payment(), known_sequence, reports };
        scene.memory.ask(|work| refused_reports(work, &report))
    };
    let unknown = |id: &str| Refusal::RefundNotFound(payment(), RefundId::parse(id).unwrap());
    let known = sequence(&scene);
    let refused = vec![(1, unknown("re_9")), (3, unknown("re_8"))];
    assert_eq!(tried(known, &reports), Ok(refused));
    assert_eq!(tried(known, &reports[..1]), Ok(Vec::new()));
    let moved = Err(Refusal::PurchaseMoved(payment()).into());
    assert_eq!(tried(known + 1, &reports), moved);
    assert_eq!(scene.memory.log().len(), events, "trying records nothing");
}

#[test]
fn what_rests_on_another_state_of_the_purchase_is_refused_and_changes_nothing() {
    let mut scene = scene();
    report(&mut scene, &[recorded(400_000)]).unwrap();
    let known = sequence(&scene);
    // The same refund, learned of in two ways at the same moment: by a running total, and by its own id.
    report_on(&mut scene, known, &[refunded("charge:ch_1:1", 100_000)]).unwrap();
    let moved: Result<(), Halt> = Err(Refusal::PurchaseMoved(payment()).into());
    let (events, before) = (scene.memory.log().len(), money(&scene, "bea"));
    assert_eq!(before, (0, 15_000));
    assert_eq!(report_on(&mut scene, known, &[refunded("re_1", 100_000)]), moved);
    // Neither is what was found due when there was no purchase, or what nobody can have read yet.
    assert_eq!(report_on(&mut scene, 0, &[recorded(400_000)]), moved);
    let ahead = sequence(&scene) + 1;
    assert_eq!(report_on(&mut scene, ahead, &[refunded("re_1", 100_000)]), moved);
    assert_eq!((scene.memory.log().len(), money(&scene, "bea")), (events, before));
    // Planned anew, one takes the place of the other.
    report(&mut scene, &[cancelled("charge:ch_1:1"), refunded("re_1", 100_000)]).unwrap();
    assert_eq!(money(&scene, "bea"), (0, 15_000));
}

#[test]
fn what_stands_for_totals_takes_no_place_of_a_refund() {
    let mut scene = scene();
    report(&mut scene, &[recorded(400_000)]).unwrap();
    // Each total comes before the refund that it tells of, as at Stripe.
    for number in 1..=MAX_REFUNDS {
        let (total, refund) = (format!("charge:ch_1:{number}"), format!("re_{number}"));
        report(&mut scene, &[refunded(&total, 1_000)]).unwrap();
        report(&mut scene, &[cancelled(&total), refunded(&refund, 1_000)]).unwrap();
    }
    let purchase = scene.memory.state::<Purchase>(&payment());
    let by_id = i64::try_from(MAX_REFUNDS).unwrap() * 1_000;
    assert_eq!(purchase.terms().refunded_minor, by_id);
    let too_many: Result<(), Halt> =
        Err(Refusal::TooManyRefunds { purchase_id: payment(), limit: MAX_REFUNDS }.into());
    assert_eq!(report(&mut scene, &[refunded("re_101", 1_000)]), too_many);
    assert_eq!(report(&mut scene, &[refunded("charge:ch_1:101", 1_000)]), too_many);

    // Where there is no place for the rest of a total, it stands: rather too much than what counts as never gone.
    let mut scene = self::scene();
    report(&mut scene, &[recorded(400_000)]).unwrap();
    for number in 1..MAX_REFUNDS {
        let total = format!("charge:ch_1:{number}");
        report(&mut scene, &[refunded(&total, 1_000)]).unwrap();
        report(&mut scene, &[cancelled(&total)]).unwrap();
    }
    report(&mut scene, &[refunded("charge:ch_1:100", 300_000)]).unwrap();
    scene.refund("pi_1", "re_1", 100_000).unwrap();
    let purchase = scene.memory.state::<Purchase>(&payment());
    assert_eq!(purchase.terms().refunded_minor, 400_000);
    scene.refund("pi_1", "re_2", 300_000).unwrap();
    let purchase = scene.memory.state::<Purchase>(&payment());
    assert_eq!(
        purchase
            .money_back()
            .find_refund(&RefundId::parse("charge:ch_1:100").unwrap())
            .map(|of| of.is_cancelled),
        Some(true)
    );
}
