//! Texts that people read, such as display names: what they must not contain.
//!
//! Characters without a shape of their own can reverse a name, hide a part of it, or make two different names look
//! the same. A few of them are part of how a script or an emoji is written, and are accepted there only.

use unicode_normalization::UnicodeNormalization;
use unicode_properties::{
    GeneralCategory, GeneralCategoryGroup, UnicodeEmoji, UnicodeGeneralCategory,
};

const ZERO_WIDTH_NON_JOINER: char = '\u{200C}';
const ZERO_WIDTH_JOINER: char = '\u{200D}';
/// The emoji that flags of regions begin with; tags follow it, the last of which is [`CANCEL_TAG`].
const BLACK_FLAG: char = '\u{1F3F4}';
const CANCEL_TAG: char = '\u{E007F}';
/// The first letter of a script that joins its letters or has conjuncts: Latin, Greek, Cyrillic and Armenian come
/// before it and need no joiners.
const FIRST_JOINING: char = '\u{0590}';

/// Why people would not see a text as it is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unseen {
    /// A line break, a tab or another control character.
    #[error("must not contain control characters or line breaks")]
    Control,
    /// A character that only changes how its neighbours are shown, or that nothing shows.
    #[error("must not contain the invisible character U+{:04X}", u32::from(*.0))]
    Invisible(char),
    /// Nothing in the text can be seen.
    #[error("must have something that can be seen")]
    Blank,
}

/// What makes a text look other than it is; `None` if nothing does.
#[must_use]
pub fn unseen(text: &str) -> Option<Unseen> {
    let characters: Vec<char> = text.chars().collect();
    let mut is_blank = true;
    for (at, &character) in characters.iter().enumerate() {
        match character.general_category() {
            GeneralCategory::Control
            | GeneralCategory::LineSeparator
            | GeneralCategory::ParagraphSeparator => return Some(Unseen::Control),
            _ if is_invisible(character) => {
                if !is_needed(&characters, at) {
                    return Some(Unseen::Invisible(character));
                }
            }
            _ => {
                is_blank &= !has_shape(character);
            }
        }
    }
    is_blank.then_some(Unseen::Blank)
}

/// What a link is recognised by, in the form in which programs compare texts (NFKC).
const LINK_MARKS: &[char] = &['.', ':', '/', '@'];

/// The plain form of a character that is none of a link's marks and looks like some, such as the full-width `：` or
/// the dot leader U+2024; `None` for every other character. Programs that normalise texts read the plain form.
#[must_use]
pub fn hidden_link_mark(character: char) -> Option<String> {
    if character.is_ascii() {
        return None;
    }
    let alike = match character {
        // Not compatible, but the same for readers: the one-dot and slash-like signs of mathematics and phonetics.
        '\u{2044}' | '\u{2215}' | '\u{29F8}' => "/".into(),
        '\u{2236}' | '\u{A789}' => ":".into(),
        '\u{A4F8}' => ".".into(),
        _ => std::iter::once(character).nfkc().collect::<String>(),
    };
    alike.contains(LINK_MARKS).then_some(alike)
}

/// Whether readers see a character that stands alone. What a character for private use looks like is agreed between
/// two programs; others show an empty box, as they do for a character that does not exist.
fn has_shape(character: char) -> bool {
    let is_nobodys = matches!(
        character.general_category(),
        GeneralCategory::PrivateUse | GeneralCategory::Unassigned | GeneralCategory::Surrogate
    );
    let is_blank = matches!(
        character.general_category_group(),
        GeneralCategoryGroup::Mark | GeneralCategoryGroup::Separator
    );
    !is_nobodys && !is_blank
}

/// Whether a character has no shape: format characters, fillers and variation selectors.
fn is_invisible(character: char) -> bool {
    match character {
        // Signs that stand before the digits of a number, in Arabic and other scripts. They have a shape.
        '\u{600}'..='\u{605}'
        | '\u{6DD}'
        | '\u{70F}'
        | '\u{890}'
        | '\u{891}'
        | '\u{8E2}'
        | '\u{110BD}'
        | '\u{110CD}' => false,
        // Of other categories than "format": a joiner of graphemes, fillers of Hangul, inherent vowels of Khmer,
        // the blank pattern of Braille, an empty note.
        '\u{34F}' | '\u{115F}' | '\u{1160}' | '\u{17B4}' | '\u{17B5}' | '\u{2800}' | '\u{3164}'
        | '\u{FFA0}' | '\u{1D159}' => true,
        _ => {
            is_variation_selector(character)
                || character.general_category() == GeneralCategory::Format
        }
    }
}

fn is_variation_selector(character: char) -> bool {
    matches!(
        character,
        '\u{FE00}'..='\u{FE0F}'
            | '\u{E0100}'..='\u{E01EF}'
            | '\u{180B}'..='\u{180D}'
            | '\u{180F}'
    )
}

