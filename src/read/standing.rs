//! The standing of one participant in a program.

use std::sync::Arc;

use sqlx::Row;
use sqlx::postgres::PgRow;
use sqlx::types::Json;
use time::OffsetDateTime;

use super::{At, Freshness, ReadError, Reads, sql};
use crate::store::{StoreError, log};
use domain::reward::LevelTotal;
use domain::rules::ProgramRules;
use domain::{
    Buckets, HoldReason, Participant, ParticipantId, ReferralStatus, TierReferrals, Timestamp,
};

/// A participant's balance, rewards and tier at one moment.
#[derive(Clone, Debug, Default)]
pub struct Standing {
    /// The parts and the sums of the balance, in minor units of the program's unit.
    pub buckets: Buckets,
    /// All rewards without those that were taken back, in minor units of the program's unit.
    pub earned_minor: i64,
    /// The rewards level by level; levels without any are missing.
    pub levels: Vec<LevelTotal>,
    /// The tier, if it ever changed.
    pub tier: Option<String>,
    /// Referrals pending or converted.
    pub referral_count: u32,
    /// How many of the referrals tiers go by.
    pub tier_referrals: TierReferrals,
}

impl Standing {
    /// What the participant has received from one level.
    #[must_use]
    pub fn level(&self, level: u32) -> LevelTotal {
        let known = self.levels.iter().find(|total| total.level == level);
        known.copied().unwrap_or(LevelTotal { level, ..LevelTotal::default() })
    }
}

impl From<&Participant> for Standing {
    fn from(participant: &Participant) -> Self {
        Self {
            buckets: *participant.buckets(),
            earned_minor: participant.earned_minor(),
            levels: participant.levels().to_vec(),
            tier: participant.tier().map(Into::into),
            referral_count: participant.referrals().counted(),
            tier_referrals: participant.tier_referrals(),
        }
    }
}

/// A participant as the read models know them.
#[derive(Clone, Debug)]
pub struct Member {
    /// The user.
    pub user_id: String,
    /// The username; empty if the user has none any more.
    pub username: String,
    /// The name to be shown to others; empty if there is none.
    pub display_name: String,
    /// The participant's own code.
    pub code: String,
    /// Whether the participant can earn.
    pub is_active: bool,
    /// The position of the enrollment in the log.
    pub enrolled_position: i64,
    /// The referrer.
    pub referrer_user_id: Option<String>,
    /// The status of the referral.
    pub referral_status: Option<ReferralStatus>,
    /// Why the referral is held; empty if it is not.
    pub hold_reasons: Vec<HoldReason>,
    /// The position of the referral in the log.
    pub referral_position: i64,
    /// When the referral was made.
    pub referral_time: Option<Timestamp>,
    /// When the referral converted.
    pub convert_time: Option<Timestamp>,
    /// Pending referrals that the participant made.
    pub pending_count: u32,
    /// As above.
    pub held_count: u32,
    /// As above.
    pub converted_count: u32,
    /// Uses of the code, and direct referrals, that are used up.
    pub uses: u32,
    /// All rewards, in minor units of the program's unit.
    pub earned_minor: i64,
    /// In minor units of the program's unit.
    pub balance_minor: i64,
    /// The tier, if it ever changed.
    pub tier: Option<String>,
}

impl Member {
    /// Referrals that count.
    #[must_use]
    pub fn referral_count(&self) -> u32 {
        self.pending_count + self.converted_count
    }
}

impl Reads {
    /// One participant with the standing and the rules in force. `None` if the read models know no such
    /// participant.
    ///
    /// # Errors
    /// [`ReadError`] if the read models cannot answer in time.
    pub async fn standing(
        &self,
        id: &ParticipantId,
        freshness: Freshness,
    ) -> Result<At<Option<(Member, Standing, Arc<ProgramRules>)>>, ReadError> {
        let (program_id, user_id) = (id.program_id.to_string(), id.user_id.to_string());
        let rows = self
            .read(freshness, || {
                sqlx::query(sql!("standing.sql")).bind(program_id.clone()).bind(user_id.clone())
            })
            .await?;
        let At { position, found } = rows;
        let Some(row) = found.first() else { return Ok(At { position, found: None }) };
        let (Some(member), Some(rules)) = (member(row)?, rules(row)?) else {
            return Ok(At { position, found: None });
        };
        let standing = Standing {
            buckets: row.try_get::<Json<Buckets>, _>("buckets")?.0,
            earned_minor: member.earned_minor,
            levels: levels(row)?,
            tier: member.tier.clone(),
            referral_count: member.referral_count(),
            tier_referrals: tier_referrals(row)?,
        };
        Ok(At { position, found: Some((member, standing, Arc::new(rules))) })
    }
}

