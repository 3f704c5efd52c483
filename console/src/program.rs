//! A program as the fields of a form. What fields there are, and of what kind, is read from the contract, as the JSON
//! form of a program is, so that form and JSON have the same; their names are the paths by which the API reports
//! faults, as in `program.rewards[0].rate_bps`.

use contract::pb::Program;
use contract::{OUTPUT_ONLY, parse_program, program_descriptor, program_file};
use prost_reflect::{
    DynamicMessage, FieldDescriptor, Kind, MessageDescriptor, ReflectMessage as _, Value,
};

use crate::reader::{places, plain, signed_minor_units};
use crate::text::faults::NO_AMOUNT;
use crate::text::program as text;

/// What all names begin with.
pub const ROOT: &str = "program";
/// How many items of a list are read. Programs have fewer; one too many is for the API to report.
const MAX_ITEMS: usize = 64;
/// What a box that is ticked sends.
pub const ON: &str = "on";

/// What a field takes.
pub enum Takes {
    /// A text.
    Text,
    /// A whole number.
    Whole,
    /// An amount with the decimals of the program's unit or, of the smallest purchase, of the currency of purchases.
    Amount,
    /// A share in percent with two decimals, which is one of ten thousand in the contract.
    Percent,
    /// A box to tick.
    Tick,
    /// Yes, no, or neither.
    YesOrNo,
    /// One of these values, by their names in the contract.
    OneOf(Vec<String>),
    /// More fields, which are there or not as a whole. With a switch, a box says so; without, they are there if one of
    /// them is.
    Part {
        /// What is in it.
        of: MessageDescriptor,
        /// Whether there is a box.
        has_switch: bool,
    },
    /// Any number of such items.
    List(MessageDescriptor),
}

/// What a field of the contract takes.
#[must_use]
pub fn takes(field: &FieldDescriptor) -> Takes {
    let may_be_absent = field.supports_presence();
    match field.kind() {
        Kind::Message(of) if field.is_list() => Takes::List(of),
        Kind::Message(of) => {
            let has_switch = field.parent_message().name() != "Program";
            Takes::Part { of, has_switch }
        }
        Kind::Bool if may_be_absent => Takes::YesOrNo,
        Kind::Bool => Takes::Tick,
        Kind::Enum(of) => {
            let values = of.values().filter(|value| value.number() != 0);
            Takes::OneOf(values.map(|value| value.name().into()).collect())
        }
        Kind::String => Takes::Text,
        _ if field.name().ends_with("_minor") => Takes::Amount,
        _ if field.name().ends_with("_bps") => Takes::Percent,
        _ => Takes::Whole,
    }
}

/// The fields of a message that people fill in, in the order of the contract, lists last.
#[must_use]
pub fn fields(of: &MessageDescriptor) -> Vec<FieldDescriptor> {
    let is_program = of.name() == "Program";
    let mut fields: Vec<_> =
        of.fields().filter(|field| !is_program || !OUTPUT_ONLY.contains(&field.name())).collect();
    fields.sort_by_key(|field| (field.is_list(), field.number()));
    fields
}

/// The name of a field for people, by which its words are found, as in `RewardRule.rate_bps`.
#[must_use]
pub fn key(field: &FieldDescriptor) -> String {
    format!("{}.{}", field.parent_message().name(), field.name())
}

/// The field with the currency of purchases. Codes of currencies are in capitals; nobody has to know that.
const PURCHASE_CURRENCY: &str = "purchase_currency_code";

/// The decimals of a percentage.
const OF_PERCENT: usize = 2;

/// In what the amounts of a program are.
pub struct Units {
    own: String,
    of_purchases: String,
}

impl Units {
    /// The units that are filled in.
    #[must_use]
    pub fn of(values: &Values) -> Self {
        let value = |name: &str| {
            let path = format!("{ROOT}.{name}");
            let found = values.iter().find(|(of, _)| *of == path);
            found.map(|(_, value)| value.trim().to_owned()).unwrap_or_default()
        };
        let of_purchases = value(PURCHASE_CURRENCY).to_ascii_uppercase();
        Self { own: value("unit"), of_purchases }
    }

