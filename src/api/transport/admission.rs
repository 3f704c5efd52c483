//! Who may connect: so many connections in all, and so many from one address.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{COMPLAINT_INTERVAL, Limits, Network};
use crate::api::peer::counted;
use crate::metrics::{LimitOf, Metrics};
use crate::occasionally::Occasionally;

/// Which limit a refused connection would exceed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// Connections in all.
    All,
    /// Connections of one address.
    Address,
    /// Open files of the process.
    Files,
}

/// Admits connections, and refuses those above a limit.
pub(super) struct Admission {
    connections: usize,
    connections_per_address: usize,
    trusted_proxies: Vec<Network>,
    open: Arc<Mutex<Open>>,
    metrics: Metrics,
    complaints: [Occasionally; 2],
}

/// The connections that are open.
#[derive(Debug, Default)]
struct Open {
    all: usize,
    /// Those of addresses that are not trusted.
    of_address: HashMap<IpAddr, usize>,
}

/// An admitted connection. Dropping it ends the count of it.
pub(super) struct Permit {
    open: Arc<Mutex<Open>>,
    /// The address that it counts for.
    address: Option<IpAddr>,
    metrics: Metrics,
}

impl Admission {
    pub(super) fn new(limits: &Limits, metrics: Metrics) -> Self {
        Self {
            connections: limits.connections,
            connections_per_address: limits.connections_per_address,
            trusted_proxies: limits.trusted_proxies.clone(),
            open: Arc::default(),
            metrics,
            complaints: [(); 2].map(|()| Occasionally::every(COMPLAINT_INTERVAL)),
        }
    }

    /// A permit for a connection from an address; none if a limit is reached.
    pub(super) fn admit(&mut self, address: IpAddr) -> Option<Permit> {
        match self.try_admit(address) {
            Ok(permit) => Some(permit),
            Err(refused) => {
                self.count(refused);
                self.complain(refused, address);
                None
            }
        }
    }

    fn try_admit(&self, address: IpAddr) -> Result<Permit, Refused> {
        let is_trusted = self.trusted_proxies.iter().any(|network| network.contains(address));
        let address = (!is_trusted).then(|| counted(address));
        let mut open = lock(&self.open);
        if open.all >= self.connections {
            return Err(Refused::All);
        }
        if let Some(address) = address {
            let of_address = open.of_address.entry(address).or_default();
            // At least one is always allowed, so no entry without a permit stays behind.
            if *of_address >= self.connections_per_address.max(1) {
                return Err(Refused::Address);
            }
            *of_address += 1;
        }
        open.all += 1;
        self.metrics.connections.open.inc();
        Ok(Permit { open: self.open.clone(), address, metrics: self.metrics.clone() })
    }

    /// Counts a refused connection.
    pub(super) fn count(&self, refused: Refused) {
        let limit = match refused {
            Refused::All => "all",
            Refused::Address => "address",
            Refused::Files => "files",
        };
        self.metrics.connections.refused.get_or_create(&LimitOf { limit }).inc();
    }

    fn complain(&mut self, refused: Refused, address: IpAddr) {
        let [of_all, of_address] = &mut self.complaints;
        if refused == Refused::Address {
            let limit = self.connections_per_address;
            if let Some(others) = of_address.now() {
                tracing::warn!(
                    %address, limit, others,
                    "a connection was refused: its address has as many as it may; if it is a proxy, name \
                     it in trusted_proxies"
                );
            }
        } else if let Some(others) = of_all.now() {
            let limit = self.connections;
            tracing::warn!(%address, limit, others, "a connection was refused: as many are open as may be");
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.metrics.connections.open.dec();
        let mut open = lock(&self.open);
        open.all -= 1;
        if let Some(address) = self.address
            && let Some(of_address) = open.of_address.get_mut(&address)
        {
            *of_address -= 1;
            if *of_address == 0 {
                open.of_address.remove(&address);
            }
        }
    }
}

/// The counts hold whatever happened to a thread that changed them.
fn lock(open: &Mutex<Open>) -> MutexGuard<'_, Open> {
    open.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

    use super::*;

    fn admission(connections: usize, per_address: usize, trusted: &[&str]) -> Admission {
        let limits = Limits {
            connections,
            connections_per_address: per_address,
            trusted_proxies: trusted.iter().map(|network| network.parse().unwrap()).collect(),
            ..Limits::default()
        };
        Admission::new(&limits, Metrics::default())
    }

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn an_address_has_its_limit_and_another_one_has_its_own() {
        let admission = admission(100, 2, &[]);
        let (one, other) = (address("192.0.2.1"), address("192.0.2.2"));
        let held = [admission.try_admit(one).unwrap(), admission.try_admit(one).unwrap()];
        assert_eq!(admission.try_admit(one).err(), Some(Refused::Address));
        let others = admission.try_admit(other).unwrap();
        drop(held);
        assert!(admission.try_admit(one).is_ok());
        drop(others);
        assert!(lock(&admission.open).of_address.is_empty());
        assert_eq!(lock(&admission.open).all, 0);
    }

    #[test]
    fn addresses_of_one_ipv6_network_count_as_one() {
        let admission = admission(100, 1, &[]);
        let _held = admission.try_admit(address("2001:db8:1:2::a")).unwrap();
        let refused = admission.try_admit(address("2001:db8:1:2:ffff::b"));
        assert_eq!(refused.err(), Some(Refused::Address));
        assert!(admission.try_admit(address("2001:db8:1:3::a")).is_ok());
    }

    #[test]
    fn a_trusted_proxy_has_only_the_limit_of_all() {
        let admission = admission(3, 1, &["10.0.0.0/8", "192.0.2.7"]);
        let proxy = address("10.1.2.3");
        let _held = [(); 2].map(|()| admission.try_admit(proxy).unwrap());
        let _single = admission.try_admit(address("192.0.2.7")).unwrap();
        assert_eq!(admission.try_admit(proxy).err(), Some(Refused::All));
        assert_eq!(admission.try_admit(address("192.0.2.8")).err(), Some(Refused::All));
    }

    #[test]
    fn a_network_is_written_with_or_without_its_length() {
        assert_eq!("192.0.2.7".parse::<Network>().unwrap().to_string(), "192.0.2.7/32");
        assert_eq!(" fd00::/8 ".parse::<Network>().unwrap().to_string(), "fd00::/8");
        assert!("proxy.example".parse::<Network>().unwrap_err().contains("10.0.0.0/8"));
    }
}
