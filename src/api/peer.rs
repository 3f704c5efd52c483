//! Where a call comes from.

use std::net::IpAddr;

/// The address that a call comes from. Passed among the extensions of the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientAddress(IpAddr);

impl ClientAddress {
    /// The address for which limits count.
    #[must_use]
    pub fn counted(self) -> IpAddr {
        self.0
    }
}
