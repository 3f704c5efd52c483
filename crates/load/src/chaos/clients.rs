//! Clients of all programs. A client repeats a request, with the same id and on either server, until the request is
//! acknowledged or refused by the rules.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use contract::pb::account_service_client::AccountServiceClient;
use contract::pb::program_service_client::ProgramServiceClient;
use contract::pb::purchase_service_client::PurchaseServiceClient;
use contract::pb::referral_service_client::ReferralServiceClient;
use contract::pb::{
    ApplyReferralRequest, DeactivateUserRequest, EnrollParticipantRequest, Money, Participant,
    ReactivateUserRequest, RecordPurchaseRequest, RegisterUserRequest,
};
use domain::Timestamp;
use tokio_util::sync::CancellationToken;
use tonic::transport::Channel;
use tonic::{Code, Response, Status};
use tonic_types::StatusExt;

use super::Chaos;
use super::programs::PROGRAMS;
use super::servers::Servers;
use crate::random::Random;

/// Prices: below and at every minimum, in currencies that count and in one that does not.
const PRICES: [(&str, i64); 9] = [
    ("USD", 1),
    ("USD", 999),
    ("USD", 1_000),
    ("USD", 25_000),
    ("INR", 99_999),
    ("INR", 100_000),
    ("INR", 100_130),
    ("INR", 900_000),
    ("EUR", 100_000),
];
/// A client rests between two requests for up to this long.
const MAX_REST_MS: u64 = 20;
/// And before it repeats one.
const MAX_REPEAT_REST_MS: u64 = 200;
/// A dated purchase was made up to this many seconds ago: both sides of every limit of the rules.
const MAX_AGE_SECONDS: u64 = 900;

/// What a request was about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Kind {
    SignUp,
    Enrollment,
    Referral,
    Purchase,
    ComingOrGoing,
}

impl Kind {
    const ALL: [Self; 5] =
        [Self::SignUp, Self::Enrollment, Self::Referral, Self::Purchase, Self::ComingOrGoing];

    const fn name(self) -> &'static str {
        match self {
            Self::SignUp => "sign-ups",
            Self::Enrollment => "enrollments",
            Self::Referral => "referrals",
            Self::Purchase => "purchases",
            Self::ComingOrGoing => "(de)activations",
        }
    }
}

/// How a request ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum End {
    Acknowledged,
    Refused {
        /// When the last attempt began, by the clock of this machine, which is also that of the database.
        begun: Timestamp,
        message: String,
    },
}

/// A participant with a code.
#[derive(Clone)]
struct Owner {
    program: usize,
    user_id: String,
    code: String,
}

/// What the clients know and did.
pub(super) struct Tally {
    seed: u64,
    /// Precedes all ids of the run.
    name: String,
    moment: Timestamp,
    begun: tokio::time::Instant,
    users: Mutex<Vec<String>>,
    codes: Mutex<Vec<Owner>>,
    ends: Mutex<HashMap<(Kind, String), End>>,
    acknowledged: AtomicU64,
    repeated: AtomicU64,
    /// Answers that no caller should ever get.
    internal_errors: Mutex<Vec<String>>,
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Tally {
    pub(super) fn new(settings: &Chaos) -> Self {
        Self {
            seed: settings.seed,
            name: format!("c{:x}", settings.moment.0),
            moment: settings.moment,
            begun: tokio::time::Instant::now(),
            users: Mutex::default(),
            codes: Mutex::default(),
            ends: Mutex::default(),
            acknowledged: AtomicU64::new(0),
            repeated: AtomicU64::new(0),
            internal_errors: Mutex::default(),
        }
    }

    pub(super) fn acknowledged(&self) -> u64 {
        self.acknowledged.load(Ordering::Relaxed)
    }

    pub(super) fn repeated(&self) -> u64 {
        self.repeated.load(Ordering::Relaxed)
    }

    /// How each request of a kind ended, by its id.
    pub(super) fn ends(&self, kind: Kind) -> HashMap<String, End> {
        let ends = lock(&self.ends);
        let of_kind = ends.iter().filter(|((of, _), _)| *of == kind);
        of_kind.map(|((_, id), end)| (id.clone(), end.clone())).collect()
    }

    /// Answers that no caller should ever get.
    pub(super) fn internal_errors(&self) -> Vec<String> {
        lock(&self.internal_errors).clone()
    }

    /// Acknowledged and refused requests, by kind.
    pub(super) fn requests(&self) -> Vec<(&'static str, u64, u64)> {
        let ends = lock(&self.ends);
        Kind::ALL
            .iter()
            .map(|kind| {
                let of_kind = || ends.iter().filter(|((of, _), _)| of == kind);
                let acknowledged = of_kind().filter(|(_, end)| **end == End::Acknowledged).count();
                let refused = of_kind().count() - acknowledged;
                (kind.name(), acknowledged as u64, refused as u64)
            })
            .collect()
    }

    fn note(&self, kind: Kind, id: String, end: End) {
        if end == End::Acknowledged {
            self.acknowledged.fetch_add(1, Ordering::Relaxed);
        }
        lock(&self.ends).insert((kind, id), end);
    }

    fn joined(&self, participants: &[Participant]) {
        let mut codes = lock(&self.codes);
        for participant in participants {
            let program = PROGRAMS.iter().position(|id| *id == participant.program_id);
            codes.extend(program.map(|program| Owner {
                program,
                user_id: participant.user_id.clone(),
                code: participant.code.clone(),
            }));
        }
    }

    /// Now, by the clock of the run's start.
    fn now(&self) -> Timestamp {
        let since = i64::try_from(self.begun.elapsed().as_micros()).unwrap_or_default();
        Timestamp(self.moment.0 + since)
    }
}

/// A client.
struct Client {
    tally: Arc<Tally>,
    servers: Arc<Servers>,
    random: Random,
    number: u64,
    requests: u64,
}

/// Sends requests until the token is cancelled and the last one is answered.
pub(super) async fn work(
    number: u64,
    tally: Arc<Tally>,
    servers: Arc<Servers>,
    stop: CancellationToken,
) {
    let random = Random::of(tally.seed, number);
    let mut client = Client { tally, servers, random, number, requests: 0 };
    while !stop.is_cancelled() {
        client.act().await;
        let rest = Duration::from_millis(client.random.below(MAX_REST_MS));
        tokio::time::sleep(rest).await;
    }
}

fn is_final(status: &Status) -> bool {
    status.get_details_error_info().is_some()
        && matches!(
            status.code(),
            Code::InvalidArgument | Code::NotFound | Code::AlreadyExists | Code::FailedPrecondition
        )
}

impl Client {
    fn id(&mut self) -> String {
        self.requests += 1;
        format!("{}-{}-{}", self.tally.name, self.number, self.requests)
    }

