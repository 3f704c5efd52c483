//! The table of lots that expire, and when.

use sqlx::postgres::PgRow;
use sqlx::{PgPool, Row};

use super::StoreError;
use super::timed::{Due, Statements, statements};
use domain::{ParticipantId, ProgramId, Timestamp, UserId};

/// A lot whose time has come, or that is to be announced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expiration {
    /// Whose lot it is.
    pub participant: ParticipantId,
    /// When it expires.
    pub expire_time: Timestamp,
    /// Whether it is to be announced by mail. Otherwise it expires.
    pub is_announcement: bool,
}

impl Due for Expiration {
    const STATEMENTS: Statements = statements!(
        "expirations",
        "program_id, user_id, expire_time_us, is_announcement",
        "expire_time_us"
    );

    fn read(row: &PgRow) -> Result<Self, StoreError> {
        let nonsense = |error| StoreError::Nonsense(format!("a lot with an id that {error}"));
        let program_id = ProgramId::parse(row.try_get("program_id")?).map_err(nonsense)?;
        let user_id = UserId::parse(row.try_get("user_id")?).map_err(nonsense)?;
        Ok(Self {
            participant: ParticipantId::new(&program_id, &user_id),
            expire_time: Timestamp(row.try_get("expire_time_us")?),
            is_announcement: row.try_get("is_announcement")?,
        })
    }
}

/// Queues the mail that announces a lot, if the program sends mails. Each lot has one, however often this is asked for.
///
/// # Errors
/// [`StoreError`] if the database fails.
pub async fn announce(
    pool: &PgPool,
    participant: &ParticipantId,
    expire_time: Timestamp,
) -> Result<(), StoreError> {
    sqlx::query(include_str!("announce_expiry.sql"))
        .bind(participant.program_id.as_str())
        .bind(participant.user_id.as_str())
        .bind(expire_time.0)
        .execute(pool)
        .await?;
    Ok(())
}
