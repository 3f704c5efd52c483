//! Media types of gRPC.

use http::{HeaderMap, HeaderValue, header};

/// The content type of a request, if it is one of gRPC that the server understands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::api) enum Grpc {
    /// gRPC, which needs HTTP/2.
    Plain,
    /// gRPC-Web, in binary or in base64, which works over any HTTP. The value is the name that the layer for
    /// gRPC-Web knows.
    Web(&'static str),
}

impl Grpc {
    /// The kind of gRPC that a request speaks; none if it speaks another protocol.
    pub(in crate::api) fn of(headers: &HeaderMap) -> Option<Self> {
        // Types and subtypes are compared without regard to case. Parameters do not matter.
        let kind = headers.get(header::CONTENT_TYPE)?.to_str().ok()?;
        let kind = kind.split(';').next().unwrap_or_default().trim();
        let is = |name: &&str| kind.eq_ignore_ascii_case(name);
        if ["application/grpc", "application/grpc+proto"].iter().any(is) {
            return Some(Self::Plain);
        }
        let names = [
            "application/grpc-web",
            "application/grpc-web+proto",
            "application/grpc-web-text",
            "application/grpc-web-text+proto",
        ];
        names.into_iter().find(|name| is(name)).map(Self::Web)
    }

    /// The content type of a refusal without messages.
    pub(in crate::api) fn content_type(self) -> HeaderValue {
        HeaderValue::from_static(match self {
            Self::Plain => "application/grpc",
            Self::Web(name) => name,
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

    use super::*;

    fn of(kind: &str) -> Option<Grpc> {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, kind.parse().unwrap());
        Grpc::of(&headers)
    }

    #[test]
    fn media_types_are_compared_as_a_whole_and_without_regard_to_case() {
        assert_eq!(of("application/grpc"), Some(Grpc::Plain));
        assert_eq!(of("Application/gRPC+Proto"), Some(Grpc::Plain));
        assert_eq!(of("application/grpc ; charset=utf-8"), Some(Grpc::Plain));
        assert_eq!(of("APPLICATION/GRPC-WEB"), Some(Grpc::Web("application/grpc-web")));
        let text = Some(Grpc::Web("application/grpc-web-text+proto"));
        assert_eq!(of("application/grpc-web-text+proto;x=y"), text);
        for other in [
            "application/grpcfoo",
            "application/grpc+json",
            "application/grpc-web+json",
            "application/grpc-webtext",
            "text/grpc",
            "application/json",
            "",
        ] {
            assert_eq!(of(other), None, "{other}");
        }
        assert_eq!(Grpc::of(&HeaderMap::new()), None);
    }
}
