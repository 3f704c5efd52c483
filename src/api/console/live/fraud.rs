//! What the fraud queue follows: each flag is sent as it stands, whenever something happens to it.

use axum::extract::Path;
use axum::response::Response;
use console::pages::operator::fraud::{Filter, Form, KINDS, QUEUE, card};
use console::parts::Sent;
use http::HeaderMap;
use tokio_stream::StreamExt;
use tonic::Status;

use super::{cannot_begin, ended, resume_token, stream};
use crate::api::console::operator::fraud::filter;
use crate::api::console::operator::names::{Ids, knowing, of_flag};
use crate::api::console::visit::Visit;
use crate::api::pb;
use crate::api::services::InProcess;
use crate::api::tokens::{self, StreamName};
use crate::live::Cursor;

/// The token with which a page goes on that shows everything up to a position.
pub(in crate::api::console) fn live_token(
    visit: &Visit,
    program_id: &str,
    position: i64,
) -> String {
    let rpc = <pb::WatchFraudFlagsRequest as InProcess>::RULE.rpc;
    let cursor = Cursor { position, sequence: position };
    tokens::resume_token(visit.console().context(), StreamName::new(rpc, program_id), cursor)
}

/// The queue: flags that are like those on the page are put into it.
pub(super) async fn follow(visit: Visit, headers: HeaderMap) -> Response {
    let filter = filter(|name| visit.query(name));
    let program_id = filter.program.clone();
    let shown = Shown::Queue(filter);
    run(visit, &headers, program_id, shown).await
}

/// One flag.
pub(super) async fn follow_one(
    visit: Visit,
    Path(flag_id): Path<String>,
    headers: HeaderMap,
) -> Response {
    let program_id = visit.query("program").to_owned();
    run(visit, &headers, program_id, Shown::One(flag_id)).await
}

/// What the page shows.
enum Shown {
    Queue(Filter),
    One(String),
}

async fn run(visit: Visit, headers: &HeaderMap, program_id: String, shown: Shown) -> Response {
    if visit.operator().is_err() {
        return ended(&visit);
    }
    let request =
        pb::WatchFraudFlagsRequest { program_id, resume_token: resume_token(&visit, headers) };
    let mut changes = match visit.call(request).await {
        Ok(changes) => changes,
        Err(status) => return cannot_begin(&visit, &status),
    };
    stream(|messages| async move {
        let following = async {
            while let Some(message) = changes.next().await.transpose()? {
                let html = match &message.change {
                    Some(change) => shown.part(&visit, change).await?,
                    None => String::new(),
                };
                let sent = if html.is_empty() {
                    messages.beat(&message.resume_token).await
                } else {
                    messages.part(html, &message.resume_token).await
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

impl Shown {
    /// A flag as it stands after a change; empty if the page does not show it.
    async fn part(&self, visit: &Visit, change: &pb::FraudFlagChange) -> Result<String, Status> {
        if let Self::One(flag_id) = self
            && *flag_id != change.flag_id
        {
            return Ok(String::new());
        }
        let request = pb::GetFraudFlagRequest {
            flag_id: change.flag_id.clone(),
            consistency_token: change.consistency_token.clone(),
        };
        let Some(flag) = visit.look(request).await?.flag else { return Ok(String::new()) };
        let sent = Sent::default();
        let action = format!("/o/fraud/{}", flag.flag_id);
        let (form, into) = match self {
            Self::One(_) => {
                (Form { action: &action, filter: None, keys: visit.command(), sent: &sent }, None)
            }
            Self::Queue(filter) => {
                let form = Form {
                    action: "/o/fraud",
                    filter: Some(filter),
                    keys: visit.command(),
                    sent: &sent,
                };
                (form, is_like(&flag, filter).then_some(QUEUE))
            }
        };
        // One that is on the page, and not like the others any more, stays until the page is fetched anew.
        let reader = knowing(visit, Ids::of(of_flag(&flag))).await;
        Ok(card(&flag, &form, into, &reader).into_string())
    }
}

/// Whether a filter lets a flag in.
fn is_like(flag: &pb::FraudFlag, filter: &Filter) -> bool {
    let is_open = flag.state() == pb::FraudFlagState::Open;
    let is_in_state = match &*filter.state {
        "" => is_open,
        "resolved" => !is_open,
        _ => true,
    };
    let kind = KINDS.iter().find(|(name, _)| *name == filter.kind);
    let parties = [&flag.referee, &flag.referrer, &flag.other];
    let names = |user_id: &str| parties.into_iter().flatten().any(|of| of.user_id == user_id);
    is_in_state
        && kind.is_none_or(|(_, kind)| *kind == flag.kind())
        && (filter.program.is_empty() || filter.program == flag.program_id)
        && (filter.user.is_empty() || names(&filter.user))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_flags_like_those_on_the_page_are_put_into_it() {
        let party =
            |user_id: &str| pb::FraudParty { user_id: user_id.into(), ..Default::default() };
        let flag = pb::FraudFlag {
            kind: pb::FraudFlagKind::Fingerprint.into(),
            state: pb::FraudFlagState::Open.into(),
            program_id: "points".into(),
            referee: Some(party("ada")),
            ..Default::default()
        };
        let filter = |state: &str, kind: &str, program: &str, user: &str| Filter {
            state: state.into(),
            kind: kind.into(),
            program: program.into(),
            user: user.into(),
            order: String::new(),
        };
        for (filter, expected) in [
            (filter("", "", "", ""), true),
            (filter("all", "fingerprint", "points", "ada"), true),
            (filter("resolved", "", "", ""), false),
            (filter("", "look_alike", "", ""), false),
            (filter("", "", "credits", ""), false),
            (filter("", "", "", "bob"), false),
        ] {
            assert_eq!(is_like(&flag, &filter), expected, "{filter:?}");
        }
    }
}
