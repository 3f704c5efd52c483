//! Appending a batch of commands to the log, with one call of one database function.

use std::collections::HashSet;
use std::sync::LazyLock;

use sqlx::{PgConnection, Row};
use uuid::Uuid;

use super::envelope::metadata;
use super::log::{database_time, timestamp};
use super::{RecordedEvent, StoreError, functions};

use domain::{Claim, SideRow, StreamKey, Timestamp};

/// The outcome of one command of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Its events are in the log.
    Appended,
    /// Its receipt exists: the command was carried out before.
    Duplicate,
    /// Something that it claims belongs to another.
    Taken,
    /// A stream that the command read, or the owner of a value on which its decision rests, has changed; or a command
    /// that it builds on was not appended.
    Conflict,
}

impl Verdict {
    fn from_number(number: i16) -> Self {
        match number {
            0 => Self::Appended,
            1 => Self::Duplicate,
            2 => Self::Taken,
            _ => Self::Conflict,
        }
    }
}

/// A batch, as the columns that the append function takes. Commands are numbered from 0 here and
/// from 1 in the database.
#[derive(Debug, Default)]
pub struct Batch {
    commands: i32,
    stream_types: Vec<&'static str>,
    stream_ids: Vec<String>,
    stream_versions: Vec<i64>,
    stream_is_known: Vec<bool>,
    expected: LogEnd,
    check_commands: Vec<i32>,
    check_streams: Vec<i32>,
    dependency_commands: Vec<i32>,
    dependency_on: Vec<i32>,
    event_commands: Vec<i32>,
    events: Vec<RecordedEvent>,
    event_counts: Vec<i32>,
    receipt_commands: Vec<i32>,
    receipt_keys: Vec<Uuid>,
    receipt_fingerprints: Vec<Vec<u8>>,
    receipt_keeps: Vec<bool>,
    claim_commands: Vec<i32>,
    claims: Vec<ClaimStep>,
    row_commands: Vec<i32>,
    rows: Vec<SideRow>,
}

/// The last event of the log, as far as it is known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogEnd {
    /// Its position; 0 if nothing is known.
    pub position: i64,
    /// When it was appended. Two logs that grew apart have different times at one position.
    pub recorded_at: Timestamp,
}

/// What one command adds to a batch.
#[derive(Debug, Default)]
pub struct Entry {
    /// The streams that were read, as indexes that [`Batch::add_stream`] returned.
    pub reads: Vec<i32>,
    /// Earlier commands of the batch that this one builds on.
    pub builds_on: Vec<usize>,
    /// Its events in order. The append assigns positions and times.
    pub events: Vec<RecordedEvent>,
    /// Its request, if the caller gave it an id.
    pub receipt: Option<Receipt>,
    /// Its steps on claims, in order.
    pub claims: Vec<ClaimStep>,
    /// Rows outside the log, in order.
    pub rows: Vec<SideRow>,
}

/// A step of a command on a claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClaimStep {
    /// The owner claims the value.
    Take(Claim),
    /// The owner releases the value.
    Release(Claim),
    /// The command was refused because the value belongs to this owner.
    Found(Claim),
    /// The command was decided as it was because the value belongs to this owner, with whom another shares it.
    Shared(Claim),
    /// The command was decided as it was because the value belongs to nobody. The owner is left empty.
    Absent(Claim),
}

impl ClaimStep {
    /// The claim of the step.
    #[must_use]
    pub fn claim(&self) -> &Claim {
        match self {
            Self::Take(claim)
            | Self::Release(claim)
            | Self::Found(claim)
            | Self::Shared(claim)
            | Self::Absent(claim) => claim,
        }
    }

    /// Whether the step concerns the same value as `claim`.
    #[must_use]
    pub fn is_about(&self, claim: &Claim) -> bool {
        let own = self.claim();
        (own.kind, &own.value) == (claim.kind, &claim.value)
    }

    /// The number of the step in the append function.
    fn number(&self) -> i16 {
        match self {
            Self::Take(_) => 0,
            Self::Release(_) => 1,
            Self::Found(_) | Self::Shared(_) | Self::Absent(_) => 2,
        }
    }

