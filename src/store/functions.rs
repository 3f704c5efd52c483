//! The database functions: their names, and the creation of those that are missing.
//!
//! Each function has a file of its own, `migrations/functions/<name>.sql`, in which a name in braces stands
//! for a function. In the database its name ends with a hash of its file, which covers the functions that it
//! calls. A changed function is therefore a new function, and servers of two releases on one database each
//! call their own.

use std::sync::LazyLock;

use sha2::{Digest, Sha256};
use sqlx::{Connection, Executor, PgConnection, Row};

use super::StoreError;
use crate::hang;

/// Every file of `migrations/functions`, as `(name, statement)`.
const FILES: &[(&str, &str)] = &include!(concat!(env!("OUT_DIR"), "/functions.rs"));

static FUNCTIONS: LazyLock<Vec<DatabaseFunction>> = LazyLock::new(|| resolve(FILES));

/// A database function of one release.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DatabaseFunction {
    /// The name of its file.
    pub base: &'static str,
    /// Its name in the database.
    pub name: String,
    /// The statement that creates it.
    sql: String,
}

/// Names functions, and orders them so that each comes after those that it calls. (Functions that call each
/// other in a circle are left out; a test checks that there are none.)
#[must_use]
pub fn resolve(files: &[(&'static str, &str)]) -> Vec<DatabaseFunction> {
    let mut functions: Vec<DatabaseFunction> = Vec::with_capacity(files.len());
    let mut waiting: Vec<(&'static str, String)> =
        files.iter().map(|(base, sql)| (*base, (*sql).to_owned())).collect();
    while !waiting.is_empty() {
        let names: Vec<&str> = waiting.iter().map(|(base, _)| *base).collect();
        let is_ready = |(base, sql): &mut (&'static str, String)| {
            names.iter().all(|name| name == base || !sql.contains(&placeholder(name)))
        };
        let ready: Vec<_> = waiting.extract_if(.., is_ready).collect();
        if ready.is_empty() {
            break;
        }
        for (base, sql) in ready {
            let digest = Sha256::digest(&sql);
            let hash = u32::from_be_bytes([digest[0], digest[1], digest[2], digest[3]]);
            let name = format!("{base}_{hash:08x}");
            let sql = sql.replace(&placeholder(base), &name);
            for (_, caller) in &mut waiting {
                *caller = caller.replace(&placeholder(base), &name);
            }
            functions.push(DatabaseFunction { base, name, sql });
        }
    }
    functions
}

fn placeholder(base: &str) -> String {
    format!("{{{base}}}")
}

/// Every function of this release as in its file: its name, and the statement with names in braces.
#[must_use]
pub fn files() -> &'static [(&'static str, &'static str)] {
    FILES
}

/// The functions of this release.
#[must_use]
pub fn all() -> &'static [DatabaseFunction] {
    &FUNCTIONS
}

/// The name in the database of a function of this release. (Empty for a function that does not exist, so that
/// the call fails instead of the process; every call is tested.)
#[must_use]
pub fn name(base: &str) -> &'static str {
    FUNCTIONS.iter().find(|function| function.base == base).map_or("", |function| &function.name)
}

/// A statement in which names in braces stand for functions.
#[must_use]
pub(crate) fn statement(template: &str) -> String {
    let replaced = |sql: String, function: &DatabaseFunction| {
        sql.replace(&placeholder(function.base), &function.name)
    };
    FUNCTIONS.iter().fold(template.to_owned(), replaced)
}

/// Creates the functions that do not exist. Several servers may do this at once.
///
/// # Errors
/// [`StoreError`] if one is missing and cannot be created.
pub async fn create_missing(
    connection: &mut PgConnection,
    functions: &[DatabaseFunction],
) -> Result<(), StoreError> {
    if missing(connection, functions).await?.is_empty() {
        return Ok(());
    }
    let mut transaction = connection.begin().await?;
    lock(&mut transaction).await?;
    hang::point("functions.creating");
    for function in missing(&mut transaction, functions).await? {
        transaction.execute(sqlx::raw_sql(&function.sql)).await?;
        sqlx::query(
            "insert into database_functions (name, created_at) values ($1, now()) \
             on conflict (name) do nothing",
        )
        .bind(&function.name)
        .execute(&mut *transaction)
        .await?;
    }
    transaction.commit().await?;
    Ok(())
}

