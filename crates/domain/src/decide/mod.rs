//! Decisions: one function per command, each a plain function over the aggregates that it reads.
//!
//! A decision reads as few streams as it can and tells each aggregate what to do. The events of a decision
//! are appended all together or not at all. A decision may run several times: when a stream was not in
//! memory, or when another server changed a stream first.

mod access;
mod account;
mod adjust;
mod conversions;
mod erasure;
pub(crate) mod evidence;
mod expire;
mod hold;
mod job;
mod make_up;
mod money_back;
mod payment;
mod payout;
mod payout_lines;
mod profile;
mod program;
mod purchase;
mod referees;
mod referral;
mod registration;
mod review;
mod rewards;
mod screening;
mod session;
mod settle;
mod settle_line;
mod standing;
mod store;
mod validation;

use std::sync::Arc;

pub use adjust::{AdjustBalance, Approve, Decline};
pub use hold::{EndHoldPeriod, HoldReward, RewardName};
pub use money_back::{
    CancelRefund, CloseDispute, OpenDispute, Price, RefundPurchase, rehearse_refund,
};
pub use payment::{Report, ReportPayment, refused_reports};
pub use payout::{ConfirmPayout, CreatePayout, FailPayout, ReturnPayoutLine};
pub use payout_lines::CollectPayoutLine;
pub use profile::{ChangeSecondFactor, ConfirmEmail, Exchange, UpdateProfile};
pub use program::rehearse_publication;
pub use purchase::RecordPurchase;
pub use referral::{ApplyReferral, Referrer, existing_program};
pub use registration::{EnrollParticipant, RegisterUser, rehearse_sign_up};
pub use review::{FlagRefusedSignUp, ResolveFraudFlag, refused_sign_up_flag};
pub use screening::referral_flag;
pub use session::ChangePassword;
pub use store::{PublishItem, Redeem};
pub use validation::{CodeVerdict, validate_code};

pub use super::code::CodeFault;

use super::rules::ProgramRules;
use super::{
    ApiKeyId, Approval, Halt, JobId, MailKind, NewApiKey, ParticipantId, Payout, PayoutCollected,
    PayoutKey, PayoutLineId, PayoutMethod, ProgramId, ProgramRedemptionId, Purchase, PurchaseId,
    Redemption, SealedSecret, SessionsEnded, StreamKey, UserId, UserRole, Work,
};

