//! Sign-ups that wait until their address is confirmed.
//!
//! Whether an address has an account must not be seen by what happens here: a sign-up for a free address and one for a
//! taken one leave about as much work behind, a mail each, and their requests are remembered alike.

use std::net::IpAddr;
use std::time::Duration;

use sqlx::{PgConnection, PgExecutor, PgPool, Row};
use uuid::Uuid;

use super::{StoreError, begin, functions, mails};
use domain::{
    ClaimKind, Mail, MailKind, MailedToken, Personal, Profile, ProgramId, TokenPurpose, UserId,
};

/// The time in which mails to one address are limited.
const HOUR: Duration = Duration::from_hours(1);

/// How many sign-ups may be made for one address within an hour: each sends a mail.
const PER_ADDRESS: i64 = 10;

/// How many of them may come from one network, so that no stranger uses up all of them for the owner of the address.
const PER_ADDRESS_AND_NETWORK: i64 = 3;

/// How many mails go out for one sign-up within an hour.
const PER_SIGN_UP: i64 = 5;

/// How many sign-ups of one address may wait. The oldest ones go first.
const MAX_WAITING: i64 = 20;

/// How many mails within an hour tell a user that somebody has tried to sign up with their address.
const NOTICES: i64 = 3;

/// A sign-up that waits, without its secrets.
#[derive(Clone)]
pub struct SignUp {
    /// What the profile of the user will be.
    pub profile: Profile,
    /// The program to enroll in, if one is named.
    pub program_id: Option<ProgramId>,
    /// The code, as the caller wrote it.
    pub referral_code: Option<String>,
    /// The address that it comes from, if that is known.
    pub client_ip: Option<IpAddr>,
    /// A keyed hash of what recognises the device.
    pub fingerprint_key: Option<String>,
}

/// A sign-up that is to wait.
pub struct NewSignUp {
    /// The sign-up.
    pub sign_up: SignUp,
    /// The key and the fingerprint of the request, if it has an id.
    pub request: Option<(Uuid, Vec<u8>)>,
    /// The id of the token that is mailed.
    pub token_id: Uuid,
    /// How long the sign-up waits.
    pub kept: Duration,
}

/// What became of a request to sign up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entered {
    /// It was done, or the same request was done before.
    Done,
    /// Nothing was done, because of a limit. The caller gets the answer of `Done`.
    Dropped(Dropped),
    /// Another request had its id.
    Reused,
}

/// Why a sign-up was answered and dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dropped {
    /// There were many for the address within the hour.
    Address,
    /// The address has an account, whose owner was told often within the hour.
    Owner,
}

/// Lets a sign-up wait and queues the mail that confirms it. If the address has an account, its owner gets a mail about
/// that instead. If there were many such mails of late, nothing is done.
///
/// # Errors
/// [`StoreError`] if it cannot be written.
pub async fn enter(pool: &PgPool, new: NewSignUp) -> Result<Entered, StoreError> {
    let address = ClaimKind::Email.normal_form(&new.sign_up.profile.email);
    let mut transaction = begin(pool).await?;
    lock(&mut transaction, &address).await?;
    if let Some((key, fingerprint)) = &new.request {
        let inserted = sqlx::query(
            "insert into sign_up_requests (key, fingerprint) values ($1, $2) on conflict do nothing",
        );
        let inserted = inserted.bind(key).bind(fingerprint).execute(&mut *transaction).await?;
        if inserted.rows_affected() == 0 {
            let known = known_request(&mut *transaction, *key).await?;
            return Ok(outcome(known.as_ref(), fingerprint));
        }
    }
    let owner: Option<String> =
        sqlx::query_scalar("select owner from claims where kind = 'email' and value = $1")
            .bind(&address)
            .fetch_optional(&mut *transaction)
            .await?;
    let entered = match owner.and_then(|owner| UserId::parse(&owner).ok()) {
        Some(owner) => tell_owner(&mut transaction, owner, new.token_id).await?,
        None if has_room(&mut transaction, &address, new.sign_up.client_ip).await? => {
            wait(&mut transaction, &address, &new).await?;
            Entered::Done
        }
        None => Entered::Dropped(Dropped::Address),
    };
    transaction.commit().await?;
    Ok(entered)
}

