//! Refunds and disputes: what goes back of a purchase, or may.

use crate::decide::settle;
use crate::note::write_note;
use crate::purchase::terms::Terms;
use crate::rehearsal::Rehearsal;
use crate::{
    AnyEvent, Dispute, DisputeClosed, DisputeId, DisputeOpened, DisputeOutcome, DisputeState,
    DisputeUpdated, Halt, MAX_DISPUTES, MAX_REFUNDS, NoteSubject, OwnEvent, Personal, ProgramId,
    Purchase, PurchaseCommand, PurchaseId, PurchaseRecorded, PurchaseRefunded, Refund,
    RefundCancelled, RefundId, Refusal, StreamKey, UserId, Work, each, load,
};

/// An amount of a purchase's price, as a caller names it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are self-explanatory")]
pub struct Price {
    pub amount_minor: i64,
    pub currency_code: String,
}

/// A purchase was refunded, wholly or in part.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are self-explanatory")]
pub struct RefundPurchase {
    pub purchase_id: PurchaseId,
    pub refund_id: RefundId,
    /// `None` is all that is left.
    pub amount: Option<Price>,
    /// Whether it is a report of what has happened already, so that more than is left is no reason to refuse it.
    pub is_report: bool,
    /// Why, in words for people.
    pub reason: Option<Personal>,
    /// The programs that the caller is limited to.
    pub own_programs: Option<Vec<ProgramId>>,
}

/// A refund did not happen after all.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are self-explanatory")]
pub struct CancelRefund {
    pub purchase_id: PurchaseId,
    pub refund_id: RefundId,
    pub own_programs: Option<Vec<ProgramId>>,
}

/// A purchase is disputed, wholly or in part; or another part of it than before.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are self-explanatory")]
pub struct OpenDispute {
    pub purchase_id: PurchaseId,
    pub dispute_id: DisputeId,
    /// `None` is the whole price.
    pub amount: Option<Price>,
    pub own_programs: Option<Vec<ProgramId>>,
}

/// A dispute was decided.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are self-explanatory")]
pub struct CloseDispute {
    pub purchase_id: PurchaseId,
    pub dispute_id: DisputeId,
    pub outcome: DisputeOutcome,
    pub own_programs: Option<Vec<ProgramId>>,
}

/// A purchase that a caller may change, and what the price comes to.
struct Found {
    purchase: std::sync::Arc<Purchase>,
    buyer_user_id: UserId,
    currency_code: String,
    terms: Terms,
}

/// The purchase. A caller who is limited to some programs finds those that count in no other.
fn find(
    work: &mut dyn Work,
    purchase_id: &PurchaseId,
    own_programs: Option<&[ProgramId]>,
) -> Result<Found, Halt> {
    let purchase = load::<Purchase>(work, purchase_id)?;
    let is_own = |recorded: &&PurchaseRecorded| {
        own_programs.is_none_or(|own| {
            let of = recorded.program_ids.as_deref();
            of.is_some_and(|of| of.iter().all(|program_id| own.contains(program_id)))
        })
    };
    let recorded = purchase.recorded().filter(is_own);
    let recorded = recorded.ok_or_else(|| Refusal::PurchaseNotFound(purchase_id.clone()))?;
    let buyer_user_id = recorded.buyer_user_id.clone();
    let currency_code = recorded.currency_code.clone();
    let terms = purchase.terms();
    Ok(Found { purchase, buyer_user_id, currency_code, terms })
}

impl Found {
    /// How much a refund can be at most, and how much it is: without an amount, all that is left. What only a running
    /// total of Stripe has told of can be this refund, so it is left; but whoever names no amount means it only if
    /// there is nothing else.
    fn left(&self, purchase_id: &PurchaseId, amount: Option<i64>) -> (i64, i64) {
        let Terms { paid_minor, refunded_minor, .. } = self.terms;
        let left_minor = paid_minor - refunded_minor;
        let with_totals_minor = if purchase_id.is_of_stripe() {
            paid_minor - self.purchase.money_back().refunded_by_id(paid_minor)
        } else {
            left_minor
        };
        let rest_minor = if left_minor > 0 { left_minor } else { with_totals_minor };
        (with_totals_minor, amount.unwrap_or(rest_minor))
    }

