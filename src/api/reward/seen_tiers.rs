//! `MarkTierSeen`: that somebody was shown which tier they have reached, and whether they still have to be.

use super::Handlers;
use crate::api::errors::ApiError;
use crate::api::fields::Fields;
use crate::api::guard::Call;
use crate::api::pb;
use crate::api::reads::{Named, must_exist};
use crate::store::seen_tiers;
use domain::rules::ProgramRules;
use domain::{ParticipantId, Refusal};

impl Handlers {
    pub(in crate::api) async fn mark_tier_seen(
        &self,
        call: Call<pb::MarkTierSeenRequest>,
    ) -> Result<pb::MarkTierSeenResponse, ApiError> {
        let request = &call.message;
        let mut fields = Fields::of(request);
        let tier = fields.required("tier", &request.tier);
        let id = fields.participant(&request.program_id, &request.user_id);
        let (id, tier) = fields.finish(id.zip(tier))?;
        must_exist(&self.0, Named::Participant(&id)).await?;
        let rules = self.rules(&id.program_id, None).await?;
        let Some(names) = up_to(&rules, tier) else {
            let (program_id, tier) = (id.program_id, tier.to_owned());
            return Err(Refusal::TierNotFound { program_id, tier }.into());
        };
        let marked = seen_tiers::mark(self.0.database.pool(), &id, &names).await?;
        Ok(pb::MarkTierSeenResponse { first: marked.iter().any(|marked| marked == tier) })
    }

    /// The tier that a participant has reached and was not shown yet; empty if there is none.
    pub(super) async fn unseen_tier(
        &self,
        id: &ParticipantId,
        tier: &str,
        rules: &ProgramRules,
    ) -> Result<String, ApiError> {
        // The lowest one is nobody's achievement.
        if up_to(rules, tier).is_none_or(|names| names.len() < 2) {
            return Ok(String::new());
        }
        let is_seen = seen_tiers::is_seen(self.0.database.pool(), id, tier).await?;
        Ok(if is_seen { String::new() } else { tier.to_owned() })
    }
}

/// The names of the tiers up to this one, the lowest first; none if the program has no such tier.
fn up_to<'a>(rules: &'a ProgramRules, tier: &str) -> Option<Vec<&'a str>> {
    let (_, tiers) = rules.tier_rule()?;
    let place = tiers.iter().position(|of| of.name == tier)?;
    Some(tiers[..=place].iter().map(|of| of.name.as_str()).collect())
}
