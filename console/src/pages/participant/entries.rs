//! Entries of a ledger in words: what moved a balance, and by which rule.

use contract::pb::{
    BalanceBucket, BalanceEntry, EntryKind, Program, Reward, RewardKind, RewardRule, Tier,
    WithheldReason, WithheldReward,
};
use maud::{Markup, html};

use super::rule;
use super::rules::total;
use crate::icons::Icon;
use crate::parts::{Happening, Tone};
use crate::reader::Reader;
use crate::text::participant as text;

/// The rules of a program: as they are, and as they were when rewards were granted.
#[derive(Clone, Copy)]
pub struct Rules<'a> {
    /// The program as it is.
    pub program: &'a Program,
    /// Other versions of it, as far as they are needed and could be read.
    pub others: &'a [Program],
}

impl<'a> Rules<'a> {
    /// The program in a version.
    fn version(self, version: i32) -> Option<&'a Program> {
        let mut known = std::iter::once(self.program).chain(self.others);
        known.find(|program| program.version == version)
    }
}

/// An entry in words.
pub struct Words {
    /// What it is.
    pub title: String,
    /// What a reward is, or why something happened.
    pub detail: String,
    /// By which rule it is; empty if it is no reward.
    pub rule: String,
    /// Its picture.
    pub icon: Icon,
    /// The colour of the picture.
    pub tone: Tone,
}

/// What an entry is, and by which rule.
#[must_use]
pub fn words(entry: &BalanceEntry, rules: Rules<'_>, reader: &Reader) -> Words {
    let gain = entry.amount.as_ref().map_or(0, |amount| amount.minor_units) >= 0;
    let tone = if gain { Tone::Good } else { Tone::Bad };
    let of = |title: &str, detail: String, icon, tone| Words {
        title: title.into(),
        detail,
        rule: String::new(),
        icon,
        tone,
    };
    match entry.kind() {
        EntryKind::Reward => match &entry.reward {
            Some(reward) => {
                let tone =
                    if entry.bucket() == BalanceBucket::Pending { Tone::Warn } else { Tone::Good };
                Words {
                    title: text::reward(kind(reward.kind()), reward.level),
                    detail: detail(reward, rules, reader),
                    rule: text::by_rule(&reward.rule, reward.program_version),
                    icon: if reward.purchase_id.is_empty() { Icon::PEOPLE } else { Icon::COIN },
                    tone,
                }
            }
            None => of(text::REWARD, String::new(), Icon::COIN, tone),
        },
        EntryKind::PurchaseCredit => of(text::OWN_PURCHASE, String::new(), Icon::CART, tone),
        EntryKind::Reversal => {
            let is_purchase = !entry.purchase_id.is_empty();
            let why = if is_purchase { text::TAKEN_BACK_WORDS } else { text::TAKEN_BACK_REFERRAL };
            of(text::TAKEN_BACK, why.into(), Icon::BACK, tone)
        }
        EntryKind::Redemption => of(text::REDEEMED, String::new(), Icon::GIFT, tone),
        EntryKind::Payout => of(text::PAID_OUT, String::new(), Icon::BANK, Tone::Info),
        EntryKind::Adjustment => {
            of(text::ADJUSTED, text::reason(&entry.reason_code), Icon::GEAR, tone)
        }
        EntryKind::Expiry => of(text::EXPIRED, text::EXPIRED_WORDS.into(), Icon::CLOCK, Tone::Warn),
        EntryKind::Transfer => {
            let title = match (entry.from_bucket(), entry.bucket()) {
                (BalanceBucket::Pending, BalanceBucket::Available) => text::RELEASED,
                (BalanceBucket::Available, BalanceBucket::Pending) => text::HELD_BACK,
                (_, BalanceBucket::Reserved) => text::RESERVED,
                (BalanceBucket::Reserved, _) => text::UNRESERVED,
                _ => text::MOVED,
            };
            of(title, moved(entry, reader), Icon::CLOCK, Tone::Info)
        }
        EntryKind::Unspecified => of(text::MOVED, String::new(), Icon::COIN, tone),
    }
}

