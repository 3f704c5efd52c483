//! What makes a program invalid.

use super::programs::{
    all, first_purchase_bonus, first_purchase_credits, multi_level_commission, referral_count,
    rule, tier, tiered_points,
};
use crate::code::CodeFormat;
use crate::money::MAX_AMOUNT_MINOR;
use crate::rules::{
    EarnOn, MAX_COUNT, MAX_DISPLAY_NAME_CHARS, MAX_LEVEL, MAX_TIER_BONUS, MAX_TIER_RATE, MAX_TIERS,
    Pay, ProgramRules, RewardKind, Tier,
};

fn fields(rules: &ProgramRules) -> Vec<String> {
    rules.faults().into_iter().map(|fault| fault.field).collect()
}

/// The fields at fault after a change to rules that had none.
fn after(mut rules: ProgramRules, change: impl FnOnce(&mut ProgramRules)) -> Vec<String> {
    assert_eq!(rules.faults(), []);
    change(&mut rules);
    fields(&rules)
}

const NONE: [&str; 0] = [];

#[test]
fn the_five_programs_have_no_faults() {
    for (name, rules) in all() {
        assert_eq!(rules.faults(), [], "{name}");
    }
}

#[test]
fn a_program_that_is_wrong_in_many_ways_names_every_fault_at_once() {
    let mut rules = multi_level_commission();
    rules.display_name = " ".into();
    rules.unit = "rupees".into();
    rules.base_url = "example.com".into();
    rules.code = CodeFormat { length: 5, alphabet: "abc".into() };
    rules.minimum_purchase_minor = -1;
    rules.purchase_currency_code = Some("ABC".into());
    rules.max_uses_per_code = Some(0);
    rules.max_direct_referrals = Some(0);
    rules.credit_purchases = true;
    rules.rewards[0].cap_minor = Some(0);
    rules.rewards[0].pay = Pay::RateBps(10_001);
    rules.rewards[1].rule = "direct-commission".into();
    rules.rewards[1].level = 1;
    rules.rewards[1].kind = RewardKind::Points;

    let mut found = fields(&rules);
    found.sort();
    found.dedup();
    let mut expected = [
        "base_url",
        "code.alphabet",
        "code.length",
        "display_name",
        "max_direct_referrals",
        "max_uses_per_code",
        "minimum_purchase_minor",
        "purchase_currency_code",
        "rewards",
        "rewards[0].cap_minor",
        "rewards[0].rate_bps",
        "rewards[1].kind",
        "rewards[1].level",
        "rewards[1].rule",
        "unit",
    ];
    expected.sort_unstable();
    assert_eq!(found, expected);
}

#[test]
fn every_fault_says_what_would_be_right() {
    let mut rules = tiered_points();
    rules.rewards[0].kind = RewardKind::Bonus;
    let faults = rules.faults();
    assert_eq!(faults.len(), 1);
    assert_eq!(faults[0].field, "rewards[0].kind");
    assert!(faults[0].message.contains("points"), "{}", faults[0].message);
}

// Names, the unit and links.

#[test]
fn a_program_has_a_name_without_control_characters() {
    for (name, fault) in [
        (String::new(), true),
        ("two\nlines".into(), true),
        ("x".repeat(MAX_DISPLAY_NAME_CHARS + 1), true),
        ("é".repeat(MAX_DISPLAY_NAME_CHARS), false),
    ] {
        let expected: &[&str] = if fault { &["display_name"] } else { &NONE };
        assert_eq!(after(tiered_points(), |rules| rules.display_name = name), *expected);
    }
}

#[test]
fn a_unit_is_a_currency_or_a_name_of_its_own() {
    for unit in ["", "PO", "ABC", "points", "THIRTEEN_LONG"] {
        assert_eq!(after(tiered_points(), |rules| rules.unit = unit.into()), ["unit"], "{unit}");
    }
    for unit in ["USD", "GEMS", "TWELVE_CHARS"] {
        assert_eq!(after(tiered_points(), |rules| rules.unit = unit.into()), NONE, "{unit}");
    }
}

