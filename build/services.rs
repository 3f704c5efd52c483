//! Generates the services that tonic calls: for every RPC of the contract a method that admits the call by
//! the RPC's row of the permission table and passes principal and message to the handler. A handler cannot be
//! reached in any other way. An RPC without a row does not compile, nor does a row with a field that the
//! request does not have.

use std::error::Error;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::{fs, io};

use prost_types::field_descriptor_proto::{Label, Type};
use prost_types::{
    DescriptorProto, FileDescriptorProto, FileDescriptorSet, MethodDescriptorProto,
    ServiceDescriptorProto,
};
use protox::prost_reflect::prost_types;

/// The contract, relative to the workspace's folder.
const PROTO: &str = "proto";
const PACKAGE: &str = "tributary.v1";
/// The field by which a repetition of a command is recognised.
const REQUEST_ID: &str = "request_id";
/// The fields of a list that may differ from page to page; those that a request has, `page_token` among them.
const PAGE_TOKEN: &str = "page_token";
const OF_PAGES: &[&str] = &[PAGE_TOKEN, "consistency_token"];
/// Fields of which nothing is stored, not even a hash.
const SECRETS: &[&str] =
    &["password", "old_password", "new_password", "refresh_token", "token", "code"];

/// The code of all services.
pub fn code() -> Result<String, Box<dyn Error>> {
    println!("cargo::rerun-if-changed={PROTO}");
    let descriptors = protox::compile(files(&Path::new(PROTO).join("tributary/v1"))?, [PROTO])?;
    let services: Vec<&ServiceDescriptorProto> =
        of_package(&descriptors).flat_map(|file| &file.service).collect();
    let mut code = String::new();
    for service in &services {
        write_service(&mut code, service)?;
    }
    let mut requests: Vec<&str> = services
        .iter()
        .flat_map(|service| &service.method)
        .map(|rpc| local(rpc.input_type()))
        .collect();
    requests.sort_unstable();
    requests.dedup();
    let types = super::enums::Types::new(
        PACKAGE,
        of_package(&descriptors).flat_map(|file| &file.message_type),
        of_package(&descriptors).flat_map(|file| &file.enum_type),
    );
    types.write(&mut code, &requests)?;
    for message in of_package(&descriptors).flat_map(|file| &file.message_type) {
        if requests.contains(&message.name()) {
            write_request(&mut code, message)?;
        }
    }
    write_lists(&mut code, &services)?;
    Ok(code)
}

fn of_package(descriptors: &FileDescriptorSet) -> impl Iterator<Item = &FileDescriptorProto> {
    descriptors.file.iter().filter(|file| file.package() == PACKAGE)
}

fn files(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let mut paths = super::sorted(directory)?;
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "proto"));
    Ok(paths)
}

/// The implementation of tonic's trait for one service.
fn write_service(
    code: &mut String,
    service: &ServiceDescriptorProto,
) -> Result<(), Box<dyn Error>> {
    let name = service.name();
    let (module, folder) = (snake_case(name), folder(service)?);
    writeln!(
        code,
        "#[tonic::async_trait]\n\
         impl pb::{module}_server::{name} for Guarded<crate::api::{folder}::Handlers> {{"
    )?;
    for rpc in &service.method {
        write_rpc(code, name, &folder, rpc)?;
    }
    writeln!(code, "}}")?;
    Ok(())
}

fn write_rpc(
    code: &mut String,
    service: &str,
    folder: &str,
    rpc: &MethodDescriptorProto,
) -> Result<(), Box<dyn Error>> {
    if rpc.client_streaming() {
        return Err(
            format!("{} takes a stream, which no guard can look through", rpc.name()).into()
        );
    }
    let (name, method) = (rpc.name(), snake_case(rpc.name()));
    let (input, mut output) =
        (local(rpc.input_type()), format!("pb::{}", local(rpc.output_type())));
    if rpc.server_streaming() {
        writeln!(code, "type {name}Stream = Messages<{output}>;")?;
        output = format!("Messages<{output}>");
    }
    writeln!(
        code,
        "async fn {method}(\n\
             &self,\n\
             request: tonic::Request<pb::{input}>,\n\
         ) -> Result<tonic::Response<{output}>, tonic::Status> {{\n\
             const RULE: &Rule =\n\
                 rule_of(crate::api::{folder}::RULES, {service:?}, {name:?}, <pb::{input} as NamedFields>::NAMES);\n\
             let call = admit(&self.0.0, RULE, request).await?;\n\
             Ok(tonic::Response::new(caught({name:?}, self.0.{method}(call)).await?))\n\
         }}"
    )?;
    Ok(())
}

