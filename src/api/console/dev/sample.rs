//! Fills the database with sample people: some 200, in all five shipped programs, who refer each other, buy, redeem and
//! send things back. All of it goes through the handlers that others call, too.
//!
//! Who came when is recorded when it is recorded. What was bought can be older: purchases are spread over some weeks
//! where that changes nothing about what they earn, and are recorded in the order of their times, as a shop does.

use std::collections::HashSet;
use std::time::Duration;

use prost_types::Timestamp;
use tonic::{Code, Status};

use super::people::{Chance, somebody};
use super::{call, money, review};
use crate::api::Context;
use crate::api::pb;

/// How many people there are.
const PEOPLE: usize = 200;
/// The password of the first of them, with whom one can look at the pages of a participant.
const PASSWORD: &str = "Sample-password-1";
/// Purchases that come one by one after the rest, so that there is something to watch.
const LATER_PURCHASES: usize = 400;
/// The pause between those.
const PAUSE: Duration = Duration::from_millis(1_500);

/// The shipped programs, with the currency in which their people buy.
const PROGRAMS: [(&str, &str); 5] = [
    ("multi-level-commission", "INR"),
    ("tiered-points", "USD"),
    ("first-purchase-bonus", "USD"),
    ("first-purchase-credits", "EUR"),
    ("referral-count", "USD"),
];

/// What one can redeem: program, id, name, description and cost in minor units.
const ITEMS: [(&str, &str, &str, &str, i64); 6] = [
    ("tiered-points", "mug", "Mug", "Holds tea, coffee and a grudge.", 40),
    ("tiered-points", "hoodie", "Hoodie", "Warm, with a pocket for the phone.", 150),
    ("multi-level-commission", "voucher-500", "Voucher of 500", "For the next purchase.", 50_000),
    ("first-purchase-bonus", "delivery", "Free delivery", "For one order of any size.", 500),
    ("first-purchase-credits", "month", "One month free", "Of the plan that you have.", 4),
    ("referral-count", "badge", "A badge", "To show whom you have brought.", 3),
];

/// The days over which the visits of the sample are spread.
const DAYS_OF_VISITS: i32 = 30;
/// The days over which purchases are spread, in seconds: six weeks.
const PAST_S: usize = 42 * 24 * 60 * 60;
/// The number before that of the first order.
const FIRST_ORDER: usize = 1_000;

/// A participant whom others can come by.
pub(super) struct Member {
    pub(super) user_id: String,
    pub(super) code: String,
    /// Whether somebody has brought them.
    is_referred: bool,
}

/// A purchase that is to be recorded.
struct Order {
    /// How many seconds ago it was made; 0 for now.
    age_s: usize,
    user_id: String,
    amount: pb::Money,
}

/// Whether the database is filled, or is being filled.
pub(super) async fn is_there(context: &Context) -> Result<bool, Status> {
    let request = pb::GetUserRequest { user_id: somebody(0).user_id, ..Default::default() };
    match call(context, request).await {
        Ok(_) => Ok(true),
        Err(status) if status.code() == Code::NotFound => Ok(false),
        Err(status) => Err(status),
    }
}

/// Fills the database.
pub(super) async fn fill(context: &Context) -> Result<(), Status> {
    let mut chance = Chance(2_026);
    money::let_pay_out(context).await?;
    for (program_id, item_id, name, description, cost) in ITEMS {
        item(context, (program_id, item_id), name, description, cost).await?;
    }
    let mut members: [Vec<Member>; PROGRAMS.len()] = Default::default();
    for number in 0..PEOPLE {
        // The first takes part in everything, the others mostly in one or two.
        let first = number % PROGRAMS.len();
        for (index, members) in members.iter_mut().enumerate() {
            let takes_part = index == first || number == 0 || chance.percent(15);
            if takes_part
                && let Some(member) = join(context, number, index, members, &mut chance).await?
            {
                members.push(member);
            }
        }
    }
    visits(context, &members, &mut chance);
    let mut orders = orders(&members, &mut chance);
    // As a shop records them.
    orders.sort_by_key(|order| std::cmp::Reverse(order.age_s));
    let mut number = FIRST_ORDER;
    let mut earning = Vec::new();
    for order in orders {
        number += 1;
        let recorded = buy(context, number, order).await?;
        if recorded.is_some_and(|outcomes| outcomes.iter().any(|of| !of.rewards.is_empty())) {
            earning.push(order_id(number));
        }
    }
    redeem(context, &members).await?;
    money::fill(context, &earning, &members[0]).await?;
    deactivate(context, &members, &mut chance).await?;
    review::fill(context, &members[1], &members[0]).await?;
    for _ in 0..LATER_PURCHASES {
        tokio::time::sleep(PAUSE).await;
        number += 1;
        // Mostly where each purchase earns.
        let index = if chance.percent(60) { 0 } else { chance.below(PROGRAMS.len()) };
        let of = &members[index];
        if let Some(member) = of.get(chance.below(of.len())) {
            let amount = amount(PROGRAMS[index].1, &mut chance);
            let order = Order { age_s: 0, user_id: member.user_id.clone(), amount };
            buy(context, number, order).await?;
        }
    }
    Ok(())
}

