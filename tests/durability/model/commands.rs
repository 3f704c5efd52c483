//! Random sequences of commands: their programs with rules drawn at random, and what happens in them.

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;

use super::passing::Jump;
use super::rules::{EarnsOn, Expiry, Level, Limit, Pays, Rules, SameMailbox, Zone};
use super::spend::Terms;
use super::told::{DISPUTES, FIRST_PAYMENT, Fact, PAYMENTS, REFUNDS, STANDS, TOTALS};
use super::world::{Decision, Dispute, User};

const USERS: User = 6;
const PROGRAMS: usize = 2;
/// Purchases that are recorded by calls.
const PURCHASES: usize = FIRST_PAYMENT;
const ITEMS: usize = 2;

/// When a purchase is said to have happened.
#[derive(Clone, Copy, Debug)]
pub enum When {
    /// Nothing is said.
    Unsaid,
    /// When a version was published, by number, modulo how many were.
    Publication(usize),
    LongAgo,
}

/// One call. Programs, users and so on are numbers; a part of a price is in sixths, none is the rest or the whole.
#[derive(Clone, Debug)]
pub enum Command {
    Join {
        program: usize,
        user: User,
        referrer: Option<User>,
    },
    Refer {
        program: usize,
        user: User,
        referrer: User,
    },
    Buy {
        id: usize,
        user: User,
        amount: i64,
        foreign: bool,
        when: When,
    },
    Refund {
        id: usize,
        refund: usize,
        sixths: Option<i64>,
    },
    CancelRefund {
        id: usize,
        refund: usize,
    },
    Dispute {
        id: usize,
        dispute: usize,
        sixths: Option<i64>,
    },
    Close {
        id: usize,
        dispute: usize,
        outcome: Dispute,
    },
    SetActive {
        user: User,
        active: bool,
    },
    Publish {
        program: usize,
        rules: Rules,
    },
    Decide {
        program: usize,
        user: User,
        decision: Decision,
    },
    Hold {
        id: usize,
        program: usize,
        level: usize,
        hold: bool,
    },
    Adjust {
        program: usize,
        user: User,
        id: usize,
        amount: i64,
    },
    Offer {
        program: usize,
        item: usize,
        terms: Terms,
    },
    Redeem {
        program: usize,
        user: User,
        id: usize,
        item: usize,
    },
    Fulfil {
        program: usize,
        id: usize,
    },
    CallOff {
        program: usize,
        id: usize,
    },
    SetMethod {
        user: User,
        set: bool,
    },
    PayOut {
        program: usize,
        id: usize,
        minimum: i64,
    },
    /// Of a payout, or of somebody's line.
    Confirm {
        program: usize,
        id: usize,
        line: Option<User>,
        has_reference: bool,
    },
    Fail {
        program: usize,
        id: usize,
        line: Option<User>,
        has_reason: bool,
    },
    BringBack {
        program: usize,
        id: usize,
        user: User,
        has_reason: bool,
    },
    /// A provider tells something of a payment, once or several times.
    Tell {
        payment: usize,
        fact: Fact,
        times: usize,
    },
    /// Calls that arrive at the same time at both servers.
    AtOnce(Vec<Command>),
}

/// The programs of a sequence, and what happens in it.
#[derive(Clone, Debug)]
pub struct Sequence {
    pub programs: Vec<Rules>,
    /// By whom, and how much, where a provider tells of it.
    pub payments: Vec<(User, i64)>,
    /// What happens before time passes, and between any two times that it does, and afterwards.
    pub parts: Vec<Vec<Command>>,
    pub jumps: Vec<Jump>,
}

impl Sequence {
    /// The same without that time passes for this time.
    pub fn without_jump(&self, index: usize) -> Self {
        let mut shorter = self.clone();
        shorter.jumps.remove(index);
        let later = shorter.parts.remove(index + 1);
        shorter.parts[index].extend(later);
        shorter
    }
}

