//! What webhooks come to: payloads as Stripe documents them, signed for real, in every order.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test may stop at the first surprise"
)]

mod buyers;
mod delivery;
mod money_back;
mod orders;
mod parsing;
