//! One program in use, and what the oracle and the audit say of its log.

use std::collections::BTreeSet;
use std::sync::Arc;

use domain::decide::{
    CancelRefund, CloseDispute, Command, ConfirmEmail, EndHoldPeriod, HoldReward, OpenDispute,
    Price, RecordPurchase, RefundPurchase, RegisterUser, Report, ReportPayment, ResolveFraudFlag,
    RewardName,
};
use domain::fraud::{Address, Mailbox};
use domain::rules::ProgramRules;
use domain::{
    AnyAggregate, AnyEvent, DisputeId, DisputeOutcome, FraudDecision, FraudFlagId, Kind,
    ParticipantEvent, ParticipantId, Profile, ProgramId, PurchaseId, RefundId, UserId,
};
use serde_json::{Value, json};

use super::super::Oracle;
use super::memory::Memory;
use crate::read::audit::Audit;
use crate::store::RecordedEvent;

/// A program of which some fields differ from a plain one.
pub(super) fn rules(changes: &Value) -> Value {
    let mut rules = json!({
        "display_name": "P", "unit": "USD", "base_url": "",
        "code": { "length": 8, "alphabet": "0123456789" },
        "attach": "any_time", "unknown_code": "reject", "exhausted_code": "reject",
        "earn_on": "every_purchase", "minimum_purchase_minor": 0, "rewards": [],
        "purchase_currency_code": "USD", "credit_purchases": false, "leaderboard": "earnings",
        "enroll_by_default": false,
    });
    for (name, value) in changes.as_object().unwrap() {
        rules[name] = value.clone();
    }
    if rules["earn_on"] == "referral" {
        rules["purchase_currency_code"] = Value::Null;
    }
    rules
}

pub(super) fn rate(level: u32, rate_bps: u32, cap_minor: Option<i64>) -> Value {
    rule(level, "commission", &json!({ "rate_bps": rate_bps }), cap_minor)
}

pub(super) fn flat(level: u32, minor: i64, cap_minor: Option<i64>) -> Value {
    rule(level, "bonus", &json!({ "flat_minor": minor }), cap_minor)
}

pub(super) fn tiers() -> Value {
    let tier = |name, from, rate, bonus| {
        json!({
            "name": name, "from_referrals": from, "rate_points": rate, "bonus_points": bonus,
        })
    };
    let tiers = [tier("Bronze", 0, 10, 0), tier("Silver", 2, 15, 100), tier("Gold", 4, 25, 500)];
    rule(1, "points", &json!({ "tiers": tiers }), None)
}

fn rule(level: u32, kind: &str, pay: &Value, cap_minor: Option<i64>) -> Value {
    let mut rule = json!({
        "rule": format!("rule-{level}"), "level": level, "kind": kind, "pay": pay,
    });
    if let Some(cap_minor) = cap_minor {
        rule["cap_minor"] = json!(cap_minor);
    }
    rule
}

/// Whether a program has no faults.
pub(super) fn is_valid(rules: &Value) -> bool {
    serde_json::from_value::<ProgramRules>(rules.clone()).unwrap().faults().is_empty()
}

/// A reward, as a caller names it.
#[derive(Clone, Debug)]
pub(super) struct Named(RewardName);

#[derive(Clone)]
pub(super) struct Scene {
    pub(super) memory: Memory,
}

fn user(name: &str) -> UserId {
    UserId::parse(name).unwrap()
}

fn program() -> ProgramId {
    ProgramId::parse("p").unwrap()
}

fn purchase(id: &str) -> PurchaseId {
    PurchaseId::parse(id).unwrap()
}

fn price(amount_minor: i64) -> Price {
    Price { amount_minor, currency_code: "USD".into() }
}

fn record(unit: &str, id: &str, buyer: &str, amount_minor: i64) -> RecordPurchase {
    RecordPurchase {
        purchase_id: purchase(id),
        buyer_user_id: user(buyer),
        amount_minor,
        currency_code: unit.into(),
        purchase_time: None,
        program_ids: None,
        fingerprint_key: None,
    }
}

pub(super) fn refunded(id: &str, refund: &str, amount_minor: i64) -> RefundPurchase {
    RefundPurchase {
        purchase_id: purchase(id),
        refund_id: RefundId::parse(refund).unwrap(),
        amount: Some(price(amount_minor)),
        is_report: true,
        reason: None,
        own_programs: None,
    }
}

pub(super) fn cancelled(id: &str, refund: &str) -> CancelRefund {
    let refund_id = RefundId::parse(refund).unwrap();
    CancelRefund { purchase_id: purchase(id), refund_id, own_programs: None }
}

pub(super) fn disputed(id: &str, dispute: &str, amount_minor: i64) -> OpenDispute {
    OpenDispute {
        purchase_id: purchase(id),
        dispute_id: DisputeId::parse(dispute).unwrap(),
        amount: Some(price(amount_minor)),
        own_programs: None,
    }
}