    async fn act(&mut self) {
        let few = lock(&self.tally.users).len() < 20;
        match self.random.below(100) {
            _ if few => self.sign_up().await,
            0..25 => self.sign_up().await,
            25..35 => self.enroll().await,
            35..42 => self.refer().await,
            42..96 => self.buy().await,
            _ => self.come_or_go().await,
        }
    }

    /// Repeats a call until it is acknowledged or refused.
    async fn insist<T, Call>(
        &mut self,
        kind: Kind,
        id: &str,
        call: impl Fn(Channel) -> Call,
    ) -> Option<T>
    where
        Call: Future<Output = Result<Response<T>, Status>>,
    {
        let servers = self.servers.clone();
        loop {
            let number = self.random.index(super::servers::SERVERS);
            if let Some(channel) = servers.channel(number) {
                let begun = self.tally.now();
                match call(channel).await {
                    Ok(answer) => {
                        self.tally.note(kind, id.into(), End::Acknowledged);
                        return Some(answer.into_inner());
                    }
                    Err(status) if is_final(&status) => {
                        let message = status.message().into();
                        self.tally.note(kind, id.into(), End::Refused { begun, message });
                        return None;
                    }
                    Err(status) => self.look_at(&status),
                }
                self.tally.repeated.fetch_add(1, Ordering::Relaxed);
            }
            let rest = 1 + self.random.below(MAX_REPEAT_REST_MS);
            tokio::time::sleep(Duration::from_millis(rest)).await;
        }
    }

    /// Notes a status of the server that should not be. A status without details is the client's own.
    fn look_at(&self, status: &Status) {
        let is_of_server = status.get_details_error_info().is_some();
        if is_of_server && matches!(status.code(), Code::Internal | Code::Unknown) {
            lock(&self.tally.internal_errors).push(format!(
                "{:?}: {}",
                status.code(),
                status.message()
            ));
        }
    }

    fn somebody(&mut self) -> String {
        let users = lock(&self.tally.users);
        users[self.random.index(users.len())].clone()
    }

    /// A participant of a program. Early ones are more frequent, so that a few have many referrals.
    fn participant(&mut self, program: usize) -> Option<Owner> {
        let codes = lock(&self.tally.codes);
        let of_program: Vec<usize> = {
            let near = codes.len().min(400);
            (0..near).filter(|index| codes[*index].program == program).collect()
        };
        if of_program.is_empty() || self.random.below(6) == 0 {
            let index = self.random.index(codes.len());
            return codes.get(index).filter(|code| code.program == program).cloned();
        }
        let early = self.random.index(of_program.len()).min(self.random.index(of_program.len()));
        codes.get(of_program[early]).cloned()
    }

