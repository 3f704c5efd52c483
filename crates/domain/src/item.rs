//! What a program's store offers: its items, and the catalog that counts them.

use std::fmt;

use cqrs_es::Aggregate;
use cqrs_es::event_sink::EventSink;
use serde::{Deserialize, Serialize};

use super::events::events;
use super::ids::{LONG, identifier};
use super::ledger::Posting;
use super::registry::{Posts, State};
use super::{ProgramId, RedemptionId, Refusal};

identifier!(
    /// An item of a program's store, as whoever publishes it names it. Unique in the program.
    ItemId, LONG
);

/// The maximum number of items in the store of one program: a participant counts what they have redeemed of each.
pub const MAX_ITEMS: u32 = 500;

/// An item in a program. Written `program/item`. The first `/` ends the program, whose id has none.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct StoreItemId {
    /// The program.
    pub program_id: ProgramId,
    /// The item.
    pub item_id: ItemId,
}

impl StoreItemId {
    /// Reads `program/item`, which is split at its first `/`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (program_id, item_id) = text.split_once('/')?;
        let program_id = ProgramId::parse(program_id).ok()?;
        Some(Self { program_id, item_id: ItemId::parse(item_id).ok()? })
    }
}

impl fmt::Display for StoreItemId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.program_id, self.item_id)
    }
}

/// What an item is, and who can redeem it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ItemTerms {
    /// What people see.
    pub name: String,
    /// More about it; absent if there is nothing to say.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub description: Option<String>,
    /// What it costs, in minor units of the program's unit.
    pub cost_minor: i64,
    /// How many there ever are, those that were redeemed included; absent if there is no limit.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub stock: Option<u32>,
    /// How many one participant can redeem; absent if there is no limit.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub per_person_limit: Option<u32>,
    /// The lowest tier of the program in which somebody can redeem it; absent if everybody can.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub from_tier: Option<String>,
    /// Whether it can be redeemed at present.
    pub is_available: bool,
}

/// An item was put into the store of a program, or changed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ItemPublished {
    /// 1, 2, 3, ...
    pub version: u32,
    /// What it is from now on.
    pub terms: ItemTerms,
}

/// A piece of the item was redeemed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ItemTaken {
    /// The redemption.
    pub redemption_id: RedemptionId,
}

/// A redemption was cancelled: its piece can be redeemed again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ItemPutBack {
    /// The redemption.
    pub redemption_id: RedemptionId,
}

events! {
    /// What can happen to an item.
    StoreItemEvent {
        ItemPublished = "1.0.0",
        ItemTaken = "1.0.0",
        ItemPutBack = "1.0.0",
    }
}

/// The commands of an item.
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "the names are self-explanatory")]
pub enum StoreItemCommand {
    /// Terms that equal those in force change nothing.
    Publish {
        id: StoreItemId,
        terms: ItemTerms,
    },
    Take {
        id: StoreItemId,
        redemption_id: RedemptionId,
    },
    PutBack {
        redemption_id: RedemptionId,
    },
}

/// An item.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct StoreItem {
    version: u32,
    terms: Option<ItemTerms>,
    /// How many pieces are redeemed and not put back.
    taken: u32,
}

impl StoreItem {
    /// What the item is; `None` if it was never published.
    #[must_use]
    pub fn terms(&self) -> Option<&ItemTerms> {
        self.terms.as_ref()
    }

    /// The version of these terms.
    #[must_use]
    pub fn version(&self) -> u32 {
        self.version
    }

    /// How many pieces are redeemed and not put back.
    #[must_use]
    pub fn taken(&self) -> u32 {
        self.taken
    }

    fn publish(&self, id: StoreItemId, terms: ItemTerms) -> Result<ItemPublished, Refusal> {
        if terms.stock.is_some_and(|stock| stock < self.taken) {
            return Err(Refusal::StockBelowTaken { id, taken: self.taken });
        }
        Ok(ItemPublished { version: self.version.saturating_add(1), terms })
    }

