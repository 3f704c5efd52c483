//! The audit of the stores of programs: never more pieces of an item are taken than there are, what is put back was
//! taken, and nobody pays more than is available to them.

use std::collections::HashMap;
use std::sync::Arc;

use super::audit::Audit;
use crate::store::RecordedEvent;
use domain::{BalanceSpent, ItemTerms, StoreItemEvent};

/// An item, as the audit counts it.
#[derive(Debug, Default)]
struct Item {
    version: u32,
    terms: Option<ItemTerms>,
    taken: u32,
}

/// The items, by stream.
#[derive(Debug, Default)]
pub(super) struct Items(HashMap<Arc<str>, Item>);

impl Audit {
    pub(super) fn enter_item(&mut self, event: &RecordedEvent, fact: &StoreItemEvent) {
        let item = self.items.0.entry(event.stream.id.clone()).or_default();
        let was_taken = item.taken;
        match fact {
            StoreItemEvent::ItemPublished(published) => {
                item.version += 1;
                item.terms = Some(published.terms.clone());
            }
            StoreItemEvent::ItemTaken(_) => item.taken += 1,
            StoreItemEvent::ItemPutBack(_) => item.taken = item.taken.saturating_sub(1),
        }
        let (taken, version) = (item.taken, item.version);
        let (is_known, is_available) = match &item.terms {
            Some(terms) => (true, terms.is_available),
            None => (false, false),
        };
        let stock = item.terms.as_ref().and_then(|terms| terms.stock);
        self.unless(is_known, event, || "an item that was never published".into());
        self.unless(stock.is_none_or(|stock| taken <= stock), event, || {
            format!("{taken} pieces are taken, of {}", stock.unwrap_or_default())
        });
        match fact {
            StoreItemEvent::ItemPublished(published) => {
                self.unless(published.version == version, event, || {
                    format!("version {} is the {version}th", published.version)
                });
            }
            StoreItemEvent::ItemTaken(_) => {
                self.unless(is_available, event, || "it is taken, but not available".into());
            }
            StoreItemEvent::ItemPutBack(_) => {
                self.unless(was_taken > 0, event, || "a piece is put back that nobody has".into());
            }
        }
    }

    pub(super) fn enter_spending(&mut self, event: &RecordedEvent, spent: &BalanceSpent) {
        let left = spent.posting.after.available;
        self.unless(left >= 0, event, || format!("{left} are left after a redemption"));
    }
}
