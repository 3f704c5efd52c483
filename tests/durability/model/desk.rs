//! Calls about stores and payouts, and what servers show of them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use contract::pb::*;
use testing::Client;
use tonic::{Response, Status};

use super::calls::usd;
use super::commands::Command;
use super::compare::{minor, shown};
use super::payouts::{Decided, Skip, Standing};
use super::publish::tier_name;
use super::run::{Run, agree, same};
use super::spend::{Stage, Terms};
use super::world::User;

/// How long a job may take.
const PATIENCE: Duration = Duration::from_mins(2);

fn item(number: usize) -> String {
    format!("i{number}")
}

fn redemption(number: usize) -> String {
    format!("r{number}")
}

pub fn payout(number: usize) -> String {
    format!("y{number}")
}

/// The number in an id of one letter and a number.
fn number(id: &str) -> usize {
    id[1..].parse().unwrap()
}

/// What is kept of the answer to a call about a redemption.
pub struct OfRedemption {
    pub token: String,
    pub what: String,
    pub content: String,
}

pub async fn of_redemption(
    run: &Run,
    client: &Client,
    command: &Command,
) -> Result<OfRedemption, Status> {
    let mut store = client.store();
    match command {
        Command::Redeem { program, user, id, item: of } => {
            let message = RedeemRequest {
                program_id: run.program(*program),
                user_id: run.user(*user),
                redemption_id: redemption(*id),
                item_id: item(*of),
                ..Default::default()
            };
            let answer = store.redeem(client.request(message)).await?.into_inner();
            Ok(OfRedemption {
                token: answer.consistency_token,
                what: format!("redemption {program} {id}"),
                content: format!("{:?} {:?}", answer.redemption, answer.entries),
            })
        }
        Command::Fulfil { program, id } => {
            let message = FulfilRedemptionRequest {
                program_id: run.program(*program),
                redemption_id: redemption(*id),
                ..Default::default()
            };
            let answer = store.fulfil_redemption(client.request(message)).await?.into_inner();
            Ok(OfRedemption {
                token: answer.consistency_token,
                what: format!("fulfilment {program} {id}"),
                content: format!("{:?}", answer.redemption),
            })
        }
        Command::CallOff { program, id } => {
            let message = CancelRedemptionRequest {
                program_id: run.program(*program),
                redemption_id: redemption(*id),
                ..Default::default()
            };
            let answer = store.cancel_redemption(client.request(message)).await?.into_inner();
            Ok(OfRedemption {
                token: answer.consistency_token,
                what: format!("cancellation {program} {id}"),
                content: format!("{:?} {:?}", answer.redemption, answer.entries),
            })
        }
        _ => Err(Status::internal("nothing about a redemption")),
    }
}

/// Calls about a store.
pub async fn store(run: &mut Run, client: &Client, command: &Command) -> Result<(), String> {
    let model = match command {
        Command::Offer { program, item, terms } => {
            return offer(run, client, *program, *item, terms).await;
        }
        Command::Redeem { program, user, id, item } => {
            run.world.redeem(*program, *user, *id, *item)
        }
        Command::Fulfil { program, id } => run.world.fulfil(*program, *id),
        Command::CallOff { program, id } => run.world.call_off(*program, *id),
        _ => return Ok(()),
    };
    let server = of_redemption(run, client, command).await;
    let Some(of) = agree(server, model)? else { return Ok(()) };
    run.see(Some(of.token));
    run.repeat_text(of.what, of.content)
}

async fn offer(
    run: &mut Run,
    client: &Client,
    program: usize,
    number: usize,
    terms: &Terms,
) -> Result<(), String> {
    let message = PublishItemRequest {
        program_id: run.program(program),
        item_id: item(number),
        name: "Something".into(),
        cost: usd(terms.cost),
        stock: terms.stock.map(|of| i32::try_from(of).unwrap()),
        per_person_limit: terms.per_person.map(|of| i32::try_from(of).unwrap()),
        from_tier: terms.from_tier.map(tier_name).unwrap_or_default(),
        unavailable: !terms.is_on_sale,
        ..Default::default()
    };
    let server = client.store().publish_item(client.request(message)).await;
    let model = run.world.offer(program, number, terms.clone());
    let answer = agree(server.map(Response::into_inner), model)?;
    run.see(answer.map(|answer| answer.consistency_token));
    Ok(())
}

