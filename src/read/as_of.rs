//! The past: a participant as of an earlier moment.

use super::{At, READ_EVENTS, Reads, Standing};
use crate::store::{RecordedEvent, StoreError, in_time, log};
use cqrs_es::Aggregate;
use domain::{Buckets, Participant, ParticipantId, Stream, StreamKey, Timestamp};

impl Reads {
    /// A participant's standing at a moment; all zeros before the enrollment. The position is that of the
    /// last event up to that moment.
    ///
    /// # Errors
    /// [`StoreError`] if the log cannot be read.
    pub async fn standing_at(
        &self,
        id: &ParticipantId,
        moment: Timestamp,
    ) -> Result<At<Standing>, StoreError> {
        in_time(self.replay(id, moment)).await
    }

    /// The position of the last event that was recorded before a moment; 0 if there is none.
    ///
    /// # Errors
    /// [`StoreError`] if the log cannot be read.
    pub async fn position_before(&self, moment: Timestamp) -> Result<i64, StoreError> {
        let just_before = Timestamp(moment.0.saturating_sub(1));
        in_time(log::position_at(self.database.pool(), just_before)).await
    }

    /// A participant's balance at a position, as the last posting has left it; all zeros before the first one.
    ///
    /// # Errors
    /// [`StoreError`] if the log cannot be read.
    pub async fn buckets_at(
        &self,
        id: &ParticipantId,
        position: i64,
    ) -> Result<Buckets, StoreError> {
        let stream = StreamKey::of::<Participant>(id);
        let last = in_time(log::last_posting(self.database.pool(), &stream, position)).await?;
        Ok(last.map(|posting| posting.after).unwrap_or_default())
    }

    async fn replay(
        &self,
        id: &ParticipantId,
        moment: Timestamp,
    ) -> Result<At<Standing>, StoreError> {
        let pool = self.database.pool();
        let position = log::position_at(pool, moment).await?;
        let stream = StreamKey::of::<Participant>(id);
        let mut participant = Participant::default();
        let mut sequence = 0;
        loop {
            let events = log::read_stream(pool, &stream, sequence, position, READ_EVENTS).await?;
            let is_end = i64::try_from(events.len()).is_ok_and(|count| count < READ_EVENTS);
            for event in events {
                sequence = event.sequence;
                apply_known(&mut participant, &event)?;
            }
            if is_end {
                return Ok(At { position, found: Standing::from(&participant) });
            }
        }
    }

    /// Applies to a participant the events of their stream after a sequence and up to a position of the log.
    /// Returns the sequence of the last one.
    ///
    /// # Errors
    /// [`StoreError`] if the log cannot be read.
    pub async fn advance(
        &self,
        id: &ParticipantId,
        participant: &mut Participant,
        after_sequence: i64,
        position: i64,
    ) -> Result<i64, StoreError> {
        let pool = self.database.pool();
        let stream = StreamKey::of::<Participant>(id);
        let mut sequence = after_sequence;
        loop {
            let reading = log::read_stream(pool, &stream, sequence, position, READ_EVENTS);
            let events = in_time(reading).await?;
            let is_end = i64::try_from(events.len()).is_ok_and(|count| count < READ_EVENTS);
            for event in events {
                sequence = event.sequence;
                apply_known(participant, &event)?;
            }
            if is_end {
                return Ok(sequence);
            }
        }
    }
}

/// Applies an event as far as this release knows it. Whatever moves money counts, also of a type that only a newer
/// release knows.
fn apply_known(participant: &mut Participant, event: &RecordedEvent) -> Result<(), StoreError> {
    if let Some(known) = event.read_if_known()? {
        if let Some(event) = Participant::event(known) {
            participant.apply(event);
        }
    } else if let Some(posting) = event.posting()? {
        participant.take_over(&posting);
    }
    Ok(())
}
