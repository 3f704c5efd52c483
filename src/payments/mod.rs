//! Payments by Stripe: what its webhooks tell becomes purchases, refunds and disputes, and buyers are sent there.
//!
//! - [`intake`] keeps an event, and joins what was told about one payment.
//! - [`settle`] records what is due of a payment: it compares what was told with what is recorded.
//! - [`reasons`] is what waits for an event or an operator.
//! - [`taken`] is what became of an event, as the answer to it says.
//! - [`provider`] calls Stripe.
//!
//! An event is answered after it is kept and all that is due of its payments is recorded. Whatever fails before that
//! is an error, and Stripe delivers the event again. Nothing is half: taking in changes nothing the second time, and
//! what is due is found anew from what was told and what is recorded. Nothing is locked while a payment is settled.
//! Of two who settle the same payment, the later one is refused, since what it has found due rests on a state of the
//! purchase that is no more, and looks again.
//!
//! People who were erased are named by nothing that is kept here, whatever comes later: their erasure and the taking in
//! of an event lock the users whom it names.

mod intake;
mod provider;
mod reasons;
mod settle;
mod taken;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::timeout;

pub use provider::{ApiUrl, CheckoutSession, NewSession, ProviderError, SecretKey, post};
pub use reasons::{Reason, paid, reasons_of, words};
pub use settle::Settled;
#[cfg(test)]
pub(crate) use settle::{Unrecordable, due, recorded};
pub use stripe::event::{Event, Malformed};
pub use stripe::signature::{Secret, SignatureFault};
pub use taken::Taken;

use crate::engine::query::QueryError;
use crate::engine::{Engine, Environment, Failure};
use crate::hang;
use crate::metrics::{OfCall, OfWebhook, PaymentMetrics};
use crate::store::{Database, StoreError};
use stripe::event::{Fact, Unread, identify};
use stripe::signature::{TOLERANCE_SECONDS, verify};

use provider::Provider;

/// The kind of the jobs that settle a payment, should whoever has changed it not have come to that.
pub const JOB: &str = "settle_payment";

/// The largest body of a webhook, in bytes.
pub const MAX_BODY_BYTES: usize = 256 * 1024;
/// How many events one server takes in at the same time, so that they leave connections to others.
const MAX_EVENTS: usize = 4;
/// How long an event may wait for its turn. Stripe waits for ten seconds or more.
const TURN_TIMEOUT: Duration = Duration::from_secs(8);

/// What a server is told about Stripe.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// The secrets of the endpoint; none: there is no endpoint.
    pub webhook_secrets: Vec<Secret>,
    /// The key for calling Stripe, if there is one.
    pub secret_key: Option<SecretKey>,
    /// Where Stripe's API is.
    pub api_url: ApiUrl,
}

