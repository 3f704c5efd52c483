//! Refunds and disputes, with numbers.

use super::{first_purchase_bonus, multi_level_commission, rule, tier, tiered_points};
use crate::decide::{
    CancelRefund, CloseDispute, Command, EndHoldPeriod, HoldReward, OpenDispute, Price,
    RefundPurchase, RewardName,
};
use crate::rules::{EarnOn, FirstPurchaseUse, Pay, ProgramRules, RewardKind};
use crate::tests::scene::{PROGRAM, Scene, program, user};
use crate::{
    AnyEvent, Buckets, DisputeId, DisputeOutcome, Halt, Participant, ParticipantEvent,
    ParticipantId, Purchase, PurchaseId, ReferralStatus, RefundId, Refusal, Stream, StreamKey,
};

fn order(id: &str) -> PurchaseId {
    PurchaseId::parse(id).unwrap()
}

fn in_currency(id: &str, scene: &Scene, amount_minor: i64) -> Price {
    let purchase = scene.memory.state::<Purchase>(&order(id));
    let currency_code = purchase.recorded().unwrap().currency_code.clone();
    Price { amount_minor, currency_code }
}

impl Scene {
    pub(super) fn refund(&mut self, id: &str, refund: &str, amount: i64) -> Result<(), Halt> {
        let amount = Some(in_currency(id, self, amount));
        self.tell(&Command::RefundPurchase(RefundPurchase {
            purchase_id: order(id),
            refund_id: RefundId::parse(refund).unwrap(),
            amount,
            is_report: false,
            reason: None,
            own_programs: None,
        }))
    }

    pub(super) fn refund_the_rest(&mut self, id: &str, refund: &str) -> Result<(), Halt> {
        self.tell(&Command::RefundPurchase(RefundPurchase {
            purchase_id: order(id),
            refund_id: RefundId::parse(refund).unwrap(),
            amount: None,
            is_report: false,
            reason: None,
            own_programs: None,
        }))
    }

    pub(super) fn cancel(&mut self, id: &str, refund: &str) -> Result<(), Halt> {
        self.tell(&Command::CancelRefund(CancelRefund {
            purchase_id: order(id),
            refund_id: RefundId::parse(refund).unwrap(),
            own_programs: None,
        }))
    }

    pub(super) fn dispute(&mut self, id: &str, dispute: &str, amount: i64) -> Result<(), Halt> {
        let amount = Some(in_currency(id, self, amount));
        self.tell(&Command::OpenDispute(OpenDispute {
            purchase_id: order(id),
            dispute_id: DisputeId::parse(dispute).unwrap(),
            amount,
            own_programs: None,
        }))
    }

    pub(super) fn close(
        &mut self,
        id: &str,
        dispute: &str,
        outcome: DisputeOutcome,
    ) -> Result<(), Halt> {
        self.tell(&Command::CloseDispute(CloseDispute {
            purchase_id: order(id),
            dispute_id: DisputeId::parse(dispute).unwrap(),
            outcome,
            own_programs: None,
        }))
    }

    pub(super) fn order(&mut self, id: &str, buyer: &str, amount: i64, currency: &str) {
        self.purchase(id, buyer, amount, currency, None).unwrap();
    }

    /// Pending, available, and net earned.
    pub(super) fn money(&self, name: &str) -> (i64, i64, i64) {
        let Buckets { pending, available, .. } = *self.participant(name).buckets();
        assert!(self.participant(name).buckets().reconcile());
        (pending, available, self.participant(name).earned_minor())
    }
}

/// Ana referred Bea, who referred Cem.
fn commissions() -> Scene {
    let mut scene = Scene::of(multi_level_commission());
    scene.line(&["ana", "bea", "cem"]);
    scene
}

// Shares of a purchase.

