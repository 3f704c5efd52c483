//! What only `tributary dev` has: an operator, a link that signs them in once, and sample people.

mod money;
mod people;
mod review;
mod sample;

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use tokio::time::Instant;
use tonic::{Request, Status};

use super::faults;
use crate::access::{Credential, Principal};
use crate::api::Context;
use crate::api::pb::{self, ErrorReason, LoginRequest};
use crate::api::services::InProcess;
use crate::engine::Environment;

/// How long the link is good.
const LINK_LIFE: Duration = Duration::from_mins(15);
/// The operator of `dev`.
const OPERATOR: &str = "operator";

/// What only `tributary dev` has. Cheap to clone.
#[derive(Clone)]
pub struct DevPages(Arc<Parts>);

struct Parts {
    password: String,
    link: Mutex<Option<Link>>,
    is_filling: AtomicBool,
}

/// The link that signs the operator in.
struct Link {
    token: String,
    ends: Instant,
}

impl fmt::Debug for DevPages {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("DevPages")
    }
}

impl DevPages {
    /// The pages of `dev`, whose operator has this password, and the token of the link that signs them in.
    #[must_use]
    pub fn new(password: &str, environment: &Environment) -> (Self, String) {
        let mut random = [0; 32];
        (environment.random)(&mut random);
        let token = URL_SAFE_NO_PAD.encode(random);
        let link = Link { token: token.clone(), ends: Instant::now() + LINK_LIFE };
        let parts = Parts {
            password: password.into(),
            link: Mutex::new(Some(link)),
            is_filling: AtomicBool::new(false),
        };
        (Self(Arc::new(parts)), token)
    }

    /// Registers the operator, unless there is one already.
    ///
    /// # Errors
    /// The status of the call that failed.
    pub async fn register_operator(&self, context: &Context) -> Result<(), Status> {
        let registered = call(
            context,
            pb::RegisterUserRequest {
                user_id: OPERATOR.into(),
                username: OPERATOR.into(),
                display_name: "The operator".into(),
                email: "operator@example.com".into(),
                password: self.0.password.clone(),
                ..Default::default()
            },
        )
        .await;
        match registered {
            Ok(_) => {
                let role = pb::UserRole::Admin.into();
                let user_id = OPERATOR.into();
                let request = pb::SetUserRoleRequest { user_id, role, ..Default::default() };
                call(context, request).await.map(|_| ())
            }
            // It is there from an earlier start, or somebody has taken its names.
            Err(status)
                if [
                    ErrorReason::UserIdTaken,
                    ErrorReason::UsernameTaken,
                    ErrorReason::EmailTaken,
                ]
                .into_iter()
                .any(|reason| faults::is(&status, reason)) =>
            {
                Ok(())
            }
            Err(status) => Err(status),
        }
    }

    /// What signs in whoever has the link, which is of no use from now on; `None` if this is not its token.
    pub(super) fn use_link(&self, token: &str) -> Option<LoginRequest> {
        let mut link = self.0.link.lock().unwrap_or_else(PoisonError::into_inner);
        let used = link.take_if(|link| link.token == token)?;
        (used.ends > Instant::now()).then(|| LoginRequest {
            login: OPERATOR.into(),
            password: self.0.password.clone(),
            ..Default::default()
        })
    }

    /// Whether the database has the sample people, or is being filled with them.
    pub(super) async fn has_sample(&self, context: &Context) -> Result<bool, Status> {
        Ok(self.0.is_filling.load(Ordering::SeqCst) || sample::is_there(context).await?)
    }

    /// Fills the database with sample people, in the background and once.
    pub fn fill(&self, context: &Context) {
        if self.0.is_filling.swap(true, Ordering::SeqCst) {
            return;
        }
        let (context, own) = (context.clone(), self.clone());
        tokio::spawn(async move {
            let stopping = context.stopping.clone();
            let filling = stopping.run_until_cancelled(sample::fill(&context));
            if let Some(Err(status)) = filling.await {
                tracing::warn!(%status, "the sample people could not be made");
            }
            own.0.is_filling.store(false, Ordering::SeqCst);
        });
    }
}

/// Makes a call with the admin key.
async fn call<M: InProcess>(context: &Context, message: M) -> Result<M::Answer, Status> {
    let mut request = Request::new(message);
    request.extensions_mut().insert(Principal::ADMIN_KEY);
    request.extensions_mut().insert(Credential::AdminKey);
    Box::pin(M::make(context.clone(), request)).await
}