/// The text fields of a request by name; if it is a command, its canonical form, without what may differ between
/// repetitions; and if it is a list, the list that its page is of.
fn write_request(code: &mut String, message: &DescriptorProto) -> Result<(), Box<dyn Error>> {
    let name = message.name();
    let texts: Vec<&str> = message
        .field
        .iter()
        .filter(|field| field.r#type() == Type::String && field.label() != Label::Repeated)
        // A text that may be absent names nobody.
        .filter(|field| !field.proto3_optional())
        .map(prost_types::FieldDescriptorProto::name)
        .collect();
    writeln!(
        code,
        "impl NamedFields for pb::{name} {{\n\
             const NAMES: &'static [&'static str] = &{texts:?};\n\
         }}\n\
         impl TextFields for pb::{name} {{"
    )?;
    if texts.is_empty() {
        writeln!(code, "fn text(&mut self, _: &str) -> Option<&mut String> {{ None }} }}")?;
    } else {
        writeln!(
            code,
            "fn text(&mut self, name: &str) -> Option<&mut String> {{\n\
                 match name {{"
        )?;
        for field in &texts {
            writeln!(code, "{field:?} => Some(&mut self.{field}),")?;
        }
        writeln!(code, "_ => None, }} }} }}")?;
    }
    if texts.contains(&REQUEST_ID) {
        writeln!(
            code,
            "impl Repeatable for pb::{name} {{\n\
                 fn request_id(&self) -> &str {{ &self.{REQUEST_ID} }}\n\
                 fn canonical(&self) -> Self {{\n\
                     Self {{ {REQUEST_ID}: String::new(), "
        )?;
        for secret in SECRETS.iter().filter(|secret| texts.contains(secret)) {
            writeln!(code, "{secret}: String::new(),")?;
        }
        writeln!(code, "..self.clone() }} }} }}")?;
    }
    if texts.contains(&PAGE_TOKEN) {
        writeln!(
            code,
            "impl Paged for pb::{name} {{\n\
                 fn page_size(&self) -> i32 {{ self.page_size }}\n\
                 fn list(&self) -> Self {{\n\
                     Self {{ page_size: 0, "
        )?;
        let of_pages: Vec<_> = OF_PAGES.iter().filter(|field| texts.contains(field)).collect();
        for field in &of_pages {
            writeln!(code, "{field}: String::new(),")?;
        }
        // The page size and those above.
        let rest = if message.field.len() > of_pages.len() + 1 { "..self.clone()" } else { "" };
        writeln!(code, "{rest} }} }} }}")?;
    }
    Ok(())
}

/// All services as one router, their names, and (for tests) their requests.
fn write_lists(
    code: &mut String,
    services: &[&ServiceDescriptorProto],
) -> Result<(), Box<dyn Error>> {
    writeln!(
        code,
        "/// The services whose health can be asked for; the empty name stands for the server as a whole.\n\
         pub const SERVICES: &[&str] = &[\"\","
    )?;
    for service in services {
        writeln!(code, "\"{PACKAGE}.{}\",", service.name())?;
    }
    writeln!(
        code,
        "];\n\
         /// The rows of the permission table, service by service.\n\
         pub(super) const TABLES: &[&[Rule]] = &["
    )?;
    for service in services {
        writeln!(code, "crate::api::{}::RULES,", folder(service)?)?;
    }
    writeln!(
        code,
        "];\n\
         /// Mounts all services of the contract. Calls come with their principal among the extensions of the\n\
         /// request; those that come without one are anonymous.\n\
         pub(super) fn mount_all<M: Mount>(mount: M, context: &Context) -> M {{\n\
             mount"
    )?;
    for service in services {
        let (name, module, folder) = (service.name(), snake_case(service.name()), folder(service)?);
        writeln!(
            code,
            ".mount(\n\
                 pb::{module}_server::{name}Server::new(Guarded(crate::api::{folder}::Handlers(\n\
                     context.clone(),\n\
                 )))\n\
                 .max_decoding_message_size(MAX_MESSAGE_BYTES)\n\
                 .max_encoding_message_size(MAX_MESSAGE_BYTES),\n\
             )"
        )?;
    }
    writeln!(
        code,
        "}}\n\
         /// An empty request of an RPC.\n\
         #[cfg(test)]\n\
         pub(in crate::api) fn empty_request(rpc: &str) -> Option<Box<dyn TextFields>> {{\n\
             match rpc {{"
    )?;
    for rpc in services.iter().flat_map(|service| &service.method) {
        let input = local(rpc.input_type());
        writeln!(code, "{:?} => Some(Box::new(pb::{input}::default())),", rpc.name())?;
    }
    writeln!(code, "_ => None, }} }}")?;
    Ok(())
}

/// The folder of a service's handlers: `account` for `AccountService`.
fn folder(service: &ServiceDescriptorProto) -> Result<String, Box<dyn Error>> {
    let name =
        service.name().strip_suffix("Service").ok_or("a service whose name is not ..Service")?;
    Ok(snake_case(name))
}

/// The last part of `.tributary.v1.GetUserRequest`.
fn local(type_name: &str) -> &str {
    type_name.rsplit('.').next().unwrap_or(type_name)
}

fn snake_case(name: &str) -> String {
    let mut snake = String::new();
    for letter in name.chars() {
        if letter.is_ascii_uppercase() && !snake.is_empty() {
            snake.push('_');
        }
        snake.push(letter.to_ascii_lowercase());
    }
    snake
}

/// Writes the code into the build's folder.
pub fn write(out: &Path) -> Result<(), Box<dyn Error>> {
    fs::write(out.join("services.rs"), code()?)?;
    Ok(())
}
