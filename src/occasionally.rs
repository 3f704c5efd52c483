//! Log lines about something that may happen thousands of times a second.

use std::time::{Duration, Instant};

/// Lets one line through in each interval, with the number of lines that were suppressed before.
#[derive(Debug)]
pub struct Occasionally {
    interval: Duration,
    last: Option<Instant>,
    suppressed: u64,
}

impl Occasionally {
    /// The first line is let through at once.
    #[must_use]
    pub fn every(interval: Duration) -> Self {
        Self { interval, last: None, suppressed: 0 }
    }

    /// If the line may be logged now, the number of lines that were suppressed since the last one.
    pub fn now(&mut self) -> Option<u64> {
        if self.last.is_some_and(|last| last.elapsed() < self.interval) {
            self.suppressed += 1;
            return None;
        }
        self.last = Some(Instant::now());
        Some(std::mem::take(&mut self.suppressed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_is_let_through_in_each_interval_and_the_others_are_counted() {
        let mut rarely = Occasionally::every(Duration::from_hours(1));
        assert_eq!(rarely.now(), Some(0));
        assert_eq!((rarely.now(), rarely.now()), (None, None));
        let mut always = Occasionally { interval: Duration::ZERO, ..rarely };
        assert_eq!(always.now(), Some(2));
        assert_eq!(always.now(), Some(0));
    }
}
