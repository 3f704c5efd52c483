//! Tokens of mails, for tests that are not about mails.
//!
//! The answer to somebody who asks for a mail comes after a fixed time, possibly before the token is entered.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use tokio::time::sleep;

use super::TestDatabase;

/// How long a test waits for a token that is sure to be entered.
const PATIENCE: Duration = Duration::from_secs(30);

/// How long a test waits for a token that must not be entered.
const AFTERWARDS: Duration = Duration::from_millis(300);

/// How many tokens of a purpose were entered for a user.
pub async fn mailed_tokens(database: &TestDatabase, user_id: &str, purpose: &str) -> i64 {
    sqlx::query_scalar("select count(*) from mailed_tokens where user_id = $1 and purpose = $2")
        .bind(user_id)
        .bind(purpose)
        .fetch_one(&database.pool)
        .await
        .unwrap()
}

/// Waits until so many tokens of a purpose were entered for a user, and checks that no more follow.
pub async fn mailed_tokens_come_to(
    database: &TestDatabase,
    user_id: &str,
    purpose: &str,
    expected: i64,
) {
    let began = Instant::now();
    while mailed_tokens(database, user_id, purpose).await < expected {
        assert!(
            began.elapsed() < PATIENCE,
            "fewer than {expected} tokens for {purpose} of {user_id}"
        );
        sleep(Duration::from_millis(50)).await;
    }
    sleep(AFTERWARDS).await;
    assert_eq!(mailed_tokens(database, user_id, purpose).await, expected, "{purpose} of {user_id}");
}

/// Issues a token as the sender of its mail does: gives it a text, and lets it be good for so many seconds. Waits until
/// there is a token of that purpose for the user that was not issued yet; of several, the last one is issued.
pub async fn issue_token(
    database: &TestDatabase,
    user_id: &str,
    purpose: &str,
    seconds: f64,
) -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let token = format!("token_of_a_test-{}", COUNT.fetch_add(1, Ordering::Relaxed));
    let began = Instant::now();
    while !try_issuing(database, user_id, purpose, &token, seconds).await {
        assert!(began.elapsed() < PATIENCE, "no token to issue for {purpose} of {user_id}");
        sleep(Duration::from_millis(20)).await;
    }
    token
}

/// Whether there was a token to issue.
async fn try_issuing(
    database: &TestDatabase,
    user_id: &str,
    purpose: &str,
    token: &str,
    seconds: f64,
) -> bool {
    let issued = sqlx::query(
        "update mailed_tokens set token_hash = sha256(convert_to($1, 'UTF8')),
             expires_at = clock_timestamp() + make_interval(secs => $4)
         where id = (
             select id from mailed_tokens
             where user_id = $2 and purpose = $3 and token_hash is null
             order by created_at desc limit 1)",
    )
    .bind(token)
    .bind(user_id)
    .bind(purpose)
    .bind(seconds)
    .execute(&database.pool)
    .await
    .unwrap();
    issued.rows_affected() > 0
}
