//! What fraud checks compare a sign-up with: who else has the same mailbox, and how many signed up from one address.

use std::net::IpAddr;

use crate::fraud::{Mailbox, SignUpsPerAddress, counted_network};
use crate::{
    Claim, ClaimKind, Halt, ProgramId, SignUpOrigin, SignUpOriginCommand, SignUpOriginId, UserId,
    Work, each, load, peek_new, tell,
};

/// Keyed hashes of the mailbox that an address leads to and of what it looks like, by which others who have it are
/// found.
fn mailbox_keys(work: &dyn Work, mailbox: &Mailbox) -> [(ClaimKind, String); 2] {
    [
        (ClaimKind::Mailbox, work.keyed_hash("mailbox", &mailbox.key)),
        (ClaimKind::LookAlike, work.keyed_hash("look_alike", &mailbox.look_alike)),
    ]
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
pub(crate) fn share_mailbox(
    work: &mut dyn Work,
    user_id: &UserId,
    mailbox: &Mailbox,
) -> Result<FirstOwners, Halt> {
    let mut owners = FirstOwners::default();
    each(mailbox_keys(work, mailbox), |(kind, value)| {
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
pub(crate) fn exchange_mailbox(
    work: &mut dyn Work,
    user_id: &UserId,
    from: &Mailbox,
    to: &Mailbox,
) -> Result<FirstOwners, Halt> {
    let (before, after) = (mailbox_keys(work, from), mailbox_keys(work, to));
    for ((kind, before), (_, after)) in before.into_iter().zip(after) {
        if before != after {
            let owner = user_id.to_string();
            work.release_claim(Claim { kind, value: before, owner })?;
        }
    }
    share_mailbox(work, user_id, to)
}

/// Claims a value for a user, and returns the other user who had it first.
fn share(
    work: &mut dyn Work,
    kind: ClaimKind,
    value: String,
    user_id: &UserId,
) -> Result<Option<UserId>, Halt> {
    let owner = user_id.to_string();
    let first = work.share_claim(Claim { kind, value, owner })?;
    Ok(first.and_then(|first| UserId::parse(&first).ok()))
}

/// Claims the keyed hash of what recognises a device or a means of payment, and returns the other user who had it
/// first.
pub(crate) fn share_fingerprint(
    work: &mut dyn Work,
    user_id: &UserId,
    fingerprint_key: &str,
) -> Result<Option<UserId>, Halt> {
    share(work, ClaimKind::Fingerprint, fingerprint_key.into(), user_id)
}

/// The key of an address on the network, as one from which people sign up.
pub(crate) fn network_key(work: &dyn Work, client_ip: IpAddr) -> String {
    work.keyed_hash("client_address", &counted_network(client_ip))
}

/// How many sign-ups for a program came from an address on the network within the window of the check.
pub(crate) fn sign_ups_from(
    work: &mut dyn Work,
    program_id: &ProgramId,
    client_ip: IpAddr,
    check: SignUpsPerAddress,
) -> Result<u32, Halt> {
    let id = origin(work, program_id, client_ip);
    let now = work.now();
    let count = load::<SignUpOrigin>(work, &id)?.sign_ups_within(check.window_hours, now).len();
    Ok(u32::try_from(count).unwrap_or(u32::MAX))
}

fn origin(work: &dyn Work, program_id: &ProgramId, client_ip: IpAddr) -> SignUpOriginId {
    let address_key = network_key(work, client_ip).into();
    SignUpOriginId { program_id: program_id.clone(), address_key }
}

/// Counts a sign-up for a program from an address on the network. Returns how many were made in the window of the check
/// before. Refused with the time to retry, if there were too many and the program refuses those.
pub(crate) fn count_sign_up(
    work: &mut dyn Work,
    program_id: &ProgramId,
    client_ip: IpAddr,
    check: SignUpsPerAddress,
) -> Result<u32, Halt> {
    let (id, now) = (origin(work, program_id, client_ip), work.now());
    // Most sign-ups come from an address of their own.
    let before =
        peek_new::<SignUpOrigin>(work, &id)?.sign_ups_within(check.window_hours, now).len();
    let program_id = program_id.clone();
    tell::<SignUpOrigin>(work, &id, SignUpOriginCommand::Count { program_id, check, now })?;
    Ok(u32::try_from(before).unwrap_or(u32::MAX))
}
