//! Who may call what, and whose data it is: one row per RPC, in the table `RULES` of its service's folder. The
//! generated services check every call against the row of its RPC before the handler runs; an RPC without a row
//! does not compile.

use domain::UserId;

use super::pb::ErrorReason;
use crate::access::{KeyLimits, Principal, Role};
use crate::metrics::Rpc;

pub use super::services::SERVICES;
use super::services::TABLES;

/// Who may make a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Callers {
    /// Anybody, with or without credentials.
    Anyone,
    /// Anybody with credentials.
    SignedIn,
    /// People who have logged in, for themselves, whatever their role.
    People,
    /// Back ends acting for their users, operators and admins.
    BackEnds,
    /// Operators and admins.
    Operators,
    /// Admins.
    Admins,
    /// Users, for themselves, and admins.
    UsersAndAdmins,
}

impl Callers {
    /// Whether the caller is included.
    fn include(self, principal: &Principal) -> bool {
        match self {
            Self::Anyone => true,
            Self::SignedIn => principal.role().is_some(),
            Self::People => matches!(principal, Principal::User { .. }),
            Self::BackEnds => principal.is_back_end(),
            Self::Operators => matches!(principal.role(), Some(Role::Operator | Role::Admin)),
            Self::Admins => principal.role() == Some(Role::Admin),
            Self::UsersAndAdmins => matches!(principal.role(), Some(Role::User | Role::Admin)),
        }
    }
}

/// Whose data a call is about. (Which fields may be empty: see [`Rule::fills_subject`].) Users may name only
/// themselves, service keys nobody who is an operator or an admin, and operators and admins anybody, with the exception
/// of [`Subject::Account`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// No particular user's data.
    None,
    /// The data of the user whom this field names. A user may leave the field empty: it is filled with their
    /// own id.
    User(&'static str),
    /// The data of the user whom this field names. If the field is empty, the data of all users, which is for these
    /// callers only.
    UserOrEverybody(&'static str, Callers),
    /// As [`Subject::User`], and what the call changes is the account itself: operators may name only themselves and
    /// users who are neither operator nor admin.
    Account(&'static str),
    /// The answer contains more for callers who may read the user whom this field names; for others the field
    /// is emptied.
    UserIfReadable(&'static str),
    /// The data of the buyer of the purchase that this field names. Purchases of others are reported as
    /// unknown.
    BuyerOf(&'static str),
    /// The API key that this field names. Keys of others are reported as unknown to users.
    HolderOf(&'static str),
}

impl Subject {
    /// The field that names the subject.
    #[must_use]
    pub const fn field(self) -> Option<&'static str> {
        match self {
            Self::None => None,
            Self::User(field)
            | Self::UserOrEverybody(field, _)
            | Self::Account(field)
            | Self::UserIfReadable(field)
            | Self::BuyerOf(field)
            | Self::HolderOf(field) => Some(field),
        }
    }
}

/// What a key that is limited to programs may do with an RPC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InPrograms {
    /// Call it with the `program_id` of one of them. An RPC without this field is refused.
    Named,
    /// Call it with the `program_id` of one of them, or with none: the handler sees to it that the call is about these
    /// programs only.
    Judged,
    /// Call it as anybody may without a key. The RPC is about no program.
    Open,
}

/// The row of an RPC.
#[derive(Debug, PartialEq, Eq)]
pub struct Rule {
    /// The service, without its package.
    pub service: &'static str,
    /// The RPC.
    pub rpc: &'static str,
    /// Who may call it.
    pub callers: Callers,
    /// Whose data it is.
    pub subject: Subject,
    /// Whether a user who names no subject is the subject. What cannot be undone happens to nobody by an empty request.
    pub fills_subject: bool,
    /// A field that only back ends may set.
    pub back_ends_set: Option<&'static str>,
    /// What a key that is limited to programs may do with the RPC.
    pub in_programs: InPrograms,
}

/// The row of an RPC without a field that only back ends may set.
pub(super) const fn row(
    service: &'static str,
    rpc: &'static str,
    callers: Callers,
    subject: Subject,
) -> Rule {
    Rule {
        service,
        rpc,
        callers,
        subject,
        fills_subject: true,
        back_ends_set: None,
        in_programs: InPrograms::Named,
    }
}

/// Every row.
pub fn rules() -> impl Iterator<Item = &'static Rule> {
    TABLES.iter().copied().flatten()
}

/// The row of an RPC, in the table of its service. The request has text fields of these names. Evaluated at
/// compile time: a missing row or field does not compile.
pub(super) const fn rule_of(
    rules: &'static [Rule],
    service: &str,
    rpc: &str,
    fields: &[&str],
) -> &'static Rule {
    let mut index = 0;
    while index < rules.len() {
        let rule = &rules[index];
        if same(rule.service, service) && same(rule.rpc, rpc) {
            assert!(
                is_among(rule.subject.field(), fields),
                "the subject is no field of the request"
            );
            assert!(
                is_among(rule.back_ends_set, fields),
                "a field of the rule is not in the request"
            );
            return rule;
        }
        index += 1;
    }
    panic!("an RPC has no row in the permission table")
}

const fn is_among(field: Option<&str>, fields: &[&str]) -> bool {
    let Some(field) = field else { return true };
    let mut index = 0;
    while index < fields.len() {
        if same(fields[index], field) {
            return true;
        }
        index += 1;
    }
    false
}

const fn same(one: &str, other: &str) -> bool {
    let (one, other) = (one.as_bytes(), other.as_bytes());
    if one.len() != other.len() {
        return false;
    }
    let mut index = 0;
    while index < one.len() {
        if one[index] != other[index] {
            return false;
        }
        index += 1;
    }
    true
}

/// The text fields of a request by name.
pub trait TextFields {
    /// The field; `None` if the request has no such text field.
    fn text(&mut self, name: &str) -> Option<&mut String>;
}

/// A request whose text fields are known at compile time.
pub(super) trait NamedFields: TextFields {
    /// Their names.
    const NAMES: &'static [&'static str];
}

