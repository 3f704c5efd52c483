//! What a participant earned over time, added up by the database from the participant's own stream.

use sqlx::Row;
use sqlx::postgres::PgConnection;

use super::Reads;
use crate::store::log::database_time;
use crate::store::{ANSWER_TIMEOUT, StoreError, begin, in_time, log};
use domain::{Participant, ParticipantId, StreamKey, Timestamp};

/// What the lines of a series are about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SeriesBy {
    /// One for each level.
    Level,
    /// One for each user who caused the rewards.
    Source,
}

impl SeriesBy {
    /// The field of a payload that names the line.
    fn field(self) -> &'static str {
        match self {
            Self::Level => "level",
            Self::Source => "source_user_id",
        }
    }
}

/// What one line brought in one period. What is 0 is left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeriesAmount {
    /// The index of the period.
    pub period: usize,
    /// The level or the source; `None` for all that have no line of their own.
    pub line: Option<String>,
    /// The place of the line among all, by what they brought in all periods, from 1.
    pub place: i64,
    /// The rewards, without what was taken back, in minor units.
    pub amount_minor: i64,
}

/// What a participant earned in some periods.
#[derive(Clone, Debug, Default)]
pub struct Series {
    /// All that is not 0.
    pub amounts: Vec<SeriesAmount>,
    /// How many levels or sources there are, those without a line of their own included.
    pub line_count: i64,
}

impl Reads {
    /// What a participant earned between one moment and the next, for each two that follow each other, up to a
    /// position. Only the `most_lines` lines that brought most are told apart.
    ///
    /// The database reads all events of the participant in the whole span. It gives up when the answer would come too
    /// late.
    ///
    /// # Errors
    /// [`StoreError`] if the log cannot be read in time.
    pub async fn earnings_series(
        &self,
        id: &ParticipantId,
        up_to_position: i64,
        moments: &[Timestamp],
        by: SeriesBy,
        most_lines: i64,
    ) -> Result<Series, StoreError> {
        let (Some(start), Some(end)) = (moments.first(), moments.last()) else {
            return Ok(Series::default());
        };
        in_time(async {
            let stream = StreamKey::of::<Participant>(id);
            let mut transaction = begin(self.database.pool()).await?;
            let last = log::sequence_at(&mut *transaction, &stream, up_to_position).await?;
            let first = last_before(&mut transaction, &stream, *start, last).await?;
            let last = last_before(&mut transaction, &stream, *end, last).await?;
            if first == last {
                return Ok(Series::default());
            }
            // Whoever waited is gone by then, so the database need not go on.
            let limit = format!("set local statement_timeout = {}", ANSWER_TIMEOUT.as_millis());
            sqlx::query(&limit).execute(&mut *transaction).await?;
            let rows = sqlx::query(include_str!("queries/earnings_series.sql"))
                .bind(&*stream.id)
                .bind(first)
                .bind(last)
                .bind(moments.iter().copied().map(database_time).collect::<Vec<_>>())
                .bind(by.field())
                .bind(most_lines)
                .fetch_all(&mut *transaction)
                .await?;
            transaction.commit().await?;
            let mut series = Series::default();
            for row in rows {
                series.line_count = row.try_get("line_count")?;
                let number: i32 = row.try_get("period")?;
                series.amounts.push(SeriesAmount {
                    period: usize::try_from(number - 1).map_err(|_| nonsense(number))?,
                    line: row.try_get("line")?,
                    place: row.try_get("place")?,
                    amount_minor: row.try_get("amount_minor")?,
                });
            }
            Ok(series)
        })
        .await
    }
}

/// The sequence of the last event of a stream that was recorded before a moment, at most `last`; 0 if there is none.
///
/// Sequences have no gaps, and times never decrease along a stream, so this is a binary search.
async fn last_before(
    connection: &mut PgConnection,
    stream: &StreamKey,
    moment: Timestamp,
    last: i64,
) -> Result<i64, StoreError> {
    // Everything up to `early` was recorded before the moment; nothing from `late` on was.
    let (mut early, mut late) = (0, last + 1);
    while early + 1 < late {
        let middle = early + (late - early) / 2;
        let row = sqlx::query(
            "select recorded_at from events where aggregate_type = $1 and aggregate_id = $2 and sequence = $3",
        )
        .bind(stream.kind.as_str())
        .bind(&*stream.id)
        .bind(middle)
        .fetch_one(&mut *connection)
        .await?;
        if log::timestamp(row.try_get(0)?) < moment {
            early = middle;
        } else {
            late = middle;
        }
    }
    Ok(early)
}

fn nonsense(number: i32) -> StoreError {
    StoreError::Nonsense(format!("period {number} of a series"))
}
