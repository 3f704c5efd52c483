//! The command line that measures pages.

use clap::Args;

use super::money_back::on_own_server;
use super::{CliError, at_least_one, now, say};
use crate::pages::{MAX_PAGES_OF_SESSION, Pages, pages};

#[derive(Args)]
pub(super) struct PagesOptions {
    /// Participants of the program
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1..))]
    participants: u64,
    /// People who have signed in, at least one for eight pages
    #[arg(long, value_name = "N", default_value_t = 1_000, value_parser = at_least_one)]
    people: usize,
    /// Live pages of these people, all open at the same time
    #[arg(long, value_name = "N", default_value_t = 5_000, value_parser = at_least_one)]
    pages: usize,
    /// Purchases a second, one by a friend of each person
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..))]
    rate: u32,
    /// How many calls can be in progress at the same time
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = at_least_one)]
    concurrency: usize,
    /// Connections for calls
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = at_least_one)]
    connections: usize,
    /// The seed of all random choices
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
}

impl PagesOptions {
    pub(super) async fn run(self) -> Result<(), CliError> {
        let Self { participants, people, pages: live, rate, concurrency, connections, seed } = self;
        let settings = Pages {
            participants,
            // Nobody signs in without a page, or has more pages than a session may have.
            people: people.clamp(live.div_ceil(MAX_PAGES_OF_SESSION), live),
            pages: live,
            rate: f64::from(rate),
            concurrency,
            connections,
            seed,
        };
        let moment = now();
        let served = on_own_server(moment, &settings.arguments(), async |server, admin_key| {
            pages(&settings, server, admin_key, moment, &|line| say(line)).await
        })
        .await?;
        for line in served.lines() {
            say(line);
        }
        served.failure().map_or(Ok(()), |failure| Err(failure.into()))
    }
}
