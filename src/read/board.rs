//! The leaderboards of one program, in memory: the ranked scores of all participants.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;
use tokio::time::Instant;

use super::members::{Members, Scores};
use super::ranking::{Place, Ranking};
use super::{At, Freshness, ReadError};
use crate::store::{RecordedEvent, StoreError};
use domain::rules::LeaderboardMetric;
use domain::{
    Participant, ParticipantEvent, Program, ProgramEvent, ProgramId, ReferralStatus, Stream,
};

/// A participant on a leaderboard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ranked {
    /// 1, 2, 3, ...
    pub rank: i64,
    /// The user.
    pub user_id: Arc<str>,
    /// In the unit of the metric.
    pub score: i64,
    /// The number in the order of enrollment.
    pub order: u32,
}

/// A part of a leaderboard.
#[derive(Clone, Debug)]
pub struct Ranks {
    /// Best first.
    pub ranked: Vec<Ranked>,
    /// The number of participants on the board.
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

pub(super) struct State {
    pub(super) position: i64,
    pub(super) default_metric: LeaderboardMetric,
    members: Members,
    /// By score: earnings, referrals, conversions. Each is built on first use.
    rankings: [Option<Ranking<Place>>; 3],
}

/// The index of the score that a metric uses. Points and earnings are the same sum; only the leaderboard of
/// points shows participants with a score of zero.
fn score_index(metric: LeaderboardMetric) -> usize {
    match metric {
        LeaderboardMetric::Points | LeaderboardMetric::Earnings => 0,
        LeaderboardMetric::Referrals => 1,
        LeaderboardMetric::Conversions => 2,
    }
}

/// The rank of whoever comes after so many others.
fn counted_from_one(others: usize) -> i64 {
    i64::try_from(others).unwrap_or(i64::MAX).saturating_add(1)
}

impl State {
    /// An empty board at the beginning of the log.
    pub(super) fn empty() -> Self {
        Self {
            position: 0,
            default_metric: LeaderboardMetric::Points,
            members: Members::default(),
            rankings: [None, None, None],
        }
    }

    fn ranking(&mut self, metric: LeaderboardMetric) -> &Ranking<Place> {
        let index = score_index(metric);
        self.rankings[index].get_or_insert_with(|| {
            let places = self.members.all_scores();
            places.map(|(order, scores)| Place { score: scores[index], order }).collect()
        })
    }

    /// How many entries of a ranking are on the board.
    fn len(&mut self, metric: LeaderboardMetric) -> usize {
        let ranking = self.ranking(metric);
        match metric {
            LeaderboardMetric::Earnings => ranking.count_below(&Place { score: 0, order: 0 }),
            _ => ranking.len(),
        }
    }

    /// How many are better than a participant, and the participant's place; none if they are not on the board.
    fn place_of(&mut self, metric: LeaderboardMetric, user_id: &str) -> Option<(usize, Place)> {
        let order = self.members.number(user_id)?;
        let place = Place { score: self.members.scores(order)[score_index(metric)], order };
        let rank = self.ranking(metric).rank(&place)?;
        (rank < self.len(metric)).then_some((rank, place))
    }

    fn ranked(&self, rank: usize, place: Place) -> Ranked {
        Ranked {
            rank: counted_from_one(rank),
            user_id: self.members.name(place.order).into(),
            score: place.score,
            order: place.order,
        }
    }

    pub(super) fn enroll(&mut self, user_id: &str, scores: Scores) {
        let Some(order) = self.members.insert(user_id, scores) else { return };
        for (ranking, score) in self.rankings.iter_mut().zip(scores) {
            if let Some(ranking) = ranking {
                ranking.insert(Place { score, order });
            }
        }
    }

    fn score(&mut self, user_id: &str, index: usize, change: impl Fn(i64) -> i64) {
        let Some(order) = self.members.number(user_id) else { return };
        let score = change(self.members.scores(order)[index]);
        let Some(before) = self.members.replace(order, index, score) else { return };
        if let Some(ranking) = &mut self.rankings[index] {
            ranking.remove(&Place { score: before, order });
            ranking.insert(Place { score, order });
        }
    }

    pub(super) fn apply(
        &mut self,
        program_id: &ProgramId,
        event: &RecordedEvent,
    ) -> Result<(), StoreError> {
        if event.stream.kind == Program::KIND && *event.stream.id == *program_id.as_str() {
            match event.read_if_known()?.and_then(Program::event) {
                Some(ProgramEvent::ProgramPublished(published)) => {
                    self.default_metric = published.rules.leaderboard;
                }
                None => {}
            }
        } else if event.stream.kind == Participant::KIND
            && let Some(user_id) = user_in(&event.stream.id, program_id)
        {
            self.apply_to_participant(user_id, event)?;
        }
        self.position = event.position;
        Ok(())
    }

