//! `OperatorService`: key figures of programs, the log itself, the jobs and the mails.

mod event_log;
mod events;
mod jobs;
mod mails;
pub(in crate::api) mod report;
mod retry;

use crate::api::Context;
use crate::api::errors::ApiError;
use crate::api::fields::Fields;
use crate::api::guard::Call;
use crate::api::pb;
use crate::api::permissions::{Callers, Rule, Subject, row};
use crate::api::reads::{Named, Reading, found, freshness};
use crate::api::responses::{count, money};
use crate::read::At;
use domain::ProgramId;

/// Who may call what of the service, and whose data it is: one row per RPC.
pub(super) const RULES: &[Rule] = {
    use Callers::Operators;
    use Subject::{None, UserOrEverybody};
    &[
        row("OperatorService", "GetOverview", Operators, None),
        row("OperatorService", "GetConversionReport", Operators, None),
        row("OperatorService", "ReadEvents", Operators, UserOrEverybody("user_id", Operators)),
        row("OperatorService", "WatchEvents", Operators, UserOrEverybody("user_id", Operators)),
        row("OperatorService", "ListJobs", Operators, None),
        row("OperatorService", "RetryJob", Operators, None),
        row("OperatorService", "ListMails", Operators, UserOrEverybody("user_id", Operators)),
        row("OperatorService", "RetryMail", Operators, None),
    ]
};

pub(super) struct Handlers(pub(super) Context);

impl Handlers {
    pub(super) async fn get_overview(
        &self,
        call: Call<pb::GetOverviewRequest>,
    ) -> Result<pb::GetOverviewResponse, ApiError> {
        let request = &call.message;
        let mut fields = Fields::of(request);
        let program_id = fields.id("program_id", &request.program_id, ProgramId::parse);
        let program_id = fields.finish(program_id)?;
        let freshness = freshness(&self.0, &request.consistency_token, call.deadline).await?;
        let read = |freshness| -> Reading<'_, _> {
            Box::pin(self.0.reads.overview(&program_id, freshness))
        };
        let At { position, found } =
            found(&self.0, freshness, Named::Program(&program_id), read).await?;
        Ok(pb::GetOverviewResponse {
            registered: count(found.registered),
            referred: count(found.referred),
            organic: count(found.registered.saturating_sub(found.referred)),
            pending: count(found.pending),
            held: count(found.held),
            converted: count(found.converted),
            rejected: count(found.rejected),
            reward_count: i32::try_from(found.reward_count).unwrap_or(i32::MAX),
            rewards_granted_count: found.reward_count,
            rewards_granted: i64::try_from(found.granted_minor)
                .map(|granted_minor| money(&found.unit, granted_minor))
                .into_iter()
                .collect(),
            rewards_granted_minor_units: found.granted_minor.to_string(),
            rewards_reversed_minor_units: found.reversed_minor.to_string(),
            liability: Some(pb::Liability {
                currency_code: found.unit,
                pending_minor_units: found.owed.pending_minor.to_string(),
                available_minor_units: found.owed.available_minor.to_string(),
                reserved_minor_units: found.owed.reserved_minor.to_string(),
                debt_minor_units: found.debt_minor.to_string(),
            }),
            position,
        })
    }
}

/// The longest id of a job or a mail that an error repeats, in characters.
const MAX_SHOWN_ID_CHARS: usize = 64;

/// An id of a job or a mail, as errors repeat it. One that was never assigned can be any text, even an address.
fn shown_id(id: &str) -> String {
    let shown = if id.contains('@') { "" } else { id };
    shown.escape_default().take(MAX_SHOWN_ID_CHARS).collect()
}
