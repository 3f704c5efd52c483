//! A client with which each step of a test is one line.

use std::str::FromStr;

use contract::pb::account_service_client::AccountServiceClient;
use contract::pb::fraud_service_client::FraudServiceClient;
use contract::pb::leaderboard_service_client::LeaderboardServiceClient;
use contract::pb::operator_service_client::OperatorServiceClient;
use contract::pb::payout_service_client::PayoutServiceClient;
use contract::pb::program_service_client::ProgramServiceClient;
use contract::pb::purchase_service_client::PurchaseServiceClient;
use contract::pb::referral_service_client::ReferralServiceClient;
use contract::pb::reward_service_client::RewardServiceClient;
use contract::pb::store_service_client::StoreServiceClient;
use contract::pb::*;
use contract::{parse_program, pb};
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::Channel;
use tonic::{Code, Request, Status, Streaming};
use tonic_types::StatusExt;

use super::program;

/// The reason in the `ErrorInfo` of a status, with its code.
pub type Reason = (Code, String);

/// Code and reason of a status.
pub fn reason(status: &Status) -> Reason {
    let info = status.get_error_details().error_info().cloned();
    (status.code(), info.map(|info| info.reason).unwrap_or_default())
}

/// How many uses of a referrer's code are used up, from the table of referrals.
pub async fn uses(pool: &sqlx::PgPool, program_id: &str, referrer_user_id: &str) -> i64 {
    sqlx::query_scalar(
        "select count(*) from referrals where program_id = $1 and referrer_user_id = $2",
    )
    .bind(program_id)
    .bind(referrer_user_id)
    .fetch_one(pool)
    .await
    .unwrap()
}

/// A user who signed up.
#[derive(Clone, Debug)]
pub struct SignUp {
    pub user_id: String,
    pub code: String,
    pub referrer_user_id: String,
    pub response: RegisterUserResponse,
}

/// Calls a server.
#[derive(Clone)]
pub struct Client {
    channel: Channel,
    key: Option<MetadataValue<Ascii>>,
}

impl Client {
    pub fn new(channel: Channel, key: Option<&str>) -> Self {
        let key = key.map(|key| MetadataValue::from_str(&format!("Bearer {key}")).unwrap());
        Self { channel, key }
    }

