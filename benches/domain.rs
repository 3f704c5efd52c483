//! The domain without a database: deciding commands, and folding events into a participant.
//!
//! - `decide/...`: one command, in nanoseconds to microseconds. This measures the work up to the point at
//!   which a command is ready to be appended, if everything that it reads is in memory: the rules, the
//!   aggregates, a unit of work over plain maps, and the JSON of the events. Reading the request, Postgres
//!   and the answer are excluded. Every run decides the same command on the same state; its changes are
//!   discarded before the next run.
//! - `fold/...`: 1,000 events of one participant, applied in memory; the throughput is events a second.
//!   Reading one of them from the log is measured by the bench `encoding`.
//!
//! `cargo bench --bench domain -- decide` runs the first of them.

#![allow(clippy::unwrap_used, reason = "a bench may stop at the first surprise")]

use std::collections::HashMap;
use std::hint::black_box;
use std::sync::Arc;

use contract::parse_program;
use cqrs_es::Aggregate;
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use domain::decide::{Command, RecordPurchase, RegisterUser};
use domain::{
    AnyAggregate, AnyEvent, Claim, ClaimKind, EncodedEvent, Halt, LatestReferee, Participant,
    ParticipantEvent, ParticipantId, Personal, Profile, ProgramId, PurchaseId, PurchasePage,
    PurchaseSearch, Refusal, SideRow, SignUpClient, StreamKey, Timestamp, UplineWalk, UserId, Work,
    decode,
};
use tributary::api::publish_command;

/// Pays the referrer 5 % and the referrer's referrer 1 % of every purchase.
const PROGRAM: &str = include_str!("../programs/multi-level-commission.json");
const HISTORY_EVENTS: usize = 1_000;

/// What commands have done.
#[derive(Default)]
struct Tables {
    streams: HashMap<StreamKey, AnyAggregate>,
    claims: HashMap<(ClaimKind, String), String>,
    log: Vec<(StreamKey, EncodedEvent)>,
}

/// A unit of work in which everything is in memory. A command writes into `scratch`, as in the engine; its
/// changes are kept or discarded.
#[derive(Default)]
struct Memory {
    kept: Tables,
    scratch: Tables,
    randomness: u64,
}

impl Memory {
    fn keep(&mut self) {
        let Tables { streams, claims, log } = std::mem::take(&mut self.scratch);
        self.kept.streams.extend(streams);
        self.kept.claims.extend(claims);
        self.kept.log.extend(log);
    }

    fn forget(&mut self) {
        self.scratch.streams.clear();
        self.scratch.claims.clear();
        self.scratch.log.clear();
    }

    fn claim_owner(&self, key: &(ClaimKind, String)) -> Option<&String> {
        self.scratch.claims.get(key).or_else(|| self.kept.claims.get(key))
    }

    fn tell(&mut self, command: &Command) {
        command.decide(self).unwrap();
        self.keep();
    }

    /// The types of the events that a command would write, in alphabetical order.
    fn would_log(&mut self, command: &Command) -> Vec<String> {
        command.decide(self).unwrap();
        let mut types: Vec<_> =
            self.scratch.log.iter().map(|(_, event)| event.event_type.clone()).collect();
        types.sort_unstable();
        self.forget();
        types
    }

    fn code(&self, name: &str) -> String {
        match &self.kept.streams[&StreamKey::of::<Participant>(&member(name))] {
            AnyAggregate::Participant(participant) => participant.code().into(),
            other => unreachable!("{other:?}"),
        }
    }

    fn history(&self, name: &str) -> impl Iterator<Item = ParticipantEvent> {
        let key = StreamKey::of::<Participant>(&member(name));
        self.kept.log.iter().filter(move |(stream, _)| *stream == key).map(|(_, event)| {
            decode::<Participant>(&event.event_type, &event.event_version, &event.payload).unwrap()
        })
    }
}

impl Work for Memory {
    fn now(&self) -> Timestamp {
        Timestamp(1_700_000_000_000_000)
    }

    fn random(&mut self, bytes: &mut [u8]) {
        for byte in bytes {
            self.randomness = self
                .randomness
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            *byte = self.randomness.to_be_bytes()[0];
        }
    }

    fn state(&mut self, key: &StreamKey, _expect_new: bool) -> Result<AnyAggregate, Halt> {
        let known = self.scratch.streams.get(key).or_else(|| self.kept.streams.get(key));
        Ok(known.cloned().unwrap_or_else(|| AnyAggregate::empty(key.kind)))
    }

    fn record(
        &mut self,
        key: &StreamKey,
        state: AnyAggregate,
        events: Vec<AnyEvent>,
    ) -> Result<(), Halt> {
        self.scratch.streams.insert(key.clone(), state);
        for event in events {
            let event = event.encode().map_err(|_| Halt::Broken("an event cannot be written"))?;
            self.scratch.log.push((key.clone(), event));
        }
        Ok(())
    }

    fn code_owner(&mut self, code: &str) -> Result<Option<ParticipantId>, Halt> {
        let owner = self.claim_owner(&(ClaimKind::Code, code.into()));
        Ok(owner.and_then(|owner| ParticipantId::parse(owner)))
    }

    fn default_programs(&mut self) -> Result<Vec<ProgramId>, Halt> {
        Ok(Vec::new())
    }

    fn walk_upline(&mut self, _: &ParticipantId, _: &UserId) -> Result<UplineWalk, Halt> {
        Err(Halt::Broken("nobody is referred after registration here"))
    }

