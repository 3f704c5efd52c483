//! `settle_line`: after a decision about a referral that takes back what it has earned, or no longer does, settles what
//! was earned through it: by purchases of the referee and of the people below, and by referrals of those people.
//!
//! Each command works out by itself what must be taken back or given back, so that an attempt can be repeated.

use std::time::Duration;

use serde_json::Value;

use crate::engine::query::{QueryError, query};
use crate::engine::{Engine, Environment, Failure, Submission};
use crate::jobs::{Attempt, Doing, Handler, JobError, TakenJob};
use crate::store::referees::referees_of;
use crate::store::{Actor, Database, Door, in_time};
use domain::decide::Command;
use domain::rules::MAX_LEVEL;
use domain::{ParticipantId, ProgramId, PurchaseSearch, Refusal, UserId};

/// How many referees of somebody are read together.
const PAGE: i64 = 200;

pub(super) struct SettleLine {
    pub(super) engine: Engine,
    pub(super) environment: Environment,
}

impl Handler for SettleLine {
    fn kind(&self) -> &'static str {
        "settle_line"
    }

    fn attempt<'a>(&'a self, job: &'a TakenJob, attempt: &'a mut Attempt) -> Doing<'a> {
        Box::pin(async move { self.settle(job, attempt.database()).await })
    }

    fn time_limit(&self) -> Duration {
        Duration::from_mins(10)
    }
}

/// What a job says.
fn read(payload: &Value) -> Option<ParticipantId> {
    let text = |name: &str| payload.get(name).and_then(Value::as_str);
    let program_id = ProgramId::parse(text("program_id")?).ok()?;
    let user_id = UserId::parse(text("referee_user_id")?).ok()?;
    Some(ParticipantId { program_id, user_id })
}

/// What is still to be done.
enum Step {
    /// Somebody who is so many steps below the referee.
    Participant(ParticipantId, u32),
    /// Whom somebody has referred after a place in their stream.
    Referees(ParticipantId, u32, i64),
}

impl SettleLine {
    async fn settle(&self, job: &TakenJob, database: &Database) -> Result<(), JobError> {
        let referee = read(&job.payload)
            .ok_or_else(|| JobError::Hopeless("the job names no referral".into()))?;
        let mut refused = None;
        let mut steps = vec![Step::Participant(referee, 0)];
        while let Some(step) = steps.pop() {
            match step {
                Step::Participant(id, depth) => {
                    // The referee's own referral was settled by the decision.
                    if depth > 0 {
                        self.send(Command::SettleReferral(id.clone()), &mut refused).await?;
                    }
                    self.settle_purchases(database, &id, &mut refused).await?;
                    // Rewards of people further down are on levels that no rule pays.
                    if depth + 1 < MAX_LEVEL {
                        steps.push(Step::Referees(id, depth + 1, 0));
                    }
                }
                Step::Referees(referrer, depth, after) => {
                    let page = referees_of(database.pool(), &referrer, after, PAGE);
                    let page = in_time(page).await?;
                    if let Some(last) = page.last() {
                        let program_id = referrer.program_id.clone();
                        steps.push(Step::Referees(referrer, depth, last.sequence));
                        steps.extend(page.into_iter().map(|referee| {
                            Step::Participant(
                                ParticipantId::new(&program_id, &referee.user_id),
                                depth,
                            )
                        }));
                    }
                }
            }
        }
        match refused {
            None => Ok(()),
            Some(refusal) => Err(JobError::Hopeless(refusal.to_string())),
        }
    }

    /// Settles all purchases of a participant, the newest first.
    async fn settle_purchases(
        &self,
        database: &Database,
        buyer: &ParticipantId,
        refused: &mut Option<Refusal>,
    ) -> Result<(), JobError> {
        let buyer_id = buyer.user_id.clone();
        let mut search = PurchaseSearch { buyer: buyer_id, may_earn: false, before: None };
        loop {
            let page = query(database, &self.environment, |work| work.purchases_of(&search))
                .await
                .map_err(again)?;
            for purchase_id in page.purchases {
                let program_id = buyer.program_id.clone();
                self.send(Command::SettlePurchase { purchase_id, program_id }, refused).await?;
            }
            if page.next.is_none() {
                return Ok(());
            }
            search.before = page.next;
        }
    }

    async fn send(&self, command: Command, refused: &mut Option<Refusal>) -> Result<(), JobError> {
        let submission = Submission::new(command, Actor::SYSTEM, Door::job(self.kind()));
        match self.engine.execute(submission.in_the_background()).await {
            Ok(_) => {}
            // The others do not depend on this one.
            Err(Failure::Refused(refusal)) => *refused = Some(refusal),
            Err(failure) => return Err(JobError::Again(failure.to_string())),
        }
        Ok(())
    }
}

#[allow(clippy::needless_pass_by_value, reason = "the signature that map_err asks for")]
fn again(error: QueryError) -> JobError {
    JobError::Again(error.to_string())
}