/// What a transfer did to what is available; empty if nothing.
fn moved(entry: &BalanceEntry, reader: &Reader) -> String {
    let amount = reader.words(entry.amount.as_ref());
    match (entry.from_bucket(), entry.bucket()) {
        (BalanceBucket::Available, _) => text::available_changed("−", &amount),
        (_, BalanceBucket::Available) => text::available_changed("+", &amount),
        _ => String::new(),
    }
}

/// The amount of an entry. What only moves between parts of the balance is neither gained nor lost.
#[must_use]
pub fn change(entry: &BalanceEntry, reader: &Reader) -> Markup {
    match entry.kind() {
        EntryKind::Transfer => reader.amount(entry.amount.as_ref()),
        _ => reader.change(entry.amount.as_ref()),
    }
}

/// The cell of an entry's amount. On phones, which have no column for it, the balance after it is below.
#[must_use]
pub fn amount_cell(entry: &BalanceEntry, reader: &Reader) -> Markup {
    html! {
        td.number {
            (change(entry, reader))
            small.phone { (text::balance_after(&reader.words(entry.balance.as_ref()))) }
        }
    }
}

/// What a reward is in words, by the rule as it was then, and what its cap has cut off.
fn detail(reward: &Reward, rules: Rules<'_>, reader: &Reader) -> String {
    let program = rules.version(reward.program_version);
    let known = program.and_then(|program| Some((rule(program, &reward.rule)?, program)));
    let mut words = Vec::from_iter(known.map(|(rule, program)| {
        if rule.tiers.is_empty() {
            pays(rule, program, reader)
        } else {
            by_tier(reward, &rule.tiers, reader)
        }
    }));
    let amounts = reward.amount.as_ref().zip(reward.computed_amount.as_ref());
    if let Some((amount, computed)) = amounts
        && computed.minor_units > amount.minor_units
    {
        words.push(text::cut_by_cap(&reader.words(Some(computed))));
    }
    words.join(", ")
}

/// How points by tier came about, as far as their number tells: a referral within a tier adds what each one there is
/// worth, and the first one of a tier takes those before it to that tier.
fn by_tier(reward: &Reward, tiers: &[Tier], reader: &Reader) -> String {
    let granted = reward.amount.as_ref().map_or(0, |amount| amount.minor_units);
    let points = |referrals| total(tiers, referrals).map_or(0, |(_, points)| points);
    let within = tiers.iter().find(|tier| tier.rate_points == granted);
    let reached = tiers.iter().find(|tier| {
        let first = tier.from_referrals;
        first > 1 && points(first).saturating_sub(points(first - 1)) == granted
    });
    match (within, reached) {
        (Some(tier), None) => text::one_in_tier(&tier.name),
        (None, Some(tier)) => {
            let first = tier.from_referrals;
            let sum = text::tier_sum(
                &reader.number(first),
                &reader.number(tier.rate_points),
                &reader.number(tier.bonus_points),
                &reader.number(points(first)),
            );
            text::tier_reached(&tier.name, &sum, &reader.number(points(first - 1)))
        }
        // Two rules of the formula would come to the same, or none does.
        _ => text::BY_FORMULA.into(),
    }
}

impl Words {
    /// What it is and by which rule, in one line; empty if there is nothing to say.
    #[must_use]
    pub fn explained(&self) -> String {
        let parts = [&*self.detail, &*self.rule].into_iter().filter(|part| !part.is_empty());
        parts.collect::<Vec<_>>().join(", ")
    }
}

/// What a rule pays, in words, without its cap.
#[must_use]
pub fn pays(rule: &RewardRule, program: &Program, reader: &Reader) -> String {
    match (rule.rate_bps, rule.flat_minor) {
        (Some(rate), _) => text::rate_of_purchase(&reader.percent(rate)),
        (None, Some(flat)) => text::flat(&reader.minor(flat, &program.unit)),
        (None, None) if rule.count => text::COUNTED.into(),
        (None, None) => text::BY_TIER.into(),
    }
}

