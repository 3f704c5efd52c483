//! What decisions are told of a buyer's purchases.

#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

use super::*;
use crate::engine::recent::RecentPurchases;
use crate::store::purchases::Span;
use crate::store::{Actor, Appended, Door};
use domain::{
    Lag, Purchase, PurchaseCommand, PurchaseCursor, PurchaseId, PurchasePage, PurchaseRecorded,
    PurchaseSearch, has_earning_purchase, load, peek_new, tell,
};

fn buyer() -> UserId {
    UserId::parse("bob").unwrap()
}

fn purchase(id: &str) -> PurchaseId {
    PurchaseId::parse(id).unwrap()
}

/// A page with these purchases.
#[allow(clippy::unnecessary_wraps, reason = "what a look-up comes to")]
fn page(ids: &[&str], next: Option<i64>) -> Result<PurchasePage, Lag> {
    let purchases = ids.iter().map(|id| purchase(id)).collect();
    Ok(PurchasePage { purchases, next: next.map(PurchaseCursor) })
}

fn buys(id: &str, amount_minor: i64) -> impl Fn(&mut dyn Work) -> Result<(), Halt> {
    let purchase_id = purchase(id);
    move |work| {
        peek_new::<Purchase>(work, &purchase_id)?;
        let recorded = PurchaseRecorded {
            buyer_user_id: buyer(),
            amount_minor,
            currency_code: "EUR".into(),
            purchase_time_us: work.now(),
            program_ids: None,
        };
        let record = PurchaseCommand::Record { purchase_id: purchase_id.clone(), recorded };
        tell::<Purchase>(work, &purchase_id, record).map(drop)
    }
}

/// Whether the buyer has a purchase of this amount.
fn bought(amount_minor: i64) -> impl Fn(&mut dyn Work) -> Result<bool, Halt> {
    move |work| {
        has_earning_purchase(work, &buyer(), |_, purchase| {
            purchase.recorded().is_some_and(|of| of.amount_minor == amount_minor)
        })
    }
}

/// The newest purchases of the buyer.
fn all() -> PurchaseSearch {
    PurchaseSearch { buyer: buyer(), may_earn: false, before: None }
}

/// Decides a command, and keeps it if it succeeds.
async fn decide<T>(
    unit: &mut UnitOfWork<'_>,
    command: impl Fn(&mut dyn Work) -> Result<T, Halt>,
) -> Result<T, Halt> {
    let envelope = Envelope { actor: Actor::SYSTEM, door: Door::job("test"), request: None };
    let result = unit.run(true, |work| command(work)).await;
    if result.is_ok() {
        unit.keep(&Arc::new(envelope), None);
    }
    result
}

/// The state of purchases of an earlier batch.
async fn streams_with(ids: &[&str]) -> FinishedStreams {
    let environment = Environment::of_this_machine().unwrap();
    let (mut cache, before) = (Cache::new(1), FinishedStreams::new());
    let mut unit = unit(&environment, &mut cache, &before);
    for id in ids {
        decide(&mut unit, buys(id, 10)).await.unwrap();
    }
    unit.finish().1
}

fn unit<'a>(
    environment: &Environment,
    cache: &'a mut Cache,
    before: &'a FinishedStreams,
) -> UnitOfWork<'a> {
    UnitOfWork::new(environment, cache, before, KnownTaken::new(), Horizon::default())
}

/// A batch that was appended after the position `head`.
fn appended(head: i64, is_expected: bool) -> Appended {
    Appended {
        head,
        recorded_at: Timestamp(0),
        verdicts: Vec::new(),
        moved: Vec::new(),
        duplicates: Vec::new(),
        taken: Vec::new(),
        changed: Vec::new(),
        is_expected,
    }
}

/// Answers what is missing from these pages, and purchases from the streams of an earlier batch.
fn learn(unit: &mut UnitOfWork<'_>, pages: &[Result<PurchasePage, Lag>], known: &FinishedStreams) {
    let missing = unit.take_missing();
    for search in missing.purchases {
        let number = search.before.map_or(0, |PurchaseCursor(number)| number.try_into().unwrap());
        let number: usize = number;
        unit.learn_purchases(search, pages[number].clone());
    }
    for key in missing.streams {
        unit.learn_stream(key.clone(), known[&key].loaded.clone());
    }
}

