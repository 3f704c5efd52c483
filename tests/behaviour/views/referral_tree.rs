//! The tree of a participant, and referrals over several levels.

use contract::pb::*;

use super::ask::{OfParticipant, Paged, Read};
use super::multi_level_commission::line;
use super::{referees, see, token};
use crate::support::{minor, server_with};
use testing::{Client, at_once};

const PROGRAM: &str = "multi-level-commission";

/// Ada referred bob and eve, bob referred cid and fay, cid referred dan. Cid and fay bought, then eve was
/// deactivated. Returns the token of the last write.
async fn family(client: &Client) -> String {
    line(client, &["ada", "bob", "cid", "dan"]).await;
    for (referee, referrer) in [("eve", "ada"), ("fay", "bob")] {
        client.sign_up(PROGRAM, referee, "").await.unwrap();
        client.refer(PROGRAM, referee, referrer).await.unwrap();
    }
    for (buyer, amount) in [("bob", 200_000), ("cid", 100_130), ("fay", 100_000), ("dan", 100_000)]
    {
        client.buy("", buyer, "INR", amount).await.unwrap();
    }
    client.deactivate("eve").await.unwrap().consistency_token
}

fn tree(user_id: &str, depth: i32) -> GetReferralTreeRequest {
    GetReferralTreeRequest { depth, ..OfParticipant::of(PROGRAM, user_id) }
}

/// A tree in one line: each node with what was earned through it, inactive ones with a star, and the nodes
/// below.
fn drawn(node: &ReferralNode) -> String {
    let star = if node.active { "" } else { "*" };
    let brought_in = node.brought_in.as_ref().map_or("-".into(), |of| of.minor_units.to_string());
    let below: Vec<String> = node.referrals.iter().map(drawn).collect();
    format!("{}{star} {brought_in} [{}]", node.user_id, below.join(", "))
}

