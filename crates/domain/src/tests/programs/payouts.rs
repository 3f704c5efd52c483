//! Payouts, with numbers.

use proptest::prelude::*;

use super::expiry::{at, expiring, lot, scene_of};
use super::multi_level_commission;
use crate::decide::{
    AdjustBalance, Approve, CollectPayoutLine, Command, ConfirmPayout, CreatePayout, Decline,
    FailPayout, ReturnPayoutLine,
};
use crate::rules::ProgramRules;
use crate::tests::scene::{PROGRAM, Scene, member, program, refused, user};
use crate::{
    AdjustmentId, ApiKey, ApiKeyCreated, ApiKeyId, ApprovalId, ApprovalSubject, DecidedAs,
    EntryKind, Halt, KeyRole, LotPart, ParticipantEvent, Payout, PayoutCollected, PayoutId,
    PayoutKey, PayoutLine, PayoutLineEvent, PayoutLineId, PayoutLineState, PayoutMethod,
    PayoutState, Personal, ProviderReference, Refusal, SelfApprovalWhy, SkipReason, Staff,
};

const LIMIT: i64 = 7_000;
const FAIL_REASON: Option<&str> = Some("account_closed");

fn rules() -> ProgramRules {
    ProgramRules { pays_out: true, ..multi_level_commission() }
}

fn payout(id: &str) -> PayoutKey {
    PayoutKey { program_id: program(PROGRAM), payout_id: PayoutId::parse(id).unwrap() }
}

fn line(id: &str, name: &str) -> PayoutLineId {
    PayoutLineId { payout: payout(id), user_id: user(name) }
}

fn reference(text: &str) -> ProviderReference {
    ProviderReference::parse(text).unwrap()
}

/// What was said of a payout or a line; an empty reference is none.
fn said(reason_code: Option<&str>, provider_reference: &str) -> DecidedAs {
    let provider_reference = Some(provider_reference).filter(|text| !text.is_empty());
    DecidedAs {
        reason_code: reason_code.map(Into::into),
        provider_reference: provider_reference.map(reference),
        paid_reference: None,
    }
}

fn person(name: &str) -> Staff {
    Staff { user_id: Some(user(name)), key_id: None }
}

fn approval(id: &str, name: Option<&str>, number: u32) -> ApprovalId {
    let PayoutKey { program_id, payout_id } = payout(id);
    ApprovalId(ApprovalSubject::Payout { program_id, user_id: name.map(user), payout_id, number })
}

fn is_repetition(answer: &Result<(), Halt>) -> bool {
    matches!(answer, Err(Halt::AlreadyRecorded(_)))
}

impl Scene {
    /// ana has earned 5000 and bob 10000, and both have said how they are paid.
    fn with_balances() -> Self {
        let mut scene = Self::of(rules());
        scene.line(&["ana", "bob", "cy"]);
        scene.sign_up("otto");
        assert_eq!(scene.buy("bob", 100_000).granted(), [("ana", 1, 5_000)]);
        scene.change_by("bob", 10_000);
        scene.set_method("ana");
        scene.set_method("bob");
        scene
    }

    fn set_method(&mut self, name: &str) {
        let reference = Personal(format!("{name} at the bank"));
        let method = Some(PayoutMethod { kind: "sepa".into(), reference });
        self.tell(&Command::SetPayoutMethod { user_id: user(name), method }).unwrap();
    }

    fn change_by(&mut self, name: &str, amount_minor: i64) {
        let number = self.memory.log().len();
        let adjust = AdjustBalance {
            participant: member(name),
            adjustment_id: AdjustmentId::parse(&format!("a{number}")).unwrap(),
            amount_minor,
            currency_code: "INR".into(),
            reason_code: "goodwill".into(),
            note: None,
            by: person("olga"),
            limit_minor: i64::MAX,
        };
        self.tell(&Command::AdjustBalance(Box::new(adjust))).unwrap();
    }

    fn create(&mut self, id: &str, minimum_minor: i64) -> Result<(), Halt> {
        let create = CreatePayout { payout: payout(id), minimum_minor, unit: Some("INR".into()) };
        self.tell(&Command::CreatePayout(create))
    }

    fn collect(&mut self, id: &str, name: &str, available_then_minor: i64) -> PayoutLineState {
        let line_id = line(id, name);
        let collect = CollectPayoutLine { line_id: line_id.clone(), available_then_minor };
        self.tell(&Command::CollectPayoutLine(collect)).unwrap();
        self.memory.state::<PayoutLine>(&line_id).state()
    }

    fn end_collection(&mut self, id: &str, total_minor: i64) {
        let collected = PayoutCollected { line_count: 2, total_minor, skipped_count: 0 };
        let end = Command::EndPayoutCollection { payout: payout(id), collected };
        self.tell(&end).unwrap();
    }

