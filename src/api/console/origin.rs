//! Which site a request comes from. A request that may change something must come from a page of this server.

use http::{HeaderMap, Method, header};

use crate::public_url::PublicUrl;

/// Whether a request comes from one of our own pages, or cannot change anything. Browsers say which site they are on by
/// `Sec-Fetch-Site`; over plain HTTP beyond this machine they do not, and then `Origin` must be the public URL's.
pub(super) fn is_ours(
    method: &Method,
    headers: &HeaderMap,
    public_url: Option<&PublicUrl>,
) -> bool {
    if matches!(*method, Method::GET | Method::HEAD) {
        return true;
    }
    let value = |name| headers.get(name).map(|value: &http::HeaderValue| value.as_bytes());
    match (value(header::HeaderName::from_static("sec-fetch-site")), value(header::ORIGIN)) {
        (Some(site), _) => site == b"same-origin",
        (None, Some(origin)) => public_url.is_some_and(|url| origin == url.origin().as_bytes()),
        (None, None) => false,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]
mod tests {
    use super::*;

    fn ours(method: &Method, headers: &[(&'static str, &str)]) -> bool {
        let url = "http://rewards.example.com:8080/below".parse().unwrap();
        let headers = headers
            .iter()
            .map(|(name, value)| (header::HeaderName::from_static(name), value.parse().unwrap()));
        is_ours(method, &headers.collect(), Some(&url))
    }

    #[test]
    fn forms_come_from_our_own_pages_and_everything_else_may_only_look() {
        for (headers, expected) in [
            (&[("sec-fetch-site", "same-origin")][..], true),
            (&[("sec-fetch-site", "same-site")], false),
            (&[("sec-fetch-site", "cross-site")], false),
            (&[("sec-fetch-site", "none")], false),
            // What the browser says counts, whatever else is there.
            (
                &[("sec-fetch-site", "cross-site"), ("origin", "http://rewards.example.com:8080")],
                false,
            ),
            (&[("origin", "http://rewards.example.com:8080")], true),
            (&[("origin", "http://rewards.example.com")], false),
            (&[("origin", "https://rewards.example.com:8080")], false),
            (&[("origin", "null")], false),
            (&[], false),
        ] {
            assert_eq!(ours(&Method::POST, headers), expected, "{headers:?}");
            assert_eq!(ours(&Method::DELETE, headers), expected, "{headers:?}");
            assert!(ours(&Method::GET, headers) && ours(&Method::HEAD, headers));
        }
        assert!(!is_ours(&Method::POST, &HeaderMap::new(), None));
    }
}
