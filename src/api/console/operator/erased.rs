//! A user who was erased.

use std::time::Duration;

use axum::response::Response;
use console::pages::operator::erased::{View, page};
use console::text;
use prost_types::Timestamp;
use tokio::time::timeout;
use tokio_stream::StreamExt;
use tonic::{Code, Status};

use crate::api::console::answers::Refused;
use crate::api::console::visit::Visit;
use crate::api::pb;

/// How long the log is searched for the erasure.
const PATIENCE: Duration = Duration::from_secs(2);

/// The page of a user whom `status` says there is not: of one who was erased, or none.
pub(super) async fn instead(
    visit: &Visit,
    user_id: &str,
    status: Status,
) -> Result<Response, Refused> {
    if status.code() != Code::NotFound || !was_there(visit, user_id).await? {
        return Err(status.into());
    }
    let person = visit.person().await?;
    let erased = timeout(PATIENCE, erase_time(visit, user_id)).await;
    let view = View {
        user_id,
        erased: erased.ok().and_then(Result::ok).flatten(),
        done: text::done(visit.query("done")),
    };
    let form_token = visit.form_token();
    let sidebar = person.sidebar(visit, &form_token);
    Ok(visit.page(page(&view, &sidebar, visit.reader())))
}

/// Whether there ever was a user with this id: lists have those who were erased, too.
pub(super) async fn was_there(visit: &Visit, user_id: &str) -> Result<bool, Status> {
    let request = pb::ListUsersRequest {
        user_ids: vec![user_id.into()],
        consistency_token: visit.changed(),
        ..Default::default()
    };
    match visit.call(request).await {
        Ok(found) => Ok(!found.users.is_empty()),
        // What cannot be an id is nobody's.
        Err(status) if status.code() == Code::InvalidArgument => Ok(false),
        Err(status) => Err(status),
    }
}

/// When the user was erased, as the log has it.
async fn erase_time(visit: &Visit, user_id: &str) -> Result<Option<Timestamp>, Status> {
    let request = pb::ReadEventsRequest {
        event_types: vec!["UserErased".into()],
        aggregate_id: user_id.into(),
        limit: 1,
        ..Default::default()
    };
    let mut messages = visit.call(request).await?;
    while let Some(message) = messages.next().await.transpose()? {
        if let Some(event) = message.event {
            return Ok(event.create_time);
        }
    }
    Ok(None)
}
