//! Streams that are cut repeatedly, under load, while servers are killed: what arrives equals the log.

use std::fmt::Debug;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use contract::parse_program;
use contract::pb::watch_participant_response::Change;
use contract::pb::{
    ReferralStatus, WatchBalancesResponse, WatchEarningsResponse, WatchEventsResponse,
    WatchParticipantResponse,
};
use tokio::sync::watch;
use tonic::Status;

use testing::{
    Begun, Client, Logged, Message, Server, TestDatabase, check_books, in_log, program,
    second_server,
};

const PROGRAM: &str = "multi-level-commission";
/// The number of buyers, and of purchases of each.
const BUYERS: usize = 6;
const PURCHASES: usize = 80;
/// The price of a purchase, of which five percent go to the referrer, and one percent to the referrer's
/// referrer.
const PRICE: i64 = 100_000;
/// After how many purchases a server is killed.
const KILLS: [usize; 3] =
    [BUYERS * PURCHASES / 5, BUYERS * PURCHASES / 2, BUYERS * PURCHASES * 4 / 5];
/// The minimum number of cuts of each stream.
const CUTS: usize = 15;

/// Numbers that look random and are the same in every run (`SplitMix64`).
struct Seeded(u64);

impl Seeded {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) % limit as u64).unwrap()
    }
}

/// Two servers on a database, one of which may be down. Cheap to clone.
#[derive(Clone)]
struct Servers(Arc<Mutex<[Running; 2]>>);

/// A server with a connection to it, if it is up.
type Running = Option<(Server, Client)>;

impl Servers {
    async fn start(database: &TestDatabase) -> Self {
        let servers = Self(Arc::default());
        servers.restart(database, 0).await;
        servers.restart(database, 1).await;
        servers
    }

    async fn restart(&self, database: &TestDatabase, number: usize) {
        let server = second_server(database, &["--heartbeat-s", "1"]).await;
        let client = server.client();
        self.0.lock().unwrap()[number] = Some((server, client));
    }

    async fn kill(&self, number: usize) {
        let server = self.0.lock().unwrap()[number].take();
        server.expect("the server is there").0.kill().await;
    }

    /// The client of a server, or of the other one if the former is down.
    fn client(&self, number: usize) -> Client {
        let servers = self.0.lock().unwrap();
        let server = servers[number % 2].as_ref().or(servers[(number + 1) % 2].as_ref());
        server.expect("one of two servers is there").1.clone()
    }

    async fn stop(&self) {
        for number in 0..2 {
            let server = self.0.lock().unwrap()[number].take();
            server.expect("the server is there").0.stop().await;
        }
    }
}

/// A message of a stream whose messages follow from the log, one by one.
trait FromLog: Message {
    /// Whether the message follows from one event.
    fn is_logged(&self) -> bool {
        !self.is_heartbeat()
    }
}

impl FromLog for WatchEventsResponse {}
impl FromLog for WatchEarningsResponse {}
impl FromLog for WatchBalancesResponse {}
impl FromLog for WatchParticipantResponse {
    fn is_logged(&self) -> bool {
        // A rank follows from what others do as well, and a stream may skip ranks.
        !self.is_heartbeat() && !matches!(self.change, Some(Change::Rank(_)))
    }
}

/// The total number of messages of each reader, by its number; known when the writers are done.
type Expected = watch::Receiver<Option<Vec<usize>>>;

/// Reads a stream that it cuts at random points and resumes on a random server, until the expected number of
/// messages that follow from the log has arrived, and then until heartbeats show that nothing more comes. Returns
/// these messages and the number of cuts.
async fn read<M, Opening>(
    servers: Servers,
    number: usize,
    token: String,
    expected: Expected,
    open: impl Fn(Client, String) -> Opening,
) -> (Vec<M>, usize)
where
    M: FromLog,
    Opening: Future<Output = Result<Begun<M>, Status>>,
{
    let mut random = Seeded(number as u64);
    let (mut seen, mut token, mut cuts) = (Vec::new(), token, 0);
    loop {
        let client = servers.client(random.below(2));
        let Ok(Begun { first, mut rest }) = open(client, token.clone()).await else {
            // A server that has just been killed.
            tokio::time::sleep(Duration::from_millis(20)).await;
            continue;
        };
        assert!(first.is_heartbeat(), "{first:?}");
        for _ in 0..random.below(20) {
            match rest.next().await {
                Ok(message) if message.is_logged() => seen.push(message),
                Ok(message) if !message.is_heartbeat() => {}
                // There is nothing to read, or the server is down.
                _ => break,
            }
        }
        let goal = expected.borrow().as_ref().map(|goals| goals[number]);
        if goal.is_some_and(|goal| seen.len() >= goal) && cuts >= CUTS {
            // Repeated or late messages would come now.
            for _ in 0..2 {
                let late = rest.until_heartbeat().await;
                seen.extend(late.into_iter().filter(M::is_logged));
            }
            return (seen, cuts);
        }
        token = rest.token;
        cuts += 1;
    }
}

