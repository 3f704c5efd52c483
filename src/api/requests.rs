//! Requests that may come twice.

use hmac::{Hmac, Mac};
use prost::Message;
use sha2::Sha256;
use uuid::Uuid;

use super::Context;
use super::audience::Caller;
use crate::engine::RequestKey;

/// The key and fingerprint of a request that has an id. `canonical` is the request without its id and
/// without secrets; its encoding is canonical, as the contract has no maps.
pub fn request_key(
    context: &Context,
    caller: Caller,
    rpc: &str,
    request_id: &str,
    canonical: &impl Message,
) -> Option<RequestKey> {
    if request_id.is_empty() {
        return None;
    }
    let key = keyed_hash(context, &[caller.scope(), rpc, request_id], &[]);
    let fingerprint = keyed_hash(context, &[rpc], &canonical.encode_to_vec());
    let mut id = [0; 16];
    id.copy_from_slice(&key[..16]);
    Some(RequestKey { key: Uuid::from_bytes(id), fingerprint: fingerprint[..16].to_vec() })
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
