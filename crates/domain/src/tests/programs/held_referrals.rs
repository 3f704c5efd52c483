//! Referrals that are held, released and rejected.

use crate::decide::{Command, ResolveFraudFlag};
use crate::fraud::FraudPolicy;
use crate::reward::WithheldReason::{
    EarnerInactive, NotFirstPurchase, ReferralHeld, ReferralNotCounted,
};
use crate::rules::ProgramRules;
use crate::tests::programs::{first_purchase_bonus, multi_level_commission, tiered_points};
use crate::tests::scene::{PROGRAM, Scene, refused, user};
use crate::{
    FlagAgainst, FraudFlag, FraudFlagEvent, FraudFlagId, FraudFlagRaised, HoldReason, Participant,
    ParticipantEvent, Purchase, PurchaseId, ReferralMade, ReferralStandingChanged, ReferralStatus,
    ReferralUpdated, Refusal,
};

fn confirmed_only(rules: ProgramRules) -> ProgramRules {
    ProgramRules { require_confirmed_email: true, ..rules }
}

/// A scene in which ana has referred bea, who has not confirmed her address.
fn held(rules: ProgramRules) -> Scene {
    let mut scene = Scene::of(confirmed_only(rules));
    scene.line(&["ana", "bea"]);
    scene
}

fn hold_reasons(scene: &Scene, name: &str) -> Vec<HoldReason> {
    scene.participant(name).referral().unwrap().hold_reasons.clone()
}

/// Holds a referral for review, too, as a check of fraud would have done when it was made.
fn review(scene: &mut Scene, name: &str) {
    let reasons = [hold_reasons(scene, name), vec![HoldReason::Review]].concat();
    let flag_id = scene.flag(name);
    hold(scene, name, reasons, vec![FlagAgainst { flag_id, rejects: false, takes_back: false }]);
}

fn hold(scene: &mut Scene, name: &str, hold_reasons: Vec<HoldReason>, flags: Vec<FlagAgainst>) {
    let before = scene.status(name).unwrap();
    let changed = ReferralStandingChanged {
        status: ReferralStatus::Held,
        hold_reasons,
        flags,
        release_time_us: None,
        made_while_inactive: false,
        settles_purchases: false,
    };
    let changed = ParticipantEvent::ReferralStandingChanged(changed);
    scene.memory.given::<Participant>(&Scene::id(name), changed);
    if before != ReferralStatus::Held {
        let updated = ReferralUpdated {
            referee_user_id: user(name),
            previous_status: before,
            status: ReferralStatus::Held,
            made_while_inactive: false,
            converted_while_inactive: false,
        };
        let referrer = Scene::id(&scene.referrer(name).unwrap());
        scene.memory.given::<Participant>(&referrer, ParticipantEvent::ReferralUpdated(updated));
    }
}

/// Pending, held and converted referrals.
fn counts(scene: &Scene, name: &str) -> (u32, u32, u32) {
    let counts = scene.participant(name).referrals();
    (counts.pending, counts.held, counts.converted)
}

#[test]
fn a_referral_waits_for_the_confirmation_of_the_address_and_then_earns() {
    let mut scene = held(tiered_points());
    assert_eq!(scene.status("bea"), Some(ReferralStatus::Held));
    assert_eq!(hold_reasons(&scene, "bea"), [HoldReason::UnconfirmedEmail]);
    assert_eq!(scene.memory.asked_to_confirm(), [user("bea")]);
    assert_eq!((counts(&scene, "ana"), scene.participant("ana").earned_minor()), ((0, 1, 0), 0));

    let mark = scene.memory.log().len();
    scene.confirm("bea").unwrap();
    let outcome = scene.since(mark);
    assert_eq!((outcome.granted(), outcome.converted), (vec![("ana", 1, 10)], true));
    assert_eq!((counts(&scene, "ana"), hold_reasons(&scene, "bea")), ((0, 0, 1), vec![]));

    let mark = scene.memory.log().len();
    assert_eq!(scene.confirm("bea"), refused(Refusal::MailedTokenUsed));
    assert_eq!(scene.memory.log().len(), mark);
}

#[test]
fn who_has_confirmed_before_is_not_held() {
    let mut scene = Scene::of(confirmed_only(tiered_points()));
    scene.sign_up("ana");
    let (code, first) = (scene.code("ana"), tiered_points());
    scene.publish("another", first).unwrap();
    scene.register(crate::tests::scene::profile("bea"), Some("another"), None).unwrap();
    scene.confirm("bea").unwrap();
    scene.enroll("bea", PROGRAM, Some(&code)).unwrap();
    assert_eq!(scene.status("bea"), Some(ReferralStatus::Converted));
    assert_eq!(scene.memory.asked_to_confirm(), []);
}

