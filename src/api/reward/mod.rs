//! `RewardService`: what participants have, have earned, and earn.

mod streams;

use std::sync::Arc;

use prost_types::Timestamp as PbTimestamp;
use tonic::{Request, Response, Status};

use crate::api::Context;
use crate::api::authentication::caller;
use crate::api::errors::{ApiError, internal, status};
use crate::api::fields::{Fields, page_token};
use crate::api::pb::reward_service_server::RewardService;
use crate::api::pb::{self, ErrorReason};
use crate::api::reads::{Reading, deadline, found_of, freshness};
use crate::api::responses::{count, money, reward, time};
use crate::api::tokens::{StreamName, resume_cursor, resume_token};
use crate::api::watch::{EventFeed, Messages, View, permit, stream};
use crate::engine::query::query;
use crate::live::{Cursor, Permit, Topic};
use crate::read::{At, EntryFilter, Freshness, Page, Standing};
use crate::store;
use domain::decide::existing_program;
use domain::rules::{MAX_LEVEL, ProgramRules, RewardKind};
use domain::{
    AnyAggregate, Participant, ParticipantEvent, ParticipantId, Program, ProgramId, StreamKey,
    Timestamp, UserId, existing_participant, load,
};
use streams::{BalancesView, EarningsView, TierView};

pub(super) struct Rewards(pub(super) Context);

#[tonic::async_trait]
impl RewardService for Rewards {
    async fn get_balances(
        &self,
        request: Request<pb::GetBalancesRequest>,
    ) -> Result<Response<pb::GetBalancesResponse>, Status> {
        let deadline = deadline(&self.0, &request);
        let request = request.into_inner();
        let mut fields = Fields::default();
        let moment = self.past(&mut fields, request.as_of_time.as_ref());
        let id = participant_id(fields, &request.program_id, &request.user_id)?;
        let freshness = freshness(&self.0, &request.consistency_token, deadline).await?;
        let At { position, found: (standing, rules) } =
            self.standing(&id, moment, freshness).await?;
        let balances = vec![money(&rules.unit, standing.balance_minor)];
        Ok(Response::new(pb::GetBalancesResponse { balances, position }))
    }

    async fn list_balance_entries(
        &self,
        request: Request<pb::ListBalanceEntriesRequest>,
    ) -> Result<Response<pb::ListBalanceEntriesResponse>, Status> {
        let deadline = deadline(&self.0, &request);
        let request = request.into_inner();
        let mut fields = Fields::default();
        let page_size = fields.page_size(request.page_size);
        let before =
            fields.page_position("ListBalanceEntries", &request.page_token).unwrap_or_default();
        let id = participant_id(fields, &request.program_id, &request.user_id)?;
        let freshness = freshness(&self.0, &request.consistency_token, deadline).await?;
        let position = self.standing(&id, None, freshness).await?.position;
        let filter = EntryFilter::default();
        let page = self.page(&id, &filter, position, before, page_size).await?;
        Ok(Response::new(pb::ListBalanceEntriesResponse {
            next_page_token: next_page_token("ListBalanceEntries", &page),
            entries: page.entries.iter().filter_map(|(event, at)| entry(event, *at)).collect(),
            position,
        }))
    }

    async fn get_tier(
        &self,
        request: Request<pb::GetTierRequest>,
    ) -> Result<Response<pb::GetTierResponse>, Status> {
        let deadline = deadline(&self.0, &request);
        let request = request.into_inner();
        let mut fields = Fields::default();
        let moment = self.past(&mut fields, request.as_of_time.as_ref());
        let id = participant_id(fields, &request.program_id, &request.user_id)?;
        let freshness = freshness(&self.0, &request.consistency_token, deadline).await?;
        let At { position, found: (standing, rules) } =
            self.standing(&id, moment, freshness).await?;
        Ok(Response::new(pb::GetTierResponse { position, ..tier(&standing, &rules) }))
    }