/// A command from a caller.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs, reason = "the names are self-explanatory")]
pub enum Command {
    PublishProgram {
        program_id: ProgramId,
        rules: Arc<ProgramRules>,
        /// The version that must be in force, 0 for none; `None` if any may be.
        expected_version: Option<u32>,
    },
    RegisterUser(Box<RegisterUser>),
    EnrollParticipant(EnrollParticipant),
    DeactivateUser {
        user_id: UserId,
    },
    ReactivateUser {
        user_id: UserId,
    },
    UpdateProfile(Box<UpdateProfile>),
    ConfirmEmail(Box<ConfirmEmail>),
    ChangeSecondFactor(Box<ChangeSecondFactor>),
    BeginSecondFactor {
        user_id: UserId,
        sealed_secret: SealedSecret,
    },
    UseRecoveryCode {
        user_id: UserId,
        hash: [u8; 32],
        known_uses: u32,
    },
    Unsubscribe {
        user_id: UserId,
        kinds: Vec<MailKind>,
    },
    ExportUser {
        user_id: UserId,
    },
    RetryJob {
        job_id: JobId,
        attempts: u32,
    },
    EraseUser {
        user_id: UserId,
        forfeits_balances: bool,
    },
    ApplyReferral(ApplyReferral),
    RecordPurchase(RecordPurchase),
    /// Records what a payment provider has told of a payment, all in one append.
    ReportPayment(ReportPayment),
    /// Grants what a purchase would have granted if a referral had not been held or rejected that counts now.
    MakeUpPurchase {
        purchase_id: PurchaseId,
        program_id: ProgramId,
    },
    /// Takes back from the rewards of a purchase what was earned through referrals that were rejected with what they
    /// had earned, or gives it back.
    SettlePurchase {
        purchase_id: PurchaseId,
        program_id: ProgramId,
    },
    /// The same for what the referral of a participant itself earned.
    SettleReferral(ParticipantId),
    RefundPurchase(RefundPurchase),
    CancelRefund(CancelRefund),
    OpenDispute(OpenDispute),
    CloseDispute(CloseDispute),
    HoldReward(HoldReward),
    ReleaseReward(HoldReward),
    EndHoldPeriod(EndHoldPeriod),
    /// What was not used in time expires.
    ExpireBalance(ParticipantId),
    CreateApiKey(Box<NewApiKey>),
    RevokeApiKey {
        key_id: ApiKeyId,
    },
    SetUserRole {
        user_id: UserId,
        role: UserRole,
    },
    EndSessions {
        user_id: UserId,
        ended: SessionsEnded,
    },
    ChangePassword(ChangePassword),
    ResolveFraudFlag(Box<ResolveFraudFlag>),
    FlagRefusedSignUp(FlagRefusedSignUp),
    AdjustBalance(Box<AdjustBalance>),
    Approve(Approve),
    Decline(Decline),
    /// Says how a user is paid, or that nobody is to know any more.
    SetPayoutMethod {
        user_id: UserId,
        method: Option<PayoutMethod>,
    },
    CreatePayout(CreatePayout),
    /// Reserves what a participant gets by a payout, or notes why they get nothing.
    CollectPayoutLine(CollectPayoutLine),
    /// Ends the collecting of a payout.
    EndPayoutCollection {
        payout: PayoutKey,
        collected: PayoutCollected,
    },
    ConfirmPayout(Box<ConfirmPayout>),
    FailPayout(FailPayout),
    ReturnPayoutLine(ReturnPayoutLine),
    /// Does to a line what is being done to the whole payout.
    SettlePayoutLine(PayoutLineId),
    /// Ends what is being done to a whole payout.
    CompletePayout(PayoutKey),
    PublishItem(Box<PublishItem>),
    Redeem(Redeem),
    FulfilRedemption(ProgramRedemptionId),
    CancelRedemption(ProgramRedemptionId),
}

