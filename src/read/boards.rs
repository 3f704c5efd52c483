//! Leaderboards. They live in memory, one per program: built from a read model when somebody first asks,
//! and kept up to date by the tail of the log from then on.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use sqlx::Row;
use tokio::sync::{OnceCell, watch};
use tokio::time::Instant;
use tokio_stream::StreamExt;

use super::ranking::{Place, Ranking};
use super::{At, Freshness, ReadError, Reads, sql};
use crate::domain::rules::LeaderboardMetric;
use crate::domain::{
    AnyAggregate, DecodeError, Kind, Participant, ParticipantEvent, Program, ProgramEvent,
    ProgramId, ReferralStatus, StreamKey, decode,
};
use crate::live::{Cursor, CutOff, Live, Subscription};
use crate::store::{RecordedEvent, StoreError, in_time, load, log};

/// How long building a board may take, however long its callers can wait.
const BUILD_TIMEOUT: Duration = Duration::from_mins(1);
/// How many events are read at once.
const READ_EVENTS: i64 = 5_000;
/// Programs whose leaderboards are kept in memory; the one that was asked for least recently goes.
const MAX_BOARDS: usize = 64;

/// Somebody on a leaderboard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ranked {
    /// 1, 2, 3, ...
    pub rank: i64,
    /// Who.
    pub user_id: Arc<str>,
    /// In the unit of the metric.
    pub score: i64,
    /// The number in the order of registration.
    pub order: u32,
}

/// A part of a leaderboard.
#[derive(Clone, Debug)]
pub struct Ranks {
    /// Best first.
    pub ranked: Vec<Ranked>,
    /// How many are on the board.
    pub count: i64,
}

/// The leaderboards of one program.
pub struct Board {
    state: Mutex<State>,
    /// The position that the state reflects.
    reached: watch::Sender<i64>,
    used_at: Mutex<Instant>,
    given_up: AtomicBool,
}

struct State {
    position: i64,
    default_metric: LeaderboardMetric,
    members: Vec<Member>,
    by_user: HashMap<Arc<str>, u32>,
    /// By score: what was earned, referrals, conversions. Made when first asked for.
    rankings: [Option<Ranking<Place>>; 3],
}

struct Member {
    user_id: Arc<str>,
    scores: [i64; 3],
}

/// Which of a member's scores a metric goes by. Points and earnings are the same sum, of which only the
/// leaderboard of points shows those with nothing.
fn score_index(metric: LeaderboardMetric) -> usize {
    match metric {
        LeaderboardMetric::Points | LeaderboardMetric::Earnings => 0,
        LeaderboardMetric::Referrals => 1,
        LeaderboardMetric::Conversions => 2,
    }
}

impl State {
    fn ranking(&mut self, metric: LeaderboardMetric) -> &Ranking<Place> {
        let index = score_index(metric);
        self.rankings[index].get_or_insert_with(|| {
            let places = self.members.iter().enumerate().map(|(order, member)| Place {
                score: member.scores[index],
                order: u32::try_from(order).unwrap_or(u32::MAX),
            });
            places.collect()
        })
    }

    /// How many of a ranking are on the board.
    fn count(&mut self, metric: LeaderboardMetric) -> usize {
        let ranking = self.ranking(metric);
        match metric {
            LeaderboardMetric::Earnings => ranking.count_below(&Place { score: 0, order: 0 }),
            _ => ranking.len(),
        }
    }

    fn ranked(&self, rank: usize, place: Place) -> Ranked {
        let user_id = self.members.get(place.order as usize).map(|member| member.user_id.clone());
        Ranked {
            rank: i64::try_from(rank).unwrap_or(i64::MAX).saturating_add(1),
            user_id: user_id.unwrap_or_else(|| "".into()),
            score: place.score,
            order: place.order,
        }
    }

    fn enroll(&mut self, user_id: &str, scores: [i64; 3]) {
        if self.by_user.contains_key(user_id) {
            return;
        }
        let order = u32::try_from(self.members.len()).unwrap_or(u32::MAX);
        let user_id: Arc<str> = user_id.into();
        self.by_user.insert(user_id.clone(), order);
        for (ranking, score) in self.rankings.iter_mut().zip(scores) {
            if let Some(ranking) = ranking {
                ranking.insert(Place { score, order });
            }
        }
        self.members.push(Member { user_id, scores });
    }

    fn score(&mut self, user_id: &str, index: usize, change: impl Fn(i64) -> i64) {
        let Some(&order) = self.by_user.get(user_id) else { return };
        let score = &mut self.members[order as usize].scores[index];
        let before = std::mem::replace(score, change(*score));
        if let Some(ranking) = &mut self.rankings[index] {
            ranking.remove(&Place { score: before, order });
            ranking.insert(Place { score: *score, order });
        }
    }

