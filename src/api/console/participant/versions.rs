//! The versions of a program by which rewards were granted.

use std::collections::BTreeSet;

use crate::api::console::visit::Visit;
use crate::api::pb;

/// The versions by which entries of the ledger were granted.
pub(in crate::api::console) fn of_entries(entries: &[pb::BalanceEntry]) -> BTreeSet<i32> {
    let rewards = entries.iter().filter_map(|entry| entry.reward.as_ref());
    rewards.map(|reward| reward.program_version).collect()
}

/// The versions by which rewards were computed that were withheld.
pub(in crate::api::console) fn of_withheld(withheld: &[pb::WithheldReward]) -> BTreeSet<i32> {
    withheld.iter().map(|of| of.program_version).collect()
}

/// Reads the versions that are wanted and not known yet, each once, and adds them to those that are known. One that
/// cannot be read is left out: a ledger without the words of a rule is better than none.
pub(in crate::api::console) async fn add(
    visit: &Visit,
    program: &pb::Program,
    known: &mut Vec<pb::Program>,
    wanted: BTreeSet<i32>,
) {
    for version in wanted {
        if version == program.version || known.iter().any(|of| of.version == version) {
            continue;
        }
        let program_id = program.program_id.clone();
        let request = pb::GetProgramRequest { program_id, version, ..Default::default() };
        let answer = visit.look(request).await;
        known.extend(answer.ok().and_then(|answer| answer.program));
    }
}

/// The versions that are wanted, without the program at hand.
pub(in crate::api::console) async fn others(
    visit: &Visit,
    program: &pb::Program,
    wanted: BTreeSet<i32>,
) -> Vec<pb::Program> {
    let mut known = Vec::new();
    add(visit, program, &mut known, wanted).await;
    known
}
