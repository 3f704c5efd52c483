//! Why a command was refused. One enum for all commands, so that the same fault always has the same name.

use super::decided::{self, DecidedAs};
use super::{
    ApiKeyId, ApprovalId, ApprovalState, DisputeId, DisputeOutcome, FraudFlagId, JobId,
    ParticipantId, PayoutKey, PayoutLineId, PayoutLineState, PayoutState, ProgramId,
    ProgramRedemptionId, PurchaseId, RefundId, StoreItemId, UserId, UserRole,
};

/// A command that the rules forbid. Nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "each message says what its variant means")]
pub enum Refusal {
    #[error("user '{0}' does not exist")]
    UserNotFound(UserId),
    #[error("program '{0}' does not exist")]
    ProgramNotFound(ProgramId),
    #[error("user '{}' is not enrolled in program '{}'", .0.user_id, .0.program_id)]
    ParticipantNotFound(ParticipantId),
    #[error("referral code '{0}' does not exist")]
    CodeNotFound(String),
    #[error("purchase '{0}' does not exist")]
    PurchaseNotFound(PurchaseId),
    #[error("user_id '{0}' is taken")]
    UserIdTaken(UserId),
    #[error("taken: {}", .0.join(", "))]
    Taken(Vec<&'static str>),
    #[error(
        "purchase '{0}' was recorded with another buyer, amount or time, or by a key that is limited to other programs"
    )]
    PurchaseIdReused(PurchaseId),
    #[error("purchase '{0}' has changed meanwhile")]
    PurchaseMoved(PurchaseId),
    #[error("purchase '{0}' has no refund '{1}'")]
    RefundNotFound(PurchaseId, RefundId),
    #[error("refund '{1}' of purchase '{0}' was recorded with another amount")]
    RefundIdReused(PurchaseId, RefundId),
    #[error("of purchase '{purchase_id}' {} left to refund", left(*left_minor))]
    RefundExceedsPurchase { purchase_id: PurchaseId, left_minor: i64 },
    #[error("purchase '{purchase_id}' already has the maximum of {limit} refunds")]
    TooManyRefunds { purchase_id: PurchaseId, limit: usize },
    #[error("purchase '{purchase_id}' was paid in {currency_code}")]
    CurrencyMismatch { purchase_id: PurchaseId, currency_code: String },
    #[error("purchase '{purchase_id}' has no dispute '{dispute_id}'")]
    DisputeNotFound { purchase_id: PurchaseId, dispute_id: DisputeId },
    #[error(
        "dispute '{dispute_id}' about {amount_minor} minor units of purchase '{purchase_id}' is closed: it was {}",
        .outcome.as_str()
    )]
    DisputeClosedAlready {
        purchase_id: PurchaseId,
        dispute_id: DisputeId,
        amount_minor: i64,
        outcome: DisputeOutcome,
    },
    #[error(
        "the price of purchase '{purchase_id}' was {paid_minor} minor units, so no more can be disputed"
    )]
    DisputeExceedsPurchase { purchase_id: PurchaseId, paid_minor: i64 },
    #[error("purchase '{purchase_id}' already has the maximum of {limit} disputes")]
    TooManyDisputes { purchase_id: PurchaseId, limit: usize },
    #[error("reward '{0}' does not exist")]
    RewardNotFound(String),
    #[error("user '{}' is already enrolled in program '{}'", .0.user_id, .0.program_id)]
    AlreadyEnrolled(ParticipantId),
    #[error("user '{}' already has a referrer in program '{}', which cannot be changed", .0.user_id, .0.program_id)]
    AlreadyReferred(ParticipantId),
    #[error("user '{0}' cannot refer themselves")]
    SelfReferral(UserId),
    #[error("user '{referee}' is in the upline of '{referrer}': the referral would create a cycle")]
    ReferralCycle { referee: UserId, referrer: UserId },
    #[error("program '{}' takes referrers only at registration", .0.program_id)]
    ReferralTooLate(ParticipantId),
    #[error("user '{}' has already made the purchase that the program rewards", .0.user_id)]
    AlreadyBought(ParticipantId),
    #[error("all {limit} uses of referral code '{code}' are used up")]
    CodeExhausted { code: String, limit: u32 },
    #[error("the referrer already has the {limit} direct referrals that the program allows")]
    ReferrerLimitReached { referrer: UserId, limit: u32 },
    #[error(
        "user '{0}' signed up with an address that was used before; an address can be referred once"
    )]
    AddressUsedBefore(UserId),
    #[error("user '{user_id}' is owed {}: pay it out first, or set forfeit_balances", .owed.join(", "))]
    BalanceOwed {
        user_id: UserId,
        /// What the user is owed in each program, as in `15007 minor units of INR in 'spring'`.
        owed: Vec<String>,
    },
    #[error("user '{0}' is an operator or an admin, and only an admin may deactivate them")]
    StaffAccount(UserId),
    #[error("user '{0}' is inactive")]
    UserInactive(UserId),
    #[error("user '{0}' is inactive already")]
    UserAlreadyInactive(UserId),
    #[error("user '{0}' is active already")]
    UserAlreadyActive(UserId),
    #[error("a balance of user '{0}' would exceed the largest amount that can be stored")]
    BalanceLimitReached(UserId),
    #[error(
        "program '{program_id}' keeps its balances in {unit}, which no later version can change"
    )]
    UnitIsFixed { program_id: ProgramId, unit: String },
    #[error("program '{program_id}' already has the maximum of {limit} versions")]
    TooManyVersions { program_id: ProgramId, limit: u32 },
    #[error("program '{program_id}' is in version {version} by now, and not in version {expected}")]
    ProgramChanged { program_id: ProgramId, version: u32, expected: u32 },
    #[error(
        "{limit} programs, the most that one user can be in, enroll by default already: publish \
         '{program_id}' without enroll_by_default, or another program without it first"
    )]
    TooManyDefaultPrograms { program_id: ProgramId, limit: u32 },
    #[error("the profile of user '{0}' has changed meanwhile")]
    ProfileMoved(UserId),
    #[error(
        "user '{user_id}' has asked for another address {limit} times within an hour; the link that was mailed last is \
         still good"
    )]
    TooManyAddressChanges { user_id: UserId, limit: u32, wait_seconds: i64 },
    #[error("the token was used already, or a later one took its place")]
    MailedTokenUsed,
    #[error("user '{0}' has a second factor already; remove it first")]
    SecondFactorOn(UserId),
    #[error("user '{0}' has no second factor")]
    SecondFactorOff(UserId),
    #[error("the password of user '{0}' was changed meanwhile")]
    PasswordChangedMeanwhile(UserId),
    #[error("{limit} people have signed up for program '{program_id}' from this address of late")]
    TooManySignUps {
        program_id: ProgramId,
        limit: u32,
        /// In how many seconds one more can sign up from there.
        retry_seconds: u64,
    },
    #[error("user '{user_id}' is already in the maximum of {limit} programs")]
    TooManyPrograms { user_id: UserId, limit: u32 },
    #[error("user '{user_id}' already has the role {}", .role.as_str())]
    UserRoleUnchanged { user_id: UserId, role: UserRole },
    #[error("key '{0}' does not exist")]
    ApiKeyNotFound(ApiKeyId),
    #[error("key '{0}' is revoked already")]
    ApiKeyAlreadyRevoked(ApiKeyId),
    #[error("the id of key '{0}' is taken")]
    ApiKeyIdTaken(ApiKeyId),
    #[error("user '{0}', who creates the key, is no admin any more")]
    CreatorIsNoAdmin(UserId),
    #[error("job '{0}' was retried already")]
    JobRetriedAlready(JobId),
    #[error("fraud flag '{0}' does not exist")]
    FraudFlagNotFound(FraudFlagId),
    #[error(
        "fraud flag '{0}' is about a sign-up that was refused: there is no account to deactivate"
    )]
    FraudFlagWithoutUser(FraudFlagId),
    #[error("adjustment '{0}' was asked for with another amount or reason code")]
    AdjustmentIdReused(ApprovalId),
    #[error("{field} must be in {unit}, in which program '{program_id}' keeps its balances")]
    NotTheUnit { field: &'static str, program_id: ProgramId, unit: String },
    #[error("approval '{0}' does not exist")]
    ApprovalNotFound(ApprovalId),
    #[error("approval '{approval_id}' is {} already", .state.as_str())]
    ApprovalDecided { approval_id: ApprovalId, state: ApprovalState },
    #[error("{}", .why.words(.approval_id))]
    SelfApproval { approval_id: ApprovalId, why: SelfApprovalWhy },
    #[error("the id of fraud flag '{0}' is taken")]
    FraudFlagIdTaken(FraudFlagId),
    #[error("payout '{}' of program '{}' does not exist", .0.payout_id, .0.program_id)]
    PayoutNotFound(PayoutKey),
    #[error("payout '{}' has no line of user '{}'", .0.payout, .0.user_id)]
    PayoutLineNotFound(PayoutLineId),
    #[error("payout '{0}' was created with another minimum")]
    PayoutIdReused(PayoutKey),
    #[error("payout '{0}' is still collecting")]
    PayoutCollecting(PayoutKey),
    #[error("program '{0}' does not pay out")]
    PayoutsOff(ProgramId),
    #[error(
        "an earlier version of program '{0}' credited purchases: paying out would hand buyers their own payments back \
         as cash"
    )]
    PayoutOfCredits(ProgramId),
    #[error("{}", decided::of_payout(.payout, *.state, .said))]
    PayoutDecided { payout: PayoutKey, state: PayoutState, said: Box<DecidedAs> },
    #[error(
        "nobody could be paid by payout '{0}', so it has ended: there is nothing to confirm or to fail; \
         ListPayoutLines shows who was skipped, and why"
    )]
    PayoutWasEmpty(PayoutKey),
    #[error("{}", decided::of_line(.line_id, *.state, .said))]
    PayoutLineDecided { line_id: PayoutLineId, state: PayoutLineState, said: Box<DecidedAs> },
    #[error(
        "payout '{}' has a line of the caller's own: another operator has to say that it failed or came back",
        .0.payout
    )]
    OwnPayoutLine(PayoutLineId),
    #[error("the same was asked for with another provider_reference, and waits as approval '{0}'")]
    PayoutAwaitsApproval(ApprovalId),
    #[error(
        "an amount is set aside for user '{user_id}' by a payout of program '{program_id}': confirm or fail it first"
    )]
    PayoutPending { user_id: UserId, program_id: ProgramId },
    #[error("program '{}' has no item '{}'", .0.program_id, .0.item_id)]
    ItemNotFound(StoreItemId),
    #[error("item '{}' cannot be redeemed at present", .0.item_id)]
    ItemNotAvailable(StoreItemId),
    #[error("item '{}' costs {cost_minor} minor units of {unit} by now", .id.item_id)]
    ItemCostChanged { id: StoreItemId, cost_minor: i64, unit: String },
    #[error("{}", sold_out(.id, *.stock))]
    OutOfStock { id: StoreItemId, stock: u32 },
    #[error("each participant can redeem at most {limit} of item '{}'", .id.item_id)]
    ItemLimitReached { id: StoreItemId, limit: u32 },
    #[error("item '{}' is for participants from tier '{from_tier}' on; this one is in '{tier}'", .id.item_id)]
    TierTooLow { id: StoreItemId, from_tier: String, tier: String },
    #[error("program '{program_id}' has no tier '{tier}'")]
    TierNotFound { program_id: ProgramId, tier: String },
    #[error("{taken} pieces of item '{}' are redeemed already, so there cannot be fewer", .id.item_id)]
    StockBelowTaken { id: StoreItemId, taken: u32 },
    #[error("program '{program_id}' already has the maximum of {limit} items")]
    TooManyItems { program_id: ProgramId, limit: u32 },
    #[error("{available_minor} minor units are available to user '{}', and the item costs {cost_minor}", .id.user_id)]
    InsufficientBalance { id: ParticipantId, available_minor: i64, cost_minor: i64 },
    #[error(
        "the referral of user '{}' in program '{}' is held or rejected because of a fraud flag",
        .0.user_id, .0.program_id
    )]
    ReferralFlagged(ParticipantId),
    #[error("program '{}' has no redemption '{}'", .0.program_id, .0.redemption_id)]
    RedemptionNotFound(ProgramRedemptionId),
    #[error("redemption '{}' was made by another user or for another item", .0.redemption_id)]
    RedemptionIdReused(ProgramRedemptionId),
    #[error("redemption '{}' is fulfilled", .0.redemption_id)]
    RedemptionIsFulfilled(ProgramRedemptionId),
    #[error("redemption '{}' is cancelled", .0.redemption_id)]
    RedemptionIsCancelled(ProgramRedemptionId),
}

