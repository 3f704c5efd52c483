//! Rewards that must be withheld, and where that must stand.

use domain::reward::WithheldReason;
use domain::rules::RewardRule;
use domain::{Kind, StreamKey};

use super::effect::Effect;
use super::reckon::{Candidate, Reckoning, Unpaid};
use super::rulebook::is_the_earners_own;
use super::world::PersonIndex;

impl Reckoning<'_> {
    /// Records that nobody gets anything from a purchase: one record for each whom the rules name, or a single one
    /// if they name nobody.
    pub(super) fn withhold_from_all(&mut self, reason: WithheldReason) {
        let rules = &self.version.rules;
        let minimum = Some(rules.minimum_purchase_minor);
        let limit = minimum.filter(|_| reason == WithheldReason::BelowMinimum);
        let candidates = match reason {
            WithheldReason::RewardsReferralsOnly | WithheldReason::NotReferred => Vec::new(),
            _ => self.candidates(),
        };
        let unpaid = Unpaid { reason, computed_minor: None };
        if candidates.is_empty() {
            self.withhold(None, &unpaid, limit, false);
        }
        for Candidate { rule, person, .. } in candidates {
            self.withhold(Some((rule, person)), &unpaid, limit, false);
        }
    }

    pub(super) fn withhold(
        &mut self,
        earner: Option<(&RewardRule, PersonIndex)>,
        unpaid: &Unpaid,
        limit_minor: Option<i64>,
        qualified: bool,
    ) {
        let reason = unpaid.reason;
        let on_purchase = self.purchase.filter(|_| !is_the_earners_own(reason));
        let person = earner.map_or(self.source, |(_, person)| person);
        let stream = match on_purchase {
            Some(purchase) => StreamKey { kind: Kind::Purchase, id: purchase.id.clone() },
            None => StreamKey { kind: Kind::Participant, id: self.world.stream_id(person) },
        };
        let mut fields = vec![
            ("level", earner.map_or(0, |(rule, _)| rule.level).into()),
            ("program_version", self.version.number.into()),
            ("rule", earner.map(|(rule, _)| rule.rule.as_str()).into()),
            ("earner", earner.map(|(_, person)| self.world.user_id(person).clone()).into()),
            ("reason", format!("{reason:?}").as_str().into()),
            ("qualified", qualified.into()),
            ("limit", limit_minor.into()),
        ];
        // On the earner's stream the event says what the purchase would have said.
        let (source, purchase_id, computed_minor) = match on_purchase {
            Some(_) => (None, None, None),
            None => (
                Some(self.world.user_id(self.source).clone()),
                self.purchase.map(|purchase| purchase.id.clone()),
                unpaid.computed_minor,
            ),
        };
        let unit = computed_minor.map(|_| self.version.rules.unit.as_str());
        fields.extend([
            ("source", source.into()),
            ("purchase", purchase_id.into()),
            ("computed", computed_minor.into()),
            ("unit", unit.into()),
        ]);
        let program = self.world.person(self.source).program;
        self.effects.push(Effect { program, stream, name: "RewardWithheld", fields, position: 0 });
    }
}
