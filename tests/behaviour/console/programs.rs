//! Programs in the console: form and JSON, faults at their fields, what a change would be, publishing.

use contract::pb::{GetProgramRequest, ListProgramVersionsRequest, Program};

use super::*;

const LINES: &str = "multi-level-commission";
const EDITOR: &str = "/o/publish";

/// The fields of the form, as a browser would send them.
fn fields(html: &str) -> Vec<(String, String)> {
    let form = html.split("id=\"program-form\"").nth(1).unwrap().split("</form>").next().unwrap();
    let attribute = |tag: &str, name: &str| {
        let value = tag.split(&format!(" {name}=\"")).nth(1)?.split('"').next()?;
        Some(value.replace("&quot;", "\"").replace("&amp;", "&"))
    };
    let mut found = Vec::new();
    for tag in form.split('<').skip(1) {
        let tag = tag.split('>').next().unwrap();
        if tag.starts_with("select") {
            found.push((attribute(tag, "name").unwrap(), String::new()));
        } else if tag.starts_with("option") && tag.contains(" selected") {
            found.last_mut().unwrap().1 = attribute(tag, "value").unwrap();
        } else if tag.starts_with("input")
            && (!tag.contains("checkbox") || tag.contains(" checked"))
        {
            found.push((
                attribute(tag, "name").unwrap(),
                attribute(tag, "value").unwrap_or_default(),
            ));
        }
    }
    found
}

fn set(fields: &mut Vec<(String, String)>, name: &str, value: &str) {
    match fields.iter_mut().find(|(of, _)| of == name) {
        Some(field) => field.1 = value.into(),
        None => fields.push((name.into(), value.into())),
    }
}

async fn press(browser: &mut Browser, fields: &[(String, String)], button: &str) -> Answer {
    let mut body = url::form_urlencoded::Serializer::new(String::new());
    body.extend_pairs(fields);
    body.append_pair("do", button);
    let body = body.finish();
    browser.ask(&format!("POST {EDITOR}"), &[FORM, SAME_ORIGIN], &body).await
}

fn json_of(html: &str) -> String {
    let area = html.split("name=\"json\"").nth(1).unwrap();
    let text = area.split_once('>').unwrap().1.split("</textarea>").next().unwrap();
    text.replace("&quot;", "\"").replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
}

async fn current(client: &Client, program_id: &str) -> Program {
    let request = GetProgramRequest { program_id: program_id.into(), ..Default::default() };
    let answer = client.programs().get_program(client.request(request)).await.unwrap();
    answer.into_inner().program.unwrap()
}

