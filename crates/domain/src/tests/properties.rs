//! Properties of any program after any history.

mod audit;
mod history;
mod making_up;
mod orders;
mod screening;

use std::collections::{HashMap, HashSet};

use audit::Audit;
use history::{History, any_actions, any_rules};
use proptest::prelude::*;

use super::memory_work::{Logged, Memory, Reading};
use super::scene::{PROGRAM, Scene, profile, program, user};
use crate::decide::{ApplyReferral, CodeFault, Command, EnrollParticipant, Referrer, RegisterUser};
use crate::rules::{EarnOn, Pay, points_at};
use crate::{
    AnyAggregate, Halt, HoldReason, Kind, Participant, ParticipantEvent, ParticipantId, Purchase,
    PurchaseEvent, PurchaseId, ReferralStatus, Stream, StreamKey, Timestamp, UserId,
};

// The state after a stream's events.

/// The state of a stream according to the log: its own events and, for a kind that remembers its commands,
/// what those wrote to other streams.
fn replayed(memory: &Memory, key: &StreamKey) -> AnyAggregate {
    let mut state = AnyAggregate::empty(key.kind);
    let is_own = |logged: &&Logged| logged.key == *key;
    let commands: HashSet<usize> =
        memory.log().iter().filter(is_own).map(|logged| logged.command).collect();
    for logged in memory.log() {
        if is_own(&logged) {
            state.apply(logged.event.clone()).expect("a stream has events of its kind");
        } else if key.kind.remembers_commands() && commands.contains(&logged.command) {
            state.remember(&key.id, &logged.key, logged.sequence, &logged.event);
        }
    }
    state
}

/// The state after a round trip through a snapshot, which is its JSON.
fn snapshot(kind: Kind, state: &AnyAggregate) -> AnyAggregate {
    let json = serde_json::from_str(&state.to_json().unwrap()).unwrap();
    AnyAggregate::from_json(kind, json).unwrap()
}