    /// The amount, which must be in the currency of the purchase.
    fn amount_of(&self, purchase_id: &PurchaseId, price: &Price) -> Result<i64, Refusal> {
        if price.currency_code == self.currency_code {
            return Ok(price.amount_minor);
        }
        let (purchase_id, currency_code) = (purchase_id.clone(), self.currency_code.clone());
        Err(Refusal::CurrencyMismatch { purchase_id, currency_code })
    }
}

/// The answer to a repetition: that of the command which wrote this event.
fn repeated(
    purchase_id: &PurchaseId,
    event_type: &'static str,
    field: &'static str,
    value: &str,
) -> Halt {
    let stream = StreamKey::of::<Purchase>(purchase_id);
    Halt::AlreadyRecorded(OwnEvent { stream, event_type, field: Some((field, value.into())) })
}

pub(super) fn refund(work: &mut dyn Work, input: &RefundPurchase) -> Result<(), Halt> {
    let RefundPurchase { purchase_id, refund_id, is_report, .. } = input;
    let found = find(work, purchase_id, input.own_programs.as_deref())?;
    let amount = input.amount.as_ref().map(|price| found.amount_of(purchase_id, price));
    let amount = amount.transpose()?;
    let money_back = found.purchase.money_back();
    if let Some(Refund { amount_minor, .. }) = money_back.find_refund(refund_id) {
        if amount.is_none_or(|amount| amount == *amount_minor) {
            return Err(repeated(purchase_id, "PurchaseRefunded", "refund_id", refund_id.as_str()));
        }
        return Err(Refusal::RefundIdReused(purchase_id.clone(), refund_id.clone()).into());
    }
    let (left_minor, amount_minor) = found.left(purchase_id, amount);
    if !is_report && (amount_minor > left_minor || left_minor == 0) {
        let purchase_id = purchase_id.clone();
        return Err(Refusal::RefundExceedsPurchase { purchase_id, left_minor }.into());
    }
    if !money_back.has_room_for(refund_id) {
        let (purchase_id, limit) = (purchase_id.clone(), MAX_REFUNDS);
        return Err(Refusal::TooManyRefunds { purchase_id, limit }.into());
    }
    let refunded = |refund_id: RefundId, amount_minor| {
        let currency_code = found.currency_code.clone();
        PurchaseCommand::Refund(PurchaseRefunded { refund_id, amount_minor, currency_code })
    };
    let about = format!("{purchase_id} {}", input.refund_id);
    write_note(
        work,
        NoteSubject::Refund,
        about,
        Some(&found.buyer_user_id),
        input.reason.as_ref(),
    )?;
    // Whoever reports what Stripe has told knows what its totals mean.
    let (named, rests) = if *is_report || !purchase_id.is_of_stripe() {
        Default::default()
    } else {
        money_back.named_of_totals(amount_minor)
    };
    let own = std::iter::once((refund_id.clone(), amount_minor));
    // First what gives back, so that nothing goes back twice in between.
    let cancelled = named
        .into_iter()
        .map(|refund_id| PurchaseCommand::CancelRefund(RefundCancelled { refund_id }));
    let made = own.chain(rests).map(|(refund_id, minor)| refunded(refund_id, minor));
    each(cancelled.chain(made), |input| settle::change(work, purchase_id, input))
}

/// Tries out a refund, and returns what it would record.
///
/// # Errors
/// The refusal that the refund would get.
pub fn rehearse_refund(
    work: &mut dyn Work,
    input: &RefundPurchase,
) -> Result<Vec<(StreamKey, AnyEvent)>, Halt> {
    let mut work = Rehearsal::on(work);
    refund(&mut work, input)?;
    Ok(work.into_events())
}

