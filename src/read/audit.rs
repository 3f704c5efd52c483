//! An audit of the log: one pass over all events, with accounts of its own. They share no code with the folds
//! of the read models, and add amounts up where the folds take the totals that events carry.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use super::payout_audit::PayoutAudit;
use crate::store::{RecordedEvent, StoreError};
use domain::rules::ProgramRules;
use domain::{
    AnyEvent, Buckets, ParticipantEvent, Posting, ProgramEvent, PurchaseEvent, PurchaseId,
    ReferralStandingChanged, ReferralStatus, RewardGranted, RewardReversed, Timestamp, UserId,
};

/// The maximum number of findings that are kept; all are counted.
const MAX_KEPT: usize = 100;

/// A violation of an invariant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The stream or participant that it concerns.
    pub about: String,
    /// What is wrong.
    pub what: String,
    /// The event at which it was found.
    pub position: i64,
}

impl fmt::Display for Finding {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {} (at event {})", self.about, self.what, self.position)
    }
}

/// The account of one participant, as the audit computes it.
#[derive(Clone, Debug, Default)]
#[allow(clippy::struct_excessive_bools, reason = "each is a fact by itself")]
pub(super) struct Account {
    pub(super) buckets: Buckets,
    pub(super) reward_count: i64,
    levels: Vec<(u32, i64, u32)>,
    pub(super) uses: u32,
    pub(super) pending_count: i64,
    pub(super) held_count: i64,
    pub(super) converted_count: i64,
    pub(super) tier: Option<String>,
    pub(super) is_inactive: bool,
    is_enrolled: bool,
    is_referred: bool,
    is_converted: bool,
    /// The last event that concerns the participant.
    pub(super) last_position: i64,
}

/// The state of the audit.
#[derive(Default)]
pub(super) struct Audit {
    position: i64,
    recorded_at: Option<Timestamp>,
    /// For each program, the rules of every version.
    programs: HashMap<Arc<str>, Vec<Arc<ProgramRules>>>,
    pub(super) accounts: HashMap<Arc<str>, Account>,
    /// By the referee's stream: the referrer's stream, and the status of the referral.
    referrals: HashMap<Arc<str>, (Arc<str>, ReferralStatus)>,
    /// The purchase that the current command records, and what it has paid, by stream and level.
    purchase: Option<PurchaseId>,
    paid: Vec<(Arc<str>, u32)>,
    pub(super) payouts: PayoutAudit,
    pub(super) findings: Vec<Finding>,
    pub(super) finding_count: u64,
}

impl Audit {
    pub(super) fn find(&mut self, about: &str, what: String, position: i64) {
        self.finding_count += 1;
        if self.findings.len() < MAX_KEPT {
            self.findings.push(Finding { about: about.into(), what, position });
        }
    }

    fn unless(&mut self, holds: bool, event: &RecordedEvent, what: impl FnOnce() -> String) {
        if !holds {
            self.find(&event.stream.to_string(), what(), event.position);
        }
    }

    fn unless_wrong(&mut self, event: &RecordedEvent, wrong: Option<String>) {
        if let Some(wrong) = wrong {
            self.find(&event.stream.to_string(), wrong, event.position);
        }
    }

