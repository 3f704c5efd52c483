//! Calls of RPC handlers within the process. A call has the principal, the address and the client of the visitor, is
//! counted and measured like one from outside, and passes the same guard.

use std::time::Instant;

use tonic::metadata::{Ascii, MetadataValue};
use tonic::{Code, Request, Status};

use super::Console;
use crate::access::{Caller, Principal};
use crate::api::guard::ThroughConsole;
use crate::api::peer::ClientAddress;
use crate::api::permissions::Rule;
use crate::api::services::InProcess;
use crate::api::telemetry::code_name;
use crate::metrics::Rpc;

/// What the names of RPCs begin with that change nothing.
const READS: [&str; 9] =
    ["Get", "List", "Find", "Read", "Preview", "Validate", "Simulate", "Export", "Watch"];

/// Whether an RPC changes something.
pub(super) fn is_command(rule: &Rule) -> bool {
    !READS.iter().any(|verb| rule.rpc.starts_with(verb))
}

/// Makes calls for a visitor.
pub(super) struct Calls {
    pub(super) console: Console,
    /// Who calls; `None` for those who have not signed in.
    pub(super) caller: Option<Caller>,
    pub(super) address: Option<ClientAddress>,
    pub(super) user_agent: Option<MetadataValue<Ascii>>,
}

impl Calls {
    /// Makes a call, which counts as one.
    pub(super) async fn call<M: InProcess>(&self, message: M) -> Result<M::Answer, Status> {
        let limits = &self.console.context().limits;
        if let Err(limited) = limits.admit(&self.principal(), self.address, Some(M::RULE)) {
            return Err(limited.status().await);
        }
        self.look(message).await
    }

    /// Makes a call that is a part of one that was counted: what a stream shows is read again with each change.
    pub(super) async fn look<M: InProcess>(&self, message: M) -> Result<M::Answer, Status> {
        let rpc = Rpc { service: M::RULE.service, rpc: M::RULE.rpc };
        let metrics = self.console.metrics();
        metrics.rpcs_started.get_or_create(&rpc).inc();
        let began = Instant::now();
        // On the heap, as handlers are large, and a page makes many calls.
        let answer = Box::pin(M::make(self.console.context().clone(), self.request(message))).await;
        let code = answer.as_ref().map_or_else(Status::code, |_| Code::Ok);
        metrics.handled(&rpc, code_name(code), began.elapsed());
        answer
    }

    fn request<M>(&self, message: M) -> Request<M> {
        let mut request = Request::new(message);
        if let Some(user_agent) = &self.user_agent {
            request.metadata_mut().insert("user-agent", user_agent.clone());
        }
        let extensions = request.extensions_mut();
        extensions.insert(ThroughConsole);
        extensions.insert(self.principal());
        if let Some(caller) = &self.caller {
            extensions.insert(caller.credential.clone());
        }
        if let Some(address) = self.address {
            extensions.insert(address);
        }
        request
    }

    fn principal(&self) -> Principal {
        let caller = self.caller.as_ref();
        caller.map_or(Principal::Anonymous, |caller| caller.principal.clone())
    }
}
