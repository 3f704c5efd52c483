//! With fraud checks on, only referrals that stand earn, whatever operators decide and in whatever order.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use proptest::prelude::*;

use super::assert_replays;
use super::history::any_rules;
use crate::decide::{Command, FlagRefusedSignUp, RecordPurchase, ResolveFraudFlag};
use crate::fraud::{
    FraudCheck, FraudChecks, FraudPolicy, Occasion, ReferralBurst, SignUpsPerAddress,
    SimilarAddress,
};
use crate::rules::ProgramRules;
use crate::tests::memory_work::{DISPOSABLE_DOMAIN, Memory, Reading};
use crate::tests::programs::evidence::try_to_change_address;
use crate::tests::programs::screening::{SignUp, flags};
use crate::tests::scene::{PROGRAM, Scene, program, user};
use crate::{
    AnyEvent, FraudDecision, FraudFlag, FraudFlagEvent, FraudFlagId, FraudFlagRaised, Halt,
    HoldReason, Participant, ParticipantEvent, ParticipantId, PurchaseId, ReferralStatus, Refusal,
    UserId,
};

/// A second program with the same rules.
const ANOTHER: &str = "another";
const PROGRAMS: [&str; 2] = [PROGRAM, ANOTHER];
/// Names of mailboxes: the first ones are similar to or look like each other.
const NAMES: [&str; 6] =
    ["john.smith", "j0hn.smith", "john.smith1", "johnsmith", "maria.silva", "wilhelmina"];
const DOMAINS: [&str; 3] = ["gmail.com", "corp.example", DISPOSABLE_DOMAIN];
const DECISIONS: [FraudDecision; 3] =
    [FraudDecision::Released, FraudDecision::Rejected, FraudDecision::RejectedAndDeactivated];

// Any checks.

fn any_policy() -> impl Strategy<Value = FraudPolicy> {
    prop_oneof![Just(FraudPolicy::Flag), Just(FraudPolicy::Hold), Just(FraudPolicy::Reject)]
}

fn any_check() -> impl Strategy<Value = Option<FraudCheck>> {
    proptest::option::of(any_policy().prop_map(|policy| FraudCheck { policy }))
}

prop_compose! {
    fn any_checks()(
        sign_ups in proptest::option::of((1..4_u32, any_policy())),
        burst in proptest::option::of((1..4_u32, any_policy())),
        similar in proptest::option::of(any_policy()),
        (same_mailbox, look_alike, fingerprint) in (any_check(), any_check(), any_check()),
        (mutual_referral, disposable_domain) in (any_check(), any_check()),
    ) -> FraudChecks {
        FraudChecks {
            sign_ups_per_address: sign_ups.map(|(max_sign_ups, policy)| {
                SignUpsPerAddress { max_sign_ups, window_hours: 1, policy }
            }),
            same_mailbox,
            look_alike,
            similar_address: similar
                .map(|policy| SimilarAddress { policy, ..SimilarAddress::default() }),
            fingerprint,
            mutual_referral,
            referral_burst: burst.map(|(max_referrals_per_hour, policy)| {
                ReferralBurst { max_referrals_per_hour, policy }
            }),
            disposable_domain,
        }
    }
}

fn any_checked_rules() -> impl Strategy<Value = ProgramRules> {
    (any_rules(), any_checks())
        .prop_map(|(rules, fraud_checks)| ProgramRules { fraud_checks, ..rules })
}

// Any acts.

/// What people and operators do. Users, flags and purchases are numbered, modulo their number.
#[derive(Clone, Debug)]
enum Act {
    SignUp {
        address: usize,
        referrer: Option<usize>,
        client_ip: Option<u8>,
        fingerprint: Option<u8>,
    },
    Enroll {
        who: usize,
        referrer: Option<usize>,
        second: bool,
    },
    Attach {
        referee: usize,
        referrer: usize,
    },
    Buy {
        buyer: usize,
        fingerprint: Option<u8>,
    },
    ChangeAddress {
        who: usize,
        address: usize,
    },
    Confirm(usize),
    Decide {
        flag: usize,
        decision: usize,
    },
    MakeUp {
        purchase: usize,
        second: bool,
    },
    Deactivate(usize),
    Reactivate(usize),
    Erase(usize),
    Wait,
}

