//! The verdict on a command: what the rules demand, against what the log has.

use domain::{Kind, StreamKey};

use super::effect::{Effect, cancel, name_all};
use super::reckon::{self, Purchase};
use super::world::PersonIndex;
use super::{Finding, Judgement, Oracle, own, settle};

impl Oracle {
    pub(super) fn judge(&mut self, judgement: Judgement, position: i64) {
        let Judgement { mut expected, mut found, purchase, changed, own, .. } = judgement;
        let changed = changed.iter().flat_map(|before| settle::of_change(&self.world, before));
        expected.extend(changed);
        expected.extend(own.iter().flat_map(|before| own::of_own(&self.world, before)));
        // What follows from a referral that was held with the purchase is none of the purchase's consequences.
        self.rewards += count_rewards(&expected);
        cancel(&mut expected, &mut found);
        if let Some((purchase, _, persons)) = purchase {
            for person in persons {
                let mut of_program = Vec::new();
                let program = self.world.person(person).program;
                found = found.into_iter().fold(Vec::new(), |mut others, effect| {
                    let is_here = effect.program == program;
                    if is_here { &mut of_program } else { &mut others }.push(effect);
                    others
                });
                self.judge_purchase(person, &purchase, &of_program, position);
            }
        }
        name_all(expected, found, position, &mut |finding| self.find(finding));
    }

    /// Judges a purchase in one program, by the version that was in force. Where another version may have judged it,
    /// that one's verdict is good, too.
    fn judge_purchase(
        &mut self,
        buyer: PersonIndex,
        purchase: &Purchase,
        found: &[Effect],
        position: i64,
    ) {
        let program = self.world.person(buyer).program;
        let mut first = None;
        for version in self.world.versions_for(program, purchase.date) {
            let mut expected = reckon::of_purchase(&self.world, buyer, purchase, &version);
            let mut left = found.to_vec();
            let rewards = count_rewards(&expected);
            cancel(&mut expected, &mut left);
            if expected.is_empty() && left.is_empty() {
                self.rewards += rewards;
                return;
            }
            first.get_or_insert((expected, left, rewards));
        }
        match first {
            Some((expected, left, rewards)) => {
                self.rewards += rewards;
                name_all(expected, left, position, &mut |finding| self.find(finding));
            }
            None => self.find(Finding {
                about: StreamKey { kind: Kind::Purchase, id: purchase.id.clone() }.to_string(),
                what: format!(
                    "expected a version of program '{}', found none",
                    self.world.program(program).id
                ),
                position,
            }),
        }
    }
}

fn count_rewards(effects: &[Effect]) -> u64 {
    effects.iter().map(|effect| u64::from(effect.name == "RewardGranted")).sum()
}
