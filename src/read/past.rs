//! Past referrals, as fraud checks would have seen them.

use std::collections::HashMap;
use std::sync::Arc;

use sqlx::Row;
use sqlx::postgres::PgRow;
use time::OffsetDateTime;

use super::{Freshness, ReadError, Reads, sql};
use crate::store::log::timestamp;
use crate::store::{FraudKeys, StoreError, in_time};
use domain::fraud::{Address, LATEST_REFEREES, Mailbox, SignUpsPerAddress};
use domain::{ClaimKind, FraudDecision, LatestReferee, Personal, ProgramId, Timestamp, UserId};

/// How much of the log is searched at once.
const SEARCHED_EVENTS: i64 = 50_000;

/// A referral that was made.
#[derive(Clone, Debug)]
pub struct PastReferral {
    /// Who was referred.
    pub user_id: UserId,
    /// By whom.
    pub referrer_user_id: UserId,
    /// When.
    pub refer_time: Timestamp,
}

/// A part of the log that was searched for referrals.
#[derive(Debug, Default)]
pub struct Searched {
    /// Those that were found, oldest first.
    pub referrals: Vec<PastReferral>,
    /// How far the log was searched.
    pub position: i64,
}

/// What the checks of a past referral would have compared with.
#[derive(Debug)]
#[allow(missing_docs, reason = "the names are those of the signals")]
pub struct PastSignals {
    pub mailbox: Option<Mailbox>,
    pub referrer_address: Option<Personal>,
    pub latest_referees: Vec<Arc<LatestReferee>>,
    pub mailbox_owner: Option<UserId>,
    pub look_alike_owner: Option<UserId>,
    pub fingerprint_owner: Option<UserId>,
    pub sign_ups_from_address: Option<u32>,
    pub is_mutual: bool,
    fingerprint_key: Option<String>,
    registered_position: i64,
}

/// A moment, for the database.
fn moment(time: Timestamp) -> Option<OffsetDateTime> {
    OffsetDateTime::from_unix_timestamp_nanos(i128::from(time.0) * 1_000).ok()
}

fn nonsense(what: &str) -> StoreError {
    StoreError::Nonsense(what.into())
}

/// Whatever is there: the past is not waited for.
fn any() -> Freshness {
    Freshness { position: 0, deadline: tokio::time::Instant::now() }
}

impl Reads {
    /// Searches a part of the log, from `after` on and not beyond `end`, for the referrals of a program, at most
    /// `limit`.
    ///
    /// # Errors
    /// [`StoreError`] if the database cannot be read.
    pub async fn past_referrals(
        &self,
        program_id: &ProgramId,
        after: i64,
        end: i64,
        limit: usize,
    ) -> Result<Searched, StoreError> {
        let last = end.min(after.saturating_add(SEARCHED_EVENTS));
        let rows = in_time(async {
            let query = sqlx::query(include_str!("queries/past_referrals.sql"))
                .bind(after)
                .bind(last)
                .bind(format!("{program_id}/"))
                .bind(i64::try_from(limit).unwrap_or(i64::MAX));
            Ok(query.fetch_all(self.database.pool()).await?)
        })
        .await?;
        let position = match rows.last() {
            Some(row) if rows.len() >= limit => row.try_get("made_position")?,
            _ => last,
        };
        let referrals = rows.iter().map(|row| {
            let id = |column: &str| -> Result<UserId, StoreError> {
                UserId::parse(row.try_get(column)?).map_err(|_| nonsense("a referral of nobody"))
            };
            Ok(PastReferral {
                user_id: id("user_id")?,
                referrer_user_id: id("referrer_user_id")?,
                refer_time: Timestamp(row.try_get("refer_time_us")?),
            })
        });
        Ok(Searched { referrals: referrals.collect::<Result<_, StoreError>>()?, position })
    }

    /// What the checks of referrals would have compared with, in their order. Sign-ups from one address are counted up
    /// to the number at which `counted` finds something.
    ///
    /// # Errors
    /// [`ReadError`] if the read models cannot answer.
    pub async fn past_signals(
        &self,
        program_id: &ProgramId,
        referrals: &[PastReferral],
        counted: Option<SignUpsPerAddress>,
        keys: &FraudKeys,
    ) -> Result<Vec<PastSignals>, ReadError> {
        let users: Vec<String> = referrals.iter().map(|of| of.user_id.to_string()).collect();
        let referrers: Vec<String> =
            referrals.iter().map(|of| of.referrer_user_id.to_string()).collect();
        let times: Vec<_> = referrals.iter().map(|of| moment(of.refer_time)).collect();
        let (window_hours, most) =
            counted.map_or((0, 0), |check| (check.window_hours, check.max_sign_ups));
        let rows = self
            .read(any(), || {
                sqlx::query(sql!("past_signals.sql"))
                    .bind(program_id.to_string())
                    .bind(users.clone())
                    .bind(referrers.clone())
                    .bind(times.clone())
                    .bind(f64::from(window_hours))
                    .bind(i64::try_from(LATEST_REFEREES).unwrap_or(i64::MAX))
                    .bind(i64::from(most))
            })
            .await?;
        let mut signals = rows.found.iter().map(signals).collect::<Result<Vec<_>, _>>()?;
        self.find_owners(&mut signals, keys).await?;
        Ok(signals)
    }

