//! What waits to be decided: the queue, and the jobs that come before it.

use std::collections::{HashMap, HashSet, VecDeque};

use tokio::sync::mpsc;

use super::Failure;
use super::job::{Identity, Job, Kinship};
use crate::metrics::Metrics;

/// How often a command may be put off because each look shows that more must be loaded.
const MAX_DELAYS: u32 = 8;

pub(super) struct Tray {
    queue: mpsc::Receiver<Job>,
    /// Jobs that go into the next batch before new ones.
    next: VecDeque<Job>,
    metrics: Metrics,
}

impl Tray {
    pub(super) fn new(queue: mpsc::Receiver<Job>, metrics: Metrics) -> Self {
        Self { queue, next: VecDeque::new(), metrics }
    }

    /// Takes no new jobs; those that wait are still to be gathered.
    pub(super) fn close(&mut self) {
        self.queue.close();
    }

    /// Waits until there is something to gather. False if there never will be.
    pub(super) async fn filled(&mut self) -> bool {
        if self.next.is_empty() {
            let Some(job) = self.queue.recv().await else { return false };
            self.next.push_back(job);
        }
        true
    }

    /// Whether nothing waits that must be gathered with care.
    pub(super) fn is_plain(&self) -> bool {
        !self.next.iter().any(|job| job.alone || job.conflicts > 0)
    }

    /// Takes what waits, at most `room`, joining repetitions and putting off rivals of each other and of
    /// requests that are `busy`.
    pub(super) fn gather(&mut self, room: usize, busy: &HashSet<Identity>) -> Vec<Job> {
        let mut jobs: Vec<Job> = Vec::new();
        let mut known: HashMap<Identity, usize> = HashMap::new();
        let mut rivals = VecDeque::new();
        // Those that fell are decided by themselves: a new command could be decided before them, as
        // it needs less to be loaded, and they would fall with it again.
        let only_fallen = self.next.iter().any(|job| job.conflicts > 0);
        while jobs.len() < room && rivals.len() < jobs.len() + 1 {
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
                rivals.push_back(job);
                continue;
            }
            let relative = job.identities().find_map(|identity| known.get(&identity).copied());
            match relative.map(|index| (index, jobs[index].compare(&job))) {
                Some((index, Kinship::Repetition)) => jobs[index].join(job),
                Some((_, Kinship::Rivals | Kinship::Strangers)) => rivals.push_back(job),
                None => {
                    known.extend(job.identities().map(|identity| (identity, jobs.len())));
                    jobs.push(job);
                }
            }
        }
        rivals.append(&mut self.next);
        self.next = rivals;
        let waiting = i64::try_from(self.queue.len()).unwrap_or(i64::MAX);
        self.metrics.queue_commands.set(waiting);
        jobs
    }

    /// Lets a job wait again, behind those that do so already.
    pub(super) fn put(&mut self, job: Job) {
        self.next.push_back(job);
    }

    /// Lets jobs wait again, behind those that do so already.
    pub(super) fn put_all(&mut self, jobs: Vec<Job>) {
        self.next.extend(jobs);
    }

    /// Lets jobs wait again as if they had never been gathered.
    pub(super) fn put_back(&mut self, jobs: Vec<Job>) {
        for job in jobs.into_iter().rev() {
            self.next.push_front(job);
        }
    }

    /// Puts jobs that lack something into the next batch, but not for ever.
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
