//! The store of a program, with numbers.

use super::expiry::{expiring, lot, scene_of};
use super::{multi_level_commission, tiered_points};
use crate::decide::{AdjustBalance, Command, PublishItem, Redeem};
use crate::tests::scene::{PROGRAM, Scene, member, program, refused, user};
use crate::{
    AdjustmentId, EntryKind, Halt, ItemId, ItemTerms, ParticipantEvent, ProgramRedemptionId,
    Redemption, RedemptionId, RedemptionState, Refusal, Staff, StoreItem, StoreItemId,
};

fn item(id: &str) -> StoreItemId {
    StoreItemId { program_id: program(PROGRAM), item_id: ItemId::parse(id).unwrap() }
}

pub(super) fn redemption(id: &str) -> ProgramRedemptionId {
    let redemption_id = RedemptionId::parse(id).unwrap();
    ProgramRedemptionId { program_id: program(PROGRAM), redemption_id }
}

pub(super) fn mug() -> ItemTerms {
    ItemTerms {
        name: "A mug".into(),
        description: None,
        cost_minor: 2_000,
        stock: None,
        per_person_limit: None,
        from_tier: None,
        is_available: true,
    }
}

impl Scene {
    pub(super) fn publish_item(
        &mut self,
        id: &str,
        unit: &str,
        terms: ItemTerms,
    ) -> Result<(), Halt> {
        let publish = PublishItem { id: item(id), unit: unit.into(), terms };
        self.tell(&Command::PublishItem(Box::new(publish)))
    }

    pub(super) fn redeem(&mut self, name: &str, id: &str, item_id: &str) -> Result<(), Halt> {
        self.redeem_for(name, id, item_id, None)
    }

    fn redeem_for(
        &mut self,
        name: &str,
        id: &str,
        item_id: &str,
        expected_cost: Option<(i64, String)>,
    ) -> Result<(), Halt> {
        let item_id = ItemId::parse(item_id).unwrap();
        let redeem = Redeem { id: redemption(id), user_id: user(name), item_id, expected_cost };
        self.tell(&Command::Redeem(redeem))
    }

    fn fulfil(&mut self, id: &str) -> Result<(), Halt> {
        self.tell(&Command::FulfilRedemption(redemption(id)))
    }

    pub(super) fn call_off(&mut self, id: &str) -> Result<(), Halt> {
        self.tell(&Command::CancelRedemption(redemption(id)))
    }

    pub(super) fn give(&mut self, name: &str, id: &str, amount_minor: i64) {
        let adjust = AdjustBalance {
            participant: member(name),
            adjustment_id: AdjustmentId::parse(id).unwrap(),
            amount_minor,
            currency_code: self.unit(),
            reason_code: "test".into(),
            note: None,
            by: Staff::default(),
            limit_minor: i64::MAX,
        };
        self.tell(&Command::AdjustBalance(Box::new(adjust))).unwrap();
    }

    fn unit(&self) -> String {
        let program = self.memory.state::<crate::Program>(&program(PROGRAM));
        program.current().unwrap().rules.unit.clone()
    }

    fn taken(&self, id: &str) -> u32 {
        self.memory.state::<StoreItem>(&item(id)).taken()
    }
}

/// A scene in which ana has earned 5000 from a purchase of bob's.
fn with_earnings() -> Scene {
    let mut scene = Scene::of(multi_level_commission());
    scene.line(&["ana", "bob"]);
    assert_eq!(scene.buy("bob", 100_000).granted(), [("ana", 1, 5_000)]);
    scene
}

fn is_repetition(answer: &Result<(), Halt>) -> bool {
    matches!(answer, Err(Halt::AlreadyRecorded(_)))
}

fn poor(name: &str, available_minor: i64) -> Result<(), Halt> {
    refused(Refusal::InsufficientBalance { id: member(name), available_minor, cost_minor: 2_000 })
}

#[test]
fn a_redemption_takes_what_the_item_costs_from_what_is_available_and_never_more() {
    let mut scene = with_earnings();
    scene.publish_item("mug", "INR", mug()).unwrap();
    let mark = scene.memory.log().len();
    scene.redeem("ana", "one", "mug").unwrap();
    let events: Vec<_> = scene.memory.participant_events_since(mark).collect();
    let [(_, ParticipantEvent::BalanceSpent(spent))] = &events[..] else { panic!("{events:?}") };
    assert_eq!((spent.posting.kind, spent.posting.amount), (EntryKind::Redemption, -2_000));
    assert_eq!((spent.redemption_id.as_str(), spent.item_count), ("one", 1));
    scene.redeem("ana", "two", "mug").unwrap();
    assert_eq!(scene.redeem("ana", "three", "mug"), poor("ana", 1_000));
    let ana = scene.participant("ana");
    assert_eq!((ana.buckets().available, ana.buckets().spent), (1_000, 4_000));
    assert_eq!((ana.earned_minor(), ana.redeemed(&item("mug").item_id)), (5_000, 2));
    assert!(ana.buckets().reconcile());
    assert_eq!(scene.taken("mug"), 2);
    // Who owes something has nothing to spend, and exactly enough is enough.
    scene.give("ana", "debt", -2_000);
    assert_eq!(scene.redeem("ana", "four", "mug"), poor("ana", -1_000));
    scene.give("ana", "gift", 3_000);
    scene.redeem("ana", "four", "mug").unwrap();
    assert_eq!(scene.participant("ana").buckets().available, 0);
}

