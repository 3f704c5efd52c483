//! HTTP/2 by hand: frames as RFC 9113 defines them, and headers in the simplest form of RFC 7541. A client library
//! would not send what these tests send.

use std::io;

use testing::ADMIN_KEY;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const RST_STREAM: u8 = 3;
pub const SETTINGS: u8 = 4;
pub const PING: u8 = 6;
pub const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
pub const CONTINUATION: u8 = 9;

pub const END_STREAM: u8 = 1;
pub const END_HEADERS: u8 = 4;
const ACK: u8 = 1;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// The setting for how much a stream may carry before its receiver says more.
const INITIAL_WINDOW_SIZE: u8 = 4;

/// A frame.
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut frame = length[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

/// A text with its length, which has a prefix of seven bits.
fn text(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut length = text.len();
    if length < 127 {
        bytes.push(u8::try_from(length).unwrap());
    } else {
        bytes.push(127);
        length -= 127;
        while length >= 128 {
            bytes.push(u8::try_from(length % 128).unwrap() | 128);
            length /= 128;
        }
        bytes.push(u8::try_from(length).unwrap());
    }
    bytes.extend(text.bytes());
    bytes
}

/// A header that is not in any table.
pub fn header(name: &str, value: &str) -> Vec<u8> {
    [vec![0], text(name), text(value)].concat()
}

/// The headers of a call of an RPC with the admin key.
pub fn call_headers(rpc: &str) -> Vec<u8> {
    [
        header(":method", "POST"),
        header(":scheme", "http"),
        header(":path", &format!("/tributary.v1.{rpc}")),
        header(":authority", "localhost"),
        header("content-type", "application/grpc"),
        header("te", "trailers"),
        header("authorization", &format!("Bearer {ADMIN_KEY}")),
    ]
    .concat()
}

/// A message of gRPC.
pub fn grpc(message: &[u8]) -> Vec<u8> {
    let length = u32::try_from(message.len()).unwrap().to_be_bytes();
    [&[0], &length[..], message].concat()
}

/// A connection on which anything can be sent.
pub struct Connection(TcpStream);

impl Connection {
    /// Opens a connection on which the server may send as much as it likes.
    pub async fn open(address: &str) -> io::Result<Self> {
        Self::with_settings(address, &[]).await
    }

    /// Opens a connection on which no stream may carry anything to the client.
    pub async fn without_window(address: &str) -> io::Result<Self> {
        Self::with_settings(address, &[0, INITIAL_WINDOW_SIZE, 0, 0, 0, 0]).await
    }

    async fn with_settings(address: &str, settings: &[u8]) -> io::Result<Self> {
        let mut stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let ack = frame(SETTINGS, ACK, 0, &[]);
        let hello = [PREFACE, &frame(SETTINGS, 0, 0, settings), &ack].concat();
        stream.write_all(&hello).await?;
        Ok(Self(stream))
    }

    /// A connection without any words of HTTP/2.
    pub async fn silent(address: &str) -> io::Result<Self> {
        Ok(Self(TcpStream::connect(address).await?))
    }

    pub async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all(bytes).await
    }

    /// Reads one frame: its kind, its stream and its payload.
    pub async fn receive(&mut self) -> io::Result<(u8, u32, Vec<u8>)> {
        let mut head = [0; 9];
        self.0.read_exact(&mut head).await?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; usize::try_from(length).unwrap()];
        self.0.read_exact(&mut payload).await?;
        let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]) & (u32::MAX >> 1);
        Ok((head[3], stream, payload))
    }

    /// Reads and discards everything until the server closes the connection, answering its pings and letting it send
    /// as much again as it has sent.
    pub async fn drain(mut self) -> io::Result<()> {
        loop {
            let (kind, stream, payload) = self.receive().await?;
            if kind == PING {
                self.send(&frame(PING, ACK, 0, &payload)).await?;
            }
            if kind == DATA && !payload.is_empty() {
                let read = u32::try_from(payload.len()).unwrap().to_be_bytes();
                let of_stream = frame(WINDOW_UPDATE, 0, stream, &read);
                self.send(&[of_stream, frame(WINDOW_UPDATE, 0, 0, &read)].concat()).await?;
            }
        }
    }
}
