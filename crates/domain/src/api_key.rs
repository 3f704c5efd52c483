//! An API key: what its holder may do, and whether it has been revoked. The key itself is known to its holder only;
//! its hash and its name are stored outside the log; see [`NewApiKey`](super::NewApiKey).

use cqrs_es::Aggregate;
use cqrs_es::event_sink::EventSink;
use serde::{Deserialize, Serialize};

use super::events::events;
use super::ids::{LONG, identifier};
use super::ledger::Posting;
use super::registry::{Posts, State};
use super::{ProgramId, Refusal, Timestamp, UserId};

identifier!(
    /// An API key. The id is a part of the key and no secret.
    ApiKeyId, LONG
);

/// The maximum number of programs, and of RPCs, that one key can be limited to.
pub const MAX_KEY_LIMITS: usize = 64;

/// What the holder of a key may do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum KeyRole {
    /// Everything.
    Admin,
    /// A back end that acts for its users.
    Service,
    /// A user, only for themselves.
    #[default]
    User,
}

impl KeyRole {
    /// The role in lower case, as in the log.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::Service => "service",
            Self::User => "user",
        }
    }

    /// The role of this name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        [Self::Admin, Self::Service, Self::User].into_iter().find(|role| role.as_str() == name)
    }
}

/// With what the first of the keys was created that were created with each other: whoever holds it answers for all of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum KeyMaker {
    /// With the key of the settings.
    Settings,
    /// With a key that nobody is known to have created, as one by the command line.
    Key {
        /// That key.
        key_id: ApiKeyId,
    },
}

/// A key was created.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ApiKeyCreated {
    /// What its holder may do.
    pub role: KeyRole,
    /// The user whom a key of the role `user` belongs to; absent for other roles.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub user_id: Option<UserId>,
    /// The RPCs, and sets of RPCs, that the key is limited to; absent if it is not.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub rpcs: Option<Vec<String>>,
    /// The programs that the key is limited to; absent if it is not.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub program_ids: Option<Vec<ProgramId>>,
    /// When it ceases to be valid, in microseconds since 1970; absent if never.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub expire_time_us: Option<Timestamp>,
    /// The person who created it or, if a key did, the person who had created that key; absent if nobody did, and for
    /// keys of the role `user`. The key ends when that person gets another role or is erased.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub creator_user_id: Option<UserId>,
    /// The key with which it was created or, if that one was created with a key, too, the first of them. Absent if a
    /// person is known to have created it, or the command line did, and for keys of the role `user`.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub maker: Option<KeyMaker>,
}

/// A key was revoked: it is no longer valid.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ApiKeyRevoked {}

events! {
    /// What can happen to a key.
    ApiKeyEvent {
        ApiKeyCreated = "1.0.0",
        ApiKeyRevoked = "1.0.0",
    }
}

/// The commands of a key.
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "the names are self-explanatory")]
pub enum ApiKeyCommand {
    Create { key_id: ApiKeyId, created: ApiKeyCreated },
    Revoke { key_id: ApiKeyId },
}

/// A key.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ApiKey {
    created: Option<ApiKeyCreated>,
    is_revoked: bool,
}

impl ApiKey {
    /// What the key was created as; `None` if there is no such key.
    #[must_use]
    pub fn created(&self) -> Option<&ApiKeyCreated> {
        self.created.as_ref()
    }
}

impl Aggregate for ApiKey {
    const TYPE: &'static str = "ApiKey";
    type Command = ApiKeyCommand;
    type Event = ApiKeyEvent;
    type Error = Refusal;
    type Services = ();

    async fn handle(
        &mut self,
        command: ApiKeyCommand,
        (): &(),
        sink: &EventSink<Self>,
    ) -> Result<(), Refusal> {
        let event: ApiKeyEvent = match command {
            ApiKeyCommand::Create { key_id, .. } if self.created.is_some() => {
                return Err(Refusal::ApiKeyIdTaken(key_id));
            }
            ApiKeyCommand::Create { created, .. } => created.into(),
            ApiKeyCommand::Revoke { key_id } if self.created.is_none() => {
                return Err(Refusal::ApiKeyNotFound(key_id));
            }
            ApiKeyCommand::Revoke { key_id } if self.is_revoked => {
                return Err(Refusal::ApiKeyAlreadyRevoked(key_id));
            }
            ApiKeyCommand::Revoke { .. } => ApiKeyRevoked {}.into(),
        };
        sink.write(event, self).await;
        Ok(())
    }

    fn apply(&mut self, event: ApiKeyEvent) {
        match event {
            ApiKeyEvent::ApiKeyCreated(created) => self.created = Some(created),
            ApiKeyEvent::ApiKeyRevoked(_) => self.is_revoked = true,
        }
    }
}

impl Posts for ApiKeyEvent {
    fn posting(&self) -> Option<&Posting> {
        match self {
            Self::ApiKeyCreated(_) | Self::ApiKeyRevoked(_) => None,
        }
    }
}

impl State for ApiKey {
    /// The user of a key is named in the event, not in the id.
    fn user_of(_: &str) -> Option<&str> {
        None
    }
}