fn rules(row: &PgRow) -> Result<Option<ProgramRules>, StoreError> {
    let Some(json) = row.try_get::<Option<&str>, _>("rules")? else { return Ok(None) };
    serde_json::from_str(json)
        .map(Some)
        .map_err(|error| StoreError::Nonsense(format!("rules of a program: {error}")))
}

fn levels(row: &PgRow) -> Result<Vec<LevelTotal>, StoreError> {
    let levels: Option<Vec<i32>> = row.try_get("levels")?;
    let totals: Option<Vec<i64>> = row.try_get("totals")?;
    let counts: Option<Vec<i64>> = row.try_get("counts")?;
    let zipped = levels.into_iter().flatten().zip(totals.into_iter().flatten());
    Ok(zipped
        .zip(counts.into_iter().flatten())
        .map(|((level, total_minor), count)| LevelTotal {
            level: level.unsigned_abs(),
            total_minor,
            count: u32::try_from(count).unwrap_or(u32::MAX),
        })
        .collect())
}

fn tier_referrals(row: &PgRow) -> Result<TierReferrals, StoreError> {
    let count = |column| row.try_get::<i32, _>(column).map(i32::unsigned_abs);
    Ok(TierReferrals { made: count("tier_made_count")?, converted: count("tier_converted_count")? })
}

/// The participant in a row; `None` if the row has none.
pub(super) fn member(row: &PgRow) -> Result<Option<Member>, StoreError> {
    let Some(user_id) = row.try_get::<Option<String>, _>("user_id")? else { return Ok(None) };
    let count = |column| row.try_get::<i32, _>(column).map(i32::unsigned_abs);
    let status: Option<&str> = row.try_get("referral_status")?;
    Ok(Some(Member {
        user_id,
        username: row.try_get::<Option<_>, _>("username")?.unwrap_or_default(),
        display_name: row.try_get::<Option<_>, _>("display_name")?.unwrap_or_default(),
        code: row.try_get("code")?,
        is_active: row.try_get("is_active")?,
        enrolled_position: row.try_get("enrolled_position")?,
        referrer_user_id: row.try_get("referrer_user_id")?,
        referral_status: status.map(referral_status).transpose()?,
        hold_reasons: hold_reasons(row.try_get("hold_reasons")?)?,
        referral_position: row.try_get::<Option<_>, _>("referral_position")?.unwrap_or_default(),
        referral_time: time(row, "referral_time")?,
        convert_time: time(row, "convert_time")?,
        pending_count: count("pending_count")?,
        held_count: count("held_count")?,
        converted_count: count("converted_count")?,
        uses: count("uses")?,
        earned_minor: row.try_get("earned_minor")?,
        balance_minor: row.try_get("balance_minor")?,
        tier: row.try_get("tier")?,
    }))
}

pub(super) fn time(row: &PgRow, column: &str) -> Result<Option<Timestamp>, StoreError> {
    Ok(row.try_get::<Option<OffsetDateTime>, _>(column)?.map(log::timestamp))
}

fn hold_reasons(names: Option<Json<Vec<String>>>) -> Result<Vec<HoldReason>, StoreError> {
    let reason = |name: String| {
        HoldReason::parse(&name)
            .ok_or_else(|| StoreError::Nonsense(format!("a referral held for '{name}'")))
    };
    names.map(|names| names.0).unwrap_or_default().into_iter().map(reason).collect()
}

fn referral_status(name: &str) -> Result<ReferralStatus, StoreError> {
    ReferralStatus::parse(name)
        .ok_or_else(|| StoreError::Nonsense(format!("the referral status '{name}'")))
}
