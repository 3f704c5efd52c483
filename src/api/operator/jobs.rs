//! `ListJobs` and `RetryJob`.

use super::retry::{MAX_READS, retry};
use super::{Handlers, shown_id};
use crate::api::Context;
use crate::api::errors::{ApiError, status};
use crate::api::fields::Fields;
use crate::api::guard::Call;
use crate::api::pages::Page;
use crate::api::pb::{self, ErrorReason};
use crate::api::responses::time;
use crate::store::in_time;
use crate::store::jobs::{self, Job, JobFilter, JobState};

impl Handlers {
    pub(in crate::api) async fn list_jobs(
        &self,
        call: Call<pb::ListJobsRequest>,
    ) -> Result<pb::ListJobsResponse, ApiError> {
        let request = &call.message;
        let mut fields = Fields::of(request);
        let page = Page::read(&mut fields, &call);
        let before = page.before(&mut fields, &request.page_token);
        let state = match request.state() {
            pb::JobState::Unspecified => None,
            pb::JobState::Queued => Some(JobState::Queued),
            pb::JobState::Running => Some(JobState::Running),
            pb::JobState::Done => Some(JobState::Done),
            pb::JobState::Parked => Some(JobState::Parked),
        };
        if request.kind.contains('\0') {
            fields.fault("kind", ErrorReason::NulCharacter, "must not contain NUL");
        }
        let before = fields.finish(before)?;
        let kind = Some(request.kind.clone()).filter(|kind| !kind.is_empty());
        let filter = JobFilter { state, kind };
        let pool = self.0.database.pool();
        let found = in_time(jobs::list(pool, &filter, before, page.rows())).await?;
        let (jobs, next_page_token) = page.answer(found, |job| job.id, |job| message(&self.0, job));
        Ok(pb::ListJobsResponse { jobs, next_page_token })
    }

    pub(in crate::api) async fn retry_job(
        &self,
        call: Call<pb::RetryJobRequest>,
    ) -> Result<pb::RetryJobResponse, ApiError> {
        let request = &call.message;
        let mut fields = Fields::of(request);
        if request.job_id.is_empty() {
            fields.fault("job_id", ErrorReason::FieldRequired, "is required");
        }
        fields.finish(Some(()))?;
        let job_id = &request.job_id;
        let id = job_id.parse().ok().filter(|id: &i64| id.to_string() == *job_id);
        let retried = match id {
            Some(id) => retry_parked(&self.0, &call, id).await?,
            // Ids that were never assigned.
            None => Retried::Unknown,
        };
        let job_id = shown_id(job_id);
        match retried {
            Retried::Queued(job) => Ok(pb::RetryJobResponse { job: Some(message(&self.0, job)) }),
            Retried::NotParked(state) => {
                let state = state.as_str();
                let message = format!("the job is {state}; only a parked one can be tried again");
                let facts: &[(&str, &dyn std::fmt::Display)] =
                    &[("job_id", &job_id), ("state", &state)];
                Err(status(ErrorReason::JobNotParked, message, facts).into())
            }
            Retried::Unknown => {
                let message = "there is no such job";
                Err(status(ErrorReason::JobNotFound, message, &[("job_id", &job_id)]).into())
            }
        }
    }
}

async fn retry_parked(
    context: &Context,
    call: &Call<pb::RetryJobRequest>,
    id: i64,
) -> Result<Retried, ApiError> {
    let mut seen = JobState::Queued;
    for _ in 0..MAX_READS {
        let found = in_time(jobs::find(context.database.pool(), id)).await?;
        let Some(job) = found else { return Ok(Retried::Unknown) };
        seen = job.state;
        if seen != JobState::Parked {
            break;
        }
        if let Some(run_after) = retry(context, call, id, job.attempts).await? {
            return Ok(Retried::Queued(Job { state: JobState::Queued, run_after, ..job }));
        }
    }
    Ok(Retried::NotParked(seen))
}

/// The outcome of retrying a job.
enum Retried {
    /// The job is queued.
    Queued(Job),
    /// The job is in another state, which it keeps.
    NotParked(JobState),
    /// There is no such job.
    Unknown,
}

fn message(context: &Context, job: Job) -> pb::Job {
    let state = match job.state {
        JobState::Queued => pb::JobState::Queued,
        JobState::Running => pb::JobState::Running,
        JobState::Done => pb::JobState::Done,
        JobState::Parked => pb::JobState::Parked,
    };
    let is_open = matches!(job.state, JobState::Queued | JobState::Running);
    let unknown_kind = !context.job_kinds.contains(&&*job.kind);
    pb::Job {
        job_id: job.id.to_string(),
        kind: job.kind,
        state: state.into(),
        dedupe_key: job.dedupe_key,
        payload_json: job.payload,
        attempts: job.attempts,
        last_error: job.last_error.unwrap_or_default(),
        create_time: Some(time(job.created_at)),
        next_attempt_time: is_open.then(|| time(job.run_after)),
        finish_time: job.finished_at.map(time),
        unknown_kind,
    }
}
