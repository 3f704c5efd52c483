//! The reads of `RewardService`: balances, entries, tiers, earnings and rewards.

use std::sync::Arc;

use prost_types::Timestamp as PbTimestamp;

use super::{Handlers, by_level, entry, rewards, tier};
use crate::api::errors::{ApiError, internal};
use crate::api::fields::Fields;
use crate::api::guard::Call;
use crate::api::pages::Page;
use crate::api::pb::{self, ErrorReason};
use crate::api::reads::{Named, Reading, found, freshness, must_exist};
use crate::api::responses::{bucket_balances, money, time, withheld_from_earner};
use crate::api::{Context, reward_state};
use crate::engine::query::query;
use crate::read::{self, At, EntryFilter, Freshness, Standing};
use crate::store::{in_time, log, notes};
use domain::rules::{MAX_LEVEL, ProgramRules, RewardKind};
use domain::{
    AdjustmentId, ApprovalId, ApprovalSubject, Lot, NoteSubject, Participant, ParticipantId,
    Program, StreamKey, Timestamp, UserId, existing_participant, load,
};

impl Handlers {
    pub(in crate::api) async fn get_balances(
        &self,
        call: Call<pb::GetBalancesRequest>,
    ) -> Result<pb::GetBalancesResponse, ApiError> {
        let request = &call.message;
        let mut fields = Fields::of(request);
        let moment = self.past(&mut fields, request.as_of_time.as_ref());
        let id = fields.participant(&request.program_id, &request.user_id);
        let id = fields.finish(id)?;
        let freshness = freshness(&self.0, &request.consistency_token, call.deadline).await?;
        let At { position, found: (standing, rules) } =
            self.standing(&id, moment, freshness).await?;
        let balances = vec![money(&rules.unit, standing.buckets.balance())];
        let buckets = vec![bucket_balances(&rules.unit, &standing.buckets)];
        Ok(pb::GetBalancesResponse { balances, buckets, position })
    }

    pub(in crate::api) async fn list_balance_entries(
        &self,
        call: Call<pb::ListBalanceEntriesRequest>,
    ) -> Result<pb::ListBalanceEntriesResponse, ApiError> {
        let request = &call.message;
        let mut fields = Fields::of(request);
        let page = Page::read(&mut fields, &call);
        let before = page.before(&mut fields, &request.page_token).unwrap_or_default();
        let id = fields.participant(&request.program_id, &request.user_id);
        let id = fields.finish(id)?;
        let freshness = freshness(&self.0, &request.consistency_token, call.deadline).await?;
        let position = self.standing(&id, None, freshness).await?.position;
        let found = self.entries(&id, &EntryFilter::default(), position, before, page).await?;
        let mut entries: Vec<_> = found.entries.iter().map(entry).collect();
        if call.principal.is_operator() {
            add_notes(&self.0, &id, &mut entries).await?;
        }
        let next_page_token = next_page_token(page, &found);
        Ok(pb::ListBalanceEntriesResponse { next_page_token, entries, position })
    }

    pub(in crate::api) async fn list_expirations(
        &self,
        call: Call<pb::ListExpirationsRequest>,
    ) -> Result<pb::ListExpirationsResponse, ApiError> {
        let request = &call.message;
        let mut fields = Fields::of(request);
        let id = fields.participant(&request.program_id, &request.user_id);
        let id = fields.finish(id)?;
        let found = query(&self.0.database, &self.0.environment, |work| {
            let participant = existing_participant(work, &id)?;
            let program = load::<Program>(work, &id.program_id)?;
            Ok((participant, program.current().map(|version| version.rules.unit.clone())))
        });
        let (participant, unit) = found.await?;
        let unit = unit.ok_or_else(internal)?;
        let expiration = |lot: &Lot| pb::Expiration {
            amount: Some(money(&unit, lot.amount_minor)),
            expire_time: Some(time(lot.expire_time)),
        };
        let expirations = participant.lots().as_slice().iter().map(expiration).collect();
        Ok(pb::ListExpirationsResponse { expirations })
    }

