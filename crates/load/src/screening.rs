//! What fraud checks cost a sign-up, and whether that grows with the number of users.
//!
//! Every measured sign-up has a code, so that it is compared with the referrer's address and with those of the latest
//! hundred referees, an address on the network of its own and a fingerprint of its own: all checks are made, and none
//! finds anything. Two programs differ in nothing but their checks, and are measured in turn. There is one referrer for
//! every hundred users, so that sign-ups are compared with as many addresses on the small server as on the large one.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::watch;

use super::connections::Connections;
use super::driver::{self, Plan};
use super::own_server::OwnServer;
use super::random::Random;
use super::{LoadError, reason};
use client::Server;
use contract::parse_program;
use contract::pb::account_service_client::AccountServiceClient;
use contract::pb::program_service_client::ProgramServiceClient;
use contract::pb::{FraudCheck, Program, PublishProgramRequest, RegisterUserRequest};

/// The program whose checks are measured.
const ORIGINAL: &str = include_str!("../../../programs/tiered-points.json");
/// Users of the small server.
const FEW_USERS: u64 = 1_000;
/// How many users there are for each who refers others: as many as a sign-up is compared with.
const USERS_PER_REFERRER: u64 = 100;
/// Sign-ups at the same time, and the connections that they share.
const CONCURRENCY: usize = 64;
const CONNECTIONS: usize = 4;
/// The letters of addresses.
const LETTERS: &[u8; 26] = b"abcdefghijklmnopqrstuvwxyz";
/// The length of what is before the `@`.
const LOCAL_PART: usize = 14;

/// How the measurement is made.
#[derive(Clone, Debug)]
pub struct Screening {
    /// Users of the large server.
    pub users: u64,
    /// How often each is measured.
    pub rounds: u32,
    /// The number of sign-ups that are measured at once.
    pub count: u64,
    /// The seed of all choices.
    pub seed: u64,
}

/// Sign-ups a second in one round.
#[derive(Clone, Copy, Debug)]
pub struct Round {
    /// Few users, without and with checks.
    pub few: [f64; 2],
    /// Many users, without and with checks.
    pub many: [f64; 2],
}

impl Round {
    /// How many times as long a sign-up takes with checks, among few users and among many.
    #[must_use]
    pub fn cost_of_checks(&self) -> [f64; 2] {
        [self.few, self.many].map(|[plain, screened]| plain / screened)
    }

    /// How many times as long a sign-up with checks takes among many users as among few.
    #[must_use]
    pub fn growth(&self) -> f64 {
        self.few[1] / self.many[1]
    }
}

/// Measures sign-ups on a server with many users, and in each round also on one with few.
///
/// # Errors
/// If a server cannot be started, or a sign-up fails.
pub async fn screening(
    settings: &Screening,
    admin_key: &str,
    name: &str,
    stop: impl Future<Output = ()>,
    say: &(dyn Fn(&str) + Sync),
) -> Result<Vec<Round>, LoadError> {
    let (stopping, stopped) = watch::channel(false);
    let watching = async {
        stop.await;
        stopping.send_replace(true);
        std::future::pending::<()>().await;
    };
    tokio::select! {
        rounds = run(settings, admin_key, name, stopped, say) => rounds,
        () = watching => Ok(Vec::new()),
    }
}

/// Whatever happens, servers are stopped in the end.
async fn run(
    settings: &Screening,
    admin_key: &str,
    name: &str,
    stopped: watch::Receiver<bool>,
    say: &(dyn Fn(&str) + Sync),
) -> Result<Vec<Round>, LoadError> {
    let (name_of_large, seed) = (format!("{name}-many"), settings.seed);
    let large = Crowd::start(&name_of_large, admin_key, seed, settings.users).await?;
    let outcome = measure(settings, admin_key, name, &large, &stopped, say).await;
    large.server.stop().await;
    outcome
}

async fn measure(
    settings: &Screening,
    admin_key: &str,
    name: &str,
    large: &Crowd,
    stopped: &watch::Receiver<bool>,
    say: &(dyn Fn(&str) + Sync),
) -> Result<Vec<Round>, LoadError> {
    say(&format!("signing up {} users", settings.users));
    unless_stopped(stopped, large.grow()).await?;
    let mut rounds = Vec::new();
    for number in 1..=settings.rounds {
        let few_name = format!("{name}-few-{number}");
        let small = Crowd::start(&few_name, admin_key, settings.seed, FEW_USERS).await?;
        let few = async {
            small.grow().await?;
            small.in_turn(settings.count).await
        };
        let few = unless_stopped(stopped, few).await;
        small.server.stop().await;
        let many = unless_stopped(stopped, large.in_turn(settings.count)).await?;
        let round = Round { few: few?, many };
        say(&line(number, &round));
        rounds.push(round);
    }
    Ok(rounds)
}

