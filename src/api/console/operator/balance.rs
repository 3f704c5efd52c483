//! What one person has in one program, and corrections of it.

use axum::extract::Path;
use axum::response::Response;
use console::pages::operator::balance::{View, page, path};
use console::parts::{FormKeys, Sent};
use console::reader::{places, signed_minor_units};
use console::text;
use console::text::faults::NO_AMOUNT;
use http::StatusCode;

use super::names::{Ids, knowing, of_approval};
use super::{erased, holds};
use crate::api::console::answers::Refused;
use crate::api::console::faults;
use crate::api::console::forms::SentForm;
use crate::api::console::participant::{next_page, part, versions};
use crate::api::console::visit::Visit;
use crate::api::pb;

/// How many rewards a page has.
const REWARDS: i32 = 20;
/// How many entries of the ledger the page has.
const ENTRIES: i32 = 20;
/// How many approvals the page has.
const APPROVALS: i32 = 20;

/// The user and the program, as in the path.
type At = (String, String);

/// What the page says besides how things are.
struct Said {
    sent: Sent,
    keys: FormKeys,
    problem: Option<String>,
}

pub(super) async fn show(visit: Visit, Path(at): Path<At>) -> Result<Response, Refused> {
    balance(&visit, &at, StatusCode::OK, nothing_said(&visit)).await
}

fn nothing_said(visit: &Visit) -> Said {
    Said { sent: Sent::default(), keys: visit.command(), problem: None }
}

pub(super) async fn adjust(
    visit: Visit,
    Path(at): Path<At>,
    form: SentForm,
) -> Result<Response, Refused> {
    visit.operator()?;
    let (user_id, program_id) = &at;
    let said = |sent| Said { sent, keys: form.keys(&visit), problem: None };
    let unit = visit.program(program_id).await?.unit;
    let decimals = places(&unit);
    let Some(minor_units) = signed_minor_units(&form.text("amount"), decimals) else {
        let faults = vec![("amount".to_owned(), NO_AMOUNT.to_owned())];
        let said = said(Sent { faults, ..form.sent() });
        return balance(&visit, &at, StatusCode::UNPROCESSABLE_ENTITY, said).await;
    };
    let request = pb::AdjustBalanceRequest {
        request_id: form.request_id(),
        program_id: program_id.clone(),
        user_id: user_id.clone(),
        amount: Some(pb::Money { currency_code: unit, minor_units }),
        reason_code: form.text("reason_code"),
        note: form.text("note"),
        ..Default::default()
    };
    match visit.call(request).await {
        Ok(answer) => {
            let waits = answer.state() == pb::ApprovalState::Pending;
            let done = if waits { "asked" } else { "adjusted" };
            Ok(visit.see_other(&path(user_id, program_id), done, &answer.consistency_token))
        }
        Err(status) => {
            let names = [("amount.minor_units", "amount")];
            let (code, sent) = faults::placed(&status, form.sent(), &names);
            balance(&visit, &at, code, said(sent)).await
        }
    }
}

/// Holds a reward, or releases it.
pub(super) async fn hold(
    visit: Visit,
    Path(at): Path<At>,
    form: SentForm,
) -> Result<Response, Refused> {
    visit.operator()?;
    match holds::decide(&visit, &form).await {
        Ok((done, changed)) => Ok(visit.see_other(&path(&at.0, &at.1), done, &changed)),
        Err(status) => {
            let problem = Some(holds::told(&status, &form));
            let said = Said { problem, ..nothing_said(&visit) };
            balance(&visit, &at, faults::code(&status), said).await
        }
    }
}

async fn balance(
    visit: &Visit,
    at: &At,
    code: StatusCode,
    said: Said,
) -> Result<Response, Refused> {
    let operator = visit.operator()?;
    let person = visit.person().await?;
    let (user_id, program_id) = at.clone();
    let (later, since) = (visit.query("page"), visit.changed());
    let user = pb::GetUserRequest { user_id: user_id.clone(), ..Default::default() };
    let program = visit.program(&program_id);
    let (user, program, balances, rewards, entries, approvals) = tokio::join!(
        visit.call(user),
        program,
        visit.call(pb::GetBalancesRequest {
            program_id: program_id.clone(),
            user_id: user_id.clone(),
            consistency_token: since.clone(),
            ..Default::default()
        }),
        visit.call(pb::ListRewardsRequest {
            program_id: program_id.clone(),
            user_id: user_id.clone(),
            page_size: REWARDS,
            page_token: later.into(),
            consistency_token: since.clone(),
            ..Default::default()
        }),
        visit.call(pb::ListBalanceEntriesRequest {
            program_id: program_id.clone(),
            user_id: user_id.clone(),
            page_size: ENTRIES,
            consistency_token: since.clone(),
            ..Default::default()
        }),
        visit.call(pb::ListApprovalsRequest {
            state: pb::ApprovalState::Pending.into(),
            program_id: program_id.clone(),
            user_id: user_id.clone(),
            page_size: APPROVALS,
            consistency_token: since.clone(),
            ..Default::default()
        }),
    );
    let user = match user {
        Ok(user) => user,
        Err(status) => return erased::instead(visit, &user_id, status).await,
    };
    let (program, balances) = (program?, balances?);
    let (rewards, next_page_token) = match rewards {
        Ok(found) => (Ok(found.rewards), found.next_page_token),
        Err(status) => (Err(status), String::new()),
    };
    let path = path(&user_id, &program_id);
    let approvals = approvals?.approvals;
    let sources = rewards.iter().flatten().map(|of| &*of.source_user_id);
    let reader =
        knowing(visit, Ids::of(sources.chain(approvals.iter().flat_map(of_approval)))).await;
    let found = entries.as_ref().map_or(&[][..], |found| found.entries.as_slice());
    let others = versions::others(visit, &program, versions::of_entries(found)).await;
    let view = View {
        user: &user.user.unwrap_or_default(),
        program: &program,
        buckets: &balances.buckets.into_iter().next().unwrap_or_default(),
        rewards: part(rewards),
        entries: part(entries.map(|found| found.entries)),
        others: &others,
        approvals: &approvals,
        reader_is: &format!("user:{}", operator.user_id),
        keys: &|| visit.command(),
        sent: (said.sent, said.keys),
        problem: said.problem.as_deref(),
        done: text::done(visit.query("done")),
        next: next_page(&path, &[], &next_page_token),
        is_later: !later.is_empty(),
    };
    let form_token = visit.form_token();
    let sidebar = person.sidebar(visit, &form_token);
    Ok(visit.page_with(code, page(&view, &sidebar, &reader)))
}
