//! `payout_collect` makes the lines of a payout, and `payout_settle` confirms or fails all of them: one command each,
//! several at a time, in the order of the users' ids.
//!
//! An attempt works for a few seconds and then hands what is left over to a job of its own, in the transaction that
//! completes it: a payout of any size is never interrupted by the time limit, and after a kill another server goes on
//! where the last job began. Adding the lines up is handed over in the same way. Who is due, and with how much, follows
//! from the log; a line that exists is not made again, and one that is decided stays so.
//!
//! A line that is refused keeps no other line from its turn. It is logged and counted, and once everybody has had their
//! turn the last job is parked without ending the payout. Retried, it begins where the first line was refused.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::engine::{Engine, Failure, Submission};
use crate::jobs::metrics::OfKind;
use crate::jobs::{Attempt, Doing, Handler, JobError, JobMetrics, TakenJob};
use crate::read::{PayoutMember, ReadError, payout_members};
use crate::store::jobs::{self, NewJob};
use crate::store::payouts::{self, MadeLine};
use crate::store::{Actor, Database, Door, in_time};
use domain::decide::{CollectPayoutLine, Command};
use domain::{PayoutCollected, PayoutKey, PayoutLineId, Refusal};

/// How many participants or lines are read, and how many commands are under way, together.
const PAGE: i64 = 500;
/// How many lines are added up together.
const SUM_PAGE: i64 = 5_000;
/// After how long the rest is handed over.
const TURN: Duration = Duration::from_secs(5);
/// How long an attempt waits for the read model of participants, and how often it looks.
const PATIENCE: Duration = Duration::from_secs(5);
const WAIT_INTERVAL: Duration = Duration::from_millis(50);

/// What is done.
#[derive(Clone, Copy)]
enum Work {
    Collect,
    Settle,
}

pub(super) struct Payouts {
    engine: Engine,
    work: Work,
    counts: JobMetrics,
}

impl Payouts {
    /// The handlers of both kinds.
    pub(super) fn all(engine: &Engine, counts: &JobMetrics) -> [Self; 2] {
        [Work::Collect, Work::Settle].map(|work| Self {
            engine: engine.clone(),
            work,
            counts: counts.clone(),
        })
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

    /// A turn, one page and what it waits for. Short, because after a kill nobody goes on before it is over.
    fn time_limit(&self) -> Duration {
        Duration::from_secs(30)
    }

    /// A long payout leaves the slots of other jobs to them.
    fn own_slots(&self) -> Option<usize> {
        Some(1)
    }
}

/// What a job says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Task {
    /// Written `program/payout`.
    payout: String,
    /// Of the event that called for it.
    position: i64,
    /// The user whose turn was last; empty at the beginning.
    after: String,
    /// How many had their turn; `None` at the beginning.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    looked_at: Option<u64>,
    /// What was refused, if anything was.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    refused: Option<Refused>,
    /// What the lines come to, once everybody has had their turn.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    sums: Option<Sums>,
}

/// Lines that were refused.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Refused {
    /// The user after whom the first of them comes.
    after: String,
    count: u64,
    /// Why the last one was.
    reason: String,
}

/// What the lines come to that were added up so far.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Sums {
    /// The user whose line was last; empty at the beginning.
    after: String,
    line_count: u64,
    /// Beyond its maximum, that is it.
    total_minor: i64,
    skipped_count: u64,
}

impl Task {
    /// What a job is to do. One that an operator retries begins where the first line was refused.
    fn of(job: &TakenJob) -> Option<Self> {
        let mut task: Self = serde_json::from_value(job.payload.clone()).ok()?;
        if job.own_attempt < job.attempt
            && let Some(refused) = task.refused.take()
        {
            task.after = refused.after;
        }
        Some(task)
    }

    /// Notes what was refused of a page. The turn of the last user before the page was `self.after`.
    fn note(&mut self, reasons: &[Refusal]) {
        let Some(last) = reasons.last() else { return };
        let after = self.after.clone();
        let refused =
            self.refused.get_or_insert_with(|| Refused { after, count: 0, reason: String::new() });
        refused.count = refused.count.saturating_add(reasons.len() as u64);
        refused.reason = last.to_string();
    }
}

impl Sums {
    /// Adds a page of lines.
    fn add(&mut self, lines: Vec<MadeLine>) {
        for line in lines {
            match line.reserved_minor {
                Some(amount) => {
                    self.line_count += 1;
                    self.total_minor = self.total_minor.saturating_add(amount);
                }
                None => self.skipped_count += 1,
            }
            self.after = line.user_id.to_string();
        }
    }

