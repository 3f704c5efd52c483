//! Addresses to listen on.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use tokio::net::{TcpListener, lookup_host};

/// `HOST:PORT` with a name or an IP address; without a host, all addresses of this machine.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub(super) struct ListenAddress {
    /// An IPv6 address is without brackets.
    host: String,
    port: u16,
}

impl ListenAddress {
    /// The addresses to try, the first that works is used.
    async fn candidates(&self) -> std::io::Result<Vec<SocketAddr>> {
        if self.host.is_empty() {
            // On most systems a listener on all IPv6 addresses takes IPv4 as well. A machine without IPv6
            // refuses it.
            let (v6, v4) = (Ipv6Addr::UNSPECIFIED, Ipv4Addr::UNSPECIFIED);
            return Ok(vec![(v6, self.port).into(), (v4, self.port).into()]);
        }
        let mut found: Vec<SocketAddr> = lookup_host((&*self.host, self.port)).await?.collect();
        // Clients that are given 127.0.0.1 must reach a server that listens on localhost.
        found.sort_by_key(SocketAddr::is_ipv6);
        Ok(found)
    }

    /// Listens on the address.
    pub(super) async fn listen(&self) -> std::io::Result<TcpListener> {
        let candidates = self.candidates().await?;
        if candidates.is_empty() {
            return Err(std::io::Error::other("the name has no address"));
        }
        TcpListener::bind(&*candidates).await
    }
}

impl FromStr for ListenAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = |what: &str| {
            format!(
                "'{text}' {what}; write HOST:PORT, as in 127.0.0.1:50051, localhost:50051 or [::1]:50051, or \
                 :50051 for all addresses of this machine"
            )
        };
        let (host, port) = text.rsplit_once(':').ok_or_else(|| wrong("has no port"))?;
        let port = port.parse().map_err(|_| wrong("has no port from 0 to 65535"))?;
        let in_brackets = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let is_host = match in_brackets {
            Some(host) => host.parse::<Ipv6Addr>().is_ok(),
            None => host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte)),
        };
        if !is_host {
            return Err(wrong("has no host name or IP address before the port"));
        }
        Ok(Self { host: in_brackets.unwrap_or(host).to_owned(), port })
    }
}

impl TryFrom<String> for ListenAddress {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<ListenAddress> for String {
    fn from(address: ListenAddress) -> Self {
        address.to_string()
    }
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port } = self;
        if host.contains(':') {
            write!(formatter, "[{host}]:{port}")
        } else {
            write!(formatter, "{host}:{port}")
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]
mod tests {
    use super::*;

    #[test]
    fn an_address_may_have_a_name_or_no_host() {
        for text in
            ["127.0.0.1:50051", "localhost:0", ":50051", "[::1]:1", "[::]:65535", "a-b.c_d:7"]
        {
            assert_eq!(text.parse::<ListenAddress>().unwrap().to_string(), text);
        }
        for text in [
            "",
            "localhost",
            "localhost:",
            "localhost:99999",
            "::1:50051",
            "[::1]",
            "http://x:1",
            "a b:1",
        ] {
            let refused = text.parse::<ListenAddress>().unwrap_err();
            assert!(refused.contains("write HOST:PORT"), "{refused}");
        }
    }

    #[tokio::test]
    async fn localhost_is_reached_by_ipv4_and_no_host_means_all_addresses() {
        let listener = "localhost:0".parse::<ListenAddress>().unwrap().listen().await.unwrap();
        assert_eq!(listener.local_addr().unwrap().ip(), Ipv4Addr::LOCALHOST);
        let listener = ":0".parse::<ListenAddress>().unwrap().listen().await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::net::TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.unwrap();
    }
}
