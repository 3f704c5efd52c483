//! Answers, built from events. The first answer to a request and the answers to its repetitions are built
//! here from the same events, so they are the same.

use prost_types::Timestamp as PbTimestamp;

use super::errors::ApiError;
use super::pb;
use crate::store::{ProfileNames, RecordedEvent};
use domain::code::CodeFault;
use domain::reward::WithheldReason;
use domain::rules::RewardKind;
use domain::{
    AnyEvent, Bucket, Buckets, EntryKind, HoldReason, Kind, Participant, ParticipantEvent,
    ParticipantId, ReferralApplied, ReferralStatus, RewardGranted, RewardWithheld, Stream,
    Timestamp, User, UserEvent, UserRole, UserStatus,
};

/// The event itself, and the participant if the event is on a participant's stream; `None` for an event of a type that
/// only a newer release knows.
pub(super) fn read(
    event: &RecordedEvent,
) -> Result<Option<(AnyEvent, Option<ParticipantId>)>, ApiError> {
    let is_participant = event.stream.kind == Kind::Participant;
    let participant = is_participant.then(|| ParticipantId::parse(&event.stream.id)).flatten();
    Ok(event.read_if_known()?.map(|known| (known, participant)))
}

pub(super) fn time(time: Timestamp) -> PbTimestamp {
    PbTimestamp {
        seconds: time.0.div_euclid(Timestamp::PER_SECOND),
        nanos: i32::try_from(time.0.rem_euclid(Timestamp::PER_SECOND) * 1_000).unwrap_or_default(),
    }
}

pub(super) fn money(currency_code: &str, minor_units: i64) -> pb::Money {
    pb::Money { currency_code: currency_code.into(), minor_units }
}

pub(super) fn count(count: u32) -> i32 {
    i32::try_from(count).unwrap_or(i32::MAX)
}

pub(super) fn user(
    user_id: &str,
    names: Option<&ProfileNames>,
    status: UserStatus,
    create_time: Timestamp,
    role: UserRole,
) -> pb::User {
    pb::User {
        user_id: user_id.into(),
        username: names.map(|names| names.username.clone()).unwrap_or_default(),
        display_name: names.map(|names| names.display_name.clone()).unwrap_or_default(),
        status: user_status(status).into(),
        create_time: Some(time(create_time)),
        role: user_role(role).into(),
    }
}

pub(super) fn user_role(role: UserRole) -> pb::UserRole {
    match role {
        UserRole::Participant => pb::UserRole::Participant,
        UserRole::Operator => pb::UserRole::Operator,
        UserRole::Admin => pb::UserRole::Admin,
    }
}

pub(super) fn user_status(status: UserStatus) -> pb::UserStatus {
    match status {
        UserStatus::Active => pb::UserStatus::Active,
        UserStatus::Inactive => pb::UserStatus::Inactive,
        UserStatus::Erased => pb::UserStatus::Erased,
    }
}

pub(super) fn referral_status(status: ReferralStatus) -> pb::ReferralStatus {
    match status {
        ReferralStatus::Pending => pb::ReferralStatus::Pending,
        ReferralStatus::Held => pb::ReferralStatus::Held,
        ReferralStatus::Converted => pb::ReferralStatus::Converted,
        ReferralStatus::Rejected => pb::ReferralStatus::Rejected,
    }
}

/// The reasons to hold a referral, as an answer has them.
pub(super) fn hold_reasons(reasons: &[HoldReason]) -> Vec<i32> {
    let reason = |reason: &HoldReason| match reason {
        HoldReason::UnconfirmedEmail => pb::ReferralHoldReason::UnconfirmedEmail.into(),
        HoldReason::Review => pb::ReferralHoldReason::Review.into(),
    };
    reasons.iter().map(reason).collect()
}

pub(super) fn reward_kind(kind: RewardKind) -> pb::RewardKind {
    match kind {
        RewardKind::Points => pb::RewardKind::Points,
        RewardKind::Credit => pb::RewardKind::Credit,
        RewardKind::Bonus => pb::RewardKind::Bonus,
        RewardKind::Commission => pb::RewardKind::Commission,
    }
}

