//! Reading the log through the public API.

use super::LoadError;
use super::connections::Connections;
use contract::pb::operator_service_client::OperatorServiceClient;
use contract::pb::{Event, ReadEventsRequest};

/// Reads the events of some types after a position up to the present end of the log, and returns that end.
///
/// # Errors
/// If the server does not answer.
pub(super) async fn read(
    connections: &Connections,
    after_position: i64,
    event_types: &[&str],
    mut each: impl FnMut(&Event),
) -> Result<i64, LoadError> {
    let failed = LoadError::call("read the log");
    let request = ReadEventsRequest {
        after_position,
        event_types: event_types.iter().map(|&name| name.into()).collect(),
        ..Default::default()
    };
    let mut client = OperatorServiceClient::new(connections.channel(0));
    let mut events =
        client.read_events(connections.stream(request)).await.map_err(&failed)?.into_inner();
    let mut position = after_position;
    while let Some(message) = events.message().await.map_err(&failed)? {
        position = message.position;
        if let Some(event) = &message.event {
            each(event);
        }
    }
    Ok(position)
}

/// The end of the log, if it is at `position` or after it.
///
/// # Errors
/// If the server does not answer.
pub(super) async fn end(connections: &Connections, position: i64) -> Result<i64, LoadError> {
    // Publications of programs are rare, so that little more than the end of the log is sent.
    read(connections, position, &["ProgramPublished"], |_| {}).await
}
