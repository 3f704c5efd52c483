//! The long-running tasks of a server: each is started under a name, watched, and stopped in order.
//!
//! A server depends on all of them: without the projector, for example, reads would silently become stale. A
//! task that ends or panics before it was told to stop therefore ends the server, with the task's name and
//! the reason. The server stops in stages, and one signal reaches everything: the token of a stage is a child
//! of the token of the next one, so that the last stage cannot stop before the others.

use std::any::Any;
use std::fmt::Display;
use std::sync::Arc;

use tokio::sync::SetOnce;
use tokio::task::{JoinError, JoinHandle};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// The stages in which a server stops, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// The server reports that it is not ready, so that load balancers send no more calls. It still answers.
    Readiness,
    /// No connections are accepted, streams end with a token, and calls finish.
    Calls,
    /// No commands are accepted, and pending ones are carried out.
    Commands,
    /// Everything else: the tasks that follow the log, and those that report on the server.
    Background,
}

/// A task that ended although it had not been told to stop.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the task '{task}' ended: {reason}")]
pub struct TaskEnded {
    /// Its name.
    pub task: &'static str,
    /// Its error, or the message of its panic.
    pub reason: String,
}

/// The tasks of one server. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Tasks {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    readiness: Stop,
    calls: Stop,
    commands: Stop,
    background: Stop,
    /// Cancelled when tasks have not stopped in time and are aborted.
    abandoned: CancellationToken,
    /// The first task that ended unexpectedly.
    ended: SetOnce<TaskEnded>,
}

/// One stage: the signal, and the tasks that it stops.
#[derive(Debug)]
struct Stop {
    signal: CancellationToken,
    tasks: TaskTracker,
}

impl Stop {
    fn new(signal: CancellationToken) -> Self {
        Self { signal, tasks: TaskTracker::new() }
    }
}

impl Default for Shared {
    fn default() -> Self {
        let background = CancellationToken::new();
        let commands = background.child_token();
        let calls = commands.child_token();
        let readiness = calls.child_token();
        Self {
            readiness: Stop::new(readiness),
            calls: Stop::new(calls),
            commands: Stop::new(commands),
            background: Stop::new(background),
            abandoned: CancellationToken::new(),
            ended: SetOnce::new(),
        }
    }
}

impl Tasks {
    /// The signal of a stage. Cancelled when the server reaches that stage.
    #[must_use]
    pub fn signal(&self, stage: Stage) -> CancellationToken {
        self.stop_of(stage).signal.clone()
    }

    /// Starts a task that runs until the signal of its stage, which it receives. If the task ends earlier,
    /// the server ends.
    pub fn spawn<F, E>(
        &self,
        stage: Stage,
        name: &'static str,
        task: impl FnOnce(CancellationToken) -> F,
    ) where
        F: Future<Output = Result<(), E>> + Send + 'static,
        E: Display + Send + 'static,
    {
        let running = tokio::spawn(task(self.signal(stage)));
        self.watch(stage, name, running, |ended| match ended {
            Ok(()) => Some("it returned before it was told to stop".to_owned()),
            Err(error) => Some(error.to_string()),
        });
    }

    /// Starts a task that may end by itself before the signal of its stage. The server ends only if it
    /// panics.
    pub fn spawn_finite<F>(
        &self,
        stage: Stage,
        name: &'static str,
        task: impl FnOnce(CancellationToken) -> F,
    ) where
        F: Future<Output = ()> + Send + 'static,
    {
        let running = tokio::spawn(task(self.signal(stage)));
        self.watch(stage, name, running, |()| None);
    }

    /// Watches a task. `fault` returns what is wrong with the way in which it ended.
    fn watch<T: Send + 'static>(
        &self,
        stage: Stage,
        task: &'static str,
        mut running: JoinHandle<T>,
        fault: impl FnOnce(T) -> Option<String> + Send + 'static,
    ) {
        let shared = self.shared.clone();
        let Stop { signal, tasks } = self.stop_of(stage);
        let signal = signal.clone();
        tasks.spawn(async move {
            let ended = tokio::select! {
                ended = &mut running => ended,
                () = shared.abandoned.cancelled() => return running.abort(),
            };
            // The signal may have come after the task's end. Then the server is stopping anyway.
            let is_told = signal.is_cancelled();
            let reason = match ended {
                Ok(_) if is_told => return,
                Ok(ended) => fault(ended),
                Err(failed) => panic_of(failed),
            };
            match reason {
                None => {}
                Some(reason) if is_told => {
                    tracing::warn!(task, reason, "a task failed while the server was stopping");
                }
                Some(reason) => {
                    tracing::error!(task, reason, "a task ended, and the server ends with it");
                    // Only the first end is the reason; other tasks may end because of it.
                    let _ = shared.ended.set(TaskEnded { task, reason });
                }
            }
        });
    }

    /// Resolves when a task has ended unexpectedly.
    pub async fn failed(&self) -> TaskEnded {
        self.shared.ended.wait().await.clone()
    }

    /// Enters a stage, and waits until its tasks have ended or the deadline has passed. Returns whether they
    /// ended.
    pub async fn stop(&self, stage: Stage, deadline: Instant) -> bool {
        let Stop { signal, tasks } = self.stop_of(stage);
        signal.cancel();
        tasks.close();
        tokio::time::timeout_at(deadline, tasks.wait()).await.is_ok()
    }

    /// Aborts all tasks that have not ended.
    pub fn abandon(&self) {
        self.shared.background.signal.cancel();
        self.shared.abandoned.cancel();
    }

    fn stop_of(&self, stage: Stage) -> &Stop {
        match stage {
            Stage::Readiness => &self.shared.readiness,
            Stage::Calls => &self.shared.calls,
            Stage::Commands => &self.shared.commands,
            Stage::Background => &self.shared.background,
        }
    }
}

