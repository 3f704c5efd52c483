//! Fraud checks on two servers at once, and servers that are killed.

use contract::pb::*;
use testing::{Pair, Server, TestDatabase, at_once, issue_token, sign_up_request};
use tonic::Code;

const POINTS: &str = "tiered-points";

fn from_address(user_id: &str, client_ip: &str) -> RegisterUserRequest {
    RegisterUserRequest { client_ip: client_ip.into(), ..sign_up_request(POINTS, user_id, "") }
}

/// Sends requests to the servers in turn, all at once, and returns how many were refused, all for this reason.
async fn all_at_once(
    pair: &Pair,
    requests: impl Iterator<Item = RegisterUserRequest>,
    reason: &str,
) -> usize {
    let calls = requests.enumerate().map(|(number, request)| {
        let client = pair.client(number);
        async move { client.register(request).await }
    });
    let mut refused = 0;
    for answer in at_once(calls).await {
        if let Err(status) = answer {
            assert_eq!(testing::reason(&status), (Code::ResourceExhausted, reason.to_owned()));
            refused += 1;
        }
    }
    refused
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_sign_ups_at_once_from_one_address_five_succeed_and_the_others_are_one_flag() {
    let database = TestDatabase::new().await;
    let pair = Pair::start(&database).await;
    pair.client(0).publish_shipped(POINTS).await;
    for round in 0..5 {
        let client_ip = format!("192.0.2.{round}");
        let requests =
            (0..16).map(|number| from_address(&format!("u-{round}-{number}"), &client_ip));
        let refused = all_at_once(&pair, requests, "TOO_MANY_SIGN_UPS").await;
        assert_eq!(refused, 11, "round {round}");
    }
    let flags = "select count(*) from events where event_type = 'FraudFlagRaised'";
    assert_eq!(database.count(flags).await, 5);
    let counted = "select sum(repetitions + 1)::bigint from fraud_evidence";
    assert_eq!(database.count(counted).await, 55);
    pair.stop().await;
    database.check().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_look_alikes_and_of_one_mailbox_at_once_exactly_one_is_not_flagged() {
    let database = TestDatabase::new().await;
    let pair = Pair::start(&database).await;
    pair.client(0).publish_shipped(POINTS).await;
    let code = pair.client(0).sign_up(POINTS, "owner", "").await.unwrap().code;
    for round in 0..4 {
        let letters = ["abc", "pqr", "xyz", "uvw"][round];
        let requests = (0..8).map(|number| RegisterUserRequest {
            // One mailbox four times, and four that look like it.
            email: match number % 2 {
                0 => format!("{letters}oil+{number}@mail.example"),
                _ => format!("{letters}0{}l@mail.example", ["i", "1", "l", "|"][number / 2]),
            },
            referral_code: code.clone(),
            ..sign_up_request(POINTS, &format!("u-{round}-{number}"), "")
        });
        assert_eq!(all_at_once(&pair, requests, "").await, 0);
        let flagged = format!(
            "select count(*) from events where event_type = 'FraudFlagRaised'
             and payload ->> 'referee_user_id' like 'u-{round}-%'"
        );
        assert_eq!(database.count(&flagged).await, 7, "round {round}");
    }
    pair.stop().await;
    database.check().await;
}

/// Signs up somebody who refers, and somebody with their code. Returns the code.
async fn refer(pair: &Pair, referrer: &str, referee: &str, email: &str) -> String {
    let client = pair.client(0);
    let code = client.sign_up(POINTS, referrer, "").await.unwrap().code;
    let request = sign_up_request(POINTS, referee, &code);
    client.register(RegisterUserRequest { email: email.into(), ..request }).await.unwrap();
    code
}

/// Addresses that are similar to each other, and to no others.
fn similar_addresses(round: usize) -> [String; 2] {
    let letters: Vec<char> = "abcdefghjkmnpqrtuxyz".chars().collect();
    let own = [letters[round / letters.len()], letters[round % letters.len()]];
    ["g", "h"].map(|last| format!("farmhand{}{}{last}@farm.example", own[0], own[1]))
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_change_to_an_address_and_a_sign_up_with_a_similar_one_at_once_one_is_flagged() {
    const ROUNDS: usize = 60;
    let database = TestDatabase::new().await;
    let pair = Pair::start(&database).await;
    pair.client(0).publish_shipped(POINTS).await;
    let mut calls = Vec::new();
    for round in 0..ROUNDS {
        let [changed, new] = similar_addresses(round);
        let referee = format!("old-{round}");
        let code =
            refer(&pair, &format!("owner-{round}"), &referee, &testing::address_of(&referee)).await;
        let ask = UpdateProfileRequest {
            user_id: referee.clone(),
            email: Some(changed),
            ..Default::default()
        };
        let client = pair.client(0);
        client.accounts().update_profile(client.request(ask)).await.unwrap();
        let token = issue_token(&database, &referee, "change_email", 900.0).await;
        let sign_up = sign_up_request(POINTS, &format!("new-{round}"), &code);
        calls.push((token, RegisterUserRequest { email: new, ..sign_up }));
    }
    let flags = "select count(*) from events where event_type = 'FraudFlagRaised'";
    assert_eq!(database.count(flags).await, 0);
    for some in calls.chunks(6) {
        let both = some.iter().enumerate().flat_map(|(number, (token, sign_up))| {
            [(number, Ok(token.clone())), (number + 1, Err(sign_up.clone()))]
        });
        let calls = both.map(|(number, call)| {
            let client = pair.client(number);
            async move {
                match call {
                    Ok(token) => {
                        let confirm = client.request(ConfirmEmailRequest { token });
                        client.accounts().confirm_email(confirm).await.map(drop)
                    }
                    Err(sign_up) => client.register(sign_up).await.map(drop),
                }
            }
        });
        for answer in at_once(calls).await {
            answer.unwrap();
        }
    }
    let found = "select count(distinct split_part(payload ->> 'referee_user_id', '-', 2))
        from events where event_type = 'FraudFlagRaised' and payload ->> 'kind' = 'near_duplicate'";
    assert_eq!(database.count(found).await, i64::try_from(ROUNDS).unwrap());
    pair.stop().await;
    database.check().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_flagged_with_a_user_who_is_erased_at_the_same_moment() {
    const ROUNDS: usize = 30;
    let database = TestDatabase::new().await;
    let pair = Pair::start(&database).await;
    pair.client(0).publish_shipped(POINTS).await;
    let mut calls = Vec::new();
    for round in 0..ROUNDS {
        let [old, new] = similar_addresses(round);
        let referee = format!("old-{round}");
        let code = refer(&pair, &format!("owner-{round}"), &referee, &old).await;
        let sign_up = |name: &str, email: String| {
            let request = sign_up_request(POINTS, &format!("{name}-{round}"), &code);
            RegisterUserRequest { email, ..request }
        };
        // One with a similar address, and one with the same mailbox.
        let tagged = old.replace('@', "+new@");
        calls.push((referee, [sign_up("new", new), sign_up("twin", tagged)]));
    }
    for some in calls.chunks(4) {
        let all = some.iter().enumerate().flat_map(|(number, (referee, sign_ups))| {
            let erase = (number, Ok(referee.clone()));
            let sign_ups = sign_ups.clone().map(|sign_up| (number + 1, Err(sign_up)));
            std::iter::once(erase).chain(sign_ups)
        });
        let calls = all.map(|(number, call)| {
            let client = pair.client(number);
            async move {
                match call {
                    Ok(user_id) => client.erase(&user_id, false).await.map(drop),
                    Err(sign_up) => client.register(sign_up).await.map(drop),
                }
            }
        });
        for answer in at_once(calls).await {
            answer.unwrap();
        }
    }
    let after_erasure = "select count(*) from events as flag
        join events as erased on erased.event_type = 'UserErased'
            and erased.position < flag.position
            and (erased.aggregate_id = flag.payload ->> 'other_user_id'
                or flag.payload -> 'evidence_user_ids' ? erased.aggregate_id)
        where flag.event_type = 'FraudFlagRaised'";
    assert_eq!(database.count(after_erasure).await, 0);
    pair.stop().await;
    database.check().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn evidence_is_there_for_every_flag_however_often_servers_are_killed() {
    let database = TestDatabase::new().await;
    let first = Server::start(&database).await;
    first.client().publish_shipped(POINTS).await;
    let code = first.client().sign_up(POINTS, "owner", "").await.unwrap().code;
    first.stop().await;
    for round in 0..4 {
        let server = Server::start(&database).await;
        let client = server.client();
        let sign_ups: Vec<_> = (0..12)
            .map(|number| {
                let (client, code) = (client.clone(), code.clone());
                tokio::spawn(async move {
                    for attempt in 0..50 {
                        let request = RegisterUserRequest {
                            email: format!("farm+{round}-{number}-{attempt}@mail.example"),
                            referral_code: code.clone(),
                            ..sign_up_request(POINTS, &format!("u-{round}-{number}-{attempt}"), "")
                        };
                        if client.register(request).await.is_err() {
                            return;
                        }
                    }
                })
            })
            .collect();
        tokio::time::sleep(std::time::Duration::from_millis(150 + 100 * round)).await;
        server.kill().await;
        for sign_up in sign_ups {
            sign_up.await.unwrap();
        }
    }
    let raised =
        database.count("select count(*) from events where event_type = 'FraudFlagRaised'").await;
    assert!(raised > 10, "{raised} flags");
    let different = "select count(*) from (
            select aggregate_id as flag_id from events where event_type = 'FraudFlagRaised'
        ) as raised full join fraud_evidence as kept using (flag_id)
        where raised.flag_id is null or kept.flag_id is null";
    assert_eq!(database.count(different).await, 0);
    let server = Server::start(&database).await;
    server.stop().await;
    database.check().await;
}
