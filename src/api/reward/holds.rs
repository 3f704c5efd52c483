//! Rewards that operators hold and release.

use super::Handlers;
use crate::api::consequences::Consequences;
use crate::api::errors::ApiError;
use crate::api::guard::Call;
use crate::api::pb;
use crate::api::responses::read;
use crate::api::writes::{Repeatable, carry_out, command_fields};
use crate::store::log;
use domain::decide::{Command, HoldReward, RewardName};
use domain::{Participant, ParticipantEvent, ParticipantId, ProgramId, Refusal, Stream, StreamKey};

impl Handlers {
    pub(in crate::api) async fn hold_reward(
        &self,
        call: Call<pb::HoldRewardRequest>,
    ) -> Result<pb::HoldRewardResponse, ApiError> {
        let pb::HoldRewardRequest { reward_id, note, .. } = &call.message;
        let (changes, consistency_token) =
            self.change(&call, reward_id, note, Command::HoldReward).await?;
        Ok(pb::HoldRewardResponse { changes, consistency_token })
    }

    pub(in crate::api) async fn release_reward(
        &self,
        call: Call<pb::ReleaseRewardRequest>,
    ) -> Result<pb::ReleaseRewardResponse, ApiError> {
        let pb::ReleaseRewardRequest { reward_id, note, .. } = &call.message;
        let (changes, consistency_token) =
            self.change(&call, reward_id, note, Command::ReleaseReward).await?;
        Ok(pb::ReleaseRewardResponse { changes, consistency_token })
    }

    /// Holds or releases a reward, and returns what that moved, with the token.
    async fn change<M: Repeatable>(
        &self,
        call: &Call<M>,
        reward_id: &str,
        note: &str,
        command: fn(HoldReward) -> Command,
    ) -> Result<(Vec<pb::RewardReversal>, String), ApiError> {
        let mut fields = command_fields(&call.message);
        let reward_id = fields.reward_id("reward_id", reward_id);
        let note = fields.note("note", note);
        let reward_id = fields.finish(reward_id)?;
        let own = call.principal.program_ids();
        let reward = self.find_reward(&reward_id, own).await?;
        let written = carry_out(&self.0, call, command(HoldReward { reward, note })).await?;
        let changes = Consequences::of_recorded(&written.events, own)?.reversals;
        Ok((changes, written.consistency_token))
    }

    /// The reward with an id: the stream of its earner, and its sequence there. Those of other programs are unknown to
    /// keys that are limited to programs.
    async fn find_reward(
        &self,
        reward_id: &(ParticipantId, i64),
        own_programs: Option<&[ProgramId]>,
    ) -> Result<RewardName, ApiError> {
        let (earner, sequence) = reward_id;
        let not_found = || Refusal::RewardNotFound(format!("{earner}/{sequence}"));
        if own_programs.is_some_and(|own| !own.contains(&earner.program_id)) {
            return Err(not_found().into());
        }
        let stream = StreamKey::of::<Participant>(earner);
        let event = log::read_event(self.0.database.pool(), &stream, *sequence).await?;
        let known = event.as_ref().map(read).transpose()?.flatten();
        let granted = known
            .and_then(|(any, _)| Participant::event(any))
            .and_then(ParticipantEvent::granted)
            .ok_or_else(not_found)?;
        Ok(RewardName {
            program_id: earner.program_id.clone(),
            earner_user_id: earner.user_id.clone(),
            sequence: *sequence,
            source_user_id: granted.source_user_id,
            purchase_id: granted.purchase_id,
            level: granted.level,
        })
    }
}
