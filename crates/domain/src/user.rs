//! The account: who exists, whether they are active, and which programs they are in.
//!
//! Names, addresses and credentials are personal data and are stored outside the log; see
//! [`Profile`](super::Profile).

use cqrs_es::Aggregate;
use cqrs_es::event_sink::EventSink;
use serde::{Deserialize, Serialize};

use super::events::events;
use super::ledger::Posting;
use super::profile::{
    ProfileCommand, ProfileState, UserEmailChanged, UserEmailConfirmed, UserProfileUpdated,
    UserRecoveryCodeUsed, UserSecondFactorBegun, UserSecondFactorChanged,
};
use super::registry::{Posts, State};
use super::{ProgramId, Refusal, SessionsEnded, Timestamp, UserId};

/// The maximum number of programs that one user can be in. A decision on a purchase visits all of them.
pub const MAX_PROGRAMS_PER_USER: u32 = 64;

/// Whether a user takes part.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum UserStatus {
    /// Takes part.
    #[default]
    Active,
    /// Earns nothing until reactivated.
    Inactive,
    /// Erased, for good: commands do not find the user any more.
    Erased,
}

/// What a person who has logged in may do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum UserRole {
    /// Sees and changes only what is theirs.
    #[default]
    Participant,
    /// Runs programs.
    Operator,
    /// Everything.
    Admin,
}

impl UserRole {
    /// The role in lower case, as in the log.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Participant => "participant",
            Self::Operator => "operator",
            Self::Admin => "admin",
        }
    }

    /// The role of this name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        [Self::Participant, Self::Operator, Self::Admin]
            .into_iter()
            .find(|role| role.as_str() == name)
    }
}

/// A user was registered.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct UserRegistered {
    /// When, in microseconds since 1970.
    pub register_time_us: Timestamp,
    /// Whether the address of the sign-up was that of a user who was erased. An address can be referred once, so
    /// that this user cannot be referred.
    #[serde(skip_serializing_if = "is_false", default)]
    pub has_known_address: bool,
}

/// A user was enrolled in a program.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct UserEnrolled {
    /// The program.
    pub program_id: ProgramId,
}

/// A user stopped taking part.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct UserDeactivated {}

/// A user takes part again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct UserReactivated {}

/// A user was erased: their personal data is gone, and they take part no more.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct UserErased {
    /// Whether they were owed something, which is forfeited.
    #[serde(skip_serializing_if = "is_false", default)]
    pub forfeited: bool,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde asks for")]
fn is_false(value: &bool) -> bool {
    !value
}

/// A user was given another role. Ends all sessions of the user.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct UserRoleChanged {
    /// The new role.
    pub role: UserRole,
}

/// Sessions of a user ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct UserSessionsEnded {
    /// Which ones.
    pub sessions: SessionsEnded,
}

/// A user has another password.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct UserPasswordChanged {}

/// Everything that is held about a user was given out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct UserExported {}

/// An operator has found that two users are two people, or no longer thinks so. Both have this event.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct UserPairReviewed {
    /// The other user.
    pub other_user_id: UserId,
    /// Whether the two are not flagged with each other any more.
    pub is_cleared: bool,
}

/// A user has said how they are paid, or that nobody is to know any more. The details are personal data, and stand beside
/// the log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct UserPayoutMethodSet {
    /// Whether there is a method now.
    pub is_set: bool,
}

/// With how many others a user can be cleared. With more, those who were cleared first can be flagged again.
pub const MAX_CLEARED_USERS: usize = 100;

events! {
    /// What can happen to a user.
    UserEvent {
        UserRegistered = "1.0.0",
        UserEnrolled = "1.0.0",
        UserDeactivated = "1.0.0",
        UserReactivated = "1.0.0",
        UserProfileUpdated = "1.0.0",
        UserEmailChanged = "1.0.0",
        UserEmailConfirmed = "1.0.0",
        UserSecondFactorChanged = "1.0.0",
        UserErased = "1.0.0",
        UserRoleChanged = "1.0.0",
        UserSessionsEnded = "1.0.0",
        UserPasswordChanged = "1.0.0",
        UserSecondFactorBegun = "1.0.0",
        UserRecoveryCodeUsed = "1.0.0",
        UserExported = "1.0.0",
        UserPairReviewed = "1.0.0",
        UserPayoutMethodSet = "1.0.0",
    }
}

