//! Refunds and disputes.

use domain::MAX_REFUNDS;

use super::*;

#[tokio::test]
async fn a_refund_and_a_dispute_before_the_purchase_are_in_its_own_append() {
    let (database, server, client) = scene(&["ana", "bea", "cem"]).await;
    let address = &server.address;
    let payment = Payment::new("one", "cem", 400_000);
    deliver(address, &payment.refund("refund.created", 10, "re_1", 100_000)).await;
    deliver(address, &payment.dispute("created", 20, 60_000, "needs_response")).await;
    let before = log_length(&database).await;
    refused(client.purchase("pi_one").await, Code::NotFound, "PURCHASE_NOT_FOUND");
    deliver(address, &payment.session()).await;
    let commands = format!(
        "select count(*) from events where position > {before} and metadata ? 'command_events'"
    );
    assert_eq!(database.count(&commands).await, 1, "one append");
    let purchase = client.purchase("pi_one").await.unwrap().purchase.unwrap();
    assert_eq!(minor(purchase.refunded.as_ref()), 100_000);
    assert_eq!(minor(purchase.disputed.as_ref()), 60_000);
    // 20,000 less a quarter; what is disputed is pending.
    comes_to(&client, "bea", 15_000).await;

    deliver(address, &payment.dispute("closed", 30, 60_000, "lost")).await;
    comes_to(&client, "bea", 12_000).await;
    deliver(address, &payment.refund("refund.failed", 40, "re_1", 100_000)).await;
    comes_to(&client, "bea", 17_000).await;
    let purchase = client.purchase("pi_one").await.unwrap().purchase.unwrap();
    assert!(purchase.refunds[0].cancelled);
    assert_eq!(purchase.disputes[0].state(), DisputeState::Lost);
    assert_eq!(unmatched(&client).await, []);
    database.check().await;
    server.stop().await;
}

#[tokio::test]
async fn a_refund_by_a_call_with_the_providers_id_is_the_same_refund() {
    let (database, server, client) = scene(&["ana", "bea"]).await;
    let address = &server.address;
    let payment = Payment::new("one", "bea", 400_000);
    deliver(address, &payment.intent()).await;
    deliver(address, &payment.session()).await;
    let refund = async |id: &str, amount: i64| {
        let message = RefundPurchaseRequest {
            purchase_id: "pi_one".into(),
            refund_id: id.into(),
            amount: Some(Money { currency_code: "INR".into(), minor_units: amount }),
            ..Default::default()
        };
        client.purchases().refund_purchase(client.request(message)).await.unwrap().into_inner()
    };
    refund("re_1", 100_000).await;
    deliver(address, &payment.refund("refund.created", 10, "re_1", 100_000)).await;
    comes_to(&client, "ana", 15_000).await;
    // A total that the known refunds explain changes nothing, and one beyond them counts.
    deliver(address, &payment.refunded(11, 100_000)).await;
    comes_to(&client, "ana", 15_000).await;
    deliver(address, &payment.refunded(20, 180_000)).await;
    comes_to(&client, "ana", 11_000).await;
    // The call explains what only the total has told of; its answer has it already.
    let answer = refund("re_2", 80_000).await;
    assert_eq!(answer.refund.unwrap().refund_id, "re_2");
    comes_to(&client, "ana", 11_000).await;
    let again = refund("re_2", 80_000).await;
    assert_eq!(again.refund.unwrap().refund_id, "re_2");
    let purchase = client.purchase("pi_one").await.unwrap().purchase.unwrap();
    assert_eq!(minor(purchase.refunded.as_ref()), 180_000);
    // A late smaller total says nothing.
    deliver(address, &payment.refunded(15, 120_000)).await;
    comes_to(&client, "ana", 11_000).await;
    database.check().await;
    server.stop().await;
}

/// The most that was refunded of a purchase at any moment between two commands.
const MOST_REFUNDED: &str = "select coalesce(max(standing), 0)::bigint from (
        select sum(amount) over (partition by aggregate_id order by sequence) as standing
        from (
            select refund.aggregate_id, refund.sequence,
                case refund.event_type
                    when 'PurchaseRefunded' then (refund.payload ->> 'amount_minor')::bigint
                    else -(
                        select (made.payload ->> 'amount_minor')::bigint from events as made
                        where made.aggregate_id = refund.aggregate_id
                            and made.event_type = 'PurchaseRefunded'
                            and made.payload ->> 'refund_id' = refund.payload ->> 'refund_id'
                    )
                end as amount
            from events as refund
            where refund.event_type in ('PurchaseRefunded', 'RefundCancelled')
        ) as changes
    ) as sums";

