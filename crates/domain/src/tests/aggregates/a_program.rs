//! A program and its versions.

use std::sync::Arc;

use cqrs_es::Aggregate;

use super::{NOW, given};
use crate::program::MAX_VERSIONS;
use crate::rules::ProgramRules;
use crate::tests::programs::tiered_points;
use crate::tests::scene::program;
use crate::{Program, ProgramCommand, ProgramPublished, Refusal, Timestamp};

fn rules(name: &str) -> Arc<ProgramRules> {
    Arc::new(ProgramRules { display_name: name.into(), ..tiered_points() })
}

fn published(version: u32, publish_time_us: Timestamp, name: &str) -> ProgramPublished {
    ProgramPublished { version, publish_time_us, rules: rules(name) }
}

fn publish(rules: Arc<ProgramRules>, now: Timestamp) -> ProgramCommand {
    ProgramCommand::Publish { program_id: program("spring"), rules, now }
}

fn after(events: impl IntoIterator<Item = ProgramPublished>) -> Program {
    let mut state = Program::default();
    events.into_iter().for_each(|event| state.apply(event.into()));
    state
}

#[test]
fn starts_with_version_1() {
    given::<Program>([])
        .when(publish(rules("first"), NOW))
        .then_expect_events(vec![published(1, NOW, "first").into()]);
}

#[test]
fn counts_its_versions_up() {
    given::<Program>([published(1, NOW, "first").into()])
        .when(publish(rules("second"), NOW.plus_seconds(5)))
        .then_expect_events(vec![published(2, NOW.plus_seconds(5), "second").into()]);
}

#[test]
fn takes_no_notice_of_the_rules_that_are_in_force() {
    given::<Program>([published(1, NOW, "first").into()])
        .when(publish(rules("first"), NOW.plus_seconds(5)))
        .then_expect_events(vec![]);
}

#[test]
fn can_go_back_to_rules_that_were_in_force() {
    given::<Program>([published(1, NOW, "first").into(), published(2, NOW, "second").into()])
        .when(publish(rules("first"), NOW))
        .then_expect_events(vec![published(3, NOW, "first").into()]);
}

#[test]
fn never_changes_its_unit() {
    let other = Arc::new(ProgramRules { unit: "GEMS".into(), ..tiered_points() });
    given::<Program>([published(1, NOW, "first").into()])
        .when(publish(other, NOW))
        .then_expect_error(Refusal::UnitIsFixed {
            program_id: program("spring"),
            unit: "POINTS".into(),
        });
}

#[test]
fn has_at_most_1000_versions() {
    let full = || published(MAX_VERSIONS, NOW, "last").into();
    given::<Program>([full()]).when(publish(rules("one more"), NOW)).then_expect_error(
        Refusal::TooManyVersions { program_id: program("spring"), limit: MAX_VERSIONS },
    );
    given::<Program>([full()]).when(publish(rules("last"), NOW)).then_expect_events(vec![]);
}

#[test]
fn puts_no_version_into_force_before_the_one_it_follows() {
    given::<Program>([published(1, NOW, "first").into()])
        .when(publish(rules("second"), NOW.plus_seconds(-60)))
        .then_expect_events(vec![published(2, NOW, "second").into()]);
}

#[test]
fn knows_the_version_in_force_at_any_time() {
    let state = after([
        published(1, NOW, "first"),
        published(2, NOW.plus_seconds(10), "second"),
        published(3, NOW.plus_seconds(10), "third"),
    ]);
    let at = |seconds| state.in_force_at(NOW.plus_seconds(seconds)).unwrap().version;
    assert_eq!([-5, 0, 9, 10, 99].map(at), [1, 1, 1, 3, 3]);
    assert_eq!(state.current().unwrap().version, 3);
    assert_eq!(state.version(2).unwrap().rules.display_name, "second");
    assert_eq!(state.version(4), None);
    assert_eq!(Program::default().in_force_at(NOW), None);
}
