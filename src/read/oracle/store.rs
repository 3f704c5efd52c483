//! The stores of programs. From a redemption it follows that the participant pays what the item costs, and from a
//! cancellation that they get it back, once.

use std::collections::HashMap;
use std::sync::Arc;

use domain::{
    ItemTerms, ProgramRedemptionId, RedemptionEvent, RedemptionMade, StoreItemEvent, StoreItemId,
};

use super::effect::Effect;
use super::fields::spending_fields;
use super::world::PersonIndex;
use super::{Judgement, Oracle, RecordedEvent, payouts};

/// What the oracle knows of stores.
#[derive(Default)]
pub(super) struct Stores {
    /// The last version of each item, by its stream.
    items: HashMap<Arc<str>, (u32, ItemTerms)>,
    /// The redemptions that are neither fulfilled nor cancelled, by their stream.
    open: HashMap<Arc<str>, Open>,
    /// How many pieces of an item, named by its stream, somebody has redeemed and not given back.
    redeemed: HashMap<(PersonIndex, Arc<str>), u32>,
}

struct Open {
    person: PersonIndex,
    item: Arc<str>,
    made: RedemptionMade,
}

/// Takes in what an item is from now on. That a piece is taken follows from a redemption; the audit counts them.
pub(super) fn sort_item(oracle: &mut Oracle, event: &RecordedEvent, fact: &StoreItemEvent) {
    match fact {
        StoreItemEvent::ItemPublished(published) => {
            let item = (published.version, published.terms.clone());
            oracle.stores.items.insert(event.stream.id.clone(), item);
        }
        StoreItemEvent::ItemTaken(_) | StoreItemEvent::ItemPutBack(_) => {}
    }
}

/// Takes in what happens to a redemption, with what must follow.
pub(super) fn sort(
    oracle: &mut Oracle,
    event: &RecordedEvent,
    fact: &RedemptionEvent,
    judgement: &mut Judgement,
) {
    let Some(id) = ProgramRedemptionId::parse(&event.stream.id) else {
        oracle.unless(false, event, || "expected the id of a redemption, found another".into());
        return;
    };
    match fact {
        RedemptionEvent::RedemptionMade(made) => {
            oracle.unless(event.sequence == 1, event, || {
                "expected a redemption as the first event of its stream, found another".into()
            });
            make(oracle, event, &id, made, judgement);
        }
        RedemptionEvent::RedemptionFulfilled(_) => drop(end(oracle, event)),
        RedemptionEvent::RedemptionCancelled(_) => {
            let Some(Open { person, item, made }) = end(oracle, event) else { return };
            let count = oracle.stores.redeemed.entry((person, item)).or_default();
            *count = count.saturating_sub(1);
            let count = *count;
            expect(
                oracle,
                person,
                "SpendingReturned",
                &id,
                &made,
                made.cost_minor,
                count,
                judgement,
            );
            payouts::expect_forfeit(oracle, person, made.cost_minor, &made.unit, judgement);
        }
    }
}

fn make(
    oracle: &mut Oracle,
    event: &RecordedEvent,
    id: &ProgramRedemptionId,
    made: &RedemptionMade,
    judgement: &mut Judgement,
) {
    let person = oracle.world.person_index(id.program_id.as_str(), made.user_id.as_str());
    let (program, user) = (oracle.world.person(person).program, oracle.world.person(person).user);
    let is_able = !oracle.world.person(person).is_inactive && !oracle.world.user(user).is_erased;
    oracle.unless(is_able, event, || {
        "expected no redemption by somebody who is inactive or erased, found one".into()
    });
    let version = oracle.world.current_version(program);
    let unit = version.map(|version| version.rules.unit.clone());
    oracle.unless(unit.as_deref() == Some(made.unit.as_str()), event, || {
        format!("expected the unit {unit:?}, found {}", made.unit)
    });
    let item = StoreItemId { program_id: id.program_id.clone(), item_id: made.item_id.clone() };
    let item: Arc<str> = item.to_string().into();
    let count = oracle.stores.redeemed.entry((person, item.clone())).or_default();
    *count += 1;
    let count = *count;
    let known = oracle.stores.items.get(&item).map(|(version, terms)| {
        (*version, terms.cost_minor, terms.is_available, terms.per_person_limit)
    });
    let is_as_offered = known.is_some_and(|(version, cost_minor, is_available, limit)| {
        version == made.item_version
            && cost_minor == made.cost_minor
            && is_available
            && limit.is_none_or(|limit| count <= limit)
    });
    oracle.unless(is_as_offered, event, || {
        format!(
            "expected version, cost, whether it is available, and limit {known:?} of {item}, found version {} for {}, \
             the {count}th of this participant",
            made.item_version, made.cost_minor
        )
    });
    expect(oracle, person, "BalanceSpent", id, made, -made.cost_minor, count, judgement);
    let open = Open { person, item, made: made.clone() };
    oracle.stores.open.insert(event.stream.id.clone(), open);
}

/// Ends a redemption, which must be open.
fn end(oracle: &mut Oracle, event: &RecordedEvent) -> Option<Open> {
    let open = oracle.stores.open.remove(&event.stream.id);
    oracle.unless(open.is_some(), event, || {
        "expected no end of a redemption that nobody made or that has ended, found one".into()
    });
    open
}

#[allow(clippy::too_many_arguments, reason = "each is a part of the effect")]
fn expect(
    oracle: &Oracle,
    person: PersonIndex,
    name: &'static str,
    id: &ProgramRedemptionId,
    made: &RedemptionMade,
    amount_minor: i64,
    count: u32,
    judgement: &mut Judgement,
) {
    let program = oracle.world.person(person).program;
    let fields = spending_fields(
        id.redemption_id.as_str(),
        made.item_id.as_str(),
        count,
        amount_minor,
        &made.unit,
    );
    let stream_id = oracle.world.stream_id(person);
    judgement.expected.push(Effect::on_participant(program, stream_id, name, fields));
}