/// Why a call is rejected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Denied {
    /// There are no credentials, and the call needs some.
    MissingCredentials,
    /// The caller's role does not allow the call.
    Role(Role),
    /// The call is for people who have logged in, and a key of this role makes it.
    Login(Role),
    /// The caller's role needs the field, which is empty.
    Unnamed {
        /// The caller's role.
        role: Role,
        /// The field.
        field: &'static str,
    },
    /// The caller's role does not allow this in the field.
    Field {
        /// The caller's role.
        role: Role,
        /// The field.
        field: &'static str,
    },
    /// The key is limited, and the call is beyond the limit.
    Limit {
        /// The key's role.
        role: Role,
        /// The limit: `rpcs` or `program_ids`.
        limit: &'static str,
    },
    /// The key is limited to programs, and the call is about none.
    NoProgram {
        /// The key's role.
        role: Role,
    },
    /// The key is limited, and a key that is limited creates no other.
    Creates {
        /// The key's role.
        role: Role,
        /// The limit, as in `Limit`.
        limit: &'static str,
    },
    /// Only back ends may set the field.
    Reserved {
        /// The caller's role; none without credentials.
        role: Option<Role>,
        /// The field.
        field: &'static str,
    },
}

impl Denied {
    /// The reason in the contract.
    #[must_use]
    pub fn reason(&self) -> ErrorReason {
        match self {
            Self::MissingCredentials | Self::Reserved { role: None, .. } => {
                ErrorReason::MissingCredentials
            }
            Self::Role(_)
            | Self::Login(_)
            | Self::Unnamed { .. }
            | Self::Field { .. }
            | Self::Limit { .. }
            | Self::NoProgram { .. }
            | Self::Creates { .. }
            | Self::Reserved { .. } => ErrorReason::PermissionDenied,
        }
    }
}

/// What is left to check for a call that the table admits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Admitted {
    /// Nothing.
    Fully,
    /// That this user made the purchase with this id.
    IfBuyer {
        /// The caller.
        user_id: UserId,
        /// The purchase, as the request names it.
        purchase_id: String,
    },
    /// That an operator or admin did not make the purchase with this id.
    UnlessBuyerIsStaff {
        /// The purchase, as the request names it.
        purchase_id: String,
    },
    /// That this user holds the key with this id.
    IfHolder {
        /// The caller.
        user_id: UserId,
        /// The key, as the request names it.
        key_id: String,
    },
}

/// Says who is an operator or an admin, by the id of the user.
pub type IsStaff<'a> = &'a dyn Fn(&str) -> bool;

/// The set of RPCs that change nothing, as keys name it.
const READ_ONLY: &str = "read-only";
/// The set of all RPCs about purchases.
const PURCHASES_ONLY: &str = "purchases-only";
/// The service of that set.
const PURCHASE_SERVICE: &str = "PurchaseService";
/// How the names of RPCs begin that change nothing.
const READS: &[&str] = &["Find", "Get", "List", "Preview", "Read", "Simulate", "Validate", "Watch"];
/// The limit of keys to programs, as errors name it.
pub(super) const PROGRAM_LIMIT: &str = "program_ids";
/// The field by which requests name their program.
const PROGRAM_ID: &str = "program_id";