    /// The unit of an amount.
    #[must_use]
    pub fn of_field(&self, field: &FieldDescriptor) -> &str {
        if field.name() == "minimum_purchase_minor" { &self.of_purchases } else { &self.own }
    }
}

/// Values by the names of their fields.
pub type Values = Vec<(String, String)>;

/// The fields of a program, filled in.
///
/// # Errors
/// If the contract has no programs.
pub fn values(program: &Program) -> Result<Values, String> {
    let mut message = DynamicMessage::new(program_descriptor()?);
    message.transcode_from(program).map_err(|error| error.to_string())?;
    let units =
        Units { own: program.unit.clone(), of_purchases: program.purchase_currency_code.clone() };
    let mut values = Values::new();
    fill_in(&mut values, ROOT, &message, &units);
    Ok(values)
}

fn fill_in(values: &mut Values, path: &str, message: &DynamicMessage, units: &Units) {
    for field in fields(&message.descriptor()) {
        let path = format!("{path}.{}", field.name());
        match (takes(&field), &*message.get_field(&field)) {
            (Takes::List(_), Value::List(items)) => {
                for (index, item) in items.iter().enumerate() {
                    if let Value::Message(item) = item {
                        fill_in(values, &format!("{path}[{index}]"), item, units);
                    }
                }
            }
            (Takes::Part { has_switch, .. }, Value::Message(part)) => {
                if message.has_field(&field) {
                    if has_switch {
                        values.push((path.clone(), ON.into()));
                    }
                    fill_in(values, &path, part, units);
                }
            }
            (Takes::Tick, value) => {
                if value.as_bool() == Some(true) {
                    values.push((path, ON.into()));
                }
            }
            (takes, value) => {
                let number = value.as_i64().or(value.as_i32().map(i64::from));
                let written = match (takes, number) {
                    _ if !message.has_field(&field) => String::new(),
                    (Takes::Amount, Some(minor)) => plain(minor, places(units.of_field(&field))),
                    (Takes::Percent, Some(bps)) => percent(bps),
                    _ => written(&field, value),
                };
                values.push((path, written));
            }
        }
    }
}

