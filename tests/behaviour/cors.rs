//! Pages of named origins can call the API from a browser by gRPC-Web, and no other page can.

use contract::pb::ListProgramsRequest;
use prost::Message;
use tonic::body::Body;
use tower::ServiceExt;

use testing::plain_http::{Answer, send};
use testing::{ADMIN_KEY, Server, ServerOptions, TestDatabase, serve};

const PATH: &str = "/tributary.v1.ProgramService/ListPrograms";
const SHOP: &str = "https://shop.example";
const STRANGER: &str = "https://stranger.example";

async fn server(origins: Option<&str>) -> (TestDatabase, Server) {
    let database = TestDatabase::new().await;
    let arguments = origins.map(|origins| vec!["--cors-origins".to_owned(), origins.to_owned()]);
    let options = ServerOptions { arguments: arguments.unwrap_or_default() };
    let server = Server::start_with(&database.url, &options).await;
    (database, server)
}

/// What a browser asks before a page may make a call.
async fn preflight(server: &Server, origin: &str) -> Answer {
    let origin = format!("origin: {origin}");
    let headers = [
        &*origin,
        "access-control-request-method: POST",
        "access-control-request-headers: authorization,content-type,x-grpc-web,x-user-agent",
    ];
    send(&server.address, &format!("OPTIONS {PATH}"), &headers, b"").await.unwrap()
}

/// The call of a page.
async fn call(server: &Server, origin: &str, key: &str) -> Answer {
    let message = ListProgramsRequest::default().encode_to_vec();
    let length = u32::try_from(message.len()).unwrap().to_be_bytes();
    let body = [&[0][..], &length, &message].concat();
    let (origin, key) = (format!("origin: {origin}"), format!("authorization: Bearer {key}"));
    let kind = "content-type: application/grpc-web+proto";
    let headers = [&*origin, &*key, kind, "x-grpc-web: 1"];
    send(&server.address, &format!("POST {PATH}"), &headers, &body).await.unwrap()
}

#[track_caller]
fn is_not_shared(answer: &Answer) {
    assert!(!answer.head.contains("access-control-"), "{answer:?}");
}

#[tokio::test]
async fn a_page_of_an_allowed_origin_can_call_and_read_how_the_call_ended() {
    let (database, server) = server(Some("http://localhost:3000,https://shop.example")).await;
    for origin in [SHOP, "http://localhost:3000"] {
        let asked = preflight(&server, origin).await;
        assert_eq!((asked.status, &*asked.body), (204, &b""[..]), "{asked:?}");
        assert_eq!(asked.header("access-control-allow-origin"), Some(origin));
        assert_eq!(asked.header("access-control-allow-methods"), Some("post"));
        let headers = asked.header("access-control-allow-headers").unwrap();
        for name in ["authorization", "content-type", "grpc-timeout", "x-grpc-web", "x-user-agent"]
        {
            assert!(headers.split(", ").any(|allowed| allowed == name), "{name}: {headers}");
        }
        assert_eq!(asked.header("vary"), Some("origin"));
        assert_eq!(asked.header("access-control-allow-credentials"), None);

        // The outcome is in the trailers of a call that succeeds, and in the headers of one that fails.
        for (key, status) in [(ADMIN_KEY, None), ("wrong", Some("16"))] {
            let answer = call(&server, origin, key).await;
            assert_eq!((answer.status, answer.header("grpc-status")), (200, status), "{answer:?}");
            assert_eq!(answer.header("access-control-allow-origin"), Some(origin));
            let exposed = answer.header("access-control-expose-headers").unwrap();
            for name in ["grpc-status", "grpc-message", "grpc-status-details-bin"] {
                assert!(exposed.split(", ").any(|header| header == name), "{name}: {exposed}");
            }
        }
    }
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn pages_of_other_origins_and_without_the_setting_of_any_are_not_allowed() {
    let (_database, allowing) = server(Some(SHOP)).await;
    let (_other_database, silent) = server(None).await;
    let near =
        ["http://shop.example", "https://shop.example:8443", "https://a.shop.example", "null"];
    for origin in near.into_iter().chain([STRANGER, "https://SHOP.example", "*"]) {
        let asked = preflight(&allowing, origin).await;
        assert_eq!(asked.status, 405, "{origin}: {asked:?}");
        is_not_shared(&asked);
        // A browser does not get as far as this without a preflight, and lets no page read the answer.
        is_not_shared(&call(&allowing, origin, ADMIN_KEY).await);
    }
    assert_eq!(preflight(&silent, SHOP).await.status, 405);
    is_not_shared(&preflight(&silent, SHOP).await);
    is_not_shared(&call(&silent, SHOP, ADMIN_KEY).await);

    // Plain gRPC is not for browsers, and plain HTTP not for other pages.
    let request = http::Request::post(PATH)
        .header("content-type", "application/grpc")
        .header("origin", SHOP)
        .body(Body::empty())
        .unwrap();
    let answer = allowing.client().channel().oneshot(request).await.unwrap();
    assert!(!answer.headers().contains_key("access-control-allow-origin"), "{answer:?}");
    let origin = format!("origin: {SHOP}");
    is_not_shared(&send(&allowing.address, "GET /livez", &[&origin], b"").await.unwrap());
    allowing.stop().await;
    silent.stop().await;
}

#[tokio::test]
async fn a_server_does_not_start_with_what_no_browser_sends_as_an_origin() {
    for (origins, said) in [
        ("https://shop.example/", "write https://shop.example"),
        ("https://shop.example,*", "'*' is not an origin"),
        ("shop.example", "is not an origin such as https://"),
    ] {
        let arguments = vec!["--cors-origins".to_owned(), origins.to_owned()];
        let mut command = serve("postgres://127.0.0.1:1/none", &ServerOptions { arguments });
        let output = command.output().await.unwrap();
        let error = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success() && error.contains(said), "{origins}: {error}");
    }
}
