//! What was taken of lots and comes back: redemptions that are cancelled, and credits for purchases.

use proptest::prelude::*;

use super::expiry::{at, expiring, lasting, lot, scene_of};
use super::store::{mug, redemption};
use crate::rules::ProgramRules;
use crate::tests::scene::{PROGRAM, Scene};
use crate::{
    BalanceSpent, DisputeOutcome, Halt, ItemTerms, Lot, LotPart, ParticipantEvent, Posts,
    Redemption, Timestamp,
};

impl Scene {
    /// What somebody spent since a mark: from which lot, and how much.
    fn spent_since(&self, mark: usize) -> Vec<(Option<Timestamp>, i64)> {
        let spent = |event: &ParticipantEvent| match event {
            ParticipantEvent::BalanceSpent(BalanceSpent { posting, .. }) => {
                Some((posting.expire_time_us, posting.amount))
            }
            _ => None,
        };
        self.memory.participant_events_since(mark).filter_map(|(_, event)| spent(event)).collect()
    }

    fn offer(&mut self, id: &str, cost_minor: i64) {
        self.publish_item(id, "INR", ItemTerms { cost_minor, ..mug() }).unwrap();
    }

    /// What somebody owns apart from what explains it, with its lots.
    fn holding(&self, name: &str) -> (Vec<Lot>, i64, i64) {
        let participant = self.participant(name);
        let buckets = participant.buckets();
        assert!(buckets.reconcile());
        (participant.lots().as_slice().to_vec(), buckets.available, buckets.pending)
    }
}

/// Bea has 10000 that expire at the end of April, 5000 at the end of May, and 3000 that do not expire.
fn with_lots() -> Scene {
    let mut scene = scene_of(expiring());
    scene.order("one", "cem", 200_000, "INR");
    scene.at("2026-02-10T00:00:00Z");
    scene.order("two", "cem", 100_000, "INR");
    scene.give("bea", "gift", 3_000);
    scene.offer("car", 16_000);
    scene
}

#[test]
fn a_redemption_spends_lot_by_lot_and_remembers_the_parts() {
    let mut scene = with_lots();
    let mark = scene.memory.log().len();
    scene.redeem("bea", "r", "car").unwrap();
    let (may, june) = (Some(at("2026-05-01T00:00:00Z")), Some(at("2026-06-01T00:00:00Z")));
    let parts = [(may, 10_000), (june, 5_000), (None, 1_000)];
    assert_eq!(scene.spent_since(mark), parts.map(|(lot, amount)| (lot, -amount)));
    let state = scene.memory.state::<Redemption>(&redemption("r"));
    let parts = parts.map(|(expire_time, amount_minor)| LotPart { amount_minor, expire_time });
    assert_eq!(state.parts(), parts);
    assert_eq!((scene.lots("bea"), scene.money("bea").1), (vec![], 2_000));
}

#[test]
fn a_cancelled_redemption_gives_back_to_the_lots_that_it_came_from() {
    let mut scene = with_lots();
    let before = scene.holding("bea");
    scene.redeem("bea", "first", "car").unwrap();
    scene.call_off("first").unwrap();
    assert_eq!(scene.holding("bea"), before);

    scene.redeem("bea", "second", "car").unwrap();
    scene.at("2026-05-01T00:00:00Z");
    scene.expire("bea").unwrap();
    let mark = scene.memory.log().len();
    scene.call_off("second").unwrap();
    // What was in the first lot is in the present one.
    assert_eq!(scene.lots("bea"), [lot("2026-06-01", 5_000), lot("2026-09-01", 10_000)]);
    assert_eq!(scene.money("bea").1, 18_000);
    let returned = scene.memory.participant_events_since(mark);
    let amounts: Vec<_> = returned.map(|(_, event)| event.posting().unwrap().amount).collect();
    assert_eq!(amounts, [10_000, 5_000, 1_000]);
    scene.at("2026-09-01T00:00:00Z");
    scene.expire("bea").unwrap();
    assert_eq!(scene.money("bea").1, 3_000);
}

#[test]
fn what_is_spent_from_several_lots_that_are_over_comes_back_as_one_entry() {
    let mut scene = with_lots();
    scene.redeem("bea", "r", "car").unwrap();
    scene.at("2026-07-01T00:00:00Z");
    let mark = scene.memory.log().len();
    scene.call_off("r").unwrap();
    assert_eq!(scene.lots("bea"), [lot("2026-11-01", 15_000)]);
    assert_eq!(scene.memory.participant_events_since(mark).count(), 2);
    assert_eq!(scene.participant("bea").redeemed(&crate::ItemId::parse("car").unwrap()), 0);
}

