//! Calls of Stripe's API over HTTP/1.1, each on a connection of its own: there are few.

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::path::Path;
use std::str::FromStr;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use axum::body::{Body, Bytes, to_bytes};
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, header};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};
use url::{Position, Url, form_urlencoded};

use domain::UserId;

/// How long a call may take, from the look-up of the address to the last byte of the answer.
const CALL_TIMEOUT: Duration = Duration::from_secs(10);
/// How many calls one server makes at the same time. Further ones are turned away at once, so that a provider that
/// hangs takes nothing but these.
const MAX_CALLS: usize = 16;
/// How many of these calls are of one caller, so that nobody takes all. Further ones wait for a moment.
const MAX_CALLS_OF_CALLER: usize = 2;
/// How long a call waits for those of the same caller.
const CALLER_PATIENCE: Duration = Duration::from_secs(2);
/// The largest answer that is read, in bytes.
const MAX_ANSWER_BYTES: usize = 1024 * 1024;
/// The longest texts that are taken over from an error, in characters.
const MAX_WORDS: usize = 200;
/// The name of the one line of a session.
const LINE_NAME: &str = "Purchase";

/// The address of the API, such as `https://api.stripe.com`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct ApiUrl(Url);

impl ApiUrl {
    /// Where Stripe is.
    pub const DEFAULT: &str = "https://api.stripe.com";
}

impl Default for ApiUrl {
    fn default() -> Self {
        #[expect(clippy::expect_used, reason = "a constant, which a test reads")]
        Self::DEFAULT.parse().expect("the address of Stripe")
    }
}

impl FromStr for ApiUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = |what: &str| format!("'{text}' {what}; write it as {}", Self::DEFAULT);
        let url = Url::parse(text).map_err(|_| wrong("is no URL"))?;
        if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
            return Err(wrong("is no address of an API over HTTP"));
        }
        let is_bare = url.username().is_empty() && url.password().is_none();
        if !is_bare || url.query().is_some() || url.fragment().is_some() || url.path() != "/" {
            return Err(wrong("has more than a host and a port"));
        }
        Ok(Self(url))
    }
}

impl TryFrom<String> for ApiUrl {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<ApiUrl> for String {
    fn from(url: ApiUrl) -> Self {
        url.to_string()
    }
}

impl fmt::Display for ApiUrl {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.0.as_str().trim_end_matches('/'))
    }
}

/// The key for calling the API, `sk_...` or `rk_...`. It is shown nowhere.
#[derive(Clone)]
pub struct SecretKey {
    header: HeaderValue,
    is_live: Option<bool>,
}

impl SecretKey {
    /// A key; `None` if the text cannot be one. A publishable key, and the secret of an endpoint, are none.
    #[must_use]
    pub fn new(text: &str) -> Option<Self> {
        let text = text.trim();
        let is_key = ["sk_", "rk_"].iter().any(|kind| text.starts_with(kind))
            && text.bytes().all(|byte| byte.is_ascii_graphic());
        let mut value = HeaderValue::from_str(&format!("Bearer {text}")).ok()?;
        value.set_sensitive(true);
        let mode = text.split('_').nth(1);
        let is_live = mode.and_then(|mode| match mode {
            "live" => Some(true),
            "test" => Some(false),
            _ => None,
        });
        is_key.then_some(Self { header: value, is_live })
    }

    /// Whether it moves real money, as it says itself; `None` if it does not say.
    #[must_use]
    pub fn is_live(&self) -> Option<bool> {
        self.is_live
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("SecretKey(..)")
    }
}

/// A session of Checkout to open.
#[derive(Clone, Debug)]
pub struct NewSession<'a> {
    /// Who buys.
    pub buyer: &'a UserId,
    /// In Stripe's unit.
    pub amount: i64,
    /// An ISO 4217 code.
    pub currency_code: &'a str,
    /// Where the buyer goes after paying.
    pub success_url: &'a str,
    /// Where the buyer goes who does not pay.
    pub cancel_url: &'a str,
    /// By what Stripe recognises a repetition.
    pub idempotency_key: &'a str,
}

/// A session of Checkout.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckoutSession {
    /// `cs_...`.
    pub session_id: String,
    /// Where the buyer pays.
    pub url: String,
}

