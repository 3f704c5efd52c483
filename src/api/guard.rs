//! The layer between tonic and the handlers: every call by any caller over any connection is checked against
//! the row of its RPC in the permission table.

use std::fmt::Display;

use tokio::time::Instant;
use tonic::{Request, Status};

use super::Context;
use super::errors::{ApiError, status};
use super::permissions::{Admitted, Denied, NamedFields, Rule};
use super::principal::Principal;
use super::reads::{self, deadline};
use domain::{PurchaseId, Refusal};

/// The handlers of a service behind their guard. The only type that tonic's services are implemented for.
pub(super) struct Guarded<H>(pub(super) H);

/// A call that was admitted.
pub(super) struct Call<M> {
    /// The row of its RPC.
    rule: &'static Rule,
    /// Who makes it.
    pub(super) principal: Principal,
    /// How long the answer may wait for what it depends on.
    pub(super) deadline: Instant,
    /// The request. An omitted subject has been filled in.
    pub(super) message: M,
}

impl<M> Call<M> {
    /// The name of the RPC, without the service.
    pub(super) fn rpc(&self) -> &'static str {
        self.rule.rpc
    }
}

/// Admits a call, or returns the status that rejects it.
pub(super) async fn admit<M: NamedFields>(
    context: &Context,
    rule: &'static Rule,
    mut request: Request<M>,
) -> Result<Call<M>, ApiError> {
    let principal = request.extensions_mut().remove().unwrap_or(Principal::Anonymous);
    let deadline = deadline(context, request.metadata());
    let mut message = request.into_inner();
    match rule.admit(&principal, &mut message).map_err(denied)? {
        Admitted::Fully => {}
        Admitted::IfBuyer { user_id, purchase_id } => {
            // The handler refuses a text that is not an id.
            if let Ok(purchase_id) = PurchaseId::parse(&purchase_id)
                && reads::buyer_of(context, &purchase_id).await? != Some(user_id)
            {
                return Err(Refusal::PurchaseNotFound(purchase_id).into());
            }
        }
    }
    Ok(Call { rule, principal, deadline, message })
}

/// The status of a rejected call.
#[allow(clippy::needless_pass_by_value, reason = "it stands where an error is mapped")]
pub(super) fn denied(denied: Denied) -> Status {
    let reason = denied.reason();
    match denied {
        Denied::MissingCredentials => {
            status(reason, "this call needs a key: send 'authorization: Bearer KEY'", &[])
        }
        Denied::Role(role) => {
            let role = role.as_str();
            let message = format!("the role {role} does not allow this call");
            status(reason, message, &[("role", &role)])
        }
        Denied::Field { role, field } => {
            let role = role.as_str();
            let message = format!("the role {role} does not allow this {field}");
            let facts: [(&str, &dyn Display); 2] = [("role", &role), ("field", &field)];
            status(reason, message, &facts)
        }
    }
}