    /// The owner that the append function compares with; none if nobody owns the value.
    fn owner(&self) -> Option<&str> {
        match self {
            Self::Absent(_) => None,
            _ => Some(&self.claim().owner),
        }
    }
}

/// What identifies a request.
#[derive(Clone, Debug)]
pub struct Receipt {
    /// Made from the caller, the RPC and the caller's `request_id`.
    pub key: Uuid,
    /// Keyed hash of the request.
    pub fingerprint: Vec<u8>,
    /// Whether the receipt is stored. The receipt of a refused command is only looked up.
    pub keep: bool,
}

/// A request that was carried out before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Duplicate {
    /// The number of the command.
    pub command: usize,
    /// The fingerprint of the request that was carried out.
    pub fingerprint: Vec<u8>,
    /// Its first event.
    pub first_position: i64,
    /// Its last event; less than the first position if it has none.
    pub last_position: i64,
}

/// A value that belongs to another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Taken {
    /// The number of the command that claimed the value.
    pub command: usize,
    /// The claim.
    pub claim: Claim,
    /// The owner of the value.
    pub owner: String,
}

/// The outcome of a batch.
#[derive(Debug)]
pub struct Appended {
    /// The last position before the batch.
    pub head: i64,
    /// When it was appended.
    pub recorded_at: Timestamp,
    /// One verdict per command.
    pub verdicts: Vec<Verdict>,
    /// Streams that had changed since they were read, by index.
    pub moved: Vec<i32>,
    /// The details of the duplicates.
    pub duplicates: Vec<Duplicate>,
    /// Claims that belong to others.
    pub taken: Vec<Taken>,
    /// Commands whose decision rests on an owner who no longer owns the value.
    pub changed: Vec<usize>,
    /// Whether the end of the log was as the batch expected, so that the known versions of streams were
    /// current.
    pub is_expected: bool,
}

impl Appended {
    /// Whether the end of the log was as expected, every command was appended or confirmed, and every stream
    /// of the batch is in the state after the batch, including streams that no command read in the end.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.is_expected
            && self.moved.is_empty()
            && self.verdicts.iter().all(|verdict| *verdict == Verdict::Appended)
    }
}

impl Batch {
    /// Sets the end of the log as of which streams are known.
    pub fn expect_end(&mut self, end: LogEnd) {
        self.expected = end;
    }

    /// The number of commands.
    #[must_use]
    pub fn len(&self) -> usize {
        self.event_counts.len()
    }

    /// The number of events.
    #[must_use]
    pub fn event_count(&self) -> usize {
        self.events.len()
    }

