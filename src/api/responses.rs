//! Answers, made from events. The first answer to a request and every later one to its repetition are
//! made here, from the same events, so they are the same.

use std::collections::BTreeMap;

use prost_types::Timestamp as PbTimestamp;

use super::errors::{ApiError, internal};
use super::pb;
use crate::store::{ProfileNames, RecordedEvent};
use domain::reward::WithheldReason;
use domain::rules::RewardKind;
use domain::{
    Kind, Participant, ParticipantEvent, Purchase, PurchaseEvent, ReferralApplied, ReferralStatus,
    RewardGranted, RewardWithheld, Stream, Timestamp, User, UserEvent, UserStatus, decode,
};

/// An event that answers are made from.
enum AnyEvent {
    User(UserEvent),
    Participant(ParticipantEvent),
    Purchase(PurchaseEvent),
}

fn read_event(event: &RecordedEvent) -> Result<Option<AnyEvent>, ApiError> {
    Ok(Some(match event.stream.kind {
        Kind::User => AnyEvent::User(read::<User>(event)?),
        Kind::Program => return Ok(None),
        Kind::Participant => AnyEvent::Participant(read::<Participant>(event)?),
        Kind::Purchase => AnyEvent::Purchase(read::<Purchase>(event)?),
    }))
}

fn read<A: Stream>(event: &RecordedEvent) -> Result<A::Event, ApiError> {
    decode::<A>(&event.event_type, &event.event_version, &event.payload).map_err(|error| {
        tracing::error!(%error, position = event.position, "an event cannot be read");
        internal().into()
    })
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
) -> pb::User {
    pb::User {
        user_id: user_id.into(),
        username: names.map(|names| names.username.clone()).unwrap_or_default(),
        display_name: names.map(|names| names.display_name.clone()).unwrap_or_default(),
        status: user_status(status).into(),
        create_time: Some(time(create_time)),
    }
}

