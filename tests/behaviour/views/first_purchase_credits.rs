//! `first-purchase-credits`: a participant's own view, the operator's, and how referrals convert.

use contract::pb::*;
use prost_types::{Duration, Timestamp};

use super::ask::{Ask, OfParticipant, OfProgram, Paged, Read};
use super::{board, only, places, see, token};
use crate::support::{dated, enroll, minor, server_with};
use testing::{Client, SignUp, TestDatabase};

const PROGRAM: &str = "first-purchase-credits";
const SECONDS_PER_DAY: i64 = 86_400;

/// Ada referred bob and cid, dan referred eve; bob and eve bought. Returns the token of the last write.
async fn five(client: &Client) -> String {
    let ada = client.sign_up(PROGRAM, "ada", "").await.unwrap();
    client.sign_up(PROGRAM, "bob", &ada.code).await.unwrap();
    client.sign_up(PROGRAM, "cid", &ada.code).await.unwrap();
    let dan = client.sign_up(PROGRAM, "dan", "").await.unwrap();
    client.sign_up(PROGRAM, "eve", &dan.code).await.unwrap();
    client.buy("", "bob", "EUR", 1).await.unwrap();
    client.buy("", "bob", "USD", 9_000).await.unwrap();
    client.buy("", "eve", "USD", 500).await.unwrap().consistency_token
}

