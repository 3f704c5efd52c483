//! The page of operators about one program.

use super::security::make_operator;
use super::*;

const BONUS: &str = "first-purchase-bonus";
const COUNT: &str = "referral-count";

/// The value of a counter.
fn counter(page: &str, id: &str) -> String {
    text(page.split(&format!("id=\"{id}\"")).nth(1).unwrap().split("data-marked>").nth(1).unwrap())
}

/// The row of a table or list that begins with the link to somebody.
fn row_of(page: &str, part: &str, user_id: &str) -> String {
    let part = page.split(&format!("id=\"{part}\"")).nth(1).unwrap();
    let part = part.split("</section>").next().unwrap();
    let begins = format!("/o/users/{user_id}\"");
    let row = part
        .split("<th scope=\"row\">")
        .find(|row| row.split("href=\"").nth(1).is_some_and(|link| link.starts_with(&begins)));
    row.unwrap_or_else(|| panic!("{user_id} has no row in {part}")).to_owned()
}

/// The text at the beginning of a piece of HTML, up to the end of the element that it is in.
fn text(html: &str) -> String {
    let (mut text, mut depth) = (String::new(), 0_i32);
    for piece in html.split_inclusive('<') {
        let (tag, words) = piece.split_once('>').unwrap_or(("", piece));
        if tag.starts_with('/') {
            depth -= 1;
        } else if !tag.is_empty() {
            depth += 1;
        }
        if depth < 0 {
            break;
        }
        text += words.trim_end_matches('<');
    }
    text
}