#[test]
fn a_confirmation_releases_in_every_program() {
    let mut scene = held(tiered_points());
    scene.publish("another", confirmed_only(multi_level_commission())).unwrap();
    scene.enroll("ana", "another", None).unwrap();
    let ana = crate::ParticipantId::new(&crate::tests::scene::program("another"), &user("ana"));
    let code = scene.memory.state::<Participant>(&ana).code().to_owned();
    scene.enroll("bea", "another", Some(&code)).unwrap();
    let counts_there = |scene: &Scene| scene.memory.state::<Participant>(&ana).referrals();
    assert_eq!(counts_there(&scene).held, 1);
    scene.confirm("bea").unwrap();
    assert_eq!((counts_there(&scene).pending, counts_there(&scene).held), (1, 0));
    assert_eq!(counts(&scene, "ana"), (0, 0, 1));
}

#[test]
fn a_referral_that_is_held_for_two_reasons_is_released_when_both_are_gone() {
    for confirms_first in [true, false] {
        let mut scene = held(tiered_points());
        review(&mut scene, "bea");
        for confirms in [confirms_first, !confirms_first] {
            assert_eq!(scene.status("bea"), Some(ReferralStatus::Held));
            assert_eq!(counts(&scene, "ana"), (0, 1, 0));
            let lifted = if confirms { scene.confirm("bea") } else { scene.release("bea") };
            lifted.unwrap();
        }
        assert_eq!(scene.status("bea"), Some(ReferralStatus::Converted));
        assert_eq!(scene.participant("ana").earned_minor(), 10);
    }
}

#[test]
fn nobody_can_release_a_referral_in_place_of_the_confirmation() {
    let mut scene = held(tiered_points());
    scene.release("bea").unwrap();
    assert_eq!(scene.status("bea"), Some(ReferralStatus::Held));
    assert_eq!(hold_reasons(&scene, "bea"), [HoldReason::UnconfirmedEmail]);
}

#[test]
fn a_held_referral_takes_a_use_and_a_rejected_one_gives_it_back() {
    let rules = ProgramRules { max_uses_per_code: Some(1), ..first_purchase_bonus() };
    let mut scene = held(rules);
    let code = scene.code("ana");
    scene.sign_up_with("cem", &code).unwrap();
    assert_eq!(scene.referrer("cem"), None);
    scene.reject("bea").unwrap();
    assert_eq!((counts(&scene, "ana"), scene.participant("ana").uses()), ((0, 0, 0), 0));
    scene.sign_up_with("dan", &code).unwrap();
    assert_eq!(scene.referrer("dan").as_deref(), Some("ana"));
    // Bea was referred by ana for good, and cannot be released while somebody else has the use.
    assert_eq!(scene.referrer("bea").as_deref(), Some("ana"));
    let exhausted = Refusal::CodeExhausted { code, limit: 1 };
    assert_eq!(scene.release("bea"), refused(exhausted));
}

#[test]
fn a_rejection_can_be_reversed() {
    let mut scene = held(first_purchase_bonus());
    scene.reject("bea").unwrap();
    let outcome = scene.buy("bea", 1_000);
    assert_eq!(
        outcome.withheld(),
        [("bea", 0, ReferralNotCounted), ("ana", 1, ReferralNotCounted)]
    );
    // It still waits for the confirmation of the address.
    scene.release("bea").unwrap();
    assert_eq!(hold_reasons(&scene, "bea"), [HoldReason::UnconfirmedEmail]);
    assert_eq!((counts(&scene, "ana"), scene.participant("ana").uses()), ((0, 1, 0), 1));
    scene.confirm("bea").unwrap();
    assert_eq!(
        (scene.status("bea"), counts(&scene, "ana")),
        (Some(ReferralStatus::Pending), (1, 0, 0))
    );
}

#[test]
fn a_rejected_referral_is_not_released_by_a_confirmation() {
    let mut scene = held(tiered_points());
    scene.reject("bea").unwrap();
    scene.confirm("bea").unwrap();
    assert_eq!(scene.status("bea"), Some(ReferralStatus::Rejected));
    scene.release("bea").unwrap();
    assert_eq!(scene.status("bea"), Some(ReferralStatus::Converted));
    assert_eq!(scene.participant("ana").earned_minor(), 10);
}