#[tokio::test(flavor = "multi_thread")]
async fn a_refund_that_is_told_of_in_two_ways_at_once_is_never_taken_back_twice() {
    let (database, server, client) = scene(&["ana", "bea"]).await;
    let payments: Vec<_> =
        (0..20).map(|index| Payment::new(&format!("p{index}"), "bea", 1_000)).collect();
    for payment in &payments {
        deliver(&server.address, &payment.session()).await;
    }
    let told = payments.iter().enumerate().flat_map(|(index, payment)| {
        let refund = payment.refund("refund.created", 10, &format!("re_{index}"), 500);
        [payment.refunded(10, 500), refund]
    });
    let address = server.address.clone();
    let deliveries = told.map(|event| {
        let address = address.clone();
        async move { testing::stripe_events::deliver_until_taken(&[&address], &event).await }
    });
    testing::at_once(deliveries.collect::<Vec<_>>()).await;
    assert_eq!(database.count(MOST_REFUNDED).await, 500);
    for (index, payment) in payments.iter().enumerate() {
        let purchase = client.purchase(&payment.id()).await.unwrap().purchase.unwrap();
        assert_eq!(minor(purchase.refunded.as_ref()), 500);
        let standing: Vec<_> = purchase.refunds.iter().filter(|refund| !refund.cancelled).collect();
        assert_eq!(standing.len(), 1);
        assert_eq!(standing[0].refund_id, format!("re_{index}"));
    }
    database.check().await;
    server.stop().await;
}

#[tokio::test]
async fn what_is_refused_waits_alone_and_the_rest_of_the_same_events_is_recorded() {
    let (database, server, client) = scene(&["ana", "bea"]).await;
    let address = &server.address;
    let payment = Payment::new("one", "bea", 400_000);
    // More refunds than a purchase can have, and a dispute, all before the purchase. Those that are too many are one
    // issue.
    for index in 0..MAX_REFUNDS + 3 {
        let id = format!("re_{index:03}");
        let mut refund = payment.refund("refund.created", 10, &id, 1_000);
        refund["id"] = json!(format!("evt_{id}"));
        deliver(address, &refund).await;
    }
    deliver(address, &payment.dispute("created", 20, 60_000, "needs_response")).await;
    deliver(address, &payment.session()).await;
    let purchase = client.purchase("pi_one").await.unwrap().purchase.unwrap();
    assert_eq!(purchase.refunds.len(), MAX_REFUNDS);
    assert_eq!(minor(purchase.disputed.as_ref()), 60_000);
    let waiting = unmatched(&client).await;
    assert_eq!(kinds(&waiting[0]), [PaymentIssueKind::Refused]);
    assert!(waiting[0].issues[0].detail.contains("refunds"), "{waiting:?}");
    // It is tried again with the next event, which is recorded.
    deliver(address, &payment.dispute("closed", 30, 60_000, "won")).await;
    let purchase = client.purchase("pi_one").await.unwrap().purchase.unwrap();
    assert_eq!(purchase.disputes[0].state(), DisputeState::Won);
    let waiting = unmatched(&client).await;
    assert_eq!(kinds(&waiting[0]), [PaymentIssueKind::Refused]);
    // Nobody needs to see it for ever.
    assert_eq!(acknowledge(&client, &waiting[0]).await, None);
    deliver(address, &payment.refunded(40, 1_000)).await;
    assert_eq!(unmatched(&client).await, []);
    database.check().await;
    server.stop().await;
}

