//! `mail` and `urgent_mail`: render a mail from profiles and the log, and deliver it.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use sqlx::PgPool;
use uuid::Uuid;

use super::expiring::{Expiring, expiring};
use crate::engine::Environment;
use crate::hang;
use crate::jobs::{Attempt, Doing, Handler, JobError, Pace, Pauses, TakenJob};
use crate::mails::delivery::Undelivered;
use crate::mails::facts::{self, Facts, Person};
use crate::mails::message::{self, Headers};
use crate::mails::names::shown;
use crate::mails::unsubscribing::Unsubscribing;
use crate::mails::{LinkSecrets, MailSettings, TokenLives, page_of, token_text};
use crate::store::mails::{self, JOB_KIND, URGENT_JOB_KIND};
use crate::store::{Database, StoreError, in_time};
use crate::store::{mailed_tokens, sign_ups};
use domain::{MailKind, Timestamp, UserId};

/// What an attempt may take besides handing the mail to the server.
const OWN_TIME: Duration = Duration::from_secs(15);

/// Sends mails of all kinds.
pub struct SendMail {
    /// How and where to.
    pub settings: MailSettings,
    /// Makes links that switch mails off.
    pub unsubscribing: Unsubscribing,
    /// Makes the secrets of other links again.
    pub link_secrets: LinkSecrets,
    /// How long those links are good.
    pub token_lives: TokenLives,
    /// The clock.
    pub environment: Environment,
}

/// Mails of one kind of job. All lanes of a server share one pace, and the first in the list of handlers goes first.
pub(super) struct Lane {
    kind: &'static str,
    slots: usize,
    pace: Arc<Pace>,
    sender: Arc<SendMail>,
}

impl Lane {
    /// The lanes of a server: mails that somebody waits for, and then the others.
    pub(super) fn all(sender: SendMail) -> [Self; 2] {
        let concurrency = sender.settings.concurrency;
        let pace = Arc::new(Pace::new(sender.settings.per_second));
        let sender = Arc::new(sender);
        let lane = |kind, slots| Self { kind, slots, pace: pace.clone(), sender: sender.clone() };
        [lane(URGENT_JOB_KIND, concurrency.div_ceil(2)), lane(JOB_KIND, concurrency)]
    }
}

impl Handler for Lane {
    fn kind(&self) -> &'static str {
        self.kind
    }

    fn attempt<'a>(&'a self, job: &'a TakenJob, attempt: &'a mut Attempt) -> Doing<'a> {
        Box::pin(self.sender.send(job, attempt))
    }

    fn time_limit(&self) -> Duration {
        self.sender.settings.patience + OWN_TIME
    }

    fn max_attempts(&self) -> u32 {
        self.sender.settings.max_attempts
    }

    fn pauses(&self) -> Option<Pauses> {
        let MailSettings { first_pause, longest_pause, .. } = self.sender.settings;
        Some(Pauses { first: first_pause, longest: longest_pause })
    }

    fn own_slots(&self) -> Option<usize> {
        // A mail server that hangs holds up mails only.
        Some(self.slots)
    }

    fn pace(&self) -> Option<Arc<Pace>> {
        Some(self.pace.clone())
    }
}

/// What a job says.
struct Wanted<'a> {
    kind: MailKind,
    user_id: Option<UserId>,
    payload: &'a Value,
    /// When the link in the mail ends.
    expire_time: Option<Timestamp>,
}

impl<'a> Wanted<'a> {
    fn read(payload: &'a Value) -> Result<Self, JobError> {
        let text = |name: &str| payload.get(name).and_then(Value::as_str);
        let kind = text("mail").and_then(MailKind::parse);
        let kind =
            kind.ok_or_else(|| JobError::Hopeless("a mail of a kind that is not known".into()))?;
        let user_id = text("user_id").map(UserId::parse).transpose();
        let user_id = user_id.map_err(|_| JobError::Hopeless("the user id is none".into()))?;
        let expire_time = payload.get("expire_time_us").and_then(Value::as_i64).map(Timestamp);
        Ok(Self { kind, user_id, payload, expire_time })
    }
}