#[test]
fn shares_go_back_in_proportion_and_add_up_to_what_was_granted() {
    let mut scene = commissions();
    scene.order("order", "cem", 300_390, "INR");
    assert_eq!((scene.money("bea"), scene.money("ana")), ((0, 15_020, 15_020), (0, 3_004, 3_004)));
    scene.refund("order", "one", 100_130).unwrap();
    // 15,020 / 3 = 5,006.67 and 3,004 / 3 = 1,001.33.
    assert_eq!((scene.money("bea"), scene.money("ana")), ((0, 10_013, 10_013), (0, 2_003, 2_003)));
    scene.refund("order", "two", 100_130).unwrap();
    assert_eq!((scene.money("bea"), scene.money("ana")), ((0, 5_007, 5_007), (0, 1_001, 1_001)));
    assert_eq!(scene.status("cem"), Some(ReferralStatus::Converted));
    scene.refund_the_rest("order", "three").unwrap();
    assert_eq!((scene.money("bea"), scene.money("ana")), ((0, 0, 0), (0, 0, 0)));
    assert_eq!(scene.status("cem"), Some(ReferralStatus::Pending));
}

#[test]
fn below_the_minimum_all_goes_back_unless_the_program_says_otherwise() {
    for (reverse_below_minimum, left) in [(true, 0), (false, 4_999)] {
        let rules = ProgramRules { reverse_below_minimum, ..multi_level_commission() };
        let mut scene = Scene::of(rules);
        scene.line(&["ana", "bea", "cem"]);
        scene.order("order", "cem", 200_000, "INR");
        scene.refund("order", "one", 100_010).unwrap();
        // 10,000 x 100,010 / 200,000 = 5,000.5.
        assert_eq!(scene.money("bea"), (0, left, left));
    }
}

#[test]
fn what_was_granted_goes_back_and_the_room_under_the_cap_is_free_again() {
    let mut scene = commissions();
    scene.order("first", "cem", 1_900_000, "INR");
    scene.order("capped", "cem", 200_000, "INR");
    assert_eq!(scene.money("bea"), (0, 100_000, 100_000));
    // Of 10,000 only 5,000 were granted.
    scene.refund("capped", "half", 100_000).unwrap();
    assert_eq!(scene.money("bea"), (0, 97_500, 97_500));
    scene.refund_the_rest("first", "all").unwrap();
    assert_eq!(scene.money("bea"), (0, 2_500, 2_500));
    scene.order("later", "cem", 1_900_000, "INR");
    assert_eq!(scene.money("bea"), (0, 97_500, 97_500));
    // What is given back again fits under the cap only in part.
    scene.cancel("first", "all").unwrap();
    assert_eq!(scene.money("bea"), (0, 100_000, 100_000));
}

#[test]
fn what_a_cap_did_not_give_back_does_not_wait_for_a_dispute_either() {
    let mut scene = commissions();
    scene.order("first", "cem", 1_900_000, "INR");
    scene.refund("first", "half", 950_000).unwrap();
    scene.order("later", "cem", 2_000_000, "INR");
    scene.cancel("first", "half").unwrap();
    // Of 95,000 for the first purchase there are still 47,500: the later one has the room under the cap.
    assert_eq!(scene.money("bea"), (0, 100_000, 100_000));
    scene.dispute("first", "half", 950_000).unwrap();
    assert_eq!(scene.money("bea"), (0, 100_000, 100_000), "nothing would be taken back");
    scene.close("first", "half", DisputeOutcome::Lost).unwrap();
    assert_eq!(scene.money("bea"), (0, 100_000, 100_000));
    scene.dispute("first", "rest", 950_000).unwrap();
    assert_eq!(scene.money("bea"), (47_500, 52_500, 100_000));
    scene.close("first", "rest", DisputeOutcome::Lost).unwrap();
    assert_eq!(scene.money("bea"), (0, 52_500, 52_500));
}

#[test]
fn a_balance_can_become_negative_and_later_rewards_offset_that() {
    let mut scene = commissions();
    scene.order("order", "cem", 200_000, "INR");
    scene.erase("ana", true).unwrap();
    scene.refund_the_rest("order", "all").unwrap();
    // The account of somebody who was erased is closed.
    assert_eq!(scene.money("ana"), (0, 0, 2_000));
    assert_eq!(scene.money("bea"), (0, 0, 0));
}

// Refused and repeated.

