//! Which tiers people were shown that they had reached.

use sqlx::PgPool;

use super::StoreError;
use domain::ParticipantId;

/// Whether a participant was shown that they had reached a tier.
///
/// # Errors
/// [`StoreError`] if the database cannot be read.
pub async fn is_seen(pool: &PgPool, id: &ParticipantId, tier: &str) -> Result<bool, StoreError> {
    let seen = sqlx::query_scalar(
        "select exists (
            select from seen_tiers where user_id = $1 and program_id = $2 and tier = $3
        )",
    )
    .bind(id.user_id.as_str())
    .bind(id.program_id.as_str())
    .bind(tier);
    Ok(seen.fetch_one(pool).await?)
}

/// Notes that a participant was shown these tiers. Which of them were not noted before. Of somebody who was erased, or
/// is just being erased, nothing is noted.
///
/// # Errors
/// [`StoreError`] if the database cannot be written.
pub async fn mark(
    pool: &PgPool,
    id: &ParticipantId,
    tiers: &[&str],
) -> Result<Vec<String>, StoreError> {
    let marked = sqlx::query_scalar(
        "with profile as (
            select user_id from profiles where user_id = $1 for key share skip locked
        )
        insert into seen_tiers (user_id, program_id, tier)
        select profile.user_id, $2, reached.tier from profile cross join unnest($3::text[]) as reached (tier)
        on conflict do nothing
        returning tier",
    )
    .bind(id.user_id.as_str())
    .bind(id.program_id.as_str())
    .bind(tiers);
    Ok(marked.fetch_all(pool).await?)
}