/// A mail that is to be sent, and where to.
struct Letter {
    to: String,
    facts: Facts,
}

impl SendMail {
    /// Makes one attempt. That the mail was sent is noted together with the completion of the job, so that a job that
    /// is not completed does not send it again.
    async fn send(&self, job: &TakenJob, attempt: &mut Attempt) -> Result<(), JobError> {
        let pool = attempt.database().pool();
        let wanted = Wanted::read(&job.payload)?;
        let Some(addressed) = in_time(mails::addressed(pool, job.id)).await? else {
            // The mail was erased.
            return Ok(());
        };
        if addressed.is_over {
            return Ok(());
        }
        let letter = match self.letter(attempt.database(), &wanted, addressed).await? {
            Ok(letter) => letter,
            Err(reason) => {
                tracing::debug!(
                    id = job.id,
                    mail = wanted.kind.as_str(),
                    reason,
                    "a mail is not sent"
                );
                return Ok(in_time(mails::skipped(pool, job.id, reason)).await?);
            }
        };
        let rendered = self
            .settings
            .templates
            .render(wanted.kind, &letter.facts)
            .map_err(JobError::Hopeless)?;
        let headers = Headers {
            from: &self.settings.from,
            to: &letter.to,
            message_id: self.message_id(job.id),
            date: (self.environment.now)(),
            unsubscribe: Some(&*letter.facts.unsubscribe_url).filter(|link| !link.is_empty()),
        };
        let message = message::write(headers, rendered)
            .map_err(|error| JobError::Hopeless(error.to_string()))?;
        let name = format!("{:08}-{}", job.id, wanted.kind.as_str());
        self.settings.delivery.deliver(&name, &message, self.settings.patience).await.map_err(
            |error| match error {
                Undelivered::Again(text) => JobError::Again(text),
                Undelivered::Never(text) => JobError::Hopeless(text),
            },
        )?;
        hang::point("mail.sent");
        let is_last = in_time(mails::sent(pool, job.id, job.attempt, &letter.to)).await?;
        attempt.completed(is_last);
        Ok(())
    }

