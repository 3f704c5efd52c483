//! Decisions that only read: they run on the streams as currently stored in the database, without the cache
//! and without an append.

use std::collections::HashSet;
use std::time::Instant;

use sqlx::PgConnection;

use super::Environment;
use super::cache::Cache;
use super::horizon::Horizon;
use super::unit::{FinishedStreams, KnownTaken, Missing, UnitOfWork};
use crate::store::{ANSWER_TIMEOUT, Database, StoreError, evidence, load, purchases, until};
use domain::{ClaimKind, Halt, Kind, Lag, ParticipantId, Refusal, StreamKey, UserId, Work};

/// How many streams are read by one query, so that its result stays small.
const STREAMS_PER_QUERY: usize = 5_000;

/// How many levels above a participant are loaded with it.
const PREFETCH_LEVELS: u32 = 2;

/// Why a query failed.
#[derive(Debug, thiserror::Error)]
pub enum QueryError {
    /// The subject of the query does not exist.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A table that is computed from the log is far behind.
    #[error("a table that the query needs is being built")]
    Behind(Lag),
    /// A bug in the server.
    #[error("{0}")]
    Broken(&'static str),
}

/// Runs `look` on the current state of the database.
///
/// # Errors
/// [`QueryError`] if `look` refuses or the database cannot be read.
pub async fn query<T>(
    database: &Database,
    environment: &Environment,
    mut look: impl FnMut(&mut dyn Work) -> Result<T, Halt>,
) -> Result<T, QueryError> {
    // One limit for all rounds: limits of their own would add up.
    let deadline = Instant::now() + ANSWER_TIMEOUT;
    let mut connection = database.pool().acquire().await.map_err(StoreError::from)?;
    let mut cache = Cache::new(1);
    let before = FinishedStreams::new();
    let (taken, horizon) = (KnownTaken::new(), Horizon::default());
    let mut unit = UnitOfWork::new(environment, &mut cache, &before, taken, horizon);
    loop {
        match unit.run(false, &mut look).await {
            Ok(seen) => return Ok(seen),
            Err(Halt::Refused(refusal)) => return Err(refusal.into()),
            Err(Halt::Missing) => {
                let missing = unit.take_missing();
                let known = unit.known_facts();
                until(deadline, fetch(&mut connection, &mut unit, missing)).await?;
                if unit.known_facts() == known {
                    return Err(QueryError::Broken("a query that lacks something unknown"));
                }
            }
            Err(Halt::Behind(lag)) => return Err(QueryError::Behind(lag)),
            Err(Halt::Broken(what)) => return Err(QueryError::Broken(what)),
            Err(Halt::AlreadyRecorded(_)) => {
                return Err(QueryError::Broken("a query that recorded something"));
            }
        }
    }
}

/// Loads what decisions lack, and what they will probably need next. Everything that is lacking is known to
/// `unit` afterwards and stays known, whatever the cache evicts. A decision that runs again therefore always
/// comes further, so the rounds of loading need no limit.
pub(super) async fn fetch(
    connection: &mut PgConnection,
    unit: &mut UnitOfWork<'_>,
    missing: Missing,
) -> Result<(), StoreError> {
    let Missing {
        streams: wanted,
        codes,
        walks,
        default_programs,
        address_keys,
        owners,
        addresses,
        clients,
        referees,
        purchases,
    } = missing;
    let mut streams = wanted.clone();
    let users: Vec<_> =
        streams.iter().filter(|key| key.kind == Kind::User).map(|key| key.id.clone()).collect();
    let participants: Vec<_> = streams
        .iter()
        .filter(|key| key.kind == Kind::Participant)
        .filter_map(|key| ParticipantId::parse(&key.id))
        .collect();
    if !(users.is_empty() && participants.is_empty() && codes.is_empty()) {
        let users: Vec<&str> = users.iter().map(|id| &**id).collect();
        let wanted: Vec<&str> = codes.iter().map(String::as_str).collect();
        let mut found =
            load::prefetch(connection, &users, &participants, &wanted, PREFETCH_LEVELS).await?;
        for participant in found.participants {
            let id = participant.to_string().into();
            streams.insert(StreamKey { kind: Kind::Participant, id });
            let id = participant.program_id.as_str().into();
            streams.insert(StreamKey { kind: Kind::Program, id });
        }
        for code in codes {
            let owner = found.code_owners.remove(&code);
            unit.learn_code(code, owner);
        }
    }
    if default_programs {
        let programs = load::default_programs(connection).await?;
        for program_id in &programs {
            let id = program_id.as_str().into();
            streams.insert(StreamKey { kind: Kind::Program, id });
        }
        unit.learn_default_programs(programs);
    }
    if !address_keys.is_empty() {
        let keys: Vec<&str> = address_keys.iter().map(String::as_str).collect();
        let erased = load::erased_addresses(connection, &keys).await?;
        for key in address_keys {
            let is_erased = erased.contains(&key);
            unit.learn_erased_address(key, is_erased);
        }
    }
    for (from, target) in walks {
        let walk = load::walk_upline(connection, &from, &target).await?;
        unit.learn_walk(from, target, walk);
    }
    streams.retain(|key| wanted.contains(key) || !unit.knows(key));
    let streams: Vec<_> = streams.into_iter().collect();
    for streams in streams.chunks(STREAMS_PER_QUERY) {
        let loaded = load::streams(connection, streams).await?;
        for (key, loaded) in streams.iter().cloned().zip(loaded) {
            unit.learn_stream(key, loaded);
        }
    }
    let asked: Vec<_> = purchases.into_iter().collect();
    if !asked.is_empty() {
        let (table, part) = (unit.purchases_table(), unit.remembered_part());
        let found = purchases::purchases_of(connection, table, part, &asked).await?;
        asked.into_iter().zip(found).for_each(|(asked, found)| unit.learn_purchases(asked, found));
    }
    // After the streams, so that it is at least as new.
    Box::pin(fetch_evidence(connection, unit, owners, (addresses, clients), referees)).await
}

/// Loads what fraud checks lack.
async fn fetch_evidence(
    connection: &mut PgConnection,
    unit: &mut UnitOfWork<'_>,
    owners: HashSet<(ClaimKind, String)>,
    (addresses, clients): (HashSet<UserId>, HashSet<UserId>),
    referees: HashSet<ParticipantId>,
) -> Result<(), StoreError> {
    let owners: Vec<_> = owners.into_iter().collect();
    if !owners.is_empty() {
        let known = evidence::owners(connection, &owners).await?;
        owners.into_iter().zip(known).for_each(|(key, owner)| unit.learn_owner(key, owner));
    }
    let users: Vec<_> = addresses.into_iter().collect();
    if !users.is_empty() {
        let known = evidence::addresses(connection, &users).await?;
        users
            .into_iter()
            .zip(known)
            .for_each(|(user_id, known)| unit.learn_address(user_id, known));
    }
    let users: Vec<_> = clients.into_iter().collect();
    if !users.is_empty() {
        let known = evidence::clients(connection, &users).await?;
        users.into_iter().zip(known).for_each(|(user_id, known)| unit.learn_client(user_id, known));
    }
    let referrers: Vec<_> = referees.into_iter().collect();
    if !referrers.is_empty() {
        let known = evidence::latest_referees(connection, &referrers).await?;
        referrers.into_iter().zip(known).for_each(|(id, known)| unit.learn_referees(id, known));
    }
    Ok(())
}
