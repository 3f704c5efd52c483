//! What all streams have in common: a permit for each, bounded queues, heartbeats, and an end with a token.

use std::fmt::Display;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{self, Poll};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval_at};
use tokio_stream::Stream;
use tonic::Status;

use super::Context;
use super::deadline::{Deadline, end_of};
use super::errors::{ApiError, status};
use super::guard::Call;
use super::pb::ErrorReason;
use super::redaction::{Redact, Redaction};
use super::tokens::{StreamName, resume_token};
use crate::access::CredentialEnd;
use crate::live::{CutOff, Full, Permit, Subscription, Turn};
use crate::store::RecordedEvent;

/// The number of messages that may wait for one client's connection. Further ones wait as events in the
/// subscription.
pub(super) const QUEUED_MESSAGES: usize = 16;

/// What is sent to a client: messages, and the final status. Boxed, because a queue allocates room for 32
/// entries at once, and messages are large.
pub(super) type Sent<M> = Box<Result<M, Status>>;

/// The stream that answers a call.
pub(super) struct Messages<M> {
    queue: mpsc::Receiver<Sent<M>>,
    redaction: Redaction,
}

impl<M> Messages<M> {
    pub(super) fn new(queue: mpsc::Receiver<Sent<M>>) -> Self {
        Self { queue, redaction: Redaction::default() }
    }

    /// The stream without what its reader may not see.
    pub(super) fn redacted(self, redaction: Redaction) -> Self {
        Self { redaction, ..self }
    }
}

impl<M: Redact> Stream for Messages<M> {
    type Item = Result<M, Status>;

    fn poll_next(
        mut self: Pin<&mut Self>,
        context: &mut task::Context<'_>,
    ) -> Poll<Option<Self::Item>> {
        let Poll::Ready(sent) = self.queue.poll_recv(context) else { return Poll::Pending };
        Poll::Ready(sent.map(|sent| {
            let mut sent = *sent;
            if let Ok(message) = &mut sent {
                self.redaction.apply(message);
            }
            sent
        }))
    }
}

/// The source of the messages of a stream.
pub(super) trait Feed: Send + 'static {
    /// The type of the messages.
    type Message: Send + 'static;

    /// The next message. Cancel-safe: dropping the future loses no message.
    fn next(&mut self) -> impl Future<Output = Result<Self::Message, CutOff>> + Send;

    /// Resolves when the reader must be cut off, regardless of the messages that are still to be sent.
    fn behind(&self) -> impl Future<Output = ()> + Send;

    /// A message that only contains the position of the stream.
    fn heartbeat(&self) -> Self::Message;

    /// The token with which a stream can be resumed after a message.
    fn token(message: &Self::Message) -> &str;
}

/// A stream that is about to begin: its permit, and when it has to end.
pub(super) struct Opening {
    permit: Permit,
    /// When the caller stops waiting.
    pub(super) deadline: Option<Deadline>,
    /// The end of the caller's credential.
    credential: CredentialEnd,
}

impl Opening {
    /// Whose stream it is.
    pub(super) fn caller(&self) -> &Arc<str> {
        self.permit.caller()
    }

    /// A turn at the database, so that streams that begin do not keep other reads waiting.
    pub(super) async fn turn(&self, context: &Context) -> Turn {
        context.live.turn(self.caller()).await
    }

    /// Resolves when the caller's credential has ended.
    pub(super) async fn credential_ended(&self) {
        self.credential.wait().await;
    }
}

/// Begins one more stream of a caller, if there is a permit for it.
pub(super) fn open<M>(context: &Context, call: &Call<M>) -> Result<Opening, ApiError> {
    let credential = context.access.end_of(call.credential.as_ref());
    let permit =
        context.live.permit(&call.principal.quota()).map_err(|Full { limit, is_callers }| {
            let (message, whose) = if is_callers {
                ("you have reached the limit of open streams per caller; end some", "caller")
            } else {
                ("the server has reached its limit of open streams; try another server", "server")
            };
            let facts: [(&str, &dyn Display); 2] =
                [("limit_streams", &limit), ("limit_of", &whose)];
            status(ErrorReason::TooManyStreams, message, &facts)
        })?;
    Ok(Opening { permit, deadline: call.ends, credential })
}

/// The last status of a stream whose credential has ended.
pub(super) fn credentials_ended(facts: &[(&str, &dyn Display)]) -> Status {
    let message = "the session or the key that the stream was opened with has ended";
    status(ErrorReason::CredentialsEnded, message, facts)
}

/// Answers with a stream: first some messages, at least one, then those of the feed.
pub(super) fn stream<F: Feed>(
    context: &Context,
    opening: Opening,
    first: Vec<F::Message>,
    feed: F,
) -> Messages<F::Message> {
    let (messages, answer) = mpsc::channel(QUEUED_MESSAGES);
    let sent_token = F::token(&feed.heartbeat()).to_owned();
    let context = context.clone();
    let watcher = Watcher { context, feed, messages, sent_token, opening };
    tokio::spawn(watcher.run(first));
    Messages::new(answer)
}

