//! `tributary program`: publish and list programs on a running server.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status};
use tonic_types::StatusExt;

use super::{CliError, DataDir, dev, say};
use contract::parse_program;
use contract::pb::program_service_client::ProgramServiceClient;
use contract::pb::{ListProgramsRequest, PublishProgramRequest};

#[derive(Subcommand)]
pub(super) enum Program {
    /// Put the program in a JSON file into force, as a new version if it exists and differs
    Publish {
        /// The file: a `tributary.v1.Program` as JSON, like those in programs/
        file: PathBuf,
        #[command(flatten)]
        remote: Remote,
    },
    /// List the programs in force
    List {
        #[command(flatten)]
        remote: Remote,
    },
}

/// A running server.
#[derive(Args)]
pub(super) struct Remote {
    /// The server
    #[arg(
        long,
        value_name = "URL",
        env = "TRIBUTARY_SERVER",
        default_value = "http://127.0.0.1:50051"
    )]
    server: String,
    /// The admin key; that of `dev` if it is not given
    #[arg(long, value_name = "KEY", env = "TRIBUTARY_ADMIN_KEY", hide_env_values = true)]
    admin_key: Option<String>,
    #[command(flatten)]
    data_dir: DataDir,
}

impl Program {
    pub(super) async fn run(self) -> Result<(), CliError> {
        match self {
            Self::Publish { file, remote } => {
                let text = std::fs::read_to_string(&file)
                    .map_err(|error| format!("cannot read {}: {error}", file.display()))?;
                let program = parse_program(&text)
                    .map_err(|error| format!("{} is not a program: {error}", file.display()))?;
                let request =
                    PublishProgramRequest { program: Some(program), ..Default::default() };
                let (mut client, key) = remote.connect().await?;
                let answer = client.publish_program(with_key(request, key)).await;
                let program = answer
                    .map_err(|status| explain(&status))?
                    .into_inner()
                    .program
                    .unwrap_or_default();
                say(format_args!("{} version {} is in force", program.program_id, program.version));
            }
            Self::List { remote } => {
                let (mut client, key) = remote.connect().await?;
                let mut page_token = String::new();
                loop {
                    let request = ListProgramsRequest { page_token, ..Default::default() };
                    let answer = client.list_programs(with_key(request, key.clone())).await;
                    let page = answer.map_err(|status| explain(&status))?.into_inner();
                    for program in page.programs {
                        say(format_args!(
                            "{}\tversion {}\t{}",
                            program.program_id, program.version, program.display_name
                        ));
                    }
                    page_token = page.next_page_token;
                    if page_token.is_empty() {
                        break;
                    }
                }
            }
        }
        Ok(())
    }
}

type Key = MetadataValue<Ascii>;

impl Remote {
    async fn connect(self) -> Result<(ProgramServiceClient<Channel>, Key), CliError> {
        let key = match self.admin_key {
            Some(key) => key,
            None => dev::read_admin_key(&self.data_dir.data_dir).ok_or(
                "no admin key: set TRIBUTARY_ADMIN_KEY, or pass --data-dir with the directory of \
                 'tributary dev'",
            )?,
        };
        let key = format!("Bearer {key}").parse()?;
        let channel =
            Endpoint::from_shared(self.server.clone())?.connect().await.map_err(|_| {
                format!("no server answers at {}; start one, or pass --server", self.server)
            })?;
        Ok((ProgramServiceClient::new(channel), key))
    }
}

fn with_key<T>(message: T, key: Key) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("authorization", key);
    request
}

/// The status in words, every fault on a line.
fn explain(status: &Status) -> CliError {
    let faults = status.get_details_bad_request().map(|faults| faults.field_violations);
    let mut words = status.message().to_owned();
    for fault in faults.unwrap_or_default() {
        words = format!("{words}\n  {}: {}", fault.field, fault.description);
    }
    words.into()
}