pub(super) fn user_status(status: UserStatus) -> pb::UserStatus {
    match status {
        UserStatus::Active => pb::UserStatus::Active,
        UserStatus::Inactive => pb::UserStatus::Inactive,
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

pub(super) fn reward_kind(kind: RewardKind) -> pb::RewardKind {
    match kind {
        RewardKind::Points => pb::RewardKind::Points,
        RewardKind::Credit => pb::RewardKind::Credit,
        RewardKind::Bonus => pb::RewardKind::Bonus,
        RewardKind::Commission => pb::RewardKind::Commission,
    }
}

fn withheld_reason(reason: WithheldReason) -> pb::WithheldReason {
    match reason {
        WithheldReason::RewardsReferralsOnly => pb::WithheldReason::RewardsReferralsOnly,
        WithheldReason::CurrencyNotAccepted => pb::WithheldReason::CurrencyNotAccepted,
        WithheldReason::BelowMinimum => pb::WithheldReason::BelowMinimum,
        WithheldReason::NotFirstPurchase => pb::WithheldReason::NotFirstPurchase,
        WithheldReason::NotReferred => pb::WithheldReason::NotReferred,
        WithheldReason::ReferralNotCounted => pb::WithheldReason::ReferralNotCounted,
        WithheldReason::BeforeReferral => pb::WithheldReason::BeforeReferral,
        WithheldReason::BeforeReactivation => pb::WithheldReason::BeforeReactivation,
        WithheldReason::EarnerInactive => pb::WithheldReason::EarnerInactive,
        WithheldReason::CapReached => pb::WithheldReason::CapReached,
        WithheldReason::RoundedToZero => pb::WithheldReason::RoundedToZero,
    }
}

pub(super) fn reward(granted: &RewardGranted, recorded_at: Timestamp) -> pb::Reward {
    pb::Reward {
        reward_id: granted.reward_id.clone(),
        earner_user_id: granted.earner_user_id.to_string(),
        kind: reward_kind(granted.kind).into(),
        level: count(granted.level),
        amount: Some(money(&granted.currency_code, granted.amount_minor)),
        rule: granted.rule.clone(),
        program_version: count(granted.program_version),
        program_id: granted.program_id.to_string(),
        source_user_id: granted.source_user_id.to_string(),
        purchase_id: granted.purchase_id.as_ref().map(ToString::to_string).unwrap_or_default(),
        create_time: Some(time(recorded_at)),
    }
}

/// What a sign-up, an enrolment or a referral came to.
#[derive(Default)]
pub(super) struct Joined {
    /// Who was registered, and when.
    pub(super) registered: Option<(String, Timestamp)>,
    pub(super) participants: Vec<pb::Participant>,
    pub(super) referral: Option<pb::Referral>,
    pub(super) rewards: Vec<pb::Reward>,
}

pub(super) fn joined(events: &[RecordedEvent]) -> Result<Joined, ApiError> {
    let mut joined = Joined::default();
    for event in events {
        match read_event(event)? {
            Some(AnyEvent::User(UserEvent::UserRegistered(registered))) => {
                joined.registered =
                    Some((registered.user_id.to_string(), registered.register_time_us));
            }
            Some(AnyEvent::Participant(ParticipantEvent::ParticipantEnrolled(enrolled))) => {
                joined.participants.push(pb::Participant {
                    program_id: enrolled.program_id.to_string(),
                    user_id: enrolled.user_id.to_string(),
                    code: enrolled.code,
                    link: enrolled.link,
                    ..pb::Participant::default()
                });
            }
            Some(AnyEvent::Participant(ParticipantEvent::ReferralApplied(applied))) => {
                joined.apply(&applied);
            }
            Some(AnyEvent::Participant(ParticipantEvent::ReferralConverted(converted))) => {
                let status = pb::ReferralStatus::Converted.into();
                if let Some(referral) = &mut joined.referral {
                    referral.status = status;
                }
                for participant in &mut joined.participants {
                    if participant.program_id == converted.program_id.as_str() {
                        participant.referral_status = status;
                    }
                }
            }
            Some(AnyEvent::Participant(ParticipantEvent::RewardGranted(granted))) => {
                joined.rewards.push(reward(&granted, event.recorded_at));
            }
            _ => {}
        }
    }
    Ok(joined)
}

impl Joined {
    fn apply(&mut self, applied: &ReferralApplied) {
        let status = referral_status(applied.status).into();
        for participant in &mut self.participants {
            if participant.program_id == applied.program_id.as_str() {
                participant.referrer_user_id = applied.referrer_user_id.to_string();
                participant.referral_status = status;
            }
        }
        self.referral = Some(pb::Referral {
            program_id: applied.program_id.to_string(),
            referrer_user_id: applied.referrer_user_id.to_string(),
            referee_user_id: applied.referee_user_id.to_string(),
            status,
            create_time: Some(time(applied.referral_time_us)),
        });
    }
}

/// What a purchase came to, in every program of the buyer.
pub(super) fn purchase(
    events: &[RecordedEvent],
) -> Result<(Option<pb::Purchase>, Vec<pb::PurchaseOutcome>), ApiError> {
    let mut purchase = None;
    let mut outcomes: BTreeMap<String, pb::PurchaseOutcome> = BTreeMap::new();
    let mut outcome = |program_id: &str, change: &mut dyn FnMut(&mut pb::PurchaseOutcome)| {
        let outcome = outcomes.entry(program_id.into()).or_insert_with(|| pb::PurchaseOutcome {
            program_id: program_id.into(),
            qualified: true,
            ..pb::PurchaseOutcome::default()
        });
        change(outcome);
    };
    for event in events {
        match read_event(event)? {
            Some(AnyEvent::Purchase(PurchaseEvent::PurchaseRecorded(recorded))) => {
                purchase = Some(pb::Purchase {
                    purchase_id: recorded.purchase_id.to_string(),
                    buyer_user_id: recorded.buyer_user_id.to_string(),
                    amount: Some(money(&recorded.currency_code, recorded.amount_minor)),
                    purchase_time: Some(time(recorded.purchase_time_us)),
                    create_time: Some(time(event.recorded_at)),
                });
            }
            Some(AnyEvent::Purchase(PurchaseEvent::RewardWithheld(withheld))) => {
                outcome(withheld.program_id.as_str(), &mut |outcome| {
                    add_withheld(outcome, &withheld);
                });
            }
            Some(AnyEvent::Participant(ParticipantEvent::RewardGranted(granted))) => {
                outcome(granted.program_id.as_str(), &mut |outcome| {
                    outcome.program_version = count(granted.program_version);
                    outcome.rewards.push(reward(&granted, event.recorded_at));
                });
            }
            Some(AnyEvent::Participant(ParticipantEvent::ReferralConverted(converted))) => {
                outcome(converted.program_id.as_str(), &mut |outcome| outcome.converted = true);
            }
            Some(AnyEvent::Participant(ParticipantEvent::PurchaseCredited(credited))) => {
                outcome(credited.program_id.as_str(), &mut |outcome| {
                    outcome.credited = Some(money(&credited.currency_code, credited.amount_minor));
                });
            }
            _ => {}
        }
    }
    Ok((purchase, outcomes.into_values().collect()))
}

fn add_withheld(outcome: &mut pb::PurchaseOutcome, withheld: &RewardWithheld) {
    let reason = withheld_reason(withheld.reason).into();
    outcome.program_version = count(withheld.program_version);
    if !withheld.qualified {
        outcome.qualified = false;
        outcome.reason = reason;
    }
    outcome.withheld.push(pb::WithheldReward {
        earner_user_id: withheld
            .earner_user_id
            .as_ref()
            .map(ToString::to_string)
            .unwrap_or_default(),
        level: count(withheld.level),
        reason,
    });
}
