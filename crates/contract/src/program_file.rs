//! Program files: a `tributary.v1.Program` as JSON.

use std::collections::HashMap;
use std::fmt;

use prost_reflect::{DescriptorPool, DynamicMessage};
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};

use crate::{DESCRIPTORS, pb};

/// Reads a program from the JSON form of the contract's `Program`, the format of program files. A byte order mark,
/// which some editors write, is skipped.
///
/// # Errors
/// If the text is not valid JSON, gives one key twice, or has a field that a program does not have.
pub fn parse_program(json: &str) -> Result<pb::Program, String> {
    let json = json.strip_prefix('\u{FEFF}').unwrap_or(json);
    let pool = DescriptorPool::decode(DESCRIPTORS).map_err(|error| error.to_string())?;
    let program = pool
        .get_message_by_name("tributary.v1.Program")
        .ok_or("the contract has no message Program")?;
    refuse_repeated_keys(json)?;
    let mut deserializer = serde_json::Deserializer::from_str(json);
    let message = DynamicMessage::deserialize(program, &mut deserializer)
        .and_then(|message| deserializer.end().map(|()| message))
        .map_err(|error| error.to_string())?;
    message.transcode_to().map_err(|error| error.to_string())
}

/// Refuses a JSON text in which an object has one key twice: readers of JSON disagree about which of the two
/// counts, and whoever wrote it means one of them.
///
/// # Errors
/// A sentence with the key and its line, or what else is wrong with the JSON.
pub fn refuse_repeated_keys(json: &str) -> Result<(), String> {
    let mut deserializer = serde_json::Deserializer::from_str(json);
    AnyValue.deserialize(&mut deserializer).map_err(|error| error.to_string())
}

/// Any JSON value, of which only the keys are looked at.
#[derive(Clone, Copy)]
struct AnyValue;

impl<'de> DeserializeSeed<'de> for AnyValue {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for AnyValue {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a JSON value")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let mut seen: HashMap<String, String> = HashMap::new();
        while let Some(key) = map.next_key::<String>()? {
            // A field has two names in JSON: `program_id` and `programId`.
            let name = key.replace('_', "").to_ascii_lowercase();
            match seen.insert(name, key.clone()) {
                None => map.next_value_seed(self)?,
                Some(before) if before == key => {
                    return Err(A::Error::custom(format_args!("the key \"{key}\" is given twice")));
                }
                Some(before) => {
                    let twice = format_args!("\"{key}\" and \"{before}\" are one key, given twice");
                    return Err(A::Error::custom(twice));
                }
            }
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        while seq.next_element_seed(self)?.is_some() {}
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

    use super::*;

    #[test]
    fn a_byte_order_mark_is_skipped() {
        let program = parse_program("\u{FEFF}{\"program_id\": \"spring\"}").unwrap();
        assert_eq!(program.program_id, "spring");
    }

    #[test]
    fn a_key_given_twice_is_refused_with_its_name_and_line() {
        for (json, name, line) in [
            ("{\n\"unit\": \"USD\",\n\"unit\": \"EUR\"\n}", "\"unit\" is given twice", "line 3"),
            ("{\"unit\": \"USD\",\n\"unit\": \"USD\"}", "\"unit\" is given twice", "line 2"),
            (
                "{\"program_id\": \"a\",\n\n\"programId\": \"a\"}",
                "\"programId\" and \"program_id\" are one key",
                "line 3",
            ),
            (
                "{\"rewards\": [{\"level\": 1},\n{\"level\": 1, \"level\": 2}]}",
                "\"level\" is given twice",
                "line 2",
            ),
        ] {
            let error = parse_program(json).unwrap_err();
            assert!(error.contains(name) && error.contains(line), "{error}");
        }
        let program = parse_program("{\"rewards\": [{\"level\": 1}, {\"level\": 2}]}").unwrap();
        assert_eq!(program.rewards.len(), 2);
    }
}
