//! One program in use, in the vocabulary of those who run it.

use std::sync::Arc;

use crate::decide::{
    ApplyReferral, CodeFault, CodeVerdict, Command, ConfirmEmail, EnrollParticipant,
    RecordPurchase, Referrer, RegisterUser, ResolveFraudFlag, validate_code,
};
use crate::fraud::{EXACT_BPS, FlagKind, FraudPolicy, Occasion};
use crate::reward::WithheldReason;
use crate::rules::ProgramRules;
use crate::tests::memory_work::{Memory, Reading, keyed_hash};
use crate::{
    AnyEvent, FraudDecision, FraudFlag, FraudFlagEvent, FraudFlagId, FraudFlagRaised, Halt,
    Participant, ParticipantEvent, ParticipantId, Profile, ProgramId, PurchaseEvent, PurchaseId,
    ReferralStatus, Refusal, RewardGranted, RewardWithheld, Timestamp, UserId,
};

/// The program of a scene, unless another one is named.
pub const PROGRAM: &str = "the-program";

pub fn user(name: &str) -> UserId {
    UserId::parse(name).unwrap()
}

pub fn program(name: &str) -> ProgramId {
    ProgramId::parse(name).unwrap()
}

/// The address of a user. Those of users who are told apart by a number are not similar to each other.
pub fn address(name: &str) -> String {
    if name.contains(|character: char| character.is_ascii_digit()) {
        format!("{}.{name}@example.com", keyed_hash("address", name))
    } else {
        format!("{name}@example.com")
    }
}

pub fn profile(name: &str) -> Profile {
    Profile {
        user_id: user(name),
        username: name.into(),
        email: address(name),
        display_name: String::new(),
        password_hash: None,
    }
}

/// The outcome of a purchase or a sign-up.
#[derive(Debug, Default)]
pub struct Outcome {
    pub grants: Vec<(ParticipantId, RewardGranted)>,
    /// Each with its program and earner, whatever stream it is on.
    pub withholdings: Vec<RewardWithheld>,
    /// Those on whose own streams it is that something was withheld.
    pub told_to_earners: Vec<UserId>,
    pub converted: bool,
}

impl Outcome {
    /// Earner, level and amount of every reward.
    pub fn granted(&self) -> Vec<(&str, u32, i64)> {
        self.grants
            .iter()
            .map(|(earner, grant)| (earner.user_id.as_str(), grant.level, grant.posting.amount))
            .collect()
    }

    /// Would-be earner ("nobody" if there is none), level and reason of every reward withheld.
    pub fn withheld(&self) -> Vec<(&str, u32, WithheldReason)> {
        self.withholdings
            .iter()
            .map(|withheld| {
                let earner = withheld.earner_user_id.as_ref().map_or("nobody", UserId::as_str);
                (earner, withheld.level, withheld.reason)
            })
            .collect()
    }
}

/// A program with its users. A second passes before each command.
#[derive(Clone, Debug)]
pub struct Scene {
    pub memory: Memory,
    purchases: u32,
}

impl Scene {
    /// A scene with the program in force and no participants.
    pub fn of(rules: ProgramRules) -> Self {
        Self::read(Reading::Warm, rules)
    }

    pub fn read(reading: Reading, rules: ProgramRules) -> Self {
        let mut scene = Self { memory: Memory::new(reading), purchases: 0 };
        scene.publish(PROGRAM, rules).unwrap();
        scene
    }

    pub fn publish(&mut self, program_id: &str, rules: ProgramRules) -> Result<(), Halt> {
        self.publish_after(None, program_id, rules)
    }

    pub fn publish_after(
        &mut self,
        expected_version: Option<u32>,
        program_id: &str,
        rules: ProgramRules,
    ) -> Result<(), Halt> {
        assert_eq!(rules.faults(), [], "a program with faults is refused at the door");
        let (program_id, rules) = (program(program_id), Arc::new(rules));
        self.tell(&Command::PublishProgram { program_id, rules, expected_version })
    }

    pub fn tell(&mut self, command: &Command) -> Result<(), Halt> {
        self.memory.set_now(self.memory.now().plus_seconds(1));
        self.memory.apply(command)
    }

    // Signing up and entering.

    pub fn register(
        &mut self,
        profile: Profile,
        program_id: Option<&str>,
        code: Option<&str>,
    ) -> Result<(), Halt> {
        self.tell(&Command::RegisterUser(Box::new(RegisterUser {
            address_key: Some(format!("key of {}", profile.email)),
            mailbox: crate::fraud::Mailbox::parse(&profile.email),
            client_ip: None,
            fingerprint_key: None,
            profile,
            program_id: program_id.map(program),
            referral_code: code.map(Into::into),
            api_key: None,
            is_address_confirmed: false,
        })))
    }

