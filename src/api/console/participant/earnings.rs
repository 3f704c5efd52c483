//! What a participant has earned.

use axum::extract::Path;
use axum::response::Response;
use console::page::Live;
use console::pages::participant::earnings::{Figures, Ledger, View, page as page_of};
use console::pages::participant::{deepest_level, path};
use console::text::faults::NO_DAY;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use prost_types::Timestamp;

use super::dashboard::{Of, present};
use super::{next_page, part, versions};
use crate::api::console::answers::Refused;
use crate::api::console::visit::Visit;
use crate::api::pb;
use crate::api::tokens::consistency_token;

/// How many days the weeks of the chart are.
const WEEKS_IN_DAYS: i64 = 12 * 7;
/// How many referrals are looked at for those who have brought the most.
const LOOKED_AT: i32 = 1_000;
/// How much of what was withheld is shown.
const WITHHELD: i32 = 5;
/// How many entries a page of the ledger has.
const ENTRIES: i32 = 25;

pub(super) async fn show(
    visit: Visit,
    Path(program_id): Path<String>,
) -> Result<Response, Refused> {
    let at = visit.participating(&program_id).await?;
    let user_id = at.person.user_id();
    let wanted = visit.query("as_of");
    let as_of = end_of_day(wanted, visit.reader().zone());
    let now = (visit.console().context().environment.now)();
    let is_over =
        |time: &Timestamp| time.seconds <= now.0.div_euclid(domain::Timestamp::PER_SECOND);
    let as_of = as_of.filter(is_over);
    let page = visit.query("page");
    let (state, token) = present(&visit, &program_id, &user_id).await?;
    let path = format!("/live/earnings/{program_id}");
    let live = (as_of.is_none() && page.is_empty()).then_some(Live { path, token });
    let of = Of { visit: &visit, program: &at.program, user_id: &user_id };
    let since = consistency_token(visit.console().context(), state.position);
    let figures = figures(&of, as_of, page, &since).await;
    let view = View {
        scene: at.scene(),
        as_of: if as_of.is_some() { wanted } else { "" },
        as_of_fault: (!wanted.is_empty() && as_of.is_none()).then_some(NO_DAY),
        figures,
        live,
    };
    let form_token = visit.form_token();
    let sidebar = at.person.sidebar(&visit, &form_token);
    Ok(visit.page(page_of(view, &sidebar, visit.reader())))
}

/// What a participant has earned, at present or as of a moment, with a page of the ledger. It reflects what the token
/// `since` stands for.
pub(in crate::api::console) async fn figures(
    of: &Of<'_>,
    as_of_time: Option<Timestamp>,
    page_token: &str,
    since: &str,
) -> Figures {
    let (visit, program) = (of.visit, of.program);
    let (program_id, user_id) = (program.program_id.clone(), of.user_id.to_owned());
    let week = pb::SeriesGranularity::Week;
    let (buckets, levels, weeks, people, withheld, ledger) = tokio::join!(
        visit.look(pb::GetBalancesRequest {
            program_id: program_id.clone(),
            user_id: user_id.clone(),
            as_of_time,
            consistency_token: since.into(),
        }),
        visit.look(pb::GetEarningsRequest {
            program_id: program_id.clone(),
            user_id: user_id.clone(),
            as_of_time,
            page_size: 1,
            consistency_token: since.into(),
            ..Default::default()
        }),
        of.series(since, week, WEEKS_IN_DAYS),
        visit.look(pb::ListReferralsRequest {
            program_id,
            user_id,
            max_level: deepest_level(program).min(10),
            page_size: LOOKED_AT,
            consistency_token: since.into(),
            ..Default::default()
        }),
        of.withheld(since, WITHHELD),
        ledger(of, page_token, since),
    );
    let entries = ledger.as_ref().map_or(&[][..], |found| found.entries.as_slice());
    let mut wanted = versions::of_entries(entries);
    wanted.extend(versions::of_withheld(withheld.as_deref().unwrap_or_default()));
    let others = versions::others(visit, program, wanted).await;
    Figures {
        buckets: part(buckets.map(|found| found.buckets.into_iter().next().unwrap_or_default())),
        levels: part(levels.map(|found| found.by_level)),
        weeks: part(weeks),
        people: part(people.map(|found| found.referrals)),
        withheld: part(withheld),
        ledger: part(ledger),
        others,
    }
}

async fn ledger(of: &Of<'_>, page: &str, since: &str) -> Result<Ledger, tonic::Status> {
    let request = pb::ListBalanceEntriesRequest {
        program_id: of.program.program_id.clone(),
        user_id: of.user_id.into(),
        page_size: ENTRIES,
        page_token: page.into(),
        consistency_token: since.into(),
    };
    let answer = of.visit.look(request).await?;
    let path = path(&of.program.program_id, "earnings");
    Ok(Ledger {
        next: next_page(&path, &[("as_of", of.visit.query("as_of"))], &answer.next_page_token),
        is_later: !page.is_empty(),
        entries: answer.entries,
    })
}

/// The last moment of a day, as `2026-11-28`, in a zone.
pub(in crate::api::console) fn end_of_day(day: &str, zone: &TimeZone) -> Option<Timestamp> {
    let next = day.parse::<Date>().ok()?.tomorrow().ok()?;
    let end = next.to_zoned_datetime(zone.clone()).ok()?.timestamp();
    let last = end.as_microsecond() - 1;
    let (seconds, micros) = (last.div_euclid(1_000_000), last.rem_euclid(1_000_000));
    Some(Timestamp { seconds, nanos: i32::try_from(micros).ok()? * 1_000 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_ends_at_its_last_microsecond_in_the_zone_of_the_reader() {
        let end = |day| end_of_day(day, &TimeZone::UTC).map(|time| (time.seconds, time.nanos));
        assert_eq!(end("1970-01-01"), Some((86_399, 999_999_000)));
        assert_eq!(end("1970-01-32"), None);
        assert_eq!(end(""), None);
    }
}
