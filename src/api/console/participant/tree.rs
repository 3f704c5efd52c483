//! The people below a participant, as a tree.

use axum::extract::Path;
use axum::response::Response;
use console::pages::participant::deepest_level;
use console::pages::participant::tree::{View, page};

use crate::api::console::answers::Refused;
use crate::api::console::visit::Visit;
use crate::api::pb;

/// How deep the tree is at least, also if the program pays fewer levels.
const LEAST_DEPTH: i32 = 3;
/// How deep a tree can be.
const MOST_DEPTH: i32 = 10;

pub(super) async fn show(
    visit: Visit,
    Path(program_id): Path<String>,
) -> Result<Response, Refused> {
    let at = visit.participating(&program_id).await?;
    let answer = visit
        .call(pb::GetReferralTreeRequest {
            program_id,
            user_id: at.person.user_id(),
            depth: deepest_level(&at.program).clamp(LEAST_DEPTH, MOST_DEPTH),
            ..Default::default()
        })
        .await?;
    let root = answer.root.unwrap_or_default();
    let view = View { scene: at.scene(), root: &root, is_truncated: answer.truncated };
    let form_token = visit.form_token();
    let sidebar = at.person.sidebar(&visit, &form_token);
    Ok(visit.page(page(&view, &sidebar, visit.reader())))
}
