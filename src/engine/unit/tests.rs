#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

use super::*;
use crate::store::{Actor, Door};

fn ada(owner: &str) -> Claim {
    Claim { kind: ClaimKind::Username, value: "ada".into(), owner: owner.into() }
}

type Decision<'a> = dyn Fn(&mut dyn Work) -> Result<(), Halt> + 'a;

fn taken() -> Result<(), Halt> {
    Err(Refusal::Taken(vec!["username"]).into())
}

/// Runs commands in a unit of work that remembers that `ada` belongs to `old`. Each takes or releases claims;
/// it is kept if it succeeds, and added as a refusal otherwise. Returns the results and the batch.
fn decide(commands: &[&Decision]) -> (Vec<Result<(), Halt>>, Batch) {
    let environment = Environment::of_this_machine().unwrap();
    let (mut cache, before) = (Cache::new(1), FinishedStreams::new());
    let known = KnownTaken::from([((ClaimKind::Username, "ada".into()), "old".into())]);
    let mut unit = UnitOfWork::new(&environment, &mut cache, &before, known, Horizon::default());
    let envelope =
        Arc::new(Envelope { actor: Actor::SYSTEM, door: Door::job("test"), request: None });
    let mut results = Vec::new();
    for command in commands {
        let result = unit.run(true, |work| command(work));
        if result.is_ok() {
            unit.keep(&envelope, None);
        } else {
            unit.keep_reads(None);
        }
        results.push(result);
    }
    (results, unit.finish().0)
}

#[test]
fn a_refusal_because_of_a_remembered_owner_goes_to_the_append_with_the_owner() {
    let (results, batch) = decide(&[&|work| work.claim(ada("new"))]);
    assert_eq!(results, [taken()]);
    assert_eq!(batch.claims(), [ClaimStep::Found(ada("old"))]);
}

#[test]
fn what_a_command_of_the_batch_gives_up_is_not_refused_because_of_what_is_remembered() {
    let (results, batch) = decide(&[
        &|work| work.release_claim(ada("old")),
        &|work| work.claim(ada("new")),
        &|work| work.claim(ada("third")),
    ]);
    assert_eq!(results, [Ok(()), Ok(()), taken()]);
    assert_eq!(batch.claims(), [ClaimStep::Release(ada("old")), ClaimStep::Take(ada("new"))]);
    // Each command builds on the one that changed the value before.
    assert_eq!(batch.dependencies(), [(1, 0), (2, 1)]);
}

#[test]
fn a_command_can_give_up_what_it_claimed_and_claim_it_again() {
    let (results, _) = decide(&[&|work| {
        work.claim(ada("old"))?;
        work.release_claim(ada("old"))?;
        work.claim(ada("old"))?;
        work.claim(ada("old"))
    }]);
    assert_eq!(results, [taken()]);
}

#[test]
fn a_code_is_not_given_up() {
    let code = Claim { kind: ClaimKind::Code, ..ada("p/old") };
    let (results, _) = decide(&[&|work| work.release_claim(code.clone())]);
    assert!(matches!(results[..], [Err(Halt::Broken(_))]));
}
