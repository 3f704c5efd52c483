//! The leaderboards of a program as streams watch them.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use crate::api::Context;
use crate::api::errors::ApiError;
use crate::api::reads::{Named, Reading, found};
use crate::read::{At, Board, Freshness, ReadError};
use crate::store::StoreError;
use domain::ProgramId;

/// How long a stream waits for a board that takes the place of another.
const REPLACEMENT_TIMEOUT: Duration = Duration::from_secs(10);
/// The least time between two looks of a stream, and so between two of its messages.
const WATCH_INTERVAL: Duration = Duration::from_millis(250);

/// The board of a program, as new as asked for.
pub(super) async fn board(
    context: &Context,
    program_id: &ProgramId,
    freshness: Freshness,
) -> Result<Arc<Board>, ApiError> {
    let read = |freshness| -> Reading<'_, _> {
        Box::pin(async move {
            let found = context.boards.of(program_id, freshness).await?;
            Ok(At { position: 0, found })
        })
    };
    Ok(found(context, freshness, Named::Program(program_id), read).await?.found)
}

/// A board that one stream looks at whenever the board may have changed, but not too often.
pub(in crate::api) struct WatchedBoard {
    context: Context,
    program_id: ProgramId,
    board: Arc<Board>,
    reached: watch::Receiver<i64>,
    /// The position of the last look.
    position: i64,
    next_at: Instant,
    /// Whether something may have happened that the reader of the stream has not been shown.
    is_due: bool,
}

impl WatchedBoard {
    /// The board of a program, as new as asked for. The first look is due at once.
    pub(in crate::api) async fn open(
        context: &Context,
        program_id: &ProgramId,
        freshness: Freshness,
    ) -> Result<Self, ApiError> {
        let board = board(context, program_id, freshness).await?;
        Ok(Self {
            context: context.clone(),
            program_id: program_id.clone(),
            reached: board.reached(),
            board,
            position: freshness.position,
            next_at: Instant::now(),
            is_due: true,
        })
    }

    /// The board itself.
    pub(in crate::api) fn board(&self) -> &Board {
        &self.board
    }

    /// The position of the last look, or the least position that was asked for.
    pub(in crate::api) fn position(&self) -> i64 {
        self.position
    }

    /// Waits until a look is due, and says whether the board is another one than before. May be dropped and
    /// called again.
    pub(in crate::api) async fn due(&mut self) -> Result<bool, StoreError> {
        tokio::time::sleep_until(self.next_at).await;
        if !self.is_due {
            // The board, which is kept here, keeps the sender.
            let _ = self.reached.changed().await;
            self.is_due = true;
        }
        if self.board.is_given_up() {
            self.replace().await?;
            return Ok(true);
        }
        Ok(false)
    }

    /// Looks at the board. Further looks stay due until [`Self::shown`].
    pub(in crate::api) fn look<T>(&mut self, look: impl FnOnce(&Board) -> At<T>) -> T {
        self.reached.mark_unchanged();
        let At { position, found } = look(&self.board);
        self.position = position;
        self.next_at = Instant::now() + WATCH_INTERVAL;
        found
    }

    /// The reader has been shown what the last look saw: the next one is due when the board changes.
    pub(in crate::api) fn shown(&mut self) {
        self.is_due = false;
    }

    /// Goes over to the board that has taken the place of one that could not be kept up to date.
    async fn replace(&mut self) -> Result<(), StoreError> {
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
}
