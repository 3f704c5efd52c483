//! How a program works, in words that are made from its rules, so that they cannot differ from what is paid.

use contract::pb::{AttachPolicy, EarnOn, FirstPurchaseUse, Money, Program, RewardRule, Tier};
use maud::{Markup, html};

use super::{Scene, tiers};
use crate::icons::{Icon, medal};
use crate::page::{Page, Sidebar, app};
use crate::parts::{self, table};
use crate::reader::{Reader, places};
use crate::text::participant::tier_sum;
use crate::text::rules::{self as text, To, What};

/// How many friends the example has.
const FRIENDS: i32 = 5;

/// What the page shows.
pub struct View<'a> {
    /// Whose page it is.
    pub scene: Scene<'a>,
}

/// The page.
#[must_use]
pub fn page(view: &View<'_>, sidebar: &Sidebar<'_>, reader: &Reader) -> String {
    let program = view.scene.program;
    let main = html! {
        (parts::head(text::TITLE, &program.display_name, &html! {}))
        section.card {
            h2 { (text::IN_SHORT) }
            ol.steps {
                @for (icon, words) in [
                    (Icon::SHARE, text::SHARE.to_owned()),
                    (Icon::PEOPLE, text::joins(program.attach())),
                    (Icon::COIN, text::when(program.earn_on()).to_owned()),
                ] {
                    li { span.dot.brand { (icon) } span { (words) } }
                }
            }
        }
        div.grid {
            section.card {
                h2 { (text::REWARDS) }
                ul.facts { @for said in rewards(To::Participant, program, reader) { li { (said) } } }
            }
            section.card {
                h2 { (text::EXAMPLE) }
                (example(program, reader))
            }
        }
        @if !tiers(program).is_empty() { (tier_table(program, reader)) }
        section.card {
            h2 { (text::QUESTIONS) }
            @for (question, answer) in questions(program, reader) {
                details.fold { summary { (question) } p { (answer) } }
            }
        }
    };
    let page = Page {
        reader,
        title: text::TITLE,
        live: None,
        done: None,
        celebration: None,
        shared: None,
    };
    app(&page, sidebar, &main)
}

/// All that a program grants, a sentence for each, to whom it concerns.
#[must_use]
pub fn rewards(to: To<'_>, program: &Program, reader: &Reader) -> Vec<String> {
    let rules = program.rewards.iter().map(|rule| reward_to(to, rule, program, reader));
    let credited = program.credit_purchases.then(|| text::purchases_credited(to, &program.unit));
    rules.chain(credited).collect()
}

/// What is granted by one rule, as a sentence to whom it concerns.
#[must_use]
pub fn reward_to(to: To<'_>, rule: &RewardRule, program: &Program, reader: &Reader) -> String {
    let unit = &program.unit;
    let amount =
        |minor_units| reader.words(Some(&Money { currency_code: unit.clone(), minor_units }));
    let granted = match (rule.rate_bps, rule.flat_minor) {
        (Some(rate), _) => reader.percent(rate),
        (None, Some(flat)) => amount(flat),
        (None, None) => {
            let whole = 10_i64.pow(u32::try_from(places(unit)).unwrap_or_default());
            if rule.count { amount(whole) } else { String::new() }
        }
    };
    let what = match (rule.rate_bps, &*granted) {
        (_, "") => What::ByTier,
        (Some(_), share) => What::Share(share),
        (None, amount) => What::Amount(amount),
    };
    let cap = rule.cap_minor.map(|cap| text::up_to(&reader.minor(cap, unit), unit));
    text::reward(to, rule.level, program.earn_on(), what, cap.as_deref())
}

/// A purchase, or a referral, with what it brings. The amount is the least that counts, or a round one.
fn example(program: &Program, reader: &Reader) -> Markup {
    let unit = &program.unit;
    if program.earn_on() == EarnOn::Referral {
        return referral_example(program, reader);
    }
    // What is granted for a purchase, before anything else was earned.
    let currency = [&*program.purchase_currency_code, unit]
        .into_iter()
        .find(|code| code.len() == 3)
        .unwrap_or("USD");
    let whole = 10_i64.pow(u32::try_from(crate::reader::decimals(currency)).unwrap_or_default());
    let amount = (2_000 * whole).max(program.minimum_purchase_minor.saturating_mul(2));
    html! {
        p { (text::buys_for(&reader.minor(amount, currency), currency)) }
        ul.bars role="list" {
            @for rule in &program.rewards {
                li { span { (text::who(rule.level)) } (reader.amount_of(pays(rule, amount, unit), unit)) }
            }
            @if program.credit_purchases && currency == unit {
                li { span { (text::BUYER_IS_CREDITED) } (reader.amount_of(amount, unit)) }
            }
        }
    }
}

