//! What the overview follows: how many purchases and rewards there are in a second, and the programs whenever something
//! has happened.

use std::collections::VecDeque;
use std::time::Duration;

use axum::response::Response;
use console::pages::operator::overview::{self, Rates};
use http::HeaderMap;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_stream::StreamExt;
use tonic::Status;

use super::{Messages, cannot_begin, ended, resume_token, stream};
use crate::api::console::operator::overview::programs;
use crate::api::console::visit::Visit;
use crate::api::pb;
use crate::api::watch;

/// How often the rates are looked at.
const TICK: Duration = Duration::from_secs(1);
/// How many ticks the rates are over.
const TICKS: usize = 10;
/// How often the programs are read again at most, in ticks.
const PROGRAM_TICKS: u32 = 2;
/// The events that are counted: purchases, then rewards.
const PURCHASE: &str = "PurchaseRecorded";
const REWARD: &str = "RewardGranted";

type Events = watch::Messages<pb::WatchEventsResponse>;

pub(super) async fn follow(visit: Visit, headers: HeaderMap) -> Response {
    if visit.operator().is_err() {
        return ended(&visit);
    }
    let request = pb::WatchEventsRequest {
        event_types: vec![PURCHASE.into(), REWARD.into()],
        resume_token: resume_token(&visit, &headers),
        ..Default::default()
    };
    let events = match visit.call(request).await {
        Ok(events) => events,
        Err(status) => return cannot_begin(&visit, &status),
    };
    stream(|messages| async move {
        tokio::select! {
            () = messages.gone() => {}
            outcome = run(&visit, events, &messages) => {
                if let Err(status) = outcome {
                    messages.last(&visit, &status).await;
                }
            }
        }
    })
}

/// Counts events, tick by tick, and sends what has changed. Returns when the browser has gone.
async fn run(visit: &Visit, mut events: Events, messages: &Messages) -> Result<(), Status> {
    let mut counted = Counted::default();
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut token, mut shown) = (String::new(), Rates::default());
    // The first tick comes at once: nothing was counted then.
    let mut has_begun = false;
    // The page may be older than the stream, so that its programs are brought up to date first.
    let (mut is_stale, mut since_programs) = (true, PROGRAM_TICKS);
    let mut heard = Instant::now();
    loop {
        tokio::select! {
            event = events.next() => {
                let Some(event) = event.transpose()? else { return Ok(()) };
                token = event.resume_token;
                is_stale |= event.event.is_some();
                counted.note(event.event.as_ref());
                continue;
            }
            _ = ticks.tick() => {}
        }
        since_programs += 1;
        let rates = if has_begun { counted.tick() } else { shown };
        has_begun = true;
        let mut html = String::new();
        if rates != shown {
            shown = rates;
            html += &overview::rates(rates, visit.reader()).into_string();
        }
        if is_stale && since_programs >= PROGRAM_TICKS {
            (is_stale, since_programs) = (false, 0);
            let (programs, _) = programs(visit).await?;
            html += &overview::programs(&programs, visit.reader()).into_string();
        }
        let sent = if !html.is_empty() {
            messages.part(html, &token).await
        } else if heard.elapsed() > visit.console().context().settings.heartbeat {
            messages.beat(&token).await
        } else {
            continue;
        };
        heard = Instant::now();
        if sent.is_err() {
            return Ok(());
        }
    }
}

/// Purchases and rewards in the last ticks, and in the one that runs.
#[derive(Default)]
struct Counted {
    last: VecDeque<Rates>,
    present: Rates,
}

impl Counted {
    fn note(&mut self, event: Option<&pb::Event>) {
        match event.map(|event| event.event_type.as_str()) {
            Some(PURCHASE) => self.present.purchases += 1,
            Some(REWARD) => self.present.rewards += 1,
            Some(_) | None => {}
        }
    }

    /// Ends the present tick, and returns the sums of the last ones.
    fn tick(&mut self) -> Rates {
        self.last.push_back(std::mem::take(&mut self.present));
        if self.last.len() > TICKS {
            self.last.pop_front();
        }
        let sum = |of: fn(&Rates) -> u32| self.last.iter().map(of).sum();
        Rates {
            // Ticks are seconds. A page that was just opened has counted fewer of them.
            seconds: u32::try_from(self.last.len()).unwrap_or_default(),
            purchases: sum(|rates| rates.purchases),
            rewards: sum(|rates| rates.rewards),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_over_the_last_ten_seconds_or_as_many_as_were_counted() {
        let mut counted = Counted::default();
        let purchase = pb::Event { event_type: PURCHASE.into(), ..Default::default() };
        for _ in 0..3 {
            counted.note(Some(&purchase));
        }
        counted.note(None);
        for seconds in 1..=10 {
            assert_eq!(counted.tick(), Rates { seconds, purchases: 3, rewards: 0 });
        }
        assert_eq!(counted.tick(), Rates { seconds: 10, purchases: 0, rewards: 0 });
    }
}
