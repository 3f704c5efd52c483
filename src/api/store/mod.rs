//! `StoreService`: the rewards store of a program.

mod items;
mod redemptions;

use crate::api::Context;
use crate::api::permissions::{Callers, Rule, Subject, row};

/// Who may call what of the service, and whose data it is: one row per RPC.
pub(super) const RULES: &[Rule] = {
    use Callers::{BackEnds, Operators, SignedIn};
    use Subject::{None, User, UserOrEverybody};
    &[
        row("StoreService", "PublishItem", Operators, None),
        row("StoreService", "ListItems", SignedIn, None),
        row("StoreService", "Redeem", SignedIn, User("user_id")),
        row("StoreService", "FulfilRedemption", BackEnds, None),
        row("StoreService", "CancelRedemption", BackEnds, None),
        row("StoreService", "ListRedemptions", SignedIn, UserOrEverybody("user_id", BackEnds)),
    ]
};

pub(super) struct Handlers(pub(super) Context);
