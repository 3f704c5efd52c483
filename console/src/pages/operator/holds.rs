//! Holding a reward and releasing it, wherever rewards are shown.

use contract::pb::{Reward, RewardHoldReason};
use maud::{Markup, html};

use crate::parts::{FormKeys, Tone, badge};
use crate::reader::Reader;
use crate::text::money as text;
use crate::text::participant::minor;

/// Why a reward waits, what was written about that, and the form that holds or releases it. The form is sent to
/// `action`.
#[must_use]
pub fn holds(reward: &Reward, action: &str, keys: &FormKeys, reader: &Reader) -> Markup {
    let has = |reason| reward.hold_reasons().any(|of| of == reason);
    let is_held = has(RewardHoldReason::Operator);
    let waits = is_held || has(RewardHoldReason::HoldPeriod);
    // Of what was taken back wholly, nothing can be held.
    let is_left = minor(reward.amount.as_ref()) > minor(reward.reversed.as_ref());
    html! {
        @for reason in reward.hold_reasons() { (badge(Tone::Warn, &words(reason, reward, reader))) " " }
        @if !reward.hold_note.is_empty() { small.break { (reward.hold_note) } }
        @if is_left {
            details {
                summary {
                    (if is_held { text::RELEASE_REWARD } else { text::HOLD_REWARD }) "…"
                    span.unseen { " " (text::of_reward(reward.level, &reward.rule)) }
                }
                form.row.below method="post" action=(reader.to(action)) {
                    (keys)
                    input type="hidden" name="reward_id" value=(reward.reward_id);
                    input.input.note name="note" maxlength="500" autocomplete="off" placeholder=(text::NOTE)
                        aria-label=(text::NOTE);
                    @if waits { button.button name="step" value="release" { (text::RELEASE_REWARD) } }
                    @if !is_held { button.button.danger name="step" value="hold" { (text::HOLD_REWARD) } }
                }
            }
        }
    }
}

fn words(reason: RewardHoldReason, reward: &Reward, reader: &Reader) -> String {
    match reason {
        RewardHoldReason::HoldPeriod => text::until(&reader.day(reward.release_time.as_ref())),
        RewardHoldReason::Operator => text::HELD_BY_OPERATOR.into(),
        RewardHoldReason::Dispute => text::DISPUTED.into(),
        RewardHoldReason::Unspecified => "–".into(),
    }
}