    /// A sign-up in the program, without a code.
    pub fn sign_up(&mut self, name: &str) {
        self.register(profile(name), Some(PROGRAM), None).unwrap();
    }

    pub fn sign_up_with(&mut self, name: &str, code: &str) -> Result<(), Halt> {
        self.register(profile(name), Some(PROGRAM), Some(code))
    }

    /// A sign-up with the code of `referrer`, and its outcome.
    pub fn refer(&mut self, referrer: &str, name: &str) -> Outcome {
        let mark = self.memory.log().len();
        self.sign_up_with(name, &self.code(referrer)).unwrap();
        assert_eq!(self.referrer(name).as_deref(), Some(referrer));
        self.since(mark)
    }

    /// A line of referrals, the first name at the top.
    pub fn line(&mut self, names: &[&str]) {
        self.sign_up(names[0]);
        for pair in names.windows(2) {
            self.refer(pair[0], pair[1]);
        }
    }

    pub fn enroll(&mut self, name: &str, program_id: &str, code: Option<&str>) -> Result<(), Halt> {
        self.tell(&Command::EnrollParticipant(EnrollParticipant {
            program_id: program(program_id),
            user_id: user(name),
            referral_code: code.map(Into::into),
        }))
    }

    // Referrals.

    pub fn attach(&mut self, referee: &str, referrer: &str) -> Result<(), Halt> {
        self.tell(&Command::ApplyReferral(ApplyReferral {
            program_id: Some(program(PROGRAM)),
            referee_user_id: user(referee),
            referrer: Referrer::User(user(referrer)),
        }))
    }

    pub fn attach_by_code(&mut self, referee: &str, code: &str) -> Result<(), Halt> {
        self.tell(&Command::ApplyReferral(ApplyReferral {
            program_id: Some(program(PROGRAM)),
            referee_user_id: user(referee),
            referrer: Referrer::Code(code.into()),
        }))
    }

    pub fn confirm(&mut self, name: &str) -> Result<(), Halt> {
        let version = self.memory.state::<crate::User>(&user(name)).profile().version();
        let confirm = ConfirmEmail { user_id: user(name), version, change: None };
        self.tell(&Command::ConfirmEmail(Box::new(confirm)))
    }

    /// An operator releases the flag of somebody's referral.
    pub fn release(&mut self, name: &str) -> Result<(), Halt> {
        self.resolve(name, FraudDecision::Released)
    }

    /// An operator rejects somebody's referral by its flag.
    pub fn reject(&mut self, name: &str) -> Result<(), Halt> {
        self.resolve(name, FraudDecision::Rejected)
    }

    fn resolve(&mut self, name: &str, decision: FraudDecision) -> Result<(), Halt> {
        let flag_id = self.flag(name);
        let resolve = ResolveFraudFlag {
            flag_id,
            decision,
            reverses_rewards: false,
            note: None,
            may_deactivate_staff: false,
        };
        self.tell(&Command::ResolveFraudFlag(Box::new(resolve)))
    }

    /// A flag of somebody's referral, as one that was raised without any consequence.
    pub fn flag(&mut self, name: &str) -> FraudFlagId {
        let flag_id = FraudFlagId::parse(&format!("flag-{name}")).unwrap();
        if self.memory.state::<FraudFlag>(&flag_id).raised().is_none() {
            let event = FraudFlagEvent::FraudFlagRaised(Self::flag_of(name));
            self.memory.given::<FraudFlag>(&flag_id, event);
        }
        flag_id
    }

    /// How such a flag is raised.
    pub fn flag_of(name: &str) -> FraudFlagRaised {
        FraudFlagRaised {
            kind: FlagKind::DisposableDomain,
            score_bps: EXACT_BPS,
            program_id: program(PROGRAM),
            referee_user_id: Some(user(name)),
            referrer_user_id: None,
            other_user_id: None,
            occasion: Occasion::Referral,
            consequence: FraudPolicy::Flag,
            evidence: Vec::new(),
            evidence_user_ids: Vec::new(),
        }
    }

    pub fn verdict(&self, code: &str, name: Option<&str>) -> Result<CodeVerdict, Halt> {
        let user_id = name.map(user);
        self.memory.ask(|work| validate_code(work, code, Some(&program(PROGRAM)), user_id.as_ref()))
    }

    /// Why a code could not be used.
    pub fn fault(&self, code: &str, name: Option<&str>) -> Option<CodeFault> {
        self.verdict(code, name).unwrap().fault
    }

    // Purchases.

    pub fn purchase(
        &mut self,
        purchase_id: &str,
        buyer: &str,
        amount_minor: i64,
        currency_code: &str,
        purchase_time: Option<Timestamp>,
    ) -> Result<Outcome, Halt> {
        let mark = self.memory.log().len();
        self.tell(&Command::RecordPurchase(RecordPurchase {
            purchase_id: PurchaseId::parse(purchase_id).unwrap(),
            buyer_user_id: user(buyer),
            amount_minor,
            currency_code: currency_code.into(),
            purchase_time,
            program_ids: None,
            fingerprint_key: None,
        }))?;
        Ok(self.since(mark))
    }

