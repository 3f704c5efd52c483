//! Random histories: those of the domain's own decisions have no deviation, and each with a changed posting has.

use domain::DisputeOutcome;
use domain::decide::Report;
use serde_json::{Value, json};

use super::scene::{
    Scene, cancelled, closed, deviations, disputed, faults, flat, is_valid, rate, refunded, rules,
    tiers, without,
};
use crate::store::RecordedEvent;

/// The generator `SplitMix64` of Steele, Lea and Flood (2014).
pub(super) fn next(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mut mixed = *state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ (mixed >> 31)
}

struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(next(&mut self.0) % u64::try_from(bound).unwrap()).unwrap()
    }

    fn amount(&mut self, bound: usize) -> i64 {
        i64::try_from(self.below(bound)).unwrap() + 1
    }

    fn pick<'a, T>(&mut self, of: &'a [T]) -> Option<&'a T> {
        if of.is_empty() { None } else { of.get(self.below(of.len())) }
    }

    fn is(&mut self) -> bool {
        self.below(2) == 0
    }
}

fn random_rules(dice: &mut Dice) -> Value {
    loop {
        let rules = any_rules(dice);
        if is_valid(&rules) {
            return rules;
        }
    }
}

/// Rules that may have faults.
fn any_rules(dice: &mut Dice) -> Value {
    let earn_on = [
        json!("referral"),
        json!("every_purchase"),
        json!("every_purchase"),
        json!({ "first_purchase": { "used_by": "any_purchase" } }),
        json!({ "first_purchase": { "used_by": "qualifying_purchase" } }),
    ];
    let earn_on = dice.pick(&earn_on).unwrap().clone();
    let is_by_referral = earn_on == "referral";
    let mut rewards = Vec::new();
    for level in 0..4 {
        let cap = dice.is().then(|| dice.amount(600));
        match dice.below(4) {
            0 => {}
            1 if level == 1 => rewards.push(tiers()),
            1 | 2 if !is_by_referral => {
                let bps = u32::try_from(dice.amount(3_000)).unwrap();
                rewards.push(rate(level, bps, cap));
            }
            _ => rewards.push(flat(level, dice.amount(300), cap)),
        }
    }
    if rewards.is_empty() {
        rewards.push(flat(1, 10, None));
    }
    let mut changes = json!({
        "earn_on": earn_on, "rewards": rewards,
        "credit_purchases": dice.is() && !is_by_referral,
        "require_confirmed_email": dice.below(4) == 0,
        "make_up_held_purchases": dice.below(4) > 0,
    });
    if !is_by_referral {
        changes["reverse_below_minimum"] = json!(dice.is());
        changes["minimum_purchase_minor"] = json!(if dice.is() { 0 } else { dice.amount(500) });
    }
    if dice.is() {
        changes["hold_days"] = json!(dice.amount(3));
    }
    if dice.is() {
        changes["expire_months"] = json!(dice.amount(3));
        let zones = ["UTC", "Asia/Kolkata", "America/New_York"];
        changes["time_zone"] = json!(dice.pick(&zones).unwrap());
    }
    rules(&changes)
}

/// What has gone back of a purchase before it was heard of.
fn went_back(dice: &mut Dice, id: &str) -> Vec<Report> {
    let mut back = Vec::new();
    for part in ["0", "1"] {
        if dice.is() {
            back.push(Report::Refunded(refunded(id, part, dice.amount(600))));
            if dice.is() {
                back.push(Report::RefundCancelled(cancelled(id, part)));
            }
        }
        // One of more than the price is refused, and the purchase with it.
        if dice.is() {
            back.push(Report::DisputeOpened(disputed(id, part, dice.amount(200))));
            if dice.is() {
                let outcome = if dice.is() { DisputeOutcome::Won } else { DisputeOutcome::Lost };
                back.push(Report::DisputeClosed(closed(id, part, outcome)));
            }
        }
    }
    back
}

