//! Program files: a `tributary.v1.Program` as JSON.

use prost_reflect::{DescriptorPool, DynamicMessage};

use crate::{DESCRIPTORS, pb};

/// Reads a program from the JSON form of the contract's `Program`, the format of program files.
///
/// # Errors
/// If the text is not valid JSON, or has a field that a program does not have.
pub fn parse_program(json: &str) -> Result<pb::Program, String> {
    let pool = DescriptorPool::decode(DESCRIPTORS).map_err(|error| error.to_string())?;
    let program = pool
        .get_message_by_name("tributary.v1.Program")
        .ok_or("the contract has no message Program")?;
    let mut deserializer = serde_json::Deserializer::from_str(json);
    let message = DynamicMessage::deserialize(program, &mut deserializer)
        .and_then(|message| deserializer.end().map(|()| message))
        .map_err(|error| error.to_string())?;
    message.transcode_to().map_err(|error| error.to_string())
}