#[tokio::test]
async fn a_purchase_that_is_found_is_checked() {
    let environment = Environment::of_this_machine().unwrap();
    let (mut cache, before) = (Cache::new(1), FinishedStreams::new());
    let old = streams_with(&["p1", "p2"]).await;
    let mut unit = unit(&environment, &mut cache, &before);
    assert_eq!(decide(&mut unit, bought(10)).await, Err(Halt::Missing));
    learn(&mut unit, &[page(&["p2", "p1"], None)], &old);
    assert_eq!(decide(&mut unit, bought(10)).await, Err(Halt::Missing));
    learn(&mut unit, &[], &old);
    assert_eq!(decide(&mut unit, bought(10)).await, Ok(true));
    let place = unit.streams[&StreamKey::of::<Purchase>(&purchase("p2"))].place;
    assert!(unit.finish().0.has_read(0, &[place].into()));
}

#[tokio::test]
async fn that_there_is_no_purchase_is_known_on_the_last_page() {
    let environment = Environment::of_this_machine().unwrap();
    let (mut cache, before) = (Cache::new(1), FinishedStreams::new());
    let old = streams_with(&["p1", "p2", "p3"]).await;
    let pages = [page(&["p3"], Some(1)), page(&["p2"], Some(2)), page(&["p1"], None)];
    let mut unit = unit(&environment, &mut cache, &before);
    let mut rounds = 0;
    let end = loop {
        match decide(&mut unit, bought(99)).await {
            Err(Halt::Missing) => learn(&mut unit, &pages, &old),
            end => break end,
        }
        rounds += 1;
    };
    assert_eq!(end, Ok(false));
    assert_eq!(rounds, 6, "a round for each page and one for its purchases");
}

#[tokio::test]
async fn purchases_that_were_recorded_of_late_are_found_without_the_tables() {
    let environment = Environment::of_this_machine().unwrap();
    let (mut cache, before) = (Cache::new(1), FinishedStreams::new());
    let mut recent = RecentPurchases::default();
    let batch = |ids: &'static [&'static str], head| async move {
        (streams_with(ids).await, appended(head, true), head + 10)
    };
    for (ids, head) in [(&["p1"][..], 100), (&["p2", "p3"], 110)] {
        let (streams, appended, end) = batch(ids, head).await;
        recent.landed(&streams, &appended, end);
    }
    // A batch that was decided ahead also has what the one before it began.
    let (streams, appended_again, end) = batch(&["p3", "p4"], 120).await;
    recent.landed(&streams, &appended_again, end);
    let listed = |work: &mut dyn Work| work.purchases_of(&all());
    let mut unit = unit(&environment, &mut cache, &before).remembering(&recent);
    assert_eq!(unit.remembered_part(), Some(Span { after: 100, through: 130 }));
    assert_eq!(decide(&mut unit, listed).await, Err(Halt::Missing));
    learn(&mut unit, &[page(&["p1", "p0"], None)], &before);
    let mut found = decide(&mut unit, listed).await.unwrap().purchases;
    // Those of one batch are in no order.
    found[..3].sort_unstable_by_key(ToString::to_string);
    assert_eq!(found, page(&["p2", "p3", "p4", "p1", "p0"], None).unwrap().purchases);
}

#[tokio::test]
async fn purchases_are_looked_up_again_after_a_participant_was_read() {
    let environment = Environment::of_this_machine().unwrap();
    let (mut cache, before) = (Cache::new(1), FinishedStreams::new());
    let mut unit = unit(&environment, &mut cache, &before);
    let listed = |work: &mut dyn Work| work.purchases_of(&all());
    assert_eq!(decide(&mut unit, listed).await, Err(Halt::Missing));
    learn(&mut unit, &[page(&[], None)], &before);
    assert_eq!(decide(&mut unit, listed).await, page(&[], None).map_err(Halt::Behind));
    // What pays for a purchase that was recorded in between is in this stream, which therefore does not move any more.
    let known = unit.known_facts();
    let key = StreamKey { kind: Kind::Participant, id: "program/ada".into() };
    let loaded =
        Loaded { state: AnyAggregate::empty(Kind::Participant), version: 3, snapshot_version: 0 };
    unit.learn_stream(key, loaded);
    assert_eq!(decide(&mut unit, listed).await, Err(Halt::Missing));
    learn(&mut unit, &[page(&["p1"], None)], &before);
    assert_eq!(decide(&mut unit, listed).await, page(&["p1"], None).map_err(Halt::Behind));
    assert!(unit.known_facts() > known + 1, "each round has brought something");
}

