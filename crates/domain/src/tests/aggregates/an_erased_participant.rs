//! A participant whose user is erased.

use cqrs_es::Aggregate;
use proptest::prelude::*;

use super::given;
use crate::participant::{BalanceForfeited, ParticipantErased};
use crate::tests::scene::user;
use crate::work::handle_now;
use crate::{
    Bucket, Buckets, EntryKind, Participant, ParticipantCommand, ParticipantDeactivated,
    ParticipantEnrolled, ParticipantEvent, PurchaseCredited, PurchaseId,
};

fn enrolled() -> ParticipantEvent {
    let (code, link) = ("K7Q2M9XA".into(), "https://example.com/join?ref=K7Q2M9XA".into());
    ParticipantEnrolled { code, link, code_passed_over: None }.into()
}

fn erase() -> ParticipantCommand {
    ParticipantCommand::Erase { user_id: user("bea"), unit: "INR".into() }
}

/// Credits that lead to these parts of the balance.
fn credits(parts: [i64; 3]) -> Vec<ParticipantEvent> {
    let mut buckets = Buckets::default();
    Bucket::ALL
        .into_iter()
        .zip(parts)
        .filter(|(_, amount)| *amount != 0)
        .map(|(bucket, amount)| {
            let posting = buckets.post(EntryKind::PurchaseCredit, amount, bucket, "INR").unwrap();
            buckets = posting.after;
            let purchase_id = PurchaseId::parse("order").unwrap();
            PurchaseCredited { purchase_id, posting }.into()
        })
        .collect()
}

#[test]
fn forfeits_every_part_of_the_balance_that_is_owed_and_ends() {
    let credited = credits([100, -30, 7]);
    let mut buckets =
        Buckets { pending: 100, available: -30, reserved: 7, credited: 77, ..Buckets::default() };
    let mut forfeit = |bucket, amount: i64| -> ParticipantEvent {
        let posting = buckets.post(EntryKind::Expiry, -amount, bucket, "INR").unwrap();
        buckets = posting.after;
        BalanceForfeited { posting }.into()
    };
    let expected = vec![
        forfeit(Bucket::Pending, 100),
        forfeit(Bucket::Reserved, 7),
        ParticipantErased {}.into(),
    ];
    given::<Participant>([enrolled()]).and(credited).when(erase()).then_expect_events(expected);
}

#[test]
fn ends_without_an_entry_if_nothing_is_owed() {
    let inactive = vec![ParticipantDeactivated {}.into()];
    given::<Participant>([enrolled()])
        .and(inactive)
        .when(erase())
        .then_expect_events(vec![ParticipantErased {}.into()]);
}

proptest! {
    #[test]
    fn owes_nothing_and_reconciles_whatever_the_balance_was(
        parts in [-1_000_000_i64..1_000_000, -1_000_000..1_000_000, -1_000_000..1_000_000],
    ) {
        let mut state = Participant::default();
        for event in [vec![enrolled()], credits(parts)].concat() {
            state.apply(event);
        }
        let owed: i64 = parts.iter().filter(|part| **part > 0).sum();
        prop_assert_eq!(state.buckets().owed(), owed);
        let balance = state.balance_minor();
        handle_now(&mut state, erase()).unwrap();
        prop_assert!(state.buckets().reconcile());
        prop_assert_eq!(state.buckets().owed(), 0);
        prop_assert_eq!(state.buckets().expired, owed);
        prop_assert_eq!(state.balance_minor(), balance - owed);
        prop_assert!(state.is_erased() && !state.is_active());
    }
}
