//! Tests of the documents: their commands work as pasted, and what they refer to exists.
//!
//! The word behind `sh` of a fenced block says how its commands are tested. `setup` blocks begin every
//! shell. `run` blocks that follow one another are pasted into one shell and must succeed. A `watch` block
//! has a shell of its own and does not end by itself: it must print what the test waits for. `call-with NAME`
//! blocks define `call` by another program. `run-with NAME` blocks are `run` blocks where that program is installed.
//! `run-confirming` blocks are for a server with `--confirm-sign-ups on`.
//! Other blocks are not run.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use contract::pb::ErrorReason;
use prost::Message;
use prost_types::{
    DescriptorProto, EnumValueDescriptorProto, FieldDescriptorProto, FileDescriptorSet,
};
use tokio::io::AsyncReadExt;
use tokio::process::Command;

use testing::{ADMIN_KEY, Server, TestDatabase, clean_command, tributary};

use super::support::server_with;

/// How the documents define `call`.
const CALL: &str = "call() { tributary call \"$@\"; }";
/// The address of the server in the documents.
const ADDRESS: &str = "127.0.0.1:50051";
/// How long the commands of a document may take.
const PATIENCE: Duration = Duration::from_mins(2);

const PROGRAMS: [&str; 5] = [
    "first-purchase-bonus",
    "first-purchase-credits",
    "multi-level-commission",
    "referral-count",
    "tiered-points",
];

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn document(name: &str) -> String {
    std::fs::read_to_string(repository().join(name)).expect(name)
}

/// The names of all documents of the repository.
fn documents() -> Vec<String> {
    let paths = ["", "docs"].into_iter().flat_map(|folder| {
        let entries = std::fs::read_dir(repository().join(folder)).unwrap();
        entries.map(|entry| entry.unwrap().path())
    });
    let documents = paths.filter(|path| path.extension().is_some_and(|ending| ending == "md"));
    let names =
        documents.map(|path| path.strip_prefix(repository()).unwrap().display().to_string());
    names.collect()
}

/// The commands of a document for a server with `--confirm-sign-ups on`.
pub fn confirming_commands_of(name: &str) -> String {
    let wanted = ["sh setup", "sh run-confirming"];
    let document = document(name);
    let blocks = shell_blocks(&document).filter(|block| wanted.contains(&&*block.info));
    blocks.map(|block| block.text).collect()
}

/// The commands of a document that are to be pasted, with those that need a program that is installed here.
pub async fn commands_of(name: &str) -> String {
    let mut commands = String::new();
    for Block { info, text } in shell_blocks(&document(name)) {
        if ["sh setup", "sh run"].contains(&&*info) || is_run_here(&info).await {
            commands += &text;
        }
    }
    commands
}

/// Whether a block is to be run where a program is installed, and that is here.
async fn is_run_here(info: &str) -> bool {
    match info.strip_prefix("sh run-with ") {
        Some(program) => succeeds(&format!("command -v {program}")).await,
        None => false,
    }
}

/// A fenced block: the words behind its fence, and its content.
struct Block {
    info: String,
    text: String,
}

fn blocks(document: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut lines = document.lines();
    while let Some(line) = lines.next() {
        if let Some(info) = line.strip_prefix("```") {
            let text: Vec<&str> = lines.by_ref().take_while(|line| *line != "```").collect();
            blocks.push(Block { info: info.into(), text: text.join("\n") + "\n" });
        }
    }
    blocks
}

fn shell_blocks(document: &str) -> impl Iterator<Item = Block> {
    blocks(document).into_iter().filter(|block| block.info.split(' ').next() == Some("sh"))
}

/// The cells of every row of the tables of a document.
fn rows(document: &str) -> Vec<Vec<&str>> {
    let rows = document.lines().filter_map(|line| line.strip_prefix("| ")?.strip_suffix(" |"));
    rows.map(|row| row.split(" | ").collect()).collect()
}

/// A cell that is nothing but code.
fn code(cell: &str) -> Option<&str> {
    cell.strip_prefix('`')?.strip_suffix('`').filter(|code| !code.contains('`'))
}

/// A directory that is removed when its test ends, however it ends.
struct Directory(PathBuf);

impl Directory {
    fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("tributary-documents-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir(&path).unwrap();
        Self(path)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A shell for pasted commands, in an empty directory, with its own server.
struct Shell {
    /// The program and its arguments before the commands.
    command: &'static [&'static str],
    directory: Directory,
    /// How `call` is defined there.
    call: String,
    server: Server,
    database: TestDatabase,
}

impl Shell {
    async fn open(command: &'static [&'static str], call: &str) -> Self {
        let directory = Directory::new();
        let (database, server, _) = server_with(&PROGRAMS).await;
        Self { command, directory, call: call.into(), server, database }
    }

