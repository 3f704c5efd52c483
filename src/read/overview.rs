//! Key figures of programs, for those who run them.

use sqlx::Row;

use super::{At, Freshness, ReadError, Reads, sql};
use crate::store::StoreError;
use domain::ProgramId;

/// The key figures of a program.
#[derive(Clone, Debug)]
pub struct Overview {
    /// The unit of balances.
    pub unit: String,
    /// The number of participants.
    pub registered: u32,
    /// Participants who were referred.
    pub referred: u32,
    /// Pending referrals.
    pub pending: u32,
    /// As above.
    pub held: u32,
    /// As above.
    pub converted: u32,
    /// As above.
    pub rejected: u32,
    /// The number of rewards.
    pub reward_count: i64,
    /// The sum of the rewards, in minor units.
    pub granted_minor: i128,
    /// The sum of what was taken back of them, in minor units.
    pub reversed_minor: i128,
    /// What is owed to participants.
    pub owed: Owed,
    /// What participants owe, in minor units.
    pub debt_minor: i128,
}

/// What is owed to the participants of a program, without those who owe something, in minor units.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(
    missing_docs,
    clippy::struct_field_names,
    reason = "the parts of a balance, with their unit"
)]
pub struct Owed {
    pub pending_minor: i128,
    pub available_minor: i128,
    pub reserved_minor: i128,
}

/// One day of a program, in UTC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ConversionDay {
    /// In days since 1970.
    pub day: i32,
    /// Referrals made that day.
    pub referral_count: u32,
    /// How many of those have converted.
    pub converted_count: u32,
    /// How many of those have converted by a purchase.
    pub purchase_count: u32,
    /// The sum of the times from those referrals to those purchases, in microseconds.
    pub purchase_time_us: i128,
    /// Conversions that happened that day.
    pub conversion_count: u32,
}

impl Reads {
    /// The key figures of a program; `None` if the read models know no such program.
    ///
    /// # Errors
    /// [`ReadError`] if the read models cannot answer in time.
    pub async fn overview(
        &self,
        program_id: &ProgramId,
        freshness: Freshness,
    ) -> Result<At<Option<Overview>>, ReadError> {
        let rows = self
            .read(freshness, || sqlx::query(sql!("overview.sql")).bind(program_id.to_string()))
            .await?;
        let row = rows.found.first();
        let text = |column| {
            let value = row.map(|row| row.try_get::<Option<String>, _>(column));
            value.transpose().map(Option::flatten)
        };
        // One model may know the program before the other does.
        let (Some(row), Some(unit), Some(_)) = (row, text("unit")?, text("program_id")?) else {
            return Ok(At { position: rows.position, found: None });
        };
        let count = |column| row.try_get::<i32, _>(column).map(i32::unsigned_abs);
        let sum = |column| -> Result<i128, ReadError> {
            let sum = text(column)?.and_then(|sum| sum.parse().ok());
            Ok(sum.ok_or_else(|| StoreError::Nonsense("a sum of money that is no number".into()))?)
        };
        let overview = Overview {
            unit,
            registered: count("registered_count")?,
            referred: count("referred_count")?,
            pending: count("pending_count")?,
            held: count("held_count")?,
            converted: count("converted_count")?,
            rejected: count("rejected_count")?,
            reward_count: row.try_get("reward_count")?,
            granted_minor: sum("granted_text")?,
            reversed_minor: sum("reversed_text")?,
            owed: Owed {
                pending_minor: sum("owed_pending_text")?,
                available_minor: sum("owed_available_text")?,
                reserved_minor: sum("owed_reserved_text")?,
            },
            debt_minor: sum("debt_text")?,
        };
        Ok(At { position: rows.position, found: Some(overview) })
    }

    /// The days of a program on which anything happened, from one day to before another, in days since
    /// 1970.
    ///
    /// # Errors
    /// [`ReadError`] if the read models cannot answer in time.
    pub async fn conversion_days(
        &self,
        program_id: &ProgramId,
        days: std::ops::Range<i32>,
        freshness: Freshness,
    ) -> Result<At<Vec<ConversionDay>>, ReadError> {
        let rows = self
            .read(freshness, || {
                sqlx::query(sql!("conversion_days.sql"))
                    .bind(program_id.to_string())
                    .bind(days.start)
                    .bind(days.end)
            })
            .await?;
        let mut found = Vec::with_capacity(rows.found.len());
        for row in &rows.found {
            let Some(day) = row.try_get("day")? else { continue };
            let count = |column| row.try_get::<i32, _>(column).map(i32::unsigned_abs);
            let time: &str = row.try_get("purchase_time_us")?;
            found.push(ConversionDay {
                day,
                referral_count: count("referral_count")?,
                converted_count: count("converted_count")?,
                purchase_count: count("purchase_count")?,
                purchase_time_us: time
                    .parse()
                    .map_err(|_| StoreError::Nonsense(format!("a time of {time} microseconds")))?,
                conversion_count: count("conversion_count")?,
            });
        }
        Ok(At { position: rows.position, found })
    }
}
