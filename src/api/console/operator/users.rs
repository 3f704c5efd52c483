//! People: a list, and the way to one of them.

use axum::response::Response;
use console::pages::operator::user_path;
use console::pages::operator::users::{View, page};

use super::search::find;
use crate::api::console::answers::Refused;
use crate::api::console::lists::all_programs;
use crate::api::console::participant::next_page;
use crate::api::console::visit::Visit;
use crate::api::pb;

/// How many people a page has.
const PEOPLE: i32 = 50;

pub(super) async fn show(visit: Visit) -> Result<Response, Refused> {
    visit.operator()?;
    let wanted = visit.query("q");
    if let Some(user_id) = find(&visit, wanted).await? {
        return Ok(visit.see_other(&user_path(&user_id), "", ""));
    }
    let person = visit.person().await?;
    let (program_id, later) = (visit.query("program"), visit.query("page"));
    let staff = visit.query("staff");
    let (users, programs) = tokio::join!(
        visit.call(pb::ListUsersRequest {
            program_id: if staff.is_empty() { program_id.into() } else { String::new() },
            staff_only: !staff.is_empty(),
            page_size: PEOPLE,
            page_token: later.into(),
            ..Default::default()
        }),
        all_programs(&visit),
    );
    let (users, programs) = (users?, programs?);
    let view = View {
        users: &users.users,
        programs: &programs,
        program_id,
        is_staff: !staff.is_empty(),
        not_found: Some(wanted).filter(|wanted| !wanted.trim().is_empty()),
        next: next_page(
            "/o/users",
            &[("program", program_id), ("staff", staff)],
            &users.next_page_token,
        ),
        is_later: !later.is_empty(),
    };
    let form_token = visit.form_token();
    let sidebar = person.sidebar(&visit, &form_token);
    Ok(visit.page(page(&view, &sidebar, visit.reader())))
}
