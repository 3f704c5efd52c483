//! Settings of the server: flags override the environment, which overrides the file, which overrides the
//! defaults.

use std::fmt::Debug;
use std::net::Ipv4Addr;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;
use toml::Table;

use super::address::ListenAddress;
use super::door::{self, Switch};
use super::mail::{MailPace, MailPart};
use super::{CliError, files};
use crate::access;
use crate::api::cors::Origin;
use crate::api::transport::{self, Network};
use crate::api::{ServerOptions, ServerSettings};
use crate::engine::{self, Environment};
use crate::jobs::{self, days};
use crate::live;
use crate::mails::MailSettings;
use crate::public_url::PublicUrl;
use crate::store::Database;
use crate::traces::{Traces, check_ratio};

const DEFAULT_LISTEN: &str = "127.0.0.1:50051";
const DEFAULT_MAX_CONNECTIONS: u32 = 10;
const DEFAULT_OTLP_RATIO: f64 = 1.0;
/// The longest time for which evidence of fraud, which is personal data, may be kept; also the default.
const MAX_EVIDENCE_KEPT_DAYS: u64 = 400;
const DEFAULT_JOBS_KEPT_DAYS: u64 = 30;

/// Where the database is.
#[derive(Args, Clone, Debug)]
pub(super) struct DatabaseSettings {
    /// The database, as in `postgres://user:password@host:5432/name`
    #[arg(long, value_name = "URL", env = "DATABASE_URL", hide_env_values = true)]
    pub(super) database_url: String,
}

/// The connections to the database that a server may open besides those for reading.
const FURTHER_CONNECTIONS: u32 = 12;