/// Whether a key can be limited to this: the name of an RPC, or of a set of RPCs.
#[must_use]
pub fn is_rpc_limit(name: &str) -> bool {
    [READ_ONLY, PURCHASES_ONLY].contains(&name) || rules().any(|rule| rule.rpc == name)
}

impl Rule {
    /// Whether the RPC changes nothing.
    #[must_use]
    pub fn is_read(&self) -> bool {
        READS.iter().any(|verb| self.rpc.starts_with(verb))
    }

    /// Whether the RPC is one of those that a key is limited to.
    fn is_among(&self, limits: &[String]) -> bool {
        limits.iter().any(|limit| match limit.as_str() {
            READ_ONLY => self.is_read(),
            PURCHASES_ONLY => self.service == PURCHASE_SERVICE,
            name => name == self.rpc,
        })
    }

    /// Checks whether the caller may use the RPC at all.
    ///
    /// # Errors
    /// The reason if not.
    pub fn admit_caller(&self, principal: &Principal) -> Result<(), Denied> {
        match principal.role() {
            Some(role) if self.callers.include(principal) => match principal.limits() {
                Some(KeyLimits { rpcs: Some(rpcs), .. }) if !self.is_among(rpcs) => {
                    Err(Denied::Limit { role, limit: "rpcs" })
                }
                _ => Ok(()),
            },
            _ if self.callers.include(principal) => Ok(()),
            None => Err(Denied::MissingCredentials),
            Some(role) if self.callers == Callers::People => Err(Denied::Login(role)),
            Some(role) => Err(Denied::Role(role)),
        }
    }

    /// Checks whether the caller may make the call with this request. If the request omits its subject, the
    /// caller's id is filled in.
    ///
    /// # Errors
    /// The reason if not.
    pub fn admit(
        &self,
        principal: &Principal,
        is_staff: IsStaff<'_>,
        request: &mut dyn TextFields,
    ) -> Result<Admitted, Denied> {
        self.admit_caller(principal)?;
        self.admit_program(principal, request)?;
        match principal.role() {
            Some(Role::Admin) => Ok(Admitted::Fully),
            Some(role @ Role::Operator) => self.admit_operator(principal, role, is_staff, request),
            Some(role @ Role::Service) => self.admit_service(principal, role, is_staff, request),
            Some(Role::User) | None => self.admit_user(principal, request),
        }
    }

    /// A key that is limited to programs names one of them, with the exceptions of [`InPrograms`].
    fn admit_program(
        &self,
        principal: &Principal,
        request: &mut dyn TextFields,
    ) -> Result<(), Denied> {
        let limits = principal.limits().and_then(|limits| limits.program_ids.as_ref());
        let Some((program_ids, role)) = limits.zip(principal.role()) else { return Ok(()) };
        let named = request.text(PROGRAM_ID);
        let may_name_none = self.in_programs != InPrograms::Named;
        match named {
            None if may_name_none => Ok(()),
            None => Err(Denied::NoProgram { role }),
            Some(named) if named.is_empty() && may_name_none => Ok(()),
            Some(named) if program_ids.iter().any(|id| id.as_str() == named) => Ok(()),
            Some(_) => Err(Denied::Limit { role, limit: PROGRAM_LIMIT }),
        }
    }

    /// Operators do not change accounts of operators and admins: who can reset the password of an admin is one.
    fn admit_operator(
        &self,
        principal: &Principal,
        role: Role,
        is_staff: IsStaff<'_>,
        request: &mut dyn TextFields,
    ) -> Result<Admitted, Denied> {
        let Subject::Account(field) = self.subject else { return Ok(Admitted::Fully) };
        let named = request.text(field).ok_or(Denied::Field { role, field })?;
        let is_own = principal.person_id().is_some_and(|own| own.as_str() == named);
        if is_own || !is_staff(named) {
            return Ok(Admitted::Fully);
        }
        Err(Denied::Field { role, field })
    }

