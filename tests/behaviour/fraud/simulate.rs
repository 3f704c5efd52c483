//! Checks tried out on the past.

use std::collections::BTreeMap;

use contract::pb::*;
use tonic::{Code, Status};

use super::*;
use crate::support::{PATIENCE, refused, server_with};

/// What a simulation found: the flags by referee, and the summary.
struct Simulated {
    flags: BTreeMap<String, SimulatedFraudFlag>,
    summary: FraudSimulationSummary,
}

async fn simulate(client: &Client, request: SimulateFraudRequest) -> Result<Simulated, Status> {
    let answer = client.fraud().simulate_fraud(client.request(request)).await?;
    let mut stream = answer.into_inner();
    let (mut flags, mut summary) = (BTreeMap::new(), None);
    let mut progress = 0;
    while let Some(message) =
        tokio::time::timeout(PATIENCE, stream.message()).await.expect("in time")?
    {
        assert!(summary.is_none(), "the summary is the last message");
        assert!(message.progress_bps >= progress);
        progress = message.progress_bps;
        if let Some(flag) = message.flag {
            let before = flags.insert(flag.referee_user_id.clone(), flag);
            assert!(before.is_none());
        }
        summary = message.summary;
    }
    assert_eq!(progress, 10_000);
    Ok(Simulated { flags, summary: summary.expect("a summary") })
}

fn of_program(program_id: &str, checks: Option<FraudChecks>) -> SimulateFraudRequest {
    SimulateFraudRequest { program_id: program_id.into(), checks, ..Default::default() }
}

fn quality(summary: &FraudSimulationSummary, kind: FraudFlagKind) -> FraudCheckQuality {
    *summary.checks.iter().find(|of| of.kind() == kind).expect("the check is on")
}

/// Sign-ups of all sorts for the points program: farms, families, one address on the network, fingerprints.
async fn sign_up_all_sorts(client: &Client) {
    let mut codes = Vec::new();
    for (name, email) in [("john", "john@gmail.com"), ("owner", "owner@corp.example")] {
        codes.push(join(client, name, email, "").await.code);
    }
    for (number, (email, of, client_ip, fingerprint)) in [
        ("j0hn@gmail.com", 0, "", ""),
        ("ann@corp.example", 1, "", "device of ann"),
        ("dan@corp.example", 1, "192.0.2.1", ""),
        ("farm7@mail.example", 1, "192.0.2.1", ""),
        ("farm8@mail.example", 1, "192.0.2.2", ""),
        ("o.w.ner@corp.example", 0, "192.0.2.1", "device of ann"),
        ("john+9@googlemail.com", 1, "192.0.2.1", ""),
        ("lina@corp.example", 0, "192.0.2.1", ""),
        ("maria.silva@corp.example", 1, "", ""),
        ("pedro.silva@corp.example", 1, "2001:db8::1", ""),
        ("late.wilhelmina@mail.example", 0, "198.51.100.7", "device of ann"),
        ("latest.zoe@club.example", 0, "198.51.100.7", ""),
        ("late.quentin@choir.example", 1, "198.51.100.7", ""),
    ]
    .into_iter()
    .enumerate()
    {
        let name = format!("member-{number}");
        // Some are referred by an enrolment later.
        let is_late = email.starts_with("late");
        let (program_id, code) = if is_late { ("", "") } else { (POINTS, &*codes[of]) };
        let request = RegisterUserRequest {
            client_ip: client_ip.into(),
            fingerprint: fingerprint.into(),
            ..with_address(program_id, &name, email, code)
        };
        client.register(request).await.unwrap();
        if is_late {
            let request = EnrollParticipantRequest {
                program_id: POINTS.into(),
                user_id: name,
                referral_code: codes[of].clone(),
                ..Default::default()
            };
            client.programs().enroll_participant(client.request(request)).await.unwrap();
        }
    }
}

