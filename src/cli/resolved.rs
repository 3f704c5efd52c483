//! Settings with everything filled in, as the parts of a server need them.

use std::fs;
use std::net::Ipv4Addr;
use std::path::Path;
use std::time::Duration;

use tokio::net::TcpListener;

use super::address::ListenAddress;
use super::door;
use super::faults::{Faults, names};
use super::mail::{MailPace, MailPart};
use super::optional::Optional;
use super::settings::Settings;
use super::stripe;
use super::{CliError, files};
use crate::access;
use crate::api::transport;
use crate::api::{ServerOptions, ServerSettings};
use crate::engine::{self, Environment};
use crate::jobs::{self, days};
use crate::live;
use crate::mails::MailSettings;
use crate::payments;
use crate::store::Database;
use crate::traces::{Traces, check_ratio};
use domain::fraud::DisposableDomains;
use domain::money::MAX_AMOUNT_MINOR;

const DEFAULT_LISTEN: &str = "127.0.0.1:50051";
const DEFAULT_MAX_CONNECTIONS: u32 = 10;
const DEFAULT_OTLP_RATIO: f64 = 1.0;
const DEFAULT_KEPT_DAYS: u64 = 30;

/// The connections to the database that a server may open besides those for reading.
const FURTHER_CONNECTIONS: u32 = 12;

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
    payments: payments::Settings,
    pub(super) access: access::Settings,
}

impl Settings {
    /// Fills in what is not given. A setting with a fault has its default then.
    ///
    /// Only a file that cannot be read is an error at once.
    pub(super) fn resolve(self, faults: &mut Faults) -> Result<Resolved, CliError> {
        let settings = self.with_file()?;
        let mut max_connections = DEFAULT_MAX_CONNECTIONS;
        faults.set(&mut max_connections, "max_connections", 1..=10_000, settings.max_connections);
        Ok(Resolved {
            max_connections,
            settings: server_settings(&settings, faults),
            engine: engine_limits(&settings, faults),
            live: live_limits(&settings, faults),
            jobs: job_limits(&settings, faults),
            transport: transport_limits(&settings, faults),
            access: access_settings(&settings, faults),
            mail_pace: mail_pace(&settings, faults),
            traces: traces(&settings, faults),
            payments: stripe::settings(settings.stripe_api_url, faults),
            listen: match settings.listen {
                Some(listen) => listen,
                None => DEFAULT_LISTEN.parse()?,
            },
            metrics_listen: Optional::of(settings.metrics_listen),
            mail: MailPart {
                smtp_url: settings.smtp_url,
                from: Optional::of(settings.mail_from),
                templates: Optional::of(settings.mail_templates),
            },
        })
    }
}

fn server_settings(settings: &Settings, faults: &mut Faults) -> ServerSettings {
    let mut server = door::resolve(settings, faults);
    let seconds = Duration::from_secs;
    let patience = settings.read_patience_s;
    faults.set_time(&mut server.read_patience, "read_patience_s", seconds, 0..=3_600, patience);
    faults.set_time(&mut server.heartbeat, "heartbeat_s", seconds, 1..=3_600, settings.heartbeat_s);
    server.public_url = Optional::of(settings.public_url.clone());
    let kept = settings.sign_ups_kept_days;
    faults.set_time(&mut server.sign_ups_kept, "sign_ups_kept_days", days, 1..=365, kept);
    let (value, limit) = (&mut server.adjustment_limit_minor, settings.adjustment_limit);
    faults.set(value, "adjustment_limit", 0..=MAX_AMOUNT_MINOR, limit);
    let (value, limit) = (&mut server.payout_limit_minor, settings.payout_limit);
    faults.set(value, "payout_limit", 0..=MAX_AMOUNT_MINOR, limit);
    if let Some(path) = Optional::of(settings.disposable_domains.clone()) {
        let domains = disposable_domains(&path);
        server.disposable_domains = faults.value("disposable_domains", domains).unwrap_or_default();
    }
    server
}