#[test]
fn refunds_that_cannot_be_are_refused_with_their_reasons() {
    let mut scene = commissions();
    scene.order("order", "cem", 200_000, "INR");
    let refused = |refusal| Err(Halt::Refused(refusal));
    let one = RefundId::parse("one").unwrap();
    let unknown = scene.tell(&Command::RefundPurchase(RefundPurchase {
        purchase_id: order("other"),
        refund_id: one.clone(),
        amount: None,
        is_report: false,
        reason: None,
        own_programs: None,
    }));
    assert_eq!(unknown, refused(Refusal::PurchaseNotFound(order("other"))));
    assert_eq!(
        scene.refund("order", "one", 200_001),
        refused(Refusal::RefundExceedsPurchase {
            purchase_id: order("order"),
            left_minor: 200_000
        })
    );
    let foreign = scene.tell(&Command::RefundPurchase(RefundPurchase {
        purchase_id: order("order"),
        refund_id: one.clone(),
        amount: Some(Price { amount_minor: 1, currency_code: "USD".into() }),
        is_report: false,
        reason: None,
        own_programs: None,
    }));
    let (purchase_id, currency_code) = (order("order"), "INR".to_owned());
    assert_eq!(foreign, refused(Refusal::CurrencyMismatch { purchase_id, currency_code }));
    assert_eq!(
        scene.cancel("order", "one"),
        refused(Refusal::RefundNotFound(order("order"), one.clone()))
    );
    scene.refund("order", "one", 1).unwrap();
    assert_eq!(
        scene.refund("order", "one", 2),
        refused(Refusal::RefundIdReused(order("order"), one))
    );
    let events = scene.memory.log().len();
    assert!(matches!(scene.refund("order", "one", 1), Err(Halt::AlreadyRecorded(_))));
    assert!(matches!(scene.refund_the_rest("order", "one"), Err(Halt::AlreadyRecorded(_))));
    scene.cancel("order", "one").unwrap();
    assert!(matches!(scene.cancel("order", "one"), Err(Halt::AlreadyRecorded(_))));
    assert!(scene.memory.log().len() > events);
}

#[test]
fn a_key_that_is_limited_to_programs_finds_only_purchases_that_count_in_no_other() {
    let mut scene = commissions();
    scene.order("order", "cem", 200_000, "INR");
    let refund = |own: &str| {
        Command::RefundPurchase(RefundPurchase {
            purchase_id: order("order"),
            refund_id: RefundId::parse("one").unwrap(),
            amount: None,
            is_report: false,
            reason: None,
            own_programs: Some(vec![program(own)]),
        })
    };
    let not_found = Err(Halt::Refused(Refusal::PurchaseNotFound(order("order"))));
    assert_eq!(scene.tell(&refund(PROGRAM)), not_found);
}

// Flat amounts, and what is first.

#[test]
fn flat_amounts_go_back_whole_and_the_next_purchase_is_the_first() {
    let mut scene = Scene::of(first_purchase_bonus());
    scene.line(&["ana", "bea"]);
    scene.order("order", "bea", 5_000, "USD");
    scene.order("withheld", "bea", 2_000, "USD");
    assert_eq!((scene.money("ana"), scene.money("bea")), ((0, 1_000, 1_000), (0, 8_000, 1_000)));
    scene.refund("order", "one", 4_000).unwrap();
    assert_eq!((scene.money("ana"), scene.money("bea")), ((0, 1_000, 1_000), (0, 4_000, 1_000)));
    scene.refund("order", "two", 1).unwrap();
    assert_eq!((scene.money("ana"), scene.money("bea")), ((0, 0, 0), (0, 2_999, 0)));
    assert_eq!(scene.status("bea"), Some(ReferralStatus::Pending));
    assert!(!scene.participant("bea").first_purchase_used(FirstPurchaseUse::QualifyingPurchase));
    assert_eq!(scene.participant("ana").uses(), 1);
    // The one that was withheld is not looked at again, the next one to come converts.
    scene.order("next", "bea", 1_000, "USD");
    assert_eq!(scene.status("bea"), Some(ReferralStatus::Converted));
    assert_eq!(scene.money("ana"), (0, 1_000, 1_000));
    // Another purchase is the first by now, so that only the price is given back.
    scene.cancel("order", "two").unwrap();
    assert_eq!((scene.money("ana"), scene.money("bea")), ((0, 1_000, 1_000), (0, 5_000, 1_000)));
}

