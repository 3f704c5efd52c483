//! How long a payout of many participants takes, and what that costs purchases meanwhile.
//!
//! Everybody has signed up with a code and earned the same by it, and has said how they are paid; so each is a line.
//! The payout is collected, and then confirmed as a whole, beside purchases in another program at a steady rate: their
//! latencies are those that buyers would see. What the payout says it has done must be what the sign-ups have earned.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use hdrhistogram::Histogram;
use tokio::time::{Instant, sleep};

use super::connections::Connections;
use super::driver::{self, Length, Plan};
use super::ledger::Ledger;
use super::population::{self, PROGRAM_ID, Population};
use super::refunds::all_succeeded;
use super::world::{Progress, World};
use super::{LoadError, OwnServer, Scenario, lag, reason};
use client::Server;
use contract::parse_program;
use contract::pb::account_service_client::AccountServiceClient;
use contract::pb::payout_service_client::PayoutServiceClient;
use contract::pb::program_service_client::ProgramServiceClient;
use contract::pb::{
    ConfirmPayoutRequest, CreatePayoutRequest, EarnOn, GetPayoutRequest, Payout, PayoutLineSum,
    PayoutState, Program, PublishProgramRequest, RegisterUserRequest, RewardKind, RewardRule,
    SetPayoutMethodRequest,
};
use domain::Timestamp;

/// The sample program that the one that pays out is derived from.
const ORIGINAL: &str = include_str!("../../../programs/multi-level-commission.json");
const PAYING: &str = "load-payout";
const PAYOUT: &str = "all";
/// What everybody earns by signing up with a code, in minor units.
const BONUS_MINOR: i64 = 100;
/// How many participants sign up with the same code.
const REFEREES: u64 = 1_000;
/// Participants of the program in which purchases are made, at most.
const MOST_BUYERS: u64 = 20_000;
/// For how long purchases are measured at once. What is waited for is noticed after it.
const SLICE: Duration = Duration::from_secs(2);
/// How often to ask how far the payout is, and to say so.
const POLL: Duration = Duration::from_millis(200);
const NEWS: Duration = Duration::from_secs(10);

/// How the measurement is made.
#[derive(Clone, Debug)]
pub struct Payouts {
    /// Participants who are paid.
    pub participants: u64,
    /// Purchases a second beside the payout.
    pub rate: f64,
    /// How long purchases are measured before the payout.
    pub duration: Duration,
    /// Calls in progress at the same time.
    pub concurrency: usize,
    /// Connections to the server.
    pub connections: usize,
    /// The seed of all choices.
    pub seed: u64,
}

impl Payouts {
    /// Arguments of a server that pays so much without a second operator.
    #[must_use]
    pub fn arguments(&self) -> [String; 2] {
        ["--payout-limit".into(), self.total_minor().to_string()]
    }

    fn total_minor(&self) -> i64 {
        self.count().saturating_mul(BONUS_MINOR)
    }

    fn count(&self) -> i64 {
        i64::try_from(self.participants).unwrap_or(i64::MAX)
    }
}

/// A part of the run.
#[derive(Clone, Debug)]
pub struct Part {
    /// How long it took.
    pub took: Duration,
    /// The latencies of the purchases meanwhile, in microseconds.
    pub purchases: Histogram<u64>,
}

/// What was measured.
#[derive(Clone, Debug)]
pub struct PaidOut {
    /// The number of lines.
    pub lines: u64,
    /// Purchases before the payout.
    pub alone: Part,
    /// From the creation of the payout until its lines are made.
    pub collected: Part,
    /// From its confirmation until all lines are paid.
    pub confirmed: Part,
}

impl PaidOut {
    /// The lines to print.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        let Self { lines, alone, collected, confirmed } = self;
        let of = |what: &str, part: &Part| {
            #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
            let rate = *lines as f64 / part.took.as_secs_f64().max(1e-6);
            let took = part.took.as_secs_f64();
            format!("{lines} lines {what} in {took:.1} s, {rate:.0} a second; {}", latencies(part))
        };
        vec![
            format!("before: {}", latencies(alone)),
            of("collected", collected),
            of("confirmed", confirmed),
        ]
    }
}

