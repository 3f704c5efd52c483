//! Runs a sequence on two servers and on the model, command by command, and compares the answers.

use std::collections::{BTreeMap, HashMap};

use contract::pb::*;
use prost_types::Timestamp;
use sqlx::PgPool;
use testing::{Client, reason};
use tonic::{Response, Status};

use super::commands::{Command, Sequence, When};
use super::passing::Clock;
use super::rules::Rules;
use super::told::{FIRST_PAYMENT, FIRST_TOTAL};
use super::world::{Dated, Decision, Job, NOBODY, Refusal, User, World};
use super::{calls, compare, desk, passing, provider, publish, race};

/// A sequence under way.
#[derive(Clone)]
pub struct Run {
    pub prefix: String,
    pub world: World,
    /// By program and user.
    pub codes: HashMap<(usize, User), String>,
    /// The first answers to what is safe to repeat.
    pub answers: HashMap<String, String>,
    /// The latest, which sees everything after [`Run::see_the_log`].
    pub token: String,
    /// When versions were published.
    publications: Vec<Timestamp>,
    /// Before everything.
    long_ago: Timestamp,
    pub database: PgPool,
    /// Where the servers listen.
    pub addresses: [String; 2],
    /// By whom the payments are of which a provider tells, and how much; and when they began.
    pub payments: Vec<(User, i64)>,
    pub began: BTreeMap<usize, Began>,
    /// The log's clock.
    pub clock: Clock,
    /// How many commands were sent.
    commands: usize,
}

/// When a payment began of which a provider tells, in seconds since 1970, and in which era.
#[derive(Clone, Copy)]
pub struct Began {
    pub seconds: i64,
    pub era: usize,
}

/// Two servers on one database.
#[derive(Clone)]
pub struct Servers {
    pub clients: [Client; 2],
    pub addresses: [String; 2],
    pub database: PgPool,
    pub clock: Clock,
}

/// What an answer says about money: by program and user, the change of the balance and of what is pending.
type Changes = BTreeMap<(usize, User), (i64, i64)>;

impl Run {
    /// Begins a sequence.
    pub async fn begin(
        servers: &Servers,
        prefix: String,
        sequence: &Sequence,
    ) -> Result<Self, String> {
        let Servers { addresses, database, clock, .. } = servers;
        let an_hour_ago = clock.now() / 1_000_000 - 60 * 60;
        let mut run = Self {
            prefix,
            world: World::default(),
            codes: HashMap::new(),
            answers: HashMap::new(),
            token: String::new(),
            publications: Vec::new(),
            long_ago: Timestamp { seconds: an_hour_ago, nanos: 0 },
            database: database.clone(),
            clock: clock.clone(),
            addresses: addresses.clone(),
            payments: sequence.payments.clone(),
            began: BTreeMap::new(),
            commands: 0,
        };
        for (number, rules) in sequence.programs.iter().enumerate() {
            run.publish(&servers.clients[0], number, rules).await?;
        }
        Ok(run)
    }

    /// Sends commands to each server in turn.
    pub async fn take_part(
        &mut self,
        clients: &[Client; 2],
        commands: &[Command],
    ) -> Result<(), String> {
        for command in commands {
            let number = self.commands;
            self.commands += 1;
            self.world.now = self.clock.now();
            let command = &self.likely(command);
            let step = match command {
                Command::AtOnce(commands) => race::race(self, clients, commands).await,
                _ => {
                    let clients = [clients[number % 2].clone(), clients[1 - number % 2].clone()];
                    self.step(&clients, number % 2, command).await
                }
            };
            step.map_err(|difference| format!("at {number}, {command:?}: {difference}"))?;
        }
        Ok(())
    }

    /// Compares everything that the servers show with the model.
    pub async fn end(&mut self, clients: &[Client; 2]) -> Result<(), String> {
        self.see_the_log(&clients[0]).await?;
        compare::invariants(&self.world)?;
        compare::compare(clients, self).await
    }
}

/// An error if an answer is not as expected.
pub fn same<T: PartialEq + std::fmt::Debug>(what: &str, server: T, model: T) -> Result<(), String> {
    if server == model {
        return Ok(());
    }
    Err(format!("{what}: the server says {server:?}, the model {model:?}"))
}

/// The answer if both succeed; nothing if both refuse for the same reason.
pub fn agree<T>(
    server: Result<T, Status>,
    model: Result<(), Refusal>,
) -> Result<Option<T>, String> {
    agree_on_any(server, model.map_err(|refusal| vec![refusal]))
}

