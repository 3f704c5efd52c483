//! Recording what is due of a payment: what was told, less what is recorded.

use std::collections::BTreeMap;

use super::reasons::{Reason, kept};
use super::{PaymentError, Payments, intake};
use crate::engine::query::{QueryError, query};
use crate::engine::{Committed, Failure, Submission};
use crate::hang;
use crate::store::stripe::{self as store, Noted, Standing};
use crate::store::{Actor, Door, in_time};
use domain::currency::decimals;
use domain::decide::{
    CancelRefund, CloseDispute, Command, OpenDispute, Price, RecordPurchase, RefundPurchase,
    Report, ReportPayment, refused_reports,
};
use domain::money::MAX_AMOUNT_MINOR;
use domain::{
    DisputeId, DisputeOutcome, DisputeState, Purchase, PurchaseId, RefundId, Refusal, StreamKey,
    Timestamp, UserId, load,
};
use stripe::payment::{
    Desired, DisputeState as ToldState, Money, Outcome, Payment, Recorded, RecordedDispute,
    RecordedRefund, Rules, Step, is_reserved,
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
    /// The last sequence of the purchase's stream; 0 if there is no purchase.
    sequence: i64,
}

/// What is due, in the words of the domain, and what waits.
pub(crate) struct Due {
    pub(crate) reports: Vec<Report>,
    pub(crate) waiting: Vec<Reason>,
}

/// What of a payment cannot be recorded, by the id of the purchase, refund or dispute, and why.
pub(crate) type Unrecordable = BTreeMap<String, Reason>;

/// What became of reports.
enum Submitted {
    /// There is nothing to record.
    Nothing,
    /// The purchase has changed, by these reports or by others. What is due has to be found anew.
    Moved {
        /// The position at which these reports were recorded, if they were.
        position: Option<i64>,
    },
    /// Nothing was recorded, since this was refused. What else is due has to be found without it.
    Refused(Unrecordable),
}