fn latencies(part: &Part) -> String {
    #[expect(clippy::cast_precision_loss, reason = "a latency for people")]
    let milliseconds = |micros: u64| micros as f64 / 1_000.0;
    let at = |quantile: f64| milliseconds(part.purchases.value_at_quantile(quantile));
    let (count, most) = (part.purchases.len(), milliseconds(part.purchases.max()));
    format!(
        "{count} purchases: p50 {:.1} ms, p99 {:.1} ms, at most {most:.0} ms",
        at(0.5),
        at(0.99)
    )
}

/// Measures a payout on a server of the run. `moment` names the run.
///
/// # Errors
/// If something cannot be measured, a call fails, or the payout does not come to what was earned.
pub async fn payouts(
    settings: &Payouts,
    server: &OwnServer,
    admin_key: &str,
    moment: Timestamp,
    say: &(dyn Fn(String) + Send + Sync),
) -> Result<PaidOut, LoadError> {
    let server = Server::at(&server.url);
    let connections = Connections::open(&server, admin_key, settings.connections).await?;
    let buyers = settings.participants.min(MOST_BUYERS);
    let population = Population::of(Scenario::Purchase, buyers, 0);
    let ledger = Ledger::new(format!("load-{:x}", moment.0));
    let (program_id, progress) = (PROGRAM_ID.into(), Arc::new(Progress::default()));
    let seed = settings.seed;
    let world = World::new(connections, program_id, seed, ledger, population, progress);
    let run = Run { settings, world: Arc::new(world), next: Arc::default(), say };
    say(format!("signing up {} participants, and {buyers} who buy", settings.participants));
    population::publish(&run.world).await?;
    population::settle(&run.world).await?;
    run.sign_up().await?;
    lag::catch_up(&run.world.connections, PAYING).await?;

    say("measuring purchases, and then the payout beside them".into());
    let ((), alone) = run
        .beside(async {
            sleep(settings.duration).await;
            Ok(())
        })
        .await?;
    let (open, collected) = run.beside(run.collect()).await?;
    run.check(&open, open.reserved.as_ref())?;
    let (done, confirmed) = run.beside(run.confirm()).await?;
    run.check(&done, done.paid.as_ref())?;
    Ok(PaidOut { lines: settings.participants, alone, collected, confirmed })
}

struct Run<'a> {
    settings: &'a Payouts,
    world: Arc<World>,
    /// The number of the next purchase.
    next: Arc<AtomicU64>,
    say: &'a (dyn Fn(String) + Send + Sync),
}

/// A program in which everybody who signs up with a code earns the same at once.
fn program() -> Result<Program, LoadError> {
    let unusable = |reason: String| LoadError::Unusable { what: "the program", reason };
    let original = parse_program(ORIGINAL).map_err(|error| unusable(error.clone()))?;
    let bonus = RewardRule {
        rule: "welcome".into(),
        level: 0,
        kind: RewardKind::Bonus.into(),
        flat_minor: Some(BONUS_MINOR),
        ..RewardRule::default()
    };
    Ok(Program {
        program_id: PAYING.into(),
        display_name: "A bonus that is paid out, for load".into(),
        earn_on: EarnOn::Referral.into(),
        minimum_purchase_minor: 0,
        purchase_currency_code: String::new(),
        max_direct_referrals: None,
        rewards: vec![bonus],
        mails: false,
        pays_out: true,
        ..original
    })
}

