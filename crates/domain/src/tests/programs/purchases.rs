//! Rules of all programs on purchases: their times, the version of the rules that applies, and that each
//! counts once.

use super::{
    first_purchase_bonus, first_purchase_credits, multi_level_commission, referral_count,
    tiered_points,
};
use crate::reward::WithheldReason;
use crate::rules::{EarnOn, FirstPurchaseUse, Pay, ProgramRules, RewardKind};
use crate::tests::scene::{PROGRAM, Scene, profile, program, user};
use crate::{
    CutOff, FirstUse, Halt, Kind, OwnEvent, Participant, ParticipantEvent, ParticipantId, Purchase,
    PurchaseId, PurchaseOutcome, ReferralApplied, ReferralStatus, Refusal, RewardShare, StreamKey,
    Timestamp,
};

/// Ana referred Bea, who referred Cem.
fn scene() -> Scene {
    let mut scene = Scene::of(multi_level_commission());
    scene.line(&["ana", "bea", "cem"]);
    scene
}

fn just_before(time: Timestamp) -> Timestamp {
    Timestamp(time.0 - 1)
}

/// The earliest time that counts as after another.
fn just_in_time(time: Timestamp) -> Timestamp {
    time.plus_seconds(-5 * 60)
}

fn too_early(time: Timestamp) -> Timestamp {
    just_before(just_in_time(time))
}

// Before a referral.

#[test]
fn a_purchase_dated_more_than_five_minutes_before_the_referral_is_withheld() {
    let mut scene = Scene::of(multi_level_commission());
    scene.line(&["ana", "bea"]);
    scene.memory.set_now(scene.memory.now().plus_seconds(3_600));
    scene.refer("bea", "cem");
    let referral_time = scene.participant("cem").referral().unwrap().referral_time;
    let early = scene.buy_at("cem", 100_000, too_early(referral_time));
    assert_eq!(early.granted(), []);
    let before = WithheldReason::BeforeReferral;
    assert_eq!(early.withheld(), [("bea", 1, before), ("ana", 2, before)]);
    for time in [just_in_time(referral_time), just_before(referral_time), referral_time] {
        assert_eq!(scene.buy_at("cem", 100_000, time).granted().len(), 2);
    }
}

#[test]
fn a_purchase_in_the_second_of_the_sign_up_is_the_first_one_and_earns() {
    for used_by in [FirstPurchaseUse::AnyPurchase, FirstPurchaseUse::QualifyingPurchase] {
        let earn_on = EarnOn::FirstPurchase { used_by };
        let mut scene = Scene::of(ProgramRules { earn_on, ..first_purchase_credits() });
        scene.line(&["ana", "bea"]);
        // A provider that stamps whole seconds.
        let Timestamp(now) = scene.memory.now();
        let purchase_time =
            Timestamp(now - now % Timestamp::PER_SECOND - 2 * Timestamp::PER_SECOND);
        assert!(scene.buy_at("bea", 1, purchase_time).converted);
    }
}

#[test]
fn a_purchase_before_the_referral_uses_up_the_first_only_where_any_purchase_does() {
    for (used_by, is_paid) in
        [(FirstPurchaseUse::AnyPurchase, false), (FirstPurchaseUse::QualifyingPurchase, true)]
    {
        let earn_on = EarnOn::FirstPurchase { used_by };
        let mut scene = Scene::of(ProgramRules { earn_on, ..first_purchase_credits() });
        scene.line(&["ana", "bea"]);
        let referral_time = scene.participant("bea").referral().unwrap().referral_time;
        let early = scene.buy_at("bea", 1, too_early(referral_time));
        let before = WithheldReason::BeforeReferral;
        assert_eq!(early.withheld(), [("bea", 0, before), ("ana", 1, before)]);
        assert_eq!(scene.buy("bea", 1).converted, is_paid);
    }
}