/// As [`agree`], where several reasons can be told.
fn agree_on_any<T>(
    server: Result<T, Status>,
    model: Result<(), Vec<Refusal>>,
) -> Result<Option<T>, String> {
    match (server, model) {
        (Ok(answer), Ok(())) => Ok(Some(answer)),
        (Err(status), Err(refusals)) if refusals.contains(&&*reason(&status).1) => Ok(None),
        (Ok(_), Err(refusals)) => Err(format!("the server did it, the model says {refusals:?}")),
        (Err(status), model) => Err(format!(
            "the server says {:?}, the model {model:?}",
            (reason(&status), status.message())
        )),
    }
}

impl Run {
    pub fn program(&self, number: usize) -> String {
        format!("{}-p{number}", self.prefix)
    }

    pub fn user(&self, number: User) -> String {
        format!("{}-u{number}", self.prefix)
    }

    /// A purchase, or a payment of a provider.
    pub fn purchase(&self, number: usize) -> String {
        let kind = if number < FIRST_PAYMENT { "" } else { "pi_" };
        format!("{kind}{}-b{number}", self.prefix)
    }

    /// A refund of a purchase. A provider tells of refunds, and of what they come to.
    pub fn refund(&self, purchase: usize, number: usize) -> String {
        match self.purchase(purchase) {
            _ if purchase < FIRST_PAYMENT => format!("r{number}"),
            payment if number < FIRST_TOTAL => format!("re_{payment}_{number}"),
            payment => format!("charge:ch_{payment}:{}", number - FIRST_TOTAL + 1),
        }
    }

    /// A dispute about a purchase.
    pub fn dispute(&self, purchase: usize, number: usize) -> String {
        match self.purchase(purchase) {
            _ if purchase < FIRST_PAYMENT => format!("d{number}"),
            payment => format!("du_{payment}_{number}"),
        }
    }

    /// The number at the end of an id.
    pub fn number(id: &str) -> usize {
        id.rsplit_once(['u', 'p', 'b']).unwrap().1.parse().unwrap()
    }

    /// Sends a command to the first of these servers, which is the one of this number.
    async fn step(
        &mut self,
        clients: &[Client; 2],
        server: usize,
        command: &Command,
    ) -> Result<(), String> {
        let client = &clients[0];
        match command {
            Command::Join { program, user, referrer } => {
                self.join(client, *program, *user, *referrer).await
            }
            Command::Refer { program, user, referrer } => {
                let model = self.world.refer(*program, *user, *referrer);
                let server = calls::refer(self, client, (*program, *user, *referrer)).await;
                self.see(agree_on_any(server, model)?);
                Ok(())
            }
            Command::Buy { .. } => self.buy(client, command).await,
            Command::SetActive { user, active } => {
                let model = self.world.set_active(*user, *active);
                let server = calls::set_active(self, client, *user, *active).await;
                self.see(agree(server, model)?);
                Ok(())
            }
            Command::Publish { program, rules } => self.publish(client, *program, rules).await,
            Command::Decide { program, user, decision } => {
                self.decide(clients, *program, *user, *decision).await
            }
            Command::Adjust { program, user, id, amount } => {
                let model = self.world.adjust(*program, *user, *id, *amount);
                let message = AdjustBalanceRequest {
                    program_id: self.program(*program),
                    user_id: self.user(*user),
                    adjustment_id: format!("a{id}"),
                    amount: calls::usd(*amount),
                    reason_code: "goodwill".into(),
                    ..Default::default()
                };
                let server = client.rewards().adjust_balance(client.request(message)).await;
                self.see(
                    agree(server.map(Response::into_inner), model)?
                        .map(|answer| answer.consistency_token),
                );
                Ok(())
            }
            Command::Hold { id, program, level, hold } => {
                self.hold(client, *id, *program, *level, *hold).await
            }
            Command::Tell { payment, fact, times } => {
                provider::tell(self, server, (*payment, *fact), *times).await
            }
            Command::Offer { .. }
            | Command::Redeem { .. }
            | Command::Fulfil { .. }
            | Command::CallOff { .. } => desk::store(self, client, command).await,
            Command::SetMethod { .. }
            | Command::PayOut { .. }
            | Command::Confirm { .. }
            | Command::Fail { .. }
            | Command::BringBack { .. } => desk::payouts(self, client, command).await,
            _ => self.give_back(client, command).await,
        }
    }