    /// Whether there are no commands.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.event_counts.is_empty()
    }

    /// Adds a stream that commands read, with its version before the batch, and whether that version is known
    /// to be current at the expected end of the log. Returns the stream's index.
    pub fn add_stream(&mut self, stream: &StreamKey, version: i64, is_known: bool) -> i32 {
        self.stream_types.push(stream.kind.as_str());
        self.stream_ids.push(stream.id.to_string());
        self.stream_versions.push(version);
        self.stream_is_known.push(is_known);
        place(self.stream_ids.len())
    }

    /// Whether a command itself read one of these streams.
    #[must_use]
    pub fn has_read(&self, command: usize, streams: &HashSet<i32>) -> bool {
        let number = place(command + 1);
        // Pairs are in the order of commands.
        let first = self.check_commands.partition_point(|of| *of < number);
        let own = self.check_commands[first..].iter().take_while(|of| **of == number);
        own.zip(&self.check_streams[first..]).any(|(_, stream)| streams.contains(stream))
    }

    /// The version of a stream before the batch, by index.
    #[must_use]
    pub fn stream_version(&self, place: i32) -> Option<i64> {
        let index = usize::try_from(place).ok()?.checked_sub(1)?;
        self.stream_versions.get(index).copied()
    }

    /// Adds a command and returns its number.
    pub fn add(&mut self, entry: Entry) -> usize {
        self.commands += 1;
        let command = self.commands;
        for stream in entry.reads {
            self.check_commands.push(command);
            self.check_streams.push(stream);
        }
        for earlier in entry.builds_on {
            self.dependency_commands.push(command);
            self.dependency_on.push(place(earlier + 1));
        }
        self.event_counts.push(place(entry.events.len()));
        self.event_commands.extend(entry.events.iter().map(|_| command));
        self.events.extend(entry.events);
        if let Some(receipt) = entry.receipt {
            self.receipt_commands.push(command);
            self.receipt_keys.push(receipt.key);
            self.receipt_fingerprints.push(receipt.fingerprint);
            self.receipt_keeps.push(receipt.keep);
        }
        self.claim_commands.extend(entry.claims.iter().map(|_| command));
        self.claims.extend(entry.claims);
        self.row_commands.extend(entry.rows.iter().map(|_| command));
        self.rows.extend(entry.rows);
        self.event_counts.len() - 1
    }

    /// The steps of its commands on claims, in order.
    #[must_use]
    pub fn claims(&self) -> &[ClaimStep] {
        &self.claims
    }

    /// Pairs of a command and an earlier one that it builds on, in the order of the former.
    #[must_use]
    pub fn dependencies(&self) -> Vec<(usize, usize)> {
        let number = |command: &i32| usize::try_from(command - 1).unwrap_or_default();
        let commands = self.dependency_commands.iter().map(number);
        commands.zip(self.dependency_on.iter().map(number)).collect()
    }

    /// How many events were appended.
    #[must_use]
    pub fn events_in(&self, appended: &Appended) -> i64 {
        let counts = self.event_counts.iter().zip(&appended.verdicts);
        let stand = counts.filter(|(_, verdict)| **verdict == Verdict::Appended);
        stand.map(|(count, _)| i64::from(*count)).sum()
    }

    /// The events that were appended, with their positions, each with the number of its command.
    #[must_use]
    pub fn into_recorded(self, appended: &Appended) -> Vec<(usize, RecordedEvent)> {
        let mut position = appended.head;
        let mut recorded = Vec::with_capacity(self.events.len());
        for (command, mut event) in self.event_commands.into_iter().zip(self.events) {
            let command = usize::try_from(command - 1).unwrap_or_default();
            if appended.verdicts.get(command) == Some(&Verdict::Appended) {
                position += 1;
                event.position = position;
                event.recorded_at = appended.recorded_at;
                recorded.push((command, event));
            }
        }
        recorded
    }
}

/// A count in the type of the database. Batches are bounded far below the limit.
fn place(count: usize) -> i32 {
    i32::try_from(count).unwrap_or(i32::MAX)
}

/// Whether a batch of a server process is in the log.
///
/// # Errors
/// [`StoreError`] if the database cannot be read.
pub async fn is_appended(
    connection: &mut PgConnection,
    writer: Uuid,
    number: i64,
) -> Result<bool, StoreError> {
    let query = "select exists (select from writers where writer = $1 and batch = $2)";
    Ok(sqlx::query_scalar(query).bind(writer).bind(number).fetch_one(connection).await?)
}

