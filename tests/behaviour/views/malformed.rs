//! Malformed reads: ids, page sizes, tokens, numbers and filters out of their range.

use std::any::type_name;

use contract::pb::*;
use prost_types::Timestamp;
use tonic::Code;

use super::ask::{Ask, OfParticipant, OfProgram, Paged, Read};
use crate::bad_input::violations;
use crate::support::server_with;
use testing::{Client, reason};

const PROGRAM: &str = "tiered-points";

/// Checks that a request is refused for one fault of one field.
async fn at_fault<R: Ask>(client: &Client, request: R, field: &str, fault: &str) {
    let what = format!("{fault} of {field} of {}", type_name::<R>());
    let status = request.ask(client).await.err().unwrap_or_else(|| panic!("{what}"));
    let expected = (Code::InvalidArgument, "INVALID_FIELD".to_owned());
    assert_eq!(reason(&status), expected, "{what}: {status:?}");
    assert_eq!(violations(&status), [(field.to_owned(), fault.to_owned())], "{what}");
}

/// Malformed ids, and their faults.
const BAD_IDS: [(&str, &str); 4] =
    [("a b", "INVALID_ID"), ("a?b", "INVALID_ID"), ("a\0", "NUL_CHARACTER"), ("ä", "INVALID_ID")];

async fn refuses_bad_participants<R: OfParticipant>(client: &Client) {
    for (id, fault) in BAD_IDS.into_iter().chain([("", "FIELD_REQUIRED")]) {
        at_fault(client, R::of(id, "ada"), "program_id", fault).await;
        // For one read, an empty id means all users.
        if !(id.is_empty() && type_name::<R>().ends_with("ListReferralsRequest")) {
            at_fault(client, R::of(PROGRAM, id), "user_id", fault).await;
        }
    }
    let long = "a".repeat(129);
    at_fault(client, R::of(&long, "ada"), "program_id", "INVALID_ID").await;
    at_fault(client, R::of(PROGRAM, &long), "user_id", "INVALID_ID").await;
}

async fn refuses_bad_programs<R: OfProgram>(client: &Client) {
    for (id, fault) in BAD_IDS.into_iter().chain([("", "FIELD_REQUIRED")]) {
        if !(id.is_empty() && type_name::<R>().ends_with("ListUsersRequest")) {
            at_fault(client, R::of_program(id), "program_id", fault).await;
        }
    }
}

#[tokio::test]
async fn malformed_ids_are_named_by_every_read() {
    let (database, server, client) = server_with(&[PROGRAM]).await;
    client.sign_up(PROGRAM, "ada", "").await.unwrap();
    refuses_bad_participants::<GetBalancesRequest>(&client).await;
    refuses_bad_participants::<ListBalanceEntriesRequest>(&client).await;
    refuses_bad_participants::<GetTierRequest>(&client).await;
    refuses_bad_participants::<GetEarningsRequest>(&client).await;
    refuses_bad_participants::<GetEarningsSeriesRequest>(&client).await;
    refuses_bad_participants::<ListRewardsRequest>(&client).await;
    refuses_bad_participants::<GetReferralStatsRequest>(&client).await;
    refuses_bad_participants::<ListReferralsRequest>(&client).await;
    refuses_bad_participants::<GetReferralTreeRequest>(&client).await;
    refuses_bad_participants::<GetRankRequest>(&client).await;
    refuses_bad_participants::<WatchEarningsRequest>(&client).await;
    refuses_bad_participants::<WatchBalancesRequest>(&client).await;
    refuses_bad_participants::<WatchTierRequest>(&client).await;
    refuses_bad_participants::<WatchParticipantRequest>(&client).await;
    refuses_bad_programs::<ListUsersRequest>(&client).await;
    refuses_bad_programs::<GetProgramRequest>(&client).await;
    refuses_bad_programs::<ListProgramVersionsRequest>(&client).await;
    refuses_bad_programs::<ListReferralsRequest>(&client).await;
    refuses_bad_programs::<GetLeaderboardRequest>(&client).await;
    refuses_bad_programs::<WatchLeaderboardRequest>(&client).await;
    refuses_bad_programs::<GetOverviewRequest>(&client).await;
    refuses_bad_programs::<GetConversionReportRequest>(&client).await;
    for (id, fault) in BAD_IDS {
        let request = ListPurchasesRequest { buyer_user_id: id.into(), ..Default::default() };
        at_fault(&client, request, "buyer_user_id", fault).await;
        let source_user_id = id.to_owned();
        let request = ListRewardsRequest { source_user_id, ..OfParticipant::of(PROGRAM, "ada") };
        at_fault(&client, request, "source_user_id", fault).await;
        let request = ReadEventsRequest { user_id: id.into(), ..Default::default() };
        at_fault(&client, request, "user_id", fault).await;
        let request = WatchEventsRequest { user_id: id.into(), ..Default::default() };
        at_fault(&client, request, "user_id", fault).await;
        let request = ValidateReferralCodeRequest {
            referral_code: "ZZZZZZZZ".into(),
            user_id: id.into(),
            ..Default::default()
        };
        at_fault(&client, request, "user_id", fault).await;
    }
    server.stop().await;
    database.check().await;
}

