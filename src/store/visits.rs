//! Visits of the pages that shared links lead to, by days in UTC.

use std::ops::Range;

use sqlx::{PgConnection, PgPool};

use super::StoreError;
use domain::{ParticipantId, ProgramId};

/// Visits that are to be added.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Counted {
    /// The code of the link, as it is claimed. Codes that nobody has are dropped.
    pub code: String,
    /// The day, counted from 1970.
    pub day: i32,
    /// How many.
    pub count: i64,
}

/// Visits of a participant's link, or of all links of a program.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VisitsFound {
    /// Each day of the span that has any, counted from 1970, the oldest first.
    pub days: Vec<(i32, i64)>,
    /// All that were ever counted.
    pub in_all: i64,
}

/// Adds visits to what was counted before, by this server or another one. Visits of somebody who was erased are added
/// to their program only.
///
/// # Errors
/// [`StoreError`]; only with [`StoreError::Refused`] it is certain that nothing was added.
pub async fn add(connection: &mut PgConnection, counted: &[Counted]) -> Result<(), StoreError> {
    sqlx::query(include_str!("add_visits.sql"))
        .bind(counted.iter().map(|of| of.code.clone()).collect::<Vec<_>>())
        .bind(counted.iter().map(|of| of.day).collect::<Vec<_>>())
        .bind(counted.iter().map(|of| of.count).collect::<Vec<_>>())
        .execute(connection)
        .await?;
    Ok(())
}

/// The visits of a participant's link.
///
/// # Errors
/// [`StoreError`] if the database cannot be read.
pub async fn of_participant(
    pool: &PgPool,
    id: &ParticipantId,
    days: Range<i32>,
) -> Result<VisitsFound, StoreError> {
    let rows = sqlx::query_as(
        "select day - date '1970-01-01', visit_count from visits
         where user_id = $1 and program_id = $2 order by day",
    )
    .bind(id.user_id.as_str())
    .bind(id.program_id.as_str());
    Ok(found(rows.fetch_all(pool).await?, &days))
}

/// The visits of all links of a program.
///
/// # Errors
/// [`StoreError`] if the database cannot be read.
pub async fn of_program(
    pool: &PgPool,
    program_id: &ProgramId,
    days: Range<i32>,
) -> Result<VisitsFound, StoreError> {
    let rows = sqlx::query_as(
        "select day - date '1970-01-01', visit_count from program_visits where program_id = $1 order by day",
    )
    .bind(program_id.as_str());
    Ok(found(rows.fetch_all(pool).await?, &days))
}

/// There is at most one row for each day that there ever was.
fn found(mut rows: Vec<(i32, i64)>, days: &Range<i32>) -> VisitsFound {
    let in_all = rows.iter().map(|(_, count)| count).sum();
    rows.retain(|(day, _)| days.contains(day));
    VisitsFound { days: rows, in_all }
}
