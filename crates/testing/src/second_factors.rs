//! Second factors: keys that servers keep, and the apps of people.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use contract::pb::{ConfirmSecondFactorRequest, EnrollSecondFactorRequest};
use totp_rs::{Builder, Secret, Totp};
use tributary::access::signing::SigningKeys;
use tributary::engine::Environment;

use crate::ServerOptions;
use crate::people::{People, with};

/// A file with a signing key, which is removed when the test ends.
pub struct KeyFile(PathBuf);

impl KeyFile {
    pub fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("tributary-test-keys-{}-{number}.pem", std::process::id());
        let path = std::env::temp_dir().join(name);
        let environment = Environment::of_this_machine().unwrap();
        std::fs::write(&path, SigningKeys::fresh_pem(&environment)).unwrap();
        Self(path)
    }

    pub fn path(&self) -> PathBuf {
        self.0.clone()
    }

    /// A server that keeps its keys there.
    pub fn options(&self) -> ServerOptions {
        let path = self.0.display().to_string();
        ServerOptions { arguments: vec!["--signing-keys".into(), path] }
    }
}

impl Default for KeyFile {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for KeyFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// An app that knows a secret.
pub struct App {
    totp: Totp,
    /// The code with which the factor was set up; empty before.
    pub confirmed_with: String,
}

impl App {
    pub fn of(secret: &str) -> Self {
        let secret = Secret::try_from_base32(secret).unwrap();
        let totp = Builder::new().with_secret(secret).build().unwrap();
        Self { totp, confirmed_with: String::new() }
    }

    /// The code that the app shows so many periods of 30 seconds from now.
    #[allow(clippy::disallowed_methods, reason = "the clock of the app is that of the machine")]
    pub fn code(&self, periods: i64) -> String {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        self.totp.generate(now.saturating_add_signed(30 * periods)).to_string()
    }
}

/// Sets up a second factor for somebody who has logged in. Returns the app and the recovery codes. The present code is
/// used up.
pub async fn set_up(people: &People, token: &str) -> (App, Vec<String>) {
    let enroll = with(token, EnrollSecondFactorRequest {});
    let begun = people.service().enroll_second_factor(enroll).await.unwrap().into_inner();
    let mut app = App::of(&begun.secret);
    app.confirmed_with = app.code(0);
    let code = app.confirmed_with.clone();
    let confirm = with(token, ConfirmSecondFactorRequest { code });
    let confirmed = people.service().confirm_second_factor(confirm).await.unwrap().into_inner();
    (app, confirmed.recovery_codes)
}
