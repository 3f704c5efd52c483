//! Decisions about referrals that have earned something already.

use super::{first_purchase_bonus, multi_level_commission, referral_count, rule, tiered_points};
use crate::decide::{CancelRefund, Command, Price, RefundPurchase, ResolveFraudFlag};
use crate::rules::{EarnOn, Pay, ProgramRules, RewardKind};
use crate::tests::scene::{PROGRAM, Scene, program};
use crate::{FraudDecision, PurchaseId, ReferralStatus, RefundId, Refusal};

impl Scene {
    fn decide(&mut self, name: &str, decision: FraudDecision, reverses_rewards: bool) {
        let flag_id = self.flag(name);
        let note = None;
        let resolve = ResolveFraudFlag {
            flag_id,
            decision,
            reverses_rewards,
            note,
            may_deactivate_staff: false,
        };
        self.tell(&Command::ResolveFraudFlag(Box::new(resolve))).unwrap();
    }

    fn take_back(&mut self, name: &str) {
        self.decide(name, FraudDecision::Rejected, true);
    }

    /// What the job does for these purchases.
    fn settle(&mut self, purchases: &[&str]) {
        for id in purchases {
            let purchase_id = PurchaseId::parse(id).unwrap();
            let program_id = program(PROGRAM);
            self.tell(&Command::SettlePurchase { purchase_id, program_id }).unwrap();
        }
    }

    /// What the job does for the referrals of these participants.
    fn settle_referrals(&mut self, names: &[&str]) {
        for name in names {
            self.tell(&Command::SettleReferral(Self::id(name))).unwrap();
        }
    }

    fn earned<const N: usize>(&self, names: [&str; N]) -> [i64; N] {
        names.map(|name| {
            assert!(self.participant(name).buckets().reconcile());
            self.participant(name).earned_minor()
        })
    }

    fn refund_all(&mut self, id: &str, currency: &str, amount_minor: i64) {
        self.tell(&Command::RefundPurchase(RefundPurchase {
            purchase_id: PurchaseId::parse(id).unwrap(),
            refund_id: RefundId::parse("all").unwrap(),
            amount: Some(Price { amount_minor, currency_code: currency.into() }),
            is_report: false,
            reason: None,
            own_programs: None,
        }))
        .unwrap();
    }
}

/// Ana referred Bea, who referred Cem, who referred Dan. Bea, Cem and Dan each bought for 200,000.
fn commissions() -> Scene {
    let mut scene = Scene::of(multi_level_commission());
    scene.line(&["ana", "bea", "cem", "dan"]);
    for buyer in ["bea", "cem", "dan"] {
        scene.purchase(&format!("of-{buyer}"), buyer, 200_000, "INR", None).unwrap();
    }
    assert_eq!(scene.earned(["ana", "bea", "cem"]), [12_000, 12_000, 10_000]);
    scene
}

const ALL: [&str; 3] = ["of-bea", "of-cem", "of-dan"];

#[test]
fn what_was_earned_through_a_rejected_referral_is_taken_back_on_every_level() {
    let mut scene = commissions();
    scene.take_back("cem");
    assert_eq!(scene.status("cem"), Some(ReferralStatus::Rejected));
    assert_eq!(scene.participant("bea").uses(), 0);
    assert_eq!(scene.earned(["ana", "bea", "cem"]), [12_000, 12_000, 10_000], "a job does it");
    scene.settle(&ALL);
    // Of cem's own purchase everything; of dan's, who is below, what passed through cem's referral.
    assert_eq!(scene.earned(["ana", "bea", "cem"]), [10_000, 0, 10_000]);
    assert_eq!(scene.status("dan"), Some(ReferralStatus::Converted));
    let length = scene.memory.log().len();
    scene.settle(&ALL);
    assert_eq!(scene.memory.log().len(), length, "a repetition does nothing");
    // What comes later earns nothing through it either.
    assert_eq!(
        scene.purchase("later", "dan", 200_000, "INR", None).unwrap().granted(),
        [("cem", 1, 10_000)]
    );
}

