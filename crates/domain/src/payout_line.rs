//! A line of a payout: what one participant gets by it, or why they get nothing.
//!
//! A line is made once. It is reserved, then paid or failed; a paid one can come back. Each step is on the
//! participant's stream as well, in the same append.

use std::fmt;

use cqrs_es::Aggregate;
use cqrs_es::event_sink::EventSink;
use serde::{Deserialize, Serialize};

use super::decided::DecidedAs;
use super::events::events;
use super::ledger::Posting;
use super::registry::{Posts, State};
use super::rules::ProgramRules;
use super::{LotPart, ParticipantId, PayoutKey, ProviderReference, Refusal, Timestamp, UserId};

/// A line. Written `program/payout/user`. The ids of programs and payouts have no `/`; that of the user may have some.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PayoutLineId {
    /// The payout.
    pub payout: PayoutKey,
    /// Who gets it.
    pub user_id: UserId,
}

impl PayoutLineId {
    /// Reads `program/payout/user`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (program_id, rest) = text.split_once('/')?;
        let (payout_id, user_id) = rest.split_once('/')?;
        Some(Self {
            payout: PayoutKey::parse(&format!("{program_id}/{payout_id}"))?,
            user_id: UserId::parse(user_id).ok()?,
        })
    }

    /// Whose balance it is paid from.
    #[must_use]
    pub fn participant(&self) -> ParticipantId {
        ParticipantId::new(&self.payout.program_id, &self.user_id)
    }
}

impl fmt::Display for PayoutLineId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.payout, self.user_id)
    }
}

/// A part of a line: what was taken from one lot of what is available.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct PayoutPart {
    /// The amount, in minor units.
    pub amount_minor: i64,
    /// When the lot expires; absent if what was taken does not. In microseconds since 1970.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub expire_time_us: Option<Timestamp>,
}

impl From<LotPart> for PayoutPart {
    fn from(LotPart { amount_minor, expire_time }: LotPart) -> Self {
        Self { amount_minor, expire_time_us: expire_time }
    }
}

impl From<PayoutPart> for LotPart {
    fn from(PayoutPart { amount_minor, expire_time_us }: PayoutPart) -> Self {
        Self { amount_minor, expire_time: expire_time_us }
    }
}

/// Why somebody gets nothing by a payout.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum SkipReason {
    /// They were erased.
    Erased,
    /// They are inactive.
    Inactive,
    /// A fraud flag keeps their own referral from counting.
    Flagged,
    /// What they have available is below zero.
    InDebt,
    /// They have not said how they are paid.
    NoMethod,
    /// It is less than the payout's minimum, perhaps because of what was taken back since the payout was created.
    BelowMinimum,
}

impl SkipReason {
    /// All there are.
    pub const ALL: [Self; 6] = [
        Self::Erased,
        Self::Inactive,
        Self::Flagged,
        Self::InDebt,
        Self::NoMethod,
        Self::BelowMinimum,
    ];

    /// The name used in events.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Erased => "erased",
            Self::Inactive => "inactive",
            Self::Flagged => "flagged",
            Self::InDebt => "in_debt",
            Self::NoMethod => "no_method",
            Self::BelowMinimum => "below_minimum",
        }
    }

    /// The reason with that name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.as_str() == name)
    }
}

/// An amount is set aside for the participant.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct PayoutLineReserved {
    /// The amount, in minor units: the sum of the parts.
    pub amount_minor: i64,
    /// The program's unit.
    pub unit: String,
    /// What was available when the payout was created, in minor units.
    pub available_then_minor: i64,
    /// What it consists of.
    pub parts: Vec<PayoutPart>,
}

/// The participant gets nothing by the payout.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct PayoutLineSkipped {
    /// Why.
    pub reason: SkipReason,
    /// What was available when the payout was created, in minor units.
    pub available_then_minor: i64,
}

/// The provider has paid.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct PayoutLinePaid {
    /// The amount, in minor units.
    pub amount_minor: i64,
    /// What the provider calls the transfer.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub provider_reference: Option<ProviderReference>,
}

/// The provider has not paid: the amount is available again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct PayoutLineFailed {
    /// The amount, in minor units.
    pub amount_minor: i64,
    /// Why.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub reason_code: Option<String>,
    /// What the provider calls the transfer that has failed.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub provider_reference: Option<ProviderReference>,
}

/// The provider had paid, and the transfer came back: the amount is available again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct PayoutLineReturned {
    /// The amount, in minor units.
    pub amount_minor: i64,
    /// Why.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub reason_code: Option<String>,
    /// What the provider calls what came back.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub provider_reference: Option<ProviderReference>,
}

