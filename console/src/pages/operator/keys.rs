//! API keys: what there is, a new one, and ending one.

use contract::pb::{ApiKey, ApiKeyRole};
use maud::{Markup, html};

use super::user_path;
use crate::icons::Icon;
use crate::page::{Page, Sidebar, app};
use crate::parts::{self, Field, FormKeys, Sent, Tone, badge, empty, table, table_foot};
use crate::reader::{Reader, moment};
use crate::text::keys as text;

/// The roles of keys by their names in forms.
pub const ROLES: [(&str, ApiKeyRole); 3] =
    [("service", ApiKeyRole::Service), ("admin", ApiKeyRole::Admin), ("user", ApiKeyRole::User)];

/// A key that was just created.
pub struct Created {
    /// What its owner calls it.
    pub name: String,
    /// The key itself. Empty if it was shown before.
    pub key: String,
}

/// What the page shows.
pub struct View<'a> {
    /// The keys, the newest first.
    pub keys: &'a [ApiKey],
    /// The time now, in seconds since 1970.
    pub now: i64,
    /// A key that was just created.
    pub created: Option<Created>,
    /// What was sent to create one.
    pub sent: Sent,
    /// What the form of a new key carries.
    pub form: FormKeys,
    /// What another form carries.
    pub form_keys: &'a dyn Fn() -> FormKeys,
    /// Why something could not be done.
    pub problem: Option<&'a str>,
    /// What has just been done.
    pub done: Option<&'a str>,
    /// The path of the next page; `None` if there is none.
    pub next: Option<String>,
    /// Whether this is not the first page.
    pub is_later: bool,
}

/// The page.
#[must_use]
pub fn page(view: &View<'_>, sidebar: &Sidebar<'_>, reader: &Reader) -> String {
    let main = html! {
        (parts::head(text::KEYS, text::KEYS_WORDS, &html! {}))
        @if let Some(problem) = view.problem { (parts::bad_notice(problem)) }
        @if let Some(created) = &view.created { (shown_once(created)) }
        section.card.flush {
            @if view.keys.is_empty() {
                (empty(Icon::GEAR, text::NO_KEYS, text::NO_KEYS_WORDS, &html! {}))
            } @else {
                (list(view, reader))
                (table_foot(
                    reader,
                    &text::so_many(view.keys.len()),
                    view.next.as_deref(),
                    view.is_later.then_some("/o/keys"),
                ))
            }
        }
        section.card {
            h2 { (text::NEW_KEY) }
            (parts::problems(&view.sent))
            (create(view, reader))
        }
    };
    let page = Page {
        reader,
        title: text::KEYS,
        live: None,
        done: view.done,
        celebration: None,
        shared: None,
    };
    app(&page, sidebar, &main)
}

fn shown_once(created: &Created) -> Markup {
    html! {
        @if created.key.is_empty() {
            (parts::notice(text::SHOWN_BEFORE))
        } @else {
            section.card {
                h2 { (text::created(&created.name)) }
                p { (text::SHOWN_ONCE) }
                div.row {
                    code.break #new-key { (created.key) }
                    button.button type="button" data-copy=(created.key) { (Icon::COPY) (text::COPY) }
                }
            }
        }
    }
}

fn create(view: &View<'_>, reader: &Reader) -> Markup {
    let sent = &view.sent;
    let field =
        |name, label, hint| Field { name, label, hint, autocomplete: "off", ..Field::default() };
    let roles = ROLES.map(|(name, of)| (name, role(of).1));
    html! {
        form.form.wide method="post" action=(reader.to("/o/keys")) {
            (view.form)
            div.columns {
                (Field { required: true, ..field("name", text::NAME, text::NAME_HINT) }.html(sent))
                (field("role", text::ROLE, text::ROLE_HINT).choice(&roles, sent))
                (field("user", text::USER, text::USER_HINT).html(sent))
                (field("rpcs", text::RPCS, text::RPCS_HINT).html(sent))
                (field("programs", text::PROGRAMS, text::PROGRAMS_HINT).html(sent))
                (Field { kind: "date", ..field("expires", text::EXPIRES, text::EXPIRES_HINT) }.html(sent))
            }
            div.actions { button.button.first { (text::CREATE) } }
        }
    }
}

fn list(view: &View<'_>, reader: &Reader) -> Markup {
    let head = html! {
        th scope="col" { (text::NAME) }
        th scope="col" { (text::ROLE) }
        th.wide scope="col" { (text::LIMITS) }
        th.wide scope="col" { (text::USED) }
        th scope="col" { span.unseen { (text::REVOKE) } }
    };
    let rows = html! {
        @for key in view.keys {
            @let (tone, words) = role(key.role());
            tr {
                th scope="row" {
                    (key.name)
                    small.code.break { (key.key_id) }
                    small { (text::created_by(&key.created_by)) " " (reader.exact_time(key.create_time.as_ref())) }
                }
                td {
                    (badge(tone, words))
                    @if !key.user_id.is_empty() {
                        small { a.break href=(reader.to(&user_path(&key.user_id))) { (key.user_id) } }
                    }
                }
                td.wide.break { (limits(key)) }
                td.wide {
                    @if key.last_use_time.is_some() { (reader.time(key.last_use_time.as_ref())) } @else {
                        (text::NEVER)
                    }
                    @if key.refused_calls > 0 {
                        small.bad { (text::refused(&reader.number(key.refused_calls))) }
                    }
                }
                td { (end(key, view, reader)) }
            }
        }
    };
    table(text::KEYS, &head, &rows)
}

fn limits(key: &ApiKey) -> Markup {
    html! {
        @if key.rpcs.is_empty() && key.program_ids.is_empty() { span.soft { (text::NO_LIMITS) } }
        @if !key.rpcs.is_empty() { (key.rpcs.join(", ")) }
        @if !key.program_ids.is_empty() { small { (text::in_programs(&key.program_ids.join(", "))) } }
    }
}

/// Whether and when the key has ended, or ends, and the button that ends it.
fn end(key: &ApiKey, view: &View<'_>, reader: &Reader) -> Markup {
    if key.revoke_time.is_some() {
        return html! {
            (badge(Tone::Bad, text::REVOKED))
            small { (reader.exact_time(key.revoke_time.as_ref())) }
        };
    }
    let expires = key.expire_time.as_ref().and_then(moment);
    let has_expired = expires.is_some_and(|time| time.as_second() <= view.now);
    html! {
        @if has_expired {
            (badge(Tone::Plain, text::EXPIRED))
        } @else {
            (parts::act(
                reader,
                "/o/keys/revoke",
                &(view.form_keys)(),
                &html! { button.button.danger aria-label=(text::revoke(&key.name)) { (text::REVOKE) } },
                &[("key_id", &key.key_id)],
            ))
        }
        @if expires.is_some() { small { (text::EXPIRES) " " (reader.exact_time(key.expire_time.as_ref())) } }
    }
}

fn role(role: ApiKeyRole) -> (Tone, &'static str) {
    match role {
        ApiKeyRole::Admin => (Tone::Brand, text::ADMIN),
        ApiKeyRole::Service => (Tone::Info, text::SERVICE),
        ApiKeyRole::User => (Tone::Plain, text::ONE_USER),
        ApiKeyRole::Unspecified => (Tone::Plain, "–"),
    }
}