fn assert_replays(memory: &Memory, key: &StreamKey, kept: &AnyAggregate) {
    let same = |other: AnyAggregate| {
        with_state!(kept, kept => assert_eq!(Stream::from_any(other).unwrap(), *kept, "{key}"));
    };
    same(replayed(memory, key));
    same(snapshot(key.kind, kept));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn a_program_made_of_any_valid_parts_has_no_faults(rules in any_rules()) {
        prop_assert_eq!(rules.faults(), []);
    }

    #[test]
    fn rewards_add_up_and_never_pass_a_cap(
        versions in [any_rules(), any_rules()],
        actions in any_actions(200),
    ) {
        let history = History::of(versions, &actions);
        let audit = Audit::of(history.memory(), |audit, earner, event| {
            let ParticipantEvent::RewardGranted(granted) = event else { return };
            let amount = granted.posting.amount;
            assert!(0 <= amount && amount <= granted.computed_minor());
            if let Some(cap) = audit.rule(granted.program_version, granted.level).cap_minor {
                assert!(granted.level_total_minor() <= cap, "{granted:?}");
            }
            let so_far = audit.ledgers[earner].balance;
            assert_eq!(granted.posting.after.balance(), so_far + amount);
            assert!(granted.posting.after.reconcile());
        });
        for (user_id, ledger) in &audit.ledgers {
            let state = history.scene.participant(user_id.as_str());
            prop_assert_eq!(state.balance_minor(), ledger.balance);
            prop_assert_eq!(state.earned_minor(), ledger.rewards);
            for (level, (total, count)) in &ledger.levels {
                let kept = state.level(*level);
                prop_assert_eq!((kept.total_minor, kept.count), (*total, *count));
            }
        }
    }

    #[test]
    fn limits_hold_whatever_happens(
        versions in [any_rules(), any_rules()],
        actions in any_actions(200),
    ) {
        let history = History::of(versions, &actions);
        let audit = Audit::of(history.memory(), |audit, _, event| {
            let ParticipantEvent::ReferralMade(made) = event else { return };
            let rules = audit.versions.last().unwrap();
            assert!(rules.max_uses_per_code.is_none_or(|limit| made.uses <= limit));
            assert!(rules.max_direct_referrals.is_none_or(|limit| made.uses <= limit));
        });
        let mut referees: HashMap<&UserId, u32> = HashMap::new();
        for ledger in audit.ledgers.values() {
            if let Some((referrer, _)) = &ledger.referral
                && ledger.status != Some(ReferralStatus::Rejected)
            {
                *referees.entry(referrer).or_default() += 1;
            }
        }
        for (user_id, ledger) in &audit.ledgers {
            let state = history.scene.participant(user_id.as_str());
            prop_assert_eq!(state.uses(), ledger.uses);
            prop_assert_eq!(ledger.uses, referees.get(user_id).copied().unwrap_or_default());
            // Both sides of every referral agree.
            let ends = |status: ReferralStatus| {
                let is_end = |referee: &&UserId| {
                    let referee = history.scene.participant(referee.as_str());
                    let referral = referee.referral();
                    referral.is_some_and(|of| of.referrer_user_id == *user_id && of.status == status)
                };
                u32::try_from(audit.ledgers.keys().filter(is_end).count()).unwrap()
            };
            let counts = state.referrals();
            prop_assert_eq!(counts.pending, ends(ReferralStatus::Pending));
            prop_assert_eq!(counts.held, ends(ReferralStatus::Held));
            prop_assert_eq!(counts.converted, ends(ReferralStatus::Converted));
        }
    }

    #[test]
    fn everybody_has_one_referrer_for_good_and_lines_never_close(
        versions in [any_rules(), any_rules()],
        actions in any_actions(200),
    ) {
        let history = History::of(versions, &actions);
        let audit = Audit::of(history.memory(), |audit, user_id, event| {
            let ParticipantEvent::ReferralApplied(applied) = event else { return };
            assert_ne!(&applied.referrer_user_id, user_id);
            assert!(audit.ledgers[user_id].referral.is_none(), "{user_id} was referred twice");
        });
        for (user_id, ledger) in &audit.ledgers {
            let mut met = HashSet::from([user_id]);
            let mut above = &ledger.referral;
            while let Some((referrer, _)) = above {
                prop_assert!(met.insert(referrer), "a circle through {}", referrer);
                above = &audit.ledgers[referrer].referral;
            }
            let written = history.memory().referrals().get(&Scene::id(user_id.as_str()));
            prop_assert_eq!(written, ledger.referral.as_ref().map(|(referrer, _)| referrer));
        }
    }

    #[test]
    fn a_referral_converts_once_at_most_and_one_first_purchase_earns(
        versions in [any_rules(), any_rules()],
        actions in any_actions(200),
    ) {
        let history = History::of(versions, &actions);
        let audit = Audit::of(history.memory(), |audit, user_id, event| {
            let ParticipantEvent::ReferralConverted(converted) = event else { return };
            if let Some(purchase_id) = &converted.purchase_id {
                assert!(audit.earning.contains(purchase_id), "{user_id} {converted:?}");
            }
        });
        for (user_id, ledger) in &audit.ledgers {
            prop_assert!(ledger.conversions <= u32::from(ledger.referral.is_some()), "{}", user_id);
        }
        for (buyer, purchases) in &audit.first_purchases {
            prop_assert!(purchases.len() <= 1, "{} bought for the first time: {:?}", buyer, purchases);
        }
    }

    #[test]
    fn the_shares_of_a_purchase_never_exceed_it(
        versions in [any_rules(), any_rules()],
        actions in any_actions(200),
    ) {
        let history = History::of(versions, &actions);
        let audit = Audit::of(history.memory(), |_, _, _| {});
        for (purchase_id, shared) in &audit.shared {
            prop_assert!(*shared <= audit.purchases[purchase_id].amount_minor);
        }
    }

    #[test]
    fn nobody_earns_through_a_referral_that_is_held_or_rejected(
        versions in [any_rules(), any_rules()],
        actions in any_actions(200),
    ) {
        let history = History::of(versions, &actions);
        let audit = Audit::of(history.memory(), |audit, _, event| {
            let ParticipantEvent::RewardGranted(granted) = event else { return };
            let mut at = granted.source_user_id.clone();
            // What the source earns depends on the source's own referral, too.
            for _ in 0..granted.level.max(1) {
                let ledger = &audit.ledgers[&at];
                let is_counted =
                    matches!(ledger.status, Some(ReferralStatus::Pending | ReferralStatus::Converted));
                assert!(is_counted, "{at} {granted:?}");
                at = ledger.referral.clone().unwrap().0;
            }
        });
        for (user_id, ledger) in &audit.ledgers {
            let state = history.scene.participant(user_id.as_str());
            let referral = state.referral();
            prop_assert_eq!(referral.map(|of| of.status), ledger.status);
            let is_held = ledger.status == Some(ReferralStatus::Held);
            prop_assert_eq!(referral.is_some_and(|of| !of.hold_reasons.is_empty()), is_held);
            let is_confirmed =
                history.memory().state::<crate::User>(user_id).profile().is_email_confirmed();
            let waits = |of: &crate::Referral| of.hold_reasons.contains(&HoldReason::UnconfirmedEmail);
            prop_assert!(!(is_confirmed && referral.is_some_and(waits)), "{} waits", user_id);
        }
    }

    #[test]
    fn nobody_earns_while_inactive_nor_for_before_their_reactivation_or_the_referrals_to_them(
        versions in [any_rules(), any_rules()],
        actions in any_actions(200),
    ) {
        let history = History::of(versions, &actions);
        Audit::of(history.memory(), |audit, earner, event| {
            let ParticipantEvent::RewardGranted(granted) = event else { return };
            let ledger = &audit.ledgers[earner];
            assert!(!ledger.inactive, "{granted:?}");
            let line = audit.line(&granted.source_user_id, granted.level);
            assert_eq!(line.last().map_or(&granted.source_user_id, |(above, _)| above), earner);
            if let Some(purchase_id) = &granted.purchase_id {
                let bought = audit.purchases[purchase_id].purchase_time_us;
                let is_before = |since: Timestamp| bought.plus_seconds(5 * 60) < since;
                assert!(!ledger.reactivated.is_some_and(is_before), "{granted:?}");
                assert!(!line.iter().any(|(_, since)| is_before(*since)), "{granted:?} {line:?}");
            }
        });
    }

    #[test]
    fn tiers_pay_the_formula_for_the_referrals_that_count_whatever_the_rules_were(
        versions in [any_rules(), any_rules()],
        actions in any_actions(200),
    ) {
        let history = History::of(versions, &actions);
        let mut tally = Tally::default();
        let audit = Audit::of(history.memory(), |audit, user_id, event| {
            tally.enter(audit, user_id, event);
        });
        for user_id in audit.ledgers.keys() {
            let state = history.scene.participant(user_id.as_str());
            for earn_on in [EarnOn::Referral, EarnOn::EveryPurchase] {
                let expected = tally.referrals(user_id, earn_on);
                prop_assert_eq!(state.tier_referrals().under(earn_on), expected, "{}", user_id);
            }
        }
    }

    #[test]
    fn nobody_buys_twice_for_the_first_time_whatever_the_rules_were(
        versions in [any_rules(), any_rules()],
        actions in any_actions(200),
    ) {
        let history = History::of(versions, &actions);
        let mut bought: HashMap<UserId, HashSet<PurchaseId>> = HashMap::new();
        let mut enough: HashMap<UserId, HashSet<PurchaseId>> = HashMap::new();
        for logged in history.memory().log() {
            let Some(event) = Participant::event_ref(&logged.event) else { continue };
            let buyer = ParticipantId::parse(&logged.key.id).unwrap().user_id;
            match event {
                ParticipantEvent::FirstPurchaseUsed(used) => {
                    let is_first = if used.is_insufficient {
                        !bought.contains_key(&buyer)
                    } else {
                        !enough.contains_key(&buyer)
                    };
                    prop_assert!(is_first, "{:?}", used);
                    bought.entry(buyer.clone()).or_default().insert(used.purchase_id.clone());
                    if !used.is_insufficient {
                        enough.entry(buyer).or_default().insert(used.purchase_id.clone());
                    }
                }
                ParticipantEvent::ReferralConverted(converted) => {
                    if let Some(purchase_id) = &converted.purchase_id {
                        bought.entry(buyer.clone()).or_default().insert(purchase_id.clone());
                        enough.entry(buyer.clone()).or_default().insert(purchase_id.clone());
                    }
                }
                _ => {}
            }
        }
        // Every buyer is known to have bought.
        for logged in history.memory().log() {
            let Some(PurchaseEvent::PurchaseRecorded(recorded)) = Purchase::event_ref(&logged.event)
            else { continue };
            let buyer = &recorded.buyer_user_id;
            let id = Scene::id(buyer.as_str());
            let had_a_program = history.memory().log().iter().any(|enrolled| {
                *enrolled.key.id == *id.to_string() && enrolled.sequence == 1
                    && enrolled.command < logged.command
            });
            prop_assert!(bought.contains_key(buyer) || !had_a_program, "{}", buyer);
        }
    }

    #[test]
    fn replaying_the_log_and_reading_a_snapshot_give_the_state_that_was_kept(
        versions in [any_rules(), any_rules()],
        actions in any_actions(200),
    ) {
        let history = History::of(versions, &actions);
        for (key, kept) in history.memory().streams() {
            assert_replays(history.memory(), key, kept);
        }
    }

    #[test]
    fn a_server_with_nothing_in_memory_decides_as_one_with_everything(
        versions in [any_rules(), any_rules()],
        actions in any_actions(120),
    ) {
        let warm = History::read(Reading::Warm, versions.clone(), &actions);
        let cold = History::read(Reading::Cold, versions, &actions);
        prop_assert_eq!(warm.memory().log(), cold.memory().log());
    }

    #[test]
    fn a_code_is_valid_exactly_if_a_sign_up_with_it_would_be_referred(
        versions in [any_rules(), any_rules()],
        actions in any_actions(60),
    ) {
        let history = History::of(versions, &actions);
        for (code, owner) in codes(&history) {
            assert_agrees_for_a_newcomer(&history, &code);
            let is_here = |name: &&String| history.scene.user_exists(name);
            for person in history.people.iter().filter(is_here) {
                assert_agrees_for(&history, &code, owner.as_ref(), person);
            }
        }
    }

    #[test]
    fn as_many_sign_ups_are_referred_as_uses_remain(
        versions in [any_rules(), any_rules()],
        actions in any_actions(60),
    ) {
        let mut history = History::of(versions, &actions);
        for (code, _) in codes(&history) {
            let verdict = history.scene.verdict(&code, None).unwrap();
            let Some(remaining) = verdict.remaining_uses else { continue };
            prop_assert_eq!(verdict.fault, (remaining == 0).then_some(CodeFault::Exhausted));
            let mut referred = 0;
            for _ in 0..=remaining {
                if history.register(Some(PROGRAM), Some(&code)).is_ok() {
                    let newcomer = history.people.last().unwrap();
                    referred += u32::from(history.scene.referrer(newcomer).is_some());
                }
            }
            prop_assert_eq!(referred, remaining);
        }
    }
}

