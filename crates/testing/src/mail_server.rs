//! A mail server that keeps what it gets and fails as a test wants it: real SMTP over TCP, without TLS.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

/// How long a test waits for a mail.
const PATIENCE: Duration = Duration::from_mins(1);

/// A mail that was taken.
#[derive(Clone, Debug)]
pub struct Received {
    /// The address that it was sent to.
    pub to: String,
    /// The message, line by line.
    pub message: String,
}

impl Received {
    /// The value of a header; empty if it is not there.
    pub fn header(&self, name: &str) -> String {
        let head = self.message.split("\r\n\r\n").next().unwrap().replace("\r\n ", " ");
        let lines = head.split("\r\n").map(ToOwned::to_owned);
        let prefix = format!("{}:", name.to_ascii_lowercase());
        lines
            .filter(|line| line.to_ascii_lowercase().starts_with(&prefix))
            .map(|line| line[prefix.len()..].trim().to_owned())
            .next()
            .unwrap_or_default()
    }

    /// The message with its parts decoded, unless they are in base64.
    pub fn text(&self) -> String {
        let joined = self.message.replace("=\r\n", "");
        let mut bytes = Vec::with_capacity(joined.len());
        let mut rest = joined.as_bytes();
        while let Some((&byte, after)) = rest.split_first() {
            let hex = after.get(..2).and_then(|two| str::from_utf8(two).ok());
            match hex.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
                Some(decoded) if byte == b'=' => {
                    bytes.push(decoded);
                    rest = &after[2..];
                }
                _ => {
                    bytes.push(byte);
                    rest = after;
                }
            }
        }
        String::from_utf8_lossy(&bytes).replace("\r\n", "\n")
    }

    /// The link to a page of the server that the mail has in its text.
    pub fn link(&self, page: &str) -> String {
        let message = self.text();
        // The headers are not encoded as the parts are, and have the link in brackets.
        let (_, text) = message.split_once("\n\n").unwrap();
        let at = text.find(&format!("{page}?token=")).expect("a link");
        let begin = text[..at].rfind("http").unwrap();
        let end = text[at..].find(char::is_whitespace).unwrap();
        text[begin..at + end].to_owned()
    }
}

/// What the server does with the next mail.
#[derive(Clone, Copy, Debug)]
pub enum Act {
    /// Answers the recipient with this code.
    Refuse(u16),
    /// Takes the mail, and ends the connection in place of saying so.
    TakeSilently,
    /// Takes the mail, and says so after a time.
    Dawdle(Duration),
}

#[derive(Default)]
struct Inner {
    received: Vec<Received>,
    acts: VecDeque<Act>,
    connections: usize,
}

/// A mail server, which ends with the runtime of the test.
#[derive(Clone)]
pub struct MailServer {
    /// The port that it listens on.
    pub port: u16,
    inner: Arc<Mutex<Inner>>,
}

impl MailServer {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let inner = Arc::new(Mutex::new(Inner::default()));
        let shared = inner.clone();
        tokio::spawn(async move {
            while let Ok((connection, _)) = listener.accept().await {
                shared.lock().unwrap().connections += 1;
                let shared = shared.clone();
                tokio::spawn(async move {
                    let _ = converse(connection, &shared).await;
                });
            }
        });
        Self { port, inner }
    }

    /// The arguments of a server that sends its mails here.
    pub fn arguments(&self) -> Vec<String> {
        let url = format!("smtp://127.0.0.1:{}", self.port);
        [
            ["--smtp-url", &url],
            ["--mail-from", "Rewards <rewards@example.com>"],
            ["--public-url", "https://rewards.example.com"],
            ["--mail-first-pause-s", "1"],
            ["--mail-timeout-s", "5"],
        ]
        .concat()
        .into_iter()
        .map(ToOwned::to_owned)
        .collect()
    }

    /// What to do with the next mails.
    pub fn act(&self, acts: &[Act]) {
        self.inner.lock().unwrap().acts.extend(acts);
    }

    /// All mails that were taken.
    pub fn received(&self) -> Vec<Received> {
        self.inner.lock().unwrap().received.clone()
    }

    /// How often somebody has connected.
    pub fn connections(&self) -> usize {
        self.inner.lock().unwrap().connections
    }

    /// Waits for mails to an address, which must be so many in the end.
    pub async fn mails_to(&self, address: &str, count: usize) -> Vec<Received> {
        let found = self.mails_to_at_least(address, count).await;
        assert_eq!(found.len(), count, "{found:#?}");
        found
    }

    /// Waits for mails to an address, so many or more.
    pub async fn mails_to_at_least(&self, address: &str, count: usize) -> Vec<Received> {
        let mut found = Vec::new();
        let waiting = async {
            loop {
                found = self.received();
                found.retain(|mail| mail.to == address);
                if found.len() >= count {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let in_time = tokio::time::timeout(PATIENCE, waiting).await.is_ok();
        assert!(in_time, "{} mails to {address}: {:#?}", found.len(), self.received());
        found
    }
}

async fn converse(connection: TcpStream, inner: &Mutex<Inner>) -> std::io::Result<()> {
    let mut connection = BufReader::new(connection);
    connection.write_all(b"220 test ESMTP\r\n").await?;
    let (mut to, mut line) = (String::new(), String::new());
    let mut act = None;
    loop {
        line.clear();
        if connection.read_line(&mut line).await? == 0 {
            return Ok(());
        }
        let command = line.trim_end().to_owned();
        let upper = command.to_ascii_uppercase();
        if upper.starts_with("EHLO") {
            connection.write_all(b"250-test\r\n250-8BITMIME\r\n250 SMTPUTF8\r\n").await?;
        } else if upper.starts_with("RCPT TO:") {
            act = inner.lock().unwrap().acts.pop_front();
            to = command[8..].split('>').next().unwrap().trim_start_matches(['<', ' ']).to_owned();
            if let Some(Act::Refuse(code)) = act {
                // A server repeats the address, which must not get into logs.
                connection.write_all(format!("{code} 5.1.1 <{to}>: no\r\n").as_bytes()).await?;
            } else {
                connection.write_all(b"250 ok\r\n").await?;
            }
        } else if upper == "DATA" {
            connection.write_all(b"354 go on\r\n").await?;
            let mut message = String::new();
            loop {
                line.clear();
                if connection.read_line(&mut line).await? == 0 {
                    return Ok(());
                }
                if line == ".\r\n" {
                    break;
                }
                message.push_str(line.strip_prefix('.').unwrap_or(&line));
            }
            inner.lock().unwrap().received.push(Received { to: to.clone(), message });
            match act.take() {
                Some(Act::TakeSilently) => return Ok(()),
                Some(Act::Dawdle(time)) => tokio::time::sleep(time).await,
                _ => {}
            }
            connection.write_all(b"250 taken\r\n").await?;
        } else if upper == "QUIT" {
            return connection.write_all(b"221 bye\r\n").await;
        } else {
            connection.write_all(b"250 ok\r\n").await?;
        }
    }
}
