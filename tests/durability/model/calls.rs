//! Calls of the servers that can arrive together with others: what is sent, and what is kept of the answers.

use std::sync::atomic::{AtomicUsize, Ordering};

use contract::pb::{self, *};
use testing::{Client, address_of, sign_up_request};
use tonic::{Response, Status};

use super::commands::Command;
use super::run::Run;
use super::world::{Dispute, NOBODY, TWINS, User};

/// Appends something, and returns where: the next version of a program without members.
pub async fn touch(client: &Client, program_id: &str) -> Result<String, String> {
    static VERSIONS: AtomicUsize = AtomicUsize::new(0);
    let program = Program {
        program_id: program_id.into(),
        display_name: VERSIONS.fetch_add(1, Ordering::Relaxed).to_string(),
        unit: "USD".into(),
        attach: AttachPolicy::AnyTime.into(),
        earn_on: EarnOn::Referral.into(),
        leaderboard: LeaderboardMetric::Points.into(),
        rewards: vec![RewardRule {
            rule: "one".into(),
            kind: RewardKind::Bonus.into(),
            flat_minor: Some(1),
            ..RewardRule::default()
        }],
        ..Program::default()
    };
    let message = PublishProgramRequest { program: Some(program), ..Default::default() };
    let answer = client.programs().publish_program(client.request(message)).await;
    Ok(answer.map_err(|status| format!("{status:?}"))?.into_inner().consistency_token)
}

pub async fn refer(
    run: &Run,
    client: &Client,
    (program, user, referrer): (usize, User, User),
) -> Result<String, Status> {
    let message = ApplyReferralRequest {
        program_id: run.program(program),
        referee_user_id: run.user(user),
        referrer_user_id: run.user(referrer),
        ..Default::default()
    };
    let answer = client.referrals().apply_referral(client.request(message)).await?;
    Ok(answer.into_inner().consistency_token)
}

pub async fn set_active(
    run: &Run,
    client: &Client,
    user: User,
    active: bool,
) -> Result<String, Status> {
    let user_id = run.user(user);
    if active {
        let message = ReactivateUserRequest { user_id, ..Default::default() };
        let answer = client.accounts().reactivate_user(client.request(message)).await?;
        Ok(answer.into_inner().consistency_token)
    } else {
        let message = DeactivateUserRequest { user_id, ..Default::default() };
        let answer = client.accounts().deactivate_user(client.request(message)).await?;
        Ok(answer.into_inner().consistency_token)
    }
}

/// A sign-up or, if the user is known, an enrolment.
pub async fn join(
    run: &Run,
    client: &Client,
    (program, user, referrer): (usize, User, Option<User>),
) -> Result<(String, Participant), Status> {
    let code = match referrer {
        None => String::new(),
        Some(NOBODY) => "UNKNOWN1".into(),
        Some(referrer) => run.codes[&(program, referrer)].clone(),
    };
    let (program_id, user_id) = (run.program(program), run.user(user));
    if run.world.is_active(user).is_some() {
        let message = EnrollParticipantRequest {
            program_id,
            user_id,
            referral_code: code,
            ..Default::default()
        };
        let answer = client.programs().enroll_participant(client.request(message)).await?;
        let answer = answer.into_inner();
        return Ok((answer.consistency_token, answer.participant.unwrap()));
    }
    let mut message = sign_up_request(&program_id, &user_id, &code);
    message.email = if TWINS.contains(&user) {
        address_of(&run.prefix).replace('@', &format!("+{user}@"))
    } else {
        address_of(&user_id)
    };
    let answer = client.accounts().register_user(client.request(message)).await?.into_inner();
    Ok((answer.consistency_token, answer.participants[0].clone()))
}

pub async fn buy(
    run: &Run,
    client: &Client,
    command: &Command,
) -> Result<Response<RecordPurchaseResponse>, Status> {
    let Command::Buy { id, user, amount, foreign, when } = command else {
        return Err(Status::internal("no purchase"));
    };
    let currency_code = if *foreign { "EUR".into() } else { "USD".into() };
    let message = RecordPurchaseRequest {
        purchase_id: run.purchase(*id),
        buyer_user_id: run.user(*user),
        amount: Some(Money { currency_code, minor_units: *amount }),
        purchase_time: run.time(run.dated(*when)),
        ..Default::default()
    };
    client.purchases().record_purchase(client.request(message)).await
}

/// What is kept of the answer to a refund or a dispute.
pub struct Answered {
    pub token: String,
    /// What a repetition is recognised by; empty if it gets no first answer.
    pub what: String,
    pub content: String,
    pub reversals: Vec<RewardReversal>,
}

/// Refunds and disputes of a purchase. The amount is the one that is meant, not in sixths.
pub async fn give_back(
    run: &Run,
    client: &Client,
    command: &Command,
    amount: Option<i64>,
) -> Result<Answered, Status> {
    let mut purchases = client.purchases();
    match command {
        Command::Refund { id, refund, .. } => {
            let message = RefundPurchaseRequest {
                purchase_id: run.purchase(*id),
                refund_id: run.refund(*id, *refund),
                amount: run.price(*id, amount),
                ..Default::default()
            };
            let answer = purchases.refund_purchase(client.request(message)).await?.into_inner();
            let refund = answer.refund.map(|of| (of.refund_id, of.amount));
            Ok(Answered {
                token: answer.consistency_token,
                what: format!("{id} {refund:?}"),
                content: format!("{refund:?}"),
                reversals: answer.reversals,
            })
        }
        Command::CancelRefund { id, refund } => {
            let message = CancelRefundRequest {
                purchase_id: run.purchase(*id),
                refund_id: run.refund(*id, *refund),
                ..Default::default()
            };
            let answer = purchases.cancel_refund(client.request(message)).await?.into_inner();
            Ok(Answered {
                token: answer.consistency_token,
                what: format!("{id} cancel {refund}"),
                content: String::new(),
                reversals: answer.reversals,
            })
        }
        Command::Dispute { id, dispute, .. } => {
            let message = OpenDisputeRequest {
                purchase_id: run.purchase(*id),
                dispute_id: run.dispute(*id, *dispute),
                amount: run.price(*id, amount),
                ..Default::default()
            };
            let answer = purchases.open_dispute(client.request(message)).await?.into_inner();
            Ok(Answered {
                token: answer.consistency_token,
                what: String::new(),
                content: String::new(),
                reversals: answer.reversals,
            })
        }
        Command::Close { id, dispute, outcome } => {
            let outcome = match outcome {
                Dispute::Open => DisputeState::Open,
                Dispute::Won => DisputeState::Won,
                Dispute::Withdrawn => DisputeState::Withdrawn,
                Dispute::Lost => DisputeState::Lost,
            };
            let message = CloseDisputeRequest {
                purchase_id: run.purchase(*id),
                dispute_id: run.dispute(*id, *dispute),
                outcome: outcome.into(),
                ..Default::default()
            };
            let answer = purchases.close_dispute(client.request(message)).await?.into_inner();
            Ok(Answered {
                token: answer.consistency_token,
                what: format!("{id} close {dispute}"),
                content: String::new(),
                reversals: answer.reversals,
            })
        }
        _ => Err(Status::internal("neither a refund nor a dispute")),
    }
}

pub fn usd(minor_units: i64) -> Option<pb::Money> {
    Some(pb::Money { currency_code: "USD".into(), minor_units })
}
