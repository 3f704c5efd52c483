//! `WatchParticipant`: everything that happens to one participant, on one stream.

use std::sync::Arc;

use super::watch::{participant, present_participant};
use super::{Handlers, entry, tier};
use crate::api::Context;
use crate::api::errors::ApiError;
use crate::api::guard::Call;
use crate::api::leaderboard::WatchedBoard;
use crate::api::pb;
use crate::api::pb::watch_participant_response::Change;
use crate::api::responses::{bucket_balances, count, money, referral, withheld_from_earner};
use crate::api::tokens::{StreamName, ToldRank, resume_cursor_with_rank, resume_token_with_rank};
use crate::api::watch::{Feed, Messages, open, stream};
use crate::live::{Cursor, CutOff, Live, Subscription, Topic};
use crate::read::{Entry, Freshness, Standing};
use crate::store::{RecordedEvent, StoreError};
use domain::{
    AnyEvent, HoldReason, Participant, ParticipantEvent, ParticipantId, Referral, ReferralApplied,
    ReferralStatus, StreamKey, UserId,
};

impl Handlers {
    pub(in crate::api) async fn watch_participant(
        &self,
        call: Call<pb::WatchParticipantRequest>,
    ) -> Result<Messages<pb::WatchParticipantResponse>, ApiError> {
        let context = &self.0;
        let opening = open(context, &call)?;
        let id = participant(&call.message.program_id, &call.message.user_id)?;
        let name = StreamName::new(call.rpc(), &id.to_string());
        let turn = opening.turn(context).await;
        let from = resume_cursor_with_rank(context, name, &call.message.resume_token).await?;
        let (participant, at) = present_participant(context, &id).await?;
        drop(turn);
        // The rank is as new as the participant, and never older than the rank that was told.
        let position = from.map_or(at.position, |(_, told)| told.position);
        let freshness = Freshness { position, deadline: call.deadline };
        let mut board = WatchedBoard::open(context, &id.program_id, freshness).await?;
        let (cursor, told, present) = if let Some((cursor, told)) = from {
            (cursor, told, None)
        } else {
            let _turn = opening.turn(context).await;
            let (cursor, state) = self.present(&id, &participant, at, &mut board).await?;
            let told = ToldRank { rank: state.rank, position: cursor.position };
            (cursor, told, Some(Change::Present(state)))
        };
        let topic = Topic::Stream(StreamKey::of::<Participant>(&id));
        let feed = ParticipantFeed {
            context: context.clone(),
            name,
            subscription: context.live.subscribe(topic, cursor, opening.caller()),
            pending: None,
            cursor,
            board,
            told,
            referral: participant.referral().map(applied),
            id,
        };
        let first = feed.message(present);
        Ok(stream(context, opening, vec![first], feed))
    }

    /// How things stand for a participant at the position of the board, given the participant at an earlier one.
    async fn present(
        &self,
        id: &ParticipantId,
        participant: &Arc<Participant>,
        at: Cursor,
        board: &mut WatchedBoard,
    ) -> Result<(Cursor, pb::ParticipantState), ApiError> {
        let rank = board.look(|board| board.own_rank(id.user_id.as_str()));
        board.shown();
        let position = board.position();
        let mut participant = Participant::clone(participant);
        let reads = &self.0.reads;
        let sequence = reads.advance(id, &mut participant, at.sequence, position).await?;
        let rules = self.rules(&id.program_id, None).await?;
        let referrals = participant.referrals();
        let state = pb::ParticipantState {
            active: participant.is_active(),
            balances: vec![money(&rules.unit, participant.balance_minor())],
            buckets: vec![bucket_balances(&rules.unit, participant.buckets())],
            tier: tier(&Standing::from(&participant), &rules).tier,
            referral: participant.referral().map(|of| referral(id, &applied(of))),
            pending_count: count(referrals.pending),
            converted_count: count(referrals.converted),
            held_count: count(referrals.held),
            rank: rank.unwrap_or_default(),
            position,
        };
        Ok((Cursor { position, sequence }, state))
    }
}

