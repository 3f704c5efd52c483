//! A participant: a user in a program, with a code, perhaps a referrer, and what they earned.

mod events;

use std::sync::Arc;

use cqrs_es::Aggregate;
use cqrs_es::event_sink::EventSink;
use serde::{Deserialize, Serialize};

use super::purchase::RewardWithheld;
use super::reward::{LevelTotal, Quote};
use super::rules::{Pay, RewardRule};
use super::{
    Halt, ParticipantId, Program, ProgramId, PurchaseId, Refusal, Timestamp, User, UserId, Work,
    load,
};

pub use events::{
    FirstPurchaseUsed, ParticipantDeactivated, ParticipantEnrolled, ParticipantEvent,
    ParticipantReactivated, PurchaseCredited, ReferralApplied, ReferralConverted, ReferralMade,
    ReferralStatus, RewardGranted, TierChanged,
};

/// Who referred a participant.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Referral {
    /// The referrer.
    pub referrer_user_id: UserId,
    /// Where the referral stands.
    pub status: ReferralStatus,
    /// When it was made.
    pub referral_time: Timestamp,
}

/// A reward to grant, worked out and ready.
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "the fields are those of RewardGranted")]
pub struct Grant {
    pub reward_id: String,
    pub program_version: u32,
    pub unit: String,
    pub rule: RewardRule,
    pub quote: Quote,
    pub source_user_id: UserId,
    pub purchase_id: Option<PurchaseId>,
    pub basis_minor: Option<i64>,
}

/// What a participant can be told.
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "the names say it")]
pub enum ParticipantCommand {
    Enroll(ParticipantEnrolled),
    /// Take this referrer.
    ApplyReferral {
        referrer_user_id: UserId,
        now: Timestamp,
    },
    /// Take this referee.
    MakeReferral {
        referee_user_id: UserId,
    },
    /// The referral earned something.
    Convert {
        purchase_id: Option<PurchaseId>,
    },
    /// The first purchase is behind the participant, though nothing came of it.
    UseFirstPurchase {
        purchase_id: PurchaseId,
    },
    CreditPurchase {
        purchase_id: PurchaseId,
        amount_minor: i64,
        currency_code: String,
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

/// A user in a program.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Participant {
    program_id: ProgramId,
    user_id: UserId,
    code: String,
    inactive: bool,
    reactivate_time: Option<Timestamp>,
    referral: Option<Referral>,
    uses: u32,
    has_referred: bool,
    first_purchase_used: bool,
    levels: Vec<LevelTotal>,
    total_minor: i64,
    balance_minor: i64,
    tier: Option<String>,
}

impl Participant {
    /// Whether the user is in the program.
    #[must_use]
    pub fn exists(&self) -> bool {
        !self.code.is_empty()
    }

    /// The same, without what identifies it: for keeping many of them.
    #[must_use]
    pub fn without_id(&self) -> Self {
        let (program_id, user_id) = Default::default();
        Self { program_id, user_id, ..self.clone() }
    }

