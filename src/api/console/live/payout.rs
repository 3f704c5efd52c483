//! What the page of a payout follows: its sums, while lines are made and settled.

use std::time::Duration;

use axum::extract::Path;
use axum::response::Response;
use console::pages::operator::payout::sums;
use http::HeaderMap;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_stream::StreamExt;
use tonic::Status;

use super::{Messages, cannot_begin, ended, resume_token, stream};
use crate::api::console::visit::Visit;
use crate::api::pb;
use crate::api::tokens::consistency_token;
use crate::api::watch;

/// How often the sums are read at most: a job settles thousands of lines a second.
const TICK: Duration = Duration::from_millis(500);
/// The events of payouts and their lines.
const EVENTS: [&str; 11] = [
    "PayoutCreated",
    "PayoutCollected",
    "PayoutApprovalWaived",
    "PayoutConfirmationStarted",
    "PayoutFailureStarted",
    "PayoutCompleted",
    "PayoutLineReserved",
    "PayoutLineSkipped",
    "PayoutLinePaid",
    "PayoutLineFailed",
    "PayoutLineReturned",
];

type Events = watch::Messages<pb::WatchEventsResponse>;

pub(super) async fn follow(
    visit: Visit,
    Path((program_id, payout_id)): Path<(String, String)>,
    headers: HeaderMap,
) -> Response {
    if visit.operator().is_err() {
        return ended(&visit);
    }
    let request = pb::WatchEventsRequest {
        event_types: EVENTS.map(String::from).to_vec(),
        resume_token: resume_token(&visit, &headers),
        ..Default::default()
    };
    let events = match visit.call(request).await {
        Ok(events) => events,
        Err(status) => return cannot_begin(&visit, &status),
    };
    let shown = visit.query("state").parse().unwrap_or_default();
    let following = Following { visit, program_id, payout_id, shown };
    stream(|messages| async move {
        tokio::select! {
            () = messages.gone() => {}
            outcome = following.run(events, &messages) => {
                if let Err(status) = outcome {
                    messages.last(&following.visit, &status).await;
                }
            }
        }
    })
}

struct Following {
    visit: Visit,
    program_id: String,
    payout_id: String,
    /// The state in which the page shows the payout: in another one it offers something else.
    shown: i32,
}

impl Following {
    /// Sends the sums, tick by tick, when they have changed. Returns when the browser has gone.
    async fn run(&self, mut events: Events, messages: &Messages) -> Result<(), Status> {
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut token, mut since) = (String::new(), String::new());
        // The page may be older than the stream, so that it is brought up to date first.
        let (mut is_stale, mut sent) = (true, String::new());
        let mut heard = Instant::now();
        loop {
            tokio::select! {
                event = events.next() => {
                    let Some(event) = event.transpose()? else { return Ok(()) };
                    token = event.resume_token;
                    if let Some(event) = event.event.filter(|event| self.is_about(event)) {
                        is_stale = true;
                        since = consistency_token(self.visit.console().context(), event.position);
                    }
                    continue;
                }
                _ = ticks.tick() => {}
            }
            let mut html = String::new();
            if is_stale {
                let payout = self.payout(&since).await?;
                if payout.state != self.shown {
                    let _ = messages.reload().await;
                    return Ok(());
                }
                // While a job works on it, the next tick looks again in any case.
                is_stale = is_under_way(payout.state());
                html = sums(&payout, self.visit.reader()).into_string();
            }
            let outcome = if !html.is_empty() && html != sent {
                sent.clone_from(&html);
                messages.part(html, &token).await
            } else if heard.elapsed() > self.visit.console().context().settings.heartbeat {
                messages.beat(&token).await
            } else {
                continue;
            };
            heard = Instant::now();
            if outcome.is_err() {
                return Ok(());
            }
        }
    }

    async fn payout(&self, since: &str) -> Result<pb::Payout, Status> {
        let request = pb::GetPayoutRequest {
            program_id: self.program_id.clone(),
            payout_id: self.payout_id.clone(),
            consistency_token: since.into(),
        };
        Ok(self.visit.look(request).await?.payout.unwrap_or_default())
    }

    /// Whether an event is about the payout or a line of it.
    fn is_about(&self, event: &pb::Event) -> bool {
        let rest = event.aggregate_id.strip_prefix(&*self.program_id);
        let rest = rest.and_then(|rest| rest.strip_prefix('/')?.strip_prefix(&*self.payout_id));
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }
}

fn is_under_way(state: pb::PayoutState) -> bool {
    use pb::PayoutState as S;
    matches!(state, S::Collecting | S::Confirming | S::Failing)
}
