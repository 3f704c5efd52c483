//! What a refund costs, beside a purchase in the same run.
//!
//! Rounds of purchases and of refunds take turns on one server, over the same connections: each round of refunds gives
//! back the whole price of every purchase of the round before. A purchase pays two rewards, and a refund takes both
//! back; that of the only purchase of a buyer also undoes the conversion.

use std::sync::Arc;

use super::connections::Connections;
use super::driver::{self, Measured, Plan};
use super::ledger::Ledger;
use super::population::{self, PROGRAM_ID, Population};
use super::world::{Progress, World};
use super::{LoadError, OwnServer, Scenario, check, lag};
use client::Server;
use domain::Timestamp;

/// How the measurement is made.
#[derive(Clone, Debug)]
pub struct Refunds {
    /// Participants that are signed up first.
    pub participants: u64,
    /// How often purchases and refunds are measured, after a first time that does not count.
    pub rounds: u32,
    /// The number of purchases, and of refunds, that are measured at once.
    pub count: u64,
    /// Calls in progress at the same time.
    pub concurrency: usize,
    /// Connections to the server.
    pub connections: usize,
    /// The seed of all choices.
    pub seed: u64,
}

/// One round.
#[derive(Clone, Copy, Debug)]
pub struct Round {
    /// Purchases a second.
    pub purchases_per_s: f64,
    /// Refunds a second.
    pub refunds_per_s: f64,
}

impl Round {
    /// How many times as long a refund takes as a purchase.
    #[must_use]
    pub fn cost(&self) -> f64 {
        self.purchases_per_s / self.refunds_per_s
    }
}

/// Measures purchases and refunds in turn on a server of the run. `moment` names the run.
///
/// # Errors
/// If something cannot be measured, a call fails, or the log does not agree with the answers.
pub async fn refunds(
    settings: &Refunds,
    server: &OwnServer,
    admin_key: &str,
    moment: Timestamp,
    say: &(dyn Fn(String) + Send + Sync),
) -> Result<Vec<Round>, LoadError> {
    let server = Server::at(&server.url);
    let connections = Connections::open(&server, admin_key, settings.connections).await?;
    let population = Population::of(Scenario::Purchase, settings.participants, 0);
    let ledger = Ledger::new(format!("load-{:x}", moment.0));
    let (program_id, progress) = (PROGRAM_ID.into(), Arc::new(Progress::default()));
    let seed = settings.seed;
    let world = Arc::new(World::new(connections, program_id, seed, ledger, population, progress));
    say(format!("signing up {} participants", world.population.size()));
    let before = population::publish(&world).await?;
    population::settle(&world).await?;
    let mut rounds = Vec::new();
    for number in 0..=settings.rounds {
        let first = u64::from(number) * settings.count;
        let round = Round {
            purchases_per_s: measure(&world, settings, first, Call::Purchase).await?,
            refunds_per_s: measure(&world, settings, first, Call::Refund).await?,
        };
        // Caches are cold and tables are small in the first round.
        if number > 0 {
            say(line(number, &round));
            rounds.push(round);
        }
    }
    let (_, purchases) = check::check(&world.connections, &world.ledger, before).await?;
    match purchases.first_fault {
        None => Ok(rounds),
        Some(reason) => Err(LoadError::Call { what: "find the purchases in the log", reason }),
    }
}

#[derive(Clone, Copy)]
enum Call {
    Purchase,
    Refund,
}

impl Call {
    const fn what(self) -> &'static str {
        match self {
            Self::Purchase => "record purchases",
            Self::Refund => "refund purchases",
        }
    }
}

/// Makes one call for each purchase from number `first` on, and returns how many there were a second. The read models
/// are waited for afterwards, so that what one turn has left to do does not slow the next.
async fn measure(
    world: &Arc<World>,
    settings: &Refunds,
    first: u64,
    call: Call,
) -> Result<f64, LoadError> {
    let shared = world.clone();
    let plan = Plan::of_count(settings.count, settings.concurrency);
    let measured = driver::run(&plan, move |place| {
        let (world, number) = (shared.clone(), first + place);
        async move {
            let outcome = match call {
                Call::Purchase => world.purchase(number).await.map(drop),
                Call::Refund => world.refund(number).await,
            };
            world.ended(outcome)
        }
    })
    .await;
    all_succeeded(call.what(), &measured)?;
    lag::catch_up(&world.connections, PROGRAM_ID).await?;
    Ok(measured.throughput())
}

/// Calls that fail are fast for the wrong reason.
pub(super) fn all_succeeded(what: &'static str, measured: &Measured) -> Result<(), LoadError> {
    match measured.errors.iter().next() {
        None => Ok(()),
        Some((reason, times)) => {
            let reason = format!("{reason} ({times} of {})", measured.count);
            Err(LoadError::Call { what, reason })
        }
    }
}

fn line(number: u32, round: &Round) -> String {
    let Round { purchases_per_s, refunds_per_s } = round;
    format!(
        "round {number}: {purchases_per_s:.0} purchases and {refunds_per_s:.0} refunds a second; a refund costs \
         x{:.2}",
        round.cost()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refund_costs_twice_a_purchase_if_there_are_half_as_many_a_second() {
        let round = Round { purchases_per_s: 3_000.0, refunds_per_s: 1_500.0 };
        assert!((round.cost() - 2.0).abs() < 1e-9);
        assert!(line(1, &round).ends_with("x2.00"));
    }
}