/// A share of ten thousand in percent, without decimals that say nothing: `5`, `12.5`.
fn percent(bps: i64) -> String {
    let percent = plain(bps, OF_PERCENT);
    percent.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// A value as the contract has it.
fn written(field: &FieldDescriptor, value: &Value) -> String {
    match value {
        Value::Bool(value) => value.to_string(),
        Value::I32(value) => value.to_string(),
        Value::I64(value) => value.to_string(),
        Value::String(value) => value.clone(),
        Value::EnumNumber(number) => {
            let kind = field.kind();
            let known = kind.as_enum().and_then(|of| of.get_value(*number));
            known.map_or_else(|| number.to_string(), |value| value.name().into())
        }
        _ => String::new(),
    }
}

/// Reads a program from fields that were filled in, with what is wrong with those that cannot be read; they are left
/// out.
///
/// # Errors
/// If the contract has no programs.
pub fn read(values: &Values) -> Result<(Program, Vec<(String, String)>), String> {
    let mut faults = Vec::new();
    let units = Units::of(values);
    let message = read_message(values, ROOT, &program_descriptor()?, &units, &mut faults);
    Ok((message.transcode_to().map_err(|error| error.to_string())?, faults))
}

fn read_message(
    values: &Values,
    path: &str,
    of: &MessageDescriptor,
    units: &Units,
    faults: &mut Vec<(String, String)>,
) -> DynamicMessage {
    let mut message = DynamicMessage::new(of.clone());
    for field in fields(of) {
        let path = format!("{path}.{}", field.name());
        let given = values.iter().find(|(name, _)| *name == path);
        let given = given.map_or("", |(_, value)| value.trim());
        match takes(&field) {
            Takes::List(of) => {
                let items = (0..count(values, &path)).map(|index| {
                    let path = format!("{path}[{index}]");
                    Value::Message(read_message(values, &path, &of, units, faults))
                });
                message.set_field(&field, Value::List(items.collect()));
            }
            Takes::Part { of, has_switch } => {
                if has_switch && given.is_empty() {
                    continue;
                }
                let part = read_message(values, &path, &of, units, faults);
                if has_switch || part.fields().next().is_some() {
                    message.set_field(&field, Value::Message(part));
                }
            }
            _ if given.is_empty() => {}
            takes => match value(&field, &takes, given, units) {
                Ok(value) => message.set_field(&field, value),
                Err(fault) => faults.push((path, fault.into())),
            },
        }
    }
    message
}

fn value(
    field: &FieldDescriptor,
    takes: &Takes,
    given: &str,
    units: &Units,
) -> Result<Value, &'static str> {
    let whole = |number: Option<i64>, fault| {
        let value = match field.kind() {
            Kind::Int32 => number.and_then(|number| i32::try_from(number).ok()).map(Value::I32),
            _ => number.map(Value::I64),
        };
        value.ok_or(fault)
    };
    match (takes, field.kind()) {
        (Takes::Amount, _) => {
            let decimals = places(units.of_field(field));
            let fault = if decimals == 0 { text::NOT_WHOLE } else { NO_AMOUNT };
            whole(signed_minor_units(given, decimals), fault)
        }
        (Takes::Percent, _) => {
            let given = given.strip_suffix('%').unwrap_or(given);
            whole(signed_minor_units(given, OF_PERCENT), text::NO_PERCENTAGE)
        }
        (Takes::Tick, _) => Ok(Value::Bool(true)),
        (Takes::YesOrNo, _) => given.parse().map(Value::Bool).map_err(|_| text::NOT_A_CHOICE),
        (Takes::OneOf(_), Kind::Enum(of)) => {
            let known = of.get_value_by_name(given).map(|value| value.number());
            let number = known.or_else(|| given.parse().ok());
            number.map(Value::EnumNumber).ok_or(text::NOT_A_CHOICE)
        }
        (Takes::Whole, _) => whole(given.parse().ok(), text::NOT_WHOLE),
        _ if field.name() == PURCHASE_CURRENCY => Ok(Value::String(given.to_ascii_uppercase())),
        _ => Ok(Value::String(given.into())),
    }
}

/// How many items a list has.
#[must_use]
pub fn count(values: &Values, path: &str) -> usize {
    let indexes = values.iter().filter_map(|(name, _)| index(name, path).map(|(index, _)| index));
    indexes.max().map_or(0, |last| last + 1)
}

/// The index of an item of the list, and what follows it in the name.
fn index<'a>(name: &'a str, path: &str) -> Option<(usize, &'a str)> {
    let (number, rest) = name.strip_prefix(path)?.strip_prefix('[')?.split_once(']')?;
    number.parse().ok().filter(|index| *index < MAX_ITEMS).map(|index| (index, rest))
}

/// Adds an item to a list, or takes one away, as the button `add:PATH` or `remove:PATH[INDEX]` says; `None` if it is
/// about no list.
#[must_use]
pub fn changed(values: &Values, button: &str) -> Option<Values> {
    if let Some(path) = button.strip_prefix("add:") {
        let of = list(path)?;
        let (first, next) = (fields(&of).into_iter().next()?, count(values, path));
        let mut values = values.clone();
        if next < MAX_ITEMS {
            values.push((format!("{path}[{next}].{}", first.name()), String::new()));
        }
        return Some(values);
    }
    let (path, number) = button.strip_prefix("remove:")?.strip_suffix(']')?.rsplit_once('[')?;
    let removed: usize = number.parse().ok()?;
    list(path)?;
    let kept = values.iter().filter_map(|(name, value)| match index(name, path) {
        Some((at, _)) if at == removed => None,
        Some((at, rest)) if at > removed => {
            Some((format!("{path}[{}]{rest}", at - 1), value.clone()))
        }
        _ => Some((name.clone(), value.clone())),
    });
    Some(kept.collect())
}