impl Run<'_> {
    /// Signs up everybody who is paid, each with one of the codes of those who are not, and says how they are paid.
    async fn sign_up(&self) -> Result<(), LoadError> {
        let connections = &self.world.connections;
        let message = PublishProgramRequest { program: Some(program()?), ..Default::default() };
        let mut client = ProgramServiceClient::new(connections.channel(0));
        let published = client.publish_program(connections.request(message)).await;
        published.map_err(LoadError::call("publish the program"))?;
        let participants = self.settings.participants;
        let mut codes = Vec::new();
        for number in 0..participants.div_ceil(REFEREES) {
            let code = register(connections, &format!("referrer-{number}"), number, "").await;
            codes.push(code.map_err(LoadError::call("sign up the referrers"))?);
        }
        let (connections, codes) = (connections.clone(), Arc::new(codes));
        let plan = Plan::of_count(participants, self.settings.concurrency);
        let measured = driver::run(&plan, move |number| {
            let (connections, codes) = (connections.clone(), codes.clone());
            async move {
                let place = number % u64::try_from(codes.len()).unwrap_or(1).max(1);
                let code = usize::try_from(place).ok().and_then(|place| codes.get(place));
                let code = code.map(String::as_str).unwrap_or_default();
                let user_id = format!("paid-{number:09}");
                let outcome = join(&connections, &user_id, number, code).await;
                outcome.map_err(|status| reason(&status))
            }
        })
        .await;
        all_succeeded("sign up the participants", &measured)
    }

    /// Waits for something beside purchases at the rate of the run.
    async fn beside<T>(
        &self,
        what: impl Future<Output = Result<T, LoadError>>,
    ) -> Result<(T, Part), LoadError> {
        let (begun, is_over) = (Instant::now(), AtomicBool::new(false));
        let awaited = async {
            let outcome = what.await;
            is_over.store(true, Ordering::Relaxed);
            outcome.map(|outcome| (outcome, begun.elapsed()))
        };
        let buying = async {
            let mut all: Option<Histogram<u64>> = None;
            while !is_over.load(Ordering::Relaxed) {
                let purchases = self.purchases().await?;
                match &mut all {
                    None => all = Some(purchases),
                    Some(all) => all.add(&purchases).map_err(|error| LoadError::Unusable {
                        what: "the latencies",
                        reason: error.to_string(),
                    })?,
                }
            }
            Ok(all)
        };
        let ((outcome, took), purchases) = tokio::try_join!(awaited, buying)?;
        let nothing =
            || LoadError::Unusable { what: "the purchases", reason: "there were none".into() };
        Ok((outcome, Part { took, purchases: purchases.ok_or_else(nothing)? }))
    }

    /// The latencies of purchases in one slice of time.
    async fn purchases(&self) -> Result<Histogram<u64>, LoadError> {
        let (world, next) = (self.world.clone(), self.next.clone());
        let plan = Plan {
            concurrency: self.settings.concurrency,
            warm_up: Duration::ZERO,
            length: Length::Duration(SLICE),
            rate: Some(self.settings.rate),
        };
        let measured = driver::run(&plan, move |_| {
            let (world, number) = (world.clone(), next.fetch_add(1, Ordering::Relaxed));
            async move { world.ended(world.purchase(number).await.map(drop)) }
        })
        .await;
        all_succeeded("record purchases", &measured)?;
        Ok(measured.histogram)
    }

    fn client(&self) -> PayoutServiceClient<tonic::transport::Channel> {
        PayoutServiceClient::new(self.world.connections.channel(0))
    }

    /// Creates the payout, and waits until all its lines are made.
    async fn collect(&self) -> Result<Payout, LoadError> {
        let message = CreatePayoutRequest {
            program_id: PAYING.into(),
            payout_id: PAYOUT.into(),
            ..Default::default()
        };
        let created = self.client().create_payout(self.world.connections.request(message)).await;
        let token =
            created.map_err(LoadError::call("create the payout"))?.into_inner().consistency_token;
        self.until(PayoutState::Open, token).await
    }

    /// Confirms the payout as a whole, and waits until all its lines are paid.
    async fn confirm(&self) -> Result<Payout, LoadError> {
        let message = ConfirmPayoutRequest {
            program_id: PAYING.into(),
            payout_id: PAYOUT.into(),
            ..Default::default()
        };
        let asked = self.client().confirm_payout(self.world.connections.request(message)).await;
        let token =
            asked.map_err(LoadError::call("confirm the payout"))?.into_inner().consistency_token;
        self.until(PayoutState::Confirmed, token).await
    }

    /// Waits until the payout is in a state, and says how far it is meanwhile.
    async fn until(&self, state: PayoutState, token: String) -> Result<Payout, LoadError> {
        let mut told = Instant::now();
        loop {
            let message = GetPayoutRequest {
                program_id: PAYING.into(),
                payout_id: PAYOUT.into(),
                consistency_token: token.clone(),
            };
            let found = self.client().get_payout(self.world.connections.request(message)).await;
            let found = found.map_err(LoadError::call("read the payout"))?.into_inner().payout;
            let payout = found.unwrap_or_default();
            if payout.state() == state {
                return Ok(payout);
            }
            if told.elapsed() >= NEWS {
                told = Instant::now();
                let count = |sum: &Option<PayoutLineSum>| sum.as_ref().map_or(0, |sum| sum.count);
                let (reserved, paid) = (count(&payout.reserved), count(&payout.paid));
                (self.say)(format!("{reserved} lines are reserved, {paid} are paid"));
            }
            sleep(POLL).await;
        }
    }

    /// Everybody must have a line with what they have earned.
    fn check(&self, payout: &Payout, sum: Option<&PayoutLineSum>) -> Result<(), LoadError> {
        let total = |sum: &PayoutLineSum| sum.amount.as_ref().map_or(0, |of| of.minor_units);
        let found = sum.map(|sum| (sum.count, total(sum), payout.skipped_count));
        let expected = (self.settings.count(), self.settings.total_minor(), 0);
        if found == Some(expected) {
            return Ok(());
        }
        let reason = format!("expected {expected:?} lines, their sum and skipped, found {found:?}");
        Err(LoadError::Call { what: "find everybody in the payout", reason })
    }
}

