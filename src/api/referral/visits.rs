//! `GetVisits`: how often shared links were opened.

use super::Handlers;
use crate::api::errors::ApiError;
use crate::api::fields::Fields;
use crate::api::guard::Call;
use crate::api::operator::report::{date, report_days};
use crate::api::pb;
use crate::api::reads::{Named, must_exist};
use crate::store::visits;
use domain::{ParticipantId, ProgramId, UserId};

impl Handlers {
    pub(in crate::api) async fn get_visits(
        &self,
        call: Call<pb::GetVisitsRequest>,
    ) -> Result<pb::GetVisitsResponse, ApiError> {
        let (context, request) = (&self.0, &call.message);
        let mut fields = Fields::of(request);
        let days = report_days(
            &mut fields,
            request.start_time.as_ref(),
            request.end_time.as_ref(),
            (context.environment.now)(),
        );
        let user_id = fields.optional_id("user_id", &request.user_id, UserId::parse);
        let program_id = fields.id("program_id", &request.program_id, ProgramId::parse);
        let program_id = fields.finish(program_id)?;
        let pool = context.database.pool();
        let found = if let Some(user_id) = user_id {
            let id = ParticipantId::new(&program_id, &user_id);
            must_exist(context, Named::Participant(&id)).await?;
            visits::of_participant(pool, &id, days.clone()).await?
        } else {
            must_exist(context, Named::Program(&program_id)).await?;
            visits::of_program(pool, &program_id, days.clone()).await?
        };
        let mut counted = found.days.iter().peekable();
        let days = days.map(|day| pb::VisitDay {
            date: date(day),
            visits: counted.next_if(|(of, _)| *of == day).map_or(0, |(_, count)| *count),
        });
        Ok(pb::GetVisitsResponse {
            visits: found.days.iter().map(|(_, count)| count).sum(),
            days: days.collect(),
            visits_in_all: found.in_all,
        })
    }
}
