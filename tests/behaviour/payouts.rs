//! Payouts through gRPC, with a job that collects and settles, and statements.

use std::time::Duration;

use contract::parse_program;
use contract::pb::*;
use tonic::{Code, Status};

use super::bad_input::violations;
use super::keys::{fact, holder, wanted, with};
use super::support::{log_length, minor, refused, server_with};
use testing::{
    ADMIN_KEY, Client, Server, ServerOptions, TestDatabase, at_once, program, sign_up_request,
};

const LINES: &str = "multi-level-commission";

pub fn paying() -> Program {
    let json = std::fs::read_to_string(program(LINES)).unwrap();
    Program { pays_out: true, ..parse_program(&json).unwrap() }
}

/// A token of everything that was written so far.
async fn newest(client: &Client) -> String {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let marker = sign_up_request("", &format!("marker-{}", now.as_nanos()), "");
    with(client, ADMIN_KEY).register(marker).await.unwrap().consistency_token
}

async fn adjust(client: &Client, user_id: &str, minor_units: i64) {
    let message = AdjustBalanceRequest {
        program_id: LINES.into(),
        user_id: user_id.into(),
        amount: Some(Money { currency_code: "INR".into(), minor_units }),
        reason_code: "goodwill".into(),
        ..Default::default()
    };
    client.rewards().adjust_balance(client.request(message)).await.unwrap();
}

pub async fn set_method(client: &Client, user_id: &str, reference: &str) -> Result<(), Status> {
    let message = SetPayoutMethodRequest {
        user_id: user_id.into(),
        kind: "sepa".into(),
        reference: reference.into(),
        ..Default::default()
    };
    client.payouts().set_payout_method(client.request(message)).await.map(drop)
}

pub async fn create(client: &Client, payout_id: &str, minimum: i64) -> Result<String, Status> {
    let message = CreatePayoutRequest {
        program_id: LINES.into(),
        payout_id: payout_id.into(),
        minimum: Some(Money { currency_code: "INR".into(), minor_units: minimum }),
        ..Default::default()
    };
    let answer = client.payouts().create_payout(client.request(message)).await?;
    Ok(answer.into_inner().payout_id)
}

async fn get(client: &Client, payout_id: &str) -> Payout {
    let message = GetPayoutRequest {
        program_id: LINES.into(),
        payout_id: payout_id.into(),
        consistency_token: newest(client).await,
    };
    let answer = client.payouts().get_payout(client.request(message)).await.unwrap();
    answer.into_inner().payout.unwrap()
}

