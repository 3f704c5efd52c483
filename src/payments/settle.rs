//! Recording what is due of a payment: what was told, less what is recorded.

use super::reasons::{Reason, kept};
use super::{PaymentError, Payments, intake};
use crate::engine::query::query;
use crate::engine::{Failure, Submission};
use crate::store::stripe::{self as store, Standing};
use crate::store::{Actor, Door, in_time};
use domain::currency::decimals;
use domain::decide::{
    CancelRefund, CloseDispute, Command, OpenDispute, Price, RecordPurchase, RefundPurchase, Report,
};
use domain::money::MAX_AMOUNT_MINOR;
use domain::{
    DisputeId, DisputeOutcome, DisputeState, Purchase, PurchaseId, RefundId, Refusal, Timestamp,
    User, UserId, load,
};
use stripe::payment::{
    Desired, DisputeState as ToldState, Money, Outcome, Recorded, RecordedDispute, RecordedRefund,
    Rules, Step,
};

/// How often a payment is looked at again because somebody else has changed it.
const MAX_ROUNDS: usize = 20;

/// How a payment stands once nothing is due.
#[derive(Clone, Debug, Default)]
pub struct Settled {
    /// What waits.
    pub parked: Vec<Reason>,
    /// Whether the purchase is recorded.
    pub recorded_user_id: Option<UserId>,
    /// The position at which the last of it was recorded, if any was now.
    pub position: Option<i64>,
}

/// What the log has of a payment.
#[derive(Default)]
struct InLog {
    recorded: Option<Recorded>,
    /// Whether the buyer was erased.
    is_erased: bool,
}

/// What is due, in the words of the domain; or why it cannot be recorded.
type Due = Result<Vec<Report>, Reason>;

impl Payments {
    /// Records what is due of a payment. `None` if nothing was told about it.
    ///
    /// # Errors
    /// [`PaymentError`] if not all that is due is recorded.
    pub async fn settle(
        &self,
        payment_id: &str,
        actor: &Actor,
        door: &Door,
    ) -> Result<Option<Settled>, PaymentError> {
        let pool = self.0.database.pool();
        let mut settled = Settled::default();
        let mut refused: Option<(Refusal, Option<Recorded>)> = None;
        for _ in 0..MAX_ROUNDS {
            let Some(known) = in_time(store::payment(pool, payment_id)).await? else {
                return Ok(None);
            };
            let version = known.version;
            let desired = intake::read(Some(known), payment_id)?.desired(&RULES);
            let InLog { recorded, is_erased } = self.in_log(payment_id, &desired).await?;
            let plan = desired.plan(recorded.as_ref());
            let mut parked: Vec<Reason> = plan.parked.into_iter().map(Reason::Told).collect();
            let currency_code = currency_of(recorded.as_ref(), &desired);
            match self.due(payment_id, &plan.steps, currency_code) {
                Err(reason) => parked.push(reason),
                Ok(reports) if reports.is_empty() => {}
                Ok(reports) => match refused.take() {
                    Some((refusal, on)) if on == recorded => parked.push(reason_of(refusal)),
                    Some(_) | None => {
                        let command = Command::ReportPayment(reports);
                        let submission = Submission::new(command, actor.clone(), door.clone());
                        match self.0.engine.execute(submission).await {
                            Ok(committed) => settled.position = Some(committed.position),
                            // If it is refused again without anything new, it waits.
                            Err(Failure::Refused(refusal)) => refused = Some((refusal, recorded)),
                            Err(failure) => return Err(failure.into()),
                        }
                        continue;
                    }
                },
            }
            let buyer = buyer_of(recorded.as_ref(), &desired);
            let standing = Standing { user_id: buyer.as_ref(), is_erased, parked: kept(&parked) };
            let noted = store::note_standing(pool, payment_id, version, &standing);
            if in_time(noted).await? {
                settled.parked = parked;
                settled.recorded_user_id = buyer.filter(|_| recorded.is_some());
                return Ok(Some(settled));
            }
        }
        Err(PaymentError::Contended)
    }

    async fn in_log(&self, payment_id: &str, desired: &Desired) -> Result<InLog, PaymentError> {
        let Ok(purchase_id) = PurchaseId::parse(payment_id) else { return Ok(InLog::default()) };
        let found = query(&self.0.database, &self.0.environment, |work| {
            let recorded = recorded(&*load::<Purchase>(work, &purchase_id)?);
            let is_erased = match buyer_of(recorded.as_ref(), desired) {
                Some(buyer) => {
                    let user = load::<User>(work, &buyer)?;
                    user.is_registered() && !user.exists()
                }
                None => false,
            };
            Ok(InLog { recorded, is_erased })
        });
        Ok(found.await?)
    }