/// Whether an invisible character is part of how a word or an emoji is written.
fn is_needed(characters: &[char], at: usize) -> bool {
    let (before, after) = characters.split_at(at);
    let Some(&previous) = before.last() else { return false };
    let next = after.get(1).copied();
    match after[0] {
        ZERO_WIDTH_NON_JOINER | ZERO_WIDTH_JOINER => {
            // Words of Indic scripts can end with a joiner after a sign that drops a vowel.
            let ends_word = is_mark(previous) && !next.is_some_and(is_invisible);
            let in_word = joins(previous) && (next.is_some_and(joins) || ends_word);
            let in_emoji = after[0] == ZERO_WIDTH_JOINER
                && is_emoji_part(previous)
                && next.is_some_and(UnicodeEmoji::is_emoji_char);
            in_word || in_emoji
        }
        selector if is_variation_selector(selector) => !is_invisible(previous) && previous != ' ',
        tag if is_tag(tag) => {
            let flag = before.iter().rev().find(|character| !is_tag(**character));
            let end =
                after.iter().find(|character| !is_tag(**character) || **character == CANCEL_TAG);
            flag == Some(&BLACK_FLAG) && previous != CANCEL_TAG && end == Some(&CANCEL_TAG)
        }
        _ => false,
    }
}

/// Whether a character is a letter or a mark of a script that has joiners.
fn joins(character: char) -> bool {
    character >= FIRST_JOINING
        && (is_mark(character) || is_letter(character))
        && !is_invisible(character)
}

fn is_letter(character: char) -> bool {
    character.general_category_group() == GeneralCategoryGroup::Letter
}

fn is_mark(character: char) -> bool {
    character >= FIRST_JOINING
        && character.general_category_group() == GeneralCategoryGroup::Mark
        && !is_variation_selector(character)
}

fn is_emoji_part(character: char) -> bool {
    (character.is_emoji_char() && !character.is_ascii()) || character == '\u{FE0F}'
}

fn is_tag(character: char) -> bool {
    matches!(character, '\u{E0020}'..=CANCEL_TAG)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_any_script_and_emoji_are_seen_as_written() {
        for text in [
            "Ada",
            "José",
            "Jose\u{301}",
            "Ada Lovelace-Byron, Jr.",
            "李 小龍",
            "葛\u{E0100}飾",
            "محمد",
            // Persian: a joiner between two letters.
            "علی\u{200C}رضا",
            // Sinhala and Malayalam: joiners after a sign that drops a vowel, also at the end of a word.
            "ශ\u{DCA}\u{200D}රී",
            "കുമാര\u{D4D}\u{200D}",
            "കുമാര\u{D4D}\u{200D} രാജ",
            "👩\u{200D}🚀",
            "👩🏽\u{200D}🚀",
            "🏳\u{FE0F}\u{200D}🌈",
            "❤\u{FE0F}\u{200D}🔥",
            "🏴\u{E0067}\u{E0062}\u{E0065}\u{E006E}\u{E0067}\u{E007F} Ada",
            "1\u{FE0F}\u{20E3}",
            "\u{600}12",
            "김",
        ] {
            assert_eq!(unseen(text), None, "{text} {text:?}");
        }
    }

    #[test]
    fn a_character_that_is_not_seen_is_refused() {
        for invisible in [
            '\u{AD}',
            '\u{34F}',
            '\u{61C}',
            '\u{115F}',
            '\u{180E}',
            '\u{200B}',
            '\u{200C}',
            '\u{200D}',
            '\u{200E}',
            '\u{200F}',
            '\u{202A}',
            '\u{202E}',
            '\u{2060}',
            '\u{2066}',
            '\u{2069}',
            '\u{206A}',
            '\u{2800}',
            '\u{3164}',
            '\u{FEFF}',
            '\u{FFA0}',
            '\u{FFF9}',
            '\u{E0001}',
            '\u{E0061}',
            '\u{E007F}',
        ] {
            for text in [
                format!("a{invisible}b"),
                format!("{invisible}ab"),
                format!("ab{invisible}"),
                format!("محمد{invisible}"),
                format!("김{invisible} 이"),
                invisible.to_string(),
            ] {
                assert_eq!(unseen(&text), Some(Unseen::Invisible(invisible)), "{text:?}");
            }
        }
        for (text, invisible) in [
            ("👩\u{200D}\u{200D}🚀", '\u{200D}'),
            ("علی\u{200C}\u{200C}رضا", '\u{200C}'),
            ("7\u{200D}8", '\u{200D}'),
            ("\u{FE0F}Ada", '\u{FE0F}'),
            ("a\u{FE0F}\u{FE0F}", '\u{FE0F}'),
            ("🏴\u{E0067}\u{E0062}", '\u{E0067}'),
            ("🏴\u{E0067}\u{E007F}\u{E0067}\u{E007F}", '\u{E0067}'),
        ] {
            assert_eq!(unseen(text), Some(Unseen::Invisible(invisible)), "{text:?}");
        }
    }

    #[test]
    fn a_name_is_one_line_with_something_in_it() {
        for text in ["a\nb", "a\tb", "a\0b", "a\u{85}b", "a\u{2028}b", "a\u{2029}b", "\u{1b}[31m"] {
            assert_eq!(unseen(text), Some(Unseen::Control), "{text:?}");
        }
        for text in [
            "",
            " ",
            "\u{A0}\u{3000}",
            "\u{301}",
            " \u{301}\u{20DD}",
            "\u{E000}",
            "\u{E000} \u{F8FF}",
            "\u{F0000}\u{10FFFD}",
            "\u{378}",
            "\u{FFFF}",
        ] {
            assert_eq!(unseen(text), Some(Unseen::Blank), "{text:?}");
        }
    }
}
