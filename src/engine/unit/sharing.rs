//! Values that several users can have: the first of them is the owner, and the others learn who that is.

use super::UnitOfWork;
use crate::store::append::ClaimStep;
use domain::{Claim, ClaimKind, Halt};

impl UnitOfWork<'_> {
    /// Claims a value if nobody has it, as far as is known here; otherwise returns the other owner. The append checks
    /// either: a value that turns out to be taken makes the decision run again with its owner known.
    pub(super) fn share(&mut self, claim: Claim) -> Result<Option<String>, Halt> {
        if !claim.kind.is_shared() {
            return Err(Halt::Broken("a claim that cannot be shared was shared"));
        }
        let own = self.scratch.entry.claims.iter().rev().find(|step| step.is_about(&claim));
        if let Some(ClaimStep::Take(_)) = own {
            return Ok(None);
        }
        let key = (claim.kind, claim.value.clone());
        let (owner, is_of_batch) = match self.claims.get(&key) {
            Some((owner, command)) => {
                self.scratch.builds_on.insert(*command);
                (owner.clone(), true)
            }
            None => (self.owner_before(&key)?, false),
        };
        let owner = owner.filter(|owner| match self.evidence.erased.get(owner) {
            // Whoever was erased has nothing any more.
            Some(command) => {
                self.scratch.builds_on.insert(*command);
                false
            }
            None => true,
        });
        match owner.filter(|owner| *owner != claim.owner) {
            None => {
                self.scratch.entry.claims.push(ClaimStep::Take(claim));
                Ok(None)
            }
            Some(owner) => {
                // What a command of the batch has claimed is covered by building on that command.
                if !is_of_batch {
                    let shared = Claim { owner: owner.clone(), ..claim };
                    self.scratch.found.push(ClaimStep::Shared(shared));
                }
                Ok(Some(owner))
            }
        }
    }

    /// The owner before the batch; `None` if the value is free or, unless it must be looked up, if nothing is known
    /// about it.
    fn owner_before(&mut self, key: &(ClaimKind, String)) -> Result<Option<String>, Halt> {
        if let Some(owner) = self.known_taken.get(key) {
            return Ok(Some(owner.clone()));
        }
        match self.evidence.owners.get(key) {
            Some(owner) => Ok(owner.clone()),
            None if self.scratch.trusts_new => Ok(None),
            None => {
                self.missing.owners.insert(key.clone());
                Err(Halt::Missing)
            }
        }
    }

    pub(in crate::engine) fn learn_owner(
        &mut self,
        key: (ClaimKind, String),
        owner: Option<String>,
    ) {
        self.evidence.owners.insert(key, owner);
    }
}
