//! Whom a participant has referred, from the participant's own stream.

use sqlx::{PgPool, Row};

use super::StoreError;
use domain::{ParticipantId, UserId};

/// A referral that a participant made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Referee {
    /// Who was referred.
    pub user_id: UserId,
    /// The sequence of the referral on the referrer's stream.
    pub sequence: i64,
}

/// Whom a participant referred after a place in the participant's stream: the oldest first, at most `limit`.
///
/// # Errors
/// [`StoreError`] if the database cannot be read.
pub async fn referees_of(
    pool: &PgPool,
    referrer: &ParticipantId,
    after_sequence: i64,
    limit: i64,
) -> Result<Vec<Referee>, StoreError> {
    let rows = sqlx::query(
        "select sequence, payload ->> 'referee_user_id' as user_id from events \
         where aggregate_type = 'Participant' and aggregate_id = $1 and sequence > $2 \
             and event_type = 'ReferralMade' \
         order by sequence limit $3",
    )
    .bind(referrer.to_string())
    .bind(after_sequence)
    .bind(limit)
    .fetch_all(pool)
    .await?;
    let mut referees = Vec::with_capacity(rows.len());
    for row in rows {
        let id: &str = row.try_get("user_id")?;
        let nonsense = |_| StoreError::Nonsense(format!("a referee with the id '{id}'"));
        referees.push(Referee {
            user_id: UserId::parse(id).map_err(nonsense)?,
            sequence: row.try_get("sequence")?,
        });
    }
    Ok(referees)
}
