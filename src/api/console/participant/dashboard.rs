//! The dashboard of a participant.

use axum::extract::Path;
use axum::response::Response;
use console::Markup;
use console::charts::Point;
use console::page::Live;
use console::pages::participant::dashboard::{self, FEED_LENGTH, Rules, View, page};
use console::pages::participant::earnings::name;
use console::pages::participant::tiers;
use console::parts::Happening;
use console::text;
use prost_types::Timestamp;
use tokio_stream::StreamExt;
use tonic::Status;

use super::{part, versions};
use crate::api::console::answers::Refused;
use crate::api::console::forms::SentForm;
use crate::api::console::visit::Visit;
use crate::api::pb;
use crate::api::pb::watch_participant_response::Change;
use crate::api::tokens::consistency_token;

/// How many days the chart shows.
const DAYS: i64 = 30;
/// A day, in seconds.
const DAY: i64 = 24 * 60 * 60;

pub(in crate::api::console) async fn show(
    visit: Visit,
    Path(program_id): Path<String>,
) -> Result<Response, Refused> {
    let at = visit.participating(&program_id).await?;
    let user_id = at.person.user_id();
    let (state, token) = present(&visit, &program_id, &user_id).await?;
    let of = Of { visit: &visit, program: &at.program, user_id: &user_id };
    let since = consistency_token(visit.console().context(), state.position);
    let (levels, days, visits, feed, places) = tokio::join!(
        of.levels(&since),
        of.days(&since),
        of.visits(),
        of.feed(&since),
        of.places(&since)
    );
    let live = Live { path: format!("/live/participant/{program_id}"), token };
    // A page without it is better than none.
    let celebration = of.celebration(&since, None).await.unwrap_or_default();
    let view = View {
        scene: at.scene(),
        state: &state,
        // A page that offers the code is better than none.
        places: places.unwrap_or_default(),
        levels: part(levels),
        days: part(days),
        visits: part(visits),
        feed: part(feed),
        live,
        done: text::done(visit.query("done")),
        celebration,
    };
    let form_token = visit.form_token();
    let sidebar = at.person.sidebar(&visit, &form_token);
    Ok(visit.page(page(view, &sidebar, visit.reader())))
}

/// Notes that the visitor has seen which tier they have reached.
pub(in crate::api::console) async fn celebrated(
    visit: Visit,
    Path(program_id): Path<String>,
    form: SentForm,
) -> Result<Response, Refused> {
    let at = visit.participating(&program_id).await?;
    let (user_id, tier) = (at.person.user_id(), form.get("tier").into());
    visit.call(pb::MarkTierSeenRequest { program_id, user_id, tier }).await?;
    Ok(visit.see_other(&at.scene().path(""), "", ""))
}

/// How things stand for a participant at this moment, and the token after which a stream goes on from there.
pub(in crate::api::console) async fn present(
    visit: &Visit,
    program_id: &str,
    user_id: &str,
) -> Result<(pb::ParticipantState, String), Status> {
    let request = pb::WatchParticipantRequest {
        program_id: program_id.into(),
        user_id: user_id.into(),
        ..Default::default()
    };
    let mut stream = visit.look(request).await?;
    let first = stream.next().await.transpose()?.unwrap_or_default();
    match first.change {
        Some(Change::Present(state)) => Ok((state, first.resume_token)),
        _ => Err(Status::internal("the first message of a stream says how things stand")),
    }
}

/// A participant, and who looks.
pub(in crate::api::console) struct Of<'a> {
    pub(in crate::api::console) visit: &'a Visit,
    pub(in crate::api::console) program: &'a pb::Program,
    pub(in crate::api::console) user_id: &'a str,
}