#[test]
fn a_purchase_dated_before_a_referral_further_up_pays_the_levels_below_it_only() {
    let mut scene = Scene::of(multi_level_commission());
    scene.sign_up("ana");
    scene.line(&["bea", "cem"]);
    let purchase_time = scene.memory.now();
    scene.memory.set_now(purchase_time.plus_seconds(5 * 60));
    scene.attach("bea", "ana").unwrap();

    let outcome = scene.buy_at("cem", 100_000, purchase_time);
    assert_eq!(outcome.granted(), [("bea", 1, 5_000)], "ana was nobody's referrer then");
    assert_eq!(outcome.withheld(), [("ana", 2, WithheldReason::BeforeReferral)]);
    assert_eq!(scene.buy("cem", 100_000).granted(), [("bea", 1, 5_000), ("ana", 2, 1_000)]);
}

// Before a reactivation.

#[test]
fn a_purchase_dated_before_the_reactivation_of_an_earner_is_withheld_from_that_earner() {
    let mut scene = scene();
    let active = scene.memory.now();
    scene.deactivate("bea");
    let inactive = scene.memory.now();
    scene.memory.set_now(inactive.plus_seconds(3_600));
    scene.reactivate("bea");
    let active_again = scene.memory.now();
    let withheld = [("bea", 1, WithheldReason::BeforeReactivation)];
    for time in [active, inactive, too_early(active_again)] {
        let outcome = scene.buy_at("cem", 100_000, time);
        assert_eq!(outcome.granted(), [("ana", 2, 1_000)]);
        assert_eq!(outcome.withheld(), withheld);
    }
    for time in [just_in_time(active_again), active_again] {
        assert_eq!(scene.buy_at("cem", 100_000, time).granted().len(), 2);
    }
}

#[test]
fn the_reactivation_of_the_buyer_takes_nothing_from_the_upline() {
    let mut scene = scene();
    let time = scene.memory.now();
    scene.deactivate("cem");
    scene.reactivate("cem");
    assert_eq!(scene.buy_at("cem", 100_000, time).granted().len(), 2);
}

#[test]
fn a_purchase_dated_while_the_earner_was_active_still_pays_nothing_while_they_are_not() {
    let mut scene = scene();
    let time = scene.memory.now();
    scene.deactivate("bea");
    let outcome = scene.buy_at("cem", 100_000, time);
    assert_eq!(outcome.withheld(), [("bea", 1, WithheldReason::EarnerInactive)]);
}

// On whose stream it stands that a reward was withheld.

#[test]
fn what_is_withheld_for_the_earners_own_sake_is_on_the_earners_stream_with_what_it_comes_to() {
    let mut scene = scene();
    scene.buy("cem", 2_000_000);
    let capped = scene.purchase("order-1", "cem", 200_000, "INR", None).unwrap();
    assert_eq!(capped.withheld(), [("bea", 1, WithheldReason::CapReached)]);
    assert_eq!(capped.told_to_earners, [user("bea")]);
    let withheld = &capped.withholdings[0];
    assert_eq!((withheld.computed_minor, withheld.limit_minor), (Some(10_000), Some(100_000)));
    assert_eq!(withheld.unit.as_deref(), Some("INR"));
    assert_eq!(withheld.source_user_id, Some(user("cem")));
    assert_eq!(withheld.purchase_id, PurchaseId::parse("order-1").ok());
    assert_eq!((withheld.program_version, withheld.qualified), (1, true));

    scene.deactivate("ana");
    let inactive = scene.buy("cem", 300_000);
    let reasons =
        [("bea", 1, WithheldReason::CapReached), ("ana", 2, WithheldReason::EarnerInactive)];
    assert_eq!(inactive.withheld(), reasons);
    assert_eq!(inactive.told_to_earners, [user("bea"), user("ana")]);
    assert_eq!(inactive.withholdings[1].computed_minor, Some(3_000));
}

