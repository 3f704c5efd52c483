//! What a decision needs may be much, and may be found out step by step: in many programs, high up a line, with
//! nothing in memory. The rules bound it, and nothing else does.

#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

use std::collections::BTreeSet;
use std::ops::RangeInclusive;

use contract::parse_program;
use contract::pb::{
    EnrollParticipantRequest, GetOverviewRequest, ListProgramsRequest, Program,
    RecordPurchaseResponse, RegisterUserRequest, RewardKind, RewardRule, Tier,
};
use tonic::{Code, Status};

use crate::ahead;
use crate::races::{COMMISSION, split};
use testing::{
    ADMIN_KEY, Client, Pair, Server, TestDatabase, at_once, check_books, program, reason, tributary,
};

/// The programs that one user can be in.
const PROGRAMS: usize = 64;
/// The levels that one program can have.
const LEVELS: i32 = 10;

/// A program that pays on levels, as `pay` fills in.
fn deep(program_id: &str, levels: RangeInclusive<i32>, pay: impl Fn(&mut RewardRule)) -> Program {
    let json = std::fs::read_to_string(program(COMMISSION)).unwrap();
    let mut program = parse_program(&json).unwrap();
    program.program_id = program_id.into();
    program.max_direct_referrals = None;
    program.rewards = levels
        .map(|level| {
            let mut rule =
                RewardRule { rule: format!("level-{level}"), level, ..RewardRule::default() };
            pay(&mut rule);
            rule
        })
        .collect();
    program
}

fn commissions(program_id: &str) -> Program {
    deep(program_id, 1..=LEVELS, |rule| {
        rule.set_kind(RewardKind::Commission);
        rule.rate_bps = Some(10);
    })
}

/// Puts users into each of the programs, each user below the one before.
async fn line(client: &Client, programs: usize, users: &[String]) {
    for user in users {
        let request = RegisterUserRequest {
            user_id: user.clone(),
            username: user.clone(),
            email: format!("{user}@example.com"),
            ..RegisterUserRequest::default()
        };
        client.register(request).await.unwrap();
    }
    let lines = (0..programs).map(|number| {
        let (client, users) = (client.clone(), users.to_vec());
        async move {
            let program_id = format!("program-{number}");
            client.publish(commissions(&program_id)).await.unwrap();
            let mut code = String::new();
            for user_id in users {
                let request = EnrollParticipantRequest {
                    program_id: program_id.clone(),
                    user_id,
                    referral_code: code,
                    ..EnrollParticipantRequest::default()
                };
                let answer = client.programs().enroll_participant(client.request(request)).await;
                code = answer.unwrap().into_inner().participant.unwrap().code;
            }
        }
    });
    at_once(lines).await;
}

fn users() -> Vec<String> {
    (0..=LEVELS).map(|level| format!("user-{level}")).collect()
}