/// The commands of a user.
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "the names are self-explanatory")]
pub enum UserCommand {
    Register { user_id: UserId, has_known_address: bool, now: Timestamp },
    Enroll { user_id: UserId, program_id: ProgramId },
    Deactivate { user_id: UserId },
    Reactivate { user_id: UserId },
    Profile(ProfileCommand),
    Erase { user_id: UserId, forfeited: bool },
    ChangeRole { user_id: UserId, role: UserRole },
    EndSessions { ended: SessionsEnded },
    ChangePassword,
    Export,
    ReviewPair { other_user_id: UserId, is_cleared: bool },
    SetPayoutMethod { user_id: UserId, is_set: bool },
}

/// An account.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct User {
    status: UserStatus,
    register_time: Option<Timestamp>,
    programs: Vec<ProgramId>,
    profile: ProfileState,
    has_known_address: bool,
    role: UserRole,
    /// How often the password was changed.
    password_changes: u32,
    /// With whom an operator has cleared the user, the latest last.
    cleared: Vec<UserId>,
    has_payout_method: bool,
}

impl User {
    /// Whether the user was registered, and was not erased.
    #[must_use]
    pub fn exists(&self) -> bool {
        self.is_registered() && self.status != UserStatus::Erased
    }

    /// Whether the user was ever registered. The id of an erased user stays taken.
    #[must_use]
    pub fn is_registered(&self) -> bool {
        self.register_time.is_some()
    }

    /// Whether the address of the sign-up was that of an erased user, so that the user cannot be referred.
    #[must_use]
    pub fn has_known_address(&self) -> bool {
        self.has_known_address
    }

    /// Whether the user takes part.
    #[must_use]
    pub fn status(&self) -> UserStatus {
        self.status
    }

    /// What the user may do.
    #[must_use]
    pub fn role(&self) -> UserRole {
        self.role
    }

    /// When the user was registered; the beginning of time if they were not.
    #[must_use]
    pub fn register_time(&self) -> Timestamp {
        self.register_time.unwrap_or_default()
    }

    /// With whom the user is not flagged, because an operator has found them to be two people.
    #[must_use]
    pub fn cleared(&self) -> &[UserId] {
        &self.cleared
    }

    /// Whether the user has said how they are paid.
    #[must_use]
    pub fn has_payout_method(&self) -> bool {
        self.has_payout_method
    }

    /// How often the password was changed.
    #[must_use]
    pub fn password_changes(&self) -> u32 {
        self.password_changes
    }

    /// The programs that the user is in, in the order of enrollment.
    #[must_use]
    pub fn programs(&self) -> &[ProgramId] {
        &self.programs
    }

    /// What is known of the profile without its values.
    #[must_use]
    pub fn profile(&self) -> &ProfileState {
        &self.profile
    }
}

impl Aggregate for User {
    const TYPE: &'static str = "User";
    type Command = UserCommand;
    type Event = UserEvent;
    type Error = Refusal;
    type Services = ();

    async fn handle(
        &mut self,
        command: UserCommand,
        (): &(),
        sink: &EventSink<Self>,
    ) -> Result<(), Refusal> {
        let event: UserEvent = match command {
            UserCommand::Register { user_id, .. } if self.is_registered() => {
                return Err(Refusal::UserIdTaken(user_id));
            }
            UserCommand::Register { now, has_known_address, .. } => {
                UserRegistered { register_time_us: now, has_known_address }.into()
            }
            UserCommand::Enroll { user_id, .. }
            | UserCommand::Deactivate { user_id }
            | UserCommand::Reactivate { user_id }
            | UserCommand::Erase { user_id, .. }
            | UserCommand::SetPayoutMethod { user_id, .. }
                if self.status == UserStatus::Erased =>
            {
                return Err(Refusal::UserNotFound(user_id));
            }
            UserCommand::Enroll { user_id, .. }
                if self.programs.len() >= MAX_PROGRAMS_PER_USER as usize =>
            {
                return Err(Refusal::TooManyPrograms { user_id, limit: MAX_PROGRAMS_PER_USER });
            }
            UserCommand::Enroll { program_id, .. } => UserEnrolled { program_id }.into(),
            UserCommand::Deactivate { user_id } if self.status == UserStatus::Inactive => {
                return Err(Refusal::UserAlreadyInactive(user_id));
            }
            UserCommand::Deactivate { .. } => UserDeactivated {}.into(),
            UserCommand::Reactivate { user_id } if self.status == UserStatus::Active => {
                return Err(Refusal::UserAlreadyActive(user_id));
            }
            UserCommand::Reactivate { .. } => UserReactivated {}.into(),
            UserCommand::Profile(command) => match self.profile.decide(command)? {
                Some(event) => event,
                None => return Ok(()),
            },
            UserCommand::Erase { forfeited, .. } => UserErased { forfeited }.into(),
            UserCommand::ChangeRole { user_id, role } if self.role == role => {
                return Err(Refusal::UserRoleUnchanged { user_id, role });
            }
            UserCommand::ChangeRole { role, .. } => UserRoleChanged { role }.into(),
            UserCommand::EndSessions { ended } => UserSessionsEnded { sessions: ended }.into(),
            UserCommand::ChangePassword => UserPasswordChanged {}.into(),
            UserCommand::Export => UserExported {}.into(),
            UserCommand::ReviewPair { other_user_id, is_cleared } => {
                if self.cleared.contains(&other_user_id) == is_cleared {
                    return Ok(());
                }
                UserPairReviewed { other_user_id, is_cleared }.into()
            }
            UserCommand::SetPayoutMethod { is_set, .. } => UserPayoutMethodSet { is_set }.into(),
        };
        sink.write(event, self).await;
        Ok(())
    }

