//! The oracle: reckons every consequence in the log anew, from inputs and from the rules in force.
//!
//! Inputs are what somebody did: sign-ups, enrollments, referrals, purchases, deactivations, versions of programs,
//! refunds, disputes, holds. Consequences are what the rules make of them: rewards, withheld rewards, conversions,
//! changes of tier, and what is taken back, given back or waits. The oracle reads the log in the order of positions,
//! command by command, and reckons from each input what must follow. It reads events and rules through the types of the
//! domain, and shares no decision and no arithmetic with it.
//!
//! Programs, users and participants take a few numbers each, however long their history is. What grows with the log is
//! what is remembered of purchases that had consequences, because any of them can be refunded later: about 130 bytes a
//! purchase, see [`deals`], and about 30 for each reward that can expire. After a deviation the oracle goes on from
//! what the log has, so that one fault is named once.

mod adopt;
mod approvals;
mod conversions;
mod deals;
mod effect;
mod fields;
mod inputs;
mod judge;
mod lots;
mod make_up;
mod own;
mod parts;
mod payouts;
mod posts;
mod price;
mod reckon;
mod remember;
mod rulebook;
mod settle;
mod standing;
mod store;
#[cfg(test)]
mod tests;
mod users;
mod withhold;
mod world;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use domain::{
    AnyEvent, ParticipantEvent, ProgramEvent, ProgramId, PurchaseEvent, PurchaseRecorded,
    ReferralApplied, RewardWithheld,
};

use super::audit::Finding;
use crate::store::RecordedEvent;
use effect::Effect;
use fields::{of_participant, withheld_fields};
use make_up::MadeUp;
use reckon::Purchase;
use world::{Against, Awaited, PersonIndex, Tie, UserIndex, World};

/// The maximum number of deviations that are kept; all are counted.
const MAX_KEPT: usize = 100;

/// Judges a log.
#[derive(Default)]
pub(super) struct Oracle {
    world: World,
    /// The events of the command that is being read.
    command: Vec<(RecordedEvent, AnyEvent)>,
    /// What waits for an approval, by its stream: what nobody has decided about.
    awaited: HashMap<Arc<str>, approvals::Awaited>,
    /// Who answers for a key, by its stream, if that is not the key itself.
    answerable: HashMap<Arc<str>, approvals::Caller>,
    /// The payouts that collect, by their streams.
    collecting: HashMap<Arc<str>, payouts::Collecting>,
    /// Those that were confirmed as a whole.
    confirming: HashSet<Arc<str>>,
    stores: store::Stores,
    /// How many rewards were reckoned.
    pub(super) rewards: u64,
    pub(super) findings: Vec<Finding>,
    pub(super) finding_count: u64,
}

/// What the rules demand of one command, and what the log has of it.
#[derive(Default)]
struct Judgement {
    expected: Vec<Effect>,
    found: Vec<Effect>,
    /// The purchase that the command records, and its buyer, with the programs in which it counts.
    purchase: Option<(Purchase, UserIndex, Vec<PersonIndex>)>,
    /// The purchase that is made up for.
    made_up: Option<MadeUp>,
    /// A purchase that was recorded before and of which something has changed.
    changed: Option<settle::Before>,
    /// Referrals that themselves earned, and of which something has changed.
    own: Vec<own::OwnBefore>,
    /// Who has confirmed their address.
    confirmed: Vec<UserIndex>,
    /// Whether a fraud flag was raised, or decided about.
    has_flag: bool,
}

/// The program of a reward that is withheld on the stream of a purchase.
fn program_of(withheld: &RewardWithheld) -> &str {
    withheld.program_id.as_ref().map_or("", ProgramId::as_str)
}

fn split(stream_id: &str) -> (&str, &str) {
    stream_id.split_once('/').unwrap_or((stream_id, ""))
}

impl Oracle {
    fn find(&mut self, finding: Finding) {
        self.finding_count += 1;
        if self.findings.len() < MAX_KEPT {
            self.findings.push(finding);
        }
    }