    fn apply_to_participant(
        &mut self,
        user_id: &str,
        event: &RecordedEvent,
    ) -> Result<(), StoreError> {
        if let Some(posting) = event.posting()? {
            self.score(user_id, 0, |_| posting.after.net_earned());
            return Ok(());
        }
        // What only a newer release knows is nothing that boards of this one count.
        let Some(event) = event.read_if_known()?.and_then(Participant::event) else {
            return Ok(());
        };
        match event {
            ParticipantEvent::ParticipantEnrolled(_) => self.enroll(user_id, [0; 3]),
            ParticipantEvent::ReferralMade(made) => self.count(user_id, made.status, 1),
            ParticipantEvent::ReferralUpdated(updated) => {
                self.count(user_id, updated.previous_status, -1);
                self.count(user_id, updated.status, 1);
            }
            // The other side of a referral, or something that leaderboards do not count.
            ParticipantEvent::ReferralApplied(_)
            | ParticipantEvent::ReferralStandingChanged(_)
            | ParticipantEvent::ReferralConverted(_)
            | ParticipantEvent::FirstPurchaseUsed(_)
            | ParticipantEvent::FirstPurchaseFreed(_)
            | ParticipantEvent::PurchaseReinstated(_)
            | ParticipantEvent::ReferralUnconverted(_)
            | ParticipantEvent::ReferralRewardsChanged(_)
            | ParticipantEvent::RewardReversed(_)
            | ParticipantEvent::RewardMoved(_)
            | ParticipantEvent::PurchaseCredited(_)
            | ParticipantEvent::RewardGranted(_)
            | ParticipantEvent::RewardWithheld(_)
            | ParticipantEvent::TierChanged(_)
            | ParticipantEvent::RefereeAddressChanged(_)
            | ParticipantEvent::ParticipantDeactivated(_)
            | ParticipantEvent::ParticipantReactivated(_)
            | ParticipantEvent::BalanceAdjusted(_)
            | ParticipantEvent::BalanceExpired(_)
            | ParticipantEvent::BalanceForfeited(_)
            | ParticipantEvent::PayoutReserved(_)
            | ParticipantEvent::PayoutPaid(_)
            | ParticipantEvent::PayoutReleased(_)
            | ParticipantEvent::PayoutReturned(_)
            | ParticipantEvent::BalanceSpent(_)
            | ParticipantEvent::SpendingReturned(_)
            | ParticipantEvent::ParticipantErased(_) => {}
        }
        Ok(())
    }

    /// Adds to, or subtracts from, a referrer's count of referrals with a status.
    fn count(&mut self, user_id: &str, status: ReferralStatus, change: i64) {
        let (is_counted, is_converted) = match status {
            ReferralStatus::Pending => (true, false),
            ReferralStatus::Converted => (true, true),
            ReferralStatus::Held | ReferralStatus::Rejected => (false, false),
        };
        if is_counted {
            self.score(user_id, 1, |count| count + change);
        }
        if is_converted {
            self.score(user_id, 2, |count| count + change);
        }
    }
}

/// The user of a participant's stream, if the participant is in the program.
fn user_in<'a>(stream_id: &'a str, program_id: &ProgramId) -> Option<&'a str> {
    stream_id.strip_prefix(program_id.as_str())?.strip_prefix('/')
}

impl Board {
    pub(super) fn new(state: State) -> Self {
        Self {
            reached: watch::Sender::new(state.position),
            state: Mutex::new(state),
            used_at: Mutex::new(Instant::now()),
            given_up: AtomicBool::new(false),
        }
    }

    /// Applies the next events of the log together.
    pub(super) fn apply(
        &self,
        program_id: &ProgramId,
        events: &[RecordedEvent],
    ) -> Result<(), StoreError> {
        let position = {
            let mut state = self.lock();
            for event in events {
                state.apply(program_id, event)?;
            }
            state.position
        };
        self.reached.send_replace(position);
        Ok(())
    }

    /// Marks the board as no longer kept up to date, and wakes those who wait for it.
    pub(super) fn give_up(&self) {
        self.given_up.store(true, Ordering::Relaxed);
        self.reached.send_modify(|_| {});
    }

    /// The position that the board reflects.
    pub(super) fn position(&self) -> i64 {
        *self.reached.borrow()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Every change leaves the state usable, even if it was interrupted.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn used_at(&self) -> Instant {
        *self.used_at.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn use_now(&self) {
        *self.used_at.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    /// What the program's leaderboard counts by default.
    #[must_use]
    pub fn default_metric(&self) -> LeaderboardMetric {
        self.lock().default_metric
    }

    /// Whether the board is no longer kept up to date, because another has replaced it.
    #[must_use]
    pub fn is_given_up(&self) -> bool {
        self.given_up.load(Ordering::Relaxed)
    }

    /// The position that the board reflects, as a channel to wait on.
    #[must_use]
    pub fn reached(&self) -> watch::Receiver<i64> {
        self.reached.subscribe()
    }

    /// Waits until the board reflects a position. Returns whether it does.
    pub(super) async fn wait(&self, freshness: Freshness) -> Result<bool, ReadError> {
        let Freshness { position: wanted, deadline } = freshness;
        let mut reached = self.reached();
        let waiting = reached.wait_for(|reached| *reached >= wanted || self.is_given_up());
        match tokio::time::timeout_at(deadline, waiting).await {
            Ok(Ok(reached)) => Ok(*reached >= wanted),
            _ => Err(ReadError::Behind { reached: *self.reached.borrow(), wanted }),
        }
    }

    /// The participants after a place, best first; from the top if no place is given.
    #[must_use]
    pub fn page(&self, metric: LeaderboardMetric, after: Option<Place>, limit: usize) -> At<Ranks> {
        let mut state = self.lock();
        let count = state.len(metric);
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
        let count = state.len(metric);
        let place = state.place_of(metric, user_id);
        let ranked = place.map(|(rank, place)| state.ranked(rank, place));
        let ranks = Ranks {
            ranked: ranked.into_iter().collect(),
            count: i64::try_from(count).unwrap_or(i64::MAX),
        };
        At { position: state.position, found: ranks }
    }

    /// One participant's rank by what the program's leaderboard counts; none if they are not on the board.
    #[must_use]
    pub fn own_rank(&self, user_id: &str) -> At<Option<i64>> {
        let mut state = self.lock();
        let metric = state.default_metric;
        let place = state.place_of(metric, user_id);
        At { position: state.position, found: place.map(|(rank, _)| counted_from_one(rank)) }
    }

    /// Whether the board knows a user.
    #[must_use]
    pub fn knows(&self, user_id: &str) -> bool {
        self.lock().members.number(user_id).is_some()
    }
}
