//! Processes that stop at a point of their work, as a process does that hangs.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use tokio::process::Command;

/// How long a process may take to come to a point.
const PATIENCE: Duration = Duration::from_secs(30);

/// A named point at which a process stops once, as soon as it is armed.
pub struct StopPoint {
    name: &'static str,
    file: PathBuf,
}

impl StopPoint {
    pub fn new(name: &'static str) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let file = format!("tributary-stop-{}-{number}", std::process::id());
        Self { name, file: std::env::temp_dir().join(file) }
    }

    /// Lets a process know the point.
    pub fn tell(&self, command: &mut Command) {
        let wanted = format!("{}:{}", self.name, self.file.display());
        command.env("TRIBUTARY_TEST_STOP_AT", wanted);
    }

    pub fn arm(&self) {
        std::fs::write(&self.file, "").unwrap();
    }

    pub fn is_reached(&self) -> bool {
        !self.file.exists()
    }

    /// Waits until the process has come to the point. Returns when it stopped.
    pub async fn reached(&self) -> Instant {
        let began = Instant::now();
        while !self.is_reached() {
            assert!(began.elapsed() < PATIENCE, "the process never comes to {}", self.name);
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        Instant::now()
    }
}

impl Drop for StopPoint {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.file);
    }
}