pub(super) fn closed(id: &str, dispute: &str, outcome: DisputeOutcome) -> CloseDispute {
    let dispute_id = DisputeId::parse(dispute).unwrap();
    CloseDispute { purchase_id: purchase(id), dispute_id, outcome, own_programs: None }
}

impl Scene {
    pub(super) fn of(rules: &Value) -> Self {
        let mut scene = Self { memory: Memory::new() };
        scene.publish(rules);
        scene
    }

    pub(super) fn tell(&mut self, command: &Command) -> bool {
        self.memory.apply(command)
    }

    pub(super) fn publish(&mut self, rules: &Value) {
        let rules: ProgramRules = serde_json::from_value(rules.clone()).unwrap();
        assert_eq!(rules.faults(), [], "a program with faults is refused at the door");
        let rules = Arc::new(rules);
        let program_id = program();
        assert!(self.tell(&Command::PublishProgram { program_id, rules, expected_version: None }));
    }

    /// A sign-up with the code of `referrer`, if there is one. An address can be given instead of a name.
    pub(super) fn sign_up(&mut self, address: &str, referrer: Option<&str>) -> bool {
        let (name, domain) = address.split_once('@').unwrap_or((address, "example.com"));
        self.tell(&Command::RegisterUser(Box::new(RegisterUser {
            profile: Profile {
                user_id: user(name),
                username: name.into(),
                email: format!("{name}@{domain}"),
                display_name: String::new(),
                password_hash: None,
            },
            address_key: None,
            program_id: Some(program()),
            referral_code: referrer.map(|referrer| self.code(referrer)),
            mailbox: Address::of_comparable(address).map(Mailbox::of),
            client_ip: None,
            fingerprint_key: None,
            api_key: None,
            is_address_confirmed: false,
        })))
    }

    fn code(&self, name: &str) -> String {
        match self.memory.state(Kind::Participant, &format!("p/{name}")) {
            AnyAggregate::Participant(participant) => participant.code().into(),
            other => panic!("{other:?}"),
        }
    }

    /// A line of referrals, the first name at the top.
    pub(super) fn line(&mut self, names: &[&str]) {
        for (index, name) in names.iter().enumerate() {
            let referrer = index.checked_sub(1).map(|above| names[above]);
            assert!(self.sign_up(name, referrer));
        }
    }

    pub(super) fn confirm(&mut self, name: &str) -> bool {
        let version = match self.memory.state(Kind::User, name) {
            AnyAggregate::User(user) => user.profile().version(),
            other => panic!("{other:?}"),
        };
        let confirm = ConfirmEmail { user_id: user(name), version, change: None };
        self.tell(&Command::ConfirmEmail(Box::new(confirm)))
    }

    pub(super) fn buy(&mut self, id: &str, buyer: &str, amount_minor: i64) -> bool {
        self.buy_in("USD", id, buyer, amount_minor)
    }

    pub(super) fn buy_in(&mut self, unit: &str, id: &str, buyer: &str, amount_minor: i64) -> bool {
        self.tell(&Command::RecordPurchase(record(unit, id, buyer, amount_minor)))
    }

    /// A purchase that is not recorded yet, and what has gone back of it before it was heard of, in one command.
    pub(super) fn pay(
        &mut self,
        id: &str,
        (buyer, amount_minor): (&str, i64),
        back: Vec<Report>,
    ) -> bool {
        let mut reports = vec![Report::Recorded(record("USD", id, buyer, amount_minor))];
        reports.extend(back);
        let purchase_id = purchase(id);
        self.tell(&Command::ReportPayment(ReportPayment {
            purchase_id,
            known_sequence: 0,
            reports,
        }))
    }

    pub(super) fn make_up(&mut self, id: &str) -> bool {
        let (purchase_id, program_id) = (purchase(id), program());
        self.tell(&Command::MakeUpPurchase { purchase_id, program_id })
    }

    pub(super) fn refund(&mut self, id: &str, refund: &str, amount_minor: i64) -> bool {
        self.tell(&Command::RefundPurchase(refunded(id, refund, amount_minor)))
    }

    pub(super) fn cancel(&mut self, id: &str, refund: &str) -> bool {
        self.tell(&Command::CancelRefund(cancelled(id, refund)))
    }

    pub(super) fn dispute(&mut self, id: &str, dispute: &str, amount_minor: i64) -> bool {
        self.tell(&Command::OpenDispute(disputed(id, dispute, amount_minor)))
    }

    pub(super) fn close(&mut self, id: &str, dispute: &str, outcome: DisputeOutcome) -> bool {
        self.tell(&Command::CloseDispute(closed(id, dispute, outcome)))
    }

    /// All rewards, as they were granted.
    pub(super) fn rewards(&self) -> Vec<Named> {
        let log = self.memory.log.iter().filter(|event| &*event.event_type == "RewardGranted");
        let granted = log.filter_map(|event| match event.read().unwrap() {
            AnyEvent::Participant(ParticipantEvent::RewardGranted(granted)) => {
                let earner = ParticipantId::parse(&event.stream.id).unwrap();
                Some(Named(RewardName {
                    program_id: earner.program_id,
                    earner_user_id: earner.user_id,
                    sequence: event.sequence,
                    source_user_id: granted.source_user_id,
                    purchase_id: granted.purchase_id,
                    level: granted.level,
                }))
            }
            _ => None,
        });
        granted.collect()
    }

