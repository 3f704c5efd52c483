//! Generates how answers leave out what a user may not see of other people: in every message of the contract, the
//! fields that name a user by id, and the ids of rewards and entries, which contain the id of their earner.

use std::error::Error;
use std::fmt::Write;

use prost_types::field_descriptor_proto::{Label, Type};
use prost_types::{DescriptorProto, FieldDescriptorProto};
use protox::prost_reflect::prost_types;

use super::services::snake_case;

/// The code for all messages of the package.
pub fn write<'a>(
    code: &mut String,
    package: &str,
    messages: impl Iterator<Item = &'a DescriptorProto>,
) -> Result<(), Box<dyn Error>> {
    for message in messages {
        write_message(code, package, message)?;
    }
    Ok(())
}

fn write_message(
    code: &mut String,
    package: &str,
    message: &DescriptorProto,
) -> Result<(), Box<dyn Error>> {
    let name = message.name();
    writeln!(
        code,
        "impl Redact for pb::{name} {{\n\
             #[allow(unused_variables, unreachable_patterns, clippy::match_same_arms, \
                     clippy::match_wildcard_for_single_variants, reason = \"generated\")]\n\
             fn redact(&mut self, own: &str) {{"
    )?;
    for field in message.field.iter().filter(|field| !is_of_oneof(field)) {
        write_field(code, package, field)?;
    }
    for (index, oneof) in message.oneof_decl.iter().enumerate() {
        let index = i32::try_from(index)?;
        let fields: Vec<&FieldDescriptorProto> = message
            .field
            .iter()
            .filter(|field| is_of_oneof(field) && field.oneof_index == Some(index))
            .filter(|field| is_message(package, field))
            .collect();
        if fields.is_empty() {
            continue;
        }
        let (field, module) = (oneof.name(), snake_case(name));
        for variant in fields {
            let (module, oneof) = (&module, camel_case(field));
            let variant = camel_case(variant.name());
            writeln!(
                code,
                "if let Some(pb::{module}::{oneof}::{variant}(message)) = &mut self.{field} \
                 {{ message.redact(own); }}"
            )?;
        }
    }
    writeln!(code, "}} }}")?;
    Ok(())
}

fn write_field(
    code: &mut String,
    package: &str,
    field: &FieldDescriptorProto,
) -> Result<(), Box<dyn Error>> {
    let name = field.name();
    let is_list = field.label() == Label::Repeated;
    if is_message(package, field) {
        if is_list {
            writeln!(code, "self.{name}.iter_mut().for_each(|message| message.redact(own));")?;
        } else {
            writeln!(code, "if let Some(message) = &mut self.{name} {{ message.redact(own); }}")?;
        }
    } else if field.r#type() == Type::String
        && let Some(hide) = hide_of(name)
    {
        if is_list || field.proto3_optional() {
            return Err(format!("{name} names users in a form that redaction does not know").into());
        }
        writeln!(code, "redaction::{hide}(&mut self.{name}, own);")?;
    }
    Ok(())
}

/// The function that leaves out a field of this name, if it is of somebody else.
fn hide_of(name: &str) -> Option<&'static str> {
    match name {
        "user_id" => Some("hide_user"),
        "reward_id" | "entry_id" => Some("hide_entry"),
        name if name.ends_with("_user_id") => Some("hide_user"),
        _ => None,
    }
}

fn is_message(package: &str, field: &FieldDescriptorProto) -> bool {
    let prefix = format!(".{package}.");
    field.r#type() == Type::Message && field.type_name().starts_with(&prefix)
}

/// Whether the field is a choice of a `oneof`, and not merely optional.
fn is_of_oneof(field: &FieldDescriptorProto) -> bool {
    field.oneof_index.is_some() && !field.proto3_optional()
}

fn camel_case(name: &str) -> String {
    let words = name.split('_').map(|word| {
        let (first, rest) = word.split_at(word.len().min(1));
        first.to_ascii_uppercase() + rest
    });
    words.collect()
}
