//! Reflection with comments, health, and gRPC-Web over HTTP/1.1, for tools and browsers.

use std::collections::BTreeMap;

use contract::pb::*;
use prost::Message;
use prost_types::FileDescriptorProto;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tonic::Code;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use super::support::{PATIENCE, minor, server_with};
use testing::{ADMIN_KEY, Server};

const SERVICES: &[&str] = &[
    "tributary.v1.AccountService",
    "tributary.v1.ProgramService",
    "tributary.v1.PurchaseService",
    "tributary.v1.ReferralService",
    "tributary.v1.RewardService",
    "tributary.v1.StoreService",
];

/// Defines the calls of one version of the reflection service.
macro_rules! reflection {
    ($name:ident) => {
        pub(super) mod $name {
            use prost::Message;
            use prost_types::FileDescriptorProto;
            use tonic::transport::Channel;
            use tonic_reflection::pb::$name::server_reflection_client::ServerReflectionClient;
            use tonic_reflection::pb::$name::server_reflection_request::MessageRequest;
            use tonic_reflection::pb::$name::server_reflection_response::MessageResponse;
            use tonic_reflection::pb::$name::*;

            async fn ask(channel: Channel, question: MessageRequest) -> MessageResponse {
                let request = ServerReflectionRequest {
                    host: String::new(),
                    message_request: Some(question),
                };
                let requests = tokio_stream::iter([request]);
                let mut client = ServerReflectionClient::new(channel);
                let answers = client.server_reflection_info(requests).await.unwrap();
                let answer = answers.into_inner().message().await.unwrap().unwrap();
                answer.message_response.unwrap()
            }

            pub async fn services(channel: Channel) -> Vec<String> {
                let answer = ask(channel, MessageRequest::ListServices(String::new())).await;
                let MessageResponse::ListServicesResponse(list) = answer else {
                    panic!("not a list of services: {answer:?}");
                };
                list.service.into_iter().map(|service| service.name).collect()
            }

            fn files(answer: MessageResponse) -> Vec<FileDescriptorProto> {
                let MessageResponse::FileDescriptorResponse(files) = answer else {
                    panic!("not files: {answer:?}");
                };
                let files = files.file_descriptor_proto.iter();
                files.map(|file| FileDescriptorProto::decode(&**file).unwrap()).collect()
            }

            pub async fn with_symbol(channel: Channel, name: &str) -> Vec<FileDescriptorProto> {
                files(ask(channel, MessageRequest::FileContainingSymbol(name.into())).await)
            }

            pub async fn named(channel: Channel, name: &str) -> Vec<FileDescriptorProto> {
                files(ask(channel, MessageRequest::FileByFilename(name.into())).await)
            }
        }
    };
}

reflection!(v1);
reflection!(v1alpha);

/// The places in a file that have a comment before them.
fn commented(file: &FileDescriptorProto) -> BTreeMap<Vec<i32>, String> {
    let info = file.source_code_info.clone().expect("the file has its comments");
    let commented = info.location.into_iter();
    commented
        .filter_map(|location| Some((location.path, location.leading_comments?)))
        .filter(|(_, comment)| !comment.trim().is_empty())
        .collect()
}

/// Checks that every service, RPC, message, field, enum and value of a file has a comment.
#[track_caller]
fn is_commented(file: &FileDescriptorProto) {
    // The numbers of these fields in a file descriptor, which make up the paths of its places.
    const MESSAGES: i32 = 4;
    const ENUMS: i32 = 5;
    const SERVICES: i32 = 6;
    let comments = commented(file);
    let has = |path: &[usize], first: i32, name: &str| {
        let mut path: Vec<i32> = path.iter().map(|&at| i32::try_from(at).unwrap()).collect();
        path[0] = first;
        assert!(comments.contains_key(&path), "{name} in {} has no comment", file.name());
    };
    for (index, service) in file.service.iter().enumerate() {
        has(&[0, index], SERVICES, service.name());
        for (at, rpc) in service.method.iter().enumerate() {
            has(&[0, index, 2, at], SERVICES, rpc.name());
        }
    }
    for (index, message) in file.message_type.iter().enumerate() {
        has(&[0, index], MESSAGES, message.name());
        for (at, field) in message.field.iter().enumerate() {
            has(&[0, index, 2, at], MESSAGES, field.name());
        }
    }
    for (index, of) in file.enum_type.iter().enumerate() {
        has(&[0, index], ENUMS, of.name());
        for (at, value) in of.value.iter().enumerate() {
            has(&[0, index, 2, at], ENUMS, value.name());
        }
    }
}