    /// Fills in who had what a referee has before.
    async fn find_owners(
        &self,
        signals: &mut [PastSignals],
        keys: &FraudKeys,
    ) -> Result<(), ReadError> {
        let mut places = Vec::new();
        let (mut kinds, mut values) = (Vec::new(), Vec::new());
        for (place, of) in signals.iter().enumerate() {
            let mailbox = of.mailbox.as_ref();
            for (kind, value) in [
                (ClaimKind::Mailbox, mailbox.map(|of| keys.hash("mailbox", &of.key))),
                (ClaimKind::LookAlike, mailbox.map(|of| keys.hash("look_alike", &of.look_alike))),
                (ClaimKind::Fingerprint, of.fingerprint_key.clone()),
            ] {
                if let Some(value) = value {
                    places.push((place, kind));
                    kinds.push(kind.as_str());
                    values.push(value);
                }
            }
        }
        let rows = self
            .read(any(), || {
                sqlx::query(sql!("past_owners.sql")).bind(kinds.clone()).bind(values.clone())
            })
            .await?;
        for row in &rows.found {
            let Some(ordinal) = row.try_get::<Option<i64>, _>("ordinal")? else { continue };
            let index = usize::try_from(ordinal - 1).unwrap_or(usize::MAX);
            let Some((place, kind)) = places.get(index).copied() else { continue };
            let owner =
                UserId::parse(row.try_get("owner")?).map_err(|_| nonsense("a claim of nobody"))?;
            let of = &mut signals[place];
            // Only the first owner is known; whoever came later found nobody.
            if row.try_get::<i64, _>("registered_position")? >= of.registered_position {
                continue;
            }
            match kind {
                ClaimKind::Mailbox => of.mailbox_owner = Some(owner),
                ClaimKind::LookAlike => of.look_alike_owner = Some(owner),
                _ => of.fingerprint_owner = Some(owner),
            }
        }
        Ok(())
    }

    /// The flags of referrals, by referee; the first that was raised for each comes first.
    ///
    /// # Errors
    /// [`ReadError`] if the read models cannot answer.
    pub async fn past_flags(
        &self,
        program_id: &ProgramId,
        referrals: &[PastReferral],
    ) -> Result<HashMap<UserId, Vec<PastFlag>>, ReadError> {
        let users: Vec<String> = referrals.iter().map(|of| of.user_id.to_string()).collect();
        let rows = self
            .read(any(), || {
                let query = sqlx::query(sql!("past_decisions.sql"));
                query.bind(program_id.to_string()).bind(users.clone())
            })
            .await?;
        let mut flags: HashMap<UserId, Vec<PastFlag>> = HashMap::new();
        for row in &rows.found {
            let Some(flag_id) = row.try_get::<Option<String>, _>("flag_id")? else { continue };
            let user_id = UserId::parse(row.try_get("referee_user_id")?)
                .map_err(|_| nonsense("a flag of nobody"))?;
            let decision: Option<String> = row.try_get("decision")?;
            let decision = decision.and_then(|name| serde_json::from_value(name.into()).ok());
            flags.entry(user_id).or_default().push(PastFlag { flag_id, decision });
        }
        Ok(flags)
    }
}

/// A flag of a referral, and what was decided about it.
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "the names are self-explanatory")]
pub struct PastFlag {
    pub flag_id: String,
    pub decision: Option<FraudDecision>,
}

fn signals(row: &PgRow) -> Result<PastSignals, StoreError> {
    let users: Vec<String> = row.try_get("user_ids")?;
    let times: Vec<OffsetDateTime> = row.try_get("refer_times")?;
    let addresses: Vec<Option<String>> = row.try_get("addresses")?;
    let mut latest_referees = Vec::with_capacity(users.len());
    for ((user_id, address), time) in users.iter().zip(addresses).zip(times) {
        let user_id = UserId::parse(user_id).map_err(|_| nonsense("a referee who is nobody"))?;
        let (refer_time, address) = (timestamp(time), address.map(Personal));
        latest_referees.push(Arc::new(LatestReferee { user_id, refer_time, address }));
    }
    let address: Option<String> = row.try_get("address")?;
    let referrer_address: Option<String> = row.try_get("referrer_address")?;
    let before: Option<i64> = row.try_get("sign_ups_before")?;
    Ok(PastSignals {
        mailbox: address.and_then(|text| Address::of_comparable(&text)).map(Mailbox::of),
        referrer_address: referrer_address.map(Personal),
        latest_referees,
        mailbox_owner: None,
        look_alike_owner: None,
        fingerprint_owner: None,
        sign_ups_from_address: before.map(|count| u32::try_from(count).unwrap_or(u32::MAX)),
        is_mutual: row.try_get("is_mutual")?,
        fingerprint_key: row.try_get("fingerprint_key")?,
        registered_position: row
            .try_get::<Option<_>, _>("registered_position")?
            .unwrap_or_default(),
    })
}
