//! A user in a program.

use cqrs_es::Aggregate;
use cqrs_es::test::AggregateTestExecutor;

use super::{NOW, given};
use crate::participant::{FirstPurchaseUsed, Grant};
use crate::reward::{LevelTotal, Quote, SoFar, WithheldReason, quote};
use crate::rules::{FirstPurchaseUse, Pay, RewardKind, RewardRule};
use crate::tests::programs::{multi_level_commission, rule, tier};
use crate::tests::scene::{program, user};
use crate::{
    Bucket, Buckets, EntryKind, FlagAgainst, FraudFlagId, HoldReason, Participant,
    ParticipantCommand, ParticipantDeactivated, ParticipantEnrolled, ParticipantEvent,
    ParticipantId, ParticipantReactivated, Posting, PurchaseCredited, PurchaseId, ReferralApplied,
    ReferralConverted, ReferralCounts, ReferralMade, ReferralStandingChanged, ReferralStatus,
    ReferralUpdated, Refusal, RewardGranted, RewardWithheld, Standing, TierChanged, TierReferrals,
};

fn enrolled() -> ParticipantEnrolled {
    ParticipantEnrolled {
        code: "K7Q2M9XA".into(),
        link: "https://example.com/join?ref=K7Q2M9XA".into(),
        code_passed_over: None,
    }
}

fn referred(status: ReferralStatus) -> ParticipantEvent {
    ReferralApplied {
        referrer_user_id: user("ana"),
        status,
        hold_reasons: Vec::new(),
        flags: Vec::new(),
        referral_time_us: NOW,
        made_while_inactive: false,
    }
    .into()
}

fn purchase(id: &str) -> PurchaseId {
    PurchaseId::parse(id).unwrap()
}

fn bea() -> AggregateTestExecutor<Participant> {
    given([enrolled().into()])
}

fn apply_referral(referrer: &str) -> ParticipantCommand {
    ParticipantCommand::ApplyReferral {
        id: id(),
        referrer_user_id: user(referrer),
        standing: Standing::default(),
        made_while_inactive: false,
        now: NOW,
    }
}

fn commission() -> RewardRule {
    multi_level_commission().rewards[0].clone()
}

fn grant(rule: RewardRule, quote: Quote) -> ParticipantCommand {
    ParticipantCommand::Grant(Box::new(Grant {
        earner_user_id: user("bea"),
        program_version: 3,
        unit: "INR".into(),
        rule,
        quote,
        source_user_id: user("cem"),
        purchase_id: Some(purchase("order-1")),
        basis_minor: Some(200_000),
        release_time: None,
        expire_time: None,
    }))
}

fn granted(rule: &RewardRule, amount: i64, total: i64, count: u32) -> RewardGranted {
    RewardGranted {
        program_version: 3,
        rule: rule.rule.clone(),
        level: rule.level,
        source_user_id: user("cem"),
        purchase_id: Some(purchase("order-1")),
        basis_minor: Some(200_000),
        rate_bps: None,
        computed_minor: None,
        cap_remaining_minor: None,
        level_total_minor: None,
        level_count: count,
        tier_referrals: None,
        release_time_us: None,
        posting: posting(rule.kind.into(), amount, Buckets { earned: total, ..in_all(total) }),
    }
}

fn id() -> ParticipantId {
    ParticipantId::new(&program("spring"), &user("bea"))
}

fn in_all(available: i64) -> Buckets {
    Buckets { available, ..Buckets::default() }
}

fn posting(kind: EntryKind, amount: i64, after: Buckets) -> Posting {
    Posting {
        kind,
        amount,
        from: None,
        to: Bucket::Available,
        expire_time_us: None,
        unit: "INR".into(),
        after,
    }
}

fn after(events: impl IntoIterator<Item = ParticipantEvent>) -> Participant {
    let mut state = Participant::default();
    events.into_iter().for_each(|event| state.apply(event));
    state
}

fn enroll() -> ParticipantCommand {
    ParticipantCommand::Enroll { id: id(), enrolled: enrolled() }
}

#[test]
fn enters_once() {
    given::<Participant>([]).when(enroll()).then_expect_events(vec![enrolled().into()]);
    bea().when(enroll()).then_expect_error(Refusal::AlreadyEnrolled(id()));
}

#[test]
fn takes_a_referrer_and_is_pending() {
    bea().when(apply_referral("ana")).then_expect_events(vec![referred(ReferralStatus::Pending)]);
}