    /// A payout in which 5000 for ana and 10000 for bob are reserved.
    fn with_payout(id: &str) -> Self {
        let mut scene = Self::with_balances();
        scene.create(id, 1).unwrap();
        assert_eq!(scene.collect(id, "ana", 5_000), PayoutLineState::Reserved);
        assert_eq!(scene.collect(id, "bob", 10_000), PayoutLineState::Reserved);
        scene.end_collection(id, 15_000);
        scene
    }

    fn confirm_by(
        &mut self,
        by: &str,
        id: &str,
        name: Option<&str>,
        provider_reference: Option<ProviderReference>,
    ) -> Result<(), Halt> {
        let confirm = ConfirmPayout {
            payout: payout(id),
            user_id: name.map(user),
            provider_reference,
            by: person(by),
            limit_minor: LIMIT,
        };
        self.tell(&Command::ConfirmPayout(Box::new(confirm)))
    }

    /// Confirms a line with an API key that somebody has created.
    fn confirm_with_key_of(&mut self, creator: &str, id: &str, name: &str) -> Result<(), Halt> {
        let key_id = ApiKeyId::parse(&format!("by-{creator}")).unwrap();
        let created = ApiKeyCreated {
            role: KeyRole::Admin,
            user_id: None,
            rpcs: None,
            program_ids: None,
            expire_time_us: None,
            creator_user_id: Some(user(creator)),
            maker: None,
        };
        self.memory.given::<ApiKey>(&key_id, created.into());
        let confirm = ConfirmPayout {
            payout: payout(id),
            user_id: Some(user(name)),
            provider_reference: None,
            by: Staff { user_id: None, key_id: Some(key_id) },
            limit_minor: LIMIT,
        };
        self.tell(&Command::ConfirmPayout(Box::new(confirm)))
    }

    fn fail(&mut self, id: &str, name: Option<&str>) -> Result<(), Halt> {
        self.fail_as(id, name, None)
    }

    fn fail_as(
        &mut self,
        id: &str,
        name: Option<&str>,
        provider_reference: Option<ProviderReference>,
    ) -> Result<(), Halt> {
        self.fail_by("olga", id, name, provider_reference)
    }

    fn fail_by(
        &mut self,
        by: &str,
        id: &str,
        name: Option<&str>,
        provider_reference: Option<ProviderReference>,
    ) -> Result<(), Halt> {
        let (payout, user_id, by) = (payout(id), name.map(user), person(by));
        let reason_code = FAIL_REASON.map(Into::into);
        let fail = FailPayout { payout, user_id, reason_code, provider_reference, by };
        self.tell(&Command::FailPayout(fail))
    }

    fn send_back(&mut self, id: &str, name: &str) -> Result<(), Halt> {
        self.send_back_by("olga", id, name)
    }

    fn send_back_by(&mut self, by: &str, id: &str, name: &str) -> Result<(), Halt> {
        let (line_id, by) = (line(id, name), person(by));
        let (reason_code, provider_reference) = (None, None);
        let back = ReturnPayoutLine { line_id, reason_code, provider_reference, by };
        self.tell(&Command::ReturnPayoutLine(back))
    }

    fn approve_by(&mut self, by: &str, approval_id: ApprovalId) -> Result<(), Halt> {
        self.tell(&Command::Approve(Approve { approval_id, by: person(by) }))
    }

    fn line_state(&self, id: &str, name: &str) -> PayoutLineState {
        self.memory.state::<PayoutLine>(&line(id, name)).state()
    }

    fn payout_state(&self, id: &str) -> PayoutState {
        self.memory.state::<Payout>(&payout(id)).state()
    }

    /// What is available, reserved and paid.
    fn payout_money(&self, name: &str) -> (i64, i64, i64) {
        let buckets = *self.participant(name).buckets();
        assert!(buckets.reconcile(), "{buckets:?}");
        (buckets.available, buckets.reserved, buckets.paid)
    }
}

#[test]
fn a_line_reserves_the_smaller_of_what_was_available_then_and_what_is_now() {
    let mut scene = Scene::with_balances();
    scene.create("may", 1).unwrap();
    // ana has earned since, bob has lost something.
    scene.change_by("ana", 700);
    scene.change_by("bob", -600);
    assert_eq!(scene.collect("may", "ana", 5_000), PayoutLineState::Reserved);
    assert_eq!(scene.collect("may", "bob", 10_000), PayoutLineState::Reserved);
    assert_eq!(scene.payout_money("ana"), (700, 5_000, 0));
    assert_eq!(scene.payout_money("bob"), (0, 9_400, 0));
    let earned = scene.participant("ana").earned_minor();
    // Collected again, whatever is available now, nothing changes.
    scene.change_by("bob", 5_000);
    assert_eq!(scene.collect("may", "bob", 10_000), PayoutLineState::Reserved);
    assert_eq!(scene.payout_money("bob"), (5_000, 9_400, 0));
    assert_eq!(scene.participant("ana").earned_minor(), earned);
}

