//! `LeaderboardService`: who is ahead.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;
use tonic::{Request, Response, Status};

use crate::api::Context;
use crate::api::authentication::caller;
use crate::api::errors::ApiError;
use crate::api::fields::{Fields, page_token};
use crate::api::pb::leaderboard_service_server::LeaderboardService;
use crate::api::pb::{self, ErrorReason};
use crate::api::program::rules::{leaderboard_metric, leaderboard_metric_message};
use crate::api::reads::{Reading, deadline, found_in, freshness};
use crate::api::tokens::{StreamName, resume_cursor, resume_token};
use crate::api::watch::{Feed, Messages, permit, stream};
use crate::engine::query::query;
use crate::live::{Cursor, CutOff};
use crate::read::{At, Board, Freshness, Place, Ranked, ReadError};
use crate::store::{StoreError, log};
use domain::rules::LeaderboardMetric;
use domain::{ParticipantId, ProgramId, UserId, existing_participant};

/// Permits that a stream shows unless asked otherwise, and at most.
const DEFAULT_TOP: u32 = 10;
const MAX_TOP: u32 = 100;
/// How long a stream waits for a board that takes the place of another.
const REPLACEMENT_TIMEOUT: Duration = Duration::from_secs(10);
/// The least time between two messages of a stream.
const WATCH_INTERVAL: Duration = Duration::from_millis(250);

pub(super) struct Leaderboards(pub(super) Context);

#[tonic::async_trait]
impl LeaderboardService for Leaderboards {
    async fn get_leaderboard(
        &self,
        request: Request<pb::GetLeaderboardRequest>,
    ) -> Result<Response<pb::GetLeaderboardResponse>, Status> {
        let deadline = deadline(&self.0, &request);
        let request = request.into_inner();
        let mut fields = Fields::default();
        let page_size = fields.page_size(request.page_size);
        let after = page_place(&mut fields, &request.page_token);
        let program_id = fields.id("program_id", &request.program_id, ProgramId::parse);
        let program_id = fields.finish(program_id)?;
        let freshness = freshness(&self.0, &request.consistency_token, deadline).await?;
        let board = self.board(&program_id, freshness).await?;
        let metric = leaderboard_metric(request.metric()).unwrap_or_else(|| board.default_metric());

        // One more than asked for tells whether there is a next page.
        let limit = usize::try_from(page_size).unwrap_or_default();
        let At { position, found: mut ranks } = board.page(metric, after, limit + 1);
        let is_last = ranks.ranked.len() <= limit;
        ranks.ranked.truncate(limit);
        let next_page_token = match ranks.ranked.last() {
            Some(last) if !is_last => {
                page_token("GetLeaderboard", format_args!("{}.{}", last.score, last.order))
            }
            _ => String::new(),
        };
        Ok(Response::new(pb::GetLeaderboardResponse {
            entries: entries(&self.0, &ranks.ranked).await.map_err(ApiError::from)?,
            next_page_token,
            metric: leaderboard_metric_message(metric).into(),
            participant_count: ranks.count,
            position,
        }))
    }

    async fn get_rank(
        &self,
        request: Request<pb::GetRankRequest>,
    ) -> Result<Response<pb::GetRankResponse>, Status> {
        let deadline = deadline(&self.0, &request);
        let request = request.into_inner();
        let mut fields = Fields::default();
        let program_id = fields.id("program_id", &request.program_id, ProgramId::parse);
        let user_id = fields.id("user_id", &request.user_id, UserId::parse);
        let (program_id, user_id) = fields.finish(program_id.zip(user_id))?;
        let freshness = freshness(&self.0, &request.consistency_token, deadline).await?;
        let mut board = self.board(&program_id, freshness).await?;
        if !board.knows(user_id.as_str()) {
            let id = ParticipantId::new(&program_id, &user_id);
            query(&self.0.database, &self.0.environment, |work| {
                existing_participant(work, &id).map(|_| ())
            })
            .await
            .map_err(ApiError::from)?;
            // So new that the board has not come to it.
            let head = log::head(self.0.database.pool()).await.map_err(ApiError::from)?;
            let freshness = Freshness { position: head, ..freshness };
            board = self.board(&program_id, freshness).await?;
        }
        let metric = leaderboard_metric(request.metric()).unwrap_or_else(|| board.default_metric());
        let At { position, found: ranks } = board.rank(metric, user_id.as_str());
        let entries = entries(&self.0, &ranks.ranked).await.map_err(ApiError::from)?;
        Ok(Response::new(pb::GetRankResponse {
            entry: entries.into_iter().next(),
            metric: leaderboard_metric_message(metric).into(),
            participant_count: ranks.count,
            position,
        }))
    }