    pub(in crate::api) async fn get_tier(
        &self,
        call: Call<pb::GetTierRequest>,
    ) -> Result<pb::GetTierResponse, ApiError> {
        let request = &call.message;
        let mut fields = Fields::of(request);
        let moment = self.past(&mut fields, request.as_of_time.as_ref());
        let id = fields.participant(&request.program_id, &request.user_id);
        let id = fields.finish(id)?;
        let freshness = freshness(&self.0, &request.consistency_token, call.deadline).await?;
        let At { position, found: (standing, rules) } =
            self.standing(&id, moment, freshness).await?;
        let mut answer = pb::GetTierResponse { position, ..tier(&standing, &rules) };
        if moment.is_none() {
            answer.unseen_tier = self.unseen_tier(&id, &answer.tier, &rules).await?;
        }
        Ok(answer)
    }

    pub(in crate::api) async fn get_earnings(
        &self,
        call: Call<pb::GetEarningsRequest>,
    ) -> Result<pb::GetEarningsResponse, ApiError> {
        let request = &call.message;
        let mut fields = Fields::of(request);
        let moment = self.past(&mut fields, request.as_of_time.as_ref());
        let page = Page::read(&mut fields, &call);
        let before = page.before(&mut fields, &request.page_token).unwrap_or_default();
        let id = fields.participant(&request.program_id, &request.user_id);
        let id = fields.finish(id)?;
        let freshness = freshness(&self.0, &request.consistency_token, call.deadline).await?;
        let At { position, found: (standing, rules) } =
            self.standing(&id, moment, freshness).await?;
        let filter = EntryFilter { rewards_only: true, ..EntryFilter::default() };
        let found = self.entries(&id, &filter, position, before, page).await?;
        let mut rewards = rewards(&found);
        if moment.is_none() {
            reward_state::complete(&self.0, rewards.iter_mut()).await?;
        }
        Ok(pb::GetEarningsResponse {
            total: Some(money(&rules.unit, standing.earned_minor)),
            by_level: by_level(&standing, &rules),
            next_page_token: next_page_token(page, &found),
            rewards,
            position,
        })
    }

    pub(in crate::api) async fn list_rewards(
        &self,
        call: Call<pb::ListRewardsRequest>,
    ) -> Result<pb::ListRewardsResponse, ApiError> {
        let request = &call.message;
        let mut fields = Fields::of(request);
        let filter = read_filter(&mut fields, request);
        let page = Page::read(&mut fields, &call);
        let before = page.before(&mut fields, &request.page_token).unwrap_or_default();
        let id = fields.participant(&request.program_id, &request.user_id);
        let id = fields.finish(id)?;
        let freshness = freshness(&self.0, &request.consistency_token, call.deadline).await?;
        let position = self.standing(&id, None, freshness).await?.position;
        let found = self.entries(&id, &filter, position, before, page).await?;
        let mut rewards = rewards(&found);
        reward_state::complete(&self.0, rewards.iter_mut()).await?;
        reward_state::add_notes(&self.0, &call.principal, rewards.iter_mut()).await?;
        let next_page_token = next_page_token(page, &found);
        Ok(pb::ListRewardsResponse { next_page_token, rewards, position })
    }

    pub(in crate::api) async fn list_withheld_rewards(
        &self,
        call: Call<pb::ListWithheldRewardsRequest>,
    ) -> Result<pb::ListWithheldRewardsResponse, ApiError> {
        let request = &call.message;
        let mut fields = Fields::of(request);
        let page = Page::read(&mut fields, &call);
        let before = page.before(&mut fields, &request.page_token).unwrap_or_default();
        let id = fields.participant(&request.program_id, &request.user_id);
        let id = fields.finish(id)?;
        let freshness = freshness(&self.0, &request.consistency_token, call.deadline).await?;
        let position = self.standing(&id, None, freshness).await?.position;
        let found = self.0.reads.withheld(&id, position, before, page.size()).await?;
        let next_page_token = found.next_before.map(|before| page.token_after(before));
        Ok(pb::ListWithheldRewardsResponse {
            withheld: found
                .withheld
                .iter()
                .map(|(event, of)| withheld_from_earner(event, of))
                .collect(),
            next_page_token: next_page_token.unwrap_or_default(),
            position,
        })
    }