    /// Audits the next event.
    pub(super) fn enter(&mut self, event: &RecordedEvent) -> Result<(), StoreError> {
        let expected = self.position + 1;
        self.unless(event.position == expected, event, || {
            format!("the log has no event at position {expected}")
        });
        self.position = event.position;
        let before = self.recorded_at.replace(event.recorded_at);
        self.unless(before.is_none_or(|before| before <= event.recorded_at), event, || {
            "it was recorded before the event before it".into()
        });
        if event.command_events.is_some() {
            self.purchase = None;
            self.paid.clear();
        }
        let fact = match event.posting()? {
            Some(posting) => {
                self.enter_posting(event, &posting);
                // Of a type that only a newer release knows, the posting is what can be checked.
                let Some(fact) = event.read_if_known()? else { return Ok(()) };
                fact
            }
            None => event.read()?,
        };
        match fact {
            AnyEvent::User(_)
            | AnyEvent::ApiKey(_)
            | AnyEvent::SignUpOrigin(_)
            | AnyEvent::Job(_)
            | AnyEvent::FraudFlag(_)
            | AnyEvent::Approval(_)
            | AnyEvent::Purchase(
                PurchaseEvent::RewardWithheld(_)
                | PurchaseEvent::PurchaseRefunded(_)
                | PurchaseEvent::RefundCancelled(_)
                | PurchaseEvent::DisputeOpened(_)
                | PurchaseEvent::DisputeUpdated(_)
                | PurchaseEvent::DisputeClosed(_)
                | PurchaseEvent::PurchaseRewardHeld(_)
                | PurchaseEvent::PurchaseRewardReleased(_)
                | PurchaseEvent::HoldPeriodEnded(_)
                | PurchaseEvent::PurchaseReferralRejected(_),
            ) => {}
            AnyEvent::Program(ProgramEvent::ProgramPublished(published)) => {
                let versions = self.programs.entry(event.stream.id.clone()).or_default();
                versions.push(published.rules);
                let (count, number) = (versions.len(), published.version);
                self.unless(u32::try_from(count) == Ok(number), event, || {
                    format!("version {number} is the {count}th")
                });
            }
            AnyEvent::Purchase(
                PurchaseEvent::PurchaseRecorded(_) | PurchaseEvent::PurchaseMadeUp(_),
            ) => {
                self.purchase = PurchaseId::parse(&event.stream.id).ok();
            }
            AnyEvent::Participant(fact) => {
                let wrong = self.payouts.enter_participant(event, &fact);
                self.unless_wrong(event, wrong);
                self.enter_participant(event, &fact);
            }
            AnyEvent::Payout(fact) => {
                let wrong = self.payouts.enter_payout(event, &fact);
                self.unless_wrong(event, wrong);
            }
            AnyEvent::PayoutDesk(fact) => {
                let wrong = self.payouts.enter_desk(event, &fact);
                self.unless_wrong(event, wrong);
            }
            AnyEvent::PayoutLine(fact) => {
                let wrong = self.payouts.enter_line(event, &fact);
                self.unless_wrong(event, wrong);
            }
        }
        Ok(())
    }

    /// Audits a posting of any event: the buckets after it must follow from those before it, and reconcile.
    fn enter_posting(&mut self, event: &RecordedEvent, posting: &Posting) {
        let account = self.account(event);
        let sums = account.buckets.after(posting);
        account.buckets = posting.after;
        account.reward_count += i64::from(posting.kind.reward_kind().is_some());
        self.unless(sums == Ok(posting.after), event, || {
            format!(
                "the buckets are said to be {:?}, but its entries come to {sums:?}",
                posting.after
            )
        });
        self.unless(posting.after.reconcile(), event, || {
            format!("the buckets do not reconcile: {:?}", posting.after)
        });
    }

    fn account(&mut self, event: &RecordedEvent) -> &mut Account {
        let account = self.accounts.entry(event.stream.id.clone()).or_default();
        account.last_position = event.position;
        account
    }

