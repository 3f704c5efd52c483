//! What others see of a person: the name that the person chose to be shown, and the username only if they referred the
//! person.

use contract::pb::leaderboard_service_client::LeaderboardServiceClient;
use contract::pb::referral_service_client::ReferralServiceClient;
use contract::pb::*;
use prost::Message;
use testing::{Client, sign_up_request};
use tonic::Request;
use tonic::service::Routes;
use tributary::access::Principal;
use tributary::api::services;

use super::principals::{by, in_process, service, user};
use super::support::server_with;

const LINES: &str = "multi-level-commission";

async fn sign_up(client: &Client, user_id: &str, display_name: &str, code: &str) -> String {
    let request = RegisterUserRequest {
        username: format!("login.{user_id}"),
        display_name: display_name.into(),
        ..sign_up_request(LINES, user_id, code)
    };
    let answer = client.register(request).await.unwrap();
    answer.participants[0].code.clone()
}

/// What a caller is shown of the people of the program: user id, username, display name.
type Shown = Vec<(String, String, String)>;

async fn board(routes: &Routes, caller: &Principal) -> Shown {
    let request = GetLeaderboardRequest {
        program_id: LINES.into(),
        metric: LeaderboardMetric::Referrals.into(),
        ..Default::default()
    };
    let mut boards = LeaderboardServiceClient::new(routes.clone());
    let answer = boards.get_leaderboard(by(caller, request)).await.unwrap().into_inner();
    let shown = answer.entries.into_iter();
    shown.map(|entry| (entry.user_id, entry.username, entry.display_name)).collect()
}

fn shown(of: &[(&str, &str, &str)]) -> Shown {
    of.iter()
        .map(|(id, username, name)| ((*id).into(), (*username).into(), (*name).into()))
        .collect()
}

#[tokio::test]
async fn users_see_the_names_that_others_chose_to_be_shown_and_usernames_of_their_referees_only() {
    let (database, server, client) = server_with(&[LINES]).await;
    let ada = sign_up(&client, "ada", "Ada Ł.", "").await;
    sign_up(&client, "bob", "", &ada).await;
    let local = in_process(&database).await;
    let routes = services(local.context());
    let (ada_herself, back_end) = (user("ada"), service());

    let seen = board(&routes, &ada_herself).await;
    assert_eq!(seen, shown(&[("ada", "", "Ada Ł."), ("", "", "")]));
    let seen = board(&routes, &back_end).await;
    assert_eq!(seen, shown(&[("ada", "login.ada", "Ada Ł."), ("bob", "login.bob", "")]));

    let mut referrals = ReferralServiceClient::new(routes.clone());
    // Of the people whom they referred themselves, users see the usernames.
    for (caller, username) in [(&ada_herself, "login.bob"), (&back_end, "login.bob")] {
        let request = ListReferralsRequest {
            program_id: LINES.into(),
            user_id: "ada".into(),
            ..Default::default()
        };
        let list = referrals.list_referrals(by(caller, request)).await.unwrap().into_inner();
        assert_eq!(list.referrals[0].referee_username, username);
        assert_eq!(list.referrals[0].referrer_username, "", "their own list names no referrer");
        let request = GetReferralStatsRequest {
            program_id: LINES.into(),
            user_id: "ada".into(),
            ..Default::default()
        };
        let stats = referrals.get_referral_stats(by(caller, request)).await.unwrap().into_inner();
        assert_eq!(stats.recent_referrals[0].referee_username, username);
        let request = GetReferralTreeRequest {
            program_id: LINES.into(),
            user_id: "ada".into(),
            ..Default::default()
        };
        let tree = referrals.get_referral_tree(by(caller, request)).await.unwrap().into_inner();
        let root = tree.root.unwrap();
        assert_eq!(root.display_name, "Ada Ł.");
        assert_eq!(root.referrals[0].username, username);
    }
    for (caller, username) in
        [(&Principal::Anonymous, ""), (&ada_herself, ""), (&back_end, "login.ada")]
    {
        let request =
            ValidateReferralCodeRequest { referral_code: ada.clone(), ..Default::default() };
        let verdict = referrals.validate_referral_code(by(caller, request)).await.unwrap();
        let verdict = verdict.into_inner();
        assert_eq!(
            (&*verdict.referrer_username, &*verdict.referrer_display_name),
            (username, "Ada Ł.")
        );
    }
    let request = WatchLeaderboardRequest { program_id: LINES.into(), ..Default::default() };
    let mut boards = LeaderboardServiceClient::new(routes);
    let mut stream =
        boards.watch_leaderboard(by(&ada_herself, request)).await.unwrap().into_inner();
    let first = stream.message().await.unwrap().unwrap();
    assert!(!first.encode_to_vec().windows(6).any(|six| six == b"login."), "{first:?}");
    drop(stream);
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn the_names_of_somebody_who_was_erased_disappear_within_a_second() {
    let (database, server, client) = server_with(&[LINES]).await;
    let ada = sign_up(&client, "ada", "Ada", "").await;
    sign_up(&client, "bob", "Bob", &ada).await;
    let local = in_process(&database).await;
    let routes = services(local.context());
    let back_end = service();
    assert_eq!(board(&routes, &back_end).await[1].2, "Bob");
    let referral = only_referral(&routes).await;
    assert_eq!(
        (&*referral.referee_username, &*referral.referee_display_name),
        ("login.bob", "Bob")
    );
    assert_eq!(
        (&*referral.referrer_username, &*referral.referrer_display_name),
        ("login.ada", "Ada")
    );

    sqlx::query("delete from profiles where user_id = 'bob'")
        .execute(&database.pool)
        .await
        .unwrap();
    tokio::time::sleep(std::time::Duration::from_millis(1_100)).await;

    let seen = board(&routes, &back_end).await;
    assert_eq!(seen, shown(&[("ada", "login.ada", "Ada"), ("bob", "", "")]));
    let referral = only_referral(&routes).await;
    assert_eq!((&*referral.referee_username, &*referral.referee_display_name), ("", ""));
    assert_eq!(referral.referrer_username, "login.ada");
    sqlx::query("delete from profiles where user_id = 'ada'")
        .execute(&database.pool)
        .await
        .unwrap();
    let referral = only_referral(&routes).await;
    assert_eq!((&*referral.referrer_username, &*referral.referrer_display_name), ("", ""));
    server.stop().await;
    database.check().await;
}

/// The one referral of the program, as the list of the whole program has it.
async fn only_referral(routes: &Routes) -> ReferralDetail {
    let request: Request<ListReferralsRequest> = by(
        &Principal::ADMIN_KEY,
        ListReferralsRequest { program_id: LINES.into(), ..Default::default() },
    );
    let list = ReferralServiceClient::new(routes.clone()).list_referrals(request).await.unwrap();
    let [referral] = <[_; 1]>::try_from(list.into_inner().referrals).unwrap();
    referral
}
