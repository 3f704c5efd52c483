//! The fields of consequences: as the log has them, and in the same order as they are expected.

use std::fmt;
use std::sync::Arc;

use domain::ledger::{Bucket, Posting};
use domain::{
    ParticipantEvent, PayoutId, PurchaseId, ReferralMade, ReferralReward, ReferralUpdated,
    RewardGranted, RewardMoved, RewardReversed, RewardWithheld, StreamKey, TierPot, UserId,
};

use super::effect::{Fields, Value, debug};

/// The fields of a reward that is expected.
pub(super) struct Reward {
    pub(super) version: u32,
    pub(super) rule: Arc<str>,
    pub(super) level: u32,
    pub(super) source: Arc<str>,
    pub(super) purchase_id: Option<Arc<str>>,
    pub(super) basis_minor: Option<i64>,
    pub(super) rate_bps: Option<u32>,
    pub(super) computed_minor: i128,
    pub(super) amount_minor: i128,
    pub(super) cap_remaining_minor: Option<i64>,
    pub(super) level_total_minor: i128,
    pub(super) level_count: u32,
    pub(super) tier_referrals: Option<u32>,
    pub(super) kind: Value,
    pub(super) unit: Arc<str>,
    /// Whether it waits for the end of the program's hold period.
    pub(super) waits: bool,
}

impl Reward {
    pub(super) fn fields(self) -> Vec<(&'static str, Value)> {
        vec![
            ("level", self.level.into()),
            ("program_version", self.version.into()),
            ("rule", self.rule.into()),
            ("amount", self.amount_minor.into()),
            ("computed", self.computed_minor.into()),
            ("left under the cap", self.cap_remaining_minor.into()),
            ("basis", self.basis_minor.into()),
            ("rate_bps", self.rate_bps.into()),
            ("level_total", self.level_total_minor.into()),
            ("level_count", self.level_count.into()),
            ("referrals of the tier", self.tier_referrals.into()),
            ("source", self.source.into()),
            ("purchase", self.purchase_id.into()),
            ("kind", self.kind),
            ("unit", self.unit.into()),
            ("bucket", if self.waits { "Pending" } else { "Available" }.into()),
        ]
    }
}

