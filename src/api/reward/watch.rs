//! The streams of `RewardService` about one participant.

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
use crate::api::responses::{bucket_balances, money};
use crate::api::tokens::{StreamName, resume_cursor, resume_token};
use crate::api::watch::{EventFeed, Messages, Opening, View, open, stream};
use crate::live::{Cursor, Topic};
use crate::read::Standing;
use crate::store::load::stream_and_position;
use crate::store::{StoreError, in_time, log};
use domain::{AnyAggregate, Buckets, DecodeError, Participant, ParticipantId, StreamKey};

impl Handlers {
    pub(in crate::api) async fn watch_earnings(
        &self,
        call: Call<pb::WatchEarningsRequest>,
    ) -> Result<Messages<pb::WatchEarningsResponse>, ApiError> {
        let opening = open(&self.0, &call)?;
        let id = participant(&call.message.program_id, &call.message.user_id)?;
        let turn = opening.turn(&self.0).await;
        // The first message is always a heartbeat; changes come after it.
        let start = self.start(&id, call.rpc(), &call.message.resume_token).await?;
        drop(turn);
        Ok(start.stream(opening, |_| {}, EarningsView))
    }

    pub(in crate::api) async fn watch_balances(
        &self,
        call: Call<pb::WatchBalancesRequest>,
    ) -> Result<Messages<pb::WatchBalancesResponse>, ApiError> {
        let opening = open(&self.0, &call)?;
        let id = participant(&call.message.program_id, &call.message.user_id)?;
        let turn = opening.turn(&self.0).await;
        let start = self.start(&id, call.rpc(), &call.message.resume_token).await?;
        let rules = self.rules(&id.program_id, None).await?;
        let buckets = start.buckets().await?;
        drop(turn);
        let present = |first: &mut pb::WatchBalancesResponse| {
            first.balances.extend(buckets.map(|buckets| money(&rules.unit, buckets.balance())));
            first.buckets.extend(buckets.map(|buckets| bucket_balances(&rules.unit, &buckets)));
        };
        Ok(start.stream(opening, present, BalancesView))
    }

    pub(in crate::api) async fn watch_tier(
        &self,
        call: Call<pb::WatchTierRequest>,
    ) -> Result<Messages<pb::WatchTierResponse>, ApiError> {
        let opening = open(&self.0, &call)?;
        let id = participant(&call.message.program_id, &call.message.user_id)?;
        let turn = opening.turn(&self.0).await;
        let mut start = self.start(&id, call.rpc(), &call.message.resume_token).await?;
        let rules = self.rules(&id.program_id, None).await?;
        if rules.tier_rule().is_none() {
            let message = format!("program '{}' has no tiers", id.program_id);
            let facts: [(&str, &dyn Display); 1] = [("program_id", &id.program_id)];
            return Err(status(ErrorReason::NoTiers, message, &facts).into());
        }
        let participant = start.participant().await?;
        drop(turn);
        let present = |first: &mut pb::WatchTierResponse| {
            if let Some(participant) = participant {
                first.tier = tier(&Standing::from(&*participant), &rules).tier;
            }
        };
        Ok(start.stream(opening, present, TierView))
    }

    /// Where a stream about a participant begins: at its token, or at present.
    async fn start(
        &self,
        id: &ParticipantId,
        rpc: &str,
        token: &str,
    ) -> Result<Start<'_>, ApiError> {
        let context = &self.0;
        let name = StreamName::new(rpc, &id.to_string());
        let from = resume_cursor(context, name, token).await?;
        let key = StreamKey::of::<Participant>(id);
        let pool = context.database.pool();
        let position = log::head(pool).await?;
        let sequence = log::sequence_at(pool, &key, position).await?;
        if sequence == 0 {
            must_exist(context, Named::Participant(id)).await?;
        }
        let cursor = from.unwrap_or(Cursor { position, sequence });
        Ok(Start { context, key, name, cursor, is_new: from.is_none() })
    }
}