/// Sequences in which time passes so. They begin with sign-ups and purchases, so that there is something to give back.
pub fn sequences(jumps: Vec<Jump>) -> impl Strategy<Value = Sequence> {
    let joins = vec(option::weighted(0.9, 0..USERS), 4..=USERS);
    let enrolments = vec(option::weighted(0.6, 0..USERS), USERS);
    let purchases = vec((0..USERS, amounts()), 2..7);
    let payments = vec((0..USERS, amounts()), PAYMENTS);
    let methods = vec(proptest::bool::weighted(0.8), USERS);
    let offers = vec((0..PROGRAMS, 0..ITEMS, terms()), 0..6);
    let count = jumps.len() + 1;
    let parts = vec(vec(commands(), 0..66 / count), count);
    let rest = (payments, methods, offers, parts);
    (vec(rules(), PROGRAMS), joins, enrolments, purchases, rest).prop_map(
        move |(programs, joins, enrolments, purchases, (payments, methods, offers, mut parts))| {
            let joins = joins.into_iter().enumerate().map(|(user, above)| {
                let referrer = above.filter(|_| user > 0).map(|above| above % user);
                Command::Join { program: 0, user, referrer }
            });
            let enrolments = enrolments.into_iter().enumerate().filter_map(|(user, above)| {
                let referrer = Some(above? % user.max(1)).filter(|_| user > 0);
                Some(Command::Join { program: 1, user, referrer })
            });
            let purchases = purchases.into_iter().enumerate().map(|(id, (user, amount))| {
                Command::Buy { id, user, amount, foreign: false, when: When::Unsaid }
            });
            let pays_out = programs.iter().any(|rules| rules.pays_out);
            let methods = methods.into_iter().enumerate().filter(|(_, set)| pays_out && *set);
            let methods = methods.map(|(user, set)| Command::SetMethod { user, set });
            let offers = offers.into_iter();
            let offers =
                offers.map(|(program, item, terms)| Command::Offer { program, item, terms });
            let first = joins.chain(enrolments).chain(methods).chain(offers).chain(purchases);
            let first = first.chain(std::mem::take(&mut parts[0])).collect();
            parts[0] = first;
            Sequence { programs, payments, parts, jumps: jumps.clone() }
        },
    )
}

/// What can happen, and how often.
fn commands() -> impl Strategy<Value = Command> {
    let (program, user, part) = (0..PROGRAMS, 0..USERS, 0..3_usize);
    let id = 0..PURCHASES + PAYMENTS;
    let adjustments = select(vec![-500, -7, 70, 500, 1_000, 100_001, -100_001]);
    let decisions = select(vec![
        Decision::Release,
        Decision::Release,
        Decision::Reject,
        Decision::RejectAndTakeBack,
        Decision::RejectAndTakeBack,
    ]);
    prop_oneof![
        22 => calls(),
        1 => (program.clone(), rules())
            .prop_map(|(program, rules)| Command::Publish { program, rules }),
        2 => (program.clone(), 4..USERS, decisions)
            .prop_map(|(program, user, decision)| Command::Decide { program, user, decision }),
        2 => (id, program.clone(), 0..3_usize, any::<bool>())
            .prop_map(|(id, program, level, hold)| Command::Hold { id, program, level, hold }),
        2 => (program.clone(), user.clone(), part, adjustments)
            .prop_map(|(program, user, id, amount)| Command::Adjust { program, user, id, amount }),
        1 => (program, 0..ITEMS, terms())
            .prop_map(|(program, item, terms)| Command::Offer { program, item, terms }),
        1 => (user, any::<bool>()).prop_map(|(user, set)| Command::SetMethod { user, set }),
        8 => payouts(),
        8 => (0..PAYMENTS, facts(), 1..3_usize)
            .prop_map(|(payment, fact, times)| Command::Tell { payment, fact, times }),
        2 => vec(calls(), 2..=3).prop_map(Command::AtOnce),
    ]
}

fn terms() -> impl Strategy<Value = Terms> {
    (
        select(vec![1, 1, 7, 20, 50, 300]),
        option::weighted(0.3, 0..3_usize),
        option::weighted(0.3, 1..3_usize),
        option::weighted(0.1, 0..4_usize),
        proptest::bool::weighted(0.9),
    )
        .prop_map(|(cost, stock, per_person, from_tier, is_on_sale)| Terms {
            cost,
            stock,
            per_person,
            from_tier,
            is_on_sale,
        })
}