#[tokio::test]
async fn the_checks_of_a_program_find_on_the_past_what_they_really_found() {
    let (database, server, client) = server_with(&[]).await;
    let addresses = SignUpsPerAddressCheck {
        max_sign_ups: Some(2),
        policy: FraudPolicy::Flag.into(),
        ..Default::default()
    };
    let burst = ReferralBurstCheck { max_referrals_per_hour: Some(5), ..Default::default() };
    let checks = FraudChecks {
        sign_ups_per_address: Some(addresses),
        same_mailbox: with_policy(FraudPolicy::Reject),
        look_alike: with_policy(FraudPolicy::Hold),
        similar_address: Some(SimilarAddressCheck::default()),
        fingerprint: with_policy(FraudPolicy::Hold),
        referral_burst: Some(burst),
        mutual_referral: with_policy(FraudPolicy::Flag),
        disposable_domain: with_policy(FraudPolicy::Flag),
    };
    client.publish(checked(POINTS, checks)).await.unwrap();
    sign_up_all_sorts(&client).await;
    let real: BTreeMap<String, FraudFlag> = flags(&client)
        .await
        .into_iter()
        .map(|flag| (flag.referee.clone().unwrap().user_id, flag))
        .collect();
    let kinds: std::collections::BTreeSet<_> =
        real.values().flat_map(|flag| flag.findings.iter().map(|of| of.kind)).collect();
    assert_eq!(kinds.len(), 7, "{kinds:?}");

    let simulated = simulate(&client, of_program(POINTS, None)).await.unwrap();
    assert_eq!(simulated.flags.keys().collect::<Vec<_>>(), real.keys().collect::<Vec<_>>());
    for (user_id, flag) in &simulated.flags {
        let real = &real[user_id];
        assert_eq!(flag.findings, real.findings, "{user_id}");
        assert_eq!((flag.consequence(), &flag.flag_id), (real.consequence(), &real.flag_id));
    }
    assert_eq!(simulated.summary.referrals_examined, 13);
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn a_decision_about_a_flag_of_a_purchase_counts_as_one_about_the_referral() {
    let (database, server, client) = server_with(&[]).await;
    let checks =
        FraudChecks { fingerprint: with_policy(FraudPolicy::Flag), ..FraudChecks::default() };
    client.publish(checked(POINTS, checks)).await.unwrap();
    let code = join(&client, "ada", "ada@mail.example", "").await.code;
    join(&client, "wilhelmina", "wilhelmina@club.example", &code).await;
    for buyer in ["ada", "wilhelmina"] {
        let purchase = RecordPurchaseRequest {
            buyer_user_id: buyer.into(),
            amount: Some(Money { currency_code: "USD".into(), minor_units: 100 }),
            fingerprint: "one card".into(),
            ..RecordPurchaseRequest::default()
        };
        client.record(purchase).await.unwrap();
    }
    let [found] = flags(&client).await.try_into().unwrap();
    assert_eq!(found.occasion(), FraudOccasion::Purchase);
    resolve(&client, &found.flag_id, FraudDecision::Rejected, "").await.unwrap();
    newest(&client).await;
    let simulated = simulate(&client, of_program(POINTS, None)).await.unwrap();
    assert!(simulated.flags.is_empty(), "nothing was there to find when the referral was made");
    assert_eq!(simulated.summary.rejected, 1);
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn other_checks_are_measured_by_what_operators_decided() {
    let (database, server, client) = server_with(&[]).await;
    let wide =
        SimilarAddressCheck { min_local_part_similarity_bps: Some(5_000), ..Default::default() };
    let checks = FraudChecks { similar_address: Some(wide), ..Default::default() };
    client.publish(checked(POINTS, checks)).await.unwrap();
    sign_up_all_sorts(&client).await;
    let rejected = ["member-0", "member-4"];
    let all = flags(&client).await;
    for flag in &all {
        let referee = flag.referee.clone().unwrap().user_id;
        let decision = if rejected.contains(&&*referee) {
            FraudDecision::Rejected
        } else {
            FraudDecision::Released
        };
        resolve(&client, &flag.flag_id, decision, "").await.unwrap();
    }
    assert!(all.len() > 2, "some were released");

    // The default is as good, and finds only those.
    let checks = FraudChecks {
        similar_address: Some(SimilarAddressCheck::default()),
        same_mailbox: with_policy(FraudPolicy::Flag),
        ..Default::default()
    };
    newest(&client).await;
    let before = database.count("select count(*) from events").await;
    let simulated = simulate(&client, of_program(POINTS, Some(checks))).await.unwrap();
    let near = quality(&simulated.summary, FraudFlagKind::NearDuplicate);
    assert!(simulated.flags.contains_key("member-4"));
    assert_eq!((near.rejected, near.recall_bps), (1, Some(5_000)));
    let own = quality(&simulated.summary, FraudFlagKind::SelfReferral);
    assert_eq!((own.rejected, own.released, own.precision_bps), (1, 0, Some(10_000)));
    let together = quality(&simulated.summary, FraudFlagKind::Unspecified);
    assert_eq!((together.recall_bps, simulated.summary.rejected), (Some(10_000), 2));
    // Nobody was flagged for a mailbox when they signed up.
    let mailbox = quality(&simulated.summary, FraudFlagKind::SameMailbox);
    assert_eq!((mailbox.flagged, mailbox.undecided + mailbox.released), (1, 1));
    assert_eq!(database.count("select count(*) from events").await, before, "nothing is recorded");

    let none = SimulateFraudRequest {
        to_time: Some(prost_types::Timestamp { seconds: 1_000_000_000, nanos: 0 }),
        ..of_program(POINTS, Some(checks))
    };
    let simulated = simulate(&client, none).await.unwrap();
    assert_eq!(simulated.summary.referrals_examined, 0);
    assert_eq!(quality(&simulated.summary, FraudFlagKind::Unspecified).precision_bps, None);
    let wrong = FraudChecks {
        similar_address: Some(SimilarAddressCheck {
            min_similarity_bps: Some(10_001),
            ..Default::default()
        }),
        ..Default::default()
    };
    let status = refused(
        simulate(&client, of_program(POINTS, Some(wrong))).await.map(|_| ()),
        Code::InvalidArgument,
        "INVALID_FIELD",
    );
    assert!(status.message().contains("checks.similar_address.min_similarity_bps"), "{status:?}");
    let unknown = simulate(&client, of_program("nothing", None)).await.map(|_| ());
    refused(unknown, Code::NotFound, "PROGRAM_NOT_FOUND");
    server.stop().await;
    database.check().await;
}
