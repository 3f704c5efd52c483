//! A redemption is made once, and then fulfilled or cancelled.

use super::given;
use crate::ledger::{Bucket, Buckets, EntryKind};
use crate::tests::scene::{member, program, user};
use crate::{
    AnyEvent, BalanceSpent, ItemId, LotPart, Participant, ParticipantEvent, ParticipantId,
    ProgramRedemptionId, Redemption, RedemptionCancelled, RedemptionCommand, RedemptionEvent,
    RedemptionFulfilled, RedemptionId, RedemptionMade, Refusal, State, Stream, StreamKey,
};

fn id() -> ProgramRedemptionId {
    let redemption_id = RedemptionId::parse("order-1").unwrap();
    ProgramRedemptionId { program_id: member("ada").program_id, redemption_id }
}

fn made() -> RedemptionMade {
    RedemptionMade {
        user_id: user("ada"),
        item_id: ItemId::parse("mug").unwrap(),
        item_version: 2,
        cost_minor: 500,
        unit: "POINTS".into(),
    }
}

fn fulfilled() -> RedemptionEvent {
    RedemptionFulfilled {}.into()
}

fn cancelled() -> RedemptionEvent {
    RedemptionCancelled {}.into()
}

#[test]
fn is_made_once() {
    let make = || RedemptionCommand::Make { id: id(), made: made() };
    given::<Redemption>([]).when(make()).then_expect_events(vec![made().into()]);
    given::<Redemption>([made().into()])
        .when(make())
        .then_expect_error(Refusal::RedemptionIdReused(id()));
}

#[test]
fn ends_once_either_way() {
    let fulfil = || RedemptionCommand::Fulfil { id: id() };
    let cancel = || RedemptionCommand::Cancel { id: id() };
    let open = || [made().into()];
    given::<Redemption>(open()).when(fulfil()).then_expect_events(vec![fulfilled()]);
    given::<Redemption>(open()).when(cancel()).then_expect_events(vec![cancelled()]);
    for command in [fulfil(), cancel()] {
        given::<Redemption>([])
            .when(command.clone())
            .then_expect_error(Refusal::RedemptionNotFound(id()));
        given::<Redemption>([made().into(), fulfilled()])
            .when(command.clone())
            .then_expect_error(Refusal::RedemptionIsFulfilled(id()));
        given::<Redemption>([made().into(), cancelled()])
            .when(command)
            .then_expect_error(Refusal::RedemptionIsCancelled(id()));
    }
}

#[test]
fn remembers_what_was_paid_for_it_and_for_no_other() {
    let spent = |redemption_id: &str, amount: i64| {
        let posting = Buckets { available: 900, earned: 900, ..Buckets::default() }
            .post(EntryKind::Redemption, -amount, Bucket::Available, "POINTS")
            .unwrap();
        let redemption_id = RedemptionId::parse(redemption_id).unwrap();
        let (item_id, item_count) = (made().item_id, 1);
        let event = BalanceSpent { redemption_id, item_id, item_count, posting };
        Participant::any_event(ParticipantEvent::from(event))
    };
    let mut redemption = Redemption::default();
    let mut remember = |participant: &ParticipantId, event: &AnyEvent| {
        let stream = StreamKey::of::<Participant>(participant);
        redemption.remember(&id().to_string(), &stream, 1, event);
        redemption.parts().to_vec()
    };
    assert_eq!(remember(&member("ada"), &spent("order-2", 7)), []);
    let elsewhere = ParticipantId::new(&program("another"), &user("ada"));
    assert_eq!(remember(&elsewhere, &spent("order-1", 7)), []);
    let part = |amount_minor| LotPart { amount_minor, expire_time: None };
    assert_eq!(remember(&member("ada"), &spent("order-1", 500)), [part(500)]);
    assert_eq!(remember(&member("ada"), &spent("order-1", 1)), [part(500), part(1)]);
}

#[test]
fn has_an_id_that_is_split_at_its_first_slash() {
    let text = "spring/gid://shop/Order/7";
    let id = ProgramRedemptionId::parse(text).unwrap();
    assert_eq!((id.program_id.as_str(), id.redemption_id.as_str()), ("spring", &text[7..]));
    assert_eq!(id.to_string(), text);
    for text in ["", "spring", "/order", "spring/", "spring/a b"] {
        assert_eq!(ProgramRedemptionId::parse(text), None, "{text}");
    }
}
