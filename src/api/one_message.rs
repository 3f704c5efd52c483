//! Requests that are one message each: the body of a request with a second one fails.
//!
//! Every RPC of the contract takes one message. The library reads the first and drops the others, so that a client
//! that sends several would believe that all of them were carried out.

use std::pin::Pin;
use std::task::{Context, Poll};

use axum::BoxError;
use axum::body::Bytes;
use http_body::{Body, Frame, SizeHint};

use super::errors::status;
use super::pb::ErrorReason;

/// The bytes before a message: whether it is compressed, and its length.
const HEAD_BYTES: usize = 5;

/// The body of a request of one message.
pub(super) struct OneMessage<B> {
    inner: B,
    messages: Messages,
}

/// Where the bytes of a body are in its messages.
#[derive(Debug, Default)]
struct Messages {
    head: [u8; HEAD_BYTES],
    /// How much of the head has come.
    head_bytes: usize,
    /// How much of the message has yet to come.
    missing_bytes: usize,
}

impl Messages {
    /// Takes the next bytes, and says whether a second message begins in them.
    fn is_second_in(&mut self, mut bytes: &[u8]) -> bool {
        while self.head_bytes < HEAD_BYTES {
            let Some((first, rest)) = bytes.split_first() else { return false };
            self.head[self.head_bytes] = *first;
            self.head_bytes += 1;
            bytes = rest;
            if self.head_bytes == HEAD_BYTES {
                let [_, length @ ..] = self.head;
                self.missing_bytes =
                    usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
            }
        }
        let of_message = self.missing_bytes.min(bytes.len());
        self.missing_bytes -= of_message;
        bytes.len() > of_message
    }
}

impl<B> OneMessage<B> {
    pub(super) fn new(inner: B) -> Self {
        Self { inner, messages: Messages::default() }
    }
}

impl<B> Body for OneMessage<B>
where
    B: Body<Data = Bytes, Error: Into<BoxError>> + Unpin,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let Self { inner, messages } = &mut *self;
        Pin::new(inner).poll_frame(context).map(|frame| {
            frame.map(|frame| {
                let frame = frame.map_err(Into::into)?;
                if frame.data_ref().is_some_and(|bytes| messages.is_second_in(bytes)) {
                    let message = "the call takes one message, and more than one came";
                    return Err(status(ErrorReason::MalformedMessage, message, &[]).into());
                }
                Ok(frame)
            })
        })
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_message_is_found_wherever_the_body_is_cut_into_pieces() {
        let message = [0, 0, 0, 0, 3, 7, 7, 7];
        let empty = [0, 0, 0, 0, 0];
        for (body, expected) in [
            (message.to_vec(), false),
            (empty.to_vec(), false),
            (message[..6].to_vec(), false),
            ([&message[..], &message].concat(), true),
            ([&message[..], &empty[..1]].concat(), true),
            ([&empty[..], &empty].concat(), true),
        ] {
            for length in 1..=body.len() {
                let mut messages = Messages::default();
                let found = body.chunks(length).any(|piece| messages.is_second_in(piece));
                assert_eq!(found, expected, "{body:?} in pieces of {length}");
            }
        }
    }
}
