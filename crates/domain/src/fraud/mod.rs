//! Signals of fraud: which addresses are one mailbox, which look alike, and what a program does about it.
//!
//! - [`Address`] is an e-mail address in the forms in which it is compared: the mailbox that it leads to
//!   ([`Address::mailbox_key`]), what it looks like ([`Address::look_alike_key`]), and its text.
//! - [`FraudChecks`] are the checks of a program, as data; each is off, or has a threshold and a policy.
//! - [`judge`] turns what was found out about a referral into at most one flag.
//!
//! Nothing here looks anything up: owners of keys, addresses and counts come in as arguments.

mod address;
mod checks;
mod disposable;
mod look_alikes;
mod network;
mod providers;
mod verdict;

pub use address::{Address, Mailbox};
pub use checks::{
    BURST_WINDOW_HOURS, FraudCheck, FraudChecks, FraudPolicy, MAX_WINDOW_HOURS, MIN_SIMILARITY_BPS,
    ReferralBurst, SignUpsPerAddress, SimilarAddress,
};
pub use disposable::DisposableDomains;
pub use network::counted_network;
pub use verdict::{EXACT_BPS, Finding, Flag, FlagKind, LATEST_REFEREES, Occasion, Signals, judge};

#[cfg(test)]
mod tests;