    /// Back ends act for their users, who are neither operators nor admins.
    fn admit_service(
        &self,
        principal: &Principal,
        role: Role,
        is_staff: IsStaff<'_>,
        request: &mut dyn TextFields,
    ) -> Result<Admitted, Denied> {
        let Some(field) = self.subject.field() else { return Ok(Admitted::Fully) };
        let denied = Denied::Field { role, field };
        let Some(named) = request.text(field) else { return Err(denied) };
        match self.subject {
            Subject::UserOrEverybody(_, everybody)
                if named.is_empty() && !everybody.include(principal) =>
            {
                return Err(Denied::Unnamed { role, field });
            }
            Subject::User(_) | Subject::UserOrEverybody(..) | Subject::Account(_)
                if is_staff(named) =>
            {
                return Err(denied);
            }
            Subject::UserIfReadable(_) if is_staff(named) => named.clear(),
            Subject::BuyerOf(_) => {
                return Ok(Admitted::UnlessBuyerIsStaff { purchase_id: named.clone() });
            }
            // Service keys have nothing to do with keys.
            Subject::HolderOf(_) => return Err(denied),
            Subject::User(_)
            | Subject::UserOrEverybody(..)
            | Subject::Account(_)
            | Subject::UserIfReadable(_)
            | Subject::None => {}
        }
        Ok(Admitted::Fully)
    }

    /// Users see and change what is theirs; callers without credentials have nothing that is.
    fn admit_user(
        &self,
        principal: &Principal,
        request: &mut dyn TextFields,
    ) -> Result<Admitted, Denied> {
        let denied = |field| match principal.role() {
            None => Denied::MissingCredentials,
            Some(role) => Denied::Field { role, field },
        };
        let unnamed = |field| match principal.role() {
            None => Denied::MissingCredentials,
            Some(role) => Denied::Unnamed { role, field },
        };
        // A rule with a field that the request does not have does not compile, so the check cannot be skipped
        // because the field is missing.
        if let Some(field) = self.back_ends_set
            && request.text(field).is_none_or(|text| !text.is_empty())
        {
            return Err(Denied::Reserved { role: principal.role(), field });
        }
        let Some(field) = self.subject.field() else { return Ok(Admitted::Fully) };
        let named = request.text(field).ok_or_else(|| denied(field))?;
        let own = principal.user_id();
        let is_own = own.is_some_and(|own| own.as_str() == named);
        match self.subject {
            Subject::User(_)
            | Subject::UserOrEverybody(..)
            | Subject::Account(_)
            | Subject::UserIfReadable(_)
                if is_own => {}
            Subject::UserIfReadable(_) => named.clear(),
            // The handler refuses the empty field.
            Subject::User(_) | Subject::Account(_)
                if named.is_empty() && !self.fills_subject && own.is_some() => {}
            Subject::User(_) | Subject::Account(_) if named.is_empty() => {
                *named = own.ok_or_else(|| unnamed(field))?.to_string();
            }
            Subject::UserOrEverybody(..) if named.is_empty() => return Err(unnamed(field)),
            Subject::BuyerOf(_) => {
                let user_id = own.ok_or_else(|| denied(field))?.clone();
                return Ok(Admitted::IfBuyer { user_id, purchase_id: named.clone() });
            }
            Subject::HolderOf(_) => {
                let user_id = own.ok_or_else(|| denied(field))?.clone();
                return Ok(Admitted::IfHolder { user_id, key_id: named.clone() });
            }
            Subject::User(_) | Subject::UserOrEverybody(..) | Subject::Account(_) => {
                return Err(denied(field));
            }
            Subject::None => {}
        }
        Ok(Admitted::Fully)
    }
}

/// Services outside of the contract that anybody may call.
const OPEN_SERVICES: &[&str] = &[
    "grpc.health.v1.Health",
    "grpc.reflection.v1.ServerReflection",
    "grpc.reflection.v1alpha.ServerReflection",
];

/// The target of a path such as `/tributary.v1.AccountService/GetUser`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route {
    /// An RPC of the contract.
    Rpc(&'static Rule),
    /// A service that anybody may call.
    Open,
}

impl Route {
    /// Whether callers without credentials are admitted.
    #[must_use]
    pub fn is_open(self) -> bool {
        match self {
            Self::Rpc(rule) => rule.callers == Callers::Anyone,
            Self::Open => true,
        }
    }
}

/// The target of a path; `None` if there is no such RPC.
#[must_use]
pub fn route_of(path: &str) -> Option<Route> {
    let (service, rpc) = path.strip_prefix('/')?.split_once('/')?;
    if OPEN_SERVICES.contains(&service) {
        return Some(Route::Open);
    }
    let service = service.strip_prefix("tributary.v1.")?;
    rules().find(|rule| rule.service == service && rule.rpc == rpc).map(Route::Rpc)
}

/// The RPC of a path such as `/tributary.v1.AccountService/GetUser`; `None` if it is not in the contract.
#[must_use]
pub fn rpc_of(path: &str) -> Option<Rpc> {
    match route_of(path)? {
        Route::Rpc(rule) => Some(Rpc { service: rule.service, rpc: rule.rpc }),
        Route::Open => None,
    }
}

#[cfg(test)]
#[path = "permissions_tests.rs"]
mod tests;