    /// A command that runs a script in the shell.
    fn command(&self, script: &str) -> Command {
        let script = script.replace(CALL, &self.call).replace(ADDRESS, &self.server.address);
        let mut command = clean_command(Path::new(self.command[0]));
        let binary = tributary().as_std().get_program().to_owned();
        let binaries = Path::new(&binary).parent().unwrap().display().to_string();
        let path = std::env::var("PATH").unwrap();
        command
            .args(&self.command[1..])
            .arg(script)
            .current_dir(&self.directory.0)
            .env("PATH", format!("{binaries}:{path}"))
            .env("TRIBUTARY_ADMIN_KEY", ADMIN_KEY)
            .env("TRIBUTARY_SERVER", format!("http://{}", self.server.address))
            .env("TRIBUTARY_LOG", "warn")
            .env("DATABASE_URL", &self.database.url);
        command
    }

    /// Runs commands that have to succeed.
    async fn run(&self, script: &str) {
        let mut command = self.command(script);
        let output = tokio::time::timeout(PATIENCE, command.output()).await;
        let output = output.expect("the commands end in time").unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        let complained = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{:?} {script}\n{said}\n{complained}", self.command);
    }

    /// Runs commands that only end with Ctrl-C, until they have printed a line with a text. A file that they write too
    /// has it then as well: later commands read it, and `tee` prints first.
    async fn watch(&self, script: &str, expected: &str) {
        let mut command = self.command(script);
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
        let mut child = command.spawn().unwrap();
        let group = format!("-{}", child.id().unwrap());
        let mut stdout = child.stdout.take().unwrap();
        let mut printed = Vec::new();
        let reading = async {
            while !has_line_with(&printed, expected) {
                if stdout.read_buf(&mut printed).await.unwrap() == 0 {
                    return false;
                }
            }
            if let Some((_, written)) = script.split_once("| tee ") {
                let file = self.directory.0.join(written.split_whitespace().next().unwrap());
                while !has_line_with(&std::fs::read(&file).unwrap_or_default(), expected) {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            }
            true
        };
        let found = tokio::time::timeout(PATIENCE, reading).await.unwrap_or(false);
        // Kills everything that the shell has started.
        Command::new("kill").args(["-KILL", "--", &group]).status().await.unwrap();
        let output = child.wait_with_output().await.unwrap();
        let complained = String::from_utf8_lossy(&output.stderr);
        let printed = String::from_utf8_lossy(&printed);
        assert!(found, "{:?} {script}\n{printed}\n{complained}", self.command);
    }

    /// Pastes all blocks of a document that are to be pasted, in order.
    async fn paste(&self, name: &str, watched: &str) {
        let mut setup = String::new();
        let mut commands = String::new();
        let mut pasted = 0;
        for Block { info, text } in shell_blocks(&document(name)) {
            match &*info {
                "sh setup" => setup += &text,
                "sh run" => commands += &text,
                "sh watch" => {
                    self.run(&format!("{setup}{}", std::mem::take(&mut commands))).await;
                    self.watch(&format!("{setup}{text}"), watched).await;
                }
                info if is_run_here(info).await => commands += &text,
                _ => continue,
            }
            pasted += 1;
        }
        self.run(&format!("{setup}{commands}")).await;
        assert!(pasted > 0, "{name} has nothing to paste");
    }

    async fn close(self) {
        self.server.stop().await;
        self.database.check().await;
    }
}

/// Whether there is a whole line with a text.
fn has_line_with(printed: &[u8], expected: &str) -> bool {
    let printed = String::from_utf8_lossy(printed);
    printed.split_once(expected).is_some_and(|(_, rest)| rest.contains('\n'))
}

/// Whether a script succeeds.
async fn succeeds(script: &str) -> bool {
    let mut command = clean_command(Path::new("bash"));
    command.args(["-c", script]).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().await.unwrap().success()
}

/// The shells of this machine: bash and, where it is installed, zsh.
pub async fn shells() -> Vec<&'static [&'static str]> {
    let mut shells: Vec<&'static [&'static str]> = vec![&["bash", "-e", "-o", "pipefail", "-c"]];
    if succeeds("command -v zsh").await {
        shells.push(&["zsh", "-f", "-e", "-o", "pipefail", "-c"]);
    }
    shells
}

