//! How many characters of two texts are in shared blocks.
//!
//! A comparison costs as many steps as the product of the lengths for each block that is removed, so the worst texts
//! of 254 characters cost a hundred times the usual ones, and whoever signs up chooses the texts. Therefore rows are
//! computed with integers of 16 bits, which the compiler takes several at a time, and a comparison ends as soon as it
//! cannot reach what it is asked for.

/// Two texts as numbers: equal characters have equal numbers.
pub(super) struct Pair {
    pub(super) one: Vec<i16>,
    pub(super) other: Vec<i16>,
}

/// The longest texts that are compared; what follows in longer ones is left out. Addresses have 254 bytes at most.
const MAX_CHARACTERS: usize = 4_096;
/// The number of characters of the first text that the second one lacks.
const ABSENT: i16 = i16::MAX;

/// The most characters that can be in shared blocks, by the characters in any order; `None` unless both texts are short
/// and ASCII, as most are. Nothing is allocated: nearly all comparisons end here.
pub(super) fn most_by_ascii(one: &str, other: &str) -> Option<usize> {
    let is_short = |text: &str| u8::try_from(text.len()).is_ok();
    if !is_short(one) || !is_short(other) || !one.is_ascii() || !other.is_ascii() {
        return None;
    }
    let mut left = [0_u8; 128];
    for byte in other.bytes() {
        left[usize::from(byte & 127)] += 1;
    }
    let mut common = 0;
    for byte in one.bytes() {
        let left = &mut left[usize::from(byte & 127)];
        common += usize::from(*left > 0);
        *left = left.saturating_sub(1);
    }
    Some(common)
}

impl Pair {
    pub(super) fn new(one: &str, other: &str) -> Self {
        let other: Vec<char> = other.chars().take(MAX_CHARACTERS).collect();
        let mut known = other.clone();
        known.sort_unstable();
        known.dedup();
        let number = |character: char| {
            let index = known.binary_search(&character).ok();
            index.and_then(|index| i16::try_from(index).ok()).unwrap_or(ABSENT)
        };
        Self {
            one: one.chars().take(MAX_CHARACTERS).map(number).collect(),
            other: other.iter().copied().map(number).collect(),
        }
    }

    /// The most characters that can be in shared blocks, by the lengths alone.
    pub(super) fn most_by_length(&self) -> usize {
        self.one.len().min(self.other.len())
    }

    /// The most characters that can be in shared blocks, by the characters in any order.
    pub(super) fn most_by_characters(&self) -> usize {
        let mut left = vec![0_i16; self.other.len()];
        for character in &self.other {
            if let Some(left) = usize::try_from(*character).ok().and_then(|at| left.get_mut(at)) {
                *left += 1;
            }
        }
        let mut common = 0;
        for character in &self.one {
            if let Some(left) = usize::try_from(*character).ok().and_then(|at| left.get_mut(at))
                && *left > 0
            {
                *left -= 1;
                common += 1;
            }
        }
        common
    }

    /// The characters of one text that are in shared blocks, in whichever order of the texts there are more; `None`
    /// if there are fewer than `least`.
    pub(super) fn shared(&self, least: usize) -> Option<usize> {
        let forth = shared(&self.one, &self.other, least);
        let back = shared(&self.other, &self.one, forth.map_or(least, |forth| forth + 1));
        back.or(forth)
    }

    /// The characters of one text that are in shared blocks, in the order of the texts.
    #[cfg(test)]
    pub(super) fn shared_in_order(&self) -> usize {
        shared(&self.one, &self.other, 0).unwrap_or_default()
    }
}

/// A part of both texts that is still to be searched for blocks.
struct Part<'a> {
    one: &'a [i16],
    other: &'a [i16],
}

impl Part<'_> {
    /// The most characters that can be in its blocks.
    fn most(&self) -> usize {
        self.one.len().min(self.other.len())
    }
}

fn shared(one: &[i16], other: &[i16], least: usize) -> Option<usize> {
    let mut rows = Rows { last: vec![0; other.len() + 1], next: vec![0; other.len() + 1] };
    let mut parts = vec![Part { one, other }];
    let mut found = 0;
    // What the parts can still bring.
    let mut most = one.len().min(other.len());
    while let Some(part) = parts.pop() {
        if found + most < least {
            return None;
        }
        most -= part.most();
        let Some(block) = rows.longest_block(&part) else { continue };
        found += block.length;
        let (one_end, other_end) = (block.one + block.length, block.other + block.length);
        for part in [
            Part { one: &part.one[..block.one], other: &part.other[..block.other] },
            Part { one: &part.one[one_end..], other: &part.other[other_end..] },
        ] {
            if part.most() > 0 {
                most += part.most();
                parts.push(part);
            }
        }
    }
    (found >= least).then_some(found)
}

/// A block that both texts share, by where it starts in each.
struct Block {
    one: usize,
    other: usize,
    length: usize,
}

/// The lengths of the blocks that end at the present character of the first text and at each one of the second; the
/// first entry is always 0.
struct Rows {
    last: Vec<i16>,
    next: Vec<i16>,
}

impl Rows {
    /// The longest block of a part; of several, the one that starts first in the first text, and of those the one
    /// that starts first in the second text.
    fn longest_block(&mut self, part: &Part<'_>) -> Option<Block> {
        let width = part.other.len();
        self.last[..=width].fill(0);
        let mut longest: Option<Block> = None;
        let mut length = 0;
        for (index, character) in part.one.iter().enumerate() {
            let row = &mut self.next[1..=width];
            for ((next, last), other) in row.iter_mut().zip(&self.last[..width]).zip(part.other) {
                *next = (last + 1) * i16::from(other == character);
            }
            let row_longest = row.iter().fold(0, |longest, length| longest.max(*length));
            if row_longest > length {
                length = row_longest;
                let end = self.next[1..=width].iter().position(|of| *of == length)?;
                let length = usize::try_from(length).ok()?;
                longest = Some(Block { one: index + 1 - length, other: end + 1 - length, length });
            }
            std::mem::swap(&mut self.last, &mut self.next);
        }
        longest
    }
}