#[test]
fn a_base_url_has_a_scheme_and_a_host_and_no_code_of_its_own() {
    let long = format!("https://{}", "x".repeat(crate::link::MAX_URL_BYTES));
    for url in [
        "example.com/join",
        "ftp://example.com",
        "https://",
        "https:///join",
        "https://ada:secret@example.com",
        "https://example.com/join?ref=here",
        "https://example.com/#join",
        "https://example.com/our shop",
        &long,
    ] {
        let found = after(tiered_points(), |rules| rules.base_url = url.into());
        assert_eq!(found, ["base_url"], "{url}");
    }
    for url in ["", "http://localhost:8080", "https://example.com/a/b?utm_source=x"] {
        assert_eq!(after(tiered_points(), |rules| rules.base_url = url.into()), NONE, "{url}");
    }
}

// Codes.

#[test]
fn a_code_has_6_to_32_characters() {
    for (length, expected) in
        [(5, &["code.length"][..]), (6, &NONE), (32, &NONE), (33, &["code.length"])]
    {
        assert_eq!(after(tiered_points(), |rules| rules.code.length = length), *expected);
    }
}

#[test]
fn an_alphabet_has_at_least_10_different_capitals_and_digits() {
    for alphabet in
        ["", "ABCDEFGHI", "AABCDEFGHI", "AABCDEFGHIJ", "ABCDEFGHIj", "ABCDEFGHI-", "ABCDEFGHIÄ"]
    {
        let found = after(tiered_points(), |rules| rules.code.alphabet = alphabet.into());
        assert_eq!(found, ["code.alphabet"], "{alphabet}");
    }
    assert_eq!(after(tiered_points(), |rules| rules.code.alphabet = "0123456789".into()), NONE);
}

// Purchases and limits.

#[test]
fn a_minimum_is_an_amount_in_a_currency_that_is_named() {
    for minimum in [-1, MAX_AMOUNT_MINOR + 1] {
        let found = after(first_purchase_bonus(), |rules| rules.minimum_purchase_minor = minimum);
        assert_eq!(found, ["minimum_purchase_minor"]);
    }
    let found = after(first_purchase_credits(), |rules| rules.minimum_purchase_minor = 1);
    assert_eq!(found, ["purchase_currency_code"]);
    let found = after(first_purchase_credits(), |rules| {
        rules.minimum_purchase_minor = MAX_AMOUNT_MINOR;
        rules.purchase_currency_code = Some("JPY".into());
    });
    assert_eq!(found, NONE);
}

#[test]
fn purchases_are_paid_in_currencies_only() {
    let found = after(first_purchase_credits(), |rules| {
        rules.purchase_currency_code = Some("CREDITS".into());
    });
    assert_eq!(found, ["purchase_currency_code"]);
}

#[test]
fn where_referrals_earn_no_purchase_has_conditions() {
    let found = after(tiered_points(), |rules| {
        rules.minimum_purchase_minor = 1_000;
        rules.purchase_currency_code = Some("USD".into());
    });
    assert_eq!(found, ["minimum_purchase_minor", "purchase_currency_code"]);
}

#[test]
fn purchases_can_only_be_added_to_balances_of_a_currency() {
    let found = after(first_purchase_credits(), |rules| rules.credit_purchases = true);
    assert_eq!(found, ["purchase_currency_code"]);
}

#[test]
fn a_limit_is_at_least_1() {
    for limit in [0, MAX_COUNT + 1] {
        let found = after(tiered_points(), |rules| {
            rules.max_uses_per_code = Some(limit);
            rules.max_direct_referrals = Some(limit);
        });
        assert_eq!(found, ["max_uses_per_code", "max_direct_referrals"]);
    }
    let found = after(tiered_points(), |rules| {
        rules.max_uses_per_code = Some(1);
        rules.max_direct_referrals = Some(MAX_COUNT);
    });
    assert_eq!(found, NONE);
}

// Rewards.

#[test]
fn a_program_rewards_something() {
    assert_eq!(after(tiered_points(), |rules| rules.rewards.clear()), ["rewards"]);
}

#[test]
fn every_rule_has_a_name_of_its_own() {
    let found = after(first_purchase_bonus(), |rules| {
        rules.rewards[1].rule = rules.rewards[0].rule.clone();
    });
    assert_eq!(found, ["rewards[1].rule"]);
    let found = after(first_purchase_bonus(), |rules| rules.rewards[0].rule = String::new());
    assert_eq!(found, ["rewards[0].rule"]);
}

