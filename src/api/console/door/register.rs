//! Signing up, with or without an invitation.

use axum::extract::Path;
use axum::response::Response;
use console::pages::door::mailed;
use console::pages::door::register::{Invitation, View, page};
use console::parts::{FormKeys, Sent};
use console::text::door as words;
use http::{HeaderMap, Method, StatusCode};

use crate::api::console::answers::Refused;
use crate::api::console::faults;
use crate::api::console::forms::SentForm;
use crate::api::console::session::is_local;
use crate::api::console::visit::Visit;
use crate::api::pb::{
    CodeInvalidReason, ErrorReason, LoginRequest, RegisterUserRequest, ValidateReferralCodeRequest,
};
use crate::api::visits::is_by_somebody;

/// The longest code that is looked at, in characters.
const MAX_CODE_CHARS: usize = 64;

pub(in crate::api::console) async fn show(visit: Visit) -> Result<Response, Refused> {
    invite(&visit, visit.query("ref"), false).await
}

/// The page that links to share lead to, with the code in the path; links that programs make have it at the end of the
/// query. People whom such a link has brought are counted.
pub(in crate::api::console) async fn join(
    visit: Visit,
    code: Option<Path<String>>,
    method: Method,
    headers: HeaderMap,
) -> Result<Response, Refused> {
    let code = code.map_or_else(|| visit.query("ref").to_owned(), |Path(code)| code);
    invite(&visit, &code, is_by_somebody(&method, &headers)).await
}

/// The form with a code, unless that is empty. Whether it `counts` as a visit.
async fn invite(visit: &Visit, code: &str, counts: bool) -> Result<Response, Refused> {
    let url = visit.console().context().settings.public_url.as_ref();
    let is_shared = is_local(code_path(code).as_str()) && !code.is_empty();
    let url = url.filter(|_| is_shared).map(|url| format!("{url}{}", code_path(code)));
    let (invitation, is_known) = invitation(visit, code).await;
    // One that cannot be used would only be refused: the notice names it, and the form is without it.
    let is_bad = matches!(invitation, Some(Invitation::Bad(_)));
    let sent = Sent::default().or("referral_code", if is_bad { "" } else { code });
    if counts && is_known {
        visit.count_visit(code);
    }
    let keys = visit.command();
    Ok(form(visit, StatusCode::OK, sent, keys, invitation, url.as_deref()))
}

/// The path of an invitation.
fn code_path(code: &str) -> String {
    format!("/join/{code}")
}

pub(in crate::api::console) async fn register(
    visit: Visit,
    sent: SentForm,
) -> Result<Response, Refused> {
    let (username, password) = (sent.text("username"), sent.get("password").to_owned());
    let code = sent.text("referral_code");
    let request = RegisterUserRequest {
        username: username.clone(),
        display_name: sent.text("display_name"),
        email: sent.text("email"),
        password: password.clone(),
        referral_code: code.clone(),
        request_id: sent.request_id(),
        ..Default::default()
    };
    let registered = match visit.call(request).await {
        Ok(registered) => registered,
        Err(status) => {
            let (answer, mut shown) = faults::placed(&status, sent.sent(), &[]);
            place(&status, &mut shown);
            let (invitation, _) = invitation(&visit, &code).await;
            return Ok(form(&visit, answer, shown, sent.keys(&visit), invitation, None));
        }
    };
    if registered.confirmation_mailed {
        let view = mailed::View {
            title: words::CHECK_MAIL,
            words: words::CHECK_MAIL_WORDS,
            form: None,
            rules: &[],
            choices: &[],
            is_done: false,
        };
        return Ok(visit.page(mailed::page(&view, visit.reader())));
    }
    let login = LoginRequest { login: username, password, ..Default::default() };
    Ok(visit.sign_in(login, "/", "welcome").await?)
}

/// Puts what is taken, or what cannot be used, at the field that it is about.
fn place(status: &tonic::Status, sent: &mut Sent) {
    let fields = [
        (ErrorReason::UsernameTaken, "username"),
        (ErrorReason::EmailTaken, "email"),
        (ErrorReason::ReferralCodeNotFound, "referral_code"),
        (ErrorReason::CodeExhausted, "referral_code"),
        (ErrorReason::ReferrerLimitReached, "referral_code"),
    ];
    let found = fields.iter().find(|(reason, _)| faults::is(status, *reason));
    if let Some((_, field)) = found {
        sent.problem = None;
        sent.faults = vec![((*field).into(), faults::told(status))];
    }
}

fn form(
    visit: &Visit,
    answer: StatusCode,
    sent: Sent,
    keys: FormKeys,
    invitation: Option<Invitation>,
    url: Option<&str>,
) -> Response {
    let rules = visit.console().password_rules();
    let view = View {
        sent,
        keys,
        invitation,
        rules: &rules,
        may_register: super::may_register(visit),
        url,
    };
    visit.page_with(answer, page(&view, visit.reader()))
}

/// What a code leads to, and whether it is the code of somebody; nothing if there is none, or if that cannot be known
/// now.
async fn invitation(visit: &Visit, code: &str) -> (Option<Invitation>, bool) {
    if code.is_empty() || code.chars().count() > MAX_CODE_CHARS {
        return (None, false);
    }
    let request = ValidateReferralCodeRequest { referral_code: code.into(), ..Default::default() };
    let Ok(answer) = visit.call(request).await else { return (None, false) };
    let invitation = if answer.valid {
        Invitation::Good {
            name: answer.referrer_display_name.clone(),
            left: answer.remaining_uses,
            offer: answer.offer.clone().unwrap_or_default(),
        }
    } else {
        Invitation::Bad(words::code_is_bad(answer.reason()).into())
    };
    (Some(invitation), answer.reason() != CodeInvalidReason::Unknown)
}
