//! Signing in and out: the cookie that stands for a session.

use axum::response::Response;
use http::header;
use tonic::Status;
use url::form_urlencoded;

use super::answers::Refused;
use super::visit::Visit;
use crate::api::errors::ApiError;
use crate::api::pb;

/// The longest query that is kept while somebody signs in, in bytes.
const MAX_ASKED_BYTES: usize = 2 * 1024;

impl Visit {
    /// Signs somebody in, and leads to `path`.
    pub(super) async fn sign_in(
        &self,
        request: pb::LoginRequest,
        path: &str,
        done: &str,
    ) -> Result<Response, Status> {
        let session = self.call(request).await?;
        let access = &self.console().context().access;
        let cookie = access.cookie_for(&session.refresh_token).await;
        let cookie = cookie.map_err(|error| Status::from(ApiError::from(error)))?;
        let mut response = self.see_other(path, done, "");
        if let Some(value) = self.console().set_session(&cookie) {
            response.headers_mut().append(header::SET_COOKIE, value);
        }
        Ok(response)
    }

    /// Removes the cookie from the browser.
    pub(super) fn forget(&self, mut response: Response) -> Response {
        if let Some(value) = self.console().set_session("") {
            response.headers_mut().append(header::SET_COOKIE, value);
        }
        response
    }

    /// Leads to the form for signing in, and from there back to this page.
    pub(super) fn to_sign_in(&self) -> Response {
        let mut query = form_urlencoded::Serializer::new(String::new());
        let here = self.here();
        if here != "/" && is_local(&here) {
            query.append_pair("next", &here);
        }
        let query = query.finish();
        let separator = if query.is_empty() { "" } else { "?" };
        self.see_other(&format!("/sign-in{separator}{query}"), "", "")
    }
}

/// A path with what was asked for in its query, in letters that [`is_local`] takes.
pub(super) fn with_asked(path: &str, asked: impl Iterator<Item = (String, String)>) -> String {
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.extend_pairs(asked);
    // Blanks as elsewhere in addresses; the other two letters are the only ones besides that are left as they are.
    let query = query.finish().replace('+', "%20").replace('*', "%2A");
    if query.is_empty() || query.len() > MAX_ASKED_BYTES {
        path.into()
    } else {
        format!("{path}?{query}")
    }
}

/// Where to go on after signing in, if it is a page of this server.
pub(super) fn next(wanted: &str) -> Result<&str, Refused> {
    if wanted.is_empty() {
        Ok("/")
    } else if is_local(wanted) {
        Ok(wanted)
    } else {
        Err(Refused::NotFound)
    }
}

/// Whether a path leads to a page of this server, and to nothing else, however browsers read it.
pub(super) fn is_local(path: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/-._~?=&%".contains(&byte);
    path.starts_with('/') && !path.starts_with("//") && path.bytes().all(is_plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_asked_for_is_kept_in_letters_that_lead_nowhere_else() {
        let asked = |pairs: &[(&str, &str)]| {
            let pairs: Vec<_> =
                pairs.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
            with_asked("/o/users", pairs.into_iter())
        };
        assert_eq!(asked(&[]), "/o/users");
        let path = asked(&[("q", "a b+c*\"@//x:é"), ("staff", "1")]);
        assert_eq!(path, "/o/users?q=a%20b%2Bc%2A%22%40%2F%2Fx%3A%C3%A9&staff=1");
        assert!(is_local(&path), "{path}");
        assert_eq!(asked(&[("q", &"x".repeat(MAX_ASKED_BYTES))]), "/o/users");
    }

    #[test]
    fn only_pages_of_this_server_are_gone_on_to() {
        for path in ["/", "/p/x/store", "/o/users?q=a%20b&at=1"] {
            assert!(is_local(path), "{path}");
        }
        for path in [
            "",
            "//evil.example",
            "/\\evil.example",
            "https://evil.example",
            "p",
            "/a\r\nb",
            "/a b",
            "/\t/b",
        ] {
            assert!(!is_local(path), "{path}");
        }
    }
}
