//! One fraud flag, with what hangs on the decision about it.

use axum::extract::Path;
use axum::response::Response;
use console::page::Live;
use console::pages::operator::flag::{Granted, Stake, View, page};
use console::parts::{FormKeys, Sent};
use console::text;
use http::StatusCode;
use tonic::Status;

use super::fraud::resolve;
use super::names::{Ids, knowing, of_flag};
use crate::api::console::answers::Refused;
use crate::api::console::faults;
use crate::api::console::forms::SentForm;
use crate::api::console::live::fraud::live_token;
use crate::api::console::participant::part;
use crate::api::console::visit::Visit;
use crate::api::pb;

/// How many rewards are added up.
const REWARDS: i32 = 1_000;
/// How many purchases are shown.
const PURCHASES: i32 = 20;

pub(super) async fn show(visit: Visit, Path(flag_id): Path<String>) -> Result<Response, Refused> {
    flag(&visit, &flag_id, StatusCode::OK, Sent::default(), visit.command()).await
}

pub(super) async fn decide(
    visit: Visit,
    Path(flag_id): Path<String>,
    form: SentForm,
) -> Result<Response, Refused> {
    visit.operator()?;
    match resolve(&visit, &flag_id, &form).await {
        Ok((done, changed)) => Ok(visit.see_other(&format!("/o/fraud/{flag_id}"), done, &changed)),
        Err(status) => {
            let (code, sent) = faults::placed(&status, form.sent(), &[]);
            flag(&visit, &flag_id, code, sent, form.keys(&visit)).await
        }
    }
}

async fn flag(
    visit: &Visit,
    flag_id: &str,
    code: StatusCode,
    sent: Sent,
    keys: FormKeys,
) -> Result<Response, Refused> {
    visit.operator()?;
    let person = visit.person().await?;
    let request =
        pb::GetFraudFlagRequest { flag_id: flag_id.into(), consistency_token: visit.changed() };
    let answer = visit.call(request).await?;
    let flag = answer.flag.ok_or(Refused::NotFound)?;
    let stake = match (&flag.referee, &flag.referrer) {
        (Some(referee), Some(referrer)) => {
            Some(stake(visit, &flag.program_id, &referee.user_id, &referrer.user_id).await)
        }
        _ => None,
    };
    let reader = knowing(visit, Ids::of(of_flag(&flag))).await;
    let token = live_token(visit, &flag.program_id, answer.position);
    let live = Live { path: format!("/live/fraud/{flag_id}?program={}", flag.program_id), token };
    let view = View { flag: &flag, stake, keys, sent, done: text::done(visit.query("done")), live };
    let form_token = visit.form_token();
    let sidebar = person.sidebar(visit, &form_token);
    Ok(visit.page_with(code, page(view, &sidebar, &reader)))
}

/// What hangs on the referral of a referee by a referrer.
async fn stake(visit: &Visit, program_id: &str, referee: &str, referrer: &str) -> Stake {
    let since = visit.changed();
    let (rewards, balances, purchases) = tokio::join!(
        visit.call(pb::ListRewardsRequest {
            program_id: program_id.into(),
            user_id: referrer.into(),
            source_user_id: referee.into(),
            page_size: REWARDS,
            consistency_token: since.clone(),
            ..Default::default()
        }),
        visit.call(pb::GetBalancesRequest {
            program_id: program_id.into(),
            user_id: referrer.into(),
            consistency_token: since.clone(),
            ..Default::default()
        }),
        visit.call(pb::ListPurchasesRequest {
            buyer_user_id: referee.into(),
            page_size: PURCHASES,
            consistency_token: since.clone(),
            ..Default::default()
        }),
    );
    let purchases = part(purchases.map(|found| found.purchases));
    let waits = |detail: &&pb::PurchaseDetail| {
        detail.outcomes.iter().any(|outcome| {
            outcome.program_id == program_id && outcome.reason() == pb::WithheldReason::ReferralHeld
        })
    };
    Stake {
        granted: part(granted(rewards, &balances)),
        buckets: part(balances.map(|found| found.buckets.into_iter().next())),
        waiting: purchases.as_ref().map_or(0, |found| found.iter().filter(waits).count()),
        purchases,
    }
}

/// The sums of rewards, in the unit of the balances.
fn granted(
    rewards: Result<pb::ListRewardsResponse, Status>,
    balances: &Result<pb::GetBalancesResponse, Status>,
) -> Result<Granted, Status> {
    let rewards = rewards?;
    let known = balances.as_ref().ok().and_then(|found| found.balances.first());
    let currency_code = known.map(|of| of.currency_code.clone()).unwrap_or_default();
    let sum = |of: fn(&pb::Reward) -> Option<&pb::Money>| pb::Money {
        minor_units: rewards
            .rewards
            .iter()
            .filter_map(of)
            .fold(0, |sum: i64, amount| sum.saturating_add(amount.minor_units)),
        currency_code: currency_code.clone(),
    };
    Ok(Granted {
        count: rewards.rewards.len(),
        is_more: !rewards.next_page_token.is_empty(),
        amount: sum(|of| of.amount.as_ref()),
        pending: sum(|of| of.pending.as_ref()),
        reversed: sum(|of| of.reversed.as_ref()),
    })
}
