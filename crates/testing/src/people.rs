//! People who log in.

use contract::pb::account_service_client::AccountServiceClient;
use contract::pb::*;
use tonic::transport::Channel;
use tonic::{Request, Status};

use crate::Client;

/// A call with an access token.
pub fn with<M>(token: &str, message: M) -> Request<M> {
    let mut request = Request::new(message);
    let value = format!("Bearer {token}").parse().unwrap();
    request.metadata_mut().insert("authorization", value);
    request
}

/// The accounts of a server, for people who log in.
#[derive(Clone)]
pub struct People(Client);

impl People {
    pub fn of(client: &Client) -> Self {
        Self(client.clone())
    }

    /// The service, for calls with [`with`].
    pub fn service(&self) -> AccountServiceClient<Channel> {
        self.0.accounts()
    }

    pub async fn login(&self, login: &str, password: &str) -> Result<LoginResponse, Status> {
        self.login_with(login, password, "").await
    }

    /// Logs in with a code of the second factor.
    pub async fn login_with(
        &self,
        login: &str,
        password: &str,
        code: &str,
    ) -> Result<LoginResponse, Status> {
        let request = LoginRequest {
            login: login.into(),
            password: password.into(),
            second_factor_code: code.into(),
            ..Default::default()
        };
        Ok(self.service().login(request).await?.into_inner())
    }

    pub async fn refresh(&self, token: &str) -> Result<RefreshSessionResponse, Status> {
        let request = RefreshSessionRequest { refresh_token: token.into() };
        Ok(self.service().refresh_session(request).await?.into_inner())
    }

    pub async fn sessions(&self, token: &str) -> Result<Vec<Session>, Status> {
        let request = with(token, ListSessionsRequest::default());
        Ok(self.service().list_sessions(request).await?.into_inner().sessions)
    }

    pub async fn logout(&self, token: &str, session_id: &str) -> Result<LogoutResponse, Status> {
        let message = LogoutRequest { session_id: session_id.into(), ..Default::default() };
        Ok(self.service().logout(with(token, message)).await?.into_inner())
    }

    pub async fn change(&self, token: &str, old: &str, new: &str) -> Result<(), Status> {
        let message = ChangePasswordRequest { old_password: old.into(), new_password: new.into() };
        self.service().change_password(with(token, message)).await.map(drop)
    }

    /// Reads the own user.
    pub async fn me(&self, token: &str) -> Result<User, Status> {
        let request = with(token, GetUserRequest::default());
        Ok(self.service().get_user(request).await?.into_inner().user.unwrap())
    }
}
