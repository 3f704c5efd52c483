//! The kinds of jobs, and the list of a server's handlers.

mod clean;
mod expiring;
mod mail;
mod make_up;
mod payout;
mod settle_line;
mod settle_payment;

use std::sync::Arc;

pub use mail::SendMail;

use super::{Handlers, JobMetrics, Limits};
use crate::engine::{Engine, Environment};
use crate::payments::Payments;

/// All handlers of a server.
#[must_use]
pub fn all(
    limits: &Limits,
    mail: SendMail,
    engine: Engine,
    payments: Payments,
    environment: Environment,
    counts: &JobMetrics,
) -> Handlers {
    let clean = clean::Clean {
        kept: limits.kept,
        mails_kept: limits.mails_kept,
        evidence_kept: limits.evidence_kept,
        notes_kept: limits.notes_kept,
        stripe_events_kept: limits.stripe_events_kept,
        sign_ups_kept: limits.sign_ups_kept,
    };
    let [urgent, other] = mail::Lane::all(mail);
    let [collect, settle] = payout::Payouts::all(&engine, counts);
    let make_up = make_up::MakeUp { engine: engine.clone() };
    let settle_line = settle_line::SettleLine { engine, environment };
    let settle_payment = settle_payment::SettlePayment { payments };
    vec![
        Arc::new(clean),
        Arc::new(urgent),
        Arc::new(other),
        Arc::new(make_up),
        Arc::new(settle_line),
        Arc::new(settle_payment),
        Arc::new(collect),
        Arc::new(settle),
    ]
}
