//! What a browser does, without a screen: pages, their style and script, forms, and the streams that pages follow.

use std::pin::Pin;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body::Body;
use hyper::body::Incoming;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use crate::LoadError;

/// One connection to a server, with the cookie of whoever has signed in.
pub(super) struct Browser {
    address: String,
    cookie: String,
    requests: SendRequest<String>,
}

/// An answer, as it was sent: compressed if it was asked for so.
pub(super) struct Answer {
    pub(super) body: Vec<u8>,
    pub(super) status: StatusCode,
}

impl Answer {
    /// The body of an answer that is not compressed.
    pub(super) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

impl Browser {
    /// Connects to a server.
    pub(super) async fn open(address: &str, cookie: &str) -> Result<Self, LoadError> {
        let stream = TcpStream::connect(address).await.map_err(failed("connect"))?;
        stream.set_nodelay(true).map_err(failed("connect"))?;
        let (requests, connection) =
            handshake(TokioIo::new(stream)).await.map_err(failed("connect"))?;
        // It ends with the browser, or with the server.
        tokio::spawn(connection);
        Ok(Self { address: address.into(), cookie: cookie.into(), requests })
    }

    /// Signs in, and returns the cookie.
    pub(super) async fn sign_in(
        &mut self,
        username: &str,
        password: &str,
    ) -> Result<String, LoadError> {
        let page = self.get("/sign-in", false).await?.text();
        let token = between(&page, "name=\"form_token\" value=\"").unwrap_or_default();
        // None of them has a character that forms write otherwise, except the spaces of the password.
        let password = password.replace(' ', "+");
        let body = format!("form_token={token}&login={username}&password={password}");
        let request = self
            .request(Method::POST, "/sign-in")
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .header("sec-fetch-site", "same-origin")
            .body(body)
            .map_err(failed("sign in"))?;
        let answer = self.ask(request).await?;
        let mut cookies = answer.headers().get_all(header::SET_COOKIE).iter();
        let session = cookies.find_map(|cookie| {
            let cookie = cookie.to_str().ok()?.split(';').next()?;
            cookie.contains("session=").then(|| cookie.to_owned())
        });
        let status = answer.status();
        session
            .ok_or_else(|| failed("sign in")(format!("the answer was {status}, without a cookie")))
    }

    /// Fetches a page or what it refers to, compressed or not.
    pub(super) async fn get(&mut self, path: &str, gzip: bool) -> Result<Answer, LoadError> {
        let encoding = if gzip { "gzip" } else { "identity" };
        let request = self
            .request(Method::GET, path)
            .header(header::ACCEPT_ENCODING, encoding)
            .body(String::new())
            .map_err(failed("fetch a page"))?;
        let response = self.ask(request).await?;
        let status = response.status();
        let mut body = response.into_body();
        let mut bytes = Vec::new();
        while let Some(chunk) = next(&mut body).await? {
            bytes.extend_from_slice(&chunk);
        }
        Ok(Answer { status, body: bytes })
    }

    /// Follows what a page follows, on this connection.
    pub(super) async fn follow(mut self, path: &str) -> Result<Stream, LoadError> {
        let request = self
            .request(Method::GET, path)
            .header(header::ACCEPT, "text/event-stream")
            .body(String::new())
            .map_err(failed("follow a page"))?;
        let response = self.ask(request).await?;
        if response.status() != StatusCode::OK {
            return Err(failed("follow a page")(format!("the answer was {}", response.status())));
        }
        Ok(Stream { body: response.into_body(), text: Vec::new(), _browser: self })
    }

    fn request(&self, method: Method, path: &str) -> http::request::Builder {
        Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, &self.address)
            .header(header::COOKIE, &self.cookie)
    }

    async fn ask(&mut self, request: Request<String>) -> Result<Response<Incoming>, LoadError> {
        self.requests.ready().await.map_err(failed("make a request"))?;
        self.requests.send_request(request).await.map_err(failed("make a request"))
    }
}

/// A stream of server-sent events.
pub(super) struct Stream {
    body: Incoming,
    text: Vec<u8>,
    /// The connection.
    _browser: Browser,
}

impl Stream {
    /// The next message, without the empty line behind it; `None` once the stream has ended.
    pub(super) async fn message(&mut self) -> Result<Option<String>, LoadError> {
        loop {
            if let Some(end) = self.text.windows(2).position(|two| two == b"\n\n") {
                let message = String::from_utf8_lossy(&self.text[..end]).into_owned();
                self.text.drain(..end + 2);
                return Ok(Some(message));
            }
            match next(&mut self.body).await? {
                Some(chunk) => self.text.extend_from_slice(&chunk),
                None => return Ok(None),
            }
        }
    }
}

/// The next piece of a body.
async fn next(body: &mut Incoming) -> Result<Option<Bytes>, LoadError> {
    loop {
        let frame = std::future::poll_fn(|context| Pin::new(&mut *body).poll_frame(context)).await;
        let Some(frame) = frame else { return Ok(None) };
        // Trailers are none of ours.
        if let Ok(bytes) = frame.map_err(failed("read an answer"))?.into_data() {
            return Ok(Some(bytes));
        }
    }
}

/// What is in a page from here to the next quotation mark.
pub(super) fn between(page: &str, begin: &str) -> Option<String> {
    page.split_once(begin)?.1.split('"').next().map(|found| found.replace("&amp;", "&"))
}

/// Something that could not be done.
pub(super) fn failed<E: ToString>(what: &'static str) -> impl Fn(E) -> LoadError {
    move |error| LoadError::Call { what, reason: error.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_page_refers_to_is_found() {
        let page = r#"<body data-live="/live/x?a=1&amp;b=2" data-token="t">"#;
        assert_eq!(between(page, "data-live=\"").as_deref(), Some("/live/x?a=1&b=2"));
        assert_eq!(between(page, "data-none=\""), None);
    }
}