#[test]
fn takes_one_referrer_for_good() {
    for status in [
        ReferralStatus::Pending,
        ReferralStatus::Held,
        ReferralStatus::Converted,
        ReferralStatus::Rejected,
    ] {
        for referrer in ["ana", "dan"] {
            bea()
                .and(vec![referred(status)])
                .when(apply_referral(referrer))
                .then_expect_error(Refusal::AlreadyReferred(id()));
        }
    }
}

#[test]
fn never_refers_themselves() {
    bea().when(apply_referral("bea")).then_expect_error(Refusal::SelfReferral(user("bea")));
}

#[test]
fn says_why_their_referral_is_held() {
    let reasons = vec![HoldReason::UnconfirmedEmail, HoldReason::Review];
    let flag_id = FraudFlagId::parse("flag").unwrap();
    let flags = vec![FlagAgainst { flag_id, rejects: false, takes_back: false }];
    let held = ParticipantCommand::ApplyReferral {
        id: id(),
        referrer_user_id: user("ana"),
        standing: Standing { is_unconfirmed: true, flags: flags.clone() },
        made_while_inactive: false,
        now: NOW,
    };
    let applied = ReferralApplied {
        referrer_user_id: user("ana"),
        status: ReferralStatus::Held,
        hold_reasons: reasons.clone(),
        flags: flags.clone(),
        referral_time_us: NOW,
        made_while_inactive: false,
    };
    bea().when(held).then_expect_events(vec![applied.clone().into()]);
    let changed = |status, hold_reasons, release_time_us| ReferralStandingChanged {
        status,
        hold_reasons,
        flags: if status == ReferralStatus::Held { flags.clone() } else { Vec::new() },
        release_time_us,
        made_while_inactive: false,
        settles_purchases: false,
    };
    let referral = |events: Vec<ParticipantEvent>| after(events).referral().cloned().unwrap();
    let before = vec![enrolled().into(), applied.into()];
    let one_left = changed(ReferralStatus::Held, vec![HoldReason::Review], None);
    let held = referral([before.clone(), vec![one_left.into()]].concat());
    assert_eq!((held.status, held.hold_reasons), (ReferralStatus::Held, vec![HoldReason::Review]));
    let released = changed(ReferralStatus::Pending, Vec::new(), Some(NOW.plus_seconds(60)));
    let counted = referral([before, vec![released.into()]].concat());
    assert_eq!((counted.status, counted.hold_reasons), (ReferralStatus::Pending, Vec::new()));
    assert_eq!(counted.release_time, Some(NOW.plus_seconds(60)));
}

#[test]
fn a_rejected_referral_takes_no_use() {
    let status = ReferralStatus::Rejected;
    let refer = ParticipantCommand::MakeReferral {
        user_id: user("bea"),
        referee_user_id: user("cem"),
        status,
    };
    let made =
        ReferralMade { referee_user_id: user("cem"), status, uses: 0, made_while_inactive: false };
    bea().when(refer).then_expect_events(vec![made.into()]);
}

#[test]
fn counts_the_referrals_they_make() {
    let status = ReferralStatus::Pending;
    let made = |name, uses| {
        ReferralMade { referee_user_id: user(name), status, uses, made_while_inactive: false }
            .into()
    };
    let refer = |name| ParticipantCommand::MakeReferral {
        user_id: user("bea"),
        referee_user_id: user(name),
        status,
    };
    bea().when(refer("cem")).then_expect_events(vec![made("cem", 1)]);
    bea().and(vec![made("cem", 1)]).when(refer("dan")).then_expect_events(vec![made("dan", 2)]);
    let state = after([enrolled().into(), made("cem", 1), made("dan", 2)]);
    assert_eq!((state.uses(), state.has_referred()), (2, true));
    let counts = ReferralCounts { pending: 2, ..ReferralCounts::default() };
    assert_eq!((state.referrals(), state.referrals().counted()), (counts, 2));
}

