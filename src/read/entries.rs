//! The entries on a participant's own stream: rewards, and everything else that makes up the balance. They
//! are read from the log, newest first.

use super::Reads;
use crate::store::{RecordedEvent, StoreError, in_time, log};
use domain::rules::RewardKind;
use domain::{
    Participant, ParticipantEvent, ParticipantId, Posting, RewardGranted, RewardWithheld, Stream,
    StreamKey, Timestamp,
};

/// How many events are read at once.
const READ_EVENTS: i64 = 500;
/// How many events of the stream are examined for one page before it is returned incomplete.
const MAX_LOOKED_AT: i64 = 20_000;

/// Which entries to list.
#[derive(Clone, Debug, Default)]
pub struct EntryFilter {
    /// Only rewards.
    pub rewards_only: bool,
    /// Only rewards of this kind.
    pub kind: Option<RewardKind>,
    /// Only rewards of this level.
    pub level: Option<u32>,
    /// Only rewards that this user caused.
    pub source_user_id: Option<String>,
    /// Only entries recorded at this moment or later.
    pub start: Option<Timestamp>,
    /// Only entries recorded before this moment.
    pub end: Option<Timestamp>,
}

impl EntryFilter {
    /// Whether a list shows the entry. Every event that moves money is an entry; some filters apply to
    /// rewards only.
    fn takes(&self, entry: &Entry) -> bool {
        match &entry.reward {
            Some(reward) => {
                let is_source = |source: &String| source == reward.source_user_id.as_str();
                self.kind.is_none_or(|kind| entry.posting.kind.reward_kind() == Some(kind))
                    && self.level.is_none_or(|level| level == reward.level)
                    && self.source_user_id.as_ref().is_none_or(is_source)
            }
            None => !self.rewards_only,
        }
    }
}

/// An event that moved a participant's money.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The event.
    pub event: RecordedEvent,
    /// How it moved money.
    pub posting: Posting,
    /// The purchase that the entry concerns, if any.
    pub purchase_id: Option<String>,
    /// The adjustment, as whoever asked for it named it, and why; if the entry is one.
    pub adjustment: Option<(String, String)>,
    /// The payout, if one has moved the money.
    pub payout_id: Option<String>,
    /// The redemption in the store that the entry concerns, if any.
    pub redemption_id: Option<String>,
    /// The reward, if the event grants one.
    pub reward: Option<RewardGranted>,
}

impl Entry {
    /// Reads an event; `None` if it moves no money, as also a transfer of 0 does not. The rest of the event is read
    /// only if it grants a reward; other kinds of entries need no more than the posting.
    ///
    /// # Errors
    /// [`StoreError::Unreadable`] if the event says something that makes no sense.
    pub fn read(event: RecordedEvent) -> Result<Option<Self>, StoreError> {
        #[derive(serde::Deserialize)]
        struct About {
            #[serde(default)]
            purchase_id: Option<String>,
            #[serde(default)]
            adjustment_id: Option<String>,
            #[serde(default)]
            reason_code: Option<String>,
            #[serde(default)]
            payout_id: Option<String>,
            #[serde(default)]
            redemption_id: Option<String>,
        }
        let Some(posting) = event.posting()?.filter(Posting::moves_money) else {
            return Ok(None);
        };
        let about = serde_json::from_str::<About>(&event.payload).ok();
        let (purchase_id, adjustment, redemption_id, payout_id) = match about {
            Some(About { purchase_id, adjustment_id, reason_code, redemption_id, payout_id }) => {
                (purchase_id, adjustment_id.zip(reason_code), redemption_id, payout_id)
            }
            None => (None, None, None, None),
        };
        let reward = match posting.kind.reward_kind() {
            Some(_) => event
                .read_if_known()?
                .and_then(Participant::event)
                .and_then(ParticipantEvent::granted),
            None => None,
        };
        Ok(Some(Self { event, posting, purchase_id, adjustment, payout_id, redemption_id, reward }))
    }
}

/// A page of entries.
#[derive(Debug, Default)]
pub struct Page {
    /// Newest first.
    pub entries: Vec<Entry>,
    /// The sequence below which the next page begins; `None` if there is none.
    pub next_before: Option<i64>,
}

/// A page of what was withheld.
#[derive(Debug, Default)]
pub struct WithheldPage {
    /// The events and what they say, newest first.
    pub withheld: Vec<(RecordedEvent, RewardWithheld)>,
    /// The sequence below which the next page begins; `None` if there is none.
    pub next_before: Option<i64>,
}

impl Reads {
    /// What was withheld from a participant for their own sake, newest first: up to a position, below a sequence, at
    /// most `limit`. A page can be shorter although there are more.
    ///
    /// # Errors
    /// [`StoreError`] if the log cannot be read.
    pub async fn withheld(
        &self,
        id: &ParticipantId,
        up_to_position: i64,
        before_sequence: i64,
        limit: usize,
    ) -> Result<WithheldPage, StoreError> {
        let stream = StreamKey::of::<Participant>(id);
        let pool = self.database.pool();
        let last = in_time(log::sequence_at(pool, &stream, up_to_position)).await?;
        let before = before_sequence.min(last + 1);
        let from = before.saturating_sub(MAX_LOOKED_AT).max(1);
        let events = log::read_back_of_type(pool, &stream, from..before, "RewardWithheld");
        let mut page = WithheldPage::default();
        for event in in_time(events).await? {
            if page.withheld.len() == limit {
                page.next_before = Some(event.sequence + 1);
                return Ok(page);
            }
            let fact = event.read_if_known()?.and_then(Participant::event);
            if let Some(ParticipantEvent::RewardWithheld(withheld)) = fact {
                page.withheld.push((event, withheld));
            }
        }
        page.next_before = (from > 1).then_some(from);
        Ok(page)
    }

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
        let stream = StreamKey::of::<Participant>(id);
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
            // Sequences have no gaps, so this bounds the number of events that are examined, regardless of
            // what is found.
            let from = (before - READ_EVENTS).max(1);
            let events = in_time(log::read_entries_back(pool, &stream, from, before)).await?;
            for event in events {
                if filter.start.is_some_and(|start| event.recorded_at < start) {
                    // Times never decrease along the log: no older event can match.
                    return Ok(page);
                }
                if filter.end.is_some_and(|end| event.recorded_at >= end) {
                    continue;
                }
                let Some(entry) = Entry::read(event)? else { continue };
                if filter.takes(&entry) {
                    if page.entries.len() == limit {
                        page.next_before = Some(entry.event.sequence + 1);
                        return Ok(page);
                    }
                    page.entries.push(entry);
                }
            }
            before = from;
        }
        Ok(page)
    }
}
