//! The programs that one can take part in.

use axum::extract::Path;
use axum::response::Response;
use console::pages::participant::path;
use console::pages::participant::programs::{View, page};
use console::parts::Sent;
use http::StatusCode;

use crate::api::console::answers::Refused;
use crate::api::console::faults;
use crate::api::console::forms::SentForm;
use crate::api::console::lists::all_programs;
use crate::api::console::visit::Visit;
use crate::api::pb;

pub(super) async fn show(visit: Visit) -> Result<Response, Refused> {
    list(&visit, StatusCode::OK, None).await
}

pub(super) async fn join(
    visit: Visit,
    Path(program_id): Path<String>,
    form: SentForm,
) -> Result<Response, Refused> {
    let request = pb::EnrollParticipantRequest {
        program_id: program_id.clone(),
        user_id: visit.signed_in()?.user_id.to_string(),
        referral_code: form.text("referral_code"),
        request_id: form.request_id(),
    };
    match visit.call(request).await {
        Ok(joined) => {
            Ok(visit.see_other(&path(&program_id, ""), "joined", &joined.consistency_token))
        }
        Err(status) => {
            let (code, sent) = faults::placed(&status, form.sent(), &[]);
            list(&visit, code, Some((program_id, sent))).await
        }
    }
}

async fn list(
    visit: &Visit,
    code: StatusCode,
    sent: Option<(String, Sent)>,
) -> Result<Response, Refused> {
    let person = visit.person().await?;
    let mut programs = all_programs(visit).await?;
    programs.retain(|program| {
        person.programs.iter().all(|known| known.program_id != program.program_id)
    });
    let keys = || visit.command();
    let view = View { programs: &programs, sent, keys: &keys };
    let form_token = visit.form_token();
    let sidebar = person.sidebar(visit, &form_token);
    Ok(visit.page_with(code, page(&view, &sidebar, visit.reader())))
}