    /// A participant of a program who came lately, and may have no referrer yet.
    fn newcomer(&mut self, program: usize) -> Option<Owner> {
        let codes = lock(&self.tally.codes);
        let late = codes.iter().rev().filter(|owner| owner.program == program);
        late.take(50).nth(self.random.index(50)).cloned()
    }

    fn code(&mut self, program: usize) -> String {
        self.participant(program).map(|participant| participant.code).unwrap_or_default()
    }

    async fn sign_up(&mut self) {
        let (id, program) = (self.id(), self.random.index(PROGRAMS.len()));
        let message = RegisterUserRequest {
            user_id: id.clone(),
            username: id.clone(),
            email: format!("{id}@example.com"),
            program_id: PROGRAMS[program].into(),
            referral_code: self.code(program),
            request_id: id.clone(),
            ..RegisterUserRequest::default()
        };
        let servers = self.servers.clone();
        let answer = self
            .insist(Kind::SignUp, &id, |channel| {
                let request = servers.request(message.clone());
                async move { AccountServiceClient::new(channel).register_user(request).await }
            })
            .await;
        if let Some(answer) = answer {
            lock(&self.tally.users).push(id);
            self.tally.joined(&answer.participants);
        }
    }

    async fn enroll(&mut self) {
        let (id, program) = (self.id(), self.random.index(PROGRAMS.len()));
        let message = EnrollParticipantRequest {
            program_id: PROGRAMS[program].into(),
            user_id: self.somebody(),
            referral_code: self.code(program),
            request_id: id.clone(),
        };
        let servers = self.servers.clone();
        let answer = self
            .insist(Kind::Enrollment, &id, |channel| {
                let request = servers.request(message.clone());
                async move { ProgramServiceClient::new(channel).enroll_participant(request).await }
            })
            .await;
        if let Some(participant) = answer.and_then(|answer| answer.participant) {
            self.tally.joined(&[participant]);
        }
    }

    async fn refer(&mut self) {
        let program = PROGRAMS.iter().position(|id| *id == "multi-level-commission");
        let program = program.unwrap_or_default();
        let (Some(referee), Some(referrer)) = (self.newcomer(program), self.participant(program))
        else {
            return;
        };
        let id = self.id();
        let message = ApplyReferralRequest {
            program_id: PROGRAMS[program].into(),
            referee_user_id: referee.user_id,
            referral_code: referrer.code,
            request_id: id.clone(),
            ..ApplyReferralRequest::default()
        };
        let servers = self.servers.clone();
        self.insist(Kind::Referral, &id, |channel| {
            let request = servers.request(message.clone());
            async move { ReferralServiceClient::new(channel).apply_referral(request).await }
        })
        .await;
    }

    async fn buy(&mut self) {
        let (currency_code, minor_units) = PRICES[self.random.index(PRICES.len())];
        let (id, buyer_user_id) = (self.id(), self.somebody());
        let age = i64::try_from(self.random.below(MAX_AGE_SECONDS)).unwrap_or_default();
        let micros = self.tally.now().plus_seconds(-age).0;
        let date = prost_types::Timestamp {
            seconds: micros.div_euclid(Timestamp::PER_SECOND),
            // A shop that stamps whole seconds is as good as one that does not.
            nanos: if age % 2 == 0 { 0 } else { 123_000 },
        };
        let message = RecordPurchaseRequest {
            purchase_id: id.clone(),
            buyer_user_id,
            amount: Some(Money { currency_code: currency_code.into(), minor_units }),
            purchase_time: (self.random.below(3) == 0).then_some(date),
            request_id: id.clone(),
            ..RecordPurchaseRequest::default()
        };
        let servers = self.servers.clone();
        self.insist(Kind::Purchase, &id, |channel| {
            let request = servers.request(message.clone());
            async move { PurchaseServiceClient::new(channel).record_purchase(request).await }
        })
        .await;
    }

    async fn come_or_go(&mut self) {
        let (id, user_id) = (self.id(), self.somebody());
        if self.random.below(2) == 0 {
            let message = DeactivateUserRequest { user_id, request_id: id.clone() };
            let servers = self.servers.clone();
            self.insist(Kind::ComingOrGoing, &id, |channel| {
                let request = servers.request(message.clone());
                async move { AccountServiceClient::new(channel).deactivate_user(request).await }
            })
            .await;
        } else {
            let message = ReactivateUserRequest { user_id, request_id: id.clone() };
            let servers = self.servers.clone();
            self.insist(Kind::ComingOrGoing, &id, |channel| {
                let request = servers.request(message.clone());
                async move { AccountServiceClient::new(channel).reactivate_user(request).await }
            })
            .await;
        }
    }
}
