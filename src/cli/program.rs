//! `tributary program`: publish and list programs on a running server.

use std::path::PathBuf;

use clap::Subcommand;
use tonic::Request;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::Channel;

use super::remote::Remote;
use super::status::explain;
use super::{CliError, say};
use contract::parse_program;
use contract::pb::program_service_client::ProgramServiceClient;
use contract::pb::{ListProgramsRequest, PublishProgramRequest};

#[derive(Subcommand)]
pub(super) enum Program {
    /// Publish the program in a JSON file, as a new version if the program exists and differs
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
                let (mut client, key) = connect(&remote).await?;
                let answer = client.publish_program(with_key(request, key)).await;
                let program = answer
                    .map_err(|status| explain(&status))?
                    .into_inner()
                    .program
                    .unwrap_or_default();
                say(format_args!("{} version {} is in force", program.program_id, program.version));
            }
            Self::List { remote } => {
                let (mut client, key) = connect(&remote).await?;
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

async fn connect(remote: &Remote) -> Result<(ProgramServiceClient<Channel>, Key), CliError> {
    let key = remote.authorization()?;
    Ok((ProgramServiceClient::new(remote.connect().await?), key))
}

fn with_key<T>(message: T, key: Key) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("authorization", key);
    request
}
