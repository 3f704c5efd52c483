//! The purchases that this server has recorded last, by buyer: look-ups need not search the end of the log for them.

use std::collections::{HashMap, VecDeque};

use super::unit::{FinishedStreams, Found, begun, earns_again};
use crate::store::Appended;
use crate::store::purchases::Span;
use domain::{PurchaseId, PurchaseSearch, UserId};

/// More than are recorded before the read model has them.
const MOST_REMEMBERED: usize = 10_000;

/// A purchase in a part of the log.
#[derive(Debug, PartialEq)]
struct RecentPurchase {
    purchase_id: PurchaseId,
    /// Whether it was recorded there; else it is one that may earn again since.
    is_new: bool,
    may_earn: bool,
}

/// The purchases in one part of the log, to which only this server has appended.
#[derive(Default)]
pub(super) struct RecentPurchases {
    by_buyer: HashMap<UserId, VecDeque<RecentPurchase>>,
    /// The buyers in the order of their purchases, each with the position to which its batch has brought the log.
    order: VecDeque<(i64, UserId)>,
    part: Option<Span>,
}

impl RecentPurchases {
    /// The part of the log whose purchases are known here.
    pub(super) fn part(&self) -> Option<Span> {
        self.part
    }

    /// The purchases in that part that a search is for, the newest first.
    pub(super) fn find(&self, search: &PurchaseSearch) -> impl Iterator<Item = &PurchaseId> {
        let own = self.by_buyer.get(&search.buyer).into_iter().flatten().rev();
        let may_earn = search.may_earn;
        own.filter(move |of| if may_earn { of.may_earn } else { of.is_new })
            .map(|of| &of.purchase_id)
    }

    /// Takes in what a batch has brought the log to, up to the position `end`.
    pub(super) fn landed(&mut self, streams: &FinishedStreams, appended: &Appended, end: i64) {
        if !appended.is_whole() {
            // Which of its commands have recorded a purchase is not looked into.
            *self = Self { part: Some(Span { after: end, through: end }), ..Self::default() };
            return;
        }
        let continued = self.part.filter(|part| part.through == appended.head);
        if continued.is_none() {
            *self = Self::default();
        }
        let after = continued.map_or(appended.head, |part| part.after);
        self.part = Some(Span { after, through: end });
        for (key, stream) in streams {
            let new = begun(key, stream).map(|found| (found, true));
            let again = || earns_again(key, stream).map(|found| (found, false));
            if let Some((Found { buyer, purchase_id, may_earn }, is_new)) = new.or_else(again) {
                let own = self.by_buyer.entry(buyer.clone()).or_default();
                let purchase = RecentPurchase { purchase_id, is_new, may_earn };
                // A batch that was decided ahead has what the one before it has begun.
                if !own.contains(&purchase) {
                    own.push_back(purchase);
                    self.order.push_back((end, buyer));
                }
            }
        }
        while self.order.len() > MOST_REMEMBERED {
            self.forget_oldest();
        }
    }

    fn forget_oldest(&mut self) {
        let (Some((position, buyer)), Some(part)) = (self.order.pop_front(), &mut self.part) else {
            return;
        };
        part.after = part.after.max(position);
        if let Some(purchases) = self.by_buyer.get_mut(&buyer) {
            purchases.pop_front();
            if purchases.is_empty() {
                self.by_buyer.remove(&buyer);
            }
        }
    }
}
