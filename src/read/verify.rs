//! Verifying everything: the log against its own rules, and every read model against the log.

use std::collections::HashMap;
use std::sync::Arc;

use sqlx::postgres::PgConnection;
use sqlx::types::Json;
use sqlx::{Connection, Row};
use tokio_stream::StreamExt;

use super::READ_EVENTS;
use super::audit::{Account, Audit, Finding};
use super::compare::{Comparison, Pair, Watcher};
use super::models::{self, Purpose};
use super::oracle::Oracle;
use super::rebuild::{MaintenanceError, lock_maintenance};
use super::verify_snapshots::check_snapshots;
use crate::store::{Database, StoreError, log};
use domain::Buckets;

/// The maximum number of broken streams that are named.
const MAX_NAMED: i64 = 20;

/// The result of a verification.
#[derive(Clone, Debug, Default)]
pub struct Verdict {
    /// How many events the log had.
    pub events: i64,
    /// How many rewards were reckoned anew from the rules in force.
    pub rewards: u64,
    /// The comparison of the read models with fresh copies.
    pub comparison: Comparison,
    /// What is wrong with the log, or with the read models derived from it.
    pub findings: Vec<Finding>,
    /// How many findings there were; only the first ones are kept.
    pub finding_count: u64,
    /// How many of these are consequences other than the rules demand.
    pub deviation_count: u64,
}

impl Verdict {
    /// Whether nothing is wrong.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.finding_count == 0 && self.comparison.differing_rows == 0
    }
}

/// Folds the whole log from scratch and compares the result with every read model; audits the log event by
/// event; reckons every reward anew from inputs and rules; compares the read model of participants with the audit's
/// own accounts, and each snapshot with the state that its events add up to. Servers may run meanwhile.
///
/// # Errors
/// [`MaintenanceError`] if the database cannot be read or has no room for the copies, or if another rebuild
/// or verification is running.
pub async fn verify(
    database: &Database,
    watcher: &mut dyn Watcher,
) -> Result<Verdict, MaintenanceError> {
    let mut connection = database.connect().await?;
    if !lock_maintenance(&mut connection).await? {
        return Err(MaintenanceError::Running);
    }
    let pair = Pair::of(&models::names(), Purpose::Verify);
    pair.check_log(&mut connection).await?;
    drop_all(&mut connection, &pair).await?;
    let verdict = verify_with(database, &mut connection, &pair, watcher).await;
    drop_all(&mut connection, &pair).await?;
    Ok(verdict?)
}

async fn drop_all(connection: &mut PgConnection, pair: &Pair) -> Result<(), StoreError> {
    for copy in &pair.fresh {
        copy.drop(connection).await?;
    }
    Ok(())
}

async fn verify_with(
    database: &Database,
    connection: &mut PgConnection,
    pair: &Pair,
    watcher: &mut dyn Watcher,
) -> Result<Verdict, StoreError> {
    pair.create(connection).await?;
    pair.catch_up(database, "folding the log from scratch", watcher).await?;
    let (comparison, mut looker) = pair.compare(database, watcher).await?;
    let (mut audit, oracle) = audit_log(&mut looker, comparison.position, watcher).await?;
    find_broken_streams(&mut looker, &mut audit).await?;
    check_snapshots(&mut looker, &mut audit).await?;
    if let Some(participants) = pair.fresh.iter().find(|copy| copy.model == "participants") {
        compare_accounts(&mut looker, &participants.table, &mut audit).await?;
    }
    looker.close().await?;
    audit.findings.extend(oracle.findings);
    Ok(Verdict {
        events: comparison.position,
        rewards: oracle.rewards,
        comparison,
        findings: audit.findings,
        finding_count: audit.finding_count + oracle.finding_count,
        deviation_count: oracle.finding_count,
    })
}

