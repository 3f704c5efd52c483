//! Cookies: that of the session, which no script can read, and two preferences, which are no secrets.

use http::{HeaderMap, HeaderValue, header};

use super::Console;
use crate::public_url::PublicUrl;

/// The chosen theme.
pub(super) const THEME: &str = "theme";
/// The time zone of the browser, which the script tells.
pub(super) const ZONE: &str = "zone";
/// For how long a preference is kept, in seconds: a year.
const PREFERENCE_SECONDS: u32 = 365 * 24 * 60 * 60;

/// The value of a cookie.
pub(super) fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let lines = headers.get_all(header::COOKIE).iter().filter_map(|line| line.to_str().ok());
    let mut pairs =
        lines.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.find(|(given, _)| *given == name).map(|(_, value)| value)
}

impl Console {
    /// Whether browsers reach this server over TLS. Never taken from a header, whose sender would choose it.
    fn is_secure(&self) -> bool {
        let settings = &self.context().settings;
        settings.public_url.as_ref().map_or(settings.tls.is_some(), PublicUrl::is_secure)
    }

    /// The name of the session's cookie. With the prefix, browsers take it from this host alone, and over TLS.
    pub(super) fn session_cookie(&self) -> &'static str {
        if self.is_secure() { "__Host-session" } else { "session" }
    }

    /// The header that sets the session's cookie; an empty value removes it.
    pub(super) fn set_session(&self, value: &str) -> Option<HeaderValue> {
        let name = self.session_cookie();
        let secure = if self.is_secure() { "; Secure" } else { "" };
        let age =
            if value.is_empty() { 0 } else { self.context().access.settings().session.as_secs() };
        let text = format!("{name}={value}; Path=/; Max-Age={age}; HttpOnly; SameSite=Lax{secure}");
        HeaderValue::from_str(&text).ok()
    }

    /// The header that keeps a preference.
    pub(super) fn set_preference(&self, name: &str, value: &str) -> Option<HeaderValue> {
        let secure = if self.is_secure() { "; Secure" } else { "" };
        let age = if value.is_empty() { 0 } else { PREFERENCE_SECONDS };
        let text = format!("{name}={value}; Path=/; Max-Age={age}; SameSite=Lax{secure}");
        HeaderValue::from_str(&text).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cookie_is_found_among_others_by_its_whole_name() {
        let mut headers = HeaderMap::new();
        headers.append(header::COOKIE, HeaderValue::from_static("xsession=1; theme=dark"));
        headers.append(header::COOKIE, HeaderValue::from_static("session=a=b"));
        assert_eq!(cookie(&headers, "session"), Some("a=b"));
        assert_eq!(cookie(&headers, "theme"), Some("dark"));
        assert_eq!(cookie(&headers, "them"), None);
    }
}
