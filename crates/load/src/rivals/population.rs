//! Who takes part: participants and the lines that lead from buyers up to who earns.

use domain::{ParticipantId, ProgramId, UserId};

use super::in_words;

/// The program in which everybody takes part.
pub const PROGRAM_ID: &str = "comparison";

/// The name of the participant with that number.
#[must_use]
pub fn user_id(participant: usize) -> String {
    format!("user-{participant:07}")
}

/// A buyer and who earns from the buyer's purchases, as numbers of participants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line {
    /// Who buys.
    pub buyer: usize,
    /// Who referred the buyer.
    pub parent: usize,
    /// Who referred the parent.
    pub grandparent: usize,
}

/// Everybody, numbered from 0.
#[derive(Clone, Debug)]
pub struct Population {
    referrers: Vec<Option<usize>>,
    program_id: ProgramId,
}

impl Population {
    /// A population of `participants` with lines of buyer, parent and grandparent.
    ///
    /// # Errors
    /// If a line names somebody who is not there or leads back to where it came from, or if two lines
    /// disagree about who referred whom.
    pub fn new(participants: usize, lines: &[(usize, usize, usize)]) -> Result<Self, String> {
        let mut referrers: Vec<Option<usize>> = vec![None; participants];
        for &(buyer, parent, grandparent) in lines {
            if buyer == parent || parent == grandparent || grandparent == buyer {
                return Err(format!("the line of participant {buyer} leads back to itself"));
            }
            if grandparent >= participants {
                return Err(format!("there is no participant {grandparent}"));
            }
            for (referee, referrer) in [(buyer, parent), (parent, grandparent)] {
                let known = referrers
                    .get_mut(referee)
                    .ok_or_else(|| format!("there is no participant {referee}"))?;
                if known.is_some_and(|known| known != referrer) {
                    return Err(format!("participant {referee} has two referrers"));
                }
                *known = Some(referrer);
            }
        }
        Ok(Self { referrers, program_id: ProgramId::parse(PROGRAM_ID).map_err(in_words)? })
    }

    /// How many participants there are.
    #[must_use]
    pub fn participants(&self) -> usize {
        self.referrers.len()
    }

    /// Who referred a participant.
    #[must_use]
    pub fn referrer(&self, participant: usize) -> Option<usize> {
        self.referrers.get(participant).copied().flatten()
    }

    /// The line of a buyer; `None` for somebody who has not got two referrers above them.
    #[must_use]
    pub fn line(&self, buyer: usize) -> Option<Line> {
        let parent = self.referrer(buyer)?;
        Some(Line { buyer, parent, grandparent: self.referrer(parent)? })
    }

    /// A participant's identity in the domain.
    pub(super) fn participant_id(&self, participant: usize) -> Result<ParticipantId, String> {
        let user_id = UserId::parse(&user_id(participant)).map_err(in_words)?;
        Ok(ParticipantId::new(&self.program_id, &user_id))
    }
}