/// One pass over the log, in which the audit and the oracle see every event.
async fn audit_log(
    connection: &mut PgConnection,
    end: i64,
    watcher: &mut dyn Watcher,
) -> Result<(Audit, Oracle), StoreError> {
    let mut audit = Audit::default();
    let mut oracle = Oracle::default();
    let mut position = 0;
    watcher.begin("auditing the log", end);
    loop {
        let events = log::read_after(&mut *connection, position, READ_EVENTS).await?;
        if events.is_empty() || position >= end {
            break;
        }
        for event in events.iter().take_while(|event| event.position <= end) {
            if let Err(error) = audit.enter(event) {
                let stream = event.stream.to_string();
                audit.find(&stream, format!("it cannot be read: {error}"), event.position);
            }
            oracle.enter(event);
        }
        position = events.last().map_or(end, |event| event.position);
        watcher.reach(position.min(end));
    }
    oracle.finish();
    for missed in audit.payouts.missed() {
        audit.find("payouts", missed, end);
    }
    watcher.end();
    if position < end {
        audit.find("the log", format!("it ends before position {end}"), position);
    }
    Ok((audit, oracle))
}

/// Streams whose events are not numbered 1, 2, 3, ...
async fn find_broken_streams(
    connection: &mut PgConnection,
    audit: &mut Audit,
) -> Result<(), StoreError> {
    let rows = sqlx::query(
        "select aggregate_type || ' ''' || aggregate_id || '''' as stream, \
             max(position) as position, count(*) as events, max(sequence) as last \
         from events group by aggregate_type, aggregate_id \
         having max(sequence) <> count(*) or min(sequence) <> 1 order by 2 limit $1",
    )
    .bind(MAX_NAMED)
    .fetch_all(connection)
    .await?;
    for row in rows {
        let (events, last): (i64, i64) = (row.try_get("events")?, row.try_get("last")?);
        let what = format!("it has {events} events, but the last is number {last}");
        audit.find(row.try_get("stream")?, what, row.try_get("position")?);
    }
    Ok(())
}

/// Compares the folded participants with the accounts of the audit.
async fn compare_accounts(
    connection: &mut PgConnection,
    table: &str,
    audit: &mut Audit,
) -> Result<(), StoreError> {
    let query = format!(
        "select program_id || '/' || user_id as id, balance_minor, earned_minor, \
             reward_count::bigint, uses::bigint, pending_count::bigint, held_count::bigint, \
             converted_count::bigint, is_active, tier, buckets \
         from {table}"
    );
    let mut rows = sqlx::query(&query).fetch(connection);
    let mut accounts: HashMap<Arc<str>, Account> = std::mem::take(&mut audit.accounts);
    while let Some(row) = rows.next().await.transpose()? {
        let id: &str = row.try_get("id")?;
        let about = format!("participant '{id}'");
        let Some(account) = accounts.remove(id) else {
            audit.find(&about, "is in the read model, but not in the log".into(), 0);
            continue;
        };
        let numbers = [
            ("balance_minor", account.buckets.balance()),
            ("earned_minor", account.buckets.net_earned()),
            ("reward_count", account.reward_count),
            ("uses", account.uses.into()),
            ("pending_count", account.pending_count),
            ("held_count", account.held_count),
            ("converted_count", account.converted_count),
        ];
        for (column, expected) in numbers {
            let folded: i64 = row.try_get(column)?;
            if folded != expected {
                let what = format!("{column} is folded to {folded}, but the log says {expected}");
                audit.find(&about, what, account.last_position);
            }
        }
        let Json(buckets): Json<Buckets> = row.try_get("buckets")?;
        if buckets != account.buckets {
            let what = format!(
                "the buckets are folded to {buckets:?}, but the log says {:?}",
                account.buckets
            );
            audit.find(&about, what, account.last_position);
        }
        let (is_active, tier): (bool, Option<&str>) =
            (row.try_get("is_active")?, row.try_get("tier")?);
        if is_active == account.is_inactive || tier != account.tier.as_deref() {
            let what = format!(
                "folded as active {is_active} in tier {tier:?}, but the log says {} and {:?}",
                !account.is_inactive, account.tier
            );
            audit.find(&about, what, account.last_position);
        }
    }
    for (id, account) in accounts {
        let about = format!("participant '{id}'");
        audit.find(&about, "is missing in the read model".into(), account.last_position);
    }
    Ok(())
}
