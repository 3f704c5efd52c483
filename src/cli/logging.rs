//! Logs: for people on a terminal, as JSON otherwise. They go to stderr; stdout is for the output of
//! commands.

use std::io::IsTerminal;

use client::variable;
use tracing_subscriber::EnvFilter;

/// What is logged unless `TRIBUTARY_LOG` is set. The notices that sqlx reports below warnings are of no
/// interest here.
const DEFAULT_FILTER: &str = "info,sqlx=warn";

/// Starts logging. `TRIBUTARY_LOG` filters, as in `info` or `tributary::engine=debug`.
pub(super) fn start() {
    let wanted = variable("TRIBUTARY_LOG").unwrap_or_else(|| DEFAULT_FILTER.into());
    let filter = EnvFilter::builder().parse_lossy(wanted);
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        // A line that cannot be written, as to a terminal that was closed, would otherwise be reported to stderr,
        // which panics.
        .log_internal_errors(false);
    if std::io::stderr().is_terminal() {
        subscriber.compact().init();
    } else {
        subscriber.json().init();
    }
}