    /// The same, as it was before [`Participant::without_id`].
    #[must_use]
    pub fn with_id(self, ParticipantId { program_id, user_id }: ParticipantId) -> Self {
        if self.exists() { Self { program_id, user_id, ..self } } else { self }
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

    /// How many uses of the participant's code, and direct referrals, are taken.
    #[must_use]
    pub fn uses(&self) -> u32 {
        self.uses
    }

    /// Whether the participant ever referred anybody.
    #[must_use]
    pub fn has_referred(&self) -> bool {
        self.has_referred
    }

    /// Whether the purchase that counts as the participant's first was made.
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

    /// All that the participant earned, in minor units.
    #[must_use]
    pub fn total_minor(&self) -> i64 {
        self.total_minor
    }

    /// The participant's balance, in minor units.
    #[must_use]
    pub fn balance_minor(&self) -> i64 {
        self.balance_minor
    }

    fn balance_limit(&self) -> Refusal {
        Refusal::BalanceLimitReached(self.user_id.clone())
    }

    fn apply_referral(
        &self,
        referrer_user_id: UserId,
        now: Timestamp,
    ) -> Result<ReferralApplied, Refusal> {
        if self.referral.is_some() {
            return Err(Refusal::AlreadyReferred(ParticipantId::new(
                &self.program_id,
                &self.user_id,
            )));
        }
        if referrer_user_id == self.user_id {
            return Err(Refusal::SelfReferral(referrer_user_id));
        }
        Ok(ReferralApplied {
            program_id: self.program_id.clone(),
            referrer_user_id,
            referee_user_id: self.user_id.clone(),
            status: ReferralStatus::Pending,
            referral_time_us: now,
        })
    }

    fn credit(
        &self,
        purchase_id: PurchaseId,
        amount_minor: i64,
        currency_code: String,
    ) -> Result<PurchaseCredited, Refusal> {
        let balance_minor =
            self.balance_minor.checked_add(amount_minor).ok_or_else(|| self.balance_limit())?;
        Ok(PurchaseCredited {
            program_id: self.program_id.clone(),
            purchase_id,
            amount_minor,
            currency_code,
            balance_minor,
        })
    }

    fn grant(&self, grant: Grant) -> Result<RewardGranted, Refusal> {
        let Grant { rule, quote, .. } = grant;
        let level = self.level(rule.level);
        let add =
            |sum: i64| sum.checked_add(quote.amount_minor).ok_or_else(|| self.balance_limit());
        Ok(RewardGranted {
            reward_id: grant.reward_id,
            program_id: self.program_id.clone(),
            program_version: grant.program_version,
            rule: rule.rule,
            kind: rule.kind,
            level: rule.level,
            earner_user_id: self.user_id.clone(),
            source_user_id: grant.source_user_id,
            purchase_id: grant.purchase_id,
            basis_minor: grant.basis_minor,
            rate_bps: match rule.pay {
                Pay::RateBps(rate) => Some(rate),
                _ => None,
            },
            computed_minor: quote.computed_minor,
            amount_minor: quote.amount_minor,
            currency_code: grant.unit,
            cap_remaining_minor: quote.cap_remaining_minor,
            level_total_minor: add(level.total_minor)?,
            level_count: level.count.checked_add(1).ok_or_else(|| self.balance_limit())?,
            total_minor: add(self.total_minor)?,
            balance_minor: add(self.balance_minor)?,
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
            ParticipantCommand::Enroll(enrolled) if self.exists() => {
                return Err(Refusal::AlreadyEnrolled(ParticipantId {
                    program_id: enrolled.program_id,
                    user_id: enrolled.user_id,
                }));
            }
            ParticipantCommand::Enroll(enrolled) => enrolled.into(),
            ParticipantCommand::ApplyReferral { referrer_user_id, now } => {
                self.apply_referral(referrer_user_id, now)?.into()
            }
            ParticipantCommand::MakeReferral { referee_user_id } => {
                let uses = self.uses.checked_add(1).ok_or_else(|| self.balance_limit())?;
                ReferralMade { referee_user_id, uses }.into()
            }
            ParticipantCommand::Convert { purchase_id } => match &self.referral {
                Some(referral) if referral.status == ReferralStatus::Pending => ReferralConverted {
                    program_id: self.program_id.clone(),
                    referrer_user_id: referral.referrer_user_id.clone(),
                    purchase_id,
                }
                .into(),
                _ => return Ok(()),
            },
            ParticipantCommand::UseFirstPurchase { .. } if self.first_purchase_used => {
                return Ok(());
            }
            ParticipantCommand::UseFirstPurchase { purchase_id } => {
                FirstPurchaseUsed { purchase_id }.into()
            }
            ParticipantCommand::CreditPurchase { purchase_id, amount_minor, currency_code } => {
                self.credit(purchase_id, amount_minor, currency_code)?.into()
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
            ParticipantEvent::ParticipantEnrolled(event) => {
                self.program_id = event.program_id;
                self.user_id = event.user_id;
                self.code = event.code;
            }
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
            }
            ParticipantEvent::ReferralConverted(event) => {
                if let Some(referral) = &mut self.referral {
                    referral.status = ReferralStatus::Converted;
                }
                self.first_purchase_used |= event.purchase_id.is_some();
            }
            ParticipantEvent::FirstPurchaseUsed(_) => self.first_purchase_used = true,
            ParticipantEvent::PurchaseCredited(event) => self.balance_minor = event.balance_minor,
            ParticipantEvent::RewardGranted(event) => {
                let total = LevelTotal {
                    level: event.level,
                    total_minor: event.level_total_minor,
                    count: event.level_count,
                };
                match self.levels.iter_mut().find(|known| known.level == total.level) {
                    Some(known) => *known = total,
                    None => self.levels.push(total),
                }
                self.total_minor = event.total_minor;
                self.balance_minor = event.balance_minor;
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
