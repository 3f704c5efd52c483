//! Characters that people take for each other.
//!
//! Homographs of other scripts are folded by the skeleton of Unicode Technical Standard 39 (Unicode Security
//! Mechanisms, section 4), which `unicode-security` has as data: Cyrillic `а` becomes `a`, full-width `ｊ` becomes
//! `j`, `m` becomes `rn`, invisible characters disappear. The standard leaves apart what is told apart in most
//! fonts; addresses are also read in a hurry and made up by people who want to have another one, so a few more
//! characters are folded here.

use unicode_security::skeleton;

/// More rounds than any text needs; a test shows that every character is stable before.
const MAX_ROUNDS: usize = 4;

/// The text with one character for all that look like it. What is folded once is not changed by folding it again.
#[must_use]
pub(super) fn fold(text: &str) -> String {
    let mut folded = fold_once(text);
    // The skeleton of a letter can be a capital, and the small letter can have a skeleton of its own.
    for _ in 1..MAX_ROUNDS {
        let again = fold_once(&folded);
        if again == folded {
            break;
        }
        folded = again;
    }
    folded
}

fn fold_once(text: &str) -> String {
    let mut folded = String::with_capacity(text.len() + 8);
    for character in skeleton(text).flat_map(char::to_lowercase) {
        match character {
            '0' => folded.push('o'),
            '1' | 'i' | '|' | '!' => folded.push('l'),
            '5' | '$' => folded.push('s'),
            // Pairs that look like one letter: the letter becomes the pair, so that the order of folding is
            // irrelevant.
            'm' => folded.push_str("rn"),
            'w' => folded.push_str("vv"),
            other => folded.push(other),
        }
    }
    folded
}