#[test]
fn a_decision_that_is_changed_back_gives_it_back() {
    for first in [None, Some(FraudDecision::Rejected)] {
        let mut scene = commissions();
        scene.take_back("cem");
        scene.settle(&ALL);
        if let Some(decision) = first {
            // The referral stays rejected, and what it had earned is given back.
            scene.decide("cem", decision, false);
            scene.settle(&ALL);
            assert_eq!(scene.status("cem"), Some(ReferralStatus::Rejected));
            assert_eq!(scene.earned(["ana", "bea", "cem"]), [12_000, 12_000, 10_000]);
        }
        scene.decide("cem", FraudDecision::Released, false);
        assert_eq!(scene.status("cem"), Some(ReferralStatus::Pending));
        scene.settle(&ALL);
        assert_eq!(scene.status("cem"), Some(ReferralStatus::Converted));
        assert_eq!(scene.earned(["ana", "bea", "cem"]), [12_000, 12_000, 10_000]);
        assert_eq!(scene.participant("bea").uses(), 1);
    }
}

#[test]
fn of_several_rejected_referrals_in_a_line_the_lowest_level_counts() {
    let mut scene = commissions();
    scene.take_back("bea");
    scene.take_back("dan");
    scene.settle(&ALL);
    // Nothing of dan's; of cem's what did not pass through bea's referral; nothing of bea's.
    assert_eq!(scene.earned(["ana", "bea", "cem"]), [0, 10_000, 0]);
    scene.decide("dan", FraudDecision::Released, false);
    scene.settle(&ALL);
    assert_eq!(scene.earned(["ana", "bea", "cem"]), [0, 12_000, 10_000]);
}

#[test]
fn what_is_given_back_fits_under_the_cap_only() {
    let mut scene = Scene::of(multi_level_commission());
    scene.line(&["ana", "bea"]);
    scene.refer("ana", "cem");
    scene.purchase("first", "bea", 1_900_000, "INR", None).unwrap();
    scene.take_back("bea");
    scene.settle(&["first"]);
    assert_eq!(scene.earned(["ana"]), [0]);
    scene.purchase("second", "cem", 1_000_000, "INR", None).unwrap();
    scene.decide("bea", FraudDecision::Released, false);
    scene.settle(&["first"]);
    // Of 95,000 only what the cap of 100,000 leaves beside 50,000.
    assert_eq!(scene.earned(["ana"]), [100_000]);
}

#[test]
fn both_sides_of_a_first_purchase_lose_it_and_the_next_one_can_be_the_first() {
    let mut scene = Scene::of(first_purchase_bonus());
    scene.line(&["ana", "bea"]);
    scene.purchase("first", "bea", 5_000, "USD", None).unwrap();
    assert_eq!(scene.earned(["ana", "bea"]), [1_000, 1_000]);
    scene.take_back("bea");
    scene.settle(&["first"]);
    assert_eq!(scene.earned(["ana", "bea"]), [0, 0]);
    scene.decide("bea", FraudDecision::Released, false);
    scene.purchase("second", "bea", 5_000, "USD", None).unwrap();
    // The second has become the first, so that the first is given back nothing.
    scene.settle(&["first", "second"]);
    assert_eq!(scene.earned(["ana", "bea"]), [1_000, 1_000]);
    assert_eq!(scene.status("bea"), Some(ReferralStatus::Converted));
}