/// Asks one version of reflection for everything.
macro_rules! reflects {
    ($name:ident) => {{
        let (database, server, _) = server_with(&[]).await;
        // Reflection needs no key.
        let channel = server.separate_client(None).await.channel();
        let services = $name::services(channel.clone()).await;
        for service in SERVICES.iter().chain(&["grpc.health.v1.Health"]) {
            assert!(services.iter().any(|of| of == service), "{service} is not in {services:?}");
            let files = $name::with_symbol(channel.clone(), service).await;
            let (package, name) = service.rsplit_once('.').unwrap();
            let file = files
                .iter()
                .find(|file| file.service.iter().any(|of| of.name() == name))
                .expect("the file of the service");
            assert_eq!(file.package(), package);
            if package != "tributary.v1" {
                continue;
            }
            is_commented(file);
            // A tool finds the dependencies of a file, and these are commented, too.
            for dependency in &file.dependency {
                let files = $name::named(channel.clone(), dependency).await;
                let file = files.iter().find(|of| of.name() == dependency).expect(dependency);
                if file.package() == "tributary.v1" {
                    is_commented(file);
                }
            }
        }
        for symbol in ["tributary.v1.Money", "tributary.v1.AccountService.RegisterUser"] {
            assert!(!$name::with_symbol(channel.clone(), symbol).await.is_empty());
        }
        let reasons = $name::with_symbol(channel, "tributary.v1.ErrorReason").await;
        is_commented(&reasons[0]);
        server.stop().await;
        database.check().await;
    }};
}

#[tokio::test]
async fn reflection_v1_shows_all_services_with_their_comments() {
    reflects!(v1);
}

#[tokio::test]
async fn reflection_v1alpha_shows_all_services_with_their_comments() {
    reflects!(v1alpha);
}

#[tokio::test]
async fn the_server_and_each_of_its_services_is_healthy() {
    let (database, server, _) = server_with(&[]).await;
    let mut health = HealthClient::new(server.separate_client(None).await.channel());
    for service in SERVICES.iter().chain(&[""]) {
        let request = HealthCheckRequest { service: (*service).into() };
        let answer = health.check(request).await.unwrap().into_inner();
        assert_eq!(answer.status(), ServingStatus::Serving, "{service}");
    }
    let request = HealthCheckRequest { service: "tributary.v1.NoService".into() };
    assert_eq!(health.check(request).await.unwrap_err().code(), Code::NotFound);
    server.stop().await;
    database.check().await;
}

/// A call as a browser makes it, over HTTP/1.1.
struct WebCall {
    connection: TcpStream,
    /// What has been read of the body, without the framing of HTTP.
    body: Vec<u8>,
    unread: Vec<u8>,
    pub head: String,
}

impl WebCall {
    async fn send(server: &Server, rpc: &str, key: Option<&str>, message: &[u8]) -> Self {
        let mut connection = TcpStream::connect(&server.address).await.unwrap();
        let key = key.map(|key| format!("authorization: Bearer {key}\r\n")).unwrap_or_default();
        let head = format!(
            "POST /tributary.v1.{rpc} HTTP/1.1\r\nhost: {}\r\n\
             content-type: application/grpc-web+proto\r\naccept: application/grpc-web+proto\r\n\
             x-grpc-web: 1\r\n{key}content-length: {}\r\n\r\n",
            server.address,
            message.len() + 5,
        );
        connection.write_all(head.as_bytes()).await.unwrap();
        let length = u32::try_from(message.len()).unwrap();
        connection.write_all(&[&[0][..], &length.to_be_bytes(), message].concat()).await.unwrap();

        let mut call =
            Self { connection, body: Vec::new(), unread: Vec::new(), head: String::new() };
        let end = loop {
            if let Some(at) = call.unread.windows(4).position(|four| four == b"\r\n\r\n") {
                break at;
            }
            call.read().await;
        };
        call.head = String::from_utf8(call.unread.drain(..end + 4).collect()).unwrap();
        call.head.make_ascii_lowercase();
        call
    }

    async fn read(&mut self) {
        let mut buffer = [0; 4_096];
        let read = tokio::time::timeout(PATIENCE, self.connection.read(&mut buffer)).await;
        let read = read.expect("an answer in time").unwrap();
        assert_ne!(read, 0, "the answer ended too early: {}", self.head);
        self.unread.extend(&buffer[..read]);
    }

