//! The table of hold periods that end, and when.

use sqlx::Row;
use sqlx::postgres::PgRow;

use super::StoreError;
use super::timed::{Due, Statements, statements};
use domain::{ProgramId, PurchaseId, UserId};

/// A hold period that is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Release {
    /// The program.
    pub program_id: ProgramId,
    /// Whose purchase or referral earned the rewards.
    pub source_user_id: UserId,
    /// The purchase; `None` if the referral itself earned.
    pub purchase_id: Option<PurchaseId>,
}

impl Due for Release {
    const STATEMENTS: Statements =
        statements!("releases", "program_id, source_user_id, purchase_id", "release_time_us");

    fn read(row: &PgRow) -> Result<Self, StoreError> {
        let nonsense =
            |error| StoreError::Nonsense(format!("a hold period with an id that {error}"));
        let purchase_id: &str = row.try_get("purchase_id")?;
        let purchase_id = Some(purchase_id).filter(|id| !id.is_empty());
        Ok(Self {
            program_id: ProgramId::parse(row.try_get("program_id")?).map_err(nonsense)?,
            source_user_id: UserId::parse(row.try_get("source_user_id")?).map_err(nonsense)?,
            purchase_id: purchase_id.map(PurchaseId::parse).transpose().map_err(nonsense)?,
        })
    }
}