/// The message of a panic; `None` if the task was aborted, which happens when the runtime ends.
fn panic_of(failed: JoinError) -> Option<String> {
    let payload = failed.try_into_panic().ok()?;
    let message = message_of(&*payload).unwrap_or("no message");
    Some(format!("it panicked: {message}"))
}

/// The message of a panic.
pub(crate) fn message_of(payload: &(dyn Any + Send)) -> Option<&str> {
    let text = payload.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| payload.downcast_ref::<&'static str>().copied())
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::time::Duration;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(10);

    fn soon() -> Instant {
        Instant::now() + PATIENCE
    }

    /// A task that stops when told to.
    async fn until_stopped(stop: CancellationToken) -> Result<(), Infallible> {
        stop.cancelled().await;
        Ok(())
    }

    async fn failure(tasks: &Tasks) -> TaskEnded {
        tokio::time::timeout(PATIENCE, tasks.failed())
            .await
            .unwrap_or_else(|_| panic!("no failure"))
    }

    #[tokio::test]
    async fn a_task_that_panics_is_named_with_its_message() {
        let tasks = Tasks::default();
        tasks.spawn(Stage::Background, "good", until_stopped);
        tasks.spawn(Stage::Background, "bad", |_| async {
            assert!(std::env::args().count() == 0, "there are {} programs", "no");
            Ok::<_, Infallible>(())
        });
        let expected =
            TaskEnded { task: "bad", reason: "it panicked: there are no programs".into() };
        assert_eq!(failure(&tasks).await, expected);
        assert_eq!(
            expected.to_string(),
            "the task 'bad' ended: it panicked: there are no programs"
        );
    }

    #[tokio::test]
    async fn a_task_that_returns_early_or_fails_is_named_with_its_reason() {
        let tasks = Tasks::default();
        tasks.spawn(Stage::Commands, "early", |_| async { Ok::<_, Infallible>(()) });
        let ended = failure(&tasks).await;
        assert_eq!(ended.task, "early");
        assert_eq!(ended.reason, "it returned before it was told to stop");

        let tasks = Tasks::default();
        tasks.spawn(Stage::Commands, "failing", |_| async { Err("no database") });
        assert_eq!(
            failure(&tasks).await,
            TaskEnded { task: "failing", reason: "no database".into() }
        );
    }

    #[tokio::test]
    async fn a_finite_task_may_end_but_not_panic() {
        let tasks = Tasks::default();
        tasks.spawn_finite(Stage::Background, "done", |_| async {});
        let none = tokio::time::timeout(Duration::from_millis(100), tasks.failed()).await;
        assert!(none.is_err(), "{none:?}");
        tasks.spawn_finite(Stage::Background, "panicking", |_| async { panic!("at once") });
        assert_eq!(
            failure(&tasks).await,
            TaskEnded { task: "panicking", reason: "it panicked: at once".into() }
        );
    }

    #[tokio::test]
    async fn tasks_that_were_told_to_stop_are_no_failure_and_are_waited_for() {
        let tasks = Tasks::default();
        let is_done = Arc::new(AtomicBool::new(false));
        let done = is_done.clone();
        tasks.spawn(Stage::Commands, "slow", |stop| async move {
            stop.cancelled().await;
            tokio::time::sleep(Duration::from_millis(50)).await;
            done.store(true, Ordering::SeqCst);
            Err("too late to matter")
        });
        assert!(tasks.stop(Stage::Commands, soon()).await);
        assert!(is_done.load(Ordering::SeqCst), "the stage was over before its task");
        let none = tokio::time::timeout(Duration::from_millis(100), tasks.failed()).await;
        assert!(none.is_err(), "{none:?}");
    }

    #[tokio::test]
    async fn a_stage_stops_with_those_before_it_and_without_those_after_it() {
        let stages = [Stage::Readiness, Stage::Calls, Stage::Commands, Stage::Background];
        for (reached, stage) in stages.into_iter().enumerate() {
            let tasks = Tasks::default();
            assert!(tasks.stop(stage, soon()).await);
            for (number, other) in stages.into_iter().enumerate() {
                let is_stopped = tasks.signal(other).is_cancelled();
                assert_eq!(is_stopped, number <= reached, "{other:?} after {stage:?}");
            }
        }
    }

    #[tokio::test]
    async fn a_task_that_does_not_stop_in_time_is_aborted() {
        /// Records that it was dropped.
        struct Held(Arc<AtomicBool>);
        impl Drop for Held {
            fn drop(&mut self) {
                self.0.store(true, Ordering::SeqCst);
            }
        }
        let tasks = Tasks::default();
        let is_dropped = Arc::new(AtomicBool::new(false));
        let held = Held(is_dropped.clone());
        tasks.spawn(Stage::Background, "deaf", |_| async move {
            let _held = held;
            std::future::pending::<Result<(), Infallible>>().await
        });
        assert!(!tasks.stop(Stage::Background, Instant::now() + Duration::from_millis(50)).await);
        assert!(!is_dropped.load(Ordering::SeqCst));
        tasks.abandon();
        for _ in 0..100 {
            if is_dropped.load(Ordering::SeqCst) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("the task still runs");
    }
}
