//! A redemption: somebody takes an item of the store and pays with what is available to them.
//!
//! Whoever redeems chooses the id. The stream is therefore also the receipt of the command that redeems.

use std::fmt;

use cqrs_es::Aggregate;
use cqrs_es::event_sink::EventSink;
use serde::{Deserialize, Serialize};

use super::events::events;
use super::ids::{LONG, identifier};
use super::ledger::Posting;
use super::registry::{AnyEvent, Posts, State, Stream, StreamKey};
use super::{
    ItemId, LotPart, Participant, ParticipantEvent, ParticipantId, ProgramId, Refusal, UserId,
};

identifier!(
    /// A redemption, as whoever redeems names it. Unique in the program, so that a repeated call has one effect.
    RedemptionId, LONG
);

/// A redemption in a program. Written `program/redemption`. The first `/` ends the program, whose id has none.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct ProgramRedemptionId {
    /// The program.
    pub program_id: ProgramId,
    /// The redemption.
    pub redemption_id: RedemptionId,
}

impl ProgramRedemptionId {
    /// Reads `program/redemption`, which is split at its first `/`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (program_id, redemption_id) = text.split_once('/')?;
        let program_id = ProgramId::parse(program_id).ok()?;
        Some(Self { program_id, redemption_id: RedemptionId::parse(redemption_id).ok()? })
    }
}

impl fmt::Display for ProgramRedemptionId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.program_id, self.redemption_id)
    }
}

/// Somebody redeemed an item. What they paid, and that the item was taken, is in the other events of the command.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct RedemptionMade {
    /// Who.
    pub user_id: UserId,
    /// What.
    pub item_id: ItemId,
    /// The version of the item.
    pub item_version: u32,
    /// What it cost, in minor units of `unit`.
    pub cost_minor: i64,
    /// The program's unit.
    pub unit: String,
}

/// The participant has got the item.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct RedemptionFulfilled {}

/// The participant does not get the item. What they paid is given back by the other events of the command.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct RedemptionCancelled {}

events! {
    /// What can happen to a redemption.
    RedemptionEvent {
        RedemptionMade = "1.0.0",
        RedemptionFulfilled = "1.0.0",
        RedemptionCancelled = "1.0.0",
    }
}

/// The commands of a redemption.
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "the names are self-explanatory")]
pub enum RedemptionCommand {
    Make { id: ProgramRedemptionId, made: RedemptionMade },
    Fulfil { id: ProgramRedemptionId },
    Cancel { id: ProgramRedemptionId },
}

/// How a redemption stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum RedemptionState {
    /// Paid; the participant has not got the item yet.
    #[default]
    Made,
    /// The participant has got the item.
    Fulfilled,
    /// Given back.
    Cancelled,
}

impl RedemptionState {
    /// All there are.
    pub const ALL: [Self; 3] = [Self::Made, Self::Fulfilled, Self::Cancelled];

    /// The name used in lists.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Made => "made",
            Self::Fulfilled => "fulfilled",
            Self::Cancelled => "cancelled",
        }
    }
}

/// A redemption.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Redemption {
    made: Option<RedemptionMade>,
    state: RedemptionState,
    parts: Vec<LotPart>,
}

impl Redemption {
    /// Who redeemed what; `None` if nobody did.
    #[must_use]
    pub fn made(&self) -> Option<&RedemptionMade> {
        self.made.as_ref()
    }

    /// How it stands.
    #[must_use]
    pub fn state(&self) -> RedemptionState {
        self.state
    }

    /// What was paid, in the order in which it was taken: a part for each posting.
    #[must_use]
    pub fn parts(&self) -> &[LotPart] {
        &self.parts
    }

    /// Checks that nobody has fulfilled or cancelled it.
    fn check_open(&self, id: ProgramRedemptionId) -> Result<(), Refusal> {
        match (&self.made, self.state) {
            (None, _) => Err(Refusal::RedemptionNotFound(id)),
            (Some(_), RedemptionState::Made) => Ok(()),
            (Some(_), RedemptionState::Fulfilled) => Err(Refusal::RedemptionIsFulfilled(id)),
            (Some(_), RedemptionState::Cancelled) => Err(Refusal::RedemptionIsCancelled(id)),
        }
    }
}

impl Aggregate for Redemption {
    const TYPE: &'static str = "Redemption";
    type Command = RedemptionCommand;
    type Event = RedemptionEvent;
    type Error = Refusal;
    type Services = ();

    async fn handle(
        &mut self,
        command: RedemptionCommand,
        (): &(),
        sink: &EventSink<Self>,
    ) -> Result<(), Refusal> {
        let event: RedemptionEvent = match command {
            RedemptionCommand::Make { id, .. } if self.made.is_some() => {
                return Err(Refusal::RedemptionIdReused(id));
            }
            RedemptionCommand::Make { made, .. } => made.into(),
            RedemptionCommand::Fulfil { id } => {
                self.check_open(id)?;
                RedemptionFulfilled {}.into()
            }
            RedemptionCommand::Cancel { id } => {
                self.check_open(id)?;
                RedemptionCancelled {}.into()
            }
        };
        sink.write(event, self).await;
        Ok(())
    }

    fn apply(&mut self, event: RedemptionEvent) {
        match event {
            RedemptionEvent::RedemptionMade(made) => self.made = Some(made),
            RedemptionEvent::RedemptionFulfilled(_) => self.state = RedemptionState::Fulfilled,
            RedemptionEvent::RedemptionCancelled(_) => self.state = RedemptionState::Cancelled,
        }
    }
}

impl Posts for RedemptionEvent {
    /// What is paid is on the stream of the participant.
    fn posting(&self) -> Option<&Posting> {
        match self {
            Self::RedemptionMade(_)
            | Self::RedemptionFulfilled(_)
            | Self::RedemptionCancelled(_) => None,
        }
    }
}

impl State for Redemption {
    /// Who redeemed is named in the event, not in the id.
    fn user_of(_: &str) -> Option<&str> {
        None
    }

    /// What was paid is on the stream of the participant.
    fn remember(&mut self, own_id: &str, other: &StreamKey, _: i64, event: &AnyEvent) {
        let Some(ParticipantEvent::BalanceSpent(spent)) = Participant::event_ref(event) else {
            return;
        };
        let (Some(own), Some(participant)) =
            (ProgramRedemptionId::parse(own_id), ParticipantId::parse(&other.id))
        else {
            return;
        };
        if own.redemption_id == spent.redemption_id && own.program_id == participant.program_id {
            let amount_minor = spent.posting.amount.saturating_neg();
            let expire_time = spent.posting.expire_time_us;
            self.parts.push(LotPart { amount_minor, expire_time });
        }
    }
}