#[test]
fn who_gets_nothing_is_skipped_with_the_reason() {
    let mut scene = Scene::with_balances();
    for name in ["off", "gone", "debt", "flagged", "nobody", "low", "lost"] {
        scene.refer("otto", name);
        scene.change_by(name, 500);
        if name != "nobody" {
            scene.set_method(name);
        }
    }
    scene.create("may", 400).unwrap();
    scene.deactivate("off");
    scene.erase("gone", true).unwrap();
    scene.change_by("debt", -501);
    scene.reject("flagged").unwrap();
    scene.change_by("low", -101);
    scene.change_by("lost", -500);
    for (name, reason) in [
        ("off", SkipReason::Inactive),
        ("gone", SkipReason::Erased),
        ("debt", SkipReason::InDebt),
        ("flagged", SkipReason::Flagged),
        ("nobody", SkipReason::NoMethod),
        ("low", SkipReason::BelowMinimum),
        ("lost", SkipReason::BelowMinimum),
    ] {
        let mark = scene.memory.log().len();
        assert_eq!(scene.collect("may", name, 500), PayoutLineState::Skipped, "{name}");
        let events = &scene.memory.log()[mark..];
        let [crate::AnyEvent::PayoutLine(PayoutLineEvent::PayoutLineSkipped(skipped))] =
            &events.iter().map(|logged| logged.event.clone()).collect::<Vec<_>>()[..]
        else {
            panic!("{events:?}")
        };
        assert_eq!(skipped.reason, reason, "{name}");
        assert_eq!(scene.payout_money(name).1, 0);
        assert_eq!(
            scene.confirm_by("olga", "may", Some(name), None),
            refused(Refusal::PayoutLineDecided {
                line_id: line("may", name),
                state: PayoutLineState::Skipped,
                said: Box::default(),
            })
        );
    }
}

#[test]
fn while_one_payout_collects_another_of_the_program_is_refused() {
    let mut scene = Scene::with_balances();
    scene.create("may", 1).unwrap();
    assert_eq!(scene.create("june", 1), refused(Refusal::PayoutCollecting(payout("may"))));
    assert!(is_repetition(&scene.create("may", 1)));
    assert_eq!(scene.create("may", 2), refused(Refusal::PayoutIdReused(payout("may"))));
    assert_eq!(
        scene.confirm_by("olga", "may", None, None),
        refused(Refusal::PayoutCollecting(payout("may")))
    );
    scene.end_collection("may", 0);
    scene.create("june", 1).unwrap();
    // The end of the first is no end of the second.
    scene.end_collection("may", 0);
    assert_eq!(scene.create("july", 1), refused(Refusal::PayoutCollecting(payout("june"))));
    // Nothing is collected any more.
    assert_eq!(scene.collect("may", "ana", 5_000), PayoutLineState::None);
    assert_eq!(scene.collect("june", "ana", 5_000), PayoutLineState::Reserved);
}

#[test]
fn a_payout_by_which_nobody_is_paid_ends_with_its_collection() {
    let mut scene = Scene::with_balances();
    scene.create("may", 50_000).unwrap();
    for (name, then) in [("ana", 5_000), ("bob", 10_000)] {
        assert_eq!(scene.collect("may", name, then), PayoutLineState::Skipped);
    }
    let collected = PayoutCollected { line_count: 0, total_minor: 0, skipped_count: 2 };
    let end = Command::EndPayoutCollection { payout: payout("may"), collected };
    let mark = scene.memory.log().len();
    scene.tell(&end).unwrap();
    assert_eq!(scene.payout_state("may"), PayoutState::Confirmed);
    let of_payout = scene.memory.log()[mark..].iter().filter_map(|logged| match &logged.event {
        crate::AnyEvent::Payout(event) => Some(cqrs_es::DomainEvent::event_type(event)),
        _ => None,
    });
    assert_eq!(of_payout.collect::<Vec<_>>(), ["PayoutCollected", "PayoutCompleted"]);
    // Again, as another worker at the same job does.
    let mark = scene.memory.log().len();
    scene.tell(&end).unwrap();
    assert_eq!(scene.memory.log().len(), mark);
    let nothing = || refused(Refusal::PayoutWasEmpty(payout("may")));
    assert_eq!(scene.confirm_by("olga", "may", None, None), nothing());
    assert_eq!(scene.fail("may", None), nothing());
    scene.create("june", 1).unwrap();
}

