//! Messages of the contract as JSON, and what is wrong with JSON that is none: every fault at its field, with what is
//! expected there. The library that reads the JSON only tells the line.

use prost_reflect::{DynamicMessage, EnumDescriptor, FieldDescriptor, Kind, MessageDescriptor};
use serde_json::{Map, Value, json};

use crate::unique_keys::check_unique_keys;

/// The maximum number of faults that are named.
const MAX_FAULTS: usize = 20;

/// Types of this package have a JSON form of their own instead of fields.
const WELL_KNOWN: &str = "google.protobuf.";

/// Reads a message from its JSON form.
///
/// # Errors
/// The path of every field at fault, such as `rewards[0].level`, with what is expected there; for a text that is no
/// JSON, or has a field twice, the line.
pub fn message_from_json(of: &MessageDescriptor, json: &str) -> Result<DynamicMessage, String> {
    check_unique_keys(json).map_err(|error| error.to_string())?;
    let mut deserializer = serde_json::Deserializer::from_str(json);
    let message = DynamicMessage::deserialize(of.clone(), &mut deserializer);
    message.and_then(|message| deserializer.end().map(|()| message)).map_err(|error| {
        let mut faults = Faults::default();
        match serde_json::from_str(json) {
            Ok(Value::Object(members)) => faults.object(of, "", &members),
            Ok(other) => faults.expected("", "an object in braces", &other, false),
            Err(_) => {}
        }
        faults.words(&error)
    })
}

/// Faults that were found.
#[derive(Default)]
struct Faults(Vec<String>);

impl Faults {
    fn words(self, error: &serde_json::Error) -> String {
        let (line, column) = (error.line(), error.column());
        match &*self.0 {
            [] => error.to_string(),
            [only] => format!("{only}, at line {line} column {column}"),
            several => {
                let shown = several.get(..MAX_FAULTS).unwrap_or(several).join("; ");
                match several.len().saturating_sub(MAX_FAULTS) {
                    0 => shown,
                    more => format!("{shown}; and {more} more"),
                }
            }
        }
    }

    fn say(&mut self, path: &str, what: &str) {
        let separator = if path.is_empty() { "" } else { ": " };
        self.0.push(format!("{path}{separator}{what}"));
    }

    fn expected(&mut self, path: &str, expected: &str, found: &Value, is_shown: bool) {
        let found = match found {
            Value::Null => "null".to_owned(),
            Value::Bool(value) => value.to_string(),
            Value::Number(number) if is_shown => number.to_string(),
            Value::Number(_) => "a number".to_owned(),
            Value::String(text) if is_shown => json!(text).to_string(),
            Value::String(_) => "a string".to_owned(),
            Value::Array(_) => "a list".to_owned(),
            Value::Object(_) => "an object".to_owned(),
        };
        self.say(path, &format!("must be {expected}, not {found}"));
    }

    fn object(&mut self, of: &MessageDescriptor, path: &str, members: &Map<String, Value>) {
        let known = self.0.len();
        for (name, value) in members {
            let separator = if path.is_empty() { "" } else { "." };
            let path = format!("{path}{separator}{name}");
            match of.get_field_by_json_name(name).or_else(|| of.get_field_by_name(name)) {
                Some(field) => self.field(of, &field, &path, value),
                None if separator.is_empty() => {
                    self.say(&path, &format!("{} has no such field", of.name()));
                }
                None => {
                    let fields: Vec<String> =
                        of.fields().map(|field| field.name().to_owned()).collect();
                    let (message, fields) = (of.name(), fields.join(", "));
                    self.say(&path, &format!("{message} has no such field; it has {fields}"));
                }
            }
        }
        // Each field alone is right: it is how they go together.
        if self.0.len() == known
            && let Err(error) = read(of, Value::Object(members.clone()))
        {
            self.say(path, &error.to_string());
        }
    }

    fn field(
        &mut self,
        of: &MessageDescriptor,
        field: &FieldDescriptor,
        path: &str,
        value: &Value,
    ) {
        let name = field.name();
        let alone = |value: &Value| read(of, json!({ name: value })).is_ok();
        if alone(value) {
            return;
        }
        match value {
            Value::Array(items) if field.is_list() => {
                for (index, item) in items.iter().enumerate() {
                    if !alone(&json!([item])) {
                        self.element(&field.kind(), &format!("{path}[{index}]"), item);
                    }
                }
            }
            Value::Object(entries) if field.is_map() => {
                let kind = match field.kind() {
                    Kind::Message(entry) => entry.map_entry_value_field().kind(),
                    other => other,
                };
                for (key, item) in entries {
                    if !alone(&json!({ key: item })) {
                        self.element(&kind, &format!("{path}.{key}"), item);
                    }
                }
            }
            _ if field.is_list() => {
                self.expected(path, "a list in brackets", value, false);
            }
            _ if field.is_map() => self.expected(path, "an object in braces", value, false),
            _ => self.element(&field.kind(), path, value),
        }
    }

    fn element(&mut self, kind: &Kind, path: &str, value: &Value) {
        match (kind, value) {
            (Kind::Message(of), Value::Object(members))
                if !of.full_name().starts_with(WELL_KNOWN) =>
            {
                self.object(of, path, members);
            }
            _ => {
                // Texts can be secrets. Where none is expected, the one that is there says what is wrong.
                let is_shown = !matches!(kind, Kind::String | Kind::Bytes);
                self.expected(path, &form_of(kind), value, is_shown);
            }
        }
    }
}