impl Payments {
    /// Records what is due of a payment by what Stripe has told. `None` if that is nothing.
    ///
    /// # Errors
    /// [`PaymentError`] if not all that is due is recorded.
    pub async fn settle_as_told(&self, payment_id: &str) -> Result<Option<Settled>, PaymentError> {
        self.settle(payment_id, &Actor::SYSTEM, &Door::webhook("stripe")).await
    }

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
        let mut last_position = None;
        'rounds: for _ in 0..MAX_ROUNDS {
            let Some(known) = in_time(store::payment(pool, payment_id)).await? else {
                return Ok(None);
            };
            let version = known.version;
            let payment = intake::read(Some(known), payment_id)?;
            let named = intake::named_by(&payment);
            let InLog { recorded, sequence } = self.in_log(payment_id).await?;
            let now = (self.0.environment.now)();
            let mut unrecordable = Unrecordable::new();
            let waiting = loop {
                let Due { reports, waiting } =
                    due(&payment, recorded.as_ref(), now, &mut unrecordable);
                match self.submit(payment_id, sequence, reports, (actor, door)).await? {
                    Submitted::Nothing => break waiting,
                    Submitted::Moved { position } => {
                        last_position = position.or(last_position);
                        continue 'rounds;
                    }
                    Submitted::Refused(refused) => {
                        let known = unrecordable.len();
                        unrecordable.extend(refused);
                        // What is refused is not due again. If it were, waiting is better than asking for ever.
                        if unrecordable.len() == known {
                            break waiting;
                        }
                    }
                }
            };
            let parked: Vec<Reason> = waiting
                .into_iter()
                .filter(|reason| !payment.is_acknowledged(&reason.issue_id()))
                .collect();
            let buyer = buyer_of(recorded.as_ref(), &named);
            let standing = Standing {
                version,
                sequence,
                user_id: buyer.as_ref(),
                named: &named,
                parked: kept(&parked),
            };
            hang::point("stripe.noting");
            match in_time(store::note_standing(pool, payment_id, &standing)).await? {
                Noted::Noted => {
                    let recorded_user_id = buyer.filter(|_| recorded.is_some());
                    let position = last_position;
                    return Ok(Some(Settled { parked, recorded_user_id, position }));
                }
                Noted::Outdated => {}
                Noted::Erased(erased) => self.forget(payment_id, &erased).await?,
            }
        }
        Err(PaymentError::Contended)
    }

    async fn in_log(&self, payment_id: &str) -> Result<InLog, PaymentError> {
        let Ok(purchase_id) = PurchaseId::parse(payment_id) else { return Ok(InLog::default()) };
        let key = StreamKey::of::<Purchase>(&purchase_id);
        let found = query(&self.0.database, &self.0.environment, |work| {
            let recorded = recorded(&*load::<Purchase>(work, &purchase_id)?);
            Ok(InLog { recorded, sequence: work.last_sequence(&key) })
        });
        Ok(found.await?)
    }

    /// Records reports that rest on a state of the purchase: all of them, since one can undo what another one makes up
    /// for, or none.
    async fn submit(
        &self,
        payment_id: &str,
        known_sequence: i64,
        reports: Vec<Report>,
        by: (&Actor, &Door),
    ) -> Result<Submitted, PaymentError> {
        let Some(purchase_id) = PurchaseId::parse(payment_id).ok().filter(|_| !reports.is_empty())
        else {
            return Ok(Submitted::Nothing);
        };
        let report = ReportPayment { purchase_id, known_sequence, reports };
        match self.report(report.clone(), by).await? {
            Ok(committed) if committed.events.is_empty() => Ok(Submitted::Nothing),
            Ok(committed) => Ok(Submitted::Moved { position: Some(committed.position) }),
            Err(Refusal::PurchaseMoved(_)) => Ok(Submitted::Moved { position: None }),
            Err(refusal) => self.refused(&report, refusal).await,
        }
    }

    /// Which of the reports were refused.
    async fn refused(
        &self,
        report: &ReportPayment,
        refusal: Refusal,
    ) -> Result<Submitted, PaymentError> {
        let refused = if report.reports.len() == 1 {
            vec![(0, refusal)]
        } else {
            let (database, environment) = (&self.0.database, &self.0.environment);
            match query(database, environment, |work| refused_reports(work, report)).await {
                Ok(refused) => refused,
                Err(QueryError::Refused(Refusal::PurchaseMoved(_))) => Vec::new(),
                Err(error) => return Err(error.into()),
            }
        };
        if refused.is_empty() {
            // What stood in the way has changed since.
            return Ok(Submitted::Moved { position: None });
        }
        let mut unrecordable = Unrecordable::new();
        for (index, refusal) in refused {
            let Some(report) = report.reports.get(index) else { continue };
            let reason = reason_of(refusal, report);
            unrecordable.entry(report.object_id().into()).or_insert(reason);
        }
        Ok(Submitted::Refused(unrecordable))
    }

    async fn report(
        &self,
        report: ReportPayment,
        (actor, door): (&Actor, &Door),
    ) -> Result<Result<Committed, Refusal>, PaymentError> {
        let command = Command::ReportPayment(report);
        let submission = Submission::new(command, actor.clone(), door.clone());
        match self.0.engine.execute(submission).await {
            Ok(committed) => Ok(Ok(committed)),
            Err(Failure::Refused(refusal)) => Ok(Err(refusal)),
            Err(failure) => Err(failure.into()),
        }
    }
}

/// What is due of a payment, given what is recorded of it, without what cannot be recorded. Adds to that what has ids
/// that nothing can be recorded under.
pub(crate) fn due(
    payment: &Payment,
    recorded: Option<&Recorded>,
    now: Timestamp,
    unrecordable: &mut Unrecordable,
) -> Due {
    let desired = payment.desired(&RULES);
    let currency_code = currency_of(recorded, &desired);
    loop {
        let known = unrecordable.len();
        let plan = desired.plan(recorded, &unrecordable.keys().cloned().collect());
        let mut reports = Vec::new();
        for step in &plan.steps {
            let object_id = step.object_id();
            let is_told = desired.refunds.contains_key(object_id);
            let report = match step {
                Step::Refund { .. } if is_told && is_reserved(object_id) => {
                    Err(Reason::UnusableId { object_id: object_id.into() })
                }
                _ => report_of(payment.intent_id(), step, currency_code, now),
            };
            match report {
                Ok(report) => reports.push(report),
                Err(reason) => {
                    unrecordable.entry(object_id.into()).or_insert(reason);
                }
            }
        }
        // The others may make up for what cannot be recorded, and have to be planned without it.
        if unrecordable.len() == known {
            let told = plan.parked.into_iter().map(Reason::Told);
            let waiting = told.chain(merged(unrecordable)).collect();
            return Due { reports, waiting };
        }
    }
}