/// The fingerprint of a request that was made before, by its key.
///
/// # Errors
/// [`StoreError`] if it cannot be read.
pub async fn known_request(
    executor: impl PgExecutor<'_>,
    key: Uuid,
) -> Result<Option<Vec<u8>>, StoreError> {
    let known = sqlx::query_scalar("select fingerprint from sign_up_requests where key = $1");
    Ok(known.bind(key).fetch_optional(executor).await?)
}

/// What became of a request whose key was used by the request with the fingerprint `known`.
#[must_use]
pub fn outcome(known: Option<&Vec<u8>>, fingerprint: &[u8]) -> Entered {
    if known.is_some_and(|known| known == fingerprint) { Entered::Done } else { Entered::Reused }
}

/// Requests about one address wait for each other, so that they cannot pass a limit together.
async fn lock(connection: &mut PgConnection, address: &str) -> Result<(), StoreError> {
    sqlx::query(
        "select pg_advisory_xact_lock(\
             hashtextextended('tributary sign-ups ' || current_schema() || ' ' || $1, 0))",
    )
    .bind(address)
    .execute(connection)
    .await?;
    Ok(())
}

/// Whether a further sign-up may be made for an address by this client.
async fn has_room(
    connection: &mut PgConnection,
    address: &str,
    client: Option<IpAddr>,
) -> Result<bool, StoreError> {
    let row = sqlx::query(
        "select count(*) as of_address, count(*) filter (where client_ip <<= $2::inet) as of_network \
         from sign_ups where address = $1 and created_at > clock_timestamp() - make_interval(secs => $3)",
    )
    .bind(address)
    .bind(client.map(network))
    .bind(HOUR.as_secs_f64())
    .fetch_one(connection)
    .await?;
    let (of_address, of_network): (i64, i64) =
        (row.try_get("of_address")?, row.try_get("of_network")?);
    Ok(of_address < PER_ADDRESS && of_network < PER_ADDRESS_AND_NETWORK)
}

/// The network that surely belongs to one customer, as limits of calls count it.
fn network(client: IpAddr) -> String {
    match client {
        IpAddr::V4(_) => client.to_string(),
        IpAddr::V6(address) => {
            let network = u128::from(address) & (u128::MAX << 64);
            format!("{}/64", IpAddr::V6(network.into()))
        }
    }
}

async fn wait(
    connection: &mut PgConnection,
    address: &str,
    new: &NewSignUp,
) -> Result<(), StoreError> {
    let SignUp { profile, program_id, referral_code, client_ip, fingerprint_key } = &new.sign_up;
    sqlx::query(
        "insert into sign_ups (user_id, address, email, username, display_name, password_hash, program_id, \
             referral_code, client_ip, fingerprint_key) \
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9::inet, $10)",
    )
    .bind(profile.user_id.as_str())
    .bind(address)
    .bind(&profile.email)
    .bind(&profile.username)
    .bind(&profile.display_name)
    .bind(&profile.password_hash)
    .bind(program_id.as_ref().map(ProgramId::as_str))
    .bind(referral_code)
    .bind(client_ip.map(|client| client.to_string()))
    .bind(fingerprint_key)
    .execute(&mut *connection)
    .await?;
    let statement = functions::statement(
        "select {remove_sign_ups}(array(\
             select user_id from sign_ups where address = $1 order by created_at desc offset $2))",
    );
    sqlx::query(&statement).bind(address).bind(MAX_WAITING).execute(&mut *connection).await?;
    mail(connection, &profile.user_id, &profile.email, new.token_id, new.kept).await
}

/// Mails the link that confirms a sign-up, which is good for as long as the sign-up waits.
async fn mail(
    connection: &mut PgConnection,
    user_id: &UserId,
    email: &str,
    token_id: Uuid,
    kept: Duration,
) -> Result<(), StoreError> {
    let token = MailedToken {
        id: *token_id.as_bytes(),
        purpose: TokenPurpose::ConfirmSignUp,
        user_id: user_id.clone(),
        email: Personal(email.to_owned()),
        version: 0,
    };
    sqlx::query(
        "insert into mailed_tokens (id, purpose, user_id, email, version, expires_at) \
         select $1, $2, user_id, $4, $5, created_at + make_interval(secs => $6) \
         from sign_ups where user_id = $3",
    )
    .bind(token_id)
    .bind(token.purpose.as_str())
    .bind(token.user_id.as_str())
    .bind(&token.email.0)
    .bind(i64::from(token.version))
    .bind(kept.as_secs_f64())
    .execute(&mut *connection)
    .await?;
    mails::queue(connection, &token.mail(MailKind::ConfirmSignUp, None)).await
}