#[test]
fn a_line_is_paid_or_failed_once_and_a_paid_one_can_come_back() {
    let mut scene = Scene::with_payout("may");
    let decided = |name: &str, state, said| {
        let (line_id, said) = (line("may", name), Box::new(said));
        refused(Refusal::PayoutLineDecided { line_id, state, said })
    };
    assert_eq!(
        scene.send_back("may", "ana"),
        decided("ana", PayoutLineState::Reserved, said(None, "")),
        "what was not paid cannot come back"
    );
    let mark = scene.memory.log().len();
    scene.confirm_by("olga", "may", Some("ana"), Some(reference("po_1"))).unwrap();
    let paid: Vec<_> = scene.memory.participant_events_since(mark).collect();
    let [(_, ParticipantEvent::PayoutPaid(paid))] = &paid[..] else { panic!("{paid:?}") };
    assert_eq!((paid.posting.kind, paid.posting.amount), (EntryKind::Payout, -5_000));
    assert_eq!(scene.payout_money("ana"), (0, 0, 5_000));
    assert!(is_repetition(&scene.confirm_by("olga", "may", Some("ana"), Some(reference("po_1")))));
    let paid = || decided("ana", PayoutLineState::Paid, said(None, "po_1"));
    assert_eq!(scene.confirm_by("olga", "may", Some("ana"), Some(reference("po_2"))), paid());
    assert_eq!(scene.fail("may", Some("ana")), paid());
    scene.send_back("may", "ana").unwrap();
    assert_eq!(scene.payout_money("ana"), (5_000, 0, 0));
    assert!(is_repetition(&scene.send_back("may", "ana")));
    assert!(is_repetition(&scene.confirm_by("olga", "may", Some("ana"), Some(reference("po_1")))));
    let paid_reference = Some(reference("po_1"));
    let back = DecidedAs { paid_reference, ..said(None, "") };
    let returned = decided("ana", PayoutLineState::Returned, back);
    assert_eq!(scene.fail("may", Some("ana")), returned);

    scene.fail("may", Some("bob")).unwrap();
    assert_eq!(scene.payout_money("bob"), (10_000, 0, 0));
    assert!(is_repetition(&scene.fail("may", Some("bob"))));
    let failed = || decided("bob", PayoutLineState::Failed, said(FAIL_REASON, ""));
    assert_eq!(scene.confirm_by("olga", "may", Some("bob"), None), failed());
    assert_eq!(scene.send_back("may", "bob"), failed());
    assert_eq!(
        scene.fail("may", Some("cy")),
        refused(Refusal::PayoutLineNotFound(line("may", "cy")))
    );
}

#[test]
fn a_whole_payout_is_confirmed_line_by_line_except_what_was_decided_before() {
    let mut scene = Scene::with_payout("may");
    scene.fail("may", Some("bob")).unwrap();
    assert_eq!(scene.fail("june", None), refused(Refusal::PayoutNotFound(payout("june"))));
    scene.confirm_by("olga", "may", None, Some(reference("batch-7"))).unwrap();
    scene.approve_by("otto", approval("may", None, 1)).unwrap();
    assert_eq!(scene.payout_state("may"), PayoutState::Confirming);
    assert!(is_repetition(&scene.confirm_by("olga", "may", None, Some(reference("batch-7")))));
    let payout = payout("may");
    let state = PayoutState::Confirming;
    let said = Box::new(said(None, "batch-7"));
    assert_eq!(scene.fail("may", None), refused(Refusal::PayoutDecided { payout, state, said }));
    for name in ["ana", "bob", "ana"] {
        scene.tell(&Command::SettlePayoutLine(line("may", name))).unwrap();
    }
    assert_eq!(
        (scene.payout_money("ana"), scene.payout_money("bob")),
        ((0, 0, 5_000), (10_000, 0, 0))
    );
    scene.tell(&Command::CompletePayout(crate::tests::programs::payouts::payout("may"))).unwrap();
    assert_eq!(scene.payout_state("may"), PayoutState::Confirmed);
    assert_eq!(scene.line_state("may", "ana"), PayoutLineState::Paid);
    scene.send_back("may", "ana").unwrap();
    assert_eq!(scene.payout_money("ana"), (5_000, 0, 0));
}

#[test]
fn a_failed_payout_makes_everything_available_again_and_the_next_one_pays_it() {
    let mut scene = Scene::with_payout("may");
    scene.fail("may", None).unwrap();
    assert!(is_repetition(&scene.fail("may", None)));
    for name in ["ana", "bob"] {
        scene.tell(&Command::SettlePayoutLine(line("may", name))).unwrap();
    }
    scene.tell(&Command::CompletePayout(payout("may"))).unwrap();
    assert_eq!(scene.payout_state("may"), PayoutState::Failed);
    assert_eq!(
        (scene.payout_money("ana"), scene.payout_money("bob")),
        ((5_000, 0, 0), (10_000, 0, 0))
    );
    // A reversal of what was paid offsets the next payout.
    scene.create("june", 1).unwrap();
    assert_eq!(scene.collect("june", "ana", 5_000), PayoutLineState::Reserved);
    scene.end_collection("june", 5_000);
    scene.confirm_by("olga", "june", Some("ana"), None).unwrap();
    scene.change_by("ana", -2_000);
    scene.change_by("ana", 5_000);
    scene.create("july", 1).unwrap();
    assert_eq!(scene.collect("july", "ana", 3_000), PayoutLineState::Reserved);
    assert_eq!(scene.payout_money("ana"), (0, 3_000, 5_000));
}

