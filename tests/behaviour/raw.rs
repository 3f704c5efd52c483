//! Calls with arbitrary bytes.

use std::error::Error;
use std::fmt::Debug;
use std::time::Duration;

use http_body::Body;
use prost::bytes::{Buf, BufMut};
use tonic::client::GrpcService;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::{Request, Status};

/// A codec that uses bytes as messages.
#[derive(Clone, Copy, Default)]
pub struct Bytes;

impl Codec for Bytes {
    type Encode = Vec<u8>;
    type Decode = Vec<u8>;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        *self
    }

    fn decoder(&mut self) -> Self {
        *self
    }
}

impl Encoder for Bytes {
    type Item = Vec<u8>;
    type Error = Status;

    fn encode(&mut self, item: Vec<u8>, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put_slice(&item);
        Ok(())
    }
}

impl Decoder for Bytes {
    type Item = Vec<u8>;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Vec<u8>>, Status> {
        let mut item = vec![0; buffer.remaining()];
        buffer.copy_to_slice(&mut item);
        Ok(Some(item))
    }
}

/// Calls a path, such as `/tributary.v1.AccountService/GetUser`, with bytes as the message.
pub async fn call<S>(service: S, path: &str, request: Request<Vec<u8>>) -> Result<Vec<u8>, Status>
where
    S: GrpcService<tonic::body::Body, Error: Debug>,
    S::ResponseBody: Body<Error: Into<Box<dyn Error + Send + Sync>>> + Send + 'static,
{
    let mut client = tonic::client::Grpc::new(service);
    client.ready().await.expect("the server is there");
    let path = path.parse().expect("a path");
    Ok(client.unary(request, path, Bytes).await?.into_inner())
}

/// Calls a path as [`call`] does, and returns the first messages of the answer: at most so many, and only those that
/// come without a longer wait.
pub async fn some<S>(
    service: S,
    path: &str,
    request: Request<Vec<u8>>,
    (most, patience): (usize, Duration),
) -> Result<Vec<Vec<u8>>, Status>
where
    S: GrpcService<tonic::body::Body, Error: Debug>,
    S::ResponseBody: Body<Error: Into<Box<dyn Error + Send + Sync>>> + Send + 'static,
{
    let mut client = tonic::client::Grpc::new(service);
    client.ready().await.expect("the server is there");
    let path = path.parse().expect("a path");
    let mut answers = client.server_streaming(request, path, Bytes).await?.into_inner();
    let mut messages = Vec::new();
    while messages.len() < most {
        match tokio::time::timeout(patience, answers.message()).await {
            Ok(message) => match message? {
                Some(message) => messages.push(message),
                None => break,
            },
            // A unary answer is waited for.
            Err(_) if messages.is_empty() => {
                messages.extend(answers.message().await?);
            }
            Err(_) => break,
        }
    }
    Ok(messages)
}