#[test]
fn there_is_one_rule_per_level_lowest_first() {
    let found = after(first_purchase_bonus(), |rules| rules.rewards[0].level = 1);
    assert_eq!(found, ["rewards[1].level"], "two of one level");
    let found = after(first_purchase_bonus(), |rules| rules.rewards.reverse());
    assert_eq!(found, ["rewards[1].level"], "highest first");
    let found = after(first_purchase_bonus(), |rules| rules.rewards[1].level = MAX_LEVEL);
    assert_eq!(found, NONE, "levels can be left out");
    let found = after(first_purchase_bonus(), |rules| rules.rewards[1].level = MAX_LEVEL + 1);
    assert_eq!(found, ["rewards[1].level"]);
}

#[test]
fn a_cap_is_at_least_1() {
    for cap in [0, -5, MAX_AMOUNT_MINOR + 1] {
        let found = after(multi_level_commission(), |rules| rules.rewards[1].cap_minor = Some(cap));
        assert_eq!(found, ["rewards[1].cap_minor"]);
    }
}

#[test]
fn a_flat_reward_is_at_least_1_and_no_commission() {
    for amount in [0, -1, MAX_AMOUNT_MINOR + 1] {
        let found = after(first_purchase_bonus(), |rules| {
            rules.rewards[0].pay = Pay::FlatMinor(amount);
        });
        assert_eq!(found, ["rewards[0].flat_minor"]);
    }
    for (kind, expected) in [
        (RewardKind::Bonus, &NONE[..]),
        (RewardKind::Credit, &NONE),
        (RewardKind::Points, &NONE),
        (RewardKind::Commission, &["rewards[0].kind"]),
    ] {
        let found = after(first_purchase_bonus(), |rules| rules.rewards[0].kind = kind);
        assert_eq!(found, *expected, "{kind:?}");
    }
}

#[test]
fn a_rate_is_1_to_10000_basis_points_and_a_commission() {
    let found = after(multi_level_commission(), |rules| rules.rewards[0].pay = Pay::RateBps(0));
    assert_eq!(found, ["rewards[0].rate_bps"]);
    for kind in [RewardKind::Bonus, RewardKind::Credit, RewardKind::Points] {
        let found = after(multi_level_commission(), |rules| rules.rewards[0].kind = kind);
        assert_eq!(found, ["rewards[0].kind"], "{kind:?}");
    }
}

#[test]
fn all_shares_together_are_at_most_the_whole() {
    let share =
        |rate| after(multi_level_commission(), |rules| rules.rewards[0].pay = Pay::RateBps(rate));
    assert_eq!(share(9_900), NONE);
    assert_eq!(share(9_901), ["rewards"]);
}

#[test]
fn a_share_is_paid_in_the_currency_of_the_purchase() {
    let found = after(multi_level_commission(), |rules| {
        rules.rewards.truncate(1);
        rules.purchase_currency_code = Some("USD".into());
    });
    assert_eq!(found, ["purchase_currency_code"]);
    let found = after(multi_level_commission(), |rules| {
        rules.rewards.truncate(1);
        rules.minimum_purchase_minor = 0;
        rules.purchase_currency_code = None;
    });
    assert_eq!(found, ["purchase_currency_code"]);
}

#[test]
fn a_fault_of_the_program_is_named_once_however_many_rules_share_it() {
    let found = after(multi_level_commission(), |rules| {
        rules.purchase_currency_code = Some("USD".into());
    });
    assert_eq!(found, ["purchase_currency_code"]);
}

#[test]
fn a_referral_has_no_price_to_share() {
    let commission = rule("share", 2, RewardKind::Commission, Pay::RateBps(100));
    let found = after(referral_count(), |rules| rules.rewards.push(commission));
    assert_eq!(found, ["rewards[1].rate_bps"]);
}

// Tiers and counts.

fn after_tiers(change: impl FnOnce(&mut Vec<Tier>)) -> Vec<String> {
    after(tiered_points(), |rules| match &mut rules.rewards[0].pay {
        Pay::Tiers(tiers) => change(tiers),
        _ => unreachable!("points go by tiers"),
    })
}

