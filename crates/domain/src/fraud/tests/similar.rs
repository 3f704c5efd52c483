//! Which addresses are similar by both thresholds.

use super::address;
use crate::similarity::Similarity;

/// The similarities of two addresses, whole and before the `@`, in ten-thousandths.
fn similarities(one: &str, other: &str) -> (u32, u32) {
    let (one, other) = (address(one), address(other));
    let whole = Similarity::of(one.as_str(), other.as_str());
    let local_part = Similarity::of(one.local_part(), other.local_part());
    (whole.ten_thousandths(), local_part.ten_thousandths())
}

/// The score by the default thresholds.
fn score(one: &str, other: &str) -> Option<u32> {
    let (one, other) = (address(one), address(other));
    let forth = one.similarity(other.as_str(), 8_500, 7_000).map(Similarity::ten_thousandths);
    let back = other.similarity(one.as_str(), 8_500, 7_000).map(Similarity::ten_thousandths);
    assert_eq!(forth, back);
    forth
}

#[test]
fn a_zero_for_an_o_is_similar() {
    assert_eq!(similarities("john@gmail.com", "j0hn@gmail.com"), (9_286, 7_500));
    assert_eq!(score("john@gmail.com", "J0HN@Gmail.com"), Some(9_286));
}

#[test]
fn colleagues_on_one_domain_are_not_similar() {
    // Nine tenths of both addresses are the company's domain.
    assert_eq!(similarities("ann@company.example", "dan@company.example"), (9_474, 6_667));
    assert_eq!(similarities("ann@acme.example", "dan@acme.example").1, 6_667);
    assert_eq!(similarities("ann@example.com", "joe@example.com"), (8_000, 0));
    assert_eq!(score("ann@company.example", "dan@company.example"), None);
}

#[test]
fn numbered_users_of_one_domain_are_similar() {
    assert_eq!(similarities("user1@example.com", "user2@example.com"), (9_412, 8_000));
    assert_eq!(score("user1@example.com", "user2@example.com"), Some(9_412));
}

#[test]
fn families_are_similar_only_if_their_names_are_nearly_the_same() {
    for (one, other) in [
        ("anna.mueller@gmail.com", "peter.mueller@gmail.com"),
        ("tom@lopez.example", "ana@lopez.example"),
        ("mark.smith@example.com", "julie.smith@example.com"),
    ] {
        assert_eq!(score(one, other), None, "{one} and {other}");
    }
    // The price of the check, which docs/fraud.md names.
    assert!(score("anna.mueller@gmail.com", "hanna.mueller@gmail.com").is_some());
    assert_eq!(similarities("j.smith@example.com", "mary.smith@example.com"), (8_780, 7_059));
    assert_eq!(score("j.smith@example.com", "mary.smith@example.com"), Some(8_780));
}

/// The rows of the table of pairs in docs/fraud.md: two addresses, both similarities, and whether they are similar by
/// default.
fn documented_pairs() -> Vec<(&'static str, &'static str, u32, u32, bool)> {
    let document = include_str!("../../../../../docs/fraud.md");
    let row = |line: &'static str| {
        let cells: Vec<&str> = line.trim().trim_matches('|').split('|').map(str::trim).collect();
        let [pair, whole, local_part, is_similar] = cells[..] else { return None };
        let (one, other) = pair.strip_prefix('`')?.strip_suffix('`')?.split_once("`, `")?;
        let is_similar = is_similar == "yes";
        Some((one, other, whole.parse().ok()?, local_part.parse().ok()?, is_similar))
    };
    document.lines().filter_map(row).collect()
}

#[test]
fn the_table_of_the_document_says_what_is_computed() {
    let pairs = documented_pairs();
    assert!(pairs.len() >= 10, "{pairs:?}");
    for (one, other, whole, local_part, is_similar) in pairs {
        assert_eq!(similarities(one, other), (whole, local_part), "{one} and {other}");
        assert_eq!(score(one, other).is_some(), is_similar, "{one} and {other}");
    }
}

#[test]
fn the_thresholds_that_the_document_advises_let_teams_and_families_pass() {
    let passes = |one: &str, other: &str, local_part_bps: u32| {
        address(one).similarity(other, 8_500, local_part_bps).is_none()
    };
    let (team, family) = (
        ["team-berlin-1@x.example", "team-berlin-2@x.example"],
        ["eva.schmidt-hoffmann@x.example", "tom.schmidt-hoffmann@x.example"],
    );
    assert!(!passes(team[0], team[1], 9_230) && passes(team[0], team[1], 9_232));
    assert!(!passes(family[0], family[1], 8_500) && passes(family[0], family[1], 9_000));
}

#[test]
fn both_thresholds_must_be_reached_and_are_inclusive() {
    let (john, other) = (address("john@gmail.com"), address("j0hn@gmail.com"));
    let is_similar =
        |whole, local_part| john.similarity(other.as_str(), whole, local_part).is_some();
    // Exactly 26 / 28 and 6 / 8.
    assert!(is_similar(9_285, 7_500));
    assert!(!is_similar(9_286, 7_500));
    assert!(!is_similar(9_285, 7_501));
    assert!(is_similar(9_285, 0));
}

#[test]
fn internationalised_addresses_are_compared_by_code_points() {
    // One of 22 code points differs, which has two bytes in one of them.
    assert_eq!(similarities("jörg@bücher.example", "jorg@bücher.example"), (9_474, 7_500));
    assert_eq!(
        similarities("jörg@xn--bcher-kva.example", "JO\u{308}RG@bücher.example"),
        (10_000, 10_000)
    );
    assert_eq!(similarities("иван@пример.example", "иванн@пример.example"), (9_744, 8_889));
}

#[test]
fn addresses_of_more_than_200_characters_are_compared_as_well() {
    let long = |name: &str| format!("{name}@{}.example", "ab".repeat(110));
    assert!(score(&long("johnsmith"), &long("johnsmlth")).is_some());
    assert_eq!(score(&long("johnsmith"), &long("maryjones")), None);
}