    /// Publishes the next version of a program. Rules that are those in force make no version.
    async fn publish(
        &mut self,
        client: &Client,
        number: usize,
        rules: &Rules,
    ) -> Result<(), String> {
        let program_id = self.program(number);
        let program = publish::program(&program_id, rules);
        let last =
            self.world.programs.get(number).map(|of| publish::program(&program_id, of.rules()));
        let is_new = last.as_ref() != Some(&program);
        let message = PublishProgramRequest { program: Some(program), ..Default::default() };
        let server = client.programs().publish_program(client.request(message)).await;
        let model = if is_new { self.world.publish(number, rules.clone()) } else { Ok(()) };
        let agreed = agree(server.map(Response::into_inner), model);
        let agreed = agreed.map_err(|difference| format!("{rules:?}: {difference}"))?;
        let Some(answer) = agreed else { return Ok(()) };
        if is_new {
            self.publications.push(answer.program.unwrap().publish_time.unwrap());
        }
        self.see(Some(answer.consistency_token));
        Ok(())
    }

    /// From now on reads see everything that is in the log by now. The token for that is the one of a change.
    pub async fn see_the_log(&mut self, client: &Client) -> Result<(), String> {
        self.see(Some(calls::touch(client, &format!("{}-token", self.prefix)).await?));
        Ok(())
    }

    /// The referrer, or nobody if their code is not known.
    pub fn known(&self, program: usize, referrer: Option<User>) -> Option<User> {
        referrer.map(|of| if self.codes.contains_key(&(program, of)) { of } else { NOBODY })
    }

    pub fn dated(&self, when: When) -> Dated {
        match when {
            When::Unsaid => Dated::Now,
            When::Publication(number) => {
                let publication = number % self.publications.len();
                Dated::At { publication, era: self.world.publications[publication] }
            }
            When::LongAgo => Dated::LongAgo,
        }
    }

    /// How a purchase is dated so many seconds after a payment began.
    pub fn dated_after(&self, began: Began, seconds: i64) -> Dated {
        let time = Timestamp { seconds: began.seconds + seconds, nanos: 0 };
        let is_before = |of: &Timestamp| (of.seconds, of.nanos) <= (time.seconds, time.nanos);
        let publication = self.publications.iter().rposition(is_before).unwrap_or(0);
        Dated::At { publication, era: began.era }
    }

    pub fn time(&self, dated: Dated) -> Option<Timestamp> {
        match dated {
            Dated::Now => None,
            Dated::At { publication, .. } => Some(self.publications[publication]),
            Dated::LongAgo => Some(self.long_ago),
        }
    }

    /// The token of a repetition is that of the first answer, so that not every token sees everything.
    pub fn see(&mut self, token: Option<String>) {
        if let Some(token) = token {
            self.token = token;
        }
    }

    async fn join(
        &mut self,
        client: &Client,
        program: usize,
        user: User,
        referrer: Option<User>,
    ) -> Result<(), String> {
        let referrer = self.known(program, referrer);
        let server = calls::join(self, client, (program, user, referrer)).await;
        let model = self.world.join(program, user, referrer);
        if let Some((token, participant)) = agree(server, model)? {
            self.see(Some(token));
            self.codes.insert((program, user), participant.code.clone());
            let referral = self.world.programs[program].referral(user);
            let referrer = referral.map(|of| self.user(of.referrer)).unwrap_or_default();
            same("referrer", &*participant.referrer_user_id, &*referrer)?;
        }
        Ok(())
    }

    async fn buy(&mut self, client: &Client, command: &Command) -> Result<(), String> {
        let Command::Buy { id, user, amount, foreign, when } = command else { return Ok(()) };
        let is_new = !self.world.purchases.contains_key(id);
        let server = calls::buy(self, client, command).await;
        let model = self.world.buy(*id, *user, *amount, *foreign, self.dated(*when));
        let Some(answer) = agree(server.map(Response::into_inner), model)? else { return Ok(()) };
        self.see(Some(answer.consistency_token.clone()));
        self.repeat(format!("purchase {id}"), &answer.outcomes)?;
        if is_new {
            compare::outcomes(self, *id, &answer.outcomes, true)?;
        }
        Ok(())
    }

    /// What is repeated gets the first answer.
    pub fn repeat<T: std::fmt::Debug>(&mut self, what: String, answer: &T) -> Result<(), String> {
        self.repeat_text(what, format!("{answer:?}"))
    }

    pub fn repeat_text(&mut self, what: String, answer: String) -> Result<(), String> {
        let first = self.answers.entry(what.clone()).or_insert_with(|| answer.clone());
        same(&what, &answer, first)
    }

