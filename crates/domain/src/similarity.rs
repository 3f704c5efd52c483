//! How alike two e-mail addresses look.
//!
//! The measure is that of Ratcliff and Obershelp ("Pattern Matching: The Gestalt Approach", Dr. Dobb's
//! Journal, July 1988), as implemented by `SequenceMatcher` of Python's difflib: the longest block that both
//! texts share is removed, then the longest ones to its left and right, and so on; the ratio is twice the
//! number of characters in blocks, divided by the number of characters of both texts. Among blocks of equal
//! length, the one that begins first in the first text is used, then the one that begins first in the second.
//! The order of the two texts therefore matters; here the order with the larger ratio is used. As with
//! difflib's `autojunk=False`, frequent characters of a long text are not ignored; otherwise long addresses
//! would not be recognised as alike. Characters are Unicode code points, as in Python.

use std::cmp::Ordering;

use textdistance::{Algorithm, RatcliffObershelp};

/// The ratio 1 in ten-thousandths.
pub const ONE: u32 = 10_000;

/// How alike two texts are, from 0 (no character in common) to 1 (the same).
#[derive(Clone, Copy, Debug)]
pub struct Similarity {
    /// Characters in shared blocks, counted in both texts together.
    shared: u32,
    /// Characters of both texts together; never 0.
    length: u32,
}

impl Similarity {
    /// The similarity of two texts, in whichever order.
    ///
    /// The comparison is case-sensitive, so addresses should be passed in lower case. The running time grows
    /// with the product of the lengths; addresses have at most 254 bytes.
    #[must_use]
    pub fn of(one: &str, other: &str) -> Self {
        Texts::new(one, other).similarity()
    }

    /// The similarity, if it is at least `ten_thousandths`; most pairs are ruled out without a full
    /// comparison.
    #[must_use]
    pub fn at_least(ten_thousandths: u32, one: &str, other: &str) -> Option<Self> {
        let reaches = |similarity: &Self| similarity.reaches(ten_thousandths);
        let texts = Texts::new(one, other);
        if !reaches(&texts.most_by_length()) || !reaches(&texts.most_by_characters()) {
            return None;
        }
        Some(texts.similarity()).filter(reaches)
    }

    /// Whether the similarity is at least `ten_thousandths`, without rounding.
    #[must_use]
    pub fn reaches(self, ten_thousandths: u32) -> bool {
        u64::from(self.shared) * u64::from(ONE)
            >= u64::from(ten_thousandths) * u64::from(self.length)
    }

    /// The similarity in ten-thousandths, rounded half up: two addresses of 14 characters that differ in one
    /// have 9286.
    #[must_use]
    pub fn ten_thousandths(self) -> u32 {
        let (numerator, denominator) = (u64::from(self.shared), u64::from(self.length));
        let rounded = (2 * numerator * u64::from(ONE) + denominator) / (2 * denominator);
        // The shared part never exceeds the whole.
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

    /// An upper bound of the similarity, from the lengths alone.
    fn most_by_length(&self) -> Similarity {
        self.with_shared(self.one.len().min(self.other.len()))
    }

    /// An upper bound of the similarity, from the characters and their frequencies in any order.
    fn most_by_characters(&self) -> Similarity {
        // Characters that share a counter only make the bound less tight.
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
            // Two empty texts are equal.
            0 => Similarity { shared: 1, length: 1 },
            length => Similarity { shared: count(2 * shared_of_each), length: count(length) },
        }
    }
}

/// The number of characters of one text that are in shared blocks.
fn characters_in_blocks(one: &[char], other: &[char]) -> usize {
    // The library counts the characters of both texts.
    RatcliffObershelp::default().for_vec(one, other).val() / 2
}

#[cfg(test)]
mod tests;