/// Records purchases; retries each until it is recorded.
async fn buy(servers: Servers, buyer: usize, done: Arc<AtomicUsize>) {
    for number in 0..PURCHASES {
        let (purchase_id, buyer_id) = (format!("order-{buyer}-{number}"), format!("buyer-{buyer}"));
        let mut server = buyer + number;
        while servers.client(server).buy(&purchase_id, &buyer_id, "INR", PRICE).await.is_err() {
            server += 1;
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        done.fetch_add(1, Ordering::Relaxed);
    }
}

/// Two lines, ada above ben and cid above dan; ben and dan have referred the buyers. Shares have no cap.
async fn prepare(client: &Client) {
    let json = std::fs::read_to_string(program(PROGRAM)).unwrap();
    let mut program = parse_program(&json).unwrap();
    for rule in &mut program.rewards {
        rule.cap_minor = None;
    }
    client.publish(program).await.unwrap();
    let mut codes = Vec::new();
    for (above, below) in [("ada", "ben"), ("cid", "dan")] {
        let above = client.sign_up(PROGRAM, above, "").await.unwrap();
        codes.push(client.sign_up(PROGRAM, below, &above.code).await.unwrap().code);
    }
    for buyer in 0..BUYERS {
        let code = &codes[buyer % codes.len()];
        client.sign_up(PROGRAM, &format!("buyer-{buyer}"), code).await.unwrap();
    }
}

/// Checks that what arrived equals the log.
fn same<T: Debug + PartialEq>(reader: &str, arrived: &[T], logged: &[T]) {
    let differs = arrived.iter().zip(logged).position(|(one, other)| one != other);
    let near = |of: &[T]| differs.map(|at| format!("{:?}", of[at]));
    assert!(
        differs.is_none() && arrived.len() == logged.len(),
        "{reader}: {} arrived, {} are in the log; at {differs:?} {:?} instead of {:?}",
        arrived.len(),
        logged.len(),
        near(arrived),
        near(logged),
    );
}

/// An entry according to a stream: the reward, the amount, and the balance after it.
type Entry = (String, i64, i64);

fn reward(message: &WatchEarningsResponse) -> Entry {
    let reward = message.reward.as_ref().unwrap();
    let total = message.total.as_ref().unwrap().minor_units;
    (reward.reward_id.clone(), reward.amount.as_ref().unwrap().minor_units, total)
}

/// A change of a balance does not name its reward.
fn change(message: &WatchBalancesResponse) -> Entry {
    let change = message.change.as_ref().unwrap().minor_units;
    (String::new(), change, message.balances[0].minor_units)
}

/// What happened to a participant: an entry, or a friend whose referral has converted.
fn happened(message: &WatchParticipantResponse) -> Entry {
    match message.change.as_ref().unwrap() {
        Change::Entry(entry) => {
            let minor = |money: &Option<contract::pb::Money>| money.as_ref().unwrap().minor_units;
            (entry.entry_id.clone(), minor(&entry.amount), minor(&entry.balance))
        }
        Change::Referral(referral) => {
            assert_eq!(referral.status(), ReferralStatus::Converted, "{referral:?}");
            (referral.referee_user_id.clone(), 0, 0)
        }
        other => panic!("{other:?} is not expected here"),
    }
}

fn event(message: &WatchEventsResponse) -> Logged {
    message.event.as_ref().unwrap().into()
}

/// A user's rewards in the log.
async fn rewards(database: &TestDatabase, user_id: &str) -> Vec<Entry> {
    let condition =
        format!("aggregate_id = '{PROGRAM}/{user_id}' and event_type = 'RewardGranted'");
    let entry = |event: &Logged| {
        let reward_id = format!("{}/{}", event.aggregate.1, event.sequence);
        let posting = &event.payload["posting"];
        let amount = posting["amount"].as_i64().unwrap();
        (reward_id, amount, posting["after"]["earned"].as_i64().unwrap())
    };
    in_log(database, &condition).await.iter().map(entry).collect()
}

/// What the log has of a user, as the stream of the participant shows it.
async fn story(database: &TestDatabase, user_id: &str, after: i64) -> Vec<Entry> {
    let condition = format!("aggregate_id = '{PROGRAM}/{user_id}' and position > {after}");
    let shown = |event: &Logged| match &*event.event_type {
        "RewardGranted" => {
            let entry_id = format!("{}/{}", event.aggregate.1, event.sequence);
            let posting = &event.payload["posting"];
            let balance = posting["after"]["available"].as_i64().unwrap();
            (entry_id, posting["amount"].as_i64().unwrap(), balance)
        }
        "ReferralUpdated" => (event.payload["referee_user_id"].as_str().unwrap().into(), 0, 0),
        other => panic!("{other} is not expected here"),
    };
    in_log(database, &condition).await.iter().map(shown).collect()
}

/// Kills servers in turn while the writers continue, and starts them again.
async fn disturb(servers: &Servers, database: &TestDatabase, done: &AtomicUsize) {
    for (index, after) in KILLS.into_iter().enumerate() {
        while done.load(Ordering::Relaxed) < after {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        servers.kill(index % 2).await;
        tokio::time::sleep(Duration::from_millis(100)).await;
        servers.restart(database, index % 2).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_cut_at_any_point_under_load_while_servers_die_bring_exactly_what_the_log_has() {
    let database = TestDatabase::new().await;
    let servers = Servers::start(&database).await;
    let client = servers.client(0);
    prepare(&client).await;
    let before = database.count("select max(position) from events").await;
    let (goals, expected) = watch::channel(None);
    let start = |number: usize| (servers.clone(), number, expected.clone());

    let token = client.watch_events(&[], "", "").await.unwrap().rest.token;
    let (of, number, goal) = start(0);
    let events = tokio::spawn(read(of, number, token, goal, |client, token| async move {
        client.watch_events(&[], "", &token).await
    }));
    let (mut of_earnings, mut of_balances) = (Vec::new(), Vec::new());
    for (index, user_id) in ["ada", "ben"].into_iter().enumerate() {
        let token = client.watch_earnings(PROGRAM, user_id, "").await.unwrap().rest.token;
        let (of, number, goal) = start(2 * index + 1);
        let open = move |client: Client, token: String| async move {
            client.watch_earnings(PROGRAM, user_id, &token).await
        };
        of_earnings.push((user_id, tokio::spawn(read(of, number, token, goal, open))));
        let token = client.watch_balances(PROGRAM, user_id, "").await.unwrap().rest.token;
        let (of, number, goal) = start(2 * index + 2);
        let open = move |client: Client, token: String| async move {
            client.watch_balances(PROGRAM, user_id, &token).await
        };
        of_balances.push((user_id, tokio::spawn(read(of, number, token, goal, open))));
    }
    // Ben, because the referrals of those whom he referred convert.
    let token = client.watch_participant(PROGRAM, "ben", "").await.unwrap().rest.token;
    let (of, number, goal) = start(5);
    let of_participant = tokio::spawn(read(of, number, token, goal, |client, token| async move {
        client.watch_participant(PROGRAM, "ben", &token).await
    }));

    let done = Arc::new(AtomicUsize::new(0));
    let mut writers = tokio::task::JoinSet::new();
    for buyer in 0..BUYERS {
        writers.spawn(buy(servers.clone(), buyer, done.clone()));
    }
    disturb(&servers, &database, &done).await;
    writers.join_all().await;

    let logged = in_log(&database, &format!("position > {before}")).await;
    let (of_ada, of_ben) = (rewards(&database, "ada").await, rewards(&database, "ben").await);
    assert_eq!(of_ada.len(), BUYERS * PURCHASES / 2);
    assert_eq!(of_ben.len(), of_ada.len());
    let [ada, ben] = [of_ada.len(), of_ben.len()];
    let story = story(&database, "ben", before).await;
    assert_eq!(story.len(), of_ben.len() + BUYERS / 2);
    goals.send(Some(vec![logged.len(), ada, ada, ben, ben, story.len()])).unwrap();
    let mut cuts = Vec::new();
    let (seen, cut) = events.await.unwrap();
    same("events", &seen.iter().map(event).collect::<Vec<_>>(), &logged);
    cuts.push(cut);
    for ((user_id, reader), logged) in of_earnings.into_iter().zip([&of_ada, &of_ben]) {
        let (seen, cut) = reader.await.unwrap();
        same(user_id, &seen.iter().map(reward).collect::<Vec<_>>(), logged);
        cuts.push(cut);
    }
    for ((user_id, reader), logged) in of_balances.into_iter().zip([&of_ada, &of_ben]) {
        let (seen, cut) = reader.await.unwrap();
        let logged = logged.iter().map(|(_, amount, total)| (String::new(), *amount, *total));
        let logged: Vec<_> = logged.collect();
        same(user_id, &seen.iter().map(change).collect::<Vec<_>>(), &logged);
        cuts.push(cut);
    }
    let (seen, cut) = of_participant.await.unwrap();
    same("participant", &seen.iter().map(happened).collect::<Vec<_>>(), &story);
    cuts.push(cut);
    assert!(cuts.iter().all(|cut| *cut >= CUTS), "{cuts:?}");
    servers.stop().await;
    check_books(&database).await;
    database.check().await;
}