#[tokio::test]
async fn a_total_stands_until_the_refund_that_explains_it_is_recorded() {
    let (database, server, client) = scene(&["ana", "bea"]).await;
    let address = &server.address;
    let refunded = async |payment: &Payment| {
        let purchase = client.purchase(&payment.id()).await.unwrap().purchase.unwrap();
        minor(purchase.refunded.as_ref())
    };
    // Every total comes before its refund. The last refund finds no place.
    let payment = Payment::new("one", "bea", 400_000);
    deliver(address, &payment.session()).await;
    let refund = async |number: usize, amount: i64| {
        let id = format!("re_{number:03}");
        let mut refund = payment.refund("refund.created", 10, &id, amount);
        refund["id"] = json!(format!("evt_{id}"));
        deliver(address, &refund).await;
    };
    refund(0, 1_000).await;
    for number in 1..MAX_REFUNDS {
        let so_far = i64::try_from(number).unwrap();
        deliver(address, &payment.refunded(10 + so_far, (so_far + 1) * 1_000)).await;
        refund(number, 1_000).await;
    }
    assert_eq!(refunded(&payment).await, 100_000);
    deliver(address, &payment.refunded(200, 400_000)).await;
    assert_eq!(refunded(&payment).await, 400_000);
    comes_to(&client, "ana", 0).await;
    refund(MAX_REFUNDS, 300_000).await;
    assert_eq!(refunded(&payment).await, 400_000);
    let waiting = unmatched(&client).await;
    assert_eq!(kinds(&waiting[0]), [PaymentIssueKind::Refused]);
    assert!(waiting[0].issues[0].detail.starts_with("re_100: "), "{waiting:?}");

    // Nor does one take the place of a total whose id or currency cannot be recorded.
    let odd = Payment::new("odd", "bea", 400_000);
    deliver(address, &odd.session()).await;
    deliver(address, &odd.refunded(20, 400_000)).await;
    deliver(address, &odd.refund("refund.created", 10, "re 1", 400_000)).await;
    let in_dollars = odd.clone().in_currency("usd");
    deliver(address, &in_dollars.refund("refund.updated", 10, "re_2", 400_000)).await;
    let reserved = odd.refund("refund.updated", 11, "charge:ch_odd:9", 400_000);
    deliver(address, &reserved).await;
    assert_eq!(refunded(&odd).await, 400_000);

    // What a call has recorded with less explains less, and nobody takes an id of the server's own.
    let less = Payment::new("less", "bea", 400_000);
    deliver(address, &less.session()).await;
    let by_call = async |refund_id: &str| {
        let message = RefundPurchaseRequest {
            purchase_id: less.id(),
            refund_id: refund_id.into(),
            amount: Some(Money { currency_code: "INR".into(), minor_units: 100 }),
            ..Default::default()
        };
        client.purchases().refund_purchase(client.request(message)).await
    };
    by_call("re_1").await.unwrap();
    deliver(address, &less.refunded(20, 400_000)).await;
    deliver(address, &less.refund("refund.created", 10, "re_1", 400_000)).await;
    assert_eq!(refunded(&less).await, 400_000);
    let own = by_call("charge:ch_less:2").await;
    let own = refused(own, Code::InvalidArgument, "INVALID_FIELD");
    assert!(own.message().contains("refund_id") && own.message().contains("charge:"), "{own:?}");
    comes_to(&client, "ana", 0).await;
    database.check().await;
    server.stop().await;
}

#[tokio::test]
async fn a_dispute_that_was_withdrawn_here_and_is_lost_there_waits_for_an_operator() {
    let (database, server, client) = scene(&["ana", "bea"]).await;
    let address = &server.address;
    let payment = Payment::new("one", "bea", 400_000);
    deliver(address, &payment.session()).await;
    deliver(address, &payment.dispute("created", 10, 60_000, "needs_response")).await;
    let message = CloseDisputeRequest {
        purchase_id: payment.id(),
        dispute_id: "du_one".into(),
        outcome: DisputeState::Withdrawn.into(),
        ..Default::default()
    };
    client.purchases().close_dispute(client.request(message)).await.unwrap();
    assert_eq!(unmatched(&client).await, []);
    deliver(address, &payment.dispute("closed", 20, 60_000, "lost")).await;
    let waiting = unmatched(&client).await;
    assert_eq!(kinds(&waiting[0]), [PaymentIssueKind::RecordedDiffers]);
    assert!(waiting[0].issues[0].detail.contains("lost"), "{waiting:?}");
    // What is recorded stays.
    comes_to(&client, "ana", 20_000).await;
    assert_eq!(acknowledge(&client, &waiting[0]).await, None);
    database.check().await;
    server.stop().await;
}

async fn close_dispute(client: &Client, dispute_id: &str, outcome: DisputeState) {
    let message = CloseDisputeRequest {
        purchase_id: "pi_one".into(),
        dispute_id: dispute_id.into(),
        outcome: outcome.into(),
        ..Default::default()
    };
    client.purchases().close_dispute(client.request(message)).await.unwrap();
}

