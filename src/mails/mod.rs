//! Mails: what is in them, and how they leave. The job that sends them is in [`crate::jobs::handlers`].
//!
//! - [`facts`] reads what a mail tells from profiles and the log; [`names`] makes names of people harmless.
//! - [`templates`] renders it, [`message`] makes a message of it.
//! - [`delivery`] hands the message to a mail server, or keeps it as a file.
//! - [`unsubscribing`] makes and checks the links by which people switch mails off.

pub mod delivery;
pub mod facts;
pub mod message;
pub mod names;
pub mod templates;
pub mod unsubscribing;

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use lettre::message::Mailbox;

pub use delivery::Delivery;
pub use templates::Templates;

use crate::public_url::PublicUrl;
use domain::MailKind;

/// Makes the secret of a link again: by purpose (the kind of the mail) and the id of the token.
pub type LinkSecrets = Arc<dyn Fn(&str, &str) -> [u8; 32] + Send + Sync>;

/// How long the links in mails are good, from the moment when the mail is sent first.
#[derive(Clone, Copy, Debug)]
pub struct TokenLives {
    /// Those that confirm an address.
    pub confirmation: Duration,
    /// Those for choosing another password.
    pub reset: Duration,
}

impl TokenLives {
    /// How long the link of a mail of this kind is good.
    #[must_use]
    pub fn of(self, kind: MailKind) -> Duration {
        if kind == MailKind::PasswordReset { self.reset } else { self.confirmation }
    }
}

/// The token of a link, by its secret. The database holds the hash of the secret at most.
#[must_use]
pub fn token_text(secret: &[u8; 32]) -> String {
    URL_SAFE_NO_PAD.encode(secret)
}

/// The secret in the token of a link; `None` if the text is no such token.
#[must_use]
pub fn token_secret(text: &str) -> Option<[u8; 32]> {
    URL_SAFE_NO_PAD.decode(text).ok()?.try_into().ok()
}

/// The page that a mail links to, for kinds that carry a token.
#[must_use]
pub fn page_of(kind: MailKind) -> Option<&'static str> {
    match kind {
        MailKind::ConfirmEmail | MailKind::ConfirmSignUp => Some("/confirm-email"),
        MailKind::PasswordReset => Some("/reset-password"),
        MailKind::Welcome
        | MailKind::Referral
        | MailKind::Conversion
        | MailKind::Tier
        | MailKind::Expiry
        | MailKind::Reversal
        | MailKind::Release
        | MailKind::AccountExists
        | MailKind::EmailChanged
        | MailKind::PasswordChanged
        | MailKind::SecondFactorRemoved => None,
    }
}

/// How a server sends mails.
#[derive(Clone)]
pub struct MailSettings {
    /// Where mails go.
    pub delivery: Delivery,
    /// Whom mails are from.
    pub from: Mailbox,
    /// What is in them.
    pub templates: Arc<Templates>,
    /// What links begin with. Where it is not known, nobody gets mail.
    pub public_url: Option<PublicUrl>,
    /// How many mails that nobody waits for one server sends at the same time; of those that somebody waits for, it
    /// sends half as many besides.
    pub concurrency: usize,
    /// How many mails one server begins to send in a second.
    pub per_second: u32,
    /// How long a mail server may take to take one mail.
    pub patience: Duration,
    /// How often a mail is tried before it is parked.
    pub max_attempts: u32,
    /// The pause before the second attempt. It doubles with every further attempt.
    pub first_pause: Duration,
    /// The longest pause between two attempts.
    pub longest_pause: Duration,
}

impl MailSettings {
    /// Those of a server that sends no mails.
    ///
    /// # Errors
    /// If the templates of this build are broken, which a test excludes.
    pub fn nowhere() -> Result<Self, String> {
        let address = lettre::Address::new("tributary", "localhost");
        Ok(Self {
            delivery: Delivery::Nowhere,
            from: Mailbox::new(None, address.map_err(|error| error.to_string())?),
            templates: Arc::new(Templates::load(None)?),
            public_url: None,
            concurrency: 4,
            per_second: 30,
            patience: Duration::from_mins(1),
            max_attempts: 12,
            first_pause: Duration::from_secs(30),
            longest_pause: Duration::from_hours(4),
        })
    }
}
