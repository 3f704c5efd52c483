//! Whatever the order in which refunds, disputes and holds of one purchase are reported, the state after them is the
//! same.

use std::collections::BTreeMap;

use proptest::prelude::*;

use crate::decide::{
    CancelRefund, CloseDispute, Command, EndHoldPeriod, HoldReward, OpenDispute, Price,
    RefundPurchase, RewardName,
};
use crate::rules::{EarnOn, FirstPurchaseUse, Pay, ProgramRules, RewardKind};
use crate::tests::programs::{first_purchase_bonus, multi_level_commission, rule, tier};
use crate::tests::scene::{PROGRAM, Scene, program, user};
use crate::{
    AnyAggregate, DisputeId, DisputeOutcome, Halt, Kind, Purchase, PurchaseId, RefundId, Refusal,
};

const BUYER: &str = "cem";
const ORDER: &str = "order";
const PAID: i64 = 200_000;
const HOLD_DAYS: u32 = 3;

/// Something that is reported about the purchase.
struct Report {
    command: Command,
    /// The number of the report without which this one is about something unknown.
    after: Option<usize>,
}

/// The amounts in the reports, and how the disputes end.
#[derive(Clone, Debug)]
struct Parts {
    refunds: [i64; 2],
    /// The second one is the amount to which the first is updated.
    disputed: [i64; 3],
    outcomes: [DisputeOutcome; 2],
    /// Whether refunds are reports of what has happened already, which are never refused.
    is_report: bool,
}

fn any_parts() -> impl Strategy<Value = Parts> {
    let amount = || prop_oneof![Just(1), Just(PAID / 2), Just(PAID / 2 + 1), Just(PAID), 1..PAID];
    let outcome = || {
        prop_oneof![
            Just(DisputeOutcome::Won),
            Just(DisputeOutcome::Withdrawn),
            Just(DisputeOutcome::Lost)
        ]
    };
    let refunds = [amount(), amount()];
    let disputed = [amount(), amount(), amount()];
    (refunds, disputed, [outcome(), outcome()], any::<bool>()).prop_map(
        |(refunds, disputed, outcomes, is_report)| Parts { refunds, disputed, outcomes, is_report },
    )
}

fn purchase_id() -> PurchaseId {
    PurchaseId::parse(ORDER).unwrap()
}

/// Everything that is reported. What an operator decides comes in the operator's order: a hold, then its release.
fn reports(scene: &Scene, parts: &Parts) -> Vec<Report> {
    let purchase = scene.memory.state::<Purchase>(&purchase_id());
    let currency_code = purchase.recorded().unwrap().currency_code.clone();
    let price = |amount_minor| Some(Price { amount_minor, currency_code: currency_code.clone() });
    let refund = |id: &str, amount| {
        Command::RefundPurchase(RefundPurchase {
            purchase_id: purchase_id(),
            refund_id: RefundId::parse(id).unwrap(),
            amount: price(amount),
            is_report: parts.is_report,
            reason: None,
            own_programs: None,
        })
    };
    let cancel = Command::CancelRefund(CancelRefund {
        purchase_id: purchase_id(),
        refund_id: RefundId::parse("part-1").unwrap(),
        own_programs: None,
    });
    let open = |id: &str, amount| {
        Command::OpenDispute(OpenDispute {
            purchase_id: purchase_id(),
            dispute_id: DisputeId::parse(id).unwrap(),
            amount: price(amount),
            own_programs: None,
        })
    };
    let close = |id: &str, outcome| {
        Command::CloseDispute(CloseDispute {
            purchase_id: purchase_id(),
            dispute_id: DisputeId::parse(id).unwrap(),
            outcome,
            own_programs: None,
        })
    };
    let share = purchase.outcome_in(&program(PROGRAM)).unwrap().reward_on(1).unwrap().clone();
    let reward = HoldReward {
        reward: RewardName {
            program_id: program(PROGRAM),
            earner_user_id: share.earner_user_id,
            sequence: share.sequence,
            source_user_id: user(BUYER),
            purchase_id: Some(purchase_id()),
            level: 1,
        },
        note: None,
    };
    let end = Command::EndHoldPeriod(EndHoldPeriod {
        program_id: program(PROGRAM),
        source_user_id: user(BUYER),
        purchase_id: Some(purchase_id()),
    });
    let [first, updated, second] = parts.disputed;
    [
        (refund("part-1", parts.refunds[0]), None),
        (refund("part-2", parts.refunds[1]), None),
        (cancel, Some(0)),
        (open("dispute-1", first), None),
        (open("dispute-1", updated), Some(3)),
        (close("dispute-1", parts.outcomes[0]), Some(4)),
        (open("dispute-2", second), None),
        (close("dispute-2", parts.outcomes[1]), Some(6)),
        (Command::HoldReward(reward.clone()), None),
        (Command::ReleaseReward(reward), Some(8)),
        (end, None),
    ]
    .into_iter()
    .map(|(command, after)| Report { command, after })
    .collect()
}

/// The state of every stream.
fn exactly(scene: &Scene) -> BTreeMap<String, String> {
    let streams = scene.memory.streams();
    streams.map(|(key, state)| (key.to_string(), format!("{state:?}"))).collect()
}

