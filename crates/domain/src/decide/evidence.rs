//! What fraud checks compare a sign-up with: who else has the same mailbox, and how many signed up from one address.

use std::sync::Arc;

use crate::fraud::SignUpsPerAddress;
use crate::{
    Claim, ClaimKind, Halt, ProgramId, SignUpOrigin, SignUpOriginCommand, SignUpOriginId, UserId,
    Work, each, load, tell,
};

/// Keyed hashes by which users with the same mailbox, or with mailboxes that look the same, are found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MailboxKeys {
    /// Of the mailbox that the address leads to.
    pub mailbox: String,
    /// Of what the mailbox looks like.
    pub look_alike: String,
}

impl MailboxKeys {
    fn values(&self) -> [(ClaimKind, &str); 2] {
        [(ClaimKind::Mailbox, &self.mailbox), (ClaimKind::LookAlike, &self.look_alike)]
    }
}

/// The users who had what a user has before that user.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FirstOwners {
    /// Of the mailbox.
    pub mailbox: Option<UserId>,
    /// Of a mailbox that looks the same.
    pub look_alike: Option<UserId>,
}

/// Claims a user's mailbox and what it looks like. Every user does, whatever the programs check, so that a program
/// which begins to check compares with all users.
pub(super) fn share_mailbox(
    work: &mut dyn Work,
    user_id: &UserId,
    keys: &MailboxKeys,
) -> Result<FirstOwners, Halt> {
    let mut owners = FirstOwners::default();
    each(keys.values(), |(kind, value)| {
        let owner = share(work, kind, value, user_id)?;
        match kind {
            ClaimKind::Mailbox => owners.mailbox = owner,
            _ => owners.look_alike = owner,
        }
        Ok(())
    })?;
    Ok(owners)
}

/// Claims the mailbox of a new address, and gives up the one whose place it takes. If others have the one that is given
/// up, the next user who gets it becomes its owner.
pub(super) fn exchange_mailbox(
    work: &mut dyn Work,
    user_id: &UserId,
    from: &MailboxKeys,
    to: &MailboxKeys,
) -> Result<FirstOwners, Halt> {
    for ((kind, before), (_, after)) in from.values().into_iter().zip(to.values()) {
        if before != after {
            let owner = user_id.to_string();
            work.release_claim(Claim { kind, value: before.into(), owner })?;
        }
    }
    share_mailbox(work, user_id, to)
}

/// Claims a value for a user, and returns the other user who had it first.
fn share(
    work: &mut dyn Work,
    kind: ClaimKind,
    value: &str,
    user_id: &UserId,
) -> Result<Option<UserId>, Halt> {
    let owner = user_id.to_string();
    let first = work.share_claim(Claim { kind, value: value.into(), owner })?;
    Ok(first.and_then(|first| UserId::parse(&first).ok()))
}

/// Claims the fingerprint of a device or a means of payment, and returns the other user who had it first.
///
/// # Errors
/// [`Halt::Missing`] if the owner has to be looked up.
pub fn share_fingerprint(
    work: &mut dyn Work,
    user_id: &UserId,
    fingerprint_key: &str,
) -> Result<Option<UserId>, Halt> {
    share(work, ClaimKind::Fingerprint, fingerprint_key, user_id)
}

/// Counts a sign-up for a program from an address, given as a keyed hash. Returns how many were made in the window of
/// the check before.
///
/// # Errors
/// A refusal with the time to retry, if there were too many and the program refuses those.
pub fn count_sign_up(
    work: &mut dyn Work,
    program_id: &ProgramId,
    address_key: &Arc<str>,
    check: SignUpsPerAddress,
) -> Result<u32, Halt> {
    let (program_id, address_key) = (program_id.clone(), address_key.clone());
    let id = SignUpOriginId { program_id: program_id.clone(), address_key };
    let now = work.now();
    let before = load::<SignUpOrigin>(work, &id)?.sign_ups_within(check.window_hours, now).len();
    tell::<SignUpOrigin>(work, &id, SignUpOriginCommand::Count { program_id, check, now })?;
    Ok(u32::try_from(before).unwrap_or(u32::MAX))
}
