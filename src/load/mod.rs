//! Load: what drives the engine as hard as it goes, and what it is compared with.
//!
//! - [`rivals`] are other ways of doing the same purchases on the same Postgres.

pub mod rivals;
