//! Calls that arrive at both servers at the same time. What comes of them must be what comes of them one after the
//! other, in the order in which the log has them. The model goes on with that order: another one can look the same now
//! and differ later, as when a refund lets the next purchase be the first one.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use testing::{Client, at_once, reason};
use tonic::Status;

use super::commands::Command;
use super::run::Run;
use super::world::{Refusal, User, World};
use super::{calls, desk};

/// What came of one of the calls.
struct Answer {
    refused: Option<String>,
    /// Where the log has it, if it was done and changed something.
    position: i64,
    /// The participant that was made, and the code.
    code: Option<((usize, User), String)>,
    /// What a repetition is recognised by, and what it is answered.
    first: Option<(String, String)>,
}

impl Answer {
    fn refused(status: &Status) -> Self {
        Self { refused: Some(reason(status).1), position: 0, code: None, first: None }
    }

    fn done(token: &str) -> Self {
        Self { refused: None, position: position(token), code: None, first: None }
    }
}

/// The position in a consistency token, which is its last part.
fn position(token: &str) -> i64 {
    let bytes = URL_SAFE_NO_PAD.decode(token).unwrap();
    i64::from_be_bytes(*bytes.last_chunk().unwrap())
}

pub async fn race(
    run: &mut Run,
    clients: &[Client; 2],
    commands: &[Command],
) -> Result<(), String> {
    let commands: Vec<_> = commands.iter().filter_map(|command| possible(run, command)).collect();
    let amounts: Vec<_> = commands.iter().map(|command| run.amount(command)).collect();
    let before = Arc::new(run.clone());
    let calls = commands.iter().cloned().zip(amounts.iter().copied()).enumerate();
    let answers = at_once(calls.map(|(number, (command, amount))| {
        let (before, client) = (before.clone(), clients[number % 2].clone());
        async move { send(&before, &client, &command, amount).await }
    }))
    .await;
    let mut worlds: Vec<World> = Vec::new();
    for order in orders(commands.len()) {
        let mut world = run.world.clone();
        let mut latest = 0;
        let is_so = order.iter().all(|number| {
            let before = format!("{world:?}");
            let outcome = apply(run, &mut world, &commands[*number], amounts[*number]);
            match (&answers[*number].refused, outcome) {
                (None, Ok(())) if format!("{world:?}") == before => true,
                (None, Ok(())) => {
                    let before = std::mem::replace(&mut latest, answers[*number].position);
                    before < latest
                }
                (Some(refused), Err(refusals)) => refusals.contains(&refused.as_str()),
                _ => false,
            }
        });
        if is_so && worlds.iter().all(|known| format!("{known:?}") != format!("{world:?}")) {
            worlds.push(world);
        }
    }
    for answer in &answers {
        if let Some((participant, code)) = &answer.code {
            run.codes.insert(*participant, code.clone());
        }
        if let Some((what, content)) = &answer.first {
            run.repeat_text(what.clone(), content.clone())?;
        }
    }
    run.see_the_log(&clients[0]).await?;
    let refused: Vec<_> = answers.iter().map(|answer| &answer.refused).collect();
    run.go_on_with(clients, worlds).await.map_err(|text| format!("{text}; refused: {refused:?}"))
}

/// The call, if its outcome is clear in every order.
fn possible(run: &Run, command: &Command) -> Option<Command> {
    match command {
        // Whether it is a sign-up or an enrolment must be known beforehand.
        Command::Join { user, .. } => run.world.is_active(*user).map(|_| command.clone()),
        // So must the currency of a purchase by those who refund it.
        Command::Buy { id, user, amount, when, .. } if !run.world.purchases.contains_key(id) => {
            Some(Command::Buy {
                id: *id,
                user: *user,
                amount: *amount,
                foreign: false,
                when: *when,
            })
        }
        _ => Some(command.clone()),
    }
}

fn orders(count: usize) -> Vec<Vec<usize>> {
    let mut orders = vec![Vec::new()];
    for number in 0..count {
        let longer = orders.iter().flat_map(|order: &Vec<usize>| {
            (0..=order.len()).map(move |place| {
                let mut order = order.clone();
                order.insert(place, number);
                order
            })
        });
        orders = longer.collect();
    }
    orders
}

async fn send(run: &Run, client: &Client, command: &Command, amount: Option<i64>) -> Answer {
    match command {
        Command::Join { program, user, referrer } => {
            let referrer = run.known(*program, *referrer);
            match calls::join(run, client, (*program, *user, referrer)).await {
                Ok((token, participant)) => {
                    let code = Some(((*program, *user), participant.code));
                    Answer { code, ..Answer::done(&token) }
                }
                Err(status) => Answer::refused(&status),
            }
        }
        Command::Refer { program, user, referrer } => {
            let called = calls::refer(run, client, (*program, *user, *referrer)).await;
            called.map_or_else(|status| Answer::refused(&status), |token| Answer::done(&token))
        }
        Command::SetActive { user, active } => {
            let called = calls::set_active(run, client, *user, *active).await;
            called.map_or_else(|status| Answer::refused(&status), |token| Answer::done(&token))
        }
        Command::Redeem { .. } | Command::Fulfil { .. } | Command::CallOff { .. } => {
            match desk::of_redemption(run, client, command).await {
                Ok(of) => Answer { first: Some((of.what, of.content)), ..Answer::done(&of.token) },
                Err(status) => Answer::refused(&status),
            }
        }
        Command::Buy { id, .. } => match calls::buy(run, client, command).await {
            Ok(answer) => {
                let answer = answer.into_inner();
                let first = Some((format!("purchase {id}"), format!("{:?}", answer.outcomes)));
                Answer { first, ..Answer::done(&answer.consistency_token) }
            }
            Err(status) => Answer::refused(&status),
        },
        _ => match calls::give_back(run, client, command, amount).await {
            Ok(answer) => {
                let content = format!("{:?}", (answer.content, answer.reversals));
                let first = Some((answer.what, content)).filter(|(what, _)| !what.is_empty());
                Answer { first, ..Answer::done(&answer.token) }
            }
            Err(status) => Answer::refused(&status),
        },
    }
}

fn apply(
    run: &Run,
    world: &mut World,
    command: &Command,
    amount: Option<i64>,
) -> Result<(), Vec<Refusal>> {
    let one = |refusal| vec![refusal];
    match command {
        Command::Join { program, user, referrer } => {
            world.join(*program, *user, run.known(*program, *referrer)).map_err(one)
        }
        Command::Refer { program, user, referrer } => world.refer(*program, *user, *referrer),
        Command::SetActive { user, active } => world.set_active(*user, *active).map_err(one),
        Command::Buy { id, user, amount, foreign, when } => {
            world.buy(*id, *user, *amount, *foreign, run.dated(*when)).map_err(one)
        }
        Command::Redeem { program, user, id, item } => {
            world.redeem(*program, *user, *id, *item).map_err(one)
        }
        Command::Fulfil { program, id } => world.fulfil(*program, *id).map_err(one),
        Command::CallOff { program, id } => world.call_off(*program, *id).map_err(one),
        Command::Refund { id, refund, .. } => world.refund(*id, *refund, amount).map_err(one),
        Command::CancelRefund { id, refund } => world.cancel_refund(*id, *refund).map_err(one),
        Command::Dispute { id, dispute, .. } => world.dispute(*id, *dispute, amount).map_err(one),
        Command::Close { id, dispute, outcome } => {
            world.close(*id, *dispute, *outcome).map_err(one)
        }
        _ => Err(Vec::new()),
    }
}
