//! A rendered mail as a message: headers, text and HTML.

use std::time::{Duration, UNIX_EPOCH};

use lettre::message::header::{HeaderName, HeaderValue};
use lettre::message::{Mailbox, MultiPart};
use lettre::{Address, Message};

use super::templates::Rendered;
use domain::Timestamp;

/// What a message has besides its content.
pub struct Headers<'a> {
    /// Whom it is from.
    pub from: &'a Mailbox,
    /// The address that it goes to.
    pub to: &'a str,
    /// The same in every attempt, so that a mail that is sent twice is shown once.
    pub message_id: String,
    /// When it was written.
    pub date: Timestamp,
    /// The link that switches such mails off; absent for mails that somebody must get.
    pub unsubscribe: Option<&'a str>,
}

/// Why there is no message. Without the address, which is personal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoMessage {
    /// Mail cannot be sent to the address.
    #[error("the address of the recipient is none that mail can be sent to")]
    Address,
    /// A template has made what no message can have.
    #[error("a template has made a mail that cannot be written as a message")]
    Content,
}

/// Writes a message.
///
/// # Errors
/// [`NoMessage`] if the address or the content does not fit into one.
pub fn write(headers: Headers<'_>, rendered: Rendered) -> Result<Message, NoMessage> {
    let to: Address = headers.to.parse().map_err(|_| NoMessage::Address)?;
    let since = u64::try_from(headers.date.0).unwrap_or_default();
    let mut message = Message::builder()
        .from(headers.from.clone())
        .to(Mailbox::new(None, to))
        .subject(rendered.subject)
        .message_id(Some(headers.message_id))
        .date(UNIX_EPOCH + Duration::from_micros(since))
        // Programs that answer mails by themselves should not answer these (RFC 3834).
        .raw_header(plain("Auto-Submitted", "auto-generated"));
    if let Some(link) = headers.unsubscribe {
        message = message
            .raw_header(plain("List-Unsubscribe", &format!("<{link}>")))
            .raw_header(plain("List-Unsubscribe-Post", "List-Unsubscribe=One-Click"));
    }
    let body = MultiPart::alternative_plain_html(rendered.text, rendered.html);
    message.multipart(body).map_err(|_| NoMessage::Content)
}

/// A header of ASCII, which is not folded or encoded.
fn plain(name: &'static str, value: &str) -> HeaderValue {
    let name = HeaderName::new_from_ascii_str(name);
    HeaderValue::dangerous_new_pre_encoded(name, value.to_owned(), value.to_owned())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]
mod tests {
    use super::*;

    fn written(to: &str, subject: &str) -> Result<String, NoMessage> {
        let from: Mailbox = "Rewards <rewards@example.com>".parse().unwrap();
        let headers = Headers {
            from: &from,
            to,
            message_id: "<1.abc@example.com>".into(),
            date: Timestamp(1_700_000_000_000_000),
            unsubscribe: Some("https://example.com/unsubscribe?token=abc"),
        };
        let rendered = Rendered {
            subject: subject.into(),
            text: "Hello\n".into(),
            html: "<p>Hello</p>\n".into(),
        };
        write(headers, rendered).map(|message| String::from_utf8(message.formatted()).unwrap())
    }

    #[test]
    fn a_message_has_the_headers_that_programs_look_for() {
        let message = written("ada@example.com", "Welcome").unwrap();
        for line in [
            "From: Rewards <rewards@example.com>",
            "To: ada@example.com",
            "Subject: Welcome",
            "Message-ID: <1.abc@example.com>",
            "Date: Tue, 14 Nov 2023 22:13:20 +0000",
            "Auto-Submitted: auto-generated",
            "List-Unsubscribe: <https://example.com/unsubscribe?token=abc>",
            "List-Unsubscribe-Post: List-Unsubscribe=One-Click",
        ] {
            assert!(message.lines().any(|of| of == line), "{line} is not in\n{message}");
        }
        assert!(message.contains("multipart/alternative"));
    }

    #[test]
    fn neither_a_subject_nor_an_address_can_add_a_header() {
        let message = written("ada@example.com", "Welcome\r\nBcc: eve@example.com").unwrap();
        assert!(!message.lines().any(|line| line.starts_with("Bcc")), "{message}");
        for to in ["ada@example.com\r\nBcc: eve@example.com", "ada", "", "a b@example.com"] {
            assert_eq!(written(to, "Welcome").unwrap_err(), NoMessage::Address);
        }
    }
}
