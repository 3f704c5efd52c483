//! `AccountService`: users.

mod erasure;
mod export;
mod find;
mod login;
mod password;
mod registration;
mod sessions;
mod status;
mod users;

use crate::api::Context;
use crate::api::permissions::{Callers, Rule, Subject, row};

/// Who may call what of the service, and whose data it is: one row per RPC.
pub(super) const RULES: &[Rule] = {
    use Callers::{Anyone, BackEnds, SignedIn};
    use Subject::{None, User};
    &[
        // A caller without a key must not take an id that a back end will give to its own user.
        Rule {
            back_ends_set: Some("user_id"),
            ..row("AccountService", "RegisterUser", Anyone, None)
        },
        row("AccountService", "Login", Anyone, None),
        row("AccountService", "RefreshSession", Anyone, None),
        row("AccountService", "ListSessions", SignedIn, User("user_id")),
        row("AccountService", "Logout", SignedIn, User("user_id")),
        row("AccountService", "ChangePassword", SignedIn, None),
        row("AccountService", "GetUser", SignedIn, User("user_id")),
        row("AccountService", "FindUser", BackEnds, None),
        row("AccountService", "ListUsers", BackEnds, None),
        row("AccountService", "DeactivateUser", BackEnds, User("user_id")),
        row("AccountService", "ReactivateUser", BackEnds, User("user_id")),
        row("AccountService", "EraseUser", SignedIn, User("user_id")),
        row("AccountService", "ExportUser", SignedIn, User("user_id")),
    ]
};

pub(super) struct Handlers(pub(super) Context);
