//! Adjustments of balances by operators, approvals by others, and the notes about both.

use contract::pb::*;
use serde_json::Value;
use tonic::{Code, Status};

use super::keys::{fact, holder, wanted, with};
use super::roles::person;
use super::support::{refused, server_with};
use testing::{ADMIN_KEY, Client, Server, ServerOptions, TestDatabase, sign_up_request};

const LINES: &str = "multi-level-commission";
const BONUS: &str = "first-purchase-bonus";

/// An adjustment of a balance in the program of lines.
fn adjustment(user_id: &str, adjustment_id: &str, minor_units: i64) -> AdjustBalanceRequest {
    AdjustBalanceRequest {
        program_id: LINES.into(),
        user_id: user_id.into(),
        adjustment_id: adjustment_id.into(),
        amount: Some(Money { currency_code: "INR".into(), minor_units }),
        reason_code: "goodwill".into(),
        ..Default::default()
    }
}

async fn adjust(
    client: &Client,
    message: AdjustBalanceRequest,
) -> Result<AdjustBalanceResponse, Status> {
    Ok(client.rewards().adjust_balance(client.request(message)).await?.into_inner())
}

async fn approve(client: &Client, approval_id: &str) -> Result<ApproveResponse, Status> {
    let message = ApproveRequest { approval_id: approval_id.into(), ..Default::default() };
    Ok(client.rewards().approve(client.request(message)).await?.into_inner())
}

async fn decline(
    client: &Client,
    approval_id: &str,
    note: &str,
) -> Result<DeclineResponse, Status> {
    let (approval_id, note) = (approval_id.into(), note.into());
    let message = DeclineRequest { approval_id, note, ..Default::default() };
    Ok(client.rewards().decline(client.request(message)).await?.into_inner())
}

/// A token of everything that was written so far: reads of a server that does not fold may be a moment behind.
pub(super) async fn newest(client: &Client) -> String {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let marker = sign_up_request("", &format!("marker-{}", now.as_nanos()), "");
    with(client, ADMIN_KEY).register(marker).await.unwrap().consistency_token
}

async fn list(client: &Client, message: ListApprovalsRequest) -> ListApprovalsResponse {
    let consistency_token = newest(client).await;
    let message = ListApprovalsRequest { consistency_token, ..message };
    client.rewards().list_approvals(client.request(message)).await.unwrap().into_inner()
}

async fn balance(client: &Client, user_id: &str) -> i64 {
    let message = GetBalancesRequest {
        program_id: LINES.into(),
        user_id: user_id.into(),
        consistency_token: newest(client).await,
        ..Default::default()
    };
    let answer = client.rewards().get_balances(client.request(message)).await.unwrap();
    answer.into_inner().balances[0].minor_units
}

async fn entries(client: &Client, user_id: &str) -> Vec<BalanceEntry> {
    let message = ListBalanceEntriesRequest {
        program_id: LINES.into(),
        user_id: user_id.into(),
        consistency_token: newest(client).await,
        ..Default::default()
    };
    let answer = client.rewards().list_balance_entries(client.request(message)).await.unwrap();
    answer.into_inner().entries
}

/// Ana has earned 5000 by a purchase of bob's.
async fn with_earnings() -> (TestDatabase, Server, Client) {
    let (database, server, client) = server_with(&[LINES, BONUS]).await;
    let code = client.sign_up(LINES, "ana", "").await.unwrap().code;
    client.sign_up(LINES, "bob", &code).await.unwrap();
    client.buy("order-1", "bob", "INR", 100_000).await.unwrap();
    (database, server, client)
}

