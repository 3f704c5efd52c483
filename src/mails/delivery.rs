//! Where mails go: to a mail server, into a folder, or nowhere.

use std::fs::{self, DirBuilder};
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;
use std::time::Duration;

use lettre::transport::smtp::extension::ClientId;
use lettre::{AsyncSmtpTransport, AsyncTransport, Message, Tokio1Executor};
use url::Url;

use crate::public_url::PublicUrl;

/// Where mails go.
#[derive(Clone)]
pub enum Delivery {
    /// To a mail server. Each mail has a connection of its own: a connection that was given up in the middle of a mail
    /// could give the answer to that mail as the answer to the next.
    Smtp(Box<AsyncSmtpTransport<Tokio1Executor>>),
    /// Into files of this folder, one for each mail.
    Files(PathBuf),
    /// Nowhere: nobody gets mail.
    Nowhere,
}

/// Why a mail was not delivered. Never what a mail server said, because it repeats addresses.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Undelivered {
    /// Another attempt may succeed.
    #[error("{0}")]
    Again(String),
    /// The mail server will never take this mail.
    #[error("{0}")]
    Never(String),
}

/// Codes by which a mail server refuses the sender and not the mail: credentials are missing, wrong or too weak, or
/// TLS is missing. A changed setting can mend that.
const CODES_OF_SENDERS: [u16; 5] = [530, 532, 534, 535, 538];

impl Delivery {
    /// To the mail server of a URL: `smtp://HOST:PORT`, `smtp://USER:PASSWORD@HOST?tls=required` (STARTTLS) or
    /// `smtps://USER:PASSWORD@HOST`. The server is greeted with the host of the public URL.
    ///
    /// # Errors
    /// What is wrong with the URL. Never the URL itself, which can hold a password.
    pub fn smtp(url: &str, public_url: &PublicUrl) -> Result<Self, String> {
        let parsed = Url::parse(url).map_err(|error| format!("is no URL: {error}"))?;
        let tls = parsed.query_pairs().find(|(name, _)| name == "tls").map(|(_, value)| value);
        let other = parsed.query_pairs().any(|(name, _)| name != "tls");
        let is_encrypted = match (parsed.scheme(), tls.as_deref()) {
            ("smtps", None) | ("smtp", Some("required")) => true,
            ("smtp", None | Some("opportunistic")) => false,
            ("smtp" | "smtps", _) => {
                return Err(
                    "can end in ?tls=required or ?tls=opportunistic, and only with smtp://".into(),
                );
            }
            _ => return Err("must begin with smtp:// or smtps://".into()),
        };
        if other || !matches!(parsed.path(), "" | "/") {
            return Err(
                "can have a user, a password, a host, a port and ?tls=, and nothing else".into()
            );
        }
        let Some(host) = parsed.host_str().filter(|host| !host.is_empty()) else {
            return Err("has no host".into());
        };
        if parsed.username().is_empty() != parsed.password().is_none() {
            return Err("must have both a user and a password, or neither".into());
        }
        let is_here = matches!(host, "localhost" | "127.0.0.1" | "[::1]");
        if parsed.password().is_some() && !is_encrypted && !is_here {
            return Err(
                "has a password, which must not be sent in the clear: add ?tls=required".into()
            );
        }
        let transport = AsyncSmtpTransport::<Tokio1Executor>::from_url(url)
            .map_err(|_| "cannot be used".to_owned())?
            // The handler has its own limit, for all that a mail takes.
            .timeout(None)
            .hello_name(ClientId::Domain(public_url.host().to_owned()))
            .build();
        Ok(Self::Smtp(Box::new(transport)))
    }

    /// Whether anybody gets mail.
    #[must_use]
    pub fn delivers(&self) -> bool {
        !matches!(self, Self::Nowhere)
    }

