//! What Stripe told by webhooks: payments, their objects, and the events themselves. What the events mean is not known
//! here: states and events come as JSON and text.

use std::time::Duration;

use serde_json::Value;
use sqlx::postgres::PgRow;
use sqlx::{PgConnection, PgExecutor, PgPool, Row};

use super::log::timestamp;
use super::{StoreError, begin};
use domain::{Kind, Timestamp, UserId};

/// A payment, as it is kept.
#[derive(Clone, Debug)]
pub struct KeptPayment {
    /// Everything that was told.
    pub state: Value,
    /// Raised with each change of the state.
    pub version: i64,
}

/// An event, as it came.
#[derive(Clone, Copy, Debug)]
pub struct KeptEvent<'a> {
    /// Its id.
    pub event_id: &'a str,
    /// Its type.
    pub event_type: &'a str,
    /// All who are named as the buyer, so that the event is erased with each of them; the first counts.
    pub named: &'a [UserId],
    /// The raw body; `None` if somebody who is named was erased.
    pub body: Option<&'a str>,
}

/// A payment of which something waits for an event or an operator.
#[derive(Clone, Debug)]
pub struct ParkedPayment {
    /// Its place in the list.
    pub number: i64,
    /// The payment intent.
    pub payment_id: String,
    /// Everything that was told.
    pub state: Value,
    /// The buyer, as far as known.
    pub user_id: Option<String>,
    /// What waits.
    pub parked: Value,
    /// Whether there is a purchase.
    pub is_recorded: bool,
    /// When it was first heard of.
    pub first_at: Timestamp,
    /// When the last news came.
    pub changed_at: Timestamp,
}

/// Locks these objects in this order until the transaction ends, so that one event about them is taken in at a time.
///
/// # Errors
/// [`StoreError`] if they cannot be locked; also if two wait for each other after all.
pub async fn lock(transaction: &mut PgConnection, keys: &[String]) -> Result<(), StoreError> {
    sqlx::query(
        "select pg_advisory_xact_lock(hashtextextended('stripe ' || current_schema() || ' ' || key, 0)) \
         from unnest($1) as key",
    )
    .bind(keys)
    .execute(transaction)
    .await?;
    Ok(())
}

/// Keeps an event, unless it was kept before.
///
/// # Errors
/// [`StoreError`] if it cannot be written.
pub async fn keep_event(
    executor: impl PgExecutor<'_>,
    event: KeptEvent<'_>,
) -> Result<(), StoreError> {
    sqlx::query(
        "insert into stripe_events (event_id, event_type, body, user_id, named_user_ids) \
         values ($1, $2, $3, $4, $5) on conflict do nothing",
    )
    .bind(event.event_id)
    .bind(event.event_type)
    .bind(event.body)
    .bind(event.named.first().map(UserId::as_str))
    .bind(texts(event.named))
    .execute(executor)
    .await?;
    Ok(())
}

/// The body of an event that was kept; `None` if it is kept without one, or not at all.
///
/// # Errors
/// [`StoreError`] if it cannot be read.
pub async fn event_body(
    executor: impl PgExecutor<'_>,
    event_id: &str,
) -> Result<Option<String>, StoreError> {
    let body = sqlx::query_scalar::<_, Option<String>>(
        "select body from stripe_events where event_id = $1",
    );
    Ok(body.bind(event_id).fetch_optional(executor).await?.flatten())
}

/// Locks these users until the transaction ends, as their erasure does. Whoever writes what names a user holds it, and
/// then asks whether they were [`erased`].
///
/// # Errors
/// [`StoreError`] if they cannot be locked.
pub async fn lock_users(
    transaction: &mut PgConnection,
    users: &[UserId],
) -> Result<(), StoreError> {
    let mut keys: Vec<String> = users.iter().map(|user_id| format!("user:{user_id}")).collect();
    keys.sort();
    lock(transaction, &keys).await
}

/// Those of these users who were erased.
///
/// # Errors
/// [`StoreError`] if they cannot be read.
pub async fn erased(
    executor: impl PgExecutor<'_>,
    users: &[UserId],
) -> Result<Vec<UserId>, StoreError> {
    if users.is_empty() {
        return Ok(Vec::new());
    }
    let erased: Vec<String> = sqlx::query_scalar(
        "select distinct aggregate_id from events \
         where aggregate_id = any($1) and aggregate_type = $2 and event_type = 'UserErased'",
    )
    .bind(texts(users))
    .bind(Kind::User.as_str())
    .fetch_all(executor)
    .await?;
    let is_erased = |user_id: &&UserId| erased.iter().any(|erased| erased == user_id.as_str());
    Ok(users.iter().filter(is_erased).cloned().collect())
}

fn texts(users: &[UserId]) -> Vec<String> {
    users.iter().map(|user_id| user_id.as_str().to_owned()).collect()
}

