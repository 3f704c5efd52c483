//! A participant: a user in a program, with a code, perhaps a referrer, and what they earned.

mod events;
mod referrals;
mod settlement;

use std::sync::Arc;

use cqrs_es::Aggregate;
use cqrs_es::event_sink::EventSink;
use serde::{Deserialize, Serialize};

use self::settlement::pending_points;
use super::ledger::{Bucket, Buckets, EntryKind, Overflow, Posting};
use super::purchase::RewardWithheld;
use super::registry::State;
use super::reward::{LevelTotal, Quote, WithheldReason};
use super::rules::{FirstPurchaseUse, Pay, RewardRule};
use super::{
    AdjustmentId, Halt, ParticipantId, Program, PurchaseId, Refusal, Timestamp, User, UserId, Work,
    load,
};

pub use events::{
    BalanceAdjusted, BalanceForfeited, FirstPurchaseFreed, FirstPurchaseUsed, FlagAgainst,
    HoldReason, MAX_FLAGS_AGAINST, ParticipantDeactivated, ParticipantEnrolled, ParticipantErased,
    ParticipantEvent, ParticipantReactivated, PurchaseCredited, RefereeAddressChanged,
    ReferralApplied, ReferralConverted, ReferralMade, ReferralReward, ReferralRewardsChanged,
    ReferralStandingChanged, ReferralStatus, ReferralUnconverted, ReferralUpdated, RewardGranted,
    RewardMoved, RewardReversed, TierChanged, TierPot,
};
pub use referrals::{Referral, ReferralCounts, Standing, TierReferrals};
pub use settlement::{RewardChange, RewardRef};

/// A computed reward, ready to be granted.
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "the fields are those of RewardGranted")]
pub struct Grant {
    pub earner_user_id: UserId,
    pub program_version: u32,
    pub unit: String,
    pub rule: RewardRule,
    pub quote: Quote,
    pub source_user_id: UserId,
    pub purchase_id: Option<PurchaseId>,
    pub basis_minor: Option<i64>,
    pub release_time: Option<Timestamp>,
}

impl Grant {
    /// The reward as the referee's stream knows it, where the referral itself earns it.
    pub(crate) fn for_referral(&self, reward_sequence: i64) -> ReferralReward {
        let by_tier = matches!(self.rule.pay, Pay::Tiers(_));
        let waits = self.release_time.is_some() && !by_tier;
        ReferralReward {
            earner_user_id: self.earner_user_id.clone(),
            level: self.rule.level,
            amount_minor: self.quote.amount_minor,
            reward_sequence,
            reversed_minor: 0,
            pending_minor: if waits { self.quote.amount_minor } else { 0 },
            release_time_us: self.release_time,
            is_held: false,
        }
    }
}

/// A correction of the balance by a signed amount.
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "the names are self-explanatory")]
pub struct Adjustment {
    pub user_id: UserId,
    pub adjustment_id: AdjustmentId,
    pub reason_code: String,
    pub amount_minor: i64,
    pub unit: String,
}

