//! Connections to the server, and the calls of a run on them.

use std::sync::Arc;
use std::time::Duration;

use client::Server;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tonic::Request;
use tonic::metadata::errors::InvalidMetadataValue;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::{Channel, Uri};

use super::LoadError;
use contract::Coalescing;

/// How long to wait for an answer. Longer than the server waits for anything.
const CALL_TIMEOUT: Duration = Duration::from_secs(30);

/// Some connections to one server, used in turn.
#[derive(Clone, Debug)]
pub struct Connections {
    channels: Arc<[Channel]>,
    /// What calls present; nothing if they are anonymous.
    key: Option<MetadataValue<Ascii>>,
}

impl Connections {
    /// Opens the connections.
    ///
    /// # Errors
    /// If the address or the key is malformed, or no server answers.
    pub async fn open(server: &Server, admin_key: &str, count: usize) -> Result<Self, LoadError> {
        let unusable = |what, error: &dyn std::error::Error| LoadError::Unusable {
            what,
            reason: error.to_string(),
        };
        let key = Some(presented(admin_key)?);
        let mut channels = Vec::new();
        let endpoint = server.endpoint().map_err(|error| unusable("--server", &error))?;
        for _ in 0..count.max(1) {
            let channel = endpoint.connect_with_connector(tower::service_fn(connect)).await;
            let unreachable = |error| LoadError::Unreachable(server.unreachable(&error));
            channels.push(channel.map_err(unreachable)?);
        }
        Ok(Self { channels: channels.into(), key })
    }

    /// The same connections with another credential, or with none.
    ///
    /// # Errors
    /// If the credential is malformed.
    pub fn with(&self, credential: Option<&str>) -> Result<Self, LoadError> {
        let key = credential.map(presented).transpose()?;
        Ok(Self { channels: self.channels.clone(), key })
    }

    /// The connection of operation `number`.
    #[must_use]
    pub fn channel(&self, number: u64) -> Channel {
        let index = usize::try_from(number).unwrap_or_default() % self.channels.len();
        self.channels[index].clone()
    }

    /// The request of a call with one answer.
    pub fn request<T>(&self, message: T) -> Request<T> {
        let mut request = self.stream(message);
        request.set_timeout(CALL_TIMEOUT);
        request
    }

    /// The request of a call with a stream of answers.
    pub fn stream<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        if let Some(key) = &self.key {
            request.metadata_mut().insert("authorization", key.clone());
        }
        request
    }
}

/// A credential as calls present it.
fn presented(credential: &str) -> Result<MetadataValue<Ascii>, LoadError> {
    let key = format!("Bearer {credential}").parse();
    key.map_err(|error: InvalidMetadataValue| LoadError::Unusable {
        what: "the admin key",
        reason: error.to_string(),
    })
}

/// Calls that begin together are sent together, as clients in other languages do.
async fn connect(uri: Uri) -> std::io::Result<TokioIo<Coalescing<TcpStream>>> {
    let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
    let default_port = if uri.scheme_str() == Some("https") { 443 } else { 80 };
    let stream = TcpStream::connect((host, uri.port_u16().unwrap_or(default_port))).await?;
    stream.set_nodelay(true)?;
    Ok(TokioIo::new(Coalescing::new(stream)))
}
