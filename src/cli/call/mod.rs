//! `tributary call`: any RPC of the contract, from the command line, as JSON.

mod catalog;
mod codec;
mod describe;

use std::future::pending;
use std::io::{self, ErrorKind, Read, Write};
use std::time::Duration;

use clap::Args;
use prost_reflect::{DynamicMessage, MethodDescriptor};
use tonic::client::Grpc;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::metadata::{Ascii, MetadataKey, MetadataValue};
use tonic::{Request, Status, Streaming};

use super::remote::Remote;
use super::status::explain;
use super::{CliError, StopRequests, UsageError, say};
use catalog::{Catalog, short_name};
use codec::DynamicCodec;
use contract::message_from_json;

/// How long the answer to a call may take by default. A stream may last for ever.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30);

/// The largest answer that is read. Pages of lists are far smaller; trees of referrals are the largest.
const MAX_ANSWER_BYTES: usize = 64 * 1024 * 1024;

#[derive(Args)]
pub(super) struct Call {
    /// The RPC, as in `RewardService/GetTier`; without one, all RPCs are listed
    #[arg(value_name = "SERVICE/RPC")]
    rpc: Option<String>,
    /// The request as JSON; `-` reads it from stdin; without it, the request is empty
    #[arg(value_name = "JSON")]
    request: Option<String>,
    /// List all RPCs
    #[arg(long, conflicts_with = "rpc")]
    list: bool,
    /// Show what the RPC takes and answers, instead of calling it
    #[arg(long, requires = "rpc", conflicts_with = "request")]
    describe: bool,
    /// Metadata to send along; may be given several times
    #[arg(short = 'H', long = "header", value_name = "NAME:VALUE", value_parser = header)]
    headers: Vec<Header>,
    /// Send no key
    #[arg(long)]
    anonymous: bool,
    /// How long to wait for the answer, or for the end of a stream [default: 30, no end for streams]
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    timeout: Option<Duration>,
    #[command(flatten)]
    remote: Remote,
}

type Header = (MetadataKey<Ascii>, MetadataValue<Ascii>);

impl Call {
    pub(super) async fn run(self) -> Result<(), CliError> {
        let catalog = Catalog::load()?;
        let Some(name) = &self.rpc else {
            say(catalog.list());
            return Ok(());
        };
        let rpc = catalog.find(name)?;
        if self.describe {
            say(describe::describe(rpc));
            return Ok(());
        }
        let message = read_request(rpc, self.request.as_deref())?;
        let mut request = self.request(message).map_err(UsageError::from)?;
        self.remote.endpoint().map_err(UsageError::from)?;
        let stream = rpc.is_server_streaming();
        // Ctrl-C ends a stream normally. Any other call may be interrupted before its outcome is known, so
        // Ctrl-C kills the process as usual.
        let stop = if stream { Some(StopRequests::listen()?) } else { None };
        let timeout = self.timeout.or((!stream).then_some(DEFAULT_TIMEOUT));
        if let Some(timeout) = timeout {
            request.set_timeout(timeout);
        }
        tokio::select! {
            ended = self.call(rpc, request) => ended,
            () = requested(stop) => Ok(()),
            status = expired(timeout) => Err(explain(&status).into()),
        }
    }

    /// The request with its metadata.
    fn request(&self, message: DynamicMessage) -> Result<Request<DynamicMessage>, CliError> {
        let mut request = Request::new(message);
        let given = self.headers.iter().any(|(name, _)| name == "authorization");
        if !self.anonymous && !given {
            request.metadata_mut().insert("authorization", self.remote.authorization()?);
        }
        for (name, value) in &self.headers {
            request.metadata_mut().append(name.clone(), value.clone());
        }
        Ok(request)
    }

    /// Sends the request and prints each message when it arrives. On the wire a call with one answer is a
    /// stream of one message.
    async fn call(
        &self,
        rpc: &MethodDescriptor,
        request: Request<DynamicMessage>,
    ) -> Result<(), CliError> {
        let channel = self.remote.connect().await?;
        let mut client = Grpc::new(channel).max_decoding_message_size(MAX_ANSWER_BYTES);
        client.ready().await.map_err(|error| self.remote.unreachable(&error))?;
        let path = PathAndQuery::try_from(format!(
            "/{}/{}",
            rpc.parent_service().full_name(),
            rpc.name()
        ))?;
        let codec = DynamicCodec { answer: rpc.output() };
        match client.server_streaming(request, path, codec).await {
            Ok(answer) => print_all(answer.into_inner()).await,
            Err(status) => Err(self.remote.explain(&status).await.into()),
        }
    }
}

/// Prints every message. If the reader of stdout closes it, as `head` does, the call ends without an error.
async fn print_all(mut messages: Streaming<DynamicMessage>) -> Result<(), CliError> {
    while let Some(message) = messages.message().await.map_err(|status| explain(&status))? {
        let mut text = serde_json::to_vec_pretty(&message)?;
        text.push(b'\n');
        let mut stdout = io::stdout().lock();
        match stdout.write_all(&text).and_then(|()| stdout.flush()) {
            Err(error) if error.kind() == ErrorKind::BrokenPipe => return Ok(()),
            written => written?,
        }
    }
    Ok(())
}

/// The request from the command line or stdin.
fn read_request(rpc: &MethodDescriptor, given: Option<&str>) -> Result<DynamicMessage, UsageError> {
    let text = match given {
        Some("-") => {
            let mut text = String::new();
            let read = io::stdin().read_to_string(&mut text);
            read.map_err(|error| UsageError(format!("stdin cannot be read: {error}")))?;
            text
        }
        Some(text) => text.to_owned(),
        None => String::new(),
    };
    let text = if text.trim().is_empty() { "{}" } else { &text };
    message_from_json(&rpc.input(), text).map_err(|error| {
        let (rpc, message) = (short_name(rpc), rpc.input());
        let fields: Vec<String> = message.fields().map(|field| field.name().to_owned()).collect();
        UsageError(format!(
            "the request is not a {}: {error}\n  its fields: {}\n  'tributary call --describe {rpc}' explains them",
            message.name(),
            fields.join(", "),
        ))
    })
}

/// Resolves once the process has been asked to stop; never, if `stop` is absent.
async fn requested(stop: Option<StopRequests>) {
    match stop {
        Some(stop) => stop.requested().await,
        None => pending().await,
    }
}

/// Resolves once the time is over; never, if there is no limit.
async fn expired(timeout: Option<Duration>) -> Status {
    match timeout {
        Some(timeout) => {
            tokio::time::sleep(timeout).await;
            Status::deadline_exceeded(format!("no end within {} s", timeout.as_secs_f64()))
        }
        None => pending().await,
    }
}

fn header(text: &str) -> Result<Header, String> {
    let (name, value) = text.split_once(':').ok_or("write it as name:value")?;
    let name = name.trim().to_lowercase();
    let key = name.parse().map_err(|_| format!("'{name}' is not the name of text metadata"))?;
    let value = value.trim().parse().map_err(|_| "the value is not printable ASCII")?;
    Ok((key, value))
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    seconds
        .filter(|timeout| !timeout.is_zero())
        .ok_or_else(|| "a number of seconds above 0, such as 2.5".to_owned())
}