fn referral_example(program: &Program, reader: &Reader) -> Markup {
    let rule = program.rewards.iter().find(|rule| rule.level == 1);
    let granted = rule.map_or(0, |rule| {
        if let Some((_, points)) = total(&rule.tiers, FRIENDS) {
            return points;
        }
        let all = pays(rule, 0, &program.unit).saturating_mul(FRIENDS.into());
        rule.cap_minor.map_or(all, |cap| all.min(cap))
    });
    html! {
        p { (text::FIVE_FRIENDS) }
        ul.bars role="list" {
            li { span { (text::YOU_HAVE) } (reader.amount_of(granted, &program.unit)) }
        }
    }
}

/// The tier that so many referrals reach, and what they are worth in all by the formula of tiers.
#[must_use]
pub fn total(tiers: &[Tier], referrals: i32) -> Option<(&Tier, i64)> {
    let tier = tiers.iter().rfind(|tier| tier.from_referrals <= referrals)?;
    let points = tier.rate_points.saturating_mul(referrals.into());
    Some((tier, points.saturating_add(tier.bonus_points)))
}

/// What a rule pays for a purchase or a referral, before anything else was earned by it.
fn pays(rule: &RewardRule, amount: i64, unit: &str) -> i64 {
    let computed = match (rule.rate_bps, rule.flat_minor) {
        (Some(rate), _) => {
            let share = i128::from(amount) * i128::from(rate) / 10_000;
            i64::try_from(share).unwrap_or(i64::MAX)
        }
        (None, Some(flat)) => flat,
        (None, None) if rule.count => 10_i64.pow(u32::try_from(places(unit)).unwrap_or_default()),
        (None, None) => total(&rule.tiers, 1).map_or(0, |(_, points)| points),
    };
    rule.cap_minor.map_or(computed, |cap| computed.min(cap))
}

fn tier_table(program: &Program, reader: &Reader) -> Markup {
    let tiers = tiers(program);
    let head = html! {
        th scope="col" { (text::TIER) }
        th.number scope="col" { (text::FROM_REFERRALS) }
        th.number scope="col" { (text::EACH_REFERRAL) }
        th.number scope="col" { (text::AT_ONCE) }
    };
    let rows = html! {
        @for (place, tier) in tiers.iter().enumerate() {
            tr.middle {
                th scope="row" { span.with-medal { (medal(place, tiers.len())) (tier.name) } }
                td.number { (reader.number(tier.from_referrals)) }
                td.number { (reader.amount_of(tier.rate_points, &program.unit)) }
                td.number { (reader.amount_of(tier.bonus_points, &program.unit)) }
            }
        }
    };
    // The first tier that changes what earlier referrals are worth shows best how.
    let higher = tiers.iter().find(|tier| tier.from_referrals > 0);
    let shown = higher.and_then(|tier| total(tiers, tier.from_referrals));
    html! {
        section.card.flush {
            div.card-head { div { h2 { (text::TIERS) } p { (text::FORMULA) } } }
            (table(text::TIERS, &head, &rows))
            @if let Some((tier, points)) = shown {
                p.padded.soft {
                    @let friends = reader.number(tier.from_referrals);
                    @let points = Money { currency_code: program.unit.clone(), minor_units: points };
                    @let sum = tier_sum(
                        &friends,
                        &reader.number(tier.rate_points),
                        &reader.number(tier.bonus_points),
                        &reader.words(Some(&points)),
                    );
                    (text::formula_of(&tier.name, &friends, &sum))
                }
            }
        }
    }
}