/// The installed ones of the documented ways to make a call, the usual one first.
async fn ways_to_call() -> Vec<String> {
    let mut ways = Vec::new();
    let binary = tributary().as_std().get_program().to_owned();
    if succeeds(&format!("{} call --help", binary.display())).await {
        ways.push(CALL.to_owned());
    }
    for block in shell_blocks(&document("docs/api.md")) {
        if let Some(name) = block.info.strip_prefix("sh call-with ")
            && succeeds(&format!("command -v {name}")).await
        {
            ways.push(block.text);
        }
    }
    assert!(!ways.is_empty(), "there is nothing to make a call with");
    ways
}

#[tokio::test]
async fn the_demonstration_of_the_readme_ends_with_a_reward_in_every_way_to_call() {
    for shell in shells().await {
        for call in ways_to_call().await {
            let shell = Shell::open(shell, &call).await;
            shell.paste("README.md", "\"5007\"").await;
            shell.close().await;
        }
    }
}

#[tokio::test]
async fn the_commands_of_the_documents_work_as_pasted() {
    let call = ways_to_call().await.swap_remove(0);
    for shell in shells().await {
        for name in ["docs/api.md", "docs/programs.md", "docs/operations.md", "docs/store.md"] {
            let shell = Shell::open(shell, &call).await;
            shell.paste(name, "esumeToken").await;
            shell.close().await;
        }
    }
}

#[test]
fn commands_of_documents_have_nothing_that_a_shell_reads_in_its_own_way() {
    for name in documents() {
        for block in shell_blocks(&document(&name)) {
            for line in block.text.lines() {
                // An interactive zsh runs a comment as a command, and both shells expand !.
                let comment = line.trim_start().starts_with('#') || line.contains(" #");
                assert!(!comment && !line.contains('!'), "{name}: {line}");
            }
        }
    }
}

#[test]
fn every_rpc_has_a_command_in_the_document_about_the_api() {
    let commands: String = shell_blocks(&document("docs/api.md"))
        .filter(|block| ["sh run", "sh watch"].contains(&&*block.info))
        .map(|block| block.text)
        .collect();
    let descriptors = FileDescriptorSet::decode(contract::DESCRIPTORS).unwrap();
    for file in descriptors.file.iter().filter(|file| file.package() == "tributary.v1") {
        for service in &file.service {
            for rpc in &service.method {
                let call = format!("call {}/{} ", service.name(), rpc.name());
                assert!(commands.contains(&call), "docs/api.md has no command '{call}'");
            }
        }
    }
}

#[test]
fn the_changes_without_a_request_id_are_named() {
    let api = document("docs/api.md");
    let (_, section) = api.split_once("\n### Request ids\n").unwrap();
    let (section, _) = section.split_once("\n## ").unwrap();
    let descriptors = FileDescriptorSet::decode(contract::DESCRIPTORS).unwrap();
    let files = descriptors.file.iter().filter(|file| file.package() == "tributary.v1");
    let messages: Vec<_> = files.clone().flat_map(|file| &file.message_type).collect();
    for rule in tributary::api::permissions::rules().filter(|rule| !rule.is_read()) {
        let service = files.clone().flat_map(|file| &file.service);
        let service = service.clone().find(|service| service.name() == rule.service).unwrap();
        let rpc = service.method.iter().find(|rpc| rpc.name() == rule.rpc).unwrap();
        let is_input = |message: &&&DescriptorProto| {
            rpc.input_type().ends_with(&format!(".{}", message.name()))
        };
        let request = messages.iter().find(is_input).unwrap();
        let has_id = request.field.iter().any(|field| field.name() == "request_id");
        let is_named = section.contains(&format!("`{}`", rule.rpc));
        assert!(has_id != is_named, "docs/api.md on the request id of {}", rule.rpc);
    }
}

#[test]
fn every_field_and_value_of_a_program_is_in_the_document_about_programs() {
    let programs = document("docs/programs.md");
    let descriptors = FileDescriptorSet::decode(contract::DESCRIPTORS).unwrap();
    let is_about_programs = |name: &str| name.ends_with("/program.proto");
    let file = descriptors.file.iter().find(|file| is_about_programs(file.name())).unwrap();
    let fields = file.message_type.iter().flat_map(|message| &message.field);
    let values = file.enum_type.iter().flat_map(|of| &of.value);
    let values =
        values.map(EnumValueDescriptorProto::name).filter(|name| !name.ends_with("_UNSPECIFIED"));
    for name in fields.map(FieldDescriptorProto::name).chain(values) {
        assert!(programs.contains(&format!("`{name}`")), "docs/programs.md lacks {name}");
    }
}