/// A referral in the form in which the event has it.
fn applied(referral: &Referral) -> ReferralApplied {
    ReferralApplied {
        referrer_user_id: referral.referrer_user_id.clone(),
        status: referral.status,
        hold_reasons: referral.hold_reasons.clone(),
        flags: referral.flags.clone(),
        referral_time_us: referral.referral_time,
        made_while_inactive: referral.made_while_inactive,
    }
}

/// The events of a participant, and the rank whenever it is another one.
///
/// A rank is a level, not an event: it follows from what others do as well, so that no event of the participant
/// has it. Tokens carry the rank that was told last, which is what the next one is compared with.
struct ParticipantFeed {
    context: Context,
    name: StreamName,
    id: ParticipantId,
    subscription: Subscription,
    /// The event after the cursor, if it has been taken from the subscription.
    pending: Option<RecordedEvent>,
    /// All events up to here are in messages, or are none that the stream shows.
    cursor: Cursor,
    board: WatchedBoard,
    told: ToldRank,
    /// The referral through which the participant came, which has one referrer and one time for good.
    referral: Option<ReferralApplied>,
}

/// What a stream goes on with.
enum Next {
    /// An event.
    Event(RecordedEvent),
    /// A look at the board.
    Look,
}

impl ParticipantFeed {
    /// Waits for the next event, or until a look at the board is due: first what was missed, then the rank as
    /// well, which is due too seldom to hold up events. May be dropped and called again.
    async fn wait(&mut self) -> Result<Next, CutOff> {
        if !self.subscription.has_caught_up().await? {
            return Ok(Next::Event(self.subscription.next().await?));
        }
        tokio::select! {
            biased;
            due = self.board.due() => {
                due?;
                Ok(Next::Look)
            }
            event = self.subscription.next() => Ok(Next::Event(event?)),
        }
    }

    fn message(&self, change: Option<Change>) -> pb::WatchParticipantResponse {
        let (context, name) = (&self.context, self.name);
        let resume_token = resume_token_with_rank(context, name, self.cursor, self.told);
        pb::WatchParticipantResponse { change, resume_token }
    }

    /// Looks at the board, and says if the rank is another one than was told.
    fn rank(&mut self) -> Option<Change> {
        let rank = self.board.look(|board| board.own_rank(self.id.user_id.as_str()));
        self.board.shown();
        let rank = rank.unwrap_or_default();
        let previous_rank = self.told.rank;
        self.told = ToldRank { rank, position: self.board.position() };
        (rank != previous_rank).then_some(Change::Rank(pb::RankChange { rank, previous_rank }))
    }

    /// What an event changes, if it is anything that the stream shows.
    async fn change(&mut self, event: &RecordedEvent) -> Result<Option<Change>, StoreError> {
        // Whatever moves money, of whatever type.
        if let Some(found) = Entry::read(event.clone())? {
            return Ok(Some(Change::Entry(entry(&found))));
        }
        // The stream is a participant's, so there are no others. An event of a type that only a newer release knows
        // is nothing that this one shows.
        let Some(AnyEvent::Participant(participant)) = event.read_if_known()? else {
            return Ok(None);
        };
        Ok(match participant {
            ParticipantEvent::ReferralApplied(applied) => {
                let change = referral(&self.id, &applied);
                self.referral = Some(applied);
                Some(Change::Referral(change))
            }
            ParticipantEvent::ReferralConverted(_) => {
                Some(self.own_referral(ReferralStatus::Converted, Vec::new())?)
            }
            ParticipantEvent::ReferralUnconverted(undone) => {
                Some(self.own_referral(undone.status, undone.hold_reasons)?)
            }
            ParticipantEvent::ReferralStandingChanged(changed) => {
                Some(self.own_referral(changed.status, changed.hold_reasons)?)
            }
            ParticipantEvent::ReferralMade(made) => {
                Some(self.referral_of(&made.referee_user_id, made.status).await?)
            }
            ParticipantEvent::ReferralUpdated(updated) => {
                Some(self.referral_of(&updated.referee_user_id, updated.status).await?)
            }
            ParticipantEvent::TierChanged(change) => Some(Change::Tier(pb::TierChange {
                tier: change.to_tier,
                previous_tier: change.from_tier,
            })),
            ParticipantEvent::ParticipantDeactivated(_)
            | ParticipantEvent::ParticipantErased(_) => Some(Change::Active(false)),
            ParticipantEvent::ParticipantReactivated(_) => Some(Change::Active(true)),
            ParticipantEvent::RewardWithheld(withheld) => {
                Some(Change::Withheld(withheld_from_earner(event, &withheld)))
            }
            // Before any stream, an entry, or nothing that happens to the participant.
            ParticipantEvent::ParticipantEnrolled(_)
            | ParticipantEvent::PurchaseCredited(_)
            | ParticipantEvent::RewardGranted(_)
            | ParticipantEvent::RewardReversed(_)
            | ParticipantEvent::RewardMoved(_)
            | ParticipantEvent::FirstPurchaseFreed(_)
            | ParticipantEvent::PurchaseReinstated(_)
            | ParticipantEvent::ReferralRewardsChanged(_)
            | ParticipantEvent::BalanceAdjusted(_)
            | ParticipantEvent::BalanceExpired(_)
            | ParticipantEvent::BalanceForfeited(_)
            | ParticipantEvent::PayoutReserved(_)
            | ParticipantEvent::PayoutPaid(_)
            | ParticipantEvent::PayoutReleased(_)
            | ParticipantEvent::PayoutReturned(_)
            | ParticipantEvent::BalanceSpent(_)
            | ParticipantEvent::SpendingReturned(_)
            | ParticipantEvent::RefereeAddressChanged(_)
            | ParticipantEvent::FirstPurchaseUsed(_) => None,
        })
    }

