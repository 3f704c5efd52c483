#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

use super::*;
use crate::store::{Actor, Door};

use domain::{Timestamp, User, UserCommand, UserId, peek_new, tell};

fn ada(owner: &str) -> Claim {
    Claim { kind: ClaimKind::Username, value: "ada".into(), owner: owner.into() }
}

type Decision<'a> = dyn Fn(&mut dyn Work) -> Result<(), Halt> + 'a;

fn taken() -> Result<(), Halt> {
    Err(Refusal::Taken(vec!["username"]).into())
}

/// Runs commands in a unit of work that remembers that `ada` belongs to `old`. Each takes or releases claims;
/// it is kept if it succeeds, and added as a refusal otherwise. Returns the results and the batch.
async fn decide(commands: &[&Decision<'_>]) -> (Vec<Result<(), Halt>>, Batch) {
    let environment = Environment::of_this_machine().unwrap();
    let (mut cache, before) = (Cache::new(1), FinishedStreams::new());
    let known = KnownTaken::from([((ClaimKind::Username, "ada".into()), "old".into())]);
    let mut unit = UnitOfWork::new(&environment, &mut cache, &before, known, Horizon::default());
    let envelope =
        Arc::new(Envelope { actor: Actor::SYSTEM, door: Door::job("test"), request: None });
    let mut results = Vec::new();
    for command in commands {
        let result = unit.run(true, |work| command(work)).await;
        if result.is_ok() {
            unit.keep(&envelope, None);
        } else {
            unit.keep_reads(None);
        }
        results.push(result);
    }
    (results, unit.finish().0)
}

#[tokio::test]
async fn a_refusal_because_of_a_remembered_owner_goes_to_the_append_with_the_owner() {
    let (results, batch) = decide(&[&|work| work.claim(ada("new"))]).await;
    assert_eq!(results, [taken()]);
    assert_eq!(batch.claims(), [ClaimStep::Found(ada("old"))]);
}

#[tokio::test]
async fn what_a_command_of_the_batch_gives_up_is_not_refused_because_of_what_is_remembered() {
    let (results, batch) = decide(&[
        &|work| work.release_claim(ada("old")),
        &|work| work.claim(ada("new")),
        &|work| work.claim(ada("third")),
    ])
    .await;
    assert_eq!(results, [Ok(()), Ok(()), taken()]);
    assert_eq!(batch.claims(), [ClaimStep::Release(ada("old")), ClaimStep::Take(ada("new"))]);
    // Each command builds on the one that changed the value before.
    assert_eq!(batch.dependencies(), [(1, 0), (2, 1)]);
}

#[tokio::test]
async fn a_command_can_give_up_what_it_claimed_and_claim_it_again() {
    let (results, _) = decide(&[&|work| {
        work.claim(ada("old"))?;
        work.release_claim(ada("old"))?;
        work.claim(ada("old"))?;
        work.claim(ada("old"))
    }])
    .await;
    assert_eq!(results, [taken()]);
}

#[tokio::test]
async fn a_code_is_not_given_up() {
    let code = Claim { kind: ClaimKind::Code, ..ada("p/old") };
    let (results, _) = decide(&[&|work| work.release_claim(code.clone())]).await;
    assert!(matches!(results[..], [Err(Halt::Broken(_))]));
}

#[tokio::test]
async fn one_task_decides_ten_thousand_events() {
    let register = |number: usize| {
        let user_id = UserId::parse(&format!("user-{number}")).unwrap();
        move |work: &mut dyn Work| {
            assert!(!peek_new::<User>(work, &user_id)?.exists());
            let command = UserCommand::Register {
                user_id: user_id.clone(),
                has_known_address: false,
                now: Timestamp(1),
            };
            tell::<User>(work, &user_id, command).map(|events| assert_eq!(events, 1))
        }
    };
    let commands: Vec<_> = (0..10_000).map(register).collect();
    let commands: Vec<&Decision> = commands.iter().map(|command| command as _).collect();
    let (results, batch) = decide(&commands).await;
    assert!(results.iter().all(Result::is_ok), "{:?}", results.iter().find(|of| of.is_err()));
    assert_eq!(batch.len(), 10_000);
}