#[test]
fn what_has_converted_stays_whatever_is_decided_and_who_was_never_referred_has_nothing_to_decide() {
    let mut scene = held(first_purchase_bonus());
    scene.confirm("bea").unwrap();
    scene.reject("bea").unwrap();
    assert_eq!(
        (scene.status("bea"), counts(&scene, "ana")),
        (Some(ReferralStatus::Rejected), (0, 0, 0))
    );
    scene.release("bea").unwrap();
    scene.buy("bea", 1_000);
    assert_eq!(scene.status("bea"), Some(ReferralStatus::Converted));
    let before = scene.participant("bea");
    scene.reject("bea").unwrap();
    scene.release("bea").unwrap();
    assert_eq!(scene.participant("bea"), before);
    for name in ["ana", "nobody"] {
        scene.reject(name).unwrap();
        assert_eq!(scene.status(name), None);
    }
}

/// One flag of two says nothing about what the other one does.
#[test]
fn a_referral_with_two_flags_counts_when_both_are_released_whatever_the_order() {
    use crate::FraudDecision::{Rejected, Released};
    for (decisions, status) in [
        (vec![(0, Released)], ReferralStatus::Held),
        (vec![(1, Released)], ReferralStatus::Held),
        (vec![(1, Rejected), (1, Released)], ReferralStatus::Held),
        (vec![(0, Rejected), (1, Rejected), (1, Released)], ReferralStatus::Rejected),
        (vec![(1, Rejected), (0, Released)], ReferralStatus::Rejected),
        (vec![(1, Rejected), (0, Released), (1, Released)], ReferralStatus::Pending),
        (vec![(0, Released), (1, Released)], ReferralStatus::Pending),
    ] {
        let mut scene = Scene::of(first_purchase_bonus());
        scene.line(&["ana", "bea"]);
        let flags = ["one", "two"].map(|name| {
            let flag_id = FraudFlagId::parse(name).unwrap();
            let raised =
                FraudFlagRaised { consequence: FraudPolicy::Hold, ..Scene::flag_of("bea") };
            scene.memory.given::<FraudFlag>(&flag_id, FraudFlagEvent::FraudFlagRaised(raised));
            flag_id
        });
        let held = flags.iter().map(|flag_id| FlagAgainst {
            flag_id: flag_id.clone(),
            rejects: false,
            takes_back: false,
        });
        hold(&mut scene, "bea", vec![HoldReason::Review], held.collect());
        for (index, decision) in &decisions {
            let flag_id = flags[*index].clone();
            let decision = *decision;
            let resolve = ResolveFraudFlag {
                flag_id,
                decision,
                reverses_rewards: false,
                note: None,
                may_deactivate_staff: false,
            };
            scene.tell(&Command::ResolveFraudFlag(Box::new(resolve))).unwrap();
        }
        assert_eq!(scene.status("bea"), Some(status), "{decisions:?}");
        let taken = u32::from(status != ReferralStatus::Rejected);
        assert_eq!(scene.participant("ana").uses(), taken, "{decisions:?}");
    }
}

#[test]
fn the_place_of_somebody_who_was_erased_is_free_again_after_a_rejection() {
    let mut scene = held(ProgramRules { max_uses_per_code: Some(1), ..first_purchase_bonus() });
    scene.erase("bea", false).unwrap();
    scene.release("bea").unwrap();
    assert_eq!(scene.participant("ana").uses(), 1);
    scene.reject("bea").unwrap();
    assert_eq!((counts(&scene, "ana"), scene.participant("ana").uses()), ((0, 0, 0), 0));
    scene.release("bea").unwrap();
    assert_eq!(scene.participant("ana").uses(), 0);
}

#[test]
fn a_released_referral_counts_as_if_it_had_just_been_made() {
    // Under the rules of now, and for a referrer as they are now.
    let mut scene = held(first_purchase_bonus());
    scene.publish(PROGRAM, ProgramRules { unit: "USD".into(), ..tiered_points() }).unwrap();
    let mark = scene.memory.log().len();
    scene.confirm("bea").unwrap();
    assert_eq!(scene.since(mark).granted(), [("ana", 1, 10)]);

    let mut scene = held(tiered_points());
    scene.deactivate("ana");
    scene.confirm("bea").unwrap();
    scene.reactivate("ana");
    assert_eq!(
        (scene.participant("ana").tier_referrals().made, counts(&scene, "ana")),
        (0, (0, 0, 1))
    );
}