/// Gives work up when the run is to stop.
async fn unless_stopped<T>(
    stopped: &watch::Receiver<bool>,
    work: impl Future<Output = Result<T, LoadError>>,
) -> Result<T, LoadError> {
    let mut stopped = stopped.clone();
    tokio::select! {
        outcome = work => outcome,
        _ = stopped.wait_for(|is| *is) => Err(LoadError::Call {
            what: "measure sign-ups",
            reason: "the run was stopped before its end".into(),
        }),
    }
}

fn line(number: u32, round: &Round) -> String {
    let ([few, few_screened], [many, many_screened]) = (round.few, round.many);
    let ([of_few, of_many], growth) = (round.cost_of_checks(), round.growth());
    format!(
        "round {number}: few users {few:.0} and with checks {few_screened:.0} a second (x{of_few:.2}), \
         many {many:.0} and {many_screened:.0} (x{of_many:.2}); many take x{growth:.2}"
    )
}

/// A server and its users.
struct Crowd {
    server: OwnServer,
    connections: Connections,
    seed: u64,
    /// How many users it has before sign-ups are measured.
    users: u64,
    /// The number of the next user.
    next: Arc<AtomicU64>,
    /// The codes of those who refer others, without and with checks.
    codes: [Arc<[String]>; 2],
}

const PROGRAMS: [&str; 2] = ["load-unchecked", "load-checked"];

/// The shipped program, once without checks. What depends on how many sign-ups a second there are is out of reach.
fn programs() -> Result<[Program; 2], LoadError> {
    let unusable = |reason: String| LoadError::Unusable { what: "the program", reason };
    let original = parse_program(ORIGINAL).map_err(|error| unusable(error.clone()))?;
    Ok(PROGRAMS.map(|program_id| {
        let mut program =
            Program { program_id: program_id.into(), mails: false, ..original.clone() };
        if program_id == PROGRAMS[0] {
            program.fraud_checks = None;
        } else if let Some(checks) = &mut program.fraud_checks {
            // All but bursts, which read the same latest referees as similar addresses, and would soon find too many.
            checks.fingerprint = Some(FraudCheck::default());
            checks.mutual_referral = Some(FraudCheck::default());
            checks.disposable_domain = Some(FraudCheck::default());
        }
        program
    }))
}

impl Crowd {
    async fn start(name: &str, admin_key: &str, seed: u64, users: u64) -> Result<Self, LoadError> {
        let server = OwnServer::start(name, admin_key, &[]).await?;
        match Self::on(&server, admin_key, seed, users / USERS_PER_REFERRER).await {
            Ok((connections, next, codes)) => {
                Ok(Self { server, connections, seed, users, next, codes })
            }
            Err(error) => {
                server.stop().await;
                Err(error)
            }
        }
    }

    async fn on(
        server: &OwnServer,
        admin_key: &str,
        seed: u64,
        referrers: u64,
    ) -> Result<(Connections, Arc<AtomicU64>, [Arc<[String]>; 2]), LoadError> {
        let connections =
            Connections::open(&Server::at(&server.url), admin_key, CONNECTIONS).await?;
        let next = Arc::new(AtomicU64::new(0));
        let mut codes = Vec::new();
        for program in programs()? {
            let program_id = program.program_id.clone();
            let message = PublishProgramRequest { program: Some(program), ..Default::default() };
            let mut client = ProgramServiceClient::new(connections.channel(0));
            let published = client.publish_program(connections.request(message)).await;
            published.map_err(LoadError::call("publish the program"))?;
            let mut own = Vec::new();
            for _ in 0..referrers {
                let number = next.fetch_add(1, Ordering::Relaxed);
                let code = sign_up(&connections, seed, &program_id, number, "").await;
                own.push(code.map_err(LoadError::call("sign up the referrers"))?);
            }
            codes.push(Arc::from(own));
        }
        let codes = <[Arc<[String]>; 2]>::try_from(codes).unwrap_or_default();
        Ok((connections, next, codes))
    }

