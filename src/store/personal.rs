//! The tables with personal data: the one list of them on this side of the database.
//!
//! The database function `erase_user` deletes a user's rows of each, with one line per table. A test compares both
//! with the tables that exist, so that no table is forgotten.

use hmac::{Hmac, Mac};
use serde_json::Value;
use sha2::Sha256;
use sqlx::PgPool;

use super::StoreError;
use domain::UserId;

/// The maximum number of rows of one table that an export shows. No table has as many of one user.
const MAX_ROWS: i64 = 10_000;

/// A table with personal data. Its column `user_id` says whose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PersonalTable {
    /// The name of the table, which is also the name of its part of an export.
    pub name: &'static str,
    /// The columns that an export leaves out: secrets, hashes of them, and other people.
    pub secrets: &'static [&'static str],
}

/// Every table with personal data.
pub const TABLES: &[PersonalTable] = &[
    PersonalTable { name: "profiles", secrets: &["password_hash"] },
    PersonalTable { name: "sessions", secrets: &[] },
    // Somebody else may have created a key of the user.
    PersonalTable { name: "api_keys", secrets: &["hash", "created_by", "creator_user_id"] },
    PersonalTable { name: "user_roles", secrets: &[] },
    PersonalTable { name: "second_factors", secrets: &["sealed_secret", "recovery_hashes"] },
    PersonalTable { name: "mailed_tokens", secrets: &["token_hash"] },
    PersonalTable { name: "sign_ups", secrets: &["password_hash", "fingerprint_key"] },
    PersonalTable { name: "mails", secrets: &[] },
    PersonalTable { name: "mail_opt_outs", secrets: &[] },
    PersonalTable { name: "sign_up_clients", secrets: &["fingerprint_key"] },
    PersonalTable { name: "referee_addresses", secrets: &["referrer_user_id"] },
    // What is about others, and what would say how to get past a check.
    PersonalTable {
        name: "fraud_evidence",
        secrets: &["other_user_id", "other_address", "fingerprint_key", "findings"],
    },
    PersonalTable { name: "fraud_notes", secrets: &["referrer_user_id", "other_user_id", "note"] },
    PersonalTable { name: "notes", secrets: &["number", "author"] },
    PersonalTable {
        name: "stripe_payments",
        secrets: &["number", "version", "named_user_ids", "noted_sequence"],
    },
    PersonalTable { name: "stripe_events", secrets: &["named_user_ids"] },
    PersonalTable { name: "payout_methods", secrets: &[] },
    PersonalTable { name: "visits", secrets: &[] },
    PersonalTable { name: "seen_tiers", secrets: &[] },
];

/// A user's rows of a table, as JSON objects without secrets.
///
/// # Errors
/// [`StoreError`] if the database cannot be read.
pub async fn rows_of(
    pool: &PgPool,
    table: &PersonalTable,
    user_id: &UserId,
) -> Result<Vec<Value>, StoreError> {
    let PersonalTable { name, secrets } = table;
    let query = format!(
        "select to_jsonb(personal) - $2::text[] from {name} as personal where user_id = $1 limit $3"
    );
    let rows = sqlx::query_scalar(&query)
        .bind(user_id.as_str())
        .bind(secrets.iter().map(|column| (*column).to_owned()).collect::<Vec<_>>())
        .bind(MAX_ROWS);
    Ok(rows.fetch_all(pool).await?)
}

/// The key by which an address is recognised as that of an erased user, from the address in the form in which
/// addresses are compared. The database function `address_key` makes the same.
#[must_use]
pub fn address_key(secret: &[u8], address: &str) -> Option<String> {
    let mut hash = Hmac::<Sha256>::new_from_slice(secret).ok()?;
    hash.update(address.as_bytes());
    Some(format!("{:x}", hash.finalize().into_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_of_an_address_is_its_hmac() {
        // Test case 2 of RFC 4231.
        let expected = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843";
        let key = address_key(b"Jefe", "what do ya want for nothing?");
        assert_eq!(key.as_deref(), Some(expected));
    }
}