#[test]
fn a_refund_after_the_payout_makes_a_debt_which_the_next_payout_offsets() {
    let mut scene = Scene::of(rules());
    scene.line(&["ana", "bob", "cy"]);
    scene.set_method("ana");
    scene.order("one", "bob", 100_000, "INR");
    assert_eq!(scene.payout_money("ana"), (5_000, 0, 0));
    scene.create("may", 1).unwrap();
    scene.collect("may", "ana", 5_000);
    scene.end_collection("may", 5_000);
    scene.confirm_by("olga", "may", Some("ana"), None).unwrap();
    let mark = scene.memory.log().len();
    // What is left is below the smallest purchase that earns.
    scene.refund("one", "a", 40_000).unwrap();
    assert_eq!(scene.payout_money("ana"), (-5_000, 0, 5_000));
    scene.order("two", "bob", 120_000, "INR");
    assert_eq!(scene.payout_money("ana"), (1_000, 0, 5_000));
    scene.create("june", 1).unwrap();
    assert_eq!(scene.collect("june", "ana", 1_000), PayoutLineState::Reserved);
    assert_eq!(scene.payout_money("ana"), (0, 1_000, 5_000));
    let paid = |event: &ParticipantEvent| matches!(event, ParticipantEvent::PayoutPaid(_));
    let mut later = scene.memory.participant_events_since(mark);
    assert!(!later.any(|(_, event)| paid(event)), "what was paid stays as it was");
}

#[test]
fn a_line_of_ones_own_waits_also_if_it_is_confirmed_with_the_whole_payout() {
    let mut scene = Scene::with_balances();
    scene.create("may", 1).unwrap();
    scene.collect("may", "ana", 5_000);
    scene.end_collection("may", 5_000);
    scene.confirm_by("ana", "may", None, None).unwrap();
    assert_eq!(scene.line_state("may", "ana"), PayoutLineState::Reserved);
    assert_eq!(scene.payout_state("may"), PayoutState::Open);
    // Whoever has nothing in it may.
    let mut scene = Scene::with_balances();
    scene.create("may", 1).unwrap();
    scene.collect("may", "ana", 5_000);
    scene.end_collection("may", 5_000);
    scene.confirm_by("olga", "may", None, None).unwrap();
    assert_eq!(scene.payout_state("may"), PayoutState::Confirming);
}

#[test]
fn a_line_of_ones_own_waits_also_if_it_is_confirmed_with_a_key_of_ones_own() {
    let mut scene = Scene::with_payout("may");
    scene.confirm_with_key_of("ana", "may", "ana").unwrap();
    assert_eq!(scene.line_state("may", "ana"), PayoutLineState::Reserved);
    scene.approve_by("otto", approval("may", Some("ana"), 1)).unwrap();
    assert_eq!(scene.line_state("may", "ana"), PayoutLineState::Paid);
    let mut scene = Scene::with_payout("may");
    scene.confirm_with_key_of("otto", "may", "ana").unwrap();
    assert_eq!(scene.line_state("may", "ana"), PayoutLineState::Paid);
}

#[test]
fn lines_that_are_confirmed_one_by_one_count_together_towards_the_limit() {
    let mut scene = Scene::with_balances();
    for (name, amount) in [("cy", 2_001), ("otto", 2_000)] {
        scene.change_by(name, amount);
        scene.set_method(name);
    }
    scene.create("may", 1).unwrap();
    for (name, amount) in [("ana", 5_000), ("bob", 10_000), ("cy", 2_001), ("otto", 2_000)] {
        assert_eq!(scene.collect("may", name, amount), PayoutLineState::Reserved);
    }
    scene.end_collection("may", 19_001);
    let waived = |scene: &Scene| scene.memory.state::<Payout>(&payout("may")).waived_minor();
    scene.confirm_by("olga", "may", Some("ana"), None).unwrap();
    assert!(is_repetition(&scene.confirm_by("olga", "may", Some("ana"), None)));
    assert_eq!((scene.line_state("may", "ana"), waived(&scene)), (PayoutLineState::Paid, 5_000));
    // Each is below the limit and both are above it, whoever confirms.
    for by in ["olga", "oscar"] {
        let asked = scene.confirm_by(by, "may", Some("cy"), None);
        assert!(asked.is_ok() || is_repetition(&asked), "{asked:?}");
        assert_eq!(scene.line_state("may", "cy"), PayoutLineState::Reserved);
    }
    // What comes back was confirmed all the same.
    scene.send_back("may", "ana").unwrap();
    scene.approve_by("oscar", approval("may", Some("cy"), 1)).unwrap();
    assert_eq!((scene.line_state("may", "cy"), waived(&scene)), (PayoutLineState::Paid, 5_000));
    // What somebody else approved does not count, and the limit is not above itself.
    scene.confirm_by("olga", "may", Some("otto"), None).unwrap();
    assert_eq!((scene.line_state("may", "otto"), waived(&scene)), (PayoutLineState::Paid, 7_000));
    // Each payout has a limit of its own.
    scene.create("june", 1).unwrap();
    assert_eq!(scene.collect("june", "ana", 5_000), PayoutLineState::Reserved);
    scene.end_collection("june", 5_000);
    scene.confirm_by("olga", "june", Some("ana"), None).unwrap();
    assert_eq!(scene.line_state("june", "ana"), PayoutLineState::Paid);
}