/// Settings of the server. Each is a flag, an environment variable and a key of the file.
#[derive(Args, Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Settings {
    /// The address to listen on, as HOST:PORT; without a host, all addresses [default: 127.0.0.1:50051]
    #[arg(long, value_name = "ADDR", env = "TRIBUTARY_LISTEN")]
    listen: Option<ListenAddress>,
    /// The address to expose metrics at, as `http://ADDR/metrics`; without access control, so keep it
    /// internal [default: none]
    #[arg(long, value_name = "ADDR", env = "TRIBUTARY_METRICS_LISTEN")]
    metrics_listen: Option<ListenAddress>,
    /// An OpenTelemetry collector to send traces to, as in `http://127.0.0.1:4317` (OTLP over gRPC, not
    /// encrypted) [default: none]
    #[arg(long, value_name = "URL", env = "TRIBUTARY_OTLP_ENDPOINT")]
    otlp_endpoint: Option<String>,
    /// The share of calls that are traced, 0 to 1, where the caller has not decided it already [default: 1]
    #[arg(long, value_name = "SHARE", env = "TRIBUTARY_OTLP_RATIO")]
    otlp_ratio: Option<f64>,
    /// Connections to the database for reading, besides up to twelve others: two for commands, one each for
    /// notices, read models, reactions and hung processes, and up to six for jobs [default: 10]
    #[arg(long, value_name = "N", env = "TRIBUTARY_MAX_CONNECTIONS")]
    max_connections: Option<u32>,
    /// Commands that may wait; further ones are turned away [default: 10000]
    #[arg(long, value_name = "N", env = "TRIBUTARY_QUEUE_COMMANDS")]
    queue_commands: Option<usize>,
    /// Commands appended together at most [default: 500]
    #[arg(long, value_name = "N", env = "TRIBUTARY_BATCH_COMMANDS")]
    batch_commands: Option<usize>,
    /// Users, participants and programs kept in memory [default: 2000000]
    #[arg(long, value_name = "N", env = "TRIBUTARY_CACHED_STREAMS")]
    cached_streams: Option<usize>,
    /// Seconds that a command waits for an unavailable database [default: 5]
    #[arg(long, value_name = "S", env = "TRIBUTARY_DATABASE_PATIENCE_S")]
    database_patience_s: Option<u64>,
    /// Open streams in this process at most [default: 20000]
    #[arg(long, value_name = "N", env = "TRIBUTARY_STREAMS")]
    streams: Option<usize>,
    /// Open streams of one caller in this process at most [default: 20000]
    #[arg(long, value_name = "N", env = "TRIBUTARY_STREAMS_PER_CALLER")]
    streams_per_caller: Option<usize>,
    /// Events that may wait for one stream before it is cut off [default: 4096]
    #[arg(long, value_name = "N", env = "TRIBUTARY_QUEUED_EVENTS")]
    queued_events: Option<usize>,
    /// Seconds between the heartbeats of a silent stream [default: 15]
    #[arg(long, value_name = "S", env = "TRIBUTARY_HEARTBEAT_S")]
    heartbeat_s: Option<u64>,
    /// Seconds that a read waits for the position of its token at most [default: 5]
    #[arg(long, value_name = "S", env = "TRIBUTARY_READ_PATIENCE_S")]
    read_patience_s: Option<u64>,
    /// Open connections of clients at most; fewer if the process may not open as many files [default: 10000]
    #[arg(long, value_name = "N", env = "TRIBUTARY_CONNECTIONS")]
    connections: Option<usize>,
    /// Open connections of one address at most [default: 1000]
    #[arg(long, value_name = "N", env = "TRIBUTARY_CONNECTIONS_PER_ADDRESS")]
    connections_per_address: Option<usize>,
    /// Proxies that may open any number of connections and name their clients in `X-Forwarded-For`: addresses
    /// and networks, as in `10.0.0.7,192.168.0.0/16` [default: none]
    #[arg(long, value_name = "NETWORK", env = "TRIBUTARY_TRUSTED_PROXIES", value_delimiter = ',')]
    trusted_proxies: Option<Vec<Network>>,
    /// Seconds until a request must have arrived, to its last byte [default: 10]
    #[arg(long, value_name = "S", env = "TRIBUTARY_REQUEST_TIMEOUT_S")]
    request_timeout_s: Option<u64>,
    /// Seconds that a connection may be open without a call [default: 300]
    #[arg(long, value_name = "S", env = "TRIBUTARY_IDLE_TIMEOUT_S")]
    idle_timeout_s: Option<u64>,
    /// Megabytes of answers that may wait for clients to read them; above it the connection with most of them
    /// is cut [default: 256]
    #[arg(long, value_name = "MB", env = "TRIBUTARY_UNREAD_ANSWERS_MB")]
    unread_answers_mb: Option<usize>,
    /// Days for which jobs that are done are kept [default: 30]
    #[arg(long, value_name = "DAYS", env = "TRIBUTARY_JOBS_KEPT_DAYS")]
    jobs_kept_days: Option<u64>,
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
    /// A file with the certificate of the port and those above it, in PEM; with it the port speaks TLS
    /// [default: none]
    #[arg(long, value_name = "FILE", env = "TRIBUTARY_TLS_CERT")]
    pub(super) tls_cert: Option<PathBuf>,
    /// A file with the private key of the certificate, in PEM [default: none]
    #[arg(long, value_name = "FILE", env = "TRIBUTARY_TLS_KEY")]
    pub(super) tls_key: Option<PathBuf>,
    /// The origins of web pages that may call the API from a browser, as in
    /// `https://app.example.com,http://localhost:3000` [default: none]
    #[arg(long, value_name = "ORIGIN", env = "TRIBUTARY_CORS_ORIGINS", value_delimiter = ',')]
    pub(super) cors_origins: Option<Vec<Origin>>,
    /// A PEM file with the private keys that sign access tokens: one or more of Ed25519; the first signs, all verify
    /// [default: none]
    #[arg(long, value_name = "FILE", env = "TRIBUTARY_SIGNING_KEYS")]
    signing_keys: Option<PathBuf>,
    /// The address that people reach the server at, as in `https://rewards.example.com`: links in mails begin
    /// with it [default: none]
    #[arg(long, value_name = "URL", env = "TRIBUTARY_PUBLIC_URL")]
    public_url: Option<PublicUrl>,
    /// Seconds that an access token is good [default: 900]
    #[arg(long, value_name = "S", env = "TRIBUTARY_ACCESS_TOKEN_S")]
    access_token_s: Option<u64>,
    /// Days that a refresh token is good while it is not used [default: 14]
    #[arg(long, value_name = "DAYS", env = "TRIBUTARY_REFRESH_TOKEN_DAYS")]
    refresh_token_days: Option<u64>,
    /// Days after which a session ends, however often it is refreshed [default: 90]
    #[arg(long, value_name = "DAYS", env = "TRIBUTARY_SESSION_DAYS")]
    session_days: Option<u64>,
    /// The fewest characters of a password [default: 8]
    #[arg(long, value_name = "N", env = "TRIBUTARY_PASSWORD_CHARS")]
    password_chars: Option<usize>,
    /// What a password must contain: `none`, or some of upper, lower, digit and special
    /// [default: upper,lower,digit,special]
    #[arg(long, value_name = "RULES", env = "TRIBUTARY_PASSWORD_RULES")]
    password_rules: Option<String>,
    /// The memory that hashing a password takes, in KiB [default: 19456]
    #[arg(long, value_name = "KIB", env = "TRIBUTARY_PASSWORD_MEMORY_KIB")]
    password_memory_kib: Option<u32>,
    /// The passes over that memory [default: 2]
    #[arg(long, value_name = "N", env = "TRIBUTARY_PASSWORD_PASSES")]
    password_passes: Option<u32>,
    /// Passwords that may wait to be hashed or verified; further ones are turned away [default: 256]
    #[arg(long, value_name = "N", env = "TRIBUTARY_PASSWORD_QUEUE")]
    password_queue: Option<usize>,
    /// Seconds that the link of a mail for choosing another password is good [default: 900]
    #[arg(long, value_name = "S", env = "TRIBUTARY_RESET_TOKEN_S")]
    reset_token_s: Option<u64>,
    /// Whether operators and admins need a second factor; without one they can log in only to set one up
    /// [default: false]
    #[arg(long, value_name = "BOOL", env = "TRIBUTARY_REQUIRE_SECOND_FACTOR", num_args = 0..=1, default_missing_value = "true")]
    require_second_factor: Option<bool>,
    /// The mail server, as in `smtps://USER:PASSWORD@HOST` or `smtp://USER:PASSWORD@HOST?tls=required` (STARTTLS);
    /// `none`: nobody gets mail [default: none]
    #[arg(long, value_name = "URL", env = "SMTP_URL", hide_env_values = true)]
    smtp_url: Option<String>,
    /// Whom mails are from, as in `Rewards <rewards@example.com>` [default: none]
    #[arg(long, value_name = "ADDRESS", env = "TRIBUTARY_MAIL_FROM")]
    mail_from: Option<String>,
    /// A directory with templates of mails that replace those of the server [default: none]
    #[arg(long, value_name = "DIR", env = "TRIBUTARY_MAIL_TEMPLATES")]
    mail_templates: Option<PathBuf>,
    /// Mails that one server sends at the same time [default: 4]
    #[arg(long, value_name = "N", env = "TRIBUTARY_MAIL_CONCURRENCY")]
    mail_concurrency: Option<usize>,
    /// Seconds that the mail server may take to take one mail [default: 60]
    #[arg(long, value_name = "S", env = "TRIBUTARY_MAIL_TIMEOUT_S")]
    mail_timeout_s: Option<u64>,
    /// Attempts at a mail before it is parked [default: 12]
    #[arg(long, value_name = "N", env = "TRIBUTARY_MAIL_ATTEMPTS")]
    mail_attempts: Option<u32>,
    /// Seconds between the first two attempts at a mail; the pause doubles with each further one [default: 30]
    #[arg(long, value_name = "S", env = "TRIBUTARY_MAIL_FIRST_PAUSE_S")]
    mail_first_pause_s: Option<u64>,
    /// Seconds between two attempts at a mail at most [default: 14400]
    #[arg(long, value_name = "S", env = "TRIBUTARY_MAIL_LONGEST_PAUSE_S")]
    mail_longest_pause_s: Option<u64>,
    /// Days for which mails are kept, without their content [default: 30]
    #[arg(long, value_name = "DAYS", env = "TRIBUTARY_MAILS_KEPT_DAYS")]
    mails_kept_days: Option<u64>,
    /// Days for which the evidence of fraud flags, and addresses to compare sign-ups with, are kept [default: 400]
    #[arg(long, value_name = "DAYS", env = "TRIBUTARY_EVIDENCE_KEPT_DAYS")]
    evidence_kept_days: Option<u64>,
    /// A TOML file with the settings above, as in `listen = "0.0.0.0:50051"`
    #[arg(long, value_name = "FILE", env = "TRIBUTARY_CONFIG")]
    #[serde(skip)]
    config: Option<PathBuf>,
}

