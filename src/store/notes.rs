//! The notes of operators and callers, which stand beside the log.

use std::collections::HashMap;
use std::time::Duration;

use sqlx::{PgPool, Row};

use super::StoreError;
use domain::NoteSubject;

/// The latest note about each of these, by subject. What has no note is left out.
///
/// # Errors
/// [`StoreError`] if the database cannot be read.
pub async fn latest(
    pool: &PgPool,
    subject: NoteSubject,
    subject_ids: &[&str],
) -> Result<HashMap<String, String>, StoreError> {
    if subject_ids.is_empty() {
        return Ok(HashMap::new());
    }
    let rows = sqlx::query(
        "select distinct on (subject_id) subject_id, note from notes \
         where subject_kind = $1 and subject_id = any($2) order by subject_id, number desc",
    )
    .bind(subject.as_str())
    .bind(subject_ids)
    .fetch_all(pool)
    .await?;
    rows.iter().map(|row| Ok((row.try_get("subject_id")?, row.try_get("note")?))).collect()
}

/// Deletes at most `limit` notes that are older than `age`, and returns how many.
///
/// # Errors
/// [`StoreError`] if the database cannot be written.
pub async fn delete_old(pool: &PgPool, age: Duration, limit: i64) -> Result<u64, StoreError> {
    let rows = sqlx::query(
        "delete from notes where ctid = any (array(\
             select ctid from notes \
             where note_time < clock_timestamp() - make_interval(secs => $1) limit $2))",
    )
    .bind(age.as_secs_f64())
    .bind(limit)
    .execute(pool)
    .await?;
    Ok(rows.rows_affected())
}
