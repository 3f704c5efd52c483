//! A read with the token of a write sees that write on any server, and the answers of a server never go back
//! in time.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use contract::pb::*;
use tonic::Status;

use crate::expected::check_read_models;
use crate::history::{begin, work};
use crate::reads::{COMMISSION, FROM_BOARDS, FROM_READ_MODELS, SHARE, TIERED, position, settle};
use testing::{ADMIN_KEY, Client, Pair, Server, TestDatabase, at_once, check_books};

/// Sends a read with a token.
macro_rules! ask {
    ($client:expr, $token:expr, $service:ident.$rpc:ident($message:ident { $($field:ident: $value:expr),* })) => {{
        #[allow(clippy::needless_update, reason = "some messages have no other fields")]
        let message = $message {
            consistency_token: $token.into(),
            $($field: $value.into(),)*
            ..$message::default()
        };
        $client.$service().$rpc($client.request(message)).await.unwrap().into_inner()
    }};
}

fn minor(money: Option<&Money>) -> i64 {
    money.unwrap().minor_units
}

/// Checks what must be visible after a number of purchases of a worker's friend.
async fn check_purchase(client: &Client, token: &str, worker: usize, bought: i64, id: &str) {
    let (owner, friend) = (format!("owner{worker}"), format!("friend{worker}"));
    let earned = bought * SHARE;
    let program_id = COMMISSION;
    let answer = ask!(
        client,
        token,
        rewards.get_balances(GetBalancesRequest { program_id: program_id, user_id: &*owner })
    );
    assert_eq!(answer.balances[0].minor_units, earned);
    let answer = ask!(
        client,
        token,
        rewards.get_earnings(GetEarningsRequest { program_id: program_id, user_id: &*owner })
    );
    assert_eq!(minor(answer.total.as_ref()), earned);
    assert_eq!(
        (&*answer.rewards[0].purchase_id, i64::from(answer.by_level[0].count)),
        (id, bought)
    );
    let answer = ask!(
        client,
        token,
        referrals.get_referral_stats(GetReferralStatsRequest {
            program_id: program_id,
            user_id: &*owner
        })
    );
    assert_eq!((minor(answer.earned.as_ref()), answer.converted_count), (earned, 1));
    let answer = ask!(
        client,
        token,
        purchases.list_purchases(ListPurchasesRequest { buyer_user_id: &*friend, page_size: 1 })
    );
    assert_eq!(answer.purchases[0].purchase.as_ref().unwrap().purchase_id, id);
    let answer = ask!(client, token, purchases.list_purchases(ListPurchasesRequest {}));
    let ids = answer.purchases.iter().map(|of| of.purchase.as_ref().unwrap());
    assert!(ids.into_iter().any(|purchase| purchase.purchase_id == id));
    let answer = ask!(
        client,
        token,
        leaderboards.get_leaderboard(GetLeaderboardRequest { program_id: program_id })
    );
    let entry = answer.entries.iter().find(|entry| entry.user_id == owner).unwrap();
    assert_eq!(entry.score, earned);
    let answer = ask!(
        client,
        token,
        leaderboards.get_rank(GetRankRequest { program_id: program_id, user_id: &*owner })
    );
    assert_eq!(answer.entry.unwrap().score, earned);
}

/// Checks what must be visible after a number of sign-ups with a worker's code.
async fn check_sign_up(client: &Client, token: &str, worker: usize, referred: i32, name: &str) {
    let owner = format!("tiers{worker}");
    let (tier, points) = match i64::from(referred) {
        few @ 0..10 => ("Bronze", few * 10),
        some @ 10..50 => ("Silver", some * 15 + 100),
        many => ("Gold", many * 25 + 500),
    };
    let answer = ask!(
        client,
        token,
        rewards.get_tier(GetTierRequest { program_id: TIERED, user_id: &*owner })
    );
    assert_eq!((&*answer.tier, answer.referral_count, answer.points), (tier, referred, points));
    let answer = ask!(
        client,
        token,
        referrals
            .get_referral_stats(GetReferralStatsRequest { program_id: TIERED, user_id: &*owner })
    );
    assert_eq!((answer.referral_count, answer.uses), (referred, referred));
    let newest = answer.recent_referrals[0].referral.as_ref().unwrap();
    assert_eq!(newest.referee_user_id, name);
    for max_level in 1..=2 {
        let answer = ask!(
            client,
            token,
            referrals.list_referrals(ListReferralsRequest {
                program_id: TIERED,
                user_id: &*owner,
                max_level: max_level
            })
        );
        assert_eq!(answer.referrals[0].referral.as_ref().unwrap().referee_user_id, name);
    }
    for program_id in ["", TIERED] {
        let answer =
            ask!(client, token, accounts.list_users(ListUsersRequest { program_id: program_id }));
        let mut users = answer.users.iter().map(|of| of.user.as_ref().unwrap());
        assert!(users.any(|user| user.user_id == name), "{name} of '{program_id}'");
    }
    let answer = ask!(
        client,
        token,
        leaderboards.get_rank(GetRankRequest { program_id: TIERED, user_id: name })
    );
    assert_eq!(answer.entry.unwrap().score, 0);
    let answer = ask!(
        client,
        token,
        leaderboards.get_rank(GetRankRequest { program_id: TIERED, user_id: &*owner })
    );
    assert_eq!(answer.entry.unwrap().score, points);
}

