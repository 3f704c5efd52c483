//! What a worker knows about the end of the log, and about other servers.

use crate::store::Appended;
use crate::store::append::LogEnd;

/// What is known about the log as a whole. While only one server appends, the append need not look up the
/// last event of each stream in memory.
#[derive(Clone, Copy, Default)]
pub(super) struct Horizon {
    /// The end of the log as the last batch left it.
    end: LogEnd,
    /// The position since which no other server has appended.
    alone_since: i64,
    /// Whether no other server appended between the last two batches.
    is_alone: bool,
}

impl Horizon {
    /// What is known after a batch, including the end of the log.
    pub(super) fn after(self, appended: &Appended, last_event: Option<i64>) -> (Self, i64) {
        let alone_since = if appended.is_expected { self.alone_since } else { appended.head };
        let end = match last_event {
            Some(position) => LogEnd { position, recorded_at: appended.recorded_at },
            None if appended.is_expected => self.end,
            // The time of the last event is not known.
            None => LogEnd::default(),
        };
        (
            Self { end, alone_since, is_alone: appended.is_expected },
            last_event.unwrap_or(appended.head),
        )
    }

    /// The end of the log as the last batch left it.
    pub(super) fn end(self) -> LogEnd {
        self.end
    }

    /// Whether no other server appended between the last two batches.
    pub(super) fn is_alone(self) -> bool {
        self.is_alone
    }

    /// Whether a stream seen at `seen_at` is still current, provided that the log has not grown since the
    /// last batch.
    pub(super) fn reaches(self, seen_at: i64) -> bool {
        seen_at >= self.alone_since
    }
}