pub(super) fn entry_kind(kind: EntryKind) -> pb::EntryKind {
    match kind {
        EntryKind::Points | EntryKind::Credit | EntryKind::Bonus | EntryKind::Commission => {
            pb::EntryKind::Reward
        }
        EntryKind::PurchaseCredit => pb::EntryKind::PurchaseCredit,
        EntryKind::Reversal => pb::EntryKind::Reversal,
        EntryKind::Redemption => pb::EntryKind::Redemption,
        EntryKind::Payout => pb::EntryKind::Payout,
        EntryKind::Adjustment => pb::EntryKind::Adjustment,
        EntryKind::Expiry => pb::EntryKind::Expiry,
        EntryKind::Transfer => pb::EntryKind::Transfer,
    }
}

pub(super) fn bucket(bucket: Bucket) -> pb::BalanceBucket {
    match bucket {
        Bucket::Pending => pb::BalanceBucket::Pending,
        Bucket::Available => pb::BalanceBucket::Available,
        Bucket::Reserved => pb::BalanceBucket::Reserved,
    }
}

/// The parts and the sums of a balance.
pub(super) fn bucket_balances(unit: &str, buckets: &Buckets) -> pb::BucketBalances {
    let money = |minor_units| Some(money(unit, minor_units));
    pb::BucketBalances {
        pending: money(buckets.pending),
        available: money(buckets.available),
        reserved: money(buckets.reserved),
        earned: money(buckets.earned),
        credited: money(buckets.credited),
        adjusted: money(buckets.adjusted),
        reversed: money(buckets.reversed),
        spent: money(buckets.spent),
        paid: money(buckets.paid),
        expired: money(buckets.expired),
    }
}

pub(super) fn code_invalid_reason(fault: CodeFault) -> pb::CodeInvalidReason {
    match fault {
        CodeFault::UserInactive => pb::CodeInvalidReason::UserInactive,
        CodeFault::TooManyPrograms => pb::CodeInvalidReason::TooManyPrograms,
        CodeFault::Unknown => pb::CodeInvalidReason::Unknown,
        CodeFault::OwnCode => pb::CodeInvalidReason::OwnCode,
        CodeFault::AlreadyBought => pb::CodeInvalidReason::AlreadyBought,
        CodeFault::AlreadyReferred => pb::CodeInvalidReason::AlreadyReferred,
        CodeFault::AddressUsedBefore => pb::CodeInvalidReason::AddressUsedBefore,
        CodeFault::Exhausted => pb::CodeInvalidReason::Exhausted,
        CodeFault::TooLate => pb::CodeInvalidReason::TooLate,
        CodeFault::Cycle => pb::CodeInvalidReason::Cycle,
        CodeFault::BalanceLimit => pb::CodeInvalidReason::BalanceLimitReached,
    }
}

pub(super) fn withheld_reason(reason: WithheldReason) -> pb::WithheldReason {
    match reason {
        WithheldReason::RewardsReferralsOnly => pb::WithheldReason::RewardsReferralsOnly,
        WithheldReason::CurrencyNotAccepted => pb::WithheldReason::CurrencyNotAccepted,
        WithheldReason::BelowMinimum => pb::WithheldReason::BelowMinimum,
        WithheldReason::NotFirstPurchase => pb::WithheldReason::NotFirstPurchase,
        WithheldReason::NotReferred => pb::WithheldReason::NotReferred,
        WithheldReason::ReferralHeld => pb::WithheldReason::ReferralHeld,
        WithheldReason::ReferralNotCounted => pb::WithheldReason::ReferralNotCounted,
        WithheldReason::BeforeReferral => pb::WithheldReason::BeforeReferral,
        WithheldReason::BeforeReactivation => pb::WithheldReason::BeforeReactivation,
        WithheldReason::EarnerInactive => pb::WithheldReason::EarnerInactive,
        WithheldReason::CapReached => pb::WithheldReason::CapReached,
        WithheldReason::RoundedToZero => pb::WithheldReason::RoundedToZero,
    }
}

