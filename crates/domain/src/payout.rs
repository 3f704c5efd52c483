//! A payout: one run that pays what participants of a program have available.
//!
//! The payout itself only knows how far it is. What each participant gets is a [`PayoutLine`](crate::PayoutLine) with a
//! stream of its own, so that the state stays small for a million lines. The stream is also the receipt of the command
//! that creates it, because whoever creates it may choose the id.

use std::fmt;

use cqrs_es::Aggregate;
use cqrs_es::event_sink::EventSink;
use serde::{Deserialize, Serialize};

use super::events::events;
use super::ids::{LONG, SHORT, identifier};
use super::ledger::Posting;
use super::registry::{Posts, State};
use super::{ProgramId, Refusal};

identifier!(
    /// A payout, as whoever creates it names it. Unique in the program.
    PayoutId, SHORT
);
identifier!(
    /// The name that a provider of payments gives a transfer, as `po_1MtHbELkdIwHu7ixl4OzzPMv`. It says nothing about a
    /// person and has the form of an id, so that it can be in events.
    ProviderReference, LONG
);

/// A payout of a program. Written `program/payout`; neither id has a `/`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PayoutKey {
    /// The program.
    pub program_id: ProgramId,
    /// The payout.
    pub payout_id: PayoutId,
}

impl PayoutKey {
    /// Reads `program/payout`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (program_id, payout_id) = text.split_once('/')?;
        Some(Self {
            program_id: ProgramId::parse(program_id).ok()?,
            payout_id: PayoutId::parse(payout_id).ok()?,
        })
    }
}

impl fmt::Display for PayoutKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.program_id, self.payout_id)
    }
}

/// A payout was created. It collects what was available at this event.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct PayoutCreated {
    /// The smallest amount that is paid out to somebody, at least 1, in minor units.
    pub minimum_minor: i64,
    /// The program's unit.
    pub unit: String,
}

/// Everybody is collected: there are no further lines.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct PayoutCollected {
    /// How many participants get something.
    pub line_count: u64,
    /// What they get, in minor units.
    pub total_minor: i64,
    /// How many were skipped.
    pub skipped_count: u64,
}

/// The payout is confirmed as a whole: a job does so line by line.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct PayoutConfirmationStarted {
    /// What the provider calls the transfer.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub provider_reference: Option<ProviderReference>,
}

/// The payout has failed as a whole: a job notes so line by line.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct PayoutFailureStarted {
    /// Why.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub reason_code: Option<String>,
    /// What the provider calls the transfer that has failed.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub provider_reference: Option<ProviderReference>,
}

/// A line was confirmed that nobody else had to approve. What was confirmed so counts towards the limit, together.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct PayoutApprovalWaived {
    /// The amount of the line, in minor units.
    pub amount_minor: i64,
}

/// No line is reserved any more.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct PayoutCompleted {}

events! {
    /// What can happen to a payout.
    PayoutEvent {
        PayoutCreated = "1.0.0",
        PayoutCollected = "1.0.0",
        PayoutConfirmationStarted = "1.0.0",
        PayoutFailureStarted = "1.0.0",
        PayoutApprovalWaived = "1.0.0",
        PayoutCompleted = "1.0.0",
    }
}

/// How far a payout is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum PayoutState {
    /// Lines are being made.
    #[default]
    Collecting,
    /// All lines are made, and wait for what the provider says.
    Open,
    /// The lines are being confirmed.
    Confirming,
    /// The lines are being failed.
    Failing,
    /// All lines were confirmed that had not been decided one by one.
    Confirmed,
    /// All lines have failed that had not been decided one by one.
    Failed,
}

impl PayoutState {
    /// All there are.
    pub const ALL: [Self; 6] = [
        Self::Collecting,
        Self::Open,
        Self::Confirming,
        Self::Failing,
        Self::Confirmed,
        Self::Failed,
    ];

    /// The name used in lists.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Collecting => "collecting",
            Self::Open => "open",
            Self::Confirming => "confirming",
            Self::Failing => "failing",
            Self::Confirmed => "confirmed",
            Self::Failed => "failed",
        }
    }

    /// The state with that name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == name)
    }
}

/// The commands of a payout. Decisions have checked that they fit its state.
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "the names are those of the events")]
pub enum PayoutCommand {
    Create(PayoutCreated),
    Collected(PayoutCollected),
    Confirm(PayoutConfirmationStarted),
    Fail(PayoutFailureStarted),
    Waive(PayoutApprovalWaived),
    Complete,
}