/// Appends a batch, in the connection's transaction if there is one, otherwise in its own. A repetition with
/// the same `writer` and `number` gets the same answer and appends nothing.
///
/// # Errors
/// [`StoreError::Unavailable`] if no answer came: send the batch again to learn the outcome.
/// [`StoreError::Refused`] if the batch as a whole could not be appended.
pub async fn append(
    connection: &mut PgConnection,
    writer: Uuid,
    number: i64,
    batch: &Batch,
) -> Result<Appended, StoreError> {
    let metadata: Vec<String> = batch
        .events
        .iter()
        .map(|event| metadata(event.command_events, event.envelope.as_deref()))
        .collect();
    let row = sqlx::query(&APPEND)
        .bind(writer)
        .bind(number)
        .bind(batch.commands)
        .bind(&batch.stream_types)
        .bind(&batch.stream_ids)
        .bind(&batch.stream_versions)
        .bind(&batch.stream_is_known)
        .bind(batch.expected.position)
        .bind(database_time(batch.expected.recorded_at))
        .bind(&batch.check_commands)
        .bind(&batch.check_streams)
        .bind(&batch.dependency_commands)
        .bind(&batch.dependency_on)
        .bind(&batch.event_commands)
        .bind(column(&batch.events, |event| event.stream.kind.as_str()))
        .bind(column(&batch.events, |event| &*event.stream.id))
        .bind(column(&batch.events, |event| event.sequence))
        .bind(column(&batch.events, |event| &*event.event_type))
        .bind(column(&batch.events, |event| &*event.event_version))
        .bind(column(&batch.events, |event| &*event.payload))
        .bind(metadata)
        .bind(&batch.event_counts)
        .bind(&batch.receipt_commands)
        .bind(&batch.receipt_keys)
        .bind(&batch.receipt_fingerprints)
        .bind(&batch.receipt_keeps)
        .bind(&batch.claim_commands)
        .bind(column(&batch.claims, |step| step.claim().kind.as_str()))
        .bind(column(&batch.claims, |step| step.claim().value.as_str()))
        .bind(column(&batch.claims, ClaimStep::owner))
        .bind(column(&batch.claims, ClaimStep::number))
        .bind(&batch.row_commands)
        .bind(column(&batch.rows, row_writer))
        .bind(column(&batch.rows, |row| row.content().to_string()))
        .fetch_one(connection)
        .await?;
    let verdicts: Vec<i16> = row.try_get("verdicts")?;
    let facts: Option<sqlx::types::Json<Facts>> = row.try_get("facts")?;
    let facts = facts.map(|facts| facts.0).unwrap_or_default();
    Ok(Appended {
        head: row.try_get("head")?,
        recorded_at: timestamp(row.try_get("recorded_at")?),
        verdicts: verdicts.into_iter().map(Verdict::from_number).collect(),
        moved: facts.moved,
        duplicates: facts.duplicates.into_iter().map(DuplicateFact::into_duplicate).collect(),
        taken: facts.taken.into_iter().filter_map(|fact| fact.into_taken(batch)).collect(),
        changed: facts.changed.into_iter().map(|command| command.saturating_sub(1)).collect(),
        is_expected: row.try_get("is_expected")?,
    })
}

static APPEND: LazyLock<String> = LazyLock::new(|| {
    let arguments: Vec<String> = (1..=ARGUMENTS).map(|number| format!("${number}")).collect();
    functions::statement(&format!("select * from {{append}}({})", arguments.join(", ")))
});
const ARGUMENTS: usize = 34;

/// The database function that writes a row.
fn row_writer(row: &SideRow) -> String {
    functions::name(&format!("write_{}", row.table())).to_owned()
}

fn column<'a, Row, Value>(rows: &'a [Row], value: impl Fn(&'a Row) -> Value) -> Vec<Value> {
    rows.iter().map(value).collect()
}

#[derive(Default, serde::Deserialize)]
struct Facts {
    moved: Vec<i32>,
    taken: Vec<TakenFact>,
    changed: Vec<usize>,
    duplicates: Vec<DuplicateFact>,
}

#[derive(serde::Deserialize)]
struct TakenFact {
    command: usize,
    claim: usize,
    owner: String,
}

#[derive(serde::Deserialize)]
struct DuplicateFact {
    command: usize,
    fingerprint: String,
    first_position: i64,
    last_position: i64,
}

impl DuplicateFact {
    fn into_duplicate(self) -> Duplicate {
        Duplicate {
            command: self.command.saturating_sub(1),
            fingerprint: from_hex(&self.fingerprint),
            first_position: self.first_position,
            last_position: self.last_position,
        }
    }
}

impl TakenFact {
    fn into_taken(self, batch: &Batch) -> Option<Taken> {
        let claim = batch.claims.get(self.claim.checked_sub(1)?)?.claim().clone();
        Some(Taken { command: self.command.checked_sub(1)?, claim, owner: self.owner })
    }
}

fn from_hex(text: &str) -> Vec<u8> {
    text.as_bytes()
        .chunks_exact(2)
        .filter_map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok())
        .collect()
}
