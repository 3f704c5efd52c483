//! The settings of mails, as a server needs them.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use lettre::message::Mailbox;

use super::faults::{Faults, names};
use super::optional::Optional;
use crate::mails::{Delivery, MailSettings, Templates};
use crate::public_url::PublicUrl;

/// Whom mails that are kept as files are from, if the settings do not say.
const FROM_HERE: &str = "Tributary <tributary@localhost>";

/// What the settings say about where mails go and what is in them.
pub(super) struct MailPart {
    pub(super) smtp_url: Option<Optional<String>>,
    pub(super) from: Option<String>,
    pub(super) templates: Option<PathBuf>,
}

impl MailPart {
    /// Fills in where mails go. Without a mail server they are kept in `folder`, if there is one.
    pub(super) fn complete(
        &self,
        pace: MailPace,
        public_url: Option<PublicUrl>,
        folder: Option<&Path>,
        faults: &mut Faults,
    ) -> Option<MailSettings> {
        // All parts are looked at before the first fault ends this.
        let delivery = self.delivery(public_url.as_ref(), folder, faults);
        let from = self.from(faults);
        let templates = Templates::load(self.templates.as_deref());
        let templates = faults.value("mail_templates", templates);
        let MailPace {
            concurrency,
            per_second,
            patience,
            max_attempts,
            first_pause,
            longest_pause,
        } = pace;
        Some(MailSettings {
            delivery: delivery?,
            from: from?,
            templates: Arc::new(templates?),
            public_url,
            concurrency,
            per_second,
            patience,
            max_attempts,
            first_pause,
            longest_pause,
        })
    }

    fn delivery(
        &self,
        public_url: Option<&PublicUrl>,
        folder: Option<&Path>,
        faults: &mut Faults,
    ) -> Option<Delivery> {
        match (&self.smtp_url, public_url) {
            (Some(Optional::Value(url)), Some(public_url)) => {
                faults.value("smtp_url", Delivery::smtp(url, public_url))
            }
            (Some(Optional::Value(_)), None) => {
                let url = names("public_url");
                faults.add(
                    "smtp_url",
                    format_args!(
                        "needs {url} too, as mails have links: the address that people reach the server at, as in \
                         https://rewards.example.com"
                    ),
                );
                None
            }
            (Some(Optional::None), _) => Some(Delivery::Nowhere),
            (None, _) => {
                let folder = folder.map(|folder| Delivery::Files(folder.to_owned()));
                Some(folder.unwrap_or(Delivery::Nowhere))
            }
        }
    }

    fn from(&self, faults: &mut Faults) -> Option<Mailbox> {
        let from = match (&self.from, &self.smtp_url) {
            (Some(from), _) => from,
            (None, Some(Optional::Value(_))) => {
                let from = names("mail_from");
                faults.add(
                    "smtp_url",
                    format_args!(
                        "needs {from} too: whom mails are from, as in Rewards <rewards@example.com>"
                    ),
                );
                return None;
            }
            (None, Some(Optional::None) | None) => FROM_HERE,
        };
        let parsed: Result<Mailbox, _> = from.parse();
        let parsed = parsed.map_err(|_| {
            format!(
                "'{from}' is no address; write rewards@example.com or Rewards <rewards@example.com>"
            )
        });
        faults.value("mail_from", parsed)
    }
}

/// How fast mails are sent, and how often they are tried.
#[derive(Clone, Copy)]
pub(super) struct MailPace {
    pub(super) concurrency: usize,
    pub(super) per_second: u32,
    pub(super) patience: Duration,
    pub(super) max_attempts: u32,
    pub(super) first_pause: Duration,
    pub(super) longest_pause: Duration,
}

impl Default for MailPace {
    fn default() -> Self {
        Self {
            concurrency: 4,
            // Costs the commands a few per cent of the machine that they are measured on, while mails are queued.
            per_second: 30,
            patience: Duration::from_mins(1),
            max_attempts: 12,
            first_pause: Duration::from_secs(30),
            longest_pause: Duration::from_hours(4),
        }
    }
}