/// The state of every stream, but for the order in which refunds and disputes are listed.
fn as_a_set(scene: &Scene) -> BTreeMap<String, String> {
    let mut streams = exactly(scene);
    for (key, state) in scene.memory.streams() {
        if key.kind != Kind::Purchase {
            continue;
        }
        let AnyAggregate::Purchase(purchase) = state else { panic!("{key} is a purchase") };
        let mut refunds: Vec<_> =
            purchase.money_back().refunds().iter().map(|of| format!("{of:?}")).collect();
        let mut disputes: Vec<_> =
            purchase.money_back().disputes().iter().map(|of| format!("{of:?}")).collect();
        refunds.sort();
        disputes.sort();
        let shown = format!(
            "{:?} {:?} {:?} {refunds:?} {disputes:?}",
            purchase.recorded(),
            purchase.terms(),
            purchase.outcomes()
        );
        streams.insert(key.to_string(), shown);
    }
    streams
}

/// A state that some orders end in.
struct Reached {
    orders: u64,
    scene: Scene,
    state: BTreeMap<String, String>,
}

/// Takes the reports in every order that is accepted, and returns in how many all of them were. Scenes that agree in
/// every stream go on in the same way, so that each of them is continued once.
fn in_all_orders(scene: Scene, reports: &[Report]) -> u64 {
    let state = exactly(&scene);
    let mut reached = BTreeMap::from([(0_u32, vec![Reached { orders: 1, scene, state }])]);
    for _ in reports {
        let mut next = BTreeMap::<u32, Vec<Reached>>::new();
        for (taken, from) in &reached {
            for (number, report) in reports.iter().enumerate() {
                let is_known = report.after.is_none_or(|after| taken & (1 << after) != 0);
                if taken & (1 << number) != 0 || !is_known {
                    continue;
                }
                let same = next.entry(taken | (1 << number)).or_default();
                for Reached { orders, scene, .. } in from {
                    let mut scene = scene.clone();
                    match scene.tell(&report.command) {
                        Ok(()) | Err(Halt::AlreadyRecorded(_)) => {}
                        Err(Halt::Refused(Refusal::RefundExceedsPurchase { .. })) => continue,
                        Err(halt) => panic!("{:?} came to {halt:?}", report.command),
                    }
                    let state = exactly(&scene);
                    if let Some(known) = same.iter_mut().find(|known| known.state == state) {
                        known.orders += orders;
                        continue;
                    }
                    if let Some(first) = same.first() {
                        let (first, this) = (as_a_set(&first.scene), as_a_set(&scene));
                        assert_eq!(first, this, "after {:?}", report.command);
                    }
                    same.push(Reached { orders: *orders, scene, state });
                }
            }
        }
        reached = next;
    }
    reached.values().flatten().map(|reached| reached.orders).sum()
}

/// Ana referred Bea, who referred Cem, whose purchase is reported about after its hold period. Bea has other rewards.
fn bought(rules: ProgramRules) -> Scene {
    let currency = rules.purchase_currency_code.clone().unwrap();
    let mut scene = Scene::of(ProgramRules { hold_days: Some(HOLD_DAYS), ..rules });
    scene.line(&["ana", "bea", BUYER]);
    for other in ["dan", "eva"] {
        scene.refer("bea", other);
        scene.buy(other, 9 * PAID);
    }
    scene.purchase(ORDER, BUYER, PAID, &currency, None).unwrap();
    let later = scene.memory.now().plus_seconds(i64::from(HOLD_DAYS) * 24 * 60 * 60);
    scene.memory.set_now(later);
    scene
}

/// Programs that give back in each of the ways that there are.
fn programs() -> Vec<ProgramRules> {
    // Of the commission for the purchase only a part is left under the cap.
    let mut capped = multi_level_commission();
    capped.rewards[0].cap_minor = Some(185_000);
    let generous = ProgramRules { reverse_below_minimum: false, ..capped.clone() };
    let minimum_purchase_minor = PAID / 2;
    let bonus = ProgramRules { minimum_purchase_minor, ..first_purchase_bonus() };
    let used_by = FirstPurchaseUse::AnyPurchase;
    let tiers = vec![tier("Reed", 0, 10, 0), tier("River", 3, 15, 100)];
    let points = ProgramRules {
        earn_on: EarnOn::FirstPurchase { used_by },
        credit_purchases: false,
        rewards: vec![
            rule("share", 0, RewardKind::Commission, Pay::RateBps(333)),
            rule("points", 1, RewardKind::Points, Pay::Tiers(tiers)),
            rule("count", 2, RewardKind::Bonus, Pay::FlatMinor(7)),
        ],
        ..bonus.clone()
    };
    vec![capped, generous, bonus, points]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 6, ..ProptestConfig::default() })]

    #[test]
    fn reports_about_one_purchase_end_in_the_same_state_in_every_order(parts in any_parts()) {
        for rules in programs() {
            let scene = bought(rules);
            let reports = reports(&scene, &parts);
            let orders = in_all_orders(scene, &reports);
            // Nothing but a refund that is no report can be refused.
            if parts.is_report {
                prop_assert_eq!(orders, ALL_ORDERS);
            }
        }
    }
}

/// The orders of eleven reports, of which three come after one another, and three times two.
const ALL_ORDERS: u64 = 39_916_800 / (6 * 2 * 2 * 2);