/// A reward that an event on the earner's stream granted. Its id is the stream and sequence of that event.
pub(super) fn reward(event: &RecordedEvent, granted: &RewardGranted) -> pb::Reward {
    let earner = ParticipantId::parse(&event.stream.id).unwrap_or_default();
    let kind = granted.posting.kind.reward_kind();
    pb::Reward {
        reward_id: event.entry_id(),
        earner_user_id: earner.user_id.to_string(),
        kind: kind.map_or(pb::RewardKind::Unspecified, reward_kind).into(),
        level: count(granted.level),
        amount: Some(money(&granted.posting.unit, granted.posting.amount)),
        rule: granted.rule.clone(),
        program_version: count(granted.program_version),
        program_id: earner.program_id.to_string(),
        source_user_id: granted.source_user_id.to_string(),
        purchase_id: granted.purchase_id.as_ref().map(ToString::to_string).unwrap_or_default(),
        create_time: Some(time(event.recorded_at)),
        computed_amount: granted.computed_minor.map(|of| money(&granted.posting.unit, of)),
        reversed: None,
        pending: None,
        release_time: granted.release_time_us.map(time),
        hold_reasons: Vec::new(),
        hold_note: String::new(),
    }
}

/// A reward that was withheld, by an event on the earner's stream.
pub(super) fn withheld_from_earner(
    event: &RecordedEvent,
    withheld: &RewardWithheld,
) -> pb::WithheldReward {
    let earner = ParticipantId::parse(&event.stream.id).unwrap_or_default();
    let computed = withheld.computed_minor.zip(withheld.unit.as_ref());
    pb::WithheldReward {
        earner_user_id: earner.user_id.to_string(),
        computed_amount: computed.map(|(amount, unit)| money(unit, amount)),
        program_id: earner.program_id.to_string(),
        source_user_id: id(withheld.source_user_id.as_ref()),
        purchase_id: id(withheld.purchase_id.as_ref()),
        ..withheld_reward(event, withheld)
    }
}

/// What both kinds of records of a withheld reward have in common.
pub(super) fn withheld_reward(
    event: &RecordedEvent,
    withheld: &RewardWithheld,
) -> pb::WithheldReward {
    pb::WithheldReward {
        level: count(withheld.level),
        reason: withheld_reason(withheld.reason).into(),
        rule: withheld.rule.clone().unwrap_or_default(),
        program_version: count(withheld.program_version),
        create_time: Some(time(event.recorded_at)),
        ..pb::WithheldReward::default()
    }
}

/// The id in a field that may be empty.
pub(super) fn id(id: Option<&impl ToString>) -> String {
    id.map(ToString::to_string).unwrap_or_default()
}

/// The result of a sign-up, an enrollment or a referral.
#[derive(Default)]
pub(super) struct Joined {
    /// Who was registered, and when.
    pub(super) registered: Option<(String, Timestamp)>,
    pub(super) participants: Vec<pb::Participant>,
    pub(super) referral: Option<pb::Referral>,
    pub(super) rewards: Vec<pb::Reward>,
    /// Why the code that was given made no referral; unspecified if it made one, or if none was given.
    pub(super) code_passed_over: pb::CodeInvalidReason,
}

pub(super) fn joined(events: &[RecordedEvent]) -> Result<Joined, ApiError> {
    let mut joined = Joined::default();
    for event in events {
        let Some((any, participant)) = read(event)? else { continue };
        if let Some(registered) = User::event_ref(&any).and_then(UserEvent::registered) {
            joined.registered = Some((event.stream.id.to_string(), registered.register_time_us));
        }
        if let (Some(event_of_participant), Some(id)) = (Participant::event(any), participant) {
            joined.enter(event, &id, event_of_participant);
        }
    }
    Ok(joined)
}

