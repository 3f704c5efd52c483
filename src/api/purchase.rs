//! `PurchaseService`: purchases and what came of them.

use tonic::{Request, Response, Status};

use super::Context;
use super::answers;
use super::authentication::caller;
use super::errors::ApiError;
use super::fields::Fields;
use super::pb;
use super::pb::purchase_service_server::PurchaseService;
use super::requests::carry_out;
use super::tokens::{check_consistency, consistency_token};
use crate::domain::decide::{Command, RecordPurchase};
use crate::domain::{Kind, PurchaseId, Refusal, StreamKey, UserId};
use crate::store::log;

pub(super) struct Purchases(pub(super) Context);

#[tonic::async_trait]
impl PurchaseService for Purchases {
    async fn record_purchase(
        &self,
        request: Request<pb::RecordPurchaseRequest>,
    ) -> Result<Response<pb::RecordPurchaseResponse>, Status> {
        let caller = caller(&request);
        let request = request.into_inner();
        let now = (self.0.surroundings.now)();
        let mut fields = Fields::default();
        fields.request_id(&request.request_id);
        let purchase_time = fields.past_time("purchase_time", request.purchase_time.as_ref(), now);
        let amount = fields.money("amount", request.amount.as_ref());
        let purchase_id = match request.purchase_id.as_str() {
            "" => PurchaseId::parse(&self.0.surroundings.fresh_id()).ok(),
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
        let (purchase, outcomes) = answers::purchase(&committed.events)?;
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
        check_consistency(&self.0, &request.consistency_token).await?;
        let stream = StreamKey { kind: Kind::Purchase, id: purchase_id.as_str().into() };
        let events = log::read_first_command(self.0.database.pool(), &stream)
            .await
            .map_err(ApiError::from)?;
        if events.is_empty() {
            return Err(ApiError::from(Refusal::PurchaseNotFound(purchase_id)).into());
        }
        let (purchase, outcomes) = answers::purchase(&events)?;
        Ok(Response::new(pb::GetPurchaseResponse { purchase, outcomes }))
    }
}
