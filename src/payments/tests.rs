//! What stands for running totals is known in two places: the plan of a payment takes it back as far as Stripe has told
//! of the refunds themselves, and the domain as far as a call names a refund. They have to agree.
#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

use std::collections::BTreeSet;

use cqrs_es::Aggregate;
use proptest::collection::vec;
use proptest::prelude::*;

use super::settle::recorded;
use domain::{
    Purchase, PurchaseEvent, PurchaseRecorded, PurchaseRefunded, RefundCancelled, RefundId,
    Timestamp, UserId,
};
use stripe::payment::{Desired, DesiredRefund, Money, RaisedTo, Step};

const CURRENCY: &str = "EUR";

/// Something that happens to a payment.
#[derive(Clone, Debug)]
enum Happening {
    /// Stripe tells a running total of a charge.
    Total { charge: u8, amount_minor: i64 },
    /// Stripe tells of a refund of a charge, which is in the latest total or came after it.
    Told { charge: u8, amount_minor: i64, is_in_total: bool },
    /// Stripe tells of a refund that a call has named.
    ToldOfCall { charge: u8, index: usize, is_in_total: bool },
    /// A call names a refund of which Stripe has not told.
    Call { amount_minor: i64 },
    /// A call takes back a refund that a call has named.
    CallCancelled { index: usize },
}

fn happening() -> impl Strategy<Value = Happening> {
    let (charge, minor) = (0..2_u8, 1..400_i64);
    prop_oneof![
        (charge.clone(), minor.clone())
            .prop_map(|(charge, amount_minor)| Happening::Total { charge, amount_minor }),
        (charge.clone(), minor.clone(), any::<bool>()).prop_map(
            |(charge, amount_minor, is_in_total)| Happening::Told {
                charge,
                amount_minor,
                is_in_total
            }
        ),
        (charge, 0..8_usize, any::<bool>()).prop_map(|(charge, index, is_in_total)| {
            Happening::ToldOfCall { charge, index, is_in_total }
        }),
        minor.prop_map(|amount_minor| Happening::Call { amount_minor }),
        (0..8_usize).prop_map(|index| Happening::CallCancelled { index }),
    ]
}

/// A payment: what Stripe has told, and what is recorded.
struct Told {
    desired: Desired,
    purchase: Purchase,
    calls: Vec<(RefundId, i64)>,
}

impl Told {
    fn new() -> Self {
        let mut purchase = Purchase::default();
        let recorded = PurchaseRecorded {
            buyer_user_id: UserId::parse("mia").unwrap(),
            amount_minor: 1_000_000,
            currency_code: CURRENCY.into(),
            purchase_time_us: Timestamp(0),
            program_ids: None,
        };
        purchase.apply(recorded.into());
        Self { desired: Desired::default(), purchase, calls: Vec::new() }
    }

    fn happen(&mut self, number: usize, happening: &Happening) {
        match *happening {
            Happening::Total { charge, amount_minor } => {
                let before = self.desired.raised_to.get(&charge_id(charge));
                let refund_ids = before.map(|before| before.refund_ids.clone()).unwrap_or_default();
                let raised_to = RaisedTo { total: money(amount_minor), at_seconds: 0, refund_ids };
                self.desired.raised_to.insert(charge_id(charge), raised_to);
            }
            Happening::Told { charge, amount_minor, is_in_total } => {
                self.tell(charge, format!("re_told_{number}"), amount_minor, is_in_total);
            }
            Happening::ToldOfCall { charge, index, is_in_total } => {
                let Some((refund_id, amount_minor)) = self.calls.get(index).cloned() else {
                    return;
                };
                self.tell(charge, refund_id.to_string(), amount_minor, is_in_total);
            }
            Happening::Call { amount_minor } => self.call(number, amount_minor),
            Happening::CallCancelled { index } => {
                let Some((refund_id, _)) = self.calls.get(index).cloned() else { return };
                if !self.purchase.money_back().find_refund(&refund_id).unwrap().is_cancelled {
                    self.cancel(refund_id);
                }
            }
        }
        let steps = self.due();
        for step in steps {
            match step {
                Step::Refund { refund_id, amount_minor } => {
                    self.refund(RefundId::parse(&refund_id).unwrap(), amount_minor);
                }
                Step::CancelRefund { refund_id } => {
                    self.cancel(RefundId::parse(&refund_id).unwrap());
                }
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(self.due(), [], "what was due is recorded");
    }

    /// What `RefundPurchase` appends. Of a payment on which nothing was due, nothing is due after that either.
    fn call(&mut self, number: usize, amount_minor: i64) {
        let of_totals_before = self.of_totals();
        let refund_id = RefundId::parse(&format!("re_called_{number}")).unwrap();
        let (named, rests) = self.purchase.money_back().named_of_totals(amount_minor);
        for refund_id in named {
            self.cancel(refund_id);
        }
        self.refund(refund_id.clone(), amount_minor);
        self.calls.push((refund_id, amount_minor));
        for (refund_id, amount_minor) in rests {
            self.refund(refund_id, amount_minor);
        }
        assert_eq!(self.due(), [], "the call has taken from totals what it names of them");
        let taken_minor = amount_minor.min(of_totals_before);
        assert_eq!(self.of_totals(), of_totals_before - taken_minor);
    }

    /// What counts for running totals only.
    fn of_totals(&self) -> i64 {
        let refunds = self.purchase.money_back().refunds().iter();
        let standing = refunds.filter(|of| of.refund_id.is_of_total() && !of.is_cancelled);
        standing.map(|refund| refund.amount_minor).sum()
    }

    fn tell(&mut self, charge: u8, refund_id: String, amount_minor: i64, is_in_total: bool) {
        let raised_to = self.desired.raised_to.get_mut(&charge_id(charge));
        if let Some(raised_to) = raised_to.filter(|_| is_in_total) {
            raised_to.refund_ids.insert(refund_id.clone());
        }
        let refund = DesiredRefund { amount: money(amount_minor), is_cancelled: false };
        self.desired.refunds.insert(refund_id, refund);
    }

    fn due(&self) -> Vec<Step> {
        self.desired.plan(recorded(&self.purchase).as_ref(), &BTreeSet::new()).steps
    }

    fn refund(&mut self, refund_id: RefundId, amount_minor: i64) {
        let currency_code = CURRENCY.into();
        let refunded = PurchaseRefunded { refund_id, amount_minor, currency_code };
        self.purchase.apply(PurchaseEvent::from(refunded));
    }

    fn cancel(&mut self, refund_id: RefundId) {
        self.purchase.apply(PurchaseEvent::from(RefundCancelled { refund_id }));
    }
}

fn charge_id(charge: u8) -> String {
    format!("ch_{charge}")
}

fn money(amount_minor: i64) -> Money {
    Money { amount_minor, currency_code: CURRENCY.into() }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn a_call_takes_from_running_totals_what_the_plan_of_the_payment_would(
        happenings in vec(happening(), 1..24)
    ) {
        let mut payment = Told::new();
        for (number, happening) in happenings.iter().enumerate() {
            payment.happen(number, happening);
        }
    }
}
