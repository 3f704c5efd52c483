//! Reading the log: by position, by stream, by command.

use std::ops::Range;
use std::sync::Arc;

use sqlx::postgres::PgRow;
use sqlx::{PgExecutor, PgPool, Row};
use time::OffsetDateTime;

use super::{Actor, Door, Envelope, StoreError};
use domain::{AnyEvent, DecodeError, Kind, OwnEvent, Posting, StreamKey, Timestamp};

/// One event, as recorded in the log. Cheap to clone.
#[derive(Clone, Debug)]
pub struct RecordedEvent {
    /// Its position in the whole log.
    pub position: i64,
    /// When it was appended.
    pub recorded_at: Timestamp,
    /// The stream.
    pub stream: StreamKey,
    /// Its sequence in the stream.
    pub sequence: i64,
    /// The name of its type.
    pub event_type: Arc<str>,
    /// The version of its payload.
    pub event_version: Arc<str>,
    /// Its fields, as JSON.
    pub payload: Arc<str>,
    /// The number of events of the command, from this one on; on its first event only.
    pub command_events: Option<i64>,
    /// Who caused the command and how it came in; on its first event only.
    pub envelope: Option<Arc<Envelope>>,
}

impl RecordedEvent {
    /// The event itself.
    ///
    /// # Errors
    /// [`DecodeError`] if no version of this release can read it.
    pub fn decode(&self) -> Result<AnyEvent, DecodeError> {
        AnyEvent::decode(self.stream.kind, &self.event_type, &self.event_version, &self.payload)
    }

    /// The event itself.
    ///
    /// # Errors
    /// [`StoreError::Unreadable`] if no version of this release can read it.
    pub fn read(&self) -> Result<AnyEvent, StoreError> {
        self.decode().map_err(|source| self.unreadable(source))
    }

    /// The event itself; `None` if this release does not know its type, which a newer one wrote. For readers
    /// who have all that they need in the posting.
    ///
    /// # Errors
    /// [`StoreError::Unreadable`] if the type is known and the event cannot be read.
    pub fn read_if_known(&self) -> Result<Option<AnyEvent>, StoreError> {
        match self.decode() {
            Ok(event) => Ok(Some(event)),
            Err(DecodeError::UnknownType(_)) => Ok(None),
            Err(source) => Err(self.unreadable(source)),
        }
    }

    /// How an event of any type moves money; `None` if it moves none.
    ///
    /// # Errors
    /// [`StoreError::Unreadable`] if the posting is malformed.
    pub fn posting(&self) -> Result<Option<Posting>, StoreError> {
        Posting::of_payload(&self.payload).map_err(|source| {
            let event_type = self.event_type.to_string();
            self.unreadable(DecodeError::Shape { event_type, source })
        })
    }

    /// The id of the event's entry, if it moves money: its stream and sequence.
    #[must_use]
    pub fn entry_id(&self) -> String {
        format!("{}/{}", self.stream.id, self.sequence)
    }

    fn unreadable(&self, source: DecodeError) -> StoreError {
        let (stream, sequence) = (self.stream.to_string(), self.sequence);
        StoreError::Unreadable { stream, sequence, source }
    }
}

const COLUMNS: &str = "events.position, recorded_at, aggregate_type, aggregate_id, sequence, event_type, \
                       event_version, payload::text as payload, \
                       (metadata ->> 'command_events')::bigint as command_events, \
                       metadata ->> 'actor' as actor, metadata ->> 'door' as door, \
                       (metadata ->> 'request')::uuid as request";

/// The last position of the log; 0 while it is empty.
///
/// # Errors
/// [`StoreError`] if the database cannot be read.
pub async fn head(executor: impl PgExecutor<'_>) -> Result<i64, StoreError> {
    let row = sqlx::query("select position from events order by position desc limit 1")
        .fetch_optional(executor)
        .await?;
    Ok(row.map_or(Ok(0), |row| row.try_get(0))?)
}

/// The next events after a position, at most `limit` of them, in order.
///
/// # Errors
/// [`StoreError`] if the database cannot be read.
pub async fn read_after(
    executor: impl PgExecutor<'_>,
    position: i64,
    limit: i64,
) -> Result<Vec<RecordedEvent>, StoreError> {
    let query =
        format!("select {COLUMNS} from events where position > $1 order by position limit $2");
    fetch(sqlx::query(&query).bind(position).bind(limit), executor).await
}