#[test]
fn what_is_withheld_for_the_purchases_or_the_programs_sake_is_on_the_purchase() {
    let mut scene = scene();
    let small = scene.buy("cem", 99_999);
    assert_eq!((small.withholdings.len(), small.told_to_earners.len()), (2, 0));
    let mut rules = multi_level_commission();
    rules.minimum_purchase_minor = 0;
    scene.publish(PROGRAM, rules).unwrap();
    let rounded = scene.buy("cem", 49);
    assert_eq!(rounded.withheld(), [("ana", 2, WithheldReason::RoundedToZero)]);
    assert_eq!(rounded.told_to_earners, []);
    mark(&mut scene, "ana", "bea", ReferralStatus::Held);
    let held = scene.buy("cem", 100_000);
    assert_eq!(held.withheld(), [("ana", 2, WithheldReason::ReferralHeld)]);
    assert_eq!(held.told_to_earners, []);
}

#[test]
fn a_withheld_reward_is_one_event_on_whichever_stream() {
    let mut scene = scene();
    let events = |scene: &mut Scene| {
        let before = scene.memory.log().len();
        scene.buy("cem", 100_000);
        scene.memory.log().len() - before
    };
    // The first purchase also converts, on both streams.
    assert_eq!(events(&mut scene), 1 + 2 + 2);
    scene.deactivate("bea");
    assert_eq!(events(&mut scene), 1 + 2);
}

// Held and rejected referrals.

/// Sets the status of a referral, as an operator or a check would.
fn mark(scene: &mut Scene, referrer: &str, referee: &str, status: ReferralStatus) {
    let referral_time_us = scene.memory.now();
    scene.memory.given::<Participant>(
        &Scene::id(referee),
        ParticipantEvent::ReferralApplied(ReferralApplied {
            referrer_user_id: user(referrer),
            status,
            hold_reasons: Vec::new(),
            flags: Vec::new(),
            referral_time_us,
            made_while_inactive: false,
        }),
    );
}

/// The statuses under which a referral earns nothing, each with the reason.
const NOT_EARNING: [(ReferralStatus, WithheldReason); 2] = [
    (ReferralStatus::Held, WithheldReason::ReferralHeld),
    (ReferralStatus::Rejected, WithheldReason::ReferralNotCounted),
];

#[test]
fn a_held_or_rejected_referral_earns_nothing() {
    for (status, reason) in NOT_EARNING {
        let mut scene = scene();
        mark(&mut scene, "bea", "cem", status);
        let outcome = scene.buy("cem", 100_000);
        assert_eq!(outcome.withheld(), [("bea", 1, reason), ("ana", 2, reason)]);
        assert_eq!((outcome.granted(), outcome.converted), (vec![], false));
        assert_eq!(scene.status("cem"), Some(status));
    }
}

#[test]
fn a_held_or_rejected_referral_further_up_pays_the_levels_below_it_only() {
    for (status, reason) in NOT_EARNING {
        let mut scene = scene();
        mark(&mut scene, "ana", "bea", status);
        let outcome = scene.buy("cem", 100_000);
        assert_eq!(outcome.granted(), [("bea", 1, 5_000)]);
        assert_eq!(outcome.withheld(), [("ana", 2, reason)]);
    }
}

// Versions.

fn paying(amount: i64) -> ProgramRules {
    let mut rules = first_purchase_credits();
    for rule in &mut rules.rewards {
        rule.pay = Pay::FlatMinor(amount);
    }
    rules
}

#[test]
fn the_version_in_force_at_the_time_of_the_purchase_decides() {
    let mut scene = Scene::of(paying(2));
    for buyer in ["bea", "cem", "dan"] {
        if !scene.user_exists("ana") {
            scene.sign_up("ana");
        }
        scene.refer("ana", buyer);
    }
    let under_first = scene.memory.now();
    scene.publish(PROGRAM, paying(7)).unwrap();
    let under_second = scene.memory.now();

    let dated = scene.buy_at("bea", 1, under_first);
    assert_eq!(dated.granted(), [("bea", 0, 2), ("ana", 1, 2)]);
    assert_eq!(dated.grants[0].1.program_version, 1);
    let dated = scene.buy_at("cem", 1, under_second);
    assert_eq!(dated.granted(), [("cem", 0, 7), ("ana", 1, 7)]);
    assert_eq!(dated.grants[0].1.program_version, 2);
    assert_eq!(scene.buy("dan", 1).grants[0].1.program_version, 2);
}

