//! Who makes a call.

use std::borrow::Cow;
use std::sync::Arc;

use crate::store::Actor;
use domain::UserId;

/// What somebody may do, on top of what everybody may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Everything.
    Admin,
    /// Everything but keys and roles.
    Operator,
    /// A back end that acts for its users.
    Service,
    /// Only for themselves.
    User,
}

impl Role {
    /// The role in lower case, as the contract writes it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::Operator => "operator",
            Self::Service => "service",
            Self::User => "user",
        }
    }
}

/// Who makes a call. Travels with the request, among its extensions, from authentication to the handler.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Principal {
    /// Somebody without credentials.
    Anonymous,
    /// A person who has logged in.
    User {
        /// Who it is.
        user_id: UserId,
        /// Since which login.
        session_id: Arc<str>,
        /// What they may do.
        role: Role,
    },
    /// The holder of a key.
    Key {
        /// Which key. That of the settings has no id.
        id: Option<Arc<str>>,
        /// What it may do.
        role: Role,
        /// Whose key it is, where it is one user's.
        user_id: Option<UserId>,
    },
}

impl Principal {
    /// The holder of the admin key of the settings.
    pub const ADMIN_KEY: Self = Self::Key { id: None, role: Role::Admin, user_id: None };

    /// The role; none without credentials.
    #[must_use]
    pub fn role(&self) -> Option<Role> {
        match self {
            Self::Anonymous => None,
            Self::User { role, .. } | Self::Key { role, .. } => Some(*role),
        }
    }

    /// Whether the caller acts for all users.
    #[must_use]
    pub fn is_back_end(&self) -> bool {
        matches!(self.role(), Some(Role::Admin | Role::Operator | Role::Service))
    }

    /// The user that the caller is; none for back ends and without credentials.
    #[must_use]
    pub fn user_id(&self) -> Option<&UserId> {
        match self {
            Self::User { user_id, role: Role::User, .. }
            | Self::Key { user_id: Some(user_id), role: Role::User, .. } => Some(user_id),
            _ => None,
        }
    }

    /// Tells the caller from all others: request ids and the number of streams are counted by it. All holders
    /// of the admin key are one, and so are all sessions of a user.
    #[must_use]
    pub fn scope(&self) -> Cow<'static, str> {
        match self {
            Self::Anonymous => "anonymous".into(),
            Self::User { user_id, .. } => format!("user:{user_id}").into(),
            Self::Key { id: Some(id), .. } => format!("key:{id}").into(),
            Self::Key { id: None, role, .. } => role.as_str().into(),
        }
    }

    /// The caller as the log names them.
    #[must_use]
    pub fn actor(&self) -> Actor {
        match self {
            Self::Anonymous => Actor::ANONYMOUS,
            Self::User { user_id, .. } => Actor::user(user_id),
            Self::Key { id: None, role: Role::Admin, .. } => Actor::ADMIN_KEY,
            Self::Key { id, role, .. } => Actor::key(role.as_str(), id.as_deref()),
        }
    }
}