    async fn decide(
        &mut self,
        clients: &[Client; 2],
        program: usize,
        user: User,
        decision: Decision,
    ) -> Result<(), String> {
        if !self.world.programs[program].referral(user).is_some_and(|of| of.flagged) {
            return Ok(());
        }
        let client = &clients[0];
        self.see_the_log(client).await?;
        let model = self.world.decide(program, user, decision);
        let message = ListFraudFlagsRequest {
            program_id: self.program(program),
            referee_user_id: self.user(user),
            consistency_token: self.token.clone(),
            ..Default::default()
        };
        let flags = client.fraud().list_fraud_flags(client.request(message)).await;
        let flags = flags.map_err(|status| format!("{status:?}"))?.into_inner().flags;
        let Some(flag) = flags.first() else { return Err("the server has no flag".into()) };
        let rejects = decision != Decision::Release;
        let decided = if rejects { FraudDecision::Rejected } else { FraudDecision::Released };
        let message = ResolveFraudFlagRequest {
            flag_id: flag.flag_id.clone(),
            decision: decided.into(),
            reverse_rewards: decision == Decision::RejectAndTakeBack,
            ..Default::default()
        };
        let server = client.fraud().resolve_fraud_flag(client.request(message)).await;
        let outcome = model.as_ref().map(|_| ()).map_err(|refusal| *refusal);
        let answer = agree(server.map(Response::into_inner), outcome)?;
        self.see(answer.map(|answer| answer.consistency_token));
        self.follow(clients, program, user, &model.unwrap_or_default()).await
    }

    /// Waits for what follows a decision by itself. Two jobs can be done in either order.
    async fn follow(
        &mut self,
        clients: &[Client; 2],
        program: usize,
        user: User,
        jobs: &[Job],
    ) -> Result<(), String> {
        let mut worlds = vec![self.world.clone(), self.world.clone()];
        jobs.iter().for_each(|job| worlds[0].follow(program, user, *job));
        jobs.iter().rev().for_each(|job| worlds[1].follow(program, user, *job));
        let names: Vec<_> = worlds.iter().map(|world| format!("{world:?}")).collect();
        if jobs.contains(&Job::SettleLine) || names[0] != format!("{:?}", self.world) {
            passing::jobs_are_done(self).await?;
            self.see_the_log(&clients[0]).await?;
        }
        worlds.truncate(if names[0] == names[1] { 1 } else { 2 });
        self.go_on_with(clients, worlds).await
    }

    /// Goes on with the first of these worlds that the servers show.
    pub async fn go_on_with(
        &mut self,
        clients: &[Client; 2],
        worlds: Vec<World>,
    ) -> Result<(), String> {
        let are_several = worlds.len() > 1;
        let mut difference = "no order of the calls is answered like this".to_owned();
        for world in worlds {
            self.world = world;
            if !are_several {
                return Ok(());
            }
            match compare::compare(clients, self).await {
                Ok(()) => return Ok(()),
                Err(text) => difference = text,
            }
        }
        Err(difference)
    }

    async fn hold(
        &mut self,
        client: &Client,
        id: usize,
        program: usize,
        level: usize,
        hold: bool,
    ) -> Result<(), String> {
        let outcome = self.world.purchases.get(&id).and_then(|of| of.outcomes.get(&program));
        if !outcome.is_some_and(|of| of.rewards.iter().any(|reward| reward.level == level)) {
            return Ok(());
        }
        let purchase = client.purchase(&self.purchase(id)).await;
        let purchase = purchase.map_err(|status| format!("{status:?}"))?;
        let program_id = self.program(program);
        let outcome = purchase.outcomes.iter().find(|of| of.program_id == program_id);
        let rewards = outcome.map(|of| of.rewards.clone()).unwrap_or_default();
        let reward = rewards.iter().find(|of| usize::try_from(of.level) == Ok(level));
        let reward_id = reward.ok_or("the server has no such reward")?.reward_id.clone();
        let before = self.balances();
        self.world.hold(id, program, level, hold);
        let (token, changes) = if hold {
            let message = HoldRewardRequest { reward_id, ..Default::default() };
            let server = client.rewards().hold_reward(client.request(message)).await;
            agree(server.map(Response::into_inner), Ok(()))?
                .map(|answer| (answer.consistency_token, answer.changes))
        } else {
            let message = ReleaseRewardRequest { reward_id, ..Default::default() };
            let server = client.rewards().release_reward(client.request(message)).await;
            agree(server.map(Response::into_inner), Ok(()))?
                .map(|answer| (answer.consistency_token, answer.changes))
        }
        .unwrap();
        self.see(Some(token));
        same("changes", changes_of(&changes), self.changes_since(&before))
    }

