//! Programs: a list, one of them as form and JSON, its versions, and publishing.

use axum::extract::Path;
use axum::response::Response;
use console::pages::operator::{program, program_versions, programs};
use console::parts::Sent;
use console::program::{self as definition, Difference, Values};
use console::text::{self, program as words};
use http::StatusCode;
use tonic::{Code, Status};

use crate::api::console::answers::Refused;
use crate::api::console::faults;
use crate::api::console::forms::SentForm;
use crate::api::console::participant::next_page;
use crate::api::console::visit::Visit;
use crate::api::pb::{self, ErrorReason};

/// How many programs a page has.
const PROGRAMS: i32 = 50;
/// How many versions a page has.
const VERSIONS: i32 = 20;

pub(super) async fn list(visit: Visit) -> Result<Response, Refused> {
    visit.operator()?;
    let person = visit.person().await?;
    let later = visit.query("page");
    let answer = visit
        .call(pb::ListProgramsRequest {
            page_size: PROGRAMS,
            page_token: later.into(),
            ..Default::default()
        })
        .await?;
    let view = programs::View {
        programs: &answer.programs,
        next: next_page("/o/programs", &[], &answer.next_page_token),
        is_later: !later.is_empty(),
    };
    let form_token = visit.form_token();
    let sidebar = person.sidebar(&visit, &form_token);
    Ok(visit.page(programs::page(&view, &sidebar, visit.reader())))
}

pub(super) async fn show(
    visit: Visit,
    Path(program_id): Path<String>,
) -> Result<Response, Refused> {
    visit.operator()?;
    let current = version_of(&visit, &program_id, 0).await?;
    // Who edits begins with the version in force, or with an older one.
    let shown = match visit.query("version").parse() {
        Ok(version) if version > 0 => version_of(&visit, &program_id, version).await?,
        _ => current.clone(),
    };
    let editing = Editing { old: Some(shown.version), ..Editing::of(&shown)? };
    edit(&visit, StatusCode::OK, Some(&current), editing).await
}

pub(super) async fn new(visit: Visit) -> Result<Response, Refused> {
    visit.operator()?;
    edit(&visit, StatusCode::OK, None, Editing::of(&pb::Program::default())?).await
}

pub(super) async fn versions(
    visit: Visit,
    Path(program_id): Path<String>,
) -> Result<Response, Refused> {
    visit.operator()?;
    let person = visit.person().await?;
    let (current, later) = (version_of(&visit, &program_id, 0).await?, visit.query("page"));
    let request = pb::ListProgramVersionsRequest {
        program_id: program_id.clone(),
        page_size: VERSIONS,
        page_token: later.into(),
        ..Default::default()
    };
    let answer = visit.call(request).await?;
    // Without a choice, what the last change was.
    let number = |name, default: i32| visit.query(name).parse().unwrap_or(default).max(1);
    let (from, to) = (number("from", current.version - 1), number("to", current.version));
    let differences = if current.version > 1 {
        let (from, to) = tokio::try_join!(
            version_of(&visit, &program_id, from),
            version_of(&visit, &program_id, to)
        )?;
        definition::differences(&from, &to).map_err(broken)?
    } else {
        Vec::new()
    };
    let view = program_versions::View {
        current: &current,
        versions: &answer.programs,
        compared: (current.version > 1).then_some((from, to, &differences)),
        next: next_page(
            &format!("/o/programs/{program_id}/versions"),
            &[("from", visit.query("from")), ("to", visit.query("to"))],
            &answer.next_page_token,
        ),
        is_later: !later.is_empty(),
        done: text::done(visit.query("done")),
    };
    let form_token = visit.form_token();
    let sidebar = person.sidebar(&visit, &form_token);
    Ok(visit.page(program_versions::page(&view, &sidebar, visit.reader())))
}

/// What the two forms of a program, and that of the preview, are sent to. The button says what is to be done.
pub(super) async fn publish(visit: Visit, form: SentForm) -> Result<Response, Refused> {
    visit.operator()?;
    let current = in_force(&visit, form.get("of")).await?;
    let current = current.as_ref();
    let editing = match Editing::sent(&form)? {
        Ok(editing) => editing,
        Err(unreadable) => {
            return edit(&visit, StatusCode::UNPROCESSABLE_ENTITY, current, unreadable).await;
        }
    };
    let button = form.get("do");
    if button == "edit" {
        return edit(&visit, StatusCode::OK, current, editing).await;
    }
    if let Some(values) = definition::changed(&editing.sent.values, button) {
        return edit(&visit, StatusCode::OK, current, Editing::changed(values)?).await;
    }
    let checked = match check(&visit, &editing).await {
        Ok(checked) => checked,
        Err((code, sent)) => {
            let editing = Editing { sent, ..editing };
            return edit(&visit, code, current, editing).await;
        }
    };
    if button != "preview" && button != "publish" {
        let editing = Editing { is_good: true, ..editing };
        return edit(&visit, StatusCode::OK, current, editing).await;
    }
    // The JSON can name another program than the page did.
    let current = in_force(&visit, &checked.program_id).await?;
    let proposal = Proposal { current, next: checked, editing };
    if button == "publish" {
        publish_now(&visit, &form, proposal).await
    } else {
        preview(&visit, StatusCode::OK, &proposal).await
    }
}

