//! Sessions: what the log says of them. Their rows are outside the log; only their ends are events, so that every
//! server hears of them.

use serde::{Deserialize, Serialize};

use super::ids::{LONG, identifier};

identifier!(
    /// The id of a session: of one login of a person.
    SessionId, LONG
);

/// Which sessions of a user ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum SessionsEnded {
    /// These sessions.
    These(Vec<SessionId>),
    /// All that had begun, but these.
    AllBut(Vec<SessionId>),
}

impl SessionsEnded {
    /// All sessions that had begun. The user's API keys end with them, because whoever ends all sessions does not know
    /// who else has credentials of the account.
    pub const ALL: Self = Self::AllBut(Vec::new());
}
