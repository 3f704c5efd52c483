//! Variables of the environment. One that is set but empty counts as not set, as it does for Postgres and most
//! shells' own variables: `NAME= command` and an empty entry of a deployment mean "none".

use clap::Command;

/// The command without the variables that are set but empty.
#[must_use]
pub fn without_empty_variables(command: Command) -> Command {
    let is_empty =
        |name: &std::ffi::OsStr| std::env::var_os(name).is_some_and(|value| value.is_empty());
    command
        .mut_args(|argument| match argument.get_env() {
            Some(name) if is_empty(name) => argument.env(None::<&str>),
            _ => argument,
        })
        .mut_subcommands(without_empty_variables)
}

/// A variable that is no argument of a command; none if it is empty or not Unicode.
#[must_use]
pub fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}
