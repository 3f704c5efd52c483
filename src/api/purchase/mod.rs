//! `PurchaseService`: purchases and their consequences.

mod money_back;
mod payments;
mod view;

use crate::api::errors::ApiError;
use crate::api::fields::Fields;
use crate::api::guard::Call;
use crate::api::pages::Page;
use crate::api::pb;
use crate::api::permissions::{Callers, InPrograms, Rule, Subject, row};
use crate::api::reads::{Named, freshness, must_exist};
use crate::api::tokens::newest_position;
use crate::api::writes::{carry_out, command_fields};
use crate::api::{Context, reward_state};
use crate::engine::query::query;
use crate::read::{At, PurchaseFilter, PurchasePage};
use crate::store::{RecordedEvent, in_time, log, notes};
use domain::decide::{Command, RecordPurchase};
use domain::{NoteSubject, ProgramId, Purchase, PurchaseId, Refusal, StreamKey, UserId, load};

/// Who may call what of the service, and whose data it is: one row per RPC.
pub(super) const RULES: &[Rule] = {
    use Callers::{BackEnds, Operators, SignedIn};
    use Subject::{BuyerOf, None, User, UserOrEverybody};
    &[
        Rule {
            // It counts in the programs of the key only.
            in_programs: InPrograms::Judged,
            ..row("PurchaseService", "RecordPurchase", BackEnds, User("buyer_user_id"))
        },
        changes_purchase("RefundPurchase"),
        changes_purchase("PreviewRefund"),
        changes_purchase("CancelRefund"),
        changes_purchase("OpenDispute"),
        changes_purchase("CloseDispute"),
        Rule {
            in_programs: InPrograms::Judged,
            ..row("PurchaseService", "GetPurchase", SignedIn, BuyerOf("purchase_id"))
        },
        row(
            "PurchaseService",
            "ListPurchases",
            SignedIn,
            UserOrEverybody("buyer_user_id", BackEnds),
        ),
        row("PurchaseService", "CreateCheckoutSession", SignedIn, User("buyer_user_id")),
        row("PurchaseService", "ListUnmatchedPayments", Operators, None),
        row("PurchaseService", "AttachPayment", Operators, User("buyer_user_id")),
    ]
};

