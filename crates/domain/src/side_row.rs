//! Rows outside the log that are written together with the events that they belong to.
//!
//! They speed up look-ups or keep personal data out of events; decisions are never based on them. To add such
//! a table, add a variant here and a database function that writes its rows.

use std::fmt;

use serde_json::{Value, json};

use crate::{
    ApiKeyId, FraudEvidence, FraudNote, JobId, KeyMaker, KeyRole, Mail, MailKind, Note,
    ParticipantId, Personal, ProgramId, Recipient, SessionsEnded, SignUpClient, Timestamp, UserId,
    UserRole,
};

/// The personal data of a user. It is stored outside the log, never in an event, so that a user can be erased
/// without changing the log.
#[derive(Clone, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are self-explanatory")]
pub struct Profile {
    pub user_id: UserId,
    pub username: String,
    pub email: String,
    pub display_name: String,
    /// In PHC string form; absent when a back end registered the user without a password.
    pub password_hash: Option<String>,
}

impl fmt::Debug for Profile {
    /// Prints the user id only: personal data stays out of logs.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Profile").field("user_id", &self.user_id).finish_non_exhaustive()
    }
}

/// What changes of a user's personal data. What is absent stays as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are self-explanatory")]
pub struct ProfileChange {
    pub user_id: UserId,
    pub username: Option<Personal>,
    pub display_name: Option<Personal>,
    pub email: Option<Personal>,
}

/// What a mailed token is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenPurpose {
    /// Confirming the user's address.
    ConfirmEmail,
    /// Making another address the user's.
    ChangeEmail,
    /// Choosing another password.
    ResetPassword,
    /// Making a sign-up that waits for it an account.
    ConfirmSignUp,
}

impl TokenPurpose {
    /// All there are.
    pub const ALL: [Self; 4] =
        [Self::ConfirmEmail, Self::ChangeEmail, Self::ResetPassword, Self::ConfirmSignUp];

    /// The name used in the table.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ConfirmEmail => "confirm_email",
            Self::ChangeEmail => "change_email",
            Self::ResetPassword => "reset_password",
            Self::ConfirmSignUp => "confirm_sign_up",
        }
    }

    /// The purpose with that name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|purpose| purpose.as_str() == name)
    }
}

/// A token that is to be mailed. The token itself is made when the mail is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MailedToken {
    /// What the token is made of, with the servers' secret.
    pub id: [u8; 16],
    /// What it is good for.
    pub purpose: TokenPurpose,
    /// For whom.
    pub user_id: UserId,
    /// The address that it is mailed to.
    pub email: Personal,
    /// What the token depends on: for another address the version of the profile in which it was asked for; for a
    /// password the number of passwords that the user had chosen.
    pub version: u32,
}

impl MailedToken {
    /// A mail about the token: to this address, or to the one in the user's profile.
    #[must_use]
    pub fn mail(&self, kind: MailKind, to: Option<&Personal>) -> Mail {
        let id = hex(&self.id);
        Mail {
            occasion: format!("{}/{id}", kind.as_str()),
            kind,
            user_id: Some(self.user_id.clone()),
            recipient: to.map(|to| Recipient { email: to.0.clone(), name: None }),
            facts: json!({ "token_id": id }),
        }
    }
}

/// The second factor of a user, or that there is none any more.
#[derive(Clone, PartialEq, Eq)]
pub struct SecondFactorRow {
    /// The user.
    pub user_id: UserId,
    /// The factor; none if it was removed.
    pub factor: Option<SecondFactor>,
}

/// A second factor that a login needs.
#[derive(Clone, PartialEq, Eq)]
pub struct SecondFactor {
    /// The secret, encrypted.
    pub sealed_secret: Vec<u8>,
    /// The period of 30 seconds whose code was used last.
    pub last_period: i64,
    /// The SHA-256 of each recovery code.
    pub recovery_hashes: Vec<[u8; 32]>,
}

impl fmt::Debug for SecondFactorRow {
    /// Prints the user id only: secrets stay out of logs.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("SecondFactorRow")
            .field("user_id", &self.user_id)
            .field("is_on", &self.factor.is_some())
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for SecondFactor {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("SecondFactor").finish_non_exhaustive()
    }
}

/// The encrypted secret of a second factor.
#[derive(Clone, PartialEq, Eq)]
pub struct SealedSecret(pub Vec<u8>);

