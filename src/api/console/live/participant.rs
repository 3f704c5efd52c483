//! What the dashboard of a participant follows, and the page of earnings.
//!
//! What happened comes from the stream of the participant, line by line, after the token of the page. The numbers are
//! read anew after each of them, as they are then: they are never older than the line that comes with them, and
//! sending them twice changes nothing.

use std::time::Duration;

use axum::extract::Path;
use axum::response::Response;
use console::page::CELEBRATIONS;
use console::pages::participant::dashboard::{self, FEED, Rules};
use console::pages::participant::earnings::{self, name};
use console::text::participant::SOMEBODY;
use http::HeaderMap;
use tokio::time::{Instant, sleep, timeout_at};
use tokio_stream::StreamExt;
use tonic::Status;

use super::{Gone, Messages, cannot_begin, ended, resume_token, stream};
use crate::api::console::participant::dashboard::{Of, present};
use crate::api::console::participant::earnings::figures;
use crate::api::console::participant::versions;
use crate::api::console::visit::Visit;
use crate::api::pb;
use crate::api::pb::watch_participant_response::Change;
use crate::api::tokens::consistency_token;
use crate::api::watch;

/// For so long, changes that come together are put into one message: those of one command come within a millisecond.
const TOGETHER: Duration = Duration::from_millis(3);
/// How long after a message the next one comes, while there are many changes.
const PAUSE: Duration = Duration::from_millis(200);
/// How many messages come without a pause, if there were none for a while.
const AT_ONCE: u32 = 3;
/// How many changes one message has at most.
const MAX_CHANGES: usize = 50;

type Changes = watch::Messages<pb::WatchParticipantResponse>;

/// Which page follows.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Shown {
    Dashboard,
    Earnings,
}

pub(super) async fn follow(
    visit: Visit,
    Path(program_id): Path<String>,
    headers: HeaderMap,
) -> Response {
    begin(visit, program_id, &headers, Shown::Dashboard).await
}

pub(super) async fn follow_earnings(
    visit: Visit,
    Path(program_id): Path<String>,
    headers: HeaderMap,
) -> Response {
    begin(visit, program_id, &headers, Shown::Earnings).await
}

async fn begin(visit: Visit, program_id: String, headers: &HeaderMap, shown: Shown) -> Response {
    let Ok(signed_in) = visit.signed_in() else { return ended(&visit) };
    let user_id = signed_in.user_id.to_string();
    let request = pb::WatchParticipantRequest {
        program_id: program_id.clone(),
        user_id: user_id.clone(),
        resume_token: resume_token(&visit, headers),
    };
    let program = pb::GetProgramRequest { program_id, ..Default::default() };
    let program = async {
        // All pages come back at once when a server has started.
        let _turn = visit.turn().await;
        visit.look(program).await
    };
    let (changes, program) = tokio::join!(visit.call(request), program);
    let begun = changes.and_then(|changes| {
        let program = program?.program.ok_or_else(|| Status::not_found("there is no program"))?;
        Ok((changes, program))
    });
    let (changes, program) = match begun {
        Ok(begun) => begun,
        Err(status) => return cannot_begin(&visit, &status),
    };
    let following = Following { visit, program, user_id, shown };
    stream(|messages| async move {
        tokio::select! {
            () = messages.gone() => {}
            outcome = following.run(changes, &messages) => {
                if let Err(End::Status(status)) = outcome {
                    messages.last(&following.visit, &status).await;
                }
            }
        }
    })
}

struct Following {
    visit: Visit,
    program: pb::Program,
    user_id: String,
    shown: Shown,
}

/// Why a stream ends.
enum End {
    Gone,
    Status(Box<Status>),
}

impl From<Gone> for End {
    fn from(Gone: Gone) -> Self {
        Self::Gone
    }
}

impl From<Status> for End {
    fn from(status: Status) -> Self {
        Self::Status(Box::new(status))
    }
}

