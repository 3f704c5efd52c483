//! Who records the purchases of a run: the admin key that the run was given, or a credential that it makes for itself
//! and takes back at its end.

use clap::ValueEnum;
use serde::Serialize;

use super::LoadError;
use super::connections::Connections;
use contract::pb::account_service_client::AccountServiceClient;
use contract::pb::{
    ApiKeyRole, CreateApiKeyRequest, DeactivateUserRequest, LoginRequest, RegisterUserRequest,
    RevokeApiKeyRequest, SetUserRoleRequest, UserRole,
};
use domain::Timestamp;

/// How long a key of a run is good, in seconds, if the run is interrupted and cannot revoke it.
const KEY_LIFE_S: i64 = 24 * 60 * 60;

/// The kinds of callers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Caller {
    /// The admin key that the run was given
    AdminKey,
    /// A service key, as a back end has it
    ServiceKey,
    /// The access token of an admin who has logged in
    Person,
}

impl Caller {
    /// The name on the command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::AdminKey => "admin key",
            Self::ServiceKey => "service key",
            Self::Person => "person",
        }
    }
}

/// What the run must take back at its end.
#[derive(Debug)]
enum Made {
    Nothing,
    Key { key_id: String },
    Person { user_id: String },
}

/// A caller with its credential.
#[derive(Debug)]
pub(super) struct Credential {
    /// Connections that carry the credential.
    pub(super) connections: Connections,
    made: Made,
}

impl Credential {
    /// Makes the credential of a caller with the admin key.
    pub(super) async fn make(
        caller: Caller,
        admin: &Connections,
        run: &str,
        moment: Timestamp,
    ) -> Result<Self, LoadError> {
        let (secret, made) = match caller {
            Caller::AdminKey => {
                return Ok(Self { connections: admin.clone(), made: Made::Nothing });
            }
            Caller::ServiceKey => create_key(admin, run, moment).await?,
            Caller::Person => log_in(admin, run).await?,
        };
        Ok(Self { connections: admin.with(Some(&secret))?, made })
    }

    /// Takes the credential back.
    pub(super) async fn end(self, admin: &Connections) -> Result<(), LoadError> {
        let mut accounts = AccountServiceClient::new(admin.channel(0));
        match self.made {
            Made::Nothing => {}
            Made::Key { key_id } => {
                let message = RevokeApiKeyRequest { key_id, ..Default::default() };
                let revoked = accounts.revoke_api_key(admin.request(message)).await;
                revoked.map_err(LoadError::call("revoke the key of the run"))?;
            }
            Made::Person { user_id } => {
                // Another role ends all sessions.
                set_role(admin, &user_id, UserRole::Participant).await?;
                let message = DeactivateUserRequest { user_id, ..Default::default() };
                let deactivated = accounts.deactivate_user(admin.request(message)).await;
                deactivated.map_err(LoadError::call("deactivate the account of the run"))?;
            }
        }
        Ok(())
    }
}

async fn create_key(
    admin: &Connections,
    run: &str,
    moment: Timestamp,
) -> Result<(String, Made), LoadError> {
    let seconds = moment.0.div_euclid(1_000_000) + KEY_LIFE_S;
    let message = CreateApiKeyRequest {
        name: run.into(),
        role: ApiKeyRole::Service.into(),
        expire_time: Some(prost_types::Timestamp { seconds, nanos: 0 }),
        ..Default::default()
    };
    let mut accounts = AccountServiceClient::new(admin.channel(0));
    let created = accounts.create_api_key(admin.request(message)).await;
    let created = created.map_err(LoadError::call("create a key for the run"))?.into_inner();
    let key_id = created.key.unwrap_or_default().key_id;
    Ok((created.api_key, Made::Key { key_id }))
}

/// Registers an admin, whose password nobody knows after the run, and logs in.
async fn log_in(admin: &Connections, run: &str) -> Result<(String, Made), LoadError> {
    let user_id = format!("{run}-caller");
    let password = random_password()?;
    let message = RegisterUserRequest {
        username: user_id.clone(),
        email: format!("{user_id}@example.com"),
        user_id: user_id.clone(),
        password: password.clone(),
        ..Default::default()
    };
    let mut accounts = AccountServiceClient::new(admin.channel(0));
    let registered = accounts.register_user(admin.request(message)).await;
    registered.map_err(LoadError::call("register an account for the run"))?;
    set_role(admin, &user_id, UserRole::Admin).await?;
    let message = LoginRequest { login: user_id.clone(), password, ..Default::default() };
    let session = accounts.login(admin.with(None)?.request(message)).await;
    let session = session.map_err(LoadError::call("log in for the run"))?.into_inner();
    Ok((session.access_token, Made::Person { user_id }))
}

async fn set_role(admin: &Connections, user_id: &str, role: UserRole) -> Result<(), LoadError> {
    let message =
        SetUserRoleRequest { user_id: user_id.into(), role: role.into(), ..Default::default() };
    let mut accounts = AccountServiceClient::new(admin.channel(0));
    let changed = accounts.set_user_role(admin.request(message)).await;
    changed.map_err(LoadError::call("change the role of the run's account"))?;
    Ok(())
}

/// A password that satisfies every rule that a server can have.
#[expect(
    clippy::disallowed_methods,
    reason = "the password of an account that lives as long as the run"
)]
fn random_password() -> Result<String, LoadError> {
    let mut random = [0; 16];
    getrandom::fill(&mut random).map_err(|error| LoadError::Unusable {
        what: "the randomness of this machine",
        reason: error.to_string(),
    })?;
    Ok(format!("Load-1-{:032x}", u128::from_le_bytes(random)))
}