#[tokio::test]
async fn what_a_call_says_of_a_dispute_is_compared_with_what_stripe_says_at_once() {
    let (database, server, client) = scene(&["ana", "bea"]).await;
    let address = &server.address;
    let payment = Payment::new("one", "bea", 400_000);
    deliver(address, &payment.session()).await;
    deliver(address, &payment.dispute("created", 10, 60_000, "prevented")).await;
    assert_eq!(kinds(&unmatched(&client).await[0]), [PaymentIssueKind::UnclearDispute]);
    // An open dispute has the amount that Stripe says.
    let message = OpenDisputeRequest {
        purchase_id: "pi_one".into(),
        dispute_id: "du_one".into(),
        amount: Some(Money { currency_code: "INR".into(), minor_units: 50_000 }),
        ..Default::default()
    };
    client.purchases().open_dispute(client.request(message)).await.unwrap();
    let purchase = client.purchase("pi_one").await.unwrap().purchase.unwrap();
    assert_eq!(minor(purchase.disputed.as_ref()), 60_000);
    // What nobody knew is settled by the call.
    close_dispute(&client, "du_one", DisputeState::Won).await;
    assert_eq!(unmatched(&client).await, []);

    let mut other = payment.dispute("created", 20, 70_000, "needs_response");
    other["id"] = json!("evt_other");
    other["data"]["object"]["id"] = json!("du_other");
    deliver(address, &other).await;
    close_dispute(&client, "du_other", DisputeState::Lost).await;
    let waiting = unmatched(&client).await;
    assert_eq!(kinds(&waiting[0]), [PaymentIssueKind::RecordedDiffers]);
    assert!(waiting[0].issues[0].detail.contains("is open now"), "{waiting:?}");
    database.check().await;
    server.stop().await;
}

#[tokio::test]
async fn a_call_that_refunds_the_whole_takes_the_place_of_what_only_the_total_told_of() {
    let (database, server, client) = scene(&["ana", "bea"]).await;
    let address = &server.address;
    let payment = Payment::new("one", "bea", 400_000);
    for event in [
        payment.session(),
        payment.intent(),
        payment.refund("refund.created", 10, "re_1", 100_000),
        payment.refunded(20, 400_000),
    ] {
        deliver(address, &event).await;
    }
    comes_to(&client, "ana", 0).await;
    let message = PreviewRefundRequest { purchase_id: "pi_one".into(), ..Default::default() };
    let preview = client.purchases().preview_refund(client.request(message)).await;
    let preview = preview.unwrap().into_inner();
    assert_eq!(minor(preview.amount.as_ref()), 300_000);
    assert_eq!(preview.reversals, []);
    let refund = async |id: &str, amount: Option<i64>| {
        let minor = |minor_units| Money { currency_code: "INR".into(), minor_units };
        let message = RefundPurchaseRequest {
            purchase_id: "pi_one".into(),
            refund_id: id.into(),
            amount: amount.map(minor),
            ..Default::default()
        };
        client.purchases().refund_purchase(client.request(message)).await
    };
    let standing = async || {
        let purchase = client.purchase("pi_one").await.unwrap().purchase.unwrap();
        let standing = purchase.refunds.into_iter().filter(|refund| !refund.cancelled);
        let of = |refund: Refund| (refund.refund_id, refund.amount.unwrap().minor_units);
        let mut standing: Vec<_> = standing.map(of).collect();
        standing.sort();
        standing
    };
    let of = |id: &str, amount: i64| (id.to_owned(), amount);
    refused(
        refund("re_2", Some(300_001)).await,
        Code::FailedPrecondition,
        "REFUND_EXCEEDS_PURCHASE",
    );
    // A part of it, and then the rest.
    refund("re_2", Some(120_000)).await.unwrap();
    let with_rest = [of("charge:ch_one:2", 180_000), of("re_1", 100_000), of("re_2", 120_000)];
    assert_eq!(standing().await, with_rest);
    let answer = refund("re_3", None).await.unwrap().into_inner();
    assert_eq!(minor(answer.refund.unwrap().amount.as_ref()), 180_000);
    assert_eq!(answer.reversals, [], "the total took it back");
    let by_id = [of("re_1", 100_000), of("re_2", 120_000), of("re_3", 180_000)];
    assert_eq!(standing().await, by_id);
    refused(refund("re_4", None).await, Code::FailedPrecondition, "REFUND_EXCEEDS_PURCHASE");
    comes_to(&client, "ana", 0).await;
    assert_eq!(unmatched(&client).await, []);
    database.check().await;
    server.stop().await;
}

