//! Live streams of everything that happens to one participant.

use std::time::{Duration, Instant};

use contract::pb::watch_participant_response::Change;
use contract::pb::{
    AttachPolicy, ListBalanceEntriesRequest, ListReferralsRequest, ParticipantState, RankChange,
    Referral, ReferralStatus, TierChange, WatchParticipantResponse,
};

use super::support::{minor, server_with};
use testing::{Begun, Client, Message, Server, TestDatabase, Watched, at_once, second_server};

const TIERED: &str = "tiered-points";
const LINES: &str = "multi-level-commission";

type Stream = Watched<WatchParticipantResponse>;

/// Opens a stream that begins now; how things stand, and the stream.
async fn open(client: &Client, program_id: &str, user_id: &str) -> (ParticipantState, Stream) {
    let Begun { first, rest } = client.watch_participant(program_id, user_id, "").await.unwrap();
    let Some(Change::Present(present)) = first.change else { panic!("not the present: {first:?}") };
    (present, rest)
}

/// Opens a stream from a token.
async fn resume(client: &Client, program_id: &str, user_id: &str, token: &str) -> Stream {
    let Begun { first, rest } = client.watch_participant(program_id, user_id, token).await.unwrap();
    assert!(first.is_heartbeat(), "{first:?}");
    assert_eq!(first.resume_token, token, "the token of where the stream is");
    rest
}

/// The next change that is none of the rank.
async fn event(stream: &mut Stream) -> Change {
    loop {
        match stream.news().await.change.unwrap() {
            Change::Rank(_) => {}
            change => return change,
        }
    }
}

/// The next change of the rank, past everything else.
async fn rank(stream: &mut Stream) -> RankChange {
    loop {
        if let Some(Change::Rank(rank)) = stream.news().await.change {
            return rank;
        }
    }
}

#[track_caller]
fn referral(change: Change) -> Referral {
    let Change::Referral(referral) = change else { panic!("not a referral: {change:?}") };
    referral
}

/// Checks that a change is an entry; its amount, and the balance after it.
#[track_caller]
fn figures(change: &Change) -> (i64, i64) {
    let Change::Entry(entry) = change else { panic!("not an entry: {change:?}") };
    (minor(entry.amount.as_ref()), minor(entry.balance.as_ref()))
}

/// Two servers on one database, with short pauses between heartbeats.
async fn two_servers(programs: &[&str]) -> (TestDatabase, [Server; 2]) {
    let (database, server, client) = server_with(programs).await;
    drop(client);
    server.stop().await;
    let servers = [
        second_server(&database, &["--heartbeat-s", "1"]).await,
        second_server(&database, &["--heartbeat-s", "1"]).await,
    ];
    (database, servers)
}

async fn stop(database: TestDatabase, servers: [Server; 2]) {
    for server in servers {
        server.stop().await;
    }
    database.check().await;
}

