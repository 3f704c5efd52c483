//! Forms whose outcome nobody can tell: none is lost, and sending it again is the same command.

use std::time::Duration;

use contract::pb::*;
use testing::{Proxy, Server, ServerOptions, TestDatabase};

use super::*;
use crate::payouts::balances;

const LINES: &str = "multi-level-commission";
/// How often a form is sent again until the server has its database back.
const TRIES: usize = 200;

/// A form with these fields, as a browser sends it.
async fn post(browser: &mut Browser, path: &str, fields: &[(String, String)]) -> Answer {
    let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
    browser.ask(&format!("POST {path}"), &[FORM, SAME_ORIGIN], &body).await
}

/// The fields of the form that sends again what was sent, with its hidden values only.
fn again(html: &str) -> Vec<(String, String)> {
    let form = html.split("id=\"again\"").nth(1).unwrap_or_else(|| panic!("no form: {html}"));
    let form = form.split("</form>").next().unwrap();
    let hidden = form.split("type=\"hidden\" name=\"").skip(1).map(|tag| {
        let (name, rest) = tag.split_once("\" value=\"").unwrap();
        (name.to_owned(), rest.split('"').next().unwrap().to_owned())
    });
    hidden.collect()
}

fn value<'a>(fields: &'a [(String, String)], name: &str) -> &'a str {
    let found = fields.iter().find(|(of, _)| of == name);
    found.map_or_else(|| panic!("{name} is lost: {fields:?}"), |(_, value)| value)
}

#[tokio::test]
async fn a_form_whose_outcome_is_unknown_is_sent_again_as_the_same_command() {
    let database = TestDatabase::new().await;
    let proxy = Proxy::start(&database).await;
    let server = Server::start_with(&proxy.url, &ServerOptions::default()).await;
    let client = server.client();
    client.publish_shipped(LINES).await;
    client.sign_up(LINES, "ana", "").await.unwrap();
    let mut ada = operator(&server, &client).await;
    let path = &*format!("/o/users/ana/balance/{LINES}");
    let page = Browser::shown(&ada.get(path).await);
    let sent: Vec<(String, String)> = [
        ("form_token", &*hidden(&page, path, "form_token").unwrap()),
        ("request_id", "one-wish"),
        ("amount", "12.50"),
        ("reason_code", "goodwill"),
        ("note", "for \"patience\""),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into();

    proxy.cut_off();
    let lost = post(&mut ada, path, &sent).await;
    assert_eq!(lost.status, 503, "{}", lost.text());
    let html = lost.text();
    assert!(html.contains("It is not known whether this was done"), "{html}");
    assert!(!html.contains("Nothing is lost") && !html.contains("Nothing was changed"), "{html}");
    let fields = again(&html);
    assert_eq!(value(&fields, "request_id"), "one-wish");
    assert_eq!(value(&fields, "amount"), "12.50");
    assert_eq!(value(&fields, "note"), "for &quot;patience&quot;");
    // Again while the database is away: the form is handed on.
    let lost = post(&mut ada, path, &fields).await;
    assert_eq!(value(&again(&lost.text()), "request_id"), "one-wish");

    proxy.heal();
    let mut fields = again(&lost.text());
    for (_, value) in &mut fields {
        *value = value.replace("&quot;", "\"");
    }
    let mut code = 0;
    for _ in 0..TRIES {
        code = post(&mut ada, path, &fields).await.status;
        if code == 303 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(code, 303);
    // Whoever presses the button once more has not paid twice.
    assert_eq!(post(&mut ada, path, &fields).await.status, 303);
    assert_eq!(balances(&client, "ana").await.0, 1_250);
    let request = ListBalanceEntriesRequest {
        program_id: LINES.into(),
        user_id: "ana".into(),
        ..Default::default()
    };
    let entries = client.rewards().list_balance_entries(client.request(request)).await.unwrap();
    assert_eq!(entries.into_inner().entries.len(), 1);
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn a_password_is_in_no_page_that_sends_a_form_again() {
    let database = TestDatabase::new().await;
    let proxy = Proxy::start(&database).await;
    let server = Server::start_with(&proxy.url, &ServerOptions::default()).await;
    let mut eve = Browser::new(&server.address);
    let page = Browser::shown(&eve.get("/register").await);
    let sent: Vec<(String, String)> = [
        ("form_token", &*hidden(&page, "/register", "form_token").unwrap()),
        ("request_id", "a-sign-up"),
        ("username", "eve"),
        ("email", "eve@example.com"),
        ("password", PASSWORD),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into();
    proxy.cut_off();
    let html = post(&mut eve, "/register", &sent).await.text();
    assert!(!html.contains(PASSWORD), "{html}");
    assert!(html.contains("type=\"password\""), "it is typed once more: {html}");
    let mut fields = again(&html);
    assert_eq!(value(&fields, "request_id"), "a-sign-up");
    assert_eq!(value(&fields, "username"), "eve");
    fields.push(("password".into(), PASSWORD.into()));
    proxy.heal();
    let mut code = 0;
    for _ in 0..TRIES {
        code = post(&mut eve, "/register", &fields).await.status;
        if code == 303 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(code, 303);
    server.stop().await;
    database.check().await;
}