fn any_act() -> impl Strategy<Value = Act> {
    let number = any::<usize>;
    let some = || proptest::option::weighted(0.8, any::<usize>());
    let shared = || proptest::option::weighted(0.6, 0..3_u8);
    prop_oneof![
        12 => (number(), some(), shared(), shared()).prop_map(
            |(address, referrer, client_ip, fingerprint)| {
                Act::SignUp { address, referrer, client_ip, fingerprint }
            }
        ),
        4 => (number(), some(), any::<bool>())
            .prop_map(|(who, referrer, second)| Act::Enroll { who, referrer, second }),
        4 => (number(), number()).prop_map(|(referee, referrer)| Act::Attach { referee, referrer }),
        12 => (number(), shared()).prop_map(|(buyer, fingerprint)| Act::Buy { buyer, fingerprint }),
        3 => (number(), number()).prop_map(|(who, address)| Act::ChangeAddress { who, address }),
        4 => number().prop_map(Act::Confirm),
        14 => (number(), number()).prop_map(|(flag, decision)| Act::Decide { flag, decision }),
        4 => (number(), any::<bool>())
            .prop_map(|(purchase, second)| Act::MakeUp { purchase, second }),
        1 => number().prop_map(Act::Deactivate),
        3 => number().prop_map(Act::Reactivate),
        1 => number().prop_map(Act::Erase),
        1 => Just(Act::Wait),
    ]
}

fn any_acts(most: usize) -> impl Strategy<Value = Vec<Act>> {
    proptest::collection::vec(any_act(), 1..=most)
}

/// Two programs in use.
struct Reviewed {
    scene: Scene,
    rules: ProgramRules,
    /// Everybody with their present address.
    people: Vec<(String, String)>,
    purchases: usize,
    addresses: usize,
}

impl Reviewed {
    fn read(reading: Reading, rules: &ProgramRules, acts: &[Act]) -> Self {
        let mut scene = Scene::read(reading, rules.clone());
        scene.publish(ANOTHER, rules.clone()).unwrap();
        let rules = rules.clone();
        let mut reviewed = Self { scene, rules, people: Vec::new(), purchases: 0, addresses: 0 };
        for act in acts {
            let result = reviewed.act(act);
            assert!(matches!(result, Ok(()) | Err(Halt::Refused(_))), "{act:?} came to {result:?}");
        }
        reviewed
    }

    fn memory(&self) -> &Memory {
        &self.scene.memory
    }

    fn person(&self, number: usize) -> String {
        let known = self.people.get(number % self.people.len().max(1));
        known.map_or_else(|| "nobody".into(), |(name, _)| name.clone())
    }

    fn participant(&self, program_id: &str, name: &str) -> std::sync::Arc<Participant> {
        self.memory().state(&ParticipantId::new(&program(program_id), &user(name)))
    }

    /// An address that nobody has, though somebody may have the mailbox.
    fn fresh_address(&mut self, number: usize) -> String {
        self.addresses += 1;
        let (name, domain) = (NAMES[number % NAMES.len()], DOMAINS[number / 8 % DOMAINS.len()]);
        format!("{name}+{}@{domain}", self.addresses)
    }

    fn act(&mut self, act: &Act) -> Result<(), Halt> {
        match act {
            Act::SignUp { address, referrer, client_ip, fingerprint } => {
                self.sign_up(*address, *referrer, *client_ip, *fingerprint)
            }
            Act::Enroll { who, referrer, second } => {
                let program_id = PROGRAMS[usize::from(*second)];
                let code = referrer
                    .map(|of| self.participant(program_id, &self.person(of)).code().to_owned());
                self.scene.enroll(&self.person(*who), program_id, code.as_deref())
            }
            Act::Attach { referee, referrer } => {
                self.scene.attach(&self.person(*referee), &self.person(*referrer))
            }
            Act::Buy { buyer, fingerprint } => {
                self.purchases += 1;
                self.scene.tell(&Command::RecordPurchase(RecordPurchase {
                    purchase_id: PurchaseId::parse(&format!("order-{}", self.purchases)).unwrap(),
                    buyer_user_id: user(&self.person(*buyer)),
                    amount_minor: 2_000,
                    currency_code: "USD".into(),
                    purchase_time: None,
                    program_ids: None,
                    fingerprint_key: fingerprint.map(|of| format!("card {of}")),
                }))
            }
            Act::ChangeAddress { who, address } => {
                let to = self.fresh_address(*address);
                let count = self.people.len().max(1);
                let Some((name, from)) = self.people.get(who % count).cloned() else {
                    return Ok(());
                };
                try_to_change_address(&mut self.scene, &name, &from, &to)?;
                self.people[who % count].1 = to;
                Ok(())
            }
            Act::Confirm(who) => self.scene.confirm(&self.person(*who)),
            Act::Decide { flag, decision } => {
                let flags = flags(&self.scene);
                let Some((flag_id, raised)) = flags.get(flag % flags.len().max(1)) else {
                    return Ok(());
                };
                self.decide(flag_id, raised, DECISIONS[decision % DECISIONS.len()])
            }
            Act::MakeUp { purchase, second } => {
                let number = purchase % self.purchases.max(1) + 1;
                let purchase_id = PurchaseId::parse(&format!("order-{number}")).unwrap();
                let program_id = program(PROGRAMS[usize::from(*second)]);
                self.scene.tell(&Command::MakeUpPurchase { purchase_id, program_id })
            }
            Act::Deactivate(who) => {
                let user_id = user(&self.person(*who));
                self.scene.tell(&Command::DeactivateUser { user_id })
            }
            Act::Reactivate(who) => {
                let user_id = user(&self.person(*who));
                self.scene.tell(&Command::ReactivateUser { user_id })
            }
            Act::Erase(who) => self.scene.erase(&self.person(*who), true),
            Act::Wait => {
                self.scene.memory.set_now(self.memory().now().plus_seconds(60 * 60));
                Ok(())
            }
        }
    }