/// The domains of a file, one in each line.
fn disposable_domains(path: &Path) -> Result<DisposableDomains, String> {
    let shown = path.display();
    let list = fs::read_to_string(path).map_err(|error| format!("cannot read {shown}: {error}"))?;
    DisposableDomains::parse(&list).map_err(|line| format!("line {line} of {shown} is no domain"))
}

fn engine_limits(settings: &Settings, faults: &mut Faults) -> engine::Limits {
    let mut limits = engine::Limits::default();
    let (queue, batch) = (settings.queue_commands, settings.batch_commands);
    faults.set(&mut limits.queue_commands, "queue_commands", 1..=1_000_000, queue);
    faults.set(&mut limits.batch_commands, "batch_commands", 1..=10_000, batch);
    let cached = settings.cached_streams;
    faults.set(&mut limits.cached_streams, "cached_streams", 1..=100_000_000, cached);
    let (seconds, patience) = (Duration::from_secs, settings.database_patience_s);
    let value = &mut limits.database_patience;
    faults.set_time(value, "database_patience_s", seconds, 0..=3_600, patience);
    limits
}

fn live_limits(settings: &Settings, faults: &mut Faults) -> live::Limits {
    let mut limits = live::Limits::default();
    let (streams, per_caller) = (settings.streams, settings.streams_per_caller);
    faults.set(&mut limits.streams, "streams", 1..=1_000_000, streams);
    faults.set(&mut limits.streams_per_caller, "streams_per_caller", 1..=1_000_000, per_caller);
    let queued = settings.queued_events;
    faults.set(&mut limits.queued_events, "queued_events", 1..=1_000_000, queued);
    limits
}

/// How long jobs and mails are kept.
fn job_limits(settings: &Settings, faults: &mut Faults) -> jobs::Limits {
    let kept = days(DEFAULT_KEPT_DAYS);
    let mut limits = jobs::Limits { kept, mails_kept: kept, ..jobs::Limits::default() };
    let (jobs, mails) = (settings.jobs_kept_days, settings.mails_kept_days);
    faults.set_time(&mut limits.kept, "jobs_kept_days", days, 1..=36_500, jobs);
    faults.set_time(&mut limits.mails_kept, "mails_kept_days", days, 1..=36_500, mails);
    let evidence = settings.evidence_kept_days;
    faults.set_time(&mut limits.evidence_kept, "evidence_kept_days", days, 1..=400, evidence);
    let notes = settings.notes_kept_days;
    faults.set_time(&mut limits.notes_kept, "notes_kept_days", days, 1..=3_650, notes);
    let events = settings.stripe_events_kept_days;
    let value = &mut limits.stripe_events_kept;
    faults.set_time(value, "stripe_events_kept_days", days, 1..=3_650, events);
    // Its bounds are checked where the server gets it.
    if let Some(kept @ 1..=365) = settings.sign_ups_kept_days {
        limits.sign_ups_kept = days(kept);
    }
    limits
}

/// How fast mails are sent, and how often they are tried.
fn mail_pace(settings: &Settings, faults: &mut Faults) -> MailPace {
    let mut pace = MailPace::default();
    let seconds = Duration::from_secs;
    faults.set(&mut pace.concurrency, "mail_concurrency", 1..=100, settings.mail_concurrency);
    faults.set(&mut pace.per_second, "mails_per_second", 1..=10_000, settings.mails_per_second);
    let patience = settings.mail_timeout_s;
    faults.set_time(&mut pace.patience, "mail_timeout_s", seconds, 1..=600, patience);
    faults.set(&mut pace.max_attempts, "mail_attempts", 1..=1_000, settings.mail_attempts);
    let (first, longest) = (settings.mail_first_pause_s, settings.mail_longest_pause_s);
    faults.set_time(&mut pace.first_pause, "mail_first_pause_s", seconds, 1..=86_400, first);
    faults.set_time(&mut pace.longest_pause, "mail_longest_pause_s", seconds, 1..=86_400, longest);
    pace
}

