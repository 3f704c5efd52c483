//! Pending commands: the queue, and the jobs that go before those in the queue.

use std::collections::{HashMap, HashSet, VecDeque};

use tokio::sync::mpsc;

use super::Failure;
use super::job::{Identity, Job, Relation};
use crate::metrics::Metrics;

/// How often a command may be delayed because each attempt needs more to be loaded.
const MAX_DELAYS: u32 = 8;

pub(super) struct Pending {
    queue: mpsc::Receiver<Job>,
    /// Jobs that go into the next batch before new ones.
    next: VecDeque<Job>,
    metrics: Metrics,
}

impl Pending {
    pub(super) fn new(queue: mpsc::Receiver<Job>, metrics: Metrics) -> Self {
        Self { queue, next: VecDeque::new(), metrics }
    }

    /// Takes no new jobs; pending ones are still carried out.
    pub(super) fn close(&mut self) {
        self.queue.close();
    }

    /// Waits until a job is pending. False if there will never be another.
    pub(super) async fn filled(&mut self) -> bool {
        if self.next.is_empty() {
            let Some(job) = self.queue.recv().await else { return false };
            self.next.push_back(job);
        }
        true
    }

    /// Whether no pending job has conflicted or must be alone in its batch.
    pub(super) fn is_plain(&self) -> bool {
        !self.next.iter().any(|job| job.alone || job.conflicts > 0)
    }

    /// Takes at most `room` pending jobs. Repetitions of one request are joined; of several jobs with the same
    /// key only one is taken, and jobs whose key is `busy` are not taken.
    pub(super) fn take_batch(&mut self, room: usize, busy: &HashSet<Identity>) -> Vec<Job> {
        let mut jobs: Vec<Job> = Vec::new();
        let mut known: HashMap<Identity, usize> = HashMap::new();
        let mut same_key = VecDeque::new();
        // Conflicted jobs are not mixed with new ones: a new command may need less to be loaded, be decided
        // before them, and make them conflict again.
        let only_fallen = self.next.iter().any(|job| job.conflicts > 0);
        while jobs.len() < room && same_key.len() < jobs.len() + 1 {
            if self.next.front().is_some_and(|job| job.alone) && !jobs.is_empty() {
                break;
            }
            let queue = &mut self.queue;
            let waiting = || if only_fallen { None } else { queue.try_recv().ok() };
            let Some(job) = self.next.pop_front().or_else(waiting) else { break };
            if job.alone {
                return vec![job];
            }
            if job.identities().any(|identity| busy.contains(&identity)) {
                same_key.push_back(job);
                continue;
            }
            let relative = job.identities().find_map(|identity| known.get(&identity).copied());
            match relative.map(|index| (index, jobs[index].compare(&job))) {
                Some((index, Relation::Repetition)) => jobs[index].join(job),
                Some((_, Relation::SameKey | Relation::Unrelated)) => same_key.push_back(job),
                None => {
                    known.extend(job.identities().map(|identity| (identity, jobs.len())));
                    jobs.push(job);
                }
            }
        }
        same_key.append(&mut self.next);
        self.next = same_key;
        let waiting = i64::try_from(self.queue.len()).unwrap_or(i64::MAX);
        self.metrics.queue_commands.set(waiting);
        jobs
    }

    /// Queues a job again, behind those that were queued again before.
    pub(super) fn put(&mut self, job: Job) {
        self.next.push_back(job);
    }

    /// Queues jobs again, behind those that were queued again before.
    pub(super) fn put_all(&mut self, jobs: Vec<Job>) {
        self.next.extend(jobs);
    }

    /// Queues jobs again as if they had never been taken.
    pub(super) fn put_back(&mut self, jobs: Vec<Job>) {
        for job in jobs.into_iter().rev() {
            self.next.push_front(job);
        }
    }

    /// Puts jobs that lack something into the next batch, a limited number of times.
    pub(super) fn delay(&mut self, jobs: Vec<Job>) {
        for mut job in jobs {
            job.delays += 1;
            if job.delays > MAX_DELAYS {
                tracing::error!(command = job.command.name(), "a decision never has what it needs");
                job.answer(&Err(Failure::Internal));
            } else {
                self.next.push_back(job);
            }
        }
    }
}
