//! What the streams of `RewardService` make of the events of a participant.

use crate::api::pb;
use crate::api::responses::{money, reward};
use crate::api::watch::View;
use crate::live::CutOff;
use crate::store::{RecordedEvent, StoreError};
use domain::{Participant, ParticipantEvent, decode};

/// The event, if it is of one of these types.
fn read(event: &RecordedEvent, types: &[&str]) -> Result<Option<ParticipantEvent>, CutOff> {
    if !types.contains(&&*event.event_type) {
        return Ok(None);
    }
    decode::<Participant>(&event.event_type, &event.event_version, &event.payload)
        .map(Some)
        .map_err(|source| {
            CutOff::Store(StoreError::Unreadable {
                stream: event.stream.to_string(),
                sequence: event.sequence,
                source,
            })
        })
}

/// Every reward.
pub(super) struct EarningsView;

impl View for EarningsView {
    type Message = pb::WatchEarningsResponse;

    fn message(
        &mut self,
        event: &RecordedEvent,
        resume_token: String,
    ) -> Result<Option<Self::Message>, CutOff> {
        Ok(match read(event, &["RewardGranted"])? {
            Some(ParticipantEvent::RewardGranted(granted)) => Some(pb::WatchEarningsResponse {
                reward: Some(reward(&granted, event.recorded_at)),
                level_total: Some(money(&granted.currency_code, granted.level_total_minor)),
                total: Some(money(&granted.currency_code, granted.total_minor)),
                resume_token,
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

/// Every change of the balance.
pub(super) struct BalancesView;

impl View for BalancesView {
    type Message = pb::WatchBalancesResponse;

    fn message(
        &mut self,
        event: &RecordedEvent,
        resume_token: String,
    ) -> Result<Option<Self::Message>, CutOff> {
        let (unit, amount_minor, balance_minor) =
            match read(event, &["RewardGranted", "PurchaseCredited"])? {
                Some(ParticipantEvent::RewardGranted(granted)) => {
                    (granted.currency_code, granted.amount_minor, granted.balance_minor)
                }
                Some(ParticipantEvent::PurchaseCredited(credited)) => {
                    (credited.currency_code, credited.amount_minor, credited.balance_minor)
                }
                _ => return Ok(None),
            };
        Ok(Some(pb::WatchBalancesResponse {
            balances: vec![money(&unit, balance_minor)],
            change: Some(money(&unit, amount_minor)),
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