/// Why a call did not succeed. Nothing of it holds the key.
#[derive(Debug, thiserror::Error)]
pub enum ProviderError {
    /// There is no key.
    #[error("the server has no key for calling Stripe; its operator has to set STRIPE_SECRET_KEY")]
    NoKey,
    /// No answer came, or one that is no answer of Stripe. The call may have succeeded.
    #[error("Stripe cannot be reached at the moment: {0}")]
    Unavailable(String),
    /// Stripe refused the call.
    #[error("Stripe refused: {message}")]
    Refused {
        /// The status.
        status: u16,
        /// Stripe's code, such as `amount_too_small`, or the type of the error.
        code: String,
        /// Stripe's words.
        message: String,
    },
    /// The same idempotency key was used with other parameters.
    #[error("Stripe knows the request by other parameters")]
    Reused,
}

impl ProviderError {
    /// The name under which it is counted.
    pub(super) fn outcome(&self) -> &'static str {
        match self {
            Self::NoKey | Self::Refused { .. } => "refused",
            Self::Unavailable(_) => "unavailable",
            Self::Reused => "reused",
        }
    }
}

/// Calls Stripe.
pub(super) struct Provider {
    api: ApiUrl,
    key: Option<SecretKey>,
    tls: OnceLock<TlsConnector>,
    calls: Semaphore,
    callers: Callers,
}

/// Callers who have calls at present.
#[derive(Default)]
struct Callers(Mutex<HashMap<String, Arc<Semaphore>>>);

impl Callers {
    /// Waits until the caller has fewer calls than they may have; `None` if that takes too long.
    async fn admit(&self, caller: &str) -> Option<OwnedSemaphorePermit> {
        let calls = {
            let mut callers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            // A permit holds its semaphore, and so does whoever waits for one.
            callers.retain(|_, calls| Arc::strong_count(calls) > 1);
            let calls = callers
                .entry(caller.to_owned())
                .or_insert_with(|| Arc::new(Semaphore::new(MAX_CALLS_OF_CALLER)));
            Arc::clone(calls)
        };
        timeout(CALLER_PATIENCE, calls.acquire_owned()).await.ok()?.ok()
    }
}

impl Provider {
    pub(super) fn new(api: ApiUrl, key: Option<SecretKey>) -> Self {
        let calls = Semaphore::new(MAX_CALLS);
        Self { api, key, tls: OnceLock::new(), calls, callers: Callers::default() }
    }

    pub(super) fn has_key(&self) -> bool {
        self.key.is_some()
    }

    pub(super) async fn open_session(
        &self,
        caller: &str,
        new: &NewSession<'_>,
    ) -> Result<CheckoutSession, ProviderError> {
        let buyer = new.buyer.as_str();
        let (amount, currency) = (new.amount.to_string(), new.currency_code.to_ascii_lowercase());
        let form = form_urlencoded::Serializer::new(String::new())
            .append_pair("mode", "payment")
            .append_pair("client_reference_id", buyer)
            .append_pair("metadata[user_id]", buyer)
            .append_pair("payment_intent_data[metadata][user_id]", buyer)
            .append_pair("success_url", new.success_url)
            .append_pair("cancel_url", new.cancel_url)
            .append_pair("line_items[0][quantity]", "1")
            .append_pair("line_items[0][price_data][currency]", &currency)
            .append_pair("line_items[0][price_data][unit_amount]", &amount)
            .append_pair("line_items[0][price_data][product_data][name]", LINE_NAME)
            .finish();
        let Some(_own) = self.callers.admit(caller).await else {
            return Err(ProviderError::Unavailable("other calls of the caller wait".into()));
        };
        let answer = self.post("/v1/checkout/sessions", form, new.idempotency_key).await?;
        let text = |name: &str| answer.get(name).and_then(Value::as_str).map(ToOwned::to_owned);
        match text("id").zip(text("url")) {
            Some((session_id, url)) => Ok(CheckoutSession { session_id, url }),
            None => Err(ProviderError::Unavailable("its answer is no session".into())),
        }
    }