    pub(super) fn hold(&mut self, Named(reward): &Named, is_held: bool) -> bool {
        let input = HoldReward { reward: reward.clone(), note: None };
        let command =
            if is_held { Command::HoldReward(input) } else { Command::ReleaseReward(input) };
        self.tell(&command)
    }

    pub(super) fn end_period(&mut self, Named(reward): &Named) -> bool {
        self.tell(&Command::EndHoldPeriod(EndHoldPeriod {
            program_id: program(),
            source_user_id: reward.source_user_id.clone(),
            purchase_id: reward.purchase_id.clone(),
        }))
    }

    /// Decides about all flags.
    pub(super) fn decide(&mut self, decision: FraudDecision) {
        self.decide_all(decision, false);
    }

    /// Rejects all that is flagged, with what was earned through it.
    pub(super) fn take_back(&mut self) {
        self.decide_all(FraudDecision::Rejected, true);
    }

    fn decide_all(&mut self, decision: FraudDecision, reverses_rewards: bool) {
        let flags = self.memory.log.iter().filter(|event| event.stream.kind == Kind::FraudFlag);
        let flags: BTreeSet<_> = flags.map(|event| event.stream.id.clone()).collect();
        assert!(!flags.is_empty(), "nothing is flagged");
        for flag in flags {
            let resolve = ResolveFraudFlag {
                flag_id: FraudFlagId::parse(&flag).unwrap(),
                decision,
                reverses_rewards,
                note: None,
                may_deactivate_staff: false,
            };
            assert!(self.tell(&Command::ResolveFraudFlag(Box::new(resolve))));
        }
    }

    /// What follows for a purchase from a decision about a referral.
    pub(super) fn settle(&mut self, id: &str) -> bool {
        let (purchase_id, program_id) = (purchase(id), program());
        self.tell(&Command::SettlePurchase { purchase_id, program_id })
    }

    /// What follows from it for somebody's referral.
    pub(super) fn settle_referral(&mut self, name: &str) -> bool {
        self.tell(&Command::SettleReferral(ParticipantId::new(&program(), &user(name))))
    }

    pub(super) fn expire(&mut self, name: &str) -> bool {
        self.tell(&Command::ExpireBalance(ParticipantId::new(&program(), &user(name))))
    }

    pub(super) fn days_pass(&mut self, days: i64) {
        self.memory.now = self.memory.now.plus_seconds(days * 24 * 60 * 60);
    }

    pub(super) fn deactivate(&mut self, name: &str) -> bool {
        self.tell(&Command::DeactivateUser { user_id: user(name) })
    }

    pub(super) fn reactivate(&mut self, name: &str) -> bool {
        self.tell(&Command::ReactivateUser { user_id: user(name) })
    }

    pub(super) fn erase(&mut self, name: &str) -> bool {
        self.tell(&Command::EraseUser { user_id: user(name), forfeits_balances: true })
    }

    pub(super) fn deviations(&self) -> Vec<String> {
        deviations(&self.memory.log)
    }
}

/// What the oracle says of a log.
pub(super) fn deviations(log: &[RecordedEvent]) -> Vec<String> {
    let mut oracle = Oracle::default();
    for event in log {
        oracle.enter(event);
    }
    oracle.finish();
    oracle.findings.iter().map(ToString::to_string).collect()
}

/// What the audit says of a log.
pub(super) fn faults(log: &[RecordedEvent]) -> Vec<String> {
    let mut audit = Audit::default();
    for event in log {
        audit.enter(event).unwrap();
    }
    audit.findings.iter().map(ToString::to_string).collect()
}

/// A log in which the events that `change` accepts are others.
pub(super) fn changed(
    log: &[RecordedEvent],
    change: impl Fn(&str, &mut Value) -> bool,
) -> Vec<RecordedEvent> {
    let mut is_changed = false;
    let mut log = log.to_vec();
    for event in &mut log {
        let mut payload: Value = serde_json::from_str(&event.payload).unwrap();
        if change(&event.event_type, &mut payload) {
            is_changed = true;
            event.payload = payload.to_string().into();
        }
    }
    assert!(is_changed, "nothing was changed");
    log
}

/// A log without an event. The positions of the others stay.
pub(super) fn without(log: &[RecordedEvent], index: usize) -> Vec<RecordedEvent> {
    let mut log = log.to_vec();
    let lost = log.remove(index);
    if lost.command_events.is_some_and(|events| events > 1) {
        log[index].command_events = lost.command_events;
    }
    log
}

/// A log without the only event of a type.
pub(super) fn without_type(log: &[RecordedEvent], event_type: &str) -> Vec<RecordedEvent> {
    let last = log.iter().rposition(|event| &*event.event_type == event_type);
    without(log, last.unwrap_or_else(|| panic!("no {event_type}")))
}
