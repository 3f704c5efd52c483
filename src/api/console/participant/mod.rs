//! Pages of participants.

pub(super) mod dashboard;
pub(super) mod earnings;
pub(super) mod leaderboard;
pub(super) mod ledger_csv;
mod programs;
mod referrals;
mod rules;
mod statement;
mod store;
mod tree;
pub(super) mod versions;

use axum::Router;
use axum::routing::{get, post};
use console::pages::participant::Scene;
use tonic::Status;
use url::form_urlencoded;

use super::Console;
use super::faults::told;
use super::people::Participating;

pub(super) fn routes() -> Router<Console> {
    Router::new()
        .route("/programs", get(programs::show))
        .route("/programs/{program}", post(programs::join))
        .route("/p/{program}", get(dashboard::show))
        .route("/p/{program}/celebrated", post(dashboard::celebrated))
        .route("/p/{program}/earnings", get(earnings::show))
        .route("/p/{program}/earnings.csv", get(ledger_csv::download))
        .route("/p/{program}/statement", get(statement::show))
        .route("/p/{program}/referrals", get(referrals::show))
        .route("/p/{program}/tree", get(tree::show))
        .route("/p/{program}/leaderboard", get(leaderboard::show))
        .route("/p/{program}/store", get(store::show).post(store::redeem))
        .route("/p/{program}/rules", get(rules::show))
}

impl Participating {
    /// Whose page it is.
    pub(super) fn scene(&self) -> Scene<'_> {
        Scene { program: &self.program, participant: &self.participant, name: self.person.name() }
    }
}

/// What a part of a page shows, or why it cannot be read.
pub(super) fn part<T>(answer: Result<T, Status>) -> Result<T, String> {
    answer.map_err(|status| told(&status))
}

/// The path of the next page of a list, which goes on at a token, with what was chosen on this one.
pub(super) fn next_page(path: &str, chosen: &[(&str, &str)], token: &str) -> Option<String> {
    if token.is_empty() {
        return None;
    }
    let chosen = chosen.iter().copied().chain([("page", token)]).collect::<Vec<_>>();
    Some(with_query(path, &chosen))
}

/// A path with what was chosen on the page, without what is empty.
pub(super) fn with_query(path: &str, chosen: &[(&str, &str)]) -> String {
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.extend_pairs(chosen.iter().filter(|(_, value)| !value.is_empty()));
    let query = query.finish();
    if query.is_empty() { path.into() } else { format!("{path}?{query}") }
}
