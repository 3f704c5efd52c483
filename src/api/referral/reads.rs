//! What `ReferralService` tells of referrals that were made.

use std::collections::HashMap;

use tokio::time::Instant;

use crate::api::Context;
use crate::api::errors::{ApiError, status};
use crate::api::fields::{Fields, page_token};
use crate::api::pb::{self, ErrorReason};
use crate::api::reads::{Reading, found_in, found_of, freshness};
use crate::api::responses::{count, money, referral_status, time};
use crate::engine::query::query;
use crate::read::{At, Listed, ListedReferral, MAX_BELOW, ReferralList};
use domain::rules::{MAX_LEVEL, ProgramRules};
use domain::{ParticipantId, ProgramId, ReferralStatus, UserId, existing_participant};

/// How many of the newest referrals go with the statistics.
const RECENT_REFERRALS: i64 = 10;
/// How many levels a tree has unless asked otherwise.
const DEFAULT_DEPTH: u32 = 3;

pub(super) async fn stats(
    context: &Context,
    request: &pb::GetReferralStatsRequest,
    deadline: Instant,
) -> Result<pb::GetReferralStatsResponse, ApiError> {
    let mut fields = Fields::default();
    let program_id = fields.id("program_id", &request.program_id, ProgramId::parse);
    let user_id = fields.id("user_id", &request.user_id, UserId::parse);
    let (program_id, user_id) = fields.finish(program_id.zip(user_id))?;
    let id = ParticipantId { program_id, user_id };
    let freshness = freshness(context, &request.consistency_token, deadline).await?;
    let list = ReferralList {
        program_id: id.program_id.clone(),
        user_id: Some(id.user_id.clone()),
        max_level: 1,
        status: None,
        before_position: i64::MAX,
        limit: RECENT_REFERRALS,
    };
    let standing =
        |freshness| -> Reading<'_, _> { Box::pin(context.reads.standing(&id, freshness)) };
    let At { position, found: (member, standing, rules) } =
        found_of(context, freshness, &id, standing).await?;
    let recent = context.reads.referrals(&list, freshness).await?;
    let (max_uses, remaining_uses) = uses(&rules, member.uses);
    Ok(pb::GetReferralStatsResponse {
        referral_count: count(member.referral_count()),
        pending_count: count(member.pending_count),
        converted_count: count(member.converted_count),
        held_count: count(member.held_count),
        uses: count(member.uses),
        max_uses: max_uses.map(count),
        remaining_uses: remaining_uses.map(count),
        earned: Some(money(&rules.unit, standing.earned_minor)),
        balances: vec![money(&rules.unit, standing.balance_minor)],
        referrer_user_id: member.referrer_user_id.unwrap_or_default(),
        recent_referrals: details(&id.program_id, &recent.found),
        link: rules.link(&member.code),
        code: member.code,
        // Both are at least as new.
        position: position.min(recent.position),
    })
}

/// How often a code can be used, and how often it still can; the tighter of a program's two limits.
fn uses(rules: &ProgramRules, taken: u32) -> (Option<u32>, Option<u32>) {
    let limit = rules.max_uses_per_code.into_iter().chain(rules.max_direct_referrals).min();
    (limit, limit.map(|limit| limit.saturating_sub(taken)))
}

pub(super) async fn list(
    context: &Context,
    request: &pb::ListReferralsRequest,
    deadline: Instant,
) -> Result<pb::ListReferralsResponse, ApiError> {
    let mut fields = Fields::default();
    let page_size = fields.page_size(request.page_size);
    let before_position =
        fields.page_position("ListReferrals", &request.page_token).unwrap_or_default();
    let user_id = fields.optional_id("user_id", &request.user_id, UserId::parse);
    let levels = if request.user_id.is_empty() { 1..=1 } else { 1..=MAX_LEVEL };
    let max_level = fields.number("max_level", request.max_level, levels, 1);
    let program_id = fields.id("program_id", &request.program_id, ProgramId::parse);
    let program_id = fields.finish(program_id)?;
    let freshness = freshness(context, &request.consistency_token, deadline).await?;
    let list = ReferralList {
        program_id,
        user_id,
        max_level,
        status: match request.status() {
            pb::ReferralStatus::Unspecified => None,
            pb::ReferralStatus::Pending => Some(ReferralStatus::Pending),
            pb::ReferralStatus::Held => Some(ReferralStatus::Held),
            pb::ReferralStatus::Converted => Some(ReferralStatus::Converted),
            pb::ReferralStatus::Rejected => Some(ReferralStatus::Rejected),
        },
        before_position,
        // One more than asked for tells whether there is a next page.
        limit: page_size + 1,
    };
    let list = &list;
    let read = |freshness| -> Reading<'_, _> {
        Box::pin(async move {
            let At { position, found } = context.reads.referrals(list, freshness).await?;
            Ok(At { position, found: found.unit.is_some().then_some(found) })
        })
    };
    let At { position, found: mut page } =
        found_in(context, freshness, &list.program_id, read).await?;
    if let (true, Some(user_id)) = (page.referrals.is_empty(), &list.user_id) {
        let id = ParticipantId::new(&list.program_id, user_id);
        query(&context.database, &context.environment, |work| {
            existing_participant(work, &id).map(|_| ())
        })
        .await?;
    }
    if let (true, Some(user_id)) = (page.is_too_large, &list.user_id) {
        return Err(status(
            ErrorReason::TooManyReferrals,
            "too many participants stand below the user; list fewer levels at once",
            &[("program_id", &list.program_id), ("user_id", user_id), ("limit", &MAX_BELOW)],
        )
        .into());
    }
    let limit = usize::try_from(page_size).unwrap_or_default();
    let is_last = page.referrals.len() <= limit;
    page.referrals.truncate(limit);
    let next_page_token = match page.referrals.last() {
        Some(end) if !is_last => page_token("ListReferrals", end.referee.referral_position),
        _ => String::new(),
    };
    Ok(pb::ListReferralsResponse {
        referrals: details(&list.program_id, &page),
        next_page_token,
        position,
    })
}