    /// Moves whole chunks to the body.
    fn unchunk(&mut self) {
        while let Some(line) = self.unread.windows(2).position(|two| two == b"\r\n") {
            let size = str::from_utf8(&self.unread[..line]).unwrap();
            let size = usize::from_str_radix(size, 16).unwrap();
            if self.unread.len() < line + 2 + size + 2 {
                return;
            }
            self.body.extend(&self.unread[line + 2..line + 2 + size]);
            self.unread.drain(..line + 2 + size + 2);
        }
    }

    /// The next frame of gRPC-Web: whether it has trailers, and what is in it.
    async fn frame(&mut self) -> (bool, Vec<u8>) {
        assert!(self.head.contains("transfer-encoding: chunked"), "{}", self.head);
        loop {
            self.unchunk();
            if self.body.len() >= 5 {
                let length = u32::from_be_bytes(self.body[1..5].try_into().unwrap());
                let end = 5 + usize::try_from(length).unwrap();
                if self.body.len() >= end {
                    let frame: Vec<u8> = self.body.drain(..end).collect();
                    return (frame[0] & 0x80 != 0, frame[5..].to_vec());
                }
            }
            self.read().await;
        }
    }

    /// The status of the call, from the headers or the trailers.
    async fn status(&mut self) -> String {
        let trailers = if self.head.contains("grpc-status") {
            self.head.clone()
        } else {
            let (is_trailers, text) = self.frame().await;
            assert!(is_trailers, "a message where the end should be");
            String::from_utf8(text).unwrap().to_lowercase()
        };
        let status = trailers.lines().find_map(|line| line.strip_prefix("grpc-status:"));
        status.expect("a status").trim().to_owned()
    }
}

#[tokio::test]
async fn a_browser_calls_over_http_1() {
    let (database, server, client) = server_with(&["referral-count"]).await;
    let request = sign_up("ada", "");
    let rpc = "AccountService/RegisterUser";
    let mut call = WebCall::send(&server, rpc, Some(ADMIN_KEY), &request.encode_to_vec()).await;
    assert!(call.head.starts_with("http/1.1 200"), "{}", call.head);
    assert!(call.head.contains("content-type: application/grpc-web"), "{}", call.head);
    let (is_trailers, message) = call.frame().await;
    assert!(!is_trailers);
    let answer = RegisterUserResponse::decode(&*message).unwrap();
    assert_eq!(call.status().await, "0");
    assert_eq!(client.user("ada").await.unwrap().user, answer.user);

    // Refusals have a form that browsers can read.
    let again = request.encode_to_vec();
    let mut call = WebCall::send(&server, rpc, Some(ADMIN_KEY), &again).await;
    assert!(call.head.contains("content-type: application/grpc-web"), "{}", call.head);
    assert_eq!(call.status().await, "6");
    let get = GetUserRequest { user_id: "ada".into(), ..Default::default() }.encode_to_vec();
    for key in [None, Some("wrong")] {
        let mut call = WebCall::send(&server, "AccountService/GetUser", key, &get).await;
        assert!(call.head.contains("content-type: application/grpc-web"), "{}", call.head);
        assert_eq!(call.status().await, "16");
    }
    let mut call = WebCall::send(&server, "AccountService/GetUsers", Some(ADMIN_KEY), &get).await;
    assert_eq!(call.status().await, "12");
    let mut call = WebCall::send(&server, "AccountService/GetUser", Some(ADMIN_KEY), &[0xff]).await;
    assert_eq!(call.status().await, "3");
    server.stop().await;
    database.check().await;
}

fn sign_up(user_id: &str, code: &str) -> RegisterUserRequest {
    testing::sign_up_request("referral-count", user_id, code)
}

#[tokio::test]
async fn a_browser_watches_earnings_over_http_1() {
    let (database, server, client) = server_with(&["referral-count"]).await;
    let ada = client.sign_up("referral-count", "ada", "").await.unwrap();
    let watch = WatchEarningsRequest {
        program_id: "referral-count".into(),
        user_id: "ada".into(),
        resume_token: String::new(),
    };
    let watch = watch.encode_to_vec();
    let rpc = "RewardService/WatchEarnings";
    let mut call = WebCall::send(&server, rpc, Some(ADMIN_KEY), &watch).await;
    let first = WatchEarningsResponse::decode(&*call.frame().await.1).unwrap();
    assert!(first.reward.is_none() && !first.resume_token.is_empty());
    for count in 1..=3 {
        client.register(sign_up(&format!("friend-{count}"), &ada.code)).await.unwrap();
        let (is_trailers, message) = call.frame().await;
        assert!(!is_trailers);
        let message = WatchEarningsResponse::decode(&*message).unwrap();
        assert_eq!(minor(message.total.as_ref()), count);
    }
    server.stop().await;
    assert_eq!(call.status().await, "14");
    database.check().await;
}
