//! Purchases that are made up for. That one is made up for is an input; what it grants is not.

use std::sync::Arc;

use domain::{AnyEvent, ParticipantEvent, PurchaseEvent, PurchaseMadeUp};

use super::reckon::{self, Purchase};
use super::world::{CutOff, ProgramIndex};
use super::{Judgement, Oracle, RecordedEvent, program_of, split};

/// Takes in that a purchase is made up for, with what must follow.
pub(super) fn sort(
    oracle: &mut Oracle,
    event: &RecordedEvent,
    made_up: &PurchaseMadeUp,
    judgement: &mut Judgement,
) {
    let program = oracle.world.program_index(made_up.program_id.as_str());
    let key = (event.stream.id.clone(), program);
    let reckoned = oracle.world.cut_off(&key).and_then(|cut_off| {
        let versions = &oracle.world.program(program).versions;
        let version = versions.iter().find(|version| version.number == cut_off.version)?;
        Some(reckon::of_making_up(
            &oracle.world,
            cut_off.buyer,
            &cut_off.purchase,
            version,
            &cut_off.levels,
            cut_off.shared_minor,
        ))
    });
    let (levels, effects) = reckoned.unwrap_or_default();
    oracle.unless(!levels.is_empty() && levels == made_up.levels, event, || {
        format!("expected levels {levels:?} to be made up for, found {:?}", made_up.levels)
    });
    judgement.expected.extend(effects);
    judgement.made_up = Some(key);
}

/// Takes over what the log withheld because a referral did not count, and what it made up for.
pub(super) fn adopt(
    oracle: &mut Oracle,
    recorded: Option<&Purchase>,
    made_up: Option<&(Arc<str>, ProgramIndex)>,
    command: &[(RecordedEvent, AnyEvent)],
) {
    for (event, fact) in command {
        match fact {
            AnyEvent::Purchase(PurchaseEvent::RewardWithheld(withheld))
                if withheld.reason.is_of_standing() && withheld.rule.is_some() =>
            {
                let Some(purchase) = recorded else { continue };
                let program_id = program_of(withheld).to_owned();
                let program = oracle.world.program_index(&program_id);
                let buyer = buyer_of(oracle, &program_id, command);
                let cut_off = oracle.world.cut_offs.entry((event.stream.id.clone(), program));
                let cut_off = cut_off.or_insert_with(|| CutOff {
                    purchase: purchase.clone(),
                    buyer,
                    version: withheld.program_version,
                    levels: Vec::new(),
                    shared_minor: 0,
                });
                cut_off.levels.push(withheld.level);
            }
            AnyEvent::Purchase(PurchaseEvent::PurchaseMadeUp(of)) => {
                let cut_off = made_up.and_then(|key| oracle.world.cut_offs.get_mut(key));
                if let Some(cut_off) = cut_off {
                    cut_off.levels.retain(|level| !of.levels.contains(level));
                }
            }
            _ => {}
        }
    }
    for (event, fact) in command {
        let AnyEvent::Participant(ParticipantEvent::RewardGranted(granted)) = fact else {
            continue;
        };
        let (Some(purchase_id), Some(_)) = (&granted.purchase_id, granted.rate_bps) else {
            continue;
        };
        let program = oracle.world.program_index(split(&event.stream.id).0);
        let key = (Arc::from(purchase_id.as_str()), program);
        if let Some(cut_off) = oracle.world.cut_offs.get_mut(&key) {
            cut_off.shared_minor += granted.posting.amount;
        }
    }
    if let Some(key) = made_up
        && oracle.world.cut_off(key).is_some_and(|cut_off| cut_off.levels.is_empty())
    {
        oracle.world.cut_offs.remove(key);
    }
}

/// The buyer of the purchase that a command records, in a program.
fn buyer_of(
    oracle: &mut Oracle,
    program_id: &str,
    command: &[(RecordedEvent, AnyEvent)],
) -> super::PersonIndex {
    let buyer = command.iter().find_map(|(_, fact)| match fact {
        AnyEvent::Purchase(PurchaseEvent::PurchaseRecorded(of)) => Some(of.buyer_user_id.as_str()),
        _ => None,
    });
    oracle.world.person_index(program_id, buyer.unwrap_or_default())
}
