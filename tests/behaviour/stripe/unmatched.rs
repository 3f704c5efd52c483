//! Payments that wait for somebody who says who bought.

use super::*;

async fn attach(
    client: &Client,
    payment_id: &str,
    buyer: &str,
) -> Result<AttachPaymentResponse, tonic::Status> {
    let message = AttachPaymentRequest {
        payment_id: payment_id.into(),
        buyer_user_id: buyer.into(),
        ..Default::default()
    };
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
    let details: Vec<&str> = waiting.iter().map(|of| &*of.issues[0].detail).collect();
    assert!(details[0].contains("nobody-here") && details[0].contains("register"), "{details:?}");
    assert!(details[1].contains("client_reference_id"), "{details:?}");
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
    // The third was attached to another than it names, which is nobody's guess.
    assert_eq!(seen, ["pi_c", "pi_b", "pi_a"]);
    database.check().await;
    server.stop().await;
}

#[tokio::test]
async fn a_difference_is_acknowledged_as_it_was_seen_and_waits_again_if_it_says_something_else() {
    let (database, server, client) = scene(&["ana", "bea"]).await;
    let address = &server.address;
    let payment = Payment::new("differs", "bea", 1_000);
    deliver(address, &payment.session()).await;
    let mut intent = payment.intent();
    intent["data"]["object"]["amount_received"] = json!(900);
    deliver(address, &intent).await;
    let acknowledge = async |issue_ids: Vec<String>| {
        let message = AttachPaymentRequest {
            payment_id: payment.id(),
            buyer_user_id: "bea".into(),
            acknowledged_issue_ids: issue_ids,
        };
        let answer = client.purchases().attach_payment(client.request(message)).await;
        answer.unwrap().into_inner().payment
    };
    let issues = unmatched(&client).await.remove(0).issues;
    let ids: Vec<String> = issues.iter().map(|issue| issue.issue_id.clone()).collect();
    assert!(ids.len() == 2 && ids[0] != ids[1] && ids.iter().all(|id| !id.is_empty()), "{ids:?}");
    let left = acknowledge(vec![ids[0].clone(), "of-nothing".into()]).await.unwrap();
    assert_eq!(kinds(&left), [PaymentIssueKind::RecordedDiffers]);
    assert_eq!(acknowledge(vec![ids[1].clone()]).await, None);
    assert_eq!(unmatched(&client).await, []);
    // The same told again is seen already; another session says something else.
    deliver(address, &payment.session()).await;
    assert_eq!(unmatched(&client).await, []);
    let mut other = payment.session();
    other["id"] = json!("evt_other_session");
    other["data"]["object"]["id"] = json!("cs_other");
    other["data"]["object"]["amount_total"] = json!(800);
    deliver(address, &other).await;
    let waiting = unmatched(&client).await.remove(0);
    assert_eq!(kinds(&waiting), [PaymentIssueKind::AmountsDiffer]);
    assert!(!ids.contains(&waiting.issues[0].issue_id));
    database.check().await;
    server.stop().await;
}

#[tokio::test]
async fn whatever_waits_can_be_taken_off_the_list_and_is_recorded_all_the_same_when_it_can_be() {
    let (database, server, client) = scene(&["ana", "bea"]).await;
    let address = &server.address;
    let nobody = Payment::new("nobody", "", 200_000).without_buyer();
    deliver(address, &nobody.session()).await;
    deliver(address, &Payment::new("unknown", "nobody-here", 1_000).session()).await;
    let long = Payment::new(&"x".repeat(150), "bea", 1_000);
    deliver(address, &long.session()).await;
    let disputed = Payment::new("disputed", "bea", 1_000);
    deliver(address, &disputed.session()).await;
    deliver(address, &disputed.dispute("created", 10, 600, "prevented")).await;
    let waiting = unmatched(&client).await;
    let of: Vec<_> = waiting.iter().map(kinds).collect();
    assert_eq!(
        of,
        [
            [PaymentIssueKind::UnclearDispute],
            [PaymentIssueKind::Refused],
            [PaymentIssueKind::UnknownBuyer],
            [PaymentIssueKind::NoBuyer],
        ]
    );
    for payment in &waiting {
        assert_eq!(acknowledge(&client, payment).await, None, "{payment:?}");
    }
    assert_eq!(unmatched(&client).await, []);
    let neither = attach(&client, "pi_nobody", "").await;
    let said = neither.as_ref().unwrap_err().message().to_owned();
    assert!(said.contains("buyer_user_id") && said.contains("acknowledged_issue_ids"), "{said}");
    refused(neither, Code::InvalidArgument, "INVALID_FIELD");
    assert!(attach(&client, "pi_nobody", "bea").await.unwrap().recorded);
    comes_to(&client, "ana", 10_000).await;
    database.check().await;
    server.stop().await;
}

#[tokio::test]
async fn of_several_who_are_named_an_operator_says_which_and_nothing_waits() {
    let (database, server, client) = scene(&["ana", "bea"]).await;
    let payment = Payment::new("both", "bea", 200_000);
    let mut session = payment.session();
    session["data"]["object"]["metadata"] = json!({ "user_id": "ana" });
    deliver(&server.address, &session).await;
    assert_eq!(kinds(&unmatched(&client).await[0]), [PaymentIssueKind::BuyersDiffer]);
    let attached = attach(&client, "pi_both", "bea").await.unwrap();
    assert!(attached.recorded && attached.payment.is_none());
    assert_eq!(unmatched(&client).await, []);
    database.check().await;
    server.stop().await;
}

#[tokio::test]
async fn what_attaching_records_can_be_read_with_its_token_also_if_the_named_user_was_registered_since()
 {
    let (database, server, client) = scene(&[]).await;
    let code = client.sign_up(LINES, "ana", "").await.unwrap().code;
    let payment = Payment::new("early", "bea", 200_000);
    deliver(&server.address, &payment.session()).await;
    client.sign_up(LINES, "bea", &code).await.unwrap();
    let attached = attach(&client, "pi_early", "bea").await.unwrap();
    assert!(attached.recorded && !attached.consistency_token.is_empty(), "{attached:?}");
    assert_eq!(balance(&client, "ana", &attached.consistency_token).await, 10_000);
    // The second time there is nothing to record.
    assert_eq!(attach(&client, "pi_early", "bea").await.unwrap().consistency_token, "");
    database.check().await;
    server.stop().await;
}

#[tokio::test]
async fn a_payment_of_somebody_who_signs_up_afterwards_is_recorded_with_the_next_event() {
    let (database, server, client) = scene(&["ana"]).await;
    let payment = Payment::new("early", "bea", 200_000);
    deliver(&server.address, &payment.session()).await;
    assert_eq!(kinds(&unmatched(&client).await[0]), [PaymentIssueKind::UnknownBuyer]);
    client.sign_up(LINES, "bea", "").await.unwrap();
    deliver(&server.address, &payment.intent()).await;
    let purchase = client.purchase("pi_early").await.unwrap().purchase.unwrap();
    assert_eq!(purchase.buyer_user_id, "bea");
    assert_eq!(unmatched(&client).await, []);
    database.check().await;
    server.stop().await;
}
