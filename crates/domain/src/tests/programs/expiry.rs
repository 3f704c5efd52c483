//! Rewards that expire, with numbers.

use super::{multi_level_commission, referral_count};
use crate::decide::{AdjustBalance, Command};
use crate::rules::{EarnOn, Pay, ProgramRules, RewardKind};
use crate::tests::scene::{PROGRAM, Scene, member, user};
use crate::{
    AdjustmentId, DisputeOutcome, EntryKind, Halt, Lot, ParticipantEvent, Posts, Purchase,
    PurchaseId, Staff, Timestamp,
};

pub(super) fn at(text: &str) -> Timestamp {
    Timestamp(text.parse::<jiff::Timestamp>().unwrap().as_microsecond())
}

/// Commissions without limits, which expire at the end of the third month after they became available.
pub(super) fn expiring() -> ProgramRules {
    ProgramRules { expire_months: Some(3), ..lasting() }
}

pub(super) fn lasting() -> ProgramRules {
    let mut rules = ProgramRules { minimum_purchase_minor: 0, ..multi_level_commission() };
    rules.rewards.iter_mut().for_each(|rule| rule.cap_minor = None);
    rules
}

/// Ana referred Bea, who referred Cem, in the middle of January 2026.
pub(super) fn scene_of(rules: ProgramRules) -> Scene {
    let mut scene = Scene::of(rules);
    scene.at("2026-01-15T12:00:00Z");
    scene.line(&["ana", "bea", "cem"]);
    scene
}

impl Scene {
    /// The time of the next command.
    pub(super) fn at(&mut self, text: &str) {
        self.memory.set_now(Timestamp(at(text).0 - Timestamp::PER_SECOND));
    }

    pub(super) fn expire(&mut self, name: &str) -> Result<(), Halt> {
        self.tell(&Command::ExpireBalance(member(name)))
    }

    fn adjust_by(&mut self, name: &str, id: &str, amount_minor: i64) {
        let adjustment_id = AdjustmentId::parse(id).unwrap();
        self.tell(&Command::AdjustBalance(Box::new(AdjustBalance {
            participant: member(name),
            adjustment_id,
            amount_minor,
            currency_code: "INR".into(),
            reason_code: "goodwill".into(),
            note: None,
            by: Staff { user_id: Some(user("olga")), key_id: None },
            limit_minor: i64::MAX,
        })))
        .unwrap();
    }

    /// The days on which lots expire in UTC, and what is in them.
    pub(super) fn lots(&self, name: &str) -> Vec<(String, i64)> {
        let day = |lot: &Lot| {
            let moment = jiff::Timestamp::from_microsecond(lot.expire_time.0).unwrap().to_string();
            let text = moment.strip_suffix("T00:00:00Z").map_or(moment.clone(), Into::into);
            (text, lot.amount_minor)
        };
        let participant = self.participant(name);
        let lots = participant.lots().as_slice();
        let total: i64 = lots.iter().map(|lot| lot.amount_minor).sum();
        assert!(total <= participant.buckets().available.max(0), "{lots:?}");
        lots.iter().map(day).collect()
    }

    /// The lots of what expired since a mark, and the amounts.
    fn expired_since(&self, mark: usize) -> Vec<(Timestamp, i64)> {
        let expiry = |event: &ParticipantEvent| {
            let posting = event.posting().filter(|posting| posting.kind == EntryKind::Expiry)?;
            Some((posting.expire_time_us?, posting.amount))
        };
        self.memory.participant_events_since(mark).filter_map(|(_, event)| expiry(event)).collect()
    }

    fn lot_of(&self, order: &str, level: u32) -> Option<Timestamp> {
        let purchase = self.memory.state::<Purchase>(&PurchaseId::parse(order).unwrap());
        purchase.outcomes()[0].reward_on(level).unwrap().lot
    }
}

pub(super) fn lot(day: &str, amount: i64) -> (String, i64) {
    (day.into(), amount)
}

