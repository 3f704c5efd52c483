//! Requests to stop.

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// Ctrl-C and SIGTERM, and what a terminal sends when it is closed (SIGHUP) or at Ctrl-\ (SIGQUIT), caught from
/// the moment this is created: a request that arrives while nobody waits for it is neither lost nor fatal.
#[derive(Clone, Debug)]
pub struct StopRequests(CancellationToken);

impl StopRequests {
    /// Begins to catch requests; they no longer end the process directly. Must be called within a runtime.
    ///
    /// # Errors
    /// If the handlers cannot be installed.
    pub fn listen() -> std::io::Result<Self> {
        let mut interrupts = signal(SignalKind::interrupt())?;
        let mut terminations = signal(SignalKind::terminate())?;
        let mut hangups = unless_ignored(SignalKind::hangup())?;
        let mut quits = unless_ignored(SignalKind::quit())?;
        let requested = CancellationToken::new();
        let requests = Self(requested.clone());
        tokio::spawn(async move {
            tokio::select! {
                _ = interrupts.recv() => {}
                _ = terminations.recv() => {}
                () = received(&mut hangups) => {}
                () = received(&mut quits) => {}
            }
            requested.cancel();
            // Keeps the handlers installed while the process lives, so that later requests have no effect.
            std::future::pending::<()>().await;
        });
        Ok(requests)
    }

    /// Resolves once the process has been asked to stop.
    pub async fn requested(self) {
        self.0.cancelled().await;
    }
}

/// Catches a signal, unless the process was started with the signal ignored, as `nohup` does with SIGHUP.
fn unless_ignored(kind: SignalKind) -> std::io::Result<Option<Signal>> {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    if is_ignored(&status, kind) { Ok(None) } else { signal(kind).map(Some) }
}

/// Whether the status of a process, as Linux reports it, says that a signal is ignored. Elsewhere there is no such
/// report, and every signal is caught.
fn is_ignored(status: &str, kind: SignalKind) -> bool {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or_default();
    let bit = u32::try_from(kind.as_raw_value() - 1).unwrap_or(u64::BITS);
    mask.checked_shr(bit).is_some_and(|mask| mask & 1 == 1)
}

/// Resolves when the signal arrives; never, if it is ignored.
async fn received(signal: &mut Option<Signal>) {
    match signal {
        Some(signal) => {
            signal.recv().await;
        }
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_that_was_ignored_at_the_start_stays_ignored() {
        let nohup = "Name:\ttributary\nSigBlk:\t0000000000000000\nSigIgn:\t0000000000001001\n";
        assert!(is_ignored(nohup, SignalKind::hangup()));
        assert!(!is_ignored(nohup, SignalKind::quit()));
        assert!(!is_ignored("SigIgn:\t0000000000001000\n", SignalKind::hangup()));
        assert!(!is_ignored("", SignalKind::hangup()));
    }
}
