//! The cost of encoding a reward for the log, decoding it, and encoding it for the client; per event or
//! message, in nanoseconds. The throughput is bytes of JSON or of protobuf a second.
//!
//! - `reward_granted/to_json`: encoding for the log. `reward_granted/from_json`: decoding by type and
//!   version, as when a stream is loaded or an answer is built.
//! - `record_purchase_response/to_protobuf`: encoding an existing answer to a purchase with two rewards into
//!   an existing buffer, as gRPC does.

#![allow(clippy::unwrap_used, reason = "a bench may stop at the first surprise")]

use std::hint::black_box;

use contract::pb;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use domain::{Participant, ParticipantEvent, decode};
use prost::Message;
use prost_types::Timestamp;

/// As stored in the log.
const REWARD_GRANTED: &str = concat!(
    r#"{"type":"RewardGranted","program_version":1,"rule":"direct-commission","level":1,"#,
    r#""source_user_id":"019a2b3c-4d5e-7f60-8123-0000000000bb","#,
    r#""purchase_id":"019a2b3c-4d5e-7f60-8123-0000000000cc","basis_minor":150000,"rate_bps":500,"#,
    r#""cap_remaining_minor":92500,"level_count":2,"#,
    r#""posting":{"kind":"commission","amount":7500,"unit":"INR","#,
    r#""after":{"available":15000,"earned":15000}}}"#,
);

fn reward_granted(criterion: &mut Criterion) {
    let decode =
        |payload| decode::<Participant>("RewardGranted", "1.0.0", black_box(payload)).unwrap();
    let event: ParticipantEvent = decode(REWARD_GRANTED);
    assert_eq!(serde_json::to_string(&event).unwrap(), REWARD_GRANTED);
    let mut group = criterion.benchmark_group("reward_granted");
    group.throughput(Throughput::Bytes(REWARD_GRANTED.len() as u64));
    group.bench_function("to_json", |bencher| {
        bencher.iter(|| serde_json::to_string(black_box(&event)).unwrap());
    });
    group.bench_function("from_json", |bencher| bencher.iter(|| decode(REWARD_GRANTED)));
    group.finish();
}

fn money(minor_units: i64) -> pb::Money {
    pb::Money { currency_code: "INR".into(), minor_units }
}

fn answer() -> pb::RecordPurchaseResponse {
    let id = |last: &str| format!("019a2b3c-4d5e-7f60-8123-0000000000{last}");
    let time = Some(Timestamp { seconds: 1_700_000_000, nanos: 123_456_000 });
    let purchase = pb::Purchase {
        purchase_id: id("cc"),
        buyer_user_id: id("bb"),
        amount: Some(money(150_000)),
        purchase_time: time,
        create_time: time,
        ..pb::Purchase::default()
    };
    let reward = |earner, level, rule: &str, amount_minor| pb::Reward {
        reward_id: format!("multi-level-commission/{}/7", id(earner)),
        earner_user_id: id(earner),
        kind: pb::RewardKind::Commission.into(),
        level,
        amount: Some(money(amount_minor)),
        rule: rule.into(),
        program_version: 1,
        program_id: "multi-level-commission".into(),
        source_user_id: id("bb"),
        purchase_id: id("cc"),
        create_time: time,
        ..pb::Reward::default()
    };
    let outcome = pb::PurchaseOutcome {
        program_id: "multi-level-commission".into(),
        program_version: 1,
        qualified: true,
        rewards: vec![
            reward("aa", 1, "direct-commission", 7_500),
            reward("ab", 2, "upline-commission", 1_500),
        ],
        ..pb::PurchaseOutcome::default()
    };
    pb::RecordPurchaseResponse {
        purchase: Some(purchase),
        outcomes: vec![outcome],
        consistency_token: "AAAAAAAAAAEAAAAAAAAnEA".into(),
    }
}

fn record_purchase_response(criterion: &mut Criterion) {
    let answer = answer();
    let mut group = criterion.benchmark_group("record_purchase_response");
    group.throughput(Throughput::Bytes(answer.encoded_len() as u64));
    let mut buffer = Vec::with_capacity(8 * 1024);
    group.bench_function("to_protobuf", |bencher| {
        bencher.iter(|| {
            buffer.clear();
            black_box(&answer).encode(&mut buffer).unwrap();
            black_box(&buffer).len()
        });
    });
    group.finish();
}

criterion_group!(benches, reward_granted, record_purchase_response);
criterion_main!(benches);