#[test]
fn the_same_redemption_again_is_a_repetition_and_another_under_its_id_is_refused() {
    let mut scene = with_earnings();
    scene.publish_item("mug", "INR", mug()).unwrap();
    scene.publish_item("cap", "INR", mug()).unwrap();
    scene.redeem("ana", "one", "mug").unwrap();
    let reused = || refused(Refusal::RedemptionIdReused(redemption("one")));
    for _ in 0..2 {
        assert!(is_repetition(&scene.redeem("ana", "one", "mug")));
        assert_eq!(scene.redeem("ana", "one", "cap"), reused());
        assert_eq!(scene.redeem("bob", "one", "mug"), reused());
        // Whatever became of it.
        let _ = scene.call_off("one");
    }
    assert_eq!(scene.participant("ana").buckets().available, 5_000);
}

#[test]
fn a_cancellation_gives_back_money_stock_and_limit_once() {
    let mut scene = with_earnings();
    let last = ItemTerms { stock: Some(1), per_person_limit: Some(1), ..mug() };
    scene.publish_item("mug", "INR", last).unwrap();
    scene.redeem("ana", "one", "mug").unwrap();
    let limit = || refused(Refusal::ItemLimitReached { id: item("mug"), limit: 1 });
    assert_eq!(scene.redeem("ana", "two", "mug"), limit());
    scene.give("bob", "gift", 9_000);
    let none = || refused(Refusal::OutOfStock { id: item("mug"), stock: 1 });
    assert_eq!(scene.redeem("bob", "two", "mug"), none());
    scene.call_off("one").unwrap();
    for _ in 0..2 {
        assert!(is_repetition(&scene.call_off("one")));
    }
    let ana = scene.participant("ana");
    assert_eq!((ana.buckets().available, ana.buckets().spent), (5_000, 0));
    assert_eq!((ana.redeemed(&item("mug").item_id), scene.taken("mug")), (0, 0));
    let fulfil = scene.fulfil("one");
    assert_eq!(fulfil, refused(Refusal::RedemptionIsCancelled(redemption("one"))));

    scene.redeem("ana", "three", "mug").unwrap();
    scene.fulfil("three").unwrap();
    assert!(is_repetition(&scene.fulfil("three")));
    let cancel = scene.call_off("three");
    assert_eq!(cancel, refused(Refusal::RedemptionIsFulfilled(redemption("three"))));
    let state = scene.memory.state::<Redemption>(&redemption("three")).state();
    assert_eq!(state, RedemptionState::Fulfilled);
    for unknown in [scene.fulfil("unknown"), scene.call_off("unknown")] {
        assert_eq!(unknown, refused(Refusal::RedemptionNotFound(redemption("unknown"))));
    }
}

#[test]
fn what_was_paid_is_given_back_whatever_the_item_costs_now() {
    let mut scene = with_earnings();
    scene.publish_item("mug", "INR", mug()).unwrap();
    scene.redeem("ana", "one", "mug").unwrap();
    let dear = ItemTerms { cost_minor: 9_000, is_available: false, ..mug() };
    scene.publish_item("mug", "INR", dear).unwrap();
    scene.call_off("one").unwrap();
    assert_eq!(scene.participant("ana").buckets().available, 5_000);
    let hidden = scene.redeem("ana", "two", "mug");
    assert_eq!(hidden, refused(Refusal::ItemNotAvailable(item("mug"))));
}

