//! The account of a person.

use axum::Router;
use axum::response::Response;
use axum::routing::{get, post};
use console::pages::profile::{Part, View, kinds, page};
use console::parts::Sent;
use console::text;
use console::text::faults::NOT_THE_USERNAME;
use http::StatusCode;
use tokio_stream::StreamExt;
use tonic::Status;

use super::Console;
use super::answers::{Refused, download};
use super::faults;
use super::forms::SentForm;
use super::participant::part;
use super::visit::Visit;
use crate::api::pb::{self, ErrorReason};

pub(super) fn routes() -> Router<Console> {
    Router::new()
        .route("/profile", get(show))
        .route("/profile/names", post(names))
        .route("/profile/email", post(email))
        .route("/profile/confirmation", post(confirmation))
        .route("/profile/password", post(password))
        .route("/profile/mails", post(mails))
        .route("/profile/payout", post(payout))
        .route("/profile/sessions", post(end_session))
        .route("/profile/export", post(export))
        .route("/profile/erase", post(erase))
}

async fn show(visit: Visit) -> Result<Response, Refused> {
    profile(&visit, StatusCode::OK, None).await
}

async fn profile(
    visit: &Visit,
    code: StatusCode,
    sent: Option<(Part, Sent)>,
) -> Result<Response, Refused> {
    let person = visit.person().await?;
    let request = pb::ListSessionsRequest { user_id: person.user_id() };
    let sessions = visit.call(request).await.map(|answer| answer.sessions);
    let rules = visit.console().password_rules();
    let keys = || visit.command();
    let view = View {
        user: &person.user,
        sessions: part(sessions),
        keys: &keys,
        sent,
        rules: &rules,
        done: text::done(visit.query("done")),
    };
    let form_token = visit.form_token();
    let sidebar = person.sidebar(visit, &form_token);
    Ok(visit.page_with(code, page(&view, &sidebar, visit.reader())))
}

/// The page again, with what is wrong with what was sent.
async fn again(
    visit: &Visit,
    form: &SentForm,
    of: Part,
    status: &Status,
    names: &[(&str, &str)],
) -> Result<Response, Refused> {
    let (code, sent) = faults::placed(status, form.sent(), names);
    profile(visit, code, Some((of, sent))).await
}

/// The same of a form with the present password in a field: that it is wrong stands there.
async fn again_with_password(
    visit: &Visit,
    form: &SentForm,
    of: Part,
    status: &Status,
    names: &[(&str, &str)],
    field: &str,
) -> Result<Response, Refused> {
    if !faults::is(status, ErrorReason::LoginFailed) {
        return again(visit, form, of, status, names).await;
    }
    let mut sent = form.sent();
    sent.faults.push((field.into(), console::text::profile::WRONG_PASSWORD.into()));
    profile(visit, faults::code(status), Some((of, sent))).await
}

async fn names(visit: Visit, form: SentForm) -> Result<Response, Refused> {
    let request = pb::UpdateProfileRequest {
        user_id: visit.signed_in()?.user_id.to_string(),
        username: Some(form.text("username")),
        display_name: Some(form.text("display_name")),
        request_id: form.request_id(),
        ..Default::default()
    };
    match visit.call(request).await {
        Ok(saved) => Ok(visit.see_other("/profile", "saved", &saved.consistency_token)),
        Err(status) => again(&visit, &form, Part::Names, &status, &[]).await,
    }
}

async fn email(visit: Visit, form: SentForm) -> Result<Response, Refused> {
    let request = pb::UpdateProfileRequest {
        user_id: visit.signed_in()?.user_id.to_string(),
        email: Some(form.text("email")),
        password: form.get("email_password").into(),
        request_id: form.request_id(),
        ..Default::default()
    };
    match visit.call(request).await {
        Ok(saved) => {
            let done = if saved.confirmation_mailed { "email" } else { "saved" };
            Ok(visit.see_other("/profile", done, &saved.consistency_token))
        }
        Err(status) => {
            let names = [("password", "email_password")];
            again_with_password(&visit, &form, Part::Email, &status, &names, "email_password").await
        }
    }
}