events! {
    /// What can happen to a line of a payout.
    PayoutLineEvent {
        PayoutLineReserved = "1.0.0",
        PayoutLineSkipped = "1.0.0",
        PayoutLinePaid = "1.0.0",
        PayoutLineFailed = "1.0.0",
        PayoutLineReturned = "1.0.0",
    }
}

/// How a line stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum PayoutLineState {
    /// There is no such line.
    #[default]
    None,
    /// The participant gets nothing.
    Skipped,
    /// The amount is set aside.
    Reserved,
    /// The amount was paid.
    Paid,
    /// The amount was not paid.
    Failed,
    /// The amount was paid, and came back.
    Returned,
}

impl PayoutLineState {
    /// Those that a line can be in.
    pub const ALL: [Self; 5] =
        [Self::Skipped, Self::Reserved, Self::Paid, Self::Failed, Self::Returned];

    /// The name used in lists.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Skipped => "skipped",
            Self::Reserved => "reserved",
            Self::Paid => "paid",
            Self::Failed => "failed",
            Self::Returned => "returned",
        }
    }

    /// The state with that name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == name)
    }
}

/// The commands of a line. Decisions have checked that they fit its state.
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "the names are those of the events")]
pub enum PayoutLineCommand {
    Reserve(PayoutLineReserved),
    Skip(PayoutLineSkipped),
    Pay {
        line_id: PayoutLineId,
        provider_reference: Option<ProviderReference>,
    },
    Fail {
        line_id: PayoutLineId,
        reason_code: Option<String>,
        provider_reference: Option<ProviderReference>,
    },
    Return {
        line_id: PayoutLineId,
        reason_code: Option<String>,
        provider_reference: Option<ProviderReference>,
    },
}

/// A line of a payout.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct PayoutLine {
    state: PayoutLineState,
    unit: String,
    parts: Vec<PayoutPart>,
    // Of the transfer by which it was paid, or that has failed.
    provider_reference: Option<ProviderReference>,
    fail_reason_code: Option<String>,
    return_reason_code: Option<String>,
    return_reference: Option<ProviderReference>,
}

impl PayoutLine {
    /// How it stands.
    #[must_use]
    pub fn state(&self) -> PayoutLineState {
        self.state
    }

    /// The amount, in minor units; 0 if the participant gets nothing.
    #[must_use]
    pub fn amount_minor(&self) -> i64 {
        self.parts.iter().map(|part| part.amount_minor).fold(0, i64::saturating_add)
    }

    /// What it consists of.
    #[must_use]
    pub fn parts(&self) -> &[PayoutPart] {
        &self.parts
    }

    /// In what parts it comes back now, by the rules of the program.
    pub(crate) fn parts_back(&self, rules: &ProgramRules, now: Timestamp) -> Vec<LotPart> {
        let parts: Vec<_> = self.parts.iter().cloned().map(LotPart::from).collect();
        LotPart::back(&parts, now, rules.expire_time(now))
    }

    /// The program's unit.
    #[must_use]
    pub fn unit(&self) -> &str {
        &self.unit
    }

    /// Whether it was paid with this reference, even if the transfer came back later.
    #[must_use]
    pub fn was_paid_as(&self, provider_reference: Option<&ProviderReference>) -> bool {
        matches!(self.state, PayoutLineState::Paid | PayoutLineState::Returned)
            && self.provider_reference.as_ref() == provider_reference
    }

    /// Whether it failed so.
    #[must_use]
    pub fn has_failed_for(
        &self,
        reason_code: Option<&str>,
        provider_reference: Option<&ProviderReference>,
    ) -> bool {
        self.state == PayoutLineState::Failed
            && self.fail_reason_code.as_deref() == reason_code
            && self.provider_reference.as_ref() == provider_reference
    }

    /// Whether it came back so.
    #[must_use]
    pub fn was_returned_as(
        &self,
        reason_code: Option<&str>,
        provider_reference: Option<&ProviderReference>,
    ) -> bool {
        self.state == PayoutLineState::Returned
            && self.return_reason_code.as_deref() == reason_code
            && self.return_reference.as_ref() == provider_reference
    }

    /// What was said when it got into its state.
    #[must_use]
    pub fn said(&self) -> DecidedAs {
        let (reason_code, provider_reference) = match self.state {
            PayoutLineState::Returned => (&self.return_reason_code, &self.return_reference),
            PayoutLineState::None
            | PayoutLineState::Skipped
            | PayoutLineState::Reserved
            | PayoutLineState::Paid
            | PayoutLineState::Failed => (&self.fail_reason_code, &self.provider_reference),
        };
        let (reason_code, provider_reference) = (reason_code.clone(), provider_reference.clone());
        let paid_reference = self.provider_reference.clone();
        let paid_reference = paid_reference.filter(|_| self.state == PayoutLineState::Returned);
        DecidedAs { reason_code, provider_reference, paid_reference }
    }

