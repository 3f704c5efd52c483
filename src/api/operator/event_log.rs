//! Events for operators: filtered, read and watched.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use sqlx::PgPool;
use tokio::sync::mpsc;
use tonic::Status;

use crate::api::Context;
use crate::api::errors::{ApiError, status};
use crate::api::fields::Fields;
use crate::api::pb::{self, ErrorReason};
use crate::api::responses::time;
use crate::api::watch::{Sent, View};
use crate::live::CutOff;
use crate::store::{Actor, Envelope, RecordedEvent, StoreError, in_time, log};
use domain::{Kind, ParticipantId, ProgramId, UserId, event_types};

/// How many events are read from the log at once, to look for those that match.
const READ_EVENTS: i64 = 1_000;
/// How many events are kept for a client that has yet to read them. The others are read again, once the client has.
const KEPT_EVENTS: usize = 64;
const SHORT_READ: i64 = 64;
/// How long a message may wait for a client that does not read its stream.
const SEND_TIMEOUT: Duration = Duration::from_mins(1);
/// The longest id of an aggregate that is looked for, in bytes.
const MAX_AGGREGATE_ID_BYTES: usize = 320;
/// The maximum number of types in a filter.
const MAX_EVENT_TYPES: usize = 64;

/// The events to show.
pub(super) struct EventFilter {
    /// Events of these types; all if empty.
    event_types: Vec<String>,
    /// Events that concern this user; all if `None`.
    user_id: Option<Arc<str>>,
    /// Events of commands of this actor; of any if `None`.
    actor: Option<Arc<str>>,
    /// Events that concern this program; all if `None`.
    program_id: Option<Arc<str>>,
    /// Events of aggregates with this id; of all if `None`.
    aggregate_id: Option<Arc<str>>,
    /// Who caused the command of the last event that was looked at. Only its first event says so.
    envelope: Option<Arc<Envelope>>,
}

impl fmt::Display for EventFilter {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let user_id = self.user_id.as_deref().unwrap_or_default();
        write!(formatter, "{user_id} {}", self.event_types.join(" "))?;
        // What was added later is left out where it is not used, so that older tokens stay good.
        for (word, wanted) in
            [("by", &self.actor), ("in", &self.program_id), ("of", &self.aggregate_id)]
        {
            if let Some(wanted) = wanted {
                write!(formatter, " {word} {wanted}")?;
            }
        }
        Ok(())
    }
}

impl EventFilter {
    /// Prepares for the events after a position, which can be in the middle of a command.
    pub(super) async fn begin(&mut self, pool: &PgPool, position: i64) -> Result<(), StoreError> {
        if self.actor.is_some() {
            self.envelope = in_time(log::envelope_at(pool, position)).await?;
        }
        Ok(())
    }

    /// Whether the event matches. Events must be passed in the order of the log, without gaps.
    fn takes(&mut self, event: &RecordedEvent) -> bool {
        if event.command_events.is_some() {
            self.envelope.clone_from(&event.envelope);
        }
        self.is_by_actor() && self.matches(event)
    }

    fn is_by_actor(&self) -> bool {
        let actor = self.envelope.as_ref().map(|envelope| envelope.actor.as_str());
        self.actor.as_ref().is_none_or(|wanted| actor == Some(&**wanted))
    }

    fn matches(&self, event: &RecordedEvent) -> bool {
        let is_type = |wanted: &String| wanted.as_str() == &*event.event_type;
        (self.event_types.is_empty() || self.event_types.iter().any(is_type))
            && self.aggregate_id.as_ref().is_none_or(|wanted| event.stream.id == *wanted)
            && self.user_id.as_ref().is_none_or(|user_id| concerns(event, user_id))
            && self.program_id.as_ref().is_none_or(|program_id| is_in(event, program_id))
    }
}

/// Whether an event is on one of the user's own streams, or names the user.
fn concerns(event: &RecordedEvent, user_id: &str) -> bool {
    event.stream.kind.user_of(&event.stream.id) == Some(user_id) || names(event, "user_id", user_id)
}

/// Whether an event is of a program or one of its participants, or names the program.
fn is_in(event: &RecordedEvent, program_id: &str) -> bool {
    let id = &event.stream.id;
    let is_own = match event.stream.kind {
        Kind::Program => **id == *program_id,
        Kind::Participant => ParticipantId::parse(id)
            .is_some_and(|participant| participant.program_id.as_str() == program_id),
        _ => false,
    };
    is_own || names(event, "program_id", program_id)
}