/// Signs somebody up, and says how they are paid.
async fn join(
    connections: &Connections,
    user_id: &str,
    number: u64,
    referral_code: &str,
) -> Result<(), tonic::Status> {
    register(connections, user_id, number, referral_code).await?;
    let method = SetPayoutMethodRequest {
        user_id: user_id.into(),
        kind: "sepa".into(),
        reference: user_id.into(),
        ..Default::default()
    };
    let mut client = PayoutServiceClient::new(connections.channel(number));
    client.set_payout_method(connections.request(method)).await.map(drop)
}

/// Signs somebody up, and returns their code.
async fn register(
    connections: &Connections,
    user_id: &str,
    number: u64,
    referral_code: &str,
) -> Result<String, tonic::Status> {
    let message = RegisterUserRequest {
        user_id: user_id.into(),
        username: user_id.into(),
        email: format!("{user_id}@example.com"),
        program_id: PAYING.into(),
        referral_code: referral_code.into(),
        ..Default::default()
    };
    let mut client = AccountServiceClient::new(connections.channel(number));
    let answer = client.register_user(connections.request(message)).await?.into_inner();
    Ok(answer.participants.into_iter().next().unwrap_or_default().code)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]
mod tests {
    use super::*;

    #[test]
    fn everybody_earns_the_same_and_the_limit_is_all_of_it() {
        let program = program().unwrap();
        assert_eq!(program.rewards.len(), 1);
        assert!(program.pays_out && !program.credit_purchases);
        let settings = Payouts {
            participants: 1_000_000,
            rate: 500.0,
            duration: Duration::from_secs(20),
            concurrency: 64,
            connections: 4,
            seed: 1,
        };
        assert_eq!(settings.arguments(), ["--payout-limit", "100000000"]);
    }

    #[test]
    fn the_rate_of_lines_and_the_latencies_of_purchases_are_told() {
        let part = |seconds, micros| {
            let mut purchases = Histogram::new(3).unwrap();
            purchases.record(micros).unwrap();
            Part { took: Duration::from_secs(seconds), purchases }
        };
        let (alone, collected, confirmed) = (part(1, 2_000), part(10, 4_000), part(20, 8_000));
        let lines = PaidOut { lines: 20_000, alone, collected, confirmed }.lines();
        assert!(lines[0].contains("1 purchases: p50 2.0 ms"), "{lines:?}");
        assert!(lines[1].contains("collected in 10.0 s, 2000 a second"), "{lines:?}");
        assert!(lines[2].contains("confirmed in 20.0 s, 1000 a second"), "{lines:?}");
        assert!(lines[2].contains("p99 8.0 ms"), "{lines:?}");
    }
}
