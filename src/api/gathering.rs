//! Connections on which answers that are ready at one moment leave together.
//!
//! A batch answers many calls at once, each in a task of its own. Each of them wakes the task that writes
//! to the connection, and tokio runs a task that was just woken next, so that every answer would be a
//! system call and a packet of its own. Here a write first lets all tasks that are ready go before it.
//! What they have to say is gathered by HTTP/2 meanwhile.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tonic::transport::server::Connected;

/// A connection that gathers what is written.
#[derive(Debug)]
pub struct Gathering<Connection> {
    connection: Connection,
    /// Whether the others have gone before what is being written.
    has_stepped_back: bool,
}

impl<Connection> Gathering<Connection> {
    /// Gathers what is written to this connection.
    #[must_use]
    pub fn new(connection: Connection) -> Self {
        Self { connection, has_stepped_back: false }
    }

    /// Steps behind all tasks that are ready, once for each flush.
    fn step_back(&mut self, context: &mut Context<'_>) -> Poll<()> {
        if self.has_stepped_back {
            return Poll::Ready(());
        }
        self.has_stepped_back = true;
        // Woken while it runs, a task goes to the end of the queue.
        context.waker().wake_by_ref();
        Poll::Pending
    }
}

impl<Connection: AsyncWrite + Unpin> AsyncWrite for Gathering<Connection> {
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

impl<Connection: AsyncRead + Unpin> AsyncRead for Gathering<Connection> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.connection).poll_read(context, buffer)
    }
}

impl<Connection: Connected> Connected for Gathering<Connection> {
    type ConnectInfo = Connection::ConnectInfo;

    fn connect_info(&self) -> Self::ConnectInfo {
        self.connection.connect_info()
    }
}
