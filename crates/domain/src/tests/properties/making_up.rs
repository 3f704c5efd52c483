//! What is made up for is what would have been granted.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::history::{Action, History, any_actions, any_rules};
use crate::rules::{EarnOn, Pay, ProgramRules};
use crate::tests::scene::user;
use crate::{ParticipantEvent, PurchaseId, ReferralStatus, User};

/// Rules whose rewards do not depend on the order in which they are granted.
fn any_rules_without_order() -> impl Strategy<Value = ProgramRules> {
    any_rules().prop_filter("purchases earn", |rules| rules.earn_on != EarnOn::Referral).prop_map(
        |mut rules| {
            for rule in &mut rules.rewards {
                rule.cap_minor = None;
                match &mut rule.pay {
                    // Rounded shares of at most half of a purchase never exceed it together.
                    Pay::RateBps(rate) => *rate = (*rate / 2).max(1),
                    Pay::Tiers(_) => rule.pay = Pay::Count,
                    Pay::FlatMinor(_) | Pay::Count => {}
                }
            }
            rules
        },
    )
}

/// What people do who are neither deactivated nor erased, and whom nobody reviews.
fn is_of_buyers(action: &Action) -> bool {
    matches!(
        action,
        Action::SignUp(_)
            | Action::SignUpElsewhere
            | Action::Enroll(..)
            | Action::Attach { .. }
            | Action::Buy { .. }
    )
}

/// What each purchase granted to whom on which level.
fn granted(history: &History) -> BTreeMap<(String, PurchaseId, u32), i64> {
    let mut granted = BTreeMap::new();
    for (earner, event) in history.memory().participant_events_since(0) {
        let ParticipantEvent::RewardGranted(of) = event else { continue };
        let Some(purchase_id) = of.purchase_id.clone() else { continue };
        let key = (earner.id.to_string(), purchase_id, of.level);
        assert_eq!(granted.insert(key, of.posting.amount), None, "{of:?} came twice");
    }
    granted
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn what_is_made_up_for_is_what_would_have_been_granted(
        rules in any_rules_without_order(),
        actions in any_actions(200),
    ) {
        let actions: Vec<_> = actions.into_iter().filter(is_of_buyers).collect();
        let of = |require_confirmed_email| {
            let rules = ProgramRules {
                require_confirmed_email,
                make_up_held_purchases: true,
                ..rules.clone()
            };
            History::of([rules.clone(), rules], &actions)
        };
        let never_held = of(false);
        let mut history = of(true);
        for name in history.people.clone() {
            if !history.memory().state::<User>(&user(&name)).profile().is_email_confirmed() {
                history.scene.confirm(&name).unwrap();
            }
        }
        for number in 1..=history.purchases() {
            let id = format!("order-{number}");
            let purchase_id = PurchaseId::parse(&id).unwrap();
            if history.memory().state::<crate::Purchase>(&purchase_id).recorded().is_some() {
                history.scene.make_up(&id);
                let again = history.scene.make_up(&id);
                prop_assert_eq!(again.granted(), []);
            }
        }
        prop_assert_eq!(granted(&history), granted(&never_held));
        for name in &history.people {
            let (status, counts) =
                (history.scene.status(name), history.scene.participant(name).referrals());
            prop_assert_eq!(status, never_held.scene.status(name));
            prop_assert_eq!(counts, never_held.scene.participant(name).referrals());
            prop_assert_ne!(status, Some(ReferralStatus::Held));
        }
    }
}
