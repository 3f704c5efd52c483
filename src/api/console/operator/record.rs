//! Recording a purchase by hand.

use axum::response::Response;
use console::pages::operator::purchase_path;
use console::pages::operator::record::{View, page};
use console::parts::{FormKeys, Sent};
use console::reader::{minor_units, places};
use console::text::faults::{self as words, NO_AMOUNT};
use http::StatusCode;

use super::search::find;
use crate::api::console::answers::Refused;
use crate::api::console::faults;
use crate::api::console::forms::SentForm;
use crate::api::console::visit::Visit;
use crate::api::pb::{ErrorReason, Money, RecordPurchaseRequest};

pub(super) async fn show(visit: Visit) -> Result<Response, Refused> {
    let sent = Sent::default().or("buyer", visit.query("buyer"));
    form(&visit, StatusCode::OK, sent, visit.command()).await
}

pub(super) async fn record(visit: Visit, sent: SentForm) -> Result<Response, Refused> {
    visit.operator()?;
    let mut faulty = sent.sent();
    let currency = sent.text("currency").to_uppercase();
    let decimals = places(&currency);
    let amount = minor_units(&sent.text("amount"), decimals);
    if amount.is_none() {
        faulty.faults.push(("amount".into(), NO_AMOUNT.into()));
    }
    let buyer = find(&visit, sent.get("buyer")).await?;
    if buyer.is_none() {
        let said = words::reason(ErrorReason::UserNotFound).unwrap_or_default();
        faulty.faults.push(("buyer".into(), said.into()));
    }
    // What is wrong already makes the request one that is refused. It is sent all the same, for what else is wrong.
    let (minor_units, buyer_user_id) = (amount.unwrap_or(-1), buyer.unwrap_or_default());
    let given = sent.text("purchase_id");
    // The form is one wish: sent twice, it is the same purchase.
    let purchase_id = if given.is_empty() { sent.request_id() } else { given };
    let request = RecordPurchaseRequest {
        purchase_id: purchase_id.clone(),
        buyer_user_id,
        amount: Some(Money { currency_code: currency, minor_units }),
        request_id: sent.request_id(),
        ..Default::default()
    };
    match visit.call(request).await {
        Ok(recorded) => {
            let path = purchase_path(&purchase_id);
            Ok(visit.see_other(&path, "recorded", &recorded.consistency_token))
        }
        Err(status) => {
            let names = [
                ("amount.currency_code", "currency"),
                ("amount.minor_units", "amount"),
                ("buyer_user_id", "buyer"),
            ];
            let (code, mut answered) = faults::placed(&status, faulty.clone(), &names);
            // A field has what is wrong with it said once.
            let own = faulty.faults.len();
            let others = answered.faults.split_off(own);
            let is_new =
                |(name, _): &(String, String)| faulty.faults.iter().all(|(of, _)| of != name);
            answered.faults.extend(others.into_iter().filter(is_new));
            form(&visit, code, answered, sent.keys(&visit)).await
        }
    }
}

async fn form(
    visit: &Visit,
    code: StatusCode,
    sent: Sent,
    keys: FormKeys,
) -> Result<Response, Refused> {
    visit.operator()?;
    let person = visit.person().await?;
    let view = View { sent, keys };
    let form_token = visit.form_token();
    let sidebar = person.sidebar(visit, &form_token);
    Ok(visit.page_with(code, page(&view, &sidebar, visit.reader())))
}
