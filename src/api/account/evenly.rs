//! Answers that do not tell by their time whether there is an account.

use std::time::Duration;

use tokio::time::{Instant, sleep_until, timeout_at};

use crate::access::Access;
use crate::api::errors::{ApiError, internal};
use crate::store::StoreError;

/// After how long the answer comes. What is done for an account takes some milliseconds.
const ANSWER_AFTER: Duration = Duration::from_millis(250);

/// Does something whose outcome the caller waits for, and answers no sooner than after a time that is the same whatever
/// there is to do. The work goes on if its caller leaves.
pub(super) async fn no_sooner<T: Send + 'static>(
    work: impl Future<Output = Result<T, StoreError>> + Send + 'static,
) -> Result<T, ApiError> {
    let answer_at = Instant::now() + ANSWER_AFTER;
    let outcome = tokio::spawn(work).await;
    sleep_until(answer_at).await;
    if let Ok(done) = outcome {
        Ok(done?)
    } else {
        tracing::error!("letting a sign-up wait panicked");
        Err(internal().into())
    }
}

/// Does something that anybody can ask for, and answers after the same time whatever there is to do. Work that takes
/// longer goes on; so does work whose caller has left. Callers wait for a turn at the database, whatever they ask
/// for, and are refused if too many do.
pub(super) async fn evenly(
    access: &Access,
    work: impl Future<Output = Result<(), StoreError>> + Send + 'static,
) -> Result<(), ApiError> {
    let answer_at = Instant::now() + ANSWER_AFTER;
    let turns = access.turns().clone();
    let place = turns.queue()?;
    let task = tokio::spawn(async move {
        let _turn = turns.wait(place).await;
        work.await.inspect_err(|error| tracing::error!(%error, "a mail could not be queued"))
    });
    let outcome = timeout_at(answer_at, task).await;
    sleep_until(answer_at).await;
    match outcome {
        Ok(Ok(done)) => Ok(done?),
        Ok(Err(error)) => {
            tracing::error!(%error, "queueing a mail panicked");
            Err(internal().into())
        }
        Err(_) => Ok(()),
    }
}
