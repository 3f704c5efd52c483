//! People: a list, and the way to one of them.

use axum::response::Response;
use console::pages::operator::user_path;
use console::pages::operator::users::{View, page};
use tonic::{Code, Status};

use super::erased::was_there;
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
    let named = match wanted.trim() {
        "" => Vec::new(),
        name => by_name(&visit, name).await?,
    };
    if let [only] = &*named {
        let user_id = only.user.as_ref().map_or("", |user| &user.user_id);
        return Ok(visit.see_other(&user_path(user_id), "", ""));
    }
    if named.is_empty() && !wanted.trim().is_empty() && was_there(&visit, wanted.trim()).await? {
        return Ok(visit.see_other(&user_path(wanted.trim()), "", ""));
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
    // Several people can have one name.
    let is_named = !named.is_empty();
    let is_search = !wanted.trim().is_empty();
    let users = if is_search {
        pb::ListUsersResponse { users: named, ..Default::default() }
    } else {
        users
    };
    let view = View {
        users: &users.users,
        named: Some(wanted).filter(|_| is_named),
        programs: &programs,
        program_id,
        is_staff: !staff.is_empty(),
        not_found: Some(wanted).filter(|_| is_search && !is_named),
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

/// The people who chose this name to be shown.
async fn by_name(visit: &Visit, name: &str) -> Result<Vec<pb::UserDetail>, Status> {
    let request = pb::ListUsersRequest { display_name: name.into(), ..Default::default() };
    match visit.call(request).await {
        Ok(found) => Ok(found.users),
        // What cannot be a name is nobody's.
        Err(status) if status.code() == Code::InvalidArgument => Ok(Vec::new()),
        Err(status) => Err(status),
    }
}