#[test]
fn is_told_how_the_referrals_they_made_stand() {
    let made = ReferralMade {
        referee_user_id: user("cem"),
        status: ReferralStatus::Held,
        uses: 1,
        made_while_inactive: false,
    };
    let update = |previous_status, status| ReferralUpdated {
        referee_user_id: user("cem"),
        previous_status,
        status,
        made_while_inactive: false,
        converted_while_inactive: false,
    };
    let released = update(ReferralStatus::Held, ReferralStatus::Pending);
    bea()
        .and(vec![made.clone().into()])
        .when(ParticipantCommand::UpdateReferral(released.clone()))
        .then_expect_events(vec![released.clone().into()]);
    let counts = |events: Vec<ParticipantEvent>| {
        let all = [vec![enrolled().into(), made.clone().into()], events].concat();
        let ReferralCounts { pending, held, converted } = after(all).referrals();
        [pending, held, converted]
    };
    assert_eq!(counts(vec![]), [0, 1, 0]);
    assert_eq!(counts(vec![released.clone().into()]), [1, 0, 0]);
    let converted = update(ReferralStatus::Pending, ReferralStatus::Converted);
    assert_eq!(counts(vec![released.into(), converted.into()]), [0, 0, 1]);
    let rejected = update(ReferralStatus::Held, ReferralStatus::Rejected);
    assert_eq!(counts(vec![rejected.into()]), [0, 0, 0]);
}

#[test]
fn converts_a_pending_referral_only() {
    let convert = || {
        ParticipantCommand::Convert(ReferralConverted {
            purchase_id: Some(purchase("order-1")),
            converted_while_inactive: false,
            program_version: None,
            rewards: Vec::new(),
        })
    };
    let converted = ReferralConverted {
        purchase_id: Some(purchase("order-1")),
        converted_while_inactive: false,
        program_version: None,
        rewards: Vec::new(),
    };
    bea()
        .and(vec![referred(ReferralStatus::Pending)])
        .when(convert())
        .then_expect_events(vec![converted.into()]);
    for status in [ReferralStatus::Held, ReferralStatus::Converted, ReferralStatus::Rejected] {
        bea().and(vec![referred(status)]).when(convert()).then_expect_events(vec![]);
    }
    bea().when(convert()).then_expect_events(vec![]);
}

#[test]
fn has_bought_once_a_purchase_converted_the_referral_but_not_when_the_referral_itself_did() {
    for (purchase_id, used) in [(Some(purchase("order-1")), true), (None, false)] {
        let converted = ReferralConverted {
            purchase_id,
            converted_while_inactive: false,
            program_version: None,
            rewards: Vec::new(),
        };
        let state = after([enrolled().into(), referred(ReferralStatus::Pending), converted.into()]);
        for used_by in [FirstPurchaseUse::AnyPurchase, FirstPurchaseUse::QualifyingPurchase] {
            assert_eq!(state.first_purchase_used(used_by), used);
        }
        assert_eq!(state.referral().unwrap().status, ReferralStatus::Converted);
    }
}

#[test]
fn remembers_the_first_purchase_of_all_and_the_first_that_was_enough() {
    let used = |id, is_insufficient| {
        FirstPurchaseUsed { purchase_id: purchase(id), is_insufficient }.into()
    };
    let using = |id, is_insufficient| ParticipantCommand::UseFirstPurchase {
        purchase_id: purchase(id),
        is_insufficient,
    };
    for is_insufficient in [false, true] {
        let expected = vec![used("order-1", is_insufficient)];
        bea().when(using("order-1", is_insufficient)).then_expect_events(expected);
        let enough = || bea().and(vec![used("order-1", false)]);
        enough().when(using("order-2", is_insufficient)).then_expect_events(vec![]);
    }
    let too_small = || bea().and(vec![used("order-1", true)]);
    too_small().when(using("order-2", true)).then_expect_events(vec![]);
    too_small().when(using("order-2", false)).then_expect_events(vec![used("order-2", false)]);

    let (any, qualifying) = (FirstPurchaseUse::AnyPurchase, FirstPurchaseUse::QualifyingPurchase);
    let is_used = |events: &[ParticipantEvent]| {
        let state = after(events.to_vec());
        (state.first_purchase_used(any), state.first_purchase_used(qualifying))
    };
    assert_eq!(is_used(&[]), (false, false));
    assert_eq!(is_used(&[used("order-1", true)]), (true, false));
    assert_eq!(is_used(&[used("order-1", true), used("order-2", false)]), (true, true));
    assert_eq!(is_used(&[used("order-1", false)]), (true, true));
}

