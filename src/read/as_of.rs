//! The past: a participant as the log stood at some moment.

use super::{At, READ_EVENTS, Reads, Standing};
use crate::store::{StoreError, in_time, log};
use cqrs_es::Aggregate;
use domain::{Participant, ParticipantId, Stream, StreamKey, Timestamp};

impl Reads {
    /// Where a participant stood at a moment: nowhere, with zeros, before the enrollment. The position is
    /// that of the last event up to then.
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
                if let Some(event) = Participant::event(event.read()?) {
                    participant.apply(event);
                }
            }
            if is_end {
                return Ok(At { position, found: Standing::from(&participant) });
            }
        }
    }
}
