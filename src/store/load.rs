//! Loading streams into aggregates, and what decisions look up besides.
//!
//! Whatever many decisions lack is loaded together: one query finds which participants they will
//! need, one reads all streams.

use std::collections::HashMap;
use std::sync::Arc;

use sqlx::{PgConnection, PgPool, Row};

use super::StoreError;
use domain::{
    AnyAggregate, Kind, Participant, ParticipantId, Program, ProgramId, Purchase, Stream,
    StreamKey, UplineWalk, User, UserId, decode,
};

/// An aggregate as it stands in the database.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// Its state; the default one if the stream does not exist.
    pub state: AnyAggregate,
    /// The sequence of its last event; 0 if there is none.
    pub version: i64,
    /// The sequence up to which a snapshot is stored; 0 if there is none.
    pub snapshot_version: i64,
}

/// What decisions will need, found by one query.
#[derive(Debug, Default)]
pub struct Lookups {
    /// The owners of the codes that somebody has.
    pub code_owners: HashMap<String, ParticipantId>,
    /// The participants of the users, the owners of the codes, and the lines above all of them.
    pub participants: Vec<ParticipantId>,
}

/// Finds the participants that decisions about users, participants and codes will need, up to
/// `levels` levels above each.
///
/// # Errors
/// [`StoreError`] if the database cannot be read.
pub async fn prefetch(
    connection: &mut PgConnection,
    users: &[&str],
    participants: &[ParticipantId],
    codes: &[&str],
    levels: u32,
) -> Result<Lookups, StoreError> {
    let programs: Vec<&str> = participants.iter().map(|id| id.program_id.as_str()).collect();
    let members: Vec<&str> = participants.iter().map(|id| id.user_id.as_str()).collect();
    let rows = sqlx::query(include_str!("prefetch.sql"))
        .bind(users)
        .bind(programs)
        .bind(members)
        .bind(codes)
        .bind(i32::try_from(levels).unwrap_or(i32::MAX))
        .fetch_all(connection)
        .await?;
    let mut lookups = Lookups::default();
    for row in rows {
        let participant = ParticipantId {
            program_id: parse(ProgramId::parse(row.try_get("program_id")?))?,
            user_id: parse(UserId::parse(row.try_get("user_id")?))?,
        };
        if let Some(code) = row.try_get("code")? {
            lookups.code_owners.insert(code, participant.clone());
        }
        lookups.participants.push(participant);
    }
    Ok(lookups)
}

/// Reads streams, each in the order of `keys`, in one query and so as of one moment.
///
/// # Errors
/// [`StoreError`] if the database cannot be read or holds an event that cannot be.
pub async fn streams(
    connection: &mut PgConnection,
    keys: &[StreamKey],
) -> Result<Vec<Loaded>, StoreError> {
    let types: Vec<&str> = keys.iter().map(|key| key.kind.as_str()).collect();
    let ids: Vec<&str> = keys.iter().map(|key| &*key.id).collect();
    let state_versions: Vec<i32> = keys.iter().map(|key| state_version(key.kind)).collect();
    let rows = sqlx::query(include_str!("streams.sql"))
        .bind(types)
        .bind(ids)
        .bind(state_versions)
        .fetch_all(connection)
        .await?;
    let mut rows = rows.into_iter().peekable();
    let mut loaded = Vec::with_capacity(keys.len());
    for (index, key) in keys.iter().enumerate() {
        let ordinal = i64::try_from(index).unwrap_or(i64::MAX) + 1;
        let mut stream = StreamRows::default();
        while let Some(row) =
            rows.next_if(|row| row.try_get::<i64, _>("ordinal").is_ok_and(|of| of == ordinal))
        {
            if let Some(snapshot) = row.try_get("snapshot")? {
                stream.snapshot = Some(snapshot);
                stream.snapshot_version = row.try_get("last_sequence")?;
            }
            if let Some(sequence) = row.try_get("sequence")? {
                stream.events.push(EventRow {
                    sequence,
                    event_type: row.try_get("event_type")?,
                    event_version: row.try_get("event_version")?,
                    payload: row.try_get("payload")?,
                });
            }
        }
        loaded.push(match key.kind {
            Kind::User => fold::<User>(key, stream)?,
            Kind::Program => fold::<Program>(key, stream)?,
            Kind::Participant => fold::<Participant>(key, stream)?,
            Kind::Purchase => fold::<Purchase>(key, stream)?,
        });
    }
    Ok(loaded)
}

#[derive(Default)]
struct StreamRows {
    snapshot: Option<serde_json::Value>,
    snapshot_version: i64,
    events: Vec<EventRow>,
}

struct EventRow {
    sequence: i64,
    event_type: String,
    event_version: String,
    payload: String,
}

fn fold<A: Stream>(key: &StreamKey, rows: StreamRows) -> Result<Loaded, StoreError> {
    let mut state = match rows.snapshot {
        Some(snapshot) => serde_json::from_value(snapshot)
            .map_err(|error| StoreError::Nonsense(format!("snapshot of {key}: {error}")))?,
        None => A::default(),
    };
    let mut version = rows.snapshot_version;
    for EventRow { sequence, event_type, event_version, payload } in rows.events {
        let event = decode::<A>(&event_type, &event_version, &payload).map_err(|source| {
            StoreError::Unreadable { stream: key.to_string(), sequence, source }
        })?;
        state.apply(event);
        version = sequence;
    }
    Ok(Loaded {
        state: A::into_any(Arc::new(state)),
        version,
        snapshot_version: rows.snapshot_version,
    })
}

