//! What `dev --sample` fills the database with: a history of some weeks, in which everything that operators decide
//! about is there to be decided.

use std::collections::HashSet;
use std::time::Duration;

use contract::pb::*;
use tokio::time::Instant;

use super::{Dev, TempDir, dev};
use testing::{Client, reason};

/// Long enough for a debug build beside other tests.
const FILLED_IN: Duration = Duration::from_mins(2);
const PAYING: &str = "multi-level-commission";

/// Waits until the last thing that the sample makes is there: an adjustment that waits for an approval.
async fn filled(client: &Client) {
    let began = Instant::now();
    loop {
        let request =
            ListApprovalsRequest { state: ApprovalState::Pending.into(), ..Default::default() };
        let found = client.rewards().list_approvals(client.request(request)).await;
        if found.is_ok_and(|found| !found.into_inner().approvals.is_empty()) {
            return;
        }
        assert!(began.elapsed() < FILLED_IN, "the sample is not made in time");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

#[tokio::test]
async fn the_sample_is_of_some_weeks_and_has_something_of_everything_to_decide_about() {
    let directory = TempDir::new();
    let mut command = dev(&directory);
    command.arg("--sample");
    let dev = Dev::start_as(command).await;
    let client = dev.client().await;
    filled(&client).await;

    let request = ListPurchasesRequest { page_size: 1_000, ..Default::default() };
    let purchases = client.purchases().list_purchases(client.request(request)).await.unwrap();
    let purchases: Vec<PurchaseDetail> = purchases.into_inner().purchases;
    let all: Vec<&Purchase> = purchases.iter().filter_map(|of| of.purchase.as_ref()).collect();
    assert!(all.len() > 150, "{}", all.len());
    assert!(all.iter().all(|of| of.purchase_id.starts_with("order-")), "as a shop names them");
    let days: HashSet<i64> =
        all.iter().map(|of| of.purchase_time.as_ref().unwrap().seconds / 86_400).collect();
    assert!(days.len() > 25, "{days:?}");
    // The newest is first, by its number as by its time.
    let times: Vec<i64> = all.iter().map(|of| of.purchase_time.as_ref().unwrap().seconds).collect();
    assert!(times.is_sorted_by(|newer, older| newer + 1 >= *older), "{times:?}");

    assert!(all.iter().filter(|of| !of.refunds.is_empty()).count() >= 3);
    assert!(purchases.iter().any(|of| !of.purchase.as_ref().unwrap().disputes.is_empty()));
    assert!(all.iter().any(|of| of.disputed.is_some()), "a dispute is open");
    assert!(purchases.iter().filter(|of| of.outcomes.iter().any(|of| of.qualified)).count() > 40);

    let request =
        ListFraudFlagsRequest { state: FraudFlagState::Open.into(), ..Default::default() };
    let flags = client.fraud().list_fraud_flags(client.request(request)).await.unwrap();
    assert!(!flags.into_inner().flags.is_empty());
    for state in [RedemptionState::Made, RedemptionState::Fulfilled, RedemptionState::Cancelled] {
        let request = ListRedemptionsRequest { state: state.into(), ..Default::default() };
        let found = client.store().list_redemptions(client.request(request)).await.unwrap();
        assert!(!found.into_inner().redemptions.is_empty(), "{state:?}");
    }
    let request = GetPayoutRequest {
        program_id: PAYING.into(),
        payout_id: "payout-1".into(),
        ..Default::default()
    };
    let payout = client.payouts().get_payout(client.request(request)).await.unwrap().into_inner();
    let payout = payout.payout.unwrap();
    assert_eq!(payout.state(), PayoutState::Open);
    assert!(payout.reserved.unwrap().count > 2, "there is something to transfer");
    assert!(payout.skipped_count > 0, "somebody has not said how they are paid");

    // Who came is known again, so that a second filling repeats nothing.
    let asha = client.user("asha").await.unwrap();
    assert_eq!(asha.participants.len(), 5);
    let again = client.sign_up(PAYING, "asha", "").await.unwrap_err();
    assert_eq!(reason(&again).1, "USER_ID_TAKEN");
    dev.stop("-TERM").await;
}