/// Why somebody cannot approve something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SelfApprovalWhy {
    /// It is about their own balance.
    OwnBalance,
    /// They have asked for it, or a key that they created has.
    SamePerson,
    /// The same key has asked for it, or one that was created with it or with which it was created.
    SameKey,
}

impl SelfApprovalWhy {
    /// The name used in errors.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::OwnBalance => "own_balance",
            Self::SamePerson => "same_person",
            Self::SameKey => "same_key",
        }
    }

    fn words(self, approval_id: &ApprovalId) -> String {
        match self {
            Self::OwnBalance => format!(
                "approval '{approval_id}' is about the caller's own balance: another operator has to approve it"
            ),
            Self::SamePerson => format!(
                "the caller, or a key that the caller created, asked for approval '{approval_id}': another operator \
                 has to approve it; Decline takes it back"
            ),
            Self::SameKey => format!(
                "approval '{approval_id}' was asked for with this key, or with one that was created with it: somebody \
                 with a key or a session of their own has to approve it; Decline takes it back"
            ),
        }
    }
}

/// Why no piece of an item is left, and what makes room.
fn sold_out(id: &StoreItemId, stock: u32) -> String {
    let what = match stock {
        0 => format!("item '{}' has a stock of 0", id.item_id),
        1 => format!("the only piece of item '{}' is redeemed", id.item_id),
        more => format!("all {more} pieces of item '{}' are redeemed", id.item_id),
    };
    format!(
        "{what}: PublishItem with a larger stock makes room, and so does a redemption that is cancelled"
    )
}

/// What is left of a price, as a clause.
fn left(minor: i64) -> String {
    match minor {
        0 => "nothing is".into(),
        1 => "only 1 minor unit is".into(),
        more => format!("only {more} minor units are"),
    }
}
