//! The store: logs of the domain's own decisions have no deviation, and without a consequence they have one.

use domain::decide::{Command, PublishItem, Redeem};
use domain::{
    ItemId, ItemTerms, ProgramId, ProgramRedemptionId, RedemptionId, StoreItemId, UserId,
};
use serde_json::json;

use super::scene::{Scene, deviations, faults, rate, rules, without_type};
use crate::store::RecordedEvent;

fn program() -> ProgramId {
    ProgramId::parse("p").unwrap()
}

fn mug() -> ItemId {
    ItemId::parse("mug").unwrap()
}

fn redemption(id: &str) -> ProgramRedemptionId {
    ProgramRedemptionId { program_id: program(), redemption_id: RedemptionId::parse(id).unwrap() }
}

impl Scene {
    fn redeem(&mut self, name: &str, id: &str) -> bool {
        let user_id = UserId::parse(name).unwrap();
        self.tell(&Command::Redeem(Redeem {
            id: redemption(id),
            user_id,
            item_id: mug(),
            expected_cost: None,
        }))
    }

    fn call_off(&mut self, id: &str) -> bool {
        self.tell(&Command::CancelRedemption(redemption(id)))
    }

    fn has(&self, event_type: &str) -> bool {
        self.memory.log.iter().any(|event| &*event.event_type == event_type)
    }
}

/// Ada has 100 that expire in two months and 100 that do a month later, and a mug costs 100.
fn shop() -> Scene {
    let changes = json!({ "rewards": [rate(1, 1_000, None)], "expire_months": 2 });
    let mut scene = Scene::of(&rules(&changes));
    scene.line(&["ada", "bob"]);
    let terms = ItemTerms {
        name: "A mug".into(),
        description: None,
        cost_minor: 100,
        stock: Some(5),
        per_person_limit: None,
        from_tier: None,
        is_available: true,
    };
    let id = StoreItemId { program_id: program(), item_id: mug() };
    let publish = PublishItem { id, unit: "USD".into(), terms };
    assert!(scene.tell(&Command::PublishItem(Box::new(publish))));
    assert!(scene.buy("one", "bob", 1_000));
    scene.days_pass(30);
    assert!(scene.buy("two", "bob", 1_000));
    scene
}

fn is_right(scene: &Scene) {
    assert_eq!(scene.deviations(), [""; 0]);
    assert_eq!(faults(&scene.memory.log), [""; 0]);
}

fn is_found(log: &[RecordedEvent], what: &str) {
    let found = deviations(log);
    assert!(found.iter().any(|found| found.contains(what)), "{what}: {found:#?}");
}

#[test]
fn what_comes_back_to_somebody_who_was_erased_must_be_forfeited() {
    let mut scene = shop();
    assert!(scene.redeem("ada", "a") && scene.redeem("ada", "b"));
    assert!(scene.call_off("a"));
    assert!(!scene.has("BalanceForfeited"));
    is_right(&scene);
    assert!(scene.redeem("ada", "c"));
    assert!(scene.erase("ada"));
    assert!(!scene.has("BalanceForfeited"), "nothing is left");
    assert!(scene.call_off("b") && scene.call_off("c"));
    is_right(&scene);
    let log = &scene.memory.log;
    is_found(&without_type(log, "BalanceForfeited"), "expected BalanceForfeited");
    is_found(&without_type(log, "SpendingReturned"), "expected SpendingReturned");
}

#[test]
fn lots_that_are_over_may_expire_in_the_command_that_redeems() {
    let mut scene = shop();
    scene.days_pass(60);
    assert!(scene.redeem("ada", "a"));
    assert!(scene.has("BalanceExpired"));
    assert!(!scene.redeem("ada", "b"), "what is over pays for nothing");
    is_right(&scene);
    is_found(&without_type(&scene.memory.log, "BalanceExpired"), "a lot: the next is 100 at");
}