    /// Refunds and disputes: what answers say of each balance is what changes in the model.
    async fn give_back(&mut self, client: &Client, command: &Command) -> Result<(), String> {
        let Some(id) = purchase_of(command) else { return Ok(()) };
        let before = self.balances();
        let amount = self.amount(command);
        let mut is_repeated = false;
        let model = match command {
            Command::Refund { refund, .. } => {
                let known = self.world.purchases.get(&id);
                is_repeated = known.is_some_and(|of| of.refunds.contains_key(refund));
                let price = self.price(id, amount);
                let model = self.world.refund(id, *refund, amount);
                if !is_repeated {
                    let message =
                        PreviewRefundRequest { purchase_id: self.purchase(id), amount: price };
                    let server = client.purchases().preview_refund(client.request(message)).await;
                    if let Some(answer) = agree(server.map(Response::into_inner), model)? {
                        let expected = self.changes_since(&before);
                        same("preview", changes_of(&answer.reversals), expected)?;
                    }
                }
                model
            }
            Command::CancelRefund { refund, .. } => self.world.cancel_refund(id, *refund),
            Command::Dispute { dispute, .. } => {
                let known = self.world.purchases.get(&id);
                is_repeated = known.is_some_and(|of| {
                    let disputed = of.disputes.get(dispute).map(|(disputed, _)| *disputed);
                    disputed == Some(amount.unwrap_or(of.paid))
                });
                self.world.dispute(id, *dispute, amount)
            }
            Command::Close { dispute, outcome, .. } => self.world.close(id, *dispute, *outcome),
            _ => return Ok(()),
        };
        let server = calls::give_back(self, client, command, amount).await;
        let Some(answer) = agree(server, model)? else { return Ok(()) };
        self.see(Some(answer.token));
        if !is_repeated && !self.answers.contains_key(&answer.what) {
            let expected = self.changes_since(&before);
            same("reversals", changes_of(&answer.reversals), expected)?;
        }
        if !answer.what.is_empty() {
            self.repeat(answer.what, &(answer.content, answer.reversals))?;
        }
        Ok(())
    }

    /// What a refund or a dispute is about, in minor units; nothing for the rest or the whole.
    pub fn amount(&self, command: &Command) -> Option<i64> {
        match command {
            Command::Refund { id, sixths, .. } | Command::Dispute { id, sixths, .. } => {
                sixths.map(|sixths| self.part(*id, sixths))
            }
            _ => None,
        }
    }

    /// An amount in the currency of a purchase.
    pub fn price(&self, id: usize, amount: Option<i64>) -> Option<Money> {
        let foreign = self.world.purchases.get(&id).is_some_and(|of| of.foreign);
        let currency_code = if foreign { "EUR".into() } else { "USD".into() };
        Some(Money { currency_code, minor_units: amount? })
    }

    fn part(&self, id: usize, sixths: i64) -> i64 {
        let paid = self.world.purchases.get(&id).map_or(600, |of| of.paid);
        (paid * sixths / 6).max(1)
    }

    fn balances(&self) -> Changes {
        let mut balances = Changes::new();
        for (number, program) in self.world.programs.iter().enumerate() {
            for member in &program.members {
                let (pending, all) = self.world.balance(number, member.user);
                balances.insert((number, member.user), (all, pending));
            }
        }
        balances
    }

    fn changes_since(&self, before: &Changes) -> Changes {
        let mut changes = self.balances();
        for (key, (all, pending)) in &mut changes {
            let (old_all, old_pending) = before[key];
            (*all, *pending) = (*all - old_all, *pending - old_pending);
        }
        changes.retain(|_, change| *change != (0, 0));
        changes
    }
}

fn purchase_of(command: &Command) -> Option<usize> {
    match command {
        Command::Refund { id, .. }
        | Command::CancelRefund { id, .. }
        | Command::Dispute { id, .. }
        | Command::Close { id, .. } => Some(*id),
        _ => None,
    }
}

fn changes_of(reversals: &[RewardReversal]) -> Changes {
    let minor = |amount: &Option<Money>| amount.as_ref().map_or(0, |of| of.minor_units);
    let mut changes = Changes::new();
    for of in reversals {
        let key = (Run::number(&of.program_id), Run::number(&of.user_id));
        let (all, pending) = changes.entry(key).or_default();
        *all += minor(&of.amount);
        *pending += minor(&of.pending_change);
    }
    changes.retain(|_, change| *change != (0, 0));
    changes
}