    fn apply(&mut self, program_id: &ProgramId, event: &RecordedEvent) -> Result<(), DecodeError> {
        match event.stream.kind {
            Kind::Program if *event.stream.id == *program_id.as_str() => {
                let published =
                    decode::<Program>(&event.event_type, &event.event_version, &event.payload)?;
                let ProgramEvent::ProgramPublished(published) = published;
                self.default_metric = published.rules.leaderboard;
            }
            Kind::Participant
                if matters(&event.event_type) && is_of(&event.stream.id, program_id) =>
            {
                let read =
                    decode::<Participant>(&event.event_type, &event.event_version, &event.payload)?;
                self.apply_to_participant(&read);
            }
            _ => {}
        }
        self.position = event.position;
        Ok(())
    }

    fn apply_to_participant(&mut self, event: &ParticipantEvent) {
        match event {
            ParticipantEvent::ParticipantEnrolled(enrolled) => {
                self.enroll(enrolled.user_id.as_str(), [0; 3]);
            }
            ParticipantEvent::RewardGranted(granted) => {
                self.score(granted.earner_user_id.as_str(), 0, |_| granted.total_minor);
            }
            ParticipantEvent::ReferralApplied(applied)
                if applied.status == ReferralStatus::Pending =>
            {
                self.score(applied.referrer_user_id.as_str(), 1, |count| count + 1);
            }
            ParticipantEvent::ReferralConverted(converted) => {
                self.score(converted.referrer_user_id.as_str(), 2, |count| count + 1);
            }
            _ => {}
        }
    }
}

/// Whether a participant's stream is of a program.
fn is_of(stream_id: &str, program_id: &ProgramId) -> bool {
    stream_id.strip_prefix(program_id.as_str()).is_some_and(|rest| rest.starts_with('/'))
}

/// Whether an event can change a leaderboard, so that the others need not be read.
fn matters(event_type: &str) -> bool {
    matches!(
        event_type,
        "ParticipantEnrolled" | "RewardGranted" | "ReferralApplied" | "ReferralConverted"
    )
}

impl Board {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Every change keeps the state usable, also one that was cut short.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn used_at(&self) -> Instant {
        *self.used_at.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn use_now(&self) {
        *self.used_at.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    /// What the program's leaderboard counts unless asked otherwise.
    #[must_use]
    pub fn default_metric(&self) -> LeaderboardMetric {
        self.lock().default_metric
    }

    /// Whether the board is no longer kept up to date; another has taken its place.
    #[must_use]
    pub fn is_given_up(&self) -> bool {
        self.given_up.load(Ordering::Relaxed)
    }

    /// The position that the board reflects, for those who wait for it or for any change.
    #[must_use]
    pub fn reached(&self) -> watch::Receiver<i64> {
        self.reached.subscribe()
    }

    /// Waits until the board reflects a position, and says whether it ever will.
    async fn wait(&self, freshness: Freshness) -> Result<bool, ReadError> {
        let Freshness { position: wanted, deadline } = freshness;
        let mut reached = self.reached();
        let waiting = reached.wait_for(|reached| *reached >= wanted || self.is_given_up());
        match tokio::time::timeout_at(deadline, waiting).await {
            Ok(Ok(reached)) => Ok(*reached >= wanted),
            _ => Err(ReadError::Behind { reached: *self.reached.borrow(), wanted }),
        }
    }

    /// Those after a place, best first; from the top if there is none.
    #[must_use]
    pub fn page(&self, metric: LeaderboardMetric, after: Option<Place>, limit: usize) -> At<Ranks> {
        let mut state = self.lock();
        let count = state.count(metric);
        let ranking = state.ranking(metric);
        let first = after.map_or(0, |place| {
            ranking.count_below(&place) + usize::from(ranking.rank(&place).is_some())
        });
        let places: Vec<Place> =
            ranking.iter_from(first).take(limit.min(count.saturating_sub(first))).collect();
        let ranked = places
            .into_iter()
            .enumerate()
            .map(|(index, place)| state.ranked(first + index, place))
            .collect();
        let ranks = Ranks { ranked, count: i64::try_from(count).unwrap_or(i64::MAX) };
        At { position: state.position, found: ranks }
    }

    /// One participant's place; none if they are not on the board.
    #[must_use]
    pub fn rank(&self, metric: LeaderboardMetric, user_id: &str) -> At<Ranks> {
        let mut state = self.lock();
        let count = state.count(metric);
        let place = state.by_user.get(user_id).map(|&order| Place {
            score: state.members[order as usize].scores[score_index(metric)],
            order,
        });
        let rank = place.and_then(|place| state.ranking(metric).rank(&place));
        let ranked = place
            .zip(rank.filter(|rank| *rank < count))
            .map(|(place, rank)| state.ranked(rank, place));
        let ranks = Ranks {
            ranked: ranked.into_iter().collect(),
            count: i64::try_from(count).unwrap_or(i64::MAX),
        };
        At { position: state.position, found: ranks }
    }

    /// Whether the board knows a user.
    #[must_use]
    pub fn knows(&self, user_id: &str) -> bool {
        self.lock().by_user.contains_key(user_id)
    }
}

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
    Unreadable(#[from] DecodeError),
}

/// The leaderboards of this process. Cheap to clone.
#[derive(Clone)]
pub struct Boards {
    reads: Reads,
    live: Live,
    slots: Arc<Mutex<HashMap<ProgramId, Slot>>>,
}

impl Boards {
    /// Without any boards yet.
    #[must_use]
    pub fn new(reads: Reads, live: Live) -> Self {
        Self { reads, live, slots: Arc::default() }
    }

