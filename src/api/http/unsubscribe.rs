//! The page that a mail links to for switching mails off, and the request behind its buttons.
//!
//! Programs that read mail open links on their own, so opening the page changes nothing. Mail programs with a button of
//! their own send the same request (RFC 8058). The token is all that the request needs: no cookie and no sign-in, and
//! so there is nothing that another site could abuse.

use axum::body::Bytes;
use axum::extract::State as Extracted;
use axum::response::Response;
use http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use url::form_urlencoded;

use super::State;
use super::form::Form;
use crate::mails::unsubscribing::Unsubscribing;
use crate::store::{StoreError, in_time, mails};
use domain::{MailKind, UserId};

/// The page may send its own form.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
);

/// The page with the buttons.
pub(super) async fn show(
    Extracted(state): Extracted<State>,
    uri: Uri,
    headers: HeaderMap,
) -> Response {
    let Some((_, kind)) = read(&state.unsubscribing, &uri) else { return invalid(&headers) };
    // There is one welcome. Whoever does not want it wants no mails.
    let of_kind = if kind == MailKind::Welcome {
        String::new()
    } else {
        format!(
            "<button name=\"which\" value=\"kind\">No more mails about {}</button>\n",
            about(kind)
        )
    };
    let buttons = format!(
        "<form method=\"post\">\n{of_kind}\
         <button name=\"which\" value=\"all\">No more mails at all</button>\n</form>"
    );
    answer(&headers, StatusCode::OK, "Unsubscribe", "Which mails do you no longer want?", &buttons)
}

/// Switches off the mails of the token's kind or, if the form or the token says so, all.
pub(super) async fn unsubscribe(
    Extracted(state): Extracted<State>,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let Some((user_id, kind)) = read(&state.unsubscribing, &uri) else { return invalid(&headers) };
    let all = form_urlencoded::parse(&body).any(|(name, value)| name == "which" && value == "all");
    let kinds: &[MailKind] =
        if all || kind == MailKind::Welcome { &MailKind::OPTIONAL } else { &[kind] };
    match switch_off(&state, &user_id, kinds).await {
        Ok(()) => {
            let detail = if kinds.len() > 1 {
                "You will get no more mails, except those that you ask for.".into()
            } else {
                format!("You will get no more mails about {}.", about(kind))
            };
            answer(&headers, StatusCode::OK, "Unsubscribed", &detail, "")
        }
        Err(error) => {
            tracing::warn!(%error, "a request to unsubscribe could not be carried out");
            let detail = "This does not work at the moment. Please try again later.";
            answer(&headers, StatusCode::SERVICE_UNAVAILABLE, "Not now", detail, "")
        }
    }
}

async fn switch_off(state: &State, user_id: &UserId, kinds: &[MailKind]) -> Result<(), StoreError> {
    let unwanted: Vec<(MailKind, bool)> = kinds.iter().map(|kind| (*kind, false)).collect();
    in_time(async {
        let mut connection = state.database.pool().acquire().await?;
        mails::set_wanted(&mut connection, user_id, &unwanted).await
    })
    .await
}

/// Whom the token in a link is of, and which kind of mail it is about.
fn read(unsubscribing: &Unsubscribing, uri: &Uri) -> Option<(UserId, MailKind)> {
    let query = uri.query().unwrap_or_default();
    let token = form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "token")?.1;
    unsubscribing.read(&token).filter(|(_, kind)| kind.is_optional())
}

fn about(kind: MailKind) -> &'static str {
    match kind {
        MailKind::Welcome => "new accounts",
        MailKind::Referral => "people whom you refer",
        MailKind::Conversion => "rewards for referrals",
        MailKind::Tier => "tiers",
        MailKind::ConfirmEmail
        | MailKind::PasswordReset
        | MailKind::EmailChanged
        | MailKind::PasswordChanged
        | MailKind::SecondFactorRemoved => "your account",
    }
}

fn invalid(headers: &HeaderMap) -> Response {
    let detail = "This link is not complete. Please copy it from the mail once more.";
    answer(headers, StatusCode::NOT_FOUND, "Not found", detail, "")
}

/// A page, for programs a line of text. None of the texts comes from outside.
fn answer(
    headers: &HeaderMap,
    code: StatusCode,
    title: &str,
    detail: &str,
    form: &str,
) -> Response {
    let wanted = Form::asked_for(headers);
    let body = match wanted {
        Form::Html => format!(
            "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
             <meta name=\"color-scheme\" content=\"light dark\">\n\
             <meta name=\"robots\" content=\"noindex\">\n<title>{title}</title>\n\
             <h1>{title}</h1>\n<p>{detail}</p>\n{form}\n</html>\n"
        ),
        Form::Json => format!("{}\n", serde_json::json!({ "title": title, "detail": detail })),
        Form::Text => format!("{title}. {detail}\n"),
    };
    let mut response = wanted.answer(code, body);
    response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, POLICY);
    response
}