impl Following {
    async fn run(&self, mut changes: Changes, messages: &Messages) -> Result<(), End> {
        // The page may be older than the stream: its numbers are brought up to date first.
        let mut is_first = true;
        // When the next message would be due if all had come at their pace.
        let mut due = Instant::now();
        loop {
            let Some(first) = changes.next().await.transpose()? else { return Ok(()) };
            let began = Instant::now();
            let mut batch = vec![first];
            while batch.len() < MAX_CHANGES {
                match timeout_at(began + TOGETHER, changes.next()).await {
                    Ok(Some(change)) => batch.push(change?),
                    Ok(None) | Err(_) => break,
                }
            }
            let token = batch.last().map(|last| last.resume_token.clone()).unwrap_or_default();
            let happened: Vec<Change> = batch.into_iter().filter_map(|of| of.change).collect();
            if happened.is_empty() && !is_first {
                messages.beat(&token).await?;
                continue;
            }
            is_first = false;
            self.tell(&happened, &token, messages).await?;
            due = due.max(began) + PAUSE;
            let ahead = due.saturating_duration_since(Instant::now());
            sleep(ahead.saturating_sub(PAUSE * AT_ONCE)).await;
        }
    }

    /// Sends what has happened, and how things stand now: the numbers at once, then what takes longer to read.
    async fn tell(&self, happened: &[Change], token: &str, messages: &Messages) -> Result<(), End> {
        let (program, reader) = (&self.program, self.visit.reader());
        let turn = self.visit.turn().await;
        let (state, _) = present(&self.visit, &program.program_id, &self.user_id).await?;
        let since = consistency_token(self.visit.console().context(), state.position);
        let of = Of { visit: &self.visit, program, user_id: &self.user_id };
        if self.shown == Shown::Earnings {
            let figures = figures(&of, None, "", &since).await;
            drop(turn);
            let html = earnings::changed(&figures, program, reader).into_string();
            return Ok(messages.part(html, token).await?);
        }
        let mut html = dashboard::changed(&state, program, reader).into_string();
        let has_referral = happened.iter().any(|of| matches!(of, Change::Referral(_)));
        let people = if has_referral { of.recent_referrals(&since).await? } else { Vec::new() };
        let wanted = happened.iter().filter_map(|change| match change {
            Change::Entry(entry) => entry.reward.as_ref().map(|reward| reward.program_version),
            Change::Withheld(of) => Some(of.program_version),
            _ => None,
        });
        // A version that was published since the page was made is among them, too.
        let others = versions::others(&self.visit, program, wanted.collect()).await;
        let rules = Rules { program, others: &others };
        for change in happened {
            html += &self.line(change, rules, &people);
        }
        if happened.iter().any(|of| matches!(of, Change::Tier(_))) {
            let celebration = of.celebration(&since, Some(CELEBRATIONS)).await?;
            html += &celebration.map(console::Markup::into_string).unwrap_or_default();
        }
        drop(turn);
        // Without an id: should the rest not arrive, the page gets all of it again.
        messages.part(html, "").await?;
        let turn = self.visit.turn().await;
        let (levels, days, visits, places) =
            tokio::join!(of.levels(&since), of.days(&since), of.visits(), of.places(&since));
        drop(turn);
        let rest = [
            dashboard::limits(&Ok(levels?), program, reader),
            dashboard::changed_days(&days?, program, reader),
            dashboard::funnel(&state, &Ok(visits?), reader),
            dashboard::places(places?, program, reader),
        ];
        let rest: String = rest.into_iter().map(console::Markup::into_string).collect();
        messages.part(rest, token).await?;
        Ok(())
    }

    /// A change as a line of the feed; empty for what only changes numbers.
    fn line(&self, change: &Change, rules: Rules<'_>, people: &[pb::ReferralDetail]) -> String {
        let reader = self.visit.reader();
        let happening = match change {
            Change::Entry(entry) => dashboard::entry(entry, rules, reader),
            Change::Withheld(of) => dashboard::withheld(of, rules, reader),
            // The one through which the participant came has a referrer; those that they made have not.
            Change::Referral(referral) if referral.referee_user_id != self.user_id => {
                let found = people.iter().find(|detail| {
                    let known = detail.referral.as_ref();
                    known.is_some_and(|known| known.create_time == referral.create_time)
                });
                dashboard::referral(referral, found.map_or(SOMEBODY, name), reader)
            }
            Change::Referral(_)
            | Change::Present(_)
            | Change::Tier(_)
            | Change::Rank(_)
            | Change::Active(_) => return String::new(),
        };
        happening.html(Some(FEED)).into_string()
    }
}
