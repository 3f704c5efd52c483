//! What stands on a participant's own stream: rewards, and everything that makes up the balance. It is
//! read from the log, newest first.

use super::Reads;
use crate::store::{StoreError, in_time, log};
use domain::rules::RewardKind;
use domain::{Participant, ParticipantEvent, ParticipantId, StreamKey, Timestamp, decode};

/// How many events are read at once.
const READ_EVENTS: i64 = 500;
/// How many events of the stream are looked at for one page before it is handed out as it is.
const MAX_LOOKED_AT: i64 = 20_000;

/// Which entries to list.
#[derive(Clone, Debug, Default)]
pub struct EntryFilter {
    /// Rewards only.
    pub rewards_only: bool,
    /// Rewards of this kind only.
    pub kind: Option<RewardKind>,
    /// Rewards of this level only.
    pub level: Option<u32>,
    /// Rewards that this user caused only.
    pub source_user_id: Option<String>,
    /// Recorded at this moment or later only.
    pub start: Option<Timestamp>,
    /// Recorded before this moment only.
    pub end: Option<Timestamp>,
}

impl EntryFilter {
    fn takes(&self, event: &ParticipantEvent) -> bool {
        match event {
            ParticipantEvent::RewardGranted(reward) => {
                self.kind.is_none_or(|kind| kind == reward.kind)
                    && self.level.is_none_or(|level| level == reward.level)
                    && self
                        .source_user_id
                        .as_ref()
                        .is_none_or(|source| source == reward.source_user_id.as_str())
            }
            ParticipantEvent::PurchaseCredited(_) => !self.rewards_only,
            _ => false,
        }
    }
}

/// A page of entries.
#[derive(Debug, Default)]
pub struct Page {
    /// Newest first, with when they were recorded.
    pub entries: Vec<(ParticipantEvent, Timestamp)>,
    /// The sequence below which the next page begins; `None` if there is none.
    pub next_before: Option<i64>,
}

impl Reads {
    /// Rewards and other entries of a participant, newest first: up to a position, below a sequence, at
    /// most `limit`. A page can be shorter although there are more.
    ///
    /// # Errors
    /// [`StoreError`] if the log cannot be read.
    pub async fn entries(
        &self,
        id: &ParticipantId,
        filter: &EntryFilter,
        up_to_position: i64,
        before_sequence: i64,
        limit: usize,
    ) -> Result<Page, StoreError> {
        let stream = StreamKey::participant(id);
        let pool = self.database.pool();
        let last = in_time(log::sequence_at(pool, &stream, up_to_position)).await?;
        let mut page = Page::default();
        let mut before = before_sequence.min(last + 1);
        let end = before.saturating_sub(MAX_LOOKED_AT);
        while before > 1 {
            if before <= end {
                page.next_before = Some(before);
                break;
            }
            // Sequences have no gaps, so this bounds what is looked at, whatever is found.
            let from = (before - READ_EVENTS).max(1);
            let events = in_time(log::read_entries_back(pool, &stream, from, before)).await?;
            for event in events {
                if filter.start.is_some_and(|start| event.recorded_at < start) {
                    // Time runs with the log: nothing older can match.
                    return Ok(page);
                }
                if filter.end.is_some_and(|end| event.recorded_at >= end) {
                    continue;
                }
                let entry =
                    decode::<Participant>(&event.event_type, &event.event_version, &event.payload)
                        .map_err(|source| StoreError::Unreadable {
                            stream: stream.to_string(),
                            sequence: event.sequence,
                            source,
                        })?;
                if filter.takes(&entry) {
                    if page.entries.len() == limit {
                        page.next_before = Some(event.sequence + 1);
                        return Ok(page);
                    }
                    page.entries.push((entry, event.recorded_at));
                }
            }
            before = from;
        }
        Ok(page)
    }
}