#[test]
fn a_refund_that_did_not_happen_gives_everything_back() {
    let mut scene = Scene::of(first_purchase_bonus());
    scene.line(&["ana", "bea"]);
    scene.order("order", "bea", 5_000, "USD");
    let before = (scene.money("ana"), scene.money("bea"));
    scene.refund_the_rest("order", "all").unwrap();
    assert_eq!((scene.money("ana"), scene.money("bea")), ((0, 0, 0), (0, 0, 0)));
    scene.cancel("order", "all").unwrap();
    assert_eq!((scene.money("ana"), scene.money("bea")), before);
    assert_eq!(scene.status("bea"), Some(ReferralStatus::Converted));
    assert!(scene.participant("bea").first_purchase_used(FirstPurchaseUse::QualifyingPurchase));
    assert_eq!(scene.participant("ana").buckets().reversed, 0);
}

// Conversions where every purchase earns.

#[test]
fn a_conversion_stands_as_long_as_another_purchase_earns() {
    let mut scene = commissions();
    scene.order("one", "cem", 100_000, "INR");
    scene.order("two", "cem", 100_000, "INR");
    scene.order("small", "cem", 10, "INR");
    scene.refund_the_rest("one", "all").unwrap();
    assert_eq!(scene.status("cem"), Some(ReferralStatus::Converted));
    scene.refund_the_rest("two", "all").unwrap();
    assert_eq!(scene.status("cem"), Some(ReferralStatus::Pending));
    scene.cancel("two", "all").unwrap();
    assert_eq!(scene.status("cem"), Some(ReferralStatus::Converted));
    scene.refund_the_rest("two", "again").unwrap();
    assert!(scene.buy("cem", 100_000).converted);
}

/// A cap can leave nothing to give back, so that only the buyer's own stream shows the others that the purchase is
/// back.
#[test]
fn a_purchase_that_earns_again_beside_another_says_so_to_the_buyer() {
    let mut scene = commissions();
    scene.order("one", "cem", 100_000, "INR");
    scene.refund_the_rest("one", "all").unwrap();
    scene.order("two", "cem", 2_000_000, "INR");
    assert_eq!(scene.money("bea"), (0, 100_000, 100_000));
    let said = |scene: &Scene| {
        let cem =
            StreamKey::of::<Participant>(&ParticipantId::new(&program(PROGRAM), &user("cem")));
        let own = scene.memory.log().iter().filter(|logged| logged.key == cem);
        own.filter(|of| {
            matches!(&of.event, AnyEvent::Participant(ParticipantEvent::PurchaseReinstated(_)))
        })
        .count()
    };
    scene.cancel("one", "all").unwrap();
    assert_eq!((scene.money("bea"), said(&scene)), ((0, 100_000, 100_000), 1));
    scene.refund_the_rest("two", "all").unwrap();
    assert_eq!(scene.status("cem"), Some(ReferralStatus::Converted));
    // Nothing else keeps the referral converted: the conversion itself says it.
    scene.refund_the_rest("one", "again").unwrap();
    scene.cancel("two", "all").unwrap();
    assert_eq!((scene.status("cem"), said(&scene)), (Some(ReferralStatus::Converted), 1));
}

#[test]
fn what_was_given_back_counts_for_the_conversion_whichever_purchase_was_the_first() {
    let mut scene = commissions();
    scene.order("one", "cem", 100_000, "INR");
    scene.refund_the_rest("one", "all").unwrap();
    scene.order("two", "cem", 100_000, "INR");
    scene.cancel("one", "all").unwrap();
    scene.refund_the_rest("two", "all").unwrap();
    assert_eq!(scene.status("cem"), Some(ReferralStatus::Converted));
    scene.refund_the_rest("one", "again").unwrap();
    assert_eq!(scene.status("cem"), Some(ReferralStatus::Pending));
}

#[test]
fn what_went_back_while_a_referral_was_held_is_not_made_up_for() {
    for (refunded, left) in [(0, 20_000), (100_000, 15_000), (400_000, 0)] {
        let rules = ProgramRules { require_confirmed_email: true, ..multi_level_commission() };
        let mut scene = Scene::of(rules);
        scene.line(&["ana", "bea"]);
        scene.order("order", "bea", 400_000, "INR");
        if refunded > 0 {
            scene.refund("order", "r", refunded).unwrap();
        }
        scene.confirm("bea").unwrap();
        scene.make_up("order");
        assert_eq!(scene.money("ana"), (0, left, left), "{refunded}");
        let status = if left > 0 { ReferralStatus::Converted } else { ReferralStatus::Pending };
        assert_eq!(scene.status("bea"), Some(status));
    }
}

