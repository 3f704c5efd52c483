//! What the operations of a run share, and the calls that they consist of.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use tonic::Status;

use super::connections::Connections;
use super::error::reason;
use super::ledger::{Answer, Ledger, Write, id_in};
use super::population::Population;
use super::random::{Random, Zipf};
use contract::pb::account_service_client::AccountServiceClient;
use contract::pb::leaderboard_service_client::LeaderboardServiceClient;
use contract::pb::purchase_service_client::PurchaseServiceClient;
use contract::pb::referral_service_client::ReferralServiceClient;
use contract::pb::reward_service_client::RewardServiceClient;
use contract::pb::{
    GetBalancesRequest, GetLeaderboardRequest, GetRankRequest, GetReferralStatsRequest, Money,
    RecordPurchaseRequest, RecordPurchaseResponse, RefundPurchaseRequest, RegisterUserRequest,
};

/// The smallest amount of a purchase, and how far above it amounts go, in minor units.
const LEAST_AMOUNT_MINOR: u64 = 100_000;
const AMOUNT_RANGE_MINOR: u64 = 900_000;
/// The password of all users who have one.
pub(super) const PASSWORD: &str = "Corr3ct horse battery staple";
/// The currency of the program.
const CURRENCY: &str = "INR";
/// How many entries of a leaderboard are read.
const BOARD_ENTRIES: i32 = 10;
/// One in this many sign-ups has a code.
const SIGN_UPS_PER_CODE: u64 = 3;
/// The number of earlier users whose codes sign-ups choose from.
const MOST_REFERRERS: usize = 100_000;

/// The shares of operations of the mixed load, in percent; the rest are sign-ups.
const PURCHASES_PERCENT: u64 = 80;
const READS_PERCENT: u64 = 15;

/// The random choices of an operation. Each choice has separate draws, so that what an operation does is
/// independent of the user it concerns.
#[derive(Clone, Copy, Debug)]
enum Choice {
    Operation,
    Buyer,
    Amount,
    Read,
    Referrer,
}

/// The maximum number of choices.
const CHOICES: u64 = 8;

/// Everything that the operations of a run share.
#[derive(Debug)]
pub(super) struct World {
    pub(super) connections: Connections,
    /// The connections of whoever records purchases.
    pub(super) caller: Connections,
    pub(super) program_id: Arc<str>,
    pub(super) seed: u64,
    pub(super) ledger: Ledger,
    pub(super) population: Population,
    /// The run that signed up the population, if it was another one.
    pub(super) members_of: Option<String>,
    /// Whether users who sign up later have passwords.
    pub(super) passwords: bool,
    /// Codes of users who have signed up in this run, for later sign-ups.
    codes: RwLock<Vec<String>>,
    zipf: Zipf,
    pub(super) progress: Arc<Progress>,
}

/// The progress of a run.
#[derive(Debug, Default)]
pub struct Progress {
    step: Mutex<&'static str>,
    done: AtomicU64,
    failed: AtomicU64,
}

impl Progress {
    /// A new step of the run begins.
    pub(super) fn begin(&self, step: &'static str) {
        *self.step.lock().unwrap_or_else(PoisonError::into_inner) = step;
        self.done.store(0, Ordering::Relaxed);
        self.failed.store(0, Ordering::Relaxed);
    }

    /// The current step, and how many of its operations have succeeded and failed.
    pub fn now(&self) -> (&'static str, u64, u64) {
        let step = *self.step.lock().unwrap_or_else(PoisonError::into_inner);
        (step, self.done.load(Ordering::Relaxed), self.failed.load(Ordering::Relaxed))
    }
}

impl World {
    pub(super) fn new(
        connections: Connections,
        program_id: Arc<str>,
        seed: u64,
        ledger: Ledger,
        population: Population,
        progress: Arc<Progress>,
    ) -> Self {
        Self {
            caller: connections.clone(),
            connections,
            program_id,
            seed,
            ledger,
            population,
            members_of: None,
            passwords: false,
            codes: RwLock::new(Vec::new()),
            zipf: Zipf::new(MOST_REFERRERS),
            progress,
        }
    }

    /// Counts an operation, and converts its outcome for the driver.
    pub(super) fn ended<T>(&self, outcome: Result<T, Status>) -> Result<T, String> {
        let counter = if outcome.is_ok() { &self.progress.done } else { &self.progress.failed };
        counter.fetch_add(1, Ordering::Relaxed);
        outcome.map_err(|status| reason(&status))
    }

    fn random(&self, choice: Choice, number: u64) -> Random {
        Random::of(self.seed, number * CHOICES + choice as u64)
    }

    /// The id of a user of the population.
    pub(super) fn member(&self, number: u64) -> String {
        let run = self.members_of.as_deref().unwrap_or(self.ledger.run());
        id_in(run, Write::User, number)
    }

    /// Signs up a user, and returns their code.
    pub(super) async fn register(
        &self,
        number: u64,
        referral_code: String,
    ) -> Result<String, Status> {
        let user_id = self.ledger.id(Write::User, number);
        let has_password = self.passwords && number >= self.population.size();
        let message = RegisterUserRequest {
            username: user_id.clone(),
            email: format!("{user_id}@example.com"),
            password: if has_password { PASSWORD.into() } else { String::new() },
            user_id,
            program_id: self.program_id.to_string(),
            referral_code,
            ..Default::default()
        };
        let mut client = AccountServiceClient::new(self.connections.channel(number));
        let outcome = client.register_user(self.connections.request(message)).await;
        self.ledger.note(Write::User, number, Answer::of(&outcome));
        let participant = outcome?.into_inner().participants.into_iter().next();
        Ok(participant.unwrap_or_default().code)
    }

