//! Rivals: different requests with one key, of which at most one is carried out. The others wait for its outcome,
//! and nobody else waits for them.

#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

use std::time::{Duration, Instant};

use contract::pb::{Money, RecordPurchaseRequest, RecordPurchaseResponse};
use sqlx::{Postgres, Transaction};
use tokio::task::JoinHandle;
use tonic::{Code, Status};
use tributary::store::functions;

use crate::contention::uncapped;
use crate::races::{COMMISSION, all, same, split};
use testing::plain_http::get;
use testing::{Client, Server, ServerOptions, TestDatabase, at_once, check_books, reason};

const RIVALS: usize = 200;
const OTHERS: usize = 20;

/// How rivals come into a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Meeting {
    /// Each is decided when it comes, while the database appends an earlier batch.
    Ahead,
    /// They are taken from the queue together, because a server that contends with another decides nothing ahead.
    Together,
}

const MEETINGS: [Meeting; 2] = [Meeting::Ahead, Meeting::Together];

/// A server whose commands can be made to meet, and another server of the same log.
struct Shop {
    database: TestDatabase,
    server: Server,
    /// The address at which the server exposes its metrics.
    metrics: String,
    other: Server,
}

/// A server that waits for the lock of the log with a batch of one purchase.
struct Occupied {
    lock: Transaction<'static, Postgres>,
    append: JoinHandle<Vec<Result<RecordPurchaseResponse, Status>>>,
    /// How many purchases the server had begun to record.
    begun: u64,
}

impl Occupied {
    /// Lets the server append.
    async fn release(self) {
        self.lock.rollback().await.unwrap();
        for answer in self.append.await.unwrap() {
            answer.unwrap();
        }
    }
}

impl Shop {
    async fn open() -> Self {
        let database = TestDatabase::new().await;
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let metrics = listener.local_addr().unwrap().to_string();
        drop(listener);
        let arguments = vec!["--metrics-listen".into(), metrics.clone()];
        let server = Server::start_with(&database.url, &ServerOptions { arguments }).await;
        let other = Server::start(&database).await;
        let shop = Self { database, server, metrics, other };
        let client = shop.client();
        client.publish(uncapped()).await.unwrap();
        let code = client.sign_up(COMMISSION, "owner", "").await.unwrap().code;
        client.sign_up(COMMISSION, "friend", &code).await.unwrap();
        shop
    }

    fn client(&self) -> Client {
        self.server.client()
    }

    /// A number that the server exposes.
    async fn metric(&self, name: &str) -> u64 {
        let text = get(&self.metrics, "/metrics", &[]).await.unwrap().text();
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.map_or(0, |number| number.parse().unwrap())
    }

    /// The number of batches that the server has appended.
    async fn batches(&self) -> u64 {
        self.metric("tributary_batch_commands_count").await
    }

    /// The number of purchases that the server has begun to record.
    async fn begun(&self) -> u64 {
        const STARTED: &str =
            "tributary_rpcs_started_total{service=\"PurchaseService\",rpc=\"RecordPurchase\"}";
        self.metric(STARTED).await
    }

    /// Waits until the server has begun to record so many purchases.
    async fn wait_until_begun(&self, purchases: u64) {
        while self.begun().await < purchases {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        // The calls that have just begun are queued within that time.
        tokio::time::sleep(Duration::from_millis(200)).await;
    }

    /// Makes the server wait for the lock of the log, so that commands meet in its queue or in its next batch.
    async fn occupy(&self, meeting: Meeting, name: &str) -> Occupied {
        match meeting {
            Meeting::Ahead => {}
            Meeting::Together => self.contend().await,
        }
        let begun = self.begun().await;
        let lock = lock_log(&self.database).await;
        let append = self.send(1, |_| purchase(&format!("occupying-{name}"), 100_000, ""));
        self.wait_until_begun(begun + 1).await;
        Occupied { lock, append, begun: begun + 1 }
    }

    /// Lets another server change a stream that the server has in memory. Its next few batches take the lock of the
    /// log before anything is decided.
    async fn contend(&self) {
        const CONFLICTS: &str = "tributary_conflicts_total";
        let before = self.metric(CONFLICTS).await;
        let began = Instant::now();
        // While the server still contends from earlier, it does not conflict.
        while self.metric(CONFLICTS).await == before {
            assert!(began.elapsed() < Duration::from_secs(30), "the servers do not contend");
            for server in [&self.server, &self.other, &self.server] {
                server.client().record(purchase("", 100_000, "")).await.unwrap();
            }
        }
    }

    /// Sends purchases at once, and goes on meanwhile.
    fn send(
        &self,
        count: usize,
        message: impl Fn(usize) -> RecordPurchaseRequest,
    ) -> JoinHandle<Vec<Result<RecordPurchaseResponse, Status>>> {
        let calls = (0..count).map(|number| {
            let (client, message) = (self.client(), message(number));
            async move { client.record(message).await }
        });
        tokio::spawn(at_once(calls.collect::<Vec<_>>()))
    }

    /// The number of purchases in the log.
    async fn recorded(&self) -> i64 {
        let recorded = "select count(*) from events where event_type = 'PurchaseRecorded'";
        self.database.count(recorded).await
    }

    async fn close(self) {
        tokio::join!(self.server.stop(), self.other.stop());
        check_books(&self.database).await;
        self.database.check().await;
    }
}

/// Lets commands wait behind the lock of the log until the transaction ends.
pub(super) async fn lock_log(database: &TestDatabase) -> Transaction<'static, Postgres> {
    let mut holder = database.pool.begin().await.unwrap();
    let lock = format!("select {}()", functions::name("lock_log"));
    sqlx::query(&lock).execute(&mut *holder).await.unwrap();
    holder
}