#[test]
fn tiers_and_counts_are_for_the_referrer_uncapped_and_in_points() {
    for rules in [tiered_points(), referral_count()] {
        let level = |level| after(rules.clone(), |rules| rules.rewards[0].level = level);
        assert_eq!(level(0), ["rewards[0].level"]);
        assert_eq!(level(2), ["rewards[0].level"]);
        let found = after(rules.clone(), |rules| rules.rewards[0].cap_minor = Some(1));
        assert_eq!(found, ["rewards[0].cap_minor"]);
        for kind in [RewardKind::Bonus, RewardKind::Credit, RewardKind::Commission] {
            let found = after(rules.clone(), |rules| rules.rewards[0].kind = kind);
            assert_eq!(found, ["rewards[0].kind"], "{kind:?}");
        }
    }
}

#[test]
fn tiers_and_counts_are_not_earned_on_every_purchase() {
    for rules in [tiered_points(), referral_count()] {
        let found = after(rules, |rules| rules.earn_on = EarnOn::EveryPurchase);
        assert_eq!(found, ["rewards[0].kind"]);
    }
}

#[test]
fn there_are_1_to_32_tiers() {
    assert_eq!(after_tiers(Vec::clear), ["rewards[0].tiers"]);
    let tiers = |count: usize| {
        (0_u32..).take(count).map(|index| tier(&format!("tier-{index}"), index, 1, 0)).collect()
    };
    assert_eq!(after_tiers(|all| *all = tiers(MAX_TIERS)), NONE);
    assert_eq!(after_tiers(|all| *all = tiers(MAX_TIERS + 1)), ["rewards[0].tiers"]);
}

#[test]
fn every_tier_has_a_name_of_its_own() {
    let found = after_tiers(|tiers| tiers[2].name = "Bronze".into());
    assert_eq!(found, ["rewards[0].tiers[2].name"]);
}

#[test]
fn tiers_start_at_0_and_go_up() {
    let found = after_tiers(|tiers| tiers[0].from_referrals = 1);
    assert_eq!(found, ["rewards[0].tiers[0].from_referrals"]);
    let found = after_tiers(|tiers| tiers[2].from_referrals = 10);
    assert!(found.contains(&"rewards[0].tiers[2].from_referrals".to_owned()), "{found:?}");
    let found = after_tiers(|tiers| tiers[2].from_referrals = MAX_COUNT + 1);
    assert!(found.contains(&"rewards[0].tiers[2].from_referrals".to_owned()), "{found:?}");
}

#[test]
fn points_have_bounds() {
    for (rate, bonus) in [(-1, -1), (MAX_TIER_RATE + 1, MAX_TIER_BONUS + 1)] {
        let found = after_tiers(|tiers| tiers[2].rate_points = rate);
        assert!(found.contains(&"rewards[0].tiers[2].rate_points".to_owned()), "{found:?}");
        let found = after_tiers(|tiers| tiers[0].bonus_points = bonus);
        assert!(found.contains(&"rewards[0].tiers[0].bonus_points".to_owned()), "{found:?}");
    }
}

#[test]
fn a_tier_that_would_take_points_away_is_a_fault() {
    // 49 referrals are 835 points; 50 at a rate of 16 are 800.
    let found = after_tiers(|tiers| {
        tiers[2].rate_points = 16;
        tiers[2].bonus_points = 0;
    });
    assert_eq!(found, ["rewards[0].tiers[2].rate_points"]);
    let found = after_tiers(|tiers| {
        tiers[2].rate_points = 16;
        tiers[2].bonus_points = 35;
    });
    assert_eq!(found, NONE, "835 after 835");
}

#[test]
fn a_tier_stands_between_what_was_reached_and_what_is_next() {
    let rules = tiered_points();
    let standing = |reached, rewarded| {
        let standing = rules.tier_standing(reached, rewarded).unwrap();
        (standing.tier, standing.next)
    };
    assert_eq!(standing(None, 0), ("Bronze", Some(("Silver", 10))));
    assert_eq!(standing(None, 9), ("Bronze", Some(("Silver", 1))));
    assert_eq!(standing(Some("Silver"), 10), ("Silver", Some(("Gold", 40))));
    assert_eq!(standing(Some("Gold"), 50), ("Gold", None));
    assert_eq!(referral_count().tier_standing(None, 3), None);
}