pub(super) fn cancel_refund(work: &mut dyn Work, input: &CancelRefund) -> Result<(), Halt> {
    let CancelRefund { purchase_id, refund_id, own_programs } = input;
    let found = find(work, purchase_id, own_programs.as_deref())?;
    let refund = found.purchase.money_back().find_refund(refund_id);
    let refund =
        refund.ok_or_else(|| Refusal::RefundNotFound(purchase_id.clone(), refund_id.clone()))?;
    if refund.is_cancelled {
        return Err(repeated(purchase_id, "RefundCancelled", "refund_id", refund_id.as_str()));
    }
    let cancelled = RefundCancelled { refund_id: refund_id.clone() };
    settle::change(work, purchase_id, PurchaseCommand::CancelRefund(cancelled))
}

pub(super) fn open_dispute(work: &mut dyn Work, input: &OpenDispute) -> Result<(), Halt> {
    let OpenDispute { purchase_id, dispute_id, .. } = input;
    let found = find(work, purchase_id, input.own_programs.as_deref())?;
    let amount = input.amount.as_ref().map(|price| found.amount_of(purchase_id, price));
    let amount = amount.transpose()?;
    let paid_minor = found.terms.paid_minor;
    let amount_minor = amount.unwrap_or(paid_minor);
    if amount_minor > paid_minor {
        let purchase_id = purchase_id.clone();
        return Err(Refusal::DisputeExceedsPurchase { purchase_id, paid_minor }.into());
    }
    let money_back = found.purchase.money_back();
    let change = match money_back.find_dispute(dispute_id) {
        Some(known) if known.amount_minor == amount_minor => {
            let id = dispute_id.as_str();
            return Err(repeated(purchase_id, "DisputeOpened", "dispute_id", id));
        }
        Some(&Dispute { state: DisputeState::Closed(outcome), amount_minor, .. }) => {
            let (purchase_id, dispute_id) = (purchase_id.clone(), dispute_id.clone());
            return Err(Refusal::DisputeClosedAlready {
                purchase_id,
                dispute_id,
                amount_minor,
                outcome,
            }
            .into());
        }
        Some(_) => PurchaseCommand::UpdateDispute(DisputeUpdated {
            dispute_id: dispute_id.clone(),
            amount_minor,
        }),
        None if money_back.disputes().len() >= MAX_DISPUTES => {
            let (purchase_id, limit) = (purchase_id.clone(), MAX_DISPUTES);
            return Err(Refusal::TooManyDisputes { purchase_id, limit }.into());
        }
        None => PurchaseCommand::OpenDispute(DisputeOpened {
            dispute_id: dispute_id.clone(),
            amount_minor,
        }),
    };
    settle::change(work, purchase_id, change)
}

pub(super) fn close_dispute(work: &mut dyn Work, input: &CloseDispute) -> Result<(), Halt> {
    let CloseDispute { purchase_id, dispute_id, outcome, own_programs } = input;
    let found = find(work, purchase_id, own_programs.as_deref())?;
    let (purchase_id, dispute_id) = (purchase_id.clone(), dispute_id.clone());
    let known = found.purchase.money_back().find_dispute(&dispute_id);
    match known.map(|dispute| (dispute.state, dispute.amount_minor)) {
        None => Err(Refusal::DisputeNotFound { purchase_id, dispute_id }.into()),
        Some((DisputeState::Closed(before), _)) if before == *outcome => {
            Err(repeated(&purchase_id, "DisputeClosed", "dispute_id", dispute_id.as_str()))
        }
        Some((DisputeState::Closed(outcome), amount_minor)) => {
            Err(Refusal::DisputeClosedAlready { purchase_id, dispute_id, amount_minor, outcome }
                .into())
        }
        Some((DisputeState::Open, _)) => {
            let closed = DisputeClosed { dispute_id, outcome: *outcome };
            settle::change(work, &purchase_id, PurchaseCommand::CloseDispute(closed))
        }
    }
}