/// A referral, as tiers see it.
struct Tallied {
    referrer: UserId,
    is_counted: bool,
    /// Whether the referrer was active when the referral was made or released.
    was_active: bool,
    /// Whether the referrer could earn at the conversion; none before it.
    could_earn: Option<bool>,
}

/// Which referrals count for tiers, by the events of the log alone.
#[derive(Default)]
struct Tally {
    /// By referee.
    referrals: HashMap<UserId, Tallied>,
    points: HashMap<UserId, i64>,
}

impl Tally {
    fn referrals(&self, referrer: &UserId, earn_on: EarnOn) -> u32 {
        let counts = |of: &&Tallied| {
            of.referrer == *referrer
                && of.is_counted
                && of.was_active
                && (earn_on == EarnOn::Referral || of.could_earn == Some(true))
        };
        u32::try_from(self.referrals.values().filter(counts).count()).unwrap()
    }

    fn enter(&mut self, audit: &Audit, user_id: &UserId, event: &ParticipantEvent) {
        match event {
            ParticipantEvent::ReferralApplied(applied) => {
                let tallied = Tallied {
                    was_active: !audit.ledgers[&applied.referrer_user_id].inactive,
                    referrer: applied.referrer_user_id.clone(),
                    is_counted: applied.status == ReferralStatus::Pending,
                    could_earn: None,
                };
                self.referrals.insert(user_id.clone(), tallied);
            }
            // A released referral counts as if it had just been made. A converted one only remembers its flags.
            ParticipantEvent::ReferralStandingChanged(changed)
                if changed.status != ReferralStatus::Converted =>
            {
                let of = self.referrals.get_mut(user_id).unwrap();
                of.is_counted = changed.status == ReferralStatus::Pending;
                of.was_active = !audit.ledgers[&of.referrer].inactive;
            }
            ParticipantEvent::ReferralConverted(converted) => {
                let of = self.referrals.get_mut(user_id).unwrap();
                let ledger = &audit.ledgers[&of.referrer];
                let bought =
                    converted.purchase_id.as_ref().map(|id| audit.purchases[id].purchase_time_us);
                let is_early =
                    |(bought, since): (Timestamp, Timestamp)| bought.plus_seconds(5 * 60) < since;
                of.could_earn =
                    Some(!ledger.inactive && !bought.zip(ledger.reactivated).is_some_and(is_early));
            }
            ParticipantEvent::RewardGranted(granted) => {
                let rules = audit.version(granted.program_version);
                let Pay::Tiers(tiers) = &audit.rule(granted.program_version, granted.level).pay
                else {
                    return assert_eq!(granted.tier_referrals, None);
                };
                let of = &self.referrals[&granted.source_user_id];
                assert!(of.was_active, "{granted:?}");
                let is_converting = granted.purchase_id.is_some() && of.could_earn.is_none();
                let referrals = self.referrals(user_id, rules.earn_on) + u32::from(is_converting);
                let points = self.points.entry(user_id.clone()).or_default();
                assert_eq!(granted.tier_referrals, Some(referrals));
                assert_eq!(granted.posting.amount, (points_at(tiers, referrals) - *points).max(0));
                *points += granted.posting.amount;
            }
            _ => {}
        }
    }
}