#[test]
fn the_minimum_and_the_credit_go_by_the_version_of_the_purchase_too() {
    let mut scene = Scene::of(first_purchase_bonus());
    scene.line(&["ana", "bea"]);
    let under_first = scene.memory.now();
    let stricter = ProgramRules {
        minimum_purchase_minor: 5_000,
        credit_purchases: false,
        ..first_purchase_bonus()
    };
    scene.publish(PROGRAM, stricter).unwrap();

    let small = scene.buy("bea", 4_999);
    assert_eq!(small.withholdings[0].limit_minor, Some(5_000));
    assert_eq!(small.withholdings[0].program_version, 2);
    assert_eq!(scene.participant("bea").balance_minor(), 0);
    assert!(scene.buy_at("bea", 1_000, under_first).converted);
    assert_eq!(scene.participant("bea").balance_minor(), 2_000);
}

#[test]
fn a_cap_holds_over_all_versions() {
    let mut scene = scene();
    scene.buy("cem", 1_900_000);
    let mut rules = multi_level_commission();
    rules.rewards[0].pay = Pay::RateBps(1_000);
    scene.publish(PROGRAM, rules).unwrap();
    assert_eq!(scene.buy("cem", 200_000).granted(), [("bea", 1, 5_000), ("ana", 2, 2_000)]);
}

#[test]
fn only_one_purchase_pays_where_referrals_earned_before_the_first_purchase_did() {
    let credits = || super::rule("credits", 1, RewardKind::Credit, Pay::FlatMinor(2));
    let at_once = ProgramRules {
        earn_on: EarnOn::Referral,
        rewards: vec![credits()],
        ..first_purchase_credits()
    };
    for used_by in [FirstPurchaseUse::AnyPurchase, FirstPurchaseUse::QualifyingPurchase] {
        let mut scene = Scene::of(at_once.clone());
        scene.line(&["ana", "bea"]);
        let first_purchase =
            ProgramRules { earn_on: EarnOn::FirstPurchase { used_by }, ..at_once.clone() };
        scene.publish(PROGRAM, first_purchase).unwrap();

        assert_eq!(scene.buy("bea", 100).granted(), [("ana", 1, 2)]);
        assert!(scene.participant("bea").first_purchase_used(used_by));
        let second = scene.buy("bea", 100);
        assert_eq!(second.granted(), []);
        assert_eq!(second.withheld(), [("ana", 1, WithheldReason::NotFirstPurchase)]);
    }
}

// What a purchase remembers.

fn outcomes(scene: &Scene, purchase_id: &str) -> Vec<PurchaseOutcome> {
    let purchase_id = PurchaseId::parse(purchase_id).unwrap();
    scene.memory.state::<Purchase>(&purchase_id).outcomes().to_vec()
}

#[test]
fn a_purchase_remembers_who_earned_what_and_that_it_converted() {
    let mut scene = scene();
    scene.purchase("order-1", "cem", 100_000, "INR", None).unwrap();
    scene.purchase("order-2", "cem", 200_000, "INR", None).unwrap();
    let share = |earner, level, amount_minor, sequence| RewardShare {
        earner_user_id: user(earner),
        level,
        amount_minor,
        sequence,
        reversed_minor: 0,
        pending_minor: 0,
        release_time: None,
        is_held: false,
        lot: None,
    };
    let outcome = |rewards, converted| PurchaseOutcome {
        program_id: program(PROGRAM),
        program_version: 1,
        rewards,
        credited_minor: 0,
        credit_reversed_minor: 0,
        credit_pending_minor: 0,
        credit_lots: crate::Lots::default(),
        converted,
        converted_while_inactive: false,
        first_use: if converted { FirstUse::Enough } else { FirstUse::None },
        rejected_from_level: None,
        cut_off: CutOff::default(),
    };
    // Ana's stream: enrolled, referred bea, no event about cem. Bea's stream: enrolled, was referred,
    // referred cem.
    let first = vec![share("bea", 1, 5_000, 4), share("ana", 2, 1_000, 3)];
    assert_eq!(outcomes(&scene, "order-1"), [outcome(first, true)]);
    // In between, bea's stream got the conversion of cem's referral.
    let second = vec![share("bea", 1, 10_000, 6), share("ana", 2, 2_000, 4)];
    assert_eq!(outcomes(&scene, "order-2"), [outcome(second, false)]);
}

