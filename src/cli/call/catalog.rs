//! The RPCs of the contract, found by name.

use std::fmt::Write;

use prost_reflect::{DescriptorPool, MethodDescriptor};

use super::describe::comment;
use crate::cli::{CliError, UsageError};
use contract::DESCRIPTORS;

const PACKAGE: &str = "tributary.v1";

/// How similar a name must be to the typed one to be listed first; 1 means equal.
const CLOSE: f64 = 0.6;

/// The maximum number of names that are listed first.
const MAX_CLOSE: usize = 5;

/// All RPCs of the contract.
pub(super) struct Catalog(Vec<MethodDescriptor>);

impl Catalog {
    pub(super) fn load() -> Result<Self, CliError> {
        let pool = DescriptorPool::decode(DESCRIPTORS)?;
        let services = pool.services().filter(|service| service.package_name() == PACKAGE);
        Ok(Self(services.flat_map(|service| service.methods().collect::<Vec<_>>()).collect()))
    }

    /// Every RPC with the first sentence of its comment.
    pub(super) fn list(&self) -> String {
        let mut text = String::new();
        for rpc in &self.0 {
            let about = comment(&rpc.parent_service().parent_file(), rpc.path());
            let kind = if rpc.is_server_streaming() { " (stream)" } else { "" };
            let _ = writeln!(text, "{}{kind}\n    {}", short_name(rpc), first_sentence(&about));
        }
        text.push_str(
            "\n'tributary call --describe SERVICE/RPC' shows what an RPC takes and answers",
        );
        text
    }

    /// The RPC of that name, with or without the package.
    pub(super) fn find(&self, name: &str) -> Result<&MethodDescriptor, UsageError> {
        let short = name.strip_prefix(PACKAGE).and_then(|rest| rest.strip_prefix('.'));
        let short = short.unwrap_or(name);
        let found = self.0.iter().find(|rpc| short_name(rpc) == short);
        found.ok_or_else(|| self.unknown(short))
    }

    /// Lists the RPCs, those with names similar to `wanted` first.
    fn unknown(&self, wanted: &str) -> UsageError {
        let names: Vec<String> = self.0.iter().map(short_name).collect();
        let mut close: Vec<(f64, &str)> = names
            .iter()
            .map(|name| (likeness(name, wanted), name.as_str()))
            .filter(|(likeness, _)| *likeness >= CLOSE)
            .collect();
        close.sort_by(|one, other| other.0.total_cmp(&one.0));
        close.truncate(MAX_CLOSE);
        let mut text = format!("there is no RPC '{wanted}'");
        if !close.is_empty() {
            text.push_str("; names like it:");
            for (_, name) in &close {
                let _ = write!(text, "\n  {name}");
            }
        }
        text.push_str(if close.is_empty() { "\nthe RPCs are:" } else { "\nthe others are:" });
        for name in names.iter().filter(|name| close.iter().all(|(_, close)| close != name)) {
            let _ = write!(text, "\n  {name}");
        }
        UsageError(text)
    }
}

/// `Service/Rpc`, the form that commands accept.
pub(super) fn short_name(rpc: &MethodDescriptor) -> String {
    format!("{}/{}", rpc.parent_service().name(), rpc.name())
}

/// How similar a name is to the typed one, which may omit the service.
fn likeness(name: &str, wanted: &str) -> f64 {
    let (name, wanted) = (name.to_lowercase(), wanted.to_lowercase());
    let rpc = name.split('/').next_back().unwrap_or(&name);
    let wanted_rpc = wanted.split(['/', '.']).next_back().unwrap_or(&wanted);
    let whole = strsim::normalized_damerau_levenshtein(&name, &wanted);
    // The name of a service is long and shared by many RPCs, so the RPC's own name is compared as well.
    whole.midpoint(strsim::normalized_damerau_levenshtein(rpc, wanted_rpc))
}

fn first_sentence(text: &str) -> String {
    let paragraph = text.split("\n\n").next().unwrap_or_default().replace('\n', " ");
    let end = paragraph.find(". ").unwrap_or(paragraph.len());
    paragraph[..end].trim_end_matches('.').to_owned()
}
