//! TLS on the port: the certificate comes from files, and is loaded again when they change.

use std::convert::Infallible;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use sha2::{Digest, Sha256};
use tokio::net::TcpStream;
use tokio_rustls::rustls::crypto::{CryptoProvider, ring};
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::{ClientHello, ResolvesServerCert};
use tokio_rustls::rustls::sign::CertifiedKey;
use tokio_rustls::rustls::{self, ServerConfig};
use tokio_rustls::{Accept, TlsAcceptor};
use tokio_util::sync::CancellationToken;

/// How often the files are compared with what was loaded.
const CHECK_INTERVAL: Duration = Duration::from_secs(2);

/// The protocols that clients can choose from in the handshake.
const PROTOCOLS: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// The files with a certificate and its key, in PEM.
#[derive(Clone, Debug)]
pub struct CertificateFiles {
    /// The certificate of the server, and those between it and the authority that clients trust.
    pub certificate: PathBuf,
    /// The private key of the first certificate.
    pub key: PathBuf,
}

/// Why a certificate cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("cannot read {path}: {error}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// A file does not have the right content.
    #[error("{path} has no {what} in PEM that can be read")]
    Content {
        /// The file.
        path: PathBuf,
        /// What it should have.
        what: &'static str,
    },
    /// Certificate and key cannot be used together, or not at all.
    #[error("{certificate} and {key} cannot be used: {error}")]
    Unusable {
        /// The file with the certificate.
        certificate: PathBuf,
        /// The file with the key.
        key: PathBuf,
        /// Why.
        error: rustls::Error,
    },
}

/// TLS with the certificate of the files. Cheap to clone.
#[derive(Clone)]
pub struct Tls {
    acceptor: TlsAcceptor,
    certificate: Arc<Certificate>,
    files: CertificateFiles,
    /// The hash of what was loaded at the start.
    loaded: [u8; 32],
}

impl fmt::Debug for Tls {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.files.fmt(formatter)
    }
}

/// The certificate that new connections get.
#[derive(Debug)]
struct Certificate(RwLock<Arc<CertifiedKey>>);

impl ResolvesServerCert for Certificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.read().unwrap_or_else(PoisonError::into_inner).clone())
    }
}

/// The content of the files.
struct Pem {
    certificate: Vec<u8>,
    key: Vec<u8>,
}

impl Tls {
    /// Loads the certificate.
    ///
    /// # Errors
    /// [`TlsError`] if the files cannot be used.
    pub fn load(files: CertificateFiles) -> Result<Self, TlsError> {
        let provider = Arc::new(ring::default_provider());
        let pem = Pem::read(&files)?;
        let certified = pem.certified(&files, &provider)?;
        let certificate = Arc::new(Certificate(RwLock::new(Arc::new(certified))));
        let config =
            ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let mut config = config
            .map_err(|error| files.unusable(error))?
            .with_no_client_auth()
            .with_cert_resolver(certificate.clone());
        config.alpn_protocols = PROTOCOLS.map(Vec::from).to_vec();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        Ok(Self { acceptor, certificate, files, loaded: pem.hash() })
    }

    /// Begins the handshake of a connection.
    pub(super) fn accept(&self, stream: TcpStream) -> Accept<TcpStream> {
        self.acceptor.accept(stream)
    }

    /// Loads the certificate again whenever its files change, until `stop` is cancelled. Files that cannot be used
    /// are logged, and the certificate before them stays.
    pub(in crate::api) async fn follow(self, stop: CancellationToken) -> Result<(), Infallible> {
        let provider = ring::default_provider();
        let mut seen = Ok(self.loaded);
        while stop.run_until_cancelled(tokio::time::sleep(CHECK_INTERVAL)).await.is_some() {
            let files = self.files.clone();
            let read = tokio::task::spawn_blocking(move || Pem::read(&files)).await;
            let Ok(read) = read else { continue };
            let now = read.as_ref().map(Pem::hash).map_err(ToString::to_string);
            if seen == now {
                continue;
            }
            seen = now;
            match read.and_then(|pem| pem.certified(&self.files, &provider)) {
                Ok(certified) => {
                    let current = &self.certificate.0;
                    *current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(certified);
                    tracing::info!("the TLS certificate was loaded again; new connections get it");
                }
                Err(error) => tracing::error!(
                    %error,
                    "the TLS certificate cannot be loaded again; the one before it stays in use"
                ),
            }
        }
        Ok(())
    }
}

impl CertificateFiles {
    fn unusable(&self, error: rustls::Error) -> TlsError {
        let Self { certificate, key } = self.clone();
        TlsError::Unusable { certificate, key, error }
    }
}

impl Pem {
    fn read(files: &CertificateFiles) -> Result<Self, TlsError> {
        let read = |path: &Path| {
            std::fs::read(path).map_err(|error| TlsError::Unreadable { path: path.into(), error })
        };
        Ok(Self { certificate: read(&files.certificate)?, key: read(&files.key)? })
    }

    fn hash(&self) -> [u8; 32] {
        let hash = Sha256::new_with_prefix(self.certificate.len().to_be_bytes());
        hash.chain_update(&self.certificate).chain_update(&self.key).finalize().into()
    }

    fn certified(
        &self,
        files: &CertificateFiles,
        provider: &CryptoProvider,
    ) -> Result<CertifiedKey, TlsError> {
        let content = |path: &Path, what| TlsError::Content { path: path.into(), what };
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&self.certificate).collect();
        let chain = chain.ok().filter(|chain: &Vec<_>| !chain.is_empty());
        let chain = chain.ok_or_else(|| content(&files.certificate, "certificate"))?;
        let key = PrivateKeyDer::from_pem_slice(&self.key);
        let key = key.map_err(|_| content(&files.key, "private key"))?;
        CertifiedKey::from_der(chain, key, provider).map_err(|error| files.unusable(error))
    }
}