    /// A message with the key of this client.
    pub fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        if let Some(key) = &self.key {
            request.metadata_mut().insert("authorization", key.clone());
        }
        request
    }

    /// The connection itself, for calls that are not in the contract.
    pub fn channel(&self) -> Channel {
        self.channel.clone()
    }

    pub fn accounts(&self) -> AccountServiceClient<Channel> {
        AccountServiceClient::new(self.channel.clone()).max_encoding_message_size(64 << 20)
    }

    pub fn programs(&self) -> ProgramServiceClient<Channel> {
        ProgramServiceClient::new(self.channel.clone())
    }

    pub fn referrals(&self) -> ReferralServiceClient<Channel> {
        ReferralServiceClient::new(self.channel.clone())
    }

    pub fn purchases(&self) -> PurchaseServiceClient<Channel> {
        PurchaseServiceClient::new(self.channel.clone())
    }

    pub fn rewards(&self) -> RewardServiceClient<Channel> {
        RewardServiceClient::new(self.channel.clone())
    }

    pub fn store(&self) -> StoreServiceClient<Channel> {
        StoreServiceClient::new(self.channel.clone())
    }

    pub fn fraud(&self) -> FraudServiceClient<Channel> {
        FraudServiceClient::new(self.channel.clone())
    }

    pub fn payouts(&self) -> PayoutServiceClient<Channel> {
        PayoutServiceClient::new(self.channel.clone())
    }

    pub fn leaderboards(&self) -> LeaderboardServiceClient<Channel> {
        LeaderboardServiceClient::new(self.channel.clone())
    }

    pub fn operators(&self) -> OperatorServiceClient<Channel> {
        OperatorServiceClient::new(self.channel.clone())
    }

    /// Publishes one of the shipped programs, from its file.
    pub async fn publish_shipped(&self, name: &str) -> Program {
        let json = std::fs::read_to_string(program(name)).unwrap();
        self.publish(parse_program(&json).unwrap()).await.unwrap()
    }

    pub async fn publish(&self, program: Program) -> Result<Program, Status> {
        let message = PublishProgramRequest { program: Some(program), ..Default::default() };
        let response = self.programs().publish_program(self.request(message)).await?;
        Ok(response.into_inner().program.unwrap())
    }

    pub async fn register(
        &self,
        message: RegisterUserRequest,
    ) -> Result<RegisterUserResponse, Status> {
        Ok(self.accounts().register_user(self.request(message)).await?.into_inner())
    }

    /// Registers `user_id` in a program, with a code unless that is empty.
    pub async fn sign_up(
        &self,
        program_id: &str,
        user_id: &str,
        code: &str,
    ) -> Result<SignUp, Status> {
        let response = self.register(sign_up_request(program_id, user_id, code)).await?;
        let participant = response.participants.first().cloned().unwrap_or_default();
        Ok(SignUp {
            user_id: user_id.into(),
            code: participant.code,
            referrer_user_id: participant.referrer_user_id,
            response,
        })
    }

    pub async fn user(&self, user_id: &str) -> Result<GetUserResponse, Status> {
        let message = GetUserRequest { user_id: user_id.into(), ..Default::default() };
        Ok(self.accounts().get_user(self.request(message)).await?.into_inner())
    }

    pub async fn deactivate(&self, user_id: &str) -> Result<DeactivateUserResponse, Status> {
        let message = DeactivateUserRequest { user_id: user_id.into(), ..Default::default() };
        Ok(self.accounts().deactivate_user(self.request(message)).await?.into_inner())
    }

    pub async fn reactivate(&self, user_id: &str) -> Result<ReactivateUserResponse, Status> {
        let message = ReactivateUserRequest { user_id: user_id.into(), ..Default::default() };
        Ok(self.accounts().reactivate_user(self.request(message)).await?.into_inner())
    }

    /// Erases a user; with `forfeit_balances` also one who is owed something.
    pub async fn erase(
        &self,
        user_id: &str,
        forfeit_balances: bool,
    ) -> Result<EraseUserResponse, Status> {
        let user_id = user_id.into();
        let message = EraseUserRequest { user_id, forfeit_balances, ..Default::default() };
        Ok(self.accounts().erase_user(self.request(message)).await?.into_inner())
    }

    /// The document with everything that is held about a user.
    pub async fn export(&self, user_id: &str) -> Result<String, Status> {
        let message = ExportUserRequest { user_id: user_id.into(), ..Default::default() };
        let mut parts = self.accounts().export_user(self.request(message)).await?.into_inner();
        let mut document = String::new();
        while let Some(part) = parts.message().await? {
            document += &part.json_part;
        }
        Ok(document)
    }

    /// Makes `referrer` the referrer of `referee`.
    pub async fn refer(
        &self,
        program_id: &str,
        referee: &str,
        referrer: &str,
    ) -> Result<ApplyReferralResponse, Status> {
        let message = ApplyReferralRequest {
            program_id: program_id.into(),
            referee_user_id: referee.into(),
            referrer_user_id: referrer.into(),
            ..Default::default()
        };
        Ok(self.referrals().apply_referral(self.request(message)).await?.into_inner())
    }

    pub async fn validate(
        &self,
        code: &str,
        user_id: &str,
    ) -> Result<ValidateReferralCodeResponse, Status> {
        let message = ValidateReferralCodeRequest {
            referral_code: code.into(),
            user_id: user_id.into(),
            ..Default::default()
        };
        Ok(self.referrals().validate_referral_code(self.request(message)).await?.into_inner())
    }

    pub async fn record(
        &self,
        message: RecordPurchaseRequest,
    ) -> Result<RecordPurchaseResponse, Status> {
        Ok(self.purchases().record_purchase(self.request(message)).await?.into_inner())
    }

    /// Records a purchase; for an empty `purchase_id` the server generates one.
    pub async fn buy(
        &self,
        purchase_id: &str,
        buyer: &str,
        currency_code: &str,
        minor_units: i64,
    ) -> Result<RecordPurchaseResponse, Status> {
        self.record(RecordPurchaseRequest {
            purchase_id: purchase_id.into(),
            buyer_user_id: buyer.into(),
            amount: Some(pb::Money { currency_code: currency_code.into(), minor_units }),
            ..Default::default()
        })
        .await
    }

    pub async fn purchase(&self, purchase_id: &str) -> Result<GetPurchaseResponse, Status> {
        let message = GetPurchaseRequest { purchase_id: purchase_id.into(), ..Default::default() };
        Ok(self.purchases().get_purchase(self.request(message)).await?.into_inner())
    }

    /// Watches a user's earnings, from a token or from now on. The first message, which marks the beginning
    /// of the stream, has been read.
    pub async fn watch(
        &self,
        program_id: &str,
        user_id: &str,
        resume_token: &str,
    ) -> Result<Streaming<WatchEarningsResponse>, Status> {
        let message = WatchEarningsRequest {
            program_id: program_id.into(),
            user_id: user_id.into(),
            resume_token: resume_token.into(),
        };
        let mut stream = self.rewards().watch_earnings(self.request(message)).await?.into_inner();
        let first = stream.message().await?.expect("a stream begins with a heartbeat");
        assert!(first.reward.is_none() && !first.resume_token.is_empty());
        Ok(stream)
    }
}

/// The address of a user. Those of users who are told apart by a number are not similar to each other, so that no
/// fraud check takes them for one person.
#[must_use]
pub fn address_of(user_id: &str) -> String {
    if !user_id.contains(|character: char| character.is_ascii_digit()) {
        return format!("{user_id}@example.com");
    }
    // The hash FNV-1a of Fowler, Noll and Vo, mixed as SplitMix64 does, in letters.
    let hash = user_id.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    let mixed = (hash ^ (hash >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let mut mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    let mut letters = String::new();
    for _ in 0..12 {
        letters.push(char::from(b'a' + u8::try_from(mixed % 26).unwrap()));
        mixed /= 26;
    }
    format!("{letters}.{user_id}@example.com")
}

/// A sign-up with all required fields.
pub fn sign_up_request(program_id: &str, user_id: &str, code: &str) -> RegisterUserRequest {
    RegisterUserRequest {
        user_id: user_id.into(),
        username: user_id.into(),
        email: address_of(user_id),
        program_id: program_id.into(),
        referral_code: code.into(),
        ..Default::default()
    }
}
