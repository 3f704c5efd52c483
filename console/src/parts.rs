//! What many pages are made of: fields of forms, badges, notices, lists that are empty, the feed.

use maud::{Markup, Render, html};

use crate::charts;
use crate::icons::Icon;
use crate::reader::Reader;
use crate::text;

/// What was sent with a form, and what is wrong with it. A form is shown with it again.
#[derive(Clone, Debug, Default)]
pub struct Sent {
    /// The fields by name.
    pub values: Vec<(String, String)>,
    /// Faults by the name of their field.
    pub faults: Vec<(String, String)>,
    /// What is wrong with the whole.
    pub problem: Option<String>,
}

impl Sent {
    /// What was sent in a field.
    #[must_use]
    pub fn value(&self, name: &str) -> &str {
        self.values.iter().find(|(given, _)| given == name).map_or("", |(_, value)| value)
    }

    /// The same, with this value in a field unless something was sent in it.
    #[must_use]
    pub fn or(mut self, name: &str, value: &str) -> Self {
        if self.values.iter().all(|(given, _)| given != name) {
            self.values.push((name.into(), value.into()));
        }
        self
    }

    /// What is wrong with a field.
    pub fn faults_of<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.faults.iter().filter(move |(of, _)| of == name).map(|(_, fault)| &**fault)
    }
}

/// What every form carries besides its fields.
#[derive(Clone, Debug, Default)]
pub struct FormKeys {
    /// Says that the form is one of ours.
    pub form_token: String,
    /// Makes a form that is sent twice the same command. Empty for forms that are no command.
    pub request_id: String,
}

impl Render for FormKeys {
    fn render(&self) -> Markup {
        html! {
            input type="hidden" name="form_token" value=(self.form_token);
            @if !self.request_id.is_empty() {
                input type="hidden" name="request_id" value=(self.request_id);
            }
        }
    }
}

/// A field of a form, with its label, hint and faults.
#[derive(Clone, Copy, Debug, Default)]
pub struct Field<'a> {
    /// The name of the field.
    pub name: &'a str,
    /// Its id, by which faults are placed; empty if that is the name.
    pub id: &'a str,
    /// What it is for.
    pub label: &'a str,
    /// The type of the input; empty for text.
    pub kind: &'a str,
    /// What helps to fill it in.
    pub hint: &'a str,
    /// What browsers may fill in, as in `email`.
    pub autocomplete: &'a str,
    /// The keys that phones show, as in `decimal`.
    pub inputmode: &'a str,
    /// Whether it may not be empty.
    pub required: bool,
    /// Whether it is where one begins to type.
    pub autofocus: bool,
    /// The rules of a password.
    pub rules: &'a [PasswordRule],
    /// Usual values, which browsers offer while others can be typed.
    pub usual: &'a [&'a str],
}

/// A rule of passwords, and the pattern of those that keep it.
#[derive(Clone, Debug)]
pub struct PasswordRule {
    /// The rule in words.
    pub words: String,
    /// A regular expression of JavaScript, with the flags `su`.
    pub pattern: String,
}

