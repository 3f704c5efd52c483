//! The layer between tonic and the handlers: every call by any caller over any connection is checked against
//! the row of its RPC in the permission table.

use std::fmt::Display;
use std::future::poll_fn;
use std::net::IpAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::task::Poll;

use tokio::time::{Instant, timeout_at};
use tonic::metadata::{Ascii, MetadataValue};
use tonic::{Request, Status};

use super::Context;
use super::authentication::{UnknownCredentials, unknown_credentials};
use super::deadline::Deadline;
use super::errors::{ApiError, internal, status};
use super::peer::{ClientAddress, counted};
use super::permissions::{Admitted, Denied, NamedFields, PROGRAM_LIMIT, Rule};
use super::reads;
use super::redaction::{Redaction, without_others};
use crate::access::{Credential, Principal, Role};
use crate::lifecycle::message_of;
use crate::store::{ANSWER_TIMEOUT, Door, StoreError};
use domain::{ApiKeyId, PurchaseId, Refusal, UserId};

/// The handlers of a service behind their guard. The only type that tonic's services are implemented for.
pub(super) struct Guarded<H>(pub(super) H);

/// Among the extensions of a request that a page of the console makes.
#[derive(Clone, Copy, Debug)]
pub(super) struct ThroughConsole;

/// A call that was admitted.
pub(super) struct Call<M> {
    /// The row of its RPC.
    rule: &'static Rule,
    /// Who makes it.
    pub(super) principal: Principal,
    /// How long the answer may wait for what it depends on.
    pub(super) deadline: Instant,
    /// When the caller stops waiting, and a stream ends.
    pub(super) ends: Option<Deadline>,
    /// The request. An omitted subject has been filled in.
    pub(super) message: M,
    /// By what the caller was identified. `None` without credentials, and for calls within the process.
    pub(super) credential: Option<Credential>,
    /// Where the call comes from, if that is known.
    pub(super) address: Option<ClientAddress>,
    /// What the client calls itself.
    user_agent: Option<MetadataValue<Ascii>>,
    /// Whether a page of the console makes it.
    is_of_console: bool,
}

impl<M> Call<M> {
    /// The name of the RPC, without the service.
    pub(super) fn rpc(&self) -> &'static str {
        self.rule.rpc
    }

    /// How its command comes in, as the log records it.
    pub(super) fn door(&self) -> Door {
        if self.is_of_console { Door::console(self.rule.rpc) } else { Door::rpc(self.rule.rpc) }
    }

    /// The address that counts as one caller's, if it is known.
    pub(super) fn counted_address(&self) -> Option<IpAddr> {
        self.address.map(ClientAddress::counted)
    }

    /// The address that counts as one client's, where a back end may say on whose behalf it calls.
    pub(super) fn address_of_client(&self, said: Option<IpAddr>) -> Option<IpAddr> {
        match said {
            Some(address) if self.principal.is_back_end() => Some(counted(address.to_canonical())),
            _ => self.counted_address(),
        }
    }

    /// What the client calls itself.
    pub(super) fn user_agent(&self) -> &str {
        self.user_agent.as_ref().and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// What is left out of the answer.
    pub(super) fn redaction(&self) -> Redaction {
        Redaction::of(self.rule, &self.principal)
    }

    /// What an error may say.
    pub(super) fn visible(&self) -> Visible {
        if self.principal.is_back_end() {
            Visible::Everybody
        } else {
            Visible::Only(self.principal.user_id().cloned())
        }
    }
}

/// Whom the errors of a call may name.
pub(super) enum Visible {
    /// Everybody.
    Everybody,
    /// This user, or nobody.
    Only(Option<UserId>),
}

impl Visible {
    /// The status of an error, without what the caller may not see.
    pub(super) fn apply(&self, error: ApiError) -> Status {
        match self {
            Self::Everybody => error.into(),
            Self::Only(own) => without_others(error.into(), own.as_ref()),
        }
    }
}

/// Admits a call, or returns the status that rejects it.
pub(super) async fn admit<M: NamedFields>(
    context: &Context,
    rule: &'static Rule,
    request: Request<M>,
) -> Result<Call<M>, ApiError> {
    let (mut metadata, mut extensions, mut message) = request.into_parts();
    let user_agent = metadata.remove("user-agent");
    drop(metadata);
    let principal = extensions.remove().unwrap_or(Principal::Anonymous);
    let is_unknown = extensions.remove::<UnknownCredentials>().is_some();
    let ends = extensions.remove::<Deadline>();
    let deadline = reads::deadline(context, ends);
    let is_staff = |user_id: &str| context.access.staff().includes(user_id);
    let admitted = rule.admit(&principal, &is_staff, &mut message);
    match admitted
        .map_err(|reason| if is_unknown { unknown_credentials() } else { denied(reason) })?
    {
        Admitted::Fully => {}
        Admitted::IfBuyer { user_id, purchase_id } => {
            // The handler refuses a text that is not an id.
            if let Ok(purchase_id) = PurchaseId::parse(&purchase_id)
                && reads::buyer_of(context, &purchase_id).await? != Some(user_id)
            {
                return Err(Refusal::PurchaseNotFound(purchase_id).into());
            }
        }
        Admitted::UnlessBuyerIsStaff { purchase_id } => {
            if !context.access.staff().is_empty()
                && let Ok(purchase_id) = PurchaseId::parse(&purchase_id)
                && let Some(buyer) = reads::buyer_of(context, &purchase_id).await?
                && is_staff(buyer.as_str())
            {
                return Err(Refusal::PurchaseNotFound(purchase_id).into());
            }
        }
        Admitted::IfHolder { user_id, key_id } => {
            if let Ok(key_id) = ApiKeyId::parse(&key_id)
                && reads::holder_of(context, &key_id).await? != Some(user_id)
            {
                return Err(Refusal::ApiKeyNotFound(key_id).into());
            }
        }
    }
    let (credential, address) = (extensions.remove(), extensions.remove());
    let is_of_console = extensions.remove::<ThroughConsole>().is_some();
    Ok(Call {
        rule,
        principal,
        deadline,
        ends,
        message,
        credential,
        address,
        user_agent,
        is_of_console,
    })
}

