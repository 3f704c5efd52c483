//! Purchases of all buyers or of one, in all programs or in one.

use sqlx::Row;

use super::{At, Freshness, ReadError, Reads, models, sql};
use crate::store::{RecordedEvent, in_time, log};
use domain::{Kind, ProgramId, Timestamp, UserId};

/// How many purchases are examined for one page of a program's purchases before it is returned incomplete. No read
/// model holds the programs of a purchase: a row per purchase and program would cost every purchase more than such a
/// list is worth.
const MAX_EXAMINED: i64 = 5_000;

/// Which purchases to list.
#[derive(Clone, Debug, Default)]
pub struct PurchaseFilter {
    /// Only those of this buyer.
    pub buyer_user_id: Option<UserId>,
    /// Only those with an outcome in this program.
    pub program_id: Option<ProgramId>,
    /// Only those recorded at this moment or later.
    pub start: Option<Timestamp>,
    /// Only those recorded before this moment.
    pub end: Option<Timestamp>,
}

/// A page of purchases.
#[derive(Debug, Default)]
pub struct PurchasePage {
    /// Newest first: for each, the events of the commands that wrote to it.
    pub purchases: Vec<Vec<RecordedEvent>>,
    /// The position before which the examination can be continued, if it ended before the page was full.
    pub examined_down_to: Option<i64>,
}

/// The table in which purchases are found by their buyer.
#[must_use]
pub fn purchases_table() -> &'static str {
    models::table("purchases")
}

impl Reads {
    /// Purchases, newest first.
    ///
    /// # Errors
    /// [`ReadError`] if the read models cannot answer in time.
    pub async fn purchases(
        &self,
        filter: &PurchaseFilter,
        before_position: i64,
        limit: i64,
        freshness: Freshness,
    ) -> Result<At<PurchasePage>, ReadError> {
        let (mut before, mut after) = (before_position, 0);
        if let Some(end) = filter.end {
            before = before.min(self.last_before(end).await?.saturating_add(1));
        }
        if let Some(start) = filter.start {
            after = self.last_before(start).await?;
        }
        let PurchaseFilter { buyer_user_id: buyer, program_id: program, .. } = filter;
        // Without a program, every purchase that is examined is on the page.
        let most_examined = if program.is_some() { MAX_EXAMINED } else { limit };
        let rows = self
            .read(freshness, || {
                sqlx::query(sql!("purchases.sql"))
                    .bind(before)
                    .bind(limit)
                    .bind(after)
                    .bind(program.as_ref().map(ProgramId::to_string))
                    .bind(most_examined)
                    .bind(buyer.as_ref().map(UserId::to_string))
            })
            .await?;
        let mut examined_down_to = None;
        if let (Some(row), true) = (rows.found.first(), filter.program_id.is_some())
            && row.try_get::<i64, _>("examined")? >= MAX_EXAMINED
        {
            examined_down_to = row.try_get("down_to")?;
        }
        let mut ranges = Vec::with_capacity(rows.found.len());
        for row in &rows.found {
            if let Some(first) = row.try_get::<Option<i64>, _>("first_position")? {
                let events: Option<i64> = row.try_get("command_events")?;
                ranges.push((first, first + events.unwrap_or(1) - 1));
            }
        }
        // Events never change, so they can be read in further statements.
        let mut events =
            in_time(log::read_ranges(self.database.pool(), &ranges)).await?.into_iter().peekable();
        let mut purchases: Vec<Vec<RecordedEvent>> = ranges
            .iter()
            .map(|(first, last)| {
                std::iter::from_fn(|| {
                    events.next_if(|event| (*first..=*last).contains(&event.position))
                })
                .collect()
            })
            .collect();
        let recorded = purchases.iter().zip(&ranges).map(|(events, (_, last))| {
            let own = events.iter().find(|event| event.stream.kind == Kind::Purchase);
            (own.map_or_else(String::new, |event| event.stream.id.to_string()), *last)
        });
        let recorded: Vec<(String, i64)> = recorded.collect();
        let recorded: Vec<(&str, i64)> = recorded.iter().map(|(id, last)| (&**id, *last)).collect();
        let pool = self.database.pool();
        let later = in_time(log::read_later_commands(pool, &recorded, rows.position)).await?;
        for (index, event) in later {
            if let Some(events) = purchases.get_mut(index) {
                events.push(event);
            }
        }
        Ok(At { position: rows.position, found: PurchasePage { purchases, examined_down_to } })
    }

    /// The position of the last event before a moment.
    async fn last_before(&self, moment: Timestamp) -> Result<i64, ReadError> {
        let just_before = Timestamp(moment.0.saturating_sub(1));
        Ok(in_time(log::position_at(self.database.pool(), just_before)).await?)
    }
}
