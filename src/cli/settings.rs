//! Settings of the server: flags override the environment, which overrides the file, which overrides the
//! defaults.

use std::path::PathBuf;

use clap::Args;
use serde::{Deserialize, Serialize};
use toml::Table;

use super::CliError;
use super::address::ListenAddress;
use super::door::Switch;
use super::optional::{Optional, OptionalPath};
use crate::api::cors::Origin;
use crate::api::transport::Network;
use crate::payments::ApiUrl;
use crate::public_url::PublicUrl;

/// Where the database is.
#[derive(Args, Clone, Debug)]
pub(super) struct DatabaseSettings {
    /// The database, as in `postgres://user:password@host:5432/name`
    #[arg(long, value_name = "URL", env = "DATABASE_URL", hide_env_values = true)]
    pub(super) database_url: String,
}

/// Settings of the server. Each is a flag, an environment variable and a key of the file.
#[derive(Args, Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Settings {
    /// The address to listen on, as HOST:PORT; without a host, all addresses [default: 127.0.0.1:50051]
    #[arg(long, value_name = "ADDR", env = "TRIBUTARY_LISTEN")]
    pub(super) listen: Option<ListenAddress>,
    /// The address to expose metrics at, as `http://ADDR/metrics`; without access control, so keep it
    /// internal [default: none]
    #[arg(long, value_name = "ADDR", env = "TRIBUTARY_METRICS_LISTEN")]
    pub(super) metrics_listen: Option<Optional<ListenAddress>>,
    /// An OpenTelemetry collector to send traces to, as in `http://127.0.0.1:4317` (OTLP over gRPC, not
    /// encrypted) [default: none]
    #[arg(long, value_name = "URL", env = "TRIBUTARY_OTLP_ENDPOINT")]
    pub(super) otlp_endpoint: Option<Optional<String>>,
    /// The share of calls that are traced, 0 to 1, where the caller has not decided it already [default: 1]
    #[arg(long, value_name = "SHARE", env = "TRIBUTARY_OTLP_RATIO")]
    pub(super) otlp_ratio: Option<f64>,
    /// Connections to the database for reading, besides up to twelve others: two for commands, one each for
    /// notices, read models, reactions and hung processes, and up to six for jobs [default: 10]
    #[arg(long, value_name = "N", env = "TRIBUTARY_MAX_CONNECTIONS")]
    pub(super) max_connections: Option<u32>,
    /// Commands that may wait; further ones are turned away [default: 10000]
    #[arg(long, value_name = "N", env = "TRIBUTARY_QUEUE_COMMANDS")]
    pub(super) queue_commands: Option<usize>,
    /// Commands appended together at most [default: 500]
    #[arg(long, value_name = "N", env = "TRIBUTARY_BATCH_COMMANDS")]
    pub(super) batch_commands: Option<usize>,
    /// Users, participants and programs kept in memory [default: 2000000]
    #[arg(long, value_name = "N", env = "TRIBUTARY_CACHED_STREAMS")]
    pub(super) cached_streams: Option<usize>,
    /// Seconds that a command waits for an unavailable database [default: 5]
    #[arg(long, value_name = "S", env = "TRIBUTARY_DATABASE_PATIENCE_S")]
    pub(super) database_patience_s: Option<u64>,
    /// Open streams in this process at most [default: 20000]
    #[arg(long, value_name = "N", env = "TRIBUTARY_STREAMS")]
    pub(super) streams: Option<usize>,
    /// Open streams of one caller in this process at most [default: 20000]
    #[arg(long, value_name = "N", env = "TRIBUTARY_STREAMS_PER_CALLER")]
    pub(super) streams_per_caller: Option<usize>,
    /// Events that may wait for one stream before it is cut off [default: 4096]
    #[arg(long, value_name = "N", env = "TRIBUTARY_QUEUED_EVENTS")]
    pub(super) queued_events: Option<usize>,
    /// Seconds between the heartbeats of a silent stream [default: 15]
    #[arg(long, value_name = "S", env = "TRIBUTARY_HEARTBEAT_S")]
    pub(super) heartbeat_s: Option<u64>,
    /// Seconds that a read waits for the position of its token at most [default: 5]
    #[arg(long, value_name = "S", env = "TRIBUTARY_READ_PATIENCE_S")]
    pub(super) read_patience_s: Option<u64>,
    /// Open connections of clients at most; fewer if the process may not open as many files [default: 10000]
    #[arg(long, value_name = "N", env = "TRIBUTARY_CONNECTIONS")]
    pub(super) connections: Option<usize>,
    /// Open connections of one address at most [default: 1000]
    #[arg(long, value_name = "N", env = "TRIBUTARY_CONNECTIONS_PER_ADDRESS")]
    pub(super) connections_per_address: Option<usize>,
    /// Proxies that may open any number of connections and name their clients in `X-Forwarded-For`: addresses
    /// and networks, as in `10.0.0.7,192.168.0.0/16` [default: none]
    #[arg(long, value_name = "NETWORK", env = "TRIBUTARY_TRUSTED_PROXIES", value_delimiter = ',')]
    pub(super) trusted_proxies: Option<Vec<Optional<Network>>>,
    /// Seconds until a request must have arrived, to its last byte [default: 10]
    #[arg(long, value_name = "S", env = "TRIBUTARY_REQUEST_TIMEOUT_S")]
    pub(super) request_timeout_s: Option<u64>,
    /// Seconds that a connection may be open without a call [default: 300]
    #[arg(long, value_name = "S", env = "TRIBUTARY_IDLE_TIMEOUT_S")]
    pub(super) idle_timeout_s: Option<u64>,
    /// Megabytes of answers that may wait for clients to read them; above it the connection with most of them
    /// is cut [default: 256]
    #[arg(long, value_name = "MB", env = "TRIBUTARY_UNREAD_ANSWERS_MB")]
    pub(super) unread_answers_mb: Option<usize>,
    /// Days for which jobs that are done are kept [default: 30]
    #[arg(long, value_name = "DAYS", env = "TRIBUTARY_JOBS_KEPT_DAYS")]
    pub(super) jobs_kept_days: Option<u64>,
    /// Calls a minute of one user; 0 is no limit [default: 1200]
    #[arg(long, value_name = "N", env = "TRIBUTARY_USER_CALLS_PER_MINUTE")]
    pub(super) user_calls_per_minute: Option<u32>,
    /// Calls a minute of one key or person of the roles service, operator and admin; 0 is no limit [default: 0]
    #[arg(long, value_name = "N", env = "TRIBUTARY_BACK_END_CALLS_PER_MINUTE")]
    pub(super) back_end_calls_per_minute: Option<u32>,
    /// Calls a minute without credentials from one address; 0 is no limit [default: 3000]
    #[arg(long, value_name = "N", env = "TRIBUTARY_ADDRESS_CALLS_PER_MINUTE")]
    pub(super) address_calls_per_minute: Option<u32>,
    /// Calls a minute of one RPC that is open to anyone, as `RegisterUser` is, from one address; 0 is no limit
    /// [default: 60]
    #[arg(long, value_name = "N", env = "TRIBUTARY_OPEN_CALLS_PER_ADDRESS_PER_MINUTE")]
    pub(super) open_calls_per_address_per_minute: Option<u32>,
    /// Calls a minute of one RPC that is open to anyone, from all addresses together; 0 is no limit
    /// [default: 1200]
    #[arg(long, value_name = "N", env = "TRIBUTARY_OPEN_CALLS_PER_MINUTE")]
    pub(super) open_calls_per_minute: Option<u32>,
    /// Whether anybody may sign up; if off, only back ends sign up users [default: on]
    #[arg(
        long,
        value_name = "on|off",
        env = "TRIBUTARY_SELF_REGISTRATION",
        hide_possible_values = true
    )]
    pub(super) self_registration: Option<Switch>,
    /// Whether sign-ups by users themselves wait until the link that is mailed to their address is followed
    /// [default: off]
    #[arg(
        long,
        value_name = "on|off",
        env = "TRIBUTARY_CONFIRM_SIGN_UPS",
        hide_possible_values = true
    )]
    pub(super) confirm_sign_ups: Option<Switch>,
    /// Days that such sign-ups wait before they are deleted [default: 7]
    #[arg(long, value_name = "DAYS", env = "TRIBUTARY_SIGN_UPS_KEPT_DAYS")]
    pub(super) sign_ups_kept_days: Option<u64>,
    /// A file with the certificate of the port and those above it, in PEM; with it the port speaks TLS
    /// [default: none]
    #[arg(long, value_name = "FILE", env = "TRIBUTARY_TLS_CERT")]
    pub(super) tls_cert: Option<OptionalPath>,
    /// A file with the private key of the certificate, in PEM [default: none]
    #[arg(long, value_name = "FILE", env = "TRIBUTARY_TLS_KEY")]
    pub(super) tls_key: Option<OptionalPath>,
    /// The origins of web pages that may call the API from a browser, as in
    /// `https://app.example.com,http://localhost:3000` [default: none]
    #[arg(long, value_name = "ORIGIN", env = "TRIBUTARY_CORS_ORIGINS", value_delimiter = ',')]
    pub(super) cors_origins: Option<Vec<Optional<Origin>>>,
    /// A PEM file with the private keys that sign access tokens: one or more of Ed25519; the first signs, all verify
    /// [default: none]
    #[arg(long, value_name = "FILE", env = "TRIBUTARY_SIGNING_KEYS")]
    pub(super) signing_keys: Option<OptionalPath>,
    /// The address that people reach the server at, as in `https://rewards.example.com`: links in mails begin
    /// with it [default: none]
    #[arg(long, value_name = "URL", env = "TRIBUTARY_PUBLIC_URL")]
    pub(super) public_url: Option<Optional<PublicUrl>>,
    /// Seconds that an access token is good [default: 900]
    #[arg(long, value_name = "S", env = "TRIBUTARY_ACCESS_TOKEN_S")]
    pub(super) access_token_s: Option<u64>,
    /// Days that a refresh token is good while it is not used [default: 14]
    #[arg(long, value_name = "DAYS", env = "TRIBUTARY_REFRESH_TOKEN_DAYS")]
    pub(super) refresh_token_days: Option<u64>,
    /// Days after which a session ends, however often it is refreshed [default: 90]
    #[arg(long, value_name = "DAYS", env = "TRIBUTARY_SESSION_DAYS")]
    pub(super) session_days: Option<u64>,
    /// The fewest characters of a password [default: 8]
    #[arg(long, value_name = "N", env = "TRIBUTARY_PASSWORD_CHARS")]
    pub(super) password_chars: Option<usize>,
    /// What a password must contain: `none`, or some of upper, lower, digit and special
    /// [default: upper,lower,digit,special]
    #[arg(long, value_name = "RULES", env = "TRIBUTARY_PASSWORD_RULES")]
    pub(super) password_rules: Option<String>,
    /// The memory that hashing a password takes, in KiB [default: 19456]
    #[arg(long, value_name = "KIB", env = "TRIBUTARY_PASSWORD_MEMORY_KIB")]
    pub(super) password_memory_kib: Option<u32>,
    /// The passes over that memory [default: 2]
    #[arg(long, value_name = "N", env = "TRIBUTARY_PASSWORD_PASSES")]
    pub(super) password_passes: Option<u32>,
    /// Passwords that may wait to be hashed or verified; further ones are turned away [default: 256]
    #[arg(long, value_name = "N", env = "TRIBUTARY_PASSWORD_QUEUE")]
    pub(super) password_queue: Option<usize>,
    /// Seconds that the link of a mail for choosing another password is good [default: 900]
    #[arg(long, value_name = "S", env = "TRIBUTARY_RESET_TOKEN_S")]
    pub(super) reset_token_s: Option<u64>,
    /// Whether operators and admins need a second factor; without one they can log in only to set one up
    /// [default: false]
    #[arg(
        long,
        value_name = "BOOL",
        env = "TRIBUTARY_REQUIRE_SECOND_FACTOR",
        num_args = 0..=1,
        default_missing_value = "true"
    )]
    pub(super) require_second_factor: Option<bool>,
    /// The mail server, as in `smtps://USER:PASSWORD@HOST` or `smtp://USER:PASSWORD@HOST?tls=required` (STARTTLS);
    /// `none`: nobody gets mail [default: none]
    #[arg(long, value_name = "URL", env = "SMTP_URL", hide_env_values = true)]
    pub(super) smtp_url: Option<Optional<String>>,
    /// Whom mails are from, as in `Rewards <rewards@example.com>` [default: none]
    #[arg(long, value_name = "ADDRESS", env = "TRIBUTARY_MAIL_FROM")]
    pub(super) mail_from: Option<Optional<String>>,
    /// A directory with templates of mails that replace those of the server [default: none]
    #[arg(long, value_name = "DIR", env = "TRIBUTARY_MAIL_TEMPLATES")]
    pub(super) mail_templates: Option<OptionalPath>,
    /// Mails that one server sends at the same time [default: 4]
    #[arg(long, value_name = "N", env = "TRIBUTARY_MAIL_CONCURRENCY")]
    pub(super) mail_concurrency: Option<usize>,
    /// Mails that one server sends in a second at most [default: 30]
    #[arg(long, value_name = "N", env = "TRIBUTARY_MAILS_PER_SECOND")]
    pub(super) mails_per_second: Option<u32>,
    /// Seconds that the mail server may take to take one mail [default: 60]
    #[arg(long, value_name = "S", env = "TRIBUTARY_MAIL_TIMEOUT_S")]
    pub(super) mail_timeout_s: Option<u64>,
    /// Attempts at a mail before it is parked [default: 12]
    #[arg(long, value_name = "N", env = "TRIBUTARY_MAIL_ATTEMPTS")]
    pub(super) mail_attempts: Option<u32>,
    /// Seconds between the first two attempts at a mail; the pause doubles with each further one [default: 30]
    #[arg(long, value_name = "S", env = "TRIBUTARY_MAIL_FIRST_PAUSE_S")]
    pub(super) mail_first_pause_s: Option<u64>,
    /// Seconds between two attempts at a mail at most [default: 14400]
    #[arg(long, value_name = "S", env = "TRIBUTARY_MAIL_LONGEST_PAUSE_S")]
    pub(super) mail_longest_pause_s: Option<u64>,
    /// Days for which mails are kept, without their content [default: 30]
    #[arg(long, value_name = "DAYS", env = "TRIBUTARY_MAILS_KEPT_DAYS")]
    pub(super) mails_kept_days: Option<u64>,
    /// Days for which the evidence of fraud flags, and addresses to compare sign-ups with, are kept [default: 400]
    #[arg(long, value_name = "DAYS", env = "TRIBUTARY_EVIDENCE_KEPT_DAYS")]
    pub(super) evidence_kept_days: Option<u64>,
    /// Days for which notes of operators and callers are kept [default: 400]
    #[arg(long, value_name = "DAYS", env = "TRIBUTARY_NOTES_KEPT_DAYS")]
    pub(super) notes_kept_days: Option<u64>,
    /// A file with domains of providers of disposable addresses, one in each line [default: none]
    #[arg(long, value_name = "FILE", env = "TRIBUTARY_DISPOSABLE_DOMAINS")]
    pub(super) disposable_domains: Option<OptionalPath>,
    /// Minor units above which an adjustment of a balance waits for a second operator; 0: each one [default: 100000]
    #[arg(long, value_name = "MINOR", env = "TRIBUTARY_ADJUSTMENT_LIMIT")]
    pub(super) adjustment_limit: Option<i64>,
    #[allow(clippy::doc_markdown, reason = "help is plain text")]
    /// The address of Stripe's API; another one stands in for it in tests [default: https://api.stripe.com]
    #[arg(long, value_name = "URL", env = "TRIBUTARY_STRIPE_API_URL")]
    pub(super) stripe_api_url: Option<ApiUrl>,
    /// Days for which events of Stripe are kept as they came [default: 30]
    #[arg(long, value_name = "DAYS", env = "TRIBUTARY_STRIPE_EVENTS_KEPT_DAYS")]
    pub(super) stripe_events_kept_days: Option<u64>,
    /// Minor units above which a confirmation of a payout waits for a second operator; 0: each one [default: 1000000]
    #[arg(long, value_name = "MINOR", env = "TRIBUTARY_PAYOUT_LIMIT")]
    pub(super) payout_limit: Option<i64>,
    /// A TOML file with the settings above, as in `listen = "0.0.0.0:50051"`
    #[arg(long, value_name = "FILE", env = "TRIBUTARY_CONFIG")]
    #[serde(skip)]
    pub(super) config: Option<PathBuf>,
}

impl Settings {
    /// Takes from the file, if there is one, the settings that neither flags nor environment give.
    pub(super) fn with_file(self) -> Result<Self, CliError> {
        let Some(path) = &self.config else { return Ok(self) };
        let text = std::fs::read_to_string(path)
            .map_err(|error| format!("cannot read {}: {error}", path.display()))?;
        // An error of this step quotes the faulty line of the file.
        let file: Self =
            toml::from_str(&text).map_err(|error| format!("{}: {error}", path.display()))?;
        let mut merged = Table::try_from(file)?;
        merged.extend(Table::try_from(&self)?);
        Ok(merged.try_into()?)
    }
}
