//! `tributary stripe`, and what a server is told about Stripe. Secrets come from the environment only.

use std::env;
use std::time::Duration;

use ::stripe::sample;
use ::stripe::signature::{Secret, sign};
use clap::{Args, Subcommand, ValueEnum};
use client::Server;
use serde_json::{Value, json};
use url::Url;

use super::faults::Faults;
use super::{CliError, UsageError, say};
use crate::engine::Environment;
use crate::payments::{ApiUrl, SecretKey, Settings, Taken, post};

/// The secrets of the endpoint for webhooks: several while one is exchanged.
const WEBHOOK_SECRET: &str = "STRIPE_WEBHOOK_SECRET";
/// The key for calling Stripe.
const SECRET_KEY: &str = "STRIPE_SECRET_KEY";
/// The path of the endpoint of a server.
const ENDPOINT: &str = "/webhooks/stripe";
/// How long an answer of the endpoint may take.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// What the settings and the environment say.
pub(super) fn settings(api_url: Option<ApiUrl>, faults: &mut Faults) -> Settings {
    let secret_key = match env::var(SECRET_KEY) {
        Ok(text) if !text.trim().is_empty() => {
            let key = SecretKey::new(&text);
            if key.is_none() {
                faults.say(format_args!("{SECRET_KEY} must be a secret or a restricted key of Stripe, which begins with sk_ or rk_"));
            }
            key
        }
        Ok(_) | Err(_) => None,
    };
    let webhook_secrets = secrets();
    if !webhook_secrets.iter().all(Secret::is_of_endpoint) {
        faults.say(format_args!(
            "{WEBHOOK_SECRET} must be the signing secret of the endpoint, whsec_ and more; several are separated by \
             commas"
        ));
    }
    Settings { webhook_secrets, secret_key, api_url: api_url.unwrap_or_default() }
}

/// Says at the start what Stripe can do here, without the secrets.
pub(super) fn announce(settings: &Settings) {
    let secret_count = settings.webhook_secrets.len();
    let can_open_sessions = settings.secret_key.is_some();
    if secret_count == 0 {
        tracing::info!(
            can_open_sessions,
            "no events of Stripe are taken in: {WEBHOOK_SECRET} is not set, so /webhooks/stripe is answered 404"
        );
        return;
    }
    let mode = match settings.secret_key.as_ref().map(SecretKey::is_live) {
        Some(Some(true)) => "live",
        Some(Some(false)) => "test",
        Some(None) | None => "any",
    };
    tracing::info!(
        secret_count,
        mode,
        can_open_sessions,
        "webhooks of Stripe are taken in, of this mode only"
    );
}

fn secrets() -> Vec<Secret> {
    Secret::list(&env::var(WEBHOOK_SECRET).unwrap_or_default())
}

#[derive(Subcommand)]
pub(super) enum Stripe {
    /// Send the events of a payment with a partial refund to an endpoint, signed with the secret of the environment
    ///
    /// The header Stripe-Signature is `t=SECONDS,v1=HEX`: HEX is the HMAC-SHA256, under the secret, of the seconds, a
    /// full stop and the body, byte for byte. It is good for five minutes.
    SendTest(SendTest),
}

#[derive(Args)]
pub(super) struct SendTest {
    /// The endpoint [default: /webhooks/stripe of the server]
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    #[command(flatten)]
    server: Server,
    /// The `user_id` of the buyer; without one, the payment waits for an operator
    #[arg(long, value_name = "USER")]
    buyer: Option<String>,
    /// The payment of a subscription's invoice, which has no session
    #[arg(long)]
    renewal: bool,
    /// What is paid, in Stripe's unit, as in 1250 for 12.50 dollars; a tenth of it is refunded
    #[arg(long, value_name = "N", default_value_t = 1_250, value_parser = clap::value_parser!(i64).range(10..))]
    amount: i64,
    /// The currency
    #[arg(long, value_name = "CODE", default_value = "USD")]
    currency: String,
    /// Also send a dispute about a quarter of the amount, which ends so
    #[arg(long, value_enum, value_name = "END")]
    dispute: Option<DisputeEnd>,
}

/// How a dispute ends.
#[derive(Clone, Copy, ValueEnum)]
enum DisputeEnd {
    Open,
    Won,
    Lost,
}

impl Stripe {
    pub(super) async fn run(self) -> Result<(), CliError> {
        match self {
            Self::SendTest(send) => send.run().await,
        }
    }
}

