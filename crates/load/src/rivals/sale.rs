//! One purchase in terms of the domain, the same for every rival.

use domain::ledger::{Bucket, Buckets, EntryKind, Posting};
use domain::money::share_bps;
use domain::{
    ParticipantId, PurchaseEvent, PurchaseId, PurchaseRecorded, RewardGranted, Timestamp,
};

use super::{Population, in_words};

/// The smallest purchase from which every earner still gets something.
pub const MIN_AMOUNT_MINOR: i64 = 100;

/// The currency of purchases and rewards.
const CURRENCY: &str = "INR";
/// The version of the program's rules.
const PROGRAM_VERSION: u32 = 1;
/// The rules for the buyer's referrer and the referrer's referrer, with their rates in basis points.
const RULES: [(&str, u32); 2] = [("direct-commission", 500), ("upline-commission", 100)];

/// When purchase 0 happened. The others follow at intervals of one microsecond, so that the same number gives
/// the same bytes with every rival.
const BEGIN_US: i64 = 1_760_000_000_000_000;

/// The name of the purchase with that number.
#[must_use]
pub fn purchase_id(number: u64) -> String {
    format!("order-{number:09}")
}

/// What a participant earns from a purchase.
#[derive(Clone, Debug)]
pub(super) struct Earning {
    pub(super) earner: ParticipantId,
    /// How far up the line: 1 the referrer, 2 the referrer's referrer.
    pub(super) level: u32,
    pub(super) amount_minor: i64,
    purchase_id: PurchaseId,
    purchase: PurchaseRecorded,
}

impl Earning {
    fn new(
        level: u32,
        earner: ParticipantId,
        purchase_id: PurchaseId,
        purchase: PurchaseRecorded,
    ) -> Result<Self, String> {
        let amount_minor = share_minor(level, purchase.amount_minor);
        if amount_minor == 0 {
            return Err(format!("level {level} gets nothing of {}", purchase.amount_minor));
        }
        Ok(Self { earner, level, amount_minor, purchase_id, purchase })
    }

    /// The reward as stored in the engine's log, with the earner's totals after it.
    pub(super) fn granted(
        self,
        level_total_minor: i64,
        level_count: u32,
        total_minor: i64,
        balance_minor: i64,
    ) -> RewardGranted {
        let (rule, rate_bps) = rule(self.level);
        RewardGranted {
            release_time_us: None,
            program_version: PROGRAM_VERSION,
            rule: rule.into(),
            level: self.level,
            source_user_id: self.purchase.buyer_user_id,
            purchase_id: Some(self.purchase_id),
            basis_minor: Some(self.purchase.amount_minor),
            rate_bps: Some(rate_bps),
            computed_minor: None,
            cap_remaining_minor: None,
            level_total_minor: (level_total_minor != total_minor).then_some(level_total_minor),
            level_count,
            tier_referrals: None,
            posting: Posting {
                kind: EntryKind::Commission,
                amount: self.amount_minor,
                from: None,
                to: Bucket::Available,
                expire_time_us: None,
                unit: self.purchase.currency_code,
                after: Buckets {
                    available: balance_minor,
                    earned: total_minor,
                    ..Buckets::default()
                },
            },
        }
    }
}

/// A purchase with its consequences.
pub(super) struct Sale {
    pub(super) purchase_id: PurchaseId,
    pub(super) recorded: PurchaseRecorded,
    pub(super) buyer: ParticipantId,
    /// The referrer, and the referrer's referrer.
    pub(super) earnings: [Earning; 2],
}

impl Sale {
    /// Purchase `number`, by `buyer`.
    pub(super) fn new(
        population: &Population,
        number: u64,
        buyer: usize,
        amount_minor: i64,
    ) -> Result<Self, String> {
        if amount_minor < MIN_AMOUNT_MINOR {
            return Err(format!("a purchase of {amount_minor} is too small to be shared"));
        }
        let line = population
            .line(buyer)
            .ok_or_else(|| format!("participant {buyer} has no line of two referrers"))?;
        let buyer = population.participant_id(line.buyer)?;
        let purchase_id = PurchaseId::parse(&purchase_id(number)).map_err(in_words)?;
        let recorded = PurchaseRecorded {
            buyer_user_id: buyer.user_id.clone(),
            amount_minor,
            currency_code: CURRENCY.into(),
            purchase_time_us: Timestamp(
                BEGIN_US.saturating_add(i64::try_from(number).map_err(in_words)?),
            ),
            program_ids: None,
        };
        let earning = |level, participant| {
            let earner = population.participant_id(participant)?;
            Earning::new(level, earner, purchase_id.clone(), recorded.clone())
        };
        let earnings = [earning(1, line.parent)?, earning(2, line.grandparent)?];
        Ok(Self { purchase_id, recorded, buyer, earnings })
    }

    /// The purchase as stored in the engine's log.
    pub(super) fn payload(&self) -> Result<String, String> {
        let event: PurchaseEvent = self.recorded.clone().into();
        serde_json::to_string(&event).map_err(in_words)
    }
}

/// The share of a purchase that the earner on a level gets.
pub(super) fn share_minor(level: u32, amount_minor: i64) -> i64 {
    share_bps(amount_minor, rule(level).1)
}

fn rule(level: u32) -> (&'static str, u32) {
    if level == 1 { RULES[0] } else { RULES[1] }
}