    /// A sign-up, every third with the code of an earlier user. The seed determines the rank that is chosen;
    /// which user has that rank depends on the order of the answers.
    pub(super) async fn sign_up(&self, number: u64) -> Result<(), Status> {
        let code = if number % SIGN_UPS_PER_CODE == SIGN_UPS_PER_CODE - 1 {
            let codes = self.codes.read().unwrap_or_else(PoisonError::into_inner);
            let chosen = self.zipf.index(&mut self.random(Choice::Referrer, number), codes.len());
            codes.get(chosen).cloned().unwrap_or_default()
        } else {
            String::new()
        };
        let code = self.register(self.population.size() + number, code).await?;
        let mut codes = self.codes.write().unwrap_or_else(PoisonError::into_inner);
        if codes.len() < MOST_REFERRERS {
            codes.push(code);
        }
        Ok(())
    }

    /// The user who buys in operation `number`.
    pub(super) fn buyer(&self, number: u64) -> u64 {
        let buyers = self.population.buyers();
        buyers.start + self.random(Choice::Buyer, number).below(buyers.end - buyers.start)
    }

    /// A purchase by one of the buyers.
    pub(super) async fn purchase(&self, number: u64) -> Result<RecordPurchaseResponse, Status> {
        let above = self.random(Choice::Amount, number).below(AMOUNT_RANGE_MINOR);
        let minor_units = LEAST_AMOUNT_MINOR + above;
        let message = RecordPurchaseRequest {
            purchase_id: self.ledger.id(Write::Purchase, number),
            buyer_user_id: self.member(self.buyer(number)),
            amount: Some(Money {
                currency_code: CURRENCY.into(),
                minor_units: i64::try_from(minor_units).unwrap_or(i64::MAX),
            }),
            ..Default::default()
        };
        let mut client = PurchaseServiceClient::new(self.caller.channel(number));
        let outcome = client.record_purchase(self.caller.request(message)).await;
        self.ledger.note(Write::Purchase, number, Answer::of(&outcome));
        Ok(outcome?.into_inner())
    }

    /// Refunds the whole price of a purchase.
    pub(super) async fn refund(&self, number: u64) -> Result<(), Status> {
        let message = RefundPurchaseRequest {
            purchase_id: self.ledger.id(Write::Purchase, number),
            refund_id: "whole".into(),
            ..Default::default()
        };
        let mut client = PurchaseServiceClient::new(self.caller.channel(number));
        client.refund_purchase(self.caller.request(message)).await.map(drop)
    }

    /// The balances of a user, at least as new as a token.
    pub(super) async fn balances(
        &self,
        number: u64,
        user_id: String,
        consistency_token: String,
    ) -> Result<(), Status> {
        let program_id = self.program_id.to_string();
        let message =
            GetBalancesRequest { program_id, user_id, consistency_token, ..Default::default() };
        let mut client = RewardServiceClient::new(self.connections.channel(number));
        client.get_balances(self.connections.request(message)).await?;
        Ok(())
    }

    /// One of the reads that an application shows its users.
    async fn read(&self, number: u64) -> Result<(), Status> {
        let mut random = self.random(Choice::Read, number);
        let user_id = self.member(random.below(self.population.size()));
        match random.below(4) {
            0 => self.balances(number, user_id, String::new()).await,
            1 => {
                let program_id = self.program_id.to_string();
                let message = GetReferralStatsRequest { program_id, user_id, ..Default::default() };
                let mut client = ReferralServiceClient::new(self.connections.channel(number));
                client.get_referral_stats(self.connections.request(message)).await.map(drop)
            }
            2 => self.top(number).await,
            _ => self.rank(number, user_id).await,
        }
    }

    /// The first page of the leaderboard.
    async fn top(&self, number: u64) -> Result<(), Status> {
        let message = GetLeaderboardRequest {
            program_id: self.program_id.to_string(),
            page_size: BOARD_ENTRIES,
            ..Default::default()
        };
        let mut client = LeaderboardServiceClient::new(self.connections.channel(number));
        client.get_leaderboard(self.connections.request(message)).await.map(drop)
    }

    /// The rank of a user.
    async fn rank(&self, number: u64, user_id: String) -> Result<(), Status> {
        let program_id = self.program_id.to_string();
        let message = GetRankRequest { program_id, user_id, ..Default::default() };
        let mut client = LeaderboardServiceClient::new(self.connections.channel(number));
        client.get_rank(self.connections.request(message)).await.map(drop)
    }

    /// The top of the leaderboard, and in the next operation the rank of anybody.
    pub(super) async fn leaderboard(&self, number: u64) -> Result<(), Status> {
        if number.is_multiple_of(2) {
            return self.top(number).await;
        }
        let anybody = self.random(Choice::Read, number).below(self.population.size());
        self.rank(number, self.member(anybody)).await
    }

    /// Mostly purchases, some reads, a few sign-ups.
    pub(super) async fn mixed(&self, number: u64) -> Result<(), Status> {
        match self.random(Choice::Operation, number).below(100) {
            0..PURCHASES_PERCENT => self.purchase(number).await.map(drop),
            draw if draw < PURCHASES_PERCENT + READS_PERCENT => self.read(number).await,
            _ => self.sign_up(number).await,
        }
    }
}
