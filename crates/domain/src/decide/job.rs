//! Having a job done again.

use crate::{Halt, Job, JobCommand, JobId, SideRow, Work, load, tell};

/// Records that a job is done again that had so many attempts when it was seen to have ended. Of two requests at once,
/// one does it.
pub(super) fn retry(work: &mut dyn Work, job_id: &JobId, attempts: u32) -> Result<(), Halt> {
    load::<Job>(work, job_id)?;
    tell::<Job>(work, job_id, JobCommand::Retry { job_id: job_id.clone(), attempts })?;
    work.write_row(SideRow::JobRetry { job_id: job_id.clone(), attempts });
    Ok(())
}