impl Of<'_> {
    /// What each level has brought.
    pub(in crate::api::console) async fn levels(
        &self,
        since: &str,
    ) -> Result<Vec<pb::LevelEarnings>, Status> {
        let request = pb::GetEarningsRequest {
            program_id: self.program.program_id.clone(),
            user_id: self.user_id.into(),
            page_size: 1,
            consistency_token: since.into(),
            ..Default::default()
        };
        Ok(self.visit.look(request).await?.by_level)
    }

    /// What celebrates the tier that was reached, unless that was seen; with `into` for the script. Nothing where there
    /// are no tiers.
    pub(in crate::api::console) async fn celebration(
        &self,
        since: &str,
        into: Option<&str>,
    ) -> Result<Option<Markup>, Status> {
        if tiers(self.program).is_empty() {
            return Ok(None);
        }
        let request = pb::GetTierRequest {
            program_id: self.program.program_id.clone(),
            user_id: self.user_id.into(),
            consistency_token: since.into(),
            ..Default::default()
        };
        let unseen = self.visit.look(request).await?.unseen_tier;
        let (keys, reader) = (self.visit.form(), self.visit.reader());
        Ok(dashboard::celebration(self.program, &unseen, &keys, into, reader))
    }

    /// How many more people can come by the code; `None` for any number.
    pub(in crate::api::console) async fn places(&self, since: &str) -> Result<Option<i32>, Status> {
        if self.program.max_direct_referrals.or(self.program.max_uses_per_code).is_none() {
            return Ok(None);
        }
        let request = pb::GetReferralStatsRequest {
            program_id: self.program.program_id.clone(),
            user_id: self.user_id.into(),
            consistency_token: since.into(),
        };
        Ok(self.visit.look(request).await?.remaining_uses)
    }

    /// How often the link was opened, ever.
    pub(in crate::api::console) async fn visits(&self) -> Result<i64, Status> {
        let request = pb::GetVisitsRequest {
            program_id: self.program.program_id.clone(),
            user_id: self.user_id.into(),
            ..Default::default()
        };
        Ok(self.visit.look(request).await?.visits_in_all)
    }

    /// What was earned on each of the last days.
    pub(in crate::api::console) async fn days(&self, since: &str) -> Result<Vec<Point>, Status> {
        self.series(since, pb::SeriesGranularity::Day, DAYS).await
    }

    /// What was earned in each period of the last days, today included.
    pub(in crate::api::console) async fn series(
        &self,
        since: &str,
        granularity: pb::SeriesGranularity,
        days: i64,
    ) -> Result<Vec<Point>, Status> {
        let now = (self.visit.console().context().environment.now)();
        let seconds = now.0.div_euclid(domain::Timestamp::PER_SECOND);
        let at = |seconds| Some(Timestamp { seconds, nanos: 0 });
        let request = pb::GetEarningsSeriesRequest {
            program_id: self.program.program_id.clone(),
            user_id: self.user_id.into(),
            start_time: at(seconds - (days - 1) * DAY),
            end_time: at(seconds + 1),
            granularity: granularity.into(),
            time_zone: self.visit.reader().zone_name().into(),
            consistency_token: since.into(),
            ..Default::default()
        };
        let series = self.visit.look(request).await?;
        Ok(series
            .periods
            .iter()
            .map(|period| Point {
                label: console::reader::short_date(&period.date),
                minor_units: period.total.as_ref().map_or(0, |total| total.minor_units),
            })
            .collect())
    }

    /// What happened of late: entries of the ledger, and referrals.
    async fn feed(&self, since: &str) -> Result<Vec<Happening>, Status> {
        let page_size = i32::try_from(FEED_LENGTH).unwrap_or(i32::MAX);
        let entries = self.visit.look(pb::ListBalanceEntriesRequest {
            program_id: self.program.program_id.clone(),
            user_id: self.user_id.into(),
            page_size,
            consistency_token: since.into(),
            ..Default::default()
        });
        let (entries, referrals, withheld) =
            tokio::join!(entries, self.recent_referrals(since), self.withheld(since, page_size));
        let reader = self.visit.reader();
        let time = |time: Option<Timestamp>| time.map(|time| (time.seconds, time.nanos));
        let (entries, withheld) = (entries?.entries, withheld?);
        let mut wanted = versions::of_entries(&entries);
        wanted.extend(versions::of_withheld(&withheld));
        let others = versions::others(self.visit, self.program, wanted).await;
        let rules = Rules { program: self.program, others: &others };
        let mut feed = Vec::new();
        for entry in entries {
            feed.push((time(entry.create_time), dashboard::entry(&entry, rules, reader)));
        }
        for detail in referrals? {
            let referral = detail.referral.clone().unwrap_or_default();
            let happening = dashboard::referral(&referral, name(&detail), reader);
            feed.push((time(referral.create_time), happening));
        }
        for of in withheld {
            let happening = dashboard::withheld(&of, rules, reader);
            feed.push((time(of.create_time), happening));
        }
        feed.sort_by_key(|(time, _)| std::cmp::Reverse(*time));
        feed.truncate(FEED_LENGTH);
        Ok(feed.into_iter().map(|(_, happening)| happening).collect())
    }

    /// What was withheld of late, the newest first.
    pub(in crate::api::console) async fn withheld(
        &self,
        since: &str,
        page_size: i32,
    ) -> Result<Vec<pb::WithheldReward>, Status> {
        let request = pb::ListWithheldRewardsRequest {
            program_id: self.program.program_id.clone(),
            user_id: self.user_id.into(),
            page_size,
            consistency_token: since.into(),
            ..Default::default()
        };
        Ok(self.visit.look(request).await?.withheld)
    }

    /// The newest direct referrals, with the names of those who came.
    pub(in crate::api::console) async fn recent_referrals(
        &self,
        since: &str,
    ) -> Result<Vec<pb::ReferralDetail>, Status> {
        let request = pb::GetReferralStatsRequest {
            program_id: self.program.program_id.clone(),
            user_id: self.user_id.into(),
            consistency_token: since.into(),
        };
        Ok(self.visit.look(request).await?.recent_referrals)
    }
}
