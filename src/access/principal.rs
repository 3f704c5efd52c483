//! Who makes a call.

use std::borrow::Cow;
use std::sync::Arc;

use crate::store::Actor;
use domain::{ApiKeyId, KeyMaker, ProgramId, Staff, UserId};

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

    /// The role of this name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        [Self::Admin, Self::Operator, Self::Service, Self::User]
            .into_iter()
            .find(|role| role.as_str() == name)
    }
}

/// What a key is limited to, besides its role.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyLimits {
    /// RPCs, and sets of RPCs, by their names; `None` is all.
    pub rpcs: Option<Vec<String>>,
    /// Programs, sorted; `None` is all.
    pub program_ids: Option<Vec<ProgramId>>,
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
        /// What the key is limited to; `None` if it is not limited.
        limits: Option<Arc<KeyLimits>>,
    },
}

impl Principal {
    /// The holder of the admin key of the settings.
    pub const ADMIN_KEY: Self =
        Self::Key { id: None, role: Role::Admin, user_id: None, limits: None };

    /// The role; none without credentials.
    #[must_use]
    pub fn role(&self) -> Option<Role> {
        match self {
            Self::Anonymous => None,
            Self::User { role, .. } | Self::Key { role, .. } => Some(*role),
        }
    }

    /// What the key of the caller is limited to; `None` without limits.
    #[must_use]
    pub fn limits(&self) -> Option<&KeyLimits> {
        match self {
            Self::Key { limits, .. } => limits.as_deref(),
            Self::Anonymous | Self::User { .. } => None,
        }
    }

    /// The programs that a purchase by the caller counts in; `None` is all.
    #[must_use]
    pub fn program_ids(&self) -> Option<&[ProgramId]> {
        self.limits()?.program_ids.as_deref()
    }

    /// Whether the caller acts for all users.
    #[must_use]
    pub fn is_back_end(&self) -> bool {
        matches!(self.role(), Some(Role::Admin | Role::Operator | Role::Service))
    }

    /// Whether the caller is an operator, or may do what operators do.
    #[must_use]
    pub fn is_operator(&self) -> bool {
        matches!(self.role(), Some(Role::Admin | Role::Operator))
    }

    /// The username of another user, if the caller may see it. People log in by it, so users see the name that
    /// others chose to be shown, and no username but of those whom they referred.
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

    /// The person who has logged in, whatever their role.
    #[must_use]
    pub fn person_id(&self) -> Option<&UserId> {
        match self {
            Self::User { user_id, .. } => Some(user_id),
            Self::Anonymous | Self::Key { .. } => None,
        }
    }

    /// The caller as staff: as who asks for something, or decides.
    #[must_use]
    pub fn staff(&self) -> Staff {
        match self {
            Self::Anonymous => Staff::default(),
            Self::User { user_id, .. } => Staff { user_id: Some(user_id.clone()), key_id: None },
            Self::Key { id, .. } => {
                let key_id = id.as_deref().and_then(|id| ApiKeyId::parse(id).ok());
                Staff { user_id: None, key_id }
            }
        }
    }

    /// The caller as what creates a key, if a key does.
    #[must_use]
    pub fn key_maker(&self) -> Option<KeyMaker> {
        match self {
            Self::Anonymous | Self::User { .. } => None,
            Self::Key { .. } => Some(match self.staff().key_id {
                Some(key_id) => KeyMaker::Key { key_id },
                None => KeyMaker::Settings,
            }),
        }
    }

    /// The scope of request ids. All keys of back ends have one scope, so that a back end whose key was replaced
    /// between two attempts repeats nothing; its name is that of the first such key, whose receipts stay good. All
    /// sessions and keys of a user have one scope, too.
    #[must_use]
    pub fn scope(&self) -> Cow<'static, str> {
        match self {
            Self::Anonymous => "anonymous".into(),
            Self::User { user_id, .. }
            | Self::Key { user_id: Some(user_id), role: Role::User, .. } => {
                format!("user:{user_id}").into()
            }
            // A key of a user that belongs to nobody, which cannot be created.
            Self::Key { id, role: Role::User, .. } => {
                format!("key:{}", id.as_deref().unwrap_or_default()).into()
            }
            Self::Key { .. } => Role::Admin.as_str().into(),
        }
    }

    /// The caller in limits on what one caller may hold: each key counts by itself, and all sessions of a user count
    /// as one.
    #[must_use]
    pub fn quota(&self) -> Cow<'static, str> {
        match self {
            Self::Key { id: Some(id), .. } => format!("key:{id}").into(),
            _ => self.scope(),
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