#[tokio::test]
async fn a_program_is_changed_by_its_form_and_published_after_a_look_at_what_changes() {
    let (database, server, client) = server_with(&[LINES]).await;
    let mut stranger = Browser::new(&server.address);
    stranger.register("bob", "").await;
    for path in ["/o/programs", "/o/programs/multi-level-commission", EDITOR] {
        assert_eq!(stranger.get(path).await.status, 403, "{path}");
    }
    let mut ada = operator(&server, &client).await;
    let page = Browser::shown(&ada.get("/o/programs").await);
    assert!(page.contains("/o/programs/multi-level-commission"), "{page}");
    let page = Browser::shown(&ada.get(&format!("/o/programs/{LINES}")).await);
    assert!(page.contains("That is 1,000.00 INR."), "amounts in words: {page}");
    let of = |html: &str, name: &str| {
        let found = fields(html).into_iter().find(|(of, _)| of == name);
        found.map(|(_, value)| value).unwrap()
    };
    // As people write them; the JSON has what the contract has.
    assert_eq!(of(&page, "program.minimum_purchase_minor"), "1000.00");
    assert_eq!(of(&page, "program.rewards[1].rate_bps"), "1");
    assert!(json_of(&page).contains("\"minimum_purchase_minor\": 100000"), "{page}");
    assert!(json_of(&page).contains("\"rate_bps\": 100"), "{page}");
    let mut form = fields(&page);

    // All faults at once, each at its field: those of the form, and those of the API.
    set(&mut form, "program.hold_days", "a week");
    set(&mut form, "program.minimum_purchase_minor", "10.005");
    set(&mut form, "program.rewards[1].rate_bps", "20000");
    set(&mut form, "program.unit", "");
    let refused = press(&mut ada, &form, "preview").await;
    assert_eq!(refused.status, 422, "{}", refused.text());
    let page = refused.text();
    for place in [
        "program.hold_days",
        "program.minimum_purchase_minor",
        "program.rewards[1].rate_bps",
        "program.unit",
    ] {
        assert!(page.contains(&format!("id=\"{place}-fault\"")), "{place}: {page}");
        assert!(page.contains(&format!("href=\"#{place}\"")), "{place}: {page}");
    }
    assert!(page.contains("value=\"a week\""), "what was typed is kept");
    assert!(page.contains("together at most 100 percent"), "{page}");
    set(&mut form, "program.rewards[1].rate_bps", "2.005");
    let page = press(&mut ada, &form, "preview").await.text();
    assert!(page.contains("id=\"program.rewards[1].rate_bps-fault\""), "{page}");
    assert!(
        !page.contains("id=\"program.rewards[1].flat_minor-fault\""),
        "one fault for one mistake"
    );

    set(&mut form, "program.hold_days", "14");
    set(&mut form, "program.minimum_purchase_minor", "1000");
    set(&mut form, "program.rewards[1].rate_bps", "2%");
    set(&mut form, "program.unit", "EUR");
    set(&mut form, "program.purchase_currency_code", "EUR");
    let refused = press(&mut ada, &form, "check").await;
    assert_eq!(refused.status, 409, "{}", refused.text());
    assert!(refused.text().contains("id=\"program.unit-fault\""), "{}", refused.text());
    set(&mut form, "program.unit", "INR");
    set(&mut form, "program.purchase_currency_code", "INR");
    let checked = Browser::shown(&press(&mut ada, &form, "check").await);
    assert!(checked.contains("Nothing is wrong with it."), "{checked}");
    assert!(json_of(&checked).contains("\"hold_days\": 14"), "{checked}");
    assert_eq!(current(&client, LINES).await.version, 1, "nothing is published by looking");

    let preview = Browser::shown(&press(&mut ada, &form, "preview").await);
    for shown in
        ["hold_days", "rewards[upline-commission].rate_bps", "1%", "2%", "Publish version 2"]
    {
        assert!(preview.contains(shown), "{shown}: {preview}");
    }
    assert!(!preview.contains(">display_name<"), "only what differs: {preview}");
    let carried: Vec<(String, String)> = ["form_token", "request_id", "base", "of", "json"]
        .iter()
        .map(|name| {
            let value = hidden(&preview, EDITOR, name).unwrap();
            ((*name).to_owned(), value.replace("&quot;", "\""))
        })
        .collect();
    let published = press(&mut ada, &carried, "publish").await;
    assert_eq!(published.status, 303, "{}", published.text());
    let now = current(&client, LINES).await;
    assert_eq!((now.version, now.hold_days, now.rewards[1].rate_bps), (2, Some(14), Some(200)));
    // Sent twice, it is one version.
    assert_eq!(press(&mut ada, &carried, "publish").await.status, 303);
    assert_eq!(current(&client, LINES).await.version, 2);
    let page = Browser::shown(&ada.get(&format!("/o/programs/{LINES}/versions")).await);
    for shown in ["From version 1 to version 2", "hold_days", "2 versions"] {
        assert!(page.contains(shown), "{shown}: {page}");
    }
    // An older version is where one can begin again.
    let page = Browser::shown(&ada.get(&format!("/o/programs/{LINES}?version=1")).await);
    assert!(page.contains("This is version 1. Version 2 is in force"), "{page}");
    assert!(!json_of(&page).contains("hold_days"), "{page}");
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn a_program_is_written_as_json_and_its_rules_are_added_and_taken_away_by_buttons() {
    let (database, server, client) = server_with(&[]).await;
    let mut ada = operator(&server, &client).await;
    let page = Browser::shown(&ada.get("/o/programs").await);
    assert!(page.contains("There is no program yet"), "{page}");
    let page = Browser::shown(&ada.get(EDITOR).await);
    let token = hidden(&page, EDITOR, "form_token").unwrap();
    let json = |text: &str| {
        vec![
            ("form_token".to_owned(), token.clone()),
            ("request_id".to_owned(), "a-wish".to_owned()),
            ("base".to_owned(), "0".to_owned()),
            ("json".to_owned(), text.to_owned()),
        ]
    };
    let refused = press(&mut ada, &json("{\n\"unit\": }"), "check").await;
    assert_eq!(refused.status, 422);
    assert!(refused.text().contains("line 2"), "{}", refused.text());
    let refused = press(&mut ada, &json("{\"no_such_field\": 1}"), "check").await;
    assert!(refused.text().contains("no_such_field"), "{}", refused.text());
    // What is wrong with its content is at the fields of the form, which is made from it.
    let refused =
        press(&mut ada, &json("{\"program_id\": \"spring\", \"unit\": \"points\"}"), "check").await;
    assert_eq!(refused.status, 422);
    let page = refused.text();
    for place in ["program.unit", "program.attach", "program.earn_on", "program.leaderboard"] {
        assert!(page.contains(&format!("id=\"{place}-fault\"")), "{place}: {page}");
    }
    let mut form = fields(&page);
    for (name, value) in [
        ("program.unit", "POINTS"),
        ("program.attach", "ATTACH_POLICY_ANY_TIME"),
        ("program.earn_on", "EARN_ON_REFERRAL"),
        ("program.leaderboard", "LEADERBOARD_METRIC_POINTS"),
    ] {
        set(&mut form, name, value);
    }
    let page = Browser::shown(&press(&mut ada, &form, "add:program.rewards").await);
    let page = Browser::shown(&press(&mut ada, &fields(&page), "add:program.rewards").await);
    let mut form = fields(&page);
    for (name, value) in [
        ("program.rewards[1].rule", "thanks"),
        ("program.rewards[1].level", "1"),
        ("program.rewards[1].kind", "REWARD_KIND_POINTS"),
        ("program.rewards[1].flat_minor", "5"),
    ] {
        set(&mut form, name, value);
    }
    let page = Browser::shown(&press(&mut ada, &form, "remove:program.rewards[0]").await);
    let mut form = fields(&page);
    let sent = |form: &[(String, String)], name: &str| {
        form.iter().find(|(of, _)| of == name).map(|(_, value)| value.clone())
    };
    assert_eq!(sent(&form, "program.rewards[0].rule").as_deref(), Some("thanks"));
    assert_eq!(sent(&form, "program.rewards[1].rule"), None);
    set(&mut form, "program.fraud_checks.look_alike", "on");
    let preview = Browser::shown(&press(&mut ada, &form, "preview").await);
    assert!(preview.contains("spring becomes a program."), "{preview}");
    let text = hidden(&preview, EDITOR, "json").unwrap().replace("&quot;", "\"");
    // Somebody else publishes a program of this name meanwhile: it is not overwritten unseen.
    let mut theirs = contract::parse_program(&text).unwrap();
    theirs.display_name = "Theirs".into();
    client.publish(theirs).await.unwrap();
    let stopped = press(&mut ada, &json(&text), "publish").await;
    assert_eq!(stopped.status, 409, "{}", stopped.text());
    assert!(stopped.text().contains("Somebody has published version 1 meanwhile."));
    let mut again = json(&text);
    set(&mut again, "base", "1");
    set(&mut again, "of", "spring");
    assert_eq!(press(&mut ada, &again, "publish").await.status, 303);
    let now = current(&client, "spring").await;
    assert_eq!((now.version, &*now.display_name, now.rewards.len()), (2, "spring", 1));
    assert!(now.fraud_checks.unwrap().look_alike.is_some());
    let request = ListProgramVersionsRequest { program_id: "spring".into(), ..Default::default() };
    let versions = client.programs().list_program_versions(client.request(request)).await.unwrap();
    assert_eq!(versions.into_inner().programs.len(), 2);
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn of_two_operators_who_publish_at_once_one_is_shown_what_the_other_has_changed() {
    let (database, server, client) = server_with(&[LINES]).await;
    let mut ada = operator(&server, &client).await;
    let mut eve = Browser::new(&server.address);
    eve.sign_in("ada", PASSWORD).await;
    let own = current(&client, LINES).await;
    let form = async |browser: &mut Browser, name: &str| {
        let page = Browser::shown(&browser.get(EDITOR).await);
        let program = Program { display_name: name.into(), ..own.clone() };
        let fields = [
            ("form_token", hidden(&page, EDITOR, "form_token").unwrap()),
            ("request_id", format!("wish-of-{name}")),
            ("base", "1".to_owned()),
            ("of", LINES.to_owned()),
            ("json", ::console::program::json(&program)),
        ];
        fields.map(|(name, value)| (name.to_owned(), value))
    };
    let (adas, eves) = (form(&mut ada, "Ada").await, form(&mut eve, "Eve").await);
    let (first, second) =
        tokio::join!(press(&mut ada, &adas, "publish"), press(&mut eve, &eves, "publish"));
    let mut codes = [first.status, second.status];
    codes.sort_unstable();
    assert_eq!(codes, [303, 409], "{} {}", first.text(), second.text());
    let refused = if first.status == 409 { first } else { second };
    assert!(refused.text().contains("Somebody has published version 2 meanwhile."));
    assert_eq!(current(&client, LINES).await.version, 2, "nothing was overwritten");
    server.stop().await;
    database.check().await;
}
