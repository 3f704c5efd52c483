//! Verifying snapshots: each must be the state that the events of its stream add up to. Servers trust the ones
//! that they can read.

use serde_json::Value;
use sqlx::Row;
use sqlx::postgres::{PgConnection, PgRow};

use super::READ_EVENTS;
use super::audit::Audit;
use crate::store::{StoreError, log};
use domain::{AnyAggregate, Kind, StreamKey};

/// How many snapshots are read at once.
const READ_SNAPSHOTS: i64 = 100;
/// What to do about a snapshot with a fault.
const REMEDY: &str = "delete it from the table 'snapshots', which is a cache";

/// A snapshot of the current shape.
struct Snapshot {
    key: StreamKey,
    last_sequence: i64,
    payload: Value,
}

/// Compares every snapshot that servers of this release use with the log.
pub(super) async fn check_snapshots(
    connection: &mut PgConnection,
    audit: &mut Audit,
) -> Result<(), StoreError> {
    let (mut kind, mut id) = (String::new(), String::new());
    loop {
        let rows = sqlx::query(
            "select aggregate_type, aggregate_id, last_sequence, state_version, payload \
             from snapshots where (aggregate_type, aggregate_id) > ($1, $2) \
             order by aggregate_type, aggregate_id limit $3",
        )
        .bind(&kind)
        .bind(&id)
        .bind(READ_SNAPSHOTS)
        .fetch_all(&mut *connection)
        .await?;
        let Some(last) = rows.last() else { return Ok(()) };
        (kind, id) = (last.try_get("aggregate_type")?, last.try_get("aggregate_id")?);
        for row in &rows {
            if let Some(snapshot) = used(row)? {
                check_snapshot(connection, &snapshot, audit).await?;
            }
        }
    }
}

/// A snapshot, unless no server of this release would use it: it has another shape, or its kind is always
/// loaded with whole commands.
fn used(row: &PgRow) -> Result<Option<Snapshot>, StoreError> {
    let Some(kind) = Kind::parse(row.try_get("aggregate_type")?) else { return Ok(None) };
    let state_version: i32 = row.try_get("state_version")?;
    if state_version != kind.state_version() || kind.remembers_commands() {
        return Ok(None);
    }
    let id: &str = row.try_get("aggregate_id")?;
    Ok(Some(Snapshot {
        key: StreamKey { kind, id: id.into() },
        last_sequence: row.try_get("last_sequence")?,
        payload: row.try_get("payload")?,
    }))
}

async fn check_snapshot(
    connection: &mut PgConnection,
    snapshot: &Snapshot,
    audit: &mut Audit,
) -> Result<(), StoreError> {
    let Snapshot { key, last_sequence, payload } = snapshot;
    let (expected, sequence, position) = state_at(connection, key, *last_sequence).await?;
    let fault = if sequence < *last_sequence {
        format!("it is at sequence {last_sequence}, but the stream ends at {sequence}")
    } else {
        match AnyAggregate::from_json(key.kind, payload.clone()) {
            Err(error) => format!("it cannot be read: {error}"),
            Ok(found) => match differing_fields(&as_json(&found)?, &as_json(&expected)?) {
                fields if fields.is_empty() => return Ok(()),
                fields => format!("it differs from what its events add up to: {fields}"),
            },
        }
    };
    audit.find(&format!("the snapshot of {key}"), format!("{fault}; {REMEDY}"), position);
    Ok(())
}

/// The state of a stream at a sequence or, if it is shorter, at its end; with the sequence and the position of
/// its last event.
async fn state_at(
    connection: &mut PgConnection,
    key: &StreamKey,
    last_sequence: i64,
) -> Result<(AnyAggregate, i64, i64), StoreError> {
    let mut state = AnyAggregate::empty(key.kind);
    let (mut sequence, mut position) = (0, 0);
    while sequence < last_sequence {
        let limit = READ_EVENTS.min(last_sequence - sequence);
        let events = log::read_stream(&mut *connection, key, sequence, i64::MAX, limit).await?;
        if events.is_empty() {
            break;
        }
        for event in events {
            (sequence, position) = (event.sequence, event.position);
            state.apply(event.read()?).map_err(|error| {
                StoreError::Nonsense(format!("{key} at sequence {sequence} has {error}"))
            })?;
        }
    }
    Ok((state, sequence, position))
}

fn as_json(state: &AnyAggregate) -> Result<Value, StoreError> {
    let json = state.to_json().and_then(|json| serde_json::from_str(&json));
    json.map_err(|error| StoreError::Nonsense(format!("a state that cannot be written: {error}")))
}

/// The fields in which two states differ, with both values.
fn differing_fields(found: &Value, expected: &Value) -> String {
    let names = |state: &Value| -> Vec<String> {
        state.as_object().map(|fields| fields.keys().cloned().collect()).unwrap_or_default()
    };
    let mut fields = [names(found), names(expected)].concat();
    fields.sort_unstable();
    fields.dedup();
    let differs = |name: &String| found.get(name) != expected.get(name);
    let text = |value: Option<&Value>| value.map_or("nothing".into(), ToString::to_string);
    let differing = fields.iter().filter(|name| differs(name)).map(|name| {
        format!("{name} is {}, but should be {}", text(found.get(name)), text(expected.get(name)))
    });
    let differing: Vec<String> = differing.collect();
    if differing.is_empty() && found != expected {
        return format!("it is {found}, but should be {expected}");
    }
    differing.join(", ")
}
