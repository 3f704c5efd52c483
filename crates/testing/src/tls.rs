//! TLS: a proxy that ends it in front of a server, certificates for a server that speaks it, and a client.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio_rustls::{TlsAcceptor, TlsConnector};

/// A proxy for `localhost`, with a certificate that no machine trusts by itself.
pub struct TlsProxy {
    /// The port that it listens on.
    pub port: u16,
    /// The file with the certificate of its authority.
    pub ca_file: PathBuf,
}

impl TlsProxy {
    /// Starts a proxy to an address; it ends with the runtime of the test.
    pub async fn start(to: &str) -> Self {
        Self::start_as(to, IsCa::NoCa).await
    }

    /// As [`TlsProxy::start`], with a certificate that is made to vouch for others, as `openssl req -x509` makes them.
    pub async fn with_the_certificate_of_an_authority(to: &str) -> Self {
        Self::start_as(to, IsCa::Ca(BasicConstraints::Unconstrained)).await
    }

    async fn start_as(to: &str, is_ca: IsCa) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let mut parameters = CertificateParams::new(["localhost".to_owned()]).unwrap();
        parameters.is_ca = is_ca;
        let signing_key = KeyPair::generate().unwrap();
        let cert = parameters.self_signed(&signing_key).unwrap();
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("tributary-ca-{}-{number}.pem", std::process::id());
        let ca_file = std::env::temp_dir().join(name);
        std::fs::write(&ca_file, cert.pem()).unwrap();

        let private = PrivateKeyDer::Pkcs8(signing_key.serialize_der().into());
        let mut config = ServerConfig::builder()
            .with_no_client_auth()
            .with_single_cert(vec![cert.der().clone()], private)
            .unwrap();
        config.alpn_protocols = vec![b"h2".to_vec()];
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let to = to.to_owned();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, to) = (acceptor.clone(), to.clone());
                tokio::spawn(async move {
                    // A client that does not trust the certificate ends the handshake.
                    let Ok(mut near) = acceptor.accept(stream).await else { return };
                    let mut far = TcpStream::connect(to).await.unwrap();
                    let _ = tokio::io::copy_bidirectional(&mut near, &mut far).await;
                });
            }
        });
        Self { port, ca_file }
    }

    /// The proxy's URL.
    pub fn url(&self) -> String {
        format!("https://localhost:{}", self.port)
    }
}

impl Drop for TlsProxy {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.ca_file);
    }
}

/// A certificate for `localhost` and its key, in files. No machine trusts the certificate by itself.
pub struct Certificate {
    directory: PathBuf,
}

impl Certificate {
    /// Makes a certificate.
    pub fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("tributary-certificate-{}-{number}", std::process::id());
        let directory = std::env::temp_dir().join(name);
        std::fs::create_dir(&directory).unwrap();
        let certificate = Self { directory };
        certificate.renew();
        certificate
    }

    /// Replaces certificate and key in the files.
    pub fn renew(&self) {
        let new = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        std::fs::write(self.file(), new.cert.pem()).unwrap();
        std::fs::write(self.key_file(), new.signing_key.serialize_pem()).unwrap();
    }

    /// The file with the certificate, which is its own authority.
    pub fn file(&self) -> PathBuf {
        self.directory.join("certificate.pem")
    }

    /// The file with the key.
    pub fn key_file(&self) -> PathBuf {
        self.directory.join("key.pem")
    }

    /// The arguments of a server with this certificate.
    pub fn arguments(&self) -> [String; 4] {
        let (file, key) = (self.file(), self.key_file());
        let text = |path: PathBuf| path.to_str().unwrap().to_owned();
        ["--tls-cert".to_owned(), text(file), "--tls-key".to_owned(), text(key)]
    }

    /// A connection to a port of this machine that proves to have this certificate; `protocols` are those that the
    /// client offers.
    pub async fn connect(&self, port: u16, protocols: &[&str]) -> io::Result<TlsStream<TcpStream>> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(self.file()).unwrap()).unwrap();
        let mut config =
            ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
        let stream = TcpStream::connect(("127.0.0.1", port)).await?;
        let name = ServerName::try_from("localhost").unwrap();
        TlsConnector::from(Arc::new(config)).connect(name, stream).await
    }
}

impl Default for Certificate {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Certificate {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}