    fn sign_up(
        &mut self,
        address: usize,
        referrer: Option<usize>,
        client_ip: Option<u8>,
        fingerprint: Option<u8>,
    ) -> Result<(), Halt> {
        let (name, email) = (format!("person-{}", self.people.len()), self.fresh_address(address));
        let referrer = referrer.map(|of| self.person(of));
        let referrer = referrer.filter(|of| self.participant(PROGRAM, of).exists());
        let client_ip = client_ip.map(|of| format!("192.0.2.{of}"));
        let fingerprint = fingerprint.map(|of| format!("card {of}"));
        let signed_up = SignUp {
            name: &name,
            email: &email,
            referrer: referrer.as_deref(),
            client_ip: client_ip.as_deref(),
            fingerprint: fingerprint.as_deref(),
        }
        .make(&mut self.scene);
        match (&signed_up, client_ip) {
            (Ok(()), _) => self.people.push((name, email)),
            (Err(Halt::Refused(Refusal::TooManySignUps { program_id, .. })), Some(client_ip)) => {
                let (program_id, client_ip) = (program_id.clone(), client_ip.parse().unwrap());
                let flag = FlagRefusedSignUp { program_id, client_ip, count: 1 };
                self.scene.tell(&Command::FlagRefusedSignUp(flag))?;
            }
            _ => {}
        }
        signed_up
    }

    /// Decides about a flag, and looks at what became of the referral.
    fn decide(
        &mut self,
        flag_id: &FraudFlagId,
        raised: &FraudFlagRaised,
        decision: FraudDecision,
    ) -> Result<(), Halt> {
        let before = self.memory().state::<FraudFlag>(flag_id).decision();
        let referral = self.referral(raised);
        let uses = self.uses(raised);
        let flag_id = flag_id.clone();
        let id = flag_id.to_string();
        let resolve = ResolveFraudFlag {
            flag_id,
            decision,
            reverses_rewards: false,
            note: None,
            may_deactivate_staff: false,
        };
        self.scene.tell(&Command::ResolveFraudFlag(Box::new(resolve)))?;
        let (Some((was, _)), Some((is, reasons))) = (referral, self.referral(raised)) else {
            return Ok(());
        };
        if before == Some(decision) {
            assert_eq!(was, is, "the decision that holds changes nothing");
            return Ok(());
        }
        let freed = i64::from(uses) - i64::from(self.uses(raised));
        let takes_place = |status| i64::from(status != ReferralStatus::Rejected);
        assert_eq!(freed, takes_place(was) - takes_place(is), "{raised:?} {decision:?}");
        if decision.rejects() {
            let ends = [ReferralStatus::Rejected, ReferralStatus::Converted];
            assert!(ends.contains(&is), "{raised:?} is {is:?}");
            assert!(is == ReferralStatus::Rejected || was == is);
            if freed == 1 {
                self.assert_room(raised);
            }
        } else if self.is_another_against(&id, raised) {
            assert_ne!(
                is,
                ReferralStatus::Pending,
                "{raised:?} counts, and another flag is against it"
            );
        } else {
            // A referral that also waits for the address counts when that is confirmed.
            let counts = matches!(is, ReferralStatus::Pending | ReferralStatus::Converted);
            let waits = is == ReferralStatus::Held && reasons == [HoldReason::UnconfirmedEmail];
            assert!(counts || waits, "{raised:?} is {is:?} for {reasons:?}");
        }
        Ok(())
    }

