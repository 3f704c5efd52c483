//! `AccountService`: users.

pub(super) mod confirmation;
mod erasure;
mod evenly;
mod export;
mod find;
mod keys;
mod login;
mod mailed_tokens;
mod password;
pub(super) mod password_reset;
mod profile;
mod refused;
mod registration;
mod role;
mod second_factor;
mod sessions;
mod status;
mod users;
mod waiting;

use crate::api::Context;
use crate::api::errors::ApiError;
use crate::api::fields::Fields;
use crate::api::permissions::{Callers, InPrograms, Rule, Subject, row};

/// Who may call what of the service, and whose data it is: one row per RPC.
pub(super) const RULES: &[Rule] = {
    use Callers::{Admins, Anyone, BackEnds, Operators, People, SignedIn, UsersAndAdmins};
    use Subject::{Account, HolderOf, None, User};
    &[
        // A caller without a key must not take an id that a back end will give to its own user.
        Rule {
            back_ends_set: Some("user_id"),
            in_programs: InPrograms::Judged,
            ..row("AccountService", "RegisterUser", Anyone, None)
        },
        open("Login"),
        open("RefreshSession"),
        row("AccountService", "ListSessions", SignedIn, Account("user_id")),
        row("AccountService", "Logout", SignedIn, Account("user_id")),
        row("AccountService", "ChangePassword", People, None),
        row("AccountService", "GetUser", SignedIn, User("user_id")),
        row("AccountService", "FindUser", BackEnds, None),
        row("AccountService", "ListUsers", Operators, None),
        row("AccountService", "CreateApiKey", UsersAndAdmins, User("user_id")),
        row("AccountService", "ListApiKeys", UsersAndAdmins, User("user_id")),
        row("AccountService", "RevokeApiKey", UsersAndAdmins, HolderOf("key_id")),
        row("AccountService", "SetUserRole", Admins, User("user_id")),
        row("AccountService", "DeactivateUser", Operators, Account("user_id")),
        row("AccountService", "ReactivateUser", Operators, Account("user_id")),
        row("AccountService", "UpdateProfile", SignedIn, Account("user_id")),
        open("ConfirmEmail"),
        open("ResendConfirmation"),
        open("RequestPasswordReset"),
        open("ResetPassword"),
        row("AccountService", "EnrollSecondFactor", People, None),
        row("AccountService", "ConfirmSecondFactor", People, None),
        row("AccountService", "RemoveSecondFactor", SignedIn, Account("user_id")),
        Rule {
            fills_subject: false,
            ..row("AccountService", "EraseUser", SignedIn, Account("user_id"))
        },
        row("AccountService", "ExportUser", SignedIn, Account("user_id")),
    ]
};

/// The row of an RPC that anybody may call, also with a key that is limited to programs.
const fn open(rpc: &'static str) -> Rule {
    Rule {
        in_programs: InPrograms::Open,
        ..row("AccountService", rpc, Callers::Anyone, Subject::None)
    }
}

pub(super) struct Handlers(pub(super) Context);

/// The text that names an account, an address or a username.
fn login_of(fields: &mut Fields, login: &str) -> Result<String, ApiError> {
    let login = fields.login(login);
    Ok(std::mem::take(fields).finish(login)?)
}