/// Payouts, and what becomes of them.
fn payouts() -> impl Strategy<Value = Command> {
    let (program, user, id) = (0..PROGRAMS, 0..USERS, 0..2_usize);
    let line = option::weighted(0.8, user.clone());
    let flag = proptest::bool::weighted(0.8);
    prop_oneof![
        3 => (program.clone(), id.clone(), select(vec![1, 1, 50]))
            .prop_map(|(program, id, minimum)| Command::PayOut { program, id, minimum }),
        3 => (program.clone(), id.clone(), line.clone(), flag).prop_map(
            |(program, id, line, has_reference)| {
                Command::Confirm { program, id, line, has_reference }
            }
        ),
        2 => (program.clone(), id.clone(), line, flag).prop_map(
            |(program, id, line, has_reason)| Command::Fail { program, id, line, has_reason }
        ),
        2 => (program, id, user, flag).prop_map(
            |(program, id, user, has_reason)| Command::BringBack { program, id, user, has_reason }
        ),
    ]
}

fn facts() -> impl Strategy<Value = Fact> {
    prop_oneof![
        6 => Just(Fact::Session),
        4 => Just(Fact::Intent),
        3 => (0..REFUNDS).prop_map(Fact::Refund),
        2 => (0..REFUNDS).prop_map(Fact::RefundFails),
        3 => (0..TOTALS.len()).prop_map(Fact::Total),
        4 => (0..DISPUTES, 0..STANDS.len())
            .prop_map(|(dispute, stands)| Fact::Dispute(dispute, stands)),
    ]
}

/// Calls that can arrive together with others.
fn calls() -> impl Strategy<Value = Command> {
    let (program, user, id, part) = (0..PROGRAMS, 0..USERS, 0..PURCHASES, 0..3_usize);
    let sixths = option::weighted(0.7, select(vec![1, 2, 2, 3, 3, 4, 5, 6, 7]));
    let outcomes = select(vec![Dispute::Won, Dispute::Withdrawn, Dispute::Lost]);
    let foreign = proptest::bool::weighted(0.05);
    prop_oneof![
        3 => (program.clone(), user.clone(), option::weighted(0.9, user.clone()))
            .prop_map(|(program, user, referrer)| Command::Join { program, user, referrer }),
        1 => (program.clone(), user.clone(), user.clone())
            .prop_map(|(program, user, referrer)| Command::Refer { program, user, referrer }),
        6 => (id.clone(), user.clone(), amounts(), foreign, whens()).prop_map(
            |(id, user, amount, foreign, when)| Command::Buy { id, user, amount, foreign, when }
        ),
        6 => (id.clone(), part.clone(), sixths.clone())
            .prop_map(|(id, refund, sixths)| Command::Refund { id, refund, sixths }),
        3 => (id.clone(), part.clone())
            .prop_map(|(id, refund)| Command::CancelRefund { id, refund }),
        4 => (id.clone(), part.clone(), sixths)
            .prop_map(|(id, dispute, sixths)| Command::Dispute { id, dispute, sixths }),
        4 => (id, part, outcomes)
            .prop_map(|(id, dispute, outcome)| Command::Close { id, dispute, outcome }),
        1 => (user.clone(), any::<bool>())
            .prop_map(|(user, active)| Command::SetActive { user, active }),
        6 => (program.clone(), user, 0..6_usize, 0..ITEMS).prop_map(
            |(program, user, id, item)| Command::Redeem { program, user, id, item }
        ),
        2 => (program.clone(), 0..6_usize)
            .prop_map(|(program, id)| Command::Fulfil { program, id }),
        4 => (program, 0..6_usize).prop_map(|(program, id)| Command::CallOff { program, id }),
    ]
}

fn whens() -> impl Strategy<Value = When> {
    prop_oneof![
        6 => Just(When::Unsaid),
        2 => (0..6_usize).prop_map(When::Publication),
        1 => Just(When::LongAgo),
    ]
}

