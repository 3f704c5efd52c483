//! The form of a program, made from what the contract says that a program has.

use contract::program_descriptor;
use maud::{Markup, html};
use prost_reflect::{FieldDescriptor, MessageDescriptor};

use crate::parts::{Field, Sent};
use crate::program::{ON, ROOT, Takes, Units, count, fields, key, takes};
use crate::reader::{Reader, places, signed_minor_units};
use crate::text::program as text;

/// All fields, in their groups.
#[must_use]
pub fn form(sent: &Sent, has_id: bool, reader: &Reader) -> Markup {
    let Ok(of) = program_descriptor() else { return html! {} };
    let form = Form { sent, has_id, reader };
    html! {
        @for (title, names) in text::GROUPS {
            fieldset.group {
                legend { (title) }
                (form.some(&of, ROOT, |field| names.contains(&field.name())))
            }
        }
    }
}

struct Form<'a> {
    sent: &'a Sent,
    /// Whether the program exists: its id stays.
    has_id: bool,
    reader: &'a Reader,
}

impl Form<'_> {
    /// The fields of a message that are wanted: what is filled in first, then what is ticked, then what has parts.
    fn some(
        &self,
        of: &MessageDescriptor,
        path: &str,
        is_wanted: impl Fn(&FieldDescriptor) -> bool,
    ) -> Markup {
        let wanted: Vec<_> = fields(of).into_iter().filter(is_wanted).collect();
        let is = |kind: fn(&Takes) -> bool| {
            wanted.iter().filter(move |field| kind(&takes(field))).collect::<Vec<_>>()
        };
        let filled_in =
            is(|takes| !matches!(takes, Takes::Tick | Takes::Part { .. } | Takes::List(_)));
        let ticked = is(|takes| matches!(takes, Takes::Tick));
        let parts = is(|takes| matches!(takes, Takes::Part { .. } | Takes::List(_)));
        html! {
            @if !filled_in.is_empty() {
                div.columns { @for field in filled_in { (self.field(field, path)) } }
            }
            @for field in ticked { (self.field(field, path)) }
            @for field in parts { (self.field(field, path)) }
        }
    }

    fn field(&self, field: &FieldDescriptor, path: &str) -> Markup {
        let name = format!("{path}.{}", field.name());
        let (label, hint) = text::field(&key(field)).unwrap_or((field.name(), ""));
        let hint = match self.in_words(field, &name) {
            Some(words) if hint.is_empty() => words,
            Some(words) => format!("{hint} {words}"),
            None => hint.to_owned(),
        };
        let of = Field { name: &name, label, hint: &hint, autocomplete: "off", ..Field::default() };
        match takes(field) {
            Takes::Text if self.has_id && name == "program.program_id" => html! {
                input type="hidden" name=(name) value=(self.sent.value(&name));
            },
            Takes::Text => of.html(self.sent),
            Takes::Whole => Field { inputmode: "numeric", ..of }.html(self.sent),
            Takes::Amount | Takes::Percent => Field { inputmode: "decimal", ..of }.html(self.sent),
            Takes::Tick => of.tick(ON, self.sent),
            Takes::YesOrNo => {
                let options = [("", text::AS_USUAL), ("true", text::YES), ("false", text::NO)];
                of.choice(&options, self.sent)
            }
            Takes::OneOf(values) => self.one_of(&of, &values),
            Takes::Part { of: part, has_switch: false } => self.some(&part, &name, |_| true),
            Takes::Part { of: part, .. } => html! {
                div.switched {
                    (of.tick(ON, self.sent))
                    (self.some(&part, &name, |_| true))
                }
            },
            Takes::List(of) => self.list(&of, &name),
        }
    }

    fn one_of(&self, field: &Field<'_>, values: &[String]) -> Markup {
        let chosen = self.sent.value(field.name);
        let is_policy = field.name.ends_with(".policy") || field.name.ends_with("_code");
        let nothing = if is_policy { text::AS_USUAL } else { text::CHOOSE };
        let mut options = vec![("", nothing)];
        options.extend(values.iter().map(|value| (&**value, text::value(value).unwrap_or(value))));
        if options.iter().all(|(value, _)| *value != chosen) {
            // The number of a value that this release does not know: what is shown is what is there.
            options.push((chosen, chosen));
        }
        field.choice(&options, self.sent)
    }

    fn list(&self, of: &MessageDescriptor, path: &str) -> Markup {
        let is_rules = of.name() == "RewardRule";
        let (item, add) = if is_rules {
            (text::rule as fn(usize) -> String, text::ADD_RULE)
        } else {
            (text::tier as fn(usize) -> String, text::ADD_TIER)
        };
        let count = count(&self.sent.values, path);
        let faults: Vec<&str> = self.sent.faults_of(path).collect();
        html! {
            div.items {
                @if !faults.is_empty() {
                    div.field id=(path) tabindex="-1" { span.fault { span { @for fault in &faults { (fault) " " } } } }
                }
                @if count == 0 && is_rules { p.soft { (text::NO_RULES) } }
                @for index in 0..count {
                    @let path = format!("{path}[{index}]");
                    @let title = item(index + 1);
                    fieldset.item-fields {
                        legend.unseen { (title) }
                        div.row.apart {
                            h3 aria-hidden="true" { (title) }
                            button.button.quiet name="do" value={ "remove:" (path) } aria-label=(text::remove(&title)) {
                                (text::REMOVE)
                            }
                        }
                        (self.some(of, &path, |_| true))
                    }
                }
                div { button.button name="do" value={ "add:" (path) } { (add) } }
            }
        }
    }

    /// An amount with its unit, as people know it.
    fn in_words(&self, field: &FieldDescriptor, name: &str) -> Option<String> {
        let units = Units::of(&self.sent.values);
        let unit = units.of_field(field);
        if unit.is_empty() || !matches!(takes(field), Takes::Amount) {
            return None;
        }
        let minor_units = signed_minor_units(self.sent.value(name), places(unit))?;
        let amount = contract::pb::Money { currency_code: unit.into(), minor_units };
        Some(text::is_amount(&self.reader.words(Some(&amount))))
    }
}
