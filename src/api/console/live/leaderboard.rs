//! What the leaderboard follows: whenever places change, the first page of it is sent anew.

use axum::extract::Path;
use axum::response::Response;
use console::pages::participant::{leaderboard as look, path};
use http::HeaderMap;
use tokio_stream::StreamExt;
use tonic::Status;

use super::{cannot_begin, ended, resume_token, stream};
use crate::api::console::participant::leaderboard::{PLACES, board};
use crate::api::console::visit::Visit;
use crate::api::pb;

pub(super) async fn follow(
    visit: Visit,
    Path(program_id): Path<String>,
    headers: HeaderMap,
) -> Response {
    let Ok(signed_in) = visit.signed_in() else { return ended(&visit) };
    let user_id = signed_in.user_id.to_string();
    let request = pb::WatchLeaderboardRequest {
        program_id: program_id.clone(),
        top: PLACES,
        resume_token: resume_token(&visit, &headers),
        ..Default::default()
    };
    let program = pb::GetProgramRequest { program_id: program_id.clone(), ..Default::default() };
    let (changes, program) = tokio::join!(visit.call(request), visit.look(program));
    let (mut changes, program) = match changes.and_then(|changes| Ok((changes, program?))) {
        Ok((changes, program)) => (changes, program.program.unwrap_or_default()),
        Err(status) => return cannot_begin(&visit, &status),
    };
    stream(|messages| async move {
        let following = async {
            while let Some(change) = changes.next().await.transpose()? {
                let token = &change.resume_token;
                let sent = if change.entries.is_empty() && !change.snapshot {
                    messages.beat(token).await
                } else {
                    let turn = visit.turn().await;
                    let board = board(&visit, &program_id, &user_id, "").await?;
                    drop(turn);
                    let place = path(&program_id, "leaderboard");
                    let html = look::board(&board, &program, &place, visit.reader());
                    messages.part(html.into_string(), token).await
                };
                if sent.is_err() {
                    break;
                }
            }
            Ok::<_, Status>(())
        };
        tokio::select! {
            () = messages.gone() => {}
            outcome = following => {
                if let Err(status) = outcome {
                    messages.last(&visit, &status).await;
                }
            }
        }
    })
}
