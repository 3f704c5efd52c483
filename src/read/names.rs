//! A cache of names for leaderboards, whose first pages are read again and again.

use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use lru::LruCache;
use sqlx::PgPool;
use tokio::time::Instant;

use crate::store::{ProfileNames, StoreError, in_time, profile_names_of};

/// How long a name is cached. Names are personal data: an erased name is not shown for longer than this.
const LIFETIME: Duration = Duration::from_secs(1);
/// The maximum number of cached names.
const MAX_NAMES: NonZeroUsize = NonZeroUsize::new(4_096).unwrap();

struct Known {
    names: Arc<ProfileNames>,
    read_at: Instant,
}

/// The names that were recently requested.
pub(super) struct Names(Mutex<LruCache<Arc<str>, Known>>);

impl Default for Names {
    fn default() -> Self {
        Self(Mutex::new(LruCache::new(MAX_NAMES)))
    }
}

impl Names {
    fn lock(&self) -> MutexGuard<'_, LruCache<Arc<str>, Known>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The names of some users. Those who do not exist or whose names were erased are missing.
    pub(super) async fn of(
        &self,
        pool: &PgPool,
        user_ids: &[Arc<str>],
    ) -> Result<HashMap<Arc<str>, Arc<ProfileNames>>, StoreError> {
        let mut found = HashMap::with_capacity(user_ids.len());
        // The lifetime is counted from before the read, so that no name is cached for too long.
        let now = Instant::now();
        let mut unknown: Vec<&str> = Vec::new();
        {
            let mut known = self.lock();
            for user_id in user_ids {
                match known.get(user_id).filter(|known| now - known.read_at < LIFETIME) {
                    Some(known) => {
                        found.insert(user_id.clone(), known.names.clone());
                    }
                    None => unknown.push(user_id),
                }
            }
        }
        if !unknown.is_empty() {
            let read = in_time(profile_names_of(pool, &unknown)).await?;
            let mut known = self.lock();
            for names in read {
                let (user_id, names): (Arc<str>, _) =
                    (names.user_id.as_str().into(), Arc::new(names));
                known.put(user_id.clone(), Known { names: names.clone(), read_at: now });
                found.insert(user_id, names);
            }
        }
        Ok(found)
    }
}