async fn missing<'a>(
    connection: &mut PgConnection,
    functions: &'a [DatabaseFunction],
) -> Result<Vec<&'a DatabaseFunction>, StoreError> {
    let names: Vec<&str> = functions.iter().map(|function| &*function.name).collect();
    let rows = sqlx::query(
        "select proname::text from pg_proc \
         where pronamespace = to_regnamespace(quote_ident(current_schema())) \
             and proname = any($1::text[])",
    )
    .bind(names)
    .fetch_all(connection)
    .await?;
    let known: Vec<String> = rows.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>()?;
    Ok(functions.iter().filter(|function| !known.contains(&function.name)).collect())
}

/// Serializes the creation and dropping of functions until the end of the transaction.
async fn lock(transaction: &mut PgConnection) -> Result<(), StoreError> {
    sqlx::query(
        "select pg_advisory_xact_lock(\
             hashtextextended('tributary functions ' || current_schema(), 0))",
    )
    .execute(transaction)
    .await?;
    Ok(())
}

/// The key of the lock that a server holds while it uses the function `name`.
const IN_USE: &str =
    "hashtextextended('tributary function ' || current_schema() || ' ' || name, 0)";

/// Marks the functions of this release as in use for as long as the connection lasts.
///
/// # Errors
/// [`StoreError`] if the database fails.
pub async fn hold(executor: impl sqlx::PgExecutor<'_>) -> Result<(), StoreError> {
    let names: Vec<&str> = all().iter().map(|function| &*function.name).collect();
    let hold = format!("select pg_advisory_lock_shared({IN_USE}) from unnest($1) as name");
    sqlx::query(&hold).bind(names).execute(executor).await?;
    Ok(())
}

/// Drops the functions of other releases that no server uses. Returns for each whether it was dropped.
///
/// # Errors
/// [`StoreError`] if one cannot be dropped.
pub async fn prune(connection: &mut PgConnection) -> Result<Vec<(String, bool)>, StoreError> {
    prune_except(connection, all()).await
}

/// Drops all functions but these, except those that a server uses. Returns for each whether it was dropped.
///
/// # Errors
/// [`StoreError`] if one cannot be dropped.
pub async fn prune_except(
    connection: &mut PgConnection,
    known: &[DatabaseFunction],
) -> Result<Vec<(String, bool)>, StoreError> {
    let known: Vec<&str> = known.iter().map(|function| &*function.name).collect();
    let mut transaction = connection.begin().await?;
    lock(&mut transaction).await?;
    let query = format!(
        "select name, pg_try_advisory_xact_lock({IN_USE}) from database_functions \
         where name <> all($1) order by name"
    );
    let rows = sqlx::query(&query).bind(known).fetch_all(&mut *transaction).await?;
    let mut outdated = Vec::with_capacity(rows.len());
    for row in rows {
        let (name, is_free): (String, bool) = (row.try_get(0)?, row.try_get(1)?);
        if is_free {
            // The names are generated here, so they need no quoting.
            let drop = format!("drop function if exists {name}");
            transaction.execute(drop.as_str()).await?;
            sqlx::query("delete from database_functions where name = $1")
                .bind(&name)
                .execute(&mut *transaction)
                .await?;
        }
        outdated.push((name, is_free));
    }
    transaction.commit().await?;
    Ok(outdated)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_is_a_function_with_a_name_and_no_placeholder_is_left() {
        assert_eq!(all().len(), FILES.len());
        for function in all() {
            assert!(function.sql.contains(&format!("create function {}(", function.name)));
            for (base, _) in FILES {
                assert!(!function.sql.contains(&placeholder(base)), "{}", function.name);
            }
        }
    }

    #[test]
    fn a_function_that_calls_another_has_the_content_of_the_other_in_its_name() {
        let named = |inner: &'static str| {
            let files =
                [("outer", "create {outer} calls {inner}"), ("inner", inner), ("own", "{own}")];
            let functions = resolve(&files);
            let name = |base| {
                let found = functions.iter().find(|function| function.base == base);
                found.map(|function| function.name.clone()).unwrap_or_default()
            };
            [name("outer"), name("inner"), name("own")]
        };
        let (before, after) = (named("create {inner} as 1"), named("create {inner} as 2"));
        assert_ne!(before[0], after[0]);
        assert_ne!(before[1], after[1]);
        assert_eq!(before[2], after[2]);
        assert_eq!(before, named("create {inner} as 1"));
    }

    #[test]
    fn functions_that_call_each_other_in_a_circle_have_no_name() {
        assert_eq!(resolve(&[("one", "{one} {two}"), ("two", "{two} {one}")]), []);
    }
}
