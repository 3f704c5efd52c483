//! Any program, and any history of it.

use proptest::prelude::*;

use crate::code::CodeFormat;
use crate::decide::{Command, RecordPurchase};
use crate::rules::{
    AttachPolicy, EarnOn, FirstPurchaseUse, InvalidCodePolicy, Pay, ProgramRules, RewardKind,
    RewardRule,
};
use crate::tests::memory_work::{Memory, Reading};
use crate::tests::programs::{first_purchase_bonus, rule, tier};
use crate::tests::scene::{PROGRAM, Scene, profile, program, user};
use crate::{Halt, PurchaseId, ReferralStatus};

// Any program.

fn any_earn_on() -> impl Strategy<Value = EarnOn> {
    prop_oneof![
        Just(EarnOn::Referral),
        Just(EarnOn::FirstPurchase { used_by: FirstPurchaseUse::AnyPurchase }),
        Just(EarnOn::FirstPurchase { used_by: FirstPurchaseUse::QualifyingPurchase }),
        Just(EarnOn::EveryPurchase),
    ]
}

fn any_code_policy() -> impl Strategy<Value = InvalidCodePolicy> {
    prop_oneof![Just(InvalidCodePolicy::Reject), Just(InvalidCodePolicy::RegisterUnreferred)]
}

/// Something that a level could be paid; the resulting rule depends on what earns.
#[derive(Clone, Copy, Debug)]
struct Wish {
    pay: u8,
    amount: i64,
    rate_bps: u32,
    cap_minor: Option<i64>,
}

fn any_wish() -> impl Strategy<Value = Option<Wish>> {
    let wish = (0..4_u8, 1..2_000_i64, 1..=2_500_u32, proptest::option::of(1..4_000_i64))
        .prop_map(|(pay, amount, rate_bps, cap_minor)| Wish { pay, amount, rate_bps, cap_minor });
    proptest::option::weighted(0.7, wish)
}

fn reward(level: u32, wish: Wish, earn_on: EarnOn) -> RewardRule {
    let tiers = || {
        Pay::Tiers(vec![
            tier("Reed", 0, 10, 0),
            tier("Brook", 2, 15, 100),
            tier("River", 4, 25, 500),
        ])
    };
    let by_referral = level == 1 && earn_on != EarnOn::EveryPurchase;
    let (kind, pay) = match wish.pay {
        0 if by_referral => (RewardKind::Points, tiers()),
        1 if by_referral => (RewardKind::Points, Pay::Count),
        2 if earn_on != EarnOn::Referral => (RewardKind::Commission, Pay::RateBps(wish.rate_bps)),
        _ => (RewardKind::Bonus, Pay::FlatMinor(wish.amount)),
    };
    let cap_minor = wish.cap_minor.filter(|_| !matches!(pay, Pay::Tiers(_) | Pay::Count));
    RewardRule { cap_minor, ..rule(&format!("level-{level}"), level, kind, pay) }
}

fn any_hold_policies() -> impl Strategy<Value = (bool, bool)> {
    (proptest::bool::weighted(0.3), any::<bool>())
}

prop_compose! {
    pub fn any_rules()(
        earn_on in any_earn_on(),
        any_time in any::<bool>(),
        unknown_code in any_code_policy(),
        exhausted_code in any_code_policy(),
        max_uses_per_code in proptest::option::of(1..5_u32),
        max_direct_referrals in proptest::option::of(1..5_u32),
        minimum in prop_oneof![Just(0), Just(1_000_i64)],
        any_currency in any::<bool>(),
        credit_purchases in any::<bool>(),
        (require_confirmed_email, make_up_held_purchases) in any_hold_policies(),
        wishes in proptest::collection::vec(any_wish(), 4),
    ) -> ProgramRules {
        let mut rewards: Vec<_> = (0_u32..)
            .zip(wishes)
            .filter_map(|(level, wish)| Some(reward(level, wish?, earn_on)))
            .collect();
        if rewards.is_empty() {
            rewards.push(rule("bonus", 1, RewardKind::Bonus, Pay::FlatMinor(7)));
        }
        let by_purchase = earn_on != EarnOn::Referral;
        let minimum_purchase_minor = if by_purchase { minimum } else { 0 };
        let shares = rewards.iter().any(|rule| matches!(rule.pay, Pay::RateBps(_)));
        let credit_purchases = credit_purchases && by_purchase;
        let needs_currency =
            shares || credit_purchases || minimum_purchase_minor > 0 || !any_currency;
        ProgramRules {
            code: CodeFormat::default(),
            attach: if any_time { AttachPolicy::AnyTime } else { AttachPolicy::RegistrationOnly },
            unknown_code,
            exhausted_code,
            earn_on,
            minimum_purchase_minor,
            purchase_currency_code: (by_purchase && needs_currency).then(|| "USD".into()),
            max_uses_per_code,
            max_direct_referrals,
            rewards,
            credit_purchases,
            require_confirmed_email,
            make_up_held_purchases,
            ..first_purchase_bonus()
        }
    }
}