impl Settings {
    /// Takes from the file, if there is one, the settings that neither flags nor environment give.
    fn with_file(self) -> Result<Self, CliError> {
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

/// Settings with everything filled in.
pub(super) struct Resolved {
    listen: ListenAddress,
    metrics_listen: Option<ListenAddress>,
    traces: Traces,
    pub(super) max_connections: u32,
    settings: ServerSettings,
    engine: engine::Limits,
    live: live::Limits,
    jobs: jobs::Limits,
    mail: MailPart,
    mail_pace: MailPace,
    transport: transport::Limits,
    pub(super) access: access::Settings,
}

impl Settings {
    pub(super) fn resolve(self) -> Result<Resolved, CliError> {
        let settings = self.with_file()?;
        let transport = transport_limits(&settings)?;
        let access = access_settings(&settings)?;
        let mail_pace = mail_pace(&settings)?;
        let listen = match settings.listen.clone() {
            Some(listen) => listen,
            None => DEFAULT_LISTEN.parse()?,
        };
        let mut engine = engine::Limits::default();
        let mut live = live::Limits::default();
        let mut server = door::resolve(&settings)?;
        set(&mut engine.queue_commands, "queue_commands", 1..=1_000_000, settings.queue_commands)?;
        set(&mut engine.batch_commands, "batch_commands", 1..=10_000, settings.batch_commands)?;
        let cached = settings.cached_streams;
        set(&mut engine.cached_streams, "cached_streams", 1..=100_000_000, cached)?;
        let seconds = Duration::from_secs;
        let patience = settings.database_patience_s.map(seconds);
        let range = seconds(0)..=seconds(3_600);
        set(&mut engine.database_patience, "database_patience_s", range, patience)?;
        set(&mut live.streams, "streams", 1..=1_000_000, settings.streams)?;
        set(&mut live.queued_events, "queued_events", 1..=1_000_000, settings.queued_events)?;
        let per_caller = settings.streams_per_caller;
        set(&mut live.streams_per_caller, "streams_per_caller", 1..=1_000_000, per_caller)?;
        let patience = settings.read_patience_s.map(seconds);
        let range = seconds(0)..=seconds(3_600);
        set(&mut server.read_patience, "read_patience_s", range, patience)?;
        let heartbeat = settings.heartbeat_s.map(seconds);
        set(&mut server.heartbeat, "heartbeat_s", seconds(1)..=seconds(3_600), heartbeat)?;
        server.public_url = settings.public_url;
        let mut jobs = jobs::Limits::default();
        let mut kept_days = DEFAULT_JOBS_KEPT_DAYS;
        set(&mut kept_days, "jobs_kept_days", 1..=36_500, settings.jobs_kept_days)?;
        jobs.kept = days(kept_days);
        let mut mails_kept_days = DEFAULT_JOBS_KEPT_DAYS;
        set(&mut mails_kept_days, "mails_kept_days", 1..=36_500, settings.mails_kept_days)?;
        jobs.mails_kept = days(mails_kept_days);
        let mut evidence_kept_days = MAX_EVIDENCE_KEPT_DAYS;
        let given = settings.evidence_kept_days;
        set(&mut evidence_kept_days, "evidence_kept_days", 1..=MAX_EVIDENCE_KEPT_DAYS, given)?;
        jobs.evidence_kept = days(evidence_kept_days);
        let mail = MailPart {
            smtp_url: settings.smtp_url,
            from: settings.mail_from,
            templates: settings.mail_templates,
        };
        let mut max_connections = DEFAULT_MAX_CONNECTIONS;
        set(&mut max_connections, "max_connections", 1..=10_000, settings.max_connections)?;
        let metrics_listen = settings.metrics_listen;
        let traces = traces(settings.otlp_endpoint.as_deref(), settings.otlp_ratio)?;
        Ok(Resolved {
            listen,
            metrics_listen,
            traces,
            max_connections,
            settings: server,
            engine,
            live,
            jobs,
            mail,
            mail_pace,
            transport,
            access,
        })
    }
}

/// How fast mails are sent, and how often they are tried.
fn mail_pace(settings: &Settings) -> Result<MailPace, CliError> {
    let mut pace = MailPace::default();
    let seconds = Duration::from_secs;
    set(&mut pace.concurrency, "mail_concurrency", 1..=100, settings.mail_concurrency)?;
    let patience = settings.mail_timeout_s.map(seconds);
    set(&mut pace.patience, "mail_timeout_s", seconds(1)..=seconds(600), patience)?;
    set(&mut pace.max_attempts, "mail_attempts", 1..=1_000, settings.mail_attempts)?;
    let range = || seconds(1)..=seconds(86_400);
    let pause = settings.mail_first_pause_s.map(seconds);
    set(&mut pace.first_pause, "mail_first_pause_s", range(), pause)?;
    let pause = settings.mail_longest_pause_s.map(seconds);
    set(&mut pace.longest_pause, "mail_longest_pause_s", range(), pause)?;
    Ok(pace)
}

/// The limits on what clients can take.
fn transport_limits(settings: &Settings) -> Result<transport::Limits, CliError> {
    let mut limits = transport::Limits::default();
    set(&mut limits.connections, "connections", 1..=1_000_000, settings.connections)?;
    let per_address = settings.connections_per_address;
    set(
        &mut limits.connections_per_address,
        "connections_per_address",
        1..=1_000_000,
        per_address,
    )?;
    limits.trusted_proxies = settings.trusted_proxies.clone().unwrap_or_default();
    let seconds = |range: RangeInclusive<u64>| {
        Duration::from_secs(*range.start())..=Duration::from_secs(*range.end())
    };
    let timeout = settings.request_timeout_s.map(Duration::from_secs);
    set(&mut limits.request_timeout, "request_timeout_s", seconds(1..=3_600), timeout)?;
    let timeout = settings.idle_timeout_s.map(Duration::from_secs);
    set(&mut limits.idle_timeout, "idle_timeout_s", seconds(1..=86_400), timeout)?;
    let mut megabytes = limits.unread_bytes >> 20;
    set(&mut megabytes, "unread_answers_mb", 1..=1_048_576, settings.unread_answers_mb)?;
    limits.unread_bytes = megabytes << 20;
    Ok(limits)
}

/// The settings of sessions and passwords.
fn access_settings(settings: &Settings) -> Result<access::Settings, CliError> {
    let mut access = access::Settings::default();
    access.signing_keys.clone_from(&settings.signing_keys);
    let longest = access::MAX_ACCESS_TOKEN;
    let seconds = settings.access_token_s.map(Duration::from_secs);
    let range = Duration::from_secs(1)..=longest;
    set(&mut access.access_token, "access_token_s", range, seconds)?;
    let given = settings.refresh_token_days.map(days);
    set(&mut access.refresh_token, "refresh_token_days", days(1)..=days(365), given)?;
    let given = settings.session_days.map(days);
    set(&mut access.session, "session_days", days(1)..=days(3_650), given)?;
    let seconds = Duration::from_secs;
    let given = settings.reset_token_s.map(seconds);
    set(&mut access.reset_token, "reset_token_s", seconds(60)..=seconds(86_400), given)?;
    access.require_second_factor = settings.require_second_factor.unwrap_or_default();
    let passwords = &mut access.passwords;
    set(&mut passwords.min_chars, "password_chars", 1..=128, settings.password_chars)?;
    if let Some(rules) = &settings.password_rules {
        passwords.rules = rules.parse().map_err(|error| format!("password_rules: {error}"))?;
    }
    let memory = settings.password_memory_kib;
    set(&mut passwords.memory_kib, "password_memory_kib", 64..=1_048_576, memory)?;
    set(&mut passwords.passes, "password_passes", 1..=100, settings.password_passes)?;
    set(&mut passwords.queue, "password_queue", 1..=100_000, settings.password_queue)?;
    Ok(access)
}

/// Sets a value, if one is given, and checks its bounds.
pub(super) fn set<T: PartialOrd + Debug>(
    value: &mut T,
    name: &str,
    range: RangeInclusive<T>,
    given: Option<T>,
) -> Result<(), CliError> {
    match given {
        Some(given) if range.contains(&given) => *value = given,
        Some(given) => {
            let (least, most) = range.into_inner();
            return Err(format!("{name} must be {least:?} to {most:?}, not {given:?}").into());
        }
        None => {}
    }
    Ok(())
}

/// Traces to a collector, if one is given.
fn traces(endpoint: Option<&str>, ratio: Option<f64>) -> Result<Traces, CliError> {
    let ratio = ratio.unwrap_or(DEFAULT_OTLP_RATIO);
    check_ratio(ratio).map_err(|error| format!("otlp_ratio {error}"))?;
    match endpoint {
        Some(endpoint) => {
            Ok(Traces::to(endpoint, ratio).map_err(|error| format!("otlp_endpoint {error}"))?)
        }
        None => Ok(Traces::default()),
    }
}

async fn bind(address: &ListenAddress, flag: &str) -> Result<TcpListener, CliError> {
    address.listen().await.map_err(|error| {
        match error.kind() {
            std::io::ErrorKind::AddrInUse => format!(
                "cannot listen on {address}: another program does; stop it, or pass another \
                 address with {flag}"
            ),
            _ => format!("cannot listen on {address}: {error}; pass another with {flag}"),
        }
        .into()
    })
}

impl Resolved {
    /// Does not count the calls of this machine: for a server that one developer uses.
    pub(super) fn exempt_loopback(&mut self) {
        self.settings.rates.exempts_loopback = true;
    }

    /// The scheme of the server's address.
    pub(super) fn scheme(&self) -> &'static str {
        if self.settings.tls.is_some() { "https" } else { "http" }
    }

    pub(super) async fn listener(&self) -> Result<TcpListener, CliError> {
        bind(&self.listen, "--listen").await
    }

    /// Links begin with the address of this listener, if the settings do not say what they begin with.
    pub(super) fn link_to(&mut self, listener: &TcpListener) -> Result<(), CliError> {
        if self.settings.public_url.is_none() {
            let mut address = listener.local_addr()?;
            if address.ip().is_unspecified() {
                address.set_ip(Ipv4Addr::LOCALHOST.into());
            }
            self.settings.public_url = Some(format!("http://{address}").parse()?);
        }
        Ok(())
    }

    /// How mails are sent. Without a mail server they are kept in `folder`, if there is one.
    pub(super) fn mail(&self, folder: Option<&Path>) -> Result<MailSettings, CliError> {
        self.mail.complete(self.mail_pace, self.settings.public_url.clone(), folder)
    }

    /// The listener for metrics, if they are to be exposed.
    pub(super) async fn metrics_listener(&self) -> Result<Option<TcpListener>, CliError> {
        match &self.metrics_listen {
            Some(address) => Ok(Some(bind(address, "--metrics-listen").await?)),
            None => Ok(None),
        }
    }

    pub(super) fn server_options(
        mut self,
        database: Database,
        admin_key: String,
        environment: Environment,
        metrics_listener: Option<TcpListener>,
        mail: MailSettings,
    ) -> ServerOptions {
        let connections = self.max_connections.saturating_add(FURTHER_CONNECTIONS);
        if let Some(files) = files::raise_limit(connections)
            && files < self.transport.connections
        {
            tracing::warn!(
                wanted = self.transport.connections,
                possible = files,
                "the limit on open files of this process allows fewer connections than the settings; raise it \
                 with ulimit -Hn or LimitNOFILE"
            );
            self.transport.connections = files.max(1);
        }
        ServerOptions {
            metrics_listener,
            traces: self.traces,
            database,
            admin_key,
            access: self.access,
            environment,
            settings: self.settings,
            engine: self.engine,
            live: self.live,
            jobs: self.jobs,
            mail,
            transport: self.transport,
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]
mod tests {
    use clap::{Arg, Args, Command};

    use super::{DEFAULT_OTLP_RATIO, Settings};

    /// The default of each setting.
    fn defaults() -> Vec<(&'static str, String)> {
        let resolved = Settings::default().resolve().unwrap();
        let (engine, live, server) = (resolved.engine, resolved.live, resolved.settings);
        let (transport, access) = (resolved.transport, resolved.access);
        let mail = resolved.mail_pace;
        assert!(transport.trusted_proxies.is_empty());
        assert!(server.tls.is_none() && server.origins.is_empty());
        vec![
            ("listen", resolved.listen.to_string()),
            ("metrics_listen", "none".into()),
            ("otlp_endpoint", "none".into()),
            ("otlp_ratio", DEFAULT_OTLP_RATIO.to_string()),
            ("max_connections", resolved.max_connections.to_string()),
            ("queue_commands", engine.queue_commands.to_string()),
            ("batch_commands", engine.batch_commands.to_string()),
            ("cached_streams", engine.cached_streams.to_string()),
            ("database_patience_s", engine.database_patience.as_secs().to_string()),
            ("streams", live.streams.to_string()),
            ("streams_per_caller", live.streams_per_caller.to_string()),
            ("queued_events", live.queued_events.to_string()),
            ("heartbeat_s", server.heartbeat.as_secs().to_string()),
            ("read_patience_s", server.read_patience.as_secs().to_string()),
            ("connections", transport.connections.to_string()),
            ("connections_per_address", transport.connections_per_address.to_string()),
            ("trusted_proxies", "none".into()),
            ("request_timeout_s", transport.request_timeout.as_secs().to_string()),
            ("idle_timeout_s", transport.idle_timeout.as_secs().to_string()),
            ("unread_answers_mb", (transport.unread_bytes >> 20).to_string()),
            ("jobs_kept_days", (resolved.jobs.kept.as_secs() / 86_400).to_string()),
            ("user_calls_per_minute", server.rates.user.to_string()),
            ("back_end_calls_per_minute", server.rates.back_end.to_string()),
            ("address_calls_per_minute", server.rates.address.to_string()),
            ("open_calls_per_address_per_minute", server.rates.open_address.to_string()),
            ("open_calls_per_minute", server.rates.open.to_string()),
            ("self_registration", if server.self_registration { "on" } else { "off" }.into()),
            ("tls_cert", "none".into()),
            ("tls_key", "none".into()),
            ("cors_origins", "none".into()),
            ("signing_keys", access.signing_keys.map_or("none", |_| "a file").into()),
            ("public_url", "none".into()),
            ("access_token_s", access.access_token.as_secs().to_string()),
            ("refresh_token_days", (access.refresh_token.as_secs() / 86_400).to_string()),
            ("session_days", (access.session.as_secs() / 86_400).to_string()),
            ("password_chars", access.passwords.min_chars.to_string()),
            ("password_rules", access.passwords.rules.to_string()),
            ("password_memory_kib", access.passwords.memory_kib.to_string()),
            ("password_passes", access.passwords.passes.to_string()),
            ("password_queue", access.passwords.queue.to_string()),
            ("reset_token_s", access.reset_token.as_secs().to_string()),
            ("require_second_factor", access.require_second_factor.to_string()),
            ("smtp_url", "none".into()),
            ("mail_from", "none".into()),
            ("mail_templates", "none".into()),
            ("mail_concurrency", mail.concurrency.to_string()),
            ("mail_timeout_s", mail.patience.as_secs().to_string()),
            ("mail_attempts", mail.max_attempts.to_string()),
            ("mail_first_pause_s", mail.first_pause.as_secs().to_string()),
            ("mail_longest_pause_s", mail.longest_pause.as_secs().to_string()),
            ("mails_kept_days", (resolved.jobs.mails_kept.as_secs() / 86_400).to_string()),
            ("evidence_kept_days", (resolved.jobs.evidence_kept.as_secs() / 86_400).to_string()),
        ]
    }

    #[test]
    fn the_help_and_the_document_name_each_default_as_it_is() {
        let command = Settings::augment_args(Command::new(""));
        let document = include_str!("../../docs/settings.md");
        let mut settings: Vec<&Arg> = command.get_arguments().collect();
        settings.retain(|arg| *arg.get_id() != "config");
        assert_eq!(settings.len(), defaults().len());
        for (arg, (name, default)) in settings.into_iter().zip(defaults()) {
            assert_eq!(*arg.get_id(), name);
            let help = arg.get_help().unwrap().to_string();
            assert!(help.ends_with(&format!("[default: {default}]")), "{name}: {help}");
            let flag = format!("| `--{}` | ", name.replace('_', "-"));
            let row = document.lines().find(|line| line.starts_with(&flag)).unwrap();
            let column = row.split(" | ").nth(2).unwrap();
            assert_eq!(column.trim_matches('`'), default, "{name} in docs/settings.md");
        }
    }
}
