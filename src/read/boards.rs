//! Leaderboards. They are kept in memory, one board per program: built from a read model on first use, and
//! kept up to date by the tail of the log from then on.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use sqlx::Row;
use tokio::sync::OnceCell;
use tokio::time::Instant;
use tokio_stream::StreamExt;

use super::board::{Board, Ranked, State};
use super::names::Names;
use super::{Freshness, READ_EVENTS, ReadError, Reads, sql};
use crate::lifecycle::{Stage, Tasks};
use crate::live::{Cursor, CutOff, Live, Subscription};
use crate::store::{ProfileNames, StoreError, in_time, load, log};
use domain::{AnyAggregate, Program, ProgramId, StreamKey};

/// How long building a board may take, regardless of how long its callers can wait.
const BUILD_TIMEOUT: Duration = Duration::from_mins(1);
/// The number of programs whose leaderboards are kept in memory; the least recently used is evicted.
const MAX_BOARDS: usize = 64;

type Slot = Arc<OnceCell<Arc<Board>>>;

/// Why there is no board.
enum NotBuilt {
    UnknownProgram,
    Failed(ReadError),
}

impl From<ReadError> for NotBuilt {
    fn from(error: ReadError) -> Self {
        Self::Failed(error)
    }
}

/// Why a board is no longer followed.
#[derive(Debug, thiserror::Error)]
enum Unfollowed {
    #[error(transparent)]
    CutOff(#[from] CutOff),
    #[error(transparent)]
    Unreadable(#[from] StoreError),
}

/// The leaderboards of this process. Cheap to clone.
#[derive(Clone)]
pub struct Boards {
    reads: Reads,
    live: Live,
    tasks: Tasks,
    slots: Arc<Mutex<HashMap<ProgramId, Slot>>>,
    names: Arc<Names>,
}

impl Boards {
    /// Creates an empty set of boards. `tasks` will hold the tasks that keep boards up to date.
    #[must_use]
    pub fn new(reads: Reads, live: Live, tasks: Tasks) -> Self {
        Self { reads, live, tasks, slots: Arc::default(), names: Arc::default() }
    }

    /// The leaderboards of a program, as fresh as requested. They are built if they are not in memory. `None`
    /// if there is no such program.
    ///
    /// # Errors
    /// [`ReadError`] if they cannot be built, or are not fresh enough in time.
    pub async fn of(
        &self,
        program_id: &ProgramId,
        freshness: Freshness,
    ) -> Result<Option<Arc<Board>>, ReadError> {
        loop {
            let Some(board) = self.any_of(program_id, freshness).await? else { return Ok(None) };
            if board.wait(freshness).await? {
                return Ok(Some(board));
            }
            // The board was given up meanwhile, and another will replace it.
            if Instant::now() >= freshness.deadline {
                let reached = board.position();
                return Err(ReadError::Behind { reached, wanted: freshness.position });
            }
            self.forget_board(program_id, &board);
        }
    }

    /// The names of the participants on a part of a leaderboard, by user id; erased names are missing.
    ///
    /// # Errors
    /// [`StoreError`] if the database cannot be read.
    pub async fn names(
        &self,
        ranked: &[Ranked],
    ) -> Result<HashMap<Arc<str>, Arc<ProfileNames>>, StoreError> {
        let user_ids: Vec<Arc<str>> = ranked.iter().map(|ranked| ranked.user_id.clone()).collect();
        self.names.of(self.reads.database.pool(), &user_ids).await
    }

    async fn any_of(
        &self,
        program_id: &ProgramId,
        freshness: Freshness,
    ) -> Result<Option<Arc<Board>>, ReadError> {
        let slot = self.slot(program_id);
        if let Some(board) = slot.get() {
            board.use_now();
            return Ok(Some(board.clone()));
        }
        // In a separate task, so that a caller who stops waiting does not abort the work.
        let (boards, building_slot, building_id) = (self.clone(), slot.clone(), program_id.clone());
        let building = tokio::spawn(async move {
            let build = || boards.build(building_id.clone(), &building_slot);
            let board = building_slot.get_or_try_init(build).await.cloned();
            if board.is_err() {
                boards.forget(&building_id, &building_slot);
            }
            board
        });
        match tokio::time::timeout_at(freshness.deadline, building).await {
            Ok(Ok(Ok(board))) => Ok(Some(board)),
            Ok(Ok(Err(NotBuilt::Failed(error)))) => Err(error),
            Ok(Ok(Err(NotBuilt::UnknownProgram))) => Ok(None),
            // The board was not built in time, or the process is ending.
            _ => Err(ReadError::LeaderboardUnread),
        }
    }

    /// Loads a board from the read model, and follows the log from the position that it reflects.
    async fn build(&self, program_id: ProgramId, slot: &Slot) -> Result<Arc<Board>, NotBuilt> {
        let deadline = Instant::now() + BUILD_TIMEOUT;
        let loading = self.reads.board(&program_id);
        let mut state = match tokio::time::timeout_at(deadline, loading).await {
            Ok(loaded) => loaded?.ok_or(NotBuilt::UnknownProgram)?,
            Err(_) => return Err(ReadError::LeaderboardUnread.into()),
        };
        self.catch_up(&program_id, &mut state).await?;
        let position = state.position;
        let board = Arc::new(Board::new(state));
        let cursor = Cursor { position, sequence: position };
        let subscription = self.live.follow(cursor);
        let followed = Arc::downgrade(&board);
        // The task must not keep the board alive on its own.
        let (boards, slot) = (self.clone(), Arc::downgrade(slot));
        self.tasks.spawn_finite(Stage::Background, "leaderboard", |stop| async move {
            let following = follow(&program_id, &followed, subscription);
            if let Some(Err(error)) = stop.run_until_cancelled(following).await {
                tracing::warn!(%program_id, %error, "a leaderboard was given up; it is built again");
            }
            if let Some(slot) = slot.upgrade() {
                boards.forget(&program_id, &slot);
            }
            if let Some(board) = followed.upgrade() {
                board.give_up();
            }
        });
        Ok(board)
    }

    /// Applies the events that the read model has yet to apply, so that few are left for the queue of a
    /// subscription.
    async fn catch_up(&self, program_id: &ProgramId, state: &mut State) -> Result<(), NotBuilt> {
        loop {
            let read = log::read_after(self.reads.database.pool(), state.position, READ_EVENTS);
            let events = in_time(read).await.map_err(ReadError::from)?;
            for event in &events {
                state.apply(program_id, event).map_err(ReadError::from)?;
            }
            if i64::try_from(events.len()).is_ok_and(|read| read < READ_EVENTS) {
                return Ok(());
            }
        }
    }

    fn slots(&self) -> MutexGuard<'_, HashMap<ProgramId, Slot>> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn slot(&self, program_id: &ProgramId) -> Slot {
        let mut slots = self.slots();
        if let Some(slot) = slots.get(program_id) {
            return slot.clone();
        }
        let mut built: Vec<(Instant, ProgramId)> = slots
            .iter()
            .filter_map(|(program_id, slot)| Some((slot.get()?.used_at(), program_id.clone())))
            .collect();
        if built.len() >= MAX_BOARDS {
            built.sort_unstable();
            if let Some((_, oldest)) = built.first() {
                slots.remove(oldest);
            }
        }
        slots.entry(program_id.clone()).or_default().clone()
    }

    fn forget_board(&self, program_id: &ProgramId, board: &Arc<Board>) {
        let mut slots = self.slots();
        let known = slots.get(program_id).and_then(|slot| slot.get());
        if known.is_some_and(|known| Arc::ptr_eq(known, board)) {
            slots.remove(program_id);
        }
    }

    /// Gives up a slot, if it is still the one in use.
    fn forget(&self, program_id: &ProgramId, slot: &Slot) {
        let mut slots = self.slots();
        if slots.get(program_id).is_some_and(|known| Arc::ptr_eq(known, slot)) {
            slots.remove(program_id);
        }
    }
}

/// Keeps a board up to date for as long as it is in use, a command at a time: nobody sees half of what one did.
async fn follow(
    program_id: &ProgramId,
    board: &Weak<Board>,
    mut subscription: Subscription,
) -> Result<(), Unfollowed> {
    let mut command = Vec::new();
    let mut missing = 0;
    loop {
        let event = subscription.next().await?;
        missing = event.command_events.unwrap_or(missing).saturating_sub(1);
        command.push(event);
        if missing > 0 {
            continue;
        }
        let Some(board) = board.upgrade() else { return Ok(()) };
        board.apply(program_id, &command)?;
        command.clear();
    }
}

impl Reads {
    /// Everything that the leaderboards of a program need; `None` if there is no such program.
    async fn board(&self, program_id: &ProgramId) -> Result<Option<State>, ReadError> {
        self.check_complete().await?;
        let pool = self.database.pool();
        let mut rows = sqlx::query(sql!("board.sql")).bind(program_id.as_str()).fetch(pool);
        let mut state = State::empty();
        while let Some(row) = rows.next().await.transpose()? {
            state.position = row.try_get("position")?;
            let Some(user_id) = row.try_get::<Option<&str>, _>("user_id")? else { continue };
            let (referrals, conversions): (i32, i32) =
                (row.try_get("referral_count")?, row.try_get("converted_count")?);
            let scores = [row.try_get("earned_minor")?, referrals.into(), conversions.into()];
            state.enroll(user_id, scores);
        }
        drop(rows);
        // The program itself is read from the log, so it is at least as new as the board. Applying a version
        // again changes nothing.
        let key = StreamKey::of::<Program>(program_id);
        let (loaded, _) = in_time(load::stream_and_position(pool, &key)).await?;
        let AnyAggregate::Program(program) = loaded.state else { return Ok(None) };
        let Some(current) = program.current() else { return Ok(None) };
        state.default_metric = current.rules.leaderboard;
        Ok(Some(state))
    }
}