    fn enter_participant(&mut self, event: &RecordedEvent, fact: &ParticipantEvent) {
        let is_enrollment = matches!(fact, ParticipantEvent::ParticipantEnrolled(_));
        let account = self.account(event);
        let was_enrolled = std::mem::replace(&mut account.is_enrolled, true);
        self.unless(was_enrolled != is_enrollment, event, || {
            format!(
                "{} of somebody who {} enrolled",
                event.event_type,
                if was_enrolled { "is" } else { "is not" }
            )
        });
        match fact {
            ParticipantEvent::ReferralApplied(applied) => {
                let was_referred = std::mem::replace(&mut self.account(event).is_referred, true);
                self.unless(!was_referred, event, || "a second referrer".into());
                let referrer_user_id = applied.referrer_user_id.as_str();
                self.unless(member_of(event) != referrer_user_id, event, || {
                    "a referral of oneself".into()
                });
                let referrer: Arc<str> = format!("{}/{referrer_user_id}", program_of(event)).into();
                self.referrals.insert(event.stream.id.clone(), (referrer, applied.status));
            }
            ParticipantEvent::ReferralStandingChanged(changed) => {
                self.enter_standing(event, changed);
            }
            ParticipantEvent::ReferralConverted(_) => {
                let was_converted = std::mem::replace(&mut self.account(event).is_converted, true);
                self.unless(!was_converted, event, || "a second conversion".into());
                if let Some((_, status)) = self.referrals.get_mut(&event.stream.id) {
                    *status = ReferralStatus::Converted;
                }
            }
            ParticipantEvent::ReferralUnconverted(undone) => {
                let was_converted = std::mem::replace(&mut self.account(event).is_converted, false);
                self.unless(was_converted, event, || "a conversion is undone that was none".into());
                if let Some((_, status)) = self.referrals.get_mut(&event.stream.id) {
                    *status = undone.status;
                }
            }
            ParticipantEvent::ReferralUpdated(updated) => {
                let account = self.account(event);
                account.add(updated.previous_status, -1);
                account.add(updated.status, 1);
                account.uses += u32::from(updated.previous_status == ReferralStatus::Rejected);
                let is_rejected = updated.status == ReferralStatus::Rejected;
                account.uses = account.uses.saturating_sub(is_rejected.into());
                self.check_other_end(event, &updated.referee_user_id, updated.status);
            }
            ParticipantEvent::ReferralMade(made) => {
                let account = self.account(event);
                account.add(made.status, 1);
                account.uses += u32::from(made.status != ReferralStatus::Rejected);
                let uses = account.uses;
                self.check_other_end(event, &made.referee_user_id, made.status);
                self.unless(made.uses == uses, event, || {
                    format!("{} uses are said to be taken, but {uses} are", made.uses)
                });
                let limit = self.rules(event, None).and_then(|rules| {
                    rules.max_uses_per_code.into_iter().chain(rules.max_direct_referrals).min()
                });
                self.unless(limit.is_none_or(|limit| uses <= limit), event, || {
                    format!("use {uses} of a code that has {} at most", limit.unwrap_or_default())
                });
            }
            ParticipantEvent::PurchaseCredited(credited) => {
                // What of a credit goes back, or waits, is in later commands.
                let is_credit = credited.posting.balance_change() > 0;
                let is_now = self.purchase.as_ref() == Some(&credited.purchase_id);
                self.unless(is_now || !is_credit || self.purchase.is_none(), event, || {
                    format!("purchase {} is not of the same command", credited.purchase_id)
                });
            }
            ParticipantEvent::RewardGranted(granted) => self.enter_reward(event, granted),
            ParticipantEvent::RewardReversed(reversed) => self.enter_reversal(event, reversed),
            ParticipantEvent::TierChanged(change) => {
                self.account(event).tier = Some(change.to_tier.clone());
            }
            ParticipantEvent::ParticipantDeactivated(_) => self.account(event).is_inactive = true,
            ParticipantEvent::ParticipantReactivated(_) => self.account(event).is_inactive = false,
            ParticipantEvent::ParticipantErased(_) => {
                let account = self.account(event);
                account.is_inactive = true;
                let owed = account.buckets.owed();
                self.unless(owed == 0, event, || {
                    format!("{owed} are owed to somebody who is erased")
                });
            }
            ParticipantEvent::ParticipantEnrolled(_)
            | ParticipantEvent::BalanceAdjusted(_)
            | ParticipantEvent::BalanceForfeited(_)
            | ParticipantEvent::PayoutReserved(_)
            | ParticipantEvent::PayoutPaid(_)
            | ParticipantEvent::PayoutReleased(_)
            | ParticipantEvent::PayoutReturned(_)
            | ParticipantEvent::FirstPurchaseUsed(_)
            | ParticipantEvent::FirstPurchaseFreed(_)
            | ParticipantEvent::RewardMoved(_)
            | ParticipantEvent::ReferralRewardsChanged(_)
            | ParticipantEvent::RefereeAddressChanged(_)
            | ParticipantEvent::RewardWithheld(_) => {}
        }
    }

    /// Audits a change of how a referral stands: only a held or rejected one is released, a pending one can be held or
    /// rejected, a converted one stays so, and only a held one has reasons.
    fn enter_standing(&mut self, event: &RecordedEvent, changed: &ReferralStandingChanged) {
        let referral = self.referrals.get_mut(&event.stream.id);
        let before = referral.map(|(_, status)| std::mem::replace(status, changed.status));
        let is_permitted = match before {
            Some(ReferralStatus::Held | ReferralStatus::Rejected) => {
                changed.status != ReferralStatus::Converted
            }
            Some(ReferralStatus::Pending) => {
                matches!(changed.status, ReferralStatus::Held | ReferralStatus::Rejected)
            }
            // Only its flags change.
            Some(ReferralStatus::Converted) => changed.status == ReferralStatus::Converted,
            None => false,
        };
        self.unless(is_permitted, event, || {
            format!("a referral that is {before:?} is released or rejected")
        });
        let is_held = changed.status == ReferralStatus::Held;
        self.unless(is_held != changed.hold_reasons.is_empty(), event, || {
            format!("a referral that is {:?} for {:?}", changed.status, changed.hold_reasons)
        });
        let is_released = changed.status == ReferralStatus::Pending;
        self.unless(is_released == changed.release_time_us.is_some(), event, || {
            format!("a referral that is {:?} with {:?}", changed.status, changed.release_time_us)
        });
    }