// Tiers.

fn tiers_by_purchases() -> ProgramRules {
    let tiers = vec![tier("Bronze", 0, 10, 0), tier("Silver", 2, 15, 100)];
    ProgramRules {
        earn_on: EarnOn::FirstPurchase { used_by: FirstPurchaseUse::AnyPurchase },
        rewards: vec![rule("points", 1, RewardKind::Points, Pay::Tiers(tiers))],
        fraud_checks: crate::fraud::FraudChecks::default(),
        ..tiered_points()
    }
}

#[test]
fn points_equal_the_formula_down_as_well_as_up() {
    let mut scene = Scene::of(tiers_by_purchases());
    scene.sign_up("ana");
    for (name, id) in [("bea", "one"), ("cem", "two"), ("dan", "three")] {
        scene.refer("ana", name);
        scene.order(id, name, 500, "USD");
    }
    assert_eq!(
        (scene.money("ana"), scene.participant("ana").tier()),
        ((0, 145, 145), Some("Silver"))
    );
    // The one that had brought 10 takes 15 with it, and the next one the bonus.
    scene.refund_the_rest("one", "all").unwrap();
    assert_eq!(scene.money("ana"), (0, 130, 130));
    scene.refund_the_rest("three", "all").unwrap();
    assert_eq!(
        (scene.money("ana"), scene.participant("ana").tier()),
        ((0, 10, 10), Some("Bronze"))
    );
    scene.cancel("one", "all").unwrap();
    assert_eq!(
        (scene.money("ana"), scene.participant("ana").tier()),
        ((0, 130, 130), Some("Silver"))
    );
    assert_eq!(scene.participant("ana").tier_points(), 130);
}

#[test]
fn points_that_open_disputes_could_undo_are_pending_together() {
    let mut scene = Scene::of(tiers_by_purchases());
    scene.sign_up("ana");
    for (name, id) in [("bea", "one"), ("cem", "two")] {
        scene.refer("ana", name);
        scene.order(id, name, 500, "USD");
    }
    assert_eq!(scene.money("ana"), (0, 130, 130));
    scene.dispute("one", "d", 500).unwrap();
    assert_eq!(scene.money("ana"), (120, 10, 130));
    scene.dispute("two", "d", 500).unwrap();
    assert_eq!(scene.money("ana"), (130, 0, 130));
    scene.close("one", "d", DisputeOutcome::Won).unwrap();
    assert_eq!(scene.money("ana"), (120, 10, 130));
    // Another referral: without the disputed one there would be two, which are 130.
    scene.refer("ana", "dan");
    scene.order("three", "dan", 500, "USD");
    assert_eq!(scene.money("ana"), (15, 130, 145));
    scene.close("two", "d", DisputeOutcome::Lost).unwrap();
    assert_eq!(scene.money("ana"), (0, 130, 130));
}

// Disputes.

#[test]
fn pending_is_what_would_go_back_if_every_open_dispute_were_lost() {
    let mut scene = commissions();
    scene.order("order", "cem", 400_000, "INR");
    scene.dispute("order", "one", 100_000).unwrap();
    assert_eq!(scene.money("bea"), (5_000, 15_000, 20_000));
    scene.dispute("order", "two", 100_000).unwrap();
    assert_eq!(scene.money("bea"), (10_000, 10_000, 20_000));
    scene.dispute("order", "two", 50_000).unwrap();
    assert_eq!(scene.money("bea"), (7_500, 12_500, 20_000));
    // A refund in the middle.
    scene.refund("order", "r", 100_000).unwrap();
    assert_eq!(scene.money("bea"), (7_500, 7_500, 15_000));
    scene.close("order", "one", DisputeOutcome::Lost).unwrap();
    assert_eq!(scene.money("bea"), (2_500, 7_500, 10_000));
    scene.close("order", "two", DisputeOutcome::Withdrawn).unwrap();
    assert_eq!(scene.money("bea"), (0, 10_000, 10_000));
    // What was lost cannot be refunded as well.
    let left = Refusal::RefundExceedsPurchase { purchase_id: order("order"), left_minor: 200_000 };
    assert_eq!(scene.refund("order", "more", 200_001), Err(Halt::Refused(left)));
}