    /// Takes in the next event of the log. What cannot be read is left to the audit.
    pub(super) fn enter(&mut self, event: &RecordedEvent) {
        if event.command_events.is_some() {
            self.finish();
        }
        if let Ok(Some(fact)) = event.read_if_known() {
            self.command.push((event.clone(), fact));
        }
    }

    /// Judges the last command.
    pub(super) fn finish(&mut self) {
        let command = std::mem::take(&mut self.command);
        let is_made_up = |(_, fact): &(RecordedEvent, AnyEvent)| {
            matches!(fact, AnyEvent::Purchase(PurchaseEvent::PurchaseMadeUp(_)))
        };
        if !command.iter().any(is_made_up) {
            for part in parts::of(&command) {
                self.take(&command, part, Judgement::default());
            }
            return;
        }
        let (granting, taking_back) = command.split_at(make_up::granting(&command));
        let made_up = self.take(&command, granting, Judgement::default());
        let Some(MadeUp { purchase_id, index, levels }) = made_up else { return };
        let expected = settle::of_made_up(&self.world, index, &purchase_id, &levels);
        self.take(&command, taking_back, Judgement { expected, ..Judgement::default() });
    }

    /// Judges a part of a command, and goes on from what the log has. Returns what is made up for.
    fn take(
        &mut self,
        command: &[(RecordedEvent, AnyEvent)],
        part: &[(RecordedEvent, AnyEvent)],
        mut judgement: Judgement,
    ) -> Option<MadeUp> {
        let position = command.last()?.0.position;
        for (event, fact) in part {
            self.sort(event, fact, &mut judgement, command);
        }
        for user in std::mem::take(&mut judgement.confirmed) {
            standing::check_confirmed(self, user, position);
        }
        let recorded = judgement.purchase.as_ref().map(|(of, buyer, _)| (of.clone(), *buyer));
        let made_up = judgement.made_up.take();
        self.judge(judgement, position);
        let recorded = recorded.as_ref().map(|(purchase, buyer)| (purchase, *buyer));
        for (event, fact) in part {
            self.world.adopt(event, fact, recorded);
        }
        made_up
    }

    /// Takes in an input, with what must follow, or a consequence.
    fn sort(
        &mut self,
        event: &RecordedEvent,
        fact: &AnyEvent,
        judgement: &mut Judgement,
        command: &[(RecordedEvent, AnyEvent)],
    ) {
        match fact {
            AnyEvent::User(fact) => self.sort_user(event, fact, judgement),
            AnyEvent::Program(ProgramEvent::ProgramPublished(published)) => {
                self.world.publish(&event.stream.id, published);
            }
            AnyEvent::Purchase(fact) => self.sort_purchase(event, fact, judgement),
            AnyEvent::Participant(fact) => self.sort_participant(event, fact, judgement, command),
            // What follows from a flag, or a decision about it, is on the stream of the participant.
            AnyEvent::FraudFlag(_) => judgement.has_flag = true,
            AnyEvent::Approval(fact) => approvals::sort(self, event, fact, judgement),
            AnyEvent::StoreItem(fact) => store::sort_item(self, event, fact),
            AnyEvent::Redemption(fact) => store::sort(self, event, fact, judgement),
            AnyEvent::Payout(fact) => payouts::sort_payout(self, event, fact, command),
            AnyEvent::ApiKey(fact) => approvals::sort_key(self, event, fact),
            AnyEvent::PayoutLine(fact) => payouts::sort_line(self, event, fact, judgement, command),
            // That a sign-up or an item was counted has no consequences, nor which payout collects; work that is done
            // again does what it would have done the first time.
            AnyEvent::SignUpOrigin(_)
            | AnyEvent::Job(_)
            | AnyEvent::Catalog(_)
            | AnyEvent::PayoutDesk(_) => {}
        }
    }

