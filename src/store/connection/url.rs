//! What the URL of a database may say.
//!
//! A parameter that would be dropped in silence is refused: a misspelled `options` would put the tables into
//! another schema, and a demand on security would not be met.

use sqlx::ConnectOptions;
use sqlx::postgres::{PgConnectOptions, PgSslMode};
use url::Url;

use crate::store::holders::APPLICATION;

/// Parameters that are passed on.
const KNOWN: [&str; 16] = [
    "sslmode",
    "ssl-mode",
    "sslrootcert",
    "ssl-root-cert",
    "ssl-ca",
    "sslcert",
    "ssl-cert",
    "sslkey",
    "ssl-key",
    "statement-cache-capacity",
    "host",
    "hostaddr",
    "port",
    "dbname",
    "user",
    "password",
];

/// Parameters of libpq without which connections work the same: the server has its own time limits, and its own
/// name.
const WITHOUT_EFFECT: [&str; 11] = [
    "application_name",
    "client_encoding",
    "connect_timeout",
    "fallback_application_name",
    "keepalives",
    "keepalives_count",
    "keepalives_idle",
    "keepalives_interval",
    "sslcompression",
    "sslsni",
    "tcp_user_timeout",
];

/// Parameters of which only these values can be honoured.
const HONOURED: [(&str, &[&str]); 3] = [
    // The server checks by itself that it is connected to a primary.
    ("target_session_attrs", &["any", "read-write", "primary"]),
    ("channel_binding", &["disable", "prefer"]),
    ("gssencmode", &["disable", "prefer"]),
];

/// Why the URL of a database cannot be used. Never holds the URL, which has a password in it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UrlError {
    /// It is not a URL.
    #[error("cannot be read: {0}")]
    Malformed(String),
    /// It names several hosts.
    #[error(
        "names several hosts, and a server uses one: name a virtual address, a proxy or a DNS name that \
         leads to the primary"
    )]
    SeveralHosts,
    /// A parameter is not known.
    #[error(
        "has the parameter '{0}', which is not known (the schema is named by \
         options=-csearch_path%3DSCHEMA)"
    )]
    UnknownParameter(String),
    /// A parameter has a value that cannot be honoured.
    #[error("has {name}={value}, which is not supported: {instead}")]
    Unsupported {
        /// The parameter.
        name: String,
        /// Its value.
        value: String,
        /// What is supported.
        instead: String,
    },
    /// The parameter `options` has another form than settings.
    #[error(
        "has '{0}' in its options, where only settings are possible, as in -csearch_path%3Dtenant"
    )]
    Options(String),
}

/// What a URL says.
#[derive(Debug)]
pub(super) struct Target {
    pub(super) options: PgConnectOptions,
    /// Settings of the session, in order.
    pub(super) settings: Vec<(String, String)>,
}

/// Reads a URL. What it does not name is taken from the variables that libpq knows, as `PGPASSWORD`; from
/// `PGOPTIONS` nothing is taken.
pub(super) fn parse(text: &str) -> Result<Target, UrlError> {
    // Several hosts are no URL if they have ports, so this comes first.
    if host(text).contains(',') {
        return Err(UrlError::SeveralHosts);
    }
    let mut url = Url::parse(text).map_err(|error| UrlError::Malformed(error.to_string()))?;
    let (mut settings, mut passed_on) = (Vec::new(), Vec::new());
    for (name, value) in url.query_pairs() {
        let (name, value) = (name.into_owned(), value.into_owned());
        check(&name, &value)?;
        if name == "options" {
            settings.extend(parse_options(&value)?);
        } else if let Some(setting) = bracketed(&name) {
            settings.push((setting.to_owned(), value));
        } else if KNOWN.contains(&&*name) {
            passed_on.push((name, value));
        }
    }
    url.set_query(None);
    if !passed_on.is_empty() {
        url.query_pairs_mut().extend_pairs(passed_on);
    }
    let options = PgConnectOptions::from_url(&url)
        .map_err(|error| match error {
            sqlx::Error::Configuration(cause) => UrlError::Malformed(cause.to_string()),
            error => UrlError::Malformed(error.to_string()),
        })?
        .application_name(APPLICATION)
        .extra_float_digits(None)
        .disable_statement_logging();
    check_ssl_mode(options.get_ssl_mode())?;
    Ok(Target { options, settings })
}

/// The hosts and ports of a URL.
fn host(url: &str) -> &str {
    let (_, rest) = url.split_once("://").unwrap_or_default();
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    authority.rsplit('@').next().unwrap_or_default()
}

/// The setting of a parameter `options[setting]`.
fn bracketed(name: &str) -> Option<&str> {
    name.strip_prefix("options[")?.strip_suffix(']')
}

fn check(name: &str, value: &str) -> Result<(), UrlError> {
    if ["host", "hostaddr", "port"].contains(&name) && value.contains(',') {
        return Err(UrlError::SeveralHosts);
    }
    if let Some((_, honoured)) = HONOURED.iter().find(|(known, _)| *known == name) {
        return if honoured.contains(&value) {
            Ok(())
        } else {
            let instead = format!("it can be {}", honoured.join(" or "));
            Err(UrlError::Unsupported { name: name.into(), value: value.into(), instead })
        };
    }
    let is_known = name == "options"
        || bracketed(name).is_some()
        || KNOWN.contains(&name)
        || WITHOUT_EFFECT.contains(&name);
    if is_known { Ok(()) } else { Err(UrlError::UnknownParameter(name.to_owned())) }
}