/// Questions that people ask, answered by the rules.
fn questions(program: &Program, reader: &Reader) -> Vec<(&'static str, String)> {
    let mut questions = vec![(text::WHEN_DO_I_GET, text::when(program.earn_on()).to_owned())];
    let currency = &program.purchase_currency_code;
    if program.minimum_purchase_minor > 0 {
        let least = reader.minor(program.minimum_purchase_minor, currency);
        questions.push((text::ANY_PURCHASE, text::least(&least, currency)));
    } else if program.earn_on() != EarnOn::Referral {
        questions.push((text::ANY_PURCHASE, text::every_amount(currency)));
    }
    if program.earn_on() == EarnOn::FirstPurchase {
        let uses_up = match program.first_purchase_used_by() {
            FirstPurchaseUse::QualifyingPurchase => text::SMALL_PURCHASES_WAIT,
            FirstPurchaseUse::AnyPurchase | FirstPurchaseUse::Unspecified => text::ANY_FIRST_COUNTS,
        };
        questions.push((text::FIRST_TOO_SMALL, uses_up.into()));
    }
    let places = match (program.max_direct_referrals, program.max_uses_per_code) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    };
    questions.push((
        text::HOW_MANY,
        match places {
            Some(places) => text::so_many(&reader.number(places)),
            None => text::ANY_NUMBER.into(),
        },
    ));
    questions.push((
        text::CODE_LATER,
        match program.attach() {
            AttachPolicy::AnyTime => text::ATTACH_ANY_TIME,
            AttachPolicy::RegistrationOnly | AttachPolicy::Unspecified => {
                text::ATTACH_AT_REGISTRATION
            }
        }
        .into(),
    ));
    if let Some(days) = program.hold_days.filter(|days| *days > 0) {
        questions.push((text::WHY_WAITING, text::held_for(days, program.earn_on())));
    }
    if let Some(answer) = refunds(program, reader) {
        questions.push((text::REFUNDS, answer));
    }
    if let Some(months) = program.expire_months.filter(|months| *months > 0) {
        questions.push((text::EXPIRE, text::expire_after(months)));
    }
    if program.require_confirmed_email {
        questions.push((text::CONFIRMED_EMAIL, text::CONFIRMED_EMAIL_ANSWER.into()));
    }
    questions
}

/// What is taken back when a purchase is refunded; `None` if purchases bring nothing.
fn refunds(program: &Program, reader: &Reader) -> Option<String> {
    let minimum = Some(program.minimum_purchase_minor)
        .filter(|minimum| *minimum > 0 && program.reverse_below_minimum != Some(false));
    let currency = &program.purchase_currency_code;
    let left = minimum.map(|minimum| {
        reader.words(Some(&Money { currency_code: currency.clone(), minor_units: minimum }))
    });
    let left = left.as_deref();
    let has = |is: fn(&RewardRule) -> bool| {
        program.earn_on() != EarnOn::Referral && program.rewards.iter().any(is)
    };
    let said = [
        has(|rule| rule.rate_bps.is_some()).then(|| text::share_goes_back(left)),
        has(|rule| rule.flat_minor.is_some() || rule.count).then(|| text::fixed_goes_back(left)),
        has(|rule| !rule.tiers.is_empty()).then(|| text::tiers_go_back(left)),
        program.credit_purchases.then(|| text::CREDIT_GOES_BACK.into()),
    ];
    let mut said: Vec<String> = said.into_iter().flatten().collect();
    if said.is_empty() {
        return None;
    }
    said.push(text::BELOW_ZERO.into());
    Some(said.join(" "))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]
mod tests {
    use super::*;
    use crate::program::from_json;
    use crate::reader::Theme;

    #[test]
    fn a_rule_says_you_to_whom_it_concerns() {
        let reader = Reader::new("en", None, Theme::System, String::new());
        let program = |earn_on: EarnOn| Program {
            unit: "USD".into(),
            earn_on: earn_on.into(),
            ..Program::default()
        };
        let share = |level| RewardRule {
            level,
            rate_bps: Some(500),
            cap_minor: (level == 1).then_some(10_000),
            ..RewardRule::default()
        };
        let flat = |level| RewardRule { level, flat_minor: Some(1_000), ..RewardRule::default() };
        let (every, first) = (program(EarnOn::EveryPurchase), program(EarnOn::FirstPurchase));
        let points = Program { unit: "POINTS".into(), ..program(EarnOn::Referral) };
        let count = RewardRule { level: 1, count: true, ..RewardRule::default() };
        let tiers = RewardRule { level: 1, ..RewardRule::default() };
        for (to, rule, program, expected) in [
            (To::Participant, share(0), &every, "Your friend gets 5% of what they buy."),
            (
                To::Participant,
                share(1),
                &every,
                "You get 5% of what your friends buy, up to 100.00 USD in all.",
            ),
            (To::Participant, share(2), &every, "You get 5% of what their friends buy."),
            (
                To::Participant,
                share(3),
                &every,
                "You get 5% of what people 3 levels below you buy.",
            ),
            (
                To::Participant,
                flat(0),
                &first,
                "Your friend gets 10.00 USD for their first purchase.",
            ),
            (
                To::Participant,
                flat(1),
                &first,
                "You get 10.00 USD for the first purchase of each friend.",
            ),
            (To::Participant, count.clone(), &points, "You get 1 point for each friend who joins."),
            (
                To::Participant,
                tiers.clone(),
                &points,
                "You get points for each friend, by the tier that you have reached.",
            ),
            (To::Invited("Ada"), flat(0), &first, "You get 10.00 USD for your first purchase."),
            (To::Invited("Ada"), flat(1), &first, "Ada gets 10.00 USD for your first purchase."),
            (
                To::Invited("Ada"),
                share(2),
                &every,
                "The friend who invited Ada gets 5% of what you buy.",
            ),
            (
                To::Invited("Your friend"),
                share(2),
                &every,
                "The friend who invited your friend gets 5% of what you buy.",
            ),
            (
                To::Invited("Ada"),
                tiers,
                &points,
                "Ada gets points for you, by the tier that they have reached.",
            ),
            (To::Invited("Ada"), count, &points, "Ada gets 1 point when you join."),
        ] {
            assert_eq!(reward_to(to, &rule, program, &reader), expected);
        }
    }

