//! `WatchLeaderboard`.

use super::{Handlers, WatchedBoard, check_on_board, entries};
use crate::access::Principal;
use crate::api::Context;
use crate::api::errors::ApiError;
use crate::api::fields::Fields;
use crate::api::guard::Call;
use crate::api::pb;
use crate::api::program::rules::leaderboard_metric;
use crate::api::tokens::{StreamName, resume_cursor, resume_token};
use crate::api::watch::{Feed, Messages, open, stream};
use crate::live::{Cursor, CutOff};
use crate::read::{Freshness, Ranked};
use crate::store::StoreError;
use domain::ProgramId;
use domain::rules::LeaderboardMetric;

/// The number of places that a stream shows by default, and the maximum.
const DEFAULT_TOP: u32 = 10;
const MAX_TOP: u32 = 100;

impl Handlers {
    pub(in crate::api) async fn watch_leaderboard(
        &self,
        call: Call<pb::WatchLeaderboardRequest>,
    ) -> Result<Messages<pb::WatchLeaderboardResponse>, ApiError> {
        let opening = open(&self.0, &call)?;
        let (request, deadline) = (&call.message, call.deadline);
        let mut fields = Fields::of(request);
        let top = fields.number("top", request.top, 1..=MAX_TOP, DEFAULT_TOP);
        let program_id = fields.id("program_id", &request.program_id, ProgramId::parse);
        let program_id = fields.finish(program_id)?;
        let name = StreamName::new(call.rpc(), &format!("{program_id} {}", request.metric));
        let turn = opening.turn(&self.0).await;
        let from = resume_cursor(&self.0, name, &request.resume_token).await?;
        drop(turn);
        let position = from.map_or(0, |cursor| cursor.position);
        let freshness = Freshness { position, deadline };
        let board = WatchedBoard::open(&self.0, &program_id, freshness).await?;
        check_on_board(&self.0, &call.principal, &program_id, board.board()).await?;
        let own_metric = || board.board().default_metric();
        let metric = leaderboard_metric(request.metric()).unwrap_or_else(own_metric);
        let context = self.0.clone();
        let top = top as usize;
        let caller = call.principal.clone();
        let mut feed = BoardFeed { context, caller, name, board, metric, top, shown: Vec::new() };
        let first = feed.snapshot().await?;
        Ok(stream(&self.0, opening, vec![first], feed))
    }
}

/// The top of a leaderboard as it changes. Changes between two messages are combined in the later one, so
/// that a slow reader gets fewer messages and is never behind.
struct BoardFeed {
    context: Context,
    caller: Principal,
    name: StreamName,
    board: WatchedBoard,
    metric: LeaderboardMetric,
    top: usize,
    /// The places that the reader has been sent.
    shown: Vec<Ranked>,
}

impl BoardFeed {
    fn resume_token(&self) -> String {
        let position = self.board.position();
        resume_token(&self.context, self.name, Cursor { position, sequence: position })
    }

    fn look(&mut self) -> Vec<Ranked> {
        self.board.look(|board| board.page(self.metric, None, self.top)).ranked
    }

    /// A message with the whole top.
    async fn snapshot(&mut self) -> Result<pb::WatchLeaderboardResponse, StoreError> {
        let ranked = self.look();
        let entries = entries(&self.context, &self.caller, &ranked).await?;
        self.shown = ranked;
        self.board.shown();
        Ok(pb::WatchLeaderboardResponse {
            snapshot: true,
            entries,
            resume_token: self.resume_token(),
        })
    }
}

impl Feed for BoardFeed {
    type Message = pb::WatchLeaderboardResponse;

    async fn next(&mut self) -> Result<Self::Message, CutOff> {
        loop {
            let is_another = self.board.due().await?;
            if is_another {
                return Ok(self.snapshot().await?);
            }
            let ranked = self.look();
            if ranked.len() < self.shown.len() {
                return Ok(self.snapshot().await?);
            }
            let changed: Vec<Ranked> = ranked
                .iter()
                .enumerate()
                .filter(|(index, now)| self.shown.get(*index) != Some(now))
                .map(|(_, now)| now.clone())
                .collect();
            if changed.is_empty() {
                self.board.shown();
                continue;
            }
            let entries = entries(&self.context, &self.caller, &changed).await?;
            self.shown = ranked;
            self.board.shown();
            return Ok(pb::WatchLeaderboardResponse {
                snapshot: false,
                entries,
                resume_token: self.resume_token(),
            });
        }
    }

    async fn behind(&self) {
        std::future::pending::<()>().await;
    }

    fn heartbeat(&self) -> Self::Message {
        pb::WatchLeaderboardResponse { resume_token: self.resume_token(), ..Default::default() }
    }

    fn token(message: &Self::Message) -> &str {
        &message.resume_token
    }
}