/// Tells a user that somebody has tried to sign up with their address, unless the user was told often of late.
async fn tell_owner(
    connection: &mut PgConnection,
    owner: UserId,
    id: Uuid,
) -> Result<Entered, StoreError> {
    let kind = MailKind::AccountExists;
    // A user who is being erased is waited for, and gets nothing.
    let is_due: Option<bool> = sqlx::query_scalar(
        "select (\
             select count(*) from mails where user_id = $1 and kind = $2 \
                 and created_at > clock_timestamp() - make_interval(secs => $3)) < $4 \
         from profiles where user_id = $1 for share",
    )
    .bind(owner.as_str())
    .bind(kind.as_str())
    .bind(HOUR.as_secs_f64())
    .bind(NOTICES)
    .fetch_optional(&mut *connection)
    .await?;
    if is_due != Some(true) {
        return Ok(Entered::Dropped(Dropped::Owner));
    }
    let occasion = format!("{}/{}", kind.as_str(), id.simple());
    let facts = serde_json::json!({});
    let mail = Mail { occasion, kind, user_id: Some(owner), recipient: None, facts };
    mails::queue(connection, &mail).await?;
    Ok(Entered::Done)
}

/// How far sign-ups that wait are counted: an exact number of many is worth no scan of them all.
const MAX_COUNTED: i64 = 10_000;

/// Counts the sign-ups that wait.
///
/// # Errors
/// [`StoreError`] if they cannot be counted.
pub async fn count_waiting(executor: impl PgExecutor<'_>) -> Result<i64, StoreError> {
    // Confirmed ones have no address.
    let waiting = sqlx::query_scalar(
        "select count(*) from (select from sign_ups where address is not null limit $1) as waiting",
    );
    Ok(waiting.bind(MAX_COUNTED).fetch_one(executor).await?)
}

/// Mails the link of the newest sign-up that waits for an address once more, unless there were many mails of late.
///
/// # Errors
/// [`StoreError`] if the mail cannot be queued.
pub async fn mail_again(
    pool: &PgPool,
    email: &str,
    token_id: Uuid,
    kept: Duration,
) -> Result<(), StoreError> {
    let address = ClaimKind::Email.normal_form(email);
    let mut transaction = begin(pool).await?;
    lock(&mut transaction, &address).await?;
    let newest = sqlx::query(
        "select waiting.user_id, waiting.email from (\
             select user_id, email from sign_ups \
             where address = $1 and created_at > clock_timestamp() - make_interval(secs => $2) \
             order by created_at desc limit 1\
         ) as waiting \
         cross join lateral (\
             select count(*) as of_address, count(*) filter (where token.user_id = waiting.user_id) as of_sign_up \
             from sign_ups as any_of \
             join mailed_tokens as token on token.user_id = any_of.user_id \
             where any_of.address = $1 and token.purpose = 'confirm_sign_up' \
                 and token.created_at > clock_timestamp() - make_interval(secs => $3)\
         ) as mailed \
         where mailed.of_address < $4 and mailed.of_sign_up < $5",
    )
    .bind(&address)
    .bind(kept.as_secs_f64())
    .bind(HOUR.as_secs_f64())
    .bind(PER_ADDRESS)
    .bind(PER_SIGN_UP)
    .fetch_optional(&mut *transaction)
    .await?;
    let Some(newest) = newest else { return Ok(()) };
    let (user_id, email) = (user_id_of(newest.try_get("user_id")?)?, newest.try_get("email")?);
    mail(&mut transaction, &user_id, email, token_id, kept).await?;
    transaction.commit().await?;
    Ok(())
}

/// A sign-up that somebody confirms.
pub enum Found {
    /// It waits.
    Waiting(Box<SignUp>),
    /// The user is registered, and is seen from this position of the log on.
    Confirmed(i64),
}

