//! HTTP/2 without a gRPC client: requests that are never finished, and answers that are never read.

use h2::client::{ResponseFuture, SendRequest};
use h2::{RecvStream, SendStream};
use http::{HeaderMap, Request, Response};
use prost::bytes::Bytes;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tonic::Status;

/// A connection to a server.
pub struct RawHttp2 {
    requests: SendRequest<Bytes>,
    /// Ends when the server ends the connection.
    pub connection: JoinHandle<Result<(), h2::Error>>,
}

/// A call whose request may go on.
pub struct RawCall {
    pub response: ResponseFuture,
    pub request: SendStream<Bytes>,
}

impl RawHttp2 {
    pub async fn connect(address: &str) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        let (requests, connection) = h2::client::Builder::new()
            .initial_max_send_streams(2_000)
            .handshake(stream)
            .await
            .unwrap();
        let connection = tokio::spawn(connection);
        Self { requests, connection }
    }

    /// Sends the headers of a call, such as of `AccountService/RegisterUser`.
    pub async fn begin(&self, rpc: &str, headers: &[(&str, &str)], is_whole: bool) -> RawCall {
        self.try_begin(rpc, headers, is_whole).await.expect("the connection is open")
    }

    async fn try_begin(
        &self,
        rpc: &str,
        headers: &[(&str, &str)],
        is_whole: bool,
    ) -> Result<RawCall, h2::Error> {
        let mut request = Request::post(format!("http://localhost/tributary.v1.{rpc}"))
            .header("content-type", "application/grpc")
            .header("te", "trailers");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let mut requests = self.requests.clone().ready().await?;
        let (response, request) = requests.send_request(request.body(()).unwrap(), is_whole)?;
        Ok(RawCall { response, request })
    }

    /// Makes a call with one message.
    pub async fn call(&self, rpc: &str, headers: &[(&str, &str)], message: &[u8]) -> RawCall {
        self.try_call(rpc, headers, message).await.expect("the connection is open")
    }

    /// Makes a call on a connection that the server may have ended.
    pub async fn try_call(
        &self,
        rpc: &str,
        headers: &[(&str, &str)],
        message: &[u8],
    ) -> Result<RawCall, h2::Error> {
        let mut call = self.try_begin(rpc, headers, false).await?;
        call.request.send_data(framed(message), true)?;
        Ok(call)
    }
}

impl RawCall {
    /// The beginning of the answer.
    pub async fn answered(self) -> Response<RecvStream> {
        self.response.await.unwrap()
    }

    /// The status of a call that is refused before anything is answered.
    pub async fn refused(self) -> Status {
        let answer = self.answered().await;
        status(answer.headers())
    }
}

/// The status among headers or trailers.
pub fn status(headers: &HeaderMap) -> Status {
    Status::from_header_map(headers).unwrap_or_else(|| panic!("no status in {headers:?}"))
}

/// A message as gRPC sends it.
pub fn framed(message: &[u8]) -> Bytes {
    let length = u32::try_from(message.len()).unwrap().to_be_bytes();
    [&[0][..], &length, message].concat().into()
}