/// Checks that a purchase earned something on every level of every program.
#[track_caller]
fn check_paid(answer: Result<RecordPurchaseResponse, Status>, programs: usize) {
    let outcomes = answer.unwrap().outcomes;
    assert_eq!(outcomes.len(), programs);
    for outcome in outcomes {
        assert_eq!(outcome.rewards.len(), usize::try_from(LEVELS).unwrap(), "{outcome:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_purchase_in_64_programs_with_10_levels_is_recorded_whatever_is_in_memory() {
    let database = TestDatabase::new().await;
    let server = Server::start(&database).await;
    line(&server.client(), PROGRAMS, &users()).await;
    server.stop().await;
    // The first finds nothing in memory, the second much less than the purchase needs.
    for options in ["", "--cached-streams 1", "--cached-streams 200"] {
        let server = ahead::server(&database, options).await;
        for _ in 0..2 {
            let answer = server.client().buy("", &format!("user-{LEVELS}"), "INR", 100_000).await;
            check_paid(answer, PROGRAMS);
        }
        // A deactivation touches the user in every program, too.
        server.client().deactivate("user-5").await.unwrap();
        server.client().reactivate("user-5").await.unwrap();
        assert_eq!(server.client().user("user-5").await.unwrap().participants.len(), PROGRAMS);
        server.stop().await;
    }
    check_books(&database).await;
    database.check().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_servers_that_contend_for_long_lines_in_several_programs_turn_nobody_away() {
    const CONTENDED_PROGRAMS: usize = 6;
    let database = TestDatabase::new().await;
    let server = Server::start(&database).await;
    line(&server.client(), CONTENDED_PROGRAMS, &users()).await;
    server.stop().await;
    let pair = Pair::start(&database).await;
    let answers = at_once((0..8).map(|number| {
        let client = pair.client(number);
        async move {
            let mut answers = Vec::new();
            for _ in 0..8 {
                answers.push(client.buy("", &format!("user-{LEVELS}"), "INR", 100_000).await);
            }
            answers
        }
    }))
    .await;
    for answer in answers.into_iter().flatten() {
        check_paid(answer, CONTENDED_PROGRAMS);
    }
    pair.stop().await;
    check_books(&database).await;
    database.check().await;
}

/// A program whose message has almost 7 kB.
fn bulky(number: usize) -> Program {
    let json = std::fs::read_to_string(program("tiered-points")).unwrap();
    let mut program = parse_program(&json).unwrap();
    program.program_id = format!("bulky-{number:04}");
    program.display_name = "界".repeat(128);
    let tiers = (10..42).map(|tier| Tier {
        name: format!("{}{tier}", "界".repeat(62)),
        from_referrals: (tier - 10) * 7,
        rate_points: 10,
        ..Tier::default()
    });
    program.rewards[0].tiers = tiers.collect();
    program
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_programs_are_listed_although_one_message_cannot_hold_them() {
    const BULKY: usize = 1_010;
    let database = TestDatabase::new().await;
    let server = Server::start(&database).await;
    let client = server.client();
    at_once((0..12).map(|worker| {
        let client = client.clone();
        async move {
            for number in (worker..BULKY).step_by(12) {
                client.publish(bulky(number)).await.unwrap();
            }
        }
    }))
    .await;
    let all: BTreeSet<String> = (0..BULKY).map(|number| format!("bulky-{number:04}")).collect();
    for (page_size, least_pages) in [(0, BULKY / 50), (1_000, 2)] {
        let mut listed = BTreeSet::new();
        let (mut page_token, mut pages) = (String::new(), 0);
        loop {
            let request =
                ListProgramsRequest { page_size, page_token, ..ListProgramsRequest::default() };
            let answer = client.programs().list_programs(client.request(request)).await.unwrap();
            let page = answer.into_inner();
            assert!(!page.programs.is_empty());
            pages += 1;
            for program in page.programs {
                assert!(listed.insert(program.program_id), "a program is listed twice");
            }
            page_token = page.next_page_token;
            if page_token.is_empty() {
                break;
            }
        }
        assert_eq!(listed, all);
        assert!(pages >= least_pages, "{pages} pages of {page_size}");
    }
    let output = tributary()
        .args(["program", "list", "--server", &format!("http://{}", server.address)])
        .env("TRIBUTARY_ADMIN_KEY", ADMIN_KEY)
        .output()
        .await
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(String::from_utf8(output.stdout).unwrap().lines().count(), BULKY);
    server.stop().await;
    database.check().await;
}

/// Whether programs enroll by default.
async fn publish_default(client: &Client, number: usize, by_default: bool) -> Result<(), Status> {
    let mut program = commissions(&format!("default-{number}"));
    program.enroll_by_default = by_default;
    client.publish(program).await.map(drop)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_more_programs_enroll_by_default_than_one_user_can_be_in() {
    const ROUNDS: usize = 5;
    let database = TestDatabase::new().await;
    let pair = Pair::start(&database).await;
    at_once((0..PROGRAMS).map(|number| {
        let client = pair.client(number);
        async move { publish_default(&client, number, true).await.unwrap() }
    }))
    .await;
    let refused = publish_default(&pair.client(0), 1_000, true).await.unwrap_err();
    assert_eq!(reason(&refused), (Code::FailedPrecondition, "TOO_MANY_DEFAULT_PROGRAMS".into()));
    // A new version of one of them is no new program that enrolls by default.
    let mut again = commissions("default-0");
    (again.enroll_by_default, again.minimum_purchase_minor) = (true, 7);
    pair.client(0).publish(again).await.unwrap();

    for round in 1..=ROUNDS {
        // One ceases, and two servers publish others at once: new ones, and one that had ceased before.
        publish_default(&pair.client(round), round, false).await.unwrap();
        let rivals = (0..6).map(|rival| {
            let client = pair.client(rival);
            async move {
                let number = if rival == 5 { round } else { round * 1_000 + rival };
                publish_default(&client, number, true).await
            }
        });
        let (successes, reasons) = split(at_once(rivals).await);
        assert_eq!(successes.len(), 1, "{reasons:?}");
        for reason in reasons {
            assert_eq!(reason, (Code::FailedPrecondition, "TOO_MANY_DEFAULT_PROGRAMS".into()));
        }
        let user_id = format!("plain-{round}");
        let answer = pair.client(round).sign_up("", &user_id, "").await.unwrap();
        assert_eq!(answer.response.participants.len(), PROGRAMS);
    }
    pair.stop().await;
    check_books(&database).await;
    database.check().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_overview_adds_up_rewards_beyond_the_largest_amount_of_money() {
    /// The most that one reward can be.
    const REWARD: i64 = 1_000_000_000_000_000;
    const PURCHASES: usize = 930;
    let database = TestDatabase::new().await;
    let server = Server::start(&database).await;
    let client = server.client();
    let rich = deep("rich", 0..=LEVELS, |rule| {
        rule.set_kind(RewardKind::Bonus);
        rule.flat_minor = Some(REWARD);
    });
    client.publish(rich).await.unwrap();
    let mut code = String::new();
    for user in users() {
        code = client.sign_up("rich", &user, &code).await.unwrap().code;
    }
    let overview = async |consistency_token: String| {
        let request = GetOverviewRequest { program_id: "rich".into(), consistency_token };
        client.operators().get_overview(client.request(request)).await.unwrap().into_inner()
    };
    let empty = overview(String::new()).await;
    assert_eq!(empty.rewards_granted[0].minor_units, 0);
    assert_eq!(empty.rewards_granted_minor_units, "0");
    for purchases in [1, PURCHASES - 1] {
        let bought =
            at_once(
                (0..purchases).map(|_| {
                    let client = client.clone();
                    async move {
                        client.buy("", &format!("user-{LEVELS}"), "INR", 100_000).await.map(drop)
                    }
                }),
            )
            .await;
        assert_eq!(split(bought).1, []);
        // Its token is of a position after all purchases.
        let late = client.sign_up("rich", &format!("late-{purchases}"), "").await.unwrap();
        let seen = overview(late.response.consistency_token).await;
        let all = if purchases == 1 { 1 } else { PURCHASES };
        let rewards = i128::try_from(all).unwrap() * i128::from(LEVELS + 1);
        let sum = rewards * i128::from(REWARD);
        assert_eq!(
            (i128::from(seen.reward_count), i128::from(seen.rewards_granted_count)),
            (rewards, rewards)
        );
        assert_eq!(seen.rewards_granted_minor_units, sum.to_string());
        // Where the sum does not fit, there is no amount instead of a wrong one.
        let fitting: Vec<i128> =
            seen.rewards_granted.iter().map(|money| money.minor_units.into()).collect();
        assert_eq!(fitting, if sum > i128::from(i64::MAX) { vec![] } else { vec![sum] });
    }
    server.stop().await;
    database.check().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sign_up_finds_a_free_code_although_nine_of_ten_are_taken() {
    let database = TestDatabase::new().await;
    let server = Server::start(&database).await;
    let client = server.client();
    let mut narrow = commissions("narrow");
    let code = narrow.code.as_mut().unwrap();
    (code.length, code.alphabet) = (6, "0123456789".into());
    client.publish(narrow).await.unwrap();
    sqlx::query(
        "insert into claims (kind, value, owner)
        select 'code', lpad(number::text, 6, '0'), 'narrow/somebody'
        from generate_series(0, 999999) as number where number % 10 <> 7",
    )
    .execute(&database.pool)
    .await
    .unwrap();
    for number in 0..20 {
        let code = client.sign_up("narrow", &format!("user-{number}"), "").await.unwrap().code;
        assert!(code.ends_with('7'), "{code} was taken");
    }
    server.stop().await;
    database.check().await;
}