#[test]
fn adds_a_purchase_to_the_balance_and_not_to_the_rewards() {
    let credited = |amount, sum| PurchaseCredited {
        purchase_id: purchase("order-1"),
        posting: posting(
            EntryKind::PurchaseCredit,
            amount,
            Buckets { credited: sum, ..in_all(sum) },
        ),
    };
    let credit = |amount_minor| ParticipantCommand::CreditPurchase {
        user_id: user("bea"),
        purchase_id: purchase("order-1"),
        amount_minor,
        unit: "INR".into(),
    };
    bea()
        .and(vec![credited(300, 300).into()])
        .when(credit(700))
        .then_expect_events(vec![credited(700, 1_000).into()]);
    bea()
        .and(vec![credited(i64::MAX - 1, i64::MAX - 1).into()])
        .when(credit(2))
        .then_expect_error(Refusal::BalanceLimitReached(user("bea")));
    let state = after([enrolled().into(), credited(300, 300).into()]);
    assert_eq!((state.balance_minor(), state.earned_minor()), (300, 0));
}

#[test]
fn adds_a_reward_to_the_level_the_total_and_the_balance() {
    let rule = commission();
    let so_far = SoFar { level_minor: 95_000, ..SoFar::default() };
    let quote = quote(&rule, so_far, 200_000, 200_000).unwrap();
    let buckets = |earned| Buckets { earned, credited: 300, ..in_all(earned + 300) };
    let credited = PurchaseCredited {
        purchase_id: purchase("order-0"),
        posting: posting(EntryKind::PurchaseCredit, 300, buckets(95_000)),
    };
    let before = [granted(&rule, 95_000, 95_000, 1).into(), credited.into()];
    bea().and(before.to_vec()).when(grant(rule.clone(), quote)).then_expect_events(vec![
        RewardGranted {
            rate_bps: Some(500),
            computed_minor: Some(10_000),
            cap_remaining_minor: Some(5_000),
            posting: posting(EntryKind::Commission, 5_000, buckets(100_000)),
            ..granted(&rule, 5_000, 100_000, 2)
        }
        .into(),
    ]);
}

#[test]
fn keeps_the_totals_of_two_levels_apart() {
    let direct = commission();
    let upline = RewardRule { level: 2, ..commission() };
    let second = RewardGranted { level_total_minor: Some(30), ..granted(&upline, 30, 130, 1) };
    let state = after([enrolled().into(), granted(&direct, 100, 100, 1).into(), second.into()]);
    assert_eq!(state.level(1), LevelTotal { level: 1, total_minor: 100, count: 1 });
    assert_eq!(state.level(2), LevelTotal { level: 2, total_minor: 30, count: 1 });
    assert_eq!(state.level(3), LevelTotal { level: 3, total_minor: 0, count: 0 });
    assert_eq!((state.earned_minor(), state.balance_minor()), (130, 130));
}

#[test]
fn refuses_a_reward_that_would_overflow_the_balance() {
    let flat = rule("bonus", 1, RewardKind::Bonus, Pay::FlatMinor(2));
    let quoted = quote(&flat, SoFar::default(), 0, 0).unwrap();
    bea()
        .and(vec![granted(&flat, i64::MAX - 1, i64::MAX - 1, 1).into()])
        .when(grant(flat, quoted))
        .then_expect_error(Refusal::BalanceLimitReached(user("bea")));
}

#[test]
fn changes_the_tier_with_the_reward_that_reaches_it_and_not_again() {
    let tiers = vec![tier("Bronze", 0, 10, 0), tier("Silver", 2, 15, 100)];
    let points = rule("points", 1, RewardKind::Points, Pay::Tiers(tiers));
    let so_far = |points, referrals| SoFar {
        level_minor: points,
        tier_minor: points,
        tier_referrals: referrals,
    };
    let reaching = quote(&points, so_far(10, 2), 0, 0).unwrap();
    let changed = TierChanged { from_tier: "Bronze".into(), to_tier: "Silver".into() };
    let granted = |amount, total, count| RewardGranted {
        tier_referrals: Some(count),
        ..granted(&points, amount, total, count)
    };
    let (first, second) = (granted(10, 10, 1), granted(120, 130, 2));
    bea()
        .and(vec![first.clone().into()])
        .when(grant(points.clone(), reaching))
        .then_expect_events(vec![second.clone().into(), changed.clone().into()]);

    let staying = quote(&points, so_far(130, 3), 0, 0).unwrap();
    bea()
        .and(vec![first.into(), second.into(), changed.into()])
        .when(grant(points.clone(), staying))
        .then_expect_events(vec![granted(15, 145, 3).into()]);
    let state = after([enrolled().into(), granted(10, 10, 1).into(), granted(120, 130, 2).into()]);
    assert_eq!(state.tier_points(), 130);
}

