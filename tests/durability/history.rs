//! A realistic history: users who sign up, refer one another, buy, leave and come back, in all shipped
//! programs at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use contract::pb::{EnrollParticipantRequest, Money, RecordPurchaseRequest};
use tonic::{Code, Status};

use testing::{ADMIN_KEY, Client, Server, at_once, sign_up_request};

/// All shipped programs.
pub const PROGRAMS: [&str; 5] = [
    "multi-level-commission",
    "first-purchase-bonus",
    "first-purchase-credits",
    "referral-count",
    "tiered-points",
];

/// A worker that runs commands one after the other.
#[derive(Clone)]
pub struct Worker {
    name: String,
    steps: u64,
    random: u64,
    /// The participants whose codes are used: program, user and code.
    members: Vec<(usize, String, String)>,
}

/// Publishes all programs, and signs up one user in each whose code all workers know.
pub async fn begin(client: &Client, workers: usize) -> Vec<Worker> {
    let mut members = Vec::new();
    for (index, program) in PROGRAMS.iter().enumerate() {
        client.publish_shipped(program).await;
        let root = client.sign_up(program, &format!("root{index}"), "").await.unwrap();
        members.push((index, root.user_id, root.code));
    }
    (0..workers)
        .map(|worker| Worker {
            name: format!("w{worker}"),
            steps: 0,
            random: 7_919 * (worker as u64 + 1),
            members: members.clone(),
        })
        .collect()
}

impl Worker {
    /// A number below `end`, the same in every run.
    fn random(&mut self, end: usize) -> usize {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        usize::try_from(self.random % end as u64).unwrap()
    }

    fn member(&mut self) -> (usize, String, String) {
        let index = self.random(self.members.len());
        self.members[index].clone()
    }

    /// A code of a program, often that of the user whom all workers know.
    fn code(&mut self, program: usize) -> String {
        let of_program: Vec<String> = self
            .members
            .iter()
            .filter(|member| member.0 == program)
            .map(|member| member.2.clone())
            .collect();
        match self.random(5) {
            0 => String::new(),
            1 | 2 => of_program[0].clone(),
            _ => {
                let index = self.random(of_program.len());
                of_program[index].clone()
            }
        }
    }

    /// Runs one command. Refusals by the rules are expected.
    pub async fn step(&mut self, client: &Client) -> Result<(), Status> {
        let refusals = [Code::FailedPrecondition, Code::AlreadyExists, Code::NotFound];
        self.steps += 1;
        let name = format!("{}-{}", self.name, self.steps);
        let done = match self.random(16) {
            0..7 => self.sign_up(client, &name).await,
            7..12 => self.buy(client, &name).await,
            12 => self.enroll(client).await,
            13 => {
                let (referee, referrer) = (self.member().1, self.member().1);
                client.refer(PROGRAMS[0], &referee, &referrer).await.map(|_| ())
            }
            14 => client.deactivate(&self.member().1).await.map(|_| ()),
            _ => client.reactivate(&self.member().1).await.map(|_| ()),
        };
        match done {
            Err(status) if refusals.contains(&status.code()) => Ok(()),
            done => done,
        }
    }

    async fn sign_up(&mut self, client: &Client, name: &str) -> Result<(), Status> {
        let program = self.random(PROGRAMS.len());
        let request = sign_up_request(PROGRAMS[program], name, &self.code(program));
        let answer = client.register(request).await?;
        self.members.push((program, name.into(), answer.participants[0].code.clone()));
        Ok(())
    }

    #[allow(clippy::disallowed_methods, reason = "purchases of a moment ago")]
    async fn buy(&mut self, client: &Client, name: &str) -> Result<(), Status> {
        let (program, buyer, _) = self.member();
        let currency_code = if program == 0 { "INR" } else { "USD" };
        let minor_units = [500, 1_000, 99_999, 100_000, 123_450][self.random(5)];
        let purchase_time = match self.random(3) {
            0 => Some((SystemTime::now() - Duration::from_millis(500)).into()),
            _ => None,
        };
        let request = RecordPurchaseRequest {
            purchase_id: name.into(),
            buyer_user_id: buyer,
            amount: Some(Money { currency_code: currency_code.into(), minor_units }),
            purchase_time,
            ..RecordPurchaseRequest::default()
        };
        client.record(request).await.map(|_| ())
    }

    async fn enroll(&mut self, client: &Client) -> Result<(), Status> {
        let (user_id, program) = (self.member().1, self.random(PROGRAMS.len()));
        let request = EnrollParticipantRequest {
            program_id: PROGRAMS[program].into(),
            user_id: user_id.clone(),
            referral_code: self.code(program),
            ..EnrollParticipantRequest::default()
        };
        let answer = client.programs().enroll_participant(client.request(request)).await?;
        let participant = answer.into_inner().participant.unwrap();
        self.members.push((program, user_id, participant.code));
        Ok(())
    }
}

/// Lets workers run, each over its own connection, until the flag is set or a call fails, which may only
/// happen once the flag is set. Returns the workers, so that they can continue.
pub async fn work(server: &Server, workers: Vec<Worker>, stop: &Arc<AtomicBool>) -> Working {
    let mut calls = Vec::new();
    for mut worker in workers {
        let client = server.separate_client(Some(ADMIN_KEY)).await;
        let stop = stop.clone();
        calls.push(async move {
            while !stop.load(Ordering::SeqCst) {
                if let Err(status) = worker.step(&client).await {
                    assert!(stop.load(Ordering::SeqCst), "{status:?}");
                }
            }
            worker
        });
    }
    Working(tokio::spawn(at_once(calls)))
}

/// Workers at work.
pub struct Working(tokio::task::JoinHandle<Vec<Worker>>);

impl Working {
    /// Waits until all workers have stopped.
    pub async fn ended(self) -> Vec<Worker> {
        self.0.await.unwrap()
    }
}

/// Lets each worker run a number of commands.
pub async fn work_for(server: &Server, workers: Vec<Worker>, steps: usize) -> Vec<Worker> {
    let mut calls = Vec::new();
    for mut worker in workers {
        let client = server.separate_client(Some(ADMIN_KEY)).await;
        calls.push(async move {
            for _ in 0..steps {
                worker.step(&client).await.unwrap();
            }
            worker
        });
    }
    at_once(calls).await
}
