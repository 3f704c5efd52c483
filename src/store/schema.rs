//! What is missing in the schema: tables or functions that somebody has dropped.

use std::collections::BTreeMap;

use sqlx::{PgConnection, Row};

use super::{StoreError, functions::DatabaseFunction};

/// The tables that the migrations create.
pub const TABLES: &[&str] = &[
    "api_keys",
    "checkpoints",
    "claims",
    "database_functions",
    "enrollments",
    "epochs",
    "events",
    "expirations",
    "fraud_evidence",
    "fraud_notes",
    "jobs",
    "mail_opt_outs",
    "mailed_tokens",
    "mails",
    "notes",
    "payout_methods",
    "profiles",
    "program_visits",
    "reaction_checkpoints",
    "reactions",
    "read_model_copies",
    "receipts",
    "referee_addresses",
    "referrals",
    "refresh_tokens",
    "releases",
    "second_factors",
    "secrets",
    "seen_tiers",
    "sessions",
    "sign_up_clients",
    "sign_up_requests",
    "sign_ups",
    "snapshots",
    "stripe_event_keys",
    "stripe_events",
    "stripe_payment_keys",
    "stripe_payments",
    "user_roles",
    "visits",
    "writers",
];

/// How many missing objects of a kind are named.
const MAX_NAMED: usize = 3;

/// The missing objects, by kind. Empty if nothing is missing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Missing(BTreeMap<String, Vec<String>>);

impl Missing {
    /// What is missing, as a clause; `None` if nothing is.
    #[must_use]
    pub fn in_words(&self) -> Option<String> {
        let clauses = self.0.iter().map(|(kind, names)| {
            let named: Vec<String> =
                names.iter().take(MAX_NAMED).map(|name| format!("'{name}'")).collect();
            let more = match names.len().saturating_sub(MAX_NAMED) {
                0 => String::new(),
                more => format!(" and {more} more"),
            };
            let (plural, verb) = if names.len() == 1 { ("", "is") } else { ("s", "are") };
            format!("the {kind}{plural} {}{more} {verb} missing", named.join(", "))
        });
        let clauses: Vec<String> = clauses.collect();
        (!clauses.is_empty()).then(|| clauses.join(", and "))
    }

    /// Whether functions are missing.
    #[must_use]
    pub fn has_functions(&self) -> bool {
        self.0.contains_key("function")
    }
}

/// Which of these tables and functions the schema lacks. Reads the catalog only, so no lock delays it.
///
/// # Errors
/// [`StoreError`] if the database cannot be read.
pub async fn missing(
    connection: &mut PgConnection,
    tables: &[&str],
    functions: &[DatabaseFunction],
) -> Result<Missing, StoreError> {
    let functions: Vec<&str> = functions.iter().map(|function| &*function.name).collect();
    let rows = sqlx::query(include_str!("schema.sql"))
        .bind(tables)
        .bind(functions)
        .fetch_all(connection)
        .await?;
    let mut missing = Missing::default();
    for row in rows {
        missing.0.entry(row.try_get("kind")?).or_default().push(row.try_get("name")?);
    }
    Ok(missing)
}

#[cfg(test)]
mod tests {
    use super::Missing;

    #[test]
    fn what_is_missing_is_named_up_to_a_limit() {
        let missing = |kinds: &[(&str, &[&str])]| {
            let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
            let kinds = kinds.iter().map(|(kind, names)| ((*kind).to_owned(), owned(names)));
            Missing(kinds.collect()).in_words()
        };
        assert_eq!(missing(&[]), None);
        assert_eq!(
            missing(&[("table", &["claims"]), ("function", &["a", "b", "c", "d", "e"])]).as_deref(),
            Some(
                "the functions 'a', 'b', 'c' and 2 more are missing, and the table 'claims' is \
                 missing"
            )
        );
    }
}
