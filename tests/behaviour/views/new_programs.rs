//! Reads of programs that were published a moment ago.

use contract::parse_program;
use contract::pb::*;

use super::ask::{Ask, OfParticipant, OfProgram, Read};
use crate::support::server_with;
use testing::program;

#[tokio::test]
async fn the_board_of_a_program_that_was_published_just_now_is_there() {
    let (database, server, client) = server_with(&[]).await;
    let json = std::fs::read_to_string(program("referral-count")).unwrap();
    let shipped = parse_program(&json).unwrap();
    for index in 0..40 {
        let program_id = format!("program-{index}");
        let program = Program { program_id: program_id.clone(), ..shipped.clone() };
        client.publish(program).await.unwrap();
        let board = GetLeaderboardRequest::of_program(&program_id).ask(&client).await.unwrap();
        assert!(board.entries.is_empty() && board.position > index);
    }
    server.stop().await;
    database.check().await;
}

/// A server keeps the boards of 64 programs; a board that was evicted is built again.
#[tokio::test]
async fn more_programs_than_a_server_keeps_boards_of_all_have_true_ones() {
    const PROGRAMS: usize = 70;
    let (database, server, client) = server_with(&[]).await;
    let json = std::fs::read_to_string(program("referral-count")).unwrap();
    let shipped = parse_program(&json).unwrap();
    let id = |index: usize| format!("program-{index}");
    for index in 0..PROGRAMS {
        let program = Program { program_id: id(index), ..shipped.clone() };
        client.publish(program).await.unwrap();
    }
    for round in 1..=2 {
        for index in 0..PROGRAMS {
            let user_id = format!("user-{index}-{round}");
            let token = client.sign_up(&id(index), &user_id, "").await.unwrap();
            let token = token.response.consistency_token;
            let request = GetLeaderboardRequest::of_program(&id(index)).after(&token);
            let board = request.ask(&client).await.unwrap();
            assert_eq!(board.participant_count, round, "{index}");
            assert_eq!(board.entries.len(), usize::try_from(round).unwrap());
        }
    }
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn every_other_read_of_what_was_written_just_now_finds_it() {
    let (database, server, client) = server_with(&[]).await;
    let json = std::fs::read_to_string(program("referral-count")).unwrap();
    let shipped = parse_program(&json).unwrap();
    for index in 0..10 {
        let program_id = format!("program-{index}");
        let program = Program { program_id: program_id.clone(), ..shipped.clone() };
        macro_rules! finds {
            ($request:expr) => {
                drop($request.ask(&client).await.unwrap())
            };
        }
        client.publish(program).await.unwrap();
        finds!(GetOverviewRequest::of_program(&program_id));
        let user = |name: &str| format!("{name}-{index}");
        for name in ["ada", "bob", "cid", "dan", "eve", "fay", "gus", "hal"] {
            client.sign_up(&program_id, &user(name), "").await.unwrap();
            match name {
                "ada" => finds!(GetBalancesRequest::of(&program_id, &user(name))),
                "bob" => finds!(GetEarningsRequest::of(&program_id, &user(name))),
                "cid" => finds!(GetTierRequest::of(&program_id, &user(name))),
                "dan" => finds!(GetReferralStatsRequest::of(&program_id, &user(name))),
                "eve" => finds!(ListReferralsRequest::of(&program_id, &user(name))),
                "fay" => finds!(GetReferralTreeRequest::of(&program_id, &user(name))),
                "gus" => finds!(ListRewardsRequest::of(&program_id, &user(name))),
                _ => finds!(ListBalanceEntriesRequest::of(&program_id, &user(name))),
            }
        }
        client.sign_up(&program_id, &user("ivo"), "").await.unwrap();
        finds!(ListUsersRequest::of_program(&program_id));
    }
    server.stop().await;
    database.check().await;
}
