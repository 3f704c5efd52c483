//! Pages for those who have not signed in.

pub mod forgot;
pub mod front;
pub mod mailed;
pub mod register;
pub mod sign_in;

use maud::{Markup, html};

use crate::icons::Icon;
use crate::text::door as text;

/// What stands beside a form of those who come without an invitation.
fn side() -> Markup {
    html! {
        h2 { (text::SIDE_TITLE) }
        p.lead { (text::SIDE_WORDS) }
        ul.both role="list" {
            @for (icon, title, words) in [
                (Icon::SHARE, text::SIDE_SHARE, text::SIDE_SHARE_WORDS),
                (Icon::COIN, text::SIDE_EARN, text::SIDE_EARN_WORDS),
            ] {
                li { (icon) div { strong { (title) } small { (words) } } }
            }
        }
    }
}