    async fn post(
        &self,
        path: &str,
        form: String,
        idempotency_key: &str,
    ) -> Result<Value, ProviderError> {
        let key = self.key.as_ref().ok_or(ProviderError::NoKey)?;
        let unavailable = |what: &str| ProviderError::Unavailable(what.into());
        let _call = self.calls.try_acquire().map_err(|_| unavailable("too many calls wait"))?;
        let idempotency_key =
            HeaderValue::from_str(idempotency_key).map_err(|_| unavailable("no key of a call"))?;
        let mut headers = HeaderMap::new();
        headers.insert(header::AUTHORIZATION, key.header.clone());
        headers.insert("idempotency-key", idempotency_key);
        headers.insert("stripe-version", HeaderValue::from_static(stripe::sample::API_VERSION));
        let form_type = HeaderValue::from_static("application/x-www-form-urlencoded");
        headers.insert(header::CONTENT_TYPE, form_type);
        let call = self.call(path, headers, form);
        let (status, body) = match timeout(CALL_TIMEOUT, call).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(error)) => return Err(ProviderError::Unavailable(error.to_string())),
            Err(_) => return Err(unavailable("no answer in time")),
        };
        let answer = serde_json::from_slice(&body).unwrap_or(Value::Null);
        if status.is_success() { Ok(answer) } else { Err(refused(status, &answer)) }
    }

    async fn call(
        &self,
        path: &str,
        headers: HeaderMap,
        form: String,
    ) -> io::Result<(StatusCode, Bytes)> {
        let tls = if let Some(known) = self.tls.get() {
            known.clone()
        } else {
            let made = tls(None)?;
            self.tls.get_or_init(|| made).clone()
        };
        let url = self.api.0.join(path).map_err(io::Error::other)?;
        post_to(&url, &tls, headers, form).await
    }
}

/// Verifies the other side by the certificates in a PEM file; without one, by those that this machine trusts.
fn tls(ca_file: Option<&Path>) -> io::Result<TlsConnector> {
    let mut roots = RootCertStore::empty();
    let trusted = match ca_file {
        None => rustls_native_certs::load_native_certs().certs,
        Some(path) => {
            let unread = |error| io::Error::other(format!("{}: {error}", path.display()));
            let certificates = CertificateDer::pem_file_iter(path).map_err(unread)?;
            certificates.collect::<Result<_, _>>().map_err(unread)?
        }
    };
    roots.add_parsable_certificates(trusted);
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}

async fn post_to(
    url: &Url,
    tls: &TlsConnector,
    headers: HeaderMap,
    body: String,
) -> io::Result<(StatusCode, Bytes)> {
    let host = url.host_str().unwrap_or_default();
    let port = url.port_or_known_default().unwrap_or(443);
    let address = host.trim_start_matches('[').trim_end_matches(']');
    let stream = TcpStream::connect((address, port)).await?;
    stream.set_nodelay(true)?;
    let mut request = Request::new(Body::from(body));
    *request.method_mut() = Method::POST;
    let target = &url[Position::BeforePath..Position::AfterQuery];
    *request.uri_mut() = target.parse().map_err(io::Error::other)?;
    *request.headers_mut() = headers;
    let authority = &url[Position::BeforeHost..Position::AfterPort];
    let authority = HeaderValue::from_str(authority).map_err(io::Error::other)?;
    request.headers_mut().insert(header::HOST, authority);
    if url.scheme() == "https" {
        let name = ServerName::try_from(address.to_owned()).map_err(io::Error::other)?;
        exchange(tls.connect(name, stream).await?, request).await
    } else {
        exchange(stream, request).await
    }
}

/// Sends a signed body to an endpoint for webhooks, as Stripe does: the status of the answer, and its text.
///
/// # Errors
/// If there is no answer in time.
pub async fn post(
    url: &Url,
    signature: &str,
    body: String,
    patience: Duration,
    ca_file: Option<&Path>,
) -> io::Result<(u16, String)> {
    let mut headers = HeaderMap::new();
    let signature = HeaderValue::from_str(signature).map_err(io::Error::other)?;
    headers.insert("stripe-signature", signature);
    headers.insert(header::ACCEPT, HeaderValue::from_static("text/plain"));
    let json = HeaderValue::from_static("application/json; charset=utf-8");
    headers.insert(header::CONTENT_TYPE, json);
    let tls = tls(ca_file)?;
    let (status, answer) = match timeout(patience, post_to(url, &tls, headers, body)).await {
        Ok(answer) => answer?,
        Err(_) => return Err(io::ErrorKind::TimedOut.into()),
    };
    Ok((status.as_u16(), String::from_utf8_lossy(&answer).into_owned()))
}

