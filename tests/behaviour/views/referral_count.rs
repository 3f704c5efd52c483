//! `referral-count`: the board page by page, and referrals page by page while more are made.

use contract::pb::*;

use super::ask::{OfParticipant, OfProgram, Paged, Read};
use super::{board, places, rank, referees, see, token};
use crate::support::{minor, server_with};

const PROGRAM: &str = "referral-count";

#[tokio::test]
async fn the_board_is_read_page_by_page_while_others_sign_up() {
    let (database, server, client) = server_with(&[PROGRAM]).await;
    let mut codes = Vec::new();
    for user in ["ada", "bob", "cid", "dan", "eve"] {
        codes.push(client.sign_up(PROGRAM, user, "").await.unwrap().code);
    }
    // Ada and cid have two, bob three, dan one, eve none.
    let mut last = String::new();
    for (index, owner) in [1, 0, 2, 1, 2, 0, 1, 3].into_iter().enumerate() {
        let friend = format!("friend-{index}");
        let friend = client.sign_up(PROGRAM, &friend, &codes[owner]).await.unwrap();
        last = token(&friend).to_owned();
    }
    let whole = see(&client, &last, board(PROGRAM, LeaderboardMetric::Unspecified)).await;
    assert_eq!((whole.metric(), whole.participant_count), (LeaderboardMetric::Referrals, 13));
    assert_eq!(
        places(&whole.entries[..6]),
        [
            (1, "bob", 3),
            (2, "ada", 2),
            (3, "cid", 2),
            (4, "dan", 1),
            (5, "eve", 0),
            (6, "friend-0", 0)
        ]
    );

    let request = board(PROGRAM, LeaderboardMetric::Unspecified).after(&last);
    let mut paged = Vec::new();
    let mut page_token = None;
    loop {
        let page = request.clone().next(&client, 2, &mut page_token).await;
        assert!(!page.is_empty());
        paged.extend(page);
        if page_token.is_none() {
            break;
        }
        if paged.len() < 8 {
            client.sign_up(PROGRAM, &format!("late-{}", paged.len()), "").await.unwrap();
        }
    }
    // No participant is repeated or missing; new participants come last, as far as the board had them.
    assert_eq!(paged[..13], whole.entries);
    let late: Vec<_> = paged[13..].iter().map(|entry| (entry.rank, &*entry.user_id)).collect();
    assert!([(14, "late-2"), (15, "late-4"), (16, "late-6")].starts_with(&late), "{late:?}");

    // Afterwards all participants are listed, with the same places on pages of any size.
    let user = client.sign_up(PROGRAM, "last", "").await.unwrap();
    let request = board(PROGRAM, LeaderboardMetric::Unspecified).after(token(&user));
    let whole = request.clone().all(&client, 1_000).await;
    assert_eq!(whole.len(), 17);
    for page_size in [1, 3, 16, 17] {
        assert_eq!(request.clone().all(&client, page_size).await, whole, "{page_size}");
    }
    let own = see(&client, token(&user), rank(PROGRAM, "last", LeaderboardMetric::Referrals)).await;
    assert_eq!(own.entry.unwrap().rank, 17);
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn referrals_are_read_page_by_page_while_more_are_made() {
    let (database, server, client) = server_with(&[PROGRAM]).await;
    let ada = client.sign_up(PROGRAM, "ada", "").await.unwrap();
    let mut last = String::new();
    for index in 1..=7 {
        let friend = client.sign_up(PROGRAM, &format!("friend-{index}"), &ada.code).await.unwrap();
        last = token(&friend).to_owned();
    }
    for request in [ListReferralsRequest::of(PROGRAM, "ada"), OfProgram::of_program(PROGRAM)] {
        let request = request.after(&last);
        let at_first = request.clone().all(&client, 1_000).await;
        let mut paged = Vec::new();
        let mut page_token = None;
        loop {
            paged.extend(request.clone().next(&client, 2, &mut page_token).await);
            if page_token.is_none() {
                break;
            }
            let late = format!("late-{}-{}", at_first.len(), paged.len());
            last = token(&client.sign_up(PROGRAM, &late, &ada.code).await.unwrap()).to_owned();
        }
        assert_eq!(paged, at_first);
        let users = referees(&paged);
        let oldest = ["friend-7", "friend-6", "friend-5", "friend-4", "friend-3", "friend-2"];
        assert!(users.ends_with(&["friend-1"]) && users[..users.len() - 1].ends_with(&oldest));
    }
    // The newest come first when the list is started again.
    let all = ListReferralsRequest::of(PROGRAM, "ada").after(&last).all(&client, 3).await;
    assert!(referees(&all)[0].starts_with("late-"));
    assert!(all.is_sorted_by(|one, next| {
        let time = |of: &ReferralDetail| {
            let time = of.referral.as_ref().unwrap().create_time.unwrap();
            (time.seconds, time.nanos)
        };
        time(one) >= time(next)
    }));
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn every_referral_is_converted_at_once_and_brings_in_one() {
    let (database, server, client) = server_with(&[PROGRAM]).await;
    let ada = client.sign_up(PROGRAM, "ada", "").await.unwrap();
    let bob = client.sign_up(PROGRAM, "bob", &ada.code).await.unwrap();
    let cid = client.sign_up(PROGRAM, "cid", &bob.code).await.unwrap();

    let direct = see(&client, token(&cid), ListReferralsRequest::of(PROGRAM, "ada")).await;
    assert_eq!(referees(&direct.referrals), ["bob"]);
    let detail = &direct.referrals[0];
    let referral = detail.referral.as_ref().unwrap();
    assert_eq!((&*referral.program_id, &*referral.referrer_user_id), (PROGRAM, "ada"));
    assert_eq!(referral.status(), ReferralStatus::Converted);
    assert_eq!(referral.create_time, bob.response.user.as_ref().unwrap().create_time);
    let rewards = see(&client, token(&cid), ListRewardsRequest::of(PROGRAM, "ada")).await.rewards;
    assert_eq!(detail.convert_time, rewards[0].create_time);
    assert_eq!((&*detail.referee_username, detail.level, detail.active), ("bob", 1, true));
    assert_eq!(minor(detail.brought_in.as_ref()), 1);

    let whole: ListReferralsRequest = OfProgram::of_program(PROGRAM);
    let whole = see(&client, token(&cid), whole).await;
    assert_eq!(referees(&whole.referrals), ["cid", "bob"]);
    for detail in &whole.referrals {
        assert_eq!((detail.level, minor(detail.brought_in.as_ref())), (1, 1));
    }
    for (status, expected) in [
        (ReferralStatus::Converted, &["cid", "bob"][..]),
        (ReferralStatus::Pending, &[]),
        (ReferralStatus::Held, &[]),
        (ReferralStatus::Rejected, &[]),
    ] {
        let request =
            ListReferralsRequest { status: status.into(), ..OfProgram::of_program(PROGRAM) };
        let listed = see(&client, token(&cid), request).await;
        assert_eq!(referees(&listed.referrals), expected, "{status:?}");
    }
    server.stop().await;
    database.check().await;
}
