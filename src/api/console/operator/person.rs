//! One person, and what an operator can do about them.

use axum::extract::Path;
use axum::response::Response;
use console::pages::operator::person::{Membership, View, page};
use console::pages::operator::user_path;
use console::text;
use http::StatusCode;
use tonic::Status;

use super::erased;
use super::names::{Ids, knowing};
use super::overview::counted;
use crate::access::Role;
use crate::api::console::answers::Refused;
use crate::api::console::faults;
use crate::api::console::forms::SentForm;
use crate::api::console::participant::{part, with_query};
use crate::api::console::visit::Visit;
use crate::api::pb;

/// How many purchases, rewards and mails the page has.
const SHOWN: i32 = 10;
/// How many flags are counted.
const COUNTED: i32 = 100;

pub(super) async fn show(visit: Visit, Path(user_id): Path<String>) -> Result<Response, Refused> {
    person(&visit, &user_id, StatusCode::OK, None).await
}

async fn person(
    visit: &Visit,
    user_id: &str,
    code: StatusCode,
    problem: Option<&str>,
) -> Result<Response, Refused> {
    let operator = visit.operator()?;
    let reader = visit.person().await?;
    let since = visit.changed();
    let request = pb::GetUserRequest { user_id: user_id.into(), consistency_token: since.clone() };
    let user = match visit.call(request).await {
        Ok(user) => user,
        Err(status) => return erased::instead(visit, user_id, status).await,
    };
    let (purchases, sessions, mails, flags, memberships) = tokio::join!(
        visit.call(pb::ListPurchasesRequest {
            buyer_user_id: user_id.into(),
            page_size: SHOWN,
            consistency_token: since.clone(),
            ..Default::default()
        }),
        visit.call(pb::ListSessionsRequest { user_id: user_id.into() }),
        visit.call(pb::ListMailsRequest {
            user_id: user_id.into(),
            page_size: SHOWN,
            ..Default::default()
        }),
        visit.call(pb::ListFraudFlagsRequest {
            user_id: user_id.into(),
            page_size: COUNTED,
            ..Default::default()
        }),
        memberships(visit, &user.participants),
    );
    // Operators do not see where other operators and admins have signed in.
    let sessions = match sessions {
        Err(status) if status.code() == tonic::Code::PermissionDenied => None,
        sessions => Some(part(sessions.map(|found| found.sessions))),
    };
    let memberships = memberships?;
    let names = knowing(visit, Ids::of(people(&user, &memberships))).await;
    let keys = || visit.command();
    let view = View {
        user: &user,
        memberships: &memberships,
        purchases: part(purchases.map(|found| found.purchases)),
        sessions,
        mails: part(mails.map(|found| found.mails)),
        flags: part(flags.map(|found| counted(found.flags.len(), &found.next_page_token))),
        flags_path: with_query("/o/fraud", &[("state", "all"), ("user", user_id)]),
        keys: &keys,
        may_set_role: operator.role == Role::Admin,
        problem,
        done: text::done(visit.query("done")),
    };
    let form_token = visit.form_token();
    let sidebar = reader.sidebar(visit, &form_token);
    Ok(visit.page_with(code, page(&view, &sidebar, &names)))
}

/// Everybody whom the page names.
fn people<'a>(
    user: &'a pb::GetUserResponse,
    memberships: &'a [Membership],
) -> impl Iterator<Item = &'a str> {
    let referrers = user.participants.iter().map(|of| &*of.referrer_user_id);
    let brought = memberships.iter().flat_map(|of| of.referrals.iter());
    let brought = brought.flat_map(|of| &of.recent_referrals).filter_map(|of| of.referral.as_ref());
    let sources = memberships.iter().flat_map(|of| of.rewards.iter().flatten());
    referrers
        .chain(brought.map(|of| &*of.referee_user_id))
        .chain(sources.map(|of| &*of.source_user_id))
}

async fn memberships(
    visit: &Visit,
    participants: &[pb::Participant],
) -> Result<Vec<Membership>, Refused> {
    let mut memberships = Vec::with_capacity(participants.len());
    for participant in participants {
        let balances = visit.call(pb::GetBalancesRequest {
            program_id: participant.program_id.clone(),
            user_id: participant.user_id.clone(),
            ..Default::default()
        });
        // Parts of the page, which was counted.
        let referrals = visit.look(pb::GetReferralStatsRequest {
            program_id: participant.program_id.clone(),
            user_id: participant.user_id.clone(),
            ..Default::default()
        });
        let rewards = visit.look(pb::ListRewardsRequest {
            program_id: participant.program_id.clone(),
            user_id: participant.user_id.clone(),
            page_size: SHOWN,
            ..Default::default()
        });
        let program = visit.program(&participant.program_id);
        let (program, balances, referrals, rewards) =
            tokio::join!(program, balances, referrals, rewards);
        memberships.push(Membership {
            program: program?.display_name,
            participant: participant.clone(),
            balances: part(balances.map(|found| found.balances)),
            referrals: part(referrals),
            rewards: part(rewards.map(|found| found.rewards)),
        });
    }
    Ok(memberships)
}

/// Leads back to the person, after something was done about them, or says why not.
async fn done(
    visit: &Visit,
    user_id: &str,
    name: &str,
    outcome: Result<String, Status>,
) -> Result<Response, Refused> {
    match outcome {
        Ok(changed) => Ok(visit.see_other(&user_path(user_id), name, &changed)),
        Err(status) => {
            let (code, sent) = faults::placed(&status, console::parts::Sent::default(), &[]);
            let fault = sent.faults.first().map(|(_, fault)| fault.clone());
            let problem = sent.problem.or(fault).unwrap_or_default();
            person(visit, user_id, code, Some(&problem)).await
        }
    }
}

pub(super) async fn deactivate(
    visit: Visit,
    Path(user_id): Path<String>,
    form: SentForm,
) -> Result<Response, Refused> {
    let request =
        pb::DeactivateUserRequest { user_id: user_id.clone(), request_id: form.request_id() };
    let outcome = visit.call(request).await.map(|done| done.consistency_token);
    done(&visit, &user_id, "deactivated", outcome).await
}

pub(super) async fn reactivate(
    visit: Visit,
    Path(user_id): Path<String>,
    form: SentForm,
) -> Result<Response, Refused> {
    let request =
        pb::ReactivateUserRequest { user_id: user_id.clone(), request_id: form.request_id() };
    let outcome = visit.call(request).await.map(|done| done.consistency_token);
    done(&visit, &user_id, "reactivated", outcome).await
}

pub(super) async fn set_role(
    visit: Visit,
    Path(user_id): Path<String>,
    form: SentForm,
) -> Result<Response, Refused> {
    let role = match form.get("role") {
        "admin" => pb::UserRole::Admin,
        "operator" => pb::UserRole::Operator,
        _ => pb::UserRole::Participant,
    };
    let request = pb::SetUserRoleRequest {
        user_id: user_id.clone(),
        role: role.into(),
        request_id: form.request_id(),
    };
    let outcome = visit.call(request).await.map(|done| done.consistency_token);
    done(&visit, &user_id, "role", outcome).await
}

pub(super) async fn erase(
    visit: Visit,
    Path(user_id): Path<String>,
    form: SentForm,
) -> Result<Response, Refused> {
    let request = pb::EraseUserRequest {
        user_id: user_id.clone(),
        forfeit_balances: form.is_on("forfeit_balances"),
        request_id: form.request_id(),
    };
    let outcome = visit.call(request).await.map(|done| done.consistency_token);
    done(&visit, &user_id, "erased", outcome).await
}