#[tokio::test]
async fn what_is_more_than_was_paid_or_was_cancelled_here_alone_waits_for_an_operator() {
    let (database, server, client) = scene(&["ana", "bea"]).await;
    let address = &server.address;
    let payment = Payment::new("one", "bea", 400_000);
    deliver(address, &payment.intent()).await;
    deliver(address, &payment.session()).await;
    let mut again =
        payment.event("payment_intent.succeeded", 3, sample::intent("pi_one", "ch_one", 1));
    again["data"]["object"]["amount_received"] = json!(500_000);
    deliver(address, &again).await;
    deliver(address, &payment.dispute("created", 10, 410_000, "needs_response")).await;
    let waiting = unmatched(&client).await;
    let exceeds = PaymentIssueKind::ExceedsPurchase;
    assert_eq!(kinds(&waiting[0]), [PaymentIssueKind::AmountsDiffer, exceeds]);
    assert_eq!(acknowledge(&client, &waiting[0]).await, None);
    deliver(address, &payment.dispute("closed", 20, 410_000, "won")).await;
    assert_eq!(unmatched(&client).await, []);
    // The same refund by an id of the shop's, and by Stripe's.
    let message = RefundPurchaseRequest {
        purchase_id: "pi_one".into(),
        refund_id: "mine".into(),
        ..Default::default()
    };
    client.purchases().refund_purchase(client.request(message)).await.unwrap();
    deliver(address, &payment.refunded(30, 400_000)).await;
    assert_eq!(unmatched(&client).await, []);
    deliver(address, &payment.refund("refund.created", 30, "re_1", 400_000)).await;
    let waiting = unmatched(&client).await;
    assert_eq!(kinds(&waiting[0]), [exceeds]);
    assert!(waiting[0].issues[0].detail.contains("800000"), "{waiting:?}");
    let cancel = async |refund_id: &str| {
        let message = CancelRefundRequest {
            purchase_id: "pi_one".into(),
            refund_id: refund_id.into(),
            ..Default::default()
        };
        client.purchases().cancel_refund(client.request(message)).await.unwrap();
    };
    cancel("mine").await;
    assert_eq!(unmatched(&client).await, []);
    comes_to(&client, "ana", 0).await;
    cancel("re_1").await;
    // Both that it cannot be made again under its id, and that the total counts for what was cancelled here.
    let differs = PaymentIssueKind::RecordedDiffers;
    assert_eq!(kinds(&unmatched(&client).await[0]), [differs, differs]);
    comes_to(&client, "ana", 0).await;
    deliver(address, &payment.refund("refund.failed", 40, "re_1", 400_000)).await;
    assert_eq!(unmatched(&client).await, []);
    comes_to(&client, "ana", 20_000).await;
    database.check().await;
    server.stop().await;
}

#[tokio::test]
async fn an_inquiry_follows_its_amount_and_is_won_when_it_is_closed() {
    let (database, server, client) = scene(&["ana", "bea"]).await;
    let address = &server.address;
    let payment = Payment::new("one", "bea", 400_000);
    deliver(address, &payment.session()).await;
    for (change, after_seconds, amount, status, disputed, balance) in [
        ("created", 10, 60_000, "warning_needs_response", 60_000, 20_000),
        ("updated", 20, 80_000, "warning_under_review", 80_000, 20_000),
        // Late, so it says nothing.
        ("updated", 15, 70_000, "warning_under_review", 80_000, 20_000),
        ("closed", 30, 80_000, "warning_closed", 0, 20_000),
    ] {
        deliver(address, &payment.dispute(change, after_seconds, amount, status)).await;
        let purchase = client.purchase("pi_one").await.unwrap().purchase.unwrap();
        let found = purchase.disputed.map_or(0, |money| money.minor_units);
        assert_eq!(found, disputed, "{change} {after_seconds}");
        comes_to(&client, "ana", balance).await;
    }
    let purchase = client.purchase("pi_one").await.unwrap().purchase.unwrap();
    assert_eq!(purchase.disputes[0].state(), DisputeState::Won);
    database.check().await;
    server.stop().await;
}
