//! Pages of operators for what waits: payments, jobs and mails.

use contract::pb::{ListUsersRequest, UpdateProfileRequest};
use testing::TestDatabase;
use testing::stripe_events::{Payment, deliver, server_with_endpoint};

use super::security::make_operator;
use super::*;

const LINES: &str = "multi-level-commission";

#[tokio::test]
async fn an_operator_says_who_bought_and_takes_the_rest_off_the_list() {
    let database = TestDatabase::new().await;
    let server = server_with_endpoint(&database).await;
    let client = server.client();
    client.publish_shipped(LINES).await;
    client.sign_up(LINES, "bea", "").await.unwrap();
    let mut ada = Browser::new(&server.address);
    ada.register("ada", "").await;
    assert_eq!(ada.get("/o/payments").await.status, 403, "a participant is no operator");
    make_operator(&client, "ada").await;
    ada.sign_in("ada", PASSWORD).await;
    let page = Browser::shown(&ada.get("/o/payments").await);
    assert!(page.contains("Nothing waits"), "{page}");

    let first = Payment::new("first", "", 200_000).without_buyer();
    let second = Payment::new("second", "", 200_000).without_buyer();
    for payment in [&first, &second] {
        deliver(&server.address, &payment.session()).await;
    }
    let page = Browser::shown(&ada.get("/o/payments").await);
    for shown in ["pi_first", "pi_second", "No buyer", "2,000.00", "2 payments"] {
        assert!(page.contains(shown), "{shown}: {page}");
    }
    let set = [("payment_id", "pi_first"), ("buyer", "nobody-here")];
    let refused = ada.fill("/o/payments", "/o/payments", &set).await;
    assert_eq!(refused.status, 422, "{}", refused.text());
    assert!(refused.text().contains("There is no such user."), "{}", refused.text());
    let set = [("payment_id", "pi_first"), ("buyer", "bea")];
    assert_eq!(ada.fill("/o/payments", "/o/payments", &set).await.status, 303);
    let purchase = client.purchase("pi_first").await.unwrap().purchase.unwrap();
    assert_eq!(purchase.buyer_user_id, "bea");

    let page = Browser::shown(&ada.get("/o/payments?done=attached").await);
    assert!(page.contains("What could be recorded is recorded.") && !page.contains("pi_first"));
    let issues = hidden(&page, "/o/payments/seen", "issues").unwrap();
    let seen = [("payment_id", "pi_second"), ("issues", &*issues)];
    assert_eq!(ada.fill("/o/payments", "/o/payments/seen", &seen).await.status, 303);
    let page = Browser::shown(&ada.get("/o/payments").await);
    assert!(page.contains("Nothing waits"), "{page}");
    assert!(client.purchase("pi_second").await.is_err());
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn an_operator_sees_the_jobs_and_tries_a_parked_one_again() {
    let (database, server, client) = server_with(&[LINES]).await;
    let mut ada = Browser::new(&server.address);
    ada.register("ada", "").await;
    assert_eq!(ada.get("/o/jobs").await.status, 403);
    make_operator(&client, "ada").await;
    ada.sign_in("ada", PASSWORD).await;
    let page = Browser::shown(&ada.get("/o/jobs?state=parked").await);
    assert!(page.contains("No jobs"), "{page}");
    // As a job stands that has failed too often.
    let id: i64 = sqlx::query_scalar(
        "insert into jobs (kind, dedupe_key, payload, state, attempts, last_error)
         values ('clean', 'a-day', '{}', 'parked', 10, 'the disk is <full>') returning id",
    )
    .fetch_one(&database.pool)
    .await
    .unwrap();
    let page = Browser::shown(&ada.get("/o/jobs?state=parked").await);
    assert!(page.contains("a-day") && page.contains("the disk is &lt;full&gt;"), "{page}");
    let job_id = hidden(&page, "/o/jobs", "job_id").unwrap();
    assert_eq!(job_id, id.to_string());
    let fill = ada.fill("/o/jobs?state=parked", "/o/jobs", &[("job_id", &*job_id)]).await;
    assert_eq!(fill.status, 303, "{}", fill.text());
    let parked = "select count(*) from jobs where dedupe_key = 'a-day' and state = 'parked'";
    assert_eq!(database.count(parked).await, 0);
    server.stop().await;
}

#[tokio::test]
async fn an_operator_sees_why_a_mail_was_not_sent_and_sends_it_again() {
    let (database, server, client) = server_with(&[LINES]).await;
    let mut ada = operator(&server, &client).await;
    let mut bob = Browser::new(&server.address);
    bob.register("bob", "").await;
    assert_eq!(bob.get("/o/mails").await.status, 403, "a participant is no operator");
    let user_id = super::security::user_id_of(&client, "bob").await;
    sqlx::query(
        "with parked as (
             insert into jobs (kind, dedupe_key, payload, state, attempts, last_error)
             values ('mail', 'parked-mail', '{}', 'parked', 10, '<refused>') returning id
         )
         insert into mails (job_id, kind, user_id) select id, 'welcome', $1 from parked",
    )
    .bind(&user_id)
    .execute(&database.pool)
    .await
    .unwrap();
    let page = Browser::shown(&ada.get("/o/mails?state=parked").await);
    assert!(page.contains("&lt;refused&gt;") && page.contains("Parked"), "{page}");
    let page = Browser::shown(&ada.get("/o/mails?user=bob&state=parked").await);
    assert!(page.contains("1 mail"), "{page}");
    let page = Browser::shown(&ada.get("/o/mails?user=ada&state=parked").await);
    assert!(page.contains("No mails"), "{page}");
    let page = Browser::shown(&ada.get(&format!("/o/users/{user_id}")).await);
    assert!(page.contains(&format!("/o/mails?user={user_id}")), "{page}");
    let list = format!("/o/mails?user={user_id}&state=parked");
    let page = Browser::shown(&ada.get(&list).await);
    let mail_id = hidden(&page, "/o/mails", "mail_id").unwrap();
    let sent = [("mail_id", &*mail_id), ("user", &*user_id), ("state", "parked")];
    let again = ada.fill(&list, "/o/mails", &sent).await;
    assert_eq!(again.status, 303, "{}", again.text());
    // It may have failed again by now, for a reason of its own.
    let as_before = "select count(*) from jobs
                     where dedupe_key = 'parked-mail' and state = 'parked' and last_error = '<refused>'";
    assert_eq!(database.count(as_before).await, 0);
    let refused = ada.fill("/o/mails", "/o/keys", &sent).await;
    assert_eq!(refused.status, 403, "the form of another page: {}", refused.text());
    server.stop().await;
}