    fn shipped() -> [Program; 5] {
        [
            include_str!("../../../../programs/first-purchase-bonus.json"),
            include_str!("../../../../programs/first-purchase-credits.json"),
            include_str!("../../../../programs/multi-level-commission.json"),
            include_str!("../../../../programs/referral-count.json"),
            include_str!("../../../../programs/tiered-points.json"),
        ]
        .map(|file| from_json(file).unwrap())
    }

    #[test]
    fn what_a_refund_takes_back_is_said_as_it_is_done() {
        let reader = Reader::new("en", None, Theme::System, String::new());
        let [bonus, credits, commission, count, tiered] = shipped();
        let said = |program: &Program| refunds(program, &reader);
        assert_eq!(
            said(&bonus).unwrap(),
            "A fixed amount stays as long as 10.00 USD or more is left of the purchase; below that, all of it is \
             taken back. Of a price that was added to a balance, what was refunded is taken back. If something was \
             used already, the balance falls below zero."
        );
        assert_eq!(
            said(&credits).unwrap(),
            "A fixed amount stays until nothing is left of the purchase; then all of it is taken back. If something \
             was used already, the balance falls below zero."
        );
        assert_eq!(
            said(&commission).unwrap(),
            "Of a share, the same part is taken back as of the price; if less than 1,000.00 INR is left of the \
             purchase, all of it is. If something was used already, the balance falls below zero."
        );
        // There, purchases bring nothing.
        assert_eq!((said(&count), said(&tiered)), (None, None));
        let generous = Program { reverse_below_minimum: Some(false), ..commission };
        assert!(!said(&generous).unwrap().contains("1,000.00"));
        let tiers = Program { earn_on: EarnOn::FirstPurchase.into(), ..tiered };
        assert!(said(&tiers).unwrap().starts_with("Points by tier stay until nothing is left"));
    }

    #[test]
    fn what_a_program_grants_is_said_in_full() {
        let reader = Reader::new("en", None, Theme::System, String::new());
        let [bonus, credits, commission, count, tiered] = shipped();
        for (program, expected) in [
            (
                bonus,
                &[
                    "Your friend gets 10.00 USD for their first purchase.",
                    "You get 10.00 USD for the first purchase of each friend.",
                    "Whoever takes part also gets the price of all that they buy in USD, on their own balance.",
                ][..],
            ),
            (
                credits,
                &[
                    "Your friend gets 2 credits for their first purchase.",
                    "You get 2 credits for the first purchase of each friend.",
                ][..],
            ),
            (
                commission,
                &[
                    "You get 5% of what your friends buy, up to 1,000.00 INR in all.",
                    "You get 1% of what their friends buy, up to 1,000.00 INR in all.",
                ][..],
            ),
            (count, &["You get 1 referral for each friend who joins."][..]),
            (tiered, &["You get points for each friend, by the tier that you have reached."][..]),
        ] {
            let id = &program.program_id;
            assert_eq!(rewards(To::Participant, &program, &reader), expected, "{id}");
            let invited = rewards(To::Invited("Ada"), &program, &reader);
            assert_eq!(invited.len(), expected.len(), "{id}: {invited:?}");
        }
    }

    #[test]
    fn the_formula_of_tiers_is_that_of_the_documents() {
        let [.., tiered] = shipped();
        let of = |referrals| total(tiers(&tiered), referrals).map(|(_, points)| points);
        let known = [9, 10, 49, 50].map(|referrals| of(referrals).unwrap());
        assert_eq!(known, [90, 250, 835, 1_750]);
        let reader = Reader::new("en", None, Theme::System, String::new());
        let table = tier_table(&tiered, &reader).into_string();
        let example = "With 10 friends you have reached Silver: 10 × 15 + 100 = 250 points.";
        assert!(table.contains(example), "{table}");
    }
}
