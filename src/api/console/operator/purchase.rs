//! One purchase, and its refund. Its disputes are in `disputes`.

use axum::extract::Path;
use axum::response::Response;
use console::pages::operator::disputes::Disputes;
use console::pages::operator::purchase::{View, page};
use console::pages::operator::purchase_path;
use console::parts::{FormKeys, Sent};
use console::reader::{minor_units, places};
use console::text;
use console::text::faults::NO_AMOUNT;
use http::StatusCode;

use super::holds;
use super::names::{Ids, knowing};
use crate::api::console::answers::Refused;
use crate::api::console::faults;
use crate::api::console::forms::SentForm;
use crate::api::console::visit::Visit;
use crate::api::pb;

pub(super) async fn show(
    visit: Visit,
    Path(purchase_id): Path<String>,
) -> Result<Response, Refused> {
    purchase(&visit, &purchase_id, StatusCode::OK, Form::unsent(&visit)).await
}

/// What the forms of the page show.
pub(super) struct Form {
    /// What was sent with the form of the refund.
    pub(super) sent: Sent,
    pub(super) preview: Option<pb::PreviewRefundResponse>,
    /// Whether the amount is another one than was previewed before.
    pub(super) has_changed: bool,
    pub(super) keys: FormKeys,
    /// Why something about a reward could not be done.
    pub(super) problem: Option<String>,
    /// The dispute that a form was about, empty for a new one, with what was sent and what it carried.
    pub(super) dispute: Option<(String, Sent, FormKeys)>,
}

impl Form {
    pub(super) fn unsent(visit: &Visit) -> Self {
        Self {
            sent: Sent::default(),
            preview: None,
            has_changed: false,
            keys: visit.command(),
            problem: None,
            dispute: None,
        }
    }
}

pub(super) async fn purchase(
    visit: &Visit,
    purchase_id: &str,
    code: StatusCode,
    form: Form,
) -> Result<Response, Refused> {
    visit.operator()?;
    let person = visit.person().await?;
    let request = pb::GetPurchaseRequest {
        purchase_id: purchase_id.into(),
        consistency_token: visit.changed(),
    };
    let purchase = visit.call(request).await?;
    let reader = knowing(visit, Ids::of(people(&purchase, form.preview.as_ref()))).await;
    let about = form.dispute.as_ref();
    let dispute_keys = |dispute_id: &str| match about {
        Some((of, _, keys)) if of == dispute_id => keys.clone(),
        _ => visit.command(),
    };
    let view = View {
        purchase: &purchase,
        disputes: Disputes { sent: about.map(|(of, sent, _)| (&**of, sent)), keys: &dispute_keys },
        sent: form.sent,
        preview: form.preview,
        has_changed: form.has_changed,
        keys: form.keys,
        fresh_keys: &|| visit.command(),
        problem: form.problem.as_deref(),
        done: text::done(visit.query("done")),
    };
    let form_token = visit.form_token();
    let sidebar = person.sidebar(visit, &form_token);
    Ok(visit.page_with(code, page(&view, &sidebar, &reader)))
}

/// Everybody whom the page names.
fn people<'a>(
    purchase: &'a pb::GetPurchaseResponse,
    preview: Option<&'a pb::PreviewRefundResponse>,
) -> impl Iterator<Item = &'a str> {
    let buyer = purchase.purchase.iter().map(|of| &*of.buyer_user_id);
    let earners = purchase.outcomes.iter().flat_map(|outcome| {
        let earned = outcome.rewards.iter().map(|of| &*of.earner_user_id);
        earned.chain(outcome.withheld.iter().map(|of| &*of.earner_user_id))
    });
    let reversals = preview.into_iter().flat_map(|of| &of.reversals);
    buyer.chain(earners).chain(reversals.map(|of| &*of.user_id))
}

/// Holds a reward of the purchase, or releases it.
pub(super) async fn hold(
    visit: Visit,
    Path(purchase_id): Path<String>,
    form: SentForm,
) -> Result<Response, Refused> {
    visit.operator()?;
    match holds::decide(&visit, &form).await {
        Ok((done, changed)) => Ok(visit.see_other(&purchase_path(&purchase_id), done, &changed)),
        Err(status) => {
            let problem = Some(holds::told(&status, &form));
            let form = Form { problem, ..Form::unsent(&visit) };
            purchase(&visit, &purchase_id, faults::code(&status), form).await
        }
    }
}

pub(super) async fn refund(
    visit: Visit,
    Path(purchase_id): Path<String>,
    form: SentForm,
) -> Result<Response, Refused> {
    visit.operator()?;
    let request = pb::GetPurchaseRequest { purchase_id: purchase_id.clone(), ..Default::default() };
    let known = visit.call(request).await?.purchase.unwrap_or_default();
    let unit = known.amount.map(|amount| amount.currency_code).unwrap_or_default();
    let again = |sent, preview| Form {
        sent,
        preview,
        has_changed: false,
        keys: form.keys(&visit),
        problem: None,
        dispute: None,
    };
    let decimals = places(&unit);
    let text = form.text("amount");
    let amount = match minor_units(&text, decimals) {
        _ if text.is_empty() => None,
        Some(minor_units) => Some(pb::Money { currency_code: unit, minor_units }),
        None => {
            let faults = vec![("amount".to_owned(), NO_AMOUNT.to_owned())];
            let sent = Sent { faults, ..form.sent() };
            let code = StatusCode::UNPROCESSABLE_ENTITY;
            return purchase(&visit, &purchase_id, code, again(sent, None)).await;
        }
    };
    let outcome = if let Some(previewed) = previewed(&form) {
        let request = pb::RefundPurchaseRequest {
            purchase_id: purchase_id.clone(),
            // The form is one wish: sent twice, it is the same refund.
            refund_id: form.request_id(),
            amount: Some(previewed),
            reason: form.text("reason"),
            request_id: form.request_id(),
        };
        visit.call(request).await.map(|done| Step::Refunded(done.consistency_token))
    } else {
        let request = pb::PreviewRefundRequest { purchase_id: purchase_id.clone(), amount };
        visit.call(request).await.map(Step::Previewed)
    };
    match outcome {
        Ok(Step::Refunded(changed)) => {
            Ok(visit.see_other(&purchase_path(&purchase_id), "refunded", &changed))
        }
        Ok(Step::Previewed(preview)) => {
            let has_changed = form.get("step") == "refund";
            let form = Form { has_changed, ..again(form.sent(), Some(preview)) };
            purchase(&visit, &purchase_id, StatusCode::OK, form).await
        }
        Err(status) => {
            let (code, sent) =
                faults::placed(&status, form.sent(), &[("amount.minor_units", "amount")]);
            purchase(&visit, &purchase_id, code, again(sent, None)).await
        }
    }
}

/// The amount that is to be refunded: the one whose preview was shown. `None` if the amount was changed since, so that
/// it has to be looked at first, or if only the preview is asked for.
fn previewed(form: &SentForm) -> Option<pb::Money> {
    if form.get("step") != "refund" || form.text("amount") != form.text("previewed") {
        return None;
    }
    let minor_units = form.get("previewed_minor").parse().ok()?;
    Some(pb::Money { currency_code: form.get("previewed_unit").into(), minor_units })
}

/// What the form has led to.
enum Step {
    Previewed(pb::PreviewRefundResponse),
    Refunded(String),
}
