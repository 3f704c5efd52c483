//! Loading streams into aggregates, and the look-ups of decisions.
//!
//! What many decisions lack is loaded together: one query finds the participants that they will need, one
//! reads all streams.

use std::collections::{HashMap, HashSet};

use sqlx::postgres::PgRow;
use sqlx::{PgConnection, PgPool, Row};

use super::{StoreError, begin_with, snapshots};
use domain::{
    AnyAggregate, AnyEvent, DecodeError, ParticipantId, Posting, ProgramId, StreamKey, UplineWalk,
    UserId,
};

/// An aggregate, as stored in the database.
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
    /// The owners of those codes that exist.
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

/// Reads streams, in the order of `keys`. Each stream is read as of a single moment.
///
/// # Errors
/// [`StoreError`] if the database cannot be read or holds an unreadable event.
pub async fn streams(
    connection: &mut PgConnection,
    keys: &[StreamKey],
) -> Result<Vec<Loaded>, StoreError> {
    let mut loaded: Vec<Option<Loaded>> = keys.iter().map(|_| None).collect();
    let (remembering, plain): (Vec<usize>, Vec<usize>) =
        (0..keys.len()).partition(|at| keys[*at].kind.remembers_commands());
    let of = |places: &[usize]| places.iter().map(|at| keys[*at].clone()).collect::<Vec<_>>();
    if !plain.is_empty() {
        let read = read_streams(connection, &of(&plain), true).await?;
        for (at, folded) in plain.into_iter().zip(read) {
            loaded[at] = folded.ok();
        }
    }
    // A snapshot is a cache: one that is of no use is ignored, and deleted.
    let is_useless = |at: &usize| loaded[*at].is_none() && !keys[*at].kind.remembers_commands();
    let useless: Vec<usize> = (0..keys.len()).filter(is_useless).collect();
    if !useless.is_empty() {
        let useless_keys = of(&useless);
        let read = read_streams(connection, &useless_keys, false).await?;
        for (at, folded) in useless.into_iter().zip(read) {
            loaded[at] = folded.ok();
        }
        snapshots::forget(connection, &useless_keys).await?;
    }
    if !remembering.is_empty() {
        let read = read_with_commands(connection, &of(&remembering)).await?;
        for (at, stream) in remembering.into_iter().zip(read) {
            loaded[at] = Some(stream);
        }
    }
    let missing = || StoreError::Nonsense("a stream that was not read".into());
    loaded.into_iter().map(|stream| stream.ok_or_else(missing)).collect()
}

/// A stream, or the fact that its snapshot is of no use: it cannot be read, lies ahead of the log, or
/// contradicts the events after it.
enum Folded {
    Stream(Loaded),
    UselessSnapshot,
}

impl Folded {
    fn ok(self) -> Option<Loaded> {
        match self {
            Self::Stream(loaded) => Some(loaded),
            Self::UselessSnapshot => None,
        }
    }
}

/// A state version that no snapshot has.
const NO_SNAPSHOT: i32 = -1;

async fn read_streams(
    connection: &mut PgConnection,
    keys: &[StreamKey],
    with_snapshots: bool,
) -> Result<Vec<Folded>, StoreError> {
    let types: Vec<&str> = keys.iter().map(|key| key.kind.as_str()).collect();
    let ids: Vec<&str> = keys.iter().map(|key| &*key.id).collect();
    let state_version =
        |key: &StreamKey| if with_snapshots { key.kind.state_version() } else { NO_SNAPSHOT };
    let state_versions: Vec<i32> = keys.iter().map(state_version).collect();
    let rows = sqlx::query(include_str!("streams.sql"))
        .bind(types)
        .bind(ids)
        .bind(state_versions)
        .fetch_all(connection)
        .await?;
    let mut rows = rows.into_iter().peekable();
    let mut folded = Vec::with_capacity(keys.len());
    for (index, key) in keys.iter().enumerate() {
        let own: Vec<PgRow> =
            std::iter::from_fn(|| rows.next_if(|row| is_of(row, index))).collect();
        folded.push(fold(key, &own)?);
    }
    Ok(folded)
}

/// Whether a row belongs to the key at an index.
fn is_of(row: &PgRow, index: usize) -> bool {
    let ordinal = i64::try_from(index).unwrap_or(i64::MAX) + 1;
    row.try_get::<i64, _>("ordinal").is_ok_and(|of| of == ordinal)
}

/// Folds a snapshot, which comes with the first row, and the events after it into a state.
fn fold(key: &StreamKey, rows: &[PgRow]) -> Result<Folded, StoreError> {
    let mut state = AnyAggregate::empty(key.kind);
    let mut snapshot_version = 0;
    if let Some(first) = rows.first()
        && let Some(snapshot) = first.try_get("snapshot")?
    {
        match AnyAggregate::from_json(key.kind, snapshot) {
            Ok(known) if first.try_get("is_in_log")? => state = known,
            _ => return Ok(Folded::UselessSnapshot),
        }
        snapshot_version = first.try_get("last_sequence")?;
    }
    let mut version = snapshot_version;
    for row in rows {
        if let Some(sequence) = row.try_get("sequence")? {
            version = sequence;
            let event = event(row, key, sequence)?;
            match apply(&mut state, key, sequence, event) {
                Err(_) if snapshot_version > 0 => return Ok(Folded::UselessSnapshot),
                applied => applied?,
            }
        }
    }
    Ok(Folded::Stream(Loaded { state, version, snapshot_version }))
}

