//! What pages answer: pages, redirects and refusals, with the headers of all of them.

use std::io::Write as _;
use std::time::Duration;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use console::pages::refused;
use console::parts::PasswordRule;
use console::reader::{Reader, Theme};
use console::text;
use flate2::Compression;
use flate2::write::GzEncoder;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use tonic::{Code, Status};
use tonic_types::StatusExt;
use url::form_urlencoded;

use super::visit::{Kept, Visit};
use super::{Console, faults, forms};
use crate::access::passwords;
use crate::api::Context;
use crate::api::http::refusals::whole_seconds;
use crate::api::pb::ErrorReason;

/// Pages shorter than this are not worth compressing, in bytes.
const LEAST_COMPRESSED: usize = 1_024;

/// Own style and script only, nothing in the page itself, forms to this server only, and in no frame.
pub(in crate::api) const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; \
     form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
);

/// Headers of all pages. They are personal: nothing keeps them. Forms say where they come from, so that the referrer is
/// sent to pages of this server, and to nobody else.
const HEADERS: [(HeaderName, HeaderValue); 6] = [
    (header::CONTENT_SECURITY_POLICY, POLICY),
    (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (header::REFERRER_POLICY, HeaderValue::from_static("same-origin")),
    (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
    (
        HeaderName::from_static("cross-origin-opener-policy"),
        HeaderValue::from_static("same-origin"),
    ),
    (
        HeaderName::from_static("cross-origin-resource-policy"),
        HeaderValue::from_static("same-origin"),
    ),
];

/// Why a page is not shown.
#[derive(Clone)]
pub(super) enum Refused {
    /// A call failed that the page cannot do without.
    Status(Box<Status>),
    /// There is no such page for this visitor.
    NotFound,
    /// The visitor may not see it.
    Denied,
    /// The visitor has to sign in first.
    SignIn,
    /// The form has no good token.
    Forged,
    /// The form was sent from another site.
    Elsewhere,
    /// The form is larger than pages take.
    TooLarge,
    /// The form has not arrived in time.
    TooSlow,
    /// There were too many requests; the next one is admitted after this time.
    TooMany(Duration),
    /// The server cannot know who comes.
    Unavailable,
}

impl From<Status> for Refused {
    fn from(status: Status) -> Self {
        Self::Status(Box::new(status))
    }
}

impl IntoResponse for Refused {
    /// The page itself is made by [`finished`], which knows the visitor.
    fn into_response(self) -> Response {
        let mut response = StatusCode::INTERNAL_SERVER_ERROR.into_response();
        response.extensions_mut().insert(self);
        response
    }
}

impl Refused {
    /// The code of the answer, its title and what it says.
    fn told(&self) -> (StatusCode, &'static str, &'static str) {
        use text::refused as words;
        match self {
            Self::Status(status) => match status.code() {
                Code::NotFound | Code::InvalidArgument => Self::NotFound.told(),
                Code::PermissionDenied => Self::Denied.told(),
                Code::ResourceExhausted => Self::TooMany(Duration::ZERO).told(),
                Code::Unavailable | Code::Aborted | Code::DeadlineExceeded | Code::Cancelled => {
                    Self::Unavailable.told()
                }
                _ => (StatusCode::INTERNAL_SERVER_ERROR, words::BROKEN, words::BROKEN_WORDS),
            },
            Self::NotFound | Self::SignIn => {
                (StatusCode::NOT_FOUND, words::NOT_FOUND, words::NOT_FOUND_WORDS)
            }
            Self::Denied => (StatusCode::FORBIDDEN, words::DENIED, words::DENIED_WORDS),
            Self::Forged => (StatusCode::FORBIDDEN, words::FORGED, words::FORGED_WORDS),
            Self::Elsewhere => (StatusCode::FORBIDDEN, words::ELSEWHERE, words::ELSEWHERE_WORDS),
            Self::TooLarge => {
                (StatusCode::PAYLOAD_TOO_LARGE, words::TOO_LARGE, words::TOO_LARGE_WORDS)
            }
            Self::TooSlow => (StatusCode::REQUEST_TIMEOUT, words::TOO_SLOW, words::TOO_SLOW_WORDS),
            Self::TooMany(_) => {
                (StatusCode::TOO_MANY_REQUESTS, words::TOO_MANY, words::TOO_MANY_WORDS)
            }
            Self::Unavailable => {
                (StatusCode::SERVICE_UNAVAILABLE, words::UNAVAILABLE, words::UNAVAILABLE_WORDS)
            }
        }
    }

    /// Whether it may pass: the same form can be sent again.
    fn may_pass(&self) -> bool {
        match self {
            Self::Status(status) => {
                faults::leaves_open(status)
                    || matches!(status.code(), Code::ResourceExhausted | Code::Aborted)
            }
            Self::TooMany(_) | Self::Unavailable => true,
            _ => false,
        }
    }

    /// The code of the answer to a form, its title and what it says. Neither denies that something was done: the form
    /// may have been sent before, and a command whose answer is missing may have been carried out.
    fn told_of(&self, kept: &Kept) -> (StatusCode, &'static str, &'static str) {
        use text::refused as words;
        let (code, title, _) = self.told();
        match (code, kept.is_command()) {
            (StatusCode::TOO_MANY_REQUESTS, _) => (code, title, words::TOO_MANY_SENT),
            (_, true) => (code, words::UNKNOWN, words::UNKNOWN_WORDS),
            (_, false) => (code, words::UNKNOWN, words::UNKNOWN_IF_SENT_AGAIN),
        }
    }

    /// When it may be tried again.
    fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::TooMany(wait) => Some(*wait),
            Self::Unavailable => Some(Duration::from_secs(1)),
            Self::Status(status) => status.get_details_retry_info()?.retry_delay,
            _ => None,
        }
    }

    /// Whether it is about the token in the address.
    fn is_of_token(&self) -> bool {
        let Self::Status(status) = self else { return false };
        [
            ErrorReason::InvalidConsistencyToken,
            ErrorReason::InvalidField,
            ErrorReason::TokenOfOldEpoch,
            ErrorReason::TokenAheadOfLog,
        ]
        .into_iter()
        .any(|reason| faults::is(status, reason))
    }

    /// Whether it is about who has signed in.
    fn needs_sign_in(&self) -> bool {
        match self {
            Self::SignIn => true,
            Self::Status(status) => status.code() == Code::Unauthenticated,
            _ => false,
        }
    }
}