/// The commands of a participant. If a refusal names the participant, the command carries the name.
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "the names are self-explanatory")]
pub enum ParticipantCommand {
    Enroll {
        id: ParticipantId,
        enrolled: ParticipantEnrolled,
    },
    /// Records this referrer.
    ApplyReferral {
        id: ParticipantId,
        referrer_user_id: UserId,
        standing: Standing,
        made_while_inactive: bool,
        now: Timestamp,
    },
    /// Records this referee.
    MakeReferral {
        user_id: UserId,
        referee_user_id: UserId,
        status: ReferralStatus,
    },
    /// The participant's own referral was released or rejected, or reasons to hold it are gone.
    ChangeStanding(ReferralStandingChanged),
    /// The participant's own referral earned something.
    Convert(ReferralConverted),
    /// What becomes of the rewards that the participant's own referral earned.
    ChangeRewards(ReferralRewardsChanged),
    /// The referral of this referee changed its status.
    UpdateReferral(ReferralUpdated),
    /// The address of this referee was changed or deleted.
    NoteRefereeAddress(RefereeAddressChanged),
    /// The participant bought, although it converted nothing.
    UseFirstPurchase {
        purchase_id: PurchaseId,
        is_insufficient: bool,
    },
    CreditPurchase {
        user_id: UserId,
        purchase_id: PurchaseId,
        amount_minor: i64,
        unit: String,
    },
    Grant(Box<Grant>),
    /// A reward becomes what it is to be after a refund, a dispute or a hold.
    Settle(Box<(RewardRef, RewardChange)>),
    /// The credit for a purchase becomes what it is to be: what stands and what of it is pending change by so much.
    SettleCredit {
        user_id: UserId,
        purchase_id: PurchaseId,
        change_minor: i64,
        pending_change_minor: i64,
        unit: String,
    },
    /// The participant's own referral is converted no longer: this purchase stands no longer or, without one, the
    /// referral was rejected with what it had earned.
    Unconvert(Option<PurchaseId>),
    /// Whatever this purchase was the first of is free again.
    FreeFirstPurchase(PurchaseId),
    Withhold(RewardWithheld),
    /// Corrects the balance by a signed amount.
    Adjust(Adjustment),
    Deactivate,
    Reactivate {
        now: Timestamp,
    },
    /// Forfeits everything that the participant is owed, and ends their part in the program.
    Erase {
        user_id: UserId,
        unit: String,
    },
}

/// The participant, who must exist and not be erased.
///
/// # Errors
/// A refusal that names what is missing: the program, the user, or the user in the program.
pub fn existing_participant(
    work: &mut dyn Work,
    id: &ParticipantId,
) -> Result<Arc<Participant>, Halt> {
    let participant = load::<Participant>(work, id)?;
    if participant.exists() && !participant.is_erased() {
        return Ok(participant);
    }
    let ParticipantId { program_id, user_id } = id;
    Err(if load::<Program>(work, program_id)?.current().is_none() {
        Refusal::ProgramNotFound(program_id.clone()).into()
    } else if load::<User>(work, user_id)?.exists() {
        Refusal::ParticipantNotFound(id.clone()).into()
    } else {
        Refusal::UserNotFound(user_id.clone()).into()
    })
}

/// A user in a program.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[allow(clippy::struct_excessive_bools, reason = "each is a fact by itself")]
pub struct Participant {
    code: String,
    inactive: bool,
    erased: bool,
    reactivate_time: Option<Timestamp>,
    referral: Option<Referral>,
    has_referred: bool,
    referrals: ReferralCounts,
    tier_referrals: TierReferrals,
    tier_points: i64,
    /// The version of the rules by which the latest of these points were granted; 0 if none were.
    tier_version: u32,
    tier_pot: TierPot,
    tier_pending_minor: i64,
    /// The purchase that was the first of all, and the first that was enough; none if that one stands no longer.
    first_purchase: Option<PurchaseId>,
    first_enough: Option<PurchaseId>,
    levels: Vec<LevelTotal>,
    buckets: Buckets,
    tier: Option<String>,
}

impl Participant {
    /// Whether the user is in the program.
    #[must_use]
    pub fn exists(&self) -> bool {
        !self.code.is_empty()
    }

    /// The participant's own code.
    #[must_use]
    pub fn code(&self) -> &str {
        &self.code
    }

    /// Whether the participant can earn.
    #[must_use]
    pub fn is_active(&self) -> bool {
        !self.inactive
    }

    /// Whether the participant's user was erased.
    #[must_use]
    pub fn is_erased(&self) -> bool {
        self.erased
    }