// Any history.

/// The owner of the code that is given. Users are numbered, modulo their number.
#[derive(Clone, Debug)]
pub enum CodeOf {
    Nobody,
    Person(usize),
    Nonsense,
}

#[derive(Clone, Debug)]
pub enum Action {
    SignUp(CodeOf),
    SignUpElsewhere,
    Enroll(usize, CodeOf),
    Attach { referee: usize, referrer: usize, by_code: bool },
    Buy { buyer: usize, amount: i64, currency: &'static str, seconds_ago: Option<i64> },
    DeliverAgain,
    Deactivate(usize),
    Reactivate(usize),
    Erase(usize, bool),
    Confirm(usize),
    Release(usize),
    Reject(usize),
    MakeUp(u32),
    Publish { first: bool },
}

fn any_code() -> impl Strategy<Value = CodeOf> {
    prop_oneof![
        1 => Just(CodeOf::Nobody),
        10 => any::<usize>().prop_map(CodeOf::Person),
        1 => Just(CodeOf::Nonsense),
    ]
}

fn any_action() -> impl Strategy<Value = Action> {
    let amount = prop_oneof![Just(1_i64), Just(999), Just(1_000), 1_001..5_000_i64];
    let currency = prop_oneof![9 => Just("USD"), 1 => Just("EUR")];
    let seconds_ago = proptest::option::weighted(0.3, 0..400_i64);
    let person = any::<usize>;
    prop_oneof![
        10 => any_code().prop_map(Action::SignUp),
        1 => Just(Action::SignUpElsewhere),
        1 => (person(), any_code()).prop_map(|(who, code)| Action::Enroll(who, code)),
        6 => (person(), person(), any::<bool>())
            .prop_map(|(referee, referrer, by_code)| Action::Attach { referee, referrer, by_code }),
        20 => (person(), amount, currency, seconds_ago).prop_map(
            |(buyer, amount, currency, seconds_ago)| {
                Action::Buy { buyer, amount, currency, seconds_ago }
            }
        ),
        1 => Just(Action::DeliverAgain),
        2 => person().prop_map(Action::Deactivate),
        4 => person().prop_map(Action::Reactivate),
        1 => (person(), any::<bool>()).prop_map(|(who, forfeits)| Action::Erase(who, forfeits)),
        4 => person().prop_map(Action::Confirm),
        2 => person().prop_map(Action::Release),
        2 => person().prop_map(Action::Reject),
        6 => any::<u32>().prop_map(Action::MakeUp),
        1 => any::<bool>().prop_map(|first| Action::Publish { first }),
    ]
}

pub fn any_actions(most: usize) -> impl Strategy<Value = Vec<Action>> {
    proptest::collection::vec(any_action(), 1..=most)
}

/// Two versions of a program with a history under both.
#[derive(Debug)]
pub struct History {
    pub scene: Scene,
    versions: [ProgramRules; 2],
    pub people: Vec<String>,
    last_purchase: Option<RecordPurchase>,
    purchases: u32,
}

impl History {
    pub fn of(versions: [ProgramRules; 2], actions: &[Action]) -> Self {
        Self::read(Reading::Warm, versions, actions)
    }

    pub fn read(reading: Reading, versions: [ProgramRules; 2], actions: &[Action]) -> Self {
        let scene = Scene::read(reading, versions[0].clone());
        let mut history =
            Self { scene, versions, people: Vec::new(), last_purchase: None, purchases: 0 };
        for action in actions {
            let result = history.act(action);
            let is_possible = match result {
                Ok(()) | Err(Halt::Refused(_)) => true,
                Err(Halt::AlreadyRecorded(_)) => matches!(action, Action::DeliverAgain),
                Err(Halt::Missing | Halt::Behind(_) | Halt::Broken(_)) => false,
            };
            assert!(is_possible, "{action:?} came to {result:?}");
        }
        history
    }

    pub fn memory(&self) -> &Memory {
        &self.scene.memory
    }

    fn person(&self, number: usize) -> String {
        let count = self.people.len().max(1);
        self.people.get(number % count).cloned().unwrap_or_else(|| "nobody".into())
    }