#[tokio::test]
async fn the_page_of_a_person_has_whom_they_brought_what_they_earned_and_where_mails_went() {
    let (database, server, client) = server_with(&[LINES, "referral-count"]).await;
    let zoe = client.sign_up(LINES, "zoe", "").await.unwrap();
    client.sign_up(LINES, "bob", &zoe.code).await.unwrap();
    client.sign_up(LINES, "cem", &zoe.code).await.unwrap();
    let bought = client.buy("order", "bob", "INR", 200_000).await.unwrap().consistency_token;
    let mut ada = operator(&server, &client).await;
    sqlx::query(
        "with parked as (
             insert into jobs (kind, dedupe_key, payload, state, attempts, last_error)
             values ('mail', 'mail-to-zoe', '{}', 'parked', 10, 'refused') returning id
         )
         insert into mails (job_id, kind, user_id, recipient)
         select id, 'email_changed', 'zoe', 'zoe@mail.example' from parked",
    )
    .execute(&database.pool)
    .await
    .unwrap();
    let page = Browser::shown(&ada.get(&format!("/o/users/zoe?at={bought}")).await);
    let of_referrals =
        page.split("id=\"brought\"").nth(1).unwrap().split("</section>").next().unwrap();
    assert!(of_referrals.contains("2 referred: 1 pending, 1 converted"), "{of_referrals}");
    assert!(
        of_referrals.contains("/o/users/bob") && of_referrals.contains("/o/users/cem"),
        "{of_referrals}"
    );
    let rewards = page.split("id=\"rewards\"").nth(1).unwrap().split("</section>").next().unwrap();
    assert!(rewards.contains("+100.00") && rewards.contains("/o/purchases/order"), "{rewards}");
    assert!(page.contains("zoe@mail.example"), "{page}");
    let page = Browser::shown(&ada.get("/o/users/cem").await);
    assert!(page.contains("Nobody yet") && page.contains("No rewards yet"), "{page}");
    server.stop().await;
}

#[tokio::test]
async fn people_are_found_by_the_name_that_they_chose_in_any_letter_case() {
    let (database, server, client) = server_with(&[LINES]).await;
    let mut token = String::new();
    for (user_id, name) in [("u1", "Asha Rao"), ("u2", "ASHA RAO"), ("u3", "Ravi Iyer"), ("u4", "")]
    {
        client.sign_up(LINES, user_id, "").await.unwrap();
        let renamed = UpdateProfileRequest {
            user_id: user_id.into(),
            display_name: Some(name.into()),
            ..Default::default()
        };
        let answer = client.accounts().update_profile(client.request(renamed)).await.unwrap();
        token = answer.into_inner().consistency_token;
    }
    let named = async |name: &str| {
        let request = ListUsersRequest {
            display_name: name.into(),
            consistency_token: token.clone(),
            ..Default::default()
        };
        let found = client.accounts().list_users(client.request(request)).await?.into_inner();
        let ids = found.users.into_iter().map(|of| of.user.unwrap().user_id);
        Ok::<Vec<String>, tonic::Status>(ids.collect())
    };
    assert_eq!(named("asha rao").await.unwrap(), ["u1", "u2"]);
    assert_eq!(named(" Ravi Iyer ").await.unwrap(), ["u3"]);
    assert!(named("Asha").await.unwrap().is_empty(), "the whole name");
    let both = ListUsersRequest {
        display_name: "asha rao".into(),
        staff_only: true,
        ..Default::default()
    };
    let status = client.accounts().list_users(client.request(both)).await.unwrap_err();
    assert_eq!(status.code(), tonic::Code::InvalidArgument, "{status}");

    let mut ada = operator(&server, &client).await;
    let page = Browser::shown(&ada.get("/o/users?q=asha%20rao").await);
    for shown in ["Asha Rao", "ASHA RAO", "2 people"] {
        assert!(page.contains(shown), "{shown}: {page}");
    }
    assert!(!page.contains("Ravi Iyer"), "{page}");
    // The only one of a name is who was meant.
    let found = ada.get("/o/users?q=ravi%20iyer").await;
    assert_eq!(found.exact_header("location"), Some("/o/users/u3"), "{}", found.text());
    let page = Browser::shown(&ada.get("/o/users?q=nobody%20here").await);
    assert!(page.contains("Nobody has exactly"), "{page}");
    // Whoever was erased has no name any more.
    client.erase("u2", true).await.unwrap();
    assert_eq!(named("asha rao").await.unwrap(), ["u1"]);
    server.stop().await;
    database.check().await;
}