#[test]
fn every_reason_of_an_error_has_a_row_with_its_code() {
    let contract = document("proto/tributary/v1/error_reason.proto");
    let errors = document("docs/errors.md");
    let rows = rows(&errors);
    let mut count = 0;
    for reason in (1..1_000).filter_map(|number| ErrorReason::try_from(number).ok()) {
        let name = reason.as_str_name();
        let (before, _) = contract.split_once(&format!("\n  {name} = ")).unwrap();
        let comment = before.rsplit("\n\n").next().unwrap().trim_start_matches([' ', '/']);
        let comment = comment.strip_prefix("Code ").unwrap_or(comment);
        let short = name.strip_prefix("ERROR_REASON_").unwrap();
        let row = rows.iter().find(|row| code(row[0]) == Some(short));
        let row = row.unwrap_or_else(|| panic!("docs/errors.md has no row for {short}"));
        // The reasons of fields are in a separate table, whose code is that of INVALID_FIELD.
        if !comment.starts_with("Field of INVALID_FIELD") {
            let (code_of, _) = comment.split_once([',', '.']).unwrap();
            assert_eq!(code(row[1]), Some(code_of), "the code of {short}");
        }
        count += 1;
    }
    let written = rows.iter().filter(|row| code(row[0]).is_some()).count();
    assert_eq!(written, count, "docs/errors.md has rows for reasons that do not exist, or twice");
}

#[test]
fn every_test_that_a_guarantee_names_exists() {
    let guarantees = document("docs/guarantees.md");
    let mut count = 0;
    for row in rows(&guarantees) {
        let [Some(path), Some(name)] = [code(row[0]), code(row[1])] else { continue };
        let source = std::fs::read_to_string(repository().join(path));
        let source = source.unwrap_or_else(|_| panic!("docs/guarantees.md: no file {path}"));
        let (before, _) = source
            .split_once(&format!("fn {name}("))
            .unwrap_or_else(|| panic!("docs/guarantees.md: no test {name} in {path}"));
        let attributes = before.rsplit("\n\n").next().unwrap();
        let is_test = attributes.contains("#[test]") || attributes.contains("#[tokio::test");
        assert!(is_test, "{name} in {path} is no test");
        count += 1;
    }
    let promises = guarantees.lines().filter(|line| line.starts_with("## ")).count();
    assert!(count > promises, "{count} tests for {promises} promises");
}

#[test]
fn every_crate_and_folder_of_the_server_has_its_row_in_the_architecture() {
    let architecture = document("ARCHITECTURE.md");
    for parent in ["crates", "src"] {
        for entry in std::fs::read_dir(repository().join(parent)).unwrap() {
            let entry = entry.unwrap();
            let name = format!("`{parent}/{}/`", entry.file_name().display());
            let has_row = architecture.lines().any(|line| line.starts_with(&format!("| {name}")));
            assert!(has_row || entry.path().is_file(), "ARCHITECTURE.md has no row for {name}");
        }
    }
}

#[test]
fn links_lead_to_files_and_headings_that_exist() {
    for name in documents() {
        let text = document(&name);
        for target in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            if target.starts_with("http") {
                continue;
            }
            let (path, heading) = target.split_once('#').unwrap_or((target, ""));
            let file = match path {
                "" => repository().join(&name),
                path => repository().join(&name).parent().unwrap().join(path),
            };
            assert!(file.exists(), "{name} links to {target}");
            if !heading.is_empty() {
                let linked = std::fs::read_to_string(&file).unwrap();
                let mut headings = linked.lines().filter(|line| line.starts_with('#'));
                let found = headings.any(|line| anchor(line) == heading);
                assert!(found, "{name} links to {target}, which has no such heading");
            }
        }
    }
}

/// The anchor that GitHub gives a heading.
fn anchor(heading: &str) -> String {
    let words = heading.trim_start_matches('#').trim().to_lowercase().replace(' ', "-");
    words.chars().filter(|letter| letter.is_alphanumeric() || "-_".contains(*letter)).collect()
}

#[test]
fn the_front_page_and_the_architecture_stay_short() {
    for (name, limit) in [("README.md", 200), ("ARCHITECTURE.md", 250)] {
        let lines = document(name).lines().count();
        assert!(lines <= limit, "{name} has {lines} lines, and {limit} are the limit");
    }
}
