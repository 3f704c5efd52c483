//! How a program works, in words that are made from its rules, so that they cannot differ from what is paid.

use contract::pb::{AttachPolicy, EarnOn, FirstPurchaseUse, Money, Program, RewardRule};
use maud::{Markup, html};

use super::{Scene, tiers};
use crate::icons::{Icon, medal};
use crate::page::{Page, Sidebar, app};
use crate::parts::{self, table};
use crate::reader::{Reader, places};
use crate::text::rules::{self as text, To, What};

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
                ul.facts { @for rule in &program.rewards { li { (reward(rule, program, reader)) } } }
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

/// What a participant, and those whom they bring, get by one rule.
#[must_use]
pub fn reward(rule: &RewardRule, program: &Program, reader: &Reader) -> String {
    reward_to(To::Participant, rule, program, reader)
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
                li { span { (text::who(rule.level)) } (reader.amount_of(pays(rule, amount), unit)) }
            }
            @if program.credit_purchases && currency == unit {
                li { span { (text::BUYER_IS_CREDITED) } (reader.amount_of(amount, unit)) }
            }
        }
    }
}

fn referral_example(program: &Program, reader: &Reader) -> Markup {
    let rate = tiers(program).first().map(|tier| tier.rate_points);
    let single = program.rewards.iter().find(|rule| rule.level == 1);
    let each = rate.or(single.and_then(|rule| rule.flat_minor)).unwrap_or(1);
    html! {
        p { (text::FIVE_FRIENDS) }
        ul.bars role="list" {
            li { span { (text::YOU_HAVE) } (reader.amount_of(each.saturating_mul(5), &program.unit)) }
        }
    }
}

/// What a rule pays for a purchase, before anything else was earned by it.
fn pays(rule: &RewardRule, amount: i64) -> i64 {
    let computed = match (rule.rate_bps, rule.flat_minor) {
        (Some(rate), _) => {
            let share = i128::from(amount) * i128::from(rate) / 10_000;
            i64::try_from(share).unwrap_or(i64::MAX)
        }
        (None, Some(flat)) => flat,
        (None, None) => i64::from(rule.count),
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
    html! { section.card.flush { div.card-head { h2 { (text::TIERS) } } (table(text::TIERS, &head, &rows)) } }
}

/// Questions that people ask, answered by the rules.
fn questions(program: &Program, reader: &Reader) -> Vec<(&'static str, String)> {
    let mut questions = vec![(text::WHEN_DO_I_GET, text::when(program.earn_on()).to_owned())];
    let currency = &program.purchase_currency_code;
    if program.minimum_purchase_minor > 0 {
        let least = reader.minor(program.minimum_purchase_minor, currency);
        questions.push((text::ANY_PURCHASE, text::least(&least, currency)));
    } else if program.earn_on() != EarnOn::Referral {
        questions.push((text::ANY_PURCHASE, text::EVERY_AMOUNT.into()));
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
        questions.push((text::WHY_WAITING, text::held_for(days)));
    }
    questions.push((text::REFUNDS, text::REFUNDS_ANSWER.into()));
    if let Some(months) = program.expire_months.filter(|months| *months > 0) {
        questions.push((text::EXPIRE, text::expire_after(months)));
    }
    if program.require_confirmed_email {
        questions.push((text::CONFIRMED_EMAIL, text::CONFIRMED_EMAIL_ANSWER.into()));
    }
    questions
}

#[cfg(test)]
mod tests {
    use super::*;
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
            (
                To::Participant,
                count.clone(),
                &points,
                "You get 1 points for each friend who joins.",
            ),
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
            (To::Invited("Ada"), count, &points, "Ada gets 1 points when you join."),
        ] {
            assert_eq!(reward_to(to, &rule, program, &reader), expected);
        }
    }
}