/// Who caused the command that wrote the event at a position, and how it came in; `None` before the first event.
///
/// # Errors
/// [`StoreError`] if the database cannot be read.
pub async fn envelope_at(
    executor: impl PgExecutor<'_>,
    position: i64,
) -> Result<Option<Arc<Envelope>>, StoreError> {
    let query = format!(
        "select {COLUMNS} from events where position <= $1 and metadata ? 'command_events' \
         order by position desc limit 1"
    );
    let first = fetch(sqlx::query(&query).bind(position), executor).await?.pop();
    Ok(first.and_then(|event| event.envelope))
}

/// The events from one position to another, both included.
///
/// # Errors
/// [`StoreError`] if the database cannot be read.
pub async fn read_range(
    executor: impl PgExecutor<'_>,
    first: i64,
    last: i64,
) -> Result<Vec<RecordedEvent>, StoreError> {
    let query =
        format!("select {COLUMNS} from events where position between $1 and $2 order by position");
    fetch(sqlx::query(&query).bind(first).bind(last), executor).await
}

/// The next events of one stream after a sequence, at most `limit` of them, up to a position.
///
/// # Errors
/// [`StoreError`] if the database cannot be read.
pub async fn read_stream(
    executor: impl PgExecutor<'_>,
    stream: &StreamKey,
    after_sequence: i64,
    up_to_position: i64,
    limit: i64,
) -> Result<Vec<RecordedEvent>, StoreError> {
    let query = format!(
        "select {COLUMNS} from events where aggregate_type = $1 and aggregate_id = $2 \
         and sequence > $3 and position <= $4 order by sequence limit $5"
    );
    let query = sqlx::query(&query)
        .bind(stream.kind.as_str())
        .bind(&*stream.id)
        .bind(after_sequence)
        .bind(up_to_position)
        .bind(limit);
    fetch(query, executor).await
}

/// One event of a stream; `None` if there is none with that sequence.
///
/// # Errors
/// [`StoreError`] if the database cannot be read.
pub async fn read_event(
    executor: impl PgExecutor<'_>,
    stream: &StreamKey,
    sequence: i64,
) -> Result<Option<RecordedEvent>, StoreError> {
    let query = format!(
        "select {COLUMNS} from events where aggregate_type = $1 and aggregate_id = $2 and sequence = $3"
    );
    let query = sqlx::query(&query).bind(stream.kind.as_str()).bind(&*stream.id).bind(sequence);
    Ok(fetch(query, executor).await?.pop())
}

/// The last posting of a stream up to a position: the balance after it is that of the position. `None` if there is
/// none.
///
/// # Errors
/// [`StoreError`] if the database cannot be read, or the posting is malformed.
pub async fn last_posting(
    executor: impl PgExecutor<'_>,
    stream: &StreamKey,
    position: i64,
) -> Result<Option<Posting>, StoreError> {
    let query = format!(
        "select {COLUMNS} from events where aggregate_type = $1 and aggregate_id = $2 \
         and position <= $3 and payload ? 'posting' order by sequence desc limit 1"
    );
    let query = sqlx::query(&query).bind(stream.kind.as_str()).bind(&*stream.id).bind(position);
    match fetch(query, executor).await?.pop() {
        Some(event) => event.posting(),
        None => Ok(None),
    }
}

/// The last sequence of a stream at a position; 0 if the stream had not begun.
///
/// # Errors
/// [`StoreError`] if the database cannot be read.
pub async fn sequence_at(
    executor: impl PgExecutor<'_>,
    stream: &StreamKey,
    position: i64,
) -> Result<i64, StoreError> {
    let row = sqlx::query(
        "select sequence from events where aggregate_type = $1 and aggregate_id = $2 \
         and position <= $3 order by sequence desc limit 1",
    )
    .bind(stream.kind.as_str())
    .bind(&*stream.id)
    .bind(position)
    .fetch_optional(executor)
    .await?;
    Ok(row.map_or(Ok(0), |row| row.try_get(0))?)
}

/// The first event of a type on a stream.
///
/// # Errors
/// [`StoreError`] if the database cannot be read.
pub async fn first_of_type(
    executor: impl PgExecutor<'_>,
    stream: &StreamKey,
    event_type: &str,
) -> Result<Option<RecordedEvent>, StoreError> {
    let query = format!(
        "select {COLUMNS} from events where aggregate_type = $1 and aggregate_id = $2 \
         and event_type = $3 order by sequence limit 1"
    );
    let query = sqlx::query(&query).bind(stream.kind.as_str()).bind(&*stream.id).bind(event_type);
    Ok(fetch(query, executor).await?.pop())
}

