//! What a mail tells, read when it is sent: names from profiles, everything else from the log.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use sqlx::{PgPool, Row};

use super::names::shown;
use crate::store::StoreError;
use domain::currency::amount_text;
use domain::{
    MailKind, ParticipantEnrolled, ParticipantId, Posting, ProgramId, TierChanged, UserId,
};

/// What templates can use. Names of people are harmless in text; HTML templates escape them.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Facts {
    /// How the recipient is called: their display name or, if they have none, their username. Empty, as `username`
    /// is, in mails to an address that may be a stranger's.
    pub name: String,
    /// The recipient's username; empty if they are not a user yet.
    pub username: String,
    /// What links of this installation begin with.
    pub public_url: String,
    /// The link that switches mails of this kind off; empty if they cannot be switched off.
    pub unsubscribe_url: String,
    /// Of mails about a program: its name.
    pub program: String,
    /// `welcome`: the recipient's programs.
    pub programs: Vec<Membership>,
    /// `referral` and `conversion`: the username of the person who was referred by the recipient; empty if they have
    /// been erased, if the recipient is that person, or if somebody else referred them.
    pub referee: String,
    /// `conversion`: what the recipient gets, as in `12.50 USD`; `expiry`: what they will lose; `reversal`: what was
    /// taken back; `release`: what is available now.
    pub amount: String,
    /// `conversion`: 0 if the recipient is the person who was referred, 1 if they referred them, and so on.
    pub level: u32,
    /// `tier`: the tier that was reached.
    pub tier: String,
    /// `expiry`: the last day on which the amount can be used, as in `31 December 2026`.
    pub expire_date: String,
    /// `reversal`: `refund`, `dispute` or `decision`; `release`: `hold_period`, `operator` or `dispute`.
    pub reason: String,
    /// `reversal` and `release`: what `amount` is made of.
    pub lines: Vec<Line>,
    /// `reversal` and `release`: the balance after it, as in `12.50 USD`.
    pub balance: String,
    /// `reversal` and `release`: the part of the balance that is available.
    pub available: String,
    /// `reversal` and `release`: whether the balance is below zero.
    pub is_in_debt: bool,
    /// `confirm_email`, `confirm_sign_up` and `password_reset`: the link to the page that does it.
    pub link: String,
    /// `confirm_email`, `confirm_sign_up` and `password_reset`: for how many minutes the link works from now on; 0 if
    /// it has no end.
    pub link_minutes: i64,
    /// `password_changed`: whether the second factor was removed with it.
    pub removed_second_factor: bool,
}

/// A program that somebody is in.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Membership {
    /// The name of the program.
    pub name: String,
    /// The code that the person can give to others.
    pub code: String,
    /// The link that carries the code; empty if the program has no links.
    pub link: String,
}

/// What became of one reward.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Line {
    /// How much of it was taken back, or is available now, as in `12.50 USD`.
    pub amount: String,
    /// The purchase that had earned it; empty if the referral itself had.
    pub purchase: String,
}

/// Somebody whom mails go to.
#[derive(Clone)]
pub struct Person {
    /// Their address.
    pub email: String,
    /// Their username.
    pub username: String,
    /// Their display name, which may be empty.
    pub display_name: String,
    /// Whether they take part.
    pub is_active: bool,
    /// Whether they have shown that the address is theirs.
    pub is_email_confirmed: bool,
}

