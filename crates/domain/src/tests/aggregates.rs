//! Given events, when an aggregate handles a command, then these events follow.

mod a_fraud_flag;
mod a_participant;
mod a_program;
mod a_purchase;
mod a_redemption;
mod a_sign_up_origin;
mod a_store_item;
mod a_user;
mod an_approval;
mod an_erased_participant;
mod an_event_in_the_log;

use cqrs_es::Aggregate;
use cqrs_es::test::{AggregateTestExecutor, TestFramework};

use crate::Timestamp;

const NOW: Timestamp = Timestamp(1_700_000_000_000_000);

fn given<A: Aggregate<Services = ()>>(
    events: impl IntoIterator<Item = A::Event>,
) -> AggregateTestExecutor<A> {
    TestFramework::with(()).given(events.into_iter().collect())
}
