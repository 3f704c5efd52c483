//! How alike two e-mail addresses look.
//!
//! The measure is that of Ratcliff and Obershelp ("Pattern Matching: The Gestalt Approach", Dr. Dobb's
//! Journal, July 1988) as `SequenceMatcher` of Python's difflib has it: the longest block that both texts
//! share is taken out, then the longest ones left and right of it, and so on; the ratio is twice the
//! characters in blocks, over the characters of both texts. Of blocks of equal length the one counts that
//! begins first in the first text, and then in the second, so that the order of the two texts matters.
//! Here the order with the larger ratio counts. Unlike difflib by default, no character is left out for
//! being frequent in a long text (there it is `autojunk=False`), or a long address would look like none.
//!
//! No program uses it yet: fraud checks are to come.

use std::cmp::Ordering;

use textdistance::{Algorithm, RatcliffObershelp};

/// The unit of a ratio as a number: 1 is so many.
pub const ONE: u32 = 10_000;

/// How alike two texts are, from 0 (no character in common) to 1 (the same).
#[derive(Clone, Copy, Debug)]
pub struct Similarity {
    /// Characters in blocks that both share, of both texts together.
    shared: u32,
    /// Characters of both texts together; never 0.
    length: u32,
}

impl Similarity {
    /// The similarity of two texts, whichever comes first.
    ///
    /// Letters of different case are different: addresses are to come in lower case. The time it takes
    /// grows with the product of the lengths; addresses have at most 254 bytes.
    #[must_use]
    pub fn of(one: &str, other: &str) -> Self {
        Texts::new(one, other).similarity()
    }

    /// The same, if it is at least so many ten-thousandths; most pairs need not be compared for that.
    #[must_use]
    pub fn at_least(ten_thousandths: u32, one: &str, other: &str) -> Option<Self> {
        let reaches = |similarity: &Self| similarity.reaches(ten_thousandths);
        let texts = Texts::new(one, other);
        if !reaches(&texts.most_by_length()) || !reaches(&texts.most_by_characters()) {
            return None;
        }
        Some(texts.similarity()).filter(reaches)
    }

    /// Whether it is at least so many ten-thousandths, exactly.
    #[must_use]
    pub fn reaches(self, ten_thousandths: u32) -> bool {
        u64::from(self.shared) * u64::from(ONE)
            >= u64::from(ten_thousandths) * u64::from(self.length)
    }

    /// In ten-thousandths, rounded half up: two addresses of 14 characters that differ in one have 9286.
    #[must_use]
    pub fn ten_thousandths(self) -> u32 {
        let (numerator, denominator) = (u64::from(self.shared), u64::from(self.length));
        let rounded = (2 * numerator * u64::from(ONE) + denominator) / (2 * denominator);
        // What is shared is at most the whole.
        u32::try_from(rounded).unwrap_or(ONE)
    }
}

impl PartialEq for Similarity {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Similarity {}

impl PartialOrd for Similarity {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Similarity {
    fn cmp(&self, other: &Self) -> Ordering {
        let left = u64::from(self.shared) * u64::from(other.length);
        let right = u64::from(other.shared) * u64::from(self.length);
        left.cmp(&right)
    }
}

/// Two texts that are compared.
struct Texts {
    one: Vec<char>,
    other: Vec<char>,
}

impl Texts {
    fn new(one: &str, other: &str) -> Self {
        Self { one: one.chars().collect(), other: other.chars().collect() }
    }

    fn similarity(&self) -> Similarity {
        let both_ways = characters_in_blocks(&self.one, &self.other)
            .max(characters_in_blocks(&self.other, &self.one));
        self.with_shared(both_ways)
    }

    /// What it can be at most, by the lengths alone.
    fn most_by_length(&self) -> Similarity {
        self.with_shared(self.one.len().min(self.other.len()))
    }

    /// What it can be at most, by which characters there are and how often, in whatever order.
    fn most_by_characters(&self) -> Similarity {
        // Characters that fall into one place make the bound no less of a bound.
        const PLACES: usize = 128;
        let mut left = [0_u32; PLACES];
        for character in &self.one {
            left[*character as usize % PLACES] += 1;
        }
        let mut common = 0;
        for character in &self.other {
            let left = &mut left[*character as usize % PLACES];
            if *left > 0 {
                *left -= 1;
                common += 1;
            }
        }
        self.with_shared(common)
    }

    fn with_shared(&self, shared_of_each: usize) -> Similarity {
        let count = |characters: usize| u32::try_from(characters).unwrap_or(u32::MAX);
        match self.one.len() + self.other.len() {
            // Two texts without a character are the same.
            0 => Similarity { shared: 1, length: 1 },
            length => Similarity { shared: count(2 * shared_of_each), length: count(length) },
        }
    }
}

/// The characters of either text that are in blocks which both share.
fn characters_in_blocks(one: &[char], other: &[char]) -> usize {
    // The library counts the characters of both texts.
    RatcliffObershelp::default().for_vec(one, other).val() / 2
}

#[cfg(test)]
mod tests;