    fn collected(&self) -> PayoutCollected {
        let Self { line_count, total_minor, skipped_count, .. } = *self;
        PayoutCollected { line_count, total_minor, skipped_count }
    }
}

/// Users whose turn it is.
struct Page {
    /// What is to be done.
    commands: Vec<Command>,
    /// How many they are.
    count: u64,
    /// The last of them; `None` if there are no more.
    last: Option<String>,
}

impl Payouts {
    async fn turn(&self, job: &TakenJob, attempt: &mut Attempt) -> Result<(), JobError> {
        let nameless = || JobError::Hopeless("the job names no payout".into());
        let mut task = Task::of(job).ok_or_else(nameless)?;
        let payout = PayoutKey::parse(&task.payout).ok_or_else(nameless)?;
        let database = attempt.database().clone();
        let end = Instant::now() + TURN;
        while task.sums.is_none() {
            let Page { commands, count, last } =
                self.page(&database, &payout, task.position, &task.after).await?;
            let Some(last) = last else { break };
            task.looked_at = Some(task.looked_at.unwrap_or_default() + count);
            let refused = self.send_all(commands).await?;
            for refusal in &refused {
                tracing::warn!(%payout, %refusal, job = job.id, "a line of a payout was refused");
                self.counts.refused_lines.get_or_create(&OfKind { kind: self.kind() }).inc();
            }
            task.note(&refused);
            task.after = last;
            if Instant::now() >= end {
                return self.hand_over(job, &task, attempt).await;
            }
        }
        if let Some(Refused { count, reason, .. }) = &task.refused {
            let text = format!("{count} lines were refused, the last one because: {reason}");
            return Err(JobError::Hopeless(text));
        }
        let command = match self.work {
            Work::Collect => {
                // No further line can come: everybody who was due has one.
                let mut sums = task.sums.take().unwrap_or_default();
                loop {
                    let lines = payouts::lines(database.pool(), &payout, &sums.after, SUM_PAGE);
                    let lines = in_time(lines).await?;
                    if lines.is_empty() {
                        break;
                    }
                    sums.add(lines);
                    if Instant::now() >= end {
                        task.sums = Some(sums);
                        return self.hand_over(job, &task, attempt).await;
                    }
                }
                Command::EndPayoutCollection { payout, collected: sums.collected() }
            }
            Work::Settle => Command::CompletePayout(payout),
        };
        let refused = self.send_all(vec![command]).await?;
        refused.first().map_or(Ok(()), |refusal| Err(JobError::Hopeless(refusal.to_string())))
    }

    /// The next users.
    async fn page(
        &self,
        database: &Database,
        payout: &PayoutKey,
        position: i64,
        after: &str,
    ) -> Result<Page, JobError> {
        let pool = database.pool();
        let line_id = |user_id| PayoutLineId { payout: payout.clone(), user_id };
        Ok(match self.work {
            Work::Collect => {
                let page = members(database, payout, after, position).await?;
                let last = page.last().map(|member| member.user_id.to_string());
                let count = page.len() as u64;
                let due = page
                    .into_iter()
                    .filter(|member| member.available_then_minor != 0 && !member.has_line);
                let commands = due.map(|member| {
                    Command::CollectPayoutLine(CollectPayoutLine {
                        line_id: line_id(member.user_id),
                        available_then_minor: member.available_then_minor,
                    })
                });
                Page { commands: commands.collect(), count, last }
            }
            Work::Settle => {
                let page = in_time(payouts::lines(pool, payout, after, PAGE)).await?;
                let last = page.last().map(|line| line.user_id.to_string());
                let count = page.len() as u64;
                let due = page.into_iter().filter(|line| line.reserved_minor.is_some());
                let commands = due.map(|line| Command::SettlePayoutLine(line_id(line.user_id)));
                Page { commands: commands.collect(), count, last }
            }
        })
    }

    /// Leaves the rest to another job, which exists if and only if this one is done.
    async fn hand_over(
        &self,
        job: &TakenJob,
        task: &Task,
        attempt: &mut Attempt,
    ) -> Result<(), JobError> {
        let payload =
            serde_json::to_value(task).map_err(|error| JobError::Again(error.to_string()))?;
        // A job hands over once. No id of a payout has a `#`.
        let dedupe_key = format!("{}#{}", task.payout, job.id);
        let rest = NewJob { kind: self.kind(), dedupe_key: &dedupe_key, payload: &payload };
        let transaction = attempt.transaction().await?;
        in_time(jobs::insert(transaction, rest)).await?;
        Ok(())
    }

