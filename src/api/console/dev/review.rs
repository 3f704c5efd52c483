//! What the sample has for operators to decide: people who look like somebody else, a reward that is held, and a
//! correction that waits for somebody who approves it.

use tonic::Status;

use super::call;
use super::sample::{Member, passed};
use crate::api::Context;
use crate::api::pb;

/// A shipped program with checks of sign-ups, and one that pays money.
const CHECKED: &str = "tiered-points";
const PAYING: &str = "multi-level-commission";
/// People with addresses like those of the first of the sample, or like each other's.
const ALIKE: [(&str, &str, &str); 4] = [
    ("asha.too", "Asha R.", "asha.0@rao.example.com"),
    ("a.rao", "A. Rao", "azha0@rao.example.com"),
    ("asha.three", "Asha Three", "asha00@rao.example.com"),
    ("throwaway", "One Timer", "one.time@mailinator.com"),
];
/// More than adjustments may be without an approval.
const LARGE_MINOR: i64 = 150_000;

/// Makes all of it. `checked` and `paying` are the members of the two programs.
pub(super) async fn fill(
    context: &Context,
    checked: &[Member],
    paying: &[Member],
) -> Result<(), Status> {
    let code = checked.first().map(|member| member.code.clone()).unwrap_or_default();
    for (user_id, name, email) in ALIKE {
        let request = pb::RegisterUserRequest {
            user_id: user_id.into(),
            username: user_id.into(),
            display_name: name.into(),
            email: email.into(),
            referral_code: code.clone(),
            program_id: CHECKED.into(),
            request_id: format!("sample {user_id}"),
            ..Default::default()
        };
        passed(call(context, request).await)?;
    }
    let Some(member) = paying.first() else { return Ok(()) };
    let request = pb::ListRewardsRequest {
        program_id: PAYING.into(),
        user_id: member.user_id.clone(),
        page_size: 1,
        ..Default::default()
    };
    for reward in call(context, request).await?.rewards {
        let request = pb::HoldRewardRequest {
            reward_id: reward.reward_id,
            note: "The buyer has asked the bank about it.".into(),
            ..Default::default()
        };
        passed(call(context, request).await)?;
    }
    let request = pb::AdjustBalanceRequest {
        program_id: PAYING.into(),
        user_id: member.user_id.clone(),
        adjustment_id: "goodwill-1".into(),
        amount: Some(pb::Money { currency_code: "INR".into(), minor_units: LARGE_MINOR }),
        reason_code: "goodwill".into(),
        note: "For bringing half the town.".into(),
        ..Default::default()
    };
    passed(call(context, request).await)
}
