//! What fraud checks are told by a unit of work: exactly what is true at their place in the log.

#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

use std::sync::Arc;

use super::*;
use crate::engine::cache::Cache;
use crate::engine::horizon::Horizon;
use crate::store::evidence::{KnownAddress, KnownReferees};
use crate::store::{Actor, Door};

use domain::{
    LatestReferee, Participant, ParticipantCommand, ParticipantEnrolled, Personal, ReferralStatus,
    SideRow, User, UserCommand, load, peek_new, tell,
};

type Decision<'a> = dyn Fn(&mut dyn Work) -> Result<(), Halt> + 'a;

fn user(name: &str) -> UserId {
    UserId::parse(name).unwrap()
}

fn member(name: &str) -> ParticipantId {
    ParticipantId::new(&ProgramId::parse("p").unwrap(), &user(name))
}

fn mailbox(owner: &str) -> Claim {
    Claim { kind: ClaimKind::Mailbox, value: "m".into(), owner: owner.into() }
}

fn personal(text: &str) -> Personal {
    Personal(text.into())
}

/// Decides a command, and keeps it if it succeeds.
async fn decide(
    unit: &mut UnitOfWork<'_>,
    trusts_new: bool,
    command: &Decision<'_>,
) -> Result<(), Halt> {
    let envelope = Envelope { actor: Actor::SYSTEM, door: Door::job("test"), request: None };
    let result = unit.run(trusts_new, |work| command(work)).await;
    match &result {
        Ok(()) => unit.keep(&Arc::new(envelope), None),
        Err(Halt::Missing) => {}
        Err(_) => unit.keep_reads(None),
    }
    result
}

/// Runs commands in a unit of work that knows these owners of values from an earlier batch.
async fn batch_of(known: KnownTaken, commands: &[&Decision<'_>]) -> Batch {
    let environment = Environment::of_this_machine().unwrap();
    let (mut cache, before) = (Cache::new(1), FinishedStreams::new());
    let mut unit = UnitOfWork::new(&environment, &mut cache, &before, known, Horizon::default());
    for command in commands {
        decide(&mut unit, true, command).await.unwrap();
    }
    unit.finish().0
}

/// A command that shares the mailbox and must find this owner.
fn shares<'a>(name: &'a str, first: Option<&'a str>) -> impl Fn(&mut dyn Work) -> Result<(), Halt> {
    let (name, first) = (name.to_owned(), first.map(str::to_owned));
    move |work| {
        assert_eq!(work.share_claim(mailbox(&name))?, first, "{name}");
        Ok(())
    }
}

#[tokio::test]
async fn the_first_command_of_a_batch_gets_a_shared_value_and_later_ones_build_on_it() {
    let (ana, bob) = (shares("ana", None), shares("bob", Some("ana")));
    let batch = batch_of(KnownTaken::new(), &[&ana, &bob, &shares("cem", Some("ana"))]).await;
    assert_eq!(batch.claims(), [ClaimStep::Take(mailbox("ana"))]);
    assert_eq!(batch.dependencies(), [(1, 0), (2, 0)]);
}

#[tokio::test]
async fn a_decision_that_rests_on_a_first_owner_goes_to_the_append_with_that_owner() {
    let known = KnownTaken::from([((ClaimKind::Mailbox, "m".into()), "old".into())]);
    let batch = batch_of(known, &[&shares("ana", Some("old")), &shares("old", None)]).await;
    assert_eq!(
        batch.claims(),
        [ClaimStep::Shared(mailbox("old")), ClaimStep::Take(mailbox("old"))]
    );
}

#[tokio::test]
async fn only_the_owner_gives_a_shared_value_up() {
    let release = |name: &'static str| move |work: &mut dyn Work| work.release_claim(mailbox(name));
    let batch = batch_of(
        KnownTaken::new(),
        &[
            &shares("ana", None),
            &release("bob"),
            &shares("cem", Some("ana")),
            &release("ana"),
            &shares("dan", None),
            &shares("eve", Some("dan")),
        ],
    )
    .await;
    assert_eq!(batch.dependencies(), [(1, 0), (2, 0), (3, 0), (4, 3), (5, 4)]);
}

