//! Where a call comes from: the address that limits count.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use http::HeaderMap;

use super::transport::Network;

/// The bits of an IPv6 address that belong to one customer at least. Whoever has a network of 64 bits can use any
/// address in it.
const NETWORK_BITS: u32 = 64;
/// The bits of the networks that one site commonly gets: a home, and a company or a rented server. Such a site has 256
/// or 65,536 networks of 64 bits.
const SITE_BITS: [u32; 2] = [56, 48];

/// The header in which each proxy on the way adds the address of its own peer.
const FORWARDED_FOR: &str = "x-forwarded-for";

/// The address that a call comes from. Passed among the extensions of the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientAddress(IpAddr);

impl ClientAddress {
    /// The address of the connection's other side. If that is a trusted proxy: the last address in
    /// `X-Forwarded-For` that is not one, because entries further left are whatever the client has written.
    pub(super) fn of(peer: IpAddr, headers: &HeaderMap, trusted_proxies: &[Network]) -> Self {
        let is_trusted = |address| trusted_proxies.iter().any(|network| network.contains(address));
        if !is_trusted(peer) {
            return Self(peer);
        }
        // Each line of the header continues the one before it.
        let lines = headers.get_all(FORWARDED_FOR).iter().rev();
        let entries = lines.flat_map(|line| line.to_str().unwrap_or("?").rsplit(','));
        let mut address = peer;
        // An entry that cannot be read is not passed by: what is left of it may be anything.
        for before in entries.map_while(entry) {
            address = before;
            if !is_trusted(address) {
                break;
            }
        }
        Self(address)
    }

    /// The address itself.
    #[must_use]
    pub fn ip(self) -> IpAddr {
        self.0
    }

    /// The address for which limits count: of IPv6, the network of 64 bits.
    #[must_use]
    pub fn counted(self) -> IpAddr {
        counted(self.0)
    }

    /// The wider networks around an IPv6 address that may be one customer's, too: of 56 and of 48 bits.
    #[must_use]
    pub fn sites(self) -> Option<[IpAddr; 2]> {
        match self.0 {
            IpAddr::V4(_) => None,
            IpAddr::V6(address) => Some(SITE_BITS.map(|bits| network_of(address, bits))),
        }
    }

    /// What one customer has at most: of IPv6 the network of 48 bits, of IPv4 the address.
    #[must_use]
    pub fn widest(self) -> IpAddr {
        self.sites().map_or(self.0, |[_, widest]| widest)
    }

    /// Whether the call comes from this machine.
    #[must_use]
    pub fn is_loopback(self) -> bool {
        self.0.is_loopback()
    }
}

/// The address for which limits count `address`.
pub(super) fn counted(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(address) => network_of(address, NETWORK_BITS),
    }
}

/// The network of so many bits that an address is in.
fn network_of(address: Ipv6Addr, bits: u32) -> IpAddr {
    let mask = u128::MAX.checked_shl(128 - bits).unwrap_or_default();
    IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & mask))
}

/// The address of an entry in `X-Forwarded-For`, which some proxies write with a port.
fn entry(text: &str) -> Option<IpAddr> {
    let text = text.trim();
    let in_brackets = || text.strip_prefix('[')?.strip_suffix(']')?.parse().ok();
    let with_port = || text.parse::<SocketAddr>().ok().map(|address| address.ip());
    let address: IpAddr = text.parse().ok().or_else(with_port).or_else(in_brackets)?;
    Some(address.to_canonical())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

    use super::*;

    fn address_of(peer: &str, lines: &[&str], trusted: &[&str]) -> String {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(FORWARDED_FOR, line.parse().unwrap());
        }
        let trusted: Vec<Network> =
            trusted.iter().map(|network| network.parse().unwrap()).collect();
        ClientAddress::of(peer.parse().unwrap(), &headers, &trusted).0.to_string()
    }

    #[test]
    fn a_peer_that_is_no_trusted_proxy_is_the_client_whatever_it_forwards() {
        assert_eq!(address_of("192.0.2.1", &["203.0.113.9"], &[]), "192.0.2.1");
        assert_eq!(address_of("192.0.2.1", &["203.0.113.9"], &["10.0.0.0/8"]), "192.0.2.1");
        assert_eq!(address_of("10.0.0.1", &[], &["10.0.0.0/8"]), "10.0.0.1");
    }

    #[test]
    fn behind_trusted_proxies_the_last_address_that_is_not_trusted_is_the_client() {
        let trusted = &["10.0.0.0/8", "fd00::/8"];
        let of = |lines: &[&str]| address_of("10.0.0.1", lines, trusted);
        assert_eq!(of(&["203.0.113.9"]), "203.0.113.9");
        // What the client itself has written is further left.
        assert_eq!(of(&["198.51.100.1, 203.0.113.9"]), "203.0.113.9");
        assert_eq!(of(&["198.51.100.1,203.0.113.9, 10.9.9.9"]), "203.0.113.9");
        assert_eq!(of(&["198.51.100.1", "203.0.113.9,fd00::1"]), "203.0.113.9");
        assert_eq!(of(&["10.0.0.3, 10.0.0.2"]), "10.0.0.3");
    }

    #[test]
    fn entries_may_have_ports_and_an_unreadable_one_ends_the_way_back() {
        let of = |line: &str| address_of("10.0.0.1", &[line], &["10.0.0.0/8"]);
        assert_eq!(of("203.0.113.9:4711"), "203.0.113.9");
        assert_eq!(of("[2001:db8::1]:4711"), "2001:db8::1");
        assert_eq!(of("[2001:db8::1]"), "2001:db8::1");
        assert_eq!(of("2001:db8::1"), "2001:db8::1");
        assert_eq!(of("::ffff:203.0.113.9"), "203.0.113.9");
        assert_eq!(of("203.0.113.9, unknown"), "10.0.0.1");
        assert_eq!(of("203.0.113.9, unknown, 10.0.0.2"), "10.0.0.2");
        assert_eq!(of(""), "10.0.0.1");
    }

    #[test]
    fn addresses_of_one_ipv6_network_count_as_one() {
        let counted = |text: &str| counted(text.parse().unwrap()).to_string();
        assert_eq!(counted("2001:db8:1:2:ffff::b"), "2001:db8:1:2::");
        assert_eq!(counted("192.0.2.1"), "192.0.2.1");
        let sites = |text: &str| ClientAddress(text.parse().unwrap()).sites();
        let of = |text: &str| text.parse::<IpAddr>().unwrap();
        let expected = [of("2001:db8:1:ab00::"), of("2001:db8:1::")];
        assert_eq!(sites("2001:db8:1:abcd:ffff::b"), Some(expected));
        assert_eq!(sites("192.0.2.1"), None);
        assert_eq!(ClientAddress(of("192.0.2.1")).widest(), of("192.0.2.1"));
    }
}
