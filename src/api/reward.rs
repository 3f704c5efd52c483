//! `RewardService`: what participants earn.

use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval_at};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use super::Context;
use super::answers::{money, reward};
use super::errors::{ApiError, status};
use super::fields::Fields;
use super::pb::reward_service_server::RewardService;
use super::pb::{self, ErrorReason};
use super::tokens::{resume_cursor, resume_token};
use crate::domain::{
    Kind, Participant, ParticipantEvent, ParticipantId, ProgramId, StreamKey, UserId, decode,
    existing_participant,
};
use crate::engine::query::query;
use crate::live::{CutOff, Subscription, turned_true};
use crate::store::RecordedEvent;

/// Messages that wait for one client's connection. More wait as events, in the subscription.
const QUEUED_MESSAGES: usize = 16;

type Message = Result<pb::WatchEarningsResponse, Status>;

pub(super) struct Rewards(pub(super) Context);

#[tonic::async_trait]
impl RewardService for Rewards {
    type WatchEarningsStream = ReceiverStream<Message>;

    async fn watch_earnings(
        &self,
        request: Request<pb::WatchEarningsRequest>,
    ) -> Result<Response<Self::WatchEarningsStream>, Status> {
        let request = request.into_inner();
        let mut fields = Fields::default();
        let program_id = fields.id("program_id", &request.program_id, ProgramId::parse);
        let user_id = fields.id("user_id", &request.user_id, UserId::parse);
        let (program_id, user_id) = fields.finish(program_id.zip(user_id))?;
        let id = ParticipantId { program_id, user_id };
        let stream = StreamKey { kind: Kind::Participant, id: id.to_string().into() };
        let from = resume_cursor(&self.0, &stream, &request.resume_token).await?;
        query(&self.0.database, &self.0.surroundings, |work| {
            existing_participant(work, &id).map(|_| ())
        })
        .await
        .map_err(ApiError::from)?;
        let subscription =
            self.0.live.subscribe(stream.clone(), from).await.map_err(ApiError::from)?;
        let Some(subscription) = subscription else {
            let message = "the server has as many open streams as it can; try another";
            let limit = self.0.live.stream_limit();
            return Err(status(ErrorReason::TooManyStreams, message, &[("limit_streams", &limit)]));
        };
        let (messages, answer) = mpsc::channel(QUEUED_MESSAGES);
        let sent_token = resume_token(&self.0, &stream, subscription.cursor());
        let context = self.0.clone();
        let watcher = Watcher { context, stream, subscription, messages, sent_token };
        tokio::spawn(watcher.run());
        Ok(Response::new(ReceiverStream::new(answer)))
    }
}

/// Feeds one stream of earnings.
struct Watcher {
    context: Context,
    stream: StreamKey,
    subscription: Subscription,
    messages: mpsc::Sender<Message>,
    /// Everything up to here has been sent.
    sent_token: String,
}

impl Watcher {
    async fn run(mut self) {
        // A place for the last word is kept free, so that it can be said to a client that is behind.
        let Ok(last_word) = self.messages.clone().reserve_owned().await else { return };
        if let Some(status) = self.feed().await {
            last_word.send(Err(status));
        }
    }

    /// Sends until the client leaves (`None`) or there is a reason to end.
    async fn feed(&mut self) -> Option<Status> {
        let period = self.context.settings.heartbeat.max(Duration::from_millis(10));
        // The first message says that the stream has begun, and where.
        self.messages.send(Ok(self.heartbeat())).await.ok()?;
        let mut heartbeat = interval_at(Instant::now() + period, period);
        heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut stopping = self.context.stopping.clone();
        loop {
            let message = tokio::select! {
                biased;
                () = turned_true(&mut stopping) => {
                    return Some(self.end(ErrorReason::ShuttingDown, "the server is stopping"));
                }
                () = self.messages.closed() => return None,
                _ = heartbeat.tick() => Some(self.heartbeat()),
                next = self.subscription.next() => match next {
                    Ok(event) => match self.reward(&event) {
                        Ok(message) => message,
                        Err(status) => return Some(status),
                    },
                    Err(CutOff::TooSlow) => return Some(self.too_slow()),
                    Err(CutOff::Store(error)) => return Some(ApiError::from(error).into()),
                },
            };
            let Some(message) = message else { continue };
            let token = message.resume_token.clone();
            tokio::select! {
                sent = self.messages.send(Ok(message)) => {
                    if sent.is_err() {
                        return None;
                    }
                    self.sent_token = token;
                }
                () = self.subscription.behind() => return Some(self.too_slow()),
                () = turned_true(&mut stopping) => {
                    return Some(self.end(ErrorReason::ShuttingDown, "the server is stopping"));
                }
            }
        }
    }

    fn token(&self) -> String {
        resume_token(&self.context, &self.stream, self.subscription.cursor())
    }

    fn heartbeat(&self) -> pb::WatchEarningsResponse {
        pb::WatchEarningsResponse { resume_token: self.token(), ..Default::default() }
    }

    fn reward(&self, event: &RecordedEvent) -> Result<Option<pb::WatchEarningsResponse>, Status> {
        if &*event.event_type != "RewardGranted" {
            return Ok(None);
        }
        let read = decode::<Participant>(&event.event_type, &event.event_version, &event.payload);
        match read {
            Ok(ParticipantEvent::RewardGranted(granted)) => Ok(Some(pb::WatchEarningsResponse {
                reward: Some(reward(&granted, event.recorded_at)),
                level_total: Some(money(&granted.currency_code, granted.level_total_minor)),
                total: Some(money(&granted.currency_code, granted.total_minor)),
                resume_token: self.token(),
            })),
            Ok(_) => Ok(None),
            Err(error) => {
                tracing::error!(%error, position = event.position, "an event cannot be read");
                Err(super::errors::internal())
            }
        }
    }

    fn too_slow(&self) -> Status {
        self.end(
            ErrorReason::SlowConsumer,
            "rewards came faster than they were read; resume from the last token",
        )
    }

    fn end(&self, reason: ErrorReason, message: &str) -> Status {
        status(reason, message, &[("resume_token", &self.sent_token)])
    }
}
