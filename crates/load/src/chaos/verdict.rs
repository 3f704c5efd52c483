//! What is found after a run: the log against the answers, and what `tributary verify` says.

use std::collections::HashMap;
use std::time::Duration;

use domain::Timestamp;
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
    /// Requests of which a repetition was refused while an earlier attempt, whose answer was lost, was still under
    /// way. That attempt was carried out after the refusal, for instance because the program had changed.
    pub overtaken: Vec<String>,
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
            ("refused, then carried out by an earlier attempt", &self.overtaken),
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
        verdict.purchases = purchases.values().map(|found| u64::from(found.times)).sum();
        verdict.compare("purchase", &tally.ends(Kind::Purchase), &purchases);
        let sign_ups = in_log(servers, "UserRegistered").await?;
        verdict.compare("sign-up", &tally.ends(Kind::SignUp), &sign_ups);
        verdict.verify(servers).await?;
        Ok(verdict)
    }

    fn compare(&mut self, what: &str, ends: &HashMap<String, End>, found: &HashMap<String, Found>) {
        for (id, Found { times, last_at }) in found {
            if *times > 1 {
                self.wrong.push(format!("{what} {id} is in the log {times} times"));
            }
            match ends.get(id) {
                Some(End::Acknowledged) => {}
                Some(End::Refused { begun, message }) if begun <= last_at => {
                    self.overtaken.push(format!("{what} {id}: {message}"));
                }
                Some(End::Refused { message, .. }) => {
                    self.wrong.push(format!(
                        "{what} {id} was refused although it was in the log: {message}"
                    ));
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

/// An event of a type on a stream.
struct Found {
    times: u32,
    last_at: Timestamp,
}

/// The streams that have an event of a type.
async fn in_log(servers: &Servers, event_type: &str) -> Result<HashMap<String, Found>, LoadError> {
    let broken = |error: sqlx::Error| failed("read the log")(&error);
    let mut connection = PgConnection::connect(&servers.database_url).await.map_err(broken)?;
    let query = "select aggregate_id, count(*), max(extract(epoch from recorded_at) * 1000000)::bigint \
                 from events where event_type = $1 group by 1";
    let rows: Vec<(String, i64, i64)> =
        sqlx::query_as(query).bind(event_type).fetch_all(&mut connection).await.map_err(broken)?;
    let found = |(id, times, last_at)| {
        let times = u32::try_from(times).unwrap_or(u32::MAX);
        (id, Found { times, last_at: Timestamp(last_at) })
    };
    Ok(rows.into_iter().map(found).collect())
}
