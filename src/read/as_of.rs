//! The past: a participant as the log stood at some moment.

use super::{At, READ_EVENTS, Reads, Standing};
use crate::store::{StoreError, in_time, log};
use cqrs_es::Aggregate;
use domain::{AnyEvent, Participant, ParticipantId, StreamKey, Timestamp};

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
        in_time(self.replay_until(id, moment)).await
    }

    async fn replay_until(
        &self,
        id: &ParticipantId,
        moment: Timestamp,
    ) -> Result<At<Standing>, StoreError> {
        let pool = self.database.pool();
        let position = log::position_at(pool, moment).await?;
        let mut participant = Participant::default();
        self.replay(id, &mut participant, 0, position).await?;
        Ok(At { position, found: Standing::from(&participant) })
    }

    /// Takes a participant from one sequence of their stream to a position of the log. The sequence there.
    ///
    /// # Errors
    /// [`StoreError`] if the log cannot be read.
    pub async fn replay(
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
            let events = log::read_stream(pool, &stream, sequence, position, READ_EVENTS).await?;
            let is_end = i64::try_from(events.len()).is_ok_and(|count| count < READ_EVENTS);
            for event in events {
                sequence = event.sequence;
                match event.read()? {
                    AnyEvent::Participant(event) => participant.apply(event),
                    AnyEvent::User(_) | AnyEvent::Program(_) | AnyEvent::Purchase(_) => {}
                }
            }
            if is_end {
                return Ok(sequence);
            }
        }
    }
}
