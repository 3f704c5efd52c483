//! The people whom a participant has brought.

use axum::extract::Path;
use axum::response::Response;
use console::pages::participant::referrals::{STATUSES, View, page};

use super::next_page;
use crate::api::console::answers::Refused;
use crate::api::console::visit::Visit;
use crate::api::pb;

/// How many people a page has.
const PEOPLE: i32 = 25;

pub(super) async fn show(
    visit: Visit,
    Path(program_id): Path<String>,
) -> Result<Response, Refused> {
    let at = visit.participating(&program_id).await?;
    let name = visit.query("status");
    let found = STATUSES.iter().find(|(known, _)| *known == name);
    let status = found.ok_or(Refused::NotFound)?.1;
    let later = visit.query("page");
    let answer = visit
        .call(pb::ListReferralsRequest {
            program_id,
            user_id: at.person.user_id(),
            status: status.into(),
            page_size: PEOPLE,
            page_token: later.into(),
            ..Default::default()
        })
        .await?;
    let path = at.scene().path("referrals");
    let view = View {
        scene: at.scene(),
        status,
        next: next_page(&path, &[("status", name)], &answer.next_page_token),
        referrals: answer.referrals,
        is_later: !later.is_empty(),
    };
    let form_token = visit.form_token();
    let sidebar = at.person.sidebar(&visit, &form_token);
    Ok(visit.page(page(&view, &sidebar, visit.reader())))
}
