/// A crate that is not listed cannot be used. None of these does I/O, has a runtime or speaks to a network; of
/// cqrs-es only traits and the sink of events are used, and jiff has its time zones with it.
#[test]
fn the_domain_depends_on_nothing_that_reaches_outside() {
    let manifest = include_str!("../../Cargo.toml");
    let (_, dependencies) = manifest.split_once("\n[dependencies]\n").unwrap();
    let (dependencies, _) = dependencies.split_once("\n[").unwrap();
    let lines = dependencies.lines().filter(|line| !line.is_empty());
    let names: Vec<_> = lines.filter_map(|line| line.split(['.', ' ']).next()).collect();
    let allowed = [
        "cqrs-es",
        "idna",
        "jiff",
        "rust_iso4217",
        "serde",
        "serde_json",
        "thiserror",
        "unicode-normalization",
        "unicode-properties",
        "unicode-security",
        "url",
    ];
    assert_eq!(names, allowed);
}