    /// A user for whom the predicate is true, if there is any.
    fn someone(&self, number: usize, is_true: impl Fn(&str) -> bool) -> String {
        let of: Vec<_> = self.people.iter().filter(|name| is_true(name)).collect();
        of.get(number % of.len().max(1)).map_or_else(|| self.person(number), |&name| name.clone())
    }

    fn is_held(&self, name: &str) -> bool {
        self.scene.status(name) == Some(ReferralStatus::Held)
    }

    fn code(&self, of: &CodeOf) -> Option<String> {
        match of {
            CodeOf::Nobody => None,
            CodeOf::Nonsense => Some("nonsense".into()),
            CodeOf::Person(number) => {
                let person = self.scene.participant(&self.person(*number));
                Some(person.code().to_lowercase())
            }
        }
    }

    pub fn register(&mut self, program_id: Option<&str>, code: Option<&str>) -> Result<(), Halt> {
        let name = format!("person-{}", self.people.len());
        self.scene.register(profile(&name), program_id, code)?;
        self.people.push(name);
        Ok(())
    }

    /// How many purchases were recorded or refused: `order-1`, `order-2`, ...
    pub fn purchases(&self) -> u32 {
        self.purchases
    }

    fn act(&mut self, action: &Action) -> Result<(), Halt> {
        match action {
            Action::SignUp(code) => {
                let code = self.code(code);
                self.register(Some(PROGRAM), code.as_deref())
            }
            Action::SignUpElsewhere => self.register(None, None),
            Action::Enroll(who, code) => {
                let code = self.code(code);
                let who = self.someone(*who, |name| !self.scene.participant(name).exists());
                self.scene.enroll(&who, PROGRAM, code.as_deref())
            }
            Action::Attach { referee, referrer, by_code } => {
                let (referee, referrer) = (self.person(*referee), self.person(*referrer));
                if *by_code {
                    let code = self.scene.participant(&referrer).code().to_owned();
                    self.scene.attach_by_code(&referee, &code)
                } else {
                    self.scene.attach(&referee, &referrer)
                }
            }
            Action::Buy { buyer, amount, currency, seconds_ago } => {
                self.purchases += 1;
                let purchase = RecordPurchase {
                    purchase_id: PurchaseId::parse(&format!("order-{}", self.purchases)).unwrap(),
                    buyer_user_id: user(&self.person(*buyer)),
                    amount_minor: *amount,
                    currency_code: (*currency).into(),
                    purchase_time: seconds_ago.map(|ago| self.memory().now().plus_seconds(-ago)),
                    program_ids: None,
                    fingerprint_key: None,
                };
                let result = self.scene.tell(&Command::RecordPurchase(purchase.clone()));
                if result.is_ok() {
                    self.last_purchase = Some(purchase);
                }
                result
            }
            Action::DeliverAgain => match self.last_purchase.clone() {
                Some(purchase) => {
                    let again = self.scene.tell(&Command::RecordPurchase(purchase));
                    assert!(matches!(again, Err(Halt::AlreadyRecorded(_))), "{again:?}");
                    again
                }
                None => Ok(()),
            },
            Action::Deactivate(who) => {
                let user_id = user(&self.person(*who));
                self.scene.tell(&Command::DeactivateUser { user_id })
            }
            Action::Reactivate(who) => {
                let who = self.someone(*who, |name| !self.scene.participant(name).is_active());
                let user_id = user(&who);
                self.scene.tell(&Command::ReactivateUser { user_id })
            }
            Action::Erase(who, forfeits) => self.scene.erase(&self.person(*who), *forfeits),
            Action::Confirm(who) => {
                let who = self.someone(*who, |name| self.is_held(name));
                self.scene.confirm(&who)
            }
            Action::Release(who) => {
                let is_rejected =
                    |name: &str| self.scene.status(name) == Some(ReferralStatus::Rejected);
                let who = self.someone(*who, is_rejected);
                self.scene.release(&who)
            }
            Action::Reject(who) => {
                let who = self.someone(*who, |name| self.is_held(name));
                self.scene.reject(&who)
            }
            Action::MakeUp(number) => {
                let number = number % self.purchases.max(1) + 1;
                let purchase_id = PurchaseId::parse(&format!("order-{number}")).unwrap();
                let program_id = program(PROGRAM);
                self.scene.tell(&Command::MakeUpPurchase { purchase_id, program_id })
            }
            Action::Publish { first } => {
                self.scene.publish(PROGRAM, self.versions[usize::from(!first)].clone())
            }
        }
    }
}