/// A payout.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Payout {
    created: Option<PayoutCreated>,
    state: PayoutState,
    total_minor: i64,
    // What was confirmed line by line without an approval.
    waived_minor: i64,
    provider_reference: Option<ProviderReference>,
    reason_code: Option<String>,
}

impl Payout {
    /// How it was created; `None` if it was not.
    #[must_use]
    pub fn created(&self) -> Option<&PayoutCreated> {
        self.created.as_ref()
    }

    /// How far it is.
    #[must_use]
    pub fn state(&self) -> PayoutState {
        self.state
    }

    /// What was collected, in minor units; 0 while it collects.
    #[must_use]
    pub fn total_minor(&self) -> i64 {
        self.total_minor
    }

    /// Whether everybody is collected and nobody gets anything: each line has an amount.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.state != PayoutState::Collecting && self.total_minor == 0
    }

    /// What was confirmed line by line that nobody else had to approve, in minor units, also if it came back later.
    #[must_use]
    pub fn waived_minor(&self) -> i64 {
        self.waived_minor
    }

    /// What the provider calls the transfer, if the payout was confirmed or has failed as a whole.
    #[must_use]
    pub fn provider_reference(&self) -> Option<&ProviderReference> {
        self.provider_reference.as_ref()
    }

    /// Why it has failed as a whole.
    #[must_use]
    pub fn reason_code(&self) -> Option<&str> {
        self.reason_code.as_deref()
    }
}

impl Aggregate for Payout {
    const TYPE: &'static str = "Payout";
    type Command = PayoutCommand;
    type Event = PayoutEvent;
    type Error = Refusal;
    type Services = ();

    async fn handle(
        &mut self,
        command: PayoutCommand,
        (): &(),
        sink: &EventSink<Self>,
    ) -> Result<(), Refusal> {
        let event: PayoutEvent = match (command, self.state) {
            (PayoutCommand::Create(created), _) if self.created.is_none() => created.into(),
            (PayoutCommand::Collected(collected), PayoutState::Collecting) => collected.into(),
            (PayoutCommand::Confirm(confirm), PayoutState::Open) => confirm.into(),
            (PayoutCommand::Fail(fail), PayoutState::Open) => fail.into(),
            (PayoutCommand::Waive(waived), _) => waived.into(),
            (PayoutCommand::Complete, PayoutState::Confirming | PayoutState::Failing) => {
                PayoutCompleted {}.into()
            }
            (PayoutCommand::Complete, PayoutState::Open) if self.is_empty() => {
                PayoutCompleted {}.into()
            }
            // Done before, by another worker at the same job.
            (
                PayoutCommand::Create(_)
                | PayoutCommand::Collected(_)
                | PayoutCommand::Confirm(_)
                | PayoutCommand::Fail(_)
                | PayoutCommand::Complete,
                _,
            ) => return Ok(()),
        };
        sink.write(event, self).await;
        Ok(())
    }

    fn apply(&mut self, event: PayoutEvent) {
        match event {
            PayoutEvent::PayoutCreated(created) => self.created = Some(created),
            PayoutEvent::PayoutCollected(collected) => {
                self.total_minor = collected.total_minor;
                self.state = PayoutState::Open;
            }
            PayoutEvent::PayoutConfirmationStarted(started) => {
                self.provider_reference = started.provider_reference;
                self.state = PayoutState::Confirming;
            }
            PayoutEvent::PayoutFailureStarted(started) => {
                self.reason_code = started.reason_code;
                self.provider_reference = started.provider_reference;
                self.state = PayoutState::Failing;
            }
            PayoutEvent::PayoutApprovalWaived(waived) => {
                self.waived_minor = self.waived_minor.saturating_add(waived.amount_minor);
            }
            PayoutEvent::PayoutCompleted(_) => {
                self.state = match self.state {
                    PayoutState::Failing | PayoutState::Failed => PayoutState::Failed,
                    PayoutState::Collecting
                    | PayoutState::Open
                    | PayoutState::Confirming
                    | PayoutState::Confirmed => PayoutState::Confirmed,
                }
            }
        }
    }
}

impl Posts for PayoutEvent {
    /// Money moves on the streams of participants.
    fn posting(&self) -> Option<&Posting> {
        match self {
            Self::PayoutCreated(_)
            | Self::PayoutCollected(_)
            | Self::PayoutConfirmationStarted(_)
            | Self::PayoutFailureStarted(_)
            | Self::PayoutApprovalWaived(_)
            | Self::PayoutCompleted(_) => None,
        }
    }
}

impl State for Payout {
    fn user_of(_: &str) -> Option<&str> {
        None
    }
}