/// Lets somebody take part in a program, mostly by the code of somebody who does already.
async fn join(
    context: &Context,
    number: usize,
    index: usize,
    members: &[Member],
    chance: &mut Chance,
) -> Result<Option<Member>, Status> {
    let person = somebody(number);
    let program_id = PROGRAMS[index].0.to_owned();
    // Whoever came early has brought the most, and the first one most of all.
    let by = if chance.percent(25) { 0 } else { chance.below(members.len().min(40)) };
    let code = if chance.percent(85) { members.get(by).map(|of| of.code.clone()) } else { None };
    let code = code.unwrap_or_default();
    let request_id = format!("sample {} in {program_id}", person.user_id);
    let known = pb::GetUserRequest { user_id: person.user_id.clone(), ..Default::default() };
    let joined = match call(context, known).await {
        Ok(known) => {
            let here = known.participants.into_iter().find(|of| of.program_id == program_id);
            if let Some(participant) = here {
                return Ok(Some(member(participant)));
            }
            let request = pb::EnrollParticipantRequest {
                program_id: program_id.clone(),
                user_id: person.user_id.clone(),
                referral_code: code,
                request_id,
            };
            call(context, request).await.map(|answer| answer.participant)
        }
        Err(status) if status.code() == Code::NotFound => {
            let request = pb::RegisterUserRequest {
                user_id: person.user_id.clone(),
                username: person.user_id.clone(),
                display_name: person.name,
                email: person.email,
                password: if number == 0 { PASSWORD.into() } else { String::new() },
                referral_code: code,
                program_id: program_id.clone(),
                request_id,
                ..Default::default()
            };
            call(context, request).await.map(|answer| answer.participants.into_iter().next())
        }
        Err(status) => return Err(status),
    };
    match joined {
        Ok(participant) => Ok(participant.map(member)),
        // A code without a place, for example: they come another time.
        Err(status) if may_be(&status) => Ok(None),
        Err(status) => Err(status),
    }
}

fn member(participant: pb::Participant) -> Member {
    Member {
        is_referred: !participant.referrer_user_id.is_empty(),
        user_id: participant.user_id,
        code: participant.code,
    }
}

/// People who opened links, most of them those of whoever came early; not all of them signed up.
fn visits(context: &Context, members: &[Vec<Member>; PROGRAMS.len()], chance: &mut Chance) {
    let today = context.visits.today();
    for members in members {
        for (place, member) in members.iter().enumerate() {
            for day in today - DAYS_OF_VISITS..=today {
                let most = if place == 0 { 6 } else { 2 };
                let count = i64::try_from(chance.below(most + 1)).unwrap_or_default();
                if count > 0 && (place == 0 || chance.percent(20)) {
                    context.visits.add(&member.code, day, count);
                }
            }
        }
    }
}

/// What was bought before anybody watches.
fn orders(members: &[Vec<Member>; PROGRAMS.len()], chance: &mut Chance) -> Vec<Order> {
    // Where purchases earn, those that are older than the referral count for nothing.
    let earns = |program_id| !matches!(program_id, "tiered-points" | "referral-count");
    let of_earning = PROGRAMS.iter().zip(members).filter(|((program_id, _), _)| earns(program_id));
    let referred: HashSet<&str> = of_earning
        .flat_map(|(_, members)| members.iter().filter(|member| member.is_referred))
        .map(|member| member.user_id.as_str())
        .collect();
    let mut orders = Vec::new();
    for (index, members) in members.iter().enumerate() {
        for member in members {
            let purchases = if chance.percent(70) { 1 + chance.below(3) } else { 0 };
            for _ in 0..purchases {
                let is_old = chance.percent(90) && !referred.contains(&*member.user_id);
                orders.push(Order {
                    age_s: if is_old { chance.below(PAST_S) } else { 0 },
                    user_id: member.user_id.clone(),
                    amount: amount(PROGRAMS[index].1, chance),
                });
            }
        }
    }
    orders
}

