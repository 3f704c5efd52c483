//! Pages for operators.

pub mod event;
pub mod jobs;
pub mod keys;
pub mod log;
pub mod mails;
pub mod overview;
pub mod payments;
pub mod person;
pub mod program;
mod program_form;
pub mod program_versions;
pub mod program_view;
pub mod programs;
pub mod purchase;
pub mod purchases;
pub mod record;
pub mod users;

use contract::pb::{User, UserRole, UserStatus, WithheldReason};

use crate::parts::Tone;
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

/// The name of a user: the one that is shown, else the username, else the id.
#[must_use]
pub fn name(user: &User) -> &str {
    let names = [&*user.display_name, &*user.username, &*user.user_id];
    names.into_iter().find(|name| !name.is_empty()).unwrap_or("–")
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
