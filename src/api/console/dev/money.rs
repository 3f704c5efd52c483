//! What the sample has about money: a program that pays out with the ways to pay most people, a payout that waits to be
//! transferred, things that were sent back, and payments about which buyers have asked their banks.

use tonic::Status;

use super::call;
use super::sample::{Member, passed};
use crate::api::Context;
use crate::api::pb;

/// A shipped program that may pay out: its balances are money, and it credits no purchases.
const PAYING: &str = "multi-level-commission";
/// The smallest amount that the payout of the sample pays, in minor units.
const LEAST_MINOR: i64 = 20_000;
/// How people are paid, as a few of them are.
const METHODS: [(&str, &str); 3] =
    [("bank", "HDFC0001234 / 5010"), ("upi", "@sample-bank"), ("paypal", "@example.com")];
/// One in so many people has not said how they are paid.
const WITHOUT_METHOD: usize = 6;

/// Publishes a version of the program that pays out, unless somebody has published another one before.
pub(super) async fn let_pay_out(context: &Context) -> Result<(), Status> {
    let request = pb::GetProgramRequest { program_id: PAYING.into(), ..Default::default() };
    let program = call(context, request).await?.program.unwrap_or_default();
    if program.version != 1 || program.pays_out {
        return Ok(());
    }
    let program = pb::Program { pays_out: true, ..program };
    let request = pb::PublishProgramRequest { program: Some(program), ..Default::default() };
    passed(call(context, request).await)
}

/// Makes all of it. `earning` are purchases that somebody has earned from, and `paying` the members of the program.
pub(super) async fn fill(
    context: &Context,
    earning: &[String],
    paying: &[Member],
) -> Result<(), Status> {
    send_back(context, earning).await?;
    dispute(context, earning).await?;
    for (number, member) in paying.iter().enumerate() {
        if number.is_multiple_of(WITHOUT_METHOD) {
            continue;
        }
        let (kind, account) = METHODS[number % METHODS.len()];
        let reference = match kind {
            "bank" => format!("{account}{number:06}"),
            _ => format!("{}{account}", member.user_id),
        };
        let request = pb::SetPayoutMethodRequest {
            user_id: member.user_id.clone(),
            kind: kind.into(),
            reference,
            request_id: format!("sample payout method of {}", member.user_id),
        };
        passed(call(context, request).await)?;
    }
    let request = pb::CreatePayoutRequest {
        program_id: PAYING.into(),
        payout_id: "payout-1".into(),
        minimum: Some(pb::Money { currency_code: "INR".into(), minor_units: LEAST_MINOR }),
        ..Default::default()
    };
    passed(call(context, request).await)
}

/// Two things come back wholly, and one in part.
async fn send_back(context: &Context, earning: &[String]) -> Result<(), Status> {
    let reasons = ["sent back: too small", "sent back: not needed any more", "one of two pieces"];
    for (purchase_id, (number, reason)) in earning.iter().step_by(4).zip((1..).zip(reasons)) {
        let request =
            pb::GetPurchaseRequest { purchase_id: purchase_id.clone(), ..Default::default() };
        let known = call(context, request).await?.purchase.unwrap_or_default().amount;
        let half = |of: pb::Money| pb::Money { minor_units: of.minor_units / 2, ..of };
        let request = pb::RefundPurchaseRequest {
            purchase_id: purchase_id.clone(),
            refund_id: format!("refund-{number}"),
            amount: known.filter(|_| number == 3).map(half),
            reason: reason.into(),
            ..Default::default()
        };
        passed(call(context, request).await)?;
    }
    Ok(())
}

/// One dispute is open, another one was won.
async fn dispute(context: &Context, earning: &[String]) -> Result<(), Status> {
    for (purchase_id, number) in earning.iter().skip(2).step_by(4).zip(1..=2) {
        let (purchase_id, dispute_id) = (purchase_id.clone(), format!("dispute-{number}"));
        let request = pb::OpenDisputeRequest {
            purchase_id: purchase_id.clone(),
            dispute_id: dispute_id.clone(),
            ..Default::default()
        };
        passed(call(context, request).await)?;
        if number == 1 {
            let outcome = pb::DisputeState::Won.into();
            let request =
                pb::CloseDisputeRequest { purchase_id, dispute_id, outcome, ..Default::default() };
            passed(call(context, request).await)?;
        }
    }
    Ok(())
}
