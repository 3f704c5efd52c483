//! The request and the response of an RPC, with the comments of the contract.

use std::fmt::Write;

use prost_reflect::{
    EnumDescriptor, FieldDescriptor, FileDescriptor, Kind, MessageDescriptor, MethodDescriptor,
};

use super::catalog::short_name;

/// Types of this package have a JSON form of their own instead of fields.
const WELL_KNOWN: &str = "google.protobuf.";

/// The comment of an RPC, and all fields of its request and its response. The messages and enums that these
/// consist of follow, each once.
pub(super) fn describe(rpc: &MethodDescriptor) -> String {
    let mut page = Page::default();
    page.heading(&short_name(rpc), &comment(&rpc.parent_service().parent_file(), rpc.path()));
    let answer = if rpc.is_server_streaming() { "Answer, a stream of" } else { "Answer:" };
    page.message("Request:", &rpc.input());
    page.message(answer, &rpc.output());
    let mut next = 0;
    while let Some(kind) = page.mentioned.get(next).cloned() {
        match kind {
            Kind::Message(message) => page.message("Message", &message),
            Kind::Enum(values) => page.values(&values),
            _ => {}
        }
        next += 1;
    }
    page.text.trim_end().to_owned()
}

/// The comment above a declaration, empty if it has none. Descriptors of the contract keep comments.
pub(super) fn comment(file: &FileDescriptor, path: &[i32]) -> String {
    let info = file.file_descriptor_proto().source_code_info.as_ref();
    let location =
        info.and_then(|info| info.location.iter().find(|location| location.path == path));
    let lines = location.map(|location| location.leading_comments().lines()).into_iter().flatten();
    lines.map(|line| line.strip_prefix(' ').unwrap_or(line)).collect::<Vec<_>>().join("\n")
}

/// A description in progress.
#[derive(Default)]
struct Page {
    text: String,
    /// The messages and enums that fields have mentioned, in the order of their first mention.
    mentioned: Vec<Kind>,
}

// Writing to a string cannot fail.
impl Page {
    fn heading(&mut self, title: &str, about: &str) {
        let _ = writeln!(self.text, "{title}\n{}", indented(about, "    "));
    }

    fn message(&mut self, role: &str, message: &MessageDescriptor) {
        let about = comment(&message.parent_file(), message.path());
        self.heading(&format!("{role} {}", message.name()), &about);
        for field in message.fields() {
            let about = comment(&message.parent_file(), field.path());
            let title = format!("  {}: {}", field.name(), self.type_of(&field));
            self.heading(&title, &about);
        }
    }

    fn values(&mut self, values: &EnumDescriptor) {
        let about = comment(&values.parent_file(), values.path());
        self.heading(&format!("Enum {}", values.name()), &about);
        for value in values.values() {
            let about = comment(&values.parent_file(), value.path());
            self.heading(&format!("  {}", value.name()), &about);
        }
    }

    /// The type of a field in words. Messages and enums are described later.
    fn type_of(&mut self, field: &FieldDescriptor) -> String {
        let kind = field.kind();
        let name = match &kind {
            Kind::Message(message) if field.is_map() => {
                let (key, value) = (message.map_entry_key_field(), message.map_entry_value_field());
                return format!("map from {} to {}", self.type_of(&key), self.type_of(&value));
            }
            Kind::Message(message) => match message.full_name().strip_prefix(WELL_KNOWN) {
                Some("Timestamp") => "time, as in \"2026-03-01T12:00:00Z\"".to_owned(),
                Some(name) => name.to_owned(),
                None => self.mention(&kind, message.name()),
            },
            Kind::Enum(values) => self.mention(&kind, values.name()),
            scalar => format!("{scalar:?}"),
        };
        match (field.is_list(), field.field_descriptor_proto().proto3_optional()) {
            (true, _) => format!("list of {name}"),
            (false, true) => format!("{name}, may be absent"),
            (false, false) => name,
        }
    }

    fn mention(&mut self, kind: &Kind, name: &str) -> String {
        if !self.mentioned.contains(kind) {
            self.mentioned.push(kind.clone());
        }
        name.to_owned()
    }
}

fn indented(text: &str, indent: &str) -> String {
    let mut lines = String::new();
    for line in text.lines() {
        let line = format!("{indent}{line}");
        let _ = writeln!(lines, "{}", line.trim_end());
    }
    lines
}