#[test]
fn a_reward_expires_at_the_end_of_the_last_month() {
    let mut scene = scene_of(expiring());
    scene.order("one", "cem", 200_000, "INR");
    scene.at("2026-01-31T23:59:59Z");
    scene.order("two", "cem", 100_000, "INR");
    scene.order("three", "cem", 20_000, "INR");
    assert_eq!(scene.lots("bea"), [lot("2026-05-01", 15_000), lot("2026-06-01", 1_000)]);
    assert_eq!(scene.lots("ana"), [lot("2026-05-01", 3_000), lot("2026-06-01", 200)]);
    scene.at("2026-04-30T23:59:59Z");
    let mark = scene.memory.log().len();
    scene.expire("bea").unwrap();
    assert_eq!(scene.memory.log().len(), mark);
    scene.expire("bea").unwrap();
    assert_eq!(scene.expired_since(mark), [(at("2026-05-01T00:00:00Z"), -15_000)]);
    assert_eq!(scene.money("bea"), (0, 1_000, 16_000));
    assert_eq!(scene.participant("bea").buckets().expired, 15_000);
    // A second time there is nothing left to expire.
    scene.expire("bea").unwrap();
    assert_eq!(scene.memory.log().len(), mark + 1);
    // What was not looked at for long expires lot by lot.
    scene.at("2027-01-01T00:00:00Z");
    let mark = scene.memory.log().len();
    scene.expire("ana").unwrap();
    let lots = [(at("2026-05-01T00:00:00Z"), -3_000), (at("2026-06-01T00:00:00Z"), -200)];
    assert_eq!(scene.expired_since(mark), lots);
    assert_eq!(scene.money("ana"), (0, 0, 3_200));
}

#[test]
fn the_months_are_those_of_the_program_s_time_zone() {
    for (time_zone, now, end) in [
        ("UTC", "2026-02-28T23:00:00Z", "2026-06-01"),
        ("Europe/Berlin", "2026-02-28T22:59:59Z", "2026-05-31T22:00:00Z"),
        ("Europe/Berlin", "2026-02-28T23:00:00Z", "2026-06-30T22:00:00Z"),
        ("Europe/Berlin", "2026-08-31T21:59:59Z", "2026-11-30T23:00:00Z"),
        ("Asia/Kolkata", "2026-03-31T18:29:59Z", "2026-06-30T18:30:00Z"),
        ("Asia/Kolkata", "2026-03-31T18:30:00Z", "2026-07-31T18:30:00Z"),
    ] {
        let mut scene = scene_of(ProgramRules { time_zone: time_zone.into(), ..expiring() });
        scene.at(now);
        scene.order("one", "cem", 200_000, "INR");
        assert_eq!(scene.lots("bea"), [lot(end, 10_000)], "{time_zone} {now}");
    }
}

#[test]
fn without_expire_months_nothing_has_a_lot() {
    let mut scene = scene_of(lasting());
    scene.order("one", "cem", 200_000, "INR");
    assert_eq!((scene.lots("bea"), scene.lot_of("one", 1)), (vec![], None));
    scene.at("2099-01-01T00:00:00Z");
    let mark = scene.memory.log().len();
    scene.expire("bea").unwrap();
    assert_eq!(scene.memory.log().len(), mark);
}

#[test]
fn a_reversal_takes_from_the_lot_of_its_reward_first() {
    let mut scene = scene_of(expiring());
    scene.order("one", "cem", 200_000, "INR");
    scene.at("2026-02-10T00:00:00Z");
    scene.order("two", "cem", 400_000, "INR");
    scene.refund("two", "a", 100_000).unwrap();
    assert_eq!(scene.lots("bea"), [lot("2026-05-01", 10_000), lot("2026-06-01", 15_000)]);
    // The first lot is over. What the first order brought is lost, so its reversal takes from what is left.
    scene.at("2026-05-01T00:00:00Z");
    scene.expire("bea").unwrap();
    scene.refund("one", "a", 200_000).unwrap();
    assert_eq!(scene.lots("bea"), [lot("2026-06-01", 5_000)]);
    scene.refund("two", "b", 300_000).unwrap();
    assert_eq!((scene.lots("bea"), scene.money("bea")), (vec![], (0, -10_000, 0)));
    // What pays the debt does not expire.
    scene.order("three", "cem", 300_000, "INR");
    assert_eq!(scene.lots("bea"), [lot("2026-09-01", 5_000)]);
}

