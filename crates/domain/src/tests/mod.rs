//! Tests of the rule book.
//!
//! - [`memory_work`] is a unit of work over plain maps, [`scene`] the vocabulary of tests that use it.
//! - [`programs`] has the rules of the five programs that ship with the engine, and examples of each with
//!   numbers.
//! - [`aggregates`] has given/when/then tests, [`rules`] the checks of a program, [`properties`] has
//!   properties of any program and any history.
//! - [`profiles`] has what changes names, addresses and second factors.
//! - [`schemas`] compares the shapes of the events with the committed ones.
//! - [`borders`] has what the domain may depend on.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test may stop at the first surprise"
)]

mod aggregates;
mod borders;
mod memory_work;
mod profiles;
pub(crate) mod programs;
mod properties;
mod rules;
mod scene;
mod schemas;
mod takeovers;