/// Checks that a program's numbers are at least these.
async fn check_overview(client: &Client, token: &str, rewards: i32, registered: i32) {
    let answer =
        ask!(client, token, operators.get_overview(GetOverviewRequest { program_id: COMMISSION }));
    assert!(answer.reward_count >= rewards, "{answer:?}");
    let granted = answer.rewards_granted[0].minor_units;
    assert_eq!(granted, i64::from(answer.reward_count) * SHARE, "{answer:?}");
    let answer =
        ask!(client, token, operators.get_overview(GetOverviewRequest { program_id: TIERED }));
    assert!(answer.registered >= registered, "{answer:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_written_on_one_server_is_read_on_the_other_with_its_token() {
    const WORKERS: usize = 4;
    const ROUNDS: i32 = 55;
    let database = TestDatabase::new().await;
    let pair = Pair::start(&database).await;
    settle(&pair.client(0)).await;
    let mut calls = Vec::new();
    for worker in 0..WORKERS {
        let clients = [pair.client(2 * worker), pair.client(2 * worker + 1)];
        calls.push(async move {
            let owner = format!("owner{worker}");
            let code = clients[0].sign_up(COMMISSION, &owner, "").await.unwrap().code;
            let friend = format!("friend{worker}");
            clients[1].sign_up(COMMISSION, &friend, &code).await.unwrap();
            let tiers = format!("tiers{worker}");
            let code = clients[0].sign_up(TIERED, &tiers, "").await.unwrap().code;
            for round in 1..=ROUNDS {
                let (here, there) = match round % 2 {
                    0 => (&clients[0], &clients[1]),
                    _ => (&clients[1], &clients[0]),
                };
                let id = format!("order{worker}-{round}");
                let bought = here.buy(&id, &friend, "INR", 100_000).await.unwrap();
                let token = bought.consistency_token;
                check_purchase(there, &token, worker, round.into(), &id).await;
                check_overview(there, &token, round, 0).await;

                let name = format!("guest{worker}-{round}");
                let token =
                    there.sign_up(TIERED, &name, &code).await.unwrap().response.consistency_token;
                check_sign_up(here, &token, worker, round, &name).await;
                check_overview(here, &token, round, round + 1).await;
            }
        });
    }
    at_once(calls).await;
    check_read_models(&database).await;
    pair.stop().await;
    check_books(&database).await;
    database.check().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_has_just_signed_up_is_found_without_a_token_as_well() {
    let database = TestDatabase::new().await;
    let pair = Pair::start(&database).await;
    let code = settle(&pair.client(0)).await;
    at_once((0..3).map(|worker| {
        let (here, there) = (pair.client(worker), pair.client(worker + 1));
        let code = code.clone();
        async move {
            for round in 0..50 {
                let name = format!("guest{worker}-{round}");
                here.sign_up(TIERED, &name, &code).await.unwrap();
                let clients = if round % 2 == 0 { [&here, &there] } else { [&there, &here] };
                for client in clients {
                    let user_id = &*name;
                    let answer = ask!(
                        client,
                        "",
                        rewards.get_balances(GetBalancesRequest {
                            program_id: TIERED,
                            user_id: user_id
                        })
                    );
                    assert_eq!(answer.balances[0].minor_units, 0);
                    ask!(
                        client,
                        "",
                        rewards.get_tier(GetTierRequest { program_id: TIERED, user_id: user_id })
                    );
                    ask!(
                        client,
                        "",
                        referrals.get_referral_stats(GetReferralStatsRequest {
                            program_id: TIERED,
                            user_id: user_id
                        })
                    );
                    let answer = ask!(
                        client,
                        "",
                        leaderboards
                            .get_rank(GetRankRequest { program_id: TIERED, user_id: user_id })
                    );
                    assert_eq!(answer.entry.unwrap().user_id, name);
                    ask!(
                        client,
                        "",
                        referrals.get_referral_tree(GetReferralTreeRequest {
                            program_id: TIERED,
                            user_id: user_id
                        })
                    );
                }
            }
        }
    }))
    .await;
    check_read_models(&database).await;
    pair.stop().await;
    database.check().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_program_that_was_just_published_has_its_numbers_without_a_token_as_well() {
    let database = TestDatabase::new().await;
    let pair = Pair::start(&database).await;
    for (number, program) in crate::history::PROGRAMS.into_iter().enumerate() {
        pair.client(number).publish_shipped(program).await;
        for client in [pair.client(number + 1), pair.client(number)] {
            let answer = ask!(
                client,
                "",
                operators.get_overview(GetOverviewRequest { program_id: program })
            );
            assert_eq!((answer.registered, answer.reward_count), (0, 0));
            let answer = ask!(
                client,
                "",
                leaderboards.get_leaderboard(GetLeaderboardRequest { program_id: program })
            );
            assert_eq!(answer.participant_count, 0);
        }
    }
    check_read_models(&database).await;
    pair.stop().await;
    database.check().await;
}

/// Reads without a token until told to stop, checks that no answer is older than the previous one, and counts
/// those that are newer.
async fn read_on(client: Client, reads: &[&str], stop: &AtomicBool, newer: &AtomicUsize) {
    let mut last = 0;
    while !stop.load(Ordering::SeqCst) {
        for read in reads {
            let reached: Result<i64, Status> = position(&client, read, "owner", "", None).await;
            let reached = reached.unwrap();
            assert!(reached >= last, "{read} went back from {last} to {reached}");
            newer.fetch_add(usize::from(reached > last), Ordering::SeqCst);
            last = reached;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_answers_of_a_server_never_go_back_in_time() {
    let database = TestDatabase::new().await;
    let first = Server::start(&database).await;
    let workers = begin(&first.client(), 4).await;
    let second = Server::start(&database).await;
    // An owner and a friend besides the workers, in the programs as shipped.
    for program in [COMMISSION, TIERED] {
        let message = EnrollParticipantRequest {
            program_id: program.into(),
            user_id: "owner".into(),
            ..EnrollParticipantRequest::default()
        };
        let client = first.client();
        if program == COMMISSION {
            let code = client.sign_up(program, "owner", "").await.unwrap().code;
            client.sign_up(program, "friend", &code).await.unwrap();
        } else {
            client.programs().enroll_participant(client.request(message)).await.unwrap();
        }
    }
    let stop = Arc::new(AtomicBool::new(false));
    let (mut readers, mut counts) = (Vec::new(), Vec::new());
    for server in [&first, &second] {
        for reads in [&FROM_READ_MODELS[..], &FROM_BOARDS[..]] {
            let (client, stop) = (server.separate_client(Some(ADMIN_KEY)).await, stop.clone());
            let newer = Arc::new(AtomicUsize::new(0));
            counts.push(newer.clone());
            readers.push(tokio::spawn(async move { read_on(client, reads, &stop, &newer).await }));
        }
    }
    let working = work(&first, workers, &stop).await;
    // Repeated as often as necessary: how far the projector gets in between depends on the machine.
    let mut cuts = 0;
    while cuts < 8 || counts.iter().any(|newer| newer.load(Ordering::SeqCst) < 10) {
        assert!(cuts < 200, "{counts:?}");
        assert!(readers.iter().all(|reader| !reader.is_finished()), "a reader has failed");
        tokio::time::sleep(Duration::from_millis(400)).await;
        cuts += u32::from(crate::projector::cut_off(&database).await);
    }
    stop.store(true, Ordering::SeqCst);
    working.ended().await;
    for reader in readers {
        reader.await.unwrap();
    }
    check_read_models(&database).await;
    tokio::join!(first.stop(), second.stop());
    database.check().await;
}