#[test]
fn a_flat_reward_is_pending_whole_or_not_at_all() {
    let mut scene = Scene::of(first_purchase_bonus());
    scene.line(&["ana", "bea"]);
    scene.order("order", "bea", 5_000, "USD");
    scene.dispute("order", "d", 4_000).unwrap();
    assert_eq!(
        (scene.money("ana"), scene.money("bea")),
        ((0, 1_000, 1_000), (4_000, 2_000, 1_000))
    );
    scene.dispute("order", "d", 4_001).unwrap();
    assert_eq!((scene.money("ana"), scene.money("bea")), ((1_000, 0, 1_000), (5_001, 999, 1_000)));
    assert_eq!(scene.status("bea"), Some(ReferralStatus::Converted));
    scene.close("order", "d", DisputeOutcome::Lost).unwrap();
    assert_eq!((scene.money("ana"), scene.money("bea")), ((0, 0, 0), (0, 999, 0)));
    assert_eq!(scene.status("bea"), Some(ReferralStatus::Pending));
}

#[test]
fn disputes_that_cannot_be_are_refused_with_their_reasons() {
    let mut scene = commissions();
    scene.order("order", "cem", 200_000, "INR");
    let id = || DisputeId::parse("d").unwrap();
    let refused = |refusal| Err(Halt::Refused(refusal));
    assert_eq!(
        scene.close("order", "d", DisputeOutcome::Won),
        refused(Refusal::DisputeNotFound { purchase_id: order("order"), dispute_id: id() })
    );
    assert_eq!(
        scene.dispute("order", "d", 200_001),
        refused(Refusal::DisputeExceedsPurchase {
            purchase_id: order("order"),
            paid_minor: 200_000
        })
    );
    scene.dispute("order", "d", 10).unwrap();
    assert!(matches!(scene.dispute("order", "d", 10), Err(Halt::AlreadyRecorded(_))));
    scene.close("order", "d", DisputeOutcome::Won).unwrap();
    let again = scene.close("order", "d", DisputeOutcome::Won);
    assert!(matches!(again, Err(Halt::AlreadyRecorded(_))));
    let closed = Refusal::DisputeClosedAlready {
        purchase_id: order("order"),
        dispute_id: id(),
        amount_minor: 10,
        outcome: DisputeOutcome::Won,
    };
    let said = "dispute 'd' about 10 minor units of purchase 'order' is closed: it was won";
    assert_eq!(closed.to_string(), said);
    assert_eq!(scene.close("order", "d", DisputeOutcome::Lost), refused(closed.clone()));
    assert_eq!(scene.dispute("order", "d", 11), refused(closed));
}

// Holds.

const DAY: i64 = 24 * 60 * 60;

impl Scene {
    pub(super) fn end_period(
        &mut self,
        source: &str,
        purchase_id: Option<&str>,
    ) -> Result<(), Halt> {
        self.tell(&Command::EndHoldPeriod(EndHoldPeriod {
            program_id: program(PROGRAM),
            source_user_id: user(source),
            purchase_id: purchase_id.map(order),
        }))
    }

    /// The name of the last reward of a participant.
    pub(super) fn last_reward(&self, earner: &str) -> RewardName {
        let key = StreamKey::of::<Participant>(&Scene::id(earner));
        let mut log = self.memory.log().iter().rev().filter(|logged| logged.key == key);
        let (sequence, granted) = log
            .find_map(|logged| match Participant::event_ref(&logged.event) {
                Some(ParticipantEvent::RewardGranted(granted)) => {
                    Some((logged.sequence, granted.clone()))
                }
                _ => None,
            })
            .unwrap();
        RewardName {
            program_id: program(PROGRAM),
            earner_user_id: user(earner),
            sequence,
            source_user_id: granted.source_user_id,
            purchase_id: granted.purchase_id,
            level: granted.level,
        }
    }

    pub(super) fn hold(&mut self, name: &RewardName) -> Result<(), Halt> {
        self.tell(&Command::HoldReward(HoldReward { reward: name.clone(), note: None }))
    }

    pub(super) fn release_reward(&mut self, name: &RewardName) -> Result<(), Halt> {
        self.tell(&Command::ReleaseReward(HoldReward { reward: name.clone(), note: None }))
    }

