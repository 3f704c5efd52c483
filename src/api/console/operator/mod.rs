//! Pages of operators. Nothing here says who may see them: the calls that they make do.

mod approvals;
mod balance;
mod flag;
pub(super) mod fraud;
mod holds;
mod items;
mod jobs;
mod keys;
pub(super) mod log;
mod mails;
pub(super) mod overview;
mod payments;
mod payout;
mod payouts;
mod person;
mod program_view;
mod programs;
mod purchase;
mod purchases;
mod record;
mod redemptions;
mod search;
mod users;

use axum::Router;
use axum::routing::{get, post};

use super::Console;

pub(super) fn routes() -> Router<Console> {
    Router::new()
        .route("/o", get(overview::show))
        .route("/o/sample", post(overview::fill))
        .route("/o/users", get(users::show))
        .route("/o/users/{user}", get(person::show))
        .route("/o/users/{user}/deactivate", post(person::deactivate))
        .route("/o/users/{user}/reactivate", post(person::reactivate))
        .route("/o/users/{user}/role", post(person::set_role))
        .route("/o/users/{user}/erase", post(person::erase))
        .route("/o/programs/{program}/view", get(program_view::show))
        .route("/o/purchases", get(purchases::show))
        .route("/o/purchases/{purchase}", get(purchase::show).post(purchase::refund))
        .route("/o/payments", get(payments::show).post(payments::attach))
        .route("/o/payments/seen", post(payments::acknowledge))
        .route("/o/programs", get(programs::list))
        .route("/o/programs/{program}", get(programs::show))
        .route("/o/programs/{program}/versions", get(programs::versions))
        .route("/o/publish", get(programs::new).post(programs::publish))
        .route("/o/mails", get(mails::show).post(mails::retry))
        .route("/o/keys", get(keys::show).post(keys::create))
        .route("/o/keys/revoke", post(keys::revoke))
        .route("/o/log", get(log::show))
        .route("/o/log/{position}", get(log::one))
        .route("/o/jobs", get(jobs::show).post(jobs::retry))
        .route("/o/fraud", get(fraud::show).post(fraud::decide))
        .route("/o/fraud/{flag}", get(flag::show).post(flag::decide))
        .route("/o/payouts", get(payouts::show).post(payouts::create))
        .route("/o/payouts/{program}/{payout}", get(payout::show).post(payout::decide))
        .route("/o/payouts/{program}/{payout}/lines.csv", get(payout::csv))
        .route("/o/approvals", get(approvals::show).post(approvals::decide))
        .route("/o/users/{user}/balance/{program}", get(balance::show).post(balance::adjust))
        .route("/o/users/{user}/balance/{program}/rewards", post(balance::hold))
        .route("/o/purchases/{purchase}/rewards", post(purchase::hold))
        .route("/o/items", get(items::show).post(items::publish))
        .route("/o/items/{program}/{item}", get(items::show_one).post(items::change))
        .route("/o/items/redemptions", get(redemptions::show).post(redemptions::decide))
        .route("/o/record", get(record::show).post(record::record))
}

/// An amount as people write it, `12.50`, in minor units of a currency with so many decimals.
fn minor_units(text: &str, decimals: usize) -> Option<i64> {
    let (whole, part) = text.trim().split_once('.').unwrap_or((text.trim(), ""));
    let is_number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || !is_number(whole) || !is_number(part) || part.len() > decimals {
        return None;
    }
    format!("{whole}{part:0<decimals$}").parse().ok()
}

/// The same, perhaps below zero: `-12.50`.
fn signed_minor_units(text: &str, decimals: usize) -> Option<i64> {
    let text = text.trim();
    // The sign as it is typed, and as pages write it.
    match text.strip_prefix(['-', '−']) {
        Some(rest) => minor_units(rest, decimals).map(|minor| -minor),
        None => minor_units(text.strip_prefix('+').unwrap_or(text), decimals),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_amount_has_no_more_decimals_than_its_currency() {
        for (text, decimals, expected) in [
            ("12.50", 2, Some(1_250)),
            (" 12 ", 2, Some(1_200)),
            ("12.5", 2, Some(1_250)),
            ("0.05", 2, Some(5)),
            ("12.505", 2, None),
            ("12.5", 0, None),
            ("1200", 0, Some(1_200)),
            (".5", 2, None),
            ("-5", 2, None),
            ("1e3", 2, None),
            ("", 2, None),
            ("99999999999999999999", 2, None),
        ] {
            assert_eq!(minor_units(text, decimals), expected, "{text}");
        }
    }

    #[test]
    fn an_adjustment_has_a_sign() {
        for (text, expected) in [
            ("-12.50", Some(-1_250)),
            ("−12.50", Some(-1_250)),
            ("+5", Some(500)),
            (" 5 ", Some(500)),
            ("--5", None),
            ("+-5", None),
            ("-", None),
        ] {
            assert_eq!(signed_minor_units(text, 2), expected, "{text}");
        }
    }
}
