//! The address of the server that the world knows: what links in mails begin with, the origin of its pages, and
//! whether cookies must be secure. A setting, never a header of a request, which its sender chooses.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use url::{Position, Url};

/// `https://rewards.example.com`, with or without a path below which a proxy serves.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct PublicUrl(Url);

impl PublicUrl {
    /// A link to a page of the server, such as `/confirm-email`, that carries a token.
    #[must_use]
    pub fn link(&self, page: &str, token: &str) -> String {
        let mut link = self.0.clone();
        link.set_path(&format!("{}{page}", self.0.path().trim_end_matches('/')));
        link.query_pairs_mut().append_pair("token", token);
        link.into()
    }

    /// The origin of the pages, as browsers send it: `https://rewards.example.com`.
    #[must_use]
    pub fn origin(&self) -> &str {
        &self.0[..Position::BeforePath]
    }

    /// Whether browsers reach the server over TLS, so that cookies must be secure.
    #[must_use]
    pub fn is_secure(&self) -> bool {
        self.0.scheme() == "https"
    }

    /// The path below which a proxy serves, without a slash at its end; empty at the top of a host.
    #[must_use]
    pub fn path(&self) -> &str {
        self.0.path().trim_end_matches('/')
    }

    /// The host, without the port.
    #[must_use]
    pub fn host(&self) -> &str {
        self.0.host_str().unwrap_or("localhost")
    }
}

impl FromStr for PublicUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = |what: &str| {
            format!(
                "'{text}' {what}; write the address that people reach the server at, as in https://rewards.example.com"
            )
        };
        let url = Url::parse(text).map_err(|_| wrong("is no URL"))?;
        if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
            return Err(wrong("is no address of a website"));
        }
        let bare = url.username().is_empty() && url.password().is_none();
        if !bare || url.query().is_some() || url.fragment().is_some() {
            return Err(wrong("has more than a host, a port and a path"));
        }
        Ok(Self(url))
    }
}

impl TryFrom<String> for PublicUrl {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<PublicUrl> for String {
    fn from(url: PublicUrl) -> Self {
        url.to_string()
    }
}

impl fmt::Display for PublicUrl {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.0.as_str().trim_end_matches('/'))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]
mod tests {
    use super::*;

    #[test]
    fn links_begin_with_the_public_url_and_carry_the_token() {
        for (text, link, origin) in [
            (
                "http://127.0.0.1:50051",
                "http://127.0.0.1:50051/a?token=x-_1",
                "http://127.0.0.1:50051",
            ),
            ("https://EXAMPLE.com/", "https://example.com/a?token=x-_1", "https://example.com"),
            (
                "https://example.com:443/b/",
                "https://example.com/b/a?token=x-_1",
                "https://example.com",
            ),
            ("http://[::1]:1", "http://[::1]:1/a?token=x-_1", "http://[::1]:1"),
        ] {
            let url: PublicUrl = text.parse().unwrap();
            assert_eq!(url.link("/a", "x-_1"), link);
            assert_eq!(url.origin(), origin);
            assert_eq!(url.is_secure(), text.starts_with("https"));
        }
        let url: PublicUrl = "http://h".parse().unwrap();
        assert_eq!(url.link("/a", "&b=c #"), "http://h/a?token=%26b%3Dc+%23");
    }

    #[test]
    fn what_is_no_address_of_a_website_is_refused() {
        for text in [
            "",
            "example.com",
            "//example.com",
            "ftp://example.com",
            "mailto:a@example.com",
            "https://user@example.com",
            "https://u:p@example.com",
            "https://example.com?a",
            "https://example.com/#b",
            "https://",
            "javascript:alert(1)",
        ] {
            assert!(text.parse::<PublicUrl>().is_err(), "{text}");
        }
    }
}
