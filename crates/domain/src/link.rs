//! Links that carry referral codes: made from a program's base URL, and read when somebody pastes one.

use url::{Host, Url, form_urlencoded};

/// The parameter of a link that holds the code.
const PARAMETER: &str = "ref";

/// The longest base URL, in bytes, as given and in its escaped form.
pub const MAX_URL_BYTES: usize = 512;

/// The link that carries a code: `base_url` with `ref=CODE` at the end of its query, escaped as URLs are. Empty if
/// `base_url` is empty.
#[must_use]
pub fn link(base_url: &str, code: &str) -> String {
    let Ok(mut url) = Url::parse(base_url) else { return String::new() };
    url.query_pairs_mut().append_pair(PARAMETER, code);
    url.into()
}

/// The code in a pasted link; `None` if the text is not a link that carries one.
///
/// Links come as mails, chats and web pages leave them: with a full stop or a bracket behind, with `&amp;` for `&`,
/// with `#` for `?`. The name of the parameter may be in any letter case, because people retype links.
pub(crate) fn code_in(text: &str) -> Option<String> {
    text.split(['?', '#'])
        .flat_map(|part| form_urlencoded::parse(part.as_bytes()))
        .filter(|(name, _)| is_parameter(after_entity(name)))
        .map(|(_, value)| code_at_start(&value).to_owned())
        .find(|code| !code.is_empty())
}

/// The name of a parameter without what is left of `&amp;` or `&#38;`.
fn after_entity(name: &str) -> &str {
    name.rsplit(';').next().unwrap_or(name)
}

/// The code that a text begins with: what ends the sentence or the bracket around a link is not part of it.
fn code_at_start(text: &str) -> &str {
    text.split_whitespace().next().unwrap_or_default().trim_end_matches(is_punctuation)
}

/// Whether a character may stand around a code or a link in a text.
pub(crate) fn is_punctuation(character: char) -> bool {
    character.is_ascii_punctuation()
        || matches!(
            character,
            '«' | '»' | '‹' | '›' | '“' | '”' | '„' | '‘' | '’' | '…' | '。' | '、'
        )
}

fn is_parameter(name: &str) -> bool {
    name.eq_ignore_ascii_case(PARAMETER)
}

/// What is wrong with a base URL; `None` if links can be made from it.
#[must_use]
pub fn base_url_fault(base_url: &str) -> Option<&'static str> {
    // The parser drops line breaks and blanks at the ends, and any number of slashes before the host.
    if base_url.contains(|character: char| character.is_whitespace() || character.is_control()) {
        return Some("must not contain blanks or control characters");
    }
    let Ok(url) = Url::parse(base_url) else { return Some(NOT_A_URL) };
    let rest = base_url.split_once("://").map_or("/", |(_, rest)| rest);
    let has_authority = !rest.starts_with(['/', '\\']);
    if !(matches!(url.scheme(), "http" | "https") && has_authority) {
        return Some(NOT_A_URL);
    }
    let host_is_plain = match url.host() {
        // The parser lets some characters through that no host has and that HTML gives a meaning.
        Some(Host::Domain(domain)) => domain
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_')),
        Some(Host::Ipv4(_) | Host::Ipv6(_)) => true,
        None => false,
    };
    if !host_is_plain {
        return Some(NOT_A_URL);
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Some("must not contain a user name or a password: everybody sees the links");
    }
    if url.fragment().is_some() {
        return Some("must not contain '#': a link ends with the code");
    }
    if url.query_pairs().any(|(name, _)| is_parameter(&name)) {
        return Some("must not have a parameter 'ref' of its own: links carry the code in it");
    }
    if base_url.len().max(url.as_str().len()) > MAX_URL_BYTES {
        return Some("must be at most 512 bytes long, also when escaped");
    }
    None
}

