//! What only `tributary dev` has: a link that signs the operator in once.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use tokio::time::Instant;

use crate::api::pb::LoginRequest;
use crate::engine::Environment;

/// How long the link is good.
const LINK_LIFE: Duration = Duration::from_mins(15);

/// What only `tributary dev` has. Cheap to clone.
#[derive(Clone)]
pub struct DevPages(Arc<Mutex<Option<Link>>>);

/// The link that signs the operator in.
struct Link {
    token: String,
    login: String,
    password: String,
    ends: Instant,
}

impl fmt::Debug for DevPages {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("DevPages")
    }
}

impl DevPages {
    /// A link for this account, and its token.
    #[must_use]
    pub fn new(login: &str, password: &str, environment: &Environment) -> (Self, String) {
        let mut random = [0; 32];
        (environment.random)(&mut random);
        let token = URL_SAFE_NO_PAD.encode(random);
        let link = Link {
            token: token.clone(),
            login: login.into(),
            password: password.into(),
            ends: Instant::now() + LINK_LIFE,
        };
        (Self(Arc::new(Mutex::new(Some(link)))), token)
    }

    /// What signs in whoever has the link, which is of no use from now on; `None` if this is not its token.
    pub(super) fn use_link(&self, token: &str) -> Option<LoginRequest> {
        let mut link = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let used = link.take_if(|link| link.token == token)?;
        (used.ends > Instant::now()).then(|| LoginRequest {
            login: used.login,
            password: used.password,
            ..Default::default()
        })
    }
}