/// What is in the list at a path.
fn list(path: &str) -> Option<MessageDescriptor> {
    let mut of = program_descriptor().ok()?;
    let mut found = None;
    for part in path.strip_prefix(ROOT)?.strip_prefix('.')?.split('.') {
        let name = part.split('[').next()?;
        let Takes::List(items) = takes(&of.get_field_by_name(name)?) else { return None };
        of = items.clone();
        found = Some(items);
    }
    found
}

/// A program as JSON; empty if it cannot be written.
#[must_use]
pub fn json(program: &Program) -> String {
    program_file(program).unwrap_or_default()
}

/// Reads a program from JSON.
///
/// # Errors
/// What is wrong with it, and in which line.
pub fn from_json(json: &str) -> Result<Program, String> {
    parse_program(json)
}

/// A field in which two versions differ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// Its path, with the names of items: `rewards[direct].rate_bps`.
    pub path: String,
    /// Its name for people, as [`key`] has it.
    pub key: String,
    /// What it was; `None` if it was not there.
    pub before: Option<String>,
    /// What it is; `None` if it is not there any more.
    pub after: Option<String>,
}

/// In which fields two versions differ, field by field. Items of lists are compared with those of the same name, so
/// that one that moved is the same. In the order of the form.
///
/// # Errors
/// If the contract has no programs.
pub fn differences(before: &Program, after: &Program) -> Result<Vec<Difference>, String> {
    let of = program_descriptor()?;
    let flat = |program: &Program| -> Result<Vec<Flat>, String> {
        let mut message = DynamicMessage::new(of.clone());
        message.transcode_from(program).map_err(|error| error.to_string())?;
        let mut flat = Vec::new();
        flatten(&mut flat, "", &message);
        Ok(flat)
    };
    let (before, mut after) = (flat(before)?, flat(after)?);
    let mut found = Vec::new();
    for was in before {
        let same = after.iter().position(|is| is.path == was.path);
        let is = same.map(|at| after.remove(at).value);
        if is.as_ref() != Some(&was.value) {
            found.push(Difference {
                path: was.path,
                key: was.key,
                before: Some(was.value),
                after: is,
            });
        }
    }
    found.extend(after.into_iter().map(|is| Difference {
        path: is.path,
        key: is.key,
        before: None,
        after: Some(is.value),
    }));
    Ok(found)
}

struct Flat {
    path: String,
    key: String,
    value: String,
}