    /// Why the participant cannot earn now; for a purchase, with its time if the caller said it.
    #[must_use]
    pub fn bar(&self, dated: Option<Timestamp>) -> Option<WithheldReason> {
        if self.inactive {
            return Some(WithheldReason::EarnerInactive);
        }
        let (dated, since) = dated.zip(self.reactivate_time)?;
        dated.is_purchase_before(since).then_some(WithheldReason::BeforeReactivation)
    }

    /// When the participant was last reactivated.
    #[must_use]
    pub fn reactivate_time(&self) -> Option<Timestamp> {
        self.reactivate_time
    }

    /// Who referred the participant.
    #[must_use]
    pub fn referral(&self) -> Option<&Referral> {
        self.referral.as_ref()
    }

    /// How many uses of the participant's code, and direct referrals, are used up.
    #[must_use]
    pub fn uses(&self) -> u32 {
        self.referrals.uses()
    }

    /// Whether the participant ever referred anybody.
    #[must_use]
    pub fn has_referred(&self) -> bool {
        self.has_referred
    }

    /// Whether the participant has made the purchase that counts as the first, under whatever rules.
    #[must_use]
    pub fn first_purchase_used(&self, used_by: FirstPurchaseUse) -> bool {
        match used_by {
            FirstPurchaseUse::AnyPurchase => {
                self.first_purchase.is_some() || self.first_enough.is_some()
            }
            FirstPurchaseUse::QualifyingPurchase => self.first_enough.is_some(),
        }
    }

    /// Whether a purchase is the participant's first of all, or the first that is enough.
    #[must_use]
    pub fn is_first_purchase(&self, is_insufficient: bool) -> bool {
        self.first_purchase.is_none() || (self.first_enough.is_none() && !is_insufficient)
    }

    /// Whether a purchase is what uses up the first one, under whatever rules.
    #[must_use]
    pub fn is_first(&self, purchase_id: &PurchaseId) -> bool {
        self.first_purchase.as_ref() == Some(purchase_id)
            || self.first_enough.as_ref() == Some(purchase_id)
    }

    /// The participant's tier, if it ever changed.
    #[must_use]
    pub fn tier(&self) -> Option<&str> {
        self.tier.as_deref()
    }

    /// What the participant earned from one level.
    #[must_use]
    pub fn level(&self, level: u32) -> LevelTotal {
        self.levels
            .iter()
            .find(|total| total.level == level)
            .copied()
            .unwrap_or(LevelTotal { level, ..LevelTotal::default() })
    }

    /// What the participant earned from each level that ever paid.
    #[must_use]
    pub fn levels(&self) -> &[LevelTotal] {
        &self.levels
    }

    /// How many users the participant referred, by status of the referral.
    #[must_use]
    pub fn referrals(&self) -> ReferralCounts {
        self.referrals
    }

    /// How many of the participant's referrals count for tiers.
    #[must_use]
    pub fn tier_referrals(&self) -> TierReferrals {
        self.tier_referrals
    }

    /// The points that tiers granted the participant, in any version of the program.
    #[must_use]
    pub fn tier_points(&self) -> i64 {
        self.tier_points
    }

    /// The version of the rules by which the latest of these points were granted; 0 if none were.
    #[must_use]
    pub fn tier_version(&self) -> u32 {
        self.tier_version
    }

    /// Why points by tier wait.
    #[must_use]
    pub fn tier_pot(&self) -> TierPot {
        self.tier_pot
    }

    /// How many points by tier wait, in minor units.
    #[must_use]
    pub fn tier_pending_minor(&self) -> i64 {
        self.tier_pending_minor
    }

    /// Takes over what an event leaves that moves money and is of a type that only a newer release knows. For readers
    /// only: what else the event means is not known here, so nothing may be decided on the result.
    pub fn take_over(&mut self, after: Buckets) {
        self.buckets = after;
    }

    /// What the participant owns, and the sums that explain it.
    #[must_use]
    pub fn buckets(&self) -> &Buckets {
        &self.buckets
    }

    /// The participant's balance, in minor units.
    #[must_use]
    pub fn balance_minor(&self) -> i64 {
        self.buckets.balance()
    }

