//! Disputes about a purchase: opening one, changing its amount, saying how it ended.

use axum::extract::Path;
use axum::response::Response;
use console::pages::operator::purchase_path;
use console::parts::Sent;
use console::reader::{minor_units, places};
use console::text::faults::NO_AMOUNT;
use http::StatusCode;
use tonic::Status;

use super::purchase::{Form, purchase};
use crate::api::console::answers::Refused;
use crate::api::console::faults;
use crate::api::console::forms::SentForm;
use crate::api::console::visit::Visit;
use crate::api::pb;

pub(super) async fn decide(
    visit: Visit,
    Path(purchase_id): Path<String>,
    form: SentForm,
) -> Result<Response, Refused> {
    visit.operator()?;
    // Empty if a dispute is to be opened.
    let of = form.get("of").to_owned();
    let outcome = match form.get("step") {
        "won" => Some(pb::DisputeState::Won),
        "withdrawn" => Some(pb::DisputeState::Withdrawn),
        "lost" => Some(pb::DisputeState::Lost),
        _ => None,
    };
    let id_field = if of.is_empty() { "dispute_id" } else { "" };
    let amount_field = if of.is_empty() { "disputed".to_owned() } else { format!("disputed-{of}") };
    let done = if let Some(outcome) = outcome {
        close(&visit, &purchase_id, &of, outcome, &form).await
    } else {
        let amount = match amount(&visit, &purchase_id, &of, &form).await? {
            Written::Nothing => None,
            Written::Amount(amount) => Some(amount),
            Written::Unreadable => {
                let faults = vec![(amount_field, NO_AMOUNT.to_owned())];
                let form = again(&visit, of, Sent { faults, ..form.sent() }, &form);
                let code = StatusCode::UNPROCESSABLE_ENTITY;
                return purchase(&visit, &purchase_id, code, form).await;
            }
        };
        open(&visit, &purchase_id, &of, amount, &form).await
    };
    match done {
        Ok((done, changed)) => Ok(visit.see_other(&purchase_path(&purchase_id), done, &changed)),
        Err(status) => {
            let names = [
                ("amount.minor_units", &*amount_field),
                ("amount", &*amount_field),
                ("dispute_id", id_field),
            ];
            let (code, sent) = faults::placed(&status, form.sent(), &names);
            purchase(&visit, &purchase_id, code, again(&visit, of, sent, &form)).await
        }
    }
}

/// The form of a dispute, shown again as the same command.
fn again(visit: &Visit, of: String, sent: Sent, form: &SentForm) -> Form {
    Form { dispute: Some((of, sent, form.keys(visit))), ..Form::unsent(visit) }
}

/// The amount that is written in the form.
enum Written {
    /// Nothing: the whole price.
    Nothing,
    Amount(pb::Money),
    /// What is no amount.
    Unreadable,
}

/// Reads the amount, in the currency of the purchase. Who changes the amount of a dispute has to write one.
async fn amount(
    visit: &Visit,
    purchase_id: &str,
    of: &str,
    form: &SentForm,
) -> Result<Written, Refused> {
    let text = form.text("amount");
    if text.is_empty() {
        return Ok(if of.is_empty() { Written::Nothing } else { Written::Unreadable });
    }
    let request = pb::GetPurchaseRequest { purchase_id: purchase_id.into(), ..Default::default() };
    let known = visit.call(request).await?.purchase.unwrap_or_default();
    let currency_code = known.amount.map(|amount| amount.currency_code).unwrap_or_default();
    let found = minor_units(&text, places(&currency_code));
    Ok(found.map_or(Written::Unreadable, |minor_units| {
        Written::Amount(pb::Money { currency_code, minor_units })
    }))
}

/// Opens a dispute, or changes the amount of the one that is open.
async fn open(
    visit: &Visit,
    purchase_id: &str,
    of: &str,
    amount: Option<pb::Money>,
    form: &SentForm,
) -> Result<(&'static str, String), Status> {
    let given = form.text("dispute_id");
    let dispute_id = match (of, &*given) {
        // The form is one wish: sent twice, it is the same dispute.
        ("", "") => form.request_id(),
        ("", given) => given.to_owned(),
        (of, _) => of.to_owned(),
    };
    let request = pb::OpenDisputeRequest {
        purchase_id: purchase_id.into(),
        dispute_id,
        amount,
        request_id: form.request_id(),
    };
    let done = if of.is_empty() { "dispute-opened" } else { "dispute-changed" };
    Ok((done, visit.call(request).await?.consistency_token))
}

async fn close(
    visit: &Visit,
    purchase_id: &str,
    of: &str,
    outcome: pb::DisputeState,
    form: &SentForm,
) -> Result<(&'static str, String), Status> {
    let request = pb::CloseDisputeRequest {
        purchase_id: purchase_id.into(),
        dispute_id: of.into(),
        outcome: outcome.into(),
        request_id: form.request_id(),
    };
    Ok(("dispute-closed", visit.call(request).await?.consistency_token))
}
