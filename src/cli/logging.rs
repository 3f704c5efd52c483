//! Logs: for people on a terminal, as JSON otherwise. They go to stderr; stdout is for what a command
//! says.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

/// Starts logging. `TRIBUTARY_LOG` filters, as in `info` or `tributary::engine=debug`.
pub(super) fn start() {
    let filter = EnvFilter::builder()
        .with_default_directive(tracing::Level::INFO.into())
        .with_env_var("TRIBUTARY_LOG")
        .from_env_lossy();
    let subscriber = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    if std::io::stderr().is_terminal() {
        subscriber.compact().init();
    } else {
        subscriber.json().init();
    }
}