/// A program that can be published.
struct Proposal {
    /// The program in force; `None` if it is a new one.
    current: Option<pb::Program>,
    /// The program as it would be.
    next: pb::Program,
    editing: Editing,
}

impl Proposal {
    fn differences(&self) -> Result<Vec<Difference>, Refused> {
        let none = pb::Program::default();
        definition::differences(self.current.as_ref().unwrap_or(&none), &self.next).map_err(broken)
    }
}

/// Publishes what was previewed, unless something else has come into force since.
async fn publish_now(
    visit: &Visit,
    form: &SentForm,
    proposal: Proposal,
) -> Result<Response, Refused> {
    let path = format!("/o/programs/{}/versions", proposal.next.program_id);
    let version = proposal.current.as_ref().map(|program| program.version).unwrap_or_default();
    if form.get("base") != version.to_string() {
        if proposal.differences()?.is_empty() {
            // The form was sent before: what it wants is in force.
            return Ok(visit.see_other(&path, "published", ""));
        }
        return preview(visit, StatusCode::CONFLICT, &proposal).await;
    }
    let request = pb::PublishProgramRequest {
        program: Some(proposal.editing.program.clone()),
        request_id: form.request_id(),
        expected_version: Some(version),
        ..Default::default()
    };
    match visit.call(request).await {
        Ok(published) => Ok(visit.see_other(&path, "published", &published.consistency_token)),
        Err(status) if faults::is(&status, ErrorReason::ProgramChanged) => {
            let current = in_force(visit, &proposal.next.program_id).await?;
            let mut proposal = proposal;
            proposal.next.version = current.as_ref().map_or(0, |program| program.version) + 1;
            preview(visit, StatusCode::CONFLICT, &Proposal { current, ..proposal }).await
        }
        Err(status) => {
            let Proposal { current, editing, .. } = proposal;
            let (code, sent) = placed(&status, editing.sent.clone());
            edit(visit, code, current.as_ref(), Editing { sent, ..editing }).await
        }
    }
}

/// A program as somebody edits it.
struct Editing {
    /// The fields, with their faults.
    sent: Sent,
    /// What is in them, except for what cannot be read.
    program: pb::Program,
    json: String,
    /// What is wrong with the JSON: then there are no fields.
    json_fault: Option<String>,
    is_good: bool,
    /// The number of the version that is shown.
    old: Option<i32>,
}

impl Editing {
    fn of(program: &pb::Program) -> Result<Self, Refused> {
        let values = definition::values(program).map_err(broken)?;
        Ok(Self {
            sent: Sent { values, ..Sent::default() },
            program: program.clone(),
            json: definition::json(program),
            json_fault: None,
            is_good: false,
            old: None,
        })
    }

    /// With these fields.
    fn changed(values: Values) -> Result<Self, Refused> {
        let (program, faults) = definition::read(&values).map_err(broken)?;
        let sent = Sent { values, faults, problem: None };
        Ok(Self { sent, ..Self::of(&program)? })
    }

    /// As it was sent: by its fields or as JSON. The inner error is what is shown of JSON that cannot be read.
    fn sent(form: &SentForm) -> Result<Result<Self, Self>, Refused> {
        let json = form.get("json");
        if json.is_empty() {
            return Self::changed(form.sent().values).map(Ok);
        }
        Ok(match definition::from_json(json) {
            Ok(program) => Ok(Self::of(&program)?),
            Err(fault) => Err(Self {
                json: json.into(),
                json_fault: Some(fault),
                ..Self::of(&pb::Program::default())?
            }),
        })
    }
}

