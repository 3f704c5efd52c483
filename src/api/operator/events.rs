//! `ReadEvents` and `WatchEvents`.

use tokio::sync::mpsc;

use super::Handlers;
use super::event_log::{EventFilter, Wanted, read_filter, send_events};
use crate::api::deadline::end_of;
use crate::api::errors::{ApiError, status};
use crate::api::fields::Fields;
use crate::api::guard::Call;
use crate::api::pb::{self, ErrorReason};
use crate::api::tokens::{StreamName, newest_position, resume_cursor, resume_token};
use crate::api::watch::{
    EventFeed, Messages, QUEUED_MESSAGES, View, credentials_ended, open, stream,
};
use crate::live::{Cursor, Topic};
use crate::store::log;

impl Handlers {
    pub(in crate::api) async fn read_events(
        &self,
        call: Call<pb::ReadEventsRequest>,
    ) -> Result<Messages<pb::ReadEventsResponse>, ApiError> {
        let opening = open(&self.0, &call)?;
        let request = &call.message;
        let mut fields = Fields::of(request);
        if request.after_position < 0 {
            fields.fault("after_position", ErrorReason::OutOfRange, "must be 0 or more");
        }
        if request.limit < 0 {
            let message = "must be 1 or more, or 0 for the end of the log";
            fields.fault("limit", ErrorReason::OutOfRange, message);
        }
        let filter = read_filter(
            &mut fields,
            Wanted {
                event_types: &request.event_types,
                user_id: &request.user_id,
                actor: &request.actor,
                program_id: &request.program_id,
                aggregate_id: &request.aggregate_id,
            },
        );
        let filter = fields.finish(Some(filter))?;
        let turn = opening.turn(&self.0).await;
        let head = newest_position(&self.0, &request.consistency_token).await?;
        drop(turn);
        let limit = if request.limit == 0 { i32::MAX } else { request.limit };
        let (messages, answer) = mpsc::channel(QUEUED_MESSAGES);
        let (context, after) = (self.0.clone(), request.after_position);
        tokio::spawn(async move {
            // One slot stays reserved for the final status, so that a client that is behind gets it too.
            let Ok(last_word) = messages.clone().reserve_owned().await else { return };
            let status = tokio::select! {
                read = send_events(&context, opening.caller(), filter, after..head, limit, &messages) => {
                    read.err()
                }
                deadline = end_of(opening.deadline) => {
                    let message = "the deadline of the call has passed; go on from the last position";
                    Some(deadline.passed(message, &[]))
                }
                () = context.stopping.cancelled() => {
                    let message = "the server is stopping; go on from the last position";
                    Some(status(ErrorReason::ShuttingDown, message, &[]))
                }
                () = opening.credential_ended() => Some(credentials_ended(&[])),
            };
            if let Some(status) = status {
                last_word.send(Box::new(Err(status)));
            }
        });
        Ok(Messages::new(answer))
    }

    pub(in crate::api) async fn watch_events(
        &self,
        call: Call<pb::WatchEventsRequest>,
    ) -> Result<Messages<pb::WatchEventsResponse>, ApiError> {
        let opening = open(&self.0, &call)?;
        let request = &call.message;
        let mut fields = Fields::of(request);
        let filter = read_filter(
            &mut fields,
            Wanted {
                event_types: &request.event_types,
                user_id: &request.user_id,
                actor: &request.actor,
                program_id: &request.program_id,
                aggregate_id: &request.aggregate_id,
            },
        );
        let mut filter = fields.finish(Some(filter))?;
        let name = StreamName::new(call.rpc(), &filter.to_string());
        let turn = opening.turn(&self.0).await;
        let from = resume_cursor(&self.0, name, &request.resume_token).await?;
        let cursor = if let Some(cursor) = from {
            cursor
        } else {
            let head = log::head(self.0.database.pool()).await?;
            Cursor { position: head, sequence: head }
        };
        filter.begin(self.0.database.pool(), cursor.position).await?;
        drop(turn);
        let first = EventFilter::heartbeat(resume_token(&self.0, name, cursor));
        let subscription = self.0.live.subscribe(Topic::Log, cursor, opening.caller());
        let feed = EventFeed { context: self.0.clone(), name, subscription, view: filter };
        Ok(stream(&self.0, opening, vec![first], feed))
    }
}
