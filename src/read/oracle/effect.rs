//! A consequence, as the rules demand it or as the log has it, and the comparison of the two.

use std::fmt;
use std::sync::Arc;

use domain::ledger::{Bucket, Posting};
use domain::{
    Kind, ParticipantEvent, PayoutId, PurchaseId, RewardGranted, RewardWithheld, StreamKey, UserId,
};

use super::super::audit::Finding;
use super::world::ProgramIndex;

/// The value of a field; `Absent` if an event leaves the field out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Value {
    Absent,
    Number(i128),
    Text(Arc<str>),
}

impl fmt::Display for Value {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Absent => formatter.write_str("nothing"),
            Self::Number(number) => number.fmt(formatter),
            Self::Text(text) => write!(formatter, "'{text}'"),
        }
    }
}

impl From<i64> for Value {
    fn from(number: i64) -> Self {
        Self::Number(number.into())
    }
}

impl From<i128> for Value {
    fn from(number: i128) -> Self {
        Self::Number(number)
    }
}

impl From<u32> for Value {
    fn from(number: u32) -> Self {
        Self::Number(number.into())
    }
}

impl From<bool> for Value {
    fn from(holds: bool) -> Self {
        Self::Text(if holds { "yes" } else { "no" }.into())
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.into())
    }
}

impl From<Arc<str>> for Value {
    fn from(text: Arc<str>) -> Self {
        Self::Text(text)
    }
}

impl<T: Into<Value>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Absent, Into::into)
    }
}

