//! A participant: a user in a program, with a code, perhaps a referrer, and what they earned.

mod events;

use std::sync::Arc;

use cqrs_es::Aggregate;
use cqrs_es::event_sink::EventSink;
use serde::{Deserialize, Serialize};

use super::ledger::{Bucket, Buckets, EntryKind, Overflow};
use super::purchase::RewardWithheld;
use super::registry::State;
use super::reward::{LevelTotal, Quote};
use super::rules::{Pay, RewardRule};
use super::{
    Halt, ParticipantId, Program, PurchaseId, Refusal, Timestamp, User, UserId, Work, load,
};

pub use events::{
    FirstPurchaseUsed, ParticipantDeactivated, ParticipantEnrolled, ParticipantEvent,
    ParticipantReactivated, PurchaseCredited, ReferralApplied, ReferralConverted, ReferralMade,
    ReferralStatus, ReferralUpdated, RewardGranted, TierChanged,
};

/// Who referred a participant.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Referral {
    /// The referrer.
    pub referrer_user_id: UserId,
    /// The status of the referral.
    pub status: ReferralStatus,
    /// When the referral was made.
    pub referral_time: Timestamp,
}

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
}

/// The commands of a participant. If a refusal names the participant, the command carries the name.
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "the names say it")]
pub enum ParticipantCommand {
    Enroll {
        id: ParticipantId,
        enrolled: ParticipantEnrolled,
    },
    /// Records this referrer.
    ApplyReferral {
        id: ParticipantId,
        referrer_user_id: UserId,
        now: Timestamp,
    },
    /// Records this referee.
    MakeReferral {
        user_id: UserId,
        referee_user_id: UserId,
    },
    /// The participant's own referral earned something.
    Convert {
        purchase_id: Option<PurchaseId>,
    },
    /// The referral of this referee changed its status.
    UpdateReferral(ReferralUpdated),
    /// The participant made the first purchase, although it earned nothing.
    UseFirstPurchase {
        purchase_id: PurchaseId,
    },
    CreditPurchase {
        user_id: UserId,
        purchase_id: PurchaseId,
        amount_minor: i64,
        unit: String,
    },
    Grant(Box<Grant>),
    Withhold(RewardWithheld),
    Deactivate,
    Reactivate {
        now: Timestamp,
    },
}