    /// Makes up for a purchase, and says what came of it.
    pub fn make_up(&mut self, purchase_id: &str) -> Outcome {
        let mark = self.memory.log().len();
        let purchase_id = PurchaseId::parse(purchase_id).unwrap();
        let command = Command::MakeUpPurchase { purchase_id, program_id: program(PROGRAM) };
        self.tell(&command).unwrap();
        self.since(mark)
    }

    /// A purchase made now, in the currency of the program.
    pub fn buy(&mut self, buyer: &str, amount_minor: i64) -> Outcome {
        let currency = self.currency();
        self.buy_in(buyer, amount_minor, &currency)
    }

    pub fn buy_in(&mut self, buyer: &str, amount_minor: i64, currency: &str) -> Outcome {
        let id = self.next_purchase();
        self.purchase(&id, buyer, amount_minor, currency, None).unwrap()
    }

    pub fn buy_at(&mut self, buyer: &str, amount_minor: i64, time: Timestamp) -> Outcome {
        let (id, currency) = (self.next_purchase(), self.currency());
        self.purchase(&id, buyer, amount_minor, &currency, Some(time)).unwrap()
    }

    fn currency(&self) -> String {
        let state = self.memory.state::<crate::Program>(&program(PROGRAM));
        let rules = &state.current().unwrap().rules;
        rules.purchase_currency_code.clone().unwrap_or_else(|| "USD".into())
    }

    fn next_purchase(&mut self) -> String {
        self.purchases += 1;
        format!("purchase-{}", self.purchases)
    }

    // Accounts.

    pub fn deactivate(&mut self, name: &str) {
        self.tell(&Command::DeactivateUser { user_id: user(name) }).unwrap();
    }

    pub fn reactivate(&mut self, name: &str) {
        self.tell(&Command::ReactivateUser { user_id: user(name) }).unwrap();
    }

    pub fn erase(&mut self, name: &str, forfeits_balances: bool) -> Result<(), Halt> {
        self.tell(&Command::EraseUser { user_id: user(name), forfeits_balances })
    }

    // Results.

    pub fn id(name: &str) -> ParticipantId {
        ParticipantId::new(&program(PROGRAM), &user(name))
    }

    pub fn participant(&self, name: &str) -> Arc<Participant> {
        self.memory.state::<Participant>(&Self::id(name))
    }

    pub fn code(&self, name: &str) -> String {
        let participant = self.participant(name);
        assert!(participant.exists(), "{name} is not in the program");
        participant.code().into()
    }

    pub fn referrer(&self, name: &str) -> Option<String> {
        let participant = self.participant(name);
        participant.referral().map(|referral| referral.referrer_user_id.to_string())
    }

    pub fn status(&self, name: &str) -> Option<ReferralStatus> {
        self.participant(name).referral().map(|referral| referral.status)
    }

    pub fn user_exists(&self, name: &str) -> bool {
        self.memory.state::<crate::User>(&user(name)).exists()
    }

    pub fn since(&self, mark: usize) -> Outcome {
        let mut outcome = Outcome::default();
        for logged in &self.memory.log()[mark..] {
            match &logged.event {
                AnyEvent::Participant(ParticipantEvent::RewardGranted(grant)) => {
                    let earner = ParticipantId::parse(&logged.key.id).unwrap();
                    outcome.grants.push((earner, grant.clone()));
                }
                AnyEvent::Participant(ParticipantEvent::RewardWithheld(withheld)) => {
                    let earner = ParticipantId::parse(&logged.key.id).unwrap();
                    assert_eq!((&withheld.program_id, &withheld.earner_user_id), (&None, &None));
                    outcome.told_to_earners.push(earner.user_id.clone());
                    outcome.withholdings.push(RewardWithheld {
                        program_id: Some(earner.program_id),
                        earner_user_id: Some(earner.user_id),
                        ..withheld.clone()
                    });
                }
                AnyEvent::Purchase(PurchaseEvent::RewardWithheld(withheld)) => {
                    outcome.withholdings.push(withheld.clone());
                }
                AnyEvent::Participant(ParticipantEvent::ReferralConverted(_)) => {
                    outcome.converted = true;
                }
                _ => {}
            }
        }
        outcome
    }
}

/// A user in the scene's program.
pub fn member(name: &str) -> ParticipantId {
    ParticipantId::new(&program(PROGRAM), &user(name))
}

/// A refusal, for comparison with the result of a command.
pub fn refused(refusal: Refusal) -> Result<(), Halt> {
    Err(Halt::Refused(refusal))
}
