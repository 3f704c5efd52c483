//! Watches that the database has every table and function that the server needs, so that a server without them
//! reports that it is not ready instead of failing one call after the other.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::read::models::{self, Purpose};
use crate::store::{Database, Epoch, StoreError, epoch, functions, in_time, schema};

/// How often the schema is examined. It costs the database two queries on its catalog.
const INTERVAL: Duration = Duration::from_secs(2);

/// What is missing in the database, in words; `None` if nothing is. Cheap to clone.
pub(super) type MissingParts = watch::Receiver<Option<Arc<str>>>;

/// Looks for missing tables and functions, and creates missing functions.
pub(super) struct SchemaWatch {
    database: Database,
    epoch: Epoch,
    tables: Vec<String>,
    missing: watch::Sender<Option<Arc<str>>>,
}

impl SchemaWatch {
    pub(super) fn new(database: Database, epoch: Epoch) -> (Self, MissingParts) {
        let copies = models::copies(Purpose::Serve).into_iter().map(|copy| copy.table);
        let tables = schema::TABLES.iter().map(|table| (*table).to_owned()).chain(copies).collect();
        let (missing, parts) = watch::channel(None);
        (Self { database, epoch, tables, missing }, parts)
    }

    /// Runs until `stop` is cancelled. Fails if the log was replaced, because everything in memory is then
    /// about another one.
    pub(super) async fn run(self, stop: CancellationToken) -> Result<(), StoreError> {
        let watching = async {
            loop {
                tokio::time::sleep(INTERVAL).await;
                match in_time(self.examine()).await {
                    Ok(missing) => self.report(missing),
                    Err(StoreError::Elsewhere) => return StoreError::Elsewhere,
                    // Others notice that the database is away.
                    Err(error) => tracing::debug!(%error, "the schema cannot be examined"),
                }
            }
        };
        stop.run_until_cancelled(watching).await.map_or(Ok(()), Err)
    }

    /// What is missing. Functions that are missing are created, if the role may do that.
    async fn examine(&self) -> Result<Option<String>, StoreError> {
        let mut connection = self.database.pool().acquire().await?;
        if !epoch::has_same_log(&mut connection, self.epoch).await? {
            return Err(StoreError::Elsewhere);
        }
        let tables: Vec<&str> = self.tables.iter().map(String::as_str).collect();
        let functions = functions::all();
        let missing = schema::missing(&mut connection, &tables, functions).await?;
        if missing.has_functions() {
            match functions::create_missing(&mut connection, functions).await {
                Ok(()) => tracing::warn!("database functions were missing and were created again"),
                Err(error) => tracing::debug!(%error, "missing functions cannot be created"),
            }
        }
        Ok(missing.in_words())
    }

    fn report(&self, missing: Option<String>) {
        self.missing.send_if_modified(|known| {
            let is_news = known.as_deref() != missing.as_deref();
            if is_news {
                if let Some(missing) = &missing {
                    tracing::error!("the database is incomplete: {missing}");
                } else {
                    tracing::info!("the database is complete again");
                }
                *known = missing.map(Arc::from);
            }
            is_news
        });
    }
}