#[test]
fn a_purchase_that_came_to_nothing_remembers_nothing_but_that_it_was_the_first() {
    let mut scene = scene();
    scene.purchase("order-1", "cem", 99_999, "INR", None).unwrap();
    scene.purchase("order-2", "cem", 99_999, "INR", None).unwrap();
    let first = outcomes(&scene, "order-1").remove(0);
    assert_eq!((first.first_use, first.converted), (FirstUse::Insufficient, false));
    assert_eq!(first.rewards, []);
    assert_eq!(outcomes(&scene, "order-2"), []);
}

#[test]
fn a_purchase_remembers_what_was_credited_and_that_it_was_the_first() {
    let mut scene = Scene::of(first_purchase_bonus());
    scene.sign_up("ana");
    scene.purchase("order-1", "ana", 999, "USD", None).unwrap();
    scene.purchase("order-2", "ana", 1_000, "USD", None).unwrap();
    scene.purchase("order-3", "ana", 1_000, "USD", None).unwrap();
    let remembered = |purchase_id| {
        let outcome = outcomes(&scene, purchase_id).remove(0);
        (outcome.credited_minor, outcome.first_use, outcome.converted)
    };
    // The first of all, and the first that was enough.
    assert_eq!(remembered("order-1"), (999, FirstUse::Insufficient, false));
    assert_eq!(remembered("order-2"), (1_000, FirstUse::Enough, false));
    assert_eq!(remembered("order-3"), (1_000, FirstUse::None, false));
}

// Once.

#[test]
fn a_purchase_delivered_again_counts_once_and_is_answered_as_before() {
    let mut scene = scene();
    scene.purchase("order-1", "cem", 100_000, "INR", None).unwrap();
    let time = scene.memory.now();
    let events = scene.memory.log().len();
    let stream = StreamKey { kind: Kind::Purchase, id: "order-1".into() };
    let own = OwnEvent { stream, event_type: "PurchaseRecorded", field: None };
    for same_time in [None, Some(time)] {
        let again = scene.purchase("order-1", "cem", 100_000, "INR", same_time);
        assert_eq!(again.unwrap_err(), Halt::AlreadyRecorded(own.clone()));
    }
    assert_eq!(scene.memory.log().len(), events);
    assert_eq!(scene.participant("bea").earned_minor(), 5_000);
}

#[test]
fn the_id_of_a_purchase_cannot_be_used_for_another_one() {
    let mut scene = scene();
    let time = scene.memory.now();
    scene.purchase("order-1", "cem", 100_000, "INR", Some(time)).unwrap();
    let reused = Halt::Refused(Refusal::PurchaseIdReused(PurchaseId::parse("order-1").unwrap()));
    for (buyer, amount, currency, time) in [
        ("bea", 100_000, "INR", Some(time)),
        ("cem", 100_001, "INR", Some(time)),
        ("cem", 100_000, "USD", Some(time)),
        ("cem", 100_000, "INR", Some(just_before(time))),
        ("nobody", 100_000, "INR", None),
    ] {
        let other = scene.purchase("order-1", buyer, amount, currency, time);
        assert_eq!(other.unwrap_err(), reused, "{buyer} {amount} {currency} {time:?}");
    }
}

