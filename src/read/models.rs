//! The list of read models, and the tables that hold copies of them.

use std::sync::LazyLock;

use sha2::{Digest, Sha256};
use sqlx::{Connection, Executor, PgConnection, Row};

use crate::store::{StoreError, with_missing_rights};

/// Every folder of `projections/`, as `(name, table.sql, fold.sql)`.
const FOLDERS: &[(&str, &str, &str)] = &include!(concat!(env!("OUT_DIR"), "/models.rs"));

/// The placeholder for the table's name in the two files.
const PLACEHOLDER: &str = "{table}";

/// The purpose of a copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Answers reads; the projector keeps it at the head of the log.
    Serve,
    /// Will replace the copy that serves.
    Rebuild,
    /// Is only compared.
    Verify,
}

/// One table that a read model is folded into.
#[derive(Clone, Debug)]
pub struct ModelCopy {
    /// The read model: the name of its folder.
    pub model: &'static str,
    /// The table. Its name contains a hash of the model's two files, so that a changed shape or fold gets a
    /// new table.
    pub table: String,
    /// The statements that create the table.
    table_sql: String,
    /// The statement that folds the events of `$1 < position <= $2` into the table.
    pub(super) fold: String,
}

impl ModelCopy {
    fn new(folder: &(&'static str, &'static str, &'static str), purpose: Purpose) -> Self {
        let &(model, table_sql, fold_sql) = folder;
        let digest = Sha256::new().chain_update(table_sql).chain_update([0]).chain_update(fold_sql);
        let digest = digest.finalize();
        let hash = u32::from_be_bytes([digest[0], digest[1], digest[2], digest[3]]);
        let suffix = match purpose {
            Purpose::Serve => "",
            Purpose::Rebuild => "_rebuild",
            Purpose::Verify => "_verify",
        };
        let table = format!("{model}_{hash:08x}{suffix}");
        let fold = fold_sql.replace(PLACEHOLDER, &table);
        let mut table_sql = table_sql.replace(PLACEHOLDER, &table);
        if purpose == Purpose::Verify {
            // It is dropped soon and need not survive a crash.
            table_sql = table_sql.replacen("create table", "create unlogged table", 1);
        }
        Self { model, table, table_sql, fold }
    }

    /// Creates the table, unless it exists; an existing copy continues from its position.
    ///
    /// # Errors
    /// [`StoreError`] if it cannot be created.
    pub async fn create(&self, connection: &mut PgConnection) -> Result<(), StoreError> {
        match self.create_missing(connection).await {
            Ok(()) => Ok(()),
            Err(error) => Err(with_missing_rights(connection, error).await),
        }
    }

    async fn create_missing(&self, connection: &mut PgConnection) -> Result<(), StoreError> {
        if is_known(connection, &self.table).await? {
            return Ok(());
        }
        let mut transaction = connection.begin().await?;
        // Several servers may start at once.
        sqlx::query(
            "select pg_advisory_xact_lock(\
                 hashtextextended('tributary read models ' || current_schema(), 0))",
        )
        .execute(&mut *transaction)
        .await?;
        if !is_known(&mut transaction, &self.table).await? {
            // If the table or its registration was removed by hand, the other is removed as well.
            let remove = format!("drop table if exists {}", self.table);
            transaction.execute(remove.as_str()).await?;
            sqlx::query("delete from read_model_copies where copy = $1")
                .bind(&self.table)
                .execute(&mut *transaction)
                .await?;
            transaction.execute(sqlx::raw_sql(&self.table_sql)).await?;
            // On an empty log the copy is complete at once.
            sqlx::query(
                "with copy as (\
                     insert into read_model_copies (copy, name, is_complete) \
                     values ($1, $2, not exists (select from events))\
                 ) insert into checkpoints (copy, position, folded_at) values ($1, 0, now())",
            )
            .bind(&self.table)
            .bind(self.model)
            .execute(&mut *transaction)
            .await?;
        }
        transaction.commit().await?;
        Ok(())
    }

    /// Drops the table and its checkpoint.
    ///
    /// # Errors
    /// [`StoreError`] if it cannot be dropped.
    pub async fn drop(&self, connection: &mut PgConnection) -> Result<(), StoreError> {
        drop_copy(connection, &self.table).await
    }
}

/// Drops a copy of any release.
///
/// # Errors
/// [`StoreError`] if it cannot be dropped.
pub async fn drop_copy(connection: &mut PgConnection, table: &str) -> Result<(), StoreError> {
    let mut transaction = connection.begin().await?;
    sqlx::query(&format!("drop table if exists {table}")).execute(&mut *transaction).await?;
    sqlx::query("delete from read_model_copies where copy = $1")
        .bind(table)
        .execute(&mut *transaction)
        .await?;
    transaction.commit().await?;
    Ok(())
}

async fn is_known(connection: &mut PgConnection, table: &str) -> Result<bool, StoreError> {
    let query = "select to_regclass($1) is not null \
                 and exists (select from read_model_copies where copy = $1)";
    let row = sqlx::query(query).bind(table).fetch_one(connection).await?;
    Ok(row.try_get(0)?)
}

/// A copy of every read model, by name.
#[must_use]
pub fn copies(purpose: Purpose) -> Vec<ModelCopy> {
    FOLDERS.iter().map(|folder| ModelCopy::new(folder, purpose)).collect()
}

/// The names of all read models, in order.
#[must_use]
pub fn names() -> Vec<&'static str> {
    FOLDERS.iter().map(|folder| folder.0).collect()
}

/// The table that serves a model, for queries. (Empty for a model that does not exist, so that the query
/// fails instead of the process; every query is tested.)
pub(super) fn table(model: &str) -> &'static str {
    static SERVING: LazyLock<Vec<ModelCopy>> = LazyLock::new(|| copies(Purpose::Serve));
    SERVING.iter().find(|copy| copy.model == model).map_or("", |copy| &copy.table)
}