    /// Why nothing else can be said about it.
    pub(crate) fn decided(&self, line_id: PayoutLineId) -> Refusal {
        Refusal::PayoutLineDecided { line_id, state: self.state, said: Box::new(self.said()) }
    }

    fn check(&self, line_id: PayoutLineId, expected: PayoutLineState) -> Result<(), Refusal> {
        match self.state {
            PayoutLineState::None => Err(Refusal::PayoutLineNotFound(line_id)),
            state if state == expected => Ok(()),
            PayoutLineState::Skipped
            | PayoutLineState::Reserved
            | PayoutLineState::Paid
            | PayoutLineState::Failed
            | PayoutLineState::Returned => Err(self.decided(line_id)),
        }
    }
}

impl Aggregate for PayoutLine {
    const TYPE: &'static str = "PayoutLine";
    type Command = PayoutLineCommand;
    type Event = PayoutLineEvent;
    type Error = Refusal;
    type Services = ();

    async fn handle(
        &mut self,
        command: PayoutLineCommand,
        (): &(),
        sink: &EventSink<Self>,
    ) -> Result<(), Refusal> {
        let amount_minor = self.amount_minor();
        let event: PayoutLineEvent = match command {
            // A line is made once.
            PayoutLineCommand::Reserve(_) | PayoutLineCommand::Skip(_)
                if self.state != PayoutLineState::None =>
            {
                return Ok(());
            }
            PayoutLineCommand::Reserve(reserved) => reserved.into(),
            PayoutLineCommand::Skip(skipped) => skipped.into(),
            PayoutLineCommand::Pay { line_id, provider_reference } => {
                self.check(line_id, PayoutLineState::Reserved)?;
                PayoutLinePaid { amount_minor, provider_reference }.into()
            }
            PayoutLineCommand::Fail { line_id, reason_code, provider_reference } => {
                self.check(line_id, PayoutLineState::Reserved)?;
                PayoutLineFailed { amount_minor, reason_code, provider_reference }.into()
            }
            PayoutLineCommand::Return { line_id, reason_code, provider_reference } => {
                self.check(line_id, PayoutLineState::Paid)?;
                PayoutLineReturned { amount_minor, reason_code, provider_reference }.into()
            }
        };
        sink.write(event, self).await;
        Ok(())
    }

    fn apply(&mut self, event: PayoutLineEvent) {
        match event {
            PayoutLineEvent::PayoutLineReserved(reserved) => {
                self.state = PayoutLineState::Reserved;
                self.unit = reserved.unit;
                self.parts = reserved.parts;
            }
            PayoutLineEvent::PayoutLineSkipped(_) => self.state = PayoutLineState::Skipped,
            PayoutLineEvent::PayoutLinePaid(paid) => {
                self.state = PayoutLineState::Paid;
                self.provider_reference = paid.provider_reference;
            }
            PayoutLineEvent::PayoutLineFailed(failed) => {
                self.state = PayoutLineState::Failed;
                self.fail_reason_code = failed.reason_code;
                self.provider_reference = failed.provider_reference;
            }
            PayoutLineEvent::PayoutLineReturned(returned) => {
                self.state = PayoutLineState::Returned;
                self.return_reason_code = returned.reason_code;
                self.return_reference = returned.provider_reference;
            }
        }
    }
}

impl Posts for PayoutLineEvent {
    /// Money moves on the stream of the participant.
    fn posting(&self) -> Option<&Posting> {
        match self {
            Self::PayoutLineReserved(_)
            | Self::PayoutLineSkipped(_)
            | Self::PayoutLinePaid(_)
            | Self::PayoutLineFailed(_)
            | Self::PayoutLineReturned(_) => None,
        }
    }
}

impl State for PayoutLine {
    fn user_of(id: &str) -> Option<&str> {
        id.splitn(3, '/').nth(2)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

    use super::*;

    #[test]
    fn an_id_names_the_payout_and_the_user() {
        let text = "spring/may/gid://shop/Customer/7";
        let id = PayoutLineId::parse(text).unwrap();
        assert_eq!(id.payout.to_string(), "spring/may");
        assert_eq!(id.user_id.as_str(), "gid://shop/Customer/7");
        assert_eq!(id.to_string(), text);
        assert_eq!(PayoutLine::user_of(text), Some("gid://shop/Customer/7"));
        for text in ["", "spring/ada", "spring//ada", "/may/ada", "spring/may/"] {
            assert_eq!(PayoutLineId::parse(text), None, "{text}");
        }
    }
}