#[test]
fn a_purchase_without_a_time_happened_when_it_was_recorded() {
    let mut scene = scene();
    scene.purchase("order-1", "cem", 250, "EUR", None).unwrap();
    let purchase = scene.memory.state::<Purchase>(&PurchaseId::parse("order-1").unwrap());
    let recorded = purchase.recorded().unwrap();
    assert_eq!(recorded.purchase_time_us, scene.memory.now());
    assert_eq!((recorded.amount_minor, recorded.currency_code.as_str()), (250, "EUR"));
    assert_eq!(recorded.buyer_user_id, user("cem"));
}

#[test]
fn a_buyer_who_does_not_exist_buys_nothing() {
    let mut scene = scene();
    let result = scene.purchase("order-1", "nobody", 100_000, "INR", None);
    assert_eq!(result.unwrap_err(), Halt::Refused(Refusal::UserNotFound(user("nobody"))));
    scene.purchase("order-1", "cem", 100_000, "INR", None).unwrap();
}

// Several programs, and the ends of the numbers.

#[test]
fn a_purchase_counts_in_every_program_of_the_buyer_by_the_rules_of_each() {
    let mut scene = scene();
    scene.publish("credits", first_purchase_credits()).unwrap();
    scene.publish("points", tiered_points()).unwrap();
    scene.publish("count", referral_count()).unwrap();
    scene.register(profile("zoe"), Some("credits"), None).unwrap();
    let zoe = ParticipantId::new(&program("credits"), &user("zoe"));
    let code = scene.memory.state::<Participant>(&zoe).code().to_owned();
    scene.enroll("cem", "credits", Some(&code)).unwrap();
    scene.enroll("cem", "points", None).unwrap();

    let outcome = scene.buy("cem", 100_000);
    let granted: Vec<_> = outcome
        .grants
        .iter()
        .map(|(earner, grant)| {
            (earner.program_id.as_str(), earner.user_id.as_str(), grant.posting.amount)
        })
        .collect();
    assert_eq!(
        granted,
        [
            (PROGRAM, "bea", 5_000),
            (PROGRAM, "ana", 1_000),
            ("credits", "cem", 2),
            ("credits", "zoe", 2)
        ]
    );
    assert_eq!(outcome.withheld(), [("nobody", 0, WithheldReason::RewardsReferralsOnly)]);
    assert_eq!(outcome.withholdings[0].program_id, Some(program("points")));
}

#[test]
fn a_share_of_less_than_half_a_unit_is_withheld() {
    let mut rules = multi_level_commission();
    rules.minimum_purchase_minor = 0;
    let mut scene = Scene::of(rules);
    scene.line(&["ana", "bea", "cem"]);
    let outcome = scene.buy("cem", 49);
    assert_eq!(outcome.granted(), [("bea", 1, 2)]);
    assert_eq!(outcome.withheld(), [("ana", 2, WithheldReason::RoundedToZero)]);
}

#[test]
fn shares_that_make_up_the_whole_never_pay_more_than_the_purchase() {
    let mut rules = multi_level_commission();
    rules.minimum_purchase_minor = 0;
    for rule in &mut rules.rewards {
        rule.pay = Pay::RateBps(5_000);
    }
    let mut scene = Scene::of(rules);
    scene.line(&["ana", "bea", "cem"]);
    assert_eq!(scene.buy("cem", 101).granted(), [("bea", 1, 51), ("ana", 2, 50)]);
}

#[test]
fn a_purchase_that_would_overflow_a_balance_is_refused_whole() {
    let mut scene = Scene::of(first_purchase_bonus());
    scene.line(&["ana", "bea"]);
    scene.buy("ana", i64::MAX - 500);
    let result = scene.purchase("order-1", "bea", 1_000, "USD", None);
    assert_eq!(result.unwrap_err(), Halt::Refused(Refusal::BalanceLimitReached(user("ana"))));
    assert_eq!(scene.participant("bea").balance_minor(), 0);
    let purchase = scene.memory.state::<Purchase>(&PurchaseId::parse("order-1").unwrap());
    assert_eq!(purchase.recorded(), None);
}
