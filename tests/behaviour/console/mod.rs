//! The console, by its pages: what a browser gets and sends, without one.

mod celebration;
mod fraud;
mod keys;
mod live;
mod log;
mod many;
mod money;
mod names;
mod numbers;
mod operators;
mod pages;
mod participants;
mod program_view;
mod programs;
pub(super) mod security;
mod unsettled;

use testing::plain_http::{Answer, send};

use crate::support::*;
use testing::{Client, Server};

/// What browsers say of a form that was on a page of the same site.
const SAME_ORIGIN: &str = "sec-fetch-site: same-origin";
const FORM: &str = "content-type: application/x-www-form-urlencoded";
/// A password that keeps all rules.
pub(super) const PASSWORD: &str = "Correct-horse-1";

/// A browser: the address of the server, and its cookie.
pub(super) struct Browser {
    address: String,
    cookie: Option<String>,
}

impl Browser {
    pub(super) fn new(address: &str) -> Self {
        Self { address: address.into(), cookie: None }
    }

    pub(super) async fn ask(&mut self, line: &str, headers: &[&str], body: &str) -> Answer {
        let cookie = self.cookie.as_ref().map(|cookie| format!("cookie: {cookie}"));
        let mut all = headers.to_vec();
        all.extend(cookie.as_deref());
        all.push("accept: text/html");
        let answer = send(&self.address, line, &all, body.as_bytes()).await.unwrap();
        let set = answer.exact_header("set-cookie").unwrap_or_default();
        if let Some(value) = set.strip_prefix("session=") {
            let value = value.split(';').next().unwrap();
            self.cookie = (!value.is_empty()).then(|| format!("session={value}"));
        }
        answer
    }

    pub(super) async fn get(&mut self, path: &str) -> Answer {
        self.ask(&format!("GET {path}"), &[], "").await
    }

    /// A page that must be there.
    #[track_caller]
    pub(super) fn shown(answer: &Answer) -> String {
        assert_eq!(answer.status, 200, "{}: {}", answer.head, answer.text());
        answer.text()
    }

    /// Fills in the form of a page and sends it.
    async fn fill(&mut self, page: &str, action: &str, fields: &[(&str, &str)]) -> Answer {
        let html = self.get(page).await.text();
        let mut body = url::form_urlencoded::Serializer::new(String::new());
        for name in ["form_token", "request_id"] {
            // A form that is not on the page any more has the token that the page has.
            let value = hidden(&html, action, name).or_else(|| hidden(&html, "/theme", name));
            if let Some(value) = value {
                body.append_pair(name, &value);
            }
        }
        body.extend_pairs(fields);
        let body = body.finish();
        self.ask(&format!("POST {action}"), &[FORM, SAME_ORIGIN], &body).await
    }

    /// Signs up with a username and, if it is not empty, with a code. Signed in from then on.
    pub(super) async fn register(&mut self, username: &str, code: &str) -> Answer {
        let email = format!("{username}@example.com");
        let fields = [
            ("username", username),
            ("display_name", ""),
            ("email", &*email),
            ("password", PASSWORD),
            ("referral_code", code),
        ];
        self.fill("/register", "/register", &fields).await
    }

    pub(super) async fn sign_in(&mut self, login: &str, password: &str) -> Answer {
        let fields = [("login", login), ("password", password)];
        self.fill("/sign-in", "/sign-in", &fields).await
    }
}

/// Somebody who has signed in as operator, as `ada`.
async fn operator(server: &Server, client: &Client) -> Browser {
    let mut ada = Browser::new(&server.address);
    ada.register("ada", "").await;
    security::make_operator(client, "ada").await;
    ada.sign_in("ada", PASSWORD).await;
    ada
}

/// The value of a hidden field in the form with this action.
fn hidden(html: &str, action: &str, name: &str) -> Option<String> {
    let form = html.split("<form").find(|form| form.contains(&format!("action=\"{action}\"")))?;
    let field = form.split(&format!("name=\"{name}\" value=\"")).nth(1)?;
    Some(field.split('"').next()?.to_owned())
}

/// Takes part in a program, by a code unless it is empty.
async fn enroll(browser: &mut Browser, program_id: &str, code: &str) -> Answer {
    let action = format!("/programs/{program_id}");
    browser.fill("/programs", &action, &[("referral_code", code)]).await
}

/// The code of a user in a program.
async fn code_of(client: &Client, username: &str, program_id: &str) -> String {
    let found = contract::pb::FindUserRequest { username: username.into(), ..Default::default() };
    let found = client.accounts().find_user(client.request(found)).await.unwrap().into_inner();
    let participant = found.participants.iter().find(|of| of.program_id == program_id).unwrap();
    participant.code.clone()
}