fn purchase(purchase_id: &str, amount: i64, request_id: &str) -> RecordPurchaseRequest {
    RecordPurchaseRequest {
        purchase_id: purchase_id.into(),
        buyer_user_id: "friend".into(),
        amount: Some(Money { currency_code: "INR".into(), minor_units: amount }),
        request_id: request_id.into(),
        ..RecordPurchaseRequest::default()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_purchases_with_one_id_are_answered_in_the_batches_of_everybody_else() {
    let shop = Shop::open().await;
    // The key is the id of the purchase, or the id of the request.
    let keys = ["PURCHASE_ID_REUSED", "REQUEST_ID_REUSED"];
    for (meeting, refusal) in MEETINGS.into_iter().flat_map(|of| keys.map(|key| (of, key))) {
        let name = format!("{meeting:?}-{refusal}");
        let occupied = shop.occupy(meeting, &name).await;
        let before = shop.batches().await;
        let rivals = shop.send(RIVALS, |number| {
            let amount = 100_000 + i64::try_from(number).unwrap();
            match refusal {
                "PURCHASE_ID_REUSED" => purchase(&format!("wanted-{name}"), amount, ""),
                _ => purchase("", amount, &format!("wanted-{name}")),
            }
        });
        let sent = occupied.begun + u64::try_from(RIVALS).unwrap();
        shop.wait_until_begun(sent).await;
        let others =
            shop.send(OTHERS, |number| purchase(&format!("other-{name}-{number}"), 100_000, ""));
        shop.wait_until_begun(sent + u64::try_from(OTHERS).unwrap()).await;
        occupied.release().await;
        let (others, rivals) = tokio::join!(others, rivals);
        for answer in others.unwrap() {
            answer.unwrap();
        }
        let (successes, reasons) = split(rivals.unwrap());
        assert_eq!(successes.len(), 1, "{name}");
        let expected = (Code::AlreadyExists, refusal.to_owned());
        assert!(reasons.iter().all(|reason| *reason == expected), "{name}: {reasons:?}");
        // One batch for the purchase that kept the server busy, one for those that came meanwhile, and some to spare.
        let needed = shop.batches().await - before;
        assert!(needed <= 4, "{name}: {needed} batches for {RIVALS} rivals");
    }
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_that_is_sent_twice_at_once_without_a_purchase_id_is_carried_out_once() {
    const REPETITIONS: usize = 30;
    let shop = Shop::open().await;
    for (meeting, round) in MEETINGS.into_iter().flat_map(|of| (0..3).map(move |round| (of, round)))
    {
        let name = format!("{meeting:?}-{round}");
        let occupied = shop.occupy(meeting, &name).await;
        let (before, recorded) = (shop.batches().await, shop.recorded().await);
        // The server chooses the id of the purchase, another one for each call.
        let calls = shop.send(REPETITIONS, |_| purchase("", 100_000, &format!("request-{name}")));
        shop.wait_until_begun(occupied.begun + u64::try_from(REPETITIONS).unwrap()).await;
        occupied.release().await;
        let answers = all(calls.await.unwrap());
        assert!(same(&answers), "{name}: {answers:?}");
        assert_eq!(answers[0].outcomes[0].rewards.len(), 1);
        // The other one is the purchase that kept the server busy.
        assert_eq!(shop.recorded().await - recorded, 2, "{name}");
        // A batch that the database refuses as a whole is tried one by one, and gives the same answers slowly.
        let needed = shop.batches().await - before;
        assert!(needed <= 4, "{name}: {needed} batches for {REPETITIONS} repetitions");
    }
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rival_of_a_refused_request_is_carried_out() {
    const CALLS: usize = 40;
    let shop = Shop::open().await;
    for (meeting, round) in MEETINGS.into_iter().flat_map(|of| (0..3).map(move |round| (of, round)))
    {
        let name = format!("{meeting:?}-{round}");
        let occupied = shop.occupy(meeting, &name).await;
        let recorded = shop.recorded().await;
        let calls = shop.send(CALLS, |number| {
            let message = purchase("", 100_000, &format!("request-{name}"));
            match number {
                20 => message,
                _ => RecordPurchaseRequest { buyer_user_id: format!("nobody-{number}"), ..message },
            }
        });
        shop.wait_until_begun(occupied.begun + u64::try_from(CALLS).unwrap()).await;
        occupied.release().await;
        for (number, answer) in calls.await.unwrap().into_iter().enumerate() {
            match answer {
                Ok(_) => assert_eq!(number, 20, "{name}"),
                // Those that are decided before the one that is carried out are refused for what they are.
                Err(status) => {
                    let (_, reason) = reason(&status);
                    let known = ["USER_NOT_FOUND", "REQUEST_ID_REUSED"].contains(&&*reason);
                    assert!(number != 20 && known, "{name}: {number}: {reason}");
                }
            }
        }
        assert_eq!(shop.recorded().await - recorded, 2, "{name}");
    }
    shop.close().await;
}
