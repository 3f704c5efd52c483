//! `WatchFraudFlags`.

use super::Handlers;
use super::messages::{decision_message, kind_message};
use crate::api::Context;
use crate::api::errors::ApiError;
use crate::api::fields::Fields;
use crate::api::guard::Call;
use crate::api::pb;
use crate::api::reads::{Named, must_exist};
use crate::api::responses::{count, time};
use crate::api::tokens::{StreamName, consistency_token, resume_cursor, resume_token};
use crate::api::watch::{EventFeed, Messages, View, open, stream};
use crate::live::{Cursor, CutOff, Topic};
use crate::store::{RecordedEvent, log};
use domain::{FraudFlag, FraudFlagEvent, Kind, ProgramId, Stream, UserId};

impl Handlers {
    pub(in crate::api) async fn watch_fraud_flags(
        &self,
        call: Call<pb::WatchFraudFlagsRequest>,
    ) -> Result<Messages<pb::WatchFraudFlagsResponse>, ApiError> {
        let opening = open(&self.0, &call)?;
        let request = &call.message;
        let mut fields = Fields::of(request);
        let program_id = fields.optional_id("program_id", &request.program_id, ProgramId::parse);
        let program_id = fields.finish(Some(program_id))?;
        let of_program = program_id.as_ref().map(ProgramId::to_string).unwrap_or_default();
        let name = StreamName::new(call.rpc(), &of_program);
        let turn = opening.turn(&self.0).await;
        if let Some(program_id) = &program_id {
            must_exist(&self.0, Named::Program(program_id)).await?;
        }
        let from = resume_cursor(&self.0, name, &request.resume_token).await?;
        let cursor = if let Some(cursor) = from {
            cursor
        } else {
            let head = log::head(self.0.database.pool()).await?;
            Cursor { position: head, sequence: head }
        };
        drop(turn);
        let view = FlagsView { context: self.0.clone(), program_id };
        let first = FlagsView::heartbeat(resume_token(&self.0, name, cursor));
        let subscription = self.0.live.subscribe(Topic::Log, cursor, opening.caller());
        let feed = EventFeed { context: self.0.clone(), name, subscription, view };
        Ok(stream(&self.0, opening, vec![first], feed))
    }
}

/// What happens to flags, of one program or of all.
struct FlagsView {
    context: Context,
    program_id: Option<ProgramId>,
}

impl View for FlagsView {
    type Message = pb::WatchFraudFlagsResponse;

    fn message(
        &mut self,
        event: &RecordedEvent,
        resume_token: String,
    ) -> Result<Option<Self::Message>, CutOff> {
        if event.stream.kind != Kind::FraudFlag {
            return Ok(None);
        }
        let Some(fact) = FraudFlag::event(event.read()?) else { return Ok(None) };
        let of_program = match &fact {
            FraudFlagEvent::FraudFlagRaised(raised) => &raised.program_id,
            FraudFlagEvent::FraudFlagRepeated(repeated) => &repeated.program_id,
            FraudFlagEvent::FraudFlagResolved(resolved) => &resolved.program_id,
        };
        if self.program_id.as_ref().is_some_and(|wanted| wanted != of_program) {
            return Ok(None);
        }
        let change = pb::FraudFlagChange {
            flag_id: event.stream.id.to_string(),
            program_id: of_program.to_string(),
            change_time: Some(time(event.recorded_at)),
            consistency_token: consistency_token(&self.context, event.position),
            ..change(&fact)
        };
        Ok(Some(pb::WatchFraudFlagsResponse { change: Some(change), resume_token }))
    }

    fn heartbeat(resume_token: String) -> Self::Message {
        pb::WatchFraudFlagsResponse { change: None, resume_token }
    }

    fn token(message: &Self::Message) -> &str {
        &message.resume_token
    }
}

/// What the event itself says.
fn change(fact: &FraudFlagEvent) -> pb::FraudFlagChange {
    let id = |user_id: &Option<UserId>| user_id.as_ref().map(UserId::to_string).unwrap_or_default();
    match fact {
        FraudFlagEvent::FraudFlagRaised(raised) => pb::FraudFlagChange {
            kind: kind_message(raised.kind).into(),
            score_bps: count(raised.score_bps),
            referee_user_id: id(&raised.referee_user_id),
            referrer_user_id: id(&raised.referrer_user_id),
            other_user_id: id(&raised.other_user_id),
            count: 1,
            ..pb::FraudFlagChange::default()
        },
        FraudFlagEvent::FraudFlagRepeated(repeated) => {
            pb::FraudFlagChange { count: count(repeated.count), ..pb::FraudFlagChange::default() }
        }
        FraudFlagEvent::FraudFlagResolved(resolved) => pb::FraudFlagChange {
            decision: decision_message(resolved.decision).into(),
            reverses_rewards: resolved.reverses_rewards,
            ..pb::FraudFlagChange::default()
        },
    }
}