/// Why something could not be done.
#[derive(Debug, thiserror::Error)]
pub enum PaymentError {
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// What is recorded could not be read.
    #[error(transparent)]
    Query(#[from] QueryError),
    /// What is due could not be recorded.
    #[error(transparent)]
    Failed(#[from] Failure),
    /// Others kept changing the payment.
    #[error("others kept changing the payment")]
    Contended,
    /// Too many events wait.
    #[error("too many events wait")]
    Busy,
}

/// Why the body of a webhook is not taken in.
#[derive(Debug, thiserror::Error)]
pub enum WebhookError {
    /// There is no header with a signature.
    #[error("the header Stripe-Signature is missing")]
    Unsigned,
    /// Stripe has not signed it, or not lately.
    #[error("{0}")]
    Signature(#[from] SignatureFault),
    /// It is no event.
    #[error("{0}")]
    Malformed(#[from] Malformed),
    /// It could not be taken in now.
    #[error(transparent)]
    Failed(#[from] PaymentError),
}

/// Takes in what Stripe tells. Cheap to clone.
#[derive(Clone)]
pub struct Payments(Arc<Inner>);

struct Inner {
    database: Database,
    engine: Engine,
    environment: Environment,
    metrics: PaymentMetrics,
    secrets: Vec<Secret>,
    is_live: Option<bool>,
    provider: Provider,
    turns: Semaphore,
}

impl Payments {
    /// Takes in payments of one database.
    #[must_use]
    pub fn new(
        database: Database,
        engine: Engine,
        environment: Environment,
        settings: Settings,
        metrics: PaymentMetrics,
    ) -> Self {
        let Settings { webhook_secrets: secrets, secret_key, api_url } = settings;
        let is_live = secret_key.as_ref().and_then(SecretKey::is_live);
        let provider = Provider::new(api_url, secret_key);
        let turns = Semaphore::new(MAX_EVENTS);
        Self(Arc::new(Inner {
            database,
            engine,
            environment,
            metrics,
            secrets,
            is_live,
            provider,
            turns,
        }))
    }

    /// Whether there is an endpoint for webhooks.
    #[must_use]
    pub fn has_endpoint(&self) -> bool {
        !self.0.secrets.is_empty()
    }

    /// Takes in the body of a webhook: checks its signature, keeps it, and records what is due.
    ///
    /// # Errors
    /// [`WebhookError`] with the reason why it was not taken in.
    pub async fn receive(
        &self,
        signature: Option<&str>,
        body: &[u8],
    ) -> Result<Taken, WebhookError> {
        let (event_type, taken) = self.take(signature, body).await;
        let outcome = match &taken {
            Ok(taken) => taken.outcome(),
            Err(WebhookError::Unsigned | WebhookError::Signature(_)) => "bad_signature",
            Err(WebhookError::Malformed(_)) => "malformed",
            Err(WebhookError::Failed(_)) => "failed",
        };
        self.0.metrics.webhooks.get_or_create(&OfWebhook { event_type, outcome }).inc();
        taken
    }

    async fn take(
        &self,
        signature: Option<&str>,
        body: &[u8],
    ) -> (&'static str, Result<Taken, WebhookError>) {
        let event = match self.read(signature, body) {
            Ok(event) => event,
            Err(WebhookError::Malformed(malformed)) => {
                return self.keep_malformed(malformed, body).await;
            }
            Err(error) => return (OTHER, Err(error)),
        };
        let event_type = counted_type(&event.event_type);
        if event.fact == Fact::Unknown {
            return (event_type, Ok(Taken::Ignored));
        }
        if event.account_id.is_some() {
            return (event_type, Ok(Taken::OtherAccount));
        }
        if self.0.is_live.is_some_and(|is_live| is_live != event.is_live) {
            return (event_type, Ok(Taken::OtherMode));
        }
        // A body that was read is UTF-8.
        let body = String::from_utf8_lossy(body);
        let taken = self.take_in(&event, &body).await;
        (event_type, taken.map_err(WebhookError::from))
    }

    fn read(&self, signature: Option<&str>, body: &[u8]) -> Result<Event, WebhookError> {
        let signature = signature.ok_or(WebhookError::Unsigned)?;
        let now_seconds = (self.0.environment.now)().0.div_euclid(1_000_000);
        verify(signature, body, &self.0.secrets, now_seconds, TOLERANCE_SECONDS)?;
        Ok(stripe::event::parse(body)?)
    }

    /// Keeps a signed body that cannot be read, if it has an id, so that somebody can find out what it says.
    async fn keep_malformed(
        &self,
        malformed: Malformed,
        body: &[u8],
    ) -> (&'static str, Result<Taken, WebhookError>) {
        let Some(unread) = identify(body) else { return (OTHER, Err(malformed.into())) };
        let Unread { event_id, event_type, .. } = &unread;
        tracing::warn!(event_id, event_type, %malformed, "an event of Stripe cannot be read");
        let kept = async {
            let _turn = self.turn().await?;
            self.keep_unread(&unread, &String::from_utf8_lossy(body)).await
        };
        // If it is not kept now, it will be when Stripe delivers it again.
        let error: WebhookError = match kept.await {
            Ok(()) => malformed.into(),
            Err(error) => error.into(),
        };
        (counted_type(event_type), Err(error))
    }

    async fn take_in(&self, event: &Event, body: &str) -> Result<Taken, PaymentError> {
        let _turn = self.turn().await?;
        let payment_ids = self.keep(event, body).await?;
        hang::point("stripe.kept");
        if payment_ids.is_empty() {
            return Ok(Taken::Waiting);
        }
        let mut parked = Vec::new();
        for payment_id in payment_ids {
            let settled = self.settle_as_told(&payment_id).await?;
            let reasons = settled.map(|settled| settled.parked).unwrap_or_default();
            parked.extend(reasons.into_iter().map(|reason| (payment_id.clone(), reason)));
        }
        Ok(if parked.is_empty() { Taken::Recorded } else { Taken::Parked(parked) })
    }

    async fn turn(&self) -> Result<SemaphorePermit<'_>, PaymentError> {
        match timeout(TURN_TIMEOUT, self.0.turns.acquire()).await {
            Ok(Ok(permit)) => Ok(permit),
            // The semaphore is never closed.
            Ok(Err(_)) | Err(_) => Err(PaymentError::Busy),
        }
    }

    /// Opens a session of Checkout for a caller, who has few calls at a time.
    ///
    /// # Errors
    /// [`ProviderError`] if there is none.
    pub async fn open_session(
        &self,
        caller: &str,
        new: &NewSession<'_>,
    ) -> Result<CheckoutSession, ProviderError> {
        let opened = self.0.provider.open_session(caller, new).await;
        let outcome = opened.as_ref().map_or_else(ProviderError::outcome, |_| "done");
        self.0.metrics.calls.get_or_create(&OfCall { outcome }).inc();
        if let Err(error @ (ProviderError::Unavailable(_) | ProviderError::Refused { .. })) =
            &opened
        {
            tracing::warn!(%error, "Stripe has opened no session of Checkout");
        }
        opened
    }

    /// Whether there is a key for calling Stripe.
    #[must_use]
    pub fn can_call(&self) -> bool {
        self.0.provider.has_key()
    }
}

/// Does something about a payment to its end, also if the caller does not wait for it. Should the server stop meanwhile,
/// a job does it, or Stripe sends its event again.
///
/// # Errors
/// What it says itself.
pub async fn to_the_end<T, E>(
    work: impl Future<Output = Result<T, E>> + Send + 'static,
) -> Result<T, E>
where
    T: Send + 'static,
    E: From<PaymentError> + Send + 'static,
{
    tokio::spawn(work).await.unwrap_or_else(|_| Err(PaymentError::Contended.into()))
}

/// All types that are not read.
const OTHER: &str = "other";

/// The type of an event, as it is counted: one of those that are read, or "other".
fn counted_type(event_type: &str) -> &'static str {
    const READ: [&str; 12] = [
        "checkout.session.completed",
        "checkout.session.async_payment_succeeded",
        "payment_intent.succeeded",
        "invoice_payment.paid",
        "invoice.paid",
        "refund.created",
        "refund.updated",
        "refund.failed",
        "charge.refunded",
        "charge.dispute.created",
        "charge.dispute.updated",
        "charge.dispute.closed",
    ];
    READ.into_iter().find(|of| *of == event_type).unwrap_or(OTHER)
}