    /// All rewards of the participant without those that were taken back, in minor units.
    #[must_use]
    pub fn earned_minor(&self) -> i64 {
        self.buckets.net_earned()
    }

    fn apply_referral(
        &self,
        id: ParticipantId,
        referrer_user_id: UserId,
        standing: Standing,
        made_while_inactive: bool,
        now: Timestamp,
    ) -> Result<ReferralApplied, Refusal> {
        if self.referral.is_some() {
            return Err(Refusal::AlreadyReferred(id));
        }
        if referrer_user_id == id.user_id {
            return Err(Refusal::SelfReferral(referrer_user_id));
        }
        Ok(ReferralApplied {
            referrer_user_id,
            status: standing.status(),
            hold_reasons: standing.hold_reasons(),
            flags: standing.flags,
            referral_time_us: now,
            made_while_inactive,
        })
    }

    fn make_referral(
        &self,
        user_id: UserId,
        referee_user_id: UserId,
        status: ReferralStatus,
    ) -> Result<ReferralMade, Refusal> {
        let taken = u32::from(status != ReferralStatus::Rejected);
        let uses = self.uses().checked_add(taken).ok_or(Refusal::BalanceLimitReached(user_id))?;
        Ok(ReferralMade { referee_user_id, status, uses, made_while_inactive: self.inactive })
    }

    fn credit(
        &self,
        user_id: UserId,
        purchase_id: PurchaseId,
        amount_minor: i64,
        unit: &str,
    ) -> Result<PurchaseCredited, Refusal> {
        let posting =
            self.buckets.post(EntryKind::PurchaseCredit, amount_minor, Bucket::Available, unit);
        let posting = posting.map_err(|Overflow| Refusal::BalanceLimitReached(user_id))?;
        Ok(PurchaseCredited { purchase_id, posting })
    }

    fn grant(&self, grant: Grant) -> Result<RewardGranted, Refusal> {
        let Grant { rule, quote, earner_user_id, .. } = grant;
        let limit = || Refusal::BalanceLimitReached(earner_user_id.clone());
        let level = self.level(rule.level);
        let total = level.total_minor.checked_add(quote.amount_minor).ok_or_else(limit)?;
        let to = if grant.release_time.is_some() { Bucket::Pending } else { Bucket::Available };
        let posting = self
            .buckets
            .post(rule.kind.into(), quote.amount_minor, to, &grant.unit)
            .map_err(|Overflow| limit())?;
        Ok(RewardGranted {
            program_version: grant.program_version,
            rule: rule.rule,
            level: rule.level,
            source_user_id: grant.source_user_id,
            purchase_id: grant.purchase_id,
            basis_minor: grant.basis_minor,
            rate_bps: match rule.pay {
                Pay::RateBps(rate) => Some(rate),
                Pay::FlatMinor(_) | Pay::Tiers(_) | Pay::Count => None,
            },
            computed_minor: Some(quote.computed_minor).filter(|of| *of != quote.amount_minor),
            cap_remaining_minor: quote.cap_remaining_minor,
            level_total_minor: Some(total).filter(|total| *total != posting.after.net_earned()),
            level_count: level.count.checked_add(1).ok_or_else(limit)?,
            tier_referrals: quote.tier_referrals,
            release_time_us: grant.release_time,
            posting,
        })
    }

