//! Who is an operator or an admin. There are few of them, so each server keeps all of them in memory.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use crate::store::{Database, RecordedEvent, StoreError, api_keys};
use domain::{AnyEvent, UserEvent, UserRole};

/// The people whose role is more than participant. Cheap to clone.
#[derive(Clone, Default)]
pub struct Staff {
    roles: Arc<RwLock<HashMap<String, UserRole>>>,
}

impl Staff {
    /// Reads who they are at present.
    ///
    /// # Errors
    /// [`StoreError`] if the database cannot be read.
    pub(super) async fn load(&self, database: &Database) -> Result<(), StoreError> {
        let loaded = api_keys::staff(database.pool()).await?;
        let mut roles = self.roles.write().unwrap_or_else(PoisonError::into_inner);
        *roles = loaded.into_iter().collect();
        Ok(())
    }

    /// Takes in an event of the log.
    ///
    /// # Errors
    /// [`StoreError`] if the event cannot be read.
    pub(super) fn enter(&self, event: &RecordedEvent) -> Result<(), StoreError> {
        if &*event.event_type != "UserRoleChanged" {
            return Ok(());
        }
        let Some(AnyEvent::User(UserEvent::UserRoleChanged(changed))) = event.read_if_known()?
        else {
            return Ok(());
        };
        self.learn(&event.stream.id, changed.role);
        Ok(())
    }

    /// Learns of a change that this server made, before the log tells.
    pub fn learn(&self, user_id: &str, role: UserRole) {
        let mut roles = self.roles.write().unwrap_or_else(PoisonError::into_inner);
        match role {
            UserRole::Participant => roles.remove(user_id),
            role => roles.insert(user_id.to_owned(), role),
        };
    }

    /// Whether a user is an operator or an admin.
    #[must_use]
    pub fn includes(&self, user_id: &str) -> bool {
        self.role_of(user_id) != UserRole::Participant
    }

    /// Whether there are any.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.roles.read().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    /// The role of a user.
    #[must_use]
    pub fn role_of(&self, user_id: &str) -> UserRole {
        let roles = self.roles.read().unwrap_or_else(PoisonError::into_inner);
        roles.get(user_id).copied().unwrap_or_default()
    }
}