    /// The leaderboards of a program, as new as asked for. They are built if they are not there. `None` if
    /// the read models know no such program.
    ///
    /// # Errors
    /// [`ReadError`] if they cannot be built, or are not so new in time.
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
            // It was given up meanwhile, and another will take its place.
            if Instant::now() >= freshness.deadline {
                let reached = *board.reached.borrow();
                return Err(ReadError::Behind { reached, wanted: freshness.position });
            }
            self.forget_board(program_id, &board);
        }
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
        // In a task of its own, so that a caller who cannot wait so long does not undo what was begun.
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
            // Not in time; or the process is ending.
            _ => Err(ReadError::Behind { reached: 0, wanted: freshness.position }),
        }
    }

    /// Loads a board from the read model, and follows the log from the position that it reflects.
    async fn build(&self, program_id: ProgramId, slot: &Slot) -> Result<Arc<Board>, NotBuilt> {
        let deadline = Instant::now() + BUILD_TIMEOUT;
        let loading = self.reads.board(&program_id);
        let mut state = match tokio::time::timeout_at(deadline, loading).await {
            Ok(loaded) => loaded?.ok_or(NotBuilt::UnknownProgram)?,
            Err(_) => return Err(ReadError::Behind { reached: 0, wanted: 0 }.into()),
        };
        self.catch_up(&program_id, &mut state).await?;
        let position = state.position;
        let board = Arc::new(Board {
            state: Mutex::new(state),
            reached: watch::Sender::new(position),
            used_at: Mutex::new(Instant::now()),
            given_up: AtomicBool::new(false),
        });
        let cursor = Cursor { position, sequence: position };
        let subscription = self.live.follow(cursor);
        let followed = Arc::downgrade(&board);
        // The task must not keep alive what nobody else has any more.
        let (boards, slot) = (self.clone(), Arc::downgrade(slot));
        tokio::spawn(async move {
            if let Err(error) = follow(&program_id, &followed, subscription).await {
                tracing::warn!(%program_id, %error, "a leaderboard was given up; it is built again");
            }
            if let Some(slot) = slot.upgrade() {
                boards.forget(&program_id, &slot);
            }
            if let Some(board) = followed.upgrade() {
                board.given_up.store(true, Ordering::Relaxed);
                // Wakes those who watch.
                board.reached.send_modify(|_| {});
            }
        });
        Ok(board)
    }

    /// Applies what the log has beyond the read model, so that little is left to come through the queue of
    /// a subscription.
    async fn catch_up(&self, program_id: &ProgramId, state: &mut State) -> Result<(), NotBuilt> {
        loop {
            let read = log::read_after(self.reads.database.pool(), state.position, READ_EVENTS);
            let events = in_time(read).await.map_err(ReadError::from)?;
            for event in &events {
                state.apply(program_id, event).map_err(|source| {
                    let (stream, sequence) = (event.stream.to_string(), event.sequence);
                    ReadError::Store(StoreError::Unreadable { stream, sequence, source })
                })?;
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

/// Keeps a board up to date for as long as anybody has it.
async fn follow(
    program_id: &ProgramId,
    board: &Weak<Board>,
    mut subscription: Subscription,
) -> Result<(), Unfollowed> {
    loop {
        let event = subscription.next().await?;
        let Some(board) = board.upgrade() else { return Ok(()) };
        board.lock().apply(program_id, &event)?;
        board.reached.send_replace(event.position);
    }
}

impl Reads {
    /// Everything that the leaderboards of a program need; `None` if there is no such program.
    async fn board(&self, program_id: &ProgramId) -> Result<Option<State>, ReadError> {
        self.check_complete().await?;
        let pool = self.database.pool();
        let mut rows = sqlx::query(sql!("board.sql")).bind(program_id.as_str()).fetch(pool);
        let mut state = State {
            position: 0,
            default_metric: LeaderboardMetric::Points,
            members: Vec::new(),
            by_user: HashMap::new(),
            rankings: [None, None, None],
        };
        while let Some(row) = rows.next().await.transpose()? {
            state.position = row.try_get("position")?;
            let Some(user_id) = row.try_get::<Option<&str>, _>("user_id")? else { continue };
            let (referrals, conversions): (i32, i32) =
                (row.try_get("referral_count")?, row.try_get("converted_count")?);
            let scores = [row.try_get("earned_minor")?, referrals.into(), conversions.into()];
            state.enroll(user_id, scores);
        }
        drop(rows);
        // The program itself is read from the log, and so is at least as new: to see it published again
        // changes nothing.
        let key = StreamKey { kind: Kind::Program, id: program_id.as_str().into() };
        let (loaded, _) = in_time(load::stream_and_position(pool, &key)).await?;
        let AnyAggregate::Program(program) = loaded.state else { return Ok(None) };
        let Some(current) = program.current() else { return Ok(None) };
        state.default_metric = current.rules.leaderboard;
        Ok(Some(state))
    }
}
