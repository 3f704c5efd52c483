//! The people below a participant, as a tree.

use contract::pb::{ReferralNode, ReferralStatus};
use maud::{Markup, html};

use super::{Scene, status};
use crate::icons::Icon;
use crate::page::{Page, Sidebar, app};
use crate::parts::{self, badge, empty};
use crate::reader::Reader;
use crate::text::participant as text;

/// What the page shows.
pub struct View<'a> {
    /// Whose page it is.
    pub scene: Scene<'a>,
    /// The participant with everybody below.
    pub root: &'a ReferralNode,
    /// Whether there are more people than the tree shows.
    pub is_truncated: bool,
}

/// The page.
#[must_use]
pub fn page(view: &View<'_>, sidebar: &Sidebar<'_>, reader: &Reader) -> String {
    let scene = &view.scene;
    let actions =
        html! { a.button href=(reader.to(&scene.path("referrals"))) { (text::AS_A_LIST) } };
    let main = html! {
        (parts::head(text::TREE, text::TREE_WORDS, &actions))
        @if view.is_truncated { (parts::notice(text::TREE_TRUNCATED)) }
        section.card {
            @if view.root.referrals.is_empty() {
                (empty(Icon::PEOPLE, text::NOBODY_REFERRED, text::NOBODY_REFERRED_WORDS, &html! {}))
            } @else {
                ul.tree role="list" {
                    li {
                        div.node { span.state.off[!view.root.active] {} strong { (text::YOU) } }
                        (below(view.root, reader))
                    }
                }
            }
        }
    };
    let page =
        Page { reader, title: text::TREE, live: None, done: None, celebration: None, shared: None };
    app(&page, sidebar, &main)
}

/// How many people below somebody count and are not in the tree, which ends at a level, and at a number of people.
fn missing(node: &ReferralNode) -> i32 {
    let counts = |of: &&ReferralNode| {
        matches!(of.status(), ReferralStatus::Pending | ReferralStatus::Converted)
    };
    let shown = node.referrals.iter().filter(counts).count();
    node.referral_count.saturating_sub(i32::try_from(shown).unwrap_or(i32::MAX)).max(0)
}

/// The people below somebody. The tree is as deep as the program pays, ten levels at most.
fn below(node: &ReferralNode, reader: &Reader) -> Markup {
    let missing = missing(node);
    html! {
        @if !node.referrals.is_empty() || missing > 0 {
            ul role="list" {
                @for child in &node.referrals {
                    li {
                        @if child.referrals.is_empty() && self::missing(child) == 0 {
                            div.node { (person(child, reader)) }
                        } @else {
                            details open {
                                summary.node { (person(child, reader)) }
                                (below(child, reader))
                            }
                        }
                    }
                }
                @if missing > 0 { li { div.node.soft { (text::more_below(missing)) } } }
            }
        }
    }
}

fn person(node: &ReferralNode, reader: &Reader) -> Markup {
    let (tone, words) = status(node.status());
    let names = [&*node.display_name, &*node.username];
    let name = names.into_iter().find(|name| !name.is_empty()).unwrap_or(text::SOMEBODY);
    let active = if node.active { text::ACTIVE } else { text::NOT_ACTIVE };
    html! {
        span.state.off[!node.active] title=(active) {}
        span { (name) span.unseen { ", " (active) } }
        (badge(tone, words))
        @if node.referral_count > 0 { span.soft { (text::referred_so_many(node.referral_count)) } }
        (reader.amount(node.brought_in.as_ref()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reader::Theme;

    #[test]
    fn where_the_tree_ends_it_says_how_many_more_there_are() {
        let reader = Reader::new("en", None, Theme::System, String::new());
        let of = |status: ReferralStatus, referral_count, referrals| ReferralNode {
            status: status.into(),
            referral_count,
            referrals,
            ..ReferralNode::default()
        };
        let leaf = of(ReferralStatus::Pending, 2, Vec::new());
        // Those who are held count for nobody, and are shown all the same.
        let held = of(ReferralStatus::Held, 0, Vec::new());
        let root = of(ReferralStatus::Unspecified, 2, vec![leaf, held]);
        let html = below(&root, &reader).into_string();
        assert_eq!(html.matches("more below").count(), 2, "{html}");
        assert!(html.contains("2 more below, not shown"), "{html}");
        assert!(html.contains("1 more below, not shown"), "{html}");
        let whole =
            of(ReferralStatus::Unspecified, 1, vec![of(ReferralStatus::Converted, 0, Vec::new())]);
        assert!(!below(&whole, &reader).into_string().contains("more below"));
    }
}