    /// The transfer by which points that tiers have just granted wait as far as they are to.
    fn rebalance(&self, grant: &Grant) -> Result<Option<RewardMoved>, Refusal> {
        let (Pay::Tiers(tiers), Some(referrals)) = (&grant.rule.pay, grant.quote.tier_referrals)
        else {
            return Ok(None);
        };
        let pending = pending_points(tiers, referrals, self.tier_pot, self.tier_points);
        let change = pending.saturating_sub(self.tier_pending_minor);
        let limit = |Overflow| Refusal::BalanceLimitReached(grant.earner_user_id.clone());
        let kind = EntryKind::Transfer;
        let posting = self.buckets.settle(kind, 0, change, &grant.unit).map_err(limit)?.pop();
        Ok(posting.map(|posting| RewardMoved {
            program_version: grant.program_version,
            rule: grant.rule.rule.clone(),
            level: grant.rule.level,
            source_user_id: grant.source_user_id.clone(),
            purchase_id: grant.purchase_id.clone(),
            reward_sequence: None,
            tier_pot: Some(self.tier_pot),
            posting,
        }))
    }

    fn adjust(&self, adjustment: Adjustment) -> Result<BalanceAdjusted, Refusal> {
        let Adjustment { user_id, adjustment_id, reason_code, amount_minor, unit } = adjustment;
        let kind = EntryKind::Adjustment;
        let posting = self.buckets.post(kind, amount_minor, Bucket::Available, &unit);
        let posting = posting.map_err(|Overflow| Refusal::BalanceLimitReached(user_id))?;
        Ok(BalanceAdjusted { adjustment_id, reason_code, posting })
    }

    fn forfeit(
        &self,
        bucket: Bucket,
        user_id: &UserId,
        unit: &str,
    ) -> Result<BalanceForfeited, Refusal> {
        let amount = -self.buckets.part(bucket);
        let posting = self.buckets.post(EntryKind::Expiry, amount, bucket, unit);
        let posting = posting.map_err(|Overflow| Refusal::BalanceLimitReached(user_id.clone()))?;
        Ok(BalanceForfeited { posting })
    }

    fn use_first(&mut self, purchase_id: &PurchaseId, is_insufficient: bool) {
        self.first_purchase.get_or_insert_with(|| purchase_id.clone());
        if !is_insufficient {
            self.first_enough.get_or_insert_with(|| purchase_id.clone());
        }
    }

    fn move_reward(&mut self, tier_pot: Option<TierPot>, posting: &Posting) {
        if let Some(tier_pot) = tier_pot {
            self.tier_pot = tier_pot;
            let change = posting.pending_change();
            self.tier_pending_minor = self.tier_pending_minor.saturating_add(change);
        }
        self.buckets = posting.after;
    }

    fn tier_change(&self, rule: &RewardRule, quote: &Quote) -> Option<TierChanged> {
        let Pay::Tiers(tiers) = &rule.pay else { return None };
        let to_tier = &tiers.get(quote.tier_index?)?.name;
        let from_tier = self.tier.as_ref().or(tiers.first().map(|tier| &tier.name))?;
        (from_tier != to_tier)
            .then(|| TierChanged { from_tier: from_tier.clone(), to_tier: to_tier.clone() })
    }
}

impl Aggregate for Participant {
    const TYPE: &'static str = "Participant";
    type Command = ParticipantCommand;
    type Event = ParticipantEvent;
    type Error = Refusal;
    type Services = ();

