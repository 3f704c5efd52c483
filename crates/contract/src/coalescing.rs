//! Connections on which answers that are ready at the same moment are sent together.
//!
//! A batch answers many calls at once, each in its own task. Each task wakes the task that writes to the
//! connection, and tokio runs a newly woken task next, so every answer would be a separate system call and
//! packet. Here a write first lets all ready tasks run. HTTP/2 collects their answers meanwhile.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tonic::transport::server::Connected;

/// A connection that coalesces writes.
#[derive(Debug)]
pub struct Coalescing<Connection> {
    connection: Connection,
    /// Whether other tasks have run before the current write.
    has_stepped_back: bool,
}

impl<Connection> Coalescing<Connection> {
    /// Coalesces writes to this connection.
    #[must_use]
    pub fn new(connection: Connection) -> Self {
        Self { connection, has_stepped_back: false }
    }

    /// Yields to all ready tasks, once for each flush.
    fn step_back(&mut self, context: &mut Context<'_>) -> Poll<()> {
        if self.has_stepped_back {
            return Poll::Ready(());
        }
        self.has_stepped_back = true;
        // A task that is woken while it runs goes to the end of the queue.
        context.waker().wake_by_ref();
        Poll::Pending
    }
}

impl<Connection: AsyncWrite + Unpin> AsyncWrite for Coalescing<Connection> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        ready!(self.step_back(context));
        Pin::new(&mut self.connection).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        ready!(self.step_back(context));
        Pin::new(&mut self.connection).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.connection.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = ready!(Pin::new(&mut self.connection).poll_flush(context));
        self.has_stepped_back = false;
        Poll::Ready(flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.connection).poll_shutdown(context)
    }
}

impl<Connection: AsyncRead + Unpin> AsyncRead for Coalescing<Connection> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.connection).poll_read(context, buffer)
    }
}

impl<Connection: Connected> Connected for Coalescing<Connection> {
    type ConnectInfo = Connection::ConnectInfo;

    fn connect_info(&self) -> Self::ConnectInfo {
        self.connection.connect_info()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]
mod tests {
    use std::sync::{Arc, Mutex};

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::sync::Notify;

    use super::*;

    #[tokio::test]
    async fn what_is_ready_when_a_write_begins_goes_before_it() {
        let (near, mut far) = tokio::io::duplex(1_024);
        let done = Arc::new(Mutex::new(Vec::new()));
        let start = Arc::new(Notify::new());
        let writer = tokio::spawn({
            let (done, start) = (done.clone(), start.clone());
            async move {
                let mut connection = Coalescing::new(near);
                for number in 0..2 {
                    start.notified().await;
                    let neighbour = tokio::spawn({
                        let done = done.clone();
                        async move { done.lock().unwrap().push(format!("neighbour {number}")) }
                    });
                    connection.write_all(b"answer").await.unwrap();
                    done.lock().unwrap().push(format!("write {number}"));
                    connection.flush().await.unwrap();
                    neighbour.await.unwrap();
                }
            }
        });
        let mut answer = [0; 6];
        for _ in 0..2 {
            start.notify_one();
            far.read_exact(&mut answer).await.unwrap();
            assert_eq!(&answer, b"answer");
        }
        writer.await.unwrap();
        let order = ["neighbour 0", "write 0", "neighbour 1", "write 1"];
        assert_eq!(*done.lock().unwrap(), order);
    }
}
