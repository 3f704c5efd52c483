//! `make_up`: after a release, makes up for the purchases that earned nothing because the referral was held or
//! rejected: those of the referee and of the people below, oldest first, one command each.
//!
//! The commands make up for each reward once, so that an attempt can be repeated.

use std::time::Duration;

use serde_json::Value;

use crate::engine::{Engine, Failure, Submission};
use crate::jobs::{Attempt, Doing, Handler, JobError, TakenJob};
use crate::store::{Actor, Database, Door, cut_off, in_time};
use domain::decide::Command;
use domain::{ParticipantId, ProgramId, UserId};

/// How many withheld rewards are looked at together.
const PAGE: i64 = 200;

pub(super) struct MakeUp {
    pub(super) engine: Engine,
}

impl Handler for MakeUp {
    fn kind(&self) -> &'static str {
        "make_up"
    }

    fn attempt<'a>(&'a self, job: &'a TakenJob, attempt: &'a mut Attempt) -> Doing<'a> {
        Box::pin(async move { self.make_up(job, attempt.database()).await })
    }

    fn time_limit(&self) -> Duration {
        Duration::from_mins(10)
    }
}

/// What a job says.
fn read(payload: &Value) -> Option<(ParticipantId, i64)> {
    let text = |name: &str| payload.get(name).and_then(Value::as_str);
    let program_id = ProgramId::parse(text("program_id")?).ok()?;
    let user_id = UserId::parse(text("referee_user_id")?).ok()?;
    let after = payload.get("after_position").and_then(Value::as_i64)?;
    Some((ParticipantId { program_id, user_id }, after))
}

impl MakeUp {
    async fn make_up(&self, job: &TakenJob, database: &Database) -> Result<(), JobError> {
        let (referee, mut after) = read(&job.payload)
            .ok_or_else(|| JobError::Hopeless("the job names no referral".into()))?;
        let mut refused = None;
        loop {
            let page = cut_off::purchases(database.pool(), &referee, after, PAGE);
            let mut page = in_time(page).await?;
            let Some(last) = page.last() else { break };
            after = last.position;
            page.retain(|purchase| purchase.is_below);
            page.dedup_by(|one, other| one.purchase_id == other.purchase_id);
            for purchase in page {
                let (purchase_id, program_id) = (purchase.purchase_id, referee.program_id.clone());
                let command = Command::MakeUpPurchase { purchase_id, program_id };
                let door = Door::job(self.kind());
                let submission = Submission::new(command, Actor::SYSTEM, door).in_the_background();
                match self.engine.execute(submission).await {
                    Ok(_) => {}
                    // The others do not depend on this one.
                    Err(Failure::Refused(refusal)) => refused = Some(refusal),
                    Err(failure) => return Err(JobError::Again(failure.to_string())),
                }
            }
        }
        match refused {
            None => Ok(()),
            Some(refusal) => Err(JobError::Hopeless(refusal.to_string())),
        }
    }
}