fn posting_fields(posting: &Posting) -> [(&'static str, Value); 4] {
    let bucket = match posting.from {
        None => debug(posting.to),
        Some(from) => Value::Text(format!("{from:?} to {:?}", posting.to).into()),
    };
    [
        ("amount", posting.amount.into()),
        ("kind", debug(posting.kind)),
        ("unit", posting.unit.as_str().into()),
        ("bucket", bucket),
    ]
}

pub(super) fn credit_fields(
    purchase_id: &str,
    amount_minor: i64,
    unit: &str,
) -> Vec<(&'static str, Value)> {
    vec![
        ("purchase", purchase_id.into()),
        ("amount", amount_minor.into()),
        ("kind", "PurchaseCredit".into()),
        ("unit", unit.into()),
        ("bucket", "Available".into()),
    ]
}

/// The fields of a step by which a credit is deducted, given back or moved.
pub(super) fn credit_step_fields(purchase_id: &str, posting: [(&'static str, Value); 4]) -> Fields {
    let mut fields = vec![("purchase", purchase_id.into())];
    fields.extend(posting);
    fields
}

pub(super) fn adjusted_fields(
    adjustment_id: &str,
    reason_code: &str,
    amount_minor: i64,
    unit: &str,
) -> Vec<(&'static str, Value)> {
    vec![
        ("adjustment", adjustment_id.into()),
        ("reason", reason_code.into()),
        ("amount", amount_minor.into()),
        ("kind", "Adjustment".into()),
        ("unit", unit.into()),
        ("bucket", "Available".into()),
    ]
}

pub(super) fn spending_fields(
    redemption_id: &str,
    item_id: &str,
    item_count: u32,
    amount_minor: i64,
    unit: &str,
) -> Vec<(&'static str, Value)> {
    vec![
        ("redemption", redemption_id.into()),
        ("item", item_id.into()),
        ("pieces", item_count.into()),
        ("amount", amount_minor.into()),
        ("kind", "Redemption".into()),
        ("unit", unit.into()),
        ("bucket", "Available".into()),
    ]
}

pub(super) fn payout_fields(
    payout_id: &str,
    amount_minor: i64,
    kind: &str,
    unit: &str,
    bucket: &str,
) -> Fields {
    vec![
        ("payout", payout_id.into()),
        ("amount", amount_minor.into()),
        ("kind", kind.into()),
        ("unit", unit.into()),
        ("bucket", bucket.into()),
    ]
}

/// The fields of what a payout has moved.
fn payout_step_fields(payout_id: &PayoutId, posting: &Posting) -> Fields {
    let mut fields = vec![("payout", payout_id.as_str().into())];
    fields.extend(posting_fields(posting));
    fields
}

pub(super) fn forfeit_fields(
    bucket: Bucket,
    amount_minor: i64,
    unit: Option<&str>,
) -> Vec<(&'static str, Value)> {
    vec![
        ("amount", (-amount_minor).into()),
        ("kind", "Expiry".into()),
        ("unit", unit.into()),
        ("bucket", debug(bucket)),
    ]
}

fn granted_fields(granted: &RewardGranted) -> Vec<(&'static str, Value)> {
    let posting = &granted.posting;
    let [_, kind, unit, bucket] = posting_fields(posting);
    vec![
        ("level", granted.level.into()),
        ("program_version", granted.program_version.into()),
        ("rule", granted.rule.as_str().into()),
        ("amount", posting.amount.into()),
        ("computed", granted.computed_minor().into()),
        ("left under the cap", granted.cap_remaining_minor.into()),
        ("basis", granted.basis_minor.into()),
        ("rate_bps", granted.rate_bps.into()),
        ("level_total", granted.level_total_minor().into()),
        ("level_count", granted.level_count.into()),
        ("referrals of the tier", granted.tier_referrals.into()),
        ("source", granted.source_user_id.as_str().into()),
        ("purchase", purchase(granted.purchase_id.as_ref())),
        kind,
        unit,
        bucket,
    ]
}

fn purchase(purchase_id: Option<&PurchaseId>) -> Value {
    purchase_id.map(PurchaseId::as_str).into()
}

/// The fields of a reward that is withheld.
pub(super) fn withheld_fields(
    withheld: &RewardWithheld,
    stream: &StreamKey,
) -> Vec<(&'static str, Value)> {
    let owner = stream.kind.user_of(&stream.id);
    vec![
        ("level", withheld.level.into()),
        ("program_version", withheld.program_version.into()),
        ("rule", withheld.rule.as_deref().into()),
        ("earner", withheld.earner_user_id.as_ref().map(UserId::as_str).or(owner).into()),
        ("reason", debug(withheld.reason)),
        ("qualified", withheld.qualified.into()),
        ("limit", withheld.limit_minor.into()),
        ("source", withheld.source_user_id.as_ref().map(UserId::as_str).into()),
        ("purchase", purchase(withheld.purchase_id.as_ref())),
        ("computed", withheld.computed_minor.into()),
        ("unit", withheld.unit.as_deref().into()),
    ]
}

fn pot_fields(pot: Option<TierPot>) -> [(&'static str, Value); 2] {
    [
        ("disputed referrals", pot.map(|pot| pot.disputed).into()),
        ("points held", pot.map(|pot| pot.held_minor).into()),
    ]
}

/// The fields of a reward that is taken back or given back, or of a part that is moved.
pub(super) struct SettledFields<'a> {
    pub(super) level: u32,
    pub(super) version: u32,
    pub(super) rule: &'a str,
    pub(super) source: &'a str,
    pub(super) purchase_id: Option<&'a str>,
    pub(super) sequence: Option<i64>,
    /// After a reward was taken back or given back.
    pub(super) level_total_minor: Option<i128>,
    pub(super) pot: Option<TierPot>,
}

impl SettledFields<'_> {
    pub(super) fn with(self, posting: [(&'static str, Value); 4]) -> Fields {
        let mut fields = vec![
            ("level", self.level.into()),
            ("program_version", self.version.into()),
            ("rule", self.rule.into()),
            ("source", self.source.into()),
            ("purchase", self.purchase_id.into()),
            ("reward", self.sequence.into()),
            ("level_total", self.level_total_minor.into()),
        ];
        fields.extend(pot_fields(self.pot));
        fields.extend(posting);
        fields
    }
}

fn reversed_fields(reversed: &RewardReversed) -> Fields {
    let fields = SettledFields {
        level: reversed.level,
        version: reversed.program_version,
        rule: &reversed.rule,
        source: reversed.source_user_id.as_str(),
        purchase_id: reversed.purchase_id.as_ref().map(PurchaseId::as_str),
        sequence: Some(reversed.reward_sequence),
        level_total_minor: Some(reversed.level_total_minor().into()),
        pot: reversed.tier_pot,
    };
    fields.with(posting_fields(&reversed.posting))
}

fn moved_fields(moved: &RewardMoved) -> Fields {
    let fields = SettledFields {
        level: moved.level,
        version: moved.program_version,
        rule: &moved.rule,
        source: moved.source_user_id.as_str(),
        purchase_id: moved.purchase_id.as_ref().map(PurchaseId::as_str),
        sequence: moved.reward_sequence,
        level_total_minor: None,
        pot: moved.tier_pot,
    };
    fields.with(posting_fields(&moved.posting))
}

/// What a referral itself earned, in words that can be compared.
pub(super) fn own_fields<'a>(rewards: impl Iterator<Item = OwnReward<'a>>) -> Fields {
    let rewards: Vec<_> = rewards.map(|reward| reward.to_string()).collect();
    vec![("rewards", rewards.join("; ").as_str().into())]
}

/// A reward that a referral itself earned.
pub(super) struct OwnReward<'a> {
    pub(super) earner: &'a str,
    pub(super) level: u32,
    pub(super) sequence: i64,
    pub(super) granted_minor: i64,
    pub(super) reversed_minor: i64,
    pub(super) pending_minor: i64,
    pub(super) release: Option<i64>,
    pub(super) is_held: bool,
    /// The lot to which it was last added.
    pub(super) lot: Option<i64>,
}

impl<'a> OwnReward<'a> {
    pub(super) fn of(reward: &'a ReferralReward) -> Self {
        Self {
            earner: reward.earner_user_id.as_str(),
            level: reward.level,
            sequence: reward.reward_sequence,
            granted_minor: reward.amount_minor,
            reversed_minor: reward.reversed_minor,
            pending_minor: reward.pending_minor,
            release: reward.release_time_us.map(|time| time.0),
            is_held: reward.is_held,
            lot: reward.expire_time_us.map(|time| time.0),
        }
    }
}

impl fmt::Display for OwnReward<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { earner, level, sequence, granted_minor, reversed_minor, pending_minor, .. } =
            self;
        write!(
            formatter,
            "{granted_minor} to {earner} on level {level} by event {sequence}, {reversed_minor} reversed, \
             {pending_minor} pending",
        )?;
        if let Some(release) = self.release {
            write!(formatter, ", until {release}")?;
        }
        if let Some(lot) = self.lot {
            write!(formatter, ", in the lot of {lot}")?;
        }
        if self.is_held { formatter.write_str(", held") } else { Ok(()) }
    }
}

