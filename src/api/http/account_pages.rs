//! The pages that the links in mails lead to: for confirming an address, and for choosing another password.
//!
//! Opening a page changes nothing, because scanners of mails open links; the button on the page does. The pages need no
//! script and no cookie: what counts is the token, which the link carries in its query. No page names another site,
//! and browsers are told to send no referrer and to keep nothing, so that the token stays between the mail and here.

use std::fmt::Write;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State as Extracted};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use console::pages::door::mailed::{Form, View};
use http::{HeaderMap, StatusCode, Uri, header};
use tonic::{Code, Status};
use tonic_types::StatusExt;
use url::form_urlencoded;

use super::State;
use super::refusals::{self, whole_seconds};
use crate::api::Context;
use crate::api::account::{confirmation, password_reset};
use crate::api::console::{POLICY, mailed_page, password_rules};
use crate::api::errors::reason_name;
use crate::api::pb::ErrorReason;
use crate::api::transport::Arrival;
use crate::store::{Actor, Door};

/// The longest form that is read, in bytes: a token and a password, each letter of which takes up to 12 bytes.
const MAX_FORM_BYTES: usize = 16 * 1024;
/// The longest token that is put into a page, in characters.
const MAX_TOKEN_CHARS: usize = 256;

pub(super) fn routes() -> Router<State> {
    Router::new()
        .route("/confirm-email", get(ask_to_confirm).post(confirm))
        .route("/reset-password", get(ask_for_password).post(reset))
}

/// What a page says, and what can be done on it.
struct Page<'a> {
    code: StatusCode,
    title: &'static str,
    text: &'a str,
    /// What can be done, with the token of the link.
    form: Option<(Form, &'a str)>,
    /// Whether it is time to sign in.
    is_done: bool,
}

impl Page<'_> {
    fn answer(self, context: &Context) -> Response {
        let Self { code, title, text, form, is_done } = self;
        let rules = password_rules(context.access.passwords().settings());
        let view = View { title, words: text, form, rules: &rules, choices: &[], is_done };
        let mut response = (code, Html(mailed_page(context, &view))).into_response();
        response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, POLICY);
        response
    }
}

async fn ask_to_confirm(Extracted(state): Extracted<State>, uri: Uri) -> Response {
    const TITLE: &str = "Confirm your e\u{2011}mail address";
    let context = &state.context;
    let Some(token) = token_of(&uri) else { return incomplete(context, TITLE) };
    let (code, form) = (StatusCode::OK, Some((Form::Confirm, &*token)));
    let Some(username) = confirmation::username_of_sign_up(context, &token).await else {
        let text = "Press the button to confirm that this address is yours.";
        return Page { code, title: TITLE, text, form, is_done: false }.answer(context);
    };
    // Anybody can sign up with the address of somebody else, who would confirm an account that is not theirs.
    let text = format!(
        "Somebody, probably you, has signed up with this address and the username {username}. Press the button to \
         confirm that the address is yours, and the account is ready. If you have not chosen this username, close the \
         page: somebody else knows the password of the account."
    );
    Page { code, title: "Confirm your sign-up", text: &text, form, is_done: false }.answer(context)
}

async fn confirm(Extracted(state): Extracted<State>, request: Request) -> Response {
    const TITLE: &str = "Confirm your e\u{2011}mail address";
    let fields = match sent(request).await {
        Ok(fields) => fields,
        Err(refused) => return refused,
    };
    let (context, token) = (&state.context, field(&fields, "token"));
    let username = confirmation::username_of_sign_up(context, token).await;
    let confirmed = confirmation::confirm(context, token, Actor::ANONYMOUS, Door::PAGE).await;
    let code = StatusCode::OK;
    match (confirmed, username) {
        (Ok(_), Some(username)) => {
            let text = format!(
                "Thank you. Your e-mail address is confirmed, and your account is ready: sign in with the username \
                 {username} and your password. You can close this page."
            );
            let title = "Your account is ready";
            Page { code, title, text: &text, form: None, is_done: true }.answer(context)
        }
        (Ok(_), None) => {
            let text = "Thank you. Your e-mail address is confirmed; you can close this page.";
            Page { code, title: "Confirmed", text, form: None, is_done: true }.answer(context)
        }
        (Err(error), _) => refused(context, TITLE, &error.0, None),
    }
}

async fn ask_for_password(Extracted(state): Extracted<State>, uri: Uri) -> Response {
    const TITLE: &str = "Choose another password";
    let context = &state.context;
    let Some(token) = token_of(&uri) else { return incomplete(context, TITLE) };
    // A link that was used, or is too old, must not ask for a password that it cannot set.
    if let Err(error) = password_reset::check(context, &token).await {
        return refused(context, TITLE, &error.0, None);
    }
    let (code, form) = (StatusCode::OK, Some((Form::Password, &*token)));
    let text = "Setting another password ends all sessions of your account.";
    Page { code, title: TITLE, text, form, is_done: false }.answer(context)
}

async fn reset(Extracted(state): Extracted<State>, request: Request) -> Response {
    const TITLE: &str = "Choose another password";
    let fields = match sent(request).await {
        Ok(fields) => fields,
        Err(refused) => return refused,
    };
    let (token, password) = (field(&fields, "token"), field(&fields, "new_password"));
    let context = &state.context;
    let done = password_reset::reset(context, token, password, Actor::ANONYMOUS, Door::PAGE).await;
    match done {
        Ok(removed_factor) => {
            let text = if removed_factor {
                "Your password is the new one. Sign in with it. The second factor of the account was removed, \
                 because it had been set up before your address was confirmed."
            } else {
                "Your password is the new one. Sign in with it."
            };
            let code = StatusCode::OK;
            Page { code, title: "Done", text, form: None, is_done: true }.answer(context)
        }
        Err(error) => {
            // A password that is too weak can be tried again with the same token.
            let again = (error.is(ErrorReason::InvalidField) && is_token(token))
                .then_some((Form::Password, token));
            refused(context, TITLE, &error.0, again)
        }
    }
}

