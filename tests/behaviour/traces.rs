//! The traces that `tributary serve` sends to an OpenTelemetry collector.

use std::collections::HashMap;
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, Span};
use tokio::net::TcpListener;
use tonic::transport::server::TcpIncoming;
use tonic::{Code, Request, Response, Status};

use testing::{Client, Server, ServerOptions, TestDatabase, sign_up_request, tributary};

/// How long a server may take to stop when there is no collector.
const STOP_TIMEOUT: Duration = Duration::from_secs(10);

const TRACE_ID: u128 = 0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736;
const PARENT_ID: u128 = 0x00f0_67aa_0ba9_02b7;

/// A collector that keeps what it receives.
#[derive(Clone, Default)]
pub(super) struct Collector(pub(super) Arc<Mutex<Vec<ResourceSpans>>>);

#[tonic::async_trait]
impl TraceService for Collector {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        self.0.lock().unwrap().extend(request.into_inner().resource_spans);
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

impl Collector {
    /// A collector, and its address.
    pub(super) async fn start() -> (Self, String) {
        let collector = Self::default();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let service = TraceServiceServer::new(collector.clone());
        let serving = tonic::transport::Server::builder()
            .add_service(service)
            .serve_with_incoming(TcpIncoming::from(listener));
        tokio::spawn(serving);
        (collector, address)
    }