impl fmt::Debug for SealedSecret {
    /// Prints nothing of it.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("SealedSecret(..)")
    }
}

/// A new API key, without the key itself, which only its holder knows.
#[derive(Clone, PartialEq, Eq)]
pub struct NewApiKey {
    /// Its id.
    pub key_id: ApiKeyId,
    /// The SHA-256 of the key.
    pub hash: [u8; 32],
    /// What its owner calls it. Free text, so never in an event.
    pub name: String,
    /// What its holder may do.
    pub role: KeyRole,
    /// The user whom a key of the role `user` belongs to.
    pub user_id: Option<UserId>,
    /// The RPCs, and sets of RPCs, that the key is limited to.
    pub rpcs: Option<Vec<String>>,
    /// The programs that the key is limited to, sorted.
    pub program_ids: Option<Vec<ProgramId>>,
    /// When it ceases to be valid.
    pub expire_time: Option<Timestamp>,
    /// Who created it, in the form in which the log names actors.
    pub created_by: String,
    /// The person who created it or, if a key did, the person who had created that key. Absent if nobody did, as with
    /// keys by the command line. Never of a key of the role `user`, which ends with its user.
    pub creator_user_id: Option<UserId>,
    /// The key with which it is created; absent if none is.
    pub maker: Option<KeyMaker>,
}

impl fmt::Debug for NewApiKey {
    /// Prints the id only: neither the hash nor the name belongs into logs.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("NewApiKey").field("key_id", &self.key_id).finish_non_exhaustive()
    }
}

/// The hash of a password, in PHC string form.
#[derive(Clone, PartialEq, Eq)]
pub struct PasswordHash(pub String);

impl fmt::Debug for PasswordHash {
    /// Prints nothing of the hash: passwords can be guessed from hashes.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("PasswordHash(..)")
    }
}

/// How a user is paid: what a provider of payments knows them by. Personal data.
#[derive(Clone, PartialEq, Eq)]
pub struct PayoutMethod {
    /// What the reference is of, as `paypal` or `sepa`.
    pub kind: String,
    /// What the provider knows the user by.
    pub reference: Personal,
}

impl fmt::Debug for PayoutMethod {
    /// Prints nothing of it.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("PayoutMethod(..)")
    }
}

/// The longest reference of a payout method, in characters.
pub const MAX_METHOD_REFERENCE_CHARS: usize = 256;

/// A row outside the log.
#[derive(Clone, Debug, PartialEq)]
pub enum SideRow {
    /// The personal data of a user, which replaces earlier data.
    Profile(Profile),
    /// That a user is in a program.
    Enrollment(ParticipantId),
    /// Who referred whom.
    Referral {
        /// The participant who was referred.
        referee: ParticipantId,
        /// The user who referred them.
        referrer: UserId,
        /// When.
        refer_time: Timestamp,
    },
    /// From where a user signed up, as far as it is known.
    SignUpClient(SignUpClient),
    /// What was found when a fraud flag was raised.
    FraudEvidence(Box<FraudEvidence>),
    /// What a reviewer wrote about a fraud flag.
    FraudNote(Box<FraudNote>),
    /// What an operator or a caller wrote.
    Note(Box<Note>),
    /// A change of personal data.
    ProfileChange(ProfileChange),
    /// A token to be mailed.
    MailedToken(MailedToken),
    /// That a user is mailed a link which confirms the address in their profile.
    RequestedConfirmation {
        /// What the token of the link is made of.
        token_id: [u8; 16],
        /// The user.
        user_id: UserId,
    },
    /// A user's second factor.
    SecondFactor(SecondFactorRow),
    /// The encrypted secret of a second factor that is being set up.
    SecondFactorBegun {
        /// The user.
        user_id: UserId,
        /// The secret, encrypted.
        sealed_secret: SealedSecret,
    },
    /// That a recovery code is used up.
    RecoveryCodeUse {
        /// The user.
        user_id: UserId,
        /// The SHA-256 of the code.
        hash: [u8; 32],
    },
    /// That a job is to be done again.
    JobRetry {
        /// The job.
        job_id: JobId,
        /// How many attempts it had had. A job with another number stays as it is.
        attempts: u32,
    },
    /// Which kinds of mail a user wants. Kinds that are not named stay as they are.
    MailPreferences {
        /// The user.
        user_id: UserId,
        /// Kinds, each with whether it is wanted.
        wanted: Vec<(MailKind, bool)>,
    },
    /// A mail to be sent.
    Mail(Mail),
    /// That the personal data of a user is deleted, wherever it is.
    Erasure(UserId),
    /// A key by which callers are recognised.
    ApiKey {
        /// The key.
        key: NewApiKey,
        /// When it was created.
        create_time: Timestamp,
    },
    /// That a key is no longer valid.
    ApiKeyRevocation {
        /// The key.
        key_id: ApiKeyId,
        /// When it was revoked.
        revoke_time: Timestamp,
    },
    /// What a person may do, which replaces what they could do before.
    UserRole {
        /// The user.
        user_id: UserId,
        /// The role.
        role: UserRole,
    },
    /// That sessions of a user have ended.
    SessionEnds {
        /// The user.
        user_id: UserId,
        /// Which sessions.
        ended: SessionsEnded,
    },
    /// The hash of a user's new password.
    PasswordHash {
        /// The user.
        user_id: UserId,
        /// The hash.
        hash: PasswordHash,
    },
    /// That the sign-up of a user, which waited for a confirmed address, is done.
    ConfirmedSignUp(UserId),
    /// How a user is paid, which replaces what was said before.
    PayoutMethod {
        /// The user.
        user_id: UserId,
        /// How; `None` if nobody is to know any more.
        method: Option<PayoutMethod>,
        /// When they said so.
        set_time: Timestamp,
    },
}

