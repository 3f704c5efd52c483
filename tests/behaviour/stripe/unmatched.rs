//! Payments that wait for somebody who says who bought.

use super::*;

async fn attach(
    client: &Client,
    payment_id: &str,
    buyer: &str,
) -> Result<AttachPaymentResponse, tonic::Status> {
    let message =
        AttachPaymentRequest { payment_id: payment_id.into(), buyer_user_id: buyer.into() };
    Ok(client.purchases().attach_payment(client.request(message)).await?.into_inner())
}

#[tokio::test]
async fn a_payment_without_a_buyer_waits_for_an_event_or_an_operator() {
    let (database, server, client) = scene(&["ana", "bea"]).await;
    let address = &server.address;
    let first = Payment::new("first", "bea", 200_000);
    deliver(address, &first.intent()).await;
    let waiting = unmatched(&client).await;
    assert_eq!(waiting.len(), 1);
    assert_eq!((&*waiting[0].payment_id, minor(waiting[0].amount.as_ref())), ("pi_first", 200_000));
    assert_eq!(kinds(&waiting[0]), [PaymentIssueKind::NoBuyer]);
    deliver(address, &first.session()).await;
    assert_eq!(unmatched(&client).await, []);
    comes_to(&client, "ana", 10_000).await;

    let second = Payment::new("second", "", 200_000).without_buyer();
    deliver(address, &second.refund("refund.created", 10, "re_1", 50_000)).await;
    deliver(address, &second.session()).await;
    deliver(address, &second.intent()).await;
    let third = Payment::new("third", "nobody-here", 200_000);
    deliver(address, &third.session()).await;
    let waiting = unmatched(&client).await;
    let of: Vec<_> = waiting.iter().map(|payment| (&*payment.payment_id, kinds(payment))).collect();
    assert_eq!(
        of,
        [
            ("pi_third", vec![PaymentIssueKind::UnknownBuyer]),
            ("pi_second", vec![PaymentIssueKind::NoBuyer]),
        ]
    );
    refused(attach(&client, "pi_none", "bea").await, Code::NotFound, "PAYMENT_NOT_FOUND");
    refused(attach(&client, "pi_second", "nobody").await, Code::NotFound, "USER_NOT_FOUND");
    let attached = attach(&client, "pi_second", "bea").await.unwrap();
    assert!(attached.recorded && attached.payment.is_none());
    assert_eq!(balance(&client, "ana", &attached.consistency_token).await, 17_500);
    assert!(attach(&client, "pi_second", "bea").await.unwrap().recorded);
    refused(
        attach(&client, "pi_second", "ana").await,
        Code::FailedPrecondition,
        "PAYMENT_RECORDED",
    );
    attach(&client, "pi_third", "bea").await.unwrap();
    comes_to(&client, "ana", 27_500).await;
    let actor = "select count(*) from events where metadata ->> 'door' = 'AttachPayment'";
    assert_eq!(database.count(actor).await, 2);

    // Pages.
    for name in ["a", "b", "c"] {
        deliver(address, &Payment::new(name, "", 1_000).intent()).await;
    }
    let mut seen = Vec::new();
    let mut page_token = String::new();
    loop {
        let message = ListUnmatchedPaymentsRequest { page_size: 2, page_token };
        let answer = client.purchases().list_unmatched_payments(client.request(message)).await;
        let ListUnmatchedPaymentsResponse { payments, next_page_token } =
            answer.unwrap().into_inner();
        seen.extend(payments.into_iter().map(|payment| payment.payment_id));
        page_token = next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    // The third was attached to another than it names.
    assert_eq!(seen, ["pi_c", "pi_b", "pi_a", "pi_third"]);
    database.check().await;
    server.stop().await;
}
