//! What users of the API see: the five programs, bad input, streams, and the command line.

#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::expect_used,
    reason = "a test may stop at the first surprise"
)]

mod actors;
mod adjustments;
mod at_the_door;
mod audit;
mod bad_input;
mod bad_purchases;
mod bad_referrals;
mod buckets;
mod call;
mod checkout;
mod confirmation;
mod cors;
mod deadlines;
mod dev;
mod documents;
mod earnings_series;
mod envelopes;
mod erasure;
mod error_details;
mod expiry;
mod export;
mod facts;
mod find_user;
mod first_purchase_bonus;
mod first_purchase_credits;
mod fraud;
mod front_door;
mod fuzz;
mod held_referrals;
mod http2_abuse;
mod ids;
mod jobs;
mod key_owners;
mod keys;
mod limits;
mod list_purchases;
mod mail_pace;
mod mails;
mod mails_of_reversals;
mod multi_level_commission;
mod names;
mod odd_calls;
mod open_door;
mod password_reset;
mod payouts;
mod principals;
mod privacy;
mod profile;
mod programs;
mod rate_limits;
mod raw;
mod raw_http2;
mod redaction;
mod referral_count;
mod reflection;
mod refunds;
mod refusals;
mod requests;
mod reward_states;
mod roles;
mod scenarios;
mod second_factor;
mod serve;
mod server_tls;
mod sessions;
mod shown_names;
mod sign_ups;
mod smoke;
mod store;
mod stream_balances;
mod stream_ends;
mod stream_events;
mod stream_leaderboards;
mod stream_limits;
mod stream_log;
mod stream_tiers;
mod streams;
mod stripe;
mod support;
mod takeovers;
mod tiered_points;
mod tls;
mod tokens;
mod traces;
mod unknown_enums;
mod views;
mod watch_participant;
mod withheld;
mod wrong_programs;
