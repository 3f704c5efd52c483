//! A purchase.

use super::{NOW, given};
use crate::reward::WithheldReason;
use crate::tests::scene::{program, user};
use crate::{Purchase, PurchaseCommand, PurchaseId, PurchaseRecorded, Refusal, RewardWithheld};

fn recorded() -> PurchaseRecorded {
    PurchaseRecorded {
        buyer_user_id: user("cem"),
        amount_minor: 100_130,
        currency_code: "INR".into(),
        purchase_time_us: NOW,
        program_ids: None,
    }
}

fn order() -> PurchaseId {
    PurchaseId::parse("order-1").unwrap()
}

fn record() -> PurchaseCommand {
    PurchaseCommand::Record { purchase_id: order(), recorded: recorded() }
}

#[test]
fn is_recorded_once() {
    given::<Purchase>([]).when(record()).then_expect_events(vec![recorded().into()]);
    given::<Purchase>([recorded().into()])
        .when(record())
        .then_expect_error(Refusal::PurchaseIdReused(order()));
}

#[test]
fn keeps_every_reason_for_which_it_earned_nothing() {
    let withheld = |level| RewardWithheld {
        program_id: Some(program("spring")),
        program_version: 1,
        earner_user_id: Some(user("ana")),
        level,
        rule: Some("direct-commission".into()),
        reason: WithheldReason::BelowMinimum,
        qualified: false,
        source_user_id: None,
        purchase_id: None,
        computed_minor: None,
        unit: None,
        limit_minor: Some(100_000),
    };
    given::<Purchase>([recorded().into(), withheld(1).into()])
        .when(PurchaseCommand::Withhold(withheld(2)))
        .then_expect_events(vec![withheld(2).into()]);
}
