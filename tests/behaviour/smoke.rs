//! The shortest path from a sign-up to a commission on a live stream.

use testing::{Server, TestDatabase};

#[tokio::test]
async fn a_purchase_brings_a_commission_onto_the_referrers_live_stream() {
    let database = TestDatabase::new().await;
    let server = Server::start(&database).await;
    let client = server.client();
    let program = client.publish_shipped("multi-level-commission").await.program_id;
    let ada = client.sign_up(&program, "ada", "").await.unwrap();
    client.sign_up(&program, "bob", &ada.code).await.unwrap();
    let mut earnings = client.watch(&program, "ada", "").await.unwrap();

    let answer = client.buy("order-1", "bob", "INR", 100_130).await.unwrap();

    let granted = &answer.outcomes[0].rewards[0];
    assert_eq!(granted.amount.as_ref().unwrap().minor_units, 5_007);
    let seen = earnings.message().await.unwrap().unwrap();
    assert_eq!(seen.reward.as_ref(), Some(granted));
    assert_eq!(seen.total.unwrap().minor_units, 5_007);
    server.stop().await;
    database.check().await;
}