    fn spans(&self) -> Vec<Span> {
        let told = self.0.lock().unwrap();
        told.iter().flat_map(|of| &of.scope_spans).flat_map(|of| of.spans.clone()).collect()
    }
}

fn text(value: &str) -> Value {
    Value::StringValue(value.into())
}

fn attributes(of: &[KeyValue]) -> HashMap<&str, Value> {
    of.iter().map(|one| (&*one.key, one.value.clone().unwrap().value.unwrap())).collect()
}

fn id(bytes: &[u8]) -> u128 {
    bytes.iter().fold(0, |id, byte| id << 8 | u128::from(*byte))
}

/// Signs up a user as part of the caller's own trace, which is `sampled` or not.
async fn sign_up(client: &Client, user_id: &str, code: &str, sampled: bool) -> Result<(), Status> {
    let mut request = client.request(sign_up_request("referral-count", user_id, code));
    let parent = format!("00-{TRACE_ID:032x}-{PARENT_ID:016x}-0{}", i32::from(sampled));
    request.metadata_mut().insert("traceparent", parent.parse().unwrap());
    client.accounts().register_user(request).await.map(|_| ())
}

async fn start(database: &TestDatabase, endpoint: &str, more: &[&str]) -> Server {
    let arguments = ["--otlp-endpoint", endpoint].into_iter().chain(more.iter().copied());
    let arguments = arguments.map(str::to_owned).collect();
    Server::start_with(&database.url, &ServerOptions { arguments }).await
}

#[tokio::test]
async fn a_call_is_traced_below_its_caller_and_its_batch_is_linked_to_it() {
    let database = TestDatabase::new().await;
    let (collector, endpoint) = Collector::start().await;
    let server = start(&database, &endpoint, &[]).await;
    let client = server.client();
    client.publish_shipped("referral-count").await;
    sign_up(&client, "ada", "", true).await.unwrap();
    let refused = sign_up(&client, "cleo", "NOBODYS1", true).await.unwrap_err();
    assert_eq!(refused.code(), Code::NotFound);
    sign_up(&client, "bob", "", false).await.unwrap();
    let stream = client.watch("referral-count", "ada", "").await.unwrap();
    drop(stream);
    // A read that must see the sign-up waits for the fold.
    client.user("ada").await.unwrap();
    let folded = || collector.spans().iter().any(|span| span.name == "fold");
    let patience = Instant::now();
    while !folded() && patience.elapsed() < Duration::from_secs(15) {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    server.stop().await;

    let told = collector.0.lock().unwrap().clone();
    let resource = attributes(&told[0].resource.as_ref().unwrap().attributes).clone();
    assert_eq!(resource["service.name"], text("tributary"));
    assert_eq!(resource["service.version"], text(env!("CARGO_PKG_VERSION")));

    let spans = collector.spans();
    let calls: Vec<&Span> = spans.iter().filter(|span| id(&span.trace_id) == TRACE_ID).collect();
    // Bob's call was marked as not sampled.
    assert_eq!(calls.len(), 2, "{calls:#?}");
    for (call, code) in calls.iter().zip([Code::Ok, Code::NotFound]) {
        assert_eq!(id(&call.parent_span_id), PARENT_ID);
        assert_eq!(call.name, "tributary.v1.AccountService/RegisterUser");
        let told = attributes(&call.attributes);
        assert_eq!(told["rpc.system"], text("grpc"));
        assert_eq!(told["rpc.service"], text("tributary.v1.AccountService"));
        assert_eq!(told["rpc.method"], text("RegisterUser"));
        assert_eq!(told["rpc.grpc.status_code"], Value::IntValue(i64::from(i32::from(code))));
        // A refusal is not a failure of the server.
        assert_eq!(call.status.as_ref().map_or(0, |status| status.code), StatusCode::Unset as i32);
        assert!(call.end_time_unix_nano > call.start_time_unix_nano);
    }
    assert!(spans.iter().any(|span| span.name == "tributary.v1.RewardService/WatchEarnings"));

    let batch = spans
        .iter()
        .find(|span| span.links.iter().any(|link| link.span_id == calls[0].span_id))
        .expect("a batch is linked to the call");
    assert_eq!(batch.name, "append batch");
    assert_eq!(id(&batch.links[0].trace_id), TRACE_ID);
    let told = attributes(&batch.attributes);
    assert_eq!(told["tributary.commands"], Value::IntValue(1));
    let Value::IntValue(events) = told["tributary.events"] else { panic!("{told:?}") };
    let Value::IntValue(position) = told["tributary.position"] else { panic!("{told:?}") };
    assert!(events > 0 && position > events, "{told:?}");
    let last = "select max(position) from events where aggregate_id like '%ada%'";
    assert_eq!(position, database.count(last).await);

    let folds = spans.iter().filter(|span| span.name == "fold").map(|span| &span.attributes);
    let folds: Vec<_> = folds.map(|told| attributes(told)).collect();
    assert!(!folds.is_empty());
    for fold in folds {
        assert!(matches!(fold["tributary.events"], Value::IntValue(1..)), "{fold:?}");
        assert!(matches!(fold["tributary.position"], Value::IntValue(1..)), "{fold:?}");
    }

    let email = sign_up_request("referral-count", "ada", "").email;
    assert!(email.contains('@'), "{email}");
    let everything = format!("{told:?}", told = collector.0.lock().unwrap());
    for secret in [&email, "ada", "cleo", "NOBODYS1"] {
        assert!(!everything.contains(secret), "{secret} is in a span");
    }
    database.check().await;
}

#[tokio::test]
async fn of_calls_without_a_traced_caller_a_share_is_traced() {
    let database = TestDatabase::new().await;
    let (collector, endpoint) = Collector::start().await;
    let server = start(&database, &endpoint, &["--otlp-ratio", "0"]).await;
    let client = server.client();
    client.publish_shipped("referral-count").await;
    client.sign_up("referral-count", "ada", "").await.unwrap();
    sign_up(&client, "bob", "", true).await.unwrap();
    server.stop().await;
    let mut names: Vec<String> = collector.spans().into_iter().map(|span| span.name).collect();
    names.sort();
    assert_eq!(names, ["append batch", "tributary.v1.AccountService/RegisterUser"]);
}

#[tokio::test]
async fn a_collector_that_is_not_there_or_never_answers_holds_nothing_up() {
    let nobody = {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        free.local_addr().unwrap()
    };
    // The kernel accepts connections to it, but nothing answers.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    for collector in [nobody, silent.local_addr().unwrap()] {
        let database = TestDatabase::new().await;
        let server = start(&database, &format!("http://{collector}"), &[]).await;
        let client = server.client();
        client.publish_shipped("referral-count").await;
        for number in 0..20 {
            client.sign_up("referral-count", &format!("user-{number}"), "").await.unwrap();
        }
        let began = Instant::now();
        server.stop().await;
        assert!(began.elapsed() < STOP_TIMEOUT, "{:?}", began.elapsed());
        database.check().await;
    }
}

#[tokio::test]
async fn a_setting_of_traces_that_cannot_work_is_refused_at_the_start() {
    for (flag, value, complaint) in [
        (
            "--otlp-endpoint",
            "collector",
            "--otlp-endpoint (TRIBUTARY_OTLP_ENDPOINT): must be the address of a collector",
        ),
        (
            "--otlp-endpoint",
            "https://collector:4317",
            "--otlp-endpoint (TRIBUTARY_OTLP_ENDPOINT): cannot be https",
        ),
        ("--otlp-ratio", "1.5", "--otlp-ratio (TRIBUTARY_OTLP_RATIO): must be 0 to 1, not 1.5"),
    ] {
        let output = tributary()
            .args(["serve", flag, value])
            .env("DATABASE_URL", "postgres://nobody@127.0.0.1:1/nothing")
            .env("TRIBUTARY_ADMIN_KEY", "test_admin_key_0123456789")
            .stdout(Stdio::null())
            .output()
            .await
            .unwrap();
        let told = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success() && told.contains(complaint), "{told}");
    }
}