#[tokio::test]
async fn a_participant_sees_referred_pending_converted_and_credits() {
    let (database, server, client) = server_with(&[PROGRAM]).await;
    let last = five(&client).await;
    for (user, referred, pending, converted, credits, referrer) in [
        ("ada", 2, 1, 1, 2, ""),
        ("bob", 0, 0, 0, 2, "ada"),
        ("cid", 0, 0, 0, 0, "ada"),
        ("dan", 1, 0, 1, 2, ""),
        ("eve", 0, 0, 0, 2, "dan"),
    ] {
        let stats = see(&client, &last, GetReferralStatsRequest::of(PROGRAM, user)).await;
        assert_eq!(
            (stats.referral_count, stats.pending_count, stats.converted_count),
            (referred, pending, converted),
            "{user}"
        );
        assert_eq!(only(&stats.balances), ("CREDITS", credits), "{user}");
        assert_eq!(minor(stats.earned.as_ref()), credits, "{user}");
        assert_eq!(stats.referrer_user_id, referrer);
        assert_eq!(stats.uses, referred);
        assert_eq!((stats.max_uses, stats.remaining_uses), (None, None));
    }
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn an_operator_sees_the_program_in_numbers() {
    let (database, server, client) = server_with(&[PROGRAM, "referral-count"]).await;
    let overview = GetOverviewRequest::of_program;
    let empty = overview(PROGRAM).ask(&client).await.unwrap();
    assert_eq!((empty.registered, empty.reward_count), (0, 0));
    assert_eq!(only(&empty.rewards_granted), ("CREDITS", 0));

    let last = five(&client).await;
    let seen = see(&client, &last, overview(PROGRAM)).await;
    assert_eq!((seen.registered, seen.referred, seen.organic), (5, 3, 2));
    assert_eq!((seen.pending, seen.held, seen.converted, seen.rejected), (1, 0, 2, 0));
    assert_eq!((seen.reward_count, only(&seen.rewards_granted)), (4, ("CREDITS", 8)));

    // A deactivated user stays registered; an account that is not enrolled in the program does not count.
    client.sign_up("", "outsider", "").await.unwrap();
    let gone = client.deactivate("cid").await.unwrap();
    let seen = see(&client, &gone.consistency_token, overview(PROGRAM)).await;
    assert_eq!((seen.registered, seen.referred, seen.organic), (5, 3, 2));
    let other = see(&client, &gone.consistency_token, overview("referral-count")).await;
    assert_eq!((other.registered, only(&other.rewards_granted)), (0, ("REFERRALS", 0)));
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn the_table_of_users_has_code_referrer_and_credits() {
    let (database, server, client) = server_with(&[PROGRAM]).await;
    let outsider = client.sign_up("", "outsider", "").await.unwrap();
    let last = five(&client).await;

    let all = ListUsersRequest::default().after(&last).all(&client, 4).await;
    let ids = |users: &[UserDetail]| -> Vec<String> {
        users.iter().map(|of| of.user.as_ref().unwrap().user_id.clone()).collect()
    };
    assert_eq!(ids(&all), ["eve", "dan", "cid", "bob", "ada", "outsider"]);
    assert!(all.iter().all(|of| of.participant.is_none() && of.balances.is_empty()));
    assert!(all.iter().all(|of| of.earned.is_none() && of.referrer_username.is_empty()));
    assert_eq!(all[5].user, outsider.response.user);

    let members = ListUsersRequest::of_program(PROGRAM).after(&last);
    let table = members.clone().all(&client, 1_000).await;
    assert_eq!(ids(&table), ["eve", "dan", "cid", "bob", "ada"]);
    for (row, (referrer, credits)) in
        table.iter().zip([("dan", 2), ("", 2), ("ada", 0), ("ada", 2), ("", 2)])
    {
        let user = row.user.as_ref().unwrap();
        let own = client.user(&user.user_id).await.unwrap();
        assert_eq!(
            (&own.user, &own.participants[0]),
            (&row.user, row.participant.as_ref().unwrap())
        );
        assert_eq!(row.participant.as_ref().unwrap().referrer_user_id, referrer);
        assert_eq!(row.participant.as_ref().unwrap().code.len(), 6);
        assert_eq!(only(&row.balances), ("CREDITS", credits), "{}", user.user_id);
        assert_eq!(row.earned, row.balances.first().cloned(), "{}", user.user_id);
        assert_eq!((&*row.referrer_username, &*row.referrer_display_name), (referrer, ""));
    }

    // New participants do not shift the pages; the newest enrollment is first, not the newest account.
    let mut page_token = None;
    let mut paged = members.clone().next(&client, 2, &mut page_token).await;
    let mut last = enroll(&client, PROGRAM, "outsider", "").await.unwrap().consistency_token;
    while page_token.is_some() {
        paged.extend(members.clone().next(&client, 2, &mut page_token).await);
        let late = client.sign_up("", &format!("late-{}", paged.len()), "").await.unwrap();
        last = token(&late).to_owned();
    }
    assert_eq!(paged, table);
    let table = ListUsersRequest::of_program(PROGRAM).after(&last).all(&client, 1).await;
    assert_eq!(ids(&table), ["outsider", "eve", "dan", "cid", "bob", "ada"]);
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn the_board_is_by_credits_earned() {
    let (database, server, client) = server_with(&[PROGRAM]).await;
    five(&client).await;
    let bought = client.buy("", "cid", "USD", 100).await.unwrap();

    let metric = LeaderboardMetric::Unspecified;
    let seen = see(&client, &bought.consistency_token, board(PROGRAM, metric)).await;

    assert_eq!(seen.metric(), LeaderboardMetric::Points);
    assert_eq!(
        places(&seen.entries),
        [(1, "ada", 4), (2, "bob", 2), (3, "cid", 2), (4, "dan", 2), (5, "eve", 2)]
    );
    server.stop().await;
    database.check().await;
}

/// A moment some seconds after another.
fn later(time: Timestamp, seconds: i64) -> Timestamp {
    Timestamp { seconds: time.seconds + seconds, ..time }
}

fn signed_up(user: &SignUp) -> Timestamp {
    user.response.user.as_ref().unwrap().create_time.unwrap()
}

/// The UTC day of a moment, as the database knows it.
async fn day(database: &TestDatabase, time: Timestamp) -> String {
    let query = "select to_char(to_timestamp($1) at time zone 'UTC', 'YYYY-MM-DD')";
    let seconds = i32::try_from(time.seconds).unwrap();
    sqlx::query_scalar(query).bind(seconds).fetch_one(&database.pool).await.unwrap()
}

#[tokio::test]
async fn the_report_says_how_many_convert_and_how_long_that_takes() {
    let (database, server, client) = server_with(&[PROGRAM]).await;
    let ada = client.sign_up(PROGRAM, "ada", "").await.unwrap();
    let bob = client.sign_up(PROGRAM, "bob", &ada.code).await.unwrap();
    let cid = client.sign_up(PROGRAM, "cid", &ada.code).await.unwrap();
    let dan = client.sign_up(PROGRAM, "dan", &ada.code).await.unwrap();
    let nobody = see(&client, token(&dan), GetConversionReportRequest::of_program(PROGRAM)).await;
    assert_eq!((nobody.referrals, nobody.converted, nobody.conversion_rate_bps), (3, 0, 0));
    assert_eq!(nobody.average_time_to_first_purchase, None);

    // By the time of the purchase, not of its recording: after one minute, and after two minutes and a
    // second.
    let after = later(signed_up(&bob), 60);
    let first = client.record(dated("1", "bob", "USD", 1, after)).await.unwrap();
    let after = later(signed_up(&cid), 121);
    let second = client.record(dated("2", "cid", "USD", 1, after)).await.unwrap();
    client.buy("", "cid", "USD", 1).await.unwrap();
    let unreferred = client.buy("", "ada", "USD", 1).await.unwrap();
    let last = &unreferred.consistency_token;

    let seen = see(&client, last, GetConversionReportRequest::of_program(PROGRAM)).await;
    assert_eq!((seen.referrals, seen.converted, seen.conversion_rate_bps), (3, 2, 6_667));
    let average = Duration { seconds: 90, nanos: 500_000_000 };
    assert_eq!(seen.average_time_to_first_purchase, Some(average));
    assert_eq!(seen.days.len(), 30);
    assert!(seen.days.is_sorted_by(|one, next| one.date < next.date));

    let midnight = later(signed_up(&bob), -(signed_up(&bob).seconds % SECONDS_PER_DAY));
    let midnight = Timestamp { nanos: 0, ..midnight };
    let request = GetConversionReportRequest {
        start_time: Some(later(midnight, -SECONDS_PER_DAY - 1)),
        end_time: Some(later(midnight, 2 * SECONDS_PER_DAY)),
        ..OfProgram::of_program(PROGRAM)
    };
    let seen = see(&client, last, request).await;
    assert_eq!((seen.referrals, seen.converted, seen.conversion_rate_bps), (3, 2, 6_667));
    assert_eq!(seen.average_time_to_first_purchase, Some(average));
    let (mut referred, mut converted) = (Vec::new(), Vec::new());
    for user in [&bob, &cid, &dan] {
        referred.push(day(&database, signed_up(user)).await);
    }
    for bought in [first, second] {
        let time = bought.purchase.unwrap().create_time.unwrap();
        converted.push(day(&database, time).await);
    }
    let times = |dates: &[String], date: &str| -> i32 {
        i32::try_from(dates.iter().filter(|of| *of == date).count()).unwrap()
    };
    let mut dates = Vec::new();
    for offset in -2..=1 {
        dates.push(day(&database, later(midnight, offset * SECONDS_PER_DAY)).await);
    }
    assert_eq!(
        seen.days.iter().map(|of| &of.date).collect::<Vec<_>>(),
        dates.iter().collect::<Vec<_>>()
    );
    for of in &seen.days {
        assert_eq!(of.referrals, times(&referred, &of.date), "{of:?}");
        assert_eq!(of.converted, times(&referred[..2], &of.date), "{of:?}");
        assert_eq!(of.conversions, times(&converted, &of.date), "{of:?}");
        if of.referrals == 0 {
            assert_eq!((of.conversion_rate_bps, of.average_time_to_first_purchase), (0, None));
        }
        if of.referrals == 3 {
            assert_eq!(of.conversion_rate_bps, 6_667);
            assert_eq!(of.average_time_to_first_purchase, Some(average));
        }
    }

    // The days before do not include it.
    let request = GetConversionReportRequest {
        start_time: Some(later(midnight, -366 * SECONDS_PER_DAY)),
        end_time: Some(midnight),
        ..OfProgram::of_program(PROGRAM)
    };
    let seen = see(&client, last, request).await;
    assert_eq!((seen.referrals, seen.converted, seen.days.len()), (0, 0, 366));
    assert_eq!((seen.conversion_rate_bps, seen.average_time_to_first_purchase), (0, None));
    assert_eq!(seen.days[365].date, dates[1]);
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn referrals_that_convert_without_a_purchase_have_a_rate_and_no_time() {
    let (database, server, client) = server_with(&["referral-count"]).await;
    let ada = client.sign_up("referral-count", "ada", "").await.unwrap();
    client.sign_up("referral-count", "bob", &ada.code).await.unwrap();
    let cid = client.sign_up("referral-count", "cid", &ada.code).await.unwrap();

    let request = GetConversionReportRequest::of_program("referral-count");
    let seen = see(&client, token(&cid), request).await;

    assert_eq!((seen.referrals, seen.converted, seen.conversion_rate_bps), (2, 2, 10_000));
    assert_eq!(seen.average_time_to_first_purchase, None);
    assert_eq!(seen.days.iter().map(|of| of.conversions).sum::<i32>(), 2);
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn a_referral_list_says_when_each_converted() {
    let (database, server, client) = server_with(&[PROGRAM]).await;
    let ada = client.sign_up(PROGRAM, "ada", "").await.unwrap();
    let bob = client.sign_up(PROGRAM, "bob", &ada.code).await.unwrap();
    client.sign_up(PROGRAM, "cid", &ada.code).await.unwrap();
    let bought =
        client.record(dated("1", "bob", "USD", 1, later(signed_up(&bob), 60))).await.unwrap();

    let request = ListReferralsRequest::of(PROGRAM, "ada");
    let listed = see(&client, &bought.consistency_token, request).await.referrals;

    let shown: Vec<_> =
        listed.iter().map(|of| (of.referral.as_ref().unwrap().status(), of.convert_time)).collect();
    // The time of recording, not of the purchase.
    let recorded = bought.purchase.unwrap().create_time;
    assert_eq!(shown, [(ReferralStatus::Pending, None), (ReferralStatus::Converted, recorded)]);
    server.stop().await;
    database.check().await;
}