    fn claim(&mut self, claim: Claim) -> Result<(), Halt> {
        let Claim { kind, value, owner } = claim;
        let key = (kind, value);
        if self.claim_owner(&key).is_some_and(|before| *before != owner) {
            return Err(Refusal::Taken(vec![kind.as_str()]).into());
        }
        self.scratch.claims.insert(key, owner);
        Ok(())
    }

    fn share_claim(&mut self, _: Claim) -> Result<Option<String>, Halt> {
        Ok(None)
    }

    fn address_of(&mut self, _: &UserId) -> Result<Option<Personal>, Halt> {
        Err(Halt::Broken("no program here checks addresses"))
    }

    fn keyed_hash(&self, _: &'static str, value: &str) -> String {
        value.into()
    }

    fn is_disposable(&self, _: &str) -> bool {
        false
    }

    fn sign_up_client(&mut self, _: &UserId) -> Result<Option<SignUpClient>, Halt> {
        Err(Halt::Broken("no program here checks clients"))
    }

    fn latest_referees(&mut self, _: &ParticipantId) -> Result<Vec<Arc<LatestReferee>>, Halt> {
        Err(Halt::Broken("no program here checks addresses"))
    }

    fn release_claim(&mut self, _: Claim) -> Result<(), Halt> {
        Err(Halt::Broken("nothing is given up here"))
    }

    fn last_sequence(&self, _: &StreamKey) -> i64 {
        0
    }

    fn purchases_of(&mut self, _: &PurchaseSearch) -> Result<PurchasePage, Halt> {
        Err(Halt::Broken("nothing is refunded here"))
    }

    // Nothing here reads rows back.
    fn is_erased_address(&mut self, _: &str) -> Result<bool, Halt> {
        Ok(false)
    }

    fn write_row(&mut self, row: SideRow) {
        black_box(row);
    }
}

fn program_id() -> ProgramId {
    ProgramId::parse("multi-level-commission").unwrap()
}

fn user(name: &str) -> UserId {
    UserId::parse(name).unwrap()
}

fn member(name: &str) -> ParticipantId {
    ParticipantId::new(&program_id(), &user(name))
}

fn register(name: &str, referral_code: Option<String>) -> Command {
    let profile = Profile {
        user_id: user(name),
        username: name.into(),
        email: format!("{name}@example.com"),
        display_name: name.into(),
        password_hash: None,
    };
    let program_id = Some(program_id());
    Command::RegisterUser(Box::new(RegisterUser {
        profile,
        address_key: None,
        mailbox: None,
        client_ip: None,
        fingerprint_key: None,
        program_id,
        referral_code,
        api_key: None,
        is_address_confirmed: false,
    }))
}

fn purchase(purchase_id: &str, buyer: &str) -> Command {
    Command::RecordPurchase(RecordPurchase {
        purchase_id: PurchaseId::parse(purchase_id).unwrap(),
        buyer_user_id: user(buyer),
        amount_minor: 150_000,
        currency_code: "INR".into(),
        purchase_time: None,
        program_ids: None,
        fingerprint_key: None,
    })
}

/// The program with a line of four, each referred by the previous one: root, anna, ben and carl.
fn line(capped: bool) -> Memory {
    let mut memory = Memory::default();
    let mut program = parse_program(PROGRAM).unwrap();
    if !capped {
        for rule in &mut program.rewards {
            rule.cap_minor = None;
        }
    }
    memory.tell(&publish_command(&program).unwrap());
    memory.tell(&register("root", None));
    for (referrer, name) in [("root", "anna"), ("anna", "ben"), ("ben", "carl")] {
        memory.tell(&register(name, Some(memory.code(referrer))));
    }
    memory
}

fn decide(criterion: &mut Criterion) {
    let mut memory = line(true);
    // The purchases that convert referrals have been made already.
    memory.tell(&purchase("bens-first", "ben"));
    memory.tell(&purchase("carls-first", "carl"));
    let commands = [
        (
            "record_purchase_with_two_rewards",
            purchase("carls-second", "carl"),
            &["PurchaseRecorded", "RewardGranted", "RewardGranted"][..],
        ),
        (
            "register_user_with_a_code",
            register("dora", Some(memory.code("carl"))),
            &[
                "ParticipantEnrolled",
                "ReferralApplied",
                "ReferralMade",
                "UserEnrolled",
                "UserRegistered",
            ],
        ),
    ];
    let mut group = criterion.benchmark_group("decide");
    for (name, command, events) in commands {
        assert_eq!(memory.would_log(&command), events);
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                memory.forget();
                black_box(&command).decide(&mut memory)
            });
        });
        memory.forget();
    }
    group.finish();
}

/// Anna's history: enrolled, referred, referring, then one reward after another.
fn history() -> Vec<ParticipantEvent> {
    let mut memory = line(false);
    for number in 0..HISTORY_EVENTS {
        memory.tell(&purchase(&format!("purchase-{number}"), ["ben", "carl"][number % 2]));
    }
    memory.history("anna").take(HISTORY_EVENTS).collect()
}

fn fold(criterion: &mut Criterion) {
    let events = history();
    assert_eq!(events.len(), HISTORY_EVENTS);
    let mut group = criterion.benchmark_group("fold");
    group.throughput(Throughput::Elements(HISTORY_EVENTS as u64));
    group.bench_function("participant_1000_events", |bencher| {
        let apply_all = |events: Vec<ParticipantEvent>| {
            let mut participant = Participant::default();
            for event in events {
                participant.apply(event);
            }
            participant
        };
        bencher.iter_batched(|| events.clone(), apply_all, BatchSize::SmallInput);
    });
    group.finish();
}

criterion_group!(benches, decide, fold);
criterion_main!(benches);
