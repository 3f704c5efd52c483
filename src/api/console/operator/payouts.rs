//! Payouts: a list, and the form that creates one.

use axum::response::Response;
use console::pages::operator::payouts::{Paying, View, page};
use console::parts::{FormKeys, Sent};
use console::reader::{minor_units, places, segment};
use console::text;
use console::text::faults::NO_AMOUNT;
use http::StatusCode;
use tonic::Status;

use super::names::{Ids, knowing};
use super::overview::counted;
use crate::api::console::answers::Refused;
use crate::api::console::faults;
use crate::api::console::forms::SentForm;
use crate::api::console::lists::all_programs;
use crate::api::console::participant::{next_page, part};
use crate::api::console::visit::Visit;
use crate::api::pb;

/// How many payouts a page has.
const PAYOUTS: i32 = 50;
/// For how many programs it is read what a payout would find. All others can be chosen, too.
const FIGURES: usize = 50;
/// How many approvals are counted.
const COUNTED: i32 = 100;

pub(super) async fn show(visit: Visit) -> Result<Response, Refused> {
    list(&visit, StatusCode::OK, Sent::default(), visit.command()).await
}

pub(super) async fn create(visit: Visit, form: SentForm) -> Result<Response, Refused> {
    visit.operator()?;
    let program_id = form.get("program_id");
    let unit = visit.program(program_id).await?.unit;
    let text = form.text("minimum");
    let decimals = places(&unit);
    let minimum = match minor_units(&text, decimals) {
        _ if text.is_empty() => None,
        Some(minor_units) => Some(pb::Money { currency_code: unit, minor_units }),
        None => {
            let faults = vec![("minimum".to_owned(), NO_AMOUNT.to_owned())];
            let sent = Sent { faults, ..form.sent() };
            return list(&visit, StatusCode::UNPROCESSABLE_ENTITY, sent, form.keys(&visit)).await;
        }
    };
    let given = form.text("payout_id");
    let request = pb::CreatePayoutRequest {
        program_id: program_id.into(),
        payout_id: given,
        minimum,
        request_id: form.request_id(),
    };
    match visit.call(request).await {
        Ok(created) => {
            let path = format!("/o/payouts/{program_id}/{}", segment(&created.payout_id));
            Ok(visit.see_other(&path, "payout-created", &created.consistency_token))
        }
        Err(status) => {
            let names = [("minimum.minor_units", "minimum")];
            let (code, sent) = faults::placed(&status, form.sent(), &names);
            list(&visit, code, sent, form.keys(&visit)).await
        }
    }
}

async fn list(
    visit: &Visit,
    code: StatusCode,
    sent: Sent,
    keys: FormKeys,
) -> Result<Response, Refused> {
    visit.operator()?;
    let person = visit.person().await?;
    let later = visit.query("page");
    let request = pb::ListPayoutsRequest {
        page_size: PAYOUTS,
        page_token: later.into(),
        consistency_token: visit.changed(),
        ..Default::default()
    };
    let approvals = pb::ListApprovalsRequest {
        state: pb::ApprovalState::Pending.into(),
        page_size: COUNTED,
        consistency_token: visit.changed(),
        ..Default::default()
    };
    let (payouts, approvals, paying) =
        tokio::join!(visit.call(request), visit.call(approvals), paying(visit));
    let payouts = payouts?;
    let view = View {
        payouts: &payouts.payouts,
        paying: &paying?,
        waiting: approvals.ok().map(|found| counted(found.approvals.len(), &found.next_page_token)),
        sent,
        keys,
        done: text::done(visit.query("done")),
        next: next_page("/o/payouts", &[], &payouts.next_page_token),
        is_later: !later.is_empty(),
    };
    let reader = knowing(visit, Ids::default()).await;
    let form_token = visit.form_token();
    let sidebar = person.sidebar(visit, &form_token);
    Ok(visit.page_with(code, page(&view, &sidebar, &reader)))
}

/// All programs that pay out, with what a payout of the first ones would find.
async fn paying(visit: &Visit) -> Result<Vec<Paying>, Status> {
    let mut programs = all_programs(visit).await?;
    programs.retain(|program| program.pays_out);
    let mut paying = Vec::with_capacity(programs.len());
    for program in programs {
        if paying.len() >= FIGURES {
            paying.push(Paying { program, available_minor: None });
            continue;
        }
        let request =
            pb::GetOverviewRequest { program_id: program.program_id.clone(), ..Default::default() };
        let overview = part(visit.look(request).await);
        let available_minor = overview.map(|overview| {
            let liability = overview.liability.unwrap_or_default();
            liability.available_minor_units.parse().unwrap_or_default()
        });
        paying.push(Paying { program, available_minor: Some(available_minor) });
    }
    Ok(paying)
}