/// The limits on what clients can take.
fn transport_limits(settings: &Settings, faults: &mut Faults) -> transport::Limits {
    let mut limits = transport::Limits::default();
    let (all, per_address) = (settings.connections, settings.connections_per_address);
    faults.set(&mut limits.connections, "connections", 1..=1_000_000, all);
    let value = &mut limits.connections_per_address;
    faults.set(value, "connections_per_address", 1..=1_000_000, per_address);
    limits.trusted_proxies = Optional::list(settings.trusted_proxies.clone());
    let (seconds, timeout) = (Duration::from_secs, settings.request_timeout_s);
    faults.set_time(&mut limits.request_timeout, "request_timeout_s", seconds, 1..=3_600, timeout);
    let timeout = settings.idle_timeout_s;
    faults.set_time(&mut limits.idle_timeout, "idle_timeout_s", seconds, 1..=86_400, timeout);
    let mut megabytes = limits.unread_bytes >> 20;
    let given = settings.unread_answers_mb;
    faults.set(&mut megabytes, "unread_answers_mb", 1..=1_048_576, given);
    limits.unread_bytes = megabytes << 20;
    limits
}

/// The settings of sessions and passwords.
fn access_settings(settings: &Settings, faults: &mut Faults) -> access::Settings {
    let signing_keys = Optional::of(settings.signing_keys.clone());
    let mut access = access::Settings { signing_keys, ..access::Settings::default() };
    let (seconds, given) = (Duration::from_secs, settings.access_token_s);
    let range = 1..=access::MAX_ACCESS_TOKEN.as_secs();
    faults.set_time(&mut access.access_token, "access_token_s", seconds, range, given);
    let given = settings.refresh_token_days;
    faults.set_time(&mut access.refresh_token, "refresh_token_days", days, 1..=365, given);
    let given = settings.session_days;
    faults.set_time(&mut access.session, "session_days", days, 1..=3_650, given);
    let given = settings.reset_token_s;
    faults.set_time(&mut access.reset_token, "reset_token_s", seconds, 60..=86_400, given);
    access.require_second_factor = settings.require_second_factor.unwrap_or_default();
    let passwords = &mut access.passwords;
    faults.set(&mut passwords.min_chars, "password_chars", 1..=128, settings.password_chars);
    if let Some(rules) = &settings.password_rules
        && let Some(rules) = faults.value("password_rules", rules.parse())
    {
        passwords.rules = rules;
    }
    let memory = settings.password_memory_kib;
    faults.set(&mut passwords.memory_kib, "password_memory_kib", 64..=1_048_576, memory);
    faults.set(&mut passwords.passes, "password_passes", 1..=100, settings.password_passes);
    faults.set(&mut passwords.queue, "password_queue", 1..=100_000, settings.password_queue);
    access
}

