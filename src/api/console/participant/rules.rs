//! How a program works.

use axum::extract::Path;
use axum::response::Response;
use console::pages::participant::rules::{View, page};

use crate::api::console::answers::Refused;
use crate::api::console::visit::Visit;

pub(super) async fn show(
    visit: Visit,
    Path(program_id): Path<String>,
) -> Result<Response, Refused> {
    let at = visit.participating(&program_id).await?;
    let form_token = visit.form_token();
    let sidebar = at.person.sidebar(&visit, &form_token);
    Ok(visit.page(page(&View { scene: at.scene() }, &sidebar, visit.reader())))
}