/// All events of the command that `own` identifies; none if there is no such event.
///
/// # Errors
/// [`StoreError`] if the database cannot be read.
pub async fn read_command(
    executor: impl PgExecutor<'_>,
    own: &OwnEvent,
) -> Result<Vec<RecordedEvent>, StoreError> {
    let query = format!(
        "select {COLUMNS} from (\
             select position from events \
             where aggregate_type = $1 and aggregate_id = $2 and event_type = $3 \
                 and ($4::text is null or payload ->> $4 = $5) \
             order by sequence limit 1\
         ) as own {COMMAND_OF_OWN} order by events.position"
    );
    let query = sqlx::query(&query)
        .bind(own.stream.kind.as_str())
        .bind(&*own.stream.id)
        .bind(own.event_type)
        .bind(own.field.as_ref().map(|(field, _)| *field))
        .bind(own.field.as_ref().map(|(_, value)| value.as_str()));
    fetch(query, executor).await
}

/// All events of all commands that wrote to a stream, in the order of the log; none if the stream does not
/// exist.
///
/// # Errors
/// [`StoreError`] if the database cannot be read.
pub async fn read_commands_of(
    executor: impl PgExecutor<'_>,
    stream: &StreamKey,
) -> Result<Vec<RecordedEvent>, StoreError> {
    let query = format!(
        "select distinct {COLUMNS} from (\
             select position from events where aggregate_type = $1 and aggregate_id = $2\
         ) as own {COMMAND_OF_OWN} order by events.position"
    );
    fetch(sqlx::query(&query).bind(stream.kind.as_str()).bind(&*stream.id), executor).await
}

/// All events of the commands that wrote to purchases after a position and up to another one, each with the index of
/// its purchase among the given ones; in that order, and in that of the log.
///
/// # Errors
/// [`StoreError`] if the database cannot be read.
pub async fn read_later_commands(
    executor: impl PgExecutor<'_>,
    purchases: &[(&str, i64)],
    up_to_position: i64,
) -> Result<Vec<(usize, RecordedEvent)>, StoreError> {
    let query = format!(
        "select distinct purchase.ordinal, {COLUMNS} \
         from unnest($1::text[], $2::bigint[]) with ordinality as purchase(id, after, ordinal) \
         cross join lateral (\
             select position from events \
             where aggregate_type = 'Purchase' and aggregate_id = purchase.id \
                 and position > purchase.after and position <= $3\
         ) as own {COMMAND_OF_OWN} order by purchase.ordinal, events.position"
    );
    let (ids, afters): (Vec<&str>, Vec<i64>) = purchases.iter().copied().unzip();
    let query = sqlx::query(&query).bind(ids).bind(afters).bind(up_to_position);
    let rows = query.fetch_all(executor).await?;
    let event = |row: &PgRow| {
        let ordinal: i64 = row.try_get("ordinal")?;
        Ok((usize::try_from(ordinal - 1).unwrap_or_default(), recorded_event(row)?))
    };
    rows.iter().map(event).collect()
}

/// Joins the events of the command that wrote the event at `own.position`. The first event of a command holds
/// the number of its events.
const COMMAND_OF_OWN: &str = "cross join lateral (\
         select position as first, (metadata ->> 'command_events')::bigint as number from events \
         where events.position <= own.position and metadata ? 'command_events' \
         order by events.position desc limit 1\
     ) as command \
     cross join lateral (\
         select * from events \
         where position between command.first and command.first + command.number - 1\
     ) as events";

/// The entries on one stream (events that move money) from one sequence to before another, newest first.
///
/// # Errors
/// [`StoreError`] if the database cannot be read.
pub async fn read_entries_back(
    executor: impl PgExecutor<'_>,
    stream: &StreamKey,
    from_sequence: i64,
    before_sequence: i64,
) -> Result<Vec<RecordedEvent>, StoreError> {
    let query = format!(
        "select {COLUMNS} from events where aggregate_type = $1 and aggregate_id = $2 \
         and sequence >= $3 and sequence < $4 and payload ? 'posting' order by sequence desc"
    );
    let query = sqlx::query(&query)
        .bind(stream.kind.as_str())
        .bind(&*stream.id)
        .bind(from_sequence)
        .bind(before_sequence);
    fetch(query, executor).await
}

/// The events of a type on one stream, in a range of sequences, newest first.
///
/// # Errors
/// [`StoreError`] if the database cannot be read.
pub async fn read_back_of_type(
    executor: impl PgExecutor<'_>,
    stream: &StreamKey,
    sequences: Range<i64>,
    event_type: &str,
) -> Result<Vec<RecordedEvent>, StoreError> {
    let query = format!(
        "select {COLUMNS} from events where aggregate_type = $1 and aggregate_id = $2 \
         and sequence >= $3 and sequence < $4 and event_type = $5 order by sequence desc"
    );
    let query = sqlx::query(&query)
        .bind(stream.kind.as_str())
        .bind(&*stream.id)
        .bind(sequences.start)
        .bind(sequences.end)
        .bind(event_type);
    fetch(query, executor).await
}

