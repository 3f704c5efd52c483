//! The page that a mail links to for switching mails off, and the request behind its buttons.
//!
//! Programs that read mail open links on their own, so opening the page changes nothing. Mail programs with a button of
//! their own send the same request (RFC 8058). The token is all that the request needs: no cookie and no sign-in, and
//! so there is nothing that another site could abuse.

use axum::body::Bytes;
use axum::extract::State as Extracted;
use axum::response::Response;
use console::pages::door::mailed::View;
use http::{HeaderMap, StatusCode, Uri, header};
use serde_json::json;
use url::form_urlencoded;

use super::State;
use super::form::Form;
use crate::api::console::{POLICY, mailed_page};
use crate::api::errors::ApiError;
use crate::api::pb::ErrorReason;
use crate::engine::Submission;
use crate::mails::unsubscribing::Unsubscribing;
use crate::store::{Actor, Door, StoreError, in_time, mails, own_profile};
use domain::decide::Command;
use domain::{MailKind, UserId};

/// The page with the buttons.
pub(super) async fn show(
    Extracted(state): Extracted<State>,
    uri: Uri,
    headers: HeaderMap,
) -> Response {
    let kind = match known(&state, &uri).await {
        Ok(Some((_, kind))) => kind,
        Ok(None) => return nothing(&state, &headers),
        Err(error) => return not_now(&state, &headers, &error),
    };
    let mut choices = vec![("all", "No more mails at all".to_owned())];
    // There is one welcome. Whoever does not want it wants no mails.
    if kind != MailKind::Welcome {
        choices.insert(0, ("kind", format!("No more mails about {}", about(kind))));
    }
    let detail = "Which mails do you no longer want?";
    answer(&state, &headers, StatusCode::OK, "Unsubscribe", detail, &choices)
}

/// Switches off the mails of the token's kind or, if the form or the token says so, all.
pub(super) async fn unsubscribe(
    Extracted(state): Extracted<State>,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let (user_id, kind) = match known(&state, &uri).await {
        Ok(Some(known)) => known,
        Ok(None) => return nothing(&state, &headers),
        Err(error) => return not_now(&state, &headers, &error),
    };
    let all = form_urlencoded::parse(&body).any(|(name, value)| name == "which" && value == "all");
    let kinds: &[MailKind] =
        if all || kind == MailKind::Welcome { &MailKind::OPTIONAL } else { &[kind] };
    match switch_off(&state, &user_id, kinds).await {
        Ok(false) => nothing(&state, &headers),
        Ok(true) => {
            let detail = if kinds.len() > 1 {
                "You will get no more mails, except those that you ask for.".into()
            } else {
                format!("You will get no more mails about {}.", about(kind))
            };
            answer(&state, &headers, StatusCode::OK, "Unsubscribed", &detail, &[])
        }
        Err(error) => not_now(&state, &headers, &error.0),
    }
}

/// Switches mails of some kinds off, unless they are off. Returns `false` if there is no such user.
async fn switch_off(state: &State, user_id: &UserId, kinds: &[MailKind]) -> Result<bool, ApiError> {
    let unwanted = in_time(mails::unwanted(state.database.pool(), user_id)).await?;
    let kinds: Vec<MailKind> =
        kinds.iter().copied().filter(|kind| !unwanted.contains(kind)).collect();
    // Mail programs repeat their request; nothing changes, so nothing is recorded.
    if kinds.is_empty() {
        return Ok(true);
    }
    let command = Command::Unsubscribe { user_id: user_id.clone(), kinds };
    // Who has the mail is taken for its recipient.
    let submission = Submission::new(command, Actor::user(user_id), Door::PAGE);
    match state.context.engine.execute(submission).await.map_err(ApiError::from) {
        Err(refused) if refused.is(ErrorReason::UserNotFound) => Ok(false),
        done => done.map(|_| true),
    }
}

/// Whom the link is of, and which kind of mail it is about; `None` if the link is wrong, or there is no such user.
async fn known(state: &State, uri: &Uri) -> Result<Option<(UserId, MailKind)>, StoreError> {
    let Some((user_id, kind)) = read(&state.unsubscribing, uri) else { return Ok(None) };
    let profile = in_time(own_profile(state.database.pool(), &user_id)).await?;
    Ok(profile.map(|_| (user_id, kind)))
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
        MailKind::Expiry => "rewards that will expire",
        MailKind::Reversal => "rewards that are taken back",
        MailKind::Release => "rewards that become available",
        MailKind::ConfirmEmail
        | MailKind::ConfirmSignUp
        | MailKind::AccountExists
        | MailKind::PasswordReset
        | MailKind::EmailChanged
        | MailKind::PasswordChanged
        | MailKind::SecondFactorRemoved => "your account",
    }
}

/// The page of a link that is wrong, and of one whose user was erased: nobody learns which.
fn nothing(state: &State, headers: &HeaderMap) -> Response {
    let detail = "There is nothing to unsubscribe: the account is gone, or the link is not complete. \
                  In that case, copy it from the mail once more.";
    answer(state, headers, StatusCode::NOT_FOUND, "Not found", detail, &[])
}

fn not_now(state: &State, headers: &HeaderMap, error: &dyn std::fmt::Display) -> Response {
    tracing::warn!(%error, "a request to unsubscribe could not be carried out");
    let detail = "This does not work at the moment. Please try again later.";
    answer(state, headers, StatusCode::SERVICE_UNAVAILABLE, "Not now", detail, &[])
}

/// A page with a button for each choice; for programs a text with the requests that the buttons make. None of the texts
/// comes from outside.
fn answer(
    state: &State,
    headers: &HeaderMap,
    code: StatusCode,
    title: &str,
    detail: &str,
    choices: &[(&str, String)],
) -> Response {
    let wanted = Form::asked_for(headers);
    let body = match wanted {
        Form::Html => {
            let view =
                View { title, words: detail, form: None, rules: &[], choices, is_done: false };
            mailed_page(&state.context, &view)
        }
        Form::Json => {
            let mut answer = json!({ "title": title, "detail": detail });
            if !choices.is_empty() {
                let choice =
                    |(which, label): &(&str, String)| json!({ "which": which, "label": label });
                answer["choices"] = choices.iter().map(choice).collect();
            }
            format!("{answer}\n")
        }
        Form::Text => {
            let choice =
                |(which, label): &(&str, String)| format!("POST which={which}: {label}.\n");
            format!("{title}. {detail}\n{}", choices.iter().map(choice).collect::<String>())
        }
    };
    let mut response = wanted.answer(code, body);
    response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, POLICY);
    response
}
