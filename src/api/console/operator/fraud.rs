//! The fraud queue, and decisions from it.

use axum::response::Response;
use console::page::Live;
use console::pages::operator::fraud::{Filter, KINDS, View, page};
use console::parts::Sent;
use console::text;
use http::StatusCode;
use tonic::Status;

use super::names::{Ids, knowing, of_flag};
use crate::api::console::answers::Refused;
use crate::api::console::faults;
use crate::api::console::forms::SentForm;
use crate::api::console::lists::all_programs;
use crate::api::console::live::fraud::live_token;
use crate::api::console::participant::{next_page, with_query};
use crate::api::console::visit::Visit;
use crate::api::pb;

/// How many flags a page has.
const FLAGS: i32 = 50;
/// How many flags are put in order by their gravity.
const ORDERED: i32 = 1_000;

pub(super) async fn show(visit: Visit) -> Result<Response, Refused> {
    let filter = filter(|name| visit.query(name));
    queue(&visit, &filter, StatusCode::OK, None).await
}

pub(super) async fn decide(visit: Visit, form: SentForm) -> Result<Response, Refused> {
    visit.operator()?;
    let filter = filter(|name| form.get(name));
    let flag_id = form.get("flag_id");
    match resolve(&visit, flag_id, &form).await {
        Ok((done, changed)) => {
            Ok(visit.see_other(&with_query("/o/fraud", &filter.pairs()), done, &changed))
        }
        Err(status) => {
            let (code, sent) = faults::placed(&status, form.sent(), &[]);
            queue(&visit, &filter, code, Some((flag_id, sent))).await
        }
    }
}

/// Makes the decision of a form; returns what was done, and the token of it.
pub(super) async fn resolve(
    visit: &Visit,
    flag_id: &str,
    form: &SentForm,
) -> Result<(&'static str, String), Status> {
    let (decision, done) = match form.get("decision") {
        "released" => (pb::FraudDecision::Released, "released"),
        "rejected" => (pb::FraudDecision::Rejected, "rejected"),
        "deactivated" => (pb::FraudDecision::RejectedAndDeactivated, "rejected-deactivated"),
        _ => (pb::FraudDecision::Unspecified, ""),
    };
    let request = pb::ResolveFraudFlagRequest {
        flag_id: flag_id.into(),
        decision: decision.into(),
        note: form.text("note"),
        // Whoever releases takes nothing back.
        reverse_rewards: form.is_on("reverse_rewards") && decision != pb::FraudDecision::Released,
        request_id: form.request_id(),
    };
    let resolved = visit.call(request).await?;
    Ok((done, resolved.consistency_token))
}

/// What is asked for, of a page or a form.
pub(in crate::api::console) fn filter<'a>(get: impl Fn(&str) -> &'a str) -> Filter {
    let one_of = |name, known: [&'static str; 2]| known.into_iter().find(|of| *of == get(name));
    let kind = KINDS.iter().find(|(name, _)| *name == get("kind"));
    Filter {
        state: one_of("state", ["resolved", "all"]).unwrap_or_default().into(),
        kind: kind.map(|(name, _)| *name).unwrap_or_default().into(),
        program: get("program").trim().into(),
        user: get("user").trim().into(),
        order: one_of("order", ["", "gravest"]).unwrap_or_default().into(),
    }
}

/// The request for the flags of a filter.
fn request(filter: &Filter) -> pb::ListFraudFlagsRequest {
    let state = match &*filter.state {
        "" => pb::FraudFlagState::Open,
        "resolved" => pb::FraudFlagState::Resolved,
        _ => pb::FraudFlagState::Unspecified,
    };
    let kind = KINDS.iter().find(|(name, _)| *name == filter.kind);
    pb::ListFraudFlagsRequest {
        kind: kind.map_or(pb::FraudFlagKind::Unspecified, |(_, kind)| *kind).into(),
        program_id: filter.program.clone(),
        user_id: filter.user.clone(),
        state: state.into(),
        ..Default::default()
    }
}

async fn queue(
    visit: &Visit,
    filter: &Filter,
    code: StatusCode,
    sent: Option<(&str, Sent)>,
) -> Result<Response, Refused> {
    visit.operator()?;
    let person = visit.person().await?;
    let (later, by_gravity) = (visit.query("page"), filter.order == "gravest");
    let flags = pb::ListFraudFlagsRequest {
        page_size: if by_gravity { ORDERED } else { FLAGS },
        page_token: later.into(),
        consistency_token: visit.changed(),
        ..request(filter)
    };
    let (flags, programs) = tokio::join!(visit.call(flags), all_programs(visit));
    let (mut answer, programs) = (flags?, programs?);
    let token = live_token(visit, &filter.program, answer.position);
    let mut is_part = false;
    if by_gravity {
        is_part = !answer.next_page_token.is_empty();
        answer.flags.sort_by_key(|flag| (flag.kind, std::cmp::Reverse(flag.score_bps)));
        answer.flags.truncate(usize::try_from(FLAGS).unwrap_or_default());
        answer.next_page_token.clear();
    }
    let path = |state: &str| {
        let other = Filter { state: state.into(), ..filter.clone() };
        with_query("/o/fraud", &other.pairs())
    };
    let live = Live { path: with_query("/live/fraud", &filter.pairs()), token };
    let people = answer.flags.iter().flat_map(of_flag);
    let reader = knowing(visit, Ids::of(people.chain([&*filter.user]))).await;
    let view = View {
        flags: &answer.flags,
        filter,
        states: [path(""), path("resolved"), path("all")],
        programs: &programs,
        is_part,
        keys: &|| visit.command(),
        sent: sent.as_ref().map(|(flag_id, sent)| (*flag_id, sent)),
        done: text::done(visit.query("done")),
        next: next_page("/o/fraud", &filter.pairs(), &answer.next_page_token),
        is_later: !later.is_empty(),
        // What is raised while one looks at a later page is on the first.
        live: later.is_empty().then_some(live),
    };
    let form_token = visit.form_token();
    let sidebar = person.sidebar(visit, &form_token);
    Ok(visit.page_with(code, page(view, &sidebar, &reader)))
}
