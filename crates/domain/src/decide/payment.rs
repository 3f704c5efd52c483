//! What a payment provider has told of a payment: the purchase, refunds and disputes, recorded together.
//!
//! A provider's reports come in any order, so a refund can be known before its purchase. All of them are decided one
//! after the other in one unit of work, and so become one append: nobody sees the purchase without what went back.

use crate::decide::money_back::{
    CancelRefund, CloseDispute, OpenDispute, RefundPurchase, cancel_refund, close_dispute,
    open_dispute, refund,
};
use crate::decide::purchase::{self, RecordPurchase};
use crate::{Halt, Work};

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

/// Records each report, in this order. Those that are recorded already change nothing.
pub(super) fn report(work: &mut dyn Work, reports: &[Report]) -> Result<(), Halt> {
    // Each builds on what the one before has recorded, so the first that lacks something ends the round.
    for report in reports {
        let recorded = match report {
            Report::Recorded(input) => purchase::record(work, input),
            Report::Refunded(input) => refund(work, input),
            Report::RefundCancelled(input) => cancel_refund(work, input),
            Report::DisputeOpened(input) => open_dispute(work, input),
            Report::DisputeClosed(input) => close_dispute(work, input),
        };
        match recorded {
            // Another door was faster, or an earlier delivery of the same reports.
            Ok(()) | Err(Halt::AlreadyRecorded(_)) => {}
            Err(halt) => return Err(halt),
        }
    }
    Ok(())
}