#[test]
fn a_purchase_while_the_referral_is_held_is_withheld_for_it_and_uses_up_the_first() {
    let mut scene = held(first_purchase_bonus());
    let outcome = scene.buy("bea", 1_000);
    assert_eq!(outcome.withheld(), [("bea", 0, ReferralHeld), ("ana", 1, ReferralHeld)]);
    assert_eq!(scene.participant("bea").balance_minor(), 1_000);
    scene.confirm("bea").unwrap();
    let second = scene.buy("bea", 1_000);
    assert_eq!(second.withheld(), [("bea", 0, NotFirstPurchase), ("ana", 1, NotFirstPurchase)]);
}

#[test]
fn where_nothing_is_made_up_for_a_held_purchase_is_like_one_before_the_referral() {
    let rules = ProgramRules { make_up_held_purchases: false, ..first_purchase_bonus() };
    let mut scene = held(rules);
    let bought = scene.memory.now();
    scene.buy("bea", 1_000);
    scene.memory.set_now(scene.memory.now().plus_seconds(3_600));
    scene.confirm("bea").unwrap();
    // Recorded late: it was made before the release.
    let late = scene.buy_at("bea", 1_000, bought);
    assert_eq!(late.withholdings[0].reason, crate::reward::WithheldReason::BeforeReferral);
    let first = scene.buy("bea", 1_000);
    assert_eq!(
        (first.granted(), first.converted),
        (vec![("bea", 0, 1_000), ("ana", 1, 1_000)], true)
    );
}

#[test]
fn a_first_purchase_while_held_is_made_up_for_once_and_converts() {
    let mut scene = held(first_purchase_bonus());
    scene.purchase("first", "bea", 1_000, "USD", None).unwrap();
    let nothing = scene.make_up("first");
    assert_eq!((nothing.granted(), nothing.withheld()), (vec![], vec![]), "bea is held");
    scene.confirm("bea").unwrap();
    assert!(!scene.buy("bea", 2_000).converted, "the first purchase was another one");
    let outcome = scene.make_up("first");
    assert_eq!(outcome.granted(), [("bea", 0, 1_000), ("ana", 1, 1_000)]);
    assert_eq!((outcome.converted, counts(&scene, "ana")), (true, (0, 0, 1)));
    let mark = scene.memory.log().len();
    assert_eq!(scene.make_up("first").granted(), []);
    assert_eq!(scene.memory.log().len(), mark, "nothing is recorded the second time");
    let purchase = scene.memory.state::<Purchase>(&PurchaseId::parse("first").unwrap());
    let outcome = &purchase.outcomes()[0];
    assert_eq!((outcome.rewards.len(), outcome.converted), (2, true));
}

#[test]
fn purchases_of_people_below_are_made_up_for_those_above_the_held_referral() {
    let mut scene = Scene::of(confirmed_only(multi_level_commission()));
    scene.line(&["ana", "bea"]);
    scene.refer("bea", "cem");
    scene.purchase("both", "cem", 100_000, "INR", None).unwrap();
    scene.confirm("cem").unwrap();
    scene.purchase("above", "cem", 200_000, "INR", None).unwrap();
    // Bea's part of the first one can be made up for already, ana's not yet.
    assert_eq!(scene.make_up("both").granted(), [("bea", 1, 5_000)]);
    assert_eq!(scene.make_up("both").granted(), []);
    assert_eq!(scene.make_up("above").granted(), []);
    scene.confirm("bea").unwrap();
    assert_eq!(scene.make_up("both").granted(), [("ana", 2, 1_000)]);
    assert_eq!(scene.make_up("above").granted(), [("ana", 2, 2_000)]);
    assert_eq!(scene.participant("ana").earned_minor(), 3_000);
}

#[test]
fn what_is_made_up_for_goes_by_the_rules_of_the_purchase_and_the_earners_of_now() {
    let mut scene = held(first_purchase_bonus());
    scene.purchase("first", "bea", 1_000, "USD", None).unwrap();
    let mut rules = confirmed_only(first_purchase_bonus());
    rules.rewards[1].pay = crate::rules::Pay::FlatMinor(7);
    scene.publish(PROGRAM, rules).unwrap();
    scene.confirm("bea").unwrap();
    scene.deactivate("ana");
    let outcome = scene.make_up("first");
    assert_eq!(outcome.granted(), [("bea", 0, 1_000)]);
    assert_eq!(outcome.withheld(), [("ana", 1, EarnerInactive)]);
    assert_eq!(outcome.withholdings[0].computed_minor, Some(1_000));
    scene.reactivate("ana");
    assert_eq!(scene.make_up("first").granted(), [], "nothing is paid later");
}