#[test]
fn what_comes_back_where_nothing_expires_any_more_keeps_only_lots_that_are_not_over() {
    let mut scene = with_lots();
    scene.redeem("bea", "r", "car").unwrap();
    scene.publish(PROGRAM, lasting()).unwrap();
    scene.at("2026-05-01T00:00:00Z");
    scene.call_off("r").unwrap();
    assert_eq!((scene.lots("bea"), scene.money("bea").1), (vec![lot("2026-06-01", 5_000)], 18_000));
}

#[test]
fn what_comes_back_pays_a_debt_with_what_would_expire_next() {
    let mut scene = with_lots();
    scene.redeem("bea", "r", "car").unwrap();
    scene.refund("one", "a", 200_000).unwrap();
    assert_eq!(scene.money("bea").1, -8_000);
    scene.call_off("r").unwrap();
    assert_eq!(scene.lots("bea"), [lot("2026-05-01", 2_000), lot("2026-06-01", 5_000)]);
    assert_eq!(scene.money("bea").1, 8_000);
}

/// Rules by which the price of a purchase is credited to its buyer.
fn crediting() -> ProgramRules {
    ProgramRules { credit_purchases: true, ..expiring() }
}

#[test]
fn a_credit_is_taken_back_from_what_does_not_expire_and_comes_back_there() {
    let mut scene = scene_of(crediting());
    scene.order("one", "cem", 200_000, "INR");
    scene.order("own", "bea", 1_000, "INR");
    let may = [lot("2026-05-01", 10_000)];
    scene.refund("own", "a", 400).unwrap();
    scene.dispute("own", "d", 600).unwrap();
    assert_eq!(scene.lots("bea"), may);
    assert_eq!(scene.money("bea"), (600, 10_000, 10_000));
    scene.close("own", "d", DisputeOutcome::Won).unwrap();
    scene.cancel("own", "a").unwrap();
    assert_eq!(scene.lots("bea"), may);
    assert_eq!(scene.money("bea"), (0, 11_000, 10_000));
}

#[test]
fn a_credit_that_was_spent_is_taken_from_lots_and_goes_back_to_them() {
    let mut scene = scene_of(crediting());
    scene.order("one", "cem", 200_000, "INR");
    scene.order("own", "bea", 1_000, "INR");
    scene.offer("pen", 10_500);
    scene.redeem("bea", "r", "pen").unwrap();
    scene.at("2026-02-10T00:00:00Z");
    scene.order("two", "cem", 40_000, "INR");
    let june = |amount| (vec![lot("2026-06-01", amount)], 500 + amount);
    let held = |scene: &Scene| (scene.lots("bea"), scene.money("bea").1);
    assert_eq!(held(&scene), june(2_000));
    scene.dispute("own", "d", 1_000).unwrap();
    assert_eq!(held(&scene), (vec![lot("2026-06-01", 1_500)], 1_500));
    scene.close("own", "d", DisputeOutcome::Won).unwrap();
    assert_eq!(held(&scene), june(2_000));
    // A part that comes back goes to the lot first, because what does not expire was taken first.
    scene.refund("own", "a", 600).unwrap();
    scene.refund("own", "b", 200).unwrap();
    assert_eq!(held(&scene), (vec![lot("2026-06-01", 1_700)], 1_700));
    scene.cancel("own", "a").unwrap();
    assert_eq!(held(&scene), (vec![lot("2026-06-01", 2_000)], 2_300));
    scene.cancel("own", "b").unwrap();
    assert_eq!(held(&scene), june(2_000));
    // The lot is over when it comes back.
    scene.dispute("own", "e", 1_000).unwrap();
    scene.at("2026-06-02T00:00:00Z");
    scene.expire("bea").unwrap();
    scene.close("own", "e", DisputeOutcome::Withdrawn).unwrap();
    assert_eq!(held(&scene), (vec![lot("2026-10-01", 500)], 1_000));
}

/// A step in the life of bea, to whom the purchases of cem bring rewards.
#[derive(Clone, Debug)]
enum Step {
    /// Cem buys.
    Buy(i64),
    /// Bea buys.
    BuyOwn(i64),
    /// Bea redeems an item.
    Redeem(usize),
    /// One of these is cancelled.
    CallOff(usize),
    /// A part of one of the purchases of cem is refunded, or that is undone.
    Refund(usize),
    Undo(usize),
    /// The middle of the next month.
    NextMonth,
    Expire,
}

const COSTS: [(&str, i64); 3] = [("pen", 90), ("cup", 1_700), ("car", 9_000)];

fn any_step() -> impl Strategy<Value = Step> {
    let one_of = 0..12_usize;
    prop_oneof![
        3 => (1..300_000_i64).prop_map(Step::Buy),
        1 => (1..5_000_i64).prop_map(Step::BuyOwn),
        4 => (0..COSTS.len()).prop_map(Step::Redeem),
        3 => one_of.clone().prop_map(Step::CallOff),
        1 => one_of.clone().prop_map(Step::Refund),
        1 => one_of.prop_map(Step::Undo),
        2 => Just(Step::NextMonth),
        2 => Just(Step::Expire),
    ]
}

