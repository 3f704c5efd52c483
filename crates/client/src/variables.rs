//! Variables of the environment. One that is set but empty counts as not set, as it does for Postgres and most
//! shells' own variables: `NAME= command` and an empty entry of a deployment mean "none".

use std::env;
use std::io::Write as _;

use clap::error::{ContextKind, ContextValue};
use clap::{ArgMatches, Command, Error};

/// The arguments of this process; ends the process if they are wrong or ask for help.
#[must_use]
pub fn matches_of(command: Command) -> ArgMatches {
    let mut command = without_empty_variables(command);
    command.try_get_matches_from_mut(env::args_os()).unwrap_or_else(|error| {
        let _ = error.print();
        // The message names the flag, also where nobody has given one.
        if let Some(variable) = variable_at_fault(&command, &error) {
            let _ = writeln!(std::io::stderr(), "\nThe value is that of the variable {variable}.");
        }
        std::process::exit(error.exit_code())
    })
}

/// The variable that has the value at fault, if it is not on the command line.
fn variable_at_fault(command: &Command, error: &Error) -> Option<String> {
    let Some(ContextValue::String(usage)) = error.get(ContextKind::InvalidArg) else { return None };
    let flag = usage.split_whitespace().next()?;
    let is_given = |argument: &std::ffi::OsString| {
        let argument = argument.to_string_lossy();
        argument.split('=').next() == Some(flag)
    };
    if env::args_os().any(|argument| is_given(&argument)) {
        return None;
    }
    let name = variable_of(command, flag.strip_prefix("--")?)?;
    env::var_os(&name).is_some().then_some(name)
}

/// The variable of a flag, of the command itself or one below.
fn variable_of(command: &Command, flag: &str) -> Option<String> {
    let own = command.get_arguments().find(|argument| argument.get_long() == Some(flag));
    let own = own.and_then(|argument| argument.get_env()?.to_str().map(str::to_owned));
    own.or_else(|| command.get_subcommands().find_map(|command| variable_of(command, flag)))
}

/// The command without the variables that are set but empty.
fn without_empty_variables(command: Command) -> Command {
    let is_empty = |name: &std::ffi::OsStr| env::var_os(name).is_some_and(|value| value.is_empty());
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
    env::var(name).ok().filter(|value| !value.is_empty())
}