#[test]
fn a_purchase_while_rejected_is_made_up_for_if_the_rejection_is_reversed() {
    let mut scene = held(first_purchase_bonus());
    scene.reject("bea").unwrap();
    scene.purchase("first", "bea", 1_000, "USD", None).unwrap();
    scene.confirm("bea").unwrap();
    assert_eq!(scene.make_up("first").granted(), []);
    scene.release("bea").unwrap();
    assert_eq!(scene.make_up("first").granted(), [("bea", 0, 1_000), ("ana", 1, 1_000)]);
}

#[test]
fn nothing_is_made_up_for_where_the_rules_of_the_purchase_say_so() {
    let mut scene = held(ProgramRules { make_up_held_purchases: false, ..first_purchase_bonus() });
    scene.purchase("first", "bea", 1_000, "USD", None).unwrap();
    scene.publish(PROGRAM, confirmed_only(first_purchase_bonus())).unwrap();
    scene.confirm("bea").unwrap();
    assert_eq!(scene.make_up("first").granted(), []);
    assert_eq!(scene.buy("bea", 1_000).granted().len(), 2);
}

#[test]
fn shares_that_are_made_up_for_never_exceed_the_purchase() {
    let mut rules = multi_level_commission();
    rules.minimum_purchase_minor = 0;
    for rule in &mut rules.rewards {
        (rule.pay, rule.cap_minor) = (crate::rules::Pay::RateBps(5_000), None);
    }
    let mut scene = Scene::of(confirmed_only(rules));
    scene.line(&["ana", "bea"]);
    scene.refer("bea", "cem");
    scene.confirm("cem").unwrap();
    assert_eq!(scene.purchase("odd", "cem", 3, "INR", None).unwrap().granted(), [("bea", 1, 2)]);
    scene.confirm("bea").unwrap();
    assert_eq!(scene.make_up("odd").granted(), [("ana", 2, 1)]);
}

#[test]
fn those_above_a_held_referral_get_nothing_from_below_it() {
    let mut scene = Scene::of(confirmed_only(multi_level_commission()));
    scene.line(&["ana", "bea"]);
    scene.refer("bea", "cem");
    scene.confirm("cem").unwrap();
    let outcome = scene.buy("cem", 100_000);
    assert_eq!(outcome.granted(), [("bea", 1, 5_000)]);
    assert_eq!(outcome.withheld(), [("ana", 2, ReferralHeld)]);
    scene.confirm("bea").unwrap();
    assert_eq!(scene.buy("cem", 100_000).granted(), [("bea", 1, 5_000), ("ana", 2, 1_000)]);
}

#[test]
fn a_code_is_as_valid_for_who_must_confirm_as_for_others() {
    let scene = held(tiered_points());
    let code = scene.code("ana");
    assert_eq!(scene.fault(&code, None), None);
    assert_eq!(scene.fault(&code, Some("bea")), None, "the code through which bea came");
}

#[test]
fn the_events_of_a_held_referral_name_the_status_on_both_streams() {
    let mut scene = held(first_purchase_bonus());
    let made = scene.memory.participant_events_since(0).find_map(|(_, event)| match event {
        ParticipantEvent::ReferralMade(made) => Some(made.clone()),
        _ => None,
    });
    let expected = ReferralMade {
        referee_user_id: user("bea"),
        status: ReferralStatus::Held,
        uses: 1,
        made_while_inactive: false,
    };
    assert_eq!(made, Some(expected));
    let mark = scene.memory.log().len();
    scene.reject("bea").unwrap();
    let of_streams: Vec<_> = scene
        .memory
        .participant_events_since(mark)
        .map(|(id, event)| match event {
            ParticipantEvent::ReferralStandingChanged(changed) => {
                (id.id.to_string(), changed.status)
            }
            ParticipantEvent::ReferralUpdated(updated) => (id.id.to_string(), updated.status),
            other => panic!("{other:?}"),
        })
        .collect();
    let rejected = ReferralStatus::Rejected;
    let stream = |name| Scene::id(name).to_string();
    assert_eq!(of_streams, [(stream("bea"), rejected), (stream("ana"), rejected)]);
}