/// Every code with its owner, and an unknown one.
fn codes(history: &History) -> Vec<(String, Option<UserId>)> {
    let known = history.people.iter().filter_map(|name| {
        let participant = history.scene.participant(name);
        let is_erased = participant.is_erased();
        let owner = (!is_erased).then(|| user(name));
        participant.exists().then(|| (participant.code().to_owned(), owner))
    });
    known.chain([("nonsense".to_owned(), None)]).collect()
}

/// Why a command makes no referral for the user: the reason of its refusal, or that for which the code was passed
/// over.
fn fault_of(memory: &Memory, command: &Command, name: &str) -> Option<CodeFault> {
    let mut memory = memory.clone();
    let mark = memory.log().len();
    match memory.apply(command) {
        Err(Halt::Refused(refusal)) => {
            let fault = CodeFault::of(&refusal);
            assert!(fault.is_some(), "{name}: {refusal:?} is no reason of a code");
            fault
        }
        result => {
            assert_eq!(result, Ok(()), "{name}");
            let passed_over =
                memory.participant_events_since(mark).find_map(|(_, event)| match event {
                    ParticipantEvent::ParticipantEnrolled(event) => event.code_passed_over,
                    _ => None,
                });
            let is_referred = memory.state::<Participant>(&Scene::id(name)).referral().is_some();
            assert_eq!(is_referred, passed_over.is_none(), "{name}");
            passed_over
        }
    }
}

