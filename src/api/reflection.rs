//! What reflection describes: the contract, health, and the messages that the details of errors consist of.

use prost::Message;
use prost_types::FileDescriptorSet;
use tonic_reflection::server::{Builder, Error};

use contract::DESCRIPTORS;

/// Where the files of `google.rpc` are in every other descriptor set of them.
const GOOGLE_RPC: &str = "google/rpc/";

/// A reflection service that describes everything.
///
/// # Errors
/// [`Error`] if the compiled-in descriptors are invalid.
pub(super) fn described() -> Result<Builder<'static>, Error> {
    Ok(Builder::configure()
        .register_encoded_file_descriptor_set(DESCRIPTORS)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        .register_file_descriptor_set(error_details()?))
}

/// `google.rpc.Status` and the messages in its details, such as `google.rpc.ErrorInfo`: a tool that finds them here
/// shows an error in words instead of bytes. No service refers to them, so the contract does not contain them. The
/// library that encodes the details describes them too, but as files without a directory.
fn error_details() -> Result<FileDescriptorSet, Error> {
    let mut files = FileDescriptorSet::decode(tonic_types::pb::FILE_DESCRIPTOR_SET)?;
    for file in &mut files.file {
        if file.package() == "google.rpc" && !file.name().starts_with(GOOGLE_RPC) {
            file.name = Some(format!("{GOOGLE_RPC}{}", file.name()));
        }
    }
    Ok(files)
}