/// Reads streams that remember their commands, with all events of those commands.
async fn read_with_commands(
    connection: &mut PgConnection,
    keys: &[StreamKey],
) -> Result<Vec<Loaded>, StoreError> {
    let types: Vec<&str> = keys.iter().map(|key| key.kind.as_str()).collect();
    let ids: Vec<&str> = keys.iter().map(|key| &*key.id).collect();
    let rows = sqlx::query(include_str!("commands.sql"))
        .bind(types)
        .bind(ids)
        .fetch_all(connection)
        .await?;
    let mut rows = rows.into_iter().peekable();
    let mut loaded = Vec::with_capacity(keys.len());
    for (index, key) in keys.iter().enumerate() {
        let mut state = AnyAggregate::empty(key.kind);
        let mut version = 0;
        while let Some(row) = rows.next_if(|row| is_of(row, index)) {
            let stream = super::log::stream_of(&row)?;
            let sequence = row.try_get("sequence")?;
            let event = event(&row, &stream, sequence);
            if stream == *key {
                version = sequence;
                apply(&mut state, key, sequence, event?)?;
            } else if !is_of_no_account(&row, &event)? {
                state.remember(&key.id, &stream, sequence, &event?);
            }
        }
        loaded.push(Loaded { state, version, snapshot_version: 0 });
    }
    Ok(loaded)
}

/// Whether an event of a command that is remembered is of a type that only a newer release knows, and moves no money.
/// There is nothing in it to remember.
fn is_of_no_account(row: &PgRow, event: &Result<AnyEvent, StoreError>) -> Result<bool, StoreError> {
    Ok(match event {
        Err(StoreError::Unreadable { source: DecodeError::UnknownType(_), .. }) => {
            let payload = row.try_get("payload")?;
            Posting::of_payload(payload).is_ok_and(|posting| posting.is_none())
        }
        _ => false,
    })
}

fn event(row: &PgRow, key: &StreamKey, sequence: i64) -> Result<AnyEvent, StoreError> {
    let (name, version): (&str, &str) = (row.try_get("event_type")?, row.try_get("event_version")?);
    AnyEvent::decode(key.kind, name, version, row.try_get("payload")?)
        .map_err(|source| StoreError::Unreadable { stream: key.to_string(), sequence, source })
}

fn apply(
    state: &mut AnyAggregate,
    key: &StreamKey,
    sequence: i64,
    event: AnyEvent,
) -> Result<(), StoreError> {
    state
        .apply(event)
        .map_err(|error| StoreError::Nonsense(format!("{key} at sequence {sequence} has {error}")))
}

/// Reads one stream, and a position up to which it was read completely.
///
/// # Errors
/// [`StoreError`] if the database cannot be read or holds an unreadable event.
pub async fn stream_and_position(
    pool: &PgPool,
    key: &StreamKey,
) -> Result<(Loaded, i64), StoreError> {
    // Both are read as of a single moment.
    let mut transaction = begin_with(pool, "begin isolation level repeatable read").await?;
    let position = super::log::head(&mut *transaction).await?;
    let loaded = streams(&mut transaction, std::slice::from_ref(key)).await?;
    transaction.commit().await?;
    let loaded = loaded.into_iter().next();
    let missing = || StoreError::Nonsense(format!("nothing about {key}"));
    Ok((loaded.ok_or_else(missing)?, position))
}

/// Stores states of streams; no stream may occur twice. An older state never replaces a newer one.
///
/// # Errors
/// [`StoreError`] if the database cannot be written.
pub async fn write_snapshots(
    pool: &PgPool,
    streams: &[(StreamKey, Loaded)],
) -> Result<(), StoreError> {
    let mut rows = SnapshotRows::default();
    for (key, Loaded { state, version, .. }) in streams {
        let unwritable =
            |error| StoreError::Nonsense(format!("the state of {key} cannot be written: {error}"));
        rows.types.push(key.kind.as_str());
        rows.ids.push(&key.id);
        rows.versions.push(*version);
        rows.state_versions.push(key.kind.state_version());
        rows.payloads.push(state.to_json().map_err(unwritable)?);
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

/// The programs that have begun to enroll by default, one for each time, in the order of these times.
///
/// # Errors
/// [`StoreError`] if the database cannot be read.
pub async fn default_programs(connection: &mut PgConnection) -> Result<Vec<ProgramId>, StoreError> {
    let rows = sqlx::query(
        "select owner from claims where kind = 'default_program' order by value::bigint",
    )
    .fetch_all(connection)
    .await?;
    rows.iter().map(|row| parse(ProgramId::parse(row.try_get(0)?))).collect()
}

/// Which of these keys are those of addresses of erased users.
///
/// # Errors
/// [`StoreError`] if the database cannot be read.
pub async fn erased_addresses(
    connection: &mut PgConnection,
    address_keys: &[&str],
) -> Result<HashSet<String>, StoreError> {
    let keys: Vec<String> = sqlx::query_scalar(
        "select known.value from unnest($1::text[]) as k(value) \
         cross join lateral (\
             select claims.value from claims \
             where claims.kind = 'erased_email' and claims.value = k.value limit 1\
         ) as known",
    )
    .bind(address_keys)
    .fetch_all(connection)
    .await?;
    Ok(keys.into_iter().collect())
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

/// Follows recorded referrals upwards until `target` or a participant without a referrer.
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
