//! Pages of operators. Nothing here says who may see them: the calls that they make do.

mod approvals;
mod balance;
mod disputes;
mod erased;
mod flag;
pub(super) mod fraud;
mod holds;
mod items;
mod jobs;
mod keys;
pub(super) mod log;
mod mails;
pub(super) mod names;
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
        .route("/o/purchases/{purchase}/disputes", post(disputes::decide))
        .route("/o/items", get(items::show).post(items::publish))
        .route("/o/items/{program}/{item}", get(items::show_one).post(items::change))
        .route("/o/items/redemptions", get(redemptions::show).post(redemptions::decide))
        .route("/o/record", get(record::show).post(record::record))
}