/// Something that was withheld, in words: what it was, why it was not granted, and by which rule it was computed.
#[must_use]
pub fn withheld(of: &WithheldReward, rules: Rules<'_>, reader: &Reader) -> Words {
    let rule = rules.version(of.program_version).and_then(|program| rule(program, &of.rule));
    let unit = &rules.program.unit;
    let mut detail = why_withheld(of.reason()).to_owned();
    if of.reason() == WithheldReason::CapReached
        && let Some(cap) = rule.and_then(|rule| rule.cap_minor)
    {
        detail += " ";
        detail += &text::cap_is(&reader.minor(cap, unit), unit);
    }
    let kind = rule.map_or(text::REWARD, |rule| kind(rule.kind()));
    Words {
        title: text::not_granted(&text::reward(kind, of.level)),
        detail,
        rule: text::by_rule(&of.rule, of.program_version),
        icon: Icon::CLOCK,
        tone: Tone::Warn,
    }
}

/// Why something was withheld, in words for whom it was withheld from.
fn why_withheld(reason: WithheldReason) -> &'static str {
    match reason {
        WithheldReason::CapReached => text::WITHHELD_CAP,
        WithheldReason::EarnerInactive => text::WITHHELD_INACTIVE,
        WithheldReason::BeforeReactivation => text::WITHHELD_BEFORE_REACTIVATION,
        other => crate::pages::operator::withheld(other),
    }
}

/// Something that was withheld as something that happened. In full, it names the rule, too.
#[must_use]
pub fn withheld_happening(
    of: &WithheldReward,
    is_full: bool,
    rules: Rules<'_>,
    reader: &Reader,
) -> Happening {
    let Words { title, detail, rule, icon, tone } = withheld(of, rules, reader);
    let rule = is_full.then(|| text::computed(&rule));
    let time = of.create_time.unwrap_or_default();
    Happening {
        id: format!("withheld-{}-{}-{}", time.seconds, time.nanos, of.level),
        icon,
        tone,
        what: html! { strong { (title) } ": " (detail) @if let Some(rule) = rule { " " (rule) } },
        when: reader.time(of.create_time.as_ref()),
        value: html! { s { (reader.amount(of.computed_amount.as_ref())) } },
    }
}

/// The kind of a reward in words.
#[must_use]
pub fn kind(kind: RewardKind) -> &'static str {
    match kind {
        RewardKind::Points => text::POINTS,
        RewardKind::Credit => text::CREDITS,
        RewardKind::Bonus => text::BONUS,
        RewardKind::Commission => text::COMMISSION,
        RewardKind::Unspecified => text::REWARD,
    }
}

/// The part of the balance that an entry is in.
#[must_use]
pub fn bucket(bucket: BalanceBucket) -> (Tone, &'static str) {
    match bucket {
        BalanceBucket::Pending => (Tone::Warn, text::ON_ITS_WAY),
        BalanceBucket::Available => (Tone::Good, text::AVAILABLE),
        BalanceBucket::Reserved => (Tone::Info, text::SET_ASIDE),
        BalanceBucket::Unspecified => (Tone::Plain, "–"),
    }
}

/// What an entry is known by on a page: its place in the participant's stream.
#[must_use]
pub fn entry_id(entry: &BalanceEntry) -> String {
    if let Some((_, sequence)) = entry.entry_id.rsplit_once('/') {
        return format!("entry-{sequence}");
    }
    let time = entry.create_time.unwrap_or_default();
    format!("entry-at-{}-{}", time.seconds, time.nanos)
}

