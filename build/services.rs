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
    let commands: Vec<&str> = of_package(&descriptors)
        .flat_map(|file| &file.message_type)
        .filter(|message| message.field.iter().any(|field| field.name() == REQUEST_ID))
        .map(DescriptorProto::name)
        .collect();
    for service in &services {
        write_service(&mut code, service, &commands)?;
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
    write_commands(&mut code, &services, &commands)?;
    let messages = of_package(&descriptors).flat_map(|file| &file.message_type);
    super::redaction::write(&mut code, PACKAGE, messages)?;
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
    commands: &[&str],
) -> Result<(), Box<dyn Error>> {
    let name = service.name();
    let (module, folder) = (snake_case(name), folder(service)?);
    writeln!(
        code,
        "#[allow(clippy::large_futures, reason = \"tonic puts each call into a box\")]\n\
         #[tonic::async_trait]\n\
         impl pb::{module}_server::{name} for Guarded<crate::api::{folder}::Handlers> {{"
    )?;
    for rpc in &service.method {
        write_rpc(code, name, &folder, rpc, commands)?;
    }
    writeln!(code, "}}")?;
    for rpc in &service.method {
        write_in_process(code, name, &module, &folder, rpc)?;
    }
    Ok(())
}

/// The same call within the process, by the type of its request, which no other RPC has.
fn write_in_process(
    code: &mut String,
    service: &str,
    module: &str,
    folder: &str,
    rpc: &MethodDescriptorProto,
) -> Result<(), Box<dyn Error>> {
    let (name, method, input) = (rpc.name(), snake_case(rpc.name()), local(rpc.input_type()));
    let mut output = format!("pb::{}", local(rpc.output_type()));
    if rpc.server_streaming() {
        output = format!("Messages<{output}>");
    }
    writeln!(
        code,
        "impl InProcess for pb::{input} {{\n\
             type Answer = {output};\n\
             const RULE: &'static Rule =\n\
                 rule_of(crate::api::{folder}::RULES, {service:?}, {name:?}, <Self as NamedFields>::NAMES);\n\
             async fn make(\n\
                 context: Context,\n\
                 request: tonic::Request<Self>,\n\
             ) -> Result<Self::Answer, tonic::Status> {{\n\
                 let guarded = Guarded(crate::api::{folder}::Handlers(context));\n\
                 let answer = pb::{module}_server::{service}::{method}(&guarded, request).await?;\n\
                 Ok(answer.into_inner())\n\
             }}\n\
         }}"
    )?;
    Ok(())
}

fn write_rpc(
    code: &mut String,
    service: &str,
    folder: &str,
    rpc: &MethodDescriptorProto,
    commands: &[&str],
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
    // A command waits for the engine, which has limits of its own.
    let is_command = commands.contains(&input);
    let (bound, handler) = if is_command {
        ("", format!("self.0.{method}(call)"))
    } else {
        (
            "let deadline = call.deadline;\n",
            format!("bounded(deadline, Box::pin(self.0.{method}(call)))"),
        )
    };
    let (binding, redact) = if rpc.server_streaming() {
        ("answer", "let answer = answer.redacted(redaction);")
    } else {
        ("mut answer", "redaction.apply(&mut answer);")
    };
    writeln!(
        code,
        "async fn {method}(\n\
             &self,\n\
             request: tonic::Request<pb::{input}>,\n\
         ) -> Result<tonic::Response<{output}>, tonic::Status> {{\n\
             const RULE: &Rule =\n\
                 rule_of(crate::api::{folder}::RULES, {service:?}, {name:?}, <pb::{input} as NamedFields>::NAMES);\n\
             let call = admit(&self.0.0, RULE, request).await?;\n\
             {bound}let (redaction, visible) = (call.redaction(), call.visible());\n\
             let answer = caught({name:?}, {handler}).await;\n\
             let {binding} = answer.map_err(|error| visible.apply(error))?;\n\
             {redact}\n\
             Ok(tonic::Response::new(answer))\n\
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
         impl TextFields for pb::{name} {{\n\
             #[allow(clippy::match_single_binding, reason = \"generated\")]\n\
             fn text(&mut self, name: &str) -> Option<&mut String> {{\n\
                 match name {{"
    )?;
    for field in &texts {
        writeln!(code, "{field:?} => Some(&mut self.{field}),")?;
    }
    writeln!(code, "_ => None, }} }} }}")?;
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

/// The RPCs that change something, which are those whose request has an id.
fn write_commands(
    code: &mut String,
    services: &[&ServiceDescriptorProto],
    requests: &[&str],
) -> Result<(), Box<dyn Error>> {
    let rpcs = services.iter().flat_map(|service| &service.method);
    let commands: Vec<&str> = rpcs
        .filter(|rpc| requests.contains(&local(rpc.input_type())))
        .map(MethodDescriptorProto::name)
        .collect();
    writeln!(
        code,
        "/// The RPCs whose request has a `request_id`, by which a repetition is recognised.\n\
         pub(super) const COMMANDS: &[&str] = &{commands:?};"
    )?;
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

pub fn snake_case(name: &str) -> String {
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
