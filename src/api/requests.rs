//! Requests that may come twice.

use hmac::{Hmac, Mac};
use prost::Message;
use sha2::Sha256;
use uuid::Uuid;

use super::Context;
use super::errors::ApiError;
use super::pb::ErrorReason;
use crate::engine::{Committed, RequestKey};
use domain::decide::Command;

/// Carries out the command of a request. `scope` separates the request ids of one caller from those
/// of another. `canonical` is the request without its id and without secrets; its encoding is always
/// the same, as the contract has no maps.
///
/// # Errors
/// The status that says why it was not carried out.
pub async fn carry_out(
    context: &Context,
    scope: &str,
    rpc: &str,
    request_id: &str,
    canonical: &impl Message,
    command: Command,
) -> Result<Committed, ApiError> {
    let request = (!request_id.is_empty()).then(|| {
        let key = keyed_hash(context, &[scope, rpc, request_id], &[]);
        let fingerprint = keyed_hash(context, &[rpc], &canonical.encode_to_vec());
        let mut id = [0; 16];
        id.copy_from_slice(&key[..16]);
        RequestKey { key: Uuid::from_bytes(id), fingerprint: fingerprint[..16].to_vec() }
    });
    let carried_out = context.engine.execute(command, request).await.map_err(ApiError::from);
    carried_out
        .map_err(|error| error.with_fact(ErrorReason::RequestIdReused, "request_id", request_id))
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
