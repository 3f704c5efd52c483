//! `settle_payment`: records what is due of a payment of Stripe of which somebody else than a webhook has recorded or said
//! something. The call has mostly done that already, so that there is nothing left.

use std::time::Duration;

use serde_json::Value;

use crate::jobs::{Attempt, Doing, Handler, JobError, TakenJob};
use crate::payments::{JOB, Payments};

pub(super) struct SettlePayment {
    pub(super) payments: Payments,
}

impl Handler for SettlePayment {
    fn kind(&self) -> &'static str {
        JOB
    }

    fn attempt<'a>(&'a self, job: &'a TakenJob, _attempt: &'a mut Attempt) -> Doing<'a> {
        Box::pin(async move { self.settle(job).await })
    }

    fn time_limit(&self) -> Duration {
        Duration::from_mins(1)
    }
}

impl SettlePayment {
    async fn settle(&self, job: &TakenJob) -> Result<(), JobError> {
        let payment_id = job.payload.get("payment_id").and_then(Value::as_str);
        let payment_id =
            payment_id.ok_or_else(|| JobError::Hopeless("the job names no payment".into()))?;
        let settled = self.payments.settle_as_told(payment_id).await;
        settled.map(drop).map_err(|error| JobError::Again(error.to_string()))
    }
}
