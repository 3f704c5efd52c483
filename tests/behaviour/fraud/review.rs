//! What operators see and decide.

use contract::pb::*;
use tonic::{Code, Status};
use tonic_types::StatusExt;

use super::*;
use crate::support::{log_length, refused, server_with};

/// A key of a role.
async fn key_of(client: &Client, role: ApiKeyRole) -> String {
    let request = CreateApiKeyRequest {
        name: "of a reviewer".into(),
        role: role.into(),
        ..Default::default()
    };
    let answer = client.accounts().create_api_key(client.request(request)).await.unwrap();
    answer.into_inner().api_key
}

/// Three held referrals of one referrer, the referees being `one`, `two` and `three`.
pub(super) async fn three_held(client: &Client) -> String {
    let code = join(client, "john", "john.smith@mail.example", "").await.code;
    for (name, email) in [
        ("one", "john.smith1@mail.example"),
        ("two", "j0hn.smith@mail.example"),
        ("three", "john.smiht@mail.example"),
    ] {
        let joined = join(client, name, email, &code).await;
        assert_eq!(joined.referral_status(), ReferralStatus::Held, "{name}");
    }
    code
}

pub(super) async fn flag_of(client: &Client, user_id: &str) -> FraudFlag {
    let filter = ListFraudFlagsRequest { user_id: user_id.into(), ..Default::default() };
    let flags = list(client, filter).await;
    let own = |flag: &FraudFlag| flag.referee.as_ref().is_some_and(|of| of.user_id == user_id);
    flags.into_iter().find(own).expect("a flag of the user")
}

