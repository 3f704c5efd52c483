//! Forms that were sent.

use axum::body::to_bytes;
use axum::extract::{FromRequest, Request};
use console::parts::{FormKeys, Sent};
use console::text::refused as words;
use http::header;
use url::form_urlencoded;

use super::answers::Refused;
use super::faults;
use super::visit::{Kept, Visit};
use crate::api::pb::ErrorReason;
use crate::api::transport::Arrival;

/// The longest form that is read, in bytes. The page that refuses a larger one says so (`refused::TOO_LARGE_WORDS`).
const MAX_FORM_BYTES: usize = 64 * 1024;
/// Fields that are not shown again.
const NOT_SHOWN: &[&str] = &["form_token", "request_id"];
/// Fields that no page has again, with what they are called where they have to be typed once more.
pub(super) const SECRETS: &[(&str, &str)] = &[
    ("password", words::PASSWORD),
    ("old_password", words::OLD_PASSWORD),
    ("new_password", words::NEW_PASSWORD),
    ("email_password", words::PASSWORD),
    ("second_factor_code", words::CODE),
];

/// Whether no page has this field again.
pub(super) fn is_secret(name: &str) -> bool {
    SECRETS.iter().any(|(secret, _)| *secret == name)
}

/// A form that one of our pages has sent, for this visitor.
pub(super) struct SentForm(Vec<(String, String)>);

impl SentForm {
    /// What was sent in a field; empty if it was not in the form.
    pub(super) fn get(&self, name: &str) -> &str {
        self.0.iter().find(|(given, _)| given == name).map_or("", |(_, value)| value)
    }

    /// What was sent in a field, without blanks around it.
    pub(super) fn text(&self, name: &str) -> String {
        self.get(name).trim().to_owned()
    }

    /// Whether a box was ticked.
    pub(super) fn is_on(&self, name: &str) -> bool {
        !self.get(name).is_empty()
    }

    /// The id by which the command of the form is recognised.
    pub(super) fn request_id(&self) -> String {
        self.get("request_id").to_owned()
    }

    /// What the form carries when it is shown again: the same command, in case it was carried out.
    pub(super) fn keys(&self, visit: &Visit) -> FormKeys {
        visit.again(self.get("request_id"))
    }

    /// What was sent, to be shown again.
    pub(super) fn sent(&self) -> Sent {
        let shown =
            |(name, _): &&(String, String)| !NOT_SHOWN.contains(&name.as_str()) && !is_secret(name);
        Sent { values: self.0.iter().filter(shown).cloned().collect(), ..Sent::default() }
    }
}

impl<S: Sync> FromRequest<S> for SentForm {
    type Rejection = Refused;

    async fn from_request(request: Request, _: &S) -> Result<Self, Refused> {
        let visit = request.extensions().get::<Visit>().cloned().ok_or(Refused::Forged)?;
        let form = Self(fields(request).await?);
        if !visit.has_sent(form.get("form_token")) {
            return Err(Refused::Forged);
        }
        visit.keep(Kept { fields: form.0.clone(), is_ours: true });
        Ok(form)
    }
}

/// Keeps the form that was sent with a request that nobody can answer now.
pub(super) async fn keep(visit: &Visit, request: Request) {
    if let Ok(fields) = fields(request).await {
        visit.keep(Kept { fields, is_ours: false });
    }
}

/// The fields of a form.
async fn fields(request: Request) -> Result<Vec<(String, String)>, Refused> {
    let sent = request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let kind = sent.and_then(|sent| sent.split(';').next()).unwrap_or_default().trim();
    if !kind.eq_ignore_ascii_case("application/x-www-form-urlencoded") {
        return Err(Refused::Forged);
    }
    let arrival = request.extensions().get::<Arrival>().cloned().unwrap_or_default();
    let body = to_bytes(request.into_body(), MAX_FORM_BYTES).await;
    let body = body.map_err(|_| match arrival.failed() {
        Some(status) if faults::is(&status, ErrorReason::RequestIncomplete) => Refused::TooSlow,
        Some(status) => status.into(),
        None => Refused::TooLarge,
    })?;
    Ok(form_urlencoded::parse(&body).into_owned().collect())
}
