//! Variables of the environment. One that is set but empty counts as not set, as it does for Postgres and most
//! shells' own variables: `NAME= command` and an empty entry of a deployment mean "none". The key of a caller is the
//! exception: see [`given_key`].

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

/// The variable by which clients are given a key.
const KEY_VARIABLE: &str = "TRIBUTARY_ADMIN_KEY";

/// A key was given, and is empty. A command that then took another key would act as somebody else than the caller meant.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0} is empty: give a key or an access token, or {1}; a script that puts a token there had none, perhaps because its \
     login failed"
)]
pub struct EmptyKey(&'static str, &'static str);

/// The key that the caller of a server gives, by the flag `--admin-key` or the variable `TRIBUTARY_ADMIN_KEY`; none if
/// neither is given. Other variables that are empty count as not set; an empty key is refused.
///
/// # Errors
/// [`EmptyKey`] if the key is given and empty.
pub fn given_key(flag: Option<&str>) -> Result<Option<String>, EmptyKey> {
    key_of(flag, env::var_os(KEY_VARIABLE).is_some_and(|value| value.is_empty()))
}

/// `flag` has the value of the variable where the flag itself is not given, unless that is empty.
fn key_of(flag: Option<&str>, is_variable_empty: bool) -> Result<Option<String>, EmptyKey> {
    match flag {
        Some(key) if !key.trim().is_empty() => Ok(Some(key.to_owned())),
        Some(_) => Err(EmptyKey(
            "the key (--admin-key, TRIBUTARY_ADMIN_KEY)",
            "leave it out to use that of 'dev'",
        )),
        None if is_variable_empty => {
            Err(EmptyKey(KEY_VARIABLE, "unset it to use the key of 'dev'"))
        }
        None => Ok(None),
    }
}

/// A variable that is no argument of a command; none if it is empty or not Unicode.
#[must_use]
pub fn variable(name: &str) -> Option<String> {
    env::var(name).ok().filter(|value| !value.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_key_is_refused_and_no_key_is_none() {
        assert_eq!(key_of(None, false), Ok(None));
        assert_eq!(key_of(Some("key"), true), Ok(Some("key".to_owned())));
        for (flag, is_variable_empty) in [(Some(""), false), (Some("  "), false), (None, true)] {
            assert!(key_of(flag, is_variable_empty).is_err(), "{flag:?}");
        }
    }
}
