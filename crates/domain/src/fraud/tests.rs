//! Tests of the fraud checks: [`keys`] of mailboxes, [`similar`] addresses, [`verdict`]s, what is wrong with
//! [`rules`], and [`properties`] of any address.

#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

mod keys;
mod properties;
mod rules;
mod similar;
mod verdict;

use super::Address;
use crate::UserId;

fn address(text: &str) -> Address {
    Address::parse(text).unwrap()
}

fn user(name: &str) -> UserId {
    UserId::parse(name).unwrap()
}
