//! What webhooks of Stripe say, and what a payment comes to by all of them.
//!
//! Everything here is a plain function of its arguments: no I/O, no clock, no async. The caller receives requests,
//! keeps rows and carries out commands; [`payment`] says what the rows must hold and which commands are due.
//!
//! | module | what it does |
//! |---|---|
//! | [`signature`] | checks and makes the header `Stripe-Signature` |
//! | [`event`] | reads the body of a webhook into one enum of facts |
//! | [`currency`] | turns amounts of Stripe into ISO 4217 minor units, and back |
//! | [`payment`] | folds the facts about one payment, in any order, into the state in which it should be |
//! | [`sample`] | payloads as Stripe documents them, for tests and for trying out an endpoint |
//!
//! # Version
//!
//! Field names are those of the API versions since `2025-03-31.basil`, which took `payment_intent` away from invoices
//! and `invoice` away from payment intents. `invoice_payment.paid`, without which renewals are not linked, exists since
//! `2025-05-28.basil`. The newest version when this was written is [`sample::API_VERSION`]; no change of a field that
//! is read here is known up to it. In which version an endpoint gets its events is decided when the endpoint is made;
//! [`event::Event::api_version`] tells it.
//!
//! # Why no crate of Stripe's types
//!
//! `async-stripe-webhook` is the kept one. It is a release candidate, stands on up to nine generated crates with all
//! types of the API, `chrono` and `miniserde`, and is generated anew for each API version. Its types require every
//! field that the version documents, so payloads of another version have failed whole for fields that nobody here reads
//! (its issues 347, 465, 482 and 499): an endpoint must not lose payments by that. Of all those fields we read about
//! thirty. What is worth having beyond types is not in it: checks with several secrets, Stripe's table of decimals, and
//! facts in any order.

pub mod currency;
pub mod event;
pub mod payment;
pub mod sample;
pub mod signature;
