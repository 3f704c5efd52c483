//! The purchases that this server has recorded last, by buyer: look-ups need not search the end of the log for them.

use std::collections::{HashMap, VecDeque};

use super::unit::{FinishedStreams, begun};
use crate::store::Appended;
use crate::store::purchases::Span;
use domain::{PurchaseId, UserId};

/// More than are recorded before the read model has them.
const MOST_REMEMBERED: usize = 10_000;

/// The purchases in one part of the log, to which only this server has appended.
#[derive(Default)]
pub(super) struct RecentPurchases {
    by_buyer: HashMap<UserId, VecDeque<PurchaseId>>,
    /// The buyers in the order of their purchases, each with the position to which its batch has brought the log.
    order: VecDeque<(i64, UserId)>,
    part: Option<Span>,
}

impl RecentPurchases {
    /// The part of the log whose purchases are known here.
    pub(super) fn part(&self) -> Option<Span> {
        self.part
    }

    /// The purchases of a buyer in that part, the newest first.
    pub(super) fn of(&self, buyer: &UserId) -> impl Iterator<Item = &PurchaseId> {
        self.by_buyer.get(buyer).into_iter().flat_map(|purchases| purchases.iter().rev())
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
            if let Some((buyer, purchase_id)) = begun(key, stream) {
                let own = self.by_buyer.entry(buyer.clone()).or_default();
                // A batch that was decided ahead has what the one before it has begun.
                if !own.contains(&purchase_id) {
                    own.push_back(purchase_id);
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