/// Runs a handler. If it panics, the caller gets the status of a bug: the connection would otherwise say that
/// the call was cancelled.
pub(super) async fn caught<T>(
    rpc: &'static str,
    handler: impl Future<Output = Result<T, ApiError>>,
) -> Result<T, ApiError> {
    let mut handler = pin!(handler);
    poll_fn(|context| {
        let poll = AssertUnwindSafe(|| handler.as_mut().poll(context));
        catch_unwind(poll).unwrap_or_else(|panic| {
            let message = message_of(&*panic).unwrap_or("something without a message");
            tracing::error!(rpc, message, "a handler panicked");
            Poll::Ready(Err(internal().into()))
        })
    })
    .await
}

/// Bounds how long a read, or the beginning of a stream, may take after the moment until which it may wait for what it
/// depends on. Whatever hangs in the database then, the caller gets an answer.
pub(super) async fn bounded<T>(
    deadline: Instant,
    handler: impl Future<Output = Result<T, ApiError>>,
) -> Result<T, ApiError> {
    match timeout_at(deadline + ANSWER_TIMEOUT, handler).await {
        Ok(answer) => answer,
        Err(_) => Err(StoreError::Unavailable(sqlx::Error::PoolTimedOut).into()),
    }
}

/// The status of a rejected call.
#[allow(clippy::needless_pass_by_value, reason = "it stands where an error is mapped")]
pub(super) fn denied(denied: Denied) -> Status {
    let reason = denied.reason();
    match denied {
        Denied::MissingCredentials => {
            let message = "this call needs credentials: send 'authorization: Bearer' and a key, or the access_token \
                           of a login";
            status(reason, message, &[])
        }
        Denied::Login(role) => {
            let message = "this is for people who have logged in: call Login, and send its access_token in place of \
                           the key";
            status(reason, message, &[("role", &role.as_str())])
        }
        Denied::Unnamed { role, field } => {
            let role = role.as_str();
            let message = format!("the role {role} must name a user in {field}");
            let facts: [(&str, &dyn Display); 2] = [("role", &role), ("field", &field)];
            status(reason, message, &facts)
        }
        Denied::Role(role) => {
            let role = role.as_str();
            let message = format!(
                "the role {role} does not allow this call; the description of the RPC names its callers"
            );
            status(reason, message, &[("role", &role)])
        }
        Denied::Field { role, field } => {
            let role = role.as_str();
            let message = format!("the role {role} does not allow this {field}");
            let facts: [(&str, &dyn Display); 2] = [("role", &role), ("field", &field)];
            status(reason, message, &facts)
        }
        Denied::Limit { role, limit } => {
            let role = role.as_str();
            let message = match limit {
                "rpcs" => "the key is limited to other RPCs",
                _ => "the key is limited to other programs: name one of its own in program_id",
            };
            status(reason, message, &[("role", &role), ("limit", &limit)])
        }
        Denied::NoProgram { role } => {
            let message = "the key is limited to programs, and this RPC is about none: call it with a key without this \
                           limit";
            status(reason, message, &[("role", &role.as_str()), ("limit", &PROGRAM_LIMIT)])
        }
        Denied::Creates { role, limit } => {
            let message =
                "a key that is limited creates no other: create it with a key without limits";
            status(reason, message, &[("role", &role.as_str()), ("limit", &limit)])
        }
        Denied::Reserved { role, field } => {
            let message = format!(
                "{field} is for back ends: leave it out, or call with the key of a back end \
                 ('authorization: Bearer KEY')"
            );
            let role = role.map(Role::as_str);
            match role {
                None => status(reason, message, &[("field", &field)]),
                Some(role) => status(reason, message, &[("field", &field), ("role", &role)]),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_handler_that_panics_is_a_bug_and_not_a_cancelled_call() {
        let handler = async {
            tokio::task::yield_now().await;
            assert!(std::env::args().count() == 0, "what should never happen");
            Ok(())
        };
        let Err(error) = caught("GetUser", handler).await else { panic!("it answered") };
        let status = Status::from(error);
        assert_eq!(status.code(), tonic::Code::Internal);
        assert!(!status.message().contains("never"), "{status}");
        assert!(matches!(caught("GetUser", async { Ok(7) }).await, Ok(7)));
    }
}