/// Some amount: from 5.00 to 60.00, and in rupees a hundred times as much.
fn amount(currency: &str, chance: &mut Chance) -> pb::Money {
    let cents = i64::try_from(500 + 50 * chance.below(110)).unwrap_or_default();
    let minor_units = if currency == "INR" { cents * 100 } else { cents };
    pb::Money { currency_code: currency.into(), minor_units }
}

fn order_id(number: usize) -> String {
    format!("order-{number}")
}

/// Records a purchase; returns what it led to, or `None` if it was not taken.
async fn buy(
    context: &Context,
    number: usize,
    order: Order,
) -> Result<Option<Vec<pb::PurchaseOutcome>>, Status> {
    let now = (context.environment.now)().0.div_euclid(domain::Timestamp::PER_SECOND);
    let age = i64::try_from(order.age_s).unwrap_or_default();
    let request = pb::RecordPurchaseRequest {
        purchase_id: order_id(number),
        buyer_user_id: order.user_id,
        amount: Some(order.amount),
        purchase_time: (age > 0).then(|| Timestamp { seconds: now - age, nanos: 0 }),
        ..Default::default()
    };
    match call(context, request).await {
        Ok(recorded) => Ok(Some(recorded.outcomes)),
        Err(status) if may_be(&status) => Ok(None),
        Err(status) => Err(status),
    }
}

async fn item(
    context: &Context,
    (program_id, item_id): (&str, &str),
    name: &str,
    description: &str,
    cost: i64,
) -> Result<(), Status> {
    let program = pb::GetProgramRequest { program_id: program_id.into(), ..Default::default() };
    let unit = match call(context, program).await {
        Ok(found) => found.program.unwrap_or_default().unit,
        Err(status) if may_be(&status) => return Ok(()),
        Err(status) => return Err(status),
    };
    let request = pb::PublishItemRequest {
        request_id: format!("sample item {item_id}"),
        program_id: program_id.into(),
        item_id: item_id.into(),
        name: name.into(),
        description: description.into(),
        cost: Some(pb::Money { currency_code: unit, minor_units: cost }),
        ..Default::default()
    };
    passed(call(context, request).await)
}

/// What is redeemed, most of which waits to be handed over.
async fn redeem(context: &Context, members: &[Vec<Member>; PROGRAMS.len()]) -> Result<(), Status> {
    let mut number = 500;
    for (program_id, item_id, ..) in ITEMS {
        let index = PROGRAMS.iter().position(|(id, _)| *id == program_id).unwrap_or_default();
        for (place, member) in members[index].iter().take(6).enumerate() {
            number += 1;
            let redemption_id = format!("redemption-{number}");
            let request = pb::RedeemRequest {
                program_id: program_id.into(),
                user_id: member.user_id.clone(),
                redemption_id: redemption_id.clone(),
                item_id: item_id.into(),
                ..Default::default()
            };
            passed(call(context, request).await)?;
            let program_id = program_id.to_owned();
            // Those who came first have theirs, and somebody changed their mind.
            match place {
                0 | 1 => {
                    let request = pb::FulfilRedemptionRequest {
                        program_id,
                        redemption_id,
                        ..Default::default()
                    };
                    passed(call(context, request).await)?;
                }
                4 => {
                    let request = pb::CancelRedemptionRequest {
                        program_id,
                        redemption_id,
                        ..Default::default()
                    };
                    passed(call(context, request).await)?;
                }
                _ => {}
            }
        }
    }
    Ok(())
}

/// Somebody in each program is deactivated.
async fn deactivate(
    context: &Context,
    members: &[Vec<Member>; PROGRAMS.len()],
    chance: &mut Chance,
) -> Result<(), Status> {
    for members in members {
        if let Some(member) = members.get(5 + chance.below(10)) {
            let user_id = member.user_id.clone();
            let request = pb::DeactivateUserRequest { user_id, ..Default::default() };
            passed(call(context, request).await)?;
        }
    }
    Ok(())
}

/// What a refusal says may be: the sample is of people, who want what they cannot have.
pub(super) fn passed<T>(outcome: Result<T, Status>) -> Result<(), Status> {
    match outcome {
        Ok(_) => Ok(()),
        Err(status) if may_be(&status) => Ok(()),
        Err(status) => Err(status),
    }
}

fn may_be(status: &Status) -> bool {
    matches!(
        status.code(),
        Code::NotFound | Code::AlreadyExists | Code::FailedPrecondition | Code::InvalidArgument
    )
}
