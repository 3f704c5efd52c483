//! The store of a program: publishing and changing items.

use axum::extract::Path;
use axum::response::Response;
use console::pages::operator::items::{View, page};
use console::parts::{FormKeys, Sent};
use console::reader::{minor_units, places, plain};
use console::text;
use console::text::faults::{NO_AMOUNT, NO_NUMBER};
use http::StatusCode;

use crate::api::console::answers::Refused;
use crate::api::console::faults;
use crate::api::console::forms::SentForm;
use crate::api::console::lists::{all_items, all_programs};
use crate::api::console::participant::{next_page, with_query};
use crate::api::console::visit::Visit;
use crate::api::pb;

/// How many items a page has.
const ITEMS: i32 = 50;

/// What the form shows.
struct Form {
    /// The item that is changed; empty for a new one.
    item_id: String,
    /// Nothing was sent yet if this is `None`.
    sent: Option<Sent>,
    keys: FormKeys,
}

pub(super) async fn show(visit: Visit) -> Result<Response, Refused> {
    let form = Form { item_id: String::new(), sent: None, keys: visit.command() };
    items(&visit, visit.query("program"), StatusCode::OK, form).await
}

pub(super) async fn show_one(
    visit: Visit,
    Path((program_id, item_id)): Path<(String, String)>,
) -> Result<Response, Refused> {
    let form = Form { item_id, sent: None, keys: visit.command() };
    items(&visit, &program_id, StatusCode::OK, form).await
}

pub(super) async fn publish(visit: Visit, form: SentForm) -> Result<Response, Refused> {
    let (program_id, item_id) = (form.get("program_id").to_owned(), form.text("item_id"));
    save(&visit, &program_id, &item_id, true, &form).await
}

pub(super) async fn change(
    visit: Visit,
    Path((program_id, item_id)): Path<(String, String)>,
    form: SentForm,
) -> Result<Response, Refused> {
    save(&visit, &program_id, &item_id, false, &form).await
}

async fn save(
    visit: &Visit,
    program_id: &str,
    item_id: &str,
    is_new: bool,
    form: &SentForm,
) -> Result<Response, Refused> {
    visit.operator()?;
    let unit = visit.program(program_id).await?.unit;
    let again = |sent| Form {
        item_id: if is_new { String::new() } else { item_id.to_owned() },
        sent: Some(sent),
        keys: form.keys(visit),
    };
    let mut sent = form.sent();
    let decimals = places(&unit);
    let cost = minor_units(&form.text("cost"), decimals);
    if cost.is_none() {
        sent.faults.push(("cost".into(), NO_AMOUNT.into()));
    }
    let mut number = |name: &str| -> Option<i32> {
        let text = form.text(name);
        let number = text.parse().ok();
        if !text.is_empty() && number.is_none() {
            sent.faults.push((name.into(), NO_NUMBER.into()));
        }
        number
    };
    let (stock, per_person_limit) = (number("stock"), number("per_person_limit"));
    let Some(minor_units) = cost.filter(|_| sent.faults.is_empty()) else {
        return items(visit, program_id, StatusCode::UNPROCESSABLE_ENTITY, again(sent)).await;
    };
    let request = pb::PublishItemRequest {
        request_id: form.request_id(),
        program_id: program_id.into(),
        item_id: item_id.into(),
        name: form.text("name"),
        description: form.text("description"),
        cost: Some(pb::Money { currency_code: unit, minor_units }),
        stock,
        per_person_limit,
        from_tier: form.text("from_tier"),
        unavailable: form.is_on("unavailable"),
    };
    match visit.call(request).await {
        Ok(published) => {
            let path = with_query("/o/items", &[("program", program_id)]);
            Ok(visit.see_other(&path, "item-published", &published.consistency_token))
        }
        Err(status) => {
            let names = [("cost.minor_units", "cost"), ("cost.currency_code", "cost")];
            let (code, mut sent) = faults::placed(&status, form.sent(), &names);
            if faults::is(&status, pb::ErrorReason::TierNotFound)
                && let Some(problem) = sent.problem.take()
            {
                sent.faults.push(("from_tier".into(), problem));
            }
            items(visit, program_id, code, again(sent)).await
        }
    }
}

async fn items(
    visit: &Visit,
    program_id: &str,
    code: StatusCode,
    form: Form,
) -> Result<Response, Refused> {
    visit.operator()?;
    let person = visit.person().await?;
    let later = visit.query("page");
    let programs = all_programs(visit).await?;
    let program = match program_id {
        "" => programs.first().cloned(),
        program_id => Some(visit.program(program_id).await?),
    };
    let mut found = pb::ListItemsResponse::default();
    if let Some(program) = program.as_ref().filter(|_| !form.item_id.is_empty()) {
        // The one that is changed is among all.
        found.items = all_items(visit, &program.program_id, &visit.changed()).await?;
    } else if let Some(program) = &program {
        let request = pb::ListItemsRequest {
            program_id: program.program_id.clone(),
            page_size: ITEMS,
            page_token: later.into(),
            consistency_token: visit.changed(),
            ..Default::default()
        };
        found = visit.call(request).await?;
    }
    let changed = found.items.iter().find(|item| item.item_id == form.item_id);
    if !form.item_id.is_empty() && changed.is_none() {
        return Err(Refused::NotFound);
    }
    let chosen = program.as_ref().map_or("", |program| &program.program_id);
    let view = View {
        programs: &programs,
        program: program.as_ref(),
        items: &found.items,
        changed,
        sent: form.sent.unwrap_or_else(|| changed.map(filled_in).unwrap_or_default()),
        keys: form.keys,
        done: text::done(visit.query("done")),
        next: next_page("/o/items", &[("program", chosen)], &found.next_page_token),
        is_later: !later.is_empty(),
    };
    let form_token = visit.form_token();
    let sidebar = person.sidebar(visit, &form_token);
    Ok(visit.page_with(code, page(&view, &sidebar, visit.reader())))
}

/// The form of an item as it is.
fn filled_in(item: &pb::Item) -> Sent {
    let cost = item.cost.clone().unwrap_or_default();
    let number = |number: Option<i32>| number.map(|number| number.to_string()).unwrap_or_default();
    let is_off_sale = item.unavailability() == pb::ItemUnavailability::OffSale;
    let values = [
        ("name", item.name.clone()),
        ("description", item.description.clone()),
        ("cost", plain(cost.minor_units, places(&cost.currency_code))),
        ("stock", number(item.stock)),
        ("per_person_limit", number(item.per_person_limit)),
        ("from_tier", item.from_tier.clone()),
        ("unavailable", if is_off_sale { "on".into() } else { String::new() }),
    ];
    let values = values.map(|(name, value)| (name.to_owned(), value));
    Sent { values: values.into(), ..Sent::default() }
}
