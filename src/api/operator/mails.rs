//! `ListMails` and `RetryMail`.

use super::retry::{MAX_READS, retry};
use super::{Handlers, shown_id};
use crate::api::errors::{ApiError, status};
use crate::api::fields::Fields;
use crate::api::guard::Call;
use crate::api::pages::Page;
use crate::api::pb::{self, ErrorReason};
use crate::api::responses::time;
use crate::store::in_time;
use crate::store::mails::{self, ListedMail, MailFilter, MailState};
use domain::{MailKind, UserId};

impl Handlers {
    pub(in crate::api) async fn list_mails(
        &self,
        call: Call<pb::ListMailsRequest>,
    ) -> Result<pb::ListMailsResponse, ApiError> {
        let request = &call.message;
        let mut fields = Fields::of(request);
        let page = Page::read(&mut fields, &call);
        let before = page.before(&mut fields, &request.page_token);
        let user_id = fields.optional_id("user_id", &request.user_id, UserId::parse);
        let before = fields.finish(before)?;
        let filter =
            MailFilter { state: state(request.state()), kind: kind(request.kind()), user_id };
        let pool = self.0.database.pool();
        let found = in_time(mails::list(pool, &filter, before, page.rows())).await?;
        let (mails, next_page_token) = page.answer(found, |mail| mail.job_id, message);
        Ok(pb::ListMailsResponse { mails, next_page_token })
    }

    pub(in crate::api) async fn retry_mail(
        &self,
        call: Call<pb::RetryMailRequest>,
    ) -> Result<pb::RetryMailResponse, ApiError> {
        let request = &call.message;
        let mut fields = Fields::of(request);
        if request.mail_id.is_empty() {
            fields.fault("mail_id", ErrorReason::FieldRequired, "is required");
        }
        fields.finish(Some(()))?;
        let mail_id = &request.mail_id;
        let id = mail_id.parse().ok().filter(|id: &i64| id.to_string() == *mail_id);
        let retried = match id {
            Some(id) => self.retry_ended(&call, id).await?,
            // Ids that were never assigned.
            None => RetriedMail::Unknown,
        };
        let mail_id = shown_id(mail_id);
        match retried {
            RetriedMail::Queued(mail) => Ok(pb::RetryMailResponse { mail: Some(message(mail)) }),
            RetriedMail::NotParked(state) => {
                let state = state.as_str();
                let message =
                    format!("the mail is {state}; only a parked or skipped one can be sent again");
                let facts: &[(&str, &dyn std::fmt::Display)] =
                    &[("mail_id", &mail_id), ("state", &state)];
                Err(status(ErrorReason::MailNotParked, message, facts).into())
            }
            RetriedMail::Unknown => {
                let message = "there is no such mail";
                Err(status(ErrorReason::MailNotFound, message, &[("mail_id", &mail_id)]).into())
            }
        }
    }

    async fn retry_ended(
        &self,
        call: &Call<pb::RetryMailRequest>,
        id: i64,
    ) -> Result<RetriedMail, ApiError> {
        let pool = self.0.database.pool();
        let mut seen = MailState::Queued;
        for _ in 0..MAX_READS {
            let attempts = in_time(mails::attempts_if_ended(pool, id)).await?;
            let found = in_time(mails::find(pool, id)).await?;
            let Some(mail) = found else { return Ok(RetriedMail::Unknown) };
            seen = mail.state;
            let Some(attempts) = attempts else { break };
            if let Some(run_after) = retry(&self.0, call, id, attempts).await? {
                return Ok(RetriedMail::Queued(ListedMail {
                    state: MailState::Queued,
                    reason: None,
                    run_after: Some(run_after),
                    ended_at: None,
                    ..mail
                }));
            }
        }
        Ok(RetriedMail::NotParked(seen))
    }
}

/// The outcome of retrying a mail.
enum RetriedMail {
    /// The mail is queued.
    Queued(ListedMail),
    /// The mail is in another state, which it keeps.
    NotParked(MailState),
    /// There is no such mail, or it was deleted.
    Unknown,
}

fn state(state: pb::MailState) -> Option<MailState> {
    match state {
        pb::MailState::Unspecified => None,
        pb::MailState::Queued => Some(MailState::Queued),
        pb::MailState::Sending => Some(MailState::Sending),
        pb::MailState::Sent => Some(MailState::Sent),
        pb::MailState::Skipped => Some(MailState::Skipped),
        pb::MailState::Parked => Some(MailState::Parked),
    }
}

fn state_message(state: MailState) -> pb::MailState {
    match state {
        MailState::Queued => pb::MailState::Queued,
        MailState::Sending => pb::MailState::Sending,
        MailState::Sent => pb::MailState::Sent,
        MailState::Skipped => pb::MailState::Skipped,
        MailState::Parked => pb::MailState::Parked,
    }
}

fn kind(kind: pb::MailKind) -> Option<MailKind> {
    MailKind::ALL.into_iter().find(|of| kind_message(*of) == kind)
}

fn kind_message(kind: MailKind) -> pb::MailKind {
    match kind {
        MailKind::Welcome => pb::MailKind::Welcome,
        MailKind::Referral => pb::MailKind::Referral,
        MailKind::Conversion => pb::MailKind::Conversion,
        MailKind::Tier => pb::MailKind::Tier,
        MailKind::Expiry => pb::MailKind::Expiry,
        MailKind::Reversal => pb::MailKind::Reversal,
        MailKind::Release => pb::MailKind::Release,
        MailKind::ConfirmEmail => pb::MailKind::ConfirmEmail,
        MailKind::ConfirmSignUp => pb::MailKind::ConfirmSignUp,
        MailKind::AccountExists => pb::MailKind::AccountExists,
        MailKind::PasswordReset => pb::MailKind::PasswordReset,
        MailKind::EmailChanged => pb::MailKind::EmailChanged,
        MailKind::PasswordChanged => pb::MailKind::PasswordChanged,
        MailKind::SecondFactorRemoved => pb::MailKind::SecondFactorRemoved,
    }
}

fn message(mail: ListedMail) -> pb::Mail {
    pb::Mail {
        mail_id: mail.job_id.to_string(),
        kind: MailKind::parse(&mail.kind).map_or(pb::MailKind::Unspecified, kind_message).into(),
        state: state_message(mail.state).into(),
        user_id: mail.user_id.unwrap_or_default(),
        email: mail.recipient.unwrap_or_default(),
        skip_reason: mail.reason.unwrap_or_default(),
        attempts: mail.attempts,
        last_error: mail.last_error.unwrap_or_default(),
        create_time: Some(time(mail.created_at)),
        next_attempt_time: mail.run_after.map(time),
        finish_time: mail.ended_at.map(time),
    }
}
