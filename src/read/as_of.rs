//! The past: a participant as of an earlier moment.

use super::{At, READ_EVENTS, Reads, Standing};
use crate::store::{StoreError, in_time, log};
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

    async fn replay(
        &self,
        id: &ParticipantId,
        moment: Timestamp,
    ) -> Result<At<Standing>, StoreError> {
        let pool = self.database.pool();
        let position = log::position_at(pool, moment).await?;
        let stream = StreamKey::of::<Participant>(id);
        let mut participant = Participant::default();
        // Whatever moves money, also of a type that only a newer release knows.
        let mut buckets = Buckets::default();
        let mut sequence = 0;
        loop {
            let events = log::read_stream(pool, &stream, sequence, position, READ_EVENTS).await?;
            let is_end = i64::try_from(events.len()).is_ok_and(|count| count < READ_EVENTS);
            for event in events {
                sequence = event.sequence;
                let posting = event.posting()?;
                let known = match posting {
                    Some(_) => event.read_if_known()?,
                    None => Some(event.read()?),
                };
                if let Some(event) = known.and_then(Participant::event) {
                    participant.apply(event);
                }
                buckets = posting.map_or(buckets, |posting| posting.after);
            }
            if is_end {
                let found = Standing {
                    balance_minor: buckets.balance(),
                    earned_minor: buckets.net_earned(),
                    ..Standing::from(&participant)
                };
                return Ok(At { position, found });
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
                if let Some(event) = Participant::event(event.read()?) {
                    participant.apply(event);
                }
            }
            if is_end {
                return Ok(sequence);
            }
        }
    }
}
