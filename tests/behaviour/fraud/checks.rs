//! What each check finds and what follows.

use contract::pb::*;
use tonic::Code;
use tonic_types::StatusExt;

use super::*;
use crate::support::{enroll, refused, server_with};
use testing::{issue_token, sign_up_request};

fn kinds(flag: &FraudFlag) -> (FraudFlagKind, Vec<FraudFlagKind>) {
    (flag.kind(), flag.evidence().collect())
}

#[tokio::test]
async fn the_same_mailbox_rejects_the_referral_and_the_account_stands() {
    let (database, server, client) = server_with(&[POINTS]).await;
    let code = join(&client, "owner", "owner@corp.example", "").await.code;
    join(&client, "ada", "a.da@gmail.com", &code).await;
    let twin = join(&client, "twin", "ADA+second@googlemail.com", &code).await;
    assert_eq!(
        (&*twin.referrer_user_id, twin.referral_status()),
        ("owner", ReferralStatus::Rejected)
    );
    // At other providers dots count, and nothing is the same.
    join(&client, "dot", "li.na@corp.example", &code).await;
    join(&client, "plain", "lina@other.example", &code).await;

    let flag = only_flag(&client).await;
    assert_eq!(flag.kind(), FraudFlagKind::SameMailbox);
    assert_eq!((flag.score_bps, flag.consequence()), (10_000, FraudPolicy::Reject));
    assert_eq!(flag.referral_status(), ReferralStatus::Rejected);
    let [referee, referrer, other] =
        [&flag.referee, &flag.referrer, &flag.other].map(|party| party.clone().unwrap());
    assert_eq!((&*referee.username, &*referee.email), ("twin", "ada+second@googlemail.com"));
    assert_eq!((&*referrer.user_id, &*other.user_id), ("owner", "ada"));
    assert_eq!(other.email, "a.da@gmail.com");
    assert_eq!(earned(&client, POINTS, "owner").await, 30, "three referrals count");
    // The account can do everything else.
    client.sign_up(POINTS, "friend", &twin.code).await.unwrap();
    assert_eq!(earned(&client, POINTS, "twin").await, 10);
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn similar_and_look_alike_addresses_are_held_and_the_gravest_finding_names_the_flag() {
    let (database, server, client) = server_with(&[POINTS]).await;
    let code = join(&client, "john", "john@gmail.com", "").await.code;
    let second = join(&client, "second", "j0hn@gmail.com", &code).await;
    assert_eq!(second.referral_status(), ReferralStatus::Held);
    assert_eq!(second.hold_reasons().collect::<Vec<_>>(), [ReferralHoldReason::Review]);
    let flag = only_flag(&client).await;
    assert_eq!(kinds(&flag), (FraudFlagKind::SelfReferral, vec![FraudFlagKind::LookAlike]));
    assert_eq!((flag.score_bps, flag.consequence()), (9_286, FraudPolicy::Hold));
    assert_eq!(flag.shared_parts, ["j", "hn"]);
    let found: Vec<_> = flag.findings.iter().map(|of| (of.kind(), of.score_bps)).collect();
    assert_eq!(found, [(FraudFlagKind::SelfReferral, 9_286), (FraudFlagKind::LookAlike, 10_000)]);

    // Of another referrer's referees: one like a user (in Cyrillic letters), one like an earlier referee.
    let code = join(&client, "owner", "owner@corp.example", "").await.code;
    let cyrillic = join(&client, "cyrillic", "j\u{43e}hn@gmail.com", &code).await;
    assert_eq!(cyrillic.referral_status(), ReferralStatus::Held);
    join(&client, "farm-seven", "farm7@mail.example", &code).await;
    let eight = join(&client, "farm-eight", "farm8@mail.example", &code).await;
    assert_eq!(eight.referral_status(), ReferralStatus::Held);
    let found: Vec<_> = flags(&client).await.iter().map(kinds).collect();
    assert_eq!(found[0], (FraudFlagKind::NearDuplicate, vec![]));
    assert_eq!(found[1].0, FraudFlagKind::LookAlike);
    assert_eq!(earned(&client, POINTS, "john").await, 0);
    assert_eq!(earned(&client, POINTS, "owner").await, 10, "for farm7 only");
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn teams_on_one_domain_and_families_with_one_name_are_not_flagged() {
    let (database, server, client) = server_with(&[POINTS]).await;
    let code = join(&client, "eve", "eve@company.example", "").await.code;
    for (name, email) in [
        ("ann", "ann@company.example"),
        ("dan", "dan@company.example"),
        ("bob", "bob@company.example"),
        ("maria", "maria.silva@mail.example"),
        ("pedro", "pedro.silva@mail.example"),
        ("uuml", "müller@bücher.example"),
    ] {
        let joined = join(&client, name, email, &code).await;
        assert_eq!(joined.referral_status(), ReferralStatus::Converted, "{name}");
    }
    assert!(flags(&client).await.is_empty());
    // One mailbox of an internationalised domain, in its two forms.
    let again = with_address(POINTS, "again", "MÜLLER+2@xn--bcher-kva.example", &code);
    let again = client.register(again).await.unwrap().participants[0].clone();
    assert_eq!(again.referral_status(), ReferralStatus::Rejected);
    server.stop().await;
    database.check().await;
}

fn from_address(user_id: &str, client_ip: &str) -> RegisterUserRequest {
    RegisterUserRequest { client_ip: client_ip.into(), ..sign_up_request(POINTS, user_id, "") }
}

#[tokio::test]
async fn the_sixth_sign_up_from_one_address_is_refused_and_flagged_once_however_often() {
    let (database, server, client) = server_with(&[POINTS]).await;
    let code = client.sign_up(POINTS, "owner", "").await.unwrap().code;
    // Referred or not, and a network of IPv6 is one address. Those of whom nothing is known do not count.
    for number in 0..5 {
        let request = RegisterUserRequest {
            referral_code: if number % 2 == 0 { code.clone() } else { String::new() },
            ..from_address(&format!("user-{number}"), &format!("2001:db8:1:2::{number}"))
        };
        client.register(request).await.unwrap();
        client.register(from_address(&format!("unknown-{number}"), "")).await.unwrap();
        client.register(from_address(&format!("other-{number}"), "2001:db8:1:3::1")).await.unwrap();
    }
    let before = database.count("select count(*) from events").await;
    for attempt in 0..9 {
        let request =
            from_address(&format!("late-{attempt}"), &format!("2001:db8:1:2:9::{attempt}"));
        let status =
            refused(client.register(request).await, Code::ResourceExhausted, "TOO_MANY_SIGN_UPS");
        let delay = status.get_details_retry_info().unwrap().retry_delay.unwrap();
        assert!((86_000..=86_400).contains(&delay.as_secs()), "{delay:?}");
    }
    // Raised, and told again when the number has doubled: 1, 2, 4, 8.
    assert_eq!(database.count("select count(*) from events").await, before + 4);
    let flag = only_flag(&client).await;
    assert_eq!(flag.kind(), FraudFlagKind::SignUpsPerAddress);
    assert_eq!(flag.occasion(), FraudOccasion::RefusedSignUp);
    assert_eq!((flag.count, flag.sign_ups_of_address), (9, 5));
    assert_eq!(flag.client_address, "2001:db8:1:2:9::");
    assert!(flag.referee.is_none() && flag.referrer.is_none() && flag.other.is_none());
    assert_eq!(flag.sign_ups_before, Some(5));
    // It can be decided about, which changes nothing else.
    let decided = resolve(&client, &flag.flag_id, FraudDecision::Rejected, "").await.unwrap();
    assert_eq!(decided.state(), FraudFlagState::Resolved);
    assert!(only_flag(&client).await.resolve_time.is_some());
    // The tenth to the sixteenth: their number has doubled once more.
    for attempt in 9..16 {
        let request =
            from_address(&format!("late-{attempt}"), &format!("2001:db8:1:2:9::{attempt}"));
        refused(client.register(request).await, Code::ResourceExhausted, "TOO_MANY_SIGN_UPS");
    }
    let again = only_flag(&client).await;
    assert_eq!((again.state(), again.count), (FraudFlagState::Open, 16), "to be looked at again");
    assert_eq!(again.decision(), FraudDecision::Unspecified);
    assert!(again.resolve_time.is_none() && again.resolved_by.is_empty());
    let decided = resolve(&client, &flag.flag_id, FraudDecision::Rejected, "").await.unwrap();
    assert_eq!(decided.state(), FraudFlagState::Resolved, "the same decision counts again");
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn the_address_of_a_callers_own_sign_up_is_that_of_the_connection() {
    let (database, server, client) = server_with(&[POINTS]).await;
    let anybody = server.separate_client(None).await;
    let own = |number: usize| RegisterUserRequest {
        user_id: String::new(),
        password: "Corr3ct-horse!".into(),
        // Not believed.
        client_ip: format!("192.0.2.{number}"),
        ..sign_up_request(POINTS, &format!("user-{number}"), "")
    };
    for number in 0..5 {
        anybody.register(own(number)).await.unwrap();
    }
    refused(anybody.register(own(5)).await, Code::ResourceExhausted, "TOO_MANY_SIGN_UPS");
    let flag = only_flag(&client).await;
    assert_eq!(flag.client_address, "127.0.0.1");
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn later_referrals_are_checked_and_a_new_address_only_flags() {
    let (database, server, client) = server_with(&[]).await;
    let checks = FraudChecks {
        same_mailbox: with_policy(FraudPolicy::Reject),
        similar_address: Some(SimilarAddressCheck::default()),
        ..Default::default()
    };
    client.publish(checked(COMMISSION, checks)).await.unwrap();
    let answer = client.register(with_address(COMMISSION, "ada", "ada@corp.example", "")).await;
    let code = answer.unwrap().participants[0].code.clone();
    // By enrolling later, and by being referred later.
    client.register(with_address("", "twin", "ada+2@corp.example", "")).await.unwrap();
    let entered = enroll(&client, COMMISSION, "twin", &code).await.unwrap();
    assert_eq!(entered.participant.unwrap().referral_status(), ReferralStatus::Rejected);
    client.register(with_address(COMMISSION, "like", "ada4@corp.example", "")).await.unwrap();
    client.refer(COMMISSION, "like", "ada").await.unwrap();
    assert_eq!(place(&client, COMMISSION, "like").await, ReferralStatus::Held);
    client.register(with_address(COMMISSION, "bob", "bob@corp.example", &code)).await.unwrap();
    assert_eq!(flags(&client).await.len(), 2);

    let update = UpdateProfileRequest {
        user_id: "bob".into(),
        email: Some("ada+bob@corp.example".into()),
        ..Default::default()
    };
    client.accounts().update_profile(client.request(update)).await.unwrap();
    let token = issue_token(&database, "bob", "change_email", 900.0).await;
    let confirm = ConfirmEmailRequest { token };
    client.accounts().confirm_email(client.request(confirm)).await.unwrap();
    let of_bob = ListFraudFlagsRequest { user_id: "bob".into(), ..Default::default() };
    let flag = list(&client, of_bob).await.remove(0);
    assert_eq!(flag.kind(), FraudFlagKind::SameMailbox);
    assert_eq!(
        (flag.occasion(), flag.consequence()),
        (FraudOccasion::AddressChange, FraudPolicy::Flag)
    );
    assert_eq!(place(&client, COMMISSION, "bob").await, ReferralStatus::Pending);
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn bursts_are_held_and_referrals_of_each_other_and_disposable_addresses_flagged() {
    let file = std::env::temp_dir().join(format!("disposable-{}", client_marker()));
    std::fs::write(&file, "# ours\nThrowaway.example\n\n").unwrap();
    let arguments = vec!["--disposable-domains".to_owned(), file.display().to_string()];
    let database = testing::TestDatabase::new().await;
    let options = testing::ServerOptions { arguments };
    let server = testing::Server::start_with(&database.url, &options).await;
    let client = server.client();
    let burst = ReferralBurstCheck { max_referrals_per_hour: Some(2), ..Default::default() };
    let checks = FraudChecks {
        referral_burst: Some(burst),
        disposable_domain: with_policy(FraudPolicy::Unspecified),
        mutual_referral: with_policy(FraudPolicy::Unspecified),
        ..Default::default()
    };
    client.publish(checked(COMMISSION, checks)).await.unwrap();
    client.publish(checked(POINTS, checks)).await.unwrap();
    let code = join(&client, "ada", "ada@corp.example", "").await.code;
    let throwaway = join(&client, "bob", "bob@sub.throwaway.example", &code).await;
    assert_eq!(throwaway.referral_status(), ReferralStatus::Converted);
    join(&client, "cid", "cid@corp.example", &code).await;
    let third = join(&client, "dot", "dot@corp.example", &code).await;
    assert_eq!(third.referral_status(), ReferralStatus::Held);
    let found: Vec<_> = flags(&client).await.iter().map(FraudFlag::kind).collect();
    assert_eq!(found, [FraudFlagKind::ReferralBurst, FraudFlagKind::DisposableDomain]);

    // In the other program, those who were referred refer the referrer.
    enroll(&client, COMMISSION, "cid", "").await.unwrap();
    let of_cid = client.user("cid").await.unwrap();
    let place = of_cid.participants.iter().find(|of| of.program_id == COMMISSION).unwrap();
    enroll(&client, COMMISSION, "ada", &place.code).await.unwrap();
    let flag = flags(&client).await.remove(0);
    assert_eq!(flag.kind(), FraudFlagKind::MutualReferral);
    assert_eq!(flag.other.clone().unwrap().user_id, "cid");
    assert!(flag.shared_parts.is_empty(), "the finding is not about addresses");
    assert_eq!(
        (flag.consequence(), flag.referral_status()),
        (FraudPolicy::Flag, ReferralStatus::Pending)
    );
    server.stop().await;
    database.check().await;
    std::fs::remove_file(file).unwrap();
}