impl Visit {
    /// A page.
    pub(super) fn page(&self, page: String) -> Response {
        self.page_with(StatusCode::OK, page)
    }

    /// A page with another code than that of success.
    pub(super) fn page_with(&self, code: StatusCode, page: String) -> Response {
        let mut response = (code, body(page, self.takes_gzip())).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
        if self.takes_gzip() {
            headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
        response
    }

    /// Leads to another page, after a form was carried out. `done` says what was done, and `changed` is the token of
    /// it, so that the page shows it.
    pub(super) fn see_other(&self, path: &str, done: &str, changed: &str) -> Response {
        let mut query = form_urlencoded::Serializer::new(String::new());
        for (name, value) in [("done", done), ("at", changed)] {
            if !value.is_empty() {
                query.append_pair(name, value);
            }
        }
        let query = query.finish();
        let separator = match (query.is_empty(), path.contains('?')) {
            (true, _) => "",
            (false, false) => "?",
            (false, true) => "&",
        };
        redirect(&self.reader().to(&format!("{path}{separator}{query}")))
    }
}

/// A file that the browser keeps.
pub(super) fn download(
    name: &str,
    content_type: &'static str,
    content: impl Into<Body>,
) -> Response {
    let mut response = content.into().into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    if let Ok(value) = HeaderValue::from_str(&format!("attachment; filename=\"{name}\"")) {
        headers.insert(header::CONTENT_DISPOSITION, value);
    }
    response
}

/// Leads to another page.
fn redirect(address: &str) -> Response {
    let Ok(address) = HeaderValue::from_str(address) else {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    };
    (StatusCode::SEE_OTHER, [(header::LOCATION, address)]).into_response()
}

/// The body of a page, compressed if the browser takes it: whoever takes it gets small pages compressed, too.
fn body(page: String, takes_gzip: bool) -> Body {
    if !takes_gzip {
        return page.into();
    }
    let level =
        if page.len() < LEAST_COMPRESSED { Compression::none() } else { Compression::fast() };
    let mut encoder = GzEncoder::new(Vec::with_capacity(page.len() / 3), level);
    // Writing into memory cannot fail.
    let _ = encoder.write_all(page.as_bytes());
    encoder.finish().unwrap_or_default().into()
}

/// Whether a browser takes answers compressed with gzip.
pub(super) fn takes_gzip(headers: &HeaderMap) -> bool {
    let lines =
        headers.get_all(header::ACCEPT_ENCODING).iter().filter_map(|line| line.to_str().ok());
    lines.flat_map(|line| line.split(',')).any(|part| {
        let mut parts = part.split(';').map(str::trim);
        parts.next() == Some("gzip") && !parts.any(|quality| matches!(quality, "q=0" | "q=0.0"))
    })
}

/// The answer to a visitor: a refusal becomes a page, and every answer gets the headers of pages.
pub(super) async fn finished(visit: &Visit, mut response: Response) -> Response {
    let refused = response.extensions_mut().remove::<Refused>();
    let code = response.status();
    let has_failed = code.is_server_error() || code == StatusCode::TOO_MANY_REQUESTS;
    // What became of the command matters more than what could not be shown after it.
    let unsettled = visit.unsettled().filter(|_| has_failed).cloned();
    if let Some(refused) = unsettled.or(refused) {
        response = refusal(visit, &refused).await;
    }
    let headers = response.headers_mut();
    for (name, value) in HEADERS {
        headers.entry(name).or_insert(value);
    }
    headers.entry(header::VARY).or_insert(HeaderValue::from_static("accept-encoding, cookie"));
    response
}

/// What sends a form again: the same command.
fn again<'a>(visit: &Visit, kept: &'a Kept, action: &'a str) -> refused::Again<'a> {
    // A token that nobody could look at is looked at when the form comes again.
    let form_token =
        if kept.is_ours { visit.form_token() } else { kept.get("form_token").to_owned() };
    let typed = |(name, value): &'a (String, String)| {
        let is_carried = name != "form_token" && !forms::is_secret(name);
        is_carried.then_some((&**name, &**value))
    };
    let is_missing = |(name, _): &&(&str, &str)| !kept.get(name).is_empty();
    refused::Again {
        action,
        form_token,
        fields: kept.fields.iter().filter_map(typed).collect(),
        secrets: forms::SECRETS.iter().filter(is_missing).copied().collect(),
    }
}

