//! What the command lines of Tributary share.
//!
//! - [`Server`] is the server that a command calls, with TLS where the address says `https`.
//! - [`causes`] words errors of connections.
//! - [`without_empty_variables`] is how commands read the environment, and [`StopRequests`] how they are asked to
//!   stop.
//!
//! Every client of ours finds its server here, so that none of them sends a key in a way that its user did not
//! ask for.

mod server;
mod stop;
mod variables;

pub use server::{AddressError, Server, causes};
pub use stop::StopRequests;
pub use variables::{variable, without_empty_variables};
