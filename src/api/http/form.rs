//! The form in which a client wants the answer.

use axum::response::{IntoResponse, Response};
use http::{HeaderMap, StatusCode, header};

/// The supported forms. A client that names none gets text, unless it sent JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::api) enum Form {
    Json,
    Html,
    Text,
}

impl Form {
    /// The form that a client prefers: of those that it accepts, the one with the highest quality, and among
    /// equals the first.
    pub(in crate::api) fn asked_for(headers: &HeaderMap) -> Self {
        let mut best: Option<(f32, Self)> = None;
        for value in headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok())
        {
            for (form, quality) in value.split(',').filter_map(accepted) {
                if best.is_none_or(|(of_best, _)| quality > of_best) {
                    best = Some((quality, form.unwrap_or(Self::of_sent(headers))));
                }
            }
        }
        best.map_or(Self::of_sent(headers), |(_, form)| form)
    }

    fn of_sent(headers: &HeaderMap) -> Self {
        let sent = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let sent = sent.and_then(|value| value.split(';').next()).unwrap_or_default().trim();
        if sent.eq_ignore_ascii_case("application/json") { Self::Json } else { Self::Text }
    }

    fn content_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Html => "text/html; charset=utf-8",
            Self::Text => "text/plain; charset=utf-8",
        }
    }

    /// An answer in this form.
    pub(in crate::api) fn answer(self, status: StatusCode, body: String) -> Response {
        let headers = [(header::CONTENT_TYPE, self.content_type()), (header::VARY, "accept")];
        (status, headers, body).into_response()
    }
}

/// One range of an `Accept` header with its quality. The form is `None` if the range accepts any. Returns
/// `None` if the form is not supported, or not wanted at all.
fn accepted(range: &str) -> Option<(Option<Form>, f32)> {
    let mut parts = range.split(';').map(str::trim);
    let form = match parts.next()?.to_ascii_lowercase().as_str() {
        "application/json" | "application/problem+json" | "application/*" => Some(Form::Json),
        "text/html" | "application/xhtml+xml" => Some(Form::Html),
        "text/plain" | "text/*" => Some(Form::Text),
        "*/*" => None,
        _ => return None,
    };
    let quality = parts.find_map(|part| part.strip_prefix("q=")?.parse().ok()).unwrap_or(1.0);
    (quality > 0.0).then_some((form, quality))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

    use super::*;

    fn asked(accept: Option<&str>, sent: Option<&str>) -> Form {
        let mut headers = HeaderMap::new();
        if let Some(accept) = accept {
            headers.insert(header::ACCEPT, accept.parse().unwrap());
        }
        if let Some(sent) = sent {
            headers.insert(header::CONTENT_TYPE, sent.parse().unwrap());
        }
        Form::asked_for(&headers)
    }

    #[test]
    fn browsers_get_html_programs_json_and_curl_text() {
        let firefox = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";
        assert_eq!(asked(Some(firefox), None), Form::Html);
        assert_eq!(asked(Some("application/json"), None), Form::Json);
        assert_eq!(asked(Some("application/problem+json, text/plain;q=0.5"), None), Form::Json);
        assert_eq!(asked(Some("*/*"), None), Form::Text);
        assert_eq!(asked(None, None), Form::Text);
        assert_eq!(asked(Some("image/png"), None), Form::Text);
    }

    #[test]
    fn the_highest_quality_wins_and_zero_means_no() {
        assert_eq!(asked(Some("application/json;q=0.3, text/html; q=0.7"), None), Form::Html);
        assert_eq!(asked(Some("text/html;q=0, application/json;q=0.1"), None), Form::Json);
        assert_eq!(asked(Some("text/plain, text/html"), None), Form::Text);
    }

    #[test]
    fn who_sends_json_and_takes_anything_gets_json() {
        assert_eq!(asked(None, Some("application/json; charset=utf-8")), Form::Json);
        assert_eq!(asked(Some("*/*"), Some("application/json")), Form::Json);
        assert_eq!(asked(Some("text/html"), Some("application/json")), Form::Html);
        assert_eq!(asked(None, Some("text/csv")), Form::Text);
    }
}
