//! Names of people in mails. Whoever chooses a name chooses what others read in their mail, so a name must not be
//! able to become a line, a header, markup or a link there. Markup is escaped by the templates.

use domain::text::{hidden_link_mark, unseen};

/// How many characters of a name are shown.
const MAX_CHARS: usize = 64;
/// Breaks what looks like a link, and is not seen.
const WORD_JOINER: char = '\u{2060}';

/// A name as mails show it: one line, not long, and nothing that a mail program makes a link of. A character that only
/// looks like a mark of a link is shown as that mark: what is recognised as a link is then broken up like one.
#[must_use]
pub fn shown(name: &str) -> String {
    let mut shown = String::with_capacity(name.len());
    let mut previous = ' ';
    for character in name.trim().chars().take(MAX_CHARS) {
        if is_left_out(character) {
            continue;
        }
        match hidden_link_mark(character) {
            Some(plain) => plain.chars().for_each(|plain| push(&mut shown, &mut previous, plain)),
            None => push(&mut shown, &mut previous, character),
        }
    }
    shown
}

/// Adds a character. Mail programs recognise a link by what follows a dot, a colon or an at sign.
fn push(shown: &mut String, previous: &mut char, character: char) {
    if matches!(previous, '.' | ':' | '@' | '\u{3002}' | '\u{FF61}') && !character.is_whitespace() {
        shown.push(WORD_JOINER);
    }
    shown.push(character);
    *previous = character;
}

/// Whether a character alone is nothing that people see: a line break, or one that changes how others are shown.
fn is_left_out(character: char) -> bool {
    let alone = ['a', character, 'a'];
    character != ' ' && unseen(&String::from_iter(alone)).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ordinary_names_stay_as_they_are() {
        for name in
            ["Ada", "Ada Lovelace", "李小龍", "O'Brien-Smith", "J. R. R. Tolkien", "ana_2", "Zoë"]
        {
            assert_eq!(shown(name), name);
        }
    }

    #[test]
    fn a_name_is_no_link_no_second_line_and_not_long() {
        assert_eq!(shown("evil.com/win"), "evil.\u{2060}com/win");
        assert_eq!(shown("http://evil.com"), "http:\u{2060}//evil.\u{2060}com");
        assert_eq!(shown("a@evil.com"), "a@\u{2060}evil.\u{2060}com");
        assert_eq!(shown("evil。com"), "evil。\u{2060}com");
        for alike in ["evil․com", "evil．com", "evil﹒com", "evilꓸcom"] {
            assert_eq!(shown(alike), "evil.\u{2060}com", "{alike}");
        }
        for alike in
            ["http：／／evil․com", "http︓∕∕evil．com", "http∶⁄⧸evil.com", "http꞉//evil.com"]
        {
            assert_eq!(shown(alike), "http:\u{2060}//evil.\u{2060}com", "{alike}");
        }
        assert_eq!(shown("a＠evil。com"), "a@\u{2060}evil。\u{2060}com");
        assert_eq!(shown("evil⒈com"), "evil1.\u{2060}com");
        assert_eq!(shown("Ada\r\nBcc: eve@example.com"), "AdaBcc: eve@\u{2060}example.\u{2060}com");
        assert_eq!(shown("a\u{202E}b\u{0}c\u{2028}d"), "abcd");
        assert_eq!(shown(&"x".repeat(1_000)).chars().count(), MAX_CHARS);
    }
}
