//! The table of acts in `docs/security.md`: every RPC that changes something is in it, with its events or the reason
//! why it has none.

use std::collections::BTreeMap;

use tributary::api::permissions::rules;

const DOCUMENT: &str = include_str!("../../docs/security.md");
/// What the cell of an act without events begins with.
const NO_EVENT: &str = "none: ";

/// The texts between backticks.
fn quoted(cell: &str) -> Vec<&str> {
    cell.split('`').skip(1).step_by(2).collect()
}

/// The rows of the table, as act and events.
fn acts() -> BTreeMap<&'static str, &'static str> {
    let (_, table) = DOCUMENT.split_once("| act | main events |\n").expect("the table of acts");
    let rows = table.lines().skip(1).take_while(|line| line.starts_with('|'));
    let rows = rows.map(|row| {
        let mut cells = row.trim_matches(['|', ' ']).split(" | ");
        let (act, events) = (cells.next().unwrap(), cells.next().expect(row));
        assert_eq!(cells.next(), None, "{row}");
        (act, events)
    });
    let mut acts = BTreeMap::new();
    for (act, events) in rows {
        for name in quoted(act) {
            assert_eq!(acts.insert(name, events), None, "{name} has two rows");
        }
    }
    acts
}

#[test]
fn every_rpc_that_changes_something_appends_an_event_or_has_a_reason_not_to() {
    let acts = acts();
    for rule in rules().filter(|rule| !rule.is_read()) {
        assert!(acts.contains_key(rule.rpc), "{} is in no row of the table of acts", rule.rpc);
    }
    // Whatever is not an RPC is named as in the log; a job by its kind.
    let others = [
        "page",
        "command_line",
        "job:make_up",
        "job:settle_line",
        "job:payout_collect",
        "job:payout_settle",
        "webhook:stripe",
        "dev",
    ];
    for (act, events) in &acts {
        let is_rpc = rules().any(|rule| rule.rpc == *act && !rule.is_read());
        assert!(is_rpc || others.contains(act), "{act} is no act");
        if let Some(reason) = events.strip_prefix(NO_EVENT) {
            assert!(reason.len() > 20, "{act} needs a reason for no event");
            continue;
        }
        let known = domain::event_types();
        let named = quoted(events);
        assert!(!named.is_empty(), "{act} has neither an event nor a reason");
        for event in named {
            assert!(known.contains(&event), "{event} of {act} is no event");
        }
    }
}
