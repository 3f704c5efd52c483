//! `clean`: once a day, deletes what nobody needs any more.

use std::time::Duration;

use crate::jobs::{Attempt, Doing, Handler, TakenJob};
use crate::store::{Database, StoreError, epoch, jobs};

/// How many rows are deleted in one statement.
const ROWS: i64 = 1_000;

pub(super) struct Clean {
    /// How long finished jobs are kept.
    pub(super) kept: Duration,
}

impl Handler for Clean {
    fn kind(&self) -> &'static str {
        "clean"
    }

    fn attempt<'a>(&'a self, _: &'a TakenJob, attempt: &'a mut Attempt) -> Doing<'a> {
        Box::pin(async move { Ok(self.clean(attempt.database()).await?) })
    }

    fn time_limit(&self) -> Duration {
        Duration::from_mins(10)
    }

    fn is_daily(&self) -> bool {
        true
    }
}

impl Clean {
    /// Deletes a little at a time, each in a transaction of its own. What is deleted already is not there the
    /// next time, so an attempt that is cut off has done a part of the work.
    async fn clean(&self, database: &Database) -> Result<(), StoreError> {
        epoch::forget_writers(database.pool()).await?;
        let mut deleted = 0;
        loop {
            let rows = jobs::delete_done(database.pool(), self.kept, ROWS).await?;
            deleted += rows;
            if rows == 0 {
                break;
            }
        }
        tracing::debug!(jobs = deleted, "what is no longer needed is deleted");
        Ok(())
    }
}
