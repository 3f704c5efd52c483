//! What commands have in common: their request id, their canonical form, and how they are carried out.

use std::sync::Arc;

use hmac::{Hmac, Mac};
use prost::Message;
use sha2::Sha256;
use uuid::Uuid;

use super::Context;
use super::enums::EnumFields;
use super::errors::ApiError;
use super::fields::Fields;
use super::guard::Call;
use super::pb::ErrorReason;
use super::tokens::consistency_token;
use crate::engine::{RequestKey, Submission};
use crate::store::RecordedEvent;
use domain::Stream;
use domain::decide::Command;

/// A request that may be sent again. Implemented for every request with a `request_id`, by
/// `build/services.rs`.
pub(super) trait Repeatable: Message + EnumFields + Sized {
    /// The caller's id for the request; empty if it has none.
    fn request_id(&self) -> &str;

    /// The request without its id and without secrets, which is the same for a repetition. Its encoding is
    /// deterministic, as the contract has no maps.
    fn canonical(&self) -> Self;
}

/// The result of a command.
pub(super) struct Written {
    /// Its events. A repetition has the events of the first time.
    pub(super) events: Arc<[RecordedEvent]>,
    /// The position that a reader must have reached to see the command's effect.
    pub(super) position: i64,
    /// The same position as a token for the client.
    pub(super) consistency_token: String,
}

/// What the first event of a kind of stream says of which `read` makes something; `None` if there is none.
///
/// # Errors
/// If an event cannot be read.
pub(super) fn first_of<A: Stream, T>(
    events: &[RecordedEvent],
    read: impl Fn(&RecordedEvent, A::Event) -> Option<T>,
) -> Result<Option<T>, ApiError> {
    for event in events {
        let fact = event.read_if_known()?.and_then(A::event);
        if let Some(found) = fact.and_then(|fact| read(event, fact)) {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

/// Starts reading the fields of a command with its request id.
pub(super) fn command_fields(message: &impl Repeatable) -> Fields {
    let mut fields = Fields::of(message);
    fields.request_id(message.request_id());
    fields
}

/// Carries out the command of a call.
///
/// # Errors
/// The status with the reason why the command was not carried out.
pub(super) async fn carry_out<M: Repeatable>(
    context: &Context,
    call: &Call<M>,
    command: Command,
) -> Result<Written, ApiError> {
    carry_out_within(context, call, &call.principal.scope(), command).await
}

/// As [`carry_out`], with a scope that separates the request ids of one caller from those of another.
///
/// # Errors
/// As [`carry_out`].
pub(super) async fn carry_out_within<M: Repeatable>(
    context: &Context,
    call: &Call<M>,
    scope: &str,
    command: Command,
) -> Result<Written, ApiError> {
    let submission = Submission::new(command, call.principal.actor(), call.door());
    let request_id = call.message.request_id();
    let submission = match request_key(context, call, scope) {
        Some(key) => submission.answering(key),
        None => submission,
    };
    let committed = context.engine.execute(submission).await.map_err(|failure| {
        ApiError::from(failure).with_fact(ErrorReason::RequestIdReused, "request_id", request_id)
    })?;
    Ok(Written {
        events: committed.events,
        position: committed.position,
        consistency_token: consistency_token(context, committed.position),
    })
}

/// The key of a call and the fingerprint of its request; none if it has no request id.
pub(super) fn request_key<M: Repeatable>(
    context: &Context,
    call: &Call<M>,
    scope: &str,
) -> Option<RequestKey> {
    let request_id = call.message.request_id();
    if request_id.is_empty() {
        return None;
    }
    let key = keyed_hash(context, &[scope, call.rpc(), request_id], &[]);
    let canonical = call.message.canonical().encode_to_vec();
    let fingerprint = keyed_hash(context, &[call.rpc()], &canonical);
    let mut id = [0; 16];
    id.copy_from_slice(&key[..16]);
    Some(RequestKey { key: Uuid::from_bytes(id), fingerprint: fingerprint[..16].to_vec() })
}

/// The key of what the server does once for a thing with this id, however often it is asked for.
pub(super) fn key_of(context: &Context, what: &str, id: &str) -> RequestKey {
    let hash = keyed_hash(context, &[what, id], &[]);
    let (mut key, fingerprint) = ([0; 16], hash[16..].to_vec());
    key.copy_from_slice(&hash[..16]);
    RequestKey { key: Uuid::from_bytes(key), fingerprint }
}

fn keyed_hash(context: &Context, names: &[&str], message: &[u8]) -> [u8; 32] {
    // HMAC takes keys of any length, so this cannot fail; an unkeyed hash would still tell requests
    // apart.
    let Ok(mut hash) = Hmac::<Sha256>::new_from_slice(&context.fingerprint_secret) else {
        return [0; 32];
    };
    for name in names {
        hash.update(name.as_bytes());
        hash.update(&[0]);
    }
    hash.update(message);
    hash.finalize().into_bytes().into()
}
