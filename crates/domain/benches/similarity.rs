//! How alike two e-mail addresses look, in nanoseconds to microseconds.
//!
//! - `pair/...`: the whole comparison of two addresses, in either order: of some 22 characters, and of 253.
//! - `newcomer`: an address against those of the 100 latest referees of its referrer, of which none, or only
//!   the last, reaches a similarity of 0.85; the throughput is addresses a second. Most are ruled out by
//!   their characters alone.
//! - `sign_up`: everything that a sign-up costs beyond looking things up: both keys of its address, and the verdict
//!   over the addresses of the referrer and of the 100 latest referees, as they are stored. `hostile`: the same if
//!   all of them were made to be slow to compare.

#![allow(clippy::unwrap_used, reason = "a bench may stop at the first surprise")]

use std::collections::BTreeSet;
use std::hint::black_box;
use std::sync::Arc;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use tributary_domain::fraud::{Address, FraudChecks, Occasion, Signals, judge};
use tributary_domain::similarity::Similarity;
use tributary_domain::{LatestReferee, Personal, Timestamp, UserId};

const REFEREES: usize = 100;
const THRESHOLD: u32 = 8_500;
const NEWCOMER: &str = "johanna.weber@gmail.com";

const GIVEN_NAMES: [&str; 10] =
    ["amara", "bilal", "chen", "dmitri", "elif", "fatou", "giulia", "hiroshi", "ines", "jamal"];
const FAMILY_NAMES: [&str; 10] = [
    "adeyemi", "brown", "costa", "dubois", "eriksson", "fischer", "garcia", "haddad", "ivanova",
    "jensen",
];
const PROVIDERS: [&str; 3] = ["gmail.com", "outlook.com", "example.org"];

/// Addresses of people with different names.
fn referees() -> Vec<String> {
    (0..REFEREES)
        .map(|number| {
            let (given, family) = (GIVEN_NAMES[number % 10], FAMILY_NAMES[number / 10]);
            format!("{given}.{family}@{}", PROVIDERS[number % 3])
        })
        .collect()
}

fn pair(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("pair");
    let longest = format!("{}@{}.example", "abcdefgh".repeat(8), "klmnopqrst".repeat(18));
    let nearly = longest.replacen('d', "0", 3);
    for (name, one, other) in [
        ("22_characters_alike", NEWCOMER, "johana.weber@gmail.com"),
        ("22_characters_different", NEWCOMER, "dmitri.costa@gmail.com"),
        ("253_characters_alike", &longest, &nearly),
    ] {
        group.bench_function(name, |bencher| {
            bencher.iter(|| Similarity::of(black_box(one), black_box(other)));
        });
    }
    group.finish();
}

/// The most similar of the addresses that reach the threshold.
fn most_alike(address: &str, referees: &[String]) -> Option<Similarity> {
    referees.iter().filter_map(|referee| Similarity::at_least(THRESHOLD, address, referee)).max()
}

fn newcomer(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("newcomer");
    group.throughput(Throughput::Elements(REFEREES as u64));
    let strangers = referees();
    let mut with_a_double = strangers.clone();
    *with_a_double.last_mut().unwrap() = "johana.weber@gmail.com".into();
    assert!(most_alike(NEWCOMER, &strangers).is_none());
    assert!(most_alike(NEWCOMER, &with_a_double).is_some());
    for (name, referees) in [("none_alike", &strangers), ("the_last_alike", &with_a_double)] {
        group.bench_function(name, |bencher| {
            bencher.iter(|| most_alike(black_box(NEWCOMER), black_box(referees)));
        });
    }
    group.finish();
}

/// Addresses that share many short blocks in an order that shows late that they are not alike.
fn hostile(first: char) -> String {
    let letters = (0..50).filter_map(|number| char::from_u32('\u{4e00}' as u32 + number));
    let local_part: String = letters.flat_map(|letter| [letter, 'x']).take(20).collect();
    format!("{first}{local_part}@{}example", "abab.baab.".repeat(14))
}

fn sign_up(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("sign_up");
    let (referee, referrer) = (UserId::parse("new").unwrap(), UserId::parse("referrer").unwrap());
    let (checks, cleared) = (FraudChecks::all(), BTreeSet::new());
    let hostiles: Vec<_> = ('a'..='z').cycle().take(REFEREES).map(hostile).collect();
    for (name, new, stored) in
        [("101_addresses", NEWCOMER.to_owned(), referees()), ("hostile", hostile('é'), hostiles)]
    {
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                let address = Address::parse(black_box(&new)).unwrap();
                black_box((address.mailbox_key(), address.look_alike_key()));
                let latest_referees: Vec<_> = stored
                    .iter()
                    .map(|text| {
                        let address = Some(Personal(black_box(text).as_str().into()));
                        let (user_id, refer_time) = (referee.clone(), Timestamp(0));
                        Arc::new(LatestReferee { user_id, refer_time, address })
                    })
                    .collect();
                let signals = Signals {
                    address: Some(&address),
                    referrer_address: latest_referees
                        .first()
                        .and_then(|known| known.address.as_ref()),
                    latest_referees: &latest_referees,
                    ..Signals::none(&referee, &referrer, &cleared)
                };
                judge(&checks, &signals, Occasion::Referral)
            });
        });
    }
    group.finish();
}

criterion_group!(benches, pair, newcomer, sign_up);
criterion_main!(benches);