/// Traces to a collector, if one is given.
fn traces(settings: &Settings, faults: &mut Faults) -> Traces {
    let ratio = settings.otlp_ratio.unwrap_or(DEFAULT_OTLP_RATIO);
    let checked = faults.value("otlp_ratio", check_ratio(ratio));
    let (Some(endpoint), Some(())) = (Optional::of(settings.otlp_endpoint.clone()), checked) else {
        return Traces::default();
    };
    faults.value("otlp_endpoint", Traces::to(&endpoint, ratio)).unwrap_or_default()
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
    pub(super) fn mail(&self, folder: Option<&Path>, faults: &mut Faults) -> Option<MailSettings> {
        let public_url = self.settings.public_url.clone();
        let mail = self.mail.complete(self.mail_pace, public_url, folder, faults)?;
        if self.settings.confirm_sign_ups
            && !(mail.delivery.delivers() && mail.public_url.is_some())
        {
            faults.add(
                "confirm_sign_ups",
                format_args!(
                    "needs mails, or nobody could confirm a sign-up: set {}, {} and {} too",
                    names("smtp_url"),
                    names("mail_from"),
                    names("public_url")
                ),
            );
        }
        Some(mail)
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
        stripe::announce(&self.payments);
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
            payments: self.payments,
            transport: self.transport,
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]
mod tests {
    use clap::{Arg, Args, Command, FromArgMatches};

    use super::{DEFAULT_OTLP_RATIO, Faults, Settings};

    /// The default of each setting.
    fn defaults() -> Vec<(&'static str, String)> {
        let mut faults = Faults::default();
        let resolved = Settings::default().resolve(&mut faults).unwrap();
        faults.result().unwrap();
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
            ("confirm_sign_ups", if server.confirm_sign_ups { "on" } else { "off" }.into()),
            ("sign_ups_kept_days", (server.sign_ups_kept.as_secs() / 86_400).to_string()),
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
            ("mails_per_second", mail.per_second.to_string()),
            ("mail_timeout_s", mail.patience.as_secs().to_string()),
            ("mail_attempts", mail.max_attempts.to_string()),
            ("mail_first_pause_s", mail.first_pause.as_secs().to_string()),
            ("mail_longest_pause_s", mail.longest_pause.as_secs().to_string()),
            ("mails_kept_days", (resolved.jobs.mails_kept.as_secs() / 86_400).to_string()),
            ("evidence_kept_days", (resolved.jobs.evidence_kept.as_secs() / 86_400).to_string()),
            ("notes_kept_days", (resolved.jobs.notes_kept.as_secs() / 86_400).to_string()),
            ("disposable_domains", "none".into()),
            ("adjustment_limit", server.adjustment_limit_minor.to_string()),
            ("stripe_api_url", resolved.payments.api_url.to_string()),
            (
                "stripe_events_kept_days",
                (resolved.jobs.stripe_events_kept.as_secs() / 86_400).to_string(),
            ),
            ("payout_limit", server.payout_limit_minor.to_string()),
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

    /// Every setting that is none by default, switched off on a command line.
    fn all_off() -> Vec<String> {
        let command = Settings::augment_args(Command::new(""));
        let is_off = |arg: &&Arg| {
            let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
            help.ends_with("[default: none]")
        };
        let off = command.get_arguments().filter(is_off);
        let flags = off.filter_map(|arg| Some(format!("--{}", arg.get_long()?)));
        flags.flat_map(|flag| [flag, "none".to_owned()]).collect()
    }

    #[test]
    fn what_is_none_by_default_is_switched_off_by_none_also_if_a_file_sets_it() {
        let text = "metrics_listen = '127.0.0.1:9'\ntrusted_proxies = ['10.0.0.7']\nsmtp_url = 'smtp://x'\n\
                    otlp_endpoint = 'none'\npublic_url = 'https://x.example.com'\ntls_cert = 'cert.pem'\n";
        let path = std::env::temp_dir().join(format!("tributary-off-{}.toml", std::process::id()));
        std::fs::write(&path, text).unwrap();
        let config = ["", "--config", path.to_str().unwrap()].map(str::to_owned);
        let arguments = config.into_iter().chain(all_off());
        let matches = Settings::augment_args(Command::new("")).get_matches_from(arguments);
        let mut faults = Faults::default();
        let settings = Settings::from_arg_matches(&matches).unwrap();
        let resolved = settings.resolve(&mut faults).unwrap();
        std::fs::remove_file(&path).unwrap();
        let mail = resolved.mail(None, &mut faults).unwrap();
        faults.result().unwrap();
        assert!(all_off().len() >= 22, "{:?}", all_off());
        assert!(resolved.metrics_listen.is_none() && resolved.settings.tls.is_none());
        assert!(resolved.transport.trusted_proxies.is_empty() && !mail.delivery.delivers());
    }
}
