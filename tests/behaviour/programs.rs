//! Programs: publishing, reading, listing and enrollment.

use contract::parse_program;
use contract::pb::*;

use super::bad_input::violations;
use super::support::{is_code, log_length, server_with};
use testing::{Client, program, reason, sign_up_request};

const SHIPPED: &[&str] = &[
    "first-purchase-bonus",
    "first-purchase-credits",
    "multi-level-commission",
    "referral-count",
    "tiered-points",
];

async fn get(client: &Client, program_id: &str, version: i32) -> Program {
    let message =
        GetProgramRequest { program_id: program_id.into(), version, ..Default::default() };
    let answer = client.programs().get_program(client.request(message)).await.unwrap();
    answer.into_inner().program.unwrap()
}

#[tokio::test]
async fn every_shipped_program_is_read_back_as_its_file_says() {
    let (database, server, client) = server_with(SHIPPED).await;
    for name in SHIPPED {
        let json = std::fs::read_to_string(program(name)).unwrap();
        let file = parse_program(&json).unwrap();
        assert_eq!(&file.program_id, name);

        let read = get(&client, name, 0).await;

        assert!(read.create_time.is_some() && read.create_time == read.publish_time);
        let output_only = Program {
            version: read.version,
            create_time: read.create_time,
            publish_time: read.publish_time,
            ..file
        };
        assert_eq!((read.version, &read), (1, &output_only));
        assert_eq!(get(&client, name, 1).await, read);
    }
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn a_version_stays_what_it_was_and_publishing_it_again_changes_nothing() {
    let (database, server, client) = server_with(&[]).await;
    let first = client.publish_shipped("multi-level-commission").await;
    let before = log_length(&database).await;
    // A program that was read can be published again unchanged.
    assert_eq!(client.publish(first.clone()).await.unwrap(), first);
    assert_eq!(log_length(&database).await, before);

    let changed = Program { max_direct_referrals: Some(9), ..first.clone() };
    let second = client.publish(changed.clone()).await.unwrap();
    let third = client.publish(Program { version: 0, ..first.clone() }).await.unwrap();

    assert_eq!((second.version, second.max_direct_referrals), (2, Some(9)));
    assert_eq!(second.create_time, first.create_time);
    assert_eq!((third.version, third.max_direct_referrals), (3, Some(8)));
    for version in [first, second, third.clone()] {
        assert_eq!(get(&client, "multi-level-commission", version.version).await, version);
    }
    assert_eq!(get(&client, "multi-level-commission", 0).await, third);
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn programs_are_listed_by_id_page_by_page() {
    let (database, server, client) = server_with(SHIPPED).await;
    let mut listed = Vec::new();
    let mut page_token = String::new();
    let mut pages = 0;
    loop {
        let message = ListProgramsRequest { page_size: 2, page_token, ..Default::default() };
        let page = client.programs().list_programs(client.request(message)).await.unwrap();
        let page = page.into_inner();
        assert!(page.programs.len() <= 2);
        listed.extend(page.programs.into_iter().map(|program| program.program_id));
        page_token = page.next_page_token;
        pages += 1;
        if page_token.is_empty() {
            break;
        }
    }
    assert_eq!(listed, SHIPPED);
    assert_eq!(pages, 3);
    server.stop().await;
    database.check().await;
}

async fn versions(
    client: &Client,
    program_id: &str,
    page_size: i32,
    page_token: &str,
) -> (Vec<Program>, String) {
    let message = ListProgramVersionsRequest {
        program_id: program_id.into(),
        page_size,
        page_token: page_token.into(),
        ..Default::default()
    };
    let page = client.programs().list_program_versions(client.request(message)).await.unwrap();
    let page = page.into_inner();
    (page.programs, page.next_page_token)
}

#[tokio::test]
async fn the_versions_of_a_program_are_listed_the_newest_first_as_each_of_them_is_read() {
    let (database, server, client) = server_with(&["referral-count"]).await;
    let first = client.publish_shipped("multi-level-commission").await;
    let mut published = vec![first.clone()];
    for limit in 2..=5 {
        let changed = Program { max_direct_referrals: Some(limit), ..first.clone() };
        published.insert(0, client.publish(changed).await.unwrap());
    }
    let (all, next) = versions(&client, "multi-level-commission", 0, "").await;
    assert_eq!((&all, next.as_str()), (&published, ""));
    for program in &all {
        assert_eq!(&get(&client, "multi-level-commission", program.version).await, program);
    }
    let times: Vec<_> = all.iter().map(|of| of.publish_time.unwrap()).collect();
    let order = |time: &prost_types::Timestamp| (time.seconds, time.nanos);
    assert!(times.is_sorted_by_key(|time| std::cmp::Reverse(order(time))), "{times:?}");

    // A version that is published in between does not shift the pages.
    let (mut listed, mut token) = versions(&client, "multi-level-commission", 2, "").await;
    client.publish(Program { max_direct_referrals: Some(7), ..first }).await.unwrap();
    while !token.is_empty() {
        let (page, next) = versions(&client, "multi-level-commission", 2, &token).await;
        assert!(!page.is_empty() && page.len() <= 2);
        listed.extend(page);
        token = next;
    }
    assert_eq!(listed, published);
    assert_eq!(versions(&client, "referral-count", 1, "").await.0.len(), 1);
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn a_page_of_large_versions_ends_before_it_is_too_large_for_a_client() {
    const VERSIONS: usize = 260;
    let (database, server, client) = server_with(&[]).await;
    // As many tiers as a rule can have, with names as long as they can be.
    let json = std::fs::read_to_string(program("tiered-points")).unwrap();
    let mut large = parse_program(&json).unwrap();
    let long = "\u{20000}".repeat(61);
    large.rewards[0].tiers = (0..32)
        .map(|tier| Tier {
            name: format!("{tier}.{long}"),
            from_referrals: tier,
            ..Default::default()
        })
        .collect();
    let mut bytes = 0;
    for version in 1..=VERSIONS {
        large.display_name = format!("Version {version}");
        let published = client.publish(large.clone()).await.unwrap();
        bytes += prost::Message::encoded_len(&published);
    }
    assert!(bytes > 2 * 1024 * 1024, "{bytes} bytes fit into one page");
    let (mut listed, mut token) = versions(&client, &large.program_id, 1_000, "").await;
    let first = listed.len();
    assert!(first < VERSIONS, "all {VERSIONS} versions are in one page");
    while !token.is_empty() {
        let (page, next) = versions(&client, &large.program_id, 1_000, &token).await;
        listed.extend(page);
        token = next;
    }
    let numbers: Vec<_> = listed.iter().map(|of| usize::try_from(of.version).unwrap()).collect();
    assert_eq!(numbers, (1..=VERSIONS).rev().collect::<Vec<_>>());
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn a_sign_up_without_program_and_code_enters_the_programs_that_enroll_by_default() {
    let (database, server, client) = server_with(&["referral-count"]).await;
    for (program_id, alphabet) in [("z-default", "0123456789"), ("a-default", "ABCDEFGHIJ")] {
        let json = std::fs::read_to_string(program("first-purchase-credits")).unwrap();
        let by_default = Program {
            program_id: program_id.into(),
            enroll_by_default: true,
            code: Some(CodeFormat { length: 12, alphabet: alphabet.into() }),
            ..parse_program(&json).unwrap()
        };
        client.publish(by_default).await.unwrap();
    }

    let answer = client.register(sign_up_request("", "ada", "")).await.unwrap();

    let programs: Vec<&str> = answer.participants.iter().map(|of| &*of.program_id).collect();
    assert_eq!(programs, ["a-default", "z-default"]);
    for (participant, letters) in answer.participants.iter().zip(["ABCDEFGHIJ", "0123456789"]) {
        is_code(&participant.code, 12);
        assert!(participant.code.chars().all(|letter| letters.contains(letter)));
    }
    assert_eq!(client.user("ada").await.unwrap().participants, answer.participants);
    // A program or a code enrolls in that program only.
    let bob = client.sign_up("referral-count", "bob", "").await.unwrap();
    assert_eq!(bob.response.participants.len(), 1);
    let cid = client.sign_up("", "cid", &answer.participants[1].code).await.unwrap();
    assert_eq!(cid.response.participants.len(), 1);
    assert_eq!(cid.response.participants[0].program_id, "z-default");
    assert_eq!(cid.referrer_user_id, "ada");
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn of_two_who_have_seen_the_same_version_one_publishes_and_the_other_is_told() {
    let (database, server, client) = server_with(&["multi-level-commission"]).await;
    let current = get(&client, "multi-level-commission", 0).await;
    let publish = async |hold_days: i32, expected_version: Option<i32>| {
        let program = Program { hold_days: Some(hold_days), ..current.clone() };
        let message = PublishProgramRequest {
            program: Some(program),
            expected_version,
            ..Default::default()
        };
        let answer = client.programs().publish_program(client.request(message)).await?;
        Ok::<_, tonic::Status>(answer.into_inner().program.unwrap().version)
    };
    let (first, second) = tokio::join!(publish(7, Some(1)), publish(8, Some(1)));
    let (published, refused): (Vec<_>, Vec<_>) =
        [first, second].into_iter().partition(Result::is_ok);
    assert_eq!(published.into_iter().map(Result::unwrap).collect::<Vec<_>>(), [2]);
    assert_eq!(refused.len(), 1, "the other is told");
    assert_eq!(reason(refused[0].as_ref().unwrap_err()).1, "PROGRAM_CHANGED");
    for expected in [0, 3] {
        let status = publish(9, Some(expected)).await.unwrap_err();
        assert_eq!(reason(&status).1, "PROGRAM_CHANGED", "{expected}");
    }
    let status = publish(9, Some(-1)).await.unwrap_err();
    assert_eq!(violations(&status)[0].0, "expected_version");
    assert_eq!(publish(9, Some(2)).await.unwrap(), 3);
    assert_eq!(publish(10, None).await.unwrap(), 4, "whatever is in force");
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn a_program_that_is_only_checked_is_answered_as_if_published_and_is_not() {
    let (database, server, client) = server_with(&["multi-level-commission"]).await;
    let before = log_length(&database).await;
    let current = get(&client, "multi-level-commission", 0).await;
    let check = async |program: Program| {
        let message = PublishProgramRequest {
            program: Some(program),
            request_id: "checked".into(),
            validate_only: true,
            ..Default::default()
        };
        client.programs().publish_program(client.request(message)).await
    };
    let changed = Program { hold_days: Some(7), ..current.clone() };
    let answer = check(changed.clone()).await.unwrap().into_inner();
    let program = answer.program.unwrap();
    assert_eq!((program.version, program.hold_days), (2, Some(7)));
    assert_eq!(answer.consistency_token, "");
    // Rules that are in force already would change nothing.
    assert_eq!(check(current.clone()).await.unwrap().into_inner().program.unwrap().version, 1);
    let other =
        Program { program_id: "other".into(), display_name: String::new(), ..current.clone() };
    let other = check(other).await.unwrap().into_inner().program.unwrap();
    assert_eq!((other.version, &*other.display_name), (1, "other"));

    let status = check(Program { unit: "EUR".into(), ..current.clone() }).await.unwrap_err();
    assert_eq!(violations(&status)[0].0, "program.purchase_currency_code");
    let euros =
        Program { unit: "EUR".into(), purchase_currency_code: "EUR".into(), ..current.clone() };
    let status = check(euros).await.unwrap_err();
    assert_eq!(reason(&status).1, "UNIT_IS_FIXED");

    assert_eq!(log_length(&database).await, before);
    assert_eq!(get(&client, "multi-level-commission", 0).await, current);
    // The request id is free for the publication itself.
    let message = PublishProgramRequest {
        program: Some(changed),
        request_id: "checked".into(),
        ..Default::default()
    };
    let published = client.programs().publish_program(client.request(message)).await.unwrap();
    assert_eq!(published.into_inner().program.unwrap().version, 2);
    server.stop().await;
    database.check().await;
}
