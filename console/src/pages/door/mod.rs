//! Pages for those who have not signed in.

pub mod forgot;
pub mod front;
pub mod mailed;
pub mod register;
pub mod sign_in;

use maud::{Markup, html};

use crate::icons::Icon;
use crate::text::door as text;

/// What stands beside the page of those who come without an invitation. On phones, only the front has all of it: who
/// comes to fill in a form does not scroll past it.
pub(super) fn side(is_front: bool) -> Markup {
    html! {
        h2 { (text::SIDE_TITLE) }
        p.lead.beside[!is_front] { (text::SIDE_WORDS) }
        ul.both.beside[!is_front] role="list" {
            @for (icon, title, words) in [
                (Icon::SHARE, text::SIDE_SHARE, text::SIDE_SHARE_WORDS),
                (Icon::COIN, text::SIDE_EARN, text::SIDE_EARN_WORDS),
            ] {
                li { (icon) div { strong { (title) } small { (words) } } }
            }
        }
    }
}
