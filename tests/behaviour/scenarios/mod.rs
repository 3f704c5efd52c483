//! Situations in words with the expected numbers, one a line of `money_back.tsv`, each with a program and people of its
//! own on one server.

use contract::parse_program;
use contract::pb::*;
use serde_json::Value;
use tonic::Status;

use super::support::server_with;
use testing::{Client, program, reason};

const MONEY_BACK: &str = include_str!("money_back.tsv");

/// One line at work.
struct Scenario<'a> {
    client: &'a Client,
    number: usize,
    program: Value,
    currency_code: String,
    adjustments: usize,
    /// Sees all that was done.
    token: String,
}

impl Scenario<'_> {
    fn id(&self, name: &str) -> String {
        format!("{name}-{}", self.number)
    }

    fn program_id(&self) -> String {
        self.program["program_id"].as_str().unwrap().to_owned()
    }

    /// An amount of the purchases' currency; nothing for "the rest".
    fn money(&self, words: &[&str]) -> Option<Money> {
        let minor_units = words.first()?.parse().ok()?;
        Some(Money { currency_code: self.currency_code.clone(), minor_units })
    }

    /// Publishes the program, with changes.
    async fn publish(&mut self, changes: &str) -> Result<(), Status> {
        let changes: Value = serde_json::from_str(changes).unwrap();
        for (field, value) in changes.as_object().unwrap() {
            self.program[field] = value.clone();
        }
        let program = parse_program(&self.program.to_string()).unwrap();
        self.client.publish(program).await.map(drop)
    }

    /// The code of a user, who is registered without a referrer if unknown.
    async fn code(&self, name: &str) -> String {
        if let Ok(known) = self.client.user(&self.id(name)).await {
            return known.participants[0].code.clone();
        }
        self.client.sign_up(&self.program_id(), &self.id(name), "").await.unwrap().code
    }

    async fn refund(&self, id: &str, purchase: &str, amount: &[&str]) -> Result<String, Status> {
        let message = RefundPurchaseRequest {
            purchase_id: self.id(purchase),
            refund_id: id.into(),
            amount: self.money(amount),
            ..Default::default()
        };
        let answer = self.client.purchases().refund_purchase(self.client.request(message)).await?;
        Ok(answer.into_inner().consistency_token)
    }

    async fn cancel(&self, id: &str, purchase: &str) -> Result<String, Status> {
        let (purchase_id, refund_id) = (self.id(purchase), id.into());
        let message = CancelRefundRequest { purchase_id, refund_id, ..Default::default() };
        let answer = self.client.purchases().cancel_refund(self.client.request(message)).await?;
        Ok(answer.into_inner().consistency_token)
    }

    async fn dispute(&self, id: &str, purchase: &str, amount: &str) -> Result<String, Status> {
        let message = OpenDisputeRequest {
            purchase_id: self.id(purchase),
            dispute_id: id.into(),
            amount: self.money(&[amount]),
            ..Default::default()
        };
        let answer = self.client.purchases().open_dispute(self.client.request(message)).await?;
        Ok(answer.into_inner().consistency_token)
    }

    async fn close(
        &self,
        id: &str,
        purchase: &str,
        outcome: DisputeState,
    ) -> Result<String, Status> {
        let message = CloseDisputeRequest {
            purchase_id: self.id(purchase),
            dispute_id: id.into(),
            outcome: outcome.into(),
            ..Default::default()
        };
        let answer = self.client.purchases().close_dispute(self.client.request(message)).await?;
        Ok(answer.into_inner().consistency_token)
    }

    async fn adjust(&mut self, name: &str, amount: &str) -> Result<String, Status> {
        self.adjustments += 1;
        let currency_code = self.program["unit"].as_str().unwrap().into();
        let message = AdjustBalanceRequest {
            program_id: self.program_id(),
            user_id: self.id(name),
            adjustment_id: format!("adjustment-{}", self.adjustments),
            amount: Some(Money { currency_code, minor_units: amount.parse().unwrap() }),
            reason_code: "correction".into(),
            ..Default::default()
        };
        let answer = self.client.rewards().adjust_balance(self.client.request(message)).await?;
        Ok(answer.into_inner().consistency_token)
    }

    async fn reward(&self, purchase: &str, level: &str) -> Reward {
        let found = self.client.purchase(&self.id(purchase)).await.unwrap();
        let mut rewards = found.outcomes.into_iter().flat_map(|of| of.rewards);
        rewards.find(|of| of.level.to_string() == level).expect("a reward at the level")
    }

    async fn hold(&self, purchase: &str, level: &str) -> Result<String, Status> {
        let reward_id = self.reward(purchase, level).await.reward_id;
        let message = HoldRewardRequest { reward_id, ..Default::default() };
        let answer = self.client.rewards().hold_reward(self.client.request(message)).await?;
        Ok(answer.into_inner().consistency_token)
    }

    async fn release(&self, purchase: &str, level: &str) -> Result<String, Status> {
        let reward_id = self.reward(purchase, level).await.reward_id;
        let message = ReleaseRewardRequest { reward_id, ..Default::default() };
        let answer = self.client.rewards().release_reward(self.client.request(message)).await?;
        Ok(answer.into_inner().consistency_token)
    }

    async fn balances(&self, name: &str) -> GetBalancesResponse {
        let (program_id, user_id) = (self.program_id(), self.id(name));
        let consistency_token = self.token.clone();
        let message =
            GetBalancesRequest { program_id, user_id, consistency_token, ..Default::default() };
        let answer = self.client.rewards().get_balances(self.client.request(message)).await;
        answer.unwrap().into_inner()
    }

    async fn status(&self, name: &str) -> String {
        let user = self.client.user(&self.id(name)).await.unwrap();
        let status = user.participants[0].referral_status();
        status.as_str_name().trim_start_matches("REFERRAL_STATUS_").to_lowercase()
    }

    async fn tier(&self, name: &str) -> String {
        let (program_id, user_id) = (self.program_id(), self.id(name));
        let consistency_token = self.token.clone();
        let message =
            GetTierRequest { program_id, user_id, consistency_token, ..Default::default() };
        let answer = self.client.rewards().get_tier(self.client.request(message)).await;
        answer.unwrap().into_inner().tier
    }

    /// Does one step. An error says what is otherwise than expected.
    async fn step(&mut self, words: &[&str]) -> Result<(), String> {
        if let [step @ .., "fails", "with", expected] = words {
            let refused = match self.act(step).await {
                Ok(()) => "nothing".to_owned(),
                Err(status) => reason(&status).1,
            };
            return same(&refused, expected);
        }
        let minor = |amount: &Option<Money>| amount.as_ref().map_or(0, |of| of.minor_units);
        match words {
            [name, "has", amount] => {
                let balances = self.balances(name).await.balances;
                same(&minor(&balances.first().cloned()).to_string(), amount)
            }
            [name, "has", amount, bucket @ ("pending" | "available")] => {
                let buckets = &self.balances(name).await.buckets[0];
                let bucket =
                    if *bucket == "pending" { &buckets.pending } else { &buckets.available };
                same(&minor(bucket).to_string(), amount)
            }
            ["level", level, "of", purchase, "has", amount, "reversed"] => {
                let reward = self.reward(purchase, level).await;
                same(&minor(&reward.reversed).to_string(), amount)
            }
            [name, "is", "now", status @ ("pending" | "converted")] => {
                same(&self.status(name).await, status)
            }
            [name, "is", "now", tier] => same(&self.tier(name).await, tier),
            _ => self.act(words).await.map_err(|status| format!("{status:?}")),
        }
    }

    async fn act(&mut self, words: &[&str]) -> Result<(), Status> {
        self.token = match words {
            ["the", "program", "changes", "to", changes] => {
                self.publish(changes).await?;
                return Ok(());
            }
            [referrer, "brings", name] => {
                let code = self.code(referrer).await;
                let user_id = self.id(name);
                let user = self.client.sign_up(&self.program_id(), &user_id, &code).await?;
                user.response.consistency_token
            }
            [name, "buys", purchase, "for", amount] => {
                let amount = amount.parse().unwrap();
                let (purchase, name) = (self.id(purchase), self.id(name));
                let bought = self.client.buy(&purchase, &name, &self.currency_code, amount).await?;
                bought.consistency_token
            }
            [name, "is", "deactivated"] => {
                self.client.deactivate(&self.id(name)).await?.consistency_token
            }
            [name, "is", "adjusted", "by", amount] => self.adjust(name, amount).await?,
            [refund, "gives", "back", amount @ .., "of", purchase] => {
                self.refund(refund, purchase, amount).await?
            }
            [dispute, "is", "about", amount, "of", purchase] => {
                self.dispute(dispute, purchase, amount).await?
            }
            ["level", level, "of", purchase, "is", "held"] => self.hold(purchase, level).await?,
            ["level", level, "of", purchase, "is", "released"] => {
                self.release(purchase, level).await?
            }
            [refund, "of", purchase, "is", "cancelled"] => self.cancel(refund, purchase).await?,
            [dispute, "of", purchase, "is", "won"] => {
                self.close(dispute, purchase, DisputeState::Won).await?
            }
            [dispute, "of", purchase, "is", "withdrawn"] => {
                self.close(dispute, purchase, DisputeState::Withdrawn).await?
            }
            [dispute, "of", purchase, "is", "lost"] => {
                self.close(dispute, purchase, DisputeState::Lost).await?
            }
            _ => panic!("what is this step: {words:?}"),
        };
        Ok(())
    }
}