#[test]
fn nobody_says_alone_that_a_transfer_to_themselves_failed_or_came_back() {
    let mut scene = Scene::with_payout("may");
    let own = || refused(Refusal::OwnPayoutLine(line("may", "ana")));
    assert_eq!(scene.fail_by("ana", "may", Some("ana"), None), own());
    // Nor among all.
    assert_eq!(scene.fail_by("ana", "may", None, None), own());
    scene.confirm_by("olga", "may", Some("ana"), None).unwrap();
    assert_eq!(scene.line_state("may", "ana"), PayoutLineState::Paid);
    assert_eq!(scene.send_back_by("ana", "may", "ana"), own());
    scene.send_back_by("olga", "may", "ana").unwrap();
    assert_eq!(scene.line_state("may", "ana"), PayoutLineState::Returned);
    // Of the rest nothing is their own.
    scene.fail_by("ana", "may", None, None).unwrap();
}

#[test]
fn above_a_limit_somebody_else_approves_and_what_was_declined_can_be_asked_for_again() {
    let mut scene = Scene::with_payout("may");
    // The line is above the limit.
    scene.confirm_by("olga", "may", Some("bob"), Some(reference("po_1"))).unwrap();
    assert_eq!(scene.line_state("may", "bob"), PayoutLineState::Reserved);
    assert!(is_repetition(&scene.confirm_by("olga", "may", Some("bob"), Some(reference("po_1")))));
    let first = approval("may", Some("bob"), 1);
    assert_eq!(
        scene.confirm_by("olga", "may", Some("bob"), Some(reference("po_2"))),
        refused(Refusal::PayoutAwaitsApproval(first.clone()))
    );
    for (by, why) in [("olga", SelfApprovalWhy::SamePerson), ("bob", SelfApprovalWhy::OwnBalance)] {
        let own = Refusal::SelfApproval { approval_id: first.clone(), why };
        assert_eq!(scene.approve_by(by, first.clone()), refused(own));
    }
    let decline = Decline { approval_id: first.clone(), note: None, by: person("otto") };
    scene.tell(&Command::Decline(decline)).unwrap();
    scene.confirm_by("olga", "may", Some("bob"), Some(reference("po_2"))).unwrap();
    let second = approval("may", Some("bob"), 2);
    scene.approve_by("otto", second.clone()).unwrap();
    assert_eq!(scene.payout_money("bob"), (0, 0, 10_000));
    assert!(is_repetition(&scene.approve_by("otto", second)));
    // A line of one's own is never below the limit.
    scene.confirm_by("ana", "may", Some("ana"), None).unwrap();
    assert_eq!(scene.line_state("may", "ana"), PayoutLineState::Reserved);
    // What has failed meanwhile is not paid.
    scene.fail("may", Some("ana")).unwrap();
    assert_eq!(
        scene.approve_by("otto", approval("may", Some("ana"), 1)),
        refused(Refusal::PayoutLineDecided {
            line_id: line("may", "ana"),
            state: PayoutLineState::Failed,
            said: Box::new(said(FAIL_REASON, "")),
        })
    );
}

#[test]
fn nobody_is_erased_while_an_amount_is_set_aside_and_what_comes_back_later_is_forfeited() {
    let mut scene = Scene::with_payout("may");
    let (user_id, program_id) = (user("ana"), program(PROGRAM));
    for forfeits in [false, true] {
        let (user_id, program_id) = (user_id.clone(), program_id.clone());
        let pending = refused(Refusal::PayoutPending { user_id, program_id });
        assert_eq!(scene.erase("ana", forfeits), pending);
    }
    scene.confirm_by("olga", "may", Some("ana"), None).unwrap();
    scene.erase("ana", false).unwrap();
    scene.send_back("may", "ana").unwrap();
    assert_eq!(scene.payout_money("ana"), (0, 0, 0));
    assert_eq!(scene.participant("ana").buckets().expired, 5_000);
}

#[test]
fn switched_off_a_program_pays_out_what_was_collected_and_nothing_new() {
    let mut scene = Scene::with_payout("may");
    scene.publish(PROGRAM, multi_level_commission()).unwrap();
    let off = || refused(Refusal::PayoutsOff(program(PROGRAM)));
    assert_eq!(scene.create("june", 1), off());
    scene.confirm_by("olga", "may", Some("ana"), None).unwrap();
    assert_eq!(scene.payout_money("ana"), (0, 0, 5_000));
}