    fn sort_purchase(
        &mut self,
        event: &RecordedEvent,
        fact: &PurchaseEvent,
        judgement: &mut Judgement,
    ) {
        match fact {
            PurchaseEvent::PurchaseRecorded(recorded) => {
                self.sort_record(event, recorded, judgement);
            }
            PurchaseEvent::PurchaseMadeUp(made_up) => {
                make_up::sort(self, event, made_up, judgement);
            }
            PurchaseEvent::RewardWithheld(withheld) => judgement.found.push(Effect {
                program: self.world.program_index(program_of(withheld)),
                stream: event.stream.clone(),
                name: "RewardWithheld",
                fields: withheld_fields(withheld, &event.stream),
                position: event.position,
            }),
            PurchaseEvent::PurchaseRefunded(_)
            | PurchaseEvent::RefundCancelled(_)
            | PurchaseEvent::DisputeOpened(_)
            | PurchaseEvent::DisputeUpdated(_)
            | PurchaseEvent::DisputeClosed(_)
            | PurchaseEvent::PurchaseRewardHeld(_)
            | PurchaseEvent::PurchaseRewardReleased(_)
            | PurchaseEvent::HoldPeriodEnded(_)
            | PurchaseEvent::PurchaseReferralRejected(_) => {
                inputs::sort(self, event, fact, judgement);
            }
        }
    }

    fn sort_record(
        &mut self,
        event: &RecordedEvent,
        recorded: &PurchaseRecorded,
        judgement: &mut Judgement,
    ) {
        self.unless(event.sequence == 1 && judgement.purchase.is_none(), event, || {
            "expected one record of a purchase, as the first event of its stream, found another"
                .into()
        });
        let buyer = self.world.user_index(recorded.buyer_user_id.as_str());
        self.unless(!self.world.user(buyer).is_erased, event, || {
            "expected no purchase by a user who was erased, found one".into()
        });
        let purchase = Purchase {
            id: event.stream.id.clone(),
            amount_minor: recorded.amount_minor,
            currency_code: recorded.currency_code.clone(),
            date: recorded.purchase_time_us.0,
        };
        let index = |id: &ProgramId| self.world.program_index(id.as_str());
        let programs = recorded.program_ids.as_ref();
        let programs: Option<Vec<_>> = programs.map(|ids| ids.iter().map(index).collect());
        let counts = |person: &PersonIndex| {
            let program = self.world.person(*person).program;
            programs.as_ref().is_none_or(|programs| programs.contains(&program))
        };
        let enrolled = self.world.user(buyer).enrolled.iter().copied();
        judgement.purchase = Some((purchase, buyer, enrolled.filter(counts).collect()));
    }

