//! Which streams stay in memory when some commands run in the background.

#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

use super::*;
use crate::store::{Actor, Door};
use domain::{Kind, User, load};

fn user(name: &str) -> StreamKey {
    StreamKey { kind: Kind::User, id: name.into() }
}

/// Decides a command that reads a user.
async fn read(unit: &mut UnitOfWork<'_>, name: &str, in_background: bool) {
    let envelope = Envelope { actor: Actor::SYSTEM, door: Door::job("test"), request: None };
    let user_id = UserId::parse(name).unwrap();
    let decide = |work: &mut dyn Work| load::<User>(work, &user_id).map(drop);
    unit.go_into_background(in_background);
    let mut result = unit.run(true, decide).await;
    if result == Err(Halt::Missing) {
        for key in unit.take_missing().streams {
            let state = AnyAggregate::empty(key.kind);
            unit.learn_stream(key, Loaded { state, version: 1, snapshot_version: 0 });
        }
        result = unit.run(true, decide).await;
    }
    assert_eq!(result, Ok(()));
    unit.keep(&Arc::new(envelope), None);
}

fn prefetch(unit: &mut UnitOfWork<'_>, name: &str) {
    let state = AnyAggregate::empty(Kind::User);
    unit.learn_stream(user(name), Loaded { state, version: 1, snapshot_version: 0 });
}

/// The streams that stay in memory, after these reads.
async fn kept(reads: &[(&str, bool)]) -> Vec<String> {
    let environment = Environment::of_this_machine().unwrap();
    let (mut cache, before) = (Cache::new(1), FinishedStreams::new());
    let taken = KnownTaken::new();
    let mut unit = UnitOfWork::new(&environment, &mut cache, &before, taken, Horizon::default());
    prefetch(&mut unit, "prefetched");
    for (name, in_background) in reads {
        read(&mut unit, name, *in_background).await;
    }
    let streams = unit.finish().1.into_iter().filter(|(_, stream)| !stream.in_background);
    let mut kept: Vec<_> = streams.map(|(key, _)| key.id.to_string()).collect();
    kept.sort_unstable();
    kept
}

#[tokio::test]
async fn streams_that_only_commands_in_the_background_have_used_do_not_stay() {
    assert_eq!(kept(&[("ada", true), ("bob", true)]).await, Vec::<String>::new());
    assert_eq!(kept(&[("ada", true), ("bob", false)]).await, ["bob", "prefetched"]);
    assert_eq!(kept(&[("ada", true), ("ada", false)]).await, ["ada", "prefetched"]);
    assert_eq!(kept(&[("ada", false), ("ada", true)]).await, ["ada", "prefetched"]);
}

#[tokio::test]
async fn a_command_in_the_background_uses_what_is_in_memory_without_a_trace() {
    let environment = Environment::of_this_machine().unwrap();
    let (mut cache, before) = (Cache::new(2), FinishedStreams::new());
    for name in ["ada", "bob"] {
        let state = AnyAggregate::empty(Kind::User);
        let loaded = Loaded { state, version: 5, snapshot_version: 0 };
        cache.put(user(name), Seen { loaded, at: 7 });
    }
    let taken = KnownTaken::new();
    let mut unit = UnitOfWork::new(&environment, &mut cache, &before, taken, Horizon::default());
    read(&mut unit, "ada", true).await;
    assert_eq!(unit.streams[&user("ada")].version, 5);
    unit.finish();
    // `ada` is still the one that was not used for longest.
    let state = AnyAggregate::empty(Kind::User);
    let loaded = Loaded { state, version: 5, snapshot_version: 0 };
    cache.put(user("cem"), Seen { loaded, at: 7 });
    assert!(!cache.contains(&user("ada")) && cache.contains(&user("bob")));
}
