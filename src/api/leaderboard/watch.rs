//! `WatchLeaderboard`.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use super::{Handlers, entries};
use crate::api::Context;
use crate::api::errors::ApiError;
use crate::api::fields::Fields;
use crate::api::guard::Call;
use crate::api::pb;
use crate::api::program::rules::leaderboard_metric;
use crate::api::tokens::{StreamName, resume_cursor, resume_token};
use crate::api::watch::{Feed, Messages, permit, stream};
use crate::live::{Cursor, CutOff};
use crate::read::{At, Board, Freshness, Ranked, ReadError};
use crate::store::StoreError;
use domain::ProgramId;
use domain::rules::LeaderboardMetric;

/// The number of places that a stream shows by default, and the maximum.
const DEFAULT_TOP: u32 = 10;
const MAX_TOP: u32 = 100;
/// How long a stream waits for a board that replaces another.
const REPLACEMENT_TIMEOUT: Duration = Duration::from_secs(10);
/// The least time between two messages of a stream.
const WATCH_INTERVAL: Duration = Duration::from_millis(250);

impl Handlers {
    pub(in crate::api) async fn watch_leaderboard(
        &self,
        call: Call<pb::WatchLeaderboardRequest>,
    ) -> Result<Messages<pb::WatchLeaderboardResponse>, ApiError> {
        let permit = permit(&self.0, &call.principal)?;
        let (request, deadline) = (&call.message, call.deadline);
        let mut fields = Fields::default();
        let top = fields.number("top", request.top, 1..=MAX_TOP, DEFAULT_TOP);
        let program_id = fields.id("program_id", &request.program_id, ProgramId::parse);
        let program_id = fields.finish(program_id)?;
        let name = StreamName::new(call.rpc(), &format!("{program_id} {}", request.metric));
        let from = resume_cursor(&self.0, name, &request.resume_token).await?;
        let position = from.map_or(0, |cursor| cursor.position);
        let board = self.board(&program_id, Freshness { position, deadline }).await?;
        let metric = leaderboard_metric(request.metric()).unwrap_or_else(|| board.default_metric());
        let mut feed = BoardFeed {
            context: self.0.clone(),
            name,
            program_id,
            reached: board.reached(),
            board,
            metric,
            top: top as usize,
            position,
            shown: Vec::new(),
            next_at: Instant::now(),
            is_due: false,
        };
        let first = feed.snapshot().await?;
        Ok(stream(&self.0, permit, vec![first], feed))
    }
}

/// The top of a leaderboard as it changes. Changes between two messages are combined in the later one, so
/// that a slow reader gets fewer messages and is never behind.
struct BoardFeed {
    context: Context,
    name: StreamName,
    program_id: ProgramId,
    board: Arc<Board>,
    metric: LeaderboardMetric,
    top: usize,
    reached: watch::Receiver<i64>,
    /// The position at which the board was last read.
    position: i64,
    /// The places that the reader has been sent.
    shown: Vec<Ranked>,
    next_at: Instant,
    /// Whether there are changes that the reader has not been sent.
    is_due: bool,
}

impl BoardFeed {
    /// Switches to the board that has replaced one that could not be kept up to date.
    async fn replace_board(&mut self) -> Result<(), StoreError> {
        let deadline = Instant::now() + REPLACEMENT_TIMEOUT;
        let freshness = Freshness { position: self.position, deadline };
        match self.context.boards.of(&self.program_id, freshness).await {
            Ok(Some(board)) => {
                self.reached = board.reached();
                self.board = board;
                Ok(())
            }
            Ok(None) => Err(StoreError::Nonsense(format!("no leaderboard of {}", self.program_id))),
            Err(ReadError::Store(error)) => Err(error),
            // The board was not built in time; the client can try again.
            Err(_) => Err(StoreError::Unavailable(sqlx::Error::PoolTimedOut)),
        }
    }

    fn token_at(&self, position: i64) -> String {
        resume_token(&self.context, self.name, Cursor { position, sequence: position })
    }

    fn look(&mut self) -> Vec<Ranked> {
        self.reached.mark_unchanged();
        let At { position, found: ranks } = self.board.page(self.metric, None, self.top);
        self.position = position;
        self.next_at = Instant::now() + WATCH_INTERVAL;
        ranks.ranked
    }

    /// A message with the whole top.
    async fn snapshot(&mut self) -> Result<pb::WatchLeaderboardResponse, StoreError> {
        let ranked = self.look();
        let entries = entries(&self.context, &ranked).await?;
        self.shown = ranked;
        self.is_due = false;
        Ok(pb::WatchLeaderboardResponse {
            snapshot: true,
            entries,
            resume_token: self.token_at(self.position),
        })
    }
}

impl Feed for BoardFeed {
    type Message = pb::WatchLeaderboardResponse;

    async fn next(&mut self) -> Result<Self::Message, CutOff> {
        loop {
            tokio::time::sleep_until(self.next_at).await;
            if !self.is_due {
                let _ = self.reached.changed().await;
                self.is_due = true;
            }
            if self.board.is_given_up() {
                self.replace_board().await?;
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
                self.is_due = false;
                continue;
            }
            let entries = entries(&self.context, &changed).await?;
            self.shown = ranked;
            self.is_due = false;
            return Ok(pb::WatchLeaderboardResponse {
                snapshot: false,
                entries,
                resume_token: self.token_at(self.position),
            });
        }
    }

    async fn behind(&self) {
        std::future::pending::<()>().await;
    }

    fn heartbeat(&self) -> Self::Message {
        pb::WatchLeaderboardResponse {
            resume_token: self.token_at(self.position),
            ..Default::default()
        }
    }

    fn token(message: &Self::Message) -> &str {
        &message.resume_token
    }
}
