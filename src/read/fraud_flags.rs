//! Fraud flags with their evidence.

use std::collections::HashMap;
use std::time::Duration;

use sqlx::Row;
use sqlx::postgres::PgRow;
use time::OffsetDateTime;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::{At, Freshness, ReadError, Reads, sql};
use crate::metrics::{Metrics, OfFlagKind};
use crate::store::evidence::{KeptNote, notes};
use crate::store::log::timestamp;
use crate::store::{Database, StoreError, in_time};
use domain::fraud::FlagKind;
use domain::{FraudFlagId, ProgramId, Timestamp, UserId, email};

/// Which flags to list; what is `None` is any.
#[derive(Clone, Debug, Default)]
pub struct FlagFilter {
    /// Of this kind.
    pub kind: Option<FlagKind>,
    /// Of this program.
    pub program_id: Option<ProgramId>,
    /// That name this user.
    pub user_id: Option<UserId>,
    /// Whose referee is this user.
    pub referee_user_id: Option<UserId>,
    /// Whose referrer is this user.
    pub referrer_user_id: Option<UserId>,
    /// Whether open.
    pub is_open: Option<bool>,
    /// Raised at this time or later.
    pub start: Option<Timestamp>,
    /// Raised before this time.
    pub end: Option<Timestamp>,
}

/// A flag's place in the order of lists: whether it is open, and the position at which it was raised.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlagPlace {
    /// Whether it is open.
    pub is_open: bool,
    /// The position.
    pub raised_position: i64,
}

impl FlagPlace {
    /// Before all flags.
    pub const FIRST: Self = Self { is_open: true, raised_position: i64::MAX };
}

/// A user of a flag.
#[derive(Clone, Default)]
pub struct FlagParty {
    /// The user.
    pub user_id: String,
    /// The username; `None` if the user was erased.
    pub username: Option<String>,
    /// The address. Personal data.
    pub address: Option<String>,
    /// When the user registered.
    pub sign_up_time: Option<Timestamp>,
}

/// A flag. Names of kinds, policies and the like are those of the log.
#[derive(Clone)]
#[allow(missing_docs, reason = "the names are those of the contract")]
pub struct ListedFlag {
    pub place: FlagPlace,
    pub flag_id: String,
    pub kind: String,
    pub score_bps: i32,
    pub program_id: String,
    pub referee: Option<FlagParty>,
    pub referrer: Option<FlagParty>,
    pub other: Option<FlagParty>,
    pub occasion: String,
    pub consequence: String,
    pub evidence: Vec<String>,
    pub decision: Option<String>,
    pub reverses_rewards: bool,
    pub raise_time: Timestamp,
    pub resolve_time: Option<Timestamp>,
    pub resolved_by: Option<String>,
    pub count: i32,
    pub last_time: Timestamp,
    pub findings: serde_json::Value,
    pub client_address: Option<String>,
    pub sign_ups_before: Option<i32>,
    pub sign_ups_of_address: i64,
    pub referral_status: Option<String>,
    pub notes: Vec<KeptNote>,
}

/// How often open flags are counted.
const COUNT_INTERVAL: Duration = Duration::from_secs(10);

/// Counts the open flags by kind, for the metrics, until `stop` is cancelled. A count that fails is left out.
pub(super) async fn count_open(database: Database, metrics: Metrics, stop: CancellationToken) {
    while stop.run_until_cancelled(sleep(COUNT_INTERVAL)).await.is_some() {
        let counting = in_time(async {
            let query = sqlx::query(sql!("fraud_flags_open.sql"));
            let rows = query.fetch_all(database.pool()).await?;
            rows.iter()
                .map(|row| Ok((row.try_get("kind")?, row.try_get("count")?)))
                .collect::<Result<HashMap<String, i64>, StoreError>>()
        });
        let Some(counted) = stop.run_until_cancelled(counting).await else { return };
        let Ok(counted) = counted else { continue };
        for kind in FlagKind::ALL.map(FlagKind::as_str) {
            let count = counted.get(kind).copied().unwrap_or_default();
            metrics.fraud.open.get_or_create(&OfFlagKind { kind }).set(count);
        }
    }
}

impl Reads {
    /// Flags, open ones first, then the newest first.
    ///
    /// # Errors
    /// [`ReadError`] if the read models cannot answer in time.
    pub async fn fraud_flags(
        &self,
        filter: &FlagFilter,
        after: FlagPlace,
        limit: i64,
        freshness: Freshness,
    ) -> Result<At<Vec<ListedFlag>>, ReadError> {
        self.flags(filter, None, after, limit, freshness).await
    }