/// Calls about payouts. What is done by jobs is waited for.
pub async fn payouts(run: &mut Run, client: &Client, command: &Command) -> Result<(), String> {
    let mut service = client.payouts();
    let reference = |has: bool| if has { "po_1".to_owned() } else { String::new() };
    let reason_code = |has: bool| if has { "closed".to_owned() } else { String::new() };
    let line_of =
        |run: &Run, line: Option<User>| line.map(|user| run.user(user)).unwrap_or_default();
    let (answer, wait) = match command {
        Command::SetMethod { user, set } => {
            let message = SetPayoutMethodRequest {
                user_id: run.user(*user),
                kind: "sepa".into(),
                reference: if *set { "DE02".into() } else { String::new() },
                ..Default::default()
            };
            let server = service.set_payout_method(client.request(message)).await;
            let model = run.world.set_method(*user, *set);
            (agree(server.map(|of| of.into_inner().consistency_token), model)?, None)
        }
        Command::PayOut { program, id, minimum } => {
            let message = CreatePayoutRequest {
                program_id: run.program(*program),
                payout_id: payout(*id),
                minimum: usd(*minimum),
                ..Default::default()
            };
            let server = service.create_payout(client.request(message)).await;
            let model = run.world.pay_out(*program, *id, *minimum);
            let answer = agree(server.map(|of| of.into_inner().consistency_token), model)?;
            (answer, Some((*program, *id)))
        }
        Command::Confirm { program, id, line, has_reference } => {
            let message = ConfirmPayoutRequest {
                program_id: run.program(*program),
                payout_id: payout(*id),
                user_id: line_of(run, *line),
                provider_reference: reference(*has_reference),
                ..Default::default()
            };
            let server = service.confirm_payout(client.request(message)).await;
            let model = run.world.confirm(*program, *id, *line, *has_reference);
            let answer = agree(server.map(|of| of.into_inner().consistency_token), model)?;
            (answer, Some((*program, *id)).filter(|_| line.is_none()))
        }
        Command::Fail { program, id, line, has_reason } => {
            let message = FailPayoutRequest {
                program_id: run.program(*program),
                payout_id: payout(*id),
                user_id: line_of(run, *line),
                reason_code: reason_code(*has_reason),
                ..Default::default()
            };
            let server = service.fail_payout(client.request(message)).await;
            let model = run.world.fail(*program, *id, *line, *has_reason);
            let answer = agree(server.map(|of| of.into_inner().consistency_token), model)?;
            (answer, Some((*program, *id)).filter(|_| line.is_none()))
        }
        Command::BringBack { program, id, user, has_reason } => {
            let message = ReturnPayoutLineRequest {
                program_id: run.program(*program),
                payout_id: payout(*id),
                user_id: run.user(*user),
                reason_code: reason_code(*has_reason),
                ..Default::default()
            };
            let server = service.return_payout_line(client.request(message)).await;
            let model = run.world.bring_back(*program, *id, *user, *has_reason);
            (agree(server.map(|of| of.into_inner().consistency_token), model)?, None)
        }
        _ => return Ok(()),
    };
    let is_done = answer.is_some();
    run.see(answer);
    match wait {
        Some((program, id)) if is_done => wait_for(run, client, program, id).await,
        _ => Ok(()),
    }
}

async fn get(run: &Run, client: &Client, program: usize, id: usize) -> Result<Payout, String> {
    let message = GetPayoutRequest {
        program_id: run.program(program),
        payout_id: payout(id),
        consistency_token: run.token.clone(),
    };
    let answer = client.payouts().get_payout(client.request(message)).await;
    Ok(answer.map_err(shown)?.into_inner().payout.unwrap())
}

fn state_of(run: &Run, program: usize, id: usize) -> PayoutState {
    match run.world.programs[program].payouts[&id].decided {
        Decided::No => PayoutState::Open,
        Decided::Confirmed(_) | Decided::ByItself => PayoutState::Confirmed,
        Decided::Failed(_) => PayoutState::Failed,
    }
}

/// Waits until nothing is done to a payout any more, and the servers show so.
async fn wait_for(run: &mut Run, client: &Client, program: usize, id: usize) -> Result<(), String> {
    let until = tokio::time::Instant::now() + PATIENCE;
    let expected = state_of(run, program, id);
    while get(run, client, program, id).await?.state() != expected {
        if tokio::time::Instant::now() > until {
            return Err(format!("payout {id} of {program} is not {expected:?}"));
        }
        tokio::time::sleep(Duration::from_millis(30)).await;
    }
    Ok(())
}