fn same(found: &str, expected: &str) -> Result<(), String> {
    if found == expected { Ok(()) } else { Err(format!("it is {found}")) }
}

/// Runs a line. An error names the step.
async fn run(
    client: &Client,
    number: usize,
    program_column: &str,
    steps: &str,
) -> Result<(), String> {
    let (name, changes) = program_column.split_once(' ').unwrap_or((program_column, "{}"));
    let json = std::fs::read_to_string(program(name)).unwrap();
    let mut program: Value = serde_json::from_str(&json).unwrap();
    program["program_id"] = format!("{name}-{number}").into();
    let currency = program["purchase_currency_code"].as_str().unwrap_or("USD").to_owned();
    let mut scenario = Scenario {
        client,
        number,
        program,
        currency_code: currency,
        adjustments: 0,
        token: String::new(),
    };
    scenario.publish(changes).await.map_err(|status| format!("{status:?}"))?;
    for step in steps.split("; ") {
        let words: Vec<&str> = step.split_whitespace().collect();
        scenario.step(&words).await.map_err(|difference| format!("{step}: {difference}"))?;
    }
    Ok(())
}

#[tokio::test]
async fn money_goes_back_as_in_each_situation_of_the_file() {
    let (database, server, client) = server_with(&[]).await;
    let mut failures = Vec::new();
    let lines = MONEY_BACK.lines().filter(|line| !line.starts_with('#'));
    for (number, line) in lines.enumerate() {
        let columns: Vec<&str> = line.split('\t').collect();
        let [situation, program, steps] = columns[..] else { panic!("three columns: {line}") };
        if let Err(failure) = run(&client, number, program, steps).await {
            failures.push(format!("{situation}: {failure}"));
        }
    }
    assert!(failures.is_empty(), "{failures:#?}");
    database.check().await;
    server.stop().await;
}
