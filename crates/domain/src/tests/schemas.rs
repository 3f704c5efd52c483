//! Every existing log depends on the shapes of the events, so they are committed in `schemas/`, and a change
//! must be intentional.

use std::collections::BTreeMap;
use std::path::PathBuf;

use cqrs_es::Aggregate;
use schemars::{JsonSchema, schema_for};

use crate::Kind;

fn file(kind: Kind) -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("schemas");
    folder.join(format!("{}.json", kind.as_str()))
}

/// Compares as JSON, because the order of fields is irrelevant.
fn compare<E: JsonSchema>(kind: Kind) {
    let file = file(kind);
    let schema = schema_for!(E).to_value();
    if std::env::var_os("UPDATE_SCHEMAS").is_some() {
        let text = serde_json::to_string_pretty(&schema).unwrap() + "\n";
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(&file, text).unwrap();
        return;
    }
    let committed: serde_json::Value = std::fs::read_to_string(&file)
        .map(|text| serde_json::from_str(&text).expect("committed schemas are JSON"))
        .unwrap_or_default();
    assert!(
        committed == schema,
        "the events of {kind:?} do not have the shape that {} promises. Logs hold the old shape: \
         raise the version of the event and add an upcaster. Then run `UPDATE_SCHEMAS=1 cargo test \
         -p tributary-domain schemas` and commit what it wrote.",
        file.display(),
    );
}

#[test]
fn the_events_of_every_aggregate_have_the_committed_shape() {
    for kind in Kind::ALL {
        with_kind!(*kind, A => compare::<<A as Aggregate>::Event>(*kind));
    }
}

/// The shapes of states, each with its version. Snapshots hold states.
fn states() -> BTreeMap<&'static str, serde_json::Value> {
    let mut states = BTreeMap::new();
    for kind in Kind::ALL {
        let schema = with_kind!(*kind, A => schema_for!(A).to_value());
        let state = serde_json::json!({ "state_version": kind.state_version(), "schema": schema });
        states.insert(kind.as_str(), state);
    }
    states
}

#[test]
fn a_state_of_another_shape_has_another_version() {
    let file = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("schemas/states.json");
    let states = serde_json::to_value(states()).unwrap();
    let committed: serde_json::Value = std::fs::read_to_string(&file)
        .map(|text| serde_json::from_str(&text).expect("committed schemas are JSON"))
        .unwrap_or_default();
    for kind in Kind::ALL {
        let (now, before) = (&states[kind.as_str()], &committed[kind.as_str()]);
        let is_raised = now["state_version"].as_i64() > before["state_version"].as_i64();
        assert!(
            now["schema"] == before["schema"] || is_raised,
            "the state of {kind:?} has another shape than {} says, and the same version. Snapshots hold the \
             old shape: raise its state_version in registry.rs.",
            file.display(),
        );
    }
    if std::env::var_os("UPDATE_SCHEMAS").is_some() {
        std::fs::write(&file, serde_json::to_string_pretty(&states).unwrap() + "\n").unwrap();
        return;
    }
    assert!(
        committed == states,
        "run `UPDATE_SCHEMAS=1 cargo test -p tributary-domain schemas`, and commit {}",
        file.display()
    );
}
