//! What must never happen: a lost event, a double payment, a wrong answer about what was done. Races against
//! two servers, faults during operation, and the log itself.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    reason = "a test may stop at the first surprise"
)]

mod adjustments;
mod ahead;
mod bounds;
mod building;
mod claims;
mod clocks;
mod consistency;
mod contention;
mod cut_off;
mod epochs;
mod erasure;
mod evidence;
mod exchanges;
mod expected;
mod expiry;
mod faults;
mod folds;
mod fraud;
mod fraud_decisions;
mod functions;
mod held_referrals;
mod history;
mod hung_servers;
mod interleavings;
mod jobs;
mod keys;
mod lifecycle;
mod log;
mod mails;
mod many_streams;
mod model;
mod newer;
mod oracle;
mod orders;
mod patience;
mod payouts;
mod poolers;
mod profiles;
mod projector;
mod purchases_of;
mod races;
mod reactions;
mod reads;
mod rebuild;
mod refunds;
mod releases;
mod resumption;
mod retries;
mod reversals;
mod rights;
mod rivals;
mod schema;
mod sessions;
mod sign_ups;
mod snapshots;
mod store;
mod stripe;
mod surroundings;
mod transactions;
