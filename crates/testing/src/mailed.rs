//! Tokens of mails, for tests that are not about mails.

use std::sync::atomic::{AtomicU32, Ordering};

use super::TestDatabase;

/// How many tokens of a purpose were entered for a user.
pub async fn mailed_tokens(database: &TestDatabase, user_id: &str, purpose: &str) -> i64 {
    sqlx::query_scalar("select count(*) from mailed_tokens where user_id = $1 and purpose = $2")
        .bind(user_id)
        .bind(purpose)
        .fetch_one(&database.pool)
        .await
        .unwrap()
}

/// Gives the last token of a purpose that was entered for a user a text, as the sender of its mail does, and lets it be
/// good for so many seconds.
pub async fn issue_token(
    database: &TestDatabase,
    user_id: &str,
    purpose: &str,
    seconds: f64,
) -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let token = format!("token_of_a_test-{}", COUNT.fetch_add(1, Ordering::Relaxed));
    let issued = sqlx::query(
        "update mailed_tokens set token_hash = sha256(convert_to($1, 'UTF8')),
             expires_at = clock_timestamp() + make_interval(secs => $4)
         where id = (
             select id from mailed_tokens where user_id = $2 and purpose = $3
             order by created_at desc limit 1)",
    )
    .bind(&token)
    .bind(user_id)
    .bind(purpose)
    .bind(seconds)
    .execute(&database.pool)
    .await
    .unwrap();
    assert_eq!(issued.rows_affected(), 1, "no token for {purpose} of {user_id}");
    token
}
