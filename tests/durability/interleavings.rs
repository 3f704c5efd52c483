//! Commands of different kinds at once, on two servers: whichever comes first in the log, later ones are
//! decided on its result.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use contract::pb::{Program, PublishProgramRequest};
use tonic::Code;

use super::races::{COMMISSION, COUNT, enroll, finish, paid, referrer_of, split};
use testing::{Grants, Pair, TestDatabase, at_once, events_in, granted, sign_up_request, uses};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_users_who_refer_each_other_at_once_end_with_one_referral() {
    let database = TestDatabase::new().await;
    let pair = Pair::start(&database).await;
    pair.client(0).publish_shipped(COMMISSION).await;

    for round in 0..10 {
        let names = [format!("ada{round}"), format!("bob{round}")];
        for (number, name) in names.iter().enumerate() {
            pair.client(number).sign_up(COMMISSION, name, "").await.unwrap();
        }
        let answers = at_once((0..2).map(|number| {
            let (referee, referrer) = (names[number].clone(), names[1 - number].clone());
            let client = pair.client(number);
            async move { client.refer(COMMISSION, &referee, &referrer).await }
        }))
        .await;

        let (successes, reasons) = split(answers);
        assert_eq!(successes.len(), 1, "{reasons:?}");
        assert_eq!(reasons, [(Code::FailedPrecondition, "REFERRAL_CYCLE".to_owned())]);
    }
    assert_eq!(database.count("select count(*) from referrals").await, 10);
    finish(pair, &database).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn chains_that_would_close_into_a_cycle_at_once_do_not() {
    let database = TestDatabase::new().await;
    let pair = Pair::start(&database).await;
    pair.client(0).publish_shipped(COMMISSION).await;

    // Chains of referrals that all try to close a ring at once: the head of each takes the tail of the next
    // chain as its referrer.
    let mut made = 0;
    for (round, (chains, length)) in
        [(2, 2), (3, 1), (2, 5), (3, 3), (4, 2), (2, 2), (5, 1), (2, 5)].into_iter().enumerate()
    {
        let name = |chain: usize, place: usize| format!("r{round}-{}-{place}", chain % chains);
        for chain in 0..chains {
            for place in 0..length {
                let client = pair.client(chain);
                client.sign_up(COMMISSION, &name(chain, place), "").await.unwrap();
                if place > 0 {
                    let (referee, referrer) = (name(chain, place), name(chain, place - 1));
                    client.refer(COMMISSION, &referee, &referrer).await.unwrap();
                    made += 1;
                }
            }
        }
        let answers = at_once((0..chains).map(|chain| {
            let (referee, referrer) = (name(chain, 0), name(chain + 1, length - 1));
            let client = pair.client(chain);
            async move { client.refer(COMMISSION, &referee, &referrer).await }
        }))
        .await;

        let (successes, reasons) = split(answers);
        assert_eq!(successes.len(), chains - 1, "{reasons:?}");
        assert_eq!(reasons, [(Code::FailedPrecondition, "REFERRAL_CYCLE".to_owned())]);
        made += i64::try_from(chains).unwrap() - 1;
    }
    assert_eq!(database.count("select count(*) from referrals").await, made);
    let cycles = "with recursive line (program_id, start, user_id) as (
            select program_id, referee_user_id, referrer_user_id from referrals
            union
            select line.program_id, line.start, above.referrer_user_id
            from line join referrals as above
                on above.program_id = line.program_id and above.referee_user_id = line.user_id
        )
        select count(*) from line where start = user_id";
    assert_eq!(database.count(cycles).await, 0);
    finish(pair, &database).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_several_referrers_of_one_user_at_once_one_wins() {
    let database = TestDatabase::new().await;
    let pair = Pair::start(&database).await;
    pair.client(0).publish_shipped(COMMISSION).await;
    for referrer in 0..4 {
        pair.client(referrer).sign_up(COMMISSION, &format!("owner{referrer}"), "").await.unwrap();
    }

    // A referrer can have eight direct referrals.
    for round in 0..8 {
        let friend = format!("friend{round}");
        pair.client(round).sign_up(COMMISSION, &friend, "").await.unwrap();
        let answers = at_once((0..4).map(|referrer| {
            let (client, friend) = (pair.client(referrer), friend.clone());
            async move { client.refer(COMMISSION, &friend, &format!("owner{referrer}")).await }
        }))
        .await;

        let (successes, reasons) = split(answers);
        assert_eq!(successes.len(), 1, "{reasons:?}");
        assert_eq!(reasons, vec![(Code::AlreadyExists, "ALREADY_REFERRED".to_owned()); 3]);
        let referrer = &successes[0].referral.as_ref().unwrap().referrer_user_id;
        let participant = pair.client(round).user(&friend).await.unwrap().participants;
        assert_eq!(participant[0].referrer_user_id, *referrer);
    }
    finish(pair, &database).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_several_who_want_one_name_at_once_one_gets_it_and_nothing_is_left_of_the_others() {
    let database = TestDatabase::new().await;
    let pair = Pair::start(&database).await;
    pair.client(0).publish_shipped(COUNT).await;
    let code = pair.client(0).sign_up(COUNT, "owner", "").await.unwrap().code;

    let rounds = 8;
    for round in 0..rounds {
        let wants_name = round % 2 == 0;
        let answers = at_once((0..6).map(|number| {
            let (client, id) = (pair.client(number), format!("r{round}-{number}"));
            let mut request = sign_up_request(COUNT, &id, &code);
            let shared = if number < 3 { format!("Ada{round}") } else { format!("aDA{round}") };
            if wants_name {
                request.username = shared;
            } else {
                request.email = format!("{shared}@example.com");
            }
            async move { client.register(request).await }
        }))
        .await;

        let (successes, reasons) = split(answers);
        assert_eq!(successes.len(), 1, "{reasons:?}");
        assert_eq!(referrer_of(&successes[0]), "owner");
        let taken = if wants_name { "USERNAME_TAKEN" } else { "EMAIL_TAKEN" };
        assert_eq!(reasons, vec![(Code::AlreadyExists, taken.to_owned()); 5]);
        let winner = &successes[0].user.as_ref().unwrap().user_id;
        for number in 0..6 {
            let id = format!("r{round}-{number}");
            let known = pair.client(number).user(&id).await;
            assert_eq!(known.is_ok(), id == *winner, "{id}");
        }
    }
    assert_eq!(uses(&database.pool, COUNT, "owner").await, rounds);
    let expected = Grants { count: rounds, amount: rounds };
    assert_eq!(granted(&database, COUNT, "owner", 1).await, expected);
    finish(pair, &database).await;
}

/// The outcome of each purchase for the earner, and the earner's status changes, in the order of the log:
/// paid, withheld, off, on.
async fn history(database: &TestDatabase, earner: &str) -> Vec<String> {
    sqlx::query_scalar(
        "select case event_type
                when 'RewardGranted' then 'paid'
                when 'RewardWithheld' then 'withheld ' || (payload ->> 'reason')
                when 'ParticipantDeactivated' then 'off'
                else 'on' end
         from events
         where aggregate_id = $1
            and event_type in ('RewardGranted', 'RewardWithheld', 'ParticipantDeactivated',
                'ParticipantReactivated')
         order by position",
    )
    .bind(format!("{COMMISSION}/{earner}"))
    .fetch_all(&database.pool)
    .await
    .unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_purchase_that_races_a_deactivation_is_paid_before_it_or_withheld_after_it() {
    let database = TestDatabase::new().await;
    let pair = Pair::start(&database).await;
    pair.client(0).publish_shipped(COMMISSION).await;

    for round in 0..6 {
        let (top, owner) = (format!("top{round}"), format!("owner{round}"));
        let code = pair.client(0).sign_up(COMMISSION, &top, "").await.unwrap().code;
        let code = pair.client(1).sign_up(COMMISSION, &owner, &code).await.unwrap().code;
        for friend in 0..2 {
            let name = format!("r{round}-{friend}");
            pair.client(friend).sign_up(COMMISSION, &name, &code).await.unwrap();
        }
        // The fifth call deactivates the owner; every other round a later one reactivates them.
        let answers = at_once((0..10).map(|number| {
            let (client, owner) = (pair.client(number), owner.clone());
            async move {
                if number == 4 {
                    client.deactivate(&owner).await.unwrap();
                    if round % 2 == 1 {
                        client.reactivate(&owner).await.unwrap();
                    }
                    return None;
                }
                let friend = format!("r{round}-{}", number % 2);
                Some(client.buy("", &friend, "INR", 100_000).await.unwrap())
            }
        }))
        .await;

        let answers: Vec<_> = answers.into_iter().flatten().collect();
        let history = history(&database, &owner).await;
        let mut active = true;
        for what in &history {
            match what.as_str() {
                "off" => active = false,
                "on" => active = true,
                "paid" => assert!(active, "{history:?}"),
                "withheld earner_inactive" => assert!(!active, "{history:?}"),
                _ => panic!("{history:?}"),
            }
        }
        let paid_in_log = history.iter().filter(|what| *what == "paid").count();
        let paid_in_answers = answers.iter().filter(|answer| paid(answer, 1) == 5_000).count();
        assert_eq!(paid_in_log, paid_in_answers);
        let changes = 1 + round % 2;
        assert_eq!(history.len(), answers.len() + changes, "{history:?}");
        // Regardless of the level below, the top earns its own rate.
        let expected = Grants { count: 9, amount: 9_000 };
        assert_eq!(granted(&database, COMMISSION, &top, 2).await, expected);
    }
    finish(pair, &database).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_is_deactivated_and_reactivated_once_however_many_ask_at_once() {
    let database = TestDatabase::new().await;
    let pair = Pair::start(&database).await;
    pair.client(0).publish_shipped(COMMISSION).await;
    pair.client(0).sign_up(COMMISSION, "ada", "").await.unwrap();

    for _ in 0..5 {
        let answers = at_once((0..4).map(|number| {
            let client = pair.client(number);
            async move { client.deactivate("ada").await }
        }))
        .await;
        let (successes, reasons) = split(answers);
        assert_eq!(successes.len(), 1);
        assert_eq!(reasons, vec![(Code::FailedPrecondition, "USER_ALREADY_INACTIVE".into()); 3]);

        let answers = at_once((0..4).map(|number| {
            let client = pair.client(number);
            async move { client.reactivate("ada").await }
        }))
        .await;
        let (successes, reasons) = split(answers);
        assert_eq!(successes.len(), 1);
        assert_eq!(reasons, vec![(Code::FailedPrecondition, "USER_ALREADY_ACTIVE".into()); 3]);
    }
    let stream = format!("{COMMISSION}/ada");
    assert_eq!(events_in(&database, &stream, "ParticipantDeactivated").await, 5);
    assert_eq!(events_in(&database, &stream, "ParticipantReactivated").await, 5);
    finish(pair, &database).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_enrollment_that_races_a_deactivation_leaves_no_active_participant_behind() {
    let database = TestDatabase::new().await;
    let pair = Pair::start(&database).await;
    pair.client(0).publish_shipped(COMMISSION).await;
    pair.client(0).publish_shipped(COUNT).await;

    for round in 0..10 {
        let user = format!("user{round}");
        pair.client(round).sign_up(COUNT, &user, "").await.unwrap();
        let answers = at_once((0..4).map(|number| {
            let (client, user) = (pair.client(number), user.clone());
            async move {
                match number {
                    0 => client.deactivate(&user).await.map(|_| ()),
                    _ => enroll(&client, COMMISSION, &user, "").await,
                }
            }
        }))
        .await;

        assert!(answers[0].is_ok());
        let (successes, reasons) = split(answers);
        let stream = format!("{COMMISSION}/{user}");
        let enrolled = events_in(&database, &stream, "ParticipantEnrolled").await;
        let deactivated = events_in(&database, &stream, "ParticipantDeactivated").await;
        assert_eq!(enrolled, deactivated, "a deactivated user's participants are deactivated");
        assert_eq!(i64::try_from(successes.len()).unwrap(), 1 + enrolled, "{reasons:?}");
        for (_, reason) in reasons {
            assert!(["USER_INACTIVE", "ALREADY_ENROLLED"].contains(&&*reason), "{reason}");
        }
    }
    finish(pair, &database).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_purchase_that_races_a_referral_is_unreferred_before_it_or_paid_after_it() {
    let database = TestDatabase::new().await;
    let pair = Pair::start(&database).await;
    pair.client(0).publish_shipped(COMMISSION).await;

    for round in 0..8 {
        let (owner, friend) = (format!("owner{round}"), format!("friend{round}"));
        pair.client(0).sign_up(COMMISSION, &owner, "").await.unwrap();
        pair.client(1).sign_up(COMMISSION, &friend, "").await.unwrap();
        at_once((0..8).map(|number| {
            let (client, owner, friend) = (pair.client(number), owner.clone(), friend.clone());
            async move {
                if number == 3 {
                    client.refer(COMMISSION, &friend, &owner).await.unwrap();
                } else {
                    client.buy("", &friend, "INR", 100_000).await.unwrap();
                }
            }
        }))
        .await;

        let wrong: i64 = sqlx::query_scalar(
            "select count(*) from events as purchase
             join events as outcome
                 on (outcome.aggregate_type = 'Purchase'
                     and outcome.aggregate_id = purchase.aggregate_id
                     and outcome.event_type = 'RewardWithheld')
                 or (outcome.event_type = 'RewardGranted'
                     and outcome.payload ->> 'purchase_id' = purchase.aggregate_id)
             join events as referral on referral.aggregate_id = $1
                 and referral.event_type = 'ReferralApplied'
             where purchase.event_type = 'PurchaseRecorded'
                 and purchase.payload ->> 'buyer_user_id' = $2
                 and outcome.event_type <> case when outcome.position < referral.position
                     then 'RewardWithheld' else 'RewardGranted' end",
        )
        .bind(format!("{COMMISSION}/{friend}"))
        .bind(&friend)
        .fetch_one(&database.pool)
        .await
        .unwrap();
        assert_eq!(wrong, 0, "purchases on the wrong side of the referral");
        let outcomes: i64 = sqlx::query_scalar(
            "select count(*) from events as purchase
             join events as outcome
                 on (outcome.aggregate_type = 'Purchase'
                     and outcome.aggregate_id = purchase.aggregate_id
                     and outcome.event_type = 'RewardWithheld')
                 or (outcome.event_type = 'RewardGranted'
                     and outcome.payload ->> 'purchase_id' = purchase.aggregate_id)
             where purchase.event_type = 'PurchaseRecorded'
                 and purchase.payload ->> 'buyer_user_id' = $1",
        )
        .bind(&friend)
        .fetch_one(&database.pool)
        .await
        .unwrap();
        assert_eq!(outcomes, 7);
    }
    finish(pair, &database).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn purchases_that_race_new_versions_of_a_program_are_paid_by_the_version_in_force() {
    let database = TestDatabase::new().await;
    let pair = Pair::start(&database).await;
    let published = pair.client(0).publish_shipped(COMMISSION).await;
    let code = pair.client(0).sign_up(COMMISSION, "owner", "").await.unwrap().code;
    pair.client(1).sign_up(COMMISSION, "friend", &code).await.unwrap();

    for round in 0..5 {
        at_once((0..8).map(|number| {
            let client = pair.client(number);
            let mut program = Program { version: 0, ..published.clone() };
            (program.create_time, program.publish_time) = (None, None);
            async move {
                if number % 4 == 1 {
                    let version = 1 + round * 2 + i32::try_from(number / 4).unwrap();
                    program.rewards[0].rate_bps = Some(100 + version);
                    let answer = client.publish(program).await.unwrap();
                    assert_eq!(answer.rewards[0].rate_bps, Some(100 + version), "its own version");
                } else {
                    client.buy("", "friend", "INR", 100_000).await.unwrap();
                }
            }
        }))
        .await;
    }

    // The rate of a reward is that of the last version before it.
    let wrong = "select count(*) from events as reward
        cross join lateral (
            select payload from events
            where aggregate_type = 'Program' and position < reward.position
            order by position desc limit 1
        ) as program
        where reward.event_type = 'RewardGranted'
            and (reward.payload ->> 'program_version' is distinct from program.payload ->> 'version'
                or reward.payload ->> 'rate_bps' is distinct from
                    program.payload #>> '{rules,rewards,0,pay,rate_bps}')";
    assert_eq!(database.count(wrong).await, 0);
    let rates: HashSet<i64> = sqlx::query_scalar(
        "select (payload ->> 'program_version')::bigint from events
         where event_type = 'RewardGranted'",
    )
    .fetch_all(&database.pool)
    .await
    .unwrap()
    .into_iter()
    .collect();
    assert!(rates.len() > 1, "purchases met several versions: {rates:?}");
    finish(pair, &database).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_program_published_several_times_at_once_is_one_new_version() {
    let database = TestDatabase::new().await;
    let pair = Pair::start(&database).await;
    let mut program = pair.client(0).publish_shipped(COMMISSION).await;
    (program.version, program.create_time, program.publish_time) = (0, None, None);

    // Both servers are busy with other commands, so that several publications get into one batch.
    let done = Arc::new(AtomicBool::new(false));
    let busy: Vec<_> = (0..4)
        .map(|worker| {
            let (client, done) = (pair.client(worker), done.clone());
            async move {
                let mut number = 0;
                while !done.load(Ordering::SeqCst) {
                    client.sign_up("", &format!("other{worker}-{number}"), "").await.unwrap();
                    number += 1;
                }
            }
        })
        .collect();
    let others = tokio::spawn(at_once(busy));

    let rounds = 10;
    for round in 0..rounds {
        let rate_bps = Some(100 + round);
        program.rewards[0].rate_bps = rate_bps;
        // Half of the calls have a request_id, and are sent once more afterwards.
        let requests: Vec<_> = (0..16)
            .map(|number| PublishProgramRequest {
                program: Some(program.clone()),
                request_id: match number % 4 {
                    0 | 1 => format!("r{round}-{number}"),
                    _ => String::new(),
                },
                ..Default::default()
            })
            .collect();
        let publish = |(number, request): (usize, PublishProgramRequest)| {
            let client = pair.client(number);
            async move {
                let answer = client.programs().publish_program(client.request(request)).await;
                answer.unwrap().into_inner()
            }
        };
        let answers = at_once(requests.clone().into_iter().enumerate().map(publish)).await;
        for answer in &answers {
            let published = answer.program.as_ref().unwrap();
            assert_eq!((published.version, published.rewards[0].rate_bps), (round + 2, rate_bps));
        }
        for (number, request) in requests.into_iter().enumerate() {
            if !request.request_id.is_empty() {
                assert_eq!(publish((number + 1, request)).await, answers[number]);
            }
        }
    }
    done.store(true, Ordering::SeqCst);
    others.await.unwrap();
    assert_eq!(events_in(&database, COMMISSION, "ProgramPublished").await, i64::from(rounds) + 1);
    finish(pair, &database).await;
}