/// The reasons why something cannot be recorded, each once.
fn merged(unrecordable: &Unrecordable) -> Vec<Reason> {
    let mut reasons: Vec<Reason> = Vec::new();
    for reason in unrecordable.values() {
        let Reason::Refused { refusal, object_ids } = reason else {
            reasons.push(reason.clone());
            continue;
        };
        let alike = reasons.iter_mut().find_map(|known| match known {
            Reason::Refused { refusal: of, object_ids } if of == refusal => Some(object_ids),
            _ => None,
        });
        match alike {
            Some(known) => known.extend_from_slice(object_ids),
            None => reasons.push(reason.clone()),
        }
    }
    reasons
}

fn report_of(
    payment_id: &str,
    step: &Step,
    currency_code: &str,
    now: Timestamp,
) -> Result<Report, Reason> {
    let unusable = |object_id: &str| Reason::UnusableId { object_id: object_id.into() };
    let purchase_id = PurchaseId::parse(payment_id).map_err(|_| unusable(payment_id))?;
    let refund = |id: &str| RefundId::parse(id).map_err(|_| unusable(id));
    let dispute = |id: &str| DisputeId::parse(id).map_err(|_| unusable(id));
    let price = |amount_minor| Some(Price { amount_minor, currency_code: currency_code.into() });
    Ok(match step {
        Step::Record(desired) => {
            let buyer = UserId::parse(&desired.buyer_user_id);
            // A clock of Stripe may be a little ahead.
            let time = Timestamp(desired.time_seconds.saturating_mul(1_000_000)).min(now);
            if desired.paid.amount_minor > MAX_AMOUNT_MINOR {
                let refusal = format!("more than {MAX_AMOUNT_MINOR} minor units were paid");
                return Err(Reason::Refused { refusal, object_ids: Vec::new() });
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
        Step::OpenDispute { dispute_id, amount_minor } => Report::DisputeOpened(OpenDispute {
            purchase_id,
            dispute_id: dispute(dispute_id)?,
            amount: price(*amount_minor),
            own_programs: None,
        }),
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
}

/// What the crate of Stripe's webhooks does not know itself.
pub(super) const RULES: Rules<'static> =
    Rules { iso_digits: &decimals, is_user_id: &|text| UserId::parse(text).is_ok() };

fn reason_of(refusal: Refusal, report: &Report) -> Reason {
    let object_ids = match report {
        Report::Recorded(_) => Vec::new(),
        of_purchase => vec![of_purchase.object_id().into()],
    };
    match refusal {
        Refusal::UserNotFound(user_id) => Reason::UnknownBuyer { user_id: user_id.to_string() },
        refusal => Reason::Refused { refusal: refusal.to_string(), object_ids },
    }
}

/// Who bought: by what is recorded, else the first who is named, whether or not there is a purchase already.
fn buyer_of(recorded: Option<&Recorded>, named: &[UserId]) -> Option<UserId> {
    match recorded {
        Some(recorded) => UserId::parse(&recorded.buyer_user_id).ok(),
        None => named.first().cloned(),
    }
}

/// The currency in which refunds and disputes are recorded.
fn currency_of<'a>(recorded: Option<&'a Recorded>, desired: &'a Desired) -> &'a str {
    let paid = recorded.map(|recorded| &recorded.paid).or(desired.paid.as_ref());
    paid.map_or("", |paid| &paid.currency_code)
}

/// What is recorded of a purchase, in the words of the crate of Stripe's webhooks.
pub(crate) fn recorded(purchase: &Purchase) -> Option<Recorded> {
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
