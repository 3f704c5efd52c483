//! What the store of a program offers.

use super::Handlers;
use crate::api::errors::ApiError;
use crate::api::fields::Fields;
use crate::api::guard::Call;
use crate::api::pages::Page;
use crate::api::pb::{self, ErrorReason, ItemUnavailability};
use crate::api::reads::freshness;
use crate::api::responses::{count, money, time};
use crate::api::writes::{carry_out, command_fields};
use crate::engine::query::query;
use crate::read::{At, Freshness, ItemFilter, ListedItem};
use domain::decide::{Command, PublishItem};
use domain::rules::{MAX_COUNT, MAX_TIER_NAME_CHARS};
use domain::{ItemId, ItemTerms, Program, ProgramId, Refusal, StoreItemId, load};

impl Handlers {
    pub(in crate::api) async fn publish_item(
        &self,
        call: Call<pb::PublishItemRequest>,
    ) -> Result<pb::PublishItemResponse, ApiError> {
        let request = &call.message;
        let mut fields = command_fields(request);
        let program_id = fields.id("program_id", &request.program_id, ProgramId::parse);
        let item_id = fields.id("item_id", &request.item_id, ItemId::parse);
        let name = fields.key_name(&request.name);
        let cost = cost(&mut fields, request.cost.as_ref());
        let description = fields.note("description", &request.description).map(|text| text.0);
        let stock = number(&mut fields, "stock", request.stock, 0);
        let per_person_limit = number(&mut fields, "per_person_limit", request.per_person_limit, 1);
        let from_tier = tier(&mut fields, &request.from_tier);
        let required = program_id.zip(item_id).zip(name.zip(cost));
        let ((program_id, item_id), (name, (cost_minor, unit))) = fields.finish(required)?;
        let id = StoreItemId { program_id, item_id };
        let is_available = !request.unavailable;
        let terms = ItemTerms {
            name,
            description,
            cost_minor,
            stock,
            per_person_limit,
            from_tier,
            is_available,
        };
        let publish = PublishItem { id: id.clone(), unit: unit.clone(), terms };
        let command = Command::PublishItem(Box::new(publish));
        let written = carry_out(&self.0, &call, command).await?;
        // The item is published, also if it cannot be read yet.
        let freshness = Freshness { position: written.position, deadline: call.deadline };
        let read = self.0.reads.item(&id, freshness).await;
        Ok(pb::PublishItemResponse {
            item: read.ok().and_then(|at| at.found).map(|listed| item_message(listed, &unit)),
            consistency_token: written.consistency_token,
        })
    }

    pub(in crate::api) async fn list_items(
        &self,
        call: Call<pb::ListItemsRequest>,
    ) -> Result<pb::ListItemsResponse, ApiError> {
        let request = &call.message;
        let mut fields = Fields::of(request);
        let page = Page::read(&mut fields, &call);
        let program_id = fields.id("program_id", &request.program_id, ProgramId::parse);
        let before = page.before(&mut fields, &request.page_token);
        let (program_id, before) = fields.finish(program_id.zip(before))?;
        let unit = self.unit_of(&program_id).await?;
        let freshness = freshness(&self.0, &request.consistency_token, call.deadline).await?;
        let filter = ItemFilter { program_id, available_only: request.available_only };
        let At { position, found } =
            self.0.reads.items(&filter, before, page.rows(), freshness).await?;
        let message = |item| item_message(item, &unit);
        let (items, next_page_token) = page.answer(found, |item| item.published_position, message);
        Ok(pb::ListItemsResponse { items, next_page_token, position })
    }

    /// The unit of a program, which never changes.
    async fn unit_of(&self, program_id: &ProgramId) -> Result<String, ApiError> {
        let unit = query(&self.0.database, &self.0.environment, |work| {
            let program = load::<Program>(work, program_id)?;
            let version = program.current();
            let version = version.ok_or_else(|| Refusal::ProgramNotFound(program_id.clone()))?;
            Ok(version.rules.unit.clone())
        });
        Ok(unit.await?)
    }
}

/// A required cost: its minor units, at least 1, and the unit.
fn cost(fields: &mut Fields, cost: Option<&pb::Money>) -> Option<(i64, String)> {
    let (amount_minor, unit) = fields.signed_money("cost", cost)?;
    if amount_minor < 0 {
        let message = "must be at least 1 minor unit";
        fields.fault("cost.minor_units", ErrorReason::AmountNotPositive, message);
    }
    Some((amount_minor, unit))
}

/// A number of pieces, which may be missing.
fn number(fields: &mut Fields, field: &str, number: Option<i32>, least: u32) -> Option<u32> {
    let number = number?;
    let known = u32::try_from(number).ok().filter(|known| (least..=MAX_COUNT).contains(known));
    if known.is_none() {
        let message = format!("must be {least} to {MAX_COUNT}; leave it out for any number");
        fields.fault(field, ErrorReason::OutOfRange, message);
    }
    known
}

/// The name of a tier, which may be missing. Whether there is such a tier depends on the program.
fn tier(fields: &mut Fields, text: &str) -> Option<String> {
    if text.is_empty() {
        return None;
    }
    if text.chars().count() > MAX_TIER_NAME_CHARS {
        let message = format!("must be at most {MAX_TIER_NAME_CHARS} characters long");
        fields.fault("from_tier", ErrorReason::FieldTooLong, message);
        return None;
    }
    fields.required("from_tier", text).map(str::to_owned)
}

fn item_message(listed: ListedItem, unit: &str) -> pb::Item {
    let StoreItemId { program_id, item_id } = listed.id;
    let terms = listed.terms;
    let is_left = terms.stock.is_none_or(|stock| listed.taken < i64::from(stock));
    let unavailability = match (terms.is_available, is_left) {
        (true, true) => ItemUnavailability::Unspecified,
        (true, false) => ItemUnavailability::OutOfStock,
        (false, _) => ItemUnavailability::OffSale,
    };
    pb::Item {
        program_id: program_id.to_string(),
        item_id: item_id.to_string(),
        version: listed.version,
        name: terms.name,
        description: terms.description.unwrap_or_default(),
        cost: Some(money(unit, terms.cost_minor)),
        stock: terms.stock.map(count),
        taken_count: i32::try_from(listed.taken).unwrap_or(i32::MAX),
        per_person_limit: terms.per_person_limit.map(count),
        from_tier: terms.from_tier.unwrap_or_default(),
        available: unavailability == ItemUnavailability::Unspecified,
        publish_time: Some(time(listed.publish_time)),
        unavailability: unavailability.into(),
    }
}
