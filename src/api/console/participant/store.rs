//! The store of a program.

use std::collections::HashMap;

use axum::extract::Path;
use axum::response::Response;
use console::pages::participant::store::{View, page};
use console::parts::FormKeys;
use console::text;
use http::StatusCode;

use crate::api::console::answers::Refused;
use crate::api::console::faults;
use crate::api::console::forms::SentForm;
use crate::api::console::lists::all_items;
use crate::api::console::participant::next_page;
use crate::api::console::visit::Visit;
use crate::api::pb;

/// How many redemptions a page has.
const REDEMPTIONS: i32 = 50;

pub(super) async fn show(
    visit: Visit,
    Path(program_id): Path<String>,
) -> Result<Response, Refused> {
    store(&visit, &program_id, StatusCode::OK, None).await
}

pub(super) async fn redeem(
    visit: Visit,
    Path(program_id): Path<String>,
    form: SentForm,
) -> Result<Response, Refused> {
    let at = visit.participating(&program_id).await?;
    let request = pb::RedeemRequest {
        request_id: form.request_id(),
        program_id: program_id.clone(),
        user_id: at.person.user_id(),
        // The form is one wish: sent twice, it is the same redemption.
        redemption_id: form.request_id(),
        item_id: form.get("item_id").into(),
        // What the page has shown; a page from before shows it anew.
        expected_cost: form.get("cost_minor").parse().ok().map(|minor_units| pb::Money {
            currency_code: form.get("cost_unit").into(),
            minor_units,
        }),
    };
    match visit.call(request).await {
        Ok(redeemed) => {
            let path = at.scene().path("store");
            Ok(visit.see_other(&path, "redeemed", &redeemed.consistency_token))
        }
        Err(status) => {
            let (code, sent) = faults::placed(&status, form.sent(), &[]);
            let fault = sent.faults.first().map(|(_, fault)| fault.clone());
            let problem = sent.problem.or(fault).unwrap_or_default();
            let again = Again { item_id: form.get("item_id"), keys: form.keys(&visit), problem };
            store(&visit, &program_id, code, Some(again)).await
        }
    }
}

/// A redemption that failed, and can be tried again as the same one.
struct Again<'a> {
    item_id: &'a str,
    keys: FormKeys,
    problem: String,
}

async fn store(
    visit: &Visit,
    program_id: &str,
    code: StatusCode,
    again: Option<Again<'_>>,
) -> Result<Response, Refused> {
    let at = visit.participating(program_id).await?;
    let (user_id, since, later) = (at.person.user_id(), visit.changed(), visit.query("page"));
    let (balances, items, redemptions) = tokio::join!(
        visit.call(pb::GetBalancesRequest {
            program_id: program_id.into(),
            user_id: user_id.clone(),
            consistency_token: since.clone(),
            ..Default::default()
        }),
        // With those that are off sale by now: they may have been redeemed.
        all_items(visit, program_id, &since),
        visit.call(pb::ListRedemptionsRequest {
            program_id: program_id.into(),
            user_id: user_id.clone(),
            page_size: REDEMPTIONS,
            page_token: later.into(),
            consistency_token: since.clone(),
            ..Default::default()
        }),
    );
    let (balances, items, redemptions) = (balances?, items?, redemptions?);
    let next = next_page(&at.scene().path("store"), &[], &redemptions.next_page_token);
    let buckets = balances.buckets.into_iter().next().unwrap_or_default();
    let names: HashMap<&str, &str> =
        items.iter().map(|item| (&*item.item_id, &*item.name)).collect();
    let redemptions = redemptions
        .redemptions
        .into_iter()
        .map(|redemption| {
            let name = names.get(&*redemption.item_id).map(|name| (*name).to_owned());
            let name = name.unwrap_or_else(|| redemption.item_id.clone());
            (redemption, name)
        })
        .collect();
    let none = pb::Money { currency_code: at.program.unit.clone(), minor_units: 0 };
    let keys = |item_id: &str| match &again {
        Some(again) if again.item_id == item_id => again.keys.clone(),
        _ => visit.command(),
    };
    let view = View {
        scene: at.scene(),
        available: buckets.available.unwrap_or(none),
        redemptions,
        items: items.iter().filter(|item| is_on_sale(item)).cloned().collect(),
        keys: &keys,
        problem: again.as_ref().map(|again| &*again.problem),
        done: text::done(visit.query("done")),
        next,
        is_later: !later.is_empty(),
    };
    let form_token = visit.form_token();
    let sidebar = at.person.sidebar(visit, &form_token);
    Ok(visit.page_with(code, page(&view, &sidebar, visit.reader())))
}

/// Whether people see an item, also if no pieces are left.
fn is_on_sale(item: &pb::Item) -> bool {
    item.unavailability() != pb::ItemUnavailability::OffSale
}