/// The participant, who must exist.
///
/// # Errors
/// A refusal that names what is missing: the program, the user, or the user in the program.
pub fn existing_participant(
    work: &mut dyn Work,
    id: &ParticipantId,
) -> Result<Arc<Participant>, Halt> {
    let participant = load::<Participant>(work, id)?;
    if participant.exists() {
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

/// How many users a participant referred, by status of the referral. Rejected referrals are not counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[allow(missing_docs, reason = "the names are those of the statuses")]
pub struct ReferralCounts {
    pub pending: u32,
    pub held: u32,
    pub converted: u32,
}

impl ReferralCounts {
    /// The number that counts as referrals: pending and converted ones.
    #[must_use]
    pub fn counted(&self) -> u32 {
        self.pending.saturating_add(self.converted)
    }

    fn of(&mut self, status: ReferralStatus) -> Option<&mut u32> {
        match status {
            ReferralStatus::Pending => Some(&mut self.pending),
            ReferralStatus::Held => Some(&mut self.held),
            ReferralStatus::Converted => Some(&mut self.converted),
            ReferralStatus::Rejected => None,
        }
    }

    fn add(&mut self, status: ReferralStatus) {
        if let Some(count) = self.of(status) {
            *count = count.saturating_add(1);
        }
    }

    fn subtract(&mut self, status: ReferralStatus) {
        if let Some(count) = self.of(status) {
            *count = count.saturating_sub(1);
        }
    }
}

/// A user in a program.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Participant {
    code: String,
    inactive: bool,
    reactivate_time: Option<Timestamp>,
    referral: Option<Referral>,
    uses: u32,
    has_referred: bool,
    referrals: ReferralCounts,
    first_purchase_used: bool,
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
        self.uses
    }

    /// Whether the participant ever referred anybody.
    #[must_use]
    pub fn has_referred(&self) -> bool {
        self.has_referred
    }

    /// Whether the participant has made the purchase that counts as the first.
    #[must_use]
    pub fn first_purchase_used(&self) -> bool {
        self.first_purchase_used
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
        now: Timestamp,
    ) -> Result<ReferralApplied, Refusal> {
        if self.referral.is_some() {
            return Err(Refusal::AlreadyReferred(id));
        }
        if referrer_user_id == id.user_id {
            return Err(Refusal::SelfReferral(referrer_user_id));
        }
        let status = ReferralStatus::Pending;
        Ok(ReferralApplied { referrer_user_id, status, referral_time_us: now })
    }

    fn make_referral(
        &self,
        user_id: UserId,
        referee_user_id: UserId,
    ) -> Result<ReferralMade, Refusal> {
        let uses = self.uses.checked_add(1).ok_or(Refusal::BalanceLimitReached(user_id))?;
        Ok(ReferralMade { referee_user_id, status: ReferralStatus::Pending, uses })
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
        let posting = self
            .buckets
            .post(rule.kind.into(), quote.amount_minor, Bucket::Available, &grant.unit)
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
            posting,
        })
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
            ParticipantCommand::ApplyReferral { id, referrer_user_id, now } => {
                self.apply_referral(id, referrer_user_id, now)?.into()
            }
            ParticipantCommand::MakeReferral { user_id, referee_user_id } => {
                self.make_referral(user_id, referee_user_id)?.into()
            }
            ParticipantCommand::Convert { purchase_id } => match &self.referral {
                Some(referral) if referral.status == ReferralStatus::Pending => {
                    ReferralConverted { purchase_id }.into()
                }
                _ => return Ok(()),
            },
            ParticipantCommand::UpdateReferral(updated) => updated.into(),
            ParticipantCommand::UseFirstPurchase { .. } if self.first_purchase_used => {
                return Ok(());
            }
            ParticipantCommand::UseFirstPurchase { purchase_id } => {
                FirstPurchaseUsed { purchase_id }.into()
            }
            ParticipantCommand::CreditPurchase { user_id, purchase_id, amount_minor, unit } => {
                self.credit(user_id, purchase_id, amount_minor, &unit)?.into()
            }
            ParticipantCommand::Grant(grant) => {
                let tier_changed = self.tier_change(&grant.rule, &grant.quote);
                sink.write(self.grant(*grant)?.into(), self).await;
                match tier_changed {
                    Some(change) => change.into(),
                    None => return Ok(()),
                }
            }
            ParticipantCommand::Withhold(withheld) => withheld.into(),
            ParticipantCommand::Deactivate => ParticipantDeactivated {}.into(),
            ParticipantCommand::Reactivate { now } => {
                ParticipantReactivated { reactivate_time_us: now }.into()
            }
        };
        sink.write(event, self).await;
        Ok(())
    }

    fn apply(&mut self, event: ParticipantEvent) {
        match event {
            ParticipantEvent::ParticipantEnrolled(event) => self.code = event.code,
            ParticipantEvent::ReferralApplied(event) => {
                self.referral = Some(Referral {
                    referrer_user_id: event.referrer_user_id,
                    status: event.status,
                    referral_time: event.referral_time_us,
                });
            }
            ParticipantEvent::ReferralMade(event) => {
                self.uses = event.uses;
                self.has_referred = true;
                self.referrals.add(event.status);
            }
            ParticipantEvent::ReferralUpdated(event) => {
                self.referrals.subtract(event.previous_status);
                self.referrals.add(event.status);
            }
            ParticipantEvent::ReferralConverted(event) => {
                if let Some(referral) = &mut self.referral {
                    referral.status = ReferralStatus::Converted;
                }
                self.first_purchase_used |= event.purchase_id.is_some();
            }
            ParticipantEvent::FirstPurchaseUsed(_) => self.first_purchase_used = true,
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
                self.buckets = event.posting.after;
            }
            ParticipantEvent::RewardWithheld(_) => {}
            ParticipantEvent::TierChanged(event) => self.tier = Some(event.to_tier),
            ParticipantEvent::ParticipantDeactivated(_) => self.inactive = true,
            ParticipantEvent::ParticipantReactivated(event) => {
                self.inactive = false;
                self.reactivate_time = Some(event.reactivate_time_us);
            }
        }
    }
}

impl State for Participant {}
