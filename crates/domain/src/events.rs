//! Events: how they are declared, named, versioned and read back.

use cqrs_es::DomainEvent;

use super::registry::Stream;

/// Why a stored event could not be read.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// The log holds a type of event that this release does not know.
    #[error("unknown event type '{0}'")]
    UnknownType(String),
    /// The log holds a version of an event that this release cannot read; a newer one wrote it.
    #[error("version {event_version} of event type '{event_type}' is unknown to this release")]
    UnknownVersion {
        /// The type of the event.
        event_type: String,
        /// The version that is in the log.
        event_version: String,
    },
    /// The payload does not have the fields of its type.
    #[error("event of type '{event_type}' does not have the shape of its version: {source}")]
    Shape {
        /// The type of the event.
        event_type: String,
        /// What was wrong.
        source: serde_json::Error,
    },
}

/// How events of one aggregate are named, versioned and read back.
pub trait EventCodec: DomainEvent {
    /// The names of all types.
    const TYPES: &'static [&'static str];

    /// The current version of `event_type`, if there is such a type.
    fn current_version(event_type: &str) -> Option<&'static str>;
    /// Reads a payload of the current version.
    ///
    /// # Errors
    /// [`DecodeError`] if the type is unknown or the payload does not fit it.
    fn decode(event_type: &str, payload: &str) -> Result<Self, DecodeError>;
}

/// Declares the events of one aggregate: an enum of structs of the same names, each with the version
/// in which it is written.
macro_rules! events {
    ($(#[$doc:meta])* $name:ident { $($variant:ident = $version:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
        #[cfg_attr(test, derive(schemars::JsonSchema))]
        #[serde(tag = "type")]
        #[allow(missing_docs, reason = "each struct says what its event means")]
        pub enum $name {
            $($variant($variant)),+
        }

        impl cqrs_es::DomainEvent for $name {
            fn event_type(&self) -> String {
                match self {
                    $(Self::$variant(_) => stringify!($variant).into()),+
                }
            }

            fn event_version(&self) -> String {
                match self {
                    $(Self::$variant(_) => $version.into()),+
                }
            }
        }

        impl $crate::events::EventCodec for $name {
            const TYPES: &'static [&'static str] = &[$(stringify!($variant)),+];

            fn current_version(event_type: &str) -> Option<&'static str> {
                match event_type {
                    $(stringify!($variant) => Some($version),)+
                    _ => None,
                }
            }

            fn decode(
                event_type: &str,
                payload: &str,
            ) -> Result<Self, $crate::DecodeError> {
                match event_type {
                    $(stringify!($variant) => serde_json::from_str(payload)
                        .map(Self::$variant)
                        .map_err(|source| $crate::DecodeError::Shape {
                            event_type: event_type.into(),
                            source,
                        }),)+
                    _ => Err($crate::DecodeError::UnknownType(event_type.into())),
                }
            }
        }

        $(impl From<$variant> for $name {
            fn from(event: $variant) -> Self {
                Self::$variant(event)
            }
        })+
    };
}
pub(crate) use events;

/// Reads one stored event of any version.
///
/// # Errors
/// [`DecodeError`] if no version of this release can read it.
pub fn decode<A: Stream>(
    event_type: &str,
    event_version: &str,
    payload: &str,
) -> Result<A::Event, DecodeError> {
    if A::Event::current_version(event_type) == Some(event_version) {
        return A::Event::decode(event_type, payload);
    }
    let current = super::upcast::upcast(A::TYPE, event_type, event_version, payload)?;
    match A::Event::current_version(&current.event_type) {
        None => return Err(DecodeError::UnknownType(event_type.into())),
        Some(version) if version != current.event_version => {
            return Err(DecodeError::UnknownVersion {
                event_type: event_type.into(),
                event_version: event_version.into(),
            });
        }
        Some(_) => {}
    }
    A::Event::decode(&current.event_type, &current.payload.to_string())
}