/// A participant, who must exist, at present, and where that is.
pub(super) async fn present_participant(
    context: &Context,
    id: &ParticipantId,
) -> Result<(Arc<Participant>, Cursor), ApiError> {
    let key = StreamKey::of::<Participant>(id);
    let (participant, cursor) = present(context, &key).await?;
    if cursor.sequence == 0 {
        must_exist(context, Named::Participant(id)).await?;
    }
    Ok((participant, cursor))
}

/// What a participant's stream holds at present, and where that is.
async fn present(
    context: &Context,
    key: &StreamKey,
) -> Result<(Arc<Participant>, Cursor), ApiError> {
    let (loaded, position) = match stream_and_position(context.database.pool(), key).await {
        Err(StoreError::Unreadable { source: DecodeError::UnknownType(_), .. }) => {
            return known_part(context, key).await;
        }
        loaded => loaded?,
    };
    let cursor = Cursor { position, sequence: loaded.version };
    match loaded.state {
        AnyAggregate::Participant(participant) => Ok((participant, cursor)),
        AnyAggregate::User(_)
        | AnyAggregate::Program(_)
        | AnyAggregate::Purchase(_)
        | AnyAggregate::SignUpOrigin(_)
        | AnyAggregate::FraudFlag(_)
        | AnyAggregate::Approval(_)
        | AnyAggregate::Catalog(_)
        | AnyAggregate::StoreItem(_)
        | AnyAggregate::Redemption(_)
        | AnyAggregate::ApiKey(_)
        | AnyAggregate::Job(_)
        | AnyAggregate::Payout(_)
        | AnyAggregate::PayoutDesk(_)
        | AnyAggregate::PayoutLine(_) => Err(internal().into()),
    }
}

/// As [`present`], of a stream with events of types that only a newer release knows.
async fn known_part(
    context: &Context,
    key: &StreamKey,
) -> Result<(Arc<Participant>, Cursor), ApiError> {
    let Some(id) = ParticipantId::parse(&key.id) else { return Err(internal().into()) };
    let position = in_time(log::head(context.database.pool())).await?;
    let mut participant = Participant::default();
    let sequence = context.reads.advance(&id, &mut participant, 0, position).await?;
    Ok((Arc::new(participant), Cursor { position, sequence }))
}

pub(super) fn participant(program_id: &str, user_id: &str) -> Result<ParticipantId, ApiError> {
    let mut fields = Fields::default();
    let id = fields.participant(program_id, user_id);
    Ok(fields.finish(id)?)
}

/// A stream about a participant that is about to begin.
struct Start<'a> {
    context: &'a Context,
    key: StreamKey,
    name: StreamName,
    cursor: Cursor,
    /// Whether it begins at present: it does not go on from a token.
    is_new: bool,
}

impl Start<'_> {
    /// The parts of the balance where the stream begins; `None` if it goes on from a token. They are those of the last
    /// posting, whatever the type of its event.
    async fn buckets(&self) -> Result<Option<Buckets>, ApiError> {
        if !self.is_new {
            return Ok(None);
        }
        let pool = self.context.database.pool();
        let entry = log::read_last_entry(pool, &self.key, self.cursor.sequence).await?;
        let posting = entry.map(|entry| entry.posting()).transpose()?.flatten();
        Ok(Some(posting.map(|posting| posting.after).unwrap_or_default()))
    }

    /// The participant where the stream begins, which is moved there; `None` if it goes on from a token.
    async fn participant(&mut self) -> Result<Option<Arc<Participant>>, ApiError> {
        if !self.is_new {
            return Ok(None);
        }
        let (participant, cursor) = present(self.context, &self.key).await?;
        self.cursor = cursor;
        Ok(Some(participant))
    }

    /// Answers with the stream. Its first message is a heartbeat, into which `present` may put what is
    /// there at present.
    fn stream<V: View + Sync>(
        self,
        opening: Opening,
        present: impl FnOnce(&mut V::Message),
        view: V,
    ) -> Messages<V::Message> {
        let Self { context, key, name, cursor, .. } = self;
        let mut first = V::heartbeat(resume_token(context, name, cursor));
        present(&mut first);
        let topic = Topic::Stream(key);
        let subscription = context.live.subscribe(topic, cursor, opening.caller());
        let feed = EventFeed { context: context.clone(), name, subscription, view };
        stream(context, opening, vec![first], feed)
    }
}