/// Whether a field of the event whose name ends like this has this value.
fn names(event: &RecordedEvent, field: &str, id: &str) -> bool {
    // Identifiers need no escaping, so a value is found by its plain text.
    event.payload.contains(id)
        && serde_json::from_str(&event.payload).is_ok_and(
            |fields: serde_json::Map<String, serde_json::Value>| {
                fields.iter().any(|(name, value)| name.ends_with(field) && value == id)
            },
        )
}

/// What a request wants to see.
#[derive(Clone, Copy)]
pub(super) struct Wanted<'a> {
    pub(super) event_types: &'a [String],
    pub(super) user_id: &'a str,
    pub(super) actor: &'a str,
    pub(super) program_id: &'a str,
    pub(super) aggregate_id: &'a str,
}

pub(super) fn read_filter(fields: &mut Fields, wanted: Wanted<'_>) -> EventFilter {
    let Wanted { event_types: wanted, user_id, actor, program_id, aggregate_id } = wanted;
    if wanted.len() > MAX_EVENT_TYPES {
        let message = format!("must be at most {MAX_EVENT_TYPES}");
        fields.fault("event_types", ErrorReason::OutOfRange, message);
    }
    for (index, name) in wanted.iter().enumerate().take(MAX_EVENT_TYPES) {
        let known = event_types();
        if !known.contains(&name.as_str()) {
            let message = format!("must be one of {}", known.join(", "));
            let field = format!("event_types[{index}]");
            fields.fault(field, ErrorReason::UnknownEventType, message);
        }
    }
    let user_id = fields.optional_id("user_id", user_id, UserId::parse);
    if !actor.is_empty() && Actor::parse(actor).is_none() {
        let message = "must be 'anonymous', 'system', 'command_line', 'key:admin', 'key:ROLE:ID' with one of the roles \
                       'admin', 'service' and 'user', or 'user:ID'";
        fields.fault("actor", ErrorReason::InvalidId, message);
    }
    let program_id = fields.optional_id("program_id", program_id, ProgramId::parse);
    if aggregate_id.len() > MAX_AGGREGATE_ID_BYTES {
        let message = format!("must be at most {MAX_AGGREGATE_ID_BYTES} bytes long");
        fields.fault("aggregate_id", ErrorReason::FieldTooLong, message);
    }
    EventFilter {
        event_types: wanted.to_vec(),
        user_id: user_id.map(|user_id| user_id.as_str().into()),
        actor: given(actor),
        program_id: program_id.map(|program_id| program_id.as_str().into()),
        aggregate_id: given(aggregate_id),
        envelope: None,
    }
}

/// A text, unless it is empty.
fn given(text: &str) -> Option<Arc<str>> {
    (!text.is_empty()).then(|| text.into())
}

fn event_message(event: &RecordedEvent) -> pb::Event {
    let envelope = event.envelope.as_deref();
    pb::Event {
        position: event.position,
        create_time: Some(time(event.recorded_at)),
        aggregate_type: event.stream.kind.as_str().into(),
        aggregate_id: event.stream.id.to_string(),
        sequence: event.sequence,
        event_type: event.event_type.to_string(),
        event_version: event.event_version.to_string(),
        payload_json: payload_json(&event.payload),
        actor: envelope.map(|envelope| envelope.actor.to_string()).unwrap_or_default(),
        door: envelope.map(|envelope| envelope.door.as_str().into()).unwrap_or_default(),
    }
}

/// The fields of an event in one spelling: without blanks, in the order of their names. An event that this process
/// appended comes as it was written, and one that was read as the database spells `jsonb`.
fn payload_json(payload: &str) -> String {
    match serde_json::from_str::<serde_json::Value>(payload) {
        Ok(fields) => fields.to_string(),
        Err(_) => payload.to_owned(),
    }
}

impl View for EventFilter {
    type Message = pb::WatchEventsResponse;

    fn message(
        &mut self,
        event: &RecordedEvent,
        resume_token: String,
    ) -> Result<Option<Self::Message>, CutOff> {
        let event = self.takes(event).then(|| event_message(event));
        Ok(event.map(|event| pb::WatchEventsResponse { event: Some(event), resume_token }))
    }

    fn heartbeat(resume_token: String) -> Self::Message {
        pb::WatchEventsResponse { event: None, resume_token }
    }

    fn token(message: &Self::Message) -> &str {
        &message.resume_token
    }
}