    /// The referral through which the participant came, as it stands now.
    fn own_referral(
        &self,
        status: ReferralStatus,
        hold_reasons: Vec<HoldReason>,
    ) -> Result<Change, StoreError> {
        let made = self.referral.clone().ok_or_else(|| no_referral(&self.id))?;
        let changed = ReferralApplied { status, hold_reasons, ..made };
        Ok(Change::Referral(referral(&self.id, &changed)))
    }

    /// A referral that the participant made. When it was made, and why it was held then, stands on the stream of the
    /// referee only.
    async fn referral_of(
        &self,
        referee_user_id: &UserId,
        status: ReferralStatus,
    ) -> Result<Change, StoreError> {
        let referee = ParticipantId::new(&self.id.program_id, referee_user_id);
        let made =
            referral_applied(&self.context.live, self.subscription.caller(), &referee).await?;
        let is_held = status == ReferralStatus::Held;
        let hold_reasons = if is_held { made.hold_reasons } else { Vec::new() };
        let changed = ReferralApplied { status, hold_reasons, ..made };
        Ok(Change::Referral(referral(&referee, &changed)))
    }
}

/// The event by which somebody was referred.
async fn referral_applied(
    live: &Live,
    caller: &Arc<str>,
    referee: &ParticipantId,
) -> Result<ReferralApplied, StoreError> {
    let stream = StreamKey::of::<Participant>(referee);
    let event = live.first_of_type(caller, &stream, "ReferralApplied").await?;
    match event.map(|event| event.read()).transpose()? {
        Some(AnyEvent::Participant(ParticipantEvent::ReferralApplied(applied))) => Ok(applied),
        _ => Err(no_referral(referee)),
    }
}

fn no_referral(referee: &ParticipantId) -> StoreError {
    StoreError::Nonsense(format!("a change of the referral of {referee}, which was never made"))
}

impl Feed for ParticipantFeed {
    type Message = pb::WatchParticipantResponse;

    async fn next(&mut self) -> Result<Self::Message, CutOff> {
        loop {
            let event = match &self.pending {
                Some(event) => event.clone(),
                None => match self.wait().await? {
                    Next::Event(event) => self.pending.insert(event).clone(),
                    Next::Look => match self.rank() {
                        Some(change) => return Ok(self.message(Some(change))),
                        None => continue,
                    },
                },
            };
            let change = self.change(&event).await?;
            // Only now is the event behind the stream: this may have been dropped while it read.
            self.pending = None;
            self.cursor = Cursor { position: event.position, sequence: event.sequence };
            if change.is_some() {
                return Ok(self.message(change));
            }
        }
    }

    async fn behind(&self) {
        self.subscription.behind().await;
    }

    fn heartbeat(&self) -> Self::Message {
        self.message(None)
    }

    fn token(message: &Self::Message) -> &str {
        &message.resume_token
    }
}
