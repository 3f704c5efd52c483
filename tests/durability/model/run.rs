//! Runs a sequence on two servers and on the model, command by command, and compares the answers.

use std::collections::{BTreeMap, HashMap};

use contract::pb::{self, *};
use testing::{Client, address_of, reason, sign_up_request};
use tonic::Status;

use super::commands::{Command, Sequence, next_version};
use super::compare;
use super::publish;
use super::world::{Dispute, Program, Refusal, TWINS, User, World};

/// A sequence under way.
pub struct Run {
    pub prefix: String,
    pub world: World,
    /// By program and user.
    codes: HashMap<(usize, User), String>,
    /// The first answers to what is safe to repeat.
    answers: HashMap<String, String>,
    /// Sees everything so far.
    pub token: String,
}

/// What an answer says about money: by program and user, the change of the balance and of what is pending.
type Changes = BTreeMap<(usize, User), (i64, i64)>;

pub async fn run(clients: &[Client; 2], prefix: String, sequence: &Sequence) -> Result<(), String> {
    let mut run = Run {
        prefix,
        world: World::default(),
        codes: HashMap::new(),
        answers: HashMap::new(),
        token: String::new(),
    };
    for (number, rules) in sequence.programs.iter().enumerate() {
        let program = publish::program(&run.program(number), rules);
        clients[0].publish(program).await.map_err(|status| format!("{rules:?}: {status:?}"))?;
        run.world.programs.push(Program {
            versions: vec![rules.clone()],
            members: Vec::new(),
            rewards: Vec::new(),
            adjustments: BTreeMap::new(),
        });
    }
    for (number, command) in sequence.commands.iter().enumerate() {
        let step = run.step(&clients[number % 2], command).await;
        step.map_err(|difference| format!("at {number}, {command:?}: {difference}"))?;
    }
    compare::invariants(&run.world)?;
    compare::compare(clients, &run).await
}

/// An error if an answer is not as expected.
pub fn same<T: PartialEq + std::fmt::Debug>(what: &str, server: T, model: T) -> Result<(), String> {
    if server == model {
        return Ok(());
    }
    Err(format!("{what}: the server says {server:?}, the model {model:?}"))
}

/// The answer if both succeed; nothing if both refuse for the same reason.
fn agree<T>(
    server: Result<tonic::Response<T>, Status>,
    model: Result<(), Refusal>,
) -> Result<Option<T>, String> {
    agree_on_any(server, model.map_err(|refusal| vec![refusal]))
}