impl SideRow {
    /// The table of the row, or what changes in one. The database function `write_<name>` writes it. (Erasures delete
    /// rows of many tables, after all other rows of the batch are written.)
    #[must_use]
    pub const fn table(&self) -> &'static str {
        match self {
            Self::Profile(_) => "profiles",
            Self::Enrollment(_) => "enrollments",
            Self::Referral { .. } => "referrals",
            Self::SignUpClient(_) => "sign_up_clients",
            Self::FraudEvidence(_) => "fraud_evidence",
            Self::FraudNote(_) => "fraud_notes",
            Self::Note(_) => "notes",
            Self::ProfileChange(_) => "profile_changes",
            Self::MailedToken(_) => "mailed_tokens",
            Self::RequestedConfirmation { .. } => "requested_confirmations",
            // One function writes all three, in order.
            Self::SecondFactor(_)
            | Self::SecondFactorBegun { .. }
            | Self::RecoveryCodeUse { .. } => "second_factors",
            Self::JobRetry { .. } => "job_retries",
            Self::MailPreferences { .. } => "mail_preferences",
            Self::Mail(_) => "mails",
            Self::Erasure(_) => "erasures",
            // One function writes both, as one batch may create a key and revoke it.
            Self::ApiKey { .. } | Self::ApiKeyRevocation { .. } => "api_keys",
            Self::UserRole { .. } => "user_roles",
            Self::SessionEnds { .. } => "session_ends",
            Self::PasswordHash { .. } => "password_hashes",
            Self::ConfirmedSignUp(_) => "confirmed_sign_ups",
            Self::PayoutMethod { .. } => "payout_methods",
        }
    }

    /// The values of the row by column name.
    #[must_use]
    pub fn content(&self) -> Value {
        match self {
            Self::Profile(profile) => json!({
                "user_id": profile.user_id.as_str(),
                "username": profile.username,
                "email": profile.email,
                "display_name": profile.display_name,
                "password_hash": profile.password_hash,
            }),
            Self::Enrollment(participant) => json!({
                "user_id": participant.user_id.as_str(),
                "program_id": participant.program_id.as_str(),
            }),
            Self::Referral { referee, referrer, refer_time } => json!({
                "program_id": referee.program_id.as_str(),
                "referee_user_id": referee.user_id.as_str(),
                "referrer_user_id": referrer.as_str(),
                "refer_time_us": refer_time,
            }),
            Self::SignUpClient(client) => client.content(),
            Self::FraudEvidence(evidence) => evidence.content(),
            Self::FraudNote(note) => note.content(),
            Self::Note(note) => note.content(),
            Self::ProfileChange(change) => {
                let text = |value: &Option<Personal>| value.as_ref().map(|value| value.0.clone());
                json!({
                    "user_id": change.user_id.as_str(),
                    "username": text(&change.username),
                    "display_name": text(&change.display_name),
                    "email": text(&change.email),
                })
            }
            Self::MailedToken(token) => json!({
                "id": hex(&token.id),
                "purpose": token.purpose.as_str(),
                "user_id": token.user_id.as_str(),
                "email": token.email.0,
                "version": token.version,
            }),
            Self::SecondFactor(row) => second_factor(row),
            Self::SecondFactorBegun { user_id, sealed_secret } => json!({
                "user_id": user_id.as_str(),
                "begun_secret": hex(&sealed_secret.0),
            }),
            Self::RecoveryCodeUse { user_id, hash } => json!({
                "user_id": user_id.as_str(),
                "used_hash": hex(hash),
            }),
            Self::JobRetry { job_id, attempts } => json!({
                "job_id": job_id,
                "attempts": attempts,
            }),
            Self::RequestedConfirmation { token_id, user_id } => json!({
                "token_id": hex(token_id),
                "user_id": user_id,
            }),
            Self::MailPreferences { user_id, wanted } => json!({
                "user_id": user_id.as_str(),
                "wanted": kinds(wanted, true),
                "unwanted": kinds(wanted, false),
            }),
            Self::Mail(mail) => mail_content(mail),
            Self::Erasure(user_id) | Self::ConfirmedSignUp(user_id) => {
                json!({ "user_id": user_id.as_str() })
            }
            Self::ApiKey { key, create_time } => api_key(key, *create_time),
            Self::ApiKeyRevocation { key_id, revoke_time } => json!({
                "key_id": key_id,
                "revoke_time_us": revoke_time,
            }),
            Self::UserRole { user_id, role } => json!({
                "user_id": user_id,
                "role": role.as_str(),
            }),
            Self::SessionEnds { user_id, ended: SessionsEnded::These(sessions) } => json!({
                "user_id": user_id.as_str(),
                "these": sessions,
            }),
            Self::SessionEnds { user_id, ended: SessionsEnded::AllBut(sessions) } => json!({
                "user_id": user_id.as_str(),
                "all_but": sessions,
            }),
            Self::PasswordHash { user_id, hash } => json!({
                "user_id": user_id.as_str(),
                "password_hash": hash.0,
            }),
            Self::PayoutMethod { user_id, method, set_time } => json!({
                "user_id": user_id,
                "kind": method.as_ref().map(|method| &method.kind),
                "reference": method.as_ref().map(|method| &method.reference.0),
                "set_time_us": set_time,
            }),
        }
    }
}