impl Field<'_> {
    /// The field with what was sent in it. Passwords are not shown again.
    #[must_use]
    pub fn html(&self, sent: &Sent) -> Markup {
        let value = if self.kind == "password" { "" } else { sent.value(self.name) };
        self.with_value(value, sent)
    }

    /// The field with this in it.
    #[must_use]
    pub fn with_value(&self, value: &str, sent: &Sent) -> Markup {
        let kind = if self.kind.is_empty() { "text" } else { self.kind };
        let (rules_id, usual_id) = (format!("{}-rules", self.id()), format!("{}-usual", self.id()));
        self.around(sent, |is_invalid, described| {
            html! {
                input.input #(self.id()) name=(self.name) type=(kind) value=(value) required[self.required]
                    autofocus[self.autofocus]
                    autocomplete=[Some(self.autocomplete).filter(|value| !value.is_empty())]
                    inputmode=[Some(self.inputmode).filter(|value| !value.is_empty())]
                    data-rules=[(!self.rules.is_empty()).then_some(&rules_id)]
                    list=[(!self.usual.is_empty()).then_some(&usual_id)]
                    aria-invalid=[is_invalid.then_some("true")] aria-describedby=[described];
                @if !self.usual.is_empty() {
                    datalist id=(usual_id) { @for value in self.usual { option value=(value) {} } }
                }
            }
        })
    }

    /// The field as a choice of a few, as a list that opens.
    #[must_use]
    pub fn choice(&self, options: &[(&str, &str)], sent: &Sent) -> Markup {
        let chosen = sent.value(self.name);
        self.around(sent, |is_invalid, described| {
            html! {
                select.input #(self.id()) name=(self.name) aria-invalid=[is_invalid.then_some("true")]
                    aria-describedby=[described] {
                    @for (value, words) in options {
                        option value=(value) selected[*value == chosen] { (words) }
                    }
                }
            }
        })
    }

    /// The field as a box to tick, which sends this value.
    #[must_use]
    pub fn tick(&self, value: &str, sent: &Sent) -> Markup {
        let is_on = !sent.value(self.name).is_empty();
        let (id, notes) = (self.id(), self.notes(sent));
        html! {
            div.field {
                label.check for=(id) {
                    input #(id) type="checkbox" name=(self.name) value=(value) checked[is_on]
                        aria-invalid=[notes.is_invalid.then_some("true")] aria-describedby=[notes.described];
                    span { (self.label) }
                }
                (notes.html)
            }
        }
    }

    /// The field as a text of several lines, with this in it.
    #[must_use]
    pub fn area(&self, value: &str, rows: usize, sent: &Sent) -> Markup {
        self.around(sent, |is_invalid, described| {
            html! {
                textarea.input.code #(self.id()) name=(self.name) rows=(rows) spellcheck="false" autocomplete="off"
                    aria-invalid=[is_invalid.then_some("true")] aria-describedby=[described] {
                    // A line break at the beginning is not part of the text.
                    "\n" (value)
                }
            }
        })
    }

    fn id(&self) -> &str {
        if self.id.is_empty() { self.name } else { self.id }
    }

    /// Puts label, hint and faults around what is filled in, which is told whether it is at fault, and by what it is
    /// described.
    fn around(&self, sent: &Sent, input: impl FnOnce(bool, Option<String>) -> Markup) -> Markup {
        let (id, notes) = (self.id(), self.notes(sent));
        html! {
            div.field {
                label for=(id) { (self.label) }
                (input(notes.is_invalid, notes.described))
                (notes.html)
                @if !self.rules.is_empty() {
                    ul.rules id={ (id) "-rules" } {
                        @for rule in self.rules { li data-pattern=(rule.pattern) { (rule.words) } }
                    }
                }
            }
        }
    }

    /// The hint and the faults.
    fn notes(&self, sent: &Sent) -> Notes {
        let id = self.id();
        let faults = sent.faults_of(id).collect::<Vec<_>>();
        let (hint_id, fault_id) = (format!("{id}-hint"), format!("{id}-fault"));
        let is_invalid = !faults.is_empty();
        let described: Vec<&str> = [(is_invalid, &fault_id), (!self.hint.is_empty(), &hint_id)]
            .into_iter()
            .filter(|(is_there, _)| *is_there)
            .map(|(_, id)| id.as_str())
            .collect();
        Notes {
            is_invalid,
            described: Some(described.join(" ")).filter(|ids| !ids.is_empty()),
            html: html! {
                @if !self.hint.is_empty() { span.hint id=(hint_id) { (self.hint) } }
                @if is_invalid {
                    span.fault id=(fault_id) { span { @for fault in &faults { (fault) " " } } }
                }
            },
        }
    }
}

/// What stands below a field.
struct Notes {
    is_invalid: bool,
    /// The ids of what is in it.
    described: Option<String>,
    html: Markup,
}

/// A choice of a few, as a list that opens.
#[must_use]
pub fn select(name: &str, label: &str, options: &[(&str, &str)], chosen: &str) -> Markup {
    html! {
        div.field {
            label for=(name) { (label) }
            select.input #(name) name=(name) {
                @for (value, words) in options {
                    option value=(value) selected[*value == chosen] { (words) }
                }
            }
        }
    }
}

/// Faults at the top of a form: what is wrong with the whole, or that fields need another look.
#[must_use]
pub fn problems(sent: &Sent) -> Markup {
    let mut fields: Vec<&str> = sent.faults.iter().map(|(name, _)| &**name).collect();
    fields.dedup();
    html! {
        @if let Some(problem) = &sent.problem {
            (bad_notice(problem))
        } @else if !fields.is_empty() {
            (bad_notice(&text::fields_need_another_look(fields.len())))
        }
    }
}

/// A notice that something went wrong. Where a form was sent, it gets the focus.
#[must_use]
pub fn bad_notice(words: &str) -> Markup {
    html! { div.notice.bad role="alert" tabindex="-1" { (Icon::WARN) p { (words) } } }
}

/// A notice that something went well.
#[must_use]
pub fn good_notice(words: &str) -> Markup {
    html! { div.notice.good role="status" { (Icon::CHECK) p { (words) } } }
}

/// A notice about something that is neither good nor bad.
#[must_use]
pub fn notice(words: &str) -> Markup {
    html! { div.notice { (Icon::INFO) p { (words) } } }
}

/// The tone of what a badge says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tone {
    /// Neither good nor bad.
    Plain,
    /// Good.
    Good,
    /// To be watched.
    Warn,
    /// Bad.
    Bad,
    /// For information.
    Info,
    /// One's own.
    Brand,
}

impl Tone {
    /// The class that colours it.
    #[must_use]
    pub fn class(self) -> &'static str {
        match self {
            Self::Plain => "",
            Self::Good => "good",
            Self::Warn => "warn",
            Self::Bad => "bad",
            Self::Info => "info",
            Self::Brand => "brand",
        }
    }
}

/// A word about a state.
#[must_use]
pub fn badge(tone: Tone, words: &str) -> Markup {
    html! { span class={ "badge " (tone.class()) } { (words) } }
}

