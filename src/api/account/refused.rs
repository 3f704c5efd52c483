//! Sign-ups that are refused because there were too many from one address: a flag is kept of them.
//!
//! One flag for each address and window of the check, however often it happens: repetitions are counted in its row, and
//! an event tells of them whenever their number has doubled. Nobody can fill the log.

use std::net::IpAddr;

use crate::api::Context;
use crate::api::errors::ApiError;
use crate::engine::Submission;
use crate::engine::query::query;
use crate::store::{Actor, Door, evidence, in_time};
use domain::ProgramId;
use domain::decide::{Command, FlagRefusedSignUp, refused_sign_up_flag};

/// Flags a refused sign-up. That it fails changes nothing for the caller, who is refused in any case.
pub(super) async fn flag(
    context: &Context,
    program_id: ProgramId,
    client_ip: IpAddr,
    actor: Actor,
    door: Door,
) {
    if let Err(error) = try_to_flag(context, program_id, client_ip, actor, door).await {
        let error = tonic::Status::from(error);
        tracing::warn!(error = error.message(), "a refused sign-up was not flagged");
    }
}

async fn try_to_flag(
    context: &Context,
    program_id: ProgramId,
    client_ip: IpAddr,
    actor: Actor,
    door: Door,
) -> Result<(), ApiError> {
    let flag_id = query(&context.database, &context.environment, |work| {
        refused_sign_up_flag(work, &program_id, client_ip)
    })
    .await?;
    let Some(flag_id) = flag_id else { return Ok(()) };
    let count = in_time(evidence::repeat(context.database.pool(), &flag_id)).await?;
    // The first event says that the flag was raised, later ones that the number of repetitions has doubled.
    if count.is_some_and(|count| !count.is_power_of_two()) {
        return Ok(());
    }
    let count = count.unwrap_or(1);
    let command = Command::FlagRefusedSignUp(FlagRefusedSignUp { program_id, client_ip, count });
    let committed = context.engine.execute(Submission::new(command, actor, door)).await?;
    if count == 1 && committed.events.is_empty() {
        // Another call has raised it meanwhile.
        in_time(evidence::repeat(context.database.pool(), &flag_id)).await?;
    }
    Ok(())
}