/// Lets an event wait for payments with these objects.
///
/// # Errors
/// [`StoreError`] if that cannot be written.
pub async fn let_wait(
    executor: impl PgExecutor<'_>,
    event_id: &str,
    keys: &[String],
) -> Result<(), StoreError> {
    sqlx::query(
        "insert into stripe_event_keys (key, event_id) select key, $2 from unnest($1) as key \
         on conflict do nothing",
    )
    .bind(keys)
    .bind(event_id)
    .execute(executor)
    .await?;
    Ok(())
}

/// The events that wait for a payment with one of these objects, with their bodies; `None` of those that name somebody who
/// was erased.
///
/// # Errors
/// [`StoreError`] if they cannot be read.
pub async fn waiting(
    executor: impl PgExecutor<'_>,
    keys: &[String],
) -> Result<Vec<(String, Option<String>)>, StoreError> {
    let events = sqlx::query_as(
        "select distinct event.event_id, event.body from stripe_event_keys as waiting \
         join stripe_events as event on event.event_id = waiting.event_id \
         where waiting.key = any($1)",
    );
    Ok(events.bind(keys).fetch_all(executor).await?)
}

/// The payments to which one of these objects belongs.
///
/// # Errors
/// [`StoreError`] if they cannot be read.
pub async fn payments_with(
    executor: impl PgExecutor<'_>,
    keys: &[String],
) -> Result<Vec<String>, StoreError> {
    let ids = sqlx::query_scalar(
        "select distinct payment_id from stripe_payment_keys where key = any($1) order by payment_id",
    );
    Ok(ids.bind(keys).fetch_all(executor).await?)
}

/// A payment; `None` if nothing was told about it.
///
/// # Errors
/// [`StoreError`] if it cannot be read.
pub async fn payment(
    executor: impl PgExecutor<'_>,
    payment_id: &str,
) -> Result<Option<KeptPayment>, StoreError> {
    let row = sqlx::query("select state, version from stripe_payments where payment_id = $1")
        .bind(payment_id)
        .fetch_optional(executor)
        .await?;
    let kept = |row: PgRow| {
        Ok(KeptPayment { state: row.try_get("state")?, version: row.try_get("version")? })
    };
    row.map(kept).transpose()
}

/// Writes a payment that has changed, and its objects.
///
/// # Errors
/// [`StoreError`] if it cannot be written.
pub async fn save_payment(
    transaction: &mut PgConnection,
    payment_id: &str,
    state: &Value,
    named: &[UserId],
    keys: &[String],
) -> Result<(), StoreError> {
    sqlx::query(
        "insert into stripe_payments as known (payment_id, state, named_user_ids) \
         values ($1, $2, $3) \
         on conflict (payment_id) do update \
         set state = excluded.state, named_user_ids = excluded.named_user_ids, \
             version = known.version + 1, changed_at = clock_timestamp()",
    )
    .bind(payment_id)
    .bind(state)
    .bind(texts(named))
    .execute(&mut *transaction)
    .await?;
    sqlx::query(
        "insert into stripe_payment_keys (key, payment_id) select key, $2 from unnest($1) as key \
         on conflict do nothing",
    )
    .bind(keys)
    .bind(payment_id)
    .execute(transaction)
    .await?;
    Ok(())
}

/// Notes which payment these events are about.
///
/// # Errors
/// [`StoreError`] if that cannot be written.
pub async fn assign_events(
    executor: impl PgExecutor<'_>,
    event_ids: &[String],
    payment_id: &str,
) -> Result<(), StoreError> {
    sqlx::query(
        "update stripe_events set payment_id = $2 where event_id = any($1) and payment_id is null",
    )
    .bind(event_ids)
    .bind(payment_id)
    .execute(executor)
    .await?;
    Ok(())
}

/// Forgets the bodies of all events of a payment.
///
/// # Errors
/// [`StoreError`] if that cannot be written.
pub async fn forget_bodies(
    executor: impl PgExecutor<'_>,
    payment_id: &str,
) -> Result<(), StoreError> {
    sqlx::query("update stripe_events set body = null where payment_id = $1 and body is not null")
        .bind(payment_id)
        .execute(executor)
        .await?;
    Ok(())
}

/// How a payment stands, after everything that is due was recorded.
#[derive(Clone, Debug, Default)]
pub struct Standing<'a> {
    /// The version of the state on which it rests.
    pub version: i64,
    /// The last event of the purchase's stream on which it rests; 0 if there is no purchase.
    pub sequence: i64,
    /// The buyer, as far as known.
    pub user_id: Option<&'a UserId>,
    /// All whom the state names.
    pub named: &'a [UserId],
    /// What waits; `None` if nothing does.
    pub parked: Option<Value>,
}