    async fn handle(
        &mut self,
        command: ParticipantCommand,
        (): &(),
        sink: &EventSink<Self>,
    ) -> Result<(), Refusal> {
        let event: ParticipantEvent = match command {
            ParticipantCommand::Enroll { id, .. } if self.exists() => {
                return Err(Refusal::AlreadyEnrolled(id));
            }
            ParticipantCommand::Enroll { enrolled, .. } => enrolled.into(),
            ParticipantCommand::ApplyReferral {
                id,
                referrer_user_id,
                standing,
                made_while_inactive,
                now,
            } => {
                let by = referrer_user_id;
                self.apply_referral(id, by, standing, made_while_inactive, now)?.into()
            }
            ParticipantCommand::MakeReferral { user_id, referee_user_id, status } => {
                self.make_referral(user_id, referee_user_id, status)?.into()
            }
            ParticipantCommand::ChangeStanding(changed) => changed.into(),
            ParticipantCommand::Convert(converted) => match &self.referral {
                Some(referral) if referral.status == ReferralStatus::Pending => converted.into(),
                _ => return Ok(()),
            },
            ParticipantCommand::ChangeRewards(changed) => changed.into(),
            ParticipantCommand::UpdateReferral(updated) => updated.into(),
            ParticipantCommand::NoteRefereeAddress(changed) => changed.into(),
            ParticipantCommand::UseFirstPurchase { is_insufficient, .. }
                if !self.is_first_purchase(is_insufficient) =>
            {
                return Ok(());
            }
            ParticipantCommand::UseFirstPurchase { purchase_id, is_insufficient } => {
                FirstPurchaseUsed { purchase_id, is_insufficient }.into()
            }
            ParticipantCommand::CreditPurchase { user_id, purchase_id, amount_minor, unit } => {
                self.credit(user_id, purchase_id, amount_minor, &unit)?.into()
            }
            ParticipantCommand::Grant(grant) => {
                let tier_changed = self.tier_change(&grant.rule, &grant.quote);
                let waits = self.tier_pot != TierPot::default();
                let rebalancing = waits.then(|| grant.clone());
                sink.write(self.grant(*grant)?.into(), self).await;
                let moved = rebalancing.map(|grant| self.rebalance(&grant)).transpose()?.flatten();
                if let Some(moved) = moved {
                    sink.write(moved.into(), self).await;
                }
                match tier_changed {
                    Some(change) => change.into(),
                    None => return Ok(()),
                }
            }
            ParticipantCommand::Settle(settle) => {
                let (reward, change) = *settle;
                for event in self.settle(&reward, &change)? {
                    sink.write(event, self).await;
                }
                return Ok(());
            }
            ParticipantCommand::SettleCredit {
                user_id,
                purchase_id,
                change_minor,
                pending_change_minor,
                unit,
            } => {
                let change = (change_minor, pending_change_minor);
                for event in self.settle_credit(&user_id, &purchase_id, change, &unit)? {
                    sink.write(event, self).await;
                }
                return Ok(());
            }
            ParticipantCommand::Unconvert(purchase_id) => match &self.referral {
                Some(referral) if referral.status == ReferralStatus::Converted => {
                    let standing = referral.unconverted();
                    let (status, hold_reasons) = (standing.status(), standing.hold_reasons());
                    ReferralUnconverted { purchase_id, status, hold_reasons }.into()
                }
                _ => return Ok(()),
            },
            ParticipantCommand::FreeFirstPurchase(purchase_id) => {
                FirstPurchaseFreed { purchase_id }.into()
            }
            ParticipantCommand::Withhold(withheld) => withheld.into(),
            ParticipantCommand::Adjust(adjustment) => self.adjust(adjustment)?.into(),
            ParticipantCommand::Deactivate => ParticipantDeactivated {}.into(),
            ParticipantCommand::Reactivate { now } => {
                ParticipantReactivated { reactivate_time_us: now }.into()
            }
            ParticipantCommand::Erase { user_id, unit } => {
                for bucket in Bucket::ALL {
                    if self.buckets.part(bucket) > 0 {
                        let forfeited = self.forfeit(bucket, &user_id, &unit)?;
                        sink.write(forfeited.into(), self).await;
                    }
                }
                ParticipantErased {}.into()
            }
        };
        sink.write(event, self).await;
        Ok(())
    }

