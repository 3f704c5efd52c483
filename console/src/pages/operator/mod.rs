//! Pages for operators.

pub mod approvals;
pub mod balance;
mod brought;
pub mod disputes;
pub mod erased;
pub mod event;
pub mod flag;
pub mod fraud;
pub mod holds;
pub mod items;
pub mod jobs;
pub mod keys;
pub mod log;
pub mod mails;
pub mod overview;
pub mod payments;
pub mod payout;
pub mod payouts;
pub mod person;
pub mod program;
mod program_form;
pub mod program_versions;
pub mod program_view;
pub mod programs;
pub mod purchase;
pub mod purchases;
pub mod record;
pub mod redemptions;
pub mod users;

use contract::pb::{Program, User, UserRole, UserStatus, WithheldReason};

use maud::{Markup, html};

use crate::icons::Icon;
use crate::names::short;
use crate::parts::Tone;
use crate::reader::{Reader, segment};
use crate::text::ERASED_USER;
use crate::text::operator as text;

/// The status of a user, as a badge says it.
#[must_use]
pub fn user_status(status: UserStatus) -> (Tone, &'static str) {
    match status {
        UserStatus::Active => (Tone::Good, text::ACTIVE),
        UserStatus::Inactive => (Tone::Bad, text::DEACTIVATED),
        UserStatus::Erased => (Tone::Plain, text::ERASED),
        UserStatus::Unspecified => (Tone::Plain, "–"),
    }
}

/// What a user may do, as a badge says it.
#[must_use]
pub fn role(role: UserRole) -> (Tone, &'static str) {
    match role {
        UserRole::Participant | UserRole::Unspecified => (Tone::Plain, text::PARTICIPANT),
        UserRole::Operator => (Tone::Info, text::OPERATOR),
        UserRole::Admin => (Tone::Brand, text::ADMIN),
    }
}

/// The name of a user: the one that is shown, else the username, else the id; of one who was erased, that they were.
#[must_use]
pub fn name(user: &User) -> &str {
    if user.status() == UserStatus::Erased {
        return ERASED_USER;
    }
    let names = [&*user.display_name, &*user.username, &*user.user_id];
    names.into_iter().find(|name| !name.is_empty()).unwrap_or("–")
}

/// How many programs stand side by side as links. Where there are more, one is chosen from a list that opens.
const FEW_PROGRAMS: usize = 12;

/// The choice of a program: `links` come first, then one for each program, which leads to `path` of it; or, where there
/// are many, a list that opens, which is sent to `action` as `program`.
#[must_use]
pub fn program_choice(
    programs: &[Program],
    chosen: &str,
    links: &Markup,
    path: &dyn Fn(&str) -> String,
    action: &str,
    reader: &Reader,
) -> Markup {
    let title = |of: &Program| {
        let names = [&*of.display_name, &*of.program_id];
        names.into_iter().find(|name| !name.is_empty()).unwrap_or(text::PROGRAM).to_owned()
    };
    let is_chosen = |of: &Program| of.program_id == chosen;
    let has_few = programs.len() <= FEW_PROGRAMS;
    html! {
        @if has_few || !links.0.is_empty() {
            nav.segments.scroll aria-label=(text::PROGRAM) {
                (links)
                @for of in programs.iter().filter(|_| has_few) {
                    a href=(reader.to(&path(&of.program_id))) aria-current=[is_chosen(of).then_some("page")] {
                        (title(of))
                    }
                }
            }
        }
        @if !has_few {
            form.row method="get" action=(reader.to(action)) {
                select.input.short name="program" aria-label=(text::PROGRAM) {
                    @if programs.iter().all(|of| !is_chosen(of)) { option value="" { (text::CHOOSE_PROGRAM) } }
                    @for of in programs {
                        option value=(of.program_id) selected[is_chosen(of)] { (title(of)) }
                    }
                }
                button.button { (text::SHOW_PROGRAM) }
            }
        }
    }
}

/// The path of the page of a user.
#[must_use]
pub fn user_path(user_id: &str) -> String {
    format!("/o/users/{}", segment(user_id))
}

/// The path of the page about a purchase.
#[must_use]
pub fn purchase_path(purchase_id: &str) -> String {
    format!("/o/purchases/{}", segment(purchase_id))
}

/// A user by the name, else by the id, with a link to their page, and the username where that is another one.
#[must_use]
pub fn user_link(user_id: &str, reader: &Reader) -> Markup {
    html! {
        a.break href=(reader.to(&user_path(user_id))) title=(user_id) {
            @match reader.names.user(user_id) { Some(name) => (name), None => (short(user_id)) }
        }
        @if let Some(username) = reader.names.username(user_id) { " " small.soft.break { (username) } }
        @if reader.names.is_erased(user_id) { " " small.soft.break { (short(user_id)) } }
    }
}

/// A program by its name, with the way to its figures.
#[must_use]
pub fn program_link(program_id: &str, reader: &Reader) -> Markup {
    html! {
        a.break href=(reader.to(&program_view::path(program_id))) title=(program_id) {
            (reader.names.program(program_id))
        }
    }
}

/// An id that somebody may need elsewhere, in full, with a button that copies it.
#[must_use]
pub fn copyable(id: &str) -> Markup {
    html! {
        code.break { (id) } " "
        button.button.quiet.square.copy type="button" data-copy=(id) aria-label=(text::copy(id)) title=(text::COPY) {
            (Icon::COPY)
        }
    }
}

/// Who did something, as the log names them: a user has a link to their page.
#[must_use]
pub fn actor(actor: &str, reader: &Reader) -> Markup {
    let user_id = actor.strip_prefix("user:");
    html! {
        @if let Some(user_id) = user_id { (user_link(user_id, reader)) } @else { code.break { (actor) } }
    }
}

/// Why a reward was not granted, in words.
#[must_use]
pub fn withheld(reason: WithheldReason) -> &'static str {
    match reason {
        WithheldReason::Unspecified => "–",
        WithheldReason::NotReferred => text::WITHHELD_NOT_REFERRED,
        WithheldReason::BelowMinimum => text::WITHHELD_BELOW_MINIMUM,
        WithheldReason::CurrencyNotAccepted => text::WITHHELD_CURRENCY,
        WithheldReason::NotFirstPurchase => text::WITHHELD_NOT_FIRST,
        WithheldReason::BeforeReferral => text::WITHHELD_BEFORE_REFERRAL,
        WithheldReason::BeforeReactivation => text::WITHHELD_BEFORE_REACTIVATION,
        WithheldReason::EarnerInactive => text::WITHHELD_INACTIVE,
        WithheldReason::CapReached => text::WITHHELD_CAP,
        WithheldReason::ReferralNotCounted => text::WITHHELD_NOT_COUNTED,
        WithheldReason::RewardsReferralsOnly => text::WITHHELD_REFERRALS_ONLY,
        WithheldReason::RoundedToZero => text::WITHHELD_ROUNDED,
        WithheldReason::ReferralHeld => text::WITHHELD_HELD,
    }
}
