//! The same aggregates, run by plain `cqrs-es` on `postgres-es`, as their documentation describes.
//!
//! A purchase is four calls of `CqrsFramework::execute`: the purchase itself, then the buyer (whose referral
//! converts, the first time), the referrer and the referrer's referrer. Each call loads its aggregate from a
//! snapshot and the events since, decides, and appends in a transaction of its own. Of several calls that
//! change one aggregate at the same time, all but one end in `AggregateConflict`, and the caller tries again.
//!
//! Why it is fair:
//!
//! - States and events are the engine's own, and so is the aggregate of purchases; that of participants
//!   ([`Earner`]) has the two commands of the engine's that a purchase needs. Nothing is computed or
//!   stored that the engine would not.
//! - `postgres_snapshot_cqrs` with a snapshot every 100 events. Its tables are the crate's with small
//!   improvements (`event_sourced.sql`); the hundreds of different statements that it generates stay
//!   prepared.
//! - The calls of one purchase are made one after the other. Sending the commands to the three participants
//!   at the same time was tried (debug build, busy machine): it gave twice as many conflicts, and no more
//!   purchases.
//! - The earners are known beforehand; a real application would have to look up both referrers.
//! - Participants begin with one or two events, not with one for each that they referred.
//! - There are no queries (read models) to update.
//! - Retries use a growing backoff with jitter. Immediate retries gave about the same throughput.
//!
//! What it leaves out: the four calls are not one transaction. A crash between them leaves a purchase whose
//! rewards were granted only in part, and nothing that would notice.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use cqrs_es::event_sink::EventSink;
use cqrs_es::{Aggregate, AggregateError, DomainEvent};
use postgres_es::{PostgresCqrs, postgres_snapshot_cqrs};
use serde::{Deserialize, Serialize};
use sqlx::PgPool;

use domain::{
    Participant, ParticipantEnrolled, ParticipantEvent, Purchase, PurchaseCommand, PurchaseId,
    ReferralApplied, ReferralConverted, ReferralStatus, Refusal, Timestamp,
};

use super::books::{Books, Standing};
use super::sale::{Earning, Sale};
use super::{Population, Rival, in_words, pool};

const SCHEMA: &str = "rival_event_sourced";
const TABLES: &str = include_str!("event_sourced.sql");
const STANDINGS: &str = include_str!("event_sourced_standings.sql");

/// Events between two snapshots of an aggregate.
const SNAPSHOT_EVENTS: usize = 100;
/// How often one call is tried before the run fails.
const MAX_ATTEMPTS: u32 = 10_000;
/// The longest pause between two attempts of a call.
const MAX_BACKOFF_MS: u64 = 16;

/// The commands of a participant about a purchase.
#[derive(Clone, Debug)]
enum EarnerCommand {
    /// The participant bought something from which others earned.
    Convert(PurchaseId),
    /// The participant earned something.
    Grant(Box<Earning>),
}

/// A participant, with the engine's state and its events.
#[derive(Default, Serialize, Deserialize)]
#[serde(transparent)]
struct Earner(Participant);

impl Aggregate for Earner {
    const TYPE: &'static str = Participant::TYPE;
    type Command = EarnerCommand;
    type Event = ParticipantEvent;
    type Error = Refusal;
    type Services = ();

    async fn handle(
        &mut self,
        command: EarnerCommand,
        (): &(),
        sink: &EventSink<Self>,
    ) -> Result<(), Refusal> {
        let event: ParticipantEvent = match (command, self.0.referral()) {
            (EarnerCommand::Convert(purchase_id), Some(referral))
                if referral.status == ReferralStatus::Pending =>
            {
                let purchase_id = Some(purchase_id);
                ReferralConverted {
                    purchase_id,
                    converted_while_inactive: false,
                    program_version: None,
                    rewards: Vec::new(),
                }
                .into()
            }
            (EarnerCommand::Convert(..), _) => return Ok(()),
            (EarnerCommand::Grant(earning), _) => {
                let level = self.0.level(earning.level);
                let amount_minor = earning.amount_minor;
                earning
                    .granted(
                        level.total_minor + amount_minor,
                        level.count + 1,
                        self.0.earned_minor() + amount_minor,
                        self.0.balance_minor() + amount_minor,
                    )
                    .into()
            }
        };
        sink.write(event, self).await;
        Ok(())
    }

    /// Totals in events are absolute, so it does no harm that the framework applies an event twice when it
    /// makes a snapshot.
    fn apply(&mut self, event: ParticipantEvent) {
        self.0.apply(event);
    }
}

/// Plain `cqrs-es` and `postgres-es`.
pub struct EventSourced {
    pool: PgPool,
    population: Population,
    purchases: PostgresCqrs<Purchase>,
    participants: PostgresCqrs<Earner>,
    retries: AtomicU64,
}