    fn due(&self, payment_id: &str, steps: &[Step], currency_code: &str) -> Due {
        let unusable = |object_id: &str| Reason::UnusableId { object_id: object_id.into() };
        let purchase_id = PurchaseId::parse(payment_id).map_err(|_| unusable(payment_id))?;
        let refund = |id: &str| RefundId::parse(id).map_err(|_| unusable(id));
        let dispute = |id: &str| DisputeId::parse(id).map_err(|_| unusable(id));
        let price =
            |amount_minor| Some(Price { amount_minor, currency_code: currency_code.into() });
        let report = |step: &Step| {
            let purchase_id = purchase_id.clone();
            Ok(match step {
                Step::Record(desired) => {
                    let buyer = UserId::parse(&desired.buyer_user_id);
                    // A clock of Stripe may be a little ahead.
                    let now = (self.0.environment.now)();
                    let time = Timestamp(desired.time_seconds.saturating_mul(1_000_000)).min(now);
                    if desired.paid.amount_minor > MAX_AMOUNT_MINOR {
                        let refusal = format!("more than {MAX_AMOUNT_MINOR} minor units were paid");
                        return Err(Reason::Refused { refusal });
                    }
                    Report::Recorded(RecordPurchase {
                        purchase_id,
                        buyer_user_id: buyer.map_err(|_| unusable(&desired.buyer_user_id))?,
                        amount_minor: desired.paid.amount_minor,
                        currency_code: desired.paid.currency_code.clone(),
                        purchase_time: Some(time),
                        program_ids: None,
                        fingerprint_key: None,
                    })
                }
                Step::Refund { refund_id, amount_minor } => Report::Refunded(RefundPurchase {
                    purchase_id,
                    refund_id: refund(refund_id)?,
                    amount: price(*amount_minor),
                    is_report: true,
                    reason: None,
                    own_programs: None,
                }),
                Step::CancelRefund { refund_id } => Report::RefundCancelled(CancelRefund {
                    purchase_id,
                    refund_id: refund(refund_id)?,
                    own_programs: None,
                }),
                Step::OpenDispute { dispute_id, amount_minor } => {
                    Report::DisputeOpened(OpenDispute {
                        purchase_id,
                        dispute_id: dispute(dispute_id)?,
                        amount: price(*amount_minor),
                        own_programs: None,
                    })
                }
                Step::CloseDispute { dispute_id, outcome } => Report::DisputeClosed(CloseDispute {
                    purchase_id,
                    dispute_id: dispute(dispute_id)?,
                    outcome: match outcome {
                        Outcome::Won => DisputeOutcome::Won,
                        Outcome::Lost => DisputeOutcome::Lost,
                    },
                    own_programs: None,
                }),
            })
        };
        steps.iter().map(report).collect()
    }
}

/// What the crate of Stripe's webhooks does not know itself.
pub(super) const RULES: Rules<'static> =
    Rules { iso_digits: &decimals, is_user_id: &|text| UserId::parse(text).is_ok() };

fn reason_of(refusal: Refusal) -> Reason {
    match refusal {
        Refusal::UserNotFound(user_id) => Reason::UnknownBuyer { user_id: user_id.to_string() },
        refusal => Reason::Refused { refusal: refusal.to_string() },
    }
}

/// Who bought: by what is recorded, else by what was told.
fn buyer_of(recorded: Option<&Recorded>, desired: &Desired) -> Option<UserId> {
    let told = || desired.purchase.as_ref().map(|purchase| &purchase.buyer_user_id);
    let user_id = recorded.map(|recorded| &recorded.buyer_user_id).or_else(told);
    UserId::parse(user_id?).ok()
}

/// The currency in which refunds and disputes are recorded.
fn currency_of<'a>(recorded: Option<&'a Recorded>, desired: &'a Desired) -> &'a str {
    let paid = recorded.map(|recorded| &recorded.paid).or(desired.paid.as_ref());
    paid.map_or("", |paid| &paid.currency_code)
}

/// What is recorded of a purchase, in the words of the crate of Stripe's webhooks.
fn recorded(purchase: &Purchase) -> Option<Recorded> {
    let of = purchase.recorded()?;
    let money_back = purchase.money_back();
    let refunds = money_back.refunds().iter().map(|refund| RecordedRefund {
        refund_id: refund.refund_id.to_string(),
        amount_minor: refund.amount_minor,
        is_cancelled: refund.is_cancelled,
    });
    let disputes = money_back.disputes().iter().map(|dispute| RecordedDispute {
        dispute_id: dispute.dispute_id.to_string(),
        amount_minor: dispute.amount_minor,
        state: match dispute.state {
            DisputeState::Open => Some(ToldState::Open),
            DisputeState::Closed(DisputeOutcome::Won) => Some(ToldState::Closed(Outcome::Won)),
            DisputeState::Closed(DisputeOutcome::Lost) => Some(ToldState::Closed(Outcome::Lost)),
            DisputeState::Closed(DisputeOutcome::Withdrawn) => None,
        },
    });
    Some(Recorded {
        buyer_user_id: of.buyer_user_id.to_string(),
        paid: Money { amount_minor: of.amount_minor, currency_code: of.currency_code.clone() },
        refunds: refunds.collect(),
        disputes: disputes.collect(),
    })
}