#[tokio::test]
async fn a_command_that_has_conflicted_looks_the_owner_up() {
    let environment = Environment::of_this_machine().unwrap();
    let (mut cache, before) = (Cache::new(1), FinishedStreams::new());
    let (known, horizon) = (KnownTaken::new(), Horizon::default());
    let mut unit = UnitOfWork::new(&environment, &mut cache, &before, known, horizon);
    let ana = shares("ana", Some("old"));
    assert_eq!(decide(&mut unit, false, &ana).await, Err(Halt::Missing));
    let facts = unit.known_facts();
    for (kind, value) in unit.take_missing().owners {
        unit.learn_owner((kind, value), Some("old".into()));
    }
    assert!(unit.known_facts() > facts);
    assert_eq!(decide(&mut unit, false, &ana).await, Ok(()));
    assert_eq!(unit.finish().0.claims(), [ClaimStep::Shared(mailbox("old"))]);
}

/// `ana` refers somebody, as a sign-up does, and must find these referees before.
fn refers<'a>(name: &'a str, before: &'a [&'a str]) -> impl Fn(&mut dyn Work) -> Result<(), Halt> {
    let (name, before): (String, Vec<String>) =
        (name.into(), before.iter().map(|name| (*name).to_owned()).collect());
    move |work| {
        let found = work.latest_referees(&member("ana"))?;
        let found: Vec<_> =
            found.iter().map(|of| (of.user_id.as_str(), of.address.clone())).collect();
        let expected: Vec<_> = before
            .iter()
            .map(|name| (name.as_str(), Some(personal(&format!("{name}@e.org")))))
            .collect();
        assert_eq!(found, expected, "for {name}");
        peek_new::<User>(work, &user(&name))?;
        let (user_id, now) = (user(&name), work.now());
        let register = UserCommand::Register { user_id, has_known_address: false, now };
        tell::<User>(work, &user(&name), register)?;
        let (kind, value) = (ClaimKind::Email, format!("{name}@e.org"));
        work.claim(Claim { kind, value, owner: name.clone() })?;
        let make = ParticipantCommand::MakeReferral {
            user_id: user("ana"),
            referee_user_id: user(&name),
            status: ReferralStatus::Pending,
        };
        tell::<Participant>(work, &member("ana"), make)?;
        work.write_row(SideRow::Referral {
            referee: member(&name),
            referrer: user("ana"),
            refer_time: now,
        });
        Ok(())
    }
}

/// The participant `ana` as stored, in a version.
fn ana_in(version: i64) -> Loaded {
    let mut state = AnyAggregate::empty(domain::Kind::Participant);
    let enrolled =
        ParticipantEnrolled { code: "ANA2345".into(), link: String::new(), code_passed_over: None };
    state.apply(AnyEvent::Participant(enrolled.into())).unwrap();
    Loaded { state, version, snapshot_version: 0 }
}

fn known(version: i64, names: &[&str]) -> KnownReferees {
    let latest = names.iter().map(|name| {
        let address = Some(personal(&format!("{name}@e.org")));
        Arc::new(LatestReferee { user_id: user(name), refer_time: Timestamp(1), address })
    });
    KnownReferees { version, latest: latest.collect() }
}

fn ana() -> StreamKey {
    StreamKey::of::<Participant>(&member("ana"))
}

