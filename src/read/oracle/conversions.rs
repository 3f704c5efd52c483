//! What both sides of a referral must say of its status.

use std::sync::Arc;

use domain::ReferralStatus;

use super::effect::{Effect, debug};
use super::world::{PersonIndex, World};

/// The conversion of a pending referral, on both streams.
pub(super) fn conversion(
    world: &World,
    referee: PersonIndex,
    purchase_id: Option<Arc<str>>,
    is_barred: bool,
) -> Vec<Effect> {
    let fields =
        vec![("purchase", purchase_id.into()), ("converted while inactive", is_barred.into())];
    let mut effects = vec![world.expect(referee, "ReferralConverted", fields)];
    effects.extend(updated(world, referee, ReferralStatus::Converted, is_barred));
    effects
}

/// The referrer's side of a new status of a referral.
pub(super) fn updated(
    world: &World,
    referee: PersonIndex,
    status: ReferralStatus,
    converted_while_inactive: bool,
) -> Option<Effect> {
    let tie = world.person(referee).referral?;
    let fields = vec![
        ("referee", world.user_id(referee).clone().into()),
        ("previous status", debug(tie.status)),
        ("status", debug(status)),
        ("made while inactive", (!tie.made_while_active).into()),
        ("converted while inactive", converted_while_inactive.into()),
    ];
    Some(world.expect(tie.referrer, "ReferralUpdated", fields))
}
