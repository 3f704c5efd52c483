//! Plain HTTP/1.1, as a browser, curl or an orchestrator speaks it, without a client library.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// The answer of a server.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    /// The headers, in lower case.
    pub head: String,
    /// The headers as they were sent.
    pub exact_head: String,
    pub body: Vec<u8>,
}

impl Answer {
    fn read(bytes: &[u8]) -> Option<Self> {
        let end = bytes.windows(4).position(|four| four == b"\r\n\r\n")?;
        let exact_head = str::from_utf8(&bytes[..end]).ok()?.to_owned();
        let head = exact_head.to_ascii_lowercase();
        let status = head.split(' ').nth(1)?.parse().ok()?;
        Some(Self { status, head, exact_head, body: bytes[end + 4..].to_vec() })
    }

    /// The value of a header, if it is there.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.find(|(of, _)| *of == name).map(|(_, value)| value)
    }

    /// The value of a header as it was sent, if it is there.
    pub fn exact_header(&self, name: &str) -> Option<&str> {
        let mut lines = self.exact_head.lines().filter_map(|line| line.split_once(": "));
        lines.find(|(of, _)| of.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// Sends a request on a new connection. `headers` are whole lines without line ends.
pub async fn send(
    address: &str,
    line: &str,
    headers: &[&str],
    body: &[u8],
) -> std::io::Result<Answer> {
    let mut connection = TcpStream::connect(address).await?;
    let headers: String = headers.iter().flat_map(|header| [*header, "\r\n"]).collect();
    let request = format!(
        "{line} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\
         content-length: {}\r\n{headers}\r\n",
        body.len(),
    );
    connection.write_all(&[request.as_bytes(), body].concat()).await?;
    let mut bytes = Vec::new();
    connection.read_to_end(&mut bytes).await?;
    Answer::read(&bytes).ok_or_else(|| std::io::Error::other("no answer of HTTP/1.1"))
}

/// Gets a path.
pub async fn get(address: &str, path: &str, headers: &[&str]) -> std::io::Result<Answer> {
    send(address, &format!("GET {path}"), headers, b"").await
}
