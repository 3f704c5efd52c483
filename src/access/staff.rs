//! Who is an operator or an admin. There are few of them, so each server keeps all of them in memory.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use crate::store::{RecordedEvent, StoreError};
use domain::{AnyEvent, UserEvent, UserId, UserRole};

/// The people whose role is more than participant. Cheap to clone.
#[derive(Clone, Default)]
pub struct Staff {
    roles: Arc<RwLock<HashMap<String, UserRole>>>,
}

impl Staff {
    /// Those who have these roles.
    pub(super) fn of(roles: Vec<(String, UserRole)>) -> Self {
        Self { roles: Arc::new(RwLock::new(roles.into_iter().collect())) }
    }

    /// Learns from an event of the log who has another role.
    ///
    /// # Errors
    /// [`StoreError`] if the event cannot be read.
    pub(super) fn learn(&self, event: &RecordedEvent) -> Result<(), StoreError> {
        if !matches!(&*event.event_type, "UserRoleChanged" | "UserErased") {
            return Ok(());
        }
        let role = match event.read_if_known()? {
            Some(AnyEvent::User(UserEvent::UserRoleChanged(changed))) => changed.role,
            Some(AnyEvent::User(UserEvent::UserErased(_))) => UserRole::Participant,
            _ => return Ok(()),
        };
        let mut roles = self.roles.write().unwrap_or_else(PoisonError::into_inner);
        match role {
            UserRole::Participant => roles.remove(&*event.stream.id),
            role => roles.insert(event.stream.id.to_string(), role),
        };
        Ok(())
    }

    /// Whether a user is an operator or an admin.
    #[must_use]
    pub fn includes(&self, user_id: &str) -> bool {
        self.role_of(user_id) != UserRole::Participant
    }

    /// The ids of operators and admins after one of them, in order, at most so many.
    #[must_use]
    pub fn after(&self, user_id: &str, limit: usize) -> Vec<UserId> {
        let roles = self.roles.read().unwrap_or_else(PoisonError::into_inner);
        let ids = roles.keys().filter(|id| id.as_str() > user_id);
        let mut ids: Vec<UserId> = ids.filter_map(|id| UserId::parse(id).ok()).collect();
        drop(roles);
        ids.sort_unstable();
        ids.truncate(limit);
        ids
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