impl Command {
    /// The command's name, for logs and metrics.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::PublishProgram { .. } => "PublishProgram",
            Self::RegisterUser(_) => "RegisterUser",
            Self::EnrollParticipant(_) => "EnrollParticipant",
            Self::DeactivateUser { .. } => "DeactivateUser",
            Self::ReactivateUser { .. } => "ReactivateUser",
            Self::UpdateProfile(_) => "UpdateProfile",
            Self::ConfirmEmail(_) => "ConfirmEmail",
            Self::ChangeSecondFactor(_) => "ChangeSecondFactor",
            Self::BeginSecondFactor { .. } => "BeginSecondFactor",
            Self::UseRecoveryCode { .. } => "UseRecoveryCode",
            Self::Unsubscribe { .. } => "Unsubscribe",
            Self::ExportUser { .. } => "ExportUser",
            Self::RetryJob { .. } => "RetryJob",
            Self::EraseUser { .. } => "EraseUser",
            Self::ApplyReferral(_) => "ApplyReferral",
            Self::RecordPurchase(_) => "RecordPurchase",
            Self::ReportPayment(_) => "ReportPayment",
            Self::MakeUpPurchase { .. } => "MakeUpPurchase",
            Self::SettlePurchase { .. } => "SettlePurchase",
            Self::SettleReferral(_) => "SettleReferral",
            Self::RefundPurchase(_) => "RefundPurchase",
            Self::CancelRefund(_) => "CancelRefund",
            Self::OpenDispute(_) => "OpenDispute",
            Self::CloseDispute(_) => "CloseDispute",
            Self::HoldReward(_) => "HoldReward",
            Self::ReleaseReward(_) => "ReleaseReward",
            Self::EndHoldPeriod(_) => "EndHoldPeriod",
            Self::ExpireBalance(_) => "ExpireBalance",
            Self::CreateApiKey(_) => "CreateApiKey",
            Self::RevokeApiKey { .. } => "RevokeApiKey",
            Self::SetUserRole { .. } => "SetUserRole",
            Self::EndSessions { .. } => "EndSessions",
            Self::ChangePassword(_) => "ChangePassword",
            Self::ResolveFraudFlag(_) => "ResolveFraudFlag",
            Self::FlagRefusedSignUp(_) => "FlagRefusedSignUp",
            Self::AdjustBalance(_) => "AdjustBalance",
            Self::Approve(_) => "Approve",
            Self::Decline(_) => "Decline",
            Self::SetPayoutMethod { .. } => "SetPayoutMethod",
            Self::CreatePayout(_) => "CreatePayout",
            Self::CollectPayoutLine(_) => "CollectPayoutLine",
            Self::EndPayoutCollection { .. } => "EndPayoutCollection",
            Self::ConfirmPayout(_) => "ConfirmPayout",
            Self::FailPayout(_) => "FailPayout",
            Self::ReturnPayoutLine(_) => "ReturnPayoutLine",
            Self::SettlePayoutLine(_) => "SettlePayoutLine",
            Self::CompletePayout(_) => "CompletePayout",
            Self::PublishItem(_) => "PublishItem",
            Self::Redeem(_) => "Redeem",
            Self::FulfilRedemption(_) => "FulfilRedemption",
            Self::CancelRedemption(_) => "CancelRedemption",
        }
    }

    /// The command's receipt: the stream whose id the caller chose, by which a repetition is recognised.
    /// `None` if only a request id makes the command safe to repeat.
    #[must_use]
    pub fn receipt(&self) -> Option<StreamKey> {
        match self {
            Self::RecordPurchase(input) => Some(StreamKey::of::<Purchase>(&input.purchase_id)),
            Self::AdjustBalance(input) => Some(StreamKey::of::<Approval>(&input.approval_id())),
            Self::CreatePayout(input) => Some(StreamKey::of::<Payout>(&input.payout)),
            Self::Redeem(input) => Some(StreamKey::of::<Redemption>(&input.id)),
            Self::PublishProgram { .. }
            | Self::RegisterUser(_)
            | Self::EnrollParticipant(_)
            | Self::DeactivateUser { .. }
            | Self::ReactivateUser { .. }
            | Self::UpdateProfile(_)
            | Self::ConfirmEmail(_)
            | Self::ChangeSecondFactor(_)
            | Self::BeginSecondFactor { .. }
            | Self::UseRecoveryCode { .. }
            | Self::Unsubscribe { .. }
            | Self::ExportUser { .. }
            | Self::RetryJob { .. }
            | Self::EraseUser { .. }
            | Self::ApplyReferral(_)
            | Self::ReportPayment(_)
            | Self::MakeUpPurchase { .. }
            | Self::SettlePurchase { .. }
            | Self::SettleReferral(_)
            | Self::RefundPurchase(_)
            | Self::CancelRefund(_)
            | Self::OpenDispute(_)
            | Self::CloseDispute(_)
            | Self::HoldReward(_)
            | Self::ReleaseReward(_)
            | Self::EndHoldPeriod(_)
            | Self::ExpireBalance(_)
            | Self::CreateApiKey(_)
            | Self::RevokeApiKey { .. }
            | Self::SetUserRole { .. }
            | Self::EndSessions { .. }
            | Self::ChangePassword(_)
            | Self::ResolveFraudFlag(_)
            | Self::FlagRefusedSignUp(_)
            | Self::Approve(_)
            | Self::Decline(_)
            | Self::SetPayoutMethod { .. }
            | Self::CollectPayoutLine(_)
            | Self::EndPayoutCollection { .. }
            | Self::ConfirmPayout(_)
            | Self::FailPayout(_)
            | Self::ReturnPayoutLine(_)
            | Self::SettlePayoutLine(_)
            | Self::CompletePayout(_)
            | Self::PublishItem(_)
            | Self::FulfilRedemption(_)
            | Self::CancelRedemption(_) => None,
        }
    }

    /// Decides the command within a unit of work.
    ///
    /// # Errors
    /// [`Halt`] with the reason why nothing was decided.
    pub fn decide(&self, work: &mut dyn Work) -> Result<(), Halt> {
        match self {
            Self::PublishProgram { program_id, rules, expected_version } => {
                program::publish(work, program_id, rules, *expected_version)
            }
            Self::RegisterUser(input) => registration::register(work, input).map(drop),
            Self::EnrollParticipant(input) => registration::enroll(work, input).map(drop),
            Self::DeactivateUser { user_id } => account::deactivate(work, user_id),
            Self::ReactivateUser { user_id } => account::reactivate(work, user_id),
            Self::UpdateProfile(input) => profile::update(work, input),
            Self::ConfirmEmail(input) => profile::confirm_email(work, input),
            Self::ChangeSecondFactor(input) => profile::change_second_factor(work, input),
            Self::BeginSecondFactor { user_id, sealed_secret } => {
                profile::begin_second_factor(work, user_id, sealed_secret)
            }
            Self::UseRecoveryCode { user_id, hash, known_uses } => {
                profile::use_recovery_code(work, user_id, *hash, *known_uses)
            }
            Self::Unsubscribe { user_id, kinds } => profile::unsubscribe(work, user_id, kinds),
            Self::ExportUser { user_id } => account::export(work, user_id),
            Self::RetryJob { job_id, attempts } => job::retry(work, job_id, *attempts),
            Self::EraseUser { user_id, forfeits_balances } => {
                erasure::erase(work, user_id, *forfeits_balances)
            }
            Self::ApplyReferral(input) => referral::apply(work, input),
            Self::RecordPurchase(input) => purchase::record(work, input),
            Self::ReportPayment(input) => payment::report(work, input),
            Self::MakeUpPurchase { purchase_id, program_id } => {
                make_up::make_up(work, purchase_id, program_id)
            }
            Self::SettlePurchase { purchase_id, program_id } => {
                settle_line::settle_purchase(work, purchase_id, program_id)
            }
            Self::SettleReferral(referee_id) => settle_line::settle_referral(work, referee_id),
            Self::RefundPurchase(input) => money_back::refund(work, input),
            Self::CancelRefund(input) => money_back::cancel_refund(work, input),
            Self::OpenDispute(input) => money_back::open_dispute(work, input),
            Self::CloseDispute(input) => money_back::close_dispute(work, input),
            Self::HoldReward(input) => hold::hold(work, input),
            Self::ReleaseReward(input) => hold::release(work, input),
            Self::EndHoldPeriod(input) => hold::end_period(work, input),
            Self::ExpireBalance(id) => expire::expire(work, id),
            Self::CreateApiKey(key) => access::create_key(work, key),
            Self::RevokeApiKey { key_id } => access::revoke_key(work, key_id),
            Self::SetUserRole { user_id, role } => access::set_role(work, user_id, *role),
            Self::EndSessions { user_id, ended } => session::end(work, user_id, ended),
            Self::ChangePassword(input) => session::change_password(work, input),
            Self::ResolveFraudFlag(input) => review::resolve(work, input),
            Self::FlagRefusedSignUp(input) => review::flag_refused(work, input),
            Self::AdjustBalance(input) => adjust::adjust(work, input),
            Self::Approve(input) => adjust::approve(work, input),
            Self::Decline(input) => adjust::decline(work, input),
            Self::SetPayoutMethod { user_id, method } => {
                payout::set_method(work, user_id, method.as_ref())
            }
            Self::CreatePayout(input) => payout::create(work, input),
            Self::CollectPayoutLine(input) => payout_lines::collect(work, input),
            Self::EndPayoutCollection { payout, collected } => {
                payout::end_collection(work, payout, collected)
            }
            Self::ConfirmPayout(input) => payout::confirm(work, input),
            Self::FailPayout(input) => payout::fail(work, input),
            Self::ReturnPayoutLine(input) => payout::return_line(work, input),
            Self::SettlePayoutLine(line_id) => payout_lines::settle(work, line_id),
            Self::CompletePayout(payout) => payout::complete(work, payout),
            Self::PublishItem(input) => store::publish(work, input),
            Self::Redeem(input) => store::redeem(work, input),
            Self::FulfilRedemption(id) => store::fulfil(work, id),
            Self::CancelRedemption(id) => store::cancel(work, id),
        }
    }
}
