//! What fraud checks compare with: first owners of shared values, addresses, and latest referees; and the tables that
//! hold it, which are cleaned.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use sqlx::{PgConnection, PgPool, Row};
use time::OffsetDateTime;

use super::log::timestamp;
use super::{StoreError, functions};
use domain::fraud::LATEST_REFEREES;
use domain::{
    ClaimKind, FraudFlagId, LatestReferee, ParticipantId, Personal, SignUpClient, Timestamp, UserId,
};

/// The address of a user at one moment.
#[derive(Clone, Debug)]
pub struct KnownAddress {
    /// The version of the user's stream at that moment.
    pub version: i64,
    /// In the form in which addresses are compared; `None` if there is no such user or they were erased.
    pub address: Option<Personal>,
}

/// From where a user signed up, at one moment.
#[derive(Clone)]
pub struct KnownClient {
    /// The version of the user's stream at that moment.
    pub version: i64,
    /// `None` if it is not known, or not kept any more.
    pub client: Option<SignUpClient>,
}

/// Whom a participant has referred last, at one moment.
#[derive(Clone, Debug)]
pub struct KnownReferees {
    /// The version of the participant's stream at that moment.
    pub version: i64,
    /// At most [`LATEST_REFEREES`], the latest first.
    pub latest: Vec<Arc<LatestReferee>>,
}

static ADDRESSES: LazyLock<String> =
    LazyLock::new(|| functions::statement("select * from {user_addresses}($1)"));
static CLIENTS: LazyLock<String> =
    LazyLock::new(|| functions::statement("select * from {sign_up_clients_of}($1)"));
static LATEST_REFEREES_OF: LazyLock<String> =
    LazyLock::new(|| functions::statement("select * from {latest_referees}($1, $2, $3)"));

/// The owners of values, in the order of `keys`; `None` for those that belong to nobody.
///
/// # Errors
/// [`StoreError`] if the database cannot be read.
pub async fn owners(
    connection: &mut PgConnection,
    keys: &[(ClaimKind, String)],
) -> Result<Vec<Option<String>>, StoreError> {
    let kinds: Vec<&str> = keys.iter().map(|(kind, _)| kind.as_str()).collect();
    let values: Vec<&str> = keys.iter().map(|(_, value)| value.as_str()).collect();
    let owners = sqlx::query_scalar(
        "select known.owner from unnest($1::text[], $2::text[]) with ordinality as k(kind, value, ordinal) \
         left join lateral (\
             select owner from claims where claims.kind = k.kind and claims.value = k.value limit 1\
         ) as known on true \
         order by k.ordinal",
    )
    .bind(kinds)
    .bind(values)
    .fetch_all(connection)
    .await?;
    Ok(owners)
}

/// The addresses of users, in their order.
///
/// # Errors
/// [`StoreError`] if the database cannot be read.
pub async fn addresses(
    connection: &mut PgConnection,
    users: &[UserId],
) -> Result<Vec<KnownAddress>, StoreError> {
    let ids: Vec<&str> = users.iter().map(UserId::as_str).collect();
    let rows = sqlx::query(&ADDRESSES).bind(ids).fetch_all(connection).await?;
    let known = |row: &sqlx::postgres::PgRow| -> Result<KnownAddress, StoreError> {
        let address: Option<String> = row.try_get("address")?;
        Ok(KnownAddress { version: row.try_get("version")?, address: address.map(Personal) })
    };
    rows.iter().map(known).collect()
}

/// From where users signed up, in their order.
///
/// # Errors
/// [`StoreError`] if the database cannot be read.
pub async fn clients(
    connection: &mut PgConnection,
    users: &[UserId],
) -> Result<Vec<KnownClient>, StoreError> {
    let ids: Vec<&str> = users.iter().map(UserId::as_str).collect();
    let rows = sqlx::query(&CLIENTS).bind(ids).fetch_all(connection).await?;
    let known = |(row, user_id): (&sqlx::postgres::PgRow, &UserId)| {
        let sign_up_time: Option<OffsetDateTime> = row.try_get("sign_up_time")?;
        let client_ip: Option<String> = row.try_get("client_address")?;
        let fingerprint_key = row.try_get("fingerprint_key")?;
        let client = sign_up_time.map(|sign_up_time| SignUpClient {
            user_id: user_id.clone(),
            client_ip: client_ip.and_then(|text| text.parse().ok()),
            fingerprint_key,
            sign_up_time: timestamp(sign_up_time),
        });
        Ok(KnownClient { version: row.try_get("version")?, client })
    };
    rows.iter().zip(users).map(known).collect()
}