/// Feeds one stream.
struct Watcher<F: Feed> {
    context: Context,
    feed: F,
    messages: mpsc::Sender<Sent<F::Message>>,
    /// The token of the last message that was sent.
    sent_token: String,
    /// Holds the permit.
    opening: Opening,
}

impl<F: Feed> Watcher<F> {
    async fn run(mut self, first: Vec<F::Message>) {
        // One slot stays reserved for the final status, so that a client that is behind gets it too.
        let Ok(last_word) = self.messages.clone().reserve_owned().await else { return };
        if let Some(status) = self.feed(first).await {
            last_word.send(Box::new(Err(status)));
        }
    }

    /// Sends messages until the client leaves (`None`) or there is a reason to end.
    async fn feed(&mut self, first: Vec<F::Message>) -> Option<Status> {
        // The first message tells the client that the stream has begun, and where.
        for message in first {
            F::token(&message).clone_into(&mut self.sent_token);
            self.messages.send(Box::new(Ok(message))).await.ok()?;
        }
        let period = self.context.settings.heartbeat.max(Duration::from_millis(10));
        let mut heartbeat = interval_at(Instant::now() + period, period);
        heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let stopping = self.context.stopping.clone();
        let mut end = pin!(end_of(self.opening.deadline));
        loop {
            let message = tokio::select! {
                biased;
                () = stopping.cancelled() => return Some(self.shutting_down()),
                () = self.opening.credential_ended() => return Some(self.credentials_ended()),
                () = self.messages.closed() => return None,
                deadline = &mut end => return Some(self.too_late(deadline)),
                _ = heartbeat.tick() => self.feed.heartbeat(),
                next = self.feed.next() => match next {
                    Ok(message) => message,
                    Err(CutOff::TooSlow) => return Some(self.too_slow()),
                    Err(CutOff::Store(error)) => {
                        let token = &self.sent_token;
                        return Some(ApiError::from(error).with("resume_token", token).into());
                    }
                },
            };
            let token = F::token(&message).to_owned();
            tokio::select! {
                sent = self.messages.send(Box::new(Ok(message))) => {
                    if sent.is_err() {
                        return None;
                    }
                    self.sent_token = token;
                }
                () = self.feed.behind() => return Some(self.too_slow()),
                deadline = &mut end => return Some(self.too_late(deadline)),
                () = stopping.cancelled() => return Some(self.shutting_down()),
                () = self.opening.credential_ended() => return Some(self.credentials_ended()),
            }
        }
    }

    fn shutting_down(&self) -> Status {
        self.end(ErrorReason::ShuttingDown, "the server is stopping")
    }

    fn too_late(&self, deadline: Deadline) -> Status {
        let message = "the deadline of the call has passed; resume from the last token";
        deadline.passed(message, &[("resume_token", &self.sent_token)])
    }

    fn credentials_ended(&self) -> Status {
        credentials_ended(&[("resume_token", &self.sent_token)])
    }

    fn too_slow(&self) -> Status {
        let message = "messages came faster than they were read; resume from the last token";
        self.end(ErrorReason::SlowConsumer, message)
    }

    fn end(&self, reason: ErrorReason, message: &str) -> Status {
        status(reason, message, &[("resume_token", &self.sent_token)])
    }
}

/// How a stream turns events into messages.
pub(super) trait View: Send + 'static {
    /// The type of the messages.
    type Message: Send + 'static;

    /// The message about an event, if the stream shows the event.
    fn message(
        &mut self,
        event: &RecordedEvent,
        resume_token: String,
    ) -> Result<Option<Self::Message>, CutOff>;

    /// A message that only contains a token.
    fn heartbeat(resume_token: String) -> Self::Message;

    /// The token of a message.
    fn token(message: &Self::Message) -> &str;
}

/// A feed of events, shown by a view.
pub(super) struct EventFeed<V> {
    pub(super) context: Context,
    /// Distinguishes the tokens of this stream from those of others.
    pub(super) name: StreamName,
    pub(super) subscription: Subscription,
    pub(super) view: V,
}

impl<V: View> EventFeed<V> {
    fn resume_token(&self) -> String {
        resume_token(&self.context, self.name, self.subscription.cursor())
    }
}

impl<V: View + Sync> Feed for EventFeed<V> {
    type Message = V::Message;

    async fn next(&mut self) -> Result<V::Message, CutOff> {
        loop {
            let event = self.subscription.next().await?;
            let token = self.resume_token();
            if let Some(message) = self.view.message(&event, token)? {
                return Ok(message);
            }
        }
    }

    async fn behind(&self) {
        self.subscription.behind().await;
    }

    fn heartbeat(&self) -> V::Message {
        V::heartbeat(self.resume_token())
    }

    fn token(message: &V::Message) -> &str {
        V::token(message)
    }
}
