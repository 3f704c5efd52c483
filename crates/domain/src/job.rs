//! A job, as far as the log tells of it: that somebody had it done again. The job itself is a row of a queue; see
//! [`SideRow::JobRetry`](super::SideRow::JobRetry).

use cqrs_es::Aggregate;
use cqrs_es::event_sink::EventSink;
use serde::{Deserialize, Serialize};

use super::Refusal;
use super::events::events;
use super::ids::{LONG, identifier};
use super::ledger::Posting;
use super::registry::{Posts, State};

identifier!(
    /// A job: the number of its row.
    JobId, LONG
);

/// A job that had ended without success is done again: it was parked, or is a mail that was skipped.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct JobRetried {
    /// How many attempts there had been. No two retries have the same number.
    pub attempts: u32,
}

events! {
    /// What can happen to a job.
    JobEvent {
        JobRetried = "1.0.0",
    }
}

/// The commands of a job.
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "the names are self-explanatory")]
pub enum JobCommand {
    Retry { job_id: JobId, attempts: u32 },
}

/// A job.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Job {
    /// The number of attempts at the last retry.
    retried_after: Option<u32>,
}

impl Aggregate for Job {
    const TYPE: &'static str = "Job";
    type Command = JobCommand;
    type Event = JobEvent;
    type Error = Refusal;
    type Services = ();

    async fn handle(
        &mut self,
        command: JobCommand,
        (): &(),
        sink: &EventSink<Self>,
    ) -> Result<(), Refusal> {
        let event: JobEvent = match command {
            // A job that was retried has at least one attempt more before it ends again.
            JobCommand::Retry { job_id, attempts }
                if self.retried_after.is_some_and(|retried| retried >= attempts) =>
            {
                return Err(Refusal::JobRetriedAlready(job_id));
            }
            JobCommand::Retry { attempts, .. } => JobRetried { attempts }.into(),
        };
        sink.write(event, self).await;
        Ok(())
    }

    fn apply(&mut self, event: JobEvent) {
        match event {
            JobEvent::JobRetried(retried) => self.retried_after = Some(retried.attempts),
        }
    }
}

impl Posts for JobEvent {
    fn posting(&self) -> Option<&Posting> {
        match self {
            Self::JobRetried(_) => None,
        }
    }
}

impl State for Job {
    /// Whom a job is about is in its row, not in its id.
    fn user_of(_: &str) -> Option<&str> {
        None
    }
}
