//! Pages for those who have not signed in, and what leads there.

pub(super) mod forgot;
pub(super) mod front;
pub(super) mod register;
pub(super) mod sign_in;

use axum::response::Response;
use console::reader::Theme;
use http::{HeaderMap, header};

use super::answers::Refused;
use super::cookies::THEME;
use super::forms::SentForm;
use super::session::is_local;
use super::visit::Visit;
use crate::api::errors::ApiError;
use crate::api::pb;

/// Signs the visitor out: the session ends, with all its open streams.
pub(super) async fn sign_out(visit: Visit, _: SentForm) -> Result<Response, Refused> {
    let signed_in = visit.signed_in()?;
    let request = pb::LogoutRequest {
        session_id: signed_in.session_id.to_string(),
        user_id: signed_in.user_id.to_string(),
    };
    visit.call(request).await?;
    Ok(visit.forget(visit.see_other("/sign-in?out=1", "", "")))
}

/// Keeps the chosen theme, and leads back to where it was chosen.
pub(super) async fn choose_theme(visit: Visit, headers: HeaderMap, form: SentForm) -> Response {
    let theme = Theme::parse(form.get("theme"));
    let referrer = headers.get(header::REFERER).and_then(|value| value.to_str().ok());
    let place = referrer.and_then(|referrer| url::Url::parse(referrer).ok());
    let root = visit.reader().root.clone();
    let back = place.as_ref().and_then(|url| url.path().strip_prefix(&*root));
    let back = back.filter(|path| is_local(path)).unwrap_or("/");
    let mut response = visit.see_other(back, "", "");
    if let Some(value) = visit.console().set_preference(THEME, theme.as_str()) {
        response.headers_mut().append(header::SET_COOKIE, value);
    }
    response
}

/// Whether people may sign up by themselves.
fn may_register(visit: &Visit) -> bool {
    visit.console().context().settings.self_registration
}

impl From<ApiError> for Refused {
    fn from(error: ApiError) -> Self {
        Self::from(error.0)
    }
}