    async fn get_earnings(
        &self,
        request: Request<pb::GetEarningsRequest>,
    ) -> Result<Response<pb::GetEarningsResponse>, Status> {
        let deadline = deadline(&self.0, &request);
        let request = request.into_inner();
        let mut fields = Fields::default();
        let moment = self.past(&mut fields, request.as_of_time.as_ref());
        let page_size = fields.page_size(request.page_size);
        let before = fields.page_position("GetEarnings", &request.page_token).unwrap_or_default();
        let id = participant_id(fields, &request.program_id, &request.user_id)?;
        let freshness = freshness(&self.0, &request.consistency_token, deadline).await?;
        let At { position, found: (standing, rules) } =
            self.standing(&id, moment, freshness).await?;
        let filter = EntryFilter { rewards_only: true, ..EntryFilter::default() };
        let page = self.page(&id, &filter, position, before, page_size).await?;
        Ok(Response::new(pb::GetEarningsResponse {
            total: Some(money(&rules.unit, standing.earned_minor)),
            by_level: by_level(&standing, &rules),
            next_page_token: next_page_token("GetEarnings", &page),
            rewards: rewards(&page),
            position,
        }))
    }

    async fn list_rewards(
        &self,
        request: Request<pb::ListRewardsRequest>,
    ) -> Result<Response<pb::ListRewardsResponse>, Status> {
        let deadline = deadline(&self.0, &request);
        let request = request.into_inner();
        let mut fields = Fields::default();
        let filter = read_filter(&mut fields, &request);
        let page_size = fields.page_size(request.page_size);
        let before = fields.page_position("ListRewards", &request.page_token).unwrap_or_default();
        let id = participant_id(fields, &request.program_id, &request.user_id)?;
        let freshness = freshness(&self.0, &request.consistency_token, deadline).await?;
        let position = self.standing(&id, None, freshness).await?.position;
        let page = self.page(&id, &filter, position, before, page_size).await?;
        Ok(Response::new(pb::ListRewardsResponse {
            next_page_token: next_page_token("ListRewards", &page),
            rewards: rewards(&page),
            position,
        }))
    }

    type WatchEarningsStream = Messages<pb::WatchEarningsResponse>;

    async fn watch_earnings(
        &self,
        request: Request<pb::WatchEarningsRequest>,
    ) -> Result<Response<Self::WatchEarningsStream>, Status> {
        let permit = permit(&self.0, caller(&request))?;
        let pb::WatchEarningsRequest { program_id, user_id, resume_token } = request.into_inner();
        let id = participant_id(Fields::default(), &program_id, &user_id)?;
        // Always a heartbeat first: what there is to say comes after it.
        let start = self.start(&id, "WatchEarnings", &resume_token).await?;
        Ok(start.stream(permit, |_, _| {}, EarningsView))
    }

    type WatchBalancesStream = Messages<pb::WatchBalancesResponse>;

    async fn watch_balances(
        &self,
        request: Request<pb::WatchBalancesRequest>,
    ) -> Result<Response<Self::WatchBalancesStream>, Status> {
        let permit = permit(&self.0, caller(&request))?;
        let pb::WatchBalancesRequest { program_id, user_id, resume_token } = request.into_inner();
        let id = participant_id(Fields::default(), &program_id, &user_id)?;
        let start = self.start(&id, "WatchBalances", &resume_token).await?;
        let rules = self.rules(&id.program_id, None).await?;
        let present = |first: &mut pb::WatchBalancesResponse, participant: &Participant| {
            first.balances = vec![money(&rules.unit, participant.balance_minor())];
        };
        Ok(start.stream(permit, present, BalancesView))
    }

    type WatchTierStream = Messages<pb::WatchTierResponse>;

