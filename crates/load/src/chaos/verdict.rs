//! What is found after a run: the log against the answers, and what `tributary verify` says.

use std::collections::HashMap;
use std::time::Duration;

use sqlx::{Connection, PgConnection};

use super::clients::{End, Kind, Tally};
use super::failed;
use super::faults::Faults;
use super::servers::Servers;
use crate::LoadError;

/// How many findings of one kind are shown.
const MAX_SHOWN: usize = 10;
/// `verify` is repeated this often if it cannot run: a rebuild that a crash cut off may still hold its lock.
const VERIFY_ATTEMPTS: usize = 5;

/// What is found after a run.
#[derive(Clone, Debug, Default)]
pub struct Verdict {
    /// Purchases in the log.
    pub purchases: u64,
    /// How many of those were never acknowledged; the answer was lost, not the purchase.
    pub unanswered: u64,
    /// Requests that are not in the log as often as they should be.
    pub wrong: Vec<String>,
    /// Answers that no caller should ever get.
    pub internal_errors: Vec<String>,
    /// Rows that a rebuild found to disagree with the log.
    pub differing: Vec<String>,
    /// What `verify` printed.
    pub verify: String,
    /// Whether `verify` found nothing.
    pub is_verified: bool,
}

impl Verdict {
    /// Whether nothing is wrong.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.is_verified
            && self.wrong.is_empty()
            && self.internal_errors.is_empty()
            && self.differing.is_empty()
    }

    pub(super) fn lines(&self) -> Vec<String> {
        let mut lines = vec![format!(
            "{:<20} {:>9} in the log, {} of them unanswered",
            "purchases", self.purchases, self.unanswered
        )];
        for (what, findings) in [
            ("not in the log as answered", &self.wrong),
            ("internal errors", &self.internal_errors),
            ("rows that disagree with the log", &self.differing),
        ] {
            lines.push(format!("{what}: {}", findings.len()));
            lines.extend(findings.iter().take(MAX_SHOWN).map(|finding| format!("  {finding}")));
        }
        lines.push(if self.is_verified { "verify: clean" } else { "verify: NOT CLEAN" }.into());
        lines.extend(self.verify.lines().map(|line| format!("  {line}")));
        lines
    }

    pub(super) async fn of(
        tally: &Tally,
        faults: &Faults,
        servers: &Servers,
    ) -> Result<Self, LoadError> {
        let mut verdict = Self {
            internal_errors: tally.internal_errors(),
            differing: faults.differing().await,
            ..Self::default()
        };
        let purchases = in_log(servers, "PurchaseRecorded").await?;
        verdict.purchases = purchases.values().map(|times| u64::from(*times)).sum();
        verdict.compare("purchase", &tally.ends(Kind::Purchase), &purchases);
        let sign_ups = in_log(servers, "UserRegistered").await?;
        verdict.compare("sign-up", &tally.ends(Kind::SignUp), &sign_ups);
        verdict.verify(servers).await?;
        Ok(verdict)
    }

    fn compare(&mut self, what: &str, ends: &HashMap<String, End>, found: &HashMap<String, u32>) {
        for (id, times) in found {
            if *times > 1 {
                self.wrong.push(format!("{what} {id} is in the log {times} times"));
            }
            match ends.get(id) {
                Some(End::Acknowledged) => {}
                Some(End::Refused) => {
                    self.wrong.push(format!("{what} {id} was refused and is in the log"));
                }
                None => self.unanswered += u64::from(what == "purchase"),
            }
        }
        for (id, end) in ends {
            if *end == End::Acknowledged && !found.contains_key(id) {
                self.wrong.push(format!("{what} {id} was acknowledged and is not in the log"));
            }
        }
    }

    async fn verify(&mut self, servers: &Servers) -> Result<(), LoadError> {
        for _ in 0..VERIFY_ATTEMPTS {
            let output = servers.command().arg("verify").output().await;
            let output = output.map_err(|error| {
                failed("verify")(&format!("{}: {error}", servers.program().display()))
            })?;
            let (words, errors) = (&output.stdout, &output.stderr);
            self.verify = [words, errors].map(|text| String::from_utf8_lossy(text)).concat();
            self.is_verified = output.status.success();
            // Anything else than a verdict is worth another attempt.
            if self.is_verified || self.verify.contains("other findings") {
                break;
            }
            tokio::time::sleep(Duration::from_secs(2)).await;
        }
        Ok(())
    }
}

/// How often each stream has an event of a type.
async fn in_log(servers: &Servers, event_type: &str) -> Result<HashMap<String, u32>, LoadError> {
    let broken = |error: sqlx::Error| failed("read the log")(&error);
    let mut connection = PgConnection::connect(&servers.database_url).await.map_err(broken)?;
    let query = "select aggregate_id, count(*) from events where event_type = $1 group by 1";
    let rows: Vec<(String, i64)> =
        sqlx::query_as(query).bind(event_type).fetch_all(&mut connection).await.map_err(broken)?;
    let count = |(id, times)| (id, u32::try_from(times).unwrap_or(u32::MAX));
    Ok(rows.into_iter().map(count).collect())
}