/// Checks a program without publishing it: as it would be, or the code of the answer and all faults.
async fn check(visit: &Visit, editing: &Editing) -> Result<pb::Program, (StatusCode, Sent)> {
    let request = pb::PublishProgramRequest {
        program: Some(editing.program.clone()),
        validate_only: true,
        ..Default::default()
    };
    let sent = editing.sent.clone();
    let (code, mut sent) = match visit.call(request).await {
        Ok(answer) if sent.faults.is_empty() => {
            return Ok(answer.program.unwrap_or_default());
        }
        Ok(_) => (StatusCode::UNPROCESSABLE_ENTITY, sent),
        Err(status) => placed(&status, sent),
    };
    // What cannot be read was left out of the check, which may miss it; a rule without its share seems to pay nothing.
    let own = &editing.sent.faults;
    let others = sent.faults.split_off(own.len());
    let is_missed = |name: &str| {
        let share = name.strip_suffix("flat_minor").map(|of| format!("{of}rate_bps"));
        own.iter().any(|(of, _)| of == name || Some(of) == share.as_ref())
    };
    sent.faults.extend(others.into_iter().filter(|(name, _)| !is_missed(name)));
    Err((code, sent))
}

/// Puts the faults of a status at the fields of the form. Refusals that are about one field are said there, too.
fn placed(status: &Status, sent: Sent) -> (StatusCode, Sent) {
    let own = sent.faults.len();
    let (code, mut sent) = faults::placed(status, sent, &[]);
    // The API speaks of basis points and minor units, and the form of percentages and amounts.
    for (field, fault) in sent.faults.iter_mut().skip(own) {
        if field.ends_with("_bps") {
            *fault = words::SHARE_OUT_OF_RANGE.into();
        } else if field.ends_with("_minor") && fault.starts_with("Must be 1 to") {
            *fault = words::AMOUNT_OUT_OF_RANGE.into();
        }
    }
    let places = [
        (ErrorReason::UnitIsFixed, "program.unit"),
        (ErrorReason::TooManyDefaultPrograms, "program.enroll_by_default"),
        (ErrorReason::PayoutOfCredits, "program.pays_out"),
    ];
    let place = places.iter().find(|(reason, _)| faults::is(status, *reason));
    if let Some((_, field)) = place
        && let Some(problem) = sent.problem.take()
    {
        sent.faults.push(((*field).into(), problem));
    }
    (code, sent)
}

async fn edit(
    visit: &Visit,
    code: StatusCode,
    current: Option<&pb::Program>,
    editing: Editing,
) -> Result<Response, Refused> {
    let person = visit.person().await?;
    let keys = || visit.command();
    let in_force = current.map(|program| program.version);
    let view = program::View {
        current,
        old: editing.old.filter(|shown| Some(*shown) != in_force),
        sent: editing.json_fault.is_none().then_some(&editing.sent),
        json: &editing.json,
        json_fault: editing.json_fault.as_deref(),
        is_good: editing.is_good,
        keys: &keys,
        done: text::done(visit.query("done")),
    };
    let form_token = visit.form_token();
    let sidebar = person.sidebar(visit, &form_token);
    Ok(visit.page_with(code, program::page(&view, &sidebar, visit.reader())))
}

/// The page of what a program would change. With another code than that of success, something has changed since the
/// page was shown before.
async fn preview(
    visit: &Visit,
    code: StatusCode,
    proposal: &Proposal,
) -> Result<Response, Refused> {
    let person = visit.person().await?;
    let differences = proposal.differences()?;
    let keys = || visit.command();
    let view = program::Preview {
        current: proposal.current.as_ref(),
        next: &proposal.next,
        differences: &differences,
        has_moved_on: code != StatusCode::OK,
        json: &proposal.editing.json,
        keys: &keys,
    };
    let form_token = visit.form_token();
    let sidebar = person.sidebar(visit, &form_token);
    Ok(visit.page_with(code, program::preview(&view, &sidebar, visit.reader())))
}

/// A version of a program; the one in force for 0.
async fn version_of(visit: &Visit, program_id: &str, version: i32) -> Result<pb::Program, Refused> {
    let request =
        pb::GetProgramRequest { program_id: program_id.into(), version, ..Default::default() };
    visit.call(request).await?.program.ok_or(Refused::NotFound)
}

/// The program in force; `None` if there is none with this id.
async fn in_force(visit: &Visit, program_id: &str) -> Result<Option<pb::Program>, Refused> {
    let request = pb::GetProgramRequest { program_id: program_id.into(), ..Default::default() };
    match visit.call(request).await {
        Ok(answer) => Ok(answer.program),
        Err(status) if matches!(status.code(), Code::NotFound | Code::InvalidArgument) => Ok(None),
        Err(status) => Err(status.into()),
    }
}

/// The contract that this binary was built with has no programs.
fn broken(message: String) -> Refused {
    Status::internal(message).into()
}
