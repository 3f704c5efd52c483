//! The body of an answer: its bytes are counted until they are sent, and the call lasts as long as the body.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::Body;
use http_body::{Frame, SizeHint};

use super::connection::OpenCall;
use super::unread::{Account, Counted};

/// The body of an answer.
pub(super) struct Answer {
    inner: Body,
    account: Arc<Account>,
    /// Keeps the connection from being idle.
    _call: OpenCall,
}

impl Answer {
    pub(super) fn new(inner: Body, account: Arc<Account>, call: OpenCall) -> Self {
        Self { inner, account, _call: call }
    }
}

impl http_body::Body for Answer {
    type Data = Counted;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Counted>, axum::Error>>> {
        let Self { inner, account, .. } = &mut *self;
        Pin::new(inner).poll_frame(context).map(|frame| {
            frame.map(|frame| Ok(frame?.map_data(|bytes| Counted::new(bytes, account))))
        })
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