async fn refuses_bad_pages<R: Paged>(client: &Client, request: R) {
    for page_size in [-1, 1_001, i32::MIN, i32::MAX] {
        at_fault(client, request.clone().page(page_size, ""), "page_size", "INVALID_PAGE_SIZE")
            .await;
    }
    for page_size in [0, 1, 1_000] {
        request.clone().page(page_size, "").ask(client).await.unwrap();
    }
    for page_token in ["42", "x", "AAAA", "!!!!", " ", "\u{e4}"] {
        at_fault(client, request.clone().page(0, page_token), "page_token", "INVALID_PAGE_TOKEN")
            .await;
    }
    let consistency_token = "INVALID_CONSISTENCY_TOKEN";
    at_fault(client, request.after("42"), "consistency_token", consistency_token).await;
}

/// The token of the second page.
async fn second_page<R: Paged>(client: &Client, request: R) -> String {
    let (_, next) = R::rows(request.page(1, "").ask(client).await.unwrap());
    assert!(!next.is_empty(), "{} has one page only", type_name::<R>());
    next
}

#[tokio::test]
async fn pages_are_1_to_1000_long_and_tokens_are_those_that_were_given() {
    let (database, server, client) = server_with(&[PROGRAM]).await;
    client.sign_up(PROGRAM, "ada", "").await.unwrap();
    refuses_bad_pages(&client, ListUsersRequest::default()).await;
    refuses_bad_pages(&client, ListUsersRequest::of_program(PROGRAM)).await;
    refuses_bad_pages(&client, ListProgramsRequest::default()).await;
    refuses_bad_pages(&client, ListProgramVersionsRequest::of_program(PROGRAM)).await;
    refuses_bad_pages(&client, ListPurchasesRequest::default()).await;
    refuses_bad_pages(&client, ListReferralsRequest::of_program(PROGRAM)).await;
    refuses_bad_pages(&client, ListReferralsRequest::of(PROGRAM, "ada")).await;
    let deep = ListReferralsRequest { max_level: 10, ..OfParticipant::of(PROGRAM, "ada") };
    refuses_bad_pages(&client, deep).await;
    refuses_bad_pages(&client, ListBalanceEntriesRequest::of(PROGRAM, "ada")).await;
    refuses_bad_pages(&client, GetEarningsRequest::of(PROGRAM, "ada")).await;
    refuses_bad_pages(&client, ListRewardsRequest::of(PROGRAM, "ada")).await;
    refuses_bad_pages(&client, GetLeaderboardRequest::of_program(PROGRAM)).await;
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn a_page_token_of_another_list_is_refused() {
    let (database, server, client) = server_with(&[PROGRAM, "referral-count"]).await;
    let ada = client.sign_up(PROGRAM, "ada", "").await.unwrap();
    let mut last = String::new();
    for index in 0..3 {
        let friend = client.sign_up(PROGRAM, &format!("friend-{index}"), &ada.code).await.unwrap();
        client.buy("", &friend.user_id, "USD", 1).await.unwrap();
        last = friend.response.consistency_token;
    }
    let members = ListUsersRequest::of_program(PROGRAM).after(&last);
    let referrals = ListReferralsRequest::of(PROGRAM, "ada");
    let entries = ListBalanceEntriesRequest::of(PROGRAM, "ada");
    let rewards = ListRewardsRequest::of(PROGRAM, "ada");
    let board = GetLeaderboardRequest::of_program(PROGRAM);
    let tokens = [
        second_page(&client, members.clone()).await,
        second_page(&client, ListProgramsRequest::default()).await,
        second_page(&client, ListPurchasesRequest::default()).await,
        second_page(&client, referrals.clone()).await,
        second_page(&client, entries.clone()).await,
        second_page(&client, GetEarningsRequest::of(PROGRAM, "ada")).await,
        second_page(&client, rewards.clone()).await,
        second_page(&client, board.clone()).await,
    ];
    for (index, token) in tokens.iter().enumerate() {
        macro_rules! check {
            ($own:expr, $request:expr) => {
                if index == $own {
                    $request.page(1, token).ask(&client).await.unwrap();
                } else {
                    let (field, fault) = ("page_token", "INVALID_PAGE_TOKEN");
                    at_fault(&client, $request.page(1, token), field, fault).await;
                }
            };
        }
        check!(0, members.clone());
        check!(1, ListProgramsRequest::default());
        check!(2, ListPurchasesRequest::default());
        check!(3, referrals.clone());
        check!(4, entries.clone());
        check!(5, GetEarningsRequest::of(PROGRAM, "ada"));
        check!(6, rewards.clone());
        check!(7, board.clone());
    }
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn levels_depths_places_and_positions_have_their_ranges() {
    let (database, server, client) = server_with(&[PROGRAM]).await;
    client.sign_up(PROGRAM, "ada", "").await.unwrap();
    let range = "OUT_OF_RANGE";
    for number in [-1, 11, i32::MIN, i32::MAX] {
        let request =
            ListReferralsRequest { max_level: number, ..OfParticipant::of(PROGRAM, "ada") };
        at_fault(&client, request, "max_level", range).await;
        let request = GetReferralTreeRequest { depth: number, ..OfParticipant::of(PROGRAM, "ada") };
        at_fault(&client, request, "depth", range).await;
        let request =
            ListRewardsRequest { level: Some(number), ..OfParticipant::of(PROGRAM, "ada") };
        at_fault(&client, request, "level", range).await;
    }
    // In the list of a whole program, each referral is under its own referrer.
    let request = ListReferralsRequest { max_level: 2, ..OfProgram::of_program(PROGRAM) };
    let status = request.clone().ask(&client).await.unwrap_err();
    assert!(status.message().contains("must be 0 or 1 without a user_id"), "{status}");
    at_fault(&client, request, "max_level", range).await;
    for top in [-1, 101, i32::MIN, i32::MAX] {
        let request = WatchLeaderboardRequest { top, ..OfProgram::of_program(PROGRAM) };
        at_fault(&client, request, "top", range).await;
    }
    for number in [0, 1, 10] {
        let request =
            ListReferralsRequest { max_level: number, ..OfParticipant::of(PROGRAM, "ada") };
        request.ask(&client).await.unwrap();
        let request = GetReferralTreeRequest { depth: number, ..OfParticipant::of(PROGRAM, "ada") };
        request.ask(&client).await.unwrap();
        let request =
            ListRewardsRequest { level: Some(number), ..OfParticipant::of(PROGRAM, "ada") };
        request.ask(&client).await.unwrap();
    }
    for after_position in [-1, i64::MIN] {
        let request = ReadEventsRequest { after_position, ..Default::default() };
        at_fault(&client, request, "after_position", range).await;
    }
    let request = ReadEventsRequest { limit: -1, ..Default::default() };
    at_fault(&client, request, "limit", range).await;
    let event_types = vec!["RewardGranted".to_owned(), "RewardGiven".to_owned()];
    let unknown = "UNKNOWN_EVENT_TYPE";
    let request = ReadEventsRequest { event_types: event_types.clone(), ..Default::default() };
    at_fault(&client, request, "event_types[1]", unknown).await;
    let request = WatchEventsRequest { event_types, ..Default::default() };
    at_fault(&client, request, "event_types[1]", unknown).await;
    let lower = vec!["rewardgranted".to_owned()];
    let request = ReadEventsRequest { event_types: lower, ..Default::default() };
    at_fault(&client, request, "event_types[0]", unknown).await;
    server.stop().await;
    database.check().await;
}

fn at(seconds: i64) -> Timestamp {
    Timestamp { seconds, nanos: 0 }
}

#[tokio::test]
async fn a_report_spans_up_to_366_days_that_end_after_they_start() {
    const DAY: i64 = 86_400;
    let (database, server, client) = server_with(&[PROGRAM]).await;
    let report = |start_time, end_time| GetConversionReportRequest {
        start_time,
        end_time,
        ..OfProgram::of_program(PROGRAM)
    };
    for (start, end, days) in [
        (Some(at(0)), Some(at(366 * DAY)), 366),
        (Some(at(DAY - 1)), Some(at(DAY)), 1),
        (Some(at(DAY - 1)), Some(at(DAY + 1)), 2),
        (Some(at(0)), Some(at(0)), 0),
        (None, Some(at(100 * DAY)), 30),
    ] {
        let seen = report(start, end).ask(&client).await.unwrap();
        assert_eq!(seen.days.len(), days, "{start:?} to {end:?}");
    }
    for (start, end) in [
        (Some(at(0)), Some(at(367 * DAY))),
        (Some(at(2 * DAY)), Some(at(DAY))),
        (Some(at(0)), None),
    ] {
        at_fault(&client, report(start, end), "end_time", "INVALID_TIME").await;
    }
    let no_time = Some(at(253_402_300_800));
    at_fault(&client, report(no_time, Some(at(0))), "start_time", "INVALID_TIME").await;
    at_fault(&client, report(None, no_time), "end_time", "INVALID_TIME").await;
    // From the first year to the last: nothing happened, and nothing breaks.
    for end in [Some(at(-62_135_596_800)), Some(at(253_402_300_799))] {
        assert_eq!(report(None, end).ask(&client).await.unwrap().days.len(), 30);
    }
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn an_end_that_is_no_time_is_named_once() {
    let (database, server, client) = server_with(&[PROGRAM]).await;
    let request = GetConversionReportRequest {
        start_time: Some(at(0)),
        end_time: Some(at(253_402_300_800)),
        ..OfProgram::of_program(PROGRAM)
    };
    at_fault(&client, request, "end_time", "INVALID_TIME").await;
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn a_report_that_ends_before_it_starts_on_the_same_day_is_refused_as_well() {
    let (database, server, client) = server_with(&[PROGRAM]).await;
    for end in [7_200, 3_600, 0] {
        let request = GetConversionReportRequest {
            start_time: Some(at(7_201)),
            end_time: Some(at(end)),
            ..OfProgram::of_program(PROGRAM)
        };
        at_fault(&client, request, "end_time", "INVALID_TIME").await;
    }
    server.stop().await;
    database.check().await;
}