/// Compares what is in the store of a program, and who has redeemed what.
pub async fn compare_store(client: &Client, run: &Run, program: usize) -> Result<(), String> {
    let of = &run.world.programs[program];
    let message = ListItemsRequest {
        program_id: run.program(program),
        page_size: 100,
        consistency_token: run.token.clone(),
        ..Default::default()
    };
    let answer = client.store().list_items(client.request(message)).await.map_err(shown)?;
    let items = answer.into_inner().items;
    let items: BTreeMap<_, _> = items
        .iter()
        .map(|of| (number(&of.item_id), (minor(&of.cost), of.taken_count, of.available)))
        .collect();
    let taken = |item: &usize| i32::try_from(of.taken(*item, None)).unwrap();
    let expected = of.items.iter();
    let expected = expected.map(|(item, terms)| {
        let is_left = terms.stock.is_none_or(|stock| of.taken(*item, None) < stock);
        (*item, (terms.cost, taken(item), terms.is_on_sale && is_left))
    });
    same(&format!("items of {program}"), items, expected.collect())?;

    let message = ListRedemptionsRequest {
        program_id: run.program(program),
        page_size: 100,
        consistency_token: run.token.clone(),
        ..Default::default()
    };
    let answer = client.store().list_redemptions(client.request(message)).await;
    let redemptions = answer.map_err(shown)?.into_inner().redemptions;
    let redemptions: BTreeSet<_> = redemptions
        .iter()
        .map(|of| {
            let stage = match of.state() {
                RedemptionState::Fulfilled => Stage::Fulfilled,
                RedemptionState::Cancelled => Stage::Cancelled,
                RedemptionState::Made | RedemptionState::Unspecified => Stage::Made,
            };
            let user = Run::number(&of.user_id);
            (number(&of.redemption_id), user, number(&of.item_id), minor(&of.cost), stage)
        })
        .collect();
    let expected = of.redemptions.iter();
    let expected = expected.map(|(id, of)| (*id, of.user, of.item, of.cost, of.stage));
    same(&format!("redemptions in {program}"), redemptions, expected.collect())
}

/// Compares the payouts of a program, line by line.
pub async fn compare_payouts(client: &Client, run: &Run, program: usize) -> Result<(), String> {
    for (id, model) in &run.world.programs[program].payouts {
        let what = format!("payout {id} of {program}");
        let server = get(run, client, program, *id).await?;
        same(&what, server.state(), state_of(run, program, *id))?;
        let sums = [&server.reserved, &server.paid, &server.failed, &server.returned];
        let sums =
            sums.map(|sum| sum.as_ref().map_or((0, 0), |sum| (sum.count, minor(&sum.amount))));
        let all = [Standing::Reserved, Standing::Paid, Standing::Failed, Standing::Returned];
        let expected = all.map(|standing| {
            let lines = model.lines.values().filter(|line| line.standing == standing);
            lines.fold((0, 0), |(count, sum), line| (count + 1, sum + line.amount))
        });
        same(&format!("sums of {what}"), sums, expected)?;
        let message = ListPayoutLinesRequest {
            program_id: run.program(program),
            payout_id: payout(*id),
            page_size: 100,
            consistency_token: run.token.clone(),
            ..Default::default()
        };
        let answer = client.payouts().list_payout_lines(client.request(message)).await;
        let lines = answer.map_err(shown)?.into_inner().lines;
        let lines: BTreeMap<_, _> = lines
            .iter()
            .map(|line| {
                let standing = (line.state(), line.skip_reason());
                let amounts = (minor(&line.amount), minor(&line.available_then));
                (Run::number(&line.user_id), (standing, amounts))
            })
            .collect();
        let expected = model.lines.iter();
        let expected =
            expected.map(|(user, line)| (*user, (words(line.standing), (line.amount, line.then))));
        same(&format!("lines of {what}"), lines, expected.collect())?;
    }
    Ok(())
}

fn words(standing: Standing) -> (PayoutLineState, PayoutSkipReason) {
    let none = PayoutSkipReason::Unspecified;
    match standing {
        Standing::Reserved => (PayoutLineState::Reserved, none),
        Standing::Paid => (PayoutLineState::Paid, none),
        Standing::Failed => (PayoutLineState::Failed, none),
        Standing::Returned => (PayoutLineState::Returned, none),
        Standing::Skipped(skip) => {
            let reason = match skip {
                Skip::Inactive => PayoutSkipReason::Inactive,
                Skip::Flagged => PayoutSkipReason::Flagged,
                Skip::InDebt => PayoutSkipReason::InDebt,
                Skip::NoMethod => PayoutSkipReason::NoMethod,
                Skip::BelowMinimum => PayoutSkipReason::BelowMinimum,
            };
            (PayoutLineState::Skipped, reason)
        }
    }
}
