//! What operators have asked for and somebody else has to approve.

use contract::pb::approval::Asked;
use contract::pb::{Approval, ApprovalState};
use maud::{Markup, html};

use super::{actor, user_link};
use crate::icons::Icon;
use crate::names::short;
use crate::page::{Page, Sidebar, app};
use crate::parts::{self, FormKeys, Tone, badge, empty, table_foot};
use crate::reader::{Reader, segment};
use crate::text::money as text;

/// States as addresses name them; empty for those that wait.
pub const STATES: [(&str, ApprovalState, &str); 3] = [
    ("", ApprovalState::Pending, text::WAITING),
    ("approved", ApprovalState::Approved, text::APPROVED),
    ("declined", ApprovalState::Declined, text::DECLINED),
];

/// What the page shows.
pub struct View<'a> {
    /// The approvals, the newest first.
    pub approvals: &'a [Approval],
    /// The state that was asked for, by its name in [`STATES`].
    pub chosen: &'a str,
    /// Who reads, as the log names them.
    pub reader_is: &'a str,
    /// What a form carries.
    pub keys: &'a dyn Fn() -> FormKeys,
    /// Why something could not be done.
    pub problem: Option<&'a str>,
    /// What has just been done.
    pub done: Option<&'a str>,
    /// The path of the next page; `None` if there is none.
    pub next: Option<String>,
    /// Whether this is not the first page.
    pub is_later: bool,
}

/// The page.
#[must_use]
pub fn page(view: &View<'_>, sidebar: &Sidebar<'_>, reader: &Reader) -> String {
    let path = |name: &str| {
        if name.is_empty() {
            "/o/approvals".to_owned()
        } else {
            format!("/o/approvals?state={name}")
        }
    };
    let first = path(view.chosen);
    let main = html! {
        (parts::head(text::APPROVALS, text::APPROVALS_WORDS, &html! {}))
        @if let Some(problem) = view.problem { (parts::bad_notice(problem)) }
        nav.segments.scroll aria-label=(text::STATE) {
            @for (name, _, words) in STATES {
                a href=(reader.to(&path(name))) aria-current=[(view.chosen == name).then_some("true")] { (words) }
            }
        }
        @if view.approvals.is_empty() {
            section.card.flush { (empty(Icon::CHECK, text::NO_APPROVALS, text::NO_APPROVALS_WORDS, &html! {})) }
        }
        div.stack {
            @for approval in view.approvals { (card(approval, view.reader_is, "/o/approvals", view.keys, reader)) }
        }
        @if view.next.is_some() || view.is_later {
            section.card.flush {
                (table_foot(
                    reader,
                    &text::so_many_approvals(view.approvals.len()),
                    view.next.as_deref(),
                    view.is_later.then_some(&*first),
                ))
            }
        }
    };
    let page = Page {
        reader,
        title: text::APPROVALS,
        live: None,
        done: view.done,
        celebration: None,
        shared: None,
    };
    app(&page, sidebar, &main)
}

/// An approval, with what can be done about it while it waits. `back` is the page that is shown afterwards.
#[must_use]
pub fn card(
    approval: &Approval,
    reader_is: &str,
    back: &str,
    keys: &dyn Fn() -> FormKeys,
    reader: &Reader,
) -> Markup {
    let (tone, words) = state(approval.state());
    let title = match &approval.asked {
        Some(Asked::Adjustment(_)) => text::ADJUSTMENT,
        Some(Asked::Payout(_)) if approval.user_id.is_empty() => text::CONFIRMATION,
        Some(Asked::Payout(_)) => text::CONFIRMATION_OF_LINE,
        None => text::APPROVAL,
    };
    html! {
        section.card {
            div.card-head {
                div { h2 { (title) } p { (reader.names.program(&approval.program_id)) } }
                div.row {
                    @match &approval.asked {
                        Some(Asked::Adjustment(of)) => (reader.change(of.amount.as_ref())),
                        Some(Asked::Payout(of)) => strong { (reader.amount(of.amount.as_ref())) },
                        None => {}
                    }
                    (badge(tone, words))
                }
            }
            (facts(approval, reader))
            @if approval.state() == ApprovalState::Pending { (decide(approval, reader_is, back, keys, reader)) }
        }
    }
}

fn facts(approval: &Approval, reader: &Reader) -> Markup {
    html! {
        dl.pairs {
            @if !approval.user_id.is_empty() { dt { (text::WHO) } dd { (user_link(&approval.user_id, reader)) } }
            @match &approval.asked {
                Some(Asked::Adjustment(of)) => { dt { (text::REASON) } dd { code { (of.reason_code) } } }
                Some(Asked::Payout(of)) => {
                    dt { (text::PAYOUT) }
                    dd {
                        @let path = format!("/o/payouts/{}/{}", approval.program_id, segment(&of.payout_id));
                        a.break href=(reader.to(&path)) {
                            (short(&of.payout_id))
                        }
                    }
                    @if !of.provider_reference.is_empty() {
                        dt { (text::REFERENCE) } dd { code { (of.provider_reference) } }
                    }
                }
                None => {}
            }
            dt { (text::ASKED_BY) } dd {
                (actor(&approval.asked_by, reader)) ", " (reader.exact_time(approval.request_time.as_ref()))
            }
            @if !approval.note.is_empty() { dt { (text::NOTE) } dd { (approval.note) } }
            @if !approval.decided_by.is_empty() {
                dt { (text::DECIDED_BY) } dd {
                    (actor(&approval.decided_by, reader)) ", " (reader.exact_time(approval.decide_time.as_ref()))
                }
            }
            @if !approval.decline_note.is_empty() { dt { (text::DECLINE_NOTE) } dd { (approval.decline_note) } }
        }
    }
}

fn decide(
    approval: &Approval,
    reader_is: &str,
    back: &str,
    keys: &dyn Fn() -> FormKeys,
    reader: &Reader,
) -> Markup {
    let is_own = approval.asked_by == reader_is;
    let is_about_reader = format!("user:{}", approval.user_id) == reader_is;
    let hint = if is_own { text::OWN_APPROVAL } else { text::ABOUT_YOURSELF };
    html! {
        @if is_own || is_about_reader { p.soft { (hint) } }
        form.row method="post" action=(reader.to("/o/approvals")) {
            (keys())
            input type="hidden" name="approval_id" value=(approval.approval_id);
            input type="hidden" name="back" value=(back);
            input.input.note name="note" maxlength="500" autocomplete="off" placeholder=(text::WHY_DECLINED)
                aria-label=(text::WHY_DECLINED);
            div.actions {
                @if !is_own && !is_about_reader { button.button.first name="step" value="approve" { (text::APPROVE) } }
                button.button.danger name="step" value="decline" { (text::DECLINE) }
            }
        }
    }
}

fn state(state: ApprovalState) -> (Tone, &'static str) {
    match state {
        ApprovalState::Pending => (Tone::Warn, text::WAITING),
        ApprovalState::Approved | ApprovalState::Waived => (Tone::Good, text::APPROVED),
        ApprovalState::Declined => (Tone::Bad, text::DECLINED),
        ApprovalState::Unspecified => (Tone::Plain, "–"),
    }
}