    /// A flag.
    ///
    /// # Errors
    /// [`ReadError`] if the read models cannot answer in time.
    pub async fn fraud_flag(
        &self,
        flag_id: &FraudFlagId,
        freshness: Freshness,
    ) -> Result<At<Option<ListedFlag>>, ReadError> {
        let filter = FlagFilter::default();
        let list = self.flags(&filter, Some(flag_id), FlagPlace::FIRST, 1, freshness);
        Ok(list.await?.first())
    }

    async fn flags(
        &self,
        filter: &FlagFilter,
        flag_id: Option<&FraudFlagId>,
        after: FlagPlace,
        limit: i64,
        freshness: Freshness,
    ) -> Result<At<Vec<ListedFlag>>, ReadError> {
        let moment = |time: Option<Timestamp>| {
            let nanos = time.map(|time| i128::from(time.0) * 1_000);
            nanos.and_then(|nanos| OffsetDateTime::from_unix_timestamp_nanos(nanos).ok())
        };
        let query = || {
            sqlx::query(sql!("fraud_flags.sql"))
                .bind(after.is_open)
                .bind(after.raised_position)
                .bind(limit)
                .bind(filter.kind.map(FlagKind::as_str))
                .bind(filter.program_id.as_ref().map(ProgramId::to_string))
                .bind(filter.user_id.as_ref().map(UserId::to_string))
                .bind(filter.is_open)
                .bind(moment(filter.start))
                .bind(moment(filter.end))
                .bind(flag_id.map(FraudFlagId::to_string))
                .bind(filter.referee_user_id.as_ref().map(UserId::to_string))
                .bind(filter.referrer_user_id.as_ref().map(UserId::to_string))
        };
        let At { position, found: mut flags } = self.list(freshness, query, flag).await?;
        let ids: Vec<&str> = flags.iter().map(|flag| flag.flag_id.as_str()).collect();
        let mut notes = in_time(notes(self.database.pool(), &ids)).await?;
        for flag in &mut flags {
            flag.notes = notes.remove(&flag.flag_id).unwrap_or_default();
        }
        Ok(At { position, found: flags })
    }
}

/// The flag of a row; `None` for the row that says that there is none.
fn flag(row: &PgRow) -> Result<Option<ListedFlag>, StoreError> {
    let Some(flag_id) = row.try_get::<Option<String>, _>("flag_id")? else { return Ok(None) };
    let moment = |column: &str| -> Result<Option<Timestamp>, StoreError> {
        Ok(row.try_get::<Option<OffsetDateTime>, _>(column)?.map(timestamp))
    };
    let text = |column: &str| -> Result<Option<String>, StoreError> { Ok(row.try_get(column)?) };
    let party = |name: &str, address: &str| -> Result<Option<FlagParty>, StoreError> {
        let Some(user_id) = text(&format!("{name}_user_id"))? else { return Ok(None) };
        Ok(Some(FlagParty {
            user_id,
            username: text(&format!("{name}_username"))?,
            // The profile has the address as it was written.
            address: text(address)?.and_then(|of| email::comparable(&of)),
            sign_up_time: moment(&format!("{name}_time"))?,
        }))
    };
    let evidence: Option<serde_json::Value> = row.try_get("evidence")?;
    let evidence = evidence.map(serde_json::from_value::<Vec<String>>).transpose();
    let raise_time = moment("raise_time")?.unwrap_or_default();
    Ok(Some(ListedFlag {
        place: FlagPlace {
            is_open: row.try_get("is_open")?,
            raised_position: row.try_get("raised_position")?,
        },
        kind: row.try_get("kind")?,
        score_bps: row.try_get("score_bps")?,
        program_id: row.try_get("program_id")?,
        referee: party("referee", "address")?,
        referrer: party("referrer", "referrer_address")?,
        other: party("other", "other_address")?,
        occasion: row.try_get("occasion")?,
        consequence: row.try_get("consequence")?,
        evidence: evidence
            .map_err(|_| StoreError::Nonsense(format!("the evidence of flag '{flag_id}'")))?
            .unwrap_or_default(),
        decision: text("decision")?,
        reverses_rewards: row.try_get("reverses_rewards")?,
        raise_time,
        resolve_time: moment("resolve_time")?,
        resolved_by: text("resolved_by")?,
        count: row.try_get("count")?,
        last_time: moment("last_time")?.unwrap_or(raise_time),
        findings: row.try_get::<Option<_>, _>("findings")?.unwrap_or_default(),
        client_address: text("client_address")?,
        sign_ups_before: row.try_get("sign_up_count")?,
        sign_ups_of_address: row.try_get("sign_ups_of_address")?,
        referral_status: text("referral_status")?,
        notes: Vec::new(),
        flag_id,
    }))
}
