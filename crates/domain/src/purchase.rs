//! A purchase: the raw fact, and why it brought nobody a reward where it did not.

use cqrs_es::Aggregate;
use cqrs_es::event_sink::EventSink;
use serde::{Deserialize, Serialize};

use super::aggregate::events;
use super::reward::WithheldReason;
use super::{ProgramId, PurchaseId, Refusal, Timestamp, UserId};

/// Somebody bought something. An input, apart from what came of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct PurchaseRecorded {
    /// The purchase.
    pub purchase_id: PurchaseId,
    /// Who bought.
    pub buyer_user_id: UserId,
    /// The price, in minor units of `currency_code`.
    pub amount_minor: i64,
    /// An ISO 4217 code.
    pub currency_code: String,
    /// When it happened, in microseconds since 1970.
    pub purchase_time_us: Timestamp,
}

/// A reward was not granted, and why. Stands with what would have caused it: on the purchase, or on
/// the earner where a referral itself would have earned.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct RewardWithheld {
    /// The program.
    pub program_id: ProgramId,
    /// The version of its rules that decided.
    pub program_version: u32,
    /// Who would have earned; absent if there is nobody.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub earner_user_id: Option<UserId>,
    /// How far up the line: 0 the buyer or referee, 1 the referrer, ...
    pub level: u32,
    /// The rule that would have paid; absent if the reason concerns none in particular.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub rule: Option<String>,
    /// Why nothing was granted.
    pub reason: WithheldReason,
    /// Whether the purchase or referral counts in the program, and only this earner gets nothing.
    pub qualified: bool,
    /// Whose sign-up or purchase it was.
    pub source_user_id: UserId,
    /// The minimum that was asked for, the cap that was reached, or other amount behind the reason,
    /// in minor units.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub limit_minor: Option<i64>,
}

events! {
    /// What can happen to a purchase.
    PurchaseEvent {
        PurchaseRecorded = "1.0.0",
        RewardWithheld = "1.0.0",
    }
}

/// What a purchase can be told.
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "the names say it")]
pub enum PurchaseCommand {
    Record(PurchaseRecorded),
    Withhold(RewardWithheld),
}

/// A purchase.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Purchase {
    recorded: Option<PurchaseRecorded>,
}

impl Purchase {
    /// What was recorded; `None` if the purchase does not exist.
    #[must_use]
    pub fn recorded(&self) -> Option<&PurchaseRecorded> {
        self.recorded.as_ref()
    }
}

impl Aggregate for Purchase {
    const TYPE: &'static str = "Purchase";
    type Command = PurchaseCommand;
    type Event = PurchaseEvent;
    type Error = Refusal;
    type Services = ();

    async fn handle(
        &mut self,
        command: PurchaseCommand,
        (): &(),
        sink: &EventSink<Self>,
    ) -> Result<(), Refusal> {
        let event: PurchaseEvent = match command {
            PurchaseCommand::Record(purchase) if self.recorded.is_some() => {
                return Err(Refusal::PurchaseIdReused(purchase.purchase_id));
            }
            PurchaseCommand::Record(purchase) => purchase.into(),
            PurchaseCommand::Withhold(withheld) => withheld.into(),
        };
        sink.write(event, self).await;
        Ok(())
    }

    fn apply(&mut self, event: PurchaseEvent) {
        if let PurchaseEvent::PurchaseRecorded(purchase) = event {
            self.recorded = Some(purchase);
        }
    }
}