impl EventSourced {
    /// Creates the tables and the participants in a separate schema, which replaces that of an earlier run.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn connect(
        url: &str,
        pool_size: u32,
        population: Population,
    ) -> Result<Self, String> {
        let pool = pool::open(url, SCHEMA, &[TABLES], pool_size).await?;
        enroll(&pool, &population).await?;
        sqlx::raw_sql("analyze events, snapshots").execute(&pool).await.map_err(in_words)?;
        Ok(Self {
            purchases: postgres_snapshot_cqrs(pool.clone(), vec![], SNAPSHOT_EVENTS, ()),
            participants: postgres_snapshot_cqrs(pool.clone(), vec![], SNAPSHOT_EVENTS, ()),
            pool,
            population,
            retries: AtomicU64::new(0),
        })
    }

    /// Sends a command to an aggregate, and retries while it conflicts.
    async fn tell<A>(
        &self,
        framework: &PostgresCqrs<A>,
        id: &str,
        command: A::Command,
    ) -> Result<(), AggregateError<Refusal>>
    where
        A: Aggregate<Error = Refusal>,
        A::Command: Clone,
    {
        let mut attempt = 0;
        loop {
            match framework.execute(id, command.clone()).await {
                Err(AggregateError::AggregateConflict) if attempt < MAX_ATTEMPTS => {
                    attempt += 1;
                    let retries = self.retries.fetch_add(1, Ordering::Relaxed);
                    tokio::time::sleep(backoff(attempt, retries)).await;
                }
                outcome => return outcome,
            }
        }
    }
}

/// A backoff that grows with each attempt, with a different jitter for each retry.
fn backoff(attempt: u32, retries: u64) -> Duration {
    let most_us = (1_000 << attempt.min(10)).min(MAX_BACKOFF_MS * 1_000);
    // A multiplicative hash spreads consecutive numbers evenly.
    let spread = retries.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32;
    Duration::from_micros((spread * most_us) >> 32)
}

impl Rival for EventSourced {
    fn name(&self) -> &'static str {
        "cqrs-es + postgres-es, four calls"
    }

    async fn purchase(&self, number: u64, buyer: usize, amount_minor: i64) -> Result<(), String> {
        let Sale { purchase_id, recorded, buyer, earnings: [direct, upline] } =
            Sale::new(&self.population, number, buyer, amount_minor)?;
        let record = PurchaseCommand::Record { purchase_id: purchase_id.clone(), recorded };
        match self.tell(&self.purchases, purchase_id.as_str(), record).await {
            // The purchase was recorded before; whether its rewards were granted is unknown.
            Err(AggregateError::UserError(Refusal::PurchaseIdReused(_))) => return Ok(()),
            outcome => outcome.map_err(in_words)?,
        }

        let convert = EarnerCommand::Convert(purchase_id);
        let [buyer, parent, grandparent] =
            [&buyer, &direct.earner, &upline.earner].map(ToString::to_string);
        let [direct, upline] =
            [direct, upline].map(|earning| EarnerCommand::Grant(Box::new(earning)));
        self.tell(&self.participants, &buyer, convert).await.map_err(in_words)?;
        self.tell(&self.participants, &parent, direct).await.map_err(in_words)?;
        self.tell(&self.participants, &grandparent, upline).await.map_err(in_words)
    }

    async fn check(&self, acknowledged: u64) -> Result<(), String> {
        let purchases = sqlx::query_as(
            "select payload ->> 'buyer_user_id', (payload ->> 'amount_minor')::bigint from events \
             where aggregate_type = 'Purchase'",
        )
        .fetch_all(&self.pool)
        .await
        .map_err(in_words)?;
        let rows: Vec<(String, i64, i64, i64, bool)> =
            sqlx::query_as(STANDINGS).fetch_all(&self.pool).await.map_err(in_words)?;
        let standings: HashMap<_, _> = rows
            .into_iter()
            .map(|(user_id, rewards, granted_minor, balance_minor, converted)| {
                (user_id, Standing { rewards, granted_minor, balance_minor, converted })
            })
            .collect();
        Books { purchases, standings }.check(&self.population, acknowledged)
    }

    fn retries(&self) -> u64 {
        self.retries.load(Ordering::Relaxed)
    }
}

/// Writes the first events of participants without the framework: this is not measured.
async fn enroll(pool: &PgPool, population: &Population) -> Result<(), String> {
    let everybody: Vec<usize> = (0..population.participants()).collect();
    for some in everybody.chunks(pool::ROWS_AT_ONCE) {
        let mut rows = (vec![], vec![], vec![], vec![], vec![]);
        for &participant in some {
            let id = population.participant_id(participant)?.to_string();
            for (sequence, event) in (1_i64..).zip(beginning(population, participant)?) {
                rows.0.push(id.clone());
                rows.1.push(sequence);
                rows.2.push(event.event_type());
                rows.3.push(event.event_version());
                rows.4.push(serde_json::to_string(&event).map_err(in_words)?);
            }
        }
        sqlx::query(
            "insert into events select 'Participant', id, sequence, type, version, payload::jsonb, \
             '{}'::jsonb from unnest($1::text[], $2::bigint[], $3::text[], $4::text[], $5::text[]) \
             as event (id, sequence, type, version, payload)",
        )
        .bind(rows.0)
        .bind(rows.1)
        .bind(rows.2)
        .bind(rows.3)
        .bind(rows.4)
        .execute(pool)
        .await
        .map_err(in_words)?;
    }
    Ok(())
}

fn beginning(population: &Population, participant: usize) -> Result<Vec<ParticipantEvent>, String> {
    let code = format!("{participant:08}");
    let mut events = vec![
        ParticipantEnrolled {
            link: format!("https://example.com/join?code={code}"),
            code,
            code_passed_over: None,
        }
        .into(),
    ];
    if let Some(referrer) = population.referrer(participant) {
        let applied = ReferralApplied {
            hold_reasons: Vec::new(),
            flags: Vec::new(),
            referrer_user_id: population.participant_id(referrer)?.user_id,
            status: ReferralStatus::Pending,
            referral_time_us: Timestamp::default(),
            made_while_inactive: false,
        };
        events.push(applied.into());
    }
    Ok(events)
}
