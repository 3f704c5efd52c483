//! Who makes a call.

use std::borrow::Cow;
use std::sync::Arc;

use crate::store::Actor;
use domain::UserId;

/// What a caller may do beyond what everybody may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Everything.
    Admin,
    /// Everything but keys and roles.
    Operator,
    /// A back end that acts for its users.
    Service,
    /// A user, only for themselves.
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

/// Who makes a call. Passed among the extensions of the request from authentication to the handler.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Principal {
    /// A caller without credentials.
    Anonymous,
    /// A person who has logged in.
    User {
        /// The user.
        user_id: UserId,
        /// The session of the login.
        session_id: Arc<str>,
        /// The user's role.
        role: Role,
    },
    /// The holder of a key.
    Key {
        /// The key's id; the admin key of the settings has none.
        id: Option<Arc<str>>,
        /// The key's role.
        role: Role,
        /// The user whom the key belongs to, if it belongs to one.
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

    /// The username of another user, if the caller may see it. People log in by it, so users see the name that
    /// others chose to be shown, and no username.
    #[must_use]
    pub fn sees_username(&self, username: &str) -> Option<String> {
        self.is_back_end().then(|| username.into())
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

    /// Identifies the caller: request ids and the limit on streams are scoped by it. All holders of the admin
    /// key count as one caller, and so do all sessions of a user.
    #[must_use]
    pub fn scope(&self) -> Cow<'static, str> {
        match self {
            Self::Anonymous => "anonymous".into(),
            Self::User { user_id, .. } => format!("user:{user_id}").into(),
            Self::Key { id: Some(id), .. } => format!("key:{id}").into(),
            Self::Key { id: None, role, .. } => role.as_str().into(),
        }
    }

    /// The caller, in the form in which the log records it.
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
