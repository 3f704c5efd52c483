//! The leaderboard of a program.

use axum::extract::Path;
use axum::response::Response;
use console::page::Live;
use console::pages::participant::leaderboard::{Board, View, page};
use console::pages::participant::path;
use tonic::Status;

use super::next_page;
use crate::api::console::answers::Refused;
use crate::api::console::visit::Visit;
use crate::api::pb;

/// How many places a page has.
pub(in crate::api::console) const PLACES: i32 = 25;

pub(super) async fn show(
    visit: Visit,
    Path(program_id): Path<String>,
) -> Result<Response, Refused> {
    let at = visit.participating(&program_id).await?;
    let later = visit.query("page");
    let board = board(&visit, &program_id, &at.person.user_id(), later).await?;
    // The stream begins with the board as it is then, so that nothing is missed in between.
    let live = Live { path: format!("/live/leaderboard/{program_id}"), token: String::new() };
    let view = View { scene: at.scene(), board: &board, live: later.is_empty().then_some(live) };
    let form_token = visit.form_token();
    let sidebar = at.person.sidebar(&visit, &form_token);
    Ok(visit.page(page(view, &sidebar, visit.reader())))
}

/// A page of the board, with the visitor's own place.
pub(in crate::api::console) async fn board(
    visit: &Visit,
    program_id: &str,
    user_id: &str,
    page_token: &str,
) -> Result<Board, Status> {
    let (board, own) = tokio::join!(
        visit.look(pb::GetLeaderboardRequest {
            program_id: program_id.into(),
            page_size: PLACES,
            page_token: page_token.into(),
            ..Default::default()
        }),
        visit.look(pb::GetRankRequest {
            program_id: program_id.into(),
            user_id: user_id.into(),
            ..Default::default()
        }),
    );
    let (board, own) = (board?, own?);
    Ok(Board {
        next: next_page(&path(program_id, "leaderboard"), &[], &board.next_page_token),
        metric: board.metric(),
        participant_count: board.participant_count,
        entries: board.entries,
        own: own.entry.unwrap_or_default(),
        is_later: !page_token.is_empty(),
    })
}