impl SendTest {
    async fn run(self) -> Result<(), CliError> {
        let secrets = secrets();
        if secrets.is_empty() {
            return Err(format!("set {WEBHOOK_SECRET} to the secret that the server has").into());
        }
        let url = self.endpoint()?;
        let environment = Environment::of_this_machine()?;
        let now_seconds = (environment.now)().0.div_euclid(1_000_000);
        let name = environment.fresh_id().replace('-', "");
        let mut last_answer = String::new();
        for (event_type, event) in self.events(&name, now_seconds) {
            let body = event.to_string();
            let signature = sign(body.as_bytes(), &secrets, now_seconds);
            let ca_file = self.server.ca_file.as_deref();
            let sent = post(&url, &signature, body, ANSWER_TIMEOUT, ca_file).await;
            let (status, answer) = sent.map_err(|error| {
                format!(
                    "no answer from {url} ({error}); start a server there, or name another one with --server or its \
                     endpoint with --url"
                )
            })?;
            let answer = answer.trim();
            if status != 200 {
                return Err(format!("{event_type}: {url} answered {status}: {answer}").into());
            }
            say(format_args!("{event_type}: {answer}"));
            answer.clone_into(&mut last_answer);
        }
        self.outcome(&name, &last_answer)
    }

    /// Where to send the events.
    fn endpoint(&self) -> Result<Url, UsageError> {
        let Some(given) = &self.url else {
            let endpoint = self.server.endpoint().map_err(|error| UsageError(error.to_string()))?;
            // An address of a server that was read has a host, and its path is `/`.
            let url = Url::parse(&endpoint.uri().to_string()).and_then(|url| url.join(ENDPOINT));
            return url.map_err(|error| UsageError(error.to_string()));
        };
        let url = Url::parse(given).ok();
        let url = url.filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
        url.ok_or_else(|| {
            UsageError(format!(
                "'{given}' is not the address of an endpoint, which looks like http://127.0.0.1:50051{ENDPOINT}"
            ))
        })
    }

    /// Says how the payment stands, by what the endpoint answered to the last of its events. A payment that names a buyer
    /// has to be recorded.
    fn outcome(&self, name: &str, last_answer: &str) -> Result<(), CliError> {
        if last_answer == Taken::RECEIVED {
            let refund = self.amount / 10;
            let dispute =
                self.dispute.map_or_else(String::new, |_| format!(", and dispute du_{name}"));
            say(format_args!(
                "purchase pi_{name} is recorded, with refund re_{name} of {refund} in Stripe's unit{dispute}; \
                 PurchaseService/GetPurchase shows it"
            ));
            return Ok(());
        }
        let Some(reasons) = last_answer.strip_prefix(Taken::PARKED) else {
            let problem =
                format!("payment pi_{name} is not recorded: the endpoint answered '{last_answer}'");
            return Err(problem.into());
        };
        let problem = format!(
            "parked:{reasons}\nPurchaseService/ListUnmatchedPayments and /o/payments of the console show what waits, and \
             docs/integrate.md what to do about each kind"
        );
        if self.buyer.is_some() {
            return Err(problem.into());
        }
        say(problem);
        Ok(())
    }

    /// A session or an invoice, its payment and a refund, each with its type.
    fn events(&self, name: &str, now_seconds: i64) -> Vec<(&'static str, Value)> {
        let (intent, charge) = (format!("pi_{name}"), format!("ch_{name}"));
        let buyer = self.buyer.as_deref().unwrap_or_default();
        let mut objects = if self.renewal {
            let invoice_id = format!("in_{name}");
            let mut invoice = sample::invoice(&invoice_id, buyer, self.amount);
            if self.buyer.is_none() {
                invoice["parent"]["subscription_details"]["metadata"] = json!({});
            }
            let payment = sample::invoice_payment(&invoice_id, &intent, self.amount);
            vec![("invoice_payment.paid", payment), ("invoice.paid", invoice)]
        } else {
            let mut session = sample::session(&format!("cs_{name}"), &intent, buyer, self.amount);
            if self.buyer.is_none() {
                session["client_reference_id"] = Value::Null;
            }
            vec![("checkout.session.completed", session)]
        };
        let refund = self.amount / 10;
        objects.extend([
            ("payment_intent.succeeded", sample::intent(&intent, &charge, self.amount)),
            ("refund.created", sample::refund(&format!("re_{name}"), &intent, &charge, refund)),
            ("charge.refunded", sample::charge(&charge, &intent, self.amount, refund)),
        ]);
        if let Some(end) = self.dispute {
            let (dispute, quarter) = (format!("du_{name}"), self.amount / 4);
            let of = |status| sample::dispute(&dispute, &intent, &charge, quarter, status);
            objects.push(("charge.dispute.created", of("needs_response")));
            match end {
                DisputeEnd::Open => {}
                DisputeEnd::Won => objects.push(("charge.dispute.closed", of("won"))),
                DisputeEnd::Lost => objects.push(("charge.dispute.closed", of("lost"))),
            }
        }
        let currency = self.currency.to_ascii_lowercase();
        let event = |(index, (event_type, mut object)): (usize, (&'static str, Value))| {
            object["currency"] = json!(currency);
            object["created"] = json!(now_seconds);
            let event_id = format!("evt_{name}{index}");
            (event_type, sample::event(&event_id, event_type, now_seconds, &object))
        };
        objects.into_iter().enumerate().map(event).collect()
    }
}
