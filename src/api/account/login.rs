//! `Login` and `RefreshSession`.

use super::Handlers;
use crate::access::logins::{Refresh, Tokens};
use crate::api::errors::{ApiError, status};
use crate::api::fields::Fields;
use crate::api::guard::Call;
use crate::api::pb::{self, ErrorReason};
use crate::api::responses::time;
use crate::engine::Submission;
use crate::store::Actor;
use domain::SessionsEnded;
use domain::decide::Command;

impl Handlers {
    pub(in crate::api) async fn login(
        &self,
        call: Call<pb::LoginRequest>,
    ) -> Result<pb::LoginResponse, ApiError> {
        let request = &call.message;
        let mut fields = Fields::of(request);
        let login = fields.login(&request.login);
        let password = fields.old_password("password", &request.password);
        let client_ip = fields.client_ip(&request.client_ip);
        let (login, password) = fields.finish(login.zip(password))?;
        let address = call.address_of_client(client_ip);
        let access = &self.0.access;
        let user = access.check_login(&login, password, address).await?;
        let (code, door) = (&request.second_factor_code, call.door());
        self.check_second_factor(&user.user_id, code, door).await?;
        let tokens = access.start_session(&user, call.user_agent()).await?;
        let user = self.find(&user.user_id).await?.user;
        let Tokens { access_token, expire_time, refresh_token, session_id } = tokens;
        Ok(pb::LoginResponse {
            access_token,
            expire_time: Some(time(expire_time)),
            refresh_token,
            user,
            session_id: session_id.to_string(),
        })
    }

    pub(in crate::api) async fn refresh_session(
        &self,
        call: Call<pb::RefreshSessionRequest>,
    ) -> Result<pb::RefreshSessionResponse, ApiError> {
        let request = &call.message;
        let mut fields = Fields::of(request);
        let token = fields.secret("refresh_token", &request.refresh_token);
        let token = fields.finish(token)?;
        match self.0.access.refresh(&token).await? {
            Refresh::Exchanged(tokens) => {
                let Tokens { access_token, expire_time, refresh_token, session_id } = tokens;
                Ok(pb::RefreshSessionResponse {
                    access_token,
                    expire_time: Some(time(expire_time)),
                    refresh_token,
                    session_id: session_id.to_string(),
                })
            }
            Refresh::Ended => Err(refused()),
            Refresh::Stolen(session) => {
                // Whoever has the other copy cannot be told from the owner, so both must log in again.
                let ended = SessionsEnded::These(vec![session.session_id]);
                let command = Command::EndSessions { user_id: session.user_id, ended };
                let submission = Submission::new(command, Actor::SYSTEM, call.door());
                let committed = self.0.engine.execute(submission).await?;
                self.0.access.learn(&committed.events);
                Err(refused())
            }
        }
    }
}

fn refused() -> ApiError {
    let message = "the refresh token is unknown, was used already or has ended; log in again";
    status(ErrorReason::InvalidCredentials, message, &[]).into()
}