/// A user as mails need them; `None` if they do not exist or were erased.
///
/// # Errors
/// [`StoreError`] if the database cannot be read.
pub async fn person(pool: &PgPool, user_id: &UserId) -> Result<Option<Person>, StoreError> {
    let row = sqlx::query(
        "select email, username, display_name, coalesce(( \
             select event_type = 'UserReactivated' from events \
             where aggregate_type = 'User' and aggregate_id = $1 \
                 and event_type in ('UserDeactivated', 'UserReactivated') \
             order by sequence desc limit 1), true) as is_active, \
             exists (select from events \
                 where aggregate_type = 'User' and aggregate_id = $1 \
                     and event_type = 'UserEmailConfirmed') as is_email_confirmed \
         from profiles where user_id = $1",
    )
    .bind(user_id.as_str())
    .fetch_optional(pool)
    .await?;
    let Some(row) = row else { return Ok(None) };
    Ok(Some(Person {
        email: row.try_get("email")?,
        username: row.try_get("username")?,
        display_name: row.try_get("display_name")?,
        is_active: row.try_get("is_active")?,
        is_email_confirmed: row.try_get("is_email_confirmed")?,
    }))
}

/// Adds to `facts` what a mail of this kind tells, from what its job names. What is no longer there is left empty.
///
/// # Errors
/// [`StoreError`] if the database cannot be read, or the job names what is not in the log.
pub async fn complete(
    pool: &PgPool,
    kind: MailKind,
    user_id: Option<&UserId>,
    payload: &Value,
    facts: &mut Facts,
) -> Result<(), StoreError> {
    let text = |name: &str| payload.get(name).and_then(Value::as_str).unwrap_or_default();
    let program_id = ProgramId::parse(text("program_id")).ok();
    if let Some(program_id) = &program_id {
        facts.program = program_name(pool, program_id).await?;
    }
    match kind {
        MailKind::Welcome => {
            let named = payload.get("program_ids").and_then(Value::as_array).into_iter().flatten();
            for program_id in named.filter_map(|id| ProgramId::parse(id.as_str()?).ok()) {
                let Some(user_id) = user_id else { break };
                facts.programs.push(membership(pool, &program_id, user_id).await?);
            }
        }
        MailKind::Referral => {
            facts.level = 1;
            facts.referee = username(pool, text("referee_user_id")).await?;
        }
        MailKind::Conversion => {
            let (mut sum, mut unit) = (0_i64, String::new());
            for position in positions(payload, "reward_positions") {
                let reward: Movement = event(pool, position).await?;
                sum = sum.saturating_add(reward.posting.amount);
                unit = reward.posting.unit;
                facts.level = reward.level;
            }
            facts.amount = amount_text(sum, &unit);
            // Further up the line the person who was referred is a stranger.
            if facts.level == 1 {
                facts.referee = username(pool, text("referee_user_id")).await?;
            }
        }
        MailKind::Tier => {
            let position = payload.get("tier_position").and_then(Value::as_i64).unwrap_or_default();
            let changed: TierChanged = event(pool, position).await?;
            facts.tier = changed.to_tier;
        }
        MailKind::Reversal | MailKind::Release => {
            text("reason").clone_into(&mut facts.reason);
            (facts.amount, facts.lines) = lines(pool, payload).await?;
            let position = payload.get("balance_position").and_then(Value::as_i64);
            let Movement { posting, .. } = event(pool, position.unwrap_or_default()).await?;
            facts.balance = amount_text(posting.after.balance(), &posting.unit);
            facts.available = amount_text(posting.after.available, &posting.unit);
            facts.is_in_debt = posting.after.balance() < 0;
        }
        MailKind::PasswordChanged => {
            let removed = payload.get("removed_second_factor").and_then(Value::as_bool);
            facts.removed_second_factor = removed.unwrap_or_default();
        }
        // What is left of the lot has been read already: without it there is no mail.
        MailKind::Expiry
        | MailKind::ConfirmEmail
        | MailKind::ConfirmSignUp
        | MailKind::AccountExists
        | MailKind::PasswordReset
        | MailKind::EmailChanged
        | MailKind::SecondFactorRemoved => {}
    }
    Ok(())
}

/// What mails need of an event that grants, reverses or moves a reward. Of any other event that moves money, it has the
/// posting only.
#[derive(Deserialize)]
struct Movement {
    #[serde(default)]
    level: u32,
    #[serde(default)]
    purchase_id: Option<String>,
    #[serde(default)]
    reward_sequence: i64,
    posting: Posting,
}

