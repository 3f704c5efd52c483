//! Pending commands: the queue, and the jobs that go before those in the queue.

use std::collections::{HashMap, VecDeque};

use tokio::sync::mpsc;

use super::job::{Identity, Job};
use crate::metrics::Metrics;

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

    /// Whether the next batch may be decided ahead: no pending job has conflicted, must be alone in its batch, or
    /// could not be decided ahead before.
    pub(super) fn is_plain(&self) -> bool {
        let is_special =
            |job: &Job| job.alone || job.conflicts > 0 || job.needs_outcome || job.needs_lock;
        !self.next.iter().any(is_special)
    }

    /// Takes at most `room` pending jobs. Repetitions of one request are joined. Different requests with the same
    /// key are all taken: the batch decides which of them is carried out, and the others build on that one.
    pub(super) fn take_batch(&mut self, room: usize) -> Vec<Job> {
        let mut jobs: Vec<Job> = Vec::new();
        let mut known: HashMap<Identity, usize> = HashMap::new();
        // Conflicted jobs are not mixed with new ones: a new command may need less to be loaded, be decided
        // before them, and make them conflict again.
        let only_conflicted = self.next.iter().any(|job| job.conflicts > 0);
        while jobs.len() < room {
            if self.next.front().is_some_and(|job| job.alone) && !jobs.is_empty() {
                break;
            }
            let queue = &mut self.queue;
            let waiting = || if only_conflicted { None } else { queue.try_recv().ok() };
            let Some(job) = self.next.pop_front().or_else(waiting) else { break };
            if job.alone {
                return vec![job];
            }
            let same = job
                .identities()
                .filter_map(|identity| known.get(&identity).copied())
                .find(|index| jobs[*index].is_repeated_by(&job));
            if let Some(index) = same {
                jobs[index].join(job);
            } else {
                for identity in job.identities() {
                    known.entry(identity).or_insert(jobs.len());
                }
                jobs.push(job);
            }
        }
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
}
