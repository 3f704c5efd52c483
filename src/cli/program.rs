//! `tributary program`: publish and list programs on a running server.

use std::path::{Path, PathBuf};

use clap::Subcommand;
use tonic::Request;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::Channel;

use super::remote::Remote;
use super::{CliError, say};
use contract::pb::program_service_client::ProgramServiceClient;
use contract::pb::{ListProgramsRequest, PublishProgramRequest};
use contract::{parse_program, pb};

#[derive(Subcommand)]
pub(super) enum Program {
    /// Publish the programs in JSON files, each as a new version if the program exists and differs
    Publish {
        /// The files: each a `tributary.v1.Program` as JSON, like those in programs/. All are read before the
        /// first is published
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
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
            Self::Publish { files, remote } => {
                let programs =
                    files.iter().map(|file| read(file)).collect::<Result<Vec<_>, _>>()?;
                let (mut client, key) = connect(&remote).await?;
                for (file, program) in files.iter().zip(programs) {
                    let request =
                        PublishProgramRequest { program: Some(program), ..Default::default() };
                    let answer = client.publish_program(with_key(request, key.clone())).await;
                    let program = match answer {
                        Ok(answer) => answer.into_inner().program.unwrap_or_default(),
                        Err(status) => {
                            let reason = remote.explain(&status).await;
                            return Err(
                                format!("{} is not published: {reason}", file.display()).into()
                            );
                        }
                    };
                    let (id, version) = (program.program_id, program.version);
                    say(format_args!("{id} version {version} is in force"));
                }
            }
            Self::List { remote } => {
                let (mut client, key) = connect(&remote).await?;
                let mut page_token = String::new();
                loop {
                    let request = ListProgramsRequest { page_token, ..Default::default() };
                    let answer = client.list_programs(with_key(request, key.clone())).await;
                    let page = match answer {
                        Ok(answer) => answer.into_inner(),
                        Err(status) => return Err(remote.explain(&status).await.into()),
                    };
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

/// Reads a program file.
fn read(file: &Path) -> Result<pb::Program, CliError> {
    let text = std::fs::read_to_string(file)
        .map_err(|error| format!("cannot read {}: {error}", file.display()))?;
    let program = parse_program(&text)
        .map_err(|error| format!("{} is not a program: {error}", file.display()))?;
    Ok(program)
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