    /// Checks that the referrer's stream and the referee's stream agree about a referral.
    fn check_other_end(
        &mut self,
        event: &RecordedEvent,
        referee_user_id: &UserId,
        status: ReferralStatus,
    ) {
        let referee: Arc<str> = format!("{}/{referee_user_id}", program_of(event)).into();
        let other = self.referrals.get(&referee).cloned();
        let is_same = other
            .as_ref()
            .is_some_and(|(referrer, other)| *referrer == event.stream.id && *other == status);
        self.unless(is_same, event, || {
            format!("the referral of {referee_user_id} is {status:?} here, but there {other:?}")
        });
    }

    fn rules(&self, event: &RecordedEvent, version: Option<u32>) -> Option<Arc<ProgramRules>> {
        let versions = self.programs.get(program_of(event))?;
        match version {
            Some(version) => versions.get((version as usize).checked_sub(1)?).cloned(),
            None => versions.last().cloned(),
        }
    }

    fn enter_reward(&mut self, event: &RecordedEvent, granted: &RewardGranted) {
        let (amount, level) = (granted.posting.amount, granted.level);
        let (level_total, computed) = (granted.level_total_minor(), granted.computed_minor());
        let account = self.account(event);
        let place = account.levels.iter().position(|known| known.0 == level);
        let place = place.unwrap_or_else(|| {
            account.levels.push((level, 0, 0));
            account.levels.len() - 1
        });
        let before = account.levels[place].1;
        account.levels[place].1 += amount;
        account.levels[place].2 += 1;
        let (_, total, count) = account.levels[place];
        self.unless((total, count) == (level_total, granted.level_count), event, || {
            format!(
                "level {level} is said to come to {level_total} by {} rewards, but comes to {total} by {count}",
                granted.level_count
            )
        });
        self.unless((0..=computed).contains(&amount), event, || {
            format!("{amount} granted of {computed} computed")
        });
        let rules = self.rules(event, Some(granted.program_version));
        let rule = rules.as_ref().and_then(|rules| {
            rules.rewards.iter().find(|rule| rule.rule == granted.rule && rule.level == level)
        });
        self.unless(rule.is_some(), event, || {
            format!("version {} has no rule '{}'", granted.program_version, granted.rule)
        });
        let cap = rule.and_then(|rule| rule.cap_minor);
        self.unless(cap.is_none_or(|cap| total <= cap), event, || {
            format!("level {level} comes to {total}, above its cap of {}", cap.unwrap_or_default())
        });
        let left = cap.map(|cap| cap - before);
        self.unless(granted.cap_remaining_minor == left, event, || {
            format!(
                "{:?} is said to be left under the cap, but {left:?} is",
                granted.cap_remaining_minor
            )
        });
        if let Some(purchase_id) = &granted.purchase_id {
            self.unless(self.purchase.as_ref() == Some(purchase_id), event, || {
                format!("purchase {purchase_id} is not of the same command")
            });
            let paid = (event.stream.id.clone(), level);
            self.unless(!self.paid.contains(&paid), event, || {
                format!("purchase {purchase_id} pays level {level} twice")
            });
            self.paid.push(paid);
        }
    }
}

impl Audit {
    /// Audits a reward that is taken back or given back: the level's total must follow, and stay within its cap.
    fn enter_reversal(&mut self, event: &RecordedEvent, reversed: &RewardReversed) {
        let (amount, level) = (reversed.posting.amount, reversed.level);
        let account = self.account(event);
        let known = account.levels.iter_mut().find(|known| known.0 == level);
        let total = known.map(|known| {
            known.1 += amount;
            known.1
        });
        self.unless(total == Some(reversed.level_total_minor()), event, || {
            format!(
                "level {level} is said to come to {}, but comes to {total:?}",
                reversed.level_total_minor()
            )
        });
        let rules = self.rules(event, Some(reversed.program_version));
        let cap = rules
            .as_ref()
            .and_then(|rules| rules.rewards.iter().find(|rule| rule.level == level)?.cap_minor);
        let is_within = cap.zip(total).is_none_or(|(cap, total)| amount <= 0 || total <= cap);
        self.unless(is_within, event, || {
            format!("what is given back brings level {level} to {total:?}, above its cap {cap:?}")
        });
    }
}

impl Account {
    /// Adds `change` to the number of referrals with a status.
    fn add(&mut self, status: ReferralStatus, change: i64) {
        match status {
            ReferralStatus::Pending => self.pending_count += change,
            ReferralStatus::Held => self.held_count += change,
            ReferralStatus::Converted => self.converted_count += change,
            ReferralStatus::Rejected => {}
        }
    }
}

fn program_of(event: &RecordedEvent) -> &str {
    event.stream.id.split_once('/').map_or("", |(program_id, _)| program_id)
}

fn member_of(event: &RecordedEvent) -> &str {
    event.stream.id.split_once('/').map_or("", |(_, user_id)| user_id)
}
