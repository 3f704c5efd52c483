//! Live streams of every kind, read in the same way, and the log that they must agree with.

use std::fmt::Debug;
use std::time::Duration;

use contract::pb::*;
use sqlx::Row;
use sqlx::postgres::PgRow;
use tonic::{Response, Status, Streaming};

use super::{Client, Server, ServerOptions, TestDatabase};

/// How long a test waits for a message that is sure to come.
const PATIENCE: Duration = Duration::from_mins(1);

/// A message of some stream.
pub trait Message: Debug + Send + Sync + 'static {
    /// The token to resume from after this message.
    fn token(&self) -> &str;
    /// Whether the message only has a token.
    fn is_heartbeat(&self) -> bool;
}

macro_rules! messages {
    ($($message:ident: $is_heartbeat:expr;)+) => {
        $(
            impl Message for $message {
                fn token(&self) -> &str {
                    &self.resume_token
                }

                fn is_heartbeat(&self) -> bool {
                    let is_heartbeat: fn(&Self) -> bool = $is_heartbeat;
                    is_heartbeat(self)
                }
            }
        )+
    };
}

messages! {
    WatchEarningsResponse: |message| message.reward.is_none() && message.withheld.is_none();
    WatchBalancesResponse: |message| message.balances.is_empty();
    WatchTierResponse: |message| message.tier.is_empty();
    WatchParticipantResponse: |message| message.change.is_none();
    WatchLeaderboardResponse: |message| !message.snapshot && message.entries.is_empty();
    WatchEventsResponse: |message| message.event.is_none();
}

/// A stream that is being read.
pub struct Watched<M> {
    stream: Streaming<M>,
    /// The token of the last message.
    pub token: String,
}

/// A stream whose first message has been read, and that message.
pub struct Begun<M> {
    pub first: M,
    pub rest: Watched<M>,
}

impl<M: Message> Watched<M> {
    async fn begin(response: Response<Streaming<M>>) -> Result<Begun<M>, Status> {
        let mut rest = Self { stream: response.into_inner(), token: String::new() };
        let first = rest.next().await?;
        Ok(Begun { first, rest })
    }

    /// The next message of any sort.
    pub async fn next(&mut self) -> Result<M, Status> {
        let message = tokio::time::timeout(PATIENCE, self.stream.message());
        let message = message.await.expect("a message in time")?;
        let message = message.expect("a stream ends with a reason");
        assert!(!message.token().is_empty(), "no token: {message:?}");
        message.token().clone_into(&mut self.token);
        Ok(message)
    }

    /// The next message other than heartbeats, or why there is none.
    pub async fn try_news(&mut self) -> Result<M, Status> {
        loop {
            let message = self.next().await?;
            if !message.is_heartbeat() {
                return Ok(message);
            }
        }
    }

    /// The next message other than heartbeats.
    pub async fn news(&mut self) -> M {
        self.try_news().await.expect("the stream goes on")
    }

    /// The messages up to the next heartbeat, excluding it.
    pub async fn until_heartbeat(&mut self) -> Vec<M> {
        let mut messages = Vec::new();
        loop {
            let message = self.next().await.expect("the stream goes on");
            if message.is_heartbeat() {
                return messages;
            }
            messages.push(message);
        }
    }

    /// Reads until the stream ends. Returns the messages other than heartbeats, and why the stream ended.
    pub async fn end(&mut self) -> (Vec<M>, Status) {
        let mut messages = Vec::new();
        loop {
            match self.try_news().await {
                Ok(message) => messages.push(message),
                Err(status) => return (messages, status),
            }
        }
    }
}

impl Client {
    pub async fn watch_earnings(
        &self,
        program_id: &str,
        user_id: &str,
        resume_token: &str,
    ) -> Result<Begun<WatchEarningsResponse>, Status> {
        let message = WatchEarningsRequest {
            program_id: program_id.into(),
            user_id: user_id.into(),
            resume_token: resume_token.into(),
        };
        Watched::begin(self.rewards().watch_earnings(self.request(message)).await?).await
    }

