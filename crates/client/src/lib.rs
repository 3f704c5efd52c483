//! What the command lines of Tributary share.
//!
//! - [`Server`] is the server that a command calls, with TLS where the address says `https`.
//! - [`causes`] words errors of connections; [`Server::unreachable`] says what helps against them.
//! - [`matches_of`] is how commands read the command line and the environment, and [`StopRequests`] how they are
//!   asked to stop.
//!
//! Every client of ours finds its server here, so that none of them sends a key in a way that its user did not
//! ask for.

mod reach;
mod server;
mod stop;
mod variables;

pub use server::{AddressError, Server, causes};
pub use stop::StopRequests;
pub use variables::{matches_of, variable};
