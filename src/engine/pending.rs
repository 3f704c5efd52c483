//! Pending commands: the queues, and the jobs that go before those in the queues.

use std::collections::{HashMap, VecDeque};
use std::time::Instant;

use tokio::sync::mpsc;

use super::job::{Identity, Job};
use crate::metrics::Metrics;

/// The part of a batch that commands in the background may fill while others wait, as a divisor.
const BACKGROUND_PART: usize = 10;

/// How many more commands a batch takes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Room {
    commands: usize,
    /// How many of them may be in the background, if the batch has or expects commands of callers.
    in_background: usize,
    /// Whether the batch has commands of callers, or is to expect some.
    has_others: bool,
}

impl Room {
    /// The room of an empty batch.
    pub(super) fn of(most: usize) -> Self {
        Self::left(most, [])
    }

    /// The room that is left beside these jobs.
    pub(super) fn left<'a>(most: usize, jobs: impl IntoIterator<Item = &'a Job>) -> Self {
        let (mut taken, mut in_background) = (0_usize, 0_usize);
        for job in jobs {
            taken += 1;
            in_background += usize::from(job.is_in_background);
        }
        Self {
            commands: most.saturating_sub(taken),
            in_background: most.div_ceil(BACKGROUND_PART).saturating_sub(in_background),
            has_others: taken > in_background,
        }
    }

    /// The same room in a batch that is to have room for callers whether or not they are in the queue. While a batch is
    /// being appended, those whose commands are in it wait, and so the queue is often empty when the next one begins.
    pub(super) fn expecting(self, callers: bool) -> Self {
        Self { has_others: self.has_others || callers, ..self }
    }

    /// Whether the batch takes commands in the background.
    fn has_background(self) -> bool {
        !self.has_others || self.in_background > 0
    }
}

pub(super) struct Pending {
    queue: mpsc::Receiver<Job>,
    background: mpsc::Receiver<Job>,
    /// Jobs that go into the next batch before new ones.
    next: VecDeque<Job>,
    metrics: Metrics,
}

impl Pending {
    pub(super) fn new(
        queue: mpsc::Receiver<Job>,
        background: mpsc::Receiver<Job>,
        metrics: Metrics,
    ) -> Self {
        Self { queue, background, next: VecDeque::new(), metrics }
    }

    /// Takes no new jobs; pending ones are still carried out.
    pub(super) fn close(&mut self) {
        self.queue.close();
        self.background.close();
    }

    /// Waits until a job is pending that a batch has room for. False if there will never be another.
    pub(super) async fn filled(&mut self, room: Room) -> bool {
        if self.next.is_empty() {
            let takes_background = room.has_background();
            let job = tokio::select! {
                biased;
                Some(job) = self.queue.recv() => job,
                Some(job) = self.background.recv(), if takes_background => begun(job),
                else => return false,
            };
            self.next.push_back(job);
        }
        true
    }

    /// Whether the next batch may be decided ahead: no pending job has conflicted, must be alone in its batch, could
    /// not be decided ahead before, or is in doubt.
    pub(super) fn is_plain(&self) -> bool {
        !self
            .next
            .iter()
            .any(|job| job.alone || job.conflicts > 0 || job.needs_outcome || job.is_in_doubt)
    }

    /// Whether a pending job is to be decided on streams that are loaded under the log's lock.
    pub(super) fn is_in_doubt(&self) -> bool {
        self.next.iter().any(|job| job.is_in_doubt)
    }

    /// Takes as many pending jobs as there is room for: those of callers first, then those in the background.
    /// Repetitions of one request are joined. Different requests with the same key are all taken: the batch decides
    /// which of them is carried out, and the others build on that one.
    pub(super) fn take_batch(&mut self, mut room: Room) -> Vec<Job> {
        let mut taken = Taken::default();
        // Conflicted jobs are not mixed with new ones: a new command may need less to be loaded, be decided
        // before them, and make them conflict again.
        let only_conflicted = self.next.iter().any(|job| job.conflicts > 0);
        while taken.jobs.len() < room.commands {
            if self.next.front().is_some_and(|job| job.alone) && !taken.jobs.is_empty() {
                break;
            }
            let Some(job) = self.next.pop_front().or_else(|| {
                if only_conflicted {
                    return None;
                }
                self.queue.try_recv().ok().or_else(|| self.background(room))
            }) else {
                break;
            };
            if job.alone {
                return vec![job];
            }
            if job.is_in_background {
                room.in_background = room.in_background.saturating_sub(1);
            } else {
                room.has_others = true;
            }
            taken.add(job);
        }
        let waiting = i64::try_from(self.queue.len()).unwrap_or(i64::MAX);
        self.metrics.queue_commands.set(waiting);
        taken.jobs
    }

