//! Business times go by the clock of the log, on every server, whatever the clock of its machine says.

#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use contract::pb::{Money, RecordPurchaseRequest, RecordPurchaseResponse};
use domain::Timestamp;
use prost_types::Timestamp as PbTimestamp;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic::Status;
use tonic::transport::Endpoint;
use tributary::api::{Server, ServerOptions, ServerSettings};
use tributary::engine::{Environment, Limits};
use tributary::store::Database;
use tributary::traces::Traces;

use crate::races::COMMISSION;
use testing::plain_http::get;
use testing::{ADMIN_KEY, Client, TestDatabase, check_books, program, reason};

/// A server in this process on a machine whose clock is ahead.
struct Shifted {
    client: Client,
    metrics: String,
    stop: CancellationToken,
    serving: tokio::task::JoinHandle<()>,
}

impl Shifted {
    async fn start(database: &TestDatabase, ahead_s: i64) -> Self {
        let machine = Environment::of_this_machine().unwrap();
        let now = machine.now.clone();
        let now = Arc::new(move || now().plus_seconds(ahead_s));
        let metrics_listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let metrics = metrics_listener.local_addr().unwrap().to_string();
        let server = Server::start(ServerOptions {
            database: Database::new(&database.url, 4).unwrap(),
            admin_key: ADMIN_KEY.into(),
            access: tributary::access::Settings::default(),
            environment: Environment { now, ..machine },
            settings: ServerSettings::default(),
            payments: tributary::payments::Settings::default(),
            transport: tributary::api::transport::Limits::default(),
            engine: Limits::default(),
            live: tributary::live::Limits::default(),
            jobs: tributary::jobs::Limits::default(),
            mail: tributary::mails::MailSettings::nowhere().unwrap(),
            metrics_listener: Some(metrics_listener),
            traces: Traces::default(),
        })
        .await
        .unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let stop = CancellationToken::new();
        let stopped = stop.clone().cancelled_owned();
        let serving =
            tokio::spawn(async move { server.serve(listener, stopped, |_| {}).await.unwrap() });
        let channel = Endpoint::from_shared(url).unwrap().connect().await.unwrap();
        Self { client: Client::new(channel, Some(ADMIN_KEY)), metrics, stop, serving }
    }

    /// How far its machine is ahead of the log's clock, by its own metrics.
    async fn ahead_s(&self) -> f64 {
        let text = get(&self.metrics, "/metrics", &[]).await.unwrap().text();
        let line =
            text.lines().find_map(|line| line.strip_prefix("tributary_clock_ahead_seconds "));
        line.unwrap().parse().unwrap()
    }

    async fn stop(self) {
        self.stop.cancel();
        self.serving.await.unwrap();
    }
}

/// A moment by the clock of the tests' machine, on which the database runs.
fn moment(ahead_s: i64) -> PbTimestamp {
    let now = SystemTime::UNIX_EPOCH.elapsed().unwrap();
    let seconds = i64::try_from(now.as_secs()).unwrap() + ahead_s;
    PbTimestamp { seconds, nanos: i32::try_from(now.subsec_nanos()).unwrap() }
}

async fn buy(
    client: &Client,
    purchase_id: &str,
    ahead_s: i64,
) -> Result<RecordPurchaseResponse, Status> {
    // The servers know the log's clock to some milliseconds.
    tokio::time::sleep(Duration::from_millis(200)).await;
    let message = RecordPurchaseRequest {
        purchase_id: purchase_id.into(),
        buyer_user_id: "friend".into(),
        amount: Some(Money { currency_code: "INR".into(), minor_units: 100_000 }),
        purchase_time: Some(moment(ahead_s)),
        ..RecordPurchaseRequest::default()
    };
    client.record(message).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_whose_machine_is_ten_minutes_off_dates_everything_like_the_others() {
    for ahead_s in [600, -600] {
        let database = TestDatabase::new().await;
        let normal = Shifted::start(&database, 0).await;
        let shifted = Shifted::start(&database, ahead_s).await;
        let client = &shifted.client;
        client.publish_shipped(COMMISSION).await;
        let code = client.sign_up(COMMISSION, "owner", "").await.unwrap().code;
        client.sign_up(COMMISSION, "friend", &code).await.unwrap();
        // Purchases dated by a correct clock come after the referral, after a new version of the program and
        // after a reactivation, whichever server dated those and whichever records the purchase.
        for (number, buyer_of) in [&normal.client, client].into_iter().enumerate() {
            let bought = buy(buyer_of, &format!("first-{number}"), 0).await.unwrap();
            assert_eq!(bought.outcomes[0].rewards.len(), 1, "{bought:?}");
            let json = std::fs::read_to_string(program(COMMISSION)).unwrap();
            let mut next = contract::parse_program(&json).unwrap();
            next.minimum_purchase_minor = i64::try_from(number).unwrap() + 7;
            let version = client.publish(next).await.unwrap().version;
            let bought = buy(buyer_of, &format!("second-{number}"), 0).await.unwrap();
            assert_eq!(bought.outcomes[0].program_version, version, "{bought:?}");
            client.deactivate("owner").await.unwrap();
            client.reactivate("owner").await.unwrap();
            let bought = buy(buyer_of, &format!("third-{number}"), 0).await.unwrap();
            assert_eq!(bought.outcomes[0].rewards.len(), 1, "{bought:?}");
            // The same bound for the future on every server.
            buy(buyer_of, &format!("soon-{number}"), 4 * 60).await.unwrap();
            let status = buy(buyer_of, &format!("later-{number}"), 6 * 60).await.unwrap_err();
            assert_eq!(reason(&status).1, "INVALID_FIELD");
        }
        let dated: Vec<(i64,)> = sqlx::query_as(
            "select (coalesce(payload ->> 'referral_time_us', payload ->> 'publish_time_us',
                    payload ->> 'register_time_us', payload ->> 'reactivate_time_us')::numeric
                - extract(epoch from recorded_at) * 1000000)::bigint
            from events where payload ?| array[
                'referral_time_us', 'publish_time_us', 'register_time_us', 'reactivate_time_us']",
        )
        .fetch_all(&database.pool)
        .await
        .unwrap();
        assert!(dated.len() >= 6, "{dated:?}");
        for (difference,) in dated {
            assert!(difference.abs() < 2 * Timestamp::PER_SECOND, "{difference}");
        }
        let (off, right) = (shifted.ahead_s().await, normal.ahead_s().await);
        #[expect(clippy::cast_precision_loss, reason = "a small number")]
        let expected = ahead_s as f64;
        assert!((off - expected).abs() < 2.0 && right.abs() < 2.0, "{off} and {right}");
        shifted.stop().await;
        normal.stop().await;
        check_books(&database).await;
        database.check().await;
    }
}
