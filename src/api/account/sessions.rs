//! `ListSessions` and `Logout`.

use super::Handlers;
use crate::access::Principal;
use crate::api::errors::{ApiError, status};
use crate::api::fields::Fields;
use crate::api::guard::Call;
use crate::api::pb::{self, ErrorReason};
use crate::api::responses::time;
use crate::api::tokens::consistency_token;
use crate::engine::Submission;
use crate::store::{in_time, sessions};
use domain::decide::Command;
use domain::{SessionId, SessionsEnded, UserId};

impl Handlers {
    pub(in crate::api) async fn list_sessions(
        &self,
        call: Call<pb::ListSessionsRequest>,
    ) -> Result<pb::ListSessionsResponse, ApiError> {
        let request = &call.message;
        let mut fields = Fields::of(request);
        let user_id =
            fields.id("user_id", own_or(&request.user_id, &call.principal), UserId::parse);
        let user_id = fields.finish(user_id)?;
        let listed = in_time(sessions::list(self.0.database.pool(), &user_id)).await?;
        if listed.is_empty() {
            // Tells a user without sessions from one that does not exist.
            self.find(&user_id).await?;
        }
        let own = own_session(&call.principal).unwrap_or_default();
        let sessions = listed.into_iter().map(|session| pb::Session {
            is_current: session.session_id == own,
            session_id: session.session_id,
            user_agent: session.user_agent,
            create_time: Some(time(session.create_time)),
            refresh_time: Some(time(session.use_time)),
            expire_time: Some(time(session.expire_time)),
        });
        Ok(pb::ListSessionsResponse { sessions: sessions.collect() })
    }

    pub(in crate::api) async fn logout(
        &self,
        call: Call<pb::LogoutRequest>,
    ) -> Result<pb::LogoutResponse, ApiError> {
        let request = &call.message;
        let mut fields = Fields::of(request);
        let user_id =
            fields.id("user_id", own_or(&request.user_id, &call.principal), UserId::parse);
        let session_id = match request.session_id.as_str() {
            "" => own_session(&call.principal).unwrap_or_default(),
            given => given,
        };
        let session_id = fields.id("session_id", session_id, SessionId::parse);
        let (user_id, session_id) = fields.finish(user_id.zip(session_id))?;
        let pool = self.0.database.pool();
        match in_time(sessions::has_ended(pool, &user_id, &session_id)).await? {
            Some(false) => {}
            // A repetition.
            Some(true) => return Ok(pb::LogoutResponse::default()),
            None => {
                let message = format!("user '{user_id}' has no session '{session_id}'");
                let facts: [(&str, &dyn std::fmt::Display); 2] =
                    [("user_id", &user_id), ("session_id", &session_id)];
                return Err(status(ErrorReason::SessionNotFound, message, &facts).into());
            }
        }
        let ended = SessionsEnded::These(vec![session_id]);
        let command = Command::EndSessions { user_id, ended };
        let submission = Submission::new(command, call.principal.actor(), call.door());
        let committed = self.0.engine.execute(submission).await?;
        self.0.access.learn(&committed.events);
        let consistency_token = consistency_token(&self.0, committed.position);
        Ok(pb::LogoutResponse { consistency_token })
    }
}

/// The user who is named; the caller, if nobody is.
fn own_or<'a>(named: &'a str, principal: &'a Principal) -> &'a str {
    match principal {
        Principal::User { user_id, .. } if named.is_empty() => user_id.as_str(),
        _ => named,
    }
}

/// The session that the caller calls with.
fn own_session(principal: &Principal) -> Option<&str> {
    match principal {
        Principal::User { session_id, .. } => Some(session_id),
        Principal::Anonymous | Principal::Key { .. } => None,
    }
}
