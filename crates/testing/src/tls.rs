//! A proxy that ends TLS in front of a server, as deployments have one.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;

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
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let key = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("tributary-ca-{}-{number}.pem", std::process::id());
        let ca_file = std::env::temp_dir().join(name);
        std::fs::write(&ca_file, key.cert.pem()).unwrap();

        let private = PrivateKeyDer::Pkcs8(key.signing_key.serialize_der().into());
        let mut config = ServerConfig::builder()
            .with_no_client_auth()
            .with_single_cert(vec![key.cert.der().clone()], private)
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