    fn apply(&mut self, event: ParticipantEvent) {
        match event {
            ParticipantEvent::ParticipantEnrolled(event) => self.code = event.code,
            ParticipantEvent::ReferralApplied(event) => {
                self.referral = Some(Referral::of(event));
            }
            ParticipantEvent::ReferralStandingChanged(event) => {
                if let Some(referral) = &mut self.referral {
                    referral.change_standing(event);
                }
            }
            ParticipantEvent::ReferralMade(event) => {
                self.has_referred = true;
                self.referrals.make(&event);
                self.tier_referrals.make(&event);
            }
            ParticipantEvent::ReferralUpdated(event) => {
                self.referrals.update(&event);
                self.tier_referrals.update(&event);
            }
            ParticipantEvent::ReferralConverted(event) => {
                if let Some(referral) = &mut self.referral {
                    referral.status = ReferralStatus::Converted;
                    referral.converted_while_inactive = event.converted_while_inactive;
                    referral.converted_by_itself = event.purchase_id.is_none();
                    if let Some(program_version) = event.program_version {
                        referral.program_version = program_version;
                        referral.rewards = event.rewards.into_iter().map(Into::into).collect();
                    }
                }
                if let Some(purchase_id) = event.purchase_id {
                    self.use_first(&purchase_id, false);
                }
            }
            ParticipantEvent::ReferralUnconverted(event) => {
                if let Some(referral) = &mut self.referral {
                    referral.status = event.status;
                    referral.hold_reasons = event.hold_reasons;
                }
            }
            ParticipantEvent::ReferralRewardsChanged(event) => {
                if let Some(referral) = &mut self.referral {
                    referral.rewards = event.rewards.into_iter().map(Into::into).collect();
                    referral.rejected_from_level = event.rejected_from_level;
                }
            }
            ParticipantEvent::FirstPurchaseUsed(event) => {
                self.use_first(&event.purchase_id, event.is_insufficient);
            }
            ParticipantEvent::FirstPurchaseFreed(event) => {
                self.first_purchase.take_if(|first| *first == event.purchase_id);
                self.first_enough.take_if(|first| *first == event.purchase_id);
            }
            ParticipantEvent::PurchaseCredited(event) => self.buckets = event.posting.after,
            ParticipantEvent::RewardGranted(event) => {
                let total = LevelTotal {
                    level: event.level,
                    total_minor: event.level_total_minor(),
                    count: event.level_count,
                };
                match self.levels.iter_mut().find(|known| known.level == total.level) {
                    Some(known) => *known = total,
                    None => self.levels.push(total),
                }
                if event.tier_referrals.is_some() {
                    self.tier_points = self.tier_points.saturating_add(event.posting.amount);
                    self.tier_version = event.program_version;
                    let held_minor = event.posting.pending_change();
                    self.tier_pot.held_minor = self.tier_pot.held_minor.saturating_add(held_minor);
                    self.tier_pending_minor = self.tier_pending_minor.saturating_add(held_minor);
                }
                self.buckets = event.posting.after;
            }
            ParticipantEvent::RewardReversed(event) => {
                let total_minor = event.level_total_minor();
                if let Some(known) = self.levels.iter_mut().find(|of| of.level == event.level) {
                    known.total_minor = total_minor;
                }
                if event.tier_pot.is_some() {
                    self.tier_points = self.tier_points.saturating_add(event.posting.amount);
                }
                self.move_reward(event.tier_pot, &event.posting);
            }
            ParticipantEvent::RewardMoved(event) => {
                self.move_reward(event.tier_pot, &event.posting);
            }
            ParticipantEvent::RewardWithheld(_) | ParticipantEvent::RefereeAddressChanged(_) => {}
            ParticipantEvent::TierChanged(event) => self.tier = Some(event.to_tier),
            ParticipantEvent::ParticipantDeactivated(_) => self.inactive = true,
            ParticipantEvent::ParticipantReactivated(event) => {
                self.inactive = false;
                self.reactivate_time = Some(event.reactivate_time_us);
            }
            ParticipantEvent::BalanceAdjusted(event) => self.buckets = event.posting.after,
            ParticipantEvent::BalanceForfeited(event) => self.buckets = event.posting.after,
            ParticipantEvent::ParticipantErased(_) => {
                self.inactive = true;
                self.erased = true;
            }
        }
    }
}

impl State for Participant {
    fn user_of(id: &str) -> Option<&str> {
        id.split_once('/').map(|(_, user_id)| user_id)
    }
}
