//! The command lines that measure refunds, the ends of hold periods, and payouts.

use std::time::Duration;

use clap::Args;
use client::StopRequests;
use domain::Timestamp;

use super::{CliError, at_least_one, duration, now, random_key, say};
use crate::payouts::{Payouts, payouts};
use crate::refunds::{Refunds, Round, refunds};
use crate::releases::{Releases, releases};
use crate::{LoadError, OwnServer};

/// What both measurements ask.
#[derive(Args)]
struct OwnOptions {
    /// Participants
    #[arg(long, value_name = "N", default_value_t = 20_000)]
    participants: u64,
    /// How many calls can be in progress at the same time
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = at_least_one)]
    concurrency: usize,
    /// Connections to the server
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = at_least_one)]
    connections: usize,
    /// The seed of all random choices
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
}

#[derive(Args)]
pub(super) struct RefundsOptions {
    /// How often each is measured
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Purchases that are made, and then refunded, in each round
    #[arg(long, value_name = "N", default_value_t = 20_000, value_parser = clap::value_parser!(u64).range(1..))]
    count: u64,
    #[command(flatten)]
    own: OwnOptions,
}

impl RefundsOptions {
    pub(super) async fn run(self) -> Result<(), CliError> {
        let Self { rounds, count, own } = self;
        let OwnOptions { participants, concurrency, connections, seed } = own;
        let settings = Refunds { participants, rounds, count, concurrency, connections, seed };
        let moment = now();
        let rounds = on_own_server(moment, &[], async |server, admin_key| {
            refunds(&settings, server, admin_key, moment, &|line| say(line)).await
        })
        .await?;
        let median = |of: &dyn Fn(&Round) -> f64| {
            let mut values: Vec<f64> = rounds.iter().map(of).collect();
            values.sort_by(f64::total_cmp);
            values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
        };
        say(format_args!(
            "median: {:.0} purchases and {:.0} refunds a second; a refund costs x{:.2}",
            median(&|round| round.purchases_per_s),
            median(&|round| round.refunds_per_s),
            median(&Round::cost),
        ));
        Ok(())
    }
}

#[derive(Args)]
pub(super) struct ReleasesOptions {
    /// Hold periods that end alone, and as many beside purchases
    #[arg(long, value_name = "N", default_value_t = 20_000, value_parser = clap::value_parser!(u64).range(1..))]
    count: u64,
    /// How long purchases are measured alone, and then beside the ends of hold periods
    #[arg(long, value_name = "TIME", default_value = "20s", value_parser = duration)]
    duration: Duration,
    #[command(flatten)]
    own: OwnOptions,
}

impl ReleasesOptions {
    pub(super) async fn run(self) -> Result<(), CliError> {
        let Self { count, duration, own } = self;
        let OwnOptions { participants, concurrency, connections, seed } = own;
        let settings = Releases { participants, count, duration, concurrency, connections, seed };
        let moment = now();
        let released = on_own_server(moment, &[], async |server, admin_key| {
            releases(&settings, server, admin_key, moment, &|line| say(line)).await
        })
        .await?;
        for line in released.lines() {
            say(line);
        }
        Ok(())
    }
}

#[derive(Args)]
pub(super) struct PayoutOptions {
    /// Participants who are paid
    #[arg(long, value_name = "N", default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(1..))]
    participants: u64,
    /// Purchases a second beside the payout
    #[arg(long, value_name = "N", default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..))]
    rate: u32,
    /// How long purchases are measured before the payout
    #[arg(long, value_name = "TIME", default_value = "20s", value_parser = duration)]
    duration: Duration,
    /// How many calls can be in progress at the same time
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = at_least_one)]
    concurrency: usize,
    /// Connections to the server
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = at_least_one)]
    connections: usize,
    /// The seed of all random choices
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
}

impl PayoutOptions {
    pub(super) async fn run(self) -> Result<(), CliError> {
        let Self { participants, rate, duration, concurrency, connections, seed } = self;
        let rate = f64::from(rate);
        let settings = Payouts { participants, rate, duration, concurrency, connections, seed };
        let moment = now();
        let paid = on_own_server(moment, &settings.arguments(), async |server, admin_key| {
            payouts(&settings, server, admin_key, moment, &|line| say(line)).await
        })
        .await?;
        for line in paid.lines() {
            say(line);
        }
        Ok(())
    }
}

/// Does something with a server of its own, which is stopped however that ends.
pub(super) async fn on_own_server<T>(
    moment: Timestamp,
    arguments: &[String],
    work: impl AsyncFnOnce(&OwnServer, &str) -> Result<T, LoadError>,
) -> Result<T, CliError> {
    let stop = StopRequests::listen()?.requested();
    let admin_key = random_key()?;
    let server = OwnServer::start(&format!("load-{:x}", moment.0), &admin_key, arguments).await?;
    let outcome = tokio::select! {
        outcome = work(&server, &admin_key) => outcome.map_err(CliError::from),
        () = stop => Err("the run was stopped before its end".into()),
    };
    server.stop().await;
    outcome
}