/// Mails the link that confirms the address of the visitor.
async fn confirmation(visit: Visit, _: SentForm) -> Result<Response, Refused> {
    let person = visit.person().await?;
    let request = pb::ResendConfirmationRequest { login: person.user.email };
    match visit.call(request).await {
        Ok(_) => Ok(visit.see_other("/profile", "confirmation", "")),
        Err(status) => {
            let (code, sent) = faults::placed(&status, Sent::default(), &[]);
            profile(&visit, code, Some((Part::Email, sent))).await
        }
    }
}

async fn password(visit: Visit, form: SentForm) -> Result<Response, Refused> {
    visit.signed_in()?;
    let request = pb::ChangePasswordRequest {
        old_password: form.get("old_password").into(),
        new_password: form.get("new_password").into(),
    };
    match visit.call(request).await {
        Ok(_) => Ok(visit.see_other("/profile", "password", "")),
        Err(status) => {
            again_with_password(&visit, &form, Part::Password, &status, &[], "old_password").await
        }
    }
}

async fn mails(visit: Visit, form: SentForm) -> Result<Response, Refused> {
    let is_on = |name| Some(form.is_on(name));
    let preferences = pb::MailPreferences {
        welcome: is_on("welcome"),
        referral: is_on("referral"),
        conversion: is_on("conversion"),
        tier: is_on("tier"),
        expiry: is_on("expiry"),
        reversal: is_on("reversal"),
        release: is_on("release"),
    };
    debug_assert_eq!(kinds(&preferences).len(), 7, "each kind has a box");
    let request = pb::UpdateProfileRequest {
        user_id: visit.signed_in()?.user_id.to_string(),
        mail_preferences: Some(preferences),
        request_id: form.request_id(),
        ..Default::default()
    };
    match visit.call(request).await {
        Ok(saved) => Ok(visit.see_other("/profile", "saved", &saved.consistency_token)),
        Err(status) => again(&visit, &form, Part::Mails, &status, &[]).await,
    }
}

/// Says how the visitor is paid or, with nothing in the fields, that nobody is to know any more.
async fn payout(visit: Visit, form: SentForm) -> Result<Response, Refused> {
    let request = pb::SetPayoutMethodRequest {
        user_id: visit.signed_in()?.user_id.to_string(),
        // Codes are in lower case; nobody has to know that.
        kind: form.text("kind").to_lowercase(),
        reference: form.text("reference"),
        request_id: form.request_id(),
    };
    match visit.call(request).await {
        Ok(saved) => Ok(visit.see_other("/profile", "saved", &saved.consistency_token)),
        Err(status) => again(&visit, &form, Part::Payout, &status, &[]).await,
    }
}

async fn end_session(visit: Visit, form: SentForm) -> Result<Response, Refused> {
    let request = pb::LogoutRequest {
        session_id: form.get("session_id").into(),
        user_id: visit.signed_in()?.user_id.to_string(),
    };
    let ended = visit.call(request).await?;
    Ok(visit.see_other("/profile", "session", &ended.consistency_token))
}

/// Sends everything that is stored about the visitor. A form, as the log says that it was asked for.
async fn export(visit: Visit, _: SentForm) -> Result<Response, Refused> {
    let user_id = visit.signed_in()?.user_id.to_string();
    let name = format!("{user_id}.json");
    let request = pb::ExportUserRequest { user_id, ..Default::default() };
    let parts = visit.call(request).await?;
    // Nobody takes a file that breaks off for a whole one: the connection is cut then.
    let parts = parts.map(|part| part.map(|part| part.json_part));
    let body = axum::body::Body::from_stream(parts);
    Ok(download(&name, "application/json", body))
}

async fn erase(visit: Visit, form: SentForm) -> Result<Response, Refused> {
    let person = visit.person().await?;
    let username = person.user.user.as_ref().map_or("", |user| &user.username);
    if form.text("confirm") != username {
        let faults = vec![("confirm".into(), NOT_THE_USERNAME.into())];
        let sent = Sent { faults, ..Sent::default() };
        let code = StatusCode::UNPROCESSABLE_ENTITY;
        return profile(&visit, code, Some((Part::Erase, sent))).await;
    }
    let request = pb::EraseUserRequest {
        user_id: person.user_id(),
        forfeit_balances: form.is_on("forfeit_balances"),
        request_id: form.request_id(),
    };
    match visit.call(request).await {
        Ok(_) => Ok(visit.forget(visit.see_other("/sign-in?erased=1", "", ""))),
        Err(status) => again(&visit, &form, Part::Erase, &status, &[]).await,
    }
}