#[test]
fn counts_for_tiers_what_referred_users_did_while_the_participant_could_earn() {
    let made = |made_while_inactive| {
        let (status, uses) = (ReferralStatus::Pending, 1);
        ReferralMade { referee_user_id: user("cem"), status, uses, made_while_inactive }.into()
    };
    let converted = |made_while_inactive, converted_while_inactive| {
        ReferralUpdated {
            referee_user_id: user("cem"),
            previous_status: ReferralStatus::Pending,
            status: ReferralStatus::Converted,
            made_while_inactive,
            converted_while_inactive,
        }
        .into()
    };
    let undone = |converted_while_inactive| {
        ReferralUpdated {
            referee_user_id: user("cem"),
            previous_status: ReferralStatus::Converted,
            status: ReferralStatus::Rejected,
            made_while_inactive: false,
            converted_while_inactive,
        }
        .into()
    };
    let counts = |events: Vec<ParticipantEvent>| {
        let TierReferrals { made, converted } = after(events).tier_referrals();
        (made, converted)
    };
    assert_eq!(counts(vec![made(false)]), (1, 0));
    assert_eq!(counts(vec![made(false), converted(false, false)]), (1, 1));
    assert_eq!(counts(vec![made(false), converted(false, true)]), (1, 0));
    assert_eq!(counts(vec![made(false), converted(false, false), undone(false)]), (0, 0));
    assert_eq!(counts(vec![made(false), converted(false, true), undone(true)]), (0, 0));
    assert_eq!(counts(vec![made(true)]), (0, 0));
    assert_eq!(counts(vec![made(true), converted(true, false)]), (0, 0));
}

#[test]
fn says_that_a_referral_was_made_while_inactive() {
    let refer = ParticipantCommand::MakeReferral {
        user_id: user("bea"),
        referee_user_id: user("cem"),
        status: ReferralStatus::Pending,
    };
    let made = ReferralMade {
        referee_user_id: user("cem"),
        status: ReferralStatus::Pending,
        uses: 1,
        made_while_inactive: true,
    };
    bea()
        .and(vec![ParticipantDeactivated {}.into()])
        .when(refer)
        .then_expect_events(vec![made.into()]);
}

#[test]
fn gets_a_use_back_from_a_rejected_referral() {
    let status = ReferralStatus::Held;
    let made =
        ReferralMade { referee_user_id: user("cem"), status, uses: 1, made_while_inactive: false };
    let rejected = ReferralUpdated {
        referee_user_id: user("cem"),
        previous_status: status,
        status: ReferralStatus::Rejected,
        made_while_inactive: false,
        converted_while_inactive: false,
    };
    assert_eq!(after([made.clone().into()]).uses(), 1);
    let state = after([made.into(), rejected.into()]);
    assert_eq!((state.uses(), state.has_referred()), (0, true));
}

#[test]
fn keeps_why_they_earned_nothing_and_is_not_changed_by_it() {
    let withheld = RewardWithheld {
        program_id: None,
        program_version: 1,
        earner_user_id: None,
        level: 1,
        rule: Some("points".into()),
        reason: WithheldReason::EarnerInactive,
        qualified: true,
        source_user_id: Some(user("cem")),
        purchase_id: None,
        computed_minor: Some(10),
        unit: Some("POINTS".into()),
        limit_minor: None,
    };
    bea()
        .when(ParticipantCommand::Withhold(withheld.clone()))
        .then_expect_events(vec![withheld.clone().into()]);
    assert_eq!(after([enrolled().into(), withheld.into()]), after([enrolled().into()]));
}

#[test]
fn is_inactive_until_reactivated() {
    bea()
        .when(ParticipantCommand::Deactivate)
        .then_expect_events(vec![ParticipantDeactivated {}.into()]);
    let reactivated = ParticipantReactivated { reactivate_time_us: NOW };
    bea()
        .and(vec![ParticipantDeactivated {}.into()])
        .when(ParticipantCommand::Reactivate { now: NOW })
        .then_expect_events(vec![reactivated.clone().into()]);

    let inactive = after([enrolled().into(), ParticipantDeactivated {}.into()]);
    assert_eq!((inactive.is_active(), inactive.reactivate_time()), (false, None));
    let active = after([enrolled().into(), ParticipantDeactivated {}.into(), reactivated.into()]);
    assert_eq!((active.is_active(), active.reactivate_time()), (true, Some(NOW)));
}

#[test]
fn does_not_exist_without_a_code() {
    assert!(!Participant::default().exists());
    assert!(after([enrolled().into()]).exists());
}