#[tokio::test]
async fn a_referral_is_seen_from_both_ends() {
    let (database, servers) = two_servers(&[LINES]).await;
    let [client, other] = [servers[0].client(), servers[1].client()];
    for user_id in ["ada", "bob", "eve"] {
        client.sign_up(LINES, user_id, "").await.unwrap();
    }
    let (of_ada, mut ada) = open(&client, LINES, "ada").await;
    let (of_bob, mut bob) = open(&other, LINES, "bob").await;
    let (_, mut eve) = open(&client, LINES, "eve").await;
    assert!(of_ada.active && of_ada.referral.is_none() && of_bob.referral.is_none());
    assert_eq!(of_ada.pending_count, 0);

    let made = client.refer(LINES, "bob", "ada").await.unwrap().referral.unwrap();

    assert_eq!(made.status(), ReferralStatus::Pending);
    assert_eq!(referral(event(&mut ada).await), made);
    assert_eq!(referral(event(&mut bob).await), made);
    let (of_ada, _) = open(&other, LINES, "ada").await;
    let (of_bob, _) = open(&client, LINES, "bob").await;
    assert_eq!((of_ada.pending_count, of_ada.converted_count), (1, 0));
    assert_eq!(of_bob.referral.as_ref(), Some(&made));

    let bought = client.buy("order-1", "bob", "INR", 100_000).await.unwrap();

    let converted = Referral { status: ReferralStatus::Converted.into(), ..made };
    assert_eq!(referral(event(&mut bob).await), converted);
    assert_eq!(figures(&event(&mut ada).await), (5_000, 5_000));
    assert_eq!(referral(event(&mut ada).await), converted);
    let message = ListReferralsRequest {
        program_id: LINES.into(),
        user_id: "ada".into(),
        consistency_token: bought.consistency_token,
        ..Default::default()
    };
    let listed = client.referrals().list_referrals(client.request(message)).await.unwrap();
    assert_eq!(listed.into_inner().referrals[0].referral.as_ref(), Some(&converted));
    let (of_ada, _) = open(&client, LINES, "ada").await;
    let (of_bob, _) = open(&other, LINES, "bob").await;
    assert_eq!((of_ada.pending_count, of_ada.converted_count), (0, 1));
    assert_eq!(of_bob.referral.as_ref(), Some(&converted));
    for stream in [&mut bob, &mut eve] {
        let further = stream.until_heartbeat().await;
        assert!(further.is_empty(), "{further:?}");
    }
    stop(database, servers).await;
}