impl Joined {
    fn enter(&mut self, recorded: &RecordedEvent, id: &ParticipantId, event: ParticipantEvent) {
        match event {
            ParticipantEvent::ParticipantEnrolled(enrolled) => {
                if let Some(fault) = enrolled.code_passed_over {
                    self.code_passed_over = code_invalid_reason(fault);
                }
                self.participants.push(pb::Participant {
                    program_id: id.program_id.to_string(),
                    user_id: id.user_id.to_string(),
                    code: enrolled.code,
                    link: enrolled.link,
                    ..pb::Participant::default()
                });
            }
            ParticipantEvent::ReferralApplied(applied) => self.apply(id, &applied),
            ParticipantEvent::ReferralStandingChanged(changed) => {
                self.set_standing(id, changed.status, &changed.hold_reasons);
            }
            ParticipantEvent::ReferralConverted(_) => {
                self.set_standing(id, ReferralStatus::Converted, &[]);
            }
            ParticipantEvent::ReferralUnconverted(undone) => {
                self.set_standing(id, undone.status, &undone.hold_reasons);
            }
            ParticipantEvent::RewardGranted(granted) => {
                self.rewards.push(reward(recorded, &granted));
            }
            // The referrer's side of the referral, or something that the answer does not contain.
            ParticipantEvent::ReferralMade(_)
            | ParticipantEvent::ReferralUpdated(_)
            | ParticipantEvent::FirstPurchaseUsed(_)
            | ParticipantEvent::FirstPurchaseFreed(_)
            | ParticipantEvent::PurchaseReinstated(_)
            | ParticipantEvent::ReferralRewardsChanged(_)
            | ParticipantEvent::RewardReversed(_)
            | ParticipantEvent::RewardMoved(_)
            | ParticipantEvent::PurchaseCredited(_)
            | ParticipantEvent::RewardWithheld(_)
            | ParticipantEvent::TierChanged(_)
            | ParticipantEvent::RefereeAddressChanged(_)
            | ParticipantEvent::ParticipantDeactivated(_)
            | ParticipantEvent::ParticipantReactivated(_)
            | ParticipantEvent::BalanceAdjusted(_)
            | ParticipantEvent::BalanceExpired(_)
            | ParticipantEvent::BalanceForfeited(_)
            | ParticipantEvent::PayoutReserved(_)
            | ParticipantEvent::PayoutPaid(_)
            | ParticipantEvent::PayoutReleased(_)
            | ParticipantEvent::PayoutReturned(_)
            | ParticipantEvent::BalanceSpent(_)
            | ParticipantEvent::SpendingReturned(_)
            | ParticipantEvent::ParticipantErased(_) => {}
        }
    }

    fn participants_in(
        &mut self,
        id: &ParticipantId,
    ) -> impl Iterator<Item = &mut pb::Participant> {
        self.participants
            .iter_mut()
            .filter(|participant| participant.program_id == id.program_id.as_str())
    }

    fn apply(&mut self, referee: &ParticipantId, applied: &ReferralApplied) {
        for participant in self.participants_in(referee) {
            participant.referrer_user_id = applied.referrer_user_id.to_string();
        }
        self.referral = Some(referral(referee, applied));
        self.set_standing(referee, applied.status, &applied.hold_reasons);
    }

    fn set_standing(
        &mut self,
        referee: &ParticipantId,
        status: ReferralStatus,
        reasons: &[HoldReason],
    ) {
        let (status, reasons) = (referral_status(status).into(), hold_reasons(reasons));
        for participant in self.participants_in(referee) {
            participant.referral_status = status;
            participant.hold_reasons.clone_from(&reasons);
        }
        if let Some(referral) = &mut self.referral {
            referral.status = status;
            referral.hold_reasons = reasons;
        }
    }
}

/// A referral, in its initial state.
pub(super) fn referral(referee: &ParticipantId, applied: &ReferralApplied) -> pb::Referral {
    pb::Referral {
        program_id: referee.program_id.to_string(),
        referrer_user_id: applied.referrer_user_id.to_string(),
        referee_user_id: referee.user_id.to_string(),
        status: referral_status(applied.status).into(),
        create_time: Some(time(applied.referral_time_us)),
        hold_reasons: hold_reasons(&applied.hold_reasons),
    }
}