/// Refunds and disputes are reported by back ends. A key that is limited to programs finds purchases that count in no
/// other.
const fn changes_purchase(rpc: &'static str) -> Rule {
    Rule {
        in_programs: InPrograms::Judged,
        ..row("PurchaseService", rpc, Callers::BackEnds, Subject::BuyerOf("purchase_id"))
    }
}

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
        let keys = &self.0.environment.screening.keys;
        let fingerprint_key = fields.fingerprint(&request.fingerprint, keys);
        let required = purchase_id.zip(buyer_user_id).zip(amount);
        let ((purchase_id, buyer_user_id), (amount_minor, currency_code)) =
            fields.finish(required)?;
        let recorded_id = purchase_id.clone();
        let command = Command::RecordPurchase(RecordPurchase {
            purchase_id,
            buyer_user_id,
            amount_minor,
            currency_code,
            purchase_time,
            program_ids: call.principal.program_ids().map(<[ProgramId]>::to_vec),
            fingerprint_key,
        });
        let written = carry_out(&self.0, &call, command).await?;
        let consistency_token =
            self.settle_payment(&recorded_id, written.consistency_token).await?;
        let (purchase, outcomes) = view::purchase(&written.events)?;
        Ok(pb::RecordPurchaseResponse { purchase, outcomes, consistency_token })
    }

    pub(super) async fn get_purchase(
        &self,
        call: Call<pb::GetPurchaseRequest>,
    ) -> Result<pb::GetPurchaseResponse, ApiError> {
        let request = &call.message;
        let mut fields = Fields::of(request);
        let purchase_id = fields.id("purchase_id", &request.purchase_id, PurchaseId::parse);
        let purchase_id = fields.finish(purchase_id)?;
        let position = newest_position(&self.0, &request.consistency_token).await?;
        let stream = StreamKey::of::<Purchase>(&purchase_id);
        let events = log::read_commands_of(self.0.database.pool(), &stream).await?;
        if events.is_empty() {
            return Err(Refusal::PurchaseNotFound(purchase_id).into());
        }
        let (mut purchase, mut outcomes) = view::purchase(&events)?;
        if let Some(own) = call.principal.program_ids() {
            retain_own(&mut outcomes, own);
            if outcomes.is_empty() && !is_recorded_for(&self.0, &purchase_id, own).await? {
                return Err(Refusal::PurchaseNotFound(purchase_id).into());
            }
        }
        reward_state::complete(&self.0, rewards(&mut outcomes)).await?;
        reward_state::add_notes(&self.0, &call.principal, rewards(&mut outcomes)).await?;
        if let Some(purchase) = purchase.as_mut().filter(|_| call.principal.is_back_end()) {
            add_reasons(&self.0, purchase).await?;
        }
        Ok(pb::GetPurchaseResponse { purchase, outcomes, position })
    }

    pub(super) async fn list_purchases(
        &self,
        call: Call<pb::ListPurchasesRequest>,
    ) -> Result<pb::ListPurchasesResponse, ApiError> {
        let request = &call.message;
        let mut fields = Fields::of(request);
        let page = Page::read(&mut fields, &call);
        let (start, end) = fields.period(request.start_time.as_ref(), request.end_time.as_ref());
        let filter = PurchaseFilter {
            buyer_user_id: fields.optional_id(
                "buyer_user_id",
                &request.buyer_user_id,
                UserId::parse,
            ),
            program_id: fields.optional_id("program_id", &request.program_id, ProgramId::parse),
            start,
            end,
        };
        let before = page.before(&mut fields, &request.page_token);
        let before = fields.finish(before)?;
        let freshness = freshness(&self.0, &request.consistency_token, call.deadline).await?;
        let read = self.0.reads.purchases(&filter, before, page.rows(), freshness);
        let At { position, found: PurchasePage { purchases: mut found, examined_down_to } } =
            read.await?;
        if found.is_empty() {
            if let Some(buyer) = &filter.buyer_user_id {
                must_exist(&self.0, Named::User(buyer)).await?;
            }
            if let Some(program_id) = &filter.program_id {
                must_exist(&self.0, Named::Program(program_id)).await?;
            }
        }
        let recorded_at =
            |events: &Vec<RecordedEvent>| events.first().map_or(0, |event| event.position);
        let mut next_page_token = page.cut(&mut found, recorded_at);
        if let (true, Some(down_to)) = (next_page_token.is_empty(), examined_down_to) {
            next_page_token = page.token_after(down_to);
        }
        let mut purchases: Vec<pb::PurchaseDetail> = Vec::with_capacity(found.len());
        for events in &found {
            let (purchase, mut outcomes) = view::purchase(events)?;
            if let Some(own) = call.principal.program_ids() {
                retain_own(&mut outcomes, own);
            }
            purchases.push(pb::PurchaseDetail { purchase, outcomes });
        }
        let listed = purchases.iter_mut().flat_map(|purchase| rewards(&mut purchase.outcomes));
        reward_state::complete(&self.0, listed).await?;
        let last = |index| found.get(index).map_or(0, recorded_at);
        let next_page_token = page.fit(&mut purchases, found.len(), next_page_token, last);
        Ok(pb::ListPurchasesResponse { purchases, next_page_token, position })
    }
}

fn rewards(outcomes: &mut [pb::PurchaseOutcome]) -> impl Iterator<Item = &mut pb::Reward> {
    outcomes.iter_mut().flat_map(|outcome| &mut outcome.rewards)
}

/// Adds to the refunds of a purchase why they were made, in the words of whoever recorded them.
async fn add_reasons(context: &Context, purchase: &mut pb::Purchase) -> Result<(), ApiError> {
    let pb::Purchase { purchase_id, refunds, .. } = purchase;
    let subject = |refund: &pb::Refund| format!("{purchase_id} {}", refund.refund_id);
    let ids: Vec<String> = refunds.iter().map(subject).collect();
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    let notes = notes::latest(context.database.pool(), NoteSubject::Refund, &ids);
    let mut notes = in_time(notes).await?;
    for refund in refunds {
        refund.reason = notes.remove(&subject(refund)).unwrap_or_default();
    }
    Ok(())
}

/// Leaves the outcomes in the programs that a key is limited to.
fn retain_own(outcomes: &mut Vec<pb::PurchaseOutcome>, own: &[ProgramId]) {
    outcomes.retain(|of| own.iter().any(|id| id.as_str() == of.program_id));
}

/// Whether a purchase was recorded by a key that is limited to some of these programs. Such a key may see the purchase
/// also if its buyer is in none of them.
async fn is_recorded_for(
    context: &Context,
    purchase_id: &PurchaseId,
    own: &[ProgramId],
) -> Result<bool, ApiError> {
    let limits = query(&context.database, &context.environment, |work| {
        let purchase = load::<Purchase>(work, purchase_id)?;
        Ok(purchase.recorded().and_then(|recorded| recorded.program_ids.clone()))
    });
    Ok(limits.await?.is_some_and(|limits| limits.iter().all(|id| own.contains(id))))
}