#[tokio::test]
async fn an_adjustment_is_an_entry_with_its_reason_code_and_changes_no_earnings() {
    let (database, server, client) = with_earnings().await;
    let watch = WatchBalancesRequest {
        program_id: LINES.into(),
        user_id: "ana".into(),
        ..Default::default()
    };
    let watch = client.rewards().watch_balances(client.request(watch)).await;
    let mut stream = watch.unwrap().into_inner();
    let present = stream.message().await.unwrap().unwrap();
    assert_eq!(present.balances[0].minor_units, 5_000);

    let made = adjust(&client, adjustment("ana", "ticket-7", -6_000)).await.unwrap();
    assert_eq!((made.state(), &*made.approval_id), (ApprovalState::Waived, ""));
    let entry = made.entry.clone().unwrap();
    assert_eq!((entry.kind(), &*entry.reason_code), (EntryKind::Adjustment, "goodwill"));
    assert_eq!((&*entry.adjustment_id, &*made.adjustment_id), ("ticket-7", "ticket-7"));
    assert_eq!(entry.balance.clone().unwrap().minor_units, -1_000);
    assert_eq!(entries(&client, "ana").await[0], entry);
    assert_eq!(entries(&client, "ana").await.len(), 2);

    let change = loop {
        let message = stream.message().await.unwrap().unwrap();
        if message.change.is_some() {
            break message;
        }
    };
    assert_eq!(change.change.unwrap().minor_units, -6_000);
    assert_eq!(change.balances[0].minor_units, -1_000);
    drop(stream);

    let earnings = GetEarningsRequest {
        program_id: LINES.into(),
        user_id: "ana".into(),
        consistency_token: newest(&client).await,
        ..Default::default()
    };
    let earnings = client.rewards().get_earnings(client.request(earnings)).await.unwrap();
    assert_eq!(earnings.into_inner().total.unwrap().minor_units, 5_000);
    let board = GetLeaderboardRequest {
        program_id: LINES.into(),
        consistency_token: newest(&client).await,
        ..Default::default()
    };
    let board = client.leaderboards().get_leaderboard(client.request(board)).await.unwrap();
    let board = board.into_inner();
    let score = |user: &str| board.entries.iter().find(|of| of.user_id == user).map(|of| of.score);
    assert_eq!(score("ana"), Some(5_000), "an adjustment is no earning: {board:?}");

    // Later rewards offset the debt. The id is good for a first answer, and for no other adjustment.
    client.buy("order-2", "bob", "INR", 100_000).await.unwrap();
    assert_eq!(balance(&client, "ana").await, 4_000);
    let again = adjust(&client, adjustment("ana", "ticket-7", -6_000)).await.unwrap();
    assert_eq!((again.state(), again.entry), (ApprovalState::Waived, made.entry));
    let other = adjust(&client, adjustment("ana", "ticket-7", -5_999)).await;
    refused(other, Code::AlreadyExists, "ADJUSTMENT_ID_REUSED");
    let other =
        AdjustBalanceRequest { reason_code: "x".into(), ..adjustment("ana", "ticket-7", -6_000) };
    refused(adjust(&client, other).await, Code::AlreadyExists, "ADJUSTMENT_ID_REUSED");
    // Without an id, each call is another adjustment.
    let one = adjust(&client, adjustment("ana", "", 1)).await.unwrap();
    let two = adjust(&client, adjustment("ana", "", 1)).await.unwrap();
    assert_ne!(one.adjustment_id, two.adjustment_id);
    assert_eq!(balance(&client, "ana").await, 4_002);
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn adjustments_with_faults_are_refused_with_the_name_of_each_field() {
    let (database, server, client) = with_earnings().await;
    let good = || adjustment("ana", "a", 1);
    let money = |currency_code: &str, minor_units| {
        Some(Money { currency_code: currency_code.into(), minor_units })
    };
    let most = 1_000_000_000_000_000;
    for (message, field, reason) in [
        (AdjustBalanceRequest { amount: None, ..good() }, "amount", "FIELD_REQUIRED"),
        (
            AdjustBalanceRequest { amount: money("INR", 0), ..good() },
            "amount.minor_units",
            "AMOUNT_IS_ZERO",
        ),
        (
            AdjustBalanceRequest { amount: money("INR", -most - 1), ..good() },
            "amount.minor_units",
            "AMOUNT_TOO_LARGE",
        ),
        (
            AdjustBalanceRequest { amount: money("inr", 1), ..good() },
            "amount.currency_code",
            "INVALID_CURRENCY",
        ),
        (
            AdjustBalanceRequest { reason_code: String::new(), ..good() },
            "reason_code",
            "FIELD_REQUIRED",
        ),
        (
            AdjustBalanceRequest { reason_code: "Good will".into(), ..good() },
            "reason_code",
            "INVALID_REASON_CODE",
        ),
        (
            AdjustBalanceRequest { reason_code: "x".repeat(65), ..good() },
            "reason_code",
            "INVALID_REASON_CODE",
        ),
        (AdjustBalanceRequest { note: "x".repeat(501), ..good() }, "note", "FIELD_TOO_LONG"),
        (AdjustBalanceRequest { note: "two\nlines".into(), ..good() }, "note", "INVALID_NOTE"),
        (AdjustBalanceRequest { note: "\0".into(), ..good() }, "note", "NUL_CHARACTER"),
        (
            AdjustBalanceRequest { adjustment_id: "a/b".into(), ..good() },
            "adjustment_id",
            "INVALID_ID",
        ),
    ] {
        let status =
            refused(adjust(&client, message).await, Code::InvalidArgument, "INVALID_FIELD");
        let details = format!("{:?}", tonic_types::StatusExt::get_error_details(&status));
        assert!(details.contains(field) && details.contains(reason), "{reason}: {details}");
    }
    let dollars = AdjustBalanceRequest { amount: money("USD", 1), ..good() };
    let status =
        refused(adjust(&client, dollars).await, Code::FailedPrecondition, "CURRENCY_MISMATCH");
    assert_eq!(fact(&status, "currency_code"), "INR");
    refused(adjust(&client, adjustment("zoe", "a", 1)).await, Code::NotFound, "USER_NOT_FOUND");
    client.sign_up("", "eve", "").await.unwrap();
    let outside = adjust(&client, adjustment("eve", "a", 1)).await;
    refused(outside, Code::NotFound, "PARTICIPANT_NOT_FOUND");
    for unknown in ["spring/ana/adjustment:x", &format!("{LINES}/ana/adjustment:x")] {
        refused(approve(&client, unknown).await, Code::NotFound, "APPROVAL_NOT_FOUND");
        refused(decline(&client, unknown, "").await, Code::NotFound, "APPROVAL_NOT_FOUND");
    }
    refused(approve(&client, "x").await, Code::InvalidArgument, "INVALID_FIELD");
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn a_large_adjustment_waits_for_another_person_who_approves_or_declines_it() {
    let (database, server, client) = with_earnings().await;
    let olga = person(&client, "olga", UserRole::Operator).await;
    let otto = person(&client, "otto", UserRole::Operator).await;
    let wanted =
        AdjustBalanceRequest { note: "lost parcel".into(), ..adjustment("ana", "a", 100_001) };
    let asked = adjust(&olga, wanted.clone()).await.unwrap();
    assert_eq!((asked.state(), &asked.entry), (ApprovalState::Pending, &None));
    assert_eq!(balance(&client, "ana").await, 5_000);

    let own = approve(&olga, &asked.approval_id).await;
    let own = refused(own, Code::FailedPrecondition, "SELF_APPROVAL");
    assert_eq!(fact(&own, "why"), "same_person");
    let approved = approve(&otto, &asked.approval_id).await.unwrap();
    assert_eq!(approved.entry.clone().unwrap().amount.unwrap().minor_units, 100_001);
    let approval = approved.approval.unwrap();
    assert_eq!(approval.state(), ApprovalState::Approved);
    assert_eq!((&*approval.asked_by, &*approval.decided_by), ("user:olga", "user:otto"));
    assert_eq!((&*approval.program_id, &*approval.user_id), (LINES, "ana"));
    assert_eq!((&*approval.note, &*approval.decline_note), ("lost parcel", ""));
    let Some(approval::Asked::Adjustment(of)) = &approval.asked else { panic!("{approval:?}") };
    assert_eq!((&*of.adjustment_id, &*of.reason_code), ("a", "goodwill"));
    assert_eq!(of.amount.clone().unwrap().minor_units, 100_001);
    assert_eq!(balance(&client, "ana").await, 105_001);

    // Whoever repeats gets the first answer.
    let again = approve(&client, &asked.approval_id).await.unwrap();
    assert_eq!((again.entry, again.approval.unwrap()), (approved.entry, approval));
    let again = adjust(&olga, wanted).await.unwrap();
    assert_eq!((again.state(), &again.approval_id), (ApprovalState::Pending, &asked.approval_id));
    assert_eq!(balance(&client, "ana").await, 105_001);
    let late = decline(&otto, &asked.approval_id, "").await;
    refused(late, Code::FailedPrecondition, "APPROVAL_DECIDED");

    let asked = adjust(&olga, adjustment("ana", "b", -100_001)).await.unwrap();
    let declined = decline(&otto, &asked.approval_id, "no such parcel").await.unwrap();
    let approval = declined.approval.unwrap();
    assert_eq!(
        (approval.state(), &*approval.decline_note),
        (ApprovalState::Declined, "no such parcel")
    );
    let again = decline(&client, &asked.approval_id, "another").await.unwrap();
    assert_eq!(again.approval.unwrap(), approval);
    let late = approve(&client, &asked.approval_id).await;
    let status = refused(late, Code::FailedPrecondition, "APPROVAL_DECIDED");
    assert_eq!(super::keys::fact(&status, "state"), "declined");

    // Lists: newest first, in pages, by state, program and user.
    adjust(&olga, adjustment("bob", "c", 200_000)).await.unwrap();
    let all = list(&otto, ListApprovalsRequest::default()).await.approvals;
    let named = |approvals: &[Approval]| {
        approvals.iter().map(|of| (of.user_id.clone(), of.state())).collect::<Vec<_>>()
    };
    let (pending, approved, declined) =
        (ApprovalState::Pending, ApprovalState::Approved, ApprovalState::Declined);
    let expected = [("bob".into(), pending), ("ana".into(), declined), ("ana".into(), approved)];
    assert_eq!(named(&all), expected);
    for (index, state) in [pending, declined, approved].into_iter().enumerate() {
        let of = ListApprovalsRequest { state: state.into(), ..Default::default() };
        assert_eq!(list(&otto, of).await.approvals, all[index..=index]);
    }
    let of_ana = ListApprovalsRequest { user_id: "ana".into(), ..Default::default() };
    assert_eq!(list(&otto, of_ana).await.approvals, all[1..]);
    let of_lines = ListApprovalsRequest { program_id: LINES.into(), ..Default::default() };
    assert_eq!(list(&otto, of_lines).await.approvals, all);
    let of_bonus = ListApprovalsRequest { program_id: BONUS.into(), ..Default::default() };
    assert_eq!(list(&otto, of_bonus).await.approvals, []);
    let mut paged = Vec::new();
    let mut page = ListApprovalsRequest { page_size: 2, ..Default::default() };
    loop {
        let answer = list(&otto, page.clone()).await;
        paged.extend(answer.approvals);
        page.page_token = answer.next_page_token;
        if page.page_token.is_empty() {
            break;
        }
    }
    assert_eq!(paged, all);
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn the_same_person_is_recognised_behind_a_key_and_keys_of_other_programs_find_nothing() {
    let (database, server, client) = with_earnings().await;
    let amy = person(&client, "amy", UserRole::Admin).await;
    let otto = person(&client, "otto", UserRole::Admin).await;
    let (key_of_amy, _) = holder(&amy, wanted("amy's", ApiKeyRole::Admin)).await;
    let (key_of_otto, _) = holder(&otto, wanted("otto's", ApiKeyRole::Admin)).await;
    let limited = |program: &str| CreateApiKeyRequest {
        program_ids: vec![program.into()],
        ..wanted("limited", ApiKeyRole::Admin)
    };
    let (of_bonus, _) = holder(&client, limited(BONUS)).await;
    let (of_lines, _) = holder(&client, limited(LINES)).await;

    let asked = adjust(&key_of_amy, adjustment("ana", "a", 200_000)).await.unwrap();
    for own in [&amy, &key_of_amy] {
        let refusal = approve(own, &asked.approval_id).await;
        refused(refusal, Code::FailedPrecondition, "SELF_APPROVAL");
    }
    let unknown = approve(&of_bonus, &asked.approval_id).await;
    refused(unknown, Code::NotFound, "APPROVAL_NOT_FOUND");
    let unknown = decline(&of_bonus, &asked.approval_id, "").await;
    refused(unknown, Code::NotFound, "APPROVAL_NOT_FOUND");
    let beyond = adjust(&of_bonus, adjustment("ana", "b", 1)).await;
    refused(beyond, Code::PermissionDenied, "PERMISSION_DENIED");
    approve(&key_of_otto, &asked.approval_id).await.unwrap();

    let asked = adjust(&client, adjustment("ana", "b", 200_000)).await.unwrap();
    let own = approve(&client, &asked.approval_id).await;
    refused(own, Code::FailedPrecondition, "SELF_APPROVAL");
    // Neither is a key that was created with the key that asked somebody else, nor one that was created with that key.
    let (made, _) = holder(&client, wanted("made", ApiKeyRole::Admin)).await;
    let (child, _) = holder(&made, wanted("child", ApiKeyRole::Admin)).await;
    for own in [&of_lines, &made, &child] {
        let refusal = approve(own, &asked.approval_id).await;
        let own = refused(refusal, Code::FailedPrecondition, "SELF_APPROVAL");
        assert_eq!(fact(&own, "why"), "same_key");
    }
    approve(&key_of_otto, &asked.approval_id).await.unwrap();

    // An adjustment of one's own balance waits, however small it is, and for somebody else.
    let own = AdjustBalanceRequest { program_id: LINES.into(), ..adjustment("otto", "c", 1) };
    super::support::enroll(&client, LINES, "otto", "").await.unwrap();
    let asked = adjust(&otto, own).await.unwrap();
    assert_eq!(asked.state(), ApprovalState::Pending);
    for own in [&otto, &key_of_otto] {
        let refusal = approve(own, &asked.approval_id).await;
        let own = refused(refusal, Code::FailedPrecondition, "SELF_APPROVAL");
        assert_eq!(fact(&own, "why"), "own_balance");
        assert!(own.message().contains("the caller's own balance"), "{own:?}");
    }
    approve(&amy, &asked.approval_id).await.unwrap();
    assert_eq!((balance(&client, "ana").await, balance(&client, "otto").await), (405_000, 1));

    // Nobody else may call any of it.
    let zoe = person(&client, "zoe", UserRole::Participant).await;
    let (service, _) = holder(&client, wanted("shop", ApiKeyRole::Service)).await;
    for caller in [&zoe, &service] {
        let denied = adjust(caller, adjustment("ana", "d", 1)).await;
        refused(denied, Code::PermissionDenied, "PERMISSION_DENIED");
        let denied = approve(caller, &asked.approval_id).await;
        refused(denied, Code::PermissionDenied, "PERMISSION_DENIED");
    }
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn with_a_limit_of_0_each_adjustment_waits() {
    let database = TestDatabase::new().await;
    let arguments = vec!["--adjustment-limit".into(), "0".into()];
    let server = Server::start_with(&database.url, &ServerOptions { arguments }).await;
    let client = server.client();
    client.publish_shipped(LINES).await;
    client.sign_up(LINES, "ana", "").await.unwrap();
    let asked = adjust(&client, adjustment("ana", "a", -1)).await.unwrap();
    assert_eq!(asked.state(), ApprovalState::Pending);
    assert_eq!(balance(&client, "ana").await, 0);
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn notes_are_beside_the_log_are_exported_and_erased_with_the_user_who_can_be_paid_no_more() {
    const REQUEST: &str = "Zanzibar parcel";
    const DECLINE: &str = "Timbuktu refusal";
    let (database, server, client) = with_earnings().await;
    let otto = person(&client, "otto", UserRole::Operator).await;
    let note = |note: &str, of| AdjustBalanceRequest { note: note.into(), ..of };
    adjust(&client, note(REQUEST, adjustment("ana", "small", 1))).await.unwrap();
    let declined = adjust(&client, adjustment("ana", "declined", 200_000)).await.unwrap();
    decline(&otto, &declined.approval_id, DECLINE).await.unwrap();
    let open = adjust(&client, note(REQUEST, adjustment("ana", "open", 200_000))).await.unwrap();
    adjust(&client, note("about bob", adjustment("bob", "small", 1))).await.unwrap();
    for text in [REQUEST, DECLINE] {
        let in_log = format!("select count(*) from events as e where e::text like '%{text}%'");
        assert_eq!(database.count(&in_log).await, 0, "{text}");
    }
    let authors: Vec<String> = sqlx::query_scalar("select author from notes order by number")
        .fetch_all(&database.pool)
        .await
        .unwrap();
    assert_eq!(authors, ["key:admin", "user:otto", "key:admin", "key:admin"]);

    let document: Value = serde_json::from_str(&client.export("ana").await.unwrap()).unwrap();
    let notes = document["notes"].as_array().unwrap();
    let texts: Vec<&str> = notes.iter().map(|of| of["note"].as_str().unwrap()).collect();
    assert_eq!(texts, [REQUEST, DECLINE, REQUEST]);
    assert!(
        !document.to_string().contains("otto"),
        "who decided is nobody's business but the operators'"
    );

    client.erase("ana", true).await.unwrap();
    let left: Vec<String> =
        sqlx::query_scalar("select note from notes").fetch_all(&database.pool).await.unwrap();
    assert_eq!(left, ["about bob"]);
    let listed = list(&otto, ListApprovalsRequest::default()).await.approvals;
    assert_eq!(listed.len(), 2);
    assert!(listed.iter().all(|of| of.note.is_empty() && of.decline_note.is_empty()));

    // What is about somebody who was erased can be declined only, and no note about it is kept.
    let late = approve(&otto, &open.approval_id).await;
    refused(late, Code::NotFound, "USER_NOT_FOUND");
    decline(&otto, &open.approval_id, "erased").await.unwrap();
    assert_eq!(database.count("select count(*) from notes").await, 1);
    server.stop().await;
    database.check().await;
}