    fn sort_participant(
        &mut self,
        event: &RecordedEvent,
        fact: &ParticipantEvent,
        judgement: &mut Judgement,
        command: &[(RecordedEvent, AnyEvent)],
    ) {
        match fact {
            ParticipantEvent::ReferralApplied(applied) => {
                let was_inactive = self.sort_referral(event, applied, judgement);
                self.unless(applied.made_while_inactive == was_inactive, event, || {
                    format!("made while inactive: expected {was_inactive}, found {}", !was_inactive)
                });
            }
            ParticipantEvent::ReferralStandingChanged(changed) => {
                standing::sort(self, event, changed, judgement);
            }
            ParticipantEvent::ReferralRewardsChanged(changed) => {
                own::sort(self, event, changed, judgement, own::is_by_server(command));
            }
            ParticipantEvent::ReferralConverted(converted) => {
                // With nothing before it, a purchase that was recorded earlier has converted the referral.
                let purchase_id =
                    converted.purchase_id.as_ref().filter(|_| event.command_events.is_some());
                if let Some(purchase_id) = purchase_id {
                    let (program_id, user_id) = split(&event.stream.id);
                    let buyer = self.world.person_index(program_id, user_id);
                    let purchase_id = purchase_id.as_str();
                    let again = settle::of_another_conversion(&self.world, buyer, purchase_id);
                    judgement.expected.extend(again);
                }
                own::check_converted(self, event, converted, command);
            }
            ParticipantEvent::RewardGranted(granted) => {
                inputs::check_release(self, event, granted);
            }
            ParticipantEvent::ParticipantEnrolled(_)
            | ParticipantEvent::ReferralMade(_)
            | ParticipantEvent::ReferralUpdated(_)
            | ParticipantEvent::FirstPurchaseUsed(_)
            | ParticipantEvent::FirstPurchaseFreed(_)
            | ParticipantEvent::PurchaseReinstated(_)
            | ParticipantEvent::PurchaseCredited(_)
            | ParticipantEvent::RewardWithheld(_)
            | ParticipantEvent::RewardReversed(_)
            | ParticipantEvent::RewardMoved(_)
            | ParticipantEvent::ReferralUnconverted(_)
            | ParticipantEvent::TierChanged(_)
            | ParticipantEvent::RefereeAddressChanged(_)
            | ParticipantEvent::ParticipantDeactivated(_)
            | ParticipantEvent::ParticipantReactivated(_)
            | ParticipantEvent::BalanceAdjusted(_)
            | ParticipantEvent::BalanceExpired(_)
            | ParticipantEvent::BalanceForfeited(_)
            | ParticipantEvent::BalanceSpent(_)
            | ParticipantEvent::SpendingReturned(_)
            | ParticipantEvent::PayoutReserved(_)
            | ParticipantEvent::PayoutPaid(_)
            | ParticipantEvent::PayoutReleased(_)
            | ParticipantEvent::PayoutReturned(_)
            | ParticipantEvent::ParticipantErased(_) => {}
        }
        lots::sort(self, event, fact);
        if let Some((name, fields)) = of_participant(fact, &event.stream) {
            let program = self.world.program_index(split(&event.stream.id).0);
            let (stream, position) = (event.stream.clone(), event.position);
            let mut found = Some(Effect { program, stream, name, fields, position });
            for known in &mut judgement.found {
                found = found.and_then(|part| known.join(part));
            }
            judgement.found.extend(found);
        }
    }

    /// Takes in a referral, with what must follow; whether the referrer was inactive.
    fn sort_referral(
        &mut self,
        event: &RecordedEvent,
        applied: &ReferralApplied,
        judgement: &mut Judgement,
    ) -> bool {
        let (program_id, user_id) = split(&event.stream.id);
        let referee = self.world.person_index(program_id, user_id);
        let referrer = self.world.person_index(program_id, applied.referrer_user_id.as_str());
        let was_inactive = self.world.person(referrer).is_inactive;
        for person in [referee, referrer] {
            let user = self.world.person(person).user;
            self.unless(!self.world.user(user).is_erased, event, || {
                "expected no referral of or by a user who was erased, found one".into()
            });
        }
        self.world.attach(
            referee,
            Tie {
                referrer,
                made: applied.referral_time_us.0,
                released: None,
                status: applied.status,
                awaits: Awaited::of(&applied.hold_reasons),
                made_while_active: !was_inactive,
                converted_while_able: false,
                converted_by_itself: false,
                against: Against::of(&applied.flags),
            },
        );
        let fields = vec![
            ("referee", user_id.into()),
            ("status", format!("{:?}", applied.status).as_str().into()),
            ("made while inactive", was_inactive.into()),
        ];
        judgement.expected.push(self.world.expect(referrer, "ReferralMade", fields));
        let program = self.world.program_index(program_id);
        if let Some(version) = self.world.current_version(program) {
            let (has_flag, flags) = (judgement.has_flag, &applied.flags);
            standing::check_initial(self, event, referee, &version, has_flag, flags);
            judgement.expected.extend(reckon::of_referral(&self.world, referee, &version));
        }
        was_inactive
    }

    fn unless(&mut self, holds: bool, event: &RecordedEvent, what: impl FnOnce() -> String) {
        if !holds {
            let about = event.stream.to_string();
            self.find(Finding { about, what: what(), position: event.position });
        }
    }
}
