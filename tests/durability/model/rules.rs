//! The rules of a program in the model, in plain numbers. Unit and currency are always USD.

/// What earns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EarnsOn {
    Referral,
    FirstPurchase,
    EveryPurchase,
}

/// What the earner of a level gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pays {
    Flat(i64),
    /// Basis points of the purchase.
    Rate(i64),
    /// One per referral.
    Count,
    /// From how many referrals, rate, bonus.
    Tiers(Vec<(usize, i64, i64)>),
}

/// What one level pays, and at most how much to one earner.
#[derive(Clone, Debug)]
pub struct Level {
    pub level: usize,
    pub pays: Pays,
    pub cap: Option<i64>,
}

/// How many referrals one referrer can have, and what it is called.
#[derive(Clone, Copy, Debug)]
pub enum Limit {
    None,
    UsesPerCode(usize),
    DirectReferrals(usize),
}

/// What follows if a referee has the mailbox of another user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SameMailbox {
    Unchecked,
    Flag,
    Hold,
    Reject,
}

/// A moment, in microseconds since 1970.
pub type Moment = i64;

/// Time zones without summer time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Zone {
    Utc,
    Kolkata,
    Phoenix,
}

impl Zone {
    pub const ALL: [Self; 3] = [Self::Utc, Self::Kolkata, Self::Phoenix];

    pub fn name(self) -> &'static str {
        match self {
            Self::Utc => "UTC",
            Self::Kolkata => "Asia/Kolkata",
            Self::Phoenix => "America/Phoenix",
        }
    }

    pub fn ahead_minutes(self) -> i64 {
        match self {
            Self::Utc => 0,
            Self::Kolkata => 330,
            Self::Phoenix => -420,
        }
    }
}

/// After how many months rewards expire, and whose months these are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expiry {
    pub months: u32,
    pub zone: Zone,
}

/// One version of a program.
#[derive(Clone, Debug)]
pub struct Rules {
    pub earns_on: EarnsOn,
    /// Whether any purchase uses up the first, or only one that reaches the minimum.
    pub any_uses_first: bool,
    pub minimum: i64,
    pub attach_any_time: bool,
    pub reject_unknown: bool,
    pub reject_exhausted: bool,
    pub limit: Limit,
    pub levels: Vec<Level>,
    pub credit_purchases: bool,
    pub reverse_below_minimum: bool,
    pub same_mailbox: SameMailbox,
    /// Rewards are pending for a day.
    pub hold: bool,
    /// Not with tiers.
    pub expiry: Option<Expiry>,
    /// What is not earned while a referral is held can be made up for.
    pub make_up: bool,
    /// Not with credits for purchases.
    pub pays_out: bool,
}

impl Rules {
    /// Whether this part of the price that went back leaves a purchase that earns.
    pub fn qualifies(&self, paid: i64, back: i64) -> bool {
        let rest = paid - back;
        rest > 0 && (!self.reverse_below_minimum || rest >= self.minimum)
    }

    pub fn cap(&self, level: usize) -> Option<i64> {
        self.levels.iter().find(|of| of.level == level).and_then(|of| of.cap)
    }

    pub fn tiers(&self) -> Option<&[(usize, i64, i64)]> {
        self.levels.iter().find_map(|of| match &of.pays {
            Pays::Tiers(tiers) => Some(tiers.as_slice()),
            _ => None,
        })
    }
}

/// `part * whole / of`, half-up.
pub fn share(whole: i64, part: i64, of: i64) -> i64 {
    let product = i128::from(whole) * i128::from(part);
    i64::try_from((2 * product + i128::from(of)).div_euclid(2 * i128::from(of))).unwrap()
}

/// The tier of so many referrals, by number.
pub fn tier(tiers: &[(usize, i64, i64)], referrals: usize) -> usize {
    tiers.iter().rposition(|(from, _, _)| referrals >= *from).unwrap()
}

/// Points = referrals x rate of the current tier + bonus of the current tier.
pub fn points(tiers: &[(usize, i64, i64)], referrals: usize) -> i64 {
    let (_, rate, bonus) = tiers[tier(tiers, referrals)];
    i64::try_from(referrals).unwrap() * rate + bonus
}

#[test]
fn points_are_those_of_the_published_examples() {
    let tiers = [(0, 10, 0), (10, 15, 100), (50, 25, 500)];
    let expected = [(9, 90), (10, 250), (11, 265), (49, 835), (50, 1750), (100, 3000)];
    for (referrals, total) in expected {
        assert_eq!(points(&tiers, referrals), total);
    }
}

#[test]
fn shares_are_rounded_half_up() {
    assert_eq!((share(100_130, 500, 10_000), share(100_130, 100, 10_000)), (5_007, 1_001));
    assert_eq!((share(1, 1, 2), share(1, 1, 3), share(10, 0, 7)), (1, 0, 0));
}