    /// Signs up the users that are missing with the checked program.
    async fn grow(&self) -> Result<(), LoadError> {
        let missing = self.users.saturating_sub(self.next.load(Ordering::Relaxed));
        self.sign_ups(1, missing).await.map(drop)
    }

    /// Sign-ups a second without and with checks. Measured in turn twice, the second time in the other order.
    async fn in_turn(&self, count: u64) -> Result<[f64; 2], LoadError> {
        let first = [self.sign_ups(0, count).await?, self.sign_ups(1, count).await?];
        let screened = self.sign_ups(1, count).await?;
        let plain = self.sign_ups(0, count).await?;
        // Of rates over the same number of sign-ups, the harmonic mean is that over both.
        let both = |one: f64, other: f64| 2.0 / (1.0 / one + 1.0 / other);
        Ok([both(first[0], plain), both(first[1], screened)])
    }

    /// Makes `count` sign-ups for one of the programs, and returns how many there were a second.
    async fn sign_ups(&self, program: usize, count: u64) -> Result<f64, LoadError> {
        let (connections, codes) = (self.connections.clone(), self.codes[program].clone());
        let (next, seed) = (self.next.clone(), self.seed);
        let measured = driver::run(&Plan::of_count(count, CONCURRENCY), move |_| {
            let number = next.fetch_add(1, Ordering::Relaxed);
            let (connections, codes) = (connections.clone(), codes.clone());
            async move {
                let referrer = Random::of(seed, number).below(codes.len() as u64);
                let code = usize::try_from(referrer).ok().and_then(|referrer| codes.get(referrer));
                let code = code.map(String::as_str).unwrap_or_default();
                let outcome = sign_up(&connections, seed, PROGRAMS[program], number, code).await;
                outcome.map(drop).map_err(|status| reason(&status))
            }
        })
        .await;
        if let Some((reason, times)) = measured.errors.iter().next() {
            let reason = format!("{reason} ({times} of {count})");
            return Err(LoadError::Call { what: "sign up", reason });
        }
        Ok(measured.throughput())
    }
}

/// Signs up a user, and returns their code.
async fn sign_up(
    connections: &Connections,
    seed: u64,
    program_id: &str,
    number: u64,
    referral_code: &str,
) -> Result<String, tonic::Status> {
    let [_, high, middle, low] =
        u32::try_from(number % (1 << 24)).unwrap_or_default().to_be_bytes();
    let message = RegisterUserRequest {
        username: format!("user-{number}"),
        email: address(seed, number),
        program_id: program_id.into(),
        referral_code: referral_code.into(),
        client_ip: format!("10.{high}.{middle}.{low}"),
        fingerprint: format!("device {number}"),
        ..RegisterUserRequest::default()
    };
    let mut client = AccountServiceClient::new(connections.channel(number));
    let answer = client.register_user(connections.request(message)).await?.into_inner();
    Ok(answer.participants.into_iter().next().unwrap_or_default().code)
}

/// An address that no other one is similar to: random letters.
fn address(seed: u64, number: u64) -> String {
    let mut random = Random::of(seed, u64::MAX - number);
    let letter = |_| {
        let index = usize::try_from(random.below(LETTERS.len() as u64)).unwrap_or_default();
        char::from(LETTERS[index])
    };
    let local_part: String = (0..LOCAL_PART).map(letter).collect();
    format!("{local_part}@example.com")
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]
mod tests {
    use super::*;

    #[test]
    fn the_two_programs_differ_in_their_checks_only() {
        let [plain, mut screened] = programs().unwrap();
        assert_eq!(plain.fraud_checks, None);
        assert!(screened.fraud_checks.as_ref().unwrap().similar_address.is_some());
        screened.fraud_checks = None;
        screened.program_id.clone_from(&plain.program_id);
        assert_eq!(plain, screened);
    }

    #[test]
    fn a_round_says_what_checks_cost_and_whether_it_grows() {
        let round = Round { few: [3_000.0, 2_400.0], many: [2_500.0, 2_000.0] };
        let [few, many] = round.cost_of_checks();
        for (measured, expected) in [(few, 1.25), (many, 1.25), (round.growth(), 1.2)] {
            assert!((measured - expected).abs() < 1e-9, "{measured}");
        }
    }

    #[test]
    fn addresses_are_of_usual_length_and_differ() {
        let addresses: std::collections::HashSet<_> = (0..1_000).map(|of| address(1, of)).collect();
        assert_eq!(addresses.len(), 1_000);
        assert!(addresses.iter().all(|address| address.len() == LOCAL_PART + 12));
    }
}