#[tokio::test]
async fn a_tree_shows_who_is_below_whether_active_and_what_each_brought_in() {
    let (database, server, client) = server_with(&[PROGRAM]).await;
    let last = family(&client).await;
    for (user, depth, expected) in [
        // Ada earns from bob at 5 %, from cid and fay at 1 %, from dan and eve nothing.
        ("ada", 1, "ada - [eve* 0 [], bob 10000 []]"),
        ("ada", 2, "ada - [eve* 0 [], bob 10000 [fay 1000 [], cid 1001 []]]"),
        ("ada", 3, "ada - [eve* 0 [], bob 10000 [fay 1000 [], cid 1001 [dan 0 []]]]"),
        ("ada", 10, "ada - [eve* 0 [], bob 10000 [fay 1000 [], cid 1001 [dan 0 []]]]"),
        ("ada", 0, "ada - [eve* 0 [], bob 10000 [fay 1000 [], cid 1001 [dan 0 []]]]"),
        // The same participants earn a different root different amounts.
        ("bob", 0, "bob - [fay 5000 [], cid 5007 [dan 1000 []]]"),
        ("cid", 0, "cid - [dan 5000 []]"),
        ("eve", 0, "eve* - []"),
    ] {
        let seen = see(&client, &last, tree(user, depth)).await;
        assert_eq!(drawn(seen.root.as_ref().unwrap()), expected, "{user} to {depth}");
        assert!(!seen.truncated);
    }
    let seen = see(&client, &last, tree("ada", 1)).await.root.unwrap();
    assert_eq!(
        (seen.referral_count, seen.status(), seen.create_time),
        (2, ReferralStatus::Unspecified, None)
    );
    let [eve, bob] = &seen.referrals[..] else { panic!("{seen:?}") };
    assert_eq!((eve.referral_count, eve.status()), (0, ReferralStatus::Pending));
    // Bob's referrals are counted, although they are not in this answer.
    assert_eq!((bob.referral_count, bob.status()), (2, ReferralStatus::Converted));
    assert_eq!((&*bob.username, bob.create_time.is_some()), ("bob", true));
    let of_bob = see(&client, &last, tree("bob", 1)).await.root.unwrap();
    assert_eq!((of_bob.status(), of_bob.create_time), (bob.status(), bob.create_time));

    let back = client.reactivate("eve").await.unwrap().consistency_token;
    let seen = see(&client, &back, tree("ada", 1)).await.root.unwrap();
    assert_eq!(drawn(&seen), "ada - [eve 0 [], bob 10000 []]");
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn referrals_over_several_levels_are_listed_with_their_level_and_what_each_brought_in() {
    let (database, server, client) = server_with(&[PROGRAM]).await;
    let last = family(&client).await;
    for (max_level, expected) in [
        (0, &[("eve", "ada", 1, 0, false), ("bob", "ada", 1, 10_000, true)][..]),
        (1, &[("eve", "ada", 1, 0, false), ("bob", "ada", 1, 10_000, true)]),
        (
            2,
            &[
                ("fay", "bob", 2, 1_000, true),
                ("eve", "ada", 1, 0, false),
                ("cid", "bob", 2, 1_001, true),
                ("bob", "ada", 1, 10_000, true),
            ],
        ),
        (
            10,
            &[
                ("fay", "bob", 2, 1_000, true),
                ("eve", "ada", 1, 0, false),
                ("dan", "cid", 3, 0, true),
                ("cid", "bob", 2, 1_001, true),
                ("bob", "ada", 1, 10_000, true),
            ],
        ),
    ] {
        let request = ListReferralsRequest { max_level, ..OfParticipant::of(PROGRAM, "ada") };
        let request = request.after(&last);
        for page_size in [1, 3, 1_000] {
            let listed = request.clone().all(&client, page_size).await;
            let shown: Vec<_> = listed
                .iter()
                .map(|of| {
                    let referral = of.referral.as_ref().unwrap();
                    let brought_in = minor(of.brought_in.as_ref());
                    let (referee, referrer) =
                        (&*referral.referee_user_id, &*referral.referrer_user_id);
                    (referee, referrer, of.level, brought_in, of.active)
                })
                .collect();
            assert_eq!(shown, expected, "down to {max_level}, {page_size} a page");
        }
    }
    let converted = ListReferralsRequest {
        max_level: 3,
        status: ReferralStatus::Converted.into(),
        ..OfParticipant::of(PROGRAM, "ada")
    };
    let converted = see(&client, &last, converted).await.referrals;
    assert_eq!(referees(&converted), ["fay", "dan", "cid", "bob"]);
    let pending = ListReferralsRequest {
        max_level: 3,
        status: ReferralStatus::Pending.into(),
        ..OfParticipant::of(PROGRAM, "ada")
    };
    assert_eq!(referees(&see(&client, &last, pending).await.referrals), ["eve"]);
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn pages_over_several_levels_stay_as_they_are_while_people_come_in_anywhere() {
    let (database, server, client) = server_with(&[PROGRAM]).await;
    let last = family(&client).await;
    let request = ListReferralsRequest { max_level: 3, ..OfParticipant::of(PROGRAM, "ada") };
    let request = request.after(&last);
    let at_first = request.clone().all(&client, 1_000).await;
    let mut page_token = None;
    let mut paged = request.clone().next(&client, 1, &mut page_token).await;
    while page_token.is_some() {
        let late = format!("late-{}", paged.len());
        client.sign_up(PROGRAM, &late, "").await.unwrap();
        let referrer = ["ada", "bob", "cid"][paged.len() % 3];
        client.refer(PROGRAM, &late, referrer).await.unwrap();
        paged.extend(request.clone().next(&client, 1, &mut page_token).await);
    }
    assert_eq!(paged, at_first);
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn a_line_deeper_than_ten_is_read_ten_levels_at_a_time() {
    let (database, server, client) = server_with(&[PROGRAM]).await;
    let users: Vec<String> = (0..=12).map(|index| format!("user-{index}")).collect();
    let names: Vec<&str> = users.iter().map(String::as_str).collect();
    let last = line(&client, &names).await;
    for (depth, expected) in [(0, 3), (1, 1), (10, 10)] {
        let seen = see(&client, &last, tree("user-0", depth)).await;
        let mut node = seen.root.as_ref().unwrap();
        let mut levels = 0;
        while let Some(below) = node.referrals.first() {
            (node, levels) = (below, levels + 1);
            assert_eq!(node.user_id, users[levels]);
        }
        assert_eq!((levels, node.referral_count, seen.truncated), (expected, 1, false));
    }
    let request = ListReferralsRequest { max_level: 10, ..OfParticipant::of(PROGRAM, "user-0") };
    let listed = see(&client, &last, request).await.referrals;
    let expected: Vec<&String> = users[1..=10].iter().rev().collect();
    assert_eq!(referees(&listed), expected);
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn a_tree_of_more_than_a_thousand_is_cut_from_the_farthest_level() {
    let (database, server, client) = server_with(&["referral-count"]).await;
    let ada = client.sign_up("referral-count", "ada", "").await.unwrap();
    let bob = client.sign_up("referral-count", "bob", &ada.code).await.unwrap();
    // A distant participant is created first: nearer ones, although later, come before it.
    client.sign_up("referral-count", "far", &bob.code).await.unwrap();
    let friends: Vec<usize> = (1..=999).collect();
    for some in friends.chunks(111) {
        let answers = at_once(some.iter().map(|index| {
            let (client, code) = (client.clone(), ada.code.clone());
            let friend = format!("friend-{index}");
            async move { client.sign_up("referral-count", &friend, &code).await }
        }));
        assert!(answers.await.iter().all(Result::is_ok));
    }
    let last = client.sign_up("referral-count", "last", "").await.unwrap();
    let last = token(&last).to_owned();
    let request =
        |depth| GetReferralTreeRequest { depth, ..OfParticipant::of("referral-count", "ada") };
    for depth in [1, 2] {
        let seen = see(&client, &last, request(depth)).await;
        let root = seen.root.unwrap();
        assert!(seen.truncated, "1000 direct referrals and the root are 1001 nodes");
        assert_eq!((root.referral_count, root.referrals.len()), (1_000, 999));
        assert!(root.referrals.iter().all(|node| node.referrals.is_empty()));
    }
    let seen = see(&client, &last, GetReferralTreeRequest::of("referral-count", "bob")).await;
    assert_eq!((seen.root.unwrap().referrals.len(), seen.truncated), (1, false));
    server.stop().await;
    database.check().await;
}