fn flatten(flat: &mut Vec<Flat>, path: &str, message: &DynamicMessage) {
    for field in fields(&message.descriptor()) {
        if !message.has_field(&field) {
            continue;
        }
        let path =
            if path.is_empty() { field.name().into() } else { format!("{path}.{}", field.name()) };
        match (takes(&field), &*message.get_field(&field)) {
            (Takes::List(of), Value::List(items)) => {
                for (at, item) in items.iter().enumerate() {
                    let Value::Message(item) = item else { continue };
                    let name = fields(&of).first().map(|name| item.get_field(name).into_owned());
                    let name = name.and_then(|name| name.as_str().map(str::to_owned));
                    let name = name.filter(|name| !name.is_empty());
                    let name = name.unwrap_or_else(|| at.to_string());
                    flatten(flat, &format!("{path}[{name}]"), item);
                }
            }
            (Takes::Part { has_switch, .. }, Value::Message(part)) => {
                if has_switch {
                    flat.push(Flat { path: path.clone(), key: key(&field), value: ON.into() });
                }
                flatten(flat, &path, part);
            }
            (_, value) => {
                let value = written(&field, value);
                flat.push(Flat { path, key: key(&field), value });
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]
mod tests {
    use super::*;

    const FILES: [&str; 5] = [
        include_str!("../../programs/first-purchase-bonus.json"),
        include_str!("../../programs/first-purchase-credits.json"),
        include_str!("../../programs/multi-level-commission.json"),
        include_str!("../../programs/referral-count.json"),
        include_str!("../../programs/tiered-points.json"),
    ];

    /// A program in which every field of the contract is set.
    fn full() -> Program {
        fn fill(of: &MessageDescriptor) -> DynamicMessage {
            let mut message = DynamicMessage::new(of.clone());
            for field in fields(of) {
                let value = match takes(&field) {
                    Takes::List(of) => {
                        Value::List(vec![Value::Message(fill(&of)), Value::Message(fill(&of))])
                    }
                    Takes::Part { of, .. } => Value::Message(fill(&of)),
                    Takes::Tick => Value::Bool(true),
                    Takes::YesOrNo => Value::Bool(false),
                    Takes::OneOf(_) => Value::EnumNumber(1),
                    Takes::Text => Value::String(field.name().to_uppercase()),
                    Takes::Whole | Takes::Amount | Takes::Percent => match field.kind() {
                        Kind::Int32 => Value::I32(7),
                        _ => Value::I64(i64::MAX),
                    },
                };
                message.set_field(&field, value);
            }
            message
        }
        fill(&program_descriptor().unwrap()).transcode_to().unwrap()
    }

    #[test]
    fn a_program_is_the_same_after_the_form_as_after_the_json() {
        let shipped = FILES.map(|file| from_json(file).unwrap());
        let dinars = Program { unit: "BHD".into(), purchase_currency_code: "JPY".into(), ..full() };
        for program in shipped.into_iter().chain([full(), dinars, Program::default()]) {
            let (read, faults) = read(&values(&program).unwrap()).unwrap();
            assert_eq!((&read, faults), (&program, Vec::new()));
            assert_eq!(from_json(&json(&program)).unwrap(), program);
        }
    }

    #[test]
    fn every_field_has_words_and_every_group_has_fields() {
        fn check(of: &MessageDescriptor) {
            for field in fields(of) {
                let key = key(&field);
                assert!(text::field(&key).is_some(), "{key} has no words");
                match takes(&field) {
                    Takes::List(of) | Takes::Part { of, .. } => check(&of),
                    Takes::OneOf(values) => {
                        for value in values {
                            assert!(text::value(&value).is_some(), "{value} has no words");
                        }
                    }
                    _ => {}
                }
            }
        }
        let of = program_descriptor().unwrap();
        check(&of);
        let mut grouped: Vec<&str> =
            text::GROUPS.iter().flat_map(|(_, fields)| *fields).copied().collect();
        let mut all: Vec<String> = fields(&of).iter().map(|field| field.name().into()).collect();
        grouped.sort_unstable();
        all.sort_unstable();
        assert_eq!(grouped, all, "each field is in one group");
    }

    #[test]
    fn what_cannot_be_read_is_a_fault_at_its_field_and_the_rest_is_read() {
        let given = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let (program, faults) = read(&vec![
            given("program.unit", " INR "),
            given("program.purchase_currency_code", "usd"),
            given("program.minimum_purchase_minor", "10.50"),
            given("program.hold_days", "a week"),
            given("program.rewards[1].rate_bps", "5.555"),
            given("program.rewards[1].rule", "direct"),
            given("program.earn_on", "EARN_ON_NOTHING"),
            given("program.rewards[99999999].rule", "no such item"),
        ])
        .unwrap();
        let places: Vec<&str> = faults.iter().map(|(place, _)| &**place).collect();
        let expected = ["program.earn_on", "program.hold_days", "program.rewards[1].rate_bps"];
        let mut sorted = places.clone();
        sorted.sort_unstable();
        assert_eq!(sorted, expected);
        assert_eq!((program.unit.as_str(), program.rewards.len()), ("INR", 2));
        assert_eq!(
            (&*program.purchase_currency_code, program.minimum_purchase_minor),
            ("USD", 1_050)
        );
        assert_eq!(program.rewards[1].rule, "direct");
    }

    #[test]
    fn amounts_have_the_decimals_of_their_currency_and_shares_are_in_percent() {
        let program = from_json(FILES[2]).unwrap();
        let values = values(&program).unwrap();
        let of = |name: &str| {
            values.iter().find(|(of, _)| of == name).map(|(_, value)| &**value).unwrap()
        };
        assert_eq!(of("program.minimum_purchase_minor"), "1000.00");
        assert_eq!(of("program.rewards[0].cap_minor"), "1000.00");
        assert_eq!((of("program.rewards[0].rate_bps"), percent(1_250)), ("5", "12.5".into()));
        assert_eq!(
            (percent(0), percent(1_000), percent(1)),
            ("0".into(), "10".into(), "0.01".into())
        );
        let given = |unit: &str, amount: &str, share: &str| {
            let pair = |name: &str, value: &str| (format!("program.{name}"), value.to_owned());
            read(&vec![
                pair("unit", unit),
                pair("rewards[0].cap_minor", amount),
                pair("rewards[0].rate_bps", share),
            ])
            .unwrap()
        };
        let (program, faults) = given("USD", "12.5", "12.5");
        assert_eq!((program.rewards[0].cap_minor, faults), (Some(1_250), Vec::new()));
        assert_eq!(program.rewards[0].rate_bps, Some(1_250));
        let (program, faults) = given("JPY", "12", "5%");
        assert_eq!((program.rewards[0].cap_minor, faults), (Some(12), Vec::new()));
        assert_eq!(program.rewards[0].rate_bps, Some(500));
        for (unit, amount, share) in
            [("JPY", "12.5", "5"), ("USD", "1.234", "5"), ("USD", "1", "five")]
        {
            assert_eq!(given(unit, amount, share).1.len(), 1, "{unit} {amount} {share}");
        }
    }

    #[test]
    fn a_check_is_on_by_its_box_alone() {
        let on = vec![("program.fraud_checks.look_alike".to_owned(), ON.to_owned())];
        let (program, _) = read(&on).unwrap();
        assert!(program.fraud_checks.unwrap().look_alike.is_some());
        let off =
            vec![("program.fraud_checks.look_alike.policy".to_owned(), "FRAUD_POLICY_HOLD".into())];
        assert!(read(&off).unwrap().0.fraud_checks.is_none());
    }

    #[test]
    fn items_are_added_at_the_end_and_taken_away_from_the_middle() {
        let program = from_json(FILES[4]).unwrap();
        let values = values(&program).unwrap();
        let tiers = "program.rewards[0].tiers";
        let fewer = changed(&values, &format!("remove:{tiers}[1]")).unwrap();
        let names = |values: &Values| -> Vec<String> {
            let rule = read(values).unwrap().0.rewards.remove(0);
            rule.tiers.into_iter().map(|tier| tier.name).collect()
        };
        assert_eq!(names(&fewer), ["Bronze", "Gold"]);
        let more = changed(&fewer, &format!("add:{tiers}")).unwrap();
        assert_eq!(names(&more), ["Bronze", "Gold", ""]);
        assert_eq!(count(&changed(&more, "add:program.rewards").unwrap(), "program.rewards"), 2);
        for nonsense in [
            "add:program.unit",
            "add:tiers",
            "remove:program.rewards",
            "remove:x[0]",
            "add:program.",
        ] {
            assert_eq!(changed(&more, nonsense), None, "{nonsense}");
        }
    }

    #[test]
    fn versions_differ_by_field_and_items_by_their_name() {
        let before = from_json(FILES[2]).unwrap();
        let mut after = before.clone();
        after.hold_days = Some(14);
        after.rewards.reverse();
        assert_eq!(after.rewards.len(), 2);
        let moved = differences(&before, &after).unwrap();
        assert_eq!(moved.len(), 1, "{moved:?}");
        assert_eq!(moved[0].path, "hold_days");
        assert_eq!((moved[0].before.clone(), moved[0].after.as_deref()), (None, Some("14")));
        let gone = after.rewards.remove(0);
        after.rewards[0].cap_minor = None;
        let found = differences(&before, &after).unwrap();
        let path = |rest: &str| format!("rewards[{}].{rest}", gone.rule);
        let of_gone = |of: &&Difference| of.path.starts_with(&path(""));
        assert!(found.iter().filter(of_gone).all(|of| of.after.is_none()), "{found:?}");
        assert!(found.iter().any(|of| of.key == "RewardRule.cap_minor" && of.after.is_none()));
        assert_eq!(differences(&before, &before).unwrap(), []);
    }
}
