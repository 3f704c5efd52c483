//! The participants, and the lines from buyers up to the earners.

use domain::{ParticipantId, ProgramId, UserId};

use super::in_words;

/// The program of all participants.
pub const PROGRAM_ID: &str = "comparison";

/// The name of the participant with that number.
#[must_use]
pub fn user_id(participant: usize) -> String {
    format!("user-{participant:07}")
}

/// A buyer and the earners of the buyer's purchases, as numbers of participants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line {
    /// The buyer.
    pub buyer: usize,
    /// The referrer of the buyer.
    pub parent: usize,
    /// The referrer of the parent.
    pub grandparent: usize,
}

/// All participants, numbered from 0.
#[derive(Clone, Debug)]
pub struct Population {
    referrers: Vec<Option<usize>>,
    program_id: ProgramId,
}

impl Population {
    /// A population of `participants` with lines of buyer, parent and grandparent.
    ///
    /// # Errors
    /// If a line names an unknown participant or leads back to itself, or if two lines disagree about a
    /// referrer.
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

    /// The number of participants.
    #[must_use]
    pub fn participants(&self) -> usize {
        self.referrers.len()
    }

    /// The referrer of a participant.
    #[must_use]
    pub fn referrer(&self, participant: usize) -> Option<usize> {
        self.referrers.get(participant).copied().flatten()
    }

    /// The line of a buyer; `None` for a participant without two referrers above them.
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
