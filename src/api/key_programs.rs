//! Calls about a referral code by keys that are limited to programs. The code says which program the call is about.

use super::Context;
use super::errors::ApiError;
use super::guard::denied;
use super::permissions::{Denied, PROGRAM_LIMIT};
use crate::access::Principal;
use crate::store::{claims, in_time};
use domain::{ClaimKind, ParticipantId, ProgramId};

/// The program of a code that such a key calls with, where the request names no program. `None` for other callers, if a
/// program is named, which the permission table has checked, and if nobody has the code.
///
/// # Errors
/// `PERMISSION_DENIED` if there is no code, or it is of a program that the key is not limited to.
pub(super) async fn program_of_code(
    context: &Context,
    principal: &Principal,
    program_id: Option<&ProgramId>,
    code: Option<&str>,
) -> Result<Option<ProgramId>, ApiError> {
    let (Some(own), Some(role), None) = (principal.program_ids(), principal.role(), program_id)
    else {
        return Ok(None);
    };
    let beyond = || ApiError::from(denied(Denied::Limit { role, limit: PROGRAM_LIMIT }));
    let code = code.filter(|code| !code.trim().is_empty()).ok_or_else(beyond)?;
    let owner = claims::owner_of(context.database.pool(), ClaimKind::Code, code);
    let owner = in_time(owner).await?.and_then(|owner| ParticipantId::parse(&owner));
    match owner {
        None => Ok(None),
        Some(owner) if own.contains(&owner.program_id) => Ok(Some(owner.program_id)),
        Some(_) => Err(beyond()),
    }
}
