//! Upcasters: how events of older versions become events of the current version.
//!
//! The log is never rewritten. When the shape of an event changes, its version in the `events!` declaration
//! is incremented and a function is added here that turns a payload of the older version into the newer one.

use cqrs_es::persist::{EventUpcaster, SemanticVersionEventUpcaster, SerializedEvent};

use super::DecodeError;

/// The upcasters, oldest first. Empty while every event is in its first version.
#[must_use]
pub fn upcasters() -> Vec<Box<dyn EventUpcaster>> {
    let registered: Vec<SemanticVersionEventUpcaster> = Vec::new();
    registered.into_iter().map(|upcaster| Box::new(upcaster) as Box<dyn EventUpcaster>).collect()
}

/// Brings an event of an older version to the current one.
pub(super) fn upcast(
    aggregate_type: &str,
    event_type: &str,
    event_version: &str,
    payload: &str,
) -> Result<SerializedEvent, DecodeError> {
    upcast_with(&upcasters(), aggregate_type, event_type, event_version, payload)
}

fn upcast_with(
    upcasters: &[Box<dyn EventUpcaster>],
    aggregate_type: &str,
    event_type: &str,
    event_version: &str,
    payload: &str,
) -> Result<SerializedEvent, DecodeError> {
    let payload = serde_json::from_str(payload)
        .map_err(|source| DecodeError::Shape { event_type: event_type.into(), source })?;
    let mut event = SerializedEvent {
        aggregate_id: String::new(),
        sequence: 0,
        aggregate_type: aggregate_type.into(),
        event_type: event_type.into(),
        event_version: event_version.into(),
        payload,
        metadata: serde_json::Value::Null,
    };
    for upcaster in upcasters {
        if upcaster.can_upcast(&event.event_type, &event.event_version) {
            event = upcaster.upcast(event);
        }
    }
    Ok(event)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

    use serde_json::json;

    use super::*;

    #[test]
    fn an_event_of_an_older_version_is_brought_to_the_current_one() {
        let rename: Box<dyn EventUpcaster> = Box::new(SemanticVersionEventUpcaster::new(
            "PurchaseRecorded",
            "1.1.0",
            Box::new(|mut payload| {
                payload["amount_minor"] = payload["cents"].take();
                payload
            }),
        ));
        let event =
            upcast_with(&[rename], "Purchase", "PurchaseRecorded", "1.0.0", r#"{"cents":5}"#)
                .unwrap();
        assert_eq!(event.event_version, "1.1.0");
        assert_eq!(event.payload["amount_minor"], json!(5));
    }
}