/// A scene in which steps are taken.
struct Life {
    scene: Scene,
    month: u32,
    own: usize,
    others: usize,
    redemptions: usize,
}

impl Life {
    fn of(rules: ProgramRules) -> Self {
        let mut scene = scene_of(rules);
        for (id, cost_minor) in COSTS {
            scene.offer(id, cost_minor);
        }
        Self { scene, month: 1, own: 0, others: 0, redemptions: 0 }
    }

    /// Takes a step. What the rules refuse does not happen.
    fn take(&mut self, step: &Step) {
        let scene = &mut self.scene;
        let answer: Result<(), Halt> = match step {
            Step::Buy(amount) => {
                self.others += 1;
                scene
                    .purchase(&format!("order-{}", self.others), "cem", *amount, "INR", None)
                    .map(drop)
            }
            Step::BuyOwn(amount) => {
                self.own += 1;
                scene.purchase(&format!("own-{}", self.own), "bea", *amount, "INR", None).map(drop)
            }
            Step::Redeem(item) => {
                self.redemptions += 1;
                scene.redeem("bea", &format!("r-{}", self.redemptions), COSTS[*item].0)
            }
            Step::CallOff(number) => {
                scene.call_off(&format!("r-{}", number % self.redemptions.max(1) + 1))
            }
            Step::Refund(number) if self.others > 0 => {
                scene.refund_half(&format!("order-{}", number % self.others + 1))
            }
            Step::Undo(number) if self.others > 0 => {
                scene.cancel(&format!("order-{}", number % self.others + 1), "half")
            }
            Step::Refund(_) | Step::Undo(_) => Ok(()),
            Step::NextMonth => {
                self.month += 1;
                let (year, month) = (2026 + (self.month - 1) / 12, (self.month - 1) % 12 + 1);
                scene.at(&format!("{year}-{month:02}-15T00:00:00Z"));
                Ok(())
            }
            Step::Expire => scene.expire("bea"),
        };
        assert!(!matches!(answer, Err(Halt::Broken(_))), "{answer:?}");
    }
}

impl Scene {
    fn refund_half(&mut self, order: &str) -> Result<(), Halt> {
        let id = crate::PurchaseId::parse(order).unwrap();
        let paid = self.memory.state::<crate::Purchase>(&id).recorded().unwrap().amount_minor;
        self.refund(order, "half", (paid / 2).max(1))
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn where_everything_expires_the_lots_are_always_what_is_available(
        steps in proptest::collection::vec(any_step(), 1..80),
    ) {
        let mut life = Life::of(expiring());
        for step in &steps {
            life.take(step);
            let (lots, available, _) = life.scene.holding("bea");
            prop_assert!(lots.iter().all(|lot| lot.amount_minor > 0), "{:?}", lots);
            let total: i64 = lots.iter().map(|lot| lot.amount_minor).sum();
            prop_assert_eq!(total, available.max(0), "{:?} after {:?}", lots, step);
        }
    }

    #[test]
    fn a_redemption_that_is_cancelled_at_once_changes_nothing(
        steps in proptest::collection::vec(any_step(), 1..60),
    ) {
        let mut life = Life::of(crediting());
        for step in &steps {
            life.take(step);
        }
        life.take(&Step::Expire);
        for (item, _) in COSTS {
            let before = life.scene.holding("bea");
            if life.scene.redeem("bea", item, item).is_ok() {
                life.scene.call_off(item).unwrap();
            }
            prop_assert_eq!(life.scene.holding("bea"), before);
        }
    }

    #[test]
    fn what_happens_to_a_credit_and_is_undone_changes_nothing(
        steps in proptest::collection::vec(any_step(), 1..60),
        paid in 4..20_000_i64,
        (refunded, disputed) in (1..=2_i64, 1..=2_i64),
        cancels_first in any::<bool>(),
    ) {
        let mut life = Life::of(crediting());
        life.take(&Step::BuyOwn(paid));
        for step in &steps {
            life.take(step);
        }
        life.take(&Step::Expire);
        let scene = &mut life.scene;
        let before = scene.holding("bea");
        scene.refund("own-1", "a", paid * refunded / 4).unwrap();
        scene.dispute("own-1", "d", paid * disputed / 4).unwrap();
        for turn in [cancels_first, !cancels_first] {
            if turn {
                scene.cancel("own-1", "a").unwrap();
            } else {
                scene.close("own-1", "d", DisputeOutcome::Won).unwrap();
            }
        }
        prop_assert_eq!(scene.holding("bea"), before);
    }
}