const NOT_A_URL: &str =
    "must be an http or https URL with a host, such as https://shop.example/join";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_is_the_base_url_with_the_code_at_its_end() {
        for (base_url, expected) in [
            ("https://shop.example/join", "https://shop.example/join?ref=AB12CD34"),
            ("https://shop.example", "https://shop.example/?ref=AB12CD34"),
            (
                "https://shop.example/?utm_source=x",
                "https://shop.example/?utm_source=x&ref=AB12CD34",
            ),
            ("https://shop.example/join?", "https://shop.example/join?ref=AB12CD34"),
            ("http://127.0.0.1:8080/a", "http://127.0.0.1:8080/a?ref=AB12CD34"),
            ("http://[::1]/a", "http://[::1]/a?ref=AB12CD34"),
            ("https://bücher.example/", "https://xn--bcher-kva.example/?ref=AB12CD34"),
            ("https://shop.example/\"><b>", "https://shop.example/%22%3E%3Cb%3E?ref=AB12CD34"),
            ("https://shop.example/?a=\"<'", "https://shop.example/?a=%22%3C%27&ref=AB12CD34"),
        ] {
            assert_eq!(base_url_fault(base_url), None, "{base_url}");
            assert_eq!(link(base_url, "AB12CD34"), expected);
            assert_eq!(code_in(expected).as_deref(), Some("AB12CD34"), "{expected}");
        }
        assert_eq!(link("", "AB12CD34"), "");
    }

    #[test]
    fn a_link_is_understood_as_mails_and_chats_leave_it() {
        for text in [
            "https://shop.example/join?ref=AB12CD34.",
            "https://shop.example/join?ref=AB12CD34>",
            "<https://shop.example/join?ref=AB12CD34>",
            "<https://shop.example/join?ref=AB12CD34>.",
            "(https://shop.example/join?ref=AB12CD34)",
            "[shop](https://shop.example/join?ref=AB12CD34)",
            "\"https://shop.example/join?ref=AB12CD34\"",
            "“https://shop.example/join?ref=AB12CD34”",
            "https://shop.example/join?ref=AB12CD34!",
            "https://shop.example/join?ref=AB12CD34&gt;",
            "https://shop.example/join?ref=AB12CD34 is my code",
            "my code: https://shop.example/join?ref=AB12CD34, use it",
            "https://shop.example/join?utm_source=x&amp;ref=AB12CD34",
            "https://shop.example/join?utm_source=x&amp;amp;ref=AB12CD34",
            "https://shop.example/join?utm_source=x&#38;ref=AB12CD34",
            "https://shop.example/join?utm_source=x&#x26;ref=AB12CD34",
            "https://shop.example/join#ref=AB12CD34",
            "https://shop.example/join?utm_source=x#ref=AB12CD34",
            "https://shop.example/#/join?ref=AB12CD34",
            "https://shop.example/join?ref=AB12CD34#top",
            "https://shop.example/join?ref=&ref=AB12CD34",
            "https://shop.example/join?REF=AB12CD34",
            "ref=AB12CD34",
            "?ref=AB12CD34",
        ] {
            assert_eq!(code_in(text).as_deref(), Some("AB12CD34"), "{text}");
        }
        for text in
            ["AB12CD34", "https://shop.example/AB12CD34", "href=AB12CD34", "?ref=", "?ref=."]
        {
            assert_eq!(code_in(text), None, "{text}");
        }
    }

    #[test]
    fn a_base_url_from_which_no_good_links_can_be_made_is_refused() {
        for base_url in [
            "shop.example",
            "ftp://shop.example/",
            "javascript:alert(1)",
            "https:shop.example",
            "https://",
            "https:///join",
            "https://shop .example/",
            " https://shop.example/",
            "https://shop.example/\n",
            "https://ada:secret@shop.example/",
            "https://ada@shop.example/",
            "https://shop.example/#top",
            "https://shop.example/?ref=partner",
            "https://shop.example/?REF=",
            "https://sh\"op.example/",
            "https://sh<op.example/",
            "https://shop.example:99999/",
            &format!("https://shop.example/{}", "a".repeat(500)),
            &format!("https://shop.example/{}", "é".repeat(100)),
        ] {
            assert!(base_url_fault(base_url).is_some(), "{base_url}");
        }
    }
}
