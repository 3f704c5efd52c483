//! Purchases: a list, and the way to one of them.

use axum::response::Response;
use console::pages::operator::purchase_path;
use console::pages::operator::purchases::{View, page};
use tonic::Code;

use super::names::{Ids, knowing};
use crate::api::console::answers::Refused;
use crate::api::console::participant::next_page;
use crate::api::console::visit::Visit;
use crate::api::pb;

/// How many purchases a page has.
const PURCHASES: i32 = 50;

pub(super) async fn show(visit: Visit) -> Result<Response, Refused> {
    visit.operator()?;
    let (wanted, later) = (visit.query("q").trim(), visit.query("page"));
    if !wanted.is_empty() {
        let request = pb::GetPurchaseRequest { purchase_id: wanted.into(), ..Default::default() };
        match visit.call(request).await {
            Ok(_) => return Ok(visit.see_other(&purchase_path(wanted), "", "")),
            Err(status) if matches!(status.code(), Code::NotFound | Code::InvalidArgument) => {}
            Err(status) => return Err(status.into()),
        }
    }
    let person = visit.person().await?;
    let answer = visit
        .call(pb::ListPurchasesRequest {
            page_size: PURCHASES,
            page_token: later.into(),
            ..Default::default()
        })
        .await?;
    let view = View {
        purchases: &answer.purchases,
        not_found: Some(wanted).filter(|wanted| !wanted.is_empty()),
        next: next_page("/o/purchases", &[], &answer.next_page_token),
        is_later: !later.is_empty(),
    };
    let buyers = answer.purchases.iter().filter_map(|of| of.purchase.as_ref());
    let reader = knowing(&visit, Ids::of(buyers.map(|of| &*of.buyer_user_id))).await;
    let form_token = visit.form_token();
    let sidebar = person.sidebar(&visit, &form_token);
    Ok(visit.page(page(&view, &sidebar, &reader)))
}