/// What became of a standing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Noted {
    /// It is noted.
    Noted,
    /// It is outdated: the state, or what is noted already, is of a later version.
    Outdated,
    /// The state names people who were erased. Nothing is noted until it does not.
    Erased(Vec<UserId>),
}

/// Notes how a payment stands, unless that is outdated. Of a buyer who was erased, neither the name nor a body is kept.
///
/// # Errors
/// [`StoreError`] if that cannot be written.
pub async fn note_standing(
    pool: &PgPool,
    payment_id: &str,
    standing: &Standing<'_>,
) -> Result<Noted, StoreError> {
    let mut users: Vec<UserId> = standing.named.to_vec();
    users.extend(standing.user_id.filter(|buyer| !standing.named.contains(buyer)).cloned());
    let mut transaction = begin(pool).await?;
    lock_users(&mut transaction, &users).await?;
    let erased = erased(&mut *transaction, &users).await?;
    let is_erased = |user_id: &UserId| erased.contains(user_id);
    let named: Vec<UserId> = standing.named.iter().filter(|of| is_erased(of)).cloned().collect();
    if !named.is_empty() {
        return Ok(Noted::Erased(named));
    }
    let is_buyer_erased = standing.user_id.is_some_and(is_erased);
    let user_id = standing.user_id.filter(|_| !is_buyer_erased).map(UserId::as_str);
    let noted = sqlx::query_scalar::<_, bool>(
        "with noted as (\
             update stripe_payments set user_id = $4, parked = $5, noted_sequence = $3 \
             where payment_id = $1 and version = $2 and noted_sequence <= $3 \
             returning payment_id\
         ), named as (\
             update stripe_events as event \
             set user_id = case when $6 then null else coalesce($4, event.user_id) end, \
                 body = case when $6 then null else event.body end \
             from noted where event.payment_id = noted.payment_id \
             and (event.user_id is distinct from coalesce($4, event.user_id) \
                  or $6 and (event.user_id is not null or event.body is not null))\
         ) select exists (select from noted)",
    )
    .bind(payment_id)
    .bind(standing.version)
    .bind(standing.sequence)
    .bind(user_id)
    .bind(&standing.parked)
    .bind(is_buyer_erased)
    .fetch_one(&mut *transaction)
    .await?;
    transaction.commit().await?;
    Ok(if noted { Noted::Noted } else { Noted::Outdated })
}

/// Payments of which something waits, the latest first, before a place in the list.
///
/// # Errors
/// [`StoreError`] if they cannot be read.
pub async fn parked(
    pool: &PgPool,
    before: i64,
    limit: i64,
) -> Result<Vec<ParkedPayment>, StoreError> {
    let rows = sqlx::query(
        "select number, payment_id, state, user_id, parked, noted_sequence > 0 as is_recorded, \
             first_at, changed_at \
         from stripe_payments where parked is not null and number < $1 order by number desc limit $2",
    )
    .bind(before)
    .bind(limit)
    .fetch_all(pool)
    .await?;
    rows.iter().map(parked_payment).collect()
}

/// A payment of which something waits; `None` if nothing does.
///
/// # Errors
/// [`StoreError`] if it cannot be read.
pub async fn find_parked(
    pool: &PgPool,
    payment_id: &str,
) -> Result<Option<ParkedPayment>, StoreError> {
    let row = sqlx::query(
        "select number, payment_id, state, user_id, parked, noted_sequence > 0 as is_recorded, \
             first_at, changed_at \
         from stripe_payments where payment_id = $1 and parked is not null",
    )
    .bind(payment_id)
    .fetch_optional(pool)
    .await?;
    row.as_ref().map(parked_payment).transpose()
}

fn parked_payment(row: &PgRow) -> Result<ParkedPayment, StoreError> {
    Ok(ParkedPayment {
        number: row.try_get("number")?,
        payment_id: row.try_get("payment_id")?,
        state: row.try_get("state")?,
        user_id: row.try_get("user_id")?,
        parked: row.try_get("parked")?,
        is_recorded: row.try_get("is_recorded")?,
        first_at: timestamp(row.try_get("first_at")?),
        changed_at: timestamp(row.try_get("changed_at")?),
    })
}

/// Deletes at most `limit` events that are older than `age`, and returns how many.
///
/// # Errors
/// [`StoreError`] if the database cannot be written.
pub async fn delete_old_events(
    pool: &PgPool,
    age: Duration,
    limit: i64,
) -> Result<u64, StoreError> {
    let rows = sqlx::query(
        "delete from stripe_events where ctid = any (array(\
             select ctid from stripe_events \
             where received_at < clock_timestamp() - make_interval(secs => $1) \
             order by received_at limit $2))",
    )
    .bind(age.as_secs_f64())
    .bind(limit)
    .execute(pool)
    .await?;
    Ok(rows.rows_affected())
}
