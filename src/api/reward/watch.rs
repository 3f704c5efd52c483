//! What `RewardService` streams about one participant.

use std::fmt::Display;
use std::sync::Arc;

use super::streams::{BalancesView, EarningsView, TierView};
use super::{Handlers, tier};
use crate::api::Context;
use crate::api::errors::{ApiError, internal, status};
use crate::api::fields::Fields;
use crate::api::guard::Call;
use crate::api::pb::{self, ErrorReason};
use crate::api::reads::{Named, must_exist};
use crate::api::responses::money;
use crate::api::tokens::{StreamName, resume_cursor, resume_token};
use crate::api::watch::{EventFeed, Messages, View, permit, stream};
use crate::live::{Cursor, Permit, Topic};
use crate::read::Standing;
use crate::store::load::stream_and_position;
use domain::{AnyAggregate, Participant, ParticipantId, StreamKey};

impl Handlers {
    pub(in crate::api) async fn watch_earnings(
        &self,
        call: Call<pb::WatchEarningsRequest>,
    ) -> Result<Messages<pb::WatchEarningsResponse>, ApiError> {
        let permit = permit(&self.0, &call.principal)?;
        let id = participant(&call.message.program_id, &call.message.user_id)?;
        // Always a heartbeat first: what there is to say comes after it.
        let start = self.start(&id, call.rpc(), &call.message.resume_token).await?;
        Ok(start.stream(permit, |_, _| {}, EarningsView))
    }

    pub(in crate::api) async fn watch_balances(
        &self,
        call: Call<pb::WatchBalancesRequest>,
    ) -> Result<Messages<pb::WatchBalancesResponse>, ApiError> {
        let permit = permit(&self.0, &call.principal)?;
        let id = participant(&call.message.program_id, &call.message.user_id)?;
        let start = self.start(&id, call.rpc(), &call.message.resume_token).await?;
        let rules = self.rules(&id.program_id, None).await?;
        let present = |first: &mut pb::WatchBalancesResponse, participant: &Participant| {
            first.balances = vec![money(&rules.unit, participant.balance_minor())];
        };
        Ok(start.stream(permit, present, BalancesView))
    }

    pub(in crate::api) async fn watch_tier(
        &self,
        call: Call<pb::WatchTierRequest>,
    ) -> Result<Messages<pb::WatchTierResponse>, ApiError> {
        let permit = permit(&self.0, &call.principal)?;
        let id = participant(&call.message.program_id, &call.message.user_id)?;
        let start = self.start(&id, call.rpc(), &call.message.resume_token).await?;
        let rules = self.rules(&id.program_id, None).await?;
        if rules.tier_rule().is_none() {
            let message = format!("program '{}' has no tiers", id.program_id);
            let facts: [(&str, &dyn Display); 1] = [("program_id", &id.program_id)];
            return Err(status(ErrorReason::NoTiers, message, &facts).into());
        }
        let present = |first: &mut pb::WatchTierResponse, participant: &Participant| {
            first.tier = tier(&Standing::from(participant), &rules).tier;
        };
        Ok(start.stream(permit, present, TierView))
    }

    /// Where a stream about a participant begins: at its token, or at present.
    async fn start<'a>(
        &'a self,
        id: &'a ParticipantId,
        rpc: &str,
        token: &str,
    ) -> Result<Start<'a>, ApiError> {
        let context = &self.0;
        let name = StreamName::new(rpc, &id.to_string());
        let from = resume_cursor(context, name, token).await?;
        let (participant, at) = present_participant(context, id).await?;
        let (cursor, present) = match from {
            Some(cursor) => (cursor, None),
            None => (at, Some(participant)),
        };
        Ok(Start { context, id, name, cursor, present })
    }
}

/// A participant, who must exist, at present, and where that is.
pub(super) async fn present_participant(
    context: &Context,
    id: &ParticipantId,
) -> Result<(Arc<Participant>, Cursor), ApiError> {
    let key = StreamKey::of::<Participant>(id);
    let (loaded, position) = stream_and_position(context.database.pool(), &key).await?;
    if loaded.version == 0 {
        must_exist(context, Named::Participant(id)).await?;
    }
    let AnyAggregate::Participant(participant) = loaded.state else {
        return Err(internal().into());
    };
    Ok((participant, Cursor { position, sequence: loaded.version }))
}

pub(super) fn participant(program_id: &str, user_id: &str) -> Result<ParticipantId, ApiError> {
    let mut fields = Fields::default();
    let id = fields.participant(program_id, user_id);
    Ok(fields.finish(id)?)
}

/// A stream about a participant that is about to begin.
struct Start<'a> {
    context: &'a Context,
    id: &'a ParticipantId,
    name: StreamName,
    cursor: Cursor,
    /// The participant where the stream begins, unless it goes on from a token.
    present: Option<Arc<Participant>>,
}

impl Start<'_> {
    /// Answers with the stream. Its first message is a heartbeat, into which `present` may put what is
    /// there at present.
    fn stream<V: View + Sync>(
        self,
        permit: Permit,
        present: impl FnOnce(&mut V::Message, &Participant),
        view: V,
    ) -> Messages<V::Message> {
        let Self { context, id, name, cursor, present: participant } = self;
        let mut first = V::heartbeat(resume_token(context, name, cursor));
        if let Some(participant) = participant {
            present(&mut first, &participant);
        }
        let topic = Topic::Stream(StreamKey::of::<Participant>(id));
        let subscription = context.live.subscribe(topic, cursor);
        let feed = EventFeed { context: context.clone(), name, subscription, view };
        stream(context, permit, vec![first], feed)
    }
}