/// Waits until a payout is in a state.
pub async fn becomes(client: &Client, payout_id: &str, state: PayoutState) -> Payout {
    for _ in 0..600 {
        let payout = get(client, payout_id).await;
        if payout.state() == state {
            return payout;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("{:?}", get(client, payout_id).await);
}

/// Waits until everybody is collected, whatever comes of it.
pub async fn collected(client: &Client, payout_id: &str) -> Payout {
    for _ in 0..600 {
        let payout = get(client, payout_id).await;
        if payout.state() != PayoutState::Collecting {
            return payout;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("{:?}", get(client, payout_id).await);
}

async fn lines(client: &Client, message: ListPayoutLinesRequest) -> Vec<PayoutLine> {
    let message = ListPayoutLinesRequest {
        program_id: LINES.into(),
        consistency_token: newest(client).await,
        ..message
    };
    let answer = client.payouts().list_payout_lines(client.request(message)).await.unwrap();
    answer.into_inner().lines
}

async fn export(client: &Client, payout_id: &str) -> String {
    let message = ExportPayoutRequest {
        program_id: LINES.into(),
        payout_id: payout_id.into(),
        consistency_token: newest(client).await,
        ..Default::default()
    };
    let answer = client.payouts().export_payout(client.request(message)).await.unwrap();
    let (mut stream, mut csv) = (answer.into_inner(), String::new());
    while let Some(chunk) = stream.message().await.unwrap() {
        csv += &chunk.csv;
    }
    csv
}

pub async fn confirm(
    client: &Client,
    payout_id: &str,
    user_id: &str,
    provider_reference: &str,
) -> Result<ConfirmPayoutResponse, Status> {
    let message = ConfirmPayoutRequest {
        program_id: LINES.into(),
        payout_id: payout_id.into(),
        user_id: user_id.into(),
        provider_reference: provider_reference.into(),
        ..Default::default()
    };
    Ok(client.payouts().confirm_payout(client.request(message)).await?.into_inner())
}

async fn fail(client: &Client, payout_id: &str, user_id: &str) -> Result<(), Status> {
    let message = FailPayoutRequest {
        program_id: LINES.into(),
        payout_id: payout_id.into(),
        user_id: user_id.into(),
        reason_code: "account_closed".into(),
        provider_reference: "po_failed".into(),
        ..Default::default()
    };
    client.payouts().fail_payout(client.request(message)).await.map(drop)
}

async fn send_back(client: &Client, payout_id: &str, user_id: &str) -> Result<(), Status> {
    let message = ReturnPayoutLineRequest {
        program_id: LINES.into(),
        payout_id: payout_id.into(),
        user_id: user_id.into(),
        provider_reference: "po_back".into(),
        ..Default::default()
    };
    client.payouts().return_payout_line(client.request(message)).await.map(drop)
}

pub async fn balances(client: &Client, user_id: &str) -> (i64, i64, i64) {
    let message = GetBalancesRequest {
        program_id: LINES.into(),
        user_id: user_id.into(),
        consistency_token: newest(client).await,
        ..Default::default()
    };
    let answer = client.rewards().get_balances(client.request(message)).await.unwrap();
    let buckets = answer.into_inner().buckets.remove(0);
    let minor = |money: Option<Money>| money.unwrap().minor_units;
    (minor(buckets.available), minor(buckets.reserved), minor(buckets.paid))
}

/// Ana has 5000, ben 700, cem nothing, dan 900 and no method, and eve is in debt.
async fn scene() -> (TestDatabase, Server, Client) {
    let (database, server, client) = server_with(&[LINES]).await;
    populate(&client).await;
    (database, server, client)
}

pub async fn populate(client: &Client) {
    client.publish(paying()).await.unwrap();
    for name in ["ana", "ben", "cem", "dan", "eve"] {
        client.sign_up(LINES, name, "").await.unwrap();
    }
    for (name, amount) in [("ana", 5_000), ("ben", 700), ("dan", 900), ("eve", -100)] {
        adjust(client, name, amount).await;
    }
    set_method(client, "ana", "DE89 3704, \"ana\"").await.unwrap();
    set_method(client, "ben", "=BEN()").await.unwrap();
}

#[tokio::test]
async fn a_payout_collects_exports_and_is_confirmed_failed_and_returned() {
    let (_database, server, client) = scene().await;
    assert_eq!(create(&client, "may", 1).await.unwrap(), "may");
    let open = becomes(&client, "may", PayoutState::Open).await;
    assert_eq!((open.reserved.as_ref().unwrap().count, open.skipped_count), (2, 2));
    assert_eq!(open.reserved.unwrap().amount.unwrap().minor_units, 5_700);
    assert!(open.collect_time.is_some());
    assert!(!open.created_by.is_empty());
    assert_eq!(create(&client, "may", 1).await.unwrap(), "may");
    refused(create(&client, "may", 2).await, Code::AlreadyExists, "PAYOUT_ID_REUSED");

    let payout_id = || "may".to_owned();
    let of = |line: &PayoutLine| (line.user_id.clone(), line.state(), line.skip_reason());
    let all =
        lines(&client, ListPayoutLinesRequest { payout_id: payout_id(), ..Default::default() });
    let none = PayoutSkipReason::Unspecified;
    assert_eq!(
        all.await.iter().map(of).collect::<Vec<_>>(),
        [
            ("ana".to_owned(), PayoutLineState::Reserved, none),
            ("ben".to_owned(), PayoutLineState::Reserved, none),
            ("dan".to_owned(), PayoutLineState::Skipped, PayoutSkipReason::NoMethod),
            ("eve".to_owned(), PayoutLineState::Skipped, PayoutSkipReason::InDebt),
        ]
    );
    let skipped = ListPayoutLinesRequest {
        payout_id: payout_id(),
        state: PayoutLineState::Skipped.into(),
        skip_reason: PayoutSkipReason::InDebt.into(),
        ..Default::default()
    };
    let skipped = lines(&client, skipped).await;
    assert_eq!(skipped.iter().map(|line| &*line.user_id).collect::<Vec<_>>(), ["eve"]);
    assert_eq!(skipped[0].available_then.as_ref().unwrap().minor_units, -100);

    assert_eq!(
        export(&client, "may").await,
        "user_id,method_kind,method_reference,amount,currency,state,provider_reference\r\n\
         ana,sepa,\"DE89 3704, \"\"ana\"\"\",50.00,INR,reserved,\r\n\
         ben,sepa,'=BEN(),7.00,INR,reserved,\r\n"
    );

    let done = confirm(&client, "may", "ana", "po_1").await.unwrap();
    assert_eq!((done.state(), &*done.approval_id), (ApprovalState::Waived, ""));
    assert_eq!(confirm(&client, "may", "ana", "po_1").await.unwrap().state(), done.state());
    let decided = |answer| refused::<()>(answer, Code::FailedPrecondition, "PAYOUT_LINE_DECIDED");
    decided(confirm(&client, "may", "ana", "po_2").await.map(drop));
    decided(fail(&client, "may", "ana").await);
    fail(&client, "may", "ben").await.unwrap();
    fail(&client, "may", "ben").await.unwrap();
    decided(send_back(&client, "may", "ben").await);
    send_back(&client, "may", "ana").await.unwrap();
    send_back(&client, "may", "ana").await.unwrap();
    // What was confirmed and came back is not paid by the same confirmation again.
    assert_eq!(confirm(&client, "may", "ana", "po_1").await.unwrap().state(), done.state());
    decided(confirm(&client, "may", "ana", "po_back").await.map(drop));
    assert_eq!(balances(&client, "ana").await, (5_000, 0, 0));
    assert_eq!(balances(&client, "ben").await, (700, 0, 0));
    let returned = ListPayoutLinesRequest {
        payout_id: payout_id(),
        state: PayoutLineState::Returned.into(),
        ..Default::default()
    };
    let returned = lines(&client, returned).await;
    assert_eq!((returned.len(), &*returned[0].provider_reference), (1, "po_back"));
    let after = get(&client, "may").await;
    let count = |sum: Option<PayoutLineSum>| sum.unwrap().count;
    assert_eq!(
        (count(after.reserved), count(after.paid), count(after.failed), count(after.returned)),
        (0, 0, 1, 1)
    );
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lines_that_come_to_more_than_an_amount_can_be_are_collected_and_decided_one_by_one() {
    const PEOPLE: i64 = 10;
    const LARGEST: i64 = 1_000_000_000_000_000;
    let each = i64::MAX / LARGEST / PEOPLE + 1;
    let database = TestDatabase::new().await;
    let arguments = vec!["--adjustment-limit".into(), LARGEST.to_string()];
    let server = Server::start_with(&database.url, &ServerOptions { arguments }).await;
    let client = server.client();
    client.publish(paying()).await.unwrap();
    let names: Vec<String> = (0..PEOPLE).map(|number| format!("p{number}")).collect();
    for name in &names {
        client.sign_up(LINES, name, "").await.unwrap();
        set_method(&client, name, "DE89").await.unwrap();
    }
    let shares = names.iter().flat_map(|name| (0..4).map(move |share| (name.clone(), share)));
    let calls = shares.map(|(name, share)| {
        let client = server.client();
        async move {
            for _ in (share..each).step_by(4) {
                adjust(&client, &name, LARGEST).await;
            }
        }
    });
    at_once(calls).await;
    create(&client, "may", 1).await.unwrap();
    let check = |sum: Option<PayoutLineSum>| {
        let sum = sum.unwrap();
        assert_eq!((sum.count, sum.amount.unwrap().minor_units), (PEOPLE, i64::MAX));
    };
    check(becomes(&client, "may", PayoutState::Open).await.reserved);
    fail(&client, "may", "").await.unwrap();
    check(becomes(&client, "may", PayoutState::Failed).await.failed);
    assert_eq!(balances(&client, "p0").await, (each * LARGEST, 0, 0));
    database.check().await;
    server.stop().await;
}

#[tokio::test]
async fn a_whole_payout_is_confirmed_or_failed_line_by_line_and_the_next_pays_what_was_not() {
    let (_database, server, client) = scene().await;
    create(&client, "may", 1).await.unwrap();
    becomes(&client, "may", PayoutState::Open).await;
    fail(&client, "may", "").await.unwrap();
    let failed = becomes(&client, "may", PayoutState::Failed).await;
    assert_eq!((failed.failed.unwrap().count, &*failed.reason_code), (2, "account_closed"));
    assert_eq!(failed.provider_reference, "po_failed");
    let of_lines = ListPayoutLinesRequest {
        payout_id: "may".into(),
        state: PayoutLineState::Failed.into(),
        ..Default::default()
    };
    let of_lines = lines(&client, of_lines).await;
    assert!(of_lines.iter().all(|line| line.provider_reference == "po_failed"), "{of_lines:?}");
    assert_eq!(of_lines.len(), 2);
    assert_eq!(balances(&client, "ana").await, (5_000, 0, 0));
    let whole = |answer| refused::<()>(answer, Code::FailedPrecondition, "PAYOUT_DECIDED");
    whole(confirm(&client, "may", "", "").await.map(drop));

    create(&client, "june", 1_000).await.unwrap();
    becomes(&client, "june", PayoutState::Open).await;
    confirm(&client, "june", "", "batch-1").await.unwrap();
    let confirmed = becomes(&client, "june", PayoutState::Confirmed).await;
    assert_eq!(confirmed.paid.unwrap().amount.unwrap().minor_units, 5_000);
    assert_eq!((confirmed.skipped_count, &*confirmed.provider_reference), (3, "batch-1"));
    assert_eq!(balances(&client, "ana").await, (0, 0, 5_000));
    assert_eq!(balances(&client, "ben").await, (700, 0, 0), "below the minimum");

    let list = ListPayoutsRequest {
        program_id: LINES.into(),
        page_size: 1,
        consistency_token: newest(&client).await,
        ..Default::default()
    };
    let page = client.payouts().list_payouts(client.request(list.clone())).await.unwrap();
    let page = page.into_inner();
    assert_eq!(page.payouts[0].payout_id, "june");
    let next = ListPayoutsRequest { page_token: page.next_page_token, ..list };
    let page = client.payouts().list_payouts(client.request(next)).await.unwrap().into_inner();
    assert_eq!((&*page.payouts[0].payout_id, &*page.next_page_token), ("may", ""));
    server.stop().await;
}

#[tokio::test]
async fn above_the_limit_a_confirmation_waits_for_somebody_else() {
    let (database, server, client) = scene().await;
    set_method(&client, "cem", "cem").await.unwrap();
    adjust(&client, "cem", 99_000).await;
    for _ in 0..10 {
        adjust(&client, "cem", 99_000).await;
    }
    create(&client, "may", 1).await.unwrap();
    becomes(&client, "may", PayoutState::Open).await;
    let asked = confirm(&client, "may", "", "batch-1").await.unwrap();
    assert_eq!(asked.state(), ApprovalState::Pending);
    assert_eq!(asked.approval_id, format!("{LINES}//payout:may~1"));
    assert_eq!(
        confirm(&client, "may", "", "batch-1").await.unwrap().approval_id,
        asked.approval_id
    );
    refused(
        confirm(&client, "may", "", "batch-2").await,
        Code::FailedPrecondition,
        "PAYOUT_AWAITS_APPROVAL",
    );
    let listed = async || {
        let consistency_token = newest(&client).await;
        let list = ListApprovalsRequest { consistency_token, ..Default::default() };
        let listed = client.rewards().list_approvals(client.request(list)).await.unwrap();
        let listed = listed.into_inner().approvals.remove(0);
        assert_eq!(&*listed.user_id, "");
        let Some(approval::Asked::Payout(payout)) = listed.asked else { panic!("{listed:?}") };
        assert_eq!((&*payout.payout_id, &*payout.provider_reference), ("may", "batch-1"));
        payout.amount.unwrap().minor_units
    };
    assert_eq!(listed().await, 5_700 + 11 * 99_000);
    // What was decided by itself is not paid by it.
    let lines = get(&client, "may").await.reserved.unwrap();
    fail(&client, "may", "ana").await.unwrap();
    let shown = listed().await;
    let left = get(&client, "may").await.reserved.unwrap();
    assert_eq!((left.count, left.amount.unwrap().minor_units), (lines.count - 1, shown));
    assert!(shown < 5_700 + 11 * 99_000, "{shown}");

    let approve =
        || ApproveRequest { approval_id: asked.approval_id.clone(), ..Default::default() };
    let own = client.rewards().approve(client.request(approve())).await;
    refused(own, Code::FailedPrecondition, "SELF_APPROVAL");
    // Keys that were created with the same key are no other operators, nor are keys that were created with these.
    let (made, _) = holder(&client, wanted("made", ApiKeyRole::Admin)).await;
    let (child, _) = holder(&made, wanted("child", ApiKeyRole::Admin)).await;
    for own in [made, child] {
        let own = own.rewards().approve(own.request(approve())).await;
        refused(own, Code::FailedPrecondition, "SELF_APPROVAL");
    }
    let other = with(&client, &database.key_of_another().await);
    other.rewards().approve(other.request(approve())).await.unwrap();
    becomes(&client, "may", PayoutState::Confirmed).await;
    assert_eq!(balances(&client, "cem").await, (0, 0, 11 * 99_000));
    let again = confirm(&client, "may", "", "batch-1").await.unwrap();
    assert_eq!(again.state(), ApprovalState::Approved);
    server.stop().await;
}

#[tokio::test]
async fn lines_are_not_confirmed_one_by_one_beyond_the_limit() {
    let database = TestDatabase::new().await;
    let options = ServerOptions { arguments: vec!["--payout-limit".into(), "5699".into()] };
    let server = Server::start_with(&database.url, &options).await;
    let client = server.client();
    populate(&client).await;
    create(&client, "may", 1).await.unwrap();
    becomes(&client, "may", PayoutState::Open).await;
    let first = confirm(&client, "may", "ana", "po_1").await.unwrap();
    assert_eq!(first.state(), ApprovalState::Waived);
    // 5000 and 700 are more than 5699, also for somebody else.
    let other = with(&client, &database.key_of_another().await);
    let asked = confirm(&other, "may", "ben", "po_2").await.unwrap();
    assert_eq!(asked.state(), ApprovalState::Pending);
    assert_eq!(balances(&client, "ben").await, (0, 700, 0));
    let approve = ApproveRequest { approval_id: asked.approval_id, ..Default::default() };
    client.rewards().approve(client.request(approve)).await.unwrap();
    assert_eq!(balances(&client, "ben").await, (0, 0, 700));
    let again = confirm(&client, "may", "ana", "po_1").await.unwrap();
    assert_eq!(again.state(), ApprovalState::Waived);
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn only_programs_that_pay_out_in_a_currency_have_payouts() {
    let (_database, server, client) = server_with(&[LINES, "tiered-points"]).await;
    refused(create(&client, "may", 1).await, Code::FailedPrecondition, "PAYOUTS_OFF");
    let json = std::fs::read_to_string(program("tiered-points")).unwrap();
    let points = Program { pays_out: true, ..parse_program(&json).unwrap() };
    refused(client.publish(points).await, Code::InvalidArgument, "INVALID_FIELD");
    let credits = Program { credit_purchases: true, ..paying() };
    refused(client.publish(credits.clone()).await, Code::InvalidArgument, "INVALID_FIELD");
    client.publish(Program { pays_out: false, ..credits }).await.unwrap();
    refused(client.publish(paying()).await, Code::FailedPrecondition, "PAYOUT_OF_CREDITS");
    let unknown = GetPayoutRequest {
        program_id: LINES.into(),
        payout_id: "may".into(),
        ..Default::default()
    };
    let unknown = client.payouts().get_payout(client.request(unknown)).await;
    refused(unknown, Code::NotFound, "PAYOUT_NOT_FOUND");
    server.stop().await;
}

#[tokio::test]
async fn how_somebody_is_paid_is_beside_the_log_and_erased_with_them() {
    let (database, server, client) = scene().await;
    let rows = "select count(*) from payout_methods where user_id = 'ana'";
    assert_eq!(database.count(rows).await, 1);
    let in_log = "select count(*) from events where payload::text like '%3704%'";
    assert_eq!(database.count(in_log).await, 0);
    create(&client, "may", 1).await.unwrap();
    becomes(&client, "may", PayoutState::Open).await;
    let erase =
        || EraseUserRequest { user_id: "ana".into(), forfeit_balances: true, ..Default::default() };
    let pending = client.accounts().erase_user(client.request(erase())).await;
    refused(pending, Code::FailedPrecondition, "PAYOUT_PENDING");
    confirm(&client, "may", "ana", "").await.unwrap();
    client.accounts().erase_user(client.request(erase())).await.unwrap();
    assert_eq!(database.count(rows).await, 0);
    set_method(&client, "ben", "").await.unwrap();
    let reversed = set_method(&client, "ben", "DE89\u{202E}3704").await;
    refused(reversed, Code::InvalidArgument, "INVALID_FIELD");
    assert_eq!(database.count("select count(*) from payout_methods").await, 0);
    refused(set_method(&client, "ana", "x").await, Code::NotFound, "USER_NOT_FOUND");
    server.stop().await;
}

#[tokio::test]
async fn a_line_takes_what_expires_and_gives_it_back_with_its_time() {
    let (_database, server, client) = server_with(&[LINES]).await;
    client.publish(Program { expire_months: Some(2), ..paying() }).await.unwrap();
    let code = client.sign_up(LINES, "ana", "").await.unwrap().code;
    client.sign_up(LINES, "ben", &code).await.unwrap();
    client.buy("one", "ben", "INR", 100_000).await.unwrap();
    adjust(&client, "ana", 300).await;
    set_method(&client, "ana", "DE89").await.unwrap();
    let expirations = async || {
        let message = ListExpirationsRequest { program_id: LINES.into(), user_id: "ana".into() };
        let answer = client.rewards().list_expirations(client.request(message)).await.unwrap();
        answer.into_inner().expirations
    };
    let before = expirations().await;
    assert_eq!(before.len(), 1, "{before:?}");
    let (available, _, _) = balances(&client, "ana").await;
    let earned = before[0].amount.as_ref().unwrap().minor_units;
    assert_eq!(available, earned + 300);
    create(&client, "may", 1).await.unwrap();
    becomes(&client, "may", PayoutState::Open).await;
    assert_eq!(expirations().await, []);
    assert_eq!(balances(&client, "ana").await, (0, available, 0));
    fail(&client, "may", "ana").await.unwrap();
    assert_eq!(expirations().await, before);
    let message = ListBalanceEntriesRequest {
        program_id: LINES.into(),
        user_id: "ana".into(),
        consistency_token: newest(&client).await,
        ..Default::default()
    };
    let entries = client.rewards().list_balance_entries(client.request(message)).await.unwrap();
    let entries = entries.into_inner().entries;
    let entries = entries.iter().map(|entry| {
        let amount = entry.amount.as_ref().unwrap().minor_units;
        (entry.kind(), amount, entry.expire_time.is_some(), &*entry.payout_id)
    });
    let moved = |amount, expires| (EntryKind::Transfer, amount, expires, "may");
    assert_eq!(
        entries.take(4).collect::<Vec<_>>(),
        [moved(300, false), moved(earned, true), moved(300, false), moved(earned, true)]
    );
    server.stop().await;
}

#[tokio::test]
async fn a_statement_has_the_entries_of_a_month_between_what_was_before_and_after() {
    let (_database, server, client) = scene().await;
    create(&client, "may", 1).await.unwrap();
    becomes(&client, "may", PayoutState::Open).await;
    confirm(&client, "may", "ana", "po_1").await.unwrap();
    let now = time::OffsetDateTime::now_utc();
    let month = |year, month| format!("{year:04}-{month:02}");
    let this = month(now.year(), u8::from(now.month()));
    let statement = |month: String, page_size, page_token: String| {
        let client = client.clone();
        async move {
            let message = GetStatementRequest {
                program_id: LINES.into(),
                user_id: "ana".into(),
                month,
                page_size,
                page_token,
                consistency_token: newest(&client).await,
                ..Default::default()
            };
            client
                .rewards()
                .get_statement(client.request(message))
                .await
                .map(tonic::Response::into_inner)
        }
    };
    let whole = statement(this.clone(), 0, String::new()).await.unwrap();
    let kinds: Vec<_> =
        whole.entries.iter().map(|entry| (entry.kind(), &*entry.payout_id)).collect();
    assert_eq!(
        kinds,
        [(EntryKind::Payout, "may"), (EntryKind::Transfer, "may"), (EntryKind::Adjustment, "")]
    );
    let (opening, closing) = (whole.opening.unwrap(), whole.closing.unwrap());
    assert_eq!((minor(opening.available.as_ref()), minor(opening.adjusted.as_ref())), (0, 0));
    assert_eq!((minor(closing.available.as_ref()), minor(closing.paid.as_ref())), (0, 5_000));
    let first = statement(this.clone(), 2, String::new()).await.unwrap();
    // What happens between two pages is in neither.
    adjust(&client, "ana", 250).await;
    let rest = statement(this.clone(), 2, first.next_page_token.clone()).await.unwrap();
    assert_eq!((first.entries.len(), rest.entries.len()), (2, 1));
    assert_eq!((rest.position, &rest.closing), (first.position, &first.closing));
    assert_eq!([first.entries, rest.entries].concat(), whole.entries);
    let anew = statement(this.clone(), 0, String::new()).await.unwrap();
    assert_eq!(anew.entries[1..], whole.entries);
    assert_eq!(minor(anew.closing.unwrap().available.as_ref()), 250);
    assert!(anew.position > first.position);
    let of_another = statement(month(now.year() - 1, 1), 2, first.next_page_token).await;
    refused(of_another, Code::InvalidArgument, "INVALID_FIELD");
    let later = statement(month(now.year() + 1, 1), 0, String::new()).await;
    let later = refused(later, Code::InvalidArgument, "INVALID_FIELD");
    assert_eq!(violations(&later), [("month".to_owned(), "TIME_IN_FUTURE".to_owned())]);
    let wrong = statement("2026-13".into(), 0, String::new()).await;
    refused(wrong, Code::InvalidArgument, "INVALID_FIELD");
    server.stop().await;
}

/// Moves what was recorded after one position of the log, and up to another, to a moment.
async fn was_recorded(database: &TestDatabase, after: i64, up_to: i64, moment: &str) {
    let move_all =
        "update events set recorded_at = $3::timestamptz where position > $1 and position <= $2";
    let query = sqlx::query(move_all).bind(after).bind(up_to).bind(moment);
    query.execute(&database.pool).await.unwrap();
}

#[tokio::test]
async fn months_of_statements_begin_and_end_where_the_reader_is_whatever_the_zone_of_the_program() {
    let (database, server, client) = server_with(&[LINES]).await;
    let program = Program { time_zone: "Pacific/Kiritimati".into(), ..paying() };
    client.publish(program).await.unwrap();
    client.sign_up(LINES, "ana", "").await.unwrap();
    let mut ends = Vec::new();
    for amount in [1, 20, 300, 4_000] {
        adjust(&client, "ana", amount).await;
        ends.push(log_length(&database).await);
    }
    server.stop().await;
    // In Kolkata a day begins at 18:30 UTC. A month begins with its first moment.
    let moments = [
        "2026-03-31T18:29:59.999999Z",
        "2026-03-31T18:30:00Z",
        "2026-03-31T23:59:59.999999Z",
        "2026-04-30T18:30:00Z",
    ];
    let begins = [&[0][..], &ends].concat();
    for (place, moment) in moments.iter().enumerate() {
        was_recorded(&database, begins[place], ends[place], moment).await;
    }
    let server = Server::start(&database).await;
    let client = server.client();
    let statement = async |month: &str, time_zone: &str| {
        let message = GetStatementRequest {
            program_id: LINES.into(),
            user_id: "ana".into(),
            month: month.into(),
            time_zone: time_zone.into(),
            ..Default::default()
        };
        let answer = client.rewards().get_statement(client.request(message)).await.unwrap();
        let answer = answer.into_inner();
        let amounts = answer.entries.iter().rev().map(|entry| minor(entry.amount.as_ref()));
        let available =
            |of: &Option<BucketBalances>| minor(of.as_ref().unwrap().available.as_ref());
        (available(&answer.opening), amounts.collect::<Vec<_>>(), available(&answer.closing))
    };
    assert_eq!(statement("2026-03", "").await, (0, vec![1, 20, 300], 321));
    assert_eq!(statement("2026-04", "").await, (321, vec![4_000], 4_321));
    assert_eq!(statement("2026-03", "Asia/Kolkata").await, (0, vec![1], 1));
    assert_eq!(statement("2026-04", "Asia/Kolkata").await, (1, vec![20, 300], 321));
    assert_eq!(statement("2026-05", "Asia/Kolkata").await, (321, vec![4_000], 4_321));
    // 14 hours before UTC; and behind it.
    assert_eq!(statement("2026-04", "Pacific/Kiritimati").await, (0, vec![1, 20, 300], 321));
    assert_eq!(statement("2026-03", "America/New_York").await, (0, vec![1, 20, 300], 321));
    server.stop().await;
}

#[tokio::test]
async fn a_payout_by_which_nobody_is_paid_ends_by_itself_and_the_next_asks_again() {
    let (database, server, client) = scene().await;
    create(&client, "may", 10_000).await.unwrap();
    let payout = collected(&client, "may").await;
    assert_eq!(payout.state(), PayoutState::Confirmed);
    let sums = [&payout.reserved, &payout.paid, &payout.failed, &payout.returned];
    assert!(sums.iter().all(|sum| sum.as_ref().unwrap().count == 0), "{payout:?}");
    assert_eq!(payout.skipped_count, 4);
    let reasons = ListPayoutLinesRequest { payout_id: "may".into(), ..Default::default() };
    let reasons = lines(&client, reasons).await;
    let reasons: Vec<_> = reasons.iter().map(|line| (&*line.user_id, line.skip_reason())).collect();
    let below = PayoutSkipReason::BelowMinimum;
    let others = [("dan", PayoutSkipReason::NoMethod), ("eve", PayoutSkipReason::InDebt)];
    assert_eq!(reasons, [&[("ana", below), ("ben", below)][..], &others].concat());
    for answer in [
        confirm(&client, "may", "", "").await.map(drop),
        confirm(&client, "may", "", "batch-1").await.map(drop),
        fail(&client, "may", "").await,
    ] {
        let status = refused(answer, Code::FailedPrecondition, "PAYOUT_DECIDED");
        assert!(status.message().contains("nobody could be paid"), "{status:?}");
    }
    assert_eq!(database.count("select count(*) from jobs where kind = 'payout_settle'").await, 0);
    create(&client, "june", 1).await.unwrap();
    becomes(&client, "june", PayoutState::Open).await;
    testing::check_books(&database).await;
    database.check().await;
    server.stop().await;
}

#[tokio::test]
async fn what_was_said_of_a_payout_or_a_line_is_in_the_refusal_of_anything_else() {
    let (database, server, client) = scene().await;
    create(&client, "may", 1).await.unwrap();
    becomes(&client, "may", PayoutState::Open).await;
    let of_line = |status: &Status, state: &str, reference: &str, words: &str| {
        let expected = (Code::FailedPrecondition, "PAYOUT_LINE_DECIDED".to_owned());
        assert_eq!(testing::reason(status), expected);
        assert_eq!((fact(status, "state"), fact(status, "user_id")), (state.into(), "ana".into()));
        assert_eq!(fact(status, "provider_reference"), reference, "{status:?}");
        assert!(status.message().contains(words), "{status:?}");
    };
    let back = send_back(&client, "may", "ana").await.unwrap_err();
    of_line(&back, "reserved", "", "not paid yet");
    confirm(&client, "may", "ana", "po_1").await.unwrap();
    let other = confirm(&client, "may", "ana", "po_2").await.unwrap_err();
    of_line(&other, "paid", "po_1", "with provider_reference 'po_1'");
    let failed = fail(&client, "may", "ana").await.unwrap_err();
    of_line(&failed, "paid", "po_1", "ReturnPayoutLine");
    send_back(&client, "may", "ana").await.unwrap();
    let other = fail(&client, "may", "ana").await.unwrap_err();
    of_line(&other, "returned", "po_back", "paid already, with provider_reference 'po_1'");
    assert_eq!(fact(&other, "paid_provider_reference"), "po_1");
    let skipped = confirm(&client, "may", "dan", "").await;
    let status = refused(skipped, Code::FailedPrecondition, "PAYOUT_LINE_DECIDED");
    assert!(status.message().contains("gets nothing"), "{status:?}");

    fail(&client, "may", "").await.unwrap();
    becomes(&client, "may", PayoutState::Failed).await;
    let whole = confirm(&client, "may", "", "").await;
    let status = refused(whole, Code::FailedPrecondition, "PAYOUT_DECIDED");
    let said = ["state", "reason_code", "provider_reference"].map(|name| fact(&status, name));
    assert_eq!(said, ["failed", "account_closed", "po_failed"]);
    assert!(status.message().contains("with reason_code 'account_closed'"), "{status:?}");

    let message = ExportPayoutRequest {
        program_id: LINES.into(),
        payout_id: "may".into(),
        state: PayoutLineState::Skipped.into(),
        ..Default::default()
    };
    let export = client.payouts().export_payout(client.request(message)).await.map(drop);
    let status = refused(export, Code::InvalidArgument, "INVALID_FIELD");
    assert_eq!(violations(&status), [("state".to_owned(), "OUT_OF_RANGE".to_owned())]);
    assert!(status.message().contains("ListPayoutLines"), "{status:?}");
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn a_payout_finds_everybody_between_lines_and_redemptions_of_the_same_program() {
    let (database, server, client) = scene().await;
    // The stream of this participant has the id of the line of ana's in the payout `may`.
    let twin = RegisterUserRequest {
        username: "twin".into(),
        email: "twin@mail.example".into(),
        ..sign_up_request(LINES, "may/ana", "")
    };
    client.register(twin).await.unwrap();
    adjust(&client, "may/ana", 300).await;
    set_method(&client, "may/ana", "twin").await.unwrap();
    for payout_id in ["may", "june"] {
        create(&client, payout_id, 1).await.unwrap();
        becomes(&client, payout_id, PayoutState::Open).await;
        let list = ListPayoutLinesRequest { payout_id: payout_id.into(), ..Default::default() };
        let found = lines(&client, list).await;
        let found: Vec<_> = found.iter().map(|line| (&*line.user_id, line.state())).collect();
        let (reserved, skipped) = (PayoutLineState::Reserved, PayoutLineState::Skipped);
        assert_eq!(
            found,
            [
                ("ana", reserved),
                ("ben", reserved),
                ("dan", skipped),
                ("eve", skipped),
                ("may/ana", reserved),
            ]
        );
        fail(&client, payout_id, "").await.unwrap();
        becomes(&client, payout_id, PayoutState::Failed).await;
    }
    server.stop().await;
    database.check().await;
}
