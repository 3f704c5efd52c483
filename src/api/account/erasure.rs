//! `EraseUser`.

use std::collections::BTreeMap;

use super::Handlers;
use super::status::read_user_id;
use crate::api::errors::ApiError;
use crate::api::guard::Call;
use crate::api::pb;
use crate::api::responses::money;
use crate::api::writes::{Written, carry_out};
use crate::store::RecordedEvent;
use domain::ParticipantId;
use domain::decide::Command;

impl Handlers {
    pub(in crate::api) async fn erase_user(
        &self,
        call: Call<pb::EraseUserRequest>,
    ) -> Result<pb::EraseUserResponse, ApiError> {
        let user_id = read_user_id(&call, &call.message.user_id)?;
        let forfeits_balances = call.message.forfeit_balances;
        let command = Command::EraseUser { user_id, forfeits_balances };
        let Written { events, consistency_token, .. } = carry_out(&self.0, &call, command).await?;
        Ok(pb::EraseUserResponse { forfeited: forfeited(&events)?, consistency_token })
    }
}

/// What the events of an erasure forfeit: the sum of the entries of each program.
fn forfeited(events: &[RecordedEvent]) -> Result<Vec<pb::ForfeitedBalance>, ApiError> {
    let mut sums: BTreeMap<String, (String, i64)> = BTreeMap::new();
    for event in events {
        let Some(posting) = event.posting()? else { continue };
        let program_id = ParticipantId::parse(&event.stream.id).unwrap_or_default().program_id;
        let change = posting.balance_change();
        let (_, sum) = sums.entry(program_id.to_string()).or_insert((posting.unit, 0));
        *sum = sum.saturating_sub(change);
    }
    let balance = |(program_id, (unit, amount)): (String, (String, i64))| pb::ForfeitedBalance {
        program_id,
        amount: Some(money(&unit, amount)),
    };
    Ok(sums.into_iter().map(balance).collect())
}