    pub async fn watch_balances(
        &self,
        program_id: &str,
        user_id: &str,
        resume_token: &str,
    ) -> Result<Begun<WatchBalancesResponse>, Status> {
        let message = WatchBalancesRequest {
            program_id: program_id.into(),
            user_id: user_id.into(),
            resume_token: resume_token.into(),
        };
        Watched::begin(self.rewards().watch_balances(self.request(message)).await?).await
    }

    pub async fn watch_tier(
        &self,
        program_id: &str,
        user_id: &str,
        resume_token: &str,
    ) -> Result<Begun<WatchTierResponse>, Status> {
        let message = WatchTierRequest {
            program_id: program_id.into(),
            user_id: user_id.into(),
            resume_token: resume_token.into(),
        };
        Watched::begin(self.rewards().watch_tier(self.request(message)).await?).await
    }

    pub async fn watch_participant(
        &self,
        program_id: &str,
        user_id: &str,
        resume_token: &str,
    ) -> Result<Begun<WatchParticipantResponse>, Status> {
        let message = WatchParticipantRequest {
            program_id: program_id.into(),
            user_id: user_id.into(),
            resume_token: resume_token.into(),
        };
        Watched::begin(self.rewards().watch_participant(self.request(message)).await?).await
    }

    pub async fn watch_leaderboard(
        &self,
        message: WatchLeaderboardRequest,
    ) -> Result<Begun<WatchLeaderboardResponse>, Status> {
        Watched::begin(self.leaderboards().watch_leaderboard(self.request(message)).await?).await
    }

    pub async fn watch_events(
        &self,
        event_types: &[&str],
        user_id: &str,
        resume_token: &str,
    ) -> Result<Begun<WatchEventsResponse>, Status> {
        let message = WatchEventsRequest {
            event_types: event_types.iter().map(|&name| name.into()).collect(),
            user_id: user_id.into(),
            resume_token: resume_token.into(),
            ..Default::default()
        };
        Watched::begin(self.operators().watch_events(self.request(message)).await?).await
    }
}

/// One more server on a database, with further arguments.
pub async fn second_server(database: &TestDatabase, arguments: &[&str]) -> Server {
    let arguments = arguments.iter().map(|&argument| argument.into()).collect();
    Server::start_with(&database.url, &ServerOptions { arguments }).await
}

/// The parts of an event that must be the same in the log and in every stream.
#[derive(Clone, Debug, PartialEq)]
pub struct Logged {
    pub position: i64,
    pub recorded_at_us: i64,
    pub aggregate: (String, String),
    pub sequence: i64,
    pub event_type: String,
    pub event_version: String,
    pub payload: serde_json::Value,
    /// Who caused the command, and how it came in; empty but on its first event.
    pub actor: String,
    pub door: String,
}

impl From<&Event> for Logged {
    fn from(event: &Event) -> Self {
        let time = event.create_time.as_ref().expect("a time");
        Self {
            position: event.position,
            recorded_at_us: time.seconds * 1_000_000 + i64::from(time.nanos) / 1_000,
            aggregate: (event.aggregate_type.clone(), event.aggregate_id.clone()),
            sequence: event.sequence,
            event_type: event.event_type.clone(),
            event_version: event.event_version.clone(),
            payload: serde_json::from_str(&event.payload_json).expect("a JSON object"),
            actor: event.actor.clone(),
            door: event.door.clone(),
        }
    }
}

/// The events of the log that match an SQL condition, in order.
pub async fn in_log(database: &TestDatabase, condition: &str) -> Vec<Logged> {
    let query = format!(
        "select *, (extract(epoch from recorded_at) * 1000000)::bigint as recorded_at_us,
             coalesce(metadata ->> 'actor', '') as actor, coalesce(metadata ->> 'door', '') as door
         from events where {condition} order by position"
    );
    let logged = |row: &PgRow| Logged {
        position: row.get("position"),
        recorded_at_us: row.get("recorded_at_us"),
        aggregate: (row.get("aggregate_type"), row.get("aggregate_id")),
        sequence: row.get("sequence"),
        event_type: row.get("event_type"),
        event_version: row.get("event_version"),
        payload: row.get("payload"),
        actor: row.get("actor"),
        door: row.get("door"),
    };
    sqlx::query(&query).fetch_all(&database.pool).await.unwrap().iter().map(logged).collect()
}