fn made_fields(made: &ReferralMade) -> Fields {
    vec![
        ("referee", made.referee_user_id.as_str().into()),
        ("status", debug(made.status)),
        ("made while inactive", made.made_while_inactive.into()),
    ]
}

fn updated_fields(updated: &ReferralUpdated) -> Fields {
    vec![
        ("referee", updated.referee_user_id.as_str().into()),
        ("previous status", debug(updated.previous_status)),
        ("status", debug(updated.status)),
        ("made while inactive", updated.made_while_inactive.into()),
        ("converted while inactive", updated.converted_while_inactive.into()),
    ]
}

/// The name and the fields of what the log has on a participant's stream; `None` for an input.
pub(super) fn of_participant(
    event: &ParticipantEvent,
    stream: &StreamKey,
) -> Option<(&'static str, Vec<(&'static str, Value)>)> {
    Some(match event {
        ParticipantEvent::ParticipantEnrolled(_) => ("ParticipantEnrolled", Vec::new()),
        ParticipantEvent::ReferralMade(made) => ("ReferralMade", made_fields(made)),
        ParticipantEvent::ReferralUpdated(updated) => ("ReferralUpdated", updated_fields(updated)),
        ParticipantEvent::ReferralConverted(converted) => {
            let fields = vec![
                ("purchase", purchase(converted.purchase_id.as_ref())),
                ("converted while inactive", converted.converted_while_inactive.into()),
            ];
            ("ReferralConverted", fields)
        }
        ParticipantEvent::PurchaseCredited(credited) => {
            let mut fields = vec![("purchase", credited.purchase_id.as_str().into())];
            fields.extend(posting_fields(&credited.posting));
            ("PurchaseCredited", fields)
        }
        ParticipantEvent::RewardGranted(granted) => ("RewardGranted", granted_fields(granted)),
        ParticipantEvent::RewardWithheld(withheld) => {
            ("RewardWithheld", withheld_fields(withheld, stream))
        }
        ParticipantEvent::TierChanged(change) => (
            "TierChanged",
            vec![
                ("from tier", change.from_tier.as_str().into()),
                ("to tier", change.to_tier.as_str().into()),
            ],
        ),
        ParticipantEvent::RefereeAddressChanged(changed) => {
            ("RefereeAddressChanged", vec![("referee", changed.referee_user_id.as_str().into())])
        }
        ParticipantEvent::ParticipantDeactivated(_) => ("ParticipantDeactivated", Vec::new()),
        ParticipantEvent::ParticipantReactivated(_) => ("ParticipantReactivated", Vec::new()),
        ParticipantEvent::BalanceAdjusted(adjusted) => {
            let mut fields = vec![
                ("adjustment", adjusted.adjustment_id.as_str().into()),
                ("reason", adjusted.reason_code.as_str().into()),
            ];
            fields.extend(posting_fields(&adjusted.posting));
            ("BalanceAdjusted", fields)
        }
        ParticipantEvent::BalanceForfeited(forfeited) => {
            ("BalanceForfeited", posting_fields(&forfeited.posting).into())
        }
        ParticipantEvent::BalanceSpent(spent) => {
            let mut fields = vec![
                ("redemption", spent.redemption_id.as_str().into()),
                ("item", spent.item_id.as_str().into()),
                ("pieces", spent.item_count.into()),
            ];
            fields.extend(posting_fields(&spent.posting));
            ("BalanceSpent", fields)
        }
        ParticipantEvent::SpendingReturned(returned) => {
            let mut fields = vec![
                ("redemption", returned.redemption_id.as_str().into()),
                ("item", returned.item_id.as_str().into()),
                ("pieces", returned.item_count.into()),
            ];
            fields.extend(posting_fields(&returned.posting));
            ("SpendingReturned", fields)
        }
        ParticipantEvent::PayoutReserved(of) => {
            ("PayoutReserved", payout_step_fields(&of.payout_id, &of.posting))
        }
        ParticipantEvent::PayoutPaid(of) => {
            ("PayoutPaid", payout_step_fields(&of.payout_id, &of.posting))
        }
        ParticipantEvent::PayoutReleased(of) => {
            ("PayoutReleased", payout_step_fields(&of.payout_id, &of.posting))
        }
        ParticipantEvent::PayoutReturned(of) => {
            ("PayoutReturned", payout_step_fields(&of.payout_id, &of.posting))
        }
        ParticipantEvent::ParticipantErased(_) => ("ParticipantErased", Vec::new()),
        ParticipantEvent::FirstPurchaseUsed(used) => (
            "FirstPurchaseUsed",
            vec![
                ("purchase", used.purchase_id.as_str().into()),
                ("insufficient", used.is_insufficient.into()),
            ],
        ),
        ParticipantEvent::FirstPurchaseFreed(freed) => {
            ("FirstPurchaseFreed", vec![("purchase", freed.purchase_id.as_str().into())])
        }
        ParticipantEvent::PurchaseReinstated(of) => {
            ("PurchaseReinstated", vec![("purchase", of.purchase_id.as_str().into())])
        }
        ParticipantEvent::ReferralUnconverted(of) => {
            ("ReferralUnconverted", vec![("purchase", purchase(of.purchase_id.as_ref()))])
        }
        ParticipantEvent::RewardReversed(reversed) => ("RewardReversed", reversed_fields(reversed)),
        ParticipantEvent::RewardMoved(moved) => ("RewardMoved", moved_fields(moved)),
        ParticipantEvent::ReferralRewardsChanged(changed) => {
            ("ReferralRewardsChanged", own_fields(changed.rewards.iter().map(OwnReward::of)))
        }
        // Inputs, and what follows from the passing of time.
        ParticipantEvent::ReferralApplied(_)
        | ParticipantEvent::ReferralStandingChanged(_)
        | ParticipantEvent::BalanceExpired(_) => return None,
    })
}