    fn take(&self, id: StoreItemId, redemption_id: RedemptionId) -> Result<ItemTaken, Refusal> {
        let Some(terms) = &self.terms else { return Err(Refusal::ItemNotFound(id)) };
        if !terms.is_available {
            return Err(Refusal::ItemNotAvailable(id));
        }
        // Without a limit the count ends all the same.
        if self.taken >= terms.stock.unwrap_or(u32::MAX) {
            return Err(Refusal::OutOfStock { id, stock: terms.stock.unwrap_or(u32::MAX) });
        }
        Ok(ItemTaken { redemption_id })
    }
}

impl Aggregate for StoreItem {
    const TYPE: &'static str = "StoreItem";
    type Command = StoreItemCommand;
    type Event = StoreItemEvent;
    type Error = Refusal;
    type Services = ();

    async fn handle(
        &mut self,
        command: StoreItemCommand,
        (): &(),
        sink: &EventSink<Self>,
    ) -> Result<(), Refusal> {
        let event: StoreItemEvent = match command {
            StoreItemCommand::Publish { terms, .. } if self.terms.as_ref() == Some(&terms) => {
                return Ok(());
            }
            StoreItemCommand::Publish { id, terms } => self.publish(id, terms)?.into(),
            StoreItemCommand::Take { id, redemption_id } => self.take(id, redemption_id)?.into(),
            StoreItemCommand::PutBack { redemption_id } => ItemPutBack { redemption_id }.into(),
        };
        sink.write(event, self).await;
        Ok(())
    }

    fn apply(&mut self, event: StoreItemEvent) {
        match event {
            StoreItemEvent::ItemPublished(published) => {
                self.version = published.version;
                self.terms = Some(published.terms);
            }
            StoreItemEvent::ItemTaken(_) => self.taken = self.taken.saturating_add(1),
            StoreItemEvent::ItemPutBack(_) => self.taken = self.taken.saturating_sub(1),
        }
    }
}

impl Posts for StoreItemEvent {
    /// What is paid for it is on the stream of the participant.
    fn posting(&self) -> Option<&Posting> {
        match self {
            Self::ItemPublished(_) | Self::ItemTaken(_) | Self::ItemPutBack(_) => None,
        }
    }
}

impl State for StoreItem {
    fn user_of(_: &str) -> Option<&str> {
        None
    }
}

/// An item was put into the store for the first time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ItemAdded {
    /// The item.
    pub item_id: ItemId,
}

events! {
    /// What can happen to the catalog of a program.
    CatalogEvent {
        ItemAdded = "1.0.0",
    }
}

/// The commands of a catalog.
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "the names are self-explanatory")]
pub enum CatalogCommand {
    Add { id: StoreItemId },
}

/// How many items are in the store of a program. What they are is on their own streams, so that redemptions of
/// different items have nothing to do with each other.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Catalog {
    items: u32,
}

impl Aggregate for Catalog {
    const TYPE: &'static str = "Catalog";
    type Command = CatalogCommand;
    type Event = CatalogEvent;
    type Error = Refusal;
    type Services = ();

    async fn handle(
        &mut self,
        command: CatalogCommand,
        (): &(),
        sink: &EventSink<Self>,
    ) -> Result<(), Refusal> {
        let CatalogCommand::Add { id: StoreItemId { program_id, item_id } } = command;
        if self.items >= MAX_ITEMS {
            return Err(Refusal::TooManyItems { program_id, limit: MAX_ITEMS });
        }
        sink.write(ItemAdded { item_id }.into(), self).await;
        Ok(())
    }

    fn apply(&mut self, event: CatalogEvent) {
        match event {
            CatalogEvent::ItemAdded(_) => self.items = self.items.saturating_add(1),
        }
    }
}

impl Posts for CatalogEvent {
    fn posting(&self) -> Option<&Posting> {
        match self {
            Self::ItemAdded(_) => None,
        }
    }
}

impl State for Catalog {
    fn user_of(_: &str) -> Option<&str> {
        None
    }
}