/// Sends the events of a range of positions (after the first, up to the last) that match a filter, at most
/// `limit`, to a caller who takes turns with others.
pub(super) async fn send_events(
    context: &Context,
    caller: &Arc<str>,
    mut filter: EventFilter,
    range: Range<i64>,
    limit: i32,
    messages: &mpsc::Sender<Sent<pb::ReadEventsResponse>>,
) -> Result<(), Status> {
    let mut left = limit;
    let mut position = range.start;
    let mut length = SHORT_READ;
    while position < range.end && left > 0 {
        let mut last = range.end.min(position + length);
        let turn = context.live.turn(caller).await;
        let read = in_time(log::read_range(context.database.pool(), position + 1, last));
        let mut events = read.await.map_err(ApiError::from)?;
        let pool = context.database.pool();
        filter.begin(pool, position).await.map_err(ApiError::from)?;
        drop(turn);
        events.retain(|event| filter.takes(event));
        // Where most events match, only as many are read as are kept.
        length = if events.len() < KEPT_EVENTS { READ_EVENTS.min(length * 2) } else { SHORT_READ };
        if events.len() > KEPT_EVENTS {
            events.truncate(KEPT_EVENTS);
            events.shrink_to_fit();
            last = events.last().map_or(last, |event| event.position);
        }
        let mut has_said_how_far = false;
        for event in &events {
            if left == 0 {
                return Ok(());
            }
            left -= 1;
            has_said_how_far = event.position == last;
            let message = pb::ReadEventsResponse {
                event: Some(event_message(event)),
                position: event.position,
            };
            send(messages, message).await?;
        }
        position = last;
        if !has_said_how_far && left > 0 {
            send(messages, pb::ReadEventsResponse { event: None, position }).await?;
        }
    }
    Ok(())
}

/// Sends one message, unless the client has stopped reading for too long or is gone.
async fn send(
    messages: &mpsc::Sender<Sent<pb::ReadEventsResponse>>,
    message: pb::ReadEventsResponse,
) -> Result<(), Status> {
    let sent = messages.send(Box::new(Ok(message)));
    if let Ok(Ok(())) = tokio::time::timeout(SEND_TIMEOUT, sent).await {
        return Ok(());
    }
    let message = "nothing was read for a minute; go on from the last position";
    Err(status(ErrorReason::SlowConsumer, message, &[]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::Timestamp;

    #[test]
    fn the_same_event_is_spelled_in_one_way_wherever_it_was_read() {
        let written =
            r#"{"type":"Granted","amount_minor":9007199254740993,"after":{"b":1,"a":"é"}}"#;
        let stored =
            r#"{"type": "Granted", "after": {"a": "é", "b": 1}, "amount_minor": 9007199254740993}"#;
        let spelled =
            r#"{"after":{"a":"é","b":1},"amount_minor":9007199254740993,"type":"Granted"}"#;
        assert_eq!([payload_json(written), payload_json(stored)], [spelled, spelled]);
    }

    fn event(kind: Kind, id: &str, payload: &str) -> RecordedEvent {
        RecordedEvent {
            position: 1,
            recorded_at: Timestamp(0),
            stream: domain::StreamKey { kind, id: id.into() },
            sequence: 1,
            event_type: "PurchaseRecorded".into(),
            event_version: "1.0.0".into(),
            payload: payload.into(),
            command_events: None,
            envelope: None,
        }
    }

    #[test]
    fn an_event_concerns_whom_it_names() {
        let purchase =
            event(Kind::Purchase, "bob", r#"{"buyer_user_id":"ada","purchase_id":"bob"}"#);
        assert!(concerns(&purchase, "ada"));
        assert!(!concerns(&purchase, "bob"));
        assert!(!concerns(&purchase, "ad"));
        assert!(concerns(&event(Kind::Participant, "club/ada", "{}"), "ada"));
        assert!(!concerns(&event(Kind::Participant, "ada/bob", "{}"), "ada"));
        assert!(concerns(&event(Kind::User, "ada", "{}"), "ada"));
    }

    #[test]
    fn an_event_is_in_the_programs_that_it_names_or_is_of() {
        assert!(is_in(&event(Kind::Program, "club", "{}"), "club"));
        assert!(is_in(&event(Kind::Participant, "club/ada", "{}"), "club"));
        assert!(!is_in(&event(Kind::Participant, "clubs/club", "{}"), "club"));
        assert!(!is_in(&event(Kind::User, "club", "{}"), "club"));
        assert!(is_in(&event(Kind::Purchase, "p", r#"{"program_id":"club"}"#), "club"));
        assert!(!is_in(&event(Kind::Purchase, "p", r#"{"buyer_user_id":"club"}"#), "club"));
    }
}