/// An entry as something that happened.
#[must_use]
pub fn happening(entry: &BalanceEntry, rules: Rules<'_>, reader: &Reader) -> Happening {
    let Words { title, detail, icon, tone, .. } = words(entry, rules, reader);
    Happening {
        id: entry_id(entry),
        icon,
        tone,
        what: html! { strong { (title) } @if !detail.is_empty() { ": " (detail) } },
        when: reader.time(entry.create_time.as_ref()),
        value: change(entry, reader),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]
mod tests {
    use contract::pb::Money;

    use super::*;
    use crate::program::from_json;
    use crate::reader::Theme;

    fn reader() -> Reader {
        Reader::new("en", None, Theme::System, String::new())
    }

    fn reward(rule: &str, version: i32, minor_units: i64) -> BalanceEntry {
        BalanceEntry {
            kind: EntryKind::Reward.into(),
            reward: Some(Reward {
                rule: rule.into(),
                level: 1,
                program_version: version,
                amount: Some(Money { currency_code: "POINTS".into(), minor_units }),
                ..Reward::default()
            }),
            ..BalanceEntry::default()
        }
    }

    #[test]
    fn a_reward_is_explained_by_the_version_that_granted_it() {
        let file = include_str!("../../../../programs/multi-level-commission.json");
        let first = Program { version: 1, ..from_json(file).unwrap() };
        let mut second = Program { version: 2, ..first.clone() };
        second.rewards[0].rate_bps = Some(700);
        let others = [first];
        let rules = Rules { program: &second, others: &others };
        let said = |version| {
            let entry = reward("direct-commission", version, 100);
            words(&entry, rules, &reader()).detail
        };
        assert_eq!(said(1), "5% of a purchase");
        assert_eq!(said(2), "7% of a purchase");
        assert_eq!(said(3), "", "a version that could not be read");
    }

    #[test]
    fn points_by_tier_say_how_they_came_about() {
        let file = include_str!("../../../../programs/tiered-points.json");
        let program = Program { version: 1, ..from_json(file).unwrap() };
        let said = |minor_units| {
            let rules = Rules { program: &program, others: &[] };
            words(&reward("tier-points", 1, minor_units), rules, &reader()).detail
        };
        assert_eq!(said(10), "for one friend in the tier Bronze");
        assert_eq!(said(160), "Silver reached: 10 × 15 + 100 = 250 in all, of which you had 90");
        assert_eq!(said(915), "Gold reached: 50 × 25 + 500 = 1,750 in all, of which you had 835");
        assert!(said(11).starts_with("what this friend adds"), "{}", said(11));
    }

    #[test]
    fn what_moves_between_parts_of_a_balance_is_no_gain_and_says_what_it_did_to_what_is_available()
    {
        let program = Program::default();
        let of = |from: BalanceBucket, to: BalanceBucket| {
            let entry = BalanceEntry {
                kind: EntryKind::Transfer.into(),
                amount: Some(Money { currency_code: "INR".into(), minor_units: 3_700 }),
                from_bucket: from.into(),
                bucket: to.into(),
                ..BalanceEntry::default()
            };
            let words = words(&entry, Rules { program: &program, others: &[] }, &reader());
            (words.title, words.detail, change(&entry, &reader()).into_string())
        };
        let (title, detail, amount) = of(BalanceBucket::Available, BalanceBucket::Pending);
        assert_eq!((&*title, &*detail), ("Held back", "−37.00 INR available"));
        assert!(!amount.contains("good") && !amount.contains('+'), "{amount}");
        let (title, detail, _) = of(BalanceBucket::Pending, BalanceBucket::Available);
        assert_eq!((&*title, &*detail), ("Became available", "+37.00 INR available"));
        let (_, detail, _) = of(BalanceBucket::Pending, BalanceBucket::Reserved);
        assert_eq!(detail, "");
    }

    #[test]
    fn what_is_taken_back_without_a_purchase_is_not_said_to_have_been_refunded() {
        let program = Program::default();
        let said = |purchase_id: &str| {
            let entry = BalanceEntry {
                kind: EntryKind::Reversal.into(),
                purchase_id: purchase_id.into(),
                ..BalanceEntry::default()
            };
            words(&entry, Rules { program: &program, others: &[] }, &reader()).detail
        };
        assert_eq!(said("order-1"), "the purchase was refunded or disputed");
        assert_eq!(said(""), "a referral does not count any more");
    }
}
