//! The pages, a file for each: a `View` with what the page shows, and `page`, which shows it.

pub mod door;
pub mod operator;
pub mod participant;
pub mod profile;
pub mod refused;