fn details(program_id: &ProgramId, listed: &Listed) -> Vec<pb::ReferralDetail> {
    let unit = listed.unit.as_deref().unwrap_or_default();
    let detail = |listed: &ListedReferral| {
        let referee = &listed.referee;
        let status =
            referee.referral_status.map_or(pb::ReferralStatus::Unspecified, referral_status);
        pb::ReferralDetail {
            referral: Some(pb::Referral {
                program_id: program_id.to_string(),
                referrer_user_id: referee.referrer_user_id.clone().unwrap_or_default(),
                referee_user_id: referee.user_id.clone(),
                status: status.into(),
                create_time: referee.referral_time.map(time),
            }),
            referee_username: referee.username.clone(),
            level: count(listed.level),
            active: referee.is_active,
            brought_in: Some(money(unit, listed.brought_in_minor)),
            convert_time: referee.convert_time.map(time),
        }
    };
    listed.referrals.iter().map(detail).collect()
}

pub(super) async fn tree(
    context: &Context,
    request: &pb::GetReferralTreeRequest,
    deadline: Instant,
) -> Result<pb::GetReferralTreeResponse, ApiError> {
    let mut fields = Fields::default();
    let depth = fields.number("depth", request.depth, 1..=MAX_LEVEL, DEFAULT_DEPTH);
    let program_id = fields.id("program_id", &request.program_id, ProgramId::parse);
    let user_id = fields.id("user_id", &request.user_id, UserId::parse);
    let (program_id, user_id) = fields.finish(program_id.zip(user_id))?;
    let id = ParticipantId { program_id, user_id };
    let freshness = freshness(context, &request.consistency_token, deadline).await?;
    let id = &id;
    let read = |freshness| -> Reading<'_, _> {
        Box::pin(async move {
            let At { position, found } = context.reads.tree(id, depth, freshness).await?;
            Ok(At { position, found: (!found.referrals.is_empty()).then_some(found) })
        })
    };
    let At { position, found } = found_of(context, freshness, id, read).await?;
    let truncated = found.is_too_large;
    Ok(pb::GetReferralTreeResponse { root: grow(&found), truncated, position })
}

/// Makes a tree of nodes of which each comes after its parent.
fn grow(listed: &Listed) -> Option<pb::ReferralNode> {
    let unit = listed.unit.as_deref().unwrap_or_default();
    let mut below: HashMap<&str, Vec<pb::ReferralNode>> = HashMap::new();
    let mut root = None;
    for ListedReferral { referee, level, brought_in_minor } in listed.referrals.iter().rev() {
        let mut referrals = below.remove(referee.user_id.as_str()).unwrap_or_default();
        referrals.reverse();
        let status =
            referee.referral_status.map_or(pb::ReferralStatus::Unspecified, referral_status);
        let node = pb::ReferralNode {
            user_id: referee.user_id.clone(),
            username: referee.username.clone(),
            active: referee.is_active,
            status: status.into(),
            create_time: referee.referral_time.map(time),
            brought_in: (*level > 0).then(|| money(unit, *brought_in_minor)),
            referral_count: count(referee.referral_count()),
            referrals,
        };
        match &referee.referrer_user_id {
            Some(referrer) if *level > 0 => below.entry(referrer).or_default().push(node),
            _ => root = Some(node),
        }
    }
    root
}
