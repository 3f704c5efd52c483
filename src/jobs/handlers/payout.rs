//! `payout_collect` makes the lines of a payout, and `payout_settle` confirms or fails all of them: one command each,
//! several at a time, in the order of the users' ids.
//!
//! An attempt works for a few seconds and then hands what is left over to a job of its own, in the transaction that
//! completes it: a payout of any size is never interrupted by the time limit, and after a kill another server goes on
//! where the last job began. Who is due, and with how much, follows from the log; a line that exists is not made again,
//! and one that is decided stays so.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::engine::{Engine, Failure, Submission};
use crate::jobs::{Attempt, Doing, Handler, JobError, TakenJob};
use crate::store::jobs::{self, NewJob};
use crate::store::{Actor, Database, Door, in_time, payouts};
use domain::decide::{CollectPayoutLine, Command};
use domain::{PayoutCollected, PayoutKey, PayoutLineId, Refusal};

/// How many participants or lines are read, and how many commands are under way, together.
const PAGE: i64 = 500;
/// How many lines are added up together.
const SUM_PAGE: i64 = 5_000;
/// After how long the rest is handed over.
const TURN: Duration = Duration::from_secs(5);

/// What is done.
#[derive(Clone, Copy)]
enum Work {
    Collect,
    Settle,
}

pub(super) struct Payouts {
    engine: Engine,
    work: Work,
}

impl Payouts {
    /// The handlers of both kinds.
    pub(super) fn all(engine: &Engine) -> [Self; 2] {
        [Work::Collect, Work::Settle].map(|work| Self { engine: engine.clone(), work })
    }
}

impl Handler for Payouts {
    fn kind(&self) -> &'static str {
        match self.work {
            Work::Collect => "payout_collect",
            Work::Settle => "payout_settle",
        }
    }

    fn attempt<'a>(&'a self, job: &'a TakenJob, attempt: &'a mut Attempt) -> Doing<'a> {
        Box::pin(async move { self.turn(job, attempt).await })
    }

    /// A turn, one page and the sums. Short, because after a kill nobody goes on before it is over.
    fn time_limit(&self) -> Duration {
        Duration::from_secs(30)
    }

    /// A long payout leaves the slots of other jobs to them.
    fn own_slots(&self) -> Option<usize> {
        Some(1)
    }
}

/// What a job says.
struct Task {
    payout: PayoutKey,
    /// Of the event that called for it.
    position: i64,
    /// The user whose turn was last; empty at the beginning.
    after: String,
}

fn read(payload: &Value) -> Option<Task> {
    let text = |name: &str| payload.get(name).and_then(Value::as_str);
    let payout = PayoutKey::parse(text("payout")?)?;
    let position = payload.get("position").and_then(Value::as_i64)?;
    Some(Task { payout, position, after: text("after")?.to_owned() })
}

impl Payouts {
    async fn turn(&self, job: &TakenJob, attempt: &mut Attempt) -> Result<(), JobError> {
        let Task { payout, position, mut after } = read(&job.payload)
            .ok_or_else(|| JobError::Hopeless("the job names no payout".into()))?;
        let database = attempt.database().clone();
        let end = Instant::now() + TURN;
        loop {
            let (commands, last) = self.page(&database, &payout, position, &after).await?;
            let Some(last) = last else { break };
            self.send_all(commands).await?;
            after = last;
            if Instant::now() >= end {
                return self.hand_over(&payout, position, &after, attempt).await;
            }
        }
        let command = match self.work {
            Work::Collect => {
                let collected = sums(&database, &payout).await?;
                Command::EndPayoutCollection { payout, collected }
            }
            Work::Settle => Command::CompletePayout(payout),
        };
        self.send_all(vec![command]).await
    }

    /// The commands for the next users, and the last of these users; `None` if there are no more.
    async fn page(
        &self,
        database: &Database,
        payout: &PayoutKey,
        position: i64,
        after: &str,
    ) -> Result<(Vec<Command>, Option<String>), JobError> {
        let pool = database.pool();
        let line_id = |user_id| PayoutLineId { payout: payout.clone(), user_id };
        Ok(match self.work {
            Work::Collect => {
                let page = payouts::members(pool, payout, after, position, PAGE);
                let page = in_time(page).await?;
                let last = page.last().map(|member| member.user_id.to_string());
                let due = page
                    .into_iter()
                    .filter(|member| member.available_then_minor != 0 && !member.has_line);
                let commands = due.map(|member| {
                    Command::CollectPayoutLine(CollectPayoutLine {
                        line_id: line_id(member.user_id),
                        available_then_minor: member.available_then_minor,
                    })
                });
                (commands.collect(), last)
            }
            Work::Settle => {
                let page = in_time(payouts::lines(pool, payout, after, PAGE)).await?;
                let last = page.last().map(|line| line.user_id.to_string());
                let due = page.into_iter().filter(|line| line.reserved_minor.is_some());
                let commands = due.map(|line| Command::SettlePayoutLine(line_id(line.user_id)));
                (commands.collect(), last)
            }
        })
    }

    /// Leaves the rest to another job, which exists if and only if this one is done.
    async fn hand_over(
        &self,
        payout: &PayoutKey,
        position: i64,
        after: &str,
        attempt: &mut Attempt,
    ) -> Result<(), JobError> {
        let payload = json!({ "payout": payout.to_string(), "position": position, "after": after });
        let dedupe_key = format!("{payout}/{after}");
        let rest = NewJob { kind: self.kind(), dedupe_key: &dedupe_key, payload: &payload };
        let transaction = attempt.transaction().await?;
        in_time(jobs::insert(transaction, rest)).await?;
        Ok(())
    }

    /// Carries out commands, all at once. The engine decides how many go into a batch.
    async fn send_all(&self, commands: Vec<Command>) -> Result<(), JobError> {
        let mut under_way = JoinSet::new();
        for command in commands {
            let (engine, door) = (self.engine.clone(), Door::job(self.kind()));
            let submission = Submission::new(command, Actor::SYSTEM, door).in_the_background();
            under_way.spawn(async move { engine.execute(submission).await });
        }
        let mut refused: Option<Refusal> = None;
        for outcome in under_way.join_all().await {
            match outcome {
                Ok(_) => {}
                Err(Failure::Refused(refusal)) => refused = Some(refusal),
                Err(failure) => return Err(JobError::Again(failure.to_string())),
            }
        }
        refused.map_or(Ok(()), |refusal| Err(JobError::Hopeless(refusal.to_string())))
    }
}

/// Adds the lines up. No further line can come: everybody who was due has one.
async fn sums(database: &Database, payout: &PayoutKey) -> Result<PayoutCollected, JobError> {
    let mut collected = PayoutCollected { line_count: 0, total_minor: 0, skipped_count: 0 };
    let mut after = String::new();
    loop {
        let page = in_time(payouts::lines(database.pool(), payout, &after, SUM_PAGE)).await?;
        let Some(last) = page.last() else { return Ok(collected) };
        after = last.user_id.to_string();
        for line in page {
            match line.reserved_minor {
                Some(amount) => {
                    collected.line_count += 1;
                    collected.total_minor = collected.total_minor.saturating_add(amount);
                }
                None => collected.skipped_count += 1,
            }
        }
    }
}
