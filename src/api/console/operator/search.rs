//! Finding somebody by what is known of them.

use tonic::{Code, Status};

use crate::api::console::visit::Visit;
use crate::api::pb;

/// The id of the user with this e-mail address, id, username or referral code; `None` if there is nobody. An id comes
/// before names, which people choose: links of pages have ids, and nobody may come in between by a name.
pub(super) async fn find(visit: &Visit, wanted: &str) -> Result<Option<String>, Status> {
    let wanted = wanted.trim();
    if wanted.is_empty() {
        return Ok(None);
    }
    if wanted.contains('@') {
        let request = pb::FindUserRequest { email: wanted.into(), ..Default::default() };
        return known(visit.call(request).await.map(|found| found.user));
    }
    let by_id = pb::GetUserRequest { user_id: wanted.into(), ..Default::default() };
    let by_name = pb::FindUserRequest { username: wanted.into(), ..Default::default() };
    let by_code = pb::FindUserRequest { referral_code: wanted.into(), ..Default::default() };
    let (by_id, by_name) = tokio::join!(visit.call(by_id), visit.call(by_name));
    if let Some(found) = known(by_id.map(|found| found.user))? {
        return Ok(Some(found));
    }
    if let Some(found) = known(by_name.map(|found| found.user))? {
        return Ok(Some(found));
    }
    known(visit.call(by_code).await.map(|found| found.user))
}

/// Nobody, if the text cannot be one of somebody.
fn known(found: Result<Option<pb::User>, Status>) -> Result<Option<String>, Status> {
    match found {
        Ok(user) => Ok(user.map(|user| user.user_id)),
        Err(status) if matches!(status.code(), Code::NotFound | Code::InvalidArgument) => Ok(None),
        Err(status) => Err(status),
    }
}
