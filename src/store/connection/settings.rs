//! What is set on every connection.

use sqlx::{Executor, PgConnection, Row};

use super::Unsuitable;

/// The first version of Postgres that will do, as in `server_version_num`.
pub(super) const LEAST_VERSION: u32 = 150_000;
/// The first version with the setting `transaction_timeout`.
const VERSION_WITH_TRANSACTION_TIMEOUT: u32 = 170_000;

/// Limits, so that a process that hangs does not keep locks or sessions (see [`holders`](crate::store::holders)). A
/// role or a database may have others for other programs. The URL may set them.
/// - a statement takes as long as it takes, as for a rebuild, and ends when its client has closed the connection;
/// - a statement waits for a lock for at most 5 seconds, less than callers wait for an answer, so that no attempt
///   leaves a waiting session behind;
/// - a transaction may be idle for 3 seconds, so that a stopped process cannot keep its locks;
/// - a connection ends if the other side has not acknowledged anything for some 10 to 25 seconds.
const DEFAULTS: [(&str, &str); 9] = [
    ("statement_timeout", "0"),
    ("client_connection_check_interval", "2s"),
    ("lock_timeout", "5s"),
    ("idle_in_transaction_session_timeout", "3s"),
    ("idle_session_timeout", "0"),
    ("tcp_keepalives_idle", "10"),
    ("tcp_keepalives_interval", "5"),
    ("tcp_keepalives_count", "3"),
    ("tcp_user_timeout", "10s"),
];

/// What statements rely on. Nobody may set it otherwise.
const REQUIRED: [(&str, &str); 12] = [
    // The append reads the head of the log after it has waited for its lock.
    ("default_transaction_isolation", "read committed"),
    // How values are written and read.
    ("client_encoding", "UTF8"),
    ("DateStyle", "ISO, MDY"),
    ("IntervalStyle", "postgres"),
    ("TimeZone", "UTC"),
    ("bytea_output", "hex"),
    ("extra_float_digits", "1"),
    // What the text of a statement means.
    ("standard_conforming_strings", "on"),
    ("transform_null_equals", "off"),
    ("array_nulls", "on"),
    // The queries look rows up by key. Plans are kept for the life of a connection, and may have been made
    // while the tables were still empty.
    ("enable_seqscan", "off"),
    ("jit", "off"),
];

/// The statement that sets everything: the defaults, what the URL sets, and what is required. It also returns
/// whether the database is a standby.
pub(super) fn statement(of_url: &[(String, String)]) -> String {
    let of_url = of_url.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    let settings = DEFAULTS.into_iter().chain(of_url).chain(REQUIRED);
    let calls: String = settings.map(|(name, value)| set(name, value) + ", ").collect();
    format!("select {calls}pg_catalog.pg_is_in_recovery() as is_standby")
}

fn set(name: &str, value: &str) -> String {
    format!("pg_catalog.set_config({}, {}, false)", literal(name), literal(value))
}

/// A text as a literal that means the same whatever `standard_conforming_strings` is.
fn literal(text: &str) -> String {
    format!("E'{}'", text.replace('\\', "\\\\").replace('\'', "''"))
}

/// Sets everything on a new connection. Fails if the connection leads to a database that can never be of use.
pub(super) async fn prepare(
    connection: &mut PgConnection,
    statement: &str,
) -> Result<(), sqlx::Error> {
    let version = connection.server_version_num();
    check_version(version).map_err(Unsuitable::into_error)?;
    // A plain query, not a prepared statement, which some poolers lose.
    let row = connection.fetch_one(sqlx::raw_sql(statement)).await?;
    if row.try_get("is_standby")? {
        return Err(Unsuitable::Standby.into_error());
    }
    if version.is_some_and(|version| version >= VERSION_WITH_TRANSACTION_TIMEOUT) {
        let unlimited = format!("select {}", set("transaction_timeout", "0"));
        connection.execute(sqlx::raw_sql(&unlimited)).await?;
    }
    Ok(())
}

fn check_version(version: Option<u32>) -> Result<(), Unsuitable> {
    match version {
        Some(version) if version < LEAST_VERSION => Err(Unsuitable::Version(version / 10_000)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::{check_version, literal, statement};

    #[test]
    fn what_the_url_sets_overrides_defaults_and_never_what_is_required() {
        let of_url = [("lock_timeout", "1s"), ("TimeZone", "Asia/Kolkata")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()));
        let statement = statement(&of_url);
        let last = |name: &str| {
            let call = format!("set_config(E'{name}', E'");
            statement.rsplit_once(&call).and_then(|(_, rest)| rest.split('\'').next())
        };
        assert_eq!(last("lock_timeout"), Some("1s"));
        assert_eq!(last("TimeZone"), Some("UTC"));
        assert_eq!(last("default_transaction_isolation"), Some("read committed"));
    }

    #[test]
    fn a_literal_holds_quotes_and_backslashes() {
        assert_eq!(literal(r"it's \ here"), r"E'it''s \\ here'");
    }

    #[test]
    fn postgres_15_is_the_first_version_that_will_do() {
        assert!(check_version(Some(150_000)).is_ok());
        assert!(check_version(Some(180_001)).is_ok());
        // Not every pooler says which version is behind it.
        assert!(check_version(None).is_ok());
        let refused = check_version(Some(140_012)).map_err(|error| error.to_string());
        assert!(refused.is_err_and(|error| error.contains("version 14") && error.contains("15")));
    }
}