#[tokio::test]
async fn an_operator_sees_who_came_who_brought_them_and_what_they_were_granted() {
    let (database, server, client) = server_with(&[BONUS, COUNT]).await;
    let mut ann = Browser::new(&server.address);
    ann.register("ann", "").await;
    let path = format!("/o/programs/{BONUS}/view");
    assert_eq!(ann.get(&path).await.status, 403, "a participant is no operator");
    make_operator(&client, "ann").await;
    ann.sign_in("ann", PASSWORD).await;
    let page = Browser::shown(&ann.get(&path).await);
    for shown in ["Nobody takes part yet", "No referrals yet", "Nobody yet"] {
        assert!(page.contains(shown), "{shown}: {page}");
    }
    assert_eq!(counter(&page, "registered"), "0");
    assert_eq!(ann.get("/o/programs/none/view").await.status, 404);

    let ada = client.sign_up(BONUS, "ada", "").await.unwrap();
    for (user, code) in [("bob", &*ada.code), ("cid", &*ada.code), ("dan", "")] {
        client.sign_up(BONUS, user, code).await.unwrap();
    }
    client.buy("", "bob", "USD", 1_000).await.unwrap();
    client.deactivate("dan").await.unwrap();
    // Somebody in another program is on its page only.
    let last = client.sign_up(COUNT, "zoe", "").await.unwrap();
    see_all(&client, &last.response.consistency_token).await;

    let page = Browser::shown(&ann.get(&path).await);
    for (id, expected) in
        [("registered", "4"), ("referred", "2"), ("organic", "2"), ("granted", "20.00USD")]
    {
        assert_eq!(counter(&page, id), expected, "{id}");
    }
    assert!(page.contains("50% of all"), "{page}");
    let rate = page.split("id=\"rate\">").nth(1).unwrap();
    assert_eq!(text(rate), "50%");
    assert_eq!(
        text(page.split("id=\"time-to-first\">").nth(1).unwrap()),
        "< 1 min".replace('<', "&lt;")
    );

    let row = row_of(&page, "participants", "bob");
    assert!(row.contains("href=\"/o/users/ada\"") && row.contains(">ada<"), "{row}");
    // The purchase itself is in the balance, and is no reward.
    assert!(row.contains(">10.00<") && row.contains(">20.00<"), "{row}");
    let row = row_of(&page, "participants", "ada");
    assert!(row.contains(&ada.code) && row.contains("<td class=\"wide\">–</td>"), "{row}");
    assert!(row_of(&page, "participants", "dan").contains("Deactivated"));
    assert!(!page.contains("zoe"), "{page}");

    let row = row_of(&page, "recent", "bob");
    assert!(row.contains("Converted") && row.contains(">10.00<") && row.contains(">ada<"), "{row}");
    assert!(row_of(&page, "recent", "cid").contains("Pending"));

    let top = |page: &str| -> Vec<String> {
        let part = page.split("id=\"top\"").nth(1).unwrap().split("</section>").next().unwrap();
        let rows = part.split("<li>").skip(1);
        rows.map(|row| row.split("/o/users/").nth(1).unwrap().split('"').next().unwrap().into())
            .collect()
    };
    assert_eq!(top(&page), ["ada"], "those who brought nobody are not among them");
    let page = Browser::shown(&ann.get(&format!("{path}?by=earnings&days=90")).await);
    assert_eq!(top(&page), ["ada", "bob"]);
    assert!(page.contains(&format!("{path}?days=90#top")), "what was chosen stays: {page}");
    let overview = Browser::shown(&ann.get("/o").await);
    assert!(overview.contains(&format!("href=\"{path}\"")), "{overview}");
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn the_report_counts_the_referrals_that_its_words_say() {
    const POINTS: &str = "tiered-points";
    let (database, server, client) = server_with(&[POINTS]).await;
    let mut olga = operator(&server, &client).await;
    let join = async |user_id: &str, email: &str, code: &str| {
        let request = contract::pb::RegisterUserRequest {
            user_id: user_id.into(),
            username: user_id.into(),
            email: email.into(),
            program_id: POINTS.into(),
            referral_code: code.into(),
            ..Default::default()
        };
        client.register(request).await.unwrap()
    };
    let code = join("zoe", "zoe@corp.example", "").await.participants[0].code.clone();
    join("bob", "a.da@gmail.com", &code).await;
    // The mailbox of bob: rejected when it is made.
    let last = join("zed", "ADA+second@googlemail.com", &code).await;
    see_all(&client, &last.consistency_token).await;
    let page = Browser::shown(&olga.get(&format!("/o/programs/{POINTS}/view")).await);
    assert_eq!(counter(&page, "referred"), "2");
    assert!(page.contains("1 rejected"), "{page}");
    let counted = page.split("Referrals that counted</dt>").nth(1).unwrap();
    assert_eq!(text(counted.split_once("<dd").unwrap().1.split_once('>').unwrap().1), "1");
    assert!(
        page.contains("Without those that were held or rejected when they were made"),
        "{page}"
    );
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn the_participants_of_a_program_are_paged() {
    let (database, server, client) = server_with(&[COUNT]).await;
    let mut ann = Browser::new(&server.address);
    ann.register("ann", "").await;
    make_operator(&client, "ann").await;
    ann.sign_in("ann", PASSWORD).await;
    let first = client.sign_up(COUNT, "first", "").await.unwrap();
    let mut last = String::new();
    for number in 0..25 {
        let user_id = format!("p{number:02}");
        let signed_up = client.sign_up(COUNT, &user_id, &first.code).await.unwrap();
        last = signed_up.response.consistency_token;
    }
    see_all(&client, &last).await;
    let path = format!("/o/programs/{COUNT}/view");
    let page = Browser::shown(&ann.get(&format!("{path}?by=conversions")).await);
    assert!(row_of(&page, "participants", "p24").contains(">first<"), "{page}");
    assert!(page.contains("25 participants on this page<"), "{page}");
    let next = page.split("href=\"").find(|link| link.contains("page=")).unwrap();
    let next = next.split(['"', '#']).next().unwrap().replace("&amp;", "&");
    assert!(next.contains("by=conversions"), "{next}");
    let page = Browser::shown(&ann.get(&next).await);
    assert!(page.contains("1 participant on this page<"), "{page}");
    row_of(&page, "participants", "first");
    server.stop().await;
    database.check().await;
}

/// Waits until reads show everything up to a token.
pub(super) async fn see_all(client: &Client, consistency_token: &str) {
    let request = contract::pb::ListUsersRequest {
        consistency_token: consistency_token.into(),
        ..Default::default()
    };
    client.accounts().list_users(client.request(request)).await.unwrap();
}
