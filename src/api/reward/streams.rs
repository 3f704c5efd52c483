//! How the streams of `RewardService` turn the events of a participant into messages.

use crate::api::consequences::reversal;
use crate::api::pb;
use crate::api::responses::{bucket_balances, money, reward, withheld_from_earner};
use crate::api::watch::View;
use crate::live::CutOff;
use crate::store::RecordedEvent;
use domain::{Participant, ParticipantEvent, ParticipantId, Posting, Stream};

/// The participant's event, if it has one of these types: a stream decodes only what it shows.
fn read(event: &RecordedEvent, types: &[&str]) -> Result<Option<ParticipantEvent>, CutOff> {
    if !types.contains(&&*event.event_type) {
        return Ok(None);
    }
    Ok(Participant::event(event.read()?))
}

/// Every reward, what became of it, and every one that was withheld from the earner.
pub(super) struct EarningsView;

impl View for EarningsView {
    type Message = pb::WatchEarningsResponse;

    fn message(
        &mut self,
        event: &RecordedEvent,
        resume_token: String,
    ) -> Result<Option<Self::Message>, CutOff> {
        Ok(match read(event, &["RewardGranted", "RewardReversed", "RewardWithheld"])? {
            Some(ParticipantEvent::RewardGranted(granted)) => Some(pb::WatchEarningsResponse {
                reward: Some(reward(event, &granted)),
                level_total: Some(money(&granted.posting.unit, granted.level_total_minor())),
                total: Some(money(&granted.posting.unit, granted.posting.after.net_earned())),
                resume_token,
                ..Default::default()
            }),
            Some(ParticipantEvent::RewardReversed(reversed)) => Some(pb::WatchEarningsResponse {
                reversal: ParticipantId::parse(&event.stream.id).map(|id| {
                    reversal(&id, reversed.level, Some(reversed.reward_sequence), &reversed.posting)
                }),
                level_total: Some(money(&reversed.posting.unit, reversed.level_total_minor())),
                total: Some(money(&reversed.posting.unit, reversed.posting.after.net_earned())),
                resume_token,
                ..Default::default()
            }),
            Some(ParticipantEvent::RewardWithheld(withheld)) => Some(pb::WatchEarningsResponse {
                withheld: Some(withheld_from_earner(event, &withheld)),
                resume_token,
                ..Default::default()
            }),
            _ => None,
        })
    }

    fn heartbeat(resume_token: String) -> Self::Message {
        pb::WatchEarningsResponse { resume_token, ..Default::default() }
    }

    fn token(message: &Self::Message) -> &str {
        &message.resume_token
    }
}

/// Every change of the balance or of its parts.
pub(super) struct BalancesView;

impl View for BalancesView {
    type Message = pb::WatchBalancesResponse;

    fn message(
        &mut self,
        event: &RecordedEvent,
        resume_token: String,
    ) -> Result<Option<Self::Message>, CutOff> {
        // Every event that moves money, regardless of type.
        let Some(posting) = event.posting()?.filter(Posting::moves_money) else {
            return Ok(None);
        };
        Ok(Some(pb::WatchBalancesResponse {
            balances: vec![money(&posting.unit, posting.after.balance())],
            buckets: vec![bucket_balances(&posting.unit, &posting.after)],
            change: Some(money(&posting.unit, posting.balance_change())),
            resume_token,
        }))
    }

    fn heartbeat(resume_token: String) -> Self::Message {
        pb::WatchBalancesResponse { resume_token, ..Default::default() }
    }

    fn token(message: &Self::Message) -> &str {
        &message.resume_token
    }
}

/// Every change of the tier.
pub(super) struct TierView;

impl View for TierView {
    type Message = pb::WatchTierResponse;

    fn message(
        &mut self,
        event: &RecordedEvent,
        resume_token: String,
    ) -> Result<Option<Self::Message>, CutOff> {
        Ok(match read(event, &["TierChanged"])? {
            Some(ParticipantEvent::TierChanged(change)) => Some(pb::WatchTierResponse {
                tier: change.to_tier,
                previous_tier: change.from_tier,
                resume_token,
            }),
            _ => None,
        })
    }

    fn heartbeat(resume_token: String) -> Self::Message {
        pb::WatchTierResponse { resume_token, ..Default::default() }
    }

    fn token(message: &Self::Message) -> &str {
        &message.resume_token
    }
}