#[test]
fn a_purchase_that_another_one_has_replaced_converts_nothing_after_a_release() {
    let mut scene = Scene::of(first_purchase_bonus());
    scene.line(&["ana", "bea"]);
    scene.purchase("first", "bea", 5_000, "USD", None).unwrap();
    scene.decide("bea", FraudDecision::Rejected, false);
    scene.refund_all("first", "USD", 5_000);
    assert_eq!(scene.status("bea"), Some(ReferralStatus::Rejected));
    scene.purchase("second", "bea", 5_000, "USD", None).unwrap();
    scene.cancel("first", "all").unwrap();
    // The second has become the first, so that nothing is given back; and then it is gone, too.
    scene.refund_all("second", "USD", 5_000);
    scene.decide("bea", FraudDecision::Released, false);
    scene.settle(&["first", "second"]);
    assert_eq!(scene.earned(["ana", "bea"]), [0, 0]);
    assert_eq!(scene.status("bea"), Some(ReferralStatus::Pending));
    scene.purchase("third", "bea", 5_000, "USD", None).unwrap();
    assert_eq!(scene.earned(["ana", "bea"]), [1_000, 1_000]);
    assert_eq!(scene.status("bea"), Some(ReferralStatus::Converted));
}

/// Bea has bought twice. Before anything was taken back, the first purchase was refunded and the decision changed: then
/// the second one converts her referral.
fn converted_by_the_second() -> Scene {
    let mut scene = Scene::of(multi_level_commission());
    scene.line(&["ana", "bea"]);
    for id in ["first", "second"] {
        scene.purchase(id, "bea", 200_000, "INR", None).unwrap();
    }
    scene.take_back("bea");
    scene.refund_all("first", "INR", 200_000);
    scene.decide("bea", FraudDecision::Released, false);
    assert_eq!(scene.status("bea"), Some(ReferralStatus::Pending));
    scene.settle(&["first", "second"]);
    assert_eq!(scene.status("bea"), Some(ReferralStatus::Converted));
    assert_eq!(scene.earned(["ana"]), [10_000]);
    scene
}

#[test]
fn a_purchase_that_converts_a_referral_only_after_a_release_remembers_it() {
    let mut scene = converted_by_the_second();
    let length = scene.memory.log().len();
    scene.settle(&["first", "second"]);
    assert_eq!(scene.memory.log().len(), length, "a repetition does nothing");
    scene.take_back("bea");
    scene.settle(&["first", "second"]);
    assert!(!scene.participant("bea").is_first(&PurchaseId::parse("second").unwrap()));
    // It is the first again, though the referral stays rejected.
    scene.decide("bea", FraudDecision::Rejected, false);
    scene.settle(&["first", "second"]);
    assert!(scene.participant("bea").is_first(&PurchaseId::parse("second").unwrap()));
    assert_eq!(scene.earned(["ana"]), [10_000]);

    // It converted while ana was active, and so it does again.
    let mut scene = converted_by_the_second();
    scene.take_back("bea");
    scene.settle(&["first", "second"]);
    scene.deactivate("ana");
    scene.decide("bea", FraudDecision::Released, false);
    scene.settle(&["first", "second"]);
    assert_eq!(scene.status("bea"), Some(ReferralStatus::Converted));
    assert!(!scene.participant("bea").referral().unwrap().converted_while_inactive);
}

#[test]
fn points_by_tier_follow_the_formula_down_and_up() {
    let mut scene = Scene::of(tiered_points());
    scene.sign_up("ana");
    let referees = ["r1", "r2", "r3", "r4", "r5", "r6"];
    let mut points = Vec::new();
    for name in referees {
        scene.refer("ana", name);
        points.push(scene.participant("ana").tier_points());
    }
    let full = scene.participant("ana").tier().map(ToOwned::to_owned);
    scene.take_back("r3");
    assert_eq!(scene.status("r3"), Some(ReferralStatus::Rejected));
    assert_eq!(scene.participant("ana").tier_points(), points[4]);
    scene.take_back("r4");
    assert_eq!(scene.participant("ana").tier_points(), points[3]);
    for name in ["r4", "r3"] {
        scene.decide(name, FraudDecision::Released, false);
        assert_eq!(scene.status(name), Some(ReferralStatus::Converted));
    }
    assert_eq!(scene.participant("ana").tier_points(), points[5]);
    assert_eq!(scene.participant("ana").tier().map(ToOwned::to_owned), full);
    assert_eq!(scene.participant("ana").balance_minor(), points[5]);
}

