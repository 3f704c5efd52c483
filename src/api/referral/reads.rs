//! `GetReferralStats`, `ListReferrals` and `GetReferralTree`: referrals and their outcome.

use std::collections::HashMap;

use super::Handlers;
use crate::access::Principal;
use crate::api::errors::{ApiError, status};
use crate::api::fields::Fields;
use crate::api::guard::Call;
use crate::api::pages::Page;
use crate::api::pb::{self, ErrorReason};
use crate::api::reads::{Named, Reading, found, freshness, must_exist};
use crate::api::responses::{count, hold_reasons, money, referral_status, time};
use crate::read::{At, Listed, ListedReferral, MAX_BELOW, ReferralList};
use domain::rules::{MAX_LEVEL, ProgramRules};
use domain::{ParticipantId, ProgramId, ReferralStatus, UserId};

/// How many of the newest referrals the statistics include.
const RECENT_REFERRALS: i64 = 10;
/// The default number of levels of a tree.
const DEFAULT_DEPTH: u32 = 3;

impl Handlers {
    pub(in crate::api) async fn get_referral_stats(
        &self,
        call: Call<pb::GetReferralStatsRequest>,
    ) -> Result<pb::GetReferralStatsResponse, ApiError> {
        let (context, request) = (&self.0, &call.message);
        let mut fields = Fields::of(request);
        let id = fields.participant(&request.program_id, &request.user_id);
        let id = fields.finish(id)?;
        let freshness = freshness(context, &request.consistency_token, call.deadline).await?;
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
            found(context, freshness, Named::Participant(&id), standing).await?;
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
            balances: vec![money(&rules.unit, standing.buckets.balance())],
            referrer_user_id: member.referrer_user_id.unwrap_or_default(),
            recent_referrals: details(&call.principal, &id.program_id, &recent.found),
            link: rules.link(&member.code),
            code: member.code,
            // Both answers are at least as fresh as this.
            position: position.min(recent.position),
        })
    }

    pub(in crate::api) async fn list_referrals(
        &self,
        call: Call<pb::ListReferralsRequest>,
    ) -> Result<pb::ListReferralsResponse, ApiError> {
        let (context, request) = (&self.0, &call.message);
        let mut fields = Fields::of(request);
        let page = Page::read(&mut fields, &call);
        let before_position = page.before(&mut fields, &request.page_token).unwrap_or_default();
        let user_id = fields.optional_id("user_id", &request.user_id, UserId::parse);
        let max_level = match request.max_level {
            0 | 1 => 1,
            2.. if request.user_id.is_empty() => {
                let message = "must be 0 or 1 without a user_id, as levels are counted from a user";
                fields.fault("max_level", ErrorReason::OutOfRange, message);
                1
            }
            further => fields.number("max_level", further, 1..=MAX_LEVEL, 1),
        };
        let program_id = fields.id("program_id", &request.program_id, ProgramId::parse);
        let program_id = fields.finish(program_id)?;
        let freshness = freshness(context, &request.consistency_token, call.deadline).await?;
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
            limit: page.rows(),
        };
        let list = &list;
        let read = |freshness| -> Reading<'_, _> {
            Box::pin(async move {
                let At { position, found } = context.reads.referrals(list, freshness).await?;
                Ok(At { position, found: found.unit.is_some().then_some(found) })
            })
        };
        let At { position, found: mut listed } =
            found(context, freshness, Named::Program(&list.program_id), read).await?;
        if let (true, Some(user_id)) = (listed.referrals.is_empty(), &list.user_id) {
            let id = ParticipantId::new(&list.program_id, user_id);
            must_exist(context, Named::Participant(&id)).await?;
        }
        if let (true, Some(user_id)) = (listed.is_too_large, &list.user_id) {
            return Err(status(
                ErrorReason::TooManyReferrals,
                "too many participants are below the user; list fewer levels at once",
                &[("program_id", &list.program_id), ("user_id", user_id), ("limit", &MAX_BELOW)],
            )
            .into());
        }
        let next_page_token =
            page.cut(&mut listed.referrals, |last| last.referee.referral_position);
        Ok(pb::ListReferralsResponse {
            referrals: details(&call.principal, &list.program_id, &listed),
            next_page_token,
            position,
        })
    }

    pub(in crate::api) async fn get_referral_tree(
        &self,
        call: Call<pb::GetReferralTreeRequest>,
    ) -> Result<pb::GetReferralTreeResponse, ApiError> {
        let (context, request) = (&self.0, &call.message);
        let mut fields = Fields::of(request);
        let depth = fields.number("depth", request.depth, 1..=MAX_LEVEL, DEFAULT_DEPTH);
        let id = fields.participant(&request.program_id, &request.user_id);
        let id = fields.finish(id)?;
        let freshness = freshness(context, &request.consistency_token, call.deadline).await?;
        let id = &id;
        let read = |freshness| -> Reading<'_, _> {
            Box::pin(async move {
                let At { position, found } = context.reads.tree(id, depth, freshness).await?;
                Ok(At { position, found: (!found.referrals.is_empty()).then_some(found) })
            })
        };
        let At { position, found } =
            found(context, freshness, Named::Participant(id), read).await?;
        let truncated = found.is_too_large;
        Ok(pb::GetReferralTreeResponse { root: grow(&call.principal, &found), truncated, position })
    }
}