#[tokio::test]
async fn what_another_server_may_have_appended_is_not_taken_as_known() {
    let mut recent = RecentPurchases::default();
    assert_eq!(recent.part(), None);
    recent.landed(&streams_with(&["p1"]).await, &appended(100, true), 110);
    // Another server has appended in between.
    recent.landed(&streams_with(&["p2"]).await, &appended(115, false), 120);
    assert_eq!(recent.part(), Some(Span { after: 120, through: 120 }));
    assert_eq!(recent.find(&all()).count(), 0);
    recent.landed(&streams_with(&["p3"]).await, &appended(120, true), 130);
    assert_eq!(recent.part(), Some(Span { after: 120, through: 130 }));
    // A batch that says nothing of what came before it.
    recent.landed(&streams_with(&["p4"]).await, &appended(150, true), 160);
    assert_eq!(recent.part(), Some(Span { after: 150, through: 160 }));
    assert_eq!(recent.find(&all()).map(ToString::to_string).collect::<Vec<_>>(), ["p4"]);
}

#[tokio::test]
async fn purchases_of_the_batch_and_of_the_batch_on_its_way_are_found() {
    let environment = Environment::of_this_machine().unwrap();
    let mut cache = Cache::new(1);
    let before = streams_with(&["p1"]).await;
    let mut unit = unit(&environment, &mut cache, &before);
    decide(&mut unit, buys("p2", 20)).await.unwrap();
    let listed = |work: &mut dyn Work| work.purchases_of(&all());
    assert_eq!(decide(&mut unit, listed).await, Err(Halt::Missing));
    // The batch on its way has landed before the look-up.
    learn(&mut unit, &[page(&["p1", "p0"], None)], &before);
    assert_eq!(
        decide(&mut unit, listed).await,
        page(&["p2", "p1", "p0"], None).map_err(Halt::Behind)
    );
    assert_eq!(decide(&mut unit, bought(20)).await, Err(Halt::Missing));
    learn(&mut unit, &[page(&["p1", "p0"], None)], &before);
    assert_eq!(decide(&mut unit, bought(20)).await, Ok(true));
    // Whoever rests on the purchase builds on the command that records it.
    assert_eq!(unit.finish().0.dependencies(), [(2, 0)]);
}

#[tokio::test]
async fn a_command_that_was_not_kept_has_recorded_no_purchase() {
    let environment = Environment::of_this_machine().unwrap();
    let (mut cache, before) = (Cache::new(1), FinishedStreams::new());
    let mut unit = unit(&environment, &mut cache, &before);
    unit.run(true, |work| buys("p1", 10)(work)).await.unwrap();
    unit.keep_reads(None);
    assert_eq!(decide(&mut unit, bought(10)).await, Err(Halt::Missing));
    learn(&mut unit, &[page(&[], None)], &before);
    assert_eq!(decide(&mut unit, bought(10)).await, Ok(false));
}

#[tokio::test]
async fn a_table_that_is_far_behind_says_so() {
    let environment = Environment::of_this_machine().unwrap();
    let (mut cache, before) = (Cache::new(1), FinishedStreams::new());
    let mut unit = unit(&environment, &mut cache, &before);
    let lag = Lag { reached: 7, head: 1_000_000 };
    assert_eq!(decide(&mut unit, bought(10)).await, Err(Halt::Missing));
    learn(&mut unit, &[Err(lag)], &before);
    assert_eq!(decide(&mut unit, bought(10)).await, Err(Halt::Behind(lag)));
}

#[tokio::test]
async fn the_last_sequence_counts_what_the_decision_has_recorded() {
    let environment = Environment::of_this_machine().unwrap();
    let mut cache = Cache::new(1);
    let before = streams_with(&["p1"]).await;
    let mut unit = unit(&environment, &mut cache, &before);
    let sequences = |work: &mut dyn Work| {
        let keys = ["p1", "p2"].map(|id| StreamKey::of::<Purchase>(&purchase(id)));
        let mut seen = vec![work.last_sequence(&keys[0])];
        load::<Purchase>(work, &purchase("p1"))?;
        buys("p2", 20)(work)?;
        seen.extend(keys.iter().map(|key| work.last_sequence(key)));
        Ok(seen)
    };
    assert_eq!(decide(&mut unit, sequences).await, Ok(vec![0, 1, 1]));
}
