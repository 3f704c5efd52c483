//! What the mail says that announces the end of a lot: read when the mail is sent, because the lot may be spent by
//! then.

use jiff::Timestamp as Moment;
use jiff::tz::TimeZone;
use serde_json::Value;

use crate::engine::Environment;
use crate::engine::query::{QueryError, query};
use crate::store::{Database, StoreError};
use domain::currency::amount_text;
use domain::{Participant, ParticipantId, Program, ProgramId, Timestamp, UserId, load};

/// What is left of a lot.
pub struct Expiring {
    /// As in `12.50 USD`.
    pub amount: String,
    /// The last day on which it can be used, where the program is.
    pub expire_date: String,
}

/// What is left of the lot that a job names; `None` if nothing is.
///
/// # Errors
/// [`StoreError`] if the database cannot be read, or the job does not name a lot.
pub async fn expiring(
    database: &Database,
    environment: &Environment,
    user_id: &UserId,
    payload: &Value,
) -> Result<Option<Expiring>, StoreError> {
    let nonsense = || StoreError::Nonsense("a mail about a lot that it does not name".into());
    let text = |name: &str| payload.get(name).and_then(Value::as_str).unwrap_or_default();
    let program_id = ProgramId::parse(text("program_id")).map_err(|_| nonsense())?;
    let lot = payload.get("expire_time_us").and_then(Value::as_i64).ok_or_else(nonsense)?;
    let id = ParticipantId::new(&program_id, user_id);
    let found = query(database, environment, |work| {
        let participant = load::<Participant>(work, &id)?;
        let program = load::<Program>(work, &program_id)?;
        let unit = program.current().map(|version| version.rules.unit.clone());
        Ok((participant.lots().amount_minor(Timestamp(lot)), unit.unwrap_or_default()))
    });
    let (amount_minor, unit) = found.await.map_err(|error| match error {
        QueryError::Store(error) => error,
        error => StoreError::Nonsense(format!("a mail about a lot: {error}")),
    })?;
    if amount_minor == 0 {
        return Ok(None);
    }
    let zone = TimeZone::get(text("time_zone")).unwrap_or(TimeZone::UTC);
    let last = Moment::from_microsecond(lot.saturating_sub(1)).map_err(|_| nonsense())?;
    let expire_date = last.to_zoned_datetime(zone).strftime("%-d %B %Y").to_string();
    Ok(Some(Expiring { amount: amount_text(amount_minor, &unit), expire_date }))
}