#[test]
fn an_item_that_costs_something_else_than_was_shown_is_not_redeemed() {
    let mut scene = with_earnings();
    scene.publish_item("mug", "INR", mug()).unwrap();
    let shown = |cost_minor: i64| Some((cost_minor, "INR".to_owned()));
    let cost_minor = mug().cost_minor;
    scene.redeem_for("ana", "one", "mug", shown(cost_minor)).unwrap();
    let dear = ItemTerms { cost_minor: cost_minor + 1, ..mug() };
    scene.publish_item("mug", "INR", dear).unwrap();
    let changed = |cost_minor| {
        let (id, unit) = (item("mug"), "INR".to_owned());
        refused(Refusal::ItemCostChanged { id, cost_minor, unit })
    };
    assert_eq!(scene.redeem_for("ana", "two", "mug", shown(cost_minor)), changed(cost_minor + 1));
    let other_unit = Some((cost_minor + 1, "USD".to_owned()));
    let (program_id, unit) = (program(PROGRAM), "INR".into());
    let not_the_unit = Refusal::NotTheUnit { field: "expected_cost", program_id, unit };
    assert_eq!(scene.redeem_for("ana", "two", "mug", other_unit), refused(not_the_unit));
    scene.redeem_for("ana", "two", "mug", shown(cost_minor + 1)).unwrap();
    // The first answer, whatever was shown.
    let again = scene.redeem_for("ana", "one", "mug", shown(1));
    assert!(matches!(again, Err(Halt::AlreadyRecorded(_))), "{again:?}");
}

#[test]
fn a_limit_that_comes_later_counts_what_was_redeemed_before() {
    let mut scene = with_earnings();
    scene.publish_item("mug", "INR", mug()).unwrap();
    scene.redeem("ana", "one", "mug").unwrap();
    let limited = ItemTerms { per_person_limit: Some(1), ..mug() };
    scene.publish_item("mug", "INR", limited).unwrap();
    let limit = refused(Refusal::ItemLimitReached { id: item("mug"), limit: 1 });
    assert_eq!(scene.redeem("ana", "two", "mug"), limit);
}

#[test]
fn an_item_from_a_tier_on_is_for_those_who_have_reached_it() {
    let mut scene = Scene::of(tiered_points());
    scene.line(&["ana", "bob"]);
    let wrong = ItemTerms { from_tier: Some("Platinum".into()), ..mug() };
    let unknown = Refusal::TierNotFound { program_id: program(PROGRAM), tier: "Platinum".into() };
    assert_eq!(scene.publish_item("mug", "POINTS", wrong), refused(unknown));
    for (id, tier) in [("mug", "Silver"), ("pen", "Bronze"), ("car", "Gold")] {
        let terms = ItemTerms { from_tier: Some(tier.into()), ..mug() };
        scene.publish_item(id, "POINTS", terms).unwrap();
    }
    scene.give("ana", "gift", 100_000);
    let low = |id: &str, from_tier: &str, tier: &str| {
        let (from_tier, tier) = (from_tier.into(), tier.into());
        refused(Refusal::TierTooLow { id: item(id), from_tier, tier })
    };
    assert_eq!(scene.redeem("ana", "one", "mug"), low("mug", "Silver", "Bronze"));
    scene.redeem("ana", "one", "pen").unwrap();
    for number in 0..9 {
        scene.refer("ana", &format!("u{number}"));
    }
    assert_eq!(scene.participant("ana").tier(), Some("Silver"));
    scene.redeem("ana", "two", "mug").unwrap();
    scene.redeem("ana", "three", "pen").unwrap();
    assert_eq!(scene.redeem("ana", "four", "car"), low("car", "Gold", "Silver"));

    // Rules without that tier say nothing about who has reached it.
    let mut rules = tiered_points();
    if let crate::rules::Pay::Tiers(tiers) = &mut rules.rewards[0].pay {
        tiers[1].name = "Steel".into();
    }
    scene.publish(PROGRAM, rules).unwrap();
    let gone = refused(Refusal::ItemNotAvailable(item("mug")));
    assert_eq!(scene.redeem("ana", "five", "mug"), gone);
}

#[test]
fn inactive_flagged_erased_and_unknown_people_redeem_nothing() {
    let mut scene = with_earnings();
    scene.publish_item("mug", "INR", mug()).unwrap();
    for name in ["ana", "bob"] {
        scene.give(name, "gift", 9_000);
    }
    scene.redeem("ana", "one", "mug").unwrap();
    scene.deactivate("ana");
    let inactive = refused(Refusal::UserInactive(user("ana")));
    assert_eq!(scene.redeem("ana", "two", "mug"), inactive);
    // What was redeemed before can be given back, though.
    scene.call_off("one").unwrap();

    scene.reactivate("ana");
    scene.redeem("ana", "three", "mug").unwrap();
    scene.erase("ana", true).unwrap();
    let gone = || refused(Refusal::UserNotFound(user("ana")));
    assert_eq!(scene.redeem("ana", "four", "mug"), gone());
    scene.fulfil("three").unwrap();

    scene.sign_up("zoe");
    assert_eq!(scene.redeem("zed", "five", "mug"), refused(Refusal::UserNotFound(user("zed"))));
    let unknown = refused(Refusal::ItemNotFound(item("cap")));
    assert_eq!(scene.redeem("zoe", "five", "cap"), unknown);
}

