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
    AnyAggregate, Halt, Kind, Lag, Purchase, PurchaseId, PurchasePage, PurchaseSearch, Stream,
    StreamKey, UserId,
};

type ByBuyer = HashMap<UserId, Vec<Changed>>;

/// A purchase that a batch has recorded or changed.
struct Changed {
    purchase_id: PurchaseId,
    is_new: bool,
}

/// What is known of buyers' purchases.
#[derive(Default)]
pub(super) struct Purchases {
    known: HashMap<PurchaseSearch, Result<PurchasePage, Lag>>,
    /// How many look-ups there were.
    looked_up: usize,
    /// Those that commands of the batch have recorded or changed.
    added: ByBuyer,
    /// Those that the batch which is being appended records or changes; `None` if nobody has asked yet.
    added_before: Option<ByBuyer>,
}

/// A purchase, as it concerns look-ups.
pub(in crate::engine) struct Found {
    pub(in crate::engine) buyer: UserId,
    pub(in crate::engine) purchase_id: PurchaseId,
    pub(in crate::engine) may_earn: bool,
}

/// What a stream says, if it is that of a purchase that has been recorded.
fn recorded(key: &StreamKey, state: &AnyAggregate) -> Option<Found> {
    if key.kind != Kind::Purchase {
        return None;
    }
    let purchase = Purchase::from_any(state.clone())?;
    let buyer = purchase.recorded()?.buyer_user_id.clone();
    let purchase_id = PurchaseId::parse(&key.id).ok()?;
    Some(Found { buyer, purchase_id, may_earn: purchase.may_earn() })
}

/// What a stream of a batch says, if it is that of a purchase that is not in the tables yet.
pub(in crate::engine) fn begun(key: &StreamKey, stream: &FinishedStream) -> Option<Found> {
    if stream.known_version == 0 { recorded(key, &stream.loaded.state) } else { None }
}

/// What a stream of a batch says, if it is that of an older purchase that the batch has changed and that may earn: the
/// tables may not know yet that it does.
pub(in crate::engine) fn earns_again(key: &StreamKey, stream: &FinishedStream) -> Option<Found> {
    let is_changed = stream.last_writer.is_some() && stream.known_version > 0;
    let found = if is_changed { recorded(key, &stream.loaded.state) } else { None };
    found.filter(|found| found.may_earn)
}

fn in_batch(before: &FinishedStreams) -> ByBuyer {
    let mut purchases = ByBuyer::new();
    for (key, stream) in before {
        let again = || earns_again(key, stream).map(|found| (found, false));
        let found = begun(key, stream).map(|found| (found, true)).or_else(again);
        if let Some((Found { buyer, purchase_id, .. }, is_new)) = found {
            purchases.entry(buyer).or_default().push(Changed { purchase_id, is_new });
        }
    }
    purchases
}

impl Purchases {
    /// Notes that a command of the batch has written to a stream.
    pub(super) fn changed(&mut self, key: &StreamKey, state: &AnyAggregate, is_new: bool) {
        if let Some(Found { buyer, purchase_id, may_earn }) = recorded(key, state)
            && (is_new || may_earn)
        {
            self.added.entry(buyer).or_default().push(Changed { purchase_id, is_new });
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
    pub(super) fn find_purchases(&mut self, search: &PurchaseSearch) -> Result<PurchasePage, Halt> {
        let Some(known) = self.purchases.known.get(search) else {
            self.missing.purchases.insert(search.clone());
            return Err(Halt::Missing);
        };
        let known = known.as_ref().map_err(|lag| Halt::Behind(*lag))?;
        if search.before.is_some() {
            return Ok(known.clone());
        }
        let batch_before = self.before;
        let added_before =
            self.purchases.added_before.get_or_insert_with(|| in_batch(batch_before));
        let of_batches = [&self.purchases.added, &*added_before];
        let of_batches = of_batches.into_iter().filter_map(|added| added.get(&search.buyer));
        let of_batches = of_batches.flat_map(|of| of.iter().rev());
        let of_batches = of_batches.filter(|of| of.is_new || search.may_earn);
        let recent = self.recent.into_iter().flat_map(|recent| recent.find(search));
        let mut purchases: Vec<PurchaseId> = Vec::new();
        // The same one can be known from several places.
        for purchase_id in
            of_batches.map(|of| &of.purchase_id).chain(recent).chain(&known.purchases)
        {
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
        search: PurchaseSearch,
        found: Result<PurchasePage, Lag>,
    ) {
        self.purchases.known.insert(search, found);
        self.purchases.looked_up += 1;
    }
}