#[tokio::test]
async fn a_released_referral_counts_and_its_pair_is_not_flagged_again() {
    let (database, server, client) = server_with(&[]).await;
    let similar =
        FraudChecks { similar_address: Some(SimilarAddressCheck::default()), ..Default::default() };
    client.publish(checked(POINTS, similar)).await.unwrap();
    client.publish(checked(COMMISSION, similar)).await.unwrap();
    three_held(&client).await;
    let flag = flag_of(&client, "one").await;
    assert_eq!((flag.state(), flag.decision()), (FraudFlagState::Open, FraudDecision::Unspecified));
    assert_eq!(earned(&client, POINTS, "john").await, 0);

    let before = log_length(&database).await;
    let released = resolve(&client, &flag.flag_id, FraudDecision::Released, "twins").await.unwrap();
    assert_eq!(
        (released.state(), released.decision()),
        (FraudFlagState::Resolved, FraudDecision::Released)
    );
    assert_eq!(released.resolved_by, "key:admin");
    assert!(released.resolve_time.is_some());
    assert_eq!(released.notes[0].note, "twins");
    assert_eq!(released.referral_status(), ReferralStatus::Converted);
    assert_eq!(earned(&client, POINTS, "john").await, 10);
    // The same decision again changes nothing, and neither does its note.
    let length = log_length(&database).await;
    assert!(length > before);
    let again =
        resolve(&client, &flag.flag_id, FraudDecision::Released, "once more").await.unwrap();
    assert_eq!(again.notes.len(), 1);
    let decided = "select count(*) from events where event_type = 'FraudFlagResolved'";
    assert_eq!(database.count(decided).await, 1);

    // In another program the two are referrer and referee again.
    let entered = crate::support::enroll(&client, COMMISSION, "john", "").await.unwrap();
    let code = entered.participant.unwrap().code;
    let entered = crate::support::enroll(&client, COMMISSION, "one", &code).await.unwrap();
    assert_eq!(entered.participant.unwrap().referral_status(), ReferralStatus::Pending);
    // Others still are.
    let entered = crate::support::enroll(&client, COMMISSION, "two", &code).await.unwrap();
    assert_eq!(entered.participant.unwrap().referral_status(), ReferralStatus::Held);
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn a_rejected_referral_gives_its_place_back_and_a_changed_decision_is_a_second_event() {
    let (database, server, client) = server_with(&[POINTS]).await;
    three_held(&client).await;
    let flag = flag_of(&client, "two").await;
    let rejected = resolve(&client, &flag.flag_id, FraudDecision::Rejected, "").await.unwrap();
    assert_eq!(rejected.referral_status(), ReferralStatus::Rejected);
    let stats = GetReferralStatsRequest {
        program_id: POINTS.into(),
        user_id: "john".into(),
        consistency_token: newest(&client).await,
    };
    let stats = client.referrals().get_referral_stats(client.request(stats)).await.unwrap();
    let stats = stats.into_inner();
    assert_eq!((stats.held_count, stats.uses), (2, 2), "the place is free");
    let released = resolve(&client, &flag.flag_id, FraudDecision::Released, "").await.unwrap();
    assert_eq!(released.referral_status(), ReferralStatus::Converted);
    assert_eq!(earned(&client, POINTS, "john").await, 10);
    let events: Vec<String> = sqlx::query_scalar(
        "select payload ->> 'decision' from events where event_type = 'FraudFlagResolved' order by position",
    )
    .fetch_all(&database.pool)
    .await
    .unwrap();
    assert_eq!(events, ["rejected", "released"]);

    let flag = flag_of(&client, "three").await;
    let decision = FraudDecision::RejectedAndDeactivated;
    resolve(&client, &flag.flag_id, decision, "a farm").await.unwrap();
    let user = client.user("three").await.unwrap().user.unwrap();
    assert_eq!(user.status(), UserStatus::Inactive);
    let last = resolve(&client, &flag.flag_id, FraudDecision::Released, "no farm").await.unwrap();
    let written: Vec<_> =
        last.notes.iter().map(|of| (of.number, of.decision(), of.note.as_str())).collect();
    assert_eq!(written, [(2, FraudDecision::Released, "no farm"), (1, decision, "a farm")]);
    let user = client.user("three").await.unwrap().user.unwrap();
    assert_eq!(user.status(), UserStatus::Inactive, "ReactivateUser does that");
    server.stop().await;
    database.check().await;
}

/// As with `DeactivateUser`: whoever could deactivate an admin would be one.
#[tokio::test]
async fn an_operator_deactivates_no_operator_by_a_decision_and_an_admin_does() {
    let (database, server, client) = server_with(&[POINTS]).await;
    three_held(&client).await;
    let flag = flag_of(&client, "three").await;
    let operator = crate::roles::person(&client, "olga", UserRole::Operator).await;
    let promote = SetUserRoleRequest {
        user_id: "three".into(),
        role: UserRole::Operator.into(),
        ..Default::default()
    };
    client.accounts().set_user_role(client.request(promote)).await.unwrap();
    let decide = |as_whom: Client| {
        let flag_id = flag.flag_id.clone();
        async move { resolve(&as_whom, &flag_id, FraudDecision::RejectedAndDeactivated, "").await }
    };
    refused(decide(operator).await, Code::PermissionDenied, "PERMISSION_DENIED");
    let status = |user: GetUserResponse| user.user.unwrap().status();
    assert_eq!(status(client.user("three").await.unwrap()), UserStatus::Active);
    assert_eq!(flag_of(&client, "three").await.state(), FraudFlagState::Open);
    decide(client.clone()).await.unwrap();
    assert_eq!(status(client.user("three").await.unwrap()), UserStatus::Inactive);
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn flags_are_listed_open_first_by_every_filter_and_in_pages() {
    let (database, server, client) = server_with(&[POINTS, COMMISSION]).await;
    let code = three_held(&client).await;
    join(&client, "four", "john.smith+4@mail.example", &code).await;
    let four = flag_of(&client, "four").await;
    assert_eq!(four.kind(), FraudFlagKind::SameMailbox);
    resolve(&client, &four.flag_id, FraudDecision::Rejected, "").await.unwrap();

    let names = |flags: &[FraudFlag]| -> Vec<String> {
        flags.iter().map(|flag| flag.referee.clone().unwrap().user_id).collect()
    };
    let all = names(&flags(&client).await);
    assert_eq!(all, ["three", "two", "one", "four"], "open ones first");
    let mut paged = Vec::new();
    let mut page_token = String::new();
    loop {
        let request = ListFraudFlagsRequest { page_size: 1, page_token, ..Default::default() };
        let page = client.fraud().list_fraud_flags(client.request(request)).await.unwrap();
        let page = page.into_inner();
        paged.extend(names(&page.flags));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    assert_eq!(paged, all);
    let of = |filter: ListFraudFlagsRequest| {
        let client = client.clone();
        async move { names(&list(&client, filter).await) }
    };
    let none = ListFraudFlagsRequest::default;
    let kind = FraudFlagKind::SameMailbox.into();
    assert_eq!(of(ListFraudFlagsRequest { kind, ..none() }).await, ["four"]);
    let state = FraudFlagState::Resolved.into();
    assert_eq!(of(ListFraudFlagsRequest { state, ..none() }).await, ["four"]);
    let program_id = COMMISSION.to_owned();
    assert!(of(ListFraudFlagsRequest { program_id, ..none() }).await.is_empty());
    let user_id = "john".to_owned();
    assert_eq!(of(ListFraudFlagsRequest { user_id, ..none() }).await, all);
    let user_id = "one".to_owned();
    assert!(of(ListFraudFlagsRequest { user_id, ..none() }).await.contains(&"one".to_owned()));
    // `one` is a referee of one flag, and may be the other of others.
    let referee_user_id = "one".to_owned();
    assert_eq!(of(ListFraudFlagsRequest { referee_user_id, ..none() }).await, ["one"]);
    let referee_user_id = "john".to_owned();
    assert!(of(ListFraudFlagsRequest { referee_user_id, ..none() }).await.is_empty());
    let referrer_user_id = "john".to_owned();
    assert_eq!(of(ListFraudFlagsRequest { referrer_user_id, ..none() }).await, all);
    let both = ListFraudFlagsRequest {
        user_id: "four".into(),
        referee_user_id: "four".into(),
        referrer_user_id: "john".into(),
        ..none()
    };
    assert_eq!(of(both.clone()).await, ["four"]);
    let contradiction = ListFraudFlagsRequest { referrer_user_id: "four".into(), ..both };
    assert!(of(contradiction).await.is_empty());
    let unknown = ListFraudFlagsRequest { program_id: "nothing".into(), ..none() };
    let answer = client.fraud().list_fraud_flags(client.request(unknown)).await;
    refused(answer, Code::NotFound, "PROGRAM_NOT_FOUND");
    let (start_time, end_time) = (four.raise_time, four.raise_time);
    assert_eq!(of(ListFraudFlagsRequest { start_time, ..none() }).await, ["four"]);
    assert_eq!(of(ListFraudFlagsRequest { end_time, ..none() }).await, ["three", "two", "one"]);
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn addresses_are_masked_unless_the_caller_is_an_admin_and_go_with_the_user() {
    let (database, server, client) = server_with(&[POINTS]).await;
    three_held(&client).await;
    let flag_id = flag_of(&client, "one").await.flag_id;
    resolve(&client, &flag_id, FraudDecision::Rejected, "said by phone").await.unwrap();
    let operator = crate::roles::person(&client, "olga", UserRole::Operator).await;
    let get = |client: Client| {
        let request = GetFraudFlagRequest { flag_id: flag_id.clone(), ..Default::default() };
        async move {
            let answer = client.fraud().get_fraud_flag(client.request(request)).await?;
            Ok::<_, Status>(answer.into_inner().flag.unwrap())
        }
    };
    let whole = get(client.clone()).await.unwrap();
    let masked = get(operator).await.unwrap();
    let emails = |flag: &FraudFlag| {
        [&flag.referee, &flag.referrer, &flag.other].map(|of| of.clone().unwrap().email)
    };
    assert_eq!(
        emails(&whole),
        ["john.smith1@mail.example", "john.smith@mail.example", "john.smith@mail.example"]
    );
    assert_eq!(
        emails(&masked),
        ["**********1@mail.example", "**********@mail.example", "**********@mail.example"],
        "what differs is shown"
    );
    assert_eq!(
        (whole.shared_parts, masked.shared_parts),
        (vec!["john.smith".to_owned()], vec!["*".repeat(10)])
    );
    let note = &masked.notes[0];
    assert_eq!((&*note.note, note.decision()), ("said by phone", FraudDecision::Rejected));
    assert_eq!(note.author, "key:admin");
    // Back ends are no reviewers, and neither are users.
    let key = key_of(&client, ApiKeyRole::Service).await;
    let other = server.separate_client(Some(&key)).await;
    refused(get(other).await, Code::PermissionDenied, "PERMISSION_DENIED");

    client.erase("john", true).await.unwrap();
    let erased = get(client.clone()).await.unwrap();
    assert!(
        erased.findings.is_empty() && erased.notes.is_empty() && erased.shared_parts.is_empty()
    );
    assert_eq!(emails(&erased).concat(), "");
    assert_eq!((erased.kind, erased.score_bps), (whole.kind, whole.score_bps));
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn decisions_that_cannot_be_made_are_refused_with_what_is_wrong() {
    let (database, server, client) = server_with(&[POINTS]).await;
    let unknown = resolve(&client, "nothing", FraudDecision::Released, "").await;
    refused(unknown, Code::NotFound, "FRAUD_FLAG_NOT_FOUND");
    let request = ResolveFraudFlagRequest {
        note: "n\0".repeat(1_001),
        request_id: "\n".into(),
        ..Default::default()
    };
    let answer = client.fraud().resolve_fraud_flag(client.request(request)).await;
    let status = refused(answer, Code::InvalidArgument, "INVALID_FIELD");
    for field in ["decision", "flag_id", "note", "request_id"] {
        assert!(
            status.message().contains(field) || format!("{status:?}").contains(field),
            "{field}"
        );
    }
    for note in ["two\r\nlines", "\u{202e}desaeler", "zero\u{200b}width"] {
        let answer = resolve(&client, "nothing", FraudDecision::Released, note).await;
        let status = refused(answer, Code::InvalidArgument, "INVALID_FIELD");
        let details = status.get_error_details();
        let fault = &details.bad_request().unwrap().field_violations[0];
        assert_eq!((&*fault.field, &*fault.reason), ("note", "INVALID_NOTE"), "{note:?}");
    }
    let request = ResolveFraudFlagRequest {
        flag_id: "nothing".into(),
        decision: FraudDecision::Released.into(),
        reverse_rewards: true,
        ..Default::default()
    };
    let answer = client.fraud().resolve_fraud_flag(client.request(request)).await;
    let status = refused(answer, Code::InvalidArgument, "INVALID_FIELD");
    assert!(status.message().contains("reverse_rewards"), "{status:?}");
    server.stop().await;
    database.check().await;
}
