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

mod blocks;

use std::cmp::Ordering;

use blocks::Pair;

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
        let pair = Pair::new(one, other);
        Self::with_shared(&pair, pair.shared(0).unwrap_or_default())
    }

    /// The similarity, if it is at least `ten_thousandths`; most pairs are ruled out without a full
    /// comparison.
    #[must_use]
    pub fn at_least(ten_thousandths: u32, one: &str, other: &str) -> Option<Self> {
        // Both texts have the shared characters: half of those that the threshold asks for.
        let threshold = usize::try_from(ten_thousandths).ok()?;
        let least_of =
            |length: usize| Some(threshold.checked_mul(length)?.div_ceil(2 * ONE as usize));
        if let Some(most) = blocks::most_by_ascii(one, other)
            && most < least_of(one.len() + other.len())?
        {
            return None;
        }
        let pair = Pair::new(one, other);
        let length = pair.one.len() + pair.other.len();
        if length == 0 {
            return Some(Self::with_shared(&pair, 0)).filter(|same| same.reaches(ten_thousandths));
        }
        let least = least_of(length)?;
        if pair.most_by_length() < least || pair.most_by_characters() < least {
            return None;
        }
        pair.shared(least).map(|shared| Self::with_shared(&pair, shared))
    }

    fn with_shared(pair: &Pair, shared_of_each: usize) -> Self {
        let count = |characters: usize| u32::try_from(characters).unwrap_or(u32::MAX);
        match pair.one.len() + pair.other.len() {
            // Two empty texts are equal.
            0 => Self { shared: 1, length: 1 },
            length => Self { shared: count(2 * shared_of_each), length: count(length) },
        }
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

/// The blocks that two texts share, in their order. For people to look at: it takes the order of the texts with more
/// characters in blocks, as the similarity does.
pub(crate) fn shared_blocks(one: &str, other: &str) -> Vec<String> {
    let [one, other]: [Vec<char>; 2] =
        [one, other].map(|text| text.chars().take(SHOWN_CHARACTERS).collect());
    let [mut forth, mut back] = [Vec::new(), Vec::new()];
    find_blocks(&one, &other, &mut forth);
    find_blocks(&other, &one, &mut back);
    let length = |blocks: &[String]| blocks.iter().map(String::len).sum::<usize>();
    if length(&back) > length(&forth) { back } else { forth }
}

/// How much of a text is looked at for its blocks.
const SHOWN_CHARACTERS: usize = 64;

fn find_blocks(one: &[char], other: &[char], blocks: &mut Vec<String>) {
    let mut longest = (0, 0, 0);
    // The lengths of the blocks that end before the character in hand, for each end in the second text.
    let mut ends = vec![0; other.len() + 1];
    for (at, character) in one.iter().enumerate() {
        let mut before = 0;
        for (index, candidate) in other.iter().enumerate() {
            let length = if character == candidate { before + 1 } else { 0 };
            before = std::mem::replace(&mut ends[index + 1], length);
            if length > longest.0 {
                longest = (length, at + 1 - length, index + 1 - length);
            }
        }
    }
    let (length, at, index) = longest;
    if length > 0 {
        find_blocks(&one[..at], &other[..index], blocks);
        blocks.push(one[at..at + length].iter().collect());
        find_blocks(&one[at + length..], &other[index + length..], blocks);
    }
}

#[cfg(test)]
mod tests;