    /// What is to be sent, or a short code for why nothing is.
    async fn letter(
        &self,
        database: &Database,
        wanted: &Wanted<'_>,
        addressed: mails::Addressed,
    ) -> Result<Result<Letter, &'static str>, StoreError> {
        let pool = database.pool();
        let public_url = self.settings.public_url.as_ref();
        let Some(public_url) = public_url.filter(|_| self.settings.delivery.delivers()) else {
            return Ok(Err("NO_MAIL_SERVER"));
        };
        let now = (self.environment.now)();
        if wanted.expire_time.is_some_and(|end| end <= now) {
            return Ok(Err("EXPIRED"));
        }
        let mut facts = Facts { public_url: public_url.to_string(), ..Facts::default() };
        let mut to = addressed.recipient;
        if wanted.kind.is_optional() {
            facts.name = addressed.recipient_name.as_deref().map(shown).unwrap_or_default();
        }
        if wanted.kind == MailKind::ConfirmSignUp {
            let Some(newcomer) = self.newcomer(pool, wanted).await? else {
                return Ok(Err("NO_SIGN_UP"));
            };
            // Not the display name: that is free text, and anybody can sign up with anybody's address.
            facts.username = shown(&newcomer.username);
            facts.name.clone_from(&facts.username);
            to = Some(newcomer.email);
        } else if let Some(user_id) = &wanted.user_id {
            let Some(person) = in_time(facts::person(pool, user_id)).await? else {
                return Ok(Err("NO_PROFILE"));
            };
            if wanted.kind.is_optional() {
                if !person.is_active {
                    return Ok(Err("INACTIVE"));
                }
                if in_time(mails::unwanted(pool, user_id)).await?.contains(&wanted.kind) {
                    return Ok(Err("UNSUBSCRIBED"));
                }
                let token = self.unsubscribing.token(user_id, wanted.kind);
                facts.unsubscribe_url = public_url.link("/unsubscribe", &token);
            }
            if may_name(wanted.kind, &person) {
                name(&mut facts, &person);
            }
            to = to.or(Some(person.email));
        }
        let Some(to) = to.filter(|to| !to.is_empty()) else { return Ok(Err("NO_ADDRESS")) };
        if let Some(page) = page_of(wanted.kind) {
            let id = wanted.payload.get("token_id").and_then(Value::as_str).unwrap_or_default();
            let token = token_text(&(self.link_secrets)(wanted.kind.as_str(), id));
            // From now on the token is good: before, nobody can have it.
            let Ok(id) = Uuid::parse_str(id) else { return Ok(Err("NO_TOKEN")) };
            let life = self.token_lives.of(wanted.kind);
            let Some(left) = in_time(mailed_tokens::issue(pool, id, &token, life)).await? else {
                return Ok(Err("NO_TOKEN"));
            };
            if left <= 0.0 {
                return Ok(Err("EXPIRED"));
            }
            facts.link = public_url.link(page, &token);
            // A link that works for 14 minutes and 58 seconds is said to work for 15 minutes.
            #[allow(
                clippy::cast_possible_truncation,
                reason = "a few days are a small number of minutes"
            )]
            let minutes = (left / 60.0).ceil() as i64;
            facts.link_minutes = minutes;
        }
        let user_id = wanted.user_id.as_ref();
        if let (MailKind::Expiry, Some(user_id)) = (wanted.kind, user_id) {
            let found = expiring(database, &self.environment, user_id, wanted.payload).await?;
            let Some(Expiring { amount, expire_date }) = found else {
                return Ok(Err("NOTHING_EXPIRES"));
            };
            (facts.amount, facts.expire_date) = (amount, expire_date);
        }
        in_time(facts::complete(pool, wanted.kind, user_id, wanted.payload, &mut facts)).await?;
        Ok(Ok(Letter { to, facts }))
    }

    /// Whom the mail of a sign-up goes to, while the sign-up waits.
    async fn newcomer(
        &self,
        pool: &PgPool,
        wanted: &Wanted<'_>,
    ) -> Result<Option<sign_ups::Newcomer>, StoreError> {
        match &wanted.user_id {
            Some(user_id) => in_time(sign_ups::newcomer(pool, user_id)).await,
            None => Ok(None),
        }
    }

    /// The same in every attempt, another one for every mail of any installation.
    fn message_id(&self, job_id: i64) -> String {
        let domain = self.settings.from.email.domain();
        format!("<{job_id}.{}@{domain}>", self.unsubscribing.message_mark(job_id))
    }
}

/// Whether a mail may have names of its recipient in it. Anybody can have mails sent to a stranger's address, under
/// a name that is an advertisement, so an address that nobody has confirmed gets links to confirm it without one, and
/// so does an address that is no longer an account's. What can be switched off is sent for programs that say so.
fn may_name(kind: MailKind, person: &Person) -> bool {
    match kind {
        // The mail of a sign-up goes to nobody who has a profile.
        MailKind::ConfirmEmail | MailKind::ConfirmSignUp | MailKind::EmailChanged => false,
        MailKind::PasswordReset
        | MailKind::AccountExists
        | MailKind::PasswordChanged
        | MailKind::SecondFactorRemoved => person.is_email_confirmed,
        MailKind::Welcome
        | MailKind::Referral
        | MailKind::Conversion
        | MailKind::Tier
        | MailKind::Expiry
        | MailKind::Reversal
        | MailKind::Release => true,
    }
}

/// Names the recipient, unless the mail came with a name.
fn name(facts: &mut Facts, person: &Person) {
    facts.username = shown(&person.username);
    if facts.name.is_empty() {
        facts.name = shown(&person.display_name);
    }
    if facts.name.is_empty() {
        facts.name.clone_from(&facts.username);
    }
}