/// A random history of one program.
fn history(dice: &mut Dice, steps: usize) -> Scene {
    let mut scene = Scene::of(&random_rules(dice));
    let mut users: Vec<String> = Vec::new();
    let mut purchases: Vec<String> = Vec::new();
    for step in 0..steps {
        let any_user = dice.pick(&users).cloned().unwrap_or_default();
        let any_purchase = dice.pick(&purchases).cloned().unwrap_or_default();
        let part = format!("{}", dice.below(3));
        match dice.below(40) {
            0..=5 => {
                let name = format!("u{step}");
                let referrer = Some(any_user.as_str()).filter(|name| !name.is_empty());
                if scene.sign_up(&name, referrer) {
                    users.push(name);
                }
            }
            _ if users.is_empty() => {}
            6..=13 => {
                let id = format!("o{step}");
                let amount_minor = dice.amount(1_000);
                let is_recorded = match dice.below(4) {
                    0 => {
                        let back = went_back(dice, &id);
                        scene.pay(&id, (&any_user, amount_minor), back)
                    }
                    _ => scene.buy(&id, &any_user, amount_minor),
                };
                if is_recorded {
                    purchases.push(id);
                }
            }
            14 => {
                scene.deactivate(&any_user);
            }
            15 => {
                scene.reactivate(&any_user);
            }
            16 if dice.below(4) == 0 => {
                scene.erase(&any_user);
                users.retain(|name| *name != any_user);
            }
            17 | 18 => {
                if scene.confirm(&any_user) {
                    for id in &purchases {
                        scene.make_up(id);
                    }
                }
            }
            19 if dice.below(3) == 0 => {
                let mut rules = random_rules(dice);
                rules["credit_purchases"] = json!(false);
                scene.publish(&rules);
            }
            20 => {
                let most = if dice.is() { 2 } else { 80 };
                scene.days_pass(dice.amount(most));
                for name in users.iter().filter(|_| dice.is()) {
                    scene.expire(name);
                }
            }
            21 | 22 => {
                if let Some(reward) = dice.pick(&scene.rewards()).cloned() {
                    scene.end_period(&reward);
                }
            }
            23..=26 => {
                if let Some(reward) = dice.pick(&scene.rewards()).cloned() {
                    scene.hold(&reward, dice.below(3) > 0);
                }
            }
            _ if purchases.is_empty() => {}
            27..=30 => {
                let amount = if dice.is() { 1_000 } else { dice.amount(600) };
                scene.refund(&any_purchase, &part, amount);
            }
            31..=33 => {
                scene.cancel(&any_purchase, &part);
            }
            34..=36 => {
                scene.dispute(&any_purchase, &part, dice.amount(600));
            }
            _ => {
                let outcomes =
                    [DisputeOutcome::Won, DisputeOutcome::Lost, DisputeOutcome::Withdrawn];
                let outcome = *dice.pick(&outcomes).unwrap();
                scene.close(&any_purchase, &part, outcome);
            }
        }
    }
    scene
}

/// Changes one thing of an event that moves money: what is left can be right no longer.
fn change(dice: &mut Dice, log: &[RecordedEvent]) -> Option<Vec<RecordedEvent>> {
    let is_it = |event: &RecordedEvent| {
        matches!(
            &*event.event_type,
            "RewardReversed" | "RewardMoved" | "PurchaseCredited" | "BalanceExpired"
        )
    };
    let places: Vec<usize> = (0..log.len()).filter(|place| is_it(&log[*place])).collect();
    let place = *dice.pick(&places)?;
    // A lot that is over can be there a little longer.
    if dice.below(3) == 0 && &*log[place].event_type != "BalanceExpired" {
        return Some(without(log, place));
    }
    let mut log = log.to_vec();
    let mut payload: Value = serde_json::from_str(&log[place].payload).unwrap();
    let posting = &mut payload["posting"];
    if dice.is() && posting.get("expire_time_us").is_some() {
        let lot = posting["expire_time_us"].as_i64().unwrap();
        posting["expire_time_us"] = json!(lot + 1);
    } else if dice.is() || posting.get("from").is_some() {
        let amount = posting["amount"].as_i64().unwrap();
        posting["amount"] = json!(amount + if dice.is() { 1 } else { -1 });
    } else {
        let is_pending = posting.get("to").is_some_and(|to| to == "pending");
        posting["to"] = json!(if is_pending { "available" } else { "pending" });
    }
    log[place].payload = payload.to_string().into();
    Some(log)
}

#[test]
fn random_histories_have_no_deviation_and_each_changed_posting_is_one() {
    let (mut changes, mut kinds) = (0, std::collections::BTreeMap::<String, u32>::new());
    for seed in 0..100 {
        let mut dice = Dice(seed);
        let scene = history(&mut dice, 120);
        let log = &scene.memory.log;
        assert_eq!(deviations(log), [""; 0], "seed {seed}");
        assert_eq!(faults(log), [""; 0], "seed {seed}");
        for event in log {
            *kinds.entry(event.event_type.to_string()).or_default() += 1;
        }
        for _ in 0..3 {
            if let Some(changed) = change(&mut dice, log) {
                assert!(!deviations(&changed).is_empty(), "seed {seed}");
                changes += 1;
            }
        }
    }
    // What the histories are about does happen in them.
    assert!(changes > 200, "{changes} changes");
    for kind in [
        "RewardReversed",
        "RewardMoved",
        "ReferralUnconverted",
        "FirstPurchaseFreed",
        "HoldPeriodEnded",
        "PurchaseMadeUp",
        "ReferralRewardsChanged",
        "TierChanged",
        "DisputeClosed",
        "RefundCancelled",
        "ParticipantErased",
        "BalanceExpired",
    ] {
        assert!(kinds.get(kind).is_some_and(|count| *count > 5), "{kind}: {kinds:?}");
    }
    assert!(kinds.contains_key("PurchaseReinstated"), "rare: {kinds:?}");
}
