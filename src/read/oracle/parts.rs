//! The parts of a command that are judged one after the other.
//!
//! What a payment provider tells of a payment is one command: a purchase, and what went back of it. Each refund and
//! each dispute is followed by its own consequences, which rest on what those before it have left.

use domain::PurchaseEvent;

use super::{AnyEvent, RecordedEvent};

/// The parts of a command. Most have one.
pub(super) fn of(
    command: &[(RecordedEvent, AnyEvent)],
) -> impl Iterator<Item = &[(RecordedEvent, AnyEvent)]> {
    command.chunk_by(|_, (_, next)| !is_money_back(next))
}

/// Whether a refund or dispute begins, changes or ends.
fn is_money_back(fact: &AnyEvent) -> bool {
    matches!(
        fact,
        AnyEvent::Purchase(
            PurchaseEvent::PurchaseRefunded(_)
                | PurchaseEvent::RefundCancelled(_)
                | PurchaseEvent::DisputeOpened(_)
                | PurchaseEvent::DisputeUpdated(_)
                | PurchaseEvent::DisputeClosed(_)
        )
    )
}
