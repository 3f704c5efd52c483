//! The oracle: reckons every consequence in the log anew, from inputs and from the rules in force.
//!
//! Inputs are what somebody did: sign-ups, enrollments, referrals, purchases, deactivations, versions of programs.
//! Consequences are what the rules make of them: rewards, withheld rewards, conversions, changes of tier. The oracle
//! reads the log in the order of positions, command by command, and reckons from each input what must follow. It
//! reads events and rules through the types of the domain, and shares no decision and no arithmetic with it.
//!
//! Memory is bounded by the number of programs, users and participants, not by the length of the log. After a
//! deviation the oracle goes on from what the log has, so that one fault is named once.

mod approvals;
mod effect;
mod make_up;
mod payouts;
mod reckon;
mod rulebook;
mod standing;
#[cfg(test)]
mod tests;
mod world;

use std::collections::HashMap;
use std::sync::Arc;

use domain::{
    AnyEvent, Kind, ParticipantEvent, ProgramEvent, ProgramId, PurchaseEvent, ReferralApplied,
    RewardWithheld, StreamKey, UserErased, UserEvent,
};

use super::audit::Finding;
use crate::store::RecordedEvent;
use effect::{Effect, cancel, forfeit_fields, name_all, of_participant, withheld_fields};
use reckon::Purchase;
use world::{Awaited, PersonIndex, ProgramIndex, Tie, UserIndex, Version, World};

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
    purchase: Option<(Purchase, Vec<PersonIndex>)>,
    /// The purchase that is made up for, with its program.
    made_up: Option<(Arc<str>, ProgramIndex)>,
    /// Who has confirmed their address.
    confirmed: Vec<UserIndex>,
    /// Whether a fraud flag was raised, or decided about.
    has_flag: bool,
    /// Whether the command changes what becomes of a purchase that was recorded before.
    is_settlement: bool,
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
        let Some((last, _)) = command.last() else { return };
        let position = last.position;
        let mut judgement = Judgement::default();
        for (event, fact) in &command {
            self.sort(event, fact, &mut judgement);
        }
        for user in std::mem::take(&mut judgement.confirmed) {
            standing::check_confirmed(self, user, position);
        }
        let purchase = judgement.purchase.as_ref().map(|(purchase, _)| purchase.clone());
        let made_up = judgement.made_up.take();
        let date = match (&purchase, &made_up) {
            (Some(purchase), _) => Some(purchase.date),
            (None, Some(of)) => self.world.cut_off(of).map(|held| held.purchase.date),
            (None, None) => None,
        };
        let is_settlement = judgement.is_settlement;
        if !is_settlement {
            self.judge(judgement, position);
        }
        for (event, fact) in &command {
            if let AnyEvent::Participant(fact) = fact {
                let (program_id, user_id) = split(&event.stream.id);
                self.world.adopt(program_id, user_id, fact, date);
                self.world.adopt_settlement(program_id, user_id, fact);
            }
        }
        make_up::adopt(self, purchase.as_ref(), made_up.as_ref(), &command);
    }

    /// Takes in an input, with what must follow, or a consequence.
    fn sort(&mut self, event: &RecordedEvent, fact: &AnyEvent, judgement: &mut Judgement) {
        match fact {
            AnyEvent::User(fact) => self.sort_user(event, fact, judgement),
            AnyEvent::Program(ProgramEvent::ProgramPublished(published)) => {
                self.world.publish(&event.stream.id, published);
            }
            AnyEvent::Purchase(PurchaseEvent::PurchaseRecorded(recorded)) => {
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
                judgement.purchase = Some((purchase, enrolled.filter(counts).collect()));
            }
            AnyEvent::Purchase(PurchaseEvent::PurchaseMadeUp(made_up)) => {
                make_up::sort(self, event, made_up, judgement);
            }
            AnyEvent::Purchase(PurchaseEvent::RewardWithheld(withheld)) => {
                judgement.found.push(Effect {
                    program: self.world.program_index(program_of(withheld)),
                    stream: event.stream.clone(),
                    name: "RewardWithheld",
                    fields: withheld_fields(withheld, &event.stream),
                    position: event.position,
                });
            }
            AnyEvent::Purchase(
                PurchaseEvent::PurchaseRefunded(_)
                | PurchaseEvent::RefundCancelled(_)
                | PurchaseEvent::DisputeOpened(_)
                | PurchaseEvent::DisputeUpdated(_)
                | PurchaseEvent::DisputeClosed(_)
                | PurchaseEvent::PurchaseRewardHeld(_)
                | PurchaseEvent::PurchaseRewardReleased(_)
                | PurchaseEvent::HoldPeriodEnded(_)
                | PurchaseEvent::PurchaseReferralRejected(_),
            ) => judgement.is_settlement = true,
            AnyEvent::Participant(fact) => self.sort_participant(event, fact, judgement),
            // What follows from a flag, or a decision about it, is on the stream of the participant.
            AnyEvent::FraudFlag(_) => judgement.has_flag = true,
            AnyEvent::Approval(fact) => approvals::sort(self, event, fact, judgement),
            AnyEvent::Payout(fact) => payouts::sort_payout(self, event, fact),
            AnyEvent::PayoutLine(fact) => payouts::sort_line(self, event, fact, judgement),
            // Who may call has no consequences, nor that a sign-up was counted; work that is done again does what it
            // would have done the first time.
            AnyEvent::ApiKey(_)
            | AnyEvent::SignUpOrigin(_)
            | AnyEvent::Job(_)
            | AnyEvent::PayoutDesk(_) => {}
        }
    }

    fn sort_user(&mut self, event: &RecordedEvent, fact: &UserEvent, judgement: &mut Judgement) {
        let user = self.world.user_index(&event.stream.id);
        let on_all = match fact {
            UserEvent::UserRegistered(_) => {
                self.unless(event.sequence == 1, event, || {
                    "expected the registration as the first event of its stream, found another"
                        .into()
                });
                return;
            }
            UserEvent::UserEnrolled(enrolled) => {
                let program_id = enrolled.program_id.as_str();
                let person = self.world.person_index(program_id, &event.stream.id);
                self.world.enroll(user, person);
                judgement.expected.push(self.expect(person, "ParticipantEnrolled", Vec::new()));
                return;
            }
            UserEvent::UserDeactivated(_) => "ParticipantDeactivated",
            UserEvent::UserReactivated(_) => "ParticipantReactivated",
            UserEvent::UserErased(erased) => {
                self.sort_erasure(user, event, erased, judgement);
                self.expect_referrers_told(user, judgement);
                "ParticipantErased"
            }
            UserEvent::UserEmailConfirmed(_) => {
                self.world.confirm(user);
                judgement.confirmed.push(user);
                return;
            }
            UserEvent::UserEmailChanged(_) => {
                self.expect_referrers_told(user, judgement);
                return;
            }
            // Nothing in a program follows from what a user is called, from who may call, or from who is whom.
            UserEvent::UserProfileUpdated(_)
            | UserEvent::UserSecondFactorChanged(_)
            | UserEvent::UserRoleChanged(_)
            | UserEvent::UserSessionsEnded(_)
            | UserEvent::UserPasswordChanged(_)
            | UserEvent::UserSecondFactorBegun(_)
            | UserEvent::UserRecoveryCodeUsed(_)
            | UserEvent::UserExported(_)
            | UserEvent::UserPairReviewed(_)
            | UserEvent::UserPayoutMethodSet(_) => return,
        };
        for person in &self.world.user(user).enrolled {
            judgement.expected.push(self.expect(*person, on_all, Vec::new()));
        }
    }

    /// Takes in an erasure: everything that the user is owed must be forfeited.
    fn sort_erasure(
        &mut self,
        user: UserIndex,
        event: &RecordedEvent,
        erased: &UserErased,
        judgement: &mut Judgement,
    ) {
        self.unless(!self.world.user(user).is_erased, event, || {
            "expected nothing of a user who was erased, found another erasure".into()
        });
        self.world.erase(user);
        let mut is_owed = false;
        for person in &self.world.user(user).enrolled {
            for (bucket, amount) in self.world.person(*person).parts {
                if amount > 0 {
                    is_owed = true;
                    let program = self.world.person(*person).program;
                    let version = self.world.current_version(program);
                    let unit = version.map(|version| version.rules.unit.clone());
                    let fields = forfeit_fields(bucket, amount, unit.as_deref());
                    judgement.expected.push(self.expect(*person, "BalanceForfeited", fields));
                }
            }
        }
        self.unless(erased.forfeited == is_owed, event, || {
            format!("forfeited: expected {is_owed}, found {}", erased.forfeited)
        });
    }

    /// Whoever referred a user must be told that the user's address has changed, unless they were erased.
    fn expect_referrers_told(&self, user: UserIndex, judgement: &mut Judgement) {
        let user = self.world.user(user);
        for person in &user.enrolled {
            let Some(tie) = self.world.person(*person).referral else { continue };
            if !self.world.user(self.world.person(tie.referrer).user).is_erased {
                let fields = vec![("referee", (&*user.id).into())];
                let told = self.expect(tie.referrer, "RefereeAddressChanged", fields);
                judgement.expected.push(told);
            }
        }
    }

    fn sort_participant(
        &mut self,
        event: &RecordedEvent,
        fact: &ParticipantEvent,
        judgement: &mut Judgement,
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
            ParticipantEvent::ReferralRewardsChanged(_) => judgement.is_settlement = true,
            fact => {
                let Some((name, fields)) = of_participant(fact, &event.stream) else { return };
                let program = self.world.program_index(split(&event.stream.id).0);
                let (stream, position) = (event.stream.clone(), event.position);
                judgement.found.push(Effect { program, stream, name, fields, position });
            }
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
            },
        );
        let fields = vec![
            ("referee", user_id.into()),
            ("status", format!("{:?}", applied.status).as_str().into()),
            ("made while inactive", was_inactive.into()),
        ];
        judgement.expected.push(self.expect(referrer, "ReferralMade", fields));
        let program = self.world.program_index(program_id);
        if let Some(version) = self.world.current_version(program) {
            let (has_flag, flags) = (judgement.has_flag, &applied.flags);
            standing::check_initial(self, event, referee, &version, has_flag, flags);
            judgement.expected.extend(reckon::of_referral(&self.world, referee, &version));
        }
        was_inactive
    }

    fn expect(
        &self,
        person: PersonIndex,
        name: &'static str,
        fields: Vec<(&'static str, effect::Value)>,
    ) -> Effect {
        let program = self.world.person(person).program;
        Effect::on_participant(program, self.world.stream_id(person), name, fields)
    }

    fn unless(&mut self, holds: bool, event: &RecordedEvent, what: impl FnOnce() -> String) {
        if !holds {
            let about = event.stream.to_string();
            self.find(Finding { about, what: what(), position: event.position });
        }
    }

    fn judge(&mut self, judgement: Judgement, position: i64) {
        let Judgement { mut expected, mut found, purchase, .. } = judgement;
        // What follows from a referral that was held with the purchase is none of the purchase's consequences.
        self.rewards += count_rewards(&expected);
        cancel(&mut expected, &mut found);
        if let Some((purchase, persons)) = purchase {
            for person in persons {
                let mut of_program = Vec::new();
                let program = self.world.person(person).program;
                found = found.into_iter().fold(Vec::new(), |mut others, effect| {
                    let is_here = effect.program == program;
                    if is_here { &mut of_program } else { &mut others }.push(effect);
                    others
                });
                self.judge_purchase(person, &purchase, &of_program, position);
            }
        }
        name_all(expected, found, position, &mut |finding| self.find(finding));
    }

    /// Judges a purchase in one program, by the version that was in force. Where another version may have judged it,
    /// that one's verdict is good, too.
    fn judge_purchase(
        &mut self,
        buyer: PersonIndex,
        purchase: &Purchase,
        found: &[Effect],
        position: i64,
    ) {
        let program = self.world.person(buyer).program;
        let mut first = None;
        for version in self.world.versions_for(program, purchase.date) {
            let mut expected = reckon::of_purchase(&self.world, buyer, purchase, &version);
            let mut left = found.to_vec();
            let rewards = count_rewards(&expected);
            cancel(&mut expected, &mut left);
            if expected.is_empty() && left.is_empty() {
                self.rewards += rewards;
                self.remember(buyer, purchase, &version);
                return;
            }
            first.get_or_insert((version, expected, left, rewards));
        }
        match first {
            Some((version, expected, left, rewards)) => {
                self.rewards += rewards;
                self.remember(buyer, purchase, &version);
                name_all(expected, left, position, &mut |finding| self.find(finding));
            }
            None => self.find(Finding {
                about: StreamKey { kind: Kind::Purchase, id: purchase.id.clone() }.to_string(),
                what: format!(
                    "expected a version of program '{}', found none",
                    self.world.program(program).id
                ),
                position,
            }),
        }
    }

    fn remember(&mut self, buyer: PersonIndex, purchase: &Purchase, version: &Version) {
        let is_enough = reckon::is_enough(&self.world, buyer, purchase, version);
        self.world.person_mut(buyer).bought.note(&purchase.id, is_enough);
    }
}

fn count_rewards(effects: &[Effect]) -> u64 {
    effects.iter().map(|effect| u64::from(effect.name == "RewardGranted")).sum()
}