async fn refusal(visit: &Visit, refused: &Refused) -> Response {
    if refused.needs_sign_in() {
        return visit.to_sign_in();
    }
    if refused.is_of_token() && !visit.changed().is_empty() {
        // The page shows what there is now: the token in the address is of no use.
        return visit.see_other(visit.path(), "", "");
    }
    let kept = visit.kept().filter(|_| refused.may_pass());
    let (code, title, words) = match kept {
        Some(kept) => refused.told_of(kept),
        None => refused.told(),
    };
    let action = visit.address();
    let view = refused::View { title, words, again: kept.map(|kept| again(visit, kept, &action)) };
    // Without the sidebar, if who has signed in cannot be read.
    let person = visit.person().await.ok();
    let form_token = visit.form_token();
    let sidebar = person.as_ref().map(|person| person.sidebar(visit, &form_token));
    let page = refused::page(&view, sidebar.as_ref(), visit.reader());
    let mut response = visit.page_with(code, page);
    if let Some(wait) = refused.retry_after() {
        response.headers_mut().insert(header::RETRY_AFTER, whole_seconds(wait));
    }
    response
}

/// What passwords must be like, as the form says it while one types.
pub(in crate::api) fn password_rules(settings: &passwords::Settings) -> Vec<PasswordRule> {
    use text::password as words;
    let rule =
        |words: &str, pattern: &str| PasswordRule { words: words.into(), pattern: pattern.into() };
    let mut rules = vec![rule(
        &words::at_least(settings.min_chars),
        &format!("^.{{{},}}$", settings.min_chars),
    )];
    let kinds = [
        ("upper", words::UPPER, words::UPPER_PATTERN),
        ("lower", words::LOWER, words::LOWER_PATTERN),
        ("digit", words::DIGIT, words::DIGIT_PATTERN),
        ("special", words::SPECIAL, words::SPECIAL_PATTERN),
    ];
    for name in settings.rules.names() {
        let known = kinds.iter().find(|(of, _, _)| *of == name);
        rules.extend(known.map(|(_, words, pattern)| rule(words, pattern)));
    }
    rules
}

/// A page that a link in a mail leads to, for the handlers of those links.
pub(in crate::api) fn mailed_page(
    context: &Context,
    view: &console::pages::door::mailed::View<'_>,
) -> String {
    let url = context.settings.public_url.as_ref();
    let root = url.map(|url| url.path().to_owned()).unwrap_or_default();
    let reader = Reader::new("", None, Theme::System, root);
    console::pages::door::mailed::page(view, &reader)
}

impl Console {
    /// What passwords must be like.
    pub(super) fn password_rules(&self) -> Vec<PasswordRule> {
        password_rules(self.context().access.passwords().settings())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]
mod tests {
    use super::*;

    #[test]
    fn only_who_takes_gzip_gets_it() {
        for (accepted, expected) in [
            ("gzip, deflate, br, zstd", true),
            ("gzip;q=0.5", true),
            ("br", false),
            ("gzip;q=0", false),
            ("", false),
        ] {
            let headers =
                HeaderMap::from_iter([(header::ACCEPT_ENCODING, accepted.parse().unwrap())]);
            assert_eq!(takes_gzip(&headers), expected, "{accepted}");
        }
    }
}
