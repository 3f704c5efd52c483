//! The commands that `dev` prints: pasted into a shell they end with a commission on a live stream.

use std::net::SocketAddr;

/// The walk-through for a server at `address`.
pub(super) fn text(address: SocketAddr, admin_key: &str) -> String {
    include_str!("walkthrough.sh")
        .replace("@ADDRESS@", &address.to_string())
        .replace("@KEY@", admin_key)
}