    async fn watch_tier(
        &self,
        request: Request<pb::WatchTierRequest>,
    ) -> Result<Response<Self::WatchTierStream>, Status> {
        let permit = permit(&self.0, caller(&request))?;
        let pb::WatchTierRequest { program_id, user_id, resume_token } = request.into_inner();
        let id = participant_id(Fields::default(), &program_id, &user_id)?;
        let start = self.start(&id, "WatchTier", &resume_token).await?;
        let rules = self.rules(&id.program_id, None).await?;
        if rules.tier_rule().is_none() {
            let message = format!("program '{}' has no tiers", id.program_id);
            let facts: [(&str, &dyn std::fmt::Display); 1] = [("program_id", &id.program_id)];
            return Err(status(ErrorReason::NoTiers, message, &facts));
        }
        let present = |first: &mut pb::WatchTierResponse, participant: &Participant| {
            first.tier = tier(&Standing::from(participant), &rules).tier;
        };
        Ok(start.stream(permit, present, TierView))
    }
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
    ) -> Response<Messages<V::Message>> {
        let Self { context, id, name, cursor, present: participant } = self;
        let mut first = V::heartbeat(resume_token(context, name, cursor));
        if let Some(participant) = participant {
            present(&mut first, &participant);
        }
        let topic = Topic::Stream(StreamKey::participant(id));
        let subscription = context.live.subscribe(topic, cursor);
        let feed = EventFeed { context: context.clone(), name, subscription, view };
        stream(context, permit, vec![first], feed)
    }
}

impl Rewards {
    /// A moment of the past to answer for; now, if there is none.
    fn past(&self, fields: &mut Fields, moment: Option<&PbTimestamp>) -> Option<Timestamp> {
        fields.past_time("as_of_time", moment, (self.0.environment.now)())
    }

    /// Where a participant stands, now or at a moment of the past, and the rules in force then.
    async fn standing(
        &self,
        id: &ParticipantId,
        moment: Option<Timestamp>,
        freshness: Freshness,
    ) -> Result<At<(Standing, Arc<ProgramRules>)>, ApiError> {
        if let Some(moment) = moment {
            let rules = self.rules(&id.program_id, Some(moment)).await?;
            query(&self.0.database, &self.0.environment, |work| {
                existing_participant(work, id).map(|_| ())
            })
            .await?;
            let At { position, found } = self.0.reads.standing_at(id, moment).await?;
            return Ok(At { position, found: (found, rules) });
        }
        let read = |freshness| -> Reading<'_, _> { Box::pin(self.0.reads.standing(id, freshness)) };
        let At { position, found } = found_of(&self.0, freshness, id, read).await?;
        Ok(At { position, found: (found.1, found.2) })
    }

    /// The rules of a program that are in force now, or were at a moment.
    async fn rules(
        &self,
        program_id: &ProgramId,
        moment: Option<Timestamp>,
    ) -> Result<Arc<ProgramRules>, ApiError> {
        let rules = query(&self.0.database, &self.0.environment, |work| {
            existing_program(work, program_id)?;
            let program = load::<Program>(work, program_id)?;
            let version = match moment {
                Some(moment) => program.in_force_at(moment),
                None => program.current(),
            };
            Ok(version.map(|version| version.rules.clone()))
        })
        .await?;
        rules.ok_or_else(|| internal().into())
    }

    async fn page(
        &self,
        id: &ParticipantId,
        filter: &EntryFilter,
        position: i64,
        before: i64,
        page_size: i64,
    ) -> Result<Page, ApiError> {
        let limit = usize::try_from(page_size).unwrap_or_default();
        Ok(self.0.reads.entries(id, filter, position, before, limit).await?)
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
        let key = StreamKey::participant(id);
        let (loaded, position) =
            store::load::stream_and_position(context.database.pool(), &key).await?;
        if loaded.version == 0 {
            query(&context.database, &context.environment, |work| {
                existing_participant(work, id).map(|_| ())
            })
            .await?;
        }
        let (cursor, present) = match (from, loaded.state) {
            (Some(cursor), _) => (cursor, None),
            (None, AnyAggregate::Participant(participant)) => {
                (Cursor { position, sequence: loaded.version }, Some(participant))
            }
            (None, _) => return Err(internal().into()),
        };
        Ok(Start { context, id, name, cursor, present })
    }
}

