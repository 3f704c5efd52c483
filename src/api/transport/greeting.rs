//! The first bytes of a connection, which say whether it speaks HTTP/2.
//!
//! The HTTP library waits for as long as a client likes for the rest of a preface that has begun, and for the settings
//! after it. Until both have come, or the bytes are no preface, a connection has not begun, and the time for that is
//! limited.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// What a connection of HTTP/2 begins with.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// The preface and the head of the first frame, whose content is limited by HTTP/2 itself.
const GREETING_BYTES: usize = PREFACE.len() + 9;

/// Whether a connection has begun to speak. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(super) struct Greeted(Arc<AtomicBool>);

impl Greeted {
    pub(super) fn is_over(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// A connection whose first bytes are looked at.
#[derive(Debug)]
pub(super) struct Greeting<Connection> {
    connection: Connection,
    /// How many bytes have come, as long as they are a greeting of HTTP/2.
    bytes: usize,
    greeted: Greeted,
}

impl<Connection> Greeting<Connection> {
    pub(super) fn new(connection: Connection) -> (Self, Greeted) {
        let greeted = Greeted::default();
        (Self { connection, bytes: 0, greeted: greeted.clone() }, greeted)
    }

    fn look_at(&mut self, bytes: &[u8]) {
        let preface = PREFACE.get(self.bytes..).unwrap_or_default();
        let is_http_2 = preface.iter().zip(bytes).all(|(expected, byte)| expected == byte);
        self.bytes += bytes.len();
        if !is_http_2 || self.bytes >= GREETING_BYTES {
            self.greeted.0.store(true, Ordering::Relaxed);
        }
    }
}

impl<Connection: AsyncRead + Unpin> AsyncRead for Greeting<Connection> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = ready!(Pin::new(&mut self.connection).poll_read(context, buffer));
        if !self.greeted.is_over() {
            let bytes = buffer.filled().get(before..).unwrap_or_default();
            self.look_at(bytes);
        }
        Poll::Ready(read)
    }
}

impl<Connection: AsyncWrite + Unpin> AsyncWrite for Greeting<Connection> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.connection).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.connection).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.connection.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.connection).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.connection).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_greeting_is_over_with_the_first_frame_or_when_it_is_none() {
        let hello = [PREFACE, &[0; 9]].concat();
        for length in 1..=hello.len() {
            let (mut greeting, greeted) = Greeting::new(());
            for (index, piece) in hello.chunks(length).enumerate() {
                assert!(!greeted.is_over(), "after {index} pieces of {length}");
                greeting.look_at(piece);
            }
            assert!(greeted.is_over(), "pieces of {length}");
        }
        for other in ["GET / HTTP/1.1\r\n", "PRI * HTTP/1.1\r\n", "PUT /"] {
            let (mut greeting, greeted) = Greeting::new(());
            greeting.look_at(other.as_bytes());
            assert!(greeted.is_over(), "{other}");
        }
    }
}
