//! Program files: a `tributary.v1.Program` as JSON.

use prost_reflect::{DescriptorPool, DynamicMessage};

use crate::{DESCRIPTORS, check_unique_keys, pb};

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
    check_unique_keys(json).map_err(|error| error.to_string())?;
    let mut deserializer = serde_json::Deserializer::from_str(json);
    let message = DynamicMessage::deserialize(program, &mut deserializer)
        .and_then(|message| deserializer.end().map(|()| message))
        .map_err(|error| error.to_string())?;
    message.transcode_to().map_err(|error| error.to_string())
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
            ("{\n\"unit\": \"USD\",\n\"unit\": \"EUR\"\n}", "'unit' is given twice", "line 3"),
            ("{\"unit\": \"USD\",\n\"unit\": \"USD\"}", "'unit' is given twice", "line 2"),
            (
                "{\"program_id\": \"a\",\n\n\"programId\": \"a\"}",
                "'program_id' and 'programId' are one field",
                "line 3",
            ),
            (
                "{\"rewards\": [{\"level\": 1},\n{\"level\": 1, \"level\": 2}]}",
                "'level' is given twice",
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
