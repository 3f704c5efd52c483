//! A request for a page: who makes it, how they read, and what they may call.

use std::net::IpAddr;
use std::sync::{Arc, OnceLock};

use axum::extract::{FromRequestParts, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use console::parts::FormKeys;
use console::reader::{Reader, Theme};
use http::request::Parts;
use http::{HeaderMap, Method, StatusCode, header};
use tonic::Status;
use url::form_urlencoded;

use super::answers::{self, Refused};
use super::calls::{self, Calls};
use super::cookies::{self, cookie};
use super::form_token::{self, Holder};
use super::session::with_asked;
use super::{Console, faults, forms, origin};
use crate::access::{Caller, Role, Session, Unavailable};
use crate::api::limits::SHOW_PAGE;
use crate::api::peer::ClientAddress;
use crate::api::services::InProcess;
use crate::live::Turn;
use domain::UserId;

/// The longest text in an address that is taken, in bytes.
const MAX_QUERY_BYTES: usize = 4 * 1024;

/// A request for a page. Cheap to clone.
#[derive(Clone)]
pub(super) struct Visit(Arc<Visiting>);

struct Visiting {
    calls: Calls,
    reader: Reader,
    path: String,
    query: Vec<(String, String)>,
    takes_gzip: bool,
    /// The form that was sent, once it has arrived.
    form: OnceLock<Kept>,
    /// Why it is not known whether the command of the form was carried out, or why it was not yet.
    unsettled: OnceLock<Refused>,
}

/// A form that was sent, kept to be sent again: whatever cannot be shown, its fields are not lost, nor is the id by
/// which its command is recognised.
pub(super) struct Kept {
    pub(super) fields: Vec<(String, String)>,
    /// Whether its form token was looked at, and is good.
    pub(super) is_ours: bool,
}

/// Who has signed in.
#[derive(Clone)]
pub(super) struct SignedIn {
    pub(super) user_id: UserId,
    pub(super) session_id: Arc<str>,
    pub(super) role: Role,
}

impl Visit {
    pub(super) fn console(&self) -> &Console {
        &self.0.calls.console
    }

    pub(super) fn reader(&self) -> &Reader {
        &self.0.reader
    }

    /// The path of the page.
    pub(super) fn path(&self) -> &str {
        &self.0.path
    }

    /// The path with what was asked for, without what only said what had been done.
    pub(super) fn here(&self) -> String {
        let asked = self.0.query.iter().filter(|(name, _)| !matches!(&**name, "done" | "at"));
        with_asked(&self.0.path, asked.cloned())
    }

    pub(super) fn takes_gzip(&self) -> bool {
        self.0.takes_gzip
    }

    /// A value in the address; empty if it is not there.
    pub(super) fn query(&self, name: &str) -> &str {
        let found = self.0.query.iter().find(|(given, _)| given == name);
        found.map_or("", |(_, value)| value)
    }

    /// Counts a visit by a link with this code. People who have signed in have come before.
    pub(super) fn count_visit(&self, code: &str) {
        if let (None, Some(address)) = (self.session(), self.0.calls.address) {
            self.console().context().visits.count(code, address);
        }
    }

    /// The path of the page with its query, as it was asked for.
    pub(super) fn address(&self) -> String {
        let mut query = form_urlencoded::Serializer::new(String::new());
        let query = query.extend_pairs(&self.0.query).finish();
        if query.is_empty() { self.path().into() } else { format!("{}?{query}", self.path()) }
    }

    /// Keeps a form that was sent.
    pub(super) fn keep(&self, form: Kept) {
        // There is one for each request.
        let _ = self.0.form.set(form);
    }

    /// The form that was sent.
    pub(super) fn kept(&self) -> Option<&Kept> {
        self.0.form.get()
    }

    /// Why it is not known whether the command of the form that was sent was carried out, or why it has to wait.
    pub(super) fn unsettled(&self) -> Option<&Refused> {
        self.0.unsettled.get()
    }

    /// Makes a call for the visitor.
    pub(super) async fn call<M: InProcess>(&self, message: M) -> Result<M::Answer, Status> {
        let answer = self.0.calls.call(message).await;
        if let Err(status) = &answer
            && calls::is_command(M::RULE)
            && faults::leaves_open(status)
            && self.kept().is_some_and(Kept::is_command)
        {
            let _ = self.0.unsettled.set(status.clone().into());
        }
        answer
    }

    /// Makes a call that is a part of one that was counted.
    pub(super) async fn look<M: InProcess>(&self, message: M) -> Result<M::Answer, Status> {
        self.0.calls.look(message).await
    }

    /// A turn to read anew what a live page shows.
    pub(super) async fn turn(&self) -> Turn {
        let session_id = self.session().map(|session| session.session_id.clone());
        self.console().turn(&session_id.unwrap_or_default()).await
    }

    /// The address that counts as one visitor's, if it is known.
    pub(super) fn counted_address(&self) -> Option<IpAddr> {
        self.0.calls.address.map(ClientAddress::counted)
    }

    fn session(&self) -> Option<&Arc<Session>> {
        self.0.calls.caller.as_ref().and_then(|caller| caller.credential.session())
    }

    /// Who has signed in; nobody is sent to sign in.
    pub(super) fn signed_in(&self) -> Result<SignedIn, Refused> {
        let session = self.session().ok_or(Refused::SignIn)?;
        Ok(SignedIn {
            user_id: session.user_id.clone(),
            session_id: session.session_id.clone(),
            role: session.role,
        })
    }

    /// The visitor, who must be an operator or an admin.
    pub(super) fn operator(&self) -> Result<SignedIn, Refused> {
        let signed_in = self.signed_in()?;
        match signed_in.role {
            Role::Operator | Role::Admin => Ok(signed_in),
            Role::User | Role::Service => Err(Refused::Denied),
        }
    }

    /// What makes form tokens good for this visitor.
    fn holder(&self) -> Holder {
        match self.session() {
            Some(session) => Holder::Session(session.session_id.to_string()),
            None => Holder::Door((self.console().context().environment.now)()),
        }
    }

    /// A form token.
    pub(super) fn form_token(&self) -> String {
        let context = self.console().context();
        let mut mask = [0; 32];
        (context.environment.random)(&mut mask);
        form_token::token(&context.access, &self.holder(), mask)
    }

    /// Whether a form token is good for this visitor.
    pub(super) fn has_sent(&self, token: &str) -> bool {
        form_token::is_good(&self.console().context().access, &self.holder(), token)
    }

    /// What a form carries that is no command.
    pub(super) fn form(&self) -> FormKeys {
        FormKeys { form_token: self.form_token(), request_id: String::new() }
    }

    /// What the form of a command carries. Sent twice, it is the same command.
    pub(super) fn command(&self) -> FormKeys {
        let request_id = self.console().context().environment.fresh_id();
        FormKeys { form_token: self.form_token(), request_id }
    }

    /// What the form of a command carries that was sent before with this request id, and is shown again.
    pub(super) fn again(&self, request_id: &str) -> FormKeys {
        FormKeys { form_token: self.form_token(), request_id: request_id.into() }
    }

    /// The token of what the visitor has just changed: what is read with it, shows the change.
    pub(super) fn changed(&self) -> String {
        self.query("at").into()
    }
}

impl Kept {
    /// What was sent in a field; empty if it was not in the form.
    pub(super) fn get(&self, name: &str) -> &str {
        self.fields.iter().find(|(given, _)| given == name).map_or("", |(_, value)| value)
    }

    /// Whether it has an id by which its command is recognised.
    pub(super) fn is_command(&self) -> bool {
        !self.get("request_id").is_empty()
    }
}

impl<S: Sync> FromRequestParts<S> for Visit {
    type Rejection = StatusCode;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, StatusCode> {
        // Every route of a page has the layer.
        parts.extensions.get().cloned().ok_or(StatusCode::INTERNAL_SERVER_ERROR)
    }
}

/// The layer around all pages.
pub(super) async fn visiting(
    State(console): State<Console>,
    mut request: Request,
    next: Next,
) -> Response {
    let context = console.context();
    let is_ours =
        origin::is_ours(request.method(), request.headers(), context.settings.public_url.as_ref());
    let address = request.extensions().get::<ClientAddress>().copied();
    let found = identified(&console, request.headers(), address).await;
    let (caller, refused) = match found {
        Ok(caller) => (caller, None),
        Err(refused) => (None, Some(refused)),
    };
    let calls = Calls {
        console,
        caller,
        address,
        user_agent: request
            .headers()
            .get(header::USER_AGENT)
            .and_then(|value| value.to_str().ok().and_then(|text| text.parse().ok())),
    };
    let is_text = is_text(request.uri().path());
    let visit = Visit(Arc::new(Visiting {
        reader: reader(&calls.console, request.headers()),
        path: request.uri().path().to_owned(),
        query: query(request.uri().query().unwrap_or_default()),
        takes_gzip: answers::takes_gzip(request.headers()),
        form: OnceLock::new(),
        unsettled: OnceLock::new(),
        calls,
    }));
    let response = match refused {
        Some(refused) => {
            if is_ours && request.method() == Method::POST {
                forms::keep(&visit, request).await;
            }
            refused.into_response()
        }
        None if !is_ours => Refused::Elsewhere.into_response(),
        None if !is_text => Refused::NotFound.into_response(),
        None => {
            request.extensions_mut().insert(visit.clone());
            next.run(request).await
        }
    };
    answers::finished(&visit, response).await
}

/// Whether a path is text: its bytes may be any, and what they are no text of does not exist.
fn is_text(path: &str) -> bool {
    // What is no UTF-8 is decoded as this character, which is in no id.
    let is_odd = |text: &str| text.contains(char::REPLACEMENT_CHARACTER);
    !form_urlencoded::parse(path.as_bytes()).any(|(name, value)| is_odd(&name) || is_odd(&value))
}

/// Who comes. Those who are not known by their cookie are counted by their address before it is looked up.
async fn identified(
    console: &Console,
    headers: &HeaderMap,
    address: Option<ClientAddress>,
) -> Result<Option<Caller>, Refused> {
    let (access, limits) = (&console.context().access, &console.context().limits);
    let cookie = cookie(headers, console.session_cookie());
    let unavailable = |_: Unavailable| Refused::Unavailable;
    if let Some(cookie) = cookie
        && let Some(caller) = access.recall_cookie(cookie).await.map_err(unavailable)?
    {
        return Ok(Some(caller));
    }
    if let Err(limited) = limits.admit_page(address, SHOW_PAGE) {
        return Err(Refused::TooMany(limited.pause().await));
    }
    match cookie {
        Some(cookie) => access.identify_cookie(cookie).await.map_err(unavailable),
        None => Ok(None),
    }
}

fn reader(console: &Console, headers: &HeaderMap) -> Reader {
    let languages = headers.get(header::ACCEPT_LANGUAGE).and_then(|value| value.to_str().ok());
    let theme = Theme::parse(cookie(headers, cookies::THEME).unwrap_or_default());
    // The script encodes the name as part of an address.
    let zone = cookie(headers, cookies::ZONE).map(|zone| zone.replace("%2F", "/"));
    Reader::new(languages.unwrap_or_default(), zone.as_deref(), theme, console.root())
}

fn query(text: &str) -> Vec<(String, String)> {
    let text = if text.len() > MAX_QUERY_BYTES { "" } else { text };
    form_urlencoded::parse(text.as_bytes()).into_owned().collect()
}