    /// A job in the background, if there is room for one.
    fn background(&mut self, room: Room) -> Option<Job> {
        if !room.has_background() {
            return None;
        }
        self.background.try_recv().ok().map(begun)
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

/// A job that has left the queue of those in the background, where it may have waited for longer than a caller does.
fn begun(mut job: Job) -> Job {
    job.queued_at = Instant::now();
    job
}

/// Jobs of a batch, each request once.
#[derive(Default)]
struct Taken {
    jobs: Vec<Job>,
    known: HashMap<Identity, usize>,
}

impl Taken {
    fn add(&mut self, job: Job) {
        let Self { jobs, known } = self;
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
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

    use tokio::sync::oneshot;

    use super::*;
    use crate::engine::Submission;
    use crate::store::{Actor, Door};
    use domain::UserId;
    use domain::decide::Command;

    type Queues = (mpsc::Sender<Job>, mpsc::Sender<Job>, Pending);

    fn queues() -> Queues {
        let (queue, jobs) = mpsc::channel(1_000);
        let (background, jobs_in_background) = mpsc::channel(1_000);
        (queue, background, Pending::new(jobs, jobs_in_background, Metrics::default()))
    }

    fn job(in_background: bool) -> Job {
        let command = Command::ExportUser { user_id: UserId::parse("ada").unwrap() };
        let submission = Submission::new(command, Actor::SYSTEM, Door::job("test"));
        let submission = if in_background { submission.in_the_background() } else { submission };
        Job::new(submission, oneshot::channel().0, None)
    }

    fn fill((queue, background, _): &Queues, others: usize, in_background: usize) {
        (0..others).for_each(|_| queue.try_send(job(false)).unwrap());
        (0..in_background).for_each(|_| background.try_send(job(true)).unwrap());
    }

    /// How many jobs of callers and in the background were taken.
    fn counts(jobs: &[Job]) -> (usize, usize) {
        let in_background = jobs.iter().filter(|job| job.is_in_background).count();
        (jobs.len() - in_background, in_background)
    }

    #[test]
    fn commands_in_the_background_get_a_tenth_of_a_batch_while_others_wait() {
        let mut queues = queues();
        fill(&queues, 3, 100);
        assert_eq!(counts(&queues.2.take_batch(Room::of(50))), (3, 5));
        fill(&queues, 60, 0);
        assert_eq!(counts(&queues.2.take_batch(Room::of(50))), (50, 0), "those of callers first");
        assert_eq!(counts(&queues.2.take_batch(Room::of(50))), (10, 5));
    }

    #[test]
    fn commands_in_the_background_get_the_whole_batch_while_no_others_wait() {
        let mut queues = queues();
        fill(&queues, 0, 100);
        assert_eq!(counts(&queues.2.take_batch(Room::of(50))), (0, 50));
    }

    #[test]
    fn commands_in_the_background_get_a_tenth_of_a_batch_that_is_to_expect_others() {
        let mut queues = queues();
        fill(&queues, 0, 100);
        let room = |expects_callers| Room::of(50).expecting(expects_callers);
        assert_eq!(counts(&queues.2.take_batch(room(true))), (0, 5));
        assert_eq!(counts(&queues.2.take_batch(room(false))), (0, 50));
    }

    #[test]
    fn a_batch_that_is_filled_in_several_steps_has_one_share_for_the_background() {
        let mut queues = queues();
        fill(&queues, 3, 100);
        let mut batch = queues.2.take_batch(Room::of(50));
        fill(&queues, 3, 0);
        batch.extend(queues.2.take_batch(Room::left(50, &batch)));
        assert_eq!(counts(&batch), (6, 5));
        // One that began with nothing but background has no more of it when others come.
        fill(&queues, 0, 0);
        let mut batch = queues.2.take_batch(Room::of(20));
        assert_eq!(counts(&batch), (0, 20));
        batch.truncate(10);
        fill(&queues, 1, 0);
        batch.extend(queues.2.take_batch(Room::left(20, &batch)));
        assert_eq!(counts(&batch), (1, 10));
    }

    #[tokio::test]
    async fn a_batch_whose_share_is_used_up_waits_for_commands_of_callers_only() {
        let mut queues = queues();
        fill(&queues, 1, 100);
        let batch = queues.2.take_batch(Room::of(50));
        let room = Room::left(50, &batch);
        let waited =
            tokio::time::timeout(std::time::Duration::from_millis(20), queues.2.filled(room));
        assert!(waited.await.is_err(), "nothing is taken out of the background");
        fill(&queues, 1, 0);
        assert!(queues.2.filled(room).await);
        assert_eq!(counts(&queues.2.take_batch(room)), (1, 0));
        assert!(queues.2.filled(Room::of(50)).await);
        assert_eq!(counts(&queues.2.take_batch(Room::of(50))), (0, 50));
    }

    #[tokio::test]
    async fn nothing_is_filled_any_more_when_both_queues_are_closed_and_empty() {
        let mut queues = queues();
        fill(&queues, 1, 1);
        queues.2.close();
        for _ in 0..2 {
            assert!(queues.2.filled(Room::of(1)).await);
            assert_eq!(queues.2.take_batch(Room::of(1)).len(), 1);
        }
        assert!(!queues.2.filled(Room::of(1)).await);
    }

    #[tokio::test]
    async fn the_patience_of_a_command_in_the_background_begins_when_it_leaves_its_queue() {
        let mut queues = queues();
        fill(&queues, 0, 2);
        tokio::time::sleep(std::time::Duration::from_millis(30)).await;
        let before = Instant::now();
        assert!(queues.2.filled(Room::of(2)).await);
        let jobs = queues.2.take_batch(Room::of(2));
        assert!(jobs.iter().all(|job| job.queued_at >= before));
    }
}
