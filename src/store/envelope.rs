//! Who caused a command, and how it came in: metadata of the command's first event.

use std::borrow::Cow;
use std::fmt;

use serde::Serialize;
use uuid::Uuid;

use domain::{ApiKeyId, KeyRole, UserId};

/// Who caused a command. Never personal data: a user is named by their id.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Actor(Cow<'static, str>);

impl Actor {
    /// A caller without credentials.
    pub const ANONYMOUS: Self = Self(Cow::Borrowed("anonymous"));
    /// The server itself.
    pub const SYSTEM: Self = Self(Cow::Borrowed("system"));
    /// Whoever may run commands on the machine of the database, without a server between.
    pub const COMMAND_LINE: Self = Self(Cow::Borrowed("command_line"));
    /// The holder of the admin key of the settings, who causes most events.
    pub const ADMIN_KEY: Self = Self(Cow::Borrowed("key:admin"));

    /// A person who has logged in: `user:ada`.
    #[must_use]
    pub fn user(user_id: &UserId) -> Self {
        Self(format!("user:{user_id}").into())
    }

    /// The holder of a key: its role and, if it has one, its id, as in `key:service:k_7f3a`.
    #[must_use]
    pub fn key(role: &str, id: Option<&str>) -> Self {
        Self(match id {
            Some(id) => format!("key:{role}:{id}").into(),
            None => format!("key:{role}").into(),
        })
    }

    /// An actor, as somebody writes it to search the log; `None` if no actor is written like that.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let fixed = [Self::ANONYMOUS, Self::SYSTEM, Self::COMMAND_LINE, Self::ADMIN_KEY];
        if let Some(actor) = fixed.into_iter().find(|actor| actor.as_str() == text) {
            return Some(actor);
        }
        let is_key = |rest: &str| {
            rest.split_once(':').is_some_and(|(role, id)| {
                KeyRole::parse(role).is_some() && ApiKeyId::parse(id).is_ok()
            })
        };
        let is_actor = match text.split_once(':')? {
            ("user", id) => UserId::parse(id).is_ok(),
            ("key", rest) => is_key(rest),
            _ => false,
        };
        is_actor.then(|| Self(text.to_owned().into()))
    }

    /// An actor, as recorded in the log.
    pub(crate) fn recorded(text: String) -> Self {
        Self(text.into())
    }

    /// The actor as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Actor {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// The way in which a command came in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Door(Cow<'static, str>);

impl Door {
    /// `tributary dev`, which publishes the shipped programs.
    pub const DEV: Self = Self(Cow::Borrowed("dev"));
    /// A command line that changes the database without a server.
    pub const COMMAND_LINE: Self = Self(Cow::Borrowed("command_line"));
    /// An import of history.
    pub const IMPORT: Self = Self(Cow::Borrowed("import"));

    /// The pages that the links in mails lead to.
    pub const PAGE: Self = Self(Cow::Borrowed("page"));

    /// An RPC, by its name without the service: `RecordPurchase`.
    #[must_use]
    pub const fn rpc(name: &'static str) -> Self {
        Self(Cow::Borrowed(name))
    }

    /// A page of the console, by the RPC that it calls: `console:RecordPurchase`.
    #[must_use]
    pub fn console(rpc: &str) -> Self {
        Self(format!("console:{rpc}").into())
    }

    /// A webhook, by the provider that calls it: `webhook:stripe`.
    #[must_use]
    pub fn webhook(provider: &str) -> Self {
        Self(format!("webhook:{provider}").into())
    }

    /// A job, by its kind: `job:expiry`.
    #[must_use]
    pub fn job(kind: &str) -> Self {
        Self(format!("job:{kind}").into())
    }

    /// A door, as recorded in the log.
    pub(crate) fn recorded(text: String) -> Self {
        Self(text.into())
    }

    /// The door as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Who caused a command, how it came in, and the request that it answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Envelope {
    /// Who caused it.
    pub actor: Actor,
    /// How it came in.
    pub door: Door,
    /// The key of the request, if the caller gave it an id: that of its receipt.
    pub request: Option<Uuid>,
}

/// The metadata of an event. postgres-es reads it as a map from text to text.
#[derive(Serialize)]
struct Metadata<'a> {
    command_events: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    actor: Option<&'a Actor>,
    #[serde(skip_serializing_if = "Option::is_none")]
    door: Option<&'a Door>,
    #[serde(skip_serializing_if = "Option::is_none")]
    request: Option<String>,
}

/// The metadata of an event, as JSON: how many events its command has and the command's envelope on the
/// first of them, nothing on the others.
pub(super) fn metadata(command_events: Option<i64>, envelope: Option<&Envelope>) -> String {
    let Some(count) = command_events else { return "{}".into() };
    let metadata = Metadata {
        command_events: count.to_string(),
        actor: envelope.map(|envelope| &envelope.actor),
        door: envelope.map(|envelope| &envelope.door),
        request: envelope
            .and_then(|envelope| envelope.request)
            .map(|request| request.simple().to_string()),
    };
    // Serializing text cannot fail; if it did, the metadata would only lack the envelope.
    serde_json::to_string(&metadata)
        .unwrap_or_else(|_| format!(r#"{{"command_events":"{count}"}}"#))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_is_short_and_on_first_events_only() {
        let plain =
            Envelope { actor: Actor::ADMIN_KEY, door: Door::rpc("RecordPurchase"), request: None };
        assert_eq!(
            metadata(Some(3), Some(&plain)),
            r#"{"command_events":"3","actor":"key:admin","door":"RecordPurchase"}"#
        );
        assert_eq!(metadata(None, None), "{}");
        let asked = Envelope {
            actor: Actor::key("service", Some("k_1")),
            door: Door::webhook("stripe"),
            request: Some(Uuid::from_u128(10)),
        };
        assert_eq!(
            metadata(Some(1), Some(&asked)),
            concat!(
                r#"{"command_events":"1","actor":"key:service:k_1","door":"webhook:stripe","#,
                r#""request":"0000000000000000000000000000000a"}"#
            )
        );
    }
}