#[test]
fn points_and_credited_purchases_are_never_paid_out() {
    let fields = |rules: ProgramRules| -> Vec<String> {
        rules.faults().into_iter().map(|fault| fault.field).collect()
    };
    assert_eq!(fields(rules()), Vec::<String>::new());
    let credits = ProgramRules { credit_purchases: true, ..rules() };
    assert_eq!(fields(credits.clone()), ["pays_out"]);
    let points = ProgramRules { pays_out: true, ..super::tiered_points() };
    assert_eq!(fields(points), ["pays_out"]);
    // Nor what an earlier version has credited.
    let mut scene = Scene::of(ProgramRules { pays_out: false, ..credits });
    let refusal = Refusal::PayoutOfCredits(program(PROGRAM));
    assert_eq!(scene.publish(PROGRAM, rules()), refused(refusal));
}

/// Bea has 10000 that expire at the end of April, 5000 at the end of May, and 3000 that do not expire.
fn with_lots() -> Scene {
    let mut scene = scene_of(ProgramRules { pays_out: true, ..expiring() });
    scene.order("one", "cem", 200_000, "INR");
    scene.at("2026-02-10T00:00:00Z");
    scene.order("two", "cem", 100_000, "INR");
    scene.change_by("bea", 3_000);
    scene.set_method("bea");
    scene
}

#[test]
fn a_line_takes_the_oldest_lots_and_what_fails_goes_back_to_its_own() {
    let mut scene = with_lots();
    let before = scene.lots("bea");
    scene.create("may", 1).unwrap();
    let mark = scene.memory.log().len();
    assert_eq!(scene.collect("may", "bea", 16_000), PayoutLineState::Reserved);
    let reserved: Vec<_> = scene
        .memory
        .participant_events_since(mark)
        .map(|(_, event)| match event {
            ParticipantEvent::PayoutReserved(of) => (of.posting.amount, of.posting.expire_time_us),
            other => panic!("{other:?}"),
        })
        .collect();
    let (may, june) = (Some(at("2026-05-01T00:00:00Z")), Some(at("2026-06-01T00:00:00Z")));
    assert_eq!(reserved, [(10_000, may), (5_000, june), (1_000, None)]);
    let parts = scene.memory.state::<PayoutLine>(&line("may", "bea")).parts().to_vec();
    let parts = parts.into_iter().map(LotPart::from);
    let parts: Vec<_> = parts.map(|part| (part.amount_minor, part.expire_time)).collect();
    assert_eq!(parts, reserved);
    assert_eq!((scene.lots("bea"), scene.payout_money("bea")), (vec![], (2_000, 16_000, 0)));
    scene.fail("may", Some("bea")).unwrap();
    assert_eq!((scene.lots("bea"), scene.payout_money("bea")), (before, (18_000, 0, 0)));
}

#[test]
fn a_lot_that_is_over_is_not_paid_also_if_nothing_has_let_it_expire() {
    let mut scene = with_lots();
    scene.create("may", 1).unwrap();
    scene.at("2026-05-01T00:00:00Z");
    let mark = scene.memory.log().len();
    assert_eq!(scene.collect("may", "bea", 18_000), PayoutLineState::Reserved);
    let events: Vec<_> = scene.memory.participant_events_since(mark).collect();
    assert!(matches!(events[0].1, ParticipantEvent::BalanceExpired(_)), "{events:?}");
    assert_eq!(scene.payout_money("bea"), (0, 8_000, 0));
    assert_eq!(scene.participant("bea").buckets().expired, 10_000);
    scene.end_collection("may", 8_000);
    // What is left must be enough, too.
    scene.fail("may", Some("bea")).unwrap();
    scene.create("june", 5_000).unwrap();
    scene.at("2026-06-01T00:00:00Z");
    assert_eq!(scene.collect("june", "bea", 8_000), PayoutLineState::Skipped);
    assert_eq!(scene.payout_money("bea"), (3_000, 0, 0));
    assert_eq!(scene.participant("bea").buckets().expired, 15_000);
}

