//! Points at which a process stops itself, so that tests can show what the others do then. Builds without debug
//! assertions have none of this.
//!
//! `TRIBUTARY_TEST_STOP_AT=point:path` stops a process when it comes to the point and the file exists. The file is
//! removed first, so that a process stops once, and the test knows that it has.

/// Stops this process here, if a test has asked for it.
#[cfg(debug_assertions)]
pub(crate) fn point(name: &str) {
    use std::process::Command;
    static WANTED: std::sync::LazyLock<Option<String>> =
        std::sync::LazyLock::new(|| std::env::var("TRIBUTARY_TEST_STOP_AT").ok());

    let wanted = WANTED.as_deref().and_then(|wanted| wanted.split_once(':'));
    if let Some((_, path)) = wanted.filter(|(point, _)| *point == name)
        && std::fs::remove_file(path).is_ok()
    {
        let _ = Command::new("kill").args(["-STOP", &std::process::id().to_string()]).status();
    }
}

/// Stops this process while `work` waits for the database: its statement has been sent, and the answer has usually not
/// been read.
#[cfg(debug_assertions)]
pub(crate) async fn during<T>(name: &str, work: impl Future<Output = T>) -> T {
    let mut work = std::pin::pin!(work);
    std::future::poll_fn(|context| {
        let polled = work.as_mut().poll(context);
        // On a busy machine the answer may be there already, and then there is nothing to wait for.
        point(name);
        polled
    })
    .await
}

/// Does nothing.
#[cfg(not(debug_assertions))]
pub(crate) fn point(_: &str) {}

/// Only does the work.
#[cfg(not(debug_assertions))]
pub(crate) fn during<T, F: Future<Output = T>>(_: &str, work: F) -> F {
    work
}