    /// Whether another flag of the same referral holds or rejects it, by what was raised and decided.
    fn is_another_against(&self, flag_id: &str, raised: &FraudFlagRaised) -> bool {
        let mut against = BTreeMap::new();
        for logged in self.memory().log() {
            let id = logged.key.id.to_string();
            match &logged.event {
                AnyEvent::FraudFlag(FraudFlagEvent::FraudFlagRaised(other)) => {
                    let same = other.referee_user_id == raised.referee_user_id
                        && other.program_id == raised.program_id;
                    if same && id != flag_id {
                        against.insert(id, other.consequence > FraudPolicy::Flag);
                    }
                }
                AnyEvent::FraudFlag(FraudFlagEvent::FraudFlagResolved(resolved)) => {
                    against.entry(id).and_modify(|is| *is = resolved.decision.rejects());
                }
                _ => {}
            }
        }
        against.values().any(|is| *is)
    }

    /// The place of a rejected referral can be taken by another.
    fn assert_room(&self, raised: &FraudFlagRaised) {
        let Some(referrer) = &raised.referrer_user_id else { return };
        let uses = self.uses(raised);
        let limits = [self.rules.max_uses_per_code, self.rules.max_direct_referrals];
        assert!(limits.into_iter().flatten().all(|limit| uses < limit), "{referrer} has no room");
    }

    /// How the referral of a flag stands, and for which reasons it is held; `None` if there is none any more.
    fn referral(&self, raised: &FraudFlagRaised) -> Option<(ReferralStatus, Vec<HoldReason>)> {
        let referee = raised.referee_user_id.as_ref()?;
        let participant = self.participant(raised.program_id.as_str(), referee.as_str());
        let referral = participant.referral().filter(|_| !participant.is_erased())?;
        Some((referral.status, referral.hold_reasons.clone()))
    }

    fn uses(&self, raised: &FraudFlagRaised) -> u32 {
        let of = |user_id: &UserId| {
            self.participant(raised.program_id.as_str(), user_id.as_str()).uses()
        };
        raised.referrer_user_id.as_ref().map_or(0, of)
    }
}

// What the log says.

/// The log, evaluated event by event without the aggregates.
#[derive(Default)]
struct Ledger {
    /// By referee.
    referrals: HashMap<ParticipantId, (UserId, ReferralStatus)>,
    flags: HashMap<String, FraudFlagRaised>,
    cleared: BTreeSet<[UserId; 2]>,
    /// How many flags a referral has that was about to be made.
    flagged: BTreeMap<(String, UserId), u32>,
}

fn pair(one: &UserId, other: &UserId) -> [UserId; 2] {
    let mut pair = [one.clone(), other.clone()];
    pair.sort_unstable();
    pair
}

impl Ledger {
    /// Reads the log, and checks each event against what came before.
    fn of(memory: &Memory) -> Self {
        let mut ledger = Self::default();
        for logged in memory.log() {
            match &logged.event {
                AnyEvent::Participant(event) => {
                    ledger.enter(&ParticipantId::parse(&logged.key.id).unwrap(), event);
                }
                AnyEvent::FraudFlag(event) => ledger.flag(&logged.key.id, event),
                _ => {}
            }
        }
        ledger
    }

    fn enter(&mut self, id: &ParticipantId, event: &ParticipantEvent) {
        match event {
            ParticipantEvent::ReferralApplied(applied) => {
                let referral = (applied.referrer_user_id.clone(), applied.status);
                let before = self.referrals.insert(id.clone(), referral);
                assert_eq!(before, None, "{id} was referred twice");
            }
            ParticipantEvent::ReferralStandingChanged(changed) => {
                self.referrals.get_mut(id).unwrap().1 = changed.status;
            }
            ParticipantEvent::ReferralConverted(_) => {
                let status = &mut self.referrals.get_mut(id).unwrap().1;
                assert_eq!(*status, ReferralStatus::Pending, "{id} converted");
                *status = ReferralStatus::Converted;
            }
            ParticipantEvent::RewardGranted(granted) => {
                let mut at = ParticipantId::new(&id.program_id, &granted.source_user_id);
                // What the source earns depends on the source's own referral, too.
                for _ in 0..granted.level.max(1) {
                    let (referrer, status) = self.referrals[&at].clone();
                    let counts =
                        matches!(status, ReferralStatus::Pending | ReferralStatus::Converted);
                    assert!(counts, "{at} is {status:?}, and {id} earned {granted:?}");
                    at.user_id = referrer;
                }
            }
            _ => {}
        }
    }