fn assert_agrees_for_a_newcomer(history: &History, code: &str) {
    let sign_up = Command::RegisterUser(Box::new(RegisterUser {
        profile: profile("newcomer"),
        address_key: None,
        mailbox: None,
        client_ip: None,
        fingerprint_key: None,
        program_id: Some(program(PROGRAM)),
        referral_code: Some(code.to_lowercase()),
        api_key: None,
        is_address_confirmed: false,
    }));
    let fault = fault_of(history.memory(), &sign_up, "newcomer");
    assert_eq!(history.scene.fault(code, None), fault, "{code}");
}

fn assert_agrees_for(history: &History, code: &str, owner: Option<&UserId>, name: &str) {
    let verdict = history.scene.verdict(code, Some(name)).unwrap();
    let participant = history.scene.participant(name);
    let own_referrer = participant
        .referral()
        .filter(|referral| referral.status != ReferralStatus::Rejected)
        .map(|referral| &referral.referrer_user_id);
    let command = if participant.exists() {
        Command::ApplyReferral(ApplyReferral {
            program_id: Some(program(PROGRAM)),
            referee_user_id: user(name),
            referrer: Referrer::Code(code.into()),
        })
    } else {
        Command::EnrollParticipant(EnrollParticipant {
            program_id: program(PROGRAM),
            user_id: user(name),
            referral_code: Some(code.into()),
        })
    };
    let mut fault = fault_of(history.memory(), &command, name);
    if own_referrer.is_some() && own_referrer == owner && fault == Some(CodeFault::AlreadyReferred)
    {
        // The code through which the user came stays good for them.
        fault = None;
    }
    assert_eq!(verdict.fault, fault, "{name} {code}");
}
