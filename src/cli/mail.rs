//! The settings of mails, as a server needs them.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use lettre::message::Mailbox;

use super::CliError;
use crate::mails::{Delivery, MailSettings, Templates};
use crate::public_url::PublicUrl;

/// In place of the URL of a mail server: nobody gets mail.
const NONE: &str = "none";
/// Whom mails that are kept as files are from, if the settings do not say.
const FROM_HERE: &str = "Tributary <tributary@localhost>";

/// What the settings say about where mails go and what is in them.
pub(super) struct MailPart {
    pub(super) smtp_url: Option<String>,
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
    ) -> Result<MailSettings, CliError> {
        let smtp_url = self.smtp_url.as_deref().filter(|url| *url != NONE);
        let is_off = self.smtp_url.as_deref() == Some(NONE);
        let (delivery, public_url) = match (smtp_url, public_url) {
            (Some(url), Some(public_url)) => {
                let delivery = Delivery::smtp(url, &public_url);
                (delivery.map_err(|fault| format!("the smtp_url {fault}"))?, Some(public_url))
            }
            (Some(_), None) => {
                return Err("mails have links, so smtp_url needs public_url too: the address that people reach the \
                            server at, as in https://rewards.example.com"
                    .into());
            }
            (None, public_url) => {
                let delivery = match folder.filter(|_| !is_off) {
                    Some(folder) => Delivery::Files(folder.to_owned()),
                    None => Delivery::Nowhere,
                };
                (delivery, public_url)
            }
        };
        let from = match (&self.from, &delivery) {
            (Some(from), _) => from,
            (None, Delivery::Smtp(_)) => {
                return Err("smtp_url needs mail_from too: whom mails are from, as in Rewards \
                            <rewards@example.com>"
                    .into());
            }
            (None, Delivery::Files(_) | Delivery::Nowhere) => FROM_HERE,
        };
        let from: Mailbox = from.parse().map_err(|_| {
            format!(
                "mail_from '{from}' is no address; write rewards@example.com or Rewards \
                 <rewards@example.com>"
            )
        })?;
        let templates = Templates::load(self.templates.as_deref())
            .map_err(|fault| format!("mail_templates: {fault}"))?;
        let MailPace {
            concurrency,
            per_second,
            patience,
            max_attempts,
            first_pause,
            longest_pause,
        } = pace;
        Ok(MailSettings {
            delivery,
            from,
            templates: Arc::new(templates),
            public_url,
            concurrency,
            per_second,
            patience,
            max_attempts,
            first_pause,
            longest_pause,
        })
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