/// How often a code can be used, and how often it still can be used, by the tighter of a program's two
/// limits.
fn uses(rules: &ProgramRules, taken: u32) -> (Option<u32>, Option<u32>) {
    let limit = rules.max_uses_per_code.into_iter().chain(rules.max_direct_referrals).min();
    (limit, limit.map(|limit| limit.saturating_sub(taken)))
}

/// The username of somebody, as far as the caller sees it: a user sees their own and those of the people whom they
/// referred themselves.
fn username(caller: &Principal, username: &str, is_near: bool) -> String {
    if is_near { username.into() } else { caller.sees_username(username).unwrap_or_default() }
}

fn details(caller: &Principal, program_id: &ProgramId, listed: &Listed) -> Vec<pb::ReferralDetail> {
    let unit = listed.unit.as_deref().unwrap_or_default();
    let detail = |listed: &ListedReferral| {
        let referee = &listed.referee;
        // Only lists of a whole program have them, which are for back ends.
        let referrer = listed.referrer.clone();
        let (referrer_username, referrer_display_name) =
            referrer.map(|names| (names.username, names.display_name)).unwrap_or_default();
        let status =
            referee.referral_status.map_or(pb::ReferralStatus::Unspecified, referral_status);
        pb::ReferralDetail {
            referral: Some(pb::Referral {
                program_id: program_id.to_string(),
                referrer_user_id: referee.referrer_user_id.clone().unwrap_or_default(),
                referee_user_id: referee.user_id.clone(),
                status: status.into(),
                create_time: referee.referral_time.map(time),
                hold_reasons: hold_reasons(&referee.hold_reasons),
            }),
            referee_username: username(caller, &referee.username, listed.level == 1),
            level: count(listed.level),
            active: referee.is_active,
            brought_in: Some(money(unit, listed.brought_in_minor)),
            convert_time: referee.convert_time.map(time),
            referee_display_name: referee.display_name.clone(),
            referrer_username,
            referrer_display_name,
        }
    };
    listed.referrals.iter().map(detail).collect()
}

/// Builds a tree from nodes that each come after their parent.
fn grow(caller: &Principal, listed: &Listed) -> Option<pb::ReferralNode> {
    let unit = listed.unit.as_deref().unwrap_or_default();
    let mut below: HashMap<&str, Vec<pb::ReferralNode>> = HashMap::new();
    let mut root = None;
    for ListedReferral { referee, level, brought_in_minor, .. } in listed.referrals.iter().rev() {
        let mut referrals = below.remove(referee.user_id.as_str()).unwrap_or_default();
        referrals.reverse();
        let status =
            referee.referral_status.map_or(pb::ReferralStatus::Unspecified, referral_status);
        let node = pb::ReferralNode {
            user_id: referee.user_id.clone(),
            username: username(caller, &referee.username, *level <= 1),
            display_name: referee.display_name.clone(),
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
