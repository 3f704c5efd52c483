//! An audit of the log: one pass over all events, with accounts of its own. They share no code with the folds
//! of the read models, and add amounts up where the folds take the totals that events carry.

mod rewards;

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use super::audit_store::Items;
use super::payout_audit::PayoutAudit;
use crate::store::{RecordedEvent, StoreError};
use domain::rules::ProgramRules;
use domain::{
    AnyEvent, Buckets, ParticipantEvent, Posting, ProgramEvent, PurchaseEvent, PurchaseId,
    ReferralStandingChanged, ReferralStatus, Timestamp, UserId,
};
use rewards::{Credit, Standing};

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
    /// Its place in the order in which accounts were opened.
    number: u32,
    pub(super) buckets: Buckets,
    pub(super) reward_count: i64,
    levels: Vec<(u32, i64, u32)>,
    /// The points by tier, and those that wait.
    tier_minor: i64,
    tier_pending_minor: i64,
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
    /// The purchase that the current command records or makes up for, until something goes back of it, and what it has
    /// paid, by stream and level.
    rewarded: Option<PurchaseId>,
    paid: Vec<(Arc<str>, u32)>,
    pub(super) payouts: PayoutAudit,
    /// The purchase that the current command records, until something goes back of it, and whose credit it has paid.
    recorded: Option<PurchaseId>,
    credited: Vec<u32>,
    /// What is left of each reward but points by tier, by the number of the account and the sequence.
    rewards: HashMap<(u32, u32), Standing>,
    /// What became of credits of which a part was deducted or pending, by the number of the account and the purchase.
    credits: HashMap<(u32, Arc<str>), Credit>,
    /// The items of the stores.
    pub(super) items: Items,
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

    pub(super) fn unless(
        &mut self,
        holds: bool,
        event: &RecordedEvent,
        what: impl FnOnce() -> String,
    ) {
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
            self.rewarded = None;
            self.recorded = None;
            self.paid.clear();
            self.credited.clear();
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
            | AnyEvent::Catalog(_)
            | AnyEvent::Redemption(_)
            | AnyEvent::Purchase(
                PurchaseEvent::RewardWithheld(_)
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
            AnyEvent::Purchase(PurchaseEvent::PurchaseRecorded(_)) => {
                self.rewarded = PurchaseId::parse(&event.stream.id).ok();
                self.recorded.clone_from(&self.rewarded);
            }
            // All that the purchase itself brings comes before what goes back of it in the same command.
            AnyEvent::Purchase(
                PurchaseEvent::PurchaseRefunded(_)
                | PurchaseEvent::RefundCancelled(_)
                | PurchaseEvent::DisputeOpened(_)
                | PurchaseEvent::DisputeUpdated(_)
                | PurchaseEvent::DisputeClosed(_),
            ) => {
                self.rewarded = None;
                self.recorded = None;
            }
            AnyEvent::Purchase(PurchaseEvent::PurchaseMadeUp(_)) => {
                self.rewarded = PurchaseId::parse(&event.stream.id).ok();
            }
            AnyEvent::Participant(fact) => {
                let wrong = self.payouts.enter_participant(event, &fact);
                self.unless_wrong(event, wrong);
                self.enter_participant(event, &fact);
            }
            AnyEvent::StoreItem(fact) => self.enter_item(event, &fact),
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
        let number = u32::try_from(self.accounts.len()).unwrap_or(u32::MAX);
        let account = self.accounts.entry(event.stream.id.clone());
        let account = account.or_insert_with(|| Account { number, ..Account::default() });
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
            ParticipantEvent::PurchaseCredited(credited) => self.enter_credit(event, credited),
            ParticipantEvent::RewardGranted(granted) => self.enter_reward(event, granted),
            ParticipantEvent::RewardReversed(reversed) => self.enter_reversal(event, reversed),
            ParticipantEvent::RewardMoved(moved) => self.enter_move(event, moved),
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
            ParticipantEvent::BalanceSpent(spent) => self.enter_spending(event, spent),
            ParticipantEvent::ParticipantEnrolled(_)
            | ParticipantEvent::BalanceAdjusted(_)
            | ParticipantEvent::BalanceExpired(_)
            | ParticipantEvent::BalanceForfeited(_)
            | ParticipantEvent::PayoutReserved(_)
            | ParticipantEvent::PayoutPaid(_)
            | ParticipantEvent::PayoutReleased(_)
            | ParticipantEvent::PayoutReturned(_)
            | ParticipantEvent::SpendingReturned(_)
            | ParticipantEvent::FirstPurchaseUsed(_)
            | ParticipantEvent::FirstPurchaseFreed(_)
            | ParticipantEvent::PurchaseReinstated(_)
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
            // It only remembers its flags.
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
