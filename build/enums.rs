//! Generates the walk through the enum fields of every request (see `src/api/enums.rs`).

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt::Write;

use prost_types::field_descriptor_proto::{Label, Type};
use prost_types::{DescriptorProto, EnumDescriptorProto, FieldDescriptorProto};
use protox::prost_reflect::prost_types;

/// The messages and enums of the contract, by the name that fields refer to.
pub struct Types<'a> {
    messages: BTreeMap<String, &'a DescriptorProto>,
    enums: BTreeMap<String, &'a EnumDescriptorProto>,
}

impl<'a> Types<'a> {
    pub fn new(
        package: &str,
        messages: impl Iterator<Item = &'a DescriptorProto>,
        enums: impl Iterator<Item = &'a EnumDescriptorProto>,
    ) -> Self {
        Self {
            messages: messages.map(|of| (format!(".{package}.{}", of.name()), of)).collect(),
            enums: enums.map(|of| (format!(".{package}.{}", of.name()), of)).collect(),
        }
    }

    /// The implementations of `EnumFields` for these requests and for every message in one of them.
    pub fn write(&self, code: &mut String, requests: &[&str]) -> Result<(), Box<dyn Error>> {
        let mut reached: Vec<&DescriptorProto> = self
            .messages
            .values()
            .copied()
            .filter(|message| requests.contains(&message.name()))
            .collect();
        let mut next = 0;
        while let Some(message) = reached.get(next).copied() {
            next += 1;
            self.write_message(code, message)?;
            for field in &message.field {
                let Some(inner) = self.messages.get(field.type_name()).copied() else { continue };
                if reached.iter().all(|known| known.name() != inner.name()) {
                    reached.push(inner);
                }
            }
        }
        Ok(())
    }

    fn write_message(
        &self,
        code: &mut String,
        message: &DescriptorProto,
    ) -> Result<(), Box<dyn Error>> {
        let mut body = String::new();
        for field in &message.field {
            self.write_field(&mut body, message, field)?;
        }
        let (at, found) = if body.is_empty() { ("_", "_") } else { ("at", "found") };
        writeln!(
            code,
            "impl EnumFields for pb::{} {{\n\
                 fn find_unknown(&self, {at}: Option<&FieldPath<'_>>, {found}: &mut UnknownNumbers) {{\n\
                     {body}\
                 }}\n\
             }}",
            message.name()
        )?;
        Ok(())
    }

    /// The check of one field; nothing for a field that holds no enum.
    fn write_field(
        &self,
        code: &mut String,
        message: &DescriptorProto,
        field: &FieldDescriptorProto,
    ) -> Result<(), Box<dyn Error>> {
        let name = field.name();
        let check = match field.r#type() {
            Type::Enum => {
                let of = self.enums.get(field.type_name()).ok_or_else(|| {
                    format!("{}.{name} has a type of another package", message.name())
                })?;
                format!(
                    "if !pb::{}::is_valid(value) {{ found.add(path, value, {:?}); }}",
                    of.name(),
                    values(of, message.name())
                )
            }
            Type::Message if self.messages.contains_key(field.type_name()) => {
                "value.find_unknown(Some(&path), found);".to_owned()
            }
            _ => return Ok(()),
        };
        if field.oneof_index.is_some() && !field.proto3_optional() {
            return Err(format!("{}.{name} is in a oneof, in a request", message.name()).into());
        }
        let is_enum = field.r#type() == Type::Enum;
        let is_list = field.label() == Label::Repeated;
        let path = |index| {
            format!("let path = FieldPath {{ parent: at, field: {name:?}, index: {index} }};")
        };
        let (by_value, by_reference) = (format!("self.{name}"), format!("&self.{name}"));
        match (is_list, is_enum, field.proto3_optional()) {
            (true, true, _) => writeln!(
                code,
                "for (index, value) in {by_value}.iter().copied().enumerate() {{ {} {check} }}",
                path("Some(index)")
            )?,
            (true, false, _) => writeln!(
                code,
                "for (index, value) in {by_value}.iter().enumerate() {{ {} {check} }}",
                path("Some(index)")
            )?,
            (false, true, false) => {
                writeln!(code, "{{ let value = {by_value}; {} {check} }}", path("None"))?;
            }
            (false, true, true) => {
                writeln!(code, "if let Some(value) = {by_value} {{ {} {check} }}", path("None"))?;
            }
            (false, false, _) => writeln!(
                code,
                "if let Some(value) = {by_reference} {{ {} {check} }}",
                path("None")
            )?,
        }
        Ok(())
    }
}

/// Values that answers have, and that handlers refuse in a request.
const ANSWERS_ONLY: [(&str, &str); 2] = [
    ("CloseDisputeRequest", "DISPUTE_STATE_OPEN"),
    ("ListApprovalsRequest", "APPROVAL_STATE_WAIVED"),
];

/// The values that a client can choose in a message, in words: `A (1), B (2) or C (3)`.
fn values(of: &EnumDescriptorProto, message: &str) -> String {
    let values: Vec<String> = of
        .value
        .iter()
        .filter(|value| value.number() != 0 && !ANSWERS_ONLY.contains(&(message, value.name())))
        .map(|value| format!("{} ({})", value.name(), value.number()))
        .collect();
    match values.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, others)) => format!("{} or {last}", others.join(", ")),
        None => "absent".to_owned(),
    }
}