/// Whether a text has the form of a token, which needs no escaping.
fn is_token(text: &str) -> bool {
    let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    (1..=MAX_TOKEN_CHARS).contains(&text.len()) && text.bytes().all(is_letter)
}

/// The token in the link.
fn token_of(uri: &Uri) -> Option<String> {
    let query = uri.query()?;
    let (_, token) = form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "token")?;
    is_token(&token).then(|| token.into_owned())
}

/// The fields of a form that was sent.
async fn sent(request: Request<Body>) -> Result<Vec<(String, String)>, Response> {
    if !is_form(request.headers()) {
        let code = StatusCode::UNSUPPORTED_MEDIA_TYPE;
        return Err(refusals::refuse(request.headers(), code));
    }
    let headers = request.headers().clone();
    let arrival = request.extensions().get::<Arrival>().cloned().unwrap_or_default();
    let Ok(body) = to_bytes(request.into_body(), MAX_FORM_BYTES).await else {
        let advice = "Send the form of the page with shorter texts.";
        return Err(match arrival.failed() {
            Some(status) => refusals::incomplete(&headers, &status),
            None => refusals::body_too_large(&headers, MAX_FORM_BYTES, advice),
        });
    };
    Ok(form_urlencoded::parse(&body).into_owned().collect())
}

fn is_form(headers: &HeaderMap) -> bool {
    let sent = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let kind = sent.and_then(|sent| sent.split(';').next()).unwrap_or_default().trim();
    kind.eq_ignore_ascii_case("application/x-www-form-urlencoded")
}

fn field<'a>(fields: &'a [(String, String)], name: &str) -> &'a str {
    fields.iter().find(|(given, _)| given == name).map_or("", |(_, value)| value)
}

fn incomplete(context: &Context, title: &'static str) -> Response {
    let text = "The link is not complete. Copy all of it from the mail into the address line.";
    let code = StatusCode::BAD_REQUEST;
    Page { code, title, text, form: None, is_done: false }.answer(context)
}

/// The page of a failure, with the form to try again, if that can help.
fn refused(
    context: &Context,
    title: &'static str,
    status: &Status,
    form: Option<(Form, &str)>,
) -> Response {
    let code = match status.code() {
        Code::InvalidArgument => StatusCode::BAD_REQUEST,
        Code::NotFound => StatusCode::NOT_FOUND,
        Code::AlreadyExists | Code::Aborted => StatusCode::CONFLICT,
        Code::FailedPrecondition => StatusCode::GONE,
        Code::ResourceExhausted => StatusCode::TOO_MANY_REQUESTS,
        Code::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    };
    let text = in_words(status);
    let page = Page { code, title, text: &text, form, is_done: false };
    let mut response = page.answer(context);
    if let Some(wait) = status.get_details_retry_info().and_then(|retry| retry.retry_delay) {
        response.headers_mut().insert(header::RETRY_AFTER, whole_seconds(wait));
    }
    response
}

/// The failure for people: what is wrong with the fields, or else the reason in words.
fn in_words(status: &Status) -> String {
    let details = status.get_error_details();
    let reason = details.error_info().map(|info| info.reason.as_str()).unwrap_or_default();
    let is = |wanted: ErrorReason| reason == reason_name(wanted);
    let mut text = String::new();
    // Other reasons, as that an address is taken, also name fields, which are not those of the page.
    let request = details.bad_request().filter(|_| is(ErrorReason::InvalidField));
    for violation in request.iter().flat_map(|request| &request.field_violations) {
        let what = match violation.field.as_str() {
            "token" => "The token of the link",
            _ => "The password",
        };
        let _ = write!(text, "{what} {}. ", violation.description);
    }
    if !text.is_empty() {
        return text;
    }
    let text = if is(ErrorReason::MailedTokenUnknown) {
        "The link is wrong. Copy all of it from the mail, or ask for another mail."
    } else if is(ErrorReason::MailedTokenExpired) {
        "The time of the link is over. Ask for another mail."
    } else if is(ErrorReason::MailedTokenUsed) {
        "The link was used already, or a later one took its place. If it was not you, ask for another mail."
    } else if is(ErrorReason::UsernameTaken) {
        "Somebody else has taken the username meanwhile. Sign up again, with another one; you get another mail then."
    } else if is(ErrorReason::ReferralCodeNotFound)
        || is(ErrorReason::CodeExhausted)
        || is(ErrorReason::ReferrerLimitReached)
    {
        "The referral code cannot be used now. Sign up again, with another code or without one; you get another mail \
         then. Or try this link again later."
    } else if is(ErrorReason::EmailTaken) {
        "Another account has this e-mail address already."
    } else {
        "That did not work. Try again in a moment."
    };
    text.into()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]
mod tests {
    use super::*;

    #[test]
    fn only_what_can_be_a_token_gets_into_a_page() {
        let token = |query: &str| token_of(&format!("/confirm-email{query}").parse().unwrap());
        assert_eq!(token("?token=aB_-9").as_deref(), Some("aB_-9"));
        assert_eq!(token("?utm=1&token=x&y=2").as_deref(), Some("x"));
        for query in ["", "?", "?token=", "?token=%22%3E%3Cscript%3E", "?token=a%20b", "?Token=x"] {
            assert_eq!(token(query), None, "{query}");
        }
        let long = "x".repeat(MAX_TOKEN_CHARS + 1);
        assert_eq!(token(&format!("?token={long}")), None);
    }
}
