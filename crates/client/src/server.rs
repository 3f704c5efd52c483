//! The address of a server, and the way to it.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use http::Uri;
use serde::Serialize;
use tonic::transport::{Certificate, ClientTlsConfig, Endpoint};

/// How long the server may take to accept a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// What our clients call themselves, before the name of the gRPC library. The list of a person's sessions shows it.
const USER_AGENT: &str = concat!("tributary/", env!("CARGO_PKG_VERSION"));

/// Where servers listen by default.
const DEFAULT: &str = "http://127.0.0.1:50051";

/// The server that a command calls.
#[derive(Args, Clone, Debug, Serialize)]
pub struct Server {
    #[allow(clippy::doc_markdown, reason = "the text of `--help`")]
    /// The server: https://HOST speaks TLS and checks the server's certificate; http://HOST:PORT and
    /// HOST:PORT speak plain HTTP/2
    #[arg(id = "server", long = "server", value_name = "URL", env = "TRIBUTARY_SERVER", default_value = DEFAULT)]
    #[serde(rename = "server")]
    pub address: String,
    /// A file of PEM certificates: the authorities that may vouch for an https server, instead of those that
    /// this machine trusts
    #[arg(long, value_name = "FILE", env = "TRIBUTARY_CA_FILE")]
    #[serde(skip)]
    pub ca_file: Option<PathBuf>,
}

/// Why a server cannot be called.
#[derive(Debug, thiserror::Error)]
pub enum AddressError {
    /// The text is no address, or has a scheme that no client here speaks.
    #[error(
        "'{0}' is not the address of a server, which looks like http://127.0.0.1:50051, localhost:50051 or \
         https://rewards.example.com"
    )]
    Unknown(String),
    /// A file of certificates was given, but the address does not ask for TLS.
    #[error("certificates are checked for https only, and '{0}' is not https")]
    Unchecked(String),
    /// The file of certificates cannot be read.
    #[error("cannot read {path}: {reason}")]
    Certificates {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: std::io::Error,
    },
    /// TLS cannot be set up.
    #[error("TLS cannot be used: {0}")]
    Tls(String),
}

impl Server {
    /// A server at an address, with the certificates that this machine trusts.
    #[must_use]
    pub fn at(address: impl Into<String>) -> Self {
        Self { address: address.into(), ca_file: None }
    }

    /// The endpoint to connect to. `https` always means TLS, whatever connector is used.
    ///
    /// # Errors
    /// [`AddressError`] if the address has another scheme or is none, or TLS cannot be set up.
    pub fn endpoint(&self) -> Result<Endpoint, AddressError> {
        let unknown = || AddressError::Unknown(self.address.clone());
        let uri = uri(&self.address).ok_or_else(unknown)?;
        let is_tls = uri.scheme_str() == Some("https");
        let endpoint = Endpoint::from(uri);
        let endpoint = match (is_tls, &self.ca_file) {
            (false, None) => endpoint,
            (false, Some(_)) => return Err(AddressError::Unchecked(self.address.clone())),
            (true, file) => {
                let tls = match file {
                    None => ClientTlsConfig::new().with_native_roots(),
                    Some(path) => ClientTlsConfig::new().ca_certificate(certificates(path)?),
                };
                let endpoint = endpoint.tls_config(tls);
                endpoint.map_err(|error| AddressError::Tls(causes(&error)))?
            }
        };
        let endpoint = endpoint.connect_timeout(CONNECT_TIMEOUT);
        // The name is printable ASCII, so it is always accepted.
        Ok(endpoint.clone().user_agent(USER_AGENT).unwrap_or(endpoint))
    }
}

/// The address as a URI with scheme and host. `HOST:PORT` alone is plain HTTP/2.
pub(super) fn uri(address: &str) -> Option<Uri> {
    let parsed: Uri = if address.contains("://") {
        address.parse().ok()?
    } else {
        // Without a scheme the port is needed: a name alone is more often a mistake than a server on port 80.
        format!("http://{address}").parse().ok().filter(|uri: &Uri| uri.port().is_some())?
    };
    let is_known = matches!(parsed.scheme_str(), Some("http" | "https"));
    let authority = parsed.authority()?;
    // Credentials in an address would not be sent, and paths are those of RPCs.
    let is_host = !authority.host().is_empty() && !authority.as_str().contains('@');
    let has_port = authority.as_str() != authority.host();
    let is_port = !has_port || authority.port_u16().is_some();
    let is_all = parsed.path() == "/" && parsed.query().is_none();
    (is_known && is_host && is_port && is_all).then_some(parsed)
}

fn certificates(path: &Path) -> Result<Certificate, AddressError> {
    let text = std::fs::read(path);
    let text =
        text.map_err(|reason| AddressError::Certificates { path: path.to_owned(), reason })?;
    Ok(Certificate::from_pem(text))
}

/// What led to an error, without the general words of the outermost one.
#[must_use]
pub fn causes(error: &dyn Error) -> String {
    let mut causes = Vec::new();
    let mut next = error.source();
    while let Some(cause) = next {
        let words = cause.to_string();
        // Many errors repeat the message of their cause.
        causes.retain(|earlier: &String| !earlier.contains(&words));
        causes.push(words);
        next = cause.source();
    }
    if causes.is_empty() { error.to_string() } else { causes.join(": ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scheme_and_authority(address: &str) -> Option<(String, String)> {
        let uri = uri(address)?;
        Some((uri.scheme_str()?.to_owned(), uri.authority()?.to_string()))
    }

    #[test]
    fn an_address_is_a_url_of_http_or_https_or_a_host_with_a_port() {
        for (address, scheme, authority) in [
            ("http://127.0.0.1:50051", "http", "127.0.0.1:50051"),
            ("https://rewards.example.com", "https", "rewards.example.com"),
            ("HTTPS://rewards.example.com/", "https", "rewards.example.com"),
            ("localhost:50051", "http", "localhost:50051"),
            ("127.0.0.1:50051", "http", "127.0.0.1:50051"),
            ("[::1]:50051", "http", "[::1]:50051"),
        ] {
            let expected = Some((scheme.to_owned(), authority.to_owned()));
            assert_eq!(scheme_and_authority(address), expected, "{address}");
        }
        for address in [
            "",
            "localhost",
            ":50051",
            "ftp://127.0.0.1:1",
            "grpc://x:1",
            "https://",
            "host:port",
            "http://user:secret@host:1",
            "http://host:1/path",
            "http://host:1/?query",
            "host:70000",
            "http://host:70000",
        ] {
            assert_eq!(scheme_and_authority(address), None, "{address}");
            assert!(matches!(Server::at(address).endpoint(), Err(AddressError::Unknown(_))));
        }
    }

    #[test]
    fn certificates_for_a_server_without_tls_are_a_mistake_that_is_named() {
        let server = Server { ca_file: Some("ca.pem".into()), ..Server::at("localhost:50051") };
        let refused = server.endpoint().map(|_| ()).map_err(|error| error.to_string());
        let expected =
            "certificates are checked for https only, and 'localhost:50051' is not https";
        assert_eq!(refused, Err(expected.to_owned()));
        let server =
            Server { ca_file: Some("/nonexistent/ca.pem".into()), ..Server::at("https://x") };
        assert!(matches!(server.endpoint(), Err(AddressError::Certificates { .. })));
    }
}
