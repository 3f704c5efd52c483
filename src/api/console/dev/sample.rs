//! Fills the database with sample people: some 200, in all five shipped programs, who refer each other, buy, redeem and
//! send things back. All of it goes through the handlers that others call, too.

use std::time::Duration;

use tonic::{Code, Status};

use super::people::{Chance, somebody};
use super::{call, review};
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

/// A participant whom others can come by.
pub(super) struct Member {
    pub(super) user_id: String,
    pub(super) code: String,
}

/// Fills the database.
pub(super) async fn fill(context: &Context) -> Result<(), Status> {
    let mut chance = Chance(2_026);
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
    let mut count = 0;
    for (index, members) in members.iter().enumerate() {
        for member in members {
            let purchases = if chance.percent(70) { 1 + chance.below(3) } else { 0 };
            for _ in 0..purchases {
                count += 1;
                buy(context, count, &member.user_id, PROGRAMS[index].1, &mut chance).await?;
            }
        }
    }
    extras(context, &members, &mut chance).await?;
    review::fill(context, &members[1], &members[0]).await?;
    for _ in 0..LATER_PURCHASES {
        tokio::time::sleep(PAUSE).await;
        count += 1;
        // Mostly where each purchase earns.
        let index = if chance.percent(60) { 0 } else { chance.below(PROGRAMS.len()) };
        let of = &members[index];
        if let Some(member) = of.get(chance.below(of.len())) {
            buy(context, count, &member.user_id, PROGRAMS[index].1, &mut chance).await?;
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
        Ok(_) => {
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
        Ok(participant) => Ok(participant
            .map(|participant| Member { user_id: person.user_id, code: participant.code })),
        // A code without a place, for example: they come another time.
        Err(status) if may_be(&status) => Ok(None),
        Err(status) => Err(status),
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

/// A purchase of some amount.
async fn buy(
    context: &Context,
    number: usize,
    user_id: &str,
    currency: &str,
    chance: &mut Chance,
) -> Result<(), Status> {
    // From 5.00 to 60.00, and in rupees a hundred times as much.
    let cents = i64::try_from(500 + 50 * chance.below(110)).unwrap_or_default();
    let minor_units = if currency == "INR" { cents * 100 } else { cents };
    let request = pb::RecordPurchaseRequest {
        purchase_id: format!("sample-{number}"),
        buyer_user_id: user_id.into(),
        amount: Some(pb::Money { currency_code: currency.into(), minor_units }),
        ..Default::default()
    };
    passed(call(context, request).await)
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

/// What else happens: refunds, redemptions, people who are deactivated.
async fn extras(
    context: &Context,
    members: &[Vec<Member>; PROGRAMS.len()],
    chance: &mut Chance,
) -> Result<(), Status> {
    for number in [3, 17, 40] {
        let request = pb::RefundPurchaseRequest {
            purchase_id: format!("sample-{number}"),
            refund_id: "sample".into(),
            reason: "sent back".into(),
            ..Default::default()
        };
        passed(call(context, request).await)?;
    }
    for (program_id, item_id, ..) in ITEMS {
        let index = PROGRAMS.iter().position(|(id, _)| *id == program_id).unwrap_or_default();
        for member in members[index].iter().take(6) {
            let request = pb::RedeemRequest {
                program_id: program_id.into(),
                user_id: member.user_id.clone(),
                redemption_id: format!("sample-{item_id}-{}", member.user_id),
                item_id: item_id.into(),
                ..Default::default()
            };
            passed(call(context, request).await)?;
        }
    }
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
