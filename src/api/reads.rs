//! What reads have in common: how fresh an answer must be, and what to answer if nothing was found.

use std::pin::Pin;

use tokio::time::Instant;

use super::Context;
use super::deadline::Deadline;
use super::errors::{ApiError, internal};
use super::tokens::wanted_position;
use crate::engine::query::query;
use crate::read::{At, Freshness, ReadError};
use crate::store::log;
use domain::decide::existing_program;
use domain::{
    ApiKey, ApiKeyId, Halt, ParticipantId, ProgramId, Purchase, PurchaseId, Refusal, User, UserId,
    Work, existing_participant, load,
};

/// The share of the caller's timeout that is used for waiting; the rest is for the answer.
const WAITING_SHARE: f64 = 0.9;

/// How long the answer to a request may wait: until the caller's deadline, or for the server's limit if that
/// is earlier.
pub(super) fn deadline(context: &Context, ends: Option<Deadline>) -> Instant {
    let patience = context.settings.read_patience;
    let allowed = ends.map_or(patience, |ends| ends.timeout.mul_f64(WAITING_SHARE).min(patience));
    Instant::now() + allowed
}

/// How fresh the answer to a request with a consistency token must be.
pub(super) async fn freshness(
    context: &Context,
    token: &str,
    deadline: Instant,
) -> Result<Freshness, ApiError> {
    Ok(Freshness { position: wanted_position(context, token).await?, deadline })
}

/// A read that may find nothing.
pub(super) type Reading<'a, T> =
    Pin<Box<dyn Future<Output = Result<At<Option<T>>, ReadError>> + Send + 'a>>;

/// The subject of a read, which must exist.
#[derive(Clone, Copy, Debug)]
pub(super) enum Named<'a> {
    User(&'a UserId),
    Program(&'a ProgramId),
    Participant(&'a ParticipantId),
}

impl Named<'_> {
    fn must_exist(self, work: &mut dyn Work) -> Result<(), Halt> {
        match self {
            Self::User(user_id) if load::<User>(work, user_id)?.exists() => Ok(()),
            Self::User(user_id) => Err(Refusal::UserNotFound(user_id.clone()).into()),
            Self::Program(program_id) => existing_program(work, program_id),
            Self::Participant(id) => existing_participant(work, id).map(|_| ()),
        }
    }
}

/// Refuses a request whose subject does not exist, and names what is missing: for a participant the program,
/// the user, or the enrollment.
pub(super) async fn must_exist(context: &Context, named: Named<'_>) -> Result<(), ApiError> {
    Ok(query(&context.database, &context.environment, |work| named.must_exist(work)).await?)
}

/// Reads something that must exist. If the read models do not know it, the log shows what is missing. If
/// nothing is missing, it is too new for the read models, and the read waits for them.
pub(super) async fn found<'a, T>(
    context: &Context,
    freshness: Freshness,
    named: Named<'_>,
    read: impl Fn(Freshness) -> Reading<'a, T> + Send,
) -> Result<At<T>, ApiError> {
    let at = read(freshness).await?;
    if let Some(found) = at.found {
        return Ok(At { position: at.position, found });
    }
    let at = read(newest(context, freshness, named).await?).await?;
    let Some(found) = at.found else {
        tracing::error!(position = at.position, "a read model lacks an event of the log");
        return Err(internal().into());
    };
    Ok(At { position: at.position, found })
}

/// The freshness at which a read model knows something that exists but was too new for it.
pub(super) async fn newest(
    context: &Context,
    freshness: Freshness,
    named: Named<'_>,
) -> Result<Freshness, ApiError> {
    must_exist(context, named).await?;
    let position = log::head(context.database.pool()).await?;
    Ok(Freshness { position, ..freshness })
}

/// The buyer of a purchase; `None` if there is no such purchase.
pub(super) async fn buyer_of(
    context: &Context,
    purchase_id: &PurchaseId,
) -> Result<Option<UserId>, ApiError> {
    let buyer = query(&context.database, &context.environment, |work| {
        let purchase = load::<Purchase>(work, purchase_id)?;
        Ok(purchase.recorded().map(|recorded| recorded.buyer_user_id.clone()))
    });
    Ok(buyer.await?)
}

/// The user who holds a key; `None` if there is no such key, or it is the key of a back end.
pub(super) async fn holder_of(
    context: &Context,
    key_id: &ApiKeyId,
) -> Result<Option<UserId>, ApiError> {
    let holder = query(&context.database, &context.environment, |work| {
        let key = load::<ApiKey>(work, key_id)?;
        Ok(key.created().and_then(|created| created.user_id.clone()))
    });
    Ok(holder.await?)
}
