//! Progress of long work: a bar with its rate on a terminal, otherwise a line at the end of each step.

use std::fmt::Write;
use std::io::IsTerminal;
use std::time::Instant;

use indicatif::{ProgressBar, ProgressState, ProgressStyle};

use super::say;
use crate::read::Watcher;

const TEMPLATE: &str =
    "{msg:22} {wide_bar} {percent:>3} %  {human_pos} of {human_len}  {rate}  {eta} left";

/// The smallest number of items for which a rate is shown.
const LEAST_FOR_RATE: u64 = 1_000;

/// Shows the progress of one step after the other.
pub(super) struct Progress {
    bar: ProgressBar,
    what: String,
    end: u64,
    begun: Instant,
}

impl Progress {
    pub(super) fn new() -> Self {
        Self { bar: ProgressBar::hidden(), what: String::new(), end: 0, begun: Instant::now() }
    }
}

fn count(position: i64) -> u64 {
    u64::try_from(position).unwrap_or_default()
}

impl Watcher for Progress {
    fn begin(&mut self, what: &str, end: i64) {
        (self.what, self.end, self.begun) = (what.into(), count(end), Instant::now());
        if std::io::stderr().is_terminal() {
            self.bar = ProgressBar::new(self.end);
            if let Ok(style) = ProgressStyle::with_template(TEMPLATE) {
                let rate = |state: &ProgressState, text: &mut dyn Write| {
                    let _ = write!(text, "{:.0}/s", state.per_sec());
                };
                self.bar.set_style(style.with_key("rate", rate));
            }
            self.bar.set_message(self.what.clone());
        }
    }

    fn reach(&mut self, position: i64) {
        self.end = self.end.max(count(position));
        self.bar.set_length(self.end);
        self.bar.set_position(count(position));
    }

    fn end(&mut self) {
        self.bar.finish_and_clear();
        let seconds = self.begun.elapsed().as_secs_f64();
        if self.end < LEAST_FOR_RATE {
            say(format_args!("{}: done in {seconds:.1} s", self.what));
            return;
        }
        #[allow(clippy::cast_precision_loss, reason = "a rate for people")]
        let rate = self.end as f64 / seconds.max(0.001);
        say(format_args!("{}: {} in {seconds:.1} s, {rate:.0} a second", self.what, self.end));
    }
}
