//! Program files: a `tributary.v1.Program` as JSON.

use std::sync::LazyLock;

use prost_reflect::{DescriptorPool, DynamicMessage, MessageDescriptor, SerializeOptions};

use crate::{DESCRIPTORS, message_from_json, pb};

/// The fields of a program that the server fills in, and ignores in requests.
pub const OUTPUT_ONLY: [&str; 3] = ["version", "create_time", "publish_time"];

static PROGRAM: LazyLock<Option<MessageDescriptor>> = LazyLock::new(|| {
    let pool = DescriptorPool::decode(DESCRIPTORS).ok()?;
    pool.get_message_by_name("tributary.v1.Program")
});

/// What a program is made of: the contract's `Program`.
///
/// # Errors
/// If the contract has no such message.
pub fn program_descriptor() -> Result<MessageDescriptor, String> {
    PROGRAM.clone().ok_or_else(|| "the contract has no message Program".into())
}

/// A program as the text of a program file, without what the server fills in.
///
/// # Errors
/// If the message is none of the contract's.
pub fn program_file(program: &pb::Program) -> Result<String, String> {
    let mut message = DynamicMessage::new(program_descriptor()?);
    message.transcode_from(program).map_err(|error| error.to_string())?;
    for name in OUTPUT_ONLY {
        message.clear_field_by_name(name);
    }
    let options =
        SerializeOptions::new().use_proto_field_name(true).stringify_64_bit_integers(false);
    let mut serializer = serde_json::Serializer::pretty(Vec::new());
    message.serialize_with_options(&mut serializer, &options).map_err(|error| error.to_string())?;
    String::from_utf8(serializer.into_inner()).map_err(|error| error.to_string())
}

/// Reads a program from the JSON form of the contract's `Program`, the format of program files. A byte order mark,
/// which some editors write, is skipped.
///
/// # Errors
/// If the text is not valid JSON, gives one key twice, or has a field that a program does not have or that has another
/// form.
pub fn parse_program(json: &str) -> Result<pb::Program, String> {
    let json = json.strip_prefix('\u{FEFF}').unwrap_or(json);
    let message = message_from_json(&program_descriptor()?, json)?;
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
    fn a_program_is_written_as_it_is_read_without_what_the_server_fills_in() {
        let json = "{\n  \"program_id\": \"spring\",\n  \"version\": 3,\n  \
                    \"minimum_purchase_minor\": 9007199254740993\n}";
        let written = program_file(&parse_program(json).unwrap()).unwrap();
        assert_eq!(written, json.replace("  \"version\": 3,\n", ""));
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
