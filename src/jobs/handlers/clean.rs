//! `clean`: once a day, deletes what is no longer needed.

use std::time::Duration;

use crate::jobs::{Attempt, Doing, Handler, TakenJob};
use crate::store::{
    Database, StoreError, epoch, evidence, jobs, mailed_tokens, mails, notes, sessions, sign_ups,
    stripe,
};

/// How many rows are deleted in one statement.
const ROWS: i64 = 1_000;

pub(super) struct Clean {
    /// How long finished jobs are kept.
    pub(super) kept: Duration,
    /// How long mails are kept.
    pub(super) mails_kept: Duration,
    /// How long evidence of fraud is kept.
    pub(super) evidence_kept: Duration,
    /// How long notes of operators and callers are kept.
    pub(super) notes_kept: Duration,
    /// How long events of Stripe are kept.
    pub(super) stripe_events_kept: Duration,
    /// How long sign-ups wait for the confirmation of their address.
    pub(super) sign_ups_kept: Duration,
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
    /// Deletes a limited number of rows at a time, each time in a separate transaction, so that an
    /// interrupted attempt has done a part of the work.
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
        let mut sessions = 0;
        loop {
            let rows = sessions::delete_old(database.pool(), self.kept, ROWS).await?;
            sessions += rows;
            if rows == 0 {
                break;
            }
        }
        let mut mails = 0;
        loop {
            let rows = mails::delete_old(database.pool(), self.mails_kept, ROWS).await?;
            mails += rows;
            if rows == 0 {
                break;
            }
        }
        while mailed_tokens::delete_old(database.pool(), self.mails_kept, ROWS).await? > 0 {}
        while evidence::delete_old(database.pool(), self.evidence_kept, ROWS).await? > 0 {}
        while notes::delete_old(database.pool(), self.notes_kept, ROWS).await? > 0 {}
        while sign_ups::delete_old(database.pool(), self.sign_ups_kept, ROWS).await? > 0 {}
        let kept = self.stripe_events_kept;
        while stripe::delete_old_events(database.pool(), kept, ROWS).await? > 0 {}
        tracing::debug!(jobs = deleted, sessions, mails, "deleted what is no longer needed");
        Ok(())
    }
}
