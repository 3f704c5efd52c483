//! Payouts on two servers that are killed, with rewards that come and go meanwhile: no entry is paid twice or
//! forgotten.

use std::time::{Duration, Instant};

use contract::pb::*;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tonic::{Code, Status};

use crate::contention::uncapped;
use crate::expected::check_read_models;
use testing::{Client, Pair, Server, ServerOptions, TestDatabase, at_once, check_books, reason};

const LINES: &str = "multi-level-commission";

/// How many people there are, unless the environment says otherwise.
const PEOPLE: usize = 3_000;

fn name(number: usize) -> String {
    format!("person-{number:06}")
}

/// What each has, in minor units.
fn amount(number: usize) -> i64 {
    100 + i64::try_from(number % 97).unwrap()
}

async fn adjust(client: Client, user_id: String, adjustment_id: String, minor_units: i64) {
    let message = AdjustBalanceRequest {
        program_id: LINES.into(),
        user_id,
        adjustment_id,
        amount: Some(Money { currency_code: "INR".into(), minor_units }),
        reason_code: "goodwill".into(),
        ..Default::default()
    };
    // Sent again until a server that lives has answered.
    for _ in 0..200 {
        if client.rewards().adjust_balance(client.request(message.clone())).await.is_ok() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("an adjustment was never carried out");
}

async fn set_method(client: &Client, user_id: &str) {
    let method = SetPayoutMethodRequest {
        user_id: user_id.into(),
        kind: "sepa".into(),
        reference: user_id.into(),
        ..Default::default()
    };
    client.payouts().set_payout_method(client.request(method)).await.unwrap();
}

async fn join(client: Client, number: usize) {
    let user_id = name(number);
    client.sign_up(LINES, &user_id, "").await.unwrap();
    set_method(&client, &user_id).await;
    adjust(client, user_id, "first".into(), amount(number)).await;
}

/// So many people with something available, on two servers.
async fn people(pair: &Pair, count: usize) {
    let program = Program { pays_out: true, ..uncapped() };
    pair.client(0).publish(program).await.unwrap();
    for first in (0..count).step_by(500) {
        let some = first..count.min(first + 500);
        at_once(some.map(|number| join(pair.client(number), number))).await;
    }
}

async fn create(client: Client, payout_id: &str) -> Result<(), Status> {
    let message = CreatePayoutRequest {
        program_id: LINES.into(),
        payout_id: payout_id.into(),
        ..Default::default()
    };
    client.payouts().create_payout(client.request(message)).await.map(drop)
}

async fn confirm(client: Client, payout_id: &str, user_id: String) -> Result<(), Status> {
    let message = ConfirmPayoutRequest {
        program_id: LINES.into(),
        payout_id: payout_id.into(),
        user_id,
        ..Default::default()
    };
    client.payouts().confirm_payout(client.request(message)).await.map(drop)
}

async fn fail(client: Client, payout_id: &str, user_id: String) -> Result<(), Status> {
    let message = FailPayoutRequest {
        program_id: LINES.into(),
        payout_id: payout_id.into(),
        user_id,
        ..Default::default()
    };
    client.payouts().fail_payout(client.request(message)).await.map(drop)
}

async fn events_of(database: &TestDatabase, event_type: &str) -> i64 {
    database.count(&format!("select count(*) from events where event_type = '{event_type}'")).await
}

/// Waits until the log has this many events of a type.
async fn until(database: &TestDatabase, event_type: &str, expected: i64) {
    for _ in 0..24_000 {
        if events_of(database, event_type).await >= expected {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("{}: {} of {expected}", event_type, events_of(database, event_type).await);
}

/// People who buy all the while, from whichever server is there.
struct Shoppers {
    server: watch::Sender<Client>,
    at_work: JoinSet<Vec<Duration>>,
}

impl Shoppers {
    const COUNT: usize = 4;

    /// Whoever referred them has nothing until they buy.
    async fn sign_up(client: &Client) {
        let code = client.sign_up(LINES, "shop", "").await.unwrap().code;
        set_method(client, "shop").await;
        for number in 0..Self::COUNT {
            client.sign_up(LINES, &format!("shopper-{number}"), &code).await.unwrap();
        }
    }

    fn start(client: Client) -> Self {
        let (server, _) = watch::channel(client);
        let mut at_work = JoinSet::new();
        for number in 0..Self::COUNT {
            at_work.spawn(buy_all_the_while(server.subscribe(), format!("shopper-{number}")));
        }
        Self { server, at_work }
    }

    fn go_to(&self, client: Client) {
        self.server.send_replace(client);
    }

    /// Stops them. How long each purchase took that one server has carried out, the shortest first.
    async fn stop(self) -> Vec<Duration> {
        drop(self.server);
        let mut all = self.at_work.join_all().await.concat();
        all.sort_unstable();
        all
    }
}

async fn buy_all_the_while(server: watch::Receiver<Client>, buyer: String) -> Vec<Duration> {
    let mut took = Vec::new();
    while server.has_changed().is_ok() {
        let purchase_id = format!("{buyer}-{}", took.len());
        loop {
            let (client, start) = (server.borrow().clone(), Instant::now());
            if client.buy(&purchase_id, &buyer, "INR", 100_000).await.is_ok() {
                took.push(start.elapsed());
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    took
}

/// Every step of a line is on its participant's stream once, with its amount, and what is reserved, paid and returned
/// adds up for everybody.
async fn check_sums(database: &TestDatabase) {
    let wrong = "
        with step as (
            select split_part(aggregate_id, '/', 2) as payout_id,
                split_part(aggregate_id, '/', 1) || '/' || split_part(aggregate_id, '/', 3) as participant,
                event_type, (payload ->> 'amount_minor')::bigint as amount
            from events where aggregate_type = 'PayoutLine' and event_type <> 'PayoutLineSkipped'
        ), moved as (
            select payload ->> 'payout_id' as payout_id, aggregate_id as participant,
                case event_type when 'PayoutReserved' then 'PayoutLineReserved' when 'PayoutPaid' then 'PayoutLinePaid'
                    when 'PayoutReleased' then 'PayoutLineFailed' else 'PayoutLineReturned' end as event_type,
                sum(abs((payload -> 'posting' ->> 'amount')::bigint))::bigint as amount
            from events where aggregate_type = 'Participant' and payload ? 'payout_id'
            group by payload ->> 'payout_id', aggregate_id, event_type
        )
        select (select count(*) from (select * from step except all select * from moved) as missing)
            + (select count(*) from (select * from moved except all select * from step) as surplus)
            + (select count(*) from (
                select from step group by payout_id, participant, event_type having count(*) > 1) as twice)";
    assert_eq!(database.count(wrong).await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_payouts_at_once_one_collects_and_a_line_is_paid_or_failed_once() {
    let database = TestDatabase::new().await;
    let pair = Pair::start(&database).await;
    people(&pair, 40).await;
    let answers = at_once((0..8).map(|number| {
        let client = pair.client(number);
        async move { create(client, if number % 2 == 0 { "a" } else { "b" }).await }
    }))
    .await;
    let refusals: Vec<_> = answers.iter().filter_map(|answer| answer.as_ref().err()).collect();
    assert_eq!(refusals.len(), 4, "{answers:?}");
    for refusal in refusals {
        let known = (Code::FailedPrecondition, "PAYOUT_COLLECTING".to_owned());
        assert_eq!(reason(refusal), known);
    }
    until(&database, "PayoutCollected", 1).await;
    assert_eq!(events_of(&database, "PayoutLineReserved").await, 40);
    let payout: String =
        sqlx::query_scalar("select aggregate_id from events where event_type = 'PayoutCreated'")
            .fetch_one(&database.pool)
            .await
            .unwrap();
    let payout = payout.split_once('/').unwrap().1.to_owned();
    // One says that a line was paid, the other that it was not.
    let outcomes = at_once((0..80).map(|number| {
        let (client, payout, user) = (pair.client(number), payout.clone(), name(number / 2));
        async move {
            if number % 2 == 0 {
                confirm(client, &payout, user).await
            } else {
                fail(client, &payout, user).await
            }
        }
    }))
    .await;
    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 40);
    let confirmed = events_of(&database, "PayoutLinePaid").await;
    assert_eq!(confirmed + events_of(&database, "PayoutLineFailed").await, 40);
    check_sums(&database).await;
    check_books(&database).await;
    check_read_models(&database).await;
    pair.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_two_servers_confirm_line_by_line_at_once_counts_together_towards_the_limit() {
    const LIMIT: i64 = 1_000;
    let database = TestDatabase::new().await;
    let arguments = vec!["--payout-limit".into(), LIMIT.to_string()];
    let pair = Pair::start_with(&database, &ServerOptions { arguments }).await;
    people(&pair, 40).await;
    create(pair.client(0), "may").await.unwrap();
    until(&database, "PayoutCollected", 1).await;
    let outcomes = at_once((0..80).map(|number| {
        let (client, user) = (pair.client(number), name(number / 2));
        async move { confirm(client, "may", user).await }
    }))
    .await;
    assert!(outcomes.iter().all(Result::is_ok), "{outcomes:?}");
    let sum = |event_type: &str| {
        format!(
            "select coalesce(sum((payload ->> 'amount_minor')::bigint), 0)::bigint from events
             where event_type = '{event_type}'"
        )
    };
    let (confirmed, counted) = (sum("PayoutLinePaid"), sum("PayoutApprovalWaived"));
    let (confirmed, counted) = (database.count(&confirmed).await, database.count(&counted).await);
    assert_eq!(confirmed, counted);
    // The smallest line that waits would be above the limit.
    assert!(confirmed <= LIMIT && LIMIT < confirmed + amount(39), "{confirmed}");
    let asked = events_of(&database, "ApprovalRequested").await;
    assert_eq!(events_of(&database, "PayoutLinePaid").await + asked, 40);
    let other = pair.first.separate_client(Some(&database.key_of_another().await)).await;
    let last = "select max(aggregate_id) from events where event_type = 'ApprovalRequested'";
    let approval_id = sqlx::query_scalar(last).fetch_one(&database.pool).await.unwrap();
    let approve = ApproveRequest { approval_id, ..Default::default() };
    other.rewards().approve(other.request(approve)).await.unwrap();
    assert_eq!(events_of(&database, "PayoutLinePaid").await + asked, 41);
    check_sums(&database).await;
    check_books(&database).await;
    check_read_models(&database).await;
    pair.stop().await;
}

/// Makes it so that the lease of a job of payouts is over: as much time has passed.
async fn let_lease_end(database: &TestDatabase) {
    let past = "update jobs set run_after = clock_timestamp() - interval '1 second'
        where state = 'running' and kind in ('payout_collect', 'payout_settle')";
    let done = sqlx::query(past).execute(&database.pool).await.unwrap();
    // None, if the server hangs between a job and the one that it has left the rest to.
    assert!(done.rows_affected() <= 1);
}

async fn get(client: &Client, payout_id: &str) -> Payout {
    let message = GetPayoutRequest {
        program_id: LINES.into(),
        payout_id: payout_id.into(),
        ..Default::default()
    };
    let answer = client.payouts().get_payout(client.request(message)).await.unwrap();
    answer.into_inner().payout.unwrap()
}

/// Waits until a payout is read as it is in the log, with so many lines and in a state.
async fn up_to_date(client: &Client, lines: i64, state: PayoutState) -> Payout {
    for _ in 0..600 {
        let payout = get(client, "may").await;
        let made = payout.reserved.as_ref().map_or(0, |sum| sum.count)
            + payout.paid.as_ref().map_or(0, |sum| sum.count)
            + payout.skipped_count;
        if made == lines && payout.state() == state {
            return payout;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("expected {lines} lines and {state:?}: {:?}", get(client, "may").await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_hangs_for_longer_than_its_lease_pays_nobody_twice_and_forgets_nobody() {
    const COUNT: usize = 2_000;
    let all = i64::try_from(COUNT).unwrap();
    let database = TestDatabase::new().await;
    let pair = Pair::start(&database).await;
    people(&pair, COUNT).await;
    let Pair { first: hanging, second, .. } = pair;
    second.stop().await;

    create(hanging.client(), "may").await.unwrap();
    until(&database, "PayoutLineReserved", 1).await;
    hanging.signal("-STOP").await;
    assert_eq!(events_of(&database, "PayoutCollected").await, 0, "it hangs on the way");
    // What it had sent is appended or lost, but not half.
    let other = Server::start(&database).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let made = events_of(&database, "PayoutLineReserved").await;
    assert!(0 < made && made < all, "{made}");
    let payout = up_to_date(&other.client(), made, PayoutState::Collecting).await;
    let reserved = payout.reserved.unwrap();
    let sum = "select sum((payload ->> 'amount_minor')::bigint)::bigint from events
        where event_type = 'PayoutLineReserved'";
    assert_eq!((reserved.count, payout.collect_time), (made, None));
    assert_eq!(reserved.amount.unwrap().minor_units, database.count(sum).await);
    let_lease_end(&database).await;
    until(&database, "PayoutLineReserved", made + 1).await;
    // It comes back while the other one is at work, and goes on where it was.
    hanging.signal("-CONT").await;
    until(&database, "PayoutCollected", 1).await;
    assert_eq!(events_of(&database, "PayoutLineReserved").await, all);
    up_to_date(&other.client(), all, PayoutState::Open).await;
    answers_again(&hanging.client()).await;

    other.stop().await;
    confirm_whole(&database, &hanging.client(), &hanging).await;
    until(&database, "PayoutLinePaid", 1).await;
    hanging.signal("-STOP").await;
    assert_eq!(events_of(&database, "PayoutCompleted").await, 0, "it hangs on the way");
    let other = Server::start(&database).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let confirmed = events_of(&database, "PayoutLinePaid").await;
    assert!(0 < confirmed && confirmed < all, "{confirmed}");
    up_to_date(&other.client(), all, PayoutState::Confirming).await;
    let_lease_end(&database).await;
    until(&database, "PayoutLinePaid", confirmed + 1).await;
    hanging.signal("-CONT").await;
    until(&database, "PayoutCompleted", 1).await;
    answers_again(&hanging.client()).await;
    // The job is done once, and so is each line.
    until_done(&database).await;
    assert_eq!(events_of(&database, "PayoutLinePaid").await, all);
    assert_eq!(events_of(&database, "PayoutCollected").await, 1);
    assert_eq!(events_of(&database, "PayoutCompleted").await, 1);
    check_sums(&database).await;
    check_books(&database).await;
    check_read_models(&database).await;
    hanging.stop().await;
    other.stop().await;
}

/// Waits until a server that hung carries out commands again.
async fn answers_again(client: &Client) {
    let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_micros();
    for _ in 0..600 {
        if client.sign_up(LINES, &format!("marker-{now}"), "").await.is_ok() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("the server does not come back");
}

/// Waits until no job of payouts is left.
async fn until_done(database: &TestDatabase) {
    let left = "select count(*) from jobs
        where state in ('queued', 'running') and kind in ('payout_collect', 'payout_settle')";
    for _ in 0..1_200 {
        if database.count(left).await == 0 {
            let parked = "select count(*) from jobs where state = 'parked'";
            assert_eq!(database.count(parked).await, 0);
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("a job of payouts is not done");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_export_of_several_chunks_has_each_line_once_under_one_header() {
    // A chunk has a thousand lines.
    const COUNT: usize = 2_345;
    let database = TestDatabase::new().await;
    let pair = Pair::start(&database).await;
    people(&pair, COUNT).await;
    let client = pair.client(0);
    create(client.clone(), "may").await.unwrap();
    until(&database, "PayoutCollected", 1).await;
    up_to_date(&client, i64::try_from(COUNT).unwrap(), PayoutState::Open).await;
    let message = ExportPayoutRequest {
        program_id: LINES.into(),
        payout_id: "may".into(),
        ..Default::default()
    };
    let answer = client.payouts().export_payout(client.request(message)).await.unwrap();
    let (mut stream, mut chunks) = (answer.into_inner(), Vec::new());
    while let Some(chunk) = stream.message().await.unwrap() {
        chunks.push(chunk.csv);
    }
    assert!(chunks.len() >= 3, "{} chunks", chunks.len());
    let csv = chunks.concat();
    let mut rows = csv.split("\r\n");
    let header = "user_id,method_kind,method_reference,amount,currency,state,provider_reference";
    assert_eq!(rows.next(), Some(header));
    for number in 0..COUNT {
        let (user, amount) = (name(number), amount(number));
        let row = format!("{user},sepa,{user},{}.{:02},INR,reserved,", amount / 100, amount % 100);
        assert_eq!(rows.next(), Some(&*row));
    }
    assert_eq!(rows.collect::<Vec<_>>(), [""]);
    pair.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_payout_goes_on_though_both_servers_are_killed_in_turn_and_money_is_taken_back_meanwhile()
{
    let wanted = std::env::var("TRIBUTARY_PAYOUT_LINES").ok().and_then(|text| text.parse().ok());
    let count: usize = wanted.unwrap_or(PEOPLE);
    let all = i64::try_from(count).unwrap();
    let database = TestDatabase::new().await;
    let pair = Pair::start(&database).await;
    let start = Instant::now();
    people(&pair, count).await;
    Shoppers::sign_up(&pair.client(0)).await;
    eprintln!("{count} people after {:?}", start.elapsed());
    let (taken_back, late) = (count / 10, count / 20);

    create(pair.client(0), "may").await.unwrap();
    let start = Instant::now();
    let Pair { first, second, .. } = pair;
    let shoppers = Shoppers::start(second.client());
    // The servers are killed anywhere on the way.
    let random = i64::from(std::time::UNIX_EPOCH.elapsed().unwrap().subsec_micros());
    let [first_kill, second_kill, third_kill] =
        [7, 11, 13].map(|factor: i64| all * (random * factor % 1_000) / 1_000);
    eprintln!("killed after {first_kill} and {second_kill} lines, and {third_kill} paid ones");
    until(&database, "PayoutLineReserved", first_kill.max(1)).await;
    first.kill().await;
    let first = Server::start(&database).await;
    shoppers.go_to(first.client());
    // Some have less than they had, some have more.
    let client = first.client();
    for group in [
        (0..taken_back).map(|number| (number * 10, "back", -50)).collect::<Vec<_>>(),
        (0..late).map(|number| (number, "late", 1_000)).collect(),
    ] {
        for some in group.chunks(500) {
            let calls = some.iter().map(|(number, id, change)| {
                adjust(client.clone(), name(*number), (*id).into(), *change)
            });
            at_once(calls.collect::<Vec<_>>()).await;
        }
    }
    until(&database, "PayoutLineReserved", second_kill.min(all * 8 / 10)).await;
    second.kill().await;
    let second = Server::start(&database).await;
    shoppers.go_to(second.client());
    until(&database, "PayoutCollected", 1).await;
    eprintln!("collected after {:?}", start.elapsed());
    let lines = events_of(&database, "PayoutLineReserved").await;
    assert_eq!(lines + events_of(&database, "PayoutLineSkipped").await, all);

    let whole = "select (payload ->> 'total_minor')::bigint from events where event_type = 'PayoutCollected'";
    let total = database.count(whole).await;
    let sum = "select sum((payload ->> 'amount_minor')::bigint)::bigint from events
        where event_type = 'PayoutLineReserved'";
    assert_eq!(total, database.count(sum).await);
    // Nobody gets more than they had when the payout was created.
    assert!(total <= (0..count).map(amount).sum());
    let start = Instant::now();
    confirm_whole(&database, &second.client(), &first).await;
    until(&database, "PayoutLinePaid", third_kill.clamp(1, lines / 2)).await;
    first.kill().await;
    let first = Server::start(&database).await;
    until(&database, "PayoutCompleted", 1).await;
    eprintln!("confirmed after {:?}", start.elapsed());
    assert_eq!(events_of(&database, "PayoutLinePaid").await, lines);
    let took = shoppers.stop().await;
    let at = |share: usize| took[(took.len() - 1) * share / 100];
    let (median, slow, slowest) = (at(50), at(99), at(100));
    eprintln!("{} purchases meanwhile: {median:?}, {slow:?}, {slowest:?}", took.len());
    let bought = i64::try_from(took.len()).unwrap();
    assert_eq!(events_of(&database, "PurchaseRecorded").await, bought);

    // What is left is in the next payout, and a debt is not.
    create(first.client(), "june").await.unwrap();
    until(&database, "PayoutCollected", 2).await;
    let over = "select count(*) from (
            select distinct on (aggregate_id) payload -> 'posting' -> 'after' as after from events
            where aggregate_type = 'Participant' and payload ? 'posting'
            order by aggregate_id, sequence desc
        ) as present where coalesce((after ->> 'available')::bigint, 0) > 0";
    assert_eq!(database.count(over).await, 0, "everything available is reserved");
    check_sums(&database).await;
    check_books(&database).await;
    check_read_models(&database).await;
    first.stop().await;
    second.stop().await;
}

/// Confirms a payout as a whole; above the limit another key approves.
async fn confirm_whole(database: &TestDatabase, client: &Client, server: &Server) {
    let message = ConfirmPayoutRequest {
        program_id: LINES.into(),
        payout_id: "may".into(),
        ..Default::default()
    };
    let answer = client.payouts().confirm_payout(client.request(message)).await.unwrap();
    let approval_id = answer.into_inner().approval_id;
    if approval_id.is_empty() {
        return;
    }
    let other = server.separate_client(Some(&database.key_of_another().await)).await;
    let approve = ApproveRequest { approval_id, ..Default::default() };
    other.rewards().approve(other.request(approve)).await.unwrap();
}