    fn flag(&mut self, flag_id: &str, event: &FraudFlagEvent) {
        match event {
            FraudFlagEvent::FraudFlagRaised(raised) => {
                if let Some(referee) = &raised.referee_user_id {
                    for other in raised.others() {
                        assert!(!self.cleared.contains(&pair(referee, other)), "{raised:?}");
                    }
                    if raised.occasion == Occasion::Referral {
                        let key = (raised.program_id.to_string(), referee.clone());
                        *self.flagged.entry(key).or_default() += 1;
                    }
                }
                self.flags.insert(flag_id.into(), raised.clone());
            }
            FraudFlagEvent::FraudFlagResolved(resolved) => {
                let raised = &self.flags[flag_id];
                let Some(referee) = &raised.referee_user_id else { return };
                for other in raised.others() {
                    if resolved.decision == FraudDecision::Released {
                        self.cleared.insert(pair(referee, other));
                    } else {
                        self.cleared.remove(&pair(referee, other));
                    }
                }
            }
            FraudFlagEvent::FraudFlagRepeated(_) => {}
        }
    }

    /// How many referrals of a referrer have a status.
    fn count(&self, referrer: &ParticipantId, status: ReferralStatus) -> u32 {
        let own = self.referrals.iter().filter(|(referee, (of, is))| {
            referee.program_id == referrer.program_id && *of == referrer.user_id && *is == status
        });
        u32::try_from(own.count()).unwrap()
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn with_fraud_checks_nobody_earns_through_a_referral_that_is_held_or_rejected(
        rules in any_checked_rules(),
        acts in any_acts(150),
    ) {
        prop_assert_eq!(rules.faults(), []);
        let reviewed = Reviewed::read(Reading::Warm, &rules, &acts);
        let ledger = Ledger::of(reviewed.memory());
        for program_id in PROGRAMS {
            for (name, _) in &reviewed.people {
                let id = ParticipantId::new(&program(program_id), &user(name));
                let state = reviewed.participant(program_id, name);
                let kept = state.referral().map(|of| of.status);
                prop_assert_eq!(kept, ledger.referrals.get(&id).map(|(_, status)| *status));
                let [pending, held, converted] =
                    [ReferralStatus::Pending, ReferralStatus::Held, ReferralStatus::Converted]
                        .map(|status| ledger.count(&id, status));
                let counts = state.referrals();
                let kept = (counts.pending, counts.held, counts.converted);
                prop_assert_eq!(kept, (pending, held, converted), "{}", &id);
                prop_assert_eq!(state.uses(), pending + held + converted, "{}", &id);
                let limits = [rules.max_uses_per_code, rules.max_direct_referrals];
                prop_assert!(limits.into_iter().flatten().all(|limit| state.uses() <= limit));
            }
        }
        prop_assert!(ledger.flagged.values().all(|count| *count == 1), "{:?}", &ledger.flagged);
        // Nothing is held for a review or rejected without a flag.
        for (referee, (_, status)) in &ledger.referrals {
            let state = reviewed.memory().state::<Participant>(referee);
            let reasons = &state.referral().unwrap().hold_reasons;
            if *status == ReferralStatus::Rejected || reasons.contains(&HoldReason::Review) {
                let is_about = |raised: &&FraudFlagRaised| {
                    raised.program_id == referee.program_id
                        && raised.referee_user_id.as_ref() == Some(&referee.user_id)
                };
                prop_assert!(ledger.flags.values().find(is_about).is_some(), "{}", referee);
            }
        }
        for (key, kept) in reviewed.memory().streams() {
            assert_replays(reviewed.memory(), key, kept);
        }
    }

    #[test]
    fn a_server_with_nothing_in_memory_flags_as_one_with_everything(
        rules in any_checked_rules(),
        acts in any_acts(80),
    ) {
        let warm = Reviewed::read(Reading::Warm, &rules, &acts);
        let cold = Reviewed::read(Reading::Cold, &rules, &acts);
        prop_assert_eq!(warm.memory().log(), cold.memory().log());
    }
}