/// Reads one stream, with a position up to which all of it is in what was read.
///
/// # Errors
/// [`StoreError`] if the database cannot be read or holds an event that cannot be.
pub async fn stream_and_position(
    pool: &PgPool,
    key: &StreamKey,
) -> Result<(Loaded, i64), StoreError> {
    // Both as of one moment.
    let begin = "begin isolation level repeatable read, read only";
    let mut transaction = pool.begin_with(begin).await?;
    let position = super::log::head(&mut *transaction).await?;
    let loaded = streams(&mut transaction, std::slice::from_ref(key)).await?;
    transaction.commit().await?;
    let loaded = loaded.into_iter().next();
    let missing = || StoreError::Nonsense(format!("nothing about {key}"));
    Ok((loaded.ok_or_else(missing)?, position))
}

/// The state of a stream that has no events.
#[must_use]
pub fn empty_state(kind: Kind) -> AnyAggregate {
    match kind {
        Kind::User => User::into_any(Arc::default()),
        Kind::Program => Program::into_any(Arc::default()),
        Kind::Participant => Participant::into_any(Arc::default()),
        Kind::Purchase => Purchase::into_any(Arc::default()),
    }
}

fn state_version(kind: Kind) -> i32 {
    match kind {
        Kind::User => User::STATE_VERSION,
        Kind::Program => Program::STATE_VERSION,
        Kind::Participant => Participant::STATE_VERSION,
        Kind::Purchase => Purchase::STATE_VERSION,
    }
}

/// Stores states of streams, each of which is there once. An older state never replaces a newer one.
///
/// # Errors
/// [`StoreError`] if the database cannot be written.
pub async fn write_snapshots(
    pool: &PgPool,
    streams: &[(StreamKey, Loaded)],
) -> Result<(), StoreError> {
    let mut rows = SnapshotRows::default();
    for (key, Loaded { state, version, .. }) in streams {
        let payload = match state {
            AnyAggregate::User(state) => serde_json::to_string(state),
            AnyAggregate::Program(state) => serde_json::to_string(state),
            AnyAggregate::Participant(state) => serde_json::to_string(state),
            AnyAggregate::Purchase(state) => serde_json::to_string(state),
        };
        let unwritable =
            |error| StoreError::Nonsense(format!("the state of {key} cannot be written: {error}"));
        rows.types.push(key.kind.as_str());
        rows.ids.push(&key.id);
        rows.versions.push(*version);
        rows.state_versions.push(state_version(key.kind));
        rows.payloads.push(payload.map_err(unwritable)?);
    }
    sqlx::query(include_str!("snapshots.sql"))
        .bind(rows.types)
        .bind(rows.ids)
        .bind(rows.versions)
        .bind(rows.state_versions)
        .bind(rows.payloads)
        .execute(pool)
        .await?;
    Ok(())
}

#[derive(Default)]
struct SnapshotRows<'a> {
    types: Vec<&'a str>,
    ids: Vec<&'a str>,
    versions: Vec<i64>,
    state_versions: Vec<i32>,
    payloads: Vec<String>,
}

/// The programs in which users are enrolled by default, and perhaps some that no longer are.
///
/// # Errors
/// [`StoreError`] if the database cannot be read.
pub async fn default_programs(connection: &mut PgConnection) -> Result<Vec<ProgramId>, StoreError> {
    let rows =
        sqlx::query("select value from claims where kind = 'default_program' order by value")
            .fetch_all(connection)
            .await?;
    rows.iter().map(|row| parse(ProgramId::parse(row.try_get(0)?))).collect()
}

/// Programs after `after` in the order of their ids, at most `limit`.
///
/// # Errors
/// [`StoreError`] if the database cannot be read.
pub async fn program_ids(
    pool: &PgPool,
    after: &str,
    limit: i64,
) -> Result<Vec<ProgramId>, StoreError> {
    let rows = sqlx::query(
        "select value from claims where kind = 'program' and value > $1 order by value limit $2",
    )
    .bind(after)
    .bind(limit)
    .fetch_all(pool)
    .await?;
    rows.iter().map(|row| parse(ProgramId::parse(row.try_get(0)?))).collect()
}

/// Follows recorded referrals upwards until `target` or a participant without one.
///
/// # Errors
/// [`StoreError`] if the database cannot be read.
pub async fn walk_upline(
    connection: &mut PgConnection,
    from: &ParticipantId,
    target: &UserId,
) -> Result<UplineWalk, StoreError> {
    let row = sqlx::query(
        "with recursive line (user_id, level) as ( \
             select $2::text collate \"C\", 0 \
             union all \
             select above.referrer_user_id, line.level + 1 from line \
             cross join lateral ( \
                 select referrer_user_id from referrals \
                 where referrals.program_id = $1 and referrals.referee_user_id = line.user_id \
                 limit 1 \
             ) as above \
             where line.user_id <> $3 \
         ) \
         select user_id from line order by level desc limit 1",
    )
    .bind(from.program_id.as_str())
    .bind(from.user_id.as_str())
    .bind(target.as_str())
    .fetch_one(connection)
    .await?;
    let root = parse(UserId::parse(row.try_get(0)?))?;
    Ok(UplineWalk { met: root == *target, root })
}

fn parse<T>(id: Result<T, domain::InvalidId>) -> Result<T, StoreError> {
    id.map_err(|error| StoreError::Nonsense(format!("an id that {error}")))
}
