//! The console: what pages do. How they look is in the crate `console`; what they show and change, they read and do by
//! the RPC handlers in this process, with the principal of the visitor and through the same guard as calls from
//! outside, so that no page can show what the API would not.
//!
//! To add a page: its look in `console/src/pages/`, its handler in a file here, and its row in [`routes`].
//!
//! - [`visit`] is a request for a page: who makes it, how they read, and the calls that they may make ([`calls`]).
//! - [`session`] and [`cookies`] are how a browser is recognised.
//! - [`origin`] and [`form_token`] refuse forms of other sites, [`forms`] reads those of ours, [`faults`] says what is
//!   wrong with them.
//! - [`lists`] reads lists that pages show as a whole.
//! - [`dev`] is what only `tributary dev` has.
//! - [`answers`] are pages, redirects and refusals, with the headers of all of them; [`assets`] are what pages refer
//!   to.
//! - [`people`] is who has signed in, with the sidebar; [`door`], [`participant`], [`profile`] and [`operator`] are the
//!   pages, [`live`] the streams that they follow.

mod answers;
mod assets;
mod calls;
mod cookies;
pub mod dev;
mod door;
mod faults;
mod form_token;
mod forms;
mod lists;
mod live;
mod operator;
mod origin;
mod participant;
mod people;
mod profile;
mod session;
mod visit;

use std::sync::Arc;

use axum::Router;
use axum::middleware::from_fn_with_state;
use axum::routing::{get, post};

pub(in crate::api) use self::answers::{POLICY, mailed_page, password_rules};

use self::answers::Refused;
use self::live::places::Places;
use super::Context;
use crate::live::{Turn, Turns};
use crate::metrics::Metrics;

/// How many live pages read anew at the same time, with two or three reads each. One event can concern thousands of
/// pages: all at once, they would wait for free connections longer than a read may.
const TURNS: usize = 4;

/// What pages need. Cheap to clone.
#[derive(Clone)]
pub(in crate::api) struct Console(Arc<Parts>);

struct Parts {
    context: Context,
    metrics: Metrics,
    turns: Turns,
    places: Places,
}

impl Console {
    /// `streams_per_address` is how many live pages an address may have.
    pub(in crate::api) fn new(
        context: Context,
        metrics: Metrics,
        streams_per_address: usize,
    ) -> Self {
        let (turns, places) = (Turns::new(TURNS), Places::new(streams_per_address));
        Self(Arc::new(Parts { context, metrics, turns, places }))
    }

    fn context(&self) -> &Context {
        &self.0.context
    }

    fn metrics(&self) -> &Metrics {
        &self.0.metrics
    }

    /// A turn of a live page to read anew. Sending what was read takes none: a slow browser holds up no other page.
    /// Sessions take turns, so that one with many pages holds up no other.
    async fn turn(&self, session_id: &Arc<str>) -> Turn {
        self.0.turns.take(session_id).await
    }

    /// The places of live pages.
    fn places(&self) -> &Places {
        &self.0.places
    }

    /// What paths of pages begin with: the path of the public URL, empty at the top of a host.
    fn root(&self) -> String {
        let url = self.context().settings.public_url.as_ref();
        url.map(|url| url.path().to_owned()).unwrap_or_default()
    }
}

/// Every page. All of them pass [`visit::visiting`], which says who comes, refuses forms of other sites, and counts
/// requests by those who have not signed in.
pub(in crate::api) fn routes(console: Console) -> Router {
    let visiting = from_fn_with_state(console.clone(), visit::visiting);
    Router::new()
        .route("/", get(door::front::show))
        .route("/sign-in", get(door::sign_in::show).post(door::sign_in::sign_in))
        .route("/sign-out", post(door::sign_out))
        .route("/register", get(door::register::show).post(door::register::register))
        .route("/join", get(door::register::join))
        .route("/join/{code}", get(door::register::join))
        .route("/forgot", get(door::forgot::show).post(door::forgot::ask))
        .route("/theme", post(door::choose_theme))
        .merge(participant::routes())
        .merge(profile::routes())
        .merge(operator::routes())
        .merge(live::routes())
        .route_layer(visiting)
        .route("/assets/{name}", get(assets::show))
        .with_state(console)
}

/// The page in place of every page that there is not.
pub(in crate::api) fn nothing(console: Console) -> Router {
    let visiting = from_fn_with_state(console, visit::visiting);
    Router::new().fallback(async || Refused::NotFound).layer(visiting)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]
mod tests {
    use std::path::{Path, PathBuf};

    /// The source files below a folder.
    fn sources(folder: &Path) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        entries.flat_map(|path| if path.is_dir() { sources(&path) } else { vec![path] }).collect()
    }

    #[test]
    fn pages_read_and_write_by_calls_alone() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/api/console");
        let sources = sources(&folder);
        assert!(sources.len() > 30, "{sources:?}");
        for path in sources {
            let source = std::fs::read_to_string(&path).unwrap();
            // Not of this test.
            let source = source.split("#[cfg(test)]").next().unwrap();
            for way in
                [".reads", ".engine", ".database", ".boards", "sqlx", "crate::store", "crate::read"]
            {
                assert!(!source.contains(way), "{} goes past the calls by {way}", path.display());
            }
        }
    }
}
