//! Reactions: durable consumers of the log, whose work must happen exactly once.
//!
//! A reaction is a statement that inserts the jobs required by a run of events. Its checkpoint is stored under the
//! name of its folder, and moves in the transaction that inserts the jobs. Neither a rebuild of read models nor
//! another release therefore repeats anything.
//!
//! - [`step`] moves one reaction over one run of events.
//! - [`leader`] is the loop: one server at a time moves the reactions.

mod leader;
pub mod step;

pub use leader::start;

/// Every folder of `reactions/`, as `(name, fold.sql)`.
const FOLDERS: &[(&str, &str)] = &include!(concat!(env!("OUT_DIR"), "/reactions.rs"));

/// A reaction.
#[derive(Clone, Copy, Debug)]
pub struct Reaction {
    /// The name of its folder. It must not change, because the checkpoint is stored under it.
    pub name: &'static str,
    /// Inserts the jobs required by the events of `$1 < position <= $2`. Those events are whole commands.
    pub fold: &'static str,
}

impl Reaction {
    /// The reaction as a server moves it that has no use for its jobs: it inserts none, and what has happened
    /// meanwhile never calls for any.
    #[must_use]
    pub fn without_jobs(self) -> Self {
        Self { fold: "select where $1::bigint > $2::bigint", ..self }
    }
}

/// The reactions of this release.
#[must_use]
pub fn all() -> Vec<Reaction> {
    FOLDERS.iter().map(|&(name, fold)| Reaction { name, fold }).collect()
}