/// The positions that a job names.
fn positions(payload: &Value, name: &str) -> impl Iterator<Item = i64> {
    let named = payload.get(name).and_then(Value::as_array).into_iter().flatten();
    named.filter_map(Value::as_i64)
}

/// The sum of what became of rewards, and a line for each of them: two events of one reward change two parts of the
/// balance.
async fn lines(pool: &PgPool, payload: &Value) -> Result<(String, Vec<Line>), StoreError> {
    let mut rewards: Vec<Movement> = Vec::new();
    for position in positions(payload, "reward_positions") {
        let reward: Movement = event(pool, position).await?;
        let known = rewards.iter_mut().find(|of| of.reward_sequence == reward.reward_sequence);
        match known {
            Some(known) => {
                known.posting.amount = known.posting.amount.saturating_add(reward.posting.amount);
            }
            None => rewards.push(reward),
        }
    }
    let unit = rewards.first().map(|reward| reward.posting.unit.clone()).unwrap_or_default();
    let amount = |reward: &Movement| reward.posting.amount.saturating_abs();
    let sum = rewards.iter().map(amount).fold(0, i64::saturating_add);
    let lines = rewards.iter().map(|reward| Line {
        amount: amount_text(amount(reward), &unit),
        purchase: reward.purchase_id.clone().unwrap_or_default(),
    });
    Ok((amount_text(sum, &unit), lines.collect()))
}

/// The event at a position.
async fn event<E: serde::de::DeserializeOwned>(
    pool: &PgPool,
    position: i64,
) -> Result<E, StoreError> {
    let payload: Option<Value> =
        sqlx::query_scalar("select payload from events where position = $1")
            .bind(position)
            .fetch_optional(pool)
            .await?;
    let nonsense = || StoreError::Nonsense(format!("event at position {position} of a mail"));
    serde_json::from_value(payload.ok_or_else(nonsense)?).map_err(|_| nonsense())
}

/// The present name of a program.
async fn program_name(pool: &PgPool, program_id: &ProgramId) -> Result<String, StoreError> {
    let name: Option<String> = sqlx::query_scalar(
        "select coalesce(payload -> 'rules' ->> 'display_name', '') from events \
         where aggregate_type = 'Program' and aggregate_id = $1 order by sequence desc limit 1",
    )
    .bind(program_id.as_str())
    .fetch_optional(pool)
    .await?;
    Ok(name.unwrap_or_default())
}

/// The code and link of a participant, which never change.
async fn membership(
    pool: &PgPool,
    program_id: &ProgramId,
    user_id: &UserId,
) -> Result<Membership, StoreError> {
    let id = ParticipantId::new(program_id, user_id).to_string();
    let payload: Option<Value> = sqlx::query_scalar(
        "select payload from events where aggregate_type = 'Participant' and aggregate_id = $1 \
             and event_type = 'ParticipantEnrolled' \
         order by sequence limit 1",
    )
    .bind(&id)
    .fetch_optional(pool)
    .await?;
    let nonsense = || StoreError::Nonsense("a mail to a participant who does not exist".into());
    let enrolled: ParticipantEnrolled =
        serde_json::from_value(payload.ok_or_else(nonsense)?).map_err(|_| nonsense())?;
    let name = program_name(pool, program_id).await?;
    Ok(Membership { name, code: enrolled.code, link: enrolled.link })
}

/// The username of another user, as a mail shows it; empty if they were erased.
async fn username(pool: &PgPool, user_id: &str) -> Result<String, StoreError> {
    let name: Option<String> =
        sqlx::query_scalar("select username from profiles where user_id = $1")
            .bind(user_id)
            .fetch_optional(pool)
            .await?;
    Ok(name.map(|name| shown(&name)).unwrap_or_default())
}