/// Sends a request on a connection, and reads the answer. The connection ends with it.
async fn exchange(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    request: Request<Body>,
) -> io::Result<(StatusCode, Bytes)> {
    let (mut sender, connection) =
        http1::handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
    let answer = async {
        let response = sender.send_request(request).await.map_err(io::Error::other)?;
        let status = response.status();
        let body = to_bytes(Body::new(response.into_body()), MAX_ANSWER_BYTES).await;
        Ok((status, body.map_err(io::Error::other)?))
    };
    let mut answer = std::pin::pin!(answer);
    tokio::select! {
        answer = &mut answer => answer,
        ended = connection => {
            ended.map_err(io::Error::other)?;
            answer.await
        }
    }
}

/// What a refusal means here. Those that may pass are as if Stripe could not be reached.
fn refused(status: StatusCode, answer: &Value) -> ProviderError {
    let error = answer.get("error");
    let text = |name: &str| error.and_then(|error| error.get(name)).and_then(Value::as_str);
    if text("type") == Some("idempotency_error") {
        // Of a call that is still running, the same parameters may be known later.
        return if status == StatusCode::CONFLICT {
            ProviderError::Unavailable("the same call is still running".into())
        } else {
            ProviderError::Reused
        };
    }
    let passes = status.is_server_error()
        || matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::CONFLICT);
    if passes || error.is_none() {
        return ProviderError::Unavailable(format!("it answered with status {}", status.as_u16()));
    }
    let status = status.as_u16();
    // What Stripe says of a wrong key quotes parts of it.
    let message = if status == 401 || status == 403 {
        let known = if status == 401 { "is not one that it knows" } else { "lacks a permission" };
        format!("the key of the server {known}; its operator has to set another STRIPE_SECRET_KEY")
    } else {
        text("message").unwrap_or("no reason was given").chars().take(MAX_WORDS).collect()
    };
    let code = text("code").or_else(|| text("type")).unwrap_or("unknown");
    let code = code.chars().take(MAX_WORDS).collect();
    ProviderError::Refused { status, code, message }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]
mod tests {
    use super::*;

    #[test]
    fn the_address_of_the_api_is_a_host() {
        assert_eq!(ApiUrl::default().to_string(), ApiUrl::DEFAULT);
        assert_eq!(
            "http://127.0.0.1:9".parse::<ApiUrl>().unwrap().to_string(),
            "http://127.0.0.1:9"
        );
        for wrong in
            ["", "api.stripe.com", "ftp://x", "https://x/v1", "https://u:p@x", "https://x?a"]
        {
            assert!(wrong.parse::<ApiUrl>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_key_is_not_shown() {
        let key = SecretKey::new(" sk_test_51 ").unwrap();
        assert!(!format!("{key:?} {:?}", key.header).contains("sk_test"));
        assert_eq!(key.is_live(), Some(false));
        assert_eq!(SecretKey::new("rk_live_1").unwrap().is_live(), Some(true));
        assert_eq!(SecretKey::new("sk_of_another_kind").unwrap().is_live(), None);
        for wrong in ["", "key", "pk_test_51", "whsec_51", "sk_\ntest"] {
            assert!(SecretKey::new(wrong).is_none(), "{wrong}");
        }
    }

    #[test]
    fn what_may_pass_is_no_refusal_and_a_wrong_key_is_not_quoted() {
        let of = |status: u16, error: Value| {
            let status = StatusCode::from_u16(status).unwrap();
            refused(status, &serde_json::json!({ "error": error })).to_string()
        };
        let api = |message: &str| serde_json::json!({ "type": "invalid_request_error", "message": message });
        assert!(of(500, api("x")).contains("cannot be reached"));
        assert!(of(429, api("x")).contains("cannot be reached"));
        assert_eq!(of(400, api("too small")), "Stripe refused: too small");
        assert!(!of(401, api("Invalid API Key provided: sk_test_***51")).contains("sk_test"));
        let reused = serde_json::json!({ "type": "idempotency_error" });
        assert!(of(400, reused.clone()).contains("other parameters"));
        assert!(of(409, reused).contains("still running"));
    }
}
