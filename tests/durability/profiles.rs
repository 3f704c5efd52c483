//! Races about names, addresses and passwords on two servers.

use contract::pb::{
    ConfirmEmailRequest, RequestPasswordResetRequest, ResetPasswordRequest, UpdateProfileRequest,
};

use crate::races::{finish, split};
use testing::people::People;
use testing::second_factors::{KeyFile, set_up};
use testing::{Pair, Server, TestDatabase, at_once, events_in, issue_token, sign_up_request};

const ROUNDS: usize = 5;
const PASSWORD: &str = "Corr3ct-horse";

#[tokio::test]
async fn a_mailed_token_that_is_used_at_once_on_two_servers_sets_one_password() {
    let database = TestDatabase::new().await;
    let pair = Pair::start(&database).await;
    for round in 0..ROUNDS {
        let user_id = format!("user-{round}");
        pair.client(0).sign_up("", &user_id, "").await.unwrap();
        let ask = RequestPasswordResetRequest { login: user_id.clone() };
        let client = pair.client(0);
        client.accounts().request_password_reset(client.request(ask)).await.unwrap();
        let token = issue_token(&database, &user_id, "reset_password", 900.0).await;
        let answers = at_once((0..6).map(|number| {
            let (client, token) = (pair.client(number), token.clone());
            async move {
                let new_password = format!("Passw0rd number {number}!");
                let reset = ResetPasswordRequest { token, new_password };
                client.accounts().reset_password(client.request(reset)).await
            }
        }))
        .await;
        let (done, refused) = split(answers);
        assert_eq!(done.len(), 1, "{refused:?}");
        assert!(refused.iter().all(|(_, reason)| reason == "MAILED_TOKEN_USED"), "{refused:?}");
        assert_eq!(events_in(&database, &user_id, "UserPasswordChanged").await, 1);
    }
    finish(pair, &database).await;
}

#[tokio::test]
async fn an_address_that_is_confirmed_at_once_on_two_servers_changes_once() {
    let database = TestDatabase::new().await;
    let pair = Pair::start(&database).await;
    for round in 0..ROUNDS {
        let user_id = format!("user-{round}");
        let client = pair.client(0);
        client.sign_up("", &user_id, "").await.unwrap();
        let ask = UpdateProfileRequest {
            user_id: user_id.clone(),
            email: Some(format!("new-{round}@example.com")),
            ..Default::default()
        };
        client.accounts().update_profile(client.request(ask)).await.unwrap();
        let token = issue_token(&database, &user_id, "change_email", 900.0).await;
        let answers = at_once((0..6).map(|number| {
            let (client, token) = (pair.client(number), token.clone());
            async move {
                let confirm = ConfirmEmailRequest { token };
                client.accounts().confirm_email(client.request(confirm)).await
            }
        }))
        .await;
        let (done, refused) = split(answers);
        assert_eq!(done.len(), 1, "{refused:?}");
        assert!(refused.iter().all(|(_, reason)| reason == "MAILED_TOKEN_USED"), "{refused:?}");
        assert_eq!(events_in(&database, &user_id, "UserEmailChanged").await, 1);
    }
    let claimed = "select count(*) from claims where kind = 'email'";
    assert_eq!(database.count(claimed).await, ROUNDS as i64, "old addresses are free");
    finish(pair, &database).await;
}

#[tokio::test]
async fn a_user_who_is_renamed_at_once_on_two_servers_keeps_one_name() {
    let database = TestDatabase::new().await;
    let pair = Pair::start(&database).await;
    for round in 0..ROUNDS {
        let user_id = format!("user-{round}");
        pair.client(0).sign_up("", &user_id, "").await.unwrap();
        let answers = at_once((0..6).map(|number| {
            let (client, user_id) = (pair.client(number), user_id.clone());
            async move {
                let rename = UpdateProfileRequest {
                    user_id,
                    username: Some(format!("name-{round}-{number}")),
                    ..Default::default()
                };
                client.accounts().update_profile(client.request(rename)).await
            }
        }))
        .await;
        let (done, refused) = split(answers);
        assert!(!done.is_empty());
        assert!(refused.iter().all(|(_, reason)| reason == "CONFLICT"), "{refused:?}");
    }
    // Every claim is that of a profile, so no name is lost for good.
    let names = "select count(*) from claims c where kind = 'username' and not exists (
        select from profiles p where p.user_id = c.owner and lower(p.username) = c.value)";
    assert_eq!(database.count(names).await, 0);
    let claimed = "select count(*) from claims where kind = 'username'";
    assert_eq!(database.count(claimed).await, ROUNDS as i64);
    finish(pair, &database).await;
}

#[tokio::test]
async fn one_of_several_users_gets_a_name_that_all_want() {
    let database = TestDatabase::new().await;
    let pair = Pair::start(&database).await;
    for user in 0..6 {
        pair.client(user).sign_up("", &format!("user-{user}"), "").await.unwrap();
    }
    for round in 0..ROUNDS {
        let answers = at_once((0..6).map(|number| {
            let client = pair.client(number);
            async move {
                let rename = UpdateProfileRequest {
                    user_id: format!("user-{number}"),
                    username: Some(format!("wanted-{round}")),
                    ..Default::default()
                };
                client.accounts().update_profile(client.request(rename)).await
            }
        }))
        .await;
        let (done, refused) = split(answers);
        assert_eq!(done.len(), 1, "{refused:?}");
        assert!(refused.iter().all(|(_, reason)| reason == "USERNAME_TAKEN"), "{refused:?}");
    }
    finish(pair, &database).await;
}

#[tokio::test]
async fn a_code_that_is_used_at_once_on_two_servers_logs_in_once() {
    let (database, keys) = (TestDatabase::new().await, KeyFile::new());
    let options = keys.options();
    let (first, second) = tokio::join!(
        Server::start_with(&database.url, &options),
        Server::start_with(&database.url, &options),
    );
    let people = [People::of(&first.client()), People::of(&second.client())];
    let mut request = sign_up_request("", "ada", "");
    request.password = PASSWORD.into();
    first.client().register(request).await.unwrap();
    let session = people[0].login("ada", PASSWORD).await.unwrap();
    let (app, recovery_codes) = set_up(&people[0], &session.access_token).await;
    for code in [app.code(1), recovery_codes[0].clone(), recovery_codes[1].clone()] {
        let answers = at_once((0..4).map(|number| {
            let (people, code) = (people[number % 2].clone(), code.clone());
            async move { people.login_with("ada", PASSWORD, &code).await }
        }))
        .await;
        let (done, refused) = split(answers);
        assert_eq!(done.len(), 1, "{refused:?}");
        assert!(refused.iter().all(|(_, reason)| reason == "SECOND_FACTOR_WRONG"), "{refused:?}");
    }
    tokio::join!(first.stop(), second.stop());
    database.check().await;
}