/// As [`agree`], where several reasons can be told.
fn agree_on_any<T>(
    server: Result<tonic::Response<T>, Status>,
    model: Result<(), Vec<Refusal>>,
) -> Result<Option<T>, String> {
    match (server, model) {
        (Ok(answer), Ok(())) => Ok(Some(answer.into_inner())),
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

    pub fn purchase(&self, number: usize) -> String {
        format!("{}-b{number}", self.prefix)
    }

    /// The number at the end of an id.
    pub fn number(id: &str) -> usize {
        id.rsplit_once(['u', 'p', 'b']).unwrap().1.parse().unwrap()
    }

    async fn step(&mut self, client: &Client, command: &Command) -> Result<(), String> {
        match command {
            Command::Join { program, user, referrer } => {
                self.join(client, *program, *user, *referrer).await
            }
            Command::Refer { program, user, referrer } => {
                let model = self.world.refer(*program, *user, *referrer);
                let message = ApplyReferralRequest {
                    program_id: self.program(*program),
                    referee_user_id: self.user(*user),
                    referrer_user_id: self.user(*referrer),
                    ..Default::default()
                };
                let server = client.referrals().apply_referral(client.request(message)).await;
                self.see(agree_on_any(server, model)?.map(|answer| answer.consistency_token));
                Ok(())
            }
            Command::Buy { id, user, amount, foreign } => {
                self.buy(client, *id, *user, *amount, *foreign).await
            }
            Command::SetActive { user, active } => {
                let model = self.world.set_active(*user, *active);
                let user_id = self.user(*user);
                let token = if *active {
                    let message = ReactivateUserRequest { user_id, ..Default::default() };
                    let server = client.accounts().reactivate_user(client.request(message)).await;
                    agree(server, model)?.map(|answer| answer.consistency_token)
                } else {
                    let message = DeactivateUserRequest { user_id, ..Default::default() };
                    let server = client.accounts().deactivate_user(client.request(message)).await;
                    agree(server, model)?.map(|answer| answer.consistency_token)
                };
                self.see(token);
                Ok(())
            }
            Command::Publish { program, rules } => {
                let id = self.program(*program);
                let versions = &mut self.world.programs[*program].versions;
                let last = versions.last().unwrap().clone();
                let rules = next_version(&last, rules);
                let message = publish::program(&id, &rules);
                // Rules that are those in force make no version.
                if message != publish::program(&id, &last) {
                    versions.push(rules.clone());
                }
                client.publish(message).await.map_err(|status| format!("{rules:?}: {status:?}"))?;
                Ok(())
            }
            Command::Decide { program, user, release } => {
                self.decide(client, *program, *user, *release).await
            }
            Command::Adjust { program, user, id, amount } => {
                let model = self.world.adjust(*program, *user, *id, *amount);
                let message = AdjustBalanceRequest {
                    program_id: self.program(*program),
                    user_id: self.user(*user),
                    adjustment_id: format!("a{id}"),
                    amount: usd(*amount),
                    reason_code: "goodwill".into(),
                    ..Default::default()
                };
                let server = client.rewards().adjust_balance(client.request(message)).await;
                self.see(agree(server, model)?.map(|answer| answer.consistency_token));
                Ok(())
            }
            Command::Hold { id, program, level, hold } => {
                self.hold(client, *id, *program, *level, *hold).await
            }
            _ => self.give_back(client, command).await,
        }
    }

    /// A token only grows, so the last one sees everything.
    fn see(&mut self, token: Option<String>) {
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
        let is_new = self.world.is_active(user).is_none();
        let model = self.world.join(program, user, referrer);
        let code = referrer.map_or(String::new(), |referrer| {
            self.codes.get(&(program, referrer)).cloned().unwrap_or("UNKNOWN1".into())
        });
        let (program_id, user_id) = (self.program(program), self.user(user));
        let participant = if is_new {
            let mut message = sign_up_request(&program_id, &user_id, &code);
            message.email = if TWINS.contains(&user) {
                address_of(&self.prefix).replace('@', &format!("+{user}@"))
            } else {
                address_of(&user_id)
            };
            let server = client.accounts().register_user(client.request(message)).await;
            let answer = agree(server, model)?;
            answer.map(|answer| (answer.consistency_token, answer.participants[0].clone()))
        } else {
            let message = EnrollParticipantRequest {
                program_id,
                user_id,
                referral_code: code,
                ..Default::default()
            };
            let server = client.programs().enroll_participant(client.request(message)).await;
            let answer = agree(server, model)?;
            answer.map(|answer| (answer.consistency_token, answer.participant.unwrap()))
        };
        if let Some((token, participant)) = participant {
            self.see(Some(token));
            self.codes.insert((program, user), participant.code.clone());
            let referral = self.world.programs[program].referral(user);
            let referrer = referral.map(|of| self.user(of.referrer)).unwrap_or_default();
            same("referrer", &*participant.referrer_user_id, &*referrer)?;
        }
        Ok(())
    }

    async fn buy(
        &mut self,
        client: &Client,
        id: usize,
        user: User,
        amount: i64,
        foreign: bool,
    ) -> Result<(), String> {
        let is_new = !self.world.purchases.contains_key(&id);
        let model = self.world.buy(id, user, amount, foreign);
        let currency_code = if foreign { "EUR".into() } else { "USD".into() };
        let message = RecordPurchaseRequest {
            purchase_id: self.purchase(id),
            buyer_user_id: self.user(user),
            amount: Some(Money { currency_code, minor_units: amount }),
            ..Default::default()
        };
        let server = client.purchases().record_purchase(client.request(message)).await;
        let Some(answer) = agree(server, model)? else { return Ok(()) };
        self.see(Some(answer.consistency_token.clone()));
        self.repeat(format!("purchase {id}"), &answer.outcomes)?;
        if is_new {
            compare::outcomes(self, id, &answer.outcomes, true)?;
        }
        Ok(())
    }

    /// What is repeated gets the first answer.
    fn repeat<T: std::fmt::Debug>(&mut self, what: String, answer: &T) -> Result<(), String> {
        let answer = format!("{answer:?}");
        let first = self.answers.entry(what.clone()).or_insert_with(|| answer.clone());
        same(&what, &answer, first)
    }

    async fn decide(
        &mut self,
        client: &Client,
        program: usize,
        user: User,
        release: bool,
    ) -> Result<(), String> {
        if !self.world.programs[program].referral(user).is_some_and(|of| of.flagged) {
            return Ok(());
        }
        let model = self.world.decide(program, user, release);
        let message = ListFraudFlagsRequest {
            program_id: self.program(program),
            referee_user_id: self.user(user),
            consistency_token: self.token.clone(),
            ..Default::default()
        };
        let flags = client.fraud().list_fraud_flags(client.request(message)).await;
        let flags = flags.map_err(|status| format!("{status:?}"))?.into_inner().flags;
        let Some(flag) = flags.first() else { return Err("the server has no flag".into()) };
        let decision = if release { FraudDecision::Released } else { FraudDecision::Rejected };
        let message = ResolveFraudFlagRequest {
            flag_id: flag.flag_id.clone(),
            decision: decision.into(),
            ..Default::default()
        };
        let server = client.fraud().resolve_fraud_flag(client.request(message)).await;
        self.see(agree(server, model)?.map(|answer| answer.consistency_token));
        Ok(())
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
            agree(server, Ok(()))?.map(|answer| (answer.consistency_token, answer.changes))
        } else {
            let message = ReleaseRewardRequest { reward_id, ..Default::default() };
            let server = client.rewards().release_reward(client.request(message)).await;
            agree(server, Ok(()))?.map(|answer| (answer.consistency_token, answer.changes))
        }
        .unwrap();
        self.see(Some(token));
        same("changes", changes_of(&changes), self.changes_since(&before))
    }

    /// Refunds and disputes: what answers say of each balance is what changes in the model.
    async fn give_back(&mut self, client: &Client, command: &Command) -> Result<(), String> {
        let (id, before) = (purchase_of(command), self.balances());
        let purchases = client.purchases();
        let (what, token, answer, reversals) = match command {
            Command::Refund { refund, sixths, .. } => {
                let amount = sixths.map(|sixths| self.part(id, sixths));
                let message = PreviewRefundRequest {
                    purchase_id: self.purchase(id),
                    amount: self.price(id, amount),
                };
                let known = self.world.purchases.get(&id).map(|of| of.refunds.clone());
                let is_new = !known.unwrap_or_default().contains_key(refund);
                let model = self.world.refund(id, *refund, amount);
                if is_new {
                    let server = purchases.clone().preview_refund(client.request(message)).await;
                    if let Some(answer) = agree(server, model)? {
                        let expected = self.changes_since(&before);
                        same("preview", changes_of(&answer.reversals), expected)?;
                    }
                }
                let message = RefundPurchaseRequest {
                    purchase_id: self.purchase(id),
                    refund_id: format!("r{refund}"),
                    amount: self.price(id, amount),
                    ..Default::default()
                };
                let server = purchases.clone().refund_purchase(client.request(message)).await;
                let Some(answer) = agree(server, model)? else { return Ok(()) };
                let refund = answer.refund.map(|of| (of.refund_id, of.amount));
                (
                    format!("{refund:?}"),
                    answer.consistency_token,
                    format!("{refund:?}"),
                    answer.reversals,
                )
            }
            Command::CancelRefund { refund, .. } => {
                let model = self.world.cancel_refund(id, *refund);
                let message = CancelRefundRequest {
                    purchase_id: self.purchase(id),
                    refund_id: format!("r{refund}"),
                    ..Default::default()
                };
                let server = purchases.clone().cancel_refund(client.request(message)).await;
                let Some(answer) = agree(server, model)? else { return Ok(()) };
                (
                    format!("cancel {refund}"),
                    answer.consistency_token,
                    String::new(),
                    answer.reversals,
                )
            }
            Command::Dispute { dispute, sixths, .. } => {
                let amount = sixths.map(|sixths| self.part(id, sixths));
                let known = self.world.purchases.get(&id);
                let is_repeated = known.is_some_and(|of| {
                    let disputed = of.disputes.get(dispute).map(|(disputed, _)| *disputed);
                    disputed == Some(amount.unwrap_or(of.paid))
                });
                let model = self.world.dispute(id, *dispute, amount);
                let message = OpenDisputeRequest {
                    purchase_id: self.purchase(id),
                    dispute_id: format!("d{dispute}"),
                    amount: self.price(id, amount),
                    ..Default::default()
                };
                let server = purchases.clone().open_dispute(client.request(message)).await;
                let Some(answer) = agree(server, model)? else { return Ok(()) };
                if is_repeated {
                    return Ok(());
                }
                (String::new(), answer.consistency_token, String::new(), answer.reversals)
            }
            Command::Close { dispute, outcome, .. } => {
                let model = self.world.close(id, *dispute, *outcome);
                let outcome = match outcome {
                    Dispute::Open => DisputeState::Open,
                    Dispute::Won => DisputeState::Won,
                    Dispute::Withdrawn => DisputeState::Withdrawn,
                    Dispute::Lost => DisputeState::Lost,
                };
                let message = CloseDisputeRequest {
                    purchase_id: self.purchase(id),
                    dispute_id: format!("d{dispute}"),
                    outcome: outcome.into(),
                    ..Default::default()
                };
                let server = purchases.clone().close_dispute(client.request(message)).await;
                let Some(answer) = agree(server, model)? else { return Ok(()) };
                (
                    format!("close {dispute}"),
                    answer.consistency_token,
                    String::new(),
                    answer.reversals,
                )
            }
            _ => return Ok(()),
        };
        self.see(Some(token));
        let expected = self.changes_since(&before);
        let is_first = what.is_empty() || !self.answers.contains_key(&format!("{id} {what}"));
        if is_first {
            same("reversals", changes_of(&reversals), expected)?;
        }
        if !what.is_empty() {
            self.repeat(format!("{id} {what}"), &(answer, reversals))?;
        }
        Ok(())
    }

    /// An amount in the currency of a purchase.
    fn price(&self, id: usize, amount: Option<i64>) -> Option<Money> {
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

fn usd(minor_units: i64) -> Option<pb::Money> {
    Some(pb::Money { currency_code: "USD".into(), minor_units })
}

fn purchase_of(command: &Command) -> usize {
    match command {
        Command::Refund { id, .. }
        | Command::CancelRefund { id, .. }
        | Command::Dispute { id, .. }
        | Command::Close { id, .. } => *id,
        _ => usize::MAX,
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