#[tokio::test]
async fn every_entry_of_the_balances_is_streamed_as_it_is_listed() {
    const PROGRAM: &str = "first-purchase-bonus";
    let (database, server, client) = server_with(&[PROGRAM]).await;
    let ada = client.sign_up(PROGRAM, "ada", "").await.unwrap();
    client.sign_up(PROGRAM, "bob", &ada.code).await.unwrap();
    let (present, mut bob) = open(&client, PROGRAM, "bob").await;
    assert_eq!(minor(present.balances.first()), 0);

    client.buy("order-1", "bob", "USD", 1_000).await.unwrap();
    let last = client.buy("order-2", "bob", "USD", 50).await.unwrap();

    let mut streamed = Vec::new();
    while streamed.len() < 3 {
        match event(&mut bob).await {
            Change::Entry(entry) => streamed.push(entry),
            Change::Referral(referral) => {
                assert_eq!(referral.status(), ReferralStatus::Converted);
            }
            change => panic!("{change:?}"),
        }
    }
    let message = ListBalanceEntriesRequest {
        program_id: PROGRAM.into(),
        user_id: "bob".into(),
        consistency_token: last.consistency_token,
        ..Default::default()
    };
    let listed = client.rewards().list_balance_entries(client.request(message)).await.unwrap();
    let mut listed = listed.into_inner().entries;
    listed.reverse();
    assert_eq!(streamed, listed);
    let (present, _) = open(&client, PROGRAM, "bob").await;
    assert_eq!(present.balances.first(), streamed[2].balance.as_ref());
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn the_tier_is_there_at_first_and_whenever_it_changes() {
    let (database, server, client) = server_with(&[TIERED, "referral-count"]).await;
    let ada = client.sign_up(TIERED, "ada", "").await.unwrap();
    client.sign_up("referral-count", "bob", "").await.unwrap();
    let (present, mut stream) = open(&client, TIERED, "ada").await;
    assert_eq!(present.tier, "Bronze");

    for friend in 0..10 {
        client.sign_up(TIERED, &format!("friend-{friend}"), &ada.code).await.unwrap();
    }

    let change = loop {
        if let Change::Tier(change) = event(&mut stream).await {
            break change;
        }
    };
    let silver = TierChange { tier: "Silver".into(), previous_tier: "Bronze".into() };
    assert_eq!(change, silver);
    let (present, _) = open(&client, TIERED, "ada").await;
    assert_eq!(present.tier, "Silver");
    // Without tiers there is everything else.
    let (present, _) = open(&client, "referral-count", "bob").await;
    assert_eq!((&*present.tier, present.rank), ("", 1));
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn whether_somebody_is_active_is_streamed() {
    let (database, server, client) = server_with(&[TIERED]).await;
    client.sign_up(TIERED, "ada", "").await.unwrap();
    let (present, mut stream) = open(&client, TIERED, "ada").await;
    assert!(present.active);

    client.deactivate("ada").await.unwrap();
    assert_eq!(event(&mut stream).await, Change::Active(false));
    let (present, mut late) = open(&client, TIERED, "ada").await;
    assert!(!present.active);

    client.reactivate("ada").await.unwrap();
    for stream in [&mut stream, &mut late] {
        assert_eq!(event(stream).await, Change::Active(true));
    }
    let (present, _) = open(&client, TIERED, "ada").await;
    assert!(present.active);
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn a_burst_of_changes_of_the_rank_is_told_in_few_messages_the_last_of_them_right() {
    const RIVALS: usize = 40;
    let (database, servers) = two_servers(&[TIERED]).await;
    let client = servers[0].client();
    client.sign_up(TIERED, "ada", "").await.unwrap();
    let mut rivals = Vec::new();
    for rival in 0..RIVALS {
        rivals.push(client.sign_up(TIERED, &format!("rival-{rival}"), "").await.unwrap().code);
    }
    let mut streams = Vec::new();
    for server in &servers {
        let (present, stream) = open(&server.client(), TIERED, "ada").await;
        assert_eq!(present.rank, 1);
        streams.push(stream);
    }
    let start = Instant::now();

    // Each rival gets ahead of ada by one friend.
    at_once(rivals.into_iter().enumerate().map(|(rival, code)| {
        let client = client.clone();
        async move { client.sign_up(TIERED, &format!("of-{rival}"), &code).await.unwrap() }
    }))
    .await;

    for mut stream in streams {
        let (mut known, mut messages) = (1, 0);
        while known != 41 {
            let change = stream.news().await.change;
            let Some(Change::Rank(RankChange { rank, previous_rank })) = change else {
                panic!("nothing else happens to ada: {change:?}");
            };
            assert_eq!(previous_rank, known);
            assert!(rank > previous_rank, "{rank} after {previous_rank}");
            (known, messages) = (rank, messages + 1);
        }
        let periods = start.elapsed().as_millis() / Duration::from_millis(250).as_millis();
        assert!(messages <= periods + 1, "{messages} in {periods} periods");
        let further = stream.until_heartbeat().await;
        assert!(further.is_empty(), "{further:?}");
    }
    stop(database, servers).await;
}

#[tokio::test]
async fn a_resumed_stream_tells_the_rank_if_and_only_if_it_is_another_one_than_the_token_has() {
    let (database, servers) = two_servers(&[TIERED]).await;
    let [client, other] = [servers[0].client(), servers[1].client()];
    let ada = client.sign_up(TIERED, "ada", "").await.unwrap();
    let bob = client.sign_up(TIERED, "bob", "").await.unwrap();
    let (present, mut stream) = open(&client, TIERED, "ada").await;
    assert_eq!(present.rank, 1);
    let at_first = stream.token.clone();

    client.sign_up(TIERED, "of-bob", &bob.code).await.unwrap();
    let overtaken = RankChange { rank: 2, previous_rank: 1 };
    assert_eq!(rank(&mut stream).await, overtaken);
    let at_second = stream.token.clone();
    for client in [&client, &other] {
        // Another rank: at once, and once.
        let mut resumed = resume(client, TIERED, "ada", &at_first).await;
        let news = resumed.news().await;
        assert_eq!(news.change, Some(Change::Rank(overtaken)));
        assert!(resumed.until_heartbeat().await.is_empty());
        // The same rank: never.
        let mut resumed = resume(client, TIERED, "ada", &at_second).await;
        assert!(resumed.until_heartbeat().await.is_empty());
    }

    // Ada gets even with bob, whom she was before.
    client.sign_up(TIERED, "of-ada", &ada.code).await.unwrap();
    let even = RankChange { rank: 1, previous_rank: 2 };
    assert_eq!(rank(&mut stream).await, even);
    for client in [&client, &other] {
        let (present, _) = open(client, TIERED, "ada").await;
        assert_eq!(present.rank, 1);
        let mut resumed = resume(client, TIERED, "ada", &at_first).await;
        let news = resumed.until_heartbeat().await;
        let is_rank =
            |news: &WatchParticipantResponse| matches!(news.change, Some(Change::Rank(_)));
        assert!(!news.is_empty() && !news.iter().any(is_rank), "{news:?}");
        let mut resumed = resume(client, TIERED, "ada", &at_second).await;
        assert_eq!(rank(&mut resumed).await, even);
    }
    stop(database, servers).await;
}

/// Lets ada be referred, refer, earn, reach a tier, lose and win ranks, and be deactivated at last.
async fn live_through(client: &Client, ada: &str) {
    let zoe = client.sign_up(TIERED, "zoe", "").await.unwrap();
    for friend in 0..4 {
        client.sign_up(TIERED, &format!("of-zoe-{friend}"), &zoe.code).await.unwrap();
    }
    client.refer(TIERED, "ada", "zoe").await.unwrap();
    for friend in 0..10 {
        client.sign_up(TIERED, &format!("friend-{friend}"), ada).await.unwrap();
        if friend % 4 == 2 {
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
    }
    client.deactivate("ada").await.unwrap();
    client.sign_up(TIERED, "missed", ada).await.unwrap();
    client.reactivate("ada").await.unwrap();
    client.sign_up(TIERED, "friend-10", ada).await.unwrap();
    client.deactivate("ada").await.unwrap();
}

#[tokio::test]
async fn a_stream_resumed_after_any_message_has_the_rest_without_gap_or_repetition() {
    let (database, servers) = two_servers(&[]).await;
    let [client, other] = [servers[0].client(), servers[1].client()];
    let mut program = client.publish_shipped(TIERED).await;
    program.attach = AttachPolicy::AnyTime.into();
    client.publish(program).await.unwrap();
    let ada = client.sign_up(TIERED, "ada", "").await.unwrap();
    let (present, mut stream) = open(&client, TIERED, "ada").await;
    // Everything so far is in the first message: its token and rank, and what comes after it.
    let mut history = vec![(stream.token.clone(), present.rank, None)];

    live_through(&client, &ada.code).await;

    let mut known_rank = present.rank;
    let mut ends = 0;
    while ends < 2 {
        let change = stream.news().await.change.unwrap();
        ends += usize::from(change == Change::Active(false));
        if let Change::Rank(rank) = change {
            assert_eq!(rank.previous_rank, known_rank);
            known_rank = rank.rank;
        }
        history.push((stream.token.clone(), known_rank, Some(change)));
    }
    for message in stream.until_heartbeat().await {
        let Some(Change::Rank(rank)) = message.change else { panic!("after the end: {message:?}") };
        known_rank = rank.rank;
        history.push((message.resume_token, known_rank, message.change));
    }
    history.push((stream.token.clone(), known_rank, None));
    assert_eq!(known_rank, 1, "ada has the most points");
    let kinds = |is_kind: fn(&Change) -> bool| {
        history.iter().filter_map(|(_, _, change)| change.as_ref()).filter(|of| is_kind(of)).count()
    };
    // Made and converted: 12 of ada's, one of them while she was inactive, and zoe's of ada.
    assert_eq!(kinds(|change| matches!(change, Change::Referral(_))), 26);
    assert_eq!(kinds(|change| matches!(change, Change::Entry(_))), 11);
    assert_eq!(kinds(|change| matches!(change, Change::Withheld(_))), 1);
    assert_eq!(kinds(|change| matches!(change, Change::Tier(_))), 1);
    assert_eq!(kinds(|change| matches!(change, Change::Active(_))), 3);
    assert!(kinds(|change| matches!(change, Change::Rank(_))) >= 2);
    // The board of the other server has come as far.
    assert_eq!(open(&other, TIERED, "ada").await.0.rank, 1);

    let resumptions = history.iter().enumerate().map(|(index, (token, told, _))| {
        let client = [&client, &other][index % 2].clone();
        let later = history[index + 1..].iter().filter_map(|(_, _, change)| change.clone());
        let rest: Vec<Change> = later.filter(|of| !matches!(of, Change::Rank(_))).collect();
        let (token, told) = (token.clone(), *told);
        async move {
            let mut resumed = resume(&client, TIERED, "ada", &token).await;
            for expected in rest {
                assert_eq!(resumed.news().await.change, Some(expected), "after message {index}");
            }
            if told != 1 {
                let expected = RankChange { rank: 1, previous_rank: told };
                assert_eq!(resumed.news().await.change, Some(Change::Rank(expected)));
            }
            let further = resumed.until_heartbeat().await;
            assert!(further.is_empty(), "after message {index}: {further:?}");
        }
    });
    at_once(resumptions).await;
    stop(database, servers).await;
}

#[tokio::test]
async fn how_things_stand_at_first_is_of_one_position_and_fits_what_follows() {
    const PROGRAM: &str = "referral-count";
    const RIVALS: usize = 8;
    const FRIENDS: usize = 40;
    let (database, servers) = two_servers(&[PROGRAM]).await;
    let client = servers[0].client();
    let mut rivals = Vec::new();
    for rival in 1..=RIVALS {
        rivals.push(client.sign_up(PROGRAM, &format!("rival-{rival}"), "").await.unwrap().code);
    }
    let ada = client.sign_up(PROGRAM, "ada", "").await.unwrap();
    // The rival of number n has 4 n referrals, and is ahead of ada as long as she has no more.
    for (code, rival) in rivals.iter().zip(1..) {
        for friend in 0..4 * rival {
            client.sign_up(PROGRAM, &format!("of-{rival}-{friend}"), code).await.unwrap();
        }
    }
    let rank_with = |referrals: i32| 1 + (1..=8).filter(|rival| 4 * rival >= referrals).count();
    let writer = client.clone();
    let writing = tokio::spawn(async move {
        for friend in 0..FRIENDS {
            writer.sign_up(PROGRAM, &format!("friend-{friend}"), &ada.code).await.unwrap();
        }
    });
    let watch = move |client: Client| async move {
        let (present, mut stream) = open(&client, PROGRAM, "ada").await;
        assert_eq!(usize::try_from(present.rank).unwrap(), rank_with(present.converted_count));
        assert_eq!(present.pending_count, 0, "half of a command");
        let mut balance = minor(present.balances.first());
        assert_eq!(balance, i64::from(present.converted_count));
        let mut converted = present.converted_count;
        while balance < 40 || converted < 40 {
            match event(&mut stream).await {
                Change::Entry(entry) => {
                    assert_eq!(minor(entry.balance.as_ref()), balance + 1);
                    balance += 1;
                }
                Change::Referral(referral) => {
                    converted += i32::from(referral.status() == ReferralStatus::Converted);
                }
                change => panic!("{change:?}"),
            }
        }
        assert_eq!(converted, 40);
    };
    let mut watching = tokio::task::JoinSet::new();
    while !writing.is_finished() && watching.len() < 200 {
        for server in &servers {
            watching.spawn(watch(server.client()));
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    writing.await.unwrap();
    assert!(!watching.is_empty());
    watching.join_all().await;
    stop(database, servers).await;
}