fn read(of: &MessageDescriptor, value: Value) -> Result<DynamicMessage, serde_json::Error> {
    DynamicMessage::deserialize(of.clone(), value)
}

/// What a value has to look like.
fn form_of(kind: &Kind) -> String {
    let form = match kind {
        Kind::Double | Kind::Float => "a number",
        Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => {
            "a whole number from -2147483648 to 2147483647"
        }
        Kind::Uint32 | Kind::Fixed32 => "a whole number from 0 to 4294967295",
        Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => "a whole number of at most 64 bits",
        Kind::Uint64 | Kind::Fixed64 => "a whole number of at most 64 bits, 0 or more",
        Kind::Bool => "true or false",
        Kind::String => "a string in quotes",
        Kind::Bytes => "a string in quotes, in base64",
        Kind::Enum(values) => return format!("one of {}", names_of(values)),
        Kind::Message(of) => match of.full_name().strip_prefix(WELL_KNOWN) {
            Some("Timestamp") => "a time, as in \"2026-03-01T12:00:00Z\"",
            Some("Duration") => "a duration, as in \"3.5s\"",
            Some(name) => return format!("a {name}"),
            None => return format!("an object in braces with the fields of {}", of.name()),
        },
    };
    form.to_owned()
}

fn names_of(values: &EnumDescriptor) -> String {
    // The first value of each enum says that there is none.
    let names = values.values().filter(|value| value.number() != 0);
    names.map(|value| value.name().to_owned()).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

    use prost_reflect::DescriptorPool;

    use super::*;
    use crate::DESCRIPTORS;

    fn refused(message: &str, json: &Value) -> String {
        let pool = DescriptorPool::decode(DESCRIPTORS).unwrap();
        let of = pool.get_message_by_name(&format!("tributary.v1.{message}")).unwrap();
        message_from_json(&of, &json.to_string()).unwrap_err()
    }

    #[test]
    fn a_value_of_another_form_is_named_by_its_path_with_what_is_expected_there() {
        for (message, json, expected) in [
            (
                "GetTierRequest",
                json!({ "program_id": 7 }),
                "program_id: must be a string in quotes, not a number, at line 1 column 15",
            ),
            (
                "GetTierRequest",
                json!({ "asOfTime": "soon" }),
                "asOfTime: must be a time, as in \"2026-03-01T12:00:00Z\", not \"soon\", at line 1 column 18",
            ),
            (
                "RecordPurchaseRequest",
                json!({ "amount": { "minor_units": "many" } }),
                "amount.minor_units: must be a whole number of at most 64 bits, not \"many\"",
            ),
            (
                "RecordPurchaseRequest",
                json!({ "amount": { "minor": 5 } }),
                "amount.minor: Money has no such field; it has currency_code, minor_units",
            ),
            (
                "RecordPurchaseRequest",
                json!({ "amount": 500 }),
                "amount: must be an object in braces with the fields of Money, not 500",
            ),
            (
                "AttachPaymentRequest",
                json!({ "acknowledged_issue_ids": "one" }),
                "acknowledged_issue_ids: must be a list in brackets, not a string",
            ),
            (
                "Program",
                json!({ "rewards": [{ "level": 1 }, { "level": -1.5 }] }),
                "rewards[1].level: must be a whole number",
            ),
            (
                "Program",
                json!({ "rewards": [{ "kind": "ALWAYS" }] }),
                "rewards[0].kind: must be one of REWARD_KIND_POINTS, ",
            ),
            ("Program", json!({ "unti": "USD" }), "unti: Program has no such field"),
            ("Program", json!([]), "must be an object in braces, not a list"),
            ("Program", json!({ "rewards": [null] }), "rewards[0]: must be an object"),
        ] {
            let said = refused(message, &json);
            assert!(said.starts_with(expected), "{json}: {said}");
        }
    }

    #[test]
    fn all_faults_are_named_at_once_and_no_text_where_one_belongs() {
        let json = json!({ "user_id": ["hunter2"], "password": 12_345_678, "age": 7 });
        let said = refused("RegisterUserRequest", &json);
        assert_eq!(
            said,
            "age: RegisterUserRequest has no such field; password: must be a string in quotes, not a number; \
             user_id: must be a string in quotes, not a list"
        );
        let many: Vec<Value> = (0..100).map(|_| json!(true)).collect();
        let said = refused("AttachPaymentRequest", &json!({ "acknowledged_issue_ids": many }));
        assert_eq!(said.split("; ").count(), MAX_FAULTS + 1, "{said}");
        assert!(said.ends_with("; and 80 more"), "{said}");
    }

    #[test]
    fn what_is_right_is_read() {
        let pool = DescriptorPool::decode(DESCRIPTORS).unwrap();
        let of = pool.get_message_by_name("tributary.v1.RecordPurchaseRequest").unwrap();
        let json = r#"{"purchaseId":"p","amount":{"minor_units":"5"},"buyer_user_id":"a"}"#;
        assert!(message_from_json(&of, json).is_ok());
        assert!(message_from_json(&of, "{} {}").unwrap_err().contains("line 1"));
    }
}