#[test]
fn what_referrals_below_have_earned_through_it_goes_with_it() {
    let one = |name, level| rule(name, level, RewardKind::Points, Pay::FlatMinor(1));
    let rules =
        ProgramRules { rewards: vec![one("direct", 1), one("above", 2)], ..referral_count() };
    assert_eq!(rules.earn_on, EarnOn::Referral);
    let mut scene = Scene::of(rules);
    scene.line(&["ana", "bea", "cem"]);
    assert_eq!(scene.earned(["ana", "bea"]), [2, 1]);
    scene.take_back("bea");
    assert_eq!(scene.earned(["ana", "bea"]), [1, 1], "the referral's own, by the decision");
    scene.settle_referrals(&["bea", "cem"]);
    assert_eq!(scene.earned(["ana", "bea"]), [0, 1]);
    let length = scene.memory.log().len();
    scene.settle_referrals(&["bea", "cem"]);
    assert_eq!(scene.memory.log().len(), length, "a repetition does nothing");
    scene.decide("bea", FraudDecision::Released, false);
    scene.settle_referrals(&["bea", "cem"]);
    assert_eq!(scene.earned(["ana", "bea"]), [2, 1]);
    assert_eq!(scene.status("bea"), Some(ReferralStatus::Converted));
}

#[test]
fn a_converted_referral_goes_on_until_a_refund_undoes_the_conversion() {
    for (decision, status) in [
        (FraudDecision::Rejected, ReferralStatus::Rejected),
        (FraudDecision::Released, ReferralStatus::Pending),
    ] {
        let mut scene = Scene::of(multi_level_commission());
        scene.line(&["ana", "bea"]);
        scene.purchase("order", "bea", 200_000, "INR", None).unwrap();
        scene.decide("bea", FraudDecision::Rejected, false);
        scene.decide("bea", decision, false);
        assert_eq!(scene.status("bea"), Some(ReferralStatus::Converted));
        assert_eq!(scene.purchase("more", "bea", 200_000, "INR", None).unwrap().granted().len(), 1);
        scene.refund_all("more", "INR", 200_000);
        assert_eq!(scene.status("bea"), Some(ReferralStatus::Converted));
        scene.refund_all("order", "INR", 200_000);
        assert_eq!(scene.status("bea"), Some(status));
        assert_eq!(scene.participant("ana").uses(), u32::from(status != ReferralStatus::Rejected));
        // A refund that did not happen gives the reward back, whatever the referral is by now.
        scene
            .tell(&Command::CancelRefund(CancelRefund {
                purchase_id: PurchaseId::parse("order").unwrap(),
                refund_id: RefundId::parse("all").unwrap(),
                own_programs: None,
            }))
            .unwrap();
        assert_eq!(scene.earned(["ana"]), [10_000]);
    }
}

#[test]
fn a_referral_is_not_released_where_its_place_was_taken_meanwhile() {
    let mut scene =
        Scene::of(ProgramRules { max_direct_referrals: Some(1), ..multi_level_commission() });
    scene.line(&["ana", "bea"]);
    scene.purchase("order", "bea", 200_000, "INR", None).unwrap();
    scene.take_back("bea");
    scene.settle(&["order"]);
    scene.refer("ana", "cem");
    let flag_id = scene.flag("bea");
    let resolve = ResolveFraudFlag {
        flag_id,
        decision: FraudDecision::Released,
        reverses_rewards: false,
        note: None,
        may_deactivate_staff: false,
    };
    let refused = scene.tell(&Command::ResolveFraudFlag(Box::new(resolve))).unwrap_err();
    assert!(matches!(refused, crate::Halt::Refused(Refusal::ReferrerLimitReached { .. })));
}