#[allow(clippy::result_large_err, reason = "a status is what callers return")]
fn participant_id(
    mut fields: Fields,
    program_id: &str,
    user_id: &str,
) -> Result<ParticipantId, Status> {
    let program_id = fields.id("program_id", program_id, ProgramId::parse);
    let user_id = fields.id("user_id", user_id, UserId::parse);
    let (program_id, user_id) = fields.finish(program_id.zip(user_id))?;
    Ok(ParticipantId { program_id, user_id })
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
    let source = fields.optional_id("source_user_id", &request.source_user_id, UserId::parse);
    EntryFilter {
        rewards_only: true,
        kind,
        level,
        source_user_id: source.map(|id| id.to_string()),
        start: fields.time("start_time", request.start_time.as_ref()),
        end: fields.time("end_time", request.end_time.as_ref()),
    }
}

fn next_page_token(rpc: &str, page: &Page) -> String {
    page.next_before.map(|before| page_token(rpc, before)).unwrap_or_default()
}

fn rewards(page: &Page) -> Vec<pb::Reward> {
    let reward = |(event, at): &(ParticipantEvent, Timestamp)| match event {
        ParticipantEvent::RewardGranted(granted) => Some(reward(granted, *at)),
        _ => None,
    };
    page.entries.iter().filter_map(reward).collect()
}

fn entry(event: &ParticipantEvent, recorded_at: Timestamp) -> Option<pb::BalanceEntry> {
    let create_time = Some(time(recorded_at));
    match event {
        ParticipantEvent::RewardGranted(granted) => Some(pb::BalanceEntry {
            amount: Some(money(&granted.currency_code, granted.amount_minor)),
            balance: Some(money(&granted.currency_code, granted.balance_minor)),
            reward: Some(reward(granted, recorded_at)),
            purchase_id: granted.purchase_id.as_ref().map(ToString::to_string).unwrap_or_default(),
            create_time,
        }),
        ParticipantEvent::PurchaseCredited(credited) => Some(pb::BalanceEntry {
            amount: Some(money(&credited.currency_code, credited.amount_minor)),
            balance: Some(money(&credited.currency_code, credited.balance_minor)),
            reward: None,
            purchase_id: credited.purchase_id.to_string(),
            create_time,
        }),
        _ => None,
    }
}

/// The tier of somebody, and what the next one takes. Tiers go by the referrals that were rewarded.
fn tier(standing: &Standing, rules: &ProgramRules) -> pb::GetTierResponse {
    let rewarded = rules.tier_rule().map(|(rule, _)| standing.level(rule.level).count);
    let tiers = rules.tier_standing(standing.tier.as_deref(), rewarded.unwrap_or_default());
    let next = tiers.and_then(|tiers| tiers.next);
    pb::GetTierResponse {
        tier: tiers.map(|tiers| tiers.tier.into()).unwrap_or_default(),
        referral_count: count(rewarded.unwrap_or(standing.referral_count)),
        points: standing.earned_minor,
        next_tier: next.map(|(tier, _)| tier.into()).unwrap_or_default(),
        referrals_to_next_tier: next.map(|(_, referrals)| count(referrals)).unwrap_or_default(),
        position: 0,
    }
}

/// Every level that the rules pay, and every one that ever paid.
fn by_level(standing: &Standing, rules: &ProgramRules) -> Vec<pb::LevelEarnings> {
    let mut levels: Vec<u32> = rules.rewards.iter().map(|rule| rule.level).collect();
    levels.extend(standing.levels.iter().map(|total| total.level));
    levels.sort_unstable();
    levels.dedup();
    levels
        .into_iter()
        .map(|level| {
            let total = standing.level(level);
            let rule = rules.rewards.iter().find(|rule| rule.level == level);
            let cap = rule.and_then(|rule| rule.cap_minor);
            pb::LevelEarnings {
                level: count(level),
                total: Some(money(&rules.unit, total.total_minor)),
                count: count(total.count),
                cap: cap.map(|cap| money(&rules.unit, cap)),
                remaining: cap.map(|cap| money(&rules.unit, (cap - total.total_minor).max(0))),
            }
        })
        .collect()
}