#[test]
fn what_comes_back_goes_to_its_lot_or_to_the_present_one() {
    let mut scene = scene_of(expiring());
    scene.order("one", "cem", 200_000, "INR");
    scene.refund("one", "a", 100_000).unwrap();
    scene.at("2026-03-10T00:00:00Z");
    scene.cancel("one", "a").unwrap();
    assert_eq!(scene.lots("bea"), [lot("2026-05-01", 10_000)]);
    scene.dispute("one", "d", 100_000).unwrap();
    assert_eq!((scene.lots("bea"), scene.money("bea").0), (vec![lot("2026-05-01", 5_000)], 5_000));
    scene.at("2026-04-30T00:00:00Z");
    scene.close("one", "d", DisputeOutcome::Won).unwrap();
    assert_eq!(scene.lots("bea"), [lot("2026-05-01", 10_000)]);
    scene.dispute("one", "e", 200_000).unwrap();
    scene.at("2026-05-01T00:00:00Z");
    scene.expire("bea").unwrap();
    scene.close("one", "e", DisputeOutcome::Withdrawn).unwrap();
    assert_eq!(
        (scene.lots("bea"), scene.money("bea").1),
        (vec![lot("2026-09-01", 10_000)], 10_000)
    );
    assert_eq!(scene.lot_of("one", 1), Some(at("2026-09-01T00:00:00Z")));
    scene.at("2026-06-01T00:00:00Z");
    scene.order("two", "cem", 20_000, "INR");
    // The lot of the reward is now the later one.
    scene.refund("one", "b", 20_000).unwrap();
    assert_eq!(scene.lots("bea"), [lot("2026-09-01", 9_000), lot("2026-10-01", 1_000)]);
}

#[test]
fn a_reward_that_waits_is_in_the_lot_of_the_month_in_which_it_becomes_available() {
    let mut scene = scene_of(ProgramRules { hold_days: Some(20), ..expiring() });
    scene.order("one", "cem", 200_000, "INR");
    assert_eq!((scene.lots("bea"), scene.lot_of("one", 1)), (vec![], None));
    scene.at("2026-02-05T00:00:00Z");
    scene.end_period("cem", Some("one")).unwrap();
    assert_eq!(scene.lots("bea"), [lot("2026-06-01", 10_000)]);
    assert_eq!(scene.lot_of("one", 1), Some(at("2026-06-01T00:00:00Z")));
    let reward = scene.last_reward("bea");
    scene.hold(&reward).unwrap();
    assert_eq!(scene.lots("bea"), []);
    scene.release_reward(&reward).unwrap();
    assert_eq!(scene.lots("bea"), [lot("2026-06-01", 10_000)]);
}

#[test]
fn what_a_referral_itself_earned_expires_as_well() {
    let mut scene = scene_of(ProgramRules { expire_months: Some(1), ..referral_count() });
    assert_eq!(
        (scene.lots("ana"), scene.lots("bea")),
        (vec![lot("2026-03-01", 1)], vec![lot("2026-03-01", 1)])
    );
    let reward = scene.last_reward("ana");
    scene.hold(&reward).unwrap();
    assert_eq!(scene.lots("ana"), []);
    scene.at("2026-03-02T00:00:00Z");
    scene.release_reward(&reward).unwrap();
    assert_eq!(scene.lots("ana"), [lot("2026-05-01", 1)]);
    let referral = scene.participant("bea").referral().unwrap().clone();
    assert_eq!(referral.rewards[0].lot, Some(at("2026-05-01T00:00:00Z")));
    scene.expire("bea").unwrap();
    assert_eq!(scene.money("bea"), (0, 0, 1));
}

#[test]
fn an_adjustment_spends_the_next_lot_first_and_never_expires_itself() {
    let mut scene = scene_of(expiring());
    scene.order("one", "cem", 200_000, "INR");
    scene.adjust_by("bea", "gift", 500);
    scene.at("2026-02-10T00:00:00Z");
    scene.order("two", "cem", 100_000, "INR");
    scene.adjust_by("bea", "correction", -12_000);
    assert_eq!(scene.lots("bea"), [lot("2026-06-01", 3_000)]);
    scene.at("2026-06-01T00:00:00Z");
    scene.expire("bea").unwrap();
    assert_eq!(scene.money("bea").1, 500);
}

