//! `PurchaseService`: purchases and what came of them.

use prost::Message;
use tonic::{Request, Response, Status};

use crate::api::authentication::caller;
use crate::api::errors::ApiError;
use crate::api::fields::{Fields, page_token};
use crate::api::pb;
use crate::api::pb::purchase_service_server::PurchaseService;
use crate::api::reads::{deadline, freshness};
use crate::api::requests::carry_out;
use crate::api::responses;
use crate::api::tokens::{consistency_token, newest_position};
use crate::api::{Context, MAX_MESSAGE_BYTES};
use crate::engine::query::query;
use crate::read::At;
use crate::store::log;
use domain::decide::{Command, RecordPurchase};
use domain::{Halt, Kind, PurchaseId, Refusal, StreamKey, User, UserId, Work, load};

/// The largest page of purchases, well below the largest message: a purchase can come to many rewards.
const MAX_PAGE_BYTES: usize = MAX_MESSAGE_BYTES / 2;

pub(super) struct Purchases(pub(super) Context);

#[tonic::async_trait]
impl PurchaseService for Purchases {
    async fn record_purchase(
        &self,
        request: Request<pb::RecordPurchaseRequest>,
    ) -> Result<Response<pb::RecordPurchaseResponse>, Status> {
        let caller = caller(&request);
        let request = request.into_inner();
        let now = (self.0.environment.now)();
        let mut fields = Fields::default();
        fields.request_id(&request.request_id);
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

        let canonical = pb::RecordPurchaseRequest { request_id: String::new(), ..request.clone() };
        let command = Command::RecordPurchase(RecordPurchase {
            purchase_id,
            buyer_user_id,
            amount_minor,
            currency_code,
            purchase_time,
        });
        let committed = carry_out(
            &self.0,
            caller.scope(),
            "RecordPurchase",
            &request.request_id,
            &canonical,
            command,
        )
        .await?;
        let (purchase, outcomes) = responses::purchase(&committed.events)?;
        Ok(Response::new(pb::RecordPurchaseResponse {
            purchase,
            outcomes,
            consistency_token: consistency_token(&self.0, committed.position),
        }))
    }

    async fn get_purchase(
        &self,
        request: Request<pb::GetPurchaseRequest>,
    ) -> Result<Response<pb::GetPurchaseResponse>, Status> {
        let request = request.into_inner();
        let mut fields = Fields::default();
        let purchase_id = fields.id("purchase_id", &request.purchase_id, PurchaseId::parse);
        let purchase_id = fields.finish(purchase_id)?;
        let position = newest_position(&self.0, &request.consistency_token).await?;
        let stream = StreamKey { kind: Kind::Purchase, id: purchase_id.as_str().into() };
        let events = log::read_first_command(self.0.database.pool(), &stream)
            .await
            .map_err(ApiError::from)?;
        if events.is_empty() {
            return Err(ApiError::from(Refusal::PurchaseNotFound(purchase_id)).into());
        }
        let (purchase, outcomes) = responses::purchase(&events)?;
        Ok(Response::new(pb::GetPurchaseResponse { purchase, outcomes, position }))
    }

    async fn list_purchases(
        &self,
        request: Request<pb::ListPurchasesRequest>,
    ) -> Result<Response<pb::ListPurchasesResponse>, Status> {
        let deadline = deadline(&self.0, &request);
        let request = request.into_inner();
        let mut fields = Fields::default();
        let page_size = fields.page_size(request.page_size);
        let buyer = fields.optional_id("buyer_user_id", &request.buyer_user_id, UserId::parse);
        let before = fields.page_position("ListPurchases", &request.page_token);
        let before = fields.finish(before)?;
        let freshness = freshness(&self.0, &request.consistency_token, deadline).await?;
        // One more than asked for tells whether there is a next page.
        let read = self.0.reads.purchases(buyer.as_ref(), before, page_size + 1, freshness);
        let At { position, mut found } = read.await.map_err(ApiError::from)?;
        if let (true, Some(buyer)) = (found.is_empty(), &buyer) {
            query(&self.0.database, &self.0.environment, |work| existing_user(work, buyer))
                .await
                .map_err(ApiError::from)?;
        }
        let limit = usize::try_from(page_size).unwrap_or_default();
        let is_last = found.len() <= limit;
        found.truncate(limit);
        let mut purchases = Vec::with_capacity(found.len());
        let (mut size_bytes, mut last_position) = (0, 0);
        for events in &found {
            let (purchase, outcomes) = responses::purchase(events)?;
            let detail = pb::PurchaseDetail { purchase, outcomes };
            size_bytes += detail.encoded_len();
            // A page that grows too large ends earlier.
            if size_bytes > MAX_PAGE_BYTES && !purchases.is_empty() {
                break;
            }
            purchases.push(detail);
            last_position = events.first().map_or(last_position, |event| event.position);
        }
        let next_page_token = if is_last && purchases.len() == found.len() {
            String::new()
        } else {
            page_token("ListPurchases", last_position)
        };
        Ok(Response::new(pb::ListPurchasesResponse { purchases, next_page_token, position }))
    }
}

/// Refuses a user who does not exist.
fn existing_user(work: &mut dyn Work, user_id: &UserId) -> Result<(), Halt> {
    if load::<User>(work, user_id)?.exists() {
        return Ok(());
    }
    Err(Refusal::UserNotFound(user_id.clone()).into())
}
