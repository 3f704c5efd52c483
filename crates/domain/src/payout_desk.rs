//! Which payout of a program collects. Its id is that of the program; a stream of its own, so that two payouts that are
//! created at once on two servers are in conflict with each other and with nothing else.

use cqrs_es::Aggregate;
use cqrs_es::event_sink::EventSink;
use serde::{Deserialize, Serialize};

use super::events::events;
use super::ledger::Posting;
use super::registry::{Posts, State};
use super::{PayoutId, PayoutKey, ProgramId, Refusal};

/// A payout has begun to collect.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct PayoutCollectionBegun {
    /// The payout.
    pub payout_id: PayoutId,
}

/// The payout does not collect any more, so that another one can.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct PayoutCollectionEnded {
    /// The payout.
    pub payout_id: PayoutId,
}

events! {
    /// What can happen where a program's payouts take turns.
    PayoutDeskEvent {
        PayoutCollectionBegun = "1.0.0",
        PayoutCollectionEnded = "1.0.0",
    }
}

/// The commands of a program's payout desk.
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "the names are self-explanatory")]
pub enum PayoutDeskCommand {
    Begin { program_id: ProgramId, payout_id: PayoutId },
    End { payout_id: PayoutId },
}

/// Where a program's payouts take turns.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct PayoutDesk {
    collecting: Option<PayoutId>,
}

impl Aggregate for PayoutDesk {
    const TYPE: &'static str = "PayoutDesk";
    type Command = PayoutDeskCommand;
    type Event = PayoutDeskEvent;
    type Error = Refusal;
    type Services = ();

    async fn handle(
        &mut self,
        command: PayoutDeskCommand,
        (): &(),
        sink: &EventSink<Self>,
    ) -> Result<(), Refusal> {
        let event: PayoutDeskEvent = match command {
            PayoutDeskCommand::Begin { program_id, payout_id } => {
                if let Some(payout_id) = self.collecting.clone() {
                    return Err(Refusal::PayoutCollecting(PayoutKey { program_id, payout_id }));
                }
                PayoutCollectionBegun { payout_id }.into()
            }
            PayoutDeskCommand::End { payout_id } => {
                if self.collecting.as_ref() != Some(&payout_id) {
                    return Ok(());
                }
                PayoutCollectionEnded { payout_id }.into()
            }
        };
        sink.write(event, self).await;
        Ok(())
    }

    fn apply(&mut self, event: PayoutDeskEvent) {
        match event {
            PayoutDeskEvent::PayoutCollectionBegun(begun) => {
                self.collecting = Some(begun.payout_id);
            }
            PayoutDeskEvent::PayoutCollectionEnded(_) => self.collecting = None,
        }
    }
}

impl Posts for PayoutDeskEvent {
    fn posting(&self) -> Option<&Posting> {
        match self {
            Self::PayoutCollectionBegun(_) | Self::PayoutCollectionEnded(_) => None,
        }
    }
}

impl State for PayoutDesk {
    fn user_of(_: &str) -> Option<&str> {
        None
    }
}
