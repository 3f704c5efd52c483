//! The ledger: what a participant owns in a program, and every way in which money moves.
//!
//! An event that moves money carries one [`Posting`]. Code that is only concerned with money reads postings
//! and never event types, so balances, entries, streams, leaderboards, audits and overviews need no change
//! when a new kind of event moves money.
//!
//! A posting is identified by the stream and the sequence of its event. Both are columns of the log, so the
//! posting does not repeat them.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::Timestamp;
use super::lots::{LotPart, RewardLots};
use super::rules::RewardKind;

/// Declares the buckets once. JSON omits zeros; binary encodings have no field names and hold every bucket.
macro_rules! buckets {
    ($($(#[doc = $doc:literal])+ $name:ident,)+) => {
        /// What a participant owns, and the sums that explain it, in minor units of the program's unit.
        ///
        /// `pending + available + reserved` is the balance. It always equals
        /// `earned + credited + adjusted - reversed - spent - paid - expired`.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        #[cfg_attr(test, derive(schemars::JsonSchema), schemars(with = "WithoutZeros"))]
        pub struct Buckets {
            $($(#[doc = $doc])+ pub $name: i64,)+
        }

        /// The form of [`Buckets`] in JSON.
        #[derive(Serialize, Deserialize)]
        #[cfg_attr(test, derive(schemars::JsonSchema))]
        #[serde(deny_unknown_fields)]
        struct WithoutZeros {
            $(
                $(#[doc = $doc])+
                #[serde(skip_serializing_if = "is_zero", default)]
                $name: i64,
            )+
        }

        impl Serialize for Buckets {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                if serializer.is_human_readable() {
                    WithoutZeros { $($name: self.$name,)+ }.serialize(serializer)
                } else {
                    [$(self.$name,)+].serialize(serializer)
                }
            }
        }

        impl<'de> Deserialize<'de> for Buckets {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                if deserializer.is_human_readable() {
                    let read = WithoutZeros::deserialize(deserializer)?;
                    Ok(Self { $($name: read.$name,)+ })
                } else {
                    let [$($name,)+] = Deserialize::deserialize(deserializer)?;
                    Ok(Self { $($name,)+ })
                }
            }
        }
    };
}

buckets! {
    /// Granted, and not available yet.
    pending,
    /// Available to be spent or paid out.
    available,
    /// In a payout that is not confirmed yet.
    reserved,
    /// All rewards that were ever granted.
    earned,
    /// Own purchases, where the program credits them.
    credited,
    /// Corrections by operators, which may be negative.
    adjusted,
    /// Rewards that were taken back.
    reversed,
    /// Spent in the reward store.
    spent,
    /// Paid out.
    paid,
    /// Lost because it was not used in time, or because its owner was erased.
    expired,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde asks for")]
fn is_zero(amount: &i64) -> bool {
    *amount == 0
}

/// A part of the balance.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Bucket {
    /// Granted, and not available yet.
    Pending,
    /// Available to be spent or paid out.
    #[default]
    Available,
    /// In a payout that is not confirmed yet.
    Reserved,
}

impl Bucket {
    /// All there are.
    pub const ALL: [Self; 3] = [Self::Pending, Self::Available, Self::Reserved];

    #[allow(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde asks for")]
    fn is_available(&self) -> bool {
        *self == Self::Available
    }
}

/// Why money moves. Every kind but [`EntryKind::Transfer`] changes the balance and one of the sums.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum EntryKind {
    /// A reward in points.
    Points,
    /// A reward in credit.
    Credit,
    /// A bonus.
    Bonus,
    /// A share of a purchase.
    Commission,
    /// A purchase that was added to the buyer's own balance, or (negative) deducted again.
    PurchaseCredit,
    /// A reward that is taken back (negative), or restored.
    Reversal,
    /// A redemption in the reward store (negative), or its refund.
    Redemption,
    /// Money that was paid out (negative), or was returned.
    Payout,
    /// A correction by an operator.
    Adjustment,
    /// Money that was lost (negative): it was not used in time, or was forfeited when its owner was erased.
    Expiry,
    /// A move from one part of the balance to another.
    Transfer,
}

impl EntryKind {
    /// All there are.
    pub const ALL: [Self; 11] = [
        Self::Points,
        Self::Credit,
        Self::Bonus,
        Self::Commission,
        Self::PurchaseCredit,
        Self::Reversal,
        Self::Redemption,
        Self::Payout,
        Self::Adjustment,
        Self::Expiry,
        Self::Transfer,
    ];

    /// The kind of reward, if this entry is a reward.
    #[must_use]
    pub fn reward_kind(self) -> Option<RewardKind> {
        match self {
            Self::Points => Some(RewardKind::Points),
            Self::Credit => Some(RewardKind::Credit),
            Self::Bonus => Some(RewardKind::Bonus),
            Self::Commission => Some(RewardKind::Commission),
            Self::PurchaseCredit
            | Self::Reversal
            | Self::Redemption
            | Self::Payout
            | Self::Adjustment
            | Self::Expiry
            | Self::Transfer => None,
        }
    }
}

impl From<RewardKind> for EntryKind {
    fn from(kind: RewardKind) -> Self {
        match kind {
            RewardKind::Points => Self::Points,
            RewardKind::Credit => Self::Credit,
            RewardKind::Bonus => Self::Bonus,
            RewardKind::Commission => Self::Commission,
        }
    }
}

/// One movement of money, as its event carries it. The entry's id is the event's stream and sequence.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Posting {
    /// Why the money moves, which determines the sum that changes.
    pub kind: EntryKind,
    /// The amount added to the balance, negative if it is deducted; for a transfer, the amount that moves
    /// within the balance. In minor units of `unit`.
    pub amount: i64,
    /// The part of the balance that a transfer takes from; absent for other kinds.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub from: Option<Bucket>,
    /// The part of the balance that changes; `available` if omitted.
    #[serde(skip_serializing_if = "Bucket::is_available", default)]
    pub to: Bucket,
    /// The lot of what is available that grows, or from which is taken first: when it expires, in microseconds since
    /// 1970. Absent if what is added does not expire, if the lots are taken from in their order, or if what is taken
    /// back never was in a lot.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub expire_time_us: Option<Timestamp>,
    /// The program's unit.
    pub unit: String,
    /// The buckets after the posting, without those that are zero.
    pub after: Buckets,
}

/// A sum would exceed the largest number that can be stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Overflow;

impl Buckets {
    /// What the participant still owns.
    #[must_use]
    pub fn balance(&self) -> i64 {
        // Every posting has checked that the sum fits.
        self.pending.saturating_add(self.available).saturating_add(self.reserved)
    }

    /// What the participant is owed: every part of the balance that is above zero.
    #[must_use]
    pub fn owed(&self) -> i64 {
        Bucket::ALL.iter().map(|bucket| self.part(*bucket).max(0)).fold(0, i64::saturating_add)
    }

    /// One part of the balance.
    #[must_use]
    pub fn part(&self, bucket: Bucket) -> i64 {
        match bucket {
            Bucket::Pending => self.pending,
            Bucket::Available => self.available,
            Bucket::Reserved => self.reserved,
        }
    }

    /// All rewards, without those that were taken back.
    #[must_use]
    pub fn net_earned(&self) -> i64 {
        self.earned.saturating_sub(self.reversed)
    }

    /// Whether the balance agrees with the sums.
    #[must_use]
    pub fn reconcile(&self) -> bool {
        let sum = |amounts: &[i64]| amounts.iter().map(|amount| i128::from(*amount)).sum::<i128>();
        sum(&[self.pending, self.available, self.reserved])
            == sum(&[self.earned, self.credited, self.adjusted])
                - sum(&[self.reversed, self.spent, self.paid, self.expired])
    }

    /// The posting that changes a part of the balance by `amount`, and the sum that `kind` names.
    ///
    /// # Errors
    /// [`Overflow`] if a sum does not fit.
    pub fn post(
        &self,
        kind: EntryKind,
        amount: i64,
        to: Bucket,
        unit: &str,
    ) -> Result<Posting, Overflow> {
        self.with_after(Posting {
            kind,
            amount,
            from: None,
            to,
            expire_time_us: None,
            unit: unit.into(),
            after: Self::default(),
        })
    }

    /// The posting that moves `amount` from one part of the balance to another.
    ///
    /// # Errors
    /// [`Overflow`] if a sum does not fit.
    pub fn transfer(
        &self,
        amount: i64,
        from: Bucket,
        to: Bucket,
        unit: &str,
    ) -> Result<Posting, Overflow> {
        self.with_after(Posting {
            kind: EntryKind::Transfer,
            amount,
            from: Some(from),
            to,
            expire_time_us: None,
            unit: unit.into(),
            after: Self::default(),
        })
    }

    /// The postings that change a reward, or anything else of a kind, by `change`, and of the whole what is pending by
    /// `pending_change`. What is taken comes from pending as far as less is to be pending, and what is given goes there
    /// as far as more is to be; the rest is available, which can become negative. At most one posting of the kind for
    /// each of the two parts, and one transfer; each names the lot that it concerns.
    ///
    /// # Errors
    /// [`Overflow`] if a sum does not fit.
    pub fn settle(
        &self,
        kind: EntryKind,
        change: i64,
        pending_change: i64,
        unit: &str,
        lots: RewardLots,
    ) -> Result<Vec<Posting>, Overflow> {
        let (low, high) = (change.min(0), change.max(0));
        let in_pending = pending_change.clamp(low, high);
        let mut postings = Vec::new();
        let mut buckets = *self;
        for (amount, bucket) in
            [(in_pending, Bucket::Pending), (change - in_pending, Bucket::Available)]
        {
            if amount != 0 {
                let posting = buckets.post(kind, amount, bucket, unit)?.in_lot_of(lots);
                buckets = posting.after;
                postings.push(posting);
            }
        }
        let to_move = pending_change - in_pending;
        let (from, to) = match to_move {
            0 => return Ok(postings),
            ..0 => (Bucket::Pending, Bucket::Available),
            1.. => (Bucket::Available, Bucket::Pending),
        };
        let amount = i64::try_from(to_move.unsigned_abs()).map_err(|_| Overflow)?;
        postings.push(buckets.transfer(amount, from, to, unit)?.in_lot_of(lots));
        Ok(postings)
    }

    /// A part of a posting, of this lot.
    ///
    /// # Errors
    /// [`Overflow`] if a sum does not fit.
    pub(crate) fn part_of(&self, posting: &Posting, part: LotPart) -> Result<Posting, Overflow> {
        let amount = part.amount_minor * posting.amount.signum();
        let part = Posting { amount, ..posting.clone() }.in_lot(part.expire_time);
        self.with_after(part)
    }

    fn with_after(&self, posting: Posting) -> Result<Posting, Overflow> {
        Ok(Posting { after: self.after(&posting)?, ..posting })
    }

    /// The buckets after a posting, computed from those before it.
    ///
    /// # Errors
    /// [`Overflow`] if a sum does not fit.
    pub fn after(&self, posting: &Posting) -> Result<Self, Overflow> {
        let Posting { kind, amount, from, to, .. } = *posting;
        let mut after = *self;
        if let Some(from) = from {
            let bucket = after.bucket(from);
            *bucket = bucket.checked_sub(amount).ok_or(Overflow)?;
        }
        let bucket = after.bucket(to);
        *bucket = bucket.checked_add(amount).ok_or(Overflow)?;
        match kind {
            EntryKind::Points | EntryKind::Credit | EntryKind::Bonus | EntryKind::Commission => {
                after.earned = after.earned.checked_add(amount).ok_or(Overflow)?;
            }
            EntryKind::PurchaseCredit => {
                after.credited = after.credited.checked_add(amount).ok_or(Overflow)?;
            }
            EntryKind::Adjustment => {
                after.adjusted = after.adjusted.checked_add(amount).ok_or(Overflow)?;
            }
            EntryKind::Reversal => {
                after.reversed = after.reversed.checked_sub(amount).ok_or(Overflow)?;
            }
            EntryKind::Redemption => {
                after.spent = after.spent.checked_sub(amount).ok_or(Overflow)?;
            }
            EntryKind::Payout => after.paid = after.paid.checked_sub(amount).ok_or(Overflow)?,
            EntryKind::Expiry => {
                after.expired = after.expired.checked_sub(amount).ok_or(Overflow)?;
            }
            EntryKind::Transfer => {}
        }
        let balance = after
            .pending
            .checked_add(after.available)
            .and_then(|sum| sum.checked_add(after.reserved));
        balance.map(|_| after).ok_or(Overflow)
    }

    fn bucket(&mut self, bucket: Bucket) -> &mut i64 {
        match bucket {
            Bucket::Pending => &mut self.pending,
            Bucket::Available => &mut self.available,
            Bucket::Reserved => &mut self.reserved,
        }
    }
}

impl Posting {
    /// Whether anything moves: a transfer of 0 only records why something waits.
    #[must_use]
    pub fn moves_money(&self) -> bool {
        self.from.is_none() || self.amount != 0
    }

    /// The change of the balance.
    #[must_use]
    pub fn balance_change(&self) -> i64 {
        if self.from.is_some() { 0 } else { self.amount }
    }

    /// The change of what is pending.
    #[must_use]
    pub fn pending_change(&self) -> i64 {
        self.change_of(Bucket::Pending)
    }

    /// The change of what is available.
    #[must_use]
    pub fn available_change(&self) -> i64 {
        self.change_of(Bucket::Available)
    }

    fn change_of(&self, bucket: Bucket) -> i64 {
        let of = |part, amount| if part == Some(bucket) { amount } else { 0 };
        of(Some(self.to), self.amount).saturating_sub(of(self.from, self.amount))
    }

    /// The lot that grows, if one does.
    #[must_use]
    pub fn lot_added_to(&self) -> Option<Timestamp> {
        self.expire_time_us.filter(|_| self.available_change() > 0)
    }

    /// The same posting, of this lot.
    #[must_use]
    pub fn in_lot(self, expire_time_us: Option<Timestamp>) -> Self {
        Self { expire_time_us, ..self }
    }

    /// The same posting, of that of a reward's lots which it concerns.
    fn in_lot_of(self, lots: RewardLots) -> Self {
        let lot = match self.available_change() {
            ..0 => lots.own,
            0 => None,
            1.. => lots.next,
        };
        self.in_lot(lot)
    }

    /// The posting in the payload of an event of any type; `None` if the event moves no money.
    ///
    /// # Errors
    /// If the payload is not a JSON object, or its `posting` is not a posting.
    pub fn of_payload(payload: &str) -> Result<Option<Self>, serde_json::Error> {
        #[derive(Deserialize)]
        struct Payload {
            #[serde(default)]
            posting: Option<Posting>,
        }
        // Avoids parsing the many events that move no money.
        if !payload.contains(r#""posting""#) {
            return Ok(None);
        }
        serde_json::from_str::<Payload>(payload).map(|payload| payload.posting)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

    use proptest::prelude::*;

    use super::*;

    fn any_posting() -> impl Strategy<Value = (EntryKind, i64, Option<Bucket>, Bucket)> {
        let bucket =
            || prop_oneof![Just(Bucket::Pending), Just(Bucket::Available), Just(Bucket::Reserved)];
        let kind = proptest::sample::select(EntryKind::ALL.to_vec());
        (kind, -1_000_000_i64..1_000_000, bucket(), bucket()).prop_map(
            |(kind, amount, from, to)| {
                let from = (kind == EntryKind::Transfer).then_some(from);
                (kind, amount, from, to)
            },
        )
    }

    proptest! {
        #[test]
        fn buckets_reconcile_after_any_postings(
            postings in proptest::collection::vec(any_posting(), 0..50),
        ) {
            let mut buckets = Buckets::default();
            let mut balance = 0;
            for (kind, amount, from, to) in postings {
                let posting = match from {
                    Some(from) => buckets.transfer(amount, from, to, "USD").unwrap(),
                    None => buckets.post(kind, amount, to, "USD").unwrap(),
                };
                balance += posting.balance_change();
                let json = serde_json::to_string(&posting).unwrap();
                prop_assert_eq!(&serde_json::from_str::<Posting>(&json).unwrap(), &posting);
                let payload = format!(r#"{{"type":"Whatever","posting":{json}}}"#);
                prop_assert_eq!(Posting::of_payload(&payload).unwrap().unwrap(), posting.clone());
                buckets = posting.after;
                prop_assert!(buckets.reconcile(), "{:?}", buckets);
                prop_assert_eq!(buckets.balance(), balance);
            }
        }
    }

    proptest! {
        #[test]
        fn a_settlement_changes_the_balance_and_what_is_pending_as_asked(
            change in -1_000_i64..1_000,
            pending_change in -1_000_i64..1_000,
        ) {
            let before = Buckets::default();
            let postings = before
                .settle(EntryKind::Reversal, change, pending_change, "USD", RewardLots::default())
                .unwrap();
            let after = postings.last().map_or(before, |posting| posting.after);
            prop_assert_eq!(after.balance(), change);
            prop_assert_eq!(after.pending, pending_change);
            prop_assert_eq!(after.reserved, 0);
            prop_assert!(after.reconcile());
            prop_assert!(postings.len() <= 2);
        }
    }

    #[test]
    fn a_posting_leaves_out_what_is_usual_or_zero() {
        let before = Buckets { available: 5, earned: 5, ..Buckets::default() };
        let reward = before.post(EntryKind::Commission, 7, Bucket::Available, "INR").unwrap();
        assert_eq!(
            serde_json::to_string(&reward).unwrap(),
            r#"{"kind":"commission","amount":7,"unit":"INR","after":{"available":12,"earned":12}}"#
        );
        let held = before.post(EntryKind::Bonus, 7, Bucket::Pending, "INR").unwrap();
        let released = held.after.transfer(7, Bucket::Pending, Bucket::Available, "INR").unwrap();
        assert_eq!(
            serde_json::to_string(&released).unwrap(),
            r#"{"kind":"transfer","amount":7,"from":"pending","unit":"INR","after":{"available":12,"earned":12}}"#
        );
    }

    #[test]
    fn every_kind_moves_its_own_sum() {
        let before = Buckets { available: 100, earned: 100, ..Buckets::default() };
        let after =
            |kind, amount| before.post(kind, amount, Bucket::Available, "USD").unwrap().after;
        assert_eq!(after(EntryKind::Reversal, -30).reversed, 30);
        assert_eq!(after(EntryKind::Reversal, -30).net_earned(), 70);
        assert_eq!(after(EntryKind::Redemption, -30).spent, 30);
        assert_eq!(after(EntryKind::Payout, -30).paid, 30);
        assert_eq!(after(EntryKind::Expiry, -30).expired, 30);
        assert_eq!(after(EntryKind::Adjustment, -30).adjusted, -30);
        assert_eq!(after(EntryKind::PurchaseCredit, 30).credited, 30);
        assert_eq!(after(EntryKind::Points, 30).earned, 130);
    }

    #[test]
    fn what_does_not_fit_is_no_posting() {
        let full = Buckets { available: i64::MAX, earned: i64::MAX, ..Buckets::default() };
        assert_eq!(full.post(EntryKind::Bonus, 1, Bucket::Available, "USD"), Err(Overflow));
        assert_eq!(full.post(EntryKind::Bonus, 1, Bucket::Pending, "USD"), Err(Overflow));
        assert_eq!(full.post(EntryKind::PurchaseCredit, 1, Bucket::Pending, "USD"), Err(Overflow));
    }

    #[test]
    fn an_event_without_a_posting_has_none() {
        assert_eq!(Posting::of_payload(r#"{"type":"TierChanged"}"#).unwrap(), None);
        assert_eq!(Posting::of_payload(r#"{"name":"posting"}"#).unwrap(), None);
        assert!(Posting::of_payload(r#"{"posting":{"kind":"riches"}}"#).is_err());
    }
}