    fn apply(&mut self, event: UserEvent) {
        match event {
            UserEvent::UserRegistered(event) => {
                self.register_time = Some(event.register_time_us);
                self.has_known_address = event.has_known_address;
            }
            UserEvent::UserEnrolled(event) => self.programs.push(event.program_id),
            UserEvent::UserDeactivated(_) => self.status = UserStatus::Inactive,
            UserEvent::UserReactivated(_) => self.status = UserStatus::Active,
            UserEvent::UserProfileUpdated(event) => self.profile.update(&event),
            UserEvent::UserEmailChanged(_) => self.profile.change_email(),
            UserEvent::UserEmailConfirmed(_) => self.profile.confirm_email(),
            UserEvent::UserSecondFactorChanged(event) => self.profile.set_second_factor(&event),
            UserEvent::UserErased(_) => self.status = UserStatus::Erased,
            UserEvent::UserRoleChanged(event) => {
                self.profile.forget_asked_email();
                self.role = event.role;
            }
            UserEvent::UserRecoveryCodeUsed(_) => self.profile.use_recovery_code(),
            UserEvent::UserSessionsEnded(_)
            | UserEvent::UserSecondFactorBegun(_)
            | UserEvent::UserExported(_) => {}
            UserEvent::UserPairReviewed(event) => {
                self.cleared.retain(|known| *known != event.other_user_id);
                if event.is_cleared {
                    if self.cleared.len() >= MAX_CLEARED_USERS {
                        self.cleared.remove(0);
                    }
                    self.cleared.push(event.other_user_id);
                }
            }
            UserEvent::UserPayoutMethodSet(event) => self.has_payout_method = event.is_set,
            UserEvent::UserPasswordChanged(_) => {
                self.profile.forget_asked_email();
                self.password_changes = self.password_changes.saturating_add(1);
            }
        }
    }
}

impl Posts for UserEvent {
    fn posting(&self) -> Option<&Posting> {
        match self {
            Self::UserRegistered(_)
            | Self::UserEnrolled(_)
            | Self::UserDeactivated(_)
            | Self::UserReactivated(_)
            | Self::UserProfileUpdated(_)
            | Self::UserEmailChanged(_)
            | Self::UserEmailConfirmed(_)
            | Self::UserSecondFactorChanged(_)
            | Self::UserErased(_)
            | Self::UserRoleChanged(_)
            | Self::UserSessionsEnded(_)
            | Self::UserPasswordChanged(_)
            | Self::UserSecondFactorBegun(_)
            | Self::UserRecoveryCodeUsed(_)
            | Self::UserExported(_)
            | Self::UserPairReviewed(_)
            | Self::UserPayoutMethodSet(_) => None,
        }
    }
}

impl State for User {
    fn user_of(id: &str) -> Option<&str> {
        Some(id)
    }
}

impl UserEvent {
    /// The registration, if the event is one.
    #[must_use]
    pub fn registered(&self) -> Option<&UserRegistered> {
        let Self::UserRegistered(registered) = self else { return None };
        Some(registered)
    }
}