/// The last entry on one stream, an event that moves money, up to a sequence.
///
/// # Errors
/// [`StoreError`] if the database cannot be read.
pub async fn read_last_entry(
    executor: impl PgExecutor<'_>,
    stream: &StreamKey,
    up_to_sequence: i64,
) -> Result<Option<RecordedEvent>, StoreError> {
    let query = format!(
        "select {COLUMNS} from events where aggregate_type = $1 and aggregate_id = $2 \
         and sequence <= $3 and payload ? 'posting' order by sequence desc limit 1"
    );
    let query =
        sqlx::query(&query).bind(stream.kind.as_str()).bind(&*stream.id).bind(up_to_sequence);
    Ok(fetch(query, executor).await?.pop())
}

/// The events of several ranges of positions, ends included, in the order of the ranges.
///
/// # Errors
/// [`StoreError`] if the database cannot be read.
pub async fn read_ranges(
    executor: impl PgExecutor<'_>,
    ranges: &[(i64, i64)],
) -> Result<Vec<RecordedEvent>, StoreError> {
    let query = format!(
        "select {COLUMNS} from unnest($1::bigint[], $2::bigint[]) \
             with ordinality as range(first, last, ordinal) \
         cross join lateral (\
             select * from events where position between range.first and range.last\
         ) as events order by range.ordinal, position"
    );
    let (firsts, lasts): (Vec<i64>, Vec<i64>) = ranges.iter().copied().unzip();
    fetch(sqlx::query(&query).bind(firsts).bind(lasts), executor).await
}

/// The position of the last event that was recorded at a moment or earlier; 0 if there is none.
///
/// Times never decrease along the log, so this is a binary search.
///
/// # Errors
/// [`StoreError`] if the database cannot be read.
pub async fn position_at(pool: &PgPool, moment: Timestamp) -> Result<i64, StoreError> {
    // Everything up to `known` is early enough; everything from `beyond` on is too late.
    let (mut known, mut beyond) = (0, head(pool).await? + 1);
    while known + 1 < beyond {
        let middle = known + (beyond - known) / 2;
        let row = sqlx::query("select recorded_at from events where position = $1")
            .bind(middle)
            .fetch_one(pool)
            .await?;
        if timestamp(row.try_get(0)?) <= moment {
            known = middle;
        } else {
            beyond = middle;
        }
    }
    Ok(known)
}

async fn fetch<'q>(
    query: sqlx::query::Query<'q, sqlx::Postgres, sqlx::postgres::PgArguments>,
    executor: impl PgExecutor<'_>,
) -> Result<Vec<RecordedEvent>, StoreError> {
    query.fetch_all(executor).await?.iter().map(recorded_event).collect()
}

/// The stream of a row.
pub(super) fn stream_of(row: &PgRow) -> Result<StreamKey, StoreError> {
    let kind: &str = row.try_get("aggregate_type")?;
    let id: &str = row.try_get("aggregate_id")?;
    let unknown = || StoreError::Nonsense(format!("aggregate type '{kind}'"));
    Ok(StreamKey { kind: Kind::parse(kind).ok_or_else(unknown)?, id: id.into() })
}

fn recorded_event(row: &PgRow) -> Result<RecordedEvent, StoreError> {
    Ok(RecordedEvent {
        position: row.try_get("position")?,
        recorded_at: timestamp(row.try_get("recorded_at")?),
        stream: stream_of(row)?,
        sequence: row.try_get("sequence")?,
        event_type: row.try_get::<&str, _>("event_type")?.into(),
        event_version: row.try_get::<&str, _>("event_version")?.into(),
        payload: row.try_get::<&str, _>("payload")?.into(),
        command_events: row.try_get("command_events")?,
        envelope: envelope(row)?,
    })
}

fn envelope(row: &PgRow) -> Result<Option<Arc<Envelope>>, StoreError> {
    let actor: Option<String> = row.try_get("actor")?;
    let door: Option<String> = row.try_get("door")?;
    let Some((actor, door)) = actor.zip(door) else { return Ok(None) };
    Ok(Some(Arc::new(Envelope {
        actor: Actor::recorded(actor),
        door: Door::recorded(door),
        request: row.try_get("request")?,
    })))
}

/// Converts a time for the database.
pub(crate) fn database_time(time: Timestamp) -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp_nanos(i128::from(time.0) * 1_000)
        .unwrap_or(OffsetDateTime::UNIX_EPOCH)
}

/// Converts a time from the database.
pub(crate) fn timestamp(time: OffsetDateTime) -> Timestamp {
    Timestamp(i64::try_from(time.unix_timestamp_nanos() / 1_000).unwrap_or(i64::MAX))
}