/// The head of a page, with what can be done at its right.
#[must_use]
pub fn head(title: &str, below: &str, actions: &Markup) -> Markup {
    html! {
        header.page-head {
            div { h1 { (title) } @if !below.is_empty() { p { (below) } } }
            div.actions { (actions) }
        }
    }
}

/// Where the script says whether the page follows what happens. Without a script it is empty.
#[must_use]
pub fn live_mark() -> Markup {
    html! { span.live {} }
}

/// A list with nothing in it: what would be there, and how it gets there.
#[must_use]
pub fn empty(icon: Icon, title: &str, words: &str, actions: &Markup) -> Markup {
    html! {
        div.empty {
            (icon)
            h2 { (title) }
            p { (words) }
            div.actions { (actions) }
        }
    }
}

/// A part of a page that could not be read, in place of what would be there.
#[must_use]
pub fn failed(words: &str) -> Markup {
    html! {
        div.empty {
            (Icon::WARN)
            h2 { (text::COULD_NOT_BE_READ) }
            p { (words) }
            div.actions { a.button href="" { (text::TRY_AGAIN) } }
        }
    }
}

/// A link that looks like a button.
#[must_use]
pub fn link(reader: &Reader, path: &str, words: &str, is_first: bool) -> Markup {
    let class = if is_first { "button first" } else { "button" };
    html! { a class=(class) href=(reader.to(path)) { (words) } }
}

/// A button that sends a form of its own.
#[must_use]
pub fn act(
    reader: &Reader,
    path: &str,
    keys: &FormKeys,
    button: &Markup,
    hidden: &[(&str, &str)],
) -> Markup {
    html! {
        form method="post" action=(reader.to(path)) {
            (keys)
            @for (name, value) in hidden { input type="hidden" name=(name) value=(value); }
            (button)
        }
    }
}

/// The foot of a list: how much of it is shown, and the way to the next page, and from a later one to the first.
#[must_use]
pub fn table_foot(reader: &Reader, words: &str, next: Option<&str>, first: Option<&str>) -> Markup {
    // What a page has is not what there is.
    let is_whole = next.is_none() && first.is_none();
    html! {
        div.table-foot {
            span { @if is_whole { (words) } @else { (text::on_this_page(words)) } }
            span.row {
                @if let Some(first) = first { a.button href=(reader.to(first)) { (text::TO_THE_FIRST) } }
                @if let Some(next) = next { a.button href=(reader.to(next)) { (text::NEXT_PAGE) } }
            }
        }
    }
}

/// A table that scrolls in its own frame.
#[must_use]
pub fn table(label: &str, head: &Markup, rows: &Markup) -> Markup {
    frame(label, head, &html! { tbody { (rows) } })
}

/// A table into which the script puts rows at the top. It keeps as many as this.
#[must_use]
pub fn live_table(label: &str, head: &Markup, rows: &Markup, id: &str, limit: usize) -> Markup {
    frame(label, head, &html! { tbody #(id) data-limit=(limit) { (rows) } })
}

fn frame(label: &str, head: &Markup, body: &Markup) -> Markup {
    html! {
        div.table-frame tabindex="0" role="region" aria-label=(label) {
            table.table {
                thead { tr { (head) } }
                (body)
            }
        }
    }
}

/// Something that happened, in a list of such things.
pub struct Happening {
    /// What it is known by, so that it is in a list once.
    pub id: String,
    /// The picture.
    pub icon: Icon,
    /// The colour of the picture.
    pub tone: Tone,
    /// What happened.
    pub what: Markup,
    /// When, and what else there is to say.
    pub when: Markup,
    /// What it brought.
    pub value: Markup,
}

impl Happening {
    /// The element of the list. With `into`, the script puts it first into the list of this id.
    #[must_use]
    pub fn html(&self, into: Option<&str>) -> Markup {
        html! {
            li id=(self.id) data-into=[into] {
                span class={ "dot " (self.tone.class()) } { (self.icon) }
                div.what { (self.what) small { (self.when) } }
                (self.value)
            }
        }
    }
}

/// The way from a link to a reward: visits, sign-ups and conversions.
#[must_use]
pub fn funnel(
    visits: &Result<i64, String>,
    sign_ups: i64,
    conversions: i64,
    reader: &Reader,
) -> Markup {
    let mut steps = vec![(text::SIGN_UPS, sign_ups), (text::CONVERSIONS, conversions)];
    if let Ok(visits) = visits {
        steps.insert(0, (text::VISITS, *visits));
    }
    html! {
        (charts::funnel(&steps, reader))
        @if let Err(why) = visits { p.bad { (text::VISITS) ": " (why) } }
    }
}

/// A number that people look for. `id` is what the script replaces it by.
#[must_use]
pub fn counter(id: &str, icon: Icon, label: &str, number: &Markup, note: &str) -> Markup {
    html! {
        div.counter-card id=(id) {
            span.label { (icon) (label) }
            span.counter.number data-marked { (number) }
            span.note { (note) }
        }
    }
}
