//! The look-up of a buyer's purchases: those in the tables, and those that commands are recording.
//!
//! What was looked up may be outdated. A purchase that a decision has found is checked by its stream. That there is no
//! further one is certain only in a batch that holds the log's lock, and such a batch has looked everything up under
//! the lock.

use std::collections::HashMap;

use super::{FinishedStreams, UnitOfWork};
use domain::{
    AnyAggregate, Halt, Kind, Lag, Purchase, PurchaseCursor, PurchaseId, PurchasePage, Stream,
    StreamKey, UserId,
};

type ByBuyer = HashMap<UserId, Vec<PurchaseId>>;

/// What is known of buyers' purchases.
#[derive(Default)]
pub(super) struct Purchases {
    known: HashMap<(UserId, Option<PurchaseCursor>), Result<PurchasePage, Lag>>,
    /// Those that commands of the batch have recorded.
    added: ByBuyer,
    /// Those that the batch which is being appended records; `None` if nobody has asked yet.
    added_before: Option<ByBuyer>,
}

/// The buyer and the purchase, if a stream is that of one that has been recorded.
fn recorded(key: &StreamKey, state: &AnyAggregate) -> Option<(UserId, PurchaseId)> {
    let purchase = Purchase::from_any(state.clone())?;
    let buyer = purchase.recorded()?.buyer_user_id.clone();
    Some((buyer, PurchaseId::parse(&key.id).ok()?))
}

fn enter(purchases: &mut ByBuyer, key: &StreamKey, state: &AnyAggregate) {
    if let Some((buyer, purchase_id)) = recorded(key, state) {
        purchases.entry(buyer).or_default().push(purchase_id);
    }
}

fn in_batch(before: &FinishedStreams) -> ByBuyer {
    let mut purchases = ByBuyer::new();
    for (key, stream) in before {
        if key.kind == Kind::Purchase && stream.known_version == 0 {
            enter(&mut purchases, key, &stream.loaded.state);
        }
    }
    purchases
}

impl Purchases {
    /// Notes that a command of the batch has begun a stream.
    pub(super) fn begun(&mut self, key: &StreamKey, state: &AnyAggregate) {
        if key.kind == Kind::Purchase {
            enter(&mut self.added, key, state);
        }
    }

    /// How many pages have been looked up.
    pub(super) fn learnt(&self) -> usize {
        self.known.len()
    }
}

impl UnitOfWork<'_> {
    pub(super) fn find_purchases(
        &mut self,
        buyer: &UserId,
        before: Option<PurchaseCursor>,
    ) -> Result<PurchasePage, Halt> {
        let asked = (buyer.clone(), before);
        let Some(known) = self.purchases.known.get(&asked) else {
            self.missing.purchases.insert(asked);
            return Err(Halt::Missing);
        };
        let known = known.as_ref().map_err(|lag| Halt::Behind(*lag))?;
        if before.is_some() {
            return Ok(known.clone());
        }
        let batch_before = self.before;
        let added_before =
            self.purchases.added_before.get_or_insert_with(|| in_batch(batch_before));
        let added = [&self.purchases.added, added_before];
        let added =
            added.into_iter().filter_map(|added| added.get(buyer)).flat_map(|of| of.iter().rev());
        let mut purchases: Vec<PurchaseId> = added.cloned().collect();
        // The batch that was being appended may be in the tables by now.
        let earlier = known.purchases.iter().filter(|id| !purchases.contains(id)).cloned();
        let earlier: Vec<_> = earlier.collect();
        purchases.extend(earlier);
        Ok(PurchasePage { purchases, next: known.next })
    }

    /// Lets decisions rest on what they do not find, because nobody else can append before the batch.
    pub(in crate::engine) fn under_lock(self) -> Self {
        Self { holds_lock: true, ..self }
    }

    /// The table in which purchases are looked up.
    pub(in crate::engine) fn purchases_table(&self) -> Option<&'static str> {
        self.environment.purchases_table
    }

    pub(in crate::engine) fn learn_purchases(
        &mut self,
        asked: (UserId, Option<PurchaseCursor>),
        found: Result<PurchasePage, Lag>,
    ) {
        self.purchases.known.insert(asked, found);
    }
}