#[test]
fn what_has_failed_keeps_the_reference_of_the_transfer_whole_or_by_line() {
    let mut scene = Scene::with_payout("may");
    let po = |text: &str| Some(reference(text));
    scene.fail_as("may", Some("ana"), po("po_1")).unwrap();
    assert!(is_repetition(&scene.fail_as("may", Some("ana"), po("po_1"))));
    let line_id = line("may", "ana");
    let state = PayoutLineState::Failed;
    let said_before = Box::new(said(FAIL_REASON, "po_1"));
    let decided = refused(Refusal::PayoutLineDecided { line_id, state, said: said_before });
    assert_eq!(scene.fail_as("may", Some("ana"), po("po_2")), decided);
    scene.fail_as("may", None, po("batch-7")).unwrap();
    assert!(is_repetition(&scene.fail_as("may", None, po("batch-7"))));
    let (payout, state) = (payout("may"), PayoutState::Failing);
    let said = Box::new(said(FAIL_REASON, "batch-7"));
    assert_eq!(scene.fail("may", None), refused(Refusal::PayoutDecided { payout, state, said }));
    let mark = scene.memory.log().len();
    for name in ["ana", "bob"] {
        scene.tell(&Command::SettlePayoutLine(line("may", name))).unwrap();
    }
    let failed: Vec<_> = scene.memory.log()[mark..]
        .iter()
        .filter_map(|logged| match &logged.event {
            crate::AnyEvent::PayoutLine(PayoutLineEvent::PayoutLineFailed(failed)) => {
                Some((failed.amount_minor, failed.provider_reference.clone()))
            }
            _ => None,
        })
        .collect();
    assert_eq!(failed, [(10_000, po("batch-7"))]);
    assert!(is_repetition(&scene.fail_as("may", Some("bob"), po("batch-7"))));
}

#[test]
fn what_comes_back_after_its_lot_is_over_goes_to_the_present_one() {
    let mut scene = with_lots();
    scene.create("may", 1).unwrap();
    scene.collect("may", "bea", 12_000);
    assert_eq!(scene.lots("bea"), [lot("2026-06-01", 3_000)]);
    // What is set aside does not expire.
    scene.at("2026-05-01T00:00:00Z");
    scene.expire("bea").unwrap();
    assert_eq!(scene.payout_money("bea"), (6_000, 12_000, 0));
    scene.confirm_by("olga", "may", Some("bea"), None).unwrap();
    scene.approve_by("otto", approval("may", Some("bea"), 1)).unwrap();
    assert_eq!(scene.lots("bea"), [lot("2026-06-01", 3_000)]);
    scene.send_back("may", "bea").unwrap();
    assert_eq!(scene.lots("bea"), [lot("2026-06-01", 5_000), lot("2026-09-01", 10_000)]);
    assert_eq!(scene.payout_money("bea"), (18_000, 0, 0));
    // So does what has failed, and if the program's rewards do not expire any more, it does not either.
    scene.end_collection("may", 12_000);
    scene.create("june", 1).unwrap();
    scene.collect("june", "bea", 18_000);
    let lasting = ProgramRules { expire_months: None, pays_out: true, ..expiring() };
    scene.publish(PROGRAM, lasting).unwrap();
    scene.at("2026-07-01T00:00:00Z");
    scene.fail("june", Some("bea")).unwrap();
    assert_eq!(scene.lots("bea"), [lot("2026-09-01", 10_000)]);
    assert_eq!(scene.payout_money("bea"), (18_000, 0, 0));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn whatever_payouts_do_over_the_months_nothing_is_lost_but_what_expires(
        steps in proptest::collection::vec((0_u8..5, 0_usize..4, 0_i64..45, 1_i64..20_000), 1..40),
    ) {
        let mut scene = with_lots();
        let mut days = 0;
        let mut payouts: Vec<String> = Vec::new();
        for (kind, which, later, amount) in steps {
            days += later;
            let start = jiff::Timestamp::from_microsecond(at("2026-02-11T00:00:00Z").0).unwrap();
            let now = start + jiff::SignedDuration::from_hours(24 * days);
            scene.at(&now.to_string());
            let id = payouts.iter().rev().nth(which).cloned();
            match (kind, id) {
                (0, _) => {
                    let id = format!("p{}", payouts.len());
                    if let Some(last) = payouts.last() {
                        scene.end_collection(&last.clone(), 1);
                    }
                    scene.create(&id, 1).unwrap();
                    scene.collect(&id, "bea", amount);
                    payouts.push(id);
                }
                (1, Some(id)) => drop(scene.fail(&id, Some("bea"))),
                (2, Some(id)) => {
                    let _ = scene.confirm_by("olga", &id, Some("bea"), None);
                    let _ = scene.approve_by("otto", approval(&id, Some("bea"), 1));
                }
                (3, Some(id)) => drop(scene.send_back(&id, "bea")),
                (_, _) => scene.expire("bea").unwrap(),
            }
            let buckets = *scene.participant("bea").buckets();
            let (available, reserved, paid) = scene.payout_money("bea");
            prop_assert!(available >= 0 && reserved >= 0 && paid >= 0, "{buckets:?}");
            prop_assert_eq!(available + reserved + paid + buckets.expired, 18_000);
            let in_state = |state| -> i64 {
                let lines = payouts.iter().map(|id| line(id, "bea"));
                let lines = lines.map(|id| scene.memory.state::<PayoutLine>(&id));
                lines.filter(|line| line.state() == state).map(|line| line.amount_minor()).sum()
            };
            prop_assert_eq!(in_state(PayoutLineState::Reserved), reserved);
            prop_assert_eq!(in_state(PayoutLineState::Paid), paid);
            // Sums up, and checks that lots are never more than what is available.
            scene.lots("bea");
        }
    }
}
