//! `PurchaseService`: purchases and their consequences.

use prost::Message;

use crate::api::errors::ApiError;
use crate::api::fields::Fields;
use crate::api::guard::Call;
use crate::api::pages::Page;
use crate::api::pb;
use crate::api::reads::{Named, freshness, must_exist};
use crate::api::responses;
use crate::api::tokens::newest_position;
use crate::api::writes::{carry_out, command_fields};
use crate::api::{Context, MAX_MESSAGE_BYTES};
use crate::read::At;
use crate::store::{RecordedEvent, log};
use domain::decide::{Command, RecordPurchase};
use domain::{Purchase, PurchaseId, Refusal, StreamKey, UserId};

/// The largest page of purchases, well below the largest message: a purchase can have many rewards.
const MAX_PAGE_BYTES: usize = MAX_MESSAGE_BYTES / 2;

pub(super) struct Handlers(pub(super) Context);

impl Handlers {
    pub(super) async fn record_purchase(
        &self,
        call: Call<pb::RecordPurchaseRequest>,
    ) -> Result<pb::RecordPurchaseResponse, ApiError> {
        let request = &call.message;
        let now = (self.0.environment.now)();
        let mut fields = command_fields(request);
        let purchase_time = fields.past_time("purchase_time", request.purchase_time.as_ref(), now);
        let amount = fields.money("amount", request.amount.as_ref());
        let purchase_id = match request.purchase_id.as_str() {
            "" => PurchaseId::parse(&self.0.environment.fresh_id()).ok(),
            own => fields.id("purchase_id", own, PurchaseId::parse),
        };
        let buyer_user_id = fields.id("buyer_user_id", &request.buyer_user_id, UserId::parse);
        let required = purchase_id.zip(buyer_user_id).zip(amount);
        let ((purchase_id, buyer_user_id), (amount_minor, currency_code)) =
            fields.finish(required)?;
        let command = Command::RecordPurchase(RecordPurchase {
            purchase_id,
            buyer_user_id,
            amount_minor,
            currency_code,
            purchase_time,
        });
        let written = carry_out(&self.0, &call, command).await?;
        let (purchase, outcomes) = responses::purchase(&written.events)?;
        let consistency_token = written.consistency_token;
        Ok(pb::RecordPurchaseResponse { purchase, outcomes, consistency_token })
    }

    pub(super) async fn get_purchase(
        &self,
        call: Call<pb::GetPurchaseRequest>,
    ) -> Result<pb::GetPurchaseResponse, ApiError> {
        let request = &call.message;
        let mut fields = Fields::default();
        let purchase_id = fields.id("purchase_id", &request.purchase_id, PurchaseId::parse);
        let purchase_id = fields.finish(purchase_id)?;
        let position = newest_position(&self.0, &request.consistency_token).await?;
        let stream = StreamKey::of::<Purchase>(&purchase_id);
        let events = log::read_commands_of(self.0.database.pool(), &stream).await?;
        if events.is_empty() {
            return Err(Refusal::PurchaseNotFound(purchase_id).into());
        }
        let (purchase, outcomes) = responses::purchase(&events)?;
        Ok(pb::GetPurchaseResponse { purchase, outcomes, position })
    }

    pub(super) async fn list_purchases(
        &self,
        call: Call<pb::ListPurchasesRequest>,
    ) -> Result<pb::ListPurchasesResponse, ApiError> {
        let request = &call.message;
        let mut fields = Fields::default();
        let page = Page::read(&mut fields, call.rpc(), request.page_size);
        let buyer = fields.optional_id("buyer_user_id", &request.buyer_user_id, UserId::parse);
        let before = page.before(&mut fields, &request.page_token);
        let before = fields.finish(before)?;
        let freshness = freshness(&self.0, &request.consistency_token, call.deadline).await?;
        let read = self.0.reads.purchases(buyer.as_ref(), before, page.rows(), freshness);
        let At { position, mut found } = read.await?;
        if let (true, Some(buyer)) = (found.is_empty(), &buyer) {
            must_exist(&self.0, Named::User(buyer)).await?;
        }
        let recorded_at =
            |events: &Vec<RecordedEvent>| events.first().map_or(0, |event| event.position);
        let mut next_page_token = page.cut(&mut found, recorded_at);
        let mut purchases: Vec<pb::PurchaseDetail> = Vec::with_capacity(found.len());
        let (mut size_bytes, mut last_position) = (0, 0);
        for events in &found {
            let (purchase, outcomes) = responses::purchase(events)?;
            let detail = pb::PurchaseDetail { purchase, outcomes };
            size_bytes += detail.encoded_len();
            // A page that would become too large ends earlier.
            if size_bytes > MAX_PAGE_BYTES && !purchases.is_empty() {
                next_page_token = page.token_after(last_position);
                break;
            }
            purchases.push(detail);
            last_position = recorded_at(events);
        }
        Ok(pb::ListPurchasesResponse { purchases, next_page_token, position })
    }
}
