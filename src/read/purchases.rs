//! Purchases of all buyers or of one.

use sqlx::Row;

use super::{At, Freshness, ReadError, Reads, sql};
use crate::store::{RecordedEvent, in_time, log};
use domain::UserId;

impl Reads {
    /// Purchases, newest first: for each, the events of the command that recorded it.
    ///
    /// # Errors
    /// [`ReadError`] if the read models cannot answer in time.
    pub async fn purchases(
        &self,
        buyer: Option<&UserId>,
        before_position: i64,
        limit: i64,
        freshness: Freshness,
    ) -> Result<At<Vec<Vec<RecordedEvent>>>, ReadError> {
        let rows = self
            .read(freshness, || match buyer {
                None => sqlx::query(sql!("purchases.sql")).bind(before_position).bind(limit),
                Some(buyer) => sqlx::query(sql!("purchases_of_user.sql"))
                    .bind(before_position)
                    .bind(limit)
                    .bind(buyer.to_string()),
            })
            .await?;
        let mut ranges = Vec::with_capacity(rows.found.len());
        for row in &rows.found {
            if let Some(first) = row.try_get::<Option<i64>, _>("first_position")? {
                let events: Option<i64> = row.try_get("command_events")?;
                ranges.push((first, first + events.unwrap_or(1) - 1));
            }
        }
        // Events never change, so they can be read in a second statement.
        let mut events =
            in_time(log::read_ranges(self.database.pool(), &ranges)).await?.into_iter().peekable();
        let found = ranges
            .iter()
            .map(|(first, last)| {
                std::iter::from_fn(|| {
                    events.next_if(|event| (*first..=*last).contains(&event.position))
                })
                .collect()
            })
            .collect();
        Ok(At { position: rows.position, found })
    }
}