/// Whom participants have referred last, in their order.
///
/// # Errors
/// [`StoreError`] if the database cannot be read.
pub async fn latest_referees(
    connection: &mut PgConnection,
    referrers: &[ParticipantId],
) -> Result<Vec<KnownReferees>, StoreError> {
    let programs: Vec<&str> = referrers.iter().map(|id| id.program_id.as_str()).collect();
    let users: Vec<&str> = referrers.iter().map(|id| id.user_id.as_str()).collect();
    // One row for each referrer: a batch can have hundreds of referrers with a hundred referees each.
    let rows = sqlx::query(&LATEST_REFEREES_OF)
        .bind(programs)
        .bind(users)
        .bind(i64::try_from(LATEST_REFEREES).unwrap_or(i64::MAX))
        .fetch_all(connection)
        .await?;
    rows.iter()
        .map(|row| {
            let users: &str = row.try_get("referees")?;
            let times: Vec<OffsetDateTime> = row.try_get("refer_times")?;
            let addresses: &str = row.try_get("addresses")?;
            let latest = times.into_iter().zip(users.split('\n').zip(addresses.split('\n')));
            let latest = latest.map(|(refer_time, (user_id, address))| {
                let address = Some(address).filter(|address| !address.is_empty());
                Ok(Arc::new(LatestReferee {
                    user_id: UserId::parse(user_id).map_err(|error| {
                        StoreError::Nonsense(format!("the id of a referee that {error}"))
                    })?,
                    refer_time: timestamp(refer_time),
                    address: address.map(|address| Personal(address.into())),
                }))
            });
            let latest: Result<_, StoreError> = latest.collect();
            Ok(KnownReferees { version: row.try_get("version")?, latest: latest? })
        })
        .collect()
}

/// What a reviewer wrote with a decision.
#[derive(Clone)]
pub struct KeptNote {
    /// The number of the decision.
    pub number: i32,
    /// Personal data.
    pub note: String,
    /// When.
    pub note_time: Timestamp,
    /// The decision, as the log names it.
    pub decision: Option<String>,
    /// Who made it, as the log names actors.
    pub author: Option<String>,
}

/// The notes about flags, by flag, the latest first.
///
/// # Errors
/// [`StoreError`] if the database cannot be read.
pub async fn notes(
    pool: &PgPool,
    flag_ids: &[&str],
) -> Result<HashMap<String, Vec<KeptNote>>, StoreError> {
    if flag_ids.is_empty() {
        return Ok(HashMap::new());
    }
    let rows = sqlx::query(
        // The decision of a number is the event of that number; each is the first event of its command.
        "select note.flag_id, note.number, note.note, note.note_time, resolved.decision, resolved.author \
         from fraud_notes as note \
         left join lateral (\
             select payload ->> 'decision' as decision, metadata ->> 'actor' as author from events \
             where aggregate_id = note.flag_id and aggregate_type = 'FraudFlag' \
                 and event_type = 'FraudFlagResolved' \
             order by sequence offset note.number - 1 limit 1\
         ) as resolved on true \
         where note.flag_id = any($1) \
         order by note.flag_id, note.number desc",
    )
    .bind(flag_ids)
    .fetch_all(pool)
    .await?;
    let mut notes: HashMap<String, Vec<KeptNote>> = HashMap::new();
    for row in rows {
        notes.entry(row.try_get("flag_id")?).or_default().push(KeptNote {
            number: row.try_get("number")?,
            note: row.try_get("note")?,
            note_time: timestamp(row.try_get("note_time")?),
            decision: row.try_get("decision")?,
            author: row.try_get("author")?,
        });
    }
    Ok(notes)
}

/// Counts once more that what a flag is about has happened. Returns how often it has by now; `None` if there is no such
/// flag yet.
///
/// # Errors
/// [`StoreError`] if the database cannot be written.
pub async fn repeat(pool: &PgPool, flag_id: &FraudFlagId) -> Result<Option<u32>, StoreError> {
    let repetitions: Option<i32> = sqlx::query_scalar(
        "update fraud_evidence set repetitions = repetitions + 1, \
             last_found_time = greatest(last_found_time, clock_timestamp()) \
         where flag_id = $1 and repetitions < 2147483647 returning repetitions",
    )
    .bind(flag_id.as_str())
    .fetch_optional(pool)
    .await?;
    Ok(repetitions.map(|repetitions| u32::try_from(repetitions).unwrap_or_default() + 1))
}

/// Deletes at most `limit` rows of each table with evidence that are older than `age`, and returns how many.
///
/// # Errors
/// [`StoreError`] if the database cannot be written.
pub async fn delete_old(pool: &PgPool, age: Duration, limit: i64) -> Result<u64, StoreError> {
    let mut deleted = 0;
    for (table, time) in [
        ("referee_addresses", "refer_time"),
        ("sign_up_clients", "sign_up_time"),
        ("fraud_evidence", "last_found_time"),
        ("fraud_notes", "note_time"),
    ] {
        let query = format!(
            "delete from {table} where ctid = any (array(\
                 select ctid from {table} \
                 where {time} < clock_timestamp() - make_interval(secs => $1) limit $2))"
        );
        let rows = sqlx::query(&query).bind(age.as_secs_f64()).bind(limit).execute(pool).await?;
        deleted += rows.rows_affected();
    }
    Ok(deleted)
}