/// Refuses modes that the TLS library does not do as their names promise. The mode can also come from
/// `PGSSLMODE`.
fn check_ssl_mode(mode: PgSslMode) -> Result<(), UrlError> {
    let (value, instead) = match mode {
        // The library checks the name in the certificate, too.
        PgSslMode::VerifyCa => {
            ("verify-ca", "use verify-full, with a certificate that names the host of the URL")
        }
        // The library never encrypts.
        PgSslMode::Allow => ("allow", "use prefer, require or disable"),
        _ => return Ok(()),
    };
    let (name, value, instead) = ("sslmode".to_owned(), value.to_owned(), instead.to_owned());
    Err(UrlError::Unsupported { name, value, instead })
}

/// The settings in a text such as `-c search_path=tenant --jit=off`. A backslash escapes what follows it, such
/// as a blank.
fn parse_options(text: &str) -> Result<Vec<(String, String)>, UrlError> {
    let mut words = split(text).into_iter();
    let mut settings = Vec::new();
    while let Some(word) = words.next() {
        let setting = match (word.strip_prefix("-c"), word.strip_prefix("--")) {
            (Some(""), _) => words.next(),
            (Some(setting), _) | (_, Some(setting)) => Some(setting.to_owned()),
            (None, None) => None,
        };
        let pair = setting.as_deref().and_then(|setting| setting.split_once('='));
        let Some((name, value)) = pair.filter(|(name, _)| !name.is_empty()) else {
            return Err(UrlError::Options(word));
        };
        settings.push((name.replace('-', "_"), value.to_owned()));
    }
    Ok(settings)
}

/// Splits a text at blanks that no backslash escapes.
fn split(text: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        if character.is_ascii_whitespace() {
            words.push(String::new());
        } else if let Some(word) = words.last_mut() {
            word.extend(if character == '\\' { characters.next() } else { Some(character) });
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]
mod tests {
    use super::{UrlError, parse};

    fn refusal(url: &str) -> UrlError {
        parse(url).map(|_| ()).unwrap_err()
    }

    #[test]
    fn settings_of_the_url_are_no_startup_parameters() {
        for (query, expected) in [
            ("options=-csearch_path%3Dtenant", vec![("search_path", "tenant")]),
            (
                "options=-c%20search_path%3Da,b%20--lock-timeout%3D1s&sslmode=disable",
                vec![("search_path", "a,b"), ("lock_timeout", "1s")],
            ),
            (r"options=-csearch_path%3Done%5C%20two", vec![("search_path", "one two")]),
            ("options[search_path]=tenant&options=", vec![("search_path", "tenant")]),
            ("connect_timeout=3&target_session_attrs=read-write&application_name=shop", vec![]),
        ] {
            let target = parse(&format!("postgres://user@localhost/name?{query}")).unwrap();
            let settings: Vec<(&str, &str)> = target
                .settings
                .iter()
                .map(|(name, value)| (name.as_str(), value.as_str()))
                .collect();
            assert_eq!(settings, expected, "{query}");
            assert_eq!(target.options.get_options(), None, "{query}");
            assert_eq!(target.options.get_application_name(), Some("tributary"));
        }
    }

    #[test]
    fn several_hosts_are_refused_however_they_are_named() {
        for url in [
            "postgres://a,b/name",
            "postgres://user:p%2Cw@a:5432,b:5433/name?target_session_attrs=read-write",
            "postgres://user@a/name?host=b,c",
            "postgres:///name?host=a&port=5432,5433",
        ] {
            assert_eq!(refusal(url), UrlError::SeveralHosts, "{url}");
        }
        // A comma elsewhere is harmless.
        parse("postgres://us,er:pass,word@a/na,me?options=-csearch_path%3Da,b").unwrap();
    }

    #[test]
    fn what_would_be_dropped_in_silence_is_refused_with_what_to_write_instead() {
        for (query, expected) in [
            ("sslmode=verify-ca", "use verify-full"),
            ("sslmode=allow", "use prefer"),
            ("sslmode=nonsense", "nonsense"),
            ("channel_binding=require", "it can be disable or prefer"),
            ("target_session_attrs=standby", "it can be any or read-write or primary"),
            ("optoins=-csearch_path%3Dtenant", "the parameter 'optoins'"),
            ("schema=tenant", "options=-csearch_path%3DSCHEMA"),
            ("options=-d%205", "'-d' in its options"),
            ("options=-c", "'-c' in its options"),
            ("options=search_path%3Dtenant", "'search_path=tenant' in its options"),
        ] {
            let error = refusal(&format!("postgres://user:secret@host/name?{query}")).to_string();
            assert!(error.contains(expected), "{query}: {error}");
            assert!(!error.contains("secret"), "{error}");
        }
    }
}
