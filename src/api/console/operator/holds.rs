//! Holding a reward and releasing it.

use tonic::Status;

use crate::api::console::faults;
use crate::api::console::forms::SentForm;
use crate::api::console::visit::Visit;
use crate::api::pb;

/// Does what a form asks for; returns what was done, and the token of it.
pub(super) async fn decide(
    visit: &Visit,
    form: &SentForm,
) -> Result<(&'static str, String), Status> {
    let (reward_id, note) = (form.get("reward_id").to_owned(), form.text("note"));
    let request_id = form.request_id();
    if form.get("step") == "release" {
        let request = pb::ReleaseRewardRequest { reward_id, note, request_id };
        Ok(("reward-released", visit.call(request).await?.consistency_token))
    } else {
        let request = pb::HoldRewardRequest { reward_id, note, request_id };
        Ok(("reward-held", visit.call(request).await?.consistency_token))
    }
}

/// Why it could not be done, in words.
pub(super) fn told(status: &Status, form: &SentForm) -> String {
    let (_, sent) = faults::placed(status, form.sent(), &[]);
    let fault = sent.faults.into_iter().next().map(|(_, fault)| fault);
    sent.problem.or(fault).unwrap_or_default()
}