    /// Carries out commands, all at once, and returns the refusals. The engine decides how many go into a batch.
    async fn send_all(&self, commands: Vec<Command>) -> Result<Vec<Refusal>, JobError> {
        let mut under_way = JoinSet::new();
        for command in commands {
            let (engine, door) = (self.engine.clone(), Door::job(self.kind()));
            let submission = Submission::new(command, Actor::SYSTEM, door).in_the_background();
            under_way.spawn(async move { engine.execute(submission).await });
        }
        let mut refused = Vec::new();
        for outcome in under_way.join_all().await {
            match outcome {
                Ok(_) => {}
                Err(Failure::Refused(refusal)) => refused.push(refusal),
                Err(failure) => return Err(JobError::Again(failure.to_string())),
            }
        }
        Ok(refused)
    }
}

/// The next participants. Waits a while for the read model to reach the position.
async fn members(
    database: &Database,
    payout: &PayoutKey,
    after: &str,
    position: i64,
) -> Result<Vec<PayoutMember>, JobError> {
    let end = Instant::now() + PATIENCE;
    loop {
        match payout_members(database.pool(), payout, after, position, PAGE).await {
            Ok(page) => return Ok(page),
            Err(ReadError::Behind { .. }) if Instant::now() < end => {
                tokio::time::sleep(WAIT_INTERVAL).await;
            }
            Err(error) => return Err(JobError::Again(error.to_string())),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

    use domain::UserId;
    use serde_json::{Value, json};

    use super::*;

    fn job(payload: Value, attempt: i32, own_attempt: i32) -> TakenJob {
        TakenJob { id: 7, kind: "payout_collect".into(), payload, attempt, own_attempt }
    }

    fn refusal(user_id: &str) -> Refusal {
        Refusal::BalanceLimitReached(UserId::parse(user_id).unwrap())
    }

    fn line(user_id: &str, reserved_minor: Option<i64>) -> MadeLine {
        MadeLine { user_id: UserId::parse(user_id).unwrap(), reserved_minor }
    }

    #[test]
    fn the_job_that_follows_the_event_begins_at_the_beginning() {
        let first = json!({ "payout": "cash/may", "position": 9, "after": "" });
        let task = Task::of(&job(first.clone(), 1, 1)).unwrap();
        assert_eq!((&*task.payout, task.position, &*task.after), ("cash/may", 9, ""));
        assert_eq!((&task.refused, &task.sums), (&None, &None));
        // So do jobs of the release before, which wrote no more than this.
        assert_eq!(serde_json::to_value(&task).unwrap(), first);
        assert_eq!(Task::of(&job(json!({ "payout": "cash/may" }), 1, 1)), None);
    }

    #[test]
    fn what_was_refused_is_handed_on_and_a_retry_begins_where_the_first_line_was() {
        let first = json!({ "payout": "cash/may", "position": 9, "after": "" });
        let mut task = Task::of(&job(first, 1, 1)).unwrap();
        task.note(&[]);
        assert_eq!(task.refused, None);
        task.after = "bob".into();
        task.note(&[refusal("cem"), refusal("dan")]);
        task.after = "eve".into();
        task.note(&[refusal("fay")]);
        task.after = "gus".into();
        let reason = refusal("fay").to_string();
        let refused = Refused { after: "bob".into(), count: 3, reason };
        assert_eq!(task.refused, Some(refused));
        let payload = serde_json::to_value(&task).unwrap();
        // The job that follows, and a further attempt at it, go on; only a retry goes back.
        for (attempt, own_attempt) in [(1, 1), (2, 2)] {
            assert_eq!(Task::of(&job(payload.clone(), attempt, own_attempt)), Some(task.clone()));
        }
        let again = Task::of(&job(payload, 3, 1)).unwrap();
        assert_eq!((&*again.after, again.refused), ("bob", None));
    }

    #[test]
    fn sums_go_on_where_they_were_handed_over() {
        let mut sums = Sums::default();
        sums.add(vec![line("ana", Some(5)), line("bob", None)]);
        let task = Task {
            payout: "cash/may".into(),
            position: 9,
            looked_at: Some(7),
            after: "zoe".into(),
            refused: None,
            sums: Some(sums),
        };
        let payload = serde_json::to_value(&task).unwrap();
        let mut sums = Task::of(&job(payload, 1, 1)).unwrap().sums.unwrap();
        assert_eq!(sums.after, "bob");
        sums.add(vec![line("cem", Some(7)), line("dan", Some(i64::MAX))]);
        let collected = sums.collected();
        assert_eq!((collected.line_count, collected.skipped_count), (3, 1));
        assert_eq!(collected.total_minor, i64::MAX);
        assert_eq!(sums.after, "dan");
    }
}