#[tokio::test]
async fn sign_ups_of_one_batch_and_of_the_batch_on_its_way_see_each_other() {
    let environment = Environment::of_this_machine().unwrap();
    let (mut cache, before) = (Cache::new(1), FinishedStreams::new());
    let (taken, horizon) = (KnownTaken::new(), Horizon::default());
    let mut unit = UnitOfWork::new(&environment, &mut cache, &before, taken, horizon);
    let bob = refers("bob", &["zoe"]);
    assert_eq!(decide(&mut unit, true, &bob).await, Err(Halt::Missing));
    unit.learn_stream(ana(), ana_in(7));
    unit.learn_referees(member("ana"), known(7, &["zoe"]));
    decide(&mut unit, true, &bob).await.unwrap();
    decide(&mut unit, true, &refers("cem", &["bob", "zoe"])).await.unwrap();
    let (batch, streams) = unit.finish();
    assert_eq!(batch.dependencies(), [(1, 0)]);

    // Decided while that batch is being appended: its events are not in the tables yet.
    let taken = KnownTaken::new();
    let mut ahead = UnitOfWork::new(&environment, &mut cache, &streams, taken, horizon);
    let dan = refers("dan", &["cem", "bob", "zoe"]);
    assert_eq!(decide(&mut ahead, true, &dan).await, Err(Halt::Missing));
    let missing = ahead.take_missing();
    assert!(missing.streams.is_empty() && missing.referees.contains(&member("ana")));
    ahead.learn_referees(member("ana"), known(7, &["zoe"]));
    decide(&mut ahead, true, &dan).await.unwrap();
    // The batch has landed meanwhile.
    ahead.learn_referees(member("ana"), known(9, &["cem", "bob", "zoe"]));
    decide(&mut ahead, true, &refers("eve", &["dan", "cem", "bob", "zoe"])).await.unwrap();
    let (_, streams) = ahead.finish();

    // What was added two batches ago must be in the tables.
    let taken = KnownTaken::new();
    let mut next = UnitOfWork::new(&environment, &mut cache, &streams, taken, horizon);
    let flo = refers("flo", &["eve", "dan", "cem", "bob", "zoe"]);
    next.learn_referees(member("ana"), known(7, &["zoe"]));
    assert_eq!(decide(&mut next, true, &flo).await, Err(Halt::Missing));
    next.learn_referees(member("ana"), known(9, &["cem", "bob", "zoe"]));
    decide(&mut next, true, &flo).await.unwrap();
}

#[tokio::test]
async fn a_look_up_that_is_older_than_the_stream_is_made_again_and_one_that_is_no_newer_teaches_nothing()
 {
    let environment = Environment::of_this_machine().unwrap();
    let (mut cache, before) = (Cache::new(1), FinishedStreams::new());
    let (taken, horizon) = (KnownTaken::new(), Horizon::default());
    let mut unit = UnitOfWork::new(&environment, &mut cache, &before, taken, horizon);
    unit.learn_referees(member("ana"), known(6, &[]));
    unit.learn_stream(ana(), ana_in(7));
    let bob = refers("bob", &["zoe"]);
    assert_eq!(decide(&mut unit, true, &bob).await, Err(Halt::Missing));
    let facts = unit.known_facts();
    unit.learn_referees(member("ana"), known(6, &[]));
    assert_eq!(unit.known_facts(), facts);
    unit.learn_referees(member("ana"), known(7, &["zoe"]));
    assert!(unit.known_facts() > facts);
    decide(&mut unit, true, &bob).await.unwrap();
}

#[tokio::test]
async fn an_address_is_that_of_the_version_of_the_user() {
    let environment = Environment::of_this_machine().unwrap();
    let (mut cache, before) = (Cache::new(1), FinishedStreams::new());
    let (taken, horizon) = (KnownTaken::new(), Horizon::default());
    let mut unit = UnitOfWork::new(&environment, &mut cache, &before, taken, horizon);
    let has = |expected: Option<Personal>| {
        move |work: &mut dyn Work| {
            assert_eq!(work.address_of(&user("bob"))?, expected);
            Ok(())
        }
    };
    let bob = StreamKey::of::<User>(&user("bob"));
    let empty = AnyAggregate::empty(domain::Kind::User);
    let old = has(Some(personal("old@e.org")));
    assert_eq!(decide(&mut unit, true, &old).await, Err(Halt::Missing));
    let missing = unit.take_missing();
    assert!(missing.streams.contains(&bob) && missing.addresses.contains(&user("bob")));
    unit.learn_stream(bob, Loaded { state: empty, version: 3, snapshot_version: 0 });
    unit.learn_address(
        user("bob"),
        KnownAddress { version: 2, address: Some(personal("older@e.org")) },
    );
    assert_eq!(decide(&mut unit, true, &old).await, Err(Halt::Missing));
    unit.learn_address(
        user("bob"),
        KnownAddress { version: 3, address: Some(personal("old@e.org")) },
    );
    decide(&mut unit, true, &old).await.unwrap();
    // Another command of the batch changes it.
    let change = |work: &mut dyn Work| {
        load::<User>(work, &user("bob"))?;
        let (kind, value) = (ClaimKind::Email, "new@e.org".into());
        work.claim(Claim { kind, value, owner: "bob".into() })
    };
    decide(&mut unit, true, &change).await.unwrap();
    decide(&mut unit, true, &has(Some(personal("new@e.org")))).await.unwrap();
    let erase = |work: &mut dyn Work| {
        work.write_row(SideRow::Erasure(user("bob")));
        Ok(())
    };
    decide(&mut unit, true, &erase).await.unwrap();
    decide(&mut unit, true, &has(None)).await.unwrap();
}