/// A consequence of a command.
#[derive(Clone, Debug)]
pub(super) struct Effect {
    pub(super) program: ProgramIndex,
    pub(super) stream: StreamKey,
    /// The type of the event.
    pub(super) name: &'static str,
    pub(super) fields: Vec<(&'static str, Value)>,
    /// Where the log has it; 0 for one that is expected.
    pub(super) position: i64,
}

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

fn debug(value: impl fmt::Debug) -> Value {
    Value::Text(format!("{value:?}").into())
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

pub(super) fn payout_fields(
    payout_id: &str,
    amount_minor: i64,
    kind: &str,
    unit: &str,
    bucket: &str,
) -> Vec<(&'static str, Value)> {
    vec![
        ("payout", payout_id.into()),
        ("amount", amount_minor.into()),
        ("kind", kind.into()),
        ("unit", unit.into()),
        ("bucket", bucket.into()),
    ]
}

/// The fields of what a payout has moved.
fn moved_fields(payout_id: &PayoutId, posting: &Posting) -> Vec<(&'static str, Value)> {
    let mut fields = vec![("payout", payout_id.as_str().into())];
    fields.extend(posting_fields(posting));
    fields
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

/// The name and the fields of what the log has on a participant's stream; `None` for an input.
pub(super) fn of_participant(
    event: &ParticipantEvent,
    stream: &StreamKey,
) -> Option<(&'static str, Vec<(&'static str, Value)>)> {
    Some(match event {
        ParticipantEvent::ParticipantEnrolled(_) => ("ParticipantEnrolled", Vec::new()),
        ParticipantEvent::ReferralMade(made) => (
            "ReferralMade",
            vec![
                ("referee", made.referee_user_id.as_str().into()),
                ("status", debug(made.status)),
                ("made while inactive", made.made_while_inactive.into()),
            ],
        ),
        ParticipantEvent::ReferralUpdated(updated) => (
            "ReferralUpdated",
            vec![
                ("referee", updated.referee_user_id.as_str().into()),
                ("previous status", debug(updated.previous_status)),
                ("status", debug(updated.status)),
                ("made while inactive", updated.made_while_inactive.into()),
                ("converted while inactive", updated.converted_while_inactive.into()),
            ],
        ),
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
        ParticipantEvent::ParticipantErased(_) => ("ParticipantErased", Vec::new()),
        ParticipantEvent::PayoutReserved(of) => {
            ("PayoutReserved", moved_fields(&of.payout_id, &of.posting))
        }
        ParticipantEvent::PayoutPaid(of) => {
            ("PayoutPaid", moved_fields(&of.payout_id, &of.posting))
        }
        ParticipantEvent::PayoutReleased(of) => {
            ("PayoutReleased", moved_fields(&of.payout_id, &of.posting))
        }
        ParticipantEvent::PayoutReturned(of) => {
            ("PayoutReturned", moved_fields(&of.payout_id, &of.posting))
        }
        ParticipantEvent::FirstPurchaseUsed(used) => (
            "FirstPurchaseUsed",
            vec![
                ("purchase", used.purchase_id.as_str().into()),
                ("insufficient", used.is_insufficient.into()),
            ],
        ),
        // Inputs, and what follows from inputs that came after the reward.
        ParticipantEvent::ReferralApplied(_)
        | ParticipantEvent::ReferralStandingChanged(_)
        | ParticipantEvent::RewardReversed(_)
        | ParticipantEvent::RewardMoved(_)
        | ParticipantEvent::ReferralUnconverted(_)
        | ParticipantEvent::ReferralRewardsChanged(_)
        | ParticipantEvent::FirstPurchaseFreed(_) => return None,
    })
}

impl Effect {
    /// What is expected of a participant's stream.
    pub(super) fn on_participant(
        program: ProgramIndex,
        stream_id: Arc<str>,
        name: &'static str,
        fields: Vec<(&'static str, Value)>,
    ) -> Self {
        let stream = StreamKey { kind: Kind::Participant, id: stream_id };
        Self { program, stream, name, fields, position: 0 }
    }

    fn equals(&self, other: &Self) -> bool {
        self.name == other.name && self.stream == other.stream && self.fields == other.fields
    }

    /// Whether two that differ are most likely meant to be the same: the same type at the same level, or on the same
    /// stream.
    fn resembles(&self, other: &Self) -> bool {
        let level = |of: &Self| of.fields.first().filter(|(name, _)| *name == "level").cloned();
        self.name == other.name
            && match level(self) {
                Some(own) => level(other) == Some(own),
                None => self.stream == other.stream,
            }
    }

    fn describe(&self) -> String {
        let fields = self.fields.iter().filter(|(_, value)| *value != Value::Absent);
        let fields: Vec<_> = fields.map(|(name, value)| format!("{name} {value}")).collect();
        format!("{} ({})", self.name, fields.join(", "))
    }

    fn difference(&self, found: &Self) -> String {
        let mut differences = Vec::new();
        if self.stream != found.stream {
            differences.push(format!("expected on {}, found on {}", self.stream, found.stream));
        }
        for (name, expected) in &self.fields {
            let value = found.fields.iter().find(|(other, _)| other == name);
            let value = value.map_or(&Value::Absent, |(_, value)| value);
            if value != expected {
                differences.push(format!("{name}: expected {expected}, found {value}"));
            }
        }
        format!("{}: {}", self.name, differences.join("; "))
    }
}

/// Removes from both what is equal.
pub(super) fn cancel(expected: &mut Vec<Effect>, found: &mut Vec<Effect>) {
    expected.retain(|effect| match found.iter().position(|other| effect.equals(other)) {
        Some(index) => {
            found.remove(index);
            false
        }
        None => true,
    });
}

/// Names what is left of both, after what is equal was removed. `position` is the end of the command, where what is
/// missing is missing.
pub(super) fn name_all(
    expected: Vec<Effect>,
    mut found: Vec<Effect>,
    position: i64,
    name: &mut dyn FnMut(Finding),
) {
    for effect in expected {
        let twin = found.iter().position(|other| effect.resembles(other));
        let (about, what, position) = if let Some(index) = twin {
            let other = found.remove(index);
            (other.stream.to_string(), effect.difference(&other), other.position)
        } else {
            let what = format!("expected {}, found nothing", effect.describe());
            (effect.stream.to_string(), what, position)
        };
        name(Finding { about, what, position });
    }
    for effect in found {
        let what = format!("expected nothing, found {}", effect.describe());
        name(Finding { about: effect.stream.to_string(), what, position: effect.position });
    }
}