    pub(super) fn pass(&mut self, seconds: i64) {
        self.memory.set_now(self.memory.now().plus_seconds(seconds));
    }
}

#[test]
fn a_hold_period_ends_so_many_days_after_the_recording() {
    let rules = ProgramRules { hold_days: Some(14), ..multi_level_commission() };
    let mut scene = Scene::of(rules);
    scene.line(&["ana", "bea", "cem"]);
    scene.order("order", "cem", 200_000, "INR");
    assert_eq!((scene.money("bea"), scene.money("ana")), ((10_000, 0, 10_000), (2_000, 0, 2_000)));
    scene.pass(14 * DAY - 10);
    let events = scene.memory.log().len();
    scene.end_period("cem", Some("order")).unwrap();
    assert_eq!(scene.memory.log().len(), events);
    // A refund takes from what is pending.
    scene.refund("order", "one", 100_000).unwrap();
    assert_eq!((scene.money("bea"), scene.money("ana")), ((5_000, 0, 5_000), (1_000, 0, 1_000)));
    scene.pass(10);
    scene.end_period("cem", Some("order")).unwrap();
    assert_eq!((scene.money("bea"), scene.money("ana")), ((0, 5_000, 5_000), (0, 1_000, 1_000)));
    let events = scene.memory.log().len();
    scene.end_period("cem", Some("order")).unwrap();
    assert_eq!(scene.memory.log().len(), events);
}

#[test]
fn a_reward_waits_for_its_operator_and_for_its_disputes() {
    let mut scene = commissions();
    scene.order("order", "cem", 400_000, "INR");
    let reward = scene.last_reward("bea");
    scene.hold(&reward).unwrap();
    assert_eq!((scene.money("bea"), scene.money("ana")), ((20_000, 0, 20_000), (0, 4_000, 4_000)));
    scene.dispute("order", "d", 100_000).unwrap();
    assert_eq!(scene.money("bea"), (20_000, 0, 20_000));
    // A release lifts every reason but disputes.
    scene.release_reward(&reward).unwrap();
    assert_eq!(scene.money("bea"), (5_000, 15_000, 20_000));
    scene.close("order", "d", DisputeOutcome::Won).unwrap();
    assert_eq!(scene.money("bea"), (0, 20_000, 20_000));
    let unknown = RewardName { sequence: 99, ..reward };
    let not_found = Refusal::RewardNotFound(format!("{PROGRAM}/bea/99"));
    assert_eq!(scene.hold(&unknown), Err(Halt::Refused(not_found)));
}

#[test]
fn what_a_referral_itself_earned_waits_as_well() {
    let count = ProgramRules { hold_days: Some(3), ..super::referral_count() };
    let mut scene = Scene::of(count);
    scene.line(&["ana", "bea"]);
    assert_eq!(scene.money("ana"), (1, 0, 1));
    let reward = scene.last_reward("ana");
    scene.hold(&reward).unwrap();
    scene.pass(4 * DAY);
    scene.end_period("bea", None).unwrap();
    assert_eq!(scene.money("ana"), (1, 0, 1));
    scene.release_reward(&reward).unwrap();
    assert_eq!(scene.money("ana"), (0, 1, 1));
}

#[test]
fn points_by_tier_wait_together() {
    let tiers = vec![tier("Bronze", 0, 10, 0), tier("Silver", 2, 15, 100)];
    let rules = ProgramRules {
        rewards: vec![rule("points", 1, RewardKind::Points, Pay::Tiers(tiers))],
        fraud_checks: crate::fraud::FraudChecks::default(),
        ..tiered_points()
    };
    let mut scene = Scene::of(rules);
    scene.line(&["ana", "bea"]);
    scene.refer("ana", "cem");
    assert_eq!(scene.money("ana"), (0, 130, 130));
    // The second one brought 120.
    let reward = scene.last_reward("ana");
    scene.hold(&reward).unwrap();
    assert_eq!(scene.money("ana"), (120, 10, 130));
    scene.refer("ana", "dan");
    assert_eq!(scene.money("ana"), (120, 25, 145));
    scene.release_reward(&reward).unwrap();
    assert_eq!(scene.money("ana"), (0, 145, 145));
}
