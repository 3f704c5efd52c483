//! Why a server cannot be reached, in the words of what its user can do about it.

use std::error::Error;
use std::io;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::rustls::{CertificateError, Error as TlsError, InvalidMessage};

use super::{Server, causes};

/// How long the look at a port that did not understand us may take.
const LOOK_TIMEOUT: Duration = Duration::from_secs(2);

/// What a client of HTTP/2 says first.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

/// The first byte of an alert of TLS, with which a server answers what is no TLS.
const TLS_ALERT: u8 = 0x15;

impl Server {
    /// Why no connection could be opened, and what helps.
    #[must_use]
    pub fn unreachable(&self, error: &(dyn Error + 'static)) -> String {
        let server = &self.address;
        match tls_error(error) {
            Some(TlsError::InvalidCertificate(fault)) => self.untrusted(fault),
            Some(TlsError::InvalidMessage(InvalidMessage::InvalidContentType)) => format!(
                "{server} answers, but does not speak TLS; write http:// in place of https:// if nobody can listen \
                 on the way to it"
            ),
            Some(error) => format!("TLS with {server} fails: {error}"),
            None => format!(
                "no server answers at {server} ({}); start one, or pass --server",
                causes(error)
            ),
        }
    }

    /// What is wrong with the server's certificate.
    fn untrusted(&self, fault: &CertificateError) -> String {
        let server = &self.address;
        let what = match fault {
            CertificateError::UnknownIssuer if self.ca_file.is_some() => {
                "none of the authorities in --ca-file vouches for it".to_owned()
            }
            CertificateError::UnknownIssuer => {
                "no authority that this machine trusts vouches for it; pass the file with the certificate of its \
                 authority with --ca-file, or the certificate itself if it is self-signed"
                    .to_owned()
            }
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                "it is for another name; pass --server with the name that the certificate has".to_owned()
            }
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                "it has expired".to_owned()
            }
            // rustls-webpki has no public type for this fault; its name is in the text.
            fault if format!("{fault:?}").contains("CaUsedAsEndEntity") => {
                "it is made for an authority (CA:TRUE), and an authority's certificate cannot be a server's; make \
                 one with 'openssl req -x509 ... -addext basicConstraints=critical,CA:FALSE', and pass it with \
                 --ca-file"
                    .to_owned()
            }
            fault => fault.to_string(),
        };
        format!("the certificate of {server} is not trusted: {what}")
    }

    /// What is wrong if the server ended a connection in clear without an answer: whether the port speaks TLS.
    pub async fn misunderstood(&self) -> Option<String> {
        let uri = super::server::uri(&self.address)?;
        if uri.scheme_str() != Some("http") {
            return None;
        }
        let host = uri.host()?.trim_matches(['[', ']']);
        let first = timeout(LOOK_TIMEOUT, first_byte(host, uri.port_u16().unwrap_or(80)));
        (first.await.ok()?.ok()? == TLS_ALERT)
            .then(|| format!("{} speaks TLS; write https:// before its name", self.address))
    }
}

/// The first byte that a port answers to HTTP/2.
async fn first_byte(host: &str, port: u16) -> io::Result<u8> {
    let mut stream = TcpStream::connect((host, port)).await?;
    stream.write_all(PREFACE).await?;
    stream.read_u8().await
}

/// The error of TLS among the causes of an error.
fn tls_error<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a TlsError> {
    let mut next = Some(error);
    while let Some(cause) = next {
        if let Some(found) = cause.downcast_ref() {
            return Some(found);
        }
        // An error of I/O does not name what it contains among its causes.
        let inner = cause.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        next = match inner {
            Some(inner) => Some(inner),
            None => cause.source(),
        };
    }
    None
}
