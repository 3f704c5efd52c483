//! What users of the API see: the five programs, bad input, streams, and the command line.

#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::expect_used,
    reason = "a test may stop at the first surprise"
)]

mod at_the_door;
mod bad_input;
mod bad_purchases;
mod bad_referrals;
mod call;
mod deadlines;
mod dev;
mod documents;
mod envelopes;
mod error_details;
mod facts;
mod find_user;
mod first_purchase_bonus;
mod first_purchase_credits;
mod front_door;
mod fuzz;
mod http2_abuse;
mod ids;
mod jobs;
mod keys;
mod limits;
mod list_purchases;
mod multi_level_commission;
mod names;
mod principals;
mod programs;
mod raw;
mod raw_http2;
mod referral_count;
mod reflection;
mod requests;
mod serve;
mod sessions;
mod shown_names;
mod smoke;
mod stream_balances;
mod stream_ends;
mod stream_events;
mod stream_leaderboards;
mod stream_limits;
mod stream_log;
mod stream_tiers;
mod streams;
mod support;
mod tiered_points;
mod tls;
mod tokens;
mod traces;
mod unknown_enums;
mod views;
mod watch_participant;
mod withheld;
mod wrong_programs;