#[test]
fn the_version_that_granted_a_reward_decides_when_it_expires() {
    let mut scene = scene_of(expiring());
    scene.order("one", "cem", 200_000, "INR");
    scene.dispute("one", "d", 200_000).unwrap();
    scene.publish(PROGRAM, lasting()).unwrap();
    scene.order("two", "cem", 100_000, "INR");
    assert_eq!((scene.lots("bea"), scene.money("bea").1), (vec![], 5_000));
    scene.at("2026-07-01T00:00:00Z");
    scene.close("one", "d", DisputeOutcome::Won).unwrap();
    assert_eq!(
        (scene.lots("bea"), scene.money("bea").1),
        (vec![lot("2026-11-01", 10_000)], 15_000)
    );
}

#[test]
fn the_balance_of_the_inactive_expires_and_that_of_the_erased_is_forfeited() {
    let mut scene = scene_of(expiring());
    scene.order("one", "cem", 200_000, "INR");
    scene.deactivate("bea");
    scene.erase("ana", true).unwrap();
    assert_eq!(scene.lots("ana"), []);
    scene.at("2026-05-01T00:00:00Z");
    let mark = scene.memory.log().len();
    scene.expire("bea").unwrap();
    scene.expire("ana").unwrap();
    scene.expire("nobody").unwrap();
    assert_eq!(scene.expired_since(mark), [(at("2026-05-01T00:00:00Z"), -10_000)]);
    assert_eq!(scene.memory.log().len(), mark + 1);
}

#[test]
fn sixty_months_of_rewards_are_sixty_one_lots() {
    let mut scene = scene_of(ProgramRules { expire_months: Some(60), ..expiring() });
    for month in 0..72 {
        let (year, month) = (2026 + month / 12, month % 12 + 1);
        scene.at(&format!("{year}-{month:02}-20T00:00:00Z"));
        scene.expire("bea").unwrap();
        scene.order(&format!("{year}-{month}"), "cem", 10_000, "INR");
        let lots = scene.lots("bea");
        assert!(lots.len() <= 61, "{}", lots.len());
    }
    assert_eq!(scene.participant("bea").buckets().expired, 11 * 500);
    assert_eq!(scene.lots("bea").len(), 61);
}

#[test]
fn what_makes_no_sense_is_refused_when_the_program_is_published() {
    let faults = |rules: ProgramRules| -> Vec<String> {
        rules.faults().into_iter().map(|fault| fault.field).collect()
    };
    let of = |expire_months| ProgramRules { expire_months, ..expiring() };
    assert_eq!(faults(of(Some(1))), Vec::<String>::new());
    assert_eq!(faults(of(Some(60))), Vec::<String>::new());
    assert_eq!(faults(of(Some(0))), ["expire_months"]);
    assert_eq!(faults(of(Some(61))), ["expire_months"]);
    let tiers = ProgramRules { expire_months: Some(3), ..super::tiered_points() };
    assert_eq!(faults(tiers), ["expire_months"]);
    let zone =
        |time_zone: &str| ProgramRules { time_zone: time_zone.into(), ..super::tiered_points() };
    assert_eq!(faults(zone("Europe/Berlin")), Vec::<String>::new());
    for time_zone in ["", "Berlin", "europe/berlin", "+01:00"] {
        assert_eq!(faults(zone(time_zone)), ["time_zone"], "{time_zone}");
    }
}

#[test]
fn points_for_referrals_and_flat_amounts_can_expire() {
    let flat = super::rule("flat", 1, RewardKind::Credit, Pay::FlatMinor(700));
    let rules = ProgramRules { rewards: vec![flat], earn_on: EarnOn::EveryPurchase, ..expiring() };
    let mut scene = scene_of(rules);
    scene.order("one", "cem", 200_000, "INR");
    assert_eq!(scene.lots("bea"), [lot("2026-05-01", 700)]);
    scene.refund("one", "a", 200_000).unwrap();
    assert_eq!((scene.lots("bea"), scene.money("bea")), (vec![], (0, 0, 0)));
}