fn api_key(key: &NewApiKey, create_time: Timestamp) -> Value {
    json!({
        "key_id": key.key_id,
        "hash": hex(&key.hash),
        "name": key.name,
        "role": key.role.as_str(),
        "user_id": key.user_id,
        "rpcs": key.rpcs,
        "program_ids": key.program_ids,
        "expire_time_us": key.expire_time,
        "created_by": key.created_by,
        "creator_user_id": key.creator_user_id,
        "create_time_us": create_time,
    })
}

fn second_factor(SecondFactorRow { user_id, factor }: &SecondFactorRow) -> Value {
    json!({
        "user_id": user_id.as_str(),
        "sealed_secret": factor.as_ref().map(|factor| hex(&factor.sealed_secret)),
        "last_period": factor.as_ref().map(|factor| factor.last_period),
        "recovery_hashes": factor.as_ref().map(|factor| {
            factor.recovery_hashes.iter().map(|hash| hex(hash)).collect::<Vec<_>>()
        }),
    })
}

fn mail_content(mail: &Mail) -> Value {
    json!({
        "occasion": mail.occasion,
        "kind": mail.kind.as_str(),
        "is_urgent": mail.kind.is_urgent(),
        "user_id": mail.user_id.as_ref().map(UserId::as_str),
        "recipient": mail.recipient.as_ref().map(|recipient| &recipient.email),
        "recipient_name": mail.recipient.as_ref().and_then(|recipient| recipient.name.as_ref()),
        "facts": mail.facts,
    })
}

/// The names of the kinds that are wanted, or that are not.
fn kinds(wanted: &[(MailKind, bool)], is_wanted: bool) -> Vec<&'static str> {
    wanted.iter().filter(|(_, is)| *is == is_wanted).map(|(kind, _)| kind.as_str()).collect()
}

/// Bytes in the form that Postgres decodes with `decode(text, 'hex')` and reads as a UUID.
pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;

    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
