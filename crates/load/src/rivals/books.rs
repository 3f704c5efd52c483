//! Checks that the tables agree with the purchases.

use std::collections::{HashMap, HashSet};

use super::sale::share_minor;
use super::{Population, user_id};

/// A participant according to a rival's tables.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Standing {
    /// The number of rewards that were granted.
    pub(super) rewards: i64,
    /// The sum of the rewards.
    pub(super) granted_minor: i64,
    /// The balance.
    pub(super) balance_minor: i64,
    /// Whether the participant's referral was converted.
    pub(super) converted: bool,
}

/// The content of a rival's tables.
pub(super) struct Books {
    /// Each purchase: the buyer and the amount.
    pub(super) purchases: Vec<(String, i64)>,
    /// All participants, by name.
    pub(super) standings: HashMap<String, Standing>,
}

impl Books {
    /// Computes everything again from the purchases and compares.
    pub(super) fn check(&self, population: &Population, acknowledged: u64) -> Result<(), String> {
        let recorded = u64::try_from(self.purchases.len()).unwrap_or(u64::MAX);
        if recorded < acknowledged {
            return Err(format!("{acknowledged} purchases acknowledged, {recorded} recorded"));
        }
        let expected = self.expected(population)?;
        if self.standings.len() != expected.len() {
            let (there, made) = (self.standings.len(), expected.len());
            return Err(format!("{made} participants made, {there} there"));
        }
        for (user_id, expected) in &expected {
            let standing = self.standings.get(user_id);
            if standing != Some(expected) {
                return Err(format!("{user_id} has {standing:?} and should have {expected:?}"));
            }
        }
        Ok(())
    }

    fn expected(&self, population: &Population) -> Result<HashMap<String, Standing>, String> {
        let mut expected: Vec<_> =
            (0..population.participants()).map(|_| Standing::default()).collect();
        let numbers: HashMap<_, _> =
            (0..population.participants()).map(|number| (user_id(number), number)).collect();
        let mut buyers = HashSet::new();
        for (buyer, amount_minor) in &self.purchases {
            let line = numbers
                .get(buyer)
                .and_then(|number| population.line(*number))
                .ok_or_else(|| format!("{buyer} bought and is no buyer"))?;
            for (earner, level) in [(line.parent, 1), (line.grandparent, 2)] {
                let share = share_minor(level, *amount_minor);
                expected[earner].rewards += 1;
                expected[earner].granted_minor += share;
                expected[earner].balance_minor += share;
            }
            buyers.insert(line.buyer);
        }
        for buyer in buyers {
            expected[buyer].converted = true;
        }
        Ok(expected.into_iter().enumerate().map(|(n, standing)| (user_id(n), standing)).collect())
    }
}
