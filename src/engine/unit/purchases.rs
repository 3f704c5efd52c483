//! The look-up of a buyer's purchases: those in the tables, those that this server has recorded of late, and those that
//! commands are recording.
//!
//! What was looked up may be outdated. A purchase that a decision has found is checked by its stream. A decision that
//! rests on there being no further one has read streams to which that one would write.

use std::collections::HashMap;

use super::{FinishedStream, FinishedStreams, UnitOfWork};
use crate::engine::recent::RecentPurchases;
use crate::store::purchases::Span;
use domain::{
    AnyAggregate, Halt, Kind, Lag, Purchase, PurchaseCursor, PurchaseId, PurchasePage, Stream,
    StreamKey, UserId,
};

type ByBuyer = HashMap<UserId, Vec<PurchaseId>>;

/// What is known of buyers' purchases.
#[derive(Default)]
pub(super) struct Purchases {
    known: HashMap<(UserId, Option<PurchaseCursor>), Result<PurchasePage, Lag>>,
    /// How many look-ups there were.
    looked_up: usize,
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

/// The buyer and the purchase, if a stream of a batch is that of one that is not in the tables yet.
pub(in crate::engine) fn begun(
    key: &StreamKey,
    stream: &FinishedStream,
) -> Option<(UserId, PurchaseId)> {
    let is_new = key.kind == Kind::Purchase && stream.known_version == 0;
    if is_new { recorded(key, &stream.loaded.state) } else { None }
}

fn in_batch(before: &FinishedStreams) -> ByBuyer {
    let mut purchases = ByBuyer::new();
    for (buyer, purchase_id) in before.iter().filter_map(|(key, stream)| begun(key, stream)) {
        purchases.entry(buyer).or_default().push(purchase_id);
    }
    purchases
}

impl Purchases {
    /// Notes that a command of the batch has begun a stream.
    pub(super) fn begun(&mut self, key: &StreamKey, state: &AnyAggregate) {
        if key.kind == Kind::Purchase
            && let Some((buyer, purchase_id)) = recorded(key, state)
        {
            self.added.entry(buyer).or_default().push(purchase_id);
        }
    }

    /// How many pages have been looked up.
    pub(super) fn looked_up(&self) -> usize {
        self.looked_up
    }

    /// Forgets what was looked up: a stream that is read later can have in it what the look-up did not see.
    pub(super) fn look_anew(&mut self) {
        self.known.clear();
    }
}

impl<'a> UnitOfWork<'a> {
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
        let of_batches = [&self.purchases.added, &*added_before];
        let of_batches = of_batches.into_iter().filter_map(|added| added.get(buyer));
        let of_batches = of_batches.flat_map(|of| of.iter().rev());
        let recent = self.recent.into_iter().flat_map(|recent| recent.of(buyer));
        let mut purchases: Vec<PurchaseId> = Vec::new();
        // The same one can be known from several places.
        for purchase_id in of_batches.chain(recent).chain(&known.purchases) {
            if !purchases.contains(purchase_id) {
                purchases.push(purchase_id.clone());
            }
        }
        Ok(PurchasePage { purchases, next: known.next })
    }

    /// Lets look-ups rest on what is remembered of purchases.
    pub(in crate::engine) fn remembering(self, recent: &'a RecentPurchases) -> Self {
        Self { recent: Some(recent), ..self }
    }

    /// The part of the log that need not be searched for purchases.
    pub(in crate::engine) fn remembered_part(&self) -> Option<Span> {
        self.recent.and_then(RecentPurchases::part)
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
        self.purchases.looked_up += 1;
    }
}