    /// Delivers a message. `name` is that of its file.
    ///
    /// # Errors
    /// [`Undelivered`] with a reason that can be shown to operators.
    pub async fn deliver(
        &self,
        name: &str,
        message: &Message,
        patience: Duration,
    ) -> Result<(), Undelivered> {
        match self {
            Self::Smtp(transport) => {
                let content = message.formatted();
                let sending = transport.send_raw(message.envelope(), &content);
                match tokio::time::timeout(patience, sending).await {
                    Ok(Ok(_)) => Ok(()),
                    Ok(Err(error)) => Err(undelivered(&error)),
                    Err(_) => {
                        let seconds = patience.as_secs();
                        Err(Undelivered::Again(format!(
                            "the mail server took longer than {seconds} s"
                        )))
                    }
                }
            }
            Self::Files(folder) => {
                let kept = keep(folder.clone(), name.to_owned(), message.formatted()).await;
                kept.map_err(|error| {
                    Undelivered::Again(format!("the file cannot be written: {error}"))
                })
            }
            Self::Nowhere => Err(Undelivered::Again("there is no mail server".into())),
        }
    }
}

/// Writes a file whole or not at all. Only the owner of the folder sees what is in it: addresses, and links that
/// set passwords.
async fn keep(folder: PathBuf, name: String, content: Vec<u8>) -> std::io::Result<()> {
    let keeping = tokio::task::spawn_blocking(move || {
        DirBuilder::new().recursive(true).mode(0o700).create(&folder)?;
        let unfinished = folder.join(format!(".{name}.part"));
        fs::write(&unfinished, content)?;
        fs::rename(unfinished, folder.join(format!("{name}.eml")))
    });
    keeping.await?
}

fn undelivered(error: &lettre::transport::smtp::Error) -> Undelivered {
    if let Some(code) = error.status() {
        let code = u16::from(code);
        let text = format!("the mail server answered {code}");
        return if error.is_permanent() && !CODES_OF_SENDERS.contains(&code) {
            Undelivered::Never(text)
        } else {
            Undelivered::Again(text)
        };
    }
    Undelivered::Again(
        if error.is_tls() {
            "no TLS connection to the mail server could be made"
        } else if error.is_response() {
            "the mail server gave no complete answer"
        } else if error.is_client() {
            "the mail server lacks what the settings or the mail require, such as TLS"
        } else {
            "the mail server could not be reached, or ended the connection"
        }
        .into(),
    )
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]
mod tests {
    use super::*;

    fn fault(url: &str) -> Option<String> {
        Delivery::smtp(url, &"https://rewards.example.com".parse().unwrap()).err()
    }

    #[tokio::test]
    async fn a_url_of_a_mail_server_is_checked_and_never_repeated() {
        for url in [
            "smtp://mail.example.com",
            "smtp://localhost:1025",
            "smtp://u:p@127.0.0.1:1025",
            "smtp://u:p@mail.example.com?tls=required",
            "smtp://mail.example.com?tls=opportunistic",
            "smtps://u%40example.com:p%2F@mail.example.com:465",
        ] {
            assert_eq!(fault(url), None, "{url}");
        }
        for (url, says) in [
            ("mail.example.com", "is no URL"),
            ("http://mail.example.com", "must begin"),
            ("smtp://u:secret@mail.example.com", "in the clear"),
            ("smtp://u:secret@mail.example.com?tls=opportunistic", "in the clear"),
            ("smtp://secret@mail.example.com?tls=required", "both a user"),
            ("smtp://mail.example.com?tls=secret", "tls=required"),
            ("smtps://mail.example.com?tls=required", "only with smtp://"),
            ("smtp://mail.example.com?secret=1", "nothing else"),
            ("smtp://mail.example.com/secret", "nothing else"),
            ("smtp:", "has no host"),
        ] {
            let fault = fault(url).unwrap();
            assert!(fault.contains(says), "{url}: {fault}");
            assert!(!fault.contains("secret") || url.contains("?secret"), "{url}: {fault}");
        }
    }
}