/// The sign-up with the id that its user will have, or has; `None` if it was removed.
///
/// # Errors
/// [`StoreError`] if it cannot be read.
pub async fn find(pool: &PgPool, user_id: &UserId) -> Result<Option<Found>, StoreError> {
    let row = sqlx::query(
        "select email, username, display_name, password_hash, program_id, referral_code, \
             host(client_ip) as client_ip, fingerprint_key, (\
             select event.position + (event.metadata ->> 'command_events')::bigint - 1 \
             from events as event where event.aggregate_id = $1 and event.aggregate_type = 'User' \
                 and event.sequence = 1 and sign_ups.confirmed_at is not null) as position \
         from sign_ups where user_id = $1",
    )
    .bind(user_id.as_str())
    .fetch_optional(pool)
    .await?;
    let Some(row) = row else { return Ok(None) };
    if let Some(position) = row.try_get("position")? {
        return Ok(Some(Found::Confirmed(position)));
    }
    let client_ip: Option<&str> = row.try_get("client_ip")?;
    let program_id: Option<&str> = row.try_get("program_id")?;
    let program_id = program_id.map(ProgramId::parse).transpose();
    Ok(Some(Found::Waiting(Box::new(SignUp {
        profile: Profile {
            user_id: user_id.clone(),
            username: row.try_get("username")?,
            email: row.try_get("email")?,
            display_name: row.try_get("display_name")?,
            password_hash: row.try_get("password_hash")?,
        },
        program_id: program_id
            .map_err(|_| StoreError::Nonsense(format!("the sign-up '{user_id}'")))?,
        referral_code: row.try_get("referral_code")?,
        client_ip: client_ip.and_then(|address| address.parse().ok()),
        fingerprint_key: row.try_get("fingerprint_key")?,
    }))))
}

/// Somebody who has signed up and is not a user yet.
#[derive(Clone)]
pub struct Newcomer {
    /// The address. Personal data.
    pub email: String,
    /// The username that was asked for.
    pub username: String,
}

/// Where the mail of a sign-up goes; `None` if it does not wait any more.
///
/// # Errors
/// [`StoreError`] if it cannot be read.
pub async fn newcomer(pool: &PgPool, user_id: &UserId) -> Result<Option<Newcomer>, StoreError> {
    let row = sqlx::query(
        "select email, username from sign_ups where user_id = $1 and confirmed_at is null",
    )
    .bind(user_id.as_str())
    .fetch_optional(pool)
    .await?;
    let Some(row) = row else { return Ok(None) };
    Ok(Some(Newcomer { email: row.try_get("email")?, username: row.try_get("username")? }))
}

/// Deletes sign-ups and requests that were made longer than `age` ago, at most `limit` of each. Returns how many.
///
/// # Errors
/// [`StoreError`] if they cannot be deleted.
pub async fn delete_old(pool: &PgPool, age: Duration, limit: i64) -> Result<u64, StoreError> {
    let statement = functions::statement(
        "select {remove_sign_ups}(array(\
             select user_id from sign_ups \
             where created_at < clock_timestamp() - make_interval(secs => $1) \
             order by created_at limit $2))",
    );
    let sign_ups: i64 =
        sqlx::query_scalar(&statement).bind(age.as_secs_f64()).bind(limit).fetch_one(pool).await?;
    let requests = sqlx::query(
        "delete from sign_up_requests where key = any (array(\
             select key from sign_up_requests \
             where created_at < clock_timestamp() - make_interval(secs => $1) \
             order by created_at limit $2))",
    )
    .bind(age.as_secs_f64())
    .bind(limit)
    .execute(pool)
    .await?;
    Ok(u64::try_from(sign_ups).unwrap_or_default() + requests.rows_affected())
}

fn user_id_of(text: &str) -> Result<UserId, StoreError> {
    UserId::parse(text).map_err(|_| StoreError::Nonsense(format!("a sign-up of user '{text}'")))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]
mod tests {
    use super::*;

    #[test]
    fn a_network_is_an_address_or_the_half_of_an_address_of_ipv6() {
        let of = |text: &str| network(text.parse().unwrap());
        assert_eq!(of("192.0.2.7"), "192.0.2.7");
        assert_eq!(of("2001:db8:1:2:ffff::b"), "2001:db8:1:2::/64");
    }
}
