//! A month of a participant on paper.

use axum::extract::Path;
use axum::response::Response;
use console::pages::participant::statement::{View, page};
use console::parts::Sent;
use console::text::faults as words;
use http::StatusCode;
use jiff::civil::Date;
use jiff::{Span, Timestamp, tz::TimeZone};
use tonic::Status;

use super::{part, versions};
use crate::api::console::answers::Refused;
use crate::api::console::faults;
use crate::api::console::visit::Visit;
use crate::api::pb::{self, ErrorReason};

/// The first month that there are statements of.
const FIRST_MONTH: &str = "1970-01";
/// How many entries are read at a time.
const ENTRIES: i32 = 1_000;
/// How many entries a statement has at most: the newest ones.
const MAX_ENTRIES: usize = 5_000;

pub(super) async fn show(
    visit: Visit,
    Path(program_id): Path<String>,
) -> Result<Response, Refused> {
    let at = visit.participating(&program_id).await?;
    let now = (visit.console().context().environment.now)().0;
    let today =
        Timestamp::from_microsecond(now).map(|now| now.to_zoned_datetime(TimeZone::UTC).date());
    let this_month = month_of(today.unwrap_or_default());
    let wanted = visit.query("month");
    let month = if wanted.is_empty() { &*this_month } else { wanted };
    let user_id = at.person.user_id();
    let (statement, fault) = match statement(&visit, &program_id, &user_id, month).await {
        Err(status) if faults::is(&status, ErrorReason::InvalidField) => {
            let (_, sent) = faults::placed(&status, Sent::default(), &[]);
            let to_come = words::field("TIME_IN_FUTURE");
            let is_to_come = sent.faults_of("month").any(|fault| Some(fault) == to_come);
            let fault = if is_to_come { words::NO_MONTH_TO_COME } else { words::NO_MONTH };
            (Ok(pb::GetStatementResponse::default()), Some(fault))
        }
        answer => (part(answer), None),
    };
    let around = [-1, 1].map(|months| {
        let first: Date = format!("{month}-01").parse().ok()?;
        let other = first.checked_add(Span::new().try_months(months).ok()?).ok()?;
        Some(month_of(other)).filter(|other| (FIRST_MONTH..=&*this_month).contains(&&**other))
    });
    let reader = visit.reader().in_utc();
    let (seconds, micros) = (now.div_euclid(1_000_000), now.rem_euclid(1_000_000));
    let made = prost_types::Timestamp {
        seconds,
        nanos: i32::try_from(micros * 1_000).unwrap_or_default(),
    };
    let entries = statement.as_ref().map_or(&[][..], |found| found.entries.as_slice());
    let others = versions::others(&visit, &at.program, versions::of_entries(entries)).await;
    let view = View {
        scene: at.scene(),
        user_id: &user_id,
        month,
        fault,
        around,
        is_over: month < &*this_month,
        made,
        others: &others,
        statement,
    };
    let form_token = visit.form_token();
    let sidebar = at.person.sidebar(&visit, &form_token);
    let code = if fault.is_some() { StatusCode::UNPROCESSABLE_ENTITY } else { StatusCode::OK };
    Ok(visit.page_with(code, page(&view, &sidebar, &reader)))
}

/// The month of a day, as `2026-11`.
fn month_of(day: Date) -> String {
    day.strftime("%Y-%m").to_string()
}

/// A statement with all its entries, as far as a page can have them.
async fn statement(
    visit: &Visit,
    program_id: &str,
    user_id: &str,
    month: &str,
) -> Result<pb::GetStatementResponse, Status> {
    let request = pb::GetStatementRequest {
        program_id: program_id.into(),
        user_id: user_id.into(),
        month: month.into(),
        page_size: ENTRIES,
        ..Default::default()
    };
    let mut statement = visit.call(request.clone()).await?;
    while !statement.next_page_token.is_empty() && statement.entries.len() < MAX_ENTRIES {
        let page_token = statement.next_page_token;
        let next = visit.look(pb::GetStatementRequest { page_token, ..request.clone() }).await?;
        statement.entries.extend(next.entries);
        statement.next_page_token = next.next_page_token;
    }
    Ok(statement)
}