#[tokio::test]
async fn a_sign_up_is_compared_with_the_addresses_that_are_left_by_the_batch_before_it() {
    let environment = Environment::of_this_machine().unwrap();
    let (mut cache, before) = (Cache::new(1), FinishedStreams::new());
    let (taken, horizon) = (KnownTaken::new(), Horizon::default());
    let mut unit = UnitOfWork::new(&environment, &mut cache, &before, taken, horizon);
    unit.learn_stream(ana(), ana_in(7));
    unit.learn_referees(member("ana"), known(7, &["zoe"]));
    decide(&mut unit, true, &refers("bob", &["zoe"])).await.unwrap();
    // Zoe is erased, and Ana, who referred her, is told.
    let erase = |work: &mut dyn Work| {
        let referee_user_id = user("zoe");
        let changed = domain::RefereeAddressChanged { referee_user_id };
        tell::<Participant>(work, &member("ana"), ParticipantCommand::NoteRefereeAddress(changed))?;
        work.write_row(SideRow::Erasure(user("zoe")));
        Ok(())
    };
    decide(&mut unit, true, &erase).await.unwrap();
    let finds_no_address = |name: &'static str| {
        move |work: &mut dyn Work| {
            let found = work.latest_referees(&member("ana"))?;
            let found = found.iter().find(|of| of.user_id.as_str() == name);
            assert_eq!(found.map(|of| of.address.clone()), Some(None));
            Ok(())
        }
    };
    decide(&mut unit, true, &finds_no_address("zoe")).await.unwrap();
    let (batch, streams) = unit.finish();
    // A decision that goes by the new address falls with the command that changed it.
    assert_eq!(batch.dependencies(), [(1, 0), (2, 1)]);

    // While that batch is being appended, the tables have the old address.
    let taken = KnownTaken::new();
    let mut ahead = UnitOfWork::new(&environment, &mut cache, &streams, taken, horizon);
    ahead.learn_referees(member("ana"), known(7, &["zoe"]));
    assert_eq!(decide(&mut ahead, true, &finds_no_address("zoe")).await, Err(Halt::Missing));
    let mut latest = known(9, &["bob", "zoe"]);
    Arc::make_mut(&mut latest.latest[1]).address = None;
    ahead.learn_referees(member("ana"), latest);
    decide(&mut ahead, true, &finds_no_address("zoe")).await.unwrap();
}

#[tokio::test]
async fn whoever_was_erased_by_the_batch_has_no_shared_value_any_more() {
    let erase = |work: &mut dyn Work| {
        work.write_row(SideRow::Erasure(user("old")));
        Ok(())
    };
    let known = KnownTaken::from([((ClaimKind::Mailbox, "m".into()), "old".into())]);
    let batch = batch_of(known, &[&erase, &shares("ana", None)]).await;
    assert_eq!(batch.claims(), [ClaimStep::Take(mailbox("ana"))]);
    assert_eq!(batch.dependencies(), [(1, 0)]);
}
