//! API keys, for admins: a new one, which is shown once, and ending one.

use axum::response::Response;
use console::pages::operator::keys::{Created, ROLES, View, page};
use console::parts::{FormKeys, Sent};
use console::text::faults::{self as words, NO_DAY_TO_COME};
use http::StatusCode;

use super::search::find;
use crate::api::console::answers::Refused;
use crate::api::console::faults;
use crate::api::console::forms::SentForm;
use crate::api::console::participant::earnings::end_of_day;
use crate::api::console::participant::next_page;
use crate::api::console::visit::Visit;
use crate::api::pb::{self, ErrorReason};

/// How many keys a page has.
const KEYS: i32 = 50;

pub(super) async fn show(visit: Visit) -> Result<Response, Refused> {
    let shown = Shown::new(&visit);
    list(&visit, StatusCode::OK, shown).await
}

pub(super) async fn create(visit: Visit, form: SentForm) -> Result<Response, Refused> {
    visit.operator()?;
    let mut sent = form.sent();
    let role = ROLES.iter().find(|(name, _)| *name == form.get("role"));
    let role = role.map_or(pb::ApiKeyRole::Unspecified, |(_, role)| *role);
    let (user, expires) = (form.text("user"), form.text("expires"));
    let user_id = if user.is_empty() { Some(user) } else { find(&visit, &user).await? };
    if user_id.is_none() {
        let said = words::reason(ErrorReason::UserNotFound).unwrap_or_default();
        sent.faults.push(("user".into(), said.into()));
    }
    let expire_time = end_of_day(&expires, visit.reader().zone());
    if !expires.is_empty() && expire_time.is_none() {
        sent.faults.push(("expires".into(), NO_DAY_TO_COME.into()));
    }
    let all = |name: &str| -> Vec<String> {
        let parts = form.get(name).split([',', ' ', '\t', '\n']).map(str::trim);
        parts.filter(|part| !part.is_empty()).map(Into::into).collect()
    };
    let again = |sent| Shown { sent, form: form.keys(&visit), ..Shown::new(&visit) };
    let Some(user_id) = user_id.filter(|_| sent.faults.is_empty()) else {
        return list(&visit, StatusCode::UNPROCESSABLE_ENTITY, again(sent)).await;
    };
    let request = pb::CreateApiKeyRequest {
        name: form.text("name"),
        role: role.into(),
        user_id,
        rpcs: all("rpcs"),
        program_ids: all("programs"),
        expire_time,
        request_id: form.request_id(),
    };
    match visit.call(request).await {
        Ok(created) => {
            let key = created.key.unwrap_or_default();
            let created = Some(Created { name: key.name, key: created.api_key });
            list(&visit, StatusCode::OK, Shown { created, ..Shown::new(&visit) }).await
        }
        Err(status) => {
            let names = [("user_id", "user"), ("expire_time", "expires")];
            let (code, mut sent) = faults::placed(&status, sent, &names);
            for (name, _) in &mut sent.faults {
                // One of several, by its place.
                for (of, field) in [("rpcs", "rpcs"), ("program_ids", "programs")] {
                    if name.split('[').next() == Some(of) {
                        *name = field.into();
                    }
                }
            }
            list(&visit, code, again(sent)).await
        }
    }
}

pub(super) async fn revoke(visit: Visit, form: SentForm) -> Result<Response, Refused> {
    visit.operator()?;
    let request = pb::RevokeApiKeyRequest {
        key_id: form.get("key_id").into(),
        request_id: form.request_id(),
    };
    match visit.call(request).await {
        Ok(_) => Ok(visit.see_other("/o/keys", "revoked", "")),
        Err(status) => {
            let problem = Some(faults::told(&status));
            let shown = Shown { problem, ..Shown::new(&visit) };
            list(&visit, faults::code(&status), shown).await
        }
    }
}

/// What the page shows besides the keys.
struct Shown {
    created: Option<Created>,
    sent: Sent,
    form: FormKeys,
    problem: Option<String>,
}

impl Shown {
    fn new(visit: &Visit) -> Self {
        Self { created: None, sent: Sent::default(), form: visit.command(), problem: None }
    }
}

async fn list(visit: &Visit, code: StatusCode, shown: Shown) -> Result<Response, Refused> {
    visit.operator()?;
    let person = visit.person().await?;
    let later = visit.query("page");
    let request =
        pb::ListApiKeysRequest { page_size: KEYS, page_token: later.into(), ..Default::default() };
    let answer = visit.call(request).await?;
    let now = (visit.console().context().environment.now)();
    let view = View {
        keys: &answer.keys,
        now: now.0.div_euclid(domain::Timestamp::PER_SECOND),
        created: shown.created,
        sent: shown.sent,
        form: shown.form,
        form_keys: &|| visit.command(),
        problem: shown.problem.as_deref(),
        done: console::text::done(visit.query("done")),
        next: next_page("/o/keys", &[], &answer.next_page_token),
        is_later: !later.is_empty(),
    };
    let form_token = visit.form_token();
    let sidebar = person.sidebar(visit, &form_token);
    Ok(visit.page_with(code, page(&view, &sidebar, visit.reader())))
}
