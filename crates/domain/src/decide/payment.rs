//! What a payment provider has told of a payment: the purchase, refunds and disputes, recorded together.
//!
//! A provider's reports come in any order, so a refund can be known before its purchase. All of them are decided one
//! after the other in one unit of work, and so become one append: nobody sees the purchase without what went back.

use crate::decide::money_back::{
    CancelRefund, CloseDispute, OpenDispute, RefundPurchase, cancel_refund, close_dispute,
    open_dispute, refund,
};
use crate::decide::purchase::{self, RecordPurchase};
use crate::rehearsal::Rehearsal;
use crate::{Halt, Purchase, PurchaseId, Refusal, StreamKey, Work, load, peek_new};

/// Something that has happened to a payment.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are self-explanatory")]
pub enum Report {
    Recorded(RecordPurchase),
    Refunded(RefundPurchase),
    RefundCancelled(CancelRefund),
    DisputeOpened(OpenDispute),
    DisputeClosed(CloseDispute),
}

impl Report {
    /// What it is about: the purchase, a refund or a dispute.
    #[must_use]
    pub fn object_id(&self) -> &str {
        match self {
            Self::Recorded(input) => input.purchase_id.as_str(),
            Self::Refunded(input) => input.refund_id.as_str(),
            Self::RefundCancelled(input) => input.refund_id.as_str(),
            Self::DisputeOpened(input) => input.dispute_id.as_str(),
            Self::DisputeClosed(input) => input.dispute_id.as_str(),
        }
    }
}

/// What has happened to one payment, as it is to be recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReportPayment {
    /// The payment, which is the purchase.
    pub purchase_id: PurchaseId,
    /// The last sequence of the purchase's stream on which the reports rest; 0 if there is no purchase yet. What is due
    /// depends on what is recorded: two who learn of a refund in two ways at the same moment must not both record it.
    pub known_sequence: i64,
    /// What has happened, all about this payment.
    pub reports: Vec<Report>,
}

/// Records each report, in this order. Those that are recorded already change nothing.
pub(super) fn report(work: &mut dyn Work, input: &ReportPayment) -> Result<(), Halt> {
    check_sequence(work, input)?;
    // Each builds on what the one before has recorded, so the first that lacks something ends the round.
    for report in &input.reports {
        record(work, report)?;
    }
    Ok(())
}

/// Tries out reports, and returns which of them, by their index, are refused and why. Of a purchase that cannot be
/// recorded, the rest cannot be tried.
///
/// # Errors
/// [`Refusal::PurchaseMoved`] if they rest on another state of the purchase.
pub fn refused_reports(
    work: &mut dyn Work,
    input: &ReportPayment,
) -> Result<Vec<(usize, Refusal)>, Halt> {
    let mut work = Rehearsal::on(work);
    check_sequence(&mut work, input)?;
    let mut refused = Vec::new();
    for (index, report) in input.reports.iter().enumerate() {
        match record(&mut work, report) {
            Ok(()) => {}
            Err(Halt::Refused(refusal)) => {
                refused.push((index, refusal));
                if matches!(report, Report::Recorded(_)) {
                    break;
                }
            }
            Err(halt) => return Err(halt),
        }
    }
    Ok(refused)
}

fn record(work: &mut dyn Work, report: &Report) -> Result<(), Halt> {
    let recorded = match report {
        Report::Recorded(input) => purchase::record(work, input),
        Report::Refunded(input) => refund(work, input),
        Report::RefundCancelled(input) => cancel_refund(work, input),
        Report::DisputeOpened(input) => open_dispute(work, input),
        Report::DisputeClosed(input) => close_dispute(work, input),
    };
    match recorded {
        // It is there already, as whoever has found it due should have seen.
        Err(Halt::AlreadyRecorded(_)) => Ok(()),
        recorded => recorded,
    }
}

/// Refuses reports that rest on another state of the purchase than the present one.
fn check_sequence(work: &mut dyn Work, input: &ReportPayment) -> Result<(), Halt> {
    let purchase_id = &input.purchase_id;
    if input.known_sequence == 0 {
        peek_new::<Purchase>(work, purchase_id)?;
    } else {
        load::<Purchase>(work, purchase_id)?;
    }
    if work.last_sequence(&StreamKey::of::<Purchase>(purchase_id)) == input.known_sequence {
        Ok(())
    } else {
        Err(Refusal::PurchaseMoved(purchase_id.clone()).into())
    }
}