#[test]
fn whose_referral_a_flag_holds_or_rejects_redeems_nothing_until_it_is_released() {
    let mut scene = Scene::of(multi_level_commission());
    scene.publish_item("mug", "INR", mug()).unwrap();
    scene.line(&["ana", "bob"]);
    scene.give("bob", "gift", 9_000);
    scene.redeem("bob", "one", "mug").unwrap();
    scene.reject("bob").unwrap();
    let flagged = refused(Refusal::ReferralFlagged(member("bob")));
    assert_eq!(scene.redeem("bob", "two", "mug"), flagged);
    // Whoever referred them is not flagged.
    scene.give("ana", "gift", 2_000);
    scene.redeem("ana", "three", "mug").unwrap();
    scene.release("bob").unwrap();
    scene.redeem("bob", "two", "mug").unwrap();
}

#[test]
fn an_item_costs_the_programs_unit_and_keeps_its_versions() {
    let mut scene = with_earnings();
    let (program_id, unit) = (program(PROGRAM), "INR".to_owned());
    let dollars = scene.publish_item("mug", "USD", mug());
    assert_eq!(dollars, refused(Refusal::NotTheUnit { field: "cost", program_id, unit }));
    scene.publish_item("mug", "INR", mug()).unwrap();
    let mark = scene.memory.log().len();
    scene.publish_item("mug", "INR", mug()).unwrap();
    assert_eq!(scene.memory.log().len(), mark, "the same again changes nothing");
    scene.publish_item("mug", "INR", ItemTerms { stock: Some(5), ..mug() }).unwrap();
    assert_eq!(scene.memory.state::<StoreItem>(&item("mug")).version(), 2);
    scene.redeem("ana", "one", "mug").unwrap();
    let made = scene.memory.state::<Redemption>(&redemption("one")).made().cloned().unwrap();
    assert_eq!((made.item_version, made.cost_minor, &*made.unit), (2, 2_000, "INR"));
    let fewer = scene.publish_item("mug", "INR", ItemTerms { stock: Some(0), ..mug() });
    assert_eq!(fewer, refused(Refusal::StockBelowTaken { id: item("mug"), taken: 1 }));
}

#[test]
fn what_somebody_who_was_erased_redeemed_can_be_cancelled_and_is_forfeited() {
    let mut scene = with_earnings();
    let last = ItemTerms { stock: Some(1), ..mug() };
    scene.publish_item("mug", "INR", last).unwrap();
    scene.redeem("ana", "one", "mug").unwrap();
    scene.erase("ana", true).unwrap();
    let mark = scene.memory.log().len();
    scene.call_off("one").unwrap();
    let entries: Vec<_> = scene
        .memory
        .participant_events_since(mark)
        .map(|(_, event)| match event {
            ParticipantEvent::SpendingReturned(of) => (of.posting.kind, of.posting.amount),
            ParticipantEvent::BalanceForfeited(of) => (of.posting.kind, of.posting.amount),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(entries, [(EntryKind::Redemption, 2_000), (EntryKind::Expiry, -2_000)]);
    let ana = scene.participant("ana");
    assert_eq!((ana.buckets().available, ana.buckets().spent), (0, 0));
    assert!(ana.buckets().reconcile());
    assert_eq!(ana.redeemed(&item("mug").item_id), 0);
    assert!(is_repetition(&scene.call_off("one")));
    // The piece is there for somebody else.
    assert_eq!(scene.taken("mug"), 0);
    scene.give("bob", "gift", 2_000);
    scene.redeem("bob", "two", "mug").unwrap();
}

#[test]
fn nobody_pays_with_a_lot_that_is_over_also_if_nothing_has_let_it_expire() {
    let mut scene = scene_of(expiring());
    scene.publish_item("mug", "INR", mug()).unwrap();
    scene.order("one", "cem", 30_000, "INR");
    scene.at("2026-02-10T00:00:00Z");
    scene.order("two", "cem", 50_000, "INR");
    assert_eq!(scene.lots("bea"), [lot("2026-05-01", 1_500), lot("2026-06-01", 2_500)]);
    scene.at("2026-05-01T00:00:00Z");
    scene.redeem("bea", "a", "mug").unwrap();
    let bea = scene.participant("bea");
    assert_eq!((bea.buckets().available, bea.buckets().expired), (500, 1_500));
    assert_eq!(scene.lots("bea"), [lot("2026-06-01", 500)]);
    // What is refused lets nothing expire.
    scene.at("2026-06-01T00:00:00Z");
    let mark = scene.memory.log().len();
    assert_eq!(scene.redeem("bea", "b", "mug"), poor("bea", 0));
    assert_eq!(scene.memory.log().len(), mark);
}