    type WatchLeaderboardStream = Messages<pb::WatchLeaderboardResponse>;

    async fn watch_leaderboard(
        &self,
        request: Request<pb::WatchLeaderboardRequest>,
    ) -> Result<Response<Self::WatchLeaderboardStream>, Status> {
        let permit = permit(&self.0, caller(&request))?;
        let deadline = deadline(&self.0, &request);
        let request = request.into_inner();
        let mut fields = Fields::default();
        let top = fields.number("top", request.top, 1..=MAX_TOP, DEFAULT_TOP);
        let program_id = fields.id("program_id", &request.program_id, ProgramId::parse);
        let program_id = fields.finish(program_id)?;
        let name = StreamName::new("WatchLeaderboard", &format!("{program_id} {}", request.metric));
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
        let first = feed.snapshot().await.map_err(ApiError::from)?;
        Ok(stream(&self.0, permit, vec![first], feed))
    }
}

impl Leaderboards {
    /// The board of a program, as new as asked for.
    async fn board(
        &self,
        program_id: &ProgramId,
        freshness: Freshness,
    ) -> Result<Arc<Board>, ApiError> {
        let read = |freshness| -> Reading<'_, _> {
            Box::pin(async move {
                let found = self.0.boards.of(program_id, freshness).await?;
                Ok(At { position: 0, found })
            })
        };
        Ok(found_in(&self.0, freshness, program_id, read).await?.found)
    }
}

/// A part of a leaderboard with the names of those on it.
async fn entries(
    context: &Context,
    ranked: &[Ranked],
) -> Result<Vec<pb::LeaderboardEntry>, StoreError> {
    let usernames = context.boards.usernames(ranked).await?;
    let entry = |ranked: &Ranked| pb::LeaderboardEntry {
        rank: ranked.rank,
        user_id: ranked.user_id.to_string(),
        username: usernames.get(&ranked.user_id).map(ToString::to_string).unwrap_or_default(),
        score: ranked.score,
    };
    Ok(ranked.iter().map(entry).collect())
}

/// The place after which a page begins; none for the first page.
fn page_place(fields: &mut Fields, token: &str) -> Option<Place> {
    let token = fields.page_token("GetLeaderboard", token).filter(|token| !token.is_empty())?;
    let place = token.split_once('.').and_then(|(score, order)| {
        Some(Place { score: score.parse().ok()?, order: order.parse().ok()? })
    });
    if place.is_none() {
        let message = "is not a token that this call gave out";
        fields.fault("page_token", ErrorReason::InvalidPageToken, message);
    }
    place
}

/// The top of a leaderboard as it changes. What happens between two messages is shown by the later one,
/// so that a slow reader gets fewer of them and is never behind.
struct BoardFeed {
    context: Context,
    name: StreamName,
    program_id: ProgramId,
    board: Arc<Board>,
    metric: LeaderboardMetric,
    top: usize,
    reached: watch::Receiver<i64>,
    /// The position of the last look.
    position: i64,
    /// What the reader has been shown.
    shown: Vec<Ranked>,
    next_at: Instant,
    /// Whether something has happened that the reader has not been shown.
    is_due: bool,
}

impl BoardFeed {
    /// Goes over to the board that has taken the place of one that could not be kept up to date.
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
            // Not in time: the client can try again.
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

    /// Everything that is to be shown.
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