    /// The past moment to answer for; `None` for now.
    fn past(&self, fields: &mut Fields, moment: Option<&PbTimestamp>) -> Option<Timestamp> {
        fields.past_time("as_of_time", moment, (self.0.environment.now)())
    }

    /// The standing of a participant, now or at a past moment, and the rules in force then.
    pub(super) async fn standing(
        &self,
        id: &ParticipantId,
        moment: Option<Timestamp>,
        freshness: Freshness,
    ) -> Result<At<(Standing, Arc<ProgramRules>)>, ApiError> {
        if let Some(moment) = moment {
            let rules = self.rules(&id.program_id, Some(moment)).await?;
            // Asked of the stream's length: events of types that only a newer release knows cannot be folded.
            let stream = StreamKey::of::<Participant>(id);
            let length = log::sequence_at(self.0.database.pool(), &stream, i64::MAX);
            if in_time(length).await? == 0 {
                must_exist(&self.0, Named::Participant(id)).await?;
            }
            let At { position, found } = self.0.reads.standing_at(id, moment).await?;
            return Ok(At { position, found: (found, rules) });
        }
        let read = |freshness| -> Reading<'_, _> { Box::pin(self.0.reads.standing(id, freshness)) };
        let At { position, found } =
            found(&self.0, freshness, Named::Participant(id), read).await?;
        Ok(At { position, found: (found.1, found.2) })
    }

    /// A page of the entries of a participant, as of a position.
    async fn entries(
        &self,
        id: &ParticipantId,
        filter: &EntryFilter,
        position: i64,
        before: i64,
        page: Page,
    ) -> Result<read::Page, ApiError> {
        Ok(self.0.reads.entries(id, filter, position, before, page.size()).await?)
    }
}

fn read_filter(fields: &mut Fields, request: &pb::ListRewardsRequest) -> EntryFilter {
    let kind = match request.kind() {
        pb::RewardKind::Unspecified => None,
        pb::RewardKind::Points => Some(RewardKind::Points),
        pb::RewardKind::Credit => Some(RewardKind::Credit),
        pb::RewardKind::Bonus => Some(RewardKind::Bonus),
        pb::RewardKind::Commission => Some(RewardKind::Commission),
    };
    let level = request.level.map(|level| {
        let known = u32::try_from(level).ok().filter(|level| *level <= MAX_LEVEL);
        known.unwrap_or_else(|| {
            let message = format!("must be 0 to {MAX_LEVEL}");
            fields.fault("level", ErrorReason::OutOfRange, message);
            0
        })
    });
    let (start, end) = fields.period(request.start_time.as_ref(), request.end_time.as_ref());
    let source = fields.optional_id("source_user_id", &request.source_user_id, UserId::parse);
    EntryFilter {
        rewards_only: true,
        kind,
        level,
        source_user_id: source.map(|id| id.to_string()),
        start,
        end,
    }
}

/// Adds to the adjustments of a participant why they were asked for.
async fn add_notes(
    context: &Context,
    participant: &ParticipantId,
    entries: &mut [pb::BalanceEntry],
) -> Result<(), ApiError> {
    let approval_id = |entry: &pb::BalanceEntry| {
        let adjustment_id = AdjustmentId::parse(&entry.adjustment_id).ok()?;
        let participant = participant.clone();
        Some(ApprovalId(ApprovalSubject::Adjustment { participant, adjustment_id }).to_string())
    };
    let ids: Vec<String> = entries.iter().filter_map(approval_id).collect();
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    let notes = notes::latest(context.database.pool(), NoteSubject::Request, &ids);
    let mut notes = in_time(notes).await?;
    for entry in entries {
        entry.note = approval_id(entry).and_then(|id| notes.remove(&id)).unwrap_or_default();
    }
    Ok(())
}

fn next_page_token(page: Page, found: &read::Page) -> String {
    found.next_before.map(|before| page.token_after(before)).unwrap_or_default()
}