fn amounts() -> impl Strategy<Value = i64> {
    prop_oneof![select(vec![1, 7, 99, 100, 999, 1_000, 1_001, 100_130]), 1..5_000_i64]
}

fn rules() -> impl Strategy<Value = Rules> {
    let earns_on = select(vec![EarnsOn::EveryPurchase, EarnsOn::FirstPurchase, EarnsOn::Referral]);
    let limits = prop_oneof![
        2 => Just(Limit::None),
        1 => (1..4_usize).prop_map(Limit::UsesPerCode),
        1 => (1..4_usize).prop_map(Limit::DirectReferrals),
    ];
    let mailboxes = select(vec![
        SameMailbox::Unchecked,
        SameMailbox::Flag,
        SameMailbox::Hold,
        SameMailbox::Reject,
    ]);
    let policies = (any::<bool>(), any::<bool>(), any::<bool>(), any::<bool>());
    let levels = (
        option::weighted(0.4, pays()),
        pays(),
        option::weighted(0.4, pays()),
        [caps(), caps(), caps()],
    );
    let expiries = (select(vec![1, 1, 3, 12]), select(Zone::ALL.to_vec()));
    let expiry = expiries.prop_map(|(months, zone)| Expiry { months, zone });
    let expiry = option::weighted(0.6, expiry);
    let money = (
        select(vec![0_i64, 0, 100, 1_000]),
        any::<bool>(),
        proptest::bool::weighted(0.8),
        proptest::bool::weighted(0.4),
        any::<bool>(),
        expiry,
        any::<bool>(),
    );
    (earns_on, limits, mailboxes, policies, levels, money).prop_map(
        |(earns_on, limit, same_mailbox, policies, levels, money)| {
            let (any_uses_first, attach_any_time, reject_unknown, reject_exhausted) = policies;
            let (minimum, credits, reverse_below_minimum, hold, make_up, expiry, pays_out) = money;
            let (referee, referrer, above, caps) = levels;
            let levels = [referee, Some(referrer), above].into_iter().zip(caps).enumerate();
            let levels = levels.filter_map(|(level, (pays, cap))| {
                Some(possible(earns_on, Level { level, pays: pays?, cap }))
            });
            let levels: Vec<_> = levels.collect();
            let is_by_tier = levels.iter().any(|of| matches!(of.pays, Pays::Tiers(_)));
            Rules {
                earns_on,
                any_uses_first,
                minimum: if earns_on == EarnsOn::Referral { 0 } else { minimum },
                attach_any_time,
                reject_unknown,
                reject_exhausted,
                limit,
                levels,
                credit_purchases: credits && !pays_out && earns_on != EarnsOn::Referral,
                reverse_below_minimum,
                same_mailbox,
                hold,
                expiry: expiry.filter(|_| !is_by_tier),
                make_up,
                pays_out,
            }
        },
    )
}

fn caps() -> impl Strategy<Value = Option<i64>> {
    option::weighted(0.5, select(vec![1, 50, 500, 1_000, 5_000]))
}

fn pays() -> impl Strategy<Value = Pays> {
    prop_oneof![
        2 => select(vec![1, 10, 1_000]).prop_map(Pays::Flat),
        4 => select(vec![1, 33, 100, 500, 500, 3_333]).prop_map(Pays::Rate),
        1 => Just(Pays::Count),
        1 => Just(Pays::Tiers(vec![(0, 10, 0), (2, 15, 100), (4, 25, 500)])),
        1 => Just(Pays::Tiers(vec![(0, 1, 0), (1, 5, 7), (3, 5, 50)])),
    ]
}

/// What a program can pay at a level, closest to this.
fn possible(earns_on: EarnsOn, level: Level) -> Level {
    let per_referral = level.level == 1 && earns_on != EarnsOn::EveryPurchase;
    let pays = match level.pays {
        Pays::Count | Pays::Tiers(_) if !per_referral => Pays::Flat(20),
        Pays::Rate(rate) if earns_on == EarnsOn::Referral => Pays::Flat(rate),
        pays => pays,
    };
    let cap = level.cap.filter(|_| !matches!(pays, Pays::Tiers(_) | Pays::Count));
    Level { level: level.level, pays, cap }
}
