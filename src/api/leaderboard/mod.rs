//! `LeaderboardService`: leaderboards and ranks.

mod watch;
mod watched;

use crate::access::Principal;
use crate::api::Context;
use crate::api::errors::ApiError;
use crate::api::fields::Fields;
use crate::api::guard::Call;
use crate::api::pages::Page;
use crate::api::pb;
use crate::api::permissions::{Callers, Rule, Subject, row};
use crate::api::program::rules::{leaderboard_metric, leaderboard_metric_message};
use crate::api::reads::{Named, freshness, must_exist, newest};
use crate::read::{At, Board, Place, Ranked};
use crate::store::StoreError;
use domain::{ParticipantId, ProgramId};
pub(super) use watched::WatchedBoard;
use watched::board;

/// Who may call what of the service, and whose data it is: one row per RPC.
pub(super) const RULES: &[Rule] = {
    use Callers::SignedIn;
    use Subject::{None, User};
    &[
        // A leaderboard is for those who are on it; the handlers check that a user is.
        row("LeaderboardService", "GetLeaderboard", SignedIn, None),
        row("LeaderboardService", "GetRank", SignedIn, User("user_id")),
        row("LeaderboardService", "WatchLeaderboard", SignedIn, None),
    ]
};

pub(super) struct Handlers(pub(super) Context);

impl Handlers {
    pub(super) async fn get_leaderboard(
        &self,
        call: Call<pb::GetLeaderboardRequest>,
    ) -> Result<pb::GetLeaderboardResponse, ApiError> {
        let request = &call.message;
        let mut fields = Fields::of(request);
        let page = Page::read(&mut fields, &call);
        let after = page.start(&mut fields, &request.page_token, None, |key| place(key).map(Some));
        let program_id = fields.id("program_id", &request.program_id, ProgramId::parse);
        let (program_id, after) = fields.finish(program_id.zip(after))?;
        let freshness = freshness(&self.0, &request.consistency_token, call.deadline).await?;
        let board = board(&self.0, &program_id, freshness).await?;
        check_on_board(&self.0, &call.principal, &program_id, &board).await?;
        let metric = leaderboard_metric(request.metric()).unwrap_or_else(|| board.default_metric());

        let At { position, found: mut ranks } = board.page(metric, after, page.size() + 1);
        let next_page_token =
            page.cut(&mut ranks.ranked, |last| format!("{}.{}", last.score, last.order));
        Ok(pb::GetLeaderboardResponse {
            entries: entries(&self.0, &call.principal, &ranks.ranked).await?,
            next_page_token,
            metric: leaderboard_metric_message(metric).into(),
            participant_count: ranks.count,
            position,
        })
    }

    pub(super) async fn get_rank(
        &self,
        call: Call<pb::GetRankRequest>,
    ) -> Result<pb::GetRankResponse, ApiError> {
        let request = &call.message;
        let mut fields = Fields::of(request);
        let id = fields.participant(&request.program_id, &request.user_id);
        let id = fields.finish(id)?;
        let user_id = id.user_id.as_str();
        let freshness = freshness(&self.0, &request.consistency_token, call.deadline).await?;
        let mut known = board(&self.0, &id.program_id, freshness).await?;
        if !known.knows(user_id) {
            // If the participant exists, the enrollment is so recent that the board does not reflect it yet.
            let freshness = newest(&self.0, freshness, Named::Participant(&id)).await?;
            known = board(&self.0, &id.program_id, freshness).await?;
        }
        let metric = leaderboard_metric(request.metric()).unwrap_or_else(|| known.default_metric());
        let At { position, found: ranks } = known.rank(metric, user_id);
        let entries = entries(&self.0, &call.principal, &ranks.ranked).await?;
        Ok(pb::GetRankResponse {
            entry: entries.into_iter().next(),
            metric: leaderboard_metric_message(metric).into(),
            participant_count: ranks.count,
            position,
        })
    }
}

/// Refuses a user who is not in the program of a leaderboard.
async fn check_on_board(
    context: &Context,
    caller: &Principal,
    program_id: &ProgramId,
    board: &Board,
) -> Result<(), ApiError> {
    match caller.user_id() {
        Some(user_id) if !board.knows(user_id.as_str()) => {
            // An enrollment can be so recent that the board does not reflect it yet.
            let id = ParticipantId::new(program_id, user_id);
            must_exist(context, Named::Participant(&id)).await
        }
        _ => Ok(()),
    }
}

/// A part of a leaderboard with the names of the participants, as far as the caller sees them.
async fn entries(
    context: &Context,
    caller: &Principal,
    ranked: &[Ranked],
) -> Result<Vec<pb::LeaderboardEntry>, StoreError> {
    let names = context.boards.names(ranked).await?;
    let entry = |ranked: &Ranked| {
        let names = names.get(&ranked.user_id);
        let display_name = names.map(|names| names.display_name.clone());
        let username = names.and_then(|names| caller.sees_username(&names.username));
        pb::LeaderboardEntry {
            rank: ranked.rank,
            user_id: ranked.user_id.to_string(),
            username: username.unwrap_or_default(),
            score: ranked.score,
            display_name: display_name.unwrap_or_default(),
        }
    };
    Ok(ranked.iter().map(entry).collect())
}

/// The place after which a page begins, read from the key in its token.
fn place(key: &str) -> Option<Place> {
    let (score, order) = key.split_once('.')?;
    Some(Place { score: score.parse().ok()?, order: order.parse().ok()? })
}
