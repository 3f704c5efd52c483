//! Having a job or a mail done again: the event says by whom, and its append queues the job.

use crate::api::Context;
use crate::api::errors::{ApiError, internal};
use crate::api::guard::Call;
use crate::api::pb::ErrorReason;
use crate::engine::Submission;
use crate::store::{in_time, jobs};
use domain::decide::Command;
use domain::{JobId, Timestamp};

/// How often a job is read again that others retry at the same time.
pub(super) const MAX_READS: usize = 5;

/// Queues a job that was seen to have ended after so many attempts. Returns when; `None` if somebody else has retried
/// it meanwhile, so that it is to be read again.
pub(super) async fn retry<M>(
    context: &Context,
    call: &Call<M>,
    id: i64,
    attempts: i32,
) -> Result<Option<Timestamp>, ApiError> {
    let job_id = JobId::parse(&id.to_string()).map_err(|_| internal())?;
    let attempts = u32::try_from(attempts).unwrap_or_default();
    let command = Command::RetryJob { job_id, attempts };
    let submission = Submission::new(command, call.principal.actor(), call.door());
    let committed = match context.engine.execute(submission).await.map_err(ApiError::from) {
        Err(refused) if refused.is(ErrorReason::JobNotParked) => return Ok(None),
        committed => committed?,
    };
    if let Err(error) = in_time(jobs::notify(context.database.pool())).await {
        tracing::debug!(%error, "no notice of a job could be sent; workers will find it by polling");
    }
    Ok(committed.events.first().map(|event| event.recorded_at))
}
